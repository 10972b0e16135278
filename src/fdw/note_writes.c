/*-------------------------------------------------------------------------
 *
 * note_writes.c
 *	  Notes the writes and the row locks of the wrapper in a store.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "nodes/plannodes.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"
#include "topology/topology.h"
#include "xact/xact.h"

/*
 * index of the flag for counting rows, in postgres_fdw's list for direct
 * modification
 */
#define PGFDW_DIRECT_SET_PROCESSED 3

/*
 * Note that rows of a foreign table are written.  Tables that are not leaves
 * of a routed table are ignored.
 */
void
runops_fdw_note_write(Oid relid)
{
	char		store[RUNOPS_STORE_LEN];

	if (runops_leaf_store(relid, store))
		runops_writes_note(store, relid);
}

/*
 * Note that rows of a foreign table may be written, or are locked.
 */
static void
note_lock(Oid relid)
{
	char		store[RUNOPS_STORE_LEN];

	if (runops_leaf_store(relid, store))
		runops_writes_note_lock(store, relid);
}

/*
 * Note the store of a scan that locks the rows that it reads, for a locking
 * clause or in order to change them.
 */
void
runops_fdw_note_scan_locks(ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	EState	   *estate = node->ss.ps.state;
	PlannedStmt *stmt = estate->es_plannedstmt;
	int			rti = -1;

	if (estate->es_rowmarks == NULL && !PLAN_HAS_TARGETS(stmt))
		return;

	while ((rti = bms_next_member(FOREIGN_SCAN_BASE_RELIDS(plan), rti)) >= 0)
	{
		ExecRowMark *mark = estate->es_rowmarks ?
			ExecFindRowMark(estate, rti, true) : NULL;

		if ((mark != NULL && mark->strength != LCS_NONE) ||
			PLAN_HAS_TARGET(stmt, rti))
			note_lock(exec_rt_fetch(rti, estate)->relid);
	}
}

/*
 * Note a direct UPDATE or DELETE.
 *
 * Later reads of the transaction must read in the store, even if no row was
 * changed.
 */
void
runops_fdw_note_direct_modify(ForeignScanState *node)
{
	note_lock(runops_fdw_scan_relid(node));
}

/*
 * Note that a direct modification has written rows: it counts them or returns
 * one.
 *
 * A data-modifying CTE without RETURNING reports neither a row count nor a
 * row, so assume that it wrote.
 */
void
runops_fdw_note_direct_rows(ForeignScanState *node, TupleTableSlot *slot,
							uint64 processed)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	bool		untold = false;

	if (processed == 0 && node->resultRelInfo->ri_projectReturning == NULL &&
		list_length(plan->fdw_private) > PGFDW_DIRECT_SET_PROCESSED)
	{
		Node	   *set_processed = list_nth(plan->fdw_private, PGFDW_DIRECT_SET_PROCESSED);

		untold = IsA(set_processed, Boolean) && !boolVal(set_processed);
	}

	if (processed > 0 || !TupIsNull(slot) || untold)
		runops_fdw_note_write(runops_fdw_scan_relid(node));
}

/*
 * Must an INSERT be noted only after the store has inserted a row, because the
 * store may skip the row?
 */
bool
runops_fdw_notes_insert_late(ModifyTableState *mtstate)
{
	ModifyTable *plan = mtstate ? (ModifyTable *) mtstate->ps.plan : NULL;

	return plan != NULL && plan->onConflictAction == ONCONFLICT_NOTHING;
}
