/*-------------------------------------------------------------------------
 *
 * store_error.c
 *	  Reports an error of a store here, and keeps the fields that name its
 *	  object.
 *
 * The names in these fields are those of the store.  The caller's error
 * context callback replaces them (fdw/error_context.c).
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "session/engine_int.h"

/* The fields of the last error of a store. */
static RunopsStoreError last_error;

/*
 * Copy a field of an error, unless it is no name.
 */
static void
copy_field(char *field, const PGresult *result, int code)
{
	const char *value = PQresultErrorField(result, code);

	field[0] = '\0';
	if (value != NULL && strlen(value) < NAMEDATALEN &&
		pg_verify_mbstr(GetDatabaseEncoding(), value, strlen(value), true))
		strlcpy(field, value, NAMEDATALEN);
}

/*
 * Note the fields of an error.
 */
static void
note_error(const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	last_error.sqlerrcode = state == NULL || strlen(state) != 5 ? 0 :
		MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]);
	copy_field(last_error.schema, result, PG_DIAG_SCHEMA_NAME);
	copy_field(last_error.table, result, PG_DIAG_TABLE_NAME);
	copy_field(last_error.column, result, PG_DIAG_COLUMN_NAME);
	copy_field(last_error.datatype, result, PG_DIAG_DATATYPE_NAME);
	copy_field(last_error.constraint, result, PG_DIAG_CONSTRAINT_NAME);
}

/*
 * Forget the error, before something is sent to a store.
 */
void
runops_conn_forget_error(void)
{
	last_error.sqlerrcode = 0;
}

/*
 * The fields of the last error of a store, if it is the current error.
 */
const RunopsStoreError *
runops_conn_error(void)
{
	return &last_error;
}

/*
 * Fill in the failure for an error in a result, which is the answer to a
 * statement, and note its fields.
 */
void
runops_store_failure(RunopsConn *c, const PGresult *res, const char *sql,
					 RemoteFailure *failure)
{
	note_error(res);
	if (runops_remote_check(&c->session, res, 0, failure))
		runops_remote_fail_answer(&c->session, failure,
								  _("It sent a result that was not asked for."));
	runops_remote_blame(failure, sql);
}
