/*-------------------------------------------------------------------------
 *
 * rescan_safety.c
 *	  Whether a statement may search a store again and again without seeing
 *	  what it has done there itself.
 *
 * A scan of postgres_fdw that has begun does not see what its transaction
 * changes later; one that begins later does.  A nested loop begins one for
 * each row of its outer side.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/partition.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"

/*
 * Will the target of an UPDATE be searched at most once for each of its rows,
 * if it is searched for what the outer relations of a path give?
 *
 * A row that is joined to twice would be changed twice then, while core means
 * the first change alone.  Of a scan that began before, the second change finds
 * the row gone.
 */
static bool
searches_once(PlannerInfo *root, ParamPathInfo *param_info)
{
	RelOptInfo *outer;
	List	   *clauses = NIL;
	ListCell   *lc;
	int			relid;

	/* more relations could repeat the rows of the outer one */
	if (bms_num_members(root->all_baserels) != 2 ||
		!bms_get_singleton_member(param_info->ppi_req_outer, &relid))
		return false;
	outer = find_base_rel(root, relid);

	/* core makes what a semijoin gives unique before it searches by it */
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
		/* which side is not the outer relation's; core's working field */
		rinfo->outer_is_left = bms_equal(rinfo->right_relids,
										 param_info->ppi_req_outer);
		if (rinfo->outer_is_left ||
			bms_equal(rinfo->left_relids, param_info->ppi_req_outer))
			clauses = lappend(clauses, rinfo);
	}

	return relation_has_unique_index_for_compat(root, outer, clauses);
}

/*
 * Does a query change rows of the leaf, by its own name or its parent's?
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
	Oid			parent_relid = get_partition_parent(leaf_relid, true);

	for (; root != NULL; root = root->parent_root)
	{
		if (query_changes(root->parse, leaf_relid, parent_relid))
			return true;
	}

	return false;
}

/*
 * May the store be searched for each row of the outer relations?
 *
 * A search sees what the statement has done in the store before, where a scan
 * of the whole table would have begun earlier.  So a statement that changes
 * the table searches it only for its own target, and for the target of an
 * UPDATE only where no row can be found twice.  A row that was deleted is not
 * found again.
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
