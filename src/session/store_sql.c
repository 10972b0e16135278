/*-------------------------------------------------------------------------
 *
 * store_sql.c
 *	  Runs SQL in the database of a store, for set-up work.
 *
 * A set-up function must ask the store itself, because a foreign leaf shows
 * only the local catalogs, which may be wrong.  Each call opens one connection
 * and closes it before it returns or raises, so no remote transaction outlives
 * it.  Statements on routed tables do not use this file.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "base/progress.h"
#include "gate/gate.h"
#include "session/session_int.h"
#include "topology/topology.h"
#include "xact/xact.h"

/*
 * Settings of the remote session.
 *
 * Settings that change the output of the store's catalog functions have the
 * same value on both sides (runops._facts_here sets them here).  A policy that
 * would hide rows raises an error, because a hidden row must not look like a
 * missing row.
 */
static const char *const session_settings[] = {
	"search_path = pg_catalog",
	"timezone = 'GMT'",
	"datestyle = ISO",
	"intervalstyle = postgres",
	"extra_float_digits = 3",
	"bytea_output = hex",
	"quote_all_identifiers = off",
	"standard_conforming_strings = on",
	"row_security = off",
	"jit = off"
};

PG_FUNCTION_INFO_V1(runops_remote_query);
PG_FUNCTION_INFO_V1(runops_remote_exec);
PG_FUNCTION_INFO_V1(runops_remote_transaction);

/*
 * Error context callback: every error between open and close names the store.
 */
static void
remote_context(void *arg)
{
	RemoteSession *session = (RemoteSession *) arg;

	errcontext("store \"%s\", server \"%s\"",
			   session->store, session->server->servername);
}

/*
 * Raise the failure of a statement.
 */
static void
statement_failed(RemoteFailure *failure, const char *sql)
{
	runops_remote_blame(failure, sql);
	runops_remote_raise(failure);
}

/*
 * Raise an error for the loss of the connection.
 */
static void
connection_failed(RemoteSession *session, const char *sql)
{
	RemoteFailure failure;

	runops_remote_fail_libpq(session, &failure);
	statement_failed(&failure, sql);
}

/*
 * Raise an answer that PostgreSQL would not give.
 */
static void
answer_failed(RemoteSession *session, const char *sql, const char *detail)
{
	RemoteFailure failure;

	runops_remote_fail_answer(session, &failure, detail);
	statement_failed(&failure, sql);
}

/*
 * Send a complete SQL string without blocking.
 *
 * Its rows arrive one at a time, so that many rows cannot exhaust the memory.
 */
static void
send_sql(RemoteSession *session, const char *sql)
{
	PGconn	   *conn = session->conn;
	int			unsent;

	if (!PQsendQuery(conn, sql))
		connection_failed(session, sql);
	(void) PQsetSingleRowMode(conn);
	while ((unsent = PQflush(conn)) != 0)
	{
		int			rc;

		if (unsent < 0)
			connection_failed(session, sql);
		rc = runops_remote_wait(session, WL_SOCKET_READABLE | WL_SOCKET_WRITEABLE, -1);
		if ((rc & WL_SOCKET_READABLE) && !PQconsumeInput(conn))
			connection_failed(session, sql);
	}
}

/*
 * Fetch the next result and store it in session->res; returns false at the
 * end.
 */
static bool
next_result(RemoteSession *session, const char *sql)
{
	PGconn	   *conn = session->conn;

	PQclear(session->res);
	session->res = NULL;

	while (PQisBusy(conn))
	{
		if (runops_remote_wait(session, WL_SOCKET_READABLE, -1) & WL_SOCKET_READABLE)
		{
			if (!PQconsumeInput(conn))
				connection_failed(session, sql);
		}
	}
	session->res = PQgetResult(conn);

	return session->res != NULL;
}

/*
 * Run an SQL string and drop the rows that it returns.
 *
 * ncolumns is 0 for commands of our own, and REMOTE_ANY_SHAPE for others.
 * With ignore_errors the connection stays usable for the next command; if the
 * connection is lost, the next command raises the error.
 */
static void
run_command(RemoteSession *session, const char *sql, int ncolumns, bool ignore_errors)
{
	RemoteFailure failure;
	bool		any = false;

	send_sql(session, sql);
	while (next_result(session, sql))
	{
		any = true;
		if (!runops_remote_check(session, session->res, ncolumns, &failure) &&
			!(ignore_errors && PQresultStatus(session->res) == PGRES_FATAL_ERROR))
			statement_failed(&failure, sql);
	}
	if (!any)
	{
		runops_remote_check(session, NULL, ncolumns, &failure);
		statement_failed(&failure, sql);
	}
}

/*
 * Commit the transaction; raises if it was not committed.
 */
static void
commit(RemoteSession *session)
{
	RemoteFailure failure;
	bool		committed = false;

	send_sql(session, "COMMIT");
	while (next_result(session, "COMMIT"))
	{
		if (!runops_remote_check(session, session->res, 0, &failure))
			statement_failed(&failure, "COMMIT");
		committed = strcmp(PQcmdStatus(session->res), "COMMIT") == 0;
	}
	if (!committed || PQtransactionStatus(session->conn) != PQTRANS_IDLE)
		answer_failed(session, "COMMIT", _("It did not say that the transaction is committed."));
}

/*
 * Apply the settings, either to the transaction that is begun here or to the
 * session.
 *
 * A transaction pooler may run the next transaction in another session, and
 * the transaction of another client in this one.  So session settings cannot
 * be used there.
 *
 * The PID that libpq knows for the remote backend is passed to the session.
 * doctor() compares it there with the backend's real PID, because a pooler
 * reports a PID of its own.
 *
 * With client_connection_check_interval the store ends a long query soon after
 * this side has gone away on a cancel.  A server that does not support it
 * rejects the value, which is not an error here.
 *
 * With the option "pooled" the transaction also checks that it is in the
 * database that was asked.
 *
 * hide_rows: policies hide rows and raise no error.
 */
static void
set_up_session(RemoteSession *session, bool transaction, bool hide_rows)
{
	StringInfoData sql;

	if (!session->pooled)
		run_command(session, "SET client_connection_check_interval = '500ms'", 0, true);

	initStringInfo(&sql);
	if (transaction)
		appendStringInfo(&sql, "BEGIN;SET LOCAL runops_session.backend_pid = '%d';",
						 PQbackendPID(session->conn));
	for (int i = 0; i < lengthof(session_settings); i++)
		appendStringInfo(&sql, "SET %s%s;", transaction ? "LOCAL " : "", session_settings[i]);
	if (hide_rows)
		appendStringInfo(&sql, "SET %srow_security = on;", transaction ? "LOCAL " : "");
	run_command(session, sql.data, 0, false);
	if (PQtransactionStatus(session->conn) != (transaction ? PQTRANS_INTRANS : PQTRANS_IDLE))
		answer_failed(session, sql.data,
					  transaction ? _("It did not begin a transaction.") :
					  _("It is in a transaction that nobody has begun."));
	if (session->pooled)
		run_command(session, session->check, REMOTE_ANY_SHAPE, false);
}

/*
 * Fetch the rows of a query one at a time, into the tuplestore or into the
 * list, in the current memory context.
 *
 * The only column is the text of a jsonb.  The size of the list is limited
 * here; temp_file_limit limits the tuplestore.
 */
static void
fetch_rows(RemoteSession *session, const char *sql, ReturnSetInfo *rsinfo,
		   List **rows)
{
	MemoryContext rowcontext = AllocSetContextCreate(CurrentMemoryContext,
													 "runops remote row",
													 ALLOCSET_DEFAULT_SIZES);
	RemoteFailure failure;
	Size		total = 0;
	bool		complete = false;

	send_sql(session, sql);
	while (next_result(session, sql))
	{
		PGresult   *res = session->res;

		if (!runops_remote_check(session, res, 1, &failure))
			statement_failed(&failure, sql);
		if (complete)
			answer_failed(session, sql, _("It gave more than one result."));
		complete = PQresultStatus(res) == PGRES_TUPLES_OK;
		for (int i = 0; i < PQntuples(res); i++)
		{
			MemoryContext oldcontext = MemoryContextSwitchTo(rowcontext);
			char	   *text = runops_remote_value(session, res, i, 0, &failure);
			bool		isnull = false;
			Datum		value;

			if (text == NULL)
				statement_failed(&failure, sql);
			value = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
			total += VARSIZE_ANY(DatumGetPointer(value));
			if (rsinfo != NULL)
				tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
			else if (total > MaxAllocSize)
				ereport(ERROR,
						(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						 errmsg("the answer of server \"%s\" is too large",
								session->server->servername),
						 errdetail("It has more than %zu bytes.", (Size) MaxAllocSize),
						 errhint("Ask for fewer rows.")));
			MemoryContextSwitchTo(oldcontext);
			if (rows != NULL)
				*rows = lappend(*rows, DatumGetPointer(datumCopy(value, false, -1)));
			MemoryContextReset(rowcontext);
			runops_progress_note_rows(1);
		}
	}
	if (!complete)
		answer_failed(session, sql, _("It gave no result."));

	MemoryContextDelete(rowcontext);
}

/*
 * A SELECT that returns the rows of another SELECT as jsonb.  The store
 * converts them, because it knows the types.  The line break ends a comment.
 */
static char *
rows_as_jsonb(const char *query)
{
	return psprintf("SELECT pg_catalog.to_jsonb(q) FROM (%s\n) AS q", query);
}

/* The work for one session. */
typedef struct Work
{
	const char *query;			/* a SELECT, or NULL */
	ReturnSetInfo *rsinfo;		/* destination of its rows */
	List	  **rows;			/* or this one, with policies applied */
	char	  **commands;
	int			ncommands;
	bool		transaction;	/* commit when all have succeeded? */
} Work;

/*
 * Open a session and do the work.
 */
static void
do_work(RemoteSession *session, const Work *work)
{
	bool		transaction;

	runops_conn_leave_pool(session);
	runops_remote_open(session);
	runops_conn_ask(session);
	/* a session of a pool keeps no settings */
	transaction = work->transaction || session->pooled;
	set_up_session(session, transaction, work->rows != NULL);
	if (work->query)
		fetch_rows(session, work->query, work->rsinfo, work->rows);
	for (int i = 0; i < work->ncommands; i++)
		run_command(session, work->commands[i], REMOTE_ANY_SHAPE, false);
	if (transaction)
		commit(session);
}

/*
 * Do the work in a session, and close the session even after an error.
 */
static void
run_in_session(RemoteSession *session, const Work *work)
{
	ErrorContextCallback errcallback;

	errcallback.callback = remote_context;
	errcallback.arg = session;
	errcallback.previous = error_context_stack;
	error_context_stack = &errcallback;

	PG_TRY();
	{
		do_work(session, work);
	}
	PG_CATCH();
	{
		runops_remote_close(session);
		PG_RE_THROW();
	}
	PG_END_TRY();
	runops_remote_close(session);

	error_context_stack = errcallback.previous;
}

/*
 * The same on the writer of a store, if the gate is open and the caller has
 * the privilege.
 *
 * Changes made there do not reach the store's reader at once.
 */
static void
run_in_store(const char *store, const Work *work)
{
	runops_gate_require(store, NULL);
	if (work->ncommands > 0)
		runops_reader_leave(store);
	run_in_session(runops_remote_session(store), work);
}

/*
 * The rows of a SELECT on a server of a store, as a list of Jsonb in the
 * current memory context.
 *
 * The caller must check the gate.  The policies of the remote tables apply.
 */
static List *
remote_rows(const char *store, Oid serverid, const char *query)
{
	List	   *rows = NIL;
	Work		work = {
		.query = rows_as_jsonb(query),
		.rows = &rows,
		.transaction = true
	};

	run_in_session(runops_remote_server_session(store, serverid), &work);

	return rows;
}

/*
 * The rows of a SELECT on the writer of a store, as jsonb, into a tuplestore.
 *
 * The current user did not write the SQL, so he needs only a user mapping.
 * Policies that would hide rows from him raise an error.
 */
void
runops_store_rows(const char *store, const char *query, ReturnSetInfo *into)
{
	Work		work = {
		.query = rows_as_jsonb(query),
		.rsinfo = into,
		.transaction = true
	};

	runops_gate_require(store, NULL);
	run_in_session(runops_remote_server_session(store, runops_store_server(store)), &work);
}

/*
 * The rows of a query that the reader of a store runs, as a list of Jsonb;
 * each row is one object.
 *
 * The query is wrapped as in runops.remote_query(), and runs with the current
 * user's mapping for the reader's server.  The caller must decide whether the
 * reader may serve it; see runops_reader_serves().  Raises if the gate to the
 * store or its reader is closed, and raises the errors of the reader.
 */
List *
runops_reader_query(const char *store, const char *sql)
{
	Oid			serverid = runops_reader_server(store);
	ListCell   *lc;

	if (!OidIsValid(serverid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("store \"%s\" has no reader", store),
				 errdetail("The view \"%s.stores\" shows the readers.", RUNOPS_SCHEMA),
				 errhint("Name one as the argument \"reader\" of %s.add_store().", RUNOPS_SCHEMA)));

	foreach(lc, runops_stores())
	{
		RunopsStore *s = (RunopsStore *) lfirst(lc);

		if (strcmp(s->store, store) == 0 && OidIsValid(s->serverid))
			runops_gate_require_server(s->serverid, GetUserId(), store, NULL);
	}
	runops_gate_require_server(serverid, GetUserId(), store, NULL);

	return remote_rows(store, serverid, sql);
}

/*
 * remote_query(store, query): the rows of a SELECT in the store, as jsonb.
 */
Datum
runops_remote_query(PG_FUNCTION_ARGS)
{
	char	   *store = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Work		work = {
		.query = rows_as_jsonb(query),
		.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo,
		.transaction = true
	};

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	run_in_store(store, &work);

	return (Datum) 0;
}

/*
 * remote_exec(store, command): run a command in the store without a
 * transaction block, for commands that cannot run in one.
 */
Datum
runops_remote_exec(PG_FUNCTION_ARGS)
{
	char	   *store = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *command = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Work		work = {
		.commands = &command,
		.ncommands = 1
	};

	run_in_store(store, &work);

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
	Work		work = {.transaction = true};

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &nelems);
	work.commands = palloc_array(char *, nelems + 1);
	for (int i = 0; i < nelems; i++)
	{
		if (!nulls[i])
			work.commands[work.ncommands++] = TextDatumGetCString(elems[i]);
	}
	run_in_store(store, &work);

	PG_RETURN_VOID();
}
