/*-------------------------------------------------------------------------
 *
 * unique_keys.c
 *	  Caches the keys of each leaf that are unique over all stores of its
 *	  routed table.
 *
 * runops.unique_config lists the keys; an index on ONLY the routed table
 * defines the columns and the predicate of each.  Both are read when a
 * statement first writes to a leaf, and cached until the list is written.  The
 * definition in the index does not change: its columns and its name are
 * protected, and a renamed column keeps its attribute number.
 *
 * A result stays readable until the transaction ends, because the memory
 * context of a replaced result becomes a child of TopTransactionContext.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/attmap.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "base/argument.h"
#include "base/compat.h"
#include "integrity/integrity.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* the columns of runops.unique_config */
#define Anum_unique_config_relation	1
#define Anum_unique_config_name		2
#define Anum_unique_config_entries	3
#define Anum_unique_config_stores	4
#define Anum_unique_config_touched	5

/* The cached keys of a relation as a possible leaf. */
typedef struct KeysEntry
{
	Oid			relid;			/* hash key, first */
	uint64		generation;		/* of the list that it was built from */
	RunopsUniqueKeys *keys;		/* NULL: no key */
	MemoryContext cxt;			/* of the keys */
} KeysEntry;

static void forget_keys(void);

static RunopsConfigCache config_cache = {.table = "unique_config", .forget = forget_keys};
static HTAB *keys_hash = NULL;

/* an increment invalidates all entries of the hash table */
static uint64 generation = 1;

PG_FUNCTION_INFO_V1(runops_unique_predicate);
PG_FUNCTION_INFO_V1(runops_replan);
PG_FUNCTION_INFO_V1(runops_has_written);

/*
 * Config cache callback: the list of keys was written.
 */
static void
forget_keys(void)
{
	generation++;
}

/*
 * The index that defines a key of a table, or InvalidOid.
 */
static Oid
defining_index(Relation parent, const char *name)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(parent))
	{
		char	   *index = get_rel_name(lfirst_oid(lc));

		if (index != NULL && strcmp(index, name) == 0)
			return lfirst_oid(lc);
	}

	return InvalidOid;
}

/*
 * Fill in the columns and the predicate of a key for the rows of a leaf.
 */
static void
define_key(RunopsUniqueKey *key, RunopsUniqueKeys *keys, Relation parent,
		   Relation leaf, const AttrMap *map)
{
	Oid			indexid = defining_index(parent, key->name);
	Relation	index;

	if (!OidIsValid(indexid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("unique key \"%s\" of table \"%s\" has lost its definition",
						key->name, RelationGetRelationName(parent)),
				 errdetail("The index that defines it was dropped or renamed."),
				 errhint("Use runops.drop_unique, and then runops.add_unique again.")));

	index = index_open(indexid, AccessShareLock);
	key->ncolumns = IndexRelationGetNumberOfKeyAttributes(index);
	for (int i = 0; i < key->ncolumns; i++)
	{
		key->attnos[i] = map->attnums[index->rd_index->indkey.values[i] - 1];
		keys->watched = bms_add_member(keys->watched,
									   key->attnos[i] - FirstLowInvalidHeapAttributeNumber);
	}
	key->predicate = map_partition_varattnos(copyObject(RelationGetIndexPredicate(index)),
											 1, leaf, parent);
	pull_varattnos((Node *) key->predicate, 1, &keys->watched);
	index_close(index, AccessShareLock);
}

/*
 * Is a store in an array of store names?
 */
static bool
lists_store(ArrayType *stores, const char *store)
{
	Datum	   *elems;
	bool	   *nulls;
	int			nelems;

	deconstruct_array(stores, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &nelems);
	for (int i = 0; i < nelems; i++)
	{
		if (!nulls[i] && strcmp(TextDatumGetCString(elems[i]), store) == 0)
			return true;
	}

	return false;
}

/*
 * Read the keys of a routed table from the list, without their definitions.
 */
static void
read_keys(RunopsUniqueKeys *keys)
{
	Relation	config = runops_config_cache_open(&config_cache);
	TupleDesc	desc = RelationGetDescr(config);
	SysScanDesc scan = systable_beginscan(config, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		RunopsUniqueKey *key;

		if (DatumGetObjectId(heap_getattr(tuple, Anum_unique_config_relation, desc, &isnull)) != keys->parent)
			continue;

		keys->keys = keys->keys == NULL ? palloc(sizeof(RunopsUniqueKey)) :
			repalloc(keys->keys, sizeof(RunopsUniqueKey) * (keys->nkeys + 1));
		key = &keys->keys[keys->nkeys++];
		memset(key, 0, sizeof(*key));
		key->name = pstrdup(NameStr(*DatumGetName(heap_getattr(tuple, Anum_unique_config_name, desc, &isnull))));
		key->entries = DatumGetObjectId(heap_getattr(tuple, Anum_unique_config_entries, desc, &isnull));
		key->covered = lists_store(DatumGetArrayTypeP(heap_getattr(tuple, Anum_unique_config_stores, desc, &isnull)),
								   keys->store);
		key->touched = DatumGetObjectId(heap_getattr(tuple, Anum_unique_config_touched, desc, &isnull));
		if (isnull)
			key->touched = InvalidOid;
	}
	systable_endscan(scan);
	table_close(config, AccessShareLock);
}

/*
 * Build the keys of a leaf in the current memory context; NULL if there are
 * none, or if the relation is not a leaf.
 */
static RunopsUniqueKeys *
build_keys(Oid relid)
{
	RunopsUniqueKeys *keys = palloc0(sizeof(RunopsUniqueKeys));
	Relation	parent;
	Relation	leaf;
	AttrMap    *map;
	int			member = -1;

	keys->relid = relid;
	if (!runops_leaf_store(relid, keys->store))
	{
		/* register for the first write of the list */
		table_close(runops_config_cache_open(&config_cache), AccessShareLock);
		return NULL;
	}
	keys->parent = get_partition_parent(relid, false);
	read_keys(keys);
	if (keys->nkeys == 0)
		return NULL;

	parent = table_open(keys->parent, AccessShareLock);
	leaf = table_open(relid, AccessShareLock);
	keys->foreign = leaf->rd_rel->relkind == RELKIND_FOREIGN_TABLE;
	map = build_attrmap_by_name_compat(RelationGetDescr(leaf), RelationGetDescr(parent));
	for (int i = 0; i < keys->nkeys; i++)
		define_key(&keys->keys[i], keys, parent, leaf, map);
	while ((member = bms_next_member(keys->watched, member)) >= 0)
	{
		AttrNumber	attno = member + FirstLowInvalidHeapAttributeNumber;

		if (attno > 0 && TupleDescAttr(RelationGetDescr(leaf), attno - 1)->attgenerated)
			keys->generated = true;
	}
	table_close(leaf, NoLock);
	table_close(parent, NoLock);

	return keys;
}

/*
 * The keys of a leaf that are unique over all stores; NULL if there are none.
 *
 * The result stays readable until the end of the transaction.
 */
const RunopsUniqueKeys *
runops_unique_keys(Oid relid)
{
	KeysEntry  *entry;
	RunopsUniqueKeys *keys;
	MemoryContext cxt;
	MemoryContext oldcxt;
	uint64		before;
	bool		found;

	if (keys_hash == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(KeysEntry),
			.hcxt = CacheMemoryContext};

		keys_hash = hash_create("runops unique keys", 64, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}

	entry = hash_search(keys_hash, &relid, HASH_FIND, NULL);
	if (entry != NULL && entry->generation == generation)
		return entry->keys;

	cxt = AllocSetContextCreate(CurrentMemoryContext, "runops unique keys",
								ALLOCSET_SMALL_SIZES);
	oldcxt = MemoryContextSwitchTo(cxt);
	before = generation;
	keys = build_keys(relid);
	MemoryContextSwitchTo(oldcxt);

	entry = hash_search(keys_hash, &relid, HASH_ENTER, &found);
	if (found && entry->cxt != NULL)
		MemoryContextSetParent(entry->cxt, TopTransactionContext);
	if (keys == NULL)
	{
		MemoryContextDelete(cxt);
		cxt = NULL;
	}
	else
		MemoryContextSetParent(cxt, CacheMemoryContext);
	entry->keys = keys;
	entry->cxt = cxt;
	entry->generation = before;

	return keys;
}

/*
 * _unique_predicate(relation regclass, predicate text): the deparsed
 * predicate.
 *
 * Raises unless it is one condition over the table.  CREATE INDEX checks
 * whether it is immutable.
 */
Datum
runops_unique_predicate(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Relation	rel = runops_argument_open(relid, AccessShareLock);
	char	   *predicate = text_to_cstring(PG_GETARG_TEXT_PP(1));
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *nsitem;
	RunopsExpressionText expression;
	Node	   *expr;
	char	   *result;

	runops_expression_text_enter(&expression, predicate, "predicate of a unique key");
	expr = runops_parse_expression_text(predicate);
	if (expr == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("predicate \"%s\" is not one condition", predicate),
				 errdetail("A predicate is an SQL expression over the columns of the table."),
				 errhint("Write the predicate as after WHERE in CREATE INDEX.")));

	nsitem = addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, false, true);
	addNSItemToQuery(pstate, nsitem, true, true, true);
	expr = transformExpr(pstate, expr, EXPR_KIND_INDEX_PREDICATE);
	expr = coerce_to_boolean(pstate, expr, "WHERE");
	assign_expr_collations(pstate, expr);
	runops_expression_text_leave(&expression);

	result = deparse_expression(expr, deparse_context_for(RelationGetRelationName(rel), relid),
								false, false);
	table_close(rel, AccessShareLock);

	PG_RETURN_TEXT_P(cstring_to_text(result));
}

/*
 * _replan(relation regclass): invalidate the plans for a table and its
 * partitions.
 */
Datum
runops_replan(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	ListCell   *lc;

	runops_argument_lock(relid, AccessShareLock);
	CacheInvalidateRelcacheByRelid(relid);
	foreach(lc, find_inheritance_children(relid, NoLock))
		CacheInvalidateRelcacheByRelid(lfirst_oid(lc));

	PG_RETURN_VOID();
}

/*
 * _has_written(store text): has this transaction written to the store?
 */
Datum
runops_has_written(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(runops_writes_has(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}
