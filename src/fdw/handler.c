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

#include "access/reloptions.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "fdw/fdw_int.h"
#include "remote/remote.h"

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
 * The validator of the wrapper.  Our own options are taken out before
 * postgres_fdw validates the others.
 */
Datum
runops_fdw_validator(PG_FUNCTION_ARGS)
{
	Oid			catalog = PG_GETARG_OID(1);
	List	   *options = runops_options_validate(untransformRelOptions(PG_GETARG_DATUM(0)), catalog);
	ArrayBuildState *others = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	PGFunction	validator;
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		accumArrayResult(others,
						 CStringGetTextDatum(psprintf("%s=%s", def->defname, defGetString(def))),
						 false, TEXTOID, CurrentMemoryContext);
	}
	validator = load_external_function(PGFDW_LIBRARY, "postgres_fdw_validator",
									   true, NULL);

	return DirectFunctionCall2(validator, makeArrayResult(others, CurrentMemoryContext),
							   ObjectIdGetDatum(catalog));
}
