/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  Proves the stores when the server starts, and again until it succeeds.
 *
 * The launcher runs as long as the server, and is not connected to a database,
 * so that the control plane's database can be dropped or copied.  From time to
 * time it starts a prover in runops.database.  The prover connects as the
 * bootstrap superuser, asks the stores that have no proof, with the
 * superuser's user mapping or PUBLIC's, and ends.  The time between two
 * provers doubles while stores are left to prove.
 *
 * The prover also records the control plane's identity for each store.
 *
 * With the flag off no store is asked.  A single prover then warns of rows
 * that the flag hides.
 *
 * The launcher also starts the cleaners; see cascade/worker.c.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/shmem.h"
#include "base/worker.h"
#include "cascade/cascade.h"
#include "gate/gate.h"
#include "topology/topology.h"
#include "launcher.h"
#include "topology/topology.h"

/* Milliseconds between two provers: first and at most. */
#define FIRST_NAP 1000L
#define LONGEST_NAP 30000L

/* Seconds until the postmaster restarts a launcher that has failed. */
#define RESTART_SECONDS 5

PGDLLEXPORT void runops_launcher_main(Datum arg);
PGDLLEXPORT void runops_prover_main(Datum arg);

/*
 * Report the result of a prover to the launcher.
 */
static void
set_outcome(RunopsProverOutcome outcome)
{
	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->outcome = outcome;
	LWLockRelease(runops_shared->lock);
}

/*
 * Prove one server unless a proof stands, and log new verdicts; returns
 * whether it is proved.
 */
static bool
prove_server(const RunopsStore *store, Oid serverid)
{
	RunopsProofState before;
	RunopsProofState state = {0};
	char	   *server = GetForeignServer(serverid)->servername;

	runops_sentinel_peek(serverid, &before);
	if (runops_sentinel_verdict(serverid, BOOTSTRAP_SUPERUSERID, &state) == RUNOPS_DISTINCT)
	{
		if (before.verdict != RUNOPS_DISTINCT)
			ereport(LOG,
					(errmsg("store \"%s\" is proved distinct by server \"%s\"",
							store->store, server)));
		return true;
	}

	if (before.verdict != state.verdict || strcmp(before.reason, state.reason) != 0)
		ereport(WARNING,
				(errmsg("the gate to store \"%s\" is closed by server \"%s\"",
						store->store, server),
				 errdetail("%s", state.reason),
				 runops_gate_hint(state.cause) ?
				 errhint("%s", runops_gate_hint(state.cause)) : 0));

	return false;
}

/*
 * Prove all stores of the database; returns the outcome.
 */
static RunopsProverOutcome
prove_stores(void)
{
	Oid			namespaceid = get_namespace_oid(RUNOPS_SCHEMA, true);
	bool		any_store = false;
	bool		all_proved = true;
	ListCell   *lc;

	if (!OidIsValid(get_extension_oid("runops", true)) ||
		!OidIsValid(get_relname_relid("store_identity", namespaceid)))
		return RUNOPS_PROVER_NO_EXTENSION;

	foreach(lc, runops_stores())
	{
		RunopsStore *store = (RunopsStore *) lfirst(lc);
		char		reason[RUNOPS_REASON_LEN];

		if (OidIsValid(store->serverid))
		{
			any_store = true;
			if (!prove_server(store, store->serverid))
				all_proved = false;
			else if (runops_identity_compare(store->store, reason) == RUNOPS_RECORD_NONE)
				runops_identity_record(store->store, false);
		}
		if (OidIsValid(store->readerid) && !prove_server(store, store->readerid))
			all_proved = false;
	}

	if (!any_store)
		return RUNOPS_PROVER_NO_STORE;

	return all_proved ? RUNOPS_PROVER_PROVED : RUNOPS_PROVER_CLOSED;
}

/*
 * The prover: one transaction in the control plane's database.
 */
void
runops_prover_main(Datum arg)
{
	RunopsProverOutcome outcome = RUNOPS_PROVER_CLOSED;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "proving the stores of runops");

	if (runops_gate_flag_off())
		runops_held_warn();
	else
		outcome = prove_stores();

	PopActiveSnapshot();
	CommitTransactionCommand();
	set_outcome(outcome);
}

/*
 * Start a prover and wait until it has ended; returns its outcome.
 */
static RunopsProverOutcome
run_prover(Oid dbid)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	RunopsProverOutcome outcome;

	set_outcome(RUNOPS_PROVER_CLOSED);

	runops_describe_worker(&worker, "prover", BgWorkerStart_ConsistentState, dbid);

	/*
	 * no worker slot is free: the first use of a store or the next prover
	 * proves it
	 */
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return RUNOPS_PROVER_CLOSED;
	if (WaitForBackgroundWorkerShutdown(handle) == BGWH_POSTMASTER_DIED)
		proc_exit(1);
	pfree(handle);

	LWLockAcquire(runops_shared->lock, LW_SHARED);
	outcome = runops_shared->outcome;
	LWLockRelease(runops_shared->lock);

	return outcome;
}

/*
 * The OID of runops.database, or InvalidOid if it does not exist.
 *
 * This is a sequential scan, because a process without a database may not be
 * able to use indexes.
 */
static Oid
find_database(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	Oid			dbid = InvalidOid;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();

	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (strcmp(NameStr(database->datname), runops_database) == 0 &&
			database->datallowconn)
			dbid = database->oid;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);

	CommitTransactionCommand();

	return dbid;
}

/*
 * Run a prover if it is due; returns the milliseconds until the next one.
 *
 * With the flag off only one prover runs in the life of the launcher.
 */
static long
prove_if_due(Oid dbid)
{
	static RunopsProverOutcome last = RUNOPS_PROVER_NO_EXTENSION;
	static long nap = FIRST_NAP;
	static TimestampTz due = 0;
	static bool ended = false;
	TimestampTz now = GetCurrentTimestamp();
	RunopsProverOutcome outcome = RUNOPS_PROVER_NO_EXTENSION;

	if (ended)
		return LONGEST_NAP;
	if (due > now)
		return TimestampDifferenceMilliseconds(now, due);

	if (OidIsValid(dbid))
		outcome = run_prover(dbid);
	if (runops_gate_flag_off())
	{
		ended = true;
		return LONGEST_NAP;
	}

	if (outcome == RUNOPS_PROVER_NO_STORE && last != outcome)
		ereport(WARNING,
				(errmsg("\"runops.split_enabled\" is on, but no store is configured"),
				 errdetail("Database \"%s\" has the extension and no store with a server; all rows are in \"%s\".",
						   runops_database, RUNOPS_LEGACY_STORE),
				 errhint("Use runops.add_store(), or set \"runops.split_enabled\" to off and restart the server.")));
	if (outcome == RUNOPS_PROVER_PROVED)
		nap = LONGEST_NAP;
	else if (last == RUNOPS_PROVER_PROVED)
		nap = FIRST_NAP;
	last = outcome;

	due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), nap);
	nap = Min(nap * 2, LONGEST_NAP);

	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), due);
}

/*
 * The launcher: runs provers with pauses, and cleaners when they are needed,
 * as long as the server runs.
 */
void
runops_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	runops_cleaner_set_launcher();

	for (;;)
	{
		Oid			dbid;
		long		nap;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		dbid = find_database();
		nap = prove_if_due(dbid);
		nap = Min(nap, runops_cleaner_manage(dbid));

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 nap, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/*
 * Register the launcher with the postmaster.
 *
 * The launcher does not run under pg_upgrade, which must not contact other
 * databases, and whose catalogs are not yet complete.
 */
void
runops_launcher_init(void)
{
	BackgroundWorker worker;

	if (IsBinaryUpgrade || runops_database[0] == '\0')
		return;

	runops_describe_worker(&worker, "launcher", BgWorkerStart_ConsistentState, InvalidOid);
	worker.bgw_restart_time = RESTART_SECONDS;
	RegisterBackgroundWorker(&worker);
}
