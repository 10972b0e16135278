/*-------------------------------------------------------------------------
 *
 * scan_node.c
 *	  Finds the table, the user and the parameters of a plan node.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"

/*
 * The range-table index of the table that a scan reads; for a join, of the
 * first table.
 */
int
runops_fdw_scan_rtindex(ForeignScanState *node)
{
	ForeignScan *plan = castNode(ForeignScan, node->ss.ps.plan);

	if (plan->scan.scanrelid > 0)
		return plan->scan.scanrelid;
	return bms_next_member(FOREIGN_SCAN_BASE_RELIDS(plan), -1);
}

/*
 * The foreign table that a scan reads; for a join, the first table.
 */
Oid
runops_fdw_scan_relid(ForeignScanState *node)
{
	return exec_rt_fetch(runops_fdw_scan_rtindex(node), node->ss.ps.state)->relid;
}

/*
 * The user whose mapping a scan uses: the view's owner, or the current user.
 */
Oid
runops_fdw_scan_userid(ForeignScanState *node)
{
	Oid			userid = foreign_scan_user(node);

	return OidIsValid(userid) ? userid : GetUserId();
}

/*
 * The same for a result relation.
 */
Oid
runops_fdw_result_userid(EState *estate, ResultRelInfo *rri)
{
	ResultRelInfo *listed = rri->ri_RangeTableIndex == 0 ? rri->ri_RootResultRelInfo : rri;
	Oid			userid = InvalidOid;

	if (listed != NULL && listed->ri_RangeTableIndex != 0)
		userid = result_relation_user(listed, estate);

	return OidIsValid(userid) ? userid : GetUserId();
}

/*
 * Collect the numbers of the executor's parameters in an expression; context is
 * a Bitmapset ** that they are added to.
 */
bool
runops_fdw_collect_params(Node *node, void *context)
{
	Bitmapset **params = (Bitmapset **) context;

	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
		*params = bms_add_member(*params, ((Param *) node)->paramid);

	return expression_tree_walker(node, runops_fdw_collect_params, context);
}
