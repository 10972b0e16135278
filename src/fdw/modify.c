/*-------------------------------------------------------------------------
 *
 * modify.c
 *	  Implements the callbacks of runops_fdw that write rows one by one, or
 *	  insert several.
 *
 * BeginForeignModify is called for every result relation of a plan, even if no
 * row reaches it.  It neither checks the gate nor connects; the first row does
 * both.  A row is checked here before it is sent.  Then its entries of keys
 * over all stores are made, because a session that waits for another one must
 * not yet hold a lock in the store.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "fdw/modify_int.h"
#include "gate/gate.h"
#include "integrity/integrity.h"
#include "planner/planner.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* the rows that are inserted together, if the option batch_size is not set */
#define DEFAULT_BATCH_SIZE 1000

/*
 * Make the state of a result relation.
 */
static RunopsModify *
make_state(ModifyTableState *mtstate, ResultRelInfo *rri)
{
	RunopsModify *state = palloc0(sizeof(RunopsModify));

	state->mtstate = mtstate;
	state->rri = rri;
	state->unique = runops_fdw_unique_begin(mtstate, rri);

	return state;
}

/*
 * Store the plan's statement; the first row does the rest.
 */
static void
runopsBeginForeignModify(ModifyTableState *mtstate, ResultRelInfo *rri,
						 List *fdw_private, int subplan_index, int eflags)
{
	RunopsModify *state;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;

	state = make_state(mtstate, rri);
	state->sql = strVal(runops_fdw_private(fdw_private, MODIFY_SQL, T_String));
	state->target_attrs = (List *) runops_fdw_private(fdw_private, MODIFY_TARGET_ATTRS, T_IntList);
	if (boolVal(runops_fdw_private(fdw_private, MODIFY_HAS_RETURNING, T_Boolean)))
		state->returned_attrs = (List *) runops_fdw_private(fdw_private, MODIFY_ATTRS, T_IntList);
	if (list_length(fdw_private) > MODIFY_KEY)
		state->key = (List *) runops_fdw_private(fdw_private, MODIFY_KEY, T_IntList);
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
	ModifyTable *plan = (ModifyTable *) mtstate->ps.plan;
	Oid			relid = RelationGetRelid(rri->ri_RelationDesc);
	RunopsModify *state;

	if (mtstate->operation != CMD_INSERT)
		ereport(ERROR,
				(errcode(ERRCODE_RUNOPS_WRONG_STORE),
				 errmsg("cannot move a row of \"%s\" to store \"%s\"",
						RelationGetRelationName(rri->ri_RelationDesc),
						runops_store_label(relid)),
				 errdetail("The new key belongs to a different store than the row."),
				 errhint("Insert a row with the new key and delete the old one.")));

	(void) runops_fdw_use(relid, runops_fdw_result_userid(mtstate->ps.state, rri));

	/* rows that core routes: their store is not known at plan time */
	if (rri->ri_RootResultRelInfo != NULL)
		runops_stats_add(relid, RUNOPS_STATEMENTS_MULTI, 1);

	state = make_state(mtstate, rri);
	/* COPY has no plan */
	state->sql = runops_fdw_insert_sql(rri,
									   plan && plan->onConflictAction == ONCONFLICT_NOTHING,
									   &state->target_attrs, &state->returned_attrs);
	rri->ri_FdwState = state;
}

/*
 * The number of rows to insert together.
 */
static int
batch_size(Relation rel)
{
	ForeignTable *table = GetForeignTable(RelationGetRelid(rel));
	int			size = DEFAULT_BATCH_SIZE;
	ListCell   *lc;

	foreach(lc, list_concat_copy(GetForeignServer(table->serverid)->options, table->options))
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		if (strcmp(def->defname, "batch_size") == 0)
			(void) parse_int(defGetString(def), &size, 0, NULL);
	}

	return Max(size, 1);
}

/*
 * Decide how the rows of an INSERT are sent.
 *
 * A BEFORE ROW trigger may query the rows that were inserted before.  If the
 * store may skip a row, it must be known which one, for its entries and its
 * triggers.
 */
static RunopsInsertWay
choose_way(RunopsModify *state)
{
	ModifyTableState *mtstate = state->mtstate;
	ResultRelInfo *rri = state->rri;
	TriggerDesc *triggers = rri->ri_TrigDesc;

	if (mtstate->operation != CMD_INSERT || state->max_rows == 1 ||
		mtstate->mt_transition_capture != NULL ||
		(triggers && triggers->trig_insert_before_row))
		return RUNOPS_INSERT_SINGLE;
	if (rri->ri_projectReturning != NULL || rri->ri_WithCheckOptions != NIL ||
		state->returned_attrs != NIL || runops_fdw_fires_after_insert(rri) ||
		(runops_fdw_notes_insert_late(mtstate) &&
		 (state->unique != NULL || (triggers && triggers->trig_insert_after_row))))
		return runops_fdw_may_look_ahead(state) ? RUNOPS_INSERT_AHEAD : RUNOPS_INSERT_SINGLE;

	return RUNOPS_INSERT_MANY;
}

/*
 * Send a row; returns whether the store has written it.  slot gets what the
 * store returns.
 */
static bool
send_row(EState *estate, RunopsModify *state, TupleTableSlot *slot,
		 TupleTableSlot *planSlot)
{
	CmdType		operation = state->mtstate->operation;
	MemoryContext oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);
	bool		wrote;
	RunopsFdwCall call;

	runops_fdw_begin_write(state, &call);
	MemoryContextReset(state->cxt);
	MemoryContextSwitchTo(state->cxt);
	if (operation == CMD_INSERT)
		wrote = runops_fdw_insert_ahead(state, slot);
	else
	{
		const char **values = palloc_array(const char *, Max(state->nparams, 1));
		int			level = runops_fdw_begin_output();
		RunopsRow  *returned;
		int			written = 0;

		(void) runops_fdw_output_row(state, slot, planSlot, values);
		runops_fdw_end_output(level);
		runops_fdw_send_rows(state, 1, values, &returned, &written,
							 operation == CMD_DELETE ? NULL : slot);
		if (state->returned_attrs != NIL && returned != NULL)
			runops_fdw_store_row(&state->row, returned, slot);
		wrote = written > 0;
	}
	MemoryContextSwitchTo(oldcontext);
	runops_fdw_leave(&call);
	if (operation != CMD_INSERT)
		runops_fdw_note_rows(state, wrote ? 1 : 0);

	return wrote;
}

/*
 * The first row of an INSERT has come.
 */
static void
begin_insert(EState *estate, RunopsModify *state)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);
	RunopsFdwCall call;

	runops_fdw_begin_write(state, &call);
	state->max_rows = batch_size(state->rri->ri_RelationDesc);
	state->way = choose_way(state);
	if (state->way == RUNOPS_INSERT_MANY)
		runops_fdw_collect_init(state);
	if (state->way != RUNOPS_INSERT_SINGLE)
		runops_fdw_watch_rows(state);
	if (state->way != RUNOPS_INSERT_SINGLE && state->rri->ri_TrigDesc &&
		state->rri->ri_TrigDesc->trig_insert_after_row)
		state->references = runops_reference_begin(state->rri->ri_RelationDesc,
												   runops_fdw_write_cid(estate));
	runops_fdw_leave(&call);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Insert one row.
 *
 * A row that is collected counts as inserted.
 */
static TupleTableSlot *
runopsExecForeignInsert(EState *estate, ResultRelInfo *rri,
						TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	RunopsModify *state = (RunopsModify *) rri->ri_FdwState;
	bool		inserted;

	if (!state->begun || !runops_fdw_answered(state, slot, &inserted))
	{
		runops_fdw_check_new_row(state, slot, CMD_INSERT);
		if (!state->begun)
			begin_insert(estate, state);
		if (state->unique && !runops_fdw_unique_insert(state->unique, slot))
			return NULL;
		if (state->way == RUNOPS_INSERT_MANY)
		{
			runops_fdw_collect(state, slot);
			runops_reference_note(state->references, slot);
			return slot;
		}
		inserted = send_row(estate, state, slot, planSlot);
	}
	if (inserted)
	{
		runops_reference_note(state->references, slot);
		return slot;
	}
	if (state->unique)
		runops_fdw_unique_skipped(state->unique, slot);

	return NULL;
}

/*
 * Update one row.
 */
static TupleTableSlot *
runopsExecForeignUpdate(EState *estate, ResultRelInfo *rri,
						TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	RunopsModify *state = (RunopsModify *) rri->ri_FdwState;

	if (!runops_fdw_is_first_change(state, planSlot))
		return NULL;
	runops_fdw_check_new_row(state, slot, CMD_UPDATE);
	runops_reference_check_update(rri->ri_RelationDesc,
								  runops_fdw_old_row(rri, planSlot), slot);
	if (state->unique)
		runops_fdw_unique_update(state->unique, rri, slot, planSlot);
	if (send_row(estate, state, slot, planSlot))
		return slot;
	if (state->unique)
		runops_fdw_unique_not_updated(state->unique, slot);

	return NULL;
}

/*
 * Delete one row.
 */
static TupleTableSlot *
runopsExecForeignDelete(EState *estate, ResultRelInfo *rri,
						TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	RunopsModify *state = (RunopsModify *) rri->ri_FdwState;

	if (state->unique)
		runops_fdw_unique_read_old(state->unique, rri, planSlot);
	if (!send_row(estate, state, slot, planSlot))
		return NULL;
	if (state->unique)
		runops_fdw_unique_deleted(state->unique);

	return slot;
}

/*
 * End the modification of a result relation; its memory goes with the
 * statement.  Here the last rows of COPY are sent.
 */
static void
runopsEndForeignModify(EState *estate, ResultRelInfo *rri)
{
	RunopsModify *state = (RunopsModify *) rri->ri_FdwState;

	rri->ri_FdwState = NULL;
	if (state != NULL && state->way == RUNOPS_INSERT_MANY)
	{
		runops_fdw_finish_collected(state);
		runops_insert_close(&state->insert);
	}
}

/*
 * Show the statement, how many rows of an INSERT are sent together, and what was
 * exchanged.
 */
static void
runopsExplainForeignModify(ModifyTableState *mtstate, ResultRelInfo *rri,
						   List *fdw_private, int subplan_index, ExplainState *es)
{
	if (es->verbose)
	{
		ExplainPropertyText("Remote SQL",
							strVal(runops_fdw_private(fdw_private, MODIFY_SQL, T_String)), es);
		if (mtstate->operation == CMD_INSERT)
			ExplainPropertyInteger("Batch Size", NULL, batch_size(rri->ri_RelationDesc), es);
	}
	/* the scan shows it for the others */
	if (mtstate->operation == CMD_INSERT)
		runops_fdw_explain_obstacle(es);
	if (es->analyze && rri->ri_FdwState != NULL)
		runops_fdw_explain_usage(&((RunopsModify *) rri->ri_FdwState)->usage, es);
}

/*
 * Replace the callbacks of postgres_fdw for single rows by ours.
 */
void
runops_fdw_modify_callbacks(FdwRoutine *routine)
{
	routine->BeginForeignModify = runopsBeginForeignModify;
	routine->BeginForeignInsert = runopsBeginForeignInsert;
	routine->ExecForeignInsert = runopsExecForeignInsert;
	/* rows are collected here, see insert_rows.c */
	routine->ExecForeignBatchInsert = NULL;
	routine->GetForeignModifyBatchSize = NULL;
	routine->ExecForeignUpdate = runopsExecForeignUpdate;
	routine->ExecForeignDelete = runopsExecForeignDelete;
	routine->ExplainForeignModify = runopsExplainForeignModify;
	routine->EndForeignModify = runopsEndForeignModify;
	routine->EndForeignInsert = runopsEndForeignModify;
}
