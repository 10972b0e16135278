/*-------------------------------------------------------------------------
 *
 * obstacle.c
 *	  Decides whether a statement can be sent to a store as a whole.
 *
 * The planner has found that all routed tables of the statement need the same
 * store.  This file looks for a reason not to send it.  It knows what can be
 * sent, and everything else is an obstacle: an expression of another kind, an
 * object that the store does not have, a function whose result depends on the
 * session or on the time, a table whose writes need something here.
 *
 * The first obstacle is kept as a sentence, for EXPLAIN and for errors.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "fdw/fdw.h"
#include "shipping/shipping_int.h"
#include "topology/topology.h"

/* The state of the walk. */
typedef struct ObstacleContext
{
	RunopsShipment *shipment;
	Query	   *query;			/* the level that is being walked */
	bool		upsert_output;	/* in RETURNING of an INSERT? */
	bool		only_builtin;	/* are operators printed without a schema? */
	bool		user_known;		/* was the user of a table seen? */
	int			ntables;		/* routed tables that were found */
	const char *obstacle;
} ObstacleContext;

static bool check_query(ObstacleContext *cxt, Query *query);
static bool check_node(Node *node, void *context);

/*
 * Keep an obstacle.  Returns true, which ends the walk.
 */
static bool
refuse(ObstacleContext *cxt, const char *obstacle)
{
	cxt->obstacle = obstacle;

	return true;
}

/*
 * The replacement of a routed table, or NULL if the planner has found none.
 */
static const RunopsReplacement *
find_replacement(ObstacleContext *cxt, Query *query, Index rti)
{
	ListCell   *lc;

	foreach(lc, cxt->shipment->statement->tables)
	{
		const RunopsReplacement *table = (RunopsReplacement *) lfirst(lc);

		if (table->query == query && table->rti == rti)
			return table;
	}

	return NULL;
}

/*
 * Do a leaf and its table in the store have the name and the columns of the
 * routed table?
 */
static bool
names_agree(const RunopsReplacement *table)
{
	const char *schema;
	const char *name;
	Relation	parent;
	Relation	leaf;
	TupleDesc	desc;
	bool		result;

	runops_fdw_remote_name(table->leaf->relid, &schema, &name);
	if (strcmp(schema, table->route->schema) != 0 || strcmp(name, table->route->name) != 0)
		return false;

	parent = table_open(table->route->relid, NoLock);
	leaf = table_open(table->leaf->relid, AccessShareLock);
	desc = RelationGetDescr(parent);
	result = true;
	for (int i = 0; i < desc->natts && result; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		AttrNumber	attno;

		if (att->attisdropped)
			continue;
		attno = get_attnum(table->leaf->relid, NameStr(att->attname));
		result = attno != InvalidAttrNumber &&
			strcmp(runops_fdw_remote_column(leaf, attno),
				   quote_identifier(NameStr(att->attname))) == 0;
	}
	table_close(leaf, NoLock);
	table_close(parent, NoLock);

	return result;
}

/*
 * Check the routed table at a place in a query.
 */
static bool
check_table(ObstacleContext *cxt, Query *query, Index rti)
{
	RangeTblEntry *rte = rt_fetch(rti, query->rtable);
	const RunopsReplacement *table;
	Oid			userid = RTE_CHECK_AS_USER(query, rte);
	Relation	rel;
	bool		has_rules;

	/* an old view keeps entries for rules that nothing refers to */
	if (rte->relkind == RELKIND_VIEW)
		return false;
	/* EXCLUDED is the new row; the rewriter leaves that of a view behind */
	if (rte->relkind == RELKIND_COMPOSITE_TYPE ||
		(query->onConflict && query->onConflict->exclRelIndex == rti))
		return false;

	table = find_replacement(cxt, query, rti);
	if (table == NULL)
		return refuse(cxt, psprintf(_("\"%s\" is not a routed table, or needs more than this store."),
									get_rel_name(rte->relid)));
	cxt->ntables++;
	if (rte->tablesample != NULL)
		return refuse(cxt, _("It has TABLESAMPLE."));
	if (rte->securityQuals != NIL)
		return refuse(cxt, psprintf(_("A policy of \"%s\" applies."), table->route->name));
	if (cxt->user_known && userid != cxt->shipment->userid)
		return refuse(cxt, _("It reads its tables as several roles."));
	cxt->user_known = true;
	cxt->shipment->userid = userid;

	if (!names_agree(table))
		return refuse(cxt, psprintf(_("\"%s\" has another name, or other names of columns, in the store."),
									table->route->name));
	rel = table_open(table->route->relid, NoLock);
	has_rules = rel->rd_rules != NULL;
	table_close(rel, NoLock);
	if (has_rules)
		return refuse(cxt, psprintf(_("\"%s\" has rules."), table->route->name));

	return false;
}

/*
 * Check an entry of a range table.
 */
static bool
check_entry(ObstacleContext *cxt, Query *query, Index rti)
{
	RangeTblEntry *rte = rt_fetch(rti, query->rtable);
	ListCell   *lc;

	switch (rte->rtekind)
	{
		case RTE_RELATION:
			return check_table(cxt, query, rti);
		case RTE_SUBQUERY:
			if (rte->security_barrier)
				return refuse(cxt, _("It reads a view with security_barrier."));
			return false;
		case RTE_FUNCTION:
			foreach(lc, rte->functions)
			{
				RangeTblFunction *function = lfirst_node(RangeTblFunction, lc);
				ListCell   *type;

				foreach(type, function->funccoltypes)
				{
					if (!runops_ship_type_is_known(cxt->shipment, lfirst_oid(type)))
						return refuse(cxt, psprintf(_("The store may have another type %s."),
													format_type_be(lfirst_oid(type))));
				}
			}
			return false;
		case RTE_JOIN:
		case RTE_VALUES:
		case RTE_CTE:
		case RTE_RESULT:
			return false;
		default:
			if (RTE_IS_GROUP(rte))
				return false;
			return refuse(cxt, _("It reads something that is not a table, a function or a query."));
	}
}

/*
 * Is a type an enum?  The store may have it under the same name, but with another
 * OID and perhaps another order.  Its values travel as text.
 */
static inline bool
is_enum(Oid type)
{
	return get_typtype(type) == TYPTYPE_ENUM;
}

/*
 * Check that values of a type mean the same in the store.
 */
static bool
check_type(ObstacleContext *cxt, Oid type)
{
	if (runops_ship_type_is_known(cxt->shipment, type))
		return false;

	return refuse(cxt, psprintf(_("Type %s may be another one in the store."),
								format_type_be(type)));
}

/*
 * check_functions_in_node() callback: must a function not be sent?
 */
static bool
refuse_function(Oid funcid, void *context)
{
	ObstacleContext *cxt = context;

	if (runops_ship_function_is_sent(cxt->shipment, funcid))
		return false;

	return refuse(cxt, psprintf(_("Function %s is not sent."), format_procedure(funcid)));
}

/*
 * Check the functions of a node.
 */
static bool
check_node_functions(ObstacleContext *cxt, Node *node)
{
	return !runops_ship_is_settled(node) && check_functions_in_node(node, refuse_function, cxt);
}

/*
 * Check an operator.  One of an extension is printed with its schema in some
 * expressions only.
 */
static bool
check_operator(ObstacleContext *cxt, Oid opno, bool qualified)
{
	if (opno < FirstGenbkiObjectId ||
		(qualified && !cxt->only_builtin &&
		 runops_ship_object_is_known(cxt->shipment, OperatorRelationId, opno)))
		return false;

	return refuse(cxt, psprintf(_("Operator %s is not sent."), format_operator(opno)));
}

/*
 * Check the operators and collations of a list of SortGroupClause.
 */
static bool
check_sorts(ObstacleContext *cxt, List *clauses, List *tlist, bool ordered)
{
	ListCell   *lc;

	foreach(lc, clauses)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);
		Oid			type = exprType(get_sortgroupclause_expr(clause, tlist));

		if (check_operator(cxt, clause->eqop, false) ||
			(ordered && OidIsValid(clause->sortop) && check_operator(cxt, clause->sortop, false)))
			return true;
		if (ordered && is_enum(type))
			return refuse(cxt, psprintf(_("The values of type %s may have another order in the store."),
										format_type_be(type)));
	}
	if (runops_fdw_sorts_differ(&cxt->shipment->collations, clauses, tlist, ordered))
		return refuse(cxt, _("It sorts or groups by a collation that is not known to be the same in the store."));

	return false;
}

/*
 * Check a column.  The name of its type is not printed.
 */
static bool
check_var(ObstacleContext *cxt, Var *var)
{
	/* it tells an inserted row of an upsert from an updated one */
	if (var->varattno == MaxTransactionIdAttributeNumber && cxt->upsert_output &&
		var->varlevelsup == 0 && var->varno == cxt->query->resultRelation)
		return false;
	if (var->varattno < 0)
		return refuse(cxt, _("It reads a system column."));
	if (var->varattno == 0)
		return refuse(cxt, _("It reads a whole row."));
	if (is_enum(var->vartype) || is_enum(get_element_type(var->vartype)))
		return false;

	/* a value of a domain is checked again when it arrives here */
	return check_type(cxt, getBaseType(var->vartype));
}

/*
 * Check the arguments of a function or an aggregate: only count() may have one
 * of an enum.
 */
static bool
check_arguments(ObstacleContext *cxt, Oid funcid, List *args)
{
	ListCell   *lc;

	if (runops_ship_text_depends(funcid, args))
		return refuse(cxt, psprintf(_("Function %s of a type whose text depends on settings is not sent."),
									format_procedure(funcid)));
	foreach(lc, args)
	{
		Node	   *arg = (Node *) lfirst(lc);
		Oid			type;

		if (IsA(arg, TargetEntry))
			arg = (Node *) ((TargetEntry *) arg)->expr;
		type = exprType(arg);
		if (funcid != F_COUNT_ANY && (is_enum(type) || is_enum(get_element_type(type))))
			return refuse(cxt, psprintf(_("Function %s of an enum is not sent."),
										format_procedure(funcid)));
	}

	return false;
}

/*
 * Check an aggregate.
 */
static bool
check_aggregate(ObstacleContext *cxt, Aggref *agg)
{
	if (!runops_ship_aggregate_is_sent(cxt->shipment, agg))
		return refuse(cxt, psprintf(_("Function %s is not sent."), format_procedure(agg->aggfnoid)));

	return check_arguments(cxt, agg->aggfnoid, agg->args) ||
		check_sorts(cxt, agg->aggorder, agg->args, true) ||
		check_sorts(cxt, agg->aggdistinct, agg->args, false);
}

/*
 * Check an operator and its arguments.
 *
 * The labels of an enum are compared for equality, so their order does not
 * matter.  One of its sides must have a type in the store by itself.
 */
static bool
check_comparison(ObstacleContext *cxt, Oid opno, List *args)
{
	Node	   *left = linitial(args);
	Node	   *right = llast(args);
	RegProcedure function;

	if (list_length(args) != 2 ||
		!(is_enum(exprType(left)) || is_enum(exprType(right)) ||
		  is_enum(get_element_type(exprType(right)))))
		return check_operator(cxt, opno, true) ||
			check_arguments(cxt, get_opcode(opno), args) || check_node((Node *) args, cxt);

	function = get_opcode(opno);
	if (function != F_ENUM_EQ && function != F_ENUM_NE)
		return refuse(cxt, _("The values of an enum may have another order in the store."));
	if (runops_ship_is_untyped_value(left))
		return runops_ship_is_untyped_value(right) ?
			refuse(cxt, _("It compares two values of an enum.")) : check_node(right, cxt);

	return check_node(left, cxt) ||
		(!runops_ship_is_untyped_value(right) && check_node(right, cxt));
}

/*
 * Check an expression that is assigned to a column, which gives it its type.
 */
static bool
check_assigned(ObstacleContext *cxt, List *tlist)
{
	ListCell   *lc;

	foreach(lc, tlist)
	{
		Node	   *expr = (Node *) lfirst_node(TargetEntry, lc)->expr;

		if (!runops_ship_is_untyped_value(expr) && check_node(expr, cxt))
			return true;
	}

	return false;
}

/*
 * Check the type of an expression of a kind that can be sent.
 */
static bool
check_result(ObstacleContext *cxt, Node *node)
{
	return check_type(cxt, exprType(node));
}

/*
 * Check a sublink.  Its operator is printed without a schema if it compares
 * several columns.
 */
static bool
check_sublink(ObstacleContext *cxt, SubLink *sublink)
{
	bool		only_builtin = cxt->only_builtin;
	bool		result;

	cxt->only_builtin = true;
	result = check_node(sublink->testexpr, cxt);
	cxt->only_builtin = only_builtin;

	return result || check_query(cxt, castNode(Query, sublink->subselect));
}

/*
 * Check a CASE.  The operator that compares its argument is not printed at all.
 */
static bool
check_case(ObstacleContext *cxt, CaseExpr *expr)
{
	bool		only_builtin = cxt->only_builtin;
	bool		result;

	if (expr->arg != NULL)
		cxt->only_builtin = true;
	result = check_result(cxt, (Node *) expr) || expression_tree_walker((Node *) expr, check_node, cxt);
	cxt->only_builtin = only_builtin;

	return result;
}

/*
 * Check a node of a join tree or of a set operation, or of another part of a
 * query that is not an expression.
 */
static bool
check_structure(ObstacleContext *cxt, Node *node)
{
	ListCell   *lc;

	switch (nodeTag(node))
	{
		case T_List:
		case T_TargetEntry:
		case T_FromExpr:
		case T_RangeTblRef:
		case T_CaseWhen:
		case T_NamedArgExpr:
			/* looked at with its expressions */
		case T_SortGroupClause:
			break;
		case T_JoinExpr:
			if (((JoinExpr *) node)->usingClause != NIL)
			{
				bool		only_builtin = cxt->only_builtin;
				bool		result;

				cxt->only_builtin = true;
				result = expression_tree_walker(node, check_node, cxt);
				cxt->only_builtin = only_builtin;
				return result;
			}
			break;
		case T_SetOperationStmt:
			foreach(lc, ((SetOperationStmt *) node)->colTypes)
			{
				if (check_type(cxt, lfirst_oid(lc)))
					return true;
			}
			foreach(lc, ((SetOperationStmt *) node)->groupClauses)
			{
				if (check_operator(cxt, lfirst_node(SortGroupClause, lc)->eqop, false))
					return true;
			}
			foreach(lc, ((SetOperationStmt *) node)->all ? NIL : ((SetOperationStmt *) node)->colCollations)
			{
				if (runops_fdw_collation_differs(&cxt->shipment->collations, lfirst_oid(lc), true))
					return refuse(cxt, _("It groups by a collation that is not known to be the same in the store."));
			}
			break;
		default:
			return refuse(cxt, IsA(node, CoerceToDomain) ?
						  _("It computes a value of a domain.") :
						  psprintf(_("An expression of this kind is not sent (node type %d)."),
								   (int) nodeTag(node)));
	}

	return expression_tree_walker(node, check_node, cxt);
}

/*
 * Walker: is there an obstacle in an expression?
 */
static bool
check_node(Node *node, void *context)
{
	ObstacleContext *cxt = context;

	if (node == NULL)
		return false;
	check_stack_depth();
	if (IsA(node, Query))
		return check_query(cxt, (Query *) node);
	if (runops_ship_is_evaluated_here(node))
		return check_result(cxt, node);

	switch (nodeTag(node))
	{
		case T_Var:
			return check_var(cxt, (Var *) node);
		case T_Const:
			return check_result(cxt, node);
		case T_Param:
			if (((Param *) node)->paramkind == PARAM_EXEC)
				return refuse(cxt, _("It has a parameter of the executor."));
			return check_result(cxt, node);
		case T_Aggref:
			return check_aggregate(cxt, (Aggref *) node) || check_result(cxt, node) ||
				expression_tree_walker(node, check_node, cxt);
		case T_WindowFunc:
			if (check_arguments(cxt, ((WindowFunc *) node)->winfnoid, ((WindowFunc *) node)->args))
				return true;
			break;
		case T_FuncExpr:
			if (check_arguments(cxt, ((FuncExpr *) node)->funcid, ((FuncExpr *) node)->args))
				return true;
			break;
		case T_OpExpr:
			return check_node_functions(cxt, node) || check_result(cxt, node) ||
				check_comparison(cxt, ((OpExpr *) node)->opno, ((OpExpr *) node)->args);
		case T_ScalarArrayOpExpr:
			return check_functions_in_node(node, refuse_function, cxt) ||
				check_comparison(cxt, ((ScalarArrayOpExpr *) node)->opno,
								 ((ScalarArrayOpExpr *) node)->args);
		case T_DistinctExpr:
		case T_NullIfExpr:
			if (check_operator(cxt, ((OpExpr *) node)->opno, false) ||
				check_arguments(cxt, get_opcode(((OpExpr *) node)->opno), ((OpExpr *) node)->args))
				return true;
			break;
		case T_RowCompareExpr:
			{
				ListCell   *lc;

				foreach(lc, ((RowCompareExpr *) node)->opnos)
				{
					if (check_operator(cxt, lfirst_oid(lc), false))
						return true;
				}
				break;
			}
		case T_RowExpr:
			if (((RowExpr *) node)->row_typeid != RECORDOID)
				return check_result(cxt, node);
			break;
		case T_CollateExpr:
			if (((CollateExpr *) node)->collOid >= FirstGenbkiObjectId)
				return refuse(cxt, _("It has COLLATE with a collation that is not built in."));
			break;
		case T_SubLink:
			return check_sublink(cxt, (SubLink *) node);
		case T_CaseExpr:
			return check_case(cxt, (CaseExpr *) node);
		case T_GroupingFunc:
		case T_SubscriptingRef:
		case T_BoolExpr:
		case T_FieldSelect:
		case T_FieldStore:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_NullTest:
		case T_BooleanTest:
			break;
		default:
			return check_structure(cxt, node);
	}

	return check_node_functions(cxt, node) || check_result(cxt, node) ||
		expression_tree_walker(node, check_node, cxt);
}

/*
 * Check the table that a query writes to.
 */
static bool
check_target(ObstacleContext *cxt, Query *query)
{
	const RunopsReplacement *table = find_replacement(cxt, query, query->resultRelation);
	const char *obstacle;

	/* check_table() has refused it already otherwise */
	if (table == NULL)
		return false;
	obstacle = runops_ship_target_obstacle(cxt->shipment, query, table);
	if (obstacle != NULL)
		return refuse(cxt, obstacle);
	cxt->shipment->writes = true;

	return false;
}

/*
 * Check ON CONFLICT.
 */
static bool
check_conflict(ObstacleContext *cxt, OnConflictExpr *conflict)
{
	ListCell   *lc;

	if (OidIsValid(conflict->constraint))
		return refuse(cxt, _("It has ON CONFLICT ON CONSTRAINT."));
	foreach(lc, conflict->arbiterElems)
	{
		InferenceElem *elem = lfirst_node(InferenceElem, lc);

		if (OidIsValid(elem->infercollid) || OidIsValid(elem->inferopclass))
			return refuse(cxt, _("Its conflict target names a collation or an operator class."));
		if (check_node(elem->expr, cxt))
			return true;
	}

	return check_node(conflict->arbiterWhere, cxt) ||
		check_assigned(cxt, conflict->onConflictSet) ||
		check_node(conflict->onConflictWhere, cxt);
}

/*
 * Check WITH.
 */
static bool
check_ctes(ObstacleContext *cxt, Query *query)
{
	ListCell   *lc;

	foreach(lc, query->cteList)
	{
		CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);

		if (cte->search_clause != NULL || cte->cycle_clause != NULL)
			return refuse(cxt, _("It has SEARCH or CYCLE."));
		/* it is not executed, and its privileges are not checked */
		if (cte->cterefcount == 0 && castNode(Query, cte->ctequery)->commandType == CMD_SELECT)
			return refuse(cxt, _("A query in WITH is not used."));
		if (check_query(cxt, castNode(Query, cte->ctequery)))
			return true;
	}

	return false;
}

/*
 * Check what a query inserts.  The values of a row are evaluated here; those of the rows
 * of a query are not.
 */
static bool
check_insert(ObstacleContext *cxt, Query *query)
{
	List	   *attnos;
	List	   *rows;

	if (runops_ship_insert_source(query) != 0)
		return runops_fdw_differs(&cxt->shipment->collations, (Node *) query->targetList) ?
			refuse(cxt, _("It depends on a collation that is not known to be the same in the store.")) :
			check_assigned(cxt, query->targetList);
	if (!runops_ship_insert_rows(query, &attnos, &rows))
		return refuse(cxt, _("It inserts values that depend on a query."));
	if ((Size) list_length(rows) * list_length(attnos) > RUNOPS_MAX_VALUES)
		return refuse(cxt, _("It inserts too many values."));

	return false;
}

/*
 * Check the window clauses of a query.
 */
static bool
check_windows(ObstacleContext *cxt, Query *query)
{
	ListCell   *lc;

	foreach(lc, query->windowClause)
	{
		WindowClause *window = lfirst_node(WindowClause, lc);

		if (check_sorts(cxt, window->partitionClause, query->targetList, true) ||
			check_sorts(cxt, window->orderClause, query->targetList, true) ||
			check_node(window->startOffset, cxt) || check_node(window->endOffset, cxt))
			return true;
		if (OidIsValid(window->startInRangeFunc) && window->startInRangeFunc >= FirstGenbkiObjectId)
			return refuse(cxt, _("It has a window frame whose function is not built in."));
		if (OidIsValid(window->endInRangeFunc) && window->endInRangeFunc >= FirstGenbkiObjectId)
			return refuse(cxt, _("It has a window frame whose function is not built in."));
	}

	return false;
}

/*
 * Check the columns of the result of a query.
 */
static bool
check_output(ObstacleContext *cxt, List *tlist)
{
	ListCell   *lc;

	foreach(lc, tlist)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (!tle->resjunk && exprType((Node *) tle->expr) == RECORDOID)
			return refuse(cxt, _("A column of its result is a row."));
	}

	return check_node((Node *) tlist, cxt);
}

/*
 * Check everything of a query but its range table: its command, its clauses and
 * its expressions.
 */
static bool
check_clauses(ObstacleContext *cxt, Query *query)
{
	bool		inserts = query->commandType == CMD_INSERT;
	List	   *parts = list_make4(query->jointree, query->havingQual, query->limitOffset,
								   query->limitCount);
	bool		result;

	if (query->commandType != CMD_SELECT && query->commandType != CMD_UPDATE &&
		query->commandType != CMD_DELETE && !inserts)
		return refuse(cxt, _("MERGE is not sent."));
	/* whether a policy applies depends on the role */
	if (query->hasRowSecurity)
		cxt->shipment->depends_on_role = true;
	if (query->resultRelation != 0 && check_target(cxt, query))
		return true;
	if (query->rowMarks != NIL)
		cxt->shipment->locks = true;

	if (inserts ? check_insert(cxt, query) :
		query->commandType == CMD_UPDATE ? check_assigned(cxt, query->targetList) :
		check_output(cxt, query->targetList))
		return true;
	if (query->onConflict != NULL && check_conflict(cxt, query->onConflict))
		return true;
	cxt->upsert_output = inserts;
	result = check_output(cxt, query->returningList);
	cxt->upsert_output = false;
	if (result || check_node((Node *) parts, cxt) || check_node(query->setOperations, cxt) ||
		check_sorts(cxt, query->sortClause, query->targetList, true) ||
		check_sorts(cxt, query->groupClause, query->targetList, false) ||
		check_sorts(cxt, query->distinctClause, query->targetList, query->hasDistinctOn) ||
		check_windows(cxt, query))
		return true;

	parts = lappend(parts, inserts ? NIL : query->targetList);
	parts = lappend(parts, query->returningList);
	parts = lappend(parts, query->setOperations);
	if (query->onConflict != NULL)
		parts = list_concat(parts, list_make3(query->onConflict->arbiterWhere,
											  query->onConflict->onConflictSet,
											  query->onConflict->onConflictWhere));
	if (runops_fdw_differs(&cxt->shipment->collations, (Node *) parts))
		return refuse(cxt, _("It depends on a collation that is not known to be the same in the store."));

	return false;
}

/*
 * Check the functions of an entry of FROM.
 */
static bool
check_functions(ObstacleContext *cxt, List *functions)
{
	ListCell   *lc;

	foreach(lc, functions)
	{
		if (check_node(lfirst_node(RangeTblFunction, lc)->funcexpr, cxt))
			return true;
	}

	return false;
}

/*
 * Check a query, and the queries inside it.
 */
static bool
check_query(ObstacleContext *cxt, Query *query)
{
	Query	   *outer = cxt->query;
	bool		outer_output = cxt->upsert_output;
	Index		rti = 0;
	ListCell   *lc;

	check_stack_depth();
	cxt->query = query;
	cxt->upsert_output = false;
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (check_entry(cxt, query, ++rti))
			return true;
		if (rte->rtekind == RTE_SUBQUERY ? check_query(cxt, rte->subquery) :
			rte->rtekind == RTE_FUNCTION ? check_functions(cxt, rte->functions) :
			rte->rtekind == RTE_VALUES && query->commandType != CMD_INSERT ?
			check_node((Node *) rte->values_lists, cxt) :
			RTE_IS_GROUP(rte) ? check_node((Node *) RTE_GROUP_EXPRS(rte), cxt) : false)
			return true;
	}
	if (check_ctes(cxt, query) || check_clauses(cxt, query))
		return true;
	cxt->query = outer;
	cxt->upsert_output = outer_output;

	return false;
}

/*
 * Is a condition never true, so that the statement reads nothing?
 */
static bool
is_never_true(Node *quals)
{
	ListCell   *lc;

	foreach(lc, make_ands_implicit((Expr *) quals))
	{
		Const	   *value = (Const *) lfirst(lc);

		if (IsA(value, Const) && (value->constisnull || !DatumGetBool(value->constvalue)))
			return true;
	}

	return false;
}

/*
 * Why a statement cannot be sent as a whole: a sentence, or NULL if it can.
 *
 * Fills in what the walk finds out about it: the user, locks and writes.
 */
const char *
runops_ship_obstacle(RunopsShipment *shipment)
{
	ObstacleContext cxt = {.shipment = shipment};

	if (is_never_true(shipment->statement->query->jointree->quals))
		return _("Its condition is never true.");
	if (check_query(&cxt, shipment->statement->query))
		return cxt.obstacle;
	if (cxt.ntables != list_length(shipment->statement->tables))
		return _("A routed table is read in a place that is not looked at.");

	return NULL;
}

/*
 * Why an expression over the columns of a table cannot be sent: a sentence, or
 * NULL if it can.
 */
const char *
runops_ship_expression_obstacle(RunopsShipment *shipment, Node *expr)
{
	ObstacleContext cxt = {.shipment = shipment};

	if (!check_node(expr, &cxt) && runops_fdw_differs(&shipment->collations, expr))
		(void) refuse(&cxt, _("It depends on a collation that is not known to be the same in the store."));

	return cxt.obstacle;
}
