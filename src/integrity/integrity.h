/*-------------------------------------------------------------------------
 *
 * integrity.h
 *	  Enforces unique keys and references over all stores of a routed table.
 *
 * A unique key over all stores has a table of entries in this database.  An
 * entry is made before the row is sent, so the table's unique index decides
 * (unique.c).  A reference is checked in the store of the referenced row
 * (reference.c).
 *
 * All waits for other transactions happen in this database, where the deadlock
 * detector sees them.  Violations raise PostgreSQL's own SQLSTATEs, 23505 and
 * 23503.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_INTEGRITY_H
#define RUNOPS_INTEGRITY_H

#include "access/attnum.h"
#include "catalog/objectaddress.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

#include "base/runops.h"

/* A unique key, as it applies to the rows of one leaf. */
typedef struct RunopsUniqueKey
{
	char	   *name;
	Oid			entries;		/* the table of entries, whose primary key
								 * decides */
	Oid			touched;		/* if the key is not enforced yet: the table
								 * of the keys that were touched */
	bool		covered;		/* do the rows of this store have entries? */
	int			ncolumns;
	AttrNumber	attnos[INDEX_MAX_KEYS]; /* of the leaf */
	List	   *predicate;		/* over the leaf, varno 1; NIL if there is
								 * none */
} RunopsUniqueKey;

/*
 * The unique keys of a leaf.
 *
 * The bitmapset is offset by FirstLowInvalidHeapAttributeNumber.
 */
typedef struct RunopsUniqueKeys
{
	Oid			relid;			/* the leaf */
	Oid			parent;			/* the routed table */
	char		store[RUNOPS_STORE_LEN];
	bool		foreign;		/* is the leaf a foreign table? */
	Bitmapset  *watched;		/* columns that the keys and predicates read */
	bool		generated;		/* is one of them a generated column? */
	int			nkeys;
	RunopsUniqueKey *keys;
} RunopsUniqueKeys;

/* in reference.c */
typedef struct RunopsReferenceNotes RunopsReferenceNotes;

extern RunopsReferenceNotes *runops_reference_begin(Relation rel, CommandId cid);
extern void runops_reference_note(RunopsReferenceNotes *notes,
								  TupleTableSlot *slot);
extern bool runops_reference_is_trigger(Oid function);
extern bool runops_reference_assigned(Oid relid, const Bitmapset *referring,
									  const Bitmapset *referred);
extern void runops_reference_check_insert(Relation rel, TupleTableSlot *slot);
extern void runops_reference_check_update(Relation rel, HeapTupleHeader old,
										  TupleTableSlot *slot);

/* in reference_config.c */
extern const char *runops_reference_of_column(Oid relid, const char *column);
extern void runops_reference_check_drop(DropStmt *stmt);

/* in unique.c */
extern bool runops_unique_insert(const RunopsUniqueKeys *keys,
								 TupleTableSlot *slot, bool skip);
extern Bitmapset *runops_unique_claim(const RunopsUniqueKeys *keys,
									  TupleTableSlot *slot);
extern void runops_unique_settle(const RunopsUniqueKeys *keys,
								 TupleTableSlot *slot, const Bitmapset *made,
								 bool inserted);
extern void runops_unique_update(const RunopsUniqueKeys *keys,
								 TupleTableSlot *old_slot,
								 TupleTableSlot *new_slot);
extern void runops_unique_delete(const RunopsUniqueKeys *keys,
								 TupleTableSlot *slot);

/* in unique_keys.c */
extern const RunopsUniqueKeys *runops_unique_keys(Oid relid);

/* in unique_protect.c */
extern bool runops_unique_is_entries(Oid relid);
extern void runops_unique_protect(const ObjectAddress *object);
extern void runops_unique_check_alter(AlterTableStmt *stmt);
extern void runops_unique_check_rename(RenameStmt *stmt);

#endif							/* RUNOPS_INTEGRITY_H */
