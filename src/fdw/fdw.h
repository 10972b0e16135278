/*-------------------------------------------------------------------------
 *
 * fdw.h
 *	  What the foreign-data wrapper does for each use of a store: checks, errors,
 *	  and the conversion of values and rows; and what the hooks tell it.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_FDW_H
#define RUNOPS_FDW_H

#include "access/tupdesc.h"
#include "commands/explain.h"
#include "executor/execdesc.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "utils/elog.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/runops.h"
#include "session/session.h"

/* The call of a postgres_fdw callback, for its errors. */
typedef struct RunopsFdwCall
{
	ErrorContextCallback callback;
	ForeignScanState *node;		/* the scan, or NULL */
	Oid			relid;			/* the foreign table, if there is no scan */
	bool		begins;			/* does the callback connect? */
	/* for explain.c */
	RunopsUsage *usage;			/* of the node that is measured, or NULL */
	RunopsUsage start;
	RunopsUsage start_claimed;
} RunopsFdwCall;

/* The parameters of a scan or direct modification. */
typedef struct RunopsParams
{
	int			n;
	FmgrInfo   *output;			/* output functions of their types */
	bool		fixed_text;		/* do no settings affect their texts? */
	List	   *exprs;			/* of ExprState */
	NullableDatum *datums;		/* their values */
	const char **values;		/* their texts */
	MemoryContext cxt;			/* of the texts */
} RunopsParams;

/* The rows of an answer. */
typedef struct RunopsRowType
{
	Relation	rel;			/* the table; NULL for a join */
	ForeignScanState *node;		/* the scan, if there is one */
	TupleDesc	desc;
	AttInMetadata *input;
	List	   *attrs;			/* the column numbers in the answer */
	int			ncolumns;		/* of a row of the answer */
	MemoryContext cxt;			/* for one conversion */
} RunopsRowType;

/* in check_row.c */
extern bool runops_fdw_core_checks(const ConstrCheck *check);
extern List *runops_fdw_alias_checks(EState *estate, Relation rel);
extern void runops_fdw_check_row(EState *estate, ResultRelInfo *rri,
								 TupleTableSlot *slot, CmdType operation,
								 List *alias_checks);

/* in pgfdw.c */
extern void runops_fdw_gate_require(const RunopsStoreUse *use);

/* in error_context.c */
extern void runops_fdw_enter_table(RunopsFdwCall *call, Oid relid, bool begins);
extern void runops_fdw_leave(RunopsFdwCall *call);
extern void runops_fdw_remote_name(Oid relid, const char **schema,
								   const char **table);

/* in commit_errors.c */
extern void runops_fdw_note_commit(Oid relid);

/* in error_detail.c */
pg_noreturn extern void runops_fdw_rethrow(EState *estate, ResultRelInfo *rri,
										   Oid relid, TupleTableSlot *slot);

/* in collation.c */
extern bool runops_fdw_collation_differs(const RunopsCollations *known,
										 Oid collation, bool equality);
extern bool runops_fdw_differs(const RunopsCollations *known, Node *node);
extern bool runops_fdw_sorts_differ(const RunopsCollations *known, List *clauses,
									List *tlist, bool ordered);

/* in one_role.c */
extern void runops_fdw_one_role(const RunopsStoreUse *use, bool writes);

/* in row_key.c */
extern List *runops_fdw_row_key(Oid relid, Oid *depends);

/* in changed_keys.c */
typedef struct RunopsChangedKeys RunopsChangedKeys;
extern RunopsChangedKeys *runops_fdw_changed_keys(MemoryContext cxt);
extern bool runops_fdw_change_key(RunopsChangedKeys *keys, int n,
								  const char *const *values);

/* in note_writes.c */
extern void runops_fdw_note_write(Oid relid);
extern void runops_fdw_note_lock(Oid relid);

/* in remote_row.c */
extern int	runops_fdw_begin_output(void);
extern void runops_fdw_end_output(int level);
extern void runops_fdw_init_params(RunopsParams *params, PlanState *node,
								   List *exprs);
extern void runops_fdw_eval_params(RunopsParams *params, ExprContext *econtext);
extern void runops_fdw_store_row(RunopsRowType *type, const RunopsRow *row,
								 TupleTableSlot *slot);
extern void runops_fdw_init_result(RunopsRowType *type, TupleDesc desc, List *attrs);

/* in assigned.c */
extern bool runops_fdw_reads_computed(TupleDesc desc, Bitmapset *columns);

/* in insert_sql.c */
extern const char *runops_fdw_remote_column(Relation rel, AttrNumber attno);

/* in explain.c */
extern void runops_fdw_measure(RunopsFdwCall *call, PlanState *ps,
							   RunopsUsage *usage);
extern void runops_fdw_explain_usage(const RunopsUsage *usage, ExplainState *es);

/* in look_ahead.c */
extern void runops_fdw_note_run(QueryDesc *desc, uint64 count);

#endif							/* RUNOPS_FDW_H */
