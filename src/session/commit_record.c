/*-------------------------------------------------------------------------
 *
 * commit_record.c
 *	  Keeps which stores have committed a transaction that this database has
 *	  rolled back, and asks later for what is not known.
 *
 * The transaction that fails cannot write that down, because it is rolled back.
 * So it leaves a part for each store in shared memory.  A worker, or
 * resolve_commits(), copies the parts to the table commit_failure, and then
 * releases them.  What is left there is lost with a crash of this server, and
 * with a stop if no worker has run since.
 *
 * The parts of one transaction have the same number.  It is taken from the
 * clock, so that numbers are not used again after a restart.
 *
 * Lock:  RunopsShared->lock, see shmem.h.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "common/string.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "base/worker.h"
#include "gate/gate.h"
#include "session/engine_int.h"

/* Milliseconds for the question about one transaction. */
#define LATER_BUDGET 5000

/*
 * For so many days a token that is missing proves something; see write_token()
 * in frame.c.
 */
#define TOKEN_DAYS 6

/* Milliseconds between two workers while outcomes are unknown. */
#define FIRST_NAP 1000L
#define LONGEST_NAP 60000L

/* The number of columns of _pending_commits(). */
#define PENDING_COLS 10

PGDLLEXPORT void runops_commits_main(Datum arg);

PG_FUNCTION_INFO_V1(runops_pending_commits);
PG_FUNCTION_INFO_V1(runops_release_commit);
PG_FUNCTION_INFO_V1(runops_resolve_commits);

/* A transaction whose outcome is not known, as the table has it. */
typedef struct OpenCommit
{
	int64		id;
	char	   *server;
	char	   *role;
	RunopsRemoteXact xact;
} OpenCommit;

/* The numbers of the transactions that this one has copied to the table. */
static uint64 copied[RUNOPS_MAX_COMMIT_PARTS];
static int	ncopied = 0;

/*
 * Text of an outcome, as the table has it.
 */
static const char *
outcome_text(RunopsOutcome outcome)
{
	switch (outcome)
	{
		case RUNOPS_OUTCOME_COMMITTED:
			return "committed";
		case RUNOPS_OUTCOME_ROLLED_BACK:
			return "rolled back";
		case RUNOPS_OUTCOME_UNKNOWN:
			break;
	}

	return "unknown";
}

/*
 * Fill the next free part with what one store has done; returns false if there is
 * none.  The caller holds the lock.
 */
static bool
fill_part(uint64 id, const RunopsConn *c, RunopsOutcome outcome)
{
	RunopsCommitPart *part = NULL;
	ListCell   *lc;

	for (int i = 0; i < RUNOPS_MAX_COMMIT_PARTS && part == NULL; i++)
	{
		if (runops_shared->commits.parts[i].id == 0)
			part = &runops_shared->commits.parts[i];
	}
	if (part == NULL)
		return false;

	memset(part, 0, sizeof(RunopsCommitPart));
	part->id = id;
	part->dbid = MyDatabaseId;
	part->userid = c->session.user->userid;
	strlcpy(part->server, c->session.server->servername, NAMEDATALEN);
	part->outcome = outcome;
	part->failed_at = GetCurrentTimestamp();
	runops_conn_xact(c, &part->xact);
	foreach(lc, c->written)
	{
		if (part->ntables < RUNOPS_MAX_COMMIT_TABLES)
			part->tables[part->ntables++] = ((RunopsWritten *) lfirst(lc))->relid;
	}

	return true;
}

/*
 * Keep what the stores have done with a transaction.
 *
 * This is called while a transaction fails, so it raises nothing and looks at no
 * catalog.  What there is no room for, only the server's log tells.
 *
 * All parts get there at once: a worker releases all parts of a transaction that
 * it has copied.
 */
void
runops_commit_record(const RunopsStorePart *parts, int nparts)
{
	int			nkept = 0;
	uint64		id;

	if (runops_shared == NULL)
		return;
	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	id = Max(runops_shared->commits.last + 1, (uint64) GetCurrentTimestamp());
	runops_shared->commits.last = id;
	while (nkept < nparts && fill_part(id, parts[nkept].conn, parts[nkept].outcome))
		nkept++;
	runops_shared->commits.wanted = true;
	if (runops_shared->cleaner.launcher != NULL)
		SetLatch(runops_shared->cleaner.launcher);
	LWLockRelease(runops_shared->lock);

	for (int i = nkept; i < nparts; i++)
		ereport(LOG,
				(errmsg("could not keep the outcome of a transaction in server \"%s\": %s",
						parts[i].conn->session.server->servername, outcome_text(parts[i].outcome)),
				 errhint("Call runops.resolve_commits() in each database that has the extension.")));
}

/*
 * A copy of the parts of this database; their number is *n.
 */
static RunopsCommitPart *
pending_parts(int *n)
{
	RunopsCommitPart *parts = palloc_array(RunopsCommitPart, RUNOPS_MAX_COMMIT_PARTS);

	*n = 0;
	if (runops_shared == NULL)
		return parts;
	LWLockAcquire(runops_shared->lock, LW_SHARED);
	for (int i = 0; i < RUNOPS_MAX_COMMIT_PARTS; i++)
	{
		const RunopsCommitPart *part = &runops_shared->commits.parts[i];

		if (part->id != 0 && part->dbid == MyDatabaseId)
			parts[(*n)++] = *part;
	}
	LWLockRelease(runops_shared->lock);

	return parts;
}

/*
 * The foreign tables of a part, as an array of OIDs.
 */
static Datum
part_tables(const RunopsCommitPart *part)
{
	Datum		oids[RUNOPS_MAX_COMMIT_TABLES];

	for (int i = 0; i < part->ntables; i++)
		oids[i] = ObjectIdGetDatum(part->tables[i]);

	return PointerGetDatum(construct_array_builtin(oids, part->ntables, OIDOID));
}

/*
 * _pending_commits(): the parts of this database that are not in the table yet.
 */
Datum
runops_pending_commits(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RunopsCommitPart *parts;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	parts = pending_parts(&n);
	for (int i = 0; i < n; i++)
	{
		const RunopsCommitPart *part = &parts[i];
		Datum		values[PENDING_COLS] = {0};
		bool		nulls[PENDING_COLS] = {0};

		values[0] = Int64GetDatum((int64) part->id);
		values[1] = CStringGetTextDatum(part->server);
		values[2] = ObjectIdGetDatum(part->userid);
		values[3] = TimestampTzGetDatum(part->failed_at);
		values[4] = CStringGetTextDatum(outcome_text(part->outcome));
		values[5] = part_tables(part);
		values[6] = CStringGetTextDatum(psprintf(UINT64_FORMAT, part->xact.xid));
		nulls[6] = part->xact.xid == 0;
		values[7] = Int32GetDatum(part->xact.pid);
		values[8] = CStringGetTextDatum(psprintf("%s %s", part->xact.incarnation,
												 part->xact.sysid_known ? psprintf(UINT64_FORMAT, part->xact.sysid) : ""));
		values[9] = CStringGetTextDatum(psprintf(INT64_FORMAT " " INT64_FORMAT, part->xact.writer, part->xact.token));
		nulls[9] = part->xact.token == 0;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}

	return (Datum) 0;
}

/*
 * Transaction callback: release the parts that are in the table now.
 */
static void
release_copied(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && ncopied > 0)
	{
		LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
		for (int i = 0; i < RUNOPS_MAX_COMMIT_PARTS; i++)
		{
			RunopsCommitPart *part = &runops_shared->commits.parts[i];

			for (int j = 0; j < ncopied; j++)
			{
				if (part->id == copied[j])
					part->id = 0;
			}
		}
		LWLockRelease(runops_shared->lock);
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		ncopied = 0;
}

/*
 * Subtransaction callback: what was copied may be rolled back, so release
 * nothing.  It is copied again, which does no harm.
 */
static void
keep_copied(SubXactEvent event, SubTransactionId mySubid,
			SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		ncopied = 0;
}

/*
 * Release the parts of a transaction when this one has committed.
 */
static void
release_later(uint64 id)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(release_copied, NULL);
		RegisterSubXactCallback(keep_copied, NULL);
		registered = true;
	}
	/* what does not fit is copied again, which does no harm */
	if (ncopied < RUNOPS_MAX_COMMIT_PARTS)
		copied[ncopied++] = id;
}

/*
 * Copy the parts of this database to the table.
 */
static void
copy_pending(void)
{
	RunopsCommitPart *parts;
	int			n;

	parts = pending_parts(&n);
	if (n == 0)
		return;
	if (SPI_execute("SELECT runops._copy_commits()", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not copy the outcomes of transactions");
	for (int i = 0; i < n; i++)
		release_later(parts[i].id);
}

/*
 * _release_commit(id bigint): forget the parts of a transaction, when the
 * current one has committed.
 */
Datum
runops_release_commit(PG_FUNCTION_ARGS)
{
	if (runops_shared != NULL)
		release_later((uint64) PG_GETARG_INT64(0));

	PG_RETURN_VOID();
}

/*
 * Read a number out of a text; 0 if it is NULL.
 */
static uint64
text_number(const char *text)
{
	return text == NULL ? 0 : strtou64(text, NULL, 10);
}

/*
 * The transactions whose outcome is not known, with those just copied.
 */
static List *
open_commits(void)
{
	List	   *result = NIL;

	if (SPI_execute("SELECT c.id, c.server, c.role, c.xid, c.pid, c.run,"
					" CASE WHEN c.failed_at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.make_interval(days => " CppAsString2(TOKEN_DAYS) "))"
					" THEN c.token END FROM runops.commit_failure c"
					" WHERE c.outcome OPERATOR(pg_catalog.=) 'unknown' ORDER BY c.server, c.role, c.id", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the outcomes of transactions");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		OpenCommit *open = palloc0(sizeof(OpenCommit));
		char	   *run = SPI_getvalue(row, desc, 6);
		char	   *token = SPI_getvalue(row, desc, 7);
		char	   *space;

		open->id = (int64) strtoi64(SPI_getvalue(row, desc, 1), NULL, 10);
		open->server = SPI_getvalue(row, desc, 2);
		open->role = SPI_getvalue(row, desc, 3);
		open->xact.xid = text_number(SPI_getvalue(row, desc, 4));
		open->xact.pid = strtoint(SPI_getvalue(row, desc, 5), NULL, 10);
		space = run == NULL ? NULL : strchr(run, ' ');
		if (space != NULL)
		{
			*space = '\0';
			strlcpy(open->xact.incarnation, run, RUNOPS_INCARNATION_LEN);
			open->xact.sysid_known = space[1] != '\0';
			open->xact.sysid = text_number(space + 1);
		}
		if (token != NULL)
		{
			char	   *end;

			open->xact.writer = strtoi64(token, &end, 10);
			open->xact.token = strtoi64(end, NULL, 10);
		}
		result = lappend(result, open);
	}

	return result;
}

/*
 * Ask for the outcome of a transaction with the user mapping that it had used.
 *
 * *message is why that did not succeed, or NULL.
 */
static RunopsOutcome
ask_later(const OpenCommit *open, char **message)
{
	ForeignServer *server = GetForeignServerByName(open->server, true);
	Oid			userid = get_role_oid(open->role, true);
	RemoteSession session = {0};
	RemoteFailure failure = {0};
	RunopsOutcome outcome = RUNOPS_OUTCOME_UNKNOWN;
	bool		answered = false;

	*message = NULL;
	if (server != NULL && OidIsValid(userid))
		session.user = runops_remote_mapping(userid, server->serverid);
	if (session.user == NULL)
	{
		*message = psprintf(_("There is no user mapping for server \"%s\" and role \"%s\" any more."),
							open->server, open->role);
		return outcome;
	}
	session.server = server;
	session.store = server->servername;
	PG_TRY();
	{
		if (runops_remote_try_open(&session, &failure))
			outcome = runops_outcome_ask(session.conn, &open->xact,
										 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LATER_BUDGET), &answered);
		else
			*message = failure.detail ? psprintf("%s: %s", failure.message, failure.detail) :
				pstrdup(failure.message);
	}
	PG_FINALLY();
	{
		runops_remote_close(&session);
	}
	PG_END_TRY();
	if (outcome == RUNOPS_OUTCOME_UNKNOWN && *message == NULL)
		*message = pstrdup(open->xact.xid == 0 ?
						   _("The store has not told the number of the transaction.") :
						   !answered ? _("The store has not answered in time.") :
						   _("The store has answered, but its answer proves nothing."));

	return outcome;
}

/*
 * Write down what asking for a transaction has come to.
 */
static void
note_outcome(const OpenCommit *open, RunopsOutcome outcome, const char *message)
{
	Oid			types[] = {INT8OID, NAMEOID, NAMEOID, TEXTOID, TEXTOID};
	NameData	server;
	NameData	role;
	Datum		values[5];
	char		nulls[] = {' ', ' ', ' ', ' ', message == NULL ? 'n' : ' '};

	namestrcpy(&server, open->server);
	namestrcpy(&role, open->role);
	values[0] = Int64GetDatum(open->id);
	values[1] = NameGetDatum(&server);
	values[2] = NameGetDatum(&role);
	values[3] = CStringGetTextDatum(outcome_text(outcome));
	values[4] = message == NULL ? (Datum) 0 : CStringGetTextDatum(message);
	if (SPI_execute_with_args("UPDATE runops.commit_failure c SET outcome = $4, message = $5, asked_at = pg_catalog.clock_timestamp(),"
							  " known_at = CASE WHEN $4 OPERATOR(pg_catalog.<>) 'unknown' THEN pg_catalog.clock_timestamp() END"
							  " WHERE c.id OPERATOR(pg_catalog.=) $1 AND c.server OPERATOR(pg_catalog.=) $2"
							  " AND c.role OPERATOR(pg_catalog.=) $3 AND c.outcome OPERATOR(pg_catalog.=) 'unknown'",
							  lengthof(types), types, values, nulls, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not note the outcome of a transaction");
}

/*
 * Remove the transactions of which it is known for a week that no database has
 * committed them: nothing is left of them.
 */
static void
remove_harmless(void)
{
	if (SPI_execute("DELETE FROM runops.commit_failure c"
					" WHERE c.known_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.make_interval(days => 7))"
					" AND NOT EXISTS (SELECT FROM runops.commit_failure o WHERE o.id OPERATOR(pg_catalog.=) c.id"
					" AND o.outcome OPERATOR(pg_catalog.<>) 'rolled back')", false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not remove the outcomes of transactions");
}

/*
 * Copy what is in shared memory to the table, and ask for what is not known.
 * Returns how many outcomes stay unknown.
 *
 * A server that cannot be reached by a role is not asked for the role's other
 * transactions.  With the split off no store is asked.
 */
int64
runops_commits_resolve(void)
{
	List	   *all;
	ListCell   *lc;
	const OpenCommit *failed = NULL;
	int64		left = 0;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	copy_pending();
	remove_harmless();
	all = open_commits();
	foreach(lc, all)
	{
		OpenCommit *open = (OpenCommit *) lfirst(lc);
		RunopsOutcome outcome = RUNOPS_OUTCOME_UNKNOWN;
		char	   *message = NULL;

		CHECK_FOR_INTERRUPTS();
		if (!runops_gate_flag_off() &&
			(failed == NULL || strcmp(failed->server, open->server) != 0 ||
			 strcmp(failed->role, open->role) != 0))
		{
			outcome = ask_later(open, &message);
			note_outcome(open, outcome, message);
		}
		if (outcome == RUNOPS_OUTCOME_UNKNOWN)
		{
			failed = message == NULL ? failed : open;
			left++;
		}
	}
	SPI_finish();

	return left;
}

/*
 * resolve_commits(): see runops_commits_resolve().
 */
Datum
runops_resolve_commits(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(runops_commits_resolve());
}

/*
 * The worker: one transaction in the control plane's database.
 */
void
runops_commits_main(Datum arg)
{
	int64		left = 0;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "asking for the outcome of transactions of runops");
	if (OidIsValid(get_extension_oid("runops", true)) &&
		OidIsValid(get_relname_relid("commit_failure", get_namespace_oid(RUNOPS_SCHEMA, true))))
		left = runops_commits_resolve();
	PopActiveSnapshot();
	CommitTransactionCommand();

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	runops_shared->commits.left = left;
	LWLockRelease(runops_shared->lock);
}

/*
 * Start a worker if there is a reason: after the start of the server, when a
 * transaction has left something, and from time to time while an outcome is
 * unknown.  Returns the milliseconds after which the launcher must call this
 * again, unless it is woken before.
 *
 * dbid is the database to work in, or InvalidOid if there is none.
 */
long
runops_commits_manage(Oid dbid)
{
	static BackgroundWorkerHandle *handle = NULL;
	static TimestampTz due = 0; /* of the next worker; DT_NOEND: none */
	static long nap = FIRST_NAP;
	TimestampTz now = GetCurrentTimestamp();
	bool		wanted;
	int64		left;

	if (handle != NULL)
	{
		/* its end wakes the launcher */
		if (runops_worker_runs(&handle))
			return LONGEST_NAP;
		LWLockAcquire(runops_shared->lock, LW_SHARED);
		left = runops_shared->commits.left;
		LWLockRelease(runops_shared->lock);
		due = left == 0 ? DT_NOEND : TimestampTzPlusMilliseconds(now, nap);
		nap = Min(nap * 2, LONGEST_NAP);
	}
	if (RecoveryInProgress() || !OidIsValid(dbid))
	{
		due = 0;
		return LONGEST_NAP;
	}

	LWLockAcquire(runops_shared->lock, LW_EXCLUSIVE);
	wanted = runops_shared->commits.wanted;
	if (wanted)
		nap = FIRST_NAP;
	if (wanted || due <= now)
	{
		runops_shared->commits.wanted = false;
		runops_shared->commits.left = -1;
	}
	LWLockRelease(runops_shared->lock);
	if (wanted || due <= now)
	{
		handle = runops_start_worker("commits", BgWorkerStart_RecoveryFinished, dbid);
		due = TimestampTzPlusMilliseconds(now, LONGEST_NAP);
	}

	return handle != NULL || due == DT_NOEND ? LONGEST_NAP :
		TimestampDifferenceMilliseconds(now, due);
}
