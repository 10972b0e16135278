/*-------------------------------------------------------------------------
 *
 * reader_policy.c
 *	  Decides which statements a store's reader serves.
 *
 * A reader is a standby of the store's writer, so it may be behind.  It serves
 * only statements that do nothing but read, and only in transactions that have
 * not used the writer.  The rows that such a transaction has written, locked
 * or seen on the writer may not have arrived at the reader, and they must not
 * disappear in the next statement.  This holds after ROLLBACK TO SAVEPOINT as
 * well.  A statement that writes anywhere, and every statement that runs
 * inside it, reads the writer, so that no stored data depends on old rows.
 *
 * The plan is made for the collations of the writer, so a reader with others
 * serves no statement.
 *
 * All this is decided at execution, because a plan outlives the transaction
 * that made it.
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
#include "gate/gate.h"
#include "topology/topology.h"
#include "xact/xact.h"

/*
 * Where a running statement reads a store; it is the same for all scans of the
 * statement.
 *
 * It lives in the statement's memory context, and is unlinked from the list
 * with it.
 */
typedef struct ReaderChoice
{
	dlist_node	node;			/* in choices */
	EState	   *estate;
	Oid			serverid;		/* of the reader */
	bool		by_reader;
	NameData	server;			/* its name, for errors */
	MemoryContextCallback callback;
} ReaderChoice;

static dlist_head choices = DLIST_STATIC_INIT(choices);

/*
 * The readers whose writer this transaction has used; in
 * TopTransactionContext.
 */
static List *left_readers = NIL;

/*
 * The nest level of the transaction at each suspension, the outermost first.
 */
static List *suspensions = NIL;

static bool callbacks_registered = false;

/* The number of nested writing statements that are being executed. */
static int	writing_depth = 0;

/*
 * Transaction callback: at the end, forget the used writers and the
 * suspensions.
 */
static void
end_of_transaction(XactEvent event, void *arg)
{
	left_readers = NIL;
	suspensions = NIL;
}

/*
 * Subtransaction callback: end the suspensions of the subtransaction.
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
 * Register the callbacks, once per backend.
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
 * Make every statement read the writer, until runops_reader_resume() was
 * called as often, or until the (sub)transaction ends.
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
 * Note that this transaction uses the writer of a store, so later statements
 * use it too.
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
 * May a statement that only reads a store use its reader now?
 *
 * A read from the legacy store in this database is not recorded as a use of
 * the writer, but a write is.  A transaction with one snapshot for all its
 * statements has a snapshot of the writer from the start if it may write.  A
 * standby has no serializable transactions, and a parallel worker does not
 * know which writers the transaction has used.
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
 * Would a statement that only reads a store now use its reader?
 *
 * Statements never read the legacy store of this database from its reader;
 * only runops_reader_query() does.
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
 * Does the transaction hold a lock that blocks writers of a table that a
 * statement reads from a store?
 *
 * A user who locks a table and then looks for a row wants current data.  LOCK
 * TABLE of a routed table locks its leaves as well, unless it says ONLY.  A
 * leaf that was created later has no lock.
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
 * Does a statement write to any table, or lock rows?
 */
bool
runops_statement_writes(const PlannedStmt *stmt)
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
 * Memory context callback: the statement ends, so forget its decision.
 */
static void
forget_choice(void *arg)
{
	dlist_delete(&((ReaderChoice *) arg)->node);
}

/*
 * The decision for a statement about a reader, or NULL.
 */
static ReaderChoice *
find_choice(EState *estate, Oid serverid)
{
	dlist_iter	iter;

	dlist_foreach(iter, &choices)
	{
		ReaderChoice *choice = dlist_container(ReaderChoice, node, iter.cur);

		if (choice->estate == estate && choice->serverid == serverid)
			return choice;
	}

	return NULL;
}

/*
 * Decide whether the reader of a store serves a statement of a user.
 */
static ReaderChoice *
choose(EState *estate, const char *store, Oid serverid, Oid writerid, Oid userid)
{
	ReaderChoice *choice;

	choice = MemoryContextAllocZero(estate->es_query_cxt, sizeof(ReaderChoice));
	choice->estate = estate;
	choice->serverid = serverid;
	choice->by_reader = !runops_statement_writes(estate->es_plannedstmt) &&
		reader_may_serve(store, serverid) && !keeps_others_out(estate) &&
		runops_sentinel_reader_agrees(writerid, serverid, userid);
	namestrcpy(&choice->server, GetForeignServer(serverid)->servername);
	choice->callback.func = forget_choice;
	choice->callback.arg = choice;
	dlist_push_head(&choices, &choice->node);
	MemoryContextRegisterResetCallback(estate->es_query_cxt, &choice->callback);

	return choice;
}

/*
 * Does the reader of a store serve a statement of a user?  The first call for
 * the statement decides, and later calls give the same answer.
 *
 * The caller has checked the gate to the writer.
 */
bool
runops_reader_serves_statement(EState *estate, const char *store, Oid serverid,
							   Oid writerid, Oid userid)
{
	ReaderChoice *choice = find_choice(estate, serverid);

	if (choice == NULL)
		choice = choose(estate, store, serverid, writerid, userid);

	return choice->by_reader;
}

/*
 * The name of a reader if it serves a statement, else NULL.  Reads no catalog,
 * so that an error context callback can call it.
 */
const char *
runops_reader_of_statement(EState *estate, Oid serverid)
{
	ReaderChoice *choice = find_choice(estate, serverid);

	return choice && choice->by_reader ? NameStr(choice->server) : NULL;
}

/*
 * Does a utility statement write, or compute values that are stored?
 *
 * Expressions of a table's columns, constraints and indexes are computed
 * outside of any plan, and so are the arguments of EXECUTE.
 */
bool
runops_utility_writes(Node *stmt)
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
		case T_RepackStmt:
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
 * A statement that writes begins: all statements inside it read the writer.
 */
void
runops_writing_begin(void)
{
	writing_depth++;
}

/*
 * The statement ends, perhaps by an error.
 */
void
runops_writing_end(void)
{
	writing_depth--;
}
