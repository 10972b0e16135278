/*-------------------------------------------------------------------------
 *
 * sentinel.h
 *	  What the files of the distinct-database sentinel share.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SENTINEL_H
#define RUNOPS_SENTINEL_H

#include "session/remote.h"
#include "storage/lock.h"
#include "base/runops.h"

/* What stands beside a store about the control plane. */
typedef enum RunopsRecord
{
	RUNOPS_RECORD_NONE,			/* nothing yet */
	RUNOPS_RECORD_FITS,			/* this database */
	RUNOPS_RECORD_OTHER			/* another one */
} RunopsRecord;

/* All that a verdict on one server is made of. */
typedef struct RunopsFacts
{
	RunopsIdentity here;		/* this database */
	RunopsIdentity there;		/* the server's */
	bool		lock_obtained;	/* could it take the lock that is held here? */
	bool		is_reader;		/* serves a store's reads, beside a writer */
	bool		writer_known;	/* of a reader: is the next field filled? */
	RunopsIdentity writer;		/* of a reader: the writer's database */
} RunopsFacts;

/* What a probe brings back. */
typedef struct RunopsProbe
{
	RunopsProofState state;		/* the verdict, without its times */
	bool		pairwise;		/* must it be compared with other stores? */
	bool		timed_out;		/* did the server not answer in time? */
	List	   *compared;		/* OIDs of the other stores' servers that it needs
								 * no further comparison with */
	Oid			twin;			/* the one among them that is the same */
} RunopsProbe;

/* in identity.c */
extern void runops_local_identity(RunopsIdentity *identity);
extern bool runops_identity_equal(const RunopsIdentity *a,
								  const RunopsIdentity *b);
extern bool runops_stores_meet(const RunopsStore *a, const RunopsStore *b);
extern RunopsRecord runops_identity_compare(const char *store, char *reason);
extern void runops_identity_record(const char *store, bool replace);

/* in probe.c */
extern void runops_probe(Oid serverid, UserMapping *user, bool accept_identity,
						 List *stores, RunopsProbe *probe);
extern void runops_lock_tag(uint64 key, LOCKTAG *tag);
extern bool runops_ask_identity(RemoteSession *session, uint64 lock_key,
								RunopsIdentity *identity, bool *lock_obtained,
								RemoteFailure *failure);
extern void runops_decide(const RunopsFacts *facts, RunopsProofState *state);

#endif							/* RUNOPS_SENTINEL_H */
