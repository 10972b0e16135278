/*-------------------------------------------------------------------------
 *
 * outcome.c
 *	  Lets the store tell what has become of a row of an upsert.
 *
 * It returns an array of texts: whether the row was inserted, and the key of the row
 * that was inserted or updated.  Rows that are sent one by one are statements of
 * their own there, so only the key tells that one was changed before.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "fdw/fdw.h"
#include "shipping/shipping_int.h"

/* the operator of xid and integer */
#define XID_EQUALS_INTEGER 353

/*
 * An expression as text.
 */
static Node *
as_text(Expr *expr)
{
	CoerceViaIO *text = makeNode(CoerceViaIO);

	text->arg = expr;
	text->resulttype = TEXTOID;
	text->resultcollid = DEFAULT_COLLATION_OID;
	text->coerceformat = COERCE_EXPLICIT_CAST;
	text->location = -1;

	return (Node *) text;
}

/*
 * The condition that a row was inserted: an updated one was locked before.
 */
static Expr *
was_inserted(Index rti)
{
	Expr	   *xmax = (Expr *) makeVar(rti, MaxTransactionIdAttributeNumber, XIDOID, -1,
										InvalidOid, 0);
	Expr	   *zero = (Expr *) makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
										  Int32GetDatum(0), false, true);
	OpExpr	   *result = (OpExpr *) make_opclause(XID_EQUALS_INTEGER, BOOLOID, false, xmax, zero,
												  InvalidOid, InvalidOid);

	result->opfuncid = F_XIDEQINT4;

	return (Expr *) result;
}

/*
 * Add the outcome to RETURNING of an INSERT into a table with this leaf.
 */
void
runops_ship_add_outcome(Query *query, Oid leaf)
{
	Index		rti = query->resultRelation;
	Oid			table = rt_fetch(rti, query->rtable)->relid;
	ArrayExpr  *array = makeNode(ArrayExpr);
	Oid			depends;
	ListCell   *lc;

	array->array_typeid = TEXTARRAYOID;
	array->array_collid = DEFAULT_COLLATION_OID;
	array->element_typeid = TEXTOID;
	array->location = -1;
	array->elements = list_make1(as_text(was_inserted(rti)));
	foreach(lc, runops_fdw_row_key(leaf, &depends))
	{
		AttrNumber	attno = get_attnum(table, get_attname(leaf, lfirst_int(lc), false));
		Oid			type;
		int32		typmod;
		Oid			collation;

		get_atttypetypmodcoll(table, attno, &type, &typmod, &collation);
		array->elements = lappend(array->elements,
								  as_text((Expr *) makeVar(rti, attno, type, typmod, collation, 0)));
	}
	query->returningList = lappend(query->returningList,
								   makeTargetEntry((Expr *) array,
												   list_length(query->returningList) + 1,
												   pstrdup("runops_outcome"), false));
}
