/*
 * Parity, second part: constraints, indexes, triggers and privileges.
 */

/*
 * Constraints.  "refs" maps the OID of each legacy leaf to the name of its table
 * in the store, and to whether the table exists there or will be created.
 *
 * Two constraints are the same if their definitions are equal, even if their
 * names differ.  Foreign keys to tables that are not routed are left out, because
 * the store does not have the referenced rows.
 */
CREATE FUNCTION runops._constraint_parity(store text, place record, h jsonb, t jsonb, refs jsonb, functions jsonb) RETURNS SETOF runops._parity
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	target CONSTANT text := format('%I.%I', place.remote_schema, place.remote_table);
	ours CONSTANT boolean := t IS NULL OR (t ->> 'ours')::boolean;
	expected jsonb;
BEGIN
	SELECT jsonb_agg(e) INTO expected FROM (
		SELECT jsonb_build_object('name', 'runops_store', 'type', 'c', 'def', runops._remote_store_check(place.key, store)) AS e
		UNION ALL
		SELECT jsonb_build_object('name', ('runops_alias_' || a)::name, 'type', 'c', 'def', runops._remote_alias_check(
			CASE WHEN c ->> 'type' = 'text' THEN quote_ident(a) ELSE format('(%I)::text', a) END, store))
		FROM unnest(place.aliases) a JOIN jsonb_array_elements(h -> 'columns') c ON c ->> 'name' = a
		UNION ALL
		SELECT c || jsonb_build_object('ref', refs -> (c ->> 'refid') ->> 'name', 'known', refs -> (c ->> 'refid') -> 'there')
		FROM jsonb_array_elements(h -> 'constraints') c
		WHERE c ->> 'name' <> 'runops_store' AND c ->> 'name' NOT LIKE 'runops\_alias\_%'
			AND (c ->> 'type' <> 'f' OR refs ? (c ->> 'refid'))) AS x;

	RETURN QUERY
	SELECT CASE WHEN e ->> 'type' = 'f' THEN 8 ELSE 6 END, place.relation, 'constraint',
		format('constraint %I on %s', e ->> 'name', target),
		CASE WHEN problem IS NULL AND same IS NOT NULL THEN 'exists'
			 WHEN problem IS NULL AND ours THEN 'create' ELSE 'drift' END,
		CASE WHEN (same ->> 'valid')::boolean OR clears OR (same IS NOT NULL AND NOT valid) THEN NULL
			 WHEN same IS NOT NULL THEN format('ALTER TABLE %s VALIDATE CONSTRAINT %I', target, same ->> 'name')
			 WHEN index IS NOT NULL THEN format('ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I', target, e ->> 'name',
				CASE e ->> 'type' WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, index)
			 ELSE format('ALTER TABLE %s %sADD CONSTRAINT %I %s', target,
				CASE WHEN named IS NOT NULL THEN format('DROP CONSTRAINT %I, ', e ->> 'name') ELSE '' END,
				e ->> 'name', replace(e ->> 'def', 'REFERENCES @', 'REFERENCES ' || coalesce(e ->> 'ref', '@')))
				-- nobody has said that old rows satisfy it
				|| CASE WHEN valid THEN '' ELSE ' NOT VALID' END END,
		coalesce(problem, CASE WHEN same IS NULL AND NOT ours THEN 'missing in the store' END)
	FROM jsonb_array_elements(expected) WITH ORDINALITY AS x (e, o)
	CROSS JOIN LATERAL (SELECT
		(SELECT c FROM jsonb_array_elements(t -> 'constraints') c
		 WHERE c -> 'type' = e -> 'type' AND c -> 'def' = e -> 'def' AND c ->> 'ref' IS NOT DISTINCT FROM e ->> 'ref'
		 ORDER BY c ->> 'name' = e ->> 'name' DESC LIMIT 1),
		(SELECT c FROM jsonb_array_elements(t -> 'constraints') c WHERE c ->> 'name' = e ->> 'name'),
		(SELECT i ->> 'name' FROM jsonb_array_elements(t -> 'indexes') i
		 JOIN jsonb_array_elements(h -> 'indexes') l ON l -> 'def' = i -> 'def'
		 WHERE l ->> 'name' = e ->> 'name' AND e ->> 'type' IN ('p', 'u') AND (i ->> 'unique')::boolean LIMIT 1),
		(SELECT string_agg(f, ', ') FROM jsonb_array_elements_text(coalesce(nullif(e -> 'needs', 'null'), '[]')) f
		 WHERE NOT functions ? f),
		(e ->> 'clears')::boolean AND e -> 'columns' ?| place.key_columns::text[],
		coalesce((e ->> 'valid')::boolean, true),
		-- those of aliases are written here in plain SQL
		CASE WHEN e ? 'valid' THEN runops._unportable_constraint(place.leaf, (e ->> 'name')::name) END) AS y (same, named, index, lacking, clears, valid, unportable)
	CROSS JOIN LATERAL (SELECT CASE
		WHEN valid AND NOT (same ->> 'valid')::boolean THEN 'not validated in the store'
		WHEN same IS NOT NULL THEN NULL
		WHEN named IS NOT NULL THEN format('here %s, in the store %s',
			replace(e ->> 'def', ' @', ' ' || coalesce(e ->> 'ref', '@')), replace(named ->> 'def', ' @', ' ' || coalesce(named ->> 'ref', '@')))
		WHEN index IS NOT NULL THEN 'only a unique index in the store'
		WHEN clears THEN 'missing in the store, because it would set a column of the key to NULL, and the key decides the store of the row'
		WHEN e ->> 'type' = 'f' AND NOT (e ->> 'known')::boolean
			THEN format('missing in the store, because table %s is missing there', e ->> 'ref')
		WHEN lacking IS NOT NULL THEN format('missing in the store, because function %s is missing there', lacking)
		WHEN unportable IS NOT NULL THEN format('missing in the store: not created there because it calls %s', unportable) END) AS z (problem)
	ORDER BY o;

	RETURN QUERY
	SELECT 6, place.relation, 'constraint', format('constraint %I on %s', c ->> 'name', target), 'drift',
		format('ALTER TABLE %s DROP CONSTRAINT %I', target, c ->> 'name'),
		format('exists only in the store: %s', replace(c ->> 'def', 'REFERENCES @', 'REFERENCES ' || coalesce(c ->> 'ref', '@')))
	FROM jsonb_array_elements(t -> 'constraints') c
	WHERE c ->> 'type' IN ('c', 'f')
		AND NOT EXISTS (SELECT FROM jsonb_array_elements(expected) e
						WHERE c ->> 'name' = e ->> 'name'
							OR (c -> 'type' = e -> 'type' AND c -> 'def' = e -> 'def' AND c ->> 'ref' IS NOT DISTINCT FROM e ->> 'ref'));
END
$$;

/*
 * Indexes.  An index that exists only in the store is reported only if it is a
 * unique or exclusion index, which can refuse rows.
 */
CREATE FUNCTION runops._index_parity(relation regclass, nsp text, target text, h jsonb, t jsonb, functions jsonb) RETURNS SETOF runops._parity
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ours CONSTANT boolean := t IS NULL OR (t ->> 'ours')::boolean;
BEGIN
	RETURN QUERY
	SELECT 7, relation, 'index', format('index %I on %s', i ->> 'name', target),
		CASE WHEN problem IS NULL AND same IS NOT NULL THEN 'exists'
			 WHEN problem IS NULL AND ours THEN 'create' ELSE 'drift' END,
		CASE WHEN (same ->> 'valid')::boolean THEN NULL
			 WHEN same IS NOT NULL THEN format('REINDEX INDEX CONCURRENTLY %I.%I', nsp, same ->> 'name')
			 ELSE CASE WHEN named IS NOT NULL THEN format('DROP INDEX %I.%I; ', nsp, i ->> 'name') ELSE '' END
				|| format('CREATE %sINDEX %I ON %s %s', CASE WHEN (i ->> 'unique')::boolean THEN 'UNIQUE ' ELSE '' END,
						  i ->> 'name', target, i ->> 'def') END,
		coalesce(problem, CASE WHEN same IS NULL AND NOT ours THEN 'missing in the store' END)
	FROM jsonb_array_elements(h -> 'indexes') WITH ORDINALITY AS x (i, o)
	CROSS JOIN LATERAL (SELECT
		(SELECT c FROM jsonb_array_elements(t -> 'indexes') c
		 WHERE c -> 'unique' = i -> 'unique' AND c -> 'def' = i -> 'def'
		 ORDER BY c -> 'valid' DESC LIMIT 1),
		(SELECT c FROM jsonb_array_elements(t -> 'indexes') c WHERE c ->> 'name' = i ->> 'name'),
		(SELECT string_agg(f, ', ') FROM jsonb_array_elements_text(coalesce(nullif(i -> 'needs', 'null'), '[]')) f
		 WHERE NOT functions ? f),
		runops._unportable_index((SELECT r.leaf FROM runops.table_config r WHERE r.relation = _index_parity.relation), (i ->> 'name')::name)) AS y (same, named, lacking, unportable)
	CROSS JOIN LATERAL (SELECT CASE
		WHEN NOT (same ->> 'valid')::boolean THEN 'not valid in the store'
		WHEN same IS NOT NULL THEN NULL
		WHEN named IS NOT NULL THEN format('here %s%s, in the store %s%s',
			CASE WHEN (i ->> 'unique')::boolean THEN 'unique ' END, i ->> 'def',
			CASE WHEN (named ->> 'unique')::boolean THEN 'unique ' END, named ->> 'def')
		WHEN lacking IS NOT NULL THEN format('missing in the store, because function %s is missing there', lacking)
		WHEN unportable IS NOT NULL THEN format('missing in the store: not created there because it calls %s', unportable) END) AS z (problem)
	WHERE NOT (i ->> 'constraint')::boolean AND (i ->> 'valid')::boolean
	ORDER BY o;

	RETURN QUERY
	SELECT 7, relation, CASE WHEN (i ->> 'constraint')::boolean THEN 'constraint' ELSE 'index' END,
		format('%s %I on %s', CASE WHEN (i ->> 'constraint')::boolean THEN 'constraint' ELSE 'index' END, i ->> 'name', target), 'drift',
		CASE WHEN (i ->> 'constraint')::boolean THEN format('ALTER TABLE %s DROP CONSTRAINT %I', target, i ->> 'name')
			 ELSE format('DROP INDEX %I.%I', nsp, i ->> 'name') END,
		format('exists only in the store: %s%s', CASE WHEN (i ->> 'unique')::boolean THEN 'unique ' ELSE 'exclusion ' END, i ->> 'def')
	FROM jsonb_array_elements(t -> 'indexes') i
	WHERE ((i ->> 'unique')::boolean OR (i ->> 'exclusion')::boolean)
		AND NOT EXISTS (SELECT FROM jsonb_array_elements(h -> 'indexes') x
						WHERE x ->> 'name' = i ->> 'name' OR (x -> 'def' = i -> 'def' AND x -> 'unique' = i -> 'unique'));
END
$$;

/*
 * Triggers in the store run with search_path pg_catalog when rows come from here.
 * A trigger function with unqualified names fails then, although it works for
 * other sessions.
 */
CREATE FUNCTION runops._trigger_parity(relation regclass, target text, t jsonb) RETURNS SETOF runops._parity
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 9, relation, 'trigger', format('trigger %I on %s', g, target), 'drift', NULL,
		'its function does not set search_path, so it finds only objects in pg_catalog when rows come from here'
	FROM jsonb_array_elements_text(t -> 'triggers') g ORDER BY g
$$;

/*
 * Privileges: the remote user of a mapping needs the privileges on the table in
 * the store that the local role has on the routed table.  A mapping for PUBLIC
 * stands for every role, so its remote user needs all privileges.
 */
CREATE FUNCTION runops._privilege_parity(store text, relations regclass[], there jsonb) RETURNS SETOF runops._parity
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
	WITH needed AS (
		SELECT p.relation, format('%I.%I', p.remote_schema, p.remote_table) AS target, p.remote_schema, u.remote_user, v.privilege, v.o,
			bool_or(u.local_role = 0 OR has_table_privilege(u.local_role, p.relation, v.privilege)) AS whole
		FROM runops._placements(store) p
		CROSS JOIN runops._mapped_users(store) u
		CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS v (privilege, o)
		WHERE p.relation = ANY (relations)
			AND (u.local_role = 0 OR has_table_privilege(u.local_role, p.relation, v.privilege)
				 OR (v.privilege <> 'DELETE' AND has_any_column_privilege(u.local_role, p.relation, v.privilege)))
		GROUP BY 1, 2, 3, 4, 5, 6
	), found AS (
		SELECT n.relation, n.target, n.remote_schema, f,
			string_agg(n.privilege, ', ' ORDER BY n.o)
				FILTER (WHERE NOT (coalesce(nullif(f -> 'table', 'null'), '[]') ? n.privilege)
						AND (n.whole OR NOT (coalesce(nullif(f -> 'column', 'null'), '[]') ? n.privilege))) AS missing
		FROM needed n
		JOIN jsonb_array_elements(there -> 'privileges') f
			ON f ->> 'relation' = n.relation::oid::text AND f ->> 'user' IS NOT DISTINCT FROM n.remote_user
		GROUP BY 1, 2, 3, 4
	)
	SELECT DISTINCT 10, CASE WHEN d.ddl LIKE 'GRANT USAGE%' OR NOT (f ->> 'exists')::boolean THEN NULL ELSE x.relation END,
		'privilege', d.object, 'drift', d.ddl, d.detail
	FROM found x
	CROSS JOIN LATERAL (
		SELECT format('role %I', f ->> 'role'), NULL, 'missing in the store, though a user mapping names it'
		WHERE NOT (f ->> 'exists')::boolean
		UNION ALL
		SELECT format('schema %I', x.remote_schema), format('GRANT USAGE ON SCHEMA %I TO %I', x.remote_schema, f ->> 'role'),
			format('role "%s" lacks USAGE in the store', f ->> 'role')
		WHERE NOT (f ->> 'usage')::boolean
		UNION ALL
		SELECT format('table %s', x.target), format('GRANT %s ON %s TO %I', x.missing, x.target, f ->> 'role'),
			format('role "%s" lacks %s in the store', f ->> 'role', x.missing)
		WHERE (f ->> 'exists')::boolean AND x.missing IS NOT NULL
		UNION ALL
		SELECT format('table %s', x.target), format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', x.target),
			format('row-level security in the store applies to role "%s"', f ->> 'role')
		WHERE (f ->> 'exists')::boolean AND NOT (f ->> 'bypass')::boolean
			AND (there -> 'tables' -> (x.relation::oid::text) ->> 'security')::boolean
	) AS d (object, ddl, detail)
	ORDER BY d.object, d.detail;
END
$$;

/*
 * All parity rows of the relations in one store, in the order in which DDL can
 * run.  jit is off, because compiling queries on the catalogs takes ten times as
 * long as running them.
 */
CREATE FUNCTION runops._parity_rows(store text, relations regclass[]) RETURNS SETOF runops._parity
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
	here jsonb;
	there jsonb;
	refs jsonb;
	h jsonb;
	t jsonb;
	target text;
	place record;
	found runops._parity[] := '{}';
BEGIN
	SELECT f.here, f.there INTO STRICT here, there FROM runops._facts(store, relations) f;

	SELECT jsonb_object_agg(p.leaf::oid, jsonb_build_object(
		'name', format('%I.%I', p.remote_schema, p.remote_table),
		'there', p.relation = ANY (relations) OR there -> 'tables' ? p.relation::oid::text)) INTO refs
	FROM runops._placements(store) p;

	found := ARRAY(SELECT r FROM runops._schema_parity(store, relations, here, there) r)
		|| ARRAY(SELECT r FROM runops._type_parity(relations, here, there) r);

	FOR place IN SELECT * FROM runops._placements(store) p WHERE p.relation = ANY (relations) LOOP
		target := format('%I.%I', place.remote_schema, place.remote_table);
		h := here -> 'tables' -> place.relation::oid::text;
		t := there -> 'tables' -> place.relation::oid::text;
		found := found || ARRAY(SELECT r FROM runops._table_parity(place.relation, target, h, t,
			(there ->> 'version')::int, there -> 'functions') r);
		CONTINUE WHEN t ->> 'kind' NOT IN ('r', 'p');
		found := found
			|| ARRAY(SELECT r FROM runops._constraint_parity(store, place, h, t, refs, there -> 'functions') r)
			|| ARRAY(SELECT r FROM runops._index_parity(place.relation, place.remote_schema, target, h, t, there -> 'functions') r)
			|| ARRAY(SELECT r FROM runops._trigger_parity(place.relation, target, t) r);
	END LOOP;

	RETURN QUERY
	SELECT r.phase, r.relation, r.kind, r.object, r.action, r.ddl, r.detail
	FROM unnest(found || ARRAY(SELECT r FROM runops._privilege_parity(store, relations, there) r))
		WITH ORDINALITY AS r (phase, relation, kind, object, action, ddl, detail, o)
	ORDER BY r.phase, r.o;
END
$$;
