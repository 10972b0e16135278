/*-------------------------------------------------------------------------
 *
 * pairs.c
 *	  Lets routed tables that are joined on their keys be joined store by store.
 *
 * Core joins partition by partition only if the partition keys are compared.
 * "a.run_id = b.id" implies store_of(a.run_id) = store_of(b.id), so that is
 * added beside it.  An alias implies no such thing: the store of a row whose
 * alias is unclassifiable is its key's alone.
 *
 * Done only where enable_partitionwise_join asks for it and nothing is known of
 * either key, for a join of this kind is not pruned at run time.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"

#include "compat.h"
#include "planner.h"

/*
 * The table whose key an expression is, among those of one query, or NULL.
 */
static RunopsOpenTable *
table_of_key(Query *query, List *tables, Node *expr)
{
	Var		   *var = (Var *) runops_strip_relabel(expr);
	ListCell   *lc;

	if (!IsA(var, Var) || var->varlevelsup != 0 || VAR_NULLED_BY_JOIN(var))
		return NULL;

	foreach(lc, tables)
	{
		RunopsOpenTable *table = lfirst(lc);

		if (table->query == query && table->rti == var->varno &&
			table->route->lead_attno == var->varattno)
			return table;
	}

	return NULL;
}

/*
 * The partition key of a table, as an expression of its query.
 */
static Node *
partition_key(RunopsOpenTable *table)
{
	Node	   *expr = copyObject(table->route->partexpr);

	ChangeVarNodes(expr, 1, table->rti, 0);
	return expr;
}

/*
 * Return a qualification with what its equalities between keys imply.
 */
static Node *
pair_quals(Query *query, List *tables, Node *quals)
{
	ListCell   *lc;
	List	   *clauses = quals ? make_ands_implicit((Expr *) quals) : NIL;
	List	   *implied = NIL;

	foreach(lc, clauses)
	{
		OpExpr	   *op = lfirst(lc);
		RunopsOpenTable *left;
		RunopsOpenTable *right;
		Expr	   *clause;
		Oid			collation;

		if (!IsA(op, OpExpr) || !runops_is_id_equality(op->opno, op->inputcollid))
			continue;
		left = table_of_key(query, tables, linitial(op->args));
		right = table_of_key(query, tables, lsecond(op->args));
		if (left == NULL || right == NULL || left == right)
			continue;

		collation = exprCollation(left->route->partexpr);
		if (collation != exprCollation(right->route->partexpr))
			continue;
		clause = make_opclause(TextEqualOperator, BOOLOID, false,
							   (Expr *) partition_key(left),
							   (Expr *) partition_key(right),
							   InvalidOid, collation);
		set_opfuncid((OpExpr *) clause);
		implied = lappend(implied, clause);
	}

	if (implied == NIL)
		return quals;

	return (Node *) make_ands_explicit(list_concat(list_copy(clauses), implied));
}

/*
 * Walk a join tree.
 */
static void
pair_jointree(Query *query, List *tables, Node *jtnode)
{
	ListCell   *lc;

	if (jtnode == NULL)
		return;

	if (IsA(jtnode, FromExpr))
	{
		FromExpr   *from = (FromExpr *) jtnode;

		from->quals = pair_quals(query, tables, from->quals);
		foreach(lc, from->fromlist)
			pair_jointree(query, tables, lfirst(lc));
	}
	else if (IsA(jtnode, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) jtnode;

		join->quals = pair_quals(query, tables, join->quals);
		pair_jointree(query, tables, join->larg);
		pair_jointree(query, tables, join->rarg);
	}
}

/*
 * Add the implied equalities to the queries of some routed tables.
 *
 * The tables of one query follow one another in the list or are apart; either
 * way each query is done once.
 */
void
runops_pair_tables(List *tables)
{
	List	   *done = NIL;
	ListCell   *lc;

	if (list_length(tables) < 2)
		return;

	foreach(lc, tables)
	{
		Query	   *query = ((RunopsOpenTable *) lfirst(lc))->query;

		if (list_member_ptr(done, query))
			continue;
		done = lappend(done, query);
		pair_jointree(query, tables, (Node *) query->jointree);
	}
}
