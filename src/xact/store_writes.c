/*-------------------------------------------------------------------------
 *
 * store_writes.c
 *	  Tracks which stores the transaction has written to, and guards against
 *	  two.
 *
 * Each store commits separately, so a transaction that writes to two of them is
 * not atomic, unless they commit by two phases.  Only rows of routed tables count.  Legacy and the tables of the
 * control plane are written by one commit.
 *
 * A store has at most two entries, one for rows and one for locks only.  Each
 * entry belongs to the subtransaction that made it, or to the ancestor that
 * this subtransaction was merged into.  An existing entry outlives every
 * subtransaction that could make it again.  The list lives in
 * TopTransactionContext.
 *
 * The running statements form a stack.  When a nested statement writes to
 * another store, perhaps from a trigger, the stack tells what the outer
 * statements have written here so far.  The stack holds pointers into the C
 * stack, and each level removes its own.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/partition.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/errcodes.h"
#include "base/guc.h"
#include "gate/gate.h"
#include "topology/topology.h"
#include "xact/xact_int.h"

/* A store that was written to, or in which rows were locked. */
typedef struct StoreWrite
{
	char		store[RUNOPS_STORE_LEN];
	Oid			relid;			/* the first table, as the caller named it */
	SubTransactionId subid;
	bool		rows;			/* false: rows were only locked */
} StoreWrite;

static List *writes = NIL;

/* Running statements that may write to legacy leaves, the innermost first. */
static RunopsWriteScope *scopes = NULL;

static bool warned = false;

static void note_running(void);

/*
 * Transaction callback: reset, because a new transaction has written nowhere.
 */
static void
writes_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			writes = NIL;
			warned = false;
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			break;
	}
}

/*
 * Subtransaction callback: give the entries to the parent, or drop them on
 * abort.
 */
static void
writes_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
						SubTransactionId parentSubid, void *arg)
{
	ListCell   *lc;

	foreach(lc, writes)
	{
		StoreWrite *entry = lfirst(lc);

		if (entry->subid != mySubid)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			entry->subid = parentSubid;
		else if (event == SUBXACT_EVENT_ABORT_SUB)
			writes = foreach_delete_current(writes, lc);
	}
}

/*
 * Register the callbacks, once per backend.
 */
static void
writes_init(void)
{
	static bool registered = false;

	if (registered)
		return;

	RegisterXactCallback(writes_xact_callback, NULL);
	RegisterSubXactCallback(writes_subxact_callback, NULL);
	registered = true;
}

/*
 * The name by which the user knows a leaf: the name of its routed table.
 */
const char *
runops_table_label(Oid relid)
{
	const char *name;

	if (get_rel_relispartition(relid))
		relid = get_partition_parent(relid, true);
	name = get_rel_name(relid);

	return name ? name : "???";
}

/*
 * Report that the transaction, which wrote to a store, now writes to another
 * one.
 */
static void
report_second_store(const StoreWrite *first, const char *store, Oid relid)
{
	ereport(runops_cross_store_writes == RUNOPS_CROSS_STORE_ERROR ? ERROR : WARNING,
			(errcode(ERRCODE_RUNOPS_CROSS_STORE_WRITE),
			 errmsg("transaction writes to stores \"%s\" and \"%s\"",
					first->store, store),
			 errdetail("It has written to table \"%s\" in store \"%s\" and writes to table \"%s\" in store \"%s\"; each store commits separately.",
					   runops_table_label(first->relid), first->store,
					   runops_table_label(relid), store),
			 errhint("Write to only one store in a transaction, or set \"runops.cross_store_writes\" to \"allow\" if the transaction can be repeated.")));
}

/*
 * Does a store commit together with others, by two phases?  This database does.
 */
static bool
commits_together(const char *store)
{
	ListCell   *lc;

	foreach(lc, runops_stores())
	{
		RunopsStore *s = (RunopsStore *) lfirst(lc);

		if (strcmp(s->store, store) == 0 && OidIsValid(s->serverid))
			return runops_server_two_phase(s->serverid);
	}

	return runops_is_legacy(store);
}

/*
 * The guard: if no row of this store was written yet, check for rows of other
 * stores.  Stores that commit together are no reason to report.
 */
static void
guard_second_store(const char *store, Oid relid)
{
	bool		together = false;
	bool		known = false;
	ListCell   *lc;

	if (runops_cross_store_writes == RUNOPS_CROSS_STORE_ALLOW ||
		(warned && runops_cross_store_writes == RUNOPS_CROSS_STORE_WARN) ||
		runops_gate_flag_off())
		return;

	foreach(lc, writes)
	{
		StoreWrite *entry = lfirst(lc);

		if (!entry->rows || strcmp(entry->store, store) == 0)
			continue;
		if (!known)
			together = commits_together(store);
		known = true;
		if (together && commits_together(entry->store))
			continue;
		report_second_store(entry, store, relid);
		warned = true;
		return;
	}
}

/*
 * Is there an entry for the store?  If rows is true, look only for one with
 * rows.
 */
static bool
has_entry(const char *store, bool rows)
{
	ListCell   *lc;

	foreach(lc, writes)
	{
		StoreWrite *entry = lfirst(lc);

		if ((entry->rows || !rows) && strcmp(entry->store, store) == 0)
			return true;
	}

	return false;
}

/*
 * Add an entry for a store in the current subtransaction.
 */
static void
add_entry(const char *store, Oid relid, bool rows)
{
	MemoryContext oldcontext;
	StoreWrite *entry;

	writes_init();

	oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	entry = palloc(sizeof(StoreWrite));
	strlcpy(entry->store, store, RUNOPS_STORE_LEN);
	entry->relid = relid;
	entry->subid = GetCurrentSubTransactionId();
	entry->rows = rows;
	writes = lappend(writes, entry);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Note that a row of a routed table was written or is about to be written in a
 * store; relid is the leaf.
 *
 * Raises cross_store_write, or warns of it, if the transaction has written to
 * another store.  If the write is known beforehand, call this before the row
 * is sent.
 */
void
runops_writes_note(const char *store, Oid relid)
{
	if (has_entry(store, true))
		return;

	/* first note what the running statements have written here so far */
	if (!runops_is_legacy(store))
		note_running();

	guard_second_store(store, relid);
	add_entry(store, relid, true);
}

/*
 * Note that rows are locked in a store, or that a statement may have written
 * there.  Later reads of this transaction must read that store's writer, but
 * there may be no row to commit.
 */
void
runops_writes_note_lock(const char *store, Oid relid)
{
	if (!has_entry(store, false))
		add_entry(store, relid, false);
}

/*
 * Has this transaction written to the store, or locked rows in it?
 *
 * Changes of subtransactions that were rolled back do not count.
 */
bool
runops_writes_has(const char *store)
{
	if (runops_is_legacy(store))
		note_running();

	return has_entry(store, false);
}

/*
 * Note the leaves that a statement has written to; raises or warns as
 * runops_writes_note() does.
 *
 * estate is NULL before the statement has ended, and for COPY.
 */
void
runops_write_scope_note(const RunopsWriteScope *scope, EState *estate)
{
	ListCell   *lc;

	foreach(lc, scope->leaves)
	{
		RunopsLocalLeaf *leaf = lfirst(lc);

		switch (runops_local_leaf_written(leaf, estate))
		{
			case RUNOPS_WRITTEN:
				runops_writes_note(RUNOPS_LEGACY_STORE, leaf->relid);
				break;
			case RUNOPS_PERHAPS_WRITTEN:
				runops_writes_note_lock(RUNOPS_LEGACY_STORE, leaf->relid);
				break;
			case RUNOPS_NOT_WRITTEN:
				break;
		}
	}
}

/*
 * Note what the running statements have written here so far.
 */
static void
note_running(void)
{
	for (RunopsWriteScope *scope = scopes; scope != NULL; scope = scope->outer)
		runops_write_scope_note(scope, NULL);
}

/*
 * A statement begins that may write to the leaves of a watch.  The watch is on
 * the caller's stack.
 */
void
runops_write_scope_begin(RunopsWriteScope *scope)
{
	scope->outer = scopes;
	scopes = scope;
}

/*
 * The statement ends, perhaps by an error.
 */
void
runops_write_scope_end(RunopsWriteScope *scope)
{
	scopes = scope->outer;
	list_free_deep(scope->leaves);
	scope->leaves = NIL;
}
