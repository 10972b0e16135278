/*-------------------------------------------------------------------------
 *
 * leaf_schema.c
 *	  Keeps objects of users out of the schema of the attached tables.
 *
 * An index is created in the schema of its table, so the owners of attached
 * tables have CREATE on the schema of the leaves.  But a relation in the place
 * of a leaf or a reader would lead statements elsewhere, a type would take the
 * name of a table that is still to be attached, and any other object would keep
 * the schema when the last table is detached.  So only the owner of the schema
 * can create or move anything but indexes there.  The other schemas of leaves
 * have no such privilege.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "setup/setup.h"
#include "setup/setup_int.h"
#include "topology/topology.h"

/* of the attached tables, see runops._old_table_store() */
static const char *const guarded[] = {
	"runops_" RUNOPS_LEGACY_STORE,
	"runops_" RUNOPS_NO_STORE
};

/* the relation that stands for the reader of a store, see xact/reader_policy.c */
#define READER_NAME "runops_reader"

/*
 * Does a schema of this name belong to attached tables, and must the current
 * user put nothing there but indexes?
 */
static bool
is_closed(const char *name)
{
	bool		found = false;
	Oid			nsp;
	HeapTuple	tuple;
	Oid			owner;

	for (int i = 0; i < lengthof(guarded); i++)
		found |= strcmp(name, guarded[i]) == 0;
	if (!found || !OidIsValid(runops_store_of_oid()) || runops_in_own_step())
		return false;

	nsp = get_namespace_oid(name, true);
	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(nsp));
	if (!HeapTupleIsValid(tuple))
		return false;
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);

	return !has_privs_of_role(GetUserId(), owner);
}

/*
 * Raise if the current user must not put an object into a schema of this name.
 */
static void
check_schema(const char *name)
{
	if (is_closed(name))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s", name),
				 errdetail("Only indexes of attached tables can be created in it."),
				 errhint("Use another schema.")));
}

/*
 * The catalog entry of an object that is being created or altered, which the
 * caches do not have yet; NULL if there is none.  The caller frees it.
 */
static HeapTuple
new_entry(Relation catalog, Oid objectId)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, get_object_attnum_oid(RelationGetRelid(catalog)), BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(objectId));
	scan = systable_beginscan(catalog, get_object_oid_index(RelationGetRelid(catalog)), true,
							  SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);

	return tuple;
}

/*
 * An object that is no relation is being created: raise if it must not be in its
 * schema.
 *
 * A constraint, and the types of a relation, go with the relation.
 */
void
runops_guard_new_object(Oid classId, Oid objectId)
{
	Relation	catalog;
	HeapTuple	tuple;
	bool		exists = false;
	char	   *schema = NULL;

	if (classId == ConstraintRelationId || !is_objectclass_supported(classId) ||
		get_object_attnum_namespace(classId) == InvalidAttrNumber)
		return;
	for (int i = 0; i < lengthof(guarded); i++)
		exists |= OidIsValid(get_namespace_oid(guarded[i], true));
	if (!exists)
		return;

	catalog = table_open(classId, AccessShareLock);
	tuple = new_entry(catalog, objectId);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		nsp = heap_getattr(tuple, get_object_attnum_namespace(classId),
									   RelationGetDescr(catalog), &isnull);
		Form_pg_type type = classId == TypeRelationId ? (Form_pg_type) GETSTRUCT(tuple) : NULL;

		if (!isnull && (type == NULL || !(OidIsValid(type->typrelid) || OidIsValid(type->typelem))))
			schema = get_namespace_name(DatumGetObjectId(nsp));
		heap_freetuple(tuple);
	}
	table_close(catalog, AccessShareLock);

	if (schema != NULL)
	{
		check_schema(schema);
		pfree(schema);
	}
}

/*
 * Raise for an index that would take the name of a reader.
 */
static void
check_index(Oid nsp, const char *name)
{
	char	   *schema;

	if (strcmp(name, READER_NAME) != 0)
		return;
	schema = get_namespace_name(nsp);
	if (schema != NULL && is_closed(schema))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("index name \"%s\" is reserved in schema %s", name, schema),
				 errdetail("The foreign table that represents the reader of a store has this name."),
				 errhint("Use another name.")));
}

/*
 * A relation is being altered: raise if it is an index that takes the name of a
 * reader, or another relation that moves to a schema where it must not be.
 *
 * Until the command has ended, the caches have its old entry.
 */
void
runops_guard_altered_relation(Oid relid)
{
	char		relkind = get_rel_relkind(relid);
	Oid			old_nsp = get_rel_namespace(relid);
	Relation	catalog = table_open(RelationRelationId, AccessShareLock);
	HeapTuple	tuple = new_entry(catalog, relid);

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);
		char	   *schema = NULL;

		if (relkind == RELKIND_INDEX || relkind == RELKIND_PARTITIONED_INDEX)
			check_index(form->relnamespace, NameStr(form->relname));
		else if (form->relnamespace != old_nsp)
			schema = get_namespace_name(form->relnamespace);
		if (schema != NULL)
			check_schema(schema);
		heap_freetuple(tuple);
	}
	table_close(catalog, AccessShareLock);
}

/*
 * A relation is being created: raise if it must not be in its schema.
 *
 * Its catalog entry is not visible yet, but the relation is open.  The caller
 * leaves out what core creates itself, as when it rewrites a table.
 */
void
runops_guard_new_relation(Oid relid)
{
	Relation	rel = RelationIdGetRelation(relid);
	char	   *schema;
	bool		is_index;

	if (!RelationIsValid(rel))
		return;
	is_index = rel->rd_rel->relkind == RELKIND_INDEX || rel->rd_rel->relkind == RELKIND_PARTITIONED_INDEX;
	if (is_index)
		check_index(RelationGetNamespace(rel), RelationGetRelationName(rel));
	schema = is_index ? NULL : get_namespace_name(RelationGetNamespace(rel));
	RelationClose(rel);

	if (schema != NULL)
	{
		check_schema(schema);
		pfree(schema);
	}
}
