/*-------------------------------------------------------------------------
 *
 * missing_leaf.c
 *	  Replaces core's error about a row that fits no leaf by an error of ours.
 *
 * Core says "no partition of relation ... found for row".  For statements that
 * can put rows into a routed table, and only for these, the error becomes
 * store_not_configured, or wrong_store if an UPDATE would move the row.  If a
 * leaf rejects a row because its key belongs to another store, the error
 * becomes wrong_store as well.  This happens if a trigger has changed the key.
 * It also happens if a generic plan of INSERT ... ON CONFLICT computes the key
 * from a parameter: the plan is made for the legacy leaf, and the key belongs
 * to another one.  The fields of other errors about a leaf name the routed
 * table.
 *
 * Nothing is looked up after the error.  The names of the routed tables are
 * fetched before the statement.  The store's name is taken from the error's
 * detail, which has the value of the partition key unless the user may not see
 * it.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "nodes/plannodes.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "gate/gate.h"
#include "planner/planner.h"
#include "topology/topology.h"

/* The untranslated messages of ExecFindPartition() and ExecPartitionCheck() */
#define NO_PARTITION_MESSAGE "no partition of relation \"%s\" found for row"
#define PARTITION_CHECK_MESSAGE \
	"new row for relation \"%s\" violates partition constraint"

/*
 * The names that errors about a routed table, or about one of its leaves, may
 * have.
 */
typedef struct RoutedName
{
	char	   *schema;
	char	   *relation;
	const char *store;			/* of the leaf; NULL for the table itself */
	char	   *table_schema;	/* the routed table */
	char	   *table;
} RoutedName;

/*
 * Append the name of one relation to a list.
 */
static List *
add_name(List *names, char *schema, char *relation, const char *store,
		 const RunopsRoute *route)
{
	RoutedName *entry = palloc(sizeof(RoutedName));

	entry->schema = schema;
	entry->relation = relation;
	entry->store = store;
	entry->table_schema = route->schema;
	entry->table = route->name;

	return lappend(names, entry);
}

/*
 * If a table is routed, append its name and the names of its leaves to a list.
 */
static List *
add_names(List *names, Oid relid)
{
	const RunopsRoute *route = runops_route(relid);

	if (route == NULL)
		return names;

	names = add_name(names, route->schema, route->name, NULL, route);
	for (int i = 0; i < route->nleaves; i++)
	{
		const RunopsLeaf *leaf = &route->leaves[i];

		names = add_name(names, leaf->schema, leaf->name, leaf->store, route);
	}

	return names;
}

/*
 * The names of the routed tables whose rows a statement may route; NIL for
 * most statements.
 */
List *
runops_routed_names(PlannedStmt *stmt)
{
	List	   *names = NIL;
	ListCell   *lc;

	if (stmt->commandType != CMD_INSERT && stmt->commandType != CMD_UPDATE &&
		stmt->commandType != CMD_MERGE && !stmt->hasModifyingCTE)
		return NIL;

	foreach(lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_RELATION &&
			rte->relkind == RELKIND_PARTITIONED_TABLE)
			names = add_names(names, rte->relid);
	}

	return names;
}

/*
 * The entry for the relation that an error names, or NULL.
 */
static RoutedName *
find_name(List *names, ErrorData *edata)
{
	ListCell   *lc;

	if (edata->schema_name == NULL || edata->table_name == NULL)
		return NULL;

	foreach(lc, names)
	{
		RoutedName *entry = lfirst(lc);

		if (entry->schema != NULL && entry->relation != NULL &&
			strcmp(edata->schema_name, entry->schema) == 0 &&
			strcmp(edata->table_name, entry->relation) == 0)
			return entry;
	}

	return NULL;
}

/*
 * Get the value of the partition key from an error's detail.
 *
 * The detail is translated, but its part "(store_of(id)) = (value)" is not.
 */
static char *
store_in_detail(const char *detail)
{
	const char *start = detail ? strstr(detail, ") = (") : NULL;
	const char *end = start ? strchr(start + 5, ')') : NULL;

	return end ? pnstrdup(start + 5, end - start - 5) : NULL;
}

/*
 * Replace core's error about a row without a partition.
 */
static void
describe_missing_leaf(ErrorData *edata, bool moves)
{
	char	   *store = store_in_detail(edata->detail);

	if (moves)
	{
		edata->sqlerrcode = ERRCODE_RUNOPS_WRONG_STORE;
		edata->message = store ?
			psprintf(_("cannot move a row of \"%s\" to store \"%s\""),
					 edata->table_name, store) :
			psprintf(_("cannot move a row of \"%s\" to another store"),
					 edata->table_name);
		edata->detail = pstrdup(_("The new key belongs to a different store than the row."));
		edata->hint = pstrdup(_("Insert a row with the new key and delete the old one."));
	}
	else
	{
		edata->sqlerrcode = ERRCODE_RUNOPS_STORE_NOT_CONFIGURED;
		edata->message = store ?
			psprintf(_("store \"%s\" of \"%s\" is not configured"),
					 store, edata->table_name) :
			psprintf(_("the store of a row of \"%s\" is not configured"),
					 edata->table_name);
		edata->detail = pstrdup(_("An id in the statement belongs to a store that the table has no leaf for."));
		edata->hint = pstrdup(_("Use runops.add_store() to add the store."));
	}
}

/*
 * Replace core's error about a row that a leaf rejects.
 *
 * moves: the statement is an UPDATE.
 */
static void
describe_wrong_leaf(ErrorData *edata, const RoutedName *leaf, bool moves)
{
	/* While the flag is off, every row is planned for that leaf. */
	if (runops_gate_flag_off())
	{
		edata->sqlerrcode = moves ? ERRCODE_RUNOPS_WRONG_STORE :
			ERRCODE_RUNOPS_GATE_CLOSED;
		edata->message = moves ?
			psprintf(_("cannot move a row of \"%s\" to another store"),
					 leaf->table) :
			psprintf(_("cannot put a row of another store into \"%s\": the gate is closed"),
					 leaf->table);
		edata->detail = pstrdup(_(runops_gate_closed_reason()));
		edata->hint = pstrdup(_("Set \"runops.split_enabled\" to on and restart the server."));
		return;
	}

	edata->sqlerrcode = ERRCODE_RUNOPS_WRONG_STORE;
	edata->message = psprintf(_("cannot put a row of another store into the %s leaf of \"%s\""),
							  leaf->store, leaf->table);
	edata->hint = pstrdup(_("Make sure that no trigger changes the store of the key.  With \"plan_cache_mode\" set to \"force_generic_plan\", use ON CONFLICT with a target and a computed key only for legacy rows."));
}

/*
 * In a PG_CATCH block: throw the error again.  If it is core's error about a
 * row of one of the named tables that fits no leaf, replace its texts.
 *
 * The error of a violated constraint of a leaf keeps its texts.  Its fields
 * name the routed table, as they do if a store has raised the error, because
 * programs read these fields and know no leaves.
 */
void
runops_rethrow_missing_leaf(MemoryContext cxt, List *names, bool moves)
{
	ErrorData  *edata;
	RoutedName *entry;
	bool		no_place;

	MemoryContextSwitchTo(cxt);
	edata = CopyErrorData();

	entry = find_name(names, edata);
	if (entry == NULL ||
		ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
		PG_RE_THROW();
	no_place = edata->sqlerrcode == ERRCODE_CHECK_VIOLATION &&
		edata->message_id != NULL &&
		strcmp(edata->message_id, entry->store == NULL ?
			   NO_PARTITION_MESSAGE : PARTITION_CHECK_MESSAGE) == 0;
	if (!no_place && entry->store == NULL)
		PG_RE_THROW();

	FlushErrorState();
	if (!no_place)
	{
		edata->schema_name = entry->table_schema;
		edata->table_name = entry->table;
	}
	else if (entry->store == NULL)
		describe_missing_leaf(edata, moves);
	else
		describe_wrong_leaf(edata, entry, moves);
	ReThrowError(edata);
}

/*
 * The same names for COPY into a table.
 */
List *
runops_routed_names_of(Oid relid)
{
	return get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ? add_names(NIL, relid) : NIL;
}
