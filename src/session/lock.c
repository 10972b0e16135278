/*-------------------------------------------------------------------------
 *
 * lock.c
 *	  Locks rows of a store one by one, many in one turn.
 *
 * Each row has a statement of its own, which names the row by its key.  So the
 * rows are locked in the caller's order, as a statement for all of them would
 * not promise, and no text depends on how many they are.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "session/engine_int.h"

/*
 * Execute a statement that locks and returns at most one row, once for each row
 * of values.
 *
 * values has n times nparams texts.  rows[i] gets the row that execution i has
 * returned, in the current memory context, or NULL.  Raises the errors of the
 * store.
 */
void
runops_conn_lock(RunopsConn *c, const char *sql, int n, int nparams,
				 const char *const *values, RunopsRow **rows)
{
	PGresult   *res;

	do
	{
		runops_frame_require(c, RUNOPS_NEED_LOCKS, NULL);
		c->sql = sql;
		for (int i = 0; i < n; i++)
			runops_segment_statement(c, sql, nparams, values + (Size) i * nparams, true, true);
		runops_segment_sync(c, true);

		for (int i = 0; i < n; i++)
		{
			rows[i] = NULL;
			while ((res = runops_segment_result(c)) != NULL)
			{
				if (PQntuples(res) > 1)
					runops_segment_wrong(c, _("It has several rows with one key."));
				if (PQntuples(res) > 0)
					rows[i] = runops_row_copy(res, 0);
			}
		}
		runops_segment_finish(c);
	} while (runops_frame_again(c));
}
