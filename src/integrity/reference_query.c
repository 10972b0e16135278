/*-------------------------------------------------------------------------
 *
 * reference_query.c
 *	  Locks the keys of references, and queries the rows on both sides.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "integrity/reference_int.h"
#include "topology/topology.h"

/* Fourth field of an advisory lock's tag; the SQL functions use 1 and 2. */
#define REFERENCE_LOCK_CLASS 0x5252

/* The hash key of a saved plan; its padding must be zero. */
typedef struct ReferencePlanKey
{
	RunopsReference reference;
	RunopsReferenceQuery query;
} ReferencePlanKey;

typedef struct ReferencePlan
{
	ReferencePlanKey key;
	SPIPlanPtr	plan;
} ReferencePlan;

static HTAB *plans = NULL;

/*
 * The attribute number of a reference's column in a relation, which may be a
 * leaf.
 *
 * Raises if the column was dropped or renamed.
 */
AttrNumber
runops_reference_attno(Oid relid, const NameData *column,
					   const RunopsReference *reference)
{
	AttrNumber	attno = get_attnum(relid, NameStr(*column));

	if (attno == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						NameStr(*column), get_rel_name(relid)),
				 errdetail("Reference \"%s\" needs it.", NameStr(reference->name)),
				 errhint("Use runops.drop_reference() with the name that the column had.")));

	return attno;
}

/*
 * Look up how the values of a reference are compared: as in the referenced
 * column.
 */
void
runops_reference_column(const RunopsReference *reference, RunopsReferenceColumn *column)
{
	AttrNumber	attno = runops_reference_attno(reference->parent,
											   &reference->parent_column, reference);
	int32		typmod;

	get_atttypetypmodcoll(reference->parent, attno, &column->type, &typmod,
						  &column->collation);
	column->type = getBaseType(column->type);
	column->cache = lookup_type_cache(column->type,
									  TYPECACHE_EQ_OPR |
									  TYPECACHE_HASH_EXTENDED_PROC_FINFO);
	/* add_reference has checked this */
	if (!OidIsValid(column->cache->eq_opr) ||
		!OidIsValid(column->cache->hash_extended_proc_finfo.fn_oid))
		elog(ERROR, "type %u of reference \"%s\" cannot be hashed",
			 column->type, NameStr(reference->name));
}

/*
 * Lock a key of a table until the transaction ends.  The returned hash
 * determines the number of the lock.
 */
uint64
runops_reference_lock(Oid parent, const RunopsReferenceColumn *column, Datum key, LOCKMODE mode)
{
	LOCKTAG		tag;
	uint64		hash;

	hash = DatumGetUInt64(FunctionCall2Coll(&column->cache->hash_extended_proc_finfo,
											column->collation, key, UInt64GetDatum(0)));
	hash = hash_combine64(hash, hash_combine(MyDatabaseId, parent));

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, parent, hash % RUNOPS_REFERENCE_KEYS, REFERENCE_LOCK_CLASS);
	(void) LockAcquire(&tag, mode, false, false);

	return hash;
}

/*
 * The text of a query of a reference.
 */
static char *
query_text(const RunopsReference *reference, const RunopsReferenceColumn *column,
		   RunopsReferenceQuery query)
{
	bool		of_parent = (query == REFERENCE_QUERY_PARENT || query == REFERENCE_QUERY_PARENTS);
	Oid			relid = of_parent ? reference->parent : reference->child;
	const char *name = quote_identifier(NameStr(of_parent ? reference->parent_column :
												reference->child_column));
	char	   *table = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
												   get_rel_name(relid));
	StringInfoData sql;

	initStringInfo(&sql);
	switch (query)
	{
		case REFERENCE_QUERY_PARENT:
			appendStringInfo(&sql, "SELECT %s FROM %s x WHERE ",
							 get_rel_relkind(relid) == RELKIND_RELATION ? "x.xmin" : "1", table);
			break;
		case REFERENCE_QUERY_PARENTS:
			appendStringInfo(&sql, "SELECT x.%s, %s FROM %s x WHERE ", name,
							 get_rel_relkind(relid) == RELKIND_RELATION ? "x.xmin" : "1", table);
			break;
		case REFERENCE_QUERY_CHILD:
			appendStringInfo(&sql, "SELECT 1 FROM %s x WHERE ", table);
			break;
		case REFERENCE_QUERY_DELETE:
			appendStringInfo(&sql, "DELETE FROM %s x WHERE ", table);
			break;
		case REFERENCE_QUERY_SET_NULL:
			appendStringInfo(&sql, "UPDATE %s x SET %s = NULL WHERE ", table, name);
			break;
	}
	if (query == REFERENCE_QUERY_PARENTS)
	{
		Oid			left;
		Oid			right;

		op_input_types(column->cache->eq_opr, &left, &right);
		generate_operator_clause(&sql, psprintf("x.%s", name), column->type,
								 column->cache->eq_opr, "ANY ($1)", right);
	}
	else
		generate_operator_clause(&sql, psprintf("x.%s", name), column->type,
								 column->cache->eq_opr, "$1", column->type);
	if (query == REFERENCE_QUERY_PARENT || query == REFERENCE_QUERY_CHILD)
		appendStringInfoString(&sql, " LIMIT 1");

	return sql.data;
}

/*
 * The saved plan of a query.
 */
static SPIPlanPtr
get_plan(const RunopsReference *reference, const RunopsReferenceColumn *column,
		 RunopsReferenceQuery query)
{
	ReferencePlanKey key;
	ReferencePlan *entry;
	bool		found;

	if (plans == NULL)
	{
		HASHCTL		ctl;

		ctl.keysize = sizeof(ReferencePlanKey);
		ctl.entrysize = sizeof(ReferencePlan);
		plans = hash_create("runops reference plans", 32, &ctl, HASH_ELEM | HASH_BLOBS);
	}

	memset(&key, 0, sizeof(key));
	key.reference = *reference;
	key.query = query;
	entry = hash_search(plans, &key, HASH_ENTER, &found);
	if (!found)
		entry->plan = NULL;

	/* a table or a column may have been renamed */
	if (entry->plan != NULL && !SPI_plan_is_valid(entry->plan))
	{
		SPI_freeplan(entry->plan);
		entry->plan = NULL;
	}
	if (entry->plan == NULL)
	{
		char	   *sql = query_text(reference, column, query);
		Oid			types[1] = {query == REFERENCE_QUERY_PARENTS ? get_array_type(column->type) : column->type};
		SPIPlanPtr	plan = SPI_prepare(sql, 1, types);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed for \"%s\": %s", sql,
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
		entry->plan = plan;
	}

	return entry->plan;
}

/* Who ran the current query, and with which settings. */
typedef struct QueryUser
{
	Oid			user;
	int			context;
	int			nest;			/* of settings; 0: none were set */
} QueryUser;

/*
 * Connect to SPI, and become the user that queries a table.
 *
 * A plain table is queried as its owner, like in the query of a foreign key.
 * A routed table is queried as the current user, because the transaction has
 * written to a store with the user mapping of that user.  If a policy would
 * hide rows, the query raises an error.  It may read
 * other stores than the transaction has read.
 */
static void
enter_query(Oid relid, QueryUser *old)
{
	SPI_connect();

	GetUserIdAndSecContext(&old->user, &old->context);
	old->nest = 0;
	if (runops_route(relid) != NULL)
	{
		old->nest = NewGUCNestLevel();
		(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
		if (IsolationUsesXactSnapshot())
			(void) set_config_option("runops.cross_store_snapshots", "allow", PGC_USERSET,
									 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	}
	else
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for relation %u", relid);
		SetUserIdAndSecContext(((Form_pg_class) GETSTRUCT(tuple))->relowner,
							   old->context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
		ReleaseSysCache(tuple);
	}
}

/*
 * Be the old user again, and disconnect from SPI.
 */
static void
leave_query(const QueryUser *old)
{
	if (old->nest > 0)
		AtEOXact_GUC(true, old->nest);
	SetUserIdAndSecContext(old->user, old->context);
	SPI_finish();
}

/*
 * Was the row of a result written by another transaction?  The column has its
 * xmin.
 */
static bool
is_committed(int row, int column)
{
	bool		isnull;
	Datum		xmin = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return !TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin));
}

/*
 * Run a query of a reference; returns whether there are rows.  If there are
 * and committed is not NULL, *committed tells whether another transaction
 * wrote the first row.
 */
bool
runops_reference_query(const RunopsReference *reference, const RunopsReferenceColumn *column,
					   RunopsReferenceQuery query, Datum key, bool *committed)
{
	bool		reads = (query == REFERENCE_QUERY_PARENT || query == REFERENCE_QUERY_CHILD);
	SPIPlanPtr	plan;
	QueryUser	old;
	bool		result;
	int			code;

	enter_query(query == REFERENCE_QUERY_PARENT ? reference->parent : reference->child, &old);
	plan = get_plan(reference, column, query);
	code = SPI_execute_snapshot(plan, &key, NULL,
								reads && IsolationUsesXactSnapshot() ? GetLatestSnapshot() : InvalidSnapshot,
								InvalidSnapshot, false, true, reads ? 1 : 0);
	if (code < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(code));
	result = SPI_processed > 0;
	if (result && committed != NULL)
		*committed = is_committed(0, 1);
	leave_query(&old);

	return result;
}

/*
 * The rows of the referenced table with one of these keys, in the current
 * memory context.  Whether they were committed is known of a plain table only.
 */
RunopsReferenceRow *
runops_reference_parents(const RunopsReference *reference, const RunopsReferenceColumn *column,
						 Datum *keys, int nkeys, int *nrows)
{
	bool		plain = get_rel_relkind(reference->parent) == RELKIND_RELATION;
	MemoryContext cxt = CurrentMemoryContext;
	const TypeCacheEntry *cache = column->cache;
	RunopsReferenceRow *rows;
	SPIPlanPtr	plan;
	QueryUser	old;
	Datum		array;
	int			code;

	enter_query(reference->parent, &old);
	plan = get_plan(reference, column, REFERENCE_QUERY_PARENTS);
	array = PointerGetDatum(construct_array(keys, nkeys, column->type, cache->typlen,
											cache->typbyval, cache->typalign));
	code = SPI_execute_snapshot(plan, &array, NULL,
								IsolationUsesXactSnapshot() ? GetLatestSnapshot() : InvalidSnapshot,
								InvalidSnapshot, false, true, 0);
	if (code < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(code));
	rows = MemoryContextAlloc(cxt, Max(SPI_processed, 1) * sizeof(RunopsReferenceRow));
	*nrows = SPI_processed;
	for (int i = 0; i < *nrows; i++)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(cxt);
		bool		isnull;

		rows[i].key = datumCopy(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull),
								cache->typbyval, cache->typlen);
		rows[i].committed = plain && is_committed(i, 2);
		MemoryContextSwitchTo(oldcontext);
	}
	leave_query(&old);

	return rows;
}
