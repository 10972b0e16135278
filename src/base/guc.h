/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  The settings of the extension; docs/settings.md explains each.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_GUC_H
#define RUNOPS_GUC_H

/* The values of runops.cross_store_snapshots and runops.cross_store_writes. */
typedef enum RunopsCrossStore
{
	RUNOPS_CROSS_STORE_ALLOW,
	RUNOPS_CROSS_STORE_WARN,
	RUNOPS_CROSS_STORE_ERROR
} RunopsCrossStore;

extern int	runops_attach_scan_limit;
extern int	runops_cache_max_entries;
extern int	runops_control_plane_cache_ttl;
extern char *runops_database;
extern bool runops_expect_control_plane_split;
extern bool runops_mint_enabled;
extern int	runops_mint_flip_grace;
extern bool runops_split_enabled;
extern bool runops_native_realtime_enabled;
extern bool runops_enable_routing;
extern bool runops_enable_shipping;
extern int	runops_commit_timeout;
extern int	runops_remote_timeout;
extern int	runops_store_lock_timeout;
extern int	runops_cross_store_snapshots;
extern int	runops_cross_store_writes;
extern bool runops_track_wait_timing;

extern void runops_guc_init(void);
extern void runops_guc_check_boot(void);

#endif							/* RUNOPS_GUC_H */
