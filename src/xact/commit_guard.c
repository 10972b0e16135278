/*-------------------------------------------------------------------------
 *
 * commit_guard.c
 *	  Keeps a transaction from being ended by an interrupt after a store has
 *	  committed its part and before this database has.
 *
 * postgres_fdw commits in the stores when this transaction is about to commit.
 * If the backend were terminated there, or canceled, the row of a store would
 * stand, and the claim or the entry that keeps others from its key would not.
 * So a transaction that has made one holds interrupts back from the moment
 * before the first store commits until it has committed itself; a serialization
 * failure is looked for before that moment.  A crash can still come between
 * the two, and a store whose connection is lost while it commits may have
 * committed or not.
 *
 * Callbacks run in the opposite order of their registration, and postgres_fdw
 * registers its own with its first connection.  Ours is registered after that.
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

/* the transaction that asked for it last */
static TransactionId required_xid = InvalidTransactionId;

static bool registered = false;

/* have we held interrupts back? */
static bool holding = false;

/*
 * Transaction callback: hold interrupts back from before the stores commit
 * until the transaction has ended.
 */
static void
together_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (!TransactionIdIsValid(required_xid) ||
				!TransactionIdEquals(required_xid, GetTopTransactionIdIfAny()))
				break;
			if (IsolationIsSerializable())
				PreCommit_CheckForSerializationFailure();
			HOLD_INTERRUPTS();
			holding = true;
			break;
		case XACT_EVENT_COMMIT:
			if (holding)
				RESUME_INTERRUPTS();
			holding = false;
			break;
		case XACT_EVENT_ABORT:
			/* the error has reset the count */
			holding = false;
			break;
		default:
			break;
	}
}

/*
 * Note that this transaction has written here what must not be lost if a store
 * keeps what it has written there.
 */
void
runops_together_require(void)
{
	required_xid = GetTopTransactionId();
}

/*
 * Note that postgres_fdw has connected to a store.
 */
void
runops_together_connected(void)
{
	if (registered)
		return;

	RegisterXactCallback(together_xact_callback, NULL);
	registered = true;
}
