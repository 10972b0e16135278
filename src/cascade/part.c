/*-------------------------------------------------------------------------
 *
 * part.c
 *	  Cleans up the rows of one child in one store for one deleted row, batch
 *	  by batch.
 *
 * If rows cannot be changed, they are tried in halves until the failing rows
 * are found.  These rows are set aside by their ctid and reported.  They are
 * tried again when they have moved, or after some time.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "cascade/cascade_int.h"

/*
 * The approximate number of statements for children in a batch.  A batch that
 * a user runs may exceed it if it may change more rows.
 */
#define BATCH_STEPS 1000

/* If this many rows fail and none succeeds, the rows are not the cause. */
#define HOPELESS_ROWS 100

/*
 * Is the batch full?
 */
bool
runops_cleanup_is_full(const Cleanup *cleanup)
{
	return cleanup->rows >= cleanup->max_rows || cleanup->other_store ||
		((cleanup->worker || cleanup->rows > 0) &&
		 cleanup->steps >= (cleanup->worker ? BATCH_STEPS : Max(BATCH_STEPS, 5 * cleanup->max_rows)));
}

/*
 * The condition for the rows of a part in cascade_failure.
 */
static char *
failures_of(const CascadePart *part)
{
	return psprintf("entry OPERATOR(pg_catalog.=) " INT64_FORMAT " AND child OPERATOR(pg_catalog.=) %u"
					" AND child_column OPERATOR(pg_catalog.=) %s AND store OPERATOR(pg_catalog.=) %s",
					part->entry, part->cascade->child, quote_literal_cstr(part->cascade->column),
					quote_literal_cstr(part->leaf->store));
}

/*
 * Is an error temporary, so that it goes away when other transactions end?
 */
static bool
is_passing(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

/*
 * Has the last step shown that the store cannot be used?
 */
static bool
store_fails(const CascadePart *part)
{
	return part->leaf->foreign && runops_cleanup_store_is_out(part->leaf->store);
}

/*
 * Has the last step of the worker taken too long?
 *
 * Code of the owner may run without end, and must not keep the worker from
 * other deleted rows.  So the part waits for its next turn, which takes fewer
 * rows.
 */
static bool
took_too_long(const CascadePart *part)
{
	return part->error->sqlerrcode == ERRCODE_QUERY_CANCELED;
}

/*
 * Record why a part has failed.
 */
static void
set_failed(CascadePart *part)
{
	part->state = PART_FAILED;
	part->message = part->error->detail ?
		psprintf("%s: %s", part->error->message, part->error->detail) :
		pstrdup(part->error->message);
}

/*
 * Set aside a row that cannot be changed, and report it the first time.
 */
static void
set_aside(Cleanup *cleanup, CascadePart *part, CascadeRows *rows, int at)
{
	ErrorData  *error = part->error;
	CascadeStep step = {.run = runops_cascade_describe, .rows = rows, .from = at, .to = at + 1};
	char	   *sqlstate = unpack_sql_state(error->sqlerrcode);
	char	   *row = NULL;
	char	   *message;

	sqlstate = pstrdup(sqlstate);
	message = error->detail ? psprintf("%s: %s", error->message, error->detail) : error->message;
	if (runops_cascade_run_step(cleanup, part, &step))
		row = step.text;
	else if (store_fails(part))
	{
		set_failed(part);
		return;
	}
	if (row == NULL)
		row = psprintf("{\"ctid\": \"%s\"}", rows->tids[at]);

	runops_cleanup_sql(SPI_OK_INSERT_RETURNING,
					   "INSERT INTO runops.cascade_failure VALUES (" INT64_FORMAT ", %u, %s, %s, %s, %s, true, %s, %s,"
					   " pg_catalog.clock_timestamp())"
					   " ON CONFLICT (entry, child, child_column, store, \"row\") DO UPDATE SET tid = excluded.tid,"
					   " aside = true, sqlstate = excluded.sqlstate, message = excluded.message"
					   " RETURNING xmax OPERATOR(pg_catalog.=) '0'::pg_catalog.xid",
					   part->entry, part->cascade->child, quote_literal_cstr(part->cascade->column),
					   quote_literal_cstr(part->leaf->store), quote_literal_cstr(row),
					   quote_literal_cstr(rows->tids[at]), quote_literal_cstr(sqlstate), quote_literal_cstr(message));
	if (SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)[0] == 't')
		ereport(WARNING,
				(errmsg("row %s of \"%s\" in store \"%s\" could not be cleaned up and is set aside",
						row, part->leaf->name, part->leaf->store),
				 errdetail("%s", message),
				 errhint("Run runops.doctor() for the reason; the row is tried again later.")));
	part->aside++;
	part->recorded++;
	part->message = message;
}

/*
 * Change the selected rows between "from" and "to"; if that fails, try each
 * half.
 *
 * The result is in part->state; it stays PART_MORE if there is nothing to
 * report.  "done" is the value of part->done before these rows were selected.
 */
static void
change_range(Cleanup *cleanup, CascadePart *part, CascadeRows *rows, int from, int to,
			 int64 done)
{
	CascadeStep step = {.run = runops_cascade_change, .rows = rows, .from = from, .to = to,
		.limit = cleanup->max_rows - cleanup->rows};

	if (from >= to || step.limit <= 0 || part->state != PART_MORE)
		return;
	if (part->aside - part->aside_rows.n >= HOPELESS_ROWS && part->done == done)
	{
		part->state = PART_FAILED;
		return;
	}

	CHECK_FOR_INTERRUPTS();
	if (runops_cascade_run_step(cleanup, part, &step))
	{
		cleanup->rows += step.result + step.nested;
		part->done += step.result;
		if (step.result + step.nested > 0)
			strlcpy(cleanup->store, part->leaf->store, sizeof(cleanup->store));
		part->progress = part->progress || step.nested > 0;
		return;
	}

	if (store_fails(part) || took_too_long(part))
		set_failed(part);
	else if (to - from > 1)
	{
		int			middle = from + (to - from) / 2;

		change_range(cleanup, part, rows, from, middle, done);
		change_range(cleanup, part, rows, middle, to, done);
	}
	else if (is_passing(part->error))
		part->message = pstrdup(part->error->message);
	else
		set_aside(cleanup, part, rows, from);
}

/*
 * Read which rows are set aside.
 */
static void
load_aside(CascadePart *part)
{
	runops_cleanup_sql(SPI_OK_SELECT, "SELECT tid FROM runops.cascade_failure WHERE aside AND %s", failures_of(part));
	runops_cascade_take_rows(&part->aside_rows, false);
	part->aside = part->aside_rows.n;
}

/*
 * Count all rows of a part; a failure is ignored.
 */
void
runops_cleanup_count(Cleanup *cleanup, CascadePart *part)
{
	CascadeStep step = {.run = runops_cascade_count, .result = -1};

	if (runops_cascade_run_step(cleanup, part, &step) && step.result >= 0)
		part->total = part->done + step.result;
}

/*
 * Work on a part until the batch is full or nothing more can be done; sets
 * part->state.
 */
void
runops_cleanup_part(Cleanup *cleanup, CascadePart *part)
{
	bool		again = false;

	part->state = PART_MORE;
	if (part->aside > 0)
		load_aside(part);

	while (!runops_cleanup_is_full(cleanup))
	{
		CascadeRows rows = {0};
		CascadeStep step = {.run = runops_cascade_select, .rows = &rows,
			.limit = Min(cleanup->max_rows - cleanup->rows,
						 cleanup->worker ? Max(RUNOPS_CLEANUP_ROWS >> Min(part->failures, 10), 1) : RUNOPS_CLEANUP_ROWS)};
		int64		done = part->done;
		int			aside = part->aside;

		if (!runops_cascade_run_step(cleanup, part, &step))
		{
			set_failed(part);
			if (is_passing(part->error))
				part->state = PART_BUSY;
			return;
		}

		if (rows.n == 0)
		{
			if (!step.complete)
			{
				part->state = PART_BUSY;
				part->message = "Other transactions have locked the remaining rows.";
			}
			else if (part->aside == 0)
			{
				if (part->recorded > 0)
					runops_cleanup_sql(SPI_OK_DELETE, "DELETE FROM runops.cascade_failure WHERE %s", failures_of(part));
				part->state = PART_FINISHED;
				part->total = part->done;
			}
			else if (again)
				part->state = PART_ASIDE;
			else
			{
				/*
				 * it is time to try them again, or else this would not be
				 * called
				 */
				runops_cleanup_sql(SPI_OK_UPDATE, "UPDATE runops.cascade_failure SET aside = false WHERE aside AND %s",
								   failures_of(part));
				part->aside = part->aside_rows.n = 0;
				again = true;
				continue;
			}
			return;
		}

		if (part->total < part->done + rows.n)
		{
			if (rows.n < step.limit)
				part->total = part->done + rows.n + part->aside;
			else
				runops_cleanup_count(cleanup, part);
		}
		part->progress = false;
		change_range(cleanup, part, &rows, 0, rows.n, done);
		if (part->state != PART_MORE)
			return;
		if (part->aside != aside)
		{
			/* these rows were tried just now */
			again = true;
			load_aside(part);
			if (part->aside >= RUNOPS_CLEANUP_ROWS)
				part->state = PART_ASIDE;
		}
		else if (part->done == done && !part->progress)
			part->state = PART_BUSY;
		if (part->state != PART_MORE)
			return;
	}
}
