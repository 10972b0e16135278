/*-------------------------------------------------------------------------
 *
 * resolver_admin.c
 *	  Implements add_resolver() and drop_resolver().
 *
 * These functions are in C because the query must be checked under the
 * caller's search path.  The table is written as its owner, so that no other
 * role needs a privilege on it: a row says with whose rights its query runs,
 * and that must be the role that registered it.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/runops.h"
#include "control_plane/resolver_int.h"

PG_FUNCTION_INFO_V1(runops_add_resolver);
PG_FUNCTION_INFO_V1(runops_drop_resolver);

/*
 * The owner of resolver_config.
 */
static Oid
config_owner(void)
{
	Oid			relid = get_relname_relid("resolver_config",
										  get_namespace_oid(RUNOPS_SCHEMA, false));
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	return owner;
}

/*
 * Run a statement on resolver_config as its owner; returns the number of rows
 * that it wrote.
 */
static uint64
write_config(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	Oid			save_userid;
	int			save_sec_context;
	uint64		written;
	int			rc;

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(config_owner(),
						   save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	rc = SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0);
	if (rc != SPI_OK_INSERT && rc != SPI_OK_DELETE)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(rc));
	written = SPI_processed;
	SPI_finish();
	SetUserIdAndSecContext(save_userid, save_sec_context);

	return written;
}

/*
 * The schemas of the caller's search path, in the format of the setting
 * search_path.
 *
 * The schema of temporary tables comes last and not first: the query must not
 * later find a temporary table instead of the table that it found when it was
 * registered.
 */
static char *
current_search_path(void)
{
	StringInfoData path;
	ListCell   *lc;

	initStringInfo(&path);
	foreach(lc, fetch_search_path(false))
	{
		char	   *name = get_namespace_name(lfirst_oid(lc));

		if (name != NULL && !isAnyTempNamespace(lfirst_oid(lc)))
			appendStringInfo(&path, "%s, ", quote_identifier(name));
	}
	if (path.len == 0)
		appendStringInfoString(&path, "pg_catalog, ");
	appendStringInfoString(&path, "pg_temp");

	return path.data;
}

/*
 * Raise unless this is a valid name for a slot.
 */
static void
check_slot_name(const char *slot)
{
	if (slot[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the slot of a resolver must not be empty")));
	if (strlen(slot) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("slot name \"%s\" is too long", slot),
				 errdetail("The limit is %d bytes.", NAMEDATALEN - 1)));
}

/*
 * An argument of type name, or NULL.
 */
static char *
name_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : pstrdup(NameStr(*PG_GETARG_NAME(n)));
}

/*
 * add_resolver(slot text, query text, environment_column name,
 *				organization_column name, ttl interval) returns void
 */
Datum
runops_add_resolver(PG_FUNCTION_ARGS)
{
	Oid			types[8] = {TEXTOID, TEXTOID, NAMEOID, NAMEOID, INTERVALOID, REGROLEOID, TEXTOID, INT4OID};
	Datum		values[8];
	char		nulls[9] = "        ";
	char	   *slot;
	char	   *query;
	int			nkeys;

	for (int i = 0; i < 2; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s of a resolver must not be null",
							i == 0 ? "the slot" : "the query")));
	}
	slot = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check_slot_name(slot);
	if (!PG_ARGISNULL(4))
	{
		Interval	zero = {0};

		if (DatumGetInt32(DirectFunctionCall2(interval_cmp, PG_GETARG_DATUM(4),
											  IntervalPGetDatum(&zero))) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the time to live of a resolver must not be negative"),
					 errhint("A value of 0 caches nothing; null means the setting \"%s\".",
							 "runops.control_plane_cache_ttl")));
	}

	nkeys = runops_resolver_check(text_to_cstring(PG_GETARG_TEXT_PP(1)),
								  name_argument(fcinfo, 2), name_argument(fcinfo, 3),
								  &query);

	values[0] = PG_GETARG_DATUM(0);
	values[1] = CStringGetTextDatum(query);
	for (int i = 2; i <= 4; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	values[5] = ObjectIdGetDatum(GetUserId());
	values[6] = CStringGetTextDatum(current_search_path());
	values[7] = Int32GetDatum(nkeys);
	if (write_config("INSERT INTO " RUNOPS_SCHEMA ".resolver_config VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
					 " ON CONFLICT DO NOTHING",
					 lengthof(types), types, values, nulls) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("resolver \"%s\" already exists", slot),
				 errhint("Drop it first with %s.drop_resolver().", RUNOPS_SCHEMA)));

	PG_RETURN_VOID();
}

/*
 * drop_resolver(slot text, if_exists boolean) returns void
 *
 * Only the role that registered it, members of that role, and superusers may
 * do this.
 */
Datum
runops_drop_resolver(PG_FUNCTION_ARGS)
{
	char	   *slot = text_to_cstring(PG_GETARG_TEXT_PP(0));
	RunopsResolver resolver;
	Oid			type = TEXTOID;
	Datum		value = PG_GETARG_DATUM(0);

	if (!runops_resolver_find(slot, &resolver))
	{
		if (!PG_GETARG_BOOL(1))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("resolver \"%s\" does not exist", slot)));
		ereport(NOTICE,
				(errmsg("resolver \"%s\" does not exist, skipping", slot)));
		PG_RETURN_VOID();
	}
	if (!superuser() && !has_privs_of_role(GetUserId(), resolver.registrant))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to drop resolver \"%s\"", slot),
				 errdetail("Another role has registered the resolver.")));

	write_config("DELETE FROM " RUNOPS_SCHEMA ".resolver_config"
				 " WHERE slot OPERATOR(pg_catalog.=) $1",
				 1, &type, &value, NULL);
	if (runops_cache_enabled())
		runops_cache_purge(MyDatabaseId, slot);

	PG_RETURN_VOID();
}
