/*-------------------------------------------------------------------------
 *
 * assigned.c
 *	  Decides whether the values that an UPDATE assigns keep the constraints of
 *	  a row.
 *
 * A direct UPDATE does not return its new rows, so they cannot be checked
 * here.  Therefore an UPDATE is sent directly only if the statement itself
 * proves that NOT NULL and CHECK hold for the assigned values.  The proofs
 * cover the most frequent expressions: constants, and arithmetic with columns
 * that are NOT NULL.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

#include "fdw/fdw_int.h"

/* The assignments of an UPDATE. */
typedef struct Assigned
{
	List	   *tlist;			/* of TargetEntry */
	List	   *attnos;			/* of integer: the column of each */
} Assigned;

/*
 * Is a type a number, a time or an interval?  The arithmetic of these types
 * returns no NULL for arguments that are not NULL.
 */
static bool
is_arithmetic_type(Oid type)
{
	char		category;
	bool		preferred;

	get_type_category_preferred(type, &category, &preferred);

	return type < FirstUnpinnedObjectId &&
		(category == TYPCATEGORY_NUMERIC || category == TYPCATEGORY_DATETIME ||
		 category == TYPCATEGORY_TIMESPAN);
}

static bool never_null(Node *expr, Index rti, Relation rel);

/*
 * Is the expression built-in arithmetic on arguments that are never NULL?
 */
static bool
is_arithmetic(Node *expr, Oid function, List *args, Index rti, Relation rel)
{
	ListCell   *lc;

	if (function >= FirstUnpinnedObjectId || !is_arithmetic_type(exprType(expr)))
		return false;

	foreach(lc, args)
	{
		if (!is_arithmetic_type(exprType(lfirst(lc))) ||
			!never_null(lfirst(lc), rti, rel))
			return false;
	}

	return true;
}

/*
 * Can it be proved that the expression over the old row of the table is never
 * NULL?
 */
static bool
never_null(Node *expr, Index rti, Relation rel)
{
	switch (nodeTag(expr))
	{
		case T_Const:
			return !((Const *) expr)->constisnull;
		case T_Var:
			{
				Var		   *var = (Var *) expr;

				return var->varno == rti && var->varlevelsup == 0 && var->varattno > 0 &&
					TupleDescAttr(RelationGetDescr(rel), var->varattno - 1)->attnotnull;
			}
		case T_RelabelType:
			return never_null((Node *) ((RelabelType *) expr)->arg, rti, rel);
		case T_OpExpr:
			set_opfuncid((OpExpr *) expr);
			return is_arithmetic(expr, ((OpExpr *) expr)->opfuncid,
								 ((OpExpr *) expr)->args, rti, rel);
		case T_FuncExpr:
			return ((FuncExpr *) expr)->funcformat != COERCE_EXPLICIT_CALL &&
				is_arithmetic(expr, ((FuncExpr *) expr)->funcid,
							  ((FuncExpr *) expr)->args, rti, rel);
		case T_CoalesceExpr:
			{
				ListCell   *lc;

				foreach(lc, ((CoalesceExpr *) expr)->args)
				{
					if (never_null(lfirst(lc), rti, rel))
						return true;
				}
				return false;
			}
		default:
			return false;
	}
}

/*
 * Mutator: replace the columns in a CHECK by the assigned expressions.
 */
static Node *
insert_assigned(Node *node, void *context)
{
	Assigned   *assigned = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		ListCell   *tle;
		ListCell   *attno;

		forboth(tle, assigned->tlist, attno, assigned->attnos)
		{
			if (lfirst_int(attno) == ((Var *) node)->varattno)
				return copyObject((Node *) lfirst_node(TargetEntry, tle)->expr);
		}
		return copyObject(node);
	}

	return expression_tree_mutator(node, insert_assigned, context);
}

/*
 * Does a CHECK hold for every row?
 */
static bool
check_holds(PlannerInfo *root, Node *check, Assigned *assigned)
{
	Node	   *result = eval_const_expressions(root, insert_assigned(check, assigned));

	/* as in SQL, a CHECK that is NULL holds */
	return IsA(result, Const) &&
		(((Const *) result)->constisnull || DatumGetBool(((Const *) result)->constvalue));
}

/*
 * Do the columns include the whole row or a generated column?
 */
bool
runops_fdw_reads_computed(TupleDesc desc, Bitmapset *columns)
{
	int			i = -1;

	while ((i = bms_next_member(columns, i)) >= 0)
	{
		AttrNumber	attno = i + FirstLowInvalidHeapAttributeNumber;

		if (attno == InvalidAttrNumber ||
			(attno > 0 && TupleDescAttr(desc, attno - 1)->attgenerated != '\0'))
			return true;
	}

	return false;
}

/*
 * Does the UPDATE of a table assign a column such that a NOT NULL or a CHECK
 * of the table may not hold for the new row?
 *
 * tlist and attnos are the result of get_translated_update_targetlist().
 */
bool
runops_fdw_assigns_unproved(PlannerInfo *root, Index rti, Relation rel,
							List *tlist, List *attnos)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Assigned	assigned = {.tlist = tlist, .attnos = attnos};
	Bitmapset  *columns = NULL;
	ListCell   *tle;
	ListCell   *attno;

	if (desc->constr == NULL)
		return false;

	forboth(tle, tlist, attno, attnos)
	{
		columns = bms_add_member(columns, lfirst_int(attno) - FirstLowInvalidHeapAttributeNumber);
		if (TupleDescAttr(desc, lfirst_int(attno) - 1)->attnotnull &&
			!never_null((Node *) lfirst_node(TargetEntry, tle)->expr, rti, rel))
			return true;
	}

	for (int i = 0; i < desc->constr->num_check; i++)
	{
		Bitmapset  *reads = NULL;
		Node	   *check;

		if (!runops_fdw_core_checks(&desc->constr->check[i]))
			continue;
		check = stringToNode(desc->constr->check[i].ccbin);
		pull_varattnos(check, 1, &reads);

		/* a whole row or a generated column depends on the assigned columns */
		if (runops_fdw_reads_computed(desc, reads) ||
			(bms_overlap(reads, columns) && !check_holds(root, check, &assigned)))
			return true;
	}

	return false;
}
