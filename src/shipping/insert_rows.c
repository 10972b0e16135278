/*-------------------------------------------------------------------------
 *
 * insert_rows.c
 *	  Finds the values of the rows that an INSERT … VALUES inserts, and the query
 *	  of an INSERT … SELECT.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"

#include "shipping/shipping_int.h"

/* A row of VALUES whose values are put into the target list. */
typedef struct RowContext
{
	Index		rti;			/* of VALUES in the range table */
	List	   *row;
} RowContext;

/*
 * Mutator: replace the columns of VALUES by the values of a row.
 */
static Node *
insert_values(Node *node, void *context)
{
	RowContext *cxt = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		if (var->varno == cxt->rti && var->varlevelsup == 0)
			return copyObject(list_nth(cxt->row, var->varattno - 1));
		return copyObject(node);
	}

	return expression_tree_mutator(node, insert_values, context);
}

/*
 * The values of one row; false if one of them depends on anything else.
 */
static bool
take_row(Query *query, Index rti, List *row, List **values)
{
	RowContext	cxt = {rti, row};
	ListCell   *lc;

	*values = NIL;
	foreach(lc, query->targetList)
	{
		Node	   *expr = (Node *) lfirst_node(TargetEntry, lc)->expr;

		if (rti != 0)
			expr = insert_values(expr, &cxt);
		if (runops_ship_depends_on_rows(expr))
			return false;
		*values = lappend(*values, expr);
	}

	return true;
}

/*
 * The rows that an INSERT inserts: for each a list of expressions, one for each
 * number in *attnos, which are those of the routed table.
 *
 * Returns false if the rows come from a query.
 */
bool
runops_ship_insert_rows(Query *query, List **attnos, List **rows)
{
	Index		rti = 0;
	List	   *values;
	ListCell   *lc;

	*attnos = NIL;
	*rows = NIL;
	if (query->jointree->quals != NULL || list_length(query->jointree->fromlist) > 1)
		return false;
	foreach(lc, query->targetList)
		* attnos = lappend_int(*attnos, lfirst_node(TargetEntry, lc)->resno);

	if (query->jointree->fromlist == NIL)
	{
		if (!take_row(query, 0, NIL, &values))
			return false;
		*rows = list_make1(values);
		return true;
	}

	if (!IsA(linitial(query->jointree->fromlist), RangeTblRef))
		return false;
	rti = linitial_node(RangeTblRef, query->jointree->fromlist)->rtindex;
	if (rt_fetch(rti, query->rtable)->rtekind != RTE_VALUES)
		return false;
	foreach(lc, rt_fetch(rti, query->rtable)->values_lists)
	{
		if (!take_row(query, rti, lfirst_node(List, lc), &values))
			return false;
		*rows = lappend(*rows, values);
	}

	return true;
}

/*
 * The index in the range table of the query whose rows an INSERT … SELECT inserts; 0 if
 * it is another INSERT.
 */
Index
runops_ship_insert_source(Query *query)
{
	Index		rti;

	if (query->commandType != CMD_INSERT || query->jointree->quals != NULL ||
		list_length(query->jointree->fromlist) != 1 ||
		!IsA(linitial(query->jointree->fromlist), RangeTblRef))
		return 0;
	rti = linitial_node(RangeTblRef, query->jointree->fromlist)->rtindex;

	return rt_fetch(rti, query->rtable)->rtekind == RTE_SUBQUERY ? rti : 0;
}
