/*-------------------------------------------------------------------------
 *
 * fdw_plan.c
 *	  The planning callbacks of runops_fdw.
 *
 * With the operator's flag off a foreign table is proved empty while it is
 * planned.  The executor is too late for that: a count(*) that was pushed down
 * has to be one row, and the local side of a join would have been planned for
 * a partner that is never there.  The flag cannot change before the server is
 * restarted, and no plan outlives that.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "optimizer/appendinfo.h"
#include "optimizer/joininfo.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "parser/parsetree.h"
#include "utils/partcache.h"

#include "fdw.h"
#include "runops.h"

/*
 * Is postgres_fdw going to ask the store while it plans this table?
 *
 * An option of the table goes before the server's, as there.
 */
bool
runops_fdw_uses_remote_estimate(Oid foreigntableid)
{
	ForeignTable *table = GetForeignTable(foreigntableid);
	ForeignServer *server = GetForeignServer(table->serverid);
	bool		result = false;
	ListCell   *lc;

	foreach(lc, server->options)
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		if (strcmp(def->defname, "use_remote_estimate") == 0)
			result = defGetBoolean(def);
	}
	foreach(lc, table->options)
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		if (strcmp(def->defname, "use_remote_estimate") == 0)
			result = defGetBoolean(def);
	}

	return result;
}

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

	if (runops_gate_flag_off())
	{
		mark_dummy_rel(baserel);
		return;
	}

	if (!runops_fdw_uses_remote_estimate(foreigntableid))
	{
		pgfdw.GetForeignRelSize(root, baserel, foreigntableid);
		return;
	}

	runops_fdw_gate_require(foreigntableid);

	runops_fdw_enter_table(&call, foreigntableid, true);
	pgfdw.GetForeignRelSize(root, baserel, foreigntableid);
	runops_fdw_leave(&call);
}

/*
 * Offer remote joins, unless the tables are known to be empty: those carry no
 * postgres_fdw state to join.
 */
static void
runopsGetForeignJoinPaths(PlannerInfo *root, RelOptInfo *joinrel,
						  RelOptInfo *outerrel, RelOptInfo *innerrel,
						  JoinType jointype, JoinPathExtraData *extra)
{
	if (runops_gate_flag_off())
		return;

	pgfdw.GetForeignJoinPaths(root, joinrel, outerrel, innerrel, jointype,
							  extra);
}

/*
 * Offer remote grouping, ordering and limits, unless the input is known to be
 * empty.
 */
static void
runopsGetForeignUpperPaths(PlannerInfo *root, UpperRelationKind stage,
						   RelOptInfo *input_rel, RelOptInfo *output_rel,
						   void *extra)
{
	if (runops_gate_flag_off())
		return;

	pgfdw.GetForeignUpperPaths(root, stage, input_rel, output_rel, extra);
}

/*
 * Does the UPDATE assign a column that the partition constraint of its result
 * relation reads?
 *
 * It then has to be executed row by row, because the new key must be compared
 * with the store's and a direct UPDATE shows it to nobody.
 */
static bool
assigns_key(PlannerInfo *root, Index resultRelation)
{
	RangeTblEntry *rte = planner_rt_fetch(resultRelation, root);
	Relation	rel = table_open(rte->relid, NoLock);
	Bitmapset  *key_attrs = NULL;
	bool		result = false;

	pull_varattnos((Node *) RelationGetPartitionQual(rel), 1, &key_attrs);
	table_close(rel, NoLock);

	if (key_attrs != NULL)
	{
		List	   *tlist;
		List	   *attnos;
		ListCell   *lc;

		get_translated_update_targetlist(root, resultRelation, &tlist, &attnos);
		foreach(lc, attnos)
		{
			int			attno = lfirst_int(lc);

			if (bms_is_member(attno - FirstLowInvalidHeapAttributeNumber,
							  key_attrs))
				result = true;
		}
	}

	return result;
}

/*
 * Let a whole UPDATE or DELETE be sent to the store, unless it may change the
 * store that a row belongs to.
 */
static bool
runopsPlanDirectModify(PlannerInfo *root, ModifyTable *plan,
					   Index resultRelation, int subplan_index)
{
	if (plan->operation == CMD_UPDATE && assigns_key(root, resultRelation))
		return false;

	return pgfdw.PlanDirectModify(root, plan, resultRelation, subplan_index);
}

/*
 * Lay the planning callbacks over postgres_fdw's.
 */
void
runops_fdw_plan_callbacks(FdwRoutine *routine)
{
	routine->GetForeignRelSize = runopsGetForeignRelSize;
	routine->GetForeignPaths = runopsGetForeignPaths;
	routine->GetForeignJoinPaths = runopsGetForeignJoinPaths;
	routine->GetForeignUpperPaths = runopsGetForeignUpperPaths;
	routine->PlanDirectModify = runopsPlanDirectModify;
}
