/*-------------------------------------------------------------------------
 *
 * handler.c
 *	  Implements the foreign-data wrapper runops_fdw, which wraps the callbacks
 *	  of postgres_fdw.
 *
 * All data from and to other databases goes through this wrapper, so the gate
 * is checked in one place.
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

PG_FUNCTION_INFO_V1(runops_fdw_handler);
PG_FUNCTION_INFO_V1(runops_fdw_validator);

/*
 * The handler of the wrapper: a copy of postgres_fdw's routine, in which our
 * callbacks replace those that access another database.
 */
Datum
runops_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine;

	runops_load_pgfdw();

	routine = makeNode(FdwRoutine);
	memcpy(routine, &pgfdw, sizeof(FdwRoutine));

	runops_fdw_plan_callbacks(routine);
	runops_fdw_scan_callbacks(routine);
	runops_fdw_direct_modify_callbacks(routine);
	runops_fdw_modify_callbacks(routine);
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
