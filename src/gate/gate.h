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
 * meets another database, or this server is promoted.
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

/* Which control plane is recorded for a store. */
typedef enum RunopsRecord
{
	RUNOPS_RECORD_NONE,			/* no record yet */
	RUNOPS_RECORD_FITS,			/* this database */
	RUNOPS_RECORD_OTHER			/* another one */
} RunopsRecord;

/* in gate.c */
extern void runops_gate_init(void);
extern const char *runops_gate_closed_reason(void);
extern const char *runops_gate_hint(RunopsCause cause);
extern bool runops_gate_flag_off(void);
extern void runops_gate_raise(const RunopsProofState *state, const char *store,
							  const char *relname);
extern void runops_gate_require_settings(const char *store,
										 const char *relname);
extern void runops_gate_require(const char *store, const char *relname);
extern void runops_gate_require_any(const char *relname);
extern void runops_gate_require_server(Oid serverid, Oid userid,
									   const char *store, const char *relname);

/* in identity.c */
extern RunopsRecord runops_identity_compare(const char *store, char *reason);
extern void runops_identity_record(const char *store, bool replace);

/* in hidden_rows.c */
extern void runops_held_note(Oid leaf_relid);
extern void runops_held_warn(void);
extern void runops_held_warn_session(void);

/* in probe.c */
extern void runops_lock_tag(uint64 key, LOCKTAG *tag);
extern bool runops_ask_identity(RemoteSession *session, uint64 lock_key,
								RunopsIdentity *identity, bool *lock_obtained,
								RemoteFailure *failure);

/* in sentinel.c */
extern RunopsVerdict runops_sentinel_verdict(Oid serverid, Oid userid,
											 RunopsProofState *state);
extern bool runops_sentinel_stands(Oid serverid);
extern bool runops_sentinel_distinct(Oid serverid);
extern bool runops_sentinel_peek(Oid serverid, RunopsProofState *state);
extern uint64 runops_sentinel_changes(Oid serverid);
extern void runops_sentinel_close(Oid serverid, RunopsVerdict verdict,
								  RunopsCause cause, const char *reason);
extern const char *runops_verdict_name(RunopsVerdict verdict);

#endif							/* RUNOPS_GATE_H */
