/*-------------------------------------------------------------------------
 *
 * read_moments.c
 *	  Guards a transaction with one snapshot against reading two databases.
 *
 * Under REPEATABLE READ and SERIALIZABLE a transaction sees one moment.  Each
 * remote transaction has a snapshot of its own, which was taken when it was
 * first used, and the legacy leaves of this database have the local one.  So
 * rows of two of them are rows of two moments: what another session commits in
 * both can be seen in one of them only.  No order of the snapshots mends this,
 * because the other session does not commit in both at one moment either.
 *
 * Only the rows of routed tables count, and only if a scan has begun: a leaf
 * that was pruned was not read.  A scan that has found nothing was, because the
 * row may have moved.  A rollback to a savepoint does not make the client forget
 * what it has read.  What foreign keys, references and the functions of this
 * extension read to check something does not count; they run as the owner of
 * the table, without row security.
 *
 * A query is noted before it is sent to a store.  Core scans a leaf of this
 * database itself and calls no hook, so the running statements form a stack, and
 * the nodes of their plans tell which scans have begun.  The stack holds pointers
 * into the C stack, and each level removes its own.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/errcodes.h"
#include "base/guc.h"
#include "gate/gate.h"
#include "topology/topology.h"
#include "xact/xact_int.h"

/* What this transaction has read first. */
static struct
{
	Oid			relid;			/* the leaf; InvalidOid: nothing */
	Oid			umid;			/* the user mapping; InvalidOid: a table of
								 * this database */
	char		store[RUNOPS_STORE_LEN];
}			first;

/* Running statements that may read legacy leaves, the innermost first. */
static RunopsReadScope *scopes = NULL;

static bool warned = false;

/*
 * Transaction callback: reset, because a new transaction has read nothing.
 */
static void
moments_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			first.relid = InvalidOid;
			warned = false;
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			break;
	}
}

/*
 * Report that the transaction reads rows of a second moment.
 */
static void
report_second_moment(const char *store, Oid relid)
{
	bool		same = strcmp(first.store, store) == 0;

	ereport(runops_cross_store_snapshots == RUNOPS_CROSS_STORE_ERROR ? ERROR : WARNING,
			(errcode(ERRCODE_RUNOPS_CROSS_STORE_SNAPSHOT),
			 same ? errmsg("transaction reads store \"%s\" at two moments", store) :
			 errmsg("transaction reads stores \"%s\" and \"%s\" at different moments",
					first.store, store),
			 same ? errdetail("It has read table \"%s\" and reads table \"%s\" by another user mapping; each user mapping has a snapshot of its own.",
							  runops_table_label(first.relid), runops_table_label(relid)) :
			 errdetail("It has read table \"%s\" in store \"%s\" and reads table \"%s\" in store \"%s\"; each store has a snapshot of its own.",
					   runops_table_label(first.relid), first.store,
					   runops_table_label(relid), store),
			 errhint("Use the isolation level READ COMMITTED, or set \"runops.cross_store_snapshots\" to \"allow\" if the rows may be those of different moments.")));
}

/*
 * Note a read of a leaf, before it or as soon as it is known.
 */
static void
note(Oid umid, Oid relid)
{
	static bool registered = false;
	char		store[RUNOPS_STORE_LEN];

	if (OidIsValid(first.relid) && first.umid == umid)
		return;
	if (!runops_leaf_store(relid, store))
		return;
	if (!registered)
		RegisterXactCallback(moments_xact_callback, NULL);
	registered = true;

	if (!OidIsValid(first.relid))
	{
		first.relid = relid;
		first.umid = umid;
		strlcpy(first.store, store, RUNOPS_STORE_LEN);
	}
	else if (runops_cross_store_snapshots == RUNOPS_CROSS_STORE_ERROR || !warned)
	{
		report_second_moment(store, relid);
		warned = true;
	}
}

/*
 * Does the moment of what is read now matter?
 */
bool
runops_moment_matters(void)
{
	return IsolationUsesXactSnapshot() &&
		runops_cross_store_snapshots != RUNOPS_CROSS_STORE_ALLOW &&
		!InNoForceRLSOperation();
}

/*
 * The legacy leaf of this database that a relation is, or is a partition of;
 * InvalidOid if it is none.
 */
static Oid
legacy_leaf_of(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	char		store[RUNOPS_STORE_LEN];

	if (rel->rd_rel->relkind != RELKIND_RELATION)
		return InvalidOid;
	for (;;)
	{
		if (runops_leaf_store(relid, store))
			return runops_is_legacy(store) ? relid : InvalidOid;
		if (!get_rel_relispartition(relid))
			return InvalidOid;
		relid = get_partition_parent(relid, true);
	}
}

/*
 * Has a scan of a table begun?
 *
 * Core makes the descriptor of a scan when its first row is wanted, or for
 * parallel workers before they start.
 */
static bool
has_begun(ScanState *node)
{
	switch (nodeTag(node))
	{
		case T_IndexScanState:
			return ((IndexScanState *) node)->iss_ScanDesc != NULL;
		case T_IndexOnlyScanState:
			return ((IndexOnlyScanState *) node)->ioss_ScanDesc != NULL;
		case T_BitmapHeapScanState:
			return ((BitmapHeapScanState *) node)->initialized;
		case T_SeqScanState:
		case T_SampleScanState:
		case T_TidScanState:
		case T_TidRangeScanState:
			return node->ss_currentScanDesc != NULL;
		default:
			/* a node of another extension */
			return true;
	}
}

/* What find_read() looks for. */
typedef struct FindRead
{
	bool		all;			/* have parallel workers executed the nodes? */
	Oid			leaf;			/* a leaf that was read */
} FindRead;

/*
 * Find a legacy leaf whose scan has begun.
 */
static bool
find_read(PlanState *node, void *context)
{
	FindRead   *find = (FindRead *) context;
	bool		all = find->all;
	Relation	rel = NULL;
	bool		found;

	switch (nodeTag(node))
	{
		case T_SeqScanState:
		case T_SampleScanState:
		case T_IndexScanState:
		case T_IndexOnlyScanState:
		case T_BitmapHeapScanState:
		case T_TidScanState:
		case T_TidRangeScanState:
		case T_CustomScanState:
			rel = ((ScanState *) node)->ss_currentRelation;
			break;
		case T_GatherState:
			find->all |= ((GatherState *) node)->initialized;
			break;
		case T_GatherMergeState:
			find->all |= ((GatherMergeState *) node)->initialized;
			break;
		default:
			break;
	}
	if (rel != NULL && (find->all || has_begun((ScanState *) node)))
		find->leaf = legacy_leaf_of(rel);
	found = OidIsValid(find->leaf) || planstate_tree_walker(node, find_read, find);
	find->all = all;

	return found;
}

/*
 * May a statement read a legacy leaf of this database, so that its scans must be
 * looked at?  The caller has asked runops_moment_matters().
 */
bool
runops_may_read_legacy(QueryDesc *queryDesc)
{
	ListCell   *lc;

	if ((OidIsValid(first.relid) && !OidIsValid(first.umid)) || runops_gate_flag_off())
		return false;

	foreach(lc, queryDesc->plannedstmt->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		char		store[RUNOPS_STORE_LEN];

		if (rte->rtekind == RTE_RELATION &&
			(rte->relkind == RELKIND_RELATION || rte->relkind == RELKIND_PARTITIONED_TABLE) &&
			runops_leaf_store(rte->relid, store) && runops_is_legacy(store))
			return true;
	}

	return false;
}

/*
 * A statement begins, or goes on, that may read legacy leaves.  The scope is on
 * the caller's stack.
 */
void
runops_read_scope_begin(RunopsReadScope *scope)
{
	scope->outer = scopes;
	scopes = scope;
}

/*
 * Note the legacy leaf that a statement has read so far.  Raises or warns as
 * runops_reads_note() does.
 */
void
runops_read_scope_note(const RunopsReadScope *scope)
{
	FindRead	find = {false, InvalidOid};

	if (scope->queryDesc->planstate != NULL &&
		find_read(scope->queryDesc->planstate, &find))
		note(InvalidOid, find.leaf);
}

/*
 * The statement ends, or is interrupted, perhaps by an error.
 */
void
runops_read_scope_end(RunopsReadScope *scope)
{
	scopes = scope->outer;
}

/*
 * Note that rows of a leaf are going to be read by a user mapping; InvalidOid
 * for a table of this database.  The caller has asked runops_moment_matters().
 *
 * Raises cross_store_snapshot, or warns of it, if the transaction has read rows
 * of another moment.  If the read is known beforehand, call this before it.
 */
void
runops_reads_note(Oid umid, Oid relid)
{
	/* first note what the running statements have read here so far */
	if (OidIsValid(umid))
	{
		for (RunopsReadScope *scope = scopes; scope != NULL; scope = scope->outer)
			runops_read_scope_note(scope);
	}

	note(umid, relid);
}

/*
 * Note that COPY reads a table of this database.
 */
void
runops_reads_note_copy(Oid relid)
{
	char		store[RUNOPS_STORE_LEN];

	if (runops_moment_matters() && get_rel_relkind(relid) == RELKIND_RELATION &&
		!runops_gate_flag_off() && runops_leaf_store(relid, store) && runops_is_legacy(store))
		runops_reads_note(InvalidOid, relid);
}
