/*-------------------------------------------------------------------------
 *
 * scan.c
 *	  Implements the callbacks of runops_fdw for scans, also asynchronous ones.
 *
 * postgres_fdw has planned the scan: its fdw_private has the statement, and
 * fdw_exprs the parameters.  Nothing is sent before the first row is wanted:
 * core begins every child of an Append that it prunes for each outer row, and
 * a child that is never executed must not connect to its store, which may be
 * down.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "executor/execAsync.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "storage/latch.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* the number of estimated rows up to which a scan has no cursor */
#define FEW_ROWS 100

/* The state of a scan; it lives in the memory of the statement. */
typedef struct RemoteScan
{
	RunopsQuery query;
	RunopsRowType row;
	RunopsParams params;
	Bitmapset  *exec_params;	/* parameters of the executor that are sent */
	RunopsLocker *locker;		/* locks the rows by key; or NULL */
	Bitmapset  *qual_params;	/* ... the parameters of its conditions */
	PlanState  *top;			/* of the plan, if the scan locks rows */
	int			last_wanted;
	ForeignScanState *node;
	bool		begun;			/* are the parameters evaluated? */
	MemoryContext scratch;		/* reset when the scan begins again */
	Oid			reader;			/* foreign table of the reader, or InvalidOid */
	RunopsUsage usage;			/* if the node is measured */
	instr_time	wait_start;		/* of core, for an asynchronous scan */
	AsyncRequest *request;		/* of the Append, if it is asynchronous */
} RemoteScan;

/*
 * Is a scan the only one of its statement that reads from its server, and is
 * it executed only once?
 *
 * A function that is not built in could run a query of the same snapshot.  The
 * planner lists these functions among the objects that the plan depends on.
 */
static bool
is_single(ForeignScanState *node, const Bitmapset *params)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	PlannedStmt *stmt = node->ss.ps.state->es_plannedstmt;
	Bitmapset  *own = FOREIGN_SCAN_BASE_RELIDS(plan);
	Index		rti = 0;
	ListCell   *lc;

	if (!bms_is_empty(params) || stmt->commandType != CMD_SELECT ||
		stmt->hasModifyingCTE)
		return false;
	foreach(lc, stmt->invalItems)
	{
		if (((PlanInvalItem *) lfirst(lc))->cacheId == PROCOID)
			return false;
	}
	foreach(lc, node->ss.ps.state->es_range_table)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		rti++;
		if (rte->rtekind == RTE_RELATION && rte->relkind == RELKIND_FOREIGN_TABLE &&
			!bms_is_member(rti, own) &&
			GetForeignServerIdByRelId(rte->relid) == plan->fs_server)
			return false;
	}

	return true;
}

static void start_scan(void *arg);
static void lock_rest(void *arg);
static int64 rows_wanted(void *arg, bool ever);

/*
 * Begin a call for a scan.
 *
 * begins: does the call connect?
 */
static void
enter(RunopsFdwCall *call, ForeignScanState *node, bool begins)
{
	runops_fdw_enter_scan(call, node, begins);
	runops_fdw_measure(call, &node->ss.ps, &((RemoteScan *) node->fdw_state)->usage);
}

/*
 * Begin a scan.  The real work is done when its first row is wanted.
 */
static void
runopsBeginForeignScan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	RemoteScan *state;
	RunopsQuery *q;
	Relation	rel = plan->scan.scanrelid > 0 ? node->ss.ss_currentRelation : NULL;
	Bitmapset  *here_params = NULL;
	int			rti = -1;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;

	state = palloc0(sizeof(RemoteScan));
	state->node = node;
	state->scratch = AllocSetContextCreate(CurrentMemoryContext, "runops scan",
										   ALLOCSET_SMALL_SIZES);
	node->fdw_state = state;
	(void) runops_fdw_collect_params((Node *) plan->fdw_exprs, &state->exec_params);
	runops_fdw_init_params(&state->params, &node->ss.ps, plan->fdw_exprs);
	runops_fdw_init_row(&state->row, rel, node, (List *) runops_fdw_private(plan->fdw_private, SCAN_ATTRS, T_IntList));

	q = &state->query;
	q->use.relid = runops_fdw_scan_relid(node);
	q->use.userid = runops_fdw_scan_userid(node);
	q->use.serverid = plan->fs_server;
	q->sql = strVal(runops_fdw_private(plan->fdw_private, SCAN_SQL, T_String));
	q->nparams = state->params.n;
	q->values = state->params.values;
	q->need = runops_fdw_scan_locks(node) ? RUNOPS_NEED_LOCKS :
		is_single(node, state->exec_params) ? RUNOPS_NEED_NOTHING : RUNOPS_NEED_SNAPSHOT;
	q->reads = true;
	q->whole = q->need != RUNOPS_NEED_LOCKS && plan->scan.plan.plan_rows <= FEW_ROWS &&
		plan->scan.plan.qual == NIL;

	/*
	 * core does not announce that a sub-plan is executed again for an outer
	 * row, on which only a condition depends that is evaluated here
	 */
	(void) runops_fdw_collect_params((Node *) plan->scan.plan.qual, &here_params);
	q->rewinds = (eflags & (EXEC_FLAG_REWIND | EXEC_FLAG_BACKWARD)) != 0 ||
		(bms_is_empty(state->exec_params) && !bms_is_empty(here_params));
	q->fixable = bms_is_empty(state->exec_params);
	q->fetch_size = intVal(runops_fdw_private(plan->fdw_private, SCAN_FETCH_SIZE, T_Integer));
	q->snapshot = node->ss.ps.state->es_snapshot;
	while ((rti = bms_next_member(FOREIGN_SCAN_BASE_RELIDS(plan), rti)) >= 0)
		q->relids = lappend_oid(q->relids, exec_rt_fetch(rti, node->ss.ps.state)->relid);
	q->start = start_scan;
	q->arg = &state->row;
	if (q->need == RUNOPS_NEED_LOCKS)
		q->wanted = rows_wanted;
	if (q->need == RUNOPS_NEED_LOCKS && runops_fdw_locks_by_key(plan) &&
		node->ss.ps.state->es_epq_active == NULL)
	{
		state->locker = runops_fdw_locker(node, q, &state->params);
		(void) runops_fdw_collect_params((Node *) plan->scan.plan.qual, &state->qual_params);
		q->fixable = q->fixable && bms_is_empty(state->qual_params);
		q->rewinds = false;
		q->lock_rest = lock_rest;
	}
	runops_query_init(q);
}

/*
 * Prepare to send the query of a scan: choose the reader, check the role, and
 * evaluate the parameters.
 *
 * The order matters.  Errors name the store from here on, and the locks are
 * noted, which may raise, before there is a connection.
 */
static void
begin_scan(ForeignScanState *node)
{
	RemoteScan *state = (RemoteScan *) node->fdw_state;
	RunopsQuery *q = &state->query;
	RunopsStoreUse use = q->use;

	if (state->begun)
		return;
	state->reader = runops_reader_for_scan(node);
	if (OidIsValid(state->reader))
	{
		use.serverid = GetForeignServerIdByRelId(state->reader);
		runops_fdw_gate_require(&use);
	}
	else
		runops_fdw_one_role(&use, q->need == RUNOPS_NEED_LOCKS);
	q->use = use;
	runops_fdw_note_scan_locks(node);
	runops_fdw_eval_params(&state->params, node->ss.ps.ps_ExprContext);
	if (OidIsValid(state->reader))
		runops_stats_add(use.relid, RUNOPS_READER_READS, 1);
	if (q->need == RUNOPS_NEED_LOCKS)
		runops_fdw_note_commit(use.relid);
	state->begun = true;
}

/*
 * Send the query of a scan, and wait for its first rows if wait is true.
 */
static void
open_scan(ForeignScanState *node, bool wait)
{
	RemoteScan *state = (RemoteScan *) node->fdw_state;
	MemoryContext oldcontext;
	RunopsFdwCall call;

	if (state->query.state != RUNOPS_QUERY_NEW)
		return;

	MemoryContextReset(state->scratch);
	oldcontext = MemoryContextSwitchTo(state->scratch);
	(void) runops_fdw_use(state->query.use.relid, state->query.use.userid);
	enter(&call, node, true);
	begin_scan(node);
	if (wait)
		runops_query_open(&state->query);
	else
		runops_query_send(&state->query);
	runops_fdw_leave(&call);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Open a scan before a write of the same transaction is sent; arg is the row
 * type in its state.
 */
static void
start_scan(void *arg)
{
	open_scan(((RunopsRowType *) arg)->node, true);
}

/*
 * Lock the rows that a scan will still return; arg is the row type in its state.
 */
static void
lock_rest(void *arg)
{
	ForeignScanState *node = ((RunopsRowType *) arg)->node;
	RunopsFdwCall call;

	enter(&call, node, false);
	runops_fdw_lock_rest(((RemoteScan *) node->fdw_state)->locker);
	runops_fdw_leave(&call);
}

/*
 * How many rows may a scan lock now, or ever?  -1: all.  arg is the row type in
 * its state.
 */
static int64
rows_wanted(void *arg, bool ever)
{
	ForeignScanState *node = ((RunopsRowType *) arg)->node;
	RemoteScan *state = (RemoteScan *) node->fdw_state;
	RunopsWanted wanted;

	if (PLAN_HAS_TARGET(node->ss.ps.state->es_plannedstmt, runops_fdw_scan_rtindex(node)))
		return -1;
	if (state->top == NULL)
		state->top = runops_run_top(node->ss.ps.state);
	wanted = runops_rows_wanted(state->top, &node->ss.ps, ever);
	if (wanted.grows && wanted.rows > 0)
		wanted.rows = state->last_wanted = Min(Max(state->last_wanted * 2, 1), PG_INT16_MAX);

	return wanted.rows;
}

/*
 * Fetch the next row of a scan.
 *
 * A row of a join counts for its first table.
 */
static TupleTableSlot *
runopsIterateForeignScan(ForeignScanState *node)
{
	RemoteScan *state = (RemoteScan *) node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	RunopsFdwCall call;
	const RunopsRow *row;
	bool		found = false;

	open_scan(node, true);
	/* an asynchronous scan must not wait here */
	if (node->ss.ps.async_capable && !runops_query_has_row(&state->query))
		return ExecClearTuple(slot);
	enter(&call, node, false);
	if (state->locker != NULL)
		found = runops_fdw_lock_next(state->locker, &state->row, slot);
	else if ((row = runops_query_next(&state->query)) != NULL)
	{
		runops_fdw_store_row(&state->row, row, slot);
		found = true;
	}
	if (found)
		runops_stats_add(state->query.use.relid, RUNOPS_ROWS, 1);
	else
		ExecClearTuple(slot);
	runops_fdw_leave(&call);

	return slot;
}

/*
 * Restart a scan, perhaps with other parameters.
 */
static void
runopsReScanForeignScan(ForeignScanState *node)
{
	RemoteScan *state = (RemoteScan *) node->fdw_state;
	MemoryContext oldcontext;
	RunopsFdwCall call;

	/* not begun yet: it will begin with the new parameters */
	if (state == NULL || state->query.state == RUNOPS_QUERY_NEW)
		return;

	MemoryContextReset(state->scratch);
	oldcontext = MemoryContextSwitchTo(state->scratch);
	enter(&call, node, false);
	if (bms_overlap(node->ss.ps.chgParam, state->exec_params) ||
		bms_overlap(node->ss.ps.chgParam, state->qual_params))
	{
		runops_query_stop(&state->query);
		state->begun = false;
		if (state->locker != NULL)
			runops_fdw_lock_rescan(state->locker, true);
	}
	else if (state->locker != NULL)
		runops_fdw_lock_rescan(state->locker, false);
	else
		runops_query_rewind(&state->query);
	runops_fdw_leave(&call);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * End a scan.
 */
static void
runopsEndForeignScan(ForeignScanState *node)
{
	RemoteScan *state = (RemoteScan *) node->fdw_state;
	RunopsFdwCall call;

	if (state == NULL)
		return;
	enter(&call, node, false);
	if (state->locker != NULL)
		runops_fdw_lock_end(state->locker);
	runops_query_close(&state->query);
	runops_fdw_leave(&call);
}

/*
 * Does the connection of an asynchronous scan wait for another one of the same
 * Append?
 */
static bool
serves_other(AsyncRequest *areq)
{
	RunopsQuery *q = &((RemoteScan *) ((ForeignScanState *) areq->requestee)->fdw_state)->query;
	RunopsQuery *running = runops_query_running(q);
	AsyncRequest *other;

	if (running == NULL || running == q || running->start != start_scan)
		return false;
	other = ((RemoteScan *) ((RunopsRowType *) running->arg)->node->fdw_state)->request;

	return other != NULL && other->requestor == areq->requestor && other->callback_pending;
}

/*
 * Answer an asynchronous request by a row, or by the end, if that is here;
 * otherwise fetch, and leave the request pending.
 *
 * may_fetch: may the connection be used?  If not, the request is left pending
 * without having sent anything.
 */
static void
answer_request(AsyncRequest *areq, bool may_fetch)
{
	ForeignScanState *node = castNode(ForeignScanState, areq->requestee);
	RunopsQuery *q = &((RemoteScan *) node->fdw_state)->query;

	for (;;)
	{
		if (runops_query_has_row(q))
		{
			TupleTableSlot *slot = areq->requestee->ExecProcNodeReal(areq->requestee);

			if (!TupIsNull(slot) || q->state == RUNOPS_QUERY_DONE || q->exhausted)
			{
				ExecAsyncRequestDone(areq, TupIsNull(slot) ? NULL : slot);
				return;
			}
		}
		if (q->state == RUNOPS_QUERY_OPEN && !may_fetch)
		{
			ExecAsyncRequestPending(areq);
			return;
		}
		if (q->state == RUNOPS_QUERY_OPEN)
			runops_query_send(q);
		else if (q->state == RUNOPS_QUERY_FAILED)
			(void) runops_query_next(q);
		if (q->state == RUNOPS_QUERY_SENT)
		{
			ExecAsyncRequestPending(areq);
			return;
		}
	}
}

/*
 * Request a row of an asynchronous scan.
 */
static void
runopsForeignAsyncRequest(AsyncRequest *areq)
{
	ForeignScanState *node = castNode(ForeignScanState, areq->requestee);
	RunopsFdwCall call;

	((RemoteScan *) node->fdw_state)->request = areq;
	open_scan(node, false);
	enter(&call, node, false);
	answer_request(areq, true);
	runops_fdw_leave(&call);
}

/*
 * Wait for the store of an asynchronous scan.
 *
 * The answer may be here already: it was read when the connection was needed
 * for something else.  If none of its rows satisfies the conditions that are
 * evaluated here, more must be fetched.  If the connection serves another scan of
 * the same Append meanwhile, that comes first: both would wait for the same
 * socket, and a set of events can contain it only once.
 */
static void
runopsForeignAsyncConfigureWait(AsyncRequest *areq)
{
	ForeignScanState *node = castNode(ForeignScanState, areq->requestee);
	RunopsQuery *q = &((RemoteScan *) node->fdw_state)->query;
	AppendState *append = (AppendState *) areq->requestor;
	RunopsFdwCall call;

	enter(&call, node, false);
	if (runops_query_arrived(q))
	{
		areq->callback_pending = false;
		answer_request(areq, !serves_other(areq));
		/* core counts no rows of this callback */
		if (areq->request_complete && node->ss.ps.instrument)
			InstrUpdateTupleCount(node->ss.ps.instrument, TupIsNull(areq->result) ? 0.0 : 1.0);
		ExecAsyncResponse(areq);
	}
	if (areq->callback_pending && q->state == RUNOPS_QUERY_SENT)
	{
		AddWaitEventToSet(append->as_eventset, WL_SOCKET_READABLE,
						  runops_query_socket(q), NULL, areq);
		runops_usage_wait_start(&((RemoteScan *) node->fdw_state)->wait_start);
	}
	runops_fdw_leave(&call);
}

/*
 * Process the answer of the store to an asynchronous scan.
 *
 * Core has waited for all stores at once.  The wait counts for those that have
 * ended it.
 */
static void
runopsForeignAsyncNotify(AsyncRequest *areq)
{
	ForeignScanState *node = castNode(ForeignScanState, areq->requestee);
	RunopsQuery *q = &((RemoteScan *) node->fdw_state)->query;
	RunopsFdwCall call;

	enter(&call, node, false);
	runops_query_waited(q, &((RemoteScan *) node->fdw_state)->wait_start);
	if (runops_query_arrived(q))
		answer_request(areq, true);
	else
		ExecAsyncRequestPending(areq);
	runops_fdw_leave(&call);
}

/*
 * Show the statement, as postgres_fdw does, and what was exchanged.
 */
static void
runopsExplainForeignScan(ForeignScanState *node, ExplainState *es)
{
	runops_fdw_explain_scan(node, es);
	runops_fdw_explain_obstacle(es);
	if (es->analyze && node->fdw_state != NULL)
		runops_fdw_explain_usage(&((RemoteScan *) node->fdw_state)->usage, es);
}

/*
 * Replace the callbacks of postgres_fdw for scans by ours.
 */
void
runops_fdw_scan_callbacks(FdwRoutine *routine)
{
	routine->BeginForeignScan = runopsBeginForeignScan;
	routine->IterateForeignScan = runopsIterateForeignScan;
	routine->ReScanForeignScan = runopsReScanForeignScan;
	routine->EndForeignScan = runopsEndForeignScan;
	routine->ExplainForeignScan = runopsExplainForeignScan;
	routine->ForeignAsyncRequest = runopsForeignAsyncRequest;
	routine->ForeignAsyncConfigureWait = runopsForeignAsyncConfigureWait;
	routine->ForeignAsyncNotify = runopsForeignAsyncNotify;
}
