/*-------------------------------------------------------------------------
 *
 * execute.c
 *	  Executes a writing statement in a store, for one row or for many.
 *
 * The executions for many rows travel together.  Each has a result of its own,
 * so it is known which row an error is about, and what each row returns.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "session/engine_int.h"

/*
 * Execute a statement once for each row of values.
 *
 * relid is the foreign table that is written to, and cid the number of the local
 * statement.  values has nrows times nparams texts.  Returns in written[i] how
 * many rows of the store row i has changed: 0 or 1.  returned[i] is the row that
 * it returns, or NULL, in the current memory context; returned is NULL if the
 * statement returns no rows.  Both may be NULL.
 *
 * prepared: the same text will be executed again.  Raises the errors of the
 * store.
 */
void
runops_conn_execute(RunopsConn *c, Oid relid, CommandId cid,
					const char *sql, int nrows, int nparams,
					const char *const *values, bool prepared,
					RunopsRow **returned, int *written)
{
	PGresult   *res;

	runops_inserts_flush(c->session.server->serverid, InvalidCommandId, NULL);
	do
	{
		runops_frame_require(c, RUNOPS_NEED_WRITE, NULL);
		runops_frame_note_write(c, cid, relid, false);
		c->sql = sql;
		for (int i = 0; i < nrows; i++)
			runops_segment_statement(c, sql, nparams, values + (Size) i * nparams, prepared,
									 returned != NULL);
		runops_segment_sync(c, true);

		for (int i = 0; i < nrows; i++)
		{
			if (returned != NULL)
				returned[i] = NULL;
			while ((res = runops_segment_result(c)) != NULL)
			{
				if (returned != NULL && PQntuples(res) > 0)
					returned[i] = runops_row_copy(res, 0);
				if (written == NULL)
					continue;
				if (strlen(PQcmdTuples(res)) != 1 || PQcmdTuples(res)[0] > '1')
					runops_segment_wrong(c, _("It has changed more rows than it was told."));
				written[i] = PQcmdTuples(res)[0] - '0';
			}
		}
		runops_segment_finish(c);
	} while (runops_frame_again(c));
}
