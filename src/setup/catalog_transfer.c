/*-------------------------------------------------------------------------
 *
 * catalog_transfer.c
 *	  Moves catalog entries from one table to another for attach and detach.
 *
 * SQL commands cannot do this without loss: GRANT records another grantor, an
 * identity column that is dropped and added again gets a new sequence, and
 * ANALYZE of a routed table reads every store.
 *
 * Columns are matched by name, because attribute numbers differ if the old
 * table has dropped columns.  The caller has locked both tables against every
 * other use.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/toast_compression.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_statistic.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/argument.h"
#include "base/compat.h"

PG_FUNCTION_INFO_V1(runops_carry_privileges);
PG_FUNCTION_INFO_V1(runops_carry_sequences);
PG_FUNCTION_INFO_V1(runops_spread_identity);
PG_FUNCTION_INFO_V1(runops_carry_statistics);
PG_FUNCTION_INFO_V1(runops_detach_partition);
PG_FUNCTION_INFO_V1(runops_forget_compression);

/*
 * Raise unless the caller owns both tables; the functions here write catalog
 * entries that only an owner may change.
 */
static void
check_owner_of_both(Oid from, Oid to)
{
	Oid			rels[] = {from, to};

	for (int i = 0; i < lengthof(rels); i++)
	{
		/* attach() and detach() have locked them; others may call us too */
		runops_argument_lock(rels[i], AccessShareLock);
		if (!object_ownercheck(RelationRelationId, rels[i], GetUserId()))
			aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(rels[i]));
	}
}

/*
 * Set the ACL of a pg_class or pg_attribute tuple to the ACL of another tuple,
 * and record the dependencies on its roles.
 */
static void
carry_acl(Relation catalog, HeapTuple from, HeapTuple to, int aclattno,
		  Oid relid, int subid, Oid owner)
{
	Datum		values[Natts_pg_class > Natts_pg_attribute ? Natts_pg_class : Natts_pg_attribute];
	bool		nulls[lengthof(values)] = {0};
	bool		replaces[lengthof(values)] = {0};
	TupleDesc	desc = RelationGetDescr(catalog);
	bool		old_null;
	bool		new_null;
	Datum		old_acl = heap_getattr(to, aclattno, desc, &old_null);
	Datum		new_acl = heap_getattr(from, aclattno, desc, &new_null);
	Oid		   *old_roles = NULL;
	Oid		   *new_roles = NULL;
	int			nold = 0;
	int			nnew = 0;
	HeapTuple	tuple;

	if (old_null && new_null)
		return;

	if (!old_null)
		nold = aclmembers(DatumGetAclPCopy(old_acl), &old_roles);
	if (!new_null)
		nnew = aclmembers(DatumGetAclPCopy(new_acl), &new_roles);

	memset(values, 0, sizeof(values));
	values[aclattno - 1] = new_acl;
	nulls[aclattno - 1] = new_null;
	replaces[aclattno - 1] = true;
	tuple = heap_modify_tuple(to, desc, values, nulls, replaces);
	CatalogTupleUpdate(catalog, &tuple->t_self, tuple);

	updateAclDependencies(RelationRelationId, relid, subid, owner,
						  nold, old_roles, nnew, new_roles);
}

/*
 * carry_privileges("from" regclass, "to" regclass)
 *
 * Give a table and its columns exactly the privileges of another table.
 */
Datum
runops_carry_privileges(PG_FUNCTION_ARGS)
{
	Oid			from = PG_GETARG_OID(0);
	Oid			to = PG_GETARG_OID(1);
	Relation	pg_class = table_open(RelationRelationId, RowExclusiveLock);
	Relation	pg_attribute = table_open(AttributeRelationId, RowExclusiveLock);
	HeapTuple	from_tuple;
	HeapTuple	to_tuple;
	Oid			owner;
	int			natts;

	check_owner_of_both(from, to);

	from_tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(from));
	to_tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(to));
	if (!HeapTupleIsValid(from_tuple) || !HeapTupleIsValid(to_tuple))
		elog(ERROR, "cache lookup failed for relation %u or %u", from, to);
	owner = ((Form_pg_class) GETSTRUCT(to_tuple))->relowner;
	natts = ((Form_pg_class) GETSTRUCT(from_tuple))->relnatts;

	carry_acl(pg_class, from_tuple, to_tuple, Anum_pg_class_relacl, to, 0, owner);
	ReleaseSysCache(from_tuple);

	for (AttrNumber attno = FirstLowInvalidHeapAttributeNumber + 1; attno <= natts; attno++)
	{
		if (attno == InvalidAttrNumber)
			continue;
		from_tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(from), Int16GetDatum(attno));
		if (!HeapTupleIsValid(from_tuple))
			continue;
		if (!((Form_pg_attribute) GETSTRUCT(from_tuple))->attisdropped)
		{
			to_tuple = SearchSysCacheCopyAttName(to, NameStr(((Form_pg_attribute) GETSTRUCT(from_tuple))->attname));
			if (HeapTupleIsValid(to_tuple))
				carry_acl(pg_attribute, from_tuple, to_tuple, Anum_pg_attribute_attacl, to,
						  ((Form_pg_attribute) GETSTRUCT(to_tuple))->attnum, owner);
		}
		ReleaseSysCache(from_tuple);
	}

	CommandCounterIncrement();
	table_close(pg_attribute, RowExclusiveLock);
	table_close(pg_class, RowExclusiveLock);

	PG_RETURN_VOID();
}

/*
 * Raise that one of two tables, which must have the same columns, lacks one.
 */
static void
missing_column(Oid relid, const char *attname)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of relation \"%s\" does not exist",
					attname, get_rel_name(relid)),
			 errdetail("The other table has the column."),
			 errhint("Add the column.")));
}

/*
 * Set attidentity of a column, which is found by its name.
 */
static void
set_identity(Relation pg_attribute, Oid relid, const char *attname, char identity)
{
	HeapTuple	tuple = SearchSysCacheCopyAttName(relid, attname);

	if (!HeapTupleIsValid(tuple))
		missing_column(relid, attname);
	if (((Form_pg_attribute) GETSTRUCT(tuple))->attidentity != identity)
	{
		((Form_pg_attribute) GETSTRUCT(tuple))->attidentity = identity;
		CatalogTupleUpdate(pg_attribute, &tuple->t_self, tuple);
	}
}

/*
 * Make a sequence belong to the column of the same name of another table, with
 * the same kind of dependency: as a serial column's or an identity column's
 * sequence.
 */
static void
carry_sequence(Relation pg_attribute, Form_pg_depend dep, Oid to)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(dep->refobjid),
										Int16GetDatum(dep->refobjsubid));
	char	   *attname;
	char		identity;
	ObjectAddress seq;
	ObjectAddress column;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for attribute %d of relation %u",
			 dep->refobjsubid, dep->refobjid);
	attname = pstrdup(NameStr(((Form_pg_attribute) GETSTRUCT(tuple))->attname));
	identity = ((Form_pg_attribute) GETSTRUCT(tuple))->attidentity;
	ReleaseSysCache(tuple);

	ObjectAddressSet(seq, RelationRelationId, dep->objid);
	ObjectAddressSubSet(column, RelationRelationId, to, get_attnum(to, attname));
	if (column.objectSubId == InvalidAttrNumber)
		missing_column(to, attname);

	if (dep->deptype == DEPENDENCY_INTERNAL)
	{
		/* since PostgreSQL 17 partitions share the identity of their parent */
		List	   *children = find_all_inheritors(dep->refobjid, NoLock, NULL);
		ListCell   *lc;

		foreach(lc, children)
			set_identity(pg_attribute, lfirst_oid(lc), attname, '\0');

		children = PG17_GE ? find_all_inheritors(to, NoLock, NULL) : list_make1_oid(to);
		foreach(lc, children)
			set_identity(pg_attribute, lfirst_oid(lc), attname, identity);
	}

	deleteDependencyRecordsForClass(RelationRelationId, seq.objectId,
									RelationRelationId, dep->deptype);
	recordDependencyOn(&seq, &column, dep->deptype);
	CacheInvalidateRelcacheByRelid(to);
}

/*
 * carry_sequences("from" regclass, "to" regclass)
 *
 * Make the sequences of a table's identity and serial columns belong to
 * another table.  They keep their OID, name, options, state and schema, so
 * both tables must be in the same schema.
 */
Datum
runops_carry_sequences(PG_FUNCTION_ARGS)
{
	Oid			from = PG_GETARG_OID(0);
	Oid			to = PG_GETARG_OID(1);
	Relation	pg_attribute = table_open(AttributeRelationId, RowExclusiveLock);
	Relation	pg_depend = table_open(DependRelationId, RowExclusiveLock);
	List	   *found = NIL;
	ListCell   *lc;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	check_owner_of_both(from, to);

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(from));
	scan = systable_beginscan(pg_depend, DependReferenceIndexId, true, NULL, lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend dep = (Form_pg_depend) GETSTRUCT(tuple);

		if (dep->classid == RelationRelationId && dep->objsubid == 0 && dep->refobjsubid != 0 &&
			(dep->deptype == DEPENDENCY_AUTO || dep->deptype == DEPENDENCY_INTERNAL) &&
			get_rel_relkind(dep->objid) == RELKIND_SEQUENCE)
		{
			Form_pg_depend copy = palloc(sizeof(FormData_pg_depend));

			memcpy(copy, dep, sizeof(FormData_pg_depend));
			found = lappend(found, copy);
		}
	}
	systable_endscan(scan);

	foreach(lc, found)
		carry_sequence(pg_attribute, lfirst(lc), to);
	CommandCounterIncrement();

	table_close(pg_depend, RowExclusiveLock);
	table_close(pg_attribute, RowExclusiveLock);

	PG_RETURN_VOID();
}

/*
 * spread_identity(leaf regclass)
 *
 * Copy the identity property of a leaf's columns to its own partitions.
 *
 * Since PostgreSQL 17 partitions share the identity of their parent.  ATTACH
 * sets it on the leaf but not on the partitions of the leaf.  DETACH removes
 * it from all of them, and fails if it is missing.
 */
Datum
runops_spread_identity(PG_FUNCTION_ARGS)
{
	Oid			leaf = PG_GETARG_OID(0);
	Relation	pg_attribute = table_open(AttributeRelationId, RowExclusiveLock);
	Relation	rel;

	check_owner_of_both(leaf, leaf);

	if (PG17_GE)
	{
		rel = table_open(leaf, NoLock);
		for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
			ListCell   *lc;

			if (att->attisdropped || !att->attidentity)
				continue;
			foreach(lc, find_all_inheritors(leaf, NoLock, NULL))
				set_identity(pg_attribute, lfirst_oid(lc), NameStr(att->attname), att->attidentity);
		}
		table_close(rel, NoLock);
		CommandCounterIncrement();
	}
	table_close(pg_attribute, RowExclusiveLock);

	PG_RETURN_VOID();
}

/*
 * forget_compression(leaf regclass)
 *
 * Remove the compression methods that a foreign leaf got from its parent.
 *
 * They have no effect there, and SQL cannot change them.  A dump that has them
 * cannot be restored, because pg_dump writes a command that foreign tables
 * refuse.
 */
Datum
runops_forget_compression(PG_FUNCTION_ARGS)
{
	Oid			leaf = PG_GETARG_OID(0);
	Relation	pg_attribute = table_open(AttributeRelationId, RowExclusiveLock);
	Relation	rel;

	check_owner_of_both(leaf, leaf);

	rel = table_open(leaf, NoLock);
	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
		HeapTuple	tuple;

		if (att->attisdropped || !CompressionMethodIsValid(att->attcompression))
			continue;
		tuple = SearchSysCacheCopyAttNum(leaf, att->attnum);
		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for attribute %d of relation %u", att->attnum, leaf);
		((Form_pg_attribute) GETSTRUCT(tuple))->attcompression = InvalidCompressionMethod;
		CatalogTupleUpdate(pg_attribute, &tuple->t_self, tuple);
	}
	table_close(rel, NoLock);
	CommandCounterIncrement();
	table_close(pg_attribute, RowExclusiveLock);

	PG_RETURN_VOID();
}

/*
 * carry_statistics(leaf regclass, parent regclass)
 *
 * Copy the column statistics of its only leaf with rows to a partitioned
 * table.  Autovacuum never analyzes a partitioned table, and ANALYZE would
 * read the stores.
 */
Datum
runops_carry_statistics(PG_FUNCTION_ARGS)
{
	Oid			from = PG_GETARG_OID(0);
	Oid			to = PG_GETARG_OID(1);
	bool		inherited = get_rel_relkind(from) == RELKIND_PARTITIONED_TABLE;
	Relation	pg_statistic = table_open(StatisticRelationId, RowExclusiveLock);
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *copies = NIL;
	ListCell   *lc;

	check_owner_of_both(from, to);

	ScanKeyInit(&key[0], Anum_pg_statistic_starelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(from));
	scan = systable_beginscan(pg_statistic, StatisticRelidAttnumInhIndexId, true, NULL,
							  lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_statistic stat = (Form_pg_statistic) GETSTRUCT(tuple);
		char	   *attname = get_attname(from, stat->staattnum, true);
		AttrNumber	attno = attname ? get_attnum(to, attname) : InvalidAttrNumber;

		if (stat->stainherit != inherited || attno == InvalidAttrNumber)
			continue;
		tuple = heap_copytuple(tuple);
		stat = (Form_pg_statistic) GETSTRUCT(tuple);
		stat->starelid = to;
		stat->staattnum = attno;
		stat->stainherit = true;
		copies = lappend(copies, tuple);
	}
	systable_endscan(scan);

	foreach(lc, copies)
		CatalogTupleInsert(pg_statistic, lfirst(lc));

	table_close(pg_statistic, RowExclusiveLock);

	PG_RETURN_VOID();
}

/*
 * Set conparentid of a constraint.
 */
static void
set_constraint_parent(Relation pg_constraint, Oid conoid, Oid parent)
{
	HeapTuple	tuple = SearchSysCacheCopy1(CONSTROID, ObjectIdGetDatum(conoid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for constraint %u", conoid);
	((Form_pg_constraint) GETSTRUCT(tuple))->conparentid = parent;
	CatalogTupleUpdate(pg_constraint, &tuple->t_self, tuple);
}

/*
 * detach_partition(parent regclass, leaf regclass)
 *
 * This runs ALTER TABLE parent DETACH PARTITION leaf.
 *
 * A foreign key that references the leaf and has a parent constraint is
 * treated by core as if it referenced the routed table too, so core refuses to
 * detach while it is in use.  But no foreign key can reference a routed table.
 * These constraints belong to partitions of another partitioned table, whose
 * own constraint references the leaf as well.  For the time of the command
 * they are made to look like constraints of plain tables.
 */
Datum
runops_detach_partition(PG_FUNCTION_ARGS)
{
	Oid			parent = PG_GETARG_OID(0);
	Oid			leaf = PG_GETARG_OID(1);
	Relation	pg_constraint = table_open(ConstraintRelationId, RowExclusiveLock);
	List	   *keys = NIL;
	List	   *parents = NIL;
	ListCell   *lc;
	ListCell   *lc2;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *command;

	check_owner_of_both(parent, leaf);

	/* core says it in other words in each version */
	if (get_rel_relkind(parent) != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a partitioned table", get_rel_name(parent)),
				 errdetail("A routed table is a partitioned table."),
				 errhint("Use runops.detach() with the name of a routed table.")));

	ScanKeyInit(&key[0], Anum_pg_constraint_confrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(leaf));
	ScanKeyInit(&key[1], Anum_pg_constraint_contype, BTEqualStrategyNumber, F_CHAREQ,
				CharGetDatum(CONSTRAINT_FOREIGN));
	scan = systable_beginscan(pg_constraint, InvalidOid, true, NULL, lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT(tuple);

		if (OidIsValid(con->conparentid))
		{
			keys = lappend_oid(keys, con->oid);
			parents = lappend_oid(parents, con->conparentid);
		}
	}
	systable_endscan(scan);

	foreach(lc, keys)
		set_constraint_parent(pg_constraint, lfirst_oid(lc), InvalidOid);
	CommandCounterIncrement();

	command = psprintf("ALTER TABLE %s DETACH PARTITION %s",
					   quote_qualified_identifier(get_namespace_name(get_rel_namespace(parent)), get_rel_name(parent)),
					   quote_qualified_identifier(get_namespace_name(get_rel_namespace(leaf)), get_rel_name(leaf)));
	SPI_connect();
	if (SPI_execute(command, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute \"%s\"", command);
	SPI_finish();

	forboth(lc, keys, lc2, parents)
		set_constraint_parent(pg_constraint, lfirst_oid(lc), lfirst_oid(lc2));
	CommandCounterIncrement();
	table_close(pg_constraint, RowExclusiveLock);

	PG_RETURN_VOID();
}
