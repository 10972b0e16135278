/*-------------------------------------------------------------------------
 *
 * skip_checks.c
 *	  Spares the legacy leaf's rows the checks of what the plan has seen to.
 *
 * Core prepares the partition constraint and the CHECKs of a relation for each
 * statement that writes to it, which for one row costs more than the write.  If
 * the leaf was put in the table's place because of the key, the bound holds by
 * that; if neither the key nor an alias is assigned, an UPDATE leaves both as
 * they were, and they have been checked.  CHECKs for aliases that have to be
 * asked are at least not read from the catalog's text each time.
 *
 * What is spared is found out when the plan is made, goes with the plan (see
 * generic_plan.c) and is carried out when it is started: the executor finds the checks
 * prepared already, as ones that hold.  A trigger that may change the row keeps
 * them.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/relcache.h"
#include "planner/planner_int.h"

/* The CHECKs of a leaf, kept because to read them costs more than to ask them. */
typedef struct CheckEntry
{
	Oid			relid;			/* hash key, first */
	bool		valid;
	MemoryContext cxt;			/* of the expressions, or NULL */
	List	   *exprs;
} CheckEntry;

static HTAB *check_hash = NULL;

/*
 * Relation cache callback: forget the CHECKs of one relation, or all.
 */
static void
forget_checks(Oid relid)
{
	HASH_SEQ_STATUS seq;
	CheckEntry *entry;

	if (OidIsValid(relid))
	{
		entry = hash_search(check_hash, &relid, HASH_FIND, NULL);
		if (entry != NULL)
			entry->valid = false;
		return;
	}

	hash_seq_init(&seq, check_hash);
	while ((entry = hash_seq_search(&seq)) != NULL)
		entry->valid = false;
}

static RunopsRelcacheClient relcache_client = {.forget = forget_checks};

/*
 * The CHECKs of a relation as expressions that can be executed, in order.
 *
 * They stay readable until the end of the transaction.
 */
static List *
check_expressions(Relation rel)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	Oid			relid = RelationGetRelid(rel);
	CheckEntry *entry;
	MemoryContext cxt;
	MemoryContext oldcxt;
	List	   *exprs = NIL;
	bool		found;

	if (check_hash == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(CheckEntry);
		ctl.hcxt = CacheMemoryContext;
		check_hash = hash_create("runops checks", 64, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		runops_relcache_register(&relcache_client);
	}

	entry = hash_search(check_hash, &relid, HASH_FIND, NULL);
	if (entry != NULL && entry->valid)
		return entry->exprs;

	cxt = AllocSetContextCreate(CurrentMemoryContext, "runops checks",
								ALLOCSET_SMALL_SIZES);
	oldcxt = MemoryContextSwitchTo(cxt);
	for (int i = 0; i < constr->num_check; i++)
		exprs = lappend(exprs,
						expression_planner(stringToNode(constr->check[i].ccbin)));
	MemoryContextSwitchTo(oldcxt);

	entry = hash_search(check_hash, &relid, HASH_ENTER, &found);
	if (found)
		MemoryContextSetParent(entry->cxt, TopTransactionContext);
	MemoryContextSetParent(cxt, CacheMemoryContext);
	entry->cxt = cxt;
	entry->exprs = exprs;
	entry->valid = true;

	return exprs;
}

/*
 * Find out what a statement can be spared whose target is to be a leaf.
 *
 * known: does the plan rest on the keys of the rows, and not on the flag alone?
 * The query is read before columns are renumbered.  The result is NIL for
 * nothing, or four integers: the leaf's OID, whether the bound is spared, the
 * number of CHECKs for aliases, and whether they are spared.
 */
List *
runops_spared_checks(Query *query, const RunopsRoute *route,
					 const RunopsLeaf *leaf, bool known)
{
	Bitmapset  *assigned = NULL;
	bool		bound = known;
	bool		same = false;
	ListCell   *lc;

	if (leaf->foreign)
		return NIL;

	if (query->commandType == CMD_UPDATE)
	{
		foreach(lc, query->targetList)
		{
			TargetEntry *tle = lfirst(lc);

			if (!tle->resjunk)
				assigned = bms_add_member(assigned,
										  tle->resno - FirstLowInvalidHeapAttributeNumber);
		}
		if (!bms_overlap(assigned, route->key_attnos))
		{
			bound = true;
			same = !route->alias_generated &&
				!bms_overlap(assigned, route->alias_attnos);
		}
	}
	else if (query->commandType != CMD_INSERT)
		return NIL;

	return list_make4_int((int) leaf->relid, bound,
						  bms_num_members(route->alias_attnos), same);
}

/*
 * Do all CHECKs of a relation declare aliases?  Core prepares them together, so
 * that one of another kind keeps all of them from being skipped.
 */
static bool
all_for_aliases(const TupleConstr *constr)
{
	for (int i = 0; i < constr->num_check; i++)
	{
		if (!runops_is_alias_check(constr->check[i].ccname))
			return false;
	}

	return true;
}

/*
 * Let the executor find the spared checks done, in a statement just started.
 */
void
runops_skip_checks(QueryDesc *queryDesc, List *spared)
{
	ModifyTableState *modify = (ModifyTableState *) queryDesc->planstate;
	ResultRelInfo *target;
	TupleConstr *constr;
	bool		changed;		/* may a trigger change the row? */
	MemoryContext oldcxt;
	int			nchecks = lthird_int(spared);
	int			i = 0;
	ListCell   *lc;

	if (!IsA(modify, ModifyTableState) || modify->mt_nrels != 1)
		return;
	target = modify->resultRelInfo;
	if (RelationGetRelid(target->ri_RelationDesc) != (Oid) linitial_int(spared))
		return;
	changed = target->ri_TrigDesc != NULL &&
		(target->ri_TrigDesc->trig_insert_before_row ||
		 target->ri_TrigDesc->trig_update_before_row);

	oldcxt = MemoryContextSwitchTo(queryDesc->estate->es_query_cxt);

	if (lsecond_int(spared) && !changed && target->ri_PartitionCheckExpr == NULL)
		target->ri_PartitionCheckExpr =
			ExecInitExpr((Expr *) makeBoolConst(true, false), NULL);

	constr = RelationGetDescr(target->ri_RelationDesc)->constr;
	if (nchecks > 0 && constr != NULL && constr->num_check == nchecks &&
		all_for_aliases(constr) && target->RI_CHECK_EXPRS == NULL)
	{
		target->RI_CHECK_EXPRS = palloc0(nchecks * sizeof(ExprState *));
		if (!lfourth_int(spared) || changed)
		{
			foreach(lc, check_expressions(target->ri_RelationDesc))
				target->RI_CHECK_EXPRS[i++] = ExecInitExpr(lfirst(lc), NULL);
		}
	}

	MemoryContextSwitchTo(oldcxt);
}
