/*-------------------------------------------------------------------------
 *
 * session.h
 *	  Checks the connections of postgres_fdw, and runs our own SQL in a store.
 *
 * Every connection is asked which database it has reached before it is used
 * (conncheck.c).  Our own statements use a connection for one call only
 * (store_sql.c).  A backend's list of connections lives as long as libpq keeps
 * them.  Transaction callbacks cancel the queries that an aborted transaction
 * left running.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SESSION_H
#define RUNOPS_SESSION_H

#include "libpq-fe.h"
#include "nodes/execnodes.h"

#include "base/runops.h"

/* The use of a server for a foreign table, through a user's mapping. */
typedef struct RunopsStoreUse
{
	Oid			relid;			/* for messages and counters; may be
								 * InvalidOid */
	Oid			serverid;
	Oid			userid;
} RunopsStoreUse;

/*
 * The fields of a store's error that postgres_fdw does not pass on.  The names
 * are those of the store, or empty if it sent none.
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

/* A callback that sets up a connection before a statement uses it. */
typedef void (*RunopsConnected) (PGconn *conn, Oid serverid, Oid userid);

/* in conncheck.c */
extern void runops_conn_prepare(const RunopsStoreUse *use);
extern void runops_conn_check(PGconn *conn, const RunopsStoreUse *use);
extern uint64 runops_conn_first_use(Oid serverid);
extern void runops_conn_await(void);
extern void runops_conn_forget_error(void);
extern const RunopsStoreError *runops_conn_error(void);
extern void runops_conn_on_use(RunopsConnected callback);

/* in pgfdw_state.c */
extern PGconn *runops_pgfdw_scan_conn(ForeignScanState *node);
extern PGconn *runops_pgfdw_direct_conn(ForeignScanState *node);
extern PGconn *runops_pgfdw_modify_conn(ResultRelInfo *rri, void *pgfdw_state);

/* in store_sql.c */
extern List *runops_reader_query(const char *store, const char *sql);

#endif							/* RUNOPS_SESSION_H */
