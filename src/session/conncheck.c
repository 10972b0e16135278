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

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"
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
 * Ask one connection; raises if it does not answer, or is another database.
 * Returns whether it is a standby.
 */
bool
runops_conn_compare(RemoteSession *session, Oid relid)
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
