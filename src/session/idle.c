/*-------------------------------------------------------------------------
 *
 * idle.c
 *	  Closes connections to stores that were not used for the time of the option
 *	  idle_timeout.
 *
 * A backend that waits for its client runs no code of ours but a timeout
 * handler.  So the handler shuts the sockets down, and the stores end the
 * sessions.  The next use of such a connection finds it closed, and makes
 * another one.
 *
 * The handler interrupts the backend anywhere.  So the timeout is only set
 * between the end of one transaction that has used stores and the next use, and
 * the list of connections does not change meanwhile.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>

#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "session/engine_int.h"

static TimeoutId timeout_id = MAX_TIMEOUTS;

/* Is the timeout set? */
static bool armed = false;

/*
 * When a connection has to be closed.
 */
static TimestampTz
due(const RunopsConn *c)
{
	return TimestampTzPlusMilliseconds(c->idle_since, c->options.idle_timeout);
}

/*
 * Set the timeout for the first connection that has to be closed.
 */
static void
arm(void)
{
	TimestampTz first = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (c->idle_since != 0 && (first == 0 || due(c) < first))
			first = due(c);
	}
	armed = first != 0;
	if (armed)
		enable_timeout_at(timeout_id, first);
}

/*
 * Timeout handler: shut down the connections whose time is over.
 */
static void
close_idle(void)
{
	TimestampTz now = GetCurrentTimestamp();
	dlist_iter	iter;

	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (c->idle_since == 0 || due(c) > now)
			continue;
		c->idle_since = 0;
		(void) shutdown(PQsocket(c->session.conn), SHUT_RDWR);
	}
	arm();
}

/*
 * A connection is going to be used, or the list of connections changed: nothing
 * is closed by the timeout before runops_idle_begin() is called.
 */
void
runops_idle_end(void)
{
	if (armed)
		disable_timeout(timeout_id, false);
	armed = false;
}

/*
 * A transaction has ended.  The connections that it has used are idle from now
 * on.  Raises no error.
 */
void
runops_idle_begin(void)
{
	TimestampTz now = 0;
	dlist_iter	iter;

	runops_idle_end();
	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (c->options.idle_timeout == 0 || !c->used)
			continue;
		if (now == 0)
			now = GetCurrentTimestamp();
		c->idle_since = now;
		c->used = false;
	}
	if (now != 0 && timeout_id == MAX_TIMEOUTS)
		timeout_id = RegisterTimeout(USER_TIMEOUT, close_idle);
	if (timeout_id != MAX_TIMEOUTS)
		arm();
}
