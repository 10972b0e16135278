/*-------------------------------------------------------------------------
 *
 * hooks.h
 *	  Installs the hooks of the server that the extension uses.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_HOOKS_H
#define RUNOPS_HOOKS_H

extern void runops_hooks_init_protection(void);
extern void runops_hooks_init(void);

#endif							/* RUNOPS_HOOKS_H */
