/*-------------------------------------------------------------------------
 *
 * unique_entries.c
 *	  Maintains the entries of keys that are unique over all stores for rows
 *	  that the wrapper writes.
 *
 * Row triggers on a foreign table would make writes slow: they prevent a
 * direct UPDATE or DELETE, and an INSERT of several rows.  So this file makes
 * the entries before a row is sent.  A session that has to wait for another
 * one waits in this database, and does not yet hold a lock in the store that
 * the other may need.  If the store then writes no row, the entries are
 * restored.
 *
 * A DELETE must know the rows that it deletes.  So rows of a leaf with unique
 * keys are deleted one by one, and an UPDATE that assigns a column of a key is
 * executed row by row too.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "nodes/plannodes.h"
#include "utils/rel.h"

#include "fdw/fdw_int.h"
#include "integrity/integrity.h"

/* The state of one result relation while a statement runs. */
struct RunopsFdwUnique
{
	const RunopsUniqueKeys *keys;
	EState	   *estate;
	bool		skip;			/* ON CONFLICT DO NOTHING? */
	TupleTableSlot *old;		/* the old row */
};

/*
 * The state for a statement that writes to a foreign table; NULL if the table
 * has no unique key.
 */
RunopsFdwUnique *
runops_fdw_unique_begin(ModifyTableState *mtstate, ResultRelInfo *rri)
{
	const RunopsUniqueKeys *keys = runops_unique_keys(RelationGetRelid(rri->ri_RelationDesc));
	ModifyTable *plan = (ModifyTable *) mtstate->ps.plan;
	RunopsFdwUnique *unique;

	if (keys == NULL)
		return NULL;

	unique = palloc(sizeof(RunopsFdwUnique));
	unique->keys = keys;
	unique->estate = mtstate->ps.state;
	/* COPY has no plan */
	unique->skip = plan != NULL && plan->onConflictAction == ONCONFLICT_NOTHING;
	unique->old = ExecInitExtraTupleSlot(mtstate->ps.state,
										 RelationGetDescr(rri->ri_RelationDesc),
										 &TTSOpsHeapTuple);

	return unique;
}

/*
 * Switch to a memory context that is reset with the row; returns the old
 * context.
 */
static MemoryContext
enter_row(RunopsFdwUnique *unique)
{
	return MemoryContextSwitchTo(GetPerTupleMemoryContext(unique->estate));
}

/*
 * Make the entries of a row before it is sent; returns false if it must not be
 * sent.
 */
bool
runops_fdw_unique_insert(RunopsFdwUnique *unique, TupleTableSlot *slot)
{
	MemoryContext oldcontext = enter_row(unique);
	bool		send = runops_unique_insert(unique->keys, slot, unique->skip);

	MemoryContextSwitchTo(oldcontext);

	return send;
}

/*
 * Delete the entries of a row that the store did not insert.
 */
void
runops_fdw_unique_skipped(RunopsFdwUnique *unique, TupleTableSlot *slot)
{
	MemoryContext oldcontext = enter_row(unique);

	runops_unique_delete(unique->keys, slot);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * The old row that is about to be changed or deleted, as the plan has read it.
 *
 * An UPDATE that is executed row by row always has it, and a DELETE if it was
 * requested.
 */
HeapTupleHeader
runops_fdw_old_row(ResultRelInfo *rri, TupleTableSlot *planSlot)
{
	bool		isnull;
	Datum		datum;

	if (!AttributeNumberIsValid(rri->ri_RowIdAttNo))
		elog(ERROR, "could not find junk wholerow column");
	datum = ExecGetJunkAttribute(planSlot, rri->ri_RowIdAttNo, &isnull);
	if (isnull)
		elog(ERROR, "wholerow is NULL");

	return DatumGetHeapTupleHeader(datum);
}

/*
 * Store the row that is about to be changed or deleted.
 */
void
runops_fdw_unique_read_old(RunopsFdwUnique *unique, ResultRelInfo *rri,
						   TupleTableSlot *planSlot)
{
	HeapTupleHeader row = runops_fdw_old_row(rri, planSlot);
	HeapTupleData tuple;

	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = RelationGetRelid(rri->ri_RelationDesc);
	tuple.t_data = row;
	ExecStoreHeapTuple(heap_copytuple(&tuple), unique->old, true);
}

/*
 * Change the entries of a row before the row is changed.
 */
void
runops_fdw_unique_update(RunopsFdwUnique *unique, ResultRelInfo *rri,
						 TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	MemoryContext oldcontext;

	runops_fdw_unique_read_old(unique, rri, planSlot);
	oldcontext = enter_row(unique);
	runops_unique_update(unique->keys, unique->old, slot);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Restore the entries of a row that the store did not change.
 */
void
runops_fdw_unique_not_updated(RunopsFdwUnique *unique, TupleTableSlot *slot)
{
	MemoryContext oldcontext = enter_row(unique);

	runops_unique_update(unique->keys, slot, unique->old);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Delete the entries of a row that was deleted.
 */
void
runops_fdw_unique_deleted(RunopsFdwUnique *unique)
{
	MemoryContext oldcontext = enter_row(unique);

	runops_unique_delete(unique->keys, unique->old);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Must rows be sent one by one?
 *
 * If the store skips some rows of a batch, it does not tell which.
 */
bool
runops_fdw_unique_one_by_one(RunopsFdwUnique *unique)
{
	return unique->skip;
}
