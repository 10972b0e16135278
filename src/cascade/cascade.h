/*-------------------------------------------------------------------------
 *
 * cascade.h
 *	  What hangs on deleted rows of the control plane is deleted too, in every store.
 *
 * A trigger queues a deleted parent; a worker, or cleanup(), takes the queue in
 * batches.  A batch does each step in a subtransaction of its own, so that a store
 * that is down stops none of the others.
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
