/*-------------------------------------------------------------------------
 *
 * pending.c
 *	  What a transaction invalidates in the shared cache when it commits.
 *
 * Triggers on watched tables, invalidate_environment() and its like, and the
 * DDL of watch_ddl.c collect tags.  Until the transaction ends they make the
 * transaction itself pass by the cache; a subtransaction that aborts takes its
 * own along, and the end of an aborted transaction all of them.
 *
 * At a commit the tags are raised twice.  The first time comes once the rows
 * are visible to others, while the transaction still holds its locks: whoever
 * has waited for a row finds the cache invalidated.  The second time comes after
 * the messages about catalogs have been sent.  Before that another backend may
 * still read by an old plan or connection, and what it reads must not last.
 * Both come before the client is told.  They can fail at neither point, so that
 * collecting needs memory and raising none.
 *
 * Nothing can be kept for COMMIT PREPARED, which another backend may run: that
 * invalidates all of its database, see watch_ddl.c.
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

/* A tag to invalidate, and the subtransaction that wants it. */
typedef struct PendingTag
{
	RunopsTag	tag;
	SubTransactionId subid;
} PendingTag;

/*
 * What this transaction invalidates, each tag once, in TopTransactionContext.
 * A tag stands there for the outermost subtransaction that wants it, since it
 * was found there when an inner one came.
 */
static PendingTag *pending = NULL;
static int	npending = 0;
static int	maxpending = 0;

/* The same as a set, to look at. */
static uint8 pending_set[RUNOPS_CACHE_CELLS / BITS_PER_BYTE];

static bool callbacks_registered = false;

/*
 * Take a tag out of the set.
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
 * Forget everything, at the end of a transaction.
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
 * Raise everything.  May not fail.
 */
static void
raise_pending(void)
{
	for (int i = 0; i < npending; i++)
		runops_tags_bump(&pending[i].tag, 1);
}

/*
 * Transaction callback: the first time, or the end of it all.
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
 * Resource owner callback: the second time.
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
 * Subtransaction callback: what an aborted one wanted is not wanted; what a
 * finished one wanted, its parent wants.
 */
static void
watch_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
					   SubTransactionId parentSubid, void *arg)
{
	/* the innermost one's are the last */
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
 * Invalidate a tag when this transaction commits, and pass it by until then.
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
