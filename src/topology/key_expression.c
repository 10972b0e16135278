/*-------------------------------------------------------------------------
 *
 * key_expression.c
 *	  Checks and deparses the key of a routed table, from the text given to
 *	  attach.
 *
 * The text of an expression becomes part of statements that attach builds.  It
 * is parsed here as one expression over the table, and only the deparsed parse
 * tree is used from then on.  So the text cannot contain anything else.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "base/argument.h"
#include "base/compat.h"
#include "topology/topology.h"

PG_FUNCTION_INFO_V1(runops_key_expression);

/*
 * The raw expression of the text; raises if the text is not exactly one
 * expression.
 */
static Node *
parse_one_expression(const char *text)
{
	Node	   *raw = runops_parse_expression_text(text);

	if (raw == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("key \"%s\" is not one expression", text),
				 errdetail("A key is a column's exact name, or else an SQL expression over the columns of the table."),
				 errhint("Write for example: COALESCE(\"runId\", id)")));

	return raw;
}

/*
 * Raise if the raw expression is only the name of a column that the table
 * lacks; the error of the parser would have no hint.
 */
static void
check_column_name(Node *raw, Relation rel, const char *text)
{
	ColumnRef  *ref = (ColumnRef *) raw;

	if (IsA(raw, ColumnRef) && list_length(ref->fields) == 1 &&
		IsA(linitial(ref->fields), String) &&
		get_attnum(RelationGetRelid(rel), strVal(linitial(ref->fields))) == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						strVal(linitial(ref->fields)),
						RelationGetRelationName(rel)),
				 errdetail("The key is not a column's exact name, and was read as an SQL expression: %s",
						   text),
				 errhint("Check the spelling; within an expression a name with capitals needs double quotes.")));
}

/*
 * Can the expression be proven never to be NULL?
 */
static bool
never_null(Node *expr, Relation rel)
{
	if (expr == NULL)
		return false;

	switch (nodeTag(expr))
	{
		case T_Var:
			{
				AttrNumber	attno = ((Var *) expr)->varattno;

				return attno > 0 &&
					TupleDescAttr(RelationGetDescr(rel), attno - 1)->attnotnull;
			}
		case T_Const:
			return !((Const *) expr)->constisnull;
		case T_RelabelType:
			return never_null((Node *) ((RelabelType *) expr)->arg, rel);
		case T_CollateExpr:
			return never_null((Node *) ((CollateExpr *) expr)->arg, rel);
		case T_CoerceToDomain:
			return never_null((Node *) ((CoerceToDomain *) expr)->arg, rel);
		case T_CoalesceExpr:
			{
				ListCell   *lc;

				foreach(lc, ((CoalesceExpr *) expr)->args)
				{
					if (never_null(lfirst(lc), rel))
						return true;
				}
				return false;
			}
		case T_CaseExpr:
			{
				CaseExpr   *c = (CaseExpr *) expr;
				ListCell   *lc;

				foreach(lc, c->args)
				{
					if (!never_null((Node *) lfirst_node(CaseWhen, lc)->result, rel))
						return false;
				}
				return never_null((Node *) c->defresult, rel);
			}
		default:
			return false;
	}
}

/*
 * Raise unless the expression has a type and a collation that tell different
 * ids apart: text or varchar, compared byte by byte.
 */
static void
check_key_type(Node *expr, const char *text)
{
	Oid			type = exprType(expr);
	Oid			base = getBaseType(type);
	Oid			collation = exprCollation(expr);

	if (base != TEXTOID && base != VARCHAROID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("\"%s\" cannot name a store: it has type %s",
						text, format_type_be(type)),
				 errdetail("An id is of type text or character varying, or of a domain over one of them."),
				 errhint("Change the type of the column, or use another column.")));

	if (!OidIsValid(collation) || !get_collation_isdeterministic(collation))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_DEFINITION),
				 errmsg("\"%s\" cannot name a store: its collation is not deterministic",
						text),
				 errdetail("Ids of different shape would be equal, and belong to different stores."),
				 errhint("Change the collation of the column, for example to \"C\".")));
}

/*
 * Raise if a table cannot be partitioned by the expression.  Return the
 * attribute numbers that the expression reads, offset as in pull_varattnos.
 */
static Bitmapset *
check_key_columns(Node *expr, Relation rel, const char *text)
{
	Bitmapset  *attnos = NULL;
	int			i = -1;

	/* the planned expression may be immutable where the given one is not */
	if (contain_mutable_functions((Node *) expression_planner((Expr *) expr)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("key \"%s\" is not immutable", text),
				 errdetail("The store of a row must not change unless the row does."),
				 errhint("Use only functions that are marked IMMUTABLE.")));

	pull_varattnos(expr, 1, &attnos);
	if (bms_is_empty(attnos))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("key \"%s\" reads no column of the table", text),
				 errdetail("All rows would belong to the same store."),
				 errhint("Write for example: COALESCE(\"runId\", id)")));

	while ((i = bms_next_member(attnos, i)) >= 0)
	{
		AttrNumber	attno = i + FirstLowInvalidHeapAttributeNumber;

		if (attno <= 0 ||
			TupleDescAttr(RelationGetDescr(rel), attno - 1)->attgenerated)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 attno == 0 ?
					 errmsg("key \"%s\" reads the whole row", text) :
					 errmsg("key \"%s\" reads the column \"%s\", which no statement sets",
							text, get_attname(RelationGetRelid(rel), attno, false)),
					 errdetail("A table cannot be partitioned by system columns, generated columns or whole rows."),
					 errhint("Use the columns that the value is made of.")));
	}

	return attnos;
}

/*
 * The SQL text of store_of(expression), the same text that core shows for it
 * in a constraint.
 */
static char *
deparse_store_of(ParseState *pstate, Node *expr, Relation rel)
{
	Node	   *arg = coerce_to_target_type(pstate, expr, exprType(expr), TEXTOID, -1,
											COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
	FuncExpr   *call = makeFuncExpr(runops_store_of_oid(), TEXTOID, list_make1(arg),
									exprCollation(expr), exprCollation(expr),
									COERCE_EXPLICIT_CALL);

	return deparse_expression((Node *) call,
							  deparse_context_for(RelationGetRelationName(rel),
												  RelationGetRelid(rel)),
							  false, false);
}

/*
 * key_expression(relation regclass, key text, nullable bool,
 *				  OUT store text, OUT columns name[], OUT lead name)
 *
 * Return the SQL text of store_of(key), which is safe to build statements
 * from, the columns that the key reads, and the leading column.  Raises if the
 * expression cannot be a key; if nullable is true, a key that may be NULL is
 * allowed.  The relation is locked only while its columns are read.
 */
Datum
runops_key_expression(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool		nullable = PG_GETARG_BOOL(2);
	Relation	rel = runops_argument_open(relid, AccessShareLock);
	AttrNumber	attno = get_attnum(relid, key);
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *nsitem;
	RunopsExpressionText expression;
	Node	   *expr;
	Bitmapset  *attnos;
	TupleDesc	tupdesc;
	Datum		values[3] = {0};
	bool		nulls[3] = {false, false, false};
	Datum	   *names;
	int			nnames = 0;
	int			i = -1;

	runops_expression_text_enter(&expression, key, "key of a routed table");

	nsitem = addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, false, true);
	addNSItemToQuery(pstate, nsitem, true, true, true);

	if (attno > 0)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attno - 1);

		expr = (Node *) makeVar(1, attno, att->atttypid, att->atttypmod, att->attcollation, 0);
	}
	else
	{
		Node	   *raw = parse_one_expression(key);

		check_column_name(raw, rel, key);
		expr = transformExpr(pstate, raw, EXPR_KIND_PARTITION_EXPRESSION);
		assign_expr_collations(pstate, expr);
	}

	check_key_type(expr, key);
	attnos = check_key_columns(expr, rel, key);
	if (!nullable && !never_null(expr, rel))
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("key \"%s\" can be NULL", key),
				 errdetail("A row without an owner belongs to no store."),
				 errhint("Make the column NOT NULL, or let the key end in a column that is: COALESCE(..., id)")));

	runops_expression_text_leave(&expression);

	names = palloc(sizeof(Datum) * bms_num_members(attnos));
	while ((i = bms_next_member(attnos, i)) >= 0)
		names[nnames++] = DirectFunctionCall1(namein,
											  CStringGetDatum(get_attname(relid, i + FirstLowInvalidHeapAttributeNumber, false)));

	values[0] = CStringGetTextDatum(deparse_store_of(pstate, expr, rel));
	values[1] = PointerGetDatum(construct_array(names, nnames, NAMEOID,
												NAMEDATALEN, false, TYPALIGN_CHAR));
	attno = runops_lead_column(expr);
	if (attno == InvalidAttrNumber)
		nulls[2] = true;
	else
		values[2] = DirectFunctionCall1(namein, CStringGetDatum(get_attname(relid, attno, false)));
	relation_close(rel, AccessShareLock);

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
