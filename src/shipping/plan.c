/*-------------------------------------------------------------------------
 *
 * plan.c
 *	  Builds the plan of a statement that is sent as a whole.
 *
 * The plan is one node.  Its range table has the entries of all levels of the
 * query, so that core checks their privileges and locks their tables, and the
 * leaves, so that a change of one of them invalidates the plan.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planmain.h"
#include "optimizer/planner.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"

#include "base/compat.h"
#include "shipping/shipping_int.h"

/* The options of the plan for a cursor, whose rows may not all be wanted. */
#define CURSOR_OPTIONS \
	(CURSOR_OPT_SCROLL | CURSOR_OPT_NO_SCROLL | CURSOR_OPT_FAST_PLAN)

/*
 * Walker: add the tables and views of all levels to the range table of a plan.
 */
static bool
add_entries_walker(Node *node, void *context)
{
	PlannedStmt *stmt = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		ListCell   *lc;

		foreach(lc, query->rtable)
		{
			RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
			RangeTblEntry *entry;

			if (rte->rtekind != RTE_RELATION &&
				!(rte->rtekind == RTE_SUBQUERY && OidIsValid(rte->relid)))
				continue;
			entry = palloc(sizeof(RangeTblEntry));
			memcpy(entry, rte, sizeof(RangeTblEntry));
			entry->subquery = NULL;
			entry->securityQuals = NIL;
			entry->tablesample = NULL;
			ADD_TO_RANGE_TABLE(stmt, query, rte, entry);
			stmt->relationOids = list_append_unique_oid(stmt->relationOids, rte->relid);
		}
		return query_tree_walker(query, add_entries_walker, context, 0);
	}

	return expression_tree_walker(node, add_entries_walker, context);
}

/*
 * Add a leaf to the range table of a plan; returns its index.  Nothing is checked
 * for it, because the user has named the routed table.
 */
static Index
add_leaf(PlannedStmt *stmt, const RunopsReplacement *table)
{
	RangeTblEntry *routed = rt_fetch(table->rti, table->query->rtable);
	RangeTblEntry *entry = makeNode(RangeTblEntry);

	entry->rtekind = RTE_RELATION;
	entry->relid = table->leaf->relid;
	entry->relkind = RELKIND_FOREIGN_TABLE;
	entry->rellockmode = routed->rellockmode;
	entry->eref = makeAlias(table->route->name, NIL);
	stmt->rtable = lappend(stmt->rtable, entry);
	stmt->relationOids = list_append_unique_oid(stmt->relationOids, table->leaf->relid);

	return list_length(stmt->rtable);
}

/*
 * Note in a plan that rows of the top level are locked.  The executor does
 * nothing for it, but whoever looks at the plan knows.
 */
static void
add_row_marks(PlannedStmt *stmt, Query *query, Index leaf)
{
	ListCell   *lc;

	foreach(lc, query->rowMarks)
	{
		RowMarkClause *clause = lfirst_node(RowMarkClause, lc);
		PlanRowMark *mark = makeNode(PlanRowMark);

		mark->rti = mark->prti = leaf;
		mark->rowmarkId = list_length(stmt->rowMarks) + 1;
		mark->markType = ROW_MARK_COPY;
		mark->allMarkTypes = 1 << ROW_MARK_COPY;
		mark->strength = clause->strength;
		mark->waitPolicy = clause->waitPolicy;
		stmt->rowMarks = lappend(stmt->rowMarks, mark);
	}
}

/*
 * What EXPLAIN shows for a column of the store's rows: its name, if it is a column
 * of a table.  The executor uses nothing but its type.
 */
static Expr *
shown_column(PlannedStmt *stmt, Query *query, Expr *expr)
{
	Var		   *var = (Var *) expr;
	ListCell   *lc;

	if (IsA(expr, Var) && var->varlevelsup == 0 && var->varattno > 0)
	{
		RangeTblEntry *rte = rt_fetch(var->varno, query->rtable);

		foreach(lc, stmt->rtable)
		{
			/* the plan's entries are copies */
			if (rte->rtekind == RTE_RELATION && lfirst_node(RangeTblEntry, lc)->eref == rte->eref)
				return (Expr *) makeVar(foreach_current_index(lc) + 1, var->varattno, var->vartype,
										var->vartypmod, var->varcollid, 0);
		}
	}

	return (Expr *) makeNullConst(exprType((Node *) expr), exprTypmod((Node *) expr),
								  exprCollation((Node *) expr));
}

/*
 * The columns of the result, as the columns of a node's rows.
 */
List *
runops_ship_result_columns(PlannedStmt *stmt, Query *query, List *tlist, List **rows)
{
	List	   *result = NIL;
	ListCell   *lc;

	*rows = NIL;
	foreach(lc, tlist)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		Node	   *expr = (Node *) tle->expr;
		AttrNumber	column = list_length(result) + 1;
		TargetEntry *output;

		if (tle->resjunk)
			continue;
		*rows = lappend(*rows,
						makeTargetEntry(shown_column(stmt, query, tle->expr), column, tle->resname, false));
		output = makeTargetEntry((Expr *) makeVar(INDEX_VAR, column, exprType(expr),
												  exprTypmod(expr), exprCollation(expr), 0),
								 column, tle->resname, false);
		/* the client is told where a column comes from */
		output->resorigtbl = tle->resorigtbl;
		output->resorigcol = tle->resorigcol;
		result = lappend(result, output);
	}

	return result;
}

/*
 * Prepare the expressions that are evaluated here.
 */
static List *
prepare_values(PlannedStmt *stmt, List *values)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, values)
	{
		List	   *relations;
		List	   *items;

		result = lappend(result,
						 expression_planner_with_deps(lfirst(lc), &relations, &items));
		stmt->relationOids = list_concat_unique_oid(stmt->relationOids, relations);
		stmt->invalItems = list_concat(stmt->invalItems, items);
	}

	return result;
}

/*
 * The leaf of a routed table of the statement.
 */
static Oid
leaf_of(const RunopsShipment *shipment, Oid table)
{
	ListCell   *lc;

	foreach(lc, shipment->statement->tables)
	{
		const RunopsReplacement *replacement = (RunopsReplacement *) lfirst(lc);

		if (replacement->route->relid == table)
			return replacement->leaf->relid;
	}

	return InvalidOid;
}

/*
 * The first entry of a table in the range table of a plan.
 */
static Index
find_entry(PlannedStmt *stmt, Oid relid)
{
	ListCell   *lc;

	foreach(lc, stmt->rtable)
	{
		if (lfirst_node(RangeTblEntry, lc)->relid == relid)
			return foreach_current_index(lc) + 1;
	}
	elog(ERROR, "could not find table %u in the plan", relid);
}

/*
 * The first entry of a table that asks for the right to insert, and so tells which
 * columns the user has given.
 */
static Index
inserting_entry(PlannedStmt *stmt, Oid relid)
{
	ListCell   *lc;

	foreach(lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->relid == relid && (PLAN_REQUIRED_PERMS(stmt, rte) & ACL_INSERT) != 0)
			return foreach_current_index(lc) + 1;
	}

	return find_entry(stmt, relid);
}

/*
 * Add the leaves to the range table, and describe them for the executor.
 */
static void
add_leaves(PlannedStmt *stmt, RunopsShipment *shipment, List **leaves, List **targets,
		   List **inserted)
{
	Query	   *query = shipment->statement->query;
	ListCell   *lc;

	*leaves = *targets = *inserted = NIL;
	foreach(lc, shipment->statement->tables)
	{
		const RunopsReplacement *table = (RunopsReplacement *) lfirst(lc);
		Index		rti = add_leaf(stmt, table);

		*leaves = list_append_unique_oid(*leaves, table->leaf->relid);
		if (table->rti == table->query->resultRelation)
			*targets = list_append_unique_oid(*targets, table->leaf->relid);
		if (table->query == query && stmt->rowMarks == NIL)
			add_row_marks(stmt, query, rti);
	}

	foreach(lc, shipment->rows)
	{
		RunopsShippedRows *sent = (RunopsShippedRows *) lfirst(lc);

		*inserted = lappend(*inserted,
							list_make4(makeInteger(inserting_entry(stmt, sent->table)),
									   makeInteger(find_entry(stmt, leaf_of(shipment, sent->table))),
									   sent->names, sent->rows));
	}
}

/*
 * Describe for the executor what the guard of the statement returns.
 */
static List *
describe_guard(PlannedStmt *stmt, RunopsShipment *shipment)
{
	Query	   *query = shipment->statement->query;
	Oid			table;

	if (shipment->guarded == NIL)
		return NIL;
	table = rt_fetch(query->resultRelation, query->rtable)->relid;

	return list_make3(makeInteger(find_entry(stmt, table)),
					  makeInteger(find_entry(stmt, leaf_of(shipment, table))),
					  shipment->guarded);
}

/*
 * Does a statement read rows?  The table of an INSERT is not read.
 */
static bool
reads_rows(RunopsShipment *shipment)
{
	ListCell   *lc;

	foreach(lc, shipment->statement->tables)
	{
		const RunopsReplacement *table = (RunopsReplacement *) lfirst(lc);

		if (table->query->commandType != CMD_INSERT || table->rti != table->query->resultRelation)
			return true;
	}

	return false;
}

/*
 * The plan of a statement with this text.
 */
PlannedStmt *
runops_ship_plan(RunopsShipment *shipment, const char *sql)
{
	Query	   *query = shipment->statement->query;
	PlannedStmt *stmt = makeNode(PlannedStmt);
	CustomScan *node = makeNode(CustomScan);
	List	   *leaves;
	List	   *targets;
	List	   *inserted;
	List	   *output = query->commandType == CMD_SELECT ? query->targetList : query->returningList;
	int			flags = 0;

	stmt->commandType = query->commandType;
	stmt->queryId = query->queryId;
	stmt->hasReturning = query->returningList != NIL;
	stmt->hasModifyingCTE = query->hasModifyingCTE;
	stmt->dependsOnRole = shipment->depends_on_role;
	stmt->canSetTag = query->canSetTag;
	stmt->stmt_location = query->stmt_location;
	stmt->stmt_len = query->stmt_len;
	(void) add_entries_walker((Node *) query, stmt);
	add_leaves(stmt, shipment, &leaves, &targets, &inserted);

	if (shipment->locks)
		flags |= STATEMENT_LOCKS;
	if (shipment->writes)
		flags |= STATEMENT_WRITES;
	if (reads_rows(shipment))
		flags |= STATEMENT_READS;
	/* a SELECT returns rows even if they have no columns */
	if (query->commandType == CMD_SELECT || output != NIL || shipment->guarded != NIL ||
		shipment->one_by_one)
		flags |= STATEMENT_RETURNS;
	if (shipment->one_by_one)
		flags |= STATEMENT_ONE_BY_ONE;
	if (shipment->refers)
		flags |= STATEMENT_REFERS;

	/*
	 * The tables are restricted to known keys, so there are few rows.  If
	 * there are many, they go to a temporary file.
	 */
	if (shipment->writes || (shipment->statement->cursorOptions & CURSOR_OPTIONS) == 0)
		flags |= STATEMENT_AT_ONCE;
	if (query->commandType != CMD_SELECT)
		flags |= STATEMENT_COUNTS;

	node->methods = &runops_statement_methods;
	node->scan.plan.targetlist = runops_ship_result_columns(stmt, query, output, &node->custom_scan_tlist);
	node->scan.plan.plan_rows = 1;
	node->scan.plan.startup_cost = 0;
	node->scan.plan.total_cost = 10;
	node->custom_exprs = prepare_values(stmt, shipment->values);
	node->custom_private = list_make5(makeString(pstrdup(sql)), makeInteger(flags),
									  list_make1_oid(shipment->userid), leaves, targets);
	node->custom_private = lappend(node->custom_private, inserted);
	node->custom_private = lappend(node->custom_private, describe_guard(stmt, shipment));
	node->custom_private = lappend(node->custom_private,
								   makeInteger(shipment->one_by_one ? shipment->nparams :
											   list_length(shipment->values)));
	stmt->planTree = (Plan *) node;
	if (shipment->statement->cursorOptions & CURSOR_OPT_SCROLL)
		stmt->planTree = materialize_finished_plan(stmt->planTree);
	PLAN_ALL_ARE_UNPRUNABLE(stmt);

	return stmt;
}
