/*-------------------------------------------------------------------------
 *
 * reference.c
 *	  Checks references: a row of one table needs a row of another table, which
 *	  may be in another database.
 *
 * A foreign key locks the referenced row.  A reference locks the key of that
 * row here instead, because the row may be in another database.  A transaction
 * that writes a referencing row holds a share lock on the key until it ends,
 * and a transaction that deletes the referenced row holds an exclusive lock.
 * So either the deleting transaction waits and then finds the referencing row,
 * or the writing transaction waits and then does not find the referenced row.
 * Stores commit before this database does, so they have committed when the
 * lock is released.  Keys share RUNOPS_REFERENCE_KEYS locks, by their hash, so
 * that one statement cannot need a lock for each of its rows.
 *
 * The backend remembers that a row of a plain table exists.  Each of the locks
 * has a generation in shared memory.  A deletion increments it while it holds
 * the exclusive lock, and a row that was found under an older generation is
 * looked up again.  The backend never remembers that a row does not exist.
 *
 * In a store a transaction has one snapshot, which may be older than its lock.
 * So a transaction that writes a referencing row in a store, or deletes a row
 * there that may be referenced, invalidates a tag of the key at its commit,
 * while it still holds the lock; see control_plane.h.  The next transaction
 * that holds the lock then sees whether its snapshot is too old for the key,
 * and raises an error.
 *
 * With the flag off nothing is checked, because the other databases are not
 * asked.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "foreign/fdwapi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "control_plane/control_plane.h"
#include "gate/gate.h"
#include "integrity/reference_int.h"
#include "session/session.h"
#include "topology/topology.h"

/* The longest key that is remembered; an id has at most 32 characters. */
#define KNOWN_KEY_LENGTH 64

/* So many keys of a statement are looked up by one query. */
#define MAX_KEYS_TOGETHER 1000

/* A row that is known to exist. */
typedef struct KnownParent
{
	Oid			parent;			/* its table; InvalidOid: the slot is free */
	uint64		changes;		/* of the references when it was found */
	uint64		generation;		/* generation of its lock when it was found */
	uint32		length;			/* of its key */
	char		key[KNOWN_KEY_LENGTH];
} KnownParent;

static KnownParent *known_parents = NULL;	/* one for each lock */

PG_FUNCTION_INFO_V1(runops_reference_child);
PG_FUNCTION_INFO_V1(runops_reference_parent);
PG_FUNCTION_INFO_V1(runops_reference_truncate);

/*
 * Is the row of a plain table known to exist?  The caller has locked its key.
 */
static bool
parent_known(Oid parent, const RunopsReferenceColumn *column, Datum key, uint32 number)
{
	const KnownParent *known;
	const char *bytes;
	uint32		length;

	if (known_parents == NULL || known_parents[number].parent != parent)
		return false;
	known = &known_parents[number];
	bytes = runops_reference_bytes(column, &key, &length);

	return known->changes == runops_reference_changes &&
		known->generation == pg_atomic_read_u64(&runops_shared->reference_generations[number]) &&
		known->length == length && memcmp(known->key, bytes, length) == 0;
}

/*
 * Remember that the row of a plain table exists; this replaces another row.
 * The caller has locked its key, and the row is committed.
 */
static void
remember_parent(Oid parent, const RunopsReferenceColumn *column, Datum key, uint32 number)
{
	KnownParent *known;
	const char *bytes = NULL;
	uint32		length;

	bytes = runops_reference_bytes(column, &key, &length);
	if (runops_shared == NULL || length > KNOWN_KEY_LENGTH)
		return;

	if (known_parents == NULL)
		known_parents = MemoryContextAllocZero(TopMemoryContext,
											   RUNOPS_REFERENCE_KEYS * sizeof(KnownParent));
	known = &known_parents[number];
	known->parent = parent;
	known->changes = runops_reference_changes;
	known->generation = pg_atomic_read_u64(&runops_shared->reference_generations[number]);
	known->length = length;
	memcpy(known->key, bytes, length);
}

/*
 * The text of a key for error messages.
 */
static char *
key_text(const RunopsReferenceColumn *column, Datum key)
{
	Oid			function;
	bool		is_varlena;

	getTypeOutputInfo(column->type, &function, &is_varlena);

	return OidOutputFunctionCall(function, key);
}

/*
 * Is there a foreign key that already enforces the same reference?
 */
static bool
foreign_key_stands(Relation rel, AttrNumber attno, const RunopsReference *reference)
{
	ListCell   *lc;

	foreach(lc, RelationGetFKeyList(rel))
	{
		ForeignKeyCacheInfo *info = (ForeignKeyCacheInfo *) lfirst(lc);

		if (info->nkeys == 1 && info->conkey[0] == attno &&
			FOREIGN_KEY_ENFORCED(info) &&
			runops_reference_table(info->confrelid) == reference->parent &&
			strcmp(get_attname(info->confrelid, info->confkey[0], false),
				   NameStr(reference->parent_column)) == 0)
			return true;
	}

	return false;
}

/*
 * The tag for the rows with a key in the stores; hash is the hash of the key's
 * lock.
 */
static RunopsTag
key_tag(RunopsTagKind kind, Oid table, uint64 hash)
{
	uint64		id[2] = {table, hash};

	return runops_tags_make(runops_tags_prefix(MyDatabaseId, kind, NULL), (char *) id, sizeof(id));
}

/*
 * Raise if other transactions have changed rows of a routed table with a key
 * in a store, and this transaction's snapshot in that store may be too old to
 * see it.  The caller has locked the key.
 */
static void
require_new_snapshot(const RunopsReference *reference, Oid table, RunopsTag tag)
{
	const RunopsRoute *route = runops_route(table);

	for (int i = 0; route != NULL && i < route->nleaves; i++)
	{
		uint64		stamp;

		if (!route->leaves[i].foreign)
			continue;
		stamp = runops_conn_first_use(GetForeignServerIdByRelId(route->leaves[i].relid));
		if (stamp != PG_UINT64_MAX && !runops_tags_valid(stamp, &tag, 1))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to a concurrent change of \"%s\"",
							get_rel_name(table)),
					 errdetail("Reference \"%s\" must see the change, but this transaction has read store \"%s\" before it.",
							   NameStr(reference->name), route->leaves[i].store),
					 errhint("The transaction might succeed if retried.")));
	}
}

/*
 * The text "(column)=(value)" for the detail of an error; NULL if the user may
 * not see the column.
 */
static const char *
describe_key(Oid table, const NameData *name, const RunopsReferenceColumn *column,
			 Datum key)
{
	if (!runops_sees_column(table, NameStr(*name)))
		return NULL;

	return psprintf("(%s)=(%s)", NameStr(*name), key_text(column, key));
}

/*
 * Raise if the referenced row does not exist.
 */
static void
require_parent(Relation rel, const RunopsReference *reference, Datum key)
{
	RunopsReferenceColumn column;
	bool		plain = get_rel_relkind(reference->parent) == RELKIND_RELATION;
	bool		committed = false;
	uint64		hash;
	uint32		number;

	runops_reference_column(reference, &column);
	hash = runops_reference_lock(reference->parent, &column, key, ShareLock);
	number = hash % RUNOPS_REFERENCE_KEYS;
	if (rel->rd_rel->relkind == RELKIND_FOREIGN_TABLE && runops_cache_enabled())
		runops_invalidate(key_tag(RUNOPS_TAG_REFERRING, reference->child, hash));
	if (plain && parent_known(reference->parent, &column, key, number))
		return;
	if (!plain)
		require_new_snapshot(reference, reference->parent,
							 key_tag(RUNOPS_TAG_REFERRED, reference->parent, hash));

	if (!runops_reference_query(reference, &column, REFERENCE_QUERY_PARENT, key, plain ? &committed : NULL))
	{
		const char *shown = describe_key(reference->child, &reference->child_column,
										 &column, key);

		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("insert or update on table \"%s\" violates foreign key constraint \"%s\"",
						get_rel_name(reference->child), NameStr(reference->name)),
				 shown ?
				 errdetail("Key %s is not present in table \"%s\".", shown,
						   get_rel_name(reference->parent)) :
				 errdetail("Key is not present in table \"%s\".",
						   get_rel_name(reference->parent)),
				 err_generic_string(PG_DIAG_SCHEMA_NAME,
									get_namespace_name(get_rel_namespace(reference->child))),
				 err_generic_string(PG_DIAG_TABLE_NAME, get_rel_name(reference->child)),
				 err_generic_string(PG_DIAG_CONSTRAINT_NAME, NameStr(reference->name))));
	}

	if (committed)
		remember_parent(reference->parent, &column, key, number);
}

/*
 * Look up the next keys that were noted, as require_parent() does, but without
 * an error for those that are missing.
 */
static void
look_up_keys(Relation rel, RunopsReferenceKeys *keys)
{
	const RunopsReference *reference = &keys->reference;
	const RunopsReferenceColumn *column = &keys->column;
	bool		plain = get_rel_relkind(reference->parent) == RELKIND_RELATION;
	int			first = keys->nchecked;
	int			n = Min(keys->nkeys - first, MAX_KEYS_TOGETHER);
	Datum	   *values = palloc_array(Datum, n);
	RunopsReferenceRow *rows;
	int			nvalues = 0;
	int			nrows;

	for (int i = first; i < first + n; i++)
	{
		RunopsReferenceKey *key = &keys->keys[i];
		uint64		hash = runops_reference_lock(reference->parent, column, key->value, ShareLock);

		if (rel->rd_rel->relkind == RELKIND_FOREIGN_TABLE && runops_cache_enabled())
			runops_invalidate(key_tag(RUNOPS_TAG_REFERRING, reference->child, hash));
		if (!plain)
			require_new_snapshot(reference, reference->parent,
								 key_tag(RUNOPS_TAG_REFERRED, reference->parent, hash));
		if (plain && parent_known(reference->parent, column, key->value, hash % RUNOPS_REFERENCE_KEYS))
			key->found = true;
		else
			values[nvalues++] = key->value;
	}
	keys->nchecked += n;
	if (nvalues == 0)
		return;

	rows = runops_reference_parents(reference, column, values, nvalues, &nrows);
	for (int i = 0; i < nrows; i++)
	{
		int			found = runops_reference_key(keys, rows[i].key);
		uint64		hash;

		if (found < 0)
			continue;
		keys->keys[found].found = true;
		if (!rows[i].committed)
			continue;
		/* it is locked already */
		hash = runops_reference_lock(reference->parent, column, rows[i].key, ShareLock);
		remember_parent(reference->parent, column, rows[i].key, hash % RUNOPS_REFERENCE_KEYS);
	}
}

/*
 * Is a key among those that were noted, and found?  Looks up the noted ones, if
 * that was not done yet.
 */
static bool
found_together(Relation rel, const RunopsReference *reference, Datum key)
{
	RunopsReferenceKeys *keys = runops_reference_keys(reference);
	MemoryContext cxt;
	int			number;

	if (keys == NULL || keys->nkeys < 2)
		return false;
	number = runops_reference_key(keys, key);
	if (number < 0)
		return false;
	cxt = AllocSetContextCreate(CurrentMemoryContext, "runops reference lookup",
								ALLOCSET_DEFAULT_SIZES);
	while (number >= keys->nchecked)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(cxt);

		look_up_keys(rel, keys);
		MemoryContextSwitchTo(oldcontext);
		MemoryContextReset(cxt);
		/* a query may have called code that changes the keys */
		if (keys != runops_reference_keys(reference))
			return false;
	}
	MemoryContextDelete(cxt);

	return keys->keys[number].found;
}

/*
 * Raise unless this is called as an AFTER ROW trigger.
 */
static TriggerData *
get_trigger(FunctionCallInfo fcinfo, const char *name)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(data->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired AFTER ROW", name)));

	return data;
}

/*
 * Do two values of a column have the same bytes?
 */
static bool
same_value(Relation rel, AttrNumber attno, Datum a, bool a_null, Datum b, bool b_null)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attno - 1);

	if (a_null || b_null)
		return a_null && b_null;

	return datum_image_eq(a, b, att->attbyval, att->attlen);
}

/*
 * _reference_child(name) returns trigger
 *
 * AFTER INSERT OR UPDATE row trigger of the referencing table.
 */
Datum
runops_reference_child(PG_FUNCTION_ARGS)
{
	TriggerData *data = get_trigger(fcinfo, "_reference_child");
	Relation	rel = data->tg_relation;
	bool		update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	RunopsReference *reference;
	AttrNumber	attno;
	Datum		key;
	bool		isnull;

	if (data->tg_trigger->tgnargs != 1)
		elog(ERROR, "trigger \"%s\" must have one argument", data->tg_trigger->tgname);
	if (runops_gate_flag_off())
		return PointerGetDatum(NULL);
	reference = runops_reference_find(runops_reference_table(RelationGetRelid(rel)),
									  data->tg_trigger->tgargs[0]);
	if (reference == NULL)
		return PointerGetDatum(NULL);

	attno = runops_reference_attno(RelationGetRelid(rel), &reference->child_column, reference);
	key = slot_getattr(update ? data->tg_newslot : data->tg_trigslot, attno, &isnull);
	if (isnull || foreign_key_stands(rel, attno, reference))
		return PointerGetDatum(NULL);
	if (update)
	{
		bool		old_null;
		Datum		old = slot_getattr(data->tg_trigslot, attno, &old_null);

		if (same_value(rel, attno, old, old_null, key, false))
			return PointerGetDatum(NULL);
	}

	if (update || !found_together(rel, reference, key))
		require_parent(rel, reference, key);

	return PointerGetDatum(NULL);
}

/*
 * Check the references of a row that was inserted into a foreign leaf, as their
 * triggers do.
 */
void
runops_reference_check_insert(Relation rel, TupleTableSlot *slot)
{
	ListCell   *lc;

	if (runops_gate_flag_off())
		return;

	foreach(lc, runops_references_from(runops_reference_table(RelationGetRelid(rel))))
	{
		RunopsReference *reference = (RunopsReference *) lfirst(lc);
		AttrNumber	attno = runops_reference_attno(RelationGetRelid(rel),
												   &reference->child_column, reference);
		bool		isnull;
		Datum		key = slot_getattr(slot, attno, &isnull);

		if (!isnull && !foreign_key_stands(rel, attno, reference) &&
			!found_together(rel, reference, key))
			require_parent(rel, reference, key);
	}
}

/*
 * Is this the function of a trigger that checks a reference of new rows?
 */
bool
runops_reference_is_trigger(Oid function)
{
	char	   *name = get_func_name(function);

	return name != NULL && strcmp(name, "_reference_child") == 0 &&
		get_func_namespace(function) == get_namespace_oid(RUNOPS_SCHEMA, true);
}

/*
 * May an UPDATE of a foreign leaf that assigns these columns change a column?
 *
 * The columns are numbered as in pull_varattnos.  A generated column may
 * change with any other column.
 */
static bool
column_assigned(Oid relid, const NameData *column, const RunopsReference *reference,
				const Bitmapset *assigned)
{
	AttrNumber	attno = runops_reference_attno(relid, column, reference);

	return bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, assigned) ||
		get_attgenerated(relid, attno) != '\0';
}

/*
 * Must runops_reference_check_update() check an UPDATE of a foreign leaf that
 * assigns these columns?
 *
 * referring has those that matter if they refer to a row, and referred those that
 * matter if a row refers to them.
 */
bool
runops_reference_assigned(Oid relid, const Bitmapset *referring, const Bitmapset *referred)
{
	Oid			table = runops_reference_table(relid);
	ListCell   *lc;

	if (runops_gate_flag_off())
		return false;

	foreach(lc, runops_references_from(table))
	{
		RunopsReference *reference = (RunopsReference *) lfirst(lc);

		if (column_assigned(relid, &reference->child_column, reference, referring))
			return true;
	}
	foreach(lc, runops_references_to(table))
	{
		RunopsReference *reference = (RunopsReference *) lfirst(lc);

		if (column_assigned(relid, &reference->parent_column, reference, referred))
			return true;
	}

	return false;
}

/*
 * Does an UPDATE of a foreign leaf change a column of a reference?  If it
 * does, the new value is returned as well.
 */
static bool
column_changes(Relation rel, const NameData *column, const RunopsReference *reference,
			   HeapTuple old, TupleTableSlot *slot, Datum *value, bool *isnull)
{
	AttrNumber	attno = runops_reference_attno(RelationGetRelid(rel), column, reference);
	bool		old_null;
	Datum		old_value = heap_getattr(old, attno, RelationGetDescr(rel), &old_null);

	*value = slot_getattr(slot, attno, isnull);

	return !same_value(rel, attno, old_value, old_null, *value, *isnull);
}

/*
 * Check the references of a row of a foreign leaf before an UPDATE; old is the
 * row as the plan has read it.
 *
 * Referencing rows are not searched in the middle of a statement, so a
 * referenced column must not change.
 */
void
runops_reference_check_update(Relation rel, HeapTupleHeader old, TupleTableSlot *slot)
{
	Oid			table = runops_reference_table(RelationGetRelid(rel));
	HeapTupleData tuple;
	Datum		value;
	bool		isnull;
	ListCell   *lc;

	tuple.t_len = HeapTupleHeaderGetDatumLength(old);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = RelationGetRelid(rel);
	tuple.t_data = old;

	foreach(lc, runops_references_to(table))
	{
		RunopsReference *reference = (RunopsReference *) lfirst(lc);

		if (column_changes(rel, &reference->parent_column, reference, &tuple, slot, &value, &isnull))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot update column \"%s\" of a row of \"%s\" in another store",
							NameStr(reference->parent_column), get_rel_name(table)),
					 errdetail("Table \"%s\" refers to it by reference \"%s\".",
							   get_rel_name(reference->child), NameStr(reference->name)),
					 errhint("Insert a row with the new value and delete the old row.")));
	}
	foreach(lc, runops_references_from(table))
	{
		RunopsReference *reference = (RunopsReference *) lfirst(lc);

		if (column_changes(rel, &reference->child_column, reference, &tuple, slot, &value, &isnull) &&
			!isnull)
			require_parent(rel, reference, value);
	}
}

/*
 * Raise if rows reference a row that is deleted, or change these rows as the
 * action of the reference says. hash is the hash of the key's lock.
 */
static void
settle_children(const RunopsReference *reference, const RunopsReferenceColumn *column,
				Datum key, uint64 hash, bool deleted)
{
	bool		acts = deleted && reference->on_delete != REFERENCE_REFUSE;
	bool		routed = runops_route(reference->child) != NULL;

	if (routed)
		require_new_snapshot(reference, reference->child,
							 key_tag(RUNOPS_TAG_REFERRING, reference->child, hash));
	if (acts)
		(void) runops_reference_query(reference, column,
									  reference->on_delete == REFERENCE_DELETE ?
									  REFERENCE_QUERY_DELETE : REFERENCE_QUERY_SET_NULL, key, NULL);

	/* rows that the transaction's snapshot does not show were not changed */
	if (acts && !routed && IsolationUsesXactSnapshot() &&
		runops_reference_query(reference, column, REFERENCE_QUERY_CHILD, key, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to a concurrent change of \"%s\"",
						get_rel_name(reference->child)),
				 errdetail("Other transactions have written rows for reference \"%s\" since this transaction began.",
						   NameStr(reference->name)),
				 errhint("The transaction might succeed if retried.")));

	/* the row may exist again, as a new version or a new row */
	if (!acts && runops_reference_query(reference, column, REFERENCE_QUERY_CHILD, key, NULL) &&
		!runops_reference_query(reference, column, REFERENCE_QUERY_PARENT, key, NULL))
	{
		const char *shown = describe_key(reference->parent, &reference->parent_column,
										 column, key);

		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("update or delete on table \"%s\" violates foreign key constraint \"%s\" on table \"%s\"",
						get_rel_name(reference->parent), NameStr(reference->name),
						get_rel_name(reference->child)),
				 shown ?
				 errdetail("Key %s is still referenced from table \"%s\".", shown,
						   get_rel_name(reference->child)) :
				 errdetail("Key is still referenced from table \"%s\".",
						   get_rel_name(reference->child)),
				 errhint("Delete the rows of \"%s\" first, or use runops.add_cascade() to clean them up.",
						 get_rel_name(reference->child)),
				 err_generic_string(PG_DIAG_SCHEMA_NAME,
									get_namespace_name(get_rel_namespace(reference->child))),
				 err_generic_string(PG_DIAG_TABLE_NAME, get_rel_name(reference->child)),
				 err_generic_string(PG_DIAG_CONSTRAINT_NAME, NameStr(reference->name))));
	}

	/* a store shows a transaction the same snapshot until it ends */
	if (IsolationUsesXactSnapshot() && routed)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot update or delete rows of table \"%s\" at this isolation level",
						get_rel_name(reference->parent)),
				 errdetail("Reference \"%s\" must see the rows of \"%s\" that other transactions commit in the stores.",
						   NameStr(reference->name), get_rel_name(reference->child)),
				 errhint("Use a READ COMMITTED transaction.")));
}

/*
 * _reference_parent(column) returns trigger
 *
 * AFTER DELETE OR UPDATE row trigger of the referenced table.
 */
Datum
runops_reference_parent(PG_FUNCTION_ARGS)
{
	TriggerData *data = get_trigger(fcinfo, "_reference_parent");
	Relation	rel = data->tg_relation;
	bool		update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	ListCell   *lc;

	if (data->tg_trigger->tgnargs != 1)
		elog(ERROR, "trigger \"%s\" must have one argument", data->tg_trigger->tgname);
	if (runops_gate_flag_off())
		return PointerGetDatum(NULL);

	runops_reference_forget_keys();
	foreach(lc, runops_references_to(runops_reference_table(RelationGetRelid(rel))))
	{
		RunopsReference *reference = (RunopsReference *) lfirst(lc);
		AttrNumber	attno = runops_reference_attno(RelationGetRelid(rel),
												   &reference->parent_column, reference);
		RunopsReferenceColumn column;
		bool		isnull;
		Datum		key = slot_getattr(data->tg_trigslot, attno, &isnull);
		uint64		hash;

		if (isnull ||
			strcmp(NameStr(reference->parent_column), data->tg_trigger->tgargs[0]) != 0)
			continue;
		if (update)
		{
			bool		new_null;
			Datum		new = slot_getattr(data->tg_newslot, attno, &new_null);

			if (same_value(rel, attno, key, false, new, new_null))
				continue;
		}

		runops_reference_column(reference, &column);
		hash = runops_reference_lock(reference->parent, &column, key, ExclusiveLock);
		if (runops_shared != NULL)
			pg_atomic_fetch_add_u64(&runops_shared->reference_generations[hash % RUNOPS_REFERENCE_KEYS], 1);
		if (rel->rd_rel->relkind == RELKIND_FOREIGN_TABLE && runops_cache_enabled())
			runops_invalidate(key_tag(RUNOPS_TAG_REFERRED, reference->parent, hash));
		if (update || !runops_reference_cascades(reference))
			settle_children(reference, &column, key, hash, !update);
	}

	return PointerGetDatum(NULL);
}

/*
 * _reference_truncate() returns trigger
 *
 * BEFORE TRUNCATE statement trigger of the referenced table.
 */
Datum
runops_reference_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	List	   *to;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired for TRUNCATE", "_reference_truncate")));
	if (runops_gate_flag_off())
		return PointerGetDatum(NULL);

	to = runops_references_to(runops_reference_table(RelationGetRelid(data->tg_relation)));
	if (to != NIL)
	{
		RunopsReference *reference = (RunopsReference *) linitial(to);

		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot truncate table \"%s\" because other tables refer to it",
						get_rel_name(reference->parent)),
				 errdetail("Table \"%s\" refers to it by reference \"%s\".",
						   get_rel_name(reference->child), NameStr(reference->name)),
				 errhint("Use DELETE, or runops.drop_reference() first.")));
	}

	return PointerGetDatum(NULL);
}
