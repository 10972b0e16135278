/*-------------------------------------------------------------------------
 *
 * frozen.c
 *	  Protects the functions that tell the store of an id from changes.
 *
 * store_of() is in the partition key of routed tables, same_store() declares
 * their aliases, and store_arm() decides which leaves are executed.  If one of
 * them were replaced, or had other properties, rows would be stored where no
 * statement looks for them.  Only a script of the extension may change them.
 *
 * The hooks are called before the change is visible.  So the syscache still
 * has the old function, and a scan with SnapshotSelf finds the new one.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "base/runops.h"
#include "setup/setup.h"

/* One of these functions; runops._changed_functions() has the same list. */
typedef struct FrozenFunction
{
	const char *name;
	int			nargs;
	Oid			first_arg;
	const char *symbol;
	char		volatility;
	bool		strict;
} FrozenFunction;

static const FrozenFunction frozen[] = {
	{"store_of", 1, TEXTOID, "runops_store_of", PROVOLATILE_IMMUTABLE, true},
	{"same_store", 2, TEXTOID, "runops_same_store", PROVOLATILE_IMMUTABLE, false},
	{"store_arm", 4, TEXTOID, "runops_store_arm", PROVOLATILE_STABLE, true},
	{"store_arm", 4, TEXTARRAYOID, "runops_store_arm_array", PROVOLATILE_STABLE, true},
};

/*
 * The entry for a function with this name and these arguments, or NULL.
 */
static const FrozenFunction *
find_frozen(const char *name, Form_pg_proc proc)
{
	for (int i = 0; i < lengthof(frozen); i++)
	{
		if (strcmp(name, frozen[i].name) == 0 && proc->pronargs == frozen[i].nargs &&
			proc->proargtypes.values[0] == frozen[i].first_arg)
			return &frozen[i];
	}

	return NULL;
}

/*
 * Does the new version of the function equal the function of the extension?
 *
 * Its owner, cost and the like may change.
 */
static bool
is_unchanged(HeapTuple tuple, TupleDesc desc, const FrozenFunction *function)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);
	bool		isnull;
	Datum		symbol = heap_getattr(tuple, Anum_pg_proc_prosrc, desc, &isnull);

	return strcmp(NameStr(proc->proname), function->name) == 0 &&
		proc->pronamespace == get_namespace_oid(RUNOPS_SCHEMA, true) &&
		proc->prolang == ClanguageId && proc->prokind == PROKIND_FUNCTION &&
		proc->provolatile == function->volatility &&
		proc->proisstrict == function->strict && !proc->prosecdef &&
		!OidIsValid(proc->prosupport) &&
		heap_attisnull(tuple, Anum_pg_proc_proconfig, desc) &&
		strcmp(TextDatumGetCString(symbol), function->symbol) == 0 &&
		strcmp(TextDatumGetCString(heap_getattr(tuple, Anum_pg_proc_probin, desc, &isnull)),
			   "$libdir/runops") == 0;
}

/*
 * A function was created, replaced or altered: raise if that is not allowed.
 */
void
runops_protect_function(Oid funcid)
{
	char	   *name = get_func_name(funcid);
	Oid			namespace = get_func_namespace(funcid);
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	const FrozenFunction *function = NULL;

	/* a new function does not replace any function */
	if (name == NULL || creating_extension ||
		namespace != get_namespace_oid(RUNOPS_SCHEMA, true) ||
		!OidIsValid(get_extension_oid("runops", true)))
		return;

	rel = table_open(ProcedureRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_proc_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(funcid));
	scan = systable_beginscan(rel, ProcedureOidIndexId, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		function = find_frozen(name, (Form_pg_proc) GETSTRUCT(tuple));
	if (function != NULL && !is_unchanged(tuple, RelationGetDescr(rel), function))
		ereport(ERROR,
				(errcode(ERRCODE_RUNOPS_ROUTED_OBJECT_IN_USE),
				 errmsg("cannot change function %s", format_procedure(funcid)),
				 errdetail("It tells in which store a row is, and rows that are there already would not be found."),
				 errhint("Leave it as it is, and create a function with another name.")));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}
