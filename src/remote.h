/*-------------------------------------------------------------------------
 *
 * remote.h
 *	  What the two halves of the set-up connections share.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_REMOTE_H
#define RUNOPS_REMOTE_H

#include "datatype/timestamp.h"
#include "foreign/foreign.h"
#include "libpq-fe.h"

/* One connection to the database of a store, for the time of one call. */
typedef struct RemoteSession
{
	PGconn	   *conn;			/* NULL while there is none */
	PGresult   *res;			/* the result at hand, freed with the session */
	TimestampTz answer_by;		/* when to stop waiting for answers; 0 is never */
	char	   *store;			/* name of the store */
	ForeignServer *server;		/* its server */
	UserMapping *user;			/* the caller's mapping */
} RemoteSession;

/* in remote_connect.c */
extern RemoteSession *runops_remote_session(const char *store);
extern void runops_remote_open(RemoteSession *session);
extern void runops_remote_close(RemoteSession *session);
extern int	runops_remote_wait(RemoteSession *session, int io_flag, long timeout_ms);

#endif							/* RUNOPS_REMOTE_H */
