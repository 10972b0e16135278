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

#include "base/compat.h"
#include "base/shmem.h"
#include "gate/sentinel.h"

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

PG_FUNCTION_INFO_V1(runops_recheck);

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

	table_close(runops_config_open(&store_table), AccessShareLock);
	table_close(runops_config_open(&routed_table), AccessShareLock);

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
 * Probe a server as the only one who does, and publish the verdict.
 *
 * With accept_identity, "distinct" is not published: the record that makes it
 * true is not yet committed.  The next use of the server finds it.
 */
static void
probe_and_publish(RunopsProof *proof, Oid serverid, uint64 hash, Oid userid,
				  bool force, bool accept_identity, RunopsProofState *state)
{
	UserMapping *user = runops_remote_mapping(userid, serverid);
	RunopsProbe probe;
	List	   *stores;

	do
	{
		CHECK_FOR_INTERRUPTS();
		stores = runops_stores();
		runops_probe(serverid, user, accept_identity, stores, &probe);
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
static void
find_verdict(Oid serverid, Oid userid, bool force, bool accept_identity,
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

	find_verdict(serverid, userid, false, false, state);

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

/*
 * Probe one server of a store and return the verdict as a row.
 */
static void
recheck_server(ReturnSetInfo *rsinfo, const RunopsStore *store, Oid serverid,
			   bool accept_identity)
{
	const char *closed = runops_gate_closed_reason();
	RunopsProofState state = {0};
	Datum		values[4];
	bool		nulls[4] = {0};

	if (closed != NULL)
		strlcpy(state.reason, closed, RUNOPS_REASON_LEN);
	else
		find_verdict(serverid, GetUserId(), true, accept_identity, &state);

	if (state.verdict == RUNOPS_DISTINCT && serverid == store->serverid)
		runops_identity_record(store->store, accept_identity);

	values[0] = CStringGetTextDatum(store->store);
	values[1] = CStringGetTextDatum(runops_verdict_name(state.verdict));
	values[2] = CStringGetTextDatum(state.reason);
	values[3] = TimestampTzGetDatum(state.checked_at);
	nulls[3] = state.checked_at == 0;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * recheck(store, accept_new_identity): ask the servers of a store, or of all,
 * now, whatever proof stands.
 */
Datum
runops_recheck(PG_FUNCTION_ARGS)
{
	char	   *only = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		accept_identity = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);

	/* raises for a store that is not configured, or has nothing to ask */
	if (only != NULL && strcmp(only, RUNOPS_LEGACY_STORE) != 0)
		(void) runops_store_server(only);

	foreach(lc, runops_stores())
	{
		RunopsStore *store = (RunopsStore *) lfirst(lc);

		if (only != NULL && strcmp(only, store->store) != 0)
			continue;
		if (OidIsValid(store->serverid))
			recheck_server(rsinfo, store, store->serverid, accept_identity);
		if (OidIsValid(store->readerid))
			recheck_server(rsinfo, store, store->readerid, accept_identity);
	}

	return (Datum) 0;
}
