/*-------------------------------------------------------------------------
 *
 * skip_checks.c
 *	  Skips the partition constraint and the alias CHECKs of the legacy leaf
 *	  when planning has already proved them.
 *
 * Core prepares the partition constraint and the CHECKs of a relation for each
 * statement that writes to it.  For a single row, that costs more than the
 * write.  If the leaf replaced the table because of the key, the partition
 * constraint is true.  If an UPDATE assigns neither the key nor an alias, both
 * stay as they were and were checked before.  CHECKs on aliases that cannot be
 * skipped are cached, so that their text is not parsed each time.
 *
 * The checks to skip are determined when the plan is made, and stored in the
 * plan (see plan_note.c).  When the plan is started, the executor finds
 * these checks already prepared, as constants that are true.  If a trigger may
 * change the row, the checks are not skipped.
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

/*
 * The cached CHECKs of a leaf; parsing them costs more than evaluating them.
 */
typedef struct CheckEntry
{
	Oid			relid;			/* hash key, first */
	bool		valid;
	MemoryContext cxt;			/* of the expressions, or NULL */
	List	   *exprs;
} CheckEntry;

static HTAB *check_hash = NULL;

/*
 * Relcache callback: forget the CHECKs of one relation, or of all.
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
 * The CHECKs of a relation as executable expressions, in order.
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
 * Determine the checks that a statement can skip if a leaf becomes its result
 * relation.
 *
 * known: does the plan depend on the keys of the rows, and not only on the
 * flag?  This reads the query before its columns are renumbered.  The result
 * is NIL if there is nothing to skip, or four integers: the leaf's OID,
 * whether the partition constraint is skipped, the number of CHECKs on
 * aliases, and whether they are skipped.
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
 * Do all CHECKs of a relation declare aliases?  If one is of another kind,
 * none can be skipped, because core prepares them together.
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
 * Make the executor of a statement that was just started skip the checks.
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
