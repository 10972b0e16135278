/*-------------------------------------------------------------------------
 *
 * planner_int.h
 *	  Declares what the files of the planner share: facts, decisions and
 *	  replacements.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_PLANNER_INT_H
#define RUNOPS_PLANNER_INT_H

#include "executor/execdesc.h"
#include "lib/stringinfo.h"
#include "nodes/execnodes.h"
#include "nodes/params.h"
#include "nodes/pathnodes.h"
#include "nodes/plannodes.h"
#include "storage/lockdefs.h"
#include "utils/array.h"

#include "planner/planner.h"
#include "topology/topology.h"

/* A column of a range-table entry of the query at a depth (1 = outermost). */
typedef struct RunopsColumn
{
	Index		depth;
	Index		varno;
	AttrNumber	attno;
} RunopsColumn;

/*
 * A fact that holds for every relevant row: either two columns are equal
 * (other.varno > 0), or a column's value belongs to one of some stores.
 */
typedef struct RunopsFact
{
	RunopsColumn column;
	RunopsColumn other;
	RunopsStoreSet stores;
	List	   *assumed;		/* of Param: holds if the assumption of these
								 * does */
} RunopsFact;

/* The reason for a table's set of stores. */
typedef enum RunopsReason
{
	RUNOPS_REASON_NO_PREDICATE, /* no predicate on the key or an alias */
	RUNOPS_REASON_UNKNOWN,		/* equality with a value that is not known
								 * yet, or is unclassifiable */
	RUNOPS_REASON_KNOWN,		/* the values name the stores */
	RUNOPS_REASON_CONTRADICTION /* no row can satisfy the predicates */
} RunopsReason;

/* The stores of a table that a query level needs. */
typedef struct RunopsDecision
{
	RunopsStoreSet stores;
	RunopsReason reason;
	List	   *assumed;		/* of Param: holds if the assumption of these
								 * does */
} RunopsDecision;

/*
 * What a plan assumes of parameters without values; see any_id.c.
 */
typedef struct RunopsAssumption
{
	List	   *params;			/* of Param; NIL: all, and legacy has their
								 * ids */
	RunopsStoreSet *stores;		/* for each of them; none for NULL */
	List	   *shapeless;		/* out: OIDs of the tables whose id has no
								 * known shape */
} RunopsAssumption;

/* The known values of the parameters of a statement. */
typedef struct RunopsValues
{
	ParamListInfo params;		/* bound values, or NULL */
	RunopsAssumption *assumption;	/* of the others; NULL: nothing */
} RunopsValues;

/* The scope in which facts are collected. */
typedef struct RunopsScope
{
	Index		depth;			/* of the query whose clauses are read */
	RunopsValues values;
	bool		unfolded;		/* out: a value was an expression that
								 * constant folding may make known */
} RunopsScope;

/* The facts about a statement that steer the plan cache. */
typedef struct RunopsTally
{
	int			ntables;		/* routed tables in join trees */
	int			nunknown;		/* of these, those compared with an unknown
								 * value */
	Query	   *level;			/* query level of the last of these */
	bool		guess;			/* was a leaf chosen with an unknown key? */
} RunopsTally;

/* The facts about its making that a plan keeps; see plan_note.c. */
typedef struct RunopsPlanNote
{
	List	   *spared;			/* checks to skip; see skip_checks.c */
	List	   *users;			/* pairs of OIDs: a result relation's
								 * range-table index, and its user */
	String	   *obstacle;		/* why the statement was not sent to its store
								 * as a whole; or NULL */
} RunopsPlanNote;

/* How to steer the plan cache's choice of a generic plan. */
typedef enum RunopsSteering
{
	RUNOPS_STEER_NONE,			/* let the cost decide */
	RUNOPS_STEER_GENERIC,		/* generic plan: run-time pruning makes it as
								 * good */
	RUNOPS_STEER_CUSTOM			/* a plan for known values is better */
} RunopsSteering;

/* in resolve.c */
extern bool runops_is_id_equality(Oid opno, Oid inputcollid);
extern bool runops_is_negated_equality(Node *clause);
extern List *runops_collect_facts(Node *clause, RunopsScope *scope, List *facts);
extern RunopsDecision runops_resolve(const RunopsRoute *route, List *facts,
									 Index depth, Index varno);
extern Node *runops_fold(Node *expr, ParamListInfo params);
extern RunopsStoreSet runops_column_stores(List *facts, RunopsColumn column,
										   List **assumed);
extern RunopsStoreSet runops_clause_stores(const RunopsRoute *route, Node *clause,
										   Index varno);

/* in facts.c */
extern List *runops_facts_of_quals(const RunopsValues *values, Node *quals,
								   Index depth, List *facts);
extern List *runops_facts_of_output(const RunopsValues *values, Query *query,
									Node *jtnode, Index depth, List *facts);
extern bool runops_is_transparent(Query *subquery);
extern List *runops_known_outputs(Query *subquery, Index depth, Index rti,
								  List *facts);
extern List *runops_facts_of_known(Query *query, Index depth, List *outputs,
								   List *facts);

/* in value_stores.c */
extern Node *runops_strip_relabel(Node *expr);
extern bool runops_known_value(Node *expr, RunopsScope *scope, Datum *value,
							   bool *isnull);
extern bool runops_value_stores(Node *expr, RunopsScope *scope,
								RunopsStoreSet *stores, List **assumed);
extern bool runops_array_value_stores(Node *expr, RunopsScope *scope,
									  RunopsStoreSet *stores, List **assumed);
extern void runops_note_shapeless(const RunopsValues *values, const RunopsRoute *route);

/* in any_id.c */
extern RunopsAssumption *runops_assumption(const Query *query, ParamListInfo params);
extern bool runops_assumed_stores(const RunopsAssumption *assumption, Param *param,
								  RunopsStoreSet *stores);
extern PlannedStmt *runops_make_choice(PlannedStmt *legacy, Query *query, int cursorOptions,
									   List *params, List *leaves);

/* in skip_checks.c */
extern List *runops_spared_checks(Query *query, const RunopsRoute *route,
								  const RunopsLeaf *leaf, bool known);
extern void runops_skip_checks(QueryDesc *queryDesc, List *spared);

/* in plan_note.c */
extern void runops_add_plan_note(PlannedStmt *stmt, const RunopsPlanNote *note);
extern bool runops_find_plan_note(PlannedStmt *stmt, RunopsPlanNote *note);

/* in permissions.c */
extern bool runops_has_empty_request(PlannedStmt *stmt);
extern List *runops_settle_permissions(PlannedStmt *stmt);

/* in replace.c */
extern void runops_replace(RunopsReplacement *replacement);
extern bool runops_has_statement_triggers(Oid relid, LOCKMODE lockmode,
										  CmdType command, bool upsert);

/* in insert.c */
/* What the planner does with an INSERT; see insert.c. */
typedef struct RunopsInsertChoice
{
	bool		top;			/* is it the statement itself? */
	bool		guess;			/* out: was a leaf chosen with an unknown key? */
	bool		upsert;			/* out: has it a conflict target, and go its
								 * rows to a foreign leaf? */
	bool		spread;			/* out: has it a conflict target, and rows of
								 * several or unknown stores? */
} RunopsInsertChoice;

extern const RunopsLeaf *runops_insert_leaf(Query *query, const RunopsRoute *route,
											const RunopsValues *values, List **assumed,
											RunopsInsertChoice *choice);
extern void runops_refuse_unrouted(Query *query);
pg_noreturn extern void runops_refuse_spread(const RunopsRoute *route,
											 const char *obstacle);
pg_noreturn extern void runops_refuse_foreign_upsert(const RunopsReplacement *table,
													 const char *obstacle);

/* in flag_off.c */
extern List *runops_use_legacy(Query *query);

/* in pinned_store.c */
extern bool runops_is_pinned(Query *query, Index rti, const RunopsRoute *route,
							 RunopsStoreSet *store);
extern void runops_drop_pins(Query *query, Index rti, const RunopsRoute *route,
							 const RunopsLeaf *leaf);

/* in only.c */
extern void runops_remove_only(Query *query);

/* in on_constraint.c */
extern void runops_name_key_columns(Query *query);

/* in partitionwise.c */
extern void runops_pair_by_key(RelOptInfo *rel, const RunopsRoute *route);

/* in plancache.c */
extern bool runops_has_extern_param(Node *node);
extern RunopsSteering runops_steering(Query *parse, ParamListInfo params,
									  const RunopsTally *tally);
extern void runops_steer(PlannedStmt *stmt, RunopsSteering steering);
extern void runops_prefer_generic(PlannedStmt *stmt, Query *parse, ParamListInfo params);

#endif							/* RUNOPS_PLANNER_INT_H */
