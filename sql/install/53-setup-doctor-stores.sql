/*
 * Doctor, second part: checks of the stores, and runops.doctor() itself.
 */

/*
 * The state of a store, without the definitions of its tables.  One query reads
 * it, as the caller's remote user.
 */
CREATE FUNCTION runops._store_state(store text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	tables CONSTANT text := runops._values_sql(
		ARRAY(SELECT format('(%L::text, %L::name, %L::name)', p.relation::oid, p.remote_schema, p.remote_table) FROM runops._placements(store) p),
		'NULL::text, NULL::name, NULL::name');
BEGIN
	RETURN runops._remote_object(store, format($q$
		SELECT jsonb_build_object(
			'recovery', pg_is_in_recovery(),
			'read_only', current_setting('default_transaction_read_only')::boolean,
			'port', current_setting('port'),
			'pooled', current_setting('runops_session.backend_pid') <> pg_backend_pid()::text,
			'role', session_user,
			'collation', (SELECT jsonb_build_object('recorded', d.datcollversion, 'actual', pg_database_collation_actual_version(d.oid))
						  FROM pg_database d WHERE d.datname = current_database()),
			'settings', (SELECT jsonb_object_agg(s.name, s.setting::bigint) FROM pg_settings s
						 WHERE s.name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')),
			'max_prepared', current_setting('max_prepared_transactions')::bigint,
			'prepared', (SELECT coalesce(jsonb_agg(x.gid ORDER BY x.prepared), '[]') FROM pg_prepared_xacts x
						 WHERE x.database = current_database() AND starts_with(x.gid, 'runops_')
							AND x.prepared < clock_timestamp() - '1 min'::interval),
			'connections', (SELECT least(
					(SELECT sum(CASE WHEN s.name = 'max_connections' THEN s.setting::bigint ELSE - s.setting::bigint END) FROM pg_settings s
					 WHERE s.name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')),
					nullif(d.datconnlimit, -1), nullif(r.rolconnlimit, -1))
				FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = session_user),
			'triggers', (SELECT coalesce(jsonb_object_agg(x.tag, x.names), '{}') FROM (
				SELECT v.tag, jsonb_agg(g.tgname) AS names
				FROM (%1$s) AS v (tag, nsp, name)
				JOIN pg_namespace n ON n.nspname = v.nsp
				JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.name
				JOIN pg_trigger g ON g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D'
				GROUP BY v.tag) AS x),
			'rules', (SELECT coalesce(jsonb_agg(format('%%I of table %%I.%%I', w.rulename, v.nsp, v.name) ORDER BY v.nsp, v.name, w.rulename), '[]')
				FROM (%1$s) AS v (tag, nsp, name)
				JOIN pg_namespace n ON n.nspname = v.nsp
				JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.name AND c.relkind IN ('r', 'p')
				JOIN pg_rewrite w ON w.ev_class = c.oid AND w.ev_enabled <> 'D'),
			'unlogged', (SELECT coalesce(jsonb_agg(v.tag), '[]')
				FROM (%1$s) AS v (tag, nsp, name)
				JOIN pg_namespace n ON n.nspname = v.nsp
				JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.name AND c.relpersistence = 'u'),
			'unanalyzed', (SELECT coalesce(jsonb_agg(format('%%I.%%I', v.nsp, v.name)), '[]')
				FROM (%1$s) AS v (tag, nsp, name)
				JOIN pg_namespace n ON n.nspname = v.nsp
				JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.name
				WHERE c.relkind IN ('r', 'p') AND c.reltuples < 0 AND (c.relkind = 'p' OR pg_relation_size(c.oid) > 0)),
			'filled', (SELECT coalesce(jsonb_agg(x.tag ORDER BY x.size DESC, x.tag), '[]') FROM (
				SELECT v.tag, CASE c.relkind WHEN 'r' THEN pg_relation_size(c.oid)
					ELSE (SELECT sum(pg_relation_size(l.relid)) FROM pg_partition_tree(c.oid) l WHERE l.isleaf) END AS size
				FROM (%1$s) AS v (tag, nsp, name)
				JOIN pg_namespace n ON n.nspname = v.nsp
				JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.name AND c.relkind IN ('r', 'p')) AS x
				WHERE x.size > 0)
			) AS state$q$, tables),
		'{"recovery": "boolean", "read_only": "boolean", "port": "string", "role": "string", "triggers": "object",
		  "max_prepared": "number", "prepared": "array", "rules": "array", "unlogged": "array", "unanalyzed": "array", "filled": "array"}');
END
$$;

/* Defects of the server of a store, from its state. */
CREATE FUNCTION runops._doctor_store(store text, state jsonb) RETURNS SETOF runops._finding
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT x.severity, format('store %s', _doctor_store.store), x.finding, x.hint, x.kind
	FROM (SELECT s.server,
			coalesce((SELECT o.option_value::boolean FROM pg_foreign_server f, pg_options_to_table(f.srvoptions) o
					  WHERE f.srvname = s.server AND o.option_name = 'pooled'), false)
		FROM runops.stores s WHERE s.store = _doctor_store.store) AS w (server, pooled)
	CROSS JOIN (SELECT
		(SELECT least(current_setting('max_connections')::bigint, nullif(d.datconnlimit, -1))
		 FROM pg_database d WHERE d.datname = current_database()),
		(state ->> 'connections')::bigint) AS l (connections, remote_connections)
	CROSS JOIN (SELECT count(x.decision) AS ours, count(*) - count(x.decision) AS others
				FROM jsonb_array_elements_text(state -> 'prepared') g
				CROSS JOIN LATERAL (SELECT runops._prepared_decision(g) AS decision) x) AS p
	CROSS JOIN LATERAL (SELECT EXISTS (
		SELECT FROM pg_foreign_server f, pg_options_to_table(f.srvoptions) o
		WHERE f.srvname = w.server AND o.option_name = 'two_phase' AND o.option_value::boolean) AS two_phase) AS t
	LEFT JOIN LATERAL (SELECT o.option_value AS port FROM pg_foreign_server f, pg_options_to_table(f.srvoptions) o
					   WHERE f.srvname = w.server AND o.option_name = 'port') AS o ON true
	CROSS JOIN LATERAL (VALUES
		(state -> 'recovery' = 'true', 'error', format('server %I is a standby, so it refuses every write', w.server),
			'Point the server at the primary. A standby can be the reader.', 'its server is a standby, so it refuses every write'),
		(state -> 'recovery' = 'false' AND state -> 'read_only' = 'true', 'error',
			format('transactions of role "%s" are read-only there', state ->> 'role'),
			'Reset "default_transaction_read_only" of the role or the database in the store.', 'transactions are read-only there'),
		(state #>> '{collation,recorded}' <> state #>> '{collation,actual}', 'error',
			format('version %s of the default collation is in use there, but its indexes on text were built with version %s, so they may not find rows',
				   state #>> '{collation,actual}', state #>> '{collation,recorded}'),
			'Use REINDEX DATABASE there, and then ALTER DATABASE ... REFRESH COLLATION VERSION.',
			'indexes on text were built there with another version of the default collation, so they may not find rows'),
		(l.connections > l.remote_connections AND NOT w.pooled, 'warning',
			format('up to %s sessions of this database may each hold a connection, but the store allows only %s', l.connections, l.remote_connections),
			'Raise "max_connections" in the store, or limit the connections of this database.',
			'each session of this database may hold a connection, but the store allows fewer connections'),
		(t.two_phase AND state -> 'max_prepared' = '0', 'error',
			format('server %I has the option "two_phase", but "max_prepared_transactions" is 0 there, so transactions over two databases fail', w.server),
			'Raise "max_prepared_transactions" in the store and restart it, or set the option "two_phase" of the server to false.',
			'its server has the option "two_phase", but "max_prepared_transactions" is 0 there, so transactions over two databases fail'),
		(t.two_phase AND state -> 'max_prepared' <> '0' AND l.connections > (state ->> 'max_prepared')::bigint, 'info',
			format('up to %s sessions of this database may each prepare a transaction, but "max_prepared_transactions" is %s there', l.connections, state ->> 'max_prepared'),
			'Raise "max_prepared_transactions" in the store to the number of sessions that write to several databases at once.',
			'each session of this database may prepare a transaction, but "max_prepared_transactions" is lower there'),
		(p.ours > 0, 'warning',
			format('transactions of this database are prepared there for a minute or more, and hold locks; number: %s', p.ours),
			'The view "runops.prepared_transactions" shows why they are not finished.',
			'transactions of this database are prepared there for a minute or more, and hold locks'),
		(p.others > 0, 'warning',
			format('transactions of another control plane are prepared there for a minute or more, and hold locks; number: %s', p.others),
			'If that control plane does not exist any more, finish them in the store by COMMIT PREPARED or ROLLBACK PREPARED.',
			'transactions of another control plane are prepared there for a minute or more, and hold locks'),
		(state -> 'pooled' = 'true' AND NOT w.pooled, 'info',
			format('server %I is a connection pooler, because the process that answers is not the process that accepted the connection', w.server),
			'If it works in transaction mode, use ALTER SERVER to add the option "pooled".',
			'its server is a connection pooler'),
		(state -> 'pooled' = 'false' AND o.port <> state ->> 'port', 'info',
			format('the server option is port %s but the store listens on port %s, so a proxy is between them', o.port, state ->> 'port'),
			'Check that the proxy forwards connections unchanged, or connect to the store itself.',
			'the store listens on another port than the server option says, so a proxy is between them')
	) AS x (found, severity, finding, hint, kind)
	WHERE x.found
	UNION ALL
	SELECT 'warning', format('store %s', store),
		format('"%s" is %s ms there and %s here: %s', t.name, r.there, CASE h.here WHEN 0 THEN 'off' ELSE h.here || ' ms' END, t.consequence),
		'Set it here to at most the value in the store.', format('"%s" is lower there: %s', t.name, t.consequence)
	FROM (VALUES ('statement_timeout', 'the store cancels statements that this database would let run'),
			('idle_in_transaction_session_timeout', 'a transaction that pauses here loses its connection to the store'),
			('transaction_timeout', 'the store ends transactions that this database would let run')) AS t (name, consequence)
	CROSS JOIN LATERAL (SELECT coalesce((SELECT s.setting::bigint FROM pg_settings s WHERE s.name = t.name), 0)) AS h (here)
	CROSS JOIN LATERAL (SELECT (state -> 'settings' ->> t.name)::bigint) AS r (there)
	WHERE r.there > 0 AND (h.here = 0 OR h.here > r.there)
	UNION ALL
	SELECT 'warning', format('store %s: rule %s', store, rule), 'changes the effect of statements',
		'Drop the rule there, and use a trigger of the routed table or of the table there instead.', NULL
	FROM jsonb_array_elements_text(state -> 'rules') rule
	UNION ALL
	SELECT 'warning', format('store %s: table %I.%I', store, p.remote_schema, p.remote_table),
		'is unlogged, so a crash of the store empties it',
		format('Run there: ALTER TABLE %I.%I SET LOGGED;', p.remote_schema, p.remote_table), NULL
	FROM runops._placements(_doctor_store.store) p
	JOIN pg_class c ON c.oid = p.leaf AND c.relpersistence = 'p'
	WHERE state -> 'unlogged' ? p.relation::oid::text
	UNION ALL
	SELECT 'info', format('store %s: table %s', store, t), 'was never analyzed there',
		format('Run ANALYZE %s there.', t), NULL
	FROM jsonb_array_elements_text(state -> 'unanalyzed') t
$$;

/*
 * The tables in groups, one for each query.  A query runs with the rights of one
 * owner.  It locks all its tables and their indexes, so it is about at most 100 of
 * them.  The tables stay in order.
 */
CREATE FUNCTION runops._query_groups(relations regclass[]) RETURNS TABLE (members regclass[])
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT array_agg(x.relation ORDER BY x.o)
	FROM (SELECT r.relation, r.o, c.relowner, (row_number() OVER (PARTITION BY c.relowner ORDER BY r.o) - 1) / 100 AS part
		  FROM unnest(relations) WITH ORDINALITY AS r (relation, o) JOIN pg_class c ON c.oid = r.relation) AS x
	GROUP BY x.relowner, x.part
	ORDER BY min(x.o)
$$;

/*
 * Rows of a store that belong to another store, and whether the store holds rows
 * of routed tables.
 *
 * "filled" are the tables that have pages in the store, the largest first; other
 * tables have no rows.  "unchecked" are the tables whose CHECK on the ids is
 * missing or not validated.  Only these are searched for misplaced rows, because
 * the search reads a whole table.  No search begins after "patience" has passed.
 */
CREATE FUNCTION runops._doctor_rows(store text, filled regclass[], unchecked regclass[], patience interval DEFAULT '10 s') RETURNS SETOF runops._finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	started CONSTANT timestamptz := clock_timestamp();
	members regclass[];
	has_rows boolean := false;
BEGIN
	FOR members IN SELECT g.members FROM runops._query_groups(unchecked) g LOOP
		IF clock_timestamp() - started > patience THEN
			RETURN QUERY SELECT 'warning', format('store %s: table %s', store, r),
				'its rows were not checked, because the time limit was reached',
				format('Use runops.verify(%L), which has no time limit.', r), NULL::text
			FROM unnest(members) r;
			CONTINUE;
		END IF;
		RETURN QUERY SELECT 'error', format('store %s: table %s', store, m.relation),
			format('rows belong to another store, so queries by id do not find them: %s%s', m.n, CASE WHEN m.n = 100 THEN ' or more' ELSE '' END),
			format('Use runops.verify(%L) to list the rows, then move or delete them.', m.relation),
			'rows belong to another store, so queries by id do not find them'
		FROM runops._count_misplaced(store, members, 100) m
		WHERE m.n > 0;
	END LOOP;

	-- legacy cannot be dropped while tables are routed
	IF store <> 'legacy' THEN
		FOR members IN SELECT g.members FROM runops._query_groups(filled) g LOOP
			has_rows := EXISTS (SELECT FROM runops._owner_query(members[1], 'SELECT r FROM store_rows', store,
				format('SELECT 1 AS one FROM (%s) AS x LIMIT 1', (
					SELECT string_agg(format('(SELECT FROM %I.%I LIMIT 1)', p.remote_schema, p.remote_table), ' UNION ALL '
									  ORDER BY array_position(members, p.relation))
					FROM runops._placements(store) p WHERE p.relation = ANY (members)))) AS q (r jsonb));
			EXIT WHEN has_rows;
		END LOOP;
		IF NOT has_rows THEN
			RETURN QUERY SELECT 'info', format('store %s', store), 'holds no row of a routed table',
				format('If ids of this store are not minted any more, use runops.drop_store(%L); see docs/turning-off.md.', store), NULL::text;
		END IF;
	END IF;
END
$$;

/*
 * What is computed here because it depends on a collation that may be another one
 * in the store, and what the store computes all the same when it writes a row.
 */
CREATE FUNCTION runops._doctor_collations(store text) RETURNS SETOF runops._finding
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT DISTINCT 'warning', format('store %s: %s', _doctor_collations.store,
			CASE WHEN c.oid = 'pg_catalog."default"'::regcollation THEN 'the default collation' ELSE 'collation ' || c.oid::regcollation END),
		'is not known to behave there as it does here, so ranges, sorts, min, max, changes of case and regular expressions '
		'are computed here, for all rows that the other conditions select there',
		'Use a database with the encoding and the default collation of this one, on a host with the same version of the locale library, '
		'or declare such columns COLLATE "C", here and in the store.', NULL
	FROM runops.stores s
	JOIN pg_foreign_server f ON f.srvname = s.server
	JOIN pg_foreign_table t ON t.ftserver = f.oid
	JOIN pg_attribute a ON a.attrelid = t.ftrelid AND a.attnum > 0 AND NOT a.attisdropped
	JOIN pg_collation c ON c.oid = a.attcollation
	WHERE s.store = _doctor_collations.store AND NOT runops._same_collation(f.oid, c.oid)
	UNION ALL
	SELECT 'warning', format('store %s: %s', _doctor_collations.store, e.object),
		'depends on a collation or encoding that is not known to behave there as it does here, but the store computes it when it writes a row',
		'Use a database with the encoding and the default collation of this one, or COLLATE "C" in the expression.', NULL
	FROM runops.stores s
	JOIN pg_foreign_server f ON f.srvname = s.server
	CROSS JOIN LATERAL runops._placements(s.store) p
	CROSS JOIN LATERAL (
		SELECT format('column %I of table %s', a.attname, p.relation), d.adbin
		FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
		WHERE d.adrelid = p.leaf AND a.attgenerated = 's'
		UNION ALL
		SELECT format('constraint %I on table %s', c.conname, p.relation), c.conbin
		FROM pg_constraint c WHERE c.conrelid = p.leaf AND c.contype = 'c'
		UNION ALL
		SELECT format('unique index %s of table %s', i.indexrelid::regclass, p.relation), x.tree
		FROM pg_index i CROSS JOIN LATERAL (VALUES (i.indexprs), (i.indpred)) AS x (tree)
		WHERE i.indrelid = p.leaf AND i.indisunique) AS e (object, tree)
	WHERE s.store = _doctor_collations.store AND runops._expression_differs(f.oid, e.tree)
$$;

/*
 * Differences between the tables of a store and the tables here, and defects of
 * their rows.  "here" are the facts of the tables here, "state" is the state of
 * the store.  _doctor_collations() tells of the default collation.
 */
CREATE FUNCTION runops._doctor_drift(store text, here jsonb, state jsonb) RETURNS SETOF runops._finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	relations CONSTANT regclass[] := runops._routed_relations(NULL);
	parity CONSTANT runops._parity[] := ARRAY(SELECT r FROM runops._parity_rows(store, relations, here) r WHERE r.action <> 'exists' AND r.kind <> 'schema'
		AND NOT (r.kind = 'database' AND r.detail LIKE 'default collation %'));
	filled CONSTANT oid[] := ARRAY(SELECT r::oid FROM jsonb_array_elements_text(state -> 'filled') r);
	absent CONSTANT regclass[] := ARRAY(SELECT p.relation FROM unnest(parity) p WHERE p.kind = 'table');
BEGIN
	RETURN QUERY
	SELECT CASE WHEN p.kind IN ('index', 'constraint', 'trigger', 'partitioned') THEN 'warning' ELSE 'error' END,
		format('store %s: %s', store, p.object), coalesce(p.detail, 'missing in the store'),
		CASE WHEN p.action = 'create' THEN format('Use runops.provision(%L).', store)
			 WHEN p.kind = 'partitioned' THEN 'Give the table a primary key, or use a plain table there.'
			 WHEN p.kind = 'trigger' THEN 'Use ALTER FUNCTION ... SET there to set search_path for the function.'
			 ELSE coalesce('Run there: ' || p.ddl || ';', 'Make the object equal on both sides.') END,
		format(CASE WHEN p.kind = 'privilege' THEN 'the remote user may not do there what the local role may do here'
			   WHEN p.kind = 'partitioned' THEN 'the table in the store is itself partitioned or has children, and has no key here, so some statements on it are refused'
			   WHEN p.action = 'create' THEN '%s is missing in the store' ELSE '%s differs from the one here' END, p.kind)
	FROM unnest(parity) WITH ORDINALITY AS p (phase, relation, kind, object, action, ddl, detail, o)
	WHERE p.kind = 'table' OR p.relation IS NULL OR p.relation <> ALL (
		ARRAY(SELECT x.relation FROM unnest(parity) x WHERE x.kind = 'table' AND x.action = 'create'))
	ORDER BY p.o;

	IF cardinality(absent) < cardinality(relations) THEN
		RETURN QUERY SELECT * FROM runops._doctor_try(format('store %s', store), format('SELECT * FROM runops._doctor_rows(%L, %L, %L)',
			store,
			ARRAY(SELECT r FROM unnest(filled) WITH ORDINALITY AS f (r, o) WHERE r = ANY (relations::oid[]) AND r <> ALL (absent::oid[]) ORDER BY o),
			ARRAY(SELECT r::oid FROM unnest(relations) r
				  WHERE r <> ALL (absent) AND r::oid = ANY (filled)
					AND r IN (SELECT x.relation FROM unnest(parity) x
							  WHERE x.kind = 'constraint' AND x.object LIKE 'constraint runops\_store on %'))));
	END IF;
END
$$;

/*
 * Run one of the queries above, about the two values; an error of the query becomes
 * a finding.
 *
 * If the user cancels the query, the error is raised.  If the store cancels it,
 * the error is a finding.
 */
CREATE FUNCTION runops._doctor_try(what text, query text, a jsonb DEFAULT NULL, b jsonb DEFAULT NULL) RETURNS SETOF runops._finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	reason text;
	context text;
BEGIN
	RETURN QUERY EXECUTE query USING a, b;
EXCEPTION
	WHEN query_canceled THEN
		GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
		IF runops._cancelled_here(SQLSTATE, context) THEN
			RAISE;
		END IF;
		RETURN QUERY SELECT 'error', what, 'could not be checked: ' || runops._reason(SQLERRM, SQLSTATE, reason),
			'Raise "statement_timeout" of the role in the store.', NULL::text;
	WHEN SQLSTATE 'RO002' OR SQLSTATE 'RO007' THEN
		GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_HINT;
		RETURN QUERY SELECT 'error', what, 'the gate is closed: ' || reason, context, NULL::text;
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
		RETURN QUERY SELECT 'error', what, 'could not be checked: ' || runops._reason(SQLERRM, SQLSTATE, reason),
			'Check that the store can be reached and that the caller has the privileges, then call the function again.', NULL::text;
END
$$;

/*
 * All findings.
 *
 * No store is queried while the flag is off.  The checks of a store take three
 * queries, and another if tables lack the CHECK on their ids; see _query_groups().
 * If a query fails, the check that it belongs to ends.  No more stores are queried
 * after "patience" has passed.
 */
CREATE FUNCTION runops._doctor(patience interval DEFAULT '30 s') RETURNS SETOF runops._finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	started CONSTANT timestamptz := clock_timestamp();
	remote jsonb := '{}';
	here jsonb;
	s text;
	asked runops._finding;
BEGIN
	IF runops._flag() THEN
		here := runops._facts_here(runops._routed_relations(NULL));
		FOR s IN SELECT x.store FROM runops.stores x JOIN pg_foreign_server f ON f.srvname = x.server ORDER BY x.store LOOP
			IF clock_timestamp() - started > patience THEN
				RETURN QUERY SELECT 'warning', format('store %s', s), 'was not checked, because the time limit was reached',
					'Make the other stores answer faster, then call the function again.', NULL::text;
				CONTINUE;
			END IF;
			-- the state is returned in the column of the finding
			SELECT * INTO asked FROM runops._doctor_try(format('store %s', s),
				format('SELECT NULL::text, NULL::text, runops._store_state(%L)::text, NULL::text, NULL::text', s)) LIMIT 1;
			IF asked.severity IS NOT NULL THEN
				RETURN NEXT asked;
				CONTINUE;
			END IF;
			remote := remote || jsonb_build_object(s, asked.finding::jsonb);
			RETURN QUERY SELECT * FROM runops._doctor_try(format('store %s', s),
				format('SELECT * FROM runops._doctor_store(%L, $1)', s), asked.finding::jsonb);
			RETURN QUERY SELECT * FROM runops._doctor_try(format('store %s', s),
				format('SELECT * FROM runops._doctor_drift(%L, $1, $2)', s), here, asked.finding::jsonb);
			RETURN QUERY SELECT * FROM runops._doctor_try(format('store %s', s),
				format('SELECT * FROM runops._doctor_collations(%L)', s));
		END LOOP;
	END IF;

	RETURN QUERY SELECT * FROM runops._doctor_try('settings', 'SELECT * FROM runops._doctor_settings()');
	RETURN QUERY SELECT * FROM runops._doctor_try('mint kinds', 'SELECT * FROM runops._doctor_minting()');
	RETURN QUERY SELECT * FROM runops._doctor_try('servers', 'SELECT * FROM runops._doctor_servers()');
	RETURN QUERY SELECT * FROM runops._doctor_try('user mappings', 'SELECT * FROM runops._doctor_mappings()');
	RETURN QUERY SELECT * FROM runops._doctor_try('objects', 'SELECT * FROM runops._doctor_bound($1)', remote);
	RETURN QUERY SELECT * FROM runops._doctor_try('tables', 'SELECT * FROM runops._doctor_tables()');
	RETURN QUERY SELECT * FROM runops._doctor_try('cascades', 'SELECT * FROM runops._doctor_cascades()');
	RETURN QUERY SELECT * FROM runops._doctor_try('transactions', 'SELECT * FROM runops._doctor_commits()');
END
$$;

/*
 * The findings in one row for each kind, which names the first objects; with
 * "detail" in one row for each object.
 *
 * If the findings or the hints differ, the row has the text of the kind and the
 * hint for the first object.
 */
CREATE FUNCTION runops.doctor(detail boolean DEFAULT false) RETURNS TABLE (severity text, count bigint, object text, finding text, hint text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET runops.remote_timeout = '5s' SET jit = off
AS $$
BEGIN
	RETURN QUERY
	WITH found AS MATERIALIZED (
		SELECT d.severity, d.object, d.finding, d.hint,
			CASE WHEN detail THEN row_number() OVER () END AS one, coalesce(d.kind, d.finding) AS kind
		FROM runops._doctor() d),
	kinds AS (
		SELECT f.severity, count(*) AS n, array_agg(DISTINCT f.object ORDER BY f.object) AS objects,
			CASE WHEN count(DISTINCT f.finding) = 1 THEN min(f.finding) ELSE f.kind END AS finding,
			(array_agg(f.hint ORDER BY f.object, f.finding))[1] AS hint,
			count(DISTINCT f.hint) > 1 AS hints_differ, count(DISTINCT f.finding) > 1 AS findings_differ
		FROM found f GROUP BY f.severity, f.kind, f.one)
	SELECT k.severity, k.n, runops._some_names(k.objects), k.finding,
		CASE WHEN k.hints_differ THEN 'For the first: ' ELSE '' END || k.hint
		|| CASE WHEN k.hints_differ OR k.findings_differ OR cardinality(k.objects) > 3
				THEN ' See all by runops.doctor(detail => true).' ELSE '' END
	FROM kinds k
	ORDER BY array_position('{error,warning,info}', k.severity), k.objects, k.finding;
EXCEPTION
	WHEN insufficient_privilege THEN
		RETURN QUERY SELECT 'error', 1::bigint, format('role %I', current_user), SQLERRM,
			'Call the function as a superuser, or get EXECUTE on the functions that it calls.';
	WHEN OTHERS THEN
		RETURN QUERY SELECT 'error', 1::bigint, 'doctor', runops._reason(SQLERRM, SQLSTATE, NULL), 'Report this as a bug.';
END
$$;
COMMENT ON FUNCTION runops.doctor(boolean) IS 'finds configuration errors and unexpected behaviour, here and in the stores, and says how to correct them';

REVOKE EXECUTE ON FUNCTION
	runops._store_state(text),
	runops._doctor_store(text, jsonb),
	runops._query_groups(regclass[]),
	runops._doctor_rows(text, regclass[], regclass[], interval),
	runops._doctor_collations(text),
	runops._doctor_drift(text, jsonb, jsonb),
	runops._doctor_try(text, text, jsonb, jsonb),
	runops._doctor(interval),
	runops.doctor(boolean)
FROM PUBLIC;
