/*-------------------------------------------------------------------------
 *
 * query.c
 *	  Executes a query in a store, and keeps its rows until they are wanted.
 *
 * A query that returns few rows is sent as it is.  Any other gets a cursor, and
 * the first rows travel with its declaration.  The number of rows of a fetch
 * grows until they fill work_mem, by the largest row that was seen.
 *
 * When the connection is needed for something else, the rows that are on the
 * way are read first.  When the cursor cannot stay, all rows that it owes are
 * read into a tuplestore, which goes to disk if it is large.  So a query never
 * shows what happened after it was opened.
 *
 * A query that is opened inside a savepoint, and was initialized outside of it,
 * is read to the end at once: a rollback would take its cursor away.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "session/engine_int.h"

/* Memory context callback: a query whose memory goes away is forgotten. */
static void
query_gone(void *arg)
{
	RunopsQuery *q = (RunopsQuery *) arg;

	if (q->listed)
		dlist_delete(&q->node);
	q->listed = false;
	if (q->conn != NULL && q->conn->running == q)
		q->conn->running = NULL;
}

/*
 * Put a row behind those in memory.
 */
static void
keep_in_memory(RunopsQuery *q, RunopsRow *row)
{
	if (q->nrows == q->maxrows)
	{
		q->maxrows = Max(16, q->maxrows * 2);
		q->rows = q->rows == NULL ?
			MemoryContextAllocHuge(q->batch, q->maxrows * sizeof(RunopsRow *)) :
			repalloc_huge(q->rows, q->maxrows * sizeof(RunopsRow *));
	}
	q->rows[q->nrows++] = row;
	q->bytes += VARSIZE(row);
	q->largest = Max(q->largest, VARSIZE(row));
}

/*
 * Make the tuplestore for rows that do not stay in memory.
 *
 * Its files belong to what the query belongs to: it may outlive the current
 * subtransaction, or end with an earlier one than the transaction.
 */
static void
make_store(RunopsQuery *q)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(q->cxt);
	ResourceOwner oldowner = CurrentResourceOwner;
	TupleDesc	desc = CreateTemplateTupleDesc(1);

	TupleDescInitEntry(desc, 1, "row", BYTEAOID, -1, 0);
	TupleDescFinalize(desc);
	CurrentResourceOwner = q->owner;
	/* core rewinds also without having announced it */
	q->store = tuplestore_begin_heap(true, false, work_mem);
	CurrentResourceOwner = oldowner;
	q->store_slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * The next row of the tuplestore, valid until the next call.  There must be
 * one: a tuplestore that was read to its end shows no row that comes later.
 */
static const RunopsRow *
next_in_store(RunopsQuery *q)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(q->cxt);
	bool		found = tuplestore_gettupleslot(q->store, true, true, q->store_slot);
	bool		isnull;

	MemoryContextSwitchTo(oldcontext);
	if (!found)
		elog(ERROR, "row of a store is missing in the tuplestore");
	q->next_stored++;

	/* a short header would have another place for the columns */
	return (RunopsRow *) DatumGetByteaP(slot_getattr(q->store_slot, 1, &isnull));
}

/*
 * Keep the rows of a result: in memory, or in the tuplestore if there is one
 * or if the memory is full.
 */
static void
keep_rows(RunopsQuery *q, const PGresult *res)
{
	for (int i = 0; i < PQntuples(res); i++)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(q->batch);
		RunopsRow  *row = runops_row_copy(res, i);

		MemoryContextSwitchTo(oldcontext);
		if (q->store == NULL && q->bytes > (Size) work_mem * 1024)
			make_store(q);
		if (q->store == NULL)
			keep_in_memory(q, row);
		else
		{
			Datum		value = PointerGetDatum(row);
			bool		isnull = false;

			tuplestore_putvalues(q->store, q->store_slot->tts_tupleDescriptor, &value, &isnull);
			q->stored++;
			q->largest = Max(q->largest, VARSIZE(row));
			pfree(row);
		}
	}
}

/*
 * Drop the rows in memory, which were all returned.
 */
static void
drop_memory(RunopsQuery *q)
{
	q->fetched += q->nrows;
	q->rows = NULL;
	q->nrows = q->maxrows = q->next_row = 0;
	q->bytes = 0;
	MemoryContextReset(q->batch);
}

/*
 * Drop all rows that are here.
 */
static void
drop_rows(RunopsQuery *q)
{
	drop_memory(q);
	q->fetched += q->stored;
	q->stored = q->next_stored = 0;
	if (q->store != NULL)
		tuplestore_clear(q->store);
}

/*
 * Note the tables that the query writes to.
 */
static void
note_writes(const RunopsQuery *q)
{
	ListCell   *lc;

	if (q->targets == NIL)
		runops_frame_note_write(q->conn, q->cid, q->use.relid, false);
	foreach(lc, q->targets)
		runops_frame_note_write(q->conn, q->cid, lfirst_oid(lc), false);
}

/*
 * Send a query without a cursor, as the statement of the segment.
 */
static void
send_whole(RunopsQuery *q)
{
	RunopsConn *c = q->conn;

	if (q->need == RUNOPS_NEED_WRITE)
		note_writes(q);
	q->open_level = GetCurrentTransactionNestLevel();
	c->by_rows = true;
	c->sql = q->sql;
	c->tag = q->tag;
	runops_segment_statement(c, q->sql, q->nparams, q->values, true, !q->no_rows);
	runops_segment_sync(c, true);
	c->running = q;
	q->state = RUNOPS_QUERY_SENT;
}

/*
 * Send a fetch.  Nothing may be under way.
 */
static void
send_fetch(RunopsQuery *q, int nrows)
{
	RunopsConn *c = q->conn;
	char		sql[64];

	snprintf(sql, sizeof(sql), "FETCH %d FROM c%u", nrows, q->cursor);
	q->last_fetch = nrows;
	c->sql = q->sql;
	c->by_rows = true;
	runops_segment_statement(c, sql, 0, NULL, false, true);
	runops_segment_sync(c, true);
	c->running = q;
	q->state = RUNOPS_QUERY_SENT;
}

/*
 * Does the query lock the rows that it fetches?
 */
static bool
locks_rows(const RunopsQuery *q)
{
	return q->need == RUNOPS_NEED_LOCKS && q->lock_rest == NULL;
}

/*
 * The number of rows to fetch first, or next if they are locked: not more than
 * are wanted.
 */
static int
first_fetch(RunopsQuery *q)
{
	int64		wanted = locks_rows(q) && q->wanted != NULL ? q->wanted(q->arg, false) : -1;

	return wanted < 0 ? q->fetch_size : Max(Min(wanted, q->fetch_size), 1);
}

/*
 * Send the query for the first time, as the statement of the segment.
 */
static void
send_first(RunopsQuery *q)
{
	RunopsConn *c = q->conn;
	StringInfoData sql;

	q->open_level = GetCurrentTransactionNestLevel();
	c->sql = q->sql;
	if (q->whole)
	{
		send_whole(q);
		return;
	}

	q->cursor = ++c->last_cursor;
	initStringInfo(&sql);
	appendStringInfo(&sql, "DECLARE c%u %sCURSOR FOR\n%s", q->cursor,
					 q->rewinds && !locks_rows(q) ? "SCROLL " : "", q->sql);
	runops_segment_params(c, sql.data, q->nparams, q->values);
	pfree(sql.data);
	send_fetch(q, first_fetch(q));
}

/*
 * Read the result of the statement of a segment.  Returns the number of rows.
 */
static int
read_rows(RunopsQuery *q)
{
	RunopsConn *c = q->conn;
	PGresult   *res;
	int			nrows = 0;

	while ((res = runops_segment_result(c)) != NULL)
	{
		nrows += PQntuples(res);
		if (q->cursor != 0 && nrows > q->last_fetch)
			runops_segment_wrong(c, _("It gave more rows than were asked for."));
		keep_rows(q, res);
		if (PQresultStatus(res) != PGRES_SINGLE_TUPLE)
			q->processed = strtoull(PQcmdTuples(res), NULL, 10);
	}
	runops_segment_finish(c);

	return nrows;
}

/*
 * The cursor has given its last row.  It is closed with the next segment, or
 * with its transaction.
 */
static void
cursor_done(RunopsQuery *q)
{
	char		sql[32];

	q->state = RUNOPS_QUERY_DONE;
	if (q->cursor != 0 && q->conn->frame != RUNOPS_FRAME_READ &&
		q->conn->frame != RUNOPS_FRAME_NONE)
	{
		snprintf(sql, sizeof(sql), "CLOSE c%u", q->cursor);
		runops_frame_later(q->conn, sql);
	}
	q->cursor = 0;
}

/*
 * Read the answer that is on the way.
 */
static void
complete(RunopsQuery *q)
{
	RunopsConn *c = q->conn;
	int			nrows;

	Assert(c->running == q);
	c->sql = q->sql;
	q->reading = true;
	nrows = read_rows(q);
	while (runops_frame_again(c))
	{
		/* nothing but the query was sent, so it has no rows yet */
		drop_rows(q);
		q->fetched = 0;
		c->running = NULL;
		runops_frame_require(c, q->need, q->snapshot);
		send_first(q);
		nrows = read_rows(q);
	}
	q->reading = false;
	c->running = NULL;
	runops_conn_check_standby(c, &q->use);
	if (q->cursor == 0)
		q->state = RUNOPS_QUERY_DONE;
	else
	{
		q->state = RUNOPS_QUERY_OPEN;
		q->exhausted = nrows < q->last_fetch;
		/* a query that may have to go back keeps its cursor */
		if (q->exhausted && !(q->rewinds && q->fetched > 0))
			cursor_done(q);
	}
}

/*
 * Prepare to use the query's connection again, in the same transaction.
 */
static void
reuse(RunopsQuery *q)
{
	runops_frame_require(q->conn, q->need, q->snapshot);
}

/*
 * The number of rows to fetch next: twice as many as last time, unless they
 * would not fit into work_mem.
 */
static int
next_fetch(RunopsQuery *q)
{
	Size		fit = (Size) work_mem * 1024 / Max(q->largest + sizeof(RunopsRow *), 1);

	if (locks_rows(q))
		return first_fetch(q);

	return Max(1, Min(Min((Size) q->last_fetch * 2, fit), PG_INT16_MAX));
}

/*
 * Read all rows that an open cursor owes.
 *
 * If the query may be rewound and its first rows are gone, it is read again
 * from its beginning.  The last row that was returned stays valid: its
 * conversion may have called the function that writes.
 *
 * If the rows are locked, those that the statement will never want are left out.
 */
static void
settle(RunopsQuery *q)
{
	int64		skip = 0;
	int64		wanted = -1;

	if (q->state == RUNOPS_QUERY_SENT)
		complete(q);
	if (q->state != RUNOPS_QUERY_OPEN)
		return;

	if (q->rewinds && q->fetched > 0)
	{
		char		sql[64];

		skip = q->fetched + q->next_row + q->next_stored;
		q->old_batch = q->batch;
		q->batch = AllocSetContextCreate(q->cxt, "runops rows", ALLOCSET_DEFAULT_SIZES);
		drop_rows(q);
		q->fetched = 0;
		snprintf(sql, sizeof(sql), "MOVE ABSOLUTE 0 FROM c%u", q->cursor);
		runops_segment_command(q->conn, RUNOPS_CMD_OTHER, sql);
	}
	else if (q->exhausted)
	{
		cursor_done(q);
		return;
	}
	if (q->store == NULL)
		make_store(q);
	if (locks_rows(q) && q->wanted != NULL && !q->rewinds)
		wanted = q->wanted(q->arg, true);
	while (q->state == RUNOPS_QUERY_OPEN)
	{
		int64		n = PG_INT16_MAX;

		if (wanted >= 0)
			n = Min(n, wanted - (q->nrows - q->next_row) - (q->stored - q->next_stored));
		if (n <= 0)
		{
			cursor_done(q);
			break;
		}
		send_fetch(q, n);
		complete(q);
	}
	if (skip > 0 && !tuplestore_skiptuples(q->store, skip, true))
		elog(ERROR, "rows of a store are missing in the tuplestore");
	q->next_stored += skip;
}

/*
 * Read the answer that is on the way, and all other rows if the cursor may be
 * taken away before the query ends.
 */
static void
complete_open(RunopsQuery *q)
{
	complete(q);
	if (q->state == RUNOPS_QUERY_OPEN && q->open_level > q->level)
		settle(q);
}

/*
 * Wait for what was sent, if a rollback of the current level would take it away
 * from a query that goes on.
 */
static void
wait_inside(RunopsQuery *q)
{
	if (q->state == RUNOPS_QUERY_SENT && GetCurrentTransactionNestLevel() > q->level)
		complete_open(q);
}

/*
 * Fetch the next rows of an open cursor.  Waits only if it must.
 */
static void
send_next(RunopsQuery *q)
{
	reuse(q);
	/* that may have changed its state */
	if (q->state != RUNOPS_QUERY_OPEN)
		return;
	/* a cursor that locks rows cannot go back, so nothing may be dropped */
	if (q->rewinds && locks_rows(q))
		settle(q);
	else
	{
		drop_rows(q);
		send_fetch(q, next_fetch(q));
		wait_inside(q);
	}
}

/*
 * Fail if the cursor was taken away, with the rows that it owed.
 */
static void
check_usable(RunopsQuery *q)
{
	if (q->state == RUNOPS_QUERY_FAILED ||
		(q->state != RUNOPS_QUERY_DONE && q->conn != NULL && q->conn->lost))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_CURSOR_STATE),
				 errmsg("the rows of a query in server \"%s\" are lost",
						GetForeignServer(q->use.serverid)->servername),
				 errdetail("The part of the transaction that read them was rolled back, or the connection was lost."),
				 errhint("Repeat the query.")));
}

/*
 * Initialize a query, whose caller has filled in its part.
 *
 * It lives until runops_query_close(), or until the current memory context is
 * reset.
 */
void
runops_query_init(RunopsQuery *q)
{
	q->cxt = CurrentMemoryContext;
	q->owner = CurrentResourceOwner;
	q->batch = AllocSetContextCreate(q->cxt, "runops rows", ALLOCSET_DEFAULT_SIZES);
	/* a cursor needs a transaction */
	if (!q->whole && q->need == RUNOPS_NEED_NOTHING)
		q->need = RUNOPS_NEED_SNAPSHOT;
	q->counts = q->reads && runops_moment_matters();
	q->state = RUNOPS_QUERY_NEW;
	q->level = GetCurrentTransactionNestLevel();
	q->complete = complete_open;
	q->settle = settle;
	q->listed = true;
	dlist_push_tail(&runops_queries, &q->node);
	q->reset.func = query_gone;
	q->reset.arg = q;
	MemoryContextRegisterResetCallback(q->cxt, &q->reset);
}

/*
 * Send the query.  Waits for its rows only if it must.
 */
void
runops_query_send(RunopsQuery *q)
{
	RunopsConn *c;

	if (q->state == RUNOPS_QUERY_OPEN)
	{
		send_next(q);
		return;
	}

	Assert(q->state == RUNOPS_QUERY_NEW);
	q->sending = true;
	/* rows of an earlier statement, but not of its own */
	runops_inserts_flush(q->use.serverid,
						 q->need == RUNOPS_NEED_WRITE ? q->cid :
						 q->snapshot == NULL ? InvalidCommandId : q->snapshot->curcid, NULL);
	Assert(q->state == RUNOPS_QUERY_NEW);
	c = runops_conn_get(&q->use);
	if (q->counts)
		runops_reads_note(c->umid, q->use.relid);
	q->conn = c;
	q->processed = 0;
	runops_frame_require(c, q->need, q->snapshot);
	runops_frame_check_read(c, q);
	send_first(q);
	wait_inside(q);
}

/*
 * Send the query, and wait for its first rows.
 */
void
runops_query_open(RunopsQuery *q)
{
	runops_query_send(q);
	if (q->state == RUNOPS_QUERY_SENT)
		complete_open(q);
}

/*
 * Has the answer to runops_query_send() arrived?  If it has, its rows are read.
 */
bool
runops_query_arrived(RunopsQuery *q)
{
	if (q->state != RUNOPS_QUERY_SENT)
		return true;
	q->conn->sql = q->sql;
	if (!runops_segment_ready(q->conn))
		return false;
	complete_open(q);

	return true;
}

/*
 * Is the next row here, or the end known, so that runops_query_next() does not
 * wait?
 */
bool
runops_query_has_row(RunopsQuery *q)
{
	return q->next_row < q->nrows || q->next_stored < q->stored ||
		q->state == RUNOPS_QUERY_DONE ||
		(q->state == RUNOPS_QUERY_OPEN && q->exhausted);
}

/*
 * The next row of an opened query, valid until the next call; NULL at the end.
 */
const RunopsRow *
runops_query_next(RunopsQuery *q)
{
	if (q->old_batch != NULL)
		MemoryContextDelete(q->old_batch);
	q->old_batch = NULL;
	for (;;)
	{
		if (q->next_row < q->nrows)
			return q->rows[q->next_row++];
		check_usable(q);
		if (q->state == RUNOPS_QUERY_SENT)
			complete_open(q);
		else if (q->next_stored < q->stored)
		{
			if (q->nrows > 0 && !q->rewinds && !q->whole)
				drop_memory(q);
			return next_in_store(q);
		}
		else if (q->state == RUNOPS_QUERY_OPEN && !q->exhausted)
		{
			send_next(q);
			if (q->state == RUNOPS_QUERY_SENT)
				complete_open(q);
		}
		else
			return NULL;
	}
}

/*
 * Return the rows again, from the first one.
 *
 * All rows are read then, so that no later rewind asks the store.
 */
void
runops_query_rewind(RunopsQuery *q)
{
	if (q->state == RUNOPS_QUERY_SENT)
		complete(q);
	check_usable(q);
	if (q->fetched > 0 && q->rewinds && q->state == RUNOPS_QUERY_OPEN)
		reuse(q);
	if (q->fetched > 0 && q->rewinds && q->state == RUNOPS_QUERY_OPEN)
		settle(q);
	if (q->fetched == 0)
	{
		q->next_row = 0;
		q->next_stored = 0;
		if (q->stored > 0)
			tuplestore_rescan(q->store);
	}
	else
	{
		/* nobody has announced it */
		runops_query_stop(q);
		runops_query_open(q);
	}
}

/*
 * Stop the query: give up its rows and its cursor.  It may be opened again, with
 * other parameters.
 */
void
runops_query_stop(RunopsQuery *q)
{
	if (q->state == RUNOPS_QUERY_SENT)
		complete(q);
	if (q->state == RUNOPS_QUERY_OPEN && !q->conn->lost)
		cursor_done(q);
	q->cursor = 0;
	q->exhausted = false;
	drop_rows(q);
	q->fetched = 0;
	if (q->store != NULL)
	{
		ExecDropSingleTupleTableSlot(q->store_slot);
		tuplestore_end(q->store);
	}
	q->store = NULL;
	q->sending = false;
	q->state = RUNOPS_QUERY_NEW;
}

/*
 * End the query.  The read-only transaction of its snapshot ends with the last
 * query of that snapshot.
 */
void
runops_query_close(RunopsQuery *q)
{
	RunopsConn *c = q->conn;
	dlist_iter	iter;

	if (!q->listed)
		return;
	runops_query_stop(q);
	dlist_delete(&q->node);
	q->listed = false;
	q->conn = NULL;
	if (c == NULL || c->frame != RUNOPS_FRAME_READ)
		return;

	dlist_foreach(iter, &runops_queries)
	{
		RunopsQuery *other = dlist_container(RunopsQuery, node, iter.cur);

		if (other->snapshot == q->snapshot &&
			other->use.serverid == q->use.serverid)
			return;
	}
	runops_frame_end_read(c, q->snapshot);
}

/*
 * Count a wait for the answer to runops_query_send() that the caller has begun
 * with runops_usage_wait_start().
 */
void
runops_query_waited(RunopsQuery *q, const instr_time *start)
{
	if (q->conn != NULL)
		runops_usage_wait_end(q->conn, start);
}

/*
 * The query whose answer is on the way on the connection of a query that was
 * opened; NULL if there is none.
 */
RunopsQuery *
runops_query_running(const RunopsQuery *q)
{
	return q->conn == NULL ? NULL : q->conn->running;
}

/*
 * The socket on which the answer arrives.
 */
int
runops_query_socket(RunopsQuery *q)
{
	return PQsocket(q->conn->session.conn);
}
