/*-------------------------------------------------------------------------
 *
 * prune_funcs.c
 *	  Implements the SQL functions that run-time pruning evaluates; see
 *	  prune.c.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "topology/topology.h"

/* A larger array is not remembered. */
#define MAX_KEPT_ARRAY	((Size) 1024 * 1024)

/*
 * The stores of the last array.
 *
 * The arms of all stores use the same array.  Two arrays are the same if their
 * bytes are: comparing these is much cheaper than classifying each element
 * again.
 */
static ArrayType *last_array = NULL;
static Size last_size = 0;
static RunopsStoreSet last_stores;

PG_FUNCTION_INFO_V1(runops_store_arm);
PG_FUNCTION_INFO_V1(runops_store_arm_array);

/*
 * The name of a store if it is in a set, else NULL.
 *
 * named: the statement has named the ids itself, so a store that the table
 * lacks is an error and not an empty result.
 */
static Datum
store_if_member(FunctionCallInfo fcinfo, RunopsStoreSet stores)
{
	text	   *store = PG_GETARG_TEXT_PP(1);
	Oid			relid = PG_GETARG_OID(2);
	bool		named = PG_GETARG_BOOL(3);
	char		name[RUNOPS_STORE_LEN];

	if (named && stores != RUNOPS_STORES_ALL)
	{
		const RunopsRoute *route = runops_route(relid);

		if (route != NULL)
			runops_require_stores(route, stores);
	}

	text_to_cstring_buffer(store, name, sizeof(name));
	if ((stores & runops_store_bit(name)) == 0)
		PG_RETURN_NULL();

	PG_RETURN_TEXT_P(store);
}

/*
 * store_arm(id text, store text, relation oid, named boolean) returns text
 *
 * Returns the store's name if the id belongs to it or is unclassifiable, else
 * NULL.
 */
Datum
runops_store_arm(PG_FUNCTION_ARGS)
{
	text	   *id = PG_GETARG_TEXT_PP(0);

	return store_if_member(fcinfo,
						   runops_id_stores(VARDATA_ANY(id),
											VARSIZE_ANY_EXHDR(id)));
}

/*
 * store_arm(ids text[], store text, relation oid, named boolean) returns text
 *
 * Returns the store's name if one of the ids belongs to it or is
 * unclassifiable.
 */
Datum
runops_store_arm_array(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	Size		size = VARSIZE(array);

	if (size > MAX_KEPT_ARRAY)
		return store_if_member(fcinfo, runops_array_stores(array));

	if (size != last_size || memcmp(array, last_array, size) != 0)
	{
		RunopsStoreSet stores = runops_array_stores(array);
		ArrayType  *copy = MemoryContextAlloc(TopMemoryContext, size);

		memcpy(copy, array, size);
		if (last_array != NULL)
			pfree(last_array);
		last_array = copy;
		last_size = size;
		last_stores = stores;
	}

	return store_if_member(fcinfo, last_stores);
}
