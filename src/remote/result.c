/*-------------------------------------------------------------------------
 *
 * result.c
 *	  Checks the answers of a store before they are used.
 *
 * libpq returns anything that the other server sends: rows of any shape,
 * errors without fields, text in any encoding, and COPY as the answer to any
 * statement.  So every result is checked first with runops_remote_check(), and
 * then each value with a function of its own.  An answer of a wrong shape is a
 * protocol violation.
 *
 * For COPY an error is not enough.  libpq returns such a result again and
 * again until the data has been transferred, so a caller that waits for the
 * last result, as postgres_fdw does, waits for ever.  Therefore the connection
 * is broken.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "remote/remote.h"

/* The maximum length of an error text that is kept; a store may send more. */
#define MAX_ERROR_TEXT 8192

/*
 * Fill in a failure; returns false for the caller to return.
 */
bool
runops_remote_fail(RemoteFailure *failure, int sqlerrcode, const char *message,
				   const char *detail, const char *hint)
{
	failure->sqlerrcode = sqlerrcode;
	failure->message = message;
	failure->detail = detail;
	failure->hint = hint;
	failure->context = NULL;
	failure->timed_out = false;

	return false;
}

/*
 * Fill in the failure for an answer that PostgreSQL would not give; returns
 * false.
 */
bool
runops_remote_fail_answer(RemoteSession *session, RemoteFailure *failure,
						  const char *detail)
{
	return runops_remote_fail(failure, ERRCODE_PROTOCOL_VIOLATION,
							  psprintf(_("server \"%s\" does not answer like PostgreSQL"),
									   session->server->servername),
							  detail,
							  _("Check which program the server's host and port lead to."));
}

/*
 * Make a remote text valid in the encoding of the database, and limit its
 * length.  NULL stays NULL.
 */
static char *
clean_text(const char *text)
{
	int			len;
	char	   *result;

	if (text == NULL)
		return NULL;

	len = strnlen(text, MAX_ERROR_TEXT + MAX_MULTIBYTE_CHAR_LEN);
	if (!pg_verify_mbstr(GetDatabaseEncoding(), text, len, true))
	{
		/* a long text may be valid up to the character that was cut */
		result = pnstrdup(text, Min(len, MAX_ERROR_TEXT));
		for (char *c = result; *c; c++)
		{
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
		}
		return result;
	}

	return pnstrdup(text, len <= MAX_ERROR_TEXT ? len : pg_mbcliplen(text, len, MAX_ERROR_TEXT));
}

/*
 * The SQLSTATE of an error; the one for a protocol violation if the error has
 * none.
 */
static int
sqlstate(const char *state)
{
	if (state == NULL || strlen(state) != 5 ||
		strspn(state, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5 ||
		strncmp(state, "00", 2) == 0)
		return ERRCODE_PROTOCOL_VIOLATION;

	return MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]);
}

/*
 * The message of libpq about a connection; it may be an error of the other
 * server.
 */
char *
runops_remote_libpq_message(PGconn *conn)
{
	return pchomp(clean_text(PQerrorMessage(conn)));
}

/*
 * Fill in the failure of a connection from libpq's message; returns false.
 */
bool
runops_remote_fail_libpq(RemoteSession *session, RemoteFailure *failure)
{
	char	   *message = runops_remote_libpq_message(session->conn);

	if (message[0] == '\0')
		message = psprintf(_("server \"%s\" gave no answer"), session->server->servername);

	return runops_remote_fail(failure, ERRCODE_CONNECTION_FAILURE, message, NULL, NULL);
}

/*
 * Fill in a failure from an error of the other server; returns false.
 *
 * An error without any field is libpq's own: the connection is lost.
 */
static bool
fail_error(RemoteSession *session, const PGresult *res, RemoteFailure *failure)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	if (state == NULL && message == NULL &&
		PQresultErrorField(res, PG_DIAG_SEVERITY) == NULL)
		return runops_remote_fail_libpq(session, failure);

	runops_remote_fail(failure, sqlstate(state),
					   message != NULL && message[0] != '\0' ? clean_text(message) :
					   psprintf(_("server \"%s\" reported an error without a message"),
								session->server->servername),
					   clean_text(PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL)),
					   clean_text(PQresultErrorField(res, PG_DIAG_MESSAGE_HINT)));
	failure->context = clean_text(PQresultErrorField(res, PG_DIAG_CONTEXT));

	return false;
}

/*
 * Note the statement, or its beginning, that a store has answered with a
 * failure; see runops_cancelled_here().
 */
void
runops_remote_blame(RemoteFailure *failure, const char *sql)
{
	int			len = pg_mbcliplen(sql, strlen(sql), MAX_ERROR_TEXT);

	failure->context = psprintf("%s%sremote SQL command: %.*s",
								failure->context ? failure->context : "",
								failure->context ? "\n" : "", len, sql);
}

/*
 * Check a result, which may be NULL.  Returns false, with the failure, if the
 * result is an error or does not have the shape that the statement requires.
 *
 * ncolumns is 0 for a command without rows, and REMOTE_ANY_SHAPE for SQL of a
 * user.  The functions for single values follow.
 */
bool
runops_remote_check(RemoteSession *session, const PGresult *res, int ncolumns,
					RemoteFailure *failure)
{
	if (res == NULL)
		return runops_remote_fail_answer(session, failure,
										 _("It gave no result."));

	if (runops_conn_is_copy(res))
	{
		runops_conn_break(session->conn);
		if (ncolumns != REMOTE_ANY_SHAPE)
			return runops_remote_fail_answer(session, failure,
											 _("It wants to transfer data by COPY."));
		return runops_remote_fail(failure, ERRCODE_FEATURE_NOT_SUPPORTED,
								  _("COPY to or from the client is not supported in a remote command"),
								  _("A remote command has no client that could send or receive the data."),
								  _("Use INSERT or SELECT."));
	}

	switch (PQresultStatus(res))
	{
		case PGRES_COMMAND_OK:
			if (ncolumns > 0)
				return runops_remote_fail_answer(session, failure,
												 _("It gave no rows for a query."));
			return true;

		case PGRES_EMPTY_QUERY:
			if (ncolumns != REMOTE_ANY_SHAPE)
				return runops_remote_fail_answer(session, failure,
												 _("It found the statement empty."));
			return true;

		case PGRES_TUPLES_OK:
		case PGRES_SINGLE_TUPLE:
			if (ncolumns == 0)
				return runops_remote_fail_answer(session, failure,
												 _("It gave rows for a command that has none."));
			if (ncolumns != REMOTE_ANY_SHAPE && PQnfields(res) != ncolumns)
				return runops_remote_fail_answer(session, failure,
												 psprintf(_("It gave rows of %d columns, and %d were asked for."),
														  PQnfields(res), ncolumns));
			return true;

		default:
			return fail_error(session, res, failure);
	}
}

/*
 * A value of a row of a checked result.  NULL, with the failure, if the value
 * is null or is not valid text in the encoding of the database.
 */
char *
runops_remote_value(RemoteSession *session, const PGresult *res, int row, int column,
					RemoteFailure *failure)
{
	char	   *value;

	if (row >= PQntuples(res) || PQgetisnull(res, row, column))
	{
		runops_remote_fail_answer(session, failure,
								  psprintf(_("The value in column %d is null."), column + 1));
		return NULL;
	}
	value = PQgetvalue(res, row, column);
	if (PQgetlength(res, row, column) != strlen(value) ||
		!pg_verify_mbstr(GetDatabaseEncoding(), value, PQgetlength(res, row, column), true))
	{
		runops_remote_fail(failure, ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
						   psprintf(_("server \"%s\" sent an invalid byte sequence for encoding \"%s\""),
									session->server->servername, GetDatabaseEncodingName()),
						   psprintf(_("It is in column %d of a row."), column + 1),
						   _("Check the encoding of the database there."));
		return NULL;
	}

	return value;
}

/*
 * Fill in the failure for a value of a wrong type; returns false.
 */
static bool
fail_value(RemoteSession *session, const char *value, const char *type,
		   RemoteFailure *failure)
{
	char	   *shown = pnstrdup(value, pg_mbcliplen(value, strlen(value), 60));

	return runops_remote_fail_answer(session, failure,
									 psprintf(_("It sent \"%s\" as a value of type %s."), shown, type));
}

/*
 * Get a bigint value of the first row of the current result; returns false,
 * with the failure, if the value is not valid.
 */
bool
runops_remote_get_int64(RemoteSession *session, int column, int64 *result,
						RemoteFailure *failure)
{
	char	   *value = runops_remote_value(session, session->res, 0, column, failure);
	char	   *end;

	if (value == NULL)
		return false;
	errno = 0;
	*result = strtoi64(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || isspace((unsigned char) value[0]))
		return fail_value(session, value, "bigint", failure);

	return true;
}

/*
 * The same for type boolean.
 */
bool
runops_remote_get_bool(RemoteSession *session, int column, bool *result,
					   RemoteFailure *failure)
{
	char	   *value = runops_remote_value(session, session->res, 0, column, failure);

	if (value == NULL)
		return false;
	*result = strcmp(value, "t") == 0;
	if (!*result && strcmp(value, "f") != 0)
		return fail_value(session, value, "boolean", failure);

	return true;
}

/*
 * The same for type name, with NAMEDATALEN bytes.
 */
bool
runops_remote_get_name(RemoteSession *session, int column, char *result,
					   RemoteFailure *failure)
{
	char	   *value = runops_remote_value(session, session->res, 0, column, failure);

	if (value == NULL)
		return false;
	if (value[0] == '\0' || strlen(value) >= NAMEDATALEN)
		return fail_value(session, value, "name", failure);
	strlcpy(result, value, NAMEDATALEN);

	return true;
}
