/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Describes and starts the background workers of the extension.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/worker.h"

/*
 * Describe the worker "runops ROLE", whose function is runops_ROLE_main().
 *
 * The worker connects to databases and is not restarted. dbid is its argument.
 * If it is valid, this process is notified when the worker starts and ends.
 */
void
runops_describe_worker(BackgroundWorker *worker, const char *role,
					   BgWorkerStartTime start, Oid dbid)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = start;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker->bgw_library_name, sizeof(worker->bgw_library_name), "runops");
	snprintf(worker->bgw_function_name, sizeof(worker->bgw_function_name), "runops_%s_main", role);
	snprintf(worker->bgw_name, sizeof(worker->bgw_name), "runops %s", role);
	snprintf(worker->bgw_type, sizeof(worker->bgw_type), "runops %s", role);
	worker->bgw_main_arg = ObjectIdGetDatum(dbid);
	if (OidIsValid(dbid))
		worker->bgw_notify_pid = MyProcPid;
}

/*
 * Start the worker "runops ROLE" now; see runops_describe_worker().  Returns its
 * handle, in the current memory context, or NULL if no worker slot is free.
 */
BackgroundWorkerHandle *
runops_start_worker(const char *role, BgWorkerStartTime start, Oid dbid)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	runops_describe_worker(&worker, role, start, dbid);

	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : NULL;
}

/*
 * Has a worker not ended yet?  The handle of one that has is freed, and becomes
 * NULL.
 */
bool
runops_worker_runs(BackgroundWorkerHandle **handle)
{
	pid_t		pid;

	if (GetBackgroundWorkerPid(*handle, &pid) != BGWH_STOPPED)
		return true;
	pfree(*handle);
	*handle = NULL;

	return false;
}
