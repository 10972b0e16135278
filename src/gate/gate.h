/*-------------------------------------------------------------------------
 *
 * gate.h
 *	  Tells whether a store other than legacy may be used now.
 *
 * The gate makes this decision in one place, with a reason.  It looks at the
 * settings, and at the verdict of the sentinel on the server of the store.  If
 * a verdict stands, the check costs one read of shared memory.  Otherwise the
 * server is asked, which may take as long as connecting.
 *
 * Lock:  RunopsShared->lock, see shmem.h; no process holds it while it waits
 * for a server.  A verdict of "distinct" stands until the server's options
 * change, a connection meets another database, or this server is promoted.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_GATE_H
#define RUNOPS_GATE_H

#include "libpq-fe.h"
#include "nodes/pg_list.h"
#include "storage/lock.h"

#include "base/runops.h"
#include "remote/remote.h"
#include "topology/topology.h"

/* Which control plane is recorded for a store. */
typedef enum RunopsRecord
{
	RUNOPS_RECORD_NONE,			/* no record yet */
	RUNOPS_RECORD_FITS,			/* this database */
	RUNOPS_RECORD_OTHER			/* another one */
} RunopsRecord;

/* The record of the control plane that uses a store, in this database. */
typedef struct RunopsOwnRecord
{
	RunopsRecord kind;
	char		reason[RUNOPS_REASON_LEN];	/* what differs, for another one */
	bool		same_cluster;	/* has the other one the same system
								 * identifier and database name? */
	char	   *who;			/* runops_identity_text() of the recorded one */
	bool		replaces;		/* is a record in the store to be replaced? */
	int64		former;			/* the claim of that record */
	bool		accepted;		/* was that said by somebody? */
} RunopsOwnRecord;

/* How the store's record of its owner is asked for. */
typedef struct RunopsOwnerQuestion
{
	bool		applies;		/* false: it is not asked for */
	char		marker[NAMEDATALEN];	/* the schema whose comment it is */
	char	   *me;				/* runops_identity_text() of this database */
	int64		unclaimed;		/* lock key while there is no record */
	bool		hold;			/* is the session to hold the lock, or the
								 * transaction if the server is pooled? */
} RunopsOwnerQuestion;

/* The answer. */
typedef struct RunopsOwner
{
	char	   *record;			/* NULL: there is none */
	const char *who;			/* what follows the claims; NULL: it is no
								 * record of a control plane */
	int64		claim;
	int64		after;			/* the claim that it has replaced and that is
								 * to be proved unused, or 0 */
	bool		refused;		/* was the session refused its lock? */
} RunopsOwner;

/* What a probe is for. */
typedef enum RunopsProbePurpose
{
	RUNOPS_PROBE_USE,			/* to use the store */
	RUNOPS_PROBE_CLAIM,			/* the same, and to record this control plane
								 * there if nobody is */
	RUNOPS_PROBE_ACCEPT			/* to take the store over from anybody */
} RunopsProbePurpose;

/* in gate.c */
extern void runops_gate_init(void);
extern const char *runops_gate_closed_reason(void);
extern const char *runops_gate_hint(RunopsCause cause);
extern int	runops_gate_sqlerrcode(RunopsCause cause);
extern bool runops_gate_flag_off(void);
extern void runops_gate_raise(const RunopsProofState *state, const char *store,
							  const char *relname);
extern void runops_gate_require_settings(const char *store,
										 const char *relname);
extern void runops_gate_require(const char *store, const char *relname);
extern void runops_gate_require_any(const char *relname);
extern void runops_gate_require_server(Oid serverid, Oid userid,
									   const char *store, const char *relname);

/* in collations.c */
extern bool runops_collation_is_same(const RunopsCollations *known, Oid collation);
extern bool runops_collation_has_same_equality(const RunopsCollations *known,
											   Oid collation);

/* in identity.c */
extern void runops_identity_read(const char *store, RunopsOwnRecord *own);
extern void runops_identity_record(const char *store, bool replace,
								   const RunopsProofState *state);
extern bool runops_identity_succeed(const char *store,
									const RunopsProofState *state);

/* in hidden_rows.c */
extern void runops_held_note(Oid leaf_relid);
extern void runops_held_warn(void);
extern void runops_held_warn_session(void);

/* in owner.c */
extern void runops_owner_question(const RunopsStore *store, bool is_reader,
								  RunopsOwnerQuestion *question);
extern char *runops_owner_condition(const RunopsOwnerQuestion *question,
									const RunopsOwner *owner);
extern char *runops_owner_reason(const RunopsOwnerQuestion *question,
								 const RunopsOwner *owner);

/* in probe.c */
extern void runops_lock_tag(uint64 key, LOCKTAG *tag);
extern bool runops_ask_identity(RemoteSession *session, uint64 lock_key,
								const RunopsOwnerQuestion *question,
								RunopsIdentity *identity, bool *lock_obtained,
								RunopsOwner *owner, char **collations,
								RemoteFailure *failure);

/* in sentinel.c */
extern RunopsVerdict runops_sentinel_verdict(Oid serverid, Oid userid,
											 RunopsProofState *state);
extern RunopsStore *runops_server_store(List *stores, Oid serverid,
										bool *is_reader);
extern void runops_sentinel_probe(Oid serverid, Oid userid, bool force,
								  RunopsProbePurpose purpose,
								  RunopsProofState *state);
extern bool runops_sentinel_stands(Oid serverid);
extern bool runops_sentinel_distinct(Oid serverid);
extern bool runops_sentinel_peek(Oid serverid, RunopsProofState *state);
extern uint64 runops_sentinel_changes(Oid serverid);
extern void runops_sentinel_collations(Oid serverid, RunopsCollations *result);
extern void runops_sentinel_note_collations(Oid serverid, const char *answer);
extern TimestampTz runops_sentinel_collations_lost(Oid serverid);
extern bool runops_sentinel_reader_agrees(Oid writerid, Oid readerid,
										  Oid userid);
extern void runops_sentinel_close(Oid serverid, RunopsVerdict verdict,
								  RunopsCause cause, const char *reason);
extern const char *runops_verdict_name(RunopsVerdict verdict);

#endif							/* RUNOPS_GATE_H */
