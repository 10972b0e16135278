/*-------------------------------------------------------------------------
 *
 * two_phase.c
 *	  Commits a transaction in stores and in this database as one, by two
 *	  phases.
 *
 * A store takes part if its server has the option "two_phase".  Before the
 * local commit a row is inserted into commit_decision, and all these stores
 * execute PREPARE TRANSACTION.  What a store has prepared it can commit later,
 * also after a crash of either side.  So the local commit decides: if the row
 * is committed, the transaction is to be committed in all stores, and if there
 * is no row, it is to be rolled back.  After the local commit the stores execute
 * COMMIT PREPARED.  What is left then is finished by finisher.c.
 *
 * The status of the local transaction number decides nothing.  After a crash a
 * number that has not reached the WAL is given out again.  So the row is found
 * by the number and 64 random bits.
 *
 * After the local commit an error would stop the whole server.  So nothing is
 * allocated then, and nothing is raised.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <inttypes.h>

#include "access/heapam.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/shmem.h"
#include "session/engine_int.h"
#include "topology/topology.h"

/* Characters of a command that ends a prepared transaction. */
#define COMMAND_LEN (RUNOPS_GID_LEN + 32)

/* Is the transaction committed by two phases? */
static bool active = false;

/*
 * Did the transaction write, or lock rows, in the store of a connection?
 */
static bool
writes(const RunopsConn *c)
{
	return c->wrote && c->frame != RUNOPS_FRAME_NONE;
}

/*
 * Are two phases needed?  Sets *nplain to the number of stores that were
 * written to and commit without being prepared.
 *
 * A transaction that has written to one store only, and nothing here, is atomic
 * with one phase.
 */
bool
runops_two_phase_begin(int *nplain)
{
	int			nwriters = 0;
	int			nprepare = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (!writes(c))
			continue;
		nwriters++;
		if (c->two_phase)
			nprepare++;
	}
	active = nprepare > 0 &&
		(nwriters > 1 || TransactionIdIsValid(GetTopTransactionIdIfAny()));
	*nplain = active ? nwriters - nprepare : nwriters;

	return active;
}

/*
 * An array of the texts in a list.
 */
static Datum
text_array(List *texts)
{
	Datum	   *elems = palloc_array(Datum, list_length(texts));
	ListCell   *lc;

	foreach(lc, texts)
		elems[foreach_current_index(lc)] = CStringGetTextDatum((char *) lfirst(lc));

	return PointerGetDatum(construct_array(elems, list_length(texts), TEXTOID, -1,
										   false, TYPALIGN_INT));
}

/*
 * Insert the row that decides.
 *
 * simple_heap_insert() needs no privilege, and fires no trigger.
 */
static void
insert_decision(const char *transaction, List *stores, List *gids)
{
	Relation	rel = runops_config_table_open("commit_decision", RowExclusiveLock);
	Datum		values[RUNOPS_NATTS_COMMIT_DECISION];
	bool		nulls[RUNOPS_NATTS_COMMIT_DECISION] = {0};
	HeapTuple	tuple;

	values[RUNOPS_ANUM_DECISION_TRANSACTION - 1] = CStringGetTextDatum(transaction);
	values[RUNOPS_ANUM_DECISION_DECIDED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[RUNOPS_ANUM_DECISION_STORES - 1] = text_array(stores);
	values[RUNOPS_ANUM_DECISION_GIDS - 1] = text_array(gids);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	simple_heap_insert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

/*
 * The beginning of the names of all transactions that this database has
 * prepared in stores.
 *
 * A standby that is promoted goes on with these names.  A copy by pg_dump does
 * not have them.
 */
char *
runops_two_phase_prefix(void)
{
	return psprintf(RUNOPS_GID_START "%016" PRIx64 "_%u_", GetSystemIdentifier(), MyDatabaseId);
}

/*
 * Name the transactions that are to be prepared, and insert the row that
 * decides over them.
 *
 * The name of a prepared transaction is unique in its cluster, which may have
 * several stores.  It contains the role whose user mapping was used, because
 * nobody else but a superuser may finish it.
 */
void
runops_two_phase_decide(void)
{
	char		transaction[64];
	char	   *prefix = runops_two_phase_prefix();
	uint64		random;
	List	   *stores = NIL;
	List	   *gids = NIL;
	dlist_iter	iter;

	if (!pg_strong_random(&random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	snprintf(transaction, sizeof(transaction), UINT64_FORMAT "_%016" PRIx64,
			 U64FromFullTransactionId(GetTopFullTransactionId()), random);

	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (!writes(c) || !c->two_phase)
			continue;
		snprintf(c->gid, sizeof(c->gid), "%s%s_%u_%u", prefix, transaction,
				 c->session.server->serverid, c->session.user->userid);
		stores = lappend(stores, c->store);
		gids = lappend(gids, c->gid);
	}
	insert_decision(transaction, stores, gids);
	list_free(stores);
	list_free(gids);
	pfree(prefix);

	/* no store may commit what a crash could make undone here */
	ForceSyncCommit();
}

/*
 * Wait until a store has prepared its transaction.  Raises if it refuses.
 */
static void
wait_prepared(RunopsConn *c)
{
	MemoryContext oldcontext = CurrentMemoryContext;

	PG_TRY();
	{
		runops_segment_finish(c);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(oldcontext);
		edata = CopyErrorData();
		FlushErrorState();
		/* the store's hint names its setting in every language */
		if (edata->hint != NULL && strstr(edata->hint, "max_prepared_transactions") != NULL)
			edata->hint = psprintf(_("Raise \"max_prepared_transactions\" of server \"%s\", or set its option \"two_phase\" to false."),
								   c->session.server->servername);
		/* e. g. because of temporary tables or NOTIFY, which triggers can use */
		else if (edata->hint == NULL && edata->sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED)
			edata->hint = psprintf(_("Set the option \"two_phase\" of server \"%s\" to false, or change what the statements do there."),
								   c->session.server->servername);
		ReThrowError(edata);
	}
	PG_END_TRY();
}

/*
 * Prepare the transaction in all stores with the option, at the same time.
 * Raises if one refuses, or does not answer.
 *
 * The user may cancel this.  The transactions are then rolled back.
 */
void
runops_two_phase_prepare(void)
{
	char		sql[COMMAND_LEN];
	dlist_iter	iter;

	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (c->gid[0] == '\0')
			continue;
		snprintf(sql, sizeof(sql), "PREPARE TRANSACTION '%s'", c->gid);
		resetStringInfo(&c->later);
		c->sql = "PREPARE TRANSACTION";
		c->prepared = RUNOPS_PREPARED_PERHAPS;
		runops_segment_command(c, RUNOPS_CMD_PREPARE_TRANSACTION, sql);
		runops_segment_sync(c, true);
	}
	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (c->gid[0] != '\0')
			wait_prepared(c);
	}
}

/*
 * Send the command that ends the prepared transaction of a connection; returns
 * false if that is known to be impossible.  Raises nothing.
 */
static bool
send_end(RunopsConn *c, const char *command)
{
	char		sql[COMMAND_LEN];

	snprintf(sql, sizeof(sql), "%s PREPARED '%s'", command, c->gid);
	if (c->lost || !runops_segment_try_send(c, sql, NULL, RUNOPS_CMD_OTHER))
		return false;
	(void) PQflush(c->session.conn);

	return true;
}

/*
 * Wait for the answer to COMMIT PREPARED; returns whether the transaction is
 * committed in the store.
 *
 * It will be, so a cancel or a server that does not even greet a new client
 * ends the wait.
 */
static bool
end_answered(RunopsConn *c, TimestampTz sent, TimestampTz by)
{
	TimestampTz look = c->patience > 0 ? TimestampTzPlusMilliseconds(sent, c->patience) : by;
	PGresult   *error = NULL;
	bool		complete;
	bool		done;

	complete = runops_segment_drain(c, Min(look, by), true, &error);
	if (!complete && !QueryCancelPending && !ProcDiePending &&
		PQstatus(c->session.conn) == CONNECTION_OK && runops_conn_answers(c->session.conn))
		complete = runops_segment_drain(c, by, true, &error);
	if (!complete)
		c->lost = true;

	/* if it does not exist any more, the finisher was first */
	done = complete &&
		(error == NULL ||
		 strcmp(PQresultErrorField(error, PG_DIAG_SQLSTATE) ?
				PQresultErrorField(error, PG_DIAG_SQLSTATE) : "", "42704") == 0);
	PQclear(error);

	return done;
}

/*
 * Forget what a connection has prepared.
 */
static void
forget(RunopsConn *c)
{
	c->prepared = RUNOPS_PREPARED_NOT;
	c->gid[0] = '\0';
}

/*
 * Wake the finisher, because a store may have a transaction of this database
 * that is prepared.  Raises nothing.
 */
static void
wake_finisher(void)
{
	if (runops_shared == NULL)
		return;

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->finisher.wanted = true;
	runops_shared->finisher.dbid = MyDatabaseId;
	if (runops_shared->cleaner.launcher != NULL)
		SetLatch(runops_shared->cleaner.launcher);
	LWLockRelease(runops_shared->lock);
}

/*
 * Count transactions in stores, if the library was preloaded.
 */
static void
count(RunopsTwoPhaseCounter counter, int n)
{
	if (runops_shared != NULL && n > 0)
		pg_atomic_fetch_add_u64(&runops_shared->finisher.counters[counter], n);
}

/*
 * After the local commit: commit what the stores have prepared.
 *
 * The wait is limited, and serves only a session that reads its own writes.
 */
void
runops_two_phase_commit(void)
{
	TimestampTz sent;
	TimestampTz by;
	int			done = 0;
	int			left = 0;
	dlist_iter	iter;

	if (!active)
		return;
	active = false;

	sent = GetCurrentTimestamp();
	by = TimestampTzPlusMilliseconds(sent, runops_commit_timeout);
	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (c->prepared != RUNOPS_PREPARED_NOT && !send_end(c, "COMMIT"))
			c->lost = true;
	}
	pgstat_report_wait_start(PG_WAIT_EXTENSION);
	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (c->prepared == RUNOPS_PREPARED_NOT)
			continue;
		if (!c->lost && end_answered(c, sent, by))
			done++;
		else
			left++;
		forget(c);
	}
	pgstat_report_wait_end();

	count(RUNOPS_TWO_PHASE_COMMITTED, done);
	count(RUNOPS_TWO_PHASE_LEFT, left);
	if (left == 0)
		return;
	wake_finisher();
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("the transaction is committed, but not yet visible in all stores"),
			 errdetail("Number of stores that have not answered in time: %d.", left),
			 errhint("The view \"runops.prepared_transactions\" shows what the stores still have to commit.")));
}

/*
 * The local transaction is rolled back: tell the store of a connection to roll
 * back what it has prepared.  Returns false if that is known to be impossible.
 * Raises nothing.
 *
 * Nothing may be under way on the connection.
 */
bool
runops_two_phase_send_rollback(RunopsConn *c)
{
	return c->prepared != RUNOPS_PREPARED_DONE || send_end(c, "ROLLBACK");
}

/*
 * The local transaction is rolled back, and so is everything in the stores that
 * have answered in time.
 */
void
runops_two_phase_abort(void)
{
	int			done = 0;
	int			left = 0;
	dlist_iter	iter;

	active = false;
	dlist_foreach(iter, &runops_conns)
	{
		RunopsConn *c = dlist_container(RunopsConn, node, iter.cur);

		if (c->prepared != RUNOPS_PREPARED_NOT)
		{
			if (c->lost || c->prepared == RUNOPS_PREPARED_PERHAPS)
				left++;
			else
				done++;
		}
		forget(c);
	}
	count(RUNOPS_TWO_PHASE_ROLLED_BACK, done);
	count(RUNOPS_TWO_PHASE_LEFT, left);
	if (left > 0)
		wake_finisher();
}
