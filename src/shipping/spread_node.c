/*-------------------------------------------------------------------------
 *
 * spread_node.c
 *	  Executes an upsert store by store.
 *
 * All rows are read first, and each is assigned to the store that its key names.
 * Then the upsert is planned and executed once for each store, with the rows of the
 * store as constants.  So each of these statements has one store that is known: one
 * is executed on the legacy leaf, and the others are sent.
 *
 * The rows that are returned are in the order of the stores.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "shipping/shipping_int.h"
#include "topology/topology.h"

/* The most rows of one statement. */
#define MAX_ROWS 1000

/* The rows of a store. */
typedef struct StoreRows
{
	char	   *store;
	List	   *rows;			/* lists of Const */
} StoreRows;

/* The state of the node. */
typedef struct SpreadState
{
	CustomScanState css;
	Oid			relid;			/* of the routed table */
	List	   *attnos;			/* its columns that have values */
	Query	   *query;			/* the statement without rows */
	bool		done;
	ExprState  *store_of;		/* the store of a row */
	TupleTableSlot *row;		/* a row of the routed table */
	List	   *stores;			/* of StoreRows */
	Tuplestorestate *result;	/* what RETURNING returns, or NULL */
	TupleTableSlot *returned;	/* a row of it */
} SpreadState;

static Node *create_state(CustomScan *plan);

const CustomScanMethods runops_spread_methods = {
	.CustomName = "Runops Upsert",
	.CreateCustomScanState = create_state
};

/*
 * Begin.
 */
static void
begin_spread(CustomScanState *node, EState *estate, int eflags)
{
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;

	outerPlanState(node) = ExecInitNode(outerPlan(plan), estate, eflags);
}

/*
 * Prepare to find the stores of rows.
 */
static void
init_rows(SpreadState *state)
{
	const RunopsRoute *route = runops_route(state->relid);
	Relation	rel;

	if (route == NULL)
		elog(ERROR, "table %u is not routed", state->relid);
	rel = table_open(state->relid, NoLock);
	state->row = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(rel)),
										  &TTSOpsVirtual);
	table_close(rel, NoLock);
	state->store_of = ExecPrepareExpr((Expr *) copyObject(route->partexpr),
									  state->css.ss.ps.state);
}

/*
 * The rows of the store to which a row belongs.  A row without a store belongs to
 * legacy.
 */
static StoreRows *
rows_of(SpreadState *state, TupleTableSlot *slot)
{
	ExprContext *econtext = state->css.ss.ps.ps_ExprContext;
	TupleTableSlot *row = state->row;
	StoreRows  *rows;
	const char *store = RUNOPS_LEGACY_STORE;
	Datum		value;
	bool		isnull;
	ListCell   *lc;

	ExecStoreAllNullTuple(row);
	foreach(lc, state->attnos)
		row->tts_values[lfirst_int(lc) - 1] =
		slot_getattr(slot, foreach_current_index(lc) + 1, &row->tts_isnull[lfirst_int(lc) - 1]);

	econtext->ecxt_scantuple = row;
	value = ExecEvalExprSwitchContext(state->store_of, econtext, &isnull);
	if (!isnull)
		store = TextDatumGetCString(value);
	foreach(lc, state->stores)
	{
		rows = (StoreRows *) lfirst(lc);
		if (strcmp(rows->store, store) == 0)
			return rows;
	}
	rows = palloc(sizeof(StoreRows));
	rows->store = pstrdup(store);
	rows->rows = NIL;
	state->stores = lappend(state->stores, rows);

	return rows;
}

/*
 * The values of a row as constants.
 */
static List *
make_constants(SpreadState *state)
{
	TupleDesc	desc = state->row->tts_tupleDescriptor;
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, state->attnos)
	{
		int			i = lfirst_int(lc) - 1;
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		isnull = state->row->tts_isnull[i];

		result = lappend(result,
						 makeConst(att->atttypid, att->atttypmod, att->attcollation, att->attlen,
								   isnull ? (Datum) 0 :
								   datumCopy(state->row->tts_values[i], att->attbyval, att->attlen),
								   isnull, att->attbyval));
	}

	return result;
}

/*
 * Read all rows.
 */
static void
read_rows(SpreadState *state)
{
	PlanState  *source = outerPlanState(state);

	for (;;)
	{
		TupleTableSlot *slot = ExecProcNode(source);
		StoreRows  *rows;

		if (TupIsNull(slot))
			break;
		CHECK_FOR_INTERRUPTS();
		rows = rows_of(state, slot);
		rows->rows = lappend(rows->rows, make_constants(state));
		ResetExprContext(state->css.ss.ps.ps_ExprContext);
	}
}

/*
 * Add VALUES to a statement.
 */
static void
add_values(Query *query, List *rows)
{
	RangeTblEntry *values = makeNode(RangeTblEntry);
	RangeTblRef *ref = makeNode(RangeTblRef);
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, linitial_node(List, rows))
	{
		Const	   *value = lfirst_node(Const, lc);

		values->coltypes = lappend_oid(values->coltypes, value->consttype);
		values->coltypmods = lappend_int(values->coltypmods, value->consttypmod);
		values->colcollations = lappend_oid(values->colcollations, value->constcollid);
		names = lappend(names, makeString(psprintf("column%d", list_length(names) + 1)));
	}
	values->rtekind = RTE_VALUES;
	values->values_lists = rows;
	values->eref = makeAlias("*VALUES*", names);
	values->inFromCl = true;
	query->rtable = lappend(query->rtable, values);
	ref->rtindex = list_length(query->rtable);
	query->jointree->fromlist = list_make1(ref);
}

/*
 * The statement for some rows of a store.
 */
static Query *
make_query(SpreadState *state, List *rows)
{
	Query	   *query = copyObject(state->query);
	TupleDesc	desc = state->row->tts_tupleDescriptor;
	bool		many = list_length(rows) > 1;
	AttrNumber	column = 0;
	ListCell   *attno;
	ListCell   *lc;

	if (many)
		add_values(query, rows);
	forboth(attno, state->attnos, lc, linitial_node(List, rows))
	{
		Const	   *value = lfirst_node(Const, lc);
		Form_pg_attribute att = TupleDescAttr(desc, lfirst_int(attno) - 1);
		Expr	   *expr = (Expr *) value;

		if (many)
			expr = (Expr *) makeVar(list_length(query->rtable), ++column, value->consttype,
									value->consttypmod, value->constcollid, 0);
		query->targetList = lappend(query->targetList,
									makeTargetEntry(expr, att->attnum,
													pstrdup(NameStr(att->attname)), false));
	}

	return query;
}

/*
 * Execute the statement for some rows of a store.
 */
static void
execute(SpreadState *state, List *rows)
{
	EState	   *estate = state->css.ss.ps.state;
	Query	   *query = make_query(state, rows);
	DestReceiver *dest = None_Receiver;
	PlannedStmt *stmt;
	QueryDesc  *desc;

	/*
	 * the plan of the rows does not lock what only ON CONFLICT or RETURNING
	 * reads
	 */
	AcquireRewriteLocks(query, true, false);
	stmt = planner_compat(query, estate->es_sourceText, 0, estate->es_param_list_info);
	if (state->result != NULL)
	{
		dest = CreateDestReceiver(DestTuplestore);
		SetTuplestoreDestReceiverParams(dest, state->result, estate->es_query_cxt, true, NULL, NULL);
	}
	desc = CreateQueryDesc(stmt, estate->es_sourceText, GetActiveSnapshot(), InvalidSnapshot,
						   dest, estate->es_param_list_info, estate->es_queryEnv, 0);
	ExecutorStart(desc, 0);
	EXECUTOR_RUN_ALL(desc);
	ExecutorFinish(desc);
	if (estate->es_plannedstmt->canSetTag)
		estate->es_processed += desc->estate->es_processed;
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	if (state->result != NULL)
		dest->rDestroy(dest);
}

/*
 * Execute the statement for all rows of a store.
 */
static void
execute_store(SpreadState *state, StoreRows *rows)
{
	int			most = Max(Min(MAX_ROWS, RUNOPS_MAX_VALUES / Max(list_length(state->attnos), 1)), 1);
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "runops upsert",
											  ALLOCSET_DEFAULT_SIZES);

	for (int first = 0; first < list_length(rows->rows); first += most)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(cxt);
		List	   *some = NIL;

		for (int i = first; i < Min(first + most, list_length(rows->rows)); i++)
			some = lappend(some, list_nth(rows->rows, i));
		execute(state, some);
		MemoryContextSwitchTo(oldcontext);
		MemoryContextReset(cxt);
	}
	MemoryContextDelete(cxt);
}

/*
 * Execute everything.
 */
static void
execute_all(SpreadState *state)
{
	EState	   *estate = state->css.ss.ps.state;
	MemoryContext oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);
	ListCell   *lc;

	init_rows(state);
	read_rows(state);
	if (state->css.ss.ps.plan->targetlist != NIL)
	{
		state->result = tuplestore_begin_heap(false, false, work_mem);
		state->returned = MakeSingleTupleTableSlot(state->css.ss.ss_ScanTupleSlot->tts_tupleDescriptor,
												   &TTSOpsMinimalTuple);
	}
	foreach(lc, state->stores)
		execute_store(state, (StoreRows *) lfirst(lc));
	state->done = true;
	MemoryContextSwitchTo(oldcontext);
}

/*
 * The next row of the result.
 */
static TupleTableSlot *
next_row(ScanState *node)
{
	SpreadState *state = (SpreadState *) node;

	if (!state->done)
		execute_all(state);
	if (state->result != NULL &&
		tuplestore_gettupleslot(state->result, true, false, state->returned))
		return ExecCopySlot(node->ss_ScanTupleSlot, state->returned);

	return ExecClearTuple(node->ss_ScanTupleSlot);
}

/*
 * There is nothing to check again.
 */
static bool
recheck(ScanState *node, TupleTableSlot *slot)
{
	return true;
}

/*
 * Execute.
 */
static TupleTableSlot *
exec_spread(CustomScanState *node)
{
	return ExecScan(&node->ss, next_row, recheck);
}

/*
 * End.
 */
static void
end_spread(CustomScanState *node)
{
	SpreadState *state = (SpreadState *) node;

	if (state->result != NULL)
	{
		ExecDropSingleTupleTableSlot(state->returned);
		tuplestore_end(state->result);
	}
	if (state->row != NULL)
		ExecDropSingleTupleTableSlot(state->row);
	ExecEndNode(outerPlanState(node));
}

/*
 * A statement that writes is executed once.
 */
static void
rescan_spread(CustomScanState *node)
{
	elog(ERROR, "an upsert cannot be executed again");
}

/*
 * Explain the node.
 */
static void
explain_spread(CustomScanState *node, List *ancestors, ExplainState *es)
{
	SpreadState *state = (SpreadState *) node;
	StringInfoData stores;
	ListCell   *lc;

	initStringInfo(&stores);
	foreach(lc, state->stores)
		appendStringInfo(&stores, "%s%s: %d", stores.len > 0 ? ", " : "",
						 ((StoreRows *) lfirst(lc))->store,
						 list_length(((StoreRows *) lfirst(lc))->rows));
	ExplainPropertyText("Rows Sent to",
						es->analyze ? stores.data : "the stores that their keys name", es);
	if (es->format != EXPLAIN_FORMAT_TEXT)
		ExplainPropertyText("Spread Table",
							quote_qualified_identifier(get_namespace_name(get_rel_namespace(state->relid)),
													   get_rel_name(state->relid)), es);
}

static const CustomExecMethods spread_exec_methods = {
	.CustomName = "Runops Upsert",
	.BeginCustomScan = begin_spread,
	.ExecCustomScan = exec_spread,
	.EndCustomScan = end_spread,
	.ReScanCustomScan = rescan_spread,
	.ExplainCustomScan = explain_spread
};

/*
 * Make the state of the node.
 */
static Node *
create_state(CustomScan *plan)
{
	SpreadState *state = (SpreadState *) newNode(sizeof(SpreadState), T_CustomScanState);

	state->css.methods = &spread_exec_methods;
	state->relid = linitial_oid(linitial(plan->custom_private));
	state->attnos = lsecond(plan->custom_private);
	state->query = lthird(plan->custom_private);

	return (Node *) state;
}
