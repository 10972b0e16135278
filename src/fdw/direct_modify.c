/*-------------------------------------------------------------------------
 *
 * direct_modify.c
 *	  Implements the callbacks of runops_fdw for an UPDATE or DELETE that is
 *	  sent as a whole.
 *
 * If the statement joins foreign tables, its RETURNING rows have the columns
 * of the join.  The result relation's own columns are put into a tuple of that
 * relation, because the RETURNING list reads them there.
 *
 * In WITH, core executes the statement when its first row is wanted, or at the end
 * of the whole statement.  By then the store may have rows that the same statement
 * inserts, which it must not see.  So the engine may execute it before these rows
 * are sent.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "executor/executor.h"
#include "executor/instrument.h"
#include "foreign/foreign.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"
#include "gate/gate.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* The items of postgres_fdw's fdw_private for a direct modification. */
enum DirectPrivate
{
	DIRECT_SQL,
	DIRECT_HAS_RETURNING,
	DIRECT_ATTRS,				/* integer list */
	DIRECT_SET_PROCESSED
};

/* The state of a direct modification. */
typedef struct DirectState
{
	ForeignScanState *node;
	RunopsQuery query;
	RunopsRowType row;
	RunopsParams params;
	bool		begun;			/* was its execution begun? */
	bool		executed;
	bool		has_returning;	/* does the store return columns? */
	bool		set_processed;	/* do its rows count for the statement? */
	uint64		returned;		/* rows returned so far */
	AttrNumber *columns;		/* for a join: column of the row for each
								 * column of the result relation, or 0 */
	AttrNumber	ctid_column;	/* ... for its ctid */
	RunopsUsage usage;			/* if the node is measured */
} DirectState;

/*
 * Find the columns of the result relation in the rows of a join.
 */
static void
map_columns(DirectState *state, ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	ResultRelInfo *rri = node->resultRelInfo;
	ListCell   *lc;
	AttrNumber	column = 0;

	state->columns = palloc0_array(AttrNumber, RelationGetNumberOfAttributes(rri->ri_RelationDesc) + 1);
	foreach(lc, plan->fdw_scan_tlist)
	{
		Var		   *var = (Var *) lfirst_node(TargetEntry, lc)->expr;

		column++;
		if (!IsA(var, Var) || var->varno != rri->ri_RangeTableIndex)
			continue;
		if (var->varattno > 0)
			state->columns[var->varattno - 1] = column;
		else if (var->varattno == SelfItemPointerAttributeNumber)
			state->ctid_column = column;
	}
}

/*
 * Are there triggers that are executed before the statement?
 */
static bool
has_before_triggers(const ResultRelInfo *rri, CmdType operation)
{
	const TriggerDesc *triggers = rri->ri_RootResultRelInfo != NULL ?
		rri->ri_RootResultRelInfo->ri_TrigDesc : rri->ri_TrigDesc;

	return triggers != NULL &&
		(operation == CMD_UPDATE ? triggers->trig_update_before_statement :
		 triggers->trig_delete_before_statement);
}

/*
 * Is a node certainly executed, so that it may be executed earlier?
 *
 * Core executes each modification in WITH, also if nobody reads its rows.  But a
 * condition without columns may stand above the scans of a partitioned table.
 * Run-time pruning depends on parameters that the statement to be sent has too.
 */
static bool
is_certainly_executed(ForeignScanState *node)
{
	PlannedStmt *stmt = node->ss.ps.state->es_plannedstmt;
	Plan	   *plan = node->ss.ps.plan;
	ListCell   *lc;

	foreach(lc, stmt->subplans)
	{
		Plan	   *modify = (Plan *) lfirst(lc);
		Plan	   *source;

		if (modify == NULL || !IsA(modify, ModifyTable))
			continue;
		source = outerPlan(modify);
		if (source == plan ||
			(IsA(source, Append) && list_member_ptr(((Append *) source)->appendplans, plan)))
			return true;
	}

	return false;
}

static void start_modify(void *arg);

/*
 * Begin a direct UPDATE or DELETE.
 */
static void
runopsBeginDirectModify(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	Oid			relid = runops_fdw_scan_relid(node);
	DirectState *state;
	RunopsQuery *q;
	RunopsFdwCall call;
	Bitmapset  *exec_params = NULL;
	int			rti = -1;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;

	state = palloc0(sizeof(DirectState));
	state->node = node;
	node->fdw_state = state;
	state->has_returning = boolVal(runops_fdw_private(plan->fdw_private, DIRECT_HAS_RETURNING, T_Boolean));
	state->set_processed = boolVal(runops_fdw_private(plan->fdw_private, DIRECT_SET_PROCESSED, T_Boolean));
	runops_fdw_init_params(&state->params, &node->ss.ps, plan->fdw_exprs);
	runops_fdw_init_row(&state->row,
						plan->scan.scanrelid > 0 ? node->resultRelInfo->ri_RelationDesc : NULL,
						node, (List *) runops_fdw_private(plan->fdw_private, DIRECT_ATTRS, T_IntList));
	if (plan->scan.scanrelid == 0)
		map_columns(state, node);

	q = &state->query;
	q->use = runops_fdw_use(relid, runops_fdw_scan_userid(node));
	q->sql = strVal(runops_fdw_private(plan->fdw_private, DIRECT_SQL, T_String));
	q->nparams = state->params.n;
	q->values = state->params.values;
	q->need = RUNOPS_NEED_WRITE;
	q->reads = true;
	q->whole = true;
	q->no_rows = !state->has_returning;
	(void) runops_fdw_collect_params((Node *) plan->fdw_exprs, &exec_params);
	q->fixable = bms_is_empty(exec_params) &&
		!has_before_triggers(node->resultRelInfo, plan->operation) &&
		is_certainly_executed(node);
	q->start = start_modify;
	q->arg = state;
	while ((rti = bms_next_member(FOREIGN_SCAN_BASE_RELIDS(plan), rti)) >= 0)
		q->relids = lappend_oid(q->relids, exec_rt_fetch(rti, node->ss.ps.state)->relid);
	q->snapshot = node->ss.ps.state->es_snapshot;
	q->cid = node->ss.ps.state->es_output_cid;

	runops_fdw_enter_scan(&call, node, true);
	runops_fdw_one_role(&q->use, true);
	runops_fdw_note_direct_modify(node);
	runops_fdw_note_commit(relid);
	runops_query_init(q);
	runops_fdw_leave(&call);
}

/*
 * Send the statement, wait for its result, and note what it has changed.
 */
static void
execute(ForeignScanState *node, DirectState *state)
{
	RunopsQuery *q = &state->query;
	EState	   *estate = node->ss.ps.state;
	Oid			relid = runops_fdw_scan_relid(node);
	RunopsFdwCall call;

	if (state->begun)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot execute the UPDATE or DELETE of \"%s\" again", get_rel_name(relid)),
				 errdetail("It has failed before, and a function that its statement calls has caught the error."),
				 errhint("Catch the errors of the statement outside of the function.")));
	state->begun = true;
	runops_fdw_enter_scan(&call, node, false);
	runops_fdw_measure(&call, &node->ss.ps, &state->usage);
	PG_TRY();
	{
		runops_fdw_eval_params(&state->params, node->ss.ps.ps_ExprContext);
		runops_query_open(q);
	}
	PG_CATCH();
	{
		runops_fdw_rethrow(estate, NULL, relid, NULL);
	}
	PG_END_TRY();
	runops_fdw_leave(&call);

	runops_stats_add(relid, RUNOPS_ROWS, q->processed);
	if (q->processed > 0)
	{
		runops_fdw_note_write(relid);
		if (castNode(ForeignScan, node->ss.ps.plan)->operation == CMD_UPDATE)
			runops_held_note(relid);
	}
	if (state->set_processed)
		estate->es_processed += q->processed;
	if (node->resultRelInfo->ri_projectReturning == NULL && node->ss.ps.instrument)
		node->ss.ps.instrument->tuplecount += q->processed;
	state->executed = true;
}

/*
 * Execute the statement before a write of the same transaction is sent; arg is
 * its state.
 */
static void
start_modify(void *arg)
{
	DirectState *state = (DirectState *) arg;
	MemoryContext oldcontext = MemoryContextSwitchTo(state->node->ss.ps.state->es_query_cxt);

	if (!state->begun)
		execute(state->node, state);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * A tuple of the result relation with what a row of a join has of it.
 */
static TupleTableSlot *
result_tuple(ForeignScanState *node, DirectState *state, TupleTableSlot *row)
{
	ResultRelInfo *rri = node->resultRelInfo;
	TupleTableSlot *slot = ExecGetReturningSlot(node->ss.ps.state, rri);
	HeapTuple	tuple;

	slot_getallattrs(row);
	ExecClearTuple(slot);
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		AttrNumber	column = state->columns[i];

		slot->tts_isnull[i] = column == 0 || row->tts_isnull[column - 1];
		slot->tts_values[i] = column == 0 ? (Datum) 0 : row->tts_values[column - 1];
	}
	ExecStoreVirtualTuple(slot);
	if (state->ctid_column == 0 || row->tts_isnull[state->ctid_column - 1])
		return slot;

	tuple = ExecFetchSlotHeapTuple(slot, true, NULL);
	tuple->t_self = *(ItemPointer) DatumGetPointer(row->tts_values[state->ctid_column - 1]);
	HeapTupleHeaderSetXmax(tuple->t_data, InvalidTransactionId);
	HeapTupleHeaderSetXmin(tuple->t_data, InvalidTransactionId);
	HeapTupleHeaderSetCmin(tuple->t_data, InvalidTransactionId);
	slot->tts_tid = tuple->t_self;

	return slot;
}

/*
 * Execute a direct UPDATE or DELETE, and return the next row of RETURNING.
 */
static TupleTableSlot *
runopsIterateDirectModify(ForeignScanState *node)
{
	DirectState *state = (DirectState *) node->fdw_state;
	RunopsQuery *q = &state->query;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	TupleTableSlot *result = slot;
	const RunopsRow *row;

	if (!state->executed)
		execute(node, state);
	if (node->resultRelInfo->ri_projectReturning == NULL || state->returned >= q->processed)
		return ExecClearTuple(slot);

	state->returned++;
	if (state->has_returning)
	{
		RunopsFdwCall call;

		runops_fdw_enter_scan(&call, node, false);
		runops_fdw_measure(&call, &node->ss.ps, &state->usage);
		row = runops_query_next(q);
		if (row != NULL)
			runops_fdw_store_row(&state->row, row, slot);
		runops_fdw_leave(&call);
		if (row == NULL)
			return ExecClearTuple(slot);
		if (state->columns != NULL)
			result = result_tuple(node, state, slot);
	}
	else
		ExecStoreAllNullTuple(slot);
	node->resultRelInfo->ri_projectReturning->pi_exprContext->ecxt_scantuple = result;

	return slot;
}

/*
 * End a direct UPDATE or DELETE.
 */
static void
runopsEndDirectModify(ForeignScanState *node)
{
	DirectState *state = (DirectState *) node->fdw_state;

	if (state != NULL)
		runops_query_close(&state->query);
}

/*
 * Show the statement, as postgres_fdw does, and what was exchanged.
 */
static void
runopsExplainDirectModify(ForeignScanState *node, ExplainState *es)
{
	pgfdw.ExplainDirectModify(node, es);
	runops_fdw_explain_obstacle(es);
	if (es->analyze && node->fdw_state != NULL)
		runops_fdw_explain_usage(&((DirectState *) node->fdw_state)->usage, es);
}

/*
 * Replace the callbacks of postgres_fdw for direct modification by ours.
 */
void
runops_fdw_direct_modify_callbacks(FdwRoutine *routine)
{
	routine->BeginDirectModify = runopsBeginDirectModify;
	routine->IterateDirectModify = runopsIterateDirectModify;
	routine->ExplainDirectModify = runopsExplainDirectModify;
	routine->EndDirectModify = runopsEndDirectModify;
}
