/*-------------------------------------------------------------------------
 *
 * entry_table_int.h
 *	  Declares the access to a table that decides over keys, by its unique
 *	  index.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_ENTRY_TABLE_H
#define RUNOPS_ENTRY_TABLE_H

#include "access/skey.h"
#include "access/tableam.h"
#include "nodes/execnodes.h"
#include "utils/snapshot.h"

/* A table that is open for writing, with its deciding unique index. */
typedef struct RunopsOwnTable
{
	Relation	rel;
	Relation	index;			/* unique, immediate, over the first columns */
	int			nkeys;			/* number of index columns */
	EState	   *estate;
	ResultRelInfo *rri;			/* with all indexes open */
	TupleTableSlot *found;		/* the last row that was found */
	TupleTableSlot *row;		/* the row to insert */
	ScanKeyData scankeys[INDEX_MAX_KEYS];	/* equality; arguments unset */
} RunopsOwnTable;

/* in entry_table.c */
extern void runops_own_open(RunopsOwnTable *table, Oid relid);
extern void runops_own_close(RunopsOwnTable *table);
extern bool runops_own_find(RunopsOwnTable *table, const Datum *keys,
							Snapshot snapshot);
extern TransactionId runops_own_xmin(RunopsOwnTable *table);
extern void runops_own_insert(RunopsOwnTable *table, const Datum *values,
							  const bool *nulls);
extern bool runops_own_try_insert(RunopsOwnTable *table, const Datum *values,
								  const bool *nulls);
extern TM_Result runops_own_delete(RunopsOwnTable *table, bool wait);

#endif							/* RUNOPS_ENTRY_TABLE_H */
