/*-------------------------------------------------------------------------
 *
 * local_writes.c
 *	  Notes the writes to legacy leaves that are tables of this database.
 *
 * Core writes them itself and calls nobody.  Around each statement that may
 * write to one, what the statistics system counts for the leaf in this
 * transaction is compared: a row that a trigger suppressed, or that ON CONFLICT
 * DO NOTHING left alone, is no write, and an UPDATE of no row is none either.
 * With "track_counts" off, a statement counts that processed rows and opened the
 * leaf to write to it.
 *
 * The statements that run now form a stack, so that a write to another store in
 * the middle of one, perhaps by a trigger, knows what it has written here so
 * far.  It holds pointers into the C stack, and every level removes its own.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "nodes/plannodes.h"
#include "partitioning/partdesc.h"
#include "pgstat.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/runops.h"
#include "xact/writes.h"

/* A legacy leaf that a running statement may write to. */
typedef struct WatchedLeaf
{
	Oid			relid;
	bool		routed;			/* reached by rows that core routes */
	PgStat_Counter before;		/* rows written when the statement began */
} WatchedLeaf;

/* A running statement. */
typedef struct Watch
{
	struct Watch *outer;
	List	   *leaves;			/* WatchedLeaf pointers */
} Watch;

static Watch *watches = NULL;

static ExecutorRun_hook_type prev_ExecutorRun_hook = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish_hook = NULL;
static ProcessUtility_hook_type prev_ProcessUtility_hook = NULL;

/*
 * How many rows of a table this transaction has written so far, without those
 * of subtransactions that were rolled back; -1 if they are not counted.
 *
 * The statement holds a lock on the table, or on the parent that it is reached
 * from; without one it could not have been written.
 */
static PgStat_Counter
rows_written(Oid relid)
{
	Relation	rel = RelationIdGetRelation(relid);
	PgStat_Counter rows = 0;

	if (!RelationIsValid(rel))
		return 0;

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
	{
		PartitionDesc desc = RelationGetPartitionDesc(rel, true);

		for (int i = 0; i < desc->nparts && rows >= 0; i++)
		{
			PgStat_Counter part = rows_written(desc->oids[i]);

			rows = part < 0 ? -1 : rows + part;
		}
	}
	else if (rel->pgstat_info != NULL)
	{
		for (PgStat_TableXactStatus *trans = rel->pgstat_info->trans;
			 trans != NULL; trans = trans->upper)
			rows += trans->tuples_inserted + trans->tuples_updated +
				trans->tuples_deleted;
	}
	else if (!pgstat_track_counts)
		rows = -1;
	RelationClose(rel);

	return rows;
}

/*
 * Add a leaf to those to watch.
 */
static List *
add_leaf(List *leaves, Oid relid, bool routed)
{
	WatchedLeaf *watched = palloc(sizeof(WatchedLeaf));

	watched->relid = relid;
	watched->routed = routed;
	watched->before = rows_written(relid);

	return lappend(leaves, watched);
}

/*
 * Add what rows written to a relation can go to: the relation if it is a
 * legacy leaf of this database, or that of a routed table.
 */
static List *
add_leaf_of(List *leaves, Oid relid, char relkind)
{
	char		store[RUNOPS_STORE_LEN];
	const RunopsRoute *route;

	if (relkind == RELKIND_PARTITIONED_TABLE)
	{
		route = runops_route(relid);
		for (int i = 0; route != NULL && i < route->nleaves; i++)
		{
			if (!route->leaves[i].foreign &&
				strcmp(route->leaves[i].store, RUNOPS_LEGACY_STORE) == 0)
				return add_leaf(leaves, route->leaves[i].relid, true);
		}
	}
	else if (relkind != RELKIND_RELATION)
		return leaves;

	if (!runops_leaf_store(relid, store) || strcmp(store, RUNOPS_LEGACY_STORE) != 0)
		return leaves;

	return add_leaf(leaves, relid, false);
}

/*
 * The leaves that a statement may write to; NIL for most statements.
 *
 * An UPDATE or DELETE of a leaf that is partitioned itself names the leaf in the
 * range table, and only its partitions as what is written.
 */
static List *
leaves_of_statement(PlannedStmt *stmt)
{
	List	   *leaves = NIL;
	ListCell   *lc;
	int			rti = 0;

	if (stmt->resultRelations == NIL || runops_gate_flag_off())
		return NIL;

	foreach(lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);
		char		store[RUNOPS_STORE_LEN];

		rti++;
		if (rte->rtekind != RTE_RELATION)
			continue;
		if (list_member_int(stmt->resultRelations, rti))
			leaves = add_leaf_of(leaves, rte->relid, rte->relkind);
		else if (rte->relkind == RELKIND_PARTITIONED_TABLE &&
				 runops_leaf_store(rte->relid, store) &&
				 strcmp(store, RUNOPS_LEGACY_STORE) == 0)
			leaves = add_leaf(leaves, rte->relid, false);
	}

	return leaves;
}

/*
 * Where rows are not counted: has the statement written to the leaf, as far as
 * can be told?
 */
static bool
may_have_written(const WatchedLeaf *watched, EState *estate)
{
	ListCell   *lc;

	if (estate->es_processed == 0 && !estate->es_plannedstmt->hasModifyingCTE)
		return false;
	if (!watched->routed)
		return true;

	foreach(lc, estate->es_tuple_routing_result_relations)
	{
		ResultRelInfo *rri = lfirst(lc);

		if (RelationGetRelid(rri->ri_RelationDesc) == watched->relid)
			return true;
	}

	return false;
}

/*
 * Note those leaves of a statement that it has written to.
 *
 * estate is NULL before the statement has ended, and for COPY, which does not
 * show it; where rows are not counted, that may be a write, and no more.
 */
static void
note_leaves(const Watch *watch, EState *estate)
{
	ListCell   *lc;

	foreach(lc, watch->leaves)
	{
		WatchedLeaf *watched = lfirst(lc);
		PgStat_Counter now = rows_written(watched->relid);

		if (now < 0 || watched->before < 0)
		{
			if (estate == NULL)
				runops_writes_note_lock(RUNOPS_LEGACY_STORE, watched->relid);
			else if (may_have_written(watched, estate))
				runops_writes_note(RUNOPS_LEGACY_STORE, watched->relid);
		}
		else if (now != watched->before)
			runops_writes_note(RUNOPS_LEGACY_STORE, watched->relid);
	}
}

/*
 * Note what the statements that run now have written here so far.
 */
void
runops_localwrites_note(void)
{
	for (Watch *watch = watches; watch != NULL; watch = watch->outer)
		note_leaves(watch, NULL);
}

/*
 * Call the next ExecutorRun in the chain.
 */
static void
run_next(QueryDesc *queryDesc, ScanDirection direction, uint64 count
		 EXECUTE_ONCE_PARAMETER)
{
	if (prev_ExecutorRun_hook)
		prev_ExecutorRun_hook(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
	else
		standard_ExecutorRun(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
}

/*
 * Call the next ExecutorFinish in the chain.
 */
static void
finish_next(QueryDesc *queryDesc)
{
	if (prev_ExecutorFinish_hook)
		prev_ExecutorFinish_hook(queryDesc);
	else
		standard_ExecutorFinish(queryDesc);
}

/*
 * ExecutorRun_hook: watch statements that may write to a legacy leaf.
 */
static void
localwrites_ExecutorRun(QueryDesc *queryDesc, ScanDirection direction,
						uint64 count EXECUTE_ONCE_PARAMETER)
{
	Watch		watch = {watches, leaves_of_statement(queryDesc->plannedstmt)};

	if (watch.leaves == NIL)
	{
		run_next(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
		return;
	}

	watches = &watch;
	PG_TRY();
	{
		run_next(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
		note_leaves(&watch, queryDesc->estate);
	}
	PG_FINALLY();
	{
		watches = watch.outer;
	}
	PG_END_TRY();
	list_free_deep(watch.leaves);
}

/*
 * ExecutorFinish_hook: the same, for a WITH item that was not read to its end.
 */
static void
localwrites_ExecutorFinish(QueryDesc *queryDesc)
{
	Watch		watch = {watches, NIL};

	if (queryDesc->plannedstmt->hasModifyingCTE)
		watch.leaves = leaves_of_statement(queryDesc->plannedstmt);
	if (watch.leaves == NIL)
	{
		finish_next(queryDesc);
		return;
	}

	watches = &watch;
	PG_TRY();
	{
		finish_next(queryDesc);
		note_leaves(&watch, queryDesc->estate);
	}
	PG_FINALLY();
	{
		watches = watch.outer;
	}
	PG_END_TRY();
	list_free_deep(watch.leaves);
}

/*
 * Call the next ProcessUtility in the chain.
 */
static void
utility_next(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
			 ProcessUtilityContext context, ParamListInfo params,
			 QueryEnvironment *queryEnv, DestReceiver *dest,
			 QueryCompletion *qc)
{
	if (prev_ProcessUtility_hook)
		prev_ProcessUtility_hook(pstmt, queryString, readOnlyTree, context,
								 params, queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context,
								params, queryEnv, dest, qc);
}

/*
 * ProcessUtility_hook: the same for COPY FROM.
 */
static void
localwrites_ProcessUtility(PlannedStmt *pstmt, const char *queryString,
						   bool readOnlyTree, ProcessUtilityContext context,
						   ParamListInfo params, QueryEnvironment *queryEnv,
						   DestReceiver *dest, QueryCompletion *qc)
{
	CopyStmt   *copy = (CopyStmt *) pstmt->utilityStmt;
	Watch		watch = {watches, NIL};

	if (IsA(copy, CopyStmt) && copy->is_from && copy->relation != NULL &&
		!runops_gate_flag_off())
	{
		Oid			relid = RangeVarGetRelid(copy->relation, NoLock, true);

		if (OidIsValid(relid))
			watch.leaves = add_leaf_of(NIL, relid, get_rel_relkind(relid));
	}
	if (watch.leaves == NIL)
	{
		utility_next(pstmt, queryString, readOnlyTree, context, params,
					 queryEnv, dest, qc);
		return;
	}

	watches = &watch;
	PG_TRY();
	{
		utility_next(pstmt, queryString, readOnlyTree, context, params,
					 queryEnv, dest, qc);
		note_leaves(&watch, NULL);
	}
	PG_FINALLY();
	{
		watches = watch.outer;
	}
	PG_END_TRY();
	list_free_deep(watch.leaves);
}

/*
 * Install the hooks.
 */
void
runops_localwrites_init(void)
{
	prev_ExecutorRun_hook = ExecutorRun_hook;
	ExecutorRun_hook = localwrites_ExecutorRun;
	prev_ExecutorFinish_hook = ExecutorFinish_hook;
	ExecutorFinish_hook = localwrites_ExecutorFinish;
	prev_ProcessUtility_hook = ProcessUtility_hook;
	ProcessUtility_hook = localwrites_ProcessUtility;
}
