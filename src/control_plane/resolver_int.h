/*-------------------------------------------------------------------------
 *
 * resolver_int.h
 *	  Declares the resolver, which is a query that reads one value of the
 *	  control plane by its key.
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
	int64		ttl;			/* microseconds; -1: use the setting */
	Oid			registrant;		/* the query runs as this role */
	char	   *search_path;	/* for the names in the query */
	int			nkeys;			/* number of parameters */

	bool		cached;			/* does it have a slot of the cache? */
	RunopsCacheSlot cache;
	RunopsTag	tags[3];		/* for all databases, this database, and the
								 * slot */
	uint64		prefixes[3][2]; /* for environments, for organizations, and
								 * for organizations alone; in all slots and
								 * in this slot */

	SPIPlanPtr	plan;			/* NULL: not made yet */
	bool		transient;		/* for one call only? */
	bool		distant;		/* may its snapshot be older than ours? */
	bool		opaque;			/* may it read relations that are not in
								 * relids? */
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
