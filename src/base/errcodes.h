/*-------------------------------------------------------------------------
 *
 * errcodes.h
 *	  The SQLSTATE class "RO" of this extension; docs/errors.md explains each.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_ERRCODES_H
#define RUNOPS_ERRCODES_H

/* the id has no shape that a generator makes */
#define ERRCODE_RUNOPS_UNCLASSIFIABLE_RUN_ID	MAKE_SQLSTATE('R','O','0','0','1')
/* a store other than legacy may not be used now */
#define ERRCODE_RUNOPS_GATE_CLOSED				MAKE_SQLSTATE('R','O','0','0','2')
/* the id of a row does not name the store that would hold the row */
#define ERRCODE_RUNOPS_WRONG_STORE				MAKE_SQLSTATE('R','O','0','0','3')
/* the id names a store that was not configured with add_store */
#define ERRCODE_RUNOPS_STORE_NOT_CONFIGURED		MAKE_SQLSTATE('R','O','0','0','4')
/* one transaction wrote to two stores */
#define ERRCODE_RUNOPS_CROSS_STORE_WRITE		MAKE_SQLSTATE('R','O','0','0','5')
/* routed tables depend on the object */
#define ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE		MAKE_SQLSTATE('R','O','0','0','6')
/* the store belongs to another control plane */
#define ERRCODE_RUNOPS_NOT_STORE_OWNER			MAKE_SQLSTATE('R','O','0','0','7')
#define ERRCODE_RUNOPS_PARTLY_COMMITTED			MAKE_SQLSTATE('R','O','0','0','8')
/* one transaction with one snapshot reads rows of two moments */
#define ERRCODE_RUNOPS_CROSS_STORE_SNAPSHOT		MAKE_SQLSTATE('R','O','0','0','9')

#endif							/* RUNOPS_ERRCODES_H */
