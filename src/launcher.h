/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  Declares the background worker that the postmaster starts.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_LAUNCHER_H
#define RUNOPS_LAUNCHER_H

extern void runops_launcher_init(void);

#endif							/* RUNOPS_LAUNCHER_H */
