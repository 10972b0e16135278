/*-------------------------------------------------------------------------
 *
 * remote_connect.c
 *	  Connects to the database of a store, by its server and the caller's mapping.
 *
 * The options become libpq's and the password rules hold as in postgres_fdw.
 * No wait blocks the backend: it is the latch that is waited for, so that a
 * cancel or statement_timeout ends it at once.
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
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "errcodes.h"
#include "remote.h"
#include "runops.h"

/* Seconds to wait for a connection unless the server says otherwise. */
#define DEFAULT_CONNECT_TIMEOUT 5

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
RemoteSession *
runops_remote_session(const char *store)
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
 * never); runs interrupts.  Returns what woke us.  Raises when the session's
 * deadline has passed.
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
					 errhint("See whether the other server is overloaded, or allow more time.")));
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
		if (runops_remote_wait(session, io_flag, left) & io_flag)
			status = PQconnectPoll(conn);
	}

	if (PQstatus(conn) != CONNECTION_OK)
		connect_error(session, pchomp(PQerrorMessage(conn)));
}

/*
 * Drop the notices of the store; libpq would write them to our stderr.
 */
static void
ignore_notice(void *arg, const PGresult *res)
{
}

/*
 * Connect.  The session is not set up: see remote.c.
 */
void
runops_remote_open(RemoteSession *session)
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
	if (runops_remote_timeout > 0)
		session->answer_by = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														runops_remote_timeout);

	/* As postgres_fdw: the server must have asked for the password. */
	if (!superuser_arg(session->user->userid) && password_required(session->user) &&
		!PQconnectionUsedPassword(session->conn))
		ereport(ERROR,
				(errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
				 errmsg("password is required"),
				 errdetail("Non-superuser cannot connect if the server does not request a password."),
				 errhint("Target server's authentication method must be changed or password_required=false set in the user mapping attributes.")));
}

/*
 * Close the connection, if there is one.  An open remote transaction is rolled
 * back by that.
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
