/*-------------------------------------------------------------------------
 *
 * owner.c
 *	  Records in the database of a store which control plane uses it.
 *
 * The record is the comment on a schema that contains nothing.  Every role can
 * read a comment in the statement that asks for the identity, whether it exists
 * or not, and reading it runs no code of anybody.  None of this is true for a
 * table that a role of the store could have created.  The record names the
 * control plane (see runops_identity_text()), and a random number, the claim,
 * which is new whenever the store gets another owner.
 *
 * A session that is going to use the store holds an advisory lock on the claim
 * in shared mode until it disconnects.  It takes the lock in the statement that
 * reads the record, and only if the record names its control plane.  A promoted
 * standby may replace the record of the old primary without being told if it
 * can prove that the old primary has no session left:
 *
 * 1. It replaces the record in a transaction that holds the lock in exclusive
 *    mode.  From then on no new session of the old primary passes the question.
 * 2. A session that has read the old record may not have its lock yet.  Such a
 *    session has a snapshot that is older than the new record.  So it waits
 *    until there is no such snapshot.
 * 3. After that it looks for holders of the lock.
 *
 * The new record names the old claim, so steps 2 and 3 can be repeated until
 * they succeed, also after a restart.
 *
 * A transaction pooler gives a transaction any session, so locks of sessions
 * say nothing.  No lock is taken if the PID of the session is not the one that
 * libpq was told.  If the server has the option "pooled", each transaction asks
 * whether the record is still the same, and holds the lock until it ends.  The
 * proof is the same then, with transactions in the place of sessions.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <inttypes.h>

#include "access/xlog.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "gate/gate_int.h"

/* The schema whose comment is the record. */
#define MARKER_SCHEMA "runops_store"

/* The row of pg_description that has the record, if it exists. */
#define RECORD_FROM \
	" FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_description d ON d.objoid OPERATOR(pg_catalog.=) n.oid" \
	" AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass" \
	" AND d.objsubid OPERATOR(pg_catalog.=) 0 WHERE n.nspname OPERATOR(pg_catalog.=) "

/* The claim in a record that has the right form. */
#define CLAIM "pg_catalog.split_part(pg_catalog.split_part(o.record, ' ', 1), '=', 2)"

/*
 * A random number that is not 0.
 */
static int64
random_claim(void)
{
	int64		claim;

	do
	{
		if (!pg_strong_random(&claim, sizeof(claim)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
	} while (claim == 0);

	return claim;
}

/*
 * A number for a schema and a purpose, as the key of an advisory lock.
 */
static int64
marker_key(const char *marker, uint64 purpose)
{
	return (int64) hash_bytes_extended((const unsigned char *) marker, strlen(marker), purpose);
}

/*
 * Fill in the question for the owner of the store that a server is the writer
 * of.  It does not apply to other servers, and not if this server can only
 * read.
 *
 * Stores in two schemas of one database have an owner each.
 */
void
runops_owner_question(const RunopsStore *store, bool is_reader,
					  RunopsOwnerQuestion *question)
{
	memset(question, 0, sizeof(RunopsOwnerQuestion));
	if (store == NULL || is_reader || RecoveryInProgress())
		return;

	question->applies = true;
	strlcpy(question->marker, MARKER_SCHEMA, NAMEDATALEN);
	if (store->remote_schema[0] != '\0')
		snprintf(question->marker, NAMEDATALEN, "%s_%016" PRIx64, MARKER_SCHEMA,
				 marker_key(store->remote_schema, 0));
	question->me = runops_identity_own_text();
	question->unclaimed = marker_key(question->marker, 1);
}

/*
 * SQL for two columns: the record of the owner, and whether the session, or the
 * transaction if the server is pooled, holds the lock on the claim now.  The
 * second is NULL if it did not try.
 *
 * They read from a table "o" with the record, whose SQL is the other result.
 * Anything may be in the comment, so the claim is a number only if it looks like
 * one: a failed cast would be an error of the connection, and not of the owner.
 */
const char *
runops_owner_columns(RemoteSession *session, const RunopsOwnerQuestion *question,
					 const char **from)
{
	const char *lock;

	if (question == NULL || !question->applies)
	{
		*from = "";
		return "NULL::pg_catalog.text, NULL::pg_catalog.bool";
	}

	*from = psprintf(" FROM (SELECT (SELECT d.description" RECORD_FROM "%s) OFFSET 0) AS o (record)",
					 quote_literal_cstr(question->marker));
	if (!question->hold)
		return "o.record, NULL::pg_catalog.bool";

	lock = session->pooled ? "pg_catalog.pg_try_advisory_xact_lock_shared" :
		"pg_catalog.pg_try_advisory_lock_shared";

	return psprintf("o.record, CASE WHEN %s THEN"
					" CASE WHEN o.record IS NULL THEN %s(" INT64_FORMAT ")"
					" WHEN pg_catalog.right(o.record, pg_catalog.length(%s)) OPERATOR(pg_catalog.=) %s"
					" AND o.record COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.~) '^claim=-?[0-9]{1,19} after=' THEN"
					" CASE WHEN pg_catalog.abs(" CLAIM "::pg_catalog.numeric OPERATOR(pg_catalog.+) 0.5) OPERATOR(pg_catalog.<) 9223372036854775808 THEN"
					" %s(" CLAIM "::pg_catalog.int8) END"
					" END END",
					session->pooled ? "true" :
					psprintf("pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) %d", PQbackendPID(session->conn)),
					lock, question->unclaimed,
					quote_literal_cstr(question->me), quote_literal_cstr(question->me), lock);
}

/*
 * SQL for a condition that is true if the record is still the one that was read,
 * and that makes the transaction hold the lock on the claim.
 */
char *
runops_owner_condition(const RunopsOwnerQuestion *question, const RunopsOwner *owner)
{
	return psprintf("COALESCE((SELECT d.description" RECORD_FROM "%s), '') OPERATOR(pg_catalog.=) %s"
					" AND pg_catalog.pg_try_advisory_xact_lock_shared((%s)::pg_catalog.int8)",
					quote_literal_cstr(question->marker),
					quote_literal_cstr(owner->record ? owner->record : ""),
					quote_literal_cstr(psprintf(INT64_FORMAT,
												owner->record ? owner->claim : question->unclaimed)));
}

/*
 * Read "NAME=NUMBER " at the beginning of a text, and move on behind it;
 * returns false if there is something else.
 *
 * A number without a sign may use all 64 bits.
 */
static bool
read_number(const char **text, const char *name, int base, int64 *value)
{
	const char *start = *text + strlen(name);
	char	   *end;

	if (strncmp(*text, name, strlen(name)) != 0 || isspace((unsigned char) *start))
		return false;
	errno = 0;
	*value = *start == '-' ? strtoi64(start, &end, base) : (int64) strtou64(start, &end, base);
	if (errno != 0 || end == start || *end != ' ')
		return false;
	*text = end + 1;

	return true;
}

/*
 * Read the values of these columns, which begin at the given one; returns
 * false, with the failure, if they are not valid.
 */
bool
runops_owner_answer(RemoteSession *session, int column, RunopsOwner *owner,
					RemoteFailure *failure)
{
	char	   *text;
	const char *rest;

	memset(owner, 0, sizeof(RunopsOwner));
	if (!PQgetisnull(session->res, 0, column + 1))
	{
		bool		held;

		if (!runops_remote_get_bool(session, column + 1, &held, failure))
			return false;
		owner->refused = !held;
	}
	if (PQgetisnull(session->res, 0, column))
		return true;

	text = runops_remote_value(session, session->res, 0, column, failure);
	if (text == NULL)
		return false;
	owner->record = pstrdup(text);
	rest = owner->record;
	if (read_number(&rest, "claim=", 10, &owner->claim) &&
		read_number(&rest, "after=", 10, &owner->after))
	{
		/* the lock is taken only if the numbers are written as install() does */
		char	   *numbers = psprintf("claim=" INT64_FORMAT " after=" INT64_FORMAT " ",
									   owner->claim, owner->after);

		if (strncmp(owner->record, numbers, strlen(numbers)) == 0)
			owner->who = rest;
	}

	return true;
}

/*
 * Why a store with this record is not this control plane's, as a sentence.
 */
char *
runops_owner_reason(const RunopsOwnerQuestion *question, const RunopsOwner *owner)
{
	const char *who = owner->who;
	RunopsIdentity here;
	int64		sysid;
	int64		timeline;
	int64		place;

	if (who == NULL || !read_number(&who, "cluster=", 10, &sysid) ||
		!read_number(&who, "timeline=", 10, &timeline) ||
		!read_number(&who, "place=", 16, &place) ||
		strncmp(who, "database=", strlen("database=")) != 0)
		return psprintf(_("The comment on schema \"%s\" of the store is not a record of a control plane."),
						question->marker);

	who += strlen("database=");
	runops_local_identity(&here);
	if ((uint64) sysid == here.sysid && strcmp(who, here.database) == 0)
		return psprintf(_("The store belongs to a copy of this control plane, on timeline %u of its cluster; this server is on timeline %u."),
						(uint32) timeline, (uint32) GetWALInsertionTimeLine());

	return psprintf(_("The store belongs to the control plane in database \"%s\" of the cluster with system identifier " UINT64_FORMAT "."),
					who, (uint64) sysid);
}

/*
 * Run SQL that counts something in the store.
 */
static bool
ask_count(RemoteSession *session, const char *sql, int64 *count, RemoteFailure *failure)
{
	return runops_remote_try_query(session, sql, 1, failure) &&
		runops_remote_get_int64(session, 0, count, failure);
}

/*
 * SQL for the sessions that hold a lock on the claim, or on the key for a store
 * without a record.
 */
static char *
holders_sql(const RunopsOwnerQuestion *question, int64 claim)
{
	return psprintf(" FROM pg_catalog.pg_locks l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text"
					" AND l.database OPERATOR(pg_catalog.=) (SELECT b.oid FROM pg_catalog.pg_database b"
					" WHERE b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())"
					" AND l.objsubid OPERATOR(pg_catalog.=) 1::pg_catalog.int2 AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()"
					" AND (((l.classid::pg_catalog.int8) OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) (l.objid::pg_catalog.int8))"
					" OPERATOR(pg_catalog.=) ANY (ARRAY[(%s)::pg_catalog.int8, (%s)::pg_catalog.int8])",
					quote_literal_cstr(psprintf(INT64_FORMAT, claim)),
					quote_literal_cstr(psprintf(INT64_FORMAT, question->unclaimed)));
}

/*
 * Set the verdict that sessions of the former owner may be left.
 */
static void
set_former(RunopsProofState *state, int64 sessions)
{
	runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_FORMER,
					   psprintf(_("The former primary may still be connected to the store; number of sessions there that use or may use it: " INT64_FORMAT "."),
								sessions));
}

/*
 * Set the verdict that the store could not be taken over.
 */
static void
set_failed(RunopsProofState *state, const char *reason)
{
	runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_FORMER,
					   psprintf(_("The store could not be taken over from the former control plane: %s"), reason));
}

/*
 * Prove that no session of the former owner is left; see the top of the file.
 */
static void
prove_fenced(RemoteSession *session, const RunopsOwnerQuestion *question,
			 int64 former, RunopsProofState *state)
{
	RemoteFailure failure;
	int64		count;

	if (!ask_count(session,
				   psprintf("SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a"
							" WHERE a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()"
							" AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()"
							" AND pg_catalog.age(a.backend_xmin) OPERATOR(pg_catalog.>=) (SELECT pg_catalog.age(d.xmin)" RECORD_FROM "%s)",
							quote_literal_cstr(question->marker)),
				   &count, &failure))
		set_failed(state, failure.message);
	else if (count > 0)
		set_former(state, count);
	else if (!ask_count(session, psprintf("SELECT pg_catalog.count(*)%s", holders_sql(question, former)),
						&count, &failure))
		set_failed(state, failure.message);
	else if (count > 0)
		set_former(state, count);
}

/*
 * Replace the record, or create it; returns whether the store has it now.
 *
 * One statement does it, in a transaction of its own.  It does nothing unless
 * the record is still the one that was read.  It does nothing either if the
 * role may not create the schema: an error would be in the store's log whenever
 * the store is proved.  After a failure the session may only be closed.
 *
 * The statement must see what was committed before it got its lock, whatever
 * the default isolation level is there.
 *
 * claim is the one of the new record.  fence: only if no session has the lock
 * on the former claim.
 */
static bool
install(RemoteSession *session, const RunopsOwnerQuestion *question,
		const RunopsOwner *former, int64 claim, bool fence, RunopsOwner *owner,
		RemoteFailure *failure)
{
	char	   *marker = quote_literal_cstr(question->marker);
	char	   *record = psprintf("claim=" INT64_FORMAT " after=" INT64_FORMAT " %s", claim,
								  fence ? former->claim : (int64) 0, question->me);
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfo(&body,
					 "DECLARE r pg_catalog.text; BEGIN"
					 " PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);"
					 " IF NOT pg_catalog.pg_try_advisory_xact_lock(" INT64_FORMAT ") THEN RETURN; END IF;"
					 " SELECT d.description INTO r" RECORD_FROM "%s;"
					 " IF r IS DISTINCT FROM %s::pg_catalog.text THEN RETURN; END IF;",
					 marker_key(question->marker, 2), marker,
					 former->record ? quote_literal_cstr(former->record) : "NULL");
	if (fence && !session->pooled)
		appendStringInfo(&body, " IF pg_catalog.pg_backend_pid() <> %d THEN RETURN; END IF;",
						 PQbackendPID(session->conn));
	if (fence)
		appendStringInfo(&body,
						 " IF NOT pg_catalog.pg_try_advisory_xact_lock((%s)::pg_catalog.int8)"
						 " OR NOT pg_catalog.pg_try_advisory_xact_lock(" INT64_FORMAT ") THEN RETURN; END IF;",
						 quote_literal_cstr(psprintf(INT64_FORMAT, former->claim)),
						 question->unclaimed);
	appendStringInfo(&body,
					 " IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = %s) THEN"
					 " IF NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') THEN RETURN; END IF;"
					 " CREATE SCHEMA %s; END IF;"
					 " COMMENT ON SCHEMA %s IS %s; END",
					 marker, question->marker, question->marker, quote_literal_cstr(record));

	return runops_remote_try_query(session, "BEGIN ISOLATION LEVEL READ COMMITTED", 0, failure) &&
		runops_remote_try_query(session, psprintf("DO %s", quote_literal_cstr(body.data)), 0, failure) &&
		runops_remote_try_query(session, "COMMIT", 0, failure) &&
		runops_remote_try_query(session,
								psprintf("SELECT (SELECT d.description" RECORD_FROM "%s), NULL::pg_catalog.bool", marker),
								2, failure) &&
		runops_owner_answer(session, 0, owner, failure) &&
		owner->record != NULL && strcmp(owner->record, record) == 0;
}

/*
 * End the sessions of the former owner, as far as the role may.  This is not
 * needed for the decision, so failures are ignored.
 */
static void
end_former_sessions(RemoteSession *session, const RunopsOwnerQuestion *question, int64 former)
{
	RemoteFailure failure;
	int64		count;

	(void) ask_count(session,
					 psprintf("SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(x.pid)) FROM ("
							  "SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE a.pid IN (SELECT l.pid%s)"
							  " AND pg_catalog.pg_has_role(a.usesysid, 'MEMBER') OFFSET 0) AS x",
							  holders_sql(question, former)),
					 &count, &failure);
}

/*
 * Replace the record of the former owner.  Sets the verdict if that does not
 * succeed.
 *
 * claim is the one that the sessions of the former owner hold.  If somebody has
 * accepted this, they are ended, else there must be none.  The former record
 * may be our own, if it still waits for these sessions.
 */
static void
take_over(RemoteSession *session, const RunopsOwnerQuestion *question,
		  const RunopsOwner *former, int64 claim, bool accepted,
		  RunopsProofState *state)
{
	RunopsOwner owner = {0};
	RemoteFailure failure = {0};
	int64		count;

	/* the claim of our own sessions does not change */
	if (install(session, question, former,
				former->after != 0 && claim == former->after ? former->claim : random_claim(),
				!accepted, &owner, &failure))
	{
		state->identity.claim = owner.claim;
		if (accepted)
			end_former_sessions(session, question, claim);
		else
			prove_fenced(session, question, claim, state);
		return;
	}

	if (failure.message != NULL)
		set_failed(state, failure.message);
	else if (accepted)
		set_failed(state, _("Another session is changing the record, or the role may not change it."));
	else if (ask_count(session, psprintf("SELECT pg_catalog.count(*)%s", holders_sql(question, claim)),
					   &count, &failure) && count > 0)
		set_former(state, count);
	else
		set_failed(state, _("The sessions of the former primary cannot be counted, because a connection pooler is in between, or another session is changing the record."));
}

/*
 * Is the store this control plane's?  If not, set the verdict.  If nobody has
 * it, and the purpose allows it, record this control plane.
 *
 * The session must be in no transaction.
 */
void
runops_owner_check(RemoteSession *session, const RunopsProbeRequest *request,
				   const RunopsOwner *owner, RunopsProofState *state)
{
	const RunopsOwnerQuestion *question = &request->question;
	const RunopsOwnRecord *own = &request->own;
	RunopsOwner claimed;
	RemoteFailure failure;

	if (!question->applies)
		return;

	state->identity.claim = owner->claim;
	if (own->kind == RUNOPS_RECORD_OTHER && request->purpose != RUNOPS_PROBE_ACCEPT)
	{
		runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_IDENTITY, own->reason);
		state->may_succeed = own->same_cluster && owner->who != NULL &&
			strcmp(owner->who, own->who) == 0;
	}
	else if (owner->record == NULL)
	{
		if (request->purpose == RUNOPS_PROBE_CLAIM &&
			install(session, question, owner, random_claim(), false, &claimed, &failure))
			state->identity.claim = claimed.claim;
	}
	else if (owner->who != NULL && strcmp(owner->who, question->me) == 0)
	{
		if (owner->after != 0 && request->purpose == RUNOPS_PROBE_ACCEPT)
			take_over(session, question, owner, owner->after, true, state);
		else if (owner->after != 0)
			prove_fenced(session, question, owner->after, state);
	}
	else if (request->purpose == RUNOPS_PROBE_ACCEPT)
		state->owned = true;
	else if (own->kind == RUNOPS_RECORD_FITS && own->replaces && own->former == owner->claim)
		take_over(session, question, owner, owner->claim, own->accepted, state);
	else
		runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_OWNER,
						   runops_owner_reason(question, owner));
}
