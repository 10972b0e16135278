/*-------------------------------------------------------------------------
 *
 * planner.h
 *	  Makes plans that use only the stores that the ids of a statement name.
 *
 * The planner replaces a routed table by its only leaf, or gives core the
 * clauses for pruning.  Queries return the same rows without it.  It reads the
 * catalogs and the flag, but never the gate's verdict, and it connects to no
 * store.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_PLANNER_H
#define RUNOPS_PLANNER_H

#include "executor/execdesc.h"
#include "nodes/execnodes.h"
#include "nodes/extensible.h"
#include "nodes/pathnodes.h"
#include "optimizer/planner.h"

#include "base/compat.h"
#include "base/runops.h"

/* A routed table of a query, and the leaf that can stand for it. */
typedef struct RunopsReplacement
{
	Query	   *query;
	Index		rti;
	const RunopsRoute *route;
	const RunopsLeaf *leaf;
	bool		pinned;			/* named by a clause to be removed; see
								 * pinned_store.c */
	bool		upsert;			/* has it ON CONFLICT with a target? */
} RunopsReplacement;

/*
 * A statement whose routed tables all need the same store, which is not legacy; or
 * an upsert whose rows belong to several stores, or to stores that are not known.
 */
typedef struct RunopsWholeStatement
{
	Query	   *query;
	List	   *tables;			/* of RunopsReplacement: all its routed tables */
	const RunopsRoute *spread;	/* the table of such an upsert, or NULL */
	int			cursorOptions;
	ParamListInfo params;
	const char *query_string;
	const char *obstacle;		/* out: why it is not sent as a whole */
} RunopsWholeStatement;

/*
 * Makes the plan of a statement that is sent as a whole, or of an upsert whose rows
 * go store by store.  Returns NULL, with the obstacle, if that is not possible.
 */
typedef PlannedStmt *(*RunopsShipFunction) (RunopsWholeStatement *statement);

/*
 * The state between the start of a plan and its execution; see any_id.c.
 */
typedef struct RunopsPlanStart
{
	MemoryContext cxt;			/* of a plan that is used once, or NULL */
	List	   *spared;			/* for skip_checks.c */
} RunopsPlanStart;

extern const CustomScanMethods runops_choice_methods;

/*
 * More than the cost of any plan for known values; core uses the same number.
 */
#define RUNOPS_AVOID_COST	1.0e10

/* The name of the node of a statement that is sent as a whole. */
#define RUNOPS_STATEMENT_NAME "Runops Statement"

/*
 * Is a plan a choice of plans, as any_id.c makes it?
 */
static inline bool
runops_is_choice(const PlannedStmt *stmt)
{
	return IsA(stmt->planTree, CustomScan) &&
		((const CustomScan *) stmt->planTree)->methods == &runops_choice_methods;
}

/*
 * Does a plan have a note, as plan_note.c makes it?  Most have none, and must not
 * pay for the others.
 */
static inline bool
runops_has_plan_note(const PlannedStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->rtable)
	{
		const RangeTblEntry *rte = lfirst(lc);

		/* core empties the list of every VALUES entry of the query itself */
		if (rte->rtekind == RTE_VALUES && rte->values_lists != NIL)
			return true;
	}

	return false;
}

/* in any_id.c; runops_choice_methods is above */
extern void runops_any_id_init(void);
extern PlannedStmt *runops_plan_part(Query *query, const char *query_string, int cursorOptions,
									 ParamListInfo params);
extern void runops_choose_plan(QueryDesc *queryDesc, int eflags, RunopsPlanStart *start);
extern void runops_plan_start(QueryDesc *queryDesc, RunopsPlanStart *start);
extern void runops_plan_started(QueryDesc *queryDesc, int eflags,
								const RunopsPlanStart *start);

/* in missing_leaf.c */
extern List *runops_routed_names(PlannedStmt *stmt);
extern List *runops_routed_names_of(Oid relid);
extern void runops_rethrow_missing_leaf(MemoryContext cxt, List *names, bool moves);

/* in only.c */
extern void runops_refuse_only(PlannerInfo *root, RelOptInfo *rel);

/* in permissions.c */
extern void runops_reveal_user(EState *estate, ResultRelInfo *rri);

/* in plan_note.c */
extern const char *runops_plan_obstacle(PlannedStmt *stmt);

/* in plancache.c */
extern void runops_restore_cost(QueryDesc *queryDesc);

/* in planner.c */
extern PlannedStmt *runops_plan(Query *parse, const char *query_string,
								int cursorOptions,
								ParamListInfo boundParams EXPLAIN_STATE_PARAMETER,
								planner_hook_type next, RunopsShipFunction ship);

/* in prune.c */
extern void runops_exclude_leaf(PlannerInfo *root, RelOptInfo *rel);
extern void runops_add_pruning_clauses(PlannerInfo *root, RelOptInfo *rel,
									   Index rti, RangeTblEntry *rte);

#endif							/* RUNOPS_PLANNER_H */
