/*-------------------------------------------------------------------------
 *
 * postgres_fdw.c
 *	  A postgres_fdw whose execution states are not those that are known.
 *
 * It is the real one, loaded from REAL_POSTGRES_FDW, with each state put into a
 * box: whoever looks at the state of a scan or of a modification sees the box.
 * What a future postgres_fdw may look like to src/session/pgfdw_state.c is tested with
 * it, by test/t/039_session_odd_fdw.pl.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "foreign/fdwapi.h"

PG_MODULE_MAGIC;

/* Larger than what is looked at, and nothing in it is a pointer. */
typedef struct Box
{
	uint64		filling[32];
	void	   *state;
} Box;

static FdwRoutine real;

PG_FUNCTION_INFO_V1(postgres_fdw_handler);

/*
 * Put a state into a box of its own.
 */
static void *
box(void *state)
{
	Box		   *b = palloc(sizeof(Box));

	memset(b->filling, 0x5a, sizeof(b->filling));
	b->state = state;

	return b;
}

/* Run a statement with the state of a scan unpacked. */
#define WITH_SCAN(node, statement) \
	do { \
		Box *b_ = (Box *) (node)->fdw_state; \
		(node)->fdw_state = b_ ? b_->state : NULL; \
		statement; \
		if (b_) \
			b_->state = (node)->fdw_state; \
		(node)->fdw_state = b_; \
	} while (0)

/* The same with that of a result relation. */
#define WITH_RESULT(rri, statement) \
	do { \
		Box *b_ = (Box *) (rri)->ri_FdwState; \
		(rri)->ri_FdwState = b_ ? b_->state : NULL; \
		statement; \
		if (b_) \
			b_->state = (rri)->ri_FdwState; \
		(rri)->ri_FdwState = b_; \
	} while (0)

static void
begin_scan(ForeignScanState *node, int eflags)
{
	real.BeginForeignScan(node, eflags);
	node->fdw_state = box(node->fdw_state);
}

static TupleTableSlot *
iterate_scan(ForeignScanState *node)
{
	TupleTableSlot *slot;

	WITH_SCAN(node, slot = real.IterateForeignScan(node));
	return slot;
}

static void
rescan(ForeignScanState *node)
{
	WITH_SCAN(node, real.ReScanForeignScan(node));
}

static void
end_scan(ForeignScanState *node)
{
	WITH_SCAN(node, real.EndForeignScan(node));
}

static void
begin_direct(ForeignScanState *node, int eflags)
{
	real.BeginDirectModify(node, eflags);
	node->fdw_state = box(node->fdw_state);
}

static TupleTableSlot *
iterate_direct(ForeignScanState *node)
{
	TupleTableSlot *slot;

	WITH_SCAN(node, slot = real.IterateDirectModify(node));
	return slot;
}

static void
end_direct(ForeignScanState *node)
{
	WITH_SCAN(node, real.EndDirectModify(node));
}

static void
begin_modify(ModifyTableState *mtstate, ResultRelInfo *rri, List *fdw_private,
			 int subplan_index, int eflags)
{
	real.BeginForeignModify(mtstate, rri, fdw_private, subplan_index, eflags);
	rri->ri_FdwState = box(rri->ri_FdwState);
}

static void
begin_insert(ModifyTableState *mtstate, ResultRelInfo *rri)
{
	real.BeginForeignInsert(mtstate, rri);
	rri->ri_FdwState = box(rri->ri_FdwState);
}

static TupleTableSlot *
exec_insert(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot,
			TupleTableSlot *planSlot)
{
	WITH_RESULT(rri, slot = real.ExecForeignInsert(estate, rri, slot, planSlot));
	return slot;
}

static TupleTableSlot **
exec_batch(EState *estate, ResultRelInfo *rri, TupleTableSlot **slots,
		   TupleTableSlot **planSlots, int *numSlots)
{
	WITH_RESULT(rri, slots = real.ExecForeignBatchInsert(estate, rri, slots, planSlots, numSlots));
	return slots;
}

static int
batch_size(ResultRelInfo *rri)
{
	int			size;

	WITH_RESULT(rri, size = real.GetForeignModifyBatchSize(rri));
	return size;
}

static TupleTableSlot *
exec_update(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot,
			TupleTableSlot *planSlot)
{
	WITH_RESULT(rri, slot = real.ExecForeignUpdate(estate, rri, slot, planSlot));
	return slot;
}

static TupleTableSlot *
exec_delete(EState *estate, ResultRelInfo *rri, TupleTableSlot *slot,
			TupleTableSlot *planSlot)
{
	WITH_RESULT(rri, slot = real.ExecForeignDelete(estate, rri, slot, planSlot));
	return slot;
}

static void
end_modify(EState *estate, ResultRelInfo *rri)
{
	WITH_RESULT(rri, real.EndForeignModify(estate, rri));
}

static void
end_insert(EState *estate, ResultRelInfo *rri)
{
	WITH_RESULT(rri, real.EndForeignInsert(estate, rri));
}

/*
 * The handler: the real one's routine with our callbacks.
 */
Datum
postgres_fdw_handler(PG_FUNCTION_ARGS)
{
	PGFunction	handler = load_external_function(REAL_POSTGRES_FDW, "postgres_fdw_handler", true, NULL);
	FdwRoutine *routine = (FdwRoutine *) DatumGetPointer(handler(fcinfo));

	real = *routine;
	routine->BeginForeignScan = begin_scan;
	routine->IterateForeignScan = iterate_scan;
	routine->ReScanForeignScan = rescan;
	routine->EndForeignScan = end_scan;
	routine->BeginDirectModify = begin_direct;
	routine->IterateDirectModify = iterate_direct;
	routine->EndDirectModify = end_direct;
	routine->BeginForeignModify = begin_modify;
	routine->BeginForeignInsert = begin_insert;
	routine->ExecForeignInsert = exec_insert;
	routine->ExecForeignBatchInsert = exec_batch;
	routine->GetForeignModifyBatchSize = batch_size;
	routine->ExecForeignUpdate = exec_update;
	routine->ExecForeignDelete = exec_delete;
	routine->EndForeignModify = end_modify;
	routine->EndForeignInsert = end_insert;
	routine->IsForeignPathAsyncCapable = NULL;

	PG_RETURN_POINTER(routine);
}

/* The other functions are the real ones. */
#define REAL(name) \
	PG_FUNCTION_INFO_V1(name); \
	Datum \
	name(PG_FUNCTION_ARGS) \
	{ \
		PGFunction	f_ = load_external_function(REAL_POSTGRES_FDW, #name, true, NULL); \
 \
		return f_(fcinfo); \
	} \
	extern int	no_such_variable

REAL(postgres_fdw_validator);
REAL(postgres_fdw_get_connections);
REAL(postgres_fdw_get_connections_1_2);
REAL(postgres_fdw_disconnect);
REAL(postgres_fdw_disconnect_all);
