/*-------------------------------------------------------------------------
 *
 * partitionwise.c
 *	  Lets routed tables that are joined on their keys be joined store by store.
 *
 * Core joins partition by partition only if the partition keys are compared,
 * and knows for each relation a list of expressions that stand for its
 * partition key.  Rows of equal keys are in the same store, so the key itself
 * is one of them.  (A clause "store_of(a.key) = store_of(b.key)" beside the
 * user's would do as well, but it would be counted as one more condition that
 * few pairs of rows meet.)  An alias is none of them: the store of a row whose
 * alias is unclassifiable is its key's alone.
 *
 * Core prunes by the first expression of the list only, so that this one, which
 * comes last, changes nothing else.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "utils/lsyscache.h"

#include "planner/planner_int.h"

/*
 * Let a routed table be joined store by store on its key.
 *
 * Of a key such as COALESCE(a, b, id), equal values of "a" imply equal keys,
 * where they are not NULL.  That will do for joins, but a partition-wise
 * aggregate takes the list to say that a group lies in one partition.
 *
 * To be called when the leaves are planned, and joins are not.
 */
void
runops_pair_by_key(RelOptInfo *rel, const RunopsRoute *route)
{
	Oid			typid;
	int32		typmod;
	Oid			collid;
	Var		   *var;

	if (!enable_partitionwise_join || rel->partexprs == NULL ||
		route->lead_attno == 0)
		return;
	if (enable_partitionwise_aggregate &&
		!IsA(runops_strip_relabel(route->key), Var))
		return;

	get_atttypetypmodcoll(route->relid, route->lead_attno,
						  &typid, &typmod, &collid);
	var = makeVar(rel->relid, route->lead_attno, typid, typmod, collid, 0);
	rel->partexprs[0] = lappend(rel->partexprs[0], var);
}
