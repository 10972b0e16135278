/*-------------------------------------------------------------------------
 *
 * conncheck.h
 *	  The connections of postgres_fdw, as far as we look at them.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_CONNCHECK_H
#define RUNOPS_CONNCHECK_H

#include "libpq-fe.h"
#include "nodes/execnodes.h"

/* in conncancel.c */
extern void runops_conn_cancel(PGconn *conn);
extern bool runops_conn_is_dead(PGconn *conn);

/* in conncheck.c */
extern void runops_conn_prepare(Oid serverid, Oid userid, Oid relid);
extern void runops_conn_check(PGconn *conn, Oid serverid, Oid userid, Oid relid);

/* in pgfdw_state.c */
extern PGconn *runops_pgfdw_scan_conn(ForeignScanState *node);
extern PGconn *runops_pgfdw_direct_conn(ForeignScanState *node);
extern PGconn *runops_pgfdw_modify_conn(ResultRelInfo *rri, void *pgfdw_state);

#endif							/* RUNOPS_CONNCHECK_H */
