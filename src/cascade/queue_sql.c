/*-------------------------------------------------------------------------
 *
 * queue_sql.c
 *	  Runs statements on the tables of the queue.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"

#include "base/compat.h"
#include "cascade/cascade_int.h"

/*
 * Run a statement on the extension's own tables; SPI_processed is the number
 * of rows.
 */
void
runops_cleanup_sql(int expected, const char *fmt,...)
{
	StringInfoData sql;
	va_list		args;
	int			needed;

	initStringInfo(&sql);
	for (;;)
	{
		va_start(args, fmt);
		needed = appendStringInfoVA(&sql, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&sql, needed);
	}
	if (SPI_execute(sql.data, false, 0) != expected)
		elog(ERROR, "unexpected result of \"%s\"", sql.data);
	pfree(sql.data);
}
