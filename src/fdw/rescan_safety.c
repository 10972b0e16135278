/*-------------------------------------------------------------------------
 *
 * rescan_safety.c
 *	  Decides whether a statement may search a store repeatedly without seeing
 *	  its own changes there.
 *
 * A running scan of postgres_fdw does not see later changes of its
 * transaction; a scan that begins later sees them.  A nested loop begins a new
 * scan for each row of its outer side.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/partition.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"

/*
 * Will the result relation of an UPDATE be searched at most once for each of
 * its rows, if the search values come from the outer relations of a path?
 *
 * If not, a row that joins twice would be changed twice, but core applies only
 * the first change.  If the scan had begun before the first change, the second
 * change would not find the row.
 */
static bool
searches_once(PlannerInfo *root, ParamPathInfo *param_info)
{
	RelOptInfo *outer;
	List	   *clauses = NIL;
	ListCell   *lc;
	int			relid;

	/* with more relations the rows of the outer one could be repeated */
	if (bms_num_members(root->all_baserels) != 2 ||
		!bms_get_singleton_member(param_info->ppi_req_outer, &relid))
		return false;
	outer = find_base_rel(root, relid);

	/*
	 * core makes the inner rows of a semijoin unique before it searches with
	 * them
	 */
	foreach(lc, root->join_info_list)
	{
		SpecialJoinInfo *join = lfirst(lc);

		if (join->jointype == JOIN_SEMI &&
			bms_equal(join->syn_righthand, param_info->ppi_req_outer))
			return true;
	}

	if (outer->rtekind != RTE_RELATION)
		return false;

	foreach(lc, param_info->ppi_clauses)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);

		if (!rinfo->can_join || rinfo->mergeopfamilies == NIL)
			continue;
		/* which side is the outer relation's; a working field of core */
		rinfo->outer_is_left = bms_equal(rinfo->right_relids,
										 param_info->ppi_req_outer);
		if (rinfo->outer_is_left ||
			bms_equal(rinfo->left_relids, param_info->ppi_req_outer))
			clauses = lappend(clauses, rinfo);
	}

	return relation_has_unique_index_for_compat(root, outer, clauses);
}

/*
 * Does a query change rows of the leaf, under its own name or its parent's?
 */
static bool
query_changes(Query *query, Oid leaf_relid, Oid parent_relid)
{
	Oid			target;
	ListCell   *lc;

	if (query->commandType != CMD_SELECT && query->resultRelation > 0)
	{
		target = rt_fetch(query->resultRelation, query->rtable)->relid;
		if (target == leaf_relid || target == parent_relid)
			return true;
	}

	foreach(lc, query->cteList)
	{
		Query	   *cte = castNode(Query, lfirst_node(CommonTableExpr, lc)->ctequery);

		if (query_changes(cte, leaf_relid, parent_relid))
			return true;
	}

	return false;
}

/*
 * Does the statement change rows of the leaf while it searches there?
 */
static bool
statement_changes(PlannerInfo *root, Oid leaf_relid)
{
	Oid			parent_relid = get_rel_relispartition(leaf_relid) ?
		get_partition_parent(leaf_relid, true) : InvalidOid;

	for (; root != NULL; root = root->parent_root)
	{
		if (query_changes(root->parse, leaf_relid, parent_relid))
			return true;
	}

	return false;
}

/*
 * Does an expression read a parameter that the executor sets?
 */
static bool
reads_exec_param(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return ((Param *) node)->paramkind == PARAM_EXEC;

	return expression_tree_walker(node, reads_exec_param, context);
}

/*
 * Would a condition of a scan make it depend on an outer row, while the
 * statement changes the leaf that it reads?
 *
 * Such a scan would be sent again after the first change, and see it.  Without
 * the condition it is sent once, before the first change.  The scan of the
 * result relation itself is not meant: it finds the rows to be changed.
 */
bool
runops_fdw_must_fix(PlannerInfo *root, RelOptInfo *baserel, Oid leaf_relid,
					RestrictInfo *rinfo)
{
	return reads_exec_param((Node *) rinfo->clause, NULL) &&
		!bms_is_member(baserel->relid, root->all_result_relids) &&
		statement_changes(root, leaf_relid);
}

/*
 * May the store be searched for each row of the outer relations?
 *
 * A search sees the earlier changes of the statement in the store, but a scan
 * of the whole table, which begins before them, does not.  So a statement that
 * changes the table may search it only for its own result relation.  For an
 * UPDATE, no row may be found twice in addition.  A deleted row is never found
 * again.
 */
bool
runops_fdw_may_search(PlannerInfo *root, RelOptInfo *baserel,
					  Oid leaf_relid, ParamPathInfo *param_info)
{
	if (!statement_changes(root, leaf_relid))
		return true;
	if (!bms_is_member(baserel->relid, root->all_result_relids))
		return false;

	return root->parse->commandType == CMD_DELETE ||
		searches_once(root, param_info);
}
