/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  The settings of the extension and the rules among them at boot.
 *
 * A check hook that rejects a value does not stop the server from starting: it
 * starts with the default and a WARNING.  For settings that decide where rows
 * go that would be the dangerous outcome, so rules that must hold at boot are
 * raised from runops_guc_check_boot(), once all variables are defined.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/guc.h"

/*
 * Milliseconds that the value of a resolver may be used, and how many values
 * the cache keeps of each resolver in each database.
 */
int			runops_control_plane_cache_ttl = 30000;
int			runops_cache_max_entries = 10000;

/*
 * The planner hooks.  Rows are the same without them; a superuser turns them
 * off to compare plans or to find out whether a hook is at fault.
 */
bool		runops_enable_routing = true;

/*
 * The database that the worker connects to, to prove the stores when the server
 * starts.  It is the control plane's; the stores of other databases are proved
 * by their first use.
 */
char	   *runops_database = NULL;

/*
 * The operator expects "legacy" in a database of its own, and wants no split
 * where it is found in the control plane's.
 */
bool		runops_expect_control_plane_split = false;

/*
 * Roots of families may get ids of other stores, as their organizations' flags
 * say; without it each is a cuid.
 */
bool		runops_mint_enabled = false;

/*
 * Milliseconds that a flipped mint kind keeps its old value, so that every
 * session knows of the flip before it takes effect.
 */
int			runops_mint_flip_grace = 90000;

/*
 * The realtime backend reads runs itself and does not depend on replicating
 * the control plane.  Whoever turns the split on has to vouch for it: rows of
 * other stores never reach a backend that replicates the control plane.
 */
bool		runops_native_realtime_enabled = false;

/*
 * The operator's flag: stores other than legacy may be used.  It cannot change
 * while the server runs, so plans may rely on it.
 */
bool		runops_split_enabled = false;

/*
 * Milliseconds that a set-up function may be kept waiting by a store after it
 * has connected; 0 is for ever.
 */
int			runops_remote_timeout = 0;

/*
 * What to do when one transaction writes to two stores.
 */
int			runops_cross_store_writes = RUNOPS_CROSS_STORE_WARN;

/* The values of runops.cross_store_writes. */
static const struct config_enum_entry cross_store_writes_options[] = {
	{"allow", RUNOPS_CROSS_STORE_ALLOW, false},
	{"warn", RUNOPS_CROSS_STORE_WARN, false},
	{"error", RUNOPS_CROSS_STORE_ERROR, false},
	{NULL, 0, false}
};

/*
 * Refuse to start the server with a value of a gate setting that is no boolean.
 *
 * Called before the variable is defined: that drops the value with a WARNING.
 */
static void
check_boot_bool(const char *name)
{
	const char *value = GetConfigOption(name, true, false);
	bool		result;

	if (value != NULL && !parse_bool(value, &result))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("invalid value for parameter \"%s\": \"%s\"", name, value),
				 errdetail("The server does not start with a default in place of a setting that decides where rows go."),
				 errhint("Set it to on or off.")));
}

/*
 * Define the settings; those that only the postmaster may change are known
 * only to a preloaded library.
 */
void
runops_guc_init(void)
{
	DefineCustomIntVariable("runops.control_plane_cache_ttl",
							"Sets how long what a resolver has read is used.",
							"A resolver may have a time of its own.  Zero caches nothing.",
							&runops_control_plane_cache_ttl,
							30000, 0, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomBoolVariable("runops.enable_routing",
							 "Enables the planner hooks of routed tables.",
							 "Queries return the same rows when it is off.",
							 &runops_enable_routing,
							 true,
							 PGC_SUSET,
							 GUC_EXPLAIN,
							 NULL, NULL, NULL);

	DefineCustomEnumVariable("runops.cross_store_writes",
							 "Sets what happens when one transaction writes to two stores.",
							 "The stores commit one after the other, so that such a transaction is not atomic.",
							 &runops_cross_store_writes,
							 RUNOPS_CROSS_STORE_WARN,
							 cross_store_writes_options,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("runops.mint_enabled",
							 "Lets new roots get ids of other stores.",
							 "When it is off, every new root gets a cuid.",
							 &runops_mint_enabled,
							 false,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("runops.mint_flip_grace",
							"Sets how long a flipped mint kind keeps its old value.",
							"A value of 0 lets each session follow as it learns of the flip.",
							&runops_mint_flip_grace,
							90000, 0, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("runops.remote_timeout",
							"Sets how long a set-up function may be kept waiting by a store.",
							"The time to connect is not counted.  A value of 0 turns this off.",
							&runops_remote_timeout,
							0, 0, INT_MAX,
							PGC_USERSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	if (process_shared_preload_libraries_in_progress)
	{
		check_boot_bool("runops.expect_control_plane_split");
		check_boot_bool("runops.native_realtime_enabled");
		check_boot_bool("runops.split_enabled");

		DefineCustomIntVariable("runops.control_plane_cache_max_entries",
								"Sets how many values are cached for each resolver in each database.",
								"The oldest gives way to a new one.",
								&runops_cache_max_entries,
								10000, 1, INT_MAX,
								PGC_POSTMASTER,
								0,
								NULL, NULL, NULL);

		DefineCustomStringVariable("runops.database",
								   "Sets the control-plane database in which stores are proved when the server starts.",
								   "An empty string starts no worker: the first use of a store proves it.",
								   &runops_database,
								   "postgres",
								   PGC_POSTMASTER,
								   0,
								   NULL, NULL, NULL);

		DefineCustomBoolVariable("runops.expect_control_plane_split",
								 "Closes the gate while \"legacy\" is in the control plane's database.",
								 NULL,
								 &runops_expect_control_plane_split,
								 false,
								 PGC_POSTMASTER,
								 0,
								 NULL, NULL, NULL);

		DefineCustomBoolVariable("runops.native_realtime_enabled",
								 "Declares that the realtime backend does not depend on replicating the control plane.",
								 "The split refuses to start without it.",
								 &runops_native_realtime_enabled,
								 false,
								 PGC_POSTMASTER,
								 0,
								 NULL, NULL, NULL);

		DefineCustomBoolVariable("runops.split_enabled",
								 "Allows stores other than \"legacy\" to be used.",
								 "When it is off, no other database is ever contacted.",
								 &runops_split_enabled,
								 false,
								 PGC_POSTMASTER,
								 0,
								 NULL, NULL, NULL);
	}

	MarkGUCPrefixReserved("runops");
}

/*
 * Refuse to start the server with settings that contradict each other.
 */
void
runops_guc_check_boot(void)
{
	if (runops_split_enabled && !runops_native_realtime_enabled)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("\"runops.split_enabled\" requires \"runops.native_realtime_enabled\""),
				 errdetail("A realtime backend that replicates the control plane cannot see rows of other stores, and its subscribers would wait for ever."),
				 errhint("Set \"runops.native_realtime_enabled\" to on once the realtime backend reads runs itself, or \"runops.split_enabled\" to off.")));
}
