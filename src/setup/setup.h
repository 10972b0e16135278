/*-------------------------------------------------------------------------
 *
 * setup.h
 *	  Attach, detach, provision and verify, as far as they are written in C.
 *
 * Most of it is DDL, and so PL/pgSQL: see sql/install.  SQL calls in here, and
 * the hooks call what protects objects that routed tables stand on.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SETUP_H
#define RUNOPS_SETUP_H

#include "catalog/objectaccess.h"

/* in protect.c */
extern void runops_protect(ObjectAccessType access, Oid classId, Oid objectId,
						   int subId);

#endif							/* RUNOPS_SETUP_H */
