/*-------------------------------------------------------------------------
 *
 * idempotency_int.h
 *	  Declares the idempotency key of a routed table.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_IDEMPOTENCY_INT_H
#define RUNOPS_IDEMPOTENCY_INT_H

#include "reads/reads_int.h"

/* The configuration of a table, as given to add_idempotency. */
typedef struct RunopsIdempotency
{
	RunopsTarget *target;
	int			ncolumns;
	AttrNumber *attnos;			/* of the key; the last one is cleared */
	char	  **names;			/* the names of these columns */
	char	   *expires;		/* quoted name of the column; NULL: none */
	Oid			expires_type;	/* timestamp or timestamptz */
	char	   *dead_when;		/* SQL over the columns; NULL: none */
} RunopsIdempotency;

/* in idempotency_key.c */
extern RunopsIdempotency *runops_idempotency(Oid relid);
extern char *runops_idempotency_key(const RunopsIdempotency *idem, Jsonb *key,
									RunopsArgs *args);
extern char *runops_idempotency_dead(const RunopsIdempotency *idem, RunopsArgs *args);
extern char *runops_idempotency_assignment(const RunopsIdempotency *idem);
extern char *runops_idempotency_object(const RunopsIdempotency *idem);
extern text *runops_idempotency_text(const RunopsIdempotency *idem,
									 const RunopsArgs *args);
extern text *runops_idempotency_holder(const RunopsIdempotency *idem, text *key);
extern void runops_idempotency_release(const RunopsIdempotency *idem, text *key,
									   text *id);

#endif							/* RUNOPS_IDEMPOTENCY_INT_H */
