/*-------------------------------------------------------------------------
 *
 * runops.c
 *	  Module entry point: starts each part of the extension in order.
 *
 * Without shared_preload_libraries the library is loaded by the first call of
 * one of its functions, too late for postmaster settings and for hooks that
 * have to see every statement.  The id functions work in that case; what needs
 * the gate reports why it cannot (see gate/gate.c).
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "base/compat.h"
#include "base/guc.h"
#include "control_plane/control_plane.h"
#include "gate/gate.h"
#include "hooks.h"
#include "launcher.h"
#include "base/guc.h"
#include "gate/gate.h"
#include "xact/xact.h"

RUNOPS_MODULE_MAGIC;

void		_PG_init(void);

/*
 * Define the settings, and, when preloaded, check them and install the hooks.
 *
 * The boot check comes last among the settings because it compares several of
 * them, and its error stops the postmaster.
 */
void
_PG_init(void)
{
	runops_guc_init();
	runops_hooks_init_protection();

	if (!process_shared_preload_libraries_in_progress)
		return;

	runops_guc_check_boot();
	runops_gate_init();
	runops_watch_init();
	runops_launcher_init();
	runops_hooks_init();
}
