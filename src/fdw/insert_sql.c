/*-------------------------------------------------------------------------
 *
 * insert_sql.c
 *	  Writes the INSERT for rows that core routes to a foreign table, or that
 *	  COPY writes to it.
 *
 * postgres_fdw writes the statements of plans.  For routed rows there is no
 * plan, so the statement is written when the first row comes.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/pg_trigger.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "fdw/fdw_int.h"
#include "integrity/integrity.h"

/*
 * The quoted name of a column in the store.
 */
const char *
runops_fdw_remote_column(Relation rel, AttrNumber attno)
{
	const char *name = NameStr(TupleDescAttr(RelationGetDescr(rel), attno - 1)->attname);
	ListCell   *lc;

	foreach(lc, GetForeignColumnOptions(RelationGetRelid(rel), attno))
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		if (strcmp(def->defname, "column_name") == 0)
			name = defGetString(def);
	}

	return quote_identifier(name);
}

/*
 * Collect the columns of the result relation that an expression reads.  The
 * other Vars of a finished plan have special numbers.
 */
static bool
collect_attrs(Node *node, void *context)
{
	Bitmapset **attrs = (Bitmapset **) context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		if (!IS_SPECIAL_VARNO(var->varno) && var->varlevelsup == 0)
			*attrs = bms_add_member(*attrs, var->varattno - FirstLowInvalidHeapAttributeNumber);
		return false;
	}

	return expression_tree_walker(node, collect_attrs, context);
}

/*
 * Has a table an AFTER ROW trigger for INSERT that sees the row?  A reference's
 * only sees whether there is one, and the value that was sent.
 */
bool
runops_fdw_fires_after_insert(ResultRelInfo *rri)
{
	TriggerDesc *desc = rri->ri_TrigDesc;

	if (desc == NULL || !desc->trig_insert_after_row)
		return false;
	for (int i = 0; i < desc->numtriggers; i++)
	{
		Trigger    *trigger = &desc->triggers[i];

		if (TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_AFTER(trigger->tgtype) &&
			TRIGGER_FOR_INSERT(trigger->tgtype) &&
			!runops_reference_is_trigger(trigger->tgfoid))
			return true;
	}

	return false;
}

/*
 * Append the RETURNING list for what is read of the new row here.
 */
static List *
append_returning(StringInfo sql, ResultRelInfo *rri)
{
	Relation	rel = rri->ri_RelationDesc;
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *attrs = NULL;
	List	   *returned = NIL;
	bool		whole;

	(void) collect_attrs((Node *) rri->ri_returningList, &attrs);
	(void) collect_attrs((Node *) rri->ri_WithCheckOptions, &attrs);
	/* what is not returned is NULL in the row that triggers see */
	whole = bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber, attrs) ||
		runops_fdw_fires_after_insert(rri) ||
		(attrs != NULL && rri->ri_TrigDesc && rri->ri_TrigDesc->trig_insert_after_row);
	for (int attno = 1; attno <= desc->natts; attno++)
	{
		if (TupleDescAttr(desc, attno - 1)->attisdropped ||
			(!whole && !bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, attrs)))
			continue;
		appendStringInfo(sql, "%s%s", returned == NIL ? " RETURNING " : ", ",
						 runops_fdw_remote_column(rel, attno));
		returned = lappend_int(returned, attno);
	}
	if (bms_is_member(SelfItemPointerAttributeNumber - FirstLowInvalidHeapAttributeNumber, attrs))
	{
		appendStringInfo(sql, "%sctid", returned == NIL ? " RETURNING " : ", ");
		returned = lappend_int(returned, SelfItemPointerAttributeNumber);
	}

	return returned;
}

/*
 * The expression for the elements of an array parameter, which are the values
 * of a column; false if there is none.
 *
 * The store finds the type of the parameter by the type of its own column.  A
 * column that is an array needs a text for each of its values, because unnest()
 * would take the array apart.  Its type must have the same name in the store.
 */
static bool
append_elements(StringInfo sql, Relation rel, AttrNumber attno, int param,
				const char *table)
{
	Oid			type = getBaseType(TupleDescAttr(RelationGetDescr(rel), attno - 1)->atttypid);
	Oid			element = get_element_type(type);

	if (!OidIsValid(element))
		appendStringInfo(sql, "unnest(COALESCE($%d, ARRAY[(NULL::%s).%s]))", param, table,
						 runops_fdw_remote_column(rel, attno));
	else if (element < FirstGenbkiObjectId)
		appendStringInfo(sql, "CAST(unnest($%d::pg_catalog.text[]) AS %s)", param,
						 format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN |
											  FORMAT_TYPE_FORCE_QUALIFY));
	else
		return false;

	return true;
}

/*
 * The INSERT of many rows, with an array parameter for each of these columns;
 * NULL if there can be none.
 */
char *
runops_fdw_insert_many_sql(Relation rel, List *attrs, bool do_nothing)
{
	StringInfoData sql;
	StringInfoData values;
	const char *schema;
	const char *name;
	const char *table;
	ListCell   *lc;

	if (attrs == NIL)
		return NULL;

	runops_fdw_remote_name(RelationGetRelid(rel), &schema, &name);
	table = quote_qualified_identifier(schema, name);
	initStringInfo(&sql);
	initStringInfo(&values);
	appendStringInfo(&sql, "INSERT INTO %s", table);
	foreach(lc, attrs)
	{
		const char *separator = values.len == 0 ? "" : ", ";

		appendStringInfo(&sql, "%s%s", values.len == 0 ? "(" : ", ",
						 runops_fdw_remote_column(rel, lfirst_int(lc)));
		appendStringInfoString(&values, separator);
		if (!append_elements(&values, rel, lfirst_int(lc), foreach_current_index(lc) + 1, table))
			return NULL;
	}
	appendStringInfo(&sql, ") SELECT %s", values.data);
	if (do_nothing)
		appendStringInfoString(&sql, " ON CONFLICT DO NOTHING");

	return sql.data;
}

/*
 * The INSERT of one row with all columns.
 *
 * *target_attrs gets the columns whose values are its parameters, and
 * *returned_attrs the columns of its RETURNING list.
 */
char *
runops_fdw_insert_sql(ResultRelInfo *rri, bool do_nothing, List **target_attrs,
					  List **returned_attrs)
{
	Relation	rel = rri->ri_RelationDesc;
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData sql;
	StringInfoData values;
	const char *schema;
	const char *table;

	*target_attrs = NIL;
	runops_fdw_remote_name(RelationGetRelid(rel), &schema, &table);
	initStringInfo(&sql);
	initStringInfo(&values);
	appendStringInfo(&sql, "INSERT INTO %s", quote_qualified_identifier(schema, table));
	for (int attno = 1; attno <= desc->natts; attno++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, attno - 1);

		if (att->attisdropped)
			continue;
		appendStringInfo(&sql, "%s%s", values.len == 0 ? "(" : ", ", runops_fdw_remote_column(rel, attno));
		appendStringInfoString(&values, values.len == 0 ? "" : ", ");
		if (att->attgenerated)
			appendStringInfoString(&values, "DEFAULT");
		else
		{
			*target_attrs = lappend_int(*target_attrs, attno);
			appendStringInfo(&values, "$%d", list_length(*target_attrs));
		}
	}
	if (values.len > 0)
		appendStringInfo(&sql, ") VALUES (%s)", values.data);
	else
		appendStringInfoString(&sql, " DEFAULT VALUES");
	if (do_nothing)
		appendStringInfoString(&sql, " ON CONFLICT DO NOTHING");
	*returned_attrs = append_returning(&sql, rri);

	return sql.data;
}
