/*-------------------------------------------------------------------------
 *
 * control_plane.h
 *	  Declares the shared cache of the values that resolvers read, and its
 *	  invalidation.
 *
 * One cache serves all backends and databases.  A slot holds the values of one
 * resolver, each under the text of its key.  A value is the bytes of a jsonb,
 * or the fact that there was no row.
 *
 * Validity.  Every value has tags: its slot, its environments, its
 * organizations.  A tag is the number of a cell in a fixed array, found by
 * hashing.  A cell holds the number of its last invalidation; numbers only
 * grow.  The stamp of a value is the number that was current before its reader
 * took its snapshot.  The value is valid as long as no cell of its tags holds
 * a greater number.  An invalidating transaction takes a new number after it
 * has become visible to others, and before its client gets the answer.  So a
 * reader that did not see the change has a stamp that is too old, no matter
 * when its value arrives, and nothing has to be undone if a backend dies in
 * between.  Two tags that share a cell cause a needless read, and the array
 * never grows.
 *
 * The numbers are microseconds of the clock, and are increased further if the
 * clock stands still or goes back.  A reader may not know how old its snapshot
 * is, for example the snapshot of a transaction in another database.  The
 * start of its own transaction is then a safe stamp.
 *
 * Locks, in the order in which they are taken:
 *
 * - CacheShared->lock protects the assignment of slots and the handles of the
 *	 dynamic memory.  It is shared for a search and exclusive for a change.
 * - CacheSlot->lock, exclusive, protects the list of the slot's entries and
 *	 their counts.  Every change of an entry needs it.
 * - The lock of a partition of the hash table is taken by dshash.  Reading an
 *	 entry needs it shared, freeing or replacing one exclusive.  A hit takes no
 *	 other lock.
 *
 * Cells and the counters of a slot are atomics.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_CONTROL_PLANE_H
#define RUNOPS_CONTROL_PLANE_H

#include "datatype/timestamp.h"
#include "executor/execdesc.h"

/* The kinds of tags. */
typedef enum RunopsTagKind
{
	RUNOPS_TAG_SLOT,			/* everything in one slot, or in all slots */
	RUNOPS_TAG_ENVIRONMENT,
	RUNOPS_TAG_ORGANIZATION,
	RUNOPS_TAG_ORGANIZATION_ALONE,	/* its values without environment */
	RUNOPS_TAG_REFERRING,		/* rows of stores that refer to a key; see
								 * integrity/reference.c */
	RUNOPS_TAG_REFERRED			/* rows of stores whose key is referred to */
} RunopsTagKind;

/* A tag: the number of its cell. */
typedef uint32 RunopsTag;

/* The number of cells, for all databases. */
#define RUNOPS_CACHE_CELLS 65536

/* The scope of a DDL command. */
typedef enum RunopsDdlScope
{
	RUNOPS_DDL_NOTHING,
	RUNOPS_DDL_DATABASE,
	RUNOPS_DDL_CLUSTER
} RunopsDdlScope;

/* The action to take after a command has run; see runops_watch_command(). */
typedef struct RunopsWatchedCommand
{
	RunopsDdlScope scope;
	bool		commits_prepared;
	bool		drops_extension;
} RunopsWatchedCommand;

/* in cache.c */
extern void runops_cache_shmem_request(void);
extern void runops_cache_shmem_startup(void);
extern bool runops_cache_enabled(void);

/* in cache_slots.c */
extern void runops_cache_reset_counters(void);

/* in cache_tags.c */
extern uint64 runops_tags_prefix(Oid dbid, RunopsTagKind kind, const char *slot);
extern RunopsTag runops_tags_make(uint64 prefix, const char *id, int len);
extern uint64 runops_tags_now(void);
extern bool runops_tags_valid(uint64 stamp, const RunopsTag *tags, int ntags);

/* in pending.c */
extern void runops_invalidate(RunopsTag tag);

/* in watch_ddl.c */
extern void runops_watch_init(void);
extern void runops_watch_command(Node *stmt, RunopsWatchedCommand *command);
extern void runops_watch_command_done(const RunopsWatchedCommand *command);
extern void runops_watch_statement(QueryDesc *queryDesc, int eflags);

#endif							/* RUNOPS_CONTROL_PLANE_H */
