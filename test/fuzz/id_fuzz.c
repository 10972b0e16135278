/*-------------------------------------------------------------------------
 *
 * id_fuzz.c
 *	  Fuzz harness of the id codec, for libFuzzer or for replaying a corpus.
 *
 * Any octets are an id.  What the codec says of them is compared with a plain
 * reading of the rule, and whatever decodes must encode to the same again.
 *
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -I src \
 *		-o id_fuzz test/fuzz/id_fuzz.c src/base/id.c && ./id_fuzz test/fuzz/corpus
 *
 * With -DRUNOPS_REPLAY it has a main() that runs each file named once.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Octets that the generators take for random ones. */
static uint8_t chosen[RUNOPS_KSUID_PAYLOAD];

/*
 * Fail loudly, so that the fuzzer keeps the input.
 */
static void
require(bool condition, const char *what)
{
	if (!condition)
	{
		fprintf(stderr, "id_fuzz: %s\n", what);
		abort();
	}
}

/*
 * Randomness that was chosen by the caller.
 */
static void
chosen_random(void *buf, size_t len)
{
	memcpy(buf, chosen, len < sizeof(chosen) ? len : sizeof(chosen));
}

/*
 * Is the octet one of the characters of a string?
 */
static bool
one_of(uint8_t c, const char *set)
{
	return c != 0 && strchr(set, c) != NULL;
}

/*
 * The rule, read plainly: what kind is this body?
 */
static RunopsIdKind
plain_kind(const uint8_t *body, size_t len)
{
	static const char base32hex[] = "0123456789abcdefghijklmnopqrstuv";
	static const char base36[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	if (len < 25 || len > 27)
		return RUNOPS_ID_NONE;
	for (size_t i = 0; i < len; i++)
	{
		const char *set = len != 26 ? base62 : i < 24 ? base32hex : i == 24 ? base36 : "12";

		if (!one_of(body[i], set))
			return RUNOPS_ID_NONE;
	}
	if (len == 25)
		return RUNOPS_ID_CUID;
	if (len == 27)
		return RUNOPS_ID_KSUID;
	return body[25] == '1' ? RUNOPS_ID_RUNOPS : RUNOPS_ID_SHARD;
}

/*
 * The value of a base32hex digit.
 */
static uint8_t
value32(char c)
{
	return (uint8_t) (c <= '9' ? c - '0' : c - 'a' + 10);
}

/*
 * Encode again what was decoded.
 */
static void
check_round_trip(const RunopsIdParts *parts)
{
	RunopsIdGenerator gen = {0};
	char		again[RUNOPS_KSUID_LEN];

	switch (parts->kind)
	{
		case RUNOPS_ID_KSUID:
			require(parts->has_time == parts->has_payload, "a KSUID has a time or a payload only");
			require(parts->has_time == (memcmp(parts->body, "aWgEPTl1tmebfsQzFP4bxwgy80V", 27) <= 0),
					"a KSUID decodes up to the largest");
			if (!parts->has_time)
				break;
			require(runops_id_make_ksuid(&gen, (int64_t) parts->unix_ms, chosen_random,
										 parts->payload, sizeof(parts->payload), again),
					"a KSUID's time does not fit a KSUID");
			require(memcmp(again, parts->body, RUNOPS_KSUID_LEN) == 0, "a KSUID does not encode again");
			break;

		case RUNOPS_ID_RUNOPS:
		case RUNOPS_ID_SHARD:
			require(parts->has_time, "a core has no time");

			/* the last 72 bits of 24 digits of five */
			chosen[0] = (uint8_t) (value32(parts->body[9]) << 6 | value32(parts->body[10]) << 1 |
								   value32(parts->body[11]) >> 4);
			for (int i = 1, bit = 58; i < RUNOPS_CORE_RANDOM; i++, bit += 8)
			{
				uint8_t		octet = 0;

				for (int j = bit - 2; j < bit + 6; j++)
					octet = (uint8_t) (octet << 1 | (value32(parts->body[j / 5]) >> (4 - j % 5) & 1));
				chosen[i] = octet;
			}
			require(runops_id_next_core(&gen, (int64_t) parts->unix_ms, chosen_random, parts->site,
										parts->body[25], again),
					"a core's time does not fit a core");
			require(memcmp(again, parts->body, RUNOPS_CORE_LEN) == 0, "a core does not encode again");
			break;

		case RUNOPS_ID_CUID:
			require(!parts->has_time || parts->body[0] == 'c', "a time of what is no cuid");
			if (!parts->has_time)
				break;
			require(runops_id_next_cuid(&gen, (int64_t) parts->unix_ms, chosen_random, again),
					"a cuid's time does not fit a cuid");
			require(memcmp(again, parts->body, 9) == 0, "a cuid's time does not encode again");
			break;

		case RUNOPS_ID_NONE:
			require(!parts->has_time && !parts->has_payload && parts->site == '\0',
					"an unclassifiable id has parts");
			break;
	}
}

/*
 * One input: any octets, in a block of exactly their size.
 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *id = calloc(size > 0 ? size : 1, 1);
	const uint8_t *underscore = size > 0 ? memchr(data, '_', size) : NULL;
	const uint8_t *body = underscore ? underscore + 1 : data;
	size_t		body_len = size - (size_t) (body - data);
	const char *found;
	RunopsIdKind kind;
	RunopsIdParts parts;

	if (id == NULL)
		abort();
	if (size > 0)
		memcpy(id, data, size);
	memset(chosen, 0, sizeof(chosen));

	kind = runops_id_classify(id, size, &found);
	require(kind == plain_kind(body, body_len), "the kind is not the rule's");
	require(kind == runops_id_classify(id, size, NULL), "the kind depends on who asks");
	require(found == id + (body - data), "the body is elsewhere");

	runops_id_parse(id, size, &parts);
	require(parts.kind == kind && parts.body == found && parts.body_len == body_len, "parse and classify disagree");
	require(parts.has_prefix == (underscore != NULL), "there is no such prefix");
	require(!parts.has_prefix || parts.prefix_len + 1 + parts.body_len == size, "prefix and body are not the id");
	require((parts.site != '\0') == (kind == RUNOPS_ID_RUNOPS || kind == RUNOPS_ID_SHARD), "a site where none is");
	check_round_trip(&parts);

	free(id);

	return 0;
}

#ifdef RUNOPS_REPLAY
/*
 * Run the contents of each file named.
 */
int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		static uint8_t data[1 << 16];
		FILE	   *file = fopen(argv[i], "rb");
		size_t		size;

		if (file == NULL)
		{
			perror(argv[i]);
			return 1;
		}
		size = fread(data, 1, sizeof(data), file);
		fclose(file);
		LLVMFuzzerTestOneInput(data, size);
		printf("ok %d - %s\n", i, strrchr(argv[i], '/') ? strrchr(argv[i], '/') + 1 : argv[i]);
		fflush(stdout);
	}
	printf("1..%d\n", argc - 1);

	return 0;
}
#endif
