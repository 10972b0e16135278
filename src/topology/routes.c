/*-------------------------------------------------------------------------
 *
 * routes.c
 *	  Knows which tables are routed, and the key, the aliases and the leaves of
 *	  each.
 *
 * Everything is read from the relcache.  The partition key tells that a table
 * is routed and by which expression, the partition bounds tell the store of
 * each leaf, and CHECK constraints on the parent declare the aliases.  No
 * configuration table is read, so planning needs no snapshot for one, and a
 * restored dump is routed at once.
 *
 * Both hash tables live in CacheMemoryContext for the life of the backend.
 * The invalidation callback only clears flags; the next lookup rebuilds an
 * entry.  A route that a caller has got stays readable until the transaction
 * ends, because the memory context of a replaced route becomes a child of
 * TopTransactionContext.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/relcache.h"
#include "topology/topology.h"

/* The cached route of a relation as a possible parent. */
typedef struct RouteEntry
{
	Oid			relid;			/* hash key, first */
	bool		valid;
	RunopsRoute *route;			/* NULL: not a routed table */
	MemoryContext cxt;			/* of the route */
} RouteEntry;

/* The cached store of a relation as a possible leaf. */
typedef struct LeafEntry
{
	Oid			relid;			/* hash key, first */
	bool		valid;
	char		store[RUNOPS_STORE_LEN];	/* empty: not a leaf */
	Oid			table;			/* the routed table, if it is a leaf */
	Oid			parent;			/* the parent that has it as a leaf, if any */
} LeafEntry;

static HTAB *route_hash = NULL;
static HTAB *leaf_hash = NULL;

/* Counts invalidations, to detect one that arrives while an entry is built. */
static uint64 inval_count = 0;

static Oid	store_of_oid = InvalidOid;
static bool store_of_valid = false;

/*
 * Relcache callback: forget one relation, or all if relid is invalid.
 */
static void
forget_route(Oid relid)
{
	inval_count++;

	if (OidIsValid(relid))
	{
		RouteEntry *route = hash_search(route_hash, &relid, HASH_FIND, NULL);
		LeafEntry  *leaf = hash_search(leaf_hash, &relid, HASH_FIND, NULL);

		/* A route holds the names of its leaves. */
		if (leaf)
		{
			leaf->valid = false;
			if (route == NULL && OidIsValid(leaf->parent))
				route = hash_search(route_hash, &leaf->parent, HASH_FIND, NULL);
		}
		if (route)
			route->valid = false;
	}
	else
	{
		HASH_SEQ_STATUS seq;
		RouteEntry *route;
		LeafEntry  *leaf;

		hash_seq_init(&seq, route_hash);
		while ((route = hash_seq_search(&seq)) != NULL)
			route->valid = false;
		hash_seq_init(&seq, leaf_hash);
		while ((leaf = hash_seq_search(&seq)) != NULL)
			leaf->valid = false;
	}
}

static RunopsRelcacheClient relcache_client = {.forget = forget_route};

/*
 * Syscache callback for schemas: routes hold their names.
 */
static void
route_schema_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	store_of_valid = false;
	forget_route(InvalidOid);
}

/*
 * Syscache callback for functions: look store_of up again.
 *
 * The extension may have been created, dropped or moved.  Routes depend on the
 * function's OID and are forgotten with it.
 */
static void
route_proc_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	store_of_valid = false;
}

/*
 * Create the hash tables and register the callbacks, once per backend.
 */
static void
route_init(void)
{
	HASHCTL		ctl = {0};

	if (leaf_hash != NULL)
		return;

	ctl.keysize = sizeof(Oid);
	ctl.hcxt = CacheMemoryContext;
	if (route_hash == NULL)
	{
		ctl.entrysize = sizeof(RouteEntry);
		route_hash = hash_create("runops routes", 64, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	ctl.entrysize = sizeof(LeafEntry);
	leaf_hash = hash_create("runops leaves", 64, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	runops_relcache_register(&relcache_client);
	CacheRegisterSyscacheCallback(PROCOID, route_proc_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, route_schema_callback, (Datum) 0);
}

/*
 * The OID of a function of the extension with one or two text arguments, or
 * InvalidOid.
 */
static Oid
lookup_text_function(const char *name, int nargs)
{
	Oid			nsp = get_namespace_oid(RUNOPS_SCHEMA, true);
	Oid			argtypes[2] = {TEXTOID, TEXTOID};

	if (!OidIsValid(nsp))
		return InvalidOid;

	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						   PointerGetDatum(name),
						   PointerGetDatum(buildoidvector(argtypes, nargs)),
						   ObjectIdGetDatum(nsp));
}

/*
 * The OID of runops.store_of(text), or InvalidOid while the extension does not
 * exist in this database.
 */
Oid
runops_store_of_oid(void)
{
	if (!store_of_valid)
	{
		Oid			found;
		Oid			before = store_of_oid;

		route_init();

		/* An invalidation during the lookup clears the flag again. */
		store_of_valid = true;
		found = lookup_text_function("store_of", 1);
		store_of_oid = found;

		if (found != before)
		{
			bool		still_valid = store_of_valid;

			forget_route(InvalidOid);
			store_of_valid = still_valid;
		}
	}

	return store_of_oid;
}

/*
 * The OID of runops.same_store(text, text), or InvalidOid while the extension
 * does not exist in this database.
 */
Oid
runops_same_store_oid(void)
{
	return lookup_text_function("same_store", 2);
}

/*
 * The attribute number of a column of relation 1, ignoring casts that do not
 * change the value; 0 if the expression is anything else.
 */
static AttrNumber
plain_column(Node *expr)
{
	while (expr && IsA(expr, RelabelType))
		expr = (Node *) ((RelabelType *) expr)->arg;

	if (expr && IsA(expr, Var) && ((Var *) expr)->varno == 1 &&
		((Var *) expr)->varlevelsup == 0 && ((Var *) expr)->varattno > 0)
		return ((Var *) expr)->varattno;

	return 0;
}

/*
 * The column whose equality with a value implies the row's store; 0 if there
 * is none.
 *
 * In COALESCE(a, b, c) only "a" does:  "b = x" does not tell the store of a
 * row whose "a" is not NULL.
 */
AttrNumber
runops_lead_column(Node *key)
{
	while (key && IsA(key, RelabelType))
		key = (Node *) ((RelabelType *) key)->arg;

	if (key && IsA(key, CoalesceExpr))
		return runops_lead_column(linitial(((CoalesceExpr *) key)->args));

	return plain_column(key);
}

/*
 * If a CHECK expression declares an alias, return the column, else 0.
 *
 * The form is "same_store(alias, <key>)".
 */
static AttrNumber
alias_of_check(Node *check, Node *key, Oid same_store)
{
	FuncExpr   *func = (FuncExpr *) check;

	if (!IsA(check, FuncExpr) || func->funcid != same_store ||
		!equal(lsecond(func->args), key))
		return 0;

	return plain_column(linitial(func->args));
}

/*
 * The columns that validated, inherited CHECKs declare to be aliases.
 *
 * The bitmap is offset by FirstLowInvalidHeapAttributeNumber.
 */
static Bitmapset *
find_aliases(Relation rel, Node *key)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	Oid			same_store;
	Bitmapset  *result = NULL;

	if (constr == NULL || constr->num_check == 0)
		return NULL;

	same_store = runops_same_store_oid();
	if (!OidIsValid(same_store))
		return NULL;

	for (int i = 0; i < constr->num_check; i++)
	{
		Node	   *check;
		AttrNumber	attno;

		if (!constr->check[i].ccvalid || constr->check[i].ccnoinherit)
			continue;

		/* The relcache does the same with a partition key. */
		check = stringToNode(constr->check[i].ccbin);
		check = eval_const_expressions(NULL, check);
		fix_opfuncids(check);

		attno = alias_of_check(check, key, same_store);
		if (attno != 0)
			result = bms_add_member(result,
									attno - FirstLowInvalidHeapAttributeNumber);
	}

	return result;
}

/*
 * Look up the schema and the name of a relation.
 */
static void
name_relation(Oid relid, char **schema, char **name)
{
	*schema = get_namespace_name(get_rel_namespace(relid));
	*name = get_rel_name(relid);
}

/*
 * Fill in the leaves from the partition bounds.
 *
 * Returns false if the bounds are not ours: the table has a default partition,
 * or a partition for several stores.
 */
static bool
find_leaves(RunopsRoute *route, PartitionDesc desc)
{
	PartitionBoundInfo bounds = desc->boundinfo;

	route->nleaves = desc->nparts;
	route->leaves = palloc0(sizeof(RunopsLeaf) * Max(desc->nparts, 1));
	if (desc->nparts == 0)
		return true;

	if (bounds->strategy != PARTITION_STRATEGY_LIST ||
		bounds->default_index >= 0)
		return false;

	for (int i = 0; i < desc->nparts; i++)
	{
		route->leaves[i].relid = desc->oids[i];
		name_relation(desc->oids[i], &route->leaves[i].schema,
					  &route->leaves[i].name);
		route->leaves[i].foreign =
			get_rel_relkind(desc->oids[i]) == RELKIND_FOREIGN_TABLE;
	}

	for (int i = 0; i < bounds->ndatums; i++)
	{
		RunopsLeaf *leaf = &route->leaves[bounds->indexes[i]];
		text	   *store = DatumGetTextPP(bounds->datums[i][0]);
		int			len = VARSIZE_ANY_EXHDR(store);

		if (leaf->store[0] != '\0' || len == 0 || len >= RUNOPS_STORE_LEN)
			return false;
		memcpy(leaf->store, VARDATA_ANY(store), len);
		leaf->store[len] = '\0';
	}

	/* A partition that is only for NULL has no store. */
	for (int i = 0; i < desc->nparts; i++)
	{
		if (route->leaves[i].store[0] == '\0')
			return false;
	}

	return true;
}

/*
 * The expression store_of(key) of a partition key, or NULL if the key is
 * another expression.
 */
static Node *
routing_expression(Relation rel, Oid store_of)
{
	PartitionKey partkey;
	FuncExpr   *partexpr;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return NULL;

	partkey = RelationGetPartitionKey(rel);
	if (partkey->strategy != PARTITION_STRATEGY_LIST ||
		partkey->partnatts != 1 || partkey->partattrs[0] != 0)
		return NULL;

	partexpr = (FuncExpr *) linitial(partkey->partexprs);
	if (!IsA(partexpr, FuncExpr) || partexpr->funcid != store_of ||
		list_length(partexpr->args) != 1 ||
		!get_collation_isdeterministic(partkey->partcollation[0]))
		return NULL;

	return (Node *) partexpr;
}

/*
 * Build the route of a relation in the current memory context.
 *
 * Returns NULL if the relation is not a routed table, or while a leaf is being
 * detached concurrently.  In that case the set of leaves depends on the
 * snapshot, and without the hooks core chooses the right set.
 */
static RunopsRoute *
build_route(Relation rel, Oid store_of)
{
	Node	   *partexpr = routing_expression(rel, store_of);
	PartitionDesc desc;
	RunopsRoute *route;
	int			member = -1;

	if (partexpr == NULL)
		return NULL;

	desc = RelationGetPartitionDesc(rel, false);
	if (desc->detached_exist)
		return NULL;

	route = palloc0(sizeof(RunopsRoute));
	route->relid = RelationGetRelid(rel);
	name_relation(route->relid, &route->schema, &route->name);
	if (!find_leaves(route, desc))
		return NULL;

	route->partexpr = copyObject(partexpr);
	route->key = linitial(((FuncExpr *) route->partexpr)->args);
	route->lead_attno = runops_lead_column(route->key);
	pull_varattnos(route->key, 1, &route->key_attnos);
	route->alias_attnos = find_aliases(rel, route->key);
	while ((member = bms_next_member(route->alias_attnos, member)) >= 0)
	{
		AttrNumber	attno = member + FirstLowInvalidHeapAttributeNumber;

		if (TupleDescAttr(RelationGetDescr(rel), attno - 1)->attgenerated)
			route->alias_generated = true;
	}

	return route;
}

/*
 * Make the route depend on its partitions too, whose names it holds.
 */
static void
watch_leaves(Relation rel)
{
	PartitionDesc desc;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return;

	desc = RelationGetPartitionDesc(rel, false);
	for (int i = 0; i < desc->nparts; i++)
	{
		bool		found;
		LeafEntry  *leaf = hash_search(leaf_hash, &desc->oids[i], HASH_ENTER,
									   &found);

		if (!found)
			leaf->valid = false;
		leaf->parent = RelationGetRelid(rel);
	}
}

/*
 * Build the route of a relation and put it into the hash entry.
 */
static RunopsRoute *
rebuild_route(Oid relid, Oid store_of)
{
	MemoryContext cxt;
	MemoryContext oldcxt;
	Relation	rel;
	RunopsRoute *route = NULL;
	RouteEntry *entry;
	uint64		count;
	bool		found;

	/* Opening the parent may take a lock and so process invalidations. */
	rel = try_relation_open(relid, AccessShareLock);
	if (rel == NULL)
		return NULL;
	watch_leaves(rel);

	cxt = AllocSetContextCreate(CurrentMemoryContext, "runops route",
								ALLOCSET_SMALL_SIZES);
	oldcxt = MemoryContextSwitchTo(cxt);
	count = inval_count;
	route = build_route(rel, store_of);
	MemoryContextSwitchTo(oldcxt);
	relation_close(rel, NoLock);

	entry = hash_search(route_hash, &relid, HASH_ENTER, &found);
	if (found && entry->cxt != NULL)
		MemoryContextSetParent(entry->cxt, TopTransactionContext);
	entry->route = route;
	if (route == NULL)
	{
		MemoryContextDelete(cxt);
		cxt = NULL;
	}
	else
		MemoryContextSetParent(cxt, CacheMemoryContext);
	entry->cxt = cxt;
	entry->valid = (count == inval_count);

	return route;
}

/*
 * The route of a table, or NULL if the table is not routed.
 *
 * The result stays readable until the end of the transaction.  The caller must
 * be in a transaction.  If the table is not cached, it is locked in
 * AccessShareLock mode.
 */
const RunopsRoute *
runops_route(Oid relid)
{
	Oid			store_of = runops_store_of_oid();
	RouteEntry *entry;

	if (!OidIsValid(store_of))
		return NULL;

	entry = hash_search(route_hash, &relid, HASH_FIND, NULL);
	if (entry != NULL && entry->valid)
		return entry->route;

	return rebuild_route(relid, store_of);
}

/*
 * The old table of a route, which has its primary key and its indexes: the
 * legacy leaf, or the table beside the leaves if legacy is another database.
 */
Oid
runops_old_table(const RunopsRoute *route)
{
	for (int i = 0; i < route->nleaves; i++)
	{
		const RunopsLeaf *leaf = &route->leaves[i];

		if (!leaf->foreign && (runops_is_legacy(leaf->store) ||
							   strcmp(leaf->store, RUNOPS_NO_STORE) == 0))
			return leaf->relid;
	}

	return InvalidOid;
}

/*
 * Read the store and the routed table of a partition from its own bound.
 *
 * Leaves the entry unchanged unless the partition is a leaf of a routed table.
 * It does not use the route, which may be NULL while another leaf is being
 * detached.
 */
static void
read_leaf_entry(Oid leaf_relid, Oid store_of, LeafEntry *entry)
{
	HeapTuple	tuple;
	Datum		bound;
	bool		isnull;
	PartitionBoundSpec *spec;
	Relation	parent;
	Oid			table;
	bool		routed;
	ListCell   *lc;

	parent = try_relation_open(get_partition_parent(leaf_relid, true),
							   AccessShareLock);
	if (parent == NULL)
		return;
	routed = routing_expression(parent, store_of) != NULL;
	table = RelationGetRelid(parent);
	relation_close(parent, NoLock);
	if (!routed)
		return;

	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(leaf_relid));
	if (!HeapTupleIsValid(tuple))
		return;
	bound = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relpartbound, &isnull);
	spec = isnull ? NULL : stringToNode(TextDatumGetCString(bound));
	ReleaseSysCache(tuple);

	if (spec == NULL || spec->is_default)
		return;

	foreach(lc, spec->listdatums)
	{
		Const	   *datum = lfirst_node(Const, lc);

		if (!datum->constisnull)
		{
			text_to_cstring_buffer(DatumGetTextPP(datum->constvalue),
								   entry->store, RUNOPS_STORE_LEN);
			entry->table = table;
			break;
		}
	}
	if (strcmp(entry->store, RUNOPS_NO_STORE) == 0)
		entry->store[0] = '\0';
}

/*
 * The cache entry of a leaf; NULL if the relation is not a leaf of a routed
 * table.
 */
static const LeafEntry *
find_leaf(Oid leaf_relid)
{
	Oid			store_of = runops_store_of_oid();
	LeafEntry  *entry;
	LeafEntry	built = {0};
	uint64		count;
	bool		found;

	if (!OidIsValid(store_of))
		return NULL;

	entry = hash_search(leaf_hash, &leaf_relid, HASH_FIND, NULL);
	if (entry == NULL || !entry->valid)
	{
		count = inval_count;
		if (get_rel_relispartition(leaf_relid))
			read_leaf_entry(leaf_relid, store_of, &built);

		entry = hash_search(leaf_hash, &leaf_relid, HASH_ENTER, &found);
		if (!found)
			entry->parent = InvalidOid;
		strlcpy(entry->store, built.store, RUNOPS_STORE_LEN);
		entry->table = built.table;
		entry->valid = (count == inval_count);
	}

	return entry->store[0] != '\0' ? entry : NULL;
}

/*
 * Copy the store of a leaf to store[RUNOPS_STORE_LEN].
 *
 * Returns false if the relation is not a leaf of a routed table.
 */
bool
runops_leaf_store(Oid leaf_relid, char *store)
{
	const LeafEntry *entry = find_leaf(leaf_relid);

	if (entry == NULL)
		return false;

	strlcpy(store, entry->store, RUNOPS_STORE_LEN);
	return true;
}

/*
 * The routed table of a leaf; any other relation is returned unchanged.
 */
Oid
runops_leaf_table(Oid relid)
{
	const LeafEntry *entry = find_leaf(relid);

	return entry ? entry->table : relid;
}

/*
 * The leaf of a route that is the old table, or NULL if that leaf is a foreign
 * table or does not exist.
 */
const RunopsLeaf *
runops_legacy_leaf(const RunopsRoute *route)
{
	for (int i = 0; i < route->nleaves; i++)
	{
		if (!route->leaves[i].foreign &&
			runops_is_legacy(route->leaves[i].store))
			return &route->leaves[i];
	}

	return NULL;
}

/*
 * Does a CHECK of this name declare an alias?
 */
bool
runops_is_alias_check(const char *name)
{
	return strncmp(name, RUNOPS_ALIAS_CONSTRAINT, strlen(RUNOPS_ALIAS_CONSTRAINT)) == 0;
}
