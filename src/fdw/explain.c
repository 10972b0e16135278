/*-------------------------------------------------------------------------
 *
 * explain.c
 *	  Shows in EXPLAIN what a plan node has exchanged with a store, and why its
 *	  statement was not sent there as a whole.
 *
 * What happens during a callback for a node counts for that node.  A write opens
 * the scans of its statement that were not sent yet, so a callback for one node
 * can contain one for another.  Then the work counts for the inner one alone.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"
#include "fdw/fdw_int.h"
#include "planner/planner.h"

/* What was added to the usage of nodes so far. */
static RunopsUsage claimed;

/*
 * Add the difference between two usages.
 */
static void
accum_diff(RunopsUsage *sum, const RunopsUsage *now, const RunopsUsage *before)
{
	sum->turns += now->turns - before->turns;
	sum->sent += now->sent - before->sent;
	sum->received += now->received - before->received;
	INSTR_TIME_ACCUM_DIFF(sum->waited, now->waited, before->waited);
}

/*
 * Let a call that has just been entered count for a node, if the node is
 * measured.
 */
void
runops_fdw_measure(RunopsFdwCall *call, PlanState *ps, RunopsUsage *usage)
{
	if (ps->instrument == NULL)
		return;
	call->usage = usage;
	call->start = runops_usage;
	call->start_claimed = claimed;
}

/*
 * Add to the usage of a node what has happened in a call.
 *
 * An error leaves the calls that it ends out, so nothing is counted twice.
 */
void
runops_fdw_measured(RunopsFdwCall *call)
{
	RunopsUsage here = {0};
	RunopsUsage inner = {0};

	accum_diff(&here, &runops_usage, &call->start);
	accum_diff(&inner, &claimed, &call->start_claimed);
	accum_diff(call->usage, &here, &inner);
	/* the inner calls have added theirs already */
	accum_diff(&claimed, &here, &inner);
	call->usage = NULL;
}

/*
 * Show the usage of a node.
 *
 * As core does for buffers, a text leaves out what is zero.
 */
void
runops_fdw_explain_usage(const RunopsUsage *usage, ExplainState *es)
{
	double		waited = INSTR_TIME_GET_MILLISEC(usage->waited);
	bool		timed = es->timing && runops_track_wait_timing;

	if (es->format != EXPLAIN_FORMAT_TEXT)
	{
		ExplainPropertyUInteger("Store Turns", NULL, usage->turns, es);
		ExplainPropertyUInteger("Store Bytes Sent", NULL, usage->sent, es);
		ExplainPropertyUInteger("Store Bytes Received", NULL, usage->received, es);
		if (timed)
			ExplainPropertyFloat("Store Wait Time", NULL, waited, 3, es);
		return;
	}
	if (usage->sent == 0 && usage->received == 0)
		return;

	ExplainPropertyText("Store",
						psprintf("turns=" UINT64_FORMAT " sent=" UINT64_FORMAT " received=" UINT64_FORMAT,
								 usage->turns, usage->sent, usage->received), es);
	if (timed)
		ExplainPropertyText("Store Timings", psprintf("wait=%0.3f", waited), es);
}

/*
 * Show why the statement was not sent to its only store as a whole.
 */
void
runops_fdw_explain_obstacle(ExplainState *es)
{
	const char *obstacle = es->verbose ? runops_plan_obstacle(es->pstmt) : NULL;

	if (obstacle != NULL)
		ExplainPropertyText("Not Sent as a Whole", obstacle, es);
}
