/*-------------------------------------------------------------------------
 *
 * shipping_int.h
 *	  Declares what the files of the module share.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SHIPPING_INT_H
#define RUNOPS_SHIPPING_INT_H

#include "nodes/extensible.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"

#include "planner/planner.h"
#include "shipping/shipping.h"

/* What the text of a statement is made for. */
typedef struct RunopsShipment
{
	RunopsWholeStatement *statement;
	Oid			serverid;
	Oid			userid;			/* whose mapping is used; InvalidOid: of the
								 * current user */
	List	   *extensions;		/* OIDs of those that the store has too */
	RunopsCollations collations;
	bool		locks;			/* does it lock rows? */
	bool		writes;			/* does it write rows? */
	bool		depends_on_role;	/* does row-level security depend on the
									 * role? */
	List	   *values;			/* expressions that are evaluated here: the
								 * parameters of the text */
	List	   *rows;			/* of RunopsShippedRows */
	List	   *guarded;		/* columns that the guard returns; see guard.c */
	bool		one_by_one;		/* are the rows of the INSERT sent one by one? */
	bool		refers;			/* does DO UPDATE assign a column of a
								 * reference? */
	int			nparams;		/* parameters of the text, if it is
								 * one_by_one: the other values are of later
								 * rows */
} RunopsShipment;

/* The rows of an INSERT … VALUES, as far as they are checked here. */
typedef struct RunopsShippedRows
{
	Oid			table;			/* the routed table */
	List	   *names;			/* of its columns */
	List	   *rows;			/* for each row a list of integers: the value
								 * of each column, by its place in values */
} RunopsShippedRows;

/*
 * The items of a plan node's custom_private.
 */
enum RunopsStatementPrivate
{
	STATEMENT_SQL,
	STATEMENT_FLAGS,			/* see below */
	STATEMENT_USER,				/* an OID, as a list of one */
	STATEMENT_LEAVES,			/* OIDs */
	STATEMENT_TARGETS,			/* OIDs of those that are written to */
	STATEMENT_INSERTED,			/* for each INSERT: the indexes of the routed
								 * table and of the leaf in the range table,
								 * the names of the columns, and the rows */
	STATEMENT_GUARDED,			/* the indexes of the routed table and of the
								 * leaf, and the columns that the guard
								 * returns, see guard.c; or NIL */
	STATEMENT_NPARAMS			/* parameters of the text */
};

/* The most values of an INSERT: the protocol has at most 65535 parameters. */
#define RUNOPS_MAX_VALUES	65000

/* The flags. */
#define STATEMENT_LOCKS		0x01	/* it locks rows */
#define STATEMENT_WRITES	0x02	/* it writes rows */
#define STATEMENT_RETURNS	0x04	/* the store returns rows */
#define STATEMENT_AT_ONCE	0x08	/* all its rows are fetched at once */
#define STATEMENT_COUNTS	0x10	/* the rows that it writes are those of
									 * the command tag */
#define STATEMENT_READS		0x20	/* it reads rows of tables */
#define STATEMENT_ONE_BY_ONE	0x40	/* its rows are sent one by one */
#define STATEMENT_REFERS	0x80	/* DO UPDATE assigns a column of a
									 * reference, from the new row */

/* in obstacle.c */
extern const char *runops_ship_obstacle(RunopsShipment *shipment);
extern const char *runops_ship_expression_obstacle(RunopsShipment *shipment, Node *expr);

/* in sendable.c */
extern bool runops_ship_object_is_known(const RunopsShipment *shipment, Oid classid, Oid objid);
extern bool runops_ship_type_is_known(const RunopsShipment *shipment, Oid type);
extern bool runops_ship_function_is_sent(const RunopsShipment *shipment, Oid funcid);
extern bool runops_ship_aggregate_is_sent(const RunopsShipment *shipment, const Aggref *agg);
extern bool runops_ship_text_depends(Oid funcid, List *args);
extern bool runops_ship_is_settled(Node *node);
extern bool runops_ship_is_evaluated_here(Node *node);
extern bool runops_ship_depends_on_rows(Node *node);
extern bool runops_ship_is_untyped_value(Node *node);

/* in target.c */
extern const char *runops_ship_target_obstacle(RunopsShipment *shipment, Query *query,
											   const RunopsReplacement *table);

/* in outcome.c */
extern void runops_ship_add_outcome(Query *query, Oid leaf);

/* in insert_rows.c */
extern bool runops_ship_insert_rows(Query *query, List **attrs, List **rows);
extern Index runops_ship_insert_source(Query *query);

/* in guard.c */
extern const char *runops_ship_guard(RunopsShipment *shipment, Query *query);

/* in statement_node.c */
extern const CustomScanMethods runops_statement_methods;

/* in plan.c */
extern PlannedStmt *runops_ship_plan(RunopsShipment *shipment, const char *sql);
extern List *runops_ship_result_columns(PlannedStmt *stmt, Query *query, List *tlist,
										List **rows);

/* in spread.c */
extern PlannedStmt *runops_spread_plan(RunopsWholeStatement *statement);

/* in spread_node.c */
extern const CustomScanMethods runops_spread_methods;

/* in canonical.c */
extern void runops_ship_canonicalize(Query *query);

/* in values.c */
extern Query *runops_ship_take_values(RunopsShipment *shipment, Query *query);

#endif							/* RUNOPS_SHIPPING_INT_H */
