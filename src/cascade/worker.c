/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Runs the worker that cleans up after cascades, and decides when to start
 *	  it.
 *
 * A cleaner runs batches, each in its own transaction, until nothing more can
 * be done.  Then it ends, so that the database can be dropped or copied.  The
 * launcher starts a cleaner after the server has started or was promoted, when
 * a transaction has queued something, when failed work is due for another try,
 * when a cleaner has ended too early, and from time to time.
 *
 * Databases other than runops.database have no cleaner; a user must call
 * runops.cleanup() there.
 *
 * With the flag off a cleaner cleans up only legacy; entries for other stores
 * stay queued.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/worker.h"
#include "cascade/cascade.h"
#include "cascade/cascade_int.h"

/*
 * Milliseconds to the next cleaner after a failed one, and without a reason.
 */
#define FIRST_NAP 250L
#define LONGEST_NAP 30000L
#define IDLE_NAP 300000L

PGDLLEXPORT void runops_cleaner_main(Datum arg);

/*
 * Wake the launcher, because this transaction has queued something.
 */
void
runops_cleaner_wake(void)
{
	if (runops_shared == NULL)
		return;

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->cleaner.wanted = true;
	runops_shared->cleaner.dbid = MyDatabaseId;
	if (runops_shared->cleaner.launcher != NULL)
		SetLatch(runops_shared->cleaner.launcher);
	LWLockRelease(runops_shared->lock);
}

/*
 * The launcher ends, so it must not be woken any more.
 */
static void
forget_launcher(int code, Datum arg)
{
	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->cleaner.launcher = NULL;
	LWLockRelease(runops_shared->lock);
}

/*
 * Register the calling launcher as the process to wake.
 */
void
runops_cleaner_set_launcher(void)
{
	before_shmem_exit(forget_launcher, (Datum) 0);
	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->cleaner.launcher = MyLatch;
	LWLockRelease(runops_shared->lock);
}

/*
 * Is there a queue in this database?
 */
static bool
has_queue(void)
{
	return OidIsValid(get_extension_oid("runops", true)) &&
		OidIsValid(get_relname_relid("cascade_queue", get_namespace_oid(RUNOPS_SCHEMA, true)));
}

/*
 * The cleaner: run batches until there is nothing more to do now.
 */
void
runops_cleaner_main(Datum arg)
{
	Cleanup		cleanup = {0};
	RunopsStoreTrouble troubles[RUNOPS_MAX_TROUBLES];

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);

	/* do not wait long for rows that others have locked */
	SetConfigOption("lock_timeout", "5s", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("application_name", "runops cleaner", PGC_USERSET, PGC_S_SESSION);
	cleanup.worker = true;
	cleanup.max_rows = RUNOPS_CLEANUP_ROWS;
	LWLockAcquire(runops_shared->lock, LW_SHARED);
	memcpy(troubles, runops_shared->cleaner.troubles, sizeof(troubles));
	LWLockRelease(runops_shared->lock);
	runops_cleanup_recall(troubles);

	for (;;)
	{
		bool		queue;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		pgstat_report_activity(STATE_RUNNING, "cleaning up cascades of runops");
		queue = has_queue();
		if (queue)
			runops_cleanup_run(&cleanup);
		else
			cleanup.next = 0;
		PopActiveSnapshot();
		CommitTransactionCommand();
		pgstat_report_stat(true);
		pgstat_report_activity(STATE_IDLE, NULL);

		if (cleanup.rows > 0)
		{
			LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
			runops_shared->cleaner.worked = true;
			LWLockRelease(runops_shared->lock);
		}

		if (cleanup.next == 0 || cleanup.next > GetCurrentTimestamp())
			break;
	}

	runops_cleanup_remember(troubles);
	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->cleaner.ended = true;
	runops_shared->cleaner.next = cleanup.next;
	memcpy(runops_shared->cleaner.troubles, troubles, sizeof(troubles));
	LWLockRelease(runops_shared->lock);
}

/*
 * Start a cleaner; returns its handle, or NULL if no worker slot is free.
 */
static BackgroundWorkerHandle *
start_cleaner(Oid dbid)
{
	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->cleaner.wanted = false;
	runops_shared->cleaner.worked = false;
	runops_shared->cleaner.ended = false;
	LWLockRelease(runops_shared->lock);

	return runops_start_worker("cleaner", BgWorkerStart_RecoveryFinished, dbid);
}

/*
 * Start a cleaner if there is a reason.  Returns the milliseconds after which
 * the launcher must call this again, unless it is woken before.
 *
 * dbid is the database to clean up, or InvalidOid if there is none.
 */
long
runops_cleaner_manage(Oid dbid)
{
	static BackgroundWorkerHandle *handle = NULL;
	static TimestampTz due = 0; /* of the next cleaner; 0: now */
	static long nap = FIRST_NAP;
	TimestampTz now = GetCurrentTimestamp();
	RunopsCleaner state;

	LWLockAcquire(runops_shared->lock, LW_SHARED);
	state = runops_shared->cleaner;
	LWLockRelease(runops_shared->lock);

	if (handle != NULL)
	{
		/* its end wakes the launcher */
		if (runops_worker_runs(&handle))
			return LONGEST_NAP;
		if (state.ended)
		{
			due = TimestampTzPlusMilliseconds(now, IDLE_NAP);
			if (state.next != 0 && state.next < due)
				due = state.next;
			nap = FIRST_NAP;
		}
		else
		{
			/*
			 * do not slow down if a cleaner that has made progress was killed
			 */
			if (state.worked)
				nap = FIRST_NAP;
			due = TimestampTzPlusMilliseconds(now, nap);
			nap = Min(nap * 2, LONGEST_NAP);
		}
	}

	if (RecoveryInProgress() || !OidIsValid(dbid))
	{
		due = 0;
		return LONGEST_NAP;
	}
	if (due <= now || (state.wanted && state.dbid == dbid))
	{
		handle = start_cleaner(dbid);
		due = TimestampTzPlusMilliseconds(now, LONGEST_NAP);
	}

	return handle != NULL ? LONGEST_NAP : TimestampDifferenceMilliseconds(now, due);
}
