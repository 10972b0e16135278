/*-------------------------------------------------------------------------
 *
 * setup_int.h
 *	  Declares the functions that the files of the protection share.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SETUP_INT_H
#define RUNOPS_SETUP_INT_H

#include "nodes/parsenodes.h"

/* in protect_alter.c */
extern bool runops_is_reader_table(Oid relid);
extern void runops_protect_alter(Node *parsetree);

#endif							/* RUNOPS_SETUP_INT_H */
