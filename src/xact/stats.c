/*-------------------------------------------------------------------------
 *
 * stats.c
 *	  Counts the work, the waits and the errors of each store, for the view
 *	  runops.stats.
 *
 * The counters are in shared memory, in one slot for each database, routed
 * table and store.  A backend takes a slot under the lock when it first uses
 * the table, and a slot is never moved or given back.  Backends remember the
 * address of a slot and add to its atomics without a lock.  Once all slots are
 * taken, further tables are not counted.
 *
 * Without shared_preload_libraries there is no shared memory, and nothing is
 * counted.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "base/relcache.h"
#include "topology/topology.h"
#include "xact/xact.h"

#define STATS_TRANCHE "runops_stats"

/*
 * The maximum number of pairs of table and store that are counted, over all
 * databases.
 */
#define MAX_SLOTS 2048

/* The columns of runops._stats(). */
#define STATS_COLS (3 + RUNOPS_NCOUNTERS)

/* One table in one store.  The key is written once, under the lock. */
typedef struct StatsSlot
{
	Oid			dbid;
	Oid			relid;			/* the routed table */
	char		store[RUNOPS_STORE_LEN];
	pg_atomic_uint64 reset_at;	/* a TimestampTz; 0 is never */
	pg_atomic_uint64 counters[RUNOPS_NCOUNTERS];
} StatsSlot;

/* The contents of the shared memory. */
typedef struct StatsArea
{
	LWLock	   *lock;			/* protects nslots and the keys */
	int			nslots;
	StatsSlot	slots[MAX_SLOTS];
} StatsArea;

/* A backend's entry for a leaf: its slot, or NULL if it is not counted. */
typedef struct LeafSlot
{
	Oid			relid;			/* hash key, first */
	StatsSlot  *slot;
} LeafSlot;

/* The state of the walker over a plan state tree. */
typedef struct TouchedContext
{
	EState	   *estate;
	List	   *slots;			/* StatsSlot pointers, each once */
} TouchedContext;

static StatsArea *area = NULL;
static HTAB *leaf_slots = NULL;
static bool leaf_slots_valid = false;

PG_FUNCTION_INFO_V1(runops_stats);

/*
 * Request the shared memory.
 */
void
runops_stats_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(StatsArea)));
	RequestNamedLWLockTranche(STATS_TRANCHE, 1);
}

/*
 * Attach to the shared memory, or initialize it if this is the postmaster.
 */
void
runops_stats_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	area = ShmemInitStruct("runops stats", sizeof(StatsArea), &found);
	if (!found)
	{
		area->lock = &(GetNamedLWLockTranche(STATS_TRANCHE))->lock;
		area->nslots = 0;
		for (int i = 0; i < MAX_SLOTS; i++)
		{
			pg_atomic_init_u64(&area->slots[i].reset_at, 0);
			for (int c = 0; c < RUNOPS_NCOUNTERS; c++)
				pg_atomic_init_u64(&area->slots[i].counters[c], 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Search the taken slots for a table in a store.  The caller holds the lock.
 */
static StatsSlot *
search_slots(Oid relid, const char *store)
{
	for (int i = 0; i < area->nslots; i++)
	{
		StatsSlot  *slot = &area->slots[i];

		if (slot->dbid == MyDatabaseId && slot->relid == relid &&
			strcmp(slot->store, store) == 0)
			return slot;
	}

	return NULL;
}

/*
 * The slot of a table in a store, taken if there is none yet; NULL if no slot
 * is free.
 */
static StatsSlot *
table_slot(Oid relid, const char *store)
{
	StatsSlot  *slot;

	LWLockAcquire(area->lock, LW_SHARED);
	slot = search_slots(relid, store);
	LWLockRelease(area->lock);
	if (slot != NULL)
		return slot;

	LWLockAcquire(area->lock, LW_EXCLUSIVE);
	slot = search_slots(relid, store);
	if (slot == NULL && area->nslots < MAX_SLOTS)
	{
		slot = &area->slots[area->nslots];
		slot->dbid = MyDatabaseId;
		slot->relid = relid;
		strlcpy(slot->store, store, RUNOPS_STORE_LEN);
		area->nslots++;
	}
	LWLockRelease(area->lock);

	return slot;
}

/*
 * Relcache callback: a partition may have become a leaf, or ceased to be one.
 */
static void
forget_leaves(Oid relid)
{
	leaf_slots_valid = false;
}

static RunopsRelcacheClient relcache_client = {.forget = forget_leaves};

/*
 * The slot of a leaf; NULL if the relation is not a leaf, or is not counted.
 */
static StatsSlot *
leaf_slot(Oid relid)
{
	LeafSlot   *entry;
	StatsSlot  *slot = NULL;
	char		store[RUNOPS_STORE_LEN];

	if (leaf_slots == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(LeafSlot);
		ctl.hcxt = CacheMemoryContext;
		leaf_slots = hash_create("runops leaf counters", 64, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		runops_relcache_register(&relcache_client);
	}
	if (!leaf_slots_valid)
	{
		HASH_SEQ_STATUS status;

		hash_seq_init(&status, leaf_slots);
		while ((entry = hash_seq_search(&status)) != NULL)
			hash_search(leaf_slots, &entry->relid, HASH_REMOVE, NULL);
		leaf_slots_valid = true;
	}

	entry = hash_search(leaf_slots, &relid, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->slot;

	if (runops_leaf_store(relid, store))
		slot = table_slot(get_partition_parent(relid, true), store);
	entry = hash_search(leaf_slots, &relid, HASH_ENTER, NULL);
	entry->slot = slot;

	return slot;
}

/*
 * Add to a counter of a leaf.  Does nothing for other relations.
 */
void
runops_stats_add(Oid leaf_relid, RunopsCounter counter, uint64 n)
{
	StatsSlot  *slot;

	if (area == NULL)
		return;

	slot = leaf_slot(leaf_relid);
	if (slot != NULL)
		pg_atomic_fetch_add_u64(&slot->counters[counter], n);
}

/*
 * The counters of a leaf, for callers that cannot read the catalogs when they
 * count; they never move.  NULL for other relations.
 */
pg_atomic_uint64 *
runops_stats_counters(Oid leaf_relid)
{
	StatsSlot  *slot = area == NULL ? NULL : leaf_slot(leaf_relid);

	return slot == NULL ? NULL : slot->counters;
}

/*
 * Add to a counter of a routed table in the legacy store.
 */
void
runops_stats_add_legacy(const RunopsRoute *route, RunopsCounter counter)
{
	for (int i = 0; i < route->nleaves; i++)
	{
		if (runops_is_legacy(route->leaves[i].store))
			runops_stats_add(route->leaves[i].relid, counter, 1);
	}
}

/*
 * Plan state walker: collect the tables of joins that are pushed down to a
 * store.
 *
 * The executor does not open these tables.
 */
static bool
sent_joins_walker(PlanState *planstate, void *context)
{
	TouchedContext *cxt = context;

	if (IsA(planstate, ForeignScanState) &&
		((ForeignScan *) planstate->plan)->scan.scanrelid == 0)
	{
		ForeignScan *scan = (ForeignScan *) planstate->plan;
		int			rti = -1;

		while ((rti = bms_next_member(FOREIGN_SCAN_BASE_RELIDS(scan), rti)) >= 0)
		{
			StatsSlot  *slot = leaf_slot(exec_rt_fetch(rti, cxt->estate)->relid);

			if (slot != NULL)
				cxt->slots = list_append_unique_ptr(cxt->slots, slot);
		}
	}

	return planstate_tree_walker(planstate, sent_joins_walker, context);
}

/*
 * Count a statement that was started, for every store that it may still use:
 * leaves pruned at executor startup were not opened.
 */
static void
count_statement(QueryDesc *queryDesc)
{
	TouchedContext cxt = {.estate = queryDesc->estate};
	bool		sends_joins = false;
	ListCell   *lc;

	for (int i = 0; i < cxt.estate->es_range_table_size; i++)
	{
		Relation	rel = cxt.estate->es_relations[i];
		StatsSlot  *slot;

		if (rel == NULL)
		{
			RangeTblEntry *rte = exec_rt_fetch(i + 1, cxt.estate);

			sends_joins |= rte->rtekind == RTE_RELATION &&
				rte->relkind == RELKIND_FOREIGN_TABLE;
			continue;
		}
		if (!rel->rd_rel->relispartition)
			continue;
		slot = leaf_slot(RelationGetRelid(rel));
		if (slot != NULL)
			cxt.slots = list_append_unique_ptr(cxt.slots, slot);
	}
	if (sends_joins)
		sent_joins_walker(queryDesc->planstate, &cxt);

	foreach(lc, cxt.slots)
	{
		StatsSlot  *slot = lfirst(lc);
		bool		single = true;
		ListCell   *lc2;

		foreach(lc2, cxt.slots)
		{
			StatsSlot  *other = lfirst(lc2);

			if (other != slot && other->relid == slot->relid)
				single = false;
		}
		pg_atomic_fetch_add_u64(&slot->counters[single ? RUNOPS_STATEMENTS_SINGLE :
												RUNOPS_STATEMENTS_MULTI], 1);
	}
	list_free(cxt.slots);
}

/*
 * Count a statement that was started.
 */
void
runops_stats_statement(QueryDesc *queryDesc, int eflags)
{
	if (area != NULL && !(eflags & EXEC_FLAG_EXPLAIN_ONLY) &&
		!IsParallelWorker() && queryDesc->planstate != NULL)
		count_statement(queryDesc);
}

/*
 * _stats(): the counters of this database.
 */
Datum
runops_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	if (area == NULL)
		return (Datum) 0;

	LWLockAcquire(area->lock, LW_SHARED);
	for (int i = 0; i < area->nslots; i++)
	{
		StatsSlot  *slot = &area->slots[i];
		Datum		values[STATS_COLS] = {0};
		bool		nulls[STATS_COLS] = {0};
		TimestampTz reset_at;

		if (slot->dbid != MyDatabaseId)
			continue;

		values[0] = CStringGetTextDatum(slot->store);
		values[1] = ObjectIdGetDatum(slot->relid);
		for (int c = 0; c < RUNOPS_NCOUNTERS; c++)
		{
			uint64		n = pg_atomic_read_u64(&slot->counters[c]);

			values[2 + c] = c == RUNOPS_WAIT ? Float8GetDatum(n / 1000000.0) : Int64GetDatum(n);
		}
		reset_at = (TimestampTz) pg_atomic_read_u64(&slot->reset_at);
		values[2 + RUNOPS_NCOUNTERS] = TimestampTzGetDatum(reset_at);
		nulls[2 + RUNOPS_NCOUNTERS] = reset_at == 0;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	LWLockRelease(area->lock);

	return (Datum) 0;
}

/*
 * Set the counters of this database to zero.
 */
void
runops_stats_reset(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (area == NULL)
		return;

	LWLockAcquire(area->lock, LW_SHARED);
	for (int i = 0; i < area->nslots; i++)
	{
		StatsSlot  *slot = &area->slots[i];

		if (slot->dbid != MyDatabaseId)
			continue;
		for (int c = 0; c < RUNOPS_NCOUNTERS; c++)
			pg_atomic_write_u64(&slot->counters[c], 0);
		pg_atomic_write_u64(&slot->reset_at, (uint64) now);
	}
	LWLockRelease(area->lock);
}
