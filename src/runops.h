/*-------------------------------------------------------------------------
 *
 * runops.h
 *	  The map of the extension: shared types, and every module's exported
 *	  functions grouped by file.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_H
#define RUNOPS_H

#include "nodes/bitmapset.h"
#include "nodes/nodes.h"
#include "utils/rel.h"

/* The schema of the extension; runops.control fixes it. */
#define RUNOPS_SCHEMA "runops"

/* The store that is the control-plane database itself. */
#define RUNOPS_LEGACY_STORE "legacy"

/* The longest store name: "legacy". */
#define RUNOPS_STORE_LEN 8

/* One store's piece of a routed table. */
typedef struct RunopsLeaf
{
	Oid			relid;			/* the partition */
	char	   *schema;			/* its name */
	char	   *name;
	char		store[RUNOPS_STORE_LEN];	/* the store it stands for */
	bool		foreign;		/* reached through runops_fdw? */
} RunopsLeaf;

/*
 * A routed table, as read from the relation cache.
 *
 * Attribute numbers are the parent's.  Bitmapsets are offset by
 * FirstLowInvalidHeapAttributeNumber, as pull_varattnos makes them.
 */
typedef struct RunopsRoute
{
	Oid			relid;			/* the partitioned parent; hash key, first */
	char	   *schema;			/* its name */
	char	   *name;
	Node	   *partexpr;		/* store_of(key), with Vars of varno 1 */
	Node	   *key;			/* the argument of store_of, varno 1 */
	AttrNumber	lead_attno;		/* column whose equality implies the store: the
								 * key column, or the first argument of COALESCE;
								 * 0 if the key is another expression */
	Bitmapset  *key_attnos;		/* every column that the key reads */
	Bitmapset  *alias_attnos;	/* columns that name the row's own store
								 * wherever they are classifiable */
	bool		alias_generated;	/* is one of them a generated column? */
	int			nleaves;
	RunopsLeaf *leaves;			/* in partition order */
} RunopsRoute;

/* in assume.c */
extern void runops_assume_init(void);

/* in executor.c */
extern void runops_executor_init(void);

/* in gate.c */
extern void runops_gate_init(void);
extern const char *runops_gate_closed_reason(void);
extern bool runops_gate_flag_off(void);
extern void runops_gate_require(const char *store, const char *relname);

/* in guc.c */
extern bool runops_split_enabled;
extern bool runops_native_realtime_enabled;
extern bool runops_enable_routing;
extern void runops_guc_init(void);
extern void runops_guc_check_boot(void);

/* in planner.c */
extern void runops_planner_init(void);

/* in protect.c */
extern void runops_protect_init(void);

/* in routes.c */
extern const RunopsRoute *runops_route(Oid relid);
extern bool runops_leaf_store(Oid leaf_relid, char *store);
extern Oid	runops_store_of_oid(void);

#endif							/* RUNOPS_H */
