/*-------------------------------------------------------------------------
 *
 * sendable.c
 *	  Knows which objects, types, functions and values of a statement may be
 *	  sent to a store.
 *
 * A built-in object is the same everywhere, and so is one of an extension that
 * the option "extensions" of the server names.  A type of a user is not known.
 *
 * An immutable function is sent.  A stable one depends on the session, the time
 * or the settings, which are others in the store, so only those are sent that do
 * not in truth.  A volatile one is never sent.
 *
 * A stable expression without columns has one value for the whole statement.
 * It is evaluated here and sent as a parameter if it cannot fail: otherwise an
 * error could be raised here that a CASE, an OR or the lack of rows would have
 * prevented.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "shipping/shipping_int.h"

/*
 * Stable functions whose result depends only on the texts of their arguments.
 */
static const Oid by_text[] = {
	F_CONCAT, F_CONCAT_WS, F_TEXTANYCAT, F_ANYTEXTCAT, F_TO_JSON, F_TO_JSONB,
	F_JSON_BUILD_ARRAY_ANY, F_JSON_BUILD_OBJECT_ANY, F_JSONB_BUILD_ARRAY_ANY,
	F_JSONB_BUILD_OBJECT_ANY, F_ARRAY_TO_STRING_ANYARRAY_TEXT,
	F_ARRAY_TO_STRING_ANYARRAY_TEXT_TEXT, F_JSON_AGG, F_JSONB_AGG,
	F_JSON_OBJECT_AGG, F_JSONB_OBJECT_AGG, F_FORMAT_TEXT, F_FORMAT_TEXT_ANY,
	F_QUOTE_LITERAL_ANYELEMENT, F_QUOTE_NULLABLE_ANYELEMENT
};

/*
 * Types whose text depends on no setting.
 */
static const Oid plain_types[] = {
	BOOLOID, INT2OID, INT4OID, INT8OID, NUMERICOID, TEXTOID, VARCHAROID, BPCHAROID,
	NAMEOID, UUIDOID, OIDOID, JSONOID, JSONBOID, UNKNOWNOID
};

/*
 * Does the store have an object, because it is built in, or of an extension
 * that the store has too?
 */
bool
runops_ship_object_is_known(const RunopsShipment *shipment, Oid classid, Oid objid)
{
	return objid < FirstGenbkiObjectId ||
		(shipment->extensions != NIL &&
		 list_member_oid(shipment->extensions, getExtensionOfObject(classid, objid)));
}

/*
 * Do the values of a type mean the same in the store, under the same name?
 *
 * The OID of an object has no meaning there.
 */
bool
runops_ship_type_is_known(const RunopsShipment *shipment, Oid type)
{
	Oid			element;

	switch (type)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGCOLLATIONOID:
			/* its text depends on a setting of each side */
		case MONEYOID:
		case XMLOID:
			return false;
		default:
			break;
	}
	if (type < FirstGenbkiObjectId)
		return true;
	element = get_element_type(type);

	return runops_ship_object_is_known(shipment, TypeRelationId, OidIsValid(element) ? element : type);
}

/*
 * Does the text of the values of a type depend on no setting?
 */
static bool
has_plain_text(Oid type)
{
	Oid			element;

	type = getBaseType(type);
	element = get_element_type(type);
	if (OidIsValid(element))
		type = getBaseType(element);
	for (int i = 0; i < lengthof(plain_types); i++)
	{
		if (plain_types[i] == type)
			return true;
	}

	return get_typtype(type) == TYPTYPE_ENUM;
}

/*
 * Does the result of a function depend only on the texts of its arguments?
 */
static bool
is_by_text(Oid funcid)
{
	for (int i = 0; i < lengthof(by_text); i++)
	{
		if (by_text[i] == funcid)
			return true;
	}

	return false;
}

/*
 * Does a function whose result depends on the texts of its arguments get an
 * argument whose text depends on settings?
 */
bool
runops_ship_text_depends(Oid funcid, List *args)
{
	ListCell   *lc;

	if (!is_by_text(funcid))
		return false;
	foreach(lc, args)
	{
		Node	   *arg = (Node *) lfirst(lc);

		if (IsA(arg, TargetEntry))
			arg = (Node *) ((TargetEntry *) arg)->expr;
		if (!has_plain_text(exprType(arg)))
			return true;
	}

	return false;
}

/*
 * May a function be sent?  Its arguments are looked at by
 * runops_ship_text_depends().
 */
bool
runops_ship_function_is_sent(const RunopsShipment *shipment, Oid funcid)
{
	return runops_ship_object_is_known(shipment, ProcedureRelationId, funcid) &&
		(func_volatile(funcid) == PROVOLATILE_IMMUTABLE ||
		 funcid == F_ENUM_OUT || is_by_text(funcid));
}

/*
 * May an aggregate be sent?  It is marked immutable whatever its functions are.
 */
bool
runops_ship_aggregate_is_sent(const RunopsShipment *shipment, const Aggref *agg)
{
	HeapTuple	tuple;
	Form_pg_aggregate form;
	bool		result;

	if (!runops_ship_function_is_sent(shipment, agg->aggfnoid))
		return false;
	if (is_by_text(agg->aggfnoid))
		return true;

	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(agg->aggfnoid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for aggregate %u", agg->aggfnoid);
	form = (Form_pg_aggregate) GETSTRUCT(tuple);
	result = func_volatile(form->aggtransfn) == PROVOLATILE_IMMUTABLE &&
		(!OidIsValid(form->aggfinalfn) ||
		 func_volatile(form->aggfinalfn) == PROVOLATILE_IMMUTABLE);
	ReleaseSysCache(tuple);

	return result;
}

/*
 * Is an expression an interval so short that no time of this age of the world
 * leaves the range of its type by it?
 */
static bool
is_short_interval(Node *node)
{
	Const	   *value = (Const *) node;
	Interval   *interval;

	if (!IsA(node, Const) || value->consttype != INTERVALOID || value->constisnull)
		return false;
	interval = DatumGetIntervalP(value->constvalue);

	return llabs(interval->month) < 12 * 1000 && llabs(interval->day) < 365000 &&
		interval->time < 1000 * (int64) 366 * USECS_PER_DAY &&
		interval->time > -1000 * (int64) 366 * USECS_PER_DAY;
}

/*
 * Is an expression an interval of neither months nor days, which is added in every
 * time zone alike?
 */
static bool
is_plain_duration(Node *node)
{
	Const	   *value = (Const *) node;
	Interval   *interval;

	if (!IsA(node, Const) || value->consttype != INTERVALOID || value->constisnull)
		return false;
	interval = DatumGetIntervalP(value->constvalue);

	return interval->month == 0 && interval->day == 0;
}

/*
 * Is an expression a constant text?  Sets its value.
 */
static bool
is_text(Node *node, char **value)
{
	Const	   *constant = (Const *) node;

	if (!IsA(node, Const) || constant->consttype != TEXTOID || constant->constisnull)
		return false;
	*value = TextDatumGetCString(constant->constvalue);

	return true;
}

/*
 * Is a format of to_char() one without names in the language of a locale?
 */
static bool
is_plain_format(const char *format)
{
	for (; format[0] != '\0'; format++)
	{
		if (pg_toupper(format[0]) == 'T' && pg_toupper(format[1]) == 'M')
			return false;
	}

	return true;
}

/*
 * Does a stable function or operator not depend on settings, because of its constant
 * arguments?
 */
bool
runops_ship_is_settled(Node *node)
{
	Oid			funcid;
	List	   *args;
	char	   *text;

	if (IsA(node, OpExpr))
	{
		set_opfuncid((OpExpr *) node);
		funcid = ((OpExpr *) node)->opfuncid;
		args = ((OpExpr *) node)->args;
	}
	else if (IsA(node, FuncExpr))
	{
		funcid = ((FuncExpr *) node)->funcid;
		args = ((FuncExpr *) node)->args;
	}
	else
		return false;

	switch (funcid)
	{
		case F_TIMESTAMPTZ_PL_INTERVAL:
		case F_TIMESTAMPTZ_MI_INTERVAL:
			return is_plain_duration(lsecond(args));
		case F_INTERVAL_PL_TIMESTAMPTZ:
			return is_plain_duration(linitial(args));
		case F_EXTRACT_TEXT_TIMESTAMPTZ:
		case F_DATE_PART_TEXT_TIMESTAMPTZ:
			return is_text(linitial(args), &text) && pg_strcasecmp(text, "epoch") == 0;
		case F_TO_CHAR_TIMESTAMP_TEXT:
			return is_text(lsecond(args), &text) && is_plain_format(text);
			/* it names its time zone, as AT TIME ZONE does */
		case F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT:
			return true;
		default:
			return false;
	}
}

/*
 * Is a function one that tells about this session or transaction, and cannot
 * fail?
 */
static bool
is_session_function(FuncExpr *func)
{
	switch (func->funcid)
	{
		case F_NOW:
		case F_TRANSACTION_TIMESTAMP:
		case F_STATEMENT_TIMESTAMP:
		case F_CURRENT_SCHEMA:
		case F_CURRENT_DATABASE:
			return true;
		case F_CURRENT_SETTING_TEXT_BOOL:
			{
				Const	   *name = linitial(func->args);
				Const	   *missing_ok = lsecond(func->args);

				return IsA(name, Const) && IsA(missing_ok, Const) && !missing_ok->constisnull &&
					DatumGetBool(missing_ok->constvalue);
			}
			/* with an argument near the present */
		case F_TIMESTAMP_TIMESTAMPTZ:
		case F_DATE_TIMESTAMPTZ:
		case F_TIME_TIMESTAMPTZ:
			return runops_ship_is_evaluated_here(linitial(func->args));
		default:
			return false;
	}
}

/*
 * Is an expression evaluated here, and sent as a parameter?
 */
bool
runops_ship_is_evaluated_here(Node *node)
{
	OpExpr	   *op = (OpExpr *) node;

	switch (nodeTag(node))
	{
		case T_SQLValueFunction:
			return true;
		case T_FuncExpr:
			return is_session_function((FuncExpr *) node);
		case T_OpExpr:
			set_opfuncid(op);
			return (op->opfuncid == F_TIMESTAMPTZ_MI_INTERVAL ||
					op->opfuncid == F_TIMESTAMPTZ_PL_INTERVAL) &&
				runops_ship_is_evaluated_here(linitial(op->args)) &&
				is_short_interval(lsecond(op->args));
		default:
			return false;
	}
}

/*
 * Walker: is there something that has no value before the statement runs?
 */
static bool
depends_on_rows(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) || IsA(node, SubLink) || IsA(node, Aggref) || IsA(node, WindowFunc) ||
		IsA(node, GroupingFunc) || IsA(node, CaseTestExpr) || IsA(node, Query))
		return true;
	if (IsA(node, Param) && ((Param *) node)->paramkind != PARAM_EXTERN)
		return true;

	return expression_tree_walker(node, depends_on_rows, context);
}

/*
 * Does an expression have no value before the statement runs?
 */
bool
runops_ship_depends_on_rows(Node *node)
{
	return depends_on_rows(node, NULL);
}

/*
 * Is an expression a value of an enum, of an array of an enum, or of a domain, that
 * is evaluated here and sent as text without its type?  Where it stands, the store
 * must know the type by itself.
 *
 * An error of the evaluation is raised even if no row needs the value.
 */
bool
runops_ship_is_untyped_value(Node *node)
{
	Oid			type;
	Oid			element;

	if (node == NULL || !(IsA(node, Const) || IsA(node, Param) || IsA(node, CoerceViaIO) ||
						  IsA(node, ArrayExpr) || IsA(node, ArrayCoerceExpr) ||
						  IsA(node, CoerceToDomain)))
		return false;
	type = exprType(node);
	element = get_element_type(type);
	if (!IsA(node, CoerceToDomain) &&
		get_typtype(OidIsValid(element) ? element : type) != TYPTYPE_ENUM)
		return false;

	return !depends_on_rows(node, NULL) && !contain_volatile_functions(node);
}
