/*-------------------------------------------------------------------------
 *
 * reader_policy.c
 *	  Which statements a store's reader serves, and reading from it.
 *
 * A reader is a standby of the store's writer: it may be behind.  It serves
 * statements that do nothing but read, and none of a transaction that has used
 * the writer: what it has written or locked there, or only seen, may not have
 * arrived at the reader, and must not be gone in the next statement.  This
 * holds after ROLLBACK TO SAVEPOINT as well.  A statement that writes anywhere,
 * and all that runs inside of it, reads the writer, so that nothing is stored
 * that rests on old rows.
 *
 * All this is known at execution only: a plan outlives the transaction it was
 * made in.  postgres_fdw finds the server by the foreign table that the plan
 * names, while the SQL that it sends is in the plan.  So it is shown another
 * foreign table while it begins a scan: one without columns, which add_store
 * makes for each reader in the schema of the store's leaves.  It stands in a
 * range table of that one call, beside the plan's own tables, because rows of a
 * join are described by those.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "commands/prepare.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/runops.h"
#include "fdw/fdw.h"
#include "session/conncheck.h"
#include "session/remote.h"
#include "xact/writes.h"

/* the foreign table that stands for the reader, in the schema of the leaves */
#define READER_TABLE "runops_reader"

/* how the schemas of leaves begin; see runops._leaf_schema() */
#define LEAF_SCHEMA "runops_"
#define SHARD_SCHEMA "runops_shard_"

/*
 * Where a running statement reads a store: the same for all its scans.
 *
 * Lives in the statement's context, and leaves the list with it.
 */
typedef struct Decision
{
	dlist_node	node;			/* in decisions */
	EState	   *estate;
	Oid			serverid;		/* of the reader */
	bool		by_reader;
	NameData	server;			/* its name, for errors */
	MemoryContextCallback callback;
} Decision;

static dlist_head decisions = DLIST_STATIC_INIT(decisions);

/* The readers whose writer this transaction has used; in TopTransactionContext. */
static List *left_readers = NIL;

/* The nest level of the transaction at each suspension, the outermost first. */
static List *suspensions = NIL;

static bool callbacks_registered = false;

/* How many statements that write are being executed, one inside another? */
static int	writing_depth = 0;

static ExecutorRun_hook_type prev_ExecutorRun_hook = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish_hook = NULL;
static ProcessUtility_hook_type prev_ProcessUtility_hook = NULL;

/*
 * The foreign table that stands for the reader of a store; InvalidOid if the
 * store has no reader.
 */
static Oid
reader_table(const char *store)
{
	bool		named = strcmp(store, RUNOPS_LEGACY_STORE) == 0 || strcmp(store, "new") == 0;
	char		schema[NAMEDATALEN];
	Oid			namespaceid;
	Oid			relid;

	snprintf(schema, sizeof(schema), "%s%s", named ? LEAF_SCHEMA : SHARD_SCHEMA, store);
	namespaceid = get_namespace_oid(schema, true);
	if (!OidIsValid(namespaceid))
		return InvalidOid;
	relid = get_relname_relid(READER_TABLE, namespaceid);
	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_FOREIGN_TABLE)
		return InvalidOid;

	return relid;
}

/*
 * The store whose reader a foreign table stands for by its name and place, copied
 * to store[RUNOPS_STORE_LEN]; false if there is none.
 */
bool
runops_reader_table_store(Oid relid, char *store)
{
	char	   *name = get_rel_name(relid);
	char	   *schema = get_namespace_name(get_rel_namespace(relid));

	if (name == NULL || schema == NULL || strcmp(name, READER_TABLE) != 0)
		return false;
	if (strncmp(schema, SHARD_SCHEMA, strlen(SHARD_SCHEMA)) == 0)
		strlcpy(store, schema + strlen(SHARD_SCHEMA), RUNOPS_STORE_LEN);
	else if (strncmp(schema, LEAF_SCHEMA, strlen(LEAF_SCHEMA)) == 0)
		strlcpy(store, schema + strlen(LEAF_SCHEMA), RUNOPS_STORE_LEN);
	else
		return false;

	return true;
}

/*
 * The reader of a store as a server; InvalidOid if there is none.
 */
Oid
runops_reader_server(const char *store)
{
	Oid			relid = reader_table(store);

	return OidIsValid(relid) ? GetForeignServerIdByRelId(relid) : InvalidOid;
}

/*
 * At the end of a transaction: nothing was used, nothing is suspended.
 */
static void
end_of_transaction(XactEvent event, void *arg)
{
	left_readers = NIL;
	suspensions = NIL;
}

/*
 * At the end of a subtransaction: what it suspended is resumed.
 */
static void
end_of_subtransaction(SubXactEvent event, SubTransactionId subid,
					  SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;

	while (suspensions != NIL && llast_int(suspensions) >= level)
		suspensions = list_delete_last(suspensions);
}

/*
 * Watch the ends of transactions, once in a backend.
 */
static void
register_callbacks(void)
{
	if (callbacks_registered)
		return;

	RegisterXactCallback(end_of_transaction, NULL);
	RegisterSubXactCallback(end_of_subtransaction, NULL);
	callbacks_registered = true;
}

/*
 * Let every statement read the writer, until runops_reader_resume() has been
 * called as often, or the (sub)transaction ends.
 */
void
runops_reader_suspend(void)
{
	MemoryContext oldcontext;

	register_callbacks();
	oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	suspensions = lappend_int(suspensions, GetCurrentTransactionNestLevel());
	MemoryContextSwitchTo(oldcontext);
}

/*
 * End the last runops_reader_suspend().
 */
void
runops_reader_resume(void)
{
	suspensions = list_delete_last(suspensions);
}

/*
 * Note that this transaction uses the writer of a store: it goes on with it.
 */
void
runops_reader_leave(const char *store)
{
	Oid			serverid = runops_reader_server(store);
	MemoryContext oldcontext;

	if (!OidIsValid(serverid) || list_member_oid(left_readers, serverid))
		return;

	register_callbacks();
	oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	left_readers = lappend_oid(left_readers, serverid);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Could a statement that only reads a store go to its reader now?
 *
 * That the writer of legacy in this database was used is not noted; that it was
 * written to is.  A transaction with one snapshot for all its statements has one of the writer
 * from the start if it may write.  A standby knows no serializable ones, and a
 * parallel worker does not know what the transaction has used.
 */
static bool
reader_may_serve(const char *store, Oid serverid)
{
	if (suspensions != NIL || writing_depth > 0 || IsParallelWorker() ||
		IsolationIsSerializable() ||
		(IsolationUsesXactSnapshot() && !XactReadOnly) ||
		list_member_oid(left_readers, serverid) || runops_writes_has(store))
		return false;

	/* COPY FROM and a commit fire triggers outside of any statement */
	return DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0)) == 0;
}

/*
 * Would a statement that only reads a store now go to its reader?
 *
 * The legacy store of this database is never read from its reader by statements,
 * but by runops_reader_query().
 */
bool
runops_reader_serves(const char *store)
{
	Oid			serverid;

	if (runops_gate_closed_reason() != NULL)
		return false;
	serverid = runops_reader_server(store);

	return OidIsValid(serverid) && reader_may_serve(store, serverid);
}

/*
 * Has the transaction locked a table against writers?
 */
static bool
locked_by_me(Oid relid)
{
	Relation	rel = RelationIdGetRelation(relid);
	bool		result;

	if (!RelationIsValid(rel))
		return false;
	result = CheckRelationLockedByMe(rel, ShareLock, true);
	RelationClose(rel);

	return result;
}

/*
 * Does the transaction keep others from writing to a table that a statement
 * reads from some store?
 *
 * Who locks a table and then looks whether a row is there wants to know it of
 * now.  LOCK TABLE of a routed table locks its leaves as well, unless it says
 * ONLY, and one that is new has no lock.
 */
static bool
keeps_others_out(EState *estate)
{
	ListCell   *lc;

	foreach(lc, estate->es_range_table)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind != RTE_RELATION ||
			(rte->relkind != RELKIND_FOREIGN_TABLE && rte->relkind != RELKIND_PARTITIONED_TABLE))
			continue;
		if (locked_by_me(rte->relid) ||
			(get_rel_relispartition(rte->relid) &&
			 locked_by_me(get_partition_parent(rte->relid, true))))
			return true;
	}

	return false;
}

/*
 * Does a statement write or lock rows, of whatever table?
 */
static bool
statement_writes(const PlannedStmt *stmt)
{
	ListCell   *lc;

	if (stmt->commandType != CMD_SELECT || stmt->hasModifyingCTE)
		return true;

	foreach(lc, stmt->rowMarks)
	{
		if (lfirst_node(PlanRowMark, lc)->strength != LCS_NONE)
			return true;
	}

	return false;
}

/*
 * The statement ends: forget what was decided for it.
 */
static void
forget_decision(void *arg)
{
	dlist_delete(&((Decision *) arg)->node);
}

/*
 * What was decided for a statement about a reader, or NULL.
 */
static Decision *
find_decision(EState *estate, Oid serverid)
{
	dlist_iter	iter;

	dlist_foreach(iter, &decisions)
	{
		Decision   *decision = dlist_container(Decision, node, iter.cur);

		if (decision->estate == estate && decision->serverid == serverid)
			return decision;
	}

	return NULL;
}

/*
 * Decide for a statement whether the reader of a store serves it.
 */
static Decision *
decide(EState *estate, const char *store, Oid serverid)
{
	Decision   *decision;

	decision = MemoryContextAllocZero(estate->es_query_cxt, sizeof(Decision));
	decision->estate = estate;
	decision->serverid = serverid;
	decision->by_reader = !statement_writes(estate->es_plannedstmt) &&
		reader_may_serve(store, serverid) && !keeps_others_out(estate);
	namestrcpy(&decision->server, GetForeignServer(serverid)->servername);
	decision->callback.func = forget_decision;
	decision->callback.arg = decision;
	dlist_push_head(&decisions, &decision->node);
	MemoryContextRegisterResetCallback(estate->es_query_cxt, &decision->callback);

	return decision;
}

/*
 * The foreign table of the reader that is to serve a scan; InvalidOid if the
 * writer is, which is noted then.
 *
 * Stores of one server have one reader; see add_store.  So the first table of a
 * join tells for all.
 */
Oid
runops_reader_for_scan(ForeignScanState *node)
{
	EState	   *estate = node->ss.ps.state;
	Oid			relid = runops_fdw_scan_relid(node);
	char		store[RUNOPS_STORE_LEN];
	Decision   *decision;
	Oid			table;
	Oid			serverid;

	if (!runops_leaf_store(relid, store))
		return InvalidOid;
	table = reader_table(store);
	if (!OidIsValid(table))
		return InvalidOid;

	serverid = GetForeignServerIdByRelId(table);
	decision = find_decision(estate, serverid);
	if (decision == NULL)
		decision = decide(estate, store, serverid);
	if (decision->by_reader)
		return table;

	runops_reader_leave(store);

	return InvalidOid;
}

/*
 * The name of the reader that serves a scan, for an error: nothing is looked up
 * in the catalogs.  NULL if the scan has not been begun, or not by a reader.
 */
const char *
runops_reader_name(ForeignScanState *node, Oid readerid)
{
	Decision   *decision = OidIsValid(readerid) ?
		find_decision(node->ss.ps.state, readerid) : NULL;

	return decision && decision->by_reader ? NameStr(decision->server) : NULL;
}

/*
 * Let postgres_fdw begin a scan, on the server of another foreign table.
 *
 * Of a table, postgres_fdw reads the server by its OID and, before 16, the user
 * by its entry in the range table; all else of the scan is in the plan and in
 * the node.  The plan may be shared and the range table is, so that the call is
 * given copies.
 */
void
runops_reader_begin_scan(ForeignScanState *node, Oid table, int eflags)
{
	EState	   *estate = node->ss.ps.state;
	Plan	   *plan = node->ss.ps.plan;
	List	   *range_table = estate->es_range_table;
	Index		size = estate->es_range_table_size;
	ForeignScan *shown = makeNode(ForeignScan);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	Index		rti;

	memcpy(rte, exec_rt_fetch(runops_fdw_scan_rtindex(node), estate), sizeof(RangeTblEntry));
	rte->relid = table;
	memcpy(shown, plan, sizeof(ForeignScan));

	PG_TRY();
	{
		estate->es_range_table = lappend(list_copy(range_table), rte);
		rti = list_length(estate->es_range_table);
		estate->es_range_table_size = rti;
		if (shown->scan.scanrelid > 0)
			shown->scan.scanrelid = rti;
		else
			FOREIGN_SCAN_BASE_RELIDS(shown) = bms_make_singleton(rti);
		node->ss.ps.plan = (Plan *) shown;
		pgfdw.BeginForeignScan(node, eflags);
	}
	PG_FINALLY();
	{
		node->ss.ps.plan = plan;
		estate->es_range_table = range_table;
		estate->es_range_table_size = size;
	}
	PG_END_TRY();
}

/*
 * The rows of a query that the reader of a store runs, as a list of Jsonb; each
 * row is one object.
 *
 * The query is wrapped as by runops.remote_query(), and runs with the current
 * user's mapping for the reader's server.  Whether it may be asked at all is the
 * caller's business; see runops_reader_serves().  Raises where the gate to the
 * store or its reader is closed, and what the reader reports.
 */
List *
runops_reader_query(const char *store, const char *sql)
{
	Oid			serverid = runops_reader_server(store);
	ListCell   *lc;

	if (!OidIsValid(serverid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("store \"%s\" has no reader", store),
				 errdetail("The view \"%s.stores\" shows the readers.", RUNOPS_SCHEMA),
				 errhint("Name one as the argument \"reader\" of %s.add_store().", RUNOPS_SCHEMA)));

	foreach(lc, runops_stores())
	{
		RunopsStore *s = (RunopsStore *) lfirst(lc);

		if (strcmp(s->store, store) == 0 && OidIsValid(s->serverid))
			runops_gate_require_server(s->serverid, GetUserId(), store, NULL);
	}
	runops_gate_require_server(serverid, GetUserId(), store, NULL);

	return runops_remote_rows(store, serverid, sql);
}

/*
 * Does the statement write, or store what it selects?
 */
static bool
query_writes(QueryDesc *queryDesc)
{
	return statement_writes(queryDesc->plannedstmt) ||
		(queryDesc->dest != NULL &&
		 (queryDesc->dest->mydest == DestIntoRel ||
		  queryDesc->dest->mydest == DestTransientRel));
}

/*
 * Call the next ExecutorRun in the chain.
 */
static void
run_next(QueryDesc *queryDesc, ScanDirection direction, uint64 count
		 EXECUTE_ONCE_PARAMETER)
{
	if (prev_ExecutorRun_hook)
		prev_ExecutorRun_hook(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
	else
		standard_ExecutorRun(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
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
 * ExecutorRun_hook: know what runs inside of a statement that writes.
 */
static void
reader_ExecutorRun(QueryDesc *queryDesc, ScanDirection direction, uint64 count
				   EXECUTE_ONCE_PARAMETER)
{
	if (!query_writes(queryDesc))
	{
		run_next(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
		return;
	}

	writing_depth++;
	PG_TRY();
	{
		run_next(queryDesc, direction, count EXECUTE_ONCE_ARGUMENT);
	}
	PG_FINALLY();
	{
		writing_depth--;
	}
	PG_END_TRY();
}

/*
 * ExecutorFinish_hook: the same, for what was put off until the end, triggers
 * above all.
 */
static void
reader_ExecutorFinish(QueryDesc *queryDesc)
{
	if (!query_writes(queryDesc))
	{
		finish_next(queryDesc);
		return;
	}

	writing_depth++;
	PG_TRY();
	{
		finish_next(queryDesc);
	}
	PG_FINALLY();
	{
		writing_depth--;
	}
	PG_END_TRY();
}

/*
 * Does a utility statement write, or compute what is stored?
 *
 * Expressions of a table's columns, constraints and indexes are computed outside
 * of any plan, and so are the arguments of EXECUTE.
 */
static bool
utility_writes(Node *stmt)
{
	PreparedStatement *prepared;
	ListCell   *lc;

	switch (nodeTag(stmt))
	{
		case T_CopyStmt:
			return ((CopyStmt *) stmt)->is_from;
		case T_AlterTableStmt:
		case T_AlterDomainStmt:
		case T_CreateTableAsStmt:
		case T_RefreshMatViewStmt:
		case T_IndexStmt:
		case T_ReindexStmt:
		case T_ClusterStmt:
			return true;
		case T_ExecuteStmt:
			prepared = FetchPreparedStatement(((ExecuteStmt *) stmt)->name, false);
			if (prepared == NULL)
				return false;
			foreach(lc, prepared->plansource->query_list)
			{
				Query	   *query = lfirst_node(Query, lc);

				if (query->commandType != CMD_SELECT || query->hasModifyingCTE ||
					query->hasForUpdate)
					return true;
			}
			return false;
		default:
			return false;
	}
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
 * ProcessUtility_hook: the same for utility statements.
 */
static void
reader_ProcessUtility(PlannedStmt *pstmt, const char *queryString,
					  bool readOnlyTree, ProcessUtilityContext context,
					  ParamListInfo params, QueryEnvironment *queryEnv,
					  DestReceiver *dest, QueryCompletion *qc)
{
	if (!utility_writes(pstmt->utilityStmt))
	{
		utility_next(pstmt, queryString, readOnlyTree, context, params,
					 queryEnv, dest, qc);
		return;
	}

	writing_depth++;
	PG_TRY();
	{
		utility_next(pstmt, queryString, readOnlyTree, context, params,
					 queryEnv, dest, qc);
	}
	PG_FINALLY();
	{
		writing_depth--;
	}
	PG_END_TRY();
}

/*
 * Install the hooks.
 */
void
runops_reader_init(void)
{
	prev_ExecutorRun_hook = ExecutorRun_hook;
	ExecutorRun_hook = reader_ExecutorRun;
	prev_ExecutorFinish_hook = ExecutorFinish_hook;
	ExecutorFinish_hook = reader_ExecutorFinish;
	prev_ProcessUtility_hook = ProcessUtility_hook;
	ProcessUtility_hook = reader_ProcessUtility;
}
