/*-------------------------------------------------------------------------
 *
 * mint.h
 *	  Makes new ids, and decides the kind of each.
 *
 * A child has the kind of its parent; the kind of a root follows from the
 * flags of its organization.  If a store cannot be used, nothing here raises
 * an error: the kind is cuid.  A backend forgets its cached flags when their
 * table is written.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_MINT_H
#define RUNOPS_MINT_H

#include "datatype/timestamp.h"

#include "base/id.h"
#include "base/runops.h"

/* The kind of a new id: cuid, ksuid, runops, or shard:c. */
typedef struct RunopsMintKind
{
	RunopsIdKind kind;			/* RUNOPS_ID_NONE: no kind is set */
	char		shard;			/* of RUNOPS_ID_SHARD, else '\0' */
} RunopsMintKind;

#define RUNOPS_MINT_NONE	((RunopsMintKind) {RUNOPS_ID_NONE, '\0'})
#define RUNOPS_MINT_CUID	((RunopsMintKind) {RUNOPS_ID_CUID, '\0'})

/* in kind.c */
extern void runops_mint_store(RunopsMintKind kind, char *store);

/* in flags.c */
extern RunopsMintKind runops_mint_kind_of_root(text *org);

#endif							/* RUNOPS_MINT_H */
