/*-------------------------------------------------------------------------
 *
 * reset_stats.c
 *	  Sets the counters of all modules to zero.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "control_plane/control_plane.h"
#include "xact/xact.h"

PG_FUNCTION_INFO_V1(runops_reset_stats);

/*
 * reset_stats(): set the counters of this database to zero.
 */
Datum
runops_reset_stats(PG_FUNCTION_ARGS)
{
	runops_cache_reset_counters();
	runops_stats_reset();

	PG_RETURN_VOID();
}
