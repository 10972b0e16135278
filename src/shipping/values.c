/*-------------------------------------------------------------------------
 *
 * values.c
 *	  Makes parameters of the values in a statement that are known here.
 *
 * These are the statement's own parameters, what is evaluated here, the values
 * of enums and domains, and the rows of INSERT … VALUES.  A constant becomes a parameter if
 * it is an id, so that the text is the same for all ids, or if its text has a
 * backslash, which is read according to a setting of the store.
 *
 * A parameter is printed with a cast to its type, because the OIDs of types are
 * others in the store.  One whose type follows from its place has none.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "shipping/shipping_int.h"
#include "topology/topology.h"

/*
 * The parameter for a value that is evaluated here.  Equal values have one,
 * unless it must be a new one.
 */
static Param *
make_value(RunopsShipment *shipment, Node *expr, bool new)
{
	Param	   *param = makeNode(Param);
	ListCell   *lc;
	int			i = 0;

	param->paramkind = PARAM_EXTERN;
	param->paramtype = exprType(expr);
	param->paramtypmod = -1;
	param->paramcollid = exprCollation(expr);
	param->location = -1;
	foreach(lc, new ? NIL : shipment->values)
	{
		i++;
		if (equal(lfirst(lc), expr))
		{
			param->paramid = i;
			return param;
		}
	}
	shipment->values = lappend(shipment->values, copyObject(expr));
	param->paramid = list_length(shipment->values);

	return param;
}

/*
 * The same, with a cast to its type.
 */
static Node *
make_typed_value(RunopsShipment *shipment, Node *expr)
{
	Param	   *param = make_value(shipment, expr, false);

	return (Node *) makeRelabelType((Expr *) param, param->paramtype, -1, param->paramcollid,
									COERCE_EXPLICIT_CAST);
}

/*
 * Is a constant sent as a parameter?
 */
static bool
is_sent_apart(Const *value)
{
	Oid			output;
	bool		isvarlena;
	char	   *printed;

	if (value->constisnull || value->consttype == BOOLOID)
		return false;
	if (value->consttype == TEXTOID || value->consttype == VARCHAROID)
	{
		printed = TextDatumGetCString(value->constvalue);
		if (runops_id_stores(printed, strlen(printed)) != RUNOPS_STORES_ALL)
			return true;
	}
	else
	{
		getTypeOutputInfo(value->consttype, &output, &isvarlena);
		if (!isvarlena)
			return false;
		printed = OidOutputFunctionCall(output, value->constvalue);
	}

	return strchr(printed, '\\') != NULL;
}

/*
 * Replace the rows of an INSERT by parameters, and give each column of the table
 * a value: the store may have other defaults.
 *
 * A generated column has none.  An identity column gets the value that was made
 * here.
 */
static void
put_rows(RunopsShipment *shipment, Query *query, List *attnos, List *rows)
{
	RunopsShippedRows *sent = palloc0(sizeof(RunopsShippedRows));
	RangeTblEntry *target = rt_fetch(query->resultRelation, query->rtable);
	Relation	rel = table_open(target->relid, NoLock);
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *tlist = NIL;
	List	   *lists = NIL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		List	   *exprs = lfirst_node(List, lc);
		List	   *params = NIL;
		List	   *numbers = NIL;

		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);
			Node	   *expr = NULL;
			ListCell   *attno;
			ListCell   *value;
			Param	   *param;

			if (att->attisdropped || att->attgenerated)
				continue;
			forboth(attno, attnos, value, exprs)
			{
				if (lfirst_int(attno) == att->attnum)
					expr = lfirst(value);
			}
			if (expr == NULL)
				expr = (Node *) makeNullConst(att->atttypid, att->atttypmod, att->attcollation);
			param = make_value(shipment, expr, true);
			params = lappend(params, param);
			numbers = lappend_int(numbers, param->paramid - 1);
			if (lists == NIL)
			{
				sent->names = lappend(sent->names, makeString(pstrdup(NameStr(att->attname))));
				tlist = lappend(tlist,
								makeTargetEntry((Expr *) param, att->attnum,
												pstrdup(NameStr(att->attname)), false));
			}
			if (att->attidentity)
				query->override = OVERRIDING_SYSTEM_VALUE;
		}
		lists = lappend(lists, params);
		sent->rows = lappend(sent->rows, numbers);
		if (shipment->one_by_one && list_length(lists) == 1)
			shipment->nparams = list_length(shipment->values);
	}
	/* the text is that of the first row */
	if (shipment->one_by_one)
		lists = list_truncate(lists, 1);
	table_close(rel, NoLock);

	if (query->jointree->fromlist != NIL)
	{
		Index		rti = linitial_node(RangeTblRef, query->jointree->fromlist)->rtindex;
		RangeTblEntry *values = rt_fetch(rti, query->rtable);
		AttrNumber	column = 0;

		values->values_lists = lists;
		foreach(lc, tlist)
		{
			TargetEntry *tle = lfirst_node(TargetEntry, lc);
			Param	   *param = (Param *) tle->expr;

			tle->expr = (Expr *) makeVar(rti, ++column, param->paramtype, -1, param->paramcollid, 0);
		}
	}
	query->targetList = tlist;
	sent->table = target->relid;
	shipment->rows = lappend(shipment->rows, sent);
}

/*
 * The VALUES of an INSERT of several rows, or NULL.
 */
static RangeTblEntry *
values_entry(Query *query)
{
	if (query->jointree->fromlist == NIL)
		return NULL;

	return rt_fetch(linitial_node(RangeTblRef, query->jointree->fromlist)->rtindex, query->rtable);
}

static Node *take_values(Node *node, void *context);

/*
 * Give each column of the table a value in an INSERT … SELECT: the store may have
 * other defaults.
 */
static void
fill_columns(RunopsShipment *shipment, Query *query)
{
	RangeTblEntry *target = rt_fetch(query->resultRelation, query->rtable);
	Relation	rel = table_open(target->relid, NoLock);
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *given = NULL;
	ListCell   *lc;

	foreach(lc, query->targetList)
		given = bms_add_member(given, lfirst_node(TargetEntry, lc)->resno);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Node	   *null;

		if (att->attisdropped || att->attgenerated)
			continue;
		if (att->attidentity)
			query->override = OVERRIDING_SYSTEM_VALUE;
		if (bms_is_member(att->attnum, given))
			continue;
		null = (Node *) makeNullConst(att->atttypid, att->atttypmod, att->attcollation);
		query->targetList = lappend(query->targetList,
									makeTargetEntry((Expr *) make_value(shipment, null, false),
													att->attnum, pstrdup(NameStr(att->attname)),
													false));
	}
	table_close(rel, NoLock);
}

/*
 * Take the columns out of the query of an INSERT … SELECT that are constants without a
 * type: the parser has copied them to where they are assigned.
 */
static void
drop_unknown(Query *source)
{
	ListCell   *lc;

	foreach(lc, source->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (exprType((Node *) tle->expr) == UNKNOWNOID && tle->ressortgroupref == 0)
			tle->expr = (Expr *) makeNullConst(TEXTOID, -1, DEFAULT_COLLATION_OID);
	}
}

/*
 * Replace the values of an INSERT.  The values of its rows are taken out while the
 * rest is looked at.
 */
static Query *
take_insert(RunopsShipment *shipment, Query *query)
{
	Index		source = runops_ship_insert_source(query);
	List	   *attnos;
	List	   *rows;

	if (source != 0)
	{
		drop_unknown(rt_fetch(source, query->rtable)->subquery);
		query = query_tree_mutator(query, take_values, shipment, QTW_IGNORE_JOINALIASES);
		fill_columns(shipment, query);
		return query;
	}
	if (!runops_ship_insert_rows(query, &attnos, &rows))
		elog(ERROR, "rows of an INSERT are not constant");
	query->targetList = NIL;
	if (values_entry(query) != NULL)
		values_entry(query)->values_lists = NIL;
	query = query_tree_mutator(query, take_values, shipment, QTW_IGNORE_JOINALIASES);
	put_rows(shipment, query, attnos, rows);

	return query;
}

/*
 * Mutator: replace values by parameters.
 */
static Node *
take_values(Node *node, void *context)
{
	RunopsShipment *shipment = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return (Node *) (((Query *) node)->commandType == CMD_INSERT ?
						 take_insert(shipment, (Query *) node) :
						 query_tree_mutator((Query *) node, take_values, context,
											QTW_IGNORE_JOINALIASES));
	if (runops_ship_is_untyped_value(node))
		return (Node *) make_value(shipment, node, false);
	if (runops_ship_is_evaluated_here(node) ||
		(IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN) ||
		(IsA(node, Const) && is_sent_apart((Const *) node)))
		return make_typed_value(shipment, node);

	return expression_tree_mutator(node, take_values, context);
}

/*
 * Make parameters of the values in a query that are known here.  Returns the
 * changed query; the given one is not valid any more.
 */
Query *
runops_ship_take_values(RunopsShipment *shipment, Query *query)
{
	return castNode(Query, take_values((Node *) query, shipment));
}
