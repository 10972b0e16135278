/*-------------------------------------------------------------------------
 *
 * conncheck.c
 *	  Asks every new connection of postgres_fdw which database it has reached,
 *	  before it is used.
 *
 * A proof is about a server as it was: meanwhile its name may lead elsewhere, a
 * standby may have been promoted or a primary demoted.  So the first statement
 * on a connection, in the remote transaction that postgres_fdw has begun, asks
 * for the fingerprint, and one that differs from the proof's closes the gate.
 * libpq keeps the mark that a connection was asked, and tells when it ends.
 *
 * postgres_fdw connects without listening to a cancel, and as long as it takes
 * unless the server says otherwise.  Where it is about to connect, a connection
 * of our own is made first: that one can be cancelled, gives up in time, and is
 * asked the same.
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

/* One connection; lives as long as libpq's. */
typedef struct Connection
{
	dlist_node	node;			/* in connections */
	PGconn	   *conn;
	Oid			umid;			/* the user mapping that it is for */
	bool		asked;			/* and is it what was proved? */
	bool		standby;		/* was it in recovery then? */
	bool		stale;			/* was server or mapping altered? */
	uint64		changes;		/* runops_sentinel_changes() when it was asked */
	int			nest_level;		/* of the transaction that used it last */
	int			timeout_ms;		/* what connecting may take; 0 is for ever */
	pg_atomic_uint64 *turns;	/* of the table that used it last; may be NULL */
	bool		rolled_back;	/* was the last result that of a ROLLBACK? */
} Connection;

static dlist_head connections = DLIST_STATIC_INIT(connections);
static bool callbacks_registered = false;

/* When this transaction has first used a server; in TopTransactionContext. */
typedef struct FirstUse
{
	Oid			serverid;
	uint64		stamp;			/* as control_plane/cache.h has it */
} FirstUse;

static List *first_uses = NIL;

/* What sets a connection up that is about to be used; NULL if nothing is. */
static RunopsConnected on_use = NULL;

/* The connection that postgres_fdw is going to use, if there is one. */
static Connection *next_connection = NULL;

/* What the last error of a store has said. */
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
 * What the last error of a store has said, if it is the current error.
 */
const RunopsStoreError *
runops_conn_error(void)
{
	return &last_error;
}

/*
 * libpq tells that something happens to a connection.
 *
 * A result is the answer to what postgres_fdw has sent, one thing at a time: a
 * turn.  The one exception is ROLLBACK TO SAVEPOINT, which it sends together with
 * the RELEASE.  A result of COPY is an answer to nothing that is sent, and
 * postgres_fdw would take it without end.
 *
 * This is called in the middle of libpq, and must not raise.
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
 * A server or a user mapping was altered: the connections that are not in use
 * will be made anew.
 */
static void
mark_stale(Datum arg, int cacheid, uint32 hashvalue)
{
	dlist_iter	iter;

	dlist_foreach(iter, &connections)
		dlist_container(Connection, node, iter.cur)->stale = true;
}

/*
 * End the queries of a transaction that is aborted.
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
 * The same for a subtransaction, on the connections that were used in it.
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
 * The OID of the mapping of a user for a server, or of PUBLIC's, or invalid.
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
 * The server was proved to lead to another database since a connection was
 * asked, and somebody wants it so: the connection still leads to the old one.
 *
 * It is cut, so that postgres_fdw makes another; in the middle of a transaction
 * that would be too late.
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
				 errdetail("Its server was proved to lead to another database since the transaction began to use it."),
				 errhint("Repeat the transaction.")));

	if (PQsocket(c->conn) >= 0)
		(void) shutdown(PQsocket(c->conn), SHUT_RDWR);
}

/*
 * The connection for a mapping that postgres_fdw is going to use, or NULL.
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
		if (c->changes != runops_sentinel_changes(serverid) &&
			PQstatus(c->conn) == CONNECTION_OK)
			cut_connection(c, serverid, relid);
		/* in a remote transaction it is used, however it fares */
		if (PQtransactionStatus(c->conn) != PQTRANS_IDLE &&
			PQstatus(c->conn) == CONNECTION_OK)
			return c;
		if (!c->stale && !runops_conn_is_dead(c->conn))
			return c;
	}

	return NULL;
}

/*
 * Close the gate to a server, and raise.
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
 * Compare what a connection has answered with what was proved; raises if it is
 * another database.
 */
static void
compare_identity(Oid serverid, Oid relid, const RunopsIdentity *now,
				 bool lock_obtained)
{
	RunopsProofState proved;
	char		reason[RUNOPS_REASON_LEN];

	/*
	 * Closed since the gate was asked, or altered: nothing says of what was
	 * reached that it may be used.
	 */
	if (!runops_sentinel_peek(serverid, &proved))
	{
		proved.cause = RUNOPS_CAUSE_UNREACHABLE;
		strlcpy(proved.reason, _("The server was altered while a connection to it was made."),
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
				 _("The server was proved with system identifier " UINT64_FORMAT ", and a new connection reached " UINT64_FORMAT "."),
				 proved.identity.sysid, now->sysid);
		close_gate(serverid, relid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_CHANGED, reason);
	}
	if (strcmp(now->database, proved.identity.database) != 0)
	{
		snprintf(reason, sizeof(reason),
				 _("The server was proved with database \"%s\", and a new connection reached \"%s\"."),
				 proved.identity.database, now->database);
		close_gate(serverid, relid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_CHANGED, reason);
	}
	if (now->in_recovery != proved.identity.in_recovery)
		close_gate(serverid, relid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_RECOVERY,
				   now->in_recovery ?
				   _("The server was proved as a primary, and a new connection reached a standby.") :
				   _("The server was proved as a standby, and a new connection reached a primary."));
}

/*
 * Ask one connection; raises if it does not answer, or is another database.  Is
 * it a standby?
 */
static bool
ask_connection(RemoteSession *session, Oid relid)
{
	RunopsIdentity identity;
	RemoteFailure failure;
	LOCKTAG		tag;
	uint64		key;
	bool		lock_obtained;
	bool		answered;

	if (!pg_strong_random(&key, sizeof(key)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));

	runops_lock_tag(key, &tag);
	LockAcquire(&tag, ExclusiveLock, false, false);
	answered = runops_ask_identity(session, key, &identity, &lock_obtained,
								   &failure);
	LockRelease(&tag, ExclusiveLock, false);

	if (!answered)
		runops_remote_raise(&failure);

	compare_identity(session->server->serverid, relid, &identity, lock_obtained);

	return identity.in_recovery;
}

/*
 * At the end of a transaction: no server was used.
 */
static void
forget_first_uses(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		first_uses = NIL;
}

/*
 * The stamp of before this transaction used a server for the first time, and so of
 * before its snapshot there; PG_UINT64_MAX if it has not.
 *
 * postgres_fdw has one snapshot in a transaction, whatever the isolation level.
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
 * Ask a connection of our own, which has just been made, whether it has reached
 * what was proved; raises if not.
 */
void
runops_conn_ask(RemoteSession *session)
{
	(void) ask_connection(session, InvalidOid);
}

/*
 * Make sure that postgres_fdw, which is about to work for a user on a server, can
 * connect if it has to; raises if not.
 */
void
runops_conn_prepare(const RunopsStoreUse *use)
{
	Oid			umid = mapping_oid(use->userid, use->serverid);
	RemoteSession session = {0};
	RemoteFailure failure;

	note_use(use->serverid);

	/* without a mapping postgres_fdw says so */
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
 * runops_conn_prepare() has found, unless it has done so: give the store no
 * longer for that than connecting may take.
 *
 * runops_conn_answered() or runops_conn_check() follows, or an error, in whose
 * context fdw/error_context.c has to be.
 */
void
runops_conn_await(void)
{
	Connection *c = next_connection;

	if (c == NULL || PQtransactionStatus(c->conn) != PQTRANS_IDLE)
		return;

	/* the subtransaction that fails, if it does, is this one */
	c->nest_level = GetCurrentTransactionNestLevel();
	runops_conn_wait_begin(c->timeout_ms);
}

/*
 * The transaction has begun.
 */
void
runops_conn_answered(void)
{
	runops_conn_wait_end();
}

/*
 * Have libpq tell about a connection, and tell us about our transactions.
 */
static Connection *
remember(PGconn *conn, Oid umid)
{
	Connection *c;

	if (!callbacks_registered)
	{
		/* called before those of postgres_fdw, which stand by now */
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
 * Ask a connection of postgres_fdw, within the time that connecting may take.  Is
 * it a standby?
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
 * Was the server at the other end of a connection promoted since it was asked?
 *
 * A promoted standby keeps its sessions.  It tells each of them with the end of
 * the next command, and one was just sent: postgres_fdw has begun a transaction,
 * or else the snapshot there is from before.
 */
static bool
was_promoted(PGconn *conn)
{
	const char *status = PQparameterStatus(conn, "in_hot_standby");

	return status != NULL && strcmp(status, "off") == 0;
}

/*
 * Ask a connection that postgres_fdw has just taken, unless it was asked before;
 * raises if it is another database than was proved.
 *
 * conn is NULL where postgres_fdw's states could not be read: then there is
 * nothing to remember, and runops_conn_prepare() asks on its own connection each
 * time.
 */
void
runops_conn_check(PGconn *conn, const RunopsStoreUse *use)
{
	Connection *c;

	runops_conn_answered();
	if (conn == NULL)
		return;

	/* remembered first, so that a cancel while it is asked ends in time */
	c = PQinstanceData(conn, connection_event);
	if (c == NULL)
	{
		c = remember(conn, mapping_oid(use->userid, use->serverid));
		if (OidIsValid(use->relid))
		{
			runops_stats_add(use->relid, RUNOPS_CONNECTIONS_OPENED, 1);
			/* a transaction has been begun on it */
			runops_stats_add(use->relid, RUNOPS_TURNS, 1);
		}
	}
	c->turns = runops_stats_counter(use->relid, RUNOPS_TURNS);
	c->nest_level = GetCurrentTransactionNestLevel();
	if (!c->asked)
	{
		c->changes = runops_sentinel_changes(use->serverid);
		c->standby = ask_pgfdw_connection(c, use->serverid, use->userid, use->relid);
		c->asked = true;
	}
	else if (c->standby && was_promoted(conn))
		close_gate(use->serverid, use->relid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_RECOVERY,
				   _("The server was proved as a standby, and has been promoted since."));
	c->stale = false;
	if (on_use != NULL)
		on_use(conn, use->serverid, use->userid);
}

/*
 * Have a function called with each connection that is about to be used, or with
 * NULL no more.  It may raise.
 */
void
runops_conn_on_use(RunopsConnected callback)
{
	on_use = callback;
}
