/*-------------------------------------------------------------------------
 *
 * cache_slots.c
 *	  Assigns the slots of the shared cache to resolvers.
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
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "control_plane/cache_int.h"

/* For this many microseconds a new slot is not freed, although it is empty. */
#define SLOT_RESPITE USECS_PER_SEC

/* The columns of runops._resolver_stats(). */
#define STATS_COLS (3 + RUNOPS_CACHE_NCOUNTERS)

PG_FUNCTION_INFO_V1(runops_resolver_stats);

/*
 * Free a slot of any database whose entries have all expired.  Its resolver
 * may not exist, for example because its transaction was rolled back.  Returns
 * false if there is no such slot.
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
 * Find the slot of this name in this database, or take a free one.  Returns
 * false if all are taken.
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
 * The slot of this name in this database.  Returns false if all are taken.
 */
bool
runops_cache_slot(const char *name, RunopsCacheSlot *slot)
{
	return take_slot(name, slot) || (free_expired_slot() && take_slot(name, slot));
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
 * _resolver_stats(): the counters of each slot of this database.
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
