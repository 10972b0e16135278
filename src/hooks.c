/*-------------------------------------------------------------------------
 *
 * hooks.c
 *	  Installs all hooks of the server that the extension uses, and defines
 *	  their order.
 *
 * Each hook is installed once.  It calls the modules in an order that is
 * written down here and does not depend on the load order.  Between them it
 * calls the next hook of the chain or core's own function.
 *
 * - ProcessUtility: setup/leaf_ddl.c may replace the command by others, of which
 *	 setup/routed_key.c executes one kind itself.  setup/truncate.c may refuse it.  The cache of the control plane is
 *	 invalidated around everything else (control_plane/watch_ddl.c), because
 *	 another backend may read until the command has ended.  The frame of the
 *	 statement is inside.
 * - ExecutorStart: first choose the plan for the values of the parameters
 *	 (planner/any_id.c), before other code looks at it.  Then note what the
 *	 statement writes (control_plane/watch_ddl.c).
 *	 Count the statement after it has started (xact/stats.c), when the pruned
 *	 leaves are known.
 * - ExecutorRun, ExecutorFinish: the frame of the statement.  Its scans may ask
 *	 what is wanted of them (xact/wanted_rows.c).
 * - planner_hook: planner/planner.c, around the next planner.
 * - build_simple_rel_hook, set_rel_pathlist_hook: planner/only.c and
 *	 planner/prune.c, after the next hook, whose indexes and paths they need to see.
 * - object_access_hook: setup/protect.c, after the next hook.
 * - shmem_request_hook, shmem_startup_hook: the modules with shared memory, in
 *	 the order of their layers.
 *
 * The frame of a statement is one PG_TRY block, and only statements that need
 * one have it.  The outermost action notes writes to legacy leaves
 * (xact/store_writes.c): it may raise, and then everything that the statement
 * has done must be undone.  Reads of legacy leaves that must not be mixed with
 * others (xact/read_moments.c) are noted there too.  Inside, readers are disabled for statements that
 * write (xact/reader_policy.c).  The innermost action replaces core's errors
 * about rows without a partition by our own (planner/missing_leaf.c), so that
 * it sees only core's errors.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/plancat.h"
#include "optimizer/planner.h"
#include "storage/ipc.h"
#include "tcop/utility.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "control_plane/control_plane.h"
#include "fdw/fdw.h"
#include "planner/planner.h"
#include "setup/setup.h"
#include "shipping/shipping.h"
#include "xact/xact.h"
#include "hooks.h"

/* The state of the frame around a running statement or command. */
typedef struct Frame
{
	bool		writes;			/* does it write, so that readers serve
								 * nothing inside it? */
	RunopsWriteScope scope;		/* the legacy leaves that it may write to */
	RunopsReadScope reads;		/* does it read such leaves? */
	List	   *names;			/* tables that core's errors may name */
	bool		moves;			/* is it an UPDATE? */
	MemoryContext cxt;			/* for these errors */
} Frame;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;
static planner_hook_type prev_planner_hook = NULL;
static build_simple_rel_hook_type prev_build_simple_rel_hook = NULL;
static set_rel_pathlist_hook_type prev_set_rel_pathlist_hook = NULL;
static ExecutorStart_hook_type prev_ExecutorStart_hook = NULL;
static ExecutorRun_hook_type prev_ExecutorRun_hook = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish_hook = NULL;
static ProcessUtility_hook_type prev_ProcessUtility_hook = NULL;
static object_access_hook_type prev_object_access_hook = NULL;

/*
 * shmem_request_hook: request shared memory and locks.
 */
static void
hook_shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	runops_shmem_request();
	runops_stats_shmem_request();
	runops_server_state_shmem_request();
	runops_cache_shmem_request();
}

/*
 * shmem_startup_hook: initialize the shared memory, or attach to it.
 */
static void
hook_shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	runops_shmem_startup();
	runops_stats_shmem_startup();
	runops_server_state_shmem_startup();
	runops_cache_shmem_startup();
}

/*
 * planner_hook.
 */
static PlannedStmt *
hook_planner(Query *parse, const char *query_string, int cursorOptions,
			 ParamListInfo boundParams EXPLAIN_STATE_PARAMETER)
{
	return runops_plan(parse, query_string, cursorOptions,
					   boundParams EXPLAIN_STATE_ARGUMENT,
					   prev_planner_hook ? prev_planner_hook : standard_planner,
					   runops_ship);
}

/*
 * build_simple_rel_hook.
 */
static void
hook_build_simple_rel(BUILD_SIMPLE_REL_PARAMETERS)
{
	if (prev_build_simple_rel_hook)
		prev_build_simple_rel_hook(BUILD_SIMPLE_REL_ARGUMENTS);

	if (rel->reloptkind == RELOPT_OTHER_MEMBER_REL)
		runops_exclude_leaf(root, rel);
	else if (root->simple_rte_array[rel->relid]->relkind == RELKIND_PARTITIONED_TABLE)
		runops_refuse_only(root, rel);
}

/*
 * set_rel_pathlist_hook.
 */
static void
hook_set_rel_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti,
					  RangeTblEntry *rte)
{
	if (prev_set_rel_pathlist_hook)
		prev_set_rel_pathlist_hook(root, rel, rti, rte);

	if (rte->relkind == RELKIND_PARTITIONED_TABLE)
		runops_add_pruning_clauses(root, rel, rti, rte);
}

/*
 * object_access_hook.
 */
static void
hook_object_access(ObjectAccessType access, Oid classId, Oid objectId,
				   int subId, void *arg)
{
	if (prev_object_access_hook)
		prev_object_access_hook(access, classId, objectId, subId, arg);

	runops_protect(access, classId, objectId, subId, arg);
}

/*
 * ExecutorStart_hook.
 */
static void
hook_ExecutorStart(QueryDesc *queryDesc, int eflags)
{
	RunopsPlanStart start = {NULL, NIL};
	bool		noted;

	if (runops_is_choice(queryDesc->plannedstmt))
		runops_choose_plan(queryDesc, eflags, &start);
	if (queryDesc->plannedstmt->planTree->total_cost >= RUNOPS_AVOID_COST)
		runops_restore_cost(queryDesc);
	if (PLAN_HAS_TARGETS(queryDesc->plannedstmt))
		runops_watch_statement(queryDesc, eflags);
	noted = runops_has_plan_note(queryDesc->plannedstmt);
	if (noted)
		runops_plan_start(queryDesc, &start);

	if (prev_ExecutorStart_hook)
		prev_ExecutorStart_hook(queryDesc, eflags);
	else
		standard_ExecutorStart(queryDesc, eflags);

	if (noted)
		runops_plan_started(queryDesc, eflags, &start);
	runops_stats_statement(queryDesc, eflags);
}

/*
 * Does a statement do nothing but read, as far as one look at its plan tells?
 * Most statements do, and must not pay for the others.
 */
static inline bool
only_reads(QueryDesc *queryDesc)
{
	const PlannedStmt *stmt = queryDesc->plannedstmt;

	return stmt->commandType == CMD_SELECT && !stmt->hasModifyingCTE &&
		stmt->rowMarks == NIL;
}

/*
 * Does a statement need a frame?
 */
static inline bool
frame_needed(const Frame *frame)
{
	return frame->writes || frame->scope.leaves != NIL || frame->names != NIL ||
		frame->reads.queryDesc != NULL;
}

/*
 * Enter a frame.  The caller must call frame_leave() or frame_throw()
 * afterwards.
 */
static void
frame_enter(Frame *frame)
{
	frame->cxt = CurrentMemoryContext;
	if (frame->scope.leaves != NIL)
		runops_write_scope_begin(&frame->scope);
	if (frame->reads.queryDesc != NULL)
		runops_read_scope_begin(&frame->reads);
	if (frame->writes)
		runops_writing_begin();
}

/*
 * Note what a statement or command has written and read.  May raise.
 */
static void
frame_note(Frame *frame, EState *estate)
{
	if (frame->scope.leaves != NIL)
		runops_write_scope_note(&frame->scope, estate);
	if (frame->reads.queryDesc != NULL)
		runops_read_scope_note(&frame->reads);
}

/*
 * Leave a frame.
 */
static void
frame_leave(Frame *frame)
{
	if (frame->writes)
		runops_writing_end();
	if (frame->reads.queryDesc != NULL)
		runops_read_scope_end(&frame->reads);
	if (frame->scope.leaves != NIL)
		runops_write_scope_end(&frame->scope);
}

/*
 * Leave a frame in a PG_CATCH block, and throw the error again.
 */
static void
frame_throw(Frame *frame)
{
	frame_leave(frame);
	if (frame->names != NIL)
		runops_rethrow_missing_leaf(frame->cxt, frame->names, frame->moves);
	PG_RE_THROW();
}

/*
 * Call the next ExecutorRun in the chain.
 */
static void
run_after_hooks(QueryDesc *queryDesc, ScanDirection direction, uint64 count
				EXECUTE_ONCE_PARAMETER)
{
	if (prev_ExecutorRun_hook)
		prev_ExecutorRun_hook(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
	else
		standard_ExecutorRun(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
}

/*
 * The same, known to scans if the statement may lock rows.
 */
static void
run_next(QueryDesc *queryDesc, ScanDirection direction, uint64 count
		 EXECUTE_ONCE_PARAMETER)
{
	RunopsRun	before;

	if (queryDesc->plannedstmt->rowMarks == NIL)
	{
		run_after_hooks(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
		return;
	}

	before = runops_run_enter(queryDesc, count);
	PG_TRY();
	{
		run_after_hooks(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
	}
	PG_FINALLY();
	{
		runops_run_leave(before);
	}
	PG_END_TRY();
}

/*
 * ExecutorRun_hook.
 */
static void
hook_ExecutorRun(QueryDesc *queryDesc, ScanDirection direction, uint64 count
				 EXECUTE_ONCE_PARAMETER)
{
	Frame		frame;

	if (only_reads(queryDesc))
	{
		frame.writes = runops_stores_output(queryDesc->dest);
		frame.scope.leaves = frame.names = NIL;
	}
	else
	{
		frame.writes = runops_statement_writes(queryDesc->plannedstmt);
		frame.scope.leaves = runops_local_leaves(queryDesc->plannedstmt);
		frame.names = runops_routed_names(queryDesc->plannedstmt);
	}
	frame.reads.queryDesc = runops_moment_matters() && runops_may_read_legacy(queryDesc) ? queryDesc : NULL;
	frame.moves = queryDesc->operation == CMD_UPDATE;
	runops_fdw_note_run(queryDesc, count);

	if (!frame_needed(&frame))
	{
		run_next(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
		return;
	}

	frame_enter(&frame);
	PG_TRY();
	{
		run_next(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
		frame_note(&frame, queryDesc->estate);
	}
	PG_CATCH();
	{
		frame_throw(&frame);
	}
	PG_END_TRY();
	frame_leave(&frame);
}

/*
 * Call the next ExecutorFinish in the chain.
 */
static void
finish_next(QueryDesc *queryDesc)
{
	if (prev_ExecutorFinish_hook)
		prev_ExecutorFinish_hook(queryDesc);
	else
		standard_ExecutorFinish(queryDesc);
}

/*
 * ExecutorFinish_hook: rows may still be written by a data-modifying CTE that
 * was not read to its end, and by deferred work such as triggers.
 */
static void
hook_ExecutorFinish(QueryDesc *queryDesc)
{
	Frame		frame = {0};

	if (only_reads(queryDesc))
	{
		finish_next(queryDesc);
		return;
	}

	/* its receiver may be gone already, and has got all rows */
	frame.writes = runops_statement_writes(queryDesc->plannedstmt);
	frame.moves = queryDesc->operation == CMD_UPDATE;
	if (queryDesc->plannedstmt->hasModifyingCTE)
	{
		frame.scope.leaves = runops_local_leaves(queryDesc->plannedstmt);
		frame.names = runops_routed_names(queryDesc->plannedstmt);
		if (runops_moment_matters() && runops_may_read_legacy(queryDesc))
			frame.reads.queryDesc = queryDesc;
	}

	if (!frame_needed(&frame))
	{
		finish_next(queryDesc);
		return;
	}

	frame_enter(&frame);
	PG_TRY();
	{
		finish_next(queryDesc);
		frame_note(&frame, queryDesc->estate);
	}
	PG_CATCH();
	{
		frame_throw(&frame);
	}
	PG_END_TRY();
	frame_leave(&frame);
}

/*
 * Call the next ProcessUtility in the chain.
 */
static void
utility_next(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
			 ProcessUtilityContext context, ParamListInfo params,
			 QueryEnvironment *queryEnv, DestReceiver *dest,
			 QueryCompletion *qc)
{
	if (prev_ProcessUtility_hook)
		prev_ProcessUtility_hook(pstmt, queryString, readOnlyTree, context,
								 params, queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context,
								params, queryEnv, dest, qc);
}

/*
 * The table that COPY FROM writes to, or that COPY TO reads; InvalidOid for other
 * commands.
 */
static Oid
copied_table(Node *stmt, bool from)
{
	CopyStmt   *copy = (CopyStmt *) stmt;

	if (!IsA(stmt, CopyStmt) || copy->is_from != from || copy->relation == NULL)
		return InvalidOid;

	return RangeVarGetRelid(copy->relation, NoLock, true);
}

/*
 * Run one utility command.
 */
static void
run_utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
			ProcessUtilityContext context, ParamListInfo params,
			QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	RunopsWatchedCommand command;
	Oid			target = copied_table(pstmt->utilityStmt, true);
	Frame		frame = {0};
	Oid			aside;

	if (runops_key_command(pstmt->utilityStmt))
		return;
	if (IsA(pstmt->utilityStmt, CopyStmt))
		runops_reads_note_copy(copied_table(pstmt->utilityStmt, false));

	runops_protect_command(pstmt->utilityStmt);
	runops_watch_command(pstmt->utilityStmt, &command);

	frame.writes = runops_utility_writes(pstmt->utilityStmt);
	if (OidIsValid(target))
	{
		frame.scope.leaves = runops_local_leaves_of(target);
		frame.names = runops_routed_names_of(target);
	}

	aside = runops_key_set_aside(pstmt->utilityStmt);

	if (!frame_needed(&frame))
		utility_next(pstmt, queryString, readOnlyTree, context, params,
					 queryEnv, dest, qc);
	else
	{
		frame_enter(&frame);
		PG_TRY();
		{
			utility_next(pstmt, queryString, readOnlyTree, context, params,
						 queryEnv, dest, qc);
			frame_note(&frame, NULL);
		}
		PG_CATCH();
		{
			frame_throw(&frame);
		}
		PG_END_TRY();
		frame_leave(&frame);
	}

	if (OidIsValid(aside))
		runops_key_put_back(aside);
	runops_watch_command_done(&command);
}

/*
 * ProcessUtility_hook.
 */
static void
hook_ProcessUtility(PlannedStmt *pstmt, const char *queryString,
					bool readOnlyTree, ProcessUtilityContext context,
					ParamListInfo params, QueryEnvironment *queryEnv,
					DestReceiver *dest, QueryCompletion *qc)
{
	List	   *instead;
	ListCell   *lc;

	if (!runops_leaf_commands(pstmt, &instead))
	{
		run_utility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
		return;
	}

	foreach(lc, instead)
	{
		run_utility(lfirst(lc), queryString, false,
					lfirst_node(PlannedStmt, lc)->canSetTag ? context : PROCESS_UTILITY_SUBCOMMAND,
					params, queryEnv, dest, qc);
		if (lnext(instead, lc) != NULL)
			CommandCounterIncrement();
	}
}

/*
 * Install the hook that protects objects that routed tables depend on.  It
 * also works in a backend that has loaded the library itself.
 */
void
runops_hooks_init_protection(void)
{
	prev_object_access_hook = object_access_hook;
	object_access_hook = hook_object_access;
}

/*
 * Install all other hooks, in the postmaster.
 */
void
runops_hooks_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = hook_shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = hook_shmem_startup;
	prev_planner_hook = planner_hook;
	planner_hook = hook_planner;
	prev_build_simple_rel_hook = build_simple_rel_hook;
	build_simple_rel_hook = hook_build_simple_rel;
	prev_set_rel_pathlist_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = hook_set_rel_pathlist;
	prev_ExecutorStart_hook = ExecutorStart_hook;
	ExecutorStart_hook = hook_ExecutorStart;
	prev_ExecutorRun_hook = ExecutorRun_hook;
	ExecutorRun_hook = hook_ExecutorRun;
	prev_ExecutorFinish_hook = ExecutorFinish_hook;
	ExecutorFinish_hook = hook_ExecutorFinish;
	prev_ProcessUtility_hook = ProcessUtility_hook;
	ProcessUtility_hook = hook_ProcessUtility;
	runops_leaf_init();
}
