/*-------------------------------------------------------------------------
 *
 * relcache.h
 *	  One relation-cache callback for all caches of the extension.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_RELCACHE_H
#define RUNOPS_RELCACHE_H

/*
 * A cache that depends on relations.  It must be static, because it is linked
 * into a list and never removed.
 */
typedef struct RunopsRelcacheClient
{
	/*
	 * Called for a relation that was invalidated; InvalidOid stands for all
	 * relations.  It must not fail, and must not look anything up.
	 */
	void		(*forget) (Oid relid);
	bool		registered;		/* this and the next field belong to
								 * relcache.c; initially zero */
	struct RunopsRelcacheClient *next;
} RunopsRelcacheClient;

extern void runops_relcache_register(RunopsRelcacheClient *client);

#endif							/* RUNOPS_RELCACHE_H */
