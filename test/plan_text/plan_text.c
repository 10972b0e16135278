/*-------------------------------------------------------------------------
 *
 * plan_text.c
 *	  A module that hands every plan through its text form.
 *
 * Core may do this to any plan: it sends plans to parallel workers as text, and a
 * server built with assertions can be told to do it always, by
 * debug_write_read_parse_plan_trees.  A field that core does not print and read
 * back is lost on the way.  test/t/072_planner_plan_text.pl loads this module
 * after runops, so that it gets the plans that runops has made.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "nodes/nodes.h"
#include "optimizer/planner.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

static planner_hook_type prev_planner_hook = NULL;

/*
 * planner_hook: plan, and return the plan as it comes back from its text.
 */
static PlannedStmt *
plan_by_text(Query *parse, const char *query_string, int cursorOptions,
			 ParamListInfo boundParams)
{
	PlannedStmt *stmt = prev_planner_hook ?
		prev_planner_hook(parse, query_string, cursorOptions, boundParams) :
		standard_planner(parse, query_string, cursorOptions, boundParams);
	int			stmt_location = stmt->stmt_location;
	int			stmt_len = stmt->stmt_len;

	stmt = (PlannedStmt *) stringToNode(nodeToString(stmt));

	/* these alone are not meant to come back */
	stmt->stmt_location = stmt_location;
	stmt->stmt_len = stmt_len;

	return stmt;
}

/*
 * Install the hook.
 */
void
_PG_init(void)
{
	prev_planner_hook = planner_hook;
	planner_hook = plan_by_text;
}
