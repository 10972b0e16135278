/*-------------------------------------------------------------------------
 *
 * topology.h
 *	  Tells which stores and routed tables exist, and which stores an id names.
 *
 * Nothing here connects to a store, or asks whether one may be used: see
 * gate.h.  Routes are read from the catalogs (routes.c) and sets of stores
 * from ids (storeset.c).  The extension's own tables are read where that is
 * not enough (stores.c).  Invalidation messages clear what a backend caches of
 * either.  So a pointer to a route stays valid until the next lookup that may
 * take a lock.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_TOPOLOGY_H
#define RUNOPS_TOPOLOGY_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/rel.h"

#include "base/runops.h"

/*
 * A set of stores by name, independent of any table: bit 0 is legacy, bit 1 is
 * new, then one bit for each shard character.  If nothing is known, all bits
 * are set.
 */
typedef uint64 RunopsStoreSet;

#define RUNOPS_STORES_NONE	UINT64CONST(0)
#define RUNOPS_STORES_ALL	(~UINT64CONST(0))

/*
 * A registration with config_cache.c for what a backend caches of one of the
 * extension's own tables.  The table needs the statement trigger
 * _config_changed().
 */
typedef struct RunopsConfigCache
{
	const char *table;			/* its name */
	void		(*forget) (void);	/* called when the table was written; must
									 * not fail, nor look anything up */
	Oid			relid;			/* this and the next field belong to
								 * config_cache.c; initially zero */
	bool		listed;
	struct RunopsConfigCache *next;
} RunopsConfigCache;

/* An expression that is being read, for errors; see expression_text.c. */
typedef struct RunopsExpressionText
{
	const char *text;
	const char *what;			/* it is for */
	ErrorContextCallback callback;
} RunopsExpressionText;

/* in config_cache.c */
extern Relation runops_config_cache_open(RunopsConfigCache *cache);

/* in expression_text.c */
extern void runops_expression_text_enter(RunopsExpressionText *expression,
										 const char *text, const char *what);
extern void runops_expression_text_leave(RunopsExpressionText *expression);
extern Node *runops_parse_expression_text(const char *text);

/* Which values of a table's rows an error may show to the current user. */
typedef enum RunopsSight
{
	RUNOPS_SIGHT_NONE,			/* a policy hides rows */
	RUNOPS_SIGHT_COLUMNS,		/* those of the columns that it may select */
	RUNOPS_SIGHT_ALL
} RunopsSight;

/* in sight.c */
extern RunopsSight runops_sight(Oid table);
extern bool runops_sees_column(Oid table, const char *column);

/* in routes.c */
extern AttrNumber runops_lead_column(Node *key);
extern const RunopsRoute *runops_route(Oid relid);
extern Oid	runops_old_table(const RunopsRoute *route);
extern bool runops_leaf_store(Oid leaf_relid, char *store);
extern Oid	runops_leaf_table(Oid relid);
extern const RunopsLeaf *runops_legacy_leaf(const RunopsRoute *route);
extern bool runops_is_alias_check(const char *name);
extern Oid	runops_store_of_oid(void);
extern Oid	runops_same_store_oid(void);

/* in stores.c */
extern Oid	runops_config_table_oid(const char *name);
extern Relation runops_config_table_open(const char *name, LOCKMODE lockmode);
extern List *runops_routed_tables(void);
extern List *runops_old_tables(void);
extern bool runops_store_exists(const char *name, bool server);
extern List *runops_stores(void);
extern bool runops_stores_meet(const RunopsStore *a, const RunopsStore *b);
extern Oid	runops_store_server(const char *store);
extern bool runops_server_two_phase(Oid serverid);
extern const char *runops_store_label(Oid relid);
extern bool runops_reader_table_store(Oid relid, char *store);
extern Oid	runops_reader_table(const char *store);
extern Oid	runops_reader_server(const char *store);

/* in storeset.c */
extern uint64 runops_shapeless_ids;
extern RunopsStoreSet runops_store_bit(const char *store);
extern RunopsStoreSet runops_id_stores(const char *id, size_t len);
extern RunopsStoreSet runops_array_stores(ArrayType *array);
extern RunopsStoreSet runops_route_stores(const RunopsRoute *route);
extern void runops_store_names(StringInfo buf, RunopsStoreSet stores);
extern void runops_require_stores(const RunopsRoute *route, RunopsStoreSet stores);

/* in own_step.c */
extern bool runops_in_own_step(void);
extern Oid	runops_extension_owner(void);

#endif							/* RUNOPS_TOPOLOGY_H */
