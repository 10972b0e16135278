/*-------------------------------------------------------------------------
 *
 * lock_rows.c
 *	  Locks by key the rows that a scan has found and that satisfy the conditions
 *	  that are evaluated here.
 *
 * Core evaluates the conditions of a scan, locks the row, and evaluates them again
 * if it had to wait for another transaction that has changed the row.  In a store
 * the row is read without a lock.  If it satisfies the conditions, it is locked
 * by a statement that names its key and has the conditions that were sent.  That
 * statement returns the newest version of the row, which is what the scan
 * returns.  The conditions are evaluated again only if it is another version,
 * because they may be volatile.
 *
 * Several rows are locked in one turn, but never more than the executor certainly
 * wants.  An UPDATE or DELETE wants all.
 *
 * Before a write of the same transaction all other rows are locked: a statement
 * sees the rows as they were when it began, and the lock would return them with
 * the changes.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"
#include "xact/xact.h"

/* the rows that are locked in one turn at most */
#define MAX_BATCH 100

/* The rows of a scan that are locked by key; in the memory of the statement. */
struct RunopsLocker
{
	ForeignScanState *node;
	RunopsQuery *query;			/* finds the rows, without locks */
	const RunopsParams *params; /* of both statements */
	const char *sql;			/* locks one row */
	int			nkeys;
	int		   *columns;		/* places of the key in a row, ascending */
	int		   *params_of;		/* ... and which parameter each is */
	bool		all;			/* does the statement change the rows? */
	PlanState  *top;			/* of the plan; NULL if it is not known */
	ExprState  *qual;
	ExprContext *econtext;
	RunopsRowType row;
	TupleTableSlot *slot;		/* a row that is not locked yet */
	MemoryContext batch;
	int			last_batch;		/* rows that were to be locked last */
	bool		busy;			/* is a condition being evaluated? */
	bool		ended;			/* has the query no more rows? */

	/* the rows that were locked */
	ResourceOwner owner;
	Tuplestorestate *store;
	TupleTableSlot *store_slot;
	int64		stored;
	int64		next;			/* of those that were returned */
};

/*
 * Prepare to lock the rows of a scan, whose conditions are evaluated here from
 * now on, and not by core.
 */
RunopsLocker *
runops_fdw_locker(ForeignScanState *node, RunopsQuery *query, const RunopsParams *params)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	List	   *attrs = (List *) runops_fdw_private(plan->fdw_private, SCAN_ATTRS, T_IntList);
	List	   *key = (List *) runops_fdw_private(plan->fdw_private, SCAN_KEY, T_IntList);
	RunopsLocker *locker = palloc0(sizeof(RunopsLocker));
	TupleDesc	desc;
	ListCell   *lc;
	int			column = 0;

	locker->node = node;
	locker->query = query;
	locker->params = params;
	locker->sql = strVal(runops_fdw_private(plan->fdw_private, SCAN_LOCK_SQL, T_String));
	locker->columns = palloc_array(int, list_length(key));
	locker->params_of = palloc_array(int, list_length(key));
	foreach(lc, attrs)
	{
		for (int i = 0; i < list_length(key); i++)
		{
			if (list_nth_int(key, i) != lfirst_int(lc))
				continue;
			locker->columns[locker->nkeys] = column;
			locker->params_of[locker->nkeys++] = i;
		}
		column++;
	}
	locker->all = PLAN_HAS_TARGET(node->ss.ps.state->es_plannedstmt, plan->scan.scanrelid);
	locker->qual = node->ss.ps.qual;
	node->ss.ps.qual = NULL;
	locker->econtext = CreateExprContext(node->ss.ps.state);
	runops_fdw_init_row(&locker->row, node->ss.ss_currentRelation, node, attrs);
	locker->slot = ExecInitExtraTupleSlot(node->ss.ps.state,
										  node->ss.ss_ScanTupleSlot->tts_tupleDescriptor,
										  &TTSOpsHeapTuple);
	locker->batch = AllocSetContextCreate(CurrentMemoryContext, "runops rows to lock",
										  ALLOCSET_DEFAULT_SIZES);

	desc = CreateTemplateTupleDesc(2);
	TupleDescInitEntry(desc, 1, "row", BYTEAOID, -1, 0);
	TupleDescInitEntry(desc, 2, "changed", BOOLOID, -1, 0);
	TupleDescFinalize(desc);
	locker->store_slot = ExecInitExtraTupleSlot(node->ss.ps.state, desc, &TTSOpsMinimalTuple);
	locker->owner = CurrentResourceOwner;

	return locker;
}

/*
 * Does the row in a slot satisfy the conditions?
 */
static bool
qualifies(RunopsLocker *locker, TupleTableSlot *slot)
{
	ExprContext *econtext = locker->econtext;
	bool		result;

	slot->tts_tableOid = RelationGetRelid(locker->node->ss.ss_currentRelation);
	ResetExprContext(econtext);
	econtext->ecxt_scantuple = slot;
	result = ExecQual(locker->qual, econtext);
	if (!result)
		InstrCountFiltered1(locker->node, 1);

	return result;
}

/*
 * Read rows until n of them satisfy the conditions; returns how many do.
 */
static int
find_rows(RunopsLocker *locker, RunopsRow **rows, int n)
{
	int			found = 0;

	while (found < n)
	{
		const RunopsRow *row = runops_query_next(locker->query);

		if (row == NULL)
		{
			locker->ended = true;
			break;
		}
		runops_fdw_store_row(&locker->row, row, locker->slot);
		if (!qualifies(locker, locker->slot))
			continue;
		rows[found] = MemoryContextAlloc(locker->batch, VARSIZE(row));
		memcpy(rows[found++], row, VARSIZE(row));
	}

	return found;
}

/*
 * Keep a row that was locked.
 */
static void
keep_row(RunopsLocker *locker, const RunopsRow *row, bool changed)
{
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (locker->store == NULL)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(locker->node->ss.ps.state->es_query_cxt);
		ResourceOwner oldowner = CurrentResourceOwner;

		CurrentResourceOwner = locker->owner;
		/* core rewinds also without having announced it */
		locker->store = tuplestore_begin_heap(true, false, work_mem);
		CurrentResourceOwner = oldowner;
		MemoryContextSwitchTo(oldcontext);
	}
	values[0] = PointerGetDatum(row);
	values[1] = BoolGetDatum(changed);
	tuplestore_putvalues(locker->store, locker->store_slot->tts_tupleDescriptor, values, nulls);
	locker->stored++;
}

/*
 * Put what the lock statement gets of a row at values.
 */
static void
lock_values(RunopsLocker *locker, const RunopsRow *row, const char **values)
{
	const char *position = row->data;
	int			next = 0;

	for (int i = 0; i < locker->params->n; i++)
		values[i] = locker->params->values[i];
	for (int column = 0; next < locker->nkeys; column++)
	{
		int			length;
		const char *text = runops_row_next(&position, &length);

		if (column == locker->columns[next])
			values[locker->params->n + locker->params_of[next++]] = text;
	}
}

/*
 * Lock the next n rows that satisfy the conditions.
 */
static void
lock_batch(RunopsLocker *locker, int n)
{
	int			nparams = locker->params->n + locker->nkeys;
	MemoryContext oldcontext;
	RunopsRow **found;
	RunopsRow **locked;
	const char **values;

	MemoryContextReset(locker->batch);
	oldcontext = MemoryContextSwitchTo(locker->batch);
	found = palloc_array(RunopsRow *, n);
	locked = palloc_array(RunopsRow *, n);
	locker->busy = true;
	n = find_rows(locker, found, n);
	locker->busy = false;

	if (n > 0)
	{
		values = palloc_array(const char *, (Size) n * nparams);
		for (int i = 0; i < n; i++)
			lock_values(locker, found[i], values + (Size) i * nparams);
		runops_conn_lock(runops_conn_get(&locker->query->use), locker->sql, n, nparams, values,
						 locked);
	}
	for (int i = 0; i < n; i++)
	{
		if (locked[i] != NULL)
			keep_row(locker, locked[i],
					 VARSIZE(locked[i]) != VARSIZE(found[i]) ||
					 memcmp(locked[i], found[i], VARSIZE(found[i])) != 0);
	}
	MemoryContextSwitchTo(oldcontext);
}

/*
 * The number of rows to lock now, when one is wanted.
 */
static int
batch_size(RunopsLocker *locker)
{
	RunopsWanted wanted;

	if (locker->all)
		return MAX_BATCH;
	wanted = runops_rows_wanted(locker->top, &locker->node->ss.ps, false);
	if (wanted.rows < 0)
		return MAX_BATCH;
	locker->last_batch = wanted.grows ?
		Min(Max(locker->last_batch * 2, 1), MAX_BATCH) : Max(Min(wanted.rows, MAX_BATCH), 1);

	return locker->last_batch;
}

/*
 * Put the next row that was locked into a slot; returns false at the end.
 *
 * type converts it.
 */
bool
runops_fdw_lock_next(RunopsLocker *locker, RunopsRowType *type, TupleTableSlot *slot)
{
	if (locker->top == NULL)
		locker->top = runops_run_top(locker->node->ss.ps.state);
	for (;;)
	{
		MemoryContext oldcontext;
		bool		found;
		bool		isnull;
		bool		qualified;

		while (locker->next == locker->stored && !locker->ended)
			lock_batch(locker, batch_size(locker));
		if (locker->next == locker->stored)
			return false;

		oldcontext = MemoryContextSwitchTo(locker->store_slot->tts_mcxt);
		found = tuplestore_gettupleslot(locker->store, true, true, locker->store_slot);
		MemoryContextSwitchTo(oldcontext);
		if (!found)
			elog(ERROR, "row of a store is missing in the tuplestore");
		locker->next++;
		/* a short header would have another place for the columns */
		runops_fdw_store_row(type, (RunopsRow *) DatumGetByteaP(slot_getattr(locker->store_slot, 1, &isnull)),
							 slot);
		if (!DatumGetBool(slot_getattr(locker->store_slot, 2, &isnull)))
			return true;
		locker->busy = true;
		qualified = qualifies(locker, slot);
		locker->busy = false;
		if (qualified)
			return true;
	}
}

/*
 * Lock all rows that the statement may still want, before a write.
 *
 * A write of a function in a condition comes while a row is being examined.  The
 * rows behind it are then locked with that change.
 */
void
runops_fdw_lock_rest(RunopsLocker *locker)
{
	RunopsWanted wanted = {.rows = -1};

	if (locker->busy)
		return;
	if (!locker->all)
		wanted = runops_rows_wanted(locker->top, &locker->node->ss.ps, true);
	while (!locker->ended)
	{
		int64		n = wanted.rows < 0 ? MAX_BATCH : wanted.rows - (locker->stored - locker->next);

		if (n <= 0)
			return;
		lock_batch(locker, Min(n, MAX_BATCH));
	}
}

/*
 * Return the rows that were locked once more; or forget them, to read and lock
 * anew.
 */
void
runops_fdw_lock_rescan(RunopsLocker *locker, bool anew)
{
	locker->next = 0;
	if (!anew)
	{
		if (locker->store != NULL)
			tuplestore_rescan(locker->store);
		return;
	}

	if (locker->store != NULL)
		tuplestore_clear(locker->store);
	locker->stored = 0;
	locker->ended = false;
	locker->last_batch = 0;
}

/*
 * Release the rows.
 */
void
runops_fdw_lock_end(RunopsLocker *locker)
{
	if (locker->store != NULL)
		tuplestore_end(locker->store);
	locker->store = NULL;
}
