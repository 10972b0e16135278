/*-------------------------------------------------------------------------
 *
 * xact.h
 *	  What the transaction has done in which store, and what follows from it.
 *
 * Which stores it has written to (store_writes.c), whether a reader may serve it
 * (reader_policy.c), whether interrupts wait for its commit (commit_guard.c), and
 * what is counted of it (stats.c).
 *
 * What a transaction remembers lives in TopTransactionContext and is forgotten by
 * transaction callbacks, a subtransaction's with it.  The counters are atomics in
 * shared memory; StatsArea->lock protects which there are.
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

#include "base/runops.h"

/* What runops.stats counts; the order of the columns of runops._stats(). */
typedef enum RunopsCounter
{
	RUNOPS_STATEMENTS_SINGLE,	/* statements that needed this store alone */
	RUNOPS_STATEMENTS_MULTI,	/* statements that needed others too */
	RUNOPS_ROWS,				/* rows that crossed to or from the store */
	RUNOPS_TURNS,				/* answers that the store was waited for */
	RUNOPS_CONNECTIONS_OPENED,
	RUNOPS_GATE_REFUSALS,
	RUNOPS_UNCLASSIFIABLE,		/* ids of no known shape, as planned */
	RUNOPS_READER_READS,
	RUNOPS_NCOUNTERS
} RunopsCounter;

/* A running statement that may write to legacy leaves of this database. */
typedef struct RunopsWriteScope
{
	struct RunopsWriteScope *outer;
	List	   *leaves;			/* from local_leaves.c */
} RunopsWriteScope;

/* in commit_guard.c */
extern void runops_together_require(void);
extern void runops_together_connected(void);

/* in local_leaves.c */
extern List *runops_local_leaves(PlannedStmt *stmt);
extern List *runops_local_leaves_of(Oid relid);

/* in reader_policy.c */
extern bool runops_statement_writes(QueryDesc *queryDesc);
extern bool runops_statement_finish_writes(QueryDesc *queryDesc);
extern bool runops_utility_writes(Node *stmt);
extern void runops_writing_begin(void);
extern void runops_writing_end(void);
extern void runops_reader_suspend(void);
extern void runops_reader_resume(void);
extern bool runops_reader_serves(const char *store);
extern void runops_reader_leave(const char *store);
extern bool runops_reader_serves_statement(EState *estate, const char *store,
										   Oid serverid);
extern const char *runops_reader_of_statement(EState *estate, Oid serverid);

/* in stats.c */
extern void runops_stats_reset(void);
extern void runops_stats_shmem_request(void);
extern void runops_stats_shmem_startup(void);
extern void runops_stats_statement(QueryDesc *queryDesc, int eflags);
extern void runops_stats_add(Oid leaf_relid, RunopsCounter counter, uint64 n);
extern pg_atomic_uint64 *runops_stats_counter(Oid leaf_relid,
											  RunopsCounter counter);
extern void runops_stats_add_legacy(const RunopsRoute *route,
									RunopsCounter counter);

/* in store_writes.c */
extern void runops_writes_note(const char *store, Oid relid);
extern void runops_writes_note_lock(const char *store, Oid relid);
extern bool runops_writes_has(const char *store);
extern void runops_write_scope_begin(RunopsWriteScope *scope);
extern void runops_write_scope_note(const RunopsWriteScope *scope,
									EState *estate);
extern void runops_write_scope_end(RunopsWriteScope *scope);

#endif							/* RUNOPS_XACT_H */
