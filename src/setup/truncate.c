/*-------------------------------------------------------------------------
 *
 * truncate.c
 *	  Prevents TRUNCATE from emptying only one store of a routed table.
 *
 * A foreign key to a plain table belongs to the legacy leaf.  TRUNCATE ...
 * CASCADE of the plain table would follow it to the leaf, and keep the rows of
 * other stores, which refer to the same rows.  A user who names the leaf in
 * the command wants to truncate that leaf.  CASCADE from one leaf to another
 * follows rows of the same store, so that is allowed.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/errcodes.h"
#include "gate/gate.h"
#include "setup/setup.h"
#include "topology/topology.h"

/*
 * The routed table of a legacy leaf, if the table has rows in other stores;
 * else InvalidOid.
 */
static Oid
split_table_of_leaf(Oid relid)
{
	Oid			parent;
	ListCell   *lc;

	if (!get_rel_relispartition(relid) ||
		get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE)
		return InvalidOid;
	parent = get_partition_parent(relid, true);
	if (!list_member_oid(runops_routed_tables(), parent))
		return InvalidOid;

	foreach(lc, find_inheritance_children(parent, NoLock))
	{
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_FOREIGN_TABLE)
			return parent;
	}

	return InvalidOid;
}

/*
 * Raise if CASCADE would follow a foreign key from a table to the legacy leaf of a
 * routed table.
 */
static void
refuse_leaf(Oid leaf, Oid routed, Oid referenced)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot truncate table \"%s\" with the rows of routed table \"%s\" that refer to it",
					get_rel_name(referenced), get_rel_name(routed)),
			 errdetail("CASCADE would empty the leaf of store \"%s\" alone; the rows of other stores cannot be truncated from here.",
					   RUNOPS_LEGACY_STORE),
			 errhint("Use DELETE for the rows of %s, and then name its leaf in the command as well: TRUNCATE %s, %s.",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(routed)), get_rel_name(routed)),
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(referenced)), get_rel_name(referenced)),
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(leaf)), get_rel_name(leaf)))));
}

/*
 * Reject a TRUNCATE ...  CASCADE that empties the legacy leaf of a routed
 * table because of a foreign key.  With the flag off there is only one
 * database.
 *
 * Nothing is locked, because core looks at the foreign keys again.
 */
void
runops_protect_command(Node *command)
{
	TruncateStmt *stmt = (TruncateStmt *) command;
	List	   *named = NIL;
	List	   *all;
	ListCell   *lc;

	if (!IsA(command, TruncateStmt) || stmt->behavior != DROP_CASCADE ||
		runops_routed_tables() == NIL || runops_gate_flag_off())
		return;

	foreach(lc, stmt->relations)
	{
		RangeVar   *rv = lfirst_node(RangeVar, lc);
		Oid			relid = RangeVarGetRelid(rv, NoLock, true);

		if (OidIsValid(relid))
			named = list_concat_unique_oid(named,
										   rv->inh ? find_all_inheritors(relid, NoLock, NULL) :
										   list_make1_oid(relid));
	}

	/* the list grows while it is read */
	all = list_copy(named);
	for (int i = 0; i < list_length(all); i++)
	{
		Oid			referenced = list_nth_oid(all, i);
		bool		from_leaf = OidIsValid(split_table_of_leaf(referenced));

		foreach(lc, heap_truncate_find_FKs(list_make1_oid(referenced)))
		{
			Oid			relid = lfirst_oid(lc);
			Oid			routed = split_table_of_leaf(relid);

			if (OidIsValid(routed) && !from_leaf && !list_member_oid(named, relid))
				refuse_leaf(relid, routed, referenced);
			all = list_append_unique_oid(all, relid);
		}
	}
}
