/*-------------------------------------------------------------------------
 *
 * insert_rows.c
 *	  Collects rows that are inserted, and sends many of them by one statement.
 *
 * Core is told at once that a row is inserted.  Its own batches are not used:
 * COPY has them only since PostgreSQL 16, they are limited by a number of rows
 * that is known before any row, and core keeps each row twice.  Here the number
 * of rows and their bytes limit what is collected.  While the store inserts
 * some rows, the next ones are collected.
 *
 * Values are sent as one array for each column, which costs the store about as
 * much as COPY does, and can be sent in a pipeline.  The store may insert fewer
 * rows than it was told: it skips conflicts, or has a trigger that suppresses
 * rows.  INSERT then reports the right number, but COPY has counted already.
 *
 * If rows are refused, the store does not tell which one of them.  Its error has
 * the key of the row, and the context the lines of COPY's input.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/copy.h"
#include "commands/copyfrom_internal.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "fdw/modify_int.h"

/* after so many rows, more of the rows that are on the way is sent */
#define ROWS_TO_PUSH 32

/*
 * The COPY that is reading rows, or NULL.
 */
static struct CopyFromStateData *
current_copy(void)
{
	for (ErrorContextCallback *callback = error_context_stack; callback != NULL;
		 callback = callback->previous)
	{
		if (callback->callback == CopyFromErrorCallback)
			return (struct CopyFromStateData *) callback->arg;
	}

	return NULL;
}

/*
 * Error context callback: the lines of COPY's input from which the rows come.
 */
static void
lines_context(void *arg)
{
	RunopsModify *state = (RunopsModify *) arg;

	if (state->sent_lines.first != 0)
		errcontext("rows from lines %llu to %llu",
				   (unsigned long long) state->sent_lines.first,
				   (unsigned long long) state->sent_lines.last);
}

/*
 * Append an element to the text of an array.
 */
static void
append_element(StringInfo array, const char *value, char delimiter)
{
	if (array->len == 0)
		appendStringInfoChar(array, '{');
	else
		appendStringInfoChar(array, delimiter);
	if (value == NULL)
	{
		appendStringInfoString(array, "NULL");
		return;
	}

	appendStringInfoChar(array, '"');
	for (;;)
	{
		size_t		plain = strcspn(value, "\"\\");

		appendBinaryStringInfo(array, value, plain);
		value += plain;
		if (*value == '\0')
			break;
		appendStringInfoChar(array, '\\');
		appendStringInfoChar(array, *value++);
	}
	appendStringInfoChar(array, '"');
}

/*
 * The arrays of the values that are collected, one for each column.
 */
static const char **
make_arrays(RunopsModify *state)
{
	const char **arrays = palloc_array(const char *, state->nparams);

	for (int i = 0; i < state->nparams; i++)
	{
		StringInfoData array;

		initStringInfo(&array);
		for (int row = 0; row < state->insert.ncollected; row++)
			append_element(&array, state->values[row * state->nparams + i],
						   state->delimiters[i]);
		appendStringInfoChar(&array, '}');
		arrays[i] = array.data;
	}

	return arrays;
}

/* The frame for the errors of rows that are sent. */
typedef struct SendFrame
{
	RunopsFdwCall call;
	ErrorContextCallback lines;
	uint64		lineno;			/* at which COPY was */
	bool		line_valid;
} SendFrame;

/*
 * Enter the frame.  COPY's own context names the first of the lines.
 */
static void
enter(RunopsModify *state, SendFrame *frame)
{
	if (state->copy != NULL)
	{
		frame->lineno = state->copy->cur_lineno;
		frame->line_valid = state->copy->line_buf_valid;
		state->copy->cur_lineno = state->sent_lines.first;
		state->copy->line_buf_valid = false;
	}
	frame->lines.callback = lines_context;
	frame->lines.arg = state;
	frame->lines.previous = error_context_stack;
	error_context_stack = &frame->lines;
	runops_fdw_enter_table(&frame->call, state->use.relid, false);
	runops_fdw_measure(&frame->call, &state->mtstate->ps, &state->usage);
}

/*
 * Leave it.
 */
static void
leave(RunopsModify *state, SendFrame *frame)
{
	runops_fdw_leave(&frame->call);
	error_context_stack = frame->lines.previous;
	if (state->copy != NULL)
	{
		state->copy->cur_lineno = frame->lineno;
		state->copy->line_buf_valid = frame->line_valid;
	}
}

/*
 * Wait for the rows that were sent.
 */
static void
complete(RunopsInsert *insert)
{
	RunopsModify *state = (RunopsModify *) ((char *) insert - offsetof(RunopsModify, insert));
	ModifyTableState *mtstate = state->mtstate;
	EState	   *estate = mtstate->ps.state;
	MemoryContext oldcontext;
	SendFrame	frame;
	uint64		nrows = 0;
	uint64		written = 0;

	if (insert->conn == NULL && insert->nrows == 0)
		return;
	oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);
	enter(state, &frame);
	PG_TRY();
	{
		runops_insert_finish(insert, &nrows, &written);
	}
	PG_CATCH();
	{
		runops_fdw_rethrow(estate, state->rri, state->use.relid, NULL);
	}
	PG_END_TRY();
	leave(state, &frame);
	MemoryContextSwitchTo(oldcontext);

	/* core has counted them all */
	if (mtstate->ps.plan != NULL && mtstate->canSetTag)
		estate->es_processed -= nrows - written;
	runops_fdw_note_rows(state, written);
}

/*
 * Send the rows that are collected, after waiting for those before them.
 */
void
runops_fdw_send_collected(RunopsModify *state)
{
	RunopsInsert *insert = &state->insert;
	EState	   *estate = state->mtstate->ps.state;
	int			n = insert->ncollected;
	bool		many = n > 1 && state->many_sql != NULL;
	MemoryContext oldcontext;
	SendFrame	frame;

	if (n == 0)
		return;
	complete(insert);

	state->sent_lines = state->lines;
	state->lines.first = 0;
	oldcontext = MemoryContextSwitchTo(state->cxt);
	enter(state, &frame);
	PG_TRY();
	{
		if (many)
			runops_insert_send(insert, state->many_sql, 1, state->nparams, make_arrays(state));
		else
			runops_insert_send(insert, state->sql, n, state->nparams, state->values);
	}
	PG_CATCH();
	{
		runops_fdw_rethrow(estate, state->rri, state->use.relid, NULL);
	}
	PG_END_TRY();
	leave(state, &frame);
	MemoryContextSwitchTo(oldcontext);

	MemoryContextReset(state->cxt);
	state->values = NULL;
	state->bytes = 0;
}

/*
 * Send the rows that are collected, and wait for all that were sent.
 */
void
runops_fdw_finish_collected(RunopsModify *state)
{
	runops_fdw_send_collected(state);
	complete(&state->insert);
}

/*
 * The same for the engine.
 */
static void
flush(RunopsInsert *insert)
{
	runops_fdw_finish_collected((RunopsModify *) ((char *) insert - offsetof(RunopsModify, insert)));
}

/*
 * Prepare to collect rows.  runops_fdw_begin_write() was called.
 */
void
runops_fdw_collect_init(RunopsModify *state)
{
	Relation	rel = state->rri->ri_RelationDesc;
	EState	   *estate = state->mtstate->ps.state;
	ListCell   *lc;

	state->many_sql = runops_fdw_insert_many_sql(rel, state->target_attrs,
												 runops_fdw_notes_insert_late(state->mtstate));
	state->delimiters = palloc(state->nparams + 1);
	foreach(lc, state->target_attrs)
	{
		Oid			type = TupleDescAttr(RelationGetDescr(rel), lfirst_int(lc) - 1)->atttypid;
		HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for type %u", type);
		/* the values of an array travel as texts */
		state->delimiters[foreach_current_index(lc)] =
			OidIsValid(get_element_type(getBaseType(type))) ? ',' :
			((Form_pg_type) GETSTRUCT(tuple))->typdelim;
		ReleaseSysCache(tuple);
	}
	state->insert.use = state->use;
	state->insert.cid = runops_fdw_write_cid(estate);
	state->insert.flush = flush;
	state->insert.complete = complete;
	runops_insert_init(&state->insert);
	state->copy = state->mtstate->ps.plan == NULL ? current_copy() : NULL;
}

/*
 * Collect a row, and send what is collected if it is enough.
 */
void
runops_fdw_collect(RunopsModify *state, TupleTableSlot *slot)
{
	RunopsInsert *insert = &state->insert;
	MemoryContext oldcontext;
	int			level;
	int			first;

	/* rows of other tables of the store must not come later than this one */
	runops_inserts_flush(state->use.serverid, InvalidCommandId, insert);

	oldcontext = MemoryContextSwitchTo(state->cxt);
	first = insert->ncollected * state->nparams;
	if (state->values == NULL)
	{
		state->maxvalues = 8 * Max(state->nparams, 1);
		state->values = palloc_array(const char *, state->maxvalues);
	}
	else if (first + state->nparams > state->maxvalues)
	{
		state->maxvalues *= 2;
		state->values = repalloc_array(state->values, const char *, state->maxvalues);
	}
	level = runops_fdw_begin_output();
	state->bytes += runops_fdw_output_row(state, slot, NULL, state->values + first);
	runops_fdw_end_output(level);
	MemoryContextSwitchTo(oldcontext);

	insert->ncollected++;
	if (state->copy != NULL)
	{
		state->lines.last = state->copy->cur_lineno;
		if (state->lines.first == 0)
			state->lines.first = state->lines.last;
	}
	if (insert->ncollected >= state->max_rows || state->bytes >= RUNOPS_INSERT_BYTES)
		runops_fdw_send_collected(state);
	else if (insert->ncollected % ROWS_TO_PUSH == 0)
		runops_insert_push(insert);
}
