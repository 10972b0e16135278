/*-------------------------------------------------------------------------
 *
 * reference_keys.c
 *	  Notes the keys that the rows of a statement refer to, so that they are
 *	  looked up together.
 *
 * The trigger of a reference is fired for one row after the other, at the end of
 * the statement.  The first of them looks up many of the keys that were noted,
 * and the others find the answer.  A key is noted before its row's trigger is
 * fired; one that was not is looked up alone.
 *
 * What was found is valid until the transaction changes a referenced row, when
 * all keys are forgotten.  No other transaction can change it, because its key
 * is locked.
 *
 * The keys live in a memory context of the transaction.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "gate/gate.h"
#include "integrity/reference_int.h"

/* The first key with a hash. */
typedef struct KeyHash
{
	uint64		hash;			/* hash key, first */
	int			first;
} KeyHash;

/* A reference of the rows that a statement inserts. */
struct RunopsReferenceNotes
{
	RunopsReference reference;
	RunopsReferenceColumn column;
	AttrNumber	attno;
	CommandId	cid;
	struct RunopsReferenceNotes *next;
};

static List *all_keys = NIL;	/* of RunopsReferenceKeys */
static MemoryContext keys_cxt = NULL;
static bool callbacks_registered = false;

/*
 * The bytes of a key.
 *
 * Equal keys may have different bytes; that only costs a query.
 */
const char *
runops_reference_bytes(const RunopsReferenceColumn *column, Datum *key, uint32 *length)
{
	const TypeCacheEntry *cache = column->cache;

	if (cache->typbyval)
	{
		*length = sizeof(Datum);
		return (const char *) key;
	}
	if (cache->typlen == -1)
	{
		struct varlena *value = PG_DETOAST_DATUM_PACKED(*key);

		*length = VARSIZE_ANY_EXHDR(value);
		return VARDATA_ANY(value);
	}
	*length = datumGetSize(*key, false, cache->typlen);
	return DatumGetPointer(*key);
}

/*
 * Forget all keys.
 */
void
runops_reference_forget_keys(void)
{
	if (keys_cxt != NULL)
		MemoryContextDelete(keys_cxt);
	keys_cxt = NULL;
	all_keys = NIL;
}

/*
 * Transaction callback.
 */
static void
end_of_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PRE_PREPARE)
		runops_reference_forget_keys();
}

/*
 * Subtransaction callback: what a rolled back one has found or locked is void.
 */
static void
end_of_subtransaction(SubXactEvent event, SubTransactionId subid,
					  SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		runops_reference_forget_keys();
}

/*
 * The keys that were noted for a reference; NULL if there are none.
 */
RunopsReferenceKeys *
runops_reference_keys(const RunopsReference *reference)
{
	ListCell   *lc;

	foreach(lc, all_keys)
	{
		RunopsReferenceKeys *keys = (RunopsReferenceKeys *) lfirst(lc);

		if (keys->reference.child == reference->child &&
			strcmp(NameStr(keys->reference.name), NameStr(reference->name)) == 0)
			return keys;
	}

	return NULL;
}

/*
 * The keys for a statement's notes, made if there are none.  Those of a
 * statement that has ended are forgotten.
 */
static RunopsReferenceKeys *
make_keys(const struct RunopsReferenceNotes *notes)
{
	RunopsReferenceKeys *keys = runops_reference_keys(&notes->reference);
	MemoryContext oldcontext;
	HASHCTL		ctl = {0};

	if (keys != NULL && keys->cid == notes->cid)
		return keys;
	if (keys != NULL)
	{
		all_keys = list_delete_ptr(all_keys, keys);
		MemoryContextDelete(keys->cxt);
	}
	if (!callbacks_registered)
	{
		RegisterXactCallback(end_of_transaction, NULL);
		RegisterSubXactCallback(end_of_subtransaction, NULL);
		callbacks_registered = true;
	}
	if (keys_cxt == NULL)
		keys_cxt = AllocSetContextCreate(TopTransactionContext, "runops references",
										 ALLOCSET_SMALL_SIZES);

	oldcontext = MemoryContextSwitchTo(keys_cxt);
	keys = palloc0(sizeof(RunopsReferenceKeys));
	keys->reference = notes->reference;
	keys->column = notes->column;
	keys->cid = notes->cid;
	keys->cxt = AllocSetContextCreate(keys_cxt, "runops reference keys", ALLOCSET_DEFAULT_SIZES);
	ctl.keysize = sizeof(uint64);
	ctl.entrysize = sizeof(KeyHash);
	ctl.hcxt = keys->cxt;
	keys->hash = hash_create("runops reference keys", 256, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	all_keys = lappend(all_keys, keys);
	MemoryContextSwitchTo(oldcontext);

	return keys;
}

/*
 * Find a value among the keys, by its bytes; -1 if it is not there.  *entry gets
 * the entry of its hash, which is made if insert is true.
 */
static int
find_key(RunopsReferenceKeys *keys, Datum value, bool insert, KeyHash **entry)
{
	uint32		length;
	const char *bytes = runops_reference_bytes(&keys->column, &value, &length);
	uint64		hash = hash_bytes_extended((const unsigned char *) bytes, length, 0);
	bool		found;

	*entry = hash_search(keys->hash, &hash, insert ? HASH_ENTER : HASH_FIND, &found);
	if (!found)
	{
		if (insert)
			(*entry)->first = -1;
		return -1;
	}
	for (int i = (*entry)->first; i >= 0; i = keys->keys[i].next)
	{
		Datum		other = keys->keys[i].value;
		uint32		other_length;
		const char *other_bytes = runops_reference_bytes(&keys->column, &other, &other_length);

		if (length == other_length && memcmp(bytes, other_bytes, length) == 0)
			return i;
	}

	return -1;
}

/*
 * The number of the key with this value; -1 if it was not noted.
 */
int
runops_reference_key(RunopsReferenceKeys *keys, Datum value)
{
	KeyHash    *entry;

	return find_key(keys, value, false, &entry);
}

/*
 * Note a key, unless there are so many that they would need much memory.
 */
static void
note_key(RunopsReferenceKeys *keys, Datum value)
{
	const TypeCacheEntry *cache = keys->column.cache;
	MemoryContext oldcontext;
	RunopsReferenceKey *key;
	KeyHash    *entry;

	if (keys->bytes > (Size) work_mem * 1024 || find_key(keys, value, true, &entry) >= 0)
		return;

	oldcontext = MemoryContextSwitchTo(keys->cxt);
	if (keys->keys == NULL)
	{
		keys->maxkeys = 64;
		keys->keys = palloc_array(RunopsReferenceKey, keys->maxkeys);
	}
	else if (keys->nkeys == keys->maxkeys)
	{
		keys->maxkeys *= 2;
		keys->keys = repalloc_array(keys->keys, RunopsReferenceKey, keys->maxkeys);
	}
	key = &keys->keys[keys->nkeys];
	key->value = cache->typlen == -1 ? PointerGetDatum(PG_DETOAST_DATUM_COPY(value)) :
		datumCopy(value, cache->typbyval, cache->typlen);
	key->next = entry->first;
	key->found = false;
	entry->first = keys->nkeys++;
	keys->bytes += datumGetSize(key->value, cache->typbyval, cache->typlen) + 128;
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Prepare to note the keys of rows that a statement inserts into a foreign leaf;
 * NULL if there are none to be noted.  In the current memory context.
 */
RunopsReferenceNotes *
runops_reference_begin(Relation rel, CommandId cid)
{
	RunopsReferenceNotes *result = NULL;
	ListCell   *lc;

	if (runops_gate_flag_off())
		return NULL;

	foreach(lc, runops_references_from(runops_reference_table(RelationGetRelid(rel))))
	{
		RunopsReferenceNotes *notes = palloc0(sizeof(RunopsReferenceNotes));

		notes->reference = *(RunopsReference *) lfirst(lc);
		runops_reference_column(&notes->reference, &notes->column);
		notes->attno = runops_reference_attno(RelationGetRelid(rel),
											  &notes->reference.child_column, &notes->reference);
		notes->cid = cid;
		notes->next = result;
		if (OidIsValid(get_array_type(notes->column.type)))
			result = notes;
	}

	return result;
}

/*
 * Note the keys that a new row refers to.  Its triggers will be fired.
 */
void
runops_reference_note(RunopsReferenceNotes *notes, TupleTableSlot *slot)
{
	for (; notes != NULL; notes = notes->next)
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, notes->attno, &isnull);

		if (!isnull)
			note_key(make_keys(notes), value);
	}
}
