/*-------------------------------------------------------------------------
 *
 * sight.c
 *	  Which values of a routed table's rows an error may show.
 *
 * Core's rule: none if a row-security policy applies to the user, because the
 * row may be one that it hides; otherwise those of the columns that the user may
 * select.  The rights of a routed table are the table's own: its leaves have
 * other ones, and no policies.
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
 * What an error may show of the rows of a table to the current user.
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
 * False for a name that is no column.
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
