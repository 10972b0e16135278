/*-------------------------------------------------------------------------
 *
 * value_stores.c
 *	  Finds the stores of an expression's value at plan time, if it is known or
 *	  may be assumed.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "planner/planner_int.h"
#include "xact/xact.h"

/*
 * Remove casts that do not change the value.
 */
Node *
runops_strip_relabel(Node *expr)
{
	while (expr && IsA(expr, RelabelType))
		expr = (Node *) ((RelabelType *) expr)->arg;

	return expr;
}

/*
 * Fetch the value of an external parameter if it is bound for this plan only.
 *
 * The rule is that of eval_const_expressions(): a value that may change
 * between executions is not known.
 */
static bool
bound_value(Param *param, ParamListInfo params, Datum *value, bool *isnull)
{
	ParamExternData *data;
	ParamExternData workspace;

	if (params == NULL || param->paramkind != PARAM_EXTERN ||
		param->paramid <= 0 || param->paramid > params->numParams)
		return false;

	if (params->paramFetch != NULL)
		data = params->paramFetch(params, param->paramid, true, &workspace);
	else
		data = &params->params[param->paramid - 1];

	if (data->ptype != param->paramtype ||
		(data->pflags & PARAM_FLAG_CONST) == 0)
		return false;

	*value = data->value;
	*isnull = data->isnull;
	return true;
}

/*
 * Get the value of an expression, if it is known.
 *
 * Sets scope->unfolded if constant folding could make it known.
 */
bool
runops_known_value(Node *expr, RunopsScope *scope, Datum *value, bool *isnull)
{
	expr = runops_strip_relabel(expr);

	switch (nodeTag(expr))
	{
		case T_Const:
			*value = ((Const *) expr)->constvalue;
			*isnull = ((Const *) expr)->constisnull;
			return true;
		case T_Param:
			return bound_value((Param *) expr, scope->values.params, value, isnull);
		case T_Var:
		case T_SubLink:
		case T_SubPlan:
			return false;
		default:
			if (!contain_vars_of_level(expr, 0))
				scope->unfolded = true;
			return false;
	}
}

/*
 * Get the stores that an expression is assumed to name; false if nothing is assumed.
 *
 * It is an external parameter or a COALESCE of several.  These parameters are added
 * to *assumed.
 */
static bool
assumed_value(Node *expr, RunopsScope *scope, RunopsStoreSet *stores,
			  List **assumed)
{
	ListCell   *lc;

	if (scope->values.assumption == NULL)
		return false;

	expr = runops_strip_relabel(expr);
	if (IsA(expr, Param) && ((Param *) expr)->paramkind == PARAM_EXTERN)
	{
		*assumed = list_append_unique(*assumed, expr);
		return runops_assumed_stores(scope->values.assumption, (Param *) expr, stores);
	}
	if (!IsA(expr, CoalesceExpr))
		return false;

	*stores = RUNOPS_STORES_NONE;
	foreach(lc, ((CoalesceExpr *) expr)->args)
	{
		RunopsStoreSet arg;

		if (!assumed_value(lfirst(lc), scope, &arg, assumed))
			return false;
		if (*stores == RUNOPS_STORES_NONE)
			*stores = arg;
	}

	return true;
}

/*
 * The stores that the id in an expression may belong to, if its value is
 * known.
 *
 * NULL belongs to no store.  If the value is not known but something is assumed of
 * it, the parameters are added to *assumed.
 */
bool
runops_value_stores(Node *expr, RunopsScope *scope, RunopsStoreSet *stores,
					List **assumed)
{
	Datum		value;
	bool		isnull;
	text	   *id;

	if (!runops_known_value(expr, scope, &value, &isnull))
		return assumed_value(expr, scope, stores, assumed);

	if (isnull)
	{
		*stores = RUNOPS_STORES_NONE;
		return true;
	}

	id = DatumGetTextPP(value);
	*stores = runops_id_stores(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id));
	return true;
}

/*
 * The same for the ids of an array-valued expression.
 */
bool
runops_array_value_stores(Node *expr, RunopsScope *scope, RunopsStoreSet *stores,
						  List **assumed)
{
	Datum		value;
	bool		isnull;

	expr = runops_strip_relabel(expr);

	if (IsA(expr, ArrayExpr))
	{
		ArrayExpr  *array = (ArrayExpr *) expr;
		ListCell   *lc;
		RunopsStoreSet result = RUNOPS_STORES_NONE;

		if (array->multidims)
			return false;
		foreach(lc, array->elements)
		{
			RunopsStoreSet element;

			if (!runops_value_stores(lfirst(lc), scope, &element, assumed))
				return false;
			result |= element;
		}
		*stores = result;
		return true;
	}

	if (!runops_known_value(expr, scope, &value, &isnull))
		return IsA(expr, Param) && assumed_value(expr, scope, stores, assumed);
	*stores = isnull ? RUNOPS_STORES_NONE :
		runops_array_stores(DatumGetArrayTypeP(value));
	return true;
}

/*
 * Count that the id by which a table is found has no known shape.
 *
 * If that is assumed of a parameter, it is noted for the later executions of the plan.
 */
void
runops_note_shapeless(const RunopsValues *values, const RunopsRoute *route)
{
	if (values->assumption != NULL)
		values->assumption->shapeless =
			list_append_unique_oid(values->assumption->shapeless, route->relid);
	runops_stats_add_legacy(route, RUNOPS_UNCLASSIFIABLE);
}
