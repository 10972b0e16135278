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

#include "session/remote.h"

/* in remote/cancel.c */
extern void runops_conn_cancel(PGconn *conn);
extern bool runops_conn_is_dead(PGconn *conn);

/* in conncheck.c */
extern void runops_conn_ask(RemoteSession *session);
extern void runops_conn_prepare(Oid serverid, Oid userid, Oid relid);
extern void runops_conn_check(PGconn *conn, Oid serverid, Oid userid, Oid relid);
extern uint64 runops_conn_first_use(Oid serverid);

extern void runops_conn_await(void);
extern void runops_conn_answered(void);

/* in remote/begin_timeout.c */
extern void runops_conn_wait_begin(int timeout_ms);
extern void runops_conn_wait_end(void);
extern void runops_conn_wait_reset(void);
extern bool runops_conn_was_late(void);

/* in pgfdw_state.c */
extern PGconn *runops_pgfdw_scan_conn(ForeignScanState *node);
extern PGconn *runops_pgfdw_direct_conn(ForeignScanState *node);
extern PGconn *runops_pgfdw_modify_conn(ResultRelInfo *rri, void *pgfdw_state);

#endif							/* RUNOPS_CONNCHECK_H */
