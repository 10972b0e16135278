/*-------------------------------------------------------------------------
 *
 * plan.c
 *	  Implements the planning callbacks of runops_fdw.
 *
 * With the operator's flag off a foreign table is marked as empty when it is
 * planned.  The executor could not do that: a pushed-down count(*) must return
 * one row, and the local side of a join would be planned for a table that is
 * never read.  The flag cannot change before the server is restarted, which
 * ends every plan.  If legacy is another database, its leaf is planned as
 * usual and raises an error when it is read, because it is not empty.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/appendinfo.h"
#include "optimizer/joininfo.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "parser/parsetree.h"
#include "utils/partcache.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"
#include "gate/gate.h"
#include "integrity/integrity.h"
#include "session/session.h"

/*
 * Estimate the size of a foreign table, which is empty while the flag is off.
 *
 * Apart from that the gate is checked at execution, unless planning itself
 * would connect.
 */
static void
runopsGetForeignRelSize(PlannerInfo *root, RelOptInfo *baserel,
						Oid foreigntableid)
{
	RunopsFdwCall call;
	RunopsStoreUse use;

	if (runops_fdw_is_empty(foreigntableid))
	{
		runops_held_warn_session();
		mark_dummy_rel(baserel);
		return;
	}

	if (!runops_fdw_uses_remote_estimate(foreigntableid))
	{
		runops_fdw_estimate_size(root, baserel, foreigntableid);
		return;
	}

	use = runops_fdw_use(foreigntableid, PLANNED_REL_USERID(baserel, root));
	runops_fdw_enter_table(&call, foreigntableid, true);
	runops_conn_prepare(&use);
	runops_fdw_estimate_size(root, baserel, foreigntableid);
	runops_fdw_leave(&call);
}

/*
 * Make the plan of a scan, with the locking clauses of the query.
 */
static ForeignScan *
runopsGetForeignPlan(PlannerInfo *root, RelOptInfo *foreignrel,
					 Oid foreigntableid, ForeignPath *best_path, List *tlist,
					 List *scan_clauses, Plan *outer_plan)
{
	ForeignScan *plan = runops_fdw_make_plan(root, foreignrel, foreigntableid,
											 best_path, tlist, scan_clauses,
											 outer_plan);

	runops_fdw_plan_locks(root, foreignrel, foreigntableid, plan);

	return plan;
}

/*
 * Does the UPDATE assign a column that the partition constraint of its result
 * relation reads, an alias, a column of a reference, a column of a key that is
 * unique over all stores, or one whose new value may violate a constraint or
 * be another one in the store?
 *
 * Such an UPDATE must be executed row by row, because the new value must be
 * checked or entered here, and a direct UPDATE does not show it.
 */
static bool
assigns_checked(PlannerInfo *root, Index resultRelation)
{
	RangeTblEntry *rte = planner_rt_fetch(resultRelation, root);
	Relation	rel = table_open(rte->relid, NoLock);
	const RunopsUniqueKeys *keys = runops_unique_keys(rte->relid);
	Bitmapset  *key_attrs = NULL;
	Bitmapset  *assigned = NULL;
	List	   *tlist;
	List	   *attnos;
	ListCell   *lc;
	bool		unproved;

	get_translated_update_targetlist(root, resultRelation, &tlist, &attnos);
	if (runops_fdw_differs_on(GetForeignServerIdByRelId(rte->relid), (Node *) tlist))
	{
		table_close(rel, NoLock);
		return true;
	}
	pull_varattnos((Node *) RelationGetPartitionQual(rel), 1, &key_attrs);
	key_attrs = bms_add_members(key_attrs, runops_fdw_alias_attrs(rel));
	unproved = runops_fdw_assigns_unproved(root, resultRelation, rel, tlist, attnos);
	table_close(rel, NoLock);
	if (unproved)
		return true;
	if (keys != NULL)
	{
		/* a generated column changes with any of its base columns */
		if (keys->generated)
			return true;
		key_attrs = bms_add_members(key_attrs, keys->watched);
	}

	foreach(lc, attnos)
		assigned = bms_add_member(assigned, lfirst_int(lc) - FirstLowInvalidHeapAttributeNumber);

	return bms_overlap(key_attrs, assigned) ||
		runops_reference_assigned(rte->relid, assigned, assigned);
}

/*
 * Allow a direct UPDATE or DELETE, unless it may change the store of a row or
 * a key that is unique over all stores.
 */
static bool
runopsPlanDirectModify(PlannerInfo *root, ModifyTable *plan,
					   Index resultRelation, int subplan_index)
{
	if (plan->operation == CMD_UPDATE && assigns_checked(root, resultRelation))
		return false;
	if (plan->operation == CMD_DELETE &&
		runops_unique_keys(planner_rt_fetch(resultRelation, root)->relid) != NULL)
		return false;

	return pgfdw.PlanDirectModify(root, plan, resultRelation, subplan_index);
}

/*
 * Add the columns that identify a row to be changed: its key, or its ctid.
 *
 * A DELETE needs the whole row for its unique keys; for an UPDATE core adds
 * it.
 */
static void
runopsAddForeignUpdateTargets(PlannerInfo *root, Index rtindex,
							  RangeTblEntry *target_rte,
							  Relation target_relation)
{
	if (!runops_fdw_add_key(root, rtindex, target_relation))
		pgfdw.AddForeignUpdateTargets(root, rtindex, target_rte, target_relation);

	if (root->parse->commandType == CMD_DELETE &&
		runops_unique_keys(RelationGetRelid(target_relation)) != NULL)
		add_row_identity_var(root,
							 makeVar(rtindex, InvalidAttrNumber, RECORDOID, -1,
									 InvalidOid, 0),
							 rtindex, "wholerow");
}

/*
 * Plan the statement for single rows: one row is identified by its key.
 *
 * The key is a sixth item of the list that postgres_fdw has made.  It is the same
 * that runopsAddForeignUpdateTargets() has found, because the table with the key
 * stays locked while the statement is planned.
 */
static List *
runopsPlanForeignModify(PlannerInfo *root, ModifyTable *plan, Index resultRelation,
						int subplan_index)
{
	List	   *items = pgfdw.PlanForeignModify(root, plan, resultRelation, subplan_index);
	Relation	rel;
	List	   *key;
	Oid			depends;

	if (plan->operation != CMD_UPDATE && plan->operation != CMD_DELETE)
		return items;

	rel = table_open(planner_rt_fetch(resultRelation, root)->relid, NoLock);
	key = runops_fdw_row_key(RelationGetRelid(rel), &depends);
	if (key != NIL)
	{
		linitial(items) =
			makeString(runops_fdw_change_sql(rel, plan->operation, key,
											 (List *) runops_fdw_private(items, MODIFY_TARGET_ATTRS, T_IntList),
											 (List *) runops_fdw_private(items, MODIFY_ATTRS, T_IntList)));
		items = lappend(items, key);
	}
	table_close(rel, NoLock);

	return items;
}

/*
 * Replace the planning callbacks of postgres_fdw by ours.
 */
void
runops_fdw_plan_callbacks(FdwRoutine *routine)
{
	routine->GetForeignRelSize = runopsGetForeignRelSize;
	routine->GetForeignPaths = runopsGetForeignPaths;
	routine->GetForeignPlan = runopsGetForeignPlan;
	routine->GetForeignJoinPaths = runopsGetForeignJoinPaths;
	routine->GetForeignUpperPaths = runopsGetForeignUpperPaths;
	routine->PlanDirectModify = runopsPlanDirectModify;
	routine->AddForeignUpdateTargets = runopsAddForeignUpdateTargets;
	routine->PlanForeignModify = runopsPlanForeignModify;
}
