/*-------------------------------------------------------------------------
 *
 * flag_off.c
 *	  Puts the legacy leaf in the place of every routed table while the
 *	  operator's flag is off.
 *
 * There is one database then: no other leaf holds a row, and the flag cannot
 * change before the server is restarted, which no plan outlives.  So nothing
 * has to be known of the keys, and plans and their costs are those of the plain
 * table.
 *
 * A row of another store, inserted or made by an UPDATE of the key, is refused
 * by the leaf's partition constraint; missing_leaf.c says what that means.
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

/* One query level on the walk. */
typedef struct SingleLevel
{
	Query	   *query;
	List	   *rtis;			/* of what its join tree reads */
	List	   *spared;			/* checks of its target; see skip_checks.c */
} SingleLevel;

/*
 * Put the legacy leaf in the place of one entry of a query, if it is a routed
 * table.
 */
static void
use_legacy(SingleLevel *level, Index rti)
{
	Query	   *query = level->query;
	RangeTblEntry *rte = rt_fetch(rti, query->rtable);
	RunopsReplacement replacement = {.query = query, .rti = rti};
	bool		inserts = rti == query->resultRelation &&
		query->commandType == CMD_INSERT;
	bool		guess = false;	/* is the key not known? */

	if (rte->rtekind != RTE_RELATION ||
		rte->relkind != RELKIND_PARTITIONED_TABLE || !(rte->inh || inserts))
		return;
	replacement.route = runops_route(rte->relid);
	if (replacement.route == NULL)
		return;

	if (inserts)
		replacement.leaf = runops_insert_leaf(query, replacement.route, NULL,
											  &guess, NULL);
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
	if (rti == query->resultRelation)
		level->spared = runops_spared_checks(query, replacement.route,
											 replacement.leaf,
											 inserts && !guess);
	runops_replace(&replacement);
}

/*
 * Walker: note what a level's join tree reads, and finish the levels inside
 * before their own, since a replacement copies them.
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
 * Put the legacy leaf in the place of every routed table of a query.
 *
 * Returns what checks of its own target can be spared.
 */
List *
runops_use_legacy(Query *query)
{
	SingleLevel top = {0};

	single_walker((Node *) query, &top);
	return top.spared;
}

