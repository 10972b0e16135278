/*-------------------------------------------------------------------------
 *
 * resolver_query.c
 *	  Checks and plans the query of a resolver.
 *
 * The query runs as a subquery.  The outer query returns its row as a jsonb,
 * and the values of the columns that carry its tags.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "control_plane/resolver_int.h"

/*
 * Raw parse tree walker: find the greatest parameter number.
 */
static bool
parameter_walker(Node *node, void *context)
{
	int		   *max = context;

	if (node == NULL)
		return false;
	if (IsA(node, ParamRef))
	{
		*max = Max(*max, ((ParamRef *) node)->number);
		return false;
	}

	return raw_expression_tree_walker(node, parameter_walker, context);
}

/*
 * Prepare a statement whose parameters are all text.
 */
static SPIPlanPtr
prepare(const char *sql, int nkeys)
{
	Oid		   *argtypes = palloc(sizeof(Oid) * Max(nkeys, 1));
	SPIPlanPtr	plan;

	for (int i = 0; i < nkeys; i++)
		argtypes[i] = TEXTOID;
	plan = SPI_prepare(sql, nkeys, argtypes);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));

	return plan;
}

/*
 * The only plan source of a prepared statement.
 */
static CachedPlanSource *
plan_source(SPIPlanPtr plan)
{
	return linitial(SPI_plan_get_plan_sources(plan));
}

/*
 * An SQL expression for the values of a tag column, as text[]; a NULL if no
 * column is given.  Raises if the result lacks the column, or has it more than
 * once.
 */
static char *
tag_expression(TupleDesc tupdesc, const char *column)
{
	Oid			type = InvalidOid;

	if (column == NULL)
		return "NULL::pg_catalog.text[]";

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tupdesc, i);

		if (strcmp(NameStr(att->attname), column) != 0)
			continue;
		if (OidIsValid(type))
			ereport(ERROR,
					(errcode(ERRCODE_AMBIGUOUS_COLUMN),
					 errmsg("column \"%s\" occurs more than once in the result of the query", column),
					 errhint("Give each column of the query a different name.")));
		type = att->atttypid;
	}
	if (!OidIsValid(type))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" is not in the result of the query", column),
				 errhint("Select it in the query of the resolver.")));

	return psprintf(OidIsValid(get_base_element_type(type)) ?
					"\"resolved row\".%s::pg_catalog.text[]" :
					"ARRAY[\"resolved row\".%s::pg_catalog.text]",
					quote_identifier(column));
}

/*
 * Check the query of a resolver.  Returns the number of its keys, and the
 * query without text around the statement.
 *
 * The query must be one SELECT that writes and locks nothing and reads no
 * temporary table, and its result must have the tag columns that are given.
 */
int
runops_resolver_check(const char *query, const char *environment_column,
					  const char *organization_column, char **stripped)
{
	List	   *statements = raw_parser(query, RAW_PARSE_DEFAULT);
	RawStmt    *raw;
	int			nkeys = 0;
	CachedPlanSource *source;
	Query	   *tree;

	if (list_length(statements) != 1 ||
		!IsA(linitial_node(RawStmt, statements)->stmt, SelectStmt) ||
		((SelectStmt *) linitial_node(RawStmt, statements)->stmt)->intoClause != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("the query of a resolver must be one SELECT"),
				 errhint("Use the parameters $1, $2 and so on, of type text, for the key.")));
	raw = linitial_node(RawStmt, statements);
	parameter_walker(raw->stmt, &nkeys);
	*stripped = raw->stmt_len > 0 ?
		pnstrdup(query + raw->stmt_location, raw->stmt_len) :
		pstrdup(query + raw->stmt_location);

	SPI_connect();
	source = plan_source(prepare(*stripped, nkeys));
	tree = linitial_node(Query, source->query_list);
	if (tree->hasModifyingCTE || tree->hasForUpdate)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the query of a resolver must neither write nor lock rows"),
				 errdetail("The result is cached, so the query does not run on each call.")));
	if (query_uses_temp_object_compat(tree))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the query of a resolver must not use temporary tables"),
				 errdetail("Other sessions cannot see them.")));
	tag_expression(source->resultDesc, environment_column);
	tag_expression(source->resultDesc, organization_column);
	SPI_finish();

	return nkeys;
}

/*
 * Make the plan of a resolver, as the current role.
 *
 * The caller is connected to SPI.  The plan stays until it is freed.
 */
void
runops_resolver_prepare(RunopsResolver *resolver)
{
	CachedPlanSource *source = plan_source(prepare(resolver->query, resolver->nkeys));
	StringInfoData sql;
	SPIPlanPtr	plan;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT pg_catalog.to_jsonb(\"resolved row\".*), %s, %s FROM (\n%s\n) AS \"resolved row\"",
					 tag_expression(source->resultDesc, resolver->environment_column),
					 tag_expression(source->resultDesc, resolver->organization_column),
					 resolver->query);
	plan = prepare(sql.data, resolver->nkeys);
	source = plan_source(plan);

	resolver->distant = false;
	resolver->opaque = false;
	foreach(lc, source->invalItems)
	{
		/* functions of core are not listed as dependencies */
		if (((PlanInvalItem *) lfirst(lc))->cacheId == PROCOID)
			resolver->distant = resolver->opaque = true;
	}
	foreach(lc, source->relationOids)
	{
		Oid			relid = lfirst_oid(lc);

		/*
		 * if a table was dropped, the caller's temporary table must not
		 * replace it
		 */
		if (get_rel_persistence(relid) == RELPERSISTENCE_TEMP)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("the query of resolver \"%s\" must not use temporary tables",
							resolver->slot),
					 errdetail("The query finds temporary table \"%s\" instead of the table that it found when it was registered.",
							   get_rel_name(relid)),
					 errhint("Create the other table again, or drop the resolver.")));

		/* a child table may be foreign, now or later */
		if (get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE ||
			has_subclass(relid))
			resolver->distant = true;
	}
	SPI_keepplan(plan);
	resolver->plan = plan;
}

/*
 * Does this transaction hold a writer's lock on a relation?
 *
 * Sequences do not count: nextval() in the query takes such a lock too, but
 * changes no value that the query reads.
 */
static bool
write_locked(Oid relid)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	for (LOCKMODE mode = RowExclusiveLock; mode <= AccessExclusiveLock; mode++)
	{
		if (LOCK_HELD_BY_ME(&tag, mode))
			return get_rel_relkind(relid) != RELKIND_SEQUENCE;
	}

	return false;
}

/*
 * Could the query see rows that this transaction has written and not yet
 * committed?  Such a value must not reach others.
 *
 * If in doubt, the answer is yes.
 */
bool
runops_resolver_wrote(RunopsResolver *resolver)
{
	bool		has_xid = TransactionIdIsValid(GetTopTransactionIdIfAny());
	ListCell   *lc;

	/* writing to a foreign table assigns no transaction ID here */
	if (!has_xid && !resolver->distant)
		return false;
	if (has_xid && resolver->opaque)
		return true;
	if (resolver->distant && runops_wrote_foreign())
		return true;

	foreach(lc, plan_source(resolver->plan)->relationOids)
	{
		Oid			relid = lfirst_oid(lc);

		if (write_locked(relid))
			return true;
		if (has_subclass(relid))
		{
			ListCell   *lc2;

			foreach(lc2, find_all_inheritors(relid, NoLock, NULL))
			{
				if (write_locked(lfirst_oid(lc2)))
					return true;
			}
		}
	}

	return false;
}
