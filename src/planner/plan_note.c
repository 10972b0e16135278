/*-------------------------------------------------------------------------
 *
 * plan_note.c
 *	  Keeps with a plan what the executor has to know of how it was made.
 *
 * A note is an entry at the end of the plan's range table.  Core copies, prints
 * and reads back all its fields, so that the note goes wherever the plan goes:
 * nothing that correctness or privileges rest on may be in a field that core
 * passes over for an entry of its kind.  The entry is a VALUES list.  It names no
 * relation, so nobody locks it or checks privileges on it, and core empties the
 * list of every VALUES entry that a query really has.
 *
 * A parallel worker gets the note too.  The values of the parameters are the same
 * there, so that it finds the plan right as its leader did.
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

/* The items of its one row. */
#define NOTE_QUERY 0
#define NOTE_ASSUMED 1
#define NOTE_CURSOR_OPTIONS 2
#define NOTE_SPARED 3
#define NOTE_USERS 4

/*
 * Put a note into a plan, unless it says nothing.
 */
void
runops_add_plan_note(PlannedStmt *stmt, const RunopsPlanNote *note)
{
	RangeTblEntry *rte;
	List	   *row;

	if (note->query == NULL && note->spared == NIL && note->users == NIL)
		return;

	row = list_make5(note->query, note->assumed,
					 makeInteger(note->cursorOptions), note->spared, note->users);
	rte = makeNode(RangeTblEntry);
	rte->rtekind = RTE_VALUES;
	rte->eref = makeAlias(NOTE_NAME, NIL);
	rte->values_lists = list_make1(row);
	stmt->rtable = lappend(stmt->rtable, rte);
}

/*
 * Read the note of a plan; false if there is none, as for most plans.
 *
 * The lists and the query are those of the plan.
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
		note->query = list_nth(row, NOTE_QUERY);
		note->assumed = list_nth(row, NOTE_ASSUMED);
		note->cursorOptions = intVal(list_nth(row, NOTE_CURSOR_OPTIONS));
		note->spared = list_nth(row, NOTE_SPARED);
		note->users = list_nth(row, NOTE_USERS);
		return true;
	}

	return false;
}
