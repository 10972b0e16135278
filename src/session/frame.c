/*-------------------------------------------------------------------------
 *
 * frame.c
 *	  Makes the transaction in each store follow the local one.
 *
 * A statement under READ COMMITTED that only reads, and is executed once, needs
 * no transaction in the store.  If it may be executed several times, all its
 * executions must see the same rows.  So a read-only transaction with one
 * snapshot serves all that is read for one local snapshot, and ends with it.
 * The first write or row lock begins a READ COMMITTED transaction, which lasts
 * until the local end: there a waiting statement goes on with the new version
 * of a row, as it does here.  Under a higher level the store has the same
 * level, from its first use to the end.
 *
 * BEGIN and the savepoints travel with the statement that needs them.  The
 * outermost level that a store knows is the one at which its transaction
 * began, because until then there was nothing to roll back to.
 *
 * A query must show the store as it was when its statement began.  So before a
 * write is sent, every query of the same connection is settled: a cursor does
 * not see later changes, except one that locks rows, and a query that was not
 * sent yet is sent.  If a read-only transaction has to end first, the rows that
 * its queries owe are fetched.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/guc.h"
#include "session/engine_int.h"
#include "topology/topology.h"

/* The queries that were initialized and not closed. */
dlist_head	runops_queries = DLIST_STATIC_INIT(runops_queries);

/* Commands to be sent before each statement, until they are reset; or NULL. */
static const char *const *on_use = NULL;

/*
 * Send these commands before each statement from now on, in its transaction.
 * The array ends with NULL; NULL instead of it removes them.
 */
void
runops_conn_on_use(const char *const *commands)
{
	on_use = commands;
}

/*
 * Send a command with the next segment of the transaction.
 */
void
runops_frame_later(RunopsConn *c, const char *sql)
{
	appendBinaryStringInfo(&c->later, sql, strlen(sql) + 1);
}

/*
 * Add the commands that were kept for the next segment.
 */
static void
send_later(RunopsConn *c)
{
	for (int i = 0; i < c->later.len; i += strlen(c->later.data + i) + 1)
		runops_segment_command(c, RUNOPS_CMD_OTHER, c->later.data + i);
	resetStringInfo(&c->later);
}

/*
 * Note that a statement writes to a foreign table.
 *
 * cid is the number of the statement, by which this server would hide its rows
 * from every snapshot that was taken before it.  inserts: does it insert rows
 * that it has collected?
 */
void
runops_frame_note_write(RunopsConn *c, CommandId cid, Oid relid, bool inserts)
{
	RunopsWritten *written = NULL;
	ListCell   *lc;

	foreach(lc, c->written)
	{
		if (((RunopsWritten *) lfirst(lc))->relid == relid)
			written = (RunopsWritten *) lfirst(lc);
	}
	if (written == NULL)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(c->cxt);

		written = palloc0(sizeof(RunopsWritten));
		written->relid = relid;
		c->written = lappend(c->written, written);
		MemoryContextSwitchTo(oldcontext);
	}
	written->cid = Max(written->cid, cid);
	if (inserts)
		written->inserted_cid = Max(written->inserted_cid, cid);
	written->inserted |= inserts;
}

/*
 * Raise an error if a query would see what its own statement, or one that has
 * begun later, has written.
 *
 * A query that could be opened before the write was.  What is left are queries
 * of a STABLE function, which has the snapshot of the calling statement, and
 * searches for each row of another table.  An UPDATE or DELETE that is sent as a
 * whole must not find rows that its statement has inserted.
 */
void
runops_frame_check_read(RunopsConn *c, const RunopsQuery *q)
{
	ListCell   *lc;

	if (q->need == RUNOPS_NEED_LOCKS || !q->reads || q->snapshot == NULL)
		return;

	foreach(lc, c->written)
	{
		RunopsWritten *written = (RunopsWritten *) lfirst(lc);

		if (written->cid < q->snapshot->curcid ||
			!list_member_oid(q->relids, written->relid))
			continue;
		if (q->need == RUNOPS_NEED_WRITE &&
			(!written->inserted || written->inserted_cid < q->snapshot->curcid))
			continue;
		if (q->need == RUNOPS_NEED_WRITE)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot change \"%s\" in store \"%s\" as it was before rows were inserted",
							get_rel_name(written->relid), runops_store_label(written->relid)),
					 errdetail("The UPDATE or DELETE must not find rows that its statement inserts, and the store has inserted some of them already."),
					 errhint("Execute the UPDATE or DELETE before the INSERT, as a statement of its own.")));
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot read \"%s\" in store \"%s\" as it was before it was changed",
						get_rel_name(written->relid), runops_store_label(written->relid)),
				 errdetail("The rows must be those from before the change, and the store has changed some of them already."),
				 errhint("Read them in another statement or before the change, or mark a STABLE function as VOLATILE if it should see the change.")));
	}
}

/*
 * Forget the transaction of a connection, which has ended or is lost.
 */
void
runops_frame_forget(RunopsConn *c)
{
	if (c->snapshot != NULL)
		UnregisterSnapshotFromOwner(c->snapshot, TopTransactionResourceOwner);
	c->snapshot = NULL;
	list_free_deep(c->written);
	c->written = NIL;
	c->frame = RUNOPS_FRAME_NONE;
	c->wrote = false;
	c->xid_told = false;
	c->xid = 0;
	c->token_level = 0;
	c->carried = 0;
	c->lock_timeout = -1;
	resetStringInfo(&c->later);
}

/*
 * What identifies the transaction of a connection, to ask later what became of
 * it.
 */
void
runops_conn_xact(const RunopsConn *c, RunopsRemoteXact *xact)
{
	memset(xact, 0, sizeof(RunopsRemoteXact));
	xact->xid = c->xid_told ? c->xid : 0;
	xact->pid = c->backend_pid;
	if (c->token_level > 0)
	{
		xact->writer = c->writer;
		xact->token = c->token;
	}
	xact->sysid_known = c->session.sysid_known;
	xact->sysid = c->session.sysid;
	strlcpy(xact->incarnation, c->session.incarnation, RUNOPS_INCARNATION_LEN);
}

/*
 * Does a query have a cursor in this connection's transaction, or rows on the
 * way?
 */
bool
runops_frame_has_open(RunopsConn *c)
{
	dlist_iter	iter;

	dlist_foreach(iter, &runops_queries)
	{
		RunopsQuery *q = dlist_container(RunopsQuery, node, iter.cur);

		if (q->conn == c &&
			(q->state == RUNOPS_QUERY_OPEN || q->state == RUNOPS_QUERY_SENT))
			return true;
	}

	return false;
}

/*
 * Fetch all rows that the cursors of a connection owe.  With only_locking, before
 * a write, only the rows of those that lock rows; other queries have their rows
 * locked then.
 */
static void
settle_open(RunopsConn *c, bool only_locking)
{
	dlist_iter	iter;

	dlist_foreach(iter, &runops_queries)
	{
		RunopsQuery *q = dlist_container(RunopsQuery, node, iter.cur);

		if (q->conn != c)
			continue;
		if (only_locking && q->lock_rest != NULL)
		{
			if (q->state != RUNOPS_QUERY_NEW && q->state != RUNOPS_QUERY_FAILED)
				q->lock_rest(q->arg);
		}
		else if (q->state == RUNOPS_QUERY_OPEN &&
				 (!only_locking || q->need == RUNOPS_NEED_LOCKS))
			q->settle(q);
	}
}

/*
 * Must the segment be sent again, because the store has rejected a statement
 * that was prepared earlier, or the check of the transaction?  If it must, the
 * transaction that it has begun is rolled back.
 */
bool
runops_frame_again(RunopsConn *c)
{
	if (!c->again)
		return false;
	c->again = false;
	if (c->frame != RUNOPS_FRAME_NONE)
	{
		runops_segment_command(c, RUNOPS_CMD_END, "ROLLBACK TRANSACTION");
		runops_segment_sync(c, true);
		runops_segment_finish(c);
	}
	runops_frame_forget(c);
	if (c->check_failed)
		runops_conn_check_again(c);

	return true;
}

/*
 * Is an UPDATE or DELETE being sent as a whole on a connection?
 */
static bool
sends_whole_write(RunopsConn *c)
{
	dlist_iter	iter;

	dlist_foreach(iter, &runops_queries)
	{
		RunopsQuery *q = dlist_container(RunopsQuery, node, iter.cur);

		if (q->need == RUNOPS_NEED_WRITE && q->sending &&
			q->state == RUNOPS_QUERY_NEW && q->conn == c)
			return true;
	}

	return false;
}

/*
 * Open the queries that will use this connection and were not sent yet.
 *
 * They may be an UPDATE or DELETE of the statement that inserts rows, or changes
 * them one by one.  If there are several, they keep their order, so none is sent
 * before another one.  They are not sent inside of a savepoint that does not
 * belong to their statement, because its rollback would undo them.
 */
static void
open_new(RunopsConn *c)
{
	bool		with_writes = !sends_whole_write(c);
	dlist_iter	iter;

	dlist_foreach(iter, &runops_queries)
	{
		RunopsQuery *q = dlist_container(RunopsQuery, node, iter.cur);
		UserMapping *user;

		if (q->state != RUNOPS_QUERY_NEW || !q->fixable || q->start == NULL ||
			q->use.serverid != c->session.server->serverid)
			continue;
		if (q->need == RUNOPS_NEED_WRITE &&
			(!with_writes || q->level != runops_segment_nest(c)))
			continue;
		/* collected rows are sent for a query that must see them */
		if (c->nest > 0 && q->snapshot != NULL && q->snapshot->curcid > c->cid)
			continue;
		user = runops_remote_mapping(q->use.userid, q->use.serverid);
		if (user == NULL || user->umid != c->umid)
			continue;
		q->start(q->arg);
		if (c->frame == RUNOPS_FRAME_READ)
			q->settle(q);
	}
}

/*
 * Was the end of the transaction sent, and not answered yet?
 */
bool
runops_frame_is_ending(const RunopsConn *c)
{
	return c->nsent > 0 && c->sent[c->first_sent].kind == RUNOPS_CMD_END;
}

/*
 * End a transaction that has only read, without waiting for the answer.
 *
 * snapshot: only the one that serves this snapshot; NULL for any.  A connection
 * that is lost raises nothing, because nothing is lost with it.
 */
void
runops_frame_end_read(RunopsConn *c, Snapshot snapshot)
{
	Assert(!c->wrote || c->frame == RUNOPS_FRAME_NONE);
	if (c->frame == RUNOPS_FRAME_NONE || (snapshot != NULL && c->snapshot != snapshot) ||
		c->running != NULL || runops_frame_is_ending(c))
		return;

	if (c->snapshot != NULL)
		UnregisterSnapshotFromOwner(c->snapshot, TopTransactionResourceOwner);
	c->snapshot = NULL;
	resetStringInfo(&c->later);
	if (c->lost || PQstatus(c->session.conn) != CONNECTION_OK)
	{
		c->lost = true;
		return;
	}
	c->sql = "COMMIT TRANSACTION";
	runops_segment_command(c, RUNOPS_CMD_END, c->sql);
	runops_segment_sync(c, false);
}

/*
 * The transaction that a statement with this need runs in.
 */
static RunopsFrame
wanted_frame(RunopsConn *c, RunopsNeed need)
{
	if (IsolationUsesXactSnapshot())
		return RUNOPS_FRAME_WHOLE;
	if (need >= RUNOPS_NEED_LOCKS || c->frame == RUNOPS_FRAME_WRITE)
		return RUNOPS_FRAME_WRITE;
	if (need == RUNOPS_NEED_SNAPSHOT || on_use != NULL)
		return RUNOPS_FRAME_READ;

	return RUNOPS_FRAME_NONE;
}

/*
 * Add the check of a transaction to the segment, if the connection needs one.
 */
static void
send_check(RunopsConn *c)
{
	if (c->session.check != NULL)
		runops_segment_command(c, RUNOPS_CMD_CHECK, c->session.check);
}

/*
 * Add the BEGIN of a transaction to the segment.
 *
 * Every property is spelled out, because the store may have other defaults.
 *
 * A subtransaction can be read only for itself, but the transaction in the
 * store goes on after it.  What it may do is checked here in any case.
 */
static void
begin_frame(RunopsConn *c, RunopsFrame frame, Snapshot snapshot)
{
	StringInfoData sql;

	runops_frame_forget(c);
	c->fresh = true;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "START TRANSACTION ISOLATION LEVEL ");
	switch (frame)
	{
		case RUNOPS_FRAME_READ:
			appendStringInfoString(&sql, "REPEATABLE READ READ ONLY");
			break;
		case RUNOPS_FRAME_WRITE:
			appendStringInfoString(&sql, "READ COMMITTED");
			break;
		default:
			appendStringInfoString(&sql, IsolationIsSerializable() && !c->standby ?
								   "SERIALIZABLE" : "REPEATABLE READ");
			break;
	}
	if (frame != RUNOPS_FRAME_READ)
		appendStringInfoString(&sql, c->standby || (XactReadOnly && runops_segment_nest(c) == 1) ?
							   " READ ONLY" : " READ WRITE");
	if (frame == RUNOPS_FRAME_WHOLE && XactDeferrable)
		appendStringInfoString(&sql, " DEFERRABLE");

	if (frame == RUNOPS_FRAME_READ && snapshot != NULL)
		c->snapshot = RegisterSnapshotOnOwner(snapshot, TopTransactionResourceOwner);
	c->next_frame = frame;
	c->base_level = frame == RUNOPS_FRAME_WHOLE ? 1 : runops_segment_nest(c);
	c->level = c->base_level;
	runops_segment_command(c, RUNOPS_CMD_BEGIN, sql.data);
	pfree(sql.data);
	send_check(c);
}

/*
 * Limit how long the store may wait for a lock.
 *
 * No database can see a deadlock that goes through two of them, so there is a
 * limit also if the session has none.  Without any, the store's own stays.
 */
static void
set_lock_timeout(RunopsConn *c)
{
	int			timeout = LockTimeout > 0 ? LockTimeout : runops_store_lock_timeout;
	char		sql[64];

	if (timeout == Max(c->lock_timeout, 0))
		return;
	if (timeout > 0)
		snprintf(sql, sizeof(sql), "SET LOCAL lock_timeout = %d", timeout);
	else
		strlcpy(sql, "SET LOCAL lock_timeout TO DEFAULT", sizeof(sql));
	runops_segment_command(c, RUNOPS_CMD_OTHER, sql);
	c->lock_timeout = timeout;
}

/*
 * Write the token of the transaction, which tells later that it has committed.
 *
 * A connection has one row for its tokens, and a token is a number that grows.
 * A connection whose COMMIT is not answered is closed, so the row keeps the
 * token that matters.  The first token of a connection removes rows of this role
 * that have not been used for a week; a row that is in use is locked then.
 */
static void
write_token(RunopsConn *c, RunopsFrame frame)
{
	char		writer[32];
	char		token[32];
	const char *values[2] = {writer, token};

	while (c->writer == 0)
	{
		if (!pg_strong_random(&c->writer, sizeof(c->writer)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		if (frame != RUNOPS_FRAME_WRITE)
			continue;
		runops_segment_command(c, RUNOPS_CMD_OTHER,
							   "DELETE FROM " RUNOPS_TOKEN_TABLE " t WHERE t.writer IN ("
							   "SELECT o.writer FROM " RUNOPS_TOKEN_TABLE " o WHERE o.role = current_user"
							   " AND o.written_at < now() - '7 days'::interval LIMIT 100 FOR UPDATE SKIP LOCKED)");
	}
	c->token++;
	snprintf(writer, sizeof(writer), INT64_FORMAT, c->writer);
	snprintf(token, sizeof(token), INT64_FORMAT, c->token);
	runops_segment_params(c, "INSERT INTO " RUNOPS_TOKEN_TABLE " (writer, token) VALUES ($1, $2)"
						  " ON CONFLICT (writer) DO UPDATE SET token = excluded.token, written_at = excluded.written_at",
						  2, values);
	c->token_level = runops_segment_nest(c);
}

/*
 * Wait for what is under way on a connection.  Raises its errors.
 */
void
runops_frame_settle(RunopsConn *c)
{
	if (c->running != NULL)
		c->running->complete(c->running);
	if (c->inserting != NULL)
		c->inserting->complete(c->inserting);
	runops_segment_finish(c);
}

/*
 * Make sure that nothing is under way on a connection, and add to its next
 * segment what a statement needs of the transaction.
 *
 * snapshot is the snapshot of the local statement, or NULL.
 */
void
runops_frame_require(RunopsConn *c, RunopsNeed need, Snapshot snapshot)
{
	int			nest = runops_segment_nest(c);
	bool		busy = c->busy;
	RunopsFrame wanted;

	/* the queries that are opened before must not find another connection */
	c->busy = true;
	runops_frame_settle(c);

	wanted = wanted_frame(c, need);
	if (c->frame == RUNOPS_FRAME_READ &&
		(wanted != RUNOPS_FRAME_READ || c->snapshot != snapshot || need >= RUNOPS_NEED_LOCKS))
	{
		if (need == RUNOPS_NEED_WRITE)
			open_new(c);
		/* a query that locks rows has ended it already */
		if (c->frame == RUNOPS_FRAME_READ)
		{
			settle_open(c, false);
			runops_frame_end_read(c, NULL);
		}
		else
			settle_open(c, true);
		runops_segment_finish(c);
	}
	else if (need == RUNOPS_NEED_WRITE)
	{
		settle_open(c, true);
		open_new(c);
		/* that may have begun a read-only transaction */
		if (c->frame == RUNOPS_FRAME_READ)
		{
			settle_open(c, false);
			runops_frame_end_read(c, NULL);
		}
		else
			settle_open(c, true);
		runops_segment_finish(c);
	}

	c->busy = busy;
	c->by_rows = false;
	c->fresh = wanted == RUNOPS_FRAME_NONE;
	if (c->frame == RUNOPS_FRAME_NONE && wanted != RUNOPS_FRAME_NONE)
		begin_frame(c, wanted, snapshot);
	else
		send_later(c);
	if (wanted == RUNOPS_FRAME_NONE)
	{
		/* without BEGIN all of the segment is one transaction too */
		send_check(c);
		return;
	}

	for (int level = c->level + 1; level <= nest; level++)
	{
		char		sql[32];

		snprintf(sql, sizeof(sql), "SAVEPOINT s%d", level);
		runops_segment_command(c, RUNOPS_CMD_SAVEPOINT, sql);
	}
	if (need >= RUNOPS_NEED_LOCKS)
	{
		set_lock_timeout(c);
		c->wrote = true;
		if (c->options.commit_token && c->token_level == 0)
			write_token(c, wanted);
	}
	for (const char *const *command = on_use; command != NULL && *command != NULL; command++)
		runops_segment_command(c, RUNOPS_CMD_OTHER, *command);
}
