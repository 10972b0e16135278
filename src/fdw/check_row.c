/*-------------------------------------------------------------------------
 *
 * check_row.c
 *	  Checks a row that is about to be written to a foreign table.
 *
 * Core leaves the constraints of a foreign table to the remote server.  So it
 * checks neither the partition constraint nor a WITH CHECK OPTION before a row
 * is sent.  The row would go to a store where a pruned query does not look for
 * it, or would violate its policy.  Nor does it check NOT NULL and CHECK.  The planner
 * relies on them, so a row that violates them would be stored and not found, and
 * the store's table may not have the same constraints.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "fdw/fdw_int.h"
#include "topology/topology.h"

/* A CHECK that declares an alias. */
typedef struct AliasCheck
{
	char	   *name;
	ExprState  *expr;
} AliasCheck;

/*
 * The names and the expressions of a foreign table's CHECKs that declare
 * aliases, alternating.
 *
 * The other CHECKs are skipped by their name, because parsing an expression
 * takes time, and a table may have many.
 */
static List *
alias_constraints(Relation rel)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	Oid			same_store = InvalidOid;
	List	   *result = NIL;

	for (int i = 0; constr != NULL && i < constr->num_check; i++)
	{
		FuncExpr   *check;

		if (!runops_is_alias_check(constr->check[i].ccname))
			continue;

		check = stringToNode(constr->check[i].ccbin);
		if (!OidIsValid(same_store))
			same_store = runops_same_store_oid();
		if (IsA(check, FuncExpr) && check->funcid == same_store)
			result = lappend(lappend(result, makeString(constr->check[i].ccname)),
							 check);
	}

	return result;
}

/*
 * Does the CHECK have to be checked in core's way?  Not one that declares an alias,
 * and not one that is not enforced.
 */
bool
runops_fdw_core_checks(const ConstrCheck *check)
{
	FuncExpr   *expr;

	if (!CHECK_IS_ENFORCED(check))
		return false;
	if (!runops_is_alias_check(check->ccname))
		return true;
	expr = stringToNode(check->ccbin);

	return !IsA(expr, FuncExpr) || expr->funcid != runops_same_store_oid();
}

/*
 * The columns that the alias CHECKs read, offset by
 * FirstLowInvalidHeapAttributeNumber.
 */
Bitmapset *
runops_fdw_alias_attrs(Relation rel)
{
	List	   *constraints = alias_constraints(rel);
	Bitmapset  *attrs = NULL;

	for (int i = 1; i < list_length(constraints); i += 2)
		pull_varattnos(list_nth(constraints, i), 1, &attrs);

	return attrs;
}

/*
 * Prepare the alias CHECKs for the rows that a statement writes.
 */
List *
runops_fdw_alias_checks(EState *estate, Relation rel)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);
	List	   *constraints = alias_constraints(rel);
	List	   *checks = NIL;

	for (int i = 0; i < list_length(constraints); i += 2)
	{
		AliasCheck *check = palloc(sizeof(AliasCheck));

		check->name = pstrdup(strVal(list_nth(constraints, i)));
		check->expr = ExecPrepareExpr(list_nth(constraints, i + 1), estate);
		checks = lappend(checks, check);
	}
	MemoryContextSwitchTo(oldcontext);

	return checks;
}

/*
 * Reject a row with an alias that names another store than the key, with
 * core's message for a CHECK.
 */
static void
check_aliases(EState *estate, Relation rel, TupleTableSlot *slot, List *checks)
{
	ExprContext *econtext = GetPerTupleExprContext(estate);
	Oid			table = runops_leaf_table(RelationGetRelid(rel));
	ListCell   *lc;

	econtext->ecxt_scantuple = slot;
	foreach(lc, checks)
	{
		AliasCheck *check = lfirst(lc);

		if (!ExecCheck(check->expr, econtext))
			ereport(ERROR,
					(errcode(ERRCODE_CHECK_VIOLATION),
					 errmsg("new row for relation \"%s\" violates check constraint \"%s\"",
							RelationGetRelationName(rel), check->name),
					 errdetail("The column names a different store than the key of the row."),
					 errhint("A row belongs to the store of its parent: mint its key from the key of the parent."),
					 err_generic_string(PG_DIAG_SCHEMA_NAME, get_namespace_name(get_rel_namespace(table))),
					 err_generic_string(PG_DIAG_TABLE_NAME, get_rel_name(table)),
					 err_generic_string(PG_DIAG_CONSTRAINT_NAME, check->name)));
	}
}

/*
 * Let core check NOT NULL and the CHECKs that do not declare aliases, and name the
 * routed table in its errors.
 *
 * Core prepares the CHECKs of a relation together, and takes one that is missing
 * for one that holds.  So those that declare aliases are left out here.
 */
static void
check_constraints(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot)
{
	TupleConstr *constr = RelationGetDescr(rri->ri_RelationDesc)->constr;

	if (constr == NULL)
		return;

	if (constr->num_check > 0 && rri->RI_CHECK_EXPRS == NULL)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(estate->es_query_cxt);

		rri->RI_CHECK_EXPRS = palloc0(constr->num_check * sizeof(ExprState *));
		for (int i = 0; i < constr->num_check; i++)
		{
			if (runops_fdw_core_checks(&constr->check[i]))
				rri->RI_CHECK_EXPRS[i] =
					ExecPrepareExpr(stringToNode(constr->check[i].ccbin), estate);
		}
		MemoryContextSwitchTo(oldcontext);
	}

	PG_TRY();
	{
		ExecConstraints(rri, slot, estate);
	}
	PG_CATCH();
	{
		runops_fdw_rethrow_check(estate, rri, slot);
	}
	PG_END_TRY();
}

/*
 * The text of the columns that decide the store of a row, like "Failing row
 * has (id) = (x)."; NULL if the user may see none of them.  As in core, the
 * user may see the columns that he may select or has assigned himself, and no
 * column under row security.
 */
static char *
describe_key(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot)
{
	Relation	rel = rri->ri_RelationDesc;
	TupleDesc	tupdesc = RelationGetDescr(rel);
	Oid			table = runops_leaf_table(RelationGetRelid(rel));
	Bitmapset  *key_attrs = NULL;
	Bitmapset  *set_cols;
	StringInfoData names;
	StringInfoData values;
	int			i = -1;

	if (runops_sight(table) == RUNOPS_SIGHT_NONE)
		return NULL;

	pull_varattnos((Node *) RelationGetPartitionQual(rel), 1, &key_attrs);
	set_cols = bms_union(ExecGetInsertedCols(rri, estate),
						 ExecGetUpdatedCols(rri, estate));
	initStringInfo(&names);
	initStringInfo(&values);

	while ((i = bms_next_member(key_attrs, i)) >= 0)
	{
		AttrNumber	attno = i + FirstLowInvalidHeapAttributeNumber;
		Form_pg_attribute att;
		Oid			typoutput;
		bool		isvarlena;
		bool		isnull;
		Datum		value;

		if (attno <= 0)
			continue;

		att = TupleDescAttr(tupdesc, attno - 1);
		if (!bms_is_member(i, set_cols) &&
			!runops_sees_column(table, NameStr(att->attname)))
			continue;

		if (names.len > 0)
		{
			appendStringInfoString(&names, ", ");
			appendStringInfoString(&values, ", ");
		}
		appendStringInfoString(&names, NameStr(att->attname));
		value = slot_getattr(slot, attno, &isnull);
		getTypeOutputInfo(att->atttypid, &typoutput, &isvarlena);
		appendStringInfoString(&values, isnull ? "null" :
							   OidOutputFunctionCall(typoutput, value));
	}

	if (names.len == 0)
		return NULL;

	return psprintf("Failing row has (%s) = (%s).", names.data, values.data);
}

/*
 * Reject a row whose key belongs to another store.
 *
 * A row that core has routed matches the store, unless a trigger of the
 * foreign table has changed it.
 */
static void
check_bound(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot,
			bool update)
{
	Relation	rel = rri->ri_RelationDesc;
	const char *store;
	char	   *key;

	if (!rel->rd_rel->relispartition)
		return;
	if (!update && rri->ri_RootResultRelInfo != NULL &&
		!(rri->ri_TrigDesc && rri->ri_TrigDesc->trig_insert_before_row))
		return;
	if (ExecPartitionCheck(rri, slot, estate, false))
		return;

	store = runops_store_label(RelationGetRelid(rel));
	key = describe_key(estate, rri, slot);
	ereport(ERROR,
			(errcode(ERRCODE_RUNOPS_WRONG_STORE),
			 update ?
			 errmsg("cannot move a row of \"%s\" out of store \"%s\"",
					RelationGetRelationName(rel), store) :
			 errmsg("row of \"%s\" does not belong to store \"%s\"",
					RelationGetRelationName(rel), store),
			 key ? errdetail("%s", key) : 0,
			 update ?
			 errhint("Insert a row with the new key and delete the old one.") :
			 errhint("Insert the row into the routed table.")));
}

/*
 * Reject a row that violates a policy, a view's check option or a constraint of
 * the table, or whose key belongs to a different store than the target or an
 * alias.
 */
void
runops_fdw_check_row(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot,
					 CmdType operation, List *alias_checks)
{
	bool		update = (operation == CMD_UPDATE);

	slot->tts_tableOid = RelationGetRelid(rri->ri_RelationDesc);

	if (rri->ri_WithCheckOptions != NIL)
	{
		ExecWithCheckOptions(update ? WCO_RLS_UPDATE_CHECK : WCO_RLS_INSERT_CHECK,
							 rri, slot, estate);
		ExecWithCheckOptions(WCO_VIEW_CHECK, rri, slot, estate);
	}
	check_bound(estate, rri, slot, update);
	check_aliases(estate, rri->ri_RelationDesc, slot, alias_checks);
	check_constraints(estate, rri, slot);
}
