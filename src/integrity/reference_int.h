/*-------------------------------------------------------------------------
 *
 * reference_int.h
 *	  Declares references, which replace foreign keys between databases.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_REFERENCE_INT_H
#define RUNOPS_REFERENCE_INT_H

#include "storage/lockdefs.h"
#include "utils/typcache.h"

#include "integrity/integrity.h"

/* The action on a referencing row when the referenced row is deleted. */
#define REFERENCE_REFUSE	'a'
#define REFERENCE_DELETE	'c'
#define REFERENCE_SET_NULL	'n'

/* A row of runops.reference_config. */
typedef struct RunopsReference
{
	Oid			child;			/* the referencing table; for a leaf, its
								 * routed table */
	Oid			parent;			/* the referenced table; likewise */
	NameData	child_column;
	NameData	parent_column;
	NameData	name;			/* of the constraint, as shown in errors */
	char		on_delete;		/* one of the above */
} RunopsReference;

/* The column of one side of a reference, and how its values are compared. */
typedef struct RunopsReferenceColumn
{
	Oid			type;			/* base type of both columns */
	Oid			collation;
	TypeCacheEntry *cache;		/* entry of that type */
} RunopsReferenceColumn;

/* The kinds of queries. */
typedef enum RunopsReferenceQuery
{
	REFERENCE_QUERY_PARENT,		/* does the referenced row exist? */
	REFERENCE_QUERY_PARENTS,	/* which referenced rows exist? */
	REFERENCE_QUERY_CHILD,		/* does a referencing row exist? */
	REFERENCE_QUERY_DELETE,		/* delete the referencing rows */
	REFERENCE_QUERY_SET_NULL	/* set their column to NULL */
} RunopsReferenceQuery;

/* A key that rows of a statement refer to. */
typedef struct RunopsReferenceKey
{
	Datum		value;
	int			next;			/* another key with the same hash; -1: none */
	bool		found;			/* does the referenced row exist? */
} RunopsReferenceKey;

/* The keys that the rows of a statement refer to, each once. */
typedef struct RunopsReferenceKeys
{
	RunopsReference reference;
	RunopsReferenceColumn column;
	CommandId	cid;			/* of the statement */
	MemoryContext cxt;
	HTAB	   *hash;
	RunopsReferenceKey *keys;
	int			nkeys;
	int			maxkeys;
	int			nchecked;		/* so many of them were looked up */
	Size		bytes;
} RunopsReferenceKeys;

/* A referenced row. */
typedef struct RunopsReferenceRow
{
	Datum		key;
	bool		committed;		/* by another transaction */
} RunopsReferenceRow;

/* in reference_config.c; incremented by each change of the references */
extern uint64 runops_reference_changes;
extern Oid	runops_reference_table(Oid relid);
extern RunopsReference *runops_reference_find(Oid child, const char *name);
extern List *runops_references_from(Oid child);
extern List *runops_references_to(Oid parent);
extern bool runops_reference_cascades(const RunopsReference *reference);

/* in reference_keys.c */
extern const char *runops_reference_bytes(const RunopsReferenceColumn *column,
										  Datum *key, uint32 *length);
extern RunopsReferenceKeys *runops_reference_keys(const RunopsReference *reference);
extern int	runops_reference_key(RunopsReferenceKeys *keys, Datum value);
extern void runops_reference_forget_keys(void);

/* in reference_query.c */
extern RunopsReferenceRow *runops_reference_parents(const RunopsReference *reference,
													const RunopsReferenceColumn *column,
													Datum *keys, int nkeys,
													int *nrows);
extern AttrNumber runops_reference_attno(Oid relid, const NameData *column,
										 const RunopsReference *reference);
extern void runops_reference_column(const RunopsReference *reference,
									RunopsReferenceColumn *column);
extern uint64 runops_reference_lock(Oid parent, const RunopsReferenceColumn *column,
									Datum key, LOCKMODE mode);
extern bool runops_reference_query(const RunopsReference *reference,
								   const RunopsReferenceColumn *column,
								   RunopsReferenceQuery query, Datum key,
								   bool *committed);

#endif							/* RUNOPS_REFERENCE_INT_H */
