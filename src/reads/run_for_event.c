/*-------------------------------------------------------------------------
 *
 * run_for_event.c
 *	  Reads a run with its environment for an event handler.
 *
 * The run is in the store that its id names, and the environment is in the
 * control plane.  The two may disagree: a run whose environment is missing is
 * not the same as a missing run, and it is reported with a WARNING.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "reads/reads_int.h"

PG_FUNCTION_INFO_V1(runops_read_run_for_event);

/*
 * The environment of a run, from its column, as text; NULL if the run has
 * none.
 */
static char *
environment_of(Jsonb *run, const char *column)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&run->root, column, strlen(column), NULL);

	if (value == NULL || value->type == jbvNull)
		return NULL;
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);

	return JsonbToCString(NULL, &JsonbValueToJsonb(value)->root, -1);
}

/*
 * Resolve an environment with a current snapshot and the caller's rights.
 * Returns false if it does not exist.
 */
static bool
resolve_environment(text *slot, const char *environment, Datum *result)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		id = CStringGetTextDatum(environment);
	RunopsArgs	args = {0};
	bool		isnull;

	runops_args_add(&args, TEXTOID, PointerGetDatum(slot), false);
	runops_args_add(&args, TEXTARRAYOID,
					PointerGetDatum(construct_array(&id, 1, TEXTOID, -1, false, TYPALIGN_INT)), false);

	SPI_connect();
	if (runops_run_query("SELECT " RUNOPS_SCHEMA ".resolve($1, VARIADIC $2)", &args, 0, false) != 1)
		elog(ERROR, "a row was expected");
	*result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(caller);

		*result = datumCopy(*result, false, -1);
		MemoryContextSwitchTo(oldcontext);
	}
	SPI_finish();

	return !isnull;
}

/*
 * read_run_for_event(relation, id, environment_column, slot,
 *					  OUT outcome, OUT run, OUT environment)
 */
Datum
runops_read_run_for_event(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const char *outcome = "run-missing";
	Datum		values[3] = {0};
	bool		nulls[3] = {false, true, true};

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", PG_ARGISNULL(0) ? "relation" :
						PG_ARGISNULL(2) ? "environment_column" : "slot")));

	if (!PG_ARGISNULL(1))
	{
		RunopsTarget *target = runops_target(PG_GETARG_OID(0));
		text	   *id = PG_GETARG_TEXT_PP(1);
		char	   *column = NameStr(*PG_GETARG_NAME(2));
		const char *source;

		(void) runops_target_column(target, column);
		source = runops_read_by_id(target, id, NULL, &values[1]);
		if (strcmp(source, "past-retention") == 0)
			outcome = source;
		else if (values[1] != (Datum) 0)
		{
			char	   *environment = environment_of(DatumGetJsonbP(values[1]), column);

			nulls[1] = false;
			if (environment != NULL &&
				resolve_environment(PG_GETARG_TEXT_PP(3), environment, &values[2]))
			{
				outcome = "found";
				nulls[2] = false;
			}
			else
			{
				outcome = "environment-unresolved";
				ereport(LOG,
						(environment ?
						 errmsg("environment \"%s\" of run \"%s\" in table \"%s\" cannot be resolved",
								environment, text_to_cstring(id), target->route->name) :
						 errmsg("run \"%s\" in table \"%s\" has no environment in column \"%s\"",
								text_to_cstring(id), target->route->name, column),
						 errhidestmt(true)));
			}
		}
	}
	values[0] = CStringGetTextDatum(outcome);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);

	return (Datum) 0;
}
