/*-------------------------------------------------------------------------
 *
 * leaf_alter.c
 *	  Divides an ALTER TABLE of a routed table between the table and its leaf.
 *
 * Columns, CHECK and NOT NULL belong to the routed table, and core changes the
 * leaves with it.  Indexes, the constraints that stand on them, foreign keys,
 * row triggers of the old table and storage belong to the leaf alone.  A few
 * properties are those of both.
 *
 * The statement becomes up to three statements, in the order in which core
 * executes the commands of one: constraints of the leaf are dropped first,
 * then the routed table is altered, and then the rest of the leaf.  A primary key
 * of the leaf may be that of the routed table too; see routed_key.c.  Then the
 * latter is dropped before, and made afterwards.  Only a change of types needs
 * more; see leaf_column_types.c.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "commands/trigger.h"
#include "nodes/makefuncs.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "setup/setup_int.h"
#include "topology/topology.h"

/* A statement that is being divided. */
typedef struct Division
{
	Oid			routed;
	Oid			leaf;
	bool		only;			/* was it ALTER TABLE ONLY? */
	List	   *dropped;		/* old names of constraints of the leaf that
								 * it drops */
	List	   *dropped_names;	/* their present names */
	List	   *given;			/* names that it has given to new constraints */
	List	   *leaf_drops;		/* commands on the leaf, to run first */
	List	   *own;			/* commands on the routed table */
	List	   *leaf_rest;		/* commands on the leaf, to run last */
	List	   *key_drops;		/* commands that drop the key of the routed
								 * table, to run before all others */
	const char *key_name;		/* the name of the key that it may get then */
} Division;

/*
 * Report that an index which is unique on the leaf does not compare rows of
 * different stores, unless equal rows belong to one store.
 *
 * "columns" is a list of column names; NULL stands for an expression.
 */
void
runops_report_unique(Oid routed, List *columns)
{
	const RunopsRoute *route = runops_route(routed);
	ListCell   *lc;

	if (route == NULL || route->nleaves < 2)
		return;
	foreach(lc, columns)
	{
		const char *name = lfirst(lc);
		AttrNumber	attno = name ? get_attnum(routed, name) : InvalidAttrNumber;

		if (attno > 0 && (attno == route->lead_attno ||
						  bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, route->alias_attnos)))
			return;
	}

	ereport(NOTICE,
			(errmsg("the new unique or exclusion constraint of table \"%s\" will hold only within each store",
					get_rel_name(routed)),
			 errhint("Use runops.add_unique if rows of different stores must not be equal in these columns.")));
}

/*
 * Is this column of a table NOT NULL?  A column that does not exist is not.
 */
static bool
is_not_null(Oid relid, const char *column)
{
	HeapTuple	tuple = SearchSysCacheAttName(relid, column);
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
	ReleaseSysCache(tuple);

	return result;
}

/*
 * The columns of a constraint that stands on an index, as C strings.
 */
static List *
constraint_columns(Constraint *constraint, Oid leaf)
{
	List	   *result = NIL;
	ListCell   *lc;
	Oid			indexid;
	Relation	index;

	foreach(lc, constraint->keys)
		result = lappend(result, strVal(lfirst(lc)));
	if (constraint->indexname == NULL)
		return result;

	indexid = get_relname_relid(constraint->indexname, get_rel_namespace(leaf));
	if (!OidIsValid(indexid) || get_rel_relkind(indexid) != RELKIND_INDEX)
		return NIL;
	index = relation_open(indexid, AccessShareLock);
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		AttrNumber	attno = index->rd_index->indkey.values[i];

		result = lappend(result, attno > 0 ? get_attname(leaf, attno, false) : NULL);
	}
	relation_close(index, AccessShareLock);

	return result;
}

/*
 * Add the command that makes a column of the routed table NOT NULL, as a
 * primary key does.
 */
static void
add_not_null(Division *division, const char *column)
{
	AlterTableCmd *cmd;
	ListCell   *lc;

	if (column == NULL || is_not_null(division->routed, column))
		return;

	/* a column that is new gets it with its definition */
	foreach(lc, division->own)
	{
		cmd = lfirst_node(AlterTableCmd, lc);
		if (cmd->subtype == AT_AddColumn && strcmp(((ColumnDef *) cmd->def)->colname, column) == 0)
		{
			ColumnDef  *def = (ColumnDef *) cmd->def;

			def->constraints = lappend(def->constraints, makeNotNullConstraint(makeString(pstrdup(column))));
			return;
		}
	}

	cmd = makeNode(AlterTableCmd);
	cmd->subtype = AT_SetNotNull;
	cmd->name = pstrdup(column);
	division->own = lappend(division->own, cmd);
}

/*
 * The names in a list of String nodes, as C strings.
 */
static List *
column_names(List *nodes)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, nodes)
		result = lappend(result, strVal(lfirst(lc)));

	return result;
}

/*
 * Name a new constraint of the leaf that makes an index: as core would name it
 * if the table were not routed, or by the name in the statement, and by another
 * name if that one is taken among the leaves.
 */
static void
name_constraint(Division *division, Constraint *constraint)
{
	ListCell   *lc;
	ListCell   *lc2;

	if (constraint->conname == NULL)
	{
		List	   *columns = column_names(constraint->keys);
		const char *label = "key";

		if (constraint->contype == CONSTR_PRIMARY)
			label = "pkey";
		else if (constraint->contype == CONSTR_EXCLUSION)
		{
			label = "excl";
			foreach(lc, constraint->exclusions)
				columns = lappend(columns, runops_element_name(linitial_node(IndexElem, lfirst(lc)), columns));
		}
		columns = list_concat(columns, column_names(constraint->including));
		constraint->conname = runops_default_name(division->routed, division->leaf,
												  constraint->contype == CONSTR_PRIMARY ? NIL : columns,
												  label, division->dropped, division->given);
	}
	division->given = lappend(division->given, constraint->conname);

	/* the name of a constraint that the same statement drops is free */
	forboth(lc, division->dropped, lc2, division->dropped_names)
	{
		if (strcmp(lfirst(lc), constraint->conname) == 0)
		{
			constraint->conname = lfirst(lc2);
			return;
		}
	}
	constraint->conname = runops_new_leaf_name(division->routed, division->leaf, constraint->conname);
}

/*
 * Add a constraint to the leaf.
 */
static void
add_to_leaf(Division *division, AlterTableCmd *cmd)
{
	Constraint *constraint = castNode(Constraint, cmd->def);

	if (constraint->contype == CONSTR_FOREIGN)
	{
		if (constraint->conname == NULL)
			constraint->conname = runops_default_name(division->routed, division->leaf,
													  column_names(constraint->fk_attrs), "fkey",
													  division->dropped, division->given);
		division->given = lappend(division->given, constraint->conname);
		runops_foreign_key_of_leaf(constraint, division->routed);
	}
	else if (constraint->contype != CONSTR_CHECK)
	{
		List	   *columns;
		ListCell   *lc;

		if (constraint->indexname != NULL)
			constraint->indexname = runops_leaf_index_name(division->routed, division->leaf,
														   constraint->indexname);
		else
		{
			runops_require_create(division->routed, division->leaf);
			name_constraint(division, constraint);
		}

		columns = constraint_columns(constraint, division->leaf);
		if (constraint->contype == CONSTR_PRIMARY)
		{
			foreach(lc, columns)
				add_not_null(division, lfirst(lc));
		}
		runops_report_unique(division->routed, columns);
	}
	division->leaf_rest = lappend(division->leaf_rest, cmd);
}

/*
 * Take the constraints that belong to the leaf out of the definition of a new
 * column.
 *
 * In the definition, the attributes of a constraint are nodes that follow it.
 */
static void
divide_column(Division *division, AlterTableCmd *cmd)
{
	ColumnDef  *column = castNode(ColumnDef, cmd->def);
	List	   *kept = NIL;
	List	   *moved = NIL;
	Constraint *last = NULL;
	ListCell   *lc;

	division->own = lappend(division->own, cmd);
	if (cmd->missing_ok && get_attnum(division->routed, column->colname) != InvalidAttrNumber)
		return;

	foreach(lc, column->constraints)
	{
		Constraint *constraint = lfirst_node(Constraint, lc);

		switch (constraint->contype)
		{
			case CONSTR_PRIMARY:
			case CONSTR_UNIQUE:
				constraint->keys = list_make1(makeString(column->colname));
				moved = lappend(moved, constraint);
				last = constraint;
				break;
			case CONSTR_FOREIGN:
				constraint->fk_attrs = list_make1(makeString(column->colname));
				moved = lappend(moved, constraint);
				last = constraint;
				break;
			case CONSTR_ATTR_DEFERRABLE:
			case CONSTR_ATTR_DEFERRED:
				if (last == NULL)
					kept = lappend(kept, constraint);
				else
				{
					last->deferrable = true;
					last->initdeferred |= constraint->contype == CONSTR_ATTR_DEFERRED;
				}
				break;
			case CONSTR_ATTR_NOT_DEFERRABLE:
			case CONSTR_ATTR_IMMEDIATE:
				if (last == NULL)
					kept = lappend(kept, constraint);
				break;
			default:
				kept = lappend(kept, constraint);
				last = NULL;
		}
	}
	column->constraints = kept;

	foreach(lc, moved)
	{
		AlterTableCmd *add = makeNode(AlterTableCmd);

		add->subtype = AT_AddConstraint;
		add->def = lfirst(lc);
		add_to_leaf(division, add);
	}
}

/*
 * Add a primary key to the leaf, and then to the routed table if it holds for it.
 */
static void
add_primary_key(Division *division, AlterTableCmd *cmd)
{
	Constraint *constraint = castNode(Constraint, cmd->def);
	const char *name = constraint->conname ? constraint->conname : constraint->indexname;

	add_to_leaf(division, cmd);
	division->key_name = name ? name : llast(division->given);
}

/*
 * Drop the key of the routed table, and with it the primary key of the leaf unless
 * ONLY the former is meant.  The leaf's cannot be dropped while there is the other.
 */
static void
drop_key(Division *division, AlterTableCmd *cmd)
{
	Oid			index = runops_primary_index(division->leaf);
	char	   *present = OidIsValid(index) ? get_constraint_name(get_index_constraint(index)) : NULL;

	division->key_drops = lappend(division->key_drops, cmd);
	if (division->only || present == NULL)
		return;

	division->dropped = lappend(division->dropped, cmd->name);
	division->dropped_names = lappend(division->dropped_names, present);
	cmd = copyObject(cmd);
	cmd->name = present;
	division->leaf_drops = lappend(division->leaf_drops, cmd);
}

/*
 * Drop the key before its columns get other types, and make it again afterwards.
 * Core would try to make it itself, and fail.
 */
static void
drop_key_for_types(Division *division)
{
	Oid			index = runops_primary_index(division->routed);
	ListCell   *lc;

	foreach(lc, division->own)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_AlterColumnType && division->key_drops == NIL &&
			runops_index_has_column(index, cmd->name))
		{
			AlterTableCmd *drop = makeNode(AlterTableCmd);

			drop->subtype = AT_DropConstraint;
			drop->name = get_constraint_name(get_index_constraint(index));
			drop->behavior = DROP_RESTRICT;
			division->key_drops = list_make1(drop);
			division->key_name = drop->name;
		}
	}
}

/*
 * Send a command that names a constraint to the relation that has the
 * constraint.  *name is the name in the command.
 *
 * A constraint that neither has is left to the routed table, for core's error.
 */
static void
divide_by_constraint(Division *division, AlterTableCmd *cmd, char **name)
{
	char	   *present = NULL;

	if (!OidIsValid(get_relation_constraint_oid(division->routed, *name, true)))
		present = runops_leaf_constraint(division->routed, division->leaf, *name);

	if (present == NULL)
		division->own = lappend(division->own, cmd);
	else
	{
		if (cmd->subtype == AT_DropConstraint)
		{
			division->dropped = lappend(division->dropped, *name);
			division->dropped_names = lappend(division->dropped_names, present);
		}
		*name = present;
		if (cmd->subtype == AT_DropConstraint)
			division->leaf_drops = lappend(division->leaf_drops, cmd);
		else
			division->leaf_rest = lappend(division->leaf_rest, cmd);
	}
}

/*
 * Divide a command about the replica identity.  If an index of the leaf is the
 * identity, the routed table has none of its own.
 */
static void
divide_identity(Division *division, AlterTableCmd *cmd)
{
	ReplicaIdentityStmt *identity = castNode(ReplicaIdentityStmt, cmd->def);

	if (identity->identity_type == REPLICA_IDENTITY_INDEX)
	{
		AlterTableCmd *reset = copyObject(cmd);

		identity->name = runops_leaf_index_name(division->routed, division->leaf, identity->name);
		division->leaf_rest = lappend(division->leaf_rest, cmd);
		identity = (ReplicaIdentityStmt *) reset->def;
		identity->identity_type = REPLICA_IDENTITY_DEFAULT;
		identity->name = NULL;
		division->own = lappend(division->own, reset);
		return;
	}
	division->own = lappend(division->own, cmd);
	if (!division->only)
		division->leaf_rest = lappend(division->leaf_rest, cmd);
}

/*
 * Divide one command.
 */
static void
divide(Division *division, AlterTableCmd *cmd)
{
	switch (cmd->subtype)
	{
		case AT_AddColumn:
			divide_column(division, cmd);
			break;
		case AT_AddConstraint:
			switch (castNode(Constraint, cmd->def)->contype)
			{
				case CONSTR_PRIMARY:
					add_primary_key(division, cmd);
					break;
				case CONSTR_UNIQUE:
				case CONSTR_EXCLUSION:
				case CONSTR_FOREIGN:
					add_to_leaf(division, cmd);
					break;
				case CONSTR_CHECK:
					if (castNode(Constraint, cmd->def)->is_no_inherit)
						add_to_leaf(division, cmd);
					else
						division->own = lappend(division->own, cmd);
					break;
				default:
					division->own = lappend(division->own, cmd);
			}
			break;
		case AT_DropConstraint:
			if (OidIsValid(runops_key_by_name(division->routed, cmd->name)))
				drop_key(division, cmd);
			else
				divide_by_constraint(division, cmd, &cmd->name);
			break;
		case AT_ValidateConstraint:
			divide_by_constraint(division, cmd, &cmd->name);
			break;
		case AT_AlterConstraint:
			divide_by_constraint(division, cmd, &((ATAlterConstraint *) cmd->def)->conname);
			break;
		case AT_ReplicaIdentity:
			divide_identity(division, cmd);
			break;
		case AT_ClusterOn:
			cmd->name = runops_leaf_index_name(division->routed, division->leaf, cmd->name);
			division->leaf_rest = lappend(division->leaf_rest, cmd);
			break;
		case AT_DropCluster:
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_SetTableSpace:
		case AT_SetLogged:
		case AT_SetUnLogged:
		case AT_SetAccessMethod:
			division->leaf_rest = lappend(division->leaf_rest, cmd);
			break;
		case AT_EnableTrig:
		case AT_EnableAlwaysTrig:
		case AT_EnableReplicaTrig:
		case AT_DisableTrig:
			if (!OidIsValid(get_trigger_oid(division->routed, cmd->name, true)) &&
				OidIsValid(get_trigger_oid(division->leaf, cmd->name, true)))
				division->leaf_rest = lappend(division->leaf_rest, cmd);
			else
				division->own = lappend(division->own, cmd);
			break;
		case AT_EnableTrigAll:
		case AT_DisableTrigAll:
		case AT_EnableTrigUser:
		case AT_DisableTrigUser:
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_SetCompression:
			division->own = lappend(division->own, cmd);
			if (!division->only)
				division->leaf_rest = lappend(division->leaf_rest, cmd);
			break;
		default:
			division->own = lappend(division->own, cmd);
	}
}

/*
 * A statement with these commands, for the routed table or for its leaf.
 */
static AlterTableStmt *
part(const AlterTableStmt *stmt, RangeVar *relation, List *cmds)
{
	AlterTableStmt *result = makeNode(AlterTableStmt);

	result->relation = relation;
	result->cmds = cmds;
	result->objtype = stmt->objtype;
	result->missing_ok = stmt->missing_ok;

	return result;
}

/*
 * The statements on a routed table if one of its commands changes the type of a
 * column by an expression.
 */
static List *
change_types(const AlterTableStmt *stmt, const Division *division)
{
	List	   *before;
	List	   *types;
	List	   *after;
	List	   *result = NIL;

	runops_divide_types(division->own, &before, &types, &after);
	if (before != NIL)
		result = lappend(result, part(stmt, copyObject(stmt->relation), before));
	result = list_concat(result, runops_change_types(part(stmt, copyObject(stmt->relation), types),
													 division->routed));
	if (after != NIL)
		result = lappend(result, part(stmt, copyObject(stmt->relation), after));

	return result;
}

/*
 * Divide an ALTER TABLE of a routed table.
 *
 * Returns the statements to run instead, some of them as steps of our own, or
 * NIL if the statement can stay as it is.  Raises what core would raise for a plain table, if the user lacks a
 * right or a name is taken.
 */
List *
runops_split_alter(AlterTableStmt *stmt, Oid routed, Oid leaf)
{
	Division	division = {.routed = routed, .leaf = leaf, .only = !stmt->relation->inh};
	RangeVar   *name = runops_name_of(leaf);
	List	   *result = NIL;
	ListCell   *lc;
	List	   *cmds = copyObject(stmt->cmds);
	bool		changes_types;

	/* a name that is dropped can be given again, and a new column be used */
	for (int pass = 0; pass < 3; pass++)
	{
		foreach(lc, cmds)
		{
			AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

			if (pass == (cmd->subtype == AT_DropConstraint ? 0 :
						 cmd->subtype == AT_AddColumn ? 1 : 2))
				divide(&division, cmd);
		}
	}
	changes_types = runops_changes_types(division.own, routed);
	drop_key_for_types(&division);
	if (division.leaf_drops == NIL && division.leaf_rest == NIL && !changes_types &&
		division.key_name == NULL)
		return NIL;

	runops_require_owner(leaf, OBJECT_TABLE, get_rel_name(routed));
	name->inh = stmt->relation->inh;
	if (division.key_drops != NIL)
		result = lappend(result, part(stmt, copyObject(stmt->relation), division.key_drops));
	if (division.leaf_drops != NIL)
		result = lappend(result, part(stmt, name, division.leaf_drops));
	if (changes_types)
		result = list_concat(result, change_types(stmt, &division));
	else if (division.own != NIL)
		result = lappend(result, part(stmt, copyObject(stmt->relation), division.own));
	if (division.leaf_rest != NIL)
		result = lappend(result, part(stmt, copyObject(name), division.leaf_rest));
	if (division.key_name != NULL)
		result = lappend(result, runops_key_step(stmt->relation, division.key_name, false));

	return result;
}
