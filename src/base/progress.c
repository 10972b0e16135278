/*-------------------------------------------------------------------------
 *
 * progress.c
 *	  Shows what long set-up functions are doing, in the view runops.progress.
 *
 * A backend that runs such a function has a slot in shared memory while a
 * phase lasts.  RunopsShared->lock protects the slot, except for its counters:
 * only the owner writes them, without the lock.  The slot is freed at the
 * latest when the transaction ends, or when the subtransaction that began the
 * phase is rolled back.  So an error or a lost connection leaves none behind.
 *
 * Core has such views for its own commands, but an extension cannot add a
 * command to them, and ALTER TABLE reports nothing.  The number of blocks
 * comes from the buffer usage of the backend, which also counts blocks of the
 * catalogs; the few of them do not matter for a scan that is worth watching.
 *
 * Without shared_preload_libraries there is no shared memory, and no progress
 * is shown.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/instrument.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "base/progress.h"
#include "base/shmem.h"

/* The columns of runops._progress(). */
#define PROGRESS_COLS 8

bool		runops_progress_active = false;

/* the slot of this backend, or NULL */
static RunopsProgress *slot = NULL;

/* the subtransaction that began the phase */
static SubTransactionId phase_subid = InvalidSubTransactionId;

/* the buffer usage of this backend when the phase began */
static int64 blocks_before = 0;

PG_FUNCTION_INFO_V1(runops_progress_phase);
PG_FUNCTION_INFO_V1(runops_progress_end);
PG_FUNCTION_INFO_V1(runops_progress);

/*
 * How many blocks of tables has this backend read so far?
 */
static int64
blocks_read(void)
{
	return pgBufferUsage.shared_blks_hit + pgBufferUsage.shared_blks_read;
}

/*
 * Free the slot of this backend, if it has one.
 */
static void
free_slot(void)
{
	if (slot == NULL)
		return;

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	slot->pid = 0;
	LWLockRelease(runops_shared->lock);
	slot = NULL;
	runops_progress_active = false;
}

/*
 * Transaction callback: the work of the transaction has ended.
 */
static void
end_of_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		free_slot();
}

/*
 * Subtransaction callback: a phase ends with an error that was caught.
 */
static void
end_of_subtransaction(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	if (slot == NULL || subid != phase_subid)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		phase_subid = parent;
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		free_slot();
}

/*
 * Find a free slot; NULL if there is none.  The caller holds the lock in
 * exclusive mode.
 */
static RunopsProgress *
find_free_slot(void)
{
	for (int i = 0; i < RUNOPS_MAX_PROGRESS; i++)
	{
		if (runops_shared->progress[i].pid == 0)
			return &runops_shared->progress[i];
	}

	return NULL;
}

/*
 * _progress_phase(command text, phase text, relation regclass, blocks bigint):
 * show that this backend begins a phase of a command.
 *
 * The number of blocks that will be read may be NULL.  The phase is shown
 * until the next one, until _progress_end(), or until the transaction ends or
 * its subtransaction is rolled back.
 * It is not shown if as many backends as there are slots have a phase.
 */
Datum
runops_progress_phase(PG_FUNCTION_ARGS)
{
	static bool registered = false;
	char	   *command;
	char	   *phase;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("command, phase and relation must not be NULL"),
				 errdetail("They describe what the session does."),
				 errhint("Pass a value for each of them.")));
	if (runops_shared == NULL)
		PG_RETURN_VOID();

	if (!registered)
	{
		RegisterXactCallback(end_of_transaction, NULL);
		RegisterSubXactCallback(end_of_subtransaction, NULL);
		registered = true;
	}
	command = text_to_cstring(PG_GETARG_TEXT_PP(0));
	phase = text_to_cstring(PG_GETARG_TEXT_PP(1));

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	if (slot == NULL)
		slot = find_free_slot();
	if (slot != NULL)
	{
		slot->pid = MyProcPid;
		slot->dbid = MyDatabaseId;
		slot->relid = PG_GETARG_OID(2);
		strlcpy(slot->command, command, sizeof(slot->command));
		strlcpy(slot->phase, phase, sizeof(slot->phase));
		slot->started = GetCurrentTimestamp();
		slot->blocks_total = PG_ARGISNULL(3) ? -1 : PG_GETARG_INT64(3);
		pg_atomic_write_u64(&slot->blocks_done, 0);
		pg_atomic_write_u64(&slot->rows_done, 0);
	}
	LWLockRelease(runops_shared->lock);
	blocks_before = blocks_read();
	phase_subid = GetCurrentSubTransactionId();
	runops_progress_active = slot != NULL;

	PG_RETURN_VOID();
}

/*
 * _progress_end(): show no phase of this backend any more.
 */
Datum
runops_progress_end(PG_FUNCTION_ARGS)
{
	free_slot();

	PG_RETURN_VOID();
}

/*
 * Show how many blocks this backend has read since the phase began.
 *
 * A parallel worker has no slot of its own, and its leader counts its blocks
 * when it has ended.
 */
void
runops_progress_update_blocks(void)
{
	if (slot != NULL && slot->blocks_total >= 0)
		pg_atomic_write_u64(&slot->blocks_done,
							Min(blocks_read() - blocks_before, slot->blocks_total));
}

/*
 * Show that some more rows have been read.
 */
void
runops_progress_add_rows(uint64 rows)
{
	if (slot != NULL)
		pg_atomic_write_u64(&slot->rows_done, pg_atomic_read_u64(&slot->rows_done) + rows);
}

/*
 * _progress(): the phases of all backends of this database.
 */
Datum
runops_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	if (runops_shared == NULL)
		return (Datum) 0;

	LWLockAcquire(runops_shared->lock, LW_SHARED);
	for (int i = 0; i < RUNOPS_MAX_PROGRESS; i++)
	{
		RunopsProgress *p = &runops_shared->progress[i];
		Datum		values[PROGRESS_COLS] = {0};
		bool		nulls[PROGRESS_COLS] = {0};

		if (p->pid == 0 || p->dbid != MyDatabaseId)
			continue;

		values[0] = Int32GetDatum(p->pid);
		values[1] = ObjectIdGetDatum(p->relid);
		values[2] = CStringGetTextDatum(p->command);
		values[3] = CStringGetTextDatum(p->phase);
		values[4] = Int64GetDatum(pg_atomic_read_u64(&p->blocks_done));
		values[5] = Int64GetDatum(p->blocks_total);
		nulls[4] = nulls[5] = p->blocks_total < 0;
		values[6] = Int64GetDatum(pg_atomic_read_u64(&p->rows_done));
		values[7] = TimestampTzGetDatum(p->started);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	LWLockRelease(runops_shared->lock);

	return (Datum) 0;
}
