/*-------------------------------------------------------------------------
 *
 * watch.c
 *	  Invalidates values of the shared cache when rows of watched tables are
 *	  written.
 *
 * The file has the trigger function of watched tables, and functions such as
 * invalidate_environment().  pending.c keeps the tags that they collect.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "base/runops.h"
#include "control_plane/control_plane.h"

PG_FUNCTION_INFO_V1(runops_watch_trigger);
PG_FUNCTION_INFO_V1(runops_watch_arguments);
PG_FUNCTION_INFO_V1(runops_invalidate_environment);
PG_FUNCTION_INFO_V1(runops_invalidate_organization);
PG_FUNCTION_INFO_V1(runops_resolver_changed);

/*
 * Invalidate an id of one kind, or everything if id is NULL.  The slots are
 * named by the arguments of a trigger from the third on; without these, all
 * slots are meant.
 */
static void
invalidate_in_slots(RunopsTagKind kind, const char *id, int nslots, char **slots)
{
	int			len = id == NULL ? 0 : strlen(id);

	if (nslots == 0)
		runops_invalidate(runops_tags_make(runops_tags_prefix(MyDatabaseId, kind, NULL),
										   id, len));
	for (int i = 0; i < nslots; i++)
		runops_invalidate(runops_tags_make(runops_tags_prefix(MyDatabaseId, kind, slots[i]),
										   id, len));
}

/*
 * The value of a column that is named by a trigger argument; NULL if it is
 * null or no column is given.  Sets *missing if the column does not exist any
 * more.
 */
static char *
watched_value(const char *column, HeapTuple row, TupleDesc tupdesc, bool *missing)
{
	int			attno;

	if (column[0] == '\0')
		return NULL;
	attno = SPI_fnumber(tupdesc, column);
	if (attno == SPI_ERROR_NOATTRIBUTE)
	{
		*missing = true;
		return NULL;
	}

	return SPI_getvalue(row, tupdesc, attno);
}

/*
 * Invalidate the values that a row of a watched table concerns.
 *
 * If the row names an environment, it concerns only that environment, and
 * values of other environments of the organization stay valid.  A row whose
 * columns are all NULL may concern every value.  The same is true for any row
 * if a column that was given to watch() does not exist any more.
 */
static void
invalidate_by_row(Trigger *trigger, HeapTuple row, TupleDesc tupdesc)
{
	int			nslots = trigger->tgnargs - 2;
	char	  **slots = trigger->tgargs + 2;
	bool		missing = false;
	char	   *environment = watched_value(trigger->tgargs[0], row, tupdesc, &missing);
	char	   *organization = watched_value(trigger->tgargs[1], row, tupdesc, &missing);

	if (missing || (environment == NULL && organization == NULL))
		invalidate_in_slots(RUNOPS_TAG_SLOT, NULL, nslots, slots);
	if (environment != NULL)
	{
		invalidate_in_slots(RUNOPS_TAG_ENVIRONMENT, environment, nslots, slots);
		pfree(environment);
	}
	if (organization != NULL)
	{
		invalidate_in_slots(environment != NULL ? RUNOPS_TAG_ORGANIZATION_ALONE :
							RUNOPS_TAG_ORGANIZATION, organization, nslots, slots);
		pfree(organization);
	}
}

/*
 * _watch() returns trigger
 *
 * Trigger function of a watched table, for each row and for TRUNCATE.  The
 * arguments are the columns of the environment and the organization, empty if
 * there is none, followed by the slots.
 */
Datum
runops_watch_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	TupleDesc	tupdesc;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "_watch")));
	if (!TRIGGER_FIRED_AFTER(trigdata->tg_event) || trigdata->tg_trigger->tgnargs < 2)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by a trigger that watch() has created", "_watch"),
				 errhint("Use %s.watch().", RUNOPS_SCHEMA)));

	if (!runops_cache_enabled())
		PG_RETURN_POINTER(NULL);

	if (!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
	{
		invalidate_in_slots(RUNOPS_TAG_SLOT, NULL, trigdata->tg_trigger->tgnargs - 2,
							trigdata->tg_trigger->tgargs + 2);
		PG_RETURN_POINTER(NULL);
	}

	tupdesc = RelationGetDescr(trigdata->tg_relation);
	invalidate_by_row(trigdata->tg_trigger, trigdata->tg_trigtuple, tupdesc);
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		invalidate_by_row(trigdata->tg_trigger, trigdata->tg_newtuple, tupdesc);

	PG_RETURN_POINTER(NULL);
}

/*
 * _watch_arguments(bytea) returns text[]
 *
 * The arguments of a trigger, from pg_trigger.tgargs.
 */
Datum
runops_watch_arguments(PG_FUNCTION_ARGS)
{
	bytea	   *args = PG_GETARG_BYTEA_PP(0);
	const char *p = VARDATA_ANY(args);
	const char *end = p + VARSIZE_ANY_EXHDR(args);
	ArrayBuildState *astate = initArrayResult(TEXTOID, CurrentMemoryContext, false);

	while (p < end)
	{
		int			len = strnlen(p, end - p);

		astate = accumArrayResult(astate,
								  PointerGetDatum(cstring_to_text_with_len(p, len)),
								  false, TEXTOID, CurrentMemoryContext);
		p += len + 1;
	}

	PG_RETURN_DATUM(makeArrayResult(astate, CurrentMemoryContext));
}

/*
 * Invalidate an id of one kind in all slots.
 */
static void
invalidate_id(RunopsTagKind kind, text *id)
{
	if (runops_cache_enabled())
		runops_invalidate(runops_tags_make(runops_tags_prefix(MyDatabaseId, kind, NULL),
										   VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id)));
}

/*
 * invalidate_environment(id text) returns void
 */
Datum
runops_invalidate_environment(PG_FUNCTION_ARGS)
{
	invalidate_id(RUNOPS_TAG_ENVIRONMENT, PG_GETARG_TEXT_PP(0));
	PG_RETURN_VOID();
}

/*
 * invalidate_organization(id text) returns void
 */
Datum
runops_invalidate_organization(PG_FUNCTION_ARGS)
{
	invalidate_id(RUNOPS_TAG_ORGANIZATION, PG_GETARG_TEXT_PP(0));
	PG_RETURN_VOID();
}

/*
 * _resolver_changed() returns trigger
 *
 * Row trigger of resolver_config, whose first column is the slot.  The values
 * that the old query has read are invalid, because the new query may read
 * others.
 */
Datum
runops_resolver_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	HeapTuple	rows[2] = {NULL, NULL};

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by a row trigger", "_resolver_changed")));

	if (!runops_cache_enabled())
		PG_RETURN_POINTER(NULL);

	rows[0] = trigdata->tg_trigtuple;
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		rows[1] = trigdata->tg_newtuple;
	for (int i = 0; i < 2 && rows[i] != NULL; i++)
	{
		char	   *slot = SPI_getvalue(rows[i], RelationGetDescr(trigdata->tg_relation), 1);

		if (slot != NULL)
			invalidate_in_slots(RUNOPS_TAG_SLOT, NULL, 1, &slot);
	}

	PG_RETURN_POINTER(NULL);
}
