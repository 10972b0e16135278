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
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "fdw/fdw_int.h"
#include "gate/gate.h"
#include "integrity/integrity.h"
#include "planner/planner.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* the rows that are inserted together, if the option batch_size is not set */
#define DEFAULT_BATCH_SIZE 100

/*
 * The state of one result relation while a statement runs.
 *
 * It lives in the memory context in which Begin was called.
 */
typedef struct ModifyState
{
	ModifyTableState *mtstate;
	ResultRelInfo *rri;
	char	   *sql;
	List	   *target_attrs;	/* columns whose values are parameters */
	List	   *returned_attrs; /* columns of RETURNING */
	List	   *key;			/* columns that identify a row; NIL: its ctid */
	bool		begun;			/* has the first row come? */
	bool		noted;			/* is the write to the store noted? */
	RunopsFdwUnique *unique;	/* keys over all stores; NULL if none */
	bool		checks_known;	/* is the next field filled? */
	List	   *alias_checks;

	/* filled when the first row comes */
	RunopsStoreUse use;
	int			nids;			/* junk columns that identify a row, for
								 * UPDATE and DELETE */
	AttrNumber *id_attnos;
	RunopsChangedKeys *changed; /* NULL if no row can come twice */
	int			nparams;
	FmgrInfo   *output;			/* of the parameters */
	RunopsRowType row;
	MemoryContext cxt;			/* for the texts of the rows that are sent */
	RunopsUsage usage;			/* if the node is measured */
} ModifyState;

/*
 * Make the state of a result relation.
 */
static ModifyState *
make_state(ModifyTableState *mtstate, ResultRelInfo *rri)
{
	ModifyState *state = palloc0(sizeof(ModifyState));

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
	ModifyState *state;

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
	ModifyState *state;

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
 * Note once that rows of a result relation are written.
 */
static void
note_write(ModifyState *state)
{
	if (!state->noted)
		runops_fdw_note_write(state->use.relid);
	state->noted = true;
}

/*
 * Add a parameter of a type.
 */
static void
add_param(ModifyState *state, Oid type)
{
	Oid			function;
	bool		isvarlena;

	getTypeOutputInfo(type, &function, &isvarlena);
	fmgr_info(function, &state->output[state->nparams++]);
}

/*
 * Add the parameter that a junk column has.
 */
static void
add_id(ModifyState *state, const char *name, Oid type)
{
	Plan	   *plan = outerPlanState(state->mtstate)->plan;
	AttrNumber	attno = ExecFindJunkAttributeInTlist(plan->targetlist, name);

	if (!AttributeNumberIsValid(attno))
		elog(ERROR, "could not find junk column \"%s\"", name);
	state->id_attnos[state->nids++] = attno;
	add_param(state, type);
}

/*
 * Can a plan return a row of the table that it changes only once?
 */
static bool
returns_once(Plan *plan)
{
	ListCell   *lc;

	switch (nodeTag(plan))
	{
		case T_ForeignScan:
			return ((ForeignScan *) plan)->scan.scanrelid > 0;
		case T_Result:
			return plan->lefttree != NULL && returns_once(plan->lefttree);
		case T_Append:
			foreach(lc, ((Append *) plan)->appendplans)
			{
				if (IsA(lfirst(lc), ForeignScan) && !returns_once(lfirst(lc)))
					return false;
				/* the rows of a local leaf are not written here */
				if (!IsA(lfirst(lc), ForeignScan) && ((Plan *) lfirst(lc))->lefttree != NULL)
					return false;
			}
			return true;
		default:
			return false;
	}
}

/*
 * Find the parameters of the statement, when the first row comes.
 *
 * The first parameters of an UPDATE or DELETE identify the row.  A generated
 * column has no parameter, because the store computes it.
 */
static void
init_params(ModifyState *state)
{
	TupleDesc	desc = RelationGetDescr(state->rri->ri_RelationDesc);
	List	   *attrs = NIL;
	ListCell   *lc;

	if (state->output != NULL)
		return;
	state->output = palloc0_array(FmgrInfo, list_length(state->target_attrs) +
								  list_length(state->key) + 1);
	if (state->mtstate->operation != CMD_INSERT)
	{
		state->id_attnos = palloc_array(AttrNumber, list_length(state->key) + 1);
		foreach(lc, state->key)
		{
			Form_pg_attribute att = TupleDescAttr(desc, lfirst_int(lc) - 1);

			add_id(state, runops_fdw_key_junk(att), att->atttypid);
		}
		if (state->key == NIL)
			add_id(state, "ctid", TIDOID);
		if (state->key != NIL && state->mtstate->operation == CMD_UPDATE &&
			!returns_once(outerPlanState(state->mtstate)->plan))
			state->changed = runops_fdw_changed_keys(CurrentMemoryContext);
	}
	foreach(lc, state->target_attrs)
	{
		Form_pg_attribute att = TupleDescAttr(desc, lfirst_int(lc) - 1);

		if (att->attgenerated)
			continue;
		attrs = lappend_int(attrs, att->attnum);
		add_param(state, att->atttypid);
	}
	state->target_attrs = attrs;
	if (state->returned_attrs != NIL)
		runops_fdw_init_row(&state->row, state->rri->ri_RelationDesc, NULL, state->returned_attrs);
	state->cxt = AllocSetContextCreate(CurrentMemoryContext, "runops rows to send",
									   ALLOCSET_DEFAULT_SIZES);
}

/*
 * The first row has come.
 */
static void
begin(ModifyState *state)
{
	runops_fdw_one_role(&state->use, true);
	runops_fdw_note_commit(state->use.relid);
	if (state->mtstate->operation != CMD_INSERT && state->key == NIL)
		state->sql = runops_fdw_guard_ctid(state->sql, state->use.relid);
	init_params(state);
	state->begun = true;
}

/*
 * The texts of what identifies a row, at values.
 */
static void
output_ids(ModifyState *state, TupleTableSlot *planSlot, const char **values)
{
	bool		isnull;

	for (int i = 0; i < state->nids; i++)
	{
		Datum		id = ExecGetJunkAttribute(planSlot, state->id_attnos[i], &isnull);
		Oid			relid = RelationGetRelid(state->rri->ri_RelationDesc);

		if (isnull)
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("a row of \"%s\" in store \"%s\" has no key",
							get_rel_name(relid), runops_store_label(relid)),
					 errdetail("A column of the key by which the row is identified is NULL there."),
					 errhint("Run runops.verify() to see how the table in the store differs.")));
		values[i] = OutputFunctionCall(&state->output[i], id);
	}
}

/*
 * Is this the first change of a row by the statement?
 */
static bool
is_first_change(EState *estate, ModifyState *state, TupleTableSlot *planSlot)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);
	const char **values;
	bool		first;
	int			level;

	init_params(state);
	if (state->changed == NULL)
	{
		MemoryContextSwitchTo(oldcontext);
		return true;
	}

	MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	values = palloc_array(const char *, state->nids);
	level = runops_fdw_begin_output();
	output_ids(state, planSlot, values);
	runops_fdw_end_output(level);
	first = runops_fdw_change_key(state->changed, state->nids, values);
	MemoryContextSwitchTo(oldcontext);

	return first;
}

/*
 * The texts of the parameters of a row, at values.
 */
static void
output_row(ModifyState *state, TupleTableSlot *slot, TupleTableSlot *planSlot,
		   const char **values)
{
	ListCell   *lc;
	int			i = state->nids;
	bool		isnull;

	output_ids(state, planSlot, values);
	foreach(lc, state->target_attrs)
	{
		Datum		value = slot_getattr(slot, lfirst_int(lc), &isnull);

		values[i] = isnull ? NULL : OutputFunctionCall(&state->output[i], value);
		i++;
	}
}

/*
 * Send rows; returns how many the store has written.
 *
 * slots has the new rows, and gets what the store returns.
 */
static int
send_rows(EState *estate, ModifyState *state, TupleTableSlot **slots,
		  TupleTableSlot **planSlots, int n)
{
	CmdType		operation = state->mtstate->operation;
	bool		first = !state->begun;
	MemoryContext oldcontext;
	RunopsFdwCall call;
	volatile int nwritten = 0;

	state->use = runops_fdw_use(RelationGetRelid(state->rri->ri_RelationDesc),
								runops_fdw_result_userid(estate, state->rri));
	if (!runops_fdw_notes_insert_late(state->mtstate))
		note_write(state);

	oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);
	runops_fdw_enter_table(&call, state->use.relid, first);
	runops_fdw_measure(&call, &state->mtstate->ps, &state->usage);
	if (first)
		begin(state);
	MemoryContextReset(state->cxt);
	MemoryContextSwitchTo(state->cxt);
	PG_TRY();
	{
		const char **values = palloc_array(const char *, Max(n * state->nparams, 1));
		RunopsRow **returned = palloc_array(RunopsRow *, n);
		int		   *written = palloc0_array(int, n);
		int			level = runops_fdw_begin_output();

		for (int i = 0; i < n; i++)
			output_row(state, slots[i], planSlots ? planSlots[i] : NULL,
					   values + (Size) i * state->nparams);
		runops_fdw_end_output(level);

		runops_conn_execute(runops_conn_get(&state->use), state->use.relid,
		/* COPY has no statement that is executed */
							estate->es_snapshot ? estate->es_output_cid : GetCurrentCommandId(true),
							state->sql, n, state->nparams, values, true,
							state->returned_attrs != NIL ? returned : NULL, written);
		for (int i = 0; i < n; i++)
		{
			nwritten += written[i];
			if (state->returned_attrs != NIL && returned[i] != NULL)
				runops_fdw_store_row(&state->row, returned[i], slots[i]);
		}
	}
	PG_CATCH();
	{
		if (operation != CMD_INSERT && state->key == NIL)
			runops_fdw_report_guard(estate, state->use.relid);
		runops_fdw_rethrow(estate, state->rri, state->use.relid,
						   n == 1 && operation != CMD_DELETE ? slots[0] : NULL);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcontext);
	runops_fdw_leave(&call);

	if (nwritten > 0)
	{
		note_write(state);
		runops_stats_add(state->use.relid, RUNOPS_ROWS, nwritten);
		if (operation != CMD_DELETE)
			runops_held_note(state->use.relid);
	}

	return nwritten;
}

/*
 * Reject a row that must not be sent.
 */
static void
check_row(EState *estate, ModifyState *state, TupleTableSlot *slot, CmdType operation)
{
	if (!state->checks_known)
		state->alias_checks = runops_fdw_alias_checks(estate, state->rri->ri_RelationDesc);
	state->checks_known = true;

	runops_fdw_check_row(estate, state->rri, slot, operation, state->alias_checks);
}

/*
 * Insert one row.
 */
static TupleTableSlot *
runopsExecForeignInsert(EState *estate, ResultRelInfo *rri,
						TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;

	check_row(estate, state, slot, CMD_INSERT);
	if (state->unique && !runops_fdw_unique_insert(state->unique, slot))
		return NULL;
	if (send_rows(estate, state, &slot, &planSlot, 1) > 0)
		return slot;
	if (state->unique)
		runops_fdw_unique_skipped(state->unique, slot);

	return NULL;
}

/*
 * Insert several rows.
 */
static TupleTableSlot **
runopsExecForeignBatchInsert(EState *estate, ResultRelInfo *rri,
							 TupleTableSlot **slots, TupleTableSlot **planSlots,
							 int *numSlots)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;

	for (int i = 0; i < *numSlots; i++)
	{
		check_row(estate, state, slots[i], CMD_INSERT);
		if (state->unique)
			runops_fdw_unique_insert(state->unique, slots[i]);
	}
	*numSlots = send_rows(estate, state, slots, planSlots, *numSlots);

	return *numSlots > 0 ? slots : NULL;
}

/*
 * The number of rows to insert together.
 *
 * Core cannot return, check or give to triggers the rows of a batch.  If the
 * store skips some rows of a batch, it does not tell core which.
 */
static int
runopsGetForeignModifyBatchSize(ResultRelInfo *rri)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;
	ForeignTable *table = GetForeignTable(RelationGetRelid(rri->ri_RelationDesc));
	int			size = DEFAULT_BATCH_SIZE;
	ListCell   *lc;

	foreach(lc, list_concat_copy(GetForeignServer(table->serverid)->options, table->options))
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		if (strcmp(def->defname, "batch_size") == 0)
			(void) parse_int(defGetString(def), &size, 0, NULL);
	}
	if (rri->ri_projectReturning != NULL || rri->ri_WithCheckOptions != NIL ||
		(rri->ri_TrigDesc && (rri->ri_TrigDesc->trig_insert_before_row ||
							  rri->ri_TrigDesc->trig_insert_after_row)) ||
		(state && state->unique && runops_fdw_unique_one_by_one(state->unique)))
		return 1;

	return Max(size, 1);
}

/*
 * Update one row.
 */
static TupleTableSlot *
runopsExecForeignUpdate(EState *estate, ResultRelInfo *rri,
						TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	ModifyState *state = (ModifyState *) rri->ri_FdwState;

	if (!is_first_change(estate, state, planSlot))
		return NULL;
	check_row(estate, state, slot, CMD_UPDATE);
	runops_reference_check_update(rri->ri_RelationDesc,
								  runops_fdw_old_row(rri, planSlot), slot);
	if (state->unique)
		runops_fdw_unique_update(state->unique, rri, slot, planSlot);
	if (send_rows(estate, state, &slot, &planSlot, 1) > 0)
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
	ModifyState *state = (ModifyState *) rri->ri_FdwState;

	if (state->unique)
		runops_fdw_unique_read_old(state->unique, rri, planSlot);
	if (send_rows(estate, state, &slot, &planSlot, 1) == 0)
		return NULL;
	if (state->unique)
		runops_fdw_unique_deleted(state->unique);

	return slot;
}

/*
 * End the modification of a result relation; its memory goes with the
 * statement.
 */
static void
runopsEndForeignModify(EState *estate, ResultRelInfo *rri)
{
	rri->ri_FdwState = NULL;
}

/*
 * Show the statement, as postgres_fdw does, and what was exchanged.
 */
static void
runopsExplainForeignModify(ModifyTableState *mtstate, ResultRelInfo *rri,
						   List *fdw_private, int subplan_index, ExplainState *es)
{
	pgfdw.ExplainForeignModify(mtstate, rri, fdw_private, subplan_index, es);
	if (es->analyze && rri->ri_FdwState != NULL)
		runops_fdw_explain_usage(&((ModifyState *) rri->ri_FdwState)->usage, es);
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
	routine->ExecForeignBatchInsert = runopsExecForeignBatchInsert;
	routine->GetForeignModifyBatchSize = runopsGetForeignModifyBatchSize;
	routine->ExecForeignUpdate = runopsExecForeignUpdate;
	routine->ExecForeignDelete = runopsExecForeignDelete;
	routine->ExplainForeignModify = runopsExplainForeignModify;
	routine->EndForeignModify = runopsEndForeignModify;
	routine->EndForeignInsert = runopsEndForeignModify;
}
