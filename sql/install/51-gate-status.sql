/*
 * Status: the state of the gate, the stores and the routed tables.  It is read
 * only from shared memory and the catalogs.
 */

CREATE FUNCTION runops._flag() RETURNS boolean
	LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_flag';

CREATE FUNCTION runops._gate_reason() RETURNS text
	LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_gate_reason';

CREATE FUNCTION runops._verdict(server oid, OUT verdict text, OUT reason text, OUT hint text,
								OUT since timestamptz, OUT checked_at timestamptz, OUT in_recovery boolean)
	RETURNS record
	LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_verdict';

/* The verdict on each server of each store. */
/* Is a collation known to behave in the database of a server as it does here? */
CREATE FUNCTION runops._same_collation(server oid, collation oid) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_same_collation';

CREATE FUNCTION runops._store_verdicts() RETURNS TABLE (
	store text, is_reader boolean, server name, verdict text, reason text, hint text, since timestamptz)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.store, x.is_reader, x.server,
		coalesce(v.verdict, 'unknown'),
		CASE WHEN f.oid IS NULL THEN 'The server does not exist.'
			 WHEN v.checked_at IS NULL AND v.reason IS NULL THEN coalesce(runops._gate_reason(), 'It has not been checked yet.')
			 ELSE v.reason END,
		v.hint, v.since
	FROM runops.stores s
	CROSS JOIN LATERAL (VALUES (false, s.server), (true, s.reader)) AS x (is_reader, server)
	LEFT JOIN pg_foreign_server f ON f.srvname = x.server
	LEFT JOIN LATERAL runops._verdict(f.oid) v ON true
	WHERE x.server IS NOT NULL
$$;

CREATE FUNCTION runops.status() RETURNS TABLE (item text, state text, reason text, since timestamptz)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
	WITH flag (state, preloaded, closed) AS (
		SELECT CASE WHEN runops._flag() THEN 'on' ELSE 'off' END, runops._flag() IS NOT NULL, runops._gate_reason()
	), server AS (
		SELECT * FROM runops._store_verdicts()
	), gate AS (
		SELECT count(*) FILTER (WHERE v.store <> 'legacy') AS stores, count(*) FILTER (WHERE v.verdict = 'distinct') AS proved,
			count(*) FILTER (WHERE v.verdict <> 'distinct') AS unproved, max(v.since) AS since,
			string_agg(format('Store "%s": %s', v.store, v.reason), ' ' ORDER BY v.store) FILTER (WHERE v.verdict <> 'distinct') AS reason
		FROM server v WHERE NOT v.is_reader
	), read_gate AS (
		SELECT count(*) AS stores, count(*) FILTER (WHERE v.verdict <> 'distinct') AS unproved, max(v.since) AS since,
			string_agg(format('Server "%s" of store "%s": %s', v.server, v.store, v.reason), ' ' ORDER BY v.store, v.is_reader)
				FILTER (WHERE v.verdict <> 'distinct') AS reason
		FROM server v WHERE v.store <> 'legacy'
	), legacy AS (
		SELECT v.verdict, v.reason, v.since FROM server v WHERE v.store = 'legacy' AND NOT v.is_reader
	)
	SELECT x.item, x.state, x.reason, x.since
	FROM (
		SELECT 1, 'flag', f.state,
			format('The setting "runops.split_enabled" is %s%s.', f.state,
				   CASE WHEN f.state = 'off' AND EXISTS (SELECT FROM runops.held_rows) THEN ', and stores hold rows that no statement finds' ELSE '' END),
			pg_postmaster_start_time()
		FROM flag f
		UNION ALL
		SELECT 2, 'preload', CASE WHEN f.preloaded THEN 'on' ELSE 'off' END,
			format('The library is %sin "shared_preload_libraries".', CASE WHEN f.preloaded THEN '' ELSE 'not ' END), pg_postmaster_start_time()
		FROM flag f
		UNION ALL
		SELECT 3, 'realtime', r.state, format('The setting "runops.native_realtime_enabled" is %s.', r.state), pg_postmaster_start_time()
		FROM flag f CROSS JOIN LATERAL (SELECT CASE WHEN f.preloaded THEN current_setting('runops.native_realtime_enabled') ELSE 'off' END) AS r (state)
		UNION ALL
		SELECT 4, 'gate',
			CASE WHEN f.closed IS NOT NULL OR g.stores = 0 OR g.proved = 0 THEN 'closed' WHEN g.unproved = 0 THEN 'open' ELSE 'partly open' END,
			CASE WHEN f.closed IS NOT NULL THEN f.closed WHEN g.stores = 0 THEN 'No store is configured.'
				 ELSE coalesce(g.reason, 'Every store is proved to be another database.') END,
			CASE WHEN f.closed IS NULL THEN g.since ELSE pg_postmaster_start_time() END
		FROM flag f, gate g
		UNION ALL
		SELECT 5, 'read_gate',
			CASE WHEN f.closed IS NULL AND g.stores > 0 AND g.unproved = 0 THEN 'open' ELSE 'closed' END,
			CASE WHEN f.closed IS NOT NULL THEN f.closed WHEN g.stores = 0 THEN 'No store is configured.'
				 ELSE coalesce(g.reason, 'No server of a store is this database or a standby of it.') END,
			CASE WHEN f.closed IS NULL THEN g.since ELSE pg_postmaster_start_time() END
		FROM flag f, read_gate g
		UNION ALL
		SELECT 6, 'co_residency',
			CASE WHEN l.verdict IS NULL OR l.verdict = 'same' THEN 'true' WHEN l.verdict = 'distinct' THEN 'false' ELSE 'unknown' END,
			CASE WHEN l.verdict IS NULL THEN 'Store "legacy" is this database.'
				 ELSE coalesce(l.reason, 'Store "legacy" is proved to be another database.') END, l.since
		FROM (SELECT) AS one LEFT JOIN legacy l ON true
		UNION ALL
		SELECT 7, 'store:' || s.store, coalesce(w.verdict, 'local'),
			concat_ws(' ', coalesce(w.reason, CASE WHEN w.verdict IS NULL THEN 'It is this database.' ELSE 'It is proved to be another database.' END),
					  'Its reader "' || r.server || '": ' || r.verdict || '.', r.reason), w.since
		FROM runops.stores s
		LEFT JOIN server w ON w.store = s.store AND NOT w.is_reader
		LEFT JOIN server r ON r.store = s.store AND r.is_reader
		UNION ALL
		SELECT 8, 'connection:' || v.store, CASE WHEN count(e.since) = 0 THEN 'ok' ELSE 'failing' END,
			coalesce(string_agg(format('The last use of server "%s" has failed with SQLSTATE %s.', v.server, e.sqlstate), ' ' ORDER BY v.is_reader)
						FILTER (WHERE e.since IS NOT NULL), 'No use of the store by a statement has failed, or a later one has succeeded.'),
			min(e.since)
		FROM server v
		LEFT JOIN pg_foreign_server f ON f.srvname = v.server
		LEFT JOIN LATERAL runops._server_state(f.oid) e ON true
		GROUP BY v.store
		UNION ALL
		SELECT 9, format('table:%s.%s', c.relnamespace::regnamespace::name, c.relname),
			CASE WHEN m.missing IS NULL THEN 'complete' ELSE 'incomplete' END,
			CASE WHEN m.missing IS NULL THEN format('Its key is %s.', t.key) ELSE format('There is no leaf for store %s.', m.missing) END, NULL
		FROM runops.routed_tables t
		JOIN pg_class c ON c.oid = t.relation
		CROSS JOIN LATERAL (SELECT string_agg(s.store, ', ' ORDER BY s.store) FROM runops.stores s
							WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = t.relation
											  AND runops._store_of_leaf(i.inhrelid) = s.store)) AS m (missing)
		UNION ALL
		-- nothing, while there is nothing to tell
		SELECT 9, 'commits', CASE WHEN bool_or(f.outcome = 'unknown') THEN 'unknown' ELSE 'committed' END,
			format('Transactions that are rolled back here: %s committed in a store, %s perhaps committed. The view "runops.commit_failures" lists them.',
				   count(DISTINCT f.id) FILTER (WHERE f.outcome = 'committed'), count(DISTINCT f.id) FILTER (WHERE f.outcome = 'unknown')),
			min(f.failed_at)
		FROM runops.commit_failures f WHERE f.outcome <> 'rolled back'
		HAVING count(*) > 0
	) AS x (o, item, state, reason, since)
	ORDER BY x.o, x.item
$$;
COMMENT ON FUNCTION runops.status() IS 'state of the gate, the stores and the routed tables; opens no connection';

REVOKE EXECUTE ON FUNCTION
	runops._flag(),
	runops._gate_reason(),
	runops._verdict(oid),
	runops._server_state(oid),
	runops._same_collation(oid, oid),
	runops._store_verdicts(),
	runops.status()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	runops._flag(),
	runops._gate_reason(),
	runops._verdict(oid),
	runops._server_state(oid),
	runops._store_verdicts(),
	runops.status()
TO pg_monitor;
