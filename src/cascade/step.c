/*-------------------------------------------------------------------------
 *
 * step.c
 *	  Selects rows of one child in one store, and deletes them or sets their
 *	  column to NULL.
 *
 * Rows are selected by the index on the child's column and then changed by
 * their ctid.  In a store both statements go through the leaf, so the gate and
 * everything else that watches the routed table applies, and each is one
 * statement there.
 *
 * The rows of a child that is a routed table may have cascades of their own.
 * Their dependent rows are changed first, in the same step.  If there are more
 * of these than the limit allows, the rows themselves wait.
 *
 * Each step is a subtransaction.  Each of its statements runs as the owner of
 * the leaf, in a security-restricted operation, because everything that a
 * statement evaluates for a table, such as triggers, domains and generated
 * columns, is code of its owner.  A store is reached with the owner's user
 * mapping, or PUBLIC's.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timeout.h"

#include "base/as_owner.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "cascade/cascade_int.h"
#include "gate/gate.h"
#include "session/session.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* The maximum number of rows to count, for the view progress. */
#define COUNT_LIMIT 1000000

/* Milliseconds that one step of the worker may take. */
#define STEP_PATIENCE 30000

/* The rows of a routed table that are being deleted, for its own trigger. */
static Oid	deleting_relid = InvalidOid;
static const CascadeRows *deleting_rows = NULL;
static int	deleting_next = 0;

/*
 * Is a row being deleted by a cleanup, which has already cleaned up its
 * dependent rows?
 */
bool
runops_cleanup_is_deleting(Oid relid, const char *key)
{
	if (deleting_rows == NULL || relid != deleting_relid)
		return false;

	/* rows arrive in the order of their selection, or nearly so */
	for (int i = 0; i < deleting_rows->n; i++)
	{
		int			at = (deleting_next + i) % deleting_rows->n;

		if (deleting_rows->keys[at] != NULL && strcmp(deleting_rows->keys[at], key) == 0)
		{
			deleting_next = at + 1;
			return true;
		}
	}

	return false;
}

/*
 * Settings for each statement that a step sends: others may wait for this
 * transaction, so limit its waits for locks, and make it use the index.
 */
static const char *const step_settings[] = {
	"SET LOCAL lock_timeout = '5s'",
	"SET LOCAL enable_seqscan = off",
	"SET LOCAL jit = off",
	NULL
};

/*
 * An array literal of strings; its type follows from the expression that it is
 * compared with.
 *
 * A NULL is left out, because it equals nothing.
 */
static char *
array_literal(char **strings, int from, int to)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	for (int i = from; i < to; i++)
	{
		if (strings[i] == NULL)
			continue;
		appendStringInfoString(&buf, buf.len > 1 ? ",\"" : "\"");
		for (const char *c = strings[i]; *c; c++)
		{
			if (*c == '"' || *c == '\\')
				appendStringInfoChar(&buf, '\\');
			appendStringInfoChar(&buf, *c);
		}
		appendStringInfoChar(&buf, '"');
	}
	appendStringInfoChar(&buf, '}');

	return quote_literal_cstr(buf.data);
}

/*
 * The SQL name of a leaf's table.
 */
static char *
table_name(const RunopsLeaf *leaf)
{
	return quote_qualified_identifier(leaf->schema, leaf->name);
}

/*
 * The condition for the rows that depend on a value, which is given as a
 * literal.
 */
static char *
hangs_on(const Cascade *cascade, const char *value)
{
	return psprintf("%s OPERATOR(pg_catalog.=) %s", quote_identifier(cascade->column), value);
}

/*
 * Does an error mean that the whole store has a problem, so that other steps
 * there would fail too?
 */
static bool
is_store_trouble(int sqlerrcode)
{
	switch (sqlerrcode)
	{
		case ERRCODE_RUNOPS_GATE_CLOSED:
		case ERRCODE_RUNOPS_NOT_STORE_OWNER:
		case ERRCODE_RUNOPS_STORE_NOT_CONFIGURED:
		case ERRCODE_ADMIN_SHUTDOWN:
		case ERRCODE_CRASH_SHUTDOWN:
		case ERRCODE_CANNOT_CONNECT_NOW:
		case ERRCODE_READ_ONLY_SQL_TRANSACTION:
		case ERRCODE_QUERY_CANCELED:
			return true;
		default:
			break;
	}

	return ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_CONNECTION_EXCEPTION ||
		ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES ||
		ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
}

/*
 * Run a step in a subtransaction; returns false if it has failed, with
 * part->error set.
 *
 * A cancel by the user is not a failure of the step.  The worker cancels
 * itself when a store does not answer, or when code of the owner does not end.
 */
bool
runops_cascade_run_step(Cleanup *cleanup, CascadePart *part, CascadeStep *step)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool ok = false;

	cleanup->steps++;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		if (cleanup->worker)
			enable_timeout_after(STATEMENT_TIMEOUT, STEP_PATIENCE);
		runops_conn_on_use(step_settings);
		runops_reader_suspend();
		step->run(cleanup, part, step);
		runops_conn_on_use(NULL);
		if (cleanup->worker)
			disable_timeout(STATEMENT_TIMEOUT, false);

		ReleaseCurrentSubTransaction();
		ok = true;
	}
	PG_CATCH();
	{
		runops_conn_on_use(NULL);
		deleting_rows = NULL;
		if (cleanup->worker)
			disable_timeout(STATEMENT_TIMEOUT, false);

		MemoryContextSwitchTo(cxt);
		part->error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;

	if (!ok && !cleanup->worker && runops_cancelled_here(part->error))
		ReThrowError(part->error);
	if (part->leaf->foreign && (ok || is_store_trouble(part->error->sqlerrcode)))
		runops_cleanup_store_answers(cleanup, part->leaf->store, ok);

	return ok;
}

/*
 * Run a query on a leaf in a step, as the owner of the leaf, or raise; returns
 * its number of rows.
 *
 * Deferred triggers would run at the commit with the rights of the committing
 * role, which is a superuser in the worker.  runops_cleanup_run() has made all
 * of them immediate, and in a security-restricted operation none can be
 * deferred again.
 */
static int64
step_sql(const RunopsLeaf *leaf, int expected, const char *sql)
{
	RunopsAsOwner saved;
	int			rc;

	runops_as_owner_begin(&saved, runops_table_owner(leaf->relid));
	rc = SPI_execute(sql, false, 0);
	runops_as_owner_end(&saved);
	if (rc != expected)
		elog(ERROR, "unexpected result of \"%s\": %d", sql, rc);

	return (int64) SPI_processed;
}

/*
 * Take ctids, and keys if wanted, from the last result.
 */
void
runops_cascade_take_rows(CascadeRows *rows, bool keys)
{
	rows->n = (int) SPI_processed;
	rows->tids = palloc_array(char *, rows->n + 1);
	rows->keys = keys ? palloc_array(char *, rows->n + 1) : NULL;
	for (int i = 0; i < rows->n; i++)
	{
		rows->tids[i] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		if (keys)
			rows->keys[i] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Select at most the given number of rows of a leaf, by a condition.
 *
 * In a local leaf, rows that others have locked are skipped; a foreign leaf
 * cannot skip them.
 */
static void
select_rows(const Cascade *cascade, const RunopsLeaf *leaf, const char *where,
			int64 limit, CascadeRows *rows)
{
	bool		keys = cascade->nested != NIL;

	step_sql(leaf, SPI_OK_SELECT,
			 psprintf("SELECT ctid%s%s FROM %s WHERE %s LIMIT " INT64_FORMAT "%s",
					  keys ? ", " : "", keys ? quote_identifier(cascade->key) : "",
					  table_name(leaf), where, limit,
					  leaf->foreign ? "" : " FOR UPDATE SKIP LOCKED"));
	runops_cascade_take_rows(rows, keys);
}

/*
 * Change rows of a leaf; returns the number of changed rows.
 *
 * The condition is checked again, because other transactions may have changed
 * the rows.
 */
static int64
change_rows(const Cascade *cascade, const RunopsLeaf *leaf, const char *where,
			const CascadeRows *rows, int from, int to)
{
	char	   *verb = cascade->set_null ?
		psprintf("UPDATE %s SET %s = NULL", table_name(leaf), quote_identifier(cascade->column)) :
		psprintf("DELETE FROM %s", table_name(leaf));
	int64		changed;

	if (cascade->nested != NIL)
	{
		deleting_relid = cascade->child;
		deleting_rows = rows;
		deleting_next = from;
	}
	changed = step_sql(leaf, cascade->set_null ? SPI_OK_UPDATE_RETURNING : SPI_OK_DELETE,
					   psprintf("%s WHERE ctid OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.tid[]) AND %s%s",
								verb, array_literal(rows->tids, from, to), where,
								cascade->set_null ? psprintf(" RETURNING %s", quote_identifier(cascade->column)) : ""));
	deleting_rows = NULL;

	/* otherwise the cleanup would never end */
	for (int64 i = 0; cascade->set_null && i < changed; i++)
	{
		if (SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
					 errmsg("column \"%s\" of \"%s\" could not be set to NULL",
							cascade->column, leaf->name),
					 errdetail("A trigger has set the column again.")));
	}

	return changed;
}

/*
 * Change the rows that depend on rows to be deleted, in all children, but at
 * most "limit" rows; returns their number.  *complete is set to false if there
 * may be more.
 *
 * store is the store of the rows to be deleted.
 */
static int64
change_nested(Cleanup *cleanup, const Cascade *above, const char *store,
			  const CascadeRows *parents, int from, int to, int64 limit,
			  bool *complete)
{
	int64		changed = 0;
	ListCell   *lc;

	foreach(lc, above->nested)
	{
		Cascade    *cascade = (Cascade *) lfirst(lc);
		char	   *where = hangs_on(cascade, psprintf("ANY (%s)", array_literal(parents->keys, from, to)));

		for (int i = 0; i < cascade->nleaves; i++)
		{
			RunopsLeaf *leaf = &cascade->leaves[i];
			int64		left = limit - changed;
			CascadeRows rows;

			if (cascade->same_store && strcmp(leaf->store, store) != 0)
				continue;
			if (left <= 0)
			{
				*complete = false;
				return changed;
			}

			/* a foreign leaf that looks empty may have rows */
			if (leaf->foreign)
				runops_gate_require_settings(leaf->store, leaf->name);
			cleanup->steps++;
			select_rows(cascade, leaf, where, left, &rows);
			if (rows.n == 0)
				continue;
			if (cascade->nested != NIL)
				changed += change_nested(cleanup, cascade, leaf->store, &rows, 0, rows.n, left, complete);
			if (*complete)
				changed += change_rows(cascade, leaf, where, &rows, 0, Min(rows.n, limit - changed));
			if (rows.n == left)
				*complete = false;
			if (!*complete)
				return changed;
		}
	}

	return changed;
}

/*
 * Step: select rows that are not set aside; "complete" if there are none.
 */
void
runops_cascade_select(Cleanup *cleanup, CascadePart *part, CascadeStep *step)
{
	char	   *where = hangs_on(part->cascade, part->value);

	if (part->aside_rows.n > 0)
		where = psprintf("%s AND ctid OPERATOR(pg_catalog.<>) ALL (%s::pg_catalog.tid[])", where,
						 array_literal(part->aside_rows.tids, 0, part->aside_rows.n));
	select_rows(part->cascade, part->leaf, where, step->limit, step->rows);

	/* is nothing left, or are the remaining rows locked? */
	step->complete = step->rows->n == 0 &&
		(part->leaf->foreign ||
		 step_sql(part->leaf, SPI_OK_SELECT, psprintf("SELECT FROM %s WHERE %s LIMIT 1", table_name(part->leaf), where)) == 0);
}

/*
 * Step: change the dependent rows and then the rows; "complete" if all of them
 * were processed.
 */
void
runops_cascade_change(Cleanup *cleanup, CascadePart *part, CascadeStep *step)
{
	Cascade    *cascade = part->cascade;
	int			to = step->to;

	step->result = 0;
	step->nested = 0;
	step->complete = true;
	if (cascade->nested != NIL)
	{
		step->nested = change_nested(cleanup, cascade, part->leaf->store, step->rows, step->from, to,
									 step->limit, &step->complete);
		if (!step->complete)
			return;
	}
	if (to - step->from > step->limit - step->nested)
	{
		to = step->from + (int) (step->limit - step->nested);
		step->complete = false;
	}
	if (to > step->from)
		step->result = change_rows(cascade, part->leaf, hangs_on(cascade, part->value),
								   step->rows, step->from, to);
}

/*
 * Count the rows of a query in the store of a leaf, with the user mapping of
 * the leaf's owner; -1 if that is not possible.
 *
 * This uses its own connection, because postgres_fdw would fetch the rows to
 * count them.
 */
static int64
count_in_store(const RunopsLeaf *leaf, const char *sql)
{
	RunopsAsOwner saved;
	RemoteSession *session;
	RemoteFailure failure;
	int64		count;
	volatile int64 result = -1;

	runops_as_owner_begin(&saved, runops_table_owner(leaf->relid));
	runops_gate_require(leaf->store, NULL);
	session = runops_remote_server_session(leaf->store, runops_store_server(leaf->store));
	PG_TRY();
	{
		if (runops_remote_try_open(session, &failure) &&
			runops_remote_try_query(session,
									psprintf("SET LOCAL search_path = pg_catalog; SET LOCAL enable_seqscan = off;"
											 " SET LOCAL jit = off; %s", sql),
									1, &failure) &&
			runops_remote_get_int64(session, 0, &count, &failure) &&
			count >= 0 && count <= COUNT_LIMIT)
			result = count;
	}
	PG_FINALLY();
	{
		runops_remote_close(session);
	}
	PG_END_TRY();
	runops_as_owner_end(&saved);

	return result;
}

/*
 * Step: count the rows of a part, up to a limit; -1 if that is not possible.
 */
void
runops_cascade_count(Cleanup *cleanup, CascadePart *part, CascadeStep *step)
{
	char	   *schema = part->leaf->schema;
	char	   *name = part->leaf->name;
	char	   *sql;

	if (part->leaf->foreign)
	{
		ListCell   *lc;

		foreach(lc, GetForeignTable(part->leaf->relid)->options)
		{
			DefElem    *def = lfirst_node(DefElem, lc);

			if (strcmp(def->defname, "schema_name") == 0)
				schema = defGetString(def);
			else if (strcmp(def->defname, "table_name") == 0)
				name = defGetString(def);
		}
	}
	sql = psprintf("SELECT pg_catalog.count(*) FROM (SELECT FROM %s WHERE %s LIMIT %d) AS s",
				   quote_qualified_identifier(schema, name),
				   hangs_on(part->cascade, part->value), COUNT_LIMIT);

	if (part->leaf->foreign)
	{
		step->result = count_in_store(part->leaf, sql);
		return;
	}
	(void) step_sql(part->leaf, SPI_OK_SELECT, sql);
	step->result = pg_strtoint64(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
}

/*
 * Step: describe a row as JSON, by its primary key or else by its ctid.
 */
void
runops_cascade_describe(Cleanup *cleanup, CascadePart *part, CascadeStep *step)
{
	char	   *columns;

	/*
	 * the local catalogs have the key of legacy's table, which other stores
	 * share
	 */
	(void) step_sql(part->leaf, SPI_OK_SELECT,
					psprintf("SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ')"
							 " FROM pg_catalog.pg_index x JOIN pg_catalog.pg_attribute a"
							 " ON a.attrelid OPERATOR(pg_catalog.=) x.indrelid AND a.attnum OPERATOR(pg_catalog.=) ANY (x.indkey)"
							 " WHERE x.indisprimary AND x.indrelid OPERATOR(pg_catalog.=) %u",
							 part->cascade->leaves[0].relid));
	columns = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	(void) step_sql(part->leaf, SPI_OK_SELECT,
					psprintf("SELECT pg_catalog.to_jsonb(s) FROM (SELECT %s FROM %s"
							 " WHERE ctid OPERATOR(pg_catalog.=) %s::pg_catalog.tid AND %s LIMIT 1) AS s",
							 columns ? columns : "ctid", table_name(part->leaf),
							 quote_literal_cstr(step->rows->tids[step->from]),
							 hangs_on(part->cascade, part->value)));
	step->text = SPI_processed > 0 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1) : NULL;
}
