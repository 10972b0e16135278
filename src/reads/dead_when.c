/*-------------------------------------------------------------------------
 *
 * dead_when.c
 *	  The condition under which a row has lost its idempotency key, from the text
 *	  that add_idempotency was given.
 *
 * The text ends up in queries.  It is parsed here as one condition over the
 * table, and what the parser made of it is written out and used from then on.
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

#include "base/compat.h"

PG_FUNCTION_INFO_V1(runops_dead_condition);

/*
 * Error context callback: show the text as the statement in error.
 */
static void
dead_error_callback(void *arg)
{
	int			pos = geterrposition();

	if (pos > 0)
	{
		errposition(0);
		internalerrposition(pos);
		internalerrquery((const char *) arg);
	}
	errcontext("condition of dead rows");
}

/*
 * The raw expression that the text is, or an error if it is anything more.
 */
static Node *
parse_condition(const char *text)
{
	List	   *parsetree = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *stmt = (SelectStmt *) linitial_node(RawStmt, parsetree)->stmt;
	ResTarget  *target = NULL;

	if (list_length(stmt->targetList) == 1)
		target = linitial_node(ResTarget, stmt->targetList);

	if (target == NULL || target->name != NULL || target->indirection != NIL ||
		stmt->op != SETOP_NONE || stmt->withClause != NULL ||
		stmt->distinctClause != NIL || stmt->fromClause != NIL ||
		stmt->whereClause != NULL || stmt->groupClause != NIL ||
		stmt->havingClause != NULL || stmt->windowClause != NIL ||
		stmt->sortClause != NIL || stmt->limitOffset != NULL ||
		stmt->limitCount != NULL || stmt->lockingClause != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" is not one condition", text),
				 errdetail("It must be an SQL expression over the columns of the table."),
				 errhint("An example is: status IN ('FAILED', 'EXPIRED')")));

	return target->val;
}

/*
 * _dead_condition(relation regclass, condition text): the condition as core
 * writes it, with every name outside of pg_catalog qualified.
 *
 * Called with the search_path pg_catalog, so names in the text must be qualified
 * likewise.  Raises unless it is a condition over one row that two evaluations
 * agree on.
 */
Datum
runops_dead_condition(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *condition = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Relation	rel = table_open(relid, AccessShareLock);
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *nsitem;
	ErrorContextCallback errcallback;
	Node	   *expr;
	char	   *result;

	errcallback.callback = dead_error_callback;
	errcallback.arg = condition;
	errcallback.previous = error_context_stack;
	error_context_stack = &errcallback;

	nsitem = addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, false, true);
	addNSItemToQuery(pstate, nsitem, true, true, true);

	/* a CHECK constraint allows the same: no sub-select, aggregate or set */
	expr = transformExpr(pstate, parse_condition(condition), EXPR_KIND_CHECK_CONSTRAINT);
	expr = coerce_to_boolean(pstate, expr, "the condition of dead rows");
	assign_expr_collations(pstate, expr);

	if (contain_volatile_functions((Node *) expression_planner((Expr *) expr)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("\"%s\" calls a volatile function", condition),
				 errdetail("A row that is found dead must be dead when its key is cleared."),
				 errhint("Use only functions that are marked IMMUTABLE or STABLE.")));
	error_context_stack = errcallback.previous;

	result = deparse_expression(expr, deparse_context_for(RelationGetRelationName(rel), relid),
								false, false);
	table_close(rel, NoLock);

	PG_RETURN_TEXT_P(cstring_to_text(result));
}
