/*
 * Parity: compares one store with this database, and returns the DDL that makes
 * the store equal.
 *
 * A row of runops._parity is one object.  Its action is "exists", "create" (the
 * store lacks the object, and provision may create it) or "drift" (every other
 * difference; a person has to decide about the DDL).  DDL can run in the order of
 * the phases.
 */
CREATE TYPE runops._parity AS (
	phase int, relation regclass, kind text, object text, action text, ddl text, detail text);

/*
 * A table with its facts here and in the store; "there" is NULL if the store lacks
 * the table.  The functions that follow get all tables at once: a query for each
 * of hundreds of tables would take most of the time.
 */
CREATE TYPE runops._table_pair AS (place runops._placement, target text, here jsonb, there jsonb);

/*
 * A regular expression that matches a whole id as the classifier does: the ids of
 * one store, or every classifiable id if store is NULL.
 *
 * The classifier reads the text after the first "_".  No body contains "_", so an
 * optional prefix up to the first "_" has the same effect.
 */
CREATE FUNCTION runops._id_pattern(store text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT '^([^_]*_)?' || CASE
		WHEN store IS NULL THEN '([0-9A-Za-z]{25}|[0-9A-Za-z]{27}|[0-9a-v]{24}[a-z0-9][12])'
		WHEN store = 'legacy' THEN '[0-9A-Za-z]{25}'
		WHEN store = 'new' THEN '([0-9A-Za-z]{27}|[0-9a-v]{24}[a-z0-9]1)'
		ELSE '[0-9a-v]{24}' || store || '2' END || '$'
$$;

/* The CHECK that an alias names the store, or is unclassifiable. */
CREATE FUNCTION runops._remote_alias_check(alias text, store text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format('CHECK ((((%1$s COLLATE "C") !~ %2$L::text) OR ((%1$s COLLATE "C") ~ %3$L::text)))',
					alias, runops._id_pattern(NULL), runops._id_pattern(store)) $$;

/*
 * The CHECK that the key is an id of the store.  Store legacy also accepts keys
 * that are unclassifiable or NULL.
 *
 * The text is the same as the server prints, so that the comparison finds the
 * CHECK again.  The collation is there because regular expressions do not support
 * nondeterministic collations, which the key may have.  IS TRUE makes the other
 * stores refuse a NULL key.
 */
CREATE FUNCTION runops._remote_store_check(key text, store text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN store = 'legacy' THEN runops._remote_alias_check(key, store)
		ELSE format('CHECK ((((%s COLLATE "C") ~ %L::text) IS TRUE))', key, runops._id_pattern(store)) END
$$;

/* The definition of a column for CREATE TABLE and ADD COLUMN. */
CREATE FUNCTION runops._column_ddl(col jsonb, version int) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('%I %s', col ->> 'name', col ->> 'type')
		|| CASE WHEN (col ->> 'collate')::boolean THEN ' COLLATE ' || (col ->> 'collation') ELSE '' END
		|| CASE WHEN (col ->> 'generated') IS NOT NULL THEN
				' GENERATED ALWAYS AS (' || (col ->> 'generated') || ')'
				|| CASE WHEN (col ->> 'virtual')::boolean AND version >= 180000 THEN ' VIRTUAL' ELSE ' STORED' END
			WHEN (col ->> 'default') IS NOT NULL AND (col ->> 'portable')::boolean THEN ' DEFAULT ' || (col ->> 'default')
			ELSE '' END
		|| CASE WHEN (col ->> 'notnull')::boolean THEN ' NOT NULL' ELSE '' END
$$;

/*
 * The facts of this side, about all routed tables, because a foreign key may refer
 * to any of them, and about the types and collations that "relations" use.
 *
 * The settings are the same as in a remote session (see session/store_sql.c),
 * because they decide how constants in expressions are printed.
 */
CREATE FUNCTION runops._facts_here(relations regclass[]) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET timezone = 'GMT' SET datestyle = ISO SET intervalstyle = postgres SET extra_float_digits = 3
SET bytea_output = hex SET quote_all_identifiers = off SET jit = off
AS $$
DECLARE
	here jsonb;
	tables text;
	types text;
	collations text;
BEGIN
	SELECT runops._values_sql(array_agg(format('(%L, %s::oid, %s::oid)', t.relation::oid, t.relation::oid, t.leaf::oid)), 'NULL::text, 0::oid, 0::oid')
	INTO tables FROM runops.table_config t;
	SELECT runops._values_sql(array_agg(format('(%L, %s::oid)', format('%I.%I', u.nsp, u.name), u.type)), 'NULL::text, 0::oid')
	INTO types FROM runops._used_types(relations) u;
	SELECT runops._values_sql(array_agg(format('(%L, %s::oid)', format('%I.%I', u.nsp, u.name), u.coll)), 'NULL::text, 0::oid')
	INTO collations FROM runops._used_collations(relations) u;
	EXECUTE format('SELECT jsonb_build_object(''database'', (%s), ''tables'', %s, ''types'', %s, ''collations'', %s)', runops._database_facts_sql(),
		runops._facts_object_sql(runops._table_facts_sql(tables)),
		runops._facts_object_sql(runops._type_facts_sql(types)),
		runops._facts_object_sql(runops._collation_facts_sql(collations)))
	INTO here;

	-- a default that is not sent is computed here anyway
	RETURN jsonb_set(here, '{tables}', (SELECT coalesce(jsonb_object_agg(t.key, t.value || jsonb_build_object('columns', (
			SELECT jsonb_agg(c || CASE WHEN u IS NULL THEN '{}' ELSE jsonb_build_object('portable', false, 'unportable', u) END ORDER BY o)
			FROM jsonb_array_elements(t.value -> 'columns') WITH ORDINALITY AS x (c, o)
			CROSS JOIN LATERAL (SELECT CASE WHEN coalesce(c ->> 'default', c ->> 'generated') IS NOT NULL
				THEN runops._unportable_default(t.key::oid::regclass, (c ->> 'name')::name) END) AS d (u)))), '{}')
		FROM jsonb_each(here -> 'tables') t));
END
$$;

/* The facts of a store, by one query: about the same objects as the facts here. */
CREATE FUNCTION runops._facts_there(store text, relations regclass[], here jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	named CONSTANT text := 'SELECT v.tag, c.oid FROM (%s) AS v (tag, nsp, name) '
		'JOIN pg_namespace n ON n.nspname = v.nsp::name JOIN %s c ON c.%snamespace = n.oid AND c.%sname = v.name::name';
	nothing CONSTANT text := 'NULL::text, NULL::text, NULL::text';
	tables text; types text; collations text;
	schemas text; functions text; users text;
BEGIN
	SELECT runops._values_sql(array_agg(format('(%L, %L, %L)', p.relation::oid, p.remote_schema, p.remote_table)), nothing)
	INTO tables FROM runops._placements(store) p;
	SELECT runops._values_sql(array_agg(format('(%L, %L, %L)', format('%I.%I', u.nsp, u.name), u.nsp, u.name)), nothing)
	INTO types FROM runops._used_types(relations) u;
	SELECT runops._values_sql(array_agg(format('(%L, %L, %L)', format('%I.%I', u.nsp, u.name), u.nsp, u.name)), nothing)
	INTO collations FROM runops._used_collations(relations) u;

	-- functions that expressions here need and that the store may lack
	SELECT runops._values_sql(array_agg(DISTINCT format('(%L)', f)), 'NULL::text') INTO functions
	FROM jsonb_path_query(here, '$.tables.*.*.needs[*]') AS n (f_json),
		LATERAL (SELECT f_json #>> '{}') AS x (f)
	WHERE f NOT LIKE 'runops.%';
	SELECT runops._values_sql(array_agg(DISTINCT format('(%L)', s)), 'NULL::text') INTO schemas
	FROM (SELECT p.remote_schema FROM runops._placements(store) p
		  UNION ALL SELECT u.nsp FROM runops._used_types(relations) u
		  UNION ALL SELECT u.nsp FROM runops._used_collations(relations) u) AS x (s);
	SELECT runops._values_sql(array_agg(DISTINCT format('(%L::text)', u.remote_user)), 'NULL::text') INTO users
	FROM runops._mapped_users(store) u;

	RETURN runops._remote_object(store, format($q$
		SELECT jsonb_build_object('database', (%s), 'tables', %s, 'types', %s, 'collations', %s) || jsonb_build_object(
			'version', current_setting('server_version_num')::int,
			'tokens', to_regclass('runops_commit.token') IS NOT NULL,
			'schemas', (SELECT coalesce(jsonb_agg(n.nspname), '[]') FROM pg_namespace n
						WHERE n.nspname IN (%s)),
			'extensions', (SELECT coalesce(jsonb_agg(x.extname), '[]') FROM pg_extension x),
			'functions', (SELECT coalesce(jsonb_agg(p.oid::regprocedure::text), '[]') FROM pg_proc p
						  WHERE p.pronamespace <> 'pg_catalog'::regnamespace AND p.oid::regprocedure::text IN (%s)),
			'privileges', (SELECT coalesce(jsonb_agg(jsonb_build_object(
					'relation', v.tag,
					'user', u.name,
					'role', coalesce(u.name, session_user),
					'exists', r.oid IS NOT NULL,
					'bypass', r.rolsuper OR r.rolbypassrls OR (pg_has_role(r.oid, c.relowner, 'USAGE') AND NOT c.relforcerowsecurity),
					'usage', has_schema_privilege(r.oid, n.oid, 'USAGE'),
					'table', (SELECT jsonb_agg(p) FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) p
							  WHERE has_table_privilege(r.oid, c.oid, p)),
					'column', (SELECT jsonb_agg(p) FROM unnest('{SELECT,INSERT,UPDATE}'::text[]) p
							   WHERE has_any_column_privilege(r.oid, c.oid, p)))), '[]')
				FROM (%s) AS v (tag, nsp, name)
				JOIN pg_namespace n ON n.nspname = v.nsp::name
				JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.name::name AND c.relkind IN ('r', 'p')
				CROSS JOIN (%s) AS u (name)
				LEFT JOIN pg_roles r ON r.rolname = coalesce(u.name, session_user))) AS facts$q$,
		runops._database_facts_sql(),
		runops._facts_object_sql(runops._table_facts_sql(
			format('SELECT x.tag, x.oid, x.oid FROM (' || named || ') AS x', tables, 'pg_class', 'rel', 'rel'))),
		runops._facts_object_sql(runops._type_facts_sql(
			format(named, types, 'pg_type', 'typ', 'typ'))),
		runops._facts_object_sql(runops._collation_facts_sql(
			format(named || ' AND c.collencoding IN (-1, (SELECT d.encoding FROM pg_database d WHERE d.datname = current_database()))',
				   collations, 'pg_collation', 'coll', 'coll'))),
		schemas, functions, tables, users),
		'{"database": "object", "tables": "object", "types": "object", "collations": "object", "version": "number",
		  "schemas": "array", "extensions": "array", "functions": "array", "privileges": "array"}');
END
$$;

/* Database, schemas and collations. */
CREATE FUNCTION runops._schema_parity(store text, relations regclass[], here jsonb, there jsonb) RETURNS SETOF runops._parity
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- "en_US.UTF-8" and "en_US.utf8" are one locale
	IF lower(replace(here ->> 'database', '-', '')) <> lower(replace(there ->> 'database', '-', '')) THEN
		RETURN QUERY SELECT 0, NULL::regclass, 'database', 'database of the store', 'drift', NULL::text,
			format('%s differs: here %s, in the store %s',
				   CASE WHEN here #> '{database,encoding}' = there #> '{database,encoding}' THEN 'default collation'
						ELSE 'encoding or default collation' END, here ->> 'database', there ->> 'database');
	END IF;

	RETURN QUERY
	SELECT 1, NULL::regclass, 'schema', format('schema %I', s),
		CASE WHEN there -> 'schemas' ? s THEN 'exists' ELSE 'create' END,
		CASE WHEN NOT there -> 'schemas' ? s THEN format('CREATE SCHEMA %I', s) END, NULL::text
	FROM (SELECT p.remote_schema FROM runops._placements(store) p WHERE p.relation = ANY (relations)
		  UNION SELECT u.nsp FROM runops._used_types(relations) u
		  UNION SELECT u.nsp FROM runops._used_collations(relations) u) AS x (s)
	ORDER BY s;

	RETURN QUERY
	SELECT 2, NULL::regclass, 'collation', 'collation ' || h.key,
		CASE WHEN t IS NULL THEN 'create' WHEN h.value = t THEN 'exists' ELSE 'drift' END,
		CASE WHEN t IS NULL THEN 'CREATE COLLATION ' || h.key || ' (' || concat_ws(', ',
			format('PROVIDER = %s', CASE d ->> 'provider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END),
			'LOCALE = ' || quote_literal(d ->> 'locale'),
			'LC_COLLATE = ' || quote_literal(d ->> 'lc_collate'),
			'LC_CTYPE = ' || quote_literal(d ->> 'lc_ctype'),
			'RULES = ' || quote_literal(d ->> 'rules'),
			CASE WHEN NOT (d ->> 'deterministic')::boolean THEN 'DETERMINISTIC = false' END) || ')' END,
		CASE WHEN t IS NOT NULL AND h.value <> t THEN format('here %s, in the store %s', h.value, t) END
	FROM jsonb_each(here -> 'collations') h
	CROSS JOIN LATERAL (SELECT h.value -> 'definition', there -> 'collations' -> h.key) AS x (d, t)
	ORDER BY h.key;
END
$$;

/* The statement that creates a type; NULL if provision cannot create it. */
CREATE FUNCTION runops._type_definition(name text, facts jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN facts ->> 'extension' IS NOT NULL THEN NULL
		WHEN facts ->> 'kind' = 'e' THEN
			format('CREATE TYPE %s AS ENUM (%s)', name,
				   (SELECT string_agg(quote_literal(l), ', ' ORDER BY o)
					FROM jsonb_array_elements_text(facts -> 'labels') WITH ORDINALITY AS e (l, o)))
		WHEN facts ->> 'kind' = 'd' THEN
			format('CREATE DOMAIN %s AS %s', name, facts ->> 'base')
			|| coalesce(' COLLATE ' || (facts ->> 'collation'), '')
			|| CASE WHEN (facts ->> 'notnull')::boolean THEN ' NOT NULL' ELSE '' END
			|| coalesce((SELECT string_agg(format(' CONSTRAINT %I %s', c ->> 'name', c ->> 'def'), '' ORDER BY o)
						 FROM jsonb_array_elements(facts -> 'checks') WITH ORDINALITY AS e (c, o)), '')
		WHEN facts ->> 'kind' = 'c' THEN
			format('CREATE TYPE %s AS (%s)', name,
				   (SELECT string_agg(format('%I %s', a ->> 'name', a ->> 'type')
						|| coalesce(' COLLATE ' || (a ->> 'collation'), ''), ', ' ORDER BY o)
					FROM jsonb_array_elements(facts -> 'attributes') WITH ORDINALITY AS e (a, o)))
	END
$$;

/* The same with the comment that marks the type as created by provision. */
CREATE FUNCTION runops._type_ddl(name text, facts jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT runops._type_definition(name, facts)
		|| format('; COMMENT ON %s %s IS %L', CASE facts ->> 'kind' WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END,
				  name, runops._provision_mark())
$$;

/*
 * Types.  Labels that exist only here can be added to an enum that provision has
 * created.  If a label exists only in the store, reads of rows that contain it
 * fail.
 */
CREATE FUNCTION runops._type_parity(relations regclass[], here jsonb, there jsonb) RETURNS SETOF runops._parity
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u record;
	h jsonb;
	t jsonb;
	previous text;
	only_there text;
	same_order boolean;
BEGIN
	FOR u IN SELECT format('%I.%I', x.nsp, x.name) AS name FROM runops._used_types(relations) x LOOP
		h := here -> 'types' -> u.name;
		t := there -> 'types' -> u.name;
		IF t IS NULL THEN
			RETURN NEXT ROW(3, NULL, 'type', 'type ' || u.name,
				CASE WHEN runops._type_ddl(u.name, h) IS NULL OR runops._unportable_type(u.name) IS NOT NULL THEN 'drift' ELSE 'create' END,
				coalesce(runops._type_ddl(u.name, h), 'CREATE EXTENSION ' || quote_ident(h ->> 'extension')),
				CASE WHEN runops._type_ddl(u.name, h) IS NULL THEN 'missing in the store, and provision cannot create it'
					ELSE 'missing in the store: not created there because it calls ' || runops._unportable_type(u.name) END)::runops._parity;
			CONTINUE;
		END IF;
		RETURN NEXT ROW(3, NULL, 'type', 'type ' || u.name,
			CASE WHEN h - 'ours' - 'labels' = t - 'ours' - 'labels' THEN 'exists' ELSE 'drift' END, NULL,
			CASE WHEN h - 'ours' - 'labels' <> t - 'ours' - 'labels'
				 THEN format('here %s, in the store %s', coalesce(runops._type_definition(u.name, h), 'another kind of type'),
							 coalesce(runops._type_definition(u.name, t), 'another kind of type')) END)::runops._parity;
		CONTINUE WHEN h ->> 'kind' <> 'e' OR t ->> 'kind' <> 'e';

		previous := NULL;
		FOR only_there IN SELECT l FROM jsonb_array_elements_text(h -> 'labels') WITH ORDINALITY AS e (l, o) ORDER BY o LOOP
			IF NOT t -> 'labels' ? only_there THEN
				RETURN NEXT ROW(3, NULL, 'label', format('label %L of type %s', only_there, u.name),
					CASE WHEN (t ->> 'ours')::boolean THEN 'create' ELSE 'drift' END,
					format('ALTER TYPE %s ADD VALUE %L %s', u.name, only_there,
						   coalesce('AFTER ' || quote_literal(previous), 'BEFORE ' || quote_literal(t -> 'labels' ->> 0))),
					'exists only here')::runops._parity;
			END IF;
			previous := only_there;
		END LOOP;

		RETURN QUERY
		SELECT 3, NULL::regclass, 'label', format('label %L of type %s', l, u.name), 'drift', NULL::text, 'exists only in the store'
		FROM jsonb_array_elements_text(t -> 'labels') l WHERE NOT h -> 'labels' ? l;

		SELECT array_agg(x.l ORDER BY x.o) = array_agg(x.l ORDER BY y.o) INTO same_order
		FROM jsonb_array_elements_text(h -> 'labels') WITH ORDINALITY AS x (l, o)
		JOIN jsonb_array_elements_text(t -> 'labels') WITH ORDINALITY AS y (l, o) USING (l);
		IF NOT same_order THEN
			RETURN NEXT ROW(3, NULL, 'type', 'type ' || u.name, 'drift', NULL,
				format('labels in another order: here %s, in the store %s', h -> 'labels', t -> 'labels'))::runops._parity;
		END IF;
	END LOOP;
END
$$;

/* The tables and their columns. */
CREATE FUNCTION runops._table_parity(pairs runops._table_pair[], version int, functions jsonb) RETURNS SETOF runops._parity
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH p AS MATERIALIZED (
		SELECT x.no, (x.place).relation, x.target, x.here -> 'columns' AS here, x.there -> 'columns' AS there,
			x.there ->> 'kind' AS kind, (x.there ->> 'ours')::boolean AS ours,
			(x.there ->> 'children')::boolean AS children,
			-- the key by which a single row is addressed
			EXISTS (SELECT FROM jsonb_array_elements(x.here -> 'constraints') k
					WHERE k ->> 'def' NOT LIKE '% DEFERRABLE%' AND (k ->> 'type' = 'p' OR k ->> 'type' = 'u' AND NOT EXISTS (
						SELECT FROM jsonb_array_elements(x.here -> 'columns') c
						WHERE k -> 'columns' ? (c ->> 'name') AND NOT (c ->> 'notnull')::boolean))) AS keyed
		FROM unnest(pairs) WITH ORDINALITY AS x (place, target, here, there, no)
	), found (no, part, o, phase, relation, kind, object, action, ddl, detail) AS (
		SELECT p.no, 1, 0::bigint, 4, p.relation, 'table', 'table ' || p.target, CASE WHEN u.unportable IS NULL THEN 'create' ELSE 'drift' END,
			format(E'CREATE TABLE %s (\n\t%s\n); COMMENT ON TABLE %s IS %L', p.target,
				   (SELECT string_agg(runops._column_ddl(c, version), E',\n\t' ORDER BY o)
					FROM jsonb_array_elements(p.here) WITH ORDINALITY AS e (c, o)),
				   p.target, runops._provision_mark()),
			'missing in the store: not created there because a generated column calls ' || u.unportable
		FROM p CROSS JOIN LATERAL (SELECT string_agg(c ->> 'unportable', ', ') FROM jsonb_array_elements(p.here) c
								   WHERE c ->> 'generated' IS NOT NULL) AS u (unportable)
		WHERE p.kind IS NULL
		UNION ALL
		SELECT p.no, 1, 0, 4, p.relation, 'table', 'table ' || p.target, CASE WHEN p.kind IN ('r', 'p') THEN 'exists' ELSE 'drift' END, NULL,
			CASE WHEN p.kind NOT IN ('r', 'p') THEN 'the relation with this name in the store is not a table' END
		FROM p WHERE p.kind IS NOT NULL
		UNION ALL
		SELECT p.no, 1, 1, 4, p.relation, 'partitioned', 'table ' || p.target, 'drift', NULL,
			CASE p.kind WHEN 'p' THEN 'the table in the store is itself partitioned' ELSE 'the table in the store has children' END
			|| ', and the table has no key here, so an UPDATE or DELETE that is not sent there as a whole is refused'
		FROM p WHERE (p.kind = 'p' OR (p.kind = 'r' AND p.children)) AND NOT p.keyed
		UNION ALL
		-- A column that exists only in the store may be the missing column under its
		-- old name.  A new column would hide the values of the old one.
		SELECT p.no, 2, e.o, 5, p.relation, 'column', format('column %s.%I', p.target, c ->> 'name'),
			CASE WHEN p.ours AND other IS NULL AND NOT (c ->> 'generated' IS NOT NULL AND c ? 'unportable') AND functions @> coalesce(nullif(c -> 'needs', 'null'), '[]')
				 THEN 'create' ELSE 'drift' END,
			CASE WHEN other IS NULL THEN format('ALTER TABLE %s ADD COLUMN %s', p.target, runops._column_ddl(c, version))
				 ELSE format('ALTER TABLE %s RENAME COLUMN %I TO %I', p.target, other, c ->> 'name') END,
			CASE WHEN c ->> 'generated' IS NOT NULL AND c ? 'unportable'
					THEN format('missing in the store: not created there because it calls %s', c ->> 'unportable')
				 WHEN other IS NULL THEN 'missing in the store'
				 ELSE format('missing in the store; column "%s" there may be the same column under its old name', other) END
		FROM p CROSS JOIN LATERAL jsonb_array_elements(p.here) WITH ORDINALITY AS e (c, o)
		CROSS JOIN LATERAL (
			SELECT min(x ->> 'name') FROM jsonb_array_elements(p.there) x
			WHERE x ->> 'type' = c ->> 'type'
				AND NOT EXISTS (SELECT FROM jsonb_array_elements(p.here) y WHERE y ->> 'name' = x ->> 'name')) AS r (other)
		WHERE p.kind IN ('r', 'p')
			AND NOT EXISTS (SELECT FROM jsonb_array_elements(p.there) x WHERE x ->> 'name' = c ->> 'name')
		UNION ALL
		SELECT p.no, 3, e.o, 5, p.relation, 'column', format('column %s.%I', p.target, x ->> 'name'), 'drift',
			CASE WHEN NOT EXISTS (
					SELECT FROM jsonb_array_elements(p.here) c
					WHERE c ->> 'type' = x ->> 'type'
						AND NOT EXISTS (SELECT FROM jsonb_array_elements(p.there) y WHERE y ->> 'name' = c ->> 'name'))
				 THEN format('ALTER TABLE %s DROP COLUMN %I', p.target, x ->> 'name') END,
			'exists only in the store'
		FROM p CROSS JOIN LATERAL jsonb_array_elements(p.there) WITH ORDINALITY AS e (x, o)
		WHERE p.kind IN ('r', 'p')
			AND NOT EXISTS (SELECT FROM jsonb_array_elements(p.here) c WHERE x ->> 'name' = c ->> 'name')
		UNION ALL
		SELECT p.no, 4, e.o, 5, p.relation, d.kind, format('column %s.%I', p.target, c ->> 'name'), 'drift',
			format('ALTER TABLE %s ALTER COLUMN %I ', p.target, c ->> 'name') || d.ddl, d.detail
		FROM p CROSS JOIN LATERAL jsonb_array_elements(p.here) WITH ORDINALITY AS e (c, o)
		JOIN LATERAL jsonb_array_elements(p.there) x ON x ->> 'name' = c ->> 'name'
		CROSS JOIN LATERAL runops._column_drift(c, x) d
		-- every value comes from here, so an identity column there is wrong even if it is one here
		WHERE p.kind IN ('r', 'p') AND (c <> x OR (x ->> 'identity')::boolean)
	)
	SELECT f.phase, f.relation, f.kind, f.object, f.action, f.ddl, f.detail FROM found f ORDER BY f.no, f.part, f.o
$$;

/* The differences between column x in the store and column c here. */
CREATE FUNCTION runops._column_drift(c jsonb, x jsonb) RETURNS TABLE (kind text, ddl text, detail text)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'type', format('TYPE %s', c ->> 'type'),
		format('type %s here, %s in the store', c ->> 'type', x ->> 'type')
	WHERE c ->> 'type' <> x ->> 'type'
	UNION ALL
	SELECT 'collation', format('TYPE %s COLLATE %s', c ->> 'type', c ->> 'collation'),
		format('collation %s here, %s in the store', c ->> 'collation', x ->> 'collation')
	WHERE c ->> 'type' = x ->> 'type' AND c ->> 'collation' <> x ->> 'collation'
	UNION ALL
	SELECT 'column', 'DROP IDENTITY', 'identity column in the store, although every value comes from here'
	WHERE (x ->> 'identity')::boolean
	UNION ALL
	SELECT 'column', CASE WHEN (c ->> 'notnull')::boolean THEN 'SET' ELSE 'DROP' END || ' NOT NULL',
		CASE WHEN (c ->> 'notnull')::boolean THEN 'NOT NULL here, but not in the store' ELSE 'NOT NULL only in the store' END
	WHERE c -> 'notnull' <> x -> 'notnull'
	UNION ALL
	SELECT 'column', CASE WHEN c ->> 'generated' IS NULL THEN 'DROP EXPRESSION' END,
		format('generated as %s here, as %s in the store', coalesce(c ->> 'generated', 'nothing'), coalesce(x ->> 'generated', 'nothing'))
	WHERE c ->> 'generated' IS DISTINCT FROM x ->> 'generated'
	UNION ALL
	SELECT 'column', CASE WHEN c ->> 'default' IS NOT NULL AND (c ->> 'portable')::boolean
		THEN 'SET DEFAULT ' || (c ->> 'default') ELSE 'DROP DEFAULT' END,
		format('default %s here, %s in the store', coalesce(c ->> 'default', 'nothing'), x ->> 'default')
	WHERE x ->> 'default' IS NOT NULL AND x ->> 'default' IS DISTINCT FROM c ->> 'default'
$$;
