/*-------------------------------------------------------------------------
 *
 * hidden_rows.c
 *	  Remembers which stores hold rows of which tables, and warns while the
 *	  operator's flag hides them.
 *
 * With the flag off no store may be asked, so the fact must be written down
 * while the flag is on.  The transaction that writes the first row of a leaf
 * to a store inserts a note, and so does an ANALYZE that finds rows there.  If
 * the transaction aborts, its note is gone too.  Concurrent writers may each
 * insert a note; waiting for each other would be worse.
 *
 * A note is removed with its store or its table, and not before: a store that
 * was empty once may have rows now.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/relcache.h"
#include "gate/gate.h"
#include "topology/topology.h"

/* columns of held_rows, in the order of 37-gate.sql */
#define Natts_held_rows 3
#define Anum_held_rows_store 1
#define Anum_held_rows_relation 2
#define Anum_held_rows_noted_at 3

/* The state of the note about a leaf, as this backend knows it. */
typedef enum NoteState
{
	NOTE_UNKNOWN,				/* not looked up yet */
	NOTE_OURS,					/* stands if this transaction commits */
	NOTE_STANDS					/* stands, or the leaf needs none */
} NoteState;

typedef struct LeafNote
{
	Oid			relid;			/* hash key, first */
	NoteState	state;
} LeafNote;

static HTAB *notes = NULL;
static bool any_ours = false;

/* the last leaf whose note was found to stand */
static Oid	last_standing = InvalidOid;

/* Was this session warned, or is no warning needed? */
static bool session_warned = false;

/*
 * A transaction or subtransaction has ended: look up its notes again when they
 * are next needed.
 */
static void
forget_ours(void)
{
	HASH_SEQ_STATUS scan;
	LeafNote   *note;

	if (!any_ours)
		return;

	hash_seq_init(&scan, notes);
	while ((note = (LeafNote *) hash_seq_search(&scan)) != NULL)
	{
		if (note->state == NOTE_OURS)
			note->state = NOTE_UNKNOWN;
	}
	any_ours = false;
}

/*
 * Transaction callback: the transaction has ended.
 */
static void
xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		forget_ours();
}

/*
 * Subtransaction callback: a subtransaction was rolled back, perhaps with a
 * note.
 */
static void
subxact_callback(SubXactEvent event, SubTransactionId mySubid,
				 SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_ours();
}

/*
 * Relcache callback: a leaf that was altered may stand for another store.
 */
static void
forget_leaf(Oid relid)
{
	last_standing = InvalidOid;
	if (OidIsValid(relid))
		hash_search(notes, &relid, HASH_REMOVE, NULL);
	else
	{
		HASH_SEQ_STATUS scan;
		LeafNote   *note;

		hash_seq_init(&scan, notes);
		while ((note = (LeafNote *) hash_seq_search(&scan)) != NULL)
			hash_search(notes, &note->relid, HASH_REMOVE, NULL);
	}
}

static RunopsRelcacheClient relcache_client = {.forget = forget_leaf};

/*
 * The backend's entry for a leaf, created if it does not exist.
 */
static LeafNote *
leaf_note(Oid relid)
{
	LeafNote   *note;
	bool		found;

	if (notes == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(LeafNote);
		ctl.hcxt = CacheMemoryContext;
		notes = hash_create("runops notes of held rows", 32, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		runops_relcache_register(&relcache_client);
		RegisterXactCallback(xact_callback, NULL);
		RegisterSubXactCallback(subxact_callback, NULL);
	}

	note = hash_search(notes, &relid, HASH_ENTER, &found);
	if (!found)
		note->state = NOTE_UNKNOWN;

	return note;
}

/*
 * Look up the note about a table in a store, and whether this transaction made
 * it.
 */
static NoteState
find_note(Relation rel, const char *store, Oid relid)
{
	TupleDesc	tupdesc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	NoteState	result = NOTE_UNKNOWN;
	HeapTuple	tuple;

	while (result != NOTE_STANDS &&
		   HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		text	   *name = DatumGetTextPP(heap_getattr(tuple, Anum_held_rows_store, tupdesc, &isnull));

		if (DatumGetObjectId(heap_getattr(tuple, Anum_held_rows_relation, tupdesc, &isnull)) != relid ||
			VARSIZE_ANY_EXHDR(name) != strlen(store) ||
			memcmp(VARDATA_ANY(name), store, strlen(store)) != 0)
			continue;
		result = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data)) ?
			NOTE_OURS : NOTE_STANDS;
	}
	systable_endscan(scan);

	return result;
}

/*
 * Note that a store holds rows of a table, unless that is noted already.
 *
 * leaf_relid is the foreign table; a relation that is not a leaf of a routed
 * table is ignored.  In a read-only transaction, during recovery and in
 * parallel mode nothing is noted.
 *
 * The row is inserted with simple_heap_insert().  So it needs no privilege,
 * and it fires no trigger in the middle of the calling statement.
 */
void
runops_held_note(Oid leaf_relid)
{
	char		store[RUNOPS_STORE_LEN];
	LeafNote   *note;
	NoteState	state;
	Relation	rel;
	Oid			relid;

	if (leaf_relid == last_standing)
		return;
	note = leaf_note(leaf_relid);
	if (note->state == NOTE_UNKNOWN)
	{
		if (XactReadOnly || RecoveryInProgress() || IsInParallelMode() ||
			!runops_leaf_store(leaf_relid, store) ||
			runops_is_legacy(store))
			return;				/* rows of legacy are never hidden */

		relid = get_partition_parent(leaf_relid, false);
		rel = runops_config_table_open("held_rows", RowExclusiveLock);
		state = find_note(rel, store, relid);
		if (state == NOTE_UNKNOWN)
		{
			Datum		values[Natts_held_rows];
			bool		nulls[Natts_held_rows] = {0};
			HeapTuple	tuple;

			values[Anum_held_rows_store - 1] = CStringGetTextDatum(store);
			values[Anum_held_rows_relation - 1] = ObjectIdGetDatum(relid);
			values[Anum_held_rows_noted_at - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
			tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
			simple_heap_insert(rel, tuple);
			heap_freetuple(tuple);
			state = NOTE_OURS;
		}
		table_close(rel, NoLock);

		/* the entry may have been removed by an invalidation */
		note = leaf_note(leaf_relid);
		note->state = state;
		if (state == NOTE_OURS)
			any_ours = true;
	}
	if (note->state == NOTE_STANDS)
		last_standing = leaf_relid;
}

/*
 * The tables that are known to have rows in stores, as text like "public.run"
 * in store "new"; NULL if there are none.
 */
static char *
held_rows_text(void)
{
	Relation	rel = runops_config_table_open("held_rows", AccessShareLock);
	TupleDesc	tupdesc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *items = NIL;
	StringInfoData buf;
	HeapTuple	tuple;
	ListCell   *lc;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		char	   *store = TextDatumGetCString(heap_getattr(tuple, Anum_held_rows_store, tupdesc, &isnull));
		Oid			relid = DatumGetObjectId(heap_getattr(tuple, Anum_held_rows_relation, tupdesc, &isnull));
		char	   *relname = get_rel_name(relid);

		if (relname == NULL)
			continue;
		items = list_append_unique(items,
								   makeString(psprintf(_("\"%s.%s\" in store \"%s\""),
													   get_namespace_name(get_rel_namespace(relid)),
													   relname, store)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	if (items == NIL)
		return NULL;

	initStringInfo(&buf);
	foreach(lc, items)
		appendStringInfo(&buf, "%s%s", foreach_current_index(lc) > 0 ? ", " : "",
						 strVal(lfirst(lc)));

	return buf.data;
}

/*
 * Warn if the flag is off while stores are known to hold rows.  Does nothing
 * if the extension does not exist in this database.
 */
void
runops_held_warn(void)
{
	Oid			namespaceid = get_namespace_oid(RUNOPS_SCHEMA, true);
	char	   *held;

	if (!runops_gate_flag_off() || !OidIsValid(namespaceid) ||
		!OidIsValid(get_relname_relid("held_rows", namespaceid)))
		return;

	held = held_rows_text();
	if (held != NULL)
		ereport(WARNING,
				(errmsg("\"runops.split_enabled\" is off, and stores hold rows that no statement finds"),
				 errdetail("Rows were written to %s.", held),
				 errhint("Set \"runops.split_enabled\" to on and restart the server.  If the rows are no longer needed, use runops.drop_store() with \"force\".")));
}

/*
 * The same, but only at a session's first use of a routed table.
 */
void
runops_held_warn_session(void)
{
	if (session_warned || IsParallelWorker())
		return;

	session_warned = true;
	runops_held_warn();
}
