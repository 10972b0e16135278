/*-------------------------------------------------------------------------
 *
 * paths.c
 *	  Adds parameterized scan paths for the foreign leaves of routed tables.
 *
 * Without remote estimates postgres_fdw offers only a scan of the whole
 * foreign table.  Then the Append over the leaves cannot be parameterized, and
 * a join with a routed table would read all rows of every store, where the
 * plain table had a nested loop with an index scan.  postgres_fdw does not
 * know which columns the remote server can search by.  We do, because a leaf
 * has the indexes of the old table, which are in the local catalogs.
 *
 * postgres_fdw decides when it makes the plan whether a clause is sent, by
 * rules that it does not export.  If the clause of a path were not sent, the
 * path would fetch the whole table for each outer row.  So only clauses are
 * used that these rules certainly accept: a built-in equality between an
 * indexed column and a column, parameter or constant of a built-in type with
 * the default collation handling.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_index.h"
#include "catalog/pg_opclass.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/prep.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/guc.h"
#include "fdw/fdw_int.h"
#include "topology/topology.h"

/* the minimum share of rescans charged to a store, even if it has few rows */
#define MIN_STORE_SHARE 0.01

/* A column of a foreign leaf that its store can search by. */
typedef struct SearchColumn
{
	AttrNumber	attno;			/* of the foreign leaf */
	Oid			opfamily;		/* of the index; InvalidOid: any equality */
	StrategyNumber strategy;	/* of equality in that family */
	Oid			collation;		/* of the index */
	bool		names_store;	/* does an equal value imply the store? */
} SearchColumn;

/*
 * The wait policy of a table in the locking clauses of the query.
 */
LockWaitPolicy
runops_fdw_wait_policy(PlannerInfo *root, Index rti)
{
	PlanRowMark *rowmark = get_plan_rowmark(root->rowMarks, rti);

	if (rowmark == NULL || rowmark->strength == LCS_NONE)
		return LockWaitBlock;

	return rowmark->waitPolicy;
}

/*
 * Will postgres_fdw ask the store for estimates when it plans this table?
 *
 * As there, an option of the table overrides the option of the server.
 */
bool
runops_fdw_uses_remote_estimate(Oid foreigntableid)
{
	ForeignTable *table = GetForeignTable(foreigntableid);
	ForeignServer *server = GetForeignServer(table->serverid);
	bool		result = false;
	ListCell   *lc;

	foreach(lc, server->options)
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		if (strcmp(def->defname, "use_remote_estimate") == 0)
			result = defGetBoolean(def);
	}
	foreach(lc, table->options)
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		if (strcmp(def->defname, "use_remote_estimate") == 0)
			result = defGetBoolean(def);
	}

	return result;
}

/*
 * Does equality on a column of the parent imply the store of a row?
 */
static bool
column_names_store(const RunopsRoute *route, AttrNumber attno)
{
	return attno == route->lead_attno ||
		bms_is_member(attno - FirstLowInvalidHeapAttributeNumber,
					  route->alias_attnos);
}

/*
 * The column of a leaf that has the same name as a column of another relation
 * of the routed table, or InvalidAttrNumber.
 */
static AttrNumber
same_column(Oid from_relid, AttrNumber attno, Oid to_relid)
{
	char	   *name = get_attname(from_relid, attno, true);

	return name ? get_attnum(to_relid, name) : InvalidAttrNumber;
}

/*
 * Fill in the equality operator family of an operator class; returns false if
 * it does not support a search by equality.
 */
static bool
set_equality(SearchColumn *column, Oid opclass)
{
	HeapTuple	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Form_pg_opclass form;
	bool		result = true;

	if (!HeapTupleIsValid(tuple))
		return false;

	form = (Form_pg_opclass) GETSTRUCT(tuple);
	column->opfamily = form->opcfamily;
	if (form->opcmethod == BTREE_AM_OID)
		column->strategy = BTEqualStrategyNumber;
	else if (form->opcmethod == HASH_AM_OID)
		column->strategy = HTEqualStrategyNumber;
	else
		result = false;
	ReleaseSysCache(tuple);

	return result;
}

/*
 * The search column of a leaf for an index of the old table; NULL if the index
 * does not support a search by equality on its first column.
 */
static SearchColumn *
index_search_column(Oid index_relid, Oid old_relid, Oid leaf_relid)
{
	SearchColumn *column = palloc0(sizeof(SearchColumn));
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index_relid));
	Form_pg_index index;
	oidvector  *opclasses;
	oidvector  *collations;
	bool		usable;

	if (!HeapTupleIsValid(tuple))
		return NULL;

	index = (Form_pg_index) GETSTRUCT(tuple);
	opclasses = (oidvector *)
		DatumGetPointer(SysCacheGetAttrNotNull(INDEXRELID, tuple,
											   Anum_pg_index_indclass));
	collations = (oidvector *)
		DatumGetPointer(SysCacheGetAttrNotNull(INDEXRELID, tuple,
											   Anum_pg_index_indcollation));

	usable = index->indisvalid &&
		index->indkey.values[0] > 0 &&
		heap_attisnull(tuple, Anum_pg_index_indpred, NULL) &&
		set_equality(column, opclasses->values[0]);
	column->attno = same_column(old_relid, index->indkey.values[0],
								leaf_relid);
	column->collation = collations->values[0];
	ReleaseSysCache(tuple);

	return usable && column->attno > 0 ? column : NULL;
}

/*
 * The columns by which the store of a foreign leaf can find rows.
 *
 * They are the first columns of the old table's indexes.  A partial index is
 * ignored, because only the remote server can tell whether its predicate is
 * implied.  If the old table does not exist, there is no index to look at, and
 * the key and the aliases are assumed to be indexed.
 */
static List *
search_columns(Oid leaf_relid)
{
	Oid			parent_relid;
	const RunopsRoute *route;
	Oid			old_relid;
	List	   *result = NIL;
	SearchColumn *column;
	Bitmapset  *attnos;
	int			i;

	if (!get_rel_relispartition(leaf_relid))
		return NIL;
	parent_relid = get_partition_parent(leaf_relid, true);
	route = runops_route(parent_relid);
	if (route == NULL)
		return NIL;

	old_relid = runops_old_table(route);
	if (OidIsValid(old_relid))
	{
		Relation	legacy = table_open(old_relid, AccessShareLock);
		List	   *indexes = RelationGetIndexList(legacy);
		ListCell   *lc;

		table_close(legacy, NoLock);
		foreach(lc, indexes)
		{
			column = index_search_column(lfirst_oid(lc), old_relid,
										 leaf_relid);
			if (column == NULL)
				continue;
			column->names_store =
				column_names_store(route, same_column(leaf_relid, column->attno,
													  parent_relid));
			result = lappend(result, column);
		}
		return result;
	}

	attnos = bms_copy(route->alias_attnos);
	if (route->lead_attno > 0)
		attnos = bms_add_member(attnos, route->lead_attno -
								FirstLowInvalidHeapAttributeNumber);
	i = -1;
	while ((i = bms_next_member(attnos, i)) >= 0)
	{
		column = palloc0(sizeof(SearchColumn));
		column->attno = same_column(parent_relid,
									i + FirstLowInvalidHeapAttributeNumber,
									leaf_relid);
		column->names_store = true;
		result = lappend(result, column);
	}

	return result;
}

/*
 * Does the object have the same OID on every server?
 *
 * postgres_fdw uses the same rule for operators and types outside of
 * extensions.
 */
static bool
is_builtin(Oid objectId)
{
	return objectId < FirstGenbkiObjectId;
}

/*
 * Is the expression the column, in a form that is sent unchanged?
 */
static bool
is_column(Node *expr, RelOptInfo *baserel, const SearchColumn *column)
{
	Var		   *var;

	if (!is_builtin(exprType(expr)))
		return false;

	if (IsA(expr, RelabelType))
		var = (Var *) ((RelabelType *) expr)->arg;
	else
		var = (Var *) expr;

	return IsA(var, Var) &&
		var->varno == baserel->relid &&
		var->varattno == column->attno &&
		var->varlevelsup == 0 &&
		is_builtin(var->vartype) &&
		exprCollation(expr) == var->varcollid;
}

/*
 * Can the expression be sent to the store as a parameter, without an influence
 * on the collation of the comparison?
 */
static bool
is_sendable_value(Node *expr)
{
	Oid			collation = exprCollation(expr);

	if (!is_builtin(exprType(expr)) ||
		(OidIsValid(collation) && collation != DEFAULT_COLLATION_OID))
		return false;

	switch (nodeTag(expr))
	{
		case T_Var:
			return ((Var *) expr)->varlevelsup == 0 &&
				((Var *) expr)->varattno > 0;
		case T_Const:
			return true;
		case T_Param:
			return ((Param *) expr)->paramkind == PARAM_EXTERN ||
				((Param *) expr)->paramkind == PARAM_EXEC;
		case T_RelabelType:
			return is_sendable_value((Node *) ((RelabelType *) expr)->arg);
		default:
			return false;
	}
}

/*
 * Is the operator an equality operator of the column's index?
 */
static bool
is_index_equality(Oid opno, const SearchColumn *column)
{
	if (!OidIsValid(opno) || !is_builtin(opno))
		return false;
	if (!OidIsValid(column->opfamily))
		return get_mergejoin_opfamilies(opno) != NIL;

	return get_op_opfamily_strategy(opno, column->opfamily) == column->strategy;
}

/*
 * Does the join clause let the store search by the column?
 */
static bool
clause_searches_column(PlannerInfo *root, RelOptInfo *baserel,
					   RestrictInfo *rinfo, const SearchColumn *column)
{
	Node	   *left;
	Node	   *right;
	Oid			opno;
	Oid			inputcollid;

	if (IsA(rinfo->clause, OpExpr) &&
		list_length(((OpExpr *) rinfo->clause)->args) == 2)
	{
		OpExpr	   *op = (OpExpr *) rinfo->clause;

		left = linitial(op->args);
		right = lsecond(op->args);
		opno = op->opno;
		inputcollid = op->inputcollid;
		if (!is_column(left, baserel, column))
		{
			Node	   *swap = left;

			left = right;
			right = swap;
			opno = get_commutator(opno);
		}
	}
	else if (IsA(rinfo->clause, ScalarArrayOpExpr) &&
			 ((ScalarArrayOpExpr *) rinfo->clause)->useOr)
	{
		ScalarArrayOpExpr *op = (ScalarArrayOpExpr *) rinfo->clause;

		left = linitial(op->args);
		right = lsecond(op->args);
		opno = op->opno;
		inputcollid = op->inputcollid;
	}
	else
		return false;

	if (!is_column(left, baserel, column) ||
		!is_sendable_value(right) ||
		!is_index_equality(opno, column))
		return false;
	if (inputcollid != exprCollation(left))
		return false;
	if (OidIsValid(column->opfamily) && column->collation != inputcollid)
		return false;

	return restriction_is_securely_promotable(rinfo, baserel) &&
		!runops_fdw_differs_on(baserel->serverid, (Node *) rinfo->clause);
}

/*
 * The column by which the store can search for a join clause, or NULL.
 */
static const SearchColumn *
clause_column(PlannerInfo *root, RelOptInfo *baserel, List *columns,
			  RestrictInfo *rinfo)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		if (clause_searches_column(root, baserel, rinfo, lfirst(lc)))
			return lfirst(lc);
	}

	return NULL;
}

/*
 * Add to a list the parameterization with which a join clause could be sent.
 */
static List *
add_parameterization(PlannerInfo *root, RelOptInfo *baserel, List *columns,
					 RestrictInfo *rinfo, List *ppi_list)
{
	Relids		required_outer;

	if (!join_clause_is_movable_to(rinfo, baserel) ||
		clause_column(root, baserel, columns, rinfo) == NULL)
		return ppi_list;

	required_outer = bms_union(rinfo->clause_relids, baserel->lateral_relids);
	required_outer = bms_del_member(required_outer, baserel->relid);
	if (bms_is_empty(required_outer))
		return ppi_list;

	/* there is one ParamPathInfo for each set of outer relations */
	return list_append_unique_ptr(ppi_list,
								  get_baserel_parampathinfo(root, baserel,
															required_outer));
}

/*
 * Callback: is the member of an equivalence class the wanted column?
 */
static bool
ec_member_is_column(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec,
					EquivalenceMember *em, void *arg)
{
	return is_column((Node *) em->em_expr, rel, (const SearchColumn *) arg);
}

/*
 * The share of an Append's rescans that reach this leaf, if they use equality
 * on a column that names the store.
 *
 * Run-time pruning sends each outer row to one store.  The store is not known;
 * the best estimate is that rows are searched where the rows are.
 */
static double
store_share(PlannerInfo *root, RelOptInfo *baserel)
{
	double		total = 0;
	Index		parent;

	if (baserel->reloptkind != RELOPT_OTHER_MEMBER_REL || !runops_enable_routing)
		return 1.0;

	parent = root->append_rel_array[baserel->relid]->parent_relid;
	for (int i = 1; i < root->simple_rel_array_size; i++)
	{
		AppendRelInfo *appinfo = root->append_rel_array[i];
		RelOptInfo *sibling = root->simple_rel_array[i];

		if (appinfo != NULL && appinfo->parent_relid == parent &&
			sibling != NULL && !IS_DUMMY_REL(sibling))
			total += Max(sibling->tuples, 1.0);
	}
	if (total <= 0)
		return 1.0;

	return Min(1.0, Max(baserel->tuples / total, MIN_STORE_SHARE));
}

/*
 * The costs of starting a remote query and of fetching a row, from the options
 * of the server or the defaults of postgres_fdw.
 */
void
runops_fdw_remote_costs(Oid serverid, Cost *startup, Cost *per_tuple)
{
	ForeignServer *server = GetForeignServer(serverid);
	ListCell   *lc;

	*startup = PGFDW_STARTUP_COST;
	*per_tuple = PGFDW_TUPLE_COST;

	foreach(lc, server->options)
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		if (strcmp(def->defname, "fdw_startup_cost") == 0)
			(void) parse_real(defGetString(def), startup, 0, NULL);
		else if (strcmp(def->defname, "fdw_tuple_cost") == 0)
			(void) parse_real(defGetString(def), per_tuple, 0, NULL);
	}
}

/*
 * The cost for the store to search a leaf once for each row of other tables,
 * by an index scan; returns false if it has no suitable index.
 *
 * The costs of sending the query and of fetching the rows are not included.
 * share is the share of the rows that reach this store.
 */
static bool
search_cost(PlannerInfo *root, RelOptInfo *baserel, List *columns,
			ParamPathInfo *param_info, double *share,
			Cost *startup_cost, Cost *total_cost)
{
	List	   *searched = NIL;
	double		tuples = Max(baserel->tuples, 1.0);
	double		fetched;
	double		pages;
	QualCost	qual_cost;
	ListCell   *lc;

	*share = 1.0;
	foreach(lc, param_info->ppi_clauses)
	{
		RestrictInfo *rinfo = (RestrictInfo *) lfirst(lc);
		const SearchColumn *column;

		column = clause_column(root, baserel, columns, rinfo);
		if (column == NULL)
			continue;
		searched = lappend(searched, rinfo);
		if (column->names_store)
			*share = store_share(root, baserel);
	}
	if (searched == NIL)
		return false;

	fetched = clamp_row_est(tuples *
							clauselist_selectivity(root, searched,
												   baserel->relid, JOIN_INNER,
												   NULL));
	pages = Min(fetched, Max(baserel->pages, 1));
	cost_qual_eval(&qual_cost,
				   list_concat_copy(param_info->ppi_clauses,
									baserel->baserestrictinfo),
				   root);

	/* the index descent and one index page, then a heap page for each row */
	*startup_cost = qual_cost.startup +
		ceil(log2(tuples + 1.0)) * cpu_operator_cost;
	*total_cost = *startup_cost + (1.0 + pages) * random_page_cost +
		fetched * (cpu_index_tuple_cost + cpu_tuple_cost + qual_cost.per_tuple);

	return true;
}

/*
 * The cost for the store to search a leaf once as part of a remote join;
 * negative if it has no suitable index.
 */
Cost
runops_fdw_search_cost(PlannerInfo *root, RelOptInfo *baserel,
					   ParamPathInfo *param_info)
{
	List	   *columns = search_columns(planner_rt_fetch(baserel->relid, root)->relid);
	double		share;
	Cost		startup_cost;
	Cost		total_cost;

	if (!search_cost(root, baserel, columns, param_info, &share,
					 &startup_cost, &total_cost))
		return -1.0;

	return total_cost * share;
}

/*
 * Add a path that searches the store for each row of the outer relations.
 */
static void
add_search_path(PlannerInfo *root, RelOptInfo *baserel, List *columns,
				ParamPathInfo *param_info)
{
	double		share;
	Cost		fdw_startup_cost;
	Cost		fdw_tuple_cost;
	Cost		startup_cost;
	Cost		total_cost;

	if (!search_cost(root, baserel, columns, param_info, &share,
					 &startup_cost, &total_cost))
		return;

	runops_fdw_remote_costs(baserel->serverid, &fdw_startup_cost,
							&fdw_tuple_cost);
	startup_cost += fdw_startup_cost;
	total_cost += fdw_startup_cost +
		param_info->ppi_rows * (fdw_tuple_cost + cpu_tuple_cost);

	add_path(baserel, (Path *)
			 create_foreign_base_path(root, baserel,
									  param_info->ppi_rows,
									  startup_cost * share,
									  total_cost * share,
									  param_info->ppi_req_outer));
}

/*
 * Offer the paths of postgres_fdw, and parameterized paths if the store is
 * known to have an index for them.
 */
void
runopsGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel,
					  Oid foreigntableid)
{
	List	   *columns;
	List	   *ppi_list = NIL;
	ListCell   *lc;

	runops_fdw_offer_paths(root, baserel, foreigntableid);

	/*
	 * without a join there is no parameter; with remote estimates
	 * postgres_fdw adds them
	 */
	if ((baserel->joininfo == NIL && !baserel->has_eclass_joins) ||
		runops_fdw_uses_remote_estimate(foreigntableid))
		return;

	columns = search_columns(foreigntableid);
	if (columns == NIL)
		return;

	foreach(lc, baserel->joininfo)
		ppi_list = add_parameterization(root, baserel, columns, lfirst(lc),
										ppi_list);

	if (baserel->has_eclass_joins)
	{
		foreach(lc, columns)
		{
			List	   *clauses;
			ListCell   *lc2;

			clauses = generate_implied_equalities_for_column(root, baserel,
															 ec_member_is_column,
															 lfirst(lc),
															 baserel->lateral_referencers);
			foreach(lc2, clauses)
				ppi_list = add_parameterization(root, baserel, columns,
												lfirst(lc2), ppi_list);
		}
	}

	foreach(lc, ppi_list)
	{
		if (runops_fdw_may_search(root, baserel, foreigntableid, lfirst(lc)))
			add_search_path(root, baserel, columns, lfirst(lc));
	}
}
