/*-------------------------------------------------------------------------
 *
 * claims.c
 *	  Implements claims on keys, which decide who may create the row of a key.
 *
 * A claim is a row of runops.claim_entry, and the unique index of that table
 * decides.  It is in one database, no matter which store gets the row.  A
 * caller waits for the claim of an open transaction, so at no moment do two
 * callers have the key.
 *
 * A claim is inserted speculatively, like in INSERT ... ON CONFLICT: two
 * concurrent callers do not wait for each other's rows with their own rows in
 * place.  The waiting is done here and not in the index, because here the
 * total time can be limited: a key may pass through many transactions before
 * it is free.
 *
 * The caller that takes over the key of an expired claim deletes that claim in
 * the same transaction.  If the transaction aborts, the expired claim is there
 * again for the next caller.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "integrity/entry_table_int.h"
#include "xact/xact.h"

/* the columns of runops.claim_entry */
#define Anum_claim_scope		1
#define Anum_claim_key			2
#define Anum_claim_id			3
#define Anum_claim_claimed_at	4
#define Anum_claim_expires_at	5
#define Natts_claim				5

/* the columns of the result of claim() */
#define Natts_claim_result		3

/* The index accepts a third of a page; this leaves some room. */
#define MAX_CLAIM_LENGTH		2000

/* The arguments of a call. */
typedef struct ClaimRequest
{
	text	   *scope;
	text	   *key;
	text	   *id;
	TimestampTz begin;			/* when the waiting began */
	bool		bounded;		/* is the waiting limited? */
	bool		no_wait;		/* fail at once instead of waiting? */
	TimestampTz deadline;		/* the end of the waiting */
} ClaimRequest;

/* The state of a key. */
typedef enum ClaimState
{
	CLAIM_NONE,					/* there is no claim */
	CLAIM_PENDING,				/* a transaction is inserting or deleting it */
	CLAIM_LIVE					/* there is a claim, in table->found */
} ClaimState;

/* A step that may wait for a lock. */
typedef struct ClaimStep
{
	RunopsOwnTable *table;
	TransactionId xid;			/* wait for its end; or, if invalid, ... */
	ItemPointerData tid;		/* (for messages: the row that has it) */
	TM_Result	result;			/* ... delete the found row, giving this */
} ClaimStep;

PG_FUNCTION_INFO_V1(runops_claim);
PG_FUNCTION_INFO_V1(runops_release_claim);

/*
 * Read scope, key and id from the arguments of a function.
 *
 * Raises if one of them is NULL, if the key is too long for the index, or if
 * the id is longer than an id can be.
 */
static void
get_request(FunctionCallInfo fcinfo, ClaimRequest *request)
{
	static const char *const names[] = {"scope", "key", "id"};
	Size		length;

	for (int i = 0; i < lengthof(names); i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s of a claim must not be NULL", names[i]),
					 errdetail("A claim assigns a key of a scope to an id."),
					 errhint("Do not claim a key for a row that has none.")));
	}

	memset(request, 0, sizeof(*request));
	request->scope = PG_GETARG_TEXT_PP(0);
	request->key = PG_GETARG_TEXT_PP(1);
	request->id = PG_GETARG_TEXT_PP(2);

	length = VARSIZE_ANY_EXHDR(request->scope) + VARSIZE_ANY_EXHDR(request->key);
	if (length > MAX_CLAIM_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("key of a claim is too long"),
				 errdetail("Scope and key together have %zu bytes; the limit is %d.",
						   length, MAX_CLAIM_LENGTH),
				 errhint("Claim a hash of the key.")));
	length = VARSIZE_ANY_EXHDR(request->id);
	if (length > MAX_CLAIM_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("id of a claim is too long"),
				 errdetail("It has %zu bytes; the most is %d.",
						   length, MAX_CLAIM_LENGTH),
				 errhint("Claim the key for the id of a row.")));
}

/*
 * Set the end of the waiting; NULL means that only the session's lock_timeout
 * limits it.
 */
static void
set_deadline(ClaimRequest *request, Interval *wait)
{
	Interval	zero = {0};

	if (wait == NULL)
		return;

	if (DatumGetBool(DirectFunctionCall2(interval_lt, IntervalPGetDatum(wait),
										 IntervalPGetDatum(&zero))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("wait of a claim must not be negative"),
				 errdetail("The argument limits the wait for a transaction that has claimed the key."),
				 errhint("Use 0 to fail at once, or NULL to wait as long as \"lock_timeout\" allows.")));

	request->bounded = true;
	request->begin = GetCurrentTimestamp();
	request->no_wait = DatumGetBool(DirectFunctionCall2(interval_eq, IntervalPGetDatum(wait),
														IntervalPGetDatum(&zero)));
	request->deadline =
		DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												TimestampTzGetDatum(request->begin),
												IntervalPGetDatum(wait)));
}

/*
 * Open runops.claim_entry.
 */
static void
open_claims(RunopsOwnTable *table)
{
	runops_own_open(table, get_relname_relid("claim_entry",
											 get_namespace_oid(RUNOPS_SCHEMA, false)));
}

/*
 * A column of the found claim.
 */
static Datum
claim_attribute(RunopsOwnTable *table, AttrNumber attno, bool *isnull)
{
	return slot_getattr(table->found, attno, isnull);
}

/*
 * The current state of a key; if it is pending, also the transaction to wait
 * for.
 */
static ClaimState
look_up(RunopsOwnTable *table, const ClaimRequest *request, TransactionId *xid)
{
	Datum		keys[2] = {PointerGetDatum(request->scope), PointerGetDatum(request->key)};
	SnapshotData dirty;

	InitDirtySnapshot(dirty);
	if (!runops_own_find(table, keys, &dirty))
		return CLAIM_NONE;

	*xid = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
	if (!TransactionIdIsValid(*xid))
		return CLAIM_LIVE;

	/* a speculative insertion takes only a moment */
	if (TransactionIdIsValid(dirty.xmin) && dirty.speculativeToken != 0)
	{
		ExecClearTuple(table->found);
		SpeculativeInsertionWait(dirty.xmin, dirty.speculativeToken);
		*xid = InvalidTransactionId;
	}

	return CLAIM_PENDING;
}

/*
 * Raise a serialization failure if the found claim may be invisible to the
 * transaction's snapshot.
 *
 * The snapshot would not show the claimed row either.  INSERT ... ON CONFLICT
 * does the same.
 */
static void
check_snapshot(RunopsOwnTable *table)
{
	TransactionId xmin;

	if (!IsolationUsesXactSnapshot())
		return;

	xmin = runops_own_xmin(table);
	if (TransactionIdIsCurrentTransactionId(xmin))
		return;
	if (!table_tuple_satisfies_snapshot(table->rel, table->found, GetActiveSnapshot()))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	PredicateLockTID(table->rel, &table->found->tts_tid, GetActiveSnapshot(), xmin);
}

/*
 * Run the step: wait for a transaction, or delete the found row.
 */
static void
run_step(ClaimStep *step)
{
	if (TransactionIdIsValid(step->xid))
		XactLockTableWait(step->xid, step->table->rel, &step->tid, XLTW_InsertIndex);
	else
		step->result = runops_own_delete(step->table, true);
}

/*
 * Raise that the key could not be claimed in time.
 */
static void
raise_timeout(const ClaimRequest *request)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("could not claim key \"%s\" of scope \"%s\" within %ld ms",
					text_to_cstring(request->key), text_to_cstring(request->scope),
					TimestampDifferenceMilliseconds(request->begin, request->deadline)),
			 errdetail("A transaction that claims or releases the key is still open."),
			 errhint("Try again, or allow a longer wait.")));
}

/*
 * Run a step that may wait, at most as long as the caller allows and as
 * lock_timeout allows.
 *
 * The limit is put into the variable that ProcSleep() reads.  That is cheaper
 * than changing the setting, and the value is restored however this call ends.
 */
static void
run_bounded(const ClaimRequest *request, ClaimStep *step)
{
	int			session_limit = LockTimeout;
	MemoryContext cxt = CurrentMemoryContext;
	long		left;

	if (!request->bounded)
	{
		run_step(step);
		return;
	}

	left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), request->deadline);
	if (left <= 0)
		raise_timeout(request);
	if (session_limit > 0 && session_limit < left)
	{
		run_step(step);
		return;
	}

	LockTimeout = (int) Min(left, INT_MAX);
	PG_TRY();
	{
		run_step(step);
	}
	PG_CATCH();
	{
		LockTimeout = session_limit;
		if (geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE)
		{
			MemoryContextSwitchTo(cxt);
			FlushErrorState();
			raise_timeout(request);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	LockTimeout = session_limit;
}

/*
 * Wait for the transaction that has the key.
 */
static void
wait_for(const ClaimRequest *request, RunopsOwnTable *table, TransactionId xid)
{
	ClaimStep	step = {.table = table, .xid = xid};

	/* that transaction has ended already */
	if (!TransactionIdIsValid(xid))
		return;

	/* keep no page pinned while waiting */
	step.tid = table->found->tts_tid;
	ExecClearTuple(table->found);

	if (!request->no_wait)
		run_bounded(request, &step);
	else if (!ConditionalXactLockTableWait_compat(xid))
		raise_timeout(request);
}

/*
 * Delete the found claim; returns false if another transaction was faster.
 */
static bool
delete_claim(const ClaimRequest *request, RunopsOwnTable *table)
{
	ClaimStep	step = {.table = table};

	if (!request->no_wait)
		run_bounded(request, &step);
	else
	{
		step.result = runops_own_delete(table, false);
		if (step.result == TM_BeingModified)
			raise_timeout(request);
	}
	ExecClearTuple(table->found);

	return step.result == TM_Ok;
}

/*
 * Insert the claim; returns false if another claim exists or is being
 * inserted.
 */
static bool
insert_claim(const ClaimRequest *request, RunopsOwnTable *table,
			 TimestampTz now, Interval *ttl)
{
	Datum		values[Natts_claim] = {0};
	bool		nulls[Natts_claim] = {false};

	values[Anum_claim_scope - 1] = PointerGetDatum(request->scope);
	values[Anum_claim_key - 1] = PointerGetDatum(request->key);
	values[Anum_claim_id - 1] = PointerGetDatum(request->id);
	values[Anum_claim_claimed_at - 1] = TimestampTzGetDatum(now);
	if (ttl != NULL)
		values[Anum_claim_expires_at - 1] =
			DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now),
								IntervalPGetDatum(ttl));
	else
		nulls[Anum_claim_expires_at - 1] = true;

	return runops_own_try_insert(table, values, nulls);
}

/*
 * Do two texts have the same bytes?
 */
static bool
same_text(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/*
 * Has the found claim expired?
 */
static bool
is_expired(RunopsOwnTable *table, TimestampTz now)
{
	bool		isnull;
	Datum		expires = claim_attribute(table, Anum_claim_expires_at, &isnull);

	return !isnull && DatumGetTimestampTz(expires) <= now;
}

/*
 * Claim the key for the id, or find out which id has it.
 *
 * values is the result: whether the given id has the key, which id has it, and
 * since when.  Its texts live in the current memory context.
 */
static void
claim(const ClaimRequest *request, Interval *ttl, Datum *values)
{
	RunopsOwnTable table;
	TransactionId xid;

	open_claims(&table);
	for (;;)
	{
		ClaimState	state = look_up(&table, request, &xid);
		TimestampTz now = GetCurrentTimestamp();

		CHECK_FOR_INTERRUPTS();
		if (state == CLAIM_PENDING)
		{
			wait_for(request, &table, xid);
			continue;
		}

		if (state == CLAIM_LIVE)
		{
			bool		isnull;
			text	   *holder;

			check_snapshot(&table);
			if (!is_expired(&table, now))
			{
				holder = DatumGetTextPP(claim_attribute(&table, Anum_claim_id, &isnull));
				values[0] = BoolGetDatum(same_text(holder, request->id));
				values[1] = PointerGetDatum(cstring_to_text_with_len(VARDATA_ANY(holder),
																	 VARSIZE_ANY_EXHDR(holder)));
				values[2] = claim_attribute(&table, Anum_claim_claimed_at, &isnull);
				break;
			}
			if (!delete_claim(request, &table))
				continue;
		}

		if (insert_claim(request, &table, now, ttl))
		{
			values[0] = BoolGetDatum(true);
			values[1] = PointerGetDatum(request->id);
			values[2] = TimestampTzGetDatum(now);
			break;
		}
	}
	runops_own_close(&table);
}

/*
 * claim(scope, key, id, ttl, wait, OUT claimed, OUT id, OUT claimed_at)
 *
 * Gives the key to the id unless another id has it.  Waits for a transaction
 * that has claimed it, and raises lock_not_available if that takes longer than
 * wait.  With a NULL ttl the claim does not expire.
 */
Datum
runops_claim(PG_FUNCTION_ARGS)
{
	ClaimRequest request;
	Interval   *ttl = PG_ARGISNULL(3) ? NULL : PG_GETARG_INTERVAL_P(3);
	Interval	zero = {0};
	TupleDesc	tupdesc = (TupleDesc) fcinfo->flinfo->fn_extra;
	Datum		values[Natts_claim_result];
	bool		nulls[Natts_claim_result] = {false};

	get_request(fcinfo, &request);
	if (ttl != NULL &&
		!DatumGetBool(DirectFunctionCall2(interval_gt, IntervalPGetDatum(ttl),
										  IntervalPGetDatum(&zero))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ttl of a claim must be positive"),
				 errdetail("A claim that has expired can be taken over by the next caller."),
				 errhint("Use NULL for a claim that does not expire.")));
	set_deadline(&request, PG_ARGISNULL(4) ? NULL : PG_GETARG_INTERVAL_P(4));
	PreventCommandIfReadOnly("claim()");
	PreventCommandDuringRecovery("claim()");

	if (tupdesc == NULL)
	{
		MemoryContext oldcxt = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		tupdesc = BlessTupleDesc(CreateTupleDescCopy(tupdesc));
		fcinfo->flinfo->fn_extra = tupdesc;
		MemoryContextSwitchTo(oldcxt);
	}

	claim(&request, ttl, values);

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls)));
}

/*
 * release_claim(scope, key, id): release the key if the id has it; returns
 * whether it had it.
 *
 * Waits for another transaction that releases the key, as DELETE does.
 */
Datum
runops_release_claim(PG_FUNCTION_ARGS)
{
	ClaimRequest request;
	RunopsOwnTable table;
	TransactionId xid;
	bool		released = false;

	get_request(fcinfo, &request);
	PreventCommandIfReadOnly("release_claim()");
	PreventCommandDuringRecovery("release_claim()");

	open_claims(&table);
	for (;;)
	{
		ClaimState	state = look_up(&table, &request, &xid);
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (state == CLAIM_PENDING)
		{
			wait_for(&request, &table, xid);
			continue;
		}
		if (state == CLAIM_NONE)
			break;

		check_snapshot(&table);
		if (!same_text(DatumGetTextPP(claim_attribute(&table, Anum_claim_id, &isnull)),
					   request.id))
			break;
		released = delete_claim(&request, &table);
		if (released)
			break;
	}
	runops_own_close(&table);

	PG_RETURN_BOOL(released);
}
