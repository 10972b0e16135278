/*-------------------------------------------------------------------------
 *
 * facts.c
 *	  Collects the facts that hold for the output rows of the parts of a query.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "planner/planner_int.h"

/*
 * Add the facts of a WHERE or ON clause to a list.
 *
 * Constant folding comes after this hook.  If folding could make a value
 * known, fold the whole clause, as the planner will do.  Folding it part by
 * part would raise errors that "false AND ..." prevents.
 */
List *
runops_facts_of_quals(const RunopsValues *values, Node *quals, Index depth, List *facts)
{
	RunopsScope scope = {.depth = depth, .values = *values};
	List	   *result;

	if (quals == NULL)
		return facts;

	result = runops_collect_facts(quals, &scope, list_copy(facts));
	if (scope.unfolded)
	{
		quals = runops_fold(quals, values->params);
		result = runops_collect_facts(quals, &scope, list_copy(facts));
	}

	return result;
}

/*
 * The query of a range-table entry that is a subquery or a CTE of this level.
 */
static Query *
query_of_entry(Query *query, RangeTblEntry *rte)
{
	ListCell   *lc;

	if (rte->rtekind == RTE_SUBQUERY)
		return rte->subquery;
	if (rte->rtekind != RTE_CTE || rte->ctelevelsup != 0 || rte->self_reference)
		return NULL;

	foreach(lc, query->cteList)
	{
		CommonTableExpr *cte = lfirst(lc);

		if (strcmp(cte->ctename, rte->ctename) == 0)
			return cte->cterecursive ? NULL : (Query *) cte->ctequery;
	}

	return NULL;
}

/*
 * Add to a list the facts about the output columns of a subquery or a CTE.
 */
static List *
collect_subquery(const RunopsValues *values, Query *query, Index depth, Index rti,
				 List *facts)
{
	Query	   *subquery = query_of_entry(query, rt_fetch(rti, query->rtable));
	List	   *inner;
	ListCell   *lc;

	if (subquery == NULL || subquery->commandType != CMD_SELECT ||
		subquery->setOperations != NULL)
		return facts;
	inner = runops_facts_of_output(values, subquery, (Node *) subquery->jointree,
								   depth + 1, NIL);
	if (inner == NIL)
		return facts;

	foreach(lc, subquery->targetList)
	{
		TargetEntry *tle = lfirst(lc);
		Var		   *var = (Var *) runops_strip_relabel((Node *) tle->expr);
		RunopsColumn column = {.depth = depth + 1};
		RunopsFact *fact;

		if (tle->resjunk || !IsA(var, Var) || var->varlevelsup != 0 ||
			var->varattno <= 0)
			continue;
		column.varno = var->varno;
		column.attno = var->varattno;

		fact = palloc0(sizeof(RunopsFact));
		fact->column.depth = depth;
		fact->column.varno = rti;
		fact->column.attno = tle->resno;
		fact->stores = runops_column_stores(inner, column, &fact->assumed);
		if (fact->stores != RUNOPS_STORES_ALL)
			facts = lappend(list_copy(facts), fact);
	}

	return facts;
}

/*
 * Add to a list the facts that hold for every output row of a join tree node.
 */
List *
runops_facts_of_output(const RunopsValues *values, Query *query, Node *jtnode,
					   Index depth, List *facts)
{
	ListCell   *lc;

	if (jtnode == NULL)
		return facts;

	check_stack_depth();

	if (IsA(jtnode, RangeTblRef))
		facts = collect_subquery(values, query, depth,
								 ((RangeTblRef *) jtnode)->rtindex, facts);
	else if (IsA(jtnode, FromExpr))
	{
		FromExpr   *from = (FromExpr *) jtnode;

		facts = runops_facts_of_quals(values, from->quals, depth, facts);
		foreach(lc, from->fromlist)
			facts = runops_facts_of_output(values, query, lfirst(lc), depth, facts);
	}
	else if (IsA(jtnode, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) jtnode;

		if (join->jointype == JOIN_INNER)
			facts = runops_facts_of_quals(values, join->quals, depth, facts);
		if (join->jointype == JOIN_INNER || join->jointype == JOIN_LEFT)
			facts = runops_facts_of_output(values, query, join->larg, depth, facts);
		if (join->jointype == JOIN_INNER || join->jointype == JOIN_RIGHT)
			facts = runops_facts_of_output(values, query, join->rarg, depth, facts);
	}

	return facts;
}

/*
 * May facts about the output of a subquery be applied to its rows?
 *
 * They may not if dropping one row could change another row.
 */
bool
runops_is_transparent(Query *subquery)
{
	return subquery->commandType == CMD_SELECT &&
		subquery->limitCount == NULL && subquery->limitOffset == NULL &&
		subquery->groupClause == NIL && subquery->groupingSets == NIL &&
		subquery->havingQual == NULL && !subquery->hasAggs &&
		!subquery->hasWindowFuncs && !subquery->hasDistinctOn &&
		!subquery->hasTargetSRFs && subquery->rowMarks == NIL;
}

/*
 * The known stores of a subquery's output columns.
 *
 * The result is a list of value facts whose columns have depth and varno 0.
 */
List *
runops_known_outputs(Query *subquery, Index depth, Index rti, List *facts)
{
	List	   *result = NIL;
	Bitmapset  *done = NULL;
	ListCell   *lc;

	if (facts == NIL || !runops_is_transparent(subquery))
		return NIL;

	foreach(lc, facts)
	{
		RunopsFact *fact = lfirst(lc);

		for (int side = 0; side < 2; side++)
		{
			RunopsColumn column = side == 0 ? fact->column : fact->other;
			RunopsFact *output;

			if (column.varno != rti || column.depth != depth ||
				bms_is_member(column.attno, done))
				continue;
			done = bms_add_member(done, column.attno);

			output = palloc0(sizeof(RunopsFact));
			output->column.attno = column.attno;
			output->stores = runops_column_stores(facts, column,
												  &output->assumed);
			result = lappend(result, output);
		}
	}

	return result;
}

/*
 * Convert known stores of a query's output into facts about its columns.
 */
List *
runops_facts_of_known(Query *query, Index depth, List *outputs, List *facts)
{
	ListCell   *lc;

	foreach(lc, outputs)
	{
		RunopsFact *output = lfirst(lc);
		RunopsFact *fact;
		TargetEntry *tle;
		Var		   *var;
		Oid			type;

		if (output->column.attno > list_length(query->targetList))
			continue;
		tle = list_nth(query->targetList, output->column.attno - 1);
		var = (Var *) runops_strip_relabel((Node *) tle->expr);
		if (tle->resjunk || !IsA(var, Var) || var->varlevelsup != 0 ||
			var->varattno <= 0)
			continue;
		type = getBaseType(var->vartype);
		if (type != TEXTOID && type != VARCHAROID)
			continue;

		fact = palloc0(sizeof(RunopsFact));
		fact->column.depth = depth;
		fact->column.varno = var->varno;
		fact->column.attno = var->varattno;
		fact->stores = output->stores;
		fact->assumed = output->assumed;
		facts = lappend(facts, fact);
	}

	return facts;
}
