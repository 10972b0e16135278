/*-------------------------------------------------------------------------
 *
 * flag_off.c
 *	  Replaces every routed table by its legacy leaf while the operator's flag
 *	  is off.
 *
 * With the flag off there is only one database.  No other leaf holds a row,
 * and the flag cannot change before the server is restarted, which ends every
 * plan.  So the keys need not be known, and plans and their costs are the same
 * as for the plain table.
 *
 * If an INSERT, or an UPDATE of the key, makes a row of another store, the
 * leaf's partition constraint rejects it; missing_leaf.c replaces the error
 * message.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"

#include "base/compat.h"
#include "planner/planner_int.h"

/* A query level during the walk. */
typedef struct SingleLevel
{
	Query	   *query;
	List	   *rtis;			/* range-table indexes in its join tree */
	List	   *spared;			/* checks of its result relation to skip; see
								 * skip_checks.c */
} SingleLevel;

/*
 * Replace one range-table entry by the legacy leaf, if it is a routed table.
 */
static void
use_legacy(SingleLevel *level, Index rti)
{
	Query	   *query = level->query;
	RangeTblEntry *rte = rt_fetch(rti, query->rtable);
	RunopsReplacement replacement = {.query = query, .rti = rti};
	bool		inserts = rti == query->resultRelation &&
		query->commandType == CMD_INSERT;
	RunopsInsertChoice choice = {0};
	RunopsValues values = {0};
	List	   *assumed;

	if (rte->rtekind != RTE_RELATION ||
		rte->relkind != RELKIND_PARTITIONED_TABLE || !(rte->inh || inserts))
		return;
	replacement.route = runops_route(rte->relid);
	if (replacement.route == NULL)
		return;

	if (inserts)
	{
		replacement.leaf = runops_insert_leaf(query, replacement.route, &values, &assumed, &choice);
		replacement.upsert = choice.upsert;
	}
	else
	{
		replacement.leaf = runops_legacy_leaf(replacement.route);
		if (rti == query->resultRelation && replacement.leaf != NULL &&
			(runops_has_statement_triggers(rte->relid, NoLock,
										   query->commandType, false) ||
			 runops_has_statement_triggers(replacement.leaf->relid,
										   RowExclusiveLock,
										   query->commandType, false)))
			return;
	}

	if (replacement.leaf == NULL)
		return;
	if (replacement.upsert)
		runops_refuse_foreign_upsert(&replacement, _("The split is off."));
	if (rti == query->resultRelation)
		level->spared = runops_spared_checks(query, replacement.route,
											 replacement.leaf,
											 inserts && !choice.guess);
	runops_replace(&replacement);
}

/*
 * Walker: collect the entries in a level's join tree.  The inner levels are
 * finished first, because a replacement copies them.
 */
static bool
single_walker(Node *node, void *context)
{
	SingleLevel *level = context;
	SingleLevel inner = {0};
	ListCell   *lc;

	if (node == NULL)
		return false;

	if (IsA(node, RangeTblRef))
	{
		level->rtis = lappend_int(level->rtis, ((RangeTblRef *) node)->rtindex);
		return false;
	}
	if (!IsA(node, Query))
		return expression_tree_walker(node, single_walker, context);

	check_stack_depth();

	inner.query = (Query *) node;
	if (inner.query->commandType == CMD_INSERT)
		inner.rtis = list_make1_int(inner.query->resultRelation);
	query_tree_walker(inner.query, single_walker, &inner, QTW_IGNORE_JOINALIASES);
	foreach(lc, inner.rtis)
		use_legacy(&inner, lfirst_int(lc));
	level->spared = level->query == NULL ? inner.spared : level->spared;

	return false;
}

/*
 * Replace every routed table of a query by its legacy leaf.
 *
 * Returns the checks of the query's own result relation that can be skipped.
 */
List *
runops_use_legacy(Query *query)
{
	SingleLevel top = {0};

	single_walker((Node *) query, &top);
	return top.spared;
}
