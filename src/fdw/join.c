/*-------------------------------------------------------------------------
 *
 * join.c
 *	  Decides which joins of leaves to push down to their store, and estimates
 *	  their costs and the costs of groupings above them.
 *
 * Two things keep postgres_fdw from pushing down a useful join.  First, the
 * store does not know "store_of(a.key) = store_of(b.key)", by which a query
 * may ask for a partition-wise join.  Between two leaves of one store this
 * clause is always true, so it is removed.  Second, without remote estimates
 * postgres_fdw assumes that the store compares each row with each other row,
 * so it fetches both tables completely unless they are tiny.  The store has
 * better join methods: this file assumes a hash join, or an index scan if the
 * index is known to exist.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/partcache.h"

#include "fdw/fdw_int.h"
#include "gate/gate.h"
#include "topology/topology.h"

/* postgres_fdw's assumption: the cost factor of a sorted result */
#define SORT_MULTIPLIER 1.2

/*
 * Does a table have a locking clause with NOWAIT or SKIP LOCKED?
 */
static bool
any_wait_policy(PlannerInfo *root, Relids relids)
{
	int			rti = -1;

	if (root->rowMarks == NIL)
		return false;
	while ((rti = bms_next_member(relids, rti)) >= 0)
	{
		if (runops_fdw_wait_policy(root, rti) != LockWaitBlock)
			return true;
	}

	return false;
}

/*
 * Does the expression occur in the tree?
 */
static bool
contains_expr(Node *node, void *expr)
{
	if (node == NULL)
		return false;
	if (equal(node, expr))
		return true;

	return expression_tree_walker(node, contains_expr, expr);
}

/*
 * If the expression is the partition key of a leaf, copy the store of the leaf
 * to store[RUNOPS_STORE_LEN].
 */
static bool
key_store(PlannerInfo *root, Node *expr, char *store)
{
	Relids		relids;
	int			rti;
	Relation	rel;
	List	   *qual;

	if (!IsA(expr, FuncExpr) ||
		((FuncExpr *) expr)->funcid != runops_store_of_oid())
		return false;

	relids = pull_varnos(root, expr);
	if (!bms_get_singleton_member(relids, &rti) ||
		planner_rt_fetch(rti, root)->rtekind != RTE_RELATION)
		return false;

	rel = table_open(planner_rt_fetch(rti, root)->relid, NoLock);
	qual = RelationGetPartitionQual(rel);
	ChangeVarNodes((Node *) qual, 1, rti, 0);
	table_close(rel, NoLock);

	return contains_expr((Node *) qual, expr) &&
		runops_leaf_store(planner_rt_fetch(rti, root)->relid, store);
}

/*
 * Does a clause only say that two leaves of one store belong to the same
 * store?
 */
static bool
is_implied(PlannerInfo *root, RestrictInfo *rinfo)
{
	OpExpr	   *op = (OpExpr *) rinfo->clause;
	char		left[RUNOPS_STORE_LEN];
	char		right[RUNOPS_STORE_LEN];

	return IsA(op, OpExpr) &&
		list_length(op->args) == 2 &&
		rinfo->mergeopfamilies != NIL &&
		key_store(root, linitial(op->args), left) &&
		key_store(root, lsecond(op->args), right) &&
		strcmp(left, right) == 0;
}

/*
 * The join clauses without those that the partition constraints imply.
 *
 * Below an outer join a key may be NULL although it is not in the leaf.  So
 * the clauses of a join of joins are kept unchanged.
 */
static List *
needed_clauses(PlannerInfo *root, RelOptInfo *outerrel, RelOptInfo *innerrel,
			   List *restrictlist)
{
	List	   *result = NIL;
	ListCell   *lc;

	if (root->join_info_list != NIL &&
		(!IS_SIMPLE_REL(outerrel) || !IS_SIMPLE_REL(innerrel)))
		return restrictlist;

	foreach(lc, restrictlist)
	{
		if (!is_implied(root, lfirst(lc)))
			result = lappend(result, lfirst(lc));
	}

	return result;
}

/*
 * The cost for the store to search the inner table for each row of the outer
 * one, without the cost of reading the outer table; negative if it has no
 * index.
 */
static Cost
nested_loop_cost(PlannerInfo *root, RelOptInfo *outerrel, RelOptInfo *innerrel)
{
	Cost		result = -1.0;
	ListCell   *lc;

	if (!IS_SIMPLE_REL(innerrel))
		return result;

	foreach(lc, innerrel->ppilist)
	{
		ParamPathInfo *param_info = (ParamPathInfo *) lfirst(lc);
		Cost		cost;

		/* the leaf of a table is parameterized by tables, not by leaves */
		if (!bms_is_subset(param_info->ppi_req_outer, outerrel->relids) &&
			!bms_is_subset(param_info->ppi_req_outer, outerrel->top_parent_relids))
			continue;

		cost = runops_fdw_search_cost(root, innerrel, param_info);
		if (cost >= 0 && (result < 0 || cost * outerrel->rows < result))
			result = cost * outerrel->rows;
	}

	return result;
}

/*
 * The cost for the store of a hash join, without the cost of reading both
 * tables; negative if a hash join is not possible.
 */
static Cost
hash_cost(RelOptInfo *outerrel, RelOptInfo *innerrel, List *restrictlist)
{
	ListCell   *lc;

	foreach(lc, restrictlist)
	{
		if (OidIsValid(((RestrictInfo *) lfirst(lc))->hashjoinoperator))
			return (outerrel->rows + innerrel->rows) * cpu_operator_cost;
	}

	return -1.0;
}

/*
 * The cost of reading a relation in the store, without fetching its rows.
 */
static Cost
read_cost(RelOptInfo *rel, Cost fdw_startup_cost, Cost fdw_tuple_cost)
{
	return Max(0.0, rel->cheapest_total_path->total_cost - fdw_startup_cost -
			   rel->rows * fdw_tuple_cost);
}

/*
 * The cost of a remote join by the best method that the store is known to
 * have; negative if there is none.
 *
 * The result must be fetched, so a join that multiplies rows costs more than a
 * local join.
 */
static Cost
remote_join_cost(PlannerInfo *root, RelOptInfo *joinrel, RelOptInfo *outerrel,
				 RelOptInfo *innerrel, JoinType jointype, List *restrictlist)
{
	Cost		fdw_startup_cost;
	Cost		fdw_tuple_cost;
	Cost		outer_cost;
	Cost		inner_cost;
	Cost		cost;
	Cost		best = -1.0;

	runops_fdw_remote_costs(joinrel->serverid, &fdw_startup_cost,
							&fdw_tuple_cost);
	outer_cost = read_cost(outerrel, fdw_startup_cost, fdw_tuple_cost);
	inner_cost = read_cost(innerrel, fdw_startup_cost, fdw_tuple_cost);

	cost = hash_cost(outerrel, innerrel, restrictlist);
	if (cost >= 0)
		best = outer_cost + inner_cost + cost;

	cost = nested_loop_cost(root, outerrel, innerrel);
	if (cost >= 0 && (best < 0 || outer_cost + cost < best))
		best = outer_cost + cost;

	if (jointype == JOIN_INNER)
	{
		cost = nested_loop_cost(root, innerrel, outerrel);
		if (cost >= 0 && (best < 0 || inner_cost + cost < best))
			best = inner_cost + cost;
	}

	if (best < 0)
		return best;

	return best + fdw_startup_cost +
		joinrel->rows * (fdw_tuple_cost + cpu_tuple_cost);
}

/*
 * Offer remote joins.
 *
 * There are none if a table is known to be empty, because such a table has no
 * postgres_fdw state.  With NOWAIT or SKIP LOCKED there are none either,
 * because these can only be added to the statement of a single table.  The
 * same is true if a condition must not be sent, because it may leak rows that
 * a policy hides, or has another result in the store.
 *
 * If rows are locked or changed, postgres_fdw looks for a local join among the
 * existing paths.  Otherwise the paths of postgres_fdw are kept apart until
 * their costs are corrected, because add_path() would reject them at their
 * first cost.
 */
void
runopsGetForeignJoinPaths(PlannerInfo *root, RelOptInfo *joinrel,
						  RelOptInfo *outerrel, RelOptInfo *innerrel,
						  JoinType jointype, JoinPathExtraData *extra)
{
	JoinPathExtraData needed = *extra;
	List	   *local_paths;
	List	   *remote_paths;
	Cost		cost;
	ListCell   *lc;

	if (runops_gate_flag_off() ||
		any_wait_policy(root, joinrel->relids))
		return;

	needed.restrictlist = needed_clauses(root, outerrel, innerrel,
										 extra->restrictlist);
	if (!runops_fdw_may_send_join(root, joinrel->serverid, needed.restrictlist))
		return;

	if (root->parse->commandType != CMD_SELECT || root->rowMarks != NIL)
	{
		runops_fdw_offer_join_paths(root, joinrel, outerrel, innerrel, jointype,
									&needed);
		return;
	}

	local_paths = joinrel->pathlist;
	joinrel->pathlist = NIL;
	runops_fdw_offer_join_paths(root, joinrel, outerrel, innerrel, jointype,
								&needed);
	remote_paths = joinrel->pathlist;
	joinrel->pathlist = local_paths;
	if (remote_paths == NIL)
		return;

	cost = remote_join_cost(root, joinrel, outerrel, innerrel, jointype,
							needed.restrictlist);
	foreach(lc, remote_paths)
	{
		Path	   *path = (Path *) lfirst(lc);

		Cost		path_cost = path->pathkeys ? cost * SORT_MULTIPLIER : cost;

		if (cost >= 0 && path_cost < path->total_cost)
		{
			path->total_cost = path_cost;
			path->startup_cost = Min(path->startup_cost, path_cost);
		}
		add_path(joinrel, path);
	}
}

/* What dependent_walker looks for. */
typedef struct DependentContext
{
	List	   *groups;			/* the expressions of GROUP BY */
} DependentContext;

/*
 * Walker: is there a column outside of aggregates and of what is grouped by?
 */
static bool
dependent_walker(Node *node, void *context)
{
	if (node == NULL || IsA(node, Aggref) || IsA(node, GroupingFunc) ||
		list_member(((DependentContext *) context)->groups, node))
		return false;
	if (IsA(node, Var))
		return true;

	return expression_tree_walker(node, dependent_walker, context);
}

/*
 * Does a grouping use columns that only depend on what is grouped by?
 *
 * That is so if a routed table is grouped by its primary key.  postgres_fdw
 * knows no such columns, because a foreign table has no primary key: it leaves
 * those out that are part of an expression which it does not send.  The store
 * sees the dependency only in a plain reference to the table, and only if it has
 * the primary key.
 */
static bool
has_dependent_columns(PlannerInfo *root, RelOptInfo *grouped_rel, Node *having)
{
	DependentContext cxt;

	cxt.groups = get_sortgrouplist_exprs(root->parse->groupClause, root->processed_tlist);

	return dependent_walker((Node *) grouped_rel->reltarget->exprs, &cxt) ||
		dependent_walker(having, &cxt);
}

/*
 * Would a step above the scans and joins have another result in the store?
 *
 * A LIMIT is sent only together with the ordering below it.
 */
static bool
step_differs(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input_rel,
			 RelOptInfo *output_rel, void *extra)
{
	RunopsCollations known;

	switch (stage)
	{
		case UPPERREL_GROUP_AGG:
			return runops_fdw_groups_differ(root, input_rel->serverid, output_rel,
											((GroupPathExtraData *) extra)->havingQual) ||
				has_dependent_columns(root, output_rel, ((GroupPathExtraData *) extra)->havingQual);
		case UPPERREL_ORDERED:
			runops_sentinel_collations(input_rel->serverid, &known);
			return runops_fdw_sort_differs(&known, input_rel, root->sort_pathkeys);
		default:
			return false;
	}
}

/*
 * The cost of the remote join that is the input of a grouping; negative if
 * there is none.
 */
static Cost
input_join_cost(RelOptInfo *input_rel)
{
	ListCell   *lc;

	foreach(lc, input_rel->pathlist)
	{
		Path	   *path = (Path *) lfirst(lc);

		if (IsA(path, ProjectionPath))
			path = ((ProjectionPath *) path)->subpath;
		if (IsA(path, ForeignPath) && path->pathkeys == NIL &&
			path->param_info == NULL)
			return path->total_cost;
	}

	return -1.0;
}

/*
 * Let the store apply the LIMIT of a query on one of its tables, if possible.
 *
 * A local LIMIT is never better: a store that knows the limit sends no more
 * rows and sorts no more than necessary, and chooses its plan for it.  The
 * cost estimates do not show that, because for a few rows both ways cost the
 * same.
 */
static void
limit_in_store(PlannerInfo *root, RelOptInfo *input_rel, RelOptInfo *final_rel,
			   void *extra)
{
	List	   *local_paths = final_rel->pathlist;

	final_rel->pathlist = NIL;
	pgfdw.GetForeignUpperPaths(root, UPPERREL_FINAL, input_rel, final_rel, extra);
	if (final_rel->pathlist == NIL)
		final_rel->pathlist = local_paths;
}

/*
 * Offer remote grouping, ordering and limits, unless the input is known to be
 * empty.
 *
 * postgres_fdw computes the cost of a grouping from its own cost of the join
 * below.  As our join is much cheaper, the grouping would never be pushed
 * down.
 */
void
runopsGetForeignUpperPaths(PlannerInfo *root, UpperRelationKind stage,
						   RelOptInfo *input_rel, RelOptInfo *output_rel,
						   void *extra)
{
	List	   *local_paths;
	List	   *remote_paths;
	Cost		fdw_startup_cost;
	Cost		fdw_tuple_cost;
	Cost		join_cost;
	ListCell   *lc;

	if (runops_gate_flag_off() ||
		step_differs(root, stage, input_rel, output_rel, extra))
		return;

	if (stage == UPPERREL_FINAL && ((FinalPathExtraData *) extra)->limit_needed &&
		bms_num_members(root->all_baserels) == 1)
	{
		limit_in_store(root, input_rel, output_rel, extra);
		return;
	}
	if (stage != UPPERREL_GROUP_AGG || !IS_JOIN_REL(input_rel))
	{
		pgfdw.GetForeignUpperPaths(root, stage, input_rel, output_rel, extra);
		return;
	}

	local_paths = output_rel->pathlist;
	output_rel->pathlist = NIL;
	pgfdw.GetForeignUpperPaths(root, stage, input_rel, output_rel, extra);
	remote_paths = output_rel->pathlist;
	output_rel->pathlist = local_paths;
	if (remote_paths == NIL)
		return;

	join_cost = input_join_cost(input_rel);
	runops_fdw_remote_costs(input_rel->serverid, &fdw_startup_cost,
							&fdw_tuple_cost);
	foreach(lc, remote_paths)
	{
		Path	   *path = (Path *) lfirst(lc);
		Cost		cost;

		/* the rows of the join are grouped and not fetched */
		cost = Max(fdw_startup_cost,
				   join_cost - input_rel->rows * (fdw_tuple_cost + cpu_tuple_cost)) +
			input_rel->rows * cpu_operator_cost +
			path->rows * (fdw_tuple_cost + cpu_tuple_cost);
		if (join_cost >= 0 && cost < path->total_cost)
		{
			path->total_cost = cost;
			path->startup_cost = Min(path->startup_cost, cost);
		}
		add_path(output_rel, path);
	}
}
