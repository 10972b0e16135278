/*-------------------------------------------------------------------------
 *
 * cache.c
 *	  The shared cache of what resolvers read: its memory, slots and counters.
 *
 * See cache.h for the rules, and cache_entry.c for what is in the slots.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/runops.h"
#include "control_plane/cache_shared.h"

/* The names of the tranches, which are those of the wait events. */
#define CACHE_TRANCHE "runops_cache"
#define SLOT_TRANCHE "runops_cache_slot"
#define HASH_TRANCHE "runops_cache_hash"
#define DSA_TRANCHE "runops_cache_dsa"

/* Microseconds that a new slot is left alone, though there is nothing in it. */
#define SLOT_RESPITE USECS_PER_SEC

/* The columns of runops._resolver_stats(). */
#define STATS_COLS (3 + RUNOPS_CACHE_NCOUNTERS)

/* NULL if the library was not preloaded. */
CacheShared *runops_cache_shared = NULL;

/* This backend's mappings; NULL before it needs them. */
dsa_area   *runops_cache_area = NULL;
dshash_table *runops_cache_table = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

PG_FUNCTION_INFO_V1(runops_resolver_stats);

/*
 * Ask for the shared memory and the locks.
 */
static void
cache_shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(add_size(MAXALIGN(sizeof(CacheShared)),
									runops_tags_shmem_size()));
	RequestNamedLWLockTranche(CACHE_TRANCHE, 1);
	/* of these only the number and the name are used */
	RequestNamedLWLockTranche(SLOT_TRANCHE, 1);
	RequestNamedLWLockTranche(HASH_TRANCHE, 1);
	RequestNamedLWLockTranche(DSA_TRANCHE, 1);
}

/*
 * The number of a tranche.
 */
static int
tranche_id(const char *name)
{
	return GetNamedLWLockTranche(name)->lock.tranche;
}

/*
 * Find the shared memory, or set it up if this is the postmaster.
 */
static void
cache_shmem_startup(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	/* after a crash there is new memory, and the old mappings are gone */
	runops_cache_area = NULL;
	runops_cache_table = NULL;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	runops_cache_shared = ShmemInitStruct("runops cache",
							add_size(MAXALIGN(sizeof(CacheShared)),
									 runops_tags_shmem_size()),
							&found);
	runops_tags_shmem_start((char *) runops_cache_shared + MAXALIGN(sizeof(CacheShared)), found);
	if (!found)
	{
		memset(runops_cache_shared, 0, sizeof(CacheShared));
		runops_cache_shared->lock = &(GetNamedLWLockTranche(CACHE_TRANCHE))->lock;
		runops_cache_shared->hash_tranche = tranche_id(HASH_TRANCHE);
		runops_cache_shared->dsa_tranche = tranche_id(DSA_TRANCHE);
		runops_cache_shared->dsa = DSA_HANDLE_INVALID;
		if (!pg_strong_random(runops_cache_shared->seed, sizeof(runops_cache_shared->seed)))
			runops_cache_shared->seed[0] = GetCurrentTimestamp();
		for (int i = 0; i < RUNOPS_CACHE_SLOTS; i++)
		{
			LWLockInitialize(&runops_cache_shared->slots[i].lock, tranche_id(SLOT_TRANCHE));
			for (int c = 0; c < RUNOPS_CACHE_NCOUNTERS; c++)
				pg_atomic_init_u64(&runops_cache_shared->slots[i].counters[c], 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Install the hooks.
 */
void
runops_cache_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = cache_shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = cache_shmem_startup;
}

/*
 * Is anything cached?  Not without shared memory, and not with the flag off.
 */
bool
runops_cache_enabled(void)
{
	return runops_cache_shared != NULL && runops_split_enabled;
}

/*
 * Map the dynamic memory, and make it if nobody has yet.
 */
void
runops_cache_attach(void)
{
	dshash_parameters parameters = {
		.key_size = sizeof(EntryKey),
		.entry_size = sizeof(HashEntry),
		.compare_function = dshash_memcmp,
		.hash_function = dshash_memhash,
		DSHASH_COPY_FUNCTION
		.tranche_id = runops_cache_shared->hash_tranche
	};
	MemoryContext oldcxt;
	dsa_area   *new_area;
	dshash_table *new_table;

	if (runops_cache_table != NULL)
		return;

	/* what is half made when an error comes goes with the transaction */
	oldcxt = MemoryContextSwitchTo(TopMemoryContext);
	LWLockAcquire(runops_cache_shared->lock, LW_EXCLUSIVE);
	if (runops_cache_shared->dsa == DSA_HANDLE_INVALID)
	{
		new_area = dsa_create(runops_cache_shared->dsa_tranche);
		new_table = dshash_create(new_area, &parameters, NULL);
		dsa_pin(new_area);
		runops_cache_shared->table = dshash_get_hash_table_handle(new_table);
		runops_cache_shared->dsa = dsa_get_handle(new_area);
	}
	else
	{
		new_area = dsa_attach(runops_cache_shared->dsa);
		new_table = dshash_attach(new_area, &parameters, runops_cache_shared->table, NULL);
	}
	dsa_pin_mapping(new_area);
	LWLockRelease(runops_cache_shared->lock);
	MemoryContextSwitchTo(oldcxt);

	runops_cache_area = new_area;
	runops_cache_table = new_table;
}

/*
 * Search the slots of this database, or with an invalid OID for a free one.  The
 * caller holds the lock.
 */
int
runops_cache_search_slots(Oid dbid, const char *name)
{
	for (int i = 0; i < RUNOPS_CACHE_SLOTS; i++)
	{
		if (runops_cache_shared->slots[i].dbid == dbid &&
			(name == NULL || strcmp(runops_cache_shared->slots[i].name, name) == 0))
			return i;
	}

	return -1;
}

/*
 * Give back a slot in which everything has expired, of any database.  Its resolver
 * may be gone: one that was never committed, say.  False if there is none.
 */
static bool
free_expired_slot(void)
{
	TimestampTz now = GetCurrentTimestamp();
	char		name[NAMEDATALEN];
	Oid			dbid = InvalidOid;

	LWLockAcquire(runops_cache_shared->lock, LW_SHARED);
	for (int i = 0; i < RUNOPS_CACHE_SLOTS && !OidIsValid(dbid); i++)
	{
		CacheSlot  *slot = &runops_cache_shared->slots[i];

		LWLockAcquire(&slot->lock, LW_SHARED);
		if (slot->latest <= now)
		{
			dbid = slot->dbid;
			strlcpy(name, slot->name, NAMEDATALEN);
		}
		LWLockRelease(&slot->lock);
	}
	LWLockRelease(runops_cache_shared->lock);

	if (OidIsValid(dbid))
		runops_cache_purge(dbid, name);

	return OidIsValid(dbid);
}

/*
 * Find the slot of this name in this database, or take one.  False if all are
 * taken.
 */
static bool
take_slot(const char *name, RunopsCacheSlot *slot)
{
	int			i;

	Assert(strlen(name) < NAMEDATALEN);

	LWLockAcquire(runops_cache_shared->lock, LW_SHARED);
	i = runops_cache_search_slots(MyDatabaseId, name);
	if (i < 0)
	{
		LWLockRelease(runops_cache_shared->lock);
		LWLockAcquire(runops_cache_shared->lock, LW_EXCLUSIVE);
		i = runops_cache_search_slots(MyDatabaseId, name);
	}
	if (i < 0)
	{
		i = runops_cache_search_slots(InvalidOid, NULL);
		if (i >= 0)
		{
			strlcpy(runops_cache_shared->slots[i].name, name, NAMEDATALEN);
			for (int c = 0; c < RUNOPS_CACHE_NCOUNTERS; c++)
				pg_atomic_write_u64(&runops_cache_shared->slots[i].counters[c], 0);
			runops_cache_shared->slots[i].latest = GetCurrentTimestamp() + SLOT_RESPITE;
			runops_cache_shared->slots[i].dbid = MyDatabaseId;
		}
	}
	if (i >= 0)
	{
		slot->index = i;
		slot->generation = runops_cache_shared->slots[i].generation;
	}
	LWLockRelease(runops_cache_shared->lock);

	return i >= 0;
}

/*
 * The slot of this name in this database.  False if all are taken.
 */
bool
runops_cache_slot(const char *name, RunopsCacheSlot *slot)
{
	return take_slot(name, slot) || (free_expired_slot() && take_slot(name, slot));
}

/*
 * Add one to a counter of a slot.
 */
void
runops_cache_count(RunopsCacheSlot slot, RunopsCacheCounter counter)
{
	pg_atomic_fetch_add_u64(&runops_cache_shared->slots[slot.index].counters[counter], 1);
}

/*
 * Set the counters of this database to zero.
 */
void
runops_cache_reset_counters(void)
{
	if (runops_cache_shared == NULL)
		return;

	LWLockAcquire(runops_cache_shared->lock, LW_SHARED);
	for (int i = 0; i < RUNOPS_CACHE_SLOTS; i++)
	{
		if (runops_cache_shared->slots[i].dbid != MyDatabaseId)
			continue;
		for (int c = 0; c < RUNOPS_CACHE_NCOUNTERS; c++)
			pg_atomic_write_u64(&runops_cache_shared->slots[i].counters[c], 0);
	}
	LWLockRelease(runops_cache_shared->lock);
}

/*
 * _resolver_stats(): what the cache has of each slot of this database.
 */
Datum
runops_resolver_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	if (runops_cache_shared == NULL)
		return (Datum) 0;

	LWLockAcquire(runops_cache_shared->lock, LW_SHARED);
	for (int i = 0; i < RUNOPS_CACHE_SLOTS; i++)
	{
		CacheSlot  *slot = &runops_cache_shared->slots[i];
		Datum		values[STATS_COLS] = {0};
		bool		nulls[STATS_COLS] = {0};

		if (slot->dbid != MyDatabaseId)
			continue;

		values[0] = CStringGetTextDatum(slot->name);
		LWLockAcquire(&slot->lock, LW_SHARED);
		values[1] = Int64GetDatum(slot->nentries);
		values[2] = Int64GetDatum(slot->bytes);
		LWLockRelease(&slot->lock);
		for (int c = 0; c < RUNOPS_CACHE_NCOUNTERS; c++)
			values[3 + c] = Int64GetDatum(pg_atomic_read_u64(&slot->counters[c]));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	LWLockRelease(runops_cache_shared->lock);

	return (Datum) 0;
}
