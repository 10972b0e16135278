/*-------------------------------------------------------------------------
 *
 * reader_scan.c
 *	  Decides whether the reader of a store serves a scan.
 *
 * A reader is known by a foreign table without columns on its server, which
 * add_store creates in the schema of the store's leaves.
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
