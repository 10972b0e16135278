/*-------------------------------------------------------------------------
 *
 * begin_timeout.c
 *	  Limits how long a store may take to begin a transaction on a connection
 *	  that stands.
 *
 * A store that does not answer any more is found out by connecting, which has a
 * limit of its own; but postgres_fdw keeps connections, and what it sends first
 * on one of them, the beginning of a transaction, it would wait for without end.
 * That takes the store no time.  So it gets what connecting may take, after which
 * the wait is ended in the way in which a cancel does it; fdw/error_context.c puts the
 * right words in place of the cancel's.
 *
 * What follows in the transaction may take long for good reasons, and is left to
 * statement_timeout.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timeout.h"

#include "remote/remote.h"

static TimeoutId timeout_id = MAX_TIMEOUTS;

/* Is there an answer that is waited for, and is the wait over? */
static volatile sig_atomic_t waiting = false;
static volatile sig_atomic_t late = false;

/* Has the wait been ended because the store is none? */
static bool refused = false;

/*
 * The time is over: end the wait.
 */
static void
late_handler(void)
{
	if (!waiting)
		return;

	late = true;
	QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/*
 * Begin to wait, no longer than the given milliseconds; 0 is for ever.
 *
 * runops_conn_wait_end() has to follow, or the end of the transaction or
 * subtransaction by an error.
 */
void
runops_conn_wait_begin(int timeout_ms)
{
	if (timeout_id == MAX_TIMEOUTS)
		timeout_id = RegisterTimeout(USER_TIMEOUT, late_handler);

	late = false;
	refused = false;
	waiting = true;
	if (timeout_ms > 0)
		enable_timeout_after(timeout_id, timeout_ms);
}

/*
 * Something has come that is no answer: end the wait, as if it was late.
 *
 * The connection is broken, and postgres_fdw would begin anew on another one,
 * where nobody looks at what it gets.
 */
void
runops_conn_wait_refuse(void)
{
	if (!waiting)
		return;

	refused = true;
	late_handler();
}

/*
 * The wait is over.
 */
void
runops_conn_wait_end(void)
{
	if (!waiting)
		return;

	disable_timeout(timeout_id, false);

	/* the cancel that the handler has asked for is raised here at the latest */
	if (late)
		CHECK_FOR_INTERRUPTS();
	waiting = false;
}

/*
 * The wait was ended by an error: raise nothing.
 */
void
runops_conn_wait_reset(void)
{
	if (!waiting)
		return;

	disable_timeout(timeout_id, false);
	waiting = false;
	late = false;
}

/*
 * Has the store been late, so that a cancel which is being raised is ours?
 */
bool
runops_conn_was_late(void)
{
	return waiting && late && !refused;
}

/*
 * Or is it because of what has come?
 */
bool
runops_conn_was_refused(void)
{
	return waiting && refused;
}
