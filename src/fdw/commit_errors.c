/*-------------------------------------------------------------------------
 *
 * commit_errors.c
 *	  Gives the errors that a store raises when it commits the same fields and
 *	  limits as the errors of statements.
 *
 * Deferred constraints are checked in the store when postgres_fdw commits
 * there, in a transaction callback.  None of our code encloses that callback,
 * so the error cannot be caught.  Therefore an error context callback is set
 * up before, and removed when the transaction has committed; an error resets
 * the error context stack itself.  A context callback cannot remove a detail,
 * but it can replace it.
 *
 * Callbacks run in the opposite order of their registration.  postgres_fdw
 * registers its own with its first connection, and we register ours after
 * that.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "fdw/fdw_int.h"
#include "topology/topology.h"

/* foreign tables that the transaction writes to; in TopTransactionContext */
static List *written = NIL;

static bool registered = false;

/* is the error context callback set up? */
static bool committing = false;
static ErrorContextCallback commit_context;

/* may every value of the written tables be shown, and of any other table? */
static bool shows_written;
static bool shows_others;

/*
 * Error context callback while the stores commit.
 */
static void
commit_error_callback(void *arg)
{
	Oid			relid = runops_fdw_add_fields(InvalidOid);

	if (runops_conn_error()->sqlerrcode != geterrcode() ||
		!runops_fdw_shows_values(geterrcode()) ||
		shows_others || (shows_written && list_member_oid(written, relid)))
		return;

	errdetail("The values are not shown, because the role may not see all columns and rows.");
}

/*
 * Before the stores commit: decide which values may be shown, and set up the
 * error context callback.
 */
static void
begin_commit(void)
{
	ListCell   *lc;

	shows_others = superuser();
	shows_written = true;
	foreach(lc, written)
	{
		if (!shows_others &&
			runops_sight(runops_leaf_table(lfirst_oid(lc))) != RUNOPS_SIGHT_ALL)
			shows_written = false;
	}

	runops_conn_forget_error();
	commit_context.callback = commit_error_callback;
	commit_context.arg = NULL;
	commit_context.previous = error_context_stack;
	error_context_stack = &commit_context;
	committing = true;
}

/*
 * Transaction callback.
 */
static void
commit_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (written != NIL)
				begin_commit();
			break;
		case XACT_EVENT_COMMIT:
			if (committing)
				error_context_stack = commit_context.previous;
			committing = false;
			written = NIL;
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			committing = false;
			written = NIL;
			break;
		default:
			break;
	}
}

/*
 * Note that the transaction writes to a foreign table, for the errors of its
 * commit.
 */
void
runops_fdw_note_commit(Oid relid)
{
	MemoryContext oldcontext;

	if (!registered)
		RegisterXactCallback(commit_xact_callback, NULL);
	registered = true;
	if (list_member_oid(written, relid))
		return;

	oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	written = lappend_oid(written, relid);
	MemoryContextSwitchTo(oldcontext);
}
