/*-------------------------------------------------------------------------
 *
 * plancache.c
 *	  Steers the plan cache between generic and custom plans by their cost.
 *
 * The cost of a generic plan sums the costs of all stores, although run-time
 * pruning may leave only one.  So choose_custom_plan() would plan each
 * execution again.  If a generic plan is as good as a custom plan, its cost is
 * lowered to the cost of one store.  If a plan for known values is better, the
 * generic plan's cost is raised instead; for example, a join, an aggregate or
 * a LIMIT can be pushed down only to a known store.
 *
 * A statement that is sent as a whole is planned here only as far as its text, and its
 * generic plan has the same text.  So a plan of it for known values gets a higher
 * cost, which is taken away when the plan is started.  Otherwise a generic plan that
 * is expensive for legacy would be avoided, although only ids of stores come.
 *
 * A plan is generic only if no values are bound and the query has an external
 * parameter.  Most generic plans are not changed here, because their
 * parameters are assumed to be ids of legacy; see any_id.c.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "jit/jit.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"

#include "base/compat.h"
#include "planner/planner_int.h"

/* The results of the walk over a plan. */
typedef struct PlanFindings
{
	Cost		saved;			/* cost that pruning to one store saves */
	bool		prunes;			/* does run-time pruning exclude leaves? */
	bool		connects;		/* does it use stores only at startup? */
} PlanFindings;

/*
 * Walker: is there an external parameter?
 */
static bool
extern_param_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return ((Param *) node)->paramkind == PARAM_EXTERN;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, extern_param_walker, context,
								 QTW_IGNORE_JOINALIASES);

	return expression_tree_walker(node, extern_param_walker, context);
}

/*
 * Does a query or an expression have an external parameter?
 */
bool
runops_has_extern_param(Node *node)
{
	return extern_param_walker(node, NULL);
}

/*
 * Decide, before planning, how to steer the plan cache.
 *
 * The planner changes the query, so this cannot be decided afterwards.
 */
RunopsSteering
runops_steering(Query *parse, ParamListInfo params, const RunopsTally *tally)
{
	Query	   *level = tally->level;

	if (params != NULL || (!tally->guess && tally->nunknown == 0) ||
		!runops_has_extern_param((Node *) parse))
		return RUNOPS_STEER_NONE;

	if (tally->guess || tally->ntables > 1)
		return RUNOPS_STEER_CUSTOM;

	if (level->hasAggs || level->groupClause || level->groupingSets ||
		level->distinctClause || level->hasWindowFuncs ||
		level->limitCount || level->limitOffset)
		return RUNOPS_STEER_CUSTOM;

	return RUNOPS_STEER_GENERIC;
}

/*
 * Note by how much an Append or MergeAppend costs more than its cheapest
 * child.
 */
static void
note_append(Plan *append, List *children, PlanFindings *findings)
{
	Cost		cheapest = append->total_cost;
	ListCell   *lc;

	foreach(lc, children)
		cheapest = Min(cheapest, ((Plan *) lfirst(lc))->total_cost);
	findings->saved += append->total_cost - cheapest;
	findings->prunes = true;
}

/*
 * Search a plan for the facts that steering needs.
 */
static void
walk_plan(Plan *plan, PlanFindings *findings)
{
	if (plan == NULL)
		return;

	check_stack_depth();

	switch (nodeTag(plan))
	{
		case T_Append:
			if (APPEND_PRUNES((Append *) plan))
				note_append(plan, ((Append *) plan)->appendplans, findings);
			break;
		case T_MergeAppend:
			if (APPEND_PRUNES((MergeAppend *) plan))
				note_append(plan, ((MergeAppend *) plan)->mergeplans, findings);
			break;
		case T_SubqueryScan:
			walk_plan(((SubqueryScan *) plan)->subplan, findings);
			break;
		case T_ModifyTable:
			{
				ModifyTable *modify = (ModifyTable *) plan;
				int			i = 0;
				ListCell   *lc;

				foreach(lc, modify->fdwPrivLists)
				{
					if (lfirst(lc) != NIL &&
						!bms_is_member(i, modify->fdwDirectModifyPlans))
						findings->connects = true;
					i++;
				}
				break;
			}
		default:
			break;
	}

	walk_plan(plan->lefttree, findings);
	walk_plan(plan->righttree, findings);
}

/*
 * Adjust the cost of a generic plan, by which the plan cache decides.
 */
void
runops_steer(PlannedStmt *stmt, RunopsSteering steering)
{
	Plan	   *plan = stmt->planTree;
	PlanFindings findings = {0};

	if (steering == RUNOPS_STEER_NONE)
		return;

	walk_plan(plan, &findings);

	/*
	 * Before 18 the executor starts every result relation of an UPDATE or
	 * DELETE, which opens a connection, even if the relation is pruned.
	 */
	if (findings.connects && !PG18_GE && plan->type == T_ModifyTable &&
		((ModifyTable *) plan)->operation != CMD_INSERT)
		steering = RUNOPS_STEER_CUSTOM;

	/*
	 * With one leaf there is no Append, so nothing would raise the error for
	 * an id whose store the table lacks.
	 */
	if (!findings.prunes)
		steering = RUNOPS_STEER_CUSTOM;

	if (steering == RUNOPS_STEER_CUSTOM)
	{
		plan->total_cost += RUNOPS_AVOID_COST;
		return;
	}

	plan->total_cost = Max(plan->total_cost - findings.saved, 0);
	plan->startup_cost = Min(plan->startup_cost, plan->total_cost);

	/* standard_planner() has decided on JIT by the unadjusted cost. */
	if (plan->total_cost <= jit_above_cost)
		stmt->jitFlags = PGJIT_NONE;
	else
	{
		if (plan->total_cost <= jit_optimize_above_cost)
			stmt->jitFlags &= ~PGJIT_OPT3;
		if (plan->total_cost <= jit_inline_above_cost)
			stmt->jitFlags &= ~PGJIT_INLINE;
	}
}

/*
 * Raise the cost of a plan for known values, if a generic plan is as good.
 */
void
runops_prefer_generic(PlannedStmt *stmt, Query *parse, ParamListInfo params)
{
	if (IsA(stmt->planTree, CustomScan) && params != NULL &&
		runops_has_extern_param((Node *) parse))
		stmt->planTree->total_cost += RUNOPS_AVOID_COST;
}

/*
 * Give a plan whose cost was raised its own cost again, for whoever looks at it.  The
 * plan of the plan cache is not changed.
 */
void
runops_restore_cost(QueryDesc *queryDesc)
{
	CustomScan *node = (CustomScan *) queryDesc->plannedstmt->planTree;
	PlannedStmt *stmt;

	if (!IsA(node, CustomScan) || strcmp(node->methods->CustomName, RUNOPS_STATEMENT_NAME) != 0)
		return;
	stmt = makeNode(PlannedStmt);
	memcpy(stmt, queryDesc->plannedstmt, sizeof(PlannedStmt));
	stmt->planTree = (Plan *) makeNode(CustomScan);
	memcpy(stmt->planTree, node, sizeof(CustomScan));
	stmt->planTree->total_cost -= RUNOPS_AVOID_COST;
	queryDesc->plannedstmt = stmt;
}
