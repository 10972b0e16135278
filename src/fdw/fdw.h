/*-------------------------------------------------------------------------
 *
 * fdw.h
 *	  What the hooks tell the foreign-data wrapper.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_FDW_H
#define RUNOPS_FDW_H

#include "executor/execdesc.h"

/* in look_ahead.c */
extern void runops_fdw_note_run(QueryDesc *desc, uint64 count);

#endif							/* RUNOPS_FDW_H */
