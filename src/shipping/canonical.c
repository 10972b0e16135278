/*-------------------------------------------------------------------------
 *
 * canonical.c
 *	  Changes a query into the form that core's deparse expects.
 *
 * Core's deparse is made for the queries of views and rules, as they are stored
 * before the rewriter has seen them.  planner_hook gets them afterwards.  The
 * rewriter sorts the assigned columns, and makes one expression of several
 * assignments to parts of a column.  The text of such a query would be another
 * statement, mostly without an error.  So these changes are undone here.
 *
 * INSERT … VALUES is made anew; see values.c.  The query of INSERT … SELECT is put into
 * another one, whose columns are in the order of those that are assigned.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"

#include "base/compat.h"
#include "shipping/shipping_int.h"

/*
 * The parameter by which an assignment reads a column of a sub-select's row, as
 * in SET (a, b) = (SELECT …); NULL if it has none.
 *
 * Casts, and the assignment to a part of the column, may be around it.
 */
static Param *
row_parameter(Node *node)
{
	while (node != NULL)
	{
		switch (nodeTag(node))
		{
			case T_Param:
				return ((Param *) node)->paramkind == PARAM_MULTIEXPR ? (Param *) node : NULL;
			case T_FuncExpr:
				node = ((FuncExpr *) node)->args != NIL ? linitial(((FuncExpr *) node)->args) : NULL;
				break;
			case T_RelabelType:
				node = (Node *) ((RelabelType *) node)->arg;
				break;
			case T_CoerceViaIO:
				node = (Node *) ((CoerceViaIO *) node)->arg;
				break;
			case T_ArrayCoerceExpr:
				node = (Node *) ((ArrayCoerceExpr *) node)->arg;
				break;
			case T_CoerceToDomain:
				node = (Node *) ((CoerceToDomain *) node)->arg;
				break;
			case T_SubscriptingRef:
				node = (Node *) ((SubscriptingRef *) node)->refassgnexpr;
				break;
			case T_FieldStore:
				node = linitial(((FieldStore *) node)->newvals);
				break;
			default:
				return NULL;
		}
	}

	return NULL;
}

/*
 * list_sort() comparator: order assignments by the columns of the sub-select.
 */
static int
compare_row_parameters(const ListCell *a, const ListCell *b)
{
	int			left = row_parameter((Node *) ((TargetEntry *) lfirst(a))->expr)->paramid;
	int			right = row_parameter((Node *) ((TargetEntry *) lfirst(b))->expr)->paramid;

	return left < right ? -1 : left > right;
}

/*
 * Put the assignments from the rows of sub-selects into the order of their
 * columns, behind the others.
 */
static List *
sort_assignments(List *tlist)
{
	List	   *others = NIL;
	List	   *from_rows = NIL;
	ListCell   *lc;

	foreach(lc, tlist)
	{
		if (row_parameter((Node *) lfirst_node(TargetEntry, lc)->expr) != NULL)
			from_rows = lappend(from_rows, lfirst(lc));
		else
			others = lappend(others, lfirst(lc));
	}
	list_sort(from_rows, compare_row_parameters);

	return list_concat(others, from_rows);
}

/*
 * Is an expression an assignment to a part of a column?  Sets the rest of the
 * column, which is assigned before.
 */
static bool
assigns_part(Node *node, Node **rest)
{
	if (node != NULL && IsA(node, FieldStore))
		*rest = (Node *) ((FieldStore *) node)->arg;
	else if (node != NULL && IsA(node, SubscriptingRef) &&
			 ((SubscriptingRef *) node)->refassgnexpr != NULL)
		*rest = (Node *) ((SubscriptingRef *) node)->refexpr;
	else
		return false;

	return true;
}

/*
 * Make one assignment for each part of a column that is assigned.
 *
 * Each gets the column itself as what is left of it, which is not printed.
 */
static List *
split_assignment(TargetEntry *tle)
{
	Node	   *column = (Node *) tle->expr;
	Node	   *rest;
	List	   *parts = NIL;

	while (assigns_part(column, &rest))
		column = rest;

	for (Node *node = (Node *) tle->expr; assigns_part(node, &rest); node = rest)
	{
		if (IsA(node, FieldStore))
		{
			FieldStore *fields = (FieldStore *) node;

			for (int i = list_length(fields->newvals) - 1; i >= 0; i--)
			{
				FieldStore *field = makeNode(FieldStore);

				field->arg = (Expr *) copyObject(column);
				field->newvals = list_make1(list_nth(fields->newvals, i));
				field->fieldnums = list_make1_int(list_nth_int(fields->fieldnums, i));
				field->resulttype = fields->resulttype;
				parts = lcons(field, parts);
			}
		}
		else
		{
			SubscriptingRef *element = copyObject((SubscriptingRef *) node);

			element->refexpr = (Expr *) copyObject(column);
			parts = lcons(element, parts);
		}
	}

	return parts;
}

/*
 * The assignments of an UPDATE as the user has written them.
 */
static List *
undo_assignments(List *tlist)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, tlist)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		List	   *parts = split_assignment(tle);
		ListCell   *part;

		if (parts == NIL)
			result = lappend(result, tle);
		foreach(part, parts)
		{
			TargetEntry *single = flatCopyTargetEntry(tle);

			single->expr = (Expr *) lfirst(part);
			result = lappend(result, single);
		}
	}

	return sort_assignments(result);
}

/*
 * Put the query of an INSERT … SELECT into another one, which has what is assigned as its
 * columns.  Core's deparse prints the query only.
 */
static void
wrap_source(Query *insert, Index rti)
{
	RangeTblEntry *rte = rt_fetch(rti, insert->rtable);
	RangeTblEntry *inner = makeNode(RangeTblEntry);
	RangeTblRef *ref = makeNode(RangeTblRef);
	Query	   *outer = makeNode(Query);
	List	   *names = NIL;
	ListCell   *lc;

	/* its columns may have equal names */
	foreach(lc, rte->eref->colnames)
		names = lappend(names, makeString(psprintf("c%d", foreach_current_index(lc) + 1)));
	inner->rtekind = RTE_SUBQUERY;
	inner->subquery = rte->subquery;
	inner->alias = makeAlias("s", names);
	inner->eref = makeAlias("s", copyObject(names));
	inner->inFromCl = true;
	IncrementVarSublevelsUp((Node *) inner->subquery, 1, 1);

	ref->rtindex = 1;
	outer->commandType = CMD_SELECT;
	outer->rtable = list_make1(inner);
	outer->jointree = makeFromExpr(list_make1(ref), NULL);
	foreach(lc, insert->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		AttrNumber	column = list_length(outer->targetList) + 1;
		Node	   *expr = (Node *) tle->expr;

		outer->targetList = lappend(outer->targetList,
									makeTargetEntry(copyObject(tle->expr), column,
													pstrdup(tle->resname), false));
		tle->expr = (Expr *) makeVar(rti, column, exprType(expr), exprTypmod(expr),
									 exprCollation(expr), 0);
	}
	ChangeVarNodes((Node *) outer->targetList, rti, 1, 0);
	rte->subquery = outer;
}

/*
 * Rename other entries than EXCLUDED that have its name.
 */
static void
keep_excluded(Query *query)
{
	Index		rti = 0;
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (++rti == query->onConflict->exclRelIndex ||
			strcmp(rte->eref->aliasname, "excluded") != 0)
			continue;
		if (rte->alias == NULL)
			rte->alias = makeAlias("excluded", NIL);
		rte->alias->aliasname = pstrdup("excluded_row");
		rte->eref->aliasname = pstrdup("excluded_row");
	}
}

/*
 * Walker: bring each query into the form.
 */
static bool
canonicalize_walker(Node *node, void *context)
{
	Query	   *query = (Query *) node;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, canonicalize_walker, context);

	(void) query_tree_walker(query, canonicalize_walker, context, 0);
	/* the target of an UPDATE of a view would be printed a second time */
	if (query->resultRelation != 0)
		rt_fetch(query->resultRelation, query->rtable)->inFromCl = false;
	if (runops_ship_insert_source(query) != 0)
		wrap_source(query, runops_ship_insert_source(query));
	if (query->commandType == CMD_UPDATE)
		query->targetList = undo_assignments(query->targetList);
	if (query->onConflict != NULL && query->onConflict->action == ONCONFLICT_UPDATE)
	{
		query->onConflict->onConflictSet = undo_assignments(query->onConflict->onConflictSet);
		keep_excluded(query);
	}

	return false;
}

/*
 * Bring a query into the form that core's deparse expects.  It is changed in
 * place.
 *
 * Columns get the name of their table in front: without it, ORDER BY and GROUP
 * BY could mean a column of the output.
 */
void
runops_ship_canonicalize(Query *query)
{
	(void) canonicalize_walker((Node *) query, NULL);
	if (list_length(query->rtable) == 1)
	{
		RangeTblEntry *dummy = makeNode(RangeTblEntry);

		dummy->rtekind = RTE_RESULT;
		dummy->eref = makeAlias("*RESULT*", NIL);
		query->rtable = lappend(query->rtable, dummy);
	}
}
