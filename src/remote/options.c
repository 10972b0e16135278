/*-------------------------------------------------------------------------
 *
 * options.c
 *	  Validates and reads the options of our own that servers and user mappings
 *	  have.
 *
 * All of them are in one table.  postgres_fdw does not know them, so they are
 * taken out before its validator looks at the others.  A user mapping that has
 * an option overrides its server.
 *
 * The values are copied when a connection is made.  A change of the server or
 * the mapping closes the connection at its next use outside of a transaction
 * in the store.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "remote/remote.h"

/* What the value of an option is. */
typedef enum OptionType
{
	OPTION_BOOL,
	OPTION_TIME					/* milliseconds, with the units of settings */
} OptionType;

/* One option. */
typedef struct Option
{
	const char *name;
	OptionType	type;
	bool		in_mapping;		/* may user mappings have it too? */
	Size		offset;			/* of the value in RunopsServerOptions */
} Option;

static const Option options_table[] = {
	{"commit_token", OPTION_BOOL, false, offsetof(RunopsServerOptions, commit_token)},
	{"idle_timeout", OPTION_TIME, true, offsetof(RunopsServerOptions, idle_timeout)},
	{"pooled", OPTION_BOOL, false, offsetof(RunopsServerOptions, pooled)},
	{"prepared_statements", OPTION_BOOL, true, offsetof(RunopsServerOptions, prepared_statements)},
	{"two_phase", OPTION_BOOL, false, offsetof(RunopsServerOptions, two_phase)},
};

/* The values of options that are not set. */
static const RunopsServerOptions default_values = {
	.prepared_statements = true
};

/*
 * Our option of this name in a catalog; NULL if there is none.
 */
static const Option *
find_option(const char *name, Oid catalog)
{
	for (int i = 0; i < lengthof(options_table); i++)
	{
		const Option *option = &options_table[i];

		if (strcmp(option->name, name) == 0)
			return catalog == ForeignServerRelationId ||
				(catalog == UserMappingRelationId && option->in_mapping) ? option : NULL;
	}

	return NULL;
}

/*
 * Store the value of an option; raises an error if the value is not valid.
 */
static void
parse_option(const Option *option, DefElem *def, RunopsServerOptions *values)
{
	char	   *target = (char *) values + option->offset;
	const char *text = defGetString(def);
	const char *hint = NULL;
	bool		valid = false;

	switch (option->type)
	{
		case OPTION_BOOL:
			valid = parse_bool(text, (bool *) target);
			hint = gettext_noop("Set it to true or false.");
			break;
		case OPTION_TIME:
			valid = parse_int(text, (int *) target, GUC_UNIT_MS, &hint) && *(int *) target >= 0;
			if (hint == NULL)
				hint = gettext_noop("Set it to a time, such as \"10min\"; 0 turns it off.");
			break;
	}
	if (!valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", def->defname, text),
				 errhint("%s", _(hint))));
}

/*
 * Store the values of those among the options that are ours.
 */
static void
read_options(List *options, Oid catalog, RunopsServerOptions *values)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = (DefElem *) lfirst(lc);
		const Option *option = find_option(def->defname, catalog);

		if (option != NULL)
			parse_option(option, def, values);
	}
}

/*
 * Check the options of a server or a user mapping that are ours, and return the
 * others.  catalog is the OID of the catalog that they are for.  Raises an error
 * for a value that is not valid.
 */
List *
runops_options_validate(List *options, Oid catalog)
{
	RunopsServerOptions values = default_values;
	List	   *others = NIL;
	bool		estimates = false;
	ListCell   *lc;

	read_options(options, catalog, &values);
	foreach(lc, options)
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		if (find_option(def->defname, catalog) != NULL)
			continue;
		if (strcmp(def->defname, "use_remote_estimate") == 0)
			estimates = defGetBoolean(def);
		others = lappend(others, def);
	}
	if (values.pooled && estimates)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" cannot be used together with option \"%s\"",
						"use_remote_estimate", "pooled"),
				 errdetail("The connections of postgres_fdw change settings of the session, which a transaction pooler gives to other clients."),
				 errhint("Use ANALYZE to get statistics.")));

	return others;
}

/*
 * The values of the options for a server and one of its user mappings, which
 * may be NULL.
 */
void
runops_options_read(const ForeignServer *server, const UserMapping *user,
					RunopsServerOptions *values)
{
	*values = default_values;
	read_options(server->options, ForeignServerRelationId, values);
	if (user != NULL)
		read_options(user->options, UserMappingRelationId, values);
}

/*
 * Is there a transaction pooler between here and a server?
 */
bool
runops_server_is_pooled(Oid serverid)
{
	RunopsServerOptions values;

	runops_options_read(GetForeignServer(serverid), NULL, &values);

	return values.pooled;
}
