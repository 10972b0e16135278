/*-------------------------------------------------------------------------
 *
 * guard_ctid.c
 *	  Keeps an UPDATE or DELETE of one row from changing a row of another
 *	  partition of the store's table, if the table has no key (row_key.c).
 *
 * Then only its ctid identifies the row.  In a store whose table is
 * partitioned, or has children, rows of several tables have the same ctid.  So
 * the statement that is sent raises an error if the row with this ctid is not
 * in the table itself.  The condition is not a constant, because PostgreSQL
 * would evaluate a constant even if no row needs it.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/errcodes.h"
#include "fdw/fdw_int.h"
#include "topology/topology.h"

/* the condition by which postgres_fdw identifies the row */
#define CTID_CONDITION " WHERE ctid = $1"

/* start of the store's error message if the row is in another table */
#define MARK "runops: the row is in another table, "

/*
 * The statement of an UPDATE or DELETE with the condition added.
 */
char *
runops_fdw_guard_ctid(const char *sql, Oid relid)
{
	const char *found = strstr(sql, CTID_CONDITION);
	const char *schema;
	const char *table;
	char	   *name;
	int			end;

	if (found == NULL || strstr(found + 1, CTID_CONDITION) != NULL)
		elog(ERROR, "unexpected condition in \"%s\"", sql);
	end = found - sql + strlen(CTID_CONDITION);

	runops_fdw_remote_name(relid, &schema, &table);
	name = quote_literal_cstr(quote_qualified_identifier(schema, table));

	return psprintf("%.*s AND CASE WHEN tableoid = %s::pg_catalog.regclass THEN true"
					" ELSE ('" MARK "' || tableoid::pg_catalog.text)::pg_catalog.bool END%s",
					end, sql, name, sql + end);
}

/*
 * Replace the current error if it comes from this condition; otherwise do
 * nothing.
 */
void
runops_fdw_report_guard(EState *estate, Oid relid)
{
	MemoryContext oldcontext;
	ErrorData  *edata;

	if (geterrcode() != ERRCODE_INVALID_TEXT_REPRESENTATION)
		return;

	oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);
	edata = CopyErrorData();
	MemoryContextSwitchTo(oldcontext);
	if (edata->message == NULL || strstr(edata->message, MARK) == NULL)
		return;

	FlushErrorState();
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot change single rows of \"%s\" in store \"%s\"",
					get_rel_name(relid), runops_store_label(relid)),
			 errdetail("The table in the store is partitioned or has children, and has no primary key here: the place of a row does not identify it there."),
			 errhint("Give the table a primary key, here and in the store.")));
}
