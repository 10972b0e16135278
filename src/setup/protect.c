/*-------------------------------------------------------------------------
 *
 * protect.c
 *	  Keeps routed tables from being dropped together with objects that they
 *	  depend on.
 *
 * DROP ... CASCADE of the extension, of its partition function or of a server
 * would delete every row of store legacy.  So dropping an object that routed
 * tables depend on is refused while they are routed.  The object access hook
 * makes the final check, because it sees every dropped object, whatever
 * command drops it.  Before that, an event trigger checks the objects that a
 * DROP names, so that a plain DROP is refused with our hint and not with
 * core's advice to use CASCADE.  The event trigger also loads the library, and
 * so the hook, if it is not preloaded.
 *
 * The tables of stores and routed tables tell which objects may be dropped:
 * detach and drop_store delete their row first.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_func.h"
#include "parser/parse_type.h"
#include "tcop/cmdtag.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "gate/gate.h"
#include "integrity/integrity.h"
#include "setup/setup.h"
#include "setup/setup_int.h"
#include "topology/topology.h"

PG_FUNCTION_INFO_V1(runops_protect_start);
PG_FUNCTION_INFO_V1(runops_protect_end);

/*
 * The routed table that a relation is, or is a leaf of; InvalidOid if it is
 * neither.
 *
 * The foreign leaf of a store that was dropped does not count as a leaf.
 */
static Oid
routed_table_of(Oid relid)
{
	List	   *routed = runops_routed_tables();
	char		store[RUNOPS_STORE_LEN];
	Oid			parent;

	if (routed == NIL)
		return InvalidOid;
	if (list_member_oid(routed, relid))
		return relid;
	if (!get_rel_relispartition(relid))
		return InvalidOid;

	parent = get_partition_parent(relid, true);
	if (!list_member_oid(routed, parent))
		return InvalidOid;
	if (get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE &&
		runops_leaf_store(relid, store) && !runops_store_exists(store, false))
		return InvalidOid;

	return parent;
}

/*
 * A routed table with a leaf in the schema, or InvalidOid.
 */
static Oid
routed_table_in_schema(Oid nsp)
{
	ListCell   *lc;

	foreach(lc, runops_routed_tables())
	{
		ListCell   *lc2;

		foreach(lc2, find_inheritance_children(lfirst_oid(lc), NoLock))
		{
			if (get_rel_namespace(lfirst_oid(lc2)) == nsp)
				return lfirst_oid(lc);
		}
	}

	return InvalidOid;
}

/*
 * Raise routed_object_in_use: the object cannot be dropped because of a routed
 * table.
 */
static void
refuse_drop(const ObjectAddress *object, Oid routed)
{
	char	   *name = get_rel_name(routed);

	ereport(ERROR,
			(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
			 object->classId == RelationRelationId && object->objectId == routed ?
			 errmsg("cannot drop routed table \"%s\"", name ? name : "?") :
			 errmsg("cannot drop %s because table \"%s\" is routed",
					getObjectDescription(object, false), name ? name : "?"),
			 errdetail("The rows of store \"%s\" would be deleted, and queries could no longer see the rows of other stores.",
					   RUNOPS_LEGACY_STORE),
			 errhint("Make it a plain table first: SELECT runops.detach('%s')",
					 name ? quote_qualified_identifier(get_namespace_name(get_rel_namespace(routed)), name) : "?")));
}

/*
 * Do all routed tables depend on the object?
 *
 * table_config counts too: without it the routed tables are not known any
 * more.
 */
static bool
all_stand_on(const ObjectAddress *object)
{
	Oid			objid = object->objectId;

	switch (object->classId)
	{
		case RelationRelationId:
			return objid == runops_config_table_oid("table_config") || runops_is_reader_table(objid);
		case NamespaceRelationId:
			return objid == get_namespace_oid(RUNOPS_SCHEMA, true);
		case ExtensionRelationId:
			return objid == get_extension_oid("runops", true) ||
				objid == get_extension_oid("postgres_fdw", true);
		case ForeignDataWrapperRelationId:
			return objid == get_foreign_data_wrapper_oid("runops_fdw", true);
		case ForeignServerRelationId:
			return runops_store_exists(GetForeignServer(objid)->servername, true);
		case ProcedureRelationId:
			return objid == runops_store_of_oid();
		default:
			return false;
	}
}

/*
 * Raise if routed tables depend on the object.
 */
static void
protect_object(const ObjectAddress *object)
{
	Oid			routed = InvalidOid;

	if (!OidIsValid(object->objectId) || object->objectSubId != 0)
		return;

	if (all_stand_on(object))
	{
		List	   *all = runops_routed_tables();

		if (all != NIL)
			routed = linitial_oid(all);
	}
	else if (object->classId == RelationRelationId)
		routed = routed_table_of(object->objectId);
	else if (object->classId == NamespaceRelationId)
		routed = routed_table_in_schema(object->objectId);

	if (OidIsValid(routed))
		refuse_drop(object, routed);
}

/*
 * Raise a clear error for TRUNCATE of a routed table with other stores.
 *
 * With the flag off there is only one database, so the table is truncated like
 * any other.
 */
static void
refuse_truncate(Oid relid)
{
	ListCell   *lc;

	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE ||
		!list_member_oid(runops_routed_tables(), relid))
		return;

	foreach(lc, find_inheritance_children(relid, NoLock))
	{
		char		store[RUNOPS_STORE_LEN];
		bool		is_legacy = runops_leaf_store(lfirst_oid(lc), store) &&
			runops_is_legacy(store);

		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_FOREIGN_TABLE &&
			(is_legacy || !runops_gate_flag_off()))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot truncate routed table \"%s\"", get_rel_name(relid)),
					 errdetail("The rows of other stores cannot be truncated from here."),
					 is_legacy ?
					 errhint("Use DELETE, or truncate the tables in the stores.") :
					 errhint("Truncate the leaf of store \"%s\", and use DELETE for the rows of other stores.",
							 RUNOPS_LEGACY_STORE)));
	}
}

/*
 * An object is dropped, truncated, created or altered: make the final check.
 */
void
runops_protect(ObjectAccessType access, Oid classId, Oid objectId, int subId,
			   void *arg)
{
	if (IsBinaryUpgrade)
		return;

	if (access == OAT_DROP)
	{
		ObjectAddress object;

		ObjectAddressSubSet(object, classId, objectId, subId);
		protect_object(&object);
		runops_unique_protect(&object);
	}
	else if (access == OAT_TRUNCATE)
		refuse_truncate(objectId);
	else if ((access != OAT_POST_CREATE && access != OAT_POST_ALTER) || subId != 0)
		return;
	else if (classId != RelationRelationId)
	{
		runops_guard_new_object(classId, objectId);
		if (classId == ProcedureRelationId)
			runops_protect_function(objectId);
	}
	else if (access == OAT_POST_ALTER)
		runops_guard_altered_relation(objectId);
	else if (!((ObjectAccessPostCreate *) arg)->is_internal)
		runops_guard_new_relation(objectId);
}

/*
 * The object that a DROP names, if it is of a protected kind.  Nothing is
 * locked: core looks the name up again, and the hook checks the result.
 */
static ObjectAddress
named_object(ObjectType type, Node *name)
{
	ObjectAddress object = InvalidObjectAddress;

	switch (type)
	{
		case OBJECT_TABLE:
		case OBJECT_FOREIGN_TABLE:
			object.classId = RelationRelationId;
			object.objectId = RangeVarGetRelid(makeRangeVarFromNameList(castNode(List, name)), NoLock, true);
			break;
		case OBJECT_SCHEMA:
			object.classId = NamespaceRelationId;
			object.objectId = get_namespace_oid(strVal(name), true);
			break;
		case OBJECT_EXTENSION:
			object.classId = ExtensionRelationId;
			object.objectId = get_extension_oid(strVal(name), true);
			break;
		case OBJECT_FDW:
			object.classId = ForeignDataWrapperRelationId;
			object.objectId = get_foreign_data_wrapper_oid(strVal(name), true);
			break;
		case OBJECT_FOREIGN_SERVER:
			object.classId = ForeignServerRelationId;
			object.objectId = get_foreign_server_oid(strVal(name), true);
			break;
		case OBJECT_FUNCTION:
		case OBJECT_ROUTINE:
			object.classId = ProcedureRelationId;
			object.objectId = LookupFuncWithArgs(type, castNode(ObjectWithArgs, name), true);
			break;
		default:
			break;
	}

	return object;
}

/*
 * Raise for a DROP of an object that is in use.
 *
 * The server of a store is refused here even when no table is routed; the hook
 * allows it to be dropped with the extension.
 */
static void
check_drop(DropStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->objects)
	{
		ObjectAddress object = named_object(stmt->removeType, lfirst(lc));
		char	   *what = NULL;

		protect_object(&object);

		if (!OidIsValid(object.objectId))
			continue;
		if (object.classId == ForeignServerRelationId &&
			runops_store_exists(strVal(lfirst(lc)), true))
			what = psprintf(_("cannot drop server \"%s\" because it is a store"), strVal(lfirst(lc)));
		else if (object.classId == RelationRelationId && runops_is_reader_table(object.objectId))
			what = psprintf(_("cannot drop foreign table \"%s\" because it represents the reader of a store"),
							get_rel_name(object.objectId));
		if (what != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
					 errmsg_internal("%s", what),
					 errdetail("The view \"runops.stores\" lists the stores."),
					 errhint("Use runops.drop_store first.")));
	}
}

/*
 * Is the relation a leaf of a store, or the old table?  A partition that a
 * user has created beside them does not count.
 */
static bool
is_leaf_of_store(RangeVar *name)
{
	Oid			relid = RangeVarGetRelid(name, NoLock, true);
	char		store[RUNOPS_STORE_LEN];

	return get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE ||
		(runops_leaf_store(relid, store) &&
		 runops_is_legacy(store)) ||
		list_member_oid(runops_old_tables(), relid);
}

/*
 * Raise for a statement that detaches a leaf from a routed table.
 */
static void
check_detach(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		Oid			relid;

		if (cmd->subtype != AT_DetachPartition)
			continue;
		relid = RangeVarGetRelid(stmt->relation, NoLock, true);
		if (OidIsValid(relid) && list_member_oid(runops_routed_tables(), relid) &&
			is_leaf_of_store(((PartitionCmd *) cmd->def)->name))
			ereport(ERROR,
					(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
					 errmsg("cannot detach a partition of routed table \"%s\"", get_rel_name(relid)),
					 errdetail("Each partition is a store, and queries could not see the rows of a store without its partition."),
					 errhint("Use runops.detach for the table, or runops.drop_store for a store.")));
	}
}

/*
 * Raise for a statement that renames an object that routed tables or stores
 * depend on.
 */
static void
check_rename(RenameStmt *stmt)
{
	if ((stmt->renameType == OBJECT_SCHEMA && strcmp(stmt->subname, RUNOPS_SCHEMA) == 0) ||
		((stmt->renameType == OBJECT_FUNCTION || stmt->renameType == OBJECT_ROUTINE) &&
		 OidIsValid(runops_store_of_oid()) &&
		 LookupFuncWithArgs(stmt->renameType, (ObjectWithArgs *) stmt->object, true) == runops_store_of_oid()))
	{
		List	   *routed = runops_routed_tables();

		if (routed != NIL)
			ereport(ERROR,
					(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
					 errmsg("cannot rename %s \"%s\" because table \"%s\" is routed",
							stmt->renameType == OBJECT_SCHEMA ? "schema" : "function",
							stmt->renameType == OBJECT_SCHEMA ? RUNOPS_SCHEMA : "runops.store_of",
							get_rel_name(linitial_oid(routed))),
					 errdetail("The extension finds routed tables by this name."),
					 errhint("Use runops.detach for each table that the view \"runops.routed_tables\" lists.")));
	}

	if (stmt->renameType == OBJECT_COLUMN && stmt->relation != NULL)
	{
		Oid			relid = RangeVarGetRelid(stmt->relation, NoLock, true);
		const RunopsRoute *route = NULL;
		AttrNumber	attno = InvalidAttrNumber;
		const char *reference = NULL;

		if (OidIsValid(relid) && list_member_oid(runops_routed_tables(), relid))
			route = runops_route(relid);
		if (route != NULL)
			attno = get_attnum(relid, stmt->subname);
		if (attno > 0 &&
			bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, route->alias_attnos))
			ereport(ERROR,
					(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
					 errmsg("cannot rename column \"%s\" because it is an alias of routed table \"%s\"",
							stmt->subname, get_rel_name(relid)),
					 errdetail("The name of its constraint in each store contains the name of the column."),
					 errhint("Use runops.detach, rename it here and in the stores, and attach the table again.")));
		if (OidIsValid(relid) && OidIsValid(runops_config_table_oid("reference_config")))
			reference = runops_reference_of_column(relid, stmt->subname);
		if (reference != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
					 errmsg("cannot rename column \"%s\" because a reference names it", stmt->subname),
					 errdetail("The reference is \"%s\".", reference),
					 errhint("Use runops.drop_reference() first, and runops.add_reference() with the new name.")));
	}

	if (stmt->renameType == OBJECT_FOREIGN_SERVER && runops_store_exists(strVal(stmt->object), true))
		ereport(ERROR,
				(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
				 errmsg("cannot rename server \"%s\" because it is a store", strVal(stmt->object)),
				 errdetail("The extension finds the store by the name of its server."),
				 errhint("Use runops.drop_store first, and runops.add_store with the new name.")));
}

/*
 * Event trigger on ddl_command_start: refuse a statement on protected objects.
 */
Datum
runops_protect_start(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigdata;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by event trigger manager",
						get_func_name(fcinfo->flinfo->fn_oid))));
	trigdata = (EventTriggerData *) fcinfo->context;
	runops_leaf_refuse(trigdata->parsetree);
	runops_protect_alter(trigdata->parsetree);

	if (IsA(trigdata->parsetree, DropStmt))
	{
		check_drop((DropStmt *) trigdata->parsetree);
		if (OidIsValid(runops_config_table_oid("reference_config")))
			runops_reference_check_drop((DropStmt *) trigdata->parsetree);
	}
	else if (IsA(trigdata->parsetree, AlterTableStmt))
	{
		check_detach((AlterTableStmt *) trigdata->parsetree);
		runops_unique_check_alter((AlterTableStmt *) trigdata->parsetree);
	}
	else if (IsA(trigdata->parsetree, RenameStmt))
	{
		check_rename((RenameStmt *) trigdata->parsetree);
		runops_unique_check_rename((RenameStmt *) trigdata->parsetree);
	}

	PG_RETURN_NULL();
}

/*
 * Does a command add or drop a constraint that declares an alias?  A user who
 * does that must change the stores himself.
 */
static bool
declares_alias(AlterTableCmd *cmd)
{
	const char *name = cmd->name;

	if (cmd->subtype == AT_AddConstraint)
		name = ((Constraint *) cmd->def)->conname;

	return name != NULL && runops_is_alias_check(name);
}

/*
 * Does the ALTER TABLE change properties that the tables in other stores
 * should have too?
 */
static bool
changes_stores(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		switch (lfirst_node(AlterTableCmd, lc)->subtype)
		{
			case AT_AddColumn:
			case AT_DropColumn:
			case AT_AlterColumnType:
			case AT_SetNotNull:
			case AT_DropNotNull:
			case AT_DropExpression:
				return true;
			case AT_AddConstraint:
			case AT_DropConstraint:
				if (!declares_alias(lfirst_node(AlterTableCmd, lc)))
					return true;
				break;
			default:
				break;
		}
	}

	return false;
}

/*
 * The first routed table with a column of the type, of an array of it, or of a
 * domain over one of these; InvalidOid if there is none.
 */
static Oid
routed_table_with_type(Oid type)
{
	ListCell   *lc;

	foreach(lc, runops_routed_tables())
	{
		Relation	rel = table_open(lfirst_oid(lc), AccessShareLock);
		TupleDesc	desc = RelationGetDescr(rel);
		bool		found = false;

		for (int i = 0; i < desc->natts && !found; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);
			Oid			base = att->attisdropped ? InvalidOid : getBaseType(att->atttypid);
			Oid			element = OidIsValid(base) ? get_element_type(base) : InvalidOid;

			found = base == type || (OidIsValid(element) && getBaseType(element) == type);
		}
		table_close(rel, AccessShareLock);
		if (found)
			return lfirst_oid(lc);
	}

	return InvalidOid;
}

/*
 * The routed table that a statement has changed in a way that the stores
 * should follow; InvalidOid if there is none.
 *
 * While a dump is restored, the result is InvalidOid.  The dump uses ONLY for
 * objects on the parent, its search_path is empty when it creates the indexes
 * of a leaf, and it adds no label to an enum.
 */
static Oid
changed_routed_table(Node *parsetree)
{
	RangeVar   *relation = NULL;
	Oid			relid;
	Oid			routed;

	if (IsA(parsetree, AlterEnumStmt))
		return routed_table_with_type(typenameTypeId(NULL, makeTypeNameFromNameList(((AlterEnumStmt *) parsetree)->typeName)));

	if (IsA(parsetree, AlterTableStmt) && changes_stores((AlterTableStmt *) parsetree))
		relation = ((AlterTableStmt *) parsetree)->relation;
	else if (IsA(parsetree, IndexStmt))
		relation = ((IndexStmt *) parsetree)->relation;
	else if (IsA(parsetree, RenameStmt) &&
			 (((RenameStmt *) parsetree)->renameType == OBJECT_COLUMN ||
			  ((RenameStmt *) parsetree)->renameType == OBJECT_TABCONSTRAINT))
		relation = ((RenameStmt *) parsetree)->relation;
	if (relation == NULL || !relation->inh)
		return InvalidOid;

	relid = RangeVarGetRelid(relation, NoLock, true);
	routed = OidIsValid(relid) ? routed_table_of(relid) : InvalidOid;
	if (routed != relid && (strcmp(namespace_search_path, "") == 0 ||
							strcmp(namespace_search_path, "\"\"") == 0))
		return InvalidOid;

	return routed;
}

/*
 * Event trigger on ddl_command_end: after a change of a routed table that does
 * not reach the other stores, tell the user what to run.
 */
Datum
runops_protect_end(PG_FUNCTION_ARGS)
{
	Node	   *parsetree;
	Oid			routed;
	char	   *name;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by event trigger manager",
						get_func_name(fcinfo->flinfo->fn_oid))));
	if (IsBinaryUpgrade)
		PG_RETURN_NULL();

	parsetree = ((EventTriggerData *) fcinfo->context)->parsetree;
	routed = changed_routed_table(parsetree);
	if (!OidIsValid(routed) || list_length(find_inheritance_children(routed, NoLock)) < 2 ||
		!runops_first_report())
		PG_RETURN_NULL();

	name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(routed)), get_rel_name(routed));
	ereport(NOTICE,
			(IsA(parsetree, AlterEnumStmt) ?
			 errmsg("type %s of table \"%s\" was changed in this database only",
					NameListToQuotedString(((AlterEnumStmt *) parsetree)->typeName), get_rel_name(routed)) :
			 errmsg("table \"%s\" was changed in this database only", get_rel_name(routed)),
			 errdetail("The tables in the other stores were not changed."),
			 errhint("Run for each of these stores: SELECT * FROM runops.provision(store, relation => %s)",
					 quote_literal_cstr(name))));

	PG_RETURN_NULL();
}
