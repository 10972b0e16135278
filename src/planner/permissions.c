/*-------------------------------------------------------------------------
 *
 * permissions.c
 *	  Removes or adjusts the permission requests of leaves in a finished plan.
 *
 * The routed table has the permission request, and the entry of a leaf that
 * replaces it requests nothing (see replace.c).  PostgreSQL 15 skips such an
 * entry.  Since 16 the requests are a list of their own, the executor checks
 * all of them, and an empty request fails an assertion.
 *
 * The planner needs the leaf's request to know which user a scan runs as.  The
 * executor needs it only for the columns of a result relation; all other empty
 * requests are removed.  The request of a result relation is changed to ask
 * for a privilege that is always granted, and the note of the plan keeps the
 * user that the wrapper has to connect as (plan_note.c).
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

/*
 * The privilege that the request of a result relation asks for if it is empty.
 */
#define NOTHING_TO_ASK ACL_SELECT

/*
 * Is any permission request of a plan empty?
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
 * Keep the requests of a plan that are not empty, and those of result
 * relations.
 *
 * Returns, for the plan's note, the range-table index and the user of each
 * result relation whose request no longer names its user.
 *
 * Only replace.c makes empty requests.
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
 * After the permission check, put the user back into the request of a result
 * relation.  This changes only this execution, because the plan may run again.
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
 * PostgreSQL 15 has no list of requests.
 */
bool
runops_has_empty_request(PlannedStmt *stmt)
{
	return false;
}

/*
 * Nothing to do: core skips an entry with an empty request.
 */
List *
runops_settle_permissions(PlannedStmt *stmt)
{
	return NIL;
}

/*
 * Nothing to do: the entry of the result relation has its user.
 */
void
runops_reveal_user(EState *estate, ResultRelInfo *rri)
{
}

#endif
