/*-------------------------------------------------------------------------
 *
 * gate.c
 *	  The one decision whether stores other than legacy may be touched now.
 *
 * The flag cannot change while the server runs; a plan may depend on it.
 * Everything else the gate looks at can change, so it is asked at execution,
 * where it can only raise.
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
 * Is the operator's flag off, so that there is one database and no more?
 *
 * False when the library was not preloaded: then the flag is not known, and
 * nothing may be taken for empty.
 */
bool
runops_gate_flag_off(void)
{
	return preloaded && !runops_split_enabled;
}

/*
 * Why the gate is closed, as a sentence for an errdetail; NULL if it is open.
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
 * What to do about a verdict that closes the gate; NULL if nothing can be said.
 */
const char *
runops_gate_hint(RunopsCause cause)
{
	switch (cause)
	{
		case RUNOPS_CAUSE_NONE:
			break;
		case RUNOPS_CAUSE_UNREACHABLE:
			return _("Check that the database of the store is running, and the options of its server; it is asked again by the next statement.");
		case RUNOPS_CAUSE_MAPPING:
			return _("Use CREATE USER MAPPING or ALTER USER MAPPING for the role, or for PUBLIC.");
		case RUNOPS_CAUSE_CONTROL_PLANE:
		case RUNOPS_CAUSE_OTHER_STORE:
			return _("Use ALTER SERVER to let the server of the store point at a database of its own.");
		case RUNOPS_CAUSE_RECOVERY:
			return _("Use ALTER SERVER to let a store's server point at a primary, and its reader at a standby of that.");
		case RUNOPS_CAUSE_NO_PROOF:
			return _("Let the users of the mappings execute pg_control_system() in the store, and see runops.recheck().");
		case RUNOPS_CAUSE_CHANGED:
			return _("If the database of the store was replaced on purpose, run runops.recheck(); otherwise look at where its server leads.");
		case RUNOPS_CAUSE_IDENTITY:
			return _("If this database is the one to use the store from now on, and no other does, run runops.recheck(accept_new_identity => true).");
		case RUNOPS_CAUSE_CO_RESIDENT:
			return _("Give the store \"legacy\" a server, or set \"runops.expect_control_plane_split\" to off and restart the server.");
	}

	return NULL;
}

/*
 * Raise gate_closed.
 */
static void
raise_closed(const char *store, const char *relname, const char *reason,
			 const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_RUNOPS_GATE_CLOSED),
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
		raise_closed(store, relname, reason, preloaded ?
					 _("Set \"runops.split_enabled\" to on and restart the server.") :
					 _("Add \"runops\" to \"shared_preload_libraries\" and restart the server."));
}

/*
 * Raise gate_closed for a verdict.
 */
void
runops_gate_raise(const RunopsProofState *state, const char *store,
				  const char *relname)
{
	raise_closed(store, relname, state->reason, runops_gate_hint(state->cause));
}

/*
 * Raise gate_closed unless the server of a store may be touched now, if need be
 * by asking it with the mapping of the given user.
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
 * The same for the writer of a store given by name, and the current user.
 */
void
runops_gate_require(const char *store, const char *relname)
{
	runops_gate_require_settings(store, relname);
	runops_gate_require_server(runops_store_server(store), GetUserId(), store, relname);
}

/*
 * Raise gate_closed if the gate is closed altogether: the settings close it, or
 * there are stores and none of them is proved.
 *
 * For who would conclude from what is not found here that it does not exist.
 * With the flag off, or without a store, there is no other place.
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
