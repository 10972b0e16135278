/*-------------------------------------------------------------------------
 *
 * query.c
 *	  Runs the queries of the functions that look rows up, with saved plans.
 *
 * A plan is found by the text of its query.  The text is built from the
 * catalogs at each call, so it is right even if an object was renamed; core's
 * plan cache notices all other changes.  If there are many plans, the least
 * recently used one is dropped, so the plans for dropped objects go away in
 * time.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "lib/ilist.h"
#include "utils/memutils.h"

#include "reads/reads_int.h"

/* The maximum number of plans that a backend keeps. */
#define MAX_PLANS 100

/* A saved plan.  It has its own memory context under CacheMemoryContext. */
typedef struct SavedPlan
{
	dlist_node	node;			/* in plans, the most recently used first */
	MemoryContext cxt;
	uint32		hash;			/* of the text */
	char	   *sql;
	int			options;
	int			nargs;
	Oid		   *types;
	SPIPlanPtr	plan;
	int			users;			/* number of running executions */
} SavedPlan;

static dlist_head plans = DLIST_STATIC_INIT(plans);
static int	nplans = 0;

/*
 * Add a value to a list of parameters, and return its number.
 */
int
runops_args_add(RunopsArgs *args, Oid type, Datum value, bool isnull)
{
	if (args->n == args->size)
	{
		args->size = args->size == 0 ? 8 : args->size * 2;
		if (args->types == NULL)
		{
			args->types = palloc(sizeof(Oid) * args->size);
			args->values = palloc(sizeof(Datum) * args->size);
			args->nulls = palloc(args->size);
		}
		else
		{
			args->types = repalloc(args->types, sizeof(Oid) * args->size);
			args->values = repalloc(args->values, sizeof(Datum) * args->size);
			args->nulls = repalloc(args->nulls, args->size);
		}
	}
	args->types[args->n] = type;
	args->values[args->n] = value;
	args->nulls[args->n] = isnull ? 'n' : ' ';

	return ++args->n;
}

/*
 * Find the plan of a query; NULL if there is none.
 */
static SavedPlan *
find_plan(const char *sql, uint32 hash, const RunopsArgs *args, int options)
{
	dlist_iter	iter;

	dlist_foreach(iter, &plans)
	{
		SavedPlan  *saved = dlist_container(SavedPlan, node, iter.cur);

		if (saved->hash == hash && saved->options == options &&
			saved->nargs == args->n && strcmp(saved->sql, sql) == 0 &&
			(args->n == 0 ||
			 memcmp(saved->types, args->types, sizeof(Oid) * args->n) == 0))
			return saved;
	}

	return NULL;
}

/*
 * Drop the plans that were not used for the longest time, if there are too
 * many.
 */
static void
drop_old_plans(void)
{
	dlist_node *node = dlist_is_empty(&plans) ? NULL : dlist_tail_node(&plans);

	while (nplans >= MAX_PLANS && node != NULL)
	{
		SavedPlan  *saved = dlist_container(SavedPlan, node, node);

		node = dlist_has_prev(&plans, node) ? dlist_prev_node(&plans, node) : NULL;
		if (saved->users > 0)
			continue;
		dlist_delete(&saved->node);
		nplans--;
		SPI_freeplan(saved->plan);
		MemoryContextDelete(saved->cxt);
	}
}

/*
 * Prepare a query and save its plan.
 */
static SavedPlan *
make_plan(const char *sql, uint32 hash, const RunopsArgs *args, int options)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, args->n, args->types, options);
	MemoryContext cxt;
	SavedPlan  *saved;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));

	drop_old_plans();
	cxt = AllocSetContextCreate(CurrentMemoryContext, "runops saved plan",
								ALLOCSET_SMALL_SIZES);
	saved = MemoryContextAllocZero(cxt, sizeof(SavedPlan));
	saved->cxt = cxt;
	saved->hash = hash;
	saved->sql = MemoryContextStrdup(cxt, sql);
	saved->options = options;
	saved->nargs = args->n;
	saved->types = MemoryContextAlloc(cxt, sizeof(Oid) * Max(args->n, 1));
	if (args->n > 0)
		memcpy(saved->types, args->types, sizeof(Oid) * args->n);
	saved->plan = plan;

	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	MemoryContextSetParent(cxt, CacheMemoryContext);
	dlist_push_head(&plans, &saved->node);
	nplans++;

	return saved;
}

/*
 * Run a query and return the number of its rows; the rows are in SPI_tuptable.
 *
 * The caller has connected to SPI. options are cursor options.  If read_only
 * is true, the query uses the snapshot of the calling statement.  Otherwise it
 * uses a new snapshot, and sees the changes of this transaction.
 */
uint64
runops_run_query(const char *sql, const RunopsArgs *args, int options,
				 bool read_only)
{
	uint32		hash = DatumGetUInt32(hash_any((const unsigned char *) sql, strlen(sql)));
	SavedPlan  *saved = find_plan(sql, hash, args, options);

	if (saved == NULL)
		saved = make_plan(sql, hash, args, options);
	else
		dlist_move_head(&plans, &saved->node);

	saved->users++;
	PG_TRY();
	{
		int			rc = SPI_execute_plan(saved->plan, args->values, args->nulls,
										  read_only, 0);

		if (rc < 0)
			elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	}
	PG_FINALLY();
	{
		saved->users--;
	}
	PG_END_TRY();

	return SPI_processed;
}
