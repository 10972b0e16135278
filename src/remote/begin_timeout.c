/*-------------------------------------------------------------------------
 *
 * begin_timeout.c
 *	  Limits how long a store may take to begin a transaction on an open
 *	  connection.
 *
 * Connecting to a store that no longer answers fails after connect_timeout.
 * But postgres_fdw keeps connections, and it would wait without a limit for
 * the first statement on one of them, which begins a transaction.  A store
 * needs almost no time for that.  So the statement gets as much time as
 * connecting may take.  After that the wait is ended in the same way as by a
 * cancel, and fdw/error_context.c replaces the message of the cancel.
 *
 * Later statements of the transaction may take long for good reasons;
 * statement_timeout limits them.
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

/* Is the backend waiting for an answer, and is the wait over? */
static volatile sig_atomic_t waiting = false;
static volatile sig_atomic_t late = false;

/* Has the wait been ended because the store is none? */
static bool refused = false;

/*
 * Timeout handler: end the wait.
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
 * Begin a wait that lasts no longer than the given milliseconds; 0 means no
 * limit.
 *
 * The caller must call runops_conn_wait_end() afterwards, unless an error ends
 * the transaction or subtransaction.
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
 * The store has sent a result that is no answer: end the wait, as if the answer
 * was late.
 *
 * The connection is broken.  Without an error postgres_fdw would begin again on
 * another connection, whose results are not checked.
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
 * End the wait.
 */
void
runops_conn_wait_end(void)
{
	if (!waiting)
		return;

	disable_timeout(timeout_id, false);

	/*
	 * raise the cancel that the handler has requested, if it was not raised
	 * yet
	 */
	if (late)
		CHECK_FOR_INTERRUPTS();
	waiting = false;
}

/*
 * Reset the state after an error has ended the wait; raises nothing.
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
 * Was the store late, so that the cancel being raised is ours?
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
