/*-------------------------------------------------------------------------
 *
 * xact_int.h
 *	  Declares the types and functions that the files of the transaction module
 *	  share.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_XACT_INT_H
#define RUNOPS_XACT_INT_H

#include "xact/xact.h"

/* A legacy leaf that a running statement may write to. */
typedef struct RunopsLocalLeaf
{
	Oid			relid;
	bool		routed;			/* are its rows routed by core? */
	int64		before;			/* rows written when the statement began; -1
								 * if they are not counted */
} RunopsLocalLeaf;

/* Has a statement written to a leaf? */
typedef enum RunopsWritten
{
	RUNOPS_NOT_WRITTEN,
	RUNOPS_PERHAPS_WRITTEN,		/* unknown before the statement has ended */
	RUNOPS_WRITTEN
} RunopsWritten;

/* in local_leaves.c */
extern RunopsWritten runops_local_leaf_written(const RunopsLocalLeaf *watched,
											   EState *estate);

/* in store_writes.c */
extern const char *runops_table_label(Oid relid);

#endif							/* RUNOPS_XACT_INT_H */
