/*-------------------------------------------------------------------------
 *
 * pinned_store.c
 *	  Handles WHERE store_of(key) = 'name', by which a query names a store
 *	  itself.
 *
 * Core already prunes by this clause, because store_of(key) is the partition
 * key.  But the clause stays on the leaf, where it is always true.  No store
 * can evaluate it, so it keeps LIMIT and aggregates from being pushed down.
 * When the leaf replaces the table, the clause is removed.
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
 * Is the clause store_of(key) = constant, for one entry of its query?  Sets
 * the store.
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

	/* The key in the relcache is simplified, so simplify the clause too. */
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
 * The table must not be on the nullable side of an outer join, because then
 * the clause could not be removed.
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
 * Remove the clauses that name the store of this leaf.
 *
 * The leaf is about to replace the table, and the clauses are true for all of
 * its rows.  A clause that names another store stays.
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
