/*-------------------------------------------------------------------------
 *
 * unique_protect.c
 *	  Protects the objects that unique keys over all stores depend on.
 *
 * A key depends on the index that defines it, the table of its entries, and
 * the triggers of the legacy leaf.  Without one of them rows would be written
 * without a check.  drop_unique deletes the key from the list first.
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
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "optimizer/optimizer.h"
#include "access/sysattr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "integrity/integrity.h"
#include "topology/topology.h"

/* A key in the list. */
typedef struct ListedKey
{
	Oid			relation;
	NameData	name;
	Oid			entries;
	Oid			touched;		/* InvalidOid if the key is enforced */
} ListedKey;

/*
 * All keys; NIL if the extension does not exist.
 */
static List *
listed_keys(void)
{
	Oid			nsp = get_namespace_oid(RUNOPS_SCHEMA, true);
	Oid			relid = OidIsValid(nsp) ? get_relname_relid("unique_config", nsp) : InvalidOid;
	List	   *result = NIL;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(relid) || !OidIsValid(runops_store_of_oid()))
		return NIL;

	rel = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		ListedKey  *key = palloc(sizeof(ListedKey));
		bool		isnull;

		key->relation = DatumGetObjectId(heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull));
		key->name = *DatumGetName(heap_getattr(tuple, 2, RelationGetDescr(rel), &isnull));
		key->entries = DatumGetObjectId(heap_getattr(tuple, 3, RelationGetDescr(rel), &isnull));
		key->touched = DatumGetObjectId(heap_getattr(tuple, 5, RelationGetDescr(rel), &isnull));
		if (isnull)
			key->touched = InvalidOid;
		result = lappend(result, key);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return result;
}

/*
 * Does a table hold the entries of a key, or the keys that were touched?
 */
bool
runops_unique_is_entries(Oid relid)
{
	ListCell   *lc;

	foreach(lc, listed_keys())
	{
		ListedKey  *key = lfirst(lc);

		if (key->entries == relid || key->touched == relid)
			return true;
	}

	return false;
}

/*
 * The leaf of a trigger that unique keys need; InvalidOid for any other
 * trigger.
 */
static Oid
leaf_of_trigger(Oid trigger)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			result = InvalidOid;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger));
	scan = systable_beginscan(rel, TriggerOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);
		char	   *function = get_func_name(form->tgfoid);

		if (function != NULL &&
			get_func_namespace(form->tgfoid) == get_namespace_oid(RUNOPS_SCHEMA, true) &&
			(strcmp(function, "_unique_row") == 0 || strcmp(function, "_unique_truncate") == 0))
			result = form->tgrelid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return result;
}

/*
 * Does the key depend on the object?
 */
static bool
stands_on(const ListedKey *key, const ObjectAddress *object)
{
	Oid			leaf;
	char	   *name;

	if (object->classId == RelationRelationId)
	{
		if (object->objectId == key->entries || object->objectId == key->touched)
			return true;
		if (get_rel_relkind(object->objectId) != RELKIND_PARTITIONED_INDEX ||
			IndexGetRelation(object->objectId, true) != key->relation)
			return false;
		name = get_rel_name(object->objectId);
		return name != NULL && strcmp(name, NameStr(key->name)) == 0;
	}

	if (object->classId != TriggerRelationId)
		return false;
	leaf = leaf_of_trigger(object->objectId);

	return OidIsValid(leaf) && get_rel_relispartition(leaf) &&
		get_partition_parent(leaf, true) == key->relation;
}

/*
 * Raise if a key depends on an object that is about to be dropped.
 */
void
runops_unique_protect(const ObjectAddress *object)
{
	ListCell   *lc;

	if (object->objectSubId != 0 ||
		(object->classId != RelationRelationId && object->classId != TriggerRelationId))
		return;

	foreach(lc, listed_keys())
	{
		ListedKey  *key = lfirst(lc);

		if (stands_on(key, object))
			ereport(ERROR,
					(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
					 errmsg("cannot drop %s because unique key \"%s\" of table \"%s\" depends on it",
							getObjectDescription(object, false), NameStr(key->name),
							get_rel_name(key->relation)),
					 errdetail("Without it, rows of different stores could have the same key."),
					 errhint("Use runops.drop_unique first.")));
	}
}

/*
 * Does a key, or its predicate, read a column of its table?
 */
static bool
reads_column(const ListedKey *key, AttrNumber attno)
{
	Oid			indexid = get_relname_relid(NameStr(key->name), get_rel_namespace(key->relation));
	Bitmapset  *attrs = NULL;
	Relation	index;

	if (!OidIsValid(indexid) || get_rel_relkind(indexid) != RELKIND_PARTITIONED_INDEX)
		return false;

	index = index_open(indexid, AccessShareLock);
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
		attrs = bms_add_member(attrs, index->rd_index->indkey.values[i] - FirstLowInvalidHeapAttributeNumber);
	pull_varattnos((Node *) RelationGetIndexPredicate(index), 1, &attrs);
	index_close(index, AccessShareLock);

	return bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, attrs);
}

/*
 * Raise for an ALTER TABLE that drops a column of a key or changes its type,
 * because the entries of the key would keep the old values.
 */
void
runops_unique_check_alter(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		Oid			relid;
		AttrNumber	attno;
		ListCell   *lc2;

		if (cmd->subtype != AT_AlterColumnType && cmd->subtype != AT_DropColumn)
			continue;
		relid = RangeVarGetRelid(stmt->relation, NoLock, true);
		attno = OidIsValid(relid) ? get_attnum(relid, cmd->name) : InvalidAttrNumber;
		if (attno <= 0)
			continue;

		foreach(lc2, listed_keys())
		{
			ListedKey  *key = lfirst(lc2);

			if (key->relation == relid && reads_column(key, attno))
				ereport(ERROR,
						(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
						 cmd->subtype == AT_DropColumn ?
						 errmsg("cannot drop column \"%s\" because unique key \"%s\" of table \"%s\" reads it",
								cmd->name, NameStr(key->name), get_rel_name(relid)) :
						 errmsg("cannot change the type of column \"%s\" because unique key \"%s\" of table \"%s\" reads it",
								cmd->name, NameStr(key->name), get_rel_name(relid)),
						 errdetail("The entries of the key store the values of the column."),
						 errhint("Use runops.drop_unique first.")));
		}
	}
}

/*
 * Raise for a statement that renames the index of a key, because the key is
 * found by that name.
 */
void
runops_unique_check_rename(RenameStmt *stmt)
{
	Oid			relid;
	ListCell   *lc;

	if (stmt->relation == NULL ||
		(stmt->renameType != OBJECT_INDEX && stmt->renameType != OBJECT_TABLE))
		return;
	relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_PARTITIONED_INDEX)
		return;

	foreach(lc, listed_keys())
	{
		ListedKey  *key = lfirst(lc);
		ObjectAddress object;

		ObjectAddressSet(object, RelationRelationId, relid);
		if (stands_on(key, &object))
			ereport(ERROR,
					(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
					 errmsg("cannot rename index \"%s\" because it defines a unique key of table \"%s\"",
							NameStr(key->name), get_rel_name(key->relation)),
					 errdetail("The extension finds the key by the name of its index."),
					 errhint("Use runops.drop_unique first, and runops.add_unique with the new name.")));
	}
}
