/*-------------------------------------------------------------------------
 *
 * target.c
 *	  Describes how a routed table is searched by id: its primary key, its
 *	  unique aliases, and the order of its stores.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "gate/gate.h"
#include "reads/reads_int.h"
#include "xact/xact.h"

/*
 * The only column of a valid unique index over all rows; 0 if the index is of
 * another kind.
 */
static AttrNumber
unique_column(Oid indexid)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexid));
	Form_pg_index form;
	AttrNumber	result = 0;

	if (!HeapTupleIsValid(tuple))
		return 0;
	form = (Form_pg_index) GETSTRUCT(tuple);
	if (form->indisunique && form->indisvalid && form->indnkeyatts == 1 &&
		heap_attisnull(tuple, Anum_pg_index_indpred, NULL))
		result = form->indkey.values[0];
	ReleaseSysCache(tuple);

	return result;
}

/*
 * A column of the target as SQL.
 */
static char *
column_sql(const RunopsTarget *target, AttrNumber attno)
{
	return psprintf("t.%s", quote_identifier(get_attname(target->relid, attno, false)));
}

/*
 * Find the primary key and the unique aliases in the indexes of the old table.
 *
 * Raises if there is no primary key of one column that can hold an id.
 */
static void
find_identity(RunopsTarget *target)
{
	const RunopsRoute *route = target->route;
	Oid			old = runops_old_table(route);
	Relation	leaf;
	Oid			primary = InvalidOid;
	Oid			type;
	ListCell   *lc;

	if (OidIsValid(old))
	{
		leaf = table_open(old, AccessShareLock);
		foreach(lc, RelationGetIndexList(leaf))
		{
			Oid			indexid = lfirst_oid(lc);
			AttrNumber	attno = unique_column(indexid);
			AttrNumber	parent_attno;

			if (attno <= 0)
				continue;
			/* attribute numbers differ if the leaf has dropped columns */
			parent_attno = get_attnum(route->relid, get_attname(old, attno, false));
			if (indexid == leaf->rd_pkindex)
			{
				primary = indexid;
				target->pk_attno = parent_attno;
			}
			else if (bms_is_member(parent_attno - FirstLowInvalidHeapAttributeNumber,
								   route->alias_attnos) &&
					 !list_member_int(target->alias_attnos, parent_attno))
			{
				target->alias_attnos = lappend_int(target->alias_attnos, parent_attno);
				target->aliases = lappend(target->aliases,
										  makeString(column_sql(target, parent_attno)));
			}
		}
		table_close(leaf, NoLock);
	}

	type = OidIsValid(primary) ? getBaseType(get_atttype(route->relid, target->pk_attno)) : InvalidOid;
	if (type != TEXTOID && type != VARCHAROID)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" has no primary key to look an id up by", route->name),
				 errdetail("A lookup by id needs a primary key of one column, of type text or character varying."),
				 errhint("Query the table by its columns instead.")));

	target->pk = column_sql(target, target->pk_attno);
	get_atttypetypmodcoll(route->relid, target->pk_attno, &type, &(int32) {0},
						  &target->pk_collation);
	target->decides = target->pk_attno == route->lead_attno ||
		bms_is_member(target->pk_attno - FirstLowInvalidHeapAttributeNumber,
					  route->alias_attnos);
}

/*
 * store_of(key) as SQL.
 *
 * XXX: Functions of a key are printed without the schema pg_catalog, as core
 * prints them everywhere.  Only a key that is more than columns has such
 * names.
 */
static char *
partition_key_sql(const RunopsTarget *target)
{
	const RunopsRoute *route = target->route;
	int			nestlevel;
	char	   *result;

	if (IsA(route->key, Var))
		return psprintf("%s.store_of(%s)", RUNOPS_SCHEMA, column_sql(target, route->lead_attno));

	nestlevel = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	result = deparse_expression(route->partexpr, deparse_context_for("t", route->relid),
								true, false);
	AtEOXact_GUC(true, nestlevel);

	return result;
}

/*
 * The position of a store in the order of lookups: new, the shards, legacy.
 */
static int
store_rank(const char *store)
{
	return strcmp(store, RUNOPS_NEW_STORE) == 0 ? 0 : runops_is_legacy(store) ? 2 : 1;
}

/*
 * Sort the leaves that may hold rows into the order of lookups.
 *
 * With the flag off there is only one database.
 */
static void
order_leaves(RunopsTarget *target)
{
	const RunopsRoute *route = target->route;
	bool		single = runops_gate_flag_off();

	target->leaves = palloc(sizeof(RunopsLeaf *) * Max(route->nleaves, 1));
	for (int rank = 0; rank <= 2; rank++)
	{
		for (int i = 0; i < route->nleaves; i++)
		{
			const RunopsLeaf *leaf = &route->leaves[i];

			if (store_rank(leaf->store) == rank && (rank == 2 || !single) &&
				strcmp(leaf->store, RUNOPS_NO_STORE) != 0)
				target->leaves[target->nleaves++] = leaf;
		}
	}
}

/*
 * Collect the facts about a routed table for lookups by id.
 *
 * Raises if the table is not routed or has no suitable primary key.  Raises
 * gate_closed if the gate is closed altogether, because a missing id might
 * then exist in another store.
 */
RunopsTarget *
runops_target(Oid relid)
{
	RunopsTarget *target = palloc0(sizeof(RunopsTarget));
	const RunopsRoute *route = runops_route(relid);

	if (route == NULL)
	{
		char	   *name = get_rel_name(relid);

		ereport(ERROR,
				(errcode(name ? ERRCODE_UNDEFINED_OBJECT : ERRCODE_UNDEFINED_TABLE),
				 name ? errmsg("table \"%s\" is not routed", name) :
				 errmsg("relation with OID %u does not exist", relid),
				 errdetail("The view \"%s.routed_tables\" lists the routed tables.", RUNOPS_SCHEMA),
				 errhint("Use %s.attach() to route it.", RUNOPS_SCHEMA)));
	}
	target->relid = relid;
	target->route = route;
	target->table = quote_qualified_identifier(route->schema, route->name);
	find_identity(target);
	target->store_of = partition_key_sql(target);
	order_leaves(target);
	runops_gate_require_any(route->name);

	return target;
}

/*
 * The stores that may hold the row of an id.
 *
 * Raises if the id names a store that the table has no leaf for.  With the
 * flag off every id is looked up in the one database.
 */
RunopsStoreSet
runops_target_stores(const RunopsTarget *target, text *id)
{
	RunopsStoreSet stores;

	if (!target->decides || runops_gate_flag_off())
		return RUNOPS_STORES_ALL;

	stores = runops_id_stores(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id));
	if (stores == RUNOPS_STORES_ALL)
		runops_stats_add_legacy(target->route, RUNOPS_UNCLASSIFIABLE);
	runops_require_stores(target->route, stores);

	return stores;
}

/*
 * The condition that a row matches an id by its primary key or by a unique
 * alias.
 *
 * comparison is the SQL that follows the column.
 */
char *
runops_target_match(const RunopsTarget *target, const char *comparison)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	appendStringInfo(&buf, "(%s %s", target->pk, comparison);
	foreach(lc, target->aliases)
		appendStringInfo(&buf, " OR %s %s", strVal(lfirst(lc)), comparison);
	appendStringInfoChar(&buf, ')');

	return buf.data;
}

/*
 * A column of the target by its exact name; raises if it does not exist.
 */
AttrNumber
runops_target_column(const RunopsTarget *target, const char *name)
{
	AttrNumber	attno = get_attnum(target->relid, name);

	if (attno <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						name, target->route->name),
				 errhint("Write the column's exact name, without quotes.")));

	return attno;
}
