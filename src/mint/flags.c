/*-------------------------------------------------------------------------
 *
 * flags.c
 *	  Decides the kind of a new root from the switch, the gate and the flags,
 *	  and caches the flags in each backend.
 *
 * At any instant every session finds the same flag in effect.  A flip takes
 * effect at a time that is stored in its row, and not when a session learns of
 * it.  set_mint_kind() puts that time so far ahead that all sessions have
 * learned of the flip before (flip.c).  All sessions of a server read the same
 * clock.
 *
 * The rows are read by index scans with a current snapshot.  The transaction's
 * snapshot may be old and would show old flags; and a role that mints needs no
 * privilege on the table.  A backend reads a row once.  Then it remembers the
 * row, or that there is none, until the table is written
 * (topology/config_cache.c).  Before each use the backend processes
 * invalidations.
 *
 * No failure here may keep a run from being triggered.  So errors are caught,
 * which needs a subtransaction; using a remembered flag needs none.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/guc.h"
#include "gate/gate.h"
#include "mint/mint_int.h"
#include "topology/topology.h"

/* columns of mint_config, in the order of 60-mint.sql, and its index on org */
#define Anum_mint_config_org 1
#define Anum_mint_config_kind 2
#define Anum_mint_config_previous 3
#define Anum_mint_config_flipped_at 4
#define Anum_mint_config_effective_at 5
#define MINT_CONFIG_INDEX "mint_config_org_key"

/* If a backend has met more organizations than this, it empties its cache. */
#define MAX_FLAGS 10000

/* A longer name is not the name of an organization, and is not remembered. */
#define MAX_ORG_LEN 255

/* An organization; org is NULL for the global flag. */
typedef struct FlagKey
{
	const char *org;
	size_t		len;
} FlagKey;

typedef struct FlagEntry
{
	FlagKey		key;			/* hash key, first */
	RunopsMintFlag flag;
} FlagEntry;

/* number of store names for new ids: a digit, a letter, or "new" */
#define NSTORES (10 + 26 + 1)

static void forget_flags(void);
static void forget_servers(void);

static RunopsConfigCache flag_table = {.table = "mint_config", .forget = forget_flags};
static RunopsConfigCache store_table = {.table = "store_config", .forget = forget_servers};

/* The remembered flags; both are NULL if there are none. */
static MemoryContext flags_cxt = NULL;
static HTAB *flags = NULL;
static uint64 flags_forgotten = 0;	/* counts how often they were */

/* The server of each store; InvalidOid for none. */
static Oid	servers[NSTORES];
static bool servers_valid = false;
static uint64 servers_forgotten = 0;

PG_FUNCTION_INFO_V1(runops_mint_kind_at);

/*
 * Config cache callback: forget all flags, because the table was written.
 *
 * The next lookup frees the memory.
 */
static void
forget_flags(void)
{
	flags = NULL;
	flags_forgotten++;
}

/*
 * Config cache callback: forget the server of each store.
 */
static void
forget_servers(void)
{
	servers_valid = false;
	servers_forgotten++;
}

/*
 * Syscache callback: a server was altered, renamed or dropped.
 */
static void
server_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	forget_servers();
}

/*
 * Hash function for the key of an organization.
 */
static uint32
hash_flag_key(const void *key, Size keysize)
{
	const FlagKey *k = key;

	return k->org == NULL ? 0 : hash_bytes((const unsigned char *) k->org, k->len);
}

/*
 * Comparison function for the keys of two organizations; 0 if they are equal.
 */
static int
match_flag_key(const void *key1, const void *key2, Size keysize)
{
	const FlagKey *a = key1;
	const FlagKey *b = key2;

	if (a->org == NULL || b->org == NULL)
		return a->org != b->org;

	return a->len != b->len || memcmp(a->org, b->org, a->len) != 0;
}

/*
 * The hash key of an organization; NULL stands for the global flag.
 */
static FlagKey
flag_key(text *org)
{
	FlagKey		key = {NULL, 0};

	if (org != NULL)
	{
		key.org = VARDATA_ANY(org);
		key.len = VARSIZE_ANY_EXHDR(org);
	}

	return key;
}

/*
 * The kind in a column of mint_config; RUNOPS_MINT_NONE if it is NULL.
 */
static RunopsMintKind
kind_column(HeapTuple tuple, TupleDesc tupdesc, int attnum)
{
	bool		isnull;
	Datum		datum = heap_getattr(tuple, attnum, tupdesc, &isnull);
	RunopsMintKind kind = RUNOPS_MINT_NONE;

	if (!isnull && !runops_mint_parse(DatumGetTextPP(datum), &kind))
		elog(ERROR, "invalid kind in \"%s.%s\"", RUNOPS_SCHEMA, flag_table.table);

	return kind;
}

/*
 * The time in a column of mint_config.
 */
static TimestampTz
time_column(HeapTuple tuple, TupleDesc tupdesc, int attnum, TimestampTz if_null)
{
	bool		isnull;
	Datum		datum = heap_getattr(tuple, attnum, tupdesc, &isnull);

	return isnull ? if_null : DatumGetTimestampTz(datum);
}

/*
 * Read the current row of an organization, or the global row for NULL.
 */
void
runops_mint_read_flag(text *org, RunopsMintFlag *flag)
{
	Relation	rel = runops_config_cache_open(&flag_table);
	TupleDesc	tupdesc = RelationGetDescr(rel);
	Oid			indexid = get_relname_relid(MINT_CONFIG_INDEX, RelationGetNamespace(rel));
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(indexid))
		elog(ERROR, "index \"%s.%s\" does not exist", RUNOPS_SCHEMA, MINT_CONFIG_INDEX);

	memset(flag, 0, sizeof(RunopsMintFlag));
	if (org != NULL)
		ScanKeyInit(&key, Anum_mint_config_org, BTEqualStrategyNumber,
					F_TEXTEQ, PointerGetDatum(org));
	else
		ScanKeyEntryInitialize(&key, SK_ISNULL | SK_SEARCHNULL, Anum_mint_config_org,
							   InvalidStrategy, InvalidOid, InvalidOid, InvalidOid, (Datum) 0);

	scan = systable_beginscan(rel, indexid, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		flag->found = true;
		flag->own = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
		flag->kind = kind_column(tuple, tupdesc, Anum_mint_config_kind);
		flag->previous = kind_column(tuple, tupdesc, Anum_mint_config_previous);
		flag->flipped_at = time_column(tuple, tupdesc, Anum_mint_config_flipped_at, DT_NOBEGIN);
		flag->effective_at = time_column(tuple, tupdesc, Anum_mint_config_effective_at, DT_NOEND);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Get a remembered flag; returns false if it is not remembered.
 */
static bool
remembered_flag(text *org, RunopsMintFlag *flag)
{
	FlagKey		key = flag_key(org);
	FlagEntry  *entry = flags ? hash_search(flags, &key, HASH_FIND, NULL) : NULL;

	if (entry == NULL)
		return false;
	*flag = entry->flag;

	return true;
}

/*
 * Read a flag and remember it.
 */
static void
look_up_flag(text *org, RunopsMintFlag *flag)
{
	uint64		forgotten = flags_forgotten;
	FlagKey		key = flag_key(org);
	FlagEntry  *entry;

	if (remembered_flag(org, flag))
		return;

	runops_mint_read_flag(org, flag);
	if (forgotten != flags_forgotten || key.len > MAX_ORG_LEN)
		return;					/* it may be outdated already, or too long */

	if (flags != NULL && hash_get_num_entries(flags) >= MAX_FLAGS)
		flags = NULL;
	if (flags == NULL)
	{
		HASHCTL		ctl = {0};

		if (flags_cxt == NULL)
			flags_cxt = AllocSetContextCreate(CacheMemoryContext, "runops mint flags",
											  ALLOCSET_DEFAULT_SIZES);
		MemoryContextReset(flags_cxt);
		ctl.keysize = sizeof(FlagKey);
		ctl.entrysize = sizeof(FlagEntry);
		ctl.hash = hash_flag_key;
		ctl.match = match_flag_key;
		ctl.hcxt = flags_cxt;
		flags = hash_create("runops mint flags", 64, &ctl,
							HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	}
	if (org != NULL)
	{
		char	   *copy = MemoryContextAlloc(flags_cxt, key.len + 1);

		memcpy(copy, key.org, key.len);
		key.org = copy;
	}
	entry = hash_search(flags, &key, HASH_ENTER, NULL);
	entry->flag = *flag;
}

/*
 * The time from which the kind of a flag is in effect, instead of the previous
 * one.
 *
 * If the grace is shorter now than at the flip, the shorter one counts at
 * once; a longer one does not bring the previous kind back.
 *
 * A flip is not in effect before it is committed; flip.c refuses a commit that
 * would be too late.  Without a grace no session depends on the stored time,
 * and a transaction sees the flip that it has written.
 */
TimestampTz
runops_mint_due(const RunopsMintFlag *flag)
{
	int64		due;

	if (!flag->found || flag->previous.kind == RUNOPS_ID_NONE || flag->flipped_at == DT_NOBEGIN)
		return DT_NOBEGIN;
	if (flag->own && runops_mint_flip_grace > 0)
		return DT_NOEND;
	if (pg_add_s64_overflow(flag->flipped_at, INT64CONST(1000) * runops_mint_flip_grace, &due))
		due = DT_NOEND;

	return Min(due, flag->effective_at);
}

/*
 * The kind of a flag at an instant; "below" is the kind if the flag has none.
 */
RunopsMintKind
runops_mint_flag_at(const RunopsMintFlag *flag, RunopsMintKind below, TimestampTz at)
{
	if (!flag->found)
		return below;
	if (at < runops_mint_due(flag))
		return flag->previous;

	return flag->kind.kind == RUNOPS_ID_NONE ? below : flag->kind;
}

/*
 * The index in servers[] of the store that ids of a kind name.
 */
static int
store_number(RunopsMintKind kind)
{
	if (kind.kind != RUNOPS_ID_SHARD)
		return NSTORES - 1;

	return kind.shard <= '9' ? kind.shard - '0' : kind.shard - 'a' + 10;
}

/*
 * Look up the server of each store.
 */
static void
look_up_servers(void)
{
	static bool registered = false;
	uint64		forgotten = servers_forgotten;
	ListCell   *lc;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(FOREIGNSERVEROID, server_callback, (Datum) 0);
		registered = true;
	}
	/* register the cache to be called when the table is written */
	table_close(runops_config_cache_open(&store_table), AccessShareLock);

	memset(servers, 0, sizeof(servers));
	foreach(lc, runops_stores())
	{
		RunopsStore *store = (RunopsStore *) lfirst(lc);
		RunopsMintKind kind = {RUNOPS_ID_SHARD, store->store[0]};

		if (strcmp(store->store, RUNOPS_NEW_STORE) == 0)
			kind.kind = RUNOPS_ID_KSUID;
		else if (store->store[1] != '\0')
			continue;			/* legacy */
		servers[store_number(kind)] = store->serverid;
	}
	servers_valid = forgotten == servers_forgotten;
}

/*
 * Apply the gate to the kind that the flags of a root give: a cuid unless the
 * gate to the store of that kind is open.  No store is asked; a store without
 * a standing proof is closed.
 */
static RunopsMintKind
past_the_gate(RunopsMintKind kind)
{
	Oid			serverid;

	if (kind.kind == RUNOPS_ID_CUID)
		return kind;
	serverid = servers[store_number(kind)];

	return OidIsValid(serverid) && runops_sentinel_distinct(serverid) ? kind : RUNOPS_MINT_CUID;
}

/*
 * The kind that the flags of an organization give at an instant.
 */
static RunopsMintKind
flags_at(const RunopsMintFlag *flag, const RunopsMintFlag *global, TimestampTz at)
{
	return runops_mint_flag_at(flag, runops_mint_flag_at(global, RUNOPS_MINT_CUID, at), at);
}

/*
 * The kind of a root, read from the tables; may fail.
 */
static RunopsMintKind
read_kind(text *org)
{
	RunopsMintFlag flag = {0};
	RunopsMintFlag global;

	look_up_flag(NULL, &global);
	if (org != NULL)
		look_up_flag(org, &flag);
	if (!servers_valid)
		look_up_servers();

	return past_the_gate(flags_at(&flag, &global, GetCurrentTimestamp()));
}

/*
 * The same, but a cuid on failure.
 *
 * A cancel is raised and not treated as a failure.  Before PostgreSQL 17 a
 * parallel query could not start a subtransaction, but the SQL functions that
 * call this are not parallel safe.
 */
static RunopsMintKind
read_kind_or_cuid(text *org)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile RunopsMintKind kind = RUNOPS_MINT_CUID;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		RunopsMintKind read = read_kind(org);

		kind.kind = read.kind;
		kind.shard = read.shard;
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);

		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("could not read the mint kind: %s", error->message),
				 errdetail("The root of a family gets a cuid instead.")));
		FreeErrorData(error);
	}
	PG_END_TRY();

	return (RunopsMintKind) {kind.kind, kind.shard};
}

/*
 * The kind of a new root of an organization; NULL stands for an unknown one.
 * The switch comes first, then the gate, the organization's flag, and the
 * global flag.  If the switch is off, the gate is closed or anything fails,
 * the root gets a cuid.
 */
RunopsMintKind
runops_mint_kind_of_root(text *org)
{
	RunopsMintFlag flag = {0};
	RunopsMintFlag global;

	if (!runops_mint_enabled || runops_gate_closed_reason() != NULL)
		return RUNOPS_MINT_CUID;

	/* learn of flips even in the middle of a transaction */
	AcceptInvalidationMessages();

	if (remembered_flag(NULL, &global) &&
		(org == NULL || remembered_flag(org, &flag)))
	{
		RunopsMintKind kind = flags_at(&flag, &global, GetCurrentTimestamp());

		if (kind.kind == RUNOPS_ID_CUID)
			return kind;
		if (servers_valid)
		{
			Oid			serverid = servers[store_number(kind)];

			if (!OidIsValid(serverid))
				return RUNOPS_MINT_CUID;
			if (runops_sentinel_stands(serverid))
				return kind;
		}
	}

	return read_kind_or_cuid(org);
}

/*
 * _mint_kind_at(org text, at timestamptz) returns text
 *
 * The kind at an instant according to the current flags.
 */
Datum
runops_mint_kind_at(PG_FUNCTION_ARGS)
{
	text	   *org = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	RunopsMintFlag flag = {0};
	RunopsMintFlag global;

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();

	runops_mint_read_flag(NULL, &global);
	if (org != NULL)
		runops_mint_read_flag(org, &flag);

	PG_RETURN_TEXT_P(runops_mint_name(flags_at(&flag, &global, PG_GETARG_TIMESTAMPTZ(1))));
}
