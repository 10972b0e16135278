/*-------------------------------------------------------------------------
 *
 * server_state.c
 *	  Notes whether the last use of each server has succeeded, for
 *	  runops.status().
 *
 * The gate says what a server leads to, and a server that is down leads to the
 * same database as before.  So the sessions note here that a server could not be
 * reached, or that a connection was lost, and also that an answer has come
 * since.  Nobody is asked only for that.
 *
 * The state is in shared memory, in one slot for each database and server.  A
 * backend takes a slot under the lock when it first connects to a server, and a
 * slot is never moved or given back.  Once all slots are taken, further servers
 * are not noted.  An answer only reads the slot of a server that works, so the
 * sessions do not compete for its cache line.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "xact/xact.h"

#define SERVER_STATE_TRANCHE "runops_server_state"

/* The maximum number of servers that are noted, over all databases. */
#define MAX_SERVERS 256

/* One server.  The key is written once, under the lock. */
struct RunopsServerState
{
	Oid			dbid;
	Oid			serverid;
	pg_atomic_uint32 sqlerrcode;	/* of the last failure */
	pg_atomic_uint64 failing_since; /* a TimestampTz; 0: it works */
};

/* The contents of the shared memory. */
typedef struct ServerStates
{
	LWLock	   *lock;			/* protects n and the keys */
	int			n;
	RunopsServerState servers[MAX_SERVERS];
} ServerStates;

static ServerStates *states = NULL;

PG_FUNCTION_INFO_V1(runops_server_state_sql);

/*
 * Request the shared memory.
 */
void
runops_server_state_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(ServerStates)));
	RequestNamedLWLockTranche(SERVER_STATE_TRANCHE, 1);
}

/*
 * Attach to the shared memory, or initialize it if this is the postmaster.
 */
void
runops_server_state_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	states = ShmemInitStruct("runops server states", sizeof(ServerStates), &found);
	if (!found)
	{
		states->lock = &(GetNamedLWLockTranche(SERVER_STATE_TRANCHE))->lock;
		states->n = 0;
		for (int i = 0; i < MAX_SERVERS; i++)
		{
			pg_atomic_init_u32(&states->servers[i].sqlerrcode, 0);
			pg_atomic_init_u64(&states->servers[i].failing_since, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Search the taken slots for a server.  The caller holds the lock.
 */
static RunopsServerState *
search_servers(Oid serverid)
{
	for (int i = 0; i < states->n; i++)
	{
		RunopsServerState *state = &states->servers[i];

		if (state->dbid == MyDatabaseId && state->serverid == serverid)
			return state;
	}

	return NULL;
}

/*
 * The state of a server of this database, which never moves; NULL if it is not
 * noted.
 */
RunopsServerState *
runops_server_state(Oid serverid)
{
	RunopsServerState *state;

	if (states == NULL)
		return NULL;

	LWLockAcquire(states->lock, LW_SHARED);
	state = search_servers(serverid);
	LWLockRelease(states->lock);
	if (state != NULL)
		return state;

	LWLockAcquire(states->lock, LW_EXCLUSIVE);
	state = search_servers(serverid);
	if (state == NULL && states->n < MAX_SERVERS)
	{
		state = &states->servers[states->n];
		state->dbid = MyDatabaseId;
		state->serverid = serverid;
		states->n++;
	}
	LWLockRelease(states->lock);

	return state;
}

/*
 * Note that a server could not be used.  Raises nothing; state may be NULL.
 */
void
runops_server_state_failed(RunopsServerState *state, int sqlerrcode)
{
	uint64		works = 0;

	if (state == NULL)
		return;
	pg_atomic_write_u32(&state->sqlerrcode, (uint32) sqlerrcode);
	/* the time is the one of the first failure */
	(void) pg_atomic_compare_exchange_u64(&state->failing_since, &works,
										  (uint64) GetCurrentTimestamp());
}

/*
 * Note that a server has answered.  Raises nothing; state may be NULL.
 */
void
runops_server_state_works(RunopsServerState *state)
{
	if (state != NULL && pg_atomic_read_u64(&state->failing_since) != 0)
		pg_atomic_write_u64(&state->failing_since, 0);
}

/*
 * _server_state(server): the SQLSTATE with which a server fails, and since when.
 */
Datum
runops_server_state_sql(PG_FUNCTION_ARGS)
{
	Oid			serverid = PG_GETARG_OID(0);
	RunopsServerState *state = NULL;
	TupleDesc	tupdesc;
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};
	uint64		since = 0;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	if (states != NULL)
	{
		LWLockAcquire(states->lock, LW_SHARED);
		state = search_servers(serverid);
		LWLockRelease(states->lock);
	}
	if (state != NULL)
		since = pg_atomic_read_u64(&state->failing_since);
	if (since != 0)
	{
		values[0] = CStringGetTextDatum(unpack_sql_state((int) pg_atomic_read_u32(&state->sqlerrcode)));
		values[1] = TimestampTzGetDatum((TimestampTz) since);
		nulls[0] = nulls[1] = false;
	}

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls)));
}
