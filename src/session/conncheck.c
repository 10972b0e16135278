/*-------------------------------------------------------------------------
 *
 * conncheck.c
 *	  Asks a new connection which database it has reached, before it is used.
 *
 * A proof describes a server at the time of the proof.  Since then its host
 * name may have come to lead elsewhere, a standby may have been promoted, or a
 * primary demoted.  So each new connection is asked for the fingerprint.  If
 * that differs from the proof, the gate is closed.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <inttypes.h>

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "control_plane/control_plane.h"
#include "gate/gate.h"
#include "session/engine_int.h"
#include "session/session_int.h"
#include "topology/topology.h"
#include "xact/xact.h"

/*
 * Settings of the session in the store.  Values are sent and received as text,
 * so their form must not depend on the settings of the store.
 */
static const char *const session_settings[][2] = {
	{"search_path", "pg_catalog"},
	{"timezone", "GMT"},
	{"datestyle", "ISO"},
	{"intervalstyle", "postgres"},
	{"extra_float_digits", "3"},
	{"cursor_tuple_fraction", "1"}
};

/* SQL for the first part of RUNOPS_INCARNATION_SQL: when a server was started. */
#define SERVER_START \
	"pg_catalog.encode(pg_catalog.timestamptz_send(pg_catalog.pg_postmaster_start_time()), 'hex')"

/* The first use of a server in this transaction; in TopTransactionContext. */
typedef struct FirstUse
{
	Oid			serverid;
	uint64		stamp;			/* see control_plane.h */
} FirstUse;

static List *first_uses = NIL;

/*
 * Close the gate to a server and raise an error.
 */
static void
close_gate(Oid serverid, Oid relid, RunopsVerdict verdict, RunopsCause cause,
		   const char *reason)
{
	RunopsProofState state = {0};

	runops_sentinel_close(serverid, verdict, cause, reason);
	state.verdict = verdict;
	state.cause = cause;
	strlcpy(state.reason, reason, RUNOPS_REASON_LEN);
	runops_gate_raise(&state,
					  OidIsValid(relid) ? runops_store_label(relid) :
					  GetForeignServer(serverid)->servername,
					  OidIsValid(relid) ? get_rel_name(relid) : NULL);
}

/*
 * Compare the answer of a connection with the proof; raises if it is another
 * database.
 */
static void
compare_identity(Oid serverid, Oid relid, const RunopsIdentity *now,
				 bool lock_obtained, const char *collations)
{
	RunopsProofState proved;
	char		reason[RUNOPS_REASON_LEN];

	/*
	 * The gate was closed or the server was altered since the gate was
	 * checked, so there is no proof for the database that was reached.
	 */
	if (!runops_sentinel_peek(serverid, &proved))
	{
		proved.cause = RUNOPS_CAUSE_UNREACHABLE;
		strlcpy(proved.reason, _("The server was altered while this session connected to it."),
				RUNOPS_REASON_LEN);
	}
	if (proved.verdict != RUNOPS_DISTINCT)
		runops_gate_raise(&proved,
						  OidIsValid(relid) ? runops_store_label(relid) :
						  GetForeignServer(serverid)->servername,
						  OidIsValid(relid) ? get_rel_name(relid) : NULL);

	if (!now->in_recovery && !lock_obtained && !RecoveryInProgress())
		close_gate(serverid, relid, RUNOPS_SAME, RUNOPS_CAUSE_CONTROL_PLANE,
				   _("The server has become the control plane itself: a lock that is held here is held there."));

	if (now->sysid_known && proved.identity.sysid_known &&
		now->sysid != proved.identity.sysid)
	{
		snprintf(reason, sizeof(reason),
				 _("The server was proved with system identifier " UINT64_FORMAT ", but a new connection reached " UINT64_FORMAT "."),
				 proved.identity.sysid, now->sysid);
		close_gate(serverid, relid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_CHANGED, reason);
	}
	if (strcmp(now->database, proved.identity.database) != 0)
	{
		snprintf(reason, sizeof(reason),
				 _("The server was proved with database \"%s\", but a new connection reached \"%s\"."),
				 proved.identity.database, now->database);
		close_gate(serverid, relid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_CHANGED, reason);
	}
	if (now->in_recovery != proved.identity.in_recovery)
		close_gate(serverid, relid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_RECOVERY,
				   now->in_recovery ?
				   _("The server was proved as a primary, but a new connection reached a standby.") :
				   _("The server was proved as a standby, but a new connection reached a primary."));

	/*
	 * The running plan may rely on what is not so any more.  A later
	 * transaction makes its plans again.
	 */
	if (now->collations != proved.identity.collations)
		runops_sentinel_note_collations(serverid, collations);
	if (runops_sentinel_collations_lost(serverid) >= GetCurrentTransactionStartTimestamp())
	{
		proved.cause = RUNOPS_CAUSE_COLLATION;
		strlcpy(proved.reason, _("The encoding or a collation of the server's database has changed since this transaction began."),
				RUNOPS_REASON_LEN);
		runops_gate_raise(&proved,
						  OidIsValid(relid) ? runops_store_label(relid) :
						  GetForeignServer(serverid)->servername,
						  OidIsValid(relid) ? get_rel_name(relid) : NULL);
	}
}

/*
 * Compare the owner that a connection has found with this control plane;
 * raises if it is another one.
 */
static void
compare_owner(Oid serverid, Oid relid, const RunopsOwnerQuestion *question,
			  const RunopsOwner *owner)
{
	if (!question->applies)
		return;

	if (owner->record != NULL &&
		(owner->who == NULL || strcmp(owner->who, question->me) != 0))
		close_gate(serverid, relid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_OWNER,
				   runops_owner_reason(question, owner));
	if (owner->refused)
		close_gate(serverid, relid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_OWNER,
				   _("The store is being taken over by another control plane."));
}

/*
 * SQL for the check that travels with each transaction on a connection through a
 * pooler, or NULL if there is none.
 *
 * With the option "pooled", a transaction may run in any session of the pool, so
 * it sets the session's settings for itself.  It fails unless the server is the
 * one that has answered, which has not been started anew, and the owner of the
 * store is still the same.
 *
 * Without the option, another process than the one that libpq was told answers
 * if there is a pooler.  It must keep the session for this client: otherwise
 * prepared statements of other clients would be executed.  The process and the
 * token, which the session was given at its start, tell it.
 *
 * The text is cast because no other expression raises an error.
 */
static char *
check_sql(RemoteSession *session, const RunopsOwnerQuestion *question,
		  const RunopsOwner *owner, const RunopsIdentity *identity)
{
	StringInfoData sql;

	if (!session->pooled &&
		(session->token == NULL || session->backend_pid == PQbackendPID(session->conn)))
		return NULL;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	if (session->pooled)
	{
		for (int i = 0; i < lengthof(session_settings); i++)
			appendStringInfo(&sql, "pg_catalog.set_config('%s', '%s', true), ",
							 session_settings[i][0], session_settings[i][1]);
		appendStringInfo(&sql, "pg_catalog.set_config('client_encoding', %s, true), ",
						 quote_literal_cstr(GetDatabaseEncodingName()));
		appendStringInfo(&sql, "(CASE WHEN " SERVER_START " OPERATOR(pg_catalog.=) %s"
						 " AND pg_catalog.current_database() OPERATOR(pg_catalog.=) %s::pg_catalog.name"
						 " AND pg_catalog.pg_is_in_recovery() OPERATOR(pg_catalog.=) %s",
						 quote_literal_cstr(pnstrdup(session->incarnation, strcspn(session->incarnation, "/"))),
						 quote_literal_cstr(identity->database),
						 identity->in_recovery ? "true" : "false");
		if (question->applies)
			appendStringInfo(&sql, " AND %s", runops_owner_condition(question, owner));
	}
	else
		appendStringInfo(&sql, "(CASE WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) %d"
						 " AND pg_catalog.current_setting('runops_session.token', true) OPERATOR(pg_catalog.=) '%s'",
						 session->backend_pid, session->token);
	appendStringInfoString(&sql, " THEN '0' ELSE 'the pooler has given this transaction another session' END)::pg_catalog.int4");

	return sql.data;
}

/*
 * Ask one connection; raises if it does not answer, or is another database.
 * Returns whether it is a standby.  Sets session->check, in the current memory
 * context.
 */
bool
runops_conn_compare(RemoteSession *session, Oid relid)
{
	Oid			serverid = session->server->serverid;
	const RunopsStore *store;
	RunopsOwnerQuestion question;
	RunopsOwner owner;
	RunopsIdentity identity;
	RemoteFailure failure;
	LOCKTAG		tag;
	uint64		key;
	bool		is_reader;
	char	   *collations;
	bool		lock_obtained;
	bool		answered;

	if (!pg_strong_random(&key, sizeof(key)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));

	store = runops_server_store(runops_stores(), serverid, &is_reader);
	runops_owner_question(store, is_reader, &question);
	question.hold = true;

	runops_lock_tag(key, &tag);
	LockAcquire(&tag, ExclusiveLock, false, false);
	answered = runops_ask_identity(session, key, &question, &identity,
								   &lock_obtained, &owner, &collations, &failure);
	LockRelease(&tag, ExclusiveLock, false);

	if (!answered)
		runops_remote_raise(&failure);

	compare_identity(serverid, relid, &identity, lock_obtained, collations);
	compare_owner(serverid, relid, &question, &owner);
	session->check = check_sql(session, &question, &owner, &identity);

	return identity.in_recovery;
}

/*
 * Transaction callback: at the end, forget the first uses of servers.
 */
static void
forget_first_uses(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		first_uses = NIL;
}

/*
 * The stamp taken before this transaction first used a server, and so before
 * any of its snapshots there; PG_UINT64_MAX if it has not used the server.
 */
uint64
runops_conn_first_use(Oid serverid)
{
	ListCell   *lc;

	foreach(lc, first_uses)
	{
		FirstUse   *use = (FirstUse *) lfirst(lc);

		if (use->serverid == serverid)
			return use->stamp;
	}

	return PG_UINT64_MAX;
}

/*
 * Note that a server is about to be used.
 */
void
runops_conn_note_use(Oid serverid)
{
	static bool registered = false;
	MemoryContext oldcontext;
	FirstUse   *use;

	if (!runops_cache_enabled() || runops_conn_first_use(serverid) != PG_UINT64_MAX)
		return;

	if (!registered)
		RegisterXactCallback(forget_first_uses, NULL);
	registered = true;
	oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	use = palloc(sizeof(FirstUse));
	use->serverid = serverid;
	use->stamp = runops_tags_now();
	first_uses = lappend(first_uses, use);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * The check of a transaction has failed: ask again which database the
 * connection reaches.  Nothing may be under way.  Raises if it is another one,
 * or if the option "pooled" is missing.
 *
 * A server that was restarted, or a standby that was promoted in its place, is
 * proved by this as by a new connection.
 */
void
runops_conn_check_again(RunopsConn *c)
{
	PGconn	   *conn = c->session.conn;
	MemoryContext oldcontext;

	c->check_failed = false;
	if (!c->session.pooled)
	{
		c->stale = true;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("server \"%s\" is reached through a connection pooler that does not keep the session",
						c->session.server->servername),
				 errdetail("The pooler gives each transaction another session, as in transaction mode."),
				 errhint("Use ALTER SERVER to add the option \"pooled\", or let the pooler work in session mode.")));
	}
	if (c->checked_again)
	{
		c->stale = true;
		ereport(ERROR,
				(errcode(ERRCODE_RUNOPS_GATE_CLOSED),
				 errmsg("the connection pooler of server \"%s\" leads to different servers",
						c->session.server->servername),
				 errhint("Let it lead to one server.")));
	}

	c->checked_again = true;
	oldcontext = MemoryContextSwitchTo(c->cxt);
	PG_TRY();
	{
		if (!PQexitPipelineMode(conn))
			elog(ERROR, "could not leave libpq's pipeline mode");
		c->changes = runops_sentinel_changes(c->session.server->serverid);
		c->reading = RecoveryInProgress();
		(void) runops_remote_set_deadline(&c->session);
		c->standby = runops_conn_compare(&c->session, c->relid);
		if (!PQenterPipelineMode(conn))
			elog(ERROR, "could not enter libpq's pipeline mode");
	}
	PG_CATCH();
	{
		c->lost = true;
		runops_conn_break(conn);
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcontext);
	PQclear(c->session.res);
	c->session.res = NULL;
}

/*
 * The commands that set up the session of a connection, and let it recognize
 * that later, in the current memory context; NULL if a pooler gives the session
 * to others.
 */
const char *
runops_conn_set_up(RemoteSession *session)
{
	StringInfoData sql;
	uint64		token;

	if (session->pooled)
		return NULL;
	if (!pg_strong_random(&token, sizeof(token)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	session->token = psprintf("%016" PRIx64, token);
	initStringInfo(&sql);
	for (int i = 0; i < lengthof(session_settings); i++)
		appendStringInfo(&sql, "SET %s = %s;", session_settings[i][0], session_settings[i][1]);
	appendStringInfo(&sql, "SET runops_session.token = '%s';", session->token);

	return sql.data;
}

/*
 * Ask a new connection of our own whether it has reached the proved database;
 * raises if not.
 */
void
runops_conn_ask(RemoteSession *session)
{
	(void) runops_conn_compare(session, InvalidOid);
}

/*
 * Close the gate to a server that was proved as a standby and was promoted
 * since; raises an error.
 */
void
runops_conn_promoted(Oid serverid, Oid relid)
{
	close_gate(serverid, relid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_RECOVERY,
			   _("The server was proved as a standby, but was promoted later."));
}

/*
 * Before postgres_fdw connects to a server for a user, make sure that it can,
 * and that it will reach the proved database; raises if not.
 *
 * This is for what postgres_fdw still executes: ANALYZE, IMPORT FOREIGN SCHEMA
 * and use_remote_estimate.  While postgres_fdw connects, it ignores a cancel,
 * and it has no time limit unless the server sets one.
 */
void
runops_conn_prepare(const RunopsStoreUse *use)
{
	RemoteSession session = {0};
	RemoteFailure failure;

	runops_conn_note_use(use->serverid);
	session.server = GetForeignServer(use->serverid);
	session.store = session.server->servername;
	session.user = runops_remote_mapping(use->userid, use->serverid);
	/* without a user mapping postgres_fdw raises the error */
	if (session.user == NULL)
		return;
	if (runops_server_is_pooled(use->serverid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot do this through the connection pooler of server \"%s\"",
						session.server->servername),
				 errdetail("The connections of postgres_fdw change settings of the session, which a transaction pooler gives to other clients."),
				 errhint("Use a server without the option \"pooled\".")));

	PG_TRY();
	{
		if (!runops_remote_try_open(&session, &failure))
			runops_remote_raise(&failure);
		(void) runops_conn_compare(&session, use->relid);
	}
	PG_FINALLY();
	{
		runops_remote_close(&session);
	}
	PG_END_TRY();
}
