/*-------------------------------------------------------------------------
 *
 * engine_int.h
 *	  The connections of a backend to stores, and their transactions, as the
 *	  files of the engine share them.
 *
 * A backend has one connection for each user mapping.  Everything that is sent
 * on it up to one Sync message is a segment, which the backend waits for once.
 * A transaction in a store is called a frame.  The state of a connection
 * follows from the result of each command, and not from the fact that a
 * command was sent: in a segment, the commands behind an error are skipped.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_ENGINE_INT_H
#define RUNOPS_ENGINE_INT_H

#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "utils/snapshot.h"

#include "base/compat.h"
#include "remote/remote.h"
#include "session/session.h"
#include "xact/xact.h"

/* The transaction that is open in a store. */
typedef enum RunopsFrame
{
	RUNOPS_FRAME_NONE,
	RUNOPS_FRAME_READ,			/* serves the reads of one local snapshot */
	RUNOPS_FRAME_WRITE,			/* READ COMMITTED, until the local end */
	RUNOPS_FRAME_WHOLE			/* the local isolation level, until the end */
} RunopsFrame;

/* What a command of a segment does, if its result is COMMAND_OK. */
typedef enum RunopsCommandKind
{
	RUNOPS_CMD_BEGIN,			/* begins the frame conn->next_frame */
	RUNOPS_CMD_SAVEPOINT,		/* sets a savepoint one level deeper */
	RUNOPS_CMD_END,				/* ends the frame */
	RUNOPS_CMD_PREPARE_TRANSACTION, /* ends it, prepared for two phases */
	RUNOPS_CMD_CHECK,			/* fails if it is another session */
	RUNOPS_CMD_PREPARE,			/* prepares conn->preparing */
	RUNOPS_CMD_XID,				/* asks for the transaction's number */
	RUNOPS_CMD_OTHER,			/* changes nothing here */
	RUNOPS_CMD_STATEMENT,		/* its results are the caller's */
	RUNOPS_CMD_SYNC				/* the end of a segment */
} RunopsCommandKind;

/* Has the store prepared the transaction for two phases? */
typedef enum RunopsPrepared
{
	RUNOPS_PREPARED_NOT,
	RUNOPS_PREPARED_PERHAPS,	/* it was told to */
	RUNOPS_PREPARED_DONE
} RunopsPrepared;

/* The longest name of a prepared transaction, with its terminator. */
#define RUNOPS_GID_LEN 128

/* How the names of prepared transactions of all control planes begin. */
#define RUNOPS_GID_START "runops_"

/* columns of commit_decision, in the order of 38-session-two-phase.sql */
#define RUNOPS_NATTS_COMMIT_DECISION 4
#define RUNOPS_ANUM_DECISION_TRANSACTION 1
#define RUNOPS_ANUM_DECISION_DECIDED_AT 2
#define RUNOPS_ANUM_DECISION_STORES 3
#define RUNOPS_ANUM_DECISION_GIDS 4

/* A foreign table that the frame has written to. */
typedef struct RunopsWritten
{
	Oid			relid;
	CommandId	cid;			/* of the last statement that did */
	bool		inserted;		/* was a batch of rows inserted? */
	CommandId	inserted_cid;	/* ... by which last statement */
} RunopsWritten;

/* A command that was sent, and what its result must be like. */
typedef struct RunopsSent
{
	RunopsCommandKind kind;
	char		word[12];		/* the first word of its tag, or empty */
	bool		rows;			/* does it return rows? */
	bool		parsed;			/* was it sent with its text? */
} RunopsSent;

/* How many texts of statements a connection recognizes as used before. */
#define RUNOPS_SEEN_TEXTS 256

/* A prepared statement of a connection. */
typedef struct RunopsStatement
{
	dlist_node	node;			/* in conn->statements, last used first */
	uint32		hash;			/* of the text */
	char	   *sql;
	char		name[32];
	bool		sent;			/* was it sent to be prepared? */
	bool		ready;			/* has the store prepared it? */
} RunopsStatement;

/* The table in a store that has the tokens of transactions; see frame.c. */
#define RUNOPS_TOKEN_TABLE "runops_commit.token"

/* A connection of this backend; it lives in a memory context of its own. */
struct RunopsConn
{
	dlist_node	node;			/* in runops_conns */
	MemoryContext cxt;
	RemoteSession session;		/* libpq's connection, server and mapping */
	Oid			umid;
	uint32		server_hash;	/* syscache hash values, for invalidations */
	uint32		mapping_hash;
	RunopsServerOptions options;
	bool		used;			/* was it used since a transaction has ended? */
	TimestampTz idle_since;		/* if it can be closed by its idle_timeout; 0
								 * if it cannot */
	bool		keep;			/* keep it after the transaction? */
	Oid			relid;			/* the table that it is used for, or
								 * InvalidOid */
	bool		check_failed;	/* has the check of a transaction failed? */
	bool		checked_again;	/* was it asked since it last succeeded? */
	bool		stale;			/* was its server or mapping altered? */
	bool		standby;		/* is the server in recovery? */
	bool		reading;		/* was this server in recovery then? */
	uint64		changes;		/* runops_sentinel_changes() when it was asked */
	bool		two_phase;		/* does it take part in two-phase commits? */
	char	   *store;			/* the store, if it does */
	long		patience;		/* ms of silence before the server is tested */
	WaitEventSet *events;		/* for waits; NULL until the first one */
	int			socket_event;	/* the place of the socket in it */
	bool		waits_writable; /* does it wait until it can send, too? */
	pg_atomic_uint64 *counters; /* of the table that used it last, or NULL */
	RunopsUsage unflushed;		/* what is not added to them yet */
	RunopsServerState *state;	/* of its server, or NULL */

	/* the remote transaction */
	RunopsFrame frame;
	RunopsFrame next_frame;		/* the one that a sent BEGIN begins */
	bool		lost;			/* is the frame lost with the connection? */
	int			base_level;		/* nest level at which the frame began */
	int			level;			/* deepest nest level with a savepoint */
	Snapshot	snapshot;		/* of a read frame; registered */
	bool		wrote;			/* was a write or lock sent in this frame? */
	List	   *written;		/* of RunopsWritten */
	bool		xid_told;		/* has the store answered what follows? */
	uint64		xid;			/* the transaction's number there, with its
								 * epoch; 0 if it has none */
	int			backend_pid;	/* the process that executes it */
	char		gid[RUNOPS_GID_LEN];	/* name under which it is or will be
										 * prepared, or empty */
	RunopsPrepared prepared;
	int64		writer;			/* the row of the connection's tokens; 0: none
								 * yet */
	int64		token;			/* the last of them */
	int			token_level;	/* nest level at which the transaction has
								 * written it; 0: it has not */
	StringInfoData later;		/* commands to be sent with the next segment,
								 * each with its terminator */
	int			lock_timeout;	/* ms, as set in the frame; -1 if not set */
	bool		fresh;			/* does the segment begin the frame, or need
								 * none? */
	bool		busy;			/* is a statement being prepared to be sent? */

	/* commands that were sent and whose results are not read yet */
	RunopsSent *sent;
	int			first_sent;		/* index of the first of them */
	int			nsent;
	uint64		sent_bytes;		/* of the segments since nothing was under way */
	int			maxsent;
	int			sent_level;		/* nest level at which the segment was sent */
	bool		answered;		/* has the first of them its result? */
	uint64		nrows;			/* rows that it has returned */
	bool		failed;			/* has the store reported an error since the
								 * first command of the segments? */
	bool		by_rows;		/* do its rows arrive one at a time? */
	const char *sql;			/* the statement, for errors */
	const char *tag;			/* first word of the next statement's command
								 * tag, if its text does not begin with it */
	struct RunopsQuery *running;	/* whose statement was sent, or NULL */
	struct RunopsInsert *inserting; /* whose rows were sent, or NULL */
	int			nest;			/* nest level of the statement that is sent;
								 * 0: the current one */
	CommandId	cid;			/* ... and its number, if nest is set */
	int			carried;		/* level of a savepoint that holds rows of an
								 * outer level; 0: none */

	dlist_head	statements;
	int			nstatements;
	uint32		seen[RUNOPS_SEEN_TEXTS];	/* hash values of texts */
	int			next_seen;		/* index of the oldest of them */
	uint32		last_statement; /* number of the last prepared one */
	bool		deallocate;		/* does the store keep forgotten ones? */
	RunopsStatement *preparing;
	bool		was_ready;		/* was it prepared before this segment? */
	bool		again;			/* must the segment be sent again? */
	uint32		last_cursor;
};

/* in connection.c */
extern void runops_conn_close(RunopsConn *c);
extern void runops_conn_check_standby(RunopsConn *c, const RunopsStoreUse *use);

/* in conncheck.c */
extern bool runops_conn_compare(RemoteSession *session, Oid relid);
extern void runops_conn_check_again(RunopsConn *c);
extern void runops_conn_promoted(Oid serverid, Oid relid);
extern const char *runops_conn_set_up(RemoteSession *session);
extern void runops_conn_note_use(Oid serverid);

/* in segment.c */
extern int	runops_segment_nest(const RunopsConn *c);
extern dlist_head runops_conns;
extern void runops_segment_command(RunopsConn *c, RunopsCommandKind kind,
								   const char *sql);
extern void runops_segment_statement(RunopsConn *c, const char *sql,
									 int nparams, const char *const *values,
									 bool prepared, bool rows);
extern void runops_segment_params(RunopsConn *c, const char *sql,
								  int nparams, const char *const *values);
extern void runops_segment_sync(RunopsConn *c, bool waits);
extern PGresult *runops_segment_result(RunopsConn *c);
extern void runops_segment_finish(RunopsConn *c);
extern bool runops_segment_ready(RunopsConn *c);
pg_noreturn extern void runops_segment_wrong(RunopsConn *c, const char *detail);
extern bool runops_segment_drain(RunopsConn *c, TimestampTz by, bool may_stop,
								 PGresult **error);
extern bool runops_segment_cancel(RunopsConn *c);
extern bool runops_segment_try_send(RunopsConn *c, const char *sql,
									const char *sql2, RunopsCommandKind kind);

/* in usage.c */
extern void runops_usage_begin(RunopsConn *c, Oid relid);
extern void runops_usage_turn(RunopsConn *c);
extern void runops_usage_sent(RunopsConn *c, uint64 bytes);
extern void runops_usage_received(RunopsConn *c, uint64 bytes);
extern void runops_usage_wait_end(RunopsConn *c, const instr_time *start);
extern void runops_usage_flush(RunopsConn *c);
extern void runops_usage_lost(RunopsConn *c, int sqlerrcode);
extern void runops_usage_error(RunopsConn *c, int sqlerrcode);

/* in wire_size.c */
extern uint64 runops_parse_size(const char *name, const char *sql);
extern uint64 runops_execute_size(const char *name, int nparams,
								  const char *const *values);
extern uint64 runops_result_size(const RunopsSent *sent, const PGresult *res,
								 bool begins);
extern uint64 runops_sync_size(void);

/* in wait.c */
extern void runops_wait(RunopsConn *c, bool unsent);
extern void runops_wait_end(RunopsConn *c);

/* in idle.c */
extern void runops_idle_begin(void);
extern void runops_idle_end(void);

/* in statement_cache.c */
extern RunopsStatement *runops_statement_get(RunopsConn *c, const char *sql);
extern RunopsStatement *runops_statement_evict(RunopsConn *c);
extern void runops_statement_forget(RunopsConn *c, RunopsStatement *statement);

/* in store_error.c */
extern void runops_store_failure(RunopsConn *c, const PGresult *res,
								 const char *sql, RemoteFailure *failure);

/* in commit_record.c */

/* A store that was told to commit. */
typedef struct RunopsStorePart
{
	RunopsConn *conn;
	RunopsOutcome outcome;
	bool		asked;			/* is it known by asking, or unknown? */
	PGresult   *refusal;		/* why it has rolled back, if it has said so */
} RunopsStorePart;

extern void runops_commit_record(const RunopsStorePart *parts, int nparts);
extern int64 runops_commits_resolve(void);

/* in outcome.c */
extern RunopsOutcome runops_outcome_ask(PGconn *conn, const RunopsRemoteXact *xact,
										TimestampTz by, bool *answered);
extern RunopsOutcome runops_outcome_ask_again(PGconn *old, const RunopsRemoteXact *xact,
											  TimestampTz by);

/* in two_phase.c */
extern bool runops_two_phase_begin(int *nplain);
extern void runops_two_phase_decide(void);
extern void runops_two_phase_prepare(void);
extern void runops_two_phase_commit(void);
extern bool runops_two_phase_send_rollback(RunopsConn *c);
extern void runops_two_phase_abort(void);
extern char *runops_two_phase_prefix(void);

/* in insert.c */
extern void runops_inserts_abort(int level);
extern void runops_inserts_end_level(int level);

/* in frame.c */
extern void runops_frame_settle(RunopsConn *c);
extern void runops_frame_require(RunopsConn *c, RunopsNeed need,
								 Snapshot snapshot);
extern void runops_frame_later(RunopsConn *c, const char *sql);
extern bool runops_frame_is_ending(const RunopsConn *c);
extern void runops_frame_end_read(RunopsConn *c, Snapshot snapshot);
extern void runops_frame_note_write(RunopsConn *c, CommandId cid, Oid relid,
									bool inserts);
extern bool runops_frame_again(RunopsConn *c);
extern void runops_frame_check_read(RunopsConn *c, const RunopsQuery *q);
extern bool runops_frame_has_open(RunopsConn *c);
extern void runops_frame_forget(RunopsConn *c);
extern void runops_conn_xact(const RunopsConn *c, RunopsRemoteXact *xact);
extern dlist_head runops_queries;

#endif							/* RUNOPS_ENGINE_INT_H */
