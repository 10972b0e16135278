/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  Records the identity of the control plane when a store is first proved
 *	  distinct, and compares it later.
 *
 * A copy of the control plane knows the servers of its stores as well as the
 * original does, and would write to them.  So the first proof records for the
 * store the cluster, the database and the data directory of this control
 * plane.  A physical copy has the same record but another identity.  A standby
 * does not compare, because it can only read.
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
#include "gate/gate_int.h"

/* columns of store_identity, in the order of 30-topology-stores.sql */
#define Anum_store_identity_store 1
#define Anum_store_identity_sysid 2
#define Anum_store_identity_database 3
#define Anum_store_identity_place 4

#define PG_CONTROL_FILE "global/pg_control"

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
 * Returns false if one of them is not known; see runops_identity_comparable().
 */
bool
runops_identity_equal(const RunopsIdentity *a, const RunopsIdentity *b)
{
	return a->sysid_known && b->sysid_known && a->sysid == b->sysid &&
		strcmp(a->database, b->database) == 0;
}

/*
 * The place where this server keeps its data, which a copy cannot share with
 * the original.
 *
 * The inode number of the control file distinguishes copies in directories of
 * the same name, as in containers; the file is written in place for the life
 * of a cluster.  The machine-id, if the host has one, distinguishes snapshots
 * of a whole volume.
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
 * Compare the identity recorded for a store with the identity of this
 * database.
 *
 * For RUNOPS_RECORD_OTHER the reason says what differs.
 */
RunopsRecord
runops_identity_compare(const char *store, char *reason)
{
	Relation	rel = runops_config_table_open("store_identity", AccessShareLock);
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
 * Record the identity of this database for a store.  If replace is true,
 * replace an existing record.
 *
 * The row is written as the owner of the table, whichever role has called: the
 * record is a fact and not a choice.  Nothing is written in a read-only
 * transaction or during recovery.
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

	rel = runops_config_table_open("store_identity", AccessShareLock);
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
