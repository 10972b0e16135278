/*-------------------------------------------------------------------------
 *
 * look_ahead.c
 *	  Reads ahead the rows that an INSERT is about to insert, so that many are
 *	  sent together also if core needs the answer for each.
 *
 * Core asks for the answer of a row, for RETURNING or an AFTER ROW trigger,
 * before it reads the next row from the plan below.  So the first of these rows
 * puts a function in front of that plan node.  When a row is about to be sent,
 * the next rows are read from the node and kept.  Those of the same table are
 * formed, checked and sent with it, as core would do it, and their answers are
 * kept.  Core then gets the kept rows from the function, and asks for answers that
 * are here.
 *
 * The plan below is then evaluated further than the rows that are inserted.
 * Nothing is read ahead if somebody may notice: a VOLATILE function that can
 * contain a query, a BEFORE ROW trigger, or a caller who has told the executor to
 * stop after some rows.  These may also be in another part of the statement: if the
 * INSERT is in a WITH clause, its rows are returned to the rest one by one.  The
 * same is true of currval() and lastval(), where they are called between two rows.
 *
 * The same function notices the end of the rows, when the rows that were
 * collected (insert_rows.c) are sent.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/tupconvert.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "executor/execPartition.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "nodes/nodeFuncs.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "fdw/fdw.h"
#include "fdw/modify_int.h"

/* A row that was read ahead. */
typedef struct AheadRow
{
	TupleTableSlot *slot;		/* as the plan has returned it */
	ResultRelInfo *rri;			/* the table that it goes to */
	RunopsModify *state;		/* whose answer follows; NULL if it was not
								 * sent */
	RunopsRow  *returned;
	int			written;
} AheadRow;

/* The rows of a ModifyTable node. */
typedef struct Ahead
{
	dlist_node	node;			/* in watched */
	MemoryContextCallback reset;
	ModifyTableState *mtstate;
	PlanState  *child;			/* the plan node that returns the rows */
	ExecProcNodeMtd next;		/* its own function */
	bool		done;			/* has it returned all rows? */
	List	   *collecting;		/* of RunopsModify */
	AheadRow   *rows;
	int			maxrows;
	int			nslots;			/* rows with a slot */
	int			nrows;			/* rows that were read ahead */
	int			next_row;		/* those before were returned */
	MemoryContext answers;		/* of the answers to these rows */
} Ahead;

/*
 * An executor that was told to stop after some rows, or whose statement has an
 * INSERT in a WITH clause.
 */
typedef struct Running
{
	dlist_node	node;			/* in running */
	MemoryContextCallback reset;
	EState	   *estate;
	PlanState  *top;			/* of the plan */
	bool		limited;		/* will it stop after some rows? */
} Running;

/* A search for functions that may notice that rows are read ahead. */
typedef struct Search
{
	const ModifyTableState *insert;
	bool		between;		/* is it evaluated when a row was returned? */
} Search;

static dlist_head watched = DLIST_STATIC_INIT(watched);
static dlist_head running = DLIST_STATIC_INIT(running);

/* Memory context callback: forget a node whose memory goes away. */
static void
forget(void *arg)
{
	dlist_delete((dlist_node *) arg);
}

/*
 * The executor is about to run until it has returned count rows; 0: all of them.
 */
void
runops_fdw_note_run(QueryDesc *desc, uint64 count)
{
	MemoryContext cxt = desc->estate->es_query_cxt;
	bool		limited = count != 0 && desc->operation == CMD_INSERT &&
		desc->plannedstmt->hasReturning;
	Running    *item;

	if (!limited && !desc->plannedstmt->hasModifyingCTE)
		return;
	item = MemoryContextAllocZero(cxt, sizeof(Running));
	item->estate = desc->estate;
	item->top = desc->planstate;
	item->limited = limited;
	dlist_push_head(&running, &item->node);
	item->reset.func = forget;
	item->reset.arg = &item->node;
	MemoryContextRegisterResetCallback(cxt, &item->reset);
}

/*
 * What was noted of the statement of a node; NULL if nothing was.
 */
static const Running *
find_running(const ModifyTableState *mtstate)
{
	dlist_iter	iter;

	dlist_foreach(iter, &running)
	{
		const Running *item = dlist_container(Running, node, iter.cur);

		if (item->estate == mtstate->ps.state)
			return item;
	}

	return NULL;
}

/*
 * May rows of this node be inserted before core has asked for them?
 */
static bool
may_read_ahead(const ModifyTableState *mtstate)
{
	const Running *item = find_running(mtstate);

	return item == NULL || !item->limited || !mtstate->canSetTag;
}

/*
 * What is known of the rows that a plan node returns; NULL if it is not
 * watched.
 */
static Ahead *
find(const PlanState *child)
{
	dlist_iter	iter;

	dlist_foreach(iter, &watched)
	{
		Ahead	   *ahead = dlist_container(Ahead, node, iter.cur);

		if (ahead->child == child)
			return ahead;
	}

	return NULL;
}

/*
 * Can this function execute queries that see what was just inserted?  The
 * VOLATILE functions that are written in C, like nextval(), are none of these.
 * But some tell what the plan has taken from a sequence for the last row.
 */
static bool
may_query(Oid function, void *context)
{
	HeapTuple	tuple;
	Form_pg_proc proc;
	bool		result;

	if (function == F_CURRVAL || function == F_LASTVAL)
		return ((const Search *) context)->between;
	if (function < FirstGenbkiObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	result = proc->provolatile == PROVOLATILE_VOLATILE && proc->prolang != INTERNALlanguageId &&
		proc->prolang != ClanguageId;
	ReleaseSysCache(tuple);

	return result;
}

/*
 * Does an expression call such a function?
 */
static bool
expression_may_query(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, may_query, context))
		return true;

	return expression_tree_walker(node, expression_may_query, context);
}

/*
 * Does a node that writes call such a function for each row?  Any BEFORE ROW
 * trigger may be one.  Those of the INSERT itself have decided already.
 */
static bool
write_may_query(ModifyTableState *node, Search *search)
{
	ModifyTable *plan = (ModifyTable *) node->ps.plan;

	if (expression_may_query((Node *) plan->withCheckOptionLists, search) ||
		expression_may_query((Node *) plan->onConflictSet, search) ||
		expression_may_query(plan->onConflictWhere, search))
		return true;
	for (int i = 0; node != search->insert && i < node->mt_nrels; i++)
	{
		TriggerDesc *triggers = node->resultRelInfo[i].ri_TrigDesc;

		if (triggers != NULL &&
			(triggers->trig_insert_before_row || triggers->trig_insert_instead_row ||
			 triggers->trig_update_before_row || triggers->trig_update_instead_row ||
			 triggers->trig_delete_before_row || triggers->trig_delete_instead_row))
			return true;
	}

	return false;
}

/*
 * Does a plan call such a function?
 */
static bool
plan_may_query(PlanState *node, void *context)
{
	Plan	   *plan = node->plan;
	ListCell   *lc;

	if (expression_may_query((Node *) plan->targetlist, context) ||
		expression_may_query((Node *) plan->qual, context))
		return true;
	switch (nodeTag(plan))
	{
		case T_ValuesScan:
			if (expression_may_query((Node *) ((ValuesScan *) plan)->values_lists, context))
				return true;
			break;
		case T_FunctionScan:
			foreach(lc, ((FunctionScan *) plan)->functions)
			{
				if (expression_may_query(((RangeTblFunction *) lfirst(lc))->funcexpr, context))
					return true;
			}
			break;
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
			if (expression_may_query((Node *) ((Join *) plan)->joinqual, context))
				return true;
			break;
		case T_Result:
			if (expression_may_query(((Result *) plan)->resconstantqual, context))
				return true;
			break;
		case T_ModifyTable:
			if (write_may_query((ModifyTableState *) node, (Search *) context))
				return true;
			break;
		default:
			break;
	}

	return planstate_tree_walker(node, plan_may_query, context);
}

/*
 * May rows of a statement be inserted before the rows in front of them are
 * returned?  Not if its functions may look at the rows.
 */
bool
runops_fdw_may_look_ahead(RunopsModify *state)
{
	ModifyTableState *mtstate = state->mtstate;
	const Running *item = find_running(mtstate);
	Search		in_plan = {.insert = mtstate, .between = item != NULL};
	Search		in_returning = {.insert = mtstate, .between = true};

	/* the plan of a WITH clause is below the top, and not where it is read */
	return outerPlanState(mtstate) != NULL &&
		!plan_may_query(item != NULL ? item->top : &mtstate->ps, &in_plan) &&
		!expression_may_query((Node *) state->rri->ri_returningList, &in_returning);
}

/*
 * The next row of the watched node: of those that were read ahead, or from the
 * node.  At the end all rows that were collected are sent, to all stores at
 * once.
 */
static TupleTableSlot *
next_row(PlanState *child)
{
	Ahead	   *ahead = find(child);
	ListCell   *lc;

	Assert(ahead != NULL);
	if (ahead->next_row < ahead->nrows)
		return ahead->rows[ahead->next_row++].slot;
	ahead->nrows = ahead->next_row = 0;
	if (!ahead->done)
	{
		TupleTableSlot *slot = ahead->next(child);

		if (!TupIsNull(slot))
			return slot;
		ahead->done = true;
	}

	foreach(lc, ahead->collecting)
		runops_fdw_send_collected((RunopsModify *) lfirst(lc));
	foreach(lc, ahead->collecting)
		runops_fdw_finish_collected((RunopsModify *) lfirst(lc));

	return NULL;
}

/*
 * Watch the rows of a statement, if it has a plan.  One that collects rows will
 * send them at the end.
 */
void
runops_fdw_watch_rows(RunopsModify *state)
{
	PlanState  *child = outerPlanState(state->mtstate);
	MemoryContext oldcontext;
	Ahead	   *ahead;

	if (child == NULL)
		return;

	oldcontext = MemoryContextSwitchTo(child->state->es_query_cxt);
	ahead = find(child);
	if (ahead == NULL)
	{
		ahead = palloc0(sizeof(Ahead));
		ahead->mtstate = state->mtstate;
		ahead->child = child;
		ahead->answers = AllocSetContextCreate(CurrentMemoryContext, "runops answers",
											   ALLOCSET_DEFAULT_SIZES);
		dlist_push_head(&watched, &ahead->node);
		ahead->reset.func = forget;
		ahead->reset.arg = &ahead->node;
		MemoryContextRegisterResetCallback(CurrentMemoryContext, &ahead->reset);
		/* the node was called before, so this is the function that stays */
		ahead->next = child->ExecProcNode;
		child->ExecProcNode = next_row;
	}
	if (state->way == RUNOPS_INSERT_MANY)
		ahead->collecting = lappend(ahead->collecting, state);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * The new row for a row of the plan, as ModifyTable forms it.
 */
static TupleTableSlot *
form_row(ModifyTableState *mtstate, TupleTableSlot *planSlot)
{
	ResultRelInfo *rri = mtstate->resultRelInfo;
	ProjectionInfo *projection = rri->ri_projectNew;

	if (projection != NULL)
	{
		projection->pi_exprContext->ecxt_outertuple = planSlot;
		return ExecProject(projection);
	}
	if (rri->ri_newTupleSlot->tts_ops == planSlot->tts_ops)
		return planSlot;

	return ExecCopySlot(rri->ri_newTupleSlot, planSlot);
}

/*
 * The table that a new row goes to.
 */
static ResultRelInfo *
find_table(ModifyTableState *mtstate, TupleTableSlot *slot)
{
	if (mtstate->mt_partition_tuple_routing == NULL)
		return mtstate->resultRelInfo;

	return ExecFindPartition(mtstate, mtstate->resultRelInfo,
							 mtstate->mt_partition_tuple_routing, slot, mtstate->ps.state);
}

/*
 * The row in the form of its table.
 */
static TupleTableSlot *
convert_row(ModifyTableState *mtstate, ResultRelInfo *rri, TupleTableSlot *slot)
{
	TupleConversionMap *map;

	if (rri == mtstate->resultRelInfo)
		return slot;
	map = ROOT_TO_CHILD_MAP(rri, mtstate->ps.state);

	return map == NULL ? slot :
		execute_attr_map_slot(map->attrMap, slot, rri->ri_PartitionTupleSlot);
}

/*
 * Bytes of the values of a row, as long as they get when they are sent.
 */
static Size
row_bytes(TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	Size		bytes = 0;

	slot_getallattrs(slot);
	for (int i = 0; i < desc->natts; i++)
	{
		if (!slot->tts_isnull[i])
			bytes += TupleDescAttr(desc, i)->attlen > 0 ? TupleDescAttr(desc, i)->attlen :
				TupleDescAttr(desc, i)->attlen == -1 ?
				toast_raw_datum_size(slot->tts_values[i]) :
				strlen(DatumGetCString(slot->tts_values[i])) + 1;
	}

	return bytes;
}

/*
 * Read the rows behind the current one.
 */
static void
read_rows(Ahead *ahead, int max_rows)
{
	ModifyTableState *mtstate = ahead->mtstate;
	MemoryContext oldcontext = MemoryContextSwitchTo(mtstate->ps.state->es_query_cxt);
	Size		bytes = 0;

	if (ahead->rows == NULL)
	{
		ahead->maxrows = max_rows;
		ahead->rows = palloc0_array(AheadRow, max_rows);
	}
	ahead->nrows = ahead->next_row = 0;
	MemoryContextReset(ahead->answers);
	while (!ahead->done && ahead->nrows < ahead->maxrows - 1 && bytes < RUNOPS_INSERT_BYTES)
	{
		AheadRow   *row = &ahead->rows[ahead->nrows];
		TupleTableSlot *slot = ahead->next(ahead->child);

		if (TupIsNull(slot))
		{
			ahead->done = true;
			break;
		}
		if (ahead->nrows == ahead->nslots)
		{
			/* a descriptor of its own, as the resource owner wants it */
			row->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(slot->tts_tupleDescriptor),
												 slot->tts_ops);
			ahead->nslots++;
		}
		ExecCopySlot(row->slot, slot);
		/* keep no buffer pinned */
		ExecMaterializeSlot(row->slot);
		bytes += row_bytes(row->slot);
		row->state = NULL;
		row->rri = find_table(mtstate, form_row(mtstate, row->slot));
		ahead->nrows++;
		if (row->rri->ri_TrigDesc && row->rri->ri_TrigDesc->trig_insert_before_row)
			break;
	}
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Was the current row sent before?  Then slot gets what the store has returned,
 * and *inserted whether it was inserted.
 */
bool
runops_fdw_answered(RunopsModify *state, TupleTableSlot *slot, bool *inserted)
{
	PlanState  *child = outerPlanState(state->mtstate);
	Ahead	   *ahead = child ? find(child) : NULL;
	AheadRow   *row;

	if (ahead == NULL || ahead->next_row == 0)
		return false;
	row = &ahead->rows[ahead->next_row - 1];
	if (row->state != state)
		return false;
	*inserted = row->written > 0;
	if (row->returned != NULL)
		runops_fdw_store_row(&state->row, row->returned, slot);

	return true;
}

/*
 * Form and check the rows that were read ahead and go to the same table, and
 * add their values to those of the current row.  Returns the number of all
 * these rows.
 */
static int
add_rows(Ahead *ahead, RunopsModify *state, const char **values)
{
	ModifyTableState *mtstate = state->mtstate;
	TupleConstr *constr = RelationGetDescr(state->rri->ri_RelationDesc)->constr;
	int			n = 1;

	for (int i = ahead->next_row; i < ahead->nrows; i++)
	{
		AheadRow   *row = &ahead->rows[i];
		TupleTableSlot *slot;
		int			level;

		if (row->rri != state->rri || row->state != NULL)
			continue;
		slot = convert_row(mtstate, state->rri, form_row(mtstate, row->slot));
		ExecMaterializeSlot(slot);
		slot->tts_tableOid = RelationGetRelid(state->rri->ri_RelationDesc);
		if (constr != NULL && constr->has_generated_stored)
			ExecComputeStoredGenerated(state->rri, mtstate->ps.state, slot, CMD_INSERT);
		runops_fdw_check_new_row(state, slot, CMD_INSERT);
		/* core asks again for a row that is not to be sent */
		if (state->unique && !runops_fdw_unique_insert(state->unique, slot))
			break;
		level = runops_fdw_begin_output();
		(void) runops_fdw_output_row(state, slot, NULL, values + (Size) n * state->nparams);
		runops_fdw_end_output(level);
		row->state = state;
		row->written = -1;
		n++;
	}

	return n;
}

/*
 * Insert the current row, which was checked, with the next ones.  Returns
 * whether it was inserted; slot gets what the store has returned.
 *
 * runops_fdw_begin_write() was called, and the current memory context is
 * state->cxt.
 */
bool
runops_fdw_insert_ahead(RunopsModify *state, TupleTableSlot *slot)
{
	ModifyTableState *mtstate = state->mtstate;
	PlanState  *child = outerPlanState(mtstate);
	Ahead	   *ahead = child && state->way == RUNOPS_INSERT_AHEAD ? find(child) : NULL;
	const char **values;
	RunopsRow **returned;
	int		   *written;
	MemoryContext oldcontext;
	int			maxrows = 1;
	int			n = 1;
	int			level;
	int			answer = 1;

	values = palloc_array(const char *, state->nparams + 1);
	level = runops_fdw_begin_output();
	(void) runops_fdw_output_row(state, slot, NULL, values);
	runops_fdw_end_output(level);

	if (ahead != NULL)
	{
		/* reading and forming other rows uses its memory again */
		TupleTableSlot *saved = MakeSingleTupleTableSlot(slot->tts_tupleDescriptor, slot->tts_ops);

		ExecCopySlot(saved, slot);
		if (ahead->next_row == ahead->nrows && may_read_ahead(mtstate))
			read_rows(ahead, state->max_rows);
		maxrows += ahead->nrows - ahead->next_row;
		values = repalloc_array(values, const char *, (Size) maxrows * state->nparams + 1);
		n = add_rows(ahead, state, values);
		ExecCopySlot(slot, saved);
		ExecDropSingleTupleTableSlot(saved);
	}

	returned = palloc_array(RunopsRow *, n);
	written = palloc0_array(int, n);
	oldcontext = MemoryContextSwitchTo(ahead ? ahead->answers : CurrentMemoryContext);
	runops_fdw_send_rows(state, n, values, returned, written, n == 1 ? slot : NULL);
	MemoryContextSwitchTo(oldcontext);

	runops_fdw_note_rows(state, written[0]);
	for (int i = ahead ? ahead->next_row : 0; answer < n; i++)
	{
		AheadRow   *row = &ahead->rows[i];

		if (row->state != state || row->written >= 0)
			continue;
		row->written = written[answer];
		row->returned = state->returned_attrs != NIL ? returned[answer] : NULL;
		runops_fdw_note_rows(state, written[answer]);
		answer++;
	}
	if (state->returned_attrs != NIL && returned[0] != NULL)
		runops_fdw_store_row(&state->row, returned[0], slot);

	return written[0] > 0;
}
