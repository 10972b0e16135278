/*-------------------------------------------------------------------------
 *
 * resolve.c
 *	  Decides from the clauses of a query which stores a routed table needs.
 *
 * The decision has no side effects: from clauses and bound values it computes
 * a set of stores and a reason.  It reads only equality clauses, and only the
 * btree equality of text under a deterministic collation, where equal means
 * the same bytes; varchar and domains use the same operator.  A clause of any
 * other kind gives no fact, and without facts every store is needed.
 *
 * An unclassifiable value gives no fact either, because a row must never
 * become invisible because of an unusual id.  Equality with NULL is never
 * true, so it needs no store at all.
 *
 * Facts are kept in a list, together with equalities between columns, because
 * the place in the join tree decides which facts hold; see planner.c.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_operator.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "planner/planner_int.h"

/*
 * The operator text <> text, the negator of TextEqualOperator; it has no
 * macro.
 */
#define TEXT_NOT_EQUAL_OPERATOR 531

/*
 * Does the operator compare two texts byte by byte?
 */
bool
runops_is_id_equality(Oid opno, Oid inputcollid)
{
	return opno == TextEqualOperator && OidIsValid(inputcollid) &&
		get_collation_isdeterministic(inputcollid);
}

/*
 * Is the clause NOT (a <> b)?
 *
 * The planner changes it to a = b, but only after planner_hook.
 */
bool
runops_is_negated_equality(Node *clause)
{
	BoolExpr   *expr = (BoolExpr *) clause;
	OpExpr	   *op;

	if (!IsA(clause, BoolExpr) || expr->boolop != NOT_EXPR)
		return false;
	op = (OpExpr *) linitial(expr->args);

	return IsA(op, OpExpr) && op->opno == TEXT_NOT_EQUAL_OPERATOR &&
		runops_is_id_equality(TextEqualOperator, op->inputcollid);
}

/*
 * Is an expression a column of a query that encloses the scope?  Sets the
 * column.
 */
static bool
column_of(Node *expr, RunopsScope *scope, RunopsColumn *column)
{
	Var		   *var = (Var *) runops_strip_relabel(expr);

	if (!IsA(var, Var) || var->varattno <= 0 ||
		var->varlevelsup >= scope->depth)
		return false;

	column->depth = scope->depth - var->varlevelsup;
	column->varno = var->varno;
	column->attno = var->varattno;
	return true;
}

/*
 * Are both the same column of the same query level?
 */
static inline bool
same_column(RunopsColumn a, RunopsColumn b)
{
	return a.varno == b.varno && a.attno == b.attno && a.depth == b.depth;
}

/*
 * Add the fact that a column's value belongs to one of some stores.
 */
static List *
add_value_fact(List *facts, RunopsColumn column, RunopsStoreSet stores,
			   List *assumed)
{
	RunopsFact *fact = palloc0(sizeof(RunopsFact));

	fact->column = column;
	fact->stores = stores;
	fact->assumed = assumed;
	return lappend(facts, fact);
}

/*
 * Collect the facts of "left = right".
 */
static List *
collect_equality(Node *left, Node *right, RunopsScope *scope, List *facts)
{
	RunopsColumn column;
	RunopsColumn other;
	RunopsStoreSet stores;
	List	   *assumed = NIL;

	if (!column_of(left, scope, &column))
	{
		Node	   *swap = left;

		left = right;
		right = swap;
		if (!column_of(left, scope, &column))
			return facts;
	}

	if (column_of(right, scope, &other))
	{
		RunopsFact *fact = palloc0(sizeof(RunopsFact));

		fact->column = column;
		fact->other = other;
		fact->stores = RUNOPS_STORES_ALL;
		return lappend(facts, fact);
	}

	/* Keep the fact even if it has all stores, because it gives the reason. */
	if (!runops_value_stores(right, scope, &stores, &assumed))
		stores = RUNOPS_STORES_ALL;
	return add_value_fact(facts, column, stores, assumed);
}

/*
 * Collect the facts of a clause inside NOT: "a IS DISTINCT FROM value" is then
 * an equality, if the value is known not to be NULL.
 */
static List *
collect_not_distinct(Node *clause, RunopsScope *scope, List *facts)
{
	DistinctExpr *distinct = (DistinctExpr *) clause;
	Node	   *left;
	Node	   *right;
	Datum		value;
	bool		isnull;

	if (!IsA(clause, DistinctExpr) ||
		!runops_is_id_equality(distinct->opno, distinct->inputcollid))
		return facts;
	left = linitial(distinct->args);
	right = lsecond(distinct->args);

	if ((runops_known_value(left, scope, &value, &isnull) && !isnull) ||
		(runops_known_value(right, scope, &value, &isnull) && !isnull))
		return collect_equality(left, right, scope, facts);

	return facts;
}

/*
 * Collect the facts of an OR: a column's value belongs to the union of the
 * stores that the arms give for it, if each arm gives some.
 */
static List *
collect_or(List *arms, RunopsScope *scope, List *facts)
{
	List	  **arm_facts = palloc0(sizeof(List *) * list_length(arms));
	int			narms = 0;
	ListCell   *lc;

	foreach(lc, arms)
	{
		Node	   *arm = lfirst(lc);

		/* An arm that is never true adds no store. */
		if (IsA(arm, Const) &&
			(((Const *) arm)->constisnull ||
			 !DatumGetBool(((Const *) arm)->constvalue)))
			continue;

		arm_facts[narms] = runops_collect_facts(arm, scope, NIL);
		if (arm_facts[narms] == NIL)
			return facts;
		narms++;
	}

	if (narms == 0)
		return facts;

	foreach(lc, arm_facts[0])
	{
		RunopsFact *fact = lfirst(lc);
		RunopsColumn column = fact->column;
		RunopsStoreSet stores = RUNOPS_STORES_NONE;
		List	   *assumed = NIL;

		/*
		 * An equality of columns is followed from the other column, if that
		 * has a value.
		 */
		if (fact->other.varno != 0)
			continue;

		for (int i = 0; i < narms && stores != RUNOPS_STORES_ALL; i++)
			stores |= runops_column_stores(arm_facts[i], column, &assumed);
		facts = add_value_fact(facts, column, stores, assumed);
	}

	return facts;
}

/*
 * Simplify an expression as the planner will do, with the bound values.
 *
 * eval_const_expressions() takes the values from a PlannerInfo.  It uses no
 * other field of it, except to record inlined functions, which the planner
 * will do again.
 */
Node *
runops_fold(Node *expr, ParamListInfo params)
{
	PlannerInfo *root = makeNode(PlannerInfo);

	root->glob = makeNode(PlannerGlobal);
	root->glob->boundParams = params;

	return eval_const_expressions(root, copyObject(expr));
}

/*
 * Add to a list the facts of a clause that must be true for every relevant
 * row.
 */
List *
runops_collect_facts(Node *clause, RunopsScope *scope, List *facts)
{
	ListCell   *lc;

	if (clause == NULL)
		return facts;

	check_stack_depth();

	switch (nodeTag(clause))
	{
		case T_List:
			foreach(lc, (List *) clause)
				facts = runops_collect_facts(lfirst(lc), scope, facts);
			return facts;

		case T_RestrictInfo:
			return runops_collect_facts((Node *) ((RestrictInfo *) clause)->clause,
										scope, facts);

		case T_BoolExpr:
			{
				BoolExpr   *expr = (BoolExpr *) clause;

				if (expr->boolop == AND_EXPR)
					return runops_collect_facts((Node *) expr->args, scope, facts);
				if (expr->boolop == OR_EXPR)
					return collect_or(expr->args, scope, facts);
				if (runops_is_negated_equality(clause))
				{
					OpExpr	   *op = linitial(expr->args);

					return collect_equality(linitial(op->args), lsecond(op->args),
											scope, facts);
				}
				return collect_not_distinct(linitial(expr->args), scope, facts);
			}

		case T_BooleanTest:
			if (((BooleanTest *) clause)->booltesttype != IS_TRUE)
				return facts;
			return runops_collect_facts((Node *) ((BooleanTest *) clause)->arg,
										scope, facts);

		case T_OpExpr:
			{
				OpExpr	   *op = (OpExpr *) clause;

				if (!runops_is_id_equality(op->opno, op->inputcollid))
					return facts;
				return collect_equality(linitial(op->args), lsecond(op->args),
										scope, facts);
			}

		case T_ScalarArrayOpExpr:
			{
				ScalarArrayOpExpr *op = (ScalarArrayOpExpr *) clause;
				RunopsColumn column;
				RunopsStoreSet stores;
				List	   *assumed = NIL;

				if (!op->useOr ||
					!runops_is_id_equality(op->opno, op->inputcollid) ||
					!column_of(linitial(op->args), scope, &column))
					return facts;
				if (!runops_array_value_stores(lsecond(op->args), scope, &stores,
											   &assumed))
					stores = RUNOPS_STORES_ALL;
				return add_value_fact(facts, column, stores, assumed);
			}

		default:
			return facts;
	}
}

/*
 * The stores that facts give for a column, including facts about columns that
 * are equal to it.
 *
 * seen is set to true if any fact gave it a value, even an unknown one.  The
 * parameters that the result assumes are added to *assumed.
 */
static RunopsStoreSet
follow_column(List *facts, RunopsColumn column, bool *seen, List **assumed)
{
	RunopsColumn *reached;
	int			nreached = 1;
	RunopsStoreSet stores = RUNOPS_STORES_ALL;

	*seen = false;
	if (facts == NIL)
		return stores;

	reached = palloc(sizeof(RunopsColumn) * (list_length(facts) + 1));
	reached[0] = column;

	for (int i = 0; i < nreached; i++)
	{
		ListCell   *lc;

		foreach(lc, facts)
		{
			RunopsFact *fact = lfirst(lc);
			RunopsColumn next;
			bool		known = false;

			if (fact->other.varno == 0)
			{
				if (same_column(fact->column, reached[i]))
				{
					stores &= fact->stores;
					*assumed = list_union(*assumed, fact->assumed);
					*seen = true;
				}
				continue;
			}

			if (same_column(fact->column, reached[i]))
				next = fact->other;
			else if (same_column(fact->other, reached[i]))
				next = fact->column;
			else
				continue;

			for (int j = 0; j < nreached && !known; j++)
				known = same_column(next, reached[j]);
			if (!known && nreached <= list_length(facts))
				reached[nreached++] = next;
		}
	}
	pfree(reached);

	return stores;
}

/*
 * The stores that a column's value may belong to; the parameters that this
 * assumes are added to *assumed.
 */
RunopsStoreSet
runops_column_stores(List *facts, RunopsColumn column, List **assumed)
{
	bool		seen;

	return follow_column(facts, column, &seen, assumed);
}

/*
 * Decide which stores a routed table needs at a place where the facts hold.
 */
RunopsDecision
runops_resolve(const RunopsRoute *route, List *facts, Index depth, Index varno)
{
	RunopsDecision decision = {RUNOPS_STORES_ALL, RUNOPS_REASON_NO_PREDICATE, NIL};
	RunopsColumn column = {.depth = depth, .varno = varno};
	bool		seen_any = false;
	bool		seen;
	int			member = -1;

	if (facts == NIL)
		return decision;

	if (route->lead_attno > 0)
	{
		column.attno = route->lead_attno;
		decision.stores &= follow_column(facts, column, &seen, &decision.assumed);
		seen_any |= seen;
	}
	while ((member = bms_next_member(route->alias_attnos, member)) >= 0)
	{
		column.attno = member + FirstLowInvalidHeapAttributeNumber;
		decision.stores &= follow_column(facts, column, &seen, &decision.assumed);
		seen_any |= seen;
	}

	if (decision.stores == RUNOPS_STORES_NONE)
		decision.reason = RUNOPS_REASON_CONTRADICTION;
	else if (decision.stores != RUNOPS_STORES_ALL)
		decision.reason = RUNOPS_REASON_KNOWN;
	else if (seen_any)
		decision.reason = RUNOPS_REASON_UNKNOWN;

	return decision;
}

/*
 * The stores that may hold the rows of a table for which a clause is true.
 *
 * This finds more than facts do, because the arms of an OR may have different
 * columns.
 */
RunopsStoreSet
runops_clause_stores(const RunopsRoute *route, Node *clause, Index varno)
{
	RunopsScope scope = {.depth = 1};
	BoolExpr   *expr = (BoolExpr *) clause;
	RunopsStoreSet stores;
	ListCell   *lc;

	check_stack_depth();

	if (!IsA(clause, BoolExpr) || expr->boolop == NOT_EXPR)
		return runops_resolve(route, runops_collect_facts(clause, &scope, NIL),
							  1, varno).stores;

	stores = expr->boolop == OR_EXPR ? RUNOPS_STORES_NONE : RUNOPS_STORES_ALL;
	foreach(lc, expr->args)
	{
		RunopsStoreSet arm = runops_clause_stores(route, lfirst(lc), varno);

		if (expr->boolop == OR_EXPR)
			stores |= arm;
		else
			stores &= arm;
	}

	return stores;
}
