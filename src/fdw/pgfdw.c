/*-------------------------------------------------------------------------
 *
 * pgfdw.c
 *	  The callbacks of postgres_fdw, and the checks before one of them is called.
 *
 * postgres_fdw is reached through its library and not through its SQL functions:
 * those are looked up by name, and a search_path without that extension's schema
 * would hide them.
 *
 * The routine is kept for the life of the backend.  Its callbacks are called
 * under the names they have in "struct FdwRoutine", and what they keep in
 * fdw_private and fdw_state is theirs.
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
 * Call postgres_fdw's handler and keep a copy of what it returns, once in a
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
 * Is a foreign table empty because the operator's flag is off?
 *
 * Not where it stands for legacy: whatever the flag says, there are rows.
 */
bool
runops_fdw_is_empty(Oid relid)
{
	char		store[RUNOPS_STORE_LEN];

	return runops_gate_flag_off() &&
		!(runops_leaf_store(relid, store) && runops_is_legacy(store));
}

/*
 * Raise gate_closed unless a server may be used so.
 */
void
runops_fdw_gate_require(const RunopsStoreUse *use)
{
	RunopsProofState state;

	/* the names are looked up for an error only */
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
 * The use of the server that a foreign table names, by a user; raises gate_closed
 * if it is not open.
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
