/*-------------------------------------------------------------------------
 *
 * page_cursor.c
 *	  Makes and reads the cursors of pages: a row's position in the order, as
 *	  jsonb.
 *
 * A cursor may be passed to another session or another program, and come back
 * much later.  So values are written in the text form that their type has
 * under fixed settings, and every part of a cursor that is passed in is
 * checked.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "reads/page_cursor_int.h"

/* Settings that change the text of a value. */
static const char *const settings[][2] = {
	{"DateStyle", "ISO"},
	{"IntervalStyle", "postgres"},
	{"TimeZone", "GMT"},
	{"extra_float_digits", "3"},
	{"bytea_output", "hex"},
	{"search_path", "pg_catalog"}
};

/*
 * Set the settings under which cursors are made; AtEOXact_GUC(true, result)
 * restores them.
 */
int
runops_cursor_settings(void)
{
	int			nestlevel = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);

	return nestlevel;
}

/*
 * Raise for an invalid cursor.
 */
static void
malformed(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("malformed cursor"),
			 errdetail_internal("%s", detail),
			 errhint("Pass a cursor that read_page() has returned, unchanged.")));
}

/*
 * A member of a cursor; raises unless it is a string or, if allowed, null.
 */
static JsonbValue *
cursor_member(Jsonb *cursor, const char *name, bool may_be_null)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&cursor->root, name, strlen(name), NULL);

	if (value == NULL ||
		!(value->type == jbvString || (may_be_null && value->type == jbvNull)))
		malformed(psprintf(_("The member \"%s\" is missing or has a wrong type."), name));

	return value;
}

/*
 * The text of a string in a cursor.
 */
static char *
string_of(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/*
 * Parse the text of a value by its type's input function, under fixed
 * settings.
 *
 * This runs in a subtransaction, so that an error in the text can be reported
 * as an error of the cursor.
 */
static Datum
read_value(Oid type, char *text)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	volatile Datum result = (Datum) 0;
	ErrorData  *volatile error = NULL;
	Oid			input;
	Oid			ioparam;

	getTypeInputInfo(type, &input, &ioparam);

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		int			nestlevel = runops_cursor_settings();

		result = OidInputFunctionCall(input, text, ioparam, -1);
		AtEOXact_GUC(true, nestlevel);

		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;
	}
	PG_END_TRY();

	if (error != NULL)
	{
		/* a cancel is not an error of the cursor */
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			ReThrowError(error);
		malformed(psprintf(_("The value cannot be parsed: %s."), error->message));
	}

	return result;
}

/*
 * Convert the value of a cursor to the type that an order term is compared
 * with.
 *
 * For bytea this is the text itself: both types are a length and that many
 * bytes.
 */
static Datum
compared_value(const RunopsOrderTerm *term, char *text)
{
	if (term->compared == BYTEAOID && term->type != BYTEAOID)
		return CStringGetTextDatum(text);

	return read_value(term->type, text);
}

/*
 * Make a page begin after a cursor.
 *
 * Raises invalid_parameter_value unless the cursor is valid and has the same
 * order.
 */
void
runops_cursor_read(Jsonb *cursor, RunopsPage *page)
{
	const char *order = page->descending ? "desc" : "asc";
	JsonbValue *value;
	char	   *sort;

	if (!JB_ROOT_IS_OBJECT(cursor) || JB_ROOT_COUNT(cursor) != 4)
		malformed(_("The cursor is not a JSON object with four members."));

	sort = string_of(cursor_member(cursor, "sort", false));
	if (strcmp(sort, page->sort_name) != 0 ||
		strcmp(string_of(cursor_member(cursor, "order", false)), order) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the cursor has another order than the page"),
				 errdetail("The page is ordered by \"%s\", %s.", page->sort_name,
						   page->descending ? _("descending") : _("ascending")),
				 errhint("Read the first page without a cursor when the order changes.")));

	value = cursor_member(cursor, "value", true);
	page->after = true;
	page->after_null = value->type == jbvNull;
	if (!page->after_null)
		page->after_value = compared_value(&page->sort, string_of(value));
	page->after_key = compared_value(&page->key, string_of(cursor_member(cursor, "key", false)));
}

/*
 * Push a member of a cursor; a NULL text becomes a JSON null.
 */
static void
push_member(JsonbInState *state, const char *name, const char *text)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, name);
	v.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &v);

	v.type = text ? jbvString : jbvNull;
	if (text)
	{
		v.val.string.val = unconstify(char *, text);
		v.val.string.len = strlen(text);
	}
	pushJsonbValue(state, WJB_VALUE, &v);
}

/*
 * Make the cursor of a row from the value of the sort column and the text of
 * the primary key.  The caller must have called runops_cursor_settings().
 */
Jsonb *
runops_cursor_make(const RunopsPage *page, Datum value, bool isnull, const char *key)
{
	JsonbInState state = {0};
	char	   *text = NULL;

	if (!isnull)
	{
		Oid			output;
		bool		varlena;

		getTypeOutputInfo(page->sort.type, &output, &varlena);
		text = OidOutputFunctionCall(output, value);
	}

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_member(&state, "sort", page->sort_name);
	push_member(&state, "order", page->descending ? "desc" : "asc");
	push_member(&state, "value", text);
	push_member(&state, "key", key);

	return JsonbValueToJsonb(push_last_jsonb(&state, WJB_END_OBJECT));
}
