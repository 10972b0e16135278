/*-------------------------------------------------------------------------
 *
 * local_leaves.c
 *	  Tells whether a statement has written to a legacy leaf that is a table of
 *	  this database.
 *
 * Core writes to these tables itself and calls no hook.  So this file
 * compares, before and after the statement, the number of rows that the
 * statistics system counts for the leaf in this transaction.  A row that a
 * trigger suppressed or that ON CONFLICT DO NOTHING skipped is not a write,
 * and an UPDATE of no rows is not a write either.  If "track_counts" is off,
 * any statement counts as a write that processed rows and opened the leaf for
 * writing.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "nodes/plannodes.h"
#include "partitioning/partdesc.h"
#include "pgstat.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "gate/gate.h"
#include "topology/topology.h"
#include "xact/xact_int.h"


/*
 * How many rows of a table this transaction has written so far, without those
 * of subtransactions that were rolled back; -1 if they are not counted.
 *
 * The statement holds a lock on the table or on its parent; otherwise it could
 * not have written to the table.
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
 * Add a leaf to the list of leaves to watch.
 */
static List *
add_leaf(List *leaves, Oid relid, bool routed)
{
	RunopsLocalLeaf *watched = palloc(sizeof(RunopsLocalLeaf));

	watched->relid = relid;
	watched->routed = routed;
	watched->before = rows_written(relid);

	return lappend(leaves, watched);
}

/*
 * If rows written to a relation may go to a legacy leaf of this database, add
 * that leaf.  The relation is the leaf itself or its routed table.
 */
static List *
add_leaf_of(List *leaves, Oid relid, char relkind)
{
	char		store[RUNOPS_STORE_LEN];
	const RunopsRoute *route;

	if (relkind == RELKIND_PARTITIONED_TABLE)
	{
		const RunopsLeaf *leaf;

		route = runops_route(relid);
		leaf = route != NULL ? runops_legacy_leaf(route) : NULL;
		if (leaf != NULL)
			return add_leaf(leaves, leaf->relid, true);
	}
	else if (relkind != RELKIND_RELATION)
		return leaves;

	if (!runops_leaf_store(relid, store) || !runops_is_legacy(store))
		return leaves;

	return add_leaf(leaves, relid, false);
}

/*
 * The leaves that a statement may write to; NIL for most statements.
 *
 * An UPDATE or DELETE of a partitioned leaf has the leaf in the range table,
 * but only its partitions as result relations.
 */
List *
runops_local_leaves(PlannedStmt *stmt)
{
	List	   *leaves = NIL;
	ListCell   *lc;
	int			rti = 0;

	if (!PLAN_HAS_TARGETS(stmt) || runops_gate_flag_off())
		return NIL;

	foreach(lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);
		char		store[RUNOPS_STORE_LEN];

		rti++;
		if (rte->rtekind != RTE_RELATION)
			continue;
		if (PLAN_HAS_TARGET(stmt, rti))
			leaves = add_leaf_of(leaves, rte->relid, rte->relkind);
		else if (rte->relkind == RELKIND_PARTITIONED_TABLE &&
				 runops_leaf_store(rte->relid, store) &&
				 runops_is_legacy(store))
			leaves = add_leaf(leaves, rte->relid, false);
	}

	return leaves;
}

/*
 * If rows are not counted: may the statement have written to the leaf?
 */
static bool
may_have_written(const RunopsLocalLeaf *watched, EState *estate)
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
 * The leaves that COPY into a table may write to.
 */
List *
runops_local_leaves_of(Oid relid)
{
	if (runops_gate_flag_off())
		return NIL;

	return add_leaf_of(NIL, relid, get_rel_relkind(relid));
}

/*
 * Has a statement written to a leaf since the leaf was listed?
 *
 * estate is NULL before the statement has ended, and for COPY, which has no
 * estate to look at.
 */
RunopsWritten
runops_local_leaf_written(const RunopsLocalLeaf *watched, EState *estate)
{
	PgStat_Counter now = rows_written(watched->relid);

	if (now >= 0 && watched->before >= 0)
		return now != watched->before ? RUNOPS_WRITTEN : RUNOPS_NOT_WRITTEN;
	if (estate == NULL)
		return RUNOPS_PERHAPS_WRITTEN;

	return may_have_written(watched, estate) ? RUNOPS_WRITTEN : RUNOPS_NOT_WRITTEN;
}
