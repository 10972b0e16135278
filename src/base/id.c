/*-------------------------------------------------------------------------
 *
 * id.c
 *	  Pure codec of run-ops ids: classifies, decodes and generates them.
 *
 * The classifier is rule 1 of the extension and never changes.  It decides in
 * which database a stored row is looked up, so a changed rule would hide rows.
 * A new rule must be a new function; never edit this one.
 *
 * The body of an id is the part after its first underscore, or the whole id:
 *
 *	25 x [0-9A-Za-z]							cuid	legacy
 *	27 x [0-9A-Za-z]							ksuid	new
 *	26: 24 x [0-9a-v], [a-z0-9], '1'			runops	new
 *	26: 24 x [0-9a-v], [a-z0-9], '2'			shard	character at index 24
 *
 * Every alphabet is ASCII, so a classifiable body has as many octets as
 * characters.  Counting octets is exact in every server encoding, because
 * there all octets of a multibyte character have the high bit set.  For the
 * same reason an octet that looks like an underscore is one.
 *
 * A generator keeps the time of its last id and never uses an earlier one,
 * whatever the clock does.  Within one tick it does not draw a new random
 * part.  Instead it adds a random step to the last one, which keeps the ids of
 * a process in strictly ascending byte order.  If that overflows, the
 * generator uses the next tick.  Two processes collide no more often than with
 * independent random parts, because the ids of each process are no denser in
 * its range.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "base/id.h"

#include <string.h>

/* The alphabets that an octet belongs to. */
#define IN_BASE62		0x01	/* [0-9A-Za-z] */
#define IN_BASE36		0x02	/* [0-9a-z] */
#define IN_BASE32HEX	0x04	/* [0-9a-v] */

#define DIGIT	(IN_BASE62 | IN_BASE36 | IN_BASE32HEX)
#define LOW_AV	(IN_BASE62 | IN_BASE36 | IN_BASE32HEX)
#define LOW_WZ	(IN_BASE62 | IN_BASE36)
#define UPPER	(IN_BASE62)

static const uint8_t alphabets[256] = {
	['0'] = DIGIT, ['1'] = DIGIT, ['2'] = DIGIT, ['3'] = DIGIT, ['4'] = DIGIT,
	['5'] = DIGIT, ['6'] = DIGIT, ['7'] = DIGIT, ['8'] = DIGIT, ['9'] = DIGIT,
	['a'] = LOW_AV, ['b'] = LOW_AV, ['c'] = LOW_AV, ['d'] = LOW_AV,
	['e'] = LOW_AV, ['f'] = LOW_AV, ['g'] = LOW_AV, ['h'] = LOW_AV,
	['i'] = LOW_AV, ['j'] = LOW_AV, ['k'] = LOW_AV, ['l'] = LOW_AV,
	['m'] = LOW_AV, ['n'] = LOW_AV, ['o'] = LOW_AV, ['p'] = LOW_AV,
	['q'] = LOW_AV, ['r'] = LOW_AV, ['s'] = LOW_AV, ['t'] = LOW_AV,
	['u'] = LOW_AV, ['v'] = LOW_AV,
	['w'] = LOW_WZ, ['x'] = LOW_WZ, ['y'] = LOW_WZ, ['z'] = LOW_WZ,
	['A'] = UPPER, ['B'] = UPPER, ['C'] = UPPER, ['D'] = UPPER, ['E'] = UPPER,
	['F'] = UPPER, ['G'] = UPPER, ['H'] = UPPER, ['I'] = UPPER, ['J'] = UPPER,
	['K'] = UPPER, ['L'] = UPPER, ['M'] = UPPER, ['N'] = UPPER, ['O'] = UPPER,
	['P'] = UPPER, ['Q'] = UPPER, ['R'] = UPPER, ['S'] = UPPER, ['T'] = UPPER,
	['U'] = UPPER, ['V'] = UPPER, ['W'] = UPPER, ['X'] = UPPER, ['Y'] = UPPER,
	['Z'] = UPPER
};

/* In ASCII order, so that base62 text sorts bytewise like the number. */
static const char base62_digits[] =
"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Its first 36 are the digits of base36, its first 32 those of base32hex. */
static const char base36_digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

/* cuid: 'c', 8 digits of time, 4 of counter, 12 random; all base36 */
#define CUID_TIME_DIGITS	8
#define CUID_COUNTER_DIGITS	4
#define CUID_RANDOM_DIGITS	12
#define CUID_TIME_MAX		UINT64_C(2821109907455) /* 36^8 - 1, in 2059 */
#define CUID_COUNTER_MAX	1679615 /* 36^4 - 1 */
#define CUID_RANDOM_RANGE	UINT64_C(4738381338321616896)	/* 36^12 */

/* KSUID: 32 bits of seconds, 128 of payload; base62 */
#define KSUID_EPOCH			UINT64_C(1400000000)
#define KSUID_LIMBS			5
#define BASE62_CHUNK		UINT32_C(916132832) /* 62^5, fits 32 bits */
#define BASE62_CHUNK_DIGITS	5

/* run-ops core: 48 bits of milliseconds, 72 random; base32hex */
#define CORE_DIGITS			24
#define CORE_BYTES			15
#define CORE_TIME_BYTES		6
#define CORE_TIME_MAX		((UINT64_C(1) << 48) - 1)

/* Octets of the random step between two ids of one tick. */
#define CORE_STEP			6
#define KSUID_STEP			8

/*
 * Are all len octets in the alphabet?
 *
 * The loop has no early exit: ids are nearly always well-formed, and the loop
 * without a branch is several times faster on those.
 */
static inline bool
all_in(const char *s, size_t len, uint8_t alphabet)
{
	uint8_t		common = alphabet;

	for (size_t i = 0; i < len; i++)
		common &= alphabets[(uint8_t) s[i]];

	return common != 0;
}

/*
 * Is this a character that may name a region or a shard?
 */
bool
runops_id_is_site(char c)
{
	return (alphabets[(uint8_t) c] & IN_BASE36) != 0;
}

/*
 * Classify an id by its shape.  If body is not NULL, *body is set to the start
 * of the id's body, whatever the kind.
 */
RunopsIdKind
runops_id_classify(const char *id, size_t len, const char **body)
{
	const char *underscore = len > 0 ? memchr(id, '_', len) : NULL;
	const char *b = underscore ? underscore + 1 : id;
	size_t		n = len - (size_t) (b - id);

	if (body)
		*body = b;

	switch (n)
	{
		case RUNOPS_CUID_LEN:
			return all_in(b, RUNOPS_CUID_LEN, IN_BASE62) ? RUNOPS_ID_CUID : RUNOPS_ID_NONE;
		case RUNOPS_KSUID_LEN:
			return all_in(b, RUNOPS_KSUID_LEN, IN_BASE62) ? RUNOPS_ID_KSUID : RUNOPS_ID_NONE;
		case RUNOPS_CORE_LEN:
			if (!all_in(b, CORE_DIGITS, IN_BASE32HEX) ||
				!runops_id_is_site(b[CORE_DIGITS]))
				return RUNOPS_ID_NONE;
			if (b[CORE_DIGITS + 1] == '1')
				return RUNOPS_ID_RUNOPS;
			if (b[CORE_DIGITS + 1] == '2')
				return RUNOPS_ID_SHARD;
			return RUNOPS_ID_NONE;
		default:
			return RUNOPS_ID_NONE;
	}
}

/*
 * The value of a base62 digit.
 */
static uint32_t
base62_value(char c)
{
	if (c <= '9')
		return (uint32_t) (c - '0');
	if (c <= 'Z')
		return (uint32_t) (c - 'A') + 10;
	return (uint32_t) (c - 'a') + 36;
}

/*
 * The value of a base36 digit; base32hex is the start of base36.
 */
static uint32_t
base36_value(char c)
{
	return (uint32_t) (c <= '9' ? c - '0' : c - 'a' + 10);
}

/*
 * Write the low digits of a number, padded with zeros on the left.
 */
static void
put_base36(char *out, int digits, uint64_t value)
{
	for (int i = digits - 1; i >= 0; i--)
	{
		out[i] = base36_digits[value % 36];
		value /= 36;
	}
}

/*
 * Decode 27 base62 digits into 20 big-endian octets.
 *
 * Returns false if the number needs more than 160 bits.
 */
static bool
ksuid_decode(const char *body, uint8_t *bytes)
{
	uint32_t	limbs[KSUID_LIMBS] = {0};

	for (int i = 0; i < RUNOPS_KSUID_LEN; i++)
	{
		uint64_t	carry = base62_value(body[i]);

		for (int j = KSUID_LIMBS - 1; j >= 0; j--)
		{
			carry += (uint64_t) limbs[j] * 62;
			limbs[j] = (uint32_t) carry;
			carry >>= 32;
		}
		if (carry != 0)
			return false;
	}

	for (int j = 0; j < KSUID_LIMBS; j++)
		for (int k = 0; k < 4; k++)
			bytes[j * 4 + k] = (uint8_t) (limbs[j] >> (24 - 8 * k));

	return true;
}

/*
 * Encode seconds and payload as 27 base62 digits.
 *
 * Each pass over the number divides it by 62^5 and yields five digits.  The
 * last pass yields only two digits: 2^160 < 62^27.
 */
static void
ksuid_encode(uint32_t seconds, const uint8_t *payload, char *out)
{
	uint32_t	limbs[KSUID_LIMBS];
	int			pos = RUNOPS_KSUID_LEN;

	limbs[0] = seconds;
	for (int j = 1; j < KSUID_LIMBS; j++)
	{
		limbs[j] = 0;
		for (int k = 0; k < 4; k++)
			limbs[j] = limbs[j] << 8 | payload[(j - 1) * 4 + k];
	}

	while (pos > 0)
	{
		uint64_t	rest = 0;

		for (int j = 0; j < KSUID_LIMBS; j++)
		{
			rest = rest << 32 | limbs[j];
			limbs[j] = (uint32_t) (rest / BASE62_CHUNK);
			rest %= BASE62_CHUNK;
		}
		for (int k = 0; k < BASE62_CHUNK_DIGITS && pos > 0; k++)
		{
			out[--pos] = base62_digits[rest % 62];
			rest /= 62;
		}
	}
}

/*
 * Decode an id.  This never fails: parts that cannot be decoded are marked
 * absent.
 *
 * The time of a cuid is decoded only if the body starts with 'c' and eight
 * base36 digits follow: other generators make 25 characters too.
 */
void
runops_id_parse(const char *id, size_t len, RunopsIdParts *parts)
{
	memset(parts, 0, sizeof(*parts));
	parts->kind = runops_id_classify(id, len, &parts->body);
	parts->has_prefix = parts->body != id;
	parts->prefix_len = parts->has_prefix ? (size_t) (parts->body - id) - 1 : 0;
	parts->body_len = len - (size_t) (parts->body - id);

	switch (parts->kind)
	{
		case RUNOPS_ID_NONE:
			break;

		case RUNOPS_ID_CUID:
			if (parts->body[0] != 'c' ||
				!all_in(parts->body + 1, CUID_TIME_DIGITS, IN_BASE36))
				break;
			for (int i = 1; i <= CUID_TIME_DIGITS; i++)
				parts->unix_ms = parts->unix_ms * 36 + base36_value(parts->body[i]);
			parts->has_time = true;
			break;

		case RUNOPS_ID_KSUID:
			{
				uint8_t		bytes[KSUID_LIMBS * 4];
				uint64_t	seconds = 0;

				if (!ksuid_decode(parts->body, bytes))
					break;
				for (int i = 0; i < 4; i++)
					seconds = seconds << 8 | bytes[i];
				parts->unix_ms = (seconds + KSUID_EPOCH) * 1000;
				parts->has_time = true;
				memcpy(parts->payload, bytes + 4, RUNOPS_KSUID_PAYLOAD);
				parts->has_payload = true;
			}
			break;

		case RUNOPS_ID_RUNOPS:
		case RUNOPS_ID_SHARD:

			/*
			 * the 48 bits are nine digits and the upper three bits of the
			 * tenth
			 */
			for (int i = 0; i < 9; i++)
				parts->unix_ms = parts->unix_ms << 5 | base36_value(parts->body[i]);
			parts->unix_ms = parts->unix_ms << 3 | base36_value(parts->body[9]) >> 2;
			parts->has_time = true;
			parts->site = parts->body[CORE_DIGITS];
			break;
	}
}

/*
 * The time for the next id: the time of the clock, but never earlier than the
 * time of the last id.
 *
 * A clock before 1970 counts as 1970.
 */
static uint64_t
guarded_time(const RunopsIdGenerator *gen, int64_t now_ms)
{
	uint64_t	now = now_ms > 0 ? (uint64_t) now_ms : 0;

	return now > gen->floor_ms ? now : gen->floor_ms;
}

/*
 * Add a big-endian number of step_len octets, plus one, to one of len octets.
 *
 * Returns false on overflow; the value is then undefined.
 */
static bool
add_step(uint8_t *value, size_t len, const uint8_t *step, size_t step_len)
{
	unsigned	carry = 1;

	for (size_t i = 1; i <= len; i++)
	{
		carry += value[len - i];
		if (i <= step_len)
			carry += step[step_len - i];
		value[len - i] = (uint8_t) carry;
		carry >>= 8;
	}

	return carry == 0;
}

/*
 * A random number below 36^12, without bias.
 */
static uint64_t
cuid_random(RunopsIdRandom random)
{
	uint64_t	value;

	/* the largest multiple of the range that 64 bits hold */
	do
		random(&value, sizeof(value));
	while (value >= 3 * CUID_RANDOM_RANGE);

	return value % CUID_RANDOM_RANGE;
}

/*
 * Write a cuid of 25 characters to out.
 *
 * The format has four characters of process fingerprint and eight random ones;
 * here all twelve are random.  The counter starts at a random value and runs
 * for the life of the process.  When it wraps within a millisecond, the id
 * takes the next millisecond.
 *
 * Returns false if the time does not fit the format, which is so from May 2059
 * on.
 */
bool
runops_id_next_cuid(RunopsIdGenerator *gen, int64_t now_ms,
					RunopsIdRandom random, char *out)
{
	uint64_t	ms = guarded_time(gen, now_ms);
	uint64_t	tail = cuid_random(random);
	uint32_t	counter;

	if (!gen->cuid_started)
	{
		counter = (uint32_t) (cuid_random(random) % (CUID_COUNTER_MAX + 1));
	}
	else if (gen->cuid_counter < CUID_COUNTER_MAX)
	{
		counter = gen->cuid_counter + 1;
	}
	else
	{
		counter = 0;
		if (ms <= gen->cuid_ms)
			ms = gen->cuid_ms + 1;
	}

	if (ms > CUID_TIME_MAX)
		return false;

	gen->cuid_started = true;
	gen->cuid_ms = ms;
	gen->cuid_counter = counter;
	gen->floor_ms = ms;

	out[0] = 'c';
	put_base36(out + 1, CUID_TIME_DIGITS, ms);
	put_base36(out + 1 + CUID_TIME_DIGITS, CUID_COUNTER_DIGITS, counter);
	put_base36(out + 1 + CUID_TIME_DIGITS + CUID_COUNTER_DIGITS, CUID_RANDOM_DIGITS, tail);

	return true;
}

/*
 * Can a KSUID carry this time?
 */
static bool
ksuid_time_ok(uint64_t seconds)
{
	return seconds >= KSUID_EPOCH && seconds - KSUID_EPOCH <= UINT32_MAX;
}

/*
 * Write a KSUID of 27 characters to out.
 *
 * Returns false if the time does not fit the format, which covers 2014 to
 * 2150.
 */
bool
runops_id_next_ksuid(RunopsIdGenerator *gen, int64_t now_ms,
					 RunopsIdRandom random, char *out)
{
	uint64_t	seconds = guarded_time(gen, now_ms) / 1000;
	uint8_t		payload[RUNOPS_KSUID_PAYLOAD];
	uint8_t		step[KSUID_STEP];
	bool		same_tick = gen->ksuid_started && seconds <= gen->ksuid_s;

	if (same_tick)
	{
		seconds = gen->ksuid_s;
		random(step, sizeof(step));
		memcpy(payload, gen->ksuid_payload, sizeof(payload));
		if (!add_step(payload, sizeof(payload), step, sizeof(step)))
		{
			seconds++;
			same_tick = false;
		}
	}
	if (!same_tick)
		random(payload, sizeof(payload));

	if (!ksuid_time_ok(seconds))
		return false;

	gen->ksuid_started = true;
	gen->ksuid_s = seconds;
	memcpy(gen->ksuid_payload, payload, sizeof(payload));
	if (gen->floor_ms / 1000 < seconds)
		gen->floor_ms = seconds * 1000;

	ksuid_encode((uint32_t) (seconds - KSUID_EPOCH), payload, out);

	return true;
}

/*
 * Make a KSUID whose payload starts with the caller's octets.
 *
 * Its time never goes backwards.  The caller's octets decide the order within
 * a second, and whether the id is unique.
 *
 * Returns false if the time does not fit the format.
 */
bool
runops_id_make_ksuid(RunopsIdGenerator *gen, int64_t now_ms,
					 RunopsIdRandom random,
					 const uint8_t *lead, size_t lead_len, char *out)
{
	uint64_t	seconds = guarded_time(gen, now_ms) / 1000;
	uint8_t		payload[RUNOPS_KSUID_PAYLOAD];

	if (!ksuid_time_ok(seconds))
		return false;

	if (lead_len > sizeof(payload))
		lead_len = sizeof(payload);
	memcpy(payload, lead, lead_len);
	if (lead_len < sizeof(payload))
		random(payload + lead_len, sizeof(payload) - lead_len);
	if (gen->floor_ms / 1000 < seconds)
		gen->floor_ms = seconds * 1000;

	ksuid_encode((uint32_t) (seconds - KSUID_EPOCH), payload, out);

	return true;
}

/*
 * Write an id of 26 characters to out: a run-ops id (version '1', site is the
 * region) or a shard id (version '2', site is the shard).
 *
 * Both versions share one sequence, because both sort by the same core.
 *
 * Returns false if the time does not fit the format, or if the site is not a
 * valid character.
 */
bool
runops_id_next_core(RunopsIdGenerator *gen, int64_t now_ms,
					RunopsIdRandom random, char site, char version,
					char *out)
{
	uint64_t	ms = guarded_time(gen, now_ms);
	uint8_t		bytes[CORE_BYTES];
	uint8_t    *tail = bytes + CORE_TIME_BYTES;
	uint8_t		step[CORE_STEP];
	bool		same_tick = gen->core_started && ms <= gen->core_ms;

	if (!runops_id_is_site(site))
		return false;

	if (same_tick)
	{
		ms = gen->core_ms;
		random(step, sizeof(step));
		memcpy(tail, gen->core_random, RUNOPS_CORE_RANDOM);
		if (!add_step(tail, RUNOPS_CORE_RANDOM, step, sizeof(step)))
		{
			ms++;
			same_tick = false;
		}
	}
	if (!same_tick)
		random(tail, RUNOPS_CORE_RANDOM);

	if (ms > CORE_TIME_MAX)
		return false;

	gen->core_started = true;
	gen->core_ms = ms;
	memcpy(gen->core_random, tail, RUNOPS_CORE_RANDOM);
	gen->floor_ms = ms;

	for (int i = 0; i < CORE_TIME_BYTES; i++)
		bytes[i] = (uint8_t) (ms >> (40 - 8 * i));

	/* five octets are eight digits */
	for (int i = 0; i < CORE_BYTES / 5; i++)
	{
		uint64_t	group = 0;

		for (int j = 0; j < 5; j++)
			group = group << 8 | bytes[i * 5 + j];
		for (int j = 0; j < 8; j++)
			out[i * 8 + j] = base36_digits[(group >> (35 - 5 * j)) & 0x1F];
	}
	out[CORE_DIGITS] = site;
	out[CORE_DIGITS + 1] = version;

	return true;
}
