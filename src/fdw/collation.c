/*-------------------------------------------------------------------------
 *
 * collation.c
 *	  Finds what depends on a collation that may be another one in a store.
 *
 * postgres_fdw sends an operator or function if its collation is that of a
 * column of the foreign table.  It assumes that the column has the same
 * collation there, but only the name is the same: the default collation is the
 * one of the store's database.  So a range, a sort, max() or a change of case
 * would follow other rules there.  security_levels.c, join.c and plan.c keep
 * what this file finds here.
 *
 * A value depends on a collation unless the operator, function or aggregate is
 * known to look only at the characters.  That is true for equality under a
 * collation that is deterministic on both sides.  What is said about the
 * operators and functions holds for built-in ones.  Others may be sent too, if
 * the option "extensions" of the server names their extension.
 *
 * Some types have no collation but compare parts that have one: ranges,
 * composite types, jsonb.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/tupdesc.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "fdw/fdw_int.h"
#include "gate/gate.h"

PG_FUNCTION_INFO_V1(runops_expression_differs);

/* What may be done with values of a type. */
typedef enum Use
{
	USE_EQUALITY,				/* compare them for equality */
	USE_ANY
} Use;

/*
 * Functions whose result depends only on the characters of their arguments, if
 * the collation is deterministic.
 */
static const Oid by_characters[] = {
	F_TEXTEQ, F_TEXTNE, F_BPCHAREQ, F_BPCHARNE, F_TEXTCAT, F_TEXTLIKE,
	F_TEXTNLIKE, F_BPCHARLIKE, F_BPCHARNLIKE, F_NAMELIKE, F_NAMENLIKE,
	F_LIKE_TEXT_TEXT, F_NOTLIKE_TEXT_TEXT, F_STARTS_WITH, F_LENGTH_TEXT,
	F_LENGTH_BPCHAR, F_TEXTLEN, F_CHAR_LENGTH_TEXT,
	F_CHAR_LENGTH_BPCHAR, F_CHARACTER_LENGTH_TEXT, F_CHARACTER_LENGTH_BPCHAR,
	F_OCTET_LENGTH_TEXT, F_OCTET_LENGTH_BPCHAR, F_BIT_LENGTH_TEXT,
	F_SUBSTR_TEXT_INT4, F_SUBSTR_TEXT_INT4_INT4, F_SUBSTRING_TEXT_INT4,
	F_SUBSTRING_TEXT_INT4_INT4, F_LEFT, F_RIGHT, F_REPEAT,
	F_REPLACE, F_STRPOS, F_POSITION_TEXT_TEXT, F_SPLIT_PART, F_TRANSLATE,
	F_LPAD_TEXT_INT4, F_LPAD_TEXT_INT4_TEXT, F_RPAD_TEXT_INT4,
	F_RPAD_TEXT_INT4_TEXT, F_BTRIM_TEXT, F_BTRIM_TEXT_TEXT, F_LTRIM_TEXT,
	F_LTRIM_TEXT_TEXT, F_RTRIM_TEXT, F_RTRIM_TEXT_TEXT, F_MD5_TEXT,
	F_DECODE, F_TEXT_BPCHAR, F_VARCHAR_VARCHAR_INT4_BOOL,
	F_BPCHAR_BPCHAR_INT4_BOOL, F_TEXT_NAME, F_HASHTEXT,
	F_HASHTEXTEXTENDED, F_ASCII, F_STRING_TO_ARRAY_TEXT_TEXT, F_CARDINALITY, F_ARRAY_LENGTH, F_ARRAY_UPPER,
	F_ARRAY_LOWER, F_ARRAY_APPEND, F_ARRAY_PREPEND, F_ARRAY_CAT, F_ARRAYOVERLAP,
	F_ARRAYCONTAINS, F_ARRAYCONTAINED, F_ARRAY_EQ, F_ARRAY_NE,
	F_JSON_OBJECT_FIELD, F_JSON_OBJECT_FIELD_TEXT, F_JSON_EXTRACT_PATH,
	F_JSON_EXTRACT_PATH_TEXT, F_JSONB_OBJECT_FIELD, F_JSONB_OBJECT_FIELD_TEXT,
	F_JSONB_EXTRACT_PATH, F_JSONB_EXTRACT_PATH_TEXT, F_JSONB_EXISTS,
	F_JSONB_EXISTS_ANY, F_JSONB_EXISTS_ALL,
	/* aggregates */
	F_COUNT_ANY, F_ARRAY_AGG_ANYNONARRAY, F_ARRAY_AGG_ANYARRAY,
	F_STRING_AGG_TEXT_TEXT
};

/*
 * Functions without a collation whose result depends on the encoding.
 */
static const Oid by_encoding[] = {
	F_CHR, F_JSONB_HASH, F_JSONB_HASH_EXTENDED
};

/*
 * Does the type have values that compare by a collation that may be another
 * one in the store?  The collation of the expression itself is not looked at.
 */
static bool
type_differs(const RunopsCollations *known, Oid type, Use use)
{
	Oid			element;
	bool		result = false;

	type = getBaseType(type);
	element = get_element_type(type);
	if (OidIsValid(element))
		return type_differs(known, element, use);

	if (type == RECORDOID || type == JSONPATHOID)
		return !known->same_default;
	if (type == JSONBOID)
		return use != USE_EQUALITY && !known->same_default;
	/* their words are sorted by bytes */
	if (type == TSVECTOROID || type == TSQUERYOID)
		return use != USE_EQUALITY && !known->same_encoding;

	switch (get_typtype(type))
	{
		case TYPTYPE_RANGE:
		case TYPTYPE_MULTIRANGE:
			{
				Oid			range = get_typtype(type) == TYPTYPE_RANGE ? type :
					get_multirange_range(type);

				return runops_fdw_collation_differs(known, get_range_collation(range), use == USE_EQUALITY) ||
					type_differs(known, get_range_subtype(range), use);
			}
		case TYPTYPE_COMPOSITE:
			{
				TupleDesc	tupdesc = lookup_rowtype_tupdesc(type, -1);

				for (int i = 0; i < tupdesc->natts && !result; i++)
				{
					Form_pg_attribute att = TupleDescAttr(tupdesc, i);

					result = !att->attisdropped &&
						(runops_fdw_collation_differs(known, att->attcollation, use == USE_EQUALITY) ||
						 type_differs(known, att->atttypid, use));
				}
				ReleaseTupleDesc(tupdesc);
				return result;
			}
		case TYPTYPE_BASE:
			/* a type such as citext: its equality may not be that of bytes */
			return type >= FirstGenbkiObjectId && OidIsValid(get_typcollation(type)) &&
				!known->same_default;
		default:
			return false;
	}
}

/*
 * Does a comparison under a collation have another result in the store?
 */
bool
runops_fdw_collation_differs(const RunopsCollations *known, Oid collation,
							 bool equality)
{
	return equality ? !runops_collation_has_same_equality(known, collation) :
		!runops_collation_is_same(known, collation);
}

/*
 * The same for a list of expressions by which rows are grouped.
 */
static bool
grouping_differs(const RunopsCollations *known, List *exprs)
{
	ListCell   *lc;

	foreach(lc, exprs)
	{
		Node	   *expr = (Node *) lfirst(lc);

		if (runops_fdw_collation_differs(known, exprCollation(expr), true) ||
			type_differs(known, exprType(expr), USE_EQUALITY))
			return true;
	}

	return false;
}

/*
 * Does a sort have another order in the store?
 */
static bool
sort_differs(const RunopsCollations *known, Oid opfamily, Oid collation, Oid type)
{
	if (opfamily == TEXT_PATTERN_BTREE_FAM_OID || opfamily == BPCHAR_PATTERN_BTREE_FAM_OID)
		return !known->same_encoding;

	return !runops_collation_is_same(known, collation) ||
		type_differs(known, type, USE_ANY);
}

/*
 * Does a built-in operator compare for equality or the opposite?
 */
static bool
is_equality(Oid opno)
{
	Oid			negator;

	if (opno >= FirstGenbkiObjectId)
		return false;
	if (get_mergejoin_opfamilies(opno) != NIL)
		return true;
	negator = get_negator(opno);

	return OidIsValid(negator) && get_mergejoin_opfamilies(negator) != NIL;
}

/*
 * Does a function look only at the characters of its arguments?  Some count
 * bytes, so the encoding must be the same.
 */
static bool
is_by_characters(const RunopsCollations *known, Oid funcid)
{
	for (int i = 0; i < lengthof(by_characters); i++)
	{
		if (by_characters[i] == funcid)
			return known->same_encoding;
	}

	return false;
}

/*
 * Does a function without a collation depend on the encoding?
 */
static bool
is_by_encoding(Oid funcid)
{
	for (int i = 0; i < lengthof(by_encoding); i++)
	{
		if (by_encoding[i] == funcid)
			return true;
	}

	return false;
}

/*
 * Does an operator order jsonb?  The others look at characters only.
 */
static bool
orders_jsonb(Oid opno)
{
	TypeCacheEntry *entry = lookup_type_cache(JSONBOID, TYPECACHE_BTREE_OPFAMILY);

	return op_in_opfamily(opno, entry->btree_opf);
}

/*
 * Does an operator have another result in the store, for the same arguments?
 */
static bool
operator_differs(const RunopsCollations *known, Oid opno, Oid collation, List *args)
{
	bool		equality = is_equality(opno);
	ListCell   *lc;

	/* these families have the usual equality */
	if (!equality &&
		(op_in_opfamily(opno, TEXT_PATTERN_BTREE_FAM_OID) ||
		 op_in_opfamily(opno, BPCHAR_PATTERN_BTREE_FAM_OID)))
		return !known->same_encoding;

	if (runops_fdw_collation_differs(known, collation,
									 equality || is_by_characters(known, get_opcode(opno))))
		return true;

	foreach(lc, args)
	{
		Oid			type = exprType((Node *) lfirst(lc));

		if (getBaseType(type) == JSONBOID && !orders_jsonb(opno))
			continue;
		if (type_differs(known, type, equality ? USE_EQUALITY : USE_ANY))
			return true;
	}

	return false;
}

/*
 * Does a function have another result in the store, for the same arguments?
 */
static bool
function_differs(const RunopsCollations *known, Oid funcid, Oid result_type,
				 Oid collation, List *args)
{
	bool		characters = is_by_characters(known, funcid);
	ListCell   *lc;

	if (runops_fdw_collation_differs(known, collation, characters) ||
		(!known->same_encoding && is_by_encoding(funcid)))
		return true;

	foreach(lc, args)
	{
		Node	   *arg = (Node *) lfirst(lc);
		Oid			type;

		if (IsA(arg, TargetEntry))
			arg = (Node *) ((TargetEntry *) arg)->expr;
		type = getBaseType(exprType(arg));

		/* a document is made of words by the classes of characters */
		if (type == JSONBOID || type == JSONOID)
		{
			if (result_type == TSVECTOROID && !known->same_default)
				return true;
			continue;
		}
		if (type_differs(known, type, characters ? USE_EQUALITY : USE_ANY))
			return true;
	}

	return false;
}

/*
 * Does an aggregate have another result in the store, for the same rows?
 */
static bool
aggregate_differs(const RunopsCollations *known, Aggref *agg)
{
	ListCell   *lc;

	if (function_differs(known, agg->aggfnoid, agg->aggtype, agg->inputcollid, agg->args))
		return true;

	foreach(lc, agg->aggorder)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);
		Node	   *expr = get_sortgroupclause_expr(clause, agg->args);
		Oid			opfamily = InvalidOid;
		Oid			opcintype;
		RunopsCompareType direction;

		(void) get_ordering_op_properties(clause->sortop, &opfamily, &opcintype, &direction);
		if (sort_differs(known, opfamily, exprCollation(expr), exprType(expr)))
			return true;
	}

	return grouping_differs(known, get_sortgrouplist_exprs(agg->aggdistinct, agg->args));
}

/*
 * Walker: is there a node that has another result in the store?
 */
static bool
differs_walker(Node *node, void *context)
{
	const RunopsCollations *known = context;

	if (node == NULL)
		return false;

	switch (nodeTag(node))
	{
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			{
				OpExpr	   *op = (OpExpr *) node;

				if (operator_differs(known, op->opno, op->inputcollid, op->args))
					return true;
				break;
			}
		case T_ScalarArrayOpExpr:
			{
				ScalarArrayOpExpr *op = (ScalarArrayOpExpr *) node;

				if (operator_differs(known, op->opno, op->inputcollid, op->args))
					return true;
				break;
			}
		case T_FuncExpr:
			{
				FuncExpr   *func = (FuncExpr *) node;

				if (function_differs(known, func->funcid, func->funcresulttype,
									 func->inputcollid, func->args))
					return true;
				break;
			}
		case T_Aggref:
			if (aggregate_differs(known, (Aggref *) node))
				return true;
			break;
		case T_MinMaxExpr:
			if (sort_differs(known, InvalidOid, ((MinMaxExpr *) node)->inputcollid,
							 ((MinMaxExpr *) node)->minmaxtype))
				return true;
			break;
		case T_RestrictInfo:
			return differs_walker((Node *) ((RestrictInfo *) node)->clause, context);
		default:
			if (runops_fdw_collation_differs(known, exprInputCollation(node), false))
				return true;
			break;
	}

	return expression_tree_walker(node, differs_walker, context);
}

/*
 * Does an expression, or one in a list, have another value in the store for
 * the same rows?
 */
bool
runops_fdw_differs(const RunopsCollations *known, Node *node)
{
	return differs_walker(node, (void *) known);
}

/*
 * The same for an expression whose server is given.
 */
bool
runops_fdw_differs_on(Oid serverid, Node *node)
{
	RunopsCollations known;

	runops_sentinel_collations(serverid, &known);

	return differs_walker(node, &known);
}

/*
 * Would the store of a relation sort its rows in another order?
 */
bool
runops_fdw_sort_differs(const RunopsCollations *known, RelOptInfo *rel, List *pathkeys)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, pathkeys)
	{
		PathKey    *pathkey = lfirst_node(PathKey, lc);

		foreach(lc2, pathkey->pk_eclass->ec_members)
		{
			EquivalenceMember *em = lfirst_node(EquivalenceMember, lc2);

			/* an expression over the leaf is an expression over its table */
			if (!IS_UPPER_REL(rel) &&
				!bms_is_subset(em->em_relids, rel->relids) &&
				!bms_is_subset(em->em_relids, rel->top_parent_relids))
				continue;
			if (sort_differs(known, pathkey->pk_opfamily,
							 pathkey->pk_eclass->ec_collation, em->em_datatype) ||
				differs_walker((Node *) em->em_expr, (void *) known))
				return true;
		}
	}

	return false;
}

/*
 * Would the store of a relation group its rows differently, or compute other
 * aggregates?  output_rel is the result of the grouping.
 */
bool
runops_fdw_groups_differ(PlannerInfo *root, Oid serverid, RelOptInfo *output_rel,
						 Node *having)
{
	Query	   *query = root->parse;
	RunopsCollations known;

	runops_sentinel_collations(serverid, &known);

	return differs_walker((Node *) output_rel->reltarget->exprs, &known) ||
		differs_walker(having, &known) ||
		grouping_differs(&known, get_sortgrouplist_exprs(query->groupClause, query->targetList));
}

/*
 * Do clauses of ORDER BY or GROUP BY have another result in the store?
 *
 * ordered: their order matters, and not only which values are equal.
 */
bool
runops_fdw_sorts_differ(const RunopsCollations *known, List *clauses, List *tlist,
						bool ordered)
{
	ListCell   *lc;

	if (!ordered)
		return grouping_differs(known, get_sortgrouplist_exprs(clauses, tlist));

	foreach(lc, clauses)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);
		Node	   *expr = get_sortgroupclause_expr(clause, tlist);
		Oid			opfamily = InvalidOid;
		Oid			opcintype;
		RunopsCompareType direction;

		if (OidIsValid(clause->sortop))
			(void) get_ordering_op_properties(clause->sortop, &opfamily, &opcintype, &direction);
		if (sort_differs(known, opfamily, exprCollation(expr), exprType(expr)))
			return true;
	}

	return false;
}

/*
 * _expression_differs(server oid, expression pg_node_tree): may an expression of
 * a catalog, or one in a list, have another value in the store for the same
 * rows?
 *
 * Such an expression is evaluated by the store when it writes a row, so it
 * cannot be kept here.
 */
Datum
runops_expression_differs(PG_FUNCTION_ARGS)
{
	Oid			serverid = PG_GETARG_OID(0);
	Node	   *expr = stringToNode(TextDatumGetCString(PG_GETARG_DATUM(1)));

	PG_RETURN_BOOL(runops_fdw_differs_on(serverid, expr));
}
