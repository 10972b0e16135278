/*-------------------------------------------------------------------------
 *
 * only.c
 *	  Lets ONLY mean all of a routed table.
 *
 * To core the leaves are children of the table, and ONLY leaves them out: the
 * statement would find no row.  But no user has made these children, and ONLY of
 * the plain table that it was is the whole table.  This holds with routing off
 * too, which must return the same rows.
 *
 * The target of an INSERT never has children in its entry; it is left alone.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"

#include "planner/planner_int.h"

/*
 * Is it an entry for ONLY a routed table?
 */
static bool
is_only_routed(const RangeTblEntry *rte)
{
	return rte->rtekind == RTE_RELATION && !rte->inh &&
		rte->relkind == RELKIND_PARTITIONED_TABLE &&
		runops_route(rte->relid) != NULL;
}

/*
 * Walker: remove ONLY from the routed tables of all levels.
 */
static bool
only_walker(Node *node, void *context)
{
	Query	   *query = (Query *) node;
	Index		rti = 0;
	ListCell   *lc;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, only_walker, context);

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		rti++;
		if (is_only_routed(rte) &&
			!(rti == query->resultRelation && query->commandType == CMD_INSERT))
			rte->inh = true;
	}

	return query_tree_walker(query, only_walker, context, QTW_IGNORE_JOINALIASES);
}

/*
 * Remove ONLY from the routed tables of a query, which is changed.
 */
void
runops_remove_only(Query *query)
{
	only_walker((Node *) query, NULL);
}

/*
 * Raise if a table that is about to be planned is ONLY a routed table.
 *
 * The query of an SQL function that has become a part of the statement is not
 * seen before.
 */
void
runops_refuse_only(PlannerInfo *root, RelOptInfo *rel)
{
	RangeTblEntry *rte = root->simple_rte_array[rel->relid];

	if (rel->reloptkind == RELOPT_BASEREL && is_only_routed(rte))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot read ONLY routed table \"%s\" in a function that becomes a part of the statement",
						get_rel_name(rte->relid)),
				 errdetail("The partitions of a routed table are its stores, and without them it has no rows."),
				 errhint("Leave ONLY out of the function.")));
}
