/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  The shared memory of the extension, with the proof for the server of each
 *	  store.
 *
 * One LWLock, RunopsShared->lock, protects the proofs.  Take it in shared mode
 * to search the array or to read a field of a proof, and in exclusive mode to
 * write.  Only the stamp and the count of changes of a proof may be read
 * without it.  The stamp holds the verdict together with a hash of everything
 * that the verdict depends on, so a verdict on another server or on other
 * options cannot be mistaken for it.  The stamp is written under the lock, as
 * the last field.
 *
 * A process must not hold the lock while it waits for anything, least of all
 * for a remote server.  A backend that wants to probe writes its PID into
 * "prober"; others wait on the condition variable until it is 0 again.  A
 * proof never moves, and is reused for another server only when the array is
 * full.
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

/* How many servers can have a proof, counting all databases. */
#define RUNOPS_MAX_PROOFS 256

/*
 * How many counters the keys of references share; see integrity/reference.c.
 */
#define RUNOPS_REFERENCE_KEYS 1024

/* The knowledge of one server; the key is database and server. */
typedef struct RunopsProof
{
	Oid			dbid;			/* the control plane's database; InvalidOid if
								 * the slot is free */
	Oid			serverid;		/* the server */
	pg_atomic_uint64 stamp;		/* hash and verdict; 0 before the first one */
	RunopsProofState state;		/* the last verdict and its details */
	uint64		hash;			/* hash of what that verdict depends on */
	RunopsIdentity proved;		/* the database that was proved last */
	RunopsCollations collations;	/* its collations */
	uint64		collations_hash;	/* hash of what they depend on */
	TimestampTz collations_lost;	/* since when plans know that one is not
									 * the same any more; 0 if never, DT_NOEND
									 * while they are being told */
	pg_atomic_uint64 changes;	/* how often "proved" became another one */
	uint64		probes;			/* how many probes have finished */
	Oid			umid;			/* user mapping used by the last probe */
	bool		for_mapping;	/* did it fail because of that mapping? */
	int			prober;			/* PID of the prober, or 0 */
	ConditionVariable probed;	/* signalled when a probe has finished */
	TimestampTz reader_asked;	/* of a reader: when it was last asked again
								 * because its writer has other collations */
} RunopsProof;

/* The result of a prover; see launcher.c. */
typedef enum RunopsProverOutcome
{
	RUNOPS_PROVER_NO_EXTENSION, /* no extension here, at least not yet */
	RUNOPS_PROVER_NO_STORE,		/* no store has a server */
	RUNOPS_PROVER_CLOSED,		/* not every store is proved */
	RUNOPS_PROVER_PROVED		/* all stores are proved */
} RunopsProverOutcome;

/* How many unresponsive stores a cleaner reports to the next cleaner. */
#define RUNOPS_MAX_TROUBLES 8

/* A store that did not answer a cleanup; the slot is free if failures is 0. */
typedef struct RunopsStoreTrouble
{
	char		store[RUNOPS_STORE_LEN];
	int			failures;		/* number of consecutive failures */
	TimestampTz retry_at;		/* do not retry before */
	TimestampTz since;			/* start of the batch that noticed it */
} RunopsStoreTrouble;

/* The state that the launcher and the cleaners share; see cascade/worker.c. */
typedef struct RunopsCleaner
{
	struct Latch *launcher;		/* to wake it; NULL if it does not run */
	bool		wanted;			/* has a backend queued something? */
	Oid			dbid;			/* the database of the cleaner */
	bool		worked;			/* has the cleaner done anything yet? */
	bool		ended;			/* has it finished? */
	TimestampTz next;			/* when to start the next one; 0 to wait until
								 * something is queued */
	RunopsStoreTrouble troubles[RUNOPS_MAX_TROUBLES];
} RunopsCleaner;

/* The counters of runops.two_phase_stats, in the order of its columns. */
typedef enum RunopsTwoPhaseCounter
{
	RUNOPS_TWO_PHASE_COMMITTED, /* in a store, by the backend itself */
	RUNOPS_TWO_PHASE_ROLLED_BACK,	/* the same */
	RUNOPS_TWO_PHASE_LEFT,		/* left to the finisher */
	RUNOPS_TWO_PHASE_FINISHED_COMMIT,	/* by the finisher */
	RUNOPS_TWO_PHASE_FINISHED_ROLLBACK, /* the same */
	RUNOPS_TWO_PHASE_NCOUNTERS
} RunopsTwoPhaseCounter;

/*
 * The state that the launcher and the finishers share; see
 * session/finisher_worker.c.
 */
typedef struct RunopsFinisher
{
	bool		wanted;			/* has a backend left something prepared? */
	Oid			dbid;			/* the database of that backend */
	bool		ended;			/* has the finisher finished its pass? */
	bool		left;			/* ... and has it left something? */
	bool		found;			/* ... or has it found something? */
	pg_atomic_uint64 counters[RUNOPS_TWO_PHASE_NCOUNTERS];
} RunopsFinisher;

/* How many backends can show a progress, counting all databases. */
#define RUNOPS_MAX_PROGRESS 64

/* The phase of a set-up function that a backend runs; see base/progress.c. */
typedef struct RunopsProgress
{
	int			pid;			/* of the backend; 0 if the slot is free */
	Oid			dbid;
	Oid			relid;
	char		command[NAMEDATALEN];
	char		phase[NAMEDATALEN];
	TimestampTz started;
	int64		blocks_total;	/* -1 if it is not known */
	pg_atomic_uint64 blocks_done;
	pg_atomic_uint64 rows_done;
} RunopsProgress;

/* How many outcomes wait to be copied to the table, counting all databases. */
#define RUNOPS_MAX_COMMIT_PARTS 128

/* The most foreign tables that are kept for one of them. */
#define RUNOPS_MAX_COMMIT_TABLES 16

/*
 * What one store has done with a transaction that this database has rolled back;
 * see session/commit_record.c.
 */
typedef struct RunopsCommitPart
{
	uint64		id;				/* number of the transaction; 0 if the slot is
								 * free */
	Oid			dbid;
	Oid			userid;			/* whose user mapping was used */
	char		server[NAMEDATALEN];
	RunopsOutcome outcome;
	TimestampTz failed_at;
	RunopsRemoteXact xact;
	int			ntables;
	Oid			tables[RUNOPS_MAX_COMMIT_TABLES];	/* foreign tables that
													 * were written to */
} RunopsCommitPart;

/* The outcomes that are not in the table yet, and the worker that copies them. */
typedef struct RunopsCommits
{
	uint64		last;			/* number of the last transaction */
	bool		wanted;			/* has a backend left something? */
	int64		left;			/* how many are unknown after the worker has
								 * ended; -1 if it has failed */
	RunopsCommitPart parts[RUNOPS_MAX_COMMIT_PARTS];
} RunopsCommits;

typedef struct RunopsShared
{
	LWLock	   *lock;
	RunopsProverOutcome outcome;	/* the result of the last prover */
	RunopsCleaner cleaner;
	RunopsFinisher finisher;
	RunopsCommits commits;
	RunopsProof proofs[RUNOPS_MAX_PROOFS];
	RunopsProgress progress[RUNOPS_MAX_PROGRESS];
	/* see integrity/reference.c */
	pg_atomic_uint64 reference_generations[RUNOPS_REFERENCE_KEYS];
} RunopsShared;

/* in shmem.c; NULL if the library was not preloaded */
extern RunopsShared *runops_shared;
extern void runops_shmem_request(void);
extern void runops_shmem_startup(void);
extern RunopsProof *runops_shmem_find_proof(Oid serverid);
extern RunopsProof *runops_shmem_make_proof(Oid serverid);

#endif							/* RUNOPS_SHMEM_H */
