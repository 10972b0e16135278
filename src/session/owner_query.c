/*-------------------------------------------------------------------------
 *
 * owner_query.c
 *	  Runs a query for set-up work with the rights of a table's owner, here and
 *	  in a store.
 *
 * Functions such as verify() evaluate keys, predicates and casts that the
 * owner of a table has written, whichever role calls them.  This file does the
 * evaluation, and the functions compute with the values.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

#include "base/as_owner.h"
#include "base/compat.h"
#include "base/progress.h"
#include "session/session_int.h"

/* The name of the relation with the rows of the store, and of its column. */
#define STORE_ROWS "store_rows"
#define STORE_ROWS_COLUMN "r"

/* The number of rows to fetch from the query at once. */
#define FETCH_ROWS 1000

PG_FUNCTION_INFO_V1(runops_owner_query);

/*
 * Raise an error unless the current user has the rights of the table's owner.
 */
static void
check_is_owner(Oid relid, Oid owner)
{
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table %s", get_rel_name(relid)),
				 errdetail("Its rows are read with the rights of its owner."),
				 errhint("Run this as the owner of the table or as a superuser.")));
}

/*
 * Set the settings for name lookup and row security; they are reset with the
 * other settings of the owner.
 */
static void
set_up_settings(void)
{
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Read the rows of a query in a store, and register them with SPI.
 */
static void
register_store_rows(const char *store, const char *sql)
{
	ReturnSetInfo into = {0};
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	into.setDesc = CreateTemplateTupleDesc(1);
	TupleDescInitEntry(into.setDesc, 1, STORE_ROWS_COLUMN, JSONBOID, -1, 0);
	TupleDescFinalize(into.setDesc);
	into.setResult = tuplestore_begin_heap(true, false, work_mem);
	runops_store_rows(store, sql, &into);

	enr->md.name = STORE_ROWS;
	enr->md.tupdesc = into.setDesc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = tuplestore_tuple_count(into.setResult);
	enr->reldata = into.setResult;
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the rows of a store");
}

/*
 * Raise an error unless the query returns the expected columns, because values
 * of other types would be misread.
 */
static void
check_columns(TupleDesc given, TupleDesc expected)
{
	bool		same = given->natts == expected->natts;

	for (int i = 0; same && i < given->natts; i++)
		same = TupleDescAttr(given, i)->atttypid == TupleDescAttr(expected, i)->atttypid;
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("columns of the query do not match the columns that are expected"),
				 errdetail("Each column has to be of the type that the column definition list names."),
				 errhint("Cast the columns in the query.")));
}

/*
 * _owner_query(relation regclass, query text, store text, store_query text):
 * return the rows of a query that runs as the owner of a table, in a
 * security-restricted operation.
 *
 * With a store, store_query runs there with the owner's user mapping.  The
 * query reads its rows from "store_rows", a relation with one column "r" of
 * jsonb objects.  Raises an error unless the caller has the rights of the
 * owner.
 */
Datum
runops_owner_query(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RunopsAsOwner saved;
	Oid			relid;
	Oid			owner;
	char	   *sql;
	SPIPlanPtr	plan;
	Portal		portal;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("table and query must not be NULL"),
				 errdetail("The query runs as the owner of the table."),
				 errhint("Pass the table and a SELECT.")));
	relid = PG_GETARG_OID(0);
	sql = text_to_cstring(PG_GETARG_TEXT_PP(1));
	owner = runops_table_owner(relid);
	check_is_owner(relid, owner);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	runops_as_owner_begin(&saved, owner);
	set_up_settings();
	if (!PG_ARGISNULL(2) && !PG_ARGISNULL(3))
		register_store_rows(text_to_cstring(PG_GETARG_TEXT_PP(2)),
							text_to_cstring(PG_GETARG_TEXT_PP(3)));

	plan = SPI_prepare(sql, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	check_columns(portal->tupDesc, rsinfo->setDesc);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
			tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
		if (PG_ARGISNULL(2))
			runops_progress_note_rows(SPI_processed);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	runops_as_owner_end(&saved);
	SPI_finish();

	return (Datum) 0;
}
