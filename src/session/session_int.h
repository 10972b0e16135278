/*-------------------------------------------------------------------------
 *
 * session_int.h
 *	  What the files of the session share.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SESSION_INT_H
#define RUNOPS_SESSION_INT_H

#include "remote/remote.h"
#include "session/session.h"

/* in conncheck.c */
extern void runops_conn_ask(RemoteSession *session);
extern void runops_conn_answered(void);

#endif							/* RUNOPS_SESSION_INT_H */
