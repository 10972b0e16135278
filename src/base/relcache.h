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
 * A cache that hangs on relations.  It must be static: it is linked into a list
 * that is never left.
 */
typedef struct RunopsRelcacheClient
{
	/*
	 * Called for a relation that was invalidated; InvalidOid stands for all of
	 * them.  May not fail, nor look anything up.
	 */
	void		(*forget) (Oid relid);
	bool		registered;		/* the rest is relcache.c's; all zeroes at first */
	struct RunopsRelcacheClient *next;
} RunopsRelcacheClient;

extern void runops_relcache_register(RunopsRelcacheClient *client);

#endif							/* RUNOPS_RELCACHE_H */
