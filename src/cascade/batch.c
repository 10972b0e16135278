/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  Runs one batch of the cleanup of cascades, and decides whose turn it is.
 *
 * A batch of the worker changes rows of only one store.  When it comes to the
 * next store it ends, and the turn continues in the next batch.
 *
 * Tasks take turns, and within a task its entries take turns.  A task is a
 * transaction that has deleted something; an entry is a row that was deleted.
 * After its turn a task or entry goes to the end of its queue.  A batch is one
 * turn; if the batch may change more rows, the next task has a turn too.
 *
 * An entry has a part for each child and store.  In each store the children
 * are cleaned up in the order of the cascade.  A child waits until the store
 * has no rows of the previous child left, except rows that were set aside.
 * The entry is deleted in the transaction in which the last of its parts is
 * finished, so that nothing is forgotten if a batch fails.  If a store has
 * committed and this database has not, the work is already done the next time.
 *
 * Tasks, entries and turns are locked with SKIP LOCKED, so concurrent batches
 * do not wait for each other.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "cascade/cascade_int.h"
#include "gate/gate.h"
#include "topology/topology.h"

/*
 * Seconds to wait before rows that were set aside are tried again: first and
 * at most.
 */
#define FIRST_ASIDE_PAUSE 60
#define LONGEST_ASIDE_PAUSE 3600

/* Is a batch running in this session? */
static bool running = false;

PG_FUNCTION_INFO_V1(runops_cleanup);

/*
 * A column of a row of the last result as text; NULL if it is null.
 */
static char *
text_at(uint64 row, int col)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col);
}

/*
 * The same for type int8; -1 if it is null.
 */
static int64
int_at(uint64 row, int col)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col, &isnull);

	return isnull ? -1 : DatumGetInt64(value);
}

/*
 * The same for type timestamptz; 0 if it is null.
 */
static TimestampTz
time_at(uint64 row, int col)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/*
 * A time as an SQL literal.
 */
static char *
time_literal(TimestampTz t)
{
	if (t == 0)
		return "NULL";

	/* the literal does not depend on the session's settings */
	return psprintf("('2000-01-01 00:00:00+00'::pg_catalog.timestamptz OPERATOR(pg_catalog.+)"
					" (" INT64_FORMAT "::pg_catalog.float8 OPERATOR(pg_catalog.*) '1 microsecond'::pg_catalog.interval))", t);
}

/*
 * Fill in the leaves that hold the rows of a child.
 */
static void
find_leaves(Cascade *cascade)
{
	const RunopsRoute *route = runops_route(cascade->child);

	if (route == NULL)
	{
		RunopsLeaf *leaf = palloc0(sizeof(RunopsLeaf));

		leaf->relid = cascade->child;
		leaf->schema = get_namespace_name(get_rel_namespace(cascade->child));
		leaf->name = get_rel_name(cascade->child);
		strlcpy(leaf->store, RUNOPS_LEGACY_STORE, sizeof(leaf->store));
		cascade->leaves = leaf;
		cascade->nleaves = leaf->name != NULL ? 1 : 0;
		return;
	}

	cascade->nleaves = route->nleaves;
	cascade->leaves = palloc_array(RunopsLeaf, route->nleaves);
	for (int i = 0; i < route->nleaves; i++)
	{
		RunopsLeaf *leaf = &cascade->leaves[i];

		*leaf = route->leaves[i];
		leaf->schema = pstrdup(leaf->schema);
		leaf->name = pstrdup(leaf->name);
	}
}

/*
 * Do a child's column and its parent's key always name the same store?
 */
static bool
in_same_store(Oid parent, const char *key, const Cascade *cascade)
{
	const RunopsRoute *route = runops_route(parent);

	if (route == NULL || route->lead_attno == 0 ||
		get_attnum(parent, key) != route->lead_attno)
		return false;
	route = runops_route(cascade->child);

	return route != NULL && route->lead_attno != 0 &&
		get_attnum(cascade->child, cascade->column) == route->lead_attno;
}

/*
 * The cascades of a parent in their order, with the cascades of each child
 * that is deleted, and so on.  "above" lists the tables on the way to this
 * parent.
 */
static List *
load_cascades(Oid parent, List *above)
{
	List	   *result = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	runops_cleanup_sql(SPI_OK_SELECT,
					   "SELECT c.child::oid::pg_catalog.int8, c.child_column, c.action,"
					   " CASE WHEN c.action OPERATOR(pg_catalog.=) 'delete' AND EXISTS ("
					   "SELECT FROM runops.cascade_config n JOIN runops.table_config t ON t.relation OPERATOR(pg_catalog.=) n.parent"
					   " WHERE n.parent OPERATOR(pg_catalog.=) c.child)"
					   " THEN runops._cascade_key(c.child) END"
					   " FROM runops.cascade_config c WHERE c.parent OPERATOR(pg_catalog.=) %u"
					   " ORDER BY c.ord, c.registered", parent);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Cascade    *cascade = palloc0(sizeof(Cascade));

		cascade->child = (Oid) int_at(i, 1);
		cascade->column = text_at(i, 2);
		cascade->set_null = strcmp(text_at(i, 3), "delete") != 0;
		cascade->key = text_at(i, 4);
		result = lappend(result, cascade);
	}

	foreach(lc, result)
	{
		Cascade    *cascade = (Cascade *) lfirst(lc);

		find_leaves(cascade);
		/* stop when a table comes again, because the cascades form a circle */
		if (cascade->key != NULL && !list_member_oid(above, cascade->child))
			cascade->nested = load_cascades(cascade->child, lappend_oid(list_copy(above), parent));
		foreach(lc2, cascade->nested)
		{
			Cascade    *nested = (Cascade *) lfirst(lc2);

			nested->same_store = in_same_store(cascade->child, cascade->key, nested);
		}
	}

	return result;
}

/*
 * The parts of an entry; the state of parts that were begun is read from
 * cascade_part.
 */
static List *
load_parts(int64 entry, char *value, List *cascades)
{
	List	   *parts = NIL;
	ListCell   *lc;

	foreach(lc, cascades)
	{
		Cascade    *cascade = (Cascade *) lfirst(lc);

		for (int i = 0; i < cascade->nleaves; i++)
		{
			CascadePart *part = palloc0(sizeof(CascadePart));

			part->entry = entry;
			part->value = value;
			part->cascade = cascade;
			part->leaf = &cascade->leaves[i];
			part->state = PART_MORE;
			part->total = -1;
			parts = lappend(parts, part);
		}
	}

	runops_cleanup_sql(SPI_OK_SELECT,
					   "SELECT p.child::pg_catalog.int8, p.child_column, p.store, p.finished, p.failures::pg_catalog.int8,"
					   " p.retry_at, p.done, p.total,"
					   " f.recorded, f.aside, p.message"
					   " FROM runops.cascade_part p LEFT JOIN LATERAL ("
					   "SELECT pg_catalog.count(*) AS recorded, pg_catalog.count(*) FILTER (WHERE x.aside) AS aside"
					   " FROM runops.cascade_failure x"
					   " WHERE x.entry OPERATOR(pg_catalog.=) p.entry AND x.child OPERATOR(pg_catalog.=) p.child"
					   " AND x.child_column OPERATOR(pg_catalog.=) p.child_column AND x.store OPERATOR(pg_catalog.=) p.store)"
					   " AS f ON true WHERE p.entry OPERATOR(pg_catalog.=) " INT64_FORMAT, entry);
	foreach(lc, parts)
	{
		CascadePart *part = (CascadePart *) lfirst(lc);

		for (uint64 i = 0; i < SPI_processed; i++)
		{
			if ((Oid) int_at(i, 1) != part->cascade->child ||
				strcmp(text_at(i, 2), part->cascade->column) != 0 ||
				strcmp(text_at(i, 3), part->leaf->store) != 0)
				continue;
			if (text_at(i, 4)[0] == 't')
				part->state = PART_FINISHED;
			part->failures = (int) int_at(i, 5);
			part->retry_at = time_at(i, 6);
			part->done = int_at(i, 7);
			part->total = int_at(i, 8);
			part->recorded = (int) int_at(i, 9);
			part->aside = (int) int_at(i, 10);
			part->message = text_at(i, 11);
		}
	}

	return parts;
}

/*
 * Do as much of a part as possible, and set the time of the next try.
 */
static void
run_part(Cleanup *cleanup, CascadePart *part)
{
	const char *store = part->leaf->store;
	TimestampTz waits;
	int			pause;

	if (part->leaf->foreign && cleanup->flag_off)
	{
		part->state = PART_FAILED;
		part->retry_at = TimestampTzPlusMilliseconds(cleanup->now, LONGEST_ASIDE_PAUSE * 1000L);
		part->message = "The setting \"runops.split_enabled\" is off.";
		part->failures = Max(part->failures, 1);
		part->touched = true;
		return;
	}
	if (cleanup->worker && part->retry_at > cleanup->now)
	{
		part->state = part->aside > 0 ? PART_ASIDE : PART_FAILED;
		return;
	}
	waits = part->leaf->foreign ? runops_cleanup_store_waits(cleanup, store) : 0;
	if (waits != 0)
	{
		part->state = PART_FAILED;
		part->retry_at = waits;
		part->failures = Max(part->failures, 1);
		if (part->message == NULL)
			part->message = "The store did not answer and will be asked again later.";
		part->touched = true;
		return;
	}

	part->touched = true;
	part->retry_at = 0;
	runops_cleanup_part(cleanup, part);

	switch (part->state)
	{
		case PART_FINISHED:
		case PART_MORE:
			part->failures = 0;
			part->message = NULL;
			break;
		case PART_ASIDE:
			pause = Min(FIRST_ASIDE_PAUSE << Min(part->failures, 10), LONGEST_ASIDE_PAUSE);
			part->failures++;
			part->retry_at = TimestampTzPlusMilliseconds(cleanup->now, pause * 1000L);
			break;
		case PART_BUSY:
		case PART_FAILED:
			pause = Min(RUNOPS_FIRST_PAUSE << Min(part->failures, 10), RUNOPS_LONGEST_PAUSE);
			part->failures++;
			part->retry_at = TimestampTzPlusMilliseconds(cleanup->now, pause * 1000L);
			break;
	}
}

/*
 * Write down the state of a part.
 */
static void
store_part(CascadePart *part)
{
	char	   *child = psprintf("%u", part->cascade->child);
	char	   *message = part->message ? quote_literal_cstr(part->message) : "NULL";
	char	   *total = part->total < 0 ? "NULL" : psprintf(INT64_FORMAT, part->total);

	runops_cleanup_sql(SPI_OK_INSERT,
					   "INSERT INTO runops.cascade_part VALUES (" INT64_FORMAT ", %s, %s, %s, "
					   INT64_FORMAT ", %s, %s, %d, %s, %s)"
					   " ON CONFLICT (entry, child, child_column, store) DO UPDATE SET done = excluded.done,"
					   " total = excluded.total, finished = excluded.finished, failures = excluded.failures,"
					   " retry_at = excluded.retry_at, message = excluded.message",
					   part->entry, child, quote_literal_cstr(part->cascade->column),
					   quote_literal_cstr(part->leaf->store), part->done, total,
					   part->state == PART_FINISHED ? "true" : "false", part->failures,
					   time_literal(part->retry_at), message);
}

/*
 * Run the parts of an entry, store by store, until the batch is full.
 */
static void
run_parts(Cleanup *cleanup, List *parts)
{
	List	   *stores = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, parts)
	{
		CascadePart *part = (CascadePart *) lfirst(lc);
		bool		seen = false;

		foreach(lc2, stores)
			seen = seen || strcmp((char *) lfirst(lc2), part->leaf->store) == 0;
		if (!seen)
			stores = lappend(stores, part->leaf->store);
	}

	foreach(lc, stores)
	{
		foreach(lc2, parts)
		{
			CascadePart *part = (CascadePart *) lfirst(lc2);

			if (part->state == PART_FINISHED ||
				strcmp(part->leaf->store, (char *) lfirst(lc)) != 0)
				continue;
			if (runops_cleanup_is_full(cleanup))
				return;
			/* no caller waits for this batch */
			if (cleanup->worker && cleanup->rows > 0 &&
				strcmp(cleanup->store, part->leaf->store) != 0)
			{
				cleanup->other_store = true;
				return;
			}
			run_part(cleanup, part);

			/* rows that refer to rows of the next child must be gone first */
			if (part->state != PART_FINISHED && part->state != PART_ASIDE)
				break;
		}
	}
}

/*
 * Count the rows of the parts whose total is not known.
 */
static void
count_parts(Cleanup *cleanup, List *parts)
{
	ListCell   *lc;

	foreach(lc, parts)
	{
		CascadePart *part = (CascadePart *) lfirst(lc);

		if (part->total >= 0 ||
			(part->leaf->foreign &&
			 (cleanup->flag_off || runops_cleanup_store_waits(cleanup, part->leaf->store) != 0)))
			continue;
		runops_cleanup_count(cleanup, part);
		part->counted = true;
	}
}

/*
 * Give an entry its turn, perhaps its first one.
 *
 * Stores and cascades may be added or dropped between two turns, so the parts
 * are looked up each time.
 */
static void
run_entry(Cleanup *cleanup, int64 entry, Oid parent, char *value, bool first)
{
	MemoryContext oldcxt;
	List	   *parts;
	bool		finished = true;
	TimestampTz retry_at = PG_INT64_MAX;
	ListCell   *lc;

	MemoryContextReset(cleanup->cxt);
	oldcxt = MemoryContextSwitchTo(cleanup->cxt);
	parts = load_parts(entry, quote_literal_cstr(value), load_cascades(parent, NIL));
	if (!first && cleanup->rows == 0)
		count_parts(cleanup, parts);
	run_parts(cleanup, parts);

	foreach(lc, parts)
	{
		CascadePart *part = (CascadePart *) lfirst(lc);

		if (part->state == PART_FINISHED)
			continue;
		finished = false;
		if (part->state == PART_MORE)
		{
			/* a part that waits for another one in its store does not count */
			if (part->touched || runops_cleanup_is_full(cleanup))
				retry_at = 0;
		}
		else
			retry_at = Min(retry_at, part->retry_at);
	}

	if (finished)
	{
		runops_cleanup_sql(SPI_OK_DELETE,
						   "DELETE FROM runops.cascade_queue WHERE id OPERATOR(pg_catalog.=) " INT64_FORMAT, entry);
		MemoryContextSwitchTo(oldcxt);
		return;
	}

	foreach(lc, parts)
	{
		CascadePart *part = (CascadePart *) lfirst(lc);

		if (part->touched || part->counted)
			store_part(part);
	}
	if (retry_at == PG_INT64_MAX)
		retry_at = 0;
	runops_cleanup_sql(SPI_OK_UPDATE,
					   "UPDATE runops.cascade_queue SET turn = %s,"
					   " started = coalesce(started, %s), retry_at = %s WHERE id OPERATOR(pg_catalog.=) " INT64_FORMAT,
					   cleanup->other_store ? "turn" : "pg_catalog.nextval('runops.cascade_seq')",
					   time_literal(cleanup->now), time_literal(retry_at), entry);
	MemoryContextSwitchTo(oldcxt);
}

/*
 * Give a task its turn: process its entries, the one that has waited the
 * longest first.
 */
static void
run_task(Cleanup *cleanup, int64 task, int64 start)
{
	char	   *ready = cleanup->worker ?
		psprintf(" AND (retry_at IS NULL OR retry_at OPERATOR(pg_catalog.<=) %s)", time_literal(cleanup->now)) : "";
	TimestampTz retry_at;

	while (!runops_cleanup_is_full(cleanup))
	{
		int64		entry;
		Oid			parent;
		char	   *value;

		CHECK_FOR_INTERRUPTS();
		runops_cleanup_sql(SPI_OK_SELECT,
						   "SELECT id, parent::oid::pg_catalog.int8, value, started IS NULL FROM runops.cascade_queue"
						   " WHERE task OPERATOR(pg_catalog.=) " INT64_FORMAT
						   " AND turn OPERATOR(pg_catalog.<) " INT64_FORMAT "%s"
						   " ORDER BY task, turn, id LIMIT 1 FOR UPDATE SKIP LOCKED",
						   task, start, ready);
		if (SPI_processed == 0)
			break;
		entry = int_at(0, 1);
		parent = (Oid) int_at(0, 2);
		value = text_at(0, 3);
		run_entry(cleanup, entry, parent, value, text_at(0, 4)[0] == 't');
	}

	runops_cleanup_sql(SPI_OK_SELECT,
					   "SELECT CASE WHEN NOT EXISTS (SELECT FROM runops.cascade_queue WHERE task OPERATOR(pg_catalog.=) "
					   INT64_FORMAT " AND retry_at IS NULL)"
					   " THEN (SELECT pg_catalog.min(retry_at) FROM runops.cascade_queue WHERE task OPERATOR(pg_catalog.=) "
					   INT64_FORMAT ") END,"
					   " EXISTS (SELECT FROM runops.cascade_queue WHERE task OPERATOR(pg_catalog.=) " INT64_FORMAT ")",
					   task, task, task);
	retry_at = time_at(0, 1);
	if (text_at(0, 2)[0] == 'f')
		runops_cleanup_sql(SPI_OK_DELETE,
						   "DELETE FROM runops.cascade_task WHERE id OPERATOR(pg_catalog.=) " INT64_FORMAT, task);
	else
		runops_cleanup_sql(SPI_OK_UPDATE,
						   "UPDATE runops.cascade_task SET turn = %s, retry_at = %s"
						   " WHERE id OPERATOR(pg_catalog.=) " INT64_FORMAT,
						   cleanup->other_store ? "turn" : "pg_catalog.nextval('runops.cascade_seq')",
						   time_literal(retry_at), task);
}

/*
 * Make all constraints of the transaction immediate, so that no trigger of a
 * step is deferred to the commit.
 *
 * The triggers that the transaction itself has deferred run now, as they would
 * at the commit: as the role that is current outside this function.
 */
static void
fire_deferred_triggers(void)
{
	ConstraintsSetStmt *stmt = makeNode(ConstraintsSetStmt);
	Oid			save_userid;
	int			save_sec_context;

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(GetOuterUserId(), save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	AfterTriggerSetState(stmt);
	SetUserIdAndSecContext(save_userid, save_sec_context);
}

/*
 * The body of runops_cleanup_run().
 */
static void
run_batch(Cleanup *cleanup)
{
	int64		start;
	int64		task;
	bool		immediate = false;
	int			guc_level = NewGUCNestLevel();
	char	   *ready;

	cleanup->rows = 0;
	cleanup->steps = 0;
	cleanup->other_store = false;
	cleanup->now = GetCurrentTimestamp();
	cleanup->next = 0;
	cleanup->flag_off = runops_gate_flag_off();
	cleanup->cxt = AllocSetContextCreate(CurrentMemoryContext, "runops cleanup", ALLOCSET_DEFAULT_SIZES);

	/* use the index on the child, whatever the statistics say */
	(void) set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("DateStyle", "ISO, YMD", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);

	/* this transaction uses several stores on purpose */
	if (GetConfigOption("runops.cross_store_writes", true, false) != NULL)
	{
		(void) set_config_option("runops.cross_store_snapshots", "allow", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
		(void) set_config_option("runops.cross_store_writes", "allow", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	}

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	ready = cleanup->worker ?
		psprintf(" AND (retry_at IS NULL OR retry_at OPERATOR(pg_catalog.<=) %s)", time_literal(cleanup->now)) : "";
	runops_cleanup_sql(SPI_OK_SELECT, "SELECT pg_catalog.nextval('runops.cascade_seq')");
	start = int_at(0, 1);

	while (!runops_cleanup_is_full(cleanup))
	{
		runops_cleanup_sql(SPI_OK_SELECT,
						   "SELECT id FROM runops.cascade_task WHERE turn OPERATOR(pg_catalog.<) " INT64_FORMAT "%s"
						   " ORDER BY turn, id LIMIT 1 FOR UPDATE SKIP LOCKED", start, ready);
		if (SPI_processed == 0)
			break;
		task = int_at(0, 1);
		if (!immediate)
			fire_deferred_triggers();
		immediate = true;
		run_task(cleanup, task, start);
	}

	if (cleanup->worker)
	{
		/* tasks that another backend works on are left to it */
		runops_cleanup_sql(SPI_OK_SELECT,
						   "SELECT CASE WHEN pg_catalog.bool_or(retry_at IS NULL)"
						   " THEN pg_catalog.clock_timestamp() ELSE pg_catalog.min(retry_at) END FROM runops.cascade_task");
		cleanup->next = time_at(0, 1);
	}
	SPI_finish();
	AtEOXact_GUC(true, guc_level);
	MemoryContextDelete(cleanup->cxt);
}

/*
 * Run one batch in the current transaction.
 *
 * A trigger of a child may call cleanup().  That is an error, because the
 * steps of two batches in one session would mix up their rows.
 */
void
runops_cleanup_run(Cleanup *cleanup)
{
	if (running)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("a cleanup is already running in this session"),
				 errdetail("A trigger of a child, or another function that the cleanup runs, has called it."),
				 errhint("Call runops.cleanup() outside of such functions.")));

	running = true;
	PG_TRY();
	{
		run_batch(cleanup);
	}
	PG_FINALLY();
	{
		running = false;
	}
	PG_END_TRY();
}

/*
 * cleanup(max_rows): run one batch; returns the number of changed rows.
 *
 * Parts that wait for another try are tried now.
 */
Datum
runops_cleanup(PG_FUNCTION_ARGS)
{
	Cleanup		cleanup = {0};

	if (PG_ARGISNULL(0) || PG_GETARG_INT32(0) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must be at least 1"),
				 errdetail("The argument limits the rows that one call changes."),
				 errhint("Call the function again until it returns 0.")));
	PreventCommandIfReadOnly("cleanup()");
	PreventCommandDuringRecovery("cleanup()");

	cleanup.max_rows = PG_GETARG_INT32(0);
	runops_cleanup_run(&cleanup);

	PG_RETURN_INT64(cleanup.rows);
}
