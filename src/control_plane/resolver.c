/*-------------------------------------------------------------------------
 *
 * resolver.c
 *	  Implements resolve(), which reads a value of the control plane, if
 *	  possible from the cache.
 *
 * The query of a resolver runs with the rights of the role that registered it,
 * as a security-restricted operation, with that role's search path, and under
 * settings that do not depend on the session.  This is needed because a value
 * read for one caller is served to all callers.  The query always gets a new
 * snapshot, whatever the caller's isolation level, so that a read and a hit
 * return the same value.
 *
 * The backend's cache of resolvers is dropped as a whole when resolver_config
 * is written or a role changes, but not while a resolver's query runs.  A call
 * from within such a query then reads its resolver for itself.
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
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/guc.h"
#include "control_plane/resolver_int.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* Columns of resolver_config. */
#define Anum_resolver_slot					1
#define Anum_resolver_query					2
#define Anum_resolver_environment_column	3
#define Anum_resolver_organization_column	4
#define Anum_resolver_ttl					5
#define Anum_resolver_registrant			6
#define Anum_resolver_search_path			7
#define Anum_resolver_keys					8

/* Values with longer keys are not cached. */
#define MAX_KEY_LENGTH 1024

/* Settings that a query must not take from the session; see also execute(). */
static const struct
{
	const char *name;
	const char *value;
}			fixed_settings[] =
{
	{"row_security", "on"},
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"TimeZone", "UTC"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"array_nulls", "on"},
};

static void forget_resolvers(void);

static RunopsConfigCache config_cache = {
	.table = "resolver_config",
	.forget = forget_resolvers
};

/* The backend's cache, in its own memory context; NULL: nothing yet. */
static HTAB *resolvers = NULL;
static MemoryContext resolvers_cxt = NULL;
static bool resolvers_valid = false;

/*
 * How many resolver queries are running, and how many resolvers were asked
 * for.
 */
static int	running = 0;
static uint64 asked = 0;

PG_FUNCTION_INFO_V1(runops_resolver_resolve);

/*
 * Config cache callback: only set a flag.
 */
static void
forget_resolvers(void)
{
	resolvers_valid = false;
}

/*
 * Syscache callback for roles and their memberships; plans with row security
 * depend on them.
 */
static void
role_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	resolvers_valid = false;
}

/*
 * Start a new, empty cache of resolvers, and free the plans of the old one.
 */
static void
reset_resolvers(void)
{
	static bool registered = false;
	HASHCTL		ctl;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(AUTHOID, role_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, role_callback, (Datum) 0);
		registered = true;
	}

	if (resolvers != NULL)
	{
		HASH_SEQ_STATUS scan;
		RunopsResolver *resolver;

		hash_seq_init(&scan, resolvers);
		while ((resolver = hash_seq_search(&scan)) != NULL)
		{
			if (resolver->plan != NULL)
				SPI_freeplan(resolver->plan);
			resolver->plan = NULL;
		}
		resolvers = NULL;
		MemoryContextReset(resolvers_cxt);
	}
	if (resolvers_cxt == NULL)
		resolvers_cxt = AllocSetContextCreate(CacheMemoryContext, "runops resolvers",
											  ALLOCSET_DEFAULT_SIZES);

	ctl.keysize = NAMEDATALEN;
	ctl.entrysize = sizeof(RunopsResolver);
	ctl.hcxt = resolvers_cxt;
	resolvers = hash_create("runops resolvers", 16, &ctl,
							HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	resolvers_valid = true;
}

/*
 * A column of resolver_config as a string; NULL if the column is null.
 */
static char *
config_string(HeapTuple tuple, TupleDesc tupdesc, int attno)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attno, tupdesc, &isnull);

	if (isnull)
		return NULL;
	if (TupleDescAttr(tupdesc, attno - 1)->atttypid == NAMEOID)
		return pstrdup(NameStr(*DatumGetName(value)));

	return TextDatumGetCString(value);
}

/*
 * The length of an interval in microseconds; a month counts as 30 days.
 */
static int64
interval_length(const Interval *interval)
{
	return interval->time +
		(interval->day + (int64) interval->month * DAYS_PER_MONTH) * USECS_PER_DAY;
}

/*
 * Read the configuration of a resolver into the current memory context;
 * returns false if there is none.
 */
bool
runops_resolver_find(const char *slot, RunopsResolver *resolver)
{
	Relation	rel = runops_config_cache_open(&config_cache);
	TupleDesc	tupdesc = RelationGetDescr(rel);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_resolver_slot, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(slot));
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		ttl = heap_getattr(tuple, Anum_resolver_ttl, tupdesc, &isnull);

		memset(resolver, 0, sizeof(*resolver));
		strlcpy(resolver->slot, slot, NAMEDATALEN);
		resolver->ttl = isnull ? -1 : interval_length(DatumGetIntervalP(ttl));
		resolver->query = config_string(tuple, tupdesc, Anum_resolver_query);
		resolver->environment_column =
			config_string(tuple, tupdesc, Anum_resolver_environment_column);
		resolver->organization_column =
			config_string(tuple, tupdesc, Anum_resolver_organization_column);
		resolver->registrant =
			DatumGetObjectId(heap_getattr(tuple, Anum_resolver_registrant, tupdesc, &isnull));
		resolver->search_path = config_string(tuple, tupdesc, Anum_resolver_search_path);
		resolver->nkeys =
			DatumGetInt32(heap_getattr(tuple, Anum_resolver_keys, tupdesc, &isnull));
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);

	return HeapTupleIsValid(tuple);
}

/*
 * Look up the cache slot and the tags of a resolver.
 */
static void
find_cache_slot(RunopsResolver *resolver)
{
	const char *slot = resolver->slot;

	resolver->cached = runops_cache_enabled() &&
		runops_cache_slot(slot, &resolver->cache);
	if (!resolver->cached)
		return;

	for (int i = 0; i < 3; i++)
		resolver->tags[i] =
			runops_tags_make(runops_tags_prefix(i == 0 ? InvalidOid : MyDatabaseId,
												RUNOPS_TAG_SLOT, i == 2 ? slot : NULL),
							 NULL, 0);
	for (int i = 0; i < lengthof(resolver->prefixes); i++)
	{
		resolver->prefixes[i][0] =
			runops_tags_prefix(MyDatabaseId, RUNOPS_TAG_ENVIRONMENT + i, NULL);
		resolver->prefixes[i][1] =
			runops_tags_prefix(MyDatabaseId, RUNOPS_TAG_ENVIRONMENT + i, slot);
	}
}

/*
 * The resolver of a slot; raises if there is none.
 */
static RunopsResolver *
find_resolver(const char *slot)
{
	RunopsResolver *resolver = NULL;
	RunopsResolver found;
	MemoryContext oldcxt;
	bool		keep;
	bool		exists;

	/* a hit takes no lock, so the invalidations must be processed here */
	AcceptInvalidationMessages();

	if (strlen(slot) < NAMEDATALEN)
	{
		if (!resolvers_valid && running == 0)
			reset_resolvers();
		if (resolvers_valid)
			resolver = hash_search(resolvers, slot, HASH_FIND, NULL);
		if (resolver != NULL)
			return resolver;

		keep = resolvers_valid;
		oldcxt = MemoryContextSwitchTo(keep ? resolvers_cxt : CurrentMemoryContext);
		exists = runops_resolver_find(slot, &found);
		if (exists)
		{
			find_cache_slot(&found);
			if (keep && resolvers_valid)
				resolver = hash_search(resolvers, slot, HASH_ENTER, NULL);
			else
			{
				resolver = palloc(sizeof(RunopsResolver));
				found.transient = true;
			}
			*resolver = found;
		}
		MemoryContextSwitchTo(oldcxt);
		if (exists)
			return resolver;
	}

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("resolver \"%s\" does not exist", slot),
			 errhint("Register it with %s.add_resolver().", RUNOPS_SCHEMA)));
}

/*
 * Error context callback for the query of a resolver.
 */
static void
resolver_error_callback(void *arg)
{
	errcontext("resolver \"%s\"", ((RunopsResolver *) arg)->slot);
}

/*
 * Set the settings that must be the same for all callers.
 */
static void
fix_settings(RunopsResolver *resolver)
{
	for (int i = 0; i < lengthof(fixed_settings); i++)
	{
		const char *name = fixed_settings[i].name;
		const char *now = GetConfigOption(name, false, false);

		if (strcmp(now, fixed_settings[i].value) != 0)
			(void) set_config_option(name, fixed_settings[i].value, PGC_USERSET,
									 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	}
	(void) set_config_option("search_path", resolver->search_path, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Run the query of a resolver in SPI, with values for its parameters.
 *
 * *keep is set to false if the result must not be cached.
 */
static void
execute(RunopsResolver *resolver, Datum *values, const char *nulls, bool *keep)
{
	Oid			save_userid;
	int			save_sec_context;
	int			save_nestlevel;
	int			rc;

	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(resolver->registrant)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the role that registered resolver \"%s\" no longer exists",
						resolver->slot),
				 errhint("Drop the resolver and register it as another role.")));

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(resolver->registrant,
						   save_sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	save_nestlevel = NewGUCNestLevel();
	fix_settings(resolver);

	/* the facts stored for a query must be those of the plan that runs */
	if (resolver->plan != NULL && running == 1 && !SPI_plan_is_valid(resolver->plan))
	{
		SPI_freeplan(resolver->plan);
		resolver->plan = NULL;
	}
	if (resolver->plan == NULL)
		runops_resolver_prepare(resolver);

	/* check this before the query runs, because its functions may write */
	if (*keep && runops_resolver_wrote(resolver))
		*keep = false;

	/* a standby may lack rows that were committed before the stamp */
	if (*keep)
		runops_reader_suspend();
	rc = SPI_execute_snapshot(resolver->plan, values, nulls, GetLatestSnapshot(),
							  InvalidSnapshot, true, false, 2);
	if (*keep)
		runops_reader_resume();
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(rc));

	AtEOXact_GUC(false, save_nestlevel);
	SetUserIdAndSecContext(save_userid, save_sec_context);

	if (SPI_processed > 1)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("resolver \"%s\" found more than one row", resolver->slot),
				 errhint("Make its query return at most one row for each key.")));
}

/*
 * The same, counted in "running".
 *
 * This does not use PG_FINALLY(), because gcc -Os warns of a variable in it.
 */
static void
execute_counted(RunopsResolver *resolver, Datum *values, const char *nulls, bool *keep)
{
	running++;
	PG_TRY();
	{
		execute(resolver, values, nulls, keep);
	}
	PG_CATCH();
	{
		running--;
		PG_RE_THROW();
	}
	PG_END_TRY();
	running--;
}

/*
 * Add the tags of an id of one kind to an array: one for all slots, and one
 * for this slot.
 */
static int
add_tags(RunopsResolver *resolver, RunopsTag *tags, int ntags, RunopsTagKind kind,
		 Datum id)
{
	text	   *t = DatumGetTextPP(id);

	for (int i = 0; i < 2; i++)
		tags[ntags++] = runops_tags_make(resolver->prefixes[kind - RUNOPS_TAG_ENVIRONMENT][i],
										 VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
	return ntags;
}

/*
 * The non-null ids in a column of type text[]; the column itself may be null.
 */
static int
ids_of_column(HeapTuple row, TupleDesc tupdesc, int attno, Datum **ids)
{
	bool		isnull;
	Datum		array = heap_getattr(row, attno, tupdesc, &isnull);
	bool	   *nulls;
	int			n;
	int			kept = 0;

	if (isnull)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  ids, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			(*ids)[kept++] = (*ids)[i];
	}

	return kept;
}

/*
 * The tags of a value: its slot; each element of its key, which may be an
 * environment or an organization; and the ids in the row's tag columns.
 */
static RunopsTag *
value_tags(RunopsResolver *resolver, Datum *keys, const char *nulls,
		   HeapTuple row, TupleDesc tupdesc, int *ntags)
{
	Datum	   *environments = NULL;
	Datum	   *organizations = NULL;
	int			nenvironments = 0;
	int			norganizations = 0;
	RunopsTag  *tags;
	int			n = 0;

	if (row != NULL)
	{
		nenvironments = ids_of_column(row, tupdesc, 2, &environments);
		norganizations = ids_of_column(row, tupdesc, 3, &organizations);
	}

	tags = palloc(sizeof(RunopsTag) * (lengthof(resolver->tags) + 6 * resolver->nkeys +
									   2 * nenvironments + 4 * norganizations));
	for (int i = 0; i < lengthof(resolver->tags); i++)
		tags[n++] = resolver->tags[i];
	for (int i = 0; i < resolver->nkeys; i++)
	{
		if (nulls[i] == 'n')
			continue;
		n = add_tags(resolver, tags, n, RUNOPS_TAG_ENVIRONMENT, keys[i]);
		n = add_tags(resolver, tags, n, RUNOPS_TAG_ORGANIZATION, keys[i]);
		n = add_tags(resolver, tags, n, RUNOPS_TAG_ORGANIZATION_ALONE, keys[i]);
	}
	for (int i = 0; i < nenvironments; i++)
		n = add_tags(resolver, tags, n, RUNOPS_TAG_ENVIRONMENT, environments[i]);
	for (int i = 0; i < norganizations; i++)
	{
		n = add_tags(resolver, tags, n, RUNOPS_TAG_ORGANIZATION, organizations[i]);
		if (nenvironments == 0)
			n = add_tags(resolver, tags, n, RUNOPS_TAG_ORGANIZATION_ALONE, organizations[i]);
	}
	*ntags = n;

	return tags;
}

/*
 * How long a value that is read now may be used, in microseconds.
 */
static int64
time_to_live(RunopsResolver *resolver)
{
	return resolver->ttl >= 0 ? resolver->ttl :
		(int64) runops_control_plane_cache_ttl * 1000;
}

/*
 * Cache the value that was read for a key, unless this transaction invalidates
 * it.
 */
static void
keep_value(RunopsResolver *resolver, StringInfo cache_key, Datum *keys,
		   const char *nulls, HeapTuple row, TupleDesc tupdesc, Jsonb *value,
		   RunopsCacheFill *fill)
{
	int64		ttl = time_to_live(resolver);

	if (ttl <= 0)
		return;
	fill->tags = value_tags(resolver, keys, nulls, row, tupdesc, &fill->ntags);
	if (runops_invalidating(fill->tags, fill->ntags))
		return;

	/*
	 * A transaction in another database, or a user's function, may use a
	 * snapshot as old as the start of our transaction.
	 */
	if (resolver->distant)
		fill->stamp = Min(fill->stamp, (uint64) GetCurrentTransactionStartTimestamp() - 1);
	fill->expires = GetCurrentTimestamp() + ttl;
	if (!runops_cache_store(resolver->cache, cache_key->data, cache_key->len, value, fill))
		resolvers_valid = false;
}

/*
 * Read the value of a key, and cache it if that is allowed.
 *
 * Returns NULL if there is no row; the value is in the caller's memory
 * context.
 */
static Jsonb *
read_value(RunopsResolver *resolver, Datum *keys, const char *nulls,
		   StringInfo cache_key, bool keep)
{
	MemoryContext caller_cxt = CurrentMemoryContext;
	ErrorContextCallback callback = {
		.callback = resolver_error_callback,
		.arg = resolver,
		.previous = error_context_stack
	};
	RunopsCacheFill fill = {0};
	Jsonb	   *value = NULL;
	HeapTuple	row = NULL;
	TupleDesc	tupdesc = NULL;
	uint64		asked_before;

	error_context_stack = &callback;
	SPI_connect();
	if (keep)
	{
		fill.in_recovery = RecoveryInProgress();
		fill.stamp = runops_tags_now();
	}

	/*
	 * messages of invalidations that are older than the stamp have been sent
	 */
	AcceptInvalidationMessages();

	asked_before = asked;
	execute_counted(resolver, keys, nulls, &keep);

	/*
	 * an invalidation for the value of another resolver would not reach this
	 * one
	 */
	if (asked != asked_before)
		keep = false;

	if (SPI_processed == 1)
	{
		bool		isnull;
		Jsonb	   *found;

		row = SPI_tuptable->vals[0];
		tupdesc = SPI_tuptable->tupdesc;
		found = DatumGetJsonbP(heap_getattr(row, 1, tupdesc, &isnull));
		value = MemoryContextAlloc(caller_cxt, VARSIZE(found));
		memcpy(value, found, VARSIZE(found));
	}
	if (keep)
		keep_value(resolver, cache_key, keys, nulls, row, tupdesc, value, &fill);

	SPI_finish();
	error_context_stack = callback.previous;

	return value;
}

/*
 * Build the text of a key under which its value is cached; different keys have
 * different texts.
 */
static void
make_cache_key(StringInfo buf, Datum *keys, bool *isnull, int nkeys)
{
	initStringInfo(buf);
	for (int i = 0; i < nkeys; i++)
	{
		int			len = -1;

		if (!isnull[i])
			len = VARSIZE_ANY_EXHDR(DatumGetTextPP(keys[i]));
		appendBinaryStringInfo(buf, (char *) &len, sizeof(len));
		if (len > 0)
			appendBinaryStringInfo(buf, VARDATA_ANY(DatumGetTextPP(keys[i])), len);
	}
}

/*
 * The value of a key in a slot, or NULL if it is known that there is no row.
 *
 * If from_cache is not NULL, *from_cache is set to whether the value came from
 * the cache.  Raises if the slot has no resolver, if the number of keys is
 * wrong, or if there is more than one row.
 */
Jsonb *
runops_resolve_key(const char *slot, ArrayType *key, bool *from_cache)
{
	RunopsResolver *resolver = find_resolver(slot);
	RunopsCacheAnswer answer = RUNOPS_CACHE_BYPASS;
	Datum	   *keys;
	bool	   *isnull;
	int			nkeys;
	char	   *nulls;
	StringInfoData cache_key = {0};
	Jsonb	   *value = NULL;

	asked++;
	deconstruct_array(key, TEXTOID, -1, false, TYPALIGN_INT, &keys, &isnull, &nkeys);
	if (ARR_NDIM(key) > 1 || nkeys != resolver->nkeys)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("wrong number of keys for resolver \"%s\"", slot),
				 errdetail("The resolver takes %d, but %d were given.", resolver->nkeys, nkeys)));

	if (resolver->cached)
	{
		make_cache_key(&cache_key, keys, isnull, nkeys);
		if (cache_key.len <= MAX_KEY_LENGTH)
			answer = runops_cache_lookup(resolver->cache, cache_key.data, cache_key.len,
										 &value);
	}
	if (from_cache != NULL)
		*from_cache = answer == RUNOPS_CACHE_VALUE || answer == RUNOPS_CACHE_ABSENT;
	if (answer == RUNOPS_CACHE_VALUE || answer == RUNOPS_CACHE_ABSENT)
		return value;

	nulls = palloc(nkeys + 1);
	for (int i = 0; i < nkeys; i++)
		nulls[i] = isnull[i] ? 'n' : ' ';
	nulls[nkeys] = '\0';

	value = read_value(resolver, keys, nulls, &cache_key, answer == RUNOPS_CACHE_MISS);
	if (resolver->transient)
		SPI_freeplan(resolver->plan);

	return value;
}

/*
 * resolve(slot text, VARIADIC key text[]) returns jsonb
 */
Datum
runops_resolver_resolve(PG_FUNCTION_ARGS)
{
	Jsonb	   *value;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the slot of a resolver must not be null")));
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the array of keys must not be null"),
				 errhint("An element of the array may be null.")));

	value = runops_resolve_key(text_to_cstring(PG_GETARG_TEXT_PP(0)),
							   PG_GETARG_ARRAYTYPE_P(1), NULL);
	if (value == NULL)
		PG_RETURN_NULL();

	PG_RETURN_JSONB_P(value);
}
