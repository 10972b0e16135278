/*-------------------------------------------------------------------------
 *
 * unblock_routes.c
 *	  Counts the calls of completion_store() in the body of a routine.
 *
 * Core's scanner reads the body, so text in comments and string literals does
 * not count as a call.  For the same reason a call in a query that is built as
 * a string is not counted.  PL/pgSQL has the same tokens as SQL.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/keywords.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/scanner.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "mint/mint_int.h"

/*
 * The token of an identifier.  The grammar's header is not installed.  Every
 * grammar that uses core's scanner declares the tokens with a value first and
 * in the same order, because the scanner returns the same numbers to all of
 * them.
 */
#define TOKEN_IDENT 258

/* The function whose calls are counted. */
#define COUNTED_FUNCTION "completion_store"

/* The last relevant tokens. */
typedef enum CallState
{
	SEEN_OTHER,
	SEEN_SCHEMA,				/* "runops" */
	SEEN_SCHEMA_DOT,			/* "runops." */
	SEEN_OTHER_DOT,				/* a dot after something else */
	SEEN_END_OF_CALL,			/* ")": the next name is an alias */
	SEEN_FUNCTION				/* "completion_store", qualified or not */
} CallState;

PG_FUNCTION_INFO_V1(runops_count_calls);
PG_FUNCTION_INFO_V1(runops_check_route_kind);

/*
 * The state after one more token.
 */
static CallState
next_state(CallState state, int token, const char *ident)
{
	if (token == '.')
		return state == SEEN_SCHEMA ? SEEN_SCHEMA_DOT : SEEN_OTHER_DOT;
	if (token == ')')
		return SEEN_END_OF_CALL;
	if (token != TOKEN_IDENT)
		return SEEN_OTHER;
	if (strcmp(ident, COUNTED_FUNCTION) == 0 &&
		state != SEEN_OTHER_DOT && state != SEEN_END_OF_CALL)
		return SEEN_FUNCTION;
	if (strcmp(ident, RUNOPS_SCHEMA) == 0 &&
		state != SEEN_OTHER_DOT && state != SEEN_SCHEMA_DOT)
		return SEEN_SCHEMA;

	return SEEN_OTHER;
}

/*
 * _count_calls(body text) returns integer
 *
 * Raises the scanner's error if the text cannot be split into tokens.
 */
Datum
runops_count_calls(PG_FUNCTION_ARGS)
{
	char	   *body = text_to_cstring(PG_GETARG_TEXT_PP(0));
	core_yyscan_t scanner;
	core_yy_extra_type extra;
	core_YYSTYPE value;
	YYLTYPE		location;
	CallState	state = SEEN_OTHER;
	int			calls = 0;
	int			token;

	scanner = scanner_init(body, &extra, &ScanKeywords, ScanKeywordTokens);

	/* the user who created the routine has seen the warnings */
	scanner_without_warnings(&extra);

	while ((token = core_yylex(&value, &location, scanner)) != 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (state == SEEN_FUNCTION && token == '(')
			calls++;
		state = next_state(state, token, token == TOKEN_IDENT ? value.str : NULL);
	}
	scanner_finish(scanner);

	PG_RETURN_INT32(calls);
}

/*
 * _check_route_kind(route_kind text)
 */
Datum
runops_check_route_kind(PG_FUNCTION_ARGS)
{
	runops_seam_check_route_kind(PG_ARGISNULL(0) ? NULL :
								 text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_RETURN_VOID();
}
