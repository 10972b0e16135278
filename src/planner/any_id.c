/*-------------------------------------------------------------------------
 *
 * any_id.c
 *	  Makes a generic plan that is right for the ids of all stores.
 *
 * A generic plan is made without the values of its parameters.  It is a choice
 * of plans, each of which assumes that the parameters that name the store of a
 * routed table are ids of certain stores.  The plan for legacy is made at once,
 * and is the plan of the plain table.  The plan for other stores is made when an
 * id of them comes for the first time, and is kept in the choice.  So it lives as
 * long as the generic plan, and goes with it when a table changes.
 *
 * The choice is a node without a state, alone in its plan.  When the executor is
 * about to start it, the values are looked at, and the plan for their stores takes
 * its place.  It cannot be a node that has the plans as children: the executor
 * would start the subplans of all of them, and finish the writes of each.
 *
 * The plan cache locks the relations of the plan for legacy.  What else another plan
 * needs is locked before it is started.
 *
 * A list of ids of some of the stores gets a plan for its values, because there are too
 * many sets of stores to keep a plan for each.  Such a plan is used once.
 *
 * All this does not depend on runops.enable_routing, because the plan may have been
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
#include "optimizer/optimizer.h"
#include "optimizer/planmain.h"
#include "port/pg_bitutils.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "storage/sinval.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/guc.h"
#include "planner/planner_int.h"
#include "xact/xact.h"

/* At most so many plans are kept in a choice, besides the one for legacy. */
#define MAX_KEPT_PLANS 100

/* The items of a choice's custom_private. */
enum ChoicePrivate
{
	CHOICE_LEGACY,				/* the PlannedStmt for ids of legacy */
	CHOICE_QUERY,				/* what the plans are made from */
	CHOICE_CURSOR_OPTIONS,
	CHOICE_PARAMS,				/* the parameters that name stores */
	CHOICE_KEPT					/* plans for others; see KeptPrivate */
};

/* The items of a kept plan. */
enum KeptPrivate
{
	KEPT_STORES,				/* a set for each parameter, as two OIDs */
	KEPT_SETTINGS,				/* see plan_settings() */
	KEPT_ROLE,					/* an OID, as a list of one: who it is for; or
								 * InvalidOid */
	KEPT_SHAPELESS,				/* OIDs of the tables whose id has no known
								 * shape */
	KEPT_PLAN
};

/* What the plan of a query assumes; NULL: nothing. */
static const Query *assuming_query = NULL;
static RunopsAssumption *assuming = NULL;

static Node *create_state(CustomScan *node);

const CustomScanMethods runops_choice_methods = {
	.CustomName = "Runops Choice",
	.CreateCustomScanState = create_state
};

/*
 * A choice has no state, because the executor never starts it.
 */
static Node *
create_state(CustomScan *node)
{
	elog(ERROR, "a plan for any id was started without a choice");
}

/*
 * Make choices known, so that a plan with one can be read.
 */
void
runops_any_id_init(void)
{
	RegisterCustomScanMethods(&runops_choice_methods);
}

/*
 * What the plan of a query may assume of its parameters; NULL: nothing.  Without
 * values, they are ids of legacy, unless a choice needs a plan for other stores.
 */
RunopsAssumption *
runops_assumption(const Query *query, ParamListInfo params)
{
	if (params != NULL)
		return NULL;
	if (assuming_query == query)
		return assuming;

	return palloc0(sizeof(RunopsAssumption));
}

/*
 * Plan a query that assumes this of its parameters.
 */
static PlannedStmt *
plan_assuming(Query *query, const char *query_string, int cursorOptions, ParamListInfo params,
			  RunopsAssumption *assumption)
{
	const Query *outer_query = assuming_query;
	RunopsAssumption *outer = assuming;
	PlannedStmt *stmt;

	assuming_query = query;
	assuming = assumption;
	PG_TRY();
	{
		stmt = planner_compat(query, query_string, cursorOptions, params);
	}
	PG_FINALLY();
	{
		assuming_query = outer_query;
		assuming = outer;
	}
	PG_END_TRY();

	return stmt;
}

/*
 * Plan a query whose plan becomes a part of another one, and so is no choice.
 */
PlannedStmt *
runops_plan_part(Query *query, const char *query_string, int cursorOptions, ParamListInfo params)
{
	return plan_assuming(query, query_string, cursorOptions, params, NULL);
}

/*
 * Get the stores that a parameter is assumed to name; false if nothing is assumed
 * of it.  NULL names no store.
 */
bool
runops_assumed_stores(const RunopsAssumption *assumption, Param *param, RunopsStoreSet *stores)
{
	ListCell   *lc;

	if (assumption->params == NIL)
	{
		*stores = runops_store_bit(RUNOPS_LEGACY_STORE);
		return true;
	}
	foreach(lc, assumption->params)
	{
		if (equal(lfirst(lc), param))
		{
			*stores = assumption->stores[foreach_current_index(lc)];
			return true;
		}
	}

	return false;
}

/*
 * Make a choice of the plan for legacy.  It looks like that plan to whoever does not
 * start it: its relations are locked, its result is described, and its cost is
 * compared.
 *
 * query is the query before the planner has changed it.  A change of any of the leaves
 * invalidates the choice.
 */
PlannedStmt *
runops_make_choice(PlannedStmt *legacy, Query *query, int cursorOptions, List *params, List *leaves)
{
	PlannedStmt *stmt = makeNode(PlannedStmt);
	CustomScan *node = makeNode(CustomScan);
	Plan	   *plan = legacy->planTree;

	memcpy(stmt, legacy, sizeof(PlannedStmt));
	stmt->subplans = NIL;
	stmt->rewindPlanIDs = NULL;
	stmt->planTree = (Plan *) node;
	stmt->relationOids = list_union_oid(legacy->relationOids, leaves);

	node->methods = &runops_choice_methods;
	node->flags = ExecSupportsBackwardScan(plan) ? CUSTOMPATH_SUPPORT_BACKWARD_SCAN : 0;
	node->scan.plan.startup_cost = plan->startup_cost;
	node->scan.plan.total_cost = plan->total_cost;
	node->scan.plan.plan_rows = plan->plan_rows;
	node->scan.plan.plan_width = plan->plan_width;
	node->scan.plan.targetlist = plan->targetlist;
	node->custom_private = list_make5(legacy, query, makeInteger(cursorOptions), params, NIL);

	return stmt;
}

/*
 * Get the stores that the value of a parameter names: none if it is NULL.  Returns
 * false if the value has another type than the parameter, which the executor reports.
 *
 * *several is set to true if it is a list of ids of several stores.
 */
static bool
value_stores(Param *param, ParamListInfo params, RunopsStoreSet *stores, bool *several)
{
	ParamExternData *data;
	ParamExternData workspace;

	if (param->paramid <= 0 || param->paramid > params->numParams)
		return false;
	if (params->paramFetch != NULL)
		data = params->paramFetch(params, param->paramid, false, &workspace);
	else
		data = &params->params[param->paramid - 1];
	if (data->ptype != param->paramtype)
		return false;

	if (data->isnull)
		*stores = RUNOPS_STORES_NONE;
	else if (param->paramtype != TEXTOID && param->paramtype != VARCHAROID &&
			 OidIsValid(get_base_element_type(param->paramtype)))
	{
		*stores = runops_array_stores(DatumGetArrayTypeP(data->value));
		*several |= *stores != RUNOPS_STORES_ALL && pg_popcount64(*stores) > 1;
	}
	else
	{
		text	   *id = DatumGetTextPP(data->value);

		*stores = runops_id_stores(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id));
	}

	return true;
}

/*
 * The settings on which the choice of a plan depends.
 */
static int
plan_settings(bool backward)
{
	return (runops_enable_routing ? 1 : 0) | (runops_enable_shipping ? 2 : 0) | (backward ? 4 : 0);
}

/*
 * The sets of an assumption as a list of OIDs.
 */
static List *
list_of_stores(const RunopsAssumption *assumption)
{
	List	   *result = NIL;

	for (int i = 0; i < list_length(assumption->params); i++)
	{
		result = lappend_oid(result, (Oid) (assumption->stores[i] >> 32));
		result = lappend_oid(result, (Oid) assumption->stores[i]);
	}

	return result;
}

/*
 * Find the kept plan for an assumption, or NULL.
 */
static List *
find_kept(CustomScan *node, const RunopsAssumption *assumption, int settings)
{
	ListCell   *lc;

	foreach(lc, (List *) list_nth(node->custom_private, CHOICE_KEPT))
	{
		List	   *kept = lfirst_node(List, lc);
		List	   *stores = list_nth(kept, KEPT_STORES);
		Oid			role = linitial_oid(list_nth(kept, KEPT_ROLE));
		bool		found = true;

		for (int i = 0; i < list_length(assumption->params) && found; i++)
			found = list_nth_oid(stores, 2 * i) == (Oid) (assumption->stores[i] >> 32) &&
				list_nth_oid(stores, 2 * i + 1) == (Oid) assumption->stores[i];
		if (found && intVal(list_nth(kept, KEPT_SETTINGS)) == settings &&
			(!OidIsValid(role) || role == GetUserId()))
			return kept;
	}

	return NULL;
}

/*
 * Keep a plan in the choice.  Returns the copy, which lives as long as the choice.
 */
static List *
keep_plan(CustomScan *node, PlannedStmt *stmt, const RunopsAssumption *assumption, int settings)
{
	MemoryContext oldcxt = MemoryContextSwitchTo(GetMemoryChunkContext(node));
	ListCell   *cell = list_nth_cell(node->custom_private, CHOICE_KEPT);
	List	   *kept;

	kept = list_make5(list_of_stores(assumption), makeInteger(settings),
					  list_make1_oid(stmt->dependsOnRole ? GetUserId() : InvalidOid),
					  list_copy(assumption->shapeless), copyObject(stmt));
	lfirst(cell) = lappend(lfirst(cell), kept);
	MemoryContextSwitchTo(oldcxt);

	return kept;
}

/*
 * Lock the relations of a plan.  Returns false if a relation may have changed since
 * the plan was made.
 *
 * A change that was known before has invalidated the choice, so it has to be one that
 * is learned of now.
 */
static bool
lock_relations(PlannedStmt *stmt)
{
	uint64		before = SharedInvalidMessageCounter;
	ListCell   *lc;

	foreach(lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		/* before 16 another entry stands for a view, with its lock */
		if (OidIsValid(rte->relid) && rte->rellockmode != NoLock &&
			(rte->rtekind == RTE_RELATION || rte->rtekind == RTE_SUBQUERY))
			LockRelationOid(rte->relid, rte->rellockmode);
	}

	return SharedInvalidMessageCounter == before;
}

/*
 * Plan the query of a choice: for the stores that are assumed, or for the values of
 * the parameters.
 *
 * The values cannot change during this execution, so they are treated as constants.
 */
static PlannedStmt *
plan_query(CustomScan *node, QueryDesc *queryDesc, RunopsAssumption *assumption, bool backward)
{
	Query	   *query = copyObject(list_nth_node(Query, node->custom_private, CHOICE_QUERY));
	int			cursorOptions = intVal(list_nth(node->custom_private, CHOICE_CURSOR_OPTIONS));
	ParamListInfo params = NULL;
	bool		pushed = false;
	PlannedStmt *stmt;

	if (assumption == NULL)
	{
		params = copyParamList(queryDesc->params);
		for (int i = 0; i < params->numParams; i++)
			params->params[i].pflags |= PARAM_FLAG_CONST;
	}
	if (!ActiveSnapshotSet() && queryDesc->snapshot != InvalidSnapshot)
	{
		PushActiveSnapshot(queryDesc->snapshot);
		pushed = true;
	}

	AcquireRewriteLocks(query, true, false);
	stmt = plan_assuming(query, queryDesc->sourceText, cursorOptions, params, assumption);
	if (pushed)
		PopActiveSnapshot();

	/*
	 * A plan for a cursor may have been able to run backwards only by chance.
	 */
	if (backward && !ExecSupportsBackwardScan(stmt->planTree))
		stmt->planTree = materialize_finished_plan(stmt->planTree);

	return stmt;
}

/*
 * Count the execution of a plan for an id of no known shape.  Planning has counted
 * itself.
 */
static void
count_shapeless(List *kept)
{
	ListCell   *lc;

	foreach(lc, (List *) list_nth(kept, KEPT_SHAPELESS))
	{
		const RunopsRoute *route = runops_route(lfirst_oid(lc));

		if (route != NULL)
			runops_stats_add_legacy(route, RUNOPS_UNCLASSIFIABLE);
	}
}

/*
 * Make the plan for an assumption, or for the values if it is NULL.  If it is used
 * once, *cxt has it.
 */
static PlannedStmt *
make_plan(CustomScan *node, QueryDesc *queryDesc, RunopsAssumption *assumption, bool backward,
		  bool keep, MemoryContext *cxt)
{
	PlannedStmt *stmt;
	MemoryContext oldcxt;

	*cxt = AllocSetContextCreate(CurrentMemoryContext, "runops plan for values",
								 ALLOCSET_DEFAULT_SIZES);
	oldcxt = MemoryContextSwitchTo(*cxt);
	stmt = plan_query(node, queryDesc, assumption, backward);
	MemoryContextSwitchTo(oldcxt);
	if (!keep || stmt->transientPlan)
		return stmt;

	stmt = llast_node(PlannedStmt, keep_plan(node, stmt, assumption, plan_settings(backward)));
	MemoryContextDelete(*cxt);
	*cxt = NULL;

	return stmt;
}

/*
 * The plan of a choice for the values of the parameters.  If it is used only once,
 * *cxt is its memory context.
 */
static PlannedStmt *
choose_plan(CustomScan *node, QueryDesc *queryDesc, int eflags, MemoryContext *cxt)
{
	PlannedStmt *legacy = list_nth_node(PlannedStmt, node->custom_private, CHOICE_LEGACY);
	RunopsAssumption assumption = {.params = list_nth(node->custom_private, CHOICE_PARAMS)};
	RunopsStoreSet all = RUNOPS_STORES_NONE;
	bool		backward = (eflags & EXEC_FLAG_BACKWARD) != 0;
	bool		several = false;
	List	   *kept;
	ListCell   *lc;

	/* without values nothing is executed, or the executor will complain */
	if (queryDesc->params == NULL || (eflags & RUNOPS_EXPLAIN_GENERIC) != 0)
		return legacy;

	assumption.stores = palloc_array(RunopsStoreSet, list_length(assumption.params));
	foreach(lc, assumption.params)
	{
		RunopsStoreSet *stores = &assumption.stores[foreach_current_index(lc)];

		if (!value_stores(lfirst_node(Param, lc), queryDesc->params, stores, &several))
			return make_plan(node, queryDesc, NULL, backward, false, cxt);
		all |= *stores;
	}
	if ((all & ~runops_store_bit(RUNOPS_LEGACY_STORE)) == 0)
		return legacy;
	if (several)
		return make_plan(node, queryDesc, NULL, backward, false, cxt);

	kept = find_kept(node, &assumption, plan_settings(backward));
	if (kept != NULL && lock_relations(llast_node(PlannedStmt, kept)))
	{
		count_shapeless(kept);
		return llast_node(PlannedStmt, kept);
	}

	return make_plan(node, queryDesc, &assumption, backward,
					 kept == NULL &&
					 list_length(list_nth(node->custom_private, CHOICE_KEPT)) < MAX_KEPT_PLANS,
					 cxt);
}

/*
 * A choice is about to start: put the plan for the values in its place.
 */
void
runops_choose_plan(QueryDesc *queryDesc, int eflags, RunopsPlanStart *start)
{
	queryDesc->plannedstmt = choose_plan((CustomScan *) queryDesc->plannedstmt->planTree,
										 queryDesc, eflags, &start->cxt);
}

/*
 * A plan with a note is about to start.
 *
 * A parallel worker gets the plan of its leader.  The note is not sent to it
 * completely, so it finds none.
 */
void
runops_plan_start(QueryDesc *queryDesc, RunopsPlanStart *start)
{
	RunopsPlanNote note;

	if (runops_find_plan_note(queryDesc->plannedstmt, &note))
		start->spared = note.spared;

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

	/* A plan that is used once is freed at the end of the execution. */
	if (start->cxt != NULL)
		MemoryContextSetParent(start->cxt, queryDesc->estate->es_query_cxt);
}
