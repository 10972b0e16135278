/*-------------------------------------------------------------------------
 *
 * gate_funcs.c
 *	  What the gate and the sentinel know, for status() and doctor().
 *
 * Nothing here opens a connection: shared memory holds what the last probe
 * found.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/runops.h"

/* The columns of runops._verdict(). */
#define VERDICT_COLS 6

PG_FUNCTION_INFO_V1(runops_flag);
PG_FUNCTION_INFO_V1(runops_gate_reason);
PG_FUNCTION_INFO_V1(runops_verdict);

/*
 * _flag(): is the operator's flag on?  NULL if the library was not preloaded:
 * then a line in the configuration is a placeholder, and means nothing.
 */
Datum
runops_flag(PG_FUNCTION_ARGS)
{
	if (runops_gate_closed_reason() == NULL)
		PG_RETURN_BOOL(true);
	if (runops_gate_flag_off())
		PG_RETURN_BOOL(false);

	PG_RETURN_NULL();
}

/*
 * _gate_reason(): why no store at all may be touched; NULL if some may.
 */
Datum
runops_gate_reason(PG_FUNCTION_ARGS)
{
	const char *reason = runops_gate_closed_reason();

	if (reason == NULL)
		PG_RETURN_NULL();

	PG_RETURN_TEXT_P(cstring_to_text(reason));
}

/*
 * _verdict(server oid): the last verdict on a server; "unknown" with nothing
 * else if there is none.
 */
Datum
runops_verdict(PG_FUNCTION_ARGS)
{
	Oid			serverid = PG_GETARG_OID(0);
	TupleDesc	tupdesc;
	RunopsProofState state;
	const char *hint = NULL;
	Datum		values[VERDICT_COLS] = {0};
	bool		nulls[VERDICT_COLS];

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, true, sizeof(nulls));

	if (!runops_sentinel_peek(serverid, &state))
		state.verdict = RUNOPS_UNKNOWN;
	else
	{
		hint = runops_gate_hint(state.cause);
		if (state.reason[0] != '\0')
		{
			values[1] = CStringGetTextDatum(state.reason);
			nulls[1] = false;
		}
		if (hint != NULL)
		{
			values[2] = CStringGetTextDatum(hint);
			nulls[2] = false;
		}
		if (state.checked_at != 0)
		{
			values[3] = TimestampTzGetDatum(state.since);
			values[4] = TimestampTzGetDatum(state.checked_at);
			nulls[3] = nulls[4] = false;
		}
		if (state.identity_known)
		{
			values[5] = BoolGetDatum(state.identity.in_recovery);
			nulls[5] = false;
		}
	}
	values[0] = CStringGetTextDatum(runops_verdict_name(state.verdict));
	nulls[0] = false;

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
