/*-------------------------------------------------------------------------
 *
 * statement_node.c
 *	  Executes a statement that is sent to a store as a whole.
 *
 * The node evaluates what the text has as parameters, checks the rows that are
 * inserted, and returns the store's rows.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/explain.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "fdw/fdw.h"
#include "gate/gate.h"
#include "integrity/integrity.h"
#include "session/session.h"
#include "shipping/shipping_int.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* A table whose new rows are checked. */
typedef struct CheckedTable
{
	ResultRelInfo *rri;			/* of the leaf */
	List	   *alias_checks;
	TupleTableSlot *slot;
	int			ncolumns;
	AttrNumber *attnos;			/* of the leaf, for each column */
} CheckedTable;

/* The state of the node. */
typedef struct StatementState
{
	CustomScanState css;
	RunopsQuery query;
	RunopsParams params;
	RunopsRowType row;
	int			flags;
	List	   *leaves;
	List	   *targets;
	List	   *guarded;
	bool		opened;
	RunopsRow **returned;		/* of each row that is sent alone; some are
								 * NULL */
	int			nreturned;
	int			next_returned;
	RunopsUsage usage;			/* if the node is measured */
} StatementState;

/* The most rows that are sent one by one in one message. */
#define MAX_ONE_BY_ONE	200

static Node *create_state(CustomScan *node);

const CustomScanMethods runops_statement_methods = {
	.CustomName = RUNOPS_STATEMENT_NAME,
	.CreateCustomScanState = create_state
};

/*
 * An item of the private data of the plan.
 */
static void *
private_item(CustomScan *plan, int item)
{
	return list_nth(plan->custom_private, item);
}

/*
 * Prepare the answer's rows.  The last columns, which tell the outcome of a row and
 * guard the statement, are not part of the result.
 */
static void
init_rows(StatementState *state)
{
	TupleDesc	desc = state->css.ss.ss_ScanTupleSlot->tts_tupleDescriptor;
	List	   *attrs = NIL;

	for (int i = 1; i <= desc->natts; i++)
		attrs = lappend_int(attrs, i);
	if (state->flags & STATEMENT_ONE_BY_ONE)
		attrs = lappend_int(attrs, InvalidAttrNumber);
	if (state->guarded != NIL)
		attrs = lappend_int(attrs, InvalidAttrNumber);
	runops_fdw_init_result(&state->row, desc, attrs);
}

static void start_statement(void *arg);

/*
 * Begin: nothing is sent before the first row is wanted.
 */
static void
begin_statement(CustomScanState *node, EState *estate, int eflags)
{
	StatementState *state = (StatementState *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;
	Oid			userid = linitial_oid(private_item(plan, STATEMENT_USER));
	RunopsQuery *q = &state->query;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;

	init_rows(state);
	runops_fdw_init_params(&state->params, &node->ss.ps, plan->custom_exprs);
	q->use.relid = linitial_oid(state->leaves);
	q->use.serverid = GetForeignServerIdByRelId(q->use.relid);
	q->use.userid = OidIsValid(userid) ? userid : GetUserId();
	q->sql = strVal(private_item(plan, STATEMENT_SQL));
	/* the text of a query may begin with WITH or VALUES */
	q->tag = state->flags & STATEMENT_COUNTS ?
		GetCommandTagName(CreateCommandTag((Node *) estate->es_plannedstmt)) : "SELECT";
	q->nparams = intVal(private_item(plan, STATEMENT_NPARAMS));
	q->values = state->params.values;
	q->need = state->flags & STATEMENT_WRITES ? RUNOPS_NEED_WRITE :
		state->flags & STATEMENT_LOCKS ? RUNOPS_NEED_LOCKS : RUNOPS_NEED_NOTHING;
	q->reads = (state->flags & STATEMENT_READS) != 0;
	q->whole = (state->flags & STATEMENT_AT_ONCE) != 0;
	q->no_rows = (state->flags & STATEMENT_RETURNS) == 0;
	q->rewinds = (eflags & (EXEC_FLAG_REWIND | EXEC_FLAG_BACKWARD)) != 0;
	q->fixable = q->need != RUNOPS_NEED_WRITE;
	q->fetch_size = 100;
	q->snapshot = estate->es_snapshot;
	q->cid = estate->es_output_cid;
	q->relids = state->leaves;
	q->targets = state->targets;
	q->start = start_statement;
	q->arg = state;
	if ((state->flags & STATEMENT_ONE_BY_ONE) == 0)
		runops_query_init(q);
}

/*
 * Prepare to check rows of a table.  The description has the indexes of the routed
 * table and of the leaf in the range table, and the names of the columns.
 */
static void
init_table(CheckedTable *table, EState *estate, List *description)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);
	Index		routed = intVal(linitial(description));
	Index		leaf = intVal(lsecond(description));
	List	   *names = lthird_node(List, description);
	Relation	rel = ExecGetRangeTableRelation_compat(estate, leaf);
	ResultRelInfo *root = makeNode(ResultRelInfo);
	ListCell   *lc;

	/* errors show the columns that the user has given for the routed table */
	InitResultRelInfo(root, ExecGetRangeTableRelation_compat(estate, routed), routed, NULL, 0);
	table->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(table->rri, rel, 0, root, 0);
	table->alias_checks = runops_fdw_alias_checks(estate, rel);
	table->slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	table->ncolumns = 0;
	table->attnos = palloc_array(AttrNumber, list_length(names));
	foreach(lc, names)
		table->attnos[table->ncolumns++] = get_attnum(RelationGetRelid(rel), strVal(lfirst(lc)));
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Store the values of a row of an INSERT in the slot.
 */
static void
fill_row(CheckedTable *table, EState *estate, List *numbers, const NullableDatum *values)
{
	TupleTableSlot *slot = table->slot;
	TupleConstr *constr = slot->tts_tupleDescriptor->constr;
	ListCell   *number;
	int			i = 0;

	ExecStoreAllNullTuple(slot);
	foreach(number, numbers)
	{
		const NullableDatum *value = &values[lfirst_int(number)];
		AttrNumber	attno = table->attnos[i++];

		slot->tts_values[attno - 1] = value->value;
		slot->tts_isnull[attno - 1] = value->isnull;
	}
	if (constr != NULL && constr->has_generated_stored)
		ExecComputeStoredGenerated(table->rri, estate, slot, CMD_INSERT);
}

/*
 * Check the rows of an INSERT, as core checks the rows of a plain table.
 *
 * Their keys belong to the store: the plan was made for them.
 */
static void
check_inserted(CheckedTable *table, EState *estate, List *rows, const NullableDatum *values)
{
	ListCell   *lc;

	foreach(lc, rows)
	{
		CHECK_FOR_INTERRUPTS();
		fill_row(table, estate, (List *) lfirst(lc), values);
		runops_fdw_check_row(estate, table->rri, table->slot, CMD_INSERT, table->alias_checks);
		ResetPerTupleExprContext(estate);
	}
}

/*
 * Check all rows that the statement inserts.
 */
static void
check_all_inserted(StatementState *state)
{
	CustomScan *plan = (CustomScan *) state->css.ss.ps.plan;
	EState	   *estate = state->css.ss.ps.state;
	ListCell   *lc;

	foreach(lc, (List *) private_item(plan, STATEMENT_INSERTED))
	{
		List	   *description = lfirst_node(List, lc);
		CheckedTable table;

		init_table(&table, estate, description);
		check_inserted(&table, estate, lfourth_node(List, description), state->params.datums);
		ExecDropSingleTupleTableSlot(table.slot);
	}
}

/*
 * Note what the statement does in the store, before it is sent.
 */
static void
note_use(StatementState *state)
{
	ListCell   *lc;

	foreach(lc, state->leaves)
	{
		Oid			leaf = lfirst_oid(lc);

		runops_stats_add(leaf, RUNOPS_STATEMENTS_SINGLE, 1);
		if (state->query.need == RUNOPS_NEED_LOCKS || list_member_oid(state->targets, leaf))
		{
			runops_fdw_note_lock(leaf);
			runops_fdw_note_commit(leaf);
		}
	}
}

/*
 * Note what the statement has written.
 *
 * The command tag counts the rows of the top level only.  A query in WITH counts
 * as if it had written.
 */
static void
note_written(StatementState *state, uint64 processed)
{
	CustomScan *plan = (CustomScan *) state->css.ss.ps.plan;
	EState	   *estate = state->css.ss.ps.state;
	ListCell   *lc;

	if ((state->flags & STATEMENT_COUNTS) != 0)
		estate->es_processed += processed;
	if (processed == 0 && !estate->es_plannedstmt->hasModifyingCTE)
		return;
	foreach(lc, state->targets)
	{
		runops_fdw_note_write(lfirst_oid(lc));
		if (estate->es_plannedstmt->commandType != CMD_DELETE)
			runops_held_note(lfirst_oid(lc));
	}
	if (plan->scan.plan.targetlist == NIL)
		runops_stats_add(state->query.use.relid, RUNOPS_ROWS, processed);
}

/*
 * Send some rows of an upsert, each by an execution of the statement for one row.
 * written[i] gets whether the store has written the row.
 */
static void
send_rows(StatementState *state, List *rows, int first, int n, int *written)
{
	EState	   *estate = state->css.ss.ps.state;
	RunopsQuery *q = &state->query;
	List	   *slots = linitial(rows);
	const char **values = palloc_array(const char *, Max(n * q->nparams, 1));

	for (int i = 0; i < n; i++)
	{
		ListCell   *slot;
		ListCell   *number;

		memcpy(values + i * q->nparams, q->values, q->nparams * sizeof(char *));
		forboth(slot, slots, number, (List *) list_nth(rows, first + i))
			values[i * q->nparams + lfirst_int(slot)] = q->values[lfirst_int(number)];
	}
	PG_TRY();
	{
		runops_conn_execute(runops_conn_get(&q->use), q->use.relid, estate->es_output_cid, q->sql,
							n, q->nparams, values, true, state->returned + first, written);
	}
	PG_CATCH();
	{
		runops_fdw_rethrow(estate, NULL, q->use.relid, NULL);
	}
	PG_END_TRY();
	pfree(values);
}

/*
 * The texts that a column of a row has as an array; returns their number, or -1
 * if it is NULL.
 */
static int
read_texts(const RunopsRow *row, int column, Datum **texts, bool **nulls)
{
	const char *position = row->data;
	const char *printed = NULL;
	int			length;
	int			n;

	for (int i = 0; i < column; i++)
		printed = runops_row_next(&position, &length);
	if (printed == NULL)
		return -1;
	deconstruct_array(DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, unconstify(char *, printed),
															  TEXTOID, -1)),
					  TEXTOID, -1, false, TYPALIGN_INT, texts, nulls, &n);

	return n;
}

/*
 * Was a row inserted, and not updated?  Raises core's error if the statement has
 * changed the row before.
 */
static bool
read_outcome(StatementState *state, const RunopsRow *row, RunopsChangedKeys *changed)
{
	const char **key;
	Datum	   *texts;
	bool	   *nulls;
	int			n = read_texts(row, row->ncolumns - (state->guarded != NIL ? 1 : 0), &texts, &nulls);
	bool		inserted;

	if (n < 1)
		elog(ERROR, "store \"%s\" does not tell the outcome of a row",
			 runops_store_label(state->query.use.relid));

	inserted = strcmp(TextDatumGetCString(texts[0]), "true") == 0;
	key = palloc_array(const char *, n);
	for (int i = 1; i < n; i++)
		key[i - 1] = nulls[i] ? "" : TextDatumGetCString(texts[i]);
	if (n > 1 && !runops_fdw_change_key(changed, n - 1, key))
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("ON CONFLICT DO UPDATE command cannot affect row a second time"),
				 errhint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")));

	return inserted;
}

/*
 * Check the references of the rows that the store has written.
 */
static void
check_references(StatementState *state, CheckedTable *table, List *rows, const bool *wrote)
{
	EState	   *estate = state->css.ss.ps.state;
	Relation	rel = table->rri->ri_RelationDesc;
	RunopsReferenceNotes *notes = runops_reference_begin(rel, estate->es_output_cid);

	/* so that their keys are looked up together */
	for (int i = 0; notes != NULL && i < list_length(rows); i++)
	{
		fill_row(table, estate, (List *) list_nth(rows, i), state->params.datums);
		if (wrote[i])
			runops_reference_note(notes, table->slot);
	}
	for (int i = 0; i < list_length(rows); i++)
	{
		CHECK_FOR_INTERRUPTS();
		fill_row(table, estate, (List *) list_nth(rows, i), state->params.datums);
		if (wrote[i])
			runops_reference_check_insert(rel, table->slot);
	}
}

/*
 * Send the rows of an upsert one by one, and keep the entries of unique keys over all
 * stores and the references.
 *
 * The entries are made first, so that a session that waits for another one does not
 * hold a lock in the store yet.  Returns the number of rows that were written.
 */
static uint64
send_one_by_one(StatementState *state)
{
	CustomScan *plan = (CustomScan *) state->css.ss.ps.plan;
	EState	   *estate = state->css.ss.ps.state;
	List	   *description = linitial_node(List, private_item(plan, STATEMENT_INSERTED));
	List	   *rows = lfourth_node(List, description);
	int			n = list_length(rows);
	const RunopsUniqueKeys *keys = runops_unique_keys(state->query.use.relid);
	RunopsChangedKeys *changed = runops_fdw_changed_keys(CurrentMemoryContext);
	Bitmapset **made = palloc0_array(Bitmapset *, n);
	int		   *written = palloc0_array(int, n);
	bool	   *wrote = palloc0_array(bool, n);
	uint64		result = 0;
	CheckedTable table;

	init_table(&table, estate, description);
	for (int i = 0; keys != NULL && i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		fill_row(&table, estate, (List *) list_nth(rows, i), state->params.datums);
		made[i] = runops_unique_claim(keys, table.slot);
	}

	state->returned = palloc0_array(RunopsRow *, n);
	state->nreturned = n;
	for (int first = 0; first < n; first += MAX_ONE_BY_ONE)
		send_rows(state, rows, first, Min(n - first, MAX_ONE_BY_ONE), written + first);

	for (int i = 0; i < n; i++)
	{
		bool		inserted = written[i] > 0 && state->returned[i] != NULL &&
			read_outcome(state, state->returned[i], changed);

		result += written[i];
		wrote[i] = inserted || ((state->flags & STATEMENT_REFERS) != 0 && written[i] > 0);
		if (keys == NULL)
			continue;
		fill_row(&table, estate, (List *) list_nth(rows, i), state->params.datums);
		runops_unique_settle(keys, table.slot, made[i], inserted);
	}
	check_references(state, &table, rows, wrote);
	ExecDropSingleTupleTableSlot(table.slot);

	return result;
}

/*
 * Send the statement, and wait for its first rows.
 */
static void
open_statement(StatementState *state)
{
	RunopsQuery *q = &state->query;
	EState	   *estate = state->css.ss.ps.state;
	MemoryContext oldcontext;
	RunopsFdwCall call;

	if (state->opened)
		return;

	runops_fdw_gate_require(&q->use);
	runops_fdw_enter_table(&call, q->use.relid, true);
	runops_fdw_eval_params(&state->params, state->css.ss.ps.ps_ExprContext);
	runops_fdw_leave(&call);
	check_all_inserted(state);

	runops_fdw_enter_table(&call, q->use.relid, true);
	runops_fdw_measure(&call, &state->css.ss.ps, &state->usage);
	runops_fdw_one_role(&q->use, q->need != RUNOPS_NEED_NOTHING);
	note_use(state);
	if (state->flags & STATEMENT_ONE_BY_ONE)
	{
		oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);
		q->processed = send_one_by_one(state);
		MemoryContextSwitchTo(oldcontext);
	}
	else
	{
		PG_TRY();
		{
			runops_query_open(q);
		}
		PG_CATCH();
		{
			runops_fdw_rethrow(estate, NULL, q->use.relid, NULL);
		}
		PG_END_TRY();
	}
	runops_fdw_leave(&call);
	state->opened = true;
	if (q->need == RUNOPS_NEED_WRITE)
		note_written(state, q->processed);
}

/*
 * Open the statement before a write of the same transaction is sent.
 */
static void
start_statement(void *arg)
{
	open_statement((StatementState *) arg);
}

/*
 * Raise core's error if the store returns a row because it violates a constraint.
 */
static void
check_guard(StatementState *state, const RunopsRow *row)
{
	EState	   *estate = state->css.ss.ps.state;
	CheckedTable table;
	Datum	   *texts;
	bool	   *nulls;
	int			n = read_texts(row, row->ncolumns, &texts, &nulls);

	if (n < 0)
		return;

	init_table(&table, estate, state->guarded);
	if (n != table.ncolumns)
		elog(ERROR, "guard of \"%s\" has %d columns", RelationGetRelationName(table.rri->ri_RelationDesc), n);
	ExecStoreAllNullTuple(table.slot);
	for (int i = 0; i < n; i++)
	{
		AttrNumber	attno = table.attnos[i];
		Form_pg_attribute att = TupleDescAttr(table.slot->tts_tupleDescriptor, attno - 1);
		Oid			function;
		Oid			ioparam;

		getTypeInputInfo(att->atttypid, &function, &ioparam);
		table.slot->tts_isnull[attno - 1] = nulls[i];
		if (!nulls[i])
			table.slot->tts_values[attno - 1] =
				OidInputFunctionCall(function, TextDatumGetCString(texts[i]), ioparam, att->atttypmod);
	}
	runops_fdw_check_row(estate, table.rri, table.slot, CMD_UPDATE, table.alias_checks);
	elog(ERROR, "store \"%s\" takes a row of \"%s\" for one that violates a constraint",
		 runops_store_label(state->query.use.relid),
		 RelationGetRelationName(table.rri->ri_RelationDesc));
}

/*
 * The next row that the store has sent, or NULL.
 */
static const RunopsRow *
next_sent(StatementState *state)
{
	if ((state->flags & STATEMENT_ONE_BY_ONE) == 0)
		return runops_query_next(&state->query);
	while (state->next_returned < state->nreturned)
	{
		const RunopsRow *row = state->returned[state->next_returned++];

		if (row != NULL)
			return row;
	}

	return NULL;
}

/*
 * The next row of the result.
 */
static TupleTableSlot *
next_row(ScanState *node)
{
	StatementState *state = (StatementState *) node;
	TupleTableSlot *slot = node->ss_ScanTupleSlot;
	bool		output = slot->tts_tupleDescriptor->natts > 0;
	RunopsFdwCall call;
	const RunopsRow *row;

	open_statement(state);
	runops_fdw_enter_table(&call, state->query.use.relid, false);
	runops_fdw_measure(&call, &node->ps, &state->usage);
	while ((row = next_sent(state)) != NULL)
	{
		if (state->guarded != NIL)
			check_guard(state, row);
		if (!output && (state->guarded != NIL || (state->flags & STATEMENT_ONE_BY_ONE) != 0))
			continue;
		runops_fdw_store_row(&state->row, row, slot);
		runops_stats_add(state->query.use.relid, RUNOPS_ROWS, 1);
		break;
	}
	runops_fdw_leave(&call);

	return row != NULL ? slot : ExecClearTuple(slot);
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
exec_statement(CustomScanState *node)
{
	return ExecScan(&node->ss, next_row, recheck);
}

/*
 * End.
 */
static void
end_statement(CustomScanState *node)
{
	StatementState *state = (StatementState *) node;

	if ((state->flags & STATEMENT_ONE_BY_ONE) == 0)
		runops_query_close(&state->query);
}

/*
 * Return the rows again.
 */
static void
rescan_statement(CustomScanState *node)
{
	StatementState *state = (StatementState *) node;

	if (state->flags & STATEMENT_ONE_BY_ONE)
		state->next_returned = 0;
	else if (state->opened)
		runops_query_rewind(&state->query);
	ExecScanReScan(&node->ss);
}

/*
 * What is for programs: the leaves of the statement, and whether it writes.
 */
static void
explain_leaves(StatementState *state, ExplainState *es)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, state->leaves)
	{
		Oid			leaf = lfirst_oid(lc);

		names = lappend(names, quote_qualified_identifier(get_namespace_name(get_rel_namespace(leaf)),
														  get_rel_name(leaf)));
	}
	ExplainPropertyList("Leaves", names, es);
	ExplainPropertyBool("Writes", (state->flags & STATEMENT_WRITES) != 0, es);
}

/*
 * Explain the node.
 */
static void
explain_statement(CustomScanState *node, List *ancestors, ExplainState *es)
{
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;

	ExplainPropertyText("Sent to Store",
						runops_store_label(linitial_oid(private_item(plan, STATEMENT_LEAVES))), es);
	if (es->format != EXPLAIN_FORMAT_TEXT)
		explain_leaves((StatementState *) node, es);
	if (es->verbose)
		ExplainPropertyText("Remote SQL", strVal(private_item(plan, STATEMENT_SQL)), es);
	if (es->analyze)
		runops_fdw_explain_usage(&((StatementState *) node)->usage, es);
}

static const CustomExecMethods statement_exec_methods = {
	.CustomName = RUNOPS_STATEMENT_NAME,
	.BeginCustomScan = begin_statement,
	.ExecCustomScan = exec_statement,
	.EndCustomScan = end_statement,
	.ReScanCustomScan = rescan_statement,
	.ExplainCustomScan = explain_statement
};

/*
 * Make the state of the node.
 */
static Node *
create_state(CustomScan *plan)
{
	StatementState *state = (StatementState *) newNode(sizeof(StatementState), T_CustomScanState);

	state->css.methods = &statement_exec_methods;
	state->flags = intVal(private_item(plan, STATEMENT_FLAGS));
	state->leaves = private_item(plan, STATEMENT_LEAVES);
	state->targets = private_item(plan, STATEMENT_TARGETS);
	state->guarded = private_item(plan, STATEMENT_GUARDED);

	return (Node *) state;
}

/*
 * Make the nodes known, so that a plan with them can be read and copied.
 */
void
runops_shipping_init(void)
{
	RegisterCustomScanMethods(&runops_statement_methods);
	RegisterCustomScanMethods(&runops_spread_methods);
}
