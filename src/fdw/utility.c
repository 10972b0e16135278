/*-------------------------------------------------------------------------
 *
 * utility.c
 *	  Implements the callbacks of runops_fdw for ANALYZE, TRUNCATE and IMPORT
 *	  FOREIGN SCHEMA.
 *
 * ANALYZE of a routed table samples every store, also in a database-wide
 * ANALYZE and in autovacuum workers.  If a store cannot be asked, only its own
 * statistics are skipped, with a warning; the other statistics must not
 * suffer.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "fdw/fdw_int.h"
#include "gate/gate.h"
#include "session/session.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* postgres_fdw's function to take a sample, once it was set */
static AcquireSampleRowsFunc pgfdw_acquire_sample = NULL;

/*
 * Report that the statistics of a foreign table are kept, with the error of
 * the store as the reason.
 *
 * A local cancel, a lack of memory and an internal error are not errors of the
 * store, so they are raised again.
 */
static void
warn_cannot_analyze(Relation relation, ErrorData *edata)
{
	if (runops_cancelled_here(edata) ||
		edata->sqlerrcode == ERRCODE_OUT_OF_MEMORY ||
		ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_INTERNAL_ERROR)
		ReThrowError(edata);

	ereport(WARNING,
			(errcode(edata->sqlerrcode),
			 errmsg("skipping \"%s\" --- cannot analyze it in store \"%s\"",
					RelationGetRelationName(relation),
					runops_store_label(RelationGetRelid(relation))),
			 edata->detail ?
			 errdetail("%s: %s", edata->message, edata->detail) :
			 errdetail("%s.", edata->message)));
	FreeErrorData(edata);
}

/*
 * Take a sample of a foreign table.  If the store fails, the result is no rows
 * and a warning.
 *
 * This runs in a subtransaction, whose abort also makes the connection to the
 * store usable again.
 */
static int
acquire_sample(Relation relation, int elevel, HeapTuple *rows, int targrows,
			   double *totalrows, double *totaldeadrows)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	volatile int numrows = 0;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		numrows = pgfdw_acquire_sample(relation, elevel, rows, targrows,
									   totalrows, totaldeadrows);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(oldcontext);
		edata = CopyErrorData();
		FlushErrorState();

		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;

		warn_cannot_analyze(relation, edata);
		numrows = 0;
		*totalrows = relation->rd_rel->reltuples;
		*totaldeadrows = 0;
	}
	PG_END_TRY();

	if (numrows > 0)
		runops_held_note(RelationGetRelid(relation));

	return numrows;
}

/*
 * Can the foreign table be analyzed, by which function, and how large is it?
 *
 * Returns false, which core reports as skipped, if the gate is closed or the
 * store cannot be asked.
 */
static bool
runopsAnalyzeForeignTable(Relation relation, AcquireSampleRowsFunc *func,
						  BlockNumber *totalpages)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	const char *reason = runops_gate_closed_reason();
	int			sqlerrcode = ERRCODE_RUNOPS_GATE_CLOSED;
	RunopsProofState state;
	volatile bool ok = false;
	RunopsStoreUse use = {
		.relid = RelationGetRelid(relation),
		.serverid = GetForeignServerIdByRelId(RelationGetRelid(relation)),
		/* as the owner of the table, like all of ANALYZE */
		.userid = relation->rd_rel->relowner
	};

	if (reason == NULL &&
		runops_sentinel_verdict(use.serverid, use.userid, &state) != RUNOPS_DISTINCT)
	{
		reason = state.reason;
		sqlerrcode = runops_gate_sqlerrcode(state.cause);
	}

	if (reason != NULL)
	{
		/* if there is only one database, no warning is needed */
		if (!runops_fdw_is_empty(RelationGetRelid(relation)))
			ereport(WARNING,
					(errcode(sqlerrcode),
					 errmsg("skipping \"%s\" --- the gate to store \"%s\" is closed",
							RelationGetRelationName(relation),
							runops_store_label(RelationGetRelid(relation))),
					 errdetail("%s", reason)));
		return false;
	}

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		runops_conn_prepare(&use);
		ok = pgfdw.AnalyzeForeignTable(relation, &pgfdw_acquire_sample,
									   totalpages);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(oldcontext);
		edata = CopyErrorData();
		FlushErrorState();

		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;

		warn_cannot_analyze(relation, edata);
		ok = false;
	}
	PG_END_TRY();

	*func = acquire_sample;

	return ok;
}

/*
 * Is a foreign table truncatable by its options, or else by those of its server?
 */
static bool
is_truncatable(Oid relid)
{
	ForeignTable *table = GetForeignTable(relid);
	List	   *options = list_concat_copy(GetForeignServer(table->serverid)->options, table->options);
	bool		truncatable = true;
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, "truncatable") == 0)
			truncatable = defGetBoolean(def);
	}

	return truncatable;
}

/*
 * Truncate foreign tables; while the flag is off they are empty already.
 */
static void
runopsExecForeignTruncate(List *rels, DropBehavior behavior, bool restart_seqs)
{
	RunopsFdwCall call;
	RunopsStoreUse use;
	Oid			relid;
	StringInfoData sql;
	ListCell   *lc;

	relid = RelationGetRelid((Relation) linitial(rels));
	if (runops_fdw_is_empty(relid))
		return;

	use = runops_fdw_use(relid, GetUserId());
	initStringInfo(&sql);
	foreach(lc, rels)
	{
		const char *schema;
		const char *table;

		if (!is_truncatable(RelationGetRelid((Relation) lfirst(lc))))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("foreign table \"%s\" does not allow truncates",
							RelationGetRelationName((Relation) lfirst(lc)))));
		runops_fdw_remote_name(RelationGetRelid((Relation) lfirst(lc)), &schema, &table);
		appendStringInfo(&sql, "%s%s", sql.len == 0 ? "TRUNCATE " : ", ",
						 quote_qualified_identifier(schema, table));
	}
	appendStringInfo(&sql, " %s IDENTITY %s", restart_seqs ? "RESTART" : "CONTINUE",
					 behavior == DROP_RESTRICT ? "RESTRICT" : "CASCADE");

	runops_fdw_enter_table(&call, relid, true);
	runops_fdw_one_role(&use, true);
	runops_conn_execute(runops_conn_get(&use), relid, GetCurrentCommandId(true), sql.data,
						1, 0, NULL, false, NULL, NULL);
	runops_fdw_leave(&call);
}

/*
 * Get the definitions of a store's tables.
 */
static List *
runopsImportForeignSchema(ImportForeignSchemaStmt *stmt, Oid serverOid)
{
	RunopsStoreUse use = {.serverid = serverOid, .userid = GetUserId()};

	runops_gate_require_server(serverOid, GetUserId(),
							   GetForeignServer(serverOid)->servername, NULL);
	runops_conn_prepare(&use);

	return pgfdw.ImportForeignSchema(stmt, serverOid);
}

/*
 * Replace the callbacks of postgres_fdw for utility commands by ours.
 */
void
runops_fdw_utility_callbacks(FdwRoutine *routine)
{
	routine->AnalyzeForeignTable = runopsAnalyzeForeignTable;
	routine->ExecForeignTruncate = runopsExecForeignTruncate;
	routine->ImportForeignSchema = runopsImportForeignSchema;
}
