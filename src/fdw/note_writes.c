/*-------------------------------------------------------------------------
 *
 * note_writes.c
 *	  Notes what the wrapper writes to a store, or locks there.
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

/* where postgres_fdw says whether a direct modification counts its rows for us */
#define PGFDW_DIRECT_SET_PROCESSED 3

/*
 * Note that rows of a foreign table are written.  A table that is no leaf of a
 * routed one does not count.
 */
void
runops_fdw_note_write(Oid relid)
{
	char		store[RUNOPS_STORE_LEN];

	if (runops_leaf_store(relid, store))
		runops_writes_note(store, relid);
}

/*
 * Note that rows of a foreign table may be written or are locked.
 */
static void
note_lock(Oid relid)
{
	char		store[RUNOPS_STORE_LEN];

	if (runops_leaf_store(relid, store))
		runops_writes_note_lock(store, relid);
}

/*
 * Note the store of a scan that locks what it reads, because somebody asked for
 * it or in order to change it.
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
 * Note that an UPDATE or DELETE is sent as a whole.
 *
 * Who reads afterwards must read in the store, whether or not there were rows.
 */
void
runops_fdw_note_direct_modify(ForeignScanState *node)
{
	note_lock(runops_fdw_scan_relid(node));
}

/*
 * Note that such a statement has written rows: it counts them, or returns one.
 *
 * That of a WITH item without RETURNING says neither, and counts as if it had.
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
 * Must an INSERT be noted once a row has come to stand in the store, because
 * the store may leave it out?
 */
bool
runops_fdw_notes_insert_late(ModifyTableState *mtstate)
{
	ModifyTable *plan = mtstate ? (ModifyTable *) mtstate->ps.plan : NULL;

	return plan != NULL && plan->onConflictAction == ONCONFLICT_NOTHING;
}
