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
 * Query the facts of both sides.  "relations" are the tables to compare; the
 * result contains all routed tables, because a foreign key may refer to any of
 * them.
 *
 * The settings are the same as in a remote session (see session/store_sql.c),
 * because they decide how constants in expressions are printed.
 */
CREATE FUNCTION runops._facts(store text, relations regclass[]) RETURNS TABLE (here jsonb, there jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET timezone = 'GMT' SET datestyle = ISO SET intervalstyle = postgres SET extra_float_digits = 3
SET bytea_output = hex SET quote_all_identifiers = off
AS $$
DECLARE
	parts CONSTANT text := 'SELECT jsonb_build_object(''database'', (%s), ''tables'', %s, ''types'', %s, ''collations'', %s)';
	here_tables text[]; there_tables text[];
	here_types text[]; there_types text[]; types oid[];
	here_collations text[]; there_collations text[];
	named CONSTANT text := 'SELECT v.tag, c.oid FROM (%s) AS v (tag, nsp, name) '
		'JOIN pg_namespace n ON n.nspname = v.nsp::name JOIN %s c ON c.%snamespace = n.oid AND c.%sname = v.name::name';
	schemas text; functions text; users text; tables text;
BEGIN
	SELECT array_agg(format('(%L, %s::oid, %s::oid)', p.relation::oid, p.relation::oid, p.leaf::oid)),
		array_agg(format('(%L, %L, %L)', p.relation::oid, p.remote_schema, p.remote_table))
	INTO here_tables, there_tables
	FROM runops._placements(store) p;
	SELECT array_agg(format('(%L, %s::oid)', format('%I.%I', nsp, name), type)),
		array_agg(format('(%L, %L, %L)', format('%I.%I', nsp, name), nsp, name)), coalesce(array_agg(type), '{}')
	INTO here_types, there_types, types
	FROM runops._used_types(relations);
	SELECT array_agg(format('(%L, %s::oid)', format('%I.%I', nsp, name), coll)),
		array_agg(format('(%L, %L, %L)', format('%I.%I', nsp, name), nsp, name))
	INTO here_collations, there_collations
	FROM runops._used_collations(relations || ARRAY(SELECT p.leaf FROM runops._placements(store) p
													WHERE p.relation = ANY (relations)), types);

	EXECUTE format(parts, runops._database_facts_sql(),
		runops._facts_object_sql(runops._table_facts_sql(runops._values_sql(here_tables, 'NULL::text, 0::oid, 0::oid'))),
		runops._facts_object_sql(runops._type_facts_sql(runops._values_sql(here_types, 'NULL::text, 0::oid'))),
		runops._facts_object_sql(runops._collation_facts_sql(runops._values_sql(here_collations, 'NULL::text, 0::oid'))))
	INTO here;

	-- a default that is not sent is computed here anyway
	SELECT jsonb_set(here, '{tables}', coalesce(jsonb_object_agg(t.key, t.value || jsonb_build_object('columns', (
			SELECT jsonb_agg(c || CASE WHEN u IS NULL THEN '{}' ELSE jsonb_build_object('portable', false, 'unportable', u) END ORDER BY o)
			FROM jsonb_array_elements(t.value -> 'columns') WITH ORDINALITY AS x (c, o)
			CROSS JOIN LATERAL runops._unportable_default(t.key::oid::regclass, (c ->> 'name')::name) AS d (u)))), '{}'))
	INTO here FROM jsonb_each(here -> 'tables') t;

	-- functions that expressions here need and that the store may lack
	SELECT runops._values_sql(array_agg(DISTINCT format('(%L)', f)), 'NULL::text') INTO functions
	FROM jsonb_path_query(here, '$.tables.*.*.needs[*]') AS n (f_json),
		LATERAL (SELECT f_json #>> '{}') AS x (f)
	WHERE f NOT LIKE 'runops.%';
	SELECT runops._values_sql(array_agg(DISTINCT format('(%L)', s)), 'NULL::text') INTO schemas
	FROM (SELECT p.remote_schema FROM runops._placements(store) p
		  UNION ALL SELECT u.nsp FROM runops._used_types(relations) u
		  UNION ALL SELECT u.nsp FROM runops._used_collations(relations, types) u) AS x (s);
	SELECT runops._values_sql(array_agg(DISTINCT format('(%L::text)', u.remote_user)), 'NULL::text') INTO users
	FROM runops._mapped_users(store) u;
	tables := runops._values_sql(there_tables, 'NULL::text, NULL::text, NULL::text');

	there := runops._remote_object(store, format(
		parts || $q$ || jsonb_build_object(
			'version', current_setting('server_version_num')::int,
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
			format(named, runops._values_sql(there_types, 'NULL::text, NULL::text, NULL::text'), 'pg_type', 'typ', 'typ'))),
		runops._facts_object_sql(runops._collation_facts_sql(
			format(named || ' AND c.collencoding IN (-1, (SELECT d.encoding FROM pg_database d WHERE d.datname = current_database()))',
				   runops._values_sql(there_collations, 'NULL::text, NULL::text, NULL::text'), 'pg_collation', 'coll', 'coll'))),
		schemas, functions, tables, users),
		'{"database": "object", "tables": "object", "types": "object", "collations": "object", "version": "number",
		  "schemas": "array", "extensions": "array", "functions": "array", "privileges": "array"}');
	RETURN NEXT;
END
$$;

/* Database, schemas and collations. */
CREATE FUNCTION runops._schema_parity(store text, relations regclass[], here jsonb, there jsonb) RETURNS SETOF runops._parity
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF here -> 'database' <> there -> 'database' THEN
		RETURN QUERY SELECT 0, NULL::regclass, 'database', 'database of the store', 'drift', NULL::text,
			format('encoding or default collation differs: here %s, in the store %s',
				   here ->> 'database', there ->> 'database');
	END IF;

	RETURN QUERY
	SELECT 1, NULL::regclass, 'schema', format('schema %I', s),
		CASE WHEN there -> 'schemas' ? s THEN 'exists' ELSE 'create' END,
		CASE WHEN NOT there -> 'schemas' ? s THEN format('CREATE SCHEMA %I', s) END, NULL::text
	FROM (SELECT p.remote_schema FROM runops._placements(store) p WHERE p.relation = ANY (relations)
		  UNION SELECT u.nsp FROM runops._used_types(relations) u
		  UNION SELECT u.nsp FROM runops._used_collations(relations, ARRAY(SELECT type FROM runops._used_types(relations))) u) AS x (s)
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

/* One table and its columns. */
CREATE FUNCTION runops._table_parity(relation regclass, target text, h jsonb, t jsonb, version int, functions jsonb) RETURNS SETOF runops._parity
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	unportable CONSTANT text := (SELECT string_agg(c ->> 'unportable', ', ') FROM jsonb_array_elements(h -> 'columns') c
								 WHERE c ->> 'generated' IS NOT NULL);
BEGIN
	IF t IS NULL THEN
		RETURN NEXT ROW(4, relation, 'table', 'table ' || target, CASE WHEN unportable IS NULL THEN 'create' ELSE 'drift' END,
			format(E'CREATE TABLE %s (\n\t%s\n); COMMENT ON TABLE %s IS %L', target,
				   (SELECT string_agg(runops._column_ddl(c, version), E',\n\t' ORDER BY o)
					FROM jsonb_array_elements(h -> 'columns') WITH ORDINALITY AS e (c, o)),
				   target, runops._provision_mark()),
			'missing in the store: not created there because a generated column calls ' || unportable)::runops._parity;
		RETURN;
	END IF;
	IF t ->> 'kind' NOT IN ('r', 'p') THEN
		RETURN NEXT ROW(4, relation, 'table', 'table ' || target, 'drift', NULL,
			'the relation with this name in the store is not a table')::runops._parity;
		RETURN;
	END IF;
	RETURN NEXT ROW(4, relation, 'table', 'table ' || target, 'exists', NULL, NULL)::runops._parity;

	-- A column that exists only in the store may be the missing column under its
	-- old name.  A new column would hide the values of the old one.
	RETURN QUERY
	SELECT 5, relation, 'column', format('column %s.%I', target, c ->> 'name'),
		CASE WHEN (t ->> 'ours')::boolean AND other IS NULL AND NOT (c ->> 'generated' IS NOT NULL AND c ? 'unportable') AND functions @> coalesce(nullif(c -> 'needs', 'null'), '[]')
			 THEN 'create' ELSE 'drift' END,
		CASE WHEN other IS NULL THEN format('ALTER TABLE %s ADD COLUMN %s', target, runops._column_ddl(c, version))
			 ELSE format('ALTER TABLE %s RENAME COLUMN %I TO %I', target, other, c ->> 'name') END,
		CASE WHEN c ->> 'generated' IS NOT NULL AND c ? 'unportable'
				THEN format('missing in the store: not created there because it calls %s', c ->> 'unportable')
			 WHEN other IS NULL THEN 'missing in the store'
			 ELSE format('missing in the store; column "%s" there may be the same column under its old name', other) END
	FROM jsonb_array_elements(h -> 'columns') WITH ORDINALITY AS e (c, o)
	CROSS JOIN LATERAL (
		SELECT min(x ->> 'name') FROM jsonb_array_elements(t -> 'columns') x
		WHERE x ->> 'type' = c ->> 'type'
			AND NOT EXISTS (SELECT FROM jsonb_array_elements(h -> 'columns') y WHERE y ->> 'name' = x ->> 'name')) AS r (other)
	WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(t -> 'columns') x WHERE x ->> 'name' = c ->> 'name')
	ORDER BY o;

	RETURN QUERY
	SELECT 5, relation, 'column', format('column %s.%I', target, x ->> 'name'), 'drift',
		CASE WHEN NOT EXISTS (
				SELECT FROM jsonb_array_elements(h -> 'columns') c
				WHERE c ->> 'type' = x ->> 'type'
					AND NOT EXISTS (SELECT FROM jsonb_array_elements(t -> 'columns') y WHERE y ->> 'name' = c ->> 'name'))
			 THEN format('ALTER TABLE %s DROP COLUMN %I', target, x ->> 'name') END,
		'exists only in the store'
	FROM jsonb_array_elements(t -> 'columns') x
	WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(h -> 'columns') c WHERE x ->> 'name' = c ->> 'name');

	RETURN QUERY
	SELECT 5, relation, d.kind, format('column %s.%I', target, c ->> 'name'), 'drift',
		format('ALTER TABLE %s ALTER COLUMN %I ', target, c ->> 'name') || d.ddl, d.detail
	FROM jsonb_array_elements(h -> 'columns') WITH ORDINALITY AS e (c, o)
	JOIN jsonb_array_elements(t -> 'columns') x ON x ->> 'name' = c ->> 'name'
	CROSS JOIN LATERAL runops._column_drift(c, x) d
	ORDER BY o;
END
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
