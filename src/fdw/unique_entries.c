/*-------------------------------------------------------------------------
 *
 * unique_entries.c
 *	  The wrapper's part in keys that are unique over all stores: the entries of
 *	  rows that are written to a store.
 *
 * Row triggers on a foreign table would take away what makes writing to it fast:
 * an UPDATE or DELETE as a whole, and several rows in one INSERT.  Here entries are
 * made before a row is sent, so that who has to wait for another session waits
 * in this database and holds nothing of the store that the other may need.
 * Where the store then does nothing, the entries are put back.
 *
 * A DELETE has to know what it deletes: a leaf with unique keys is deleted from
 * row by row, as is an UPDATE that assigns what a key reads.
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

/* What one result relation needs while a statement runs. */
struct RunopsFdwUnique
{
	const RunopsUniqueKeys *keys;
	EState	   *estate;
	bool		skip;			/* ON CONFLICT DO NOTHING? */
	TupleTableSlot *old;		/* the row as it was */
};

/*
 * What a statement that writes to a foreign table needs; NULL if no key is to be
 * kept.
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
 * Switch to memory that goes with the row; the context to go back to.
 */
static MemoryContext
enter_row(RunopsFdwUnique *unique)
{
	return MemoryContextSwitchTo(GetPerTupleMemoryContext(unique->estate));
}

/*
 * Make the entries of a row that is about to be sent; false if it is not to be.
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
 * Take the entries back of a row that the store did not insert.
 */
void
runops_fdw_unique_skipped(RunopsFdwUnique *unique, TupleTableSlot *slot)
{
	MemoryContext oldcontext = enter_row(unique);

	runops_unique_delete(unique->keys, slot);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * The row that is about to be changed or deleted, as the plan has read it.
 *
 * Every UPDATE that goes row by row has it, and a DELETE if it was asked for.
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
 * Keep the row that is about to be changed or deleted.
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
 * Change the entries of a row that is about to be changed.
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
 * Put the entries back of a row that the store did not change.
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
 * A store that leaves out some of several does not say which.
 */
bool
runops_fdw_unique_one_by_one(RunopsFdwUnique *unique)
{
	return unique->skip;
}
