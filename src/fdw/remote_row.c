/*-------------------------------------------------------------------------
 *
 * remote_row.c
 *	  Converts parameters to the text that a store gets, and the rows of its
 *	  answers to tuples.
 *
 * Every value travels as text, in a form that does not depend on settings.  A
 * row must have the columns that were asked for, and each value must be valid
 * in the encoding of this database.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"

/* The place of a conversion, for its errors. */
typedef struct Conversion
{
	const RunopsRowType *type;
	int			attno;			/* column of the tuple; 0: none */
} Conversion;

/*
 * Set the settings that the text of a value depends on.  Returns the level for
 * runops_fdw_end_output(); an error resets them.
 */
int
runops_fdw_begin_output(void)
{
	int			level = NewGUCNestLevel();

	if (DateStyle != USE_ISO_DATES)
		(void) set_config_option("datestyle", "ISO", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	if (IntervalStyle != INTSTYLE_POSTGRES)
		(void) set_config_option("intervalstyle", "postgres", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	if (extra_float_digits < 3)
		(void) set_config_option("extra_float_digits", "3", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);

	/* names in values of type regclass and the like get their schema */
	(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);

	return level;
}

/*
 * Restore the settings.
 */
void
runops_fdw_end_output(int level)
{
	AtEOXact_GUC(true, level);
}

/*
 * Is the text of a type known to depend on no setting?
 *
 * These are the types of most keys.  For any other type the settings are set,
 * which takes longer than the output function.
 */
static bool
has_fixed_text(Oid type)
{
	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case UUIDOID:
			return true;
		default:
			return false;
	}
}

/*
 * Prepare to evaluate the parameters of a scan.
 */
void
runops_fdw_init_params(RunopsParams *params, PlanState *node, List *exprs)
{
	ListCell   *lc;
	int			i = 0;

	params->n = list_length(exprs);
	params->output = palloc0_array(FmgrInfo, Max(params->n, 1));
	params->values = palloc0_array(const char *, Max(params->n, 1));
	params->fixed_text = true;
	params->datums = palloc0_array(NullableDatum, Max(params->n, 1));
	foreach(lc, exprs)
	{
		Oid			type = exprType((Node *) lfirst(lc));
		Oid			function;
		bool		isvarlena;

		params->fixed_text &= has_fixed_text(type);
		getTypeOutputInfo(type, &function, &isvarlena);
		fmgr_info(function, &params->output[i++]);
	}
	/* their evaluation may need the subplans of the node */
	params->exprs = ExecInitExprList(exprs, node);
	params->cxt = AllocSetContextCreate(CurrentMemoryContext, "runops parameters",
										ALLOCSET_SMALL_SIZES);
}

/*
 * Evaluate the parameters.  Their texts are valid until the next call.
 */
void
runops_fdw_eval_params(RunopsParams *params, ExprContext *econtext)
{
	MemoryContext oldcontext;
	NullableDatum *values = params->datums;
	ListCell   *lc;
	int			level;
	int			i = 0;

	if (params->n == 0)
		return;

	MemoryContextReset(params->cxt);
	oldcontext = MemoryContextSwitchTo(params->cxt);
	foreach(lc, params->exprs)
	{
		values[i].value = ExecEvalExpr((ExprState *) lfirst(lc), econtext, &values[i].isnull);
		i++;
	}
	level = params->fixed_text ? 0 : runops_fdw_begin_output();
	for (i = 0; i < params->n; i++)
		params->values[i] = values[i].isnull ? NULL :
			OutputFunctionCall(&params->output[i], values[i].value);
	if (!params->fixed_text)
		runops_fdw_end_output(level);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Error context callback: name the column whose value is converted.
 */
static void
conversion_context(void *arg)
{
	Conversion *conversion = (Conversion *) arg;
	const RunopsRowType *type = conversion->type;
	int			attno = conversion->attno;
	const char *table = NULL;
	const char *column = NULL;

	if (attno == 0)
		return;

	if (type->rel != NULL)
	{
		table = RelationGetRelationName(type->rel);
		column = NameStr(TupleDescAttr(type->desc, attno - 1)->attname);
	}
	else if (type->node != NULL)
	{
		ForeignScan *plan = (ForeignScan *) type->node->ss.ps.plan;
		TargetEntry *tle = list_nth_node(TargetEntry, plan->fdw_scan_tlist, attno - 1);

		if (IsA(tle->expr, Var))
		{
			Var		   *var = (Var *) tle->expr;
			RangeTblEntry *rte = exec_rt_fetch(var->varno, type->node->ss.ps.state);

			table = rte->eref->aliasname;
			if (var->varattno > 0)
				column = strVal(list_nth(rte->eref->colnames, var->varattno - 1));
		}
	}

	if (table != NULL && column != NULL)
		errcontext("column \"%s\" of foreign table \"%s\"", column, table);
	else if (table != NULL)
		errcontext("whole-row reference to foreign table \"%s\"", table);
	else if (type->node == NULL && attno <= type->desc->natts)
		errcontext("column \"%s\" of the result", NameStr(TupleDescAttr(type->desc, attno - 1)->attname));
	else
		errcontext("processing expression at position %d in select list", attno);
}

/*
 * The tuple descriptor of the rows of a join.
 *
 * A whole-row Var has type record there, which no text can be converted to, so
 * it gets the type of its table.
 */
static TupleDesc
join_descriptor(ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	TupleDesc	desc = CreateTupleDescCopy(node->ss.ss_ScanTupleSlot->tts_tupleDescriptor);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Var		   *var = (Var *) list_nth_node(TargetEntry, plan->fdw_scan_tlist, i)->expr;
		RangeTblEntry *rte;

		if (att->atttypid != RECORDOID || att->atttypmod >= 0 ||
			!IsA(var, Var) || var->varattno != 0)
			continue;
		rte = exec_rt_fetch(var->varno, node->ss.ps.state);
		if (rte->rtekind == RTE_RELATION && OidIsValid(get_rel_type_id(rte->relid)))
			att->atttypid = get_rel_type_id(rte->relid);
	}

	return desc;
}

/*
 * Prepare to convert rows with the columns of a list of attribute numbers.
 *
 * rel is the table, or NULL for the rows of a join that node reads.
 */
void
runops_fdw_init_row(RunopsRowType *type, Relation rel, ForeignScanState *node, List *attrs)
{
	type->rel = rel;
	type->node = node;
	type->attrs = attrs;
	/* if no column was asked for, a row has one null */
	type->ncolumns = Max(list_length(attrs), 1);
	type->desc = rel ? RelationGetDescr(rel) : join_descriptor(node);
	type->input = TupleDescGetAttInMetadata(type->desc);
	type->cxt = AllocSetContextCreate(CurrentMemoryContext, "runops row conversion",
									  ALLOCSET_SMALL_SIZES);
}

/*
 * Prepare to convert rows that belong to no table.
 */
void
runops_fdw_init_result(RunopsRowType *type, TupleDesc desc, List *attrs)
{
	type->rel = NULL;
	type->node = NULL;
	type->attrs = attrs;
	type->ncolumns = list_length(attrs);
	type->desc = desc;
	type->input = TupleDescGetAttInMetadata(desc);
	type->cxt = AllocSetContextCreate(CurrentMemoryContext, "runops row conversion",
									  ALLOCSET_SMALL_SIZES);
}

/*
 * Make a tuple of a row, in the current memory context.
 */
static HeapTuple
make_row(RunopsRowType *type, const RunopsRow *row)
{
	MemoryContext oldcontext;
	TupleDesc	desc = type->desc;
	Conversion	conversion = {.type = type};
	ErrorContextCallback errcallback;
	ItemPointerData ctid;
	HeapTuple	tuple;
	Datum	   *values;
	bool	   *nulls;
	const char *position = row->data;
	ListCell   *lc;

	if (row->ncolumns != type->ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the answer of the store does not match the statement"),
				 errdetail("It has rows of %d columns, and %d were asked for.",
						   row->ncolumns, type->ncolumns),
				 errhint("Check which program the server's host and port lead to.")));

	oldcontext = MemoryContextSwitchTo(type->cxt);
	values = palloc0_array(Datum, Max(desc->natts, 1));
	nulls = palloc_array(bool, Max(desc->natts, 1));
	memset(nulls, true, desc->natts * sizeof(bool));
	ItemPointerSetInvalid(&ctid);

	errcallback.callback = conversion_context;
	errcallback.arg = &conversion;
	errcallback.previous = error_context_stack;
	error_context_stack = &errcallback;
	foreach(lc, type->attrs)
	{
		int			attno = lfirst_int(lc);
		int			length;
		char	   *text = unconstify(char *, runops_row_next(&position, &length));

		if (text != NULL)
			pg_verifymbstr(text, length, false);
		if (attno > 0)
		{
			/* called even for a null, because a domain may reject it */
			conversion.attno = attno;
			nulls[attno - 1] = text == NULL;
			values[attno - 1] = InputFunctionCall(&type->input->attinfuncs[attno - 1], text,
												  type->input->attioparams[attno - 1],
												  type->input->atttypmods[attno - 1]);
			conversion.attno = 0;
		}
		else if (attno == SelfItemPointerAttributeNumber && text != NULL)
			ctid = *(ItemPointer) DatumGetPointer(DirectFunctionCall1(tidin, CStringGetDatum(text)));
	}
	error_context_stack = errcallback.previous;

	MemoryContextSwitchTo(oldcontext);
	tuple = heap_form_tuple(desc, values, nulls);
	/* xmin, xmax and the command number of the store mean nothing here */
	tuple->t_self = tuple->t_data->t_ctid = ctid;
	HeapTupleHeaderSetXmax(tuple->t_data, InvalidTransactionId);
	HeapTupleHeaderSetXmin(tuple->t_data, InvalidTransactionId);
	HeapTupleHeaderSetCmin(tuple->t_data, InvalidTransactionId);
	MemoryContextReset(type->cxt);

	return tuple;
}

/*
 * Make a tuple of a row, and put it into a slot.
 */
void
runops_fdw_store_row(RunopsRowType *type, const RunopsRow *row, TupleTableSlot *slot)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(slot->tts_mcxt);

	ExecForceStoreHeapTuple(make_row(type, row), slot, true);
	MemoryContextSwitchTo(oldcontext);
}
