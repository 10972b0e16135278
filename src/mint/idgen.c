/*-------------------------------------------------------------------------
 *
 * idgen.c
 *	  SQL functions that generate ids.
 *
 * Strong randomness costs about the same for a few octets as for some
 * thousands, so each backend keeps a pool of it.  A pool filled before fork()
 * would hand the same octets to every child, which is how a preloaded library
 * makes duplicate ids; so pool and sequences carry the process they belong to,
 * and any other process starts with new ones.  Octets are wiped as they are
 * handed out: a later core dump shows none that an id was made of.
 *
 * Parallel workers are processes of their own and so have pools of their own;
 * the functions are PARALLEL SAFE as gen_random_uuid() is.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "mint/mint_int.h"

/* Octets of randomness to get at a time. */
#define POOL_SIZE	4096

/* What this process generates ids from. */
static struct
{
	int			pid;			/* the process all of this belongs to */
	size_t		used;			/* octets of the pool handed out */
	uint8		pool[POOL_SIZE];
	RunopsIdGenerator generator;
}			source;

PG_FUNCTION_INFO_V1(runops_gen_cuid);
PG_FUNCTION_INFO_V1(runops_gen_ksuid);
PG_FUNCTION_INFO_V1(runops_gen_run_ops_id);
PG_FUNCTION_INFO_V1(runops_gen_shard_id);

/*
 * Hand out len octets of the pool, filling it first where it is short.
 *
 * What is left of a pool that is short goes unused.
 */
static void
pool_random(void *buf, size_t len)
{
	Assert(source.pid == MyProcPid);
	Assert(len <= POOL_SIZE);

	if (len > POOL_SIZE - source.used)
	{
		source.used = POOL_SIZE;
		if (!pg_strong_random(source.pool, POOL_SIZE))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values"),
					 errdetail("The operating system or the OpenSSL library gave no strong random numbers."),
					 errhint("Check the random number source of the server's host.")));
		source.used = 0;
	}

	memcpy(buf, source.pool + source.used, len);
	explicit_bzero(source.pool + source.used, len);
	source.used += len;
}

/*
 * The state to generate from, this process's own.
 */
static RunopsIdGenerator *
own_generator(void)
{
	if (unlikely(source.pid != MyProcPid))
	{
		explicit_bzero(&source, sizeof(source));
		source.used = POOL_SIZE;
		source.pid = MyProcPid;
	}

	return &source.generator;
}

/*
 * The clock, in milliseconds since 1970, rounded down.
 *
 * Not the transaction's time: an id is as old as itself.
 */
static int64
clock_ms(void)
{
	int64		epoch_us = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	return (GetCurrentTimestamp() + epoch_us) / 1000;
}

/*
 * An id of len characters as text, or an error if it could not be made, which
 * only the time can be the reason for.
 */
static text *
generated(const char *kind, bool made, const char *id, size_t len)
{
	if (!made)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("current time does not fit an id of kind %s", kind),
				 errdetail("A cuid holds times up to 2059, a KSUID from 2014 to 2150."),
				 errhint("Check the clock of the server's host.")));

	return cstring_to_text_with_len(id, len);
}

/*
 * An id of any kind; a run-ops id has the region.
 */
text *
runops_idgen(RunopsMintKind kind, char region)
{
	RunopsIdGenerator *generator = own_generator();
	char		id[RUNOPS_KSUID_LEN];
	bool		made;

	switch (kind.kind)
	{
		case RUNOPS_ID_KSUID:
			made = runops_id_next_ksuid(generator, clock_ms(), pool_random, id);
			return generated("ksuid", made, id, RUNOPS_KSUID_LEN);
		case RUNOPS_ID_RUNOPS:
			made = runops_id_next_core(generator, clock_ms(), pool_random, region, '1', id);
			return generated("runops", made, id, RUNOPS_CORE_LEN);
		case RUNOPS_ID_SHARD:
			made = runops_id_next_core(generator, clock_ms(), pool_random, kind.shard, '2', id);
			return generated("shard", made, id, RUNOPS_CORE_LEN);
		case RUNOPS_ID_CUID:
		case RUNOPS_ID_NONE:
			break;
	}
	made = runops_id_next_cuid(generator, clock_ms(), pool_random, id);

	return generated("cuid", made, id, RUNOPS_CUID_LEN);
}

/*
 * gen_cuid() returns text
 */
Datum
runops_gen_cuid(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(runops_idgen(RUNOPS_MINT_CUID, '0'));
}

/*
 * gen_ksuid(payload bytea) returns text
 */
Datum
runops_gen_ksuid(PG_FUNCTION_ARGS)
{
	char		id[RUNOPS_KSUID_LEN];
	bool		made;

	if (PG_ARGISNULL(0))
	{
		made = runops_id_next_ksuid(own_generator(), clock_ms(), pool_random, id);
	}
	else
	{
		bytea	   *lead = PG_GETARG_BYTEA_PP(0);
		size_t		lead_len = VARSIZE_ANY_EXHDR(lead);

		if (lead_len > RUNOPS_KSUID_PAYLOAD)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("payload of a KSUID must not be longer than %d bytes", RUNOPS_KSUID_PAYLOAD),
					 errdetail("The payload has %zu bytes.", lead_len),
					 errhint("Pass at most %d bytes; what is missing is filled with random ones.",
							 RUNOPS_KSUID_PAYLOAD)));

		made = runops_id_make_ksuid(own_generator(), clock_ms(), pool_random,
									(uint8_t *) VARDATA_ANY(lead), lead_len, id);
	}

	PG_RETURN_TEXT_P(generated("ksuid", made, id, sizeof(id)));
}

/*
 * The region character of a region's name.
 *
 * A single character stands for itself; a name that is not known is '0', so
 * that a new region never keeps an id from being made.
 */
char
runops_region_char(text *region)
{
	static const struct
	{
		const char *name;
		char		c;
	}			regions[] = {
		{"us-east-1", 'e'},
		{"us-west-2", 'w'},
		{"eu-central-1", 'c'}
	};
	const char *str = VARDATA_ANY(region);
	size_t		len = VARSIZE_ANY_EXHDR(region);

	if (len == 1 && runops_id_is_site(str[0]))
		return str[0];
	for (int i = 0; i < lengthof(regions); i++)
		if (len == strlen(regions[i].name) && memcmp(str, regions[i].name, len) == 0)
			return regions[i].c;

	return '0';
}

/*
 * gen_run_ops_id(region text) returns text
 */
Datum
runops_gen_run_ops_id(PG_FUNCTION_ARGS)
{
	char		region = PG_ARGISNULL(0) ? '0' : runops_region_char(PG_GETARG_TEXT_PP(0));

	PG_RETURN_TEXT_P(runops_idgen((RunopsMintKind) {RUNOPS_ID_RUNOPS, '\0'}, region));
}

/*
 * gen_shard_id(shard text) returns text
 */
Datum
runops_gen_shard_id(PG_FUNCTION_ARGS)
{
	text	   *shard;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("shard must not be null"),
				 errdetail("A shard is named by one character, a lower-case letter or a digit."),
				 errhint("Pass the name of a store, such as \"e\".")));

	shard = PG_GETARG_TEXT_PP(0);
	if (VARSIZE_ANY_EXHDR(shard) != 1 || !runops_id_is_site(VARDATA_ANY(shard)[0]))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid shard \"%s\"", text_to_cstring(shard)),
				 errdetail("A shard is named by one character, a lower-case letter or a digit."),
				 errhint("Pass the name of a store, such as \"e\".")));

	PG_RETURN_TEXT_P(runops_idgen((RunopsMintKind) {RUNOPS_ID_SHARD, VARDATA_ANY(shard)[0]}, '0'));
}
