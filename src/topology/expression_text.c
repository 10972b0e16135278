/*-------------------------------------------------------------------------
 *
 * expression_text.c
 *	  Parses the text of an SQL expression that a user has given.
 *
 * Such a text becomes part of statements that the extension builds, so it must
 * be one expression and nothing more.  The parser checks that; searching for
 * semicolons would not be enough.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "parser/parser.h"

#include "topology/topology.h"

/*
 * Error context callback: show the text as the statement in error.
 */
static void
expression_text_callback(void *arg)
{
	RunopsExpressionText *expression = (RunopsExpressionText *) arg;
	int			pos = geterrposition();

	if (pos > 0)
	{
		errposition(0);
		internalerrposition(pos);
		internalerrquery(expression->text);
	}
	errcontext("%s", expression->what);
}

/*
 * Make errors show the text and its purpose until
 * runops_expression_text_leave() is called.
 */
void
runops_expression_text_enter(RunopsExpressionText *expression, const char *text,
							 const char *what)
{
	expression->text = text;
	expression->what = what;
	expression->callback.callback = expression_text_callback;
	expression->callback.arg = expression;
	expression->callback.previous = error_context_stack;
	error_context_stack = &expression->callback;
}

/*
 * End what runops_expression_text_enter() began.
 */
void
runops_expression_text_leave(RunopsExpressionText *expression)
{
	error_context_stack = expression->callback.previous;
}

/*
 * The raw expression of a text; NULL if the text is not exactly one
 * expression.  Raises the parser's errors.
 */
Node *
runops_parse_expression_text(const char *text)
{
	List	   *parsetree = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *stmt = (SelectStmt *) linitial_node(RawStmt, parsetree)->stmt;
	ResTarget  *target;

	if (list_length(stmt->targetList) != 1)
		return NULL;
	target = linitial_node(ResTarget, stmt->targetList);

	if (target->name != NULL || target->indirection != NIL ||
		stmt->op != SETOP_NONE || stmt->withClause != NULL ||
		stmt->intoClause != NULL || stmt->valuesLists != NIL ||
		stmt->distinctClause != NIL || stmt->fromClause != NIL ||
		stmt->whereClause != NULL || stmt->groupClause != NIL ||
		stmt->havingClause != NULL || stmt->windowClause != NIL ||
		stmt->sortClause != NIL || stmt->limitOffset != NULL ||
		stmt->limitCount != NULL || stmt->lockingClause != NIL)
		return NULL;

	return target->val;
}
