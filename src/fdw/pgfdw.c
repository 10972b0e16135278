/*-------------------------------------------------------------------------
 *
 * pgfdw.c
 *	  Loads the callbacks of postgres_fdw, and checks the gate before they are
 *	  called.
 *
 * The callbacks are loaded from the library of postgres_fdw and not through
 * its SQL functions.  These are found by name, so a search_path without the
 * schema of that extension would hide them.
 *
 * The routine is kept for the life of the backend.  Its callbacks have the
 * same names here as in "struct FdwRoutine", and postgres_fdw owns the data in
 * fdw_private and fdw_state.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "foreign/foreign.h"
#include "utils/lsyscache.h"

#include "fdw/fdw_int.h"
#include "gate/gate.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* postgres_fdw's callbacks; filled by runops_load_pgfdw() */
FdwRoutine	pgfdw;

/*
 * Call the handler of postgres_fdw and keep a copy of its result, once per
 * backend.
 */
void
runops_load_pgfdw(void)
{
	PGFunction	handler;
	FdwRoutine *routine;

	LOCAL_FCINFO(fcinfo, 0);

	if (pgfdw.type == T_FdwRoutine)
		return;

	handler = load_external_function(PGFDW_LIBRARY, "postgres_fdw_handler",
									 true, NULL);

	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	routine = (FdwRoutine *) DatumGetPointer(handler(fcinfo));
	if (routine == NULL || !IsA(routine, FdwRoutine))
		elog(ERROR, "postgres_fdw_handler did not return an FdwRoutine struct");

	memcpy(&pgfdw, routine, sizeof(FdwRoutine));
	pfree(routine);
}

/*
 * An item of the private data that postgres_fdw has put into a plan.  Raises an
 * error if it is not of the expected type: another postgres_fdw may have
 * another layout.  An empty list is NULL.
 */
Node *
runops_fdw_private(List *fdw_private, int item, NodeTag type)
{
	Node	   *node;

	if (item >= list_length(fdw_private))
		elog(ERROR, "private data of postgres_fdw has only %d items", list_length(fdw_private));
	node = list_nth(fdw_private, item);
	if (node == NULL ? type != T_IntList : nodeTag(node) != type)
		elog(ERROR, "unexpected private data of postgres_fdw");

	return node;
}

/*
 * Is a foreign table empty because the operator's flag is off?
 *
 * The leaf of legacy is not: it has rows, whatever the flag is.
 */
bool
runops_fdw_is_empty(Oid relid)
{
	char		store[RUNOPS_STORE_LEN];

	return runops_gate_flag_off() &&
		!(runops_leaf_store(relid, store) && runops_is_legacy(store));
}

/*
 * Raise gate_closed unless the use of a server is allowed.
 */
void
runops_fdw_gate_require(const RunopsStoreUse *use)
{
	RunopsProofState state;

	/* the names are looked up only for an error */
	if (runops_gate_closed_reason() != NULL)
	{
		runops_stats_add(use->relid, RUNOPS_GATE_REFUSALS, 1);
		runops_gate_require_settings(runops_store_label(use->relid), get_rel_name(use->relid));
	}
	if (runops_sentinel_verdict(use->serverid, use->userid, &state) != RUNOPS_DISTINCT)
	{
		runops_stats_add(use->relid, RUNOPS_GATE_REFUSALS, 1);
		runops_gate_raise(&state, runops_store_label(use->relid), get_rel_name(use->relid));
	}
}

/*
 * The use of a foreign table's own server by a user; raises gate_closed if the
 * gate to the server is closed.
 */
RunopsStoreUse
runops_fdw_use(Oid relid, Oid userid)
{
	RunopsStoreUse use = {
		.relid = relid,
		.serverid = GetForeignServerIdByRelId(relid),
		.userid = userid
	};

	runops_fdw_gate_require(&use);

	return use;
}
