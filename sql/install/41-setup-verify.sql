/*
 * Verify: finds rows in the wrong store, and differences between the stores.
 */

/* An SQL expression that identifies a row: the primary key as text, or the key if there is no primary key. */
CREATE FUNCTION runops._identity_sql(leaf regclass, key text) RETURNS text
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE count(*) WHEN 0 THEN key
			WHEN 1 THEN min(runops._text_sql(quote_ident(a.attname), a.atttypid))
			ELSE format('ROW(%s)::text', string_agg(quote_ident(a.attname), ', ' ORDER BY k.o)) END
	FROM pg_index i
	CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, o)
	JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
	WHERE i.indrelid = leaf AND i.indisprimary AND k.o <= i.indnkeyatts
$$;

/*
 * Rows of one table in one store whose key names another store, at most max_rows.
 * Returns the identity of each row and the store that it belongs to.
 */
CREATE FUNCTION runops._misplaced(store text, place runops._placement, max_rows int) RETURNS TABLE (id text, belongs_to text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	identity CONSTANT text := runops._identity_sql(place.leaf, place.key);
BEGIN
	IF NOT runops._is_elsewhere(store) THEN
		-- the owner of the table may not be allowed to use the schema of store_of()
		RETURN QUERY
		SELECT q.id, runops.store_of(q.key)
		FROM runops._owner_query(place.relation, format(
			'SELECT %s, (%s)::text FROM %s WHERE NOT (%s) LIMIT %s', identity, place.key, place.leaf,
			substr(runops._remote_store_check(place.key, store), length('CHECK ') + 1), max_rows)) AS q (id text, key text);
	ELSE
		RETURN QUERY
		SELECT q.r ->> 'id', coalesce(runops.store_of(q.r ->> 'key'), 'legacy')
		FROM runops._owner_query(place.relation, 'SELECT r FROM store_rows', store, format(
			'SELECT %s AS id, %s AS key FROM %I.%I WHERE NOT (%5$s) LIMIT %6$s',
			identity, place.key, place.remote_schema, place.remote_table,
			substr(runops._remote_store_check(place.key, store), length('CHECK ') + 1), max_rows)) AS q (r jsonb);
	END IF;
END
$$;

/*
 * The number of such rows of several tables in a store that is another database,
 * at most max_rows for each.  One query counts them, as the owner of the first
 * table, who has to own all of them.
 */
CREATE FUNCTION runops._count_misplaced(store text, relations regclass[], max_rows int) RETURNS TABLE (relation regclass, n bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	counts CONSTANT text := (
		SELECT string_agg(format('SELECT %s AS tag, (SELECT count(*) FROM (SELECT FROM %I.%I WHERE NOT (%s) LIMIT %s) AS x) AS n',
			p.relation::oid, p.remote_schema, p.remote_table,
			substr(runops._remote_store_check(p.key, store), length('CHECK ') + 1), max_rows), ' UNION ALL ')
		FROM runops._placements(store) p WHERE p.relation = ANY (relations));
BEGIN
	RETURN QUERY
	SELECT t.relation, (q.r ->> 'n')::bigint
	FROM runops._owner_query(relations[1], 'SELECT r FROM store_rows', store, counts) AS q (r jsonb)
	JOIN unnest(relations) AS t (relation) ON t.relation::oid::text = q.r ->> 'tag';
END
$$;

/*
 * Rows of one table that exist in more than one of the stores, by their primary
 * key.  "places" is where the table is in each of the stores.
 *
 * If the primary key is the key of the table, every copy but one is misplaced.
 * Then "candidates" are the misplaced rows, and the function looks only for
 * these.  If it is NULL, the function compares whole tables: it reads the old
 * table once, and the primary keys of each store in another database.
 */
CREATE FUNCTION runops._duplicates(stores text[], places runops._placement[], candidates text[], max_rows int)
RETURNS TABLE (id text, store text, others text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	place CONSTANT runops._placement := places[1];
	identity CONSTANT text := runops._identity_sql(place.leaf, place.key);
	remote_rows text;
	local_rows text;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = place.leaf AND i.indisprimary) THEN
		RETURN;
	END IF;

	SELECT string_agg(format('SELECT %1$L AS store, q.id FROM runops._owner_query(%2$L, ''SELECT r ->> ''''id'''' FROM store_rows'', %1$L, %3$L) AS q (id text)', s, place.relation,
			format('SELECT %s AS id FROM %I.%I', identity, (places[o]).remote_schema, (places[o]).remote_table)
			|| CASE WHEN candidates IS NULL THEN ''
					ELSE format(' WHERE %s = ANY (%L::text[])', identity, candidates) END),
		' UNION ALL ')
	INTO remote_rows
	FROM unnest(stores) WITH ORDINALITY AS x (s, o)
	WHERE runops._is_elsewhere(s);
	IF remote_rows IS NULL THEN
		RETURN;
	END IF;

	local_rows := format('SELECT ''legacy'', q.id FROM runops._owner_query(%L, %L) AS q (id text)', place.relation,
		format('SELECT %s FROM %s', identity, place.leaf)
		|| CASE WHEN candidates IS NULL THEN '' ELSE format(' WHERE %s = ANY (%L::text[])', identity, candidates) END);

	RETURN QUERY EXECUTE format(
		'WITH found (store, id) AS MATERIALIZED (%s), held AS (SELECT id, array_agg(store ORDER BY store <> ''legacy'', store) AS stores '
		'FROM (SELECT store, id FROM found UNION ALL %s) x (store, id) GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT %s) '
		'SELECT h.id, s, array_to_string(array_remove(h.stores, s), '', '') FROM held h, unnest(h.stores) s ORDER BY h.id, s',
		remote_rows, local_rows, max_rows);
END
$$;

/*
 * The parity rows of a store as findings.  If a table is missing, nothing else is
 * reported about it.
 */
CREATE FUNCTION runops._drift_findings(store text, relations regclass[], here jsonb DEFAULT NULL)
RETURNS TABLE (relation regclass, finding text, detail text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH r AS MATERIALIZED (SELECT * FROM runops._parity_rows(store, relations, here))
	SELECT r.relation,
		CASE r.kind WHEN 'database' THEN 'collation' WHEN 'label' THEN 'type' WHEN 'table' THEN 'column' ELSE r.kind END,
		r.object || ': ' || coalesce(r.detail, 'missing in the store')
	FROM r
	WHERE r.action <> 'exists' AND r.kind NOT IN ('schema', 'trigger')
		AND (r.kind = 'table' OR NOT EXISTS (
			SELECT FROM r x WHERE x.kind = 'table' AND x.action = 'create' AND x.relation = r.relation))
$$;

/* CHECK constraints that the old table needs, but lacks or has not validated. */
CREATE FUNCTION runops._leaf_findings(relations regclass[]) RETURNS TABLE (relation regclass, detail text)
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT t.relation, format('constraint %I on %s: %s', x.name, t.leaf,
							  CASE WHEN c.oid IS NULL THEN 'missing' ELSE 'not validated' END)
	FROM runops.table_config t
	CROSS JOIN LATERAL (SELECT ('runops_alias_' || a)::name FROM unnest(t.aliases) a) AS x (name)
	LEFT JOIN pg_constraint c ON c.conrelid = t.leaf AND c.conname = x.name AND c.contype = 'c'
	WHERE t.relation = ANY (relations) AND c.convalidated IS NOT TRUE
$$;

/* The error of a query of a store, in one line. */
CREATE FUNCTION runops._reason(message text, state text, detail text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT replace(format('%s (SQLSTATE %s)', message, state) || coalesce(': ' || nullif(detail, ''), ''), E'\n', ' ') $$;

/*
 * Was a statement canceled in this database, by its user or a timeout, and not by a
 * store?
 *
 * Such a cancel must end the function and is not a finding.  OTHERS does not match
 * query_canceled, so a handler for cancels by a store has to name it, too.
 */
CREATE FUNCTION runops._cancelled_here(state text, context text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT state = '57014' AND strpos(coalesce(context, ''), 'remote SQL command: ') = 0 $$;

/*
 * Rows of one table that are in the wrong store or in several stores.  "places" is
 * where the table is in each of the stores.
 */
CREATE FUNCTION runops._row_findings(stores text[], places runops._placement[], max_rows int)
RETURNS TABLE (store text, finding text, id text, belongs_to text, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	m record;
	own_key CONSTANT boolean := runops._identity_sql(places[1].leaf, places[1].key) IN (
		places[1].key, format('(%s)::text', places[1].key), format('format(''%%s'', %s)', regexp_replace(places[1].key, '^\((.*)\)::text$', '\1')));
	candidates text[] := '{}';
	readable text[] := '{}';
	readable_places runops._placement[] := '{}';
	reason text;
	context text;
BEGIN
	FOR i IN 1 .. cardinality(stores) LOOP
		BEGIN
			FOR m IN SELECT * FROM runops._misplaced(stores[i], places[i], max_rows) LOOP
				candidates := candidates || m.id;
				RETURN QUERY SELECT stores[i], 'misplaced', m.id, m.belongs_to, NULL::text;
			END LOOP;
			readable := readable || stores[i];
			readable_places := readable_places || places[i];
		EXCEPTION
			WHEN undefined_table OR invalid_schema_name THEN
				NULL;	-- _drift_findings reports this
			WHEN query_canceled OR OTHERS THEN
				GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
				IF runops._cancelled_here(SQLSTATE, context) THEN
					RAISE;
				END IF;
				RETURN QUERY SELECT stores[i], 'unreachable', NULL::text, NULL::text,
					runops._reason('rows cannot be read: ' || SQLERRM, SQLSTATE, reason);
		END;
	END LOOP;

	IF own_key AND cardinality(candidates) = 0 THEN
		RETURN;
	END IF;
	RETURN QUERY
	SELECT d.store, 'duplicate', d.id, b.belongs_to, format('also in store %s', d.others)
	FROM runops._duplicates(readable, readable_places, CASE WHEN own_key THEN candidates END, max_rows) d
	CROSS JOIN LATERAL (SELECT CASE WHEN own_key THEN runops.store_of(d.id) END) AS b (belongs_to)
	WHERE d.store <> coalesce(b.belongs_to, 'legacy');
EXCEPTION
	-- an error in the comparison of several stores
	WHEN query_canceled OR OTHERS THEN
		GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
		IF runops._cancelled_here(SQLSTATE, context) THEN
			RAISE;
		END IF;
		RETURN QUERY SELECT NULL::text, 'unreachable', NULL::text, NULL::text,
			runops._reason('stores cannot be compared: ' || SQLERRM, SQLSTATE, reason);
END
$$;

/* Does a store answer a query? */
CREATE FUNCTION runops._store_answers(store text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	context text;
BEGIN
	PERFORM runops.remote_query(store, 'SELECT 1');
	RETURN true;
EXCEPTION WHEN query_canceled OR OTHERS THEN
	GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
	IF runops._cancelled_here(SQLSTATE, context) THEN
		RAISE;
	END IF;
	RETURN false;
END
$$;

/*
 * A store that cannot be queried is a finding, so that the other stores are still
 * verified.  It is not queried again, because each query may wait for a timeout.
 * If the settings close the gate to all stores, the function raises an error.
 */
CREATE FUNCTION runops._verify(only_relation regclass, max_rows int)
RETURNS TABLE (relation regclass, store text, finding text, id text, belongs_to text, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
DECLARE
	relations CONSTANT regclass[] := runops._routed_relations(only_relation);
	reachable text[] := CASE WHEN runops._is_elsewhere('legacy') THEN '{}'::text[] ELSE ARRAY['legacy'] END;
	here CONSTANT jsonb := runops._facts_here(relations);
	s text;
	reason text;
	context text;
	t record;
	r record;
BEGIN
	-- the answer would be theirs
	PERFORM runops._check_functions();
	IF max_rows IS NULL OR max_rows < 0 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid value for max_rows: %s', coalesce(max_rows::text, 'NULL')),
			DETAIL = 'It limits the rows that are listed for each table, store and finding.',
			HINT = 'Pass a number that is not negative.';
	END IF;

	RETURN QUERY SELECT f.relation, 'legacy', 'constraint', NULL::text, NULL::text, f.detail
	FROM runops._leaf_findings(relations) f;

	FOR s IN SELECT x.store FROM runops.stores x WHERE x.server IS NOT NULL ORDER BY x.store LOOP
		BEGIN
			PERFORM runops._gate_require(s);
			RETURN QUERY SELECT f.relation, s, f.finding, NULL::text, NULL::text, f.detail
			FROM runops._drift_findings(s, relations, here) f;
			reachable := reachable || s;
		EXCEPTION
			WHEN query_canceled OR OTHERS THEN
				GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
				-- a cancel in this database, or a gate that is closed to all stores
				IF runops._cancelled_here(SQLSTATE, context)
				   OR (SQLSTATE = 'RO002' AND current_setting('runops.split_enabled', true) IS DISTINCT FROM 'on') THEN
					RAISE;
				END IF;
				RETURN QUERY SELECT only_relation, s, 'unreachable', NULL::text, NULL::text,
					runops._reason(SQLERRM, SQLSTATE, reason);
		END;
	END LOOP;

	FOR t IN SELECT p.relation, array_agg(x.store ORDER BY x.o) AS stores,
				array_agg(p::runops._placement ORDER BY x.o) AS places
			 FROM unnest(reachable) WITH ORDINALITY AS x (store, o) CROSS JOIN LATERAL runops._placements(x.store) AS p
			 JOIN pg_class c ON c.oid = p.relation JOIN pg_namespace n ON n.oid = c.relnamespace
			 WHERE p.relation = ANY (relations)
			 GROUP BY p.relation, n.nspname, c.relname ORDER BY n.nspname, c.relname LOOP
		FOR r IN SELECT * FROM runops._row_findings(
			ARRAY(SELECT x.s FROM unnest(t.stores) WITH ORDINALITY AS x (s, o) WHERE x.s = ANY (reachable) ORDER BY x.o),
			ARRAY(SELECT t.places[x.o] FROM unnest(t.stores) WITH ORDINALITY AS x (s, o) WHERE x.s = ANY (reachable) ORDER BY x.o), max_rows) LOOP
			RETURN QUERY SELECT t.relation, r.store, r.finding, r.id, r.belongs_to, r.detail;
			IF r.finding = 'unreachable' AND runops._is_elsewhere(r.store) AND NOT runops._store_answers(r.store) THEN
				reachable := array_remove(reachable, r.store);
			END IF;
		END LOOP;
	END LOOP;
END
$$;

-- PL/pgSQL does not let an argument and a result column share a name.
CREATE FUNCTION runops.verify(relation regclass DEFAULT NULL, max_rows int DEFAULT 1000)
RETURNS TABLE (relation regclass, store text, finding text, id text, belongs_to text, detail text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM runops._verify($1, $2) $$;
COMMENT ON FUNCTION runops.verify(regclass, int) IS 'finds rows in the wrong store, rows in several stores, and every difference between the stores';

REVOKE EXECUTE ON FUNCTION
	runops._misplaced(text, runops._placement, int),
	runops._count_misplaced(text, regclass[], int),
	runops._duplicates(text[], runops._placement[], text[], int),
	runops._drift_findings(text, regclass[], jsonb),
	runops._row_findings(text[], runops._placement[], int),
	runops._store_answers(text),
	runops._verify(regclass, int),
	runops.verify(regclass, int)
FROM PUBLIC;
