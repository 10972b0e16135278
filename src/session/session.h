/*-------------------------------------------------------------------------
 *
 * session.h
 *	  The connections of postgres_fdw, as far as they are looked at, and SQL of our own
 *	  in a store.
 *
 * Every connection is asked which database it has reached before it is used
 * (conncheck.c).  A statement of ours runs on a connection for the time of one
 * call (store_sql.c).  A backend's list of connections lives as long as libpq
 * keeps them; transaction callbacks cancel what an aborted transaction left
 * running.
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

/* One use of a server, for a foreign table, by the mapping of a user. */
typedef struct RunopsStoreUse
{
	Oid			relid;			/* for messages and counters; may be InvalidOid */
	Oid			serverid;
	Oid			userid;
} RunopsStoreUse;

/*
 * What an error of a store says beyond the parts that postgres_fdw hands on; the
 * names are the store's, and empty where it gave none.
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

/* What is to be set up on a connection that a statement is about to use. */
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
