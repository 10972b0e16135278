/*-------------------------------------------------------------------------
 *
 * commit.c
 *	  Ends the transactions in the stores with the local transaction, and
 *	  their savepoints with its subtransactions.
 *
 * Before the local commit, the stores that were written to commit.  Everything
 * that may still fail here comes first: a lost connection, the deferred
 * constraints of the stores if there are several, and a serialization failure.
 * Then COMMIT goes to all of them at once.  From there until the local commit
 * the backend ignores cancel and terminate, because a store that has committed
 * cannot be rolled back.  So the wait has a limit of its own.  A store whose
 * answer does not come may have committed or not, and the error says so.
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
#include "storage/predicate.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "session/engine_int.h"

/* Milliseconds that a store may take to roll back. */
#define ROLLBACK_BUDGET 30000

#define COMMIT_SQL "COMMIT TRANSACTION"

/* Does this backend hold off interrupts, because stores have committed? */
static bool holding = false;

/*
 * The time that is so many milliseconds from now.
 */
static TimestampTz
after(int ms)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

/*
 * Did the transaction write, or lock rows, in the store of a connection?
 */
static bool
has_written(const RunopsConn *c)
{
	return c->wrote && c->frame != RUNOPS_FRAME_NONE;
}

/*
 * Finish what is under way on a connection, and make sure that it can commit.
 */
static void
finish_work(RunopsConn *c)
{
	if (c->lost && has_written(c))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("connection to server \"%s\" was lost in this transaction",
						c->session.server->servername),
				 errdetail("What the transaction has written there is rolled back."),
				 errhint("Repeat the transaction.")));
	if (c->lost)
	{
		runops_frame_forget(c);
		return;
	}
	if (c->running != NULL)
		c->running->complete(c->running);
	runops_segment_finish(c);
	if (c->frame == RUNOPS_FRAME_READ)
		runops_frame_end_read(c, NULL);
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
 * Raise the failure of a commit.  Interrupts are held, and the error ends that.
 *
 * error is the answer of the store, or NULL if there is none; committed names
 * the servers that have committed, or is empty.
 */
pg_noreturn static void
commit_failed(RunopsConn *c, PGresult *error, const char *committed)
{
	RemoteFailure failure;

	holding = false;
	if (error != NULL && PQresultErrorField(error, PG_DIAG_SQLSTATE) != NULL &&
		PQstatus(c->session.conn) == CONNECTION_OK)
	{
		runops_store_note_error(error);
		runops_remote_check(&c->session, error, 0, &failure);
		PQclear(error);
		runops_remote_blame(&failure, COMMIT_SQL);
		if (committed[0] != '\0')
			failure.detail = psprintf(_("%s%sThe transaction is committed in server %s."),
									  failure.detail ? failure.detail : "",
									  failure.detail ? "\n" : "", committed);
		runops_remote_raise(&failure);
	}

	PQclear(error);
	c->lost = true;
	ereport(ERROR,
			(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
			 errmsg("it is not known whether server \"%s\" has committed",
					c->session.server->servername),
			 committed[0] == '\0' ?
			 errdetail("It was told to commit, and its answer did not come.") :
			 errdetail("It was told to commit, and its answer did not come.  The transaction is committed in server %s.", committed),
			 errhint("Look for the rows of the transaction there before repeating it.")));
}

/*
 * Commit in all stores that were written to.
 */
static void
commit_stores(int nwriters)
{
	StringInfoData committed;
	RunopsConn *bad = NULL;
	PGresult   *bad_error = NULL;
	TimestampTz by;
	dlist_iter	iter;

	initStringInfo(&committed);
	enlargeStringInfo(&committed, (nwriters + 1) * (NAMEDATALEN + 4));

	HOLD_INTERRUPTS();
	holding = true;
	by = after(runops_commit_timeout);
	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (c->frame == RUNOPS_FRAME_NONE || c->frame == RUNOPS_FRAME_READ || c->lost)
			continue;
		c->sql = COMMIT_SQL;
		resetStringInfo(&c->later);
		runops_segment_command(c, RUNOPS_CMD_END, COMMIT_SQL);
		runops_segment_sync(c, true);
	}
	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);
		PGresult   *error = NULL;
		bool		writer = has_written(c);

		if (c->frame == RUNOPS_FRAME_NONE || c->frame == RUNOPS_FRAME_READ || c->lost)
			continue;
		if (runops_segment_drain(c, by, &error, "COMMIT") && error == NULL)
		{
			if (writer)
				appendStringInfo(&committed, "%s\"%s\"", committed.len > 0 ? ", " : "",
								 c->session.server->servername);
		}
		else if (bad == NULL && (writer || IsolationIsSerializable()))
		{
			bad = c;
			bad_error = error;
		}
		else
		{
			PQclear(error);
			c->lost = true;
		}
	}
	dlist_foreach(iter, &runops_conns)
		runops_frame_release(dlist_container(RunopsConn, node, iter.cur));
	if (bad != NULL)
		commit_failed(bad, bad_error, committed.data);
	pfree(committed.data);
}

/*
 * Before the local commit.
 */
static void
pre_commit(void)
{
	int			nwriters = 0;
	bool		any = false;
	dlist_iter	iter;

	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		finish_work(c);
		if (has_written(c))
			nwriters++;
		any |= c->frame == RUNOPS_FRAME_WRITE || c->frame == RUNOPS_FRAME_WHOLE;
	}
	if (!any)
		return;
	if (nwriters > 1)
		check_deferred_constraints();
	if (nwriters > 0 && IsolationIsSerializable())
		PreCommit_CheckForSerializationFailure();
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

	if (holding)
		RESUME_INTERRUPTS();
	holding = false;
	dlist_foreach_modify(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		c->snapshot = c->write_snapshot = NULL;
		if (c->lost || !c->keep)
			runops_conn_close(c);
	}
}

/*
 * The local transaction is rolled back: roll back in the stores.
 *
 * A store that does not do it soon does it when its connection is closed.
 */
static void
abort_all(void)
{
	dlist_mutable_iter iter;

	/* the error has reset the count */
	holding = false;
	dlist_foreach_modify(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);
		bool		ok = !c->lost;

		c->snapshot = c->write_snapshot = NULL;
		if (c->nsent > 0)
			ok = runops_segment_cancel(c) && ok;
		else
			c->running = NULL;
		if (ok && c->frame != RUNOPS_FRAME_NONE)
			ok = runops_segment_quietly(c, "ROLLBACK TRANSACTION", NULL, RUNOPS_CMD_END,
										after(ROLLBACK_BUDGET), "ROLLBACK");
		if (!ok || !c->keep)
			runops_conn_close(c);
		else
			runops_frame_forget(c);
	}
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

	/*
	 * If the answer to an outer query is on the way, nothing was sent since,
	 * and so nothing of this level.
	 */
	if (c->nsent > 0 && c->running != NULL && c->running->sent_level < level &&
		!c->lost && PQstatus(c->session.conn) == CONNECTION_OK)
		return;

	if (c->nsent > 0 && !c->lost && !runops_segment_cancel(c))
		c->lost = true;
	c->running = NULL;
	fail_queries(c, level);
	if (c->frame == RUNOPS_FRAME_NONE)
		return;

	/* a transaction that began in this level is lost with it */
	if (c->base_level >= level)
	{
		if (!c->lost && !runops_segment_quietly(c, "ROLLBACK TRANSACTION", NULL, RUNOPS_CMD_END,
												after(ROLLBACK_BUDGET), "ROLLBACK"))
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
	if (!runops_segment_quietly(c, rollback, release, RUNOPS_CMD_OTHER,
								after(ROLLBACK_BUDGET), NULL))
		c->lost = true;
}

/*
 * A subtransaction becomes part of its parent on one connection.
 */
static void
commit_level(RunopsConn *c, int level)
{
	char		release[48];

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
				if (!c->lost)
					runops_segment_finish(c);
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

	if (event != SUBXACT_EVENT_COMMIT_SUB)
		return;
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
				if (c->frame == RUNOPS_FRAME_WRITE || c->frame == RUNOPS_FRAME_WHOLE)
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
