/*-------------------------------------------------------------------------
 *
 * id.h
 *	  Shapes of run-ops ids: classifier, decoder and generators.
 *
 * Nothing here needs a server, so a fuzzer or a unit test can link id.c alone.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_ID_H
#define RUNOPS_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Octets of a body of each kind. */
#define RUNOPS_CUID_LEN		25
#define RUNOPS_CORE_LEN		26	/* run-ops and shard */
#define RUNOPS_KSUID_LEN	27

/* Octets of a KSUID's payload, and of the random part of a run-ops core. */
#define RUNOPS_KSUID_PAYLOAD	16
#define RUNOPS_CORE_RANDOM		9

/* The kinds of id; each names a store by its shape alone. */
typedef enum RunopsIdKind
{
	RUNOPS_ID_NONE = 0,			/* unclassifiable */
	RUNOPS_ID_CUID,				/* store legacy */
	RUNOPS_ID_KSUID,			/* store new */
	RUNOPS_ID_RUNOPS,			/* store new */
	RUNOPS_ID_SHARD				/* the store named by the last character but
								 * one */
} RunopsIdKind;

/* The parts of an id. */
typedef struct RunopsIdParts
{
	RunopsIdKind kind;
	bool		has_prefix;		/* does the id have an underscore? */
	size_t		prefix_len;		/* octets before the first underscore */
	const char *body;			/* the part after it, or the whole id */
	size_t		body_len;
	char		site;			/* region or shard character, or '\0' */
	bool		has_time;		/* is unix_ms valid? */
	uint64_t	unix_ms;
	bool		has_payload;	/* is payload valid? */
	uint8_t		payload[RUNOPS_KSUID_PAYLOAD];
} RunopsIdParts;

/*
 * The state of the generators of one process, which keeps ids from going
 * backwards.  The initial state is all zeroes.
 */
typedef struct RunopsIdGenerator
{
	uint64_t	floor_ms;		/* no id gets an earlier time */
	bool		cuid_started;
	uint64_t	cuid_ms;
	uint32_t	cuid_counter;
	bool		core_started;
	uint64_t	core_ms;
	uint8_t		core_random[RUNOPS_CORE_RANDOM];
	bool		ksuid_started;
	uint64_t	ksuid_s;
	uint8_t		ksuid_payload[RUNOPS_KSUID_PAYLOAD];
} RunopsIdGenerator;

/*
 * A source of strong random octets.  It may exit by longjmp(): the generators
 * call it before they change their state.
 */
typedef void (*RunopsIdRandom) (void *buf, size_t len);

extern RunopsIdKind runops_id_classify(const char *id, size_t len, const char **body);
extern void runops_id_parse(const char *id, size_t len, RunopsIdParts *parts);
extern bool runops_id_is_site(char c);

extern bool runops_id_next_cuid(RunopsIdGenerator *gen, int64_t now_ms,
								RunopsIdRandom random, char *out);
extern bool runops_id_next_ksuid(RunopsIdGenerator *gen, int64_t now_ms,
								 RunopsIdRandom random, char *out);
extern bool runops_id_make_ksuid(RunopsIdGenerator *gen, int64_t now_ms,
								 RunopsIdRandom random,
								 const uint8_t *lead, size_t lead_len, char *out);
extern bool runops_id_next_core(RunopsIdGenerator *gen, int64_t now_ms,
								RunopsIdRandom random, char site, char version,
								char *out);

#endif							/* RUNOPS_ID_H */
