/*-------------------------------------------------------------------------
 *
 * mint.h
 *	  What the files of minting share: kinds of new ids, and the flags that
 *	  choose one.
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
	RunopsIdKind kind;			/* RUNOPS_ID_NONE: nothing is said */
	char		shard;			/* of RUNOPS_ID_SHARD, else '\0' */
} RunopsMintKind;

#define RUNOPS_MINT_NONE	((RunopsMintKind) {RUNOPS_ID_NONE, '\0'})
#define RUNOPS_MINT_CUID	((RunopsMintKind) {RUNOPS_ID_CUID, '\0'})

/* A row of mint_config: the flag of an organization, or the global one. */
typedef struct RunopsMintFlag
{
	bool		found;			/* is there a row? */
	bool		own;			/* is it this transaction that wrote it? */
	RunopsMintKind kind;		/* RUNOPS_MINT_NONE: what holds without a row */
	RunopsMintKind previous;	/* what holds until the flip is due;
								 * RUNOPS_MINT_NONE: there was no flip */
	TimestampTz flipped_at;
	TimestampTz effective_at;	/* flipped_at and the grace of that time */
} RunopsMintFlag;

/* in idfuncs.c */
extern void runops_raise_unclassifiable(text *id);

/* in idgen.c */
extern text *runops_idgen(RunopsMintKind kind, char region);
extern char runops_region_char(text *region);

/* in mint_funcs.c */
extern bool runops_mint_same(RunopsMintKind a, RunopsMintKind b);
extern bool runops_mint_parse(text *name, RunopsMintKind *kind);
extern text *runops_mint_name(RunopsMintKind kind);
extern void runops_mint_store(RunopsMintKind kind, char *store);

/* in flags.c */
extern RunopsMintKind runops_mint_kind_of_root(text *org);
extern TimestampTz runops_mint_due(const RunopsMintFlag *flag);
extern RunopsMintKind runops_mint_flag_at(const RunopsMintFlag *flag,
										  RunopsMintKind below, TimestampTz at);
extern void runops_mint_read_flag(text *org, RunopsMintFlag *flag);

#endif							/* RUNOPS_MINT_H */
