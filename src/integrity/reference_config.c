/*-------------------------------------------------------------------------
 *
 * reference_config.c
 *	  Caches the configured references in the backend.
 *
 * A backend reads runops.reference_config once, and again after a change; see
 * topology/config_cache.c.  There are few references, so they are kept in a
 * list.  Callers get copies, because an invalidation may arrive while they use
 * them.
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
#include "catalog/partition.h"
#include "commands/trigger.h"
#include "parser/scansup.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "integrity/reference_int.h"
#include "topology/topology.h"

/* the columns of runops.reference_config */
#define Anum_reference_child			1
#define Anum_reference_child_column		2
#define Anum_reference_parent			3
#define Anum_reference_parent_column	4
#define Anum_reference_name				5
#define Anum_reference_on_delete		6

/* the columns of runops.cascade_config, and the number of its key columns */
#define Anum_cascade_parent			1
#define Anum_cascade_child			2
#define Anum_cascade_child_column	3
#define Nkeys_cascade				3

static List *references = NIL;	/* of RunopsReference */
static MemoryContext reference_context = NULL;
static bool references_known = false;

uint64		runops_reference_changes = 0;

/*
 * Config cache callback: the table was written, so read it again.
 */
static void
forget_references(void)
{
	references_known = false;
	runops_reference_changes++;
}

static RunopsConfigCache reference_cache = {
	.table = "reference_config",
	.forget = forget_references
};

/*
 * Read all references into the current memory context.
 */
static List *
read_references(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *result = NIL;
	SysScanDesc scan;
	HeapTuple	tuple;

	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		RunopsReference *reference = palloc0(sizeof(RunopsReference));
		bool		isnull;

		/* none of these columns can be NULL */
		reference->child = DatumGetObjectId(heap_getattr(tuple, Anum_reference_child, desc, &isnull));
		reference->child_column = *DatumGetName(heap_getattr(tuple, Anum_reference_child_column, desc, &isnull));
		reference->parent = DatumGetObjectId(heap_getattr(tuple, Anum_reference_parent, desc, &isnull));
		reference->parent_column = *DatumGetName(heap_getattr(tuple, Anum_reference_parent_column, desc, &isnull));
		reference->name = *DatumGetName(heap_getattr(tuple, Anum_reference_name, desc, &isnull));
		reference->on_delete = DatumGetChar(heap_getattr(tuple, Anum_reference_on_delete, desc, &isnull));
		result = lappend(result, reference);
	}
	systable_endscan(scan);

	return result;
}

/*
 * Make sure that the list is up to date.
 */
static void
know_references(void)
{
	Relation	rel;

	while (!references_known)
	{
		MemoryContext old;

		if (reference_context == NULL)
			reference_context = AllocSetContextCreate(CacheMemoryContext,
													  "runops references",
													  ALLOCSET_SMALL_SIZES);
		rel = runops_config_cache_open(&reference_cache);

		/* an invalidation while reading sets it to false again */
		references = NIL;
		MemoryContextReset(reference_context);
		references_known = true;
		old = MemoryContextSwitchTo(reference_context);
		PG_TRY();
		{
			references = read_references(rel);
		}
		PG_CATCH();
		{
			references_known = false;
			references = NIL;
			PG_RE_THROW();
		}
		PG_END_TRY();
		MemoryContextSwitchTo(old);
		table_close(rel, AccessShareLock);
	}
}

/*
 * The table that references name for a relation: its routed table if it is a
 * leaf or a partition, else the relation itself.
 */
Oid
runops_reference_table(Oid relid)
{
	while (get_rel_relispartition(relid))
		relid = get_partition_parent(relid, true);

	return relid;
}

/*
 * A copy of the reference.
 */
static RunopsReference *
copy_reference(const RunopsReference *reference)
{
	RunopsReference *copy = palloc(sizeof(RunopsReference));

	*copy = *reference;

	return copy;
}

/*
 * Do both tables of a reference exist?  If one was dropped, the reference is
 * ignored.
 */
static bool
tables_exist(const RunopsReference *reference)
{
	return get_rel_name(reference->child) != NULL &&
		get_rel_name(reference->parent) != NULL;
}

/*
 * The reference of a table with this name, or NULL.
 */
RunopsReference *
runops_reference_find(Oid child, const char *name)
{
	ListCell   *lc;

	know_references();
	foreach(lc, references)
	{
		RunopsReference *reference = (RunopsReference *) lfirst(lc);

		if (reference->child == child && strcmp(NameStr(reference->name), name) == 0)
		{
			RunopsReference *copy = copy_reference(reference);

			return tables_exist(copy) ? copy : NULL;
		}
	}

	return NULL;
}

/*
 * Remove the ignored references from a list of copies.
 */
static List *
without_dropped(List *copies)
{
	ListCell   *lc;

	foreach(lc, copies)
	{
		if (!tables_exist(lfirst(lc)))
			copies = foreach_delete_current(copies, lc);
	}

	return copies;
}

/*
 * The references of a table to others.
 */
List *
runops_references_from(Oid child)
{
	List	   *result = NIL;
	ListCell   *lc;

	know_references();
	foreach(lc, references)
	{
		RunopsReference *reference = (RunopsReference *) lfirst(lc);

		if (reference->child == child)
			result = lappend(result, copy_reference(reference));
	}

	return without_dropped(result);
}

/*
 * The references of others to a table.
 */
List *
runops_references_to(Oid parent)
{
	List	   *result = NIL;
	ListCell   *lc;

	know_references();
	foreach(lc, references)
	{
		RunopsReference *reference = (RunopsReference *) lfirst(lc);

		if (reference->parent == parent)
			result = lappend(result, copy_reference(reference));
	}

	return without_dropped(result);
}

/*
 * The name of a reference that names this column of a table, or NULL.
 */
const char *
runops_reference_of_column(Oid relid, const char *column)
{
	Oid			table = runops_reference_table(relid);
	ListCell   *lc;

	know_references();
	foreach(lc, references)
	{
		RunopsReference *reference = (RunopsReference *) lfirst(lc);

		if ((reference->child == table && strcmp(NameStr(reference->child_column), column) == 0) ||
			(reference->parent == table && strcmp(NameStr(reference->parent_column), column) == 0))
			return pstrdup(NameStr(reference->name));
	}

	return NULL;
}

/*
 * Is this the name of a reference's trigger, which is a prefix and a column?
 */
static bool
is_trigger_name(const char *trigger, const char *prefix, const NameData *column)
{
	char	   *name = psprintf("%s%s", prefix, NameStr(*column));

	truncate_identifier(name, strlen(name), false);

	return strcmp(trigger, name) == 0;
}

/*
 * Raise for a DROP TRIGGER that would disable the check of a reference.
 * drop_reference deletes the reference first.
 */
void
runops_reference_check_drop(DropStmt *stmt)
{
	ListCell   *lc;

	if (stmt->removeType != OBJECT_TRIGGER)
		return;

	foreach(lc, stmt->objects)
	{
		List	   *object = castNode(List, lfirst(lc));
		const char *trigger = strVal(llast(object));
		List	   *name = list_truncate(list_copy(object), list_length(object) - 1);
		Oid			relid = RangeVarGetRelid(makeRangeVarFromNameList(name), NoLock, true);
		List	   *of_table;
		ListCell   *lc2;

		if (!OidIsValid(relid) || !OidIsValid(get_trigger_oid(relid, trigger, true)))
			continue;
		relid = runops_reference_table(relid);
		of_table = list_concat(runops_references_from(relid), runops_references_to(relid));
		foreach(lc2, of_table)
		{
			RunopsReference *reference = (RunopsReference *) lfirst(lc2);

			if ((reference->child == relid &&
				 (is_trigger_name(trigger, "runops_reference_", &reference->child_column) ||
				  is_trigger_name(trigger, "runops_reference_update_", &reference->child_column))) ||
				(reference->parent == relid &&
				 (is_trigger_name(trigger, "runops_referenced_", &reference->parent_column) ||
				  is_trigger_name(trigger, "runops_referenced_update_", &reference->parent_column) ||
				  strcmp(trigger, "runops_referenced_truncate") == 0)))
				ereport(ERROR,
						(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
						 errmsg("cannot drop trigger \"%s\" of table \"%s\" because a reference needs it",
								trigger, get_rel_name(relid)),
						 errdetail("The trigger belongs to reference \"%s\" of table \"%s\".",
								   NameStr(reference->name), get_rel_name(reference->child)),
						 errhint("Use runops.drop_reference().")));
		}
	}
}

/*
 * Is there a cascade that cleans up the referencing rows when the referenced
 * row is deleted?
 */
bool
runops_reference_cascades(const RunopsReference *reference)
{
	Oid			schema = get_namespace_oid(RUNOPS_SCHEMA, false);
	Relation	rel = table_open(get_relname_relid("cascade_config", schema), AccessShareLock);
	ScanKeyData keys[Nkeys_cascade];
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&keys[0], Anum_cascade_parent, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(reference->parent));
	ScanKeyInit(&keys[1], Anum_cascade_child, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(reference->child));
	ScanKeyInit(&keys[2], Anum_cascade_child_column, BTEqualStrategyNumber,
				F_NAMEEQ, NameGetDatum(&reference->child_column));
	scan = systable_beginscan(rel, get_relname_relid("cascade_config_pkey", schema),
							  true, NULL, Nkeys_cascade, keys);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return found;
}
