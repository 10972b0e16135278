/*-------------------------------------------------------------------------
 *
 * mint_int.h
 *	  Declares what the files of the mint module share: flags, generators and
 *	  kinds.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_MINT_INT_H
#define RUNOPS_MINT_INT_H

#include "mint/mint.h"

/* A row of mint_config: the flag of an organization, or the global one. */
typedef struct RunopsMintFlag
{
	bool		found;			/* is there a row? */
	bool		own;			/* did this transaction write it? */
	RunopsMintKind kind;		/* RUNOPS_MINT_NONE: the kind without a row
								 * applies */
	RunopsMintKind previous;	/* the kind until the flip is due;
								 * RUNOPS_MINT_NONE: there was no flip */
	TimestampTz flipped_at;
	TimestampTz effective_at;	/* flipped_at plus the grace at that time */
} RunopsMintFlag;

/* in idfuncs.c */
extern void runops_raise_unclassifiable(text *id);

/* in idgen.c */
extern text *runops_idgen(RunopsMintKind kind, char region);
extern char runops_region_char(text *region);

/* in kind.c */
extern bool runops_mint_same(RunopsMintKind a, RunopsMintKind b);
extern bool runops_mint_parse(text *name, RunopsMintKind *kind);
extern text *runops_mint_name(RunopsMintKind kind);

/* in flags.c */
extern TimestampTz runops_mint_due(const RunopsMintFlag *flag);
extern RunopsMintKind runops_mint_flag_at(const RunopsMintFlag *flag,
										  RunopsMintKind below, TimestampTz at);
extern void runops_mint_read_flag(text *org, RunopsMintFlag *flag);

/* in seam.c */
extern void runops_seam_check_route_kind(const char *kind);

#endif							/* RUNOPS_MINT_INT_H */
