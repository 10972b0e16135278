/*-------------------------------------------------------------------------
 *
 * fdw.h
 *	  What the files of the foreign-data wrapper share among themselves.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_FDW_H
#define RUNOPS_FDW_H

#include "foreign/fdwapi.h"
#include "utils/rel.h"

/* in fdw.c */
extern FdwRoutine pgfdw;
extern const char *runops_fdw_store_label(Oid relid);
extern void runops_fdw_gate_require(Oid relid);

/* in fdw_plan.c */
extern void runops_fdw_plan_callbacks(FdwRoutine *routine);

extern bool runops_fdw_uses_remote_estimate(Oid foreigntableid);

/* in fdw_paths.c */
extern void runopsGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel,
								  Oid foreigntableid);

/* in fdw_exec.c */
extern void runops_fdw_exec_callbacks(FdwRoutine *routine);

/* in fdw_utility.c */
extern void runops_fdw_utility_callbacks(FdwRoutine *routine);

#endif							/* RUNOPS_FDW_H */
