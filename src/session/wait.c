/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  Waits for the answer of a store.
 *
 * Each connection keeps its set of events until it is closed.  A set that is
 * made for one wait costs more system calls than the statement.
 *
 * If no answer comes for as long as connecting may take, the server is tested:
 * a server that is busy still greets a new client.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"

#include "session/engine_int.h"

/* The latch, the death of the postmaster, and the socket. */
#define MAX_EVENTS 3

/*
 * Make the set of events of a connection.
 */
static void
make_events(RunopsConn *c)
{
	WaitEventSet *events = create_wait_event_set(c->cxt, MAX_EVENTS);

	AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	if (IsUnderPostmaster)
		AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	c->socket_event = AddWaitEventToSet(events, WL_SOCKET_READABLE,
										PQsocket(c->session.conn), NULL, NULL);
	c->waits_writable = false;
	c->events = events;
}

/*
 * Free the set of events of a connection that is closed.
 */
void
runops_wait_end(RunopsConn *c)
{
	if (c->events != NULL)
		FreeWaitEventSet(c->events);
	c->events = NULL;
}

/*
 * Process interrupts.  One that ends the wait counts as an error of the store,
 * which has not answered in time.
 */
static void
interrupt(RunopsConn *c)
{
	PG_TRY();
	{
		CHECK_FOR_INTERRUPTS();
	}
	PG_CATCH();
	{
		runops_usage_error(c, geterrcode());
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * Wait until the socket of a connection is readable, and read what is there;
 * or until it is writable, if something is still to be sent.  May return
 * earlier.
 *
 * Raises an error if the server answers neither the connection nor a new
 * client, or if the wait is interrupted.
 */
void
runops_wait(RunopsConn *c, bool unsent)
{
	PGconn	   *conn = c->session.conn;
	WaitEvent	events[MAX_EVENTS];
	instr_time	start;
	int			n;

	if (c->events == NULL)
		make_events(c);
	if (c->waits_writable != unsent)
	{
		ModifyWaitEvent(c->events, c->socket_event,
						WL_SOCKET_READABLE | (unsent ? WL_SOCKET_WRITEABLE : 0), NULL);
		c->waits_writable = unsent;
	}

	runops_usage_wait_start(&start);
	n = WaitEventSetWait(c->events, c->patience > 0 ? c->patience : -1,
						 events, lengthof(events), PG_WAIT_EXTENSION);
	runops_usage_wait_end(c, &start);
	for (int i = 0; i < n; i++)
	{
		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			if (INTERRUPTS_PENDING_CONDITION())
				interrupt(c);
		}
		/* an error shows itself in the next result */
		if (events[i].events & WL_SOCKET_READABLE)
			(void) PQconsumeInput(conn);
	}
	if (n == 0 && !runops_conn_answers(conn))
	{
		c->lost = true;
		runops_conn_break(conn);
		runops_usage_lost(c, ERRCODE_CONNECTION_FAILURE);
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("server \"%s\" did not answer in time",
						c->session.server->servername),
				 errdetail("The connection is open, but the time of connect_timeout is over.")));
	}
}
