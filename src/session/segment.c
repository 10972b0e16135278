/*-------------------------------------------------------------------------
 *
 * segment.c
 *	  Sends commands on a connection up to one Sync message, and reads their
 *	  results.
 *
 * The connections are in libpq's pipeline mode, so that a statement travels
 * together with the BEGIN and the savepoints that it needs.  If a command
 * fails, the store skips the rest of the segment.  The error is raised here
 * after the Sync message was answered, so the connection is usable again.
 *
 * If no answer comes for as long as connecting may take, the server is tested:
 * a server that is busy still greets a new client.
 *
 * The functions that end with "_try_send", "_drain" and "_cancel" run while a
 * transaction ends.  They raise nothing, and are not interrupted.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "session/engine_int.h"

/* Milliseconds for the answer to a cancel request. */
#define CANCEL_BUDGET 800

/*
 * Append a command to those that were sent.
 */
static void
push(RunopsConn *c, RunopsCommandKind kind)
{
	if (c->nsent == c->maxsent)
	{
		c->maxsent = Max(16, c->maxsent * 2);
		c->sent = c->sent == NULL ?
			MemoryContextAlloc(c->cxt, c->maxsent * sizeof(RunopsCommandKind)) :
			repalloc(c->sent, c->maxsent * sizeof(RunopsCommandKind));
	}
	c->sent[c->nsent++] = kind;
}

/*
 * Remove the first command.
 */
static void
pop(RunopsConn *c)
{
	c->nsent--;
	memmove(c->sent, c->sent + 1, c->nsent * sizeof(RunopsCommandKind));
	c->in_statement = false;
}

/*
 * The connection is lost.  Raise the error in a result, or else libpq's.
 */
pg_noreturn static void
lost(RunopsConn *c, const PGresult *res)
{
	RemoteFailure failure;

	c->lost = true;
	if (res != NULL && PQresultErrorField(res, PG_DIAG_SQLSTATE) != NULL)
		runops_store_raise(c, res, c->sql ? c->sql : "");

	runops_remote_fail_libpq(&c->session, &failure);
	if (c->sql != NULL)
		runops_remote_blame(&failure, c->sql);
	runops_remote_raise(&failure);
}

/*
 * Note what a command has done.
 */
static void
apply(RunopsConn *c, RunopsCommandKind kind, const PGresult *res)
{
	switch (kind)
	{
		case RUNOPS_CMD_BEGIN:
			c->frame = c->next_frame;
			break;
		case RUNOPS_CMD_SAVEPOINT:
			c->level++;
			break;
		case RUNOPS_CMD_END:
			c->frame = RUNOPS_FRAME_NONE;
			c->wrote = false;
			break;
		case RUNOPS_CMD_PREPARE:
			if (c->preparing != NULL)
				c->preparing->ready = true;
			break;
		case RUNOPS_CMD_OTHER:
		case RUNOPS_CMD_STATEMENT:
		case RUNOPS_CMD_SYNC:
			break;
	}
}

/*
 * Forget the prepared statement of the segment, if it was not prepared, or if
 * it must not be used again: its result type may have changed, or the store
 * has forgotten it.
 */
static void
forget_statement(RunopsConn *c, bool always)
{
	if (c->preparing != NULL && (always || !c->preparing->ready))
		runops_statement_forget(c, c->preparing);
	c->preparing = NULL;
}

/*
 * Wait until the socket is readable, or writable if something is to be sent.
 */
static void
wait_socket(RunopsConn *c, bool unsent)
{
	PGconn	   *conn = c->session.conn;
	int			rc;

	rc = WaitLatchOrSocket(MyLatch, WL_EXIT_ON_PM_DEATH | WL_LATCH_SET | WL_SOCKET_READABLE |
						   (unsent ? WL_SOCKET_WRITEABLE : 0) |
						   (c->patience > 0 ? WL_TIMEOUT : 0),
						   PQsocket(conn), c->patience, PG_WAIT_EXTENSION);
	if (rc & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	if ((rc & WL_TIMEOUT) && !runops_conn_answers(conn))
	{
		c->lost = true;
		runops_conn_break(conn);
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("server \"%s\" did not answer in time",
						c->session.server->servername),
				 errdetail("The connection is open, but the time of connect_timeout is over.")));
	}
	/* an error shows itself in the next result */
	if (rc & WL_SOCKET_READABLE)
		(void) PQconsumeInput(conn);
}

/*
 * The next result, which the connection keeps until the next call.
 */
static PGresult *
next(RunopsConn *c)
{
	PGconn	   *conn = c->session.conn;

	PQclear(c->session.res);
	c->session.res = NULL;
	for (;;)
	{
		int			unsent = PQflush(conn);

		if (unsent < 0 || PQstatus(conn) != CONNECTION_OK || !PQisBusy(conn))
			break;
		wait_socket(c, unsent > 0);
	}
	c->session.res = PQgetResult(conn);

	return c->session.res;
}

/*
 * Read to the end of the segments, whatever comes.
 */
static void
skip(RunopsConn *c)
{
	while (c->nsent > 0 && PQstatus(c->session.conn) == CONNECTION_OK)
	{
		PGresult   *res = next(c);

		if (res == NULL || PQresultStatus(res) == PGRES_PIPELINE_SYNC)
			pop(c);
		else if (runops_conn_is_copy(res))
			runops_conn_break(c->session.conn);
		else if (PQresultStatus(res) == PGRES_COMMAND_OK)
			apply(c, c->sent[0], res);
	}
}

/*
 * A command has failed: read the rest, and raise its error.
 */
pg_noreturn static void
failed(RunopsConn *c, PGresult *res)
{
	RemoteFailure failure;

	if (runops_conn_is_copy(res))
		runops_conn_break(c->session.conn);
	if (PQstatus(c->session.conn) != CONNECTION_OK && !runops_conn_is_copy(res))
		lost(c, res);
	if (PQstatus(c->session.conn) != CONNECTION_OK)
		c->lost = true;

	runops_store_note_error(res);
	if (runops_remote_check(&c->session, res, 0, &failure))
		runops_remote_fail_answer(&c->session, &failure,
								  _("It sent a result that was not asked for."));
	runops_remote_blame(&failure, c->sql ? c->sql : "");
	skip(c);
	forget_statement(c, failure.sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED ||
					 failure.sqlerrcode == ERRCODE_INVALID_SQL_STATEMENT_NAME);

	/*
	 * a rollback of the current level alone would leave the transaction
	 * failed
	 */
	if (PQstatus(c->session.conn) != CONNECTION_OK ||
		(c->frame != RUNOPS_FRAME_NONE && c->sent_level < GetCurrentTransactionNestLevel()))
		c->lost = true;
	runops_remote_raise(&failure);
}

/*
 * Has the store rejected a statement because it was prepared with another
 * result type, or because it has forgotten what was prepared?  If nothing but
 * the statement would be lost, it is to be prepared and sent again.
 */
static bool
rejects_prepared(RunopsConn *c, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	bool		statement = c->sent[0] == RUNOPS_CMD_STATEMENT;
	bool		forgotten;

	if (state == NULL || c->preparing == NULL || !c->fresh ||
		PQstatus(c->session.conn) != CONNECTION_OK)
		return false;
	/* only DEALLOCATE can miss a statement that this segment prepares */
	forgotten = strcmp(state, "26000") == 0;
	if (forgotten ? statement && !c->was_ready :
		!statement || !c->was_ready || strcmp(state, "0A000") != 0)
		return false;
	skip(c);
	forget_statement(c, true);
	while (forgotten && !dlist_is_empty(&c->statements))
		runops_statement_forget(c, dlist_head_element(RunopsStatement, node, &c->statements));
	if (PQstatus(c->session.conn) != CONNECTION_OK)
		lost(c, NULL);
	c->again = true;

	return true;
}

/*
 * Read one result.  Returns true if it belongs to the statement, and is
 * c->session.res, or NULL at the statement's end.
 */
static bool
step(RunopsConn *c)
{
	PGresult   *res = next(c);
	RunopsCommandKind kind = c->sent[0];

	if (res == NULL)
	{
		if (PQstatus(c->session.conn) != CONNECTION_OK)
			lost(c, NULL);
		pop(c);
		if (c->nsent > 0 && c->sent[0] == RUNOPS_CMD_STATEMENT && c->by_rows)
			(void) PQsetSingleRowMode(c->session.conn);
		return kind == RUNOPS_CMD_STATEMENT;
	}

	switch (PQresultStatus(res))
	{
		case PGRES_PIPELINE_SYNC:
			if (kind != RUNOPS_CMD_SYNC)
				failed(c, res);
			pop(c);
			return false;
		case PGRES_COMMAND_OK:
			if (kind == RUNOPS_CMD_SYNC)
				failed(c, res);
			apply(c, kind, res);
			return kind == RUNOPS_CMD_STATEMENT;
		case PGRES_TUPLES_OK:
		case PGRES_SINGLE_TUPLE:
			if (kind == RUNOPS_CMD_STATEMENT)
				return true;
			if (kind == RUNOPS_CMD_OTHER)
				return false;
			failed(c, res);
		case PGRES_FATAL_ERROR:
			if (rejects_prepared(c, res))
				return false;
			failed(c, res);
		default:
			failed(c, res);
	}
}

/*
 * Add a command without parameters to the segment.
 */
void
runops_segment_command(RunopsConn *c, RunopsCommandKind kind, const char *sql)
{
	if (!PQsendQueryParams(c->session.conn, sql, 0, NULL, NULL, NULL, NULL, 0))
		lost(c, NULL);
	push(c, kind);
}

/*
 * Add a command with parameters, whose results are not rows.
 */
void
runops_segment_params(RunopsConn *c, const char *sql, int nparams,
					  const char *const *values)
{
	if (!PQsendQueryParams(c->session.conn, sql, nparams, NULL, values, NULL, NULL, 0))
		lost(c, NULL);
	push(c, RUNOPS_CMD_OTHER);
}

/*
 * Add the statement of the segment.  Its results are read by
 * runops_segment_result().
 *
 * prepared: it will be sent again, so prepare it under a name.
 */
void
runops_segment_statement(RunopsConn *c, const char *sql, int nparams,
						 const char *const *values, bool prepared)
{
	PGconn	   *conn = c->session.conn;
	RunopsStatement *statement = NULL;

	c->preparing = NULL;
	c->was_ready = c->again = false;
	if (prepared)
	{
		RunopsStatement *old = runops_statement_evict(c);

		if (old != NULL)
		{
			char		command[64];

			snprintf(command, sizeof(command), "DEALLOCATE %s", old->name);
			runops_segment_command(c, RUNOPS_CMD_OTHER, command);
			runops_statement_forget(c, old);
		}
		statement = runops_statement_get(c, sql);
		c->preparing = statement;
		c->was_ready = statement->ready;
		if (!statement->sent)
		{
			if (!PQsendPrepare(conn, statement->name, sql, 0, NULL))
				lost(c, NULL);
			statement->sent = true;
			push(c, RUNOPS_CMD_PREPARE);
		}
	}

	if (statement != NULL ?
		!PQsendQueryPrepared(conn, statement->name, nparams, values, NULL, NULL, 0) :
		!PQsendQueryParams(conn, sql, nparams, NULL, values, NULL, NULL, 0))
		lost(c, NULL);
	push(c, RUNOPS_CMD_STATEMENT);
	if (c->nsent == 1 && c->by_rows)
		(void) PQsetSingleRowMode(conn);
}

/*
 * End the segment, and start to send it.
 *
 * waits: will the caller wait for its results, so that it counts as a turn?
 */
void
runops_segment_sync(RunopsConn *c, bool waits)
{
	if (!PQpipelineSync(c->session.conn))
		lost(c, NULL);
	push(c, RUNOPS_CMD_SYNC);
	c->sent_level = GetCurrentTransactionNestLevel();
	if (PQflush(c->session.conn) < 0)
		lost(c, NULL);
	if (waits && c->turns != NULL)
		pg_atomic_fetch_add_u64(c->turns, 1);
}

/*
 * The next result of the statement, which is valid until the next call; NULL
 * at its end.  Raises the first error of the segment.
 */
PGresult *
runops_segment_result(RunopsConn *c)
{
	while (c->nsent > 0)
	{
		if (step(c))
			return c->session.res;
	}

	return NULL;
}

/*
 * Read all results that are not read yet.  Raises the first error.
 */
void
runops_segment_finish(RunopsConn *c)
{
	while (c->nsent > 0)
		(void) step(c);
	c->preparing = NULL;
	c->sql = NULL;
	PQclear(c->session.res);
	c->session.res = NULL;
}

/*
 * Has the result of the statement arrived?  Reads what is there, and does not
 * wait.  Raises errors.
 */
bool
runops_segment_ready(RunopsConn *c)
{
	PGconn	   *conn = c->session.conn;

	(void) PQflush(conn);
	(void) PQconsumeInput(conn);
	while (c->nsent > 0 && c->sent[0] != RUNOPS_CMD_STATEMENT)
	{
		if (PQisBusy(conn) && PQstatus(conn) == CONNECTION_OK)
			return false;
		(void) step(c);
	}

	return c->nsent == 0 || !PQisBusy(conn) || PQstatus(conn) != CONNECTION_OK;
}

/*
 * Read all results until the time is over.  Returns false if that does not
 * succeed.
 *
 * *error gets the first error, which the caller must clear.  tag, if not NULL, is
 * what a command of kind RUNOPS_CMD_END must answer: the end of a transaction
 * that has failed answers with another one, and that result is an error too.
 */
bool
runops_segment_drain(RunopsConn *c, TimestampTz by, PGresult **error, const char *tag)
{
	PGconn	   *conn = c->session.conn;

	PQclear(c->session.res);
	c->session.res = NULL;
	while (c->nsent > 0)
	{
		int			unsent = PQflush(conn);
		PGresult   *res;

		if (unsent < 0 || PQstatus(conn) != CONNECTION_OK)
			return false;
		if (PQisBusy(conn))
		{
			if (!runops_conn_poll(conn, unsent > 0, by))
				return false;
			(void) PQconsumeInput(conn);
			continue;
		}

		res = PQgetResult(conn);
		if (res == NULL)
		{
			pop(c);
			continue;
		}
		switch (PQresultStatus(res))
		{
			case PGRES_PIPELINE_SYNC:
				pop(c);
				break;
			case PGRES_COMMAND_OK:
				if (c->sent[0] != RUNOPS_CMD_END || tag == NULL ||
					strcmp(PQcmdStatus(res), tag) == 0)
					apply(c, c->sent[0], res);
				else if (*error == NULL)
				{
					*error = res;
					continue;
				}
				break;
			case PGRES_TUPLES_OK:
			case PGRES_SINGLE_TUPLE:
			case PGRES_PIPELINE_ABORTED:
				break;
			case PGRES_FATAL_ERROR:
				if (*error == NULL)
				{
					*error = res;
					continue;
				}
				break;
			default:
				/* COPY never ends */
				PQclear(res);
				runops_conn_break(conn);
				return false;
		}
		PQclear(res);
	}

	return true;
}

/*
 * End what the store is doing for this connection: cancel it, and read its
 * results.  If that does not succeed soon, the connection is broken.
 *
 * The end of a transaction is not canceled: a COMMIT that waits for a standby
 * would give that up.
 */
bool
runops_segment_cancel(RunopsConn *c)
{
	PGconn	   *conn = c->session.conn;
	PGresult   *error = NULL;
	TimestampTz by;
	bool		ok;

	c->running = NULL;
	PQclear(c->session.res);
	c->session.res = NULL;
	if (PQstatus(conn) != CONNECTION_OK)
		return false;
	if (c->nsent == 0)
	{
		forget_statement(c, false);
		return true;
	}

	by = GetCurrentTimestamp();
	if (c->sent[0] == RUNOPS_CMD_END)
		by = TimestampTzPlusMilliseconds(by, CANCEL_BUDGET);
	ok = runops_segment_drain(c, by, &error, NULL) ||
		(c->nsent > 0 && c->sent[0] != RUNOPS_CMD_END &&
		 PQstatus(conn) == CONNECTION_OK && runops_conn_request_cancel(conn) &&
		 runops_segment_drain(c, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CANCEL_BUDGET),
							  &error, NULL));
	PQclear(error);
	forget_statement(c, false);
	if (!ok)
		runops_conn_break(conn);

	return ok;
}

/*
 * Send one command, or two, as a segment; returns false if that is known to be
 * impossible.  Nothing else may be under way.
 */
bool
runops_segment_try_send(RunopsConn *c, const char *sql, const char *sql2,
						RunopsCommandKind kind)
{
	PGconn	   *conn = c->session.conn;

	Assert(c->nsent == 0 && c->maxsent >= 3);
	if (PQstatus(conn) != CONNECTION_OK ||
		!PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0))
		return false;
	push(c, kind);
	if (sql2 != NULL)
	{
		if (!PQsendQueryParams(conn, sql2, 0, NULL, NULL, NULL, NULL, 0))
			return false;
		push(c, kind);
	}
	/* if this fails, the connection is lost, and no result comes */
	(void) PQpipelineSync(conn);
	push(c, RUNOPS_CMD_SYNC);
	if (c->turns != NULL)
		pg_atomic_fetch_add_u64(c->turns, 1);

	return true;
}
