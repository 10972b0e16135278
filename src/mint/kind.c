/*-------------------------------------------------------------------------
 *
 * kind.c
 *	  Converts the kinds of new ids to and from their names, and to their
 *	  stores.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/compat.h"
#include "mint/mint_int.h"

/* "shard:", and its length */
#define SHARD_PREFIX		"shard:"
#define SHARD_PREFIX_LEN	(sizeof(SHARD_PREFIX) - 1)

/*
 * Are two kinds the same, the shard included?
 */
bool
runops_mint_same(RunopsMintKind a, RunopsMintKind b)
{
	return a.kind == b.kind && a.shard == b.shard;
}

/*
 * Parse the name of a kind; returns false if there is no such kind.
 */
bool
runops_mint_parse(text *name, RunopsMintKind *kind)
{
	const char *str = VARDATA_ANY(name);
	size_t		len = VARSIZE_ANY_EXHDR(name);

	*kind = RUNOPS_MINT_NONE;
	if (len == 4 && memcmp(str, "cuid", 4) == 0)
		kind->kind = RUNOPS_ID_CUID;
	else if (len == 5 && memcmp(str, "ksuid", 5) == 0)
		kind->kind = RUNOPS_ID_KSUID;
	else if (len == 6 && memcmp(str, "runops", 6) == 0)
		kind->kind = RUNOPS_ID_RUNOPS;
	else if (len == SHARD_PREFIX_LEN + 1 && memcmp(str, SHARD_PREFIX, SHARD_PREFIX_LEN) == 0 &&
			 runops_id_is_site(str[SHARD_PREFIX_LEN]))
	{
		kind->kind = RUNOPS_ID_SHARD;
		kind->shard = str[SHARD_PREFIX_LEN];
	}

	return kind->kind != RUNOPS_ID_NONE;
}

/*
 * The name of a kind other than RUNOPS_MINT_NONE.
 */
text *
runops_mint_name(RunopsMintKind kind)
{
	switch (kind.kind)
	{
		case RUNOPS_ID_KSUID:
			return cstring_to_text("ksuid");
		case RUNOPS_ID_RUNOPS:
			return cstring_to_text("runops");
		case RUNOPS_ID_SHARD:
			return cstring_to_text(psprintf(SHARD_PREFIX "%c", kind.shard));
		case RUNOPS_ID_CUID:
		case RUNOPS_ID_NONE:
			break;
	}

	return cstring_to_text("cuid");
}

/*
 * Copy the store that ids of a kind name into a buffer of RUNOPS_STORE_LEN.
 */
void
runops_mint_store(RunopsMintKind kind, char *store)
{
	switch (kind.kind)
	{
		case RUNOPS_ID_KSUID:
		case RUNOPS_ID_RUNOPS:
			strlcpy(store, RUNOPS_NEW_STORE, RUNOPS_STORE_LEN);
			return;
		case RUNOPS_ID_SHARD:
			store[0] = kind.shard;
			store[1] = '\0';
			return;
		case RUNOPS_ID_CUID:
		case RUNOPS_ID_NONE:
			break;
	}
	strlcpy(store, RUNOPS_LEGACY_STORE, RUNOPS_STORE_LEN);
}
