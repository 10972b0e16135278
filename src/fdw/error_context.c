/*-------------------------------------------------------------------------
 *
 * error_context.c
 *	  Adds the store, the table, the violated object and a hint to the errors
 *	  of postgres_fdw.
 *
 * postgres_fdw drops the names of the schema, table, column, data type and
 * constraint, which programs need.  They are taken from libpq's result
 * (session/conncheck.c), and the table of a leaf gets the name of the routed
 * table.
 *
 * An error context callback is active while a callback of postgres_fdw runs.
 * It must not read the catalogs.  So the names are stored before, in a hash
 * table that lives as long as the backend.  They are refreshed at the start of a
 * statement if something was invalidated since.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/relcache.h"
#include "fdw/fdw_int.h"
#include "remote/remote.h"
#include "topology/topology.h"

/* The names for a foreign table. */
typedef struct Names
{
	Oid			relid;			/* hash key, first */
	uint64		generation;		/* value of names_generation when it was made */
	NameData	table;
	NameData	store;
	NameData	server;
	Oid			readerid;		/* the store's reader, or InvalidOid */
	NameData	routed_schema;	/* of the routed table, or else of this one */
	NameData	routed_table;
	NameData	remote_schema;	/* of the table in the store */
	NameData	remote_table;
} Names;

static HTAB *names_hash = NULL;

/* It changes when any of the names may have changed. */
static uint64 names_generation = 1;

/*
 * Relcache callback: a table, or the stores, may have changed.
 */
static void
forget_names(Oid relid)
{
	names_generation++;
}

/*
 * Syscache callback: a server or a schema may have another name.
 */
static void
forget_names_of_object(Datum arg, int cacheid, uint32 hashvalue)
{
	names_generation++;
}

static RunopsRelcacheClient relcache_client = {.forget = forget_names};

/*
 * The schema and the name of a foreign table in the store.
 */
void
runops_fdw_remote_name(Oid relid, const char **schema, const char **table)
{
	ListCell   *lc;

	*schema = get_namespace_name(get_rel_namespace(relid));
	*table = get_rel_name(relid);
	foreach(lc, GetForeignTable(relid)->options)
	{
		DefElem    *def = (DefElem *) lfirst(lc);

		if (strcmp(def->defname, "schema_name") == 0)
			*schema = defGetString(def);
		else if (strcmp(def->defname, "table_name") == 0)
			*table = defGetString(def);
	}
}

/*
 * Store the names of a foreign table for later errors.
 */
static void
note_names(Oid relid)
{
	Names	   *names;
	uint64		generation = names_generation;
	char	   *table;
	Oid			routed;
	const char *remote_schema;
	const char *remote_table;
	char		store[RUNOPS_STORE_LEN];
	bool		found;

	if (names_hash != NULL)
	{
		names = hash_search(names_hash, &relid, HASH_FIND, NULL);
		if (names != NULL && names->generation == generation)
			return;
	}

	table = get_rel_name(relid);
	if (table == NULL)
		return;
	routed = runops_leaf_table(relid);

	if (names_hash == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(Names);
		ctl.hcxt = CacheMemoryContext;
		names_hash = hash_create("runops foreign table names", 32, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		runops_relcache_register(&relcache_client);
		CacheRegisterSyscacheCallback(FOREIGNSERVEROID, forget_names_of_object, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_names_of_object, (Datum) 0);
		/* what was read before may be outdated */
		generation = 0;
	}

	names = hash_search(names_hash, &relid, HASH_ENTER, &found);
	if (!found)
		memset((char *) names + sizeof(Oid), 0, sizeof(Names) - sizeof(Oid));
	names->generation = 0;
	namestrcpy(&names->table, table);
	namestrcpy(&names->store, runops_store_label(relid));
	names->readerid = runops_leaf_store(relid, store) ?
		runops_reader_server(store) : InvalidOid;
	namestrcpy(&names->server,
			   GetForeignServer(GetForeignServerIdByRelId(relid))->servername);
	runops_fdw_remote_name(relid, &remote_schema, &remote_table);
	namestrcpy(&names->remote_schema, remote_schema);
	namestrcpy(&names->remote_table, remote_table);
	namestrcpy(&names->routed_schema, get_namespace_name(get_rel_namespace(routed)));
	namestrcpy(&names->routed_table, get_rel_name(routed));
	names->generation = generation;
}

/*
 * Is an error of a store about the remote table of a foreign table?
 */
static bool
is_about(const RunopsStoreError *error, const Names *names)
{
	return error->table[0] != '\0' &&
		strcmp(error->schema, NameStr(names->remote_schema)) == 0 &&
		strcmp(error->table, NameStr(names->remote_table)) == 0;
}

/*
 * The foreign table that an error of a store is about, if its names are
 * stored.
 */
static const Names *
find_names(const RunopsStoreError *error)
{
	HASH_SEQ_STATUS seq;
	const Names *names;

	if (names_hash == NULL)
		return NULL;

	hash_seq_init(&seq, names_hash);
	while ((names = hash_seq_search(&seq)) != NULL)
	{
		if (is_about(error, names))
		{
			hash_seq_term(&seq);
			break;
		}
	}

	return names;
}

/*
 * Add the fields that postgres_fdw has dropped to an error of a store.
 * Returns the foreign table that the error is about, if it is known.
 *
 * relid is the foreign table of the current callback, or InvalidOid.  A table
 * of the store that is not known here keeps its name.
 *
 * This is called from an error context callback, so it must not raise.
 */
Oid
runops_fdw_add_fields(Oid relid)
{
	const RunopsStoreError *error = runops_conn_error();
	const Names *names = NULL;

	if (error->sqlerrcode == 0 || error->sqlerrcode != geterrcode())
		return InvalidOid;

	if (OidIsValid(relid))
		names = hash_search(names_hash, &relid, HASH_FIND, NULL);
	if (names == NULL || !is_about(error, names))
		names = find_names(error);
	if (names != NULL)
	{
		err_generic_string(PG_DIAG_SCHEMA_NAME, NameStr(names->routed_schema));
		err_generic_string(PG_DIAG_TABLE_NAME, NameStr(names->routed_table));
	}
	else
	{
		if (error->schema[0] != '\0')
			err_generic_string(PG_DIAG_SCHEMA_NAME, error->schema);
		if (error->table[0] != '\0')
			err_generic_string(PG_DIAG_TABLE_NAME, error->table);
	}
	if (error->column[0] != '\0')
		err_generic_string(PG_DIAG_COLUMN_NAME, error->column);
	if (error->datatype[0] != '\0')
		err_generic_string(PG_DIAG_DATATYPE_NAME, error->datatype);
	if (error->constraint[0] != '\0')
		err_generic_string(PG_DIAG_CONSTRAINT_NAME, error->constraint);

	return names ? names->relid : InvalidOid;
}

/*
 * Error context callback: add the store and a hint to an error.
 *
 * The SQLSTATE determines the hint.  If the statement itself may also be the
 * cause, the hint says so.
 */
static void
store_error_callback(void *arg)
{
	RunopsFdwCall *call = (RunopsFdwCall *) arg;
	Oid			relid = OidIsValid(call->relid) ? call->relid : runops_fdw_scan_relid(call->node);
	Names	   *names;
	const char *table;
	const char *store;
	const char *server;
	const char *reader;

	if (names_hash == NULL)
		return;
	names = hash_search(names_hash, &relid, HASH_FIND, NULL);
	if (names == NULL)
		return;
	table = NameStr(names->table);
	store = NameStr(names->store);
	server = NameStr(names->server);
	reader = call->node ? runops_reader_name(call->node, names->readerid) : NULL;

	if (reader != NULL)
	{
		errcontext("table \"%s\" in store \"%s\", reader \"%s\"", table, store, reader);
		server = reader;
	}
	else
		errcontext("table \"%s\" in store \"%s\"", table, store);

	(void) runops_fdw_add_fields(relid);

	switch (geterrcode())
	{
		case ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION:
			errhint("Check the store's database, and the options of server \"%s\" and of the user mapping.",
					server);
			break;
		case ERRCODE_CONNECTION_FAILURE:
			errhint("Repeat the transaction after checking that the store's database is running.");
			break;
		case ERRCODE_UNDEFINED_OBJECT:
			if (!call->begins)
				break;
			errdetail("Neither the role nor PUBLIC has a user mapping for server \"%s\" of store \"%s\".",
					  server, store);
			errhint("Use CREATE USER MAPPING for the role, or for PUBLIC.");
			break;
		case ERRCODE_UNDEFINED_TABLE:
		case ERRCODE_UNDEFINED_COLUMN:
		case ERRCODE_INVALID_SCHEMA_NAME:
			errdetail("The table does not exist in store \"%s\", or has different columns there.",
					  store);
			if (reader != NULL)
				errhint("Use runops.provision to create the missing objects in the store, and wait until the reader has replayed them.");
			else
				errhint("Use runops.provision to create the missing objects in the store.");
			break;
		case ERRCODE_UNDEFINED_FUNCTION:
		case ERRCODE_DATATYPE_MISMATCH:
			errdetail("A column may have a different type in store \"%s\".", store);
			errhint("Use runops.verify to compare the table with the one in the store.");
			break;
		case ERRCODE_INVALID_TEXT_REPRESENTATION:
		case ERRCODE_INVALID_DATETIME_FORMAT:
		case ERRCODE_DATETIME_VALUE_OUT_OF_RANGE:
		case ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE:
			errhint("If the statement is right, use runops.verify to compare the types of the columns with those in the store.");
			break;
		case ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED:
			if (call->begins)
				errhint("Give the user mapping a password that the server asks for, or let a superuser set its option password_required to false.");
			break;
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			errhint("Use runops.provision to list the missing privileges of the user mappings in the store.");
			break;
		default:
			break;
	}
}

/*
 * Make errors name the store while a callback of postgres_fdw runs for a scan.
 *
 * begins: the callback connects, and so it looks up the user mapping.
 */
void
runops_fdw_enter_scan(RunopsFdwCall *call, ForeignScanState *node, bool begins)
{
	if (begins)
		note_names(runops_fdw_scan_relid(node));

	runops_conn_forget_error();
	call->node = node;
	call->relid = begins ? runops_fdw_scan_relid(node) : InvalidOid;
	call->begins = begins;
	call->usage = NULL;
	call->callback.callback = store_error_callback;
	call->callback.arg = call;
	call->callback.previous = error_context_stack;
	error_context_stack = &call->callback;
}

/*
 * The same for a callback that runs for a foreign table.
 */
void
runops_fdw_enter_table(RunopsFdwCall *call, Oid relid, bool begins)
{
	if (begins)
		note_names(relid);

	runops_conn_forget_error();
	call->node = NULL;
	call->relid = relid;
	call->begins = begins;
	call->usage = NULL;
	call->callback.callback = store_error_callback;
	call->callback.arg = call;
	call->callback.previous = error_context_stack;
	error_context_stack = &call->callback;
}

/*
 * End what runops_fdw_enter_scan() or runops_fdw_enter_table() began.
 */
void
runops_fdw_leave(RunopsFdwCall *call)
{
	error_context_stack = call->callback.previous;
	if (call->usage != NULL)
		runops_fdw_measured(call);
}
