/*-------------------------------------------------------------------------
 *
 * setup.h
 *	  Declares the parts of attach, detach, provision and verify that are
 *	  written in C.
 *
 * Most of them is DDL and is written in PL/pgSQL: see sql/install.  SQL
 * functions call this module, and the hooks call it to protect objects that
 * routed tables depend on.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SETUP_H
#define RUNOPS_SETUP_H

#include "catalog/objectaccess.h"
#include "nodes/plannodes.h"

/* in frozen.c */
extern void runops_protect_function(Oid funcid);

/* in leaf_ddl.c */
extern void runops_leaf_init(void);
extern bool runops_leaf_commands(PlannedStmt *pstmt, List **instead);

/* in leaf_schema.c */

/* in protect.c */
extern void runops_protect(ObjectAccessType access, Oid classId, Oid objectId,
						   int subId, void *arg);

/* in routed_key.c */
extern bool runops_key_command(Node *stmt);
extern Oid	runops_key_set_aside(Node *stmt);
extern void runops_key_put_back(Oid index);

/* in truncate.c */
extern void runops_protect_command(Node *command);

#endif							/* RUNOPS_SETUP_H */
