/*-------------------------------------------------------------------------
 *
 * unique.c
 *	  Maintains the entries of keys that are unique over all stores.
 *
 * Each key has a table of entries with a real primary key.  An entry has the
 * values of the key columns, and the store of the row.  A row has no entry if
 * the predicate excludes it or if a key column is NULL.  Each written row
 * inserts, changes or deletes its entries in the same transaction: triggers do
 * it for the legacy leaf, and the foreign-data wrapper for other stores,
 * before the row is sent.  So conflicting sessions wait for each other in this
 * database, where the deadlock detector sees them.
 *
 * While a key is prepared and not enforced, a row inserts no entry.  It only
 * notes its key in a table of its own, so that prepare_unique() and add_unique()
 * can read the rows of this key again.
 *
 * A row is identified by its key and its store.  An entry of another store
 * never counts as the entry of this row.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "integrity/entry_table_int.h"
#include "integrity/integrity.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* the number of values of an entry: the key columns and the store */
#define MAX_ENTRY_VALUES (INDEX_MAX_KEYS + 1)

PG_FUNCTION_INFO_V1(runops_unique_row);
PG_FUNCTION_INFO_V1(runops_unique_truncate);

/*
 * Does a row satisfy the predicate of a key?
 */
static bool
satisfies(const RunopsUniqueKey *key, TupleTableSlot *slot)
{
	EState	   *estate;
	ExprContext *econtext;
	bool		result;

	if (key->predicate == NIL)
		return true;

	estate = CreateExecutorState();
	econtext = GetPerTupleExprContext(estate);
	econtext->ecxt_scantuple = slot;
	result = ExecQual(ExecPrepareQual(key->predicate, estate), econtext);
	FreeExecutorState(estate);

	return result;
}

/*
 * Get the values of a key in a row; returns false if the row has no entry.
 */
static bool
get_values(const RunopsUniqueKey *key, TupleTableSlot *slot, Datum *values)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		bool		isnull;

		values[i] = slot_getattr(slot, key->attnos[i], &isnull);
		if (isnull)
			return false;
	}

	return satisfies(key, slot);
}

/*
 * The text of a key's values, like "(a, b)=(x, y)"; NULL if the user may not
 * see them.  As in core, the user needs SELECT on the columns, and row
 * security must not be active.
 *
 * The relation is the leaf; its columns have the same names as the routed
 * table's.
 */
static char *
describe_key(const RunopsUniqueKeys *keys, const RunopsUniqueKey *key,
			 const Datum *values)
{
	StringInfoData names;
	StringInfoData texts;

	initStringInfo(&names);
	initStringInfo(&texts);
	for (int i = 0; i < key->ncolumns; i++)
	{
		char	   *name = get_attname(keys->relid, key->attnos[i], false);
		Oid			typoutput;
		bool		isvarlena;

		if (!runops_sees_column(keys->parent, name))
			return NULL;

		getTypeOutputInfo(get_atttype(keys->relid, key->attnos[i]), &typoutput, &isvarlena);
		appendStringInfo(&names, "%s%s", i == 0 ? "" : ", ", quote_identifier(name));
		appendStringInfo(&texts, "%s%s", i == 0 ? "" : ", ",
						 OidOutputFunctionCall(typoutput, values[i]));
	}

	return psprintf("(%s)=(%s)", names.data, texts.data);
}

/*
 * Raise unique_violation, as core does for a unique index on the routed table.
 */
static void
raise_violation(const RunopsUniqueKeys *keys, const RunopsUniqueKey *key,
				const Datum *values)
{
	char	   *description = describe_key(keys, key, values);

	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("duplicate key value violates unique constraint \"%s\"", key->name),
			 description ? errdetail("Key %s already exists.", description) : 0,
			 err_generic_string(PG_DIAG_SCHEMA_NAME,
								get_namespace_name(get_rel_namespace(keys->parent))),
			 err_generic_string(PG_DIAG_TABLE_NAME, get_rel_name(keys->parent)),
			 err_generic_string(PG_DIAG_CONSTRAINT_NAME, key->name)));
}

/*
 * Raise if the rows that a store had when it was added have no entries yet,
 * because uniqueness cannot be checked there.
 */
static void
require_covered(const RunopsUniqueKeys *keys, const RunopsUniqueKey *key)
{
	if (key->covered)
		return;

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("unique key \"%s\" of \"%s\" does not cover store \"%s\"",
					key->name, get_rel_name(keys->parent), keys->store),
			 errdetail("The existing rows of the store were not checked when it was added."),
			 errhint("Run: SELECT * FROM runops.provision('%s')", keys->store)));
}

/*
 * Raise an error unless a table is what runops.add_unique() or
 * runops.prepare_unique() has made for a key: a table of the extension with the
 * columns of the key, in the types of the leaf, and the store.
 *
 * It is written column by column, for users who have no rights on it.  The
 * index is NULL if the table must have none.
 */
static void
check_own_table(Relation rel, Relation index, const RunopsUniqueKeys *keys,
				const RunopsUniqueKey *key)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool		good;

	good = rel->rd_rel->relkind == RELKIND_RELATION &&
		RelationGetNamespace(rel) == get_namespace_oid("runops_unique", true) &&
		(rel->rd_rel->relowner == runops_extension_owner() ||
		 superuser_arg(rel->rd_rel->relowner)) &&
		desc->natts == key->ncolumns + 1 &&
		(index != NULL ?
		 IndexRelationGetNumberOfKeyAttributes(index) == key->ncolumns :
		 RelationGetIndexList(rel) == NIL) &&
		rel->rd_rules == NULL && rel->trigdesc == NULL;
	for (int i = 0; good && i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		good = !att->attisdropped && att->attgenerated == '\0' &&
			att->atttypid == (i < key->ncolumns ? get_atttype(keys->relid, key->attnos[i]) : TEXTOID) &&
			(i == key->ncolumns || index == NULL || index->rd_index->indkey.values[i] == i + 1);
	}
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("entries of unique key \"%s\" of table \"%s\" were changed",
						key->name, get_rel_name(keys->parent)),
				 errdetail("Table \"%s\" is not as it was made.",
						   RelationGetRelationName(rel)),
				 errhint("Use runops.drop_unique, and runops.add_unique again.")));
}

/*
 * Open the table of entries of a key.
 */
static void
open_entries(RunopsOwnTable *table, const RunopsUniqueKeys *keys,
			 const RunopsUniqueKey *key)
{
	runops_own_open(table, key->entries);
	check_own_table(table->rel, table->index, keys, key);
}

/*
 * Note the key of a row that is inserted or deleted while the key is not
 * enforced.
 */
static void
note_touched(const RunopsUniqueKeys *keys, const RunopsUniqueKey *key,
			 const Datum *values)
{
	Relation	rel = table_open(key->touched, RowExclusiveLock);
	TupleTableSlot *slot;

	check_own_table(rel, NULL, keys, key);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	memcpy(slot->tts_values, values, sizeof(Datum) * key->ncolumns);
	slot->tts_values[key->ncolumns] = CStringGetTextDatum(keys->store);
	memset(slot->tts_isnull, false, sizeof(bool) * (key->ncolumns + 1));
	ExecStoreVirtualTuple(slot);
	simple_table_tuple_insert(rel, slot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
}

/*
 * Does the found entry belong to the store?
 */
static bool
is_of_store(RunopsOwnTable *table, const RunopsUniqueKey *key, const char *store)
{
	bool		isnull;
	Datum		value = slot_getattr(table->found, key->ncolumns + 1, &isnull);

	return strcmp(TextDatumGetCString(value), store) == 0;
}

/*
 * Insert an entry; raises unique_violation if there is one already.
 *
 * The index's own error would name the table of entries, and would never show
 * the key, because users have no privilege on that table.
 */
static void
insert_or_raise(RunopsOwnTable *table, const RunopsUniqueKeys *keys,
				const RunopsUniqueKey *key, const Datum *values)
{
	bool		nulls[MAX_ENTRY_VALUES] = {false};
	MemoryContext cxt = CurrentMemoryContext;
	volatile bool violated = false;

	PG_TRY();
	{
		runops_own_insert(table, values, nulls);
	}
	PG_CATCH();
	{
		/* the error is raised while no lock or pin is held */
		if (geterrcode() != ERRCODE_UNIQUE_VIOLATION)
			PG_RE_THROW();
		MemoryContextSwitchTo(cxt);
		FlushErrorState();
		violated = true;
	}
	PG_END_TRY();

	if (violated)
		raise_violation(keys, key, values);
}

/*
 * Wait for a transaction that is inserting or deleting the entry that a dirty
 * snapshot has found; returns false if there is none.
 */
static bool
await_entry(RunopsOwnTable *table, const SnapshotData *dirty)
{
	TransactionId xid = TransactionIdIsValid(dirty->xmin) ? dirty->xmin : dirty->xmax;
	ItemPointerData tid = table->found->tts_tid;

	if (!TransactionIdIsValid(xid))
		return false;

	/* keep no page pinned while waiting */
	ExecClearTuple(table->found);
	if (TransactionIdIsValid(dirty->xmin) && dirty->speculativeToken != 0)
		SpeculativeInsertionWait(dirty->xmin, dirty->speculativeToken);
	else
		XactLockTableWait(xid, table->rel, &tid, XLTW_InsertIndex);

	return true;
}

/*
 * Insert an entry for ON CONFLICT DO NOTHING; returns false if the same store
 * has one.
 *
 * Waits for transactions that are inserting or deleting the entry.  An entry
 * of another store raises unique_violation here too, because each store
 * decides on its own which rows conflict.
 */
static bool
insert_or_skip(RunopsOwnTable *table, const RunopsUniqueKeys *keys,
			   const RunopsUniqueKey *key, const Datum *values)
{
	bool		nulls[MAX_ENTRY_VALUES] = {false};

	for (;;)
	{
		SnapshotData dirty;

		CHECK_FOR_INTERRUPTS();
		InitDirtySnapshot(dirty);
		if (!runops_own_find(table, values, &dirty))
		{
			if (runops_own_try_insert(table, values, nulls))
				return true;
			continue;
		}

		if (await_entry(table, &dirty))
			continue;
		if (!is_of_store(table, key, keys->store))
			raise_violation(keys, key, values);
		if (IsolationUsesXactSnapshot() &&
			!TransactionIdIsCurrentTransactionId(runops_own_xmin(table)) &&
			!table_tuple_satisfies_snapshot(table->rel, table->found, GetActiveSnapshot()))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update")));
		return false;
	}
}

/*
 * Insert the entry of a row; returns false if skip is true and its store has
 * one.
 */
static bool
make_entry(const RunopsUniqueKeys *keys, const RunopsUniqueKey *key,
		   Datum *values, bool skip)
{
	RunopsOwnTable table;
	bool		made = true;

	if (OidIsValid(key->touched))
	{
		note_touched(keys, key, values);
		return true;
	}

	require_covered(keys, key);
	values[key->ncolumns] = CStringGetTextDatum(keys->store);

	open_entries(&table, keys, key);
	if (skip)
		made = insert_or_skip(&table, keys, key, values);
	else
		insert_or_raise(&table, keys, key, values);
	runops_own_close(&table);

	return made;
}

/*
 * Delete the entry of a row; the row may have none.
 *
 * A store commits before this database does.  So the row may be visible while
 * the transaction that has written it has not yet committed its entry; wait
 * for it.
 */
static void
delete_entry(const RunopsUniqueKeys *keys, const RunopsUniqueKey *key,
			 const Datum *values)
{
	RunopsOwnTable table;
	SnapshotData dirty;

	if (OidIsValid(key->touched))
	{
		note_touched(keys, key, values);
		return;
	}

	open_entries(&table, keys, key);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		InitDirtySnapshot(dirty);
		if (!runops_own_find(&table, values, &dirty) ||
			!is_of_store(&table, key, keys->store))
			break;
		if (await_entry(&table, &dirty))
			continue;
		if (runops_own_delete(&table, true) != TM_Ok)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update")));
		break;
	}
	runops_own_close(&table);
}

/*
 * Delete the entries of a row for the first n keys.
 */
static void
delete_entries(const RunopsUniqueKeys *keys, TupleTableSlot *slot, int n)
{
	Datum		values[MAX_ENTRY_VALUES];

	for (int i = 0; i < n; i++)
	{
		if (get_values(&keys->keys[i], slot, values))
			delete_entry(keys, &keys->keys[i], values);
	}
}

/*
 * Insert the entries of a new row.
 *
 * Raises unique_violation if a key is taken.  With skip, as for ON CONFLICT DO
 * NOTHING, it returns false and leaves no entries if a row of the same store
 * has the key.
 */
bool
runops_unique_insert(const RunopsUniqueKeys *keys, TupleTableSlot *slot,
					 bool skip)
{
	Datum		values[MAX_ENTRY_VALUES];

	for (int i = 0; i < keys->nkeys; i++)
	{
		const RunopsUniqueKey *key = &keys->keys[i];

		if (get_values(key, slot, values) && !make_entry(keys, key, values, skip))
		{
			delete_entries(keys, slot, i);
			return false;
		}
	}

	return true;
}

/*
 * Insert the entries of a row that an upsert may insert, before the store decides.
 *
 * Returns which keys got an entry; the others have one of the same store, or none.
 * Raises unique_violation if another store has a key.  runops_unique_settle() must
 * be called when the store has answered.
 */
Bitmapset *
runops_unique_claim(const RunopsUniqueKeys *keys, TupleTableSlot *slot)
{
	Datum		values[MAX_ENTRY_VALUES];
	Bitmapset  *made = NULL;

	for (int i = 0; i < keys->nkeys; i++)
	{
		const RunopsUniqueKey *key = &keys->keys[i];

		if (get_values(key, slot, values) && make_entry(keys, key, values, true))
			made = bms_add_member(made, i);
	}

	return made;
}

/*
 * Settle what runops_unique_claim() has done, when it is known whether the store has
 * inserted the row.
 *
 * If it has, the key of another row is violated, even if the store has no such
 * index.  If it has not, the row's entries are deleted.
 */
void
runops_unique_settle(const RunopsUniqueKeys *keys, TupleTableSlot *slot,
					 const Bitmapset *made, bool inserted)
{
	Datum		values[MAX_ENTRY_VALUES];

	for (int i = 0; i < keys->nkeys; i++)
	{
		const RunopsUniqueKey *key = &keys->keys[i];

		if (bms_is_member(i, made) == inserted || !get_values(key, slot, values))
			continue;
		if (inserted)
			raise_violation(keys, key, values);
		delete_entry(keys, key, values);
	}
}

/*
 * Delete the entries of a row that is deleted.
 */
void
runops_unique_delete(const RunopsUniqueKeys *keys, TupleTableSlot *slot)
{
	delete_entries(keys, slot, keys->nkeys);
}

/*
 * Are the values of a key in two rows equal, byte by byte?
 */
static bool
same_values(const RunopsUniqueKeys *keys, const RunopsUniqueKey *key,
			TupleDesc desc, const Datum *a, const Datum *b)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, key->attnos[i] - 1);

		if (!datum_image_eq(a[i], b[i], att->attbyval, att->attlen))
			return false;
	}

	return true;
}

/*
 * Change the entries of a row that is updated.
 *
 * Raises unique_violation if a new key is taken.
 */
void
runops_unique_update(const RunopsUniqueKeys *keys, TupleTableSlot *old_slot,
					 TupleTableSlot *new_slot)
{
	Datum		old_values[MAX_ENTRY_VALUES];
	Datum		new_values[MAX_ENTRY_VALUES];

	for (int i = 0; i < keys->nkeys; i++)
	{
		const RunopsUniqueKey *key = &keys->keys[i];
		bool		had = get_values(key, old_slot, old_values);
		bool		has = get_values(key, new_slot, new_values);

		if (had && has &&
			same_values(keys, key, new_slot->tts_tupleDescriptor, old_values, new_values))
			continue;
		if (had)
			delete_entry(keys, key, old_values);
		if (has)
			make_entry(keys, key, new_values, false);
	}
}

/*
 * _unique_row(): AFTER trigger for each row of the legacy leaf.
 */
Datum
runops_unique_row(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	const RunopsUniqueKeys *keys;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called as an AFTER ROW trigger", "_unique_row")));

	keys = runops_unique_keys(RelationGetRelid(trigdata->tg_relation));
	if (keys != NULL)
	{
		if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
			runops_unique_insert(keys, trigdata->tg_trigslot, false);
		else if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
			runops_unique_update(keys, trigdata->tg_trigslot, trigdata->tg_newslot);
		else
			runops_unique_delete(keys, trigdata->tg_trigslot);
	}

	return PointerGetDatum(NULL);
}

/*
 * Delete all entries of a store from the table of a key.
 */
static void
delete_all_entries(const RunopsUniqueKeys *keys, const RunopsUniqueKey *key)
{
	RunopsOwnTable table;
	TableScanDesc scan;

	open_entries(&table, keys, key);
	scan = table_beginscan_compat(table.rel, SnapshotSelf);
	while (table_scan_getnextslot(scan, ForwardScanDirection, table.found))
	{
		CHECK_FOR_INTERRUPTS();
		if (is_of_store(&table, key, keys->store))
			runops_own_delete(&table, true);
	}
	table_endscan(scan);
	runops_own_close(&table);
}

/*
 * _unique_truncate(): AFTER TRUNCATE trigger of the legacy leaf.
 */
Datum
runops_unique_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	const RunopsUniqueKeys *keys;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called as a TRUNCATE trigger", "_unique_truncate")));

	keys = runops_unique_keys(RelationGetRelid(trigdata->tg_relation));
	for (int i = 0; keys != NULL && i < keys->nkeys; i++)
		delete_all_entries(keys, &keys->keys[i]);

	return PointerGetDatum(NULL);
}
