/*-------------------------------------------------------------------------
 *
 * dead_when.c
 *	  Checks and deparses the condition for rows that have lost their
 *	  idempotency key.
 *
 * The text comes from add_idempotency and becomes part of queries.  It is
 * parsed here as one condition over the table, and only the deparsed parse
 * tree is used from then on.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "fmgr.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "base/argument.h"
#include "base/compat.h"
#include "topology/topology.h"

PG_FUNCTION_INFO_V1(runops_dead_condition);

/*
 * _dead_condition(relation regclass, condition text): the deparsed condition,
 * with every name outside of pg_catalog qualified.
 *
 * This runs with the search_path pg_catalog, so names in the text must be
 * qualified too.  Raises unless it is a condition over one row that gives the
 * same result when it is evaluated twice.
 */
Datum
runops_dead_condition(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *condition = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Relation	rel = runops_argument_open(relid, AccessShareLock);
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *nsitem;
	RunopsExpressionText expression;
	Node	   *expr;
	char	   *result;

	runops_expression_text_enter(&expression, condition, "condition of dead rows");
	expr = runops_parse_expression_text(condition);
	if (expr == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" is not one condition", condition),
				 errdetail("It must be an SQL expression over the columns of the table."),
				 errhint("An example is: status IN ('FAILED', 'EXPIRED')")));

	nsitem = addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, false, true);
	addNSItemToQuery(pstate, nsitem, true, true, true);

	/* a CHECK constraint allows the same: no sub-select, aggregate or set */
	expr = transformExpr(pstate, expr, EXPR_KIND_CHECK_CONSTRAINT);
	expr = coerce_to_boolean(pstate, expr, "the condition of dead rows");
	assign_expr_collations(pstate, expr);

	if (contain_volatile_functions((Node *) expression_planner((Expr *) expr)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("\"%s\" calls a volatile function", condition),
				 errdetail("The condition must give the same result again when the key is cleared."),
				 errhint("Use only functions that are marked IMMUTABLE or STABLE.")));
	runops_expression_text_leave(&expression);

	result = deparse_expression(expr, deparse_context_for(RelationGetRelationName(rel), relid),
								false, false);
	table_close(rel, NoLock);

	PG_RETURN_TEXT_P(cstring_to_text(result));
}
