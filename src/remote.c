/*-------------------------------------------------------------------------
 *
 * remote.c
 *	  Connections of our own to the database of a store, for set-up work.
 *
 * A set-up function has to ask the store itself: a foreign leaf shows what the
 * local catalogs believe, which is exactly what is in question.  Each call opens
 * one connection, with the server of the store and the caller's user mapping,
 * and closes it before it returns or raises; no remote transaction outlives it.
 * Statements on routed tables do not come this way.
 *
 * No wait blocks the backend: connecting, sending and receiving are driven by
 * the latch, so that a cancel or statement_timeout ends them at once.
 *
 * XXX: libpq resolves host names synchronously; a name server that does not
 * answer delays a cancel.  hostaddr avoids it.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_foreign_server.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "libpq-fe.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "errcodes.h"
#include "runops.h"

/* Seconds to wait for a connection unless the server says otherwise. */
#define DEFAULT_CONNECT_TIMEOUT 5

/* One connection, for the time of one call. */
typedef struct RemoteSession
{
	PGconn	   *conn;			/* NULL while there is none */
	PGresult   *res;			/* the result at hand, freed with the session */
	char	   *store;			/* name of the store */
	ForeignServer *server;		/* its server */
	UserMapping *user;			/* the caller's mapping */
} RemoteSession;

PG_FUNCTION_INFO_V1(runops_remote_query);
PG_FUNCTION_INFO_V1(runops_remote_exec);
PG_FUNCTION_INFO_V1(runops_remote_transaction);

/*
 * Error context: every error between open and close names the store.
 */
static void
remote_context(void *arg)
{
	RemoteSession *session = (RemoteSession *) arg;

	errcontext("store \"%s\", server \"%s\"",
			   session->store, session->server->servername);
}

/*
 * Name of the server of a store; raises if there is no such store, or if it is
 * the local database.
 *
 * Reads the table itself, not through SPI: whoever was granted our functions
 * needs no privilege on the configuration.
 */
static char *
store_server_name(const char *store)
{
	Oid			relid;
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;
	char	   *name = NULL;

	relid = get_relname_relid("store_config",
							  get_namespace_oid(RUNOPS_SCHEMA, false));
	if (!OidIsValid(relid))
		elog(ERROR, "relation \"%s.store_config\" does not exist", RUNOPS_SCHEMA);

	rel = table_open(relid, AccessShareLock);
	ScanKeyInit(&key, get_attnum(relid, "store"), BTEqualStrategyNumber,
				F_TEXTEQ, CStringGetTextDatum(store));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		datum = heap_getattr(tuple, get_attnum(relid, "server"),
										 RelationGetDescr(rel), &isnull);

		found = true;
		if (!isnull)
			name = pstrdup(NameStr(*DatumGetName(datum)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_RUNOPS_STORE_NOT_CONFIGURED),
				 errmsg("store \"%s\" is not configured", store),
				 errdetail("There is no row for it in the view \"%s.stores\".", RUNOPS_SCHEMA),
				 errhint("Configure it with %s.add_store().", RUNOPS_SCHEMA)));
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("store \"%s\" is this database itself", store),
				 errdetail("No server is configured for it."),
				 errhint("Name a store that has a server.")));

	return name;
}

/*
 * Find the server of the store and the caller's mapping there.  The caller needs
 * USAGE on the server: a mapping for PUBLIC does not let everybody run SQL there.
 */
static RemoteSession *
remote_session(const char *store)
{
	RemoteSession *session = palloc0(sizeof(RemoteSession));
	Oid			userid = GetUserId();

	session->store = pstrdup(store);
	session->server = GetForeignServerByName(store_server_name(store), false);

	if (RUNOPS_SERVER_ACLCHECK(session->server->serverid, userid, ACL_USAGE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for foreign server %s",
						session->server->servername),
				 errdetail("It is the server of store \"%s\".", store),
				 errhint("Grant USAGE on the foreign server to \"%s\".",
						 GetUserNameFromId(userid, false))));

	if (!SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(userid),
							   ObjectIdGetDatum(session->server->serverid)) &&
		!SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
							   ObjectIdGetDatum(session->server->serverid)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("user mapping not found for \"%s\"",
						GetUserNameFromId(userid, false)),
				 errdetail("Store \"%s\" is reached through server \"%s\".",
						   store, session->server->servername),
				 errhint("Create one with CREATE USER MAPPING.")));
	session->user = GetUserMapping(userid, session->server->serverid);

	return session;
}

/*
 * Does the mapping insist on a password for users that are no superuser?
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
 * Append those of the options that are libpq's, as postgres_fdw chooses them:
 * no debugging options, and not the two that are set here.
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
 * Build the arrays for PQconnectStartParams from server and mapping.  Raises if
 * the caller is no superuser and gives no password: then libpq would find the
 * credentials of the operating-system user that runs the server.
 */
static void
connection_params(RemoteSession *session, const char ***keywords, const char ***values)
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
	v[n++] = "runops";
	k[n] = "client_encoding";
	v[n++] = GetDatabaseEncodingName();
	k[n] = v[n] = NULL;

	*keywords = k;
	*values = v;

	if (superuser_arg(session->user->userid) || !password_required(session->user))
		return;
	for (int i = 0; k[i] != NULL; i++)
	{
		if (strcmp(k[i], "password") == 0 && v[i][0] != '\0')
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
			 errmsg("password is required"),
			 errdetail("Non-superusers must provide a password in the user mapping."),
			 errhint("Add the option \"password\" to the user mapping, or let a superuser set \"password_required\" to false.")));
}

/*
 * Milliseconds that a connection may take: connect_timeout of the server, with
 * libpq's meaning (0 is for ever, 1 is 2).  Non-blocking connections do not
 * heed the option themselves.
 */
static long
connect_timeout_ms(const char **keywords, const char **values)
{
	int			seconds = DEFAULT_CONNECT_TIMEOUT;

	for (int i = 0; keywords[i] != NULL; i++)
	{
		if (strcmp(keywords[i], "connect_timeout") == 0 && values[i][0] != '\0' &&
			!parse_int(values[i], &seconds, 0, NULL))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for option \"%s\": \"%s\"", keywords[i], values[i]),
					 errdetail("It is a number of seconds."),
					 errhint("Change it with ALTER SERVER.")));
	}

	if (seconds <= 0)
		return -1;
	return Max(seconds, 2) * 1000L;
}

/*
 * Sleep until the socket is ready, the latch is set or the time is over (-1 is
 * never); runs interrupts.  Returns what woke us.
 */
static int
wait_socket(PGconn *conn, int io_flag, long timeout_ms)
{
	int			rc;

	rc = WaitLatchOrSocket(MyLatch, WL_EXIT_ON_PM_DEATH | WL_LATCH_SET | io_flag |
						   (timeout_ms >= 0 ? WL_TIMEOUT : 0),
						   PQsocket(conn), timeout_ms, PG_WAIT_EXTENSION);
	if (rc & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}

	return rc;
}

/*
 * Raise the error of a connection that could not be made.
 */
static void
connect_error(RemoteSession *session, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
			 errmsg("could not connect to server \"%s\"",
					session->server->servername),
			 errdetail_internal("%s", reason),
			 errhint("Check the options of the server and of the user mapping, and that the other server is up.")));
}

/*
 * Drive a started connection to its end.
 */
static void
wait_connected(RemoteSession *session, long timeout_ms)
{
	PGconn	   *conn = session->conn;
	TimestampTz end = 0;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	if (timeout_ms >= 0)
		end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);

	while (PQstatus(conn) != CONNECTION_BAD && status != PGRES_POLLING_OK &&
		   status != PGRES_POLLING_FAILED)
	{
		int			io_flag = status == PGRES_POLLING_READING ?
			WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE;
		long		left = -1;

		if (timeout_ms >= 0)
		{
			left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
			if (left <= 0)
				connect_error(session, "timeout expired");
		}
		if (wait_socket(conn, io_flag, left) & io_flag)
			status = PQconnectPoll(conn);
	}

	if (PQstatus(conn) != CONNECTION_OK)
		connect_error(session, pchomp(PQerrorMessage(conn)));
}

/*
 * Raise the error that the store has reported, or that the connection met.
 *
 * Everything is copied before the result is freed with the session.
 */
static void
remote_error(RemoteSession *session, PGresult *res, const char *sql)
{
	char	   *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	char	   *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	char	   *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	char	   *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
	char	   *context = PQresultErrorField(res, PG_DIAG_CONTEXT);

	if (message == NULL)
		message = pchomp(PQerrorMessage(session->conn));

	ereport(ERROR,
			(errcode(state ? MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]) :
					 ERRCODE_CONNECTION_FAILURE),
			 message[0] != '\0' ?
			 errmsg_internal("%s", message) :
			 errmsg("could not obtain message string for remote error"),
			 detail ? errdetail_internal("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0,
			 context ? errcontext("%s", context) : 0,
			 errcontext("remote SQL command: %s", sql)));
}

/*
 * Send a string of SQL, all of it, without blocking.
 */
static void
send_sql(RemoteSession *session, const char *sql)
{
	PGconn	   *conn = session->conn;
	int			unsent;

	if (!PQsendQuery(conn, sql))
		remote_error(session, NULL, sql);
	while ((unsent = PQflush(conn)) != 0)
	{
		int			rc;

		if (unsent < 0)
			remote_error(session, NULL, sql);
		rc = wait_socket(conn, WL_SOCKET_READABLE | WL_SOCKET_WRITEABLE, -1);
		if ((rc & WL_SOCKET_READABLE) && !PQconsumeInput(conn))
			remote_error(session, NULL, sql);
	}
}

/*
 * Make the next result of what was sent the one at hand; false at the end.
 */
static bool
next_result(RemoteSession *session, const char *sql)
{
	PGconn	   *conn = session->conn;

	PQclear(session->res);
	session->res = NULL;

	while (PQisBusy(conn))
	{
		if (wait_socket(conn, WL_SOCKET_READABLE, -1) & WL_SOCKET_READABLE)
		{
			if (!PQconsumeInput(conn))
				remote_error(session, NULL, sql);
		}
	}
	session->res = PQgetResult(conn);

	return session->res != NULL;
}

/*
 * Run a string of SQL and drop the rows it gives, if any.
 *
 * With ignore_errors the connection stays usable for the next command; only a
 * lost connection is still raised, by that one.
 */
static void
run_command(RemoteSession *session, const char *sql, bool ignore_errors)
{
	send_sql(session, sql);
	while (next_result(session, sql))
	{
		ExecStatusType status = PQresultStatus(session->res);

		if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT ||
			status == PGRES_COPY_BOTH)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("COPY to or from the client is not supported in a remote command"),
					 errdetail("There is no client at the other end."),
					 errhint("Use INSERT or SELECT.")));
		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
			status != PGRES_EMPTY_QUERY && !ignore_errors)
			remote_error(session, session->res, sql);
	}
}

/*
 * Drop the notices of the store; libpq would write them to our stderr.
 */
static void
ignore_notice(void *arg, const PGresult *res)
{
}

/*
 * Connect and set up the remote session.
 *
 * What decides the text that the catalog functions of the store return is set
 * to the same on each side (runops._facts has the other half).  Policies that would hide rows from us raise an
 * error: who asks whether there are any must not be told no.  With client_connection_check_interval the store
 * ends a long query soon after this side has gone away on a cancel; a server
 * that cannot do it refuses the value, and that is no error.
 */
static void
remote_open(RemoteSession *session)
{
	const char **keywords;
	const char **values;

	connection_params(session, &keywords, &values);

	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				 errmsg("could not connect to server \"%s\"",
						session->server->servername),
				 errdetail("There are too many open files on the local server."),
				 errhint("Raise the server's max_files_per_process and/or \"ulimit -n\" limits.")));
	session->conn = PQconnectStartParams(keywords, values, false);
	if (session->conn == NULL)
	{
		ReleaseExternalFD();
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	}
	PQsetNoticeReceiver(session->conn, ignore_notice, NULL);
	wait_connected(session, connect_timeout_ms(keywords, values));
	PQsetnonblocking(session->conn, 1);

	/* As postgres_fdw: the server must have asked for the password. */
	if (!superuser_arg(session->user->userid) && password_required(session->user) &&
		!PQconnectionUsedPassword(session->conn))
		ereport(ERROR,
				(errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
				 errmsg("password is required"),
				 errdetail("Non-superuser cannot connect if the server does not request a password."),
				 errhint("Target server's authentication method must be changed or password_required=false set in the user mapping attributes.")));

	run_command(session,
				"SET search_path = pg_catalog;"
				"SET timezone = 'GMT';"
				"SET datestyle = ISO;"
				"SET intervalstyle = postgres;"
				"SET extra_float_digits = 3;"
				"SET bytea_output = hex;"
				"SET quote_all_identifiers = off;"
				"SET row_security = off;"
				"SET jit = off;"
				"SET standard_conforming_strings = on",
				false);
	run_command(session, "SET client_connection_check_interval = '500ms'", true);
}

/*
 * Close the connection, if there is one.  An open remote transaction is rolled
 * back by that.
 */
static void
remote_close(RemoteSession *session)
{
	PQclear(session->res);
	session->res = NULL;
	if (session->conn == NULL)
		return;
	PQfinish(session->conn);
	session->conn = NULL;
	ReleaseExternalFD();
}

/*
 * Receive the rows of a query, one at a time, into the tuplestore.
 *
 * The one column is the text of a jsonb.
 */
static void
fetch_rows(RemoteSession *session, const char *sql, ReturnSetInfo *rsinfo)
{
	MemoryContext rowcontext = AllocSetContextCreate(CurrentMemoryContext,
													 "runops remote row",
													 ALLOCSET_DEFAULT_SIZES);

	send_sql(session, sql);
	PQsetSingleRowMode(session->conn);
	while (next_result(session, sql))
	{
		PGresult   *res = session->res;
		ExecStatusType status = PQresultStatus(res);

		if (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK)
			remote_error(session, res, sql);
		for (int i = 0; i < PQntuples(res); i++)
		{
			MemoryContext oldcontext = MemoryContextSwitchTo(rowcontext);
			bool		isnull = PQgetisnull(res, i, 0);
			Datum		value = (Datum) 0;

			if (!isnull)
				value = DirectFunctionCall1(jsonb_in,
											CStringGetDatum(PQgetvalue(res, i, 0)));
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
			MemoryContextSwitchTo(oldcontext);
			MemoryContextReset(rowcontext);
		}
	}

	MemoryContextDelete(rowcontext);
}

/*
 * Open a session, run either the query or the commands in it, close it.
 *
 * Several commands are one remote transaction, committed when all have
 * succeeded.  One command runs as it is.
 */
static void
with_session(const char *store, const char *query, ReturnSetInfo *rsinfo,
			 char **commands, int ncommands, bool transaction)
{
	RemoteSession *session;
	ErrorContextCallback errcallback;

	runops_gate_require(store, NULL);
	session = remote_session(store);

	errcallback.callback = remote_context;
	errcallback.arg = session;
	errcallback.previous = error_context_stack;
	error_context_stack = &errcallback;

	PG_TRY();
	{
		remote_open(session);
		if (query)
			fetch_rows(session, query, rsinfo);
		if (transaction)
			run_command(session, "BEGIN", false);
		for (int i = 0; i < ncommands; i++)
			run_command(session, commands[i], false);
		if (transaction)
			run_command(session, "COMMIT", false);
	}
	PG_FINALLY();
	{
		remote_close(session);
	}
	PG_END_TRY();

	error_context_stack = errcallback.previous;
}

/*
 * remote_query(store, query): the rows of a SELECT in the store, as jsonb, which
 * the store makes because it knows the types.  The line break ends a comment.
 */
Datum
runops_remote_query(PG_FUNCTION_ARGS)
{
	char	   *store = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(1));

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	with_session(store,
				 psprintf("SELECT pg_catalog.to_jsonb(q) FROM (%s\n) AS q", query),
				 (ReturnSetInfo *) fcinfo->resultinfo, NULL, 0, false);

	return (Datum) 0;
}

/*
 * remote_exec(store, command): run a command in the store.
 */
Datum
runops_remote_exec(PG_FUNCTION_ARGS)
{
	char	   *store = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *command = text_to_cstring(PG_GETARG_TEXT_PP(1));

	with_session(store, NULL, NULL, &command, 1, false);

	PG_RETURN_VOID();
}

/*
 * remote_transaction(store, commands): run commands in one remote transaction.
 */
Datum
runops_remote_transaction(PG_FUNCTION_ARGS)
{
	char	   *store = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	Datum	   *elems;
	bool	   *nulls;
	int			nelems;
	char	  **commands;
	int			ncommands = 0;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &nelems);
	commands = palloc_array(char *, nelems + 1);
	for (int i = 0; i < nelems; i++)
	{
		if (!nulls[i])
			commands[ncommands++] = TextDatumGetCString(elems[i]);
	}
	with_session(store, NULL, NULL, commands, ncommands, true);

	PG_RETURN_VOID();
}
