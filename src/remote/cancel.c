/*-------------------------------------------------------------------------
 *
 * cancel.c
 *	  Cancels, within a second, the query that a store still runs for a
 *	  transaction that is aborted here.
 *
 * postgres_fdw sends a cancel request and waits up to 30 seconds for its
 * effect, and libpq waits without a limit until the other server accepts the
 * request.  If that server no longer answers, the user's own cancel would seem
 * to have no effect.  So this file cancels the query before postgres_fdw tries
 * to.  If that does not succeed in time, it breaks the connection, and the
 * store notices that by itself.
 *
 * No function here may raise an error: they run while a transaction is
 * aborted.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libpq/pqcomm.h"
#include "port/pg_bswap.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "remote/remote.h"

/* Milliseconds for the server to give any answer. */
#define PING_BUDGET 400

/* The socket of the cancel request that is being sent, or -1. */
static volatile sig_atomic_t request_sock = -1;

/*
 * Wait for an event on a socket until the time is over; returns whether there
 * was one.
 */
static bool
wait_socket(int sock, short events, TimestampTz end)
{
	for (;;)
	{
		struct pollfd pfd = {.fd = sock, .events = events};
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
		int			rc = poll(&pfd, 1, (int) left);

		if (rc >= 0 || errno != EINTR)
			return rc > 0;
	}
}

/*
 * Does the server at the other end of a connection answer?
 *
 * This sends a request for SSL.  The server answers it with one byte before it
 * asks for a user.
 */
static bool
server_answers(PGconn *conn, TimestampTz end)
{
	struct sockaddr_storage addr;
	socklen_t	len = sizeof(addr);
	uint32		request[2] = {pg_hton32(sizeof(request)), pg_hton32(NEGOTIATE_SSL_CODE)};
	char		answer;
	bool		result = false;
	int			sock;

	if (getpeername(PQsocket(conn), (struct sockaddr *) &addr, &len) < 0)
		return false;
	sock = socket(addr.ss_family, SOCK_STREAM, 0);
	if (sock < 0)
		return false;

	if (fcntl(sock, F_SETFL, O_NONBLOCK) == 0 &&
		(connect(sock, (struct sockaddr *) &addr, len) == 0 ||
		 (errno == EINPROGRESS && wait_socket(sock, POLLOUT, end))) &&
		send(sock, request, sizeof(request), MSG_NOSIGNAL) == sizeof(request) &&
		wait_socket(sock, POLLIN, end))
		result = recv(sock, &answer, 1, 0) >= 0;
	close(sock);

	return result;
}

/*
 * Is this a result of COPY?  If it is, the caller must call
 * runops_conn_break(), because libpq returns the result again and again until
 * the data has been transferred.
 */
bool
runops_conn_is_copy(const PGresult *res)
{
	ExecStatusType status = PQresultStatus(res);

	return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

/*
 * Timeout handler: the time of a cancel request is over, so end it.
 */
static void
stop_request(void)
{
	if (request_sock >= 0)
		shutdown(request_sock, SHUT_RDWR);
}

/*
 * Send a cancel request within the time that a request may take; returns
 * whether it was sent.
 *
 * PQcancel() waits until the other server closes the connection that it makes
 * for the request, and no interrupt ends that wait.  Shutting down its socket
 * ends it, so a timeout handler does that.  libpq does not return the socket,
 * but a new socket gets the lowest free number.
 */
static bool
send_request(PGconn *conn)
{
	static TimeoutId timeout_id = MAX_TIMEOUTS;
	PGcancel   *cancel = PQgetCancel(conn);
	char		errbuf[256];
	int			sock = dup(PQsocket(conn));
	bool		sent = false;

	if (timeout_id == MAX_TIMEOUTS)
		timeout_id = RegisterTimeout(USER_TIMEOUT, stop_request);

	if (cancel != NULL && sock >= 0)
	{
		close(sock);
		request_sock = sock;
		enable_timeout_after(timeout_id, PING_BUDGET);
		sent = PQcancel(cancel, errbuf, sizeof(errbuf));
		disable_timeout(timeout_id, false);
		request_sock = -1;
	}
	PQfreeCancel(cancel);

	return sent;
}

/*
 * Break a connection; libpq then knows that it is lost.
 *
 * Afterwards nothing waits for a result, whatever the other end sends.
 */
void
runops_conn_break(PGconn *conn)
{
	if (PQsocket(conn) >= 0)
		shutdown(PQsocket(conn), SHUT_RDWR);

	/* libpq notices when it reads */
	while (PQstatus(conn) == CONNECTION_OK && PQconsumeInput(conn))
		;
}

/*
 * Does the server of a connection still greet a new client?
 *
 * A server that executes a long statement does.
 */
bool
runops_conn_answers(PGconn *conn)
{
	return PQsocket(conn) >= 0 &&
		server_answers(conn, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PING_BUDGET));
}

/*
 * Ask the store to cancel the query that runs on a connection; returns whether
 * the request was sent.
 */
bool
runops_conn_request_cancel(PGconn *conn)
{
	return runops_conn_answers(conn) && send_request(conn);
}

/*
 * Wait until a connection is readable, or also writable; returns false if the
 * time is over before.  This is not interrupted.
 */
bool
runops_conn_poll(PGconn *conn, bool writable, TimestampTz by)
{
	return wait_socket(PQsocket(conn), writable ? POLLIN | POLLOUT : POLLIN, by);
}

/*
 * Has the other end closed an idle connection?
 *
 * This sends nothing.  It reads messages that have arrived unasked: notices,
 * or the reason why the session was ended.
 */
bool
runops_conn_is_dead(PGconn *conn)
{
	for (int i = 0; i < 3; i++)
	{
		char		byte;
		ssize_t		n;

		if (PQstatus(conn) != CONNECTION_OK || PQsocket(conn) < 0)
			return true;
		n = recv(PQsocket(conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0)
			return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
		if (n == 0 || !PQconsumeInput(conn))
			return true;
		(void) PQisBusy(conn);
	}

	return false;
}
