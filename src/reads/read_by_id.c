/*-------------------------------------------------------------------------
 *
 * read_by_id.c
 *	  Reads rows by id, and tells where each was found or why it was not.
 *
 * Each store that is asked gets one query.  It is a query on the routed table,
 * so that the caller's privileges and policies apply, and it names its store
 * (see planner/pinned_store.c).  If an id decides its store, only that store
 * is asked.  Any other id is looked up in the NEW stores first and then in
 * legacy, until it is found.
 *
 * A store that cannot be asked is an error, because the row could be there.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/qunique.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "gate/gate.h"
#include "reads/reads_int.h"
#include "xact/xact.h"

/* An id to look for; duplicates in the input share one entry. */
typedef struct WantedId
{
	char	   *id;
	RunopsStoreSet stores;		/* where its row may be */
	const char *source;			/* where it was found; NULL: not yet */
	bool		by_key;			/* found by its primary key, and not by an
								 * alias? */
	Datum		row;			/* jsonb */
} WantedId;

/* A lookup of one id, as SQL over the alias "t". */
typedef struct IdQuery
{
	const RunopsTarget *target;
	char	   *match;			/* condition: is it this row? */
	char	   *scope;			/* condition: is the row in the scope? */
	RunopsArgs	args;			/* for both; the first is the id */
} IdQuery;

/* The row that was found. */
typedef struct FoundById
{
	Datum		row;			/* jsonb */
	bool		in_scope;
} FoundById;

PG_FUNCTION_INFO_V1(runops_read_through);
PG_FUNCTION_INFO_V1(runops_read_many);

/*
 * The name that read_through has for a leaf's store.
 */
static const char *
source_of(const RunopsLeaf *leaf)
{
	return runops_is_legacy(leaf->store) ? "legacy" : "new";
}

/*
 * The same for a row that was read from the store's reader.
 */
static const char *
source_by_reader(const RunopsLeaf *leaf)
{
	return runops_is_legacy(leaf->store) ? "legacy-replica" : "new";
}

/*
 * The result of read_through for an id that no store has.
 *
 * With the flag off there is only one database, so the age of the id is not
 * considered.
 */
static const char *
source_of_miss(const RunopsTarget *target, text *id)
{
	return !runops_gate_flag_off() && runops_past_retention(target->relid, id) ?
		"past-retention" : "not-found";
}

/*
 * Look up an id in one store; returns false if it is not there.
 *
 * If it is a primary key of one row and an alias of another, the primary key
 * counts.
 */
static bool
find_in_leaf(const IdQuery *query, const RunopsLeaf *leaf, FoundById *found)
{
	const RunopsTarget *target = query->target;
	MemoryContext caller = CurrentMemoryContext;
	StringInfoData sql;
	uint64		n;
	uint64		best = 0;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT pg_catalog.to_jsonb(t.*), (%s) IS TRUE, %s OPERATOR(pg_catalog.=) $1"
					 " FROM %s AS t WHERE %s OPERATOR(pg_catalog.=) %s AND %s",
					 query->scope, target->pk, target->table, target->store_of,
					 quote_literal_cstr(leaf->store), query->match);

	SPI_connect();
	n = runops_run_query(sql.data, &query->args, 0, true);
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
									   3, &isnull)))
			best = i;
	}
	if (n > 0)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(caller);
		HeapTuple	tuple = SPI_tuptable->vals[best];
		bool		isnull;

		found->row = datumCopy(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull),
							   false, -1);
		found->in_scope = DatumGetBool(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
		MemoryContextSwitchTo(oldcontext);
	}
	SPI_finish();

	return n > 0;
}

/*
 * Look up an id in legacy by its reader.  Returns false if it is not there or
 * not in the scope; the second case is rare, so it is not distinguished.
 */
static bool
find_by_replica(const IdQuery *query, const RunopsLeaf *leaf, FoundById *found)
{
	List	   *rows;

	rows = runops_replica_rows(query->target, leaf,
							   psprintf("%s AND %s ORDER BY %s OPERATOR(pg_catalog.=) $1 DESC LIMIT 1",
										query->match, query->scope, query->target->pk),
							   &query->args);
	if (rows == NIL)
		return false;
	found->row = PointerGetDatum(linitial(rows));
	found->in_scope = true;

	return true;
}

/*
 * Look up an id in one store.  Returns the source, or NULL if it is not there.
 *
 * A reader may be behind, so if it does not have the row, the writer is asked.
 */
static const char *
look_in_leaf(const IdQuery *query, const RunopsLeaf *leaf, FoundById *found)
{
	bool		is_found;

	if (runops_replica_serves(query->target, leaf))
	{
		if (find_by_replica(query, leaf, found))
			return source_by_reader(leaf);
	}
	else if (leaf->foreign && runops_reader_serves(leaf->store))
	{
		if (find_in_leaf(query, leaf, found))
			return source_by_reader(leaf);
	}

	runops_reader_suspend();
	is_found = find_in_leaf(query, leaf, found);
	runops_reader_resume();

	return is_found ? source_of(leaf) : NULL;
}

/*
 * Look up an id in the stores that may have it.  Returns the source for
 * read_through, and sets *row if the row is found.
 *
 * A row outside the scope counts as not found, whatever its age, because it
 * exists.
 */
const char *
runops_read_by_id(const RunopsTarget *target, text *id, Jsonb *scope, Datum *row)
{
	RunopsStoreSet stores = runops_target_stores(target, id);
	RunopsStoreSet likely;
	IdQuery		query = {.target = target};
	FoundById	found = {0};

	runops_args_add(&query.args, TEXTOID, PointerGetDatum(id), false);
	query.match = runops_target_match(target, "OPERATOR(pg_catalog.=) $1");
	query.scope = runops_scope(target, scope, &query.args);

	/* first the stores that the scope names, then the others */
	likely = runops_scope_stores(target, scope);
	for (int i = 0; i < 2 * target->nleaves; i++)
	{
		const RunopsLeaf *leaf = target->leaves[i % target->nleaves];
		RunopsStoreSet store = runops_store_bit(leaf->store);
		const char *source;

		if ((stores & store) == 0 || ((likely & store) != 0) != (i < target->nleaves))
			continue;
		source = look_in_leaf(&query, leaf, &found);
		if (source == NULL)
			continue;
		if (!found.in_scope)
			return "not-found";
		*row = found.row;
		return source;
	}

	return source_of_miss(target, id);
}

/*
 * read_through(relation, id, scope, OUT source, OUT row)
 *
 * Always returns one row.  A row outside the scope is reported as not found,
 * so that the caller does not learn that it exists.
 */
Datum
runops_read_through(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[2] = {0};
	bool		nulls[2] = {false, true};
	const char *source = "not-found";

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation must not be null")));

	if (!PG_ARGISNULL(1))
	{
		source = runops_read_by_id(runops_target(PG_GETARG_OID(0)), PG_GETARG_TEXT_PP(1),
								   PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2),
								   &values[1]);
		nulls[1] = values[1] == (Datum) 0;
	}
	values[0] = CStringGetTextDatum(source);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);

	return (Datum) 0;
}

/*
 * qsort and bsearch comparator: order wanted ids by their bytes.
 */
static int
compare_wanted(const void *a, const void *b)
{
	return strcmp(((const WantedId *) a)->id, ((const WantedId *) b)->id);
}

/*
 * The entry of this id, or NULL.
 */
static WantedId *
find_wanted(WantedId *wanted, int nwanted, char *id)
{
	WantedId	key = {.id = id};

	return bsearch(&key, wanted, nwanted, sizeof(WantedId), compare_wanted);
}

/*
 * Sort the given ids and remove duplicates and NULLs.
 */
static WantedId *
collect_wanted(const RunopsTarget *target, Datum *elems, bool *nulls, int nelems,
			   int *nwanted)
{
	WantedId   *wanted = palloc0(sizeof(WantedId) * Max(nelems, 1));
	int			n = 0;

	for (int i = 0; i < nelems; i++)
	{
		if (nulls[i])
			continue;
		wanted[n].id = TextDatumGetCString(elems[i]);
		wanted[n++].stores = runops_target_stores(target, DatumGetTextPP(elems[i]));
	}
	if (n > 1)
	{
		qsort(wanted, n, sizeof(WantedId), compare_wanted);
		n = qunique(wanted, n, sizeof(WantedId), compare_wanted);
	}

	*nwanted = n;
	return wanted;
}

/*
 * The ids to ask a store for, as an array of text; NULL if there are none.
 */
static ArrayType *
ids_for_leaf(const RunopsLeaf *leaf, const WantedId *wanted, int nwanted)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(nwanted, 1));
	int			n = 0;

	for (int i = 0; i < nwanted; i++)
	{
		if (wanted[i].source == NULL &&
			(wanted[i].stores & runops_store_bit(leaf->store)) != 0)
			elems[n++] = CStringGetTextDatum(wanted[i].id);
	}

	return n == 0 ? NULL : construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/*
 * Assign a row to the wanted ids that identify it. values holds its primary
 * key and then its aliases; NULL stands for none.
 */
static void
note_row(const char *source, Datum row, char **values, int nvalues,
		 WantedId *wanted, int nwanted)
{
	for (int i = 0; i < nvalues; i++)
	{
		WantedId   *id = values[i] ? find_wanted(wanted, nwanted, values[i]) : NULL;

		if (id == NULL || (id->source != NULL && (i > 0 || id->by_key)))
			continue;
		id->source = source;
		id->by_key = i == 0;
		id->row = row;
	}
}

/*
 * Ask one store, by one statement, for all wanted ids that it may have.
 */
static void
ask_leaf(const RunopsTarget *target, const RunopsLeaf *leaf, const char *source,
		 ArrayType *ids, WantedId *wanted, int nwanted)
{
	MemoryContext caller = CurrentMemoryContext;
	int			nvalues = 1 + list_length(target->aliases);
	char	  **values = palloc(sizeof(char *) * nvalues);
	RunopsArgs	args = {0};
	StringInfoData sql;
	ListCell   *lc;
	uint64		n;

	runops_args_add(&args, TEXTARRAYOID, PointerGetDatum(ids), false);
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT pg_catalog.to_jsonb(t.*), %s", target->pk);
	foreach(lc, target->aliases)
		appendStringInfo(&sql, ", %s", strVal(lfirst(lc)));
	appendStringInfo(&sql, " FROM %s AS t WHERE %s OPERATOR(pg_catalog.=) %s AND %s",
					 target->table, target->store_of, quote_literal_cstr(leaf->store),
					 runops_target_match(target, "OPERATOR(pg_catalog.=) ANY ($1)"));

	SPI_connect();
	n = runops_run_query(sql.data, &args, 0, true);
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		MemoryContext oldcontext = MemoryContextSwitchTo(caller);
		bool		isnull;

		for (int v = 0; v < nvalues; v++)
			values[v] = SPI_getvalue(tuple, tupdesc, v + 2);
		note_row(source,
				 datumCopy(SPI_getbinval(tuple, tupdesc, 1, &isnull), false, -1),
				 values, nvalues, wanted, nwanted);
		MemoryContextSwitchTo(oldcontext);
	}
	SPI_finish();
}

/*
 * A column of a row in jsonb form; NULL if it is null.
 */
static char *
field_of(Jsonb *row, const char *column)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&row->root, column, strlen(column), NULL);

	return value == NULL || value->type != jbvString ? NULL :
		pnstrdup(value->val.string.val, value->val.string.len);
}

/*
 * The same for the reader of legacy.
 */
static void
ask_replica(const RunopsTarget *target, const RunopsLeaf *leaf, const char *source,
			ArrayType *ids, WantedId *wanted, int nwanted)
{
	int			nvalues = 1 + list_length(target->aliases);
	char	  **values = palloc(sizeof(char *) * nvalues);
	RunopsArgs	args = {0};
	ListCell   *row;

	runops_args_add(&args, TEXTARRAYOID, PointerGetDatum(ids), false);
	foreach(row, runops_replica_rows(target, leaf,
									 runops_target_match(target, "OPERATOR(pg_catalog.=) ANY ($1)"),
									 &args))
	{
		int			v = 0;
		ListCell   *lc;

		values[v++] = field_of(lfirst(row), get_attname(target->relid, target->pk_attno, false));
		foreach(lc, target->alias_attnos)
			values[v++] = field_of(lfirst(row), get_attname(target->relid, lfirst_int(lc), false));
		note_row(source, PointerGetDatum(lfirst(row)), values, nvalues, wanted, nwanted);
	}
}

/*
 * Look up in one store all wanted ids that it may have; ids that its reader
 * does not have are looked up by the writer.
 */
static void
read_leaf(const RunopsTarget *target, const RunopsLeaf *leaf,
		  WantedId *wanted, int nwanted)
{
	ArrayType  *ids = ids_for_leaf(leaf, wanted, nwanted);

	if (ids == NULL)
		return;

	if (runops_replica_serves(target, leaf))
	{
		ask_replica(target, leaf, source_by_reader(leaf), ids, wanted, nwanted);
		ids = ids_for_leaf(leaf, wanted, nwanted);
	}
	else if (leaf->foreign && runops_reader_serves(leaf->store))
	{
		ask_leaf(target, leaf, source_by_reader(leaf), ids, wanted, nwanted);
		ids = ids_for_leaf(leaf, wanted, nwanted);
	}
	if (ids == NULL)
		return;

	runops_reader_suspend();
	ask_leaf(target, leaf, source_of(leaf), ids, wanted, nwanted);
	runops_reader_resume();
}

/*
 * read_many(relation, ids, OUT ord, OUT id, OUT source, OUT row)
 *
 * Returns a row for each element, in order.  There is one statement for each
 * store, no matter how many ids there are, and one more for the ids that its
 * reader does not have.  A store that cannot have any of the ids is not asked.
 */
Datum
runops_read_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RunopsTarget *target;
	Datum	   *elems;
	bool	   *elem_nulls;
	int			nelems;
	WantedId   *wanted;
	int			nwanted;

	InitMaterializedSRF(fcinfo, 0);
	target = runops_target(PG_GETARG_OID(0));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT,
					  &elems, &elem_nulls, &nelems);
	wanted = collect_wanted(target, elems, elem_nulls, nelems, &nwanted);

	for (int i = 0; i < target->nleaves; i++)
		read_leaf(target, target->leaves[i], wanted, nwanted);

	for (int i = 0; i < nelems; i++)
	{
		WantedId   *id = elem_nulls[i] ? NULL :
			find_wanted(wanted, nwanted, TextDatumGetCString(elems[i]));
		bool		found = id != NULL && id->source != NULL;
		Datum		values[4];
		bool		nulls[4] = {false, elem_nulls[i], false, !found};

		values[0] = Int64GetDatum(i + 1);
		values[1] = elems[i];
		values[2] = CStringGetTextDatum(found ? id->source : id == NULL ? "not-found" :
										source_of_miss(target, DatumGetTextPP(elems[i])));
		values[3] = found ? id->row : (Datum) 0;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}

	return (Datum) 0;
}
