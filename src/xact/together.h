/*-------------------------------------------------------------------------
 *
 * together.h
 *	  Commits here and in a store that must not be parted by an interrupt.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_TOGETHER_H
#define RUNOPS_TOGETHER_H

/* in commit_guard.c */
extern void runops_together_require(void);
extern void runops_together_connected(void);

#endif							/* RUNOPS_TOGETHER_H */
