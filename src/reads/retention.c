/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  Decides whether a missing row was deleted because of its age.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/id.h"
#include "reads/reads_int.h"

/* the columns of runops.retention_config */
#define Anum_retention_relation 1
#define Anum_retention_keep 2

/*
 * How long the legacy rows of a table are kept; NULL if this is not
 * configured.
 *
 * A role that may read the table needs no privilege on the configuration.
 */
static Interval *
retention_of(Oid relid)
{
	Oid			configid = get_relname_relid("retention_config",
											 get_namespace_oid(RUNOPS_SCHEMA, false));
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	Interval   *keep = NULL;

	if (!OidIsValid(configid))
		elog(ERROR, "relation \"%s.retention_config\" does not exist", RUNOPS_SCHEMA);
	rel = table_open(configid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (keep == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		if (DatumGetObjectId(heap_getattr(tuple, Anum_retention_relation,
										  RelationGetDescr(rel), &isnull)) == relid)
		{
			keep = palloc(sizeof(Interval));
			*keep = *DatumGetIntervalP(heap_getattr(tuple, Anum_retention_keep,
													RelationGetDescr(rel), &isnull));
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return keep;
}

/*
 * Is a missing id a legacy id that was minted longer ago than rows of the
 * table are kept?
 *
 * Only legacy is cleaned up by age, and only an id with a time has an age.
 */
bool
runops_past_retention(Oid relid, text *id)
{
	RunopsIdParts parts;
	Interval   *keep;
	TimestampTz limit;
	TimestampTz minted;

	runops_id_parse(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), &parts);
	if (parts.kind != RUNOPS_ID_CUID || !parts.has_time)
		return false;
	keep = retention_of(relid);
	if (keep == NULL)
		return false;

	limit = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
													TimestampTzGetDatum(GetCurrentTimestamp()),
													IntervalPGetDatum(keep)));
	minted = ((TimestampTz) parts.unix_ms) * 1000 -
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	return minted < limit;
}
