/*-------------------------------------------------------------------------
 *
 * runops.h
 *	  Names and types that every module uses.
 *
 * docs/design.md has the table of the modules and the order in which they call
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
 * The store name in the partition bound of a table that holds no rows of any
 * store: the old table when legacy is another database.  No id names it.
 */
#define RUNOPS_NO_STORE "none"

/* The prefix of the names of the CHECK constraints that declare aliases. */
#define RUNOPS_ALIAS_CONSTRAINT "runops_alias_"

/* The longest store name: "legacy". */
#define RUNOPS_STORE_LEN 8

/*
 * Is this the name of the store legacy?
 */
static inline bool
runops_is_legacy(const char *store)
{
	return strcmp(store, RUNOPS_LEGACY_STORE) == 0;
}

/* The partition of a routed table that holds the rows of one store. */
typedef struct RunopsLeaf
{
	Oid			relid;			/* the partition */
	char	   *schema;			/* its name */
	char	   *name;
	char		store[RUNOPS_STORE_LEN];	/* the store that it stands for */
	bool		foreign;		/* is it a foreign table of runops_fdw? */
} RunopsLeaf;

/*
 * A routed table, as read from the relcache.
 *
 * Attribute numbers are those of the parent.  Bitmapsets are offset by
 * FirstLowInvalidHeapAttributeNumber, as in pull_varattnos.
 */
typedef struct RunopsRoute
{
	Oid			relid;			/* the partitioned parent; hash key, first */
	char	   *schema;			/* its name */
	char	   *name;
	Node	   *partexpr;		/* store_of(key), with Vars of varno 1 */
	Node	   *key;			/* the argument of store_of, varno 1 */
	AttrNumber	lead_attno;		/* column whose equality implies the store:
								 * the key column, or the first argument of
								 * COALESCE; 0 if the key is another
								 * expression */
	Bitmapset  *key_attnos;		/* every column that the key reads */
	Bitmapset  *alias_attnos;	/* columns that name the row's own store
								 * whenever their value is classifiable */
	bool		alias_generated;	/* is one of them a generated column? */
	int			nleaves;
	RunopsLeaf *leaves;			/* in partition order */
} RunopsRoute;

/*
 * Is the database of a server proved to differ from this one and the others?
 */
typedef enum RunopsVerdict
{
	RUNOPS_UNKNOWN,				/* nothing is proved: closed */
	RUNOPS_SAME,				/* it is one of them: closed */
	RUNOPS_DISTINCT				/* it is none of them: open */
} RunopsVerdict;

/* The reason for a verdict, from which the right action follows. */
typedef enum RunopsCause
{
	RUNOPS_CAUSE_NONE,			/* never asked, or distinct */
	RUNOPS_CAUSE_UNREACHABLE,	/* no connection, or no answer */
	RUNOPS_CAUSE_MAPPING,		/* no user mapping, or not good enough */
	RUNOPS_CAUSE_CONTROL_PLANE, /* it is the control plane, or its standby */
	RUNOPS_CAUSE_OTHER_STORE,	/* it is a standby where a primary is needed,
								 * or the reverse */
	RUNOPS_CAUSE_RECOVERY,		/* a standby where a primary is needed, or the
								 * other way round */
	RUNOPS_CAUSE_NO_PROOF,		/* it answers, but that proves nothing */
	RUNOPS_CAUSE_CHANGED,		/* it is not the database that was proved */
	RUNOPS_CAUSE_COLLATION,		/* its collations have changed */
	RUNOPS_CAUSE_IDENTITY,		/* the control plane is not the recorded one */
	RUNOPS_CAUSE_OWNER,			/* the store's record names another one */
	RUNOPS_CAUSE_FORMER,		/* the former one may still use the store */
	RUNOPS_CAUSE_CO_RESIDENT	/* legacy is in the control plane's database */
} RunopsCause;

/*
 * Length of the text of a reason, with its terminator; it may name two
 * directories.
 */
#define RUNOPS_REASON_LEN 1024

/* The fingerprint, which identifies the database that answers. */
typedef struct RunopsIdentity
{
	bool		sysid_known;	/* false if the role may not read it */
	uint64		sysid;			/* system identifier of its cluster */
	char		database[NAMEDATALEN];
	bool		in_recovery;	/* is it a standby? */
	int64		claim;			/* the claim in its record of an owner; 0 if
								 * there is none */
	uint64		collations;		/* number of what it tells of its collations;
								 * 0 if it tells nothing, and for this
								 * database */
} RunopsIdentity;

/* The most collations of columns that a server is asked about. */
#define RUNOPS_MAX_COLLATIONS 16

/*
 * Which collations behave in a server's database as in this one.  All zeros:
 * nothing is known.
 */
typedef struct RunopsCollations
{
	bool		known;			/* has the server been asked? */
	bool		same_encoding;
	bool		same_default;	/* the default collation of the database */
	bool		surprises;		/* is one deterministic only here? */
	int			n;				/* other collations: */
	Oid			collation[RUNOPS_MAX_COLLATIONS];
	bool		same[RUNOPS_MAX_COLLATIONS];
	bool		deterministic[RUNOPS_MAX_COLLATIONS];	/* there */
} RunopsCollations;

/*
 * Length of the text for an incarnation of a server, with its terminator; see
 * RUNOPS_INCARNATION_SQL.
 */
#define RUNOPS_INCARNATION_LEN 40

/* What has become of a transaction in a store. */
typedef enum RunopsOutcome
{
	RUNOPS_OUTCOME_UNKNOWN,
	RUNOPS_OUTCOME_COMMITTED,
	RUNOPS_OUTCOME_ROLLED_BACK
} RunopsOutcome;

/* What identifies a transaction in a store, to ask what became of it. */
typedef struct RunopsRemoteXact
{
	uint64		xid;			/* with its epoch; 0: not known */
	int			pid;			/* of the process that has executed it */
	int64		writer;			/* the row of its token */
	int64		token;			/* 0: it has written none */
	bool		sysid_known;	/* of its server: */
	uint64		sysid;			/* ... the system identifier */
	char		incarnation[RUNOPS_INCARNATION_LEN];	/* ... and since when it
														 * runs */
} RunopsRemoteXact;

/* The last verdict on a server, as status() and the gate show it. */
typedef struct RunopsProofState
{
	RunopsVerdict verdict;
	RunopsCause cause;
	char		reason[RUNOPS_REASON_LEN];	/* a sentence */
	TimestampTz since;			/* when the verdict became this one */
	TimestampTz checked_at;		/* when it was last confirmed; 0 if never */
	bool		identity_known; /* is the next field filled? */
	RunopsIdentity identity;	/* identity of the server's database */
	bool		owned;			/* does it have a record of another control
								 * plane, which is to be replaced? */
	bool		may_succeed;	/* is that one this server's own cluster and
								 * database? */
	RunopsCollations collations;	/* of that database */
} RunopsProofState;

/* A row of store_config, with the OIDs of its servers. */
typedef struct RunopsStore
{
	char		store[RUNOPS_STORE_LEN];
	char		server[NAMEDATALEN];	/* "": this database */
	Oid			serverid;		/* InvalidOid if none, or if it was dropped */
	Oid			readerid;		/* InvalidOid if there is no reader */
	char		remote_schema[NAMEDATALEN]; /* "": each table's own schema */
} RunopsStore;

#endif							/* RUNOPS_H */
