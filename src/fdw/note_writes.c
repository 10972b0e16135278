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
void
runops_fdw_note_lock(Oid relid)
{
	char		store[RUNOPS_STORE_LEN];

	if (runops_leaf_store(relid, store))
		runops_writes_note_lock(store, relid);
}

/*
 * Does a scan lock rows of this foreign table, for a locking clause or in order
 * to change them?
 */
static bool
locks_table(ForeignScanState *node, int rti)
{
	EState	   *estate = node->ss.ps.state;
	ExecRowMark *mark = estate->es_rowmarks ? ExecFindRowMark(estate, rti, true) : NULL;

	return (mark != NULL && mark->strength != LCS_NONE) ||
		PLAN_HAS_TARGET(estate->es_plannedstmt, rti);
}

/*
 * Does a scan lock the rows that it reads?
 */
bool
runops_fdw_scan_locks(ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	int			rti = -1;

	while ((rti = bms_next_member(FOREIGN_SCAN_BASE_RELIDS(plan), rti)) >= 0)
	{
		if (locks_table(node, rti))
			return true;
	}

	return false;
}

/*
 * Note the stores of the tables in which a scan locks rows.
 */
void
runops_fdw_note_scan_locks(ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	int			rti = -1;

	while ((rti = bms_next_member(FOREIGN_SCAN_BASE_RELIDS(plan), rti)) >= 0)
	{
		if (locks_table(node, rti))
			runops_fdw_note_lock(exec_rt_fetch(rti, node->ss.ps.state)->relid);
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
	runops_fdw_note_lock(runops_fdw_scan_relid(node));
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
