/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  Sizes and initializes the shared memory of the extension, and looks up
 *	  the proof of a server.
 *
 * shmem.h says which lock protects what.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "base/shmem.h"

/* name of the LWLock tranche and of the shared memory segment */
#define SHMEM_NAME "runops"

RunopsShared *runops_shared = NULL;

/*
 * Request the shared memory and the lock from the postmaster.
 */
void
runops_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(RunopsShared)));
	RequestNamedLWLockTranche(SHMEM_NAME, 1);
}

/*
 * Initialize the memory, or attach to it.
 */
void
runops_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	runops_shared = ShmemInitStruct(SHMEM_NAME, sizeof(RunopsShared), &found);
	if (!found)
	{
		memset(runops_shared, 0, sizeof(RunopsShared));
		runops_shared->lock = &(GetNamedLWLockTranche(SHMEM_NAME))->lock;
		for (int i = 0; i < RUNOPS_MAX_PROOFS; i++)
		{
			pg_atomic_init_u64(&runops_shared->proofs[i].stamp, 0);
			pg_atomic_init_u64(&runops_shared->proofs[i].changes, 0);
			ConditionVariableInit(&runops_shared->proofs[i].probed);
		}
		for (int i = 0; i < RUNOPS_TWO_PHASE_NCOUNTERS; i++)
			pg_atomic_init_u64(&runops_shared->finisher.counters[i], 0);
		for (int i = 0; i < RUNOPS_MAX_PROGRESS; i++)
		{
			pg_atomic_init_u64(&runops_shared->progress[i].blocks_done, 0);
			pg_atomic_init_u64(&runops_shared->progress[i].rows_done, 0);
		}
		for (int i = 0; i < RUNOPS_REFERENCE_KEYS; i++)
			pg_atomic_init_u64(&runops_shared->reference_generations[i], 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * The proof of a server of this database, or NULL.  The caller holds the lock.
 */
RunopsProof *
runops_shmem_find_proof(Oid serverid)
{
	Assert(LWLockHeldByMe(runops_shared->lock));

	for (int i = 0; i < RUNOPS_MAX_PROOFS; i++)
	{
		RunopsProof *proof = &runops_shared->proofs[i];

		if (proof->serverid == serverid && proof->dbid == MyDatabaseId)
			return proof;
	}

	return NULL;
}

/*
 * The proof of a server of this database, created if there is none.  The
 * caller holds the lock in exclusive mode.
 *
 * If all proofs are taken, the one with the oldest verdict is replaced: its
 * server or database has most likely been dropped.  The result is NULL if even
 * that one is in use.
 */
RunopsProof *
runops_shmem_make_proof(Oid serverid)
{
	RunopsProof *proof = runops_shmem_find_proof(serverid);
	RunopsProof *oldest = NULL;

	if (proof != NULL)
		return proof;

	for (int i = 0; i < RUNOPS_MAX_PROOFS; i++)
	{
		proof = &runops_shared->proofs[i];
		if (!OidIsValid(proof->dbid))
		{
			oldest = proof;
			break;
		}
		if (proof->prober == 0 &&
			(oldest == NULL || proof->state.checked_at < oldest->state.checked_at))
			oldest = proof;
	}
	if (oldest == NULL)
		return NULL;

	pg_atomic_write_u64(&oldest->stamp, 0);
	memset(&oldest->state, 0, sizeof(oldest->state));
	memset(&oldest->proved, 0, sizeof(oldest->proved));
	memset(&oldest->collations, 0, sizeof(oldest->collations));
	oldest->collations_hash = 0;
	oldest->collations_lost = 0;
	oldest->reader_asked = 0;
	oldest->hash = 0;
	oldest->umid = InvalidOid;
	oldest->for_mapping = false;
	oldest->dbid = MyDatabaseId;
	oldest->serverid = serverid;

	return oldest;
}
