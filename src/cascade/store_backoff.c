/*-------------------------------------------------------------------------
 *
 * store_backoff.c
 *	  Remembers which stores did not answer a cleanup, and when to try them
 *	  again.
 *
 * A store that is down or does not answer must not be asked for each deleted
 * row, because all other work would wait.  The worker's cleaners pass this
 * knowledge on to each other.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "cascade/cascade_int.h"

/* The stores that did not answer this backend, of RunopsStoreTrouble *. */
static List *troubles = NIL;

/*
 * The entry of a store in the list of those that did not answer, or NULL.
 */
static RunopsStoreTrouble *
find_trouble(const char *store)
{
	ListCell   *lc;

	foreach(lc, troubles)
	{
		RunopsStoreTrouble *trouble = (RunopsStoreTrouble *) lfirst(lc);

		if (strcmp(trouble->store, store) == 0)
			return trouble;
	}

	return NULL;
}

/*
 * The entry of a store, created if there is none.
 */
static RunopsStoreTrouble *
make_trouble(const char *store)
{
	RunopsStoreTrouble *trouble = find_trouble(store);

	if (trouble == NULL)
	{
		MemoryContext oldcxt = MemoryContextSwitchTo(TopMemoryContext);

		trouble = palloc0(sizeof(RunopsStoreTrouble));
		strlcpy(trouble->store, store, sizeof(trouble->store));
		troubles = lappend(troubles, trouble);
		MemoryContextSwitchTo(oldcxt);
	}

	return trouble;
}

/*
 * Copy the stores that did not answer to RUNOPS_MAX_TROUBLES entries.
 */
void
runops_cleanup_remember(RunopsStoreTrouble *known)
{
	int			n = 0;
	ListCell   *lc;

	memset(known, 0, sizeof(RunopsStoreTrouble) * RUNOPS_MAX_TROUBLES);
	foreach(lc, troubles)
	{
		RunopsStoreTrouble *trouble = (RunopsStoreTrouble *) lfirst(lc);

		if (trouble->failures > 0 && n < RUNOPS_MAX_TROUBLES)
			known[n++] = *trouble;
	}
}

/*
 * Take over the stores from such entries in another backend.
 */
void
runops_cleanup_recall(const RunopsStoreTrouble *known)
{
	for (int i = 0; i < RUNOPS_MAX_TROUBLES; i++)
	{
		if (known[i].failures > 0)
			*make_trouble(known[i].store) = known[i];
	}
}

/*
 * The time until which a store must not be asked; 0 if it may be asked.
 *
 * A store that did not answer is not asked again in the same batch, and the
 * worker waits longer.
 */
TimestampTz
runops_cleanup_store_waits(const Cleanup *cleanup, const char *store)
{
	RunopsStoreTrouble *trouble = find_trouble(store);

	if (trouble == NULL || trouble->failures == 0)
		return 0;
	if (trouble->since == cleanup->now ||
		(cleanup->worker && trouble->retry_at > cleanup->now))
		return Max(trouble->retry_at, cleanup->now);

	return 0;
}

/*
 * Note whether a store has answered.
 */
void
runops_cleanup_store_answers(const Cleanup *cleanup, const char *store, bool answers)
{
	RunopsStoreTrouble *trouble = find_trouble(store);

	if (answers)
	{
		if (trouble != NULL)
			trouble->failures = 0;
		return;
	}
	trouble = make_trouble(store);
	trouble->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													Min(RUNOPS_FIRST_PAUSE << Min(trouble->failures, 10), RUNOPS_LONGEST_PAUSE) * 1000L);
	trouble->since = cleanup->now;
	trouble->failures++;
}

/*
 * Did the store not answer the last time?
 */
bool
runops_cleanup_store_is_out(const char *store)
{
	RunopsStoreTrouble *trouble = find_trouble(store);

	return trouble != NULL && trouble->failures > 0;
}
