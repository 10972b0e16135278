/*-------------------------------------------------------------------------
 *
 * commit.c
 *	  Ends the transactions in the stores with the local transaction, and
 *	  their savepoints with its subtransactions.
 *
 * Before the local commit, the stores that were written to commit.  Everything
 * that may still fail here comes first: a lost connection, the deferred
 * constraints of the stores if there are several, and a serialization failure,
 * of this database and of the stores that were only read.  Then COMMIT goes to
 * all of them at once.  From there until the local commit the backend ignores
 * cancel and terminate, because a store that has committed cannot be rolled
 * back.  So the wait has a limit of its own.  A store whose answer does not come
 * is asked on a new connection, within the same limit, whether it has committed
 * (outcome.c).  If that is not found out either, the error says so.
 *
 * Transaction callbacks run in the opposite order of their registration.  Ours
 * is registered when the library is loaded, so that it runs last.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/errcodes.h"
#include "base/guc.h"
#include "session/engine_int.h"

/* Milliseconds that a store may take to roll back. */
#define ROLLBACK_BUDGET 30000

/*
 * The most milliseconds for the question whether a store has committed.  A quarter
 * of runops.commit_timeout is kept for it, if that is less.
 */
#define ASK_BUDGET 10000

#define COMMIT_SQL "COMMIT TRANSACTION"

/* Does this backend hold off interrupts, because stores have committed? */
static bool holding = false;

/*
 * Did the transaction write, or lock rows, in the store of a connection?
 */
static bool
has_written(const RunopsConn *c)
{
	return c->wrote && c->frame != RUNOPS_FRAME_NONE;
}

/*
 * Does a store have to check what the transaction has read there, before it is
 * known that the transaction can commit?
 */
static bool
reads_are_checked(const RunopsConn *c)
{
	return c->frame == RUNOPS_FRAME_WHOLE && IsolationIsSerializable() && !c->standby;
}

/*
 * Finish what is under way on a connection, and make sure that it can commit.
 *
 * The end of a transaction that has only read is not waited for.  Its answer is
 * read when the connection is used next.
 */
static void
finish_work(RunopsConn *c)
{
	if (runops_frame_is_ending(c))
		return;
	if (!c->lost)
	{
		runops_frame_settle(c);
		/* the store may have ended the session meanwhile */
		if (has_written(c) && runops_conn_is_dead(c->session.conn))
		{
			c->lost = true;
			runops_usage_lost(c, ERRCODE_CONNECTION_FAILURE);
		}
	}
	if (c->lost && (has_written(c) || reads_are_checked(c)))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("connection to server \"%s\" was lost in this transaction",
						c->session.server->servername),
				 errdetail("What the transaction has done there is rolled back."),
				 errhint("Repeat the transaction.")));
	if (c->lost)
		runops_frame_forget(c);
	else if (!has_written(c) && !reads_are_checked(c))
		runops_frame_end_read(c, NULL);
}

/*
 * Commit in the stores that have to check what was read there.
 */
static void
commit_checked_readers(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (has_written(c) || !reads_are_checked(c))
			continue;
		c->sql = COMMIT_SQL;
		resetStringInfo(&c->later);
		runops_segment_command(c, RUNOPS_CMD_END, COMMIT_SQL);
		runops_segment_sync(c, true);
	}
	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (!has_written(c) && reads_are_checked(c))
			runops_segment_finish(c);
	}
}

/*
 * Check the deferred constraints of several stores before one of them commits.
 */
static void
check_deferred_constraints(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (!has_written(c))
			continue;
		c->sql = "SET CONSTRAINTS ALL IMMEDIATE";
		runops_segment_command(c, RUNOPS_CMD_OTHER, c->sql);
		runops_segment_sync(c, true);
	}
	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (has_written(c))
			runops_segment_finish(c);
	}
}

/*
 * The stores that were told to commit, until the local transaction ends; in
 * TopTransactionContext.
 */
static RunopsStorePart *parts = NULL;
static int	nparts = 0;

/*
 * The names of the servers with an outcome, as a list for messages.
 */
static char *
servers(RunopsOutcome outcome)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < nparts; i++)
	{
		if (parts[i].outcome == outcome)
			appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "",
							 parts[i].conn->session.server->servername);
	}

	return names.data;
}

/*
 * Describe why a store has rolled back.
 */
static void
describe_refusal(const RunopsStorePart *part, RemoteFailure *failure)
{
	RunopsConn *c = part->conn;

	if (part->asked)
		runops_remote_fail(failure, ERRCODE_CONNECTION_FAILURE,
						   psprintf(_("connection to server \"%s\" was lost in COMMIT"),
									c->session.server->servername),
						   _("The server was asked again: it has rolled back the transaction."),
						   _("Repeat the transaction."));
	else if (part->refusal == NULL)
		runops_remote_fail_libpq(&c->session, failure);
	else if (PQresultStatus(part->refusal) == PGRES_COMMAND_OK)
		runops_remote_fail(failure, ERRCODE_TRANSACTION_ROLLBACK,
						   psprintf(_("server \"%s\" has rolled back the transaction instead of committing it"),
									c->session.server->servername),
						   NULL, _("Repeat the transaction."));
	else
		runops_store_failure(c, part->refusal, COMMIT_SQL, failure);
}

/*
 * Keep what the stores have done, if it is not the same as what this database
 * does, which is to roll back.
 */
static void
record_parts(void)
{
	bool		half = false;

	for (int i = 0; i < nparts; i++)
		half = half || parts[i].outcome != RUNOPS_OUTCOME_ROLLED_BACK;
	if (half)
		runops_commit_record(parts, nparts);
}

/*
 * Raise the error of a transaction that could not be committed in all stores.
 * Interrupts are held, and the error ends that.
 *
 * A store that has told its reason comes before one that was lost.
 */
pg_noreturn static void
commit_failed(void)
{
	char	   *committed = servers(RUNOPS_OUTCOME_COMMITTED);
	char	   *unknown = servers(RUNOPS_OUTCOME_UNKNOWN);
	RemoteFailure failure = {0};
	const RunopsStorePart *refuser = NULL;

	holding = false;
	for (int i = 0; i < nparts; i++)
	{
		if (parts[i].outcome == RUNOPS_OUTCOME_ROLLED_BACK &&
			(refuser == NULL || (refuser->refusal == NULL && parts[i].refusal != NULL)))
			refuser = &parts[i];
	}
	if (refuser != NULL)
		describe_refusal(refuser, &failure);
	if (refuser != NULL && refuser->refusal != NULL)
		runops_usage_error(refuser->conn, failure.sqlerrcode);
	for (int i = 0; i < nparts; i++)
	{
		PQclear(parts[i].refusal);
		parts[i].refusal = NULL;
	}

	record_parts();
	nparts = 0;
	if (unknown[0] == '\0' && committed[0] == '\0')
		runops_remote_raise(&failure);
	if (unknown[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_RUNOPS_PARTLY_COMMITTED),
				 errmsg("only a part of the transaction is committed"),
				 errdetail("It is committed in server %s, and rolled back in server \"%s\" and in this database: %s",
						   committed, refuser->conn->session.server->servername, failure.message),
				 errhint("Do not repeat the whole transaction.  Complete it, or undo what is committed.")));

	ereport(ERROR,
			(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
			 errmsg("it is not known whether server %s has committed", unknown),
			 committed[0] != '\0' ?
			 errdetail("It was told to commit, its answer did not come, and it could not be asked.  The transaction is committed in server %s, and rolled back in this database.",
					   committed) :
			 errdetail("It was told to commit, its answer did not come, and it could not be asked.  The transaction is rolled back in this database."),
			 errhint("Look for the rows of the transaction there before repeating it.")));
}

/*
 * List the stores that were written to.  This is the last that needs memory
 * before they commit.
 */
static void
list_parts(int nwriters)
{
	dlist_iter	iter;

	parts = MemoryContextAllocZero(TopTransactionContext, nwriters * sizeof(RunopsStorePart));
	nparts = 0;
	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (has_written(c))
			parts[nparts++].conn = c;
	}
}

/*
 * Read the answer of a store to COMMIT.
 */
static void
read_answer(RunopsStorePart *part, TimestampTz by)
{
	RunopsConn *c = part->conn;
	PGresult   *answer = NULL;
	bool		complete = runops_segment_drain(c, by, false, &answer);

	/* whatever comes behind the answer "COMMIT" does not matter */
	c->lost = !complete;
	if (c->frame == RUNOPS_FRAME_NONE)
		part->outcome = RUNOPS_OUTCOME_COMMITTED;
	else if (complete && answer != NULL &&
			 (PQresultStatus(answer) != PGRES_COMMAND_OK ||
			  strcmp(PQcmdStatus(answer), "ROLLBACK") == 0))
	{
		/* the store has ended the transaction */
		c->frame = RUNOPS_FRAME_NONE;
		part->outcome = RUNOPS_OUTCOME_ROLLED_BACK;
		part->refusal = answer;
		answer = NULL;
	}
	else
		c->lost = true;
	PQclear(answer);
}

/*
 * Ask the stores that have not answered what they have done; their number is
 * nunknown.  Each gets the same share of the time that is left.
 */
static void
ask_outcomes(int nunknown, TimestampTz by)
{
	by = Min(by, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ASK_BUDGET));
	for (int i = 0; i < nparts && nunknown > 0; i++)
	{
		RunopsStorePart *part = &parts[i];
		RunopsConn *c = part->conn;
		TimestampTz now = GetCurrentTimestamp();
		RunopsRemoteXact xact;

		if (part->outcome != RUNOPS_OUTCOME_UNKNOWN)
			continue;
		part->asked = true;
		runops_conn_xact(c, &xact);
		/* a transaction without a number has written nothing */
		part->outcome = c->xid_told && c->xid == 0 ? RUNOPS_OUTCOME_COMMITTED :
			runops_outcome_ask_again(c->session.conn, &xact, now + (by - now) / nunknown);
		if (part->outcome != RUNOPS_OUTCOME_UNKNOWN)
			c->frame = RUNOPS_FRAME_NONE;
		runops_usage_error(c, part->outcome == RUNOPS_OUTCOME_UNKNOWN ?
						   ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN : ERRCODE_CONNECTION_FAILURE);
		nunknown--;
	}
}

/*
 * Commit in all stores that were written to.
 */
static void
commit_stores(int nwriters)
{
	int			nunknown = 0;
	bool		all = true;
	TimestampTz by;
	TimestampTz answers_by;

	list_parts(nwriters);
	HOLD_INTERRUPTS();
	holding = true;
	by = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), runops_commit_timeout);
	answers_by = TimestampTzPlusMilliseconds(by, -Min(runops_commit_timeout / 4, ASK_BUDGET));
	for (int i = 0; i < nparts; i++)
	{
		RunopsConn *c = parts[i].conn;

		resetStringInfo(&c->later);
		if (!runops_segment_try_send(c, COMMIT_SQL, NULL, RUNOPS_CMD_END))
		{
			c->lost = true;
			runops_usage_lost(c, ERRCODE_CONNECTION_FAILURE);
			parts[i].outcome = RUNOPS_OUTCOME_ROLLED_BACK;
		}
		(void) PQflush(c->session.conn);
	}

	pgstat_report_wait_start(PG_WAIT_EXTENSION);
	for (int i = 0; i < nparts; i++)
	{
		if (!parts[i].conn->lost)
			read_answer(&parts[i], answers_by);
		if (parts[i].outcome == RUNOPS_OUTCOME_UNKNOWN)
			nunknown++;
	}
	ask_outcomes(nunknown, by);
	pgstat_report_wait_end();

	for (int i = 0; i < nparts; i++)
		all = all && parts[i].outcome == RUNOPS_OUTCOME_COMMITTED;
	if (!all)
		commit_failed();
}

/*
 * Before the local commit.
 */
static void
pre_commit(void)
{
	int			nwriters = 0;
	bool		two_phase;
	dlist_iter	iter;

	dlist_foreach(iter, &runops_conns)
		finish_work(dlist_container(RunopsConn, node, iter.cur));
	two_phase = runops_two_phase_begin(&nwriters);
	if (nwriters > 1)
		check_deferred_constraints();
	commit_checked_readers();
	if (two_phase)
		runops_two_phase_decide();
	if (IsolationIsSerializable() && (two_phase || nwriters > 0))
		PreCommit_CheckForSerializationFailure();
	if (two_phase)
		runops_two_phase_prepare();
	if (nwriters > 0)
		commit_stores(nwriters);
}

/*
 * After the local commit: forget the transactions, and close the connections
 * that are not kept.
 */
static void
after_commit(void)
{
	dlist_mutable_iter iter;

	runops_two_phase_commit();
	if (holding)
		RESUME_INTERRUPTS();
	holding = false;
	parts = NULL;
	nparts = 0;
	dlist_foreach_modify(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		c->snapshot = NULL;
		list_free_deep(c->written);
		c->written = NIL;
		if (c->lost || !c->keep)
			runops_conn_close(c);
	}
	runops_idle_begin();
}

/*
 * Read the answer to a rollback that was sent at this time; returns whether it
 * was executed.
 *
 * The time is limited.  A server that does not even greet a new client, after
 * as long as connecting may take, is not waited for any longer.
 */
static bool
rollback_answered(RunopsConn *c, TimestampTz sent)
{
	PGresult   *error = NULL;
	long		patience = c->patience > 0 ? Min(c->patience, ROLLBACK_BUDGET) : ROLLBACK_BUDGET;
	bool		ok;

	ok = runops_segment_drain(c, TimestampTzPlusMilliseconds(sent, patience), true, &error) ||
		(PQstatus(c->session.conn) == CONNECTION_OK && runops_conn_answers(c->session.conn) &&
		 runops_segment_drain(c, TimestampTzPlusMilliseconds(sent, ROLLBACK_BUDGET), true, &error));
	ok = ok && error == NULL;
	PQclear(error);
	if (!ok)
		runops_usage_lost(c, ERRCODE_CONNECTION_FAILURE);

	return ok;
}

/*
 * The local transaction is rolled back: roll back in the stores.
 *
 * A store that does not do it soon does it when its connection is closed.
 */
static void
abort_all(void)
{
	TimestampTz now;
	dlist_mutable_iter iter;

	runops_inserts_abort(1);

	/* the stores have committed, and then this database has failed */
	if (holding)
		record_parts();
	/* the error has reset the count */
	holding = false;
	parts = NULL;
	nparts = 0;
	dlist_foreach_modify(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		c->snapshot = NULL;
		c->busy = false;
		/* its answer is read when the connection is used next */
		if (runops_frame_is_ending(c))
		{
			runops_frame_forget(c);
			continue;
		}
		if (c->nsent > 0 && !c->lost && !runops_segment_cancel(c))
			c->lost = true;
		c->running = NULL;
		c->inserting = NULL;
		c->nest = 0;
		if (!c->lost && c->frame != RUNOPS_FRAME_NONE)
		{
			c->lost = !runops_segment_try_send(c, "ROLLBACK TRANSACTION", NULL, RUNOPS_CMD_END);
			(void) PQflush(c->session.conn);
		}
		else if (!c->lost && !runops_two_phase_send_rollback(c))
			c->lost = true;
	}

	now = GetCurrentTimestamp();
	dlist_foreach_modify(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (!c->lost && c->frame != RUNOPS_FRAME_NONE && !rollback_answered(c, now))
			c->lost = true;
	}
	runops_two_phase_abort();
	dlist_foreach_modify(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (c->lost || !c->keep)
			runops_conn_close(c);
		else
			runops_frame_forget(c);
	}
	runops_idle_begin();
}

/*
 * The queries that have lost their cursors by the end of a level.
 */
static void
fail_queries(RunopsConn *c, int level)
{
	dlist_iter	iter;

	dlist_foreach(iter, &runops_queries)
	{
		RunopsQuery *q = dlist_container(RunopsQuery, node, iter.cur);

		if (q->conn == c &&
			(q->state == RUNOPS_QUERY_SENT ||
			 (q->state == RUNOPS_QUERY_OPEN && q->open_level >= level)))
			q->state = RUNOPS_QUERY_FAILED;
	}
}

/*
 * A subtransaction is rolled back on one connection.
 */
static void
abort_level(RunopsConn *c, int level)
{
	char		rollback[48];
	char		release[48];

	c->busy = false;
	c->nest = 0;
	if (c->carried >= level)
		c->lost = true;
	/* what was sent outside of this level goes on */
	if (runops_frame_is_ending(c))
		return;
	if (c->nsent > 0 && c->sent_level < level && !c->lost &&
		PQstatus(c->session.conn) == CONNECTION_OK &&
		(c->running == NULL || !c->running->reading))
		return;
	if (c->nsent > 0 && !c->lost &&
		(!runops_segment_cancel(c) ||
		 (c->sent_level < level && c->frame != RUNOPS_FRAME_NONE)))
		c->lost = true;
	c->running = NULL;
	c->inserting = NULL;
	fail_queries(c, level);
	/* the next write writes it again */
	if (c->token_level >= level)
		c->token_level = 0;
	if (c->frame == RUNOPS_FRAME_NONE)
		return;

	/* a transaction that began in this level is lost with it */
	if (c->base_level >= level)
	{
		if (!c->lost &&
			!(runops_segment_try_send(c, "ROLLBACK TRANSACTION", NULL, RUNOPS_CMD_END) &&
			  rollback_answered(c, GetCurrentTimestamp())))
			c->lost = true;
		runops_frame_forget(c);
		return;
	}
	if (c->lost || c->level < level)
		return;

	/* what was to be sent later is about levels that end now */
	resetStringInfo(&c->later);
	c->lock_timeout = -1;
	snprintf(rollback, sizeof(rollback), "ROLLBACK TO SAVEPOINT s%d", level);
	snprintf(release, sizeof(release), "RELEASE SAVEPOINT s%d", level);
	c->level = level - 1;
	if (!(runops_segment_try_send(c, rollback, release, RUNOPS_CMD_OTHER) &&
		  rollback_answered(c, GetCurrentTimestamp())))
		c->lost = true;
}

/*
 * A subtransaction becomes part of its parent on one connection.
 */
static void
commit_level(RunopsConn *c, int level)
{
	char		release[48];

	c->token_level = Min(c->token_level, level - 1);
	c->carried = Min(c->carried, level - 1);
	if (c->base_level >= level)
	{
		c->base_level = level - 1;
		c->level = Min(c->level, level - 1);
		return;
	}
	if (c->level < level)
		return;

	snprintf(release, sizeof(release), "RELEASE SAVEPOINT s%d", level);
	runops_frame_later(c, release);
	c->level = level - 1;
}

/*
 * Subtransaction callback.
 */
static void
engine_subxact_callback(SubXactEvent event, SubTransactionId mySubid,
						SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	dlist_iter	iter;

	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		switch (event)
		{
			case SUBXACT_EVENT_PRE_COMMIT_SUB:
				if (c->running != NULL)
					c->running->complete(c->running);
				if (!c->lost && !runops_frame_is_ending(c))
					runops_frame_settle(c);
				break;
			case SUBXACT_EVENT_COMMIT_SUB:
				if (c->frame != RUNOPS_FRAME_NONE)
					commit_level(c, level);
				break;
			case SUBXACT_EVENT_ABORT_SUB:
				abort_level(c, level);
				break;
			default:
				break;
		}
	}

	if (event == SUBXACT_EVENT_ABORT_SUB)
		runops_inserts_abort(level);
	if (event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	runops_inserts_end_level(level);
	dlist_foreach(iter, &runops_queries)
	{
		RunopsQuery *q = dlist_container(RunopsQuery, node, iter.cur);

		q->level = Min(q->level, level - 1);
		q->open_level = Min(q->open_level, level - 1);
	}
}

/*
 * Transaction callback.
 */
static void
engine_xact_callback(XactEvent event, void *arg)
{
	dlist_iter	iter;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			pre_commit();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PREPARE:
			after_commit();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			abort_all();
			break;
		case XACT_EVENT_PRE_PREPARE:
			dlist_foreach(iter, &runops_conns)
			{
				RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

				finish_work(c);
				if ((c->frame == RUNOPS_FRAME_WRITE || c->frame == RUNOPS_FRAME_WHOLE) &&
					!runops_frame_is_ending(c))
					ereport(ERROR,
							(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							 errmsg("cannot PREPARE a transaction that has used a store"),
							 errdetail("The transaction in server \"%s\" cannot be prepared together with it.",
									   c->session.server->servername)));
			}
			break;
	}
}

/*
 * Register the callbacks, when the library is loaded.
 */
void
runops_engine_init(void)
{
	RegisterXactCallback(engine_xact_callback, NULL);
	RegisterSubXactCallback(engine_subxact_callback, NULL);
}
