/*-------------------------------------------------------------------------
 *
 * handler.c
 *	  The foreign-data wrapper runops_fdw: postgres_fdw's callbacks with ours
 *	  laid over them.
 *
 * Everything that crosses to another database goes through this wrapper, so
 * that the gate is asked in one place.  postgres_fdw is reached through its
 * library and not through its SQL functions: those are looked up by name, and
 * a search_path without that extension's schema would hide them.
 *
 * The base routine is kept for the life of the backend.  Its callbacks are
 * called under the names they have in "struct FdwRoutine", and what they keep
 * in fdw_private and fdw_state is theirs.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "foreign/foreign.h"
#include "utils/lsyscache.h"

#include "base/runops.h"
#include "fdw/fdw.h"

#define PGFDW_LIBRARY "$libdir/postgres_fdw"

/* postgres_fdw's callbacks; filled by the first call of the handler */
FdwRoutine	pgfdw;

PG_FUNCTION_INFO_V1(runops_fdw_handler);
PG_FUNCTION_INFO_V1(runops_fdw_validator);

/*
 * Call postgres_fdw's handler and keep a copy of what it returns.
 */
static void
load_pgfdw(void)
{
	PGFunction	handler;
	FdwRoutine *routine;

	LOCAL_FCINFO(fcinfo, 0);

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
 * The handler of the wrapper: a copy of postgres_fdw's routine in which the
 * callbacks that cross to another database are ours.
 */
Datum
runops_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine;

	if (pgfdw.type != T_FdwRoutine)
		load_pgfdw();

	routine = makeNode(FdwRoutine);
	memcpy(routine, &pgfdw, sizeof(FdwRoutine));

	runops_fdw_plan_callbacks(routine);
	runops_fdw_exec_callbacks(routine);
	runops_fdw_utility_callbacks(routine);

	PG_RETURN_POINTER(routine);
}

/*
 * The validator of the wrapper: its options are postgres_fdw's.
 */
Datum
runops_fdw_validator(PG_FUNCTION_ARGS)
{
	PGFunction	validator;

	validator = load_external_function(PGFDW_LIBRARY, "postgres_fdw_validator",
									   true, NULL);

	return validator(fcinfo);
}

/*
 * What to call the store behind a foreign table in a message: the store's
 * name if the table is a leaf of a routed table, else its server's.
 */
const char *
runops_fdw_store_label(Oid relid)
{
	char		store[RUNOPS_STORE_LEN];

	if (runops_leaf_store(relid, store))
		return pstrdup(store);

	return GetForeignServer(GetForeignServerIdByRelId(relid))->servername;
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
		!(runops_leaf_store(relid, store) && strcmp(store, RUNOPS_LEGACY_STORE) == 0);
}

/*
 * Raise gate_closed unless a server of the store behind a foreign table may be
 * touched, by the given user.
 */
void
runops_fdw_gate_require_server(Oid serverid, Oid relid, Oid userid)
{
	RunopsProofState state;

	/* the names are looked up for an error only */
	if (runops_gate_closed_reason() != NULL)
	{
		runops_stats_add(relid, RUNOPS_GATE_REFUSALS, 1);
		runops_gate_require_settings(runops_fdw_store_label(relid), get_rel_name(relid));
	}
	if (runops_sentinel_verdict(serverid, userid, &state) != RUNOPS_DISTINCT)
	{
		runops_stats_add(relid, RUNOPS_GATE_REFUSALS, 1);
		runops_gate_raise(&state, runops_fdw_store_label(relid), get_rel_name(relid));
	}
}

/*
 * The same for the server that the store is written to.
 */
void
runops_fdw_gate_require(Oid relid, Oid userid)
{
	runops_fdw_gate_require_server(GetForeignServerIdByRelId(relid), relid, userid);
}
