/*-------------------------------------------------------------------------
 *
 * modify_int.h
 *	  The state of a foreign table that a statement writes row by row.
 *
 * It lives in the memory of the statement.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_MODIFY_INT_H
#define RUNOPS_MODIFY_INT_H

#include "nodes/execnodes.h"

#include "fdw/fdw_int.h"

struct CopyFromStateData;

/* Lines of COPY's input; the first is 0 if there are none. */
typedef struct RunopsLines
{
	uint64		first;
	uint64		last;
} RunopsLines;

/* How rows are inserted. */
typedef enum RunopsInsertWay
{
	RUNOPS_INSERT_SINGLE,		/* each row is sent when it comes */
	RUNOPS_INSERT_AHEAD,		/* ... with the next ones, if the answers are
								 * needed row by row */
	RUNOPS_INSERT_MANY			/* rows are collected */
} RunopsInsertWay;

/* The state of one result relation while a statement runs. */
typedef struct RunopsModify
{
	ModifyTableState *mtstate;
	ResultRelInfo *rri;
	char	   *sql;
	List	   *target_attrs;	/* columns whose values are parameters */
	List	   *returned_attrs; /* columns of RETURNING */
	List	   *key;			/* columns that identify a row; NIL: its ctid */
	bool		begun;			/* has the first row come? */
	bool		noted;			/* is the write to the store noted? */
	RunopsFdwUnique *unique;	/* keys over all stores; NULL if none */
	bool		checks_known;	/* is the next field filled? */
	List	   *alias_checks;

	/* filled when the first row comes */
	RunopsStoreUse use;
	int			nids;			/* junk columns that identify a row, for
								 * UPDATE and DELETE */
	AttrNumber *id_attnos;
	RunopsChangedKeys *changed; /* NULL if no row can come twice */
	int			nparams;
	FmgrInfo   *output;			/* of the parameters */
	RunopsRowType row;
	MemoryContext cxt;			/* for the texts of the rows that are sent */
	RunopsUsage usage;			/* if the node is measured */

	/* for INSERT, filled when the first row comes */
	RunopsInsertWay way;
	int			max_rows;		/* to be sent together */
	struct RunopsReferenceNotes *references;	/* NULL if rows refer to
												 * nothing */
	char	   *many_sql;		/* inserts arrays of values; NULL: the rows
								 * are inserted by sql, each */
	char	   *delimiters;		/* of the arrays */
	RunopsInsert insert;		/* the rows that are collected */
	const char **values;		/* ... their values, in cxt */
	int			maxvalues;
	Size		bytes;			/* of these values */
	struct CopyFromStateData *copy; /* the COPY that gives the rows, or NULL */
	RunopsLines lines;			/* of what is collected */
	RunopsLines sent_lines;		/* of what is on the way */
} RunopsModify;

/* bytes of the values that are sent together; a longer row is sent alone */
#define RUNOPS_INSERT_BYTES (128 * 1024)

/* in modify_row.c */
extern CommandId runops_fdw_write_cid(EState *estate);
extern bool runops_fdw_is_first_change(RunopsModify *state,
									   TupleTableSlot *planSlot);
extern void runops_fdw_note_rows(RunopsModify *state, uint64 nrows);
extern void runops_fdw_begin_write(RunopsModify *state, RunopsFdwCall *call);
extern Size runops_fdw_output_row(RunopsModify *state, TupleTableSlot *slot,
								  TupleTableSlot *planSlot, const char **values);
extern void runops_fdw_send_rows(RunopsModify *state, int n,
								 const char *const *values, RunopsRow **returned,
								 int *written, TupleTableSlot *slot);
extern void runops_fdw_check_new_row(RunopsModify *state, TupleTableSlot *slot,
									 CmdType operation);

/* in insert_rows.c */
extern void runops_fdw_collect_init(RunopsModify *state);
extern void runops_fdw_collect(RunopsModify *state, TupleTableSlot *slot);
extern void runops_fdw_send_collected(RunopsModify *state);
extern void runops_fdw_finish_collected(RunopsModify *state);

/* in look_ahead.c */
extern bool runops_fdw_may_look_ahead(RunopsModify *state);
extern void runops_fdw_watch_rows(RunopsModify *state);
extern bool runops_fdw_answered(RunopsModify *state, TupleTableSlot *slot,
								bool *inserted);
extern bool runops_fdw_insert_ahead(RunopsModify *state, TupleTableSlot *slot);

#endif							/* RUNOPS_MODIFY_INT_H */
