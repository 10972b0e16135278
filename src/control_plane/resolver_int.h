/*-------------------------------------------------------------------------
 *
 * resolver_int.h
 *	  A resolver: a query that reads one value of the control plane by its key.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_RESOLVER_INT_H
#define RUNOPS_RESOLVER_INT_H

#include "executor/spi.h"
#include "utils/array.h"

#include "control_plane/cache_int.h"

/* A resolver, as a backend remembers it. */
typedef struct RunopsResolver
{
	char		slot[NAMEDATALEN];	/* hash key, first */
	char	   *query;
	char	   *environment_column; /* NULL: there is none */
	char	   *organization_column;
	int64		ttl;			/* microseconds; -1: that of the setting */
	Oid			registrant;		/* with whose rights the query runs */
	char	   *search_path;	/* where its names are looked for */
	int			nkeys;			/* how many parameters it has */

	bool		cached;			/* is there a slot of the cache for it? */
	RunopsCacheSlot cache;
	RunopsTag	tags[3];		/* of all databases, this one, and the slot */
	uint64		prefixes[3][2]; /* of environments, organizations, and these
								 * alone; in all slots and in this one */

	SPIPlanPtr	plan;			/* NULL: not made yet */
	bool		transient;		/* for one call only? */
	bool		distant;		/* may its snapshot be older than ours? */
	bool		opaque;			/* may it read what is not in relids? */
} RunopsResolver;

/* in resolver_query.c */
extern int	runops_resolver_check(const char *query, const char *environment_column,
								  const char *organization_column, char **stripped);
extern void runops_resolver_prepare(RunopsResolver *resolver);
extern bool runops_resolver_wrote(RunopsResolver *resolver);

/* in resolver.c */
extern bool runops_resolver_find(const char *slot, RunopsResolver *resolver);
extern Jsonb *runops_resolve_key(const char *slot, ArrayType *key, bool *from_cache);

/* in watch_ddl.c */
extern bool runops_wrote_foreign(void);

#endif							/* RUNOPS_RESOLVER_INT_H */
