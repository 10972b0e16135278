/*-------------------------------------------------------------------------
 *
 * as_owner.c
 *	  Becomes the owner of a table in a security-restricted operation, as core
 *	  does for ANALYZE and CREATE INDEX.
 *
 * In such an operation no code can change the role, defer a trigger to the
 * commit, or create temporary objects, and so cannot get other rights later.
 * Settings that the code changes are reset at the end.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "base/as_owner.h"

/*
 * The owner of a table; raises if the table does not exist any more.
 */
Oid
runops_table_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid),
				 errdetail("The table was dropped concurrently."),
				 errhint("Try again.")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	return owner;
}

/*
 * Become the owner of a table.
 *
 * Policies of the owner's own tables do not apply, as for the queries of a
 * foreign key.
 */
void
runops_as_owner_begin(RunopsAsOwner *saved, Oid owner)
{
	GetUserIdAndSecContext(&saved->userid, &saved->sec_context);
	SetUserIdAndSecContext(owner, saved->sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION | SECURITY_NOFORCE_RLS);
	saved->guc_level = NewGUCNestLevel();
}

/*
 * Restore the user and the settings that runops_as_owner_begin() has saved.
 */
void
runops_as_owner_end(const RunopsAsOwner *saved)
{
	AtEOXact_GUC(false, saved->guc_level);
	SetUserIdAndSecContext(saved->userid, saved->sec_context);
}
