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
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "session/engine_int.h"

/* The connections of this backend. */
dlist_head	runops_conns = DLIST_STATIC_INIT(runops_conns);

/* Milliseconds for the answer to a cancel request. */
#define CANCEL_BUDGET 800

/* Milliseconds after which a pooler gets another one. */
#define CANCEL_AGAIN 100

/* Milliseconds after which a wait looks for a cancel. */
#define STOP_SLICE 100

/*
 * Bytes of a result, or of what is sent in one segment, after which a connection
 * is not kept: libpq's buffers grow by them, and never shrink.
 */
#define LARGE_MESSAGE (8 * 1024 * 1024)

/* What commit.c must know to ask later what became of a transaction. */
#define XID_SQL \
	"SELECT pg_catalog.pg_current_xact_id_if_assigned(), pg_catalog.pg_backend_pid()"

/*
 * Append a command to those that were sent.
 *
 * sql is NULL for a message that is answered without a tag.  size is the number
 * of bytes that it takes.
 */
static void
push(RunopsConn *c, RunopsCommandKind kind, const char *sql, bool rows,
	 bool parsed, uint64 size)
{
	RunopsSent *sent;
	int			len;

	if (c->first_sent + c->nsent == c->maxsent)
	{
		c->maxsent = Max(16, c->maxsent * 2);
		c->sent = repalloc(c->sent, c->maxsent * sizeof(RunopsSent));
	}
	if (c->nsent == 0)
	{
		c->failed = false;
		c->sent_bytes = 0;
	}
	c->sent_bytes += size;
	if (c->sent_bytes > LARGE_MESSAGE)
		c->keep = false;
	sent = &c->sent[c->first_sent + c->nsent++];
	sent->kind = kind;
	sent->rows = rows;
	sent->parsed = parsed;
	runops_usage_sent(c, size);
	len = sql == NULL ? 0 : strspn(sql, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
	strlcpy(sent->word, sql == NULL ? "" : sql, Min(len + 1, sizeof(sent->word)));
}

/*
 * The first command whose results were not all read.
 */
static const RunopsSent *
first(const RunopsConn *c)
{
	return &c->sent[c->first_sent];
}

/*
 * Remove the first command.
 */
static void
pop(RunopsConn *c)
{
	c->nsent--;
	c->first_sent = c->nsent == 0 ? 0 : c->first_sent + 1;
	c->answered = false;
	c->nrows = 0;
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
		runops_store_failure(c, res, c->sql ? c->sql : "", &failure);
	else
	{
		runops_remote_fail_libpq(&c->session, &failure);
		if (c->sql != NULL)
			runops_remote_blame(&failure, c->sql);
	}
	runops_usage_lost(c, failure.sqlerrcode);
	runops_remote_raise(&failure);
}

/*
 * Note the number of the transaction.  An answer that makes no sense is none.
 */
static void
note_xid(RunopsConn *c, const PGresult *res)
{
	const char *pid = PQgetisnull(res, 0, 1) ? "" : PQgetvalue(res, 0, 1);
	const char *xid = PQgetisnull(res, 0, 0) ? "0" : PQgetvalue(res, 0, 0);
	char	   *xid_end;
	char	   *pid_end;

	errno = 0;
	c->xid = strtou64(xid, &xid_end, 10);
	c->backend_pid = strtol(pid, &pid_end, 10);
	c->xid_told = errno == 0 && xid_end != xid && *xid_end == '\0' &&
		pid_end != pid && *pid_end == '\0';
}

/*
 * Note what a command has done.
 */
static void
apply(RunopsConn *c, const PGresult *res)
{
	switch (first(c)->kind)
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
		case RUNOPS_CMD_PREPARE_TRANSACTION:
			c->frame = RUNOPS_FRAME_NONE;
			c->wrote = false;
			c->prepared = RUNOPS_PREPARED_DONE;
			break;
		case RUNOPS_CMD_PREPARE:
			if (c->preparing != NULL)
				c->preparing->ready = true;
			break;
		case RUNOPS_CMD_XID:
			if (PQntuples(res) == 1 && PQnfields(res) == 2)
				note_xid(c, res);
			break;
		case RUNOPS_CMD_CHECK:
		case RUNOPS_CMD_OTHER:
		case RUNOPS_CMD_STATEMENT:
		case RUNOPS_CMD_SYNC:
			break;
	}
}

/*
 * Forget the prepared statement of the segment, if it was not prepared.
 */
static void
forget_statement(RunopsConn *c)
{
	if (c->preparing != NULL && !c->preparing->ready)
		runops_statement_forget(c, c->preparing);
	c->preparing = NULL;
}

/*
 * Forget all prepared statements, because the store has forgotten them, or
 * because a table there was altered.  The next segment drops those that are left.
 */
static void
forget_statements(RunopsConn *c)
{
	while (!dlist_is_empty(&c->statements))
		runops_statement_forget(c, dlist_head_element(RunopsStatement, node, &c->statements));
	c->deallocate = true;
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
		runops_wait(c, unsent > 0);
	}
	c->session.res = PQgetResult(conn);
	if (c->session.res != NULL && PQresultMemorySize(c->session.res) > LARGE_MESSAGE)
		c->keep = false;

	return c->session.res;
}

/*
 * Is the tag of a result the one of the first command, with the right number of
 * rows?
 */
static bool
tag_fits(const RunopsConn *c, PGresult *res)
{
	const RunopsSent *sent = first(c);
	const char *tag = PQcmdStatus(res);
	const char *count = PQcmdTuples(res);
	int			len = strlen(sent->word);
	char	   *end;
	uint64		n;

	if (strncmp(tag, sent->word, len) != 0 || (tag[len] != '\0' && tag[len] != ' '))
		return false;
	if (!sent->rows && strcmp(sent->word, "INSERT") != 0 &&
		strcmp(sent->word, "UPDATE") != 0 && strcmp(sent->word, "DELETE") != 0)
		return true;
	errno = 0;
	n = strtou64(count, &end, 10);

	return errno == 0 && end != count && *end == '\0' &&
		(!sent->rows || n == c->nrows + PQntuples(res));
}

/*
 * Why this is no result that the first command can have; NULL if it is one.
 */
static const char *
misfit(const RunopsConn *c, PGresult *res)
{
	const RunopsSent *sent = first(c);
	ExecStatusType status = res == NULL ? PGRES_FATAL_ERROR : PQresultStatus(res);

	if (res == NULL)
		return c->answered ? NULL : _("It gave no result.");
	if (runops_conn_is_copy(res))
		return _("It wants to transfer data by COPY.");
	if (status == PGRES_PIPELINE_SYNC ? sent->kind != RUNOPS_CMD_SYNC : c->answered)
		return _("It sent a result that was not asked for.");

	switch (status)
	{
		case PGRES_PIPELINE_SYNC:
		case PGRES_FATAL_ERROR:
		case PGRES_PIPELINE_ABORTED:
			return NULL;
		case PGRES_COMMAND_OK:
		case PGRES_TUPLES_OK:
		case PGRES_SINGLE_TUPLE:
			if (sent->kind == RUNOPS_CMD_SYNC)
				return _("It sent a result that was not asked for.");
			if (status == PGRES_COMMAND_OK && sent->rows)
				return _("It gave no rows for a query.");
			if (status != PGRES_COMMAND_OK && !sent->rows)
				return _("It gave rows for a command that has none.");
			if (status != PGRES_SINGLE_TUPLE && !tag_fits(c, res))
				return _("Its command tag does not fit the statement and its rows.");
			return NULL;
		case PGRES_EMPTY_QUERY:
			return _("It found the statement empty.");
		default:
			return _("It sent a result that was not asked for.");
	}
}

/*
 * Has the store reported an error after which its session goes on?
 */
static bool
is_error(const PGresult *res)
{
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	return severity != NULL && strcmp(severity, "ERROR") == 0;
}

/*
 * Note a result that fits.  At the end of a command, remove the command.
 */
static void
take(RunopsConn *c, const PGresult *res)
{
	/* an error can also be the result of Sync, and precedes its answer */
	if (res == NULL && first(c)->kind == RUNOPS_CMD_SYNC)
	{
		c->answered = false;
		return;
	}
	if (res != NULL)
		runops_usage_received(c, runops_result_size(first(c), res, c->nrows == 0));
	if (res == NULL || PQresultStatus(res) == PGRES_PIPELINE_SYNC)
	{
		if (res != NULL)
		{
			runops_usage_flush(c);
			runops_server_state_works(c->state);
		}
		pop(c);
		return;
	}

	if (PQresultStatus(res) == PGRES_COMMAND_OK ||
		(PQresultStatus(res) == PGRES_TUPLES_OK && first(c)->kind == RUNOPS_CMD_XID))
		apply(c, res);
	else if (first(c)->kind == RUNOPS_CMD_CHECK && PQresultStatus(res) == PGRES_TUPLES_OK)
		c->checked_again = false;
	else if (PQresultStatus(res) == PGRES_FATAL_ERROR)
	{
		c->failed = true;
		/* an error of the store, and not the end of the connection */
		if (first(c)->kind == RUNOPS_CMD_PREPARE_TRANSACTION && is_error(res))
			c->prepared = RUNOPS_PREPARED_NOT;
	}
	c->nrows += PQntuples(res);
	c->answered = PQresultStatus(res) != PGRES_SINGLE_TUPLE;
}

/*
 * Is the store's transaction in the state that follows from the results?  All
 * of them must have been read.
 */
static bool
state_fits(const RunopsConn *c)
{
	switch (PQtransactionStatus(c->session.conn))
	{
		case PQTRANS_IDLE:
			/* the end of a transaction may have failed */
			return c->frame == RUNOPS_FRAME_NONE || c->failed;
		case PQTRANS_INTRANS:
			return c->frame != RUNOPS_FRAME_NONE && !c->failed;
		case PQTRANS_INERROR:
			return c->frame != RUNOPS_FRAME_NONE && c->failed;
		case PQTRANS_ACTIVE:
			return true;
		default:
			return false;
	}
}

/*
 * Give up a connection, because it is not known any more which answer belongs
 * to which command.
 */
static void
give_up(RunopsConn *c)
{
	c->lost = true;
	runops_conn_break(c->session.conn);
}

/*
 * Raise the error for an answer that PostgreSQL would not give, and give up the
 * connection.  detail says what is wrong.
 */
void
runops_segment_wrong(RunopsConn *c, const char *detail)
{
	RemoteFailure failure;

	give_up(c);
	runops_remote_fail_answer(&c->session, &failure, detail);
	runops_usage_lost(c, failure.sqlerrcode);
	runops_remote_blame(&failure, c->sql ? c->sql : "");
	runops_remote_raise(&failure);
}

/*
 * Read to the end of the segments behind an error.
 */
static void
skip(RunopsConn *c, PGresult *res)
{
	take(c, res);
	while (c->nsent > 0)
	{
		res = next(c);
		if (PQstatus(c->session.conn) != CONNECTION_OK)
			return;
		if (misfit(c, res) != NULL)
		{
			give_up(c);
			return;
		}
		take(c, res);
	}
}

/*
 * Has the store reported this error, and not libpq found it?
 */
static bool
is_reported(const PGresult *res)
{
	return PQresultErrorField(res, PG_DIAG_SEVERITY) != NULL ||
		PQresultErrorField(res, PG_DIAG_SQLSTATE) != NULL ||
		PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) != NULL;
}

/*
 * A command has failed: read the rest, and raise its error.
 */
pg_noreturn static void
failed(RunopsConn *c, PGresult *res)
{
	PGconn	   *conn = c->session.conn;
	RemoteFailure failure;

	if (PQstatus(conn) != CONNECTION_OK)
		lost(c, res);

	runops_store_failure(c, res, c->sql ? c->sql : "", &failure);
	runops_usage_error(c, failure.sqlerrcode);
	/* the store does not know of an error that libpq has found */
	if (!is_reported(res))
		give_up(c);
	else
		skip(c, res);
	if (c->was_ready &&
		(failure.sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED ||
		 failure.sqlerrcode == ERRCODE_INVALID_SQL_STATEMENT_NAME ||
		 failure.sqlerrcode == ERRCODE_INTERNAL_ERROR))
		forget_statements(c);
	forget_statement(c);
	if (PQstatus(conn) != CONNECTION_OK || !state_fits(c))
		give_up(c);

	/*
	 * a rollback of the current level alone would leave the transaction
	 * failed
	 */
	if (c->frame != RUNOPS_FRAME_NONE && c->sent_level < GetCurrentTransactionNestLevel())
		c->lost = true;
	runops_remote_raise(&failure);
}

/*
 * Has the store rejected a statement because it was prepared with another
 * result type or with a type that was dropped, because it has forgotten what was
 * prepared, or because the name is taken?  If nothing but the statement would be lost, it is to be sent again,
 * and prepared anew.
 *
 * If a name is taken, somebody else prepares statements in this session, so no
 * more are prepared by name.
 */
static bool
rejects_prepared(RunopsConn *c, PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	RunopsCommandKind kind = first(c)->kind;
	bool		forgotten;

	if (state == NULL || c->preparing == NULL || !c->fresh ||
		PQstatus(c->session.conn) != CONNECTION_OK)
		return false;
	forgotten = strcmp(state, "26000") == 0;
	if (kind == RUNOPS_CMD_PREPARE)
	{
		if (strcmp(state, "42P05") != 0)
			return false;
		c->options.prepared_statements = false;
	}
	else if (kind == RUNOPS_CMD_STATEMENT)
	{
		/* XX000: the type of a parameter does not exist any more */
		if (!c->was_ready ||
			(!forgotten && strcmp(state, "0A000") != 0 && strcmp(state, "XX000") != 0))
			return false;
	}
	/* only DEALLOCATE can miss a statement that this segment prepares */
	else if (!forgotten)
		return false;
	skip(c, res);
	forget_statements(c);
	if (PQstatus(c->session.conn) != CONNECTION_OK)
		lost(c, NULL);
	c->again = true;

	return true;
}

/*
 * A store has rolled back a transaction instead of preparing it, as it does
 * with one that has failed there.
 */
pg_noreturn static void
not_prepared(RunopsConn *c)
{
	c->prepared = RUNOPS_PREPARED_NOT;
	give_up(c);
	ereport(ERROR,
			(errcode(ERRCODE_TRANSACTION_ROLLBACK),
			 errmsg("server \"%s\" has rolled back the transaction instead of preparing it",
					c->session.server->servername),
			 errhint("Repeat the transaction.")));
}

/*
 * Has the check of a transaction failed, because a pooler has given the
 * transaction another session?  Everything behind it was skipped.  It is to be
 * found out where the connection leads, and the segment to be sent again.
 */
static bool
rejects_check(RunopsConn *c, PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (first(c)->kind != RUNOPS_CMD_CHECK || state == NULL ||
		strcmp(state, "22P02") != 0 || PQstatus(c->session.conn) != CONNECTION_OK)
		return false;
	skip(c, res);
	forget_statement(c);
	if (PQstatus(c->session.conn) != CONNECTION_OK)
		lost(c, NULL);
	c->again = c->check_failed = true;

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
	RunopsCommandKind kind = first(c)->kind;
	const char *wrong;

	if (res == NULL && PQstatus(c->session.conn) != CONNECTION_OK)
		lost(c, NULL);
	if (res != NULL && (PQresultStatus(res) == PGRES_FATAL_ERROR ||
						PQresultStatus(res) == PGRES_PIPELINE_ABORTED))
	{
		if (rejects_check(c, res) || rejects_prepared(c, res))
			return false;
		failed(c, res);
	}
	if (kind == RUNOPS_CMD_PREPARE_TRANSACTION && res != NULL &&
		strcmp(PQcmdStatus(res), "ROLLBACK") == 0)
		not_prepared(c);
	wrong = misfit(c, res);
	if (wrong != NULL)
		runops_segment_wrong(c, wrong);

	take(c, res);
	if (c->nsent == 0 && !state_fits(c))
		runops_segment_wrong(c, _("Its transaction is not in the state in which the statements have left it."));
	if (res == NULL && c->nsent > 0 && first(c)->kind == RUNOPS_CMD_STATEMENT && c->by_rows)
		(void) PQsetSingleRowMode(c->session.conn);

	return kind == RUNOPS_CMD_STATEMENT;
}

/*
 * The size of the messages for a statement that is sent with its text.
 */
static uint64
text_size(const char *sql, int nparams, const char *const *values)
{
	return runops_parse_size("", sql) + runops_execute_size("", nparams, values);
}

/*
 * Add a command without parameters to the segment.
 */
void
runops_segment_command(RunopsConn *c, RunopsCommandKind kind, const char *sql)
{
	if (!PQsendQueryParams(c->session.conn, sql, 0, NULL, NULL, NULL, NULL, 0))
		lost(c, NULL);
	push(c, kind, sql, strncmp(sql, "SELECT", 6) == 0, true, text_size(sql, 0, NULL));
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
	push(c, RUNOPS_CMD_OTHER, sql, false, true, text_size(sql, nparams, values));
}

/*
 * Add the statement of the segment.  Its results are read by
 * runops_segment_result().
 *
 * prepared: it will be sent again, so prepare it under a name, if the server's
 * options allow that.  rows: does it return rows?
 */
void
runops_segment_statement(RunopsConn *c, const char *sql, int nparams,
						 const char *const *values, bool prepared, bool rows)
{
	PGconn	   *conn = c->session.conn;
	RunopsStatement *statement = NULL;

	c->preparing = NULL;
	c->was_ready = c->again = false;
	if (prepared && c->options.prepared_statements && !c->options.pooled)
	{
		RunopsStatement *old = runops_statement_evict(c);

		if (c->deallocate)
			runops_segment_command(c, RUNOPS_CMD_OTHER, "DEALLOCATE ALL");
		c->deallocate = false;
		if (old != NULL)
		{
			char		command[64];

			snprintf(command, sizeof(command), "DEALLOCATE %s", old->name);
			runops_segment_command(c, RUNOPS_CMD_OTHER, command);
			runops_statement_forget(c, old);
		}
		statement = runops_statement_get(c, sql);
	}
	if (statement != NULL)
	{
		c->preparing = statement;
		c->was_ready = statement->ready;
		if (!statement->sent)
		{
			if (!PQsendPrepare(conn, statement->name, sql, 0, NULL))
				lost(c, NULL);
			statement->sent = true;
			push(c, RUNOPS_CMD_PREPARE, NULL, false, true, runops_parse_size(statement->name, sql));
		}
	}

	if (statement != NULL ?
		!PQsendQueryPrepared(conn, statement->name, nparams, values, NULL, NULL, 0) :
		!PQsendQueryParams(conn, sql, nparams, NULL, values, NULL, NULL, 0))
		lost(c, NULL);
	push(c, RUNOPS_CMD_STATEMENT, c->tag ? c->tag : sql, rows, statement == NULL,
		 statement == NULL ? text_size(sql, nparams, values) :
		 runops_execute_size(statement->name, nparams, values));
	c->tag = NULL;
	if (c->nsent == 1 && c->by_rows)
		(void) PQsetSingleRowMode(conn);
}

/*
 * Is the store to be asked for the number of the transaction in this segment?
 *
 * A transaction has a number after its first write or row lock.  Until it has
 * one, each segment asks for it, because any of them may be the last one before
 * COMMIT.
 */
static bool
asks_xid(const RunopsConn *c)
{
	RunopsCommandKind last;

	if (!c->wrote || c->xid != 0 || c->nsent == 0)
		return false;
	last = c->sent[c->first_sent + c->nsent - 1].kind;

	return last != RUNOPS_CMD_END && last != RUNOPS_CMD_PREPARE_TRANSACTION;
}

/*
 * The nest level at which the next statement on a connection runs.
 */
int
runops_segment_nest(const RunopsConn *c)
{
	return c->nest > 0 ? c->nest : GetCurrentTransactionNestLevel();
}

/*
 * End the segment, and start to send it.
 *
 * waits: will the caller wait for its results, so that it counts as a turn?
 */
void
runops_segment_sync(RunopsConn *c, bool waits)
{
	if (asks_xid(c))
		runops_segment_command(c, RUNOPS_CMD_XID, XID_SQL);
	if (!PQpipelineSync(c->session.conn))
		lost(c, NULL);
	push(c, RUNOPS_CMD_SYNC, NULL, false, false, runops_sync_size());
	c->sent_level = runops_segment_nest(c);
	if (PQflush(c->session.conn) < 0)
		lost(c, NULL);
	if (waits)
		runops_usage_turn(c);
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
	while (c->nsent > 0 && first(c)->kind != RUNOPS_CMD_STATEMENT)
	{
		if (PQisBusy(conn) && PQstatus(conn) == CONNECTION_OK)
			return false;
		(void) step(c);
	}

	return c->nsent == 0 || !PQisBusy(conn) || PQstatus(conn) != CONNECTION_OK;
}

/*
 * Read all results until the time is over.  Returns false if that does not
 * succeed, or if an answer is not one that PostgreSQL would give; then the
 * connection is not usable.
 *
 * may_stop: give up as soon as the user cancels that.  *error gets the first
 * error of the store, which the caller must clear; it may be NULL.  An aborted transaction is
 * rolled back by COMMIT, and that result is an error too.
 */
bool
runops_segment_drain(RunopsConn *c, TimestampTz by, bool may_stop, PGresult **error)
{
	PGconn	   *conn = c->session.conn;

	/* a store may send without end */
	TimestampTz end = TimestampTzPlusMilliseconds(by, CANCEL_BUDGET);

	/* a cancel that is older than the wait is not meant for it */
	TimestampTz stop_after = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), STOP_SLICE);

	PQclear(c->session.res);
	c->session.res = NULL;
	while (c->nsent > 0)
	{
		int			unsent = PQflush(conn);
		TimestampTz now = GetCurrentTimestamp();
		PGresult   *res;

		if (unsent < 0 || PQstatus(conn) != CONNECTION_OK || now > end ||
			(may_stop && now > stop_after && (QueryCancelPending || ProcDiePending)))
			return false;
		if (PQisBusy(conn))
		{
			TimestampTz look = TimestampTzPlusMilliseconds(now, STOP_SLICE);
			instr_time	start;
			bool		ready;

			runops_usage_wait_start(&start);
			ready = runops_conn_poll(conn, unsent > 0, may_stop ? Min(look, by) : by);
			runops_usage_wait_end(c, &start);
			if (ready)
				(void) PQconsumeInput(conn);
			else if (now >= by)
				return false;
			continue;
		}

		res = PQgetResult(conn);
		if (res != NULL && PQresultStatus(res) == PGRES_COMMAND_OK && !c->answered &&
			first(c)->kind == RUNOPS_CMD_END && error != NULL && *error == NULL &&
			strcmp(first(c)->word, "COMMIT") == 0 && strcmp(PQcmdStatus(res), "ROLLBACK") == 0)
		{
			c->failed = c->answered = true;
			*error = res;
			continue;
		}
		/* what libpq could not read may be the answer of a success */
		if (PQstatus(conn) != CONNECTION_OK || misfit(c, res) != NULL ||
			(res != NULL && PQresultStatus(res) == PGRES_FATAL_ERROR && !is_reported(res)))
		{
			PQclear(res);
			give_up(c);
			return false;
		}
		take(c, res);
		if (res != NULL && PQresultStatus(res) == PGRES_FATAL_ERROR && error != NULL && *error == NULL)
			*error = res;
		else
			PQclear(res);
	}

	return state_fits(c);
}

/*
 * End what the store is doing for this connection: cancel it, and read its
 * results.  If that does not succeed soon, the connection is broken.
 *
 * The end of a transaction is not canceled: a COMMIT that waits for a standby
 * would give that up.  A pooler drops a request for a statement that still waits
 * for a session, so it gets several.
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
		forget_statement(c);
		return true;
	}

	by = GetCurrentTimestamp();
	if (first(c)->kind == RUNOPS_CMD_END)
		by = TimestampTzPlusMilliseconds(by, CANCEL_BUDGET);
	ok = runops_segment_drain(c, by, true, &error);
	by = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CANCEL_BUDGET);
	while (!ok && c->nsent > 0 && first(c)->kind != RUNOPS_CMD_END &&
		   GetCurrentTimestamp() < by &&
		   PQstatus(conn) == CONNECTION_OK && runops_conn_request_cancel(conn))
		ok = runops_segment_drain(c, c->session.pooled ?
								  TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CANCEL_AGAIN) : by,
								  true, &error);
	PQclear(error);
	forget_statement(c);
	if (!ok)
	{
		runops_conn_break(conn);
		runops_usage_lost(c, ERRCODE_CONNECTION_FAILURE);
	}

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
	push(c, kind, sql, false, true, text_size(sql, 0, NULL));
	if (sql2 != NULL)
	{
		if (!PQsendQueryParams(conn, sql2, 0, NULL, NULL, NULL, NULL, 0))
			return false;
		push(c, kind, sql2, false, true, text_size(sql2, 0, NULL));
	}
	/* if this fails, the connection is lost, and no result comes */
	(void) PQpipelineSync(conn);
	push(c, RUNOPS_CMD_SYNC, NULL, false, false, runops_sync_size());
	runops_usage_turn(c);

	return true;
}
