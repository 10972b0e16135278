/*-------------------------------------------------------------------------
 *
 * modify_row.c
 *	  Checks rows, converts them to text, and sends them to a store.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "fdw/modify_int.h"
#include "gate/gate.h"
#include "planner/planner.h"
#include "topology/topology.h"
#include "xact/xact.h"

/*
 * The number of the statement that writes.
 */
CommandId
runops_fdw_write_cid(EState *estate)
{
	/* COPY has no statement that is executed */
	return estate->es_snapshot ? estate->es_output_cid : GetCurrentCommandId(true);
}

/*
 * Note once that rows of a result relation are written.
 */
static void
note_write(RunopsModify *state)
{
	if (!state->noted)
		runops_fdw_note_write(state->use.relid);
	state->noted = true;
}

/*
 * Note that the store has written rows.
 */
void
runops_fdw_note_rows(RunopsModify *state, uint64 nrows)
{
	if (nrows == 0)
		return;
	note_write(state);
	runops_stats_add(state->use.relid, RUNOPS_ROWS, nrows);
	if (state->mtstate->operation != CMD_DELETE)
		runops_held_note(state->use.relid);
}

/*
 * Add a parameter of a type.
 */
static void
add_param(RunopsModify *state, Oid type)
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
add_id(RunopsModify *state, const char *name, Oid type)
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
init_params(RunopsModify *state)
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
 * A row is about to be converted or sent: enter the frame for its errors, and
 * note the write.  The caller must call runops_fdw_leave().
 *
 * The current memory context must be the statement's.
 */
void
runops_fdw_begin_write(RunopsModify *state, RunopsFdwCall *call)
{
	EState	   *estate = state->mtstate->ps.state;

	state->use = runops_fdw_use(RelationGetRelid(state->rri->ri_RelationDesc),
								runops_fdw_result_userid(estate, state->rri));
	if (!runops_fdw_notes_insert_late(state->mtstate))
		note_write(state);

	runops_fdw_enter_table(call, state->use.relid, !state->begun);
	runops_fdw_measure(call, &state->mtstate->ps, &state->usage);
	if (state->begun)
		return;
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
output_ids(RunopsModify *state, TupleTableSlot *planSlot, const char **values)
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
bool
runops_fdw_is_first_change(RunopsModify *state, TupleTableSlot *planSlot)
{
	EState	   *estate = state->mtstate->ps.state;
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
 * The texts of the parameters of a row, at values.  Returns the bytes of them.
 */
Size
runops_fdw_output_row(RunopsModify *state, TupleTableSlot *slot,
					  TupleTableSlot *planSlot, const char **values)
{
	ListCell   *lc;
	Size		bytes = 0;
	int			i = state->nids;
	bool		isnull;

	output_ids(state, planSlot, values);
	foreach(lc, state->target_attrs)
	{
		Datum		value = slot_getattr(slot, lfirst_int(lc), &isnull);

		values[i] = isnull ? NULL : OutputFunctionCall(&state->output[i], value);
		bytes += values[i] ? strlen(values[i]) + 1 : 0;
		i++;
	}

	return bytes;
}

/*
 * Send rows, each by an execution of the statement.
 *
 * values has the texts of n rows.  returned[i] gets what the store returns for
 * row i, and written[i] how many rows it has written.  slot is the row, if there
 * is only one and it has values, for the detail of an error.  The caller has
 * called runops_fdw_begin_write().
 */
void
runops_fdw_send_rows(RunopsModify *state, int n, const char *const *values,
					 RunopsRow **returned, int *written, TupleTableSlot *slot)
{
	EState	   *estate = state->mtstate->ps.state;

	PG_TRY();
	{
		runops_conn_execute(runops_conn_get(&state->use), state->use.relid,
							runops_fdw_write_cid(estate), state->sql, n, state->nparams, values,
							true, state->returned_attrs != NIL ? returned : NULL, written);
	}
	PG_CATCH();
	{
		if (state->mtstate->operation != CMD_INSERT && state->key == NIL)
			runops_fdw_report_guard(estate, state->use.relid);
		runops_fdw_rethrow(estate, state->rri, state->use.relid, slot);
	}
	PG_END_TRY();
}

/*
 * Reject a row that must not be sent.
 */
void
runops_fdw_check_new_row(RunopsModify *state, TupleTableSlot *slot, CmdType operation)
{
	EState	   *estate = state->mtstate->ps.state;

	if (!state->checks_known)
		state->alias_checks = runops_fdw_alias_checks(estate, state->rri->ri_RelationDesc);
	state->checks_known = true;

	runops_fdw_check_row(estate, state->rri, slot, operation, state->alias_checks);
}
