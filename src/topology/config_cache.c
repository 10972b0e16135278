/*-------------------------------------------------------------------------
 *
 * config_cache.c
 *	  Tells the caches of the extension's own tables that one was written.
 *
 * The writes of a table arrive as relation cache invalidations, which its
 * trigger _config_changed() sends.  They take effect when core's do: for the
 * writer itself with the next command, for everybody else after his commit, and
 * for nobody if he aborts, except that he too forgets what he has read meanwhile.
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
 * Relation cache callback: call the caches of this relation, or all if relid is
 * invalid.
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
 * Open the table of a cache in order to fill it, and have the cache called from
 * now on.
 *
 * The cache must be static.  What is read must not be kept if forget() was
 * called meanwhile.
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
 * Statement trigger of a table that has a cache.
 */
Datum
runops_config_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "_config_changed")));

	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);

	/* a null pointer, which is not a null result */
	PG_RETURN_POINTER(NULL);
}
