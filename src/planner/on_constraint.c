/*-------------------------------------------------------------------------
 *
 * on_constraint.c
 *	  Makes ON CONFLICT ON CONSTRAINT of the key of a routed table name the
 *	  columns of the key.
 *
 * The parser finds the constraint, but its index has no entries: those are in the
 * indexes of the leaves.  The columns mean the primary key of whichever leaf the
 * rows go to, here and in a store.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "planner/planner_int.h"

/*
 * Replace the constraint in the ON CONFLICT clause of one query.
 */
static void
name_columns(Query *query)
{
	OnConflictExpr *conflict = query->onConflict;
	RangeTblEntry *rte;
	Relation	index;

	if (conflict == NULL || !OidIsValid(conflict->constraint))
		return;
	rte = rt_fetch(query->resultRelation, query->rtable);
	if (rte->relkind != RELKIND_PARTITIONED_TABLE || runops_route(rte->relid) == NULL)
		return;

	index = index_open(get_constraint_index(conflict->constraint), AccessShareLock);
	if (index->rd_index->indisprimary)
	{
		for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
		{
			AttrNumber	attno = index->rd_index->indkey.values[i];
			InferenceElem *element = makeNode(InferenceElem);
			Oid			type;
			int32		typmod;
			Oid			collation;

			get_atttypetypmodcoll(rte->relid, attno, &type, &typmod, &collation);
			element->expr = (Node *) makeVar(query->resultRelation, attno, type, typmod, collation, 0);
			conflict->arbiterElems = lappend(conflict->arbiterElems, element);
		}
		conflict->constraint = InvalidOid;
	}
	index_close(index, NoLock);
}

/*
 * Replace the constraint in the ON CONFLICT clauses of a statement; changes the
 * query.
 *
 * Only the statement itself and its WITH queries can be an INSERT.
 */
void
runops_name_key_columns(Query *query)
{
	ListCell   *lc;

	name_columns(query);
	foreach(lc, query->cteList)
		name_columns(castNode(Query, ((CommonTableExpr *) lfirst(lc))->ctequery));
}
