/*-------------------------------------------------------------------------
 *
 * session.h
 *	  Executes statements in stores, and runs our own SQL there.
 *
 * A backend keeps one connection for each user mapping (connection.c).  A new
 * connection is asked which database it has reached before anything else is
 * sent (conncheck.c).  The transaction in the store follows the local one
 * (frame.c).  A query (query.c) and a write (execute.c) travel with what they
 * need of it, and wait once.  SQL of set-up functions uses a connection for one
 * call only (store_sql.c).
 *
 * The state of a connection lives as long as the connection, and the state of a
 * query as long as its caller's memory context.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SESSION_H
#define RUNOPS_SESSION_H

#include "lib/ilist.h"
#include "libpq-fe.h"
#include "nodes/execnodes.h"
#include "portability/instr_time.h"
#include "utils/resowner.h"
#include "utils/snapshot.h"
#include "utils/tuplestore.h"

#include "base/runops.h"

/* A connection of this backend to a store. */
typedef struct RunopsConn RunopsConn;

/* The use of a server for a foreign table, through a user's mapping. */
typedef struct RunopsStoreUse
{
	Oid			relid;			/* for messages and counters; may be
								 * InvalidOid */
	Oid			serverid;
	Oid			userid;
} RunopsStoreUse;

/* What is exchanged with stores. */
typedef struct RunopsUsage
{
	uint64		turns;			/* waits for an answer */
	uint64		sent;			/* bytes */
	uint64		received;
	instr_time	waited;
} RunopsUsage;

/* What a statement needs of the transaction in the store. */
typedef enum RunopsNeed
{
	RUNOPS_NEED_NOTHING,		/* it reads, and is executed only once */
	RUNOPS_NEED_SNAPSHOT,		/* it reads, and all executions of one
								 * snapshot must see the same rows */
	RUNOPS_NEED_LOCKS,			/* it locks rows */
	RUNOPS_NEED_WRITE			/* it writes rows */
} RunopsNeed;

/* The state of a query. */
typedef enum RunopsQueryState
{
	RUNOPS_QUERY_NEW,			/* it was not sent */
	RUNOPS_QUERY_SENT,			/* its first rows are on the way */
	RUNOPS_QUERY_OPEN,			/* its cursor may have more rows */
	RUNOPS_QUERY_DONE,			/* all its rows are here */
	RUNOPS_QUERY_FAILED			/* a rollback has taken its cursor away */
} RunopsQueryState;

/*
 * A row as the store has sent it: for each column its length, which is -1 for a
 * null, and its bytes with a zero byte behind them.  runops_row_next() reads
 * them.
 *
 * It is a bytea, so that a tuplestore can keep it.  Rows are converted when
 * they are returned, and not when they arrive: code of users may run then, and
 * use the same connection.
 */
typedef struct RunopsRow
{
	int32		vl_len_;		/* varlena header */
	int32		ncolumns;
	char		data[FLEXIBLE_ARRAY_MEMBER];
} RunopsRow;

/*
 * A query in a store.
 *
 * The caller fills in the first part and calls runops_query_init().
 */
typedef struct RunopsQuery
{
	RunopsStoreUse use;
	const char *sql;
	const char *tag;			/* first word of its command tag, if sql does
								 * not begin with it; or NULL */
	int			nparams;
	const char **values;		/* of the parameters, as text */
	RunopsNeed	need;
	bool		reads;			/* does it read rows of tables? */
	bool		whole;			/* few rows: fetch them without a cursor */
	bool		no_rows;		/* it writes, and returns nothing */
	bool		rewinds;		/* may it be rewound? */
	bool		fixable;		/* may it be sent before its first row is
								 * wanted? */
	int			fetch_size;		/* rows of the first fetch */
	Snapshot	snapshot;		/* of the local statement */
	CommandId	cid;			/* of the local statement, if it writes */
	List	   *relids;			/* the foreign tables that it reads */
	List	   *targets;		/* those that it writes to; NIL: use.relid */
	/* evaluate the parameters, and open it; called to fix it before a write */
	void		(*start) (void *arg);

	/*
	 * lock the rows that are still wanted, before a write; NULL unless other
	 * statements lock the rows, and not this query
	 */
	void		(*lock_rest) (void *arg);
	/* how many rows may it lock now, or ever?  -1: all.  May be NULL. */
	int64		(*wanted) (void *arg, bool ever);
	void	   *arg;

	/* the rest is private to query.c and frame.c */
	dlist_node	node;			/* in runops_queries, until it is closed */
	bool		listed;
	bool		counts;			/* must what it reads be of one moment? */
	bool		sending;		/* was it, or is it being sent? */
	MemoryContext cxt;			/* of this struct */
	ResourceOwner owner;		/* of its files */
	MemoryContext batch;		/* of the rows in memory */
	MemoryContextCallback reset;
	RunopsConn *conn;
	RunopsQueryState state;
	int			level;			/* nest level at which it was initialized */
	int			open_level;		/* ... and opened */
	uint32		cursor;			/* number of its cursor; 0 if it has none */
	RunopsRow **rows;			/* the rows in memory */
	int			nrows;
	int			maxrows;
	int			next_row;
	int64		fetched;		/* number of rows that are here no more */
	Size		bytes;			/* of the rows in memory */
	int			last_fetch;		/* rows asked for last */
	bool		exhausted;		/* has its open cursor no more rows? */
	Size		largest;		/* bytes of the largest row */
	Tuplestorestate *store;		/* the rows after those in memory, or NULL */
	TupleTableSlot *store_slot;
	int64		stored;			/* number of rows in it */
	int64		next_stored;	/* ... of those that were returned */
	MemoryContext old_batch;	/* rows that a caller may still use, or NULL */
	bool		reading;		/* are its rows being read? */
	uint64		processed;		/* rows that a write has changed */
	/* finish the answer that is on the way, and save the rows */
	void		(*complete) (struct RunopsQuery *q);
	void		(*settle) (struct RunopsQuery *q);
} RunopsQuery;

/*
 * Rows of one statement that are inserted into a foreign table.  The caller
 * collects them.  What it has sent may stay on the way while it collects the
 * next ones.
 *
 * The caller fills in the first part and calls runops_insert_init().
 */
typedef struct RunopsInsert
{
	RunopsStoreUse use;
	CommandId	cid;			/* of the local statement */
	int			ncollected;		/* rows that were not sent yet */
	/* send what is collected, and wait for all that was sent */
	void		(*flush) (struct RunopsInsert *insert);
	/* wait for what was sent */
	void		(*complete) (struct RunopsInsert *insert);

	/* the rest is private to insert.c */
	dlist_node	node;			/* in runops_inserts, until it is closed */
	bool		listed;
	MemoryContextCallback reset;
	RunopsConn *conn;			/* on which rows are on the way, or NULL */
	const char *sql;			/* of what was sent */
	int			level;			/* nest level of its statement */
	bool		sending;
	int			nstatements;	/* that were sent, and not answered */
	uint64		nrows;			/* rows that were sent */
	uint64		written;		/* ... and inserted */
} RunopsInsert;

/*
 * The fields of a store's error that name an object.  The names are those of
 * the store, or empty if it sent none.
 */
typedef struct RunopsStoreError
{
	int			sqlerrcode;		/* 0: there is no error */
	char		schema[NAMEDATALEN];
	char		table[NAMEDATALEN];
	char		column[NAMEDATALEN];
	char		datatype[NAMEDATALEN];
	char		constraint[NAMEDATALEN];
} RunopsStoreError;

/* in conncheck.c */
extern void runops_conn_prepare(const RunopsStoreUse *use);
extern uint64 runops_conn_first_use(Oid serverid);

/* in connection.c */
extern RunopsConn *runops_conn_get(const RunopsStoreUse *use);

/* in execute.c */
extern void runops_conn_execute(RunopsConn *c, Oid relid, CommandId cid,
								const char *sql, int nrows, int nparams,
								const char *const *values, bool prepared,
								RunopsRow **returned, int *written);

/* in insert.c */
extern void runops_insert_init(RunopsInsert *insert);
extern void runops_insert_send(RunopsInsert *insert, const char *sql,
							   int nstatements, int nparams,
							   const char *const *values);
extern void runops_insert_finish(RunopsInsert *insert, uint64 *nrows,
								 uint64 *written);
extern void runops_insert_push(RunopsInsert *insert);
extern void runops_insert_close(RunopsInsert *insert);
extern void runops_inserts_flush(Oid serverid, CommandId cid,
								 const RunopsInsert *except);

/* in commit.c */
extern void runops_engine_init(void);

/* in commit_record.c */
extern long runops_commits_manage(Oid dbid);

/* in finisher_worker.c */
extern long runops_finisher_manage(Oid dbid);

/* in frame.c */
extern void runops_conn_on_use(const char *const *commands);

/* in lock.c */
extern void runops_conn_lock(RunopsConn *c, const char *sql, int n, int nparams,
							 const char *const *values, RunopsRow **rows);

/* in query.c */
extern void runops_query_init(RunopsQuery *q);
extern void runops_query_open(RunopsQuery *q);
extern void runops_query_send(RunopsQuery *q);
extern bool runops_query_arrived(RunopsQuery *q);
extern bool runops_query_has_row(RunopsQuery *q);
extern const RunopsRow *runops_query_next(RunopsQuery *q);
extern void runops_query_rewind(RunopsQuery *q);
extern void runops_query_stop(RunopsQuery *q);
extern void runops_query_close(RunopsQuery *q);
extern void runops_query_waited(RunopsQuery *q, const instr_time *start);
extern RunopsQuery *runops_query_running(const RunopsQuery *q);
extern int	runops_query_socket(RunopsQuery *q);

/* in row.c */
extern RunopsRow *runops_row_copy(const PGresult *res, int row);
extern const char *runops_row_next(const char **position, int *length);

/* in store_error.c */
extern void runops_conn_forget_error(void);
extern const RunopsStoreError *runops_conn_error(void);

/* in store_sql.c */
extern List *runops_reader_query(const char *store, const char *sql);

/* in usage.c */
extern RunopsUsage runops_usage;
extern void runops_usage_wait_start(instr_time *start);

#endif							/* RUNOPS_SESSION_H */
