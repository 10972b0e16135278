/*-------------------------------------------------------------------------
 *
 * entry_table.c
 *	  Finds, inserts and deletes rows of the tables that decide over keys, by
 *	  their unique index and without a query.
 *
 * The tables are written for users who have no privilege on them, by code that
 * has decided that the write is allowed.  No name is looked up, no trigger of
 * the table fires, and the current row is found, not the row of the
 * transaction's snapshot.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "integrity/entry_table_int.h"

/*
 * Make the scan keys for equality, with the index's own operators.
 */
static void
init_scankeys(RunopsOwnTable *table)
{
	Relation	index = table->index;

	table->nkeys = IndexRelationGetNumberOfKeyAttributes(index);
	for (int i = 0; i < table->nkeys; i++)
	{
		Oid			optype = index->rd_opcintype[i];
		Oid			op = get_opfamily_member(index->rd_opfamily[i], optype, optype,
											 BTEqualStrategyNumber);

		if (!OidIsValid(op))
			elog(ERROR, "missing operator %d(%u,%u) in opfamily %u",
				 BTEqualStrategyNumber, optype, optype, index->rd_opfamily[i]);
		ScanKeyInit(&table->scankeys[i], i + 1, BTEqualStrategyNumber,
					get_opcode(op), (Datum) 0);
		table->scankeys[i].sk_collation = index->rd_indcollation[i];
	}
}

/*
 * Open a table in RowExclusiveLock mode.  It must have one unique index that
 * is immediate and not partial, whose columns are the first columns of the
 * table.
 *
 * The locks are held until the end of the transaction.
 */
void
runops_own_open(RunopsOwnTable *table, Oid relid)
{
	table->rel = table_open(relid, RowExclusiveLock);
	table->estate = CreateExecutorState();
	table->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(table->rri, table->rel, 0, NULL, 0);
	ExecOpenIndices(table->rri, false);

	table->index = NULL;
	for (int i = 0; i < table->rri->ri_NumIndices; i++)
	{
		Relation	index = table->rri->ri_IndexRelationDescs[i];

		if (index->rd_index->indisunique && index->rd_index->indimmediate &&
			index->rd_index->indisvalid && index->rd_rel->relam == BTREE_AM_OID)
		{
			table->index = index;
			break;
		}
	}
	if (table->index == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has lost its unique index",
						RelationGetRelationName(table->rel)),
				 errdetail("The index decides which row a key belongs to."),
				 errhint("Create the index again.")));

	init_scankeys(table);
	table->found = table_slot_create(table->rel, NULL);
	table->row = MakeSingleTupleTableSlot(RelationGetDescr(table->rel), &TTSOpsVirtual);
}

/*
 * Close a table.
 */
void
runops_own_close(RunopsOwnTable *table)
{
	ExecDropSingleTupleTableSlot(table->row);
	ExecDropSingleTupleTableSlot(table->found);
	ExecCloseIndices(table->rri);
	FreeExecutorState(table->estate);
	table_close(table->rel, NoLock);
}

/*
 * Find the row of a key with the given snapshot, and put it into table->found.
 *
 * The snapshot is SnapshotSelf or a dirty snapshot.  The latter returns the
 * transaction that is inserting or deleting the row.
 */
bool
runops_own_find(RunopsOwnTable *table, const Datum *keys, Snapshot snapshot)
{
	IndexScanDesc scan;
	bool		found;

	for (int i = 0; i < table->nkeys; i++)
		table->scankeys[i].sk_argument = keys[i];

	scan = index_beginscan_compat(table->rel, table->index, snapshot, table->nkeys);
	index_rescan(scan, table->scankeys, table->nkeys, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, table->found);
	/* the slot has its own pin */
	index_endscan(scan);

	return found;
}

/*
 * The transaction that has inserted the row in table->found.
 */
TransactionId
runops_own_xmin(RunopsOwnTable *table)
{
	bool		isnull;

	return DatumGetTransactionId(slot_getsysattr(table->found,
												 MinTransactionIdAttributeNumber,
												 &isnull));
}

/*
 * Build the tuple of a row in table->row.
 */
static void
form_row(RunopsOwnTable *table, const Datum *values, const bool *nulls)
{
	int			natts = RelationGetNumberOfAttributes(table->rel);

	ExecClearTuple(table->row);
	memcpy(table->row->tts_values, values, sizeof(Datum) * natts);
	memcpy(table->row->tts_isnull, nulls, sizeof(bool) * natts);
	ExecStoreVirtualTuple(table->row);
	table->row->tts_tableOid = RelationGetRelid(table->rel);
}

/*
 * Insert a row.
 *
 * Waits for transactions that are inserting or deleting the same key, and
 * raises unique_violation, like any INSERT.
 */
void
runops_own_insert(RunopsOwnTable *table, const Datum *values, const bool *nulls)
{
	form_row(table, values, nulls);
	table_tuple_insert(table->rel, table->row, GetCurrentCommandId(true), 0, NULL);
	list_free(ExecInsertIndexTuples_compat(table->rri, table->row, table->estate,
										   false, NULL, NIL));
}

/*
 * Insert a row unless another row with its key may exist; returns false in
 * that case.
 *
 * Does not wait.  On false, no trace of the row remains, and the caller must
 * look again.
 */
bool
runops_own_try_insert(RunopsOwnTable *table, const Datum *values,
					  const bool *nulls)
{
	TransactionId xid = GetCurrentTransactionId();
	List	   *arbiters = list_make1_oid(RelationGetRelid(table->index));
	bool		conflict = false;
	uint32		token;

	form_row(table, values, nulls);

	/* sessions that find the row in the meantime wait only for this lock */
	token = SpeculativeInsertionLockAcquire(xid);
	table_tuple_insert_speculative(table->rel, table->row, GetCurrentCommandId(true),
								   0, NULL, token);
	list_free(ExecInsertIndexTuples_compat(table->rri, table->row, table->estate,
										   true, &conflict, arbiters));
	table_tuple_complete_speculative(table->rel, table->row, token, !conflict);
	SpeculativeInsertionLockRelease(xid);
	list_free(arbiters);

	return !conflict;
}

/*
 * Delete the row in table->found.
 *
 * If wait is true, this waits for transactions that have locked the row or are
 * deleting it.  Returns TM_Ok if this call has deleted the row.
 */
TM_Result
runops_own_delete(RunopsOwnTable *table, bool wait)
{
	TM_FailureData failure;

	/* heapam raises an error for a row of the current command */
	if (TransactionIdIsCurrentTransactionId(runops_own_xmin(table)))
		CommandCounterIncrement();

	return table_tuple_delete_compat(table->rel, &table->found->tts_tid,
									 GetCurrentCommandId(true), InvalidSnapshot,
									 InvalidSnapshot, wait, &failure);
}
