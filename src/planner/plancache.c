/*-------------------------------------------------------------------------
 *
 * plancache.c
 *	  Steers the plan cache between generic and custom plans by their cost.
 *
 * The cost of a generic plan sums every store, although run-time pruning lets
 * it touch one, so choose_custom_plan() would have each execution planned
 * again.  Where a generic plan does all that a custom one can, its cost is
 * lowered to that of one store.  Where a plan for known values is better (a
 * join, an aggregate or a LIMIT can be pushed to one store only if it is known
 * which), the generic plan's cost is raised instead.
 *
 * A plan is generic only if no values are bound and the query has an external
 * parameter.  Most generic plans are not steered at all, because their
 * parameters are taken for ids of legacy; see generic_plan.c.
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

/* More than any plan for known values costs; core uses as much. */
#define AVOID_COST	1.0e10

/* What the walk over a plan finds. */
typedef struct PlanFindings
{
	Cost		saved;			/* what pruning to one store saves */
	bool		prunes;			/* is a leaf ruled out at run time? */
	bool		connects;		/* does it reach stores only to start up? */
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
 * Decide, before planning, how the plan cache is to be steered.
 *
 * The planner changes the query, so this cannot be asked afterwards.
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
 * Note what an Append or MergeAppend costs beyond its cheapest child.
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
 * Look through a plan for what steering has to know.
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
 * Adjust the cost by which the plan cache compares a generic plan.
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
	 * Before 18 the executor starts up every target relation of an UPDATE or
	 * DELETE, and with it a connection, whatever is pruned.
	 */
	if (findings.connects && !PG18_GE && plan->type == T_ModifyTable &&
		((ModifyTable *) plan)->operation != CMD_INSERT)
		steering = RUNOPS_STEER_CUSTOM;

	/*
	 * With one leaf there is no Append, and nothing that would raise for an
	 * id whose store the table lacks.
	 */
	if (!findings.prunes)
		steering = RUNOPS_STEER_CUSTOM;

	if (steering == RUNOPS_STEER_CUSTOM)
	{
		plan->total_cost += AVOID_COST;
		return;
	}

	plan->total_cost = Max(plan->total_cost - findings.saved, 0);
	plan->startup_cost = Min(plan->startup_cost, plan->total_cost);

	/* standard_planner has decided on JIT by the sum. */
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
