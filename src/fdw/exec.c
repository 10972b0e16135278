/*-------------------------------------------------------------------------
 *
 * exec.c
 *	  Implements the execution callbacks of runops_fdw, which check the gate
 *	  and count.
 *
 * postgres_fdw does the work.  BeginForeignModify is called for every result
 * relation of a plan, even if no row reaches it.  Here it neither checks the
 * gate nor connects; the first row does both.  The state of postgres_fdw for a
 * result relation is a field of our state, and is in ri_FdwState while its
 * callbacks run.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "fdw/fdw_int.h"
#include "gate/gate.h"
#include "integrity/integrity.h"
#include "planner/planner.h"
#include "session/session.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* the maximum number of parameters of a statement in the wire protocol */
#define MAX_QUERY_PARAMS 65535

/* index of the rows per FETCH in the private list of a scan of postgres_fdw */
#define PGFDW_SCAN_FETCH_SIZE 2

/*
 * The state of one result relation while a statement runs.
 *
 * It lives in the memory context in which Begin was called.
 */
typedef struct ModifyState
{
	void	   *pgfdw_state;	/* state of postgres_fdw, once it has begun */
	bool		begun;			/* has postgres_fdw begun? */
	bool		noted;			/* is the write to the store noted? */
	RunopsFdwUnique *unique;	/* keys over all stores; NULL if none */
	bool		checks_known;	/* is the next field filled? */
	List	   *alias_checks;
	ModifyTableState *mtstate;

	/* arguments of BeginForeignModify, kept for the first row */
	List	   *fdw_private;
	int			subplan_index;
	int			eflags;
} ModifyState;

/*
 * Make a scan fetch all its rows at once.
 *
 * The plan may be shared, so the change is made in a copy.
 */
static void
fetch_whole(ForeignScanState *node)
{
	ForeignScan *plan = makeNode(ForeignScan);

	memcpy(plan, node->ss.ps.plan, sizeof(ForeignScan));
	if (list_length(plan->fdw_private) <= PGFDW_SCAN_FETCH_SIZE ||
		!IsA(list_nth(plan->fdw_private, PGFDW_SCAN_FETCH_SIZE), Integer))
		elog(ERROR, "unexpected private data of a foreign scan");

	plan->fdw_private = list_copy(plan->fdw_private);
	lfirst(list_nth_cell(plan->fdw_private, PGFDW_SCAN_FETCH_SIZE)) =
		makeInteger(PG_INT32_MAX);
	node->ss.ps.plan = (Plan *) plan;
}

/*
 * Begin a scan.  The real work is done later, when its first row is requested.
 *
 * A writing statement may read a table again for each row of another table.
 * Each of these scans must show the rows as they were before the statement.
 * postgres_fdw rescans from memory if all rows are there.  Otherwise it opens
 * a new cursor, which would see the statement's own changes: rows of the
 * result relation would be changed once for each match.  So all rows are
 * fetched at once.
 *
 * postgres_fdw connects when it begins a scan, and starts a transaction in the
 * store.  If an Append is pruned for each outer row, core begins every child.
 * A child that is never executed must not connect to its store, which may be
 * down.
 */
static void
runopsBeginForeignScan(ForeignScanState *node, int eflags)
{
	if ((eflags & EXEC_FLAG_REWIND) != 0 &&
		PLAN_HAS_TARGETS(node->ss.ps.state->es_plannedstmt))
		fetch_whole(node);
}

/*
 * The use of a store by a callback of postgres_fdw that connects.
 *
 * begin_use() and end_use() enclose the callback.  The order of their actions
 * matters.  First, errors name the store from now on.  Then the roles of the
 * transaction are checked, and the writes are noted, which may raise.  Only
 * then is there a connection, which is asked for its database before anything
 * else is sent.
 */
typedef struct Use
{
	RunopsStoreUse store;
	RunopsFdwCall call;
	bool		writes;			/* does it write or lock rows? */
} Use;

/*
 * Begin a use.  node is the scan or the direct modification; NULL if rows are
 * written to a result relation.
 */
static void
begin_use(Use *use, ForeignScanState *node, bool by_reader)
{
	bool		direct = node != NULL &&
		castNode(ForeignScan, node->ss.ps.plan)->operation != CMD_SELECT;

	use->writes = node == NULL || direct || runops_fdw_locks_rows(node);
	if (node != NULL)
		runops_fdw_enter_scan(&use->call, node, true);
	else
		runops_fdw_enter_table(&use->call, use->store.relid, true);
	if (!by_reader)
		runops_fdw_one_role(&use->store, use->writes);
	if (direct)
		runops_fdw_note_direct_modify(node);
	else if (node != NULL)
		runops_fdw_note_scan_locks(node);
	runops_conn_prepare(&use->store);
	runops_conn_await();
}

/*
 * End a use: postgres_fdw has begun with this connection; NULL if the
 * connection is not known.
 */
static void
end_use(Use *use, PGconn *conn)
{
	if (use->writes)
	{
		runops_together_connected();
		runops_fdw_note_commit(use->store.relid);
	}
	runops_conn_check(conn, &use->store);
	runops_fdw_leave(&use->call);
}

/*
 * Begin the scan in postgres_fdw, if that was not done yet.
 *
 * The state of postgres_fdw tells this, because it is set when postgres_fdw
 * begins.
 */
static void
begin_scan(ForeignScanState *node)
{
	EState	   *estate = node->ss.ps.state;
	MemoryContext oldcontext;
	Use			use;
	Oid			reader;

	if (node->fdw_state != NULL)
		return;

	use.store = runops_fdw_use(runops_fdw_scan_relid(node), runops_fdw_scan_userid(node));
	reader = runops_reader_for_scan(node);
	if (OidIsValid(reader))
	{
		use.store.serverid = GetForeignServerIdByRelId(reader);
		runops_fdw_gate_require(&use.store);
	}

	oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);
	begin_use(&use, node, OidIsValid(reader));
	if (OidIsValid(reader))
		runops_reader_begin_scan(node, reader, estate->es_top_eflags);
	else
		pgfdw.BeginForeignScan(node, estate->es_top_eflags);
	end_use(&use, runops_pgfdw_scan_conn(node));
	if (OidIsValid(reader))
		runops_stats_add(use.store.relid, RUNOPS_READER_READS, 1);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Count a row that came from a store, if there is one.  A row of a join counts
 * for its first table.
 */
static void
count_row(ForeignScanState *node, TupleTableSlot *slot)
{
	if (!TupIsNull(slot))
		runops_stats_add(runops_fdw_scan_relid(node), RUNOPS_ROWS, 1);
}

/*
 * Fetch the next row of a scan.
 */
static TupleTableSlot *
runopsIterateForeignScan(ForeignScanState *node)
{
	RunopsFdwCall call;
	TupleTableSlot *slot;

	begin_scan(node);
	runops_fdw_enter_scan(&call, node, false);
	slot = pgfdw.IterateForeignScan(node);
	runops_fdw_leave(&call);
	count_row(node, slot);

	return slot;
}

/*
 * Restart a scan, perhaps with other parameters.
 */
static void
runopsReScanForeignScan(ForeignScanState *node)
{
	RunopsFdwCall call;

	/* not begun yet: it will begin with the new parameters */
	if (node->fdw_state == NULL)
		return;

	runops_fdw_enter_scan(&call, node, false);
	pgfdw.ReScanForeignScan(node);
	runops_fdw_leave(&call);
}

/*
 * Request a row of an asynchronous scan.
 */
static void
runopsForeignAsyncRequest(AsyncRequest *areq)
{
	ForeignScanState *node = castNode(ForeignScanState, areq->requestee);
	RunopsFdwCall call;

	begin_scan(node);
	runops_fdw_enter_scan(&call, node, false);
	pgfdw.ForeignAsyncRequest(areq);
	runops_fdw_leave(&call);
	if (areq->request_complete)
		count_row(node, areq->result);
}

/*
 * Wait for the store of an asynchronous scan.
 */
static void
runopsForeignAsyncConfigureWait(AsyncRequest *areq)
{
	RunopsFdwCall call;

	runops_fdw_enter_scan(&call, castNode(ForeignScanState, areq->requestee), false);
	pgfdw.ForeignAsyncConfigureWait(areq);
	runops_fdw_leave(&call);
}

/*
 * Process the answer of the store to an asynchronous scan.
 */
static void
runopsForeignAsyncNotify(AsyncRequest *areq)
{
	ForeignScanState *node = castNode(ForeignScanState, areq->requestee);
	RunopsFdwCall call;

	runops_fdw_enter_scan(&call, node, false);
	pgfdw.ForeignAsyncNotify(areq);
	runops_fdw_leave(&call);
	if (areq->request_complete)
		count_row(node, areq->result);
}

/*
 * Begin a direct UPDATE or DELETE.
 */
static void
runopsBeginDirectModify(ForeignScanState *node, int eflags)
{
	Use			use;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;

	use.store = runops_fdw_use(runops_fdw_scan_relid(node), runops_fdw_scan_userid(node));
	begin_use(&use, node, false);
	pgfdw.BeginDirectModify(node, eflags);
	end_use(&use, runops_pgfdw_direct_conn(node));
}

/*
 * Execute a direct UPDATE or DELETE, and fetch the rows that it returns.
 */
static TupleTableSlot *
runopsIterateDirectModify(ForeignScanState *node)
{
	uint64	   *processed = &node->ss.ps.state->es_processed;
	uint64		before = *processed;
	RunopsFdwCall call;
	TupleTableSlot *slot;

	runops_fdw_enter_scan(&call, node, false);
	PG_TRY();
	{
		slot = pgfdw.IterateDirectModify(node);
	}
	PG_CATCH();
	{
		runops_fdw_rethrow(node->ss.ps.state, NULL, runops_fdw_scan_relid(node), NULL);
	}
	PG_END_TRY();
	runops_fdw_leave(&call);
	runops_fdw_note_direct_rows(node, slot, *processed - before);

	/* postgres_fdw counts the rows for us, unless the statement is a CTE */
	if (*processed > before)
		runops_stats_add(runops_fdw_scan_relid(node), RUNOPS_ROWS,
						 *processed - before);
	else
		count_row(node, slot);
	if (castNode(ForeignScan, node->ss.ps.plan)->operation == CMD_UPDATE &&
		(*processed > before || !TupIsNull(slot)))
		runops_held_note(runops_fdw_scan_relid(node));

	return slot;
}

/*
 * Store the arguments for postgres_fdw; the first row does the rest.
 */
static void
runopsBeginForeignModify(ModifyTableState *mtstate, ResultRelInfo *rri,
						 List *fdw_private, int subplan_index, int eflags)
{
	ModifyState *state;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;

	state = palloc0(sizeof(ModifyState));
	state->mtstate = mtstate;
	state->fdw_private = fdw_private;
	state->subplan_index = subplan_index;
	state->eflags = eflags;
	state->unique = runops_fdw_unique_begin(mtstate, rri);
	rri->ri_FdwState = state;

	runops_reveal_user(mtstate->ps.state, rri);
}

/*
 * Prepare to insert rows that core routes to a foreign table, or that COPY
 * writes to it.
 *
 * An UPDATE must not move a row here: the row would be deleted in one database
 * and inserted in another, by two transactions of which one may fail.
 */
static void
runopsBeginForeignInsert(ModifyTableState *mtstate, ResultRelInfo *rri)
{
	ModifyState *state;
	Use			use;
	Oid			relid = RelationGetRelid(rri->ri_RelationDesc);

	if (mtstate->operation != CMD_INSERT)
		ereport(ERROR,
				(errcode(ERRCODE_RUNOPS_WRONG_STORE),
				 errmsg("cannot move a row of \"%s\" to store \"%s\"",
						RelationGetRelationName(rri->ri_RelationDesc),
						runops_store_label(relid)),
				 errdetail("The new key belongs to a different store than the row."),
				 errhint("Insert a row with the new key and delete the old one.")));

	use.store = runops_fdw_use(relid, runops_fdw_result_userid(mtstate->ps.state, rri));

	/* rows that core routes: their store is not known at plan time */
	if (rri->ri_RootResultRelInfo != NULL)
		runops_stats_add(relid, RUNOPS_STATEMENTS_MULTI, 1);

	state = palloc0(sizeof(ModifyState));
	state->begun = true;
	state->mtstate = mtstate;
	state->unique = runops_fdw_unique_begin(mtstate, rri);
	begin_use(&use, NULL, false);
	pgfdw.BeginForeignInsert(mtstate, rri);
	end_use(&use, runops_pgfdw_modify_conn(rri, rri->ri_FdwState));
	state->pgfdw_state = rri->ri_FdwState;
	rri->ri_FdwState = state;
}

/*
 * Note once that rows of a result relation are written.
 */
static void
note_write(ResultRelInfo *rri)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;

	if (!state->noted)
		runops_fdw_note_write(RelationGetRelid(rri->ri_RelationDesc));
	state->noted = true;
}

/*
 * Put the state of postgres_fdw in place for one of its callbacks.  For the
 * first row, postgres_fdw begins before.
 *
 * The gate is checked for each row: the check is cheap, and it can only raise
 * an error.
 */
static ModifyState *
enter_pgfdw(EState *estate, ResultRelInfo *rri, RunopsFdwCall *call)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;
	Oid			relid = RelationGetRelid(rri->ri_RelationDesc);
	Use			use = {
		.store = runops_fdw_use(relid, runops_fdw_result_userid(estate, rri))
	};

	if (!runops_fdw_notes_insert_late(state->mtstate))
		note_write(rri);

	if (!state->begun)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);

		rri->ri_FdwState = NULL;
		begin_use(&use, NULL, false);
		if (state->mtstate->operation != CMD_INSERT)
			state->fdw_private = runops_fdw_guard_ctid(state->fdw_private, relid);
		pgfdw.BeginForeignModify(state->mtstate, rri, state->fdw_private,
								 state->subplan_index, state->eflags);
		end_use(&use, runops_pgfdw_modify_conn(rri, rri->ri_FdwState));
		state->pgfdw_state = rri->ri_FdwState;
		state->begun = true;
		MemoryContextSwitchTo(oldcontext);
	}

	rri->ri_FdwState = state->pgfdw_state;
	runops_fdw_enter_table(call, relid, false);

	return state;
}

/*
 * Restore our state after a callback of postgres_fdw.
 */
static void
leave_pgfdw(ResultRelInfo *rri, ModifyState *state, RunopsFdwCall *call)
{
	runops_fdw_leave(call);
	state->pgfdw_state = rri->ri_FdwState;
	rri->ri_FdwState = state;
}

/*
 * Reject a row that must not be sent.
 */
static void
check_row(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot,
		  CmdType operation)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;

	if (!state->checks_known)
		state->alias_checks = runops_fdw_alias_checks(estate, rri->ri_RelationDesc);
	state->checks_known = true;

	runops_fdw_check_row(estate, rri, slot, operation, state->alias_checks);
}

/*
 * Count the rows that a store has written.
 */
static void
count_written(ResultRelInfo *rri, int nrows)
{
	Oid			relid = RelationGetRelid(rri->ri_RelationDesc);

	if (nrows > 0)
		note_write(rri);
	runops_stats_add(relid, RUNOPS_ROWS, nrows);
	runops_held_note(relid);
}

/*
 * Insert one row.
 */
static TupleTableSlot *
runopsExecForeignInsert(EState *estate, ResultRelInfo *rri,
						TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;
	TupleTableSlot *result;
	RunopsFdwCall call;

	check_row(estate, rri, slot, CMD_INSERT);
	if (state->unique && !runops_fdw_unique_insert(state->unique, slot))
		return NULL;

	enter_pgfdw(estate, rri, &call);
	PG_TRY();
	{
		result = pgfdw.ExecForeignInsert(estate, rri, slot, planSlot);
	}
	PG_CATCH();
	{
		runops_fdw_rethrow(estate, rri, RelationGetRelid(rri->ri_RelationDesc), slot);
	}
	PG_END_TRY();
	leave_pgfdw(rri, state, &call);
	if (result != NULL)
		count_written(rri, 1);
	else if (state->unique)
		runops_fdw_unique_skipped(state->unique, slot);

	return result;
}

/*
 * Insert several rows by one statement.
 */
static TupleTableSlot **
runopsExecForeignBatchInsert(EState *estate, ResultRelInfo *rri,
							 TupleTableSlot **slots, TupleTableSlot **planSlots,
							 int *numSlots)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;
	RunopsFdwCall call;

	for (int i = 0; i < *numSlots; i++)
	{
		check_row(estate, rri, slots[i], CMD_INSERT);
		if (state->unique)
			runops_fdw_unique_insert(state->unique, slots[i]);
	}

	enter_pgfdw(estate, rri, &call);
	PG_TRY();
	{
		slots = pgfdw.ExecForeignBatchInsert(estate, rri, slots, planSlots, numSlots);
	}
	PG_CATCH();
	{
		runops_fdw_rethrow(estate, rri, RelationGetRelid(rri->ri_RelationDesc),
						   *numSlots == 1 ? slots[0] : NULL);
	}
	PG_END_TRY();
	leave_pgfdw(rri, state, &call);
	count_written(rri, *numSlots);

	return slots;
}

/*
 * The maximum number of rows in one INSERT.
 *
 * postgres_fdw limits a batch to the protocol's number of parameters only
 * after it has begun, so the limit is computed here.
 */
static int
runopsGetForeignModifyBatchSize(ResultRelInfo *rri)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;
	int			natts = RelationGetNumberOfAttributes(rri->ri_RelationDesc);
	int			batch_size;

	rri->ri_FdwState = state ? state->pgfdw_state : NULL;
	batch_size = pgfdw.GetForeignModifyBatchSize(rri);
	rri->ri_FdwState = state;
	if (state && state->unique && runops_fdw_unique_one_by_one(state->unique))
		return 1;

	return Max(1, Min(batch_size, MAX_QUERY_PARAMS / Max(natts, 1)));
}

/*
 * Update one row.
 */
static TupleTableSlot *
runopsExecForeignUpdate(EState *estate, ResultRelInfo *rri,
						TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;
	TupleTableSlot *result;
	RunopsFdwCall call;

	check_row(estate, rri, slot, CMD_UPDATE);
	runops_reference_check_update(rri->ri_RelationDesc,
								  runops_fdw_old_row(rri, planSlot), slot);
	if (state->unique)
		runops_fdw_unique_update(state->unique, rri, slot, planSlot);

	enter_pgfdw(estate, rri, &call);
	PG_TRY();
	{
		result = pgfdw.ExecForeignUpdate(estate, rri, slot, planSlot);
	}
	PG_CATCH();
	{
		runops_fdw_report_guard(estate, RelationGetRelid(rri->ri_RelationDesc));
		runops_fdw_rethrow(estate, rri, RelationGetRelid(rri->ri_RelationDesc), slot);
	}
	PG_END_TRY();
	leave_pgfdw(rri, state, &call);
	if (result != NULL)
		count_written(rri, 1);
	else if (state->unique)
		runops_fdw_unique_not_updated(state->unique, slot);

	return result;
}

/*
 * Delete one row.
 */
static TupleTableSlot *
runopsExecForeignDelete(EState *estate, ResultRelInfo *rri,
						TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;
	RunopsFdwCall call;

	if (state->unique)
		runops_fdw_unique_read_old(state->unique, rri, planSlot);

	enter_pgfdw(estate, rri, &call);
	PG_TRY();
	{
		slot = pgfdw.ExecForeignDelete(estate, rri, slot, planSlot);
	}
	PG_CATCH();
	{
		runops_fdw_report_guard(estate, RelationGetRelid(rri->ri_RelationDesc));
		runops_fdw_rethrow(estate, rri, RelationGetRelid(rri->ri_RelationDesc), NULL);
	}
	PG_END_TRY();
	leave_pgfdw(rri, state, &call);
	if (slot != NULL)
	{
		runops_stats_add(RelationGetRelid(rri->ri_RelationDesc), RUNOPS_ROWS, 1);
		if (state->unique)
			runops_fdw_unique_deleted(state->unique);
	}

	return slot;
}

/*
 * End the modification of a result relation, even if it has never begun.
 */
static void
runopsEndForeignModify(EState *estate, ResultRelInfo *rri)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;

	if (state == NULL || !state->begun)
		return;

	rri->ri_FdwState = state->pgfdw_state;
	pgfdw.EndForeignModify(estate, rri);
	rri->ri_FdwState = NULL;
}

/*
 * End the insertion of routed rows.
 */
static void
runopsEndForeignInsert(EState *estate, ResultRelInfo *rri)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;

	rri->ri_FdwState = state->pgfdw_state;
	pgfdw.EndForeignInsert(estate, rri);
	rri->ri_FdwState = NULL;
}

/*
 * Replace the execution callbacks of postgres_fdw by ours.
 */
void
runops_fdw_exec_callbacks(FdwRoutine *routine)
{
	routine->BeginForeignScan = runopsBeginForeignScan;
	routine->IterateForeignScan = runopsIterateForeignScan;
	routine->ReScanForeignScan = runopsReScanForeignScan;
	routine->ForeignAsyncRequest = runopsForeignAsyncRequest;
	routine->ForeignAsyncConfigureWait = runopsForeignAsyncConfigureWait;
	routine->ForeignAsyncNotify = runopsForeignAsyncNotify;
	routine->BeginDirectModify = runopsBeginDirectModify;
	routine->IterateDirectModify = runopsIterateDirectModify;
	routine->BeginForeignModify = runopsBeginForeignModify;
	routine->BeginForeignInsert = runopsBeginForeignInsert;
	routine->ExecForeignInsert = runopsExecForeignInsert;
	routine->ExecForeignBatchInsert = runopsExecForeignBatchInsert;
	routine->GetForeignModifyBatchSize = runopsGetForeignModifyBatchSize;
	routine->ExecForeignUpdate = runopsExecForeignUpdate;
	routine->ExecForeignDelete = runopsExecForeignDelete;
	routine->EndForeignModify = runopsEndForeignModify;
	routine->EndForeignInsert = runopsEndForeignInsert;
}
