/*-------------------------------------------------------------------------
 *
 * flip.c
 *	  Implements set_mint_kind(), which flips the kind of the roots of one or
 *	  all organizations.
 *
 * A flip takes effect one grace after its stamp.  All sessions must find the
 * same kind at any instant, so each session must learn of the flip before
 * that.  Sessions learn of a flip when it commits, but its stamp is older.  So
 * flips wait for each other before they take their stamp, and a transaction
 * that is still open when its flip is nearly due is not committed.
 *
 * More generally, a change of a flag changes the kind from some instant on.
 * That is the time when the change itself is due, or when a flip would have
 * been due that the change cancels, or a flip of the global flag that the
 * change overrides.  The change must be committed by a margin before that
 * instant.  The margin is a tenth of the grace, and leaves time for the commit
 * itself.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/guc.h"
#include "mint/mint_int.h"

/*
 * The margin is the grace divided by this, but at most this many milliseconds.
 */
#define MARGIN_DIVISOR	10
#define MAX_MARGIN		10000

/*
 * A change made by this transaction, and the time by which it must be
 * committed.
 */
typedef struct Change
{
	SubTransactionId subid;		/* subtransaction whose rollback undoes it */
	TimestampTz deadline;
} Change;

/* The changes of this transaction, in TopTransactionContext. */
static List *changes = NIL;

PG_FUNCTION_INFO_V1(runops_set_mint_kind);

/*
 * Transaction callback: refuse to commit a change too late.
 *
 * PREPARE TRANSACTION is refused too, because a prepared transaction can be
 * committed at any time.
 */
static void
change_xact_callback(XactEvent event, void *arg)
{
	ListCell   *lc;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			foreach(lc, changes)
			{
				Change	   *change = (Change *) lfirst(lc);

				if (GetCurrentTimestamp() > change->deadline)
					ereport(ERROR,
							(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							 errmsg("could not commit the change of a mint kind in time"),
							 errdetail("The transaction had to commit before %s, so that every session learns of the change before it takes effect.",
									   timestamptz_to_str(change->deadline)),
							 errhint("Call runops.set_mint_kind() in a transaction of its own.")));
			}
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (changes != NIL)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot PREPARE a transaction that has changed a mint kind"),
						 errdetail("The prepared transaction might be committed after the time at which the change takes effect."),
						 errhint("Call runops.set_mint_kind() in a transaction of its own.")));
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			changes = NIL;
			break;
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			break;
	}
}

/*
 * Subtransaction callback: give its changes to the parent, or drop them on
 * abort.
 */
static void
change_subxact_callback(SubXactEvent event, SubTransactionId subid,
						SubTransactionId parent, void *arg)
{
	ListCell   *lc;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;

	foreach(lc, changes)
	{
		Change	   *change = (Change *) lfirst(lc);

		if (change->subid != subid)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			change->subid = parent;
		else
			changes = foreach_delete_current(changes, lc);
	}
}

/*
 * Note that this transaction must be committed before a deadline.
 */
static void
note_deadline(TimestampTz deadline)
{
	static bool registered = false;
	MemoryContext oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	Change	   *change = palloc(sizeof(Change));

	change->subid = GetCurrentSubTransactionId();
	change->deadline = deadline;
	changes = lappend(changes, change);
	MemoryContextSwitchTo(oldcontext);

	if (!registered)
	{
		RegisterXactCallback(change_xact_callback, NULL);
		RegisterSubXactCallback(change_subxact_callback, NULL);
		registered = true;
	}
}

/*
 * The kind of a flag, or else of the global flag if there is one, at an
 * instant.
 */
static RunopsMintKind
kind_at(const RunopsMintFlag *flag, const RunopsMintFlag *global, TimestampTz at)
{
	RunopsMintKind below = RUNOPS_MINT_CUID;

	if (global != NULL)
		below = runops_mint_flag_at(global, below, at);

	return runops_mint_flag_at(flag, below, at);
}

/*
 * The first instant from now on at which the flag before a change and the flag
 * after it give different kinds; DT_NOEND if there is none.
 */
static TimestampTz
first_difference(const RunopsMintFlag *before, const RunopsMintFlag *after,
				 const RunopsMintFlag *global, TimestampTz now)
{
	TimestampTz instants[] = {
		now,
		runops_mint_due(before),
		runops_mint_due(after),
		(global ? runops_mint_due(global) : DT_NOEND)
	};
	TimestampTz first = DT_NOEND;

	for (int i = 0; i < lengthof(instants); i++)
	{
		TimestampTz at = instants[i];

		if (at >= now && at < first &&
			!runops_mint_same(kind_at(before, global, at), kind_at(after, global, at)))
			first = at;
	}

	return first;
}

/*
 * Compute the row of an organization, or the global row for NULL, after it is
 * set to a kind or to none.  Returns false if it does not change.
 *
 * If the kind changes, the row gets a new stamp, and the kind in effect now
 * becomes the previous kind.  Without a row the current kind is the one in
 * effect without it.
 */
static bool
change_flag(const RunopsMintFlag *before, RunopsMintKind kind,
			const RunopsMintFlag *global, TimestampTz now, RunopsMintFlag *after)
{
	RunopsMintKind in_effect = kind_at(before, global, now);

	memset(after, 0, sizeof(RunopsMintFlag));
	after->found = true;
	after->kind = kind;
	if (before->found ? runops_mint_same(kind, before->kind) : kind.kind == RUNOPS_ID_NONE)
		return false;

	if (before->found || !runops_mint_same(kind, in_effect))
	{
		after->previous = in_effect;
		after->flipped_at = now;
		after->effective_at = now + INT64CONST(1000) * runops_mint_flip_grace;
	}

	return true;
}

/*
 * Write a row, and delete the rows that have no effect any more.
 *
 * The rows are written as the owner of the table.  A caller needs no privilege
 * on the table, and with one he could break its rules.
 */
static void
write_flag(Oid relid, text *org, const RunopsMintFlag *flag, TimestampTz now)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[6] = {0};
	char		nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;
	Oid			save_userid;
	int			save_sec_context;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	if (org != NULL)
		values[0] = PointerGetDatum(org);
	else
		nulls[0] = 'n';
	if (flag->kind.kind != RUNOPS_ID_NONE)
		values[1] = PointerGetDatum(runops_mint_name(flag->kind));
	else
		nulls[1] = 'n';
	if (flag->previous.kind != RUNOPS_ID_NONE)
	{
		values[2] = PointerGetDatum(runops_mint_name(flag->previous));
		values[3] = TimestampTzGetDatum(flag->flipped_at);
		values[4] = TimestampTzGetDatum(flag->effective_at);
	}
	else
		nulls[2] = nulls[3] = nulls[4] = 'n';
	values[5] = TimestampTzGetDatum(now);

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(owner, save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (SPI_execute_with_args("INSERT INTO runops.mint_config VALUES ($1, $2, $3, $4, $5)"
							  " ON CONFLICT (org) DO UPDATE SET kind = excluded.kind, previous = excluded.previous,"
							  " flipped_at = excluded.flipped_at, effective_at = excluded.effective_at",
							  5, types, values, nulls, false, 0) != SPI_OK_INSERT ||
		SPI_execute_with_args("DELETE FROM runops.mint_config"
							  " WHERE kind IS NULL AND effective_at OPERATOR(pg_catalog.<=) $6",
							  6, types, values, nulls, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not write \"%s.mint_config\"", RUNOPS_SCHEMA);
	SPI_finish();
	SetUserIdAndSecContext(save_userid, save_sec_context);
}

/*
 * Open the table of the flags with a lock that keeps others from writing to it
 * until this transaction ends.
 */
static Oid
lock_flags(void)
{
	Oid			relid = get_relname_relid("mint_config", get_namespace_oid(RUNOPS_SCHEMA, false));

	if (!OidIsValid(relid))
		elog(ERROR, "relation \"%s.mint_config\" does not exist", RUNOPS_SCHEMA);
	LockRelationOid(relid, ShareRowExclusiveLock);

	return relid;
}

/*
 * set_mint_kind(org text, kind text) returns void
 *
 * Set the flag of an organization, or the global flag for NULL.  A kind of
 * NULL removes the flag, which is a flip to the kind in effect without it.
 */
Datum
runops_set_mint_kind(PG_FUNCTION_ARGS)
{
	text	   *org = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	RunopsMintKind kind = RUNOPS_MINT_NONE;
	RunopsMintFlag before;
	RunopsMintFlag after;
	RunopsMintFlag global;
	TimestampTz now;
	TimestampTz differs;
	Oid			relid;

	if (!PG_ARGISNULL(1) && !runops_mint_parse(PG_GETARG_TEXT_PP(1), &kind))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized mint kind \"%s\"", text_to_cstring(PG_GETARG_TEXT_PP(1))),
				 errhint("Pass \"cuid\", \"ksuid\", \"runops\", \"shard:\" followed by the name of a store, or NULL to remove the flag.")));

	PreventCommandIfReadOnly("set_mint_kind()");
	PreventCommandIfParallelMode("set_mint_kind()");
	PreventCommandDuringRecovery("set_mint_kind()");

	/* flips must take their stamps one after the other */
	relid = lock_flags();
	now = GetCurrentTimestamp();

	runops_mint_read_flag(org, &before);
	if (org != NULL)
		runops_mint_read_flag(NULL, &global);
	/* a removed flag still counts until its grace has passed */
	if (before.found && before.kind.kind == RUNOPS_ID_NONE && now >= runops_mint_due(&before))
		before.found = false;

	if (!change_flag(&before, kind, org ? &global : NULL, now, &after))
		PG_RETURN_VOID();

	differs = first_difference(&before, &after, org ? &global : NULL, now);
	if (runops_mint_flip_grace > 0 && differs != DT_NOEND)
	{
		TimestampTz deadline = differs -
			INT64CONST(1000) * Min(runops_mint_flip_grace / MARGIN_DIVISOR, MAX_MARGIN);

		if (now > deadline)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot change a mint kind that is about to flip"),
					 errdetail("The flip takes effect at %s, before every session could learn of the change.",
							   timestamptz_to_str(differs)),
					 errhint("Try again after that.")));
		note_deadline(deadline);
	}

	write_flag(relid, org, &after, now);

	PG_RETURN_VOID();
}
