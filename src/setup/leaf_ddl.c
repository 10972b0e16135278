/*-------------------------------------------------------------------------
 *
 * leaf_ddl.c
 *	  Sends DDL that names a routed table, and means what stands on its leaf, to
 *	  the leaf.
 *
 * Migrations that were written before a table was routed name its indexes and
 * constraints as if nothing had happened.  Core would raise an error, or say
 * "does not exist, skipping" where the object exists one schema further.  So
 * the names are replaced before core sees the statement; core then checks the
 * rights and does the work.  What cannot mean the leaf raises an error that
 * names it.
 *
 * docs/migrations.md lists what happens to each statement.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "setup/setup.h"
#include "setup/setup_int.h"
#include "topology/topology.h"

/* Is the library preloaded, so that commands are replaced? */
static bool hooked = false;

/* Has the present command said that it does not reach the stores? */
static bool reported = false;

/*
 * A qualified name as the grammar makes it for DROP and COMMENT, with one more
 * name at the end if "last" is not NULL.
 */
static List *
name_list(RangeVar *name, const char *last)
{
	List	   *result = list_make2(makeString(name->schemaname), makeString(name->relname));

	return last ? lappend(result, makeString(pstrdup(last))) : result;
}

/*
 * The table in the name of an object that belongs to a table.
 */
static RangeVar *
table_in_name(List *name)
{
	return makeRangeVarFromNameList(list_truncate(list_copy(name), list_length(name) - 1));
}

/*
 * Report that an index is changed here, and not in the stores.
 */
static void
report_index(Oid routed, const char *name)
{
	const RunopsRoute *route = runops_route(routed);

	if (route != NULL && route->nleaves > 1)
		ereport(NOTICE,
				(errmsg("index \"%s\" of table \"%s\" was changed in this database only",
						name, get_rel_name(routed)),
				 errdetail("The tables in the other stores were not changed."),
				 errhint("Run the statement in each of these stores too.")));
}

/*
 * The leaf of a table that a name means, if the leaf has a trigger of this name
 * and the routed table has not; else InvalidOid.
 */
static Oid
leaf_with_trigger(RangeVar *table, const char *trigger)
{
	Oid			leaf;
	Oid			routed = runops_routed_by_name(table, &leaf);

	if (!OidIsValid(routed) || OidIsValid(get_trigger_oid(routed, trigger, true)) ||
		!OidIsValid(get_trigger_oid(leaf, trigger, true)))
		return InvalidOid;
	runops_require_owner(leaf, OBJECT_TABLE, get_rel_name(routed));

	return leaf;
}

/*
 * DROP INDEX, DROP TRIGGER.
 */
static bool
drop_of_leaf(DropStmt *stmt)
{
	bool		changed = false;
	ListCell   *lc;

	foreach(lc, stmt->objects)
	{
		List	   *name;
		RangeVar   *rv;
		Oid			routed;
		Oid			found;

		if (stmt->removeType != OBJECT_INDEX && stmt->removeType != OBJECT_TRIGGER)
			return false;

		name = castNode(List, lfirst(lc));
		if (stmt->removeType == OBJECT_TRIGGER)
		{
			found = leaf_with_trigger(table_in_name(name), strVal(llast(name)));
			if (OidIsValid(found))
				lfirst(lc) = name_list(runops_name_of(found), strVal(llast(name)));
			changed |= OidIsValid(found);
			continue;
		}

		rv = makeRangeVarFromNameList(name);
		found = runops_leaf_index(rv, &routed);
		if (OidIsValid(found))
		{
			runops_require_owner(found, OBJECT_INDEX, rv->relname);
			lfirst(lc) = name_list(runops_name_of(found), NULL);
			report_index(routed, rv->relname);
			changed = true;
		}
		else if (OidIsValid(runops_index_part(rv, &found)) && !OidIsValid(runops_key_index(rv)))
		{
			if (stmt->concurrent)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot drop index \"%s\" of a routed table concurrently", rv->relname),
						 errdetail("It is a partitioned index, of which leaf %s has a part.",
								   runops_quoted_name_of(runops_leaf_of(IndexGetRelation(found, false)))),
						 errhint("Run DROP INDEX %s, which locks the table for a moment.",
								 runops_quoted_name_of(found))));
			report_index(IndexGetRelation(found, false), rv->relname);
		}
	}

	return changed;
}

/*
 * Change a statement that renames the key of a routed table into one that renames
 * the primary key of the leaf.  Returns false if the leaf has none.
 */
static bool
rename_leaf_key(RenameStmt *stmt, Oid routed)
{
	Oid			leaf = runops_leaf_of(routed);
	Oid			index = runops_primary_index(leaf);

	if (!OidIsValid(index))
		return false;
	runops_require_create(routed, leaf);
	stmt->newname = runops_free_leaf_name(routed, leaf, stmt->newname);
	stmt->renameType = stmt->relationType = OBJECT_INDEX;
	stmt->relation = runops_name_of(index);

	return true;
}

/*
 * ALTER INDEX ... RENAME, RENAME CONSTRAINT, ALTER TRIGGER ... RENAME.
 *
 * *both is set if the routed table has the object as well.
 */
static bool
rename_of_leaf(RenameStmt *stmt, bool *both)
{
	Oid			routed;
	Oid			leaf;
	Oid			found;
	char	   *present;

	if (stmt->relation == NULL)
		return false;

	switch (stmt->renameType)
	{
		case OBJECT_INDEX:
		case OBJECT_TABLE:
			found = runops_leaf_index(stmt->relation, &routed);
			if (!OidIsValid(found))
			{
				routed = runops_key_index(stmt->relation);
				*both = OidIsValid(routed) && rename_leaf_key(stmt, routed);
				return *both;
			}
			leaf = IndexGetRelation(found, false);
			runops_require_create(routed, leaf);
			report_index(routed, stmt->relation->relname);
			stmt->newname = runops_new_leaf_name(routed, leaf, stmt->newname);
			stmt->relation = runops_name_of(found);
			return true;

		case OBJECT_TABCONSTRAINT:
			routed = runops_routed_by_name(stmt->relation, &leaf);
			if (!OidIsValid(routed))
				return false;
			if (OidIsValid(runops_key_by_name(routed, stmt->subname)))
			{
				*both = rename_leaf_key(stmt, routed);
				return *both;
			}
			if (OidIsValid(get_relation_constraint_oid(routed, stmt->subname, true)))
				return false;
			present = runops_leaf_constraint(routed, leaf, stmt->subname);
			if (present == NULL)
				return false;
			runops_require_owner(leaf, OBJECT_TABLE, stmt->relation->relname);
			stmt->relation = runops_name_of(leaf);
			stmt->subname = present;
			return true;

		case OBJECT_TRIGGER:
			leaf = leaf_with_trigger(stmt->relation, stmt->subname);
			if (OidIsValid(leaf))
				stmt->relation = runops_name_of(leaf);
			return OidIsValid(leaf);

		default:
			return false;
	}
}

/*
 * COMMENT ON INDEX, CONSTRAINT, TRIGGER and COLUMN.
 *
 * *both is set if the comment belongs to the routed table as well.
 */
static bool
comment_of_leaf(CommentStmt *stmt, bool *both)
{
	List	   *name = (List *) stmt->object;
	Oid			routed;
	Oid			leaf;
	Oid			found;
	RangeVar   *rv;
	char	   *present;

	switch (stmt->objtype)
	{
		case OBJECT_INDEX:
			rv = makeRangeVarFromNameList(name);
			found = runops_leaf_index(rv, &routed);
			if (!OidIsValid(found))
				return false;
			runops_require_owner(found, OBJECT_INDEX, rv->relname);
			stmt->object = (Node *) name_list(runops_name_of(found), NULL);
			return true;

		case OBJECT_TRIGGER:
			leaf = leaf_with_trigger(table_in_name(name), strVal(llast(name)));
			if (OidIsValid(leaf))
				stmt->object = (Node *) name_list(runops_name_of(leaf), strVal(llast(name)));
			return OidIsValid(leaf);

		case OBJECT_COLUMN:
		case OBJECT_TABCONSTRAINT:
			if (list_length(name) < 2)
				return false;
			rv = table_in_name(name);
			routed = runops_routed_by_name(rv, &leaf);
			if (!OidIsValid(routed))
				return false;
			if (stmt->objtype == OBJECT_COLUMN)
			{
				present = strVal(llast(name));
				*both = get_attnum(leaf, present) != InvalidAttrNumber;
				if (!*both)
					return false;
			}
			else
			{
				present = runops_leaf_constraint(routed, leaf, strVal(llast(name)));
				*both = OidIsValid(get_relation_constraint_oid(routed, strVal(llast(name)), true));
				if (present == NULL)
					return false;
			}
			runops_require_owner(leaf, OBJECT_TABLE, rv->relname);
			stmt->object = (Node *) name_list(runops_name_of(leaf), present);
			return true;

		default:
			return false;
	}
}

/*
 * CREATE INDEX.
 *
 * *nothing is set if IF NOT EXISTS has nothing to do.
 */
static bool
index_of_leaf(IndexStmt *stmt, bool *nothing)
{
	Oid			leaf;
	Oid			routed = runops_routed_by_name(stmt->relation, &leaf);
	List	   *columns = NIL;
	ListCell   *lc;

	/* ONLY means an index of the routed table; a dump creates it so */
	if (!OidIsValid(routed) || !stmt->relation->inh)
		return false;

	if (stmt->if_not_exists && runops_name_is_taken(routed, stmt->idxname))
	{
		ereport(NOTICE,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s\" already exists, skipping", stmt->idxname)));
		*nothing = true;
		return true;
	}

	runops_require_create(routed, leaf);
	if (stmt->idxname == NULL)
	{
		List	   *names = NIL;

		foreach(lc, stmt->indexParams)
			names = lappend(names, runops_element_name(lfirst_node(IndexElem, lc), names));
		foreach(lc, stmt->indexIncludingParams)
			names = lappend(names, runops_element_name(lfirst_node(IndexElem, lc), names));
		stmt->idxname = runops_default_name(routed, leaf, names, "idx", NIL, NIL);
	}
	stmt->idxname = runops_new_leaf_name(routed, leaf, stmt->idxname);
	foreach(lc, stmt->indexParams)
		columns = lappend(columns, lfirst_node(IndexElem, lc)->name);
	if (stmt->unique)
		runops_report_unique(routed, columns);
	stmt->relation = runops_name_of(leaf);

	return true;
}

/*
 * SET CONSTRAINTS.
 */
static bool
constraints_of_leaf(ConstraintsSetStmt *stmt)
{
	bool		changed = false;
	ListCell   *lc;

	foreach(lc, stmt->constraints)
	{
		RangeVar   *present = runops_leaf_constraint_alone(lfirst_node(RangeVar, lc));

		if (present != NULL)
			lfirst(lc) = present;
		changed |= present != NULL;
	}

	return changed;
}

/*
 * REINDEX TABLE and INDEX.
 */
static bool
reindex_of_leaf(ReindexStmt *stmt)
{
	Oid			leaf = InvalidOid;
	Oid			ignored;

	if (stmt->kind == REINDEX_OBJECT_TABLE)
		(void) runops_routed_by_name(stmt->relation, &leaf);
	else if (stmt->kind == REINDEX_OBJECT_INDEX)
	{
		leaf = runops_leaf_index(stmt->relation, &ignored);
		if (!OidIsValid(leaf))
			leaf = runops_index_part(stmt->relation, &ignored);
	}

	if (OidIsValid(leaf))
		stmt->relation = runops_name_of(leaf);

	return OidIsValid(leaf);
}

/*
 * CLUSTER, or REPACK.
 */
static bool
cluster_of_leaf(RepackStmt * stmt)
{
	RangeVar   *relation = REPACK_RELATION(stmt);
	Oid			leaf;
	Oid			routed = relation ? runops_routed_by_name(relation, &leaf) : InvalidOid;

	if (!OidIsValid(routed))
		return false;
	if (stmt->indexname != NULL)
		stmt->indexname = runops_leaf_index_name(routed, leaf, stmt->indexname);
	REPACK_SET_RELATION(stmt, runops_name_of(leaf));

	return true;
}

/*
 * Look at the foreign keys among the constraints of a column, or a table.
 * Returns true if one of them was changed.
 */
static bool
check_foreign_keys(RangeVar *relation, const char *column, List *constraints)
{
	bool		changed = false;
	ListCell   *lc;

	foreach(lc, constraints)
	{
		Constraint *constraint = lfirst(lc);

		if (IsA(constraint, Constraint) && constraint->contype == CONSTR_FOREIGN)
			changed |= runops_refuse_foreign_key(relation, column, constraint);
	}

	return changed;
}

/*
 * CREATE TABLE: LIKE a routed table with its indexes or statistics means the
 * leaf, which has them.
 */
static bool
create_like_leaf(CreateStmt *stmt)
{
	bool		changed = false;
	ListCell   *lc;

	foreach(lc, stmt->tableElts)
	{
		Node	   *element = lfirst(lc);

		if (IsA(element, TableLikeClause))
		{
			TableLikeClause *like = (TableLikeClause *) element;
			Oid			leaf;

			if ((like->options & (CREATE_TABLE_LIKE_INDEXES | CREATE_TABLE_LIKE_STATISTICS)) == 0 ||
				!OidIsValid(runops_routed_by_name(like->relation, &leaf)))
				continue;
			like->relation = runops_name_of(leaf);
			changed = true;
		}
		else if (IsA(element, ColumnDef))
			changed |= check_foreign_keys(stmt->relation, ((ColumnDef *) element)->colname,
										  ((ColumnDef *) element)->constraints);
		else if (IsA(element, Constraint))
			changed |= check_foreign_keys(stmt->relation, NULL, list_make1(element));
	}

	return changed;
}

/*
 * ALTER TABLE of a table that is not routed, and ALTER INDEX.
 */
static bool
alter_of_leaf(AlterTableStmt *stmt)
{
	Oid			routed;
	Oid			found;
	Oid			index;
	bool		changed = false;
	ListCell   *lc;

	if (stmt->objtype != OBJECT_TABLE && stmt->objtype != OBJECT_INDEX)
		return false;

	found = runops_leaf_index(stmt->relation, &routed);
	if (!OidIsValid(found))
	{
		found = runops_index_part(stmt->relation, &index);
		if (OidIsValid(found) &&
			linitial_node(AlterTableCmd, stmt->cmds)->subtype == AT_AttachPartition)
		{
			if (OidIsValid(runops_key_index(stmt->relation)))
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot attach an index to the primary key of routed table \"%s\"",
								get_rel_name(IndexGetRelation(index, false))),
						 errdetail("It stands for the primary keys of all stores, and has no partitions."),
						 errhint("Leave the index as it is.")));
			return false;
		}
	}
	if (OidIsValid(found))
	{
		runops_require_owner(found, OBJECT_INDEX, stmt->relation->relname);
		stmt->relation = runops_name_of(found);
		return true;
	}

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_AddConstraint)
			changed |= check_foreign_keys(stmt->relation, NULL, list_make1(cmd->def));
		else if (cmd->subtype == AT_AddColumn && IsA(cmd->def, ColumnDef))
			changed |= check_foreign_keys(stmt->relation, ((ColumnDef *) cmd->def)->colname,
										  ((ColumnDef *) cmd->def)->constraints);
	}

	return changed;
}

/*
 * Raise for a constraint trigger on a routed table, which foreign leaves cannot
 * have.
 */
static void
refuse_constraint_trigger(CreateTrigStmt *stmt)
{
	Oid			leaf;

	if (stmt->isconstraint && OidIsValid(runops_routed_by_name(stmt->relation, &leaf)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot create a constraint trigger on routed table \"%s\"", stmt->relation->relname),
				 errdetail("Rows in other stores cannot have constraint triggers."),
				 errhint("Create it on %s, where it fires for the rows of store \"%s\".",
						 runops_quoted_name_of(leaf), RUNOPS_LEGACY_STORE)));
}

/*
 * ALTER INDEX ... DEPENDS ON EXTENSION.
 */
static bool
depends_of_leaf(AlterObjectDependsStmt *stmt)
{
	Oid			routed;
	Oid			found = stmt->objectType == OBJECT_INDEX ?
		runops_leaf_index(stmt->relation, &routed) : InvalidOid;

	if (!OidIsValid(found))
		return false;
	runops_require_owner(found, OBJECT_INDEX, stmt->relation->relname);
	stmt->relation = runops_name_of(found);

	return true;
}

/*
 * ALTER TABLE ... SET SCHEMA, ALTER SCHEMA ... RENAME: indexes of leaves that have
 * the old name of the schema in front get the new one.  Returns the statements
 * that do it, to be run afterwards.
 */
static List *
renames_after_move(Node *stmt)
{
	List	   *result = NIL;

	if (IsA(stmt, AlterObjectSchemaStmt))
	{
		AlterObjectSchemaStmt *move = (AlterObjectSchemaStmt *) stmt;
		Oid			leaf = InvalidOid;
		Oid			routed = move->objectType == OBJECT_TABLE && move->relation ?
			runops_routed_by_name(move->relation, &leaf) : InvalidOid;

		if (OidIsValid(routed))
			result = runops_rename_indexes(leaf, get_namespace_name(get_rel_namespace(routed)), move->newschema);
	}
	else
	{
		RenameStmt *rename = castNode(RenameStmt, stmt);
		Oid			nsp = get_namespace_oid(rename->subname, true);
		ListCell   *lc;

		foreach(lc, runops_routed_tables())
		{
			Oid			leaf = get_rel_namespace(lfirst_oid(lc)) == nsp ?
				runops_leaf_of(lfirst_oid(lc)) : InvalidOid;

			if (OidIsValid(leaf))
				result = list_concat(result, runops_rename_indexes(leaf, rename->subname, rename->newname));
		}
	}

	return result;
}

/*
 * A statement that is part of another one, and fires no event trigger.
 */
static PlannedStmt *
part_of_command(Node *stmt)
{
	PlannedStmt *result = makeNode(PlannedStmt);

	result->commandType = CMD_UTILITY;
	result->utilityStmt = stmt;

	return result;
}

/*
 * The statements to run in place of a copy of a statement that may be changed;
 * false if the statement itself is to be run.
 */
static bool
replace_statement(Node *stmt, List **instead)
{
	bool		flag = false;
	bool		changed = false;
	Node	   *original;

	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
			{
				AlterTableStmt *alter = (AlterTableStmt *) stmt;
				Oid			leaf;
				Oid			routed = runops_routed_by_name(alter->relation, &leaf);

				if (OidIsValid(routed) && alter->objtype == OBJECT_TABLE)
				{
					*instead = runops_split_alter(alter, routed, leaf);
					return *instead != NIL;
				}
				changed = alter_of_leaf(alter);
				break;
			}
		case T_DropStmt:
			changed = drop_of_leaf((DropStmt *) stmt);
			break;
		case T_RenameStmt:
		case T_AlterObjectSchemaStmt:
			if (IsA(stmt, RenameStmt) &&
				((RenameStmt *) stmt)->renameType != OBJECT_SCHEMA)
			{
				original = copyObject(stmt);
				changed = rename_of_leaf((RenameStmt *) stmt, &flag);
				if (flag)
				{
					*instead = list_make2(original, part_of_command(stmt));
					return true;
				}
				break;
			}
			*instead = renames_after_move(stmt);
			changed = *instead != NIL;
			*instead = lcons(stmt, *instead);
			return changed;
		case T_CommentStmt:
			original = copyObject(stmt);
			changed = comment_of_leaf((CommentStmt *) stmt, &flag);
			if (changed && flag)
			{
				*instead = list_make2(original, stmt);
				return true;
			}
			break;
		case T_IndexStmt:
			changed = index_of_leaf((IndexStmt *) stmt, &flag);
			if (flag)
			{
				*instead = NIL;
				return true;
			}
			break;
		case T_ReindexStmt:
			changed = reindex_of_leaf((ReindexStmt *) stmt);
			break;
		case T_RepackStmt:
			changed = cluster_of_leaf((RepackStmt *) stmt);
			break;
		case T_CreateStmt:
			changed = create_like_leaf((CreateStmt *) stmt);
			break;
		case T_ConstraintsSetStmt:
			changed = constraints_of_leaf((ConstraintsSetStmt *) stmt);
			break;
		case T_CreateTrigStmt:
			refuse_constraint_trigger((CreateTrigStmt *) stmt);
			break;
		case T_AlterObjectDependsStmt:
			changed = depends_of_leaf((AlterObjectDependsStmt *) stmt);
			break;
		default:
			break;
	}

	*instead = list_make1(stmt);
	return changed;
}

/*
 * Can a statement name what belongs to a leaf?  Most commands cannot, and must
 * not pay for the others.
 */
static inline bool
may_name_leaf(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
		case T_DropStmt:
		case T_RenameStmt:
		case T_AlterObjectSchemaStmt:
		case T_CommentStmt:
		case T_IndexStmt:
		case T_ReindexStmt:
		case T_RepackStmt:
		case T_CreateStmt:
		case T_CreateTrigStmt:
		case T_AlterObjectDependsStmt:
			return true;
		case T_ConstraintsSetStmt:
			return ((ConstraintsSetStmt *) stmt)->constraints != NIL;
		default:
			return false;
	}
}

/*
 * Remember that commands are replaced in this server.
 */
void
runops_leaf_init(void)
{
	hooked = true;
}

/*
 * Is this the first report of the present command that it does not reach the
 * stores?  The commands that replace one command make one report.
 */
bool
runops_first_report(void)
{
	bool		result = !reported || !hooked;

	reported = true;

	return result;
}

/*
 * Raise for a command that would be replaced if the library were preloaded.
 */
void
runops_leaf_refuse(Node *parsetree)
{
	List	   *stmts;

	/* such a statement means no object of a leaf, but has consequences there */
	if (IsA(parsetree, AlterObjectSchemaStmt) ||
		(IsA(parsetree, RenameStmt) && ((RenameStmt *) parsetree)->renameType == OBJECT_SCHEMA))
		return;
	if (hooked || !may_name_leaf(parsetree) || IsBinaryUpgrade ||
		runops_routed_tables() == NIL || runops_in_own_step() ||
		!replace_statement(copyObject(parsetree), &stmts))
		return;

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the statement means an object of the leaf of a routed table"),
			 errdetail("The library is not preloaded, so the statement is not sent to the leaf."),
			 errhint("Name the leaf in the statement; the view \"runops.routed_tables\" shows it.")));
}

/*
 * The statements that replace a planned one, planned as it was.
 */
static List *
planned_statements(PlannedStmt *pstmt, List *stmts)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, stmts)
	{
		PlannedStmt *copy = makeNode(PlannedStmt);

		*copy = *pstmt;
		copy->utilityStmt = lfirst(lc);
		if (IsA(lfirst(lc), PlannedStmt))
		{
			copy->utilityStmt = lfirst_node(PlannedStmt, lc)->utilityStmt;
			copy->canSetTag = false;
		}
		result = lappend(result, copy);
	}
	return result;
}

/*
 * Replace a command that names a routed table, or an object of it, and means
 * the leaf.
 *
 * Returns true if the commands in *instead are to be run in place of it, one
 * after the other; the list can be empty.  Those that cannot set the tag are
 * parts of the command that fire no event triggers.  Returns false if the command is to
 * be run as it is.  Raises errors of its own, and those that core would raise
 * for a plain table.
 */
bool
runops_leaf_commands(PlannedStmt *pstmt, List **instead)
{
	List	   *stmts;

	reported = false;
	if (IsA(pstmt->utilityStmt, AlterTableStmt) &&
		runops_key_alone((AlterTableStmt *) pstmt->utilityStmt, &stmts))
	{
		*instead = planned_statements(pstmt, stmts);
		return true;
	}
	if (!may_name_leaf(pstmt->utilityStmt) || IsBinaryUpgrade ||
		runops_routed_tables() == NIL || runops_in_own_step() ||
		!replace_statement(copyObject(pstmt->utilityStmt), &stmts))
		return false;

	*instead = planned_statements(pstmt, stmts);

	return true;
}
