/*-------------------------------------------------------------------------
 *
 * as_owner.h
 *	  Runs code of a table's owner with the rights of that owner.
 *
 * Domains, casts, predicates, index expressions, generated columns and
 * triggers are code of the table's owner.  A function that reads or writes a
 * table for another user must put these two calls around each statement.
 *
 * An error needs no second call: the end of the transaction or subtransaction
 * resets the user and the settings.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_AS_OWNER_H
#define RUNOPS_AS_OWNER_H

/* The state to restore. */
typedef struct RunopsAsOwner
{
	Oid			userid;
	int			sec_context;
	int			guc_level;
} RunopsAsOwner;

extern void runops_as_owner_begin(RunopsAsOwner *saved, Oid owner);
extern void runops_as_owner_end(const RunopsAsOwner *saved);
extern Oid	runops_table_owner(Oid relid);

#endif							/* RUNOPS_AS_OWNER_H */
