/*-------------------------------------------------------------------------
 *
 * cascade.h
 *	  Deletes, in every store, the rows that depend on deleted rows of the
 *	  control plane.
 *
 * A trigger queues a deleted parent; a worker, or cleanup(), processes the
 * queue in batches.  A batch does each step in a subtransaction, so a store
 * that is down does not stop the others.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_CASCADE_H
#define RUNOPS_CASCADE_H

/* in worker.c */
extern long runops_cleaner_manage(Oid dbid);
extern void runops_cleaner_set_launcher(void);

#endif							/* RUNOPS_CASCADE_H */
