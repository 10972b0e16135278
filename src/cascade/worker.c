/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The worker that cleans up after cascades, and when the launcher starts it.
 *
 * A cleaner runs batches, each in a transaction of its own, until nothing can be
 * done, and ends: so that the database can be dropped or copied meanwhile.  The
 * launcher starts one when a transaction has queued something, when what could
 * not be done is to be tried again, from time to time, after the server has
 * started or was promoted, and when one has ended before its time.
 *
 * What is queued in other databases than runops.database is cleaned up by who
 * calls runops.cleanup() there.
 *
 * With the flag off a cleaner cleans up legacy alone; what concerns other stores
 * stays queued.
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
#include "cascade/cascade.h"
#include "base/worker.h"
#include "cascade/cascade_int.h"

/* Milliseconds to the next cleaner: after one that has failed, and without a reason. */
#define FIRST_NAP 250L
#define LONGEST_NAP 30000L
#define IDLE_NAP 300000L

PGDLLEXPORT void runops_cleaner_main(Datum arg);

/*
 * Wake the launcher: this transaction has queued something.
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
 * The launcher ends: nobody is to wake it.
 */
static void
forget_launcher(int code, Datum arg)
{
	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->cleaner.launcher = NULL;
	LWLockRelease(runops_shared->lock);
}

/*
 * Let the launcher, who calls this, be woken.
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
 * The cleaner: batches, until there is nothing to do for now.
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

	/* rows that hang on something else are not worth a long wait */
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
 * Start a cleaner; its handle, or NULL if no slot is free.
 */
static BackgroundWorkerHandle *
start_cleaner(Oid dbid)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->cleaner.wanted = false;
	runops_shared->cleaner.worked = false;
	runops_shared->cleaner.ended = false;
	LWLockRelease(runops_shared->lock);

	runops_describe_worker(&worker, "cleaner", BgWorkerStart_RecoveryFinished, dbid);

	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : NULL;
}

/*
 * Let a cleaner run if there is a reason; in how many milliseconds the launcher
 * is to ask again, if nothing wakes it before.
 *
 * dbid is the database to clean up, or invalid if there is none.
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
		pid_t		pid;

		/* its end wakes us */
		if (GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
			return LONGEST_NAP;
		pfree(handle);
		handle = NULL;
		if (state.ended)
		{
			due = TimestampTzPlusMilliseconds(now, IDLE_NAP);
			if (state.next != 0 && state.next < due)
				due = state.next;
			nap = FIRST_NAP;
		}
		else
		{
			/* one that gets on and is killed is not what has to be slowed down */
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
