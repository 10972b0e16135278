/*-------------------------------------------------------------------------
 *
 * page.c
 *	  Implements read_page(), which returns pages of a routed table in one
 *	  order over all stores.
 *
 * The order is by a column and then by the primary key, so it is total: ids of
 * different shapes are mixed, and rows with equal values have a fixed order.
 * A page begins after the last row of the previous page, by value and not by
 * position, so rows that were inserted or deleted in between do not shift it.
 *
 * Texts are ordered byte by byte.  The databases of the stores may have
 * different default collations, and then no other order is the same in all of
 * them.  But postgres_fdw does not ship COLLATE "C" on a column of another
 * collation.  It does ship an expression of type bytea, which has the same
 * order.  See key_bytes().
 *
 * Each store is named in its own query (see planner/pinned_store.c) and sends
 * at most one page.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "reads/page_cursor_int.h"
#include "reads/reads_int.h"

PG_FUNCTION_INFO_V1(runops_read_page);

/*
 * Does a collation order by bytes in every database?
 */
static bool
is_byte_collation(Oid collation)
{
	return collation == C_COLLATION_OID || collation == POSIX_COLLATION_OID;
}

/*
 * SQL for the bytes of a text column.
 *
 * convert_to() cannot be used, because it is not immutable.  With doubled
 * backslashes the format "escape" returns each byte unchanged.
 */
static char *
key_bytes(const char *column)
{
	return psprintf("pg_catalog.decode(pg_catalog.replace(%s, E'\\\\', E'\\\\\\\\'), 'escape')",
					column);
}

/*
 * The qualified name of one of a type's ordering operators.
 */
static char *
ordering_operator(Oid type, int strategy)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY);
	Oid			opno = OidIsValid(entry->btree_opf) ?
		get_opfamily_member(entry->btree_opf, entry->btree_opintype,
							entry->btree_opintype, strategy) : InvalidOid;
	HeapTuple	tuple;
	Form_pg_operator form;
	char	   *result;

	if (!OidIsValid(opno))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not identify an ordering operator for type %s",
						format_type_be(type)),
				 errhint("Sort by a column whose type has an order.")));

	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(opno));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", opno);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	result = psprintf("OPERATOR(%s.%s)",
					  quote_identifier(get_namespace_name(form->oprnamespace)),
					  NameStr(form->oprname));
	ReleaseSysCache(tuple);

	return result;
}

/*
 * Decide how to order by a column of the target.
 *
 * Raises if the column's type has no order, or an order that may differ
 * between databases.
 */
static void
set_order_term(const RunopsTarget *target, AttrNumber attno, RunopsOrderTerm *term)
{
	Oid			type;
	int32		typmod;
	HeapTuple	tuple;

	term->column = psprintf("t.%s", quote_identifier(get_attname(target->relid, attno, false)));
	get_atttypetypmodcoll(target->relid, attno, &type, &typmod, &term->collation);
	term->type = getBaseType(type);
	term->expression = term->column;
	term->compared = term->type;

	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(target->relid), Int16GetDatum(attno));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for attribute %d of relation %u", attno, target->relid);
	term->nullable = !((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
	ReleaseSysCache(tuple);

	/*
	 * jsonb has no collation, but it compares the strings in it by a
	 * collation
	 */
	if (term->type == JSONBOID ||
		(OidIsValid(term->collation) && !is_byte_collation(term->collation)))
	{
		if (term->type != TEXTOID && term->type != VARCHAROID)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot order pages by column \"%s\" of type %s",
							get_attname(target->relid, attno, false), format_type_be(type)),
					 errdetail("The order of its values may differ between the databases of the stores."),
					 errhint("Sort by a column of another type, or one with COLLATE \"C\".")));
		term->expression = key_bytes(term->column);
		term->compared = BYTEAOID;
	}
	(void) ordering_operator(term->compared, BTLessStrategyNumber);
}

/*
 * Add the value of a cursor as a parameter to compare with an order term;
 * returns its number as SQL.
 */
static char *
cursor_parameter(const RunopsOrderTerm *term, Datum value, RunopsArgs *args)
{
	/* a text and its bytes have the same binary form */
	return psprintf("$%d", runops_args_add(args, term->compared, value, false));
}

/*
 * The condition that a row comes after the row of the cursor.
 *
 * NULL is larger than every value, as in ORDER BY.  The first comparison alone
 * gives the start position in an index.
 */
static char *
behind_cursor(const RunopsPage *page, RunopsArgs *args)
{
	const RunopsOrderTerm *sort = &page->sort;
	bool		desc = page->descending;
	char	   *key_op = ordering_operator(page->key.compared,
										   desc ? BTLessStrategyNumber : BTGreaterStrategyNumber);
	char	   *key = psprintf("%s %s %s", page->key.expression, key_op,
							   cursor_parameter(&page->key, page->after_key, args));
	char	   *value;
	char	   *result;

	if (page->after_null)
		return desc ?
			psprintf("((%s IS NULL AND %s) OR %s IS NOT NULL)", sort->column, key, sort->column) :
			psprintf("(%s IS NULL AND %s)", sort->column, key);

	value = cursor_parameter(sort, page->after_value, args);
	result = psprintf("(%s %s %s AND (%s %s %s OR %s))",
					  sort->expression,
					  ordering_operator(sort->compared, desc ? BTLessEqualStrategyNumber : BTGreaterEqualStrategyNumber),
					  value, sort->expression,
					  ordering_operator(sort->compared, desc ? BTLessStrategyNumber : BTGreaterStrategyNumber),
					  value, key);
	if (!desc && sort->nullable)
		result = psprintf("(%s OR %s IS NULL)", result, sort->column);

	return result;
}

/*
 * The query for a page: it reads a page from each store and returns the first
 * page of these rows.
 */
static char *
page_query(const RunopsTarget *target, const RunopsPage *page, Jsonb *scope,
		   RunopsArgs *args)
{
	StringInfoData condition;
	StringInfoData sql;
	const char *direction = page->descending ? "DESC" : "ASC";
	int			limit = runops_args_add(args, INT8OID, Int64GetDatum(page->size), false);

	initStringInfo(&condition);
	appendStringInfoString(&condition, runops_scope(target, scope, args));
	if (page->after)
		appendStringInfo(&condition, " AND %s", behind_cursor(page, args));

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT u.r, u.v, u.p FROM (");
	for (int i = 0; i < target->nleaves; i++)
		appendStringInfo(&sql,
						 "%s(SELECT pg_catalog.to_jsonb(t.*) AS r, %s AS v, %s AS p, %s AS s, %s AS k"
						 " FROM %s AS t WHERE %s OPERATOR(pg_catalog.=) %s AND %s"
						 " ORDER BY s %s, k %s LIMIT $%d)",
						 i > 0 ? " UNION ALL " : "",
						 page->sort.column, target->pk,
						 page->sort.expression, page->key.expression,
						 target->table, target->store_of,
						 quote_literal_cstr(target->leaves[i]->store), condition.data,
						 direction, direction, limit);
	appendStringInfo(&sql, ") AS u ORDER BY u.s %s, u.k %s LIMIT $%d",
					 direction, direction, limit);

	return sql.data;
}

/*
 * Check the arguments of read_page, and fill in the page.
 */
static void
get_page(FunctionCallInfo fcinfo, const RunopsTarget *target, RunopsPage *page)
{
	memset(page, 0, sizeof(RunopsPage));
	page->sort_name = NameStr(*PG_GETARG_NAME(2));
	page->size = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3);
	page->descending = PG_ARGISNULL(5) || PG_GETARG_BOOL(5);

	if (page->size <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("page_size must be at least 1"),
				 errdetail("The page size is the maximum number of rows that is returned.")));

	set_order_term(target, runops_target_column(target, page->sort_name), &page->sort);
	set_order_term(target, target->pk_attno, &page->key);
	if (!PG_ARGISNULL(4))
		runops_cursor_read(PG_GETARG_JSONB_P(4), page);
}

/*
 * read_page(relation, scope, sort, page_size, after, descending,
 *			 OUT cursor, OUT row)
 *
 * Returns the rows of the page, each with the cursor for the page after it.
 */
Datum
runops_read_page(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RunopsTarget *target;
	RunopsPage	page;
	RunopsArgs	args = {0};
	char	   *sql;
	uint64		n;
	int			nestlevel;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", PG_ARGISNULL(0) ? "relation" : "sort")));

	target = runops_target(PG_GETARG_OID(0));
	get_page(fcinfo, target, &page);
	sql = page_query(target, &page, PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1), &args);

	SPI_connect();
	/* only a custom plan pushes LIMIT down to the stores */
	n = runops_run_query(sql, &args, CURSOR_OPT_CUSTOM_PLAN, true);
	nestlevel = runops_cursor_settings();
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		Datum		values[2];
		bool		nulls[2] = {false, false};
		bool		isnull;
		Datum		sort = SPI_getbinval(tuple, tupdesc, 2, &isnull);

		values[0] = JsonbPGetDatum(runops_cursor_make(&page, sort, isnull,
													  SPI_getvalue(tuple, tupdesc, 3)));
		values[1] = SPI_getbinval(tuple, tupdesc, 1, &isnull);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	AtEOXact_GUC(true, nestlevel);
	SPI_finish();

	return (Datum) 0;
}
