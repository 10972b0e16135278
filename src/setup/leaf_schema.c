/*-------------------------------------------------------------------------
 *
 * leaf_schema.c
 *	  Keeps relations of users out of the schema of the attached tables.
 *
 * An index is created in the schema of its table, so the owners of attached
 * tables have CREATE on the schema of the leaves.  But a relation in the place
 * of a leaf or a reader would lead statements elsewhere.  So only the owner of
 * the schema can create or move anything but indexes there.  The other schemas
 * of leaves have no such privilege.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "setup/setup.h"
#include "setup/setup_int.h"
#include "topology/topology.h"

/* of the attached tables, see runops._old_table_store() */
static const char *const guarded[] = {
	"runops_" RUNOPS_LEGACY_STORE,
	"runops_" RUNOPS_NO_STORE
};

/*
 * Raise if a schema of this name belongs to attached tables, and the current
 * user must not put a relation there.
 */
static void
check_schema(const char *name)
{
	bool		found = false;
	Oid			nsp;
	HeapTuple	tuple;
	Oid			owner;

	for (int i = 0; i < lengthof(guarded); i++)
		found |= strcmp(name, guarded[i]) == 0;
	if (!found || !OidIsValid(runops_store_of_oid()) || runops_in_own_step())
		return;

	nsp = get_namespace_oid(name, true);
	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(nsp));
	if (!HeapTupleIsValid(tuple))
		return;
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	if (has_privs_of_role(GetUserId(), owner))
		return;

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for schema %s", name),
			 errdetail("Only indexes of attached tables can be created in it."),
			 errhint("Use another schema.")));
}

/*
 * A relation is being created: raise if it must not be in its schema.
 *
 * Its catalog entry is not visible yet, but the relation is open.  The caller
 * leaves out what core creates itself, as when it rewrites a table.
 */
void
runops_guard_new_relation(Oid relid)
{
	Relation	rel = RelationIdGetRelation(relid);
	char	   *schema;
	bool		is_index;

	if (!RelationIsValid(rel))
		return;
	is_index = rel->rd_rel->relkind == RELKIND_INDEX || rel->rd_rel->relkind == RELKIND_PARTITIONED_INDEX;
	schema = is_index ? NULL : get_namespace_name(RelationGetNamespace(rel));
	RelationClose(rel);

	if (schema != NULL)
	{
		check_schema(schema);
		pfree(schema);
	}
}

/*
 * Raise for a command that moves an object to such a schema.
 */
void
runops_guard_move(Node *command)
{
	if (IsA(command, AlterObjectSchemaStmt))
		check_schema(((AlterObjectSchemaStmt *) command)->newschema);
}
