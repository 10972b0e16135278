/*-------------------------------------------------------------------------
 *
 * prune.c
 *	  Keeps a plan over several leaves from using stores that it does not need.
 *
 * At plan time: when a leaf's RelOptInfo is built, its parent's restrictions
 * are complete, including those from equivalence classes.  If they exclude the
 * store of a leaf, the leaf is marked dummy there, as core does by constraint
 * exclusion.
 *
 * At run time: core cannot prune by "key = $1", because the partition key is
 * store_of(key).  After the leaves are planned, an OR of clauses
 * "store_of(key) = store_arm($1, 's', ...)" over the stores s is added to the
 * parent's restrictions (and to the join clauses of each parameterization).
 * Core builds its pruning steps from them when the plan is created; no leaf
 * evaluates them.  An arm is NULL if the value does not belong to its store.
 *
 * The result relation of an UPDATE that assigns to the key is not pruned: core
 * would not notice that a row leaves its store.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/placeholder.h"
#include "optimizer/plancat.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/guc.h"
#include "planner/planner_int.h"

/* The state for deriving a pruning clause for one relation. */
typedef struct DeriveContext
{
	PlannerInfo *root;
	RelOptInfo *rel;
	const RunopsRoute *route;
	Relids		outer;			/* relations whose columns are parameters */
	Index		security_level; /* of the current clause */
	bool		unknown;		/* out: is a value unknown until execution? */
} DeriveContext;

static Expr *derive_clause(DeriveContext *context, Node *clause);

/*
 * The route of a range-table entry whose leaves may be pruned, or NULL.
 */
static const RunopsRoute *
prunable_route(PlannerInfo *root, Index rti)
{
	RangeTblEntry *rte = root->simple_rte_array[rti];
	const RunopsRoute *route;
	ListCell   *lc;

	if (rte->rtekind != RTE_RELATION ||
		rte->relkind != RELKIND_PARTITIONED_TABLE || !rte->inh ||
		rte->tablesample != NULL)
		return NULL;
	route = runops_route(rte->relid);
	if (route == NULL)
		return NULL;

	if (rti == root->parse->resultRelation)
	{
		if (root->parse->commandType == CMD_MERGE)
			return NULL;
		foreach(lc, root->update_colnos)
		{
			if (bms_is_member(lfirst_int(lc) - FirstLowInvalidHeapAttributeNumber,
							  route->key_attnos))
				return NULL;
		}
	}

	return route;
}

/*
 * Exclude a leaf by its parent's restrictions.
 */
void
runops_exclude_leaf(PlannerInfo *root, RelOptInfo *rel)
{
	AppendRelInfo *appinfo;
	const RunopsRoute *route;
	RunopsStoreSet stores = RUNOPS_STORES_ALL;
	Oid			relid;
	ListCell   *lc;

	if (!runops_enable_routing || rel->reloptkind != RELOPT_OTHER_MEMBER_REL ||
		root->append_rel_array == NULL)
		return;
	appinfo = root->append_rel_array[rel->relid];
	if (appinfo == NULL || !OidIsValid(appinfo->parent_reloid))
		return;
	route = prunable_route(root, appinfo->parent_relid);
	if (route == NULL)
		return;

	foreach(lc, root->simple_rel_array[appinfo->parent_relid]->baserestrictinfo)
		stores &= runops_clause_stores(route,
									   (Node *) lfirst_node(RestrictInfo, lc)->clause,
									   appinfo->parent_relid);
	runops_require_stores(route, stores);

	/* a partition of no store, which the old table can be, is always empty */
	relid = root->simple_rte_array[rel->relid]->relid;
	for (int i = 0; i < route->nleaves; i++)
	{
		if (route->leaves[i].relid == relid &&
			(runops_store_bit(route->leaves[i].store) & stores) == 0)
			mark_dummy_rel(rel);
	}
}

/*
 * Is this a column of the relation whose equality with a value implies a
 * store?
 */
static bool
is_routing_column(DeriveContext *context, Node *expr)
{
	Var		   *var = (Var *) runops_strip_relabel(expr);

	return IsA(var, Var) && var->varno == context->rel->relid &&
		var->varlevelsup == 0 && var->varattno > 0 &&
		(var->varattno == context->route->lead_attno ||
		 bms_is_member(var->varattno - FirstLowInvalidHeapAttributeNumber,
					   context->route->alias_attnos));
}

/*
 * Can every PlaceHolderVar of an expression be computed from the outer side?
 */
static bool
placeholders_are_outer(DeriveContext *context, Node *expr)
{
	List	   *vars = pull_var_clause(expr, PVC_RECURSE_AGGREGATES |
									   PVC_RECURSE_WINDOWFUNCS |
									   PVC_INCLUDE_PLACEHOLDERS);
	ListCell   *lc;

	foreach(lc, vars)
	{
		PlaceHolderInfo *info;

		if (!IsA(lfirst(lc), PlaceHolderVar))
			continue;
		info = find_placeholder_info_compat(context->root, lfirst(lc));
		if (!bms_is_subset(info->ph_eval_at, context->outer))
			return false;
	}

	return true;
}

/*
 * Walker: is there a PARAM_EXEC parameter?
 */
static bool
exec_param_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return ((Param *) node)->paramkind == PARAM_EXEC;

	return expression_tree_walker(node, exec_param_walker, context);
}

/*
 * May the pruning steps evaluate an expression?
 *
 * It may have only columns of the outer side and no volatile function, and it
 * must not leak data that a security barrier protects.
 */
static bool
is_prunable_value(DeriveContext *context, Node *expr)
{
	Relids		relids = pull_varnos(context->root, expr);

	if (!bms_is_subset(relids, context->outer))
		return false;
	if (contain_volatile_functions(expr) || contain_subplans(expr))
		return false;
	if (context->security_level > 0 && contain_leaked_vars(expr))
		return false;

	return placeholders_are_outer(context, expr);
}

/*
 * The OID of runops.store_arm for values of a type.
 */
static Oid
store_arm_oid(Oid valuetype)
{
	Oid			argtypes[4] = {valuetype, TEXTOID, OIDOID, BOOLOID};

	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						   PointerGetDatum("store_arm"),
						   PointerGetDatum(buildoidvector(argtypes, 4)),
						   ObjectIdGetDatum(get_namespace_oid(RUNOPS_SCHEMA, false)));
}

/*
 * Make the clause "partition key = store".
 */
static Expr *
make_store_clause(DeriveContext *context, Expr *store)
{
	Node	   *partexpr = linitial(context->rel->partexprs[0]);
	Expr	   *clause;

	clause = make_opclause(TextEqualOperator, BOOLOID, false,
						   copyObject((Expr *) partexpr), store, InvalidOid,
						   context->rel->part_scheme->partcollation[0]);
	set_opfuncid((OpExpr *) clause);

	return clause;
}

/*
 * Make a constant of type text.
 */
static Expr *
make_text_const(const char *value)
{
	return (Expr *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1,
							  CStringGetTextDatum(value), false, false);
}

/*
 * Make the OR of one arm per store for a value that is not known yet.
 *
 * The arms raise store_not_configured only for a value that the statement has
 * named, and not for a value that comes from a join.
 */
static Expr *
derive_unknown(DeriveContext *context, Node *value, Oid valuetype)
{
	Oid			funcid;
	bool		named;
	List	   *arms = NIL;

	if (!is_prunable_value(context, value))
		return NULL;
	funcid = store_arm_oid(valuetype);
	if (!OidIsValid(funcid))
		return NULL;

	context->unknown = true;
	named = !exec_param_walker(value, NULL) && !contain_var_clause(value);

	for (int i = 0; i < context->route->nleaves; i++)
	{
		Expr	   *arm;

		arm = (Expr *) makeFuncExpr(funcid, TEXTOID,
									list_make4(copyObject(value),
											   make_text_const(context->route->leaves[i].store),
											   makeConst(OIDOID, -1, InvalidOid, sizeof(Oid),
														 ObjectIdGetDatum(context->route->relid),
														 false, true),
											   makeBoolConst(named, false)),
									DEFAULT_COLLATION_OID, DEFAULT_COLLATION_OID,
									COERCE_EXPLICIT_CALL);
		arms = lappend(arms, make_store_clause(context, arm));
	}

	return list_length(arms) == 1 ? linitial(arms) : make_orclause(arms);
}

/*
 * Make the OR of the stores in a set, or NULL for "all".
 */
static Expr *
derive_known(DeriveContext *context, RunopsStoreSet stores)
{
	List	   *arms = NIL;

	if (stores == RUNOPS_STORES_ALL)
		return NULL;

	for (int i = 0; i < context->route->nleaves; i++)
	{
		const char *store = context->route->leaves[i].store;

		if (stores & runops_store_bit(store))
			arms = lappend(arms, make_store_clause(context, make_text_const(store)));
	}

	if (arms == NIL)
		return (Expr *) makeBoolConst(false, false);
	return list_length(arms) == 1 ? linitial(arms) : make_orclause(arms);
}

/*
 * Derive from "column = value" or "column = ANY (values)".
 */
static Expr *
derive_equality(DeriveContext *context, Node *clause, Node *left, Node *right,
				Oid valuetype)
{
	RunopsScope scope = {.depth = 1};
	Var		   *var;
	RunopsColumn column;
	List	   *facts;
	List	   *assumed = NIL;	/* remains NIL */
	RunopsStoreSet stores;

	if (!is_routing_column(context, left))
		return NULL;

	/* A known value; it gets here only as an arm of an OR. */
	var = (Var *) runops_strip_relabel(left);
	column.depth = 1;
	column.varno = var->varno;
	column.attno = var->varattno;
	facts = runops_collect_facts(clause, &scope, NIL);
	stores = runops_column_stores(facts, column, &assumed);
	if (stores != RUNOPS_STORES_ALL)
		return derive_known(context, stores);

	if (IsA(runops_strip_relabel(right), Const))
		return NULL;

	return derive_unknown(context, right, valuetype);
}

/*
 * Derive a clause from each of several clauses.  If strict, the result is NIL
 * unless a clause can be derived from all of them.
 */
static List *
derive_each(DeriveContext *context, List *clauses, bool strict)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, clauses)
	{
		Expr	   *derived = derive_clause(context, lfirst(lc));

		if (derived != NULL)
			result = lappend(result, derived);
		else if (strict)
			return NIL;
	}

	return result;
}

/*
 * The clause on the partition key that a clause implies, or NULL.
 */
static Expr *
derive_clause(DeriveContext *context, Node *clause)
{
	Expr	   *derived = NULL;
	List	   *parts;

	check_stack_depth();

	switch (nodeTag(clause))
	{
		case T_RestrictInfo:
			return derive_clause(context,
								 (Node *) ((RestrictInfo *) clause)->clause);

		case T_BoolExpr:
			{
				BoolExpr   *expr = (BoolExpr *) clause;

				if (expr->boolop == NOT_EXPR)
					return NULL;
				parts = derive_each(context, expr->args,
									expr->boolop == OR_EXPR);
				if (parts == NIL)
					return NULL;
				if (list_length(parts) == 1)
					return linitial(parts);
				return expr->boolop == OR_EXPR ? make_orclause(parts) :
					make_andclause(parts);
			}

		case T_OpExpr:
			{
				OpExpr	   *op = (OpExpr *) clause;
				Node	   *left;
				Node	   *right;

				if (!runops_is_id_equality(op->opno, op->inputcollid))
					return NULL;
				left = linitial(op->args);
				right = lsecond(op->args);
				derived = derive_equality(context, clause, left, right, TEXTOID);
				if (derived == NULL)
					derived = derive_equality(context, clause, right, left, TEXTOID);
				return derived;
			}

		case T_ScalarArrayOpExpr:
			{
				ScalarArrayOpExpr *op = (ScalarArrayOpExpr *) clause;

				if (!op->useOr ||
					!runops_is_id_equality(op->opno, op->inputcollid))
					return NULL;
				return derive_equality(context, clause, linitial(op->args),
									   lsecond(op->args), TEXTARRAYOID);
			}

		default:
			return NULL;
	}
}

/*
 * The clauses on the partition key that a list of restrictions implies.
 */
static List *
derive_restrictions(PlannerInfo *root, RelOptInfo *rel,
					const RunopsRoute *route, List *restrictions, Relids outer)
{
	DeriveContext context = {
		.root = root,
		.rel = rel,
		.route = route,
		.outer = outer
	};
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, restrictions)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);
		Expr	   *derived;

		if (rinfo->pseudoconstant)
			continue;
		context.security_level = rinfo->security_level;
		context.unknown = false;
		derived = derive_clause(&context, (Node *) rinfo->clause);

		/* Known values have already excluded leaves at plan time. */
		if (derived != NULL && context.unknown)
			result = lappend(result, make_simple_restrictinfo(root, derived));
	}

	return result;
}

/*
 * Give the Append of a UNION ALL member the join clauses by which it can be
 * pruned; returns false if there are none.
 *
 * Core stores no clauses in the parameterization of a member, because it does
 * not prune one.
 */
static bool
add_member_parameters(PlannerInfo *root, RelOptInfo *rel,
					  const RunopsRoute *route, Path *path)
{
	List	   *known = rel->ppilist;
	Relids		outer = PATH_REQ_OUTER(path);
	ParamPathInfo *ppi;
	List	   *derived;

	if (outer == NULL)
		return false;

	rel->ppilist = NIL;
	ppi = get_baserel_parampathinfo(root, rel, outer);
	rel->ppilist = known;

	derived = derive_restrictions(root, rel, route, ppi->ppi_clauses, outer);
	if (derived == NIL)
		return false;
	ppi->ppi_clauses = list_concat(ppi->ppi_clauses, derived);
	path->param_info = ppi;

	return true;
}

/*
 * Keep the pruning Appends of a UNION ALL member from being merged into the
 * Append above.
 *
 * Core would flatten them, and prune the result only by the clauses of the
 * whole.  A projection that changes nothing prevents that, and adds no node to
 * the plan. prunes: the member's own restrictions prune already.
 */
static void
shield_appends(PlannerInfo *root, RelOptInfo *rel, const RunopsRoute *route,
			   bool prunes)
{
	ListCell   *lc;

	foreach(lc, rel->pathlist)
	{
		Path	   *path = lfirst(lc);
		ProjectionPath *shield;

		if (!IsA(path, AppendPath) && !IsA(path, MergeAppendPath))
			continue;
		if (!add_member_parameters(root, rel, route, path) && !prunes)
			continue;
		shield = create_projection_path(root, rel, path, path->pathtarget);
		shield->path.param_info = path->param_info;
		lfirst(lc) = shield;
	}
}

/*
 * Add the clauses by which core can prune at run time.
 */
void
runops_add_pruning_clauses(PlannerInfo *root, RelOptInfo *rel, Index rti,
						   RangeTblEntry *rte)
{
	const RunopsRoute *route;
	List	   *derived;
	ListCell   *lc;

	if (!runops_enable_routing || !enable_partition_pruning ||
		rte->relkind != RELKIND_PARTITIONED_TABLE ||
		rel->part_scheme == NULL || IS_DUMMY_REL(rel))
		return;
	route = prunable_route(root, rti);
	if (route == NULL)
		return;

	derived = derive_restrictions(root, rel, route, rel->baserestrictinfo, NULL);

	/* A store-by-store join is not pruned at run time. */
	if (derived == NIL && rel->reloptkind == RELOPT_BASEREL)
		runops_pair_by_key(rel, route);

	rel->baserestrictinfo = list_concat(rel->baserestrictinfo, derived);
	if (rel->reloptkind == RELOPT_OTHER_MEMBER_REL)
	{
		shield_appends(root, rel, route, derived != NIL);
		return;
	}

	foreach(lc, rel->ppilist)
	{
		ParamPathInfo *ppi = lfirst(lc);

		ppi->ppi_clauses =
			list_concat(ppi->ppi_clauses,
						derive_restrictions(root, rel, route, ppi->ppi_clauses,
											ppi->ppi_req_outer));
	}
}
