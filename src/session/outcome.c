/*-------------------------------------------------------------------------
 *
 * outcome.c
 *	  Asks a store what became of a transaction whose COMMIT was not answered.
 *
 * The store is asked by the number of the transaction, on a new connection with
 * the options of the old one.  While the transaction is in progress, its process
 * is terminated, and the question is repeated: what has not reached the store by
 * then never will.  A process that waits for a standby is left alone, because it
 * has committed, and would give the standby up.
 *
 * The number of a transaction that never reached the WAL is given out again
 * after a crash.  So "committed" proves nothing in another incarnation of the
 * server, but the opposite does: whatever was committed stays so.  With the
 * option commit_token the transaction has left a row in the store, which decides
 * in every incarnation.
 *
 * The functions here raise nothing, allocate no memory but libpq's, and are not
 * interrupted: they run when other stores may have committed already.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/fd.h"
#include "utils/timestamp.h"

#include "session/engine_int.h"

/* Milliseconds between two questions about a transaction in progress. */
#define ASK_AGAIN 50

/* More options than libpq has. */
#define MAX_OPTIONS 100

/* What the store says about the number of a transaction. */
typedef struct Answer
{
	bool		standby;
	bool		same_run;		/* is it the server's incarnation of then? */
	bool		same_cluster;	/* is it known to be the same cluster? */
	bool		other_cluster;	/* is it known to be another one? */
	char		status[16];		/* as pg_xact_status() has it, "future" if the
								 * number was not given out, or empty */
} Answer;

/*
 * Run a query that returns one row; returns the result, or NULL if that has not
 * succeeded by then.
 */
static PGresult *
ask(PGconn *conn, const char *sql, int ncolumns, TimestampTz by)
{
	PGresult   *row = NULL;

	if (!PQsendQuery(conn, sql))
		return NULL;
	for (;;)
	{
		int			unsent = PQflush(conn);
		PGresult   *res;

		if (unsent < 0 || PQstatus(conn) != CONNECTION_OK || GetCurrentTimestamp() >= by)
			break;
		if (PQisBusy(conn))
		{
			if (runops_conn_poll(conn, unsent > 0, by) && !PQconsumeInput(conn))
				break;
			continue;
		}
		res = PQgetResult(conn);
		if (res == NULL)
			return row;
		if (row != NULL || PQresultStatus(res) != PGRES_TUPLES_OK ||
			PQntuples(res) != 1 || PQnfields(res) != ncolumns)
		{
			bool		endless = runops_conn_is_copy(res);

			PQclear(res);
			PQclear(row);
			row = NULL;
			if (endless)
				break;
			continue;
		}
		row = res;
	}
	PQclear(row);
	/* an answer that comes later must not be taken for another one */
	runops_conn_break(conn);

	return NULL;
}

/*
 * Complete a connection that was started; returns whether it stands by then.
 */
static bool
complete(PGconn *conn, TimestampTz by)
{
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	while (status != PGRES_POLLING_OK)
	{
		if (status == PGRES_POLLING_FAILED || PQstatus(conn) == CONNECTION_BAD ||
			!runops_conn_poll(conn, status == PGRES_POLLING_WRITING, by))
			return false;
		status = PQconnectPoll(conn);
	}

	return PQsetnonblocking(conn, 1) == 0;
}

/*
 * Ignore the notices of the store; libpq would write them to stderr.
 */
static void
ignore_notice(void *arg, const PGresult *res)
{
}

/*
 * Start a connection like another one, to the same address: the name of the
 * host is not looked up again, because nothing would limit that.
 */
static PGconn *
start_like(PGconn *old)
{
	const char *keywords[MAX_OPTIONS];
	const char *values[MAX_OPTIONS];
	PQconninfoOption *options = PQconninfo(old);
	const char *address = PQhostaddr(old);
	PGconn	   *conn;
	int			n = 0;

	if (options == NULL)
		return NULL;
	keywords[n] = "host";
	values[n++] = PQhost(old);
	if (address != NULL && address[0] != '\0')
	{
		keywords[n] = "hostaddr";
		values[n++] = address;
	}
	keywords[n] = "port";
	values[n++] = PQport(old);
	for (PQconninfoOption *option = options; option->keyword != NULL && n < MAX_OPTIONS - 1; option++)
	{
		if (option->val == NULL || strcmp(option->keyword, "host") == 0 ||
			strcmp(option->keyword, "hostaddr") == 0 || strcmp(option->keyword, "port") == 0)
			continue;
		keywords[n] = option->keyword;
		values[n++] = option->val;
	}
	keywords[n] = values[n] = NULL;
	conn = PQconnectStartParams(keywords, values, 0);
	PQconninfoFree(options);

	return conn;
}

/*
 * Ask for the state of a transaction; returns false if there is no answer.
 *
 * A number that the server has not given out yet would be an error, so a new
 * one is taken to compare with.
 */
static bool
ask_status(PGconn *conn, const RunopsRemoteXact *xact, TimestampTz by, Answer *answer)
{
	char		sql[2048];
	PGresult   *res;

	snprintf(sql, sizeof(sql),
			 "SELECT pg_catalog.pg_is_in_recovery(), " RUNOPS_INCARNATION_SQL ", " RUNOPS_SYSID_SQL ","
			 " CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL"
			 " WHEN '" UINT64_FORMAT "'::pg_catalog.xid8 OPERATOR(pg_catalog.<) pg_catalog.pg_current_xact_id()"
			 " THEN pg_catalog.pg_xact_status('" UINT64_FORMAT "') ELSE 'future' END",
			 xact->xid, xact->xid);
	res = ask(conn, sql, 4, by);
	if (res == NULL)
		return false;

	answer->standby = strcmp(PQgetvalue(res, 0, 0), "f") != 0;
	answer->same_run = xact->incarnation[0] != '\0' &&
		strcmp(PQgetvalue(res, 0, 1), xact->incarnation) == 0;
	answer->same_cluster = answer->other_cluster = false;
	if (xact->sysid_known && !PQgetisnull(res, 0, 2))
	{
		answer->same_cluster = strtou64(PQgetvalue(res, 0, 2), NULL, 10) == xact->sysid;
		answer->other_cluster = !answer->same_cluster;
	}
	strlcpy(answer->status, PQgetvalue(res, 0, 3), sizeof(answer->status));
	PQclear(res);

	return true;
}

/*
 * Ask whether the transaction has left its token.
 */
static RunopsOutcome
ask_token(PGconn *conn, const RunopsRemoteXact *xact, TimestampTz by)
{
	char		sql[512];
	PGresult   *res;
	RunopsOutcome outcome;

	if (xact->token == 0)
		return RUNOPS_OUTCOME_UNKNOWN;
	snprintf(sql, sizeof(sql),
			 "SELECT EXISTS (SELECT FROM " RUNOPS_TOKEN_TABLE " t WHERE t.writer OPERATOR(pg_catalog.=) '" INT64_FORMAT "'"
			 " AND t.token OPERATOR(pg_catalog.=) '" INT64_FORMAT "')",
			 xact->writer, xact->token);
	res = ask(conn, sql, 1, by);
	if (res == NULL)
		return RUNOPS_OUTCOME_UNKNOWN;
	outcome = strcmp(PQgetvalue(res, 0, 0), "t") == 0 ?
		RUNOPS_OUTCOME_COMMITTED : RUNOPS_OUTCOME_ROLLED_BACK;
	PQclear(res);

	return outcome;
}

/*
 * Terminate the process of a transaction in progress, if it still executes it
 * and the role may do that.  Otherwise nothing happens, and the caller waits.
 */
static void
terminate(PGconn *conn, const RunopsRemoteXact *xact, TimestampTz by)
{
	char		sql[1024];

	snprintf(sql, sizeof(sql),
			 "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(x.pid)) FROM ("
			 "SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE a.pid OPERATOR(pg_catalog.=) %d"
			 " AND a.backend_xid OPERATOR(pg_catalog.=) '%u'::pg_catalog.xid"
			 " AND coalesce(a.wait_event, '') OPERATOR(pg_catalog.<>) 'SyncRep'"
			 " AND (pg_catalog.pg_has_role(a.usesysid, 'USAGE') OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'))"
			 " OFFSET 0) AS x",
			 xact->pid, (uint32) xact->xid);
	PQclear(ask(conn, sql, 1, by));
}

/*
 * What became of a transaction, asked on a connection that is in no transaction.
 *
 * This takes no longer than until "by", and leaves the connection in any state.
 * *answered is false if another try may find out more.
 */
RunopsOutcome
runops_outcome_ask(PGconn *conn, const RunopsRemoteXact *xact, TimestampTz by,
				   bool *answered)
{
	RunopsOutcome outcome;
	Answer		answer;

	*answered = true;
	if (xact->xid == 0)
		return RUNOPS_OUTCOME_UNKNOWN;
	for (;;)
	{
		*answered = ask_status(conn, xact, by, &answer);
		if (!*answered || answer.standby || answer.other_cluster)
			return RUNOPS_OUTCOME_UNKNOWN;
		if (strcmp(answer.status, "in progress") != 0)
			break;
		/* it may be another transaction, or it may still commit */
		if (!answer.same_run)
			return RUNOPS_OUTCOME_UNKNOWN;
		terminate(conn, xact, by);
		(void) runops_conn_poll(conn, false, Min(by, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ASK_AGAIN)));
	}

	if (answer.same_run && strcmp(answer.status, "committed") == 0)
		return RUNOPS_OUTCOME_COMMITTED;
	if (answer.same_run && strcmp(answer.status, "aborted") == 0)
		return RUNOPS_OUTCOME_ROLLED_BACK;
	if (!answer.same_run && answer.same_cluster &&
		(strcmp(answer.status, "aborted") == 0 || strcmp(answer.status, "future") == 0))
		return RUNOPS_OUTCOME_ROLLED_BACK;

	outcome = ask_token(conn, xact, by);
	*answered = xact->token == 0 || outcome != RUNOPS_OUTCOME_UNKNOWN;

	return outcome;
}

/*
 * The same, on a new connection that is made like an old one.
 */
static RunopsOutcome
ask_once(PGconn *old, const RunopsRemoteXact *xact, TimestampTz by, bool *answered)
{
	RunopsOutcome outcome = RUNOPS_OUTCOME_UNKNOWN;
	PGconn	   *conn;

	*answered = false;
	if (!AcquireExternalFD())
		return outcome;
	conn = start_like(old);
	if (conn != NULL)
		PQsetNoticeReceiver(conn, ignore_notice, NULL);
	/* what the mapping requires of the server, the old connection has shown */
	if (conn != NULL && complete(conn, by) &&
		(!PQconnectionUsedPassword(old) || PQconnectionUsedPassword(conn)))
		outcome = runops_outcome_ask(conn, xact, by, answered);
	PQfinish(conn);
	ReleaseExternalFD();

	return outcome;
}

/*
 * What became of a transaction of a connection that is lost.
 *
 * A server that cannot be reached may be about to come back, so it is tried until
 * the time is over.
 */
RunopsOutcome
runops_outcome_ask_again(PGconn *old, const RunopsRemoteXact *xact, TimestampTz by)
{
	for (;;)
	{
		bool		answered;
		RunopsOutcome outcome = ask_once(old, xact, by, &answered);

		if (answered || GetCurrentTimestamp() >= by)
			return outcome;
		pg_usleep(ASK_AGAIN * 1000L);
	}
}
