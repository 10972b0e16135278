/*-------------------------------------------------------------------------
 *
 * target.c
 *	  Decides whether a statement that writes to a table can be sent: what the
 *	  writes need here.
 *
 * An INSERT with a conflict target cannot be done in another way.  So its unique
 * keys over all stores and its references are served here: the rows are sent one by
 * one, in one message, and the store tells of each what has become of it.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "nodes/primnodes.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "integrity/integrity.h"
#include "shipping/shipping_int.h"

/*
 * Does a table have row triggers that a command would fire here?  Sets *references if
 * it has triggers that check the references of new rows, which do not count.
 *
 * updates: the command is an UPDATE, or an INSERT that may update.
 */
static bool
has_row_triggers(Oid relid, CmdType command, bool updates, bool *references)
{
	Relation	rel = table_open(relid, AccessShareLock);
	TriggerDesc *triggers = rel->trigdesc;
	bool		result = false;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (!TRIGGER_FOR_ROW(trigger->tgtype) ||
			!((command == CMD_INSERT && TRIGGER_FOR_INSERT(trigger->tgtype)) ||
			  (updates && TRIGGER_FOR_UPDATE(trigger->tgtype)) ||
			  (command == CMD_DELETE && TRIGGER_FOR_DELETE(trigger->tgtype))))
			continue;
		if (command == CMD_INSERT && runops_reference_is_trigger(trigger->tgfoid))
			*references = true;
		else
			result = true;
	}
	table_close(rel, NoLock);

	return result;
}

/*
 * Does DO UPDATE assign to a column the value that the new row has for it?  That
 * row was checked.
 */
static bool
is_of_new_row(Query *query, TargetEntry *tle)
{
	Var		   *var = (Var *) tle->expr;

	return query->onConflict != NULL && IsA(var, Var) && var->varlevelsup == 0 &&
		var->varno == query->onConflict->exclRelIndex && var->varattno == tle->resno;
}

/*
 * Is a column one of the conflict target?  Then the new row and the row that it
 * conflicts with are equal in it.
 */
static bool
is_of_conflict(Query *query, AttrNumber attno)
{
	ListCell   *lc;

	foreach(lc, query->onConflict->arbiterElems)
	{
		Var		   *var = (Var *) lfirst_node(InferenceElem, lc)->expr;

		if (IsA(var, Var) && var->varattno == attno)
			return true;
	}

	return false;
}

/*
 * Can the rows of an INSERT be sent one by one, and their entries and references be
 * served here?  Other INSERTs than upserts are not sent, because they can be done over
 * the leaves.
 */
static bool
may_go_one_by_one(const RunopsShipment *shipment, Query *query)
{
	List	   *attnos;
	List	   *rows;

	return query == shipment->statement->query && query->onConflict != NULL &&
		query->onConflict->arbiterElems != NIL && !query->hasModifyingCTE &&
		runops_ship_insert_rows(query, &attnos, &rows) &&
	/* each row would see those before it */
		(list_length(rows) == 1 || !query->hasSubLinks);
}

/* The columns of the leaf that a statement assigns, as in pull_varattnos. */
typedef struct Assigned
{
	Bitmapset  *fresh;			/* to other values than those of the new row */
	Bitmapset  *copied;			/* to those of the new row */
	Bitmapset  *changed;		/* both, if the value may change */
} Assigned;

/*
 * Find them.  Returns an obstacle, or NULL.
 */
static const char *
collect_assigned(Query *query, const RunopsReplacement *table, Assigned *assigned)
{
	List	   *assignments = query->commandType == CMD_UPDATE ? query->targetList :
		query->onConflict ? query->onConflict->onConflictSet : NIL;
	ListCell   *lc;

	foreach(lc, assignments)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		bool		copied = is_of_new_row(query, tle);
		int			column;

		if (tle->resjunk)
			continue;
		if (!copied &&
			bms_is_member(tle->resno - FirstLowInvalidHeapAttributeNumber, table->route->alias_attnos))
			return psprintf(_("It assigns an alias of \"%s\"."), table->route->name);
		column = get_attnum(table->leaf->relid,
							get_attname(table->route->relid, tle->resno, false)) -
			FirstLowInvalidHeapAttributeNumber;
		if (copied)
			assigned->copied = bms_add_member(assigned->copied, column);
		else
			assigned->fresh = bms_add_member(assigned->fresh, column);
		if (!copied || !is_of_conflict(query, tle->resno))
			assigned->changed = bms_add_member(assigned->changed, column);
	}
	if (assignments != NIL && table->route->alias_generated)
		return psprintf(_("An alias of \"%s\" is a generated column."), table->route->name);

	return NULL;
}

/*
 * Why the unique keys over all stores do not let a statement be sent, or NULL.
 */
static const char *
key_obstacle(RunopsShipment *shipment, Query *query, const RunopsReplacement *table,
			 const Assigned *assigned, bool updates)
{
	const RunopsUniqueKeys *keys = runops_unique_keys(table->leaf->relid);

	if (keys == NULL)
		return NULL;
	if (updates && (keys->generated || bms_overlap(keys->watched, assigned->changed)))
		return psprintf(_("It assigns a column of a unique key over all stores of \"%s\"."),
						table->route->name);
	if (query->commandType == CMD_UPDATE)
		return NULL;
	if (query->commandType != CMD_INSERT || !may_go_one_by_one(shipment, query))
		return psprintf(_("\"%s\" has a unique key over all stores."), table->route->name);
	shipment->one_by_one = true;

	return NULL;
}

/*
 * Does an INSERT … SELECT give an alias a value?  It must name the store, and the value
 * is not known here.
 */
static bool
inserts_alias(Query *query, const RunopsReplacement *table)
{
	ListCell   *lc;

	if (runops_ship_insert_source(query) == 0)
		return false;
	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (bms_is_member(tle->resno - FirstLowInvalidHeapAttributeNumber, table->route->alias_attnos) &&
			!(IsA(tle->expr, Const) && ((Const *) tle->expr)->constisnull))
			return true;
	}

	return table->route->alias_generated;
}

/*
 * Why a statement that writes to a table cannot be sent: a sentence, or NULL if it
 * can.
 */
const char *
runops_ship_target_obstacle(RunopsShipment *shipment, Query *query,
							const RunopsReplacement *table)
{
	const char *name = table->route->name;
	Assigned	assigned = {0};
	bool		updates = query->commandType == CMD_UPDATE ||
		(query->onConflict != NULL && query->onConflict->action == ONCONFLICT_UPDATE);
	bool		references = false;
	const char *obstacle;

	if (query->withCheckOptions != NIL)
		return _("A policy or a view checks the new rows.");
	if (has_row_triggers(table->route->relid, query->commandType, updates, &references) ||
		has_row_triggers(table->leaf->relid, query->commandType, updates, &references) ||
		(references && !may_go_one_by_one(shipment, query)))
		return psprintf(_("\"%s\" has row triggers or references."), name);
	if (references)
		shipment->one_by_one = true;

	if (inserts_alias(query, table))
		return psprintf(_("It inserts aliases of \"%s\" from a query."), name);
	obstacle = collect_assigned(query, table, &assigned);
	if (obstacle == NULL)
		obstacle = key_obstacle(shipment, query, table, &assigned, updates);
	if (obstacle != NULL)
		return obstacle;
	if (updates &&
		runops_reference_assigned(table->leaf->relid, assigned.fresh, assigned.changed))
		return psprintf(_("It assigns a column of a reference of \"%s\"."), name);
	shipment->refers = updates &&
		runops_reference_assigned(table->leaf->relid, assigned.copied, NULL);

	return NULL;
}
