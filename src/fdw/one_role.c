/*-------------------------------------------------------------------------
 *
 * one_role.c
 *	  Raises an error if a transaction uses a store as another role than the
 *	  one that has written there.
 *
 * Each user mapping has its own connection and its own transaction in the
 * store.  After SET ROLE, inside a SECURITY DEFINER function, or through a
 * view of another owner, the second transaction would not see the rows that
 * the first has written.  If both need the same row, one would wait for ever,
 * because neither database can see that the two belong together.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "utils/acl.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"
#include "topology/topology.h"
#include "xact/xact.h"

/* A user mapping through which this transaction has written or locked rows. */
typedef struct Writer
{
	Oid			serverid;
	Oid			umid;
	int			nest_level;		/* of the subtransaction that did it */
} Writer;

/* in TopTransactionContext */
static List *writers = NIL;
static bool callbacks_registered = false;

/*
 * Transaction callback: forget the writers.
 */
static void
forget_writers(XactEvent event, void *arg)
{
	writers = NIL;
}

/*
 * Subtransaction callback: give its writers to the outer one, or drop them on
 * abort.
 */
static void
end_of_subtransaction(SubXactEvent event, SubTransactionId subid,
					  SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	ListCell   *lc;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;

	foreach(lc, writers)
	{
		Writer	   *writer = lfirst(lc);

		if (writer->nest_level < level)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			writer->nest_level = level - 1;
		else
			writers = foreach_delete_current(writers, lc);
	}
}

/*
 * Note that a server is written to through a user mapping.
 */
static void
note_writer(Oid serverid, Oid umid)
{
	MemoryContext oldcontext;
	Writer	   *writer;

	if (!callbacks_registered)
	{
		RegisterXactCallback(forget_writers, NULL);
		RegisterSubXactCallback(end_of_subtransaction, NULL);
		callbacks_registered = true;
	}

	oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	writer = palloc(sizeof(Writer));
	writer->serverid = serverid;
	writer->umid = umid;
	writer->nest_level = GetCurrentTransactionNestLevel();
	writers = lappend(writers, writer);
	MemoryContextSwitchTo(oldcontext);
}

/*
 * A store is about to be used; use->writes tells whether rows are written or
 * locked.  Raises if this transaction has written there through another user
 * mapping.
 */
void
runops_fdw_one_role(const RunopsStoreUse *use, bool writes)
{
	Oid			umid;
	ListCell   *lc;
	char		store[RUNOPS_STORE_LEN];

	if (writes && runops_leaf_store(use->relid, store))
		runops_reader_leave(store);
	if (writers == NIL && !writes)
		return;

	umid = GetUserMapping(use->userid, use->serverid)->umid;

	foreach(lc, writers)
	{
		Writer	   *writer = lfirst(lc);

		if (writer->serverid != use->serverid)
			continue;
		if (writer->umid == umid)
			return;
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot use store \"%s\" as role \"%s\" in this transaction",
						runops_store_label(use->relid),
						GetUserNameFromId(use->userid, false)),
				 errdetail("The transaction has written or locked rows there through the user mapping of another role, and this role would not see them."),
				 errhint("Commit first, or use one user mapping for PUBLIC.")));
	}

	if (writes)
		note_writer(use->serverid, umid);
}
