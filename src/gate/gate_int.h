/*-------------------------------------------------------------------------
 *
 * gate_int.h
 *	  Declares the functions and types that the files of the gate share.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_GATE_INT_H
#define RUNOPS_GATE_INT_H

#include "foreign/foreign.h"

#include "gate/gate.h"
#include "topology/topology.h"

/* The facts that decide the verdict on one server. */
typedef struct RunopsProbeFacts
{
	RunopsIdentity here;		/* this database */
	RunopsIdentity there;		/* the server's database */
	bool		lock_obtained;	/* could the server take the lock that is held
								 * here? */
	bool		is_reader;		/* does it serve a store's reads, beside a
								 * writer? */
	bool		writer_known;	/* of a reader: is the next field filled? */
	RunopsIdentity writer;		/* of a reader: the writer's database */
} RunopsProbeFacts;

/* A server of another store, and its last verdict. */
typedef struct RunopsPeer
{
	Oid			serverid;
	RunopsProofState state;
} RunopsPeer;

/* The input of a probe. */
typedef struct RunopsProbeRequest
{
	Oid			serverid;
	UserMapping *user;			/* NULL: there is none */
	List	   *stores;			/* of RunopsStore *, all of them */
	const RunopsStore *store;	/* the store of the server; NULL: none */
	bool		is_reader;		/* is it that store's reader? */
	bool		writer_known;	/* for a reader: is the next field filled? */
	RunopsIdentity writer;		/* the database of the store's writer */
	List	   *peers;			/* of RunopsPeer *: servers with a verdict */
	RunopsProbePurpose purpose;
	RunopsOwnRecord own;		/* the record of the control plane here */
	RunopsOwnerQuestion question;	/* how to ask for the one there */
} RunopsProbeRequest;

/* The result of a probe. */
typedef struct RunopsProbe
{
	RunopsProofState state;		/* the verdict, without its times */
	bool		pairwise;		/* must it be compared with other stores? */
	bool		timed_out;		/* did the server not answer in time? */
	List	   *compared;		/* OIDs of the servers of other stores that
								 * need no further comparison with this one */
	Oid			twin;			/* the compared server that is the same */
} RunopsProbe;

/* in collations.c */
extern void runops_collations_forget(void);
extern void runops_collations_append(StringInfo buf, void (*changed) (void));
extern char *runops_collations_sql(void);
extern uint64 runops_collations_number(const char *answer);
extern void runops_collations_compare(const char *answer,
									  RunopsCollations *result);
extern bool runops_collations_include(const RunopsCollations *known,
									  const RunopsCollations *less);
extern List *runops_collations_tables(Oid serverid);
extern void runops_collations_replan(List *tables);

/* in identity.c */
extern void runops_local_identity(RunopsIdentity *identity);
extern bool runops_identity_equal(const RunopsIdentity *a,
								  const RunopsIdentity *b);
extern char *runops_identity_own_text(void);

/* in owner.c */
extern const char *runops_owner_columns(RemoteSession *session,
										const RunopsOwnerQuestion *question,
										const char **from);
extern bool runops_owner_answer(RemoteSession *session, int column,
								RunopsOwner *owner, RemoteFailure *failure);
extern void runops_owner_check(RemoteSession *session,
							   const RunopsProbeRequest *request,
							   const RunopsOwner *owner, RunopsProofState *state);

/* in probe.c */
extern void runops_probe(const RunopsProbeRequest *request, RunopsProbe *probe);

/* in verdict.c */
extern void runops_set_verdict(RunopsProofState *state, RunopsVerdict verdict,
							   RunopsCause cause, const char *reason);
extern void runops_judge(const RunopsProbeFacts *facts, RunopsProofState *state);

#endif							/* RUNOPS_GATE_INT_H */
