/*-------------------------------------------------------------------------
 *
 * cache_int.h
 *	  The shared cache of what resolvers read: how it lies in memory.
 *
 * Slots are an array in the main shared memory.  Entries are in dynamic shared
 * memory, which the first backend that needs it makes: each is a chunk with its
 * tags, key and value, listed by its slot in the order of insertion, and found
 * through one hash table by a hash of database, slot and key.  The chunk has the
 * key in full, so that two keys of one hash are never mixed up.
 *
 * A dropped slot is given to the next one, with another generation, and whoever
 * still knows it by the old one finds nothing and stores nothing.
 *
 * See control_plane.h for the locks.
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

/* What a look into the cache has given. */
typedef enum RunopsCacheAnswer
{
	RUNOPS_CACHE_MISS,			/* nothing: read, and keep */
	RUNOPS_CACHE_BYPASS,		/* this transaction has invalidated it: read */
	RUNOPS_CACHE_VALUE,			/* a value */
	RUNOPS_CACHE_ABSENT			/* there is no row */
} RunopsCacheAnswer;

/* How long, and until what happens, a value is good. */
typedef struct RunopsCacheFill
{
	uint64		stamp;			/* from before the snapshot it was read with */
	TimestampTz expires;
	bool		in_recovery;	/* was this a standby then? */
	const RunopsTag *tags;
	int			ntags;
} RunopsCacheFill;

/* What a slot counts; the order of the columns of runops._resolver_stats(). */
typedef enum RunopsCacheCounter
{
	RUNOPS_CACHE_HITS,			/* answered by the cache */
	RUNOPS_CACHE_NEGATIVE_HITS, /* of these, that there is no row */
	RUNOPS_CACHE_MISSES,		/* read */
	RUNOPS_CACHE_EVICTIONS,		/* entries that gave way to others */
	RUNOPS_CACHE_INVALIDATIONS, /* entries found invalid and dropped */
	RUNOPS_CACHE_NCOUNTERS
} RunopsCacheCounter;

/* How many slots there can be, in all databases; others are not cached. */
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

/* An entry.  The links are those of the order of insertion. */
typedef struct CacheEntry
{
	dsa_pointer next;
	dsa_pointer prev;
	EntryKey	key;
	Size		size;			/* of the chunk */
	uint64		stamp;			/* valid while no tag has a greater number */
	TimestampTz expires;
	bool		absent;			/* there was no row: no value follows */
	bool		in_recovery;	/* read on a standby */
	int			keylen;
	int			valuelen;
	int			ntags;
	RunopsTag	tags[FLEXIBLE_ARRAY_MEMBER];	/* then the value, then the key */
} CacheEntry;

#define ENTRY_VALUE_OFFSET(ntags) \
	MAXALIGN(offsetof(CacheEntry, tags) + (ntags) * sizeof(RunopsTag))
#define ENTRY_VALUE(entry) ((char *) (entry) + ENTRY_VALUE_OFFSET((entry)->ntags))
#define ENTRY_KEY(entry) (ENTRY_VALUE(entry) + (entry)->valuelen)

/* A slot. */
typedef struct CacheSlot
{
	Oid			dbid;			/* invalid: free */
	char		name[NAMEDATALEN];
	uint32		generation;		/* how often it was given away */
	LWLock		lock;			/* protects all to the counters */
	dsa_pointer first;			/* the oldest entry */
	dsa_pointer last;
	TimestampTz earliest;		/* no entry expires before it */
	TimestampTz latest;			/* none expires after it */
	int			nentries;
	Size		bytes;
	pg_atomic_uint64 counters[RUNOPS_CACHE_NCOUNTERS];
} CacheSlot;

/* What is in shared memory; the tags' cells follow. */
typedef struct CacheShared
{
	LWLock	   *lock;
	int			hash_tranche;
	int			dsa_tranche;
	uint64		seed[2];		/* of the hashes of keys */
	dsa_handle	dsa;			/* invalid before somebody has made it */
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
