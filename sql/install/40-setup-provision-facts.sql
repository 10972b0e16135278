/*
 * Facts: queries that describe the tables, types and collations of one side from
 * its catalogs.
 *
 * The same query text runs on both sides, so the same functions print the values
 * that are compared.  It has to run on every supported major version.  So it uses
 * to_jsonb to read catalog columns that some versions do not have.  search_path
 * is pg_catalog on both sides, so every other name in the result is qualified.
 */

/* The comment on an object in a store that provision has created. */
CREATE FUNCTION runops._provision_mark() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT 'made by runops.provision()'::pg_catalog.text $$;

/*
 * A query with the columns tag and facts.  "source" is a query with the columns
 * tag, cols and rest.  The columns of a table are read from the relation cols,
 * everything else from the relation rest.  (In this database these are the parent
 * and its legacy leaf.)
 *
 * A default is "portable" if it depends only on types and collations, which the
 * store has.  Other defaults are evaluated here anyway.  "needs" lists functions
 * that are not built in.
 */
CREATE FUNCTION runops._table_facts_sql(source text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $f$ SELECT pg_catalog.replace($q$
SELECT r.tag, jsonb_build_object(
	'kind', k.relkind,
	'ours', coalesce(obj_description(k.oid, 'pg_class') = 'made by runops.provision()', false),
	'security', k.relrowsecurity,
	'columns', (
		SELECT coalesce(jsonb_agg(jsonb_build_object(
			'name', a.attname,
			'type', format_type(a.atttypid, a.atttypmod),
			'collation', quote_ident(cn.nspname) || '.' || quote_ident(co.collname),
			'collate', a.attcollation <> t.typcollation,
			'notnull', a.attnotnull,
			'identity', a.attidentity <> '',
			'generated', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END,
			'virtual', a.attgenerated = 'v',
			'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
			'portable', NOT EXISTS (
				SELECT FROM pg_depend p
				WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
					AND NOT (p.refclassid = 'pg_class'::regclass AND p.refobjid = a.attrelid)
					AND p.refclassid NOT IN ('pg_type'::regclass, 'pg_collation'::regclass)),
			'needs', (SELECT jsonb_agg(p.refobjid::regprocedure::text)
					  FROM pg_depend p
					  WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
						AND p.refclassid = 'pg_proc'::regclass)
		) ORDER BY a.attnum), '[]')
		FROM pg_attribute a
		JOIN pg_type t ON t.oid = a.atttypid
		LEFT JOIN pg_collation co ON co.oid = a.attcollation
		LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE a.attrelid = r.cols AND a.attnum > 0 AND NOT a.attisdropped),
	'constraints', (
		SELECT coalesce(jsonb_agg(jsonb_build_object(
			'name', c.conname,
			'type', c.contype,
			'def', CASE WHEN c.contype = 'f'
						THEN overlay(x.def PLACING 'REFERENCES @' FROM strpos(x.def, y.ref) FOR length(y.ref))
						ELSE x.def END,
			'ref', CASE WHEN c.contype = 'f' THEN substr(y.ref, 12) END,
			'refid', c.confrelid::text,
			'valid', c.convalidated,
			'clears', c.contype = 'f' AND c.confdeltype IN ('n', 'd'),
			'columns', (SELECT jsonb_agg(a.attname) FROM pg_attribute a
						WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)),
			'needs', (SELECT jsonb_agg(p.refobjid::regprocedure::text)
					  FROM pg_depend p
					  WHERE p.classid = 'pg_constraint'::regclass AND p.objid = c.oid
						AND p.refclassid = 'pg_proc'::regclass)
		) ORDER BY c.contype = 'p' DESC, c.conname), '[]')
		FROM pg_constraint c
		LEFT JOIN pg_class rc ON rc.oid = c.confrelid
		LEFT JOIN pg_namespace rn ON rn.oid = rc.relnamespace
		CROSS JOIN LATERAL (SELECT regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', '')) AS x (def)
		CROSS JOIN LATERAL (SELECT 'REFERENCES ' || quote_ident(rn.nspname) || '.' || quote_ident(rc.relname)) AS y (ref)
		WHERE c.conrelid = r.rest AND c.contype IN ('c', 'p', 'u', 'x', 'f')
			AND (c.contype <> 'f' OR c.conparentid = 0)
			AND to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false'),
	'indexes', (
		SELECT coalesce(jsonb_agg(jsonb_build_object(
			'name', coalesce(pc.relname, ic.relname),
			'unique', i.indisunique,
			'exclusion', i.indisexclusion,
			'valid', i.indisvalid AND i.indisready,
			'constraint', EXISTS (SELECT FROM pg_constraint c
								  WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x')),
			'def', substr(pg_get_indexdef(i.indexrelid), 1 + length(
				'CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' || quote_ident(ic.relname)
				|| ' ON ' || CASE WHEN ic.relkind = 'I' THEN 'ONLY ' ELSE '' END
				|| quote_ident(kn.nspname) || '.' || quote_ident(k.relname) || ' ')),
			'needs', (SELECT jsonb_agg(p.refobjid::regprocedure::text)
					  FROM pg_depend p
					  WHERE p.classid = 'pg_class'::regclass AND p.objid = i.indexrelid
						AND p.refclassid = 'pg_proc'::regclass)
		) ORDER BY ic.relname), '[]')
		FROM pg_index i
		JOIN pg_class ic ON ic.oid = i.indexrelid
		LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid
		LEFT JOIN pg_class pc ON pc.oid = h.inhparent
		WHERE i.indrelid = r.rest AND i.indislive),
	'triggers', (
		SELECT coalesce(jsonb_agg(g.tgname ORDER BY g.tgname), '[]')
		FROM pg_trigger g
		JOIN pg_proc f ON f.oid = g.tgfoid
		JOIN pg_language l ON l.oid = f.prolang
		WHERE g.tgrelid = r.rest AND NOT g.tgisinternal AND g.tgenabled <> 'D'
			AND l.lanname NOT IN ('c', 'internal')
			AND NOT EXISTS (SELECT FROM unnest(f.proconfig) s WHERE s LIKE 'search\_path=%'))
) AS facts
FROM (@source@) AS r (tag, cols, rest)
JOIN pg_class k ON k.oid = r.rest
JOIN pg_namespace kn ON kn.oid = k.relnamespace
$q$, '@source@', source) $f$;

/*
 * The same for types; source is a query with the columns tag and type.
 */
CREATE FUNCTION runops._type_facts_sql(source text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $f$ SELECT pg_catalog.replace($q$
SELECT r.tag, jsonb_build_object(
	'kind', t.typtype,
	'ours', coalesce(obj_description(t.oid, 'pg_type') = 'made by runops.provision()', false),
	'labels', (SELECT coalesce(jsonb_agg(e.enumlabel ORDER BY e.enumsortorder), '[]') FROM pg_enum e WHERE e.enumtypid = t.oid),
	'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
	'collation', CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation THEN
		(SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname)
		 FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
		 WHERE c.oid = t.typcollation) END,
	'notnull', t.typnotnull,
	'checks', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', c.conname,
			'def', regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', '')) ORDER BY c.conname), '[]')
		FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c'),
	'attributes', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', a.attname,
			'type', format_type(a.atttypid, a.atttypmod),
			'collation', (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname)
				FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
				WHERE c.oid = a.attcollation AND a.attcollation <> y.typcollation)) ORDER BY a.attnum), '[]')
		FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
		WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped),
	'extension', (SELECT x.extname FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
		WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
			AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
) AS facts
FROM (@source@) AS r (tag, type)
JOIN pg_type t ON t.oid = r.type
LEFT JOIN pg_type b ON b.oid = t.typbasetype
$q$, '@source@', source) $f$;

/*
 * The same for collations; source is a query with the columns tag and coll.
 *
 * PostgreSQL 17 renamed the column for the ICU locale.  The collation version is
 * separate from the definition, because no DDL sets it.
 */
CREATE FUNCTION runops._collation_facts_sql(source text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $f$ SELECT pg_catalog.replace($q$
SELECT r.tag, jsonb_build_object(
	'definition', jsonb_build_object(
		'provider', c.collprovider,
		'deterministic', c.collisdeterministic,
		'lc_collate', c.collcollate,
		'lc_ctype', c.collctype,
		'locale', coalesce(j.c ->> 'colllocale', j.c ->> 'colliculocale'),
		'rules', j.c ->> 'collicurules'),
	'version', c.collversion) AS facts
FROM (@source@) AS r (tag, coll)
JOIN pg_collation c ON c.oid = r.coll
CROSS JOIN LATERAL (SELECT to_jsonb(c)) AS j (c)
$q$, '@source@', source) $f$;

/*
 * The encoding and the default collation of the database.  The collation applies
 * to every column that does not name another one.
 */
CREATE FUNCTION runops._database_facts_sql() RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $f$ SELECT $q$
SELECT jsonb_build_object(
	'encoding', pg_encoding_to_char(d.encoding),
	'provider', d.datlocprovider,
	'lc_collate', d.datcollate,
	'lc_ctype', d.datctype,
	'locale', coalesce(j.d ->> 'datlocale', j.d ->> 'daticulocale'),
	'rules', j.d ->> 'daticurules',
	'version', d.datcollversion) AS facts
FROM pg_database d
CROSS JOIN LATERAL (SELECT to_jsonb(d)) AS j (d)
WHERE d.datname = current_database()
$q$::pg_catalog.text $f$;

/* Turn a facts query into one jsonb object, with the tags as its keys. */
CREATE FUNCTION runops._facts_object_sql(facts_sql text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT '(SELECT coalesce(jsonb_object_agg(tag, facts), ''{}'') FROM (' || facts_sql || ') AS f)' $$;

/* A VALUES list of the pieces, or a query without rows if there are no pieces. */
CREATE FUNCTION runops._values_sql(pieces text[], empty text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN cardinality(pieces) > 0 THEN 'VALUES ' || array_to_string(pieces, ', ')
			 ELSE 'SELECT ' || empty || ' WHERE false' END $$;

/*
 * The routed tables and their places in the store: one row for each table, with
 * its schema and name there, and its key as an SQL expression.
 *
 * The expression comes from the partition key, which core has parsed, and not
 * from the argument of attach.
 */
CREATE FUNCTION runops._placements(store text) RETURNS TABLE (
	relation regclass, leaf regclass, remote_schema text, remote_table text,
	key text, key_columns name[], aliases name[])
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT t.relation, t.leaf,
		coalesce((SELECT option_value FROM pg_options_to_table(f.ftoptions) WHERE option_name = 'schema_name'), n.nspname),
		coalesce((SELECT option_value FROM pg_options_to_table(f.ftoptions) WHERE option_name = 'table_name'), c.relname),
		regexp_replace(pg_get_expr(p.partexprs, p.partrelid), '^runops\.store_of\((.*)\)$', '\1'),
		ARRAY(SELECT a.attname FROM pg_depend d
			  JOIN pg_attribute a ON a.attrelid = d.objid AND a.attnum = d.objsubid
			  WHERE d.classid = 'pg_class'::regclass AND d.objid = t.relation AND d.deptype = 'i'
				AND d.refclassid = 'pg_class'::regclass AND d.refobjid = t.relation AND d.refobjsubid = 0),
		t.aliases
	FROM runops.routed_tables t
	JOIN pg_class c ON c.oid = t.relation
	JOIN pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_partitioned_table p ON p.partrelid = t.relation
	LEFT JOIN (pg_inherits i
		JOIN pg_class l ON l.oid = i.inhrelid
		JOIN pg_namespace ln ON ln.oid = l.relnamespace
		JOIN pg_foreign_table f ON f.ftrelid = l.oid)
		ON i.inhparent = t.relation AND ln.nspname = runops._leaf_schema(_placements.store)
	ORDER BY n.nspname, c.relname
$$;

/*
 * The types that the columns of the tables use.  A type comes after the types
 * that it consists of.  Built-in types and array types are left out; the element
 * types of arrays are included.
 */
CREATE FUNCTION runops._used_types(relations regclass[]) RETURNS TABLE (type oid, nsp name, name name)
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE used (type, depth) AS (
		SELECT a.atttypid, 0 FROM pg_attribute a
		WHERE a.attrelid = ANY (relations) AND a.attnum > 0 AND NOT a.attisdropped
		UNION
		SELECT x.type, u.depth + 1
		FROM used u JOIN pg_type t ON t.oid = u.type
		CROSS JOIN LATERAL (
			SELECT t.typelem WHERE t.typelem <> 0 AND t.typcategory = 'A'
			UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
			UNION ALL SELECT a.atttypid FROM pg_attribute a
			WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
			UNION ALL SELECT g.rngsubtype FROM pg_range g WHERE g.rngtypid = t.oid OR g.rngmultitypid = t.oid) AS x (type)
	)
	SELECT t.oid, n.nspname, t.typname
	FROM used u JOIN pg_type t ON t.oid = u.type JOIN pg_namespace n ON n.oid = t.typnamespace
	WHERE n.nspname <> 'pg_catalog' AND t.typcategory <> 'A'
	GROUP BY t.oid, n.nspname, t.typname
	ORDER BY max(u.depth) DESC, n.nspname, t.typname
$$;

/* The collations that columns, types and indexes of the tables use. */
CREATE FUNCTION runops._used_collations(relations regclass[], types oid[]) RETURNS TABLE (coll oid, nsp name, name name)
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT DISTINCT c.oid, n.nspname, c.collname
	FROM (SELECT a.attcollation FROM pg_attribute a
		  WHERE a.attrelid = ANY (relations) AND a.attnum > 0 AND NOT a.attisdropped
		  UNION ALL SELECT t.typcollation FROM pg_type t WHERE t.oid = ANY (types)
		  UNION ALL SELECT a.attcollation FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
		  WHERE t.oid = ANY (types) AND t.typtype = 'c'
		  UNION ALL SELECT unnest(i.indcollation) FROM pg_index i WHERE i.indrelid = ANY (relations)) AS used (coll)
	JOIN pg_collation c ON c.oid = used.coll
	JOIN pg_namespace n ON n.oid = c.collnamespace
	WHERE n.nspname <> 'pg_catalog'
	ORDER BY n.nspname, c.collname
$$;

/*
 * The remote users in the user mappings of the store's server, each with the
 * local role, as far as the caller may see them.  NULL stands for a mapping
 * without a user; the store replaces it by the user of the remote session.
 */
CREATE FUNCTION runops._mapped_users(store text) RETURNS TABLE (local_role oid, remote_user text)
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT m.umuser, (SELECT option_value FROM pg_options_to_table(m.umoptions) WHERE option_name = 'user')
	FROM runops.stores s JOIN pg_user_mappings m ON m.srvname = s.server
	WHERE s.store = _mapped_users.store
		AND (m.umoptions IS NOT NULL
			 OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user AND (r.rolsuper OR r.oid = m.umuser)))
	ORDER BY m.usename
$$;
