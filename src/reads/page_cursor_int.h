/*-------------------------------------------------------------------------
 *
 * page_cursor_int.h
 *	  Declares a page of a routed table, and the cursor that it begins after.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_PAGE_CURSOR_INT_H
#define RUNOPS_PAGE_CURSOR_INT_H

#include "utils/jsonb.h"

/* A column by which pages are ordered. */
typedef struct RunopsOrderTerm
{
	char	   *column;			/* as SQL */
	Oid			type;			/* its base type */
	Oid			collation;
	bool		nullable;
	char	   *expression;		/* SQL expression that is compared instead */
	Oid			compared;		/* the type of the expression: its own, or
								 * bytea */
} RunopsOrderTerm;

/* The page that was asked for. */
typedef struct RunopsPage
{
	char	   *sort_name;
	RunopsOrderTerm sort;
	RunopsOrderTerm key;		/* of the primary key */
	int			size;
	bool		descending;
	bool		after;			/* does it begin after a cursor? */
	bool		after_null;		/* is the cursor's value NULL? */
	Datum		after_value;	/* of sort.compared */
	Datum		after_key;		/* of key.compared */
} RunopsPage;

/* in page_cursor.c */
extern int	runops_cursor_settings(void);
extern void runops_cursor_read(Jsonb *cursor, RunopsPage *page);
extern Jsonb *runops_cursor_make(const RunopsPage *page, Datum value, bool isnull,
								 const char *key);

#endif							/* RUNOPS_PAGE_CURSOR_INT_H */
