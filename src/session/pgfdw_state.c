/*-------------------------------------------------------------------------
 *
 * pgfdw_state.c
 *	  Finds the connection that postgres_fdw uses, in its execution states.
 *
 * postgres_fdw does not tell which connection it uses.  Its execution states
 * begin with the fields below in PostgreSQL 15 to 18; this file only reads
 * them.  First it compares the fields around the connection with values that
 * are known from elsewhere.  If they differ, this postgres_fdw has other
 * states: the result is NULL, and the servers are asked on a connection of our
 * own (see conncheck.c).
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "nodes/execnodes.h"

#include "session/session.h"

/* The beginning of PgFdwScanState. */
typedef struct ScanStateHead
{
	Relation	rel;
	TupleDesc	tupdesc;
	AttInMetadata *attinmeta;
	char	   *query;			/* first item of fdw_private */
	List	   *retrieved_attrs;	/* second item */
	PGconn	   *conn;
} ScanStateHead;

/* The beginning of PgFdwDirectModifyState. */
typedef struct DirectStateHead
{
	Relation	rel;
	AttInMetadata *attinmeta;
	char	   *query;			/* first item of fdw_private */
	bool		has_returning;	/* second item */
	List	   *retrieved_attrs;	/* third item */
	bool		set_processed;	/* fourth item */
	PGconn	   *conn;
} DirectStateHead;

/* The beginning of PgFdwModifyState. */
typedef struct ModifyStateHead
{
	Relation	rel;			/* the result relation */
	AttInMetadata *attinmeta;
	PGconn	   *conn;
	void	   *conn_state;
	char	   *p_name;			/* NULL until the first row */
	char	   *query;
} ModifyStateHead;

/*
 * The connection of a scan that postgres_fdw has begun, or NULL.
 */
PGconn *
runops_pgfdw_scan_conn(ForeignScanState *node)
{
	ForeignScan *plan = castNode(ForeignScan, node->ss.ps.plan);
	ScanStateHead *state = (ScanStateHead *) node->fdw_state;

	if (state == NULL || list_length(plan->fdw_private) < 2 ||
		!IsA(linitial(plan->fdw_private), String) ||
		state->query != strVal(linitial(plan->fdw_private)) ||
		state->retrieved_attrs != (List *) lsecond(plan->fdw_private))
		return NULL;

	return state->conn;
}

/*
 * The connection of a direct UPDATE or DELETE, or NULL.
 */
PGconn *
runops_pgfdw_direct_conn(ForeignScanState *node)
{
	ForeignScan *plan = castNode(ForeignScan, node->ss.ps.plan);
	DirectStateHead *state = (DirectStateHead *) node->fdw_state;

	if (state == NULL || list_length(plan->fdw_private) < 4 ||
		!IsA(linitial(plan->fdw_private), String) ||
		state->query != strVal(linitial(plan->fdw_private)) ||
		state->retrieved_attrs != (List *) lthird(plan->fdw_private))
		return NULL;

	return state->conn;
}

/*
 * The connection for modifying a result relation, before its first row, or
 * NULL.
 */
PGconn *
runops_pgfdw_modify_conn(ResultRelInfo *rri, void *pgfdw_state)
{
	ModifyStateHead *state = (ModifyStateHead *) pgfdw_state;

	if (state == NULL || state->rel != rri->ri_RelationDesc ||
		state->p_name != NULL || state->conn_state == NULL || state->query == NULL)
		return NULL;

	return state->conn;
}
