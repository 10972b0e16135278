/*-------------------------------------------------------------------------
 *
 * reference_int.h
 *	  References: what stands for a foreign key where none can be.
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

/* What becomes of a referring row when what it refers to is deleted. */
#define REFERENCE_REFUSE	'a'
#define REFERENCE_DELETE	'c'
#define REFERENCE_SET_NULL	'n'

/* A row of runops.reference_config. */
typedef struct RunopsReference
{
	Oid			child;			/* the table that refers, by its routed name */
	Oid			parent;			/* the table that it refers to, likewise */
	NameData	child_column;
	NameData	parent_column;
	NameData	name;			/* of the constraint, as errors give it */
	char		on_delete;		/* one of the above */
} RunopsReference;

/* The column of one end of a reference, and how its values are compared. */
typedef struct RunopsReferenceColumn
{
	Oid			type;			/* base type, of both ends */
	Oid			collation;
	TypeCacheEntry *cache;		/* that type's */
} RunopsReferenceColumn;

/* The kinds of queries. */
typedef enum RunopsReferenceQuery
{
	REFERENCE_QUERY_PARENT,				/* is there what is referred to? */
	REFERENCE_QUERY_CHILD,				/* is there a row that refers? */
	REFERENCE_QUERY_DELETE,				/* delete the rows that refer */
	REFERENCE_QUERY_SET_NULL				/* let them refer to nothing */
} RunopsReferenceQuery;

/* in reference_config.c; the number grows with each change of the references */
extern uint64 runops_reference_changes;
extern Oid	runops_reference_table(Oid relid);
extern RunopsReference *runops_reference_find(Oid child, const char *name);
extern List *runops_references_from(Oid child);
extern List *runops_references_to(Oid parent);
extern bool runops_reference_cascades(const RunopsReference *reference);

/* in reference_query.c */
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
