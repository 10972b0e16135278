/*-------------------------------------------------------------------------
 *
 * control_plane.h
 *	  The shared cache of what resolvers read of the control plane, and what
 *	  invalidates it.
 *
 * One cache serves all backends and databases.  A slot holds the values of one
 * resolver, each under the text of its key; a value is the bytes of a jsonb, or
 * the fact that there was no row.
 *
 * When a value is wrong.  Every value has tags: its slot, its environments, its
 * organizations.  A tag is the number of a cell in a fixed array, found by
 * hashing, and a cell holds when it was last invalidated, as a number that only
 * grows.  A value carries the number that was current before its reader took
 * its snapshot, its stamp, and is valid as long as no cell of its tags holds a
 * greater one.  Whoever invalidates takes a new number after his transaction
 * has become visible to others, and before his client hears of it.  So a reader
 * who did not see the change has a stamp that is too old, whenever its value
 * arrives, and nothing has to be undone if anybody dies on the way.  Two tags
 * that share a cell cost a needless read, and the array never grows.
 *
 * The numbers are microseconds of the clock, pushed forward where the clock
 * stands still or goes back.  That gives a reader whose snapshot is older than
 * he knows (that of a transaction in another database, say) a safe stamp: the
 * start of his transaction.
 *
 * Locks, in the order in which they are taken:
 *
 * - CacheShared->lock: which slots there are, and the handles of the dynamic
 *	 memory.  Shared to search, exclusive to change.
 * - CacheSlot->lock, exclusive: the order of the slot's entries, and what it
 *	 counts of them.  Every change of an entry needs it.
 * - the lock of a partition of the hash table, taken by dshash: reading an entry
 *	 needs it shared, freeing or replacing one exclusive.  A hit takes no other.
 *
 * Cells, and the counters of a slot, are atomics.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_CONTROL_PLANE_H
#define RUNOPS_CONTROL_PLANE_H

#include "datatype/timestamp.h"
#include "executor/execdesc.h"

/* What a tag stands for. */
typedef enum RunopsTagKind
{
	RUNOPS_TAG_SLOT,			/* everything in a slot, or in all of them */
	RUNOPS_TAG_ENVIRONMENT,
	RUNOPS_TAG_ORGANIZATION,
	RUNOPS_TAG_ORGANIZATION_ALONE,	/* what belongs to no environment of it */
	RUNOPS_TAG_REFERRING,		/* rows of stores that refer to a key, see integrity/reference.c */
	RUNOPS_TAG_REFERRED			/* rows of stores with a key that is referred to */
} RunopsTagKind;

/* A tag: the number of its cell. */
typedef uint32 RunopsTag;

/* How many cells there are, in all databases. */
#define RUNOPS_CACHE_CELLS 65536

/* How far a command reaches. */
typedef enum RunopsDdlScope
{
	RUNOPS_DDL_NOTHING,
	RUNOPS_DDL_DATABASE,
	RUNOPS_DDL_CLUSTER
} RunopsDdlScope;

/* What to do when a command has run; see runops_watch_command(). */
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
