/*-------------------------------------------------------------------------
 *
 * pending.c
 *	  Collects the tags that a transaction invalidates in the shared cache at
 *	  commit.
 *
 * Triggers on watched tables, functions such as invalidate_environment(), and
 * the DDL handled in watch_ddl.c collect tags.  Until the transaction ends, it
 * bypasses the cache for these tags.  An aborted subtransaction drops its own
 * tags, and the end of an aborted transaction drops all.
 *
 * At a commit the cells of the tags are raised twice.  The first time is when
 * the rows are visible to others, while the transaction still holds its locks.
 * So a session that has waited for a row finds the cache invalidated.  The
 * second time is after the catalog invalidation messages were sent.  Until
 * then another backend may still read with an old plan or connection, and the
 * value that it reads must not stay valid.  Both come before the client gets
 * the answer.  No error may occur at either point, so memory is allocated when
 * a tag is collected, and raising the cells allocates nothing.
 *
 * Nothing can be kept for COMMIT PREPARED, which another backend may run.  So
 * COMMIT PREPARED invalidates the values of its whole database; see
 * watch_ddl.c.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "control_plane/cache_int.h"

/* A tag to invalidate, and the subtransaction that collected it. */
typedef struct PendingTag
{
	RunopsTag	tag;
	SubTransactionId subid;
} PendingTag;

/*
 * The tags that this transaction invalidates, each once, in
 * TopTransactionContext.  A tag belongs to the outermost subtransaction that
 * collected it: an inner one finds it there already.
 */
static PendingTag *pending = NULL;
static int	npending = 0;
static int	maxpending = 0;

/* The same tags as a bitmap, for lookups. */
static uint8 pending_set[RUNOPS_CACHE_CELLS / BITS_PER_BYTE];

static bool callbacks_registered = false;

/*
 * Remove a tag from the bitmap.
 */
static inline void
clear_bit(RunopsTag tag)
{
	pending_set[tag / BITS_PER_BYTE] &= ~(1 << (tag % BITS_PER_BYTE));
}

/*
 * Does this transaction invalidate this tag?
 */
static inline bool
is_pending(RunopsTag tag)
{
	return (pending_set[tag / BITS_PER_BYTE] & (1 << (tag % BITS_PER_BYTE))) != 0;
}

/*
 * Forget all tags at the end of a transaction.
 */
static void
forget_pending(void)
{
	for (int i = 0; i < npending; i++)
		clear_bit(pending[i].tag);
	pending = NULL;
	npending = maxpending = 0;
}

/*
 * Raise the cells of all tags.  Must not fail.
 */
static void
raise_pending(void)
{
	for (int i = 0; i < npending; i++)
		runops_tags_bump(&pending[i].tag, 1);
}

/*
 * Transaction callback: raise the cells the first time, or forget the tags.
 */
static void
watch_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			raise_pending();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			forget_pending();
			break;
		default:
			break;
	}
}

/*
 * Resource owner callback: raise the cells the second time.
 */
static void
watch_release_callback(ResourceReleasePhase phase, bool isCommit,
					   bool isTopLevel, void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !isTopLevel || pending == NULL)
		return;

	if (isCommit)
		raise_pending();
	forget_pending();
}

/*
 * Subtransaction callback: drop the tags of an aborted subtransaction, or give
 * the tags of a committed one to its parent.
 */
static void
watch_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
					   SubTransactionId parentSubid, void *arg)
{
	/* the tags of the innermost one are last */
	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = npending; i > 0 && pending[i - 1].subid == mySubid; i--)
			pending[i - 1].subid = parentSubid;
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (npending > 0 && pending[npending - 1].subid == mySubid)
			clear_bit(pending[--npending].tag);
	}
}

/*
 * Invalidate a tag when this transaction commits, and bypass the cache for it
 * until then.
 */
void
runops_invalidate(RunopsTag tag)
{
	if (is_pending(tag))
		return;

	if (!callbacks_registered)
	{
		RegisterXactCallback(watch_xact_callback, NULL);
		RegisterSubXactCallback(watch_subxact_callback, NULL);
		RegisterResourceReleaseCallback(watch_release_callback, NULL);
		callbacks_registered = true;
	}

	if (npending == maxpending)
	{
		int			newmax = Max(64, maxpending * 2);

		if (pending == NULL)
			pending = MemoryContextAlloc(TopTransactionContext,
										 newmax * sizeof(PendingTag));
		else
			pending = repalloc(pending, newmax * sizeof(PendingTag));
		maxpending = newmax;
	}
	pending[npending].tag = tag;
	pending[npending].subid = GetCurrentSubTransactionId();
	npending++;
	pending_set[tag / BITS_PER_BYTE] |= 1 << (tag % BITS_PER_BYTE);
}

/*
 * Does this transaction invalidate one of these tags?
 */
bool
runops_invalidating(const RunopsTag *tags, int ntags)
{
	if (npending == 0)
		return false;

	for (int i = 0; i < ntags; i++)
	{
		if (is_pending(tags[i]))
			return true;
	}

	return false;
}
