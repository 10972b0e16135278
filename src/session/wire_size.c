/*-------------------------------------------------------------------------
 *
 * wire_size.c
 *	  Computes the sizes of the messages that a connection sends and receives.
 *
 * libpq does not count.  But what it sends for a command follows from the
 * arguments, and what it has received follows from the result.  The sizes are
 * those of the protocol's messages, before an encryption.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "session/engine_int.h"

/* The type and the length of a message. */
#define HEAD 5

/* A text with the zero byte behind it. */
#define TEXT(s) (strlen(s) + 1)

/*
 * The size of a Parse message; name is empty for the unnamed statement.
 */
uint64
runops_parse_size(const char *name, const char *sql)
{
	return HEAD + TEXT(name) + TEXT(sql) + 2;
}

/*
 * The size of Bind, Describe and Execute for a statement, with parameters and
 * results as text.
 */
uint64
runops_execute_size(const char *name, int nparams, const char *const *values)
{
	uint64		size = HEAD + TEXT("") + TEXT(name) + 2 + 2 + 2 + 2;

	for (int i = 0; i < nparams; i++)
		size += 4 + (values[i] == NULL ? 0 : strlen(values[i]));

	return size + (HEAD + 1 + TEXT("")) + (HEAD + TEXT("") + 4);
}

/*
 * The size of a Sync message.
 */
uint64
runops_sync_size(void)
{
	return HEAD;
}

/*
 * The size of the description of the columns of a result.
 */
static uint64
columns_size(const PGresult *res)
{
	uint64		size = HEAD + 2;

	for (int i = 0; i < PQnfields(res); i++)
		size += TEXT(PQfname(res, i)) + 18;

	return size;
}

/*
 * The size of the rows of a result.
 */
static uint64
rows_size(const PGresult *res)
{
	int			nrows = PQntuples(res);
	int			ncolumns = PQnfields(res);
	uint64		size = nrows * (uint64) (HEAD + 2 + 4 * ncolumns);

	for (int row = 0; row < nrows; row++)
	{
		for (int column = 0; column < ncolumns; column++)
			size += PQgetlength(res, row, column);
	}

	return size;
}

/*
 * The size of an error.
 */
static uint64
error_size(const PGresult *res)
{
	/* the codes of all fields that a server sends */
	static const char fields[] = "SVCMDHPpqWstcdnFLR";
	uint64		size = HEAD + 1;

	for (const char *field = fields; *field != '\0'; field++)
	{
		const char *value = PQresultErrorField(res, *field);

		if (value != NULL)
			size += 1 + TEXT(value);
	}

	return size;
}

/*
 * The size of what was received for a result, which may be a part of the
 * command's.
 *
 * sent is the command.  begins: is it the first result of it?
 */
uint64
runops_result_size(const RunopsSent *sent, const PGresult *res, bool begins)
{
	uint64		size = 0;

	switch (PQresultStatus(res))
	{
		case PGRES_PIPELINE_SYNC:
			return HEAD + 1;
		case PGRES_FATAL_ERROR:
			return error_size(res);
		case PGRES_COMMAND_OK:
			/* ParseComplete */
			if (sent->kind == RUNOPS_CMD_PREPARE)
				return HEAD;
			break;
		case PGRES_TUPLES_OK:
		case PGRES_SINGLE_TUPLE:
			break;
		default:
			return 0;
	}

	/* ParseComplete and BindComplete, and NoData or RowDescription */
	if (begins)
		size += (sent->parsed ? HEAD : 0) + HEAD +
			(PQresultStatus(res) == PGRES_COMMAND_OK ? HEAD : columns_size(res));
	size += rows_size(res);
	if (PQresultStatus(res) != PGRES_SINGLE_TUPLE)
		size += HEAD + TEXT(PQcmdStatus(unconstify(PGresult *, res)));

	return size;
}
