/*-------------------------------------------------------------------------
 *
 * cascade_int.h
 *	  Declares what the files of the cascades share: a batch, its parts and
 *	  their steps.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_CASCADE_INT_H
#define RUNOPS_CASCADE_INT_H

#include "datatype/timestamp.h"
#include "libpq-fe.h"
#include "nodes/pg_list.h"
#include "utils/elog.h"

#include "base/runops.h"
#include "base/shmem.h"

/*
 * The maximum number of rows that one statement changes, and that a part sets
 * aside.
 */
#define RUNOPS_CLEANUP_ROWS 1000

/* A row of cascade_config, with the facts about its child. */
typedef struct Cascade
{
	Oid			child;
	char	   *column;
	bool		set_null;
	bool		same_store;		/* are its rows in the store of their parent
								 * rows? */
	int			nleaves;
	RunopsLeaf *leaves;			/* a plain table is its own leaf */
	char	   *key;			/* the child's primary key, if it is a routed
								 * table with cascades of its own */
	List	   *nested;			/* its own cascades, of Cascade * */
} Cascade;

/* Seconds to wait after a failure: first and at most. */
#define RUNOPS_FIRST_PAUSE 1
#define RUNOPS_LONGEST_PAUSE 60

/* The state of a part at the end of a batch. */
typedef enum PartState
{
	PART_FINISHED,				/* the store has no rows left */
	PART_ASIDE,					/* only rows that were set aside are left */
	PART_MORE,					/* there may be more */
	PART_BUSY,					/* other transactions have locked the rest */
	PART_FAILED					/* the store cannot be used, or an error
								 * occurred */
} PartState;

/* Rows of a leaf that were selected. */
typedef struct CascadeRows
{
	int			n;
	char	  **tids;			/* their ctids */
	char	  **keys;			/* their primary keys, if they are parents */
} CascadeRows;

/* One child in one store, for one entry of the queue. */
typedef struct CascadePart
{
	int64		entry;
	char	   *value;			/* key of the parent row, as a literal */
	Cascade    *cascade;
	RunopsLeaf *leaf;
	bool		touched;		/* was it worked on in this batch? */
	bool		counted;		/* were its rows counted in this batch? */
	PartState	state;
	int			failures;		/* number of consecutive failures */
	TimestampTz retry_at;		/* 0: now */
	int64		done;			/* rows changed */
	bool		progress;		/* were dependent rows changed? */
	int64		total;			/* number of all rows; -1: unknown */
	int			recorded;		/* rows that were ever set aside */
	int			aside;			/* rows that are set aside now */
	CascadeRows aside_rows;		/* the rows set aside */
	char	   *message;		/* of the last failure */
	ErrorData  *error;			/* of the last step */
} CascadePart;

/* One batch. */
typedef struct Cleanup
{
	int64		max_rows;		/* how many rows may be changed */
	int64		rows;			/* how many rows were changed */
	int			steps;			/* statements for children so far */
	bool		worker;			/* wait until retry_at, and limit the steps? */
	bool		flag_off;		/* are other stores unavailable? */
	char		store[RUNOPS_STORE_LEN];	/* the store whose rows were
											 * changed */
	bool		other_store;	/* for the worker: is the next batch for
								 * another one? */
	TimestampTz now;
	TimestampTz next;			/* for the worker: when to continue; 0 to wait
								 * until something is queued */
	MemoryContext cxt;			/* of one entry */
} Cleanup;

/* A step, which changes rows of a part in one subtransaction. */
typedef struct CascadeStep
{
	void		(*run) (Cleanup *cleanup, CascadePart *part,
						struct CascadeStep *step);
	CascadeRows *rows;			/* to fill, or to change ... */
	int			from;			/* ... in part */
	int			to;
	int64		limit;			/* maximum of rows to select, or to change */
	int64		result;			/* number of rows changed or counted */
	int64		nested;			/* number of dependent rows changed */
	bool		complete;		/* were there no more rows? */
	char	   *text;			/* what identifies a row */
} CascadeStep;

/* in part.c */
extern bool runops_cleanup_is_full(const Cleanup *cleanup);
extern void runops_cleanup_count(Cleanup *cleanup, CascadePart *part);
extern void runops_cleanup_part(Cleanup *cleanup, CascadePart *part);

/* in step.c */
extern void runops_cascade_select(Cleanup *cleanup, CascadePart *part,
								  CascadeStep *step);
extern void runops_cascade_change(Cleanup *cleanup, CascadePart *part,
								  CascadeStep *step);
extern void runops_cascade_count(Cleanup *cleanup, CascadePart *part,
								 CascadeStep *step);
extern void runops_cascade_describe(Cleanup *cleanup, CascadePart *part,
									CascadeStep *step);
extern bool runops_cascade_run_step(Cleanup *cleanup, CascadePart *part,
									CascadeStep *step);
extern void runops_cascade_take_rows(CascadeRows *rows, bool keys);
extern bool runops_cleanup_is_deleting(Oid relid, const char *key);

/* in batch.c */
extern void runops_cleanup_run(Cleanup *cleanup);

/* in queue_sql.c */
extern void runops_cleanup_sql(int expected, const char *fmt,...) pg_attribute_printf(2, 3);

/* in store_backoff.c */
extern TimestampTz runops_cleanup_store_waits(const Cleanup *cleanup,
											  const char *store);
extern bool runops_cleanup_store_is_out(const char *store);
extern void runops_cleanup_store_answers(const Cleanup *cleanup,
										 const char *store, bool answers);
extern void runops_cleanup_remember(RunopsStoreTrouble *known);
extern void runops_cleanup_recall(const RunopsStoreTrouble *known);

/* in worker.c */
extern void runops_cleaner_wake(void);

#endif							/* RUNOPS_CASCADE_INT_H */
