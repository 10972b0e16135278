/*-------------------------------------------------------------------------
 *
 * idempotency_key.c
 *	  Builds the SQL for an idempotency key: which rows have it, which rows
 *	  have lost it, and how to clear it.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "reads/idempotency_int.h"

/* the columns of runops.idempotency_config */
#define Anum_idempotency_relation 1
#define Anum_idempotency_columns 2
#define Anum_idempotency_expires 3
#define Anum_idempotency_dead_when 4

/* some of the columns of runops.claim_entry */
#define Anum_claim_scope 1
#define Anum_claim_key 2
#define Anum_claim_id 3

/*
 * Copy a row of the configuration.
 */
static void
read_config(RunopsIdempotency *idem, HeapTuple tuple, TupleDesc tupdesc)
{
	Datum	   *elems;
	Datum		datum;
	bool		isnull;

	deconstruct_array(DatumGetArrayTypeP(heap_getattr(tuple, Anum_idempotency_columns, tupdesc, &isnull)),
					  NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &elems, NULL, &idem->ncolumns);
	idem->attnos = palloc(sizeof(AttrNumber) * idem->ncolumns);
	idem->names = palloc(sizeof(char *) * idem->ncolumns);
	for (int i = 0; i < idem->ncolumns; i++)
	{
		idem->names[i] = pstrdup(NameStr(*DatumGetName(elems[i])));
		idem->attnos[i] = runops_target_column(idem->target, idem->names[i]);
	}

	datum = heap_getattr(tuple, Anum_idempotency_expires, tupdesc, &isnull);
	if (!isnull)
	{
		char	   *name = pstrdup(NameStr(*DatumGetName(datum)));

		idem->expires = pstrdup(quote_identifier(name));
		idem->expires_type = getBaseType(get_atttype(idem->target->relid,
													 runops_target_column(idem->target, name)));
	}
	datum = heap_getattr(tuple, Anum_idempotency_dead_when, tupdesc, &isnull);
	if (!isnull)
		idem->dead_when = TextDatumGetCString(datum);
}

/*
 * The idempotency key of a table; raises if it has none.
 *
 * A role that may use the table needs no privilege on the configuration.
 */
RunopsIdempotency *
runops_idempotency(Oid relid)
{
	RunopsIdempotency *idem = palloc0(sizeof(RunopsIdempotency));
	Oid			configid = get_relname_relid("idempotency_config",
											 get_namespace_oid(RUNOPS_SCHEMA, false));
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(configid))
		elog(ERROR, "relation \"%s.idempotency_config\" does not exist", RUNOPS_SCHEMA);
	idem->target = runops_target(relid);

	rel = table_open(configid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (idem->ncolumns == 0 && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		if (DatumGetObjectId(heap_getattr(tuple, Anum_idempotency_relation,
										  RelationGetDescr(rel), &isnull)) == relid)
			read_config(idem, tuple, RelationGetDescr(rel));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	if (idem->ncolumns == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" has no idempotency key", idem->target->route->name),
				 errdetail("The view \"%s.idempotency_keys\" lists the tables that have one.", RUNOPS_SCHEMA),
				 errhint("Use %s.add_idempotency().", RUNOPS_SCHEMA)));

	return idem;
}

/*
 * The condition that a row has this key, as SQL over the alias "t".
 *
 * Raises unless the key has exactly the columns, and none of them is null.
 */
char *
runops_idempotency_key(const RunopsIdempotency *idem, Jsonb *key, RunopsArgs *args)
{
	StringInfoData sql;

	if (!JB_ROOT_IS_OBJECT(key) || JB_ROOT_COUNT(key) != idem->ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an idempotency key of \"%s\" must be a JSON object of %d members",
						idem->target->route->name, idem->ncolumns),
				 errdetail("The view \"%s.idempotency_keys\" lists the columns.", RUNOPS_SCHEMA)));

	initStringInfo(&sql);
	for (int i = 0; i < idem->ncolumns; i++)
	{
		JsonbValue *value = getKeyJsonValueFromContainer(&key->root, idem->names[i],
														 strlen(idem->names[i]), NULL);

		if (value == NULL || value->type == jbvNull)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the idempotency key has no \"%s\"", idem->names[i]),
					 errdetail("The object must have all columns of the key.")));
		appendStringInfo(&sql, "%s%s", i > 0 ? " AND " : "",
						 runops_equality(idem->target, idem->attnos[i], value, args));
	}

	return sql.data;
}

/*
 * The condition that a row has lost its key, because the key has expired or
 * the row is dead.
 *
 * Times without a time zone are in UTC.
 */
char *
runops_idempotency_dead(const RunopsIdempotency *idem, RunopsArgs *args)
{
	StringInfoData sql;

	initStringInfo(&sql);
	if (idem->expires)
		appendStringInfo(&sql, "(t.%s OPERATOR(pg_catalog.<=) $%d) IS TRUE", idem->expires,
						 runops_args_add(args, idem->expires_type,
										 TimestampTzGetDatum(GetCurrentTimestamp()), false));
	if (idem->dead_when)
		appendStringInfo(&sql, "%s(%s) IS TRUE", sql.len > 0 ? " OR " : "", idem->dead_when);

	return sql.len == 0 ? "false" : psprintf("(%s)", sql.data);
}

/*
 * The SET list that clears the key of a row: the last column of the key and
 * the expiry column become NULL.
 */
char *
runops_idempotency_assignment(const RunopsIdempotency *idem)
{
	const char *last = quote_identifier(idem->names[idem->ncolumns - 1]);

	return idem->expires ? psprintf("%s = NULL, %s = NULL", last, idem->expires) :
		psprintf("%s = NULL", last);
}

/*
 * SQL over "t" for the key of a row, in the text form that claims use.
 */
char *
runops_idempotency_object(const RunopsIdempotency *idem)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "pg_catalog.jsonb_build_object(");
	for (int i = 0; i < idem->ncolumns; i++)
		appendStringInfo(&sql, "%s%s, t.%s", i > 0 ? ", " : "",
						 quote_literal_cstr(idem->names[i]), quote_identifier(idem->names[i]));
	appendStringInfoString(&sql, ")::pg_catalog.text");

	return sql.data;
}

/*
 * The scope of claims on the idempotency keys of a table.
 */
static text *
claim_scope(const RunopsIdempotency *idem)
{
	return cstring_to_text(psprintf("idempotency:%s", idem->target->table));
}

/*
 * The index of a table's primary key; the signature of core's function for it
 * differs between majors.
 */
static Oid
primary_index(Relation rel)
{
	list_free(RelationGetIndexList(rel));
	return rel->rd_pkindex;
}

/*
 * The id that has the claim on a key; NULL if there is none.  This sees
 * committed claims and claims of this transaction.
 */
text *
runops_idempotency_holder(const RunopsIdempotency *idem, text *key)
{
	Relation	rel = table_open(get_relname_relid("claim_entry", get_namespace_oid(RUNOPS_SCHEMA, false)),
								 AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	text	   *id = NULL;

	ScanKeyInit(&keys[0], Anum_claim_scope, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(claim_scope(idem)));
	ScanKeyInit(&keys[1], Anum_claim_key, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(key));
	scan = systable_beginscan(rel, primary_index(rel), true, NULL,
							  lengthof(keys), keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		id = DatumGetTextPCopy(heap_getattr(tuple, Anum_claim_id, RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return id;
}

/*
 * Release the claim on a key if this id has it.  The caller has connected to
 * SPI.
 */
void
runops_idempotency_release(const RunopsIdempotency *idem, text *key, text *id)
{
	RunopsArgs	args = {0};

	runops_args_add(&args, TEXTOID, PointerGetDatum(claim_scope(idem)), false);
	runops_args_add(&args, TEXTOID, PointerGetDatum(key), false);
	runops_args_add(&args, TEXTOID, PointerGetDatum(id), false);
	runops_run_query("SELECT " RUNOPS_SCHEMA ".release_claim($1, $2, $3)", &args, 0, false);
}

/*
 * The key that was asked for, in the text form that claims use: each value has
 * the text form of its column's type. args are those of
 * runops_idempotency_key().  The caller has connected to SPI.
 */
text *
runops_idempotency_text(const RunopsIdempotency *idem, const RunopsArgs *args)
{
	RunopsArgs	key = *args;
	StringInfoData sql;
	bool		isnull;

	key.n = idem->ncolumns;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT pg_catalog.jsonb_build_object(");
	for (int i = 0; i < idem->ncolumns; i++)
		appendStringInfo(&sql, "%s%s, $%d", i > 0 ? ", " : "",
						 quote_literal_cstr(idem->names[i]), i + 1);
	appendStringInfoString(&sql, ")::pg_catalog.text");
	if (runops_run_query(sql.data, &key, 0, true) != 1)
		elog(ERROR, "a row was expected");

	return DatumGetTextPCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
										   1, &isnull));
}
