/*-------------------------------------------------------------------------
 *
 * error_detail.c
 *	  Removes values that the current user may not see from the errors of a
 *	  store.
 *
 * The detail of a violated constraint shows a row or a key.  The store writes
 * it for the role of the user mapping, which may see every column and has no
 * policies.  This file applies core's rule with the privileges on the routed
 * table.  A role that may select the whole table sees everything.  A role that
 * may select the columns of a key sees the key.  For a row that is known here,
 * the role sees the columns that it may select or has assigned.  Under a
 * policy nothing is shown.
 *
 * The text of a detail depends on the language of the store.  Only a key in
 * the form "(columns)=(values)" is recognized; any other text counts as
 * unknown.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_foreign_table.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/lsyscache.h"

#include "fdw/fdw_int.h"
#include "topology/topology.h"

/* the maximum number of bytes shown of a value, as in core */
#define MAX_VALUE_LEN 64

/*
 * Does the detail of an error with this SQLSTATE show values of rows?
 */
bool
runops_fdw_shows_values(int sqlerrcode)
{
	return ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
		sqlerrcode == ERRCODE_WITH_CHECK_OPTION_VIOLATION;
}

/*
 * Does the detail show a key?
 */
static bool
shows_key(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_UNIQUE_VIOLATION ||
		sqlerrcode == ERRCODE_FOREIGN_KEY_VIOLATION ||
		sqlerrcode == ERRCODE_RESTRICT_VIOLATION ||
		sqlerrcode == ERRCODE_EXCLUSION_VIOLATION;
}

/*
 * Read one column name in the detail of a key.  Returns the position after it,
 * or NULL unless it is a name followed by a comma or the parenthesis.
 */
static const char *
read_column(const char *p, char *name)
{
	int			len = 0;
	bool		quoted = (*p == '"');

	if (quoted)
		p++;
	for (;; p++)
	{
		if (*p == '\0' || len >= NAMEDATALEN)
			return NULL;
		if (quoted && *p == '"')
		{
			p++;
			if (*p != '"')
				break;
		}
		else if (!quoted && !IS_HIGHBIT_SET(*p) && *p != '_' && *p != '$' &&
				 !(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9'))
			break;
		name[len++] = *p;
	}
	if (len >= NAMEDATALEN)
		return NULL;
	name[len] = '\0';

	return *p == ',' || *p == ')' ? p : NULL;
}

/*
 * May the user see all columns of the key that a detail shows?
 *
 * The names are in the first pair of parentheses.  An expression is not a
 * name, so a key with an expression is not shown.
 */
static bool
sees_key(Oid table, const char *detail)
{
	const char *p = strchr(detail, '(');
	char		name[NAMEDATALEN];

	if (p == NULL)
		return false;
	do
	{
		p = read_column(p + 1, name);
		if (p == NULL || !runops_sees_column(table, name))
			return false;
		if (*p == ',' && *++p != ' ')
			return false;
	} while (*p == ' ');

	return strncmp(p, ")=(", 3) == 0;
}

/*
 * The text of a rejected row with the columns that may be shown, in core's
 * form; NULL if none may be shown.
 */
static char *
describe_row(EState *estate, ResultRelInfo *rri, Oid table, TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	Bitmapset  *assigned = bms_union(ExecGetInsertedCols(rri, estate),
									 ExecGetUpdatedCols(rri, estate));
	StringInfoData names;
	StringInfoData values;

	initStringInfo(&names);
	initStringInfo(&values);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		char	   *text = "null";
		int			len;
		Datum		value;
		bool		isnull;

		if (att->attisdropped ||
			(!bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, assigned) &&
			 !runops_sees_column(table, NameStr(att->attname))))
			continue;

		value = slot_getattr(slot, att->attnum, &isnull);
		if (!isnull)
		{
			Oid			output;
			bool		isvarlena;

			getTypeOutputInfo(att->atttypid, &output, &isvarlena);
			text = OidOutputFunctionCall(output, value);
		}
		len = strlen(text);
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", NameStr(att->attname));
		appendStringInfoString(&values, values.len > 0 ? ", " : "");
		if (len <= MAX_VALUE_LEN)
			appendStringInfoString(&values, text);
		else
		{
			appendBinaryStringInfo(&values, text, pg_mbcliplen(text, len, MAX_VALUE_LEN));
			appendStringInfoString(&values, "...");
		}
	}

	/* as in core, no names if it is the whole row */
	if (runops_sight(table) == RUNOPS_SIGHT_ALL)
		return psprintf(_("Failing row contains (%s)."), values.data);
	return names.len == 0 ? NULL :
		psprintf(_("Failing row contains (%s) = (%s)."), names.data, values.data);
}

/*
 * The foreign table for the table that an error names, or InvalidOid.  Sets
 * *sees_all to whether the user may see all tables of the server.
 */
static Oid
find_table(Oid serverid, const RunopsStoreError *error, bool *sees_all)
{
	Relation	rel = table_open(ForeignTableRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	Oid			result = InvalidOid;
	HeapTuple	tuple;

	*sees_all = true;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_table form = (Form_pg_foreign_table) GETSTRUCT(tuple);
		const char *schema;
		const char *table;

		if (form->ftserver != serverid)
			continue;
		runops_fdw_remote_name(form->ftrelid, &schema, &table);
		if (strcmp(schema, error->schema) == 0 && strcmp(table, error->table) == 0)
			result = form->ftrelid;
		if (runops_sight(runops_leaf_table(form->ftrelid)) != RUNOPS_SIGHT_ALL)
			*sees_all = false;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return result;
}

/*
 * Correct an error about another table than the statement's.  The error gets
 * the local name of that table, and loses its detail unless the user may see
 * all tables of the server, and that table is one of them.
 *
 * Through a trigger or a foreign key of the store, an error can be about any
 * table.  The detail about a row that is still referenced does not even name
 * the table of the row.
 */
static void
correct_other_table(Oid serverid, const RunopsStoreError *error, ErrorData *edata)
{
	bool		sees_all;
	Oid			relid = find_table(serverid, error, &sees_all);

	if (OidIsValid(relid))
	{
		Oid			table = runops_leaf_table(relid);

		edata->schema_name = get_namespace_name(get_rel_namespace(table));
		edata->table_name = get_rel_name(table);
	}
	if (!superuser() && !(sees_all && OidIsValid(relid)))
		edata->detail = NULL;
}

/*
 * The detail of an error about a table, as far as it may be shown; NULL if
 * nothing may be shown.
 *
 * slot is the row that was sent; NULL if there was none, or more than one.
 */
static char *
permitted_detail(EState *estate, ResultRelInfo *rri, Oid table,
				 TupleTableSlot *slot, const ErrorData *edata)
{
	switch (runops_sight(table))
	{
		case RUNOPS_SIGHT_ALL:
			return edata->detail;
		case RUNOPS_SIGHT_NONE:
			return NULL;
		case RUNOPS_SIGHT_COLUMNS:
			break;
	}
	if (shows_key(edata->sqlerrcode))
		return sees_key(table, edata->detail) ? edata->detail : NULL;

	return slot ? describe_row(estate, rri, table, slot) : NULL;
}

/*
 * Raise the current error again, without the values that the user may not see.
 *
 * This must be called where an error is caught that a callback of postgres_fdw
 * has raised for a foreign table.  The error comes from the store or from
 * postgres_fdw, which hold no lock at that point, so the catalogs can be read.
 */
void
runops_fdw_rethrow(EState *estate, ResultRelInfo *rri, Oid relid,
				   TupleTableSlot *slot)
{
	const RunopsStoreError *error = runops_conn_error();
	const char *schema;
	const char *table;
	ErrorData  *edata;

	if (!runops_fdw_shows_values(geterrcode()))
		PG_RE_THROW();

	MemoryContextSwitchTo(estate->es_query_cxt);
	edata = CopyErrorData();
	if (edata->detail == NULL)
		PG_RE_THROW();
	FlushErrorState();
	runops_fdw_remote_name(relid, &schema, &table);
	if (error->sqlerrcode == edata->sqlerrcode &&
		strcmp(error->schema, schema) == 0 && strcmp(error->table, table) == 0)
		edata->detail = permitted_detail(estate, rri, runops_leaf_table(relid), slot, edata);
	else
		correct_other_table(GetForeignServerIdByRelId(relid), error, edata);
	ReThrowError(edata);
}

/*
 * Raise the current error again, which core has raised for a constraint of a
 * foreign table: about the routed table, and without what the user may not see.
 */
void
runops_fdw_rethrow_check(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot)
{
	Oid			table = runops_leaf_table(RelationGetRelid(rri->ri_RelationDesc));
	ErrorData  *edata;

	/* anything else is an error of an expression */
	if (geterrcode() != ERRCODE_CHECK_VIOLATION &&
		geterrcode() != ERRCODE_NOT_NULL_VIOLATION)
		PG_RE_THROW();

	MemoryContextSwitchTo(estate->es_query_cxt);
	edata = CopyErrorData();
	/* a function in a CHECK may raise the same for another table */
	if (edata->schema_name == NULL || edata->table_name == NULL ||
		get_relname_relid(edata->table_name, get_namespace_oid(edata->schema_name, true)) !=
		RelationGetRelid(rri->ri_RelationDesc))
		PG_RE_THROW();
	FlushErrorState();
	edata->schema_name = get_namespace_name(get_rel_namespace(table));
	edata->table_name = get_rel_name(table);

	/* core asked for the privileges on the foreign table */
	edata->detail = runops_sight(table) == RUNOPS_SIGHT_NONE ? NULL :
		describe_row(estate, rri, table, slot);
	ReThrowError(edata);
}
