/*-------------------------------------------------------------------------
 *
 * wanted_rows.c
 *	  Tells how many rows the executor certainly wants of a scan that locks what
 *	  it reads.
 *
 * Core locks a row after it has passed the conditions and before it counts for a
 * LIMIT.  A scan of a store locks rows before it returns them, and must not lock
 * more than are wanted.  What is wanted follows from the nodes above the scan,
 * and from the number of rows that the client asks for.
 *
 * The executor does not tell a scan about the nodes above it.  So the hook of
 * ExecutorRun keeps the statement that is being executed.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"

#include "base/compat.h"
#include "xact/xact.h"

/* A search for a scan, and what is wanted of the nodes above it. */
typedef struct Search
{
	PlanState  *scan;
	bool		ever;
	RunopsWanted wanted;
} Search;

/* the statement with a locking clause that is being executed, or all zero */
static RunopsRun current;

/* all rows; one; or at least one, and perhaps all */
static const RunopsWanted all = {.rows = -1};
static const RunopsWanted one = {.rows = 1};
static const RunopsWanted some = {.rows = 1, .grows = true};

/*
 * A statement with a locking clause is about to be executed.  Returns the one
 * that was before, for runops_run_leave().
 */
RunopsRun
runops_run_enter(QueryDesc *queryDesc, uint64 count)
{
	RunopsRun	before = current;

	current.queryDesc = queryDesc;
	current.count = count;

	return before;
}

/*
 * The execution has ended, perhaps by an error.
 */
void
runops_run_leave(RunopsRun before)
{
	current = before;
}

/*
 * The top of the plan that is being executed for a scan; NULL if it is not
 * known.
 */
PlanState *
runops_run_top(EState *estate)
{
	return current.queryDesc != NULL && current.queryDesc->estate == estate ?
		current.queryDesc->planstate : NULL;
}

/*
 * What is wanted of the outer child of a node.
 */
static RunopsWanted
wanted_below(PlanState *node, RunopsWanted wanted, bool ever)
{
	switch (nodeTag(node))
	{
		case T_LimitState:
			{
				LimitState *limit = (LimitState *) node;
				int64		skip = Max(limit->offset - limit->position, 0);

				if (limit->lstate == LIMIT_INITIAL)
					return some;
				if (wanted.rows >= 0)
					wanted.rows += skip;
				if (!limit->noCount)
				{
					int64		rest = Max(limit->offset + limit->count - limit->position, 0);

					wanted.rows = wanted.rows < 0 ? rest : Min(wanted.rows, rest);
				}
				wanted.least = limit->limitOption == LIMIT_OPTION_WITH_TIES;
				return wanted;
			}
		case T_LockRowsState:
			return wanted;
		case T_AppendState:
			if (((AppendState *) node)->as_nasyncplans > 0 && !ever)
				return one;
			return wanted;
		case T_MergeAppendState:
			/* it reads one row of each child, and then one after another */
			return ever ? wanted : one;
		case T_ResultState:
		case T_SubqueryScanState:
		case T_UniqueState:
		case T_GroupState:
			/* each row that is wanted needs at least one from below */
			if (node->qual != NULL || IsA(node, UniqueState) || IsA(node, GroupState))
				wanted.least = true;
			return wanted;
		case T_SortState:
		case T_HashState:
		case T_ModifyTableState:
		case T_SetOpState:
			return all;
		case T_AggState:
			return ((Agg *) node->plan)->aggstrategy == AGG_PLAIN ||
				((Agg *) node->plan)->aggstrategy == AGG_HASHED ? all : some;
		default:
			return some;
	}
}

/*
 * Walker: find the scan below a node.
 */
static bool
search(PlanState *node, void *context)
{
	Search	   *above = (Search *) context;
	Search		below = *above;
	ListCell   *lc;

	if (node == NULL)
		return false;
	if (node == above->scan)
		return true;

	/* its own sub-plans are executed for their own sake */
	foreach(lc, list_concat_copy(node->initPlan, node->subPlan))
	{
		below.wanted = some;
		if (search(lfirst_node(SubPlanState, lc)->planstate, &below))
		{
			above->wanted = below.wanted;
			return true;
		}
	}

	below.wanted = wanted_below(node, above->wanted, above->ever);
	if (!planstate_tree_walker(node, search, &below))
		return false;
	above->wanted = below.wanted;

	return true;
}

/*
 * How many rows are certainly wanted of a scan from now on?
 *
 * top is the top of its plan, or NULL if it is not known.  ever: also by later
 * executions of the same statement, so that the number of rows that the client
 * wants now does not count.
 */
RunopsWanted
runops_rows_wanted(PlanState *top, PlanState *scan, bool ever)
{
	Search		context = {.scan = scan, .ever = ever, .wanted = all};

	if (top == NULL)
		return ever ? all : some;
	if (!ever)
	{
		if (current.queryDesc == NULL || current.queryDesc->planstate != top)
			context.wanted = some;
		else if (current.count > 0)
			context.wanted.rows = Max((int64) (current.count - scan->state->es_processed), 1);
	}
	if (!search(top, &context))
		return ever ? all : some;
	if (ever && (context.wanted.grows || context.wanted.least))
		return all;

	return context.wanted;
}
