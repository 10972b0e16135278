/*-------------------------------------------------------------------------
 *
 * changed_keys.c
 *	  Remembers the keys of the rows that an UPDATE has changed.
 *
 * If a join finds a row several times, only the first change counts, as in
 * core.  A statement that names a row by its key would find the changed row
 * again, or another row that has got the key meanwhile.  What is remembered are
 * the keys that the rows had when the statement began.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/stringinfo.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"

/* A remembered key. */
typedef struct ChangedKey
{
	const char *key;
	uint32		hash;
	char		status;
} ChangedKey;

#define SH_PREFIX			changed
#define SH_ELEMENT_TYPE		ChangedKey
#define SH_KEY_TYPE			const char *
#define SH_KEY				key
#define SH_HASH_KEY(tb, a)	hash_bytes((const unsigned char *) (a), strlen(a))
#define SH_EQUAL(tb, a, b)	(strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)	((a)->hash)
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* The keys; their texts are in the memory context of the table. */
struct RunopsChangedKeys
{
	changed_hash *table;
};

/*
 * An empty set of keys, in a memory context.
 */
RunopsChangedKeys *
runops_fdw_changed_keys(MemoryContext cxt)
{
	RunopsChangedKeys *keys = MemoryContextAlloc(cxt, sizeof(RunopsChangedKeys));

	keys->table = changed_create(cxt, 256, NULL);

	return keys;
}

/*
 * Remember the key of a row, which has n columns.  Returns false if it was
 * remembered before.
 */
bool
runops_fdw_change_key(RunopsChangedKeys *keys, int n, const char *const *values)
{
	StringInfoData key;
	ChangedKey *entry;
	bool		found;

	/* the lengths tell where a column ends */
	initStringInfo(&key);
	for (int i = 0; i < n; i++)
		appendStringInfo(&key, "%zu:%s", strlen(values[i]), values[i]);
	entry = changed_insert(keys->table, key.data, &found);
	if (!found)
		entry->key = MemoryContextStrdup(keys->table->ctx, key.data);
	pfree(key.data);

	return !found;
}
