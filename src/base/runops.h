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

#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "utils/rel.h"

/* The schema of the extension; runops.control fixes it. */
#define RUNOPS_SCHEMA "runops"

/* The store that is the control-plane database itself. */
#define RUNOPS_LEGACY_STORE "legacy"

/*
 * What stands in the bound of a table that holds no rows of any store: the old
 * table where legacy is another database.  No id names it.
 */
#define RUNOPS_NO_STORE "none"

/* How the names of the CHECKs begin that declare aliases. */
#define RUNOPS_ALIAS_CONSTRAINT "runops_alias_"

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

/* Is a server's database proved to be another one than this and the others? */
typedef enum RunopsVerdict
{
	RUNOPS_UNKNOWN,				/* nothing is proved: closed */
	RUNOPS_SAME,				/* it is one of them: closed */
	RUNOPS_DISTINCT				/* it is none of them: open */
} RunopsVerdict;

/* What stands behind a verdict, and so what there is to do about it. */
typedef enum RunopsCause
{
	RUNOPS_CAUSE_NONE,			/* never asked, or distinct */
	RUNOPS_CAUSE_UNREACHABLE,	/* no connection, or no answer */
	RUNOPS_CAUSE_MAPPING,		/* no user mapping, or not good enough */
	RUNOPS_CAUSE_CONTROL_PLANE, /* it is the control plane, or its standby */
	RUNOPS_CAUSE_OTHER_STORE,	/* it is another store's database */
	RUNOPS_CAUSE_RECOVERY,		/* a standby where a primary is needed, or the
								 * other way round */
	RUNOPS_CAUSE_NO_PROOF,		/* it answers, and that proves nothing */
	RUNOPS_CAUSE_CHANGED,		/* it is not the database that was proved */
	RUNOPS_CAUSE_IDENTITY,		/* the control plane is not the one recorded */
	RUNOPS_CAUSE_CO_RESIDENT	/* legacy is not apart from the control plane */
} RunopsCause;

/* Length of the text of a reason, with its end; it may name two directories. */
#define RUNOPS_REASON_LEN 1024

/* Which database answers: the fingerprint. */
typedef struct RunopsIdentity
{
	bool		sysid_known;	/* false where it may not be asked */
	uint64		sysid;			/* system identifier of its cluster */
	char		database[NAMEDATALEN];
	bool		in_recovery;	/* is it a standby? */
} RunopsIdentity;

/* The last verdict on a server, as status() and the gate show it. */
typedef struct RunopsProofState
{
	RunopsVerdict verdict;
	RunopsCause cause;
	char		reason[RUNOPS_REASON_LEN];	/* a sentence */
	TimestampTz since;			/* when it became this verdict */
	TimestampTz checked_at;		/* when it was last found; 0 if never */
	bool		identity_known; /* is the next field filled? */
	RunopsIdentity identity;	/* of the server's database */
} RunopsProofState;

/* A row of store_config, with servers looked up. */
typedef struct RunopsStore
{
	char		store[RUNOPS_STORE_LEN];
	char		server[NAMEDATALEN];	/* "": this database */
	Oid			serverid;		/* InvalidOid: none, or it is gone */
	Oid			readerid;		/* InvalidOid: there is none */
	char		remote_schema[NAMEDATALEN]; /* "": that of each table */
} RunopsStore;

/* in planner/generic_plan.c */
extern void runops_assume_init(void);

/*
 * What a backend remembers of one of the extension's own tables, as topology/config_cache.c
 * knows it.  The table needs the statement trigger _config_changed().
 */
typedef struct RunopsConfigCache
{
	const char *table;			/* its name */
	void		(*forget) (void);	/* called when it was written; may not fail,
									 * nor look anything up */
	Oid			relid;			/* the rest is topology/config_cache.c's; all zeroes at first */
	bool		listed;
	struct RunopsConfigCache *next;
} RunopsConfigCache;

/* in topology/config_cache.c */
extern Relation runops_config_open(RunopsConfigCache *cache);

/* in planner/missing_leaf.c */
extern void runops_executor_init(void);

/* in gate/gate.c */
extern void runops_gate_init(void);
extern const char *runops_gate_closed_reason(void);
extern const char *runops_gate_hint(RunopsCause cause);
extern bool runops_gate_flag_off(void);
extern void runops_gate_raise(const RunopsProofState *state, const char *store,
							  const char *relname);
extern void runops_gate_require_settings(const char *store,
										 const char *relname);
extern void runops_gate_require(const char *store, const char *relname);
extern void runops_gate_require_any(const char *relname);
extern void runops_gate_require_server(Oid serverid, Oid userid,
									   const char *store, const char *relname);

/* in guc.c */
extern int	runops_cache_max_entries;
extern int	runops_control_plane_cache_ttl;
extern char *runops_database;
extern bool runops_expect_control_plane_split;
extern bool runops_mint_enabled;
extern int	runops_mint_flip_grace;
extern bool runops_split_enabled;
extern bool runops_native_realtime_enabled;
extern bool runops_enable_routing;
extern int	runops_remote_timeout;
extern void runops_guc_init(void);
extern void runops_guc_check_boot(void);

/* in gate/hidden_rows.c */
extern void runops_held_note(Oid leaf_relid);
extern void runops_held_warn(void);
extern void runops_held_warn_session(void);

/* in gate/identity.c */
extern Relation runops_open_config(const char *name, LOCKMODE lockmode);
extern List *runops_stores(void);
extern Oid	runops_store_server(const char *store);

/* in planner/planner.c */
extern void runops_planner_init(void);

/* in setup/protect.c */
extern void runops_protect_init(void);

/* in xact/reader_policy.c */
extern void runops_reader_init(void);
extern void runops_reader_suspend(void);
extern void runops_reader_resume(void);
extern bool runops_reader_serves(const char *store);
extern void runops_reader_leave(const char *store);
extern Oid	runops_reader_server(const char *store);
extern bool runops_reader_table_store(Oid relid, char *store);
extern List *runops_reader_query(const char *store, const char *sql);

/* in integrity/reference.c */
extern bool runops_reference_assigned(Oid relid, const Bitmapset *assigned);
extern void runops_reference_check_update(Relation rel, HeapTupleHeader old,
											  TupleTableSlot *slot);

/* in topology/routes.c */
extern const RunopsRoute *runops_route(Oid relid);
extern Oid	runops_old_table(const RunopsRoute *route);
extern bool runops_leaf_store(Oid leaf_relid, char *store);
extern Oid	runops_store_of_oid(void);
extern Oid	runops_same_store_oid(void);

/* What runops.stats counts; the order of the columns of runops._stats(). */
typedef enum RunopsCounter
{
	RUNOPS_STATEMENTS_SINGLE,	/* statements that needed this store alone */
	RUNOPS_STATEMENTS_MULTI,	/* statements that needed others too */
	RUNOPS_ROWS,				/* rows that crossed to or from the store */
	RUNOPS_TURNS,				/* answers that the store was waited for */
	RUNOPS_CONNECTIONS_OPENED,
	RUNOPS_GATE_REFUSALS,
	RUNOPS_UNCLASSIFIABLE,		/* ids of no known shape, as planned */
	RUNOPS_READER_READS,
	RUNOPS_NCOUNTERS
} RunopsCounter;

/* in xact/stats.c */
extern void runops_stats_init(void);
extern void runops_stats_add(Oid leaf_relid, RunopsCounter counter, uint64 n);
extern pg_atomic_uint64 *runops_stats_counter(Oid leaf_relid,
											  RunopsCounter counter);
extern void runops_stats_add_legacy(const RunopsRoute *route,
									RunopsCounter counter);

/* in gate/sentinel.c */
extern RunopsVerdict runops_sentinel_verdict(Oid serverid, Oid userid,
											 RunopsProofState *state);
extern bool runops_sentinel_stands(Oid serverid);
extern bool runops_sentinel_distinct(Oid serverid);
extern bool runops_sentinel_peek(Oid serverid, RunopsProofState *state);
extern uint64 runops_sentinel_changes(Oid serverid);
extern void runops_sentinel_close(Oid serverid, RunopsVerdict verdict,
								  RunopsCause cause, const char *reason);
extern const char *runops_verdict_name(RunopsVerdict verdict);

/* in shmem.c */
extern void runops_shmem_init(void);

/* in topology/stores.c */
extern Oid	runops_config_oid(const char *name);
extern List *runops_routed_tables(void);
extern List *runops_old_tables(void);
extern bool runops_store_exists(const char *name, bool server);

/* in launcher.c */
extern void runops_worker_init(void);

#endif							/* RUNOPS_H */
