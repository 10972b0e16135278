/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  Describes a background worker of the extension.
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

#endif							/* RUNOPS_WORKER_H */
