/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  Records in this database which control plane uses a store, and compares it
 *	  later.
 *
 * A copy of the control plane knows the servers of its stores as well as the
 * original does, and would write to them.  So the first proof records for the
 * store the cluster, the database, the data directory and the timeline of this
 * control plane.  Every copy has the same record but another identity: a copy
 * by pg_dump is in another cluster or another database, and a physical copy in
 * another place or on another timeline.  A standby does not compare, because
 * it can only read.
 *
 * The store has a record too; see owner.c.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "replication/walreceiver.h"
#include "storage/fd.h"
#include "storage/spin.h"
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
#define Anum_store_identity_timeline 5
#define Anum_store_identity_replaces 6
#define Anum_store_identity_accepted 7

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
 * A control plane as one line of text.  The place is hashed, because the store
 * need not know the directories here.
 */
static char *
identity_text(uint64 sysid, const char *database, uint32 timeline, const char *place)
{
	return psprintf("cluster=" UINT64_FORMAT " timeline=%u place=%016" PRIx64 " database=%s",
					sysid, timeline,
					hash_bytes_extended((const unsigned char *) place, strlen(place), 0),
					database);
}

/*
 * This database as one line of text.  The server must not be in recovery.
 */
char *
runops_identity_own_text(void)
{
	RunopsIdentity here;

	runops_local_identity(&here);

	return identity_text(here.sysid, here.database,
						 GetWALInsertionTimeLine(), local_place());
}

/*
 * Compare a row of store_identity with this database.
 */
static void
compare_row(HeapTuple tuple, TupleDesc tupdesc, RunopsOwnRecord *own)
{
	bool		isnull;
	uint64		sysid = DatumGetInt64(heap_getattr(tuple, Anum_store_identity_sysid, tupdesc, &isnull));
	char	   *database = NameStr(*DatumGetName(heap_getattr(tuple, Anum_store_identity_database, tupdesc, &isnull)));
	char	   *place = TextDatumGetCString(heap_getattr(tuple, Anum_store_identity_place, tupdesc, &isnull));
	uint32		timeline = DatumGetInt64(heap_getattr(tuple, Anum_store_identity_timeline, tupdesc, &isnull));
	RunopsIdentity here;

	runops_local_identity(&here);
	own->who = identity_text(sysid, database, timeline, place);
	own->same_cluster = sysid == here.sysid && strcmp(database, here.database) == 0;
	own->former = DatumGetInt64(heap_getattr(tuple, Anum_store_identity_replaces, tupdesc, &isnull));
	own->replaces = !isnull;
	own->accepted = DatumGetBool(heap_getattr(tuple, Anum_store_identity_accepted, tupdesc, &isnull));

	own->kind = RUNOPS_RECORD_OTHER;
	if (sysid != here.sysid)
		snprintf(own->reason, RUNOPS_REASON_LEN,
				 _("The store was proved from a cluster with system identifier " UINT64_FORMAT "; this one has " UINT64_FORMAT "."),
				 sysid, here.sysid);
	else if (!own->same_cluster)
		snprintf(own->reason, RUNOPS_REASON_LEN,
				 _("The store was proved from database \"%s\"; this one is \"%s\"."),
				 database, here.database);
	else if (!here.in_recovery && strcmp(place, local_place()) != 0)
		snprintf(own->reason, RUNOPS_REASON_LEN,
				 _("The store was proved from data directory %s; this server is a copy in %s."),
				 place, DataDir);
	else if (!here.in_recovery && timeline != GetWALInsertionTimeLine())
		snprintf(own->reason, RUNOPS_REASON_LEN,
				 _("The store was proved on timeline %u of this cluster; this server is on timeline %u, so it was promoted or recovered."),
				 timeline, (uint32) GetWALInsertionTimeLine());
	else
		own->kind = RUNOPS_RECORD_FITS;
}

/*
 * Read the record for a store, and compare it with this database.
 */
void
runops_identity_read(const char *store, RunopsOwnRecord *own)
{
	Relation	rel = runops_config_table_open("store_identity", AccessShareLock);
	TupleDesc	tupdesc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	memset(own, 0, sizeof(RunopsOwnRecord));
	own->kind = RUNOPS_RECORD_NONE;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		if (strcmp(TextDatumGetCString(heap_getattr(tuple, Anum_store_identity_store, tupdesc, &isnull)),
				   store) == 0)
			compare_row(tuple, tupdesc, own);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Write the record for a store, as this database.  If replace is true, replace
 * an existing record.
 *
 * replaces is the claim of the store's record that is to be replaced, or NULL;
 * accepted tells whether somebody has said so.
 *
 * The row is written as the owner of the table, whichever role has called: the
 * record is a fact and not a choice.
 */
static void
write_record(const char *store, bool replace, const int64 *replaces, bool accepted)
{
	RunopsIdentity here;
	Relation	rel = runops_config_table_open("store_identity", AccessShareLock);
	Oid			owner = rel->rd_rel->relowner;
	Oid			save_userid;
	int			save_sec_context;
	Oid			types[] = {TEXTOID, INT8OID, NAMEOID, TEXTOID, INT8OID, INT8OID, BOOLOID};
	Datum		values[7];
	char		nulls[7];
	NameData	database;
	int			rc;

	table_close(rel, AccessShareLock);

	runops_local_identity(&here);
	namestrcpy(&database, here.database);
	memset(nulls, ' ', sizeof(nulls));
	values[0] = CStringGetTextDatum(store);
	values[1] = Int64GetDatum((int64) here.sysid);
	values[2] = NameGetDatum(&database);
	values[3] = CStringGetTextDatum(local_place());
	values[4] = Int64GetDatum((int64) GetWALInsertionTimeLine());
	values[5] = Int64GetDatum(replaces ? *replaces : 0);
	nulls[5] = replaces ? ' ' : 'n';
	values[6] = BoolGetDatum(accepted);

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(owner, save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	rc = SPI_execute_with_args(replace ?
							   "INSERT INTO runops.store_identity VALUES ($1, $2, $3, $4, $5, $6, $7, pg_catalog.now())"
							   " ON CONFLICT (store) DO UPDATE SET system_identifier = excluded.system_identifier,"
							   " database = excluded.database, place = excluded.place, timeline = excluded.timeline,"
							   " replaces = excluded.replaces, accepted = excluded.accepted, recorded_at = excluded.recorded_at" :
							   "INSERT INTO runops.store_identity VALUES ($1, $2, $3, $4, $5, $6, $7, pg_catalog.now())"
							   " ON CONFLICT (store) DO NOTHING",
							   lengthof(types), types, values, nulls, false, 0);
	if (rc != SPI_OK_INSERT)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(rc));
	SPI_finish();
	SetUserIdAndSecContext(save_userid, save_sec_context);
}

/*
 * Record the identity of this database for a store with this verdict.  If
 * replace is true, replace an existing record, and let the next probe replace
 * the one in the store.
 *
 * Nothing is written in a read-only transaction or during recovery.
 */
void
runops_identity_record(const char *store, bool replace,
					   const RunopsProofState *state)
{
	if (XactReadOnly || RecoveryInProgress())
		return;

	write_record(store, replace,
				 replace && state->owned ? &state->identity.claim : NULL, replace);
}

/*
 * Was WAL streamed to this server from a primary since it was started?
 *
 * This is true for a standby that was promoted, and not for a backup that was
 * recovered from an archive.  It remains true after the promotion, until the
 * server restarts.
 */
static bool
was_standby(void)
{
	XLogRecPtr	received;

	SpinLockAcquire(&WalRcv->mutex);
	received = WalRcv->latestWalEnd;
	SpinLockRelease(&WalRcv->mutex);

	return received != InvalidXLogRecPtr;
}

/*
 * If this server is a standby that was promoted, and the store belongs to the
 * primary that it followed, record that it takes the store over; returns
 * whether it does.  The next probe replaces the store's record, if no session
 * of the old primary is left.
 */
bool
runops_identity_succeed(const char *store, const RunopsProofState *state)
{
	if (state->cause != RUNOPS_CAUSE_IDENTITY || !state->may_succeed ||
		XactReadOnly || RecoveryInProgress() || !was_standby())
		return false;

	write_record(store, true, &state->identity.claim, false);

	return true;
}
