/*-------------------------------------------------------------------------
 *
 * connect.c
 *	  Connects to the database of a store, by its server and a user mapping.
 *
 * The options of server and mapping are passed to libpq, and the password
 * rules are the same as in postgres_fdw.  No wait blocks the backend: it waits
 * on its latch, so a cancel or statement_timeout ends the wait at once.
 *
 * XXX: libpq resolves host names synchronously; a name server that does not
 * answer delays a cancel.  Setting hostaddr avoids that.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "catalog/pg_foreign_server.h"
#include "commands/defrem.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/guc.h"
#include "remote/remote.h"
#include "topology/topology.h"

/* Seconds to wait for a connection if the server has no connect_timeout. */
#define DEFAULT_CONNECT_TIMEOUT 5

/*
 * The user mapping of a user for a server, or PUBLIC's; NULL if there is none.
 */
UserMapping *
runops_remote_mapping(Oid userid, Oid serverid)
{
	if (!SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(userid),
							   ObjectIdGetDatum(serverid)) &&
		!SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
							   ObjectIdGetDatum(serverid)))
		return NULL;

	return GetUserMapping(userid, serverid);
}

/*
 * Find the server of the store and the caller's user mapping for it.  The
 * caller needs USAGE on the server: a mapping for PUBLIC does not let
 * everybody run SQL there.
 */
RemoteSession *
runops_remote_session(const char *store)
{
	ForeignServer *server = GetForeignServer(runops_store_server(store));
	Oid			userid = GetUserId();

	if (RUNOPS_SERVER_ACLCHECK(server->serverid, userid, ACL_USAGE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for foreign server %s",
						server->servername),
				 errdetail("It is the server of store \"%s\".", store),
				 errhint("Grant USAGE on the foreign server to \"%s\".",
						 GetUserNameFromId(userid, false))));

	return runops_remote_server_session(store, server->serverid);
}

/*
 * The same for any server of the store, for SQL that the caller did not write.
 */
RemoteSession *
runops_remote_server_session(const char *store, Oid serverid)
{
	RemoteSession *session = palloc0(sizeof(RemoteSession));
	Oid			userid = GetUserId();

	session->store = pstrdup(store);
	session->server = GetForeignServer(serverid);
	session->user = runops_remote_mapping(userid, session->server->serverid);
	if (session->user == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("user mapping not found for \"%s\"",
						GetUserNameFromId(userid, false)),
				 errdetail("Store \"%s\" is reached through server \"%s\".",
						   store, session->server->servername),
				 errhint("Create one with CREATE USER MAPPING.")));

	return session;
}

/*
 * Does the user mapping require a password from users that are not superusers?
 */
static bool
password_required(UserMapping *user)
{
	ListCell   *lc;

	foreach(lc, user->options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, "password_required") == 0)
			return defGetBoolean(def);
	}

	return true;
}

/*
 * Append the libpq options among the options, chosen as postgres_fdw does: no
 * debugging options, and not the two that are set here.
 */
static int
add_libpq_options(List *options, const PQconninfoOption *known,
				  const char **keywords, const char **values)
{
	ListCell   *lc;
	int			n = 0;

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		for (const PQconninfoOption *opt = known; opt->keyword; opt++)
		{
			if (strcmp(opt->keyword, def->defname) != 0 ||
				strchr(opt->dispchar, 'D') ||
				strcmp(opt->keyword, "fallback_application_name") == 0 ||
				strcmp(opt->keyword, "client_encoding") == 0)
				continue;
			keywords[n] = pstrdup(def->defname);
			values[n] = pstrdup(defGetString(def));
			n++;
			break;
		}
	}

	return n;
}

/*
 * Build the arrays for PQconnectStartParams from server and mapping.
 *
 * Fails if the caller is not a superuser and gives no password, because libpq
 * would then use the credentials of the operating-system user that runs the
 * server.
 */
static bool
connection_params(RemoteSession *session, const char ***keywords,
				  const char ***values, RemoteFailure *failure)
{
	PQconninfoOption *known = PQconndefaults();
	int			max = list_length(session->server->options) + list_length(session->user->options) + 3;
	const char **k = palloc_array(const char *, max);
	const char **v = palloc_array(const char *, max);
	int			n = 0;

	if (known == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));

	PG_TRY();
	{
		n += add_libpq_options(session->server->options, known, k + n, v + n);
		n += add_libpq_options(session->user->options, known, k + n, v + n);
	}
	PG_FINALLY();
	{
		PQconninfoFree(known);
	}
	PG_END_TRY();

	k[n] = "fallback_application_name";
	v[n++] = session->application ? session->application : "runops";
	k[n] = "client_encoding";
	v[n++] = GetDatabaseEncodingName();
	k[n] = v[n] = NULL;

	*keywords = k;
	*values = v;

	if (superuser_arg(session->user->userid) || !password_required(session->user))
		return true;
	for (int i = 0; k[i] != NULL; i++)
	{
		if (strcmp(k[i], "password") == 0 && v[i][0] != '\0')
			return true;
	}

	return runops_remote_fail(failure, ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED,
							  _("password is required"),
							  _("Non-superusers must provide a password in the user mapping."),
							  _("Add the option \"password\" to the user mapping, or let a superuser set \"password_required\" to false."));
}

/*
 * Compute the milliseconds that connecting may take from the server's
 * connect_timeout, with libpq's meaning: 0 means no limit, which is -1 here,
 * and 1 means 2.  libpq ignores the option on non-blocking connections.
 */
static bool
connect_timeout_ms(const char **keywords, const char **values,
				   long *timeout_ms, RemoteFailure *failure)
{
	int			seconds = DEFAULT_CONNECT_TIMEOUT;

	for (int i = 0; keywords[i] != NULL; i++)
	{
		if (strcmp(keywords[i], "connect_timeout") == 0 && values[i][0] != '\0' &&
			!parse_int(values[i], &seconds, 0, NULL))
			return runops_remote_fail(failure, ERRCODE_INVALID_PARAMETER_VALUE,
									  psprintf(_("invalid value for option \"%s\": \"%s\""), keywords[i], values[i]),
									  _("The value must be a number of seconds."),
									  _("Change it with ALTER SERVER."));
	}

	*timeout_ms = seconds <= 0 ? -1 : Max(seconds, 2) * 1000L;

	return true;
}

/*
 * Give runops_remote_try_query() a deadline from now on, on a connection that
 * another caller has made: as much time as connecting may take.
 */
int
runops_remote_set_deadline(RemoteSession *session)
{
	const char *keywords[2] = {NULL, NULL};
	const char *values[2] = {NULL, NULL};
	RemoteFailure failure;
	long		timeout_ms;
	ListCell   *lc;

	foreach(lc, session->server->options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, "connect_timeout") == 0)
		{
			keywords[0] = def->defname;
			values[0] = defGetString(def);
		}
	}
	if (!connect_timeout_ms(keywords, values, &timeout_ms, &failure))
		runops_remote_raise(&failure);
	session->deadline = timeout_ms < 0 ? 0 :
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);

	return timeout_ms < 0 ? 0 : (int) Min(timeout_ms, INT_MAX);
}

/*
 * Sleep until the socket is ready, the latch is set or the time is over (-1
 * means no limit), and process interrupts.  Returns the events that ended the
 * wait.  Raises when the session's deadline has passed.
 */
int
runops_remote_wait(RemoteSession *session, int io_flag, long timeout_ms)
{
	int			rc;

	if (session->answer_by != 0 && timeout_ms < 0)
	{
		timeout_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
													 session->answer_by);
		if (timeout_ms <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("server \"%s\" did not answer in time",
							session->server->servername),
					 errdetail("The setting \"runops.remote_timeout\" allows %d ms.",
							   runops_remote_timeout),
					 errhint("Increase \"runops.remote_timeout\", or check the load of the other server.")));
	}

	rc = WaitLatchOrSocket(MyLatch, WL_EXIT_ON_PM_DEATH | WL_LATCH_SET | io_flag |
						   (timeout_ms >= 0 ? WL_TIMEOUT : 0),
						   PQsocket(session->conn), timeout_ms, PG_WAIT_EXTENSION);
	if (rc & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}

	return rc;
}

/*
 * Milliseconds until the session's deadline; 0 when it has passed, -1 if there
 * is none.
 */
static long
time_left(const RemoteSession *session)
{
	if (session->deadline == 0)
		return -1;

	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), session->deadline);
}

/*
 * Report that a connection could not be made; returns false.
 */
static bool
fail_connect(RemoteSession *session, RemoteFailure *failure, const char *detail)
{
	return runops_remote_fail(failure, ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
							  psprintf(_("could not connect to server \"%s\""), session->server->servername),
							  detail,
							  _("Check the options of the server and of the user mapping, and that the other server is up."));
}

/*
 * Complete a connection that was started.
 */
static bool
wait_connected(RemoteSession *session, RemoteFailure *failure)
{
	PGconn	   *conn = session->conn;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	while (PQstatus(conn) != CONNECTION_BAD && status != PGRES_POLLING_OK &&
		   status != PGRES_POLLING_FAILED)
	{
		int			io_flag = status == PGRES_POLLING_READING ?
			WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE;
		long		left = time_left(session);

		if (left == 0)
		{
			fail_connect(session, failure, _("timeout expired"));
			failure->timed_out = true;
			return false;
		}
		if (runops_remote_wait(session, io_flag, left) & io_flag)
			status = PQconnectPoll(conn);
	}

	if (PQstatus(conn) != CONNECTION_OK)
		return fail_connect(session, failure, runops_remote_libpq_message(conn));

	return true;
}

/*
 * Ignore the notices of the store; libpq would write them to stderr.
 */
static void
ignore_notice(void *arg, const PGresult *res)
{
}

/*
 * Connect; returns false, with the reason, if that fails.  The session is not
 * set up: see session/store_sql.c.
 *
 * The deadline for connecting, and for later calls of
 * runops_remote_try_query(), starts here.
 */
bool
runops_remote_try_open(RemoteSession *session, RemoteFailure *failure)
{
	const char **keywords;
	const char **values;
	long		timeout_ms;

	session->pooled = runops_server_is_pooled(session->server->serverid);
	if (!connection_params(session, &keywords, &values, failure) ||
		!connect_timeout_ms(keywords, values, &timeout_ms, failure))
		return false;

	session->deadline = timeout_ms < 0 ? 0 :
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);

	if (!AcquireExternalFD())
	{
		fail_connect(session, failure, _("There are too many open files on the local server."));
		failure->hint = _("Raise the server's max_files_per_process and/or \"ulimit -n\" limits.");
		return false;
	}
	session->conn = PQconnectStartParams(keywords, values, false);
	if (session->conn == NULL)
	{
		ReleaseExternalFD();
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	}
	PQsetNoticeReceiver(session->conn, ignore_notice, NULL);
	if (!wait_connected(session, failure))
		return false;
	PQsetnonblocking(session->conn, 1);
	if (runops_remote_timeout > 0)
		session->answer_by = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														 runops_remote_timeout);

	/* As in postgres_fdw: the server must have asked for the password. */
	if (!superuser_arg(session->user->userid) && password_required(session->user) &&
		!PQconnectionUsedPassword(session->conn))
		return runops_remote_fail(failure, ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED,
								  _("password is required"),
								  _("Non-superuser cannot connect if the server does not request a password."),
								  _("Target server's authentication method must be changed or password_required=false set in the user mapping attributes."));

	return true;
}

/*
 * Raise a failure as an error.
 *
 * The context of a store's error names the statement, as in an error of
 * postgres_fdw.  The SQLSTATE alone does not distinguish a statement that the
 * store has canceled from a statement that was canceled here.
 */
void
runops_remote_raise(const RemoteFailure *failure)
{
	ereport(ERROR,
			(errcode(failure->sqlerrcode),
			 errmsg_internal("%s", failure->message),
			 failure->detail ? errdetail_internal("%s", failure->detail) : 0,
			 failure->hint ? errhint("%s", failure->hint) : 0,
			 failure->context ? errcontext("%s", failure->context) : 0));
}

/*
 * Was a statement canceled here, by its user or a timeout, and not by a store?
 *
 * runops._cancelled_here() is the same in SQL.
 */
bool
runops_cancelled_here(const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		(edata->context == NULL || strstr(edata->context, "remote SQL command: ") == NULL);
}

/*
 * Connect, or raise.
 */
void
runops_remote_open(RemoteSession *session)
{
	RemoteFailure failure;

	if (!runops_remote_try_open(session, &failure))
		runops_remote_raise(&failure);
}

/*
 * Send a query whose rows arrive one at a time; returns false, with the
 * failure, if the connection is lost.
 */
static bool
start_query(RemoteSession *session, const char *sql, RemoteFailure *failure)
{
	PQclear(session->res);
	session->res = NULL;

	/* a short query is sent at once, or by the first wait for an answer */
	if (!PQsendQuery(session->conn, sql))
		return runops_remote_fail_libpq(session, failure);
	(void) PQsetSingleRowMode(session->conn);

	return true;
}

/*
 * Receive the next result before the session's deadline; NULL at the end.
 * Returns false, with the failure, if the connection is lost or the time is
 * over.
 */
static bool
receive_result(RemoteSession *session, PGresult **res, RemoteFailure *failure)
{
	PGconn	   *conn = session->conn;

	for (;;)
	{
		int			unsent = PQflush(conn);
		long		left;
		int			rc;

		if (unsent < 0)
			return runops_remote_fail_libpq(session, failure);
		if (!PQisBusy(conn))
		{
			*res = PQgetResult(conn);
			return true;
		}

		left = time_left(session);
		if (left == 0)
		{
			runops_remote_fail(failure, ERRCODE_CONNECTION_FAILURE,
							   psprintf(_("server \"%s\" did not answer in time"), session->server->servername),
							   _("The connection is open, but the time of connect_timeout is over."),
							   _("Check the state of the other server."));
			failure->timed_out = true;
			return false;
		}
		rc = runops_remote_wait(session, WL_SOCKET_READABLE |
								(unsent > 0 ? WL_SOCKET_WRITEABLE : 0), left);
		if ((rc & WL_SOCKET_READABLE) && !PQconsumeInput(conn))
			return runops_remote_fail_libpq(session, failure);
	}
}

/*
 * Run a query that returns one row of ncolumns columns, or, if ncolumns is 0,
 * commands that return no rows, with the session's deadline.  The row is then
 * the current result.  Returns false, with the reason, if the answer is
 * different or an error.
 *
 * SQL with several commands is one query; only the last command may return the
 * row.  The other server may send any number of results, so only one is kept.
 */
bool
runops_remote_try_query(RemoteSession *session, const char *sql, int ncolumns,
						RemoteFailure *failure)
{
	RemoteFailure later;
	bool		any = false;
	bool		ok = true;

	if (!start_query(session, sql, failure))
		return false;

	for (;;)
	{
		PGresult   *res = NULL;
		bool		is_row;

		if (!receive_result(session, &res, ok ? failure : &later))
			return false;
		if (res == NULL)
			break;

		/* even after an error, read until the connection is idle */
		is_row = PQresultStatus(res) == PGRES_SINGLE_TUPLE;
		if (!ok)
		{
			PQclear(res);
			continue;
		}
		ok = runops_remote_check(session, res,
								 PQresultStatus(res) == PGRES_COMMAND_OK ? 0 : ncolumns,
								 failure);
		if (ok && is_row && session->res != NULL)
			ok = runops_remote_fail_answer(session, failure,
										   _("It gave more than one row."));
		if (!ok)
			runops_remote_blame(failure, sql);
		any = true;
		if (ok && is_row)
			session->res = res;
		else
			PQclear(res);
	}

	if (!ok)
		return false;
	if (!any)
		return runops_remote_check(session, NULL, ncolumns, failure);
	if (ncolumns > 0 && session->res == NULL)
		return runops_remote_fail_answer(session, failure, _("It gave no row."));

	return true;
}

/*
 * Close the connection, if there is one.  That rolls back an open remote
 * transaction.
 */
void
runops_remote_close(RemoteSession *session)
{
	PQclear(session->res);
	session->res = NULL;
	if (session->conn == NULL)
		return;
	PQfinish(session->conn);
	session->conn = NULL;
	ReleaseExternalFD();
}
