/*-------------------------------------------------------------------------
 *
 * argument.h
 *	  Opens and locks the relations that arguments of SQL functions name.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_ARGUMENT_H
#define RUNOPS_ARGUMENT_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"

extern Relation runops_argument_open(Oid relid, LOCKMODE lockmode);
extern void runops_argument_lock(Oid relid, LOCKMODE lockmode);

#endif							/* RUNOPS_ARGUMENT_H */
