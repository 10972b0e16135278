/*-------------------------------------------------------------------------
 *
 * unique.h
 *	  Unique keys over all stores of a routed table.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_UNIQUE_H
#define RUNOPS_UNIQUE_H

#include "access/attnum.h"
#include "catalog/objectaddress.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "pg_config_manual.h"

#include "base/runops.h"

/* One key, as the rows of one leaf have it. */
typedef struct RunopsUniqueKey
{
	char	   *name;
	Oid			entries;		/* the table whose primary key decides */
	bool		covered;		/* have the rows of this store been entered? */
	int			ncolumns;
	AttrNumber	attnos[INDEX_MAX_KEYS]; /* of the leaf */
	List	   *predicate;		/* over the leaf, varno 1; NIL if there is none */
} RunopsUniqueKey;

/*
 * The keys of one leaf.
 *
 * The bitmapset is offset by FirstLowInvalidHeapAttributeNumber.
 */
typedef struct RunopsUniqueKeys
{
	Oid			relid;			/* the leaf */
	Oid			parent;			/* the routed table */
	char		store[RUNOPS_STORE_LEN];
	bool		foreign;		/* is the leaf in another database? */
	Bitmapset  *watched;		/* what the keys and their predicates read */
	bool		generated;		/* is one of these a generated column? */
	int			nkeys;
	RunopsUniqueKey *keys;
} RunopsUniqueKeys;

/* in fdw/unique_entries.c */
typedef struct RunopsFdwUnique RunopsFdwUnique;

extern RunopsFdwUnique *runops_fdw_unique_begin(ModifyTableState *mtstate,
												ResultRelInfo *rri);
extern bool runops_fdw_unique_insert(RunopsFdwUnique *unique,
									 TupleTableSlot *slot);
extern void runops_fdw_unique_skipped(RunopsFdwUnique *unique,
									  TupleTableSlot *slot);
extern HeapTupleHeader runops_fdw_old_row(ResultRelInfo *rri,
										  TupleTableSlot *planSlot);
extern void runops_fdw_unique_read_old(RunopsFdwUnique *unique,
									   ResultRelInfo *rri,
									   TupleTableSlot *planSlot);
extern void runops_fdw_unique_update(RunopsFdwUnique *unique,
									 ResultRelInfo *rri, TupleTableSlot *slot,
									 TupleTableSlot *planSlot);
extern void runops_fdw_unique_not_updated(RunopsFdwUnique *unique,
										  TupleTableSlot *slot);
extern void runops_fdw_unique_deleted(RunopsFdwUnique *unique);
extern bool runops_fdw_unique_one_by_one(RunopsFdwUnique *unique);

/* in unique.c */
extern bool runops_unique_insert(const RunopsUniqueKeys *keys,
								 TupleTableSlot *slot, bool skip);
extern void runops_unique_update(const RunopsUniqueKeys *keys,
								 TupleTableSlot *old_slot,
								 TupleTableSlot *new_slot);
extern void runops_unique_delete(const RunopsUniqueKeys *keys,
								 TupleTableSlot *slot);

/* in unique_protect.c */
extern void runops_unique_protect(const ObjectAddress *object);
extern void runops_unique_check_alter(AlterTableStmt *stmt);
extern void runops_unique_check_rename(RenameStmt *stmt);

/* in unique_keys.c */
extern const RunopsUniqueKeys *runops_unique_keys(Oid relid);

#endif							/* RUNOPS_UNIQUE_H */
