/*-------------------------------------------------------------------------
 *
 * statement_cache.c
 *	  Keeps the prepared statements of a connection, found by their text.
 *
 * The types of the parameters are not part of the key, because the text names
 * them.  A statement is used again only after the store has confirmed that it
 * is prepared.  The least recently used one makes room for a new one.
 *
 * Many texts are used only once, because they contain constants.  So a text is
 * prepared at its second use.  Until then only its hash value is kept.  Two
 * texts of one hash value do no harm: the second one is prepared too early.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "session/engine_int.h"

/* The maximum number of statements that a connection keeps. */
#define MAX_STATEMENTS 200

/*
 * Was a text used before?  It is from now on.
 */
static bool
was_seen(RunopsConn *c, uint32 hash)
{
	for (int i = 0; i < RUNOPS_SEEN_TEXTS; i++)
	{
		if (c->seen[i] == hash)
			return true;
	}
	c->seen[c->next_seen] = hash;
	c->next_seen = (c->next_seen + 1) % RUNOPS_SEEN_TEXTS;

	return false;
}

/*
 * The statement with a text, which is made, and not ready, if there is none;
 * NULL if the text is used for the first time.
 */
RunopsStatement *
runops_statement_get(RunopsConn *c, const char *sql)
{
	uint32		hash = hash_bytes((const unsigned char *) sql, strlen(sql));
	RunopsStatement *statement;
	MemoryContext oldcontext;
	dlist_iter	iter;

	dlist_foreach(iter, &c->statements)
	{
		statement = dlist_container(RunopsStatement, node, iter.cur);
		if (statement->hash == hash && strcmp(statement->sql, sql) == 0)
		{
			dlist_move_head(&c->statements, &statement->node);
			return statement;
		}
	}

	if (!was_seen(c, hash))
		return NULL;

	oldcontext = MemoryContextSwitchTo(c->cxt);
	statement = palloc0(sizeof(RunopsStatement));
	statement->hash = hash;
	statement->sql = pstrdup(sql);
	snprintf(statement->name, sizeof(statement->name), "runops_%u", ++c->last_statement);
	MemoryContextSwitchTo(oldcontext);
	dlist_push_head(&c->statements, &statement->node);
	c->nstatements++;

	return statement;
}

/*
 * Take the least recently used statement out of the cache, if the cache is
 * full; otherwise NULL.
 *
 * The caller must free it with runops_statement_forget() after it has sent
 * DEALLOCATE.
 */
RunopsStatement *
runops_statement_evict(RunopsConn *c)
{
	RunopsStatement *last;

	if (c->nstatements <= MAX_STATEMENTS)
		return NULL;
	last = dlist_tail_element(RunopsStatement, node, &c->statements);

	return last->ready && last != c->preparing ? last : NULL;
}

/*
 * Remove a statement from the cache.
 */
void
runops_statement_forget(RunopsConn *c, RunopsStatement *statement)
{
	if (c->preparing == statement)
		c->preparing = NULL;
	dlist_delete(&statement->node);
	c->nstatements--;
	pfree(statement->sql);
	pfree(statement);
}
