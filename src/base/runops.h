/*-------------------------------------------------------------------------
 *
 * runops.h
 *	  Names and types that every module uses.
 *
 * docs/design.md has the table of the modules, and the order in which they call
 * one another.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_H
#define RUNOPS_H

#include "access/attnum.h"
#include "datatype/timestamp.h"
#include "nodes/bitmapset.h"
#include "nodes/nodes.h"

/* The schema of the extension; runops.control fixes it. */
#define RUNOPS_SCHEMA "runops"

/* The store that is the control-plane database itself. */
#define RUNOPS_LEGACY_STORE "legacy"

/* The store of all ids that are not of legacy and name no shard. */
#define RUNOPS_NEW_STORE "new"

/*
 * What stands in the bound of a table that holds no rows of any store: the old
 * table where legacy is another database.  No id names it.
 */
#define RUNOPS_NO_STORE "none"

/* How the names of the CHECKs begin that declare aliases. */
#define RUNOPS_ALIAS_CONSTRAINT "runops_alias_"

/* The longest store name: "legacy". */
#define RUNOPS_STORE_LEN 8

/*
 * Is a store, by its name, legacy?
 */
static inline bool
runops_is_legacy(const char *store)
{
	return strcmp(store, RUNOPS_LEGACY_STORE) == 0;
}

/* One store's piece of a routed table. */
typedef struct RunopsLeaf
{
	Oid			relid;			/* the partition */
	char	   *schema;			/* its name */
	char	   *name;
	char		store[RUNOPS_STORE_LEN];	/* the store it stands for */
	bool		foreign;		/* reached through runops_fdw? */
} RunopsLeaf;

/*
 * A routed table, as read from the relation cache.
 *
 * Attribute numbers are the parent's.  Bitmapsets are offset by
 * FirstLowInvalidHeapAttributeNumber, as pull_varattnos makes them.
 */
typedef struct RunopsRoute
{
	Oid			relid;			/* the partitioned parent; hash key, first */
	char	   *schema;			/* its name */
	char	   *name;
	Node	   *partexpr;		/* store_of(key), with Vars of varno 1 */
	Node	   *key;			/* the argument of store_of, varno 1 */
	AttrNumber	lead_attno;		/* column whose equality implies the store: the
								 * key column, or the first argument of COALESCE;
								 * 0 if the key is another expression */
	Bitmapset  *key_attnos;		/* every column that the key reads */
	Bitmapset  *alias_attnos;	/* columns that name the row's own store
								 * wherever they are classifiable */
	bool		alias_generated;	/* is one of them a generated column? */
	int			nleaves;
	RunopsLeaf *leaves;			/* in partition order */
} RunopsRoute;

/* Is a server's database proved to be another one than this and the others? */
typedef enum RunopsVerdict
{
	RUNOPS_UNKNOWN,				/* nothing is proved: closed */
	RUNOPS_SAME,				/* it is one of them: closed */
	RUNOPS_DISTINCT				/* it is none of them: open */
} RunopsVerdict;

/* What stands behind a verdict, and so what there is to do about it. */
typedef enum RunopsCause
{
	RUNOPS_CAUSE_NONE,			/* never asked, or distinct */
	RUNOPS_CAUSE_UNREACHABLE,	/* no connection, or no answer */
	RUNOPS_CAUSE_MAPPING,		/* no user mapping, or not good enough */
	RUNOPS_CAUSE_CONTROL_PLANE, /* it is the control plane, or its standby */
	RUNOPS_CAUSE_OTHER_STORE,	/* it is another store's database */
	RUNOPS_CAUSE_RECOVERY,		/* a standby where a primary is needed, or the
								 * other way round */
	RUNOPS_CAUSE_NO_PROOF,		/* it answers, and that proves nothing */
	RUNOPS_CAUSE_CHANGED,		/* it is not the database that was proved */
	RUNOPS_CAUSE_IDENTITY,		/* the control plane is not the one recorded */
	RUNOPS_CAUSE_CO_RESIDENT	/* legacy is not apart from the control plane */
} RunopsCause;

/* Length of the text of a reason, with its end; it may name two directories. */
#define RUNOPS_REASON_LEN 1024

/* Which database answers: the fingerprint. */
typedef struct RunopsIdentity
{
	bool		sysid_known;	/* false where it may not be asked */
	uint64		sysid;			/* system identifier of its cluster */
	char		database[NAMEDATALEN];
	bool		in_recovery;	/* is it a standby? */
} RunopsIdentity;

/* The last verdict on a server, as status() and the gate show it. */
typedef struct RunopsProofState
{
	RunopsVerdict verdict;
	RunopsCause cause;
	char		reason[RUNOPS_REASON_LEN];	/* a sentence */
	TimestampTz since;			/* when it became this verdict */
	TimestampTz checked_at;		/* when it was last found; 0 if never */
	bool		identity_known; /* is the next field filled? */
	RunopsIdentity identity;	/* of the server's database */
} RunopsProofState;

/* A row of store_config, with servers looked up. */
typedef struct RunopsStore
{
	char		store[RUNOPS_STORE_LEN];
	char		server[NAMEDATALEN];	/* "": this database */
	Oid			serverid;		/* InvalidOid: none, or it is gone */
	Oid			readerid;		/* InvalidOid: there is none */
	char		remote_schema[NAMEDATALEN]; /* "": that of each table */
} RunopsStore;

#endif							/* RUNOPS_H */
