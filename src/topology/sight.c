/*-------------------------------------------------------------------------
 *
 * sight.c
 *	  Decides which values of a routed table's rows an error may show.
 *
 * The rule is core's.  If a row-security policy applies to the user, no values
 * are shown, because the policy may hide the row.  Otherwise the columns are
 * shown that the user may select.  The privileges and policies of the routed
 * table count, because its leaves have other privileges and no policies.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "topology/topology.h"

/*
 * The values of a table's rows that an error may show to the current user.
 */
RunopsSight
runops_sight(Oid table)
{
	if (check_enable_rls(table, InvalidOid, true) == RLS_ENABLED)
		return RUNOPS_SIGHT_NONE;
	if (pg_class_aclcheck(table, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return RUNOPS_SIGHT_ALL;

	return RUNOPS_SIGHT_COLUMNS;
}

/*
 * May an error show the values of a column to the current user?
 *
 * Returns false if the table has no such column.
 */
bool
runops_sees_column(Oid table, const char *column)
{
	AttrNumber	attno;

	switch (runops_sight(table))
	{
		case RUNOPS_SIGHT_NONE:
			return false;
		case RUNOPS_SIGHT_ALL:
			return true;
		case RUNOPS_SIGHT_COLUMNS:
			break;
	}
	attno = get_attnum(table, column);

	return attno > 0 &&
		pg_attribute_aclcheck(table, attno, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}
