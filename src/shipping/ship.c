/*-------------------------------------------------------------------------
 *
 * ship.c
 *	  Makes the plan of a statement that is sent to a store as a whole.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "commands/extension.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/ruleutils.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "base/guc.h"
#include "fdw/fdw.h"
#include "gate/gate.h"
#include "shipping/shipping_int.h"
#include "topology/topology.h"

/*
 * The OIDs of the extensions that a server has too, as its option says.
 */
static List *
server_extensions(Oid serverid)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, GetForeignServer(serverid)->options)
	{
		DefElem    *def = (DefElem *) lfirst(lc);
		List	   *names;
		ListCell   *name;

		if (strcmp(def->defname, "extensions") != 0)
			continue;
		/* the validator has looked at it */
		(void) SplitIdentifierString(pstrdup(defGetString(def)), ',', &names);
		foreach(name, names)
		{
			Oid			extension = get_extension_oid((char *) lfirst(name), true);

			if (OidIsValid(extension))
				result = lappend_oid(result, extension);
		}
	}

	return result;
}

/*
 * Core's text of a query.
 *
 * Names get their schema, and are quoted: a newer store may have other keywords.
 * The texts of constants must not depend on settings.
 */
static char *
deparse(Query *query)
{
	int			level = runops_fdw_begin_output();
	char	   *sql;

	(void) set_config_option("quote_all_identifiers", "on", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	sql = pg_get_querydef(query, false);
	sql += strspn(sql, " ");
	runops_fdw_end_output(level);

	return sql;
}

/*
 * The plan of a statement that is sent as a whole, or of an upsert whose rows go
 * store by store; NULL if it is not sent, with the reason in statement->obstacle.
 *
 * The query is not changed.
 */
PlannedStmt *
runops_ship(RunopsWholeStatement *statement)
{
	const RunopsReplacement *first;
	RunopsShipment shipment = {.statement = statement};
	Query	   *query;

	if (statement->spread != NULL)
		return runops_spread_plan(statement);
	first = linitial(statement->tables);
	shipment.serverid = GetForeignServerIdByRelId(first->leaf->relid);
	if (OidIsValid(runops_reader_table(first->leaf->store)))
	{
		statement->obstacle = _("The store has a reader.");
		return NULL;
	}
	shipment.extensions = server_extensions(shipment.serverid);
	runops_sentinel_collations(shipment.serverid, &shipment.collations);
	statement->obstacle = runops_ship_obstacle(&shipment);
	if (statement->obstacle != NULL)
		return NULL;

	query = copyObject(statement->query);
	if (shipment.one_by_one)
		runops_ship_add_outcome(query, first->leaf->relid);
	statement->obstacle = runops_ship_guard(&shipment, query);
	if (statement->obstacle != NULL)
		return NULL;
	query = runops_ship_take_values(&shipment, query);
	runops_ship_canonicalize(query);

	return runops_ship_plan(&shipment, deparse(query));
}
