/*-------------------------------------------------------------------------
 *
 * pinned_store.c
 *	  WHERE store_of(key) = 'name': a query that names a table's store itself.
 *
 * Core prunes by it already, since it is the partition key.  But the clause
 * stays on the leaf, where it is always true, and no store can evaluate it, so
 * that nothing above it is sent there, no LIMIT and no aggregate.  With the leaf
 * in the table's place the clause is taken out.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"

#include "planner/planner_int.h"

/*
 * Is the clause store_of(key) = constant, of one entry of its query?  Sets the
 * store.
 */
static bool
is_pin(Node *clause, Index rti, const RunopsRoute *route, RunopsStoreSet *store)
{
	OpExpr	   *op = (OpExpr *) clause;
	FuncExpr   *func;
	Const	   *value;
	Node	   *key;
	char	   *name;

	if (!IsA(clause, OpExpr) || !runops_is_id_equality(op->opno, op->inputcollid))
		return false;
	func = (FuncExpr *) runops_strip_relabel(linitial(op->args));
	value = (Const *) runops_strip_relabel(lsecond(op->args));
	if (!IsA(func, FuncExpr) || func->funcid != runops_store_of_oid() ||
		!IsA(value, Const) || value->constisnull)
		return false;

	/* The key in the relation cache was simplified. */
	key = copyObject(route->key);
	ChangeVarNodes(key, 1, rti, 0);
	if (!equal(linitial(func->args), key) &&
		!equal(runops_fold(linitial(func->args), NULL), key))
		return false;

	name = TextDatumGetCString(value->constvalue);
	for (int i = 0; i < route->nleaves; i++)
	{
		if (strcmp(route->leaves[i].store, name) == 0)
		{
			*store = runops_store_bit(name);
			return true;
		}
	}

	return false;
}

/*
 * Does WHERE of a query name the store of a routed table that it reads?
 *
 * Only a table that no outer join can extend with NULLs counts: the clause
 * could not be taken out otherwise.
 */
bool
runops_is_pinned(Query *query, Index rti, const RunopsRoute *route,
				 RunopsStoreSet *store)
{
	ListCell   *lc;
	bool		inner = false;

	if (query->jointree == NULL || query->jointree->quals == NULL)
		return false;
	foreach(lc, query->jointree->fromlist)
	{
		Node	   *item = lfirst(lc);

		if (IsA(item, RangeTblRef) && ((RangeTblRef *) item)->rtindex == rti)
			inner = true;
	}
	if (!inner)
		return false;

	foreach(lc, make_ands_implicit((Expr *) query->jointree->quals))
	{
		if (is_pin(lfirst(lc), rti, route, store))
			return true;
	}

	return false;
}

/*
 * Take the clauses out by which the store of this leaf was named.
 *
 * The table's entry is about to become the leaf's, of all of whose rows they
 * are true.  One that names another store stays.
 */
void
runops_drop_pins(Query *query, Index rti, const RunopsRoute *route,
				 const RunopsLeaf *leaf)
{
	List	   *kept = NIL;
	ListCell   *lc;
	RunopsStoreSet store;

	foreach(lc, make_ands_implicit((Expr *) query->jointree->quals))
	{
		if (!is_pin(lfirst(lc), rti, route, &store) ||
			store != runops_store_bit(leaf->store))
			kept = lappend(kept, lfirst(lc));
	}
	query->jointree->quals = kept == NIL ? NULL :
		(Node *) make_ands_explicit(kept);
}
