/*-------------------------------------------------------------------------
 *
 * conncheck.c
 *	  Asks every new connection of postgres_fdw which database it has reached,
 *	  before it is used.
 *
 * A proof describes a server at the time of the proof.  Since then its host
 * name may have come to lead elsewhere, a standby may have been promoted, or a
 * primary demoted.  So the first statement on a connection, in the remote
 * transaction that postgres_fdw has begun, asks for the fingerprint.  If that
 * differs from the proof, the gate is closed.  The mark that a connection was
 * asked is stored with libpq's connection, and libpq tells when the connection
 * ends.
 *
 * While postgres_fdw connects, it ignores a cancel, and it has no time limit
 * unless the server sets one.  So before postgres_fdw has to connect, we make
 * a connection of our own.  That one can be canceled, has a time limit, and is
 * asked the same question.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>

#include "access/xact.h"
#include "catalog/pg_user_mapping.h"
#include "lib/ilist.h"
#include "libpq-events.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "control_plane/control_plane.h"
#include "gate/gate.h"
#include "session/session_int.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* A connection; it lives as long as libpq's. */
typedef struct Connection
{
	dlist_node	node;			/* in connections */
	PGconn	   *conn;
	Oid			umid;			/* its user mapping */
	bool		asked;			/* did it reach the proved database? */
	bool		standby;		/* was it in recovery then? */
	bool		reading;		/* was this server in recovery then? */
	bool		stale;			/* was its server or user mapping altered? */
	uint64		changes;		/* runops_sentinel_changes() when it was asked */
	int			nest_level;		/* of the transaction that used it last */
	int			timeout_ms;		/* limit for connecting; 0 means none */
	pg_atomic_uint64 *turns;	/* counter of the table that used it last; may
								 * be NULL */
	bool		rolled_back;	/* was the last result the result of a
								 * ROLLBACK? */
} Connection;

static dlist_head connections = DLIST_STATIC_INIT(connections);
static bool callbacks_registered = false;

/* The first use of a server in this transaction; in TopTransactionContext. */
typedef struct FirstUse
{
	Oid			serverid;
	uint64		stamp;			/* see control_plane.h */
} FirstUse;

static List *first_uses = NIL;

/*
 * The callback that sets up a connection before its use; NULL if there is
 * none.
 */
static RunopsConnected on_use = NULL;

/* The connection that postgres_fdw is going to use, if it exists. */
static Connection *next_connection = NULL;

/* The fields of the last error of a store. */
static RunopsStoreError last_error;

/*
 * Copy a field of an error, unless it is no name.
 */
static void
copy_field(char *field, const PGresult *result, int code)
{
	const char *value = PQresultErrorField(result, code);

	field[0] = '\0';
	if (value != NULL && strlen(value) < NAMEDATALEN &&
		pg_verify_mbstr(GetDatabaseEncoding(), value, strlen(value), true))
		strlcpy(field, value, NAMEDATALEN);
}

/*
 * Note the fields of an error that postgres_fdw does not hand on.
 */
static void
note_error(const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	last_error.sqlerrcode = state == NULL || strlen(state) != 5 ? 0 :
		MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]);
	copy_field(last_error.schema, result, PG_DIAG_SCHEMA_NAME);
	copy_field(last_error.table, result, PG_DIAG_TABLE_NAME);
	copy_field(last_error.column, result, PG_DIAG_COLUMN_NAME);
	copy_field(last_error.datatype, result, PG_DIAG_DATATYPE_NAME);
	copy_field(last_error.constraint, result, PG_DIAG_CONSTRAINT_NAME);
}

/*
 * Forget the error, before something is sent to a store.
 */
void
runops_conn_forget_error(void)
{
	last_error.sqlerrcode = 0;
}

/*
 * The fields of the last error of a store, if it is the current error.
 */
const RunopsStoreError *
runops_conn_error(void)
{
	return &last_error;
}

/*
 * libpq event callback for a connection.
 *
 * Each result is the answer to one request of postgres_fdw, and so one turn.
 * The only exception is ROLLBACK TO SAVEPOINT, which it sends together with
 * RELEASE.  postgres_fdw never sends COPY, so a result of COPY is no answer,
 * and postgres_fdw would read it without end.
 *
 * This is called from inside libpq, so it must not raise.
 */
static int
connection_event(PGEventId event, void *info, void *passthrough)
{
	if (event == PGEVT_RESULTCREATE)
	{
		PGEventResultCreate *create = (PGEventResultCreate *) info;
		Connection *c = PQinstanceData(create->conn, connection_event);

		if (c != NULL)
		{
			const char *tag = PQcmdStatus(create->result);

			if (c->turns != NULL && !(c->rolled_back && strcmp(tag, "RELEASE") == 0))
				pg_atomic_fetch_add_u64(c->turns, 1);
			c->rolled_back = strcmp(tag, "ROLLBACK") == 0;
			if (PQresultStatus(create->result) == PGRES_FATAL_ERROR)
				note_error(create->result);
			if (runops_conn_is_copy(create->result))
			{
				runops_conn_break(create->conn);
				runops_conn_wait_refuse();
			}
		}
	}
	else if (event == PGEVT_CONNDESTROY)
	{
		Connection *c = PQinstanceData(((PGEventConnDestroy *) info)->conn, connection_event);

		if (c != NULL)
		{
			if (next_connection == c)
				next_connection = NULL;
			dlist_delete(&c->node);
			pfree(c);
		}
	}

	return 1;
}

/*
 * Syscache callback: a server or a user mapping was altered, so postgres_fdw
 * will replace its connections that are not in use.
 */
static void
mark_stale(Datum arg, int cacheid, uint32 hashvalue)
{
	dlist_iter	iter;

	dlist_foreach(iter, &connections)
		dlist_container(Connection, node, iter.cur)->stale = true;
}

/*
 * Transaction callback: cancel the remote queries of an aborted transaction.
 */
static void
xact_callback(XactEvent event, void *arg)
{
	dlist_iter	iter;

	if (event != XACT_EVENT_ABORT && event != XACT_EVENT_PARALLEL_ABORT)
		return;

	runops_conn_wait_reset();

	dlist_foreach(iter, &connections)
	{
		Connection *c = dlist_container(Connection, node, iter.cur);

		if (PQtransactionStatus(c->conn) == PQTRANS_ACTIVE)
			runops_conn_cancel(c->conn);
	}
}

/*
 * The same for a subtransaction, on the connections that it has used.
 */
static void
subxact_callback(SubXactEvent event, SubTransactionId mySubid,
				 SubTransactionId parentSubid, void *arg)
{
	int			nest_level = GetCurrentTransactionNestLevel();
	dlist_iter	iter;

	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;

	if (event == SUBXACT_EVENT_ABORT_SUB)
		runops_conn_wait_reset();

	dlist_foreach(iter, &connections)
	{
		Connection *c = dlist_container(Connection, node, iter.cur);

		if (c->nest_level < nest_level)
			continue;
		if (event == SUBXACT_EVENT_ABORT_SUB &&
			PQtransactionStatus(c->conn) == PQTRANS_ACTIVE)
			runops_conn_cancel(c->conn);
		c->nest_level = nest_level - 1;
	}
}

/*
 * The OID of a user's mapping for a server, or of PUBLIC's; InvalidOid if
 * there is none.
 */
static Oid
mapping_oid(Oid userid, Oid serverid)
{
	Oid			umid = GetSysCacheOid2(USERMAPPINGUSERSERVER, Anum_pg_user_mapping_oid,
									   ObjectIdGetDatum(userid),
									   ObjectIdGetDatum(serverid));

	if (!OidIsValid(umid))
		umid = GetSysCacheOid2(USERMAPPINGUSERSERVER, Anum_pg_user_mapping_oid,
							   ObjectIdGetDatum(InvalidOid),
							   ObjectIdGetDatum(serverid));

	return umid;
}

/*
 * The server was proved to lead to another database since this connection was
 * asked, or to have another owner.  A user has confirmed that change, but the
 * connection still leads to the old database.  Or else this server was
 * promoted since, so the connection was not asked for the owner.
 *
 * Close the connection's socket, so that postgres_fdw makes a new connection.
 * In the middle of a transaction that is too late, so raise an error.
 */
static void
cut_connection(Connection *c, Oid serverid, Oid relid)
{
	if (PQtransactionStatus(c->conn) != PQTRANS_IDLE)
		ereport(ERROR,
				(errcode(ERRCODE_RUNOPS_GATE_CLOSED),
				 errmsg("cannot access store \"%s\" in this transaction any more",
						OidIsValid(relid) ? runops_store_label(relid) :
						GetForeignServer(serverid)->servername),
				 errdetail("The server of the store now leads to another database than when the transaction began to use it."),
				 errhint("Repeat the transaction.")));

	if (PQsocket(c->conn) >= 0)
		(void) shutdown(PQsocket(c->conn), SHUT_RDWR);
}

/*
 * The connection of a user mapping that postgres_fdw is going to use, or NULL.
 */
static Connection *
find_live_connection(Oid umid, Oid serverid, Oid relid)
{
	dlist_iter	iter;

	dlist_foreach(iter, &connections)
	{
		Connection *c = dlist_container(Connection, node, iter.cur);

		if (c->umid != umid || !c->asked)
			continue;
		if ((c->changes != runops_sentinel_changes(serverid) ||
			 (c->reading && !RecoveryInProgress())) &&
			PQstatus(c->conn) == CONNECTION_OK)
			cut_connection(c, serverid, relid);

		/*
		 * in a remote transaction postgres_fdw uses it, even if it is broken
		 */
		if (PQtransactionStatus(c->conn) != PQTRANS_IDLE &&
			PQstatus(c->conn) == CONNECTION_OK)
			return c;
		if (!c->stale && !runops_conn_is_dead(c->conn))
			return c;
	}

	return NULL;
}

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
 * Ask one connection; raises if it does not answer, or is another database.
 * Returns whether it is a standby.
 */
static bool
ask_connection(RemoteSession *session, Oid relid)
{
	Oid			serverid = session->server->serverid;
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

	runops_owner_question(runops_server_store(runops_stores(), serverid, &is_reader),
						  is_reader, &question);
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
 * its snapshot there; PG_UINT64_MAX if it has not used the server.
 *
 * postgres_fdw has one snapshot per transaction, whatever the isolation level.
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
static void
note_use(Oid serverid)
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
 * Ask a new connection of our own whether it has reached the proved database;
 * raises if not.
 */
void
runops_conn_ask(RemoteSession *session)
{
	(void) ask_connection(session, InvalidOid);
}

/*
 * Make sure that postgres_fdw can connect to a server for a user if it has to;
 * raises if not.
 */
void
runops_conn_prepare(const RunopsStoreUse *use)
{
	Oid			umid = mapping_oid(use->userid, use->serverid);
	RemoteSession session = {0};
	RemoteFailure failure;

	note_use(use->serverid);

	/* without a user mapping postgres_fdw raises the error */
	next_connection = OidIsValid(umid) ? find_live_connection(umid, use->serverid, use->relid) : NULL;
	if (next_connection != NULL)
		next_connection->turns = runops_stats_counter(use->relid, RUNOPS_TURNS);
	if (!OidIsValid(umid) || next_connection != NULL)
		return;

	session.server = GetForeignServer(use->serverid);
	session.store = session.server->servername;
	session.user = GetUserMapping(use->userid, use->serverid);

	PG_TRY();
	{
		if (!runops_remote_try_open(&session, &failure))
			runops_remote_raise(&failure);
		(void) ask_connection(&session, use->relid);
	}
	PG_FINALLY();
	{
		runops_remote_close(&session);
	}
	PG_END_TRY();
}

/*
 * postgres_fdw is about to begin a transaction on the connection that
 * runops_conn_prepare() has found, unless it has one already.  Limit that to
 * the time that connecting may take.
 *
 * The caller must then call runops_conn_answered() or runops_conn_check().  If
 * an error is raised instead, fdw/error_context.c must be on the error context
 * stack.
 */
void
runops_conn_await(void)
{
	Connection *c = next_connection;

	if (c == NULL || PQtransactionStatus(c->conn) != PQTRANS_IDLE)
		return;

	/* if this fails, the failing subtransaction is the current one */
	c->nest_level = GetCurrentTransactionNestLevel();
	runops_conn_wait_begin(c->timeout_ms);
}

/*
 * The remote transaction has begun.
 */
void
runops_conn_answered(void)
{
	runops_conn_wait_end();
}

/*
 * Register a connection with libpq's events, and our transaction callbacks.
 */
static Connection *
remember(PGconn *conn, Oid umid)
{
	Connection *c;

	if (!callbacks_registered)
	{
		/* registered after those of postgres_fdw, so called before them */
		RegisterXactCallback(xact_callback, NULL);
		RegisterSubXactCallback(subxact_callback, NULL);
		CacheRegisterSyscacheCallback(FOREIGNSERVEROID, mark_stale, (Datum) 0);
		CacheRegisterSyscacheCallback(USERMAPPINGOID, mark_stale, (Datum) 0);
		callbacks_registered = true;
	}

	c = MemoryContextAllocZero(TopMemoryContext, sizeof(Connection));
	c->conn = conn;
	c->umid = umid;
	if (!PQregisterEventProc(conn, connection_event, "runops", NULL) ||
		!PQsetInstanceData(conn, connection_event, c))
	{
		pfree(c);
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	}
	dlist_push_head(&connections, &c->node);

	return c;
}

/*
 * Ask a connection of postgres_fdw, within the time that connecting may take.
 * Returns whether it is a standby.
 */
static bool
ask_pgfdw_connection(Connection *c, Oid serverid, Oid userid, Oid relid)
{
	RemoteSession session = {0};
	volatile bool standby = false;

	session.conn = c->conn;
	session.server = GetForeignServer(serverid);
	session.store = session.server->servername;
	session.user = GetUserMapping(userid, serverid);
	c->timeout_ms = runops_remote_set_deadline(&session);

	PG_TRY();
	{
		standby = ask_connection(&session, relid);
	}
	PG_FINALLY();
	{
		PQclear(session.res);
	}
	PG_END_TRY();

	return standby;
}

/*
 * Was the server of a connection promoted since the connection was asked?
 *
 * A promoted standby keeps its sessions.  It reports the promotion to each
 * session at the end of the next command.  A command was just sent:
 * postgres_fdw has begun a transaction, or else the remote snapshot is older
 * than the promotion.
 */
static bool
was_promoted(PGconn *conn)
{
	const char *status = PQparameterStatus(conn, "in_hot_standby");

	return status != NULL && strcmp(status, "off") == 0;
}

/*
 * Ask a connection that postgres_fdw has just taken, unless it was asked
 * before.  Raises if it is another database than the proved one.
 *
 * conn is NULL if the states of postgres_fdw could not be read.  Then no
 * connection is remembered, and runops_conn_prepare() asks its own connection
 * each time.
 */
void
runops_conn_check(PGconn *conn, const RunopsStoreUse *use)
{
	Connection *c;

	runops_conn_answered();
	if (conn == NULL)
		return;

	/* register it first, so that a cancel during the question ends in time */
	c = PQinstanceData(conn, connection_event);
	if (c == NULL)
	{
		c = remember(conn, mapping_oid(use->userid, use->serverid));
		if (OidIsValid(use->relid))
		{
			runops_stats_add(use->relid, RUNOPS_CONNECTIONS_OPENED, 1);
			/* BEGIN was sent on it */
			runops_stats_add(use->relid, RUNOPS_TURNS, 1);
		}
	}
	c->turns = runops_stats_counter(use->relid, RUNOPS_TURNS);
	c->nest_level = GetCurrentTransactionNestLevel();
	if (!c->asked)
	{
		c->changes = runops_sentinel_changes(use->serverid);
		c->reading = RecoveryInProgress();
		c->standby = ask_pgfdw_connection(c, use->serverid, use->userid, use->relid);
		c->asked = true;
	}
	else if (c->standby && was_promoted(conn))
		close_gate(use->serverid, use->relid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_RECOVERY,
				   _("The server was proved as a standby, but was promoted later."));
	c->stale = false;
	if (on_use != NULL)
		on_use(conn, use->serverid, use->userid);
}

/*
 * Set the callback for each connection that is about to be used; NULL removes
 * it.  The callback may raise.
 */
void
runops_conn_on_use(RunopsConnected callback)
{
	on_use = callback;
}
