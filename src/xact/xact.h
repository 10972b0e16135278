/*-------------------------------------------------------------------------
 *
 * xact.h
 *	  Tracks what the transaction has done in each store, and decides from
 *	  that.
 *
 * store_writes.c tracks the stores that it has written to, and read_moments.c
 * what it has read.  reader_policy.c decides whether a reader may serve it,
 * stats.c counts, and server_state.c notes which servers fail.
 *
 * The state of a transaction lives in TopTransactionContext and is reset by
 * transaction callbacks; subtransaction callbacks do the same for a
 * subtransaction.  The counters are atomics in shared memory; StatsArea->lock
 * protects the set of slots.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_XACT_H
#define RUNOPS_XACT_H

#include "executor/execdesc.h"
#include "nodes/execnodes.h"
#include "port/atomics.h"
#include "tcop/dest.h"

#include "base/runops.h"

/*
 * The counters of runops.stats, in the order of the columns of
 * runops._stats().
 */
typedef enum RunopsCounter
{
	RUNOPS_STATEMENTS_SINGLE,	/* statements that needed only this store */
	RUNOPS_STATEMENTS_MULTI,	/* statements that needed other stores too */
	RUNOPS_ROWS,				/* rows sent to or fetched from the store */
	RUNOPS_TURNS,				/* waits for an answer of the store */
	RUNOPS_CONNECTIONS_OPENED,
	RUNOPS_GATE_REFUSALS,
	RUNOPS_UNCLASSIFIABLE,		/* unclassifiable ids, counted when planning */
	RUNOPS_READER_READS,
	RUNOPS_BYTES_SENT,
	RUNOPS_BYTES_RECEIVED,
	RUNOPS_WAIT,				/* nanoseconds */
	RUNOPS_ERRORS_CONNECTION,	/* no connection, or it was lost */
	RUNOPS_ERRORS_CANCELED,		/* canceled, or it took too long */
	RUNOPS_ERRORS_OTHER,
	RUNOPS_UNKNOWN_OUTCOMES,	/* commits of which nobody knows the result */
	RUNOPS_NCOUNTERS
} RunopsCounter;

/* Whether the last use of a server has succeeded; in shared memory. */
typedef struct RunopsServerState RunopsServerState;

/* A running statement that may write to legacy leaves of this database. */
typedef struct RunopsWriteScope
{
	struct RunopsWriteScope *outer;
	List	   *leaves;			/* from local_leaves.c */
} RunopsWriteScope;

/* A running statement that may read legacy leaves of this database. */
typedef struct RunopsReadScope
{
	struct RunopsReadScope *outer;
	QueryDesc  *queryDesc;		/* NULL: it reads none */
} RunopsReadScope;

/* A statement that is being executed, and how many rows are asked for. */
typedef struct RunopsRun
{
	QueryDesc  *queryDesc;		/* NULL if there is none */
	uint64		count;			/* 0: all */
} RunopsRun;

/* The rows that are wanted of a scan; see wanted_rows.c. */
typedef struct RunopsWanted
{
	int64		rows;			/* -1: all */
	bool		grows;			/* are more probably wanted afterwards? */
	bool		least;			/* may more be wanted, if some do not do? */
} RunopsWanted;

/*
 * Does a receiver put the rows of a SELECT into a table or materialized view?
 */
static inline bool
runops_stores_output(const DestReceiver *dest)
{
	return dest != NULL &&
		(dest->mydest == DestIntoRel || dest->mydest == DestTransientRel);
}

/* in local_leaves.c */
extern List *runops_local_leaves(PlannedStmt *stmt);
extern List *runops_local_leaves_of(Oid relid);

/* in read_moments.c */
extern bool runops_moment_matters(void);
extern bool runops_may_read_legacy(QueryDesc *queryDesc);
extern void runops_read_scope_begin(RunopsReadScope *scope);
extern void runops_read_scope_note(const RunopsReadScope *scope);
extern void runops_read_scope_end(RunopsReadScope *scope);
extern void runops_reads_note(Oid umid, Oid relid);
extern void runops_reads_note_copy(Oid relid);

/* in reader_policy.c */
extern bool runops_statement_writes(const PlannedStmt *stmt);
extern bool runops_utility_writes(Node *stmt);
extern void runops_writing_begin(void);
extern void runops_writing_end(void);
extern void runops_reader_suspend(void);
extern void runops_reader_resume(void);
extern bool runops_reader_serves(const char *store);
extern void runops_reader_leave(const char *store);
extern bool runops_reader_serves_statement(EState *estate, const char *store,
										   Oid serverid, Oid writerid,
										   Oid userid);
extern const char *runops_reader_of_statement(EState *estate, Oid serverid);

/* in stats.c */
extern void runops_stats_reset(void);
extern void runops_stats_shmem_request(void);
extern void runops_stats_shmem_startup(void);
extern void runops_stats_statement(QueryDesc *queryDesc, int eflags);
extern void runops_stats_add(Oid leaf_relid, RunopsCounter counter, uint64 n);
extern pg_atomic_uint64 *runops_stats_counters(Oid leaf_relid);
extern void runops_stats_add_legacy(const RunopsRoute *route,
									RunopsCounter counter);

/* in server_state.c */
extern void runops_server_state_shmem_request(void);
extern void runops_server_state_shmem_startup(void);
extern RunopsServerState *runops_server_state(Oid serverid);
extern void runops_server_state_failed(RunopsServerState *state, int sqlerrcode);
extern void runops_server_state_works(RunopsServerState *state);

/* in store_writes.c */
extern void runops_writes_note(const char *store, Oid relid);
extern void runops_writes_note_lock(const char *store, Oid relid);
extern bool runops_writes_has(const char *store);
extern void runops_write_scope_begin(RunopsWriteScope *scope);
extern void runops_write_scope_note(const RunopsWriteScope *scope,
									EState *estate);
extern void runops_write_scope_end(RunopsWriteScope *scope);

/* in wanted_rows.c */
extern RunopsRun runops_run_enter(QueryDesc *queryDesc, uint64 count);
extern void runops_run_leave(RunopsRun before);
extern PlanState *runops_run_top(EState *estate);
extern RunopsWanted runops_rows_wanted(PlanState *top, PlanState *scan, bool ever);

#endif							/* RUNOPS_XACT_H */
