/*-------------------------------------------------------------------------
 *
 * session_int.h
 *	  Declares the functions that the files of the session module share.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SESSION_INT_H
#define RUNOPS_SESSION_INT_H

#include "nodes/execnodes.h"

#include "remote/remote.h"
#include "session/session.h"

/* in conncheck.c */
extern void runops_conn_ask(RemoteSession *session);

/* in connection.c */
extern void runops_conn_leave_pool(const RemoteSession *session);

/* in finisher.c */
extern int	runops_finish_pass(const char *name, bool wait, bool log, bool *left);

/* in store_sql.c */
extern void runops_store_rows(const char *store, const char *query,
							  ReturnSetInfo *into);

#endif							/* RUNOPS_SESSION_INT_H */
