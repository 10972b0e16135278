/*-------------------------------------------------------------------------
 *
 * sentinel.c
 *	  The verdict on a server: the one that stands in shared memory, or a probe.
 *
 * "distinct" stands until the options of the server change, until a connection
 * meets another database (session/conncheck.c), or until this server is promoted.  Any
 * other verdict stands for nobody but those who waited for it: the next one to
 * ask probes again, so that the gate opens as soon as it can.
 *
 * One backend probes a server at a time, the others wait for it.
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

/* What a backend remembers of a server, so that the gate is one read of memory. */
typedef struct CachedServer
{
	Oid			serverid;		/* hash key, first */
	bool		valid;
	bool		in_recovery;	/* was this server in recovery? */
	uint64		hash;			/* what a verdict has to be about */
	RunopsProof *proof;			/* NULL until it has been found */
} CachedServer;

/* the lowest bits of a stamp are the verdict */
#define STAMP(hash, verdict) (((hash) & ~UINT64CONST(3)) | (uint64) (verdict))

static HTAB *servers = NULL;

static void forget_roles(void);

/* what a server is for stands in these */
static RunopsConfigCache store_table = {.table = "store_config",.forget = forget_roles};
static RunopsConfigCache routed_table = {.table = "table_config",.forget = forget_roles};

/*
 * Forget what servers' options were.
 */
static void
forget_servers(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS scan;
	CachedServer *entry;

	hash_seq_init(&scan, servers);
	while ((entry = (CachedServer *) hash_seq_search(&scan)) != NULL)
		entry->valid = false;
}

/*
 * Stores, or the tables that they hold, have changed: so may have what servers
 * are for.
 */
static void
forget_roles(void)
{
	if (servers != NULL)
		forget_servers((Datum) 0, 0, 0);
}

/*
 * Append what a server is for: it was proved as the writer or the reader of
 * certain stores, or of none, and is not compared with others' where it was not
 * asked to be.
 *
 * Stores in one schema are compared in any case, and need not be named.
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
 * Hash of all that a verdict on a server is about: where it is, as its options
 * say, what it is for, and whether this server is a standby.
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
	foreach(lc, server->options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);
		char	   *value = defGetString(def);

		appendStringInfo(&buf, " %s %zu %s", def->defname, strlen(value), value);
	}

	return hash_bytes_extended((unsigned char *) buf.data, buf.len, 0);
}

/*
 * The backend's entry of a server, up to date.
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
		/* the lookup may bring an invalidation, which then goes first */
		entry->valid = true;
		entry->in_recovery = RecoveryInProgress();
		entry->hash = options_hash(serverid);
	}

	return entry;
}

/*
 * End the probe of this backend: others may begin one, or take its verdict.
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
 * Note what a verdict on the server of each store would have to be about, before
 * the lock is taken: that is for looking at, and not for asking the catalogs.
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
 * Is there another store's server that the one just probed was not compared
 * with, because it was probed at the same time?  The caller holds the lock.
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
 * Do two fingerprints say the same of cluster and database?
 */
static bool
same_database(const RunopsIdentity *a, const RunopsIdentity *b)
{
	return a->sysid_known == b->sysid_known && a->sysid == b->sysid &&
		strcmp(a->database, b->database) == 0;
}

/*
 * Write a verdict into shared memory.  The caller holds the lock.
 */
static void
store_verdict(RunopsProof *proof, uint64 hash, const RunopsProofState *state)
{
	TimestampTz since = proof->state.since;

	if (proof->state.verdict != state->verdict || since == 0)
		since = state->checked_at;

	pg_atomic_write_u64(&proof->stamp, 0);
	proof->state = *state;
	proof->state.since = since;
	proof->hash = hash;
	if (state->verdict != RUNOPS_DISTINCT)
		return;

	if (!same_database(&proof->proved, &state->identity))
	{
		proof->proved = state->identity;
		pg_atomic_fetch_add_u64(&proof->changes, 1);
	}
	pg_atomic_write_u64(&proof->stamp, STAMP(hash, RUNOPS_DISTINCT));
}

/*
 * Close a server that turned out to have the same database as another store's.
 * Neither is the right one by having been first.  The caller holds the lock.
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
	store_verdict(proof, proof->hash, &state);
}

/*
 * Where a connection has met another database than the one that was proved, do
 * not take it for the store's just because it is distinct.  Somebody has to say
 * so, by recheck() or by ALTER SERVER.  The caller holds the lock.
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
 * Publish what a probe has found; false if another server was identified
 * meanwhile, with which this one has to be compared first.
 */
static bool
publish(RunopsProof *proof, uint64 hash, UserMapping *user, List *stores,
		bool force, RunopsProbe *probe)
{
	RunopsProofState *state = &probe->state;

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
	store_verdict(proof, hash, state);
	state->since = proof->state.since;
	proof->probes++;
	proof->umid = user ? user->umid : InvalidOid;
	proof->for_mapping = !probe->timed_out;
	if (OidIsValid(probe->twin))
		close_twin(probe->twin, state->checked_at);
	LWLockRelease(runops_shared->lock);

	return true;
}

/*
 * Find out what a server is for: the store it writes to, or else the one it
 * reads for; NULL if none.
 */
static RunopsStore *
find_role(List *stores, Oid serverid, bool *is_reader)
{
	RunopsStore *found = NULL;
	ListCell   *lc;

	*is_reader = false;
	foreach(lc, stores)
	{
		RunopsStore *store = (RunopsStore *) lfirst(lc);

		if (store->serverid == serverid)
		{
			*is_reader = false;
			return store;
		}
		if (store->readerid == serverid)
		{
			*is_reader = true;
			found = store;
		}
	}

	return found;
}

/*
 * Is "legacy" proved to be in the same database as the control plane?  This is
 * how it is unless a server was named for it.
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
 * Gather what a probe of a server needs to know beforehand.
 */
static void
prepare_probe(Oid serverid, UserMapping *user, List *stores,
			  RunopsProbeRequest *request)
{
	ListCell   *lc;

	memset(request, 0, sizeof(RunopsProbeRequest));
	request->serverid = serverid;
	request->user = user;
	request->stores = stores;
	request->store = find_role(stores, serverid, &request->is_reader);
	if (user == NULL || request->store == NULL)
		return;

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
 * A server that a probe found distinct may still be the wrong one to use, because
 * of what is expected or recorded in this database.
 */
static void
check_expectations(const RunopsProbeRequest *request, bool accept_identity,
				   RunopsProofState *state)
{
	const RunopsStore *store = request->store;
	char		reason[RUNOPS_REASON_LEN];

	if (state->verdict != RUNOPS_DISTINCT || store == NULL)
		return;

	if (runops_expect_control_plane_split &&
		!runops_is_legacy(store->store) &&
		legacy_is_here(request->stores, request->user->userid))
		runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_CO_RESIDENT,
						   _("The store \"legacy\" is in the control plane's database, and \"runops.expect_control_plane_split\" is on."));
	else if (!accept_identity &&
			 runops_identity_compare(store->store, reason) == RUNOPS_RECORD_OTHER)
		runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_IDENTITY, reason);
}

/*
 * Probe a server as the only backend that does, and publish the verdict.
 *
 * With accept_identity, "distinct" is not published: the record that makes it
 * true is not yet committed.  The next use of the server finds it.
 */
static void
probe_and_publish(RunopsProof *proof, Oid serverid, uint64 hash, Oid userid,
				  bool force, bool accept_identity, RunopsProofState *state)
{
	UserMapping *user = runops_remote_mapping(userid, serverid);
	RunopsProbeRequest request;
	RunopsProbe probe;
	List	   *stores;

	do
	{
		CHECK_FOR_INTERRUPTS();
		stores = runops_stores();
		prepare_probe(serverid, user, stores, &request);
		runops_probe(&request, &probe);
		check_expectations(&request, accept_identity, &probe.state);
		if (accept_identity && probe.state.verdict == RUNOPS_DISTINCT)
		{
			probe.state.checked_at = probe.state.since = GetCurrentTimestamp();
			break;
		}
	} while (!publish(proof, hash, user, stores, force, &probe));

	*state = probe.state;
}

/*
 * Become the prober of a server, or wait for the one who is.
 *
 * Returns the proof if this backend has to probe.  NULL if the state holds a
 * verdict: one that stands, or what a probe has found while we waited for it and
 * whose failure is ours as well.
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
 * The verdict on a server by a probe, this backend's or one that is under way.
 *
 * force: probe even if a proof stands.
 */
void
runops_sentinel_probe(Oid serverid, Oid userid, bool force, bool accept_identity,
			 RunopsProofState *state)
{
	uint64		hash;
	RunopsProof *proof = begin_probe(serverid, userid, force, &hash, state);

	if (proof == NULL)
		return;

	PG_ENSURE_ERROR_CLEANUP(end_probe, PointerGetDatum(proof));
	{
		probe_and_publish(proof, serverid, hash, userid, force, accept_identity, state);
	}
	PG_END_ENSURE_ERROR_CLEANUP(end_probe, PointerGetDatum(proof));
	end_probe(0, PointerGetDatum(proof));
}

/*
 * Does the proof stand that an entry points to, as one word of shared memory
 * says?
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
 * Where a proof stands, this reads one word of shared memory, and fills in
 * nothing.  Otherwise the server is asked, with the mapping of the given user;
 * *state has the verdict and all about it, unless it is "distinct".
 */
RunopsVerdict
runops_sentinel_verdict(Oid serverid, Oid userid, RunopsProofState *state)
{
	CachedServer *entry = cached_server(serverid);

	if (is_proved(entry))
		return RUNOPS_DISTINCT;

	runops_sentinel_probe(serverid, userid, false, false, state);

	return state->verdict;
}

/*
 * Does this backend know that the server is proved, by nothing but a look at
 * shared memory?  It may be proved otherwise; see runops_sentinel_distinct().
 */
bool
runops_sentinel_stands(Oid serverid)
{
	CachedServer *entry = servers ? hash_search(servers, &serverid, HASH_FIND, NULL) : NULL;

	return entry != NULL && entry->valid &&
		!(entry->in_recovery && !RecoveryInProgress()) && is_proved(entry);
}

/*
 * Is the server proved, without asking it?  Raises if there is no such server.
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
 * The last verdict on a server, without asking it; false if there is none about
 * its present options.
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
 * How often the database that a server was proved to lead to became another
 * one: what was connected to it before is not to be used any more.
 *
 * The gate to the server has been asked in this backend.
 */
uint64
runops_sentinel_changes(Oid serverid)
{
	CachedServer *entry = servers ? hash_search(servers, &serverid, HASH_FIND, NULL) : NULL;

	return entry != NULL && entry->proof != NULL ?
		pg_atomic_read_u64(&entry->proof->changes) : 0;
}

/*
 * Close the gate to a server whose database is not the one that was proved.
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

		/* the identity stays the one that was proved */
		state.verdict = verdict;
		state.cause = cause;
		state.checked_at = GetCurrentTimestamp();
		strlcpy(state.reason, reason, RUNOPS_REASON_LEN);
		store_verdict(proof, proof->hash, &state);
	}
	LWLockRelease(runops_shared->lock);
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
