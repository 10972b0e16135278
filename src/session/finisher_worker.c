/*-------------------------------------------------------------------------
 *
 * finisher_worker.c
 *	  Runs the worker that finishes prepared transactions, and decides when to
 *	  start it.
 *
 * A finisher makes one pass (finisher.c) and ends, so that the database can be
 * dropped or copied.  The launcher starts one after the server has started or
 * was promoted, and when a backend has left something prepared.  After that the
 * time between two passes doubles up to a limit: a store may receive PREPARE
 * TRANSACTION long after its backend has given up.  While something is left,
 * the limit is lower.
 *
 * Databases other than runops.database have no finisher; a user must call
 * runops.finish_prepared() there.  With the flag off no store is asked.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "base/worker.h"
#include "gate/gate.h"
#include "session/session_int.h"
#include "topology/topology.h"

/*
 * Milliseconds to the next finisher: the first, the last while something is
 * left, and the last without a reason.
 */
#define FIRST_NAP 250L
#define LONGEST_NAP 30000L
#define IDLE_NAP 300000L

PGDLLEXPORT void runops_finisher_main(Datum arg);

/*
 * The finisher: one pass.
 */
void
runops_finisher_main(Datum arg)
{
	bool		left = false;
	int			finished = 0;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	SetConfigOption("application_name", "runops finisher", PGC_USERSET, PGC_S_SESSION);

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "finishing prepared transactions of runops");
	if (!runops_gate_flag_off() && OidIsValid(runops_config_table_oid("commit_decision")))
		finished = runops_finish_pass(NULL, false, true, &left);
	PopActiveSnapshot();
	CommitTransactionCommand();

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->finisher.ended = true;
	runops_shared->finisher.left = left;
	runops_shared->finisher.found = finished > 0;
	LWLockRelease(runops_shared->lock);
}

/*
 * Start a finisher; returns its handle, or NULL if no worker slot is free.
 */
static BackgroundWorkerHandle *
start_finisher(Oid dbid)
{
	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->finisher.wanted = false;
	runops_shared->finisher.ended = false;
	LWLockRelease(runops_shared->lock);

	return runops_start_worker("finisher", BgWorkerStart_RecoveryFinished, dbid);
}

/*
 * Start a finisher if there is a reason.  Returns the milliseconds after which
 * the launcher must call this again, unless it is woken before.
 *
 * dbid is the database, or InvalidOid if there is none.
 */
long
runops_finisher_manage(Oid dbid)
{
	static BackgroundWorkerHandle *handle = NULL;
	static TimestampTz due = 0; /* of the next finisher; 0: now */
	static long nap = FIRST_NAP;
	TimestampTz now = GetCurrentTimestamp();
	bool		wanted;
	bool		ended;
	bool		left;
	bool		found;

	LWLockAcquire(runops_shared->lock, LW_SHARED);
	wanted = runops_shared->finisher.wanted && runops_shared->finisher.dbid == dbid;
	ended = runops_shared->finisher.ended;
	left = runops_shared->finisher.left;
	found = runops_shared->finisher.found;
	LWLockRelease(runops_shared->lock);

	if (handle != NULL)
	{
		/* its end wakes the launcher */
		if (runops_worker_runs(&handle))
			return LONGEST_NAP;
		if (ended && found)
			nap = FIRST_NAP;
		due = TimestampTzPlusMilliseconds(now, nap);
		nap = Min(nap * 2, ended && !left ? IDLE_NAP : LONGEST_NAP);
	}

	if (RecoveryInProgress() || !OidIsValid(dbid))
	{
		due = 0;
		nap = FIRST_NAP;
		return LONGEST_NAP;
	}
	if (wanted)
		nap = FIRST_NAP;
	if (due <= now || wanted)
	{
		handle = start_finisher(dbid);
		due = TimestampTzPlusMilliseconds(now, LONGEST_NAP);
	}

	return handle != NULL ? LONGEST_NAP : TimestampDifferenceMilliseconds(now, due);
}
