/*-------------------------------------------------------------------------
 *
 * fdw_int.h
 *	  Declares the functions that the files of the foreign-data wrapper share.
 *
 * The server calls them through the FdwRoutine.  fdw.h has what other modules may
 * call.
 *
 * postgres_fdw plans and deparses; its callbacks are in pgfdw.  Our callbacks
 * wrap those and add the missing parts.  The plans are executed by the session
 * module (scan.c, direct_modify.c, modify.c), which reads the fdw_private that
 * postgres_fdw has made.  Two rules hold.  A callback that may connect first
 * checks the gate.  A row is checked before it is sent, as core checks the rows
 * of a local partition (check_row.c).
 *
 * State lives in the memory of the statement.  Only the names for errors
 * (error_context.c) live as long as the backend.  No lock is held.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_FDW_INT_H
#define RUNOPS_FDW_INT_H

#include "commands/explain.h"
#include "foreign/fdwapi.h"
#include "funcapi.h"
#include "utils/elog.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/runops.h"
#include "fdw/fdw.h"
#include "session/session.h"

/*
 * The items of the fdw_private for a scan.  Those from SCAN_LOCK_SQL on exist only
 * if the rows of a table are locked by key; the others are postgres_fdw's.
 */
enum RunopsScanItem
{
	SCAN_SQL,
	SCAN_ATTRS,					/* integer list */
	SCAN_FETCH_SIZE,
	SCAN_LOCK_SQL,
	SCAN_KEY					/* integer list */
};

/*
 * The items of the fdw_private for a modification.  All but the last are
 * postgres_fdw's.
 */
enum RunopsModifyItem
{
	MODIFY_SQL,
	MODIFY_TARGET_ATTRS,		/* integer list */
	MODIFY_VALUES_END,
	MODIFY_HAS_RETURNING,
	MODIFY_ATTRS,				/* integer list */
	MODIFY_KEY					/* integer list; missing if rows are
								 * identified by their ctid */
};

/* the library of postgres_fdw */
#define PGFDW_LIBRARY "$libdir/postgres_fdw"

/* in pgfdw.c */
extern FdwRoutine pgfdw;
extern void runops_load_pgfdw(void);
extern Node *runops_fdw_private(List *fdw_private, int item, NodeTag type);
extern bool runops_fdw_is_empty(Oid relid);
extern RunopsStoreUse runops_fdw_use(Oid relid, Oid userid);

/* in check_row.c */
extern Bitmapset *runops_fdw_alias_attrs(Relation rel);

/* in error_context.c */
extern void runops_fdw_enter_scan(RunopsFdwCall *call, ForeignScanState *node,
								  bool begins);

extern Oid	runops_fdw_add_fields(Oid relid);

/* in error_detail.c */
extern bool runops_fdw_shows_values(int sqlerrcode);

pg_noreturn extern void runops_fdw_rethrow_check(EState *estate, ResultRelInfo *rri,
												 TupleTableSlot *slot);

/* in assigned.c */
extern bool runops_fdw_assigns_unproved(PlannerInfo *root, Index rti,
										Relation rel, List *tlist,
										List *attnos);

/* in plan.c */
extern void runops_fdw_plan_callbacks(FdwRoutine *routine);

/* in direct_modify.c */
extern void runops_fdw_direct_modify_callbacks(FdwRoutine *routine);

/* in guard_ctid.c */
extern char *runops_fdw_guard_ctid(const char *sql, Oid relid);
extern void runops_fdw_report_guard(EState *estate, Oid relid);

/* in collation.c */
extern bool runops_fdw_differs_on(Oid serverid, Node *node);
extern bool runops_fdw_sort_differs(const RunopsCollations *known,
									RelOptInfo *rel, List *pathkeys);
extern bool runops_fdw_groups_differ(PlannerInfo *root, Oid serverid,
									 RelOptInfo *output_rel, Node *having);

/* in explain.c */
extern void runops_fdw_measured(RunopsFdwCall *call);
extern void runops_fdw_explain_obstacle(ExplainState *es);

/* in insert_sql.c */
extern char *runops_fdw_insert_sql(ResultRelInfo *rri, bool do_nothing,
								   List **target_attrs, List **returned_attrs);
extern bool runops_fdw_fires_after_insert(ResultRelInfo *rri);
extern char *runops_fdw_insert_many_sql(Relation rel, List *attrs,
										bool do_nothing);

/* in join.c */
extern void runopsGetForeignJoinPaths(PlannerInfo *root, RelOptInfo *joinrel,
									  RelOptInfo *outerrel, RelOptInfo *innerrel,
									  JoinType jointype,
									  JoinPathExtraData *extra);
extern void runopsGetForeignUpperPaths(PlannerInfo *root,
									   UpperRelationKind stage,
									   RelOptInfo *input_rel,
									   RelOptInfo *output_rel, void *extra);

/* in paths.c */
extern bool runops_fdw_uses_remote_estimate(Oid foreigntableid);
extern LockWaitPolicy runops_fdw_wait_policy(PlannerInfo *root, Index rti);
extern void runops_fdw_remote_costs(Oid serverid, Cost *startup,
									Cost *per_tuple);
extern Cost runops_fdw_search_cost(PlannerInfo *root, RelOptInfo *baserel,
								   ParamPathInfo *param_info);
extern void runopsGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel,
								  Oid foreigntableid);

/* in security_levels.c */
extern void runops_fdw_estimate_size(PlannerInfo *root, RelOptInfo *baserel,
									 Oid foreigntableid);
extern void runops_fdw_offer_paths(PlannerInfo *root, RelOptInfo *baserel,
								   Oid foreigntableid);
extern bool runops_fdw_may_send_join(PlannerInfo *root, Oid serverid,
									 List *restrictlist);
extern void runops_fdw_offer_join_paths(PlannerInfo *root, RelOptInfo *joinrel,
										RelOptInfo *outerrel,
										RelOptInfo *innerrel, JoinType jointype,
										JoinPathExtraData *extra);
extern ForeignScan *runops_fdw_make_plan(PlannerInfo *root,
										 RelOptInfo *foreignrel,
										 Oid foreigntableid,
										 ForeignPath *best_path, List *tlist,
										 List *scan_clauses, Plan *outer_plan);

/* in rescan_safety.c */
extern bool runops_fdw_must_fix(PlannerInfo *root, RelOptInfo *baserel,
								Oid leaf_relid, RestrictInfo *rinfo);
extern bool runops_fdw_may_search(PlannerInfo *root, RelOptInfo *baserel,
								  Oid leaf_relid, ParamPathInfo *param_info);

/* in modify.c */
extern void runops_fdw_modify_callbacks(FdwRoutine *routine);

/* in row_key.c */
extern char *runops_fdw_key_junk(const FormData_pg_attribute *att);
extern bool runops_fdw_add_key(PlannerInfo *root, Index rtindex, Relation rel);
extern void runops_fdw_key_condition(StringInfo sql, Relation rel, List *key,
									 int param);
extern void runops_fdw_append_select(StringInfo sql, Relation rel, List *attnos);
extern char *runops_fdw_change_sql(Relation rel, CmdType operation, List *key,
								   List *assigned, List *returned);

/* in lock_plan.c */
extern void runops_fdw_plan_locks(PlannerInfo *root, RelOptInfo *rel, Oid relid,
								  ForeignScan *plan);
extern bool runops_fdw_locks_by_key(const ForeignScan *plan);
extern void runops_fdw_explain_scan(ForeignScanState *node, ExplainState *es);

/* in lock_rows.c */
typedef struct RunopsLocker RunopsLocker;

extern RunopsLocker *runops_fdw_locker(ForeignScanState *node, RunopsQuery *query,
									   const RunopsParams *params);
extern bool runops_fdw_lock_next(RunopsLocker *locker, RunopsRowType *type,
								 TupleTableSlot *slot);
extern void runops_fdw_lock_rest(RunopsLocker *locker);
extern void runops_fdw_lock_rescan(RunopsLocker *locker, bool anew);
extern void runops_fdw_lock_end(RunopsLocker *locker);

/* in note_writes.c */
extern bool runops_fdw_scan_locks(ForeignScanState *node);
extern void runops_fdw_note_scan_locks(ForeignScanState *node);
extern void runops_fdw_note_direct_modify(ForeignScanState *node);
extern bool runops_fdw_notes_insert_late(ModifyTableState *mtstate);

/* in remote_row.c */
extern void runops_fdw_init_row(RunopsRowType *type, Relation rel,
								ForeignScanState *node, List *attrs);

/* in scan.c */
extern void runops_fdw_scan_callbacks(FdwRoutine *routine);

/* in utility.c */
extern void runops_fdw_utility_callbacks(FdwRoutine *routine);

/* in reader_scan.c */
extern Oid	runops_reader_for_scan(ForeignScanState *node);
extern const char *runops_reader_name(ForeignScanState *node, Oid readerid);

/* in scan_node.c */
extern int	runops_fdw_scan_rtindex(ForeignScanState *node);
extern Oid	runops_fdw_scan_relid(ForeignScanState *node);
extern Oid	runops_fdw_scan_userid(ForeignScanState *node);
extern Oid	runops_fdw_result_userid(EState *estate, ResultRelInfo *rri);
extern bool runops_fdw_collect_params(Node *node, void *context);

/* in unique_entries.c */
typedef struct RunopsFdwUnique RunopsFdwUnique;

extern RunopsFdwUnique *runops_fdw_unique_begin(ModifyTableState *mtstate,
												ResultRelInfo *rri);
extern bool runops_fdw_unique_insert(RunopsFdwUnique *unique,
									 TupleTableSlot *slot);
extern void runops_fdw_unique_skipped(RunopsFdwUnique *unique,
									  TupleTableSlot *slot);
extern HeapTupleHeader runops_fdw_old_row(ResultRelInfo *rri,
										  TupleTableSlot *planSlot);
extern void runops_fdw_unique_read_old(RunopsFdwUnique *unique,
									   ResultRelInfo *rri,
									   TupleTableSlot *planSlot);
extern void runops_fdw_unique_update(RunopsFdwUnique *unique,
									 ResultRelInfo *rri, TupleTableSlot *slot,
									 TupleTableSlot *planSlot);
extern void runops_fdw_unique_not_updated(RunopsFdwUnique *unique,
										  TupleTableSlot *slot);
extern void runops_fdw_unique_deleted(RunopsFdwUnique *unique);
extern bool runops_fdw_unique_one_by_one(RunopsFdwUnique *unique);

#endif							/* RUNOPS_FDW_INT_H */
