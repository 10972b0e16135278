/*-------------------------------------------------------------------------
 *
 * sentinel.c
 *	  Returns the verdict on a server, from shared memory or by a probe.
 *
 * "distinct" stands until the options of the server change, until a connection
 * meets another database (session/conncheck.c), or until this server is
 * promoted.  Any other verdict is used only by the backends that have waited
 * for it.  The next backend probes again, so that the gate opens as soon as it
 * can.
 *
 * What is known about the collations of the proved database stays known if the
 * server does not answer later, because planning needs it.  A new connection
 * compares it (session/conncheck.c).  When it changes, the plans that may rely
 * on it are made again.
 *
 * Only one backend probes a server at a time; the others wait for it.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/table.h"
#include "catalog/pg_foreign_server.h"
#include "commands/defrem.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/shmem.h"
#include "gate/gate_int.h"

/*
 * A backend's entry for a server, so that the gate costs one read of shared
 * memory.
 */
typedef struct CachedServer
{
	Oid			serverid;		/* hash key, first */
	bool		valid;
	bool		in_recovery;	/* was this server in recovery? */
	uint64		hash;			/* hash of what a verdict depends on */
	RunopsProof *proof;			/* NULL until it was looked up */
} CachedServer;

/* how often a reader with other collations than its writer is asked again */
#define ASK_READER_MS 60000

/* the two lowest bits of a stamp are the verdict */
#define STAMP(hash, verdict) (((hash) & ~UINT64CONST(3)) | (uint64) (verdict))

static HTAB *servers = NULL;

static void forget_roles(void);

/* these tables say which stores use a server */
static RunopsConfigCache store_table = {.table = "store_config", .forget = forget_roles};
static RunopsConfigCache routed_table = {.table = "table_config", .forget = forget_roles};

/*
 * Syscache callback: forget the options of the servers.
 */
static void
forget_servers(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS scan;
	CachedServer *entry;

	runops_collations_forget();
	hash_seq_init(&scan, servers);
	while ((entry = (CachedServer *) hash_seq_search(&scan)) != NULL)
		entry->valid = false;
}

/*
 * Stores or routed tables have changed, so the roles of servers may have
 * changed.
 */
static void
forget_roles(void)
{
	if (servers != NULL)
		forget_servers((Datum) 0, 0, 0);
}

/*
 * Append the roles of a server: the stores that it is writer or reader of.  A
 * proof holds only for these roles, because a server is compared with other
 * servers only as its roles require.
 *
 * Stores in one schema are compared in any case, so they are not appended.
 */
static void
append_roles(StringInfo buf, Oid serverid)
{
	List	   *stores;
	ListCell   *lc;

	table_close(runops_config_cache_open(&store_table), AccessShareLock);
	table_close(runops_config_cache_open(&routed_table), AccessShareLock);

	stores = runops_stores();
	foreach(lc, stores)
	{
		RunopsStore *store = (RunopsStore *) lfirst(lc);
		ListCell   *lc2;

		if (store->readerid == serverid)
			appendStringInfo(buf, " reader %s %u", store->store, store->serverid);
		if (store->serverid != serverid)
			continue;
		appendStringInfo(buf, " writer %s %zu %s", store->store,
						 strlen(store->remote_schema), store->remote_schema);
		foreach(lc2, stores)
		{
			RunopsStore *other = (RunopsStore *) lfirst(lc2);

			if (strcmp(other->remote_schema, store->remote_schema) != 0 &&
				runops_stores_meet(store, other))
				appendStringInfo(buf, " meets %s %u", other->store, other->serverid);
		}
	}
}

/*
 * Hash of everything that a verdict on a server depends on: its options, its
 * roles, and whether this server is in recovery.
 */
static uint64
options_hash(Oid serverid)
{
	ForeignServer *server = GetForeignServer(serverid);
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%u %u %d", MyDatabaseId, serverid, RecoveryInProgress());
	append_roles(&buf, serverid);
	runops_collations_append(&buf, forget_roles);
	foreach(lc, server->options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);
		char	   *value = defGetString(def);

		appendStringInfo(&buf, " %s %zu %s", def->defname, strlen(value), value);
	}

	return hash_bytes_extended((unsigned char *) buf.data, buf.len, 0);
}

/*
 * The backend's entry for a server, up to date.
 */
static CachedServer *
cached_server(Oid serverid)
{
	CachedServer *entry;
	bool		found;

	if (servers == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(CachedServer);
		ctl.hcxt = CacheMemoryContext;
		servers = hash_create("runops servers", 16, &ctl,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		CacheRegisterSyscacheCallback(FOREIGNSERVEROID, forget_servers, (Datum) 0);
	}

	entry = hash_search(servers, &serverid, HASH_ENTER, &found);
	if (!found)
	{
		entry->valid = false;
		entry->proof = NULL;
	}
	if (!entry->valid || (entry->in_recovery && !RecoveryInProgress()))
	{
		/* set it first, because the lookup may process an invalidation */
		entry->valid = true;
		entry->in_recovery = RecoveryInProgress();
		entry->hash = options_hash(serverid);
	}

	return entry;
}

/*
 * End the probe of this backend: others may begin one, or use its verdict.
 */
static void
end_probe(int code, Datum arg)
{
	RunopsProof *proof = (RunopsProof *) DatumGetPointer(arg);

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	Assert(proof->prober == MyProcPid);
	proof->prober = 0;
	LWLockRelease(runops_shared->lock);
	ConditionVariableBroadcast(&proof->probed);
}

/*
 * Compute the hash for the server of each store before the lock is taken,
 * because no catalog may be read under the lock.
 */
static void
refresh_servers(List *stores)
{
	ListCell   *lc;

	foreach(lc, stores)
	{
		RunopsStore *store = (RunopsStore *) lfirst(lc);

		if (OidIsValid(store->serverid))
			cached_server(store->serverid);
	}
}

/*
 * Is there a server of another store that was not compared with the one just
 * probed, because it was probed at the same time?  The caller holds the lock.
 */
static bool
any_uncompared(Oid serverid, List *stores, List *compared)
{
	ListCell   *lc;

	foreach(lc, stores)
	{
		RunopsStore *other = (RunopsStore *) lfirst(lc);
		CachedServer *entry;
		RunopsProof *proof;

		if (!OidIsValid(other->serverid) || other->serverid == serverid ||
			list_member_oid(compared, other->serverid))
			continue;
		entry = hash_search(servers, &other->serverid, HASH_FIND, NULL);
		proof = runops_shmem_find_proof(other->serverid);
		if (entry != NULL && proof != NULL && proof->hash == entry->hash &&
			proof->state.identity_known &&
			proof->state.cause != RUNOPS_CAUSE_CONTROL_PLANE)
			return true;
	}

	return false;
}

/*
 * Do two fingerprints have the same cluster and database?
 */
static bool
same_database(const RunopsIdentity *a, const RunopsIdentity *b)
{
	return a->sysid_known == b->sysid_known && a->sysid == b->sysid &&
		strcmp(a->database, b->database) == 0;
}

/*
 * Do two fingerprints of a database have records of different owners?
 *
 * A connection that was made before the first record counts as one of its
 * owner.
 */
static bool
other_claim(const RunopsIdentity *a, const RunopsIdentity *b)
{
	return a->claim != 0 && b->claim != 0 && a->claim != b->claim;
}

/*
 * Write what is known about the collations of a server's database.  Returns
 * whether plans rely on something that is not so, or is not so any more.  The
 * caller holds the lock, and calls replan() afterwards.
 *
 * If the hash is another one, the list of collations was another one, or the
 * server was altered.  Then the catalogs have invalidated the plans, and all
 * that new plans rely on is what runops_collation_has_same_equality() assumes.
 */
static bool
set_collations(RunopsProof *proof, uint64 hash, const RunopsCollations *now)
{
	bool		lost = proof->collations_hash == hash ?
		!runops_collations_include(now, &proof->collations) : now->surprises;

	if (lost)
		proof->collations_lost = DT_NOEND;
	proof->collations = *now;
	proof->collations_hash = hash;

	return lost;
}

/*
 * Make every backend plan again what uses the tables of a server whose
 * collations were set.
 */
static void
replan(RunopsProof *proof, List *tables)
{
	runops_collations_replan(tables);

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	if (proof->collations_lost == DT_NOEND)
		proof->collations_lost = GetCurrentTimestamp();
	LWLockRelease(runops_shared->lock);
}

/*
 * Write a verdict into shared memory.  Returns whether something else is known
 * about the server's collations than before; then the caller calls replan().
 * The caller holds the lock.
 */
static bool
store_verdict(RunopsProof *proof, uint64 hash, const RunopsProofState *state)
{
	TimestampTz since = proof->state.since;
	bool		other_collations;
	bool		lost;

	if (proof->state.verdict != state->verdict || since == 0)
		since = state->checked_at;

	pg_atomic_write_u64(&proof->stamp, 0);
	proof->state = *state;
	proof->state.since = since;
	proof->hash = hash;
	if (state->verdict != RUNOPS_DISTINCT)
		return false;

	other_collations = proof->collations_hash != hash ||
		proof->proved.collations != state->identity.collations;
	lost = set_collations(proof, hash, &state->collations);
	if (lost || !same_database(&proof->proved, &state->identity) ||
		other_claim(&proof->proved, &state->identity))
		pg_atomic_fetch_add_u64(&proof->changes, 1);
	proof->proved = state->identity;
	pg_atomic_write_u64(&proof->stamp, STAMP(hash, RUNOPS_DISTINCT));

	return other_collations;
}

/*
 * Close the gate to a server that has the same database as another store's
 * server.  Being proved first does not make a server the right one.  The
 * caller holds the lock.
 */
static void
close_twin(Oid serverid, TimestampTz now)
{
	RunopsProof *proof = runops_shmem_find_proof(serverid);
	RunopsProofState state;

	if (proof == NULL || proof->state.verdict != RUNOPS_DISTINCT)
		return;

	state = proof->state;
	state.verdict = RUNOPS_SAME;
	state.cause = RUNOPS_CAUSE_OTHER_STORE;
	state.checked_at = now;
	strlcpy(state.reason, _("Another store's server has the same database."),
			RUNOPS_REASON_LEN);
	(void) store_verdict(proof, proof->hash, &state);
}

/*
 * If a connection has met another database than the proved one, do not accept
 * that database only because it is distinct.  A user must confirm it by
 * recheck() or by ALTER SERVER.  The caller holds the lock.
 */
static void
keep_changed(const RunopsProof *proof, uint64 hash, RunopsProofState *state)
{
	if (proof->hash != hash || proof->state.cause != RUNOPS_CAUSE_CHANGED ||
		same_database(&proof->state.identity, &state->identity))
		return;

	state->verdict = proof->state.verdict;
	state->cause = proof->state.cause;
	state->identity = proof->state.identity;
	strlcpy(state->reason, proof->state.reason, RUNOPS_REASON_LEN);
}

/*
 * Publish the result of a probe.  Returns false if another server was
 * identified since the probe began, because this one must be compared with it
 * first.
 */
static bool
publish(RunopsProof *proof, uint64 hash, UserMapping *user, List *stores,
		bool force, RunopsProbe *probe)
{
	RunopsProofState *state = &probe->state;
	List	   *tables = runops_collations_tables(proof->serverid);
	bool		changed;

	refresh_servers(stores);
	state->checked_at = GetCurrentTimestamp();

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	if (state->verdict == RUNOPS_DISTINCT && probe->pairwise &&
		any_uncompared(proof->serverid, stores, probe->compared))
	{
		LWLockRelease(runops_shared->lock);
		return false;
	}
	if (!force && state->verdict == RUNOPS_DISTINCT)
		keep_changed(proof, hash, state);
	changed = store_verdict(proof, hash, state);
	state->since = proof->state.since;
	proof->probes++;
	proof->umid = user ? user->umid : InvalidOid;
	proof->for_mapping = !probe->timed_out;
	if (OidIsValid(probe->twin))
		close_twin(probe->twin, state->checked_at);
	LWLockRelease(runops_shared->lock);
	if (changed)
		replan(proof, tables);

	return true;
}

/*
 * The store that a server is the writer of, or else the store that it is the
 * reader of; NULL if there is none.  Of several stores it is always the same
 * one, the first by name.
 */
RunopsStore *
runops_server_store(List *stores, Oid serverid, bool *is_reader)
{
	RunopsStore *writer = NULL;
	RunopsStore *reader = NULL;
	ListCell   *lc;

	foreach(lc, stores)
	{
		RunopsStore *store = (RunopsStore *) lfirst(lc);

		if (store->serverid == serverid &&
			(writer == NULL || strcmp(store->store, writer->store) < 0))
			writer = store;
		if (store->readerid == serverid &&
			(reader == NULL || strcmp(store->store, reader->store) < 0))
			reader = store;
	}
	*is_reader = writer == NULL && reader != NULL;

	return writer ? writer : reader;
}

/*
 * Is "legacy" in the same database as the control plane?  It is, unless a
 * server was configured for it and proved distinct.
 */
static bool
legacy_is_here(List *stores, Oid userid)
{
	ListCell   *lc;

	foreach(lc, stores)
	{
		RunopsStore *store = (RunopsStore *) lfirst(lc);
		RunopsProofState state;

		if (runops_is_legacy(store->store) && OidIsValid(store->serverid))
			return runops_sentinel_verdict(store->serverid, userid, &state) == RUNOPS_SAME;
	}

	return true;
}

/*
 * Collect the input of a probe of a server.
 */
static void
prepare_probe(Oid serverid, UserMapping *user, List *stores,
			  RunopsProbePurpose purpose, RunopsProbeRequest *request)
{
	ListCell   *lc;

	memset(request, 0, sizeof(RunopsProbeRequest));
	request->serverid = serverid;
	request->user = user;
	request->stores = stores;
	request->purpose = purpose;
	request->store = runops_server_store(stores, serverid, &request->is_reader);
	if (user == NULL || request->store == NULL)
		return;

	runops_identity_read(request->store->store, &request->own);
	runops_owner_question(request->store, request->is_reader, &request->question);

	if (request->is_reader)
	{
		RunopsProofState writer = {0};
		Oid			writerid = request->store->serverid;

		if (!OidIsValid(writerid))
		{
			request->writer_known = true;
			runops_local_identity(&request->writer);
		}
		else if (runops_sentinel_verdict(writerid, user->userid, &writer) == RUNOPS_DISTINCT &&
				 runops_sentinel_peek(writerid, &writer) && writer.identity_known)
		{
			request->writer_known = true;
			request->writer = writer.identity;
		}
		return;
	}

	foreach(lc, stores)
	{
		RunopsStore *other = (RunopsStore *) lfirst(lc);
		RunopsPeer *peer;

		if (!OidIsValid(other->serverid) || other->serverid == serverid)
			continue;
		peer = palloc(sizeof(RunopsPeer));
		peer->serverid = other->serverid;
		if (runops_sentinel_peek(other->serverid, &peer->state))
			request->peers = lappend(request->peers, peer);
	}
}

/*
 * A server that is distinct may still be the wrong one to use, because of a
 * setting or a record in this database.  Check both.
 */
static void
check_expectations(const RunopsProbeRequest *request, RunopsProofState *state)
{
	const RunopsStore *store = request->store;

	if (state->verdict != RUNOPS_DISTINCT || store == NULL)
		return;

	if (runops_expect_control_plane_split &&
		!runops_is_legacy(store->store) &&
		legacy_is_here(request->stores, request->user->userid))
		runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_CO_RESIDENT,
						   _("The store \"legacy\" is in the control plane's database, and \"runops.expect_control_plane_split\" is on."));
	else if (request->purpose != RUNOPS_PROBE_ACCEPT &&
			 request->own.kind == RUNOPS_RECORD_OTHER)
		runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_IDENTITY,
						   request->own.reason);
}

/*
 * Close the gate to a server whose database is not the proved one.
 */
void
runops_sentinel_close(Oid serverid, RunopsVerdict verdict, RunopsCause cause,
					  const char *reason)
{
	RunopsProof *proof;

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	proof = runops_shmem_find_proof(serverid);
	if (proof != NULL)
	{
		RunopsProofState state = proof->state;

		/* state.identity stays the proved one */
		state.verdict = verdict;
		state.cause = cause;
		state.checked_at = GetCurrentTimestamp();
		strlcpy(state.reason, reason, RUNOPS_REASON_LEN);
		(void) store_verdict(proof, proof->hash, &state);
	}
	LWLockRelease(runops_shared->lock);
}

/*
 * Probe a server as its only prober, and publish the verdict.
 *
 * With RUNOPS_PROBE_ACCEPT, "distinct" is not published, because it depends on a
 * record that is not yet committed.  The next use of the server finds it.  A
 * proof that stands, because nobody has noticed yet that the store has another
 * owner, does not stand any more.
 */
static void
probe_and_publish(RunopsProof *proof, Oid serverid, uint64 hash, Oid userid,
				  bool force, RunopsProbePurpose purpose, RunopsProofState *state)
{
	UserMapping *user = runops_remote_mapping(userid, serverid);
	RunopsProbeRequest request;
	RunopsProbe probe;
	List	   *stores;

	do
	{
		CHECK_FOR_INTERRUPTS();
		stores = runops_stores();
		prepare_probe(serverid, user, stores, purpose, &request);
		runops_probe(&request, &probe);
		check_expectations(&request, &probe.state);
		if (purpose == RUNOPS_PROBE_ACCEPT && probe.state.verdict == RUNOPS_DISTINCT)
		{
			probe.state.checked_at = probe.state.since = GetCurrentTimestamp();
			if (probe.state.owned)
				runops_sentinel_close(serverid, RUNOPS_UNKNOWN, RUNOPS_CAUSE_OWNER,
									  _("This database is about to take the store over."));
			break;
		}
	} while (!publish(proof, hash, user, stores, force, &probe));

	*state = probe.state;
}

/*
 * Become the prober of a server, or wait for the current prober.
 *
 * Returns the proof if this backend has to probe.  Otherwise it returns NULL,
 * and the state holds a verdict: one that stands, or the result of a probe
 * that this backend has waited for and that applies to its user mapping as
 * well.
 */
static RunopsProof *
begin_probe(Oid serverid, Oid userid, bool force, uint64 *hash,
			RunopsProofState *state)
{
	UserMapping *user = runops_remote_mapping(userid, serverid);
	uint64		waited_for = 0;
	bool		waited = false;

	for (;;)
	{
		CachedServer *entry = cached_server(serverid);
		RunopsProof *proof;

		LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
		proof = entry->proof = runops_shmem_make_proof(serverid);
		*hash = entry->hash;
		if (proof == NULL)
		{
			LWLockRelease(runops_shared->lock);
			memset(state, 0, sizeof(RunopsProofState));
			state->cause = RUNOPS_CAUSE_NO_PROOF;
			strlcpy(state->reason, _("There is no room for the proof of one more server."),
					RUNOPS_REASON_LEN);
			return NULL;
		}
		if (!force && proof->hash == *hash &&
			(proof->state.verdict == RUNOPS_DISTINCT ||
			 (waited && proof->probes != waited_for &&
			  (!proof->for_mapping || (user != NULL && proof->umid == user->umid)))))
		{
			*state = proof->state;
			LWLockRelease(runops_shared->lock);
			ConditionVariableCancelSleep();
			return NULL;
		}
		if (proof->prober == 0)
		{
			proof->prober = MyProcPid;
			LWLockRelease(runops_shared->lock);
			ConditionVariableCancelSleep();
			return proof;
		}
		if (!waited)
			waited_for = proof->probes;
		waited = true;
		ConditionVariablePrepareToSleep(&proof->probed);
		LWLockRelease(runops_shared->lock);
		ConditionVariableSleep(&proof->probed, PG_WAIT_EXTENSION);
	}
}

/*
 * The verdict on a server by a probe, which may be one that another backend
 * runs already.
 *
 * force: probe even if a proof stands.
 */
void
runops_sentinel_probe(Oid serverid, Oid userid, bool force,
					  RunopsProbePurpose purpose, RunopsProofState *state)
{
	uint64		hash;
	RunopsProof *proof = begin_probe(serverid, userid, force, &hash, state);

	if (proof == NULL)
		return;

	PG_ENSURE_ERROR_CLEANUP(end_probe, PointerGetDatum(proof));
	{
		probe_and_publish(proof, serverid, hash, userid, force, purpose, state);
	}
	PG_END_ENSURE_ERROR_CLEANUP(end_probe, PointerGetDatum(proof));
	end_probe(0, PointerGetDatum(proof));
}

/*
 * Does the proof of an entry stand?  This reads one word of shared memory.
 */
static bool
is_proved(const CachedServer *entry)
{
	return entry->proof != NULL &&
		pg_atomic_read_u64(&entry->proof->stamp) == STAMP(entry->hash, RUNOPS_DISTINCT);
}

/*
 * The verdict on a server.
 *
 * If a proof stands, this reads one word of shared memory and leaves *state
 * unset.  Otherwise the server is asked with the user mapping of the given
 * user. *state then holds the verdict and its details, unless the verdict is
 * "distinct".
 */
RunopsVerdict
runops_sentinel_verdict(Oid serverid, Oid userid, RunopsProofState *state)
{
	CachedServer *entry = cached_server(serverid);

	if (is_proved(entry))
		return RUNOPS_DISTINCT;

	runops_sentinel_probe(serverid, userid, false, RUNOPS_PROBE_USE, state);

	return state->verdict;
}

/*
 * Does this backend know from shared memory alone that the server is proved?
 * If not, it may still be proved; see runops_sentinel_distinct().
 */
bool
runops_sentinel_stands(Oid serverid)
{
	CachedServer *entry = servers ? hash_search(servers, &serverid, HASH_FIND, NULL) : NULL;

	return entry != NULL && entry->valid &&
		!(entry->in_recovery && !RecoveryInProgress()) && is_proved(entry);
}

/*
 * Is the server proved?  Does not ask the server.  Raises if the server does
 * not exist.
 */
bool
runops_sentinel_distinct(Oid serverid)
{
	CachedServer *entry;

	if (runops_shared == NULL)
		return false;

	entry = cached_server(serverid);
	if (entry->proof == NULL)
	{
		LWLockAcquire(runops_shared->lock, LW_SHARED);
		entry->proof = runops_shmem_find_proof(serverid);
		LWLockRelease(runops_shared->lock);
	}

	return is_proved(entry);
}

/*
 * The last verdict on a server, without asking it; false if no verdict is
 * about its current options.
 */
bool
runops_sentinel_peek(Oid serverid, RunopsProofState *state)
{
	CachedServer *entry;
	RunopsProof *proof;
	bool		found;

	memset(state, 0, sizeof(RunopsProofState));
	if (runops_shared == NULL)
		return false;

	entry = cached_server(serverid);
	LWLockAcquire(runops_shared->lock, LW_SHARED);
	proof = runops_shmem_find_proof(serverid);
	found = proof != NULL && proof->hash == entry->hash && proof->state.checked_at != 0;
	if (found)
		*state = proof->state;
	LWLockRelease(runops_shared->lock);

	return found;
}

/*
 * How often the proved database of a server became another one.  Connections
 * that are older than the last change must not be used any more.
 *
 * This backend must have checked the gate to the server before.
 */
uint64
runops_sentinel_changes(Oid serverid)
{
	CachedServer *entry = servers ? hash_search(servers, &serverid, HASH_FIND, NULL) : NULL;

	return entry != NULL && entry->proof != NULL ?
		pg_atomic_read_u64(&entry->proof->changes) : 0;
}

/*
 * What is known about the collations of a server's database.  Does not ask the
 * server.  Raises if the server does not exist.
 */
void
runops_sentinel_collations(Oid serverid, RunopsCollations *result)
{
	CachedServer *entry;
	RunopsProof *proof;

	memset(result, 0, sizeof(RunopsCollations));
	if (runops_shared == NULL)
		return;

	entry = cached_server(serverid);
	LWLockAcquire(runops_shared->lock, LW_SHARED);
	proof = runops_shmem_find_proof(serverid);
	if (proof != NULL && proof->collations_hash == entry->hash)
		*result = proof->collations;
	LWLockRelease(runops_shared->lock);
}

/*
 * A connection to the proved database has another answer about its collations
 * than the proof.  Note it, so that plans are made again.
 *
 * The usual reason is that a collation was created there.  A database that was
 * moved to a host with another library is the same database, too.
 */
void
runops_sentinel_note_collations(Oid serverid, const char *answer)
{
	uint64		hash = cached_server(serverid)->hash;
	List	   *tables = runops_collations_tables(serverid);
	RunopsCollations now;
	RunopsProof *proof;
	bool		noted;

	runops_collations_compare(answer, &now);

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	proof = runops_shmem_find_proof(serverid);
	noted = proof != NULL && proof->collations_hash == hash;
	if (noted)
	{
		proof->proved.collations = runops_collations_number(answer);
		proof->state.identity.collations = proof->proved.collations;
		if (set_collations(proof, hash, &now))
			pg_atomic_fetch_add_u64(&proof->changes, 1);
	}
	LWLockRelease(runops_shared->lock);

	if (noted)
		replan(proof, tables);
}

/*
 * Since when do all plans know that a collation of a server's database is not
 * the same as here any more?  A transaction that is older may use a plan that
 * does not.
 */
TimestampTz
runops_sentinel_collations_lost(Oid serverid)
{
	RunopsProof *proof;
	TimestampTz result;

	LWLockAcquire(runops_shared->lock, LW_SHARED);
	proof = runops_shmem_find_proof(serverid);
	result = proof != NULL ? proof->collations_lost : 0;
	LWLockRelease(runops_shared->lock);

	return result;
}

/*
 * Does a reader sort as this database does wherever its writer is known to?
 */
static bool
reader_agrees(Oid writerid, Oid readerid)
{
	RunopsProof *writer;
	RunopsProof *reader;
	bool		result;

	LWLockAcquire(runops_shared->lock, LW_SHARED);
	writer = runops_shmem_find_proof(writerid);
	reader = runops_shmem_find_proof(readerid);
	result = writer != NULL && reader != NULL &&
		runops_collations_include(&reader->collations, &writer->collations);
	LWLockRelease(runops_shared->lock);

	return result;
}

/*
 * Is it time to ask a reader again?  Only one backend gets the answer yes.
 */
static bool
time_to_ask(Oid readerid)
{
	TimestampTz now = GetCurrentTimestamp();
	RunopsProof *reader;
	bool		result;

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	reader = runops_shmem_find_proof(readerid);
	result = reader != NULL &&
		TimestampDifferenceExceeds(reader->reader_asked, now, ASK_READER_MS);
	if (result)
		reader->reader_asked = now;
	LWLockRelease(runops_shared->lock);

	return result;
}

/*
 * May a reader serve a statement that was planned for the collations of its
 * writer?  The caller has checked the gate to the writer.
 *
 * If the gate to the reader is closed, the answer is yes, and the error comes
 * when the reader is used.  A collation that was created in the writer arrives
 * later at the reader, so the reader is asked again from time to time.
 */
bool
runops_sentinel_reader_agrees(Oid writerid, Oid readerid, Oid userid)
{
	RunopsProofState state;

	if (runops_sentinel_verdict(readerid, userid, &state) != RUNOPS_DISTINCT ||
		reader_agrees(writerid, readerid))
		return true;
	if (!time_to_ask(readerid))
		return false;

	runops_sentinel_probe(readerid, userid, true, RUNOPS_PROBE_USE, &state);

	return state.verdict != RUNOPS_DISTINCT ||
		reader_agrees(writerid, readerid);
}

/*
 * The name of a verdict, as SQL shows it.
 */
const char *
runops_verdict_name(RunopsVerdict verdict)
{
	switch (verdict)
	{
		case RUNOPS_SAME:
			return "same";
		case RUNOPS_DISTINCT:
			return "distinct";
		case RUNOPS_UNKNOWN:
			break;
	}

	return "unknown";
}
