/*-------------------------------------------------------------------------
 *
 * seam.c
 *	  Decides in which store a waitpoint is completed.
 *
 * A waitpoint belongs to the store that its id names.  The run that waits for
 * it may belong to another family.  In that case the completion is pinned to
 * legacy, where such a wait was recorded, and the result also has the
 * waitpoint's own residency.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "gate/gate.h"
#include "mint/mint_int.h"

/* The kinds of events that end a wait; also in the CHECK of unblock_config. */
static const char *const route_kinds[] = {
	"MANUAL", "DATETIME", "RESUME_TOKEN", "IDEMPOTENCY_REUSE", "RUN"
};

/* The columns of completion_store(). */
enum
{
	COL_STORE,
	COL_RESIDENCY,
	COL_ROUTE_KIND,
	COL_PINNED_REASON,
	NUM_COLS
};

/* The arguments of completion_store(). */
enum
{
	ARG_WAITPOINT_ID,
	ARG_ROUTE_KIND,
	ARG_TREE_OWNER_RESIDENCY,
	ARG_IS_CROSS_TREE_IDEMPOTENCY,
	ARG_HAS_LEGACY_PARENT
};

PG_FUNCTION_INFO_V1(runops_completion_store);

/*
 * Raise unless kind is a route kind, which names how a wait ends; NULL is not
 * one.
 */
void
runops_seam_check_route_kind(const char *kind)
{
	for (int i = 0; kind != NULL && i < lengthof(route_kinds); i++)
	{
		if (strcmp(kind, route_kinds[i]) == 0)
			return;
	}

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 kind ? errmsg("unknown route kind: \"%s\"", kind) :
			 errmsg("route kind must not be NULL"),
			 errdetail("The route kinds are MANUAL, DATETIME, RESUME_TOKEN, IDEMPOTENCY_REUSE and RUN."),
			 errhint("Pass one of the route kinds in upper case.")));
}

/*
 * The enum value of the residency with this label.
 */
static Datum
residency_value(Oid enumtypoid, const char *label)
{
	Oid			value = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
										ObjectIdGetDatum(enumtypoid),
										CStringGetDatum(label));

	if (!OidIsValid(value))
		elog(ERROR, "enum %u has no label \"%s\"", enumtypoid, label);

	return ObjectIdGetDatum(value);
}

/*
 * Is this argument given and true?
 */
static bool
arg_is_true(FunctionCallInfo fcinfo, int arg)
{
	return !PG_ARGISNULL(arg) && PG_GETARG_BOOL(arg);
}

/*
 * The first reason that pins the completion to legacy; NULL if there is none.
 * residency is the type of the argument.
 */
static const char *
pinned_reason(FunctionCallInfo fcinfo, Oid residency)
{
	if (!PG_ARGISNULL(ARG_TREE_OWNER_RESIDENCY) &&
		PG_GETARG_OID(ARG_TREE_OWNER_RESIDENCY) ==
		DatumGetObjectId(residency_value(residency, "LEGACY")))
		return "non-tree-owned";
	if (arg_is_true(fcinfo, ARG_IS_CROSS_TREE_IDEMPOTENCY))
		return "cross-tree-idempotency";
	if (arg_is_true(fcinfo, ARG_HAS_LEGACY_PARENT))
		return "legacy-parent-descendant";

	return NULL;
}

/*
 * Copy the store that a waitpoint's id names to store[RUNOPS_STORE_LEN].
 *
 * An unclassifiable id is an error: if the waitpoint were completed in the
 * wrong place, its run would wait for ever.
 */
static void
store_of_waitpoint(FunctionCallInfo fcinfo, char *store)
{
	text	   *id;
	RunopsIdParts parts;

	if (PG_ARGISNULL(ARG_WAITPOINT_ID))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("waitpoint_id must not be NULL"),
				 errdetail("The id names the store of the waitpoint."),
				 errhint("Pass the id of the waitpoint that is completed.")));

	id = PG_GETARG_TEXT_PP(ARG_WAITPOINT_ID);
	runops_id_parse(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), &parts);
	if (parts.kind == RUNOPS_ID_NONE)
		runops_raise_unclassifiable(id);
	runops_mint_store((RunopsMintKind) {parts.kind, parts.site}, store);
}

/*
 * completion_store(waitpoint_id, route_kind, tree_owner_residency,
 *					is_cross_tree_idempotency, has_legacy_parent)
 *
 * With the flag off there is only one database, so nothing is checked.  With
 * the gate closed altogether the function raises, because legacy would be a
 * guess.  If the named store may not be used, the function raises too.
 */
Datum
runops_completion_store(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Datum		values[NUM_COLS] = {0};
	bool		nulls[NUM_COLS] = {0};
	char		store[RUNOPS_STORE_LEN] = RUNOPS_LEGACY_STORE;
	const char *residency = "LEGACY";
	const char *pinned = NULL;
	Oid			residency_type;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tupdesc = BlessTupleDesc(tupdesc);
	residency_type = TupleDescAttr(tupdesc, COL_RESIDENCY)->atttypid;

	if (!runops_gate_flag_off())
	{
		runops_gate_require_any(NULL);
		runops_seam_check_route_kind(PG_ARGISNULL(ARG_ROUTE_KIND) ? NULL :
									 text_to_cstring(PG_GETARG_TEXT_PP(ARG_ROUTE_KIND)));
		store_of_waitpoint(fcinfo, store);
		if (!runops_is_legacy(store))
			residency = "NEW";
		pinned = pinned_reason(fcinfo, residency_type);
		if (pinned != NULL)
			strlcpy(store, RUNOPS_LEGACY_STORE, RUNOPS_STORE_LEN);
		if (!runops_is_legacy(store))
			runops_gate_require(store, NULL);
	}

	values[COL_STORE] = CStringGetTextDatum(store);
	values[COL_RESIDENCY] = residency_value(residency_type, residency);
	nulls[COL_ROUTE_KIND] = PG_ARGISNULL(ARG_ROUTE_KIND);
	if (!nulls[COL_ROUTE_KIND])
		values[COL_ROUTE_KIND] = PG_GETARG_DATUM(ARG_ROUTE_KIND);
	nulls[COL_PINNED_REASON] = pinned == NULL;
	if (pinned != NULL)
		values[COL_PINNED_REASON] = CStringGetTextDatum(pinned);

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls)));
}
