/*-------------------------------------------------------------------------
 *
 * insert.c
 *	  Finds the leaf of an INSERT when its keys are known at plan time.
 *
 * Core routes each row at execution anyway.  But ON CONFLICT with a target
 * works in the legacy store only if the plan names the leaf itself, because
 * only the leaves have the unique indexes.  If a trigger changes the key, the
 * leaf's partition constraint rejects the row.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/guc.h"
#include "gate/gate.h"
#include "planner/planner_int.h"
#include "xact/xact.h"

/* The state of the mutator that puts a row's values into the key. */
typedef struct KeyContext
{
	Query	   *query;
	RangeTblEntry *values;		/* the VALUES entry of several rows, or NULL */
	List	   *row;			/* the current row of values */
	bool		failed;			/* out: a value could not be found */
	RunopsValues known;			/* of the parameters */
	List	   *assumed;		/* out: the parameters of which something is
								 * assumed */
} KeyContext;

/*
 * The expression that a column of the new row gets; NULL if the column gets
 * NULL.
 *
 * It follows the target list into one row of VALUES, or into a subquery's
 * target list.  Sets failed if it ends elsewhere.
 */
static Node *
inserted_expression(KeyContext *context, AttrNumber attno)
{
	ListCell   *lc;

	foreach(lc, context->query->targetList)
	{
		TargetEntry *tle = lfirst(lc);
		Node	   *expr = runops_strip_relabel((Node *) tle->expr);
		Var		   *var = (Var *) expr;
		RangeTblEntry *rte;

		if (tle->resno != attno || tle->resjunk)
			continue;
		if (!IsA(expr, Var))
			return expr;

		rte = rt_fetch(var->varno, context->query->rtable);
		if (var->varlevelsup == 0 && rte == context->values)
			return runops_strip_relabel(list_nth(context->row, var->varattno - 1));
		if (var->varlevelsup == 0 && rte->rtekind == RTE_SUBQUERY &&
			rte->subquery->setOperations == NULL && var->varattno > 0)
		{
			TargetEntry *source = list_nth(rte->subquery->targetList,
										   var->varattno - 1);

			expr = runops_strip_relabel((Node *) source->expr);
			if (IsA(expr, Const) || IsA(expr, Param))
				return expr;
		}
		context->failed = true;
		return NULL;
	}

	return NULL;
}

/*
 * Mutator: replace columns in the key's expression by the values of the new
 * row.
 */
static Node *
substitute_columns(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		Node	   *expr = inserted_expression(context, var->varattno);

		if (expr == NULL)
			return (Node *) makeNullConst(var->vartype, var->vartypmod,
										  var->varcollid);
		return copyObject(expr);
	}

	return expression_tree_mutator(node, substitute_columns, context);
}

/*
 * The store of one new row; returns false if it is not known yet.
 *
 * unbound is set to true if only the value of a parameter is missing.
 */
static bool
row_store(KeyContext *context, const RunopsRoute *route, RunopsStoreSet *store, bool *unbound)
{
	ParamListInfo params = context->known.params;
	RunopsScope scope = {.depth = 1, .values = context->known};
	Node	   *key = runops_strip_relabel(route->key);
	bool		known;

	context->failed = false;
	if (IsA(key, Var))
	{
		key = inserted_expression(context, ((Var *) key)->varattno);
		if (key == NULL && !context->failed)
			key = (Node *) makeNullConst(exprType(route->key), -1,
										 exprCollation(route->key));
	}
	else
		key = runops_fold(substitute_columns(route->key, context), params);

	if (context->failed)
		return false;

	known = runops_value_stores(key, &scope, store, &context->assumed);
	if (!known && scope.unfolded)
	{
		key = runops_fold(key, params);
		known = runops_value_stores(key, &scope, store, &context->assumed);
	}
	if (!known)
	{
		*unbound = params == NULL && runops_has_extern_param(key);
		return false;
	}

	/* An unclassifiable id goes to legacy, and so does a NULL. */
	if (*store == RUNOPS_STORES_ALL)
		runops_note_shapeless(&context->known, route);
	if (*store == RUNOPS_STORES_ALL || *store == RUNOPS_STORES_NONE)
		*store = runops_store_bit(RUNOPS_LEGACY_STORE);

	return true;
}

/*
 * The store of all new rows of an INSERT; returns false if it is unknown or if
 * there are several.  See runops_insert_leaf for assumed.
 */
static bool
insert_store(Query *query, const RunopsRoute *route, const RunopsValues *values,
			 RunopsStoreSet *store, bool *unbound, List **assumed)
{
	KeyContext	context = {.query = query, .known = *values};
	ListCell   *lc;
	bool		first = true;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_VALUES && context.values == NULL)
			context.values = rte;
	}

	if (context.values == NULL)
	{
		if (!row_store(&context, route, store, unbound))
			return false;
		runops_require_stores(route, *store);
		*assumed = context.assumed;
		return true;
	}

	foreach(lc, context.values->values_lists)
	{
		RunopsStoreSet row;

		context.row = lfirst(lc);
		if (!row_store(&context, route, &row, unbound))
			return false;
		runops_require_stores(route, row);
		if (!first && row != *store)
		{
			*unbound = false;
			return false;
		}
		*store = row;
		first = false;
	}

	*assumed = context.assumed;
	return !first;
}

/*
 * Does DO UPDATE keep the key?
 *
 * "SET key = EXCLUDED.key" does, because that value belongs to the same store.
 */
static bool
upsert_keeps_key(OnConflictExpr *conflict, const RunopsRoute *route)
{
	ListCell   *lc;

	foreach(lc, conflict->onConflictSet)
	{
		TargetEntry *tle = lfirst(lc);
		Var		   *var = (Var *) runops_strip_relabel((Node *) tle->expr);

		if (tle->resjunk ||
			!bms_is_member(tle->resno - FirstLowInvalidHeapAttributeNumber,
						   route->key_attnos))
			continue;
		if (bms_membership(route->key_attnos) != BMS_SINGLETON ||
			!IsA(var, Var) || var->varno != conflict->exclRelIndex ||
			var->varlevelsup != 0 || var->varattno != tle->resno)
			return false;
	}

	return true;
}

/*
 * Walker: does a system column of an entry occur, other than tableoid?
 */
static bool
system_column_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		return var->varno == *(Index *) context && var->varlevelsup == 0 &&
			var->varattno < 0 && var->varattno != TableOidAttributeNumber;
	}

	return expression_tree_walker(node, system_column_walker, context);
}

/*
 * Does RETURNING have a system column, which a foreign-data wrapper cannot
 * return?
 *
 * Core rejects that for routed rows, and an invented value would be worse.
 */
static bool
returns_system_column(Query *query)
{
	Index		varno = query->resultRelation;

	return system_column_walker((Node *) query->returningList, &varno);
}

/*
 * Reject ON CONFLICT with a target in a store that is reached by the wrapper,
 * because the statement is not sent as a whole.
 */
void
runops_refuse_foreign_upsert(const RunopsReplacement *table, const char *obstacle)
{
	const char *name = get_rel_name(table->route->relid);

	if (runops_gate_flag_off())
		runops_gate_require_settings(table->leaf->store, name);

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot use a conflict target for a row of store \"%s\" of \"%s\"",
					table->leaf->store, name),
			 errdetail("The store decides on a conflict, and the statement cannot be sent to it as a whole: %s",
					   obstacle),
			 errhint("Use ON CONFLICT DO NOTHING without a target, or UPDATE first and then INSERT what does not exist.")));
}

/*
 * Reject ON CONFLICT with a target if the rows do not all go to one leaf.
 *
 * Core would only report that the table has no matching unique index.
 */
pg_noreturn static void
refuse_upsert(const RunopsRoute *route, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot use a conflict target for these rows of \"%s\"",
					get_rel_name(route->relid)),
			 errdetail_internal("%s", detail),
			 errhint("Use ON CONFLICT DO NOTHING without a target, or insert only rows of store \"%s\" whose keys are constants or parameters.",
					 RUNOPS_LEGACY_STORE)));
}

/*
 * Let the rows of an upsert go store by store, or refuse it.
 */
static void
spread_upsert(Query *query, const RunopsRoute *route, RunopsInsertChoice *choice)
{
	bool		upsert = query->onConflict->action == ONCONFLICT_UPDATE;

	if (!choice->top)
		runops_refuse_spread(route, _("It is a query in WITH."));
	for (int i = -1; i < route->nleaves; i++)
	{
		if (runops_has_statement_triggers(i < 0 ? route->relid : route->leaves[i].relid,
										  i < 0 ? NoLock : RowExclusiveLock, CMD_INSERT, upsert))
			refuse_upsert(route, _("Only the leaves have the unique indexes, and the table has a statement trigger."));
	}
	if (upsert && !upsert_keeps_key(query->onConflict, route))
		refuse_upsert(route, _("DO UPDATE assigns a new value to the key."));
	choice->spread = true;
}

/*
 * Refuse an upsert of rows of several stores, or of unknown keys.
 */
void
runops_refuse_spread(const RunopsRoute *route, const char *obstacle)
{
	refuse_upsert(route,
				  psprintf(_("Its rows belong to several stores, or their keys are not known when it is planned, and it cannot go store by store: %s"),
						   obstacle));
}

/*
 * The leaf for the plan of an INSERT; NULL to let core route the rows.
 *
 * With a conflict target core cannot route the rows, because only the leaves have
 * unique indexes.  If there are several, or the keys are not known, the rows go
 * store by store, and choice->spread is set.  While the flag is off, rows can only
 * go to the legacy leaf.
 *
 * *assumed is set to the parameters of which something is assumed.
 */
const RunopsLeaf *
runops_insert_leaf(Query *query, const RunopsRoute *route,
				   const RunopsValues *values, List **assumed, RunopsInsertChoice *choice)
{
	OnConflictExpr *conflict = query->onConflict;
	bool		target = conflict != NULL &&
		(conflict->arbiterElems != NIL || OidIsValid(conflict->constraint));
	bool		upsert = conflict != NULL &&
		conflict->action == ONCONFLICT_UPDATE;
	RunopsStoreSet store;
	bool		unbound = false;
	RunopsValues known = *values;
	const RunopsLeaf *leaf = NULL;

	*assumed = NIL;
	if (runops_legacy_leaf(route) == NULL)
		known.assumption = NULL;
	if (!insert_store(query, route, &known, &store, &unbound, assumed))
	{
		if (!target && !runops_gate_flag_off())
			return NULL;
		if (!runops_gate_flag_off() && (!unbound || (choice->top && runops_enable_shipping)))
		{
			spread_upsert(query, route, choice);
			/* with the values there may be a better plan */
			choice->guess = choice->guess || unbound;
			return NULL;
		}
		store = runops_store_bit(RUNOPS_LEGACY_STORE);
		choice->guess = true;
	}

	for (int i = 0; i < route->nleaves; i++)
	{
		if (runops_store_bit(route->leaves[i].store) == store)
			leaf = &route->leaves[i];
	}
	if (leaf == NULL)
		return NULL;

	choice->upsert = target && leaf->foreign;

	if (runops_has_statement_triggers(route->relid, NoLock, CMD_INSERT, upsert) ||
		runops_has_statement_triggers(leaf->relid, RowExclusiveLock, CMD_INSERT,
									  upsert))
	{
		if (target)
			refuse_upsert(route, _("Only the leaves have the unique indexes, and the table has a statement trigger."));
		choice->guess = false;
		return NULL;
	}

	if (upsert && !upsert_keeps_key(conflict, route) &&
		!runops_gate_flag_off())
		refuse_upsert(route, _("DO UPDATE assigns a new value to the key."));

	if (leaf->foreign && !choice->upsert && returns_system_column(query))
		return NULL;

	return leaf;
}

/*
 * Walker: refuse ON CONFLICT with a target on a routed table while nothing is
 * routed.  Core would only report that the table has no matching unique index.
 */
static bool
refuse_unrouted_walker(Node *node, void *context)
{
	Query	   *query = (Query *) node;
	RangeTblEntry *target;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, refuse_unrouted_walker, context);

	if (query->onConflict != NULL &&
		(query->onConflict->arbiterElems != NIL || OidIsValid(query->onConflict->constraint)))
	{
		target = rt_fetch(query->resultRelation, query->rtable);
		if (target->relkind == RELKIND_PARTITIONED_TABLE && runops_route(target->relid) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot use a conflict target for rows of \"%s\"",
							get_rel_name(target->relid)),
					 errdetail("Only the leaves have the unique indexes, and \"%s\" is off.",
							   "runops.enable_routing"),
					 errhint("Turn it on, or use ON CONFLICT DO NOTHING without a target.")));
	}

	return query_tree_walker(query, refuse_unrouted_walker, context, 0);
}

/*
 * Refuse what core cannot plan without routing.
 */
void
runops_refuse_unrouted(Query *query)
{
	(void) refuse_unrouted_walker((Node *) query, NULL);
}
