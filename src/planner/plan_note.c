/*-------------------------------------------------------------------------
 *
 * plan_note.c
 *	  Stores in a plan the facts about its making that the executor needs.
 *
 * A note is an entry at the end of the plan's range table.  Core copies,
 * prints and reads back all of its fields, so the note goes wherever the plan
 * goes.  Therefore no field may be used that core ignores for this kind of
 * entry, because correctness and privileges depend on the note.  The entry is
 * a VALUES list.  It names no relation, so it is not locked or checked for
 * privileges.  Core empties the lists of all VALUES entries of the query
 * itself.
 *
 * A parallel worker gets the note too.  The values of the parameters are the
 * same there, so it comes to the same result as its leader.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/makefuncs.h"

#include "base/compat.h"
#include "planner/planner_int.h"

/* The name of the entry. */
#define NOTE_NAME "runops note"

/* The items of its only row. */
#define NOTE_SPARED 0
#define NOTE_USERS 1
#define NOTE_OBSTACLE 2

/*
 * Put a note into a plan, unless the note is empty.
 */
void
runops_add_plan_note(PlannedStmt *stmt, const RunopsPlanNote *note)
{
	RangeTblEntry *rte;

	if (note->spared == NIL && note->users == NIL && note->obstacle == NULL)
		return;

	rte = makeNode(RangeTblEntry);
	rte->rtekind = RTE_VALUES;
	rte->eref = makeAlias(NOTE_NAME, NIL);
	rte->values_lists = list_make1(list_make3(note->spared, note->users, note->obstacle));
	stmt->rtable = lappend(stmt->rtable, rte);
}

/*
 * Read the note of a plan; returns false if there is none, as for most plans.
 *
 * The lists belong to the plan.
 */
bool
runops_find_plan_note(PlannedStmt *stmt, RunopsPlanNote *note)
{
	ListCell   *lc;

	foreach(lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);
		List	   *row;

		if (rte->rtekind != RTE_VALUES || rte->values_lists == NIL ||
			strcmp(rte->eref->aliasname, NOTE_NAME) != 0)
			continue;

		row = linitial_node(List, rte->values_lists);
		note->spared = list_nth(row, NOTE_SPARED);
		note->users = list_nth(row, NOTE_USERS);
		note->obstacle = list_nth(row, NOTE_OBSTACLE);
		return true;
	}

	return false;
}

/*
 * Why a statement was not sent to its only store as a whole: a sentence.  NULL if
 * it was sent, or needs several stores.
 */
const char *
runops_plan_obstacle(PlannedStmt *stmt)
{
	RunopsPlanNote note;

	return runops_find_plan_note(stmt, &note) && note.obstacle != NULL ?
		strVal(note.obstacle) : NULL;
}
