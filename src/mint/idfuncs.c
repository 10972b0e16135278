/*-------------------------------------------------------------------------
 *
 * idfuncs.c
 *	  Implements the SQL functions that read ids.
 *
 * store_of() is in every partition key, so it is called for each row that is
 * inserted or not pruned.  It allocates nothing: its results are constants of
 * this file, returned by reference.  That is safe because a caller must
 * neither change nor free a pass-by-reference result, which may be the
 * argument itself inside a disk buffer (a cast to varchar(n) returns its
 * argument).  The constants are in read-only memory, so a caller that breaks
 * this rule crashes at once.  They outlive every memory context, and a backend
 * never unloads a library.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "base/progress.h"
#include "mint/mint_int.h"

/*
 * A constant of type text.  It has a plain four-byte header, for which
 * SET_VARSIZE() cannot be used in an initializer.
 */
typedef struct ConstText
{
	uint32		header;
	char		data[12];
} ConstText;

#ifdef WORDS_BIGENDIAN
#define CONST_TEXT_HEADER(size)	((uint32) (size))
#else
#define CONST_TEXT_HEADER(size)	((uint32) (size) << 2)
#endif

#define CONST_TEXT(s)	{CONST_TEXT_HEADER(VARHDRSZ + sizeof(s) - 1), s}

static const ConstText store_legacy = CONST_TEXT("legacy");
static const ConstText store_new = CONST_TEXT(RUNOPS_NEW_STORE);

/* Shards by character, minus '0' */
static const ConstText store_shard['z' - '0' + 1] = {
#define SHARD(c, s)	[c - '0'] = CONST_TEXT(s)
	SHARD('0', "0"), SHARD('1', "1"), SHARD('2', "2"), SHARD('3', "3"),
	SHARD('4', "4"), SHARD('5', "5"), SHARD('6', "6"), SHARD('7', "7"),
	SHARD('8', "8"), SHARD('9', "9"),
	SHARD('a', "a"), SHARD('b', "b"), SHARD('c', "c"), SHARD('d', "d"),
	SHARD('e', "e"), SHARD('f', "f"), SHARD('g', "g"), SHARD('h', "h"),
	SHARD('i', "i"), SHARD('j', "j"), SHARD('k', "k"), SHARD('l', "l"),
	SHARD('m', "m"), SHARD('n', "n"), SHARD('o', "o"), SHARD('p', "p"),
	SHARD('q', "q"), SHARD('r', "r"), SHARD('s', "s"), SHARD('t', "t"),
	SHARD('u', "u"), SHARD('v', "v"), SHARD('w', "w"), SHARD('x', "x"),
	SHARD('y', "y"), SHARD('z', "z")
#undef SHARD
};

static const ConstText kind_cuid = CONST_TEXT("cuid");
static const ConstText kind_ksuid = CONST_TEXT("ksuid");
static const ConstText kind_runops = CONST_TEXT("runops");
static const ConstText kind_shard = CONST_TEXT("shard");

/* An error message quotes at most this many octets of an id. */
#define MAX_QUOTED_ID	8192

/* Columns of parse_id() */
#define PARSE_ID_KIND		0
#define PARSE_ID_PREFIX		1
#define PARSE_ID_BODY		2
#define PARSE_ID_STORE		3
#define PARSE_ID_MINTED_AT	4
#define PARSE_ID_REGION		5
#define PARSE_ID_SHARD		6
#define PARSE_ID_PAYLOAD	7
#define PARSE_ID_COLS		8

/* The labels of runops.residency_type, looked up once for each call site. */
typedef struct ResidencyLabels
{
	Oid			legacy;
	Oid			new;
} ResidencyLabels;

PG_FUNCTION_INFO_V1(runops_store_of);
PG_FUNCTION_INFO_V1(runops_is_classifiable);
PG_FUNCTION_INFO_V1(runops_same_store);
PG_FUNCTION_INFO_V1(runops_id_kind);
PG_FUNCTION_INFO_V1(runops_residency);
PG_FUNCTION_INFO_V1(runops_try_residency);
PG_FUNCTION_INFO_V1(runops_parse_id);
PG_FUNCTION_INFO_V1(runops_to_friendly_id);
PG_FUNCTION_INFO_V1(runops_from_friendly_id);

/*
 * The store that an id names; unclassifiable ids belong to legacy.
 */
static inline const ConstText *
store_of_id(RunopsIdKind kind, const char *body)
{
	switch (kind)
	{
		case RUNOPS_ID_KSUID:
		case RUNOPS_ID_RUNOPS:
			return &store_new;
		case RUNOPS_ID_SHARD:
			return &store_shard[body[RUNOPS_CORE_LEN - 2] - '0'];
		case RUNOPS_ID_CUID:
		case RUNOPS_ID_NONE:
			break;
	}
	return &store_legacy;
}

/*
 * store_of(id text) returns text
 */
Datum
runops_store_of(PG_FUNCTION_ARGS)
{
	text	   *id = PG_GETARG_TEXT_PP(0);
	const char *body;
	RunopsIdKind kind = runops_id_classify(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), &body);
	const ConstText *store = store_of_id(kind, body);

	runops_progress_note_blocks();
	PG_FREE_IF_COPY(id, 0);
	PG_RETURN_POINTER(store);
}

/*
 * is_classifiable(id text) returns boolean
 */
Datum
runops_is_classifiable(PG_FUNCTION_ARGS)
{
	text	   *id = PG_GETARG_TEXT_PP(0);
	RunopsIdKind kind = runops_id_classify(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), NULL);

	PG_FREE_IF_COPY(id, 0);
	PG_RETURN_BOOL(kind != RUNOPS_ID_NONE);
}

/*
 * same_store(alias text, key text) returns boolean
 *
 * Does the alias name the same store as the key, or no store?  This is one
 * call because it checks every row that is written.
 */
Datum
runops_same_store(PG_FUNCTION_ARGS)
{
	text	   *alias;
	text	   *key;
	const char *body;
	RunopsIdKind kind;
	const ConstText *store;

	runops_progress_note_blocks();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(true);

	alias = PG_GETARG_TEXT_PP(0);
	kind = runops_id_classify(VARDATA_ANY(alias), VARSIZE_ANY_EXHDR(alias), &body);
	if (kind == RUNOPS_ID_NONE)
		PG_RETURN_BOOL(true);
	store = store_of_id(kind, body);

	key = PG_GETARG_TEXT_PP(1);
	kind = runops_id_classify(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), &body);

	PG_RETURN_BOOL(store == store_of_id(kind, body));
}

/*
 * The name of a kind; NULL for an unclassifiable id.
 */
static const ConstText *
kind_name(RunopsIdKind kind)
{
	switch (kind)
	{
		case RUNOPS_ID_CUID:
			return &kind_cuid;
		case RUNOPS_ID_KSUID:
			return &kind_ksuid;
		case RUNOPS_ID_RUNOPS:
			return &kind_runops;
		case RUNOPS_ID_SHARD:
			return &kind_shard;
		case RUNOPS_ID_NONE:
			break;
	}
	return NULL;
}

/*
 * id_kind(id text) returns text
 */
Datum
runops_id_kind(PG_FUNCTION_ARGS)
{
	text	   *id = PG_GETARG_TEXT_PP(0);
	RunopsIdKind kind = runops_id_classify(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), NULL);

	PG_FREE_IF_COPY(id, 0);
	if (kind == RUNOPS_ID_NONE)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(kind_name(kind));
}

/*
 * The OID of a label of an enum; raises if the label does not exist.
 */
static Oid
enum_label_oid(Oid enumtype, const char *label)
{
	Oid			oid = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
									  ObjectIdGetDatum(enumtype), CStringGetDatum(label));

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("label \"%s\" of type %s does not exist", label, format_type_be(enumtype)),
				 errdetail("The type of the extension was altered."),
				 errhint("Drop the extension and create it again.")));

	return oid;
}

/*
 * The residency of a classifiable kind, as a value of the function's own
 * result type.
 */
static Datum
residency_datum(FunctionCallInfo fcinfo, RunopsIdKind kind)
{
	ResidencyLabels *labels = fcinfo->flinfo->fn_extra;

	if (labels == NULL)
	{
		Oid			enumtype = get_func_rettype(fcinfo->flinfo->fn_oid);
		Oid			legacy = enum_label_oid(enumtype, "LEGACY");
		Oid			new = enum_label_oid(enumtype, "NEW");

		labels = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(ResidencyLabels));
		labels->legacy = legacy;
		labels->new = new;
		fcinfo->flinfo->fn_extra = labels;
	}

	return ObjectIdGetDatum(kind == RUNOPS_ID_CUID ? labels->legacy : labels->new);
}

/*
 * Raise unclassifiable_run_id for an id, quoted as it was passed.
 */
void
runops_raise_unclassifiable(text *id)
{
	const char *str = VARDATA_ANY(id);
	int			len = VARSIZE_ANY_EXHDR(id);
	int			quoted = len <= MAX_QUOTED_ID ? len : pg_mbcliplen(str, len, MAX_QUOTED_ID);

	ereport(ERROR,
			(errcode(ERRCODE_RUNOPS_UNCLASSIFIABLE_RUN_ID),
			 errmsg("unclassifiable run id \"%s%s\" (length %d)",
					pnstrdup(str, quoted), quoted < len ? "..." : "",
					pg_mbstrlen_with_len(str, len)),
			 errdetail("The part after the first underscore is neither 25 nor 27 letters and digits, nor a 26-character id of version 1 or 2."),
			 errhint("Use runops.try_residency() to get NULL instead of an error.")));
}

/*
 * residency(id text) returns residency_type
 */
Datum
runops_residency(PG_FUNCTION_ARGS)
{
	text	   *id = PG_GETARG_TEXT_PP(0);
	RunopsIdKind kind = runops_id_classify(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), NULL);

	if (kind == RUNOPS_ID_NONE)
		runops_raise_unclassifiable(id);
	PG_FREE_IF_COPY(id, 0);
	return residency_datum(fcinfo, kind);
}

/*
 * try_residency(id text) returns residency_type
 */
Datum
runops_try_residency(PG_FUNCTION_ARGS)
{
	text	   *id = PG_GETARG_TEXT_PP(0);
	RunopsIdKind kind = runops_id_classify(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), NULL);

	PG_FREE_IF_COPY(id, 0);
	if (kind == RUNOPS_ID_NONE)
		PG_RETURN_NULL();
	return residency_datum(fcinfo, kind);
}

/*
 * Return the parts of the id as a record.
 *
 * Every time that an id can hold is a valid timestamp: 48 bits of milliseconds
 * end in the year 10889.
 */
Datum
runops_parse_id(PG_FUNCTION_ARGS)
{
	text	   *id = PG_GETARG_TEXT_PP(0);
	RunopsIdParts parts;
	TupleDesc	tupdesc;
	Datum		values[PARSE_ID_COLS] = {0};
	bool		nulls[PARSE_ID_COLS];

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (tupdesc->natts != PARSE_ID_COLS)
		elog(ERROR, "unexpected number of result columns: %d", tupdesc->natts);

	runops_id_parse(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), &parts);

	memset(nulls, true, sizeof(nulls));
	if (parts.kind != RUNOPS_ID_NONE)
	{
		values[PARSE_ID_KIND] = PointerGetDatum(kind_name(parts.kind));
		nulls[PARSE_ID_KIND] = false;
	}
	if (parts.has_prefix)
	{
		values[PARSE_ID_PREFIX] =
			PointerGetDatum(cstring_to_text_with_len(VARDATA_ANY(id), parts.prefix_len));
		nulls[PARSE_ID_PREFIX] = false;
	}
	values[PARSE_ID_BODY] =
		PointerGetDatum(cstring_to_text_with_len(parts.body, parts.body_len));
	nulls[PARSE_ID_BODY] = false;
	values[PARSE_ID_STORE] = PointerGetDatum(store_of_id(parts.kind, parts.body));
	nulls[PARSE_ID_STORE] = false;
	if (parts.has_time)
	{
		int64		epoch_ms = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;

		values[PARSE_ID_MINTED_AT] =
			TimestampTzGetDatum(((int64) parts.unix_ms - epoch_ms) * 1000);
		nulls[PARSE_ID_MINTED_AT] = false;
	}
	if (parts.site != '\0')
	{
		int			col = parts.kind == RUNOPS_ID_SHARD ? PARSE_ID_SHARD : PARSE_ID_REGION;

		values[col] = PointerGetDatum(cstring_to_text_with_len(&parts.site, 1));
		nulls[col] = false;
	}
	if (parts.has_payload)
	{
		values[PARSE_ID_PAYLOAD] =
			PointerGetDatum(cstring_to_text_with_len((char *) parts.payload, sizeof(parts.payload)));
		nulls[PARSE_ID_PAYLOAD] = false;
	}

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

/*
 * to_friendly_id(entity text, id text) returns text
 *
 * Return "<entity>_<id>", or the id itself if it already starts with
 * "<entity>_".
 */
Datum
runops_to_friendly_id(PG_FUNCTION_ARGS)
{
	text	   *entity = PG_GETARG_TEXT_PP(0);
	text	   *id = PG_GETARG_TEXT_PP(1);
	int			entity_len = VARSIZE_ANY_EXHDR(entity);
	int			id_len = VARSIZE_ANY_EXHDR(id);
	StringInfoData friendly;

	if (entity_len == 0 || id_len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot make a friendly id of an empty %s", entity_len == 0 ? "entity" : "id"),
				 errdetail("A friendly id is an entity, an underscore, and an id."),
				 errhint("Pass an entity such as \"run\" and a bare id.")));

	if (id_len > entity_len &&
		VARDATA_ANY(id)[entity_len] == '_' &&
		memcmp(VARDATA_ANY(id), VARDATA_ANY(entity), entity_len) == 0)
		PG_RETURN_TEXT_P(id);

	initStringInfo(&friendly);
	appendBinaryStringInfo(&friendly, VARDATA_ANY(entity), entity_len);
	appendStringInfoChar(&friendly, '_');
	appendBinaryStringInfo(&friendly, VARDATA_ANY(id), id_len);

	PG_RETURN_TEXT_P(cstring_to_text_with_len(friendly.data, friendly.len));
}

/*
 * from_friendly_id(friendly_id text, entity text) returns text
 *
 * Return the bare id.  This is stricter than the classifier: there must be
 * exactly one underscore, with text on both sides.
 */
Datum
runops_from_friendly_id(PG_FUNCTION_ARGS)
{
	text	   *friendly;
	const char *str;
	const char *underscore;
	int			len;
	int			prefix_len;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	friendly = PG_GETARG_TEXT_PP(0);
	str = VARDATA_ANY(friendly);
	len = VARSIZE_ANY_EXHDR(friendly);
	underscore = len > 0 ? memchr(str, '_', len) : NULL;
	prefix_len = underscore ? underscore - str : 0;

	if (prefix_len == 0 || prefix_len == len - 1 ||
		memchr(underscore + 1, '_', len - prefix_len - 1) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("malformed friendly id \"%s\"",
						pnstrdup(str, pg_mbcliplen(str, len, MAX_QUOTED_ID))),
				 errdetail("A friendly id is an entity, one underscore, and an id."),
				 errhint("Use runops.parse_id() to take any id apart.")));

	if (!PG_ARGISNULL(1))
	{
		text	   *entity = PG_GETARG_TEXT_PP(1);

		if (prefix_len != VARSIZE_ANY_EXHDR(entity) ||
			memcmp(str, VARDATA_ANY(entity), prefix_len) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("friendly id \"%s\" does not have the entity \"%s\"",
							pnstrdup(str, pg_mbcliplen(str, len, MAX_QUOTED_ID)),
							text_to_cstring(entity)),
					 errdetail("Its entity is \"%s\".",
							   pnstrdup(str, pg_mbcliplen(str, prefix_len, MAX_QUOTED_ID))),
					 errhint("Leave out the entity to accept any.")));
	}

	PG_RETURN_TEXT_P(cstring_to_text_with_len(underscore + 1, len - prefix_len - 1));
}
