/*-------------------------------------------------------------------------
 *
 * claims.c
 *	  Claims on keys: who is the one to create what a key stands for.
 *
 * A claim is a row of runops.claim_entry, and its unique index is the authority:
 * it stands in one database whichever store the row that is claimed for goes
 * to.  The row of an open transaction is waited for, so that there is no moment
 * at which two callers have the key.
 *
 * Who claims inserts speculatively, like INSERT ... ON CONFLICT: two that meet
 * do not wait for each other's rows with their own in place.  The waiting is
 * done here and not in the index, because here it can be bounded as a whole: a
 * key may pass through the hands of many before it is free.
 *
 * An expired claim is deleted by the one who takes the key over, in the same
 * transaction.  If that aborts, the expired claim is there again for the next.
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

/* the columns of claim's result */
#define Natts_claim_result		3

/* What the index can take: a third of a page, with some room. */
#define MAX_CLAIM_LENGTH		2000

/* What was asked for. */
typedef struct ClaimRequest
{
	text	   *scope;
	text	   *key;
	text	   *id;
	TimestampTz begin;			/* when the waiting began */
	bool		bounded;		/* is there an end to the waiting? */
	bool		no_wait;		/* not even for a moment */
	TimestampTz deadline;		/* that end */
} ClaimRequest;

/* What there is under a key. */
typedef enum ClaimState
{
	CLAIM_NONE,					/* nothing */
	CLAIM_PENDING,				/* a transaction is inserting or deleting it */
	CLAIM_LIVE					/* a claim, which is in table->found */
} ClaimState;

/* A step that may wait for a lock. */
typedef struct ClaimStep
{
	RunopsOwnTable *table;
	TransactionId xid;			/* wait for it to end; or, if invalid, ... */
	ItemPointerData tid;		/* (the row that hangs on it) */
	TM_Result	result;			/* ... delete the row that was found, with this
								 * result */
} ClaimStep;

PG_FUNCTION_INFO_V1(runops_claim);
PG_FUNCTION_INFO_V1(runops_release_claim);

/*
 * Take scope, key and id from the arguments of a function.
 *
 * Raises if one of them is NULL, if the key is too long for the index, or if the
 * id is longer than an id can be.
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
					 errdetail("A claim says which id a key of a scope belongs to."),
					 errhint("Leave out the claim of what has no key.")));
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
				 errdetail("Scope and key have %zu bytes together; the most is %d.",
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
 * Note until when the caller is willing to wait; NULL is for as long as the
 * session's lock_timeout allows.
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
				 errdetail("It says how long to wait for a transaction that has claimed the key."),
				 errhint("Use 0 for not waiting, and NULL for no limit but \"lock_timeout\".")));

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
 * A column of the claim that was found.
 */
static Datum
claim_attribute(RunopsOwnTable *table, AttrNumber attno, bool *isnull)
{
	return slot_getattr(table->found, attno, isnull);
}

/*
 * What there is under the key now; if something is pending, the transaction
 * that it hangs on.
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

	/* an insertion that is not even sure yet is over in a moment */
	if (TransactionIdIsValid(dirty.xmin) && dirty.speculativeToken != 0)
	{
		ExecClearTuple(table->found);
		SpeculativeInsertionWait(dirty.xmin, dirty.speculativeToken);
		*xid = InvalidTransactionId;
	}

	return CLAIM_PENDING;
}

/*
 * Raise a serialization failure if the transaction may not know of the claim
 * that was found.
 *
 * Its snapshot would not show the row that was claimed for either.  This is
 * what INSERT ... ON CONFLICT does.
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
 * Run the step: wait for a transaction, or delete the row that was found.
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
 * Raise that the key was not to be had in time.
 */
static void
raise_timeout(const ClaimRequest *request)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("could not claim key \"%s\" of scope \"%s\" within %ld ms",
					text_to_cstring(request->key), text_to_cstring(request->scope),
					TimestampDifferenceMilliseconds(request->begin, request->deadline)),
			 errdetail("A transaction that has claimed the key, or gives it up, is still open."),
			 errhint("Try again, or allow a longer wait.")));
}

/*
 * Run a step that may wait, no longer than the caller is willing to wait nor
 * than the session's lock_timeout says.
 *
 * The limit is put where ProcSleep() looks for it, which is cheaper than to
 * change the setting, and goes with this call however it ends.
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
 * Wait for the transaction that a key hangs on.
 */
static void
wait_for(const ClaimRequest *request, RunopsOwnTable *table, TransactionId xid)
{
	ClaimStep	step = {.table = table, .xid = xid};

	/* it was one that is over by now */
	if (!TransactionIdIsValid(xid))
		return;

	/* no page stays pinned while we wait */
	step.tid = table->found->tts_tid;
	ExecClearTuple(table->found);

	if (!request->no_wait)
		run_bounded(request, &step);
	else if (!ConditionalXactLockTableWait_compat(xid))
		raise_timeout(request);
}

/*
 * Delete the claim that was found; false if another transaction was faster.
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
 * Insert the claim; false if another one is there or on its way.
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
 * Has the claim that was found expired?
 */
static bool
is_expired(RunopsOwnTable *table, TimestampTz now)
{
	bool		isnull;
	Datum		expires = claim_attribute(table, Anum_claim_expires_at, &isnull);

	return !isnull && DatumGetTimestampTz(expires) <= now;
}

/*
 * Claim the key for the id, or find out whose it is.
 *
 * values is the result: whether it is the id's, whose it is, and since when.
 * Texts in it live in the current memory context.
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
			runops_together_require();
			break;
		}
	}
	runops_own_close(&table);
}

/*
 * claim(scope, key, id, ttl, wait, OUT claimed, OUT id, OUT claimed_at)
 *
 * Makes the key the id's unless it is another's.  Waits for a transaction that
 * has claimed it; raises lock_not_available when that takes longer than wait.
 * A NULL ttl is a claim for ever.
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
 * release_claim(scope, key, id): give the key up if it is the id's; was it?
 *
 * Waits for a transaction that gives it up too, as DELETE does.
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
