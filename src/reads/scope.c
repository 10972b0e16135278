/*-------------------------------------------------------------------------
 *
 * scope.c
 *	  Converts a scope to SQL: a jsonb object with columns and the values that
 *	  they must have.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "gate/gate.h"
#include "reads/reads_int.h"

/*
 * The qualified name of the equality operator of a type, as SQL.
 *
 * Raises if the type has none, for example json.
 */
static char *
equality_operator(Oid type)
{
	Oid			opno = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
	HeapTuple	tuple;
	Form_pg_operator form;
	char	   *result;

	if (!OidIsValid(opno))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not identify an equality operator for type %s",
						format_type_be(type))));

	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(opno));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", opno);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	result = psprintf("OPERATOR(%s.%s)",
					  quote_identifier(get_namespace_name(form->oprnamespace)),
					  NameStr(form->oprname));
	ReleaseSysCache(tuple);

	return result;
}

/*
 * The text of a value, for the input function of its column's type.
 */
static char *
value_text(const RunopsTarget *target, AttrNumber attno, Oid type,
		   const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			if (type == JSONBOID)
				break;
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		case jbvBinary:
			if (type == JSONBOID)
				return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the value of \"%s\" is an array or an object",
							get_attname(target->relid, attno, false)),
					 errdetail("A column of type %s is compared with a string, a number, a boolean or null.",
							   format_type_be(type)),
					 errhint("Write the value as a string, in the form that its type reads.")));
		default:
			break;
	}

	/* a string in a jsonb column is a jsonb string */
	return JsonbToCString(NULL, &JsonbValueToJsonb((JsonbValue *) value)->root, -1);
}

/*
 * The condition that a column has a value, as SQL.  The value becomes a
 * parameter of the column's type, so that the comparison is the column's own
 * and can use an index.
 */
char *
runops_equality(const RunopsTarget *target, AttrNumber attno,
				const JsonbValue *value, RunopsArgs *args)
{
	char	   *column = psprintf("t.%s", quote_identifier(get_attname(target->relid, attno, false)));
	Oid			type = getBaseType(get_atttype(target->relid, attno));
	char	   *operator;
	Oid			input;
	Oid			ioparam;
	Datum		datum;

	if (value->type == jbvNull)
		return psprintf("%s IS NULL", column);

	operator = equality_operator(type);
	getTypeInputInfo(type, &input, &ioparam);
	datum = OidInputFunctionCall(input, value_text(target, attno, type, value), ioparam, -1);

	return psprintf("%s %s $%d", column, operator,
					runops_args_add(args, type, datum, false));
}

/*
 * The condition that a row is in the scope, as SQL that can follow AND.
 */
char *
runops_scope(const RunopsTarget *target, Jsonb *scope, RunopsArgs *args)
{
	StringInfoData sql;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	AttrNumber	attno = 0;

	if (scope == NULL)
		return "true";
	if (!JB_ROOT_IS_OBJECT(scope))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a scope must be a JSON object"),
				 errdetail("Its keys are columns of the table, and its values are the values that these columns must have."),
				 errhint("An example is {\"projectId\": \"project_1\"}.")));

	initStringInfo(&sql);
	appendStringInfoString(&sql, "true");
	it = JsonbIteratorInit(&scope->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			attno = runops_target_column(target, pnstrdup(v.val.string.val, v.val.string.len));
		else if (token == WJB_VALUE)
			appendStringInfo(&sql, " AND %s", runops_equality(target, attno, &v, args));
	}

	return sql.data;
}

/*
 * The stores that a scope names by the deciding key or by an alias; rows of
 * the scope are there.  All stores if it names none.
 */
RunopsStoreSet
runops_scope_stores(const RunopsTarget *target, Jsonb *scope)
{
	const RunopsRoute *route = target->route;
	RunopsStoreSet stores = RUNOPS_STORES_ALL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	AttrNumber	attno = 0;

	if (scope == NULL || runops_gate_flag_off())
		return stores;

	it = JsonbIteratorInit(&scope->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			attno = runops_target_column(target, pnstrdup(v.val.string.val, v.val.string.len));
		else if (token == WJB_VALUE && v.type == jbvString &&
				 (attno == route->lead_attno ||
				  bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, route->alias_attnos)))
			stores &= runops_id_stores(v.val.string.val, v.val.string.len);
	}

	return stores;
}
