/*-------------------------------------------------------------------------
 *
 * generic_plan.c
 *	  Checks, before a generic plan runs, what was assumed when it was made.
 *
 * A generic plan is made without the values of its parameters.  Those that name
 * the store of a routed table are taken for ids of legacy then, which gives the
 * plan of the plain table.  The plan carries the parameters that it rests on,
 * and the query that it was made of.  When it is started with values of which
 * one may belong elsewhere, the query is planned anew for these values, as if
 * the plan cache had asked for a custom plan, and that plan is run instead.
 *
 * plan_note.c keeps these with the plan.  The plan cache keeps the query valid as
 * long as the plan.
 *
 * The check does not depend on runops.enable_routing, for the plan may have been
 * made before that was turned off.
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

/* Has the next plan to be right whatever the values are? */
static bool plan_for_any = false;

/*
 * May parameters be taken for ids of legacy in the plan that is begun?
 */
bool
runops_may_assume(ParamListInfo params)
{
	bool		result = params == NULL && !plan_for_any;

	plan_for_any = false;
	return result;
}

/*
 * Does the value of a parameter name legacy and no other store, or none?
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

	/* Another type is an error that the executor will raise. */
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
 * The plan cache has locked those of the plan, which are the same and more.
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
 * Plan the query of an assumption anew for the values of the parameters.
 *
 * They cannot change while this one execution lasts, whatever their owner says
 * of them.
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

	/* A cursor's plan may have seemed fit to be read backwards by itself. */
	if (eflags & EXEC_FLAG_BACKWARD)
		cursorOptions |= CURSOR_OPT_SCROLL;

	lock_walker((Node *) query, NULL);

	plan_for_any = true;
	return planner_compat(query, query_string, cursorOptions, params);
}

/*
 * If the values are not what a plan rests on, put another plan in its place,
 * and return the memory context that it lives in.
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
 * A plan is about to start: see to it that it is right for the values.
 *
 * A parallel worker gets the plan that its leader has checked; the entry is not
 * sent to it whole, so it finds none.
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
 * The plan has started.
 */
void
runops_plan_started(QueryDesc *queryDesc, int eflags, const RunopsPlanStart *start)
{
	if (start->spared != NIL && (eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		runops_skip_checks(queryDesc, start->spared);

	/* The plan ends with the execution. */
	if (start->cxt != NULL)
		MemoryContextSetParent(start->cxt, queryDesc->estate->es_query_cxt);
}
