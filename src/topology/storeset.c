/*-------------------------------------------------------------------------
 *
 * storeset.c
 *	  Computes sets of stores from ids and from the leaves of tables.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "base/id.h"
#include "topology/topology.h"

/* The first bit of the shards; legacy is bit 0, new is bit 1. */
#define SHARD_DIGIT_BIT		2
#define SHARD_LETTER_BIT	12
#define STORE_BITS			38

/* How many unclassifiable ids this backend has met, for the counters. */
uint64		runops_shapeless_ids = 0;

/*
 * The bit of a store's name; no bit if the name is not a store name.
 */
RunopsStoreSet
runops_store_bit(const char *store)
{
	if (store[0] != '\0' && store[1] == '\0')
	{
		if (store[0] >= '0' && store[0] <= '9')
			return UINT64CONST(1) << (SHARD_DIGIT_BIT + store[0] - '0');
		if (store[0] >= 'a' && store[0] <= 'z')
			return UINT64CONST(1) << (SHARD_LETTER_BIT + store[0] - 'a');
	}
	else if (runops_is_legacy(store))
		return UINT64CONST(1);
	else if (strcmp(store, RUNOPS_NEW_STORE) == 0)
		return UINT64CONST(2);

	return RUNOPS_STORES_NONE;
}

/*
 * Append the names of the stores in a set, separated by commas.
 */
void
runops_store_names(StringInfo buf, RunopsStoreSet stores)
{
	const char *separator = "";

	if (stores == RUNOPS_STORES_ALL)
	{
		appendStringInfoString(buf, "all");
		return;
	}

	for (int bit = 0; bit < STORE_BITS; bit++)
	{
		if ((stores & (UINT64CONST(1) << bit)) == 0)
			continue;

		appendStringInfoString(buf, separator);
		separator = ", ";
		if (bit == 0)
			appendStringInfoString(buf, RUNOPS_LEGACY_STORE);
		else if (bit == 1)
			appendStringInfoString(buf, RUNOPS_NEW_STORE);
		else if (bit < SHARD_LETTER_BIT)
			appendStringInfoChar(buf, '0' + bit - SHARD_DIGIT_BIT);
		else
			appendStringInfoChar(buf, 'a' + bit - SHARD_LETTER_BIT);
	}
}

/*
 * The stores that may hold a row with this id: one store, or all if the id is
 * unclassifiable.
 */
RunopsStoreSet
runops_id_stores(const char *id, size_t len)
{
	const char *body;
	char		shard[2];

	switch (runops_id_classify(id, len, &body))
	{
		case RUNOPS_ID_CUID:
			return runops_store_bit(RUNOPS_LEGACY_STORE);
		case RUNOPS_ID_KSUID:
		case RUNOPS_ID_RUNOPS:
			return runops_store_bit(RUNOPS_NEW_STORE);
		case RUNOPS_ID_SHARD:
			shard[0] = body[RUNOPS_CORE_LEN - 2];
			shard[1] = '\0';
			return runops_store_bit(shard);
		case RUNOPS_ID_NONE:
			runops_shapeless_ids++;
			break;
	}

	return RUNOPS_STORES_ALL;
}

/*
 * The stores that may hold rows with the ids in a text array.
 */
RunopsStoreSet
runops_array_stores(ArrayType *array)
{
	RunopsStoreSet stores = RUNOPS_STORES_NONE;
	ArrayIterator iterator = array_create_iterator(array, 0, NULL);
	Datum		value;
	bool		isnull;

	while (stores != RUNOPS_STORES_ALL &&
		   array_iterate(iterator, &value, &isnull))
	{
		text	   *id;

		if (isnull)
			continue;
		id = DatumGetTextPP(value);
		stores |= runops_id_stores(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id));
	}
	array_free_iterator(iterator);

	return stores;
}

/*
 * The stores that a table has leaves for.
 */
RunopsStoreSet
runops_route_stores(const RunopsRoute *route)
{
	RunopsStoreSet stores = RUNOPS_STORES_NONE;

	for (int i = 0; i < route->nleaves; i++)
		stores |= runops_store_bit(route->leaves[i].store);

	return stores;
}

/*
 * Raise store_not_configured if the set has a store that the table lacks.
 *
 * The set of all stores stands for an open scan, which names no store.
 */
void
runops_require_stores(const RunopsRoute *route, RunopsStoreSet stores)
{
	StringInfoData names;
	RunopsStoreSet missing;
	char	   *relname;

	if (stores == RUNOPS_STORES_ALL)
		return;
	missing = stores & ~runops_route_stores(route);
	if (missing == RUNOPS_STORES_NONE)
		return;

	initStringInfo(&names);
	runops_store_names(&names, missing);
	relname = get_rel_name(route->relid);

	ereport(ERROR,
			(errcode(ERRCODE_RUNOPS_STORE_NOT_CONFIGURED),
			 errmsg("store \"%s\" of \"%s\" is not configured",
					names.data, relname ? relname : "?"),
			 errdetail("An id in the statement belongs to a store that the table has no leaf for."),
			 errhint("Use runops.add_store() to add the store.")));
}
