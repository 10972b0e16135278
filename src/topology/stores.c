/*-------------------------------------------------------------------------
 *
 * stores.c
 *	  Reads which stores and routed tables were configured with add_store and
 *	  attach.
 *
 * The planner reads the catalogs (routes.c).  This file serves callers that
 * must not depend on whether a leaf exists.  It reads the tables with scans of
 * its own and not through SPI, so a role that may use a routed table needs no
 * privilege on them.
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
#include "commands/defrem.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "topology/topology.h"

/* columns of table_config and store_config; see 30-topology-stores.sql */
#define Anum_table_config_relation	1
#define Anum_table_config_leaf		2
#define Anum_store_config_store		1
#define Anum_store_config_server	2
#define Anum_store_config_reader	3
#define Anum_store_config_remote_schema	4

/* the foreign table for a store's reader, in the schema of its leaves */
#define READER_TABLE "runops_reader"

/* how the schemas of leaves begin; see runops._leaf_schema() */
#define LEAF_SCHEMA "runops_"
#define SHARD_SCHEMA "runops_shard_"

/*
 * The OID of a table of the extension, or InvalidOid while it does not exist.
 */
Oid
runops_config_table_oid(const char *name)
{
	Oid			nsp = get_namespace_oid(RUNOPS_SCHEMA, true);

	if (!OidIsValid(nsp) || !OidIsValid(runops_store_of_oid()))
		return InvalidOid;

	return get_relname_relid(name, nsp);
}

/*
 * The OIDs in one column of table_config, which has one row for each routed
 * table.
 */
static List *
config_oids(int attnum)
{
	Oid			config = runops_config_table_oid("table_config");
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
 * The attached tables: the leaves of legacy, or the tables beside the leaves
 * if legacy is another database.
 */
List *
runops_old_tables(void)
{
	return config_oids(Anum_table_config_leaf);
}

/*
 * Does the given column of a store_config row hold the given server name?
 */
static bool
names_server(HeapTuple tuple, TupleDesc desc, int attnum, const char *name)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	return !isnull && strcmp(NameStr(*DatumGetName(value)), name) == 0;
}

/*
 * Does a store of this name exist?  If server is true: does a store have the
 * server of this name as its writer or reader?
 */
bool
runops_store_exists(const char *name, bool server)
{
	Oid			config = runops_config_table_oid("store_config");
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

/*
 * Open one of the extension's tables.
 */
Relation
runops_config_table_open(const char *name, LOCKMODE lockmode)
{
	Oid			relid = get_relname_relid(name, get_namespace_oid(RUNOPS_SCHEMA, false));

	if (!OidIsValid(relid))
		elog(ERROR, "relation \"%s.%s\" does not exist", RUNOPS_SCHEMA, name);

	return table_open(relid, lockmode);
}

/*
 * The OID of the server named in a column; InvalidOid if the column is NULL or
 * the server does not exist.
 */
static Oid
server_column(HeapTuple tuple, TupleDesc tupdesc, int attnum)
{
	bool		isnull;
	Datum		datum = heap_getattr(tuple, attnum, tupdesc, &isnull);

	return isnull ? InvalidOid :
		get_foreign_server_oid(NameStr(*DatumGetName(datum)), true);
}

/*
 * All rows of store_config, as a list of RunopsStore.
 */
List *
runops_stores(void)
{
	Relation	rel = runops_config_table_open("store_config", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *stores = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc	tupdesc = RelationGetDescr(rel);
		RunopsStore *store = palloc0(sizeof(RunopsStore));
		Datum		name;
		bool		isnull;

		text_to_cstring_buffer(DatumGetTextPP(heap_getattr(tuple, Anum_store_config_store,
														   tupdesc, &isnull)),
							   store->store, RUNOPS_STORE_LEN);
		name = heap_getattr(tuple, Anum_store_config_server, tupdesc, &isnull);
		if (!isnull)
			strlcpy(store->server, NameStr(*DatumGetName(name)), NAMEDATALEN);
		store->serverid = server_column(tuple, tupdesc, Anum_store_config_server);
		store->readerid = server_column(tuple, tupdesc, Anum_store_config_reader);
		name = heap_getattr(tuple, Anum_store_config_remote_schema, tupdesc, &isnull);
		if (!isnull)
			strlcpy(store->remote_schema, NameStr(*DatumGetName(name)), NAMEDATALEN);
		stores = lappend(stores, store);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return stores;
}

/*
 * Is there a routed table in a schema of this name?
 */
static bool
any_routed_in_schema(const char *schema)
{
	Relation	rel = runops_config_table_open("table_config", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	Oid			namespaceid = get_namespace_oid(schema, true);
	bool		found = false;
	HeapTuple	tuple;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Oid			relid = DatumGetObjectId(heap_getattr(tuple, Anum_table_config_relation,
														  RelationGetDescr(rel), &isnull));

		found = OidIsValid(namespaceid) && get_rel_namespace(relid) == namespaceid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return found;
}

/*
 * Would two stores have the same tables if their servers led to one database?
 *
 * The answer is no if they were given different schemas there.
 */
bool
runops_stores_meet(const RunopsStore *a, const RunopsStore *b)
{
	if (a->remote_schema[0] == '\0' && b->remote_schema[0] != '\0')
		return any_routed_in_schema(b->remote_schema);
	if (b->remote_schema[0] == '\0' && a->remote_schema[0] != '\0')
		return any_routed_in_schema(a->remote_schema);

	return strcmp(a->remote_schema, b->remote_schema) == 0;
}

/*
 * The server of a store; raises if the store does not exist or is this
 * database.
 */
Oid
runops_store_server(const char *store)
{
	ListCell   *lc;

	foreach(lc, runops_stores())
	{
		RunopsStore *s = (RunopsStore *) lfirst(lc);

		if (strcmp(s->store, store) != 0)
			continue;
		/* raises if the server was dropped */
		if (s->server[0] != '\0')
			return get_foreign_server_oid(s->server, false);

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("store \"%s\" is this database itself", store),
				 errdetail("No server is configured for it."),
				 errhint("Name a store that has a server.")));
	}

	ereport(ERROR,
			(errcode(ERRCODE_RUNOPS_STORE_NOT_CONFIGURED),
			 errmsg("store \"%s\" is not configured", store),
			 errdetail("There is no row for it in the view \"%s.stores\".", RUNOPS_SCHEMA),
			 errhint("Configure it with %s.add_store().", RUNOPS_SCHEMA)));
}

/*
 * Does a server take part in two-phase commits?
 */
bool
runops_server_two_phase(Oid serverid)
{
	ListCell   *lc;

	foreach(lc, GetForeignServer(serverid)->options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, "two_phase") == 0)
			return defGetBoolean(def);
	}

	return false;
}

/*
 * The name for the store behind a foreign table in messages: the store's name
 * if the table is a leaf of a routed table, else its server's name.
 */
const char *
runops_store_label(Oid relid)
{
	char		store[RUNOPS_STORE_LEN];

	if (runops_leaf_store(relid, store))
		return pstrdup(store);

	return GetForeignServer(GetForeignServerIdByRelId(relid))->servername;
}

/*
 * The foreign table that stands for the reader of a store; InvalidOid if the
 * store has no reader.
 */
Oid
runops_reader_table(const char *store)
{
	bool		named = runops_is_legacy(store) || strcmp(store, RUNOPS_NEW_STORE) == 0;
	char		schema[NAMEDATALEN];
	Oid			namespaceid;
	Oid			relid;

	snprintf(schema, sizeof(schema), "%s%s", named ? LEAF_SCHEMA : SHARD_SCHEMA, store);
	namespaceid = get_namespace_oid(schema, true);
	if (!OidIsValid(namespaceid))
		return InvalidOid;
	relid = get_relname_relid(READER_TABLE, namespaceid);
	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_FOREIGN_TABLE)
		return InvalidOid;

	return relid;
}

/*
 * If the name and the schema of a foreign table make it stand for the reader
 * of a store, copy that store to store[RUNOPS_STORE_LEN]; else return false.
 */
bool
runops_reader_table_store(Oid relid, char *store)
{
	char	   *name = get_rel_name(relid);
	char	   *schema = get_namespace_name(get_rel_namespace(relid));

	if (name == NULL || schema == NULL || strcmp(name, READER_TABLE) != 0)
		return false;
	if (strncmp(schema, SHARD_SCHEMA, strlen(SHARD_SCHEMA)) == 0)
		strlcpy(store, schema + strlen(SHARD_SCHEMA), RUNOPS_STORE_LEN);
	else if (strncmp(schema, LEAF_SCHEMA, strlen(LEAF_SCHEMA)) == 0)
		strlcpy(store, schema + strlen(LEAF_SCHEMA), RUNOPS_STORE_LEN);
	else
		return false;

	return true;
}

/*
 * The server of a store's reader; InvalidOid if there is none.
 */
Oid
runops_reader_server(const char *store)
{
	Oid			relid = runops_reader_table(store);

	return OidIsValid(relid) ? GetForeignServerIdByRelId(relid) : InvalidOid;
}
