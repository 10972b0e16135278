/*-------------------------------------------------------------------------
 *
 * cache_int.h
 *	  Declares the memory layout of the shared cache of resolver values.
 *
 * Slots are an array in the main shared memory.  Entries are in dynamic shared
 * memory, which the first backend that needs it creates.  Each entry is a
 * chunk with its tags, key and value.  Its slot lists it in the order of
 * insertion, and one hash table finds it by a hash of database, slot and key.
 * The chunk has the full key, so two keys with the same hash are never
 * confused.
 *
 * A dropped slot is reused with another generation.  A backend that still
 * remembers the old generation finds nothing and stores nothing.
 *
 * control_plane.h describes the locks.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_CACHE_INT_H
#define RUNOPS_CACHE_INT_H

#include "lib/dshash.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/dsa.h"
#include "utils/jsonb.h"

#include "control_plane/control_plane.h"

/* A slot, as a backend remembers it.  It may be dropped at any time. */
typedef struct RunopsCacheSlot
{
	int			index;
	uint32		generation;
} RunopsCacheSlot;

/* The result of a lookup in the cache. */
typedef enum RunopsCacheAnswer
{
	RUNOPS_CACHE_MISS,			/* no entry: read the value and store it */
	RUNOPS_CACHE_BYPASS,		/* this transaction has invalidated it: read
								 * the value only */
	RUNOPS_CACHE_VALUE,			/* a value */
	RUNOPS_CACHE_ABSENT			/* an entry that says that there is no row */
} RunopsCacheAnswer;

/* The conditions under which a value stays valid. */
typedef struct RunopsCacheFill
{
	uint64		stamp;			/* taken before the snapshot that read the
								 * value */
	TimestampTz expires;
	bool		in_recovery;	/* was this server a standby then? */
	const RunopsTag *tags;
	int			ntags;
} RunopsCacheFill;

/*
 * The counters of a slot, in the order of the columns of
 * runops._resolver_stats().
 */
typedef enum RunopsCacheCounter
{
	RUNOPS_CACHE_HITS,			/* lookups that the cache answered */
	RUNOPS_CACHE_NEGATIVE_HITS, /* those that found "no row" */
	RUNOPS_CACHE_MISSES,		/* lookups that had to read */
	RUNOPS_CACHE_EVICTIONS,		/* entries replaced by others */
	RUNOPS_CACHE_INVALIDATIONS, /* entries found invalid and dropped */
	RUNOPS_CACHE_NCOUNTERS
} RunopsCacheCounter;

/*
 * The number of slots, over all databases; further resolvers are not cached.
 */
#define RUNOPS_CACHE_SLOTS 1024

/* The key of the hash table. */
typedef struct EntryKey
{
	Oid			dbid;
	int			slot;
	uint32		generation;
	uint32		zero;			/* no padding */
	uint64		hash[2];		/* of the resolver's key */
} EntryKey;

/* An element of the hash table. */
typedef struct HashEntry
{
	EntryKey	key;			/* hash key, first */
	dsa_pointer chunk;
} HashEntry;

/* An entry.  The links are in the order of insertion. */
typedef struct CacheEntry
{
	dsa_pointer next;
	dsa_pointer prev;
	EntryKey	key;
	Size		size;			/* of the chunk */
	uint64		stamp;			/* valid while no cell of its tags has a
								 * greater number */
	TimestampTz expires;
	bool		absent;			/* there was no row: no value follows */
	bool		in_recovery;	/* read on a standby */
	int			keylen;
	int			valuelen;
	int			ntags;
	RunopsTag	tags[FLEXIBLE_ARRAY_MEMBER];	/* then the value, then the
												 * key */
} CacheEntry;

#define ENTRY_VALUE_OFFSET(ntags) \
	MAXALIGN(offsetof(CacheEntry, tags) + (ntags) * sizeof(RunopsTag))
#define ENTRY_VALUE(entry) ((char *) (entry) + ENTRY_VALUE_OFFSET((entry)->ntags))
#define ENTRY_KEY(entry) (ENTRY_VALUE(entry) + (entry)->valuelen)

/* A slot. */
typedef struct CacheSlot
{
	Oid			dbid;			/* InvalidOid: free */
	char		name[NAMEDATALEN];
	uint32		generation;		/* how often the slot was reused */
	LWLock		lock;			/* protects the fields up to the counters */
	dsa_pointer first;			/* the oldest entry */
	dsa_pointer last;
	TimestampTz earliest;		/* no entry expires before it */
	TimestampTz latest;			/* no entry expires after it */
	int			nentries;
	Size		bytes;
	pg_atomic_uint64 counters[RUNOPS_CACHE_NCOUNTERS];
} CacheSlot;

/* The contents of the shared memory; the cells of the tags follow. */
typedef struct CacheShared
{
	LWLock	   *lock;
	int			hash_tranche;
	int			dsa_tranche;
	uint64		seed[2];		/* for the hashes of keys */
	dsa_handle	dsa;			/* invalid until a backend has created it */
	dshash_table_handle table;
	CacheSlot	slots[RUNOPS_CACHE_SLOTS];
} CacheShared;

/* in cache.c */
extern CacheShared *runops_cache_shared;
extern dsa_area *runops_cache_area;
extern dshash_table *runops_cache_table;
extern void runops_cache_attach(void);
extern int	runops_cache_search_slots(Oid dbid, const char *name);
extern void runops_cache_count(RunopsCacheSlot slot, RunopsCacheCounter counter);

/* in cache_entry.c */
extern RunopsCacheAnswer runops_cache_lookup(RunopsCacheSlot slot,
											 const char *key, int keylen,
											 Jsonb **value);
extern bool runops_cache_store(RunopsCacheSlot slot, const char *key, int keylen,
							   const Jsonb *value,
							   const RunopsCacheFill *fill);
extern void runops_cache_purge(Oid dbid, const char *name);

/* in cache_slots.c */
extern bool runops_cache_slot(const char *name, RunopsCacheSlot *slot);

/* in cache_tags.c */
extern Size runops_tags_shmem_size(void);
extern void runops_tags_shmem_start(void *memory, bool found);
extern void runops_tags_bump(const RunopsTag *tags, int ntags);

/* in pending.c */
extern bool runops_invalidating(const RunopsTag *tags, int ntags);

#endif							/* RUNOPS_CACHE_INT_H */
