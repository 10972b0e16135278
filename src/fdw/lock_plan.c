/*-------------------------------------------------------------------------
 *
 * lock_plan.c
 *	  Writes the locking clauses of scans, and decides which scans lock their
 *	  rows by key.
 *
 * postgres_fdw sends FOR UPDATE or FOR SHARE at the end of the statement.  It
 * replaces the weaker locks by these, which conflict with more, and sends
 * neither NOWAIT nor SKIP LOCKED.  So its clauses are replaced by what the query
 * says.  An UPDATE locks the rows that it reads as the store will lock them when
 * they are written: FOR NO KEY UPDATE, unless a column of a unique index is
 * assigned.
 *
 * A locking clause locks every row that satisfies the conditions that are sent.
 * If other conditions are evaluated here, the scan reads without locks, and locks
 * by key the rows that satisfy all conditions (lock_rows.c).  If the conditions
 * that are sent name a key, there is at most one row, and it is locked at once.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "common/string.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/appendinfo.h"
#include "optimizer/optimizer.h"
#include "optimizer/prep.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/relcache.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"

/*
 * Does the UPDATE assign a column of a unique index of the old table?
 */
static bool
assigns_key(PlannerInfo *root, Index rti, Oid relid)
{
	Oid			depends;
	Relation	old;
	Bitmapset  *columns;
	List	   *tlist;
	List	   *attnos;
	ListCell   *lc;
	bool		result = false;

	if (runops_fdw_row_key(relid, &depends) == NIL)
		return true;
	get_translated_update_targetlist(root, rti, &tlist, &attnos);
	old = table_open(depends, AccessShareLock);
	columns = RelationGetIndexAttrBitmap(old, INDEX_ATTR_BITMAP_KEY);
	foreach(lc, attnos)
	{
		AttrNumber	attno = get_attnum(depends, get_attname(relid, lfirst_int(lc), false));

		if (attno <= 0 || bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, columns))
			result = true;
	}
	table_close(old, NoLock);

	return result;
}

/*
 * Append the locking clauses of the tables of a scan: as postgres_fdw writes them,
 * and as they should be.
 */
static void
append_clauses(PlannerInfo *root, RelOptInfo *rel, StringInfo theirs, StringInfo ours)
{
	CmdType		command = root->parse->commandType;
	int			rti = -1;

	while ((rti = bms_next_member(rel->relids, rti)) >= 0)
	{
		PlanRowMark *mark = NULL;
		LockClauseStrength strength;
		char	   *of = IS_SIMPLE_REL(rel) ? "" : psprintf(" OF r%d", rti);

		/* the index of an outer join has no relation */
		if (root->simple_rel_array[rti] == NULL)
			continue;
		if ((command == CMD_UPDATE || command == CMD_DELETE) &&
			bms_is_member(rti, root->all_result_relids))
			strength = command == CMD_UPDATE &&
				!assigns_key(root, rti, planner_rt_fetch(rti, root)->relid) ?
				LCS_FORNOKEYUPDATE : LCS_FORUPDATE;
		else
		{
			mark = get_plan_rowmark(root->rowMarks, rti);
			strength = mark == NULL ? LCS_NONE : mark->strength;
		}
		if (strength == LCS_NONE)
			continue;

		appendStringInfo(theirs, " FOR %s%s",
						 strength <= LCS_FORSHARE ? "SHARE" : "UPDATE", of);
		appendStringInfo(ours, " FOR %s%s%s",
						 strength == LCS_FORKEYSHARE ? "KEY SHARE" :
						 strength == LCS_FORSHARE ? "SHARE" :
						 strength == LCS_FORNOKEYUPDATE ? "NO KEY UPDATE" : "UPDATE", of,
						 mark == NULL || mark->waitPolicy == LockWaitBlock ? "" :
						 mark->waitPolicy == LockWaitSkip ? " SKIP LOCKED" : " NOWAIT");
	}
}

/*
 * Is a column of the table compared for equality with a value that does not come
 * from the table, by one of the conditions?
 */
static bool
is_given(PlannerInfo *root, Index rti, AttrNumber attno, List *conditions)
{
	ListCell   *lc;

	foreach(lc, conditions)
	{
		OpExpr	   *op = (OpExpr *) lfirst(lc);

		if (!IsA(op, OpExpr) || list_length(op->args) != 2 ||
			get_mergejoin_opfamilies(op->opno) == NIL)
			continue;
		for (int i = 0; i < 2; i++)
		{
			Node	   *column = strip_implicit_coercions(list_nth(op->args, i));
			Node	   *value = list_nth(op->args, 1 - i);

			if (IsA(column, Var) && ((Var *) column)->varno == rti &&
				((Var *) column)->varattno == attno &&
				!bms_is_member(rti, pull_varnos(root, value)))
				return true;
		}
	}

	return false;
}

/*
 * The key by which a scan locks its rows; NIL if it locks all rows that it reads.
 */
static List *
late_key(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignScan *plan)
{
	List	   *attrs;
	List	   *key;
	Oid			depends;
	bool		given = true;
	ListCell   *lc;

	if (plan->scan.plan.qual == NIL)
		return NIL;
	key = runops_fdw_row_key(relid, &depends);
	attrs = (List *) runops_fdw_private(plan->fdw_private, SCAN_ATTRS, T_IntList);
	foreach(lc, key)
	{
		if (!list_member_int(attrs, lfirst_int(lc)))
			return NIL;
		given = given && is_given(root, rel->relid, lfirst_int(lc), plan->fdw_recheck_quals);
	}
	if (key == NIL || given)
		return NIL;
	root->glob->relationOids = lappend_oid(root->glob->relationOids, depends);

	return key;
}

/*
 * The statement that locks one row: the scan's statement with a condition on the
 * key, whose values are the parameters after those of the scan.
 */
static char *
lock_sql(Relation rel, ForeignScan *plan, const char *sql, List *key, const char *clause)
{
	StringInfoData result;
	int			length;

	initStringInfo(&result);
	runops_fdw_append_select(&result, rel,
							 (List *) runops_fdw_private(plan->fdw_private, SCAN_ATTRS, T_IntList));
	length = result.len;
	if (strncmp(sql, result.data, length) != 0)
		elog(ERROR, "unexpected statement \"%s\"", sql);
	appendStringInfoString(&result, " WHERE ");
	runops_fdw_key_condition(&result, rel, key, list_length(plan->fdw_exprs) + 1);
	if (strncmp(sql + length, " WHERE ", strlen(" WHERE ")) == 0)
		appendStringInfo(&result, " AND %s", sql + length + strlen(" WHERE "));
	else
		appendStringInfoString(&result, sql + length);
	appendStringInfoString(&result, clause);

	return result.data;
}

/*
 * Give the plan of a scan of a table or a join its locking clauses.
 *
 * If the rows are locked by key, the statement has none, and two more items follow
 * those of postgres_fdw.
 */
void
runops_fdw_plan_locks(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignScan *plan)
{
	StringInfoData theirs;
	StringInfoData ours;
	char	   *text = strVal(linitial(plan->fdw_private));
	List	   *key = NIL;

	if (!IS_SIMPLE_REL(rel) && !IS_JOIN_REL(rel))
		return;
	initStringInfo(&theirs);
	initStringInfo(&ours);
	append_clauses(root, rel, &theirs, &ours);
	if (theirs.len == 0)
		return;
	if (!pg_str_endswith(text, theirs.data))
	{
		/* in a join the clause of a table may be inside of a sub-query */
		if (IS_SIMPLE_REL(rel))
			elog(ERROR, "unexpected locking clause in \"%s\"", text);
		return;
	}

	text = pnstrdup(text, strlen(text) - theirs.len);
	if (IS_SIMPLE_REL(rel))
		key = late_key(root, rel, relid, plan);
	if (key != NIL)
	{
		Relation	table = table_open(relid, NoLock);

		plan->fdw_private = lappend(plan->fdw_private,
									makeString(lock_sql(table, plan, text, key, ours.data)));
		plan->fdw_private = lappend(plan->fdw_private, key);
		table_close(table, NoLock);
		linitial(plan->fdw_private) = makeString(text);
	}
	else
		linitial(plan->fdw_private) = makeString(psprintf("%s%s", text, ours.data));
}

/*
 * Does a scan lock its rows by key?
 */
bool
runops_fdw_locks_by_key(const ForeignScan *plan)
{
	return plan->scan.scanrelid > 0 && list_length(plan->fdw_private) > SCAN_KEY;
}

/*
 * Let postgres_fdw explain a scan, and show how its rows are locked.
 */
void
runops_fdw_explain_scan(ForeignScanState *node, ExplainState *es)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	List	   *items = plan->fdw_private;

	if (!runops_fdw_locks_by_key(plan))
	{
		pgfdw.ExplainForeignScan(node, es);
		return;
	}

	/* postgres_fdw takes the plan of a scan with more items for one of a join */
	plan->fdw_private = list_copy_head(items, SCAN_LOCK_SQL);
	pgfdw.ExplainForeignScan(node, es);
	plan->fdw_private = items;
	if (es->verbose)
		ExplainPropertyText("Remote Lock SQL",
							strVal(runops_fdw_private(items, SCAN_LOCK_SQL, T_String)), es);
}
