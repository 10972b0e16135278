/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  Describes and starts the background workers of the extension.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_WORKER_H
#define RUNOPS_WORKER_H

#include "postmaster/bgworker.h"

extern void runops_describe_worker(BackgroundWorker *worker, const char *role,
								   BgWorkerStartTime start, Oid dbid);
extern BackgroundWorkerHandle *runops_start_worker(const char *role,
												   BgWorkerStartTime start,
												   Oid dbid);
extern bool runops_worker_runs(BackgroundWorkerHandle **handle);

#endif							/* RUNOPS_WORKER_H */
