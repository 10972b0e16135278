/*-------------------------------------------------------------------------
 *
 * verdict.c
 *	  Decides on a server by its answers.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "gate/gate_int.h"

/*
 * Fill in a verdict; a reason that is too long is truncated.
 */
void
runops_set_verdict(RunopsProofState *state, RunopsVerdict v, RunopsCause cause,
				   const char *reason)
{
	int			len;

	state->verdict = v;
	state->cause = cause;
	len = pg_mbcliplen(reason, strlen(reason), RUNOPS_REASON_LEN - 1);
	memcpy(state->reason, reason, len);
	state->reason[len] = '\0';
}

/*
 * Decide on a server by its answers.  Only this function knows the rules, and
 * it looks only at its arguments.
 */
void
runops_judge(const RunopsProbeFacts *facts, RunopsProofState *state)
{
	const RunopsIdentity *here = &facts->here;
	const RunopsIdentity *there = &facts->there;
	bool		equal = runops_identity_equal(here, there);

	if (facts->is_reader)
	{
		if (!there->in_recovery)
			runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_RECOVERY,
							   _("The reader is not a standby: it is not in recovery."));
		else if (!facts->writer_known || !facts->writer.sysid_known)
			runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_NO_PROOF,
							   _("The writer of the store is not known, so its reader cannot be compared with it."));
		else if (!there->sysid_known)
			runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_NO_PROOF,
							   _("The reader's user may not execute pg_control_system(), so it cannot be compared with its writer."));
		else if (!runops_identity_equal(&facts->writer, there))
			runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_RECOVERY,
							   _("The reader is not a standby of the store's own writer."));
		else
			runops_set_verdict(state, RUNOPS_DISTINCT, RUNOPS_CAUSE_NONE,
							   _("The reader is a standby of the store's writer."));
		return;
	}

	if (there->in_recovery)
	{
		if (equal)
			runops_set_verdict(state, RUNOPS_SAME, RUNOPS_CAUSE_CONTROL_PLANE,
							   _("The server is a standby of the control plane."));
		else
			runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_RECOVERY,
							   _("The server is a standby: it is in recovery, but a store must accept writes."));
	}
	else if (!facts->lock_obtained)
		runops_set_verdict(state, RUNOPS_SAME, RUNOPS_CAUSE_CONTROL_PLANE,
						   _("The server is the control plane itself: a lock that is held here is held there."));
	else if (!here->in_recovery)
		runops_set_verdict(state, RUNOPS_DISTINCT, RUNOPS_CAUSE_NONE,
						   _("The server is another database: a lock that is held here is free there."));
	else if (equal)
		runops_set_verdict(state, RUNOPS_SAME, RUNOPS_CAUSE_CONTROL_PLANE,
						   _("This server is in recovery, and the store has the same system identifier and database name."));
	else if (!there->sysid_known)
		runops_set_verdict(state, RUNOPS_UNKNOWN, RUNOPS_CAUSE_NO_PROOF,
						   _("This server is in recovery, and the store's user may not execute pg_control_system()."));
	else
		runops_set_verdict(state, RUNOPS_DISTINCT, RUNOPS_CAUSE_NONE,
						   _("The server is another database: its system identifier or database name differs."));
}
