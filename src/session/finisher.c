/*-------------------------------------------------------------------------
 *
 * finisher.c
 *	  Finishes the transactions that a crash or a lost connection has left
 *	  prepared in stores.
 *
 * One pass asks each store that takes part in two-phase commits for the
 * transactions of this database that are prepared there.  For each of them, in
 * this order:
 *
 * 1. If the local transaction is running, nothing is decided yet.
 * 2. A new snapshot is taken.  So it shows what that transaction has committed.
 * 3. If it shows the row of commit_decision, the transaction is committed in the
 *    store, else it is rolled back.
 *
 * A backend that ends its own transaction does the same thing at the same time.
 * Whoever is second learns that the prepared transaction does not exist.
 *
 * A row is deleted when its transaction is not prepared in any of its stores any
 * more, and some time after that.  A store that fails over to a standby which
 * lags behind can have a transaction again that was finished before.  Until the
 * row is deleted, it is finished once more.
 *
 * Only one pass runs at a time, by a lock on a table.  Every connection goes
 * through the gate.  So a copy of this database cannot finish the transactions
 * of the original.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "catalog/pg_user_mapping.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/as_owner.h"
#include "base/compat.h"
#include "base/shmem.h"
#include "gate/gate.h"
#include "remote/remote.h"
#include "session/engine_int.h"
#include "session/session_int.h"
#include "topology/topology.h"

/* Milliseconds that a row is kept at least. */
#define KEEP_DECISION 300000

/* The rows that one pass deletes at most. */
#define MAX_DELETED 20000

/* The transactions of all control planes that are prepared in this database. */
#define LIST_SQL \
	"SELECT coalesce(pg_catalog.string_agg(x.gid, ' '), '') FROM pg_catalog.pg_prepared_xacts x" \
	" WHERE x.database OPERATOR(pg_catalog.=) pg_catalog.current_database()" \
	" AND pg_catalog.starts_with(x.gid, '" RUNOPS_GID_START "')"

/* What is to be done with a prepared transaction. */
typedef enum Decision
{
	DECISION_RUNNING,
	DECISION_COMMIT,
	DECISION_ROLLBACK,
	DECISION_FOREIGN			/* it belongs to another database */
} Decision;

/* A prepared transaction in a store. */
typedef struct Prepared
{
	char	   *gid;
	char	   *transaction;	/* the key of its row; NULL if it has none */
	FullTransactionId fxid;		/* of the local transaction */
	Oid			roleid;			/* whose user mapping it was prepared with */
	bool		running;
	bool		decided;		/* is there a row? */
	bool		finished;
} Prepared;

/* A row of commit_decision that is old enough to be deleted. */
typedef struct OldRow
{
	ItemPointerData tid;
	List	   *stores;
	List	   *gids;
	bool		in_use;			/* is one of them prepared, or not known? */
} OldRow;

/* A pass. */
typedef struct Pass
{
	Oid			relid;			/* commit_decision */
	bool		log;			/* log what was done? */
	int			finished;
	int			left;
	char	   *prefix;			/* of the names of this database */
	List	   *old;			/* of OldRow * */
	List	   *asked;			/* names of the stores that have answered */
} Pass;

PG_FUNCTION_INFO_V1(runops_finish_prepared);
PG_FUNCTION_INFO_V1(runops_prepared_decision);
PG_FUNCTION_INFO_V1(runops_two_phase_stats);

/*
 * The elements of a text array, as a list of strings.
 */
static List *
array_texts(Datum array)
{
	List	   *texts = NIL;
	Datum	   *elems;
	int			nelems;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &elems, NULL, &nelems);
	for (int i = 0; i < nelems; i++)
		texts = lappend(texts, TextDatumGetCString(elems[i]));

	return texts;
}

/*
 * Is a string in a list of strings?
 */
static bool
has_text(List *texts, const char *text)
{
	ListCell   *lc;

	foreach(lc, texts)
	{
		if (strcmp((char *) lfirst(lc), text) == 0)
			return true;
	}

	return false;
}

/*
 * Read a number up to the character "end", and move on behind it; returns false
 * if there is something else.
 */
static bool
read_number(const char **text, int base, char end, uint64 *value)
{
	char	   *stop;

	if (!isxdigit((unsigned char) **text))
		return false;
	errno = 0;
	*value = strtou64(*text, &stop, base);
	if (errno != 0 || *stop != end)
		return false;
	*text = stop + (end == '\0' ? 0 : 1);

	return true;
}

/*
 * Read the parts of the name of a prepared transaction that this database has
 * made: prefix, transaction number, random number, server and role; returns
 * false for any other name.
 */
static bool
parse_gid(Pass *pass, char *gid, Prepared *p)
{
	int			len = strlen(pass->prefix);
	const char *text = gid + len;
	uint64		fxid;
	uint64		random;
	uint64		serverid;
	uint64		roleid;
	const char *key_end;

	memset(p, 0, sizeof(Prepared));
	p->gid = gid;
	if (strncmp(gid, pass->prefix, len) != 0 ||
		!read_number(&text, 10, '_', &fxid) ||
		!read_number(&text, 16, '_', &random))
		return false;
	key_end = text - 1;
	if (!read_number(&text, 10, '_', &serverid) ||
		!read_number(&text, 10, '\0', &roleid) || roleid > PG_UINT32_MAX)
		return false;
	p->fxid = FullTransactionIdFromU64(fxid);
	p->roleid = (Oid) roleid;
	p->transaction = pnstrdup(gid + len, key_end - (gid + len));

	return true;
}

/*
 * Is the local transaction of this number running?
 *
 * A number that was not given out yet, or is too old to be looked up, is one of
 * before a crash.
 */
static bool
is_running(FullTransactionId fxid)
{
	FullTransactionId next = ReadNextFullTransactionId();

	if (!FullTransactionIdIsNormal(fxid) || !FullTransactionIdPrecedes(fxid, next) ||
		U64FromFullTransactionId(next) - U64FromFullTransactionId(fxid) > MaxTransactionId / 2)
		return false;

	return TransactionIdIsInProgress(XidFromFullTransactionId(fxid));
}

/*
 * Find out what is decided over prepared transactions, of Prepared *.
 */
static void
look_up_decisions(Pass *pass, List *prepared)
{
	Relation	rel = table_open(pass->relid, AccessShareLock);
	TupleDesc	tupdesc = RelationGetDescr(rel);
	Snapshot	snapshot;
	SysScanDesc scan;
	HeapTuple	tuple;
	ListCell   *lc;

	/* the order matters: see the top of the file */
	foreach(lc, prepared)
	{
		Prepared   *p = (Prepared *) lfirst(lc);

		p->running = is_running(p->fxid);
	}
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		text	   *key = DatumGetTextPP(heap_getattr(tuple, RUNOPS_ANUM_DECISION_TRANSACTION,
													  tupdesc, &isnull));

		foreach(lc, prepared)
		{
			Prepared   *p = (Prepared *) lfirst(lc);

			if (VARSIZE_ANY_EXHDR(key) == strlen(p->transaction) &&
				memcmp(VARDATA_ANY(key), p->transaction, strlen(p->transaction)) == 0)
				p->decided = true;
		}
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

/*
 * What is to be done with a prepared transaction, once it was looked up?
 */
static Decision
decision_of(const Prepared *p)
{
	if (p->decided)
		return DECISION_COMMIT;

	return p->running ? DECISION_RUNNING : DECISION_ROLLBACK;
}

/*
 * Collect the rows that are old enough to be deleted, before the stores are
 * asked: what is committed in this database was prepared before.
 */
static void
collect_old_rows(Pass *pass)
{
	Relation	rel = table_open(pass->relid, AccessShareLock);
	TupleDesc	tupdesc = RelationGetDescr(rel);
	TimestampTz limit = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -(int64) KEEP_DECISION);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;

	while (list_length(pass->old) < MAX_DELETED &&
		   HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		OldRow	   *row;

		if (DatumGetTimestampTz(heap_getattr(tuple, RUNOPS_ANUM_DECISION_DECIDED_AT,
											 tupdesc, &isnull)) > limit)
			continue;
		row = palloc0(sizeof(OldRow));
		row->tid = tuple->t_self;
		row->stores = array_texts(heap_getattr(tuple, RUNOPS_ANUM_DECISION_STORES, tupdesc, &isnull));
		row->gids = array_texts(heap_getattr(tuple, RUNOPS_ANUM_DECISION_GIDS, tupdesc, &isnull));
		pass->old = lappend(pass->old, row);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

/*
 * Delete the old rows whose stores have all answered, and have the transaction
 * prepared no more.  A store that was dropped has no say.
 */
static void
delete_old_rows(Pass *pass)
{
	Relation	rel = table_open(pass->relid, RowExclusiveLock);
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, pass->old)
	{
		OldRow	   *row = (OldRow *) lfirst(lc);

		foreach(lc2, row->stores)
		{
			if (runops_store_exists((char *) lfirst(lc2), false) &&
				!has_text(pass->asked, (char *) lfirst(lc2)))
				row->in_use = true;
		}
		if (!row->in_use)
			simple_heap_delete(rel, &row->tid);
	}
	table_close(rel, NoLock);
}

/*
 * The user mapping for asking a store: the caller's or PUBLIC's, or else any.
 */
static UserMapping *
asking_mapping(Oid serverid)
{
	UserMapping *user = runops_remote_mapping(GetUserId(), serverid);
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			roleid = InvalidOid;

	if (user != NULL || !superuser())
		return user;

	rel = table_open(UserMappingRelationId, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_user_mapping mapping = (Form_pg_user_mapping) GETSTRUCT(tuple);

		if (mapping->umserver == serverid)
			roleid = mapping->umuser;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return OidIsValid(roleid) ? GetUserMapping(roleid, serverid) : NULL;
}

/*
 * Connect to a store with a user mapping, and ask the connection which database
 * it has reached.  Raises if that fails.
 */
static RemoteSession *
connect_store(const RunopsStore *store, UserMapping *user)
{
	RemoteSession *session = palloc0(sizeof(RemoteSession));

	session->store = pstrdup(store->store);
	session->server = GetForeignServer(store->serverid);
	session->user = user;
	session->application = "runops finisher";
	PG_TRY();
	{
		runops_remote_open(session);
		runops_conn_ask(session);
	}
	PG_CATCH();
	{
		runops_remote_close(session);
		PG_RE_THROW();
	}
	PG_END_TRY();

	return session;
}

/*
 * Finish one prepared transaction; returns false, with the failure, if the
 * store does not do it.
 */
static bool
finish_one(Pass *pass, const RunopsStore *store, RemoteSession *session, Prepared *p,
		   RemoteFailure *failure)
{
	bool		commit = p->decided;
	char	   *sql = psprintf("%s PREPARED %s", commit ? "COMMIT" : "ROLLBACK",
							   quote_literal_cstr(p->gid));

	(void) runops_remote_set_deadline(session);
	if (!runops_remote_try_query(session, sql, 0, failure))
	{
		/* its backend was first */
		p->finished = failure->sqlerrcode == ERRCODE_UNDEFINED_OBJECT;
		return p->finished;
	}
	p->finished = true;
	pass->finished++;
	if (runops_shared != NULL)
		pg_atomic_fetch_add_u64(&runops_shared->finisher.counters[commit ? RUNOPS_TWO_PHASE_FINISHED_COMMIT : RUNOPS_TWO_PHASE_FINISHED_ROLLBACK], 1);
	if (pass->log)
		ereport(LOG,
				(commit ?
				 errmsg("committed prepared transaction \"%s\" in store \"%s\"", p->gid, store->store) :
				 errmsg("rolled back prepared transaction \"%s\" in store \"%s\"", p->gid, store->store)));

	return true;
}

/*
 * Finish the prepared transactions that were prepared with one role's mapping.
 * Raises if that fails.
 *
 * If the role or its mapping was dropped, the session that has asked the store
 * tries it.
 */
static void
finish_of_role(Pass *pass, const RunopsStore *store, RemoteSession *asking, Oid roleid,
			   List *prepared)
{
	UserMapping *user = SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(roleid)) ?
		runops_remote_mapping(roleid, store->serverid) : NULL;
	RemoteSession *session = user == NULL || user->umid == asking->user->umid ?
		asking : connect_store(store, user);
	RemoteFailure failure;
	bool		ok = true;
	ListCell   *lc;

	PG_TRY();
	{
		foreach(lc, prepared)
		{
			Prepared   *p = (Prepared *) lfirst(lc);
			RemoteFailure later;

			if (p->roleid != roleid || decision_of(p) == DECISION_RUNNING)
				continue;
			if (!finish_one(pass, store, session, p, ok ? &failure : &later))
				ok = false;
			if (PQstatus(session->conn) != CONNECTION_OK)
				break;
		}
	}
	PG_FINALLY();
	{
		if (session != asking)
			runops_remote_close(session);
	}
	PG_END_TRY();

	if (!ok)
		runops_remote_raise(&failure);
}

/*
 * The names in the answer of a store, of Prepared *; notes which old rows are
 * still in use.
 */
static List *
read_list(Pass *pass, char *answer)
{
	List	   *prepared = NIL;
	char	   *save = NULL;
	ListCell   *lc;

	for (char *gid = strtok_r(answer, " ", &save); gid != NULL; gid = strtok_r(NULL, " ", &save))
	{
		Prepared   *p = palloc(sizeof(Prepared));

		foreach(lc, pass->old)
		{
			OldRow	   *row = (OldRow *) lfirst(lc);

			if (has_text(row->gids, gid))
				row->in_use = true;
		}
		if (parse_gid(pass, gid, p))
			prepared = lappend(prepared, p);
	}

	return prepared;
}

/*
 * Ask one store, and finish what it has.  Raises if that fails.
 */
static void
finish_in_store(Pass *pass, const RunopsStore *store)
{
	UserMapping *user;
	RemoteSession *asking;
	List	   *volatile prepared = NIL;
	List	   *roles = NIL;
	ListCell   *lc;

	runops_gate_require_settings(store->store, NULL);
	user = asking_mapping(store->serverid);
	if (user == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("user mapping not found for \"%s\"",
						GetUserNameFromId(GetUserId(), false)),
				 errdetail("Store \"%s\" is reached through server \"%s\".",
						   store->store, store->server),
				 errhint("Create one with CREATE USER MAPPING.")));
	runops_gate_require_server(store->serverid, user->userid, store->store, NULL);

	asking = connect_store(store, user);
	PG_TRY();
	{
		RemoteFailure failure;
		char	   *answer;

		(void) runops_remote_set_deadline(asking);
		if (!runops_remote_try_query(asking, LIST_SQL, 1, &failure))
			runops_remote_raise(&failure);
		answer = runops_remote_value(asking, asking->res, 0, 0, &failure);
		if (answer == NULL)
			runops_remote_raise(&failure);
		prepared = read_list(pass, pstrdup(answer));
		if (prepared != NIL)
			look_up_decisions(pass, prepared);
		foreach(lc, prepared)
			roles = list_append_unique_oid(roles, ((Prepared *) lfirst(lc))->roleid);
		foreach(lc, roles)
			finish_of_role(pass, store, asking, lfirst_oid(lc), prepared);
	}
	PG_FINALLY();
	{
		runops_remote_close(asking);
		foreach(lc, prepared)
		{
			if (!((Prepared *) lfirst(lc))->finished)
				pass->left++;
		}
	}
	PG_END_TRY();
	pass->asked = lappend(pass->asked, pstrdup(store->store));
}

/*
 * Note the error of a store for the view, or that it has none.
 *
 * The row is written as the owner of the extension, and only if something
 * changes.
 */
static void
note_error(const RunopsStore *store, const ErrorData *edata)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	char		nulls[2] = {' ', edata == NULL ? 'n' : ' '};
	RunopsAsOwner saved;

	values[0] = CStringGetTextDatum(store->store);
	values[1] = edata == NULL ? (Datum) 0 : CStringGetTextDatum(edata->message);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	runops_as_owner_begin(&saved, runops_extension_owner());
	if (SPI_execute_with_args("DELETE FROM runops.finisher_error e WHERE e.store OPERATOR(pg_catalog.=) $1"
							  " AND ($2 IS NULL OR e.message OPERATOR(pg_catalog.<>) $2)",
							  2, types, values, nulls, false, 0) != SPI_OK_DELETE ||
		(edata != NULL &&
		 SPI_execute_with_args("INSERT INTO runops.finisher_error VALUES ($1, $2, pg_catalog.clock_timestamp())"
							   " ON CONFLICT DO NOTHING",
							   2, types, values, nulls, false, 0) != SPI_OK_INSERT))
		elog(ERROR, "could not note the error of a store");
	runops_as_owner_end(&saved);
	SPI_finish();
}

/*
 * The same as finish_in_store(), in a subtransaction; an error is noted.
 */
static void
try_store(Pass *pass, const RunopsStore *store)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile edata = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		finish_in_store(pass, store);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;

	if (edata != NULL && runops_cancelled_here(edata))
		ReThrowError(edata);
	if (edata != NULL)
	{
		pass->left++;
		ereport(pass->log ? LOG : WARNING,
				(errcode(edata->sqlerrcode),
				 errmsg("could not finish the prepared transactions in store \"%s\"", store->store),
				 errdetail("%s%s%s", edata->message, edata->detail ? ": " : ".",
						   edata->detail ? edata->detail : "")));
	}
	note_error(store, edata);
}

/*
 * Does a store take part in two-phase commits, or has it done so?
 *
 * With the option set to false no new transaction is prepared there.
 */
static bool
has_option(Oid serverid)
{
	ListCell   *lc;

	foreach(lc, GetForeignServer(serverid)->options)
	{
		if (strcmp(((DefElem *) lfirst(lc))->defname, "two_phase") == 0)
			return true;
	}

	return false;
}

/*
 * Finish the prepared transactions of one store, or of all if name is NULL.
 * Returns how many were finished.  *left tells whether something was left, or is
 * not known.
 *
 * Does nothing, and tells that something is left, if another pass is running and
 * wait is false.
 */
int
runops_finish_pass(const char *name, bool wait, bool log, bool *left)
{
	Pass		pass = {.log = log};
	Oid			lock = runops_config_table_oid("finisher_error");
	ListCell   *lc;

	*left = true;
	if (wait)
		LockRelationOid(lock, ShareRowExclusiveLock);
	else if (!ConditionalLockRelationOid(lock, ShareRowExclusiveLock))
		return 0;

	pass.relid = runops_config_table_oid("commit_decision");
	pass.prefix = runops_two_phase_prefix();
	if (name == NULL)
		collect_old_rows(&pass);
	foreach(lc, runops_stores())
	{
		RunopsStore *store = (RunopsStore *) lfirst(lc);
		bool		named = false;
		ListCell   *lc2;

		if (!OidIsValid(store->serverid) || (name != NULL && strcmp(name, store->store) != 0))
			continue;
		foreach(lc2, pass.old)
		{
			if (has_text(((OldRow *) lfirst(lc2))->stores, store->store))
				named = true;
		}
		if (name != NULL || named || has_option(store->serverid))
			try_store(&pass, store);
	}
	if (pass.old != NIL)
		delete_old_rows(&pass);
	*left = pass.left > 0;

	return pass.finished;
}

/*
 * finish_prepared(store text): finish the prepared transactions of a store, or
 * of all stores, that this database has left there; returns their number.
 */
Datum
runops_finish_prepared(PG_FUNCTION_ARGS)
{
	char	   *store = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		left;

	PreventCommandIfReadOnly(RUNOPS_SCHEMA ".finish_prepared()");
	if (store != NULL)
		(void) runops_store_server(store);

	PG_RETURN_INT64(runops_finish_pass(store, true, false, &left));
}

/*
 * _prepared_decision(gid text): "running", "commit" or "rollback" for the name
 * of a transaction that this database has prepared in a store; NULL for any
 * other name.
 */
Datum
runops_prepared_decision(PG_FUNCTION_ARGS)
{
	Pass		pass = {0};
	Prepared	p;

	pass.prefix = runops_two_phase_prefix();
	pass.relid = runops_config_table_oid("commit_decision");
	if (!parse_gid(&pass, text_to_cstring(PG_GETARG_TEXT_PP(0)), &p))
		PG_RETURN_NULL();
	look_up_decisions(&pass, list_make1(&p));

	PG_RETURN_TEXT_P(cstring_to_text(decision_of(&p) == DECISION_COMMIT ? "commit" :
									 decision_of(&p) == DECISION_RUNNING ? "running" : "rollback"));
}

/*
 * _two_phase_stats(): the counters since the server was started, as one row; no
 * row unless the library was preloaded.
 */
Datum
runops_two_phase_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[RUNOPS_TWO_PHASE_NCOUNTERS];
	bool		nulls[RUNOPS_TWO_PHASE_NCOUNTERS] = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (runops_shared == NULL)
		return (Datum) 0;
	for (int i = 0; i < RUNOPS_TWO_PHASE_NCOUNTERS; i++)
		values[i] = Int64GetDatum(pg_atomic_read_u64(&runops_shared->finisher.counters[i]));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);

	return (Datum) 0;
}
