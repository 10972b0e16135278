/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  Defines the settings of the extension and checks their rules at server
 *	  start.
 *
 * A check hook that rejects a value does not stop the server from starting:
 * the server uses the default and logs a WARNING.  That would be dangerous for
 * settings that decide where rows go.  So runops_guc_check_boot() raises an
 * error for the rules that must hold at server start, once all variables are
 * defined.
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
 * How many kilobytes of a table attach may read under its lock, unless it is
 * forced; -1 means no limit.  Only SQL functions read it.
 */
int			runops_attach_scan_limit = 1024 * 1024;

/*
 * How many milliseconds the value of a resolver may be used, and how many
 * values the cache keeps for each resolver in each database.
 */
int			runops_control_plane_cache_ttl = 30000;
int			runops_cache_max_entries = 10000;

/*
 * Enables the planner hooks.  Queries return the same rows without them; a
 * superuser turns them off to compare plans or to find out whether a hook is
 * at fault.
 */
bool		runops_enable_routing = true;

/*
 * Sends statements of one store there as a whole.  Queries return the same rows
 * without it.
 */
bool		runops_enable_shipping = true;

/*
 * The worker connects to this database to prove the stores when the server
 * starts.  It is the database of the control plane.  The stores of other
 * databases are proved when they are first used.
 */
char	   *runops_database = NULL;

/*
 * The operator expects "legacy" in a database of its own.  The gate stays
 * closed when legacy is in the database of the control plane.
 */
bool		runops_expect_control_plane_split = false;

/*
 * New roots of families may get ids of other stores, as the flags of their
 * organizations say.  When it is off, each root gets a cuid.
 */
bool		runops_mint_enabled = false;

/*
 * How many milliseconds a flipped mint kind keeps its old value.  Every
 * session must learn of the flip before the flip takes effect.
 */
int			runops_mint_flip_grace = 90000;

/*
 * The realtime backend reads runs itself and does not depend on replicating
 * the control plane.  The operator must declare this before turning on the
 * split: rows of other stores never reach a backend that replicates the
 * control plane.
 */
bool		runops_native_realtime_enabled = false;

/*
 * The operator's flag: stores other than legacy may be used.  It cannot change
 * while the server runs, so plans may depend on it.
 */
bool		runops_split_enabled = false;

/*
 * How many milliseconds a set-up function may wait for a store after the
 * connection is made; 0 means no limit.
 */
int			runops_remote_timeout = 0;

/*
 * How many milliseconds a store may take to commit.  Nothing else ends that
 * wait.
 */
int			runops_commit_timeout = 60000;

/*
 * How many milliseconds a store may wait for a lock, if lock_timeout is not
 * set.
 */
int			runops_store_lock_timeout = 30000;

/*
 * The action when one transaction with one snapshot reads two stores.
 */
int			runops_cross_store_snapshots = RUNOPS_CROSS_STORE_ERROR;

/*
 * The action when one transaction writes to two stores.
 */
int			runops_cross_store_writes = RUNOPS_CROSS_STORE_WARN;

/*
 * Measure how long a session waits for a store.
 */
bool		runops_track_wait_timing = true;

/* The values of runops.cross_store_snapshots and runops.cross_store_writes. */
static const struct config_enum_entry cross_store_options[] = {
	{"allow", RUNOPS_CROSS_STORE_ALLOW, false},
	{"warn", RUNOPS_CROSS_STORE_WARN, false},
	{"error", RUNOPS_CROSS_STORE_ERROR, false},
	{NULL, 0, false}
};

/*
 * Refuse to start the server if a gate setting has a value that is not a
 * boolean.
 *
 * This is called before the variable is defined, because defining it replaces
 * the invalid value by the default and a WARNING.
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
				 errdetail("The server does not replace a setting that decides where rows go by its default."),
				 errhint("Set it to on or off.")));
}

/*
 * Define the settings that only the postmaster may change.
 */
static void
define_boot_settings(void)
{
	check_boot_bool("runops.expect_control_plane_split");
	check_boot_bool("runops.native_realtime_enabled");
	check_boot_bool("runops.split_enabled");

	DefineCustomIntVariable("runops.control_plane_cache_max_entries",
							"Sets how many values are cached for each resolver in each database.",
							"When the cache is full, a new value replaces the oldest one.",
							&runops_cache_max_entries,
							10000, 1, INT_MAX,
							PGC_POSTMASTER,
							0,
							NULL, NULL, NULL);

	DefineCustomStringVariable("runops.database",
							   "Sets the control-plane database in which stores are proved when the server starts.",
							   "With an empty string no worker starts, and each store is proved when it is first used.",
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
							 "It must be on when \"runops.split_enabled\" is on.",
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

/*
 * Define the settings.  Settings that only the postmaster may change are
 * defined only when the library is preloaded.
 */
void
runops_guc_init(void)
{
	DefineCustomIntVariable("runops.attach_scan_limit",
							"Sets the size of the largest table that attach checks under its lock.",
							"Other sessions wait for the lock.  A value of -1 sets no limit.",
							&runops_attach_scan_limit,
							1024 * 1024, -1, INT_MAX,
							PGC_USERSET,
							GUC_UNIT_KB,
							NULL, NULL, NULL);

	DefineCustomIntVariable("runops.commit_timeout",
							"Sets how long a store may take to commit.",
							"After that the transaction fails, and it is not known whether the store has committed.",
							&runops_commit_timeout,
							60000, 100, INT_MAX,
							PGC_USERSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("runops.control_plane_cache_ttl",
							"Sets how long a value that a resolver has read may be used.",
							"A resolver may have its own time.  A value of 0 caches nothing.",
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

	DefineCustomBoolVariable("runops.enable_shipping",
							 "Enables sending a statement as a whole to the store that owns its rows.",
							 "Queries return the same rows when it is off.",
							 &runops_enable_shipping,
							 true,
							 PGC_USERSET,
							 GUC_EXPLAIN,
							 NULL, NULL, NULL);

	DefineCustomEnumVariable("runops.cross_store_snapshots",
							 "Sets what happens when one REPEATABLE READ or SERIALIZABLE transaction reads two stores.",
							 "Each store has a snapshot of its own, so such a transaction sees different moments.",
							 &runops_cross_store_snapshots,
							 RUNOPS_CROSS_STORE_ERROR,
							 cross_store_options,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomEnumVariable("runops.cross_store_writes",
							 "Sets what happens when one transaction writes to two stores.",
							 "Each store commits separately, so such a transaction is not atomic.",
							 &runops_cross_store_writes,
							 RUNOPS_CROSS_STORE_WARN,
							 cross_store_options,
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
							"A value of 0 lets each session use the new value as soon as it learns of the flip.",
							&runops_mint_flip_grace,
							90000, 0, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("runops.remote_timeout",
							"Sets how long a set-up function may wait for a store.",
							"The time to connect is not counted.  A value of 0 turns this off.",
							&runops_remote_timeout,
							0, 0, INT_MAX,
							PGC_USERSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("runops.store_lock_timeout",
							"Sets how long a store may wait for a lock if \"lock_timeout\" is 0.",
							"It ends a deadlock that goes through two databases.  A value of 0 turns this off.",
							&runops_store_lock_timeout,
							30000, 0, INT_MAX,
							PGC_USERSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomBoolVariable("runops.track_wait_timing",
							 "Measures how long sessions wait for stores.",
							 "The times are shown by the view \"runops.stats\" and by EXPLAIN ANALYZE.",
							 &runops_track_wait_timing,
							 true,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

	if (process_shared_preload_libraries_in_progress)
		define_boot_settings();

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
