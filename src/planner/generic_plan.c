/*-------------------------------------------------------------------------
 *
 * generic_plan.c
 *	  Checks the assumptions of a generic plan before it runs.
 *
 * A generic plan is made without the values of its parameters.  The planner
 * assumes that parameters that name the store of a routed table are ids of
 * legacy, which gives the plan of the plain table.  The plan carries these
 * parameters, and the query that it was made from.  If it is started with a
 * value that may belong to another store, the query is planned again for the
 * given values, as for a custom plan, and that plan runs instead.
 *
 * plan_note.c stores these in the plan.  The plan cache keeps the query valid
 * as long as the plan.
 *
 * The check does not depend on runops.enable_routing, because the plan may
 * have been made before that was turned off.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "planner/planner_int.h"

/* Must the next plan be right for all values? */
static bool plan_for_any = false;

/*
 * May the plan being made assume that parameters are ids of legacy?
 */
bool
runops_may_assume(ParamListInfo params)
{
	bool		result = params == NULL && !plan_for_any;

	plan_for_any = false;
	return result;
}

/*
 * Is the value of a parameter an id of legacy only, or NULL?
 */
static bool
names_legacy(Param *param, ParamListInfo params)
{
	ParamExternData *data;
	ParamExternData workspace;
	RunopsStoreSet stores;

	if (params == NULL || param->paramid <= 0 ||
		param->paramid > params->numParams)
		return false;

	if (params->paramFetch != NULL)
		data = params->paramFetch(params, param->paramid, false, &workspace);
	else
		data = &params->params[param->paramid - 1];

	/* With another type the executor will raise an error. */
	if (data->ptype != param->paramtype)
		return false;
	if (data->isnull)
		return true;

	if (param->paramtype != TEXTOID && param->paramtype != VARCHAROID &&
		OidIsValid(get_base_element_type(param->paramtype)))
		stores = runops_array_stores(DatumGetArrayTypeP(data->value));
	else
	{
		text	   *id = DatumGetTextPP(data->value);

		stores = runops_id_stores(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id));
	}

	return (stores & ~runops_store_bit(RUNOPS_LEGACY_STORE)) == 0;
}

/*
 * Walker: lock the relations of a query as the parser did.
 *
 * The plan cache has already locked the relations of the plan, which include
 * these.
 */
static bool
lock_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		ListCell   *lc;

		foreach(lc, query->rtable)
		{
			RangeTblEntry *rte = lfirst(lc);

			if (rte->rtekind == RTE_RELATION)
				LockRelationOid(rte->relid, rte->rellockmode);
		}
		return query_tree_walker(query, lock_walker, NULL,
								 QTW_IGNORE_JOINALIASES);
	}

	return expression_tree_walker(node, lock_walker, context);
}

/*
 * Plan the query of an assumption again for the values of the parameters.
 *
 * The values cannot change during this execution, so they are treated as
 * constants.
 */
static PlannedStmt *
plan_for_values(const RunopsPlanNote *note, const char *query_string,
				ParamListInfo params, int eflags)
{
	Query	   *query = copyObject(note->query);
	int			cursorOptions = note->cursorOptions;

	if (params != NULL)
	{
		params = copyParamList(params);
		for (int i = 0; i < params->numParams; i++)
			params->params[i].pflags |= PARAM_FLAG_CONST;
	}

	/*
	 * A plan for a cursor may have been able to run backwards only by chance.
	 */
	if (eflags & EXEC_FLAG_BACKWARD)
		cursorOptions |= CURSOR_OPT_SCROLL;

	lock_walker((Node *) query, NULL);

	plan_for_any = true;
	return planner_compat(query, query_string, cursorOptions, params);
}

/*
 * If the values contradict the assumption of a plan, replace the plan in the
 * QueryDesc, and return the memory context of the new plan.
 */
static MemoryContext
check_assumption(QueryDesc *queryDesc, const RunopsPlanNote *note, int eflags)
{
	bool		holds = true;
	bool		pushed = false;
	MemoryContext cxt;
	MemoryContext oldcxt;
	ListCell   *lc;

	if ((eflags & RUNOPS_EXPLAIN_GENERIC) != 0)
		return NULL;
	foreach(lc, note->assumed)
		holds = holds && names_legacy(lfirst_node(Param, lc), queryDesc->params);
	if (holds)
		return NULL;

	cxt = AllocSetContextCreate(CurrentMemoryContext, "runops plan for values",
								ALLOCSET_DEFAULT_SIZES);
	oldcxt = MemoryContextSwitchTo(cxt);
	if (!ActiveSnapshotSet() && queryDesc->snapshot != InvalidSnapshot)
	{
		PushActiveSnapshot(queryDesc->snapshot);
		pushed = true;
	}
	queryDesc->plannedstmt = plan_for_values(note, queryDesc->sourceText,
											 queryDesc->params, eflags);
	if (pushed)
		PopActiveSnapshot();
	MemoryContextSwitchTo(oldcxt);

	return cxt;
}

/*
 * A plan is about to start: make sure that it is right for the values.
 *
 * A parallel worker gets the plan that its leader has checked.  The entry is
 * not sent to it completely, so it finds none.
 */
void
runops_plan_start(QueryDesc *queryDesc, int eflags, RunopsPlanStart *start)
{
	RunopsPlanNote note;

	start->cxt = NULL;
	start->spared = NIL;
	if (runops_find_plan_note(queryDesc->plannedstmt, &note))
	{
		start->cxt = check_assumption(queryDesc, &note, eflags);
		if (start->cxt == NULL ||
			runops_find_plan_note(queryDesc->plannedstmt, &note))
			start->spared = note.spared;
	}

	/* Core asserts the same, but only in a server built with assertions. */
	Assert(!runops_has_empty_request(queryDesc->plannedstmt));
}

/*
 * The executor has started the plan.
 */
void
runops_plan_started(QueryDesc *queryDesc, int eflags, const RunopsPlanStart *start)
{
	if (start->spared != NIL && (eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		runops_skip_checks(queryDesc, start->spared);

	/* The replacing plan is freed at the end of the execution. */
	if (start->cxt != NULL)
		MemoryContextSetParent(start->cxt, queryDesc->estate->es_query_cxt);
}
