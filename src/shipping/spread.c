/*-------------------------------------------------------------------------
 *
 * spread.c
 *	  Plans an upsert whose rows go store by store.
 *
 * Core cannot plan ON CONFLICT with a target over a routed table, because only the
 * leaves have unique indexes.  If all rows belong to one store that is known, one
 * leaf stands for the table, or the statement is sent.  Otherwise this plan has the
 * query of the rows below, and one node that executes the statement once for each
 * store, with the rows of that store; see spread_node.c.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planmain.h"
#include "parser/parsetree.h"

#include "base/compat.h"
#include "shipping/shipping_int.h"

/*
 * Walker: is a query in WITH read?
 */
static bool
reads_cte(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
		return ((RangeTblEntry *) node)->rtekind == RTE_CTE;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, reads_cte, context, QTW_EXAMINE_RTES_BEFORE);

	return expression_tree_walker(node, reads_cte, context);
}

/*
 * Why an upsert cannot go store by store: a sentence, or NULL if it can.
 */
static const char *
spread_obstacle(Query *query)
{
	List	   *from = query->jointree->fromlist;

	if (query->hasModifyingCTE)
		return _("A query in its WITH writes.");
	if (query->cteList != NIL &&
		(reads_cte((Node *) query->onConflict, NULL) ||
		 reads_cte((Node *) query->returningList, NULL)))
		return _("ON CONFLICT or RETURNING reads a query in WITH.");
	if (query->jointree->quals != NULL || list_length(from) > 1 ||
		(from != NIL && !IsA(linitial(from), RangeTblRef)))
		return _("Its rows come from a rule.");

	return NULL;
}

/*
 * The query of the rows that an INSERT inserts.  Sets the columns of the table that
 * its columns are for.
 *
 * The entry of the table stays in the range table, for the check of privileges.
 */
static Query *
rows_query(Query *insert, List **attnos)
{
	Query	   *query = copyObject(insert);
	ListCell   *lc;

	*attnos = NIL;
	query->commandType = CMD_SELECT;
	query->resultRelation = 0;
	query->onConflict = NULL;
	query->returningList = NIL;
	query->withCheckOptions = NIL;
	query->override = OVERRIDING_NOT_SET;
	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		*attnos = lappend_int(*attnos, tle->resno);
		tle->resno = list_length(*attnos);
	}

	return query;
}

/*
 * The statement that the node executes for the rows of a store: the upsert, without
 * rows.
 */
static Query *
rowless_query(Query *insert)
{
	Query	   *query = copyObject(insert);

	query->cteList = NIL;
	query->queryId = 0;
	query->targetList = NIL;
	if (query->jointree->fromlist != NIL)
	{
		Index		rti = linitial_node(RangeTblRef, query->jointree->fromlist)->rtindex;
		RangeTblEntry *rows = makeNode(RangeTblEntry);

		rows->rtekind = RTE_RESULT;
		rows->eref = makeAlias("*RESULT*", NIL);
		list_nth_cell(query->rtable, rti - 1)->ptr_value = rows;
		query->jointree->fromlist = NIL;
	}

	return query;
}

/*
 * The plan of an upsert whose rows go store by store; NULL if that is not possible,
 * with the reason in statement->obstacle.
 *
 * The query is not changed.
 */
PlannedStmt *
runops_spread_plan(RunopsWholeStatement *statement)
{
	Query	   *query = statement->query;
	CustomScan *node = makeNode(CustomScan);
	PlannedStmt *stmt;
	List	   *attnos;
	List	   *relations;
	List	   *items;
	bool		depends_on_role;

	statement->obstacle = spread_obstacle(query);
	if (statement->obstacle != NULL)
		return NULL;

	stmt = runops_plan_part(rows_query(query, &attnos), statement->query_string,
							statement->cursorOptions & ~CURSOR_OPT_PARALLEL_OK,
							statement->params);
	/* what only the statements for the stores read */
	extract_query_dependencies((Node *) query, &relations, &items, &depends_on_role);
	stmt->relationOids = list_concat_unique_oid(stmt->relationOids, relations);
	stmt->invalItems = list_concat(stmt->invalItems, items);
	stmt->dependsOnRole = stmt->dependsOnRole || depends_on_role;
	stmt->commandType = CMD_INSERT;
	stmt->hasReturning = query->returningList != NIL;
	stmt->canSetTag = query->canSetTag;

	node->methods = &runops_spread_methods;
	node->scan.plan.targetlist = runops_ship_result_columns(stmt, query, query->returningList,
															&node->custom_scan_tlist);
	node->scan.plan.plan_rows = stmt->planTree->plan_rows;
	node->scan.plan.startup_cost = stmt->planTree->total_cost;
	node->scan.plan.total_cost = stmt->planTree->total_cost + 100;
	node->scan.plan.lefttree = stmt->planTree;
	node->custom_private = list_make3(list_make1_oid(statement->spread->relid),
									  attnos, rowless_query(query));
	stmt->planTree = (Plan *) node;

	return stmt;
}
