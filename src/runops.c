/*-------------------------------------------------------------------------
 *
 * runops.c
 *	  Starts each part of the extension in order, as the entry point of the
 *	  module.
 *
 * If the library is not in shared_preload_libraries, the first call of one of
 * its functions loads it.  Then it is too late for postmaster settings, and
 * for hooks that must see every statement.  The id functions still work;
 * functions that need the gate report why it is closed (see gate/gate.c).
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
#include "planner/planner.h"
#include "session/session.h"
#include "shipping/shipping.h"

RUNOPS_MODULE_MAGIC;

void		_PG_init(void);

/*
 * Define the settings.  If the library is preloaded, also check them and
 * install the hooks.
 *
 * The boot check runs after all settings are defined, because it compares
 * several of them.  Its error stops the postmaster.
 */
void
_PG_init(void)
{
	runops_guc_init();
	runops_engine_init();
	runops_any_id_init();
	runops_shipping_init();
	runops_hooks_init_protection();

	if (!process_shared_preload_libraries_in_progress)
		return;

	runops_guc_check_boot();
	runops_gate_init();
	runops_watch_init();
	runops_launcher_init();
	runops_hooks_init();
}
