/*-------------------------------------------------------------------------
 *
 * replace.c
 *	  Replaces a routed table by a leaf in a query.
 *
 * The user named the table, so permissions are checked on the table.  A new
 * entry for it, outside the join tree, has the permission request, and the
 * leaf's own entry requests nothing.  The columns in the leaf's entry stay,
 * because triggers, generated columns and the foreign-data wrapper read them.
 * Row security was already expanded for the table and stays with the entry.
 *
 * If a column was ever dropped from the old table, the leaf's attribute
 * numbers differ.  They occur in Vars, target lists, permission bitmaps, alias
 * lists and in the parts of ON CONFLICT.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/attmap.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "planner/planner_int.h"

/* The state of the walker for whole-row references. */
typedef struct WholeRowContext
{
	Index		varno;
	Index		other_varno;
	int			sublevels_up;
} WholeRowContext;

/* The state of the mutator that renumbers columns. */
typedef struct MapContext
{
	Index		varno;
	Index		other_varno;	/* 0: none */
	const AttrMap *map;
	int			sublevels_up;
	bool		whole_row;		/* out: was there a whole-row reference? */
} MapContext;

/*
 * Does a relation have statement triggers or triggers with transition tables
 * for a command?
 *
 * Such a trigger fires for the relation that the statement names, so a leaf
 * must not replace the table then. upsert: the INSERT may also update.  The
 * table itself is locked already; a leaf is locked with lockmode, and the lock
 * is kept.
 */
bool
runops_has_statement_triggers(Oid relid, LOCKMODE lockmode, CmdType command,
							  bool upsert)
{
	Relation	rel = table_open(relid, lockmode);
	TriggerDesc *triggers = rel->trigdesc;
	bool		result = false;

	if (triggers != NULL)
	{
		if (command == CMD_INSERT)
			result = triggers->trig_insert_before_statement ||
				triggers->trig_insert_after_statement ||
				triggers->trig_insert_new_table;
		if (command == CMD_UPDATE || upsert)
			result = result || triggers->trig_update_before_statement ||
				triggers->trig_update_after_statement ||
				triggers->trig_update_old_table ||
				triggers->trig_update_new_table;
		if (command == CMD_DELETE)
			result = triggers->trig_delete_before_statement ||
				triggers->trig_delete_after_statement ||
				triggers->trig_delete_old_table;
	}
	table_close(rel, NoLock);

	return result;
}

/*
 * Walker: is there a whole-row reference to one of two entries?
 */
static bool
whole_row_walker(Node *node, void *arg)
{
	WholeRowContext *context = arg;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		return var->varattno == 0 &&
			var->varlevelsup == context->sublevels_up &&
			(var->varno == context->varno ||
			 var->varno == context->other_varno);
	}
	if (IsA(node, Query))
	{
		bool		result;

		context->sublevels_up++;
		result = query_tree_walker((Query *) node, whole_row_walker, context, 0);
		context->sublevels_up--;
		return result;
	}

	return expression_tree_walker(node, whole_row_walker, context);
}

/*
 * Does a query have a whole-row reference to one of two entries?
 */
static bool
has_whole_row(Query *query, Index varno, Index other_varno)
{
	WholeRowContext context = {
		.varno = varno,
		.other_varno = other_varno
	};

	return query_tree_walker(query, whole_row_walker, &context, 0);
}

/*
 * A map from each column of a relation to itself.
 */
static AttrMap *
identity_map(TupleDesc desc)
{
	AttrMap    *map = make_attrmap(desc->natts);

	for (int i = 0; i < desc->natts; i++)
		map->attnums[i] = TupleDescAttr(desc, i)->attisdropped ? 0 : i + 1;

	return map;
}

/*
 * Renumber the columns in a permission bitmap.
 */
static Bitmapset *
map_columns(Bitmapset *columns, const AttrMap *map)
{
	Bitmapset  *result = NULL;
	int			member = -1;

	while ((member = bms_next_member(columns, member)) >= 0)
	{
		AttrNumber	attno = member + FirstLowInvalidHeapAttributeNumber;

		if (attno > 0)
		{
			if (attno > map->maplen || map->attnums[attno - 1] == 0)
				continue;
			attno = map->attnums[attno - 1];
		}
		result = bms_add_member(result,
								attno - FirstLowInvalidHeapAttributeNumber);
	}

	return result;
}

/*
 * list_sort() comparator: order target-list entries by column number.
 */
static int
compare_resno(const ListCell *a, const ListCell *b)
{
	const TargetEntry *left = lfirst(a);
	const TargetEntry *right = lfirst(b);

	return left->resno - right->resno;
}

/*
 * Renumber the columns that a target list assigns.
 *
 * The list is sorted by the leaf's columns, as the rewriter would have done;
 * junk entries come last.
 */
static List *
map_assignments(List *targetlist, const AttrMap *map, int natts)
{
	List	   *result = NIL;
	List	   *junk = NIL;
	ListCell   *lc;

	foreach(lc, targetlist)
	{
		TargetEntry *tle = lfirst(lc);

		if (tle->resjunk)
		{
			tle->resno = natts + list_length(junk) + 1;
			junk = lappend(junk, tle);
		}
		else
		{
			tle->resno = map->attnums[tle->resno - 1];
			result = lappend(result, tle);
		}
	}
	list_sort(result, compare_resno);

	return list_concat(result, junk);
}

/*
 * Put an alias's column names into the order of the leaf's columns.
 */
static Alias *
map_alias(Alias *alias, const AttrMap *map, TupleDesc leafdesc)
{
	Alias	   *result;
	Node	  **names;
	List	   *colnames = NIL;
	int			j = 0;
	ListCell   *lc;

	if (alias == NULL || alias->colnames == NIL)
		return alias;

	names = palloc0(sizeof(Node *) * leafdesc->natts);
	foreach(lc, alias->colnames)
	{
		if (j < map->maplen && map->attnums[j] > 0)
			names[map->attnums[j] - 1] = lfirst(lc);
		j++;
	}

	for (int i = 0; i < leafdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(leafdesc, i);

		if (names[i] == NULL)
			names[i] = (Node *) makeString(att->attisdropped ? "" :
										   pstrdup(NameStr(att->attname)));
		colnames = lappend(colnames, names[i]);
	}

	result = makeNode(Alias);
	result->aliasname = alias->aliasname;
	result->colnames = colnames;
	return result;
}

/*
 * Mutator: renumber references to the columns of up to two entries of a query.
 */
static Node *
map_mutator(Node *node, void *arg)
{
	MapContext *context = arg;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);
		AttrNumber	attno;

		if (var->varlevelsup != context->sublevels_up ||
			(var->varno != context->varno && var->varno != context->other_varno))
			return (Node *) var;
		context->whole_row |= var->varattno == 0;
		if (var->varattno <= 0)
			return (Node *) var;

		attno = var->varattno > context->map->maplen ? 0 :
			context->map->attnums[var->varattno - 1];
		if (attno == 0)
			elog(ERROR, "unexpected varattno %d in expression to be mapped",
				 var->varattno);
		var->varattno = attno;
		if (var->varnosyn == (Index) var->varno)
			var->varattnosyn = attno;
		return (Node *) var;
	}
	if (IsA(node, Query))
	{
		Query	   *query;

		context->sublevels_up++;
		query = query_tree_mutator((Query *) node, map_mutator, context, 0);
		context->sublevels_up--;
		return (Node *) query;
	}

	return expression_tree_mutator(node, map_mutator, context);
}

/*
 * Renumber a query's references to the columns of one or two entries.
 *
 * The query is changed in place, although its contents are copied.  Whole-row
 * references need a conversion, which only core's function does, one entry at
 * a time; without them one copy is enough.
 */
static void
map_references(Query *query, Index varno, Index other_varno, const AttrMap *map,
			   Oid rowtype)
{
	MapContext	context = {
		.varno = varno,
		.other_varno = other_varno,
		.map = map
	};
	Query	   *mapped;
	bool		found_whole_row;

	mapped = query_tree_mutator(query, map_mutator, &context, 0);
	if (context.whole_row)
	{
		mapped = (Query *) map_variable_attnos((Node *) query, varno, 0, map,
											   rowtype, &found_whole_row);
		if (other_varno != 0)
			mapped = (Query *) map_variable_attnos((Node *) mapped, other_varno,
												   0, map, rowtype,
												   &found_whole_row);
	}
	memcpy(query, mapped, sizeof(Query));
}

/*
 * Change an entry into the leaf's, and move its permission request to a new
 * entry for the table.
 */
static void
hand_over_entry(Query *query, RangeTblEntry *rte, Relation leaf,
				const AttrMap *map)
{
	RangeTblEntry *request = makeNode(RangeTblEntry);

	memcpy(request, rte, sizeof(RangeTblEntry));
	request->inh = false;
	request->inFromCl = false;
	request->securityQuals = NIL;

	rte->relid = RelationGetRelid(leaf);
	if (rte->relkind == RELKIND_PARTITIONED_TABLE)
		rte->relkind = leaf->rd_rel->relkind;

#if PG16_GE
	if (request->perminfoindex != 0)
	{
		RTEPermissionInfo *wanted = getRTEPermissionInfo(query->rteperminfos,
														 request);
		RTEPermissionInfo *own;

		rte->perminfoindex = 0;
		own = addRTEPermissionInfo(&query->rteperminfos, rte);
		own->inh = wanted->inh;
		own->checkAsUser = wanted->checkAsUser;
		own->selectedCols = map ? map_columns(wanted->selectedCols, map) :
			wanted->selectedCols;
		own->insertedCols = map ? map_columns(wanted->insertedCols, map) :
			wanted->insertedCols;
		own->updatedCols = map ? map_columns(wanted->updatedCols, map) :
			wanted->updatedCols;
	}
#else
	rte->requiredPerms = 0;
	if (map)
	{
		rte->selectedCols = map_columns(rte->selectedCols, map);
		rte->insertedCols = map_columns(rte->insertedCols, map);
		rte->updatedCols = map_columns(rte->updatedCols, map);
		rte->extraUpdatedCols = map_columns(rte->extraUpdatedCols, map);
	}
#endif

	query->rtable = lappend(query->rtable, request);
}

/*
 * Convert EXCLUDED's target list to the list that the parser would have made
 * for the leaf: an entry for each column, including dropped ones, and one for
 * the whole row.
 */
static List *
map_excluded_targets(List *targetlist, Relation leaf, const AttrMap *map)
{
	TupleDesc	desc = RelationGetDescr(leaf);
	TargetEntry **columns = palloc0(sizeof(TargetEntry *) * desc->natts);
	TargetEntry *whole_row = NULL;
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, targetlist)
	{
		TargetEntry *tle = lfirst(lc);
		Var		   *var = (Var *) tle->expr;

		if (!IsA(var, Var))
			continue;			/* dropped from the table */
		if (tle->resno == InvalidAttrNumber)
		{
			var->vartype = leaf->rd_rel->reltype;
			whole_row = tle;
			continue;
		}
		if (map)
			tle->resno = map->attnums[tle->resno - 1];
		var->varattno = var->varattnosyn = tle->resno;
		columns[tle->resno - 1] = tle;
	}

	for (int i = 0; i < desc->natts; i++)
	{
		if (columns[i] == NULL)
			columns[i] = makeTargetEntry((Expr *) makeNullConst(INT4OID, -1,
																InvalidOid),
										 i + 1, NULL, false);
		result = lappend(result, columns[i]);
	}

	return lappend(result, whole_row);
}

/*
 * Change the EXCLUDED entry of ON CONFLICT into a row of the leaf.
 *
 * It has its own permission request: reading EXCLUDED needs the SELECT
 * privilege.
 */
static void
map_excluded(Query *query, List *targetlist, Relation leaf, const AttrMap *map)
{
	OnConflictExpr *conflict = query->onConflict;
	RangeTblEntry *rte = rt_fetch(conflict->exclRelIndex, query->rtable);

	conflict->onConflictSet = map ?
		map_assignments(conflict->onConflictSet, map,
						RelationGetNumberOfAttributes(leaf)) :
		conflict->onConflictSet;
	conflict->exclRelTlist =
		map_excluded_targets(targetlist, leaf, map);
	hand_over_entry(query, rte, leaf, map);
	if (map)
	{
		rte->alias = map_alias(rte->alias, map, RelationGetDescr(leaf));
		rte->eref = map_alias(rte->eref, map, RelationGetDescr(leaf));
	}
}

/*
 * Make one replacement.
 *
 * The leaf is locked in the same mode as the table.  The levels inside this
 * query must be finished before, because their Query nodes may be copied here.
 */
void
runops_replace(RunopsReplacement *replacement)
{
	Query	   *query = replacement->query;
	Index		rti = replacement->rti;
	RangeTblEntry *rte = rt_fetch(rti, query->rtable);
	bool		is_target = rti == query->resultRelation;
	Index		excluded = 0;
	List	   *targetlist = NIL;	/* of EXCLUDED */
	Relation	parent;
	Relation	leaf;
	AttrMap    *map;

	leaf = table_open(replacement->leaf->relid, rte->rellockmode);
	parent = table_open(rte->relid, NoLock);
	map = build_attrmap_by_name_if_req_compat(RelationGetDescr(leaf),
											  RelationGetDescr(parent));

	if (is_target && query->onConflict &&
		query->onConflict->action == ONCONFLICT_UPDATE)
	{
		excluded = query->onConflict->exclRelIndex;
		targetlist = query->onConflict->exclRelTlist;
		query->onConflict->exclRelTlist = NIL;	/* it must not be copied */
	}

	if (map != NULL || has_whole_row(query, rti, excluded))
	{
		map_references(query, rti, excluded,
					   map ? map : identity_map(RelationGetDescr(parent)),
					   leaf->rd_rel->reltype);
		rte = rt_fetch(rti, query->rtable);
	}

	if (map != NULL)
	{
		rte->alias = map_alias(rte->alias, map, RelationGetDescr(leaf));
		rte->eref = map_alias(rte->eref, map, RelationGetDescr(leaf));
		if (is_target && (query->commandType == CMD_INSERT ||
						  query->commandType == CMD_UPDATE))
			query->targetList = map_assignments(query->targetList, map,
												RelationGetNumberOfAttributes(leaf));
	}
	if (excluded != 0)
		map_excluded(query, targetlist, leaf, map);

	hand_over_entry(query, rte, leaf, map);
	if (!is_target || query->commandType != CMD_INSERT)
		rte->inh = leaf->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;

	table_close(parent, NoLock);
	table_close(leaf, NoLock);
}
