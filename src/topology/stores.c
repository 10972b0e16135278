/*-------------------------------------------------------------------------
 *
 * stores.c
 *	  Which stores and routed tables there are, as add_store and attach were told.
 *
 * The planner asks the catalogs (routes.c); this is for what may not rest on a
 * leaf being there.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/runops.h"

/* the columns of runops.table_config and runops.store_config that are read */
#define Anum_table_config_relation	1
#define Anum_table_config_leaf		2
#define Anum_store_config_store		1
#define Anum_store_config_server	2
#define Anum_store_config_reader	3

/*
 * The OID of a table of the extension, or InvalidOid while there is none.
 */
Oid
runops_config_oid(const char *name)
{
	Oid			nsp = get_namespace_oid(RUNOPS_SCHEMA, true);

	if (!OidIsValid(nsp) || !OidIsValid(runops_store_of_oid()))
		return InvalidOid;

	return get_relname_relid(name, nsp);
}

/*
 * The OIDs in a column of the table of routed tables.
 */
static List *
config_oids(int attnum)
{
	Oid			config = runops_config_oid("table_config");
	List	   *result = NIL;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(config))
		return NIL;

	rel = table_open(config, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		result = lappend_oid(result,
							 DatumGetObjectId(heap_getattr(tuple, attnum,
														   RelationGetDescr(rel), &isnull)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return result;
}

/*
 * The routed tables.
 */
List *
runops_routed_tables(void)
{
	return config_oids(Anum_table_config_relation);
}

/*
 * What was attached: the leaves of legacy, or the tables that stand beside the
 * leaves where legacy is another database.
 */
List *
runops_old_tables(void)
{
	return config_oids(Anum_table_config_leaf);
}

/*
 * Does a column of a row of store_config hold the name of a server?
 */
static bool
names_server(HeapTuple tuple, TupleDesc desc, int attnum, const char *name)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	return !isnull && strcmp(NameStr(*DatumGetName(value)), name) == 0;
}

/*
 * Is there a store of the name, or, if server is true, with the server of the
 * name as its writer or reader?
 */
bool
runops_store_exists(const char *name, bool server)
{
	Oid			config = runops_config_oid("store_config");
	bool		found = false;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(config))
		return false;

	rel = table_open(config, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc	desc = RelationGetDescr(rel);
		bool		isnull;

		if (server)
			found = names_server(tuple, desc, Anum_store_config_server, name) ||
				names_server(tuple, desc, Anum_store_config_reader, name);
		else
			found = strcmp(TextDatumGetCString(heap_getattr(tuple, Anum_store_config_store,
															desc, &isnull)), name) == 0;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return found;
}
