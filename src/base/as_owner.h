/*-------------------------------------------------------------------------
 *
 * as_owner.h
 *	  Running what a table's owner has written, with the rights of that owner.
 *
 * Domains, casts, predicates, index expressions, generated columns and triggers
 * are code of whoever owns the table.  Code that reads or writes a table on
 * behalf of somebody else puts these two calls around each statement.
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

/* What to go back to. */
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
