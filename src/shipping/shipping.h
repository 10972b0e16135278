/*-------------------------------------------------------------------------
 *
 * shipping.h
 *	  Sends a statement as a whole to the store that owns all its rows.
 *
 * The planner finds the statements whose tables are all routed and need one
 * and the same store.  If everything else in such a statement can be sent too,
 * its plan is one node, and its text is core's own text of the query.  The store
 * then plans it with its own statistics, and it needs one turn.
 *
 * What is sent has the result that it would have here.  So the decision is
 * strict, and docs/shipping.md lists what is sent and what is not.  Whatever is
 * not sent is planned by core over the leaves.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SHIPPING_H
#define RUNOPS_SHIPPING_H

#include "planner/planner.h"

/* in ship.c */
extern PlannedStmt *runops_ship(RunopsWholeStatement *statement);

/* in statement_node.c */
extern void runops_shipping_init(void);

#endif							/* RUNOPS_SHIPPING_H */
