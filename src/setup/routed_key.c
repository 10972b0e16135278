/*-------------------------------------------------------------------------
 *
 * routed_key.c
 *	  Gives a routed table the primary key of its old table, in the catalogs.
 *
 * Core makes no primary key for a table that is partitioned by an expression,
 * or that has foreign partitions, because it cannot enforce it.  But if the
 * primary key contains all columns of the key of a routed table, it holds for
 * all stores: rows that are equal in it name the same store, and each store
 * has the primary key.  Parsers, drivers and tools look for it in the catalogs.
 *
 * The index is what CREATE INDEX ON ONLY makes: a partitioned index without
 * parts, which is not valid and never becomes valid.  So core's planner makes
 * nothing of it, no foreign key can refer to it, and no row is checked by it.
 * The parser lets GROUP BY of the key stand for all columns of the table, and ON
 * CONFLICT ON CONSTRAINT name it.
 *
 * The constraint depends on the one of the old table, which therefore cannot be
 * dropped alone, and which a dump restores first.  There is no other tie, so that
 * the one can be dropped without the other.
 *
 * Everything here locks the routed table, so that two sessions do not change
 * its key at the same time.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_namespace.h"
#include "commands/comment.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/argument.h"
#include "base/compat.h"
#include "setup/setup.h"
#include "setup/setup_int.h"
#include "topology/topology.h"

PG_FUNCTION_INFO_V1(runops_make_key);
PG_FUNCTION_INFO_V1(runops_lacks_key);
PG_FUNCTION_INFO_V1(runops_create_leaf);

/*
 * Are values that a column of an index takes for equal the same to the last bit?
 *
 * Only then do they name the same store.  B-tree indexes ask the same to tell
 * whether they can store equal values once.
 */
static bool
equal_is_same(Relation index, int column)
{
	Oid			support = get_opfamily_proc(index->rd_opfamily[column], index->rd_opcintype[column],
											index->rd_opcintype[column], BTEQUALIMAGE_PROC);

	return OidIsValid(support) &&
		DatumGetBool(OidFunctionCall1Coll(support, index->rd_indcollation[column],
										  ObjectIdGetDatum(index->rd_opcintype[column])));
}

/*
 * The reason why a primary key of the old table does not hold for the routed
 * table; NULL if it does.
 */
static const char *
why_not_whole(const RunopsRoute *route, Relation routed, Relation old, Relation index)
{
	Form_pg_index form = index->rd_index;
	Bitmapset  *missing = bms_copy(route->key_attnos);

	if (!form->indisvalid || !form->indislive)
		return _("The index of the primary key is not valid.");
	if (!form->indimmediate)
		return _("The primary key is deferrable.");
	if (index->rd_rel->relam != BTREE_AM_OID)
		return _("The index of the primary key is no B-tree.");

	for (int i = 0; i < form->indnkeyatts; i++)
	{
		AttrNumber	attno = get_attnum(RelationGetRelid(routed),
									   get_attname(RelationGetRelid(old), form->indkey.values[i], false));

		if (attno <= 0 || !TupleDescAttr(RelationGetDescr(routed), attno - 1)->attnotnull)
			return _("A column of the primary key can be NULL in the routed table.");
		if (bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, route->key_attnos) &&
			!equal_is_same(index, i))
			return _("Values that are equal for the primary key can name different stores.");
		missing = bms_del_member(missing, attno - FirstLowInvalidHeapAttributeNumber);
	}

	return bms_is_empty(missing) ? NULL :
		_("The primary key lacks a column that decides the store of a row.");
}

/*
 * Create the index and the constraint.  Returns the OID of the constraint.
 *
 * Column numbers are translated by name, because the old table may have dropped
 * columns.
 */
static Oid
create_key(Relation routed, Relation old, Relation index, const char *name)
{
	IndexInfo  *info = BuildIndexInfo(index);
	int			natts = info->ii_NumIndexAttrs;
	List	   *names = NIL;
	Oid		   *collations = palloc(natts * sizeof(Oid));
	int16	   *options = palloc0(natts * sizeof(int16));
	oidvector  *classes;
	Oid		   *opclasses = palloc(natts * sizeof(Oid));
	bool		isnull;
	Oid			constraint;

	classes = (oidvector *) DatumGetPointer(SysCacheGetAttr(INDEXRELID, index->rd_indextuple,
															Anum_pg_index_indclass, &isnull));
	for (int i = 0; i < natts; i++)
	{
		bool		is_key = i < info->ii_NumIndexKeyAttrs;
		char	   *column = get_attname(RelationGetRelid(old), info->ii_IndexAttrNumbers[i], false);

		names = lappend(names, column);
		info->ii_IndexAttrNumbers[i] = get_attnum(RelationGetRelid(routed), column);
		collations[i] = is_key ? index->rd_indcollation[i] : InvalidOid;
		opclasses[i] = is_key ? classes->values[i] : InvalidOid;
		if (is_key)
			options[i] = index->rd_indoption[i];
	}

	(void) index_create_compat(routed, name, info, names, BTREE_AM_OID, collations, opclasses, options,
							   INDEX_CREATE_IS_PRIMARY | INDEX_CREATE_ADD_CONSTRAINT |
							   INDEX_CREATE_PARTITIONED | INDEX_CREATE_SKIP_BUILD | INDEX_CREATE_INVALID,
							   &constraint);

	return constraint;
}

/*
 * Give a routed table the primary key of its old table.
 *
 * "name" is the name of the constraint.  If the key does not hold for the routed
 * table, *detail says why, and the result is false; the caller reports it.  If
 * the routed table has a primary key already, the result is true.  Raises unless
 * the current user owns the table and may create objects in its schema.
 */
bool
runops_give_key(Oid relid, const char *name, const char **detail)
{
	Relation	routed = table_open(relid, ShareRowExclusiveLock);
	const RunopsRoute *route = runops_route(relid);
	Oid			old_relid = route ? runops_old_table(route) : InvalidOid;
	Relation	old;
	Relation	index;
	Oid			index_oid;
	ObjectAddress made;
	ObjectAddress base;
	char	   *comment;
	AclResult	acl;

	*detail = _("It has no leaf with a primary key.");
	if (!object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, RelationGetRelationName(routed));
	acl = RUNOPS_SCHEMA_ACLCHECK(RelationGetNamespace(routed), GetUserId(), ACL_CREATE);
	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_SCHEMA, get_namespace_name(RelationGetNamespace(routed)));

	if (OidIsValid(runops_primary_index(relid)))
	{
		table_close(routed, NoLock);
		return true;
	}
	index_oid = OidIsValid(old_relid) ? runops_primary_index(old_relid) : InvalidOid;
	if (!OidIsValid(index_oid))
	{
		table_close(routed, NoLock);
		return false;
	}

	/* the lock keeps others from dropping the constraint */
	old = table_open(old_relid, AccessShareLock);
	index = index_open(index_oid, AccessShareLock);
	*detail = why_not_whole(route, routed, old, index);
	if (*detail == NULL)
	{
		ObjectAddressSet(made, ConstraintRelationId, create_key(routed, old, index, name));
		ObjectAddressSet(base, ConstraintRelationId, get_index_constraint(index_oid));
		recordDependencyOn(&made, &base, DEPENDENCY_NORMAL);
		comment = GetComment(base.objectId, ConstraintRelationId, 0);
		if (comment != NULL)
			CreateComments(made.objectId, ConstraintRelationId, 0, comment);
		CommandCounterIncrement();
	}
	index_close(index, NoLock);
	table_close(old, NoLock);
	table_close(routed, NoLock);

	return *detail == NULL;
}

/*
 * make_key(relation regclass, name name)
 *
 * Give a routed table the primary key of its old table, if it holds for the
 * routed table.
 */
Datum
runops_make_key(PG_FUNCTION_ARGS)
{
	const char *detail;

	runops_argument_lock(PG_GETARG_OID(0), ShareRowExclusiveLock);

	PG_RETURN_BOOL(runops_give_key(PG_GETARG_OID(0), NameStr(*PG_GETARG_NAME(1)), &detail));
}

/*
 * lacks_key(relation regclass)
 *
 * Could a table be given the primary key of its old table, and has none?  Not
 * if the table is not routed.
 */
Datum
runops_lacks_key(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Relation	routed = runops_argument_open(relid, AccessShareLock);
	const RunopsRoute *route = runops_route(relid);
	Oid			old_relid = route && !OidIsValid(runops_primary_index(relid)) ?
		runops_old_table(route) : InvalidOid;
	Oid			index_oid = OidIsValid(old_relid) ? runops_primary_index(old_relid) : InvalidOid;
	bool		result = false;

	if (OidIsValid(index_oid))
	{
		Relation	old = table_open(old_relid, AccessShareLock);
		Relation	index = index_open(index_oid, AccessShareLock);

		result = why_not_whole(route, routed, old, index) == NULL;
		index_close(index, NoLock);
		table_close(old, NoLock);
	}
	table_close(routed, NoLock);

	PG_RETURN_BOOL(result);
}

/*
 * A step that gives a routed table the key of its leaf.
 *
 * It is no statement of core: the only command is one that core makes of ADD
 * PRIMARY KEY itself.  If "required" is false, nothing happens where the key does
 * not hold for the routed table.
 */
PlannedStmt *
runops_key_step(RangeVar *relation, const char *name, bool required)
{
	PlannedStmt *result = makeNode(PlannedStmt);
	AlterTableStmt *stmt = makeNode(AlterTableStmt);
	AlterTableCmd *cmd = makeNode(AlterTableCmd);

	cmd->subtype = AT_AddIndex;
	cmd->name = pstrdup(name);
	cmd->missing_ok = !required;
	stmt->relation = copyObject(relation);
	stmt->objtype = OBJECT_TABLE;
	stmt->cmds = list_make1(cmd);
	result->commandType = CMD_UTILITY;
	result->utilityStmt = (Node *) stmt;

	return result;
}

/*
 * Execute a step that gives a routed table a key.  Returns false if the statement
 * is no such step.
 */
bool
runops_key_command(Node *node)
{
	AlterTableStmt *stmt = (AlterTableStmt *) node;
	AlterTableCmd *cmd;
	Oid			relid;
	const char *detail;

	if (!IsA(node, AlterTableStmt) || stmt->cmds == NIL)
		return false;
	cmd = linitial_node(AlterTableCmd, stmt->cmds);
	if (cmd->subtype != AT_AddIndex)
		return false;

	relid = RangeVarGetRelid(stmt->relation, ShareRowExclusiveLock, false);
	if (!runops_give_key(relid, cmd->name, &detail) && !cmd->missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot create a primary key on routed table \"%s\"", stmt->relation->relname),
				 errdetail_internal("%s", detail),
				 errhint("The primary key of the leaf holds within each store.")));

	return true;
}

/*
 * Does a constraint have the columns of an index?
 */
static bool
same_columns(const Constraint *constraint, Oid index)
{
	List	   *columns = list_concat_copy(constraint->keys, constraint->including);
	AttrNumber	attno = 0;
	ListCell   *lc;

	foreach(lc, columns)
	{
		if (get_attnum(index, strVal(lfirst(lc))) != ++attno)
			return false;
	}

	return get_attname(index, attno + 1, true) == NULL;
}

/*
 * ADD PRIMARY KEY on a routed table whose leaf has that primary key: only the
 * routed table gets it.  A dump adds the two so, one after the other, and does it
 * before the configuration is there, or without it.
 *
 * Returns false if the statement means something else.
 */
bool
runops_key_alone(AlterTableStmt *stmt, List **instead)
{
	AlterTableCmd *cmd = linitial_node(AlterTableCmd, stmt->cmds);
	Constraint *constraint = (Constraint *) cmd->def;
	AlterTableStmt *empty;
	const RunopsRoute *route;
	Oid			relid;
	Oid			index;

	if (cmd->subtype != AT_AddConstraint || list_length(stmt->cmds) != 1 ||
		constraint->contype != CONSTR_PRIMARY || constraint->indexname != NULL)
		return false;
	relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE ||
		(route = runops_route(relid)) == NULL || OidIsValid(runops_primary_index(relid)))
		return false;
	index = runops_primary_index(runops_old_table(route));
	if (!OidIsValid(index) || !same_columns(constraint, index))
		return false;

	/* without commands it still fires event triggers */
	empty = makeNode(AlterTableStmt);
	empty->relation = copyObject(stmt->relation);
	empty->objtype = stmt->objtype;
	*instead = list_make2(empty, runops_key_step(stmt->relation,
												 constraint->conname ? constraint->conname :
												 runops_old_name(relid, get_constraint_name(get_index_constraint(index))),
												 true));

	return true;
}

/*
 * Set whether core sees the index of the key.
 */
static void
set_live(Oid index, bool live)
{
	Oid			routed = IndexGetRelation(index, false);
	Relation	rel = table_open(IndexRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(INDEXRELID, ObjectIdGetDatum(index));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	((Form_pg_index) GETSTRUCT(tuple))->indislive = live;
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	table_close(rel, RowExclusiveLock);
	CacheInvalidateRelcacheByRelid(routed);
	CommandCounterIncrement();
}

/*
 * Before a statement attaches a foreign partition to a routed table with a key:
 * let core see no index of the key, or it would refuse.  Core takes it for one that
 * is being dropped.  Nobody else sees that, because the caller puts it back; if the
 * statement fails, the change is undone with it.
 *
 * Returns the index, or InvalidOid for other statements.
 */
Oid
runops_key_set_aside(Node *node)
{
	AlterTableStmt *stmt = (AlterTableStmt *) node;
	AlterTableCmd *cmd;
	Oid			relid;
	Oid			index;

	if (!IsA(node, AlterTableStmt) || stmt->cmds == NIL)
		return InvalidOid;
	cmd = linitial_node(AlterTableCmd, stmt->cmds);
	if (cmd->subtype != AT_AttachPartition)
		return InvalidOid;
	relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE ||
		get_rel_relkind(RangeVarGetRelid(((PartitionCmd *) cmd->def)->name, NoLock, true)) != RELKIND_FOREIGN_TABLE ||
		!object_ownercheck(RelationRelationId, relid, GetUserId()))
		return InvalidOid;

	LockRelationOid(relid, ShareUpdateExclusiveLock);
	index = runops_route(relid) != NULL ? runops_primary_index(relid) : InvalidOid;
	if (OidIsValid(index))
		set_live(index, false);

	return index;
}

/*
 * After that statement: let core see the index again.
 */
void
runops_key_put_back(Oid index)
{
	set_live(index, true);
}

/*
 * create_leaf(relation regclass, command text)
 *
 * Run the command that creates a foreign leaf of a routed table, as described
 * for runops_key_set_aside().  A view that needs the key keeps it so.
 */
Datum
runops_create_leaf(PG_FUNCTION_ARGS)
{
	Oid			routed = PG_GETARG_OID(0);
	char	   *command = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Oid			index;

	runops_argument_lock(routed, ShareUpdateExclusiveLock);
	if (!object_ownercheck(RelationRelationId, routed, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(routed));

	index = get_rel_relkind(routed) == RELKIND_PARTITIONED_TABLE && runops_route(routed) != NULL ?
		runops_primary_index(routed) : InvalidOid;
	if (OidIsValid(index))
		set_live(index, false);

	SPI_connect();
	if (SPI_execute(command, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute \"%s\"", command);
	SPI_finish();

	if (OidIsValid(index))
		set_live(index, true);

	PG_RETURN_VOID();
}
