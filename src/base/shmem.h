/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  What the backends of a server share: the proof that stands for each
 *	  server of a store.
 *
 * One LWLock, RunopsShared->lock, protects the proofs.  Searching the array,
 * and reading any field of a proof but its stamp and its count of changes, takes
 * it in shared mode; writing takes it in exclusive mode.  Those two alone may be
 * read without it: the stamp holds the verdict together with a hash of everything the verdict is about,
 * so that it cannot be mistaken for that of another server or of other options.
 * It is written under the lock, as the last field.
 *
 * The lock is never held while something is waited for, a remote server least
 * of all.  Whoever wants to probe writes his PID into "prober"; others wait on
 * the condition variable until it is 0 again.  A proof never moves, and is
 * given to another server only when the array is full.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SHMEM_H
#define RUNOPS_SHMEM_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#include "base/runops.h"

/* How many servers can have a proof, over all databases. */
#define RUNOPS_MAX_PROOFS 256

/* How many locks the keys of references share; see integrity/reference.c. */
#define RUNOPS_REFERENCE_KEYS 1024

/* What is known of one server; the key is database and server. */
typedef struct RunopsProof
{
	Oid			dbid;			/* the control plane's database; invalid if
								 * free */
	Oid			serverid;		/* the server */
	pg_atomic_uint64 stamp;		/* hash and verdict; 0 before the first one */
	RunopsProofState state;		/* the last verdict, and all about it */
	uint64		hash;			/* what that verdict is about */
	RunopsIdentity proved;		/* the database that was proved last */
	pg_atomic_uint64 changes;	/* how often that became another one */
	uint64		probes;			/* how many probes have ended */
	Oid			umid;			/* user mapping of the last probe */
	bool		for_mapping;	/* did it fail for reasons of that mapping? */
	int			prober;			/* PID of who is probing, or 0 */
	ConditionVariable probed;	/* signalled when a probe has ended */
} RunopsProof;

/* What a prover has found; see launcher.c. */
typedef enum RunopsProverOutcome
{
	RUNOPS_PROVER_NO_EXTENSION, /* nothing to do here, or not yet */
	RUNOPS_PROVER_NO_STORE,		/* no store has a server */
	RUNOPS_PROVER_CLOSED,		/* not every store is proved */
	RUNOPS_PROVER_PROVED		/* all are */
} RunopsProverOutcome;

/* How many stores that do not answer a cleaner tells the next one of. */
#define RUNOPS_MAX_TROUBLES 8

/* A store that did not answer a cleanup; free if failures is 0. */
typedef struct RunopsStoreTrouble
{
	char		store[RUNOPS_STORE_LEN];
	int			failures;		/* in a row */
	TimestampTz retry_at;		/* not to be asked before */
	TimestampTz since;			/* start of the batch that found out */
} RunopsStoreTrouble;

/* What the launcher and the cleaners tell each other; see cascade/worker.c. */
typedef struct RunopsCleaner
{
	struct Latch *launcher;		/* to wake it; NULL while there is none */
	bool		wanted;			/* has somebody queued something? */
	Oid			dbid;			/* in this database */
	bool		worked;			/* has the cleaner done anything yet? */
	bool		ended;			/* has it come to its end? */
	TimestampTz next;			/* and when is there something to do again? 0 if
								 * not before something is queued */
	RunopsStoreTrouble troubles[RUNOPS_MAX_TROUBLES];
} RunopsCleaner;

typedef struct RunopsShared
{
	LWLock	   *lock;
	RunopsProverOutcome outcome;	/* of the last prover */
	RunopsCleaner cleaner;
	RunopsProof proofs[RUNOPS_MAX_PROOFS];
	pg_atomic_uint64 reference_generations[RUNOPS_REFERENCE_KEYS];	/* see integrity/reference.c */
} RunopsShared;

/* in shmem.c; NULL if the library was not preloaded */
extern RunopsShared *runops_shared;
extern void runops_shmem_request(void);
extern void runops_shmem_startup(void);
extern RunopsProof *runops_shmem_find_proof(Oid serverid);
extern RunopsProof *runops_shmem_make_proof(Oid serverid);

#endif							/* RUNOPS_SHMEM_H */
