/*-------------------------------------------------------------------------
 *
 * watch_ddl.c
 *	  Invalidates resolver values on DDL that may change them, and tracks which
 *	  transactions write to foreign tables.
 *
 * The objects that a query depends on are not examined: its tables, views,
 * functions, policies, the privileges of the registrant, servers and user
 * mappings all count, and DDL is rare.  So a command that could concern any of
 * these invalidates all slots of its database, and a command about roles those
 * of all databases.  Commands that only create new objects, and commands on
 * objects that do not change rows, are ignored.
 *
 * The tags are collected before the command runs: if it fails, they are
 * dropped with it.  They are collected again afterwards, because some commands
 * commit in between.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "parser/parsetree.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "control_plane/resolver_int.h"

/* Has this transaction written to a foreign table, or may it have? */
static bool wrote_foreign = false;

/*
 * Does TRUNCATE include a table whose own trigger may not fire?
 *
 * A partition may be watched through its parent, whose trigger does not fire,
 * and a foreign table cannot have a TRUNCATE trigger before PostgreSQL 16.
 */
static bool
truncates_untold(TruncateStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->relations)
	{
		Oid			relid = RangeVarGetRelid(lfirst(lc), NoLock, true);

		if (OidIsValid(relid) &&
			(get_rel_relispartition(relid) || get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE))
			return true;
	}

	/* CASCADE truncates all referencing tables, which may be partitions */
	return stmt->behavior == DROP_CASCADE;
}

/*
 * Are all tables of a DROP temporary?
 */
static bool
drops_temporary(DropStmt *stmt)
{
	ListCell   *lc;

	if (stmt->removeType != OBJECT_TABLE)
		return false;

	foreach(lc, stmt->objects)
	{
		Oid			relid = RangeVarGetRelid(makeRangeVarFromNameList(lfirst(lc)),
											 NoLock, true);

		if (OidIsValid(relid) && get_rel_persistence(relid) != RELPERSISTENCE_TEMP)
			return false;
	}

	return true;
}

/*
 * Does ALTER ROLE change only how the role logs in?
 */
static bool
alters_login_only(AlterRoleStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->options)
	{
		const char *name = ((DefElem *) lfirst(lc))->defname;

		if (strcmp(name, "password") != 0 && strcmp(name, "validUntil") != 0 &&
			strcmp(name, "connectionlimit") != 0 && strcmp(name, "canlogin") != 0)
			return false;
	}

	return true;
}

/*
 * The scope of a command.
 */
static RunopsDdlScope
ddl_scope(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_TruncateStmt:
			return truncates_untold((TruncateStmt *) stmt) ? RUNOPS_DDL_DATABASE : RUNOPS_DDL_NOTHING;

		case T_DropStmt:
			if (((DropStmt *) stmt)->removeType == OBJECT_INDEX ||
				drops_temporary((DropStmt *) stmt))
				return RUNOPS_DDL_NOTHING;
			return RUNOPS_DDL_DATABASE;

		case T_AlterRoleStmt:
			return alters_login_only((AlterRoleStmt *) stmt) ? RUNOPS_DDL_NOTHING : RUNOPS_DDL_CLUSTER;

		case T_DropRoleStmt:
		case T_GrantRoleStmt:
			return RUNOPS_DDL_CLUSTER;

		case T_RenameStmt:
			return ((RenameStmt *) stmt)->renameType == OBJECT_ROLE ? RUNOPS_DDL_CLUSTER : RUNOPS_DDL_DATABASE;

			/* new objects, and objects that change no rows */
		case T_AlterDatabaseSetStmt:
		case T_AlterDatabaseStmt:
		case T_AlterEventTrigStmt:
		case T_AlterOpFamilyStmt:
		case T_AlterPublicationStmt:
		case T_AlterRoleSetStmt:
		case T_AlterStatsStmt:
		case T_AlterSubscriptionStmt:
		case T_AlterSystemStmt:
		case T_AlterTableSpaceOptionsStmt:
		case T_CommentStmt:
		case T_CreateAmStmt:
		case T_CreateConversionStmt:
		case T_CreateEventTrigStmt:
		case T_CreateExtensionStmt:
		case T_CreateFdwStmt:
		case T_CreateForeignServerStmt:
		case T_CreatePLangStmt:
		case T_CreatePublicationStmt:
		case T_CreateRoleStmt:
		case T_CreateSchemaStmt:
		case T_CreateSeqStmt:
		case T_CreateStatsStmt:
		case T_CreateStmt:
		case T_CreateSubscriptionStmt:
		case T_CreateTableAsStmt:
		case T_CreateTableSpaceStmt:
		case T_CreatedbStmt:
		case T_DropSubscriptionStmt:
		case T_DropTableSpaceStmt:
		case T_IndexStmt:
		case T_ReindexStmt:
		case T_SecLabelStmt:
			return RUNOPS_DDL_NOTHING;

		default:
			return GetCommandLogLevel(stmt) == LOGSTMT_DDL ? RUNOPS_DDL_DATABASE : RUNOPS_DDL_NOTHING;
	}
}

/*
 * The tag of everything in this database, or in all databases.
 */
static RunopsTag
scope_tag(RunopsDdlScope scope)
{
	Oid			dbid = scope == RUNOPS_DDL_CLUSTER ? InvalidOid : MyDatabaseId;

	return runops_tags_make(runops_tags_prefix(dbid, RUNOPS_TAG_SLOT, NULL), NULL, 0);
}

/*
 * A command is about to run: invalidate the values that it may change, and
 * note the actions to take after it has run.
 */
void
runops_watch_command(Node *stmt, RunopsWatchedCommand *command)
{
	memset(command, 0, sizeof(RunopsWatchedCommand));
	if (!runops_cache_enabled() || !IsTransactionState())
		return;

	command->scope = ddl_scope(stmt);
	if (command->scope != RUNOPS_DDL_NOTHING)
		runops_invalidate(scope_tag(command->scope));
	if (IsA(stmt, DropdbStmt))
	{
		Oid			dbid = get_database_oid(((DropdbStmt *) stmt)->dbname, true);

		if (OidIsValid(dbid) && dbid != MyDatabaseId)
			runops_cache_purge(dbid, NULL);
	}

	if (IsA(stmt, CopyStmt) && ((CopyStmt *) stmt)->is_from)
		wrote_foreign = true;

	/* the parse tree may be gone when the command has run */
	command->commits_prepared = IsA(stmt, TransactionStmt) &&
		((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED;
	command->drops_extension = IsA(stmt, DropStmt) &&
		((DropStmt *) stmt)->removeType == OBJECT_EXTENSION;
}

/*
 * A command has run: invalidate the values that it has changed.
 */
void
runops_watch_command_done(const RunopsWatchedCommand *command)
{
	if (command->scope != RUNOPS_DDL_NOTHING)
		runops_invalidate(scope_tag(command->scope));
	if (command->drops_extension && !OidIsValid(get_extension_oid("runops", true)))
		runops_cache_purge(MyDatabaseId, NULL);

	/* the tags of the prepared transaction are not known */
	if (command->commits_prepared)
	{
		RunopsTag	tags[2] = {scope_tag(RUNOPS_DDL_DATABASE), scope_tag(RUNOPS_DDL_CLUSTER)};

		runops_tags_bump(tags, lengthof(tags));
	}
}

/*
 * A statement is about to start: note whether it writes to a foreign table, or
 * to a partitioned table, which may have foreign partitions.
 */
void
runops_watch_statement(QueryDesc *queryDesc, int eflags)
{
	ListCell   *lc;

	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) || !PLAN_HAS_TARGETS(queryDesc->plannedstmt))
		return;

	foreach(lc, queryDesc->plannedstmt->rtable)
	{
		char		relkind = lfirst_node(RangeTblEntry, lc)->relkind;

		if (!PLAN_HAS_TARGET(queryDesc->plannedstmt, foreach_current_index(lc) + 1))
			continue;
		if (relkind == RELKIND_FOREIGN_TABLE || relkind == RELKIND_PARTITIONED_TABLE)
			wrote_foreign = true;
	}
}

/*
 * May this transaction have written to a foreign table?
 *
 * Other transactions do not see its rows there, but this transaction sees them
 * through any foreign table of that server.
 */
bool
runops_wrote_foreign(void)
{
	return wrote_foreign;
}

/*
 * Transaction callback: reset.
 */
static void
forget_writes(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		wrote_foreign = false;
}

/*
 * Register the transaction callback.
 */
void
runops_watch_init(void)
{
	RegisterXactCallback(forget_writes, NULL);
}
