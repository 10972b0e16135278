/*-------------------------------------------------------------------------
 *
 * check_row.c
 *	  Checks of a row that is about to be written to a foreign table.
 *
 * Core relies on the other side for the constraints of a foreign table, and so
 * checks neither its partition bound nor a WITH CHECK OPTION before a row is
 * sent: a row would stand in a store where no pruned read looks for it, or
 * escape its policy.  The CHECKs that declare aliases are looked at as well: the
 * planner relies on them, also before provision has put them into the store.
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
 * The names and the expressions of the CHECKs of a foreign table that declare
 * aliases, in turns.
 *
 * The others are left out by their name, because to read an expression takes its
 * time, and a table may have many.
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
 * The columns that the CHECKs for aliases read, offset by
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
 * Prepare the CHECKs for aliases for the rows that a statement writes.
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
 * Refuse a row with an alias that names another store than the key, in the
 * words of core.
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
					 errdetail("The column names another store than the key of the row."),
					 errhint("A row belongs where its parent is: mint its key by the parent's."),
					 err_generic_string(PG_DIAG_SCHEMA_NAME, get_namespace_name(get_rel_namespace(table))),
					 err_generic_string(PG_DIAG_TABLE_NAME, get_rel_name(table)),
					 err_generic_string(PG_DIAG_CONSTRAINT_NAME, check->name)));
	}
}

/*
 * Text of the columns that decide the store of a row, like
 * "Failing row has (id) = (x).", or NULL if there are none that the user may
 * see: as in core, those that he may select or has set himself, and none under
 * row security.
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
 * Refuse a row whose key belongs to another store.
 *
 * A row that core has routed is known to fit, unless a trigger of the foreign
 * table has changed it since.
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
			 errhint("Insert into the routed table, which chooses the store by the key.")));
}

/*
 * Refuse a row that violates a policy or a view's check option, or whose key
 * belongs to another store than the one it is about to be sent to, or than an
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
}
