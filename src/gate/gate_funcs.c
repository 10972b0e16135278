/*-------------------------------------------------------------------------
 *
 * gate_funcs.c
 *	  Implements the SQL functions of the gate.
 *
 * status() and doctor() show the gate from shared memory, which holds the
 * result of the last probe.  Only recheck() opens a connection.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "gate/gate_int.h"

/* The columns of runops._verdict(). */
#define VERDICT_COLS 6

PG_FUNCTION_INFO_V1(runops_flag);
PG_FUNCTION_INFO_V1(runops_gate_reason);
PG_FUNCTION_INFO_V1(runops_gate_require_sql);
PG_FUNCTION_INFO_V1(runops_verdict);
PG_FUNCTION_INFO_V1(runops_same_collation);
PG_FUNCTION_INFO_V1(runops_recheck);

/*
 * _flag(): is the operator's flag on?  NULL if the library was not preloaded,
 * because the setting is then only a placeholder without effect.
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
 * _gate_reason(): why no store may be used; NULL if some may.
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
 * _verdict(server oid): the last verdict on a server; if there is none,
 * "unknown" and NULLs.
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

	if (GetForeignServerExtended(serverid, FSV_MISSING_OK) == NULL ||
		!runops_sentinel_peek(serverid, &state))
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

/*
 * _same_collation(server oid, collation oid): is the collation known to behave
 * in the server's database as it does here?
 */
Datum
runops_same_collation(PG_FUNCTION_ARGS)
{
	Oid			serverid = PG_GETARG_OID(0);
	RunopsCollations known;

	if (GetForeignServerExtended(serverid, FSV_MISSING_OK) == NULL)
		PG_RETURN_BOOL(false);
	runops_sentinel_collations(serverid, &known);

	PG_RETURN_BOOL(runops_collation_is_same(&known, PG_GETARG_OID(1)));
}

/*
 * _gate_require(store): raise unless the store may be used now.
 *
 * Set-up functions call it before they query the store.  So the error comes
 * before any work is done, and without the query in its context.
 */
Datum
runops_gate_require_sql(PG_FUNCTION_ARGS)
{
	runops_gate_require(text_to_cstring(PG_GETARG_TEXT_PP(0)), NULL);

	PG_RETURN_VOID();
}

/*
 * Probe one server of a store and return the verdict as a row.
 */
static void
recheck_server(ReturnSetInfo *rsinfo, const RunopsStore *store, Oid serverid,
			   bool accept_identity)
{
	const char *closed = runops_gate_closed_reason();
	RunopsProofState state = {0};
	Datum		values[4];
	bool		nulls[4] = {0};

	if (closed != NULL)
		strlcpy(state.reason, closed, RUNOPS_REASON_LEN);
	else
		runops_sentinel_probe(serverid, GetUserId(), true,
							  accept_identity ? RUNOPS_PROBE_ACCEPT : RUNOPS_PROBE_CLAIM,
							  &state);

	if (state.verdict == RUNOPS_DISTINCT && serverid == store->serverid)
		runops_identity_record(store->store, accept_identity, &state);

	values[0] = CStringGetTextDatum(store->store);
	values[1] = CStringGetTextDatum(runops_verdict_name(state.verdict));
	values[2] = CStringGetTextDatum(state.reason);
	values[3] = TimestampTzGetDatum(state.checked_at);
	nulls[3] = state.checked_at == 0;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * recheck(store, accept_new_identity): ask the servers of one store, or of all
 * stores, even if a proof stands.
 */
Datum
runops_recheck(PG_FUNCTION_ARGS)
{
	char	   *only = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		accept_identity = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);

	/* raises if the store is not configured, or has no server */
	if (only != NULL && !runops_is_legacy(only))
		(void) runops_store_server(only);

	foreach(lc, runops_stores())
	{
		RunopsStore *store = (RunopsStore *) lfirst(lc);

		if (only != NULL && strcmp(only, store->store) != 0)
			continue;
		if (OidIsValid(store->serverid))
			recheck_server(rsinfo, store, store->serverid, accept_identity);
		if (OidIsValid(store->readerid))
			recheck_server(rsinfo, store, store->readerid, accept_identity);
	}

	return (Datum) 0;
}
