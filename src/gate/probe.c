/*-------------------------------------------------------------------------
 *
 * probe.c
 *	  Asks the server of a store which database it is, and finds out whether it
 *	  differs from this database and from those of the other stores.
 *
 * The fingerprint, which is the system identifier and the database name, is
 * not enough: the user may lack the privilege to read it, and a restored base
 * backup keeps the identifier.  The proof is a lock.  While this backend holds
 * an advisory lock under a random key, the same database cannot grant that
 * lock again, whatever name it is reached by; another database can.  Both
 * locks belong to transactions, and the remote one is taken in the statement
 * that reads the fingerprint, because a transaction pooler does not keep the
 * session for us.
 *
 * A standby has locks of its own, so the lock proves nothing if one of the two
 * servers is in recovery.  In that case only the fingerprints count.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_foreign_server.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"

#include "gate/gate_int.h"

/*
 * Fill in the verdict on a server that could not be asked.
 */
static void
verdict_failed(RunopsProofState *state, const RemoteFailure *failure)
{
	char	   *text = failure->detail ?
		psprintf("%s: %s", failure->message, failure->detail) :
		pstrdup(failure->message);
	int			category = ERRCODE_TO_CATEGORY(failure->sqlerrcode);
	int			len;

	/* make it one line and one sentence */
	len = 0;
	for (const char *p = text; *p; p++)
	{
		if (isspace((unsigned char) *p))
		{
			if (len > 0 && text[len - 1] != ' ')
				text[len++] = ' ';
		}
		else
			text[len++] = *p;
	}
	text[len] = '\0';
	text[0] = pg_toupper((unsigned char) text[0]);
	len = pg_mbcliplen(text, len, RUNOPS_REASON_LEN - 2);
	text[len] = '\0';
	if (len > 0 && strchr(".?!", text[len - 1]) == NULL)
		text = psprintf("%s.", text);

	runops_set_verdict(state, RUNOPS_UNKNOWN,
					   category == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION ||
					   failure->sqlerrcode == ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED ?
					   RUNOPS_CAUSE_MAPPING : RUNOPS_CAUSE_UNREACHABLE, text);
}

/*
 * Ask the connected server for the fingerprint of its database and the record
 * of its owner, and try to take the lock there.  Returns false, with the
 * reason, if there is no answer.
 *
 * question may be NULL: then the owner is not asked for.
 *
 * The preamble of the session travels in front of the question.  The system
 * identifier and the incarnation of the server stay with the session.
 *
 * *collations is the answer about the collations of the database, or NULL; see
 * collations.c.  The session gets the PID of the process that has answered too.
 */
bool
runops_ask_identity(RemoteSession *session, uint64 lock_key,
					const RunopsOwnerQuestion *question,
					RunopsIdentity *identity, bool *lock_obtained,
					RunopsOwner *owner, char **collations,
					RemoteFailure *failure)
{
	int64		sysid = 0;
	int64		pid = 0;
	const char *owner_from;
	const char *owner_columns = runops_owner_columns(session, question, &owner_from);

	if (!runops_remote_try_query(session,
								 psprintf("%sSELECT " RUNOPS_SYSID_SQL ","
										  " pg_catalog.current_database(), pg_catalog.pg_is_in_recovery(),"
										  " pg_catalog.pg_try_advisory_xact_lock(" INT64_FORMAT "), %s, %s, " RUNOPS_INCARNATION_SQL ","
										  " pg_catalog.pg_backend_pid()%s",
										  session->preamble ? session->preamble : "",
										  (int64) lock_key, owner_columns, runops_collations_sql(), owner_from),
								 9, failure))
		return false;

	memset(identity, 0, sizeof(RunopsIdentity));
	identity->sysid_known = !PQgetisnull(session->res, 0, 0);
	if (identity->sysid_known &&
		!runops_remote_get_int64(session, 0, &sysid, failure))
		return false;
	identity->sysid = (uint64) sysid;
	session->sysid_known = identity->sysid_known;
	session->sysid = identity->sysid;
	strlcpy(session->incarnation, PQgetvalue(session->res, 0, 7), RUNOPS_INCARNATION_LEN);

	*collations = NULL;
	if (!PQgetisnull(session->res, 0, 6))
	{
		char	   *answer = runops_remote_value(session, session->res, 0, 6, failure);

		if (answer == NULL)
			return false;
		*collations = pstrdup(answer);
	}
	identity->collations = runops_collations_number(*collations);

	if (!runops_remote_get_int64(session, 8, &pid, failure))
		return false;
	session->backend_pid = (int) pid;

	return runops_remote_get_name(session, 1, identity->database, failure) &&
		runops_remote_get_bool(session, 2, &identity->in_recovery, failure) &&
		runops_remote_get_bool(session, 3, lock_obtained, failure) &&
		runops_owner_answer(session, 4, owner, failure);
}

/*
 * Try to take the lock in the transaction that is open on the remote server.
 */
static bool
take_lock(RemoteSession *session, uint64 lock_key, RemoteFailure *failure)
{
	bool		taken = false;

	return runops_remote_try_query(session,
								   psprintf("SELECT pg_catalog.pg_try_advisory_xact_lock(" INT64_FORMAT ")",
											(int64) lock_key), 1, failure) &&
		runops_remote_get_bool(session, 0, &taken, failure) && taken;
}

/*
 * The tag of the advisory lock taken by pg_try_advisory_xact_lock(bigint).
 */
void
runops_lock_tag(uint64 key, LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, 1);
}

/*
 * Compare a server that is distinct from the control plane with the server of
 * another store.  Returns false, with the verdict filled in, unless they are
 * distinct.
 *
 * Different fingerprints are proof enough.  Otherwise one server holds a lock
 * while the other tries to take it.
 */
static bool
compare_stores(RemoteSession *session, const RunopsIdentity *identity,
			   const RunopsStore *other, const RunopsProofState *other_state,
			   RunopsProbe *probe)
{
	RemoteSession other_session = {0};
	RunopsIdentity other_identity;
	RunopsOwner owner;
	RemoteFailure failure;
	char	   *collations;
	bool		obtained = false;
	volatile bool answered = false;
	bool		same;
	uint64		key;

	if (identity->sysid_known && other_state->identity.sysid_known &&
		!runops_identity_equal(identity, &other_state->identity))
		return true;

	other_session.store = (char *) other->store;
	other_session.server = GetForeignServer(other->serverid);
	other_session.user = runops_remote_mapping(session->user->userid, other->serverid);

	if (!pg_strong_random(&key, sizeof(key)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));

	PG_TRY();
	{
		if (other_session.user != NULL &&
			runops_remote_try_open(&other_session, &failure) &&
			runops_remote_try_query(session, "BEGIN", 0, &failure) &&
			take_lock(session, key, &failure) &&
			runops_ask_identity(&other_session, key, NULL, &other_identity, &obtained, &owner, &collations, &failure) &&
			runops_remote_try_query(session, "ROLLBACK", 0, &failure))
			answered = true;
	}
	PG_FINALLY();
	{
		runops_remote_close(&other_session);
	}
	PG_END_TRY();

	if (!answered)
	{
		runops_set_verdict(&probe->state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_NO_PROOF,
						   psprintf(_("The server could not be distinguished from server \"%s\" of store \"%s\"."),
									other_session.server->servername, other->store));
		return false;
	}

	same = other_identity.in_recovery ? runops_identity_equal(identity, &other_identity) : !obtained;
	if (!same)
		return true;

	probe->twin = other->serverid;
	runops_set_verdict(&probe->state, RUNOPS_SAME, RUNOPS_CAUSE_OTHER_STORE,
					   psprintf(_("The server is the database of store \"%s\", server \"%s\"."),
								other->store, other_session.server->servername));

	return false;
}

/*
 * The verdict on another server when this probe began; NULL if there was none.
 */
static const RunopsProofState *
find_peer(const RunopsProbeRequest *request, Oid serverid)
{
	ListCell   *lc;

	foreach(lc, request->peers)
	{
		RunopsPeer *peer = (RunopsPeer *) lfirst(lc);

		if (peer->serverid == serverid)
			return &peer->state;
	}

	return NULL;
}

/*
 * Compare a store's server with the identified servers of all other stores,
 * until one is not distinct.
 *
 * Two stores may share a database if they do not share tables.
 */
static void
compare_all_stores(RemoteSession *session, const RunopsProbeRequest *request,
				   RunopsProbe *probe)
{
	const RunopsStore *store = request->store;
	ListCell   *lc;

	foreach(lc, request->stores)
	{
		RunopsStore *other = (RunopsStore *) lfirst(lc);
		const RunopsProofState *other_state;

		if (other == store || !OidIsValid(other->serverid))
			continue;
		if (!runops_stores_meet(store, other))
		{
			probe->compared = lappend_oid(probe->compared, other->serverid);
			continue;
		}
		if (other->serverid == store->serverid)
		{
			runops_set_verdict(&probe->state, RUNOPS_SAME, RUNOPS_CAUSE_OTHER_STORE,
							   psprintf(_("The server is also the database of store \"%s\"."), other->store));
			return;
		}
		other_state = find_peer(request, other->serverid);
		if (list_member_oid(probe->compared, other->serverid) ||
			other_state == NULL || !other_state->identity_known ||
			other_state->cause == RUNOPS_CAUSE_CONTROL_PLANE)
			continue;
		if (!compare_stores(session, &probe->state.identity, other, other_state, probe))
			return;
		probe->compared = lappend_oid(probe->compared, other->serverid);
	}
}

/*
 * Ask a connected server and decide on it.
 */
static void
probe_session(RemoteSession *session, const RunopsProbeRequest *request,
			  RunopsProbeFacts *facts, RunopsProbe *probe, RemoteFailure *failure)
{
	RunopsProofState *state = &probe->state;
	RunopsOwner owner;
	LOCKTAG		tag;
	uint64		key;
	char	   *collations;
	bool		answered;

	if (!pg_strong_random(&key, sizeof(key)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));

	runops_lock_tag(key, &tag);
	LockAcquire(&tag, ExclusiveLock, false, false);
	answered = runops_ask_identity(session, key, &request->question, &facts->there,
								   &facts->lock_obtained, &owner, &collations, failure);
	LockRelease(&tag, ExclusiveLock, false);

	if (!answered)
	{
		verdict_failed(state, failure);
		return;
	}

	/* was this server promoted since the probe began? */
	facts->here.in_recovery |= RecoveryInProgress();
	state->identity_known = true;
	state->identity = facts->there;
	runops_collations_compare(collations, &state->collations);
	runops_judge(facts, state);

	if (state->verdict == RUNOPS_DISTINCT && probe->pairwise)
		compare_all_stores(session, request, probe);
	if (state->verdict == RUNOPS_DISTINCT)
		runops_owner_check(session, request, &owner, state);
}

/*
 * Connect to a server, ask it, and decide on it.
 */
static void
ask_server(RemoteSession *session, const RunopsProbeRequest *request,
		   RunopsProbeFacts *facts, RunopsProbe *probe)
{
	RemoteFailure failure = {0};

	PG_TRY();
	{
		if (runops_remote_try_open(session, &failure))
			probe_session(session, request, facts, probe, &failure);
		else
			verdict_failed(&probe->state, &failure);
	}
	PG_CATCH();
	{
		runops_remote_close(session);
		PG_RE_THROW();
	}
	PG_END_TRY();
	runops_remote_close(session);
	probe->timed_out = failure.timed_out;
}

/*
 * Find the verdict on a server by asking it.
 *
 * A server that cannot be asked raises no error, because that is a verdict
 * too.  Local errors are raised, and so is a cancel.
 */
void
runops_probe(const RunopsProbeRequest *request, RunopsProbe *probe)
{
	const RunopsStore *store = request->store;
	RunopsProbeFacts facts = {0};
	RemoteSession session = {0};

	memset(probe, 0, sizeof(RunopsProbe));
	probe->pairwise = store != NULL && !request->is_reader;
	session.server = GetForeignServer(request->serverid);
	session.store = store ? (char *) store->store : session.server->servername;
	session.user = request->user;

	if (session.user == NULL)
	{
		runops_set_verdict(&probe->state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_MAPPING,
						   psprintf(_("There is no user mapping for server \"%s\" to ask it with."),
									session.server->servername));
		return;
	}

	runops_local_identity(&facts.here);
	facts.is_reader = request->is_reader;
	facts.writer_known = request->writer_known;
	facts.writer = request->writer;
	ask_server(&session, request, &facts, probe);
}
