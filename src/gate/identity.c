/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  Which database this is, which one it was when a store was first proved
 *	  distinct, and which stores there are.
 *
 * A copy of the control plane knows the servers of its stores as well as the
 * original does, and would write to them.  So the first proof records, beside
 * the store, which cluster, database and data directory this is; a physical
 * copy carries the record and does not fit it.  A standby does not ask where it
 * is, because all it can do is read.
 *
 * The configuration is read by scans of our own and not through SPI: whoever
 * may use a routed table needs no privilege on it.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "gate/sentinel.h"

/* columns of store_config and store_identity, in the order of 30-topology-stores.sql */
#define Anum_store_config_store 1
#define Anum_store_config_server 2
#define Anum_store_config_reader 3
#define Anum_store_config_remote_schema 4
#define Anum_table_config_relation 1
#define Anum_store_identity_store 1
#define Anum_store_identity_sysid 2
#define Anum_store_identity_database 3
#define Anum_store_identity_place 4

#define PG_CONTROL_FILE "global/pg_control"

/*
 * Open one of the extension's tables.
 */
Relation
runops_open_config(const char *name, LOCKMODE lockmode)
{
	Oid			relid = get_relname_relid(name, get_namespace_oid(RUNOPS_SCHEMA, false));

	if (!OidIsValid(relid))
		elog(ERROR, "relation \"%s.%s\" does not exist", RUNOPS_SCHEMA, name);

	return table_open(relid, lockmode);
}

/*
 * The OID of the server named in a column, InvalidOid if the column is NULL or
 * there is no such server.
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
	Relation	rel = runops_open_config("store_config", AccessShareLock);
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
 * Is any routed table in a schema of this name?
 */
static bool
any_routed_in_schema(const char *schema)
{
	Relation	rel = runops_open_config("table_config", AccessShareLock);
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
 * Would two stores have the same tables if they were in one database?
 *
 * Not if they were given different schemas there.
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
 * The server of a store; raises if there is no such store, or if it is this
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
		/* raises if it is gone */
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
 * The fingerprint of this database.
 */
void
runops_local_identity(RunopsIdentity *identity)
{
	char	   *database = get_database_name(MyDatabaseId);

	memset(identity, 0, sizeof(RunopsIdentity));
	identity->sysid_known = true;
	identity->sysid = GetSystemIdentifier();
	strlcpy(identity->database, database ? database : "", NAMEDATALEN);
	identity->in_recovery = RecoveryInProgress();
}

/*
 * Do two fingerprints name the same database of the same cluster?
 *
 * False if one of them is not known; see runops_identity_comparable().
 */
bool
runops_identity_equal(const RunopsIdentity *a, const RunopsIdentity *b)
{
	return a->sysid_known && b->sysid_known && a->sysid == b->sysid &&
		strcmp(a->database, b->database) == 0;
}

/*
 * Where this server keeps its data: what a copy cannot share with the original.
 *
 * The number of the control file tells copies in like-named directories apart,
 * which is what containers have; it is written in place for the life of a
 * cluster.  The host's identifier tells snapshots of a whole volume apart, where
 * there is one.
 */
static char *
local_place(void)
{
	struct stat st;
	char		machine[33] = "";
	int			fd;

	if (stat(PG_CONTROL_FILE, &st) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", PG_CONTROL_FILE)));

	fd = OpenTransientFile("/etc/machine-id", O_RDONLY | PG_BINARY);
	if (fd >= 0)
	{
		ssize_t		n = read(fd, machine, sizeof(machine) - 1);

		machine[Max(n, 0)] = '\0';
		machine[strcspn(machine, "\n")] = '\0';
		CloseTransientFile(fd);
	}

	return psprintf("%s, control file " UINT64_FORMAT "%s%s", DataDir,
					(uint64) st.st_ino, machine[0] ? ", machine " : "", machine);
}

/*
 * Compare what is recorded beside a store with what this database is.
 *
 * On RUNOPS_RECORD_OTHER the reason says what differs.
 */
RunopsRecord
runops_identity_compare(const char *store, char *reason)
{
	Relation	rel = runops_open_config("store_identity", AccessShareLock);
	TupleDesc	tupdesc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	RunopsRecord result = RUNOPS_RECORD_NONE;
	RunopsIdentity here;
	HeapTuple	tuple;

	runops_local_identity(&here);

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		char	   *name = TextDatumGetCString(heap_getattr(tuple, Anum_store_identity_store, tupdesc, &isnull));
		uint64		sysid = DatumGetInt64(heap_getattr(tuple, Anum_store_identity_sysid, tupdesc, &isnull));
		char	   *database = NameStr(*DatumGetName(heap_getattr(tuple, Anum_store_identity_database, tupdesc, &isnull)));
		char	   *place = TextDatumGetCString(heap_getattr(tuple, Anum_store_identity_place, tupdesc, &isnull));

		if (strcmp(name, store) != 0)
			continue;

		result = RUNOPS_RECORD_OTHER;
		if (sysid != here.sysid)
			snprintf(reason, RUNOPS_REASON_LEN,
					 _("The store was proved from a cluster with system identifier " UINT64_FORMAT "; this one has " UINT64_FORMAT "."),
					 sysid, here.sysid);
		else if (strcmp(database, here.database) != 0)
			snprintf(reason, RUNOPS_REASON_LEN,
					 _("The store was proved from database \"%s\"; this one is \"%s\"."),
					 database, here.database);
		else if (!here.in_recovery && strcmp(place, local_place()) != 0)
			snprintf(reason, RUNOPS_REASON_LEN,
					 _("The store was proved from data directory %s; this server is a copy in %s."),
					 place, DataDir);
		else
			result = RUNOPS_RECORD_FITS;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	return result;
}

/*
 * Record what this database is beside a store, or, to replace what is there.
 *
 * It is the owner of the table who writes, whoever has called: the record is a
 * fact and not a choice.  Nothing is written where nothing can be.
 */
void
runops_identity_record(const char *store, bool replace)
{
	RunopsIdentity here;
	Relation	rel;
	Oid			owner;
	Oid			save_userid;
	int			save_sec_context;
	Oid			types[] = {TEXTOID, INT8OID, NAMEOID, TEXTOID};
	Datum		values[4];
	NameData	database;
	int			rc;

	if (XactReadOnly || RecoveryInProgress())
		return;

	rel = runops_open_config("store_identity", AccessShareLock);
	owner = rel->rd_rel->relowner;
	table_close(rel, AccessShareLock);

	runops_local_identity(&here);
	namestrcpy(&database, here.database);
	values[0] = CStringGetTextDatum(store);
	values[1] = Int64GetDatum((int64) here.sysid);
	values[2] = NameGetDatum(&database);
	values[3] = CStringGetTextDatum(local_place());

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(owner, save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	rc = SPI_execute_with_args(replace ?
							   "INSERT INTO runops.store_identity VALUES ($1, $2, $3, $4, pg_catalog.now())"
							   " ON CONFLICT (store) DO UPDATE SET system_identifier = excluded.system_identifier,"
							   " database = excluded.database, place = excluded.place, recorded_at = excluded.recorded_at" :
							   "INSERT INTO runops.store_identity VALUES ($1, $2, $3, $4, pg_catalog.now())"
							   " ON CONFLICT (store) DO NOTHING",
							   lengthof(types), types, values, NULL, false, 0);
	if (rc != SPI_OK_INSERT)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(rc));
	SPI_finish();
	SetUserIdAndSecContext(save_userid, save_sec_context);
}
