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

#include "miscadmin.h"

#include "errcodes.h"
#include "runops.h"

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
 * Raise gate_closed unless the store may be touched now.
 *
 * relname names the relation for the message, or is NULL if there is none.
 */
void
runops_gate_require(const char *store, const char *relname)
{
	const char *reason = runops_gate_closed_reason();

	if (reason == NULL)
		return;

	ereport(ERROR,
			(errcode(ERRCODE_RUNOPS_GATE_CLOSED),
			 relname ?
			 errmsg("cannot access store \"%s\" of \"%s\": the gate is closed", store, relname) :
			 errmsg("cannot access store \"%s\": the gate is closed", store),
			 errdetail("%s", reason),
			 preloaded ?
			 errhint("Set \"runops.split_enabled\" to on and restart the server.") :
			 errhint("Add \"runops\" to \"shared_preload_libraries\" and restart the server.")));
}

/*
 * Note that the library was loaded by the postmaster.
 */
void
runops_gate_init(void)
{
	preloaded = true;
}
