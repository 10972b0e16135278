/*-------------------------------------------------------------------------
 *
 * writes.h
 *	  Which stores the transaction has written to.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_WRITES_H
#define RUNOPS_WRITES_H

/* What runops.cross_store_writes says of a transaction over two stores. */
typedef enum RunopsCrossStoreWrites
{
	RUNOPS_CROSS_STORE_ALLOW,
	RUNOPS_CROSS_STORE_WARN,
	RUNOPS_CROSS_STORE_ERROR
} RunopsCrossStoreWrites;

extern int	runops_cross_store_writes;

/* in store_writes.c */
extern void runops_writes_note(const char *store, Oid relid);
extern void runops_writes_note_lock(const char *store, Oid relid);
extern bool runops_writes_has(const char *store);

/* in local_writes.c */
extern void runops_localwrites_init(void);
extern void runops_localwrites_note(void);

#endif							/* RUNOPS_WRITES_H */
