/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between the supported PostgreSQL majors.
 *
 * The code is written for the newest API; this header fakes it on older
 * servers.  It is the only place that looks at PG_VERSION_NUM.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_COMPAT_H
#define RUNOPS_COMPAT_H

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 200000
#error "runops supports PostgreSQL 15 to 19"
#endif

#define PG16_GE (PG_VERSION_NUM >= 160000)
#define PG17_GE (PG_VERSION_NUM >= 170000)
#define PG18_GE (PG_VERSION_NUM >= 180000)
#define PG19_GE (PG_VERSION_NUM >= 190000)

/* PG18 added the module's name and version to the magic block. */
#if PG18_GE
#define RUNOPS_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "runops", .version = RUNOPS_VERSION)
#else
#define RUNOPS_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* PG18 renamed this, and put it in front of the declaration. */
#if !PG18_GE
#define pg_noreturn pg_attribute_noreturn()
#endif

/* PG18 moved what EXPLAIN exports to headers of their own. */
#if PG18_GE
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* PG16 split the varlena macros out of postgres.h. */
#if PG16_GE
#include "varatt.h"
#endif

/* PG16 added the variant of SysCacheGetAttr that takes no NULL. */
#if !PG16_GE
#define SysCacheGetAttrNotNull(cacheId, tup, attnum) \
	SysCacheGetAttr(cacheId, tup, attnum, &(bool) {false})
#endif

/* PG16 lists outer joins among fs_relids too. */
#if PG16_GE
#define FOREIGN_SCAN_BASE_RELIDS(plan) ((plan)->fs_base_relids)
#else
#define FOREIGN_SCAN_BASE_RELIDS(plan) ((plan)->fs_relids)
#endif

/*
 * The role whose user mapping a foreign scan uses; InvalidOid for the current
 * user.  PG16 moved it from the range-table entry to the plan node.
 */
#if PG16_GE
#define foreign_scan_user(node) \
	(castNode(ForeignScan, (node)->ss.ps.plan)->checkAsUser)
#define result_relation_user(rri, estate) \
	ExecGetResultRelCheckAsUser(rri, estate)
#else
#define foreign_scan_user(node) \
	(exec_rt_fetch(runops_fdw_scan_rtindex(node), (node)->ss.ps.state)->checkAsUser)
#define result_relation_user(rri, estate) \
	(exec_rt_fetch((rri)->ri_RangeTableIndex, estate)->checkAsUser)
#endif

/* PG16 keeps the user that a table is planned for in its RelOptInfo. */
#if PG16_GE
#define PLANNED_REL_USERID(rel, root) \
	(OidIsValid((rel)->userid) ? (rel)->userid : GetUserId())
#else
#define PLANNED_REL_USERID(rel, root) \
	(OidIsValid(planner_rt_fetch((rel)->relid, root)->checkAsUser) ? \
	 planner_rt_fetch((rel)->relid, root)->checkAsUser : GetUserId())
#endif

/* PG16 replaced the ACL check of each kind of object by object_aclcheck(). */
#if PG16_GE
#define RUNOPS_SERVER_ACLCHECK(serverid, roleid, mode) \
	object_aclcheck(ForeignServerRelationId, serverid, roleid, mode)
#else
#define RUNOPS_SERVER_ACLCHECK(serverid, roleid, mode) \
	pg_foreign_server_aclcheck(serverid, roleid, mode)
#endif

#if PG16_GE
#define RUNOPS_SCHEMA_ACLCHECK(nsp, roleid, mode) \
	object_aclcheck(NamespaceRelationId, nsp, roleid, mode)
#else
#define RUNOPS_SCHEMA_ACLCHECK(nsp, roleid, mode) \
	pg_namespace_aclcheck(nsp, roleid, mode)
#endif

/* PG17 added fdw_restrictinfo to a foreign path, PG18 disabled_nodes. */
#if PG18_GE
#define create_foreign_base_path(root, rel, rows, startup, total, outer) \
	create_foreignscan_path(root, rel, NULL, rows, 0, startup, total, \
							NIL, outer, NULL, NIL, NIL)
#elif PG17_GE
#define create_foreign_base_path(root, rel, rows, startup, total, outer) \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, \
							NIL, outer, NULL, NIL, NIL)
#else
#define create_foreign_base_path(root, rel, rows, startup, total, outer) \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, \
							NIL, outer, NULL, NIL)
#endif

/*
 * The cost settings that postgres_fdw assumes by default; PG17 raised the cost
 * of a row.
 */
#define PGFDW_STARTUP_COST 100.0
#if PG17_GE
#define PGFDW_TUPLE_COST 0.2
#else
#define PGFDW_TUPLE_COST 0.01
#endif

/* PG16 replaced the ownership check of each kind of object by one function. */
#if !PG16_GE
#define object_ownercheck(classid, objid, roleid) \
	(AssertMacro((classid) == RelationRelationId), pg_class_ownercheck(objid, roleid))
#endif

/* PG16 added missing_ok to the functions that match columns by name. */
#if PG16_GE
#define build_attrmap_by_name_if_req_compat(in, out) \
	build_attrmap_by_name_if_req(in, out, false)
#define build_attrmap_by_name_compat(in, out) \
	build_attrmap_by_name(in, out, false)
#else
#define build_attrmap_by_name_if_req_compat(in, out) \
	build_attrmap_by_name_if_req(in, out)
#define build_attrmap_by_name_compat(in, out) \
	build_attrmap_by_name(in, out)
#endif

/* PG16 checks by itself whether a PlaceHolderVar may still be made. */
#if PG16_GE
#define find_placeholder_info_compat(root, phv) \
	find_placeholder_info(root, phv)
#else
#define find_placeholder_info_compat(root, phv) \
	find_placeholder_info(root, phv, false)
#endif

/* PG18 keeps the pruning steps in a list of the PlannedStmt. */
#if PG18_GE
#define APPEND_PRUNES(append) ((append)->part_prune_index >= 0)
#else
#define APPEND_PRUNES(append) ((append)->part_prune_info != NULL)
#endif

/* PG18 removed the argument execute_once of ExecutorRun. */
#if PG18_GE
#define EXECUTE_ONCE_PARAMETER
#define EXECUTE_ONCE_ARGUMENT
#define EXECUTOR_RUN_ALL(desc) ExecutorRun(desc, ForwardScanDirection, 0)
#else
#define EXECUTE_ONCE_PARAMETER , bool execute_once
#define EXECUTE_ONCE_ARGUMENT , execute_once
#define EXECUTOR_RUN_ALL(desc) ExecutorRun(desc, ForwardScanDirection, 0, true)
#endif

/*
 * PG16 added EXPLAIN (GENERIC_PLAN), which starts a plan without parameter
 * values.
 */
#if PG16_GE
#define RUNOPS_EXPLAIN_GENERIC EXEC_FLAG_EXPLAIN_GENERIC
#else
#define RUNOPS_EXPLAIN_GENERIC 0
#endif

/*
 * The conversion of a row of the root of a partition tree to one of its
 * partitions; NULL if none is needed.  PG16 has a function for it.
 */
#if PG16_GE
#define ROOT_TO_CHILD_MAP(rri, estate) ExecGetRootToChildMap(rri, estate)
#else
#define ROOT_TO_CHILD_MAP(rri, estate) ((rri)->ri_RootToPartitionMap)
#endif

/* PG16 added this. */
#ifndef repalloc_array
#define repalloc_array(pointer, type, count) \
	((type *) repalloc(pointer, sizeof(type) * (count)))
#endif

/* PG18 keeps NOT NULL constraints in an array of their own. */
#if PG18_GE
#define RI_CHECK_EXPRS ri_CheckConstraintExprs
#else
#define RI_CHECK_EXPRS ri_ConstraintExprs
#endif

/* PG18 has CHECKs that are not enforced. */
#if PG18_GE
#define CHECK_IS_ENFORCED(check) ((check)->ccenforced)
#else
#define CHECK_IS_ENFORCED(check) true
#endif

/* PG18 split the functions that print properties out of explain.h. */
#if PG18_GE
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* PG18 no longer has a name of its own for the collation "POSIX". */
#if PG18_GE
#define POSIX_COLLATION_OID 951
#endif

/* PG16 records in a Var which outer joins may have made it null. */
#if PG16_GE
#define VAR_NULLED_BY_JOIN(var) (!bms_is_empty((var)->varnullingrels))
#else
#define VAR_NULLED_BY_JOIN(var) false
#endif

/*
 * PG16 tells ExecInsertIndexTuples whether only summarizing indexes need an
 * entry; PG19 does so by flags.
 */
#if PG19_GE
#define ExecInsertIndexTuples_compat(rri, slot, estate, nodup, conflict, arbiters) \
	ExecInsertIndexTuples(rri, estate, (nodup) ? EIIT_NO_DUPE_ERROR : 0, slot, arbiters, conflict)
#elif PG16_GE
#define ExecInsertIndexTuples_compat(rri, slot, estate, nodup, conflict, arbiters) \
	ExecInsertIndexTuples(rri, slot, estate, false, nodup, conflict, arbiters, false)
#else
#define ExecInsertIndexTuples_compat(rri, slot, estate, nodup, conflict, arbiters) \
	ExecInsertIndexTuples(rri, slot, estate, false, nodup, conflict, arbiters)
#endif

/* PG18 counts the searches of an index scan; PG19 added flags. */
#if PG19_GE
#define index_beginscan_compat(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0, SO_NONE)
#elif PG18_GE
#define index_beginscan_compat(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define index_beginscan_compat(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

#if PG19_GE
#define table_beginscan_compat(rel, snapshot) \
	table_beginscan(rel, snapshot, 0, NULL, SO_NONE)
#else
#define table_beginscan_compat(rel, snapshot) \
	table_beginscan(rel, snapshot, 0, NULL)
#endif

/* PG19 has options for a deletion, among them a move to another partition. */
#if PG19_GE
#define table_tuple_delete_compat(rel, tid, cid, snapshot, crosscheck, wait, tmfd) \
	table_tuple_delete(rel, tid, cid, 0, snapshot, crosscheck, wait, tmfd)
#else
#define table_tuple_delete_compat(rel, tid, cid, snapshot, crosscheck, wait, tmfd) \
	table_tuple_delete(rel, tid, cid, snapshot, crosscheck, wait, tmfd, false)
#endif

/* PG18 says by a CompareType how an ordering operator compares. */
#if PG18_GE
#include "access/cmptype.h"
typedef CompareType RunopsCompareType;
#else
typedef int16 RunopsCompareType;
#endif

/* PG18 can log that a lock could not be acquired. */
#if PG18_GE
#define ConditionalXactLockTableWait_compat(xid) \
	ConditionalXactLockTableWait(xid, false)
#else
#define ConditionalXactLockTableWait_compat(xid) \
	ConditionalXactLockTableWait(xid)
#endif

/* PG18 has foreign keys that are not enforced. */
#if PG18_GE
#define FOREIGN_KEY_ENFORCED(info) ((info)->conenforced)
#else
#define FOREIGN_KEY_ENFORCED(info) true
#endif

/* PG17 has more functions of this name. */
#if !PG17_GE
#define F_RANDOM_ F_RANDOM
#endif

/* PG17 gives a set of events to a resource owner instead of a memory context. */
#if PG17_GE
#define create_wait_event_set(cxt, n) CreateWaitEventSet(NULL, n)
#else
#define create_wait_event_set(cxt, n) CreateWaitEventSet(cxt, n)
#endif

/* PG17 added transaction_timeout. */
#ifndef ERRCODE_TRANSACTION_TIMEOUT
#define ERRCODE_TRANSACTION_TIMEOUT MAKE_SQLSTATE('2','5','P','0','4')
#endif

/* PG17 wants to be told how a dshash table copies a key. */
#if PG17_GE
#define DSHASH_COPY_FUNCTION .copy_function = dshash_memcpy,
#define LOCK_HELD_BY_ME(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define DSHASH_COPY_FUNCTION
#define LOCK_HELD_BY_ME(tag, mode) LockHeldByMe(tag, mode)
#endif

/* PG19 passes the state of an EXPLAIN to the planner. */
#if PG19_GE
#define EXPLAIN_STATE_PARAMETER , struct ExplainState *es
#define EXPLAIN_STATE_ARGUMENT , es
#define planner_compat(parse, query_string, options, params) \
	planner(parse, query_string, options, params, NULL)
#else
#define EXPLAIN_STATE_PARAMETER
#define EXPLAIN_STATE_ARGUMENT
#define planner_compat(parse, query_string, options, params) \
	planner(parse, query_string, options, params)
#endif

/*
 * PG19 calls a hook for each relation that is planned; before, it was called
 * only for relations in the catalogs.
 */
#if PG19_GE
#define BUILD_SIMPLE_REL_PARAMETERS \
	PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *rte
#define BUILD_SIMPLE_REL_ARGUMENTS root, rel, rte
#else
#define build_simple_rel_hook get_relation_info_hook
#define build_simple_rel_hook_type get_relation_info_hook_type
#define BUILD_SIMPLE_REL_PARAMETERS \
	PlannerInfo *root, Oid relid, bool inhparent, RelOptInfo *rel
#define BUILD_SIMPLE_REL_ARGUMENTS root, relid, inhparent, rel
#endif

/* PG19 keeps the result relations of a plan in a Bitmapset. */
#if PG19_GE
#define PLAN_HAS_TARGETS(stmt) ((stmt)->resultRelationRelids != NULL)
#define PLAN_HAS_TARGET(stmt, rti) bms_is_member(rti, (stmt)->resultRelationRelids)
#else
#define PLAN_HAS_TARGETS(stmt) ((stmt)->resultRelations != NIL)
#define PLAN_HAS_TARGET(stmt, rti) list_member_int((stmt)->resultRelations, rti)
#endif

/* PG19 matches the columns of a unique index only with clauses. */
#if PG19_GE
#define relation_has_unique_index_for_compat(root, rel, clauses) \
	relation_has_unique_index_for(root, rel, clauses, NULL)
#else
#define relation_has_unique_index_for_compat(root, rel, clauses) \
	relation_has_unique_index_for(root, rel, clauses, NIL, NIL)
#endif

/* PG19 finds temporary types and functions too, and returns the object. */
#if PG19_GE
#include "catalog/dependency.h"
#define query_uses_temp_object_compat(query) \
	query_uses_temp_object(query, &(ObjectAddress) {0})
#else
#define query_uses_temp_object_compat(query) isQueryUsingTempRelation(query)
#endif

/* PG19 keeps the result of building a jsonb in the state. */
#if PG19_GE
#define push_last_jsonb(state, token) \
	(pushJsonbValue(state, token, NULL), (state)->result)
#else
typedef struct JsonbParseState *JsonbInState;
#define push_last_jsonb(state, token) pushJsonbValue(state, token, NULL)
#endif

/* PG19 no longer warns of a backslash in a string. */
#if PG19_GE
#define scanner_without_warnings(extra) ((void) (extra))
#else
#define scanner_without_warnings(extra) \
	((extra)->escape_string_warning = false)
#endif

/* PG19 made CLUSTER and VACUUM FULL one command. */
#if !PG19_GE
#define T_RepackStmt T_ClusterStmt
#define RepackStmt ClusterStmt
#define REPACK_RELATION(stmt) ((stmt)->relation)
#define REPACK_SET_RELATION(stmt, rv) ((stmt)->relation = (rv))
#else
#define REPACK_RELATION(stmt) ((stmt)->relation ? (stmt)->relation->relation : NULL)
#define REPACK_SET_RELATION(stmt, rv) ((stmt)->relation->relation = (rv))
#endif

/* PG18 added a function that makes a NOT NULL constraint. */
#if !PG18_GE
#include "nodes/makefuncs.h"
static inline Constraint *
makeNotNullConstraint(String *column)
{
	Constraint *constraint = makeNode(Constraint);

	(void) column;
	constraint->contype = CONSTR_NOTNULL;
	constraint->location = -1;
	constraint->initially_valid = true;

	return constraint;
}
#endif

/* PG18 has a node of its own for ALTER CONSTRAINT. */
#if !PG18_GE
#define ATAlterConstraint Constraint
#endif

/* PG19 has each new tuple descriptor finished before its use. */
#if !PG19_GE
#define TupleDescFinalize(tupdesc) ((void) 0)
#endif

/*
 * PG16 keeps the user that a table is read as, and the permissions that it needs,
 * in a list of the query and of the plan.
 */
#if PG16_GE
#define RTE_CHECK_AS_USER(query, rte) \
	((rte)->perminfoindex == 0 ? InvalidOid : \
	 getRTEPermissionInfo((query)->rteperminfos, rte)->checkAsUser)
#define PLAN_REQUIRED_PERMS(stmt, rte) \
	((rte)->perminfoindex == 0 ? 0 : \
	 getRTEPermissionInfo((stmt)->permInfos, rte)->requiredPerms)
#define ADD_TO_RANGE_TABLE(stmt, query, rte, copy) \
	do { \
		if ((rte)->perminfoindex != 0) \
		{ \
			(stmt)->permInfos = lappend((stmt)->permInfos, \
										getRTEPermissionInfo((query)->rteperminfos, rte)); \
			(copy)->perminfoindex = list_length((stmt)->permInfos); \
		} \
		(stmt)->rtable = lappend((stmt)->rtable, copy); \
	} while (0)
#else
#define RTE_CHECK_AS_USER(query, rte) ((rte)->checkAsUser)
#define PLAN_REQUIRED_PERMS(stmt, rte) ((rte)->requiredPerms)
#define ADD_TO_RANGE_TABLE(stmt, query, rte, copy) \
	((stmt)->rtable = lappend((stmt)->rtable, copy))
#endif

/* PG18 has an entry for the groups of a query. */
#if PG18_GE
#define RTE_IS_GROUP(rte) ((rte)->rtekind == RTE_GROUP)
#define RTE_GROUP_EXPRS(rte) ((rte)->groupexprs)
#else
#define RTE_IS_GROUP(rte) false
#define RTE_GROUP_EXPRS(rte) NIL
#endif

/* PG18 lists the entries of a plan that are not pruned, and asks which one opens. */
#if PG18_GE
#define PLAN_ALL_ARE_UNPRUNABLE(stmt) \
	((stmt)->unprunableRelids = bms_add_range(NULL, 1, list_length((stmt)->rtable)))
#define ExecGetRangeTableRelation_compat(estate, rti) \
	ExecGetRangeTableRelation(estate, rti, false)
#else
#define PLAN_ALL_ARE_UNPRUNABLE(stmt) ((void) 0)
#define ExecGetRangeTableRelation_compat(estate, rti) \
	ExecGetRangeTableRelation(estate, rti)
#endif

/* PG17 has options of operator classes and statistics targets for a new index. */
#if PG17_GE
#define index_create_compat(rel, name, info, columns, am, collations, opclasses, options, flags, constraint) \
	index_create(rel, name, InvalidOid, InvalidOid, InvalidOid, InvalidOid, info, columns, am, InvalidOid, \
				 collations, opclasses, NULL, options, NULL, (Datum) 0, flags, 0, false, false, constraint)
#else
#define index_create_compat(rel, name, info, columns, am, collations, opclasses, options, flags, constraint) \
	index_create(rel, name, InvalidOid, InvalidOid, InvalidOid, InvalidOid, info, columns, am, InvalidOid, \
				 collations, opclasses, options, (Datum) 0, flags, 0, false, false, constraint)
#endif

/* PG15 defines only DSM_HANDLE_INVALID, in dsm_impl.h. */
#ifndef DSA_HANDLE_INVALID
#define DSA_HANDLE_INVALID ((dsa_handle) DSM_HANDLE_INVALID)
#endif

#endif							/* RUNOPS_COMPAT_H */
