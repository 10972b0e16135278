/*-------------------------------------------------------------------------
 *
 * security_levels.c
 *	  Keeps conditions and orderings that must not be sent to a store: those
 *	  that may leak rows, and those that have another result there.
 *
 * Core gives each condition a security level: the policies of a table and the
 * conditions of security-barrier views have lower levels than the conditions
 * of the query.  Each scan evaluates lower levels first; a condition of a
 * higher level may be evaluated earlier only if it is leakproof.  A store
 * evaluates conditions in its own order, and does not know the policies that
 * are not sent.  So a condition is sent only if it may be evaluated at any
 * time: it is leakproof, or no condition on the same table has a lower level.
 * The other conditions are evaluated here, in core's order.
 *
 * A condition or an ordering that depends on a collation is kept here as well,
 * unless the store is known to have the same collation; see collation.c.
 *
 * postgres_fdw ignores security levels, because foreign tables have no
 * policies.  But a leaf inherits the policies of its routed table.  If a
 * condition on a table is evaluated here, postgres_fdw sends no join,
 * grouping, limit, or direct UPDATE or DELETE of that table.  So it is enough
 * to make postgres_fdw keep the condition.  Only an ordering is sent even
 * then.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/restrictinfo.h"
#include "utils/fmgroids.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"
#include "gate/gate.h"

/* The original fields of a hidden condition. */
typedef struct HiddenCondition
{
	RestrictInfo *rinfo;
	RestrictInfo saved;
} HiddenCondition;

/*
 * Make postgres_fdw treat a condition as one that cannot be sent.
 *
 * It never sends a volatile function, so the condition becomes the argument of
 * one; that way its columns are still found.  The estimates are made and
 * cached in the RestrictInfo before, so they are those of the condition
 * itself.
 */
static void
hide_condition(PlannerInfo *root, HiddenCondition *hidden, RestrictInfo *rinfo)
{
	QualCost	cost;

	hidden->rinfo = rinfo;
	hidden->saved = *rinfo;
	(void) clause_selectivity(root, (Node *) rinfo, 0, JOIN_INNER, NULL);
	cost_qual_eval_node(&cost, (Node *) rinfo, root);
	rinfo->clause = (Expr *) makeFuncExpr(F_RANDOM_, BOOLOID,
										  list_make1(rinfo->clause),
										  InvalidOid, InvalidOid,
										  COERCE_EXPLICIT_CALL);
}

/*
 * May a condition on a leaf be sent to its store?
 */
static bool
may_send(PlannerInfo *root, const RunopsCollations *known, RelOptInfo *baserel,
		 Oid leaf_relid, RestrictInfo *rinfo)
{
	return restriction_is_securely_promotable(rinfo, baserel) &&
		!runops_fdw_differs(known, (Node *) rinfo->clause) &&
		!runops_fdw_must_fix(root, baserel, leaf_relid, rinfo);
}

/*
 * Let postgres_fdw estimate the size of a leaf and sort its conditions into
 * those that it will send and those that it will not.
 *
 * It keeps pointers to the RestrictInfos, and their contents are restored
 * afterwards.  After an error no cleanup is needed, because the error ends the
 * planning.
 */
void
runops_fdw_estimate_size(PlannerInfo *root, RelOptInfo *baserel,
						 Oid foreigntableid)
{
	HiddenCondition *hidden = NULL;
	int			nhidden = 0;
	RunopsCollations known;
	ListCell   *lc;

	if (baserel->baserestrictinfo != NIL)
		runops_sentinel_collations(baserel->serverid, &known);

	foreach(lc, baserel->baserestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);

		if (may_send(root, &known, baserel, foreigntableid, rinfo))
			continue;
		if (hidden == NULL)
			hidden = palloc(sizeof(HiddenCondition) *
							list_length(baserel->baserestrictinfo));
		hide_condition(root, &hidden[nhidden++], rinfo);
	}

	pgfdw.GetForeignRelSize(root, baserel, foreigntableid);

	for (int i = 0; i < nhidden; i++)
		*hidden[i].rinfo = hidden[i].saved;
}

/*
 * Let postgres_fdw make the plan of a scan without the conditions that must
 * not be sent, and add these where core evaluates them.
 *
 * The conditions include join conditions of a parameterized path, which
 * postgres_fdw has not examined yet.  scan_clauses are in the order of
 * evaluation.
 */
ForeignScan *
runops_fdw_make_plan(PlannerInfo *root, RelOptInfo *foreignrel,
					 Oid foreigntableid, ForeignPath *best_path, List *tlist,
					 List *scan_clauses, Plan *outer_plan)
{
	ForeignScan *plan;
	List	   *sendable = NIL;
	List	   *quals = NIL;
	RunopsCollations known;
	ListCell   *lc;

	if (scan_clauses != NIL)
		runops_sentinel_collations(foreignrel->serverid, &known);

	/* a join or a grouping has no scan_clauses */
	foreach(lc, scan_clauses)
	{
		if (may_send(root, &known, foreignrel, foreigntableid, lfirst_node(RestrictInfo, lc)))
			sendable = lappend(sendable, lfirst(lc));
	}

	plan = pgfdw.GetForeignPlan(root, foreignrel, foreigntableid, best_path,
								tlist, sendable, outer_plan);
	if (list_length(sendable) == list_length(scan_clauses))
		return plan;

	foreach(lc, scan_clauses)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);

		/* a Result above the scan evaluates it */
		if (rinfo->pseudoconstant)
			continue;
		if (!list_member_ptr(sendable, rinfo) ||
			list_member_ptr(plan->scan.plan.qual, rinfo->clause))
			quals = lappend(quals, rinfo->clause);
	}
	plan->scan.plan.qual = quals;

	return plan;
}

/*
 * May the conditions of a join be sent together with the conditions of its
 * tables?
 */
bool
runops_fdw_may_send_join(PlannerInfo *root, Oid serverid, List *restrictlist)
{
	RunopsCollations known;
	ListCell   *lc;

	if (restrictlist != NIL)
		runops_sentinel_collations(serverid, &known);

	foreach(lc, restrictlist)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);
		int			rti = -1;

		if (runops_fdw_differs(&known, (Node *) rinfo->clause))
			return false;

		while ((rti = bms_next_member(rinfo->clause_relids, rti)) >= 0)
		{
			RelOptInfo *rel = root->simple_rel_array[rti];

			/* the index of an outer join has no relation */
			if (rel != NULL && !restriction_is_securely_promotable(rinfo, rel))
				return false;
		}
	}

	return true;
}

/*
 * May a store sort the rows of a leaf or a join, and so compute the sort
 * expressions?
 *
 * Its order must be the one here.  If a policy is evaluated here, the store would compute them also for rows
 * that the policy hides.  It is not known yet where the policy is evaluated.
 */
static bool
may_send_sort(PlannerInfo *root, RelOptInfo *baserel, List *pathkeys)
{
	RunopsCollations known;
	ListCell   *lc;
	ListCell   *lc2;

	if (pathkeys == NIL)
		return true;
	runops_sentinel_collations(baserel->serverid, &known);
	if (runops_fdw_sort_differs(&known, baserel, pathkeys))
		return false;
	/* no join is sent if a policy on one of its tables is evaluated here */
	if (!IS_SIMPLE_REL(baserel) ||
		baserel->baserestrict_min_security >= root->qual_security_level)
		return true;

	foreach(lc, pathkeys)
	{
		foreach(lc2, ((PathKey *) lfirst(lc))->pk_eclass->ec_members)
		{
			EquivalenceMember *em = (EquivalenceMember *) lfirst(lc2);

			/* an expression over the leaf is an expression over its table */
			if ((bms_is_subset(em->em_relids, baserel->relids) ||
				 bms_is_subset(em->em_relids, baserel->top_parent_relids)) &&
				contain_leaked_vars((Node *) em->em_expr))
				return false;
		}
	}

	return true;
}

/*
 * Take the order from sorted paths of postgres_fdw whose order must not be
 * sent.  The plan is made from the path, so it becomes an unsorted one.
 */
static void
unsort_paths(PlannerInfo *root, RelOptInfo *rel)
{
	ListCell   *lc;

	foreach(lc, rel->pathlist)
	{
		Path	   *path = (Path *) lfirst(lc);

		if (IsA(path, ForeignPath) && path->pathkeys != NIL &&
			!may_send_sort(root, rel, path->pathkeys))
			path->pathkeys = NIL;
	}
}

/*
 * Let postgres_fdw offer its paths for a leaf, without orderings that must not
 * be sent.
 *
 * The order of the query is hidden from postgres_fdw, which would otherwise
 * also send it together with a LIMIT.
 */
void
runops_fdw_offer_paths(PlannerInfo *root, RelOptInfo *baserel,
					   Oid foreigntableid)
{
	List	   *query_pathkeys = root->query_pathkeys;

	if (!may_send_sort(root, baserel, query_pathkeys))
		root->query_pathkeys = NIL;
	pgfdw.GetForeignPaths(root, baserel, foreigntableid);
	root->query_pathkeys = query_pathkeys;
	unsort_paths(root, baserel);
}

/*
 * The same for a join.
 */
void
runops_fdw_offer_join_paths(PlannerInfo *root, RelOptInfo *joinrel,
							RelOptInfo *outerrel, RelOptInfo *innerrel,
							JoinType jointype, JoinPathExtraData *extra)
{
	List	   *query_pathkeys = root->query_pathkeys;

	if (!may_send_sort(root, joinrel, query_pathkeys))
		root->query_pathkeys = NIL;
	pgfdw.GetForeignJoinPaths(root, joinrel, outerrel, innerrel, jointype, extra);
	root->query_pathkeys = query_pathkeys;
	unsort_paths(root, joinrel);
}
