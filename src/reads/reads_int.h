/*-------------------------------------------------------------------------
 *
 * reads_int.h
 *	  Declares what the functions that look rows up by id share.
 *
 * No other module calls these functions; SQL does.
 *
 * A lookup is a query on the routed table, or on one leaf of it.  It runs by
 * SPI with the caller's rights, so that privileges, policies and the planner
 * work as for the caller's own statements.  The module decides which stores
 * are asked, in which order, and which result a missing row gives.  It keeps
 * no state between calls and takes no lock of its own.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_READS_INT_H
#define RUNOPS_READS_INT_H

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "topology/topology.h"

/*
 * A routed table, as these functions use it.
 *
 * The strings are quoted SQL over the table under the alias "t".
 */
typedef struct RunopsTarget
{
	Oid			relid;
	const RunopsRoute *route;
	char	   *table;			/* its qualified name */
	char	   *store_of;		/* store_of(key): the partition key */
	AttrNumber	pk_attno;		/* of the single-column primary key */
	char	   *pk;
	Oid			pk_collation;
	List	   *aliases;		/* of String: aliases that are unique by
								 * themselves */
	List	   *alias_attnos;	/* of int: their attribute numbers */
	bool		decides;		/* does the shape of the primary key name the
								 * store? */
	int			nleaves;
	const RunopsLeaf **leaves;	/* the leaves that hold rows, in the order of
								 * lookups: new first and legacy last */
} RunopsTarget;

/* The values of a query's parameters. */
typedef struct RunopsArgs
{
	int			n;
	int			size;
	Oid		   *types;
	Datum	   *values;
	char	   *nulls;			/* 'n' or ' ' for each, as in SPI */
} RunopsArgs;

/* in read_by_id.c */
extern const char *runops_read_by_id(const RunopsTarget *target, text *id,
									 Jsonb *scope, Datum *row);

/* in target.c */
extern RunopsTarget *runops_target(Oid relid);
extern RunopsStoreSet runops_target_stores(const RunopsTarget *target, text *id);
extern char *runops_target_match(const RunopsTarget *target, const char *comparison);
extern AttrNumber runops_target_column(const RunopsTarget *target, const char *name);

/* in query.c */
extern int	runops_args_add(RunopsArgs *args, Oid type, Datum value, bool isnull);
extern uint64 runops_run_query(const char *sql, const RunopsArgs *args, int options,
							   bool read_only);

/* in legacy_reader.c */
extern bool runops_replica_serves(const RunopsTarget *target, const RunopsLeaf *leaf);
extern List *runops_replica_rows(const RunopsTarget *target, const RunopsLeaf *leaf,
								 const char *condition, const RunopsArgs *args);

/* in scope.c */
extern char *runops_scope(const RunopsTarget *target, Jsonb *scope, RunopsArgs *args);
extern RunopsStoreSet runops_scope_stores(const RunopsTarget *target, Jsonb *scope);
extern char *runops_equality(const RunopsTarget *target, AttrNumber attno,
							 const JsonbValue *value, RunopsArgs *args);

/* in retention.c */
extern bool runops_past_retention(Oid relid, text *id);

#endif							/* RUNOPS_READS_INT_H */
