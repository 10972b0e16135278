/*-------------------------------------------------------------------------
 *
 * cache.c
 *	  Manages the memory of the shared cache of resolver values.
 *
 * control_plane.h has the rules.
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
#include "base/guc.h"
#include "control_plane/cache_int.h"

/* The names of the LWLock tranches; they also appear as wait events. */
#define CACHE_TRANCHE "runops_cache"
#define SLOT_TRANCHE "runops_cache_slot"
#define HASH_TRANCHE "runops_cache_hash"
#define DSA_TRANCHE "runops_cache_dsa"

/* NULL if the library was not preloaded. */
CacheShared *runops_cache_shared = NULL;

/* This backend's mappings; NULL until they are needed. */
dsa_area   *runops_cache_area = NULL;
dshash_table *runops_cache_table = NULL;

/*
 * Request the shared memory and the locks.
 */
void
runops_cache_shmem_request(void)
{
	RequestAddinShmemSpace(add_size(MAXALIGN(sizeof(CacheShared)),
									runops_tags_shmem_size()));
	RequestNamedLWLockTranche(CACHE_TRANCHE, 1);
	/* only the number and the name of these tranches are used */
	RequestNamedLWLockTranche(SLOT_TRANCHE, 1);
	RequestNamedLWLockTranche(HASH_TRANCHE, 1);
	RequestNamedLWLockTranche(DSA_TRANCHE, 1);
}

/*
 * The number of an LWLock tranche.
 */
static int
tranche_id(const char *name)
{
	return GetNamedLWLockTranche(name)->lock.tranche;
}

/*
 * Attach to the shared memory, or initialize it if this is the postmaster.
 */
void
runops_cache_shmem_startup(void)
{
	bool		found;

	/* after a crash the memory is new, and the old mappings are gone */
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
 * Is the cache in use?  It is not without shared memory, and not with the flag
 * off.
 */
bool
runops_cache_enabled(void)
{
	return runops_cache_shared != NULL && runops_split_enabled;
}

/*
 * Map the dynamic shared memory, and create it if no backend has done so.
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

	/* an error in between frees the incomplete mapping with the transaction */
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
 * Search the slots of this database by name; with InvalidOid, search for a
 * free slot.  The caller holds the lock.
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
 * Add one to a counter of a slot.
 */
void
runops_cache_count(RunopsCacheSlot slot, RunopsCacheCounter counter)
{
	pg_atomic_fetch_add_u64(&runops_cache_shared->slots[slot.index].counters[counter], 1);
}
