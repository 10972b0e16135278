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
 * The launcher also starts the cleaners (cascade/worker.c), the finishers
 * (session/finisher_worker.c), and the worker that asks what stores have
 * committed (session/commit_record.c).
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
#include "session/session.h"
#include "topology/topology.h"
#include "launcher.h"

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
 *
 * If this database has no record of the control plane for the store of a
 * writer, a server that is proved is asked again, so that the store gets a
 * record too.
 */
static bool
prove_server(const RunopsStore *store, Oid serverid, bool no_record,
			 RunopsProofState *state)
{
	RunopsProofState before;
	char	   *server = GetForeignServer(serverid)->servername;
	bool		proved = runops_sentinel_distinct(serverid);

	runops_sentinel_peek(serverid, &before);
	memset(state, 0, sizeof(RunopsProofState));
	if (proved && !no_record)
		return true;

	runops_sentinel_probe(serverid, BOOTSTRAP_SUPERUSERID, proved,
						  RUNOPS_PROBE_CLAIM, state);
	if (state->verdict == RUNOPS_DISTINCT)
	{
		if (before.verdict != RUNOPS_DISTINCT)
			ereport(LOG,
					(errmsg("store \"%s\" is proved distinct by server \"%s\"",
							store->store, server)));
		return true;
	}

	if (before.verdict != state->verdict || strcmp(before.reason, state->reason) != 0)
		ereport(WARNING,
				(errmsg("the gate to store \"%s\" is closed by server \"%s\"",
						store->store, server),
				 errdetail("%s", state->reason),
				 runops_gate_hint(state->cause) ?
				 errhint("%s", runops_gate_hint(state->cause)) : 0));

	return false;
}

/*
 * Prove the writer of a store; returns whether it is proved.  Sets *succeeded
 * if this server was promoted and takes the store over, which the next proof
 * completes.
 */
static bool
prove_writer(const RunopsStore *store, bool *succeeded)
{
	RunopsOwnRecord own;
	RunopsProofState state;
	bool		no_record;

	runops_identity_read(store->store, &own);
	no_record = own.kind == RUNOPS_RECORD_NONE && !RecoveryInProgress();

	if (prove_server(store, store->serverid, no_record, &state))
	{
		if (no_record)
			runops_identity_record(store->store, false, &state);
		return true;
	}
	if (runops_identity_succeed(store->store, &state))
	{
		ereport(LOG,
				(errmsg("this server was promoted, and takes over store \"%s\"",
						store->store)));
		*succeeded = true;
	}

	return false;
}

/*
 * Prove all stores of the database; returns the outcome.
 */
static RunopsProverOutcome
prove_stores(bool *succeeded)
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
		RunopsProofState state;

		if (OidIsValid(store->serverid))
		{
			any_store = true;
			if (!prove_writer(store, succeeded))
				all_proved = false;
		}
		if (OidIsValid(store->readerid) &&
			!prove_server(store, store->readerid, false, &state))
			all_proved = false;
	}

	if (!any_store)
		return RUNOPS_PROVER_NO_STORE;

	return all_proved ? RUNOPS_PROVER_PROVED : RUNOPS_PROVER_CLOSED;
}

/*
 * Prove the stores in a transaction.
 */
static RunopsProverOutcome
prove_in_transaction(bool *succeeded)
{
	RunopsProverOutcome outcome = RUNOPS_PROVER_CLOSED;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "proving the stores of runops");

	if (runops_gate_flag_off())
		runops_held_warn();
	else
		outcome = prove_stores(succeeded);

	PopActiveSnapshot();
	CommitTransactionCommand();

	return outcome;
}

/*
 * The prover: one transaction in the control plane's database, and a second
 * one if the first has recorded that a store is taken over.
 */
void
runops_prover_main(Datum arg)
{
	RunopsProverOutcome outcome;
	bool		succeeded = false;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);

	outcome = prove_in_transaction(&succeeded);
	if (succeeded)
		outcome = prove_in_transaction(&succeeded);
	set_outcome(outcome);
}

/*
 * Start a prover and wait until it has ended; returns its outcome.
 */
static RunopsProverOutcome
run_prover(Oid dbid)
{
	BackgroundWorkerHandle *handle;
	RunopsProverOutcome outcome;

	set_outcome(RUNOPS_PROVER_CLOSED);

	/*
	 * no worker slot is free: the first use of a store or the next prover
	 * proves it
	 */
	handle = runops_start_worker("prover", BgWorkerStart_ConsistentState, dbid);
	if (handle == NULL)
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
 * The milliseconds until a time, but at most one short nap while this server
 * is in recovery, because nobody wakes the launcher when it is promoted.
 */
static long
time_to(TimestampTz due, bool in_recovery)
{
	long		ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), due);

	return in_recovery ? Min(ms, FIRST_NAP) : ms;
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
	static bool in_recovery = false;
	TimestampTz now = GetCurrentTimestamp();
	RunopsProverOutcome outcome = RUNOPS_PROVER_NO_EXTENSION;

	if (ended)
		return LONGEST_NAP;

	/* after a promotion no proof stands */
	if (in_recovery && !RecoveryInProgress())
	{
		due = 0;
		nap = FIRST_NAP;
	}
	in_recovery = RecoveryInProgress();
	if (due > now)
		return time_to(due, in_recovery);

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

	return time_to(due, in_recovery);
}

/*
 * The launcher: runs provers with pauses, and cleaners and finishers when they are
 * needed, as long as the server runs.
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
		nap = Min(nap, runops_finisher_manage(dbid));
		nap = Min(nap, runops_commits_manage(dbid));

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
