/*-------------------------------------------------------------------------
 *
 * idfuncs.c
 *	  SQL functions over the id codec.
 *
 * store_of() is the expression behind every partition key, so it is called for
 * each row that is inserted or not pruned.  It allocates nothing: its results
 * are constants of this file, returned by reference.  That is safe because a
 * caller may neither change nor free a pass-by-reference result: it may as well
 * be the argument itself, inside a disk buffer (a varchar length cast returns
 * that).  The constants are in read-only memory, so a caller that breaks the
 * rule is found at once.  They outlive every memory context, and a backend
 * never unloads a library.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "compat.h"
#include "errcodes.h"
#include "id.h"

/*
 * A constant of type text.  It has the plain four-byte header, for which
 * SET_VARSIZE() has no form that an initializer could use.
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
static const ConstText store_new = CONST_TEXT("new");

/* Shards by character, less '0' */
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

PG_FUNCTION_INFO_V1(runops_store_of);
PG_FUNCTION_INFO_V1(runops_is_classifiable);

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
