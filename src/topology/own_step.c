/*-------------------------------------------------------------------------
 *
 * own_step.c
 *	  Runs a step of a set-up function with the rights of the extension's owner.
 *
 * The tables of the configuration, the schemas of leaves and the entries of
 * unique keys belong to the owner of the extension.  No other role gets
 * privileges on them.  A set-up function calls a step instead; the step gets
 * the name of the caller and checks the caller's rights.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/genam.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/as_owner.h"
#include "base/compat.h"
#include "topology/topology.h"

/* The number of nested steps that are running in this session. */
static int	depth = 0;

PG_FUNCTION_INFO_V1(runops_own_step);
PG_FUNCTION_INFO_V1(runops_own_role);

/*
 * Is a step of the extension running?
 */
bool
runops_in_own_step(void)
{
	return depth > 0;
}

/*
 * The owner of the extension; InvalidOid if it does not exist.
 */
Oid
runops_extension_owner(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("runops"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return owner;
}

/*
 * _own_role(): the owner of the extension.
 */
Datum
runops_own_role(PG_FUNCTION_ARGS)
{
	PG_RETURN_OID(runops_extension_owner());
}

/*
 * _own_step(step text, arguments jsonb): run the function _step_STEP(caller,
 * arguments) as the owner of the extension, and return its result.
 *
 * Every role may call this, because each step checks the rights of its caller.
 * Raises an error if there is no such step.
 */
Datum
runops_own_step(PG_FUNCTION_ARGS)
{
	char	   *step = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			types[2] = {OIDOID, JSONBOID};
	Datum		values[2] = {ObjectIdGetDatum(GetUserId()), PG_GETARG_DATUM(1)};
	MemoryContext cxt = CurrentMemoryContext;
	RunopsAsOwner saved;
	Oid			owner = runops_extension_owner();
	char	   *sql;
	Datum		result;
	bool		isnull;

	if (strspn(step, "abcdefghijklmnopqrstuvwxyz_") != strlen(step) || !OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is no step of a set-up function", step),
				 errdetail("Steps are functions of the extension whose names begin with \"_step_\"."),
				 errhint("Use the public functions.")));

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	runops_as_owner_begin(&saved, owner);
	sql = psprintf("SELECT " RUNOPS_SCHEMA "._step_%s($1, $2)", step);
	depth++;
	PG_TRY();
	{
		if (SPI_execute_with_args(sql, 2, types, values, NULL, false, 0) != SPI_OK_SELECT ||
			SPI_processed != 1)
			elog(ERROR, "unexpected result of \"%s\"", sql);
	}
	PG_FINALLY();
	{
		depth--;
	}
	PG_END_TRY();
	runops_as_owner_end(&saved);

	result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		result = SPI_datumTransfer(result, false, -1);
	MemoryContextSwitchTo(cxt);
	SPI_finish();
	if (isnull)
		PG_RETURN_NULL();

	return result;
}
