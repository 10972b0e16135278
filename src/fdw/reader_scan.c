/*-------------------------------------------------------------------------
 *
 * reader_scan.c
 *	  Lets a scan read from the reader of its store.
 *
 * postgres_fdw finds the server through the foreign table that the plan names,
 * but it takes the SQL from the plan.  So while it begins a scan, it gets
 * another foreign table: one without columns, which add_store creates for each
 * reader in the schema of the store's leaves.  That table is added to the
 * range table for this one call, beside the plan's own tables, because these
 * describe the rows of a join.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "foreign/foreign.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"
#include "topology/topology.h"
#include "xact/xact.h"

/*
 * The foreign table of the reader that serves a scan.  InvalidOid if the
 * writer serves it; that is noted then.
 *
 * Stores of one server have the same reader; see add_store.  So the first
 * table of a join is enough to decide.
 */
Oid
runops_reader_for_scan(ForeignScanState *node)
{
	Oid			relid = runops_fdw_scan_relid(node);
	char		store[RUNOPS_STORE_LEN];
	Oid			table;
	Oid			serverid;

	if (!runops_leaf_store(relid, store))
		return InvalidOid;
	table = runops_reader_table(store);
	if (!OidIsValid(table))
		return InvalidOid;

	serverid = GetForeignServerIdByRelId(table);
	if (runops_reader_serves_statement(node->ss.ps.state, store, serverid,
									   GetForeignServerIdByRelId(relid),
									   runops_fdw_scan_userid(node)))
		return table;

	runops_reader_leave(store);

	return InvalidOid;
}

/*
 * The name of the reader that serves a scan, for an error, without reading the
 * catalogs.  NULL if the scan was not begun, or if no reader serves it.
 */
const char *
runops_reader_name(ForeignScanState *node, Oid readerid)
{
	return OidIsValid(readerid) ?
		runops_reader_of_statement(node->ss.ps.state, readerid) : NULL;
}

/*
 * Let postgres_fdw begin a scan on the server of another foreign table.
 *
 * postgres_fdw finds the server by the OID of the table and, before 16, the
 * user by its range-table entry.  Everything else is in the plan and in the
 * node.  The plan may be shared and the range table is shared, so the call
 * gets copies.
 */
void
runops_reader_begin_scan(ForeignScanState *node, Oid table, int eflags)
{
	EState	   *estate = node->ss.ps.state;
	Plan	   *plan = node->ss.ps.plan;
	List	   *range_table = estate->es_range_table;
	Index		size = estate->es_range_table_size;
	ForeignScan *shown = makeNode(ForeignScan);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	Index		rti;

	memcpy(rte, exec_rt_fetch(runops_fdw_scan_rtindex(node), estate), sizeof(RangeTblEntry));
	rte->relid = table;
	memcpy(shown, plan, sizeof(ForeignScan));

	PG_TRY();
	{
		estate->es_range_table = lappend(list_copy(range_table), rte);
		rti = list_length(estate->es_range_table);
		estate->es_range_table_size = rti;
		if (shown->scan.scanrelid > 0)
			shown->scan.scanrelid = rti;
		else
			FOREIGN_SCAN_BASE_RELIDS(shown) = bms_make_singleton(rti);
		node->ss.ps.plan = (Plan *) shown;
		pgfdw.BeginForeignScan(node, eflags);
	}
	PG_FINALLY();
	{
		node->ss.ps.plan = plan;
		estate->es_range_table = range_table;
		estate->es_range_table_size = size;
	}
	PG_END_TRY();
}
