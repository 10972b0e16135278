/*-------------------------------------------------------------------------
 *
 * insert.c
 *	  Sends rows that a statement inserts, while it goes on to collect more.
 *
 * Many rows are inserted by few statements.  The caller collects rows and sends
 * them here.  The answer is read before the next rows are sent, so the store
 * inserts rows while this backend prepares the next ones.  There is never more
 * than one segment with changes on the way: a cancel could hit the first of two,
 * and the second would be executed.
 *
 * Another statement on the connection must find the rows in the store, so rows
 * that were collected are sent before it is.  A query of the same statement, or
 * of an earlier one, must not see them, and is sent without.  A function that
 * such a statement calls may run in a subtransaction.  The rows are sent outside
 * of it, because they must stay if it is rolled back.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"

#include "session/engine_int.h"

/* The inserts that were initialized and not closed. */
static dlist_head runops_inserts = DLIST_STATIC_INIT(runops_inserts);

/*
 * Forget an insert, with the rows that it has collected.
 */
static void
forget(RunopsInsert *insert)
{
	if (insert->listed)
		dlist_delete(&insert->node);
	insert->listed = false;
	insert->ncollected = 0;
	if (insert->conn != NULL && insert->conn->inserting == insert)
		insert->conn->inserting = NULL;
	insert->conn = NULL;
}

/* Memory context callback: an insert whose memory goes away is forgotten. */
static void
insert_gone(void *arg)
{
	forget((RunopsInsert *) arg);
}

/*
 * Initialize an insert, whose caller has filled in its part.
 *
 * It lives until runops_insert_close(), or until the current memory context is
 * reset.
 */
void
runops_insert_init(RunopsInsert *insert)
{
	insert->level = GetCurrentTransactionNestLevel();
	insert->listed = true;
	dlist_push_tail(&runops_inserts, &insert->node);
	insert->reset.func = insert_gone;
	insert->reset.arg = insert;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &insert->reset);
}

/*
 * Read the answer to what was sent.  If it raises, or is interrupted, a later
 * call goes on.
 */
static void
read_answer(RunopsInsert *insert)
{
	RunopsConn *c = insert->conn;

	c->sql = insert->sql;
	while (insert->nstatements > 0)
	{
		PGresult   *res;

		while ((res = runops_segment_result(c)) != NULL)
			insert->written += strtou64(PQcmdTuples(res), NULL, 10);
		insert->nstatements--;
	}
	if (insert->written > insert->nrows)
		runops_segment_wrong(c, _("It has changed more rows than it was told."));
	runops_segment_finish(c);
	c->inserting = NULL;
	insert->conn = NULL;
}

/*
 * Send collected rows.  Nothing of this insert may be on the way.
 *
 * The statement is executed nstatements times, each with nparams of the values.
 * insert->ncollected is the number of rows in all of them.  The values may be
 * freed afterwards.  The caller has called runops_insert_finish().  Raises the
 * errors of the store.
 */
void
runops_insert_send(RunopsInsert *insert, const char *sql, int nstatements,
				   int nparams, const char *const *values)
{
	RunopsConn *c = runops_conn_get(&insert->use);

	do
	{
		c->nest = insert->level;
		c->cid = insert->cid;
		insert->sending = true;
		runops_frame_require(c, RUNOPS_NEED_WRITE, NULL);
		runops_frame_note_write(c, insert->cid, insert->use.relid, true);
		c->sql = sql;
		for (int i = 0; i < nstatements; i++)
			runops_segment_statement(c, sql, nparams, values + (Size) i * nparams, true, false);
		runops_segment_sync(c, true);
		c->nest = 0;
		/* a savepoint that was set before may still be rolled back */
		if (c->level > Max(insert->level, c->base_level))
			c->carried = Max(c->carried, c->level);

		insert->conn = c;
		insert->sql = sql;
		insert->nstatements = nstatements;
		insert->nrows = insert->ncollected;
		insert->written = 0;
		c->inserting = insert;
		/* the values may be needed again */
		if (c->fresh)
			read_answer(insert);
	} while (runops_frame_again(c));
	insert->sending = false;
	insert->ncollected = 0;
}

/*
 * Wait for what was sent.  Returns how many rows were sent, and inserted, since
 * the last call.  Raises the errors of the store.
 */
void
runops_insert_finish(RunopsInsert *insert, uint64 *nrows, uint64 *written)
{
	if (insert->conn != NULL && insert->conn->inserting == insert)
		read_answer(insert);
	*nrows = insert->nrows;
	*written = insert->written;
	insert->nrows = insert->written = 0;
}

/*
 * Go on to send what does not fit into the socket at once.  Does not wait.
 */
void
runops_insert_push(RunopsInsert *insert)
{
	if (insert->conn != NULL && insert->conn->inserting == insert)
		(void) PQflush(insert->conn->session.conn);
}

/*
 * End an insert.  What it has collected and not sent is dropped.
 */
void
runops_insert_close(RunopsInsert *insert)
{
	forget(insert);
}

/*
 * Send the rows that were collected for a server before a statement that is
 * sent there next: those that a snapshot with this command number shows.
 * InvalidCommandId: all of them.  The insert except stays as it is.
 */
void
runops_inserts_flush(Oid serverid, CommandId cid, const RunopsInsert *except)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &runops_inserts)
	{
		RunopsInsert *insert = dlist_container(RunopsInsert, node, iter.cur);

		if (insert != except && insert->ncollected > 0 && !insert->sending &&
			insert->use.serverid == serverid &&
			(cid == InvalidCommandId || insert->cid < cid))
			insert->flush(insert);
	}
}

/*
 * Forget the inserts of a level that is rolled back.
 */
void
runops_inserts_abort(int level)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &runops_inserts)
	{
		RunopsInsert *insert = dlist_container(RunopsInsert, node, iter.cur);

		insert->sending = false;
		if (insert->level >= level)
			forget(insert);
	}
}

/*
 * A level becomes part of the outer one.
 */
void
runops_inserts_end_level(int level)
{
	dlist_iter	iter;

	dlist_foreach(iter, &runops_inserts)
	{
		RunopsInsert *insert = dlist_container(RunopsInsert, node, iter.cur);

		insert->level = Min(insert->level, level - 1);
	}
}
