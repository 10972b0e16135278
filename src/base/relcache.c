/*-------------------------------------------------------------------------
 *
 * relcache.c
 *	  Tells the caches of the extension about invalidated relations.
 *
 * A backend has only ten relcache callback slots, core uses some of them, and
 * registering one too many is a FATAL error.  So all caches of the extension
 * share one callback, and register here.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/inval.h"

#include "base/relcache.h"

static RunopsRelcacheClient *clients = NULL;

/*
 * Relation cache callback.
 */
static void
relcache_callback(Datum arg, Oid relid)
{
	for (RunopsRelcacheClient *client = clients; client != NULL; client = client->next)
		client->forget(relid);
}

/*
 * Register a cache to be called on invalidations.  Registering it again does
 * nothing.
 */
void
runops_relcache_register(RunopsRelcacheClient *client)
{
	static bool registered = false;

	if (client->registered)
		return;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		registered = true;
	}
	client->next = clients;
	clients = client;
	client->registered = true;
}
