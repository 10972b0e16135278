/*-------------------------------------------------------------------------
 *
 * leaf_names.c
 *	  Finds what belongs to the leaf of a routed table by the name that it had
 *	  before the table was routed.
 *
 * attach moves a table to the schema of the leaves, and its indexes go with
 * it.  Statements that were written before still name an index in the schema
 * of the routed table, or without any schema.  So each schema of the search
 * path is looked at twice: first for a relation that is there, which wins, as
 * PostgreSQL would find it, and then for an index of the leaf of a routed table
 * of this schema.
 *
 * If the name of an index was not free among the leaves, the index has got the
 * name of its old schema in front; see runops._move_to_leaf_schema().
 *
 * The leaf here is the table that was attached: the leaf of legacy, or the
 * empty table beside the leaves if legacy is another database.  Nothing is
 * locked, because core looks up the new name again.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "commands/defrem.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_target.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "setup/setup_int.h"
#include "topology/topology.h"

/*
 * The leaf of a routed table; InvalidOid for any other relation.
 */
Oid
runops_leaf_of(Oid relid)
{
	const RunopsRoute *route;

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE ||
		!list_member_oid(runops_routed_tables(), relid))
		return InvalidOid;
	route = runops_route(relid);

	return route ? runops_old_table(route) : InvalidOid;
}

/*
 * The routed table that a name means, and its leaf; InvalidOid if the name
 * means something else, or nothing.
 */
Oid
runops_routed_by_name(RangeVar *name, Oid *leaf)
{
	Oid			relid = RangeVarGetRelid(name, NoLock, true);

	*leaf = runops_leaf_of(relid);

	return OidIsValid(*leaf) ? relid : InvalidOid;
}

/*
 * The present name of a relation, with its schema.
 */
RangeVar *
runops_name_of(Oid relid)
{
	return makeRangeVar(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid), -1);
}

/*
 * The same, quoted for a message.
 */
char *
runops_quoted_name_of(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/*
 * A name with the name of a schema in front.
 */
static char *
join_name(const char *schema, const char *name)
{
	char	   *result = psprintf("%s.%s", schema, name);

	result[pg_mbcliplen(result, strlen(result), NAMEDATALEN - 1)] = '\0';

	return result;
}

/*
 * The name of an object of the leaf if the name itself is taken among the
 * leaves; the schema is that of the routed table.
 */
static char *
name_with_schema(Oid nsp, const char *name)
{
	return join_name(get_namespace_name(nsp), name);
}

/*
 * The index of a leaf by its old name, in a schema; InvalidOid if there is
 * none.
 *
 * An index that belongs to an index of the routed table does not count: it has
 * been made with it, and goes with it.
 */
static Oid
index_of_leaf(Oid leaf, Oid nsp, const char *name)
{
	char	   *moved = name_with_schema(nsp, name);
	Oid			result = InvalidOid;
	Relation	rel = table_open(IndexRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_index_indrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(leaf));
	scan = systable_beginscan(rel, IndexIndrelidIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Oid			index = ((Form_pg_index) GETSTRUCT(tuple))->indexrelid;
		char	   *found = get_rel_name(index);

		if (found == NULL || get_rel_relispartition(index))
			continue;
		if (strcmp(found, name) == 0)
		{
			result = index;
			break;
		}
		if (strcmp(found, moved) == 0)
			result = index;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return result;
}

/*
 * The index of the leaf of a routed table in this schema, by its old name;
 * InvalidOid if there is none, or if the schema has a relation of this name.
 */
static Oid
index_in_schema(Oid nsp, const char *name, List *tables, Oid *routed)
{
	ListCell   *lc;

	if (OidIsValid(get_relname_relid(name, nsp)))
		return InvalidOid;

	foreach(lc, tables)
	{
		Oid			leaf;
		Oid			index;

		if (get_rel_namespace(lfirst_oid(lc)) != nsp)
			continue;
		leaf = runops_leaf_of(lfirst_oid(lc));
		index = OidIsValid(leaf) ? index_of_leaf(leaf, nsp, name) : InvalidOid;
		if (OidIsValid(index))
		{
			*routed = lfirst_oid(lc);
			return index;
		}
	}

	return InvalidOid;
}

/*
 * The index of a leaf that a name means; InvalidOid if PostgreSQL finds another
 * relation by this name, or if it means nothing.
 */
Oid
runops_leaf_index(RangeVar *name, Oid *routed)
{
	List	   *tables = runops_routed_tables();
	List	   *schemas;
	ListCell   *lc;

	if (tables == NIL)
		return InvalidOid;
	if (name->schemaname != NULL)
	{
		Oid			nsp = get_namespace_oid(name->schemaname, true);

		return OidIsValid(nsp) ? index_in_schema(nsp, name->relname, tables, routed) : InvalidOid;
	}

	schemas = fetch_search_path(true);
	foreach(lc, schemas)
	{
		Oid			index = index_in_schema(lfirst_oid(lc), name->relname, tables, routed);

		if (OidIsValid(index) || OidIsValid(get_relname_relid(name->relname, lfirst_oid(lc))))
			return index;
	}

	return InvalidOid;
}

/*
 * The index of the primary key of a table; InvalidOid if it has none.
 *
 * An index that is not valid, or that is set aside, counts.
 */
Oid
runops_primary_index(Oid relid)
{
	Relation	rel = table_open(IndexRelationId, AccessShareLock);
	Oid			result = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_index_indrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, IndexIndrelidIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (((Form_pg_index) GETSTRUCT(tuple))->indisprimary)
			result = ((Form_pg_index) GETSTRUCT(tuple))->indexrelid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return result;
}

/*
 * The routed table whose key has an index of this name; InvalidOid if the name
 * means something else.
 */
Oid
runops_key_index(RangeVar *name)
{
	Oid			index = RangeVarGetRelid(name, NoLock, true);
	Oid			routed;

	if (!OidIsValid(index) || get_rel_relkind(index) != RELKIND_PARTITIONED_INDEX)
		return InvalidOid;
	routed = IndexGetRelation(index, true);

	return OidIsValid(runops_leaf_of(routed)) && runops_primary_index(routed) == index ?
		routed : InvalidOid;
}

/*
 * Has an index a plain column of this name?  InvalidOid has none.
 */
bool
runops_index_has_column(Oid index, const char *column)
{
	return OidIsValid(index) && get_attnum(index, column) != InvalidAttrNumber;
}

/*
 * The index of the key of a routed table, by the name of the constraint;
 * InvalidOid if the name means something else.
 */
Oid
runops_key_by_name(Oid routed, const char *name)
{
	Oid			index = runops_primary_index(routed);
	Oid			constraint = OidIsValid(index) ? get_index_constraint(index) : InvalidOid;
	char	   *found = OidIsValid(constraint) ? get_constraint_name(constraint) : NULL;

	return found != NULL && strcmp(found, name) == 0 ? index : InvalidOid;
}

/*
 * The index of the leaf that belongs to a partitioned index of a routed table, or
 * to the index of its key; InvalidOid if the name means no such index.
 */
Oid
runops_index_part(RangeVar *name, Oid *parent_index)
{
	Oid			leaf;
	ListCell   *lc;

	*parent_index = RangeVarGetRelid(name, NoLock, true);
	if (!OidIsValid(*parent_index) ||
		get_rel_relkind(*parent_index) != RELKIND_PARTITIONED_INDEX)
		return InvalidOid;
	leaf = runops_leaf_of(IndexGetRelation(*parent_index, true));
	if (!OidIsValid(leaf))
		return InvalidOid;

	if (*parent_index == runops_primary_index(IndexGetRelation(*parent_index, true)))
		return runops_primary_index(leaf);
	foreach(lc, find_inheritance_children(*parent_index, NoLock))
	{
		if (IndexGetRelation(lfirst_oid(lc), true) == leaf)
			return lfirst_oid(lc);
	}

	return InvalidOid;
}

/*
 * The present name of an index that a statement names beside its table, as
 * CLUSTER does; the name itself if there is no such index.
 */
char *
runops_leaf_index_name(Oid routed, Oid leaf, const char *name)
{
	Oid			nsp = get_rel_namespace(routed);
	Oid			ignored;
	Oid			index = runops_index_part(makeRangeVar(get_namespace_name(nsp), pstrdup(name), -1), &ignored);

	if (!OidIsValid(index))
		index = index_of_leaf(leaf, nsp, name);

	return OidIsValid(index) ? get_rel_name(index) : pstrdup(name);
}

/*
 * The present name of a constraint of the leaf, by its old name; NULL if there
 * is none.
 */
char *
runops_leaf_constraint(Oid routed, Oid leaf, const char *name)
{
	char	   *moved;

	if (OidIsValid(get_relation_constraint_oid(leaf, name, true)))
		return pstrdup(name);
	moved = name_with_schema(get_rel_namespace(routed), name);

	return OidIsValid(get_relation_constraint_oid(leaf, moved, true)) ? moved : NULL;
}

/*
 * Does a schema have a constraint of this name, of whichever table?
 */
static bool
constraint_in_schema(Oid nsp, const char *name)
{
	Relation	rel = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&keys[0], Anum_pg_constraint_conname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
	ScanKeyInit(&keys[1], Anum_pg_constraint_connamespace, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(nsp));
	scan = systable_beginscan(rel, ConstraintNameNspIndexId, true, NULL, 2, keys);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return found;
}

/*
 * The present name of a constraint of a leaf that is named without its table,
 * as SET CONSTRAINTS does; NULL if PostgreSQL finds another one, or none is
 * found.
 */
RangeVar *
runops_leaf_constraint_alone(RangeVar *name)
{
	List	   *tables = runops_routed_tables();
	List	   *schemas = name->schemaname ?
		list_make1_oid(get_namespace_oid(name->schemaname, true)) : fetch_search_path(true);
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, schemas)
	{
		Oid			nsp = lfirst_oid(lc);

		if (!OidIsValid(nsp) || constraint_in_schema(nsp, name->relname))
			return NULL;
		foreach(lc2, tables)
		{
			Oid			leaf = get_rel_namespace(lfirst_oid(lc2)) == nsp ?
				runops_leaf_of(lfirst_oid(lc2)) : InvalidOid;
			char	   *present = OidIsValid(leaf) ?
				runops_leaf_constraint(lfirst_oid(lc2), leaf, name->relname) : NULL;

			if (present != NULL)
				return makeRangeVar(get_namespace_name(get_rel_namespace(leaf)), present, -1);
		}
	}

	return NULL;
}

/*
 * Is a name taken in the schema of a routed table, as it would be if no table
 * were routed?
 */
bool
runops_name_is_taken(Oid routed, const char *name)
{
	Oid			nsp = get_rel_namespace(routed);
	Oid			other;

	return OidIsValid(get_relname_relid(name, nsp)) ||
		OidIsValid(index_in_schema(nsp, name, runops_routed_tables(), &other));
}

/*
 * The name that a new index of the leaf gets.  Raises if the name is taken in
 * the schema of the routed table.
 */
char *
runops_new_leaf_name(Oid routed, Oid leaf, const char *name)
{
	if (runops_name_is_taken(routed, name))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s\" already exists", name)));

	return runops_free_leaf_name(routed, leaf, name);
}

/*
 * The name itself, or with the schema of the routed table in front if it is taken
 * among the leaves.
 */
char *
runops_free_leaf_name(Oid routed, Oid leaf, const char *name)
{
	return OidIsValid(get_relname_relid(name, get_rel_namespace(leaf))) ?
		name_with_schema(get_rel_namespace(routed), name) : pstrdup(name);
}

/*
 * The name of an index or a constraint of the leaf without the schema of the
 * routed table that may stand in front.
 */
char *
runops_old_name(Oid routed, const char *name)
{
	char	   *schema = get_namespace_name(get_rel_namespace(routed));
	size_t		len = strlen(schema);

	return pstrdup(strncmp(name, schema, len) == 0 && name[len] == '.' && name[len + 1] != '\0' ?
				   name + len + 1 : name);
}

/*
 * The column names of a default name, as ChooseIndexNameAddition() joins them.
 */
static char *
name_addition(List *columns)
{
	char		result[NAMEDATALEN * 2];
	int			len = 0;
	ListCell   *lc;

	result[0] = '\0';
	foreach(lc, columns)
	{
		if (len > 0)
			result[len++] = '_';
		strlcpy(result + len, lfirst(lc), NAMEDATALEN);
		len += strlen(result + len);
		if (len >= NAMEDATALEN)
			break;
	}

	return pstrdup(result);
}

/*
 * The name that an element of an index has in the default name of the index, as
 * ChooseIndexColumnNames() gives it; "before" are the names of the elements before
 * it.
 */
char *
runops_element_name(IndexElem *element, List *before)
{
	char	   *original = element->indexcolname ? element->indexcolname : element->name;
	char	   *result;
	ListCell   *lc;

	if (original == NULL)
		original = FigureIndexColname(element->expr);
	if (original == NULL)
		original = "expr";
	result = pstrdup(original);

	for (int i = 1;; i++)
	{
		char		number[32];
		bool		found = false;
		int			len;

		foreach(lc, before)
			found |= strcmp(lfirst(lc), result) == 0;
		if (!found)
			return result;
		snprintf(number, sizeof(number), "%d", i);
		len = pg_mbcliplen(original, strlen(original), NAMEDATALEN - 1 - strlen(number));
		result = psprintf("%.*s%s", len, original, number);
	}
}

/*
 * The name that core would give to a constraint or an index without a name if
 * the table were not routed.
 *
 * "columns" are C strings, or NIL if the name does not contain them.  Names in
 * "dropped" are free, because the same statement drops them, and names in
 * "given" are taken.
 */
char *
runops_default_name(Oid routed, Oid leaf, List *columns, const char *label,
					List *dropped, List *given)
{
	Oid			nsp = get_rel_namespace(routed);
	bool		is_foreign_key = strcmp(label, "fkey") == 0;
	char	   *addition = columns ? name_addition(columns) : NULL;
	char		numbered[NAMEDATALEN];

	strlcpy(numbered, label, sizeof(numbered));
	for (int i = 1;; i++)
	{
		char	   *name = makeObjectName(get_rel_name(routed), addition, numbered);
		bool		taken = false;
		bool		is_dropped = false;
		ListCell   *lc;

		foreach(lc, given)
			taken |= strcmp(lfirst(lc), name) == 0;
		foreach(lc, dropped)
			is_dropped |= strcmp(lfirst(lc), name) == 0;
		if (!taken && !is_dropped)
			taken = ConstraintNameExists(name, nsp) ||
				(is_foreign_key ? runops_leaf_constraint(routed, leaf, name) != NULL :
				 runops_name_is_taken(routed, name));
		if (!taken)
			return name;
		pfree(name);
		snprintf(numbered, sizeof(numbered), "%s%d", label, i);
	}
}

/*
 * The statements that rename the indexes of the leaf of a routed table, if they
 * have the name of its schema in front and the table gets into another schema.
 *
 * They are parts of another statement.  Indexes that the user does not own, and
 * those whose new name is taken, keep their names.
 */
List *
runops_rename_indexes(Oid leaf, const char *old_schema, const char *new_schema)
{
	List	   *result = NIL;
	size_t		len = strlen(old_schema);
	Relation	rel = table_open(leaf, AccessShareLock);
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	table_close(rel, AccessShareLock);
	foreach(lc, indexes)
	{
		char	   *name = get_rel_name(lfirst_oid(lc));
		char	   *new_name;
		RenameStmt *rename;
		PlannedStmt *step;

		if (name == NULL || get_rel_relispartition(lfirst_oid(lc)) ||
			strncmp(name, old_schema, len) != 0 || name[len] != '.' ||
			!object_ownercheck(RelationRelationId, lfirst_oid(lc), GetUserId()))
			continue;
		new_name = join_name(new_schema, name + len + 1);
		if (OidIsValid(get_relname_relid(new_name, get_rel_namespace(leaf))))
			continue;

		rename = makeNode(RenameStmt);
		rename->renameType = OBJECT_INDEX;
		rename->relationType = OBJECT_INDEX;
		rename->relation = runops_name_of(lfirst_oid(lc));
		rename->newname = new_name;
		step = makeNode(PlannedStmt);
		step->commandType = CMD_UTILITY;
		step->utilityStmt = (Node *) rename;
		result = lappend(result, step);
	}

	return result;
}

/*
 * Raise unless the current user owns the leaf of a routed table, as core would
 * if the leaf had its old name.
 */
void
runops_require_owner(Oid leaf, ObjectType type, const char *name)
{
	if (!object_ownercheck(RelationRelationId, leaf, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, type, name);
}

/*
 * The owner of a schema.
 */
static Oid
schema_owner(Oid nsp)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(nsp));
	Oid			result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for namespace %u", nsp);
	result = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);

	return result;
}

/*
 * Raise unless the current user may create an index for a routed table: in the
 * schema of the table, as before it was routed, and in the schema of its leaf.
 */
void
runops_require_create(Oid routed, Oid leaf)
{
	Oid			nsp = get_rel_namespace(leaf);
	char	   *leaf_schema = get_namespace_name(nsp);
	AclResult	result = RUNOPS_SCHEMA_ACLCHECK(get_rel_namespace(routed), GetUserId(), ACL_CREATE);

	runops_require_owner(leaf, OBJECT_TABLE, get_rel_name(routed));
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_SCHEMA, get_namespace_name(get_rel_namespace(routed)));
	if (RUNOPS_SCHEMA_ACLCHECK(nsp, GetUserId(), ACL_CREATE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s", leaf_schema),
				 errdetail("The indexes of routed table \"%s\" belong to its leaf %s.",
						   get_rel_name(routed), runops_quoted_name_of(leaf)),
				 errhint("Run the statement as role \"%s\", which owns the schema, or as a superuser.",
						 GetUserNameFromId(schema_owner(nsp), false))));
}
