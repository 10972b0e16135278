/*-------------------------------------------------------------------------
 *
 * portable.c
 *	  Finds the functions in an expression because of which it must not be sent
 *	  to a store.
 *
 * A constraint, an index or a default that provision() creates in a store is
 * evaluated there with the rights of the user who provisions or writes rows,
 * possibly a superuser of the store.  So an expression is sent only if it
 * contains no functions except PostgreSQL's own, which everybody may call and
 * which only compute.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "base/compat.h"

PG_FUNCTION_INFO_V1(runops_unportable_functions);

/* The functions found so far. */
typedef struct FoundFunctions
{
	List	   *functions;		/* of Oid */
	bool		is_default;		/* may it return another value each time? */
} FoundFunctions;

/*
 * Is this a date or time type, or a pseudo-type of functions that convert
 * values to or from text?
 *
 * Functions on these types depend at most on settings such as TimeZone.
 */
static bool
is_of_times(Oid type)
{
	char		category;
	bool		preferred;

	/* input and output, textanycat(), concat() */
	if (type == CSTRINGOID || type == ANYNONARRAYOID || type == ANYOID)
		return true;
	get_type_category_preferred(type, &category, &preferred);

	return category == TYPCATEGORY_DATETIME || category == TYPCATEGORY_TIMESPAN;
}

/*
 * Does a stable function compute with times, or convert a value to or from
 * text?
 */
static bool
computes_with_times(Form_pg_proc proc)
{
	if (is_of_times(proc->prorettype))
		return true;
	for (int i = 0; i < proc->pronargs; i++)
	{
		if (is_of_times(proc->proargtypes.values[i]))
			return true;
	}

	return false;
}

/*
 * Is this a volatile function that a default may call?
 */
static bool
is_generator(Form_pg_proc proc)
{
	static const char *const names[] = {"clock_timestamp", "gen_random_uuid",
	"random", "uuidv4", "uuidv7"};

	for (int i = 0; i < lengthof(names); i++)
	{
		if (proc->pronargs == 0 && strcmp(NameStr(proc->proname), names[i]) == 0)
			return true;
	}

	return false;
}

/*
 * Does a function only compute, and may everybody call it?
 */
static bool
is_harmless(Oid funcid, bool is_default)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	Form_pg_proc proc;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	result = funcid < FirstUnpinnedObjectId &&
		proc->pronamespace == PG_CATALOG_NAMESPACE &&
		(proc->provolatile == PROVOLATILE_IMMUTABLE ||
		 (proc->provolatile == PROVOLATILE_STABLE && computes_with_times(proc)) ||
		 (is_default && is_generator(proc))) &&
		heap_attisnull(tuple, Anum_pg_proc_proacl, NULL);
	ReleaseSysCache(tuple);

	return result;
}

/*
 * check_functions_in_node() callback: note a function that is not harmless.
 */
static bool
note_function(Oid funcid, void *context)
{
	FoundFunctions *found = (FoundFunctions *) context;

	if (!is_harmless(funcid, found->is_default))
		found->functions = list_append_unique_oid(found->functions, funcid);

	return false;
}

/*
 * Walk an expression.
 */
static bool
find_functions(Node *node, void *context)
{
	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, note_function, context);

	return expression_tree_walker(node, find_functions, context);
}

/*
 * _unportable_functions(expression pg_node_tree, is_default boolean): the
 * functions, as text, that keep the expression from being sent to a store; NULL
 * if there are none.
 */
Datum
runops_unportable_functions(PG_FUNCTION_ARGS)
{
	char	   *tree = TextDatumGetCString(PG_GETARG_DATUM(0));
	FoundFunctions found = {.is_default = PG_GETARG_BOOL(1)};
	Datum	   *names;
	ListCell   *lc;
	int			n = 0;

	(void) find_functions((Node *) stringToNode(tree), &found);
	if (found.functions == NIL)
		PG_RETURN_NULL();

	names = palloc_array(Datum, list_length(found.functions));
	foreach(lc, found.functions)
		names[n++] = CStringGetTextDatum(format_procedure(lfirst_oid(lc)));

	PG_RETURN_ARRAYTYPE_P(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}
