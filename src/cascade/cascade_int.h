/*-------------------------------------------------------------------------
 *
 * cascade_int.h
 *	  What the files of the cascades share: a batch, its parts and their steps.
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

/* The most rows that one statement changes, and that a part sets aside. */
#define RUNOPS_CLEANUP_ROWS 1000

/* A row of cascade_config, and what there is to know of its child. */
typedef struct Cascade
{
	Oid			child;
	char	   *column;
	bool		set_null;
	bool		same_store;		/* are its rows where those are that they hang on? */
	int			nleaves;
	RunopsLeaf *leaves;			/* a plain table is its own */
	char	   *key;			/* the child's primary key, if it is a routed
								 * table with cascades of its own */
	List	   *nested;			/* these, of Cascade * */
} Cascade;

/* Seconds to wait after a failure: the first time, and at most. */
#define RUNOPS_FIRST_PAUSE 1
#define RUNOPS_LONGEST_PAUSE 60

/* How a part has ended for this batch. */
typedef enum PartState
{
	PART_FINISHED,				/* the store says that there is nothing left */
	PART_ASIDE,					/* nothing but rows that were set aside */
	PART_MORE,					/* there may be more */
	PART_BUSY,					/* others hold what is left */
	PART_FAILED					/* the store cannot be used, or an error */
} PartState;

/* Rows of a leaf that were selected. */
typedef struct CascadeRows
{
	int			n;
	char	  **tids;			/* where they stand */
	char	  **keys;			/* their primary keys, if they are parents too */
} CascadeRows;

/* One child in one store, for one entry of the queue. */
typedef struct CascadePart
{
	int64		entry;
	char	   *value;			/* of the parent's key, as a literal */
	Cascade    *cascade;
	RunopsLeaf *leaf;
	bool		touched;		/* was it worked on in this batch? */
	bool		counted;		/* or were its rows counted? */
	PartState	state;
	int			failures;		/* in a row */
	TimestampTz retry_at;		/* 0: now */
	int64		done;			/* rows changed */
	bool		progress;		/* was anything changed that hangs on them? */
	int64		total;			/* rows in all, as far as known; -1: not */
	int			recorded;		/* rows that were set aside once */
	int			aside;			/* rows that are now */
	CascadeRows aside_rows;		/* these */
	char	   *message;		/* of the last failure */
	ErrorData  *error;			/* of the last step */
} CascadePart;

/* One batch. */
typedef struct Cleanup
{
	int64		max_rows;		/* may be changed */
	int64		rows;			/* have been changed */
	int			steps;			/* statements for children so far */
	bool		worker;			/* heed retry_at, and bound the steps? */
	bool		flag_off;		/* are other stores out of reach? */
	char		store[RUNOPS_STORE_LEN];	/* in which rows have been changed */
	bool		other_store;	/* of the worker: is another one to be next? */
	TimestampTz now;
	TimestampTz next;			/* of the worker: when there is something to do
								 * again; 0 if not before something is queued */
	MemoryContext cxt;			/* of one entry */
} Cleanup;

/* A step: what is done to rows of a part in one subtransaction. */
typedef struct CascadeStep
{
	void		(*run) (Cleanup *cleanup, CascadePart *part,
						struct CascadeStep *step);
	CascadeRows *rows;			/* to fill, or to change ... */
	int			from;			/* ... in part */
	int			to;
	int64		limit;			/* rows to select, or to change */
	int64		result;			/* rows changed, or counted */
	int64		nested;			/* rows changed that hang on these */
	bool		complete;		/* was there nothing more? */
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
