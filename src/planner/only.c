/*-------------------------------------------------------------------------
 *
 * only.c
 *	  Makes ONLY include all rows of a routed table.
 *
 * For core the leaves are children of the table, and ONLY excludes them, so
 * the statement would find no row.  But no user has created these children,
 * and ONLY of the original plain table means the whole table.  This also
 * applies with routing off, because the rows must be the same.
 *
 * The entry of an INSERT's result relation never has children, so it is not
 * changed.
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
 * Is this a range-table entry for ONLY a routed table?
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
 * Remove ONLY from the routed tables of a query; changes the query.
 */
void
runops_remove_only(Query *query)
{
	only_walker((Node *) query, NULL);
}

/*
 * Raise if a table that is about to be planned is ONLY a routed table.
 *
 * The query of an inlined SQL function cannot be changed earlier, so it is
 * rejected here.
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
