/*-------------------------------------------------------------------------
 *
 * config_cache.c
 *	  Invalidates the caches of the extension's own tables when one of them is
 *	  written.
 *
 * The trigger _config_changed() sends a relcache invalidation when such a
 * table is written.  It takes effect like core's invalidations: for the writer
 * with his next command, for everybody else after his commit.  If he aborts,
 * only he forgets what he has read since the write.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/relcache.h"
#include "topology/topology.h"

static RunopsConfigCache *caches = NULL;

PG_FUNCTION_INFO_V1(runops_config_changed);

/*
 * Relcache callback: call the caches of this relation, or all caches if relid
 * is invalid.
 */
static void
forget_config(Oid relid)
{
	for (RunopsConfigCache *cache = caches; cache != NULL; cache = cache->next)
	{
		if (!OidIsValid(relid) || cache->relid == relid)
			cache->forget();
	}
}

static RunopsRelcacheClient relcache_client = {.forget = forget_config};

/*
 * Open the table of a cache in order to fill the cache, and register the cache
 * for invalidations.
 *
 * The cache must be static.  The caller must not keep the rows if forget() was
 * called while it read them.
 */
Relation
runops_config_cache_open(RunopsConfigCache *cache)
{
	Oid			relid = get_relname_relid(cache->table,
										  get_namespace_oid(RUNOPS_SCHEMA, false));

	if (!OidIsValid(relid))
		elog(ERROR, "relation \"%s.%s\" does not exist", RUNOPS_SCHEMA, cache->table);

	runops_relcache_register(&relcache_client);
	if (!cache->listed)
	{
		cache->next = caches;
		caches = cache;
		cache->listed = true;
	}
	cache->relid = relid;

	return table_open(relid, AccessShareLock);
}

/*
 * _config_changed() returns trigger
 *
 * Statement trigger of the tables that have a cache.
 */
Datum
runops_config_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "_config_changed")));

	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);

	/* return a null pointer, but do not set isnull */
	PG_RETURN_POINTER(NULL);
}
