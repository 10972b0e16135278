/*-------------------------------------------------------------------------
 *
 * leaf_column_types.c
 *	  Changes the types of columns of a routed table by an expression, which
 *	  core refuses for foreign tables.
 *
 * ALTER COLUMN TYPE ... USING rewrites the rows of this database.  A foreign
 * leaf has none: its rows are converted when they are read.  So the foreign
 * leaves are detached, get the new type without the expression, and are
 * attached again, in one transaction and under the lock that the change takes
 * anyway.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "nodes/plannodes.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "setup/setup_int.h"
#include "topology/topology.h"

/*
 * Does a command change the type of a column by an expression?
 */
static bool
has_expression(AlterTableCmd *cmd)
{
	return cmd->subtype == AT_AlterColumnType && ((ColumnDef *) cmd->def)->raw_default != NULL;
}

/*
 * Does one of the commands on a routed table change the type of a column by an
 * expression, while the table has foreign leaves?
 */
bool
runops_changes_types(List *cmds, Oid routed)
{
	const RunopsRoute *route = runops_route(routed);
	bool		foreign = false;
	ListCell   *lc;

	for (int i = 0; route != NULL && i < route->nleaves; i++)
		foreign |= route->leaves[i].foreign;

	foreach(lc, cmds)
	{
		if (foreign && has_expression(lfirst_node(AlterTableCmd, lc)))
			return true;
	}

	return false;
}

/*
 * A step of our own, which fires no event trigger.
 */
static PlannedStmt *
own_step(Node *stmt)
{
	PlannedStmt *result = makeNode(PlannedStmt);

	result->commandType = CMD_UTILITY;
	result->canSetTag = false;
	result->utilityStmt = stmt;

	return result;
}

/*
 * The same for a statement as text.
 */
static PlannedStmt *
own_step_of_text(const char *text)
{
	return own_step(linitial_node(RawStmt, raw_parser(text, RAW_PARSE_DEFAULT))->stmt);
}

/*
 * The bound of a partition, as in ATTACH PARTITION.
 */
static char *
bound_of(Oid leaf)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(leaf));
	Datum		bound;
	bool		isnull;
	char	   *result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", leaf);
	bound = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relpartbound, &isnull);
	if (isnull)
		elog(ERROR, "missing relpartbound for relation %u", leaf);
	result = TextDatumGetCString(DirectFunctionCall2(pg_get_expr, bound, ObjectIdGetDatum(leaf)));
	ReleaseSysCache(tuple);

	return result;
}

/*
 * The statement that gives a detached foreign leaf the new types.
 */
static AlterTableStmt *
types_of_leaf(Oid leaf, List *types)
{
	AlterTableStmt *result = makeNode(AlterTableStmt);
	ListCell   *lc;

	result->relation = runops_name_of(leaf);
	result->objtype = OBJECT_FOREIGN_TABLE;
	result->cmds = copyObject(types);
	foreach(lc, result->cmds)
		((ColumnDef *) lfirst_node(AlterTableCmd, lc)->def)->raw_default = NULL;

	return result;
}

/*
 * Divide the commands on a routed table into those that core executes before it
 * changes types, those that change types, and the rest.
 */
void
runops_divide_types(List *cmds, List **before, List **types, List **after)
{
	ListCell   *lc;

	*before = *types = *after = NIL;
	foreach(lc, cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		switch (cmd->subtype)
		{
			case AT_AlterColumnType:
				*types = lappend(*types, cmd);
				break;
			case AT_DropColumn:
			case AT_DropConstraint:
			case AT_DropNotNull:
			case AT_DropExpression:
			case AT_DropIdentity:
				*before = lappend(*before, cmd);
				break;
			case AT_ColumnDefault:
				if (cmd->def == NULL)
					*before = lappend(*before, cmd);
				else
					*after = lappend(*after, cmd);
				break;
			default:
				*after = lappend(*after, cmd);
		}
	}
}

/*
 * Put the steps for the foreign leaves around the statement that changes types
 * of a routed table.
 */
List *
runops_change_types(AlterTableStmt *stmt, Oid routed)
{
	const RunopsRoute *route = runops_route(routed);
	List	   *leaves = NIL;
	List	   *result = NIL;
	List	   *after = NIL;
	char	   *parent = runops_quoted_name_of(routed);
	ListCell   *lc;

	/* the route may be forgotten by the next lookup */
	for (int i = 0; i < route->nleaves; i++)
	{
		if (route->leaves[i].foreign)
			leaves = lappend_oid(leaves, route->leaves[i].relid);
	}

	foreach(lc, leaves)
	{
		char	   *leaf = runops_quoted_name_of(lfirst_oid(lc));

		result = lappend(result, own_step_of_text(psprintf("ALTER TABLE %s DETACH PARTITION %s", parent, leaf)));
		after = lappend(after, own_step((Node *) types_of_leaf(lfirst_oid(lc), stmt->cmds)));
		after = lappend(after, own_step_of_text(psprintf("ALTER TABLE %s ATTACH PARTITION %s %s",
														 parent, leaf, bound_of(lfirst_oid(lc)))));
	}

	return list_concat(lappend(result, stmt), after);
}
