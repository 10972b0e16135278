/*-------------------------------------------------------------------------
 *
 * legacy_reader.c
 *	  Reads legacy rows of this database from the reader of legacy.
 *
 * The reader is a standby of this database, so the leaf has the same name
 * there.  The query runs with the privileges of the user mapping, which are
 * not the caller's.  So the reader is not used if the caller's privileges or a
 * policy decide which rows are visible.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "base/compat.h"
#include "reads/page_cursor_int.h"
#include "reads/reads_int.h"
#include "session/session.h"
#include "xact/xact.h"

/*
 * May the reader of legacy serve this lookup?
 *
 * It may not if this transaction has written to legacy, because a standby has
 * only committed rows.
 */
bool
runops_replica_serves(const RunopsTarget *target, const RunopsLeaf *leaf)
{
	return !leaf->foreign && runops_reader_serves(leaf->store) &&
		!runops_writes_has(leaf->store) &&
		pg_class_aclcheck(target->relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		check_enable_rls(target->relid, InvalidOid, true) != RLS_ENABLED;
}

/*
 * A parameter as a literal of its type.
 *
 * The text is made under fixed settings, which are also those of the reader's
 * session.
 */
static char *
literal(const RunopsArgs *args, int i)
{
	Oid			output;
	bool		varlena;

	if (args->nulls[i] == 'n')
		return "NULL";
	getTypeOutputInfo(args->types[i], &output, &varlena);

	return psprintf("%s::%s",
					quote_literal_cstr(OidOutputFunctionCall(output, args->values[i])),
					format_type_extended(args->types[i], -1, FORMAT_TYPE_FORCE_QUALIFY));
}

/*
 * Replace the parameters in SQL by literals.
 *
 * An identifier may contain a dollar sign, but then it is quoted.
 */
static char *
inline_parameters(const char *sql, const RunopsArgs *args)
{
	StringInfoData buf;
	char		quote = '\0';

	initStringInfo(&buf);
	while (*sql != '\0')
	{
		if (quote == '\0' && *sql == '$')
		{
			char	   *end;
			long		number = strtol(sql + 1, &end, 10);

			if (number < 1 || number > args->n)
				elog(ERROR, "there is no parameter $%ld", number);
			appendStringInfoString(&buf, literal(args, number - 1));
			sql = end;
			continue;
		}
		if (quote == '\0' && (*sql == '"' || *sql == '\''))
			quote = *sql;
		else if (*sql == quote)
			quote = '\0';
		appendStringInfoChar(&buf, *sql++);
	}

	return buf.data;
}

/*
 * Convert the row of a reader's answer to the form that it has here: the
 * session's time zone applies to times.
 */
static Jsonb *
as_shown_here(const RunopsTarget *target, Jsonb *row)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext oldcontext;
	RunopsArgs	args = {0};
	Jsonb	   *result;
	bool		isnull;

	runops_args_add(&args, JSONBOID, JsonbPGetDatum(row), false);
	SPI_connect();
	if (runops_run_query(psprintf("SELECT pg_catalog.to_jsonb(pg_catalog.jsonb_populate_record(NULL::%s, $1))",
								  target->table), &args, 0, true) != 1)
		elog(ERROR, "a row was expected");
	oldcontext = MemoryContextSwitchTo(caller);
	result = DatumGetJsonbPCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
											  1, &isnull));
	MemoryContextSwitchTo(oldcontext);
	SPI_finish();

	return result;
}

/*
 * The rows of legacy that fulfil a condition, read from its reader: a list of
 * pointers to jsonb.
 */
List *
runops_replica_rows(const RunopsTarget *target, const RunopsLeaf *leaf,
					const char *condition, const RunopsArgs *args)
{
	int			nestlevel = runops_cursor_settings();
	char	   *sql;
	List	   *rows;
	ListCell   *lc;

	sql = psprintf("SELECT t.* FROM %s AS t WHERE %s",
				   quote_qualified_identifier(leaf->schema, leaf->name),
				   inline_parameters(condition, args));
	AtEOXact_GUC(true, nestlevel);

	rows = runops_reader_query(leaf->store, sql);
	foreach(lc, rows)
		lfirst(lc) = as_shown_here(target, lfirst(lc));

	return rows;
}
