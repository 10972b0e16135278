/*-------------------------------------------------------------------------
 *
 * row_key.c
 *	  Finds the key by which a row of a leaf is addressed in its store, and
 *	  writes the statements that change one row.
 *
 * The key is the primary key of the legacy leaf, or else a unique key whose
 * columns cannot be NULL: provision gives the store's table the same.  The
 * place of a row (its ctid) would do only as long as the row does not move,
 * and not at all in a table that is partitioned in the store.  It is used for
 * tables without such a key.
 *
 * A plan depends on the legacy leaf, so that it is made again if the key is
 * dropped.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_index.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "optimizer/appendinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"
#include "topology/topology.h"

/*
 * Does a unique index compare a column by the default equality of its type?
 */
static bool
has_default_equality(Oid opclass, Oid type)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR);
	Oid			input = get_opclass_input_type(opclass);

	return OidIsValid(entry->eq_opr) &&
		get_opfamily_member(get_opclass_family(opclass), input, input,
							BTEqualStrategyNumber) == entry->eq_opr;
}

/*
 * Can the store infer the type of a parameter that is compared with a column?
 *
 * All composite types share one operator, and a domain over an array, an enum or
 * a range has none that its parser finds.
 */
static bool
type_is_inferred(Oid opclass, Oid type)
{
	Oid			input = get_opclass_input_type(opclass);

	return input != RECORDOID && (!IsPolymorphicType(input) || getBaseType(type) == type);
}

/*
 * The columns of a leaf that have the names of the columns of an index of the
 * old table; NIL if the index does not identify each row.
 */
static List *
index_key(Relation old, Oid index_relid, Oid leaf_relid, bool *primary)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index_relid));
	Form_pg_index index;
	oidvector  *opclasses;
	List	   *attnos = NIL;
	bool		usable;

	if (!HeapTupleIsValid(tuple))
		return NIL;

	index = (Form_pg_index) GETSTRUCT(tuple);
	*primary = index->indisprimary;
	usable = index->indisunique && index->indimmediate && index->indisvalid &&
		heap_attisnull(tuple, Anum_pg_index_indpred, NULL);
	opclasses = (oidvector *)
		DatumGetPointer(SysCacheGetAttrNotNull(INDEXRELID, tuple, Anum_pg_index_indclass));
	for (int i = 0; usable && i < index->indnkeyatts; i++)
	{
		AttrNumber	attno = index->indkey.values[i];
		Form_pg_attribute att;

		/* 0 is an expression */
		usable = attno > 0;
		if (!usable)
			break;
		att = TupleDescAttr(RelationGetDescr(old), attno - 1);
		attno = get_attnum(leaf_relid, NameStr(att->attname));
		usable = att->attnotnull && attno > 0 &&
			has_default_equality(opclasses->values[i], att->atttypid) &&
			type_is_inferred(opclasses->values[i], att->atttypid);
		attnos = lappend_int(attnos, attno);
	}
	ReleaseSysCache(tuple);

	return usable ? attnos : NIL;
}

/*
 * The columns of a foreign table that identify a row in its store; NIL if none
 * are known to.
 *
 * *depends gets the table to which the key belongs.
 */
List *
runops_fdw_row_key(Oid relid, Oid *depends)
{
	const RunopsRoute *route = NULL;
	Relation	old;
	List	   *indexes;
	List	   *key = NIL;
	ListCell   *lc;

	*depends = InvalidOid;
	if (get_rel_relispartition(relid))
		route = runops_route(get_partition_parent(relid, true));
	if (route != NULL)
		*depends = runops_old_table(route);
	if (!OidIsValid(*depends))
		return NIL;

	old = table_open(*depends, AccessShareLock);
	indexes = RelationGetIndexList(old);
	foreach(lc, indexes)
	{
		bool		primary;
		List	   *attnos = index_key(old, lfirst_oid(lc), relid, &primary);

		/* the list is sorted by OID, so the same key is found each time */
		if (attnos != NIL && (primary || key == NIL))
			key = attnos;
		if (attnos != NIL && primary)
			break;
	}
	table_close(old, NoLock);

	return key;
}

/*
 * The name of the junk column that has a column of the key.
 *
 * Core shares junk columns of several leaves by their names, so the name says
 * everything that may differ.
 */
char *
runops_fdw_key_junk(const FormData_pg_attribute *att)
{
	return psprintf("runops key %d %u %d %u", att->attnum, att->atttypid, att->atttypmod,
					att->attcollation);
}

/*
 * Add the columns of a leaf's key to the rows that an UPDATE or DELETE reads;
 * returns false if it has none.
 */
bool
runops_fdw_add_key(PlannerInfo *root, Index rtindex, Relation rel)
{
	Oid			depends;
	List	   *key = runops_fdw_row_key(RelationGetRelid(rel), &depends);
	ListCell   *lc;

	foreach(lc, key)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), lfirst_int(lc) - 1);

		add_row_identity_var(root,
							 makeVar(rtindex, att->attnum, att->atttypid, att->atttypmod,
									 att->attcollation, 0),
							 rtindex, runops_fdw_key_junk(att));
	}
	if (key != NIL)
		root->glob->relationOids = lappend_oid(root->glob->relationOids, depends);

	return key != NIL;
}

/*
 * Append the condition that the key has the values of the parameters from the
 * given number on.
 *
 * The store takes the types of the parameters from its columns.  Its
 * search_path has only the built-in operators.
 */
void
runops_fdw_key_condition(StringInfo sql, Relation rel, List *key, int param)
{
	const char *and = "";
	ListCell   *lc;

	foreach(lc, key)
	{
		Oid			type = TupleDescAttr(RelationGetDescr(rel), lfirst_int(lc) - 1)->atttypid;
		Oid			opno = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
		HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(opno));
		Form_pg_operator operator;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for operator %u", opno);
		operator = (Form_pg_operator) GETSTRUCT(tuple);
		appendStringInfo(sql, "%s%s ", and, runops_fdw_remote_column(rel, lfirst_int(lc)));
		if (operator->oprnamespace == PG_CATALOG_NAMESPACE)
			appendStringInfoString(sql, NameStr(operator->oprname));
		else
			appendStringInfo(sql, "OPERATOR(%s.%s)",
							 quote_identifier(get_namespace_name(operator->oprnamespace)),
							 NameStr(operator->oprname));
		appendStringInfo(sql, " $%d", param++);
		ReleaseSysCache(tuple);
		and = " AND ";
	}
}

/*
 * Append a list of columns, of which one may be the ctid.
 */
static void
append_columns(StringInfo sql, Relation rel, List *attnos)
{
	const char *comma = "";
	ListCell   *lc;

	foreach(lc, attnos)
	{
		appendStringInfo(sql, "%s%s", comma,
						 lfirst_int(lc) == SelfItemPointerAttributeNumber ? "ctid" :
						 runops_fdw_remote_column(rel, lfirst_int(lc)));
		comma = ", ";
	}
}

/*
 * Append the SELECT of columns of a table, as postgres_fdw writes it.
 */
void
runops_fdw_append_select(StringInfo sql, Relation rel, List *attnos)
{
	const char *schema;
	const char *table;

	runops_fdw_remote_name(RelationGetRelid(rel), &schema, &table);
	appendStringInfoString(sql, attnos == NIL ? "SELECT NULL" : "SELECT ");
	append_columns(sql, rel, attnos);
	appendStringInfo(sql, " FROM %s", quote_qualified_identifier(schema, table));
}

/*
 * The UPDATE or DELETE of the row with a key.
 *
 * Its first parameters are the key, and the others the values of the assigned
 * columns without those that the store computes.  returned is NIL if nothing is
 * returned.
 */
char *
runops_fdw_change_sql(Relation rel, CmdType operation, List *key, List *assigned,
					  List *returned)
{
	StringInfoData sql;
	const char *schema;
	const char *table;
	const char *comma = "";
	int			param = list_length(key);
	ListCell   *lc;

	runops_fdw_remote_name(RelationGetRelid(rel), &schema, &table);
	initStringInfo(&sql);
	appendStringInfo(&sql, "%s %s", operation == CMD_UPDATE ? "UPDATE" : "DELETE FROM",
					 quote_qualified_identifier(schema, table));
	if (operation == CMD_UPDATE)
		appendStringInfoString(&sql, " SET ");
	foreach(lc, assigned)
	{
		appendStringInfo(&sql, "%s%s = ", comma, runops_fdw_remote_column(rel, lfirst_int(lc)));
		if (TupleDescAttr(RelationGetDescr(rel), lfirst_int(lc) - 1)->attgenerated)
			appendStringInfoString(&sql, "DEFAULT");
		else
			appendStringInfo(&sql, "$%d", ++param);
		comma = ", ";
	}
	appendStringInfoString(&sql, " WHERE ");
	runops_fdw_key_condition(&sql, rel, key, 1);
	if (returned != NIL)
	{
		appendStringInfoString(&sql, " RETURNING ");
		append_columns(&sql, rel, returned);
	}

	return sql.data;
}
