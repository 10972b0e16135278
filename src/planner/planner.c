/*-------------------------------------------------------------------------
 *
 * planner.c
 *	  Replaces a routed table by a leaf if a statement needs only that leaf.
 *
 * For every query level the facts that hold are collected from its join tree,
 * and each routed table is resolved with the facts that hold at its place:
 *
 * - WHERE and the ON of an inner join hold for every row that matters, so they
 *	 speak of each table beneath them;
 * - the ON of an outer join speaks of its nullable side alone.  Removing rows
 *	 of the nullable side that fail it cannot change which rows are
 *	 null-extended; a fact from above that fails there fails for the
 *	 null-extended row too, as equality is strict;
 * - facts of a level hold in its sublinks and lateral subqueries, but not in
 *	 RETURNING and in WITH CHECK OPTION, which see the new row;
 * - facts about the output of a plain subquery hold for the column behind it,
 *	 and what a subquery's or WITH item's rows must fulfil, its output does.
 *
 * A table that needs two or more stores is not replaced; see prune.c.
 *
 * Like planner(), this hook may modify its argument.  It first reads all
 * levels.  Then it makes the replacements from the innermost level outwards,
 * because renumbering the columns of a level copies the levels inside.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_class.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
#include "port/pg_bitutils.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/guc.h"
#include "gate/gate.h"
#include "planner/planner_int.h"
#include "xact/xact.h"

/* The state of the analysis of one statement. */
typedef struct AnalyzeContext
{
	RunopsValues values;		/* of the parameters */
	List	   *replacements;	/* of RunopsReplacement, outer levels first */
	RunopsTally tally;			/* facts for steering the plan cache */
	List	   *assumed;		/* of Param: those of which the replacements
								 * assume that they name certain stores */
	uint64		shapeless;		/* runops_shapeless_ids when planning began */
	Query	   *top;			/* the statement itself */
	const RunopsRoute *spread;	/* the table of an upsert whose rows go store
								 * by store, or NULL */
} AnalyzeContext;

/* The state of the walker for sublinks. */
typedef struct SublinkContext
{
	AnalyzeContext *cxt;
	Index		depth;
	List	   *facts;
} SublinkContext;

static bool query_has_routed(Query *query);
static void analyze_query(AnalyzeContext *cxt, Query *query, Index depth,
						  List *outer, List *outputs);
static void descend(AnalyzeContext *cxt, Query *query, Index depth,
					Node *jtnode, List *facts);

/*
 * Walk an expression for sublinks over routed tables.
 */
static bool
sublink_has_routed(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_has_routed((Query *) node);

	return expression_tree_walker(node, sublink_has_routed, context);
}

/*
 * Does a query name a routed table, at any level?
 *
 * This is the only cost for a statement without one, and it allocates nothing.
 */
static bool
query_has_routed(Query *query)
{
	ListCell   *lc;

	check_stack_depth();

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_RELATION)
		{
			if (rte->relkind == RELKIND_PARTITIONED_TABLE &&
				runops_route(rte->relid) != NULL)
				return true;
		}
		else if (rte->rtekind == RTE_SUBQUERY)
		{
			if (query_has_routed(rte->subquery))
				return true;
		}
	}

	foreach(lc, query->cteList)
	{
		if (query_has_routed((Query *) ((CommonTableExpr *) lfirst(lc))->ctequery))
			return true;
	}

	if (query->hasSubLinks)
		return query_tree_walker(query, sublink_has_routed, NULL,
								 QTW_IGNORE_RT_SUBQUERIES |
								 QTW_IGNORE_CTE_SUBQUERIES);

	return false;
}

/*
 * Report a decision as a DEBUG message.
 */
static void
log_decision(const RunopsRoute *route, RunopsDecision decision)
{
	static const char *const reasons[] = {
		[RUNOPS_REASON_NO_PREDICATE] = "no predicate on its key or an alias",
		[RUNOPS_REASON_UNKNOWN] = "the value compared with is unknown or unclassifiable",
		[RUNOPS_REASON_KNOWN] = "the values name the stores",
		[RUNOPS_REASON_CONTRADICTION] = "no row can satisfy the predicates"
	};
	StringInfoData stores;

	if (!message_level_is_interesting(DEBUG2))
		return;

	initStringInfo(&stores);
	runops_store_names(&stores, decision.stores);
	ereport(DEBUG2,
			(errmsg_internal("routed table \"%s\": stores {%s}: %s",
							 get_rel_name(route->relid), stores.data,
							 reasons[decision.reason])));
}

/*
 * Can the result relation of an UPDATE be one leaf although a column of the
 * key is assigned?
 *
 * That is possible only if the new value is known and names the same store.
 * Otherwise the whole table must stay, because core notices that a row changes
 * its partition only if the plan has all partitions.
 */
static bool
assignment_keeps_store(AnalyzeContext *cxt, Query *query,
					   const RunopsRoute *route, Index depth,
					   RunopsStoreSet stores, List **assumed)
{
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);
		RunopsScope scope = {
			.depth = depth,
			.values = cxt->values
		};
		RunopsStoreSet assigned;

		if (tle->resjunk ||
			!bms_is_member(tle->resno - FirstLowInvalidHeapAttributeNumber,
						   route->key_attnos))
			continue;

		if (tle->resno != route->lead_attno ||
			bms_membership(route->key_attnos) != BMS_SINGLETON ||
			!runops_value_stores((Node *) tle->expr, &scope, &assigned, assumed) ||
			assigned != stores)
			return false;
	}

	return true;
}

/*
 * The leaf that can replace a routed table in a join tree, or NULL.
 */
static const RunopsLeaf *
only_leaf(AnalyzeContext *cxt, Query *query, Index depth, Index rti,
		  const RunopsRoute *route, RunopsDecision *decision)
{
	RunopsStoreSet needed = decision->stores & runops_route_stores(route);
	const RunopsLeaf *leaf = NULL;

	if (decision->reason != RUNOPS_REASON_KNOWN ||
		pg_popcount64(needed) != 1 ||
		rt_fetch(rti, query->rtable)->tablesample != NULL)
		return NULL;

	for (int i = 0; i < route->nleaves; i++)
	{
		if (runops_store_bit(route->leaves[i].store) == needed)
			leaf = &route->leaves[i];
	}

	if (rti == query->resultRelation &&
		(!assignment_keeps_store(cxt, query, route, depth, needed,
								 &decision->assumed) ||
		 runops_has_statement_triggers(route->relid, NoLock,
									   query->commandType, false) ||
		 runops_has_statement_triggers(leaf->relid, RowExclusiveLock,
									   query->commandType, false)))
		return NULL;

	return leaf;
}

/*
 * Is a plan made without knowing the stores of its parameters, as if they were ids of
 * legacy?
 */
static inline bool
is_for_legacy(const AnalyzeContext *cxt)
{
	return cxt->values.assumption != NULL && cxt->values.assumption->params == NIL;
}

/*
 * Note that a leaf will replace a routed table, if the assumed parameters
 * allow it.
 */
static RunopsReplacement *
add_replacement(AnalyzeContext *cxt, Query *query, Index rti,
				const RunopsRoute *route, const RunopsLeaf *leaf, List *assumed)
{
	RunopsReplacement *replacement = palloc0(sizeof(RunopsReplacement));

	replacement->query = query;
	replacement->rti = rti;
	replacement->route = route;
	replacement->leaf = leaf;
	cxt->replacements = lappend(cxt->replacements, replacement);
	cxt->assumed = list_union(cxt->assumed, assumed);

	return replacement;
}

/*
 * Decide on one routed table in a join tree.
 */
static void
consider_table(AnalyzeContext *cxt, Query *query, Index depth, Index rti,
			   List *facts)
{
	RangeTblEntry *rte = rt_fetch(rti, query->rtable);
	const RunopsRoute *route;
	RunopsDecision decision = {.reason = RUNOPS_REASON_KNOWN};
	const RunopsLeaf *leaf;

	if (rte->relkind != RELKIND_PARTITIONED_TABLE || !rte->inh)
		return;
	route = runops_route(rte->relid);
	if (route == NULL)
		return;

	cxt->tally.ntables++;
	if (runops_is_pinned(query, rti, route, &decision.stores))
	{
		leaf = only_leaf(cxt, query, depth, rti, route, &decision);
		if (leaf != NULL)
		{
			add_replacement(cxt, query, rti, route, leaf, decision.assumed)->pinned = true;
			return;
		}
	}

	decision = runops_resolve(route, facts, depth, rti);
	log_decision(route, decision);
	if (decision.assumed == NIL || !is_for_legacy(cxt))
		runops_require_stores(route, decision.stores);

	leaf = only_leaf(cxt, query, depth, rti, route, &decision);
	if (leaf != NULL)
		add_replacement(cxt, query, rti, route, leaf, decision.assumed);
	else if (decision.reason == RUNOPS_REASON_UNKNOWN ||
			 decision.assumed != NIL)
	{
		if (runops_shapeless_ids != cxt->shapeless ||
			(decision.assumed != NIL && !is_for_legacy(cxt) && decision.stores == RUNOPS_STORES_ALL))
			runops_note_shapeless(&cxt->values, route);
		cxt->tally.nunknown++;
		cxt->tally.level = query;
	}
}

/*
 * Walk the join tree of a query; facts are the facts that hold for every
 * relevant row at this node.
 */
static void
descend(AnalyzeContext *cxt, Query *query, Index depth, Node *jtnode,
		List *facts)
{
	ListCell   *lc;

	if (jtnode == NULL)
		return;

	check_stack_depth();

	if (IsA(jtnode, RangeTblRef))
	{
		Index		rti = ((RangeTblRef *) jtnode)->rtindex;
		RangeTblEntry *rte = rt_fetch(rti, query->rtable);

		if (rte->rtekind == RTE_RELATION)
			consider_table(cxt, query, depth, rti, facts);
		else if (rte->rtekind == RTE_SUBQUERY)
			analyze_query(cxt, rte->subquery, depth + 1, facts,
						  runops_known_outputs(rte->subquery, depth, rti, facts));
	}
	else if (IsA(jtnode, FromExpr))
	{
		foreach(lc, ((FromExpr *) jtnode)->fromlist)
			descend(cxt, query, depth, lfirst(lc), facts);
	}
	else if (IsA(jtnode, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) jtnode;
		List	   *left = facts;
		List	   *right = facts;

		/* A fact about the output of an outer join also holds below it. */
		if (join->jointype == JOIN_LEFT || join->jointype == JOIN_FULL)
		{
			if (join->jointype == JOIN_LEFT)
				right = runops_facts_of_quals(&cxt->values, join->quals, depth,
											  right);
			right = runops_facts_of_output(&cxt->values, query, join->rarg,
										   depth, right);
		}
		if (join->jointype == JOIN_RIGHT || join->jointype == JOIN_FULL)
		{
			if (join->jointype == JOIN_RIGHT)
				left = runops_facts_of_quals(&cxt->values, join->quals, depth,
											 left);
			left = runops_facts_of_output(&cxt->values, query, join->larg,
										  depth, left);
		}

		descend(cxt, query, depth, join->larg, left);
		descend(cxt, query, depth, join->rarg, right);
	}
}

/*
 * Walk an expression for sublinks, and analyze the query of each.
 */
static bool
analyze_sublinks(Node *node, void *context)
{
	SublinkContext *sublinks = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		analyze_query(sublinks->cxt, (Query *) node, sublinks->depth + 1,
					  sublinks->facts, NIL);
		return false;
	}

	return expression_tree_walker(node, analyze_sublinks, context);
}

/*
 * Analyze the sublinks of a query.
 */
static void
analyze_all_sublinks(AnalyzeContext *cxt, Query *query, Index depth,
					 List *outer, List *facts)
{
	SublinkContext sublinks = {.cxt = cxt, .depth = depth};
	List	   *returning = query->returningList;
	List	   *check_options = query->withCheckOptions;

	/* Expressions over the new row must not use facts about the old row. */
	sublinks.facts = outer;
	analyze_sublinks((Node *) returning, &sublinks);
	analyze_sublinks((Node *) check_options, &sublinks);

	query->returningList = NIL;
	query->withCheckOptions = NIL;
	sublinks.facts = facts;
	query_tree_walker(query, analyze_sublinks, &sublinks,
					  QTW_IGNORE_RT_SUBQUERIES | QTW_IGNORE_CTE_SUBQUERIES |
					  QTW_IGNORE_JOINALIASES);
	query->returningList = returning;
	query->withCheckOptions = check_options;
}

/*
 * Decide on the result relation of an INSERT.
 */
static void
consider_insert(AnalyzeContext *cxt, Query *query)
{
	RangeTblEntry *rte = rt_fetch(query->resultRelation, query->rtable);
	const RunopsRoute *route;
	const RunopsLeaf *leaf;
	List	   *assumed;
	RunopsInsertChoice choice = {.top = query == cxt->top};

	if (rte->relkind != RELKIND_PARTITIONED_TABLE)
		return;
	route = runops_route(rte->relid);
	if (route == NULL)
		return;

	leaf = runops_insert_leaf(query, route, &cxt->values, &assumed, &choice);
	cxt->tally.guess = cxt->tally.guess || choice.guess;
	if (choice.spread)
		cxt->spread = route;
	if (leaf != NULL)
		add_replacement(cxt, query, query->resultRelation, route, leaf,
						assumed)->upsert = choice.upsert;
}

/*
 * Analyze a query and the levels inside it.
 *
 * outer has facts about the columns of enclosing queries, and outputs has the
 * known stores of this query's own output columns.
 */
static void
analyze_query(AnalyzeContext *cxt, Query *query, Index depth, List *outer,
			  List *outputs)
{
	List	   *facts = outer;
	ListCell   *lc;

	check_stack_depth();

	/* MERGE keeps its ON clause in the place of WHERE; do not read it. */
	if (query->commandType == CMD_MERGE)
	{
		foreach(lc, query->rtable)
		{
			RangeTblEntry *rte = lfirst(lc);

			if (rte->rtekind == RTE_SUBQUERY)
				analyze_query(cxt, rte->subquery, depth + 1, outer, NIL);
		}
	}
	else if (query->setOperations != NULL)
	{
		/*
		 * A fact about the output of a set operation holds for each of its
		 * members.
		 */
		foreach(lc, query->rtable)
		{
			RangeTblEntry *rte = lfirst(lc);

			if (rte->rtekind == RTE_SUBQUERY)
				analyze_query(cxt, rte->subquery, depth + 1, outer,
							  runops_is_transparent(rte->subquery) ?
							  outputs : NIL);
		}
	}
	else
	{
		if (outputs != NIL)
			facts = runops_facts_of_known(query, depth, outputs,
										  list_copy(facts));
		facts = runops_facts_of_output(&cxt->values, query,
									   (Node *) query->jointree, depth, facts);
		descend(cxt, query, depth, (Node *) query->jointree, facts);

		if (query->commandType == CMD_INSERT)
			consider_insert(cxt, query);
	}

	foreach(lc, query->cteList)
		analyze_query(cxt, (Query *) ((CommonTableExpr *) lfirst(lc))->ctequery,
					  depth + 1, outer, NIL);

	if (query->hasSubLinks)
		analyze_all_sublinks(cxt, query, depth, outer, facts);
}

/*
 * Refuse an upsert in a store if the statement is not sent there as a whole.
 */
static void
refuse_upserts(const AnalyzeContext *cxt, const char *obstacle)
{
	ListCell   *lc;

	foreach(lc, cxt->replacements)
	{
		const RunopsReplacement *replacement = (RunopsReplacement *) lfirst(lc);

		if (replacement->upsert)
			runops_refuse_foreign_upsert(replacement, obstacle);
	}
}

/*
 * The table of an upsert in a store whose rows come from queries, or NULL.  If such an
 * upsert is not sent as a whole, its rows can be read first.
 */
static const RunopsRoute *
upsert_of_query(const AnalyzeContext *cxt, Query *parse)
{
	const RunopsReplacement *target = NULL;
	bool		queries;
	ListCell   *lc;

	foreach(lc, cxt->replacements)
	{
		const RunopsReplacement *replacement = (RunopsReplacement *) lfirst(lc);

		if (replacement->upsert && replacement->query != parse)
			return NULL;
		if (replacement->upsert)
			target = replacement;
	}
	if (target == NULL)
		return NULL;

	queries = checkExprHasSubLink((Node *) parse->targetList);
	foreach(lc, parse->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		queries = queries || rte->rtekind == RTE_SUBQUERY ||
			(rte->rtekind == RTE_VALUES && checkExprHasSubLink((Node *) rte->values_lists));
	}

	return queries ? target->route : NULL;
}

/*
 * The plan of a statement that is sent as a whole, or NULL.  If only something else
 * than its tables prevents that, *obstacle says what.
 */
static PlannedStmt *
ship_statement(AnalyzeContext *cxt, Query *parse, int cursorOptions, RunopsShipFunction ship,
			   String **obstacle)
{
	RunopsWholeStatement statement = {
		.query = parse,
		.tables = cxt->replacements,
		.cursorOptions = cursorOptions,
		.obstacle = _("It needs several stores, or its store is not known.")
	};
	PlannedStmt *stmt = NULL;
	const RunopsLeaf *leaf = NULL;
	ListCell   *lc;

	foreach(lc, cxt->replacements)
	{
		const RunopsReplacement *replacement = (RunopsReplacement *) lfirst(lc);

		if (leaf != NULL && strcmp(leaf->store, replacement->leaf->store) != 0)
			break;
		leaf = replacement->leaf;
		if (!leaf->foreign || runops_is_legacy(leaf->store) || replacement->pinned)
			break;
	}
	if (!runops_enable_shipping)
		statement.obstacle = _("\"runops.enable_shipping\" is off.");
	else if (lc == NULL && leaf != NULL)
	{
		stmt = ship(&statement);
		if (stmt != NULL)
			ereport(DEBUG2,
					(errmsg_internal("statement is sent to store \"%s\" as a whole", leaf->store)));
		else
		{
			*obstacle = makeString(pstrdup(statement.obstacle));
			ereport(DEBUG2,
					(errmsg_internal("statement is not sent to store \"%s\" as a whole: %s",
									 leaf->store, statement.obstacle)));
		}
	}
	if (stmt == NULL && runops_enable_shipping)
		cxt->spread = upsert_of_query(cxt, parse);
	if (stmt == NULL && cxt->spread == NULL)
		refuse_upserts(cxt, statement.obstacle);

	return stmt;
}

/*
 * The plan of an upsert whose rows go store by store.
 */
static PlannedStmt *
spread_statement(AnalyzeContext *cxt, Query *parse, const char *query_string,
				 int cursorOptions, RunopsShipFunction ship)
{
	RunopsWholeStatement statement = {
		.query = parse,
		.spread = cxt->spread,
		.cursorOptions = cursorOptions,
		.params = cxt->values.params,
		.query_string = query_string,
		.obstacle = _("\"runops.enable_shipping\" is off.")
	};
	PlannedStmt *stmt = runops_enable_shipping ? ship(&statement) : NULL;

	if (stmt == NULL)
		runops_refuse_spread(cxt->spread, statement.obstacle);

	return stmt;
}

/*
 * All leaves of the routed tables of which one is replaced.
 */
static List *
leaves_of(List *replacements)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, replacements)
	{
		const RunopsRoute *route = ((RunopsReplacement *) lfirst(lc))->route;

		for (int i = 0; i < route->nleaves; i++)
			result = list_append_unique_oid(result, route->leaves[i].relid);
	}

	return result;
}

/*
 * Send the statement as a whole, or make the replacements, call the next planner,
 * and steer the plan cache.
 */
PlannedStmt *
runops_plan(Query *parse, const char *query_string, int cursorOptions,
			ParamListInfo boundParams EXPLAIN_STATE_PARAMETER,
			planner_hook_type next, RunopsShipFunction ship)
{
	AnalyzeContext cxt = {.values.params = boundParams,
		.shapeless = runops_shapeless_ids,
		.top = parse};
	RunopsPlanNote note = {0};
	RunopsSteering steering;
	Query	   *query = NULL;
	List	   *leaves = NIL;
	PlannedStmt *stmt;

	if (!query_has_routed(parse))
		return next(parse, query_string, cursorOptions,
					boundParams EXPLAIN_STATE_ARGUMENT);

	runops_remove_only(parse);
	runops_name_key_columns(parse);
	if (!runops_enable_routing)
	{
		runops_refuse_unrouted(parse);
		return next(parse, query_string, cursorOptions,
					boundParams EXPLAIN_STATE_ARGUMENT);
	}

	if (runops_gate_flag_off())
	{
		runops_held_warn_session();
		note.spared = runops_use_legacy(parse);
		stmt = next(parse, query_string, cursorOptions,
					boundParams EXPLAIN_STATE_ARGUMENT);
		note.users = runops_settle_permissions(stmt);
		runops_add_plan_note(stmt, &note);
		return stmt;
	}

	cxt.values.assumption = runops_assumption(parse, boundParams);
	analyze_query(&cxt, parse, 1, NIL, NIL);
	if (cxt.spread == NULL)
	{
		stmt = ship_statement(&cxt, parse, cursorOptions, ship, &note.obstacle);
		if (stmt != NULL)
		{
			runops_prefer_generic(stmt, parse, boundParams);
			return stmt;
		}
	}
	if (cxt.spread != NULL)
	{
		steering = runops_steering(parse, boundParams, &cxt.tally);
		stmt = spread_statement(&cxt, parse, query_string, cursorOptions, ship);
		runops_steer(stmt, steering);
		return stmt;
	}
	if (cxt.assumed != NIL && is_for_legacy(&cxt))
	{
		query = copyObject(parse);
		leaves = leaves_of(cxt.replacements);
	}
	for (int i = list_length(cxt.replacements) - 1; i >= 0; i--)
	{
		RunopsReplacement *replacement = list_nth(cxt.replacements, i);

		if (replacement->query == parse &&
			replacement->rti == parse->resultRelation)
			note.spared = runops_spared_checks(parse, replacement->route,
											   replacement->leaf,
											   !cxt.tally.guess);
		if (replacement->pinned)
			runops_drop_pins(replacement->query, replacement->rti,
							 replacement->route, replacement->leaf);
		runops_replace(replacement);
	}

	steering = cxt.values.assumption != NULL && !is_for_legacy(&cxt) ? RUNOPS_STEER_NONE :
		runops_steering(parse, boundParams, &cxt.tally);
	stmt = next(parse, query_string, cursorOptions,
				boundParams EXPLAIN_STATE_ARGUMENT);
	note.users = runops_settle_permissions(stmt);
	runops_steer(stmt, steering);
	runops_add_plan_note(stmt, &note);
	if (query != NULL)
		stmt = runops_make_choice(stmt, query, cursorOptions, cxt.assumed, leaves);

	return stmt;
}
