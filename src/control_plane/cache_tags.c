/*-------------------------------------------------------------------------
 *
 * cache_tags.c
 *	  When each tag of the shared cache was last invalidated.
 *
 * See cache.h for the protocol.  Cells are only ever raised, so that two
 * backends that raise the same one need no lock, and the order in which they
 * arrive does not matter.
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

/* What is in shared memory. */
typedef struct TagCells
{
	pg_atomic_uint64 last;		/* the last number taken */
	pg_atomic_uint64 cells[RUNOPS_CACHE_CELLS];
} TagCells;

static TagCells *tags_shared = NULL;

/*
 * How much shared memory the cells take.
 */
Size
runops_tags_shmem_size(void)
{
	return MAXALIGN(sizeof(TagCells));
}

/*
 * Set the cells up in shared memory, unless they were found there.
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
 * What the tags of a kind in one slot have in common; slot NULL is all slots of
 * the database, and no database is all of them.
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
 * The stamp of what is read from now on.  The caller takes its snapshot after it.
 */
uint64
runops_tags_now(void)
{
	uint64		now = pg_atomic_read_u64(&tags_shared->last);

	pg_memory_barrier();
	return now;
}

/*
 * Raise an atomic to a value, unless it is there already.
 */
static void
raise_to(pg_atomic_uint64 *atomic, uint64 value)
{
	uint64		old = pg_atomic_read_u64(atomic);

	while (old < value && !pg_atomic_compare_exchange_u64(atomic, &old, value))
		;
}

/*
 * Invalidate what carries one of these tags and was read before now.
 *
 * Called after a commit, so it may not fail.
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
 * Has none of these tags been invalidated since the stamp was taken?
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
