/*-------------------------------------------------------------------------
 *
 * row.c
 *	  Copies a row out of a result of libpq, and reads its columns.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "session/engine_int.h"

/*
 * A copy of a row, in the current memory context.
 */
RunopsRow *
runops_row_copy(const PGresult *res, int row)
{
	Size		size = offsetof(RunopsRow, data);
	int			ncolumns = PQnfields(res);
	RunopsRow  *copy;
	char	   *p;

	for (int i = 0; i < ncolumns; i++)
		size += sizeof(int32) + PQgetlength(res, row, i) + 1;
	copy = palloc(size);
	SET_VARSIZE(copy, size);
	copy->ncolumns = ncolumns;

	p = copy->data;
	for (int i = 0; i < ncolumns; i++)
	{
		int32		length = PQgetisnull(res, row, i) ? -1 : PQgetlength(res, row, i);

		memcpy(p, &length, sizeof(int32));
		p += sizeof(int32);
		if (length > 0)
			memcpy(p, PQgetvalue(res, row, i), length);
		p += Max(length, 0);
		*p++ = '\0';
	}

	return copy;
}

/*
 * The next column of a row: its text and its length; NULL for a null.
 *
 * *position is the data of the row at first, and is advanced.
 */
const char *
runops_row_next(const char **position, int *length)
{
	const char *text = *position + sizeof(int32);
	int32		n;

	memcpy(&n, *position, sizeof(int32));
	*position = text + Max(n, 0) + 1;
	*length = n;

	return n < 0 ? NULL : text;
}
