/*-------------------------------------------------------------------------
 *
 * plan.c
 *	  The planning callbacks of runops_fdw.
 *
 * With the operator's flag off a foreign table is proved empty while it is
 * planned.  The executor is too late for that: a count(*) that was pushed down
 * has to be one row, and the local side of a join would have been planned for
 * a partner that is never there.  The flag cannot change before the server is
 * restarted, and no plan outlives that.  Only where legacy is another database
 * its leaf is planned as ever, and read with an error: it is not empty.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "common/string.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/appendinfo.h"
#include "optimizer/joininfo.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/prep.h"
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
 * The gate is otherwise a matter of execution, except where planning itself
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
 * Make the plan of a scan, and let it wait for locked rows no longer than the
 * query does.
 *
 * postgres_fdw sends FOR UPDATE and FOR SHARE, which end the statement, but
 * not NOWAIT and SKIP LOCKED: a worker that wants to skip would wait.
 */
static ForeignScan *
runopsGetForeignPlan(PlannerInfo *root, RelOptInfo *foreignrel,
					 Oid foreigntableid, ForeignPath *best_path, List *tlist,
					 List *scan_clauses, Plan *outer_plan)
{
	ForeignScan *plan = runops_fdw_make_plan(root, foreignrel, foreigntableid,
											 best_path, tlist, scan_clauses,
											 outer_plan);
	LockWaitPolicy policy;
	ListCell   *sql;
	char	   *text;

	if (root->rowMarks == NIL || !IS_SIMPLE_REL(foreignrel))
		return plan;
	policy = runops_fdw_wait_policy(root, foreignrel->relid);
	if (policy == LockWaitBlock)
		return plan;

	/* the first item of the list is the statement */
	sql = list_head(plan->fdw_private);
	text = strVal(lfirst(sql));
	if (!pg_str_endswith(text, " FOR UPDATE") &&
		!pg_str_endswith(text, " FOR SHARE"))
		elog(ERROR, "unexpected locking clause in \"%s\"", text);
	lfirst(sql) = makeString(psprintf("%s %s", text,
									  policy == LockWaitSkip ? "SKIP LOCKED" : "NOWAIT"));

	return plan;
}

/*
 * Does the UPDATE assign a column that the partition constraint of its result
 * relation reads, an alias, one that refers to another table, or one of a key that is
 * unique over all stores?
 *
 * It then has to be executed row by row, because the new value must be checked
 * or entered here, and a direct UPDATE shows it to nobody.
 */
static bool
assigns_key(PlannerInfo *root, Index resultRelation)
{
	RangeTblEntry *rte = planner_rt_fetch(resultRelation, root);
	Relation	rel = table_open(rte->relid, NoLock);
	const RunopsUniqueKeys *keys = runops_unique_keys(rte->relid);
	Bitmapset  *key_attrs = NULL;
	Bitmapset  *assigned = NULL;
	List	   *tlist;
	List	   *attnos;
	ListCell   *lc;

	pull_varattnos((Node *) RelationGetPartitionQual(rel), 1, &key_attrs);
	key_attrs = bms_add_members(key_attrs, runops_fdw_alias_attrs(rel));
	table_close(rel, NoLock);
	if (keys != NULL)
	{
		/* what is generated is assigned with any of the columns it is made of */
		if (keys->generated)
			return true;
		key_attrs = bms_add_members(key_attrs, keys->watched);
	}

	get_translated_update_targetlist(root, resultRelation, &tlist, &attnos);
	foreach(lc, attnos)
		assigned = bms_add_member(assigned, lfirst_int(lc) - FirstLowInvalidHeapAttributeNumber);

	return bms_overlap(key_attrs, assigned) ||
		runops_reference_assigned(rte->relid, assigned);
}

/*
 * Let a whole UPDATE or DELETE be sent to the store, unless it may change the
 * store that a row belongs to, or what is unique over all stores.
 */
static bool
runopsPlanDirectModify(PlannerInfo *root, ModifyTable *plan,
					   Index resultRelation, int subplan_index)
{
	if (plan->operation == CMD_UPDATE && assigns_key(root, resultRelation))
		return false;
	if (plan->operation == CMD_DELETE &&
		runops_unique_keys(planner_rt_fetch(resultRelation, root)->relid) != NULL)
		return false;

	return pgfdw.PlanDirectModify(root, plan, resultRelation, subplan_index);
}

/*
 * Say what identifies a row to be changed.
 *
 * A DELETE needs the whole row to know its unique keys; core adds it to an
 * UPDATE by itself.
 */
static void
runopsAddForeignUpdateTargets(PlannerInfo *root, Index rtindex,
							  RangeTblEntry *target_rte,
							  Relation target_relation)
{
	pgfdw.AddForeignUpdateTargets(root, rtindex, target_rte, target_relation);

	if (root->parse->commandType == CMD_DELETE &&
		runops_unique_keys(RelationGetRelid(target_relation)) != NULL)
		add_row_identity_var(root,
							 makeVar(rtindex, InvalidAttrNumber, RECORDOID, -1,
									 InvalidOid, 0),
							 rtindex, "wholerow");
}

/*
 * Lay the planning callbacks over postgres_fdw's.
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
}
