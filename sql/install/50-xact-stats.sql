/*
 * Counters of the work in each store since the last reset.
 */

CREATE FUNCTION runops._stats(
	OUT store text, OUT relation oid,
	OUT statements_single bigint, OUT statements_multi bigint, OUT rows bigint, OUT turns bigint,
	OUT connections_opened bigint, OUT gate_refusals bigint, OUT unclassifiable bigint,
	OUT reader_reads bigint, OUT bytes_sent bigint, OUT bytes_received bigint, OUT wait_time double precision,
	OUT errors_connection bigint, OUT errors_canceled bigint, OUT errors_other bigint, OUT unknown_outcomes bigint,
	OUT stats_reset timestamptz)
	RETURNS SETOF record
	LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_stats';

-- Dropped tables keep their counters, but the view does not show them.  Legacy
-- rows in this database are not counted, so their number is NULL and not zero.
CREATE VIEW runops.stats AS
SELECT s.store, c.oid::pg_catalog.regclass AS relation,
	s.statements_single, s.statements_multi,
	CASE WHEN s.store OPERATOR(pg_catalog.<>) 'legacy' OR runops._is_elsewhere('legacy') THEN s.rows END AS rows,
	s.turns, s.connections_opened, s.gate_refusals, s.unclassifiable, s.reader_reads,
	s.bytes_sent, s.bytes_received, s.wait_time, s.errors_connection, s.errors_canceled, s.errors_other, s.unknown_outcomes,
	s.stats_reset
FROM runops._stats() s
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) s.relation AND c.relkind OPERATOR(pg_catalog.=) 'p';

COMMENT ON VIEW runops.stats IS 'counters of the work in each store for each routed table; empty unless the library is preloaded';
GRANT SELECT ON runops.stats TO PUBLIC;

CREATE FUNCTION runops.reset_stats() RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_reset_stats';
COMMENT ON FUNCTION runops.reset_stats() IS 'sets the counters of this database to zero';

REVOKE EXECUTE ON FUNCTION runops.reset_stats() FROM PUBLIC;

/*
 * Whether the last use of a server by a statement has succeeded: the error since
 * which it fails, and the time of that error; NULL if it works, or was not used.
 */
CREATE FUNCTION runops._server_state(server oid, OUT sqlstate text, OUT since timestamptz)
	RETURNS record
	LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_server_state_sql';
