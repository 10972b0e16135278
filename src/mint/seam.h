/*-------------------------------------------------------------------------
 *
 * seam.h
 *	  Where a wait that crosses the seam between stores ends.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SEAM_H
#define RUNOPS_SEAM_H

/* in seam.c */
extern void runops_seam_check_route_kind(const char *kind);

#endif							/* RUNOPS_SEAM_H */
