/*-------------------------------------------------------------------------
 *
 * setup_int.h
 *	  Declares the functions that the files of the module share.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_SETUP_INT_H
#define RUNOPS_SETUP_INT_H

#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"

/* in leaf_alter.c */
extern List *runops_split_alter(AlterTableStmt *stmt, Oid routed, Oid leaf);
extern void runops_report_unique(Oid routed, List *columns);

/* in leaf_column_types.c */
extern bool runops_changes_types(List *cmds, Oid routed);
extern void runops_divide_types(List *cmds, List **before, List **types,
								List **after);
extern List *runops_change_types(AlterTableStmt *stmt, Oid routed);

/* in leaf_ddl.c */
extern bool runops_first_report(void);
extern void runops_leaf_refuse(Node *parsetree);

/* in leaf_foreign_keys.c */
extern void runops_foreign_key_of_leaf(Constraint *constraint, Oid routed);
extern bool runops_refuse_foreign_key(RangeVar *relation, const char *column,
									  Constraint *constraint);

/* in leaf_names.c */
extern Oid	runops_leaf_of(Oid relid);
extern Oid	runops_routed_by_name(RangeVar *name, Oid *leaf);
extern RangeVar *runops_name_of(Oid relid);
extern char *runops_quoted_name_of(Oid relid);
extern Oid	runops_leaf_index(RangeVar *name, Oid *routed);
extern Oid	runops_primary_index(Oid relid);
extern Oid	runops_key_index(RangeVar *name);
extern Oid	runops_key_by_name(Oid routed, const char *name);
extern bool runops_index_has_column(Oid index, const char *column);
extern Oid	runops_index_part(RangeVar *name, Oid *parent_index);
extern char *runops_leaf_index_name(Oid routed, Oid leaf, const char *name);
extern char *runops_leaf_constraint(Oid routed, Oid leaf, const char *name);
extern RangeVar *runops_leaf_constraint_alone(RangeVar *name);
extern bool runops_name_is_taken(Oid routed, const char *name);
extern char *runops_new_leaf_name(Oid routed, Oid leaf, const char *name);
extern char *runops_free_leaf_name(Oid routed, Oid leaf, const char *name);
extern char *runops_old_name(Oid routed, const char *name);
extern char *runops_default_name(Oid routed, Oid leaf, List *columns, const char *label,
								 List *dropped, List *given);
extern char *runops_element_name(IndexElem *element, List *before);
extern List *runops_rename_indexes(Oid leaf, const char *old_schema, const char *new_schema);
extern void runops_require_owner(Oid leaf, ObjectType type, const char *name);
extern void runops_require_create(Oid routed, Oid leaf);

/* in leaf_schema.c */
extern void runops_guard_new_relation(Oid relid);
extern void runops_guard_altered_relation(Oid relid);
extern void runops_guard_new_object(Oid classId, Oid objectId);

/* in protect_alter.c */
extern bool runops_is_reader_table(Oid relid);
extern void runops_protect_alter(Node *parsetree);

/* in routed_key.c */
extern bool runops_give_key(Oid relid, const char *name, const char **detail);
extern PlannedStmt *runops_key_step(RangeVar *relation, const char *name, bool required);
extern bool runops_key_alone(AlterTableStmt *stmt, List **instead);

#endif							/* RUNOPS_SETUP_INT_H */
