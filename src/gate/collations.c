/*-------------------------------------------------------------------------
 *
 * collations.c
 *	  Tells which collations behave in the database of a store as they do here.
 *
 * A comparison, a sort or a change of case that is sent to a store follows the
 * collation there.  The name of a collation says little: the default collation
 * belongs to the database, and the version of a collation to the library of
 * the server's host.  So each probe, and each question to a new connection,
 * asks for a hash of everything that is known about the encoding, the default
 * collation, and the other collations that columns of the stores' foreign
 * tables have.  A collation is the same if the hashes are.
 *
 * The version in the hash is the one of the library that is in use.  A version
 * that was recorded, which ALTER DATABASE or ALTER COLLATION refreshes, says
 * nothing about the behaviour.  A provider that has no version counts as the
 * same on the same platform.
 *
 * The list of collations is part of what a proof depends on; see
 * sentinel.c.  It lives in CacheMemoryContext until a relation in it, a server
 * or the configuration changes.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_foreign_table.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/sinval.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/relcache.h"
#include "gate/gate_int.h"

/* The hashes before those of the collations in the list. */
#define ENCODING_HASH 0
#define DEFAULT_HASH 1
#define NAMED_HASHES 2
#define MAX_HASHES (NAMED_HASHES + RUNOPS_MAX_COLLATIONS)

/* the foreign tables of the stores, and the collations of their columns */
static MemoryContext list_cxt = NULL;
static List *tables = NIL;
static List *collations = NIL;
static bool list_valid = false;
static void (*on_change) (void) = NULL;

/*
 * Relcache callback: a foreign table of a store may have got another column.
 */
static void
forget_table(Oid relid)
{
	if (!list_valid || (OidIsValid(relid) && !list_member_oid(tables, relid)))
		return;

	list_valid = false;
	if (on_change != NULL)
		on_change();
}

static RunopsRelcacheClient relcache_client = {.forget = forget_table};

/*
 * Forget the list, because stores or servers have changed.
 */
void
runops_collations_forget(void)
{
	list_valid = false;
}

/*
 * Is the collation the same wherever the encoding is?
 */
static bool
is_bytes(Oid collation)
{
	return collation == C_COLLATION_OID || collation == POSIX_COLLATION_OID;
}

/*
 * Does a store have the server as its writer?
 */
static bool
is_writer(List *stores, Oid serverid)
{
	ListCell   *lc;

	foreach(lc, stores)
	{
		if (((RunopsStore *) lfirst(lc))->serverid == serverid)
			return true;
	}

	return false;
}

/*
 * Add the collations of a table's columns to a list, unless they are in it.
 */
static List *
add_table(Oid relid, List *result)
{
	Relation	rel = table_open(AttributeRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_attribute_attrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, AttributeRelidNumIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);

		if (OidIsValid(att->attcollation) && !att->attisdropped &&
			att->attcollation != DEFAULT_COLLATION_OID &&
			!is_bytes(att->attcollation))
			result = list_append_unique_oid(result, att->attcollation);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return result;
}

/*
 * Find the foreign tables of the stores and the collations of their columns.
 */
static void
make_list(void)
{
	List	   *stores = runops_stores();
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	MemoryContext oldcontext;

	if (list_cxt == NULL)
		list_cxt = AllocSetContextCreate(CacheMemoryContext, "runops collations",
										 ALLOCSET_SMALL_SIZES);
	runops_relcache_register(&relcache_client);

	tables = collations = NIL;
	MemoryContextReset(list_cxt);
	/* set it first, because the lookup may process an invalidation */
	list_valid = true;

	oldcontext = MemoryContextSwitchTo(list_cxt);
	rel = table_open(ForeignTableRelationId, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_table table = (Form_pg_foreign_table) GETSTRUCT(tuple);

		if (is_writer(stores, table->ftserver))
			tables = lappend_oid(tables, table->ftrelid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	for (int i = 0; i < list_length(tables); i++)
		collations = add_table(list_nth_oid(tables, i), collations);
	list_sort(collations, list_oid_cmp);
	collations = list_truncate(collations, RUNOPS_MAX_COLLATIONS);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Append the list to the text of which the hash says what a proof depends on.
 * The function is called when the list may have changed; it must not look
 * anything up.
 */
void
runops_collations_append(StringInfo buf, void (*changed) (void))
{
	ListCell   *lc;

	on_change = changed;
	if (!list_valid)
		make_list();
	foreach(lc, collations)
		appendStringInfo(buf, " collation %u", lfirst_oid(lc));
}

/*
 * SQL for the hash of a collation, of which the arguments are SQL for the
 * properties.
 *
 * The name of a locale of the system can be written in several ways.  A
 * version that is missing is replaced by the platform, except that bytes have
 * none.  The provider of PostgreSQL itself has the version of PostgreSQL.
 */
static char *
collation_hash(const char *row, const char *prefix, const char *provider,
			   const char *version)
{
	char	   *locale = psprintf("coalesce(pg_catalog.to_jsonb(%1$s) OPERATOR(pg_catalog.->>) '%2$slocale',"
								  " pg_catalog.to_jsonb(%1$s) OPERATOR(pg_catalog.->>) '%2$siculocale', '')",
								  row, prefix);
	char	   *text = psprintf("CASE WHEN (%1$s.%3$s OPERATOR(pg_catalog.=) 'c'"
								" AND (%1$s.%2$scollate::pg_catalog.text OPERATOR(pg_catalog.=) 'C' OR %1$s.%2$scollate::pg_catalog.text OPERATOR(pg_catalog.=) 'POSIX')"
								" AND (%1$s.%2$sctype::pg_catalog.text OPERATOR(pg_catalog.=) 'C' OR %1$s.%2$sctype::pg_catalog.text OPERATOR(pg_catalog.=) 'POSIX'))"
								" OR (%1$s.%3$s OPERATOR(pg_catalog.=) 'b' AND %4$s OPERATOR(pg_catalog.=) 'C') THEN 'C'"
								" ELSE pg_catalog.concat_ws('|', %1$s.%3$s,"
								" pg_catalog.lower(pg_catalog.replace(coalesce(%1$s.%2$scollate::pg_catalog.text, ''), '-', '') COLLATE pg_catalog.\"C\"),"
								" pg_catalog.lower(pg_catalog.replace(coalesce(%1$s.%2$sctype::pg_catalog.text, ''), '-', '') COLLATE pg_catalog.\"C\"),"
								" %4$s, pg_catalog.to_jsonb(%1$s) OPERATOR(pg_catalog.->>) '%2$sicurules',"
								" pg_catalog.to_jsonb(%1$s) OPERATOR(pg_catalog.->>) '%2$sisdeterministic',"
								" coalesce(%5$s, pg_catalog.split_part(pg_catalog.split_part(pg_catalog.version(), ' on ', 2), ',', 1)),"
								" CASE WHEN %1$s.%3$s OPERATOR(pg_catalog.=) 'b' THEN pg_catalog.left(pg_catalog.current_setting('server_version_num'), 2) END) END",
								row, prefix, provider, locale, version);

	return psprintf("pg_catalog.hashtextextended(%s, 0)", text);
}

/*
 * SQL for the hashes, as a text with blanks between them.  It depends on no
 * search_path.  A collation that does not exist has the hash 0.  The lowest bit
 * of the hash of another one says whether it is deterministic.
 *
 * The values of "char" and text have the same operators here as literals do.
 */
static char *
hashes_sql(void)
{
	StringInfoData buf;
	char	   *hash = collation_hash("c", "coll", "collprovider",
									  "pg_catalog.pg_collation_actual_version(c.oid)");
	ListCell   *lc;

	initStringInfo(&buf);
	appendStringInfo(&buf, "(SELECT pg_catalog.concat_ws(' ', pg_catalog.hashtextextended(pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text, 0), %s",
					 collation_hash("d", "dat", "datlocprovider",
									"pg_catalog.pg_database_collation_actual_version(d.oid)"));
	foreach(lc, collations)
	{
		HeapTuple	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_collation form;

		if (!HeapTupleIsValid(tuple))
		{
			appendStringInfoString(&buf, ", 0");
			continue;
		}
		form = (Form_pg_collation) GETSTRUCT(tuple);
		appendStringInfo(&buf,
						 ", coalesce((SELECT (%s OPERATOR(pg_catalog.&) -2) OPERATOR(pg_catalog.|) c.collisdeterministic::pg_catalog.int4"
						 " FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.collnamespace"
						 " WHERE n.nspname OPERATOR(pg_catalog.=) %s AND c.collname OPERATOR(pg_catalog.=) %s"
						 " AND (c.collencoding OPERATOR(pg_catalog.=) d.encoding OR c.collencoding OPERATOR(pg_catalog.=) -1) LIMIT 1), 0)",
						 hash, quote_literal_cstr(get_namespace_name(form->collnamespace)),
						 quote_literal_cstr(NameStr(form->collname)));
		ReleaseSysCache(tuple);
	}
	appendStringInfoString(&buf, ") FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())");

	return buf.data;
}

/*
 * SQL for another database that returns its hashes.  An older server than any
 * that we know returns NULL, because it lacks the functions.
 *
 * A query inside the query is looked at only if it runs; see probe.c.
 */
char *
runops_collations_sql(void)
{
	if (!list_valid)
		make_list();

	return psprintf("CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.>=) 150000"
					" THEN (SELECT word FROM pg_catalog.ts_stat(%s)) END",
					quote_literal_cstr(psprintf("SELECT pg_catalog.array_to_tsvector(ARRAY[%s])",
												hashes_sql())));
}

/*
 * The number that stands for an answer of runops_collations_sql(); 0 if it is
 * NULL.
 */
uint64
runops_collations_number(const char *answer)
{
	if (answer == NULL)
		return 0;

	return hash_bytes_extended((const unsigned char *) answer, strlen(answer), 0) | 1;
}

/*
 * The hashes of this database.
 */
static char *
local_hashes(void)
{
	int			nestlevel = NewGUCNestLevel();
	MemoryContext oldcontext = CurrentMemoryContext;
	char	   *result = NULL;
	int			rc;

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	rc = SPI_execute(psprintf("SELECT %s", hashes_sql()), true, 1);
	if (rc != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	result = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (result != NULL)
		result = MemoryContextStrdup(oldcontext, result);
	SPI_finish();
	PopActiveSnapshot();
	AtEOXact_GUC(true, nestlevel);

	return result;
}

/*
 * Read hashes from a text; returns their number.
 */
static int
read_hashes(const char *text, int64 *hashes)
{
	int			n = 0;

	while (text != NULL && *text != '\0' && n < MAX_HASHES)
	{
		char	   *end;

		hashes[n++] = strtoi64(text, &end, 10);
		if (end == text || (*end != ' ' && *end != '\0'))
			return 0;
		text = *end ? end + 1 : end;
	}

	return n;
}

/*
 * Compare the answer of a server with this database.
 *
 * An answer that does not have the right form proves nothing.
 */
void
runops_collations_compare(const char *answer, RunopsCollations *result)
{
	int64		here[MAX_HASHES];
	int64		there[MAX_HASHES];
	int			n;

	memset(result, 0, sizeof(RunopsCollations));
	if (answer == NULL)
		return;

	n = read_hashes(local_hashes(), here);
	if (n != NAMED_HASHES + list_length(collations) ||
		read_hashes(answer, there) != n)
		return;

	result->known = true;
	result->same_encoding = here[ENCODING_HASH] == there[ENCODING_HASH];
	result->same_default = result->same_encoding &&
		here[DEFAULT_HASH] == there[DEFAULT_HASH];
	result->n = n - NAMED_HASHES;
	for (int i = 0; i < result->n; i++)
	{
		int64		local = here[NAMED_HASHES + i];
		int64		remote = there[NAMED_HASHES + i];

		result->collation[i] = list_nth_oid(collations, i);
		result->same[i] = result->same_encoding && local == remote && local != 0;
		result->deterministic[i] = (remote & 1) != 0;
		if ((local & 1) != 0 && remote != 0 && !result->deterministic[i])
			result->surprises = true;
	}
}

/*
 * Does a collation behave in a store as it does here?  InvalidOid is the
 * absence of a collation.
 */
bool
runops_collation_is_same(const RunopsCollations *known, Oid collation)
{
	if (!OidIsValid(collation))
		return true;
	if (is_bytes(collation))
		return known->same_encoding;
	if (collation == DEFAULT_COLLATION_OID)
		return known->same_default;

	for (int i = 0; i < known->n; i++)
	{
		if (known->collation[i] == collation)
			return known->same[i];
	}

	return false;
}

/*
 * Are texts equal in a store if and only if they are equal here?
 *
 * Under a deterministic collation they are if their characters are.  As long
 * as nothing is known, a collation is assumed to be deterministic there if it
 * is here: a search by a key must not fetch a whole table.  If that proves
 * wrong, the transaction fails; see set_collations().
 */
bool
runops_collation_has_same_equality(const RunopsCollations *known, Oid collation)
{
	if (runops_collation_is_same(known, collation))
		return true;
	if (!get_collation_isdeterministic(collation))
		return false;
	if (is_bytes(collation) || collation == DEFAULT_COLLATION_OID || !known->known)
		return true;

	for (int i = 0; i < known->n; i++)
	{
		if (known->collation[i] == collation)
			return known->deterministic[i];
	}

	return false;
}

/*
 * Does one knowledge include another, of the same list of collations?
 */
bool
runops_collations_include(const RunopsCollations *known, const RunopsCollations *less)
{
	if (!less->known)
		return true;
	if ((less->same_encoding && !known->same_encoding) ||
		(less->same_default && !known->same_default) ||
		known->n != less->n)
		return false;

	for (int i = 0; i < less->n; i++)
	{
		if (known->collation[i] != less->collation[i] ||
			(less->same[i] && !known->same[i]) ||
			(less->deterministic[i] && !known->deterministic[i]))
			return false;
	}

	return true;
}

/*
 * The foreign tables of a server.
 */
List *
runops_collations_tables(Oid serverid)
{
	Relation	rel = table_open(ForeignTableRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *result = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_table table = (Form_pg_foreign_table) GETSTRUCT(tuple);

		if (table->ftserver == serverid)
			result = lappend_oid(result, table->ftrelid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return result;
}

/*
 * Make every backend plan again what uses the tables, because something has
 * become known about the collations of their server.  It does not fail.
 *
 * The messages are sent at once, because a plan is wrong whether this
 * transaction commits or not.
 */
void
runops_collations_replan(List *relids)
{
	ListCell   *lc;

	foreach(lc, relids)
	{
		SharedInvalidationMessage message;

		memset(&message, 0, sizeof(message));
		message.rc.id = SHAREDINVALRELCACHE_ID;
		message.rc.dbId = MyDatabaseId;
		message.rc.relId = lfirst_oid(lc);
		SendSharedInvalidMessages(&message, 1);
	}
}
