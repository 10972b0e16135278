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
CREATE FUNCTION runops._constraint_parity(store text, pairs runops._table_pair[], refs jsonb, functions jsonb) RETURNS SETOF runops._parity
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH p AS MATERIALIZED (
		SELECT x.no, x.place, x.target, x.here -> 'columns' AS columns, x.here -> 'constraints' AS here_constraints, x.here -> 'indexes' AS here_indexes,
			x.there -> 'constraints' AS there_constraints, x.there -> 'indexes' AS there_indexes,
			x.there IS NULL OR (x.there ->> 'ours')::boolean AS ours
		FROM unnest(pairs) WITH ORDINALITY AS x (place, target, here, there, no)
		WHERE x.there IS NULL OR x.there ->> 'kind' IN ('r', 'p')
	), expected AS MATERIALIZED (
		SELECT p.no, 1 AS part, 0::bigint AS o, jsonb_build_object('name', 'runops_store', 'type', 'c',
			'def', runops._remote_store_check((p.place).key, store)) AS e
		FROM p
		UNION ALL
		SELECT p.no, 2, x.o, jsonb_build_object('name', ('runops_alias_' || a)::name, 'type', 'c', 'def', runops._remote_alias_check(
			CASE WHEN c ->> 'type' = 'text' THEN quote_ident(a) ELSE format('(%I)::text', a) END, store))
		FROM p CROSS JOIN LATERAL unnest((p.place).aliases) WITH ORDINALITY AS x (a, o)
		JOIN LATERAL jsonb_array_elements(p.columns) c ON c ->> 'name' = a
		UNION ALL
		SELECT p.no, 3, x.o, c || jsonb_build_object('ref', refs -> (c ->> 'refid') ->> 'name', 'known', refs -> (c ->> 'refid') -> 'there')
		FROM p CROSS JOIN LATERAL jsonb_array_elements(p.here_constraints) WITH ORDINALITY AS x (c, o)
		WHERE c ->> 'name' <> 'runops_store' AND c ->> 'name' NOT LIKE 'runops\_alias\_%'
			AND (c ->> 'type' <> 'f' OR refs ? (c ->> 'refid'))
	), found (no, part, o, phase, relation, object, action, ddl, detail) AS (
		SELECT p.no, x.part, x.o, CASE WHEN e ->> 'type' = 'f' THEN 8 ELSE 6 END, (p.place).relation,
			format('constraint %I on %s', e ->> 'name', p.target),
			CASE WHEN problem IS NULL AND same IS NOT NULL THEN 'exists'
				 WHEN problem IS NULL AND p.ours THEN 'create' ELSE 'drift' END,
			CASE WHEN (same ->> 'valid')::boolean OR clears OR (same IS NOT NULL AND NOT valid) THEN NULL
				 WHEN same IS NOT NULL THEN format('ALTER TABLE %s VALIDATE CONSTRAINT %I', p.target, same ->> 'name')
				 WHEN index IS NOT NULL THEN format('ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I', p.target, e ->> 'name',
					CASE e ->> 'type' WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, index)
				 ELSE format('ALTER TABLE %s %sADD CONSTRAINT %I %s', p.target,
					CASE WHEN named IS NOT NULL THEN format('DROP CONSTRAINT %I, ', e ->> 'name') ELSE '' END,
					e ->> 'name', replace(e ->> 'def', 'REFERENCES @', 'REFERENCES ' || coalesce(e ->> 'ref', '@')))
					-- nobody has said that old rows satisfy it
					|| CASE WHEN valid THEN '' ELSE ' NOT VALID' END END,
			coalesce(problem, CASE WHEN same IS NULL AND NOT p.ours THEN 'missing in the store' END)
		FROM expected x JOIN p USING (no)
		CROSS JOIN LATERAL (SELECT
			(SELECT c FROM jsonb_array_elements(p.there_constraints) c
			 WHERE c -> 'type' = e -> 'type' AND c -> 'def' = e -> 'def' AND c ->> 'ref' IS NOT DISTINCT FROM e ->> 'ref'
			 ORDER BY c ->> 'name' = e ->> 'name' DESC LIMIT 1),
			(SELECT c FROM jsonb_array_elements(p.there_constraints) c WHERE c ->> 'name' = e ->> 'name'),
			(SELECT i ->> 'name' FROM jsonb_array_elements(p.there_indexes) i
			 JOIN jsonb_array_elements(p.here_indexes) l ON l -> 'def' = i -> 'def'
			 WHERE l ->> 'name' = e ->> 'name' AND e ->> 'type' IN ('p', 'u') AND (i ->> 'unique')::boolean LIMIT 1),
			(SELECT string_agg(f, ', ') FROM jsonb_array_elements_text(coalesce(nullif(e -> 'needs', 'null'), '[]')) f
			 WHERE NOT functions ? f),
			(e ->> 'clears')::boolean AND e -> 'columns' ?| (p.place).key_columns::text[],
			coalesce((e ->> 'valid')::boolean, true)) AS y (same, named, index, lacking, clears, valid)
		-- the checks of aliases are written here in plain SQL
		CROSS JOIN LATERAL (SELECT CASE WHEN same IS NULL AND e ? 'valid'
			THEN runops._unportable_constraint((p.place).leaf, (e ->> 'name')::name) END) AS v (unportable)
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
		UNION ALL
		SELECT p.no, 4, x.o, 6, (p.place).relation, format('constraint %I on %s', c ->> 'name', p.target), 'drift',
			format('ALTER TABLE %s DROP CONSTRAINT %I', p.target, c ->> 'name'),
			format('exists only in the store: %s', replace(c ->> 'def', 'REFERENCES @', 'REFERENCES ' || coalesce(c ->> 'ref', '@')))
		FROM p CROSS JOIN LATERAL jsonb_array_elements(p.there_constraints) WITH ORDINALITY AS x (c, o)
		WHERE c ->> 'type' IN ('c', 'f')
			AND NOT EXISTS (SELECT FROM expected y WHERE y.no = p.no AND y.e ->> 'name' = c ->> 'name')
			AND NOT EXISTS (SELECT FROM expected y WHERE y.no = p.no
							AND y.e -> 'type' = c -> 'type' AND y.e -> 'def' = c -> 'def' AND y.e ->> 'ref' IS NOT DISTINCT FROM c ->> 'ref')
	)
	SELECT f.phase, f.relation, 'constraint', f.object, f.action, f.ddl, f.detail FROM found f ORDER BY f.no, f.part, f.o
$$;

/*
 * Indexes.  An index that exists only in the store is reported only if it is a
 * unique or exclusion index, which can refuse rows.
 */
CREATE FUNCTION runops._index_parity(pairs runops._table_pair[], functions jsonb) RETURNS SETOF runops._parity
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH p AS MATERIALIZED (
		SELECT x.no, (x.place).relation, (x.place).leaf, (x.place).remote_schema AS nsp, x.target, x.here -> 'indexes' AS here, x.there -> 'indexes' AS there,
			x.there IS NULL OR (x.there ->> 'ours')::boolean AS ours
		FROM unnest(pairs) WITH ORDINALITY AS x (place, target, here, there, no)
		WHERE x.there IS NULL OR x.there ->> 'kind' IN ('r', 'p')
	), found (no, part, o, relation, kind, object, action, ddl, detail) AS (
		SELECT p.no, 1, x.o, p.relation, 'index', format('index %I on %s', i ->> 'name', p.target),
			CASE WHEN problem IS NULL AND same IS NOT NULL THEN 'exists'
				 WHEN problem IS NULL AND p.ours THEN 'create' ELSE 'drift' END,
			CASE WHEN (same ->> 'valid')::boolean THEN NULL
				 WHEN same IS NOT NULL THEN format('REINDEX INDEX CONCURRENTLY %I.%I', p.nsp, same ->> 'name')
				 ELSE CASE WHEN named IS NOT NULL THEN format('DROP INDEX %I.%I; ', p.nsp, i ->> 'name') ELSE '' END
					|| format('CREATE %sINDEX %I ON %s %s', CASE WHEN (i ->> 'unique')::boolean THEN 'UNIQUE ' ELSE '' END,
							  i ->> 'name', p.target, i ->> 'def') END,
			coalesce(problem, CASE WHEN same IS NULL AND NOT p.ours THEN 'missing in the store' END)
		FROM p CROSS JOIN LATERAL jsonb_array_elements(p.here) WITH ORDINALITY AS x (i, o)
		CROSS JOIN LATERAL (SELECT
			(SELECT c FROM jsonb_array_elements(p.there) c
			 WHERE c -> 'unique' = i -> 'unique' AND c -> 'def' = i -> 'def'
			 ORDER BY c -> 'valid' DESC LIMIT 1),
			(SELECT c FROM jsonb_array_elements(p.there) c WHERE c ->> 'name' = i ->> 'name'),
			(SELECT string_agg(f, ', ') FROM jsonb_array_elements_text(coalesce(nullif(i -> 'needs', 'null'), '[]')) f
			 WHERE NOT functions ? f)) AS y (same, named, lacking)
		CROSS JOIN LATERAL (SELECT CASE WHEN same IS NULL THEN runops._unportable_index(p.leaf, (i ->> 'name')::name) END) AS v (unportable)
		CROSS JOIN LATERAL (SELECT CASE
			WHEN NOT (same ->> 'valid')::boolean THEN 'not valid in the store'
			WHEN same IS NOT NULL THEN NULL
			WHEN named IS NOT NULL THEN format('here %s%s, in the store %s%s',
				CASE WHEN (i ->> 'unique')::boolean THEN 'unique ' END, i ->> 'def',
				CASE WHEN (named ->> 'unique')::boolean THEN 'unique ' END, named ->> 'def')
			WHEN lacking IS NOT NULL THEN format('missing in the store, because function %s is missing there', lacking)
			WHEN unportable IS NOT NULL THEN format('missing in the store: not created there because it calls %s', unportable) END) AS z (problem)
		WHERE NOT (i ->> 'constraint')::boolean AND (i ->> 'valid')::boolean
		UNION ALL
		SELECT p.no, 2, x.o, p.relation, k.kind, format('%s %I on %s', k.kind, i ->> 'name', p.target), 'drift',
			CASE WHEN (i ->> 'constraint')::boolean THEN format('ALTER TABLE %s DROP CONSTRAINT %I', p.target, i ->> 'name')
				 ELSE format('DROP INDEX %I.%I', p.nsp, i ->> 'name') END,
			format('exists only in the store: %s%s', CASE WHEN (i ->> 'unique')::boolean THEN 'unique ' ELSE 'exclusion ' END, i ->> 'def')
		FROM p CROSS JOIN LATERAL jsonb_array_elements(p.there) WITH ORDINALITY AS x (i, o)
		CROSS JOIN LATERAL (SELECT CASE WHEN (i ->> 'constraint')::boolean THEN 'constraint' ELSE 'index' END) AS k (kind)
		WHERE ((i ->> 'unique')::boolean OR (i ->> 'exclusion')::boolean)
			AND NOT EXISTS (SELECT FROM jsonb_array_elements(p.here) x
							WHERE x ->> 'name' = i ->> 'name' OR (x -> 'def' = i -> 'def' AND x -> 'unique' = i -> 'unique'))
	)
	SELECT 7, f.relation, f.kind, f.object, f.action, f.ddl, f.detail FROM found f ORDER BY f.no, f.part, f.o
$$;

/*
 * Triggers in the store run with search_path pg_catalog when rows come from here.
 * A trigger function with unqualified names fails then, although it works for
 * other sessions.
 */
CREATE FUNCTION runops._trigger_parity(pairs runops._table_pair[]) RETURNS SETOF runops._parity
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 9, (x.place).relation, 'trigger', format('trigger %I on %s', g, x.target), 'drift', NULL,
		'its function does not set search_path, so it finds only objects in pg_catalog when rows come from here'
	FROM unnest(pairs) WITH ORDINALITY AS x (place, target, here, there, no)
	CROSS JOIN LATERAL jsonb_array_elements_text(x.there -> 'triggers') g
	WHERE x.there ->> 'kind' IN ('r', 'p')
	ORDER BY x.no, g
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
	), secured AS MATERIALIZED (
		SELECT t.key AS tag FROM jsonb_each(there -> 'tables') t WHERE (t.value ->> 'security')::boolean
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
			AND EXISTS (SELECT FROM secured s WHERE s.tag = x.relation::oid::text)
	) AS d (object, ddl, detail)
	ORDER BY d.object, d.detail;
END
$$;

/*
 * The table for the tokens of transactions, if the server of the store has the
 * option commit_token; see src/session/frame.c.
 *
 * Every role of the store may write there, and sees its own rows only.
 */
CREATE FUNCTION runops._token_parity(store text, there jsonb) RETURNS SETOF runops._parity
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 9, NULL::regclass, 'table', v.object, CASE WHEN (there ->> 'tokens')::boolean THEN 'exists' ELSE 'create' END,
		CASE WHEN NOT (there ->> 'tokens')::boolean THEN v.ddl END, NULL::text
	FROM (VALUES
		(1, 'table runops_commit.token', 'CREATE SCHEMA runops_commit CREATE TABLE token (writer bigint NOT NULL PRIMARY KEY, token bigint NOT NULL, '
			'role name NOT NULL DEFAULT current_user, written_at timestamptz NOT NULL DEFAULT now()) WITH (fillfactor = 50)'),
		(2, 'privileges of runops_commit', 'GRANT USAGE ON SCHEMA runops_commit TO PUBLIC'),
		(3, 'privileges of runops_commit.token', 'GRANT SELECT, INSERT, UPDATE, DELETE ON runops_commit.token TO PUBLIC'),
		(4, 'row security of runops_commit.token', 'ALTER TABLE runops_commit.token ENABLE ROW LEVEL SECURITY'),
		(5, 'policy of runops_commit.token', 'CREATE POLICY own_tokens ON runops_commit.token USING (role = current_user)')) AS v (o, object, ddl)
	WHERE EXISTS (SELECT FROM runops.stores s JOIN pg_foreign_server f ON f.srvname = s.server
				  CROSS JOIN LATERAL pg_options_to_table(f.srvoptions) o
				  WHERE s.store = _token_parity.store AND o.option_name = 'commit_token' AND o.option_value::boolean)
		AND (v.o = 1 OR NOT (there ->> 'tokens')::boolean)
	ORDER BY v.o
$$;

/*
 * All parity rows of the relations in one store, in the order in which DDL can
 * run.  jit is off, because compiling queries on the catalogs takes ten times as
 * long as running them.
 *
 * "here" are the facts of this side; if several stores are compared, they are
 * read once.
 */
CREATE FUNCTION runops._parity_rows(store text, relations regclass[], here jsonb DEFAULT NULL) RETURNS SETOF runops._parity
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
	facts CONSTANT jsonb := coalesce(here, runops._facts_here(relations));
	there CONSTANT jsonb := runops._facts_there(store, relations, facts);
	functions CONSTANT jsonb := there -> 'functions';
	pairs CONSTANT runops._table_pair[] := ARRAY(
		SELECT ROW(p.place, format('%I.%I', (p.place).remote_schema, (p.place).remote_table), h.value, t.value)::runops._table_pair
		FROM (SELECT x, row_number() OVER () FROM runops._placements(store) x WHERE x.relation = ANY (relations)) AS p (place, o)
		LEFT JOIN jsonb_each(facts -> 'tables') h ON h.key = (p.place).relation::oid::text
		LEFT JOIN jsonb_each(there -> 'tables') t ON t.key = (p.place).relation::oid::text
		ORDER BY p.o);
	refs CONSTANT jsonb := (
		SELECT jsonb_object_agg(p.leaf::oid, jsonb_build_object(
			'name', format('%I.%I', p.remote_schema, p.remote_table), 'there', p.relation = ANY (relations) OR t.key IS NOT NULL))
		FROM runops._placements(store) p LEFT JOIN jsonb_object_keys(there -> 'tables') AS t (key) ON t.key = p.relation::oid::text);
BEGIN
	RETURN QUERY
	WITH found AS (
		SELECT 1 AS part, x.* FROM runops._schema_parity(store, relations, facts, there) WITH ORDINALITY AS x (phase, relation, kind, object, action, ddl, detail, o)
		UNION ALL
		SELECT 2, x.* FROM runops._type_parity(relations, facts, there) WITH ORDINALITY AS x (phase, relation, kind, object, action, ddl, detail, o)
		UNION ALL
		SELECT 3, x.* FROM runops._table_parity(pairs, (there ->> 'version')::int, functions) WITH ORDINALITY AS x (phase, relation, kind, object, action, ddl, detail, o)
		UNION ALL
		SELECT 4, x.* FROM runops._constraint_parity(store, pairs, refs, functions) WITH ORDINALITY AS x (phase, relation, kind, object, action, ddl, detail, o)
		UNION ALL
		SELECT 5, x.* FROM runops._index_parity(pairs, functions) WITH ORDINALITY AS x (phase, relation, kind, object, action, ddl, detail, o)
		UNION ALL
		SELECT 6, x.* FROM runops._trigger_parity(pairs) WITH ORDINALITY AS x (phase, relation, kind, object, action, ddl, detail, o)
		UNION ALL
		SELECT 7, x.* FROM runops._token_parity(store, there) WITH ORDINALITY AS x (phase, relation, kind, object, action, ddl, detail, o)
		UNION ALL
		SELECT 8, x.* FROM runops._privilege_parity(store, relations, there) WITH ORDINALITY AS x (phase, relation, kind, object, action, ddl, detail, o))
	SELECT f.phase, f.relation, f.kind, f.object, f.action, f.ddl, f.detail FROM found f ORDER BY f.phase, f.part, f.o;
END
$$;
