/*-------------------------------------------------------------------------
 *
 * connection.c
 *	  Keeps one connection to a store for each user mapping that this backend
 *	  uses.
 *
 * A new connection is asked which database it has reached, in the message that
 * also sets it up.  A kept connection is looked at before its use: the other
 * end may have closed it, its server or user mapping may have been altered, or
 * the server may have been proved to lead to another database.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "gate/gate.h"
#include "session/engine_int.h"
#include "session/session_int.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* Milliseconds for the answer to the end of a read-only transaction. */
#define END_BUDGET 1000

/*
 * Syscache callback: a server or a user mapping was altered.
 */
static void
mark_stale(Datum arg, int cacheid, uint32 hashvalue)
{
	dlist_iter	iter;

	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (hashvalue == 0 ||
			hashvalue == (cacheid == FOREIGNSERVEROID ? c->server_hash : c->mapping_hash))
			c->stale = true;
	}
}

/*
 * The kept connection of a user mapping, or NULL.
 */
static RunopsConn *
find_connection(Oid umid)
{
	dlist_iter	iter;

	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (c->umid == umid)
			return c;
	}

	return NULL;
}

/*
 * Close a connection, and with it a transaction that is open there.
 */
void
runops_conn_close(RunopsConn *c)
{
	dlist_iter	iter;

	runops_idle_end();
	dlist_foreach(iter, &runops_queries)
	{
		RunopsQuery *q = dlist_container(RunopsQuery, node, iter.cur);

		if (q->conn != c)
			continue;
		if (q->state == RUNOPS_QUERY_SENT || q->state == RUNOPS_QUERY_OPEN)
			q->state = RUNOPS_QUERY_FAILED;
		q->conn = NULL;
	}
	dlist_delete(&c->node);
	runops_usage_flush(c);
	runops_wait_end(c);
	runops_remote_close(&c->session);
	MemoryContextDelete(c->cxt);
}

/*
 * The name of the store of a use, for errors.
 */
static const char *
store_label(const RunopsStoreUse *use)
{
	return OidIsValid(use->relid) ? runops_store_label(use->relid) :
		GetForeignServer(use->serverid)->servername;
}

/*
 * Make a connection, and ask it.  Raises if that fails.
 */
static RunopsConn *
open_connection(const RunopsStoreUse *use, UserMapping *user)
{
	static bool registered = false;
	MemoryContext cxt;
	MemoryContext oldcontext;
	RunopsConn *c;
	instr_time	start;
	bool		is_reader;
	ListCell   *lc;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(FOREIGNSERVEROID, mark_stale, (Datum) 0);
		CacheRegisterSyscacheCallback(USERMAPPINGOID, mark_stale, (Datum) 0);
		registered = true;
	}

	cxt = AllocSetContextCreate(CurrentMemoryContext, "runops connection",
								ALLOCSET_SMALL_SIZES);
	oldcontext = MemoryContextSwitchTo(cxt);
	c = palloc0(sizeof(RunopsConn));
	c->cxt = cxt;
	c->umid = user->umid;
	c->session.server = GetForeignServer(use->serverid);
	c->session.user = GetUserMapping(use->userid, use->serverid);
	c->session.store = c->session.server->servername;
	/* so that the store's activity leads to the backend that it serves */
	c->session.application = psprintf("runops/%d", MyProcPid);
	c->server_hash = GetSysCacheHashValue1(FOREIGNSERVEROID, ObjectIdGetDatum(use->serverid));
	c->mapping_hash = GetSysCacheHashValue1(USERMAPPINGOID, ObjectIdGetDatum(user->umid));
	runops_options_read(c->session.server, c->session.user, &c->options);
	c->keep = true;
	c->two_phase = c->options.two_phase;
	if (c->two_phase)
	{
		RunopsStore *store = runops_server_store(runops_stores(), use->serverid, &is_reader);

		/* only the writer of a store, because the finisher asks the stores */
		c->two_phase = store != NULL && !is_reader;
		c->store = c->two_phase ? pstrdup(store->store) : NULL;
	}
	foreach(lc, c->session.server->options)
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		if (strcmp(def->defname, "keep_connections") == 0)
			c->keep = defGetBoolean(def);
	}
	initStringInfo(&c->later);
	dlist_init(&c->statements);
	/* room for what is sent while a transaction ends */
	c->maxsent = 16;
	c->sent = palloc(c->maxsent * sizeof(RunopsSent));
	c->state = runops_server_state(use->serverid);
	runops_usage_begin(c, use->relid);

	runops_usage_wait_start(&start);
	PG_TRY();
	{
		runops_remote_open(&c->session);
		c->session.preamble = runops_conn_set_up(&c->session);
		c->changes = runops_sentinel_changes(use->serverid);
		c->reading = RecoveryInProgress();
		c->patience = runops_remote_set_deadline(&c->session);
		c->standby = runops_conn_compare(&c->session, use->relid);
		if (!PQenterPipelineMode(c->session.conn))
			elog(ERROR, "could not enter libpq's pipeline mode");
	}
	PG_CATCH();
	{
		runops_usage_wait_end(c, &start);
		runops_usage_flush(c);
		runops_usage_error(c, geterrcode());
		runops_remote_close(&c->session);
		PG_RE_THROW();
	}
	PG_END_TRY();
	runops_usage_wait_end(c, &start);
	runops_usage_turn(c);
	runops_server_state_works(c->state);
	PQclear(c->session.res);
	c->session.res = NULL;
	c->session.preamble = NULL;
	MemoryContextSwitchTo(oldcontext);
	MemoryContextSetParent(cxt, TopMemoryContext);
	dlist_push_head(&runops_conns, &c->node);

	return c;
}

/*
 * Raise an error, and close the gate, if the server of a connection was
 * promoted since the connection was asked.
 *
 * A promoted standby keeps its sessions, and reports the promotion to each of
 * them at the end of the next command.  So this is called when an answer is
 * complete, before its rows are used.
 */
void
runops_conn_check_standby(RunopsConn *c, const RunopsStoreUse *use)
{
	const char *status;

	/* a pooler hands the parameter on late */
	if (!c->standby || c->session.pooled)
		return;
	status = PQparameterStatus(c->session.conn, "in_hot_standby");
	if (status == NULL || strcmp(status, "off") != 0)
		return;
	/* it is proved again as what it is now */
	c->stale = true;
	runops_conn_promoted(use->serverid, use->relid);
}

/*
 * Was the server proved to lead to another database, or to have another owner,
 * since a connection was asked?  Or was this server promoted since, so that the
 * connection was not asked for the owner?
 */
static bool
is_outdated(const RunopsConn *c, const RunopsStoreUse *use)
{
	return c->changes != runops_sentinel_changes(use->serverid) ||
		(c->reading && !RecoveryInProgress());
}

/*
 * Close a kept connection that must not be used again.  Raises if it has a
 * transaction that matters.
 */
static bool
discard(RunopsConn *c, const RunopsStoreUse *use)
{
	/* one whose end was sent holds nothing any more */
	bool		busy = c->busy ||
		(!runops_frame_is_ending(c) && (c->frame != RUNOPS_FRAME_NONE || c->nsent > 0));

	if (c->lost && (c->busy || c->frame == RUNOPS_FRAME_WRITE || c->frame == RUNOPS_FRAME_WHOLE ||
					runops_frame_has_open(c)))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("connection to store \"%s\" was lost in this transaction",
						store_label(use)),
				 errdetail("What the transaction has done or read there is lost."),
				 errhint("Roll back and repeat the transaction.")));
	if (is_outdated(c, use) && busy && c->frame != RUNOPS_FRAME_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_RUNOPS_GATE_CLOSED),
				 errmsg("cannot access store \"%s\" in this transaction any more",
						store_label(use)),
				 errdetail("The server of the store now leads to another database than when the transaction began to use it."),
				 errhint("Repeat the transaction.")));
	if (!c->lost && busy)
		return false;
	if (c->lost || c->stale || is_outdated(c, use) ||
		runops_conn_is_dead(c->session.conn))
	{
		runops_frame_forget(c);
		runops_conn_close(c);
		return true;
	}

	return false;
}

/*
 * Read the answer to the end of a transaction that has only read, which nobody
 * has waited for.  If it does not come, another connection is made.
 */
static void
finish_end(RunopsConn *c)
{
	if (runops_frame_is_ending(c) &&
		!runops_segment_drain(c, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), END_BUDGET),
							  true, NULL))
	{
		runops_frame_forget(c);
		c->lost = true;
	}
}

/*
 * Before another connection is made with the mapping of a session through a
 * pooler, end what this backend has there that has only read.  Raises if a
 * transaction stays.
 *
 * All sessions could hold their first connection and wait for the second one,
 * until the pooler gives up.
 */
void
runops_conn_leave_pool(const RemoteSession *session)
{
	RunopsConn *c = find_connection(session->user->umid);

	if (c == NULL || !c->options.pooled)
		return;
	finish_end(c);
	if (c->frame == RUNOPS_FRAME_NONE || c->lost)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("cannot connect to server \"%s\" a second time in this transaction",
					session->server->servername),
			 errdetail("The server has the option \"pooled\", and the transaction that is open there has a connection of the pool."),
			 errhint("Do this in another transaction.")));
}

/*
 * The connection for a use of a store, made if there is none.
 *
 * The caller must have checked the gate.  Raises if the store cannot be
 * reached, or is not the database that was proved.
 */
RunopsConn *
runops_conn_get(const RunopsStoreUse *use)
{
	UserMapping *user = GetUserMapping(use->userid, use->serverid);
	RunopsConn *c = find_connection(user->umid);

	runops_idle_end();
	runops_conn_note_use(use->serverid);
	if (c != NULL)
		finish_end(c);
	if (c != NULL && discard(c, use))
		c = NULL;
	if (c == NULL)
	{
		c = open_connection(use, user);
		if (OidIsValid(use->relid))
			runops_stats_add(use->relid, RUNOPS_CONNECTIONS_OPENED, 1);
	}
	else
		runops_conn_check_standby(c, use);
	c->used = true;
	c->idle_since = 0;
	c->relid = use->relid;
	runops_usage_begin(c, use->relid);

	return c;
}
