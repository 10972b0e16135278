/*-------------------------------------------------------------------------
 *
 * idgen.c
 *	  Implements the SQL functions that generate ids.
 *
 * Getting strong random octets costs about the same for a few octets as for
 * some thousands, so each backend keeps a pool of them.  A pool filled before
 * fork() would give the same octets to every child process, so a preloaded
 * library would make duplicate ids.  Therefore the pool and the sequences
 * store the PID of their process, and any other process starts new ones.
 * Octets are wiped when they are used, so a later core dump does not show the
 * octets of an id.
 *
 * Parallel workers are separate processes and so have their own pools.  The
 * functions are PARALLEL SAFE like gen_random_uuid().
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

/* Number of random octets to get at a time. */
#define POOL_SIZE	4096

/* The state from which this process generates ids. */
static struct
{
	int			pid;			/* the process that owns this state */
	size_t		used;			/* octets of the pool handed out */
	uint8		pool[POOL_SIZE];
	RunopsIdGenerator generator;
}			source;

PG_FUNCTION_INFO_V1(runops_gen_cuid);
PG_FUNCTION_INFO_V1(runops_gen_ksuid);
PG_FUNCTION_INFO_V1(runops_gen_run_ops_id);
PG_FUNCTION_INFO_V1(runops_gen_shard_id);

/*
 * Copy len octets out of the pool.  If the pool has too few left, fill it
 * first.
 *
 * The octets left over by a refill are not used.
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
					 errdetail("The operating system or the OpenSSL library did not return strong random numbers."),
					 errhint("Check the random number source of the server's host.")));
		source.used = 0;
	}

	memcpy(buf, source.pool + source.used, len);
	explicit_bzero(source.pool + source.used, len);
	source.used += len;
}

/*
 * The generator state of this process.
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
 * It is not the transaction's start time: an id gets the time at which it was
 * made.
 */
static int64
clock_ms(void)
{
	int64		epoch_us = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	return (GetCurrentTimestamp() + epoch_us) / 1000;
}

/*
 * Return an id of len characters as text.  Raises if the id could not be made,
 * which can only happen because of the time.
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
 * A new id of any kind; a run-ops id gets the region.
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
					 errhint("Pass at most %d bytes; the rest is filled with random bytes.",
							 RUNOPS_KSUID_PAYLOAD)));

		made = runops_id_make_ksuid(own_generator(), clock_ms(), pool_random,
									(uint8_t *) VARDATA_ANY(lead), lead_len, id);
	}

	PG_RETURN_TEXT_P(generated("ksuid", made, id, sizeof(id)));
}

/*
 * The region character for the name of a region.
 *
 * A single character stands for itself.  An unknown name becomes '0', so that
 * a new region never keeps an id from being made.
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
				 errdetail("The name of a shard is a lower-case letter or a digit."),
				 errhint("Pass the name of a store, such as \"e\".")));

	shard = PG_GETARG_TEXT_PP(0);
	if (VARSIZE_ANY_EXHDR(shard) != 1 || !runops_id_is_site(VARDATA_ANY(shard)[0]))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid shard \"%s\"", text_to_cstring(shard)),
				 errdetail("The name of a shard is a lower-case letter or a digit."),
				 errhint("Pass the name of a store, such as \"e\".")));

	PG_RETURN_TEXT_P(runops_idgen((RunopsMintKind) {RUNOPS_ID_SHARD, VARDATA_ANY(shard)[0]}, '0'));
}
