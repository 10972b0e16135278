/*-------------------------------------------------------------------------
 *
 * generators.c
 *	  Unit test of the generators, with a clock and randomness of its own.
 *
 * A server's clock cannot be set back in a test, nor its randomness made to
 * run out of a range; here both are arguments.  Prints TAP.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "base/id.h"

#define MS_2026		INT64_C(1767225600000)
#define KSUID_FIRST	INT64_C(1400000000000)
#define CUID_LAST	INT64_C(2821109907455)

static int	tests = 0;
static int	failures = 0;

/* What the randomness is made of. */
static enum
{
	RANDOM_MIX,					/* a repeatable mix */
	RANDOM_FILL,				/* one octet, always the same */
	RANDOM_COUNT,				/* 1, 2, 3, ... */
	RANDOM_FAIL					/* leaves by longjmp */
}			random_mode;

static uint8_t random_fill;
static uint64_t random_state = 1;
static unsigned random_calls = 0;
static jmp_buf random_failed;

/*
 * The randomness of this test.  In the mode of one octet every third call mixes
 * after all, because a number without bias rejects what is too large.
 */
static void
test_random(void *buf, size_t len)
{
	uint8_t    *bytes = buf;

	random_calls++;
	if (random_mode == RANDOM_FAIL)
		longjmp(random_failed, 1);
	for (size_t i = 0; i < len; i++)
	{
		random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		if (random_mode == RANDOM_COUNT)
			bytes[i] = (uint8_t) (i + 1);
		else if (random_mode == RANDOM_FILL && random_calls % 3 != 0)
			bytes[i] = random_fill;
		else
			bytes[i] = (uint8_t) (random_state >> 56);
	}
}

/*
 * Report one test.
 */
static void
ok(bool passed, const char *name)
{
	tests++;
	if (!passed)
		failures++;
	printf("%sok %d - %s\n", passed ? "" : "not ", tests, name);
}

/*
 * Make one id of a kind as a string; false if it could not be made.
 */
static bool
make(RunopsIdGenerator *gen, RunopsIdKind kind, int64_t now, char *id)
{
	bool		made = false;

	memset(id, 0, RUNOPS_KSUID_LEN + 1);
	switch (kind)
	{
		case RUNOPS_ID_CUID:
			made = runops_id_next_cuid(gen, now, test_random, id);
			break;
		case RUNOPS_ID_KSUID:
			made = runops_id_next_ksuid(gen, now, test_random, id);
			break;
		case RUNOPS_ID_RUNOPS:
			made = runops_id_next_core(gen, now, test_random, 'e', '1', id);
			break;
		case RUNOPS_ID_SHARD:
			made = runops_id_next_core(gen, now, test_random, 'q', '2', id);
			break;
		case RUNOPS_ID_NONE:
			break;
	}
	return made;
}

/*
 * The time in an id of a kind, which it must have.
 */
static uint64_t
time_of(const char *id, RunopsIdKind kind)
{
	RunopsIdParts parts;

	runops_id_parse(id, strlen(id), &parts);
	if (parts.kind != kind || !parts.has_time)
	{
		printf("# %s is of kind %d, wanted %d\n", id, parts.kind, kind);
		return 0;
	}
	return parts.unix_ms;
}

/*
 * A clock that stands still, runs and steps back.
 */
static int64_t
wild_clock(int step)
{
	static int64_t now = MS_2026;

	random_state = random_state * UINT64_C(6364136223846793005) + 1;
	switch (random_state >> 60)
	{
		case 0:
			now -= (int64_t) (random_state >> 40 & 0x3FFFFF);	/* over an hour */
			break;
		case 1:
			now += (int64_t) (random_state >> 44 & 0x3FFFF);
			break;
		case 2:
		case 3:
			now++;
			break;
		default:
			break;
	}
	/* half way through it is set to before anything that was ever made */
	if (step == 50000)
		now = KSUID_FIRST;
	return now;
}

/*
 * Ids of each kind ascend while the clock steps back, and so do the times over
 * all kinds, as far as their unit shows.
 */
static void
test_clock(void)
{
	static const RunopsIdKind kinds[] = {
		RUNOPS_ID_CUID, RUNOPS_ID_KSUID, RUNOPS_ID_RUNOPS, RUNOPS_ID_SHARD
	};
	RunopsIdGenerator gen = {0};
	char		last[4][RUNOPS_KSUID_LEN + 1] = {{0}};
	uint64_t	last_time = 0;
	bool		ascend[4] = {true, true, true, true};
	bool		times = true;
	bool		made = true;
	int			behind = 0;

	random_mode = RANDOM_MIX;
	for (int i = 0; i < 100000; i++)
	{
		int			k = (int) (random_state >> 33) & 3;
		int64_t		now = wild_clock(i);
		char		id[RUNOPS_KSUID_LEN + 1];
		uint64_t	t;

		made = made && make(&gen, kinds[k], now, id);
		if (strcmp(id, last[k]) <= 0)
			ascend[k] = false;
		strcpy(last[k], id);

		t = time_of(id, kinds[k]);
		if (kinds[k] == RUNOPS_ID_KSUID ? t < last_time / 1000 * 1000 : t < last_time)
			times = false;
		if (t > last_time)
			last_time = t;
		if (now < (int64_t) last_time)
			behind++;
	}
	ok(made, "every id was made");
	ok(behind > 50000, "the clock was behind most of the time");
	ok(ascend[0], "cuids ascend");
	ok(ascend[1], "KSUIDs ascend");
	ok(ascend[2], "run-ops ids ascend");
	ok(ascend[3], "shard ids ascend");
	ok(times, "times never go back, over all kinds");
}

/*
 * The times of KSUIDs with a payload of the caller do not go back either.
 */
static void
test_lead(void)
{
	RunopsIdGenerator gen = {0};
	static const uint8_t lead[4] = {0xde, 0xad, 0xbe, 0xef};
	char		id[RUNOPS_KSUID_LEN + 1] = {0};
	RunopsIdParts parts;
	bool		made;

	random_mode = RANDOM_COUNT;
	make(&gen, RUNOPS_ID_SHARD, MS_2026, id);
	made = runops_id_make_ksuid(&gen, MS_2026 - 3600000, test_random, lead, sizeof(lead), id);
	runops_id_parse(id, RUNOPS_KSUID_LEN, &parts);
	ok(made && parts.unix_ms == MS_2026, "a KSUID with a payload has no earlier time");
	ok(parts.has_payload && memcmp(parts.payload, "\xde\xad\xbe\xef\1\2\3\4\5\6\7\10\11\12\13\14", 16) == 0,
	   "its payload is the caller's, then random");
	ok(!runops_id_make_ksuid(&(RunopsIdGenerator) {0}, KSUID_FIRST - 1, test_random, lead, 4, id),
	   "nor does it fit before 2014");
}

/*
 * Where a tick has no room left, the next one is borrowed.
 */
static void
test_overflow(void)
{
	RunopsIdGenerator gen = {0};
	char		a[RUNOPS_KSUID_LEN + 1];
	char		b[RUNOPS_KSUID_LEN + 1];

	random_mode = RANDOM_MIX;
	make(&gen, RUNOPS_ID_KSUID, MS_2026, a);
	memset(gen.ksuid_payload, 0xff, sizeof(gen.ksuid_payload));
	make(&gen, RUNOPS_ID_KSUID, MS_2026, b);
	ok(strcmp(a, b) < 0 && time_of(b, RUNOPS_ID_KSUID) == MS_2026 + 1000, "a KSUID borrows the next second");
	make(&gen, RUNOPS_ID_RUNOPS, MS_2026, a);
	ok(time_of(a, RUNOPS_ID_RUNOPS) == MS_2026 + 1000, "the other kinds follow it");
	make(&gen, RUNOPS_ID_KSUID, MS_2026 + 999, a);
	ok(strcmp(b, a) < 0, "the next KSUID is above it");

	memset(&gen, 0, sizeof(gen));
	make(&gen, RUNOPS_ID_RUNOPS, MS_2026, a);
	memset(gen.core_random, 0xff, sizeof(gen.core_random));
	make(&gen, RUNOPS_ID_RUNOPS, MS_2026, b);
	ok(strcmp(a, b) < 0 && time_of(b, RUNOPS_ID_RUNOPS) == MS_2026 + 1, "a run-ops id borrows the next millisecond");
	make(&gen, RUNOPS_ID_RUNOPS, MS_2026, a);
	ok(strcmp(b, a) < 0 && time_of(a, RUNOPS_ID_RUNOPS) == MS_2026 + 1, "the next run-ops id stays there");

	memset(&gen, 0, sizeof(gen));
	make(&gen, RUNOPS_ID_CUID, MS_2026, a);
	gen.cuid_counter = 1679615;
	make(&gen, RUNOPS_ID_CUID, MS_2026, b);
	ok(strcmp(a, b) < 0 && time_of(b, RUNOPS_ID_CUID) == MS_2026 + 1 && memcmp(b + 9, "0000", 4) == 0,
	   "a cuid borrows the next millisecond where the counter wraps");
	gen.cuid_counter = 1679615;
	make(&gen, RUNOPS_ID_CUID, MS_2026 + 5, a);
	ok(strcmp(b, a) < 0 && time_of(a, RUNOPS_ID_CUID) == MS_2026 + 5, "but not when the clock has moved on");

	random_mode = RANDOM_FILL;
	random_fill = 0;
	random_calls = 0;
	memset(&gen, 0, sizeof(gen));
	make(&gen, RUNOPS_ID_RUNOPS, MS_2026, a);
	make(&gen, RUNOPS_ID_RUNOPS, MS_2026, b);
	ok(strcmp(a, b) < 0, "a random step of zero is a step");
}

/*
 * The first and last time of each format; what does not fit leaves no trace.
 */
static void
test_range(void)
{
	static const struct
	{
		RunopsIdKind kind;
		int64_t		now;
		bool		fits;
		const char *name;
	}			ranges[] = {
		{RUNOPS_ID_CUID, -5, true, "a cuid before 1970 is of 1970"},
		{RUNOPS_ID_CUID, 0, true, "cuid in 1970"},
		{RUNOPS_ID_CUID, CUID_LAST, true, "last cuid"},
		{RUNOPS_ID_CUID, CUID_LAST + 1, false, "no cuid after the last"},
		{RUNOPS_ID_KSUID, KSUID_FIRST - 1, false, "no KSUID before the first"},
		{RUNOPS_ID_KSUID, KSUID_FIRST, true, "first KSUID"},
		{RUNOPS_ID_KSUID, KSUID_FIRST + INT64_C(4294967295999), true, "last KSUID"},
		{RUNOPS_ID_KSUID, KSUID_FIRST + INT64_C(4294967296000), false, "no KSUID after the last"},
		{RUNOPS_ID_RUNOPS, 0, true, "run-ops id in 1970"},
		{RUNOPS_ID_RUNOPS, (INT64_C(1) << 48) - 1, true, "last run-ops id"},
		{RUNOPS_ID_RUNOPS, INT64_C(1) << 48, false, "no run-ops id after the last"},
		{RUNOPS_ID_SHARD, INT64_MAX, false, "no shard id at the end of time"}
	};

	random_mode = RANDOM_MIX;
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
	{
		RunopsIdGenerator gen = {0};
		RunopsIdGenerator untouched = {0};
		char		id[RUNOPS_KSUID_LEN + 1];
		bool		fits = make(&gen, ranges[i].kind, ranges[i].now, id);
		uint64_t	want = ranges[i].now < 0 ? 0 : (uint64_t) ranges[i].now;

		if (ranges[i].kind == RUNOPS_ID_KSUID)
			want = want / 1000 * 1000;
		if (fits)
			ok(ranges[i].fits && time_of(id, ranges[i].kind) == want, ranges[i].name);
		else
			ok(!ranges[i].fits && memcmp(&gen, &untouched, sizeof(gen)) == 0, ranges[i].name);
	}
}

/*
 * An error of the randomness leaves the state as it was.
 */
static void
test_failure(void)
{
	static RunopsIdGenerator gen;
	static RunopsIdGenerator before;
	static const RunopsIdKind kinds[] = {RUNOPS_ID_CUID, RUNOPS_ID_KSUID, RUNOPS_ID_RUNOPS};
	static volatile int failed = 0;
	char		id[RUNOPS_KSUID_LEN + 1];

	random_mode = RANDOM_MIX;
	for (int i = 0; i < 3; i++)
		make(&gen, kinds[i], MS_2026, id);
	before = gen;
	random_mode = RANDOM_FAIL;
	for (volatile int i = 0; i < 6; i++)
	{
		/* in the same tick, and in a later one */
		if (setjmp(random_failed) == 0)
			make(&gen, kinds[i % 3], MS_2026 + (i < 3 ? 0 : 5000), id);
		else
			failed++;
	}
	ok(failed == 6 && memcmp(&gen, &before, sizeof(gen)) == 0, "without randomness there is no id and no change");
}

/*
 * Ids that other implementations make of the same time and randomness.
 */
static void
test_known(void)
{
	RunopsIdGenerator gen;
	static const uint8_t zeros[16] = {0};
	static const uint8_t count[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	uint8_t		ones[16];
	char		id[RUNOPS_KSUID_LEN + 1] = {0};

	memset(ones, 0xff, sizeof(ones));
	random_mode = RANDOM_MIX;
	memset(&gen, 0, sizeof(gen));
	runops_id_make_ksuid(&gen, MS_2026, test_random, zeros, 16, id);
	ok(strcmp(id, "37dGalnvVFpJFsmiFDGIwmudA4O") == 0, "KSUID of zeros");
	runops_id_make_ksuid(&gen, MS_2026, test_random, ones, 16, id);
	ok(strcmp(id, "37dGatazXT5fLMSTzN3Rjg1srgV") == 0, "KSUID of ones");
	runops_id_make_ksuid(&gen, MS_2026, test_random, count, 16, id);
	ok(strcmp(id, "37dGalppPmS3gtDP9qIWndd78xE") == 0, "KSUID of a count");
	runops_id_make_ksuid(&gen, KSUID_FIRST + INT64_C(4294967295000), test_random, ones, 16, id);
	ok(strcmp(id, "aWgEPTl1tmebfsQzFP4bxwgy80V") == 0, "the largest KSUID");

	random_mode = RANDOM_COUNT;
	memset(&gen, 0, sizeof(gen));
	make(&gen, RUNOPS_ID_RUNOPS, INT64_C(1783168496789), id);
	ok(strcmp(id, "06fiq7vkik0g40o40k30e209e1") == 0, "run-ops id of a count");
	make(&gen, RUNOPS_ID_SHARD, INT64_C(1783168496789), id);
	ok(strncmp(id, "06fiq7vkik", 10) == 0 && strcmp(id + 24, "q2") == 0 &&
	   strncmp(id, "06fiq7vkik0g40o40k30e209", 24) > 0, "shard id of the same millisecond, above it");
}

/*
 * The random part of a cuid is without bias: what is out of range is redrawn.
 */
static void
test_bias(void)
{
	RunopsIdGenerator gen = {0};
	char		id[RUNOPS_KSUID_LEN + 1];

	random_mode = RANDOM_FILL;
	random_fill = 0xff;
	random_calls = 0;
	ok(make(&gen, RUNOPS_ID_CUID, MS_2026, id) && random_calls == 6, "numbers that would add bias are redrawn");
	random_fill = 0;
	random_calls = 0;
	ok(make(&gen, RUNOPS_ID_CUID, MS_2026, id) && strcmp(id + 13, "000000000000") == 0, "zero is a random number");
}

/*
 * Run the tests; the exit status tells whether one failed.
 */
int
main(void)
{
	char		id[RUNOPS_KSUID_LEN + 1];

	test_clock();
	test_lead();
	test_overflow();
	test_range();
	test_failure();
	test_known();
	test_bias();
	ok(!runops_id_next_core(&(RunopsIdGenerator) {0}, MS_2026, test_random, 'E', '1', id) &&
	   !runops_id_next_core(&(RunopsIdGenerator) {0}, MS_2026, test_random, '\0', '2', id),
	   "a site is a lower-case letter or a digit");
	printf("1..%d\n", tests);

	return failures != 0;
}
