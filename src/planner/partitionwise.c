/*-------------------------------------------------------------------------
 *
 * partitionwise.c
 *	  Makes routed tables that are joined on their keys join store by store.
 *
 * Core joins partition by partition only if the partition keys are compared.
 * For each relation it has a list of expressions that may replace the
 * partition key.  Rows with equal keys are in the same store, so the key
 * itself is added to that list.  (An additional clause "store_of(a.key) =
 * store_of(b.key)" would work as well, but its selectivity would reduce the
 * row estimate.)  An alias is not added, because if it is unclassifiable, only
 * the key decides the store of its row.
 *
 * Core prunes only by the first expression of the list.  The key is added at
 * the end, so it changes nothing else.
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
 * Allow a store-by-store join of a routed table on its key.
 *
 * For a key such as COALESCE(a, b, id), equal non-null values of "a" imply
 * equal keys.  That would be enough for joins.  But a partition-wise aggregate
 * takes the list to mean that each group lies in one partition.
 *
 * This must be called after the leaves are planned and before the joins.
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
