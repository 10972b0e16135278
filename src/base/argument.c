/*-------------------------------------------------------------------------
 *
 * argument.c
 *	  Opens and locks the relations that arguments of SQL functions name.
 *
 * An argument of type regclass may be any number, and a table may be dropped
 * after its name was looked up.  Both are errors of the caller, while core's
 * functions for opening a relation raise internal errors.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"

#include "base/argument.h"

/*
 * Lock and open a relation; raises if it does not exist.
 */
Relation
runops_argument_open(Oid relid, LOCKMODE lockmode)
{
	Relation	rel = try_relation_open(relid, lockmode);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid),
				 errdetail("It may have been dropped since its name was looked up."),
				 errhint("Name a relation that exists.")));

	return rel;
}

/*
 * Lock a relation until the transaction ends; raises if it does not exist.
 */
void
runops_argument_lock(Oid relid, LOCKMODE lockmode)
{
	relation_close(runops_argument_open(relid, lockmode), NoLock);
}
