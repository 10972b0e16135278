/*-------------------------------------------------------------------------
 *
 * permissions.c
 *	  Settles in a finished plan that leaves are not asked for permission.
 *
 * The request stands on the routed table, and the entry of a leaf that took its
 * place asks for nothing (see replace.c).  PostgreSQL 15 skips such an entry.
 * Since 16 requests are a list of their own, the executor checks all of them,
 * and one that asks for nothing fails an assertion.
 *
 * The planner needs the leaf's request to know whose rights a scan has.  The
 * executor needs it for the columns of a target alone; elsewhere it is removed.
 * The request of a target is made to ask for what is always granted, and the note
 * of the plan keeps the user that the wrapper has to connect as (plan_note.c).
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "executor/executor.h"
#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"
#include "parser/parsetree.h"

#include "base/compat.h"
#include "planner/planner_int.h"

#if PG16_GE

/* What the request of a target asks for when it has nothing to ask. */
#define NOTHING_TO_ASK ACL_SELECT

/*
 * Does any request of a plan ask for nothing?
 */
bool
runops_has_empty_request(PlannedStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->permInfos)
	{
		if (lfirst_node(RTEPermissionInfo, lc)->requiredPerms == 0)
			return true;
	}

	return false;
}

/*
 * Keep the requests of a plan that ask for something, and those of targets.
 *
 * Returns for each target whose request names no user any more its place in the
 * range table and its user, for the plan's note.
 *
 * Only what replace.c has made asks for nothing.
 */
List *
runops_settle_permissions(PlannedStmt *stmt)
{
	List	   *requests = NIL;
	List	   *users = NIL;
	Index		rti = 0;
	ListCell   *lc;

	if (!runops_has_empty_request(stmt))
		return NIL;

	foreach(lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);
		RTEPermissionInfo *request;

		rti++;
		if (rte->perminfoindex == 0)
			continue;

		request = list_nth_node(RTEPermissionInfo, stmt->permInfos,
								rte->perminfoindex - 1);
		if (request->requiredPerms == 0)
		{
			if (!PLAN_HAS_TARGET(stmt, rti))
			{
				rte->perminfoindex = 0;
				continue;
			}
			users = lappend_oid(users, rti);
			users = lappend_oid(users, request->checkAsUser);
			request->requiredPerms = NOTHING_TO_ASK;
			request->checkAsUser = BOOTSTRAP_SUPERUSERID;
		}
		requests = lappend(requests, request);
		rte->perminfoindex = list_length(requests);
	}
	stmt->permInfos = requests;

	return users;
}

/*
 * Let the request of a target name the user again, once permissions have been
 * checked, for this execution alone: the plan may be run again.
 *
 * Raises if the plan has lost the user: the wrapper must not connect as the
 * bootstrap superuser.
 */
void
runops_reveal_user(EState *estate, ResultRelInfo *rri)
{
	RangeTblEntry *rte;
	RTEPermissionInfo *request;
	RunopsPlanNote note = {0};
	ListCell   *lc;

	if (rri->ri_RangeTableIndex == 0)
		return;
	rte = exec_rt_fetch(rri->ri_RangeTableIndex, estate);
	if (rte->rtekind != RTE_RELATION || rte->perminfoindex == 0)
		return;
	request = list_nth_node(RTEPermissionInfo, estate->es_rteperminfos,
							rte->perminfoindex - 1);
	/* a target of any other plan asks for more than this */
	if (request->requiredPerms != NOTHING_TO_ASK ||
		request->checkAsUser != BOOTSTRAP_SUPERUSERID)
		return;

	(void) runops_find_plan_note(estate->es_plannedstmt, &note);
	for (lc = list_head(note.users); lc != NULL; lc = lnext(note.users, lnext(note.users, lc)))
	{
		if (lfirst_oid(lc) == rri->ri_RangeTableIndex)
			break;
	}
	if (lc == NULL)
		elog(ERROR, "the plan does not say for which user it writes to \"%s\"",
			 RelationGetRelationName(rri->ri_RelationDesc));

	request = copyObject(request);
	request->checkAsUser = lfirst_oid(lnext(note.users, lc));

	estate->es_rteperminfos = list_copy(estate->es_rteperminfos);
	lfirst(list_nth_cell(estate->es_rteperminfos, rte->perminfoindex - 1)) = request;
}

#else

/*
 * There is no list of requests.
 */
bool
runops_has_empty_request(PlannedStmt *stmt)
{
	return false;
}

/*
 * Nothing to do: an entry that asks for nothing is skipped.
 */
List *
runops_settle_permissions(PlannedStmt *stmt)
{
	return NIL;
}

/*
 * Nothing to do: the entry of a target names its user.
 */
void
runops_reveal_user(EState *estate, ResultRelInfo *rri)
{
}

#endif
