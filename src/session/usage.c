/*-------------------------------------------------------------------------
 *
 * usage.c
 *	  Counts what this backend exchanges with stores, and what fails.
 *
 * There are three places to count in.  runops_usage is the sum of this backend;
 * EXPLAIN takes differences of it, as core does with pgBufferUsage.  The
 * counters of runops.stats are in shared memory (xact/stats.c).  What a
 * connection has done is added to them once for each segment.  The state of a
 * server (xact/server_state.c) says whether its last use has succeeded.
 *
 * No function here raises an error, because some of them run while a
 * transaction ends.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "session/engine_int.h"
#include "xact/xact.h"

/* What this backend has exchanged with stores since it started. */
RunopsUsage runops_usage;

/*
 * Let a connection count for a foreign table from now on, or for none.
 */
void
runops_usage_begin(RunopsConn *c, Oid relid)
{
	runops_usage_flush(c);
	c->counters = OidIsValid(relid) ? runops_stats_counters(relid) : NULL;
}

/*
 * Count a turn.
 */
void
runops_usage_turn(RunopsConn *c)
{
	runops_usage.turns++;
	c->unflushed.turns++;
}

/*
 * Count bytes that are sent.
 */
void
runops_usage_sent(RunopsConn *c, uint64 bytes)
{
	runops_usage.sent += bytes;
	c->unflushed.sent += bytes;
}

/*
 * Count bytes that were received.
 */
void
runops_usage_received(RunopsConn *c, uint64 bytes)
{
	runops_usage.received += bytes;
	c->unflushed.received += bytes;
}

/*
 * Begin a wait for a store.
 */
void
runops_usage_wait_start(instr_time *start)
{
	if (runops_track_wait_timing)
		INSTR_TIME_SET_CURRENT(*start);
	else
		INSTR_TIME_SET_ZERO(*start);
}

/*
 * End a wait.
 */
void
runops_usage_wait_end(RunopsConn *c, const instr_time *start)
{
	instr_time	now;

	if (INSTR_TIME_IS_ZERO(*start))
		return;
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_ACCUM_DIFF(runops_usage.waited, now, *start);
	INSTR_TIME_ACCUM_DIFF(c->unflushed.waited, now, *start);
}

/*
 * Add to a shared counter.
 */
static void
add(RunopsConn *c, RunopsCounter counter, uint64 n)
{
	if (c->counters != NULL && n > 0)
		pg_atomic_fetch_add_u64(&c->counters[counter], n);
}

/*
 * Add what a connection has done to the shared counters.
 */
void
runops_usage_flush(RunopsConn *c)
{
	add(c, RUNOPS_TURNS, c->unflushed.turns);
	add(c, RUNOPS_BYTES_SENT, c->unflushed.sent);
	add(c, RUNOPS_BYTES_RECEIVED, c->unflushed.received);
	if (!INSTR_TIME_IS_ZERO(c->unflushed.waited))
		add(c, RUNOPS_WAIT, (uint64) (INSTR_TIME_GET_DOUBLE(c->unflushed.waited) * 1000000000.0));
	memset(&c->unflushed, 0, sizeof(c->unflushed));
}

/*
 * The counter of an error.
 */
static RunopsCounter
error_counter(int sqlerrcode)
{
	switch (sqlerrcode)
	{
		case ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN:
			return RUNOPS_UNKNOWN_OUTCOMES;
		case ERRCODE_QUERY_CANCELED:
		case ERRCODE_LOCK_NOT_AVAILABLE:
		case ERRCODE_IDLE_IN_TRANSACTION_SESSION_TIMEOUT:
		case ERRCODE_TRANSACTION_TIMEOUT:
			return RUNOPS_ERRORS_CANCELED;
		case ERRCODE_ADMIN_SHUTDOWN:
		case ERRCODE_CRASH_SHUTDOWN:
		case ERRCODE_CANNOT_CONNECT_NOW:
		case ERRCODE_IDLE_SESSION_TIMEOUT:
		case ERRCODE_TOO_MANY_CONNECTIONS:
		case ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION:
			return RUNOPS_ERRORS_CONNECTION;
		default:
			break;
	}

	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION:
			return RUNOPS_ERRORS_CONNECTION;
		case ERRCODE_TO_CATEGORY(ERRCODE_RUNOPS_GATE_CLOSED):
			return RUNOPS_GATE_REFUSALS;
		default:
			return RUNOPS_ERRORS_OTHER;
	}
}

/*
 * Count a connection that is lost, or could not be made.
 */
void
runops_usage_lost(RunopsConn *c, int sqlerrcode)
{
	add(c, RUNOPS_ERRORS_CONNECTION, 1);
	runops_server_state_failed(c->state, sqlerrcode);
}

/*
 * Count an error on a connection, or while it is made.
 */
void
runops_usage_error(RunopsConn *c, int sqlerrcode)
{
	RunopsCounter counter = error_counter(sqlerrcode);

	if (counter == RUNOPS_ERRORS_CONNECTION)
		runops_usage_lost(c, sqlerrcode);
	else
		add(c, counter, 1);
	if (counter == RUNOPS_UNKNOWN_OUTCOMES)
		runops_server_state_failed(c->state, sqlerrcode);
}
