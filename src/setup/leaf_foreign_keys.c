/*-------------------------------------------------------------------------
 *
 * leaf_foreign_keys.c
 *	  Decides what a new foreign key from or to a routed table becomes.
 *
 * A routed table has no foreign key of its own, because rows of other stores
 * are in other databases.  A foreign key from a routed table is created on its
 * leaf.  It refers to the leaf of another routed table, because rows that
 * belong together are in one store.  A foreign key from any other table is
 * refused: it would reject each row that refers to a row of another store.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/attnum.h"
#include "access/sysattr.h"
#include "catalog/namespace.h"
#include "catalog/pg_constraint.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/errcodes.h"
#include "setup/setup_int.h"
#include "topology/topology.h"

/*
 * Raise if an action of the foreign key would assign to one of these columns
 * of the key of the routed table.
 */
static void
check_action(Constraint *constraint, Oid routed, char action, List *columns)
{
	const RunopsRoute *route = runops_route(routed);
	ListCell   *lc;

	if (action != FKCONSTR_ACTION_SETNULL && action != FKCONSTR_ACTION_SETDEFAULT)
		return;

	foreach(lc, columns)
	{
		AttrNumber	attno = get_attnum(routed, strVal(lfirst(lc)));

		if (attno > 0 && route != NULL &&
			bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, route->key_attnos))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("foreign key may change the key of a row of routed table \"%s\"",
							get_rel_name(routed)),
					 errdetail("It changes column \"%s\" when the referenced row changes or is deleted, and the row would then belong to another store.",
							   strVal(lfirst(lc))),
					 errhint("Give the foreign key another action, for example ON DELETE CASCADE.")));
	}
}

/*
 * Change a new foreign key of a routed table into one of its leaf.
 *
 * Raises if the foreign key could move rows to another store.
 */
void
runops_foreign_key_of_leaf(Constraint *constraint, Oid routed)
{
	const RunopsRoute *route = runops_route(routed);
	Oid			referenced_leaf;

	check_action(constraint, routed, constraint->fk_upd_action, constraint->fk_attrs);
	check_action(constraint, routed, constraint->fk_del_action,
				 constraint->fk_del_set_cols ? constraint->fk_del_set_cols : constraint->fk_attrs);

	if (OidIsValid(runops_routed_by_name(constraint->pktable, &referenced_leaf)))
		constraint->pktable = runops_name_of(referenced_leaf);
	else if (route != NULL && route->nleaves > 1)
		ereport(NOTICE,
				(errmsg("foreign key to table \"%s\" will not be checked for rows of routed table \"%s\" in other stores",
						constraint->pktable->relname, get_rel_name(routed)),
				 errhint("Use runops.add_reference() for these rows.")));
}

/*
 * Raise if a new foreign key of a table that is not routed refers to a routed
 * table.
 *
 * "column" is the referring column, or NULL if the constraint names its columns
 * itself.  A foreign key of a leaf refers to the leaf instead; then the
 * constraint is changed, and the result is true.
 */
bool
runops_refuse_foreign_key(RangeVar *relation, const char *column, Constraint *constraint)
{
	Oid			leaf;
	Oid			routed = runops_routed_by_name(constraint->pktable, &leaf);
	Oid			referring = RangeVarGetRelid(relation, NoLock, true);

	if (!OidIsValid(routed))
		return false;
	if (OidIsValid(referring) && list_member_oid(runops_old_tables(), referring))
	{
		constraint->pktable = runops_name_of(leaf);
		return true;
	}
	if (column == NULL && list_length(constraint->fk_attrs) == 1)
		column = strVal(linitial(constraint->fk_attrs));

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot create a foreign key to routed table \"%s\"", get_rel_name(routed)),
			 errdetail("A foreign key finds only the rows of its leaf %s, and rejects a row that refers to a row of another store.",
					   runops_quoted_name_of(leaf)),
			 column == NULL ?
			 errhint("Create the table or the column without it, and use runops.add_reference().") :
			 errhint("Leave it out, and then run: SELECT runops.add_reference(%s, %s, %s)",
					 quote_literal_cstr(quote_qualified_identifier(relation->schemaname, relation->relname)),
					 quote_literal_cstr(column),
					 quote_literal_cstr(runops_quoted_name_of(routed)))));
}
