/*-------------------------------------------------------------------------
 *
 * prefork.c
 *	  A preloaded library that generates ids before any backend is forked.
 *
 * This is what an extension that makes ids while it starts would do.  Compiled
 * and loaded by test/t/010_mint_ids.pl.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/*
 * Generate an id of each kind in the postmaster, and log it.
 */
void
_PG_init(void)
{
	static const char *const generators[] = {
		"runops_gen_cuid", "runops_gen_ksuid", "runops_gen_run_ops_id"
	};

	for (int i = 0; i < lengthof(generators); i++)
	{
		PGFunction	generate = (PGFunction)
			load_external_function("$libdir/runops", generators[i], true, NULL);

		LOCAL_FCINFO(fcinfo, 1);

		InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
		fcinfo->args[0].isnull = true;
		ereport(LOG,
				(errmsg("generated before fork: %s",
						TextDatumGetCString(generate(fcinfo)))));
	}
}
