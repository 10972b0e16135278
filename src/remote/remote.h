/*-------------------------------------------------------------------------
 *
 * remote.h
 *	  Opens connections to the database of a store, and waits on them.
 *
 * This module knows libpq, servers and user mappings, and nothing of routed
 * tables.  The caller must check the gate and the right to use the server.  No
 * wait blocks the backend, and none of these functions takes a lock.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_REMOTE_H
#define RUNOPS_REMOTE_H

#include "datatype/timestamp.h"
#include "foreign/foreign.h"
#include "libpq-fe.h"
#include "nodes/pg_list.h"

#include "base/compat.h"
#include "base/runops.h"

/*
 * SQL for the system identifier of a server, or NULL if the role may not read it.
 *
 * Managed servers deny access to it; that is not a failure.  A denial would
 * write a line to the store's log for each connection, and would abort an open
 * transaction.  PostgreSQL checks privileges before a statement runs, so the
 * identifier is read by a query inside the query.  Among the functions that
 * run a query and return its result, ts_stat() exists also in a server built
 * without libxml.
 */
#define RUNOPS_SYSID_SQL \
	"CASE WHEN pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')" \
	" THEN (SELECT word FROM pg_catalog.ts_stat(" \
	"'SELECT pg_catalog.array_to_tsvector(ARRAY[system_identifier::pg_catalog.text])" \
	" FROM pg_catalog.pg_control_system()')) END"

/*
 * SQL for the incarnation of a server: a text that is another one after each
 * start and after each crash.
 *
 * The postmaster survives the crash of a backend, but the counters do not, and
 * the time of their reset is set.  Everybody may read both.  A reset by hand
 * looks like a crash.  The timeline is left out: a standby gets a new one
 * without a new start, but nothing has been written through a connection that
 * is older than its promotion.
 */
#define RUNOPS_INCARNATION_SQL \
	"pg_catalog.concat(pg_catalog.encode(pg_catalog.timestamptz_send(pg_catalog.pg_postmaster_start_time()), 'hex'), '/'," \
	" (SELECT pg_catalog.encode(pg_catalog.timestamptz_send(stats_reset), 'hex') FROM pg_catalog.pg_stat_bgwriter))"

/* The number of columns of SQL of a user, which may give rows or not. */
#define REMOTE_ANY_SHAPE (-1)

/* One connection to the database of a store, for the time of one call. */
typedef struct RemoteSession
{
	PGconn	   *conn;			/* NULL while there is none */
	PGresult   *res;			/* current result, freed with the session */
	TimestampTz answer_by;		/* when to stop waiting for answers; 0 is
								 * never */
	char	   *store;			/* name of the store */
	ForeignServer *server;		/* its server */
	UserMapping *user;			/* the caller's mapping */
	TimestampTz deadline;		/* for connecting and try_query; 0: none */
	const char *application;	/* fallback_application_name; NULL: "runops" */
	const char *preamble;		/* commands in front of the question for the
								 * identity, or NULL */
	bool		sysid_known;	/* what it has told of its server, when it was
								 * asked for the identity: */
	uint64		sysid;			/* ... the system identifier */
	char		incarnation[RUNOPS_INCARNATION_LEN];	/* ... and since when it
														 * runs */
	int			backend_pid;	/* ... and the process that has answered */
	const char *token;			/* that the session was given, or NULL */
	const char *check;			/* SQL to be run in each transaction, which
								 * fails if it is another session, or NULL */
	bool		pooled;			/* is there a transaction pooler in between? */
} RemoteSession;

/* The reason for a missing connection or answer, as the parts of an error. */
typedef struct RemoteFailure
{
	int			sqlerrcode;
	const char *message;
	const char *detail;
	const char *hint;
	const char *context;		/* of the remote error, or NULL */
	bool		timed_out;		/* was it caused by the deadline? */
} RemoteFailure;

/*
 * The values of the options of our own, for a server and one of its user
 * mappings.
 */
typedef struct RunopsServerOptions
{
	int			idle_timeout;	/* ms after which an unused connection is
								 * closed; 0 is never */
	bool		commit_token;	/* do transactions leave a token in the store? */
	bool		pooled;			/* is there a transaction pooler in between? */
	bool		prepared_statements;	/* may statements be prepared by name? */
	bool		two_phase;		/* does it take part in two-phase commits? */
} RunopsServerOptions;

/* in connect.c */
extern RemoteSession *runops_remote_session(const char *store);
extern RemoteSession *runops_remote_server_session(const char *store,
												   Oid serverid);
extern UserMapping *runops_remote_mapping(Oid userid, Oid serverid);
extern bool runops_remote_try_open(RemoteSession *session,
								   RemoteFailure *failure);
extern int	runops_remote_set_deadline(RemoteSession *session);
extern void runops_remote_open(RemoteSession *session);
extern bool runops_remote_try_query(RemoteSession *session, const char *sql,
									int ncolumns, RemoteFailure *failure);
pg_noreturn extern void runops_remote_raise(const RemoteFailure *failure);
extern bool runops_cancelled_here(const ErrorData *edata);
extern void runops_remote_close(RemoteSession *session);
extern int	runops_remote_wait(RemoteSession *session, int io_flag, long timeout_ms);

/* in result.c */
extern bool runops_remote_fail(RemoteFailure *failure, int sqlerrcode,
							   const char *message, const char *detail,
							   const char *hint);
extern bool runops_remote_fail_answer(RemoteSession *session,
									  RemoteFailure *failure, const char *detail);
extern char *runops_remote_libpq_message(PGconn *conn);
extern bool runops_remote_fail_libpq(RemoteSession *session,
									 RemoteFailure *failure);
extern void runops_remote_blame(RemoteFailure *failure, const char *sql);
extern bool runops_remote_check(RemoteSession *session, const PGresult *res,
								int ncolumns, RemoteFailure *failure);
extern char *runops_remote_value(RemoteSession *session, const PGresult *res,
								 int row, int column, RemoteFailure *failure);
extern bool runops_remote_get_int64(RemoteSession *session, int column,
									int64 *result, RemoteFailure *failure);
extern bool runops_remote_get_bool(RemoteSession *session, int column,
								   bool *result, RemoteFailure *failure);
extern bool runops_remote_get_name(RemoteSession *session, int column,
								   char *result, RemoteFailure *failure);

/* in options.c */
extern List *runops_options_validate(List *options, Oid catalog);
extern void runops_options_read(const ForeignServer *server,
								const UserMapping *user,
								RunopsServerOptions *values);
extern bool runops_server_is_pooled(Oid serverid);

/* in cancel.c */
extern bool runops_conn_is_copy(const PGresult *res);
extern void runops_conn_break(PGconn *conn);
extern bool runops_conn_answers(PGconn *conn);
extern bool runops_conn_request_cancel(PGconn *conn);
extern bool runops_conn_poll(PGconn *conn, bool writable, TimestampTz by);
extern bool runops_conn_is_dead(PGconn *conn);

#endif							/* RUNOPS_REMOTE_H */
