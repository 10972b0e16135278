/*-------------------------------------------------------------------------
 *
 * gate.c
 *	  Decides whether stores other than legacy may be used now.
 *
 * The flag cannot change while the server runs, so a plan may depend on it.
 * All other conditions of the gate can change, so they are checked at
 * execution, and only to raise an error.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/errcodes.h"
#include "base/guc.h"
#include "gate/gate.h"
#include "topology/topology.h"

static bool preloaded = false;

/*
 * Is the operator's flag off, so that there is only one database?
 *
 * Returns false if the library was not preloaded: the flag is not known then,
 * and the caller must not assume that a store is empty.
 */
bool
runops_gate_flag_off(void)
{
	return preloaded && !runops_split_enabled;
}

/*
 * The reason why the settings close the gate, as a sentence for an errdetail;
 * NULL if they do not.
 */
const char *
runops_gate_closed_reason(void)
{
	if (!preloaded)
		return "The library \"runops\" is not in \"shared_preload_libraries\".";
	if (!runops_split_enabled)
		return "The setting \"runops.split_enabled\" is off.";

	return NULL;
}

/*
 * A hint for a verdict that closes the gate; NULL if there is none.
 */
const char *
runops_gate_hint(RunopsCause cause)
{
	switch (cause)
	{
		case RUNOPS_CAUSE_NONE:
			break;
		case RUNOPS_CAUSE_UNREACHABLE:
			return _("Check the store's database and the options of its server.  The next statement asks the server again.");
		case RUNOPS_CAUSE_MAPPING:
			return _("Use CREATE USER MAPPING or ALTER USER MAPPING for the role, or for PUBLIC.");
		case RUNOPS_CAUSE_CONTROL_PLANE:
		case RUNOPS_CAUSE_OTHER_STORE:
			return _("Use ALTER SERVER to give the store's server a database that no other store uses.");
		case RUNOPS_CAUSE_RECOVERY:
			return _("Use ALTER SERVER to point the store's server at a primary, and its reader at a standby of that primary.");
		case RUNOPS_CAUSE_NO_PROOF:
			return _("Grant EXECUTE on pg_control_system() in the store to the users of the user mappings.");
		case RUNOPS_CAUSE_CHANGED:
			return _("If the store's database was replaced on purpose, run runops.recheck(); otherwise check the options of its server.");
		case RUNOPS_CAUSE_COLLATION:
			return _("Repeat the transaction.  It is planned for the collations that the store has now.");
		case RUNOPS_CAUSE_IDENTITY:
		case RUNOPS_CAUSE_OWNER:
			return _("If only this database uses the store from now on, run runops.recheck(accept_new_identity => true).");
		case RUNOPS_CAUSE_FORMER:
			return _("Stop the former primary; if it cannot come back, run runops.recheck(accept_new_identity => true).");
		case RUNOPS_CAUSE_CO_RESIDENT:
			return _("Give the store \"legacy\" a server, or set \"runops.expect_control_plane_split\" to off and restart the server.");
	}

	return NULL;
}

/*
 * The SQLSTATE for a cause: gate_closed, or not_store_owner if the store is
 * another control plane's.
 */
int
runops_gate_sqlerrcode(RunopsCause cause)
{
	switch (cause)
	{
		case RUNOPS_CAUSE_IDENTITY:
		case RUNOPS_CAUSE_OWNER:
		case RUNOPS_CAUSE_FORMER:
			return ERRCODE_RUNOPS_NOT_STORE_OWNER;
		default:
			return ERRCODE_RUNOPS_GATE_CLOSED;
	}
}

/*
 * Raise gate_closed, or not_store_owner.
 */
static void
raise_closed(int sqlerrcode, const char *store, const char *relname,
			 const char *reason, const char *hint)
{
	ereport(ERROR,
			(errcode(sqlerrcode),
			 relname ?
			 errmsg("cannot access store \"%s\" of \"%s\": the gate is closed", store, relname) :
			 errmsg("cannot access store \"%s\": the gate is closed", store),
			 errdetail("%s", reason),
			 hint ? errhint("%s", hint) : 0));
}

/*
 * Raise gate_closed if the settings alone close the gate.
 */
void
runops_gate_require_settings(const char *store, const char *relname)
{
	const char *reason = runops_gate_closed_reason();

	if (reason != NULL)
		raise_closed(ERRCODE_RUNOPS_GATE_CLOSED, store, relname, reason, preloaded ?
					 _("Set \"runops.split_enabled\" to on and restart the server.") :
					 _("Add \"runops\" to \"shared_preload_libraries\" and restart the server."));
}

/*
 * Raise gate_closed, or not_store_owner, for a verdict.
 */
void
runops_gate_raise(const RunopsProofState *state, const char *store,
				  const char *relname)
{
	raise_closed(runops_gate_sqlerrcode(state->cause), store, relname,
				 state->reason, runops_gate_hint(state->cause));
}

/*
 * Raise gate_closed unless the server of a store may be used now.  If no proof
 * stands, the server is asked with the user mapping of the given user.
 *
 * store and relname are for the message; relname is NULL if there is no table.
 */
void
runops_gate_require_server(Oid serverid, Oid userid, const char *store,
						   const char *relname)
{
	RunopsProofState state;

	runops_gate_require_settings(store, relname);
	if (runops_sentinel_verdict(serverid, userid, &state) != RUNOPS_DISTINCT)
		runops_gate_raise(&state, store, relname);
}

/*
 * The same for the writer of a store given by name, with the current user.
 */
void
runops_gate_require(const char *store, const char *relname)
{
	runops_gate_require_settings(store, relname);
	runops_gate_require_server(runops_store_server(store), GetUserId(), store, relname);
}

/*
 * Raise gate_closed if the gate is closed altogether: the settings close it,
 * or stores are configured and none of them is proved.
 *
 * This is for callers that conclude from a missing row that the row does not
 * exist.  If the flag is off, or no store is configured, there is no other
 * database to look in.
 */
void
runops_gate_require_any(const char *relname)
{
	RunopsProofState closed;
	const char *store = NULL;
	ListCell   *lc;

	if (runops_gate_flag_off())
		return;
	runops_gate_require_settings(RUNOPS_NEW_STORE, relname);

	foreach(lc, runops_stores())
	{
		RunopsStore *s = (RunopsStore *) lfirst(lc);
		RunopsProofState state;

		if (runops_is_legacy(s->store) || !OidIsValid(s->serverid))
			continue;
		if (runops_sentinel_verdict(s->serverid, GetUserId(), &state) == RUNOPS_DISTINCT)
			return;
		if (store == NULL || strcmp(s->store, RUNOPS_NEW_STORE) == 0)
		{
			store = s->store;
			closed = state;
		}
	}

	if (store != NULL)
		runops_gate_raise(&closed, store, relname);
}

/*
 * Note that the library was loaded by the postmaster.
 */
void
runops_gate_init(void)
{
	preloaded = true;
}
