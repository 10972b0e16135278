/*-------------------------------------------------------------------------
 *
 * protect_alter.c
 *	  Rejects changes of foreign leaves, and of the tables of unique keys'
 *	  entries, that would redirect reads or writes.
 *
 * The owner of a routed table owns its leaves too.  The options of a foreign
 * leaf decide which table of the store is read and written, with a user
 * mapping that may be shared, so they must follow from the configuration.
 * Entries are written by code that depends on their columns, and without any
 * trigger.
 * code that relies on their columns, and without any trigger.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "integrity/integrity.h"
#include "setup/setup_int.h"
#include "topology/topology.h"

/*
 * Is a relation the foreign table for the reader of a store?
 */
bool
runops_is_reader_table(Oid relid)
{
	char		store[RUNOPS_STORE_LEN];

	return get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE &&
		!get_rel_relispartition(relid) &&
		runops_reader_table_store(relid, store) && runops_store_exists(store, false);
}

/*
 * Is a relation a foreign leaf of a routed table, or the foreign table for the
 * reader of a store?
 */
static bool
is_foreign_leaf(Oid relid)
{
	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_FOREIGN_TABLE)
		return false;
	if (get_rel_relispartition(relid))
		return list_member_oid(runops_routed_tables(), get_partition_parent(relid, true));

	return runops_is_reader_table(relid);
}

/*
 * Raise an error: this property of the leaf must not be changed.
 */
static void
refuse_leaf(Oid relid, const char *what, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
			 errmsg("cannot change %s of foreign table \"%s\" because it belongs to a store",
					what, get_rel_name(relid)),
			 errdetail_internal("%s", detail),
			 errhint("%s", hint)));
}

/*
 * Raise an error for options that decide which table or column of the store is
 * used.
 */
static void
check_options(Oid relid, List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, "schema_name") == 0 ||
			strcmp(def->defname, "table_name") == 0 ||
			strcmp(def->defname, "column_name") == 0)
			refuse_leaf(relid, psprintf("option \"%s\"", def->defname),
						_("It decides which rows of the store are read and written."),
						_("Use runops.drop_store and runops.add_store, or runops.detach and runops.attach."));
	}
}

/*
 * Raise an error for a command of ALTER TABLE that changes the remote table of
 * a foreign leaf, or its owner.
 */
static void
check_leaf_commands(Oid relid, List *cmds)
{
	ListCell   *lc;

	foreach(lc, cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_GenericOptions || cmd->subtype == AT_AlterColumnGenericOptions)
			check_options(relid, (List *) cmd->def);
		else if (cmd->subtype == AT_ChangeOwner)
			refuse_leaf(relid, _("the owner"),
						_("Leaves belong to the owner of the routed table."),
						_("Change the owner of the routed table."));
	}
}

/*
 * The table of entries that a relation is, or is an index of; InvalidOid if it
 * is neither.
 */
static Oid
entries_of(Oid relid)
{
	char		relkind = OidIsValid(relid) ? get_rel_relkind(relid) : '\0';
	Oid			table = relkind == RELKIND_INDEX ? IndexGetRelation(relid, true) : relid;

	if (relkind != RELKIND_INDEX && relkind != RELKIND_RELATION)
		return InvalidOid;

	return OidIsValid(table) && runops_unique_is_entries(table) ? table : InvalidOid;
}

/*
 * Raise an error: the user must not change entries.
 */
static void
refuse_entries(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
			 errmsg("cannot change table \"%s\" because it holds the entries of a unique key",
					get_rel_name(relid)),
			 errdetail("The entries are written with the columns and the index that they were made with."),
			 errhint("Use runops.drop_unique and runops.add_unique.")));
}

/*
 * Does a command of ALTER TABLE leave entries usable?
 *
 * A dump adds the primary key after the keys are configured.
 */
static bool
is_harmless(const AlterTableCmd *cmd)
{
	switch (cmd->subtype)
	{
		case AT_AddConstraint:
			return castNode(Constraint, cmd->def)->contype == CONSTR_PRIMARY;
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_SetStatistics:
		case AT_SetTableSpace:
		case AT_ClusterOn:
			return true;
		default:
			return false;
	}
}

/*
 * Raise an error for a statement that adds an object to entries which would
 * run when they are written.
 */
static void
check_attached(RangeVar *relation)
{
	Oid			entries = entries_of(RangeVarGetRelid(relation, NoLock, true));

	if (OidIsValid(entries))
		refuse_entries(entries);
}

/*
 * Raise an error for ALTER TABLE, or for ALTER FOREIGN TABLE or ALTER INDEX.
 */
static void
check_alter(AlterTableStmt *stmt)
{
	Oid			relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	Oid			entries;
	ListCell   *lc;

	if (is_foreign_leaf(relid))
		check_leaf_commands(relid, stmt->cmds);
	entries = entries_of(relid);
	foreach(lc, OidIsValid(entries) ? stmt->cmds : NIL)
	{
		if (!is_harmless(lfirst_node(AlterTableCmd, lc)))
			refuse_entries(entries);
	}
}

/*
 * Raise an error if a table gets another name or schema, by which it would no
 * longer be found.
 */
static void
check_moved(RangeVar *relation, bool renamed_column)
{
	Oid			relid = RangeVarGetRelid(relation, NoLock, true);

	if (!renamed_column && is_foreign_leaf(relid))
		refuse_leaf(relid, _("name or schema"),
					_("Leaves are known by the schema of their store."),
					_("Use runops.drop_store, or runops.detach."));
	if (OidIsValid(entries_of(relid)))
		refuse_entries(entries_of(relid));
}

/*
 * Raise an error for a statement that changes a foreign leaf or entries.
 *
 * Statements of the extension itself are allowed.
 */
void
runops_protect_alter(Node *parsetree)
{
	if (IsBinaryUpgrade || runops_in_own_step())
		return;

	switch (nodeTag(parsetree))
	{
		case T_AlterTableStmt:
			check_alter((AlterTableStmt *) parsetree);
			break;
		case T_RenameStmt:
			if (((RenameStmt *) parsetree)->relation != NULL)
				check_moved(((RenameStmt *) parsetree)->relation,
							((RenameStmt *) parsetree)->renameType == OBJECT_COLUMN);
			break;
		case T_AlterObjectSchemaStmt:
			if (((AlterObjectSchemaStmt *) parsetree)->relation != NULL)
				check_moved(((AlterObjectSchemaStmt *) parsetree)->relation, false);
			break;
		case T_CreateTrigStmt:
			check_attached(((CreateTrigStmt *) parsetree)->relation);
			break;
		case T_IndexStmt:
			check_attached(((IndexStmt *) parsetree)->relation);
			break;
		case T_RuleStmt:
			check_attached(((RuleStmt *) parsetree)->relation);
			break;
		case T_CreatePolicyStmt:
			check_attached(((CreatePolicyStmt *) parsetree)->table);
			break;
		default:
			break;
	}
}
