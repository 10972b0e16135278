/*-------------------------------------------------------------------------
 *
 * commit_guard.c
 *	  Holds off interrupts between the commit of a store and the commit of this
 *	  database.
 *
 * postgres_fdw commits in the stores when this transaction is about to commit.
 * If the backend were terminated or canceled at that moment, the row in the
 * store would be committed, but the claim or entry that protects its key would
 * not.  So a transaction that has made a claim or an entry holds off
 * interrupts from just before the first store commits until it has committed
 * itself.  A crash can still come between the two
 * commits.  If the connection to a store is lost
 * while it commits, the store may have committed or not.
 *
 * Core checks for a serialization failure after the stores have committed.  So
 * every transaction that has written to a store checks for one before that.
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

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/predicate.h"

#include "xact/xact.h"

/* the last transaction that requested it */
static TransactionId required_xid = InvalidTransactionId;

/* has this transaction written to a store, or locked rows there? */
static bool wrote = false;

static bool registered = false;

/* does this backend hold off interrupts? */
static bool holding = false;

/*
 * Transaction callback: before the stores commit, check for a serialization
 * failure, and hold off interrupts until the transaction has ended.
 */
static void
together_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (wrote && IsolationIsSerializable())
				PreCommit_CheckForSerializationFailure();
			if (!TransactionIdIsValid(required_xid) ||
				!TransactionIdEquals(required_xid, GetTopTransactionIdIfAny()))
				break;
			HOLD_INTERRUPTS();
			holding = true;
			break;
		case XACT_EVENT_COMMIT:
			if (holding)
				RESUME_INTERRUPTS();
			holding = false;
			wrote = false;
			break;
		case XACT_EVENT_ABORT:
			/* the error has reset the holdoff count */
			holding = false;
			wrote = false;
			break;
		default:
			break;
	}
}

/*
 * Note that this transaction has written a row here that must be committed if
 * a store commits.
 */
void
runops_together_require(void)
{
	required_xid = GetTopTransactionId();
}

/*
 * Note that postgres_fdw has connected to a store, to write there.
 */
void
runops_together_connected(void)
{
	wrote = true;
	if (registered)
		return;

	RegisterXactCallback(together_xact_callback, NULL);
	registered = true;
}
