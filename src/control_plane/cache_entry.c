/*-------------------------------------------------------------------------
 *
 * cache_entry.c
 *	  Looks up, stores and frees the entries of the shared cache of resolver
 *	  values.
 *
 * control_plane.h has the rules: when a value is invalid, and which lock
 * protects which fields.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/guc.h"
#include "control_plane/cache_int.h"

/* Larger values are not cached. */
#define MAX_ENTRY_SIZE (1024 * 1024)

/*
 * A chunk that is not yet in a list.  If an error occurs before it is, the
 * next store of this backend frees it.  The error itself cannot, because the
 * locks needed for freeing may be held.
 */
static dsa_pointer unlisted = InvalidDsaPointer;

/*
 * The key of the hash table for a key of a resolver.
 */
static EntryKey
entry_key(RunopsCacheSlot slot, const char *key, int keylen)
{
	EntryKey	result = {0};

	result.dbid = MyDatabaseId;
	result.slot = slot.index;
	result.generation = slot.generation;
	for (int i = 0; i < 2; i++)
		result.hash[i] = hash_bytes_extended((const unsigned char *) key, keylen,
											 runops_cache_shared->seed[i]);

	return result;
}

/*
 * Does this entry have this key?
 */
static bool
entry_matches(CacheEntry *entry, const char *key, int keylen)
{
	return entry->keylen == keylen && memcmp(ENTRY_KEY(entry), key, keylen) == 0;
}

/*
 * Is an entry invalid, as opposed to expired?
 *
 * A value that was read on a standby is not invalidated by the writes that the
 * standby replays later.  It becomes invalid when the standby is promoted.
 */
static bool
entry_invalid(CacheEntry *entry)
{
	return !runops_tags_valid(entry->stamp, entry->tags, entry->ntags) ||
		(entry->in_recovery && !RecoveryInProgress());
}

/*
 * The entry behind a link; NULL at the end.  This may fail if the backend has
 * not mapped that memory yet.
 */
static CacheEntry *
neighbour(dsa_pointer link)
{
	return DsaPointerIsValid(link) ? dsa_get_address(runops_cache_area, link) : NULL;
}

/*
 * Remove an entry from the list of its slot and free it.
 *
 * The caller holds the slot's lock, and has removed the entry from the hash
 * table, so no other backend can find it.
 */
static void
free_entry(CacheSlot *slot, dsa_pointer chunk)
{
	CacheEntry *entry = dsa_get_address(runops_cache_area, chunk);
	CacheEntry *prev = neighbour(entry->prev);
	CacheEntry *next = neighbour(entry->next);

	if (prev != NULL)
		prev->next = entry->next;
	else
		slot->first = entry->next;
	if (next != NULL)
		next->prev = entry->prev;
	else
		slot->last = entry->prev;
	slot->nentries--;
	slot->bytes -= entry->size;
	dsa_free(runops_cache_area, chunk);
}

/*
 * Remove an entry completely.  The caller holds the slot's lock.
 */
static void
drop_entry(CacheSlot *slot, dsa_pointer chunk)
{
	EntryKey	key = ((CacheEntry *) dsa_get_address(runops_cache_area, chunk))->key;

	dshash_delete_key(runops_cache_table, &key);
	free_entry(slot, chunk);
}

/*
 * Remove the entry of a key if it is expired or invalid.
 */
static void
drop_dead(RunopsCacheSlot ref, const EntryKey *key)
{
	CacheSlot  *slot = &runops_cache_shared->slots[ref.index];
	HashEntry  *found;

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	found = dshash_find(runops_cache_table, key, true);
	if (found != NULL)
	{
		dsa_pointer chunk = found->chunk;
		CacheEntry *entry = dsa_get_address(runops_cache_area, chunk);
		bool		invalid = entry_invalid(entry);

		if (invalid || entry->expires <= GetCurrentTimestamp())
		{
			dshash_delete_entry(runops_cache_table, found);
			free_entry(slot, chunk);
			if (invalid)
				runops_cache_count(ref, RUNOPS_CACHE_INVALIDATIONS);
		}
		else
			dshash_release_lock(runops_cache_table, found);
	}
	LWLockRelease(&slot->lock);
}

/*
 * Look up the value of a key and return a copy.
 *
 * This counts a hit or a miss.  An expired or invalid entry is removed.
 */
RunopsCacheAnswer
runops_cache_lookup(RunopsCacheSlot slot, const char *key, int keylen,
					Jsonb **value)
{
	EntryKey	hash_key = entry_key(slot, key, keylen);
	RunopsCacheAnswer answer = RUNOPS_CACHE_MISS;
	bool		dead = false;
	HashEntry  *found;

	runops_cache_attach();
	found = dshash_find(runops_cache_table, &hash_key, false);
	if (found != NULL)
	{
		CacheEntry *entry = dsa_get_address(runops_cache_area, found->chunk);

		if (!entry_matches(entry, key, keylen))
			answer = RUNOPS_CACHE_MISS;
		else if (entry->expires <= GetCurrentTimestamp() || entry_invalid(entry))
			dead = true;
		else if (runops_invalidating(entry->tags, entry->ntags))
			answer = RUNOPS_CACHE_BYPASS;
		else if (entry->absent)
			answer = RUNOPS_CACHE_ABSENT;
		else
		{
			answer = RUNOPS_CACHE_VALUE;
			*value = palloc(entry->valuelen);
			memcpy(*value, ENTRY_VALUE(entry), entry->valuelen);
		}
		dshash_release_lock(runops_cache_table, found);
	}

	if (dead)
		drop_dead(slot, &hash_key);
	runops_cache_count(slot, answer == RUNOPS_CACHE_VALUE || answer == RUNOPS_CACHE_ABSENT ?
					   RUNOPS_CACHE_HITS : RUNOPS_CACHE_MISSES);
	if (answer == RUNOPS_CACHE_ABSENT)
		runops_cache_count(slot, RUNOPS_CACHE_NEGATIVE_HITS);

	return answer;
}

/*
 * Make room for one more entry.  Expired and invalid entries are removed
 * first, then the oldest one.  The caller holds the slot's lock.
 */
static void
make_room(RunopsCacheSlot ref, CacheSlot *slot)
{
	TimestampTz now = GetCurrentTimestamp();

	/* searching all entries only pays off if one has expired */
	if (slot->nentries >= runops_cache_max_entries && slot->earliest <= now)
	{
		dsa_pointer chunk = slot->first;

		slot->earliest = DT_NOEND;
		while (DsaPointerIsValid(chunk))
		{
			CacheEntry *entry = dsa_get_address(runops_cache_area, chunk);
			dsa_pointer next = entry->next;

			if (entry_invalid(entry))
			{
				drop_entry(slot, chunk);
				runops_cache_count(ref, RUNOPS_CACHE_INVALIDATIONS);
			}
			else if (entry->expires <= now)
				drop_entry(slot, chunk);
			else
				slot->earliest = Min(slot->earliest, entry->expires);
			chunk = next;
		}
	}

	while (slot->nentries >= runops_cache_max_entries)
	{
		drop_entry(slot, slot->first);
		runops_cache_count(ref, RUNOPS_CACHE_EVICTIONS);
	}
}

/*
 * Put a chunk in the place of an older one with the same key.  The caller
 * holds the slot's lock and the lock of the hash entry.
 */
static void
replace_entry(CacheSlot *slot, HashEntry *hashed, dsa_pointer chunk)
{
	dsa_pointer old_chunk = hashed->chunk;
	CacheEntry *old = dsa_get_address(runops_cache_area, old_chunk);
	CacheEntry *entry = dsa_get_address(runops_cache_area, chunk);
	CacheEntry *prev = neighbour(old->prev);
	CacheEntry *next = neighbour(old->next);

	/* every address is mapped, so nothing can fail from here on */
	entry->next = old->next;
	entry->prev = old->prev;
	if (prev != NULL)
		prev->next = chunk;
	else
		slot->first = chunk;
	if (next != NULL)
		next->prev = chunk;
	else
		slot->last = chunk;
	slot->bytes += entry->size - old->size;
	slot->earliest = Min(slot->earliest, entry->expires);
	slot->latest = Max(slot->latest, entry->expires);
	hashed->chunk = chunk;
	dsa_free(runops_cache_area, old_chunk);
}

/*
 * Put a new chunk into the hash table and the list of its slot.  The caller
 * holds the slot's lock, which protects an existing entry of that key.
 *
 * Returns false if the existing value was read later.  If a valid value is
 * replaced, the new one keeps its place in the list.
 */
static bool
insert_entry(RunopsCacheSlot ref, CacheSlot *slot, dsa_pointer chunk)
{
	CacheEntry *entry = dsa_get_address(runops_cache_area, chunk);
	HashEntry  *hashed = dshash_find(runops_cache_table, &entry->key, true);
	CacheEntry *last;
	bool		found;

	if (hashed != NULL)
	{
		dsa_pointer old_chunk = hashed->chunk;
		CacheEntry *old = dsa_get_address(runops_cache_area, old_chunk);
		bool		invalid = entry_invalid(old);
		bool		alive = !invalid && old->expires > GetCurrentTimestamp() &&
			entry_matches(old, ENTRY_KEY(entry), entry->keylen);

		if (alive && old->stamp > entry->stamp)
		{
			dshash_release_lock(runops_cache_table, hashed);
			return false;
		}
		if (alive)
		{
			replace_entry(slot, hashed, chunk);
			dshash_release_lock(runops_cache_table, hashed);
			return true;
		}

		dshash_delete_entry(runops_cache_table, hashed);
		free_entry(slot, old_chunk);
		if (invalid)
			runops_cache_count(ref, RUNOPS_CACHE_INVALIDATIONS);
	}

	make_room(ref, slot);
	last = neighbour(slot->last);
	hashed = dshash_find_or_insert(runops_cache_table, &entry->key, &found);
	Assert(!found);
	hashed->chunk = chunk;
	dshash_release_lock(runops_cache_table, hashed);

	entry->next = InvalidDsaPointer;
	entry->prev = slot->last;
	if (last != NULL)
		last->next = chunk;
	else
		slot->first = chunk;
	slot->last = chunk;
	slot->earliest = slot->nentries == 0 ? entry->expires :
		Min(slot->earliest, entry->expires);
	slot->latest = Max(slot->latest, entry->expires);
	slot->nentries++;
	slot->bytes += entry->size;

	return true;
}

/*
 * Store the value that was read for a key; NULL means that there is no row.
 *
 * Does nothing if the value has become invalid since it was read, or if there
 * is no memory for it.  Returns false if the slot does not exist any more.
 */
bool
runops_cache_store(RunopsCacheSlot ref, const char *key, int keylen,
				   const Jsonb *value, const RunopsCacheFill *fill)
{
	CacheSlot  *slot = &runops_cache_shared->slots[ref.index];
	int			valuelen = value == NULL ? 0 : VARSIZE(value);
	Size		size = ENTRY_VALUE_OFFSET(fill->ntags) + (Size) valuelen + keylen;
	CacheEntry *entry;
	dsa_pointer chunk;
	bool		current;

	if (size > MAX_ENTRY_SIZE)
		return true;
	runops_cache_attach();
	if (DsaPointerIsValid(unlisted))
		dsa_free(runops_cache_area, unlisted);
	unlisted = InvalidDsaPointer;
	chunk = dsa_allocate_extended(runops_cache_area, size, DSA_ALLOC_NO_OOM);
	if (!DsaPointerIsValid(chunk))
		return true;

	entry = dsa_get_address(runops_cache_area, chunk);
	memset(entry, 0, offsetof(CacheEntry, tags));
	entry->key = entry_key(ref, key, keylen);
	entry->size = size;
	entry->stamp = fill->stamp;
	entry->expires = fill->expires;
	entry->absent = value == NULL;
	entry->in_recovery = fill->in_recovery;
	entry->keylen = keylen;
	entry->valuelen = valuelen;
	entry->ntags = fill->ntags;
	memcpy(entry->tags, fill->tags, fill->ntags * sizeof(RunopsTag));
	if (value != NULL)
		memcpy(ENTRY_VALUE(entry), value, valuelen);
	memcpy(ENTRY_KEY(entry), key, keylen);

	unlisted = chunk;
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	current = slot->dbid == MyDatabaseId && slot->generation == ref.generation;
	if (!current || entry_invalid(entry) || !insert_entry(ref, slot, chunk))
		dsa_free(runops_cache_area, chunk);
	unlisted = InvalidDsaPointer;
	LWLockRelease(&slot->lock);

	return current;
}

/*
 * Free the slot of this name in a database, or all of its slots if name is
 * NULL.
 */
void
runops_cache_purge(Oid dbid, const char *name)
{
	int			i;

	runops_cache_attach();
	LWLockAcquire(runops_cache_shared->lock, LW_EXCLUSIVE);
	while ((i = runops_cache_search_slots(dbid, name)) >= 0)
	{
		CacheSlot  *slot = &runops_cache_shared->slots[i];

		LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
		while (DsaPointerIsValid(slot->first))
			drop_entry(slot, slot->first);
		slot->dbid = InvalidOid;
		slot->generation++;
		LWLockRelease(&slot->lock);
	}
	LWLockRelease(runops_cache_shared->lock);
}
