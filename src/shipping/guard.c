/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Lets the store check the constraints of the routed table for the rows that
 *	  a statement changes, or inserts from a query.
 *
 * The planner relies on NOT NULL and CHECK of the routed table, and the store's
 * table may not have them.  A row that is inserted is checked here before it is
 * sent.  The new version of a row that is changed is known only in the store.  So
 * the store returns it, as the last column, if it violates one.  Then it is
 * checked here, which raises core's error, and the transaction in the store is
 * rolled back.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "fdw/fdw.h"
#include "shipping/shipping_int.h"

/* The guard of one query. */
typedef struct Guard
{
	Index		rti;			/* of the table that is written to */
	Index		excluded;		/* of EXCLUDED, or 0 */
	bool		all;			/* is the whole row new, and not seen here? */
	List	   *violated;		/* conditions, each true if a constraint is
								 * violated */
} Guard;

/*
 * Is an assigned value known not to be NULL?  The new row of an upsert was
 * checked.
 */
static bool
is_not_null(const Guard *guard, TargetEntry *tle)
{
	Var		   *var = (Var *) tle->expr;

	if (IsA(tle->expr, Const))
		return !((Const *) tle->expr)->constisnull;

	return IsA(var, Var) && guard->excluded != 0 && var->varno == guard->excluded &&
		var->varlevelsup == 0 && var->varattno == tle->resno;
}

/*
 * Add the condition that a column is NULL.
 */
static void
add_null_test(Guard *guard, Form_pg_attribute att)
{
	NullTest   *test = makeNode(NullTest);

	test->arg = (Expr *) makeVar(guard->rti, att->attnum, att->atttypid, att->atttypmod,
								 att->attcollation, 0);
	test->nulltesttype = IS_NULL;
	test->location = -1;
	guard->violated = lappend(guard->violated, test);
}

/*
 * Add the constraints that the assignments may violate.  Returns why one of them
 * cannot be sent, or NULL.
 */
static const char *
add_constraints(RunopsShipment *shipment, Guard *guard, Relation rel, List *assignments)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *assigned = NULL;
	ListCell   *lc;

	foreach(lc, assignments)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		Form_pg_attribute att;

		if (tle->resjunk)
			continue;
		att = TupleDescAttr(desc, tle->resno - 1);
		assigned = bms_add_member(assigned, tle->resno - FirstLowInvalidHeapAttributeNumber);
		if (att->attnotnull && !guard->all && !is_not_null(guard, tle))
			add_null_test(guard, att);
	}
	for (int i = 0; guard->all && i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attnotnull && !TupleDescAttr(desc, i)->attisdropped)
			add_null_test(guard, TupleDescAttr(desc, i));
	}

	for (int i = 0; desc->constr != NULL && i < desc->constr->num_check; i++)
	{
		ConstrCheck *check = &desc->constr->check[i];
		Bitmapset  *reads = NULL;
		Node	   *condition;
		const char *obstacle;

		if (!runops_fdw_core_checks(check) || check->ccnoinherit)
			continue;
		condition = stringToNode(check->ccbin);
		obstacle = runops_ship_expression_obstacle(shipment, condition);
		if (obstacle != NULL)
			return obstacle;
		pull_varattnos(condition, 1, &reads);
		if (!guard->all && !bms_overlap(reads, assigned) && !runops_fdw_reads_computed(desc, reads))
			continue;
		ChangeVarNodes(condition, 1, guard->rti, 0);
		guard->violated = lappend(guard->violated,
								  makeBoolExpr(NOT_EXPR, list_make1(condition), -1));
	}

	return NULL;
}

/*
 * The row of a table as an array of texts.  Sets the names of the columns.
 */
static Node *
row_as_texts(Index rti, Relation rel, List **names)
{
	TupleDesc	desc = RelationGetDescr(rel);
	ArrayExpr  *array = makeNode(ArrayExpr);

	array->array_typeid = TEXTARRAYOID;
	array->array_collid = DEFAULT_COLLATION_OID;
	array->element_typeid = TEXTOID;
	array->location = -1;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		CoerceViaIO *text;

		if (att->attisdropped)
			continue;
		text = makeNode(CoerceViaIO);
		text->arg = (Expr *) makeVar(rti, att->attnum, att->atttypid, att->atttypmod,
									 att->attcollation, 0);
		text->resulttype = TEXTOID;
		text->resultcollid = DEFAULT_COLLATION_OID;
		text->coerceformat = COERCE_EXPLICIT_CAST;
		text->location = -1;
		array->elements = lappend(array->elements, text);
		*names = lappend(*names, makeString(pstrdup(NameStr(att->attname))));
	}

	return (Node *) array;
}

/*
 * The row as an array of texts if a constraint is violated, else NULL.
 */
static Node *
guard_expression(const Guard *guard, Relation rel, List **names)
{
	CaseExpr   *expr = makeNode(CaseExpr);
	CaseWhen   *when = makeNode(CaseWhen);

	when->expr = list_length(guard->violated) == 1 ? linitial(guard->violated) :
		makeBoolExpr(OR_EXPR, guard->violated, -1);
	when->result = (Expr *) row_as_texts(guard->rti, rel, names);
	when->location = -1;
	expr->casetype = TEXTARRAYOID;
	expr->casecollid = DEFAULT_COLLATION_OID;
	expr->args = list_make1(when);
	expr->defresult = (Expr *) makeNullConst(TEXTARRAYOID, -1, DEFAULT_COLLATION_OID);
	expr->location = -1;

	return (Node *) expr;
}

/*
 * Add the guard to RETURNING of a query, if it needs one.
 *
 * Returns why it cannot be guarded: a sentence, or NULL.
 */
static const char *
guard_query(RunopsShipment *shipment, Query *query, bool top)
{
	Guard		guard = {.rti = query->resultRelation};
	List	   *assignments = query->commandType == CMD_UPDATE ? query->targetList :
		query->onConflict ? query->onConflict->onConflictSet : NIL;
	Relation	rel;
	const char *obstacle;

	guard.all = runops_ship_insert_source(query) != 0;
	if (assignments == NIL && !guard.all)
		return NULL;
	if (query->onConflict != NULL)
		guard.excluded = query->onConflict->exclRelIndex;
	rel = table_open(rt_fetch(query->resultRelation, query->rtable)->relid, NoLock);
	obstacle = add_constraints(shipment, &guard, rel, assignments);
	if (obstacle == NULL && guard.violated != NIL)
	{
		if (!top)
			obstacle = _("A query in WITH may violate a constraint of the table that it changes.");
		else
			query->returningList =
				lappend(query->returningList,
						makeTargetEntry((Expr *) guard_expression(&guard, rel, &shipment->guarded),
										list_length(query->returningList) + 1,
										pstrdup("runops_violating"), false));
	}
	table_close(rel, NoLock);

	return obstacle;
}

/*
 * Let the store check what a statement changes; the query is changed in place.
 *
 * Returns why that is not possible: a sentence, or NULL.
 */
const char *
runops_ship_guard(RunopsShipment *shipment, Query *query)
{
	const char *obstacle = NULL;
	ListCell   *lc;

	foreach(lc, query->cteList)
	{
		Query	   *inner = castNode(Query, lfirst_node(CommonTableExpr, lc)->ctequery);

		if (obstacle == NULL && inner->commandType != CMD_SELECT)
			obstacle = guard_query(shipment, inner, false);
	}
	if (obstacle == NULL && query->commandType != CMD_SELECT)
		obstacle = guard_query(shipment, query, true);

	return obstacle;
}
