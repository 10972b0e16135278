/*-------------------------------------------------------------------------
 *
 * utility.c
 *	  The callbacks of runops_fdw for ANALYZE, TRUNCATE and IMPORT FOREIGN
 *	  SCHEMA.
 *
 * ANALYZE of a routed table samples every store, also in a database-wide
 * ANALYZE and in the worker of autovacuum.  A store that cannot be asked costs
 * its own statistics and a warning; it must not cost everyone else's.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "fdw/fdw_int.h"
#include "gate/gate.h"
#include "session/session.h"
#include "topology/topology.h"

/* postgres_fdw's function to take a sample, once it has told us */
static AcquireSampleRowsFunc pgfdw_acquire_sample = NULL;

/*
 * Report that the statistics of a foreign table stay as they are, with the
 * error of the store as the reason.
 *
 * A cancel of ours, a lack of memory and an internal error are not the store's:
 * they are raised again.
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
 * Take a sample of a foreign table; no rows, with a warning, if the store
 * fails meanwhile.
 *
 * The work is done in a subtransaction, whose abort also brings the store's
 * connection back to a usable state.
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
 * False, which core reports as skipped, if the gate is closed or the store
 * cannot be asked.
 */
static bool
runopsAnalyzeForeignTable(Relation relation, AcquireSampleRowsFunc *func,
						  BlockNumber *totalpages)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	const char *reason = runops_gate_closed_reason();
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
		reason = state.reason;

	if (reason != NULL)
	{
		/* with one database and no more, there is nothing to warn of */
		if (!runops_fdw_is_empty(RelationGetRelid(relation)))
			ereport(WARNING,
					(errcode(ERRCODE_RUNOPS_GATE_CLOSED),
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
 * Empty foreign tables, which are empty already while the flag is off.
 */
static void
runopsExecForeignTruncate(List *rels, DropBehavior behavior, bool restart_seqs)
{
	RunopsFdwCall call;
	RunopsStoreUse use;
	Oid			relid;

	relid = RelationGetRelid((Relation) linitial(rels));
	if (runops_fdw_is_empty(relid))
		return;

	use = runops_fdw_use(relid, GetUserId());
	runops_fdw_enter_table(&call, relid, true);
	runops_conn_prepare(&use);
	pgfdw.ExecForeignTruncate(rels, behavior, restart_seqs);
	runops_fdw_leave(&call);
}

/*
 * Ask a store for the definitions of its tables.
 */
static List *
runopsImportForeignSchema(ImportForeignSchemaStmt *stmt, Oid serverOid)
{
	RunopsStoreUse use = {.serverid = serverOid,.userid = GetUserId()};

	runops_gate_require_server(serverOid, GetUserId(),
							   GetForeignServer(serverOid)->servername, NULL);
	runops_conn_prepare(&use);

	return pgfdw.ImportForeignSchema(stmt, serverOid);
}

/*
 * Lay the callbacks of utility commands over postgres_fdw's.
 */
void
runops_fdw_utility_callbacks(FdwRoutine *routine)
{
	routine->AnalyzeForeignTable = runopsAnalyzeForeignTable;
	routine->ExecForeignTruncate = runopsExecForeignTruncate;
	routine->ImportForeignSchema = runopsImportForeignSchema;
}
