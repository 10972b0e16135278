/*-------------------------------------------------------------------------
 *
 * idempotency.c
 *	  Finds the row that has an idempotency key, in whichever store it is, and
 *	  clears the keys of rows.
 *
 * A parent of one store may ask for a key that a run of another store has.  So
 * every store is asked, the family's own store first.  If a key has expired or
 * its row is dead, an UPDATE clears the key on the row and repeats this
 * condition.  So if two transactions find the row, one of them clears the key,
 * and the other looks again.
 *
 * A lookup does not guarantee that there is only one row, because it does not
 * see rows that another transaction has inserted but not yet committed.
 * Claims guarantee it (see integrity/claims.c).
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "gate/gate.h"
#include "mint/mint.h"
#include "reads/idempotency_int.h"
#include "xact/xact.h"

/* How often to look in one store for a key that others are clearing too. */
#define MAX_LOOKS 10

/* The row that was found. */
typedef struct FoundRow
{
	const char *store;
	Datum		id;				/* text */
	Datum		row;			/* jsonb */
} FoundRow;

PG_FUNCTION_INFO_V1(runops_idempotency_store);
PG_FUNCTION_INFO_V1(runops_find_idempotent);
PG_FUNCTION_INFO_V1(runops_reset_idempotency);

/*
 * Copy the first store to look for a key to store[RUNOPS_STORE_LEN]: the
 * parent's store, or without a parent the store of the next root.
 *
 * An unclassifiable parent belongs to legacy.  With the flag off there is only
 * one database.
 */
static void
family_store(text *org, text *parent, char *store)
{
	strlcpy(store, RUNOPS_LEGACY_STORE, RUNOPS_STORE_LEN);
	if (runops_gate_flag_off())
		return;

	if (parent == NULL)
		runops_mint_store(runops_mint_kind_of_root(org), store);
	else
	{
		RunopsIdParts parts;

		runops_id_parse(VARDATA_ANY(parent), VARSIZE_ANY_EXHDR(parent), &parts);
		runops_mint_store((RunopsMintKind) {parts.kind, parts.site}, store);
	}
}

/*
 * idempotency_store(org, parent)
 */
Datum
runops_idempotency_store(PG_FUNCTION_ARGS)
{
	char		store[RUNOPS_STORE_LEN];

	runops_gate_require_any(NULL);
	family_store(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0),
				 PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1), store);

	PG_RETURN_TEXT_P(cstring_to_text(store));
}

/*
 * Copy a column of a fetched row into a memory context.
 */
static Datum
copy_value(HeapTuple tuple, TupleDesc tupdesc, int column, MemoryContext context)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(context);
	bool		isnull;
	Datum		result = datumCopy(SPI_getbinval(tuple, tupdesc, column, &isnull), false, -1);

	MemoryContextSwitchTo(oldcontext);
	return result;
}

/*
 * Clear the key of the dead rows of a store that have it, and return their
 * number.  If there is one, "found" is set to one of them, as it is after the
 * UPDATE.
 */
static uint64
clear_dead(const RunopsIdempotency *idem, const RunopsLeaf *leaf, const char *matches,
		   const char *dead, const RunopsArgs *args, MemoryContext caller, FoundRow *found)
{
	const RunopsTarget *target = idem->target;
	StringInfoData sql;
	uint64		n;
	Datum	   *ids;
	text	   *key;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "UPDATE %s AS t SET %s WHERE %s OPERATOR(pg_catalog.=) %s AND %s AND %s"
					 " RETURNING pg_catalog.format('%%s', %s), pg_catalog.to_jsonb(t.*)",
					 target->table, runops_idempotency_assignment(idem), target->store_of,
					 quote_literal_cstr(leaf->store), matches, dead, target->pk);
	n = runops_run_query(sql.data, args, 0, false);
	if (n == 0)
		return 0;

	found->store = leaf->store;
	found->id = copy_value(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, caller);
	found->row = copy_value(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, caller);

	ids = palloc(sizeof(Datum) * n);
	for (uint64 i = 0; i < n; i++)
		ids[i] = copy_value(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, CurrentMemoryContext);
	key = runops_idempotency_text(idem, args);
	for (uint64 i = 0; i < n; i++)
		runops_idempotency_release(idem, key, DatumGetTextPP(ids[i]));

	return n;
}

/*
 * Look for a key in one store.  Returns true if a live row has it.  "found" is
 * set to that row, or to a row whose key was cleared.
 */
static bool
find_in_store(const RunopsIdempotency *idem, const RunopsLeaf *leaf, Jsonb *key,
			  MemoryContext caller, FoundRow *found)
{
	const RunopsTarget *target = idem->target;

	for (int look = 0; look < MAX_LOOKS; look++)
	{
		RunopsArgs	args = {0};
		char	   *matches = runops_idempotency_key(idem, key, &args);
		char	   *dead = runops_idempotency_dead(idem, &args);
		uint64		n;

		CHECK_FOR_INTERRUPTS();
		n = runops_run_query(psprintf("SELECT pg_catalog.format('%%s', %s), pg_catalog.to_jsonb(t.*), %s FROM %s AS t"
									  " WHERE %s OPERATOR(pg_catalog.=) %s AND %s",
									  target->pk, dead, target->table, target->store_of,
									  quote_literal_cstr(leaf->store), matches), &args, 0, false);
		if (n == 0)
			return false;
		for (uint64 i = 0; i < n; i++)
		{
			HeapTuple	tuple = SPI_tuptable->vals[i];
			TupleDesc	tupdesc = SPI_tuptable->tupdesc;
			bool		isnull;

			if (DatumGetBool(SPI_getbinval(tuple, tupdesc, 3, &isnull)))
				continue;
			found->store = leaf->store;
			found->id = copy_value(tuple, tupdesc, 1, caller);
			found->row = copy_value(tuple, tupdesc, 2, caller);
			return true;
		}

		/* if another transaction cleared the key first, look again */
		if (clear_dead(idem, leaf, matches, dead, &args, caller, found) > 0)
			return false;
	}

	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not clear the idempotency key of a row in store \"%s\"", leaf->store),
			 errdetail("Other transactions are changing rows that have the key."),
			 errhint("Try again.")));
}

/*
 * Look for a key in all stores, the family's store first.
 */
static bool
find_everywhere(const RunopsIdempotency *idem, Jsonb *key, const char *family,
				FoundRow *found)
{
	const RunopsTarget *target = idem->target;
	MemoryContext caller = CurrentMemoryContext;
	bool		hit = false;

	SPI_connect();
	for (int i = -1; i < target->nleaves && !hit; i++)
	{
		for (int j = 0; j < target->nleaves && !hit; j++)
		{
			bool		is_family = strcmp(target->leaves[j]->store, family) == 0;

			if (i < 0 ? is_family : j == i && !is_family)
				hit = find_in_store(idem, target->leaves[j], key, caller, found);
		}
	}
	SPI_finish();

	return hit;
}

/*
 * find_idempotent(relation, key, org, parent,
 *				   OUT outcome, OUT store, OUT id, OUT row)
 *
 * Always returns one row.  "hit" means that a live row has the key; "cleared"
 * means that a row had it and has lost it now.
 */
Datum
runops_find_idempotent(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RunopsIdempotency *idem;
	char		family[RUNOPS_STORE_LEN];
	FoundRow	found = {0};
	bool		hit;
	Datum		values[4] = {0};
	bool		nulls[4] = {false, true, true, true};

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", PG_ARGISNULL(0) ? "relation" : "key")));

	idem = runops_idempotency(PG_GETARG_OID(0));
	family_store(PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2),
				 PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3), family);

	/* this decision must not depend on the older rows of a reader */
	runops_reader_suspend();
	hit = find_everywhere(idem, PG_GETARG_JSONB_P(1), family, &found);
	runops_reader_resume();

	values[0] = CStringGetTextDatum(hit ? "hit" : found.store ? "cleared" : "none");
	if (found.store)
	{
		memset(nulls, false, sizeof(nulls));
		values[1] = CStringGetTextDatum(found.store);
		values[2] = found.id;
		values[3] = found.row;
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);

	return (Datum) 0;
}

/*
 * Clear the keys of the rows of a store that fulfil a condition, and release
 * the claims on them.  Returns the number of rows.
 */
static uint64
reset_in_store(const RunopsIdempotency *idem, const RunopsLeaf *leaf,
			   const char *condition, const RunopsArgs *args)
{
	const RunopsTarget *target = idem->target;
	const char *has_key = psprintf("t.%s IS NOT NULL",
								   quote_identifier(idem->names[idem->ncolumns - 1]));
	const char *pin = psprintf("%s OPERATOR(pg_catalog.=) %s", target->store_of,
							   quote_literal_cstr(leaf->store));
	RunopsArgs	update = {0};
	uint64		n;
	Datum	   *ids;
	Datum	   *keys;

	/* a claim is released by its key, so read the key before it is cleared */
	n = runops_run_query(psprintf("SELECT pg_catalog.format('%%s', %s), %s FROM %s AS t WHERE %s AND %s AND %s FOR UPDATE",
								  target->pk, runops_idempotency_object(idem), target->table,
								  pin, condition, has_key), args, 0, false);
	if (n == 0)
		return 0;

	ids = palloc(sizeof(Datum) * n);
	keys = palloc(sizeof(Datum) * n);
	for (uint64 i = 0; i < n; i++)
	{
		ids[i] = copy_value(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, CurrentMemoryContext);
		keys[i] = copy_value(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, CurrentMemoryContext);
	}

	runops_args_add(&update, TEXTARRAYOID,
					PointerGetDatum(construct_array(ids, n, TEXTOID, -1, false, TYPALIGN_INT)), false);
	n = runops_run_query(psprintf("UPDATE %s AS t SET %s WHERE %s AND %s OPERATOR(pg_catalog.=) ANY ($1) AND %s",
								  target->table, runops_idempotency_assignment(idem), pin,
								  target->pk, has_key), &update, 0, false);
	for (int i = 0; i < ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(update.values[0])),
									   ARR_DIMS(DatumGetArrayTypeP(update.values[0]))); i++)
		runops_idempotency_release(idem, DatumGetTextPP(keys[i]), DatumGetTextPP(ids[i]));

	return n;
}

/*
 * The stores that may hold the rows of some ids; NULLs are ignored.
 */
static RunopsStoreSet
stores_of_ids(const RunopsTarget *target, ArrayType *ids)
{
	RunopsStoreSet stores = RUNOPS_STORES_NONE;
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	deconstruct_array(ids, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			stores |= runops_target_stores(target, DatumGetTextPP(elems[i]));
	}

	return stores;
}

/*
 * reset_idempotency(relation, key, ids, OUT store, OUT rows)
 *
 * Returns a row for each store that may have such rows, with the number of
 * rows that lost their key.
 *
 * After a reset by key no row has it.  So the claim on the key is released
 * whichever id has it: the winner's run may have been deleted long ago.
 */
Datum
runops_reset_idempotency(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RunopsIdempotency *idem;
	RunopsStoreSet stores = RUNOPS_STORES_ALL;
	RunopsArgs	args = {0};
	char	   *condition = "true";
	text	   *key = NULL;
	text	   *holder = NULL;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation must not be null")));
	if (PG_ARGISNULL(1) && PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a key or ids must be given"),
				 errdetail("Without either, the keys of all rows would be reset.")));

	idem = runops_idempotency(PG_GETARG_OID(0));
	if (!PG_ARGISNULL(1))
		condition = runops_idempotency_key(idem, PG_GETARG_JSONB_P(1), &args);
	if (!PG_ARGISNULL(2))
	{
		int			number = runops_args_add(&args, TEXTARRAYOID, PG_GETARG_DATUM(2), false);

		stores = stores_of_ids(idem->target, PG_GETARG_ARRAYTYPE_P(2));
		condition = psprintf("%s AND %s", condition,
							 runops_target_match(idem->target,
												 psprintf("OPERATOR(pg_catalog.=) ANY ($%d)", number)));
	}

	runops_reader_suspend();
	SPI_connect();
	if (PG_ARGISNULL(2))
	{
		/* read it before the rows: a later claim must not be released */
		key = runops_idempotency_text(idem, &args);
		holder = runops_idempotency_holder(idem, key);
	}
	for (int i = 0; i < idem->target->nleaves; i++)
	{
		const RunopsLeaf *leaf = idem->target->leaves[i];
		Datum		values[2];
		bool		nulls[2] = {false, false};

		if ((stores & runops_store_bit(leaf->store)) == 0)
			continue;
		values[0] = CStringGetTextDatum(leaf->store);
		values[1] = Int64GetDatum(reset_in_store(idem, leaf, condition, &args));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	if (holder != NULL)
		runops_idempotency_release(idem, key, holder);
	SPI_finish();
	runops_reader_resume();

	return (Datum) 0;
}
