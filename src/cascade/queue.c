/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  Implements the triggers on the parent of a cascade, which queue the
 *	  deleted rows and wake the worker after the commit.
 *
 * The deleting transaction does nothing else: it reads no child and uses no
 * other database.  If it aborts, the queued rows are gone too.
 *
 * All rows that one transaction deletes are one task, identified by its
 * transaction ID.  batch.c describes the turns of tasks.
 *
 * The functions are SECURITY DEFINER, because a role that may delete a project
 * need not have the privilege to write to the queue.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "cascade/cascade_int.h"

/* has this transaction queued anything, as far as this backend knows? */
static bool queued = false;
static bool callback_registered = false;

PG_FUNCTION_INFO_V1(runops_cascade_queue);
PG_FUNCTION_INFO_V1(runops_cascade_queue_row);
PG_FUNCTION_INFO_V1(runops_cascade_truncate);
PG_FUNCTION_INFO_V1(runops_cascade_wake);

/*
 * Transaction callback: the queued rows are committed, so wake the worker.
 *
 * If a savepoint rolled them back, the worker finds nothing, which does no
 * harm.
 */
static void
cascade_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && queued)
		runops_cleaner_wake();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		queued = false;
}

/*
 * Note that this transaction has queued something.
 */
static void
note_queued(void)
{
	if (!callback_registered)
	{
		RegisterXactCallback(cascade_xact_callback, NULL);
		callback_registered = true;
	}
	queued = true;
}

/*
 * The data of the trigger; raises if the function was not called correctly.
 */
static TriggerData *
trigger_data(FunctionCallInfo fcinfo, const char *name, bool row)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BY_DELETE(data->tg_event) ||
		!TRIGGER_FIRED_AFTER(data->tg_event) ||
		(row ? !TRIGGER_FIRED_FOR_ROW(data->tg_event) : data->tg_oldtable == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired by the trigger that runops.add_cascade() creates", name)));

	return data;
}

/*
 * Insert the row of this transaction's task, unless it exists.
 */
static void
make_task(uint64 task)
{
	char	   *sql = psprintf("INSERT INTO runops.cascade_task (id, turn)"
							   " VALUES (" INT64_FORMAT ", pg_catalog.nextval('runops.cascade_seq'))"
							   " ON CONFLICT DO NOTHING", (int64) task);

	if (SPI_execute(sql, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not make a task of cascades");
	pfree(sql);
}

/*
 * _cascade_queue() returns trigger
 *
 * AFTER DELETE FOR EACH STATEMENT: queue the rows of the transition table.
 */
Datum
runops_cascade_queue(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "_cascade_queue", false);
	Oid			relid = RelationGetRelid(data->tg_relation);
	uint64		task;
	char	   *key;
	char	   *sql;

	if (tuplestore_tuple_count(data->tg_oldtable) == 0)
		PG_RETURN_POINTER(NULL);

	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_register_trigger_data(data) != SPI_OK_TD_REGISTER)
		elog(ERROR, "could not connect to SPI");

	sql = psprintf("SELECT pg_catalog.quote_ident(runops._cascade_key(%u))", relid);
	if (SPI_execute(sql, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not look up the key of a cascade");
	key = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" has no primary key of one column",
						RelationGetRelationName(data->tg_relation)),
				 errdetail("The cascades of its rows cannot be cleaned up."),
				 errhint("Add the primary key again, or use runops.drop_cascade().")));

	/*
	 * no cast: its function might be a user's, and would run with our rights
	 */
	task = U64FromFullTransactionId(GetTopFullTransactionId());
	sql = psprintf("INSERT INTO runops.cascade_queue (id, task, parent, value, queued_at, turn)"
				   " SELECT s.n, " INT64_FORMAT ", %u, s.v, pg_catalog.clock_timestamp(), s.n"
				   " FROM (SELECT pg_catalog.nextval('runops.cascade_seq') AS n, pg_catalog.format('%%s', d.%s) AS v"
				   " FROM runops_deleted d OFFSET 0) AS s",
				   (int64) task, relid, key);
	make_task(task);
	if (SPI_execute(sql, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not queue deleted rows of a cascade");
	SPI_finish();

	note_queued();

	/* return a null pointer, but do not set isnull */
	PG_RETURN_POINTER(NULL);
}

/*
 * _cascade_queue_row() returns trigger
 *
 * AFTER DELETE FOR EACH ROW of a routed table or another partitioned table,
 * and of each of its partitions.  Rows that a cleanup deletes are not queued,
 * because it has already cleaned up their dependent rows.
 */
Datum
runops_cascade_queue_row(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan = NULL;
	TriggerData *data = trigger_data(fcinfo, "_cascade_queue_row", true);
	Relation	rel = data->tg_relation;
	Oid			parent = RelationGetRelid(rel);
	Oid			types[3] = {INT8OID, REGCLASSOID, TEXTOID};
	Datum		values[3];
	uint64		task;
	AttrNumber	attno;
	char	   *key;
	char	   *sql;

	while (get_rel_relispartition(parent))
		parent = get_partition_parent(parent, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");

	sql = psprintf("SELECT runops._cascade_key(%u)", parent);
	if (SPI_execute(sql, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not look up the key of a cascade");
	key = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	attno = key ? SPI_fnumber(RelationGetDescr(rel), key) : SPI_ERROR_NOATTRIBUTE;
	if (attno <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" has no primary key of one column",
						RelationGetRelationName(rel)),
				 errdetail("The cascades of its rows cannot be cleaned up."),
				 errhint("Add the primary key again, or use runops.drop_cascade().")));
	key = SPI_getvalue(data->tg_trigtuple, RelationGetDescr(rel), attno);

	if (key != NULL && !runops_cleanup_is_deleting(parent, key))
	{
		task = U64FromFullTransactionId(GetTopFullTransactionId());
		make_task(task);
		if (plan == NULL)
		{
			plan = SPI_prepare("INSERT INTO runops.cascade_queue (id, task, parent, value, queued_at, turn)"
							   " SELECT s.n, $1, $2, $3, pg_catalog.clock_timestamp(), s.n"
							   " FROM pg_catalog.nextval('runops.cascade_seq') AS s (n)",
							   3, types);
			if (plan == NULL || SPI_keepplan(plan) != 0)
				elog(ERROR, "could not prepare to queue a row of a cascade");
		}
		values[0] = Int64GetDatum((int64) task);
		values[1] = ObjectIdGetDatum(parent);
		values[2] = CStringGetTextDatum(key);
		if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_INSERT)
			elog(ERROR, "could not queue a deleted row of a cascade");
		note_queued();
	}
	SPI_finish();

	PG_RETURN_POINTER(NULL);
}

/*
 * _cascade_truncate() returns trigger
 *
 * BEFORE TRUNCATE: raise an error, as core does for a table that foreign keys
 * reference.
 */
Datum
runops_cascade_truncate(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "_cascade_truncate")));

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot truncate \"%s\" because cascades lead from it",
					RelationGetRelationName(((TriggerData *) fcinfo->context)->tg_relation)),
			 errdetail("The rows that depend on the truncated rows would not be cleaned up."),
			 errhint("Use DELETE, or runops.drop_cascade() first.")));
}

/*
 * _cascade_wake(): wake the worker when the transaction has committed.
 */
Datum
runops_cascade_wake(PG_FUNCTION_ARGS)
{
	note_queued();

	PG_RETURN_VOID();
}
