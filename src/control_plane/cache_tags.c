/*-------------------------------------------------------------------------
 *
 * cache_tags.c
 *	  Records when each tag of the shared cache was last invalidated.
 *
 * control_plane.h describes the protocol.  The value of a cell only ever
 * grows, so two backends that raise the same cell need no lock, and their
 * order does not matter.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "port/atomics.h"
#include "utils/timestamp.h"

#include "control_plane/cache_int.h"

/* The contents of the shared memory. */
typedef struct TagCells
{
	pg_atomic_uint64 last;		/* the last number that was assigned */
	pg_atomic_uint64 cells[RUNOPS_CACHE_CELLS];
} TagCells;

static TagCells *tags_shared = NULL;

/*
 * The size of the cells in shared memory.
 */
Size
runops_tags_shmem_size(void)
{
	return MAXALIGN(sizeof(TagCells));
}

/*
 * Initialize the cells in shared memory, unless they exist already.
 */
void
runops_tags_shmem_start(void *memory, bool found)
{
	tags_shared = memory;
	if (found)
		return;

	pg_atomic_init_u64(&tags_shared->last, 0);
	for (int i = 0; i < RUNOPS_CACHE_CELLS; i++)
		pg_atomic_init_u64(&tags_shared->cells[i], 0);
}

/*
 * The common hash of all tags of a kind in one slot.  If slot is NULL, it
 * stands for all slots of the database, and InvalidOid stands for all
 * databases.
 */
uint64
runops_tags_prefix(Oid dbid, RunopsTagKind kind, const char *slot)
{
	uint64		hash = hash_uint32_extended(dbid, kind);

	if (slot != NULL)
		hash = hash_bytes_extended((const unsigned char *) slot, strlen(slot), hash);

	return hash;
}

/*
 * The tag of an id under a prefix.
 */
RunopsTag
runops_tags_make(uint64 prefix, const char *id, int len)
{
	return hash_bytes_extended((const unsigned char *) id, len, prefix) %
		RUNOPS_CACHE_CELLS;
}

/*
 * The stamp for values that are read from now on.  The caller must take its
 * snapshot after this call.
 */
uint64
runops_tags_now(void)
{
	uint64		now = pg_atomic_read_u64(&tags_shared->last);

	pg_memory_barrier();
	return now;
}

/*
 * Raise an atomic to a value, unless it already has that value or a greater
 * one.
 */
static void
raise_to(pg_atomic_uint64 *atomic, uint64 value)
{
	uint64		old = pg_atomic_read_u64(atomic);

	while (old < value && !pg_atomic_compare_exchange_u64(atomic, &old, value))
		;
}

/*
 * Invalidate all values that have one of these tags and were read before now.
 *
 * This is called after a commit, so it must not fail.
 */
void
runops_tags_bump(const RunopsTag *tags, int ntags)
{
	uint64		old = pg_atomic_read_u64(&tags_shared->last);
	uint64		number;

	do
	{
		number = Max(old + 1, (uint64) GetCurrentTimestamp());
	} while (!pg_atomic_compare_exchange_u64(&tags_shared->last, &old, number));

	for (int i = 0; i < ntags; i++)
		raise_to(&tags_shared->cells[tags[i]], number);
}

/*
 * Was none of these tags invalidated since the stamp was taken?
 */
bool
runops_tags_valid(uint64 stamp, const RunopsTag *tags, int ntags)
{
	for (int i = 0; i < ntags; i++)
	{
		if (pg_atomic_read_u64(&tags_shared->cells[tags[i]]) > stamp)
			return false;
	}

	return true;
}
