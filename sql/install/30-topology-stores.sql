/*
 * Topology: the stores, and the tables that are routed over them.
 *
 * Functions whose name starts with an underscore are parts of the public
 * functions.  They run with the privileges of their caller and do not check
 * these privileges themselves.
 */

-- A dump of the control plane contains both tables, but no rows of other databases.
CREATE TABLE runops.store_config (
	store text NOT NULL PRIMARY KEY
		CHECK (store IN ('legacy', 'new') OR store ~ '^[a-z0-9]$'),
	server name CHECK (server IS NOT NULL OR store = 'legacy'),
	reader name CHECK (reader <> server AND (reader IS NOT NULL OR server IS NOT NULL)),
	remote_schema name
);
SELECT pg_catalog.pg_extension_config_dump('runops.store_config', '');
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON runops.store_config
	FOR EACH STATEMENT EXECUTE FUNCTION runops._config_changed();
ALTER TABLE runops.store_config ENABLE ALWAYS TRIGGER config_changed;

-- "relation" is the routed table, which SQL statements name; "leaf" is the old table.
CREATE TABLE runops.table_config (
	relation regclass NOT NULL PRIMARY KEY,
	leaf regclass NOT NULL UNIQUE,
	key text NOT NULL,
	aliases name[] NOT NULL,
	saved jsonb NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('runops.table_config', '');
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON runops.table_config
	FOR EACH STATEMENT EXECUTE FUNCTION runops._config_changed();
ALTER TABLE runops.table_config ENABLE ALWAYS TRIGGER config_changed;

CREATE VIEW runops.stores AS
SELECT s.store,
	CASE s.store WHEN 'legacy' THEN 'LEGACY' ELSE 'NEW' END AS residency,
	c.server, c.reader, c.remote_schema
FROM (SELECT 'legacy'::text AS store
	  UNION SELECT store FROM runops.store_config) s
LEFT JOIN runops.store_config c USING (store);

-- If the key is a column, the view shows the current name of the column.
CREATE VIEW runops.routed_tables AS
SELECT t.relation,
	coalesce((SELECT a.attname::text FROM pg_catalog.pg_attribute a
			  JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.attrelid
			  CROSS JOIN LATERAL pg_catalog.regexp_replace(pg_catalog.pg_get_expr(p.partexprs, p.partrelid), '^runops\.', '') AS x (expr)
			  WHERE a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped
				AND x.expr IN (pg_catalog.format('store_of(%I)', a.attname), pg_catalog.format('store_of((%I)::text)', a.attname))), t.key) AS key,
	t.aliases, t.leaf,
	(SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits i
	 WHERE i.inhparent = t.relation) AS leaves
FROM runops.table_config t;

COMMENT ON TABLE runops.store_config IS 'stores, as add_store recorded them';
COMMENT ON TABLE runops.table_config IS 'routed tables, as attach recorded them';
COMMENT ON VIEW runops.stores IS 'stores, with the residency of each';
COMMENT ON VIEW runops.routed_tables IS 'routed tables, with the key that decides the store of a row';
-- set-up functions of whoever owns a table read both tables; the views show what is in them
GRANT SELECT ON runops.store_config, runops.table_config, runops.stores, runops.routed_tables TO PUBLIC;

/*
 * Limit the wait for locks to the interval; NULL keeps the limit of the session.
 * Returns the old setting, which the caller restores.
 */
CREATE FUNCTION runops._limit_lock_wait(lock_timeout interval) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before CONSTANT text := current_setting('lock_timeout');
BEGIN
	IF lock_timeout IS NOT NULL THEN
		PERFORM set_config('lock_timeout', ceil(date_part('epoch', lock_timeout) * 1000)::text, true);
	END IF;
	RETURN before;
END
$$;

/* The same without an interval: the limit is the session's, or 5 seconds if the session has none. */
CREATE FUNCTION runops._limit_lock_wait() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN runops._limit_lock_wait(CASE current_setting('lock_timeout') WHEN '0' THEN '5 s'::interval END);
END
$$;

/*
 * Lock a table, or raise an error that tells how long it waited.
 *
 * Other sessions queue behind a lock request that waits, so a long wait would
 * stop the service.
 */
CREATE FUNCTION runops._lock_table(relation regclass, mode text DEFAULT 'ACCESS EXCLUSIVE') RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('LOCK TABLE %s IN %s MODE', relation, mode);
EXCEPTION WHEN lock_not_available THEN
	RAISE EXCEPTION USING
		ERRCODE = 'lock_not_available',
		MESSAGE = format('could not lock table %s within %s', relation, current_setting('lock_timeout')),
		DETAIL = 'Other transactions hold locks on the table. Nothing was changed.',
		HINT = 'Try again after these transactions have ended, or allow a longer wait.';
END
$$;

/*
 * Lock the topology until the end of the transaction.  Two transactions cannot
 * change it at the same time, so a new leaf exists for every pair of a new store
 * and a new routed table.
 */
CREATE FUNCTION runops._topology_lock() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM runops._own_step('lock', '{}');
END
$$;

/* The schema that holds the leaves of a store.  "none" stands for the old tables if legacy is another database. */
CREATE FUNCTION runops._leaf_schema(store text) RETURNS name
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (CASE WHEN store IN ('legacy', 'new', 'none') THEN 'runops_' ELSE 'runops_shard_' END || store)::name $$;

/* The store of a leaf, read from its partition bound. */
CREATE FUNCTION runops._store_of_leaf(leaf regclass) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT nullif(substring(pg_get_expr(c.relpartbound, c.oid) FROM $re$^FOR VALUES IN \('([a-z0-9]+)'$re$), 'none')
	FROM pg_class c WHERE c.oid = leaf
$$;

/*
 * Create the schema for the leaves of a store if it does not exist, and return
 * an unused name in it for the leaf of a table.
 */
CREATE FUNCTION runops._new_leaf_name(store text, relation regclass) RETURNS name
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	leaf_schema CONSTANT name := runops._leaf_schema(store);
	r record;
	chosen name;
	i int := 0;
BEGIN
	PERFORM runops._own_step('leaf_schema', jsonb_build_object('store', store, 'relation', relation::oid));
	SELECT c.relname, (n.nspname || '.' || c.relname)::name AS qualified, y.typname AS array_type
	INTO STRICT r
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_type t ON t.oid = c.reltype JOIN pg_type y ON y.oid = t.typarray
	WHERE c.oid = relation;

	-- An index of another table can have any name.
	chosen := r.relname;
	WHILE EXISTS (SELECT FROM pg_class c
				  WHERE c.relnamespace = leaf_schema::regnamespace AND c.relname = chosen)
		OR EXISTS (SELECT FROM pg_type t
				   WHERE t.typnamespace = leaf_schema::regnamespace AND t.typname IN (chosen, r.array_type)
					 AND (i = 0 OR t.typname = chosen)) LOOP
		chosen := CASE i WHEN 0 THEN r.qualified ELSE 'runops_leaf_' || relation::oid || '_' || i END;
		i := i + 1;
	END LOOP;
	RETURN chosen;
END
$$;

-- Writes to the catalogs, because SQL has no command for this on foreign tables; see src/setup/catalog_transfer.c.
CREATE FUNCTION runops._forget_compression(leaf regclass) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_forget_compression';

/* The stores that a routed table has leaves for. */
CREATE FUNCTION runops._leaf_stores(relation regclass) RETURNS text[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT array_agg(s ORDER BY s)
	FROM (SELECT runops._store_of_leaf(i.inhrelid) FROM pg_inherits i WHERE i.inhparent = relation) AS x (s)
	WHERE s IS NOT NULL
$$;

/* Is the store in another database? */
CREATE FUNCTION runops._is_elsewhere(store text) RETURNS boolean
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT EXISTS (SELECT FROM runops.stores s WHERE s.store = _is_elsewhere.store AND s.server IS NOT NULL) $$;

/* Raise unless the server exists, uses runops_fdw, and the caller has USAGE on it. */
CREATE FUNCTION runops._check_server(server name) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wrapper name;
BEGIN
	SELECT w.fdwname INTO wrapper
	FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
	WHERE s.srvname = server;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('server "%s" does not exist', server),
			DETAIL = 'A store needs a foreign server.',
			HINT = 'Create it with CREATE SERVER ... FOREIGN DATA WRAPPER runops_fdw.';
	END IF;
	IF wrapper <> 'runops_fdw' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('server "%s" cannot be a store', server),
			DETAIL = format('Its foreign-data wrapper is "%s", which does not check the gate.', wrapper),
			HINT = 'Create a server of the foreign-data wrapper "runops_fdw".';
	END IF;
	IF NOT has_server_privilege(server, 'USAGE') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('permission denied for foreign server %s', server),
			DETAIL = format('Role "%s" lacks USAGE on it.', current_user),
			HINT = format('Run GRANT USAGE ON FOREIGN SERVER %I TO %I.', server, current_user);
	END IF;
END
$$;

/*
 * Raise unless "reader" can be the reader of a store on "server".
 *
 * If two stores have the same server, one remote query may join their tables.
 * So they must have the same reader, too.
 */
CREATE FUNCTION runops._check_new_reader(server name, reader name) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	other text;
BEGIN
	SELECT c.store INTO other FROM runops.store_config c
	WHERE c.server = _check_new_reader.server AND c.reader IS DISTINCT FROM _check_new_reader.reader;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('store "%s" has the same server but another reader', other),
			DETAIL = 'A statement reads all stores on one server from the same reader.',
			HINT = 'Give both stores the same reader, or none.';
	END IF;

	SELECT x.use INTO other FROM (
		SELECT 'the server of this store' AS use WHERE reader = server
		UNION ALL
		SELECT format('the server of store "%s"', c.store) FROM runops.store_config c
		WHERE c.server = _check_new_reader.reader
		UNION ALL
		SELECT format('the reader of store "%s"', c.store) FROM runops.store_config c
		WHERE c.reader = _check_new_reader.reader AND c.server IS DISTINCT FROM _check_new_reader.server) AS x;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('server "%s" cannot be the reader', reader),
			DETAIL = format('It is %s.', other),
			HINT = 'Create a server for a standby of the store, or pass no reader.';
	END IF;

	SELECT c.store INTO other FROM runops.store_config c WHERE c.reader = _check_new_reader.server;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('server "%s" cannot be a store', server),
			DETAIL = format('It is the reader of store "%s".', other),
			HINT = 'Create a server for the primary of the store.';
	END IF;
END
$$;

/* Raise unless add_store may record the store with these arguments. */
CREATE FUNCTION runops._check_new_store(store text, server name, reader name, remote_schema name) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	other text;
BEGIN
	IF store IS NULL OR (store NOT IN ('legacy', 'new') AND store !~ '^[a-z0-9]$') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid store name: %s', coalesce(quote_literal(store), 'NULL')),
			DETAIL = 'A store is "legacy", "new" or a shard, whose name is one character a-z or 0-9.',
			HINT = 'Use "new" for the run-ops database, or the character of the shard.';
	END IF;
	IF EXISTS (SELECT FROM runops.store_config c WHERE c.store = _check_new_store.store) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('store "%s" already exists', store),
			DETAIL = 'The view "runops.stores" shows its settings.',
			HINT = format('Use runops.drop_store(%L) first to give it another server.', store);
	END IF;
	IF store = 'legacy' AND server IS NOT NULL AND EXISTS (SELECT FROM runops.table_config) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'RO006',
			MESSAGE = 'cannot put store "legacy" into another database while tables are routed',
			DETAIL = 'The legacy rows of these tables are in this database.',
			HINT = 'Detach each table that the view "runops.routed_tables" lists, move its rows, add the store, and attach the tables again.';
	END IF;
	IF store = 'legacy' AND server IS NULL AND (reader IS NULL OR remote_schema IS NOT NULL) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'store "legacy" in this database can only have a reader',
			DETAIL = 'This store always exists, and its tables stay in their schemas.',
			HINT = 'Pass reader => ''server'', or the server of another database.';
	END IF;
	IF store <> 'legacy' AND server IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = format('store "%s" needs a server', store),
			DETAIL = 'Its rows are in another database.',
			HINT = 'Pass the name of a foreign server of the foreign-data wrapper "runops_fdw".';
	END IF;

	PERFORM runops._check_server(s) FROM unnest(ARRAY[server, reader]) s WHERE s IS NOT NULL;
	PERFORM runops._check_new_reader(server, reader);

	SELECT c.store INTO other FROM runops.store_config c
	WHERE c.server = _check_new_store.server
		AND c.remote_schema IS NOT DISTINCT FROM _check_new_store.remote_schema;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('server "%s" is already the server of store "%s"', server, other),
			DETAIL = 'Two stores over the same tables would return every row twice.',
			HINT = 'Create another server, or pass another schema as remote_schema.';
	END IF;
END
$$;

CREATE FUNCTION runops.add_store(store text, server name, reader name DEFAULT NULL, remote_schema name DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	old_timeout CONSTANT text := runops._limit_lock_wait();
BEGIN
	PERFORM runops._topology_lock();
	PERFORM runops._check_new_store(store, server, reader, remote_schema);

	PERFORM runops._insert_config('store_config',
		jsonb_build_object('store', store, 'server', server, 'reader', reader, 'remote_schema', remote_schema));

	IF reader IS NOT NULL THEN
		PERFORM runops._own_step('leaf_schema', jsonb_build_object('store', store)),
			runops._own_step('create_reader', jsonb_build_object('store', store, 'reader', reader));
	END IF;
	IF server IS NOT NULL THEN
		PERFORM runops._own_step('create_leaf', jsonb_build_object('relation', t.relation::oid, 'store', add_store.store))
		FROM runops.table_config t ORDER BY t.relation::oid;
	END IF;

	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.add_store(text, name, name, name) IS 'adds a store, and a leaf for it to every routed table; opens no connection';

/*
 * The leaves whose store holds rows of the table; all leaves given are foreign.
 *
 * The function queries the store itself, through the gate, because a leaf can
 * look empty here although the store holds rows.  A table that does not exist in
 * the store holds no rows.
 */
CREATE FUNCTION runops._leaves_with_rows(leaves regclass[]) RETURNS text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l record;
	found_in text[] := '{}';
BEGIN
	FOR l IN
		SELECT runops._store_of_leaf(x) AS store, i.inhparent::regclass AS relation,
			(SELECT option_value FROM pg_options_to_table(f.ftoptions) WHERE option_name = 'schema_name') AS remote_schema,
			(SELECT option_value FROM pg_options_to_table(f.ftoptions) WHERE option_name = 'table_name') AS remote_table
		FROM unnest(leaves) x
		JOIN pg_foreign_table f ON f.ftrelid = x
		JOIN pg_inherits i ON i.inhrelid = x
		ORDER BY store, relation
	LOOP
		BEGIN
			PERFORM FROM runops._owner_query(l.relation, 'SELECT r FROM store_rows', l.store,
				format('SELECT 1 AS one FROM %I.%I LIMIT 1', l.remote_schema, l.remote_table)) AS q (r jsonb);
			IF FOUND THEN
				found_in := found_in || format('%s in store "%s"', l.relation, l.store);
			END IF;
		EXCEPTION WHEN undefined_table OR invalid_schema_name THEN
			NULL;
		END;
	END LOOP;
	RETURN found_in;
END
$$;

/* Raise if the store of a leaf holds rows; "what" names the operation for the message. */
CREATE FUNCTION runops._require_no_rows(leaves regclass[], what text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	holding CONSTANT text[] := runops._leaves_with_rows(leaves);
BEGIN
	IF cardinality(holding) > 0 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'RO006',
			MESSAGE = format('cannot %s while there are rows in other databases', what),
			DETAIL = format('Queries would no longer find the rows of %s.', array_to_string(holding, ', ')),
			HINT = 'Move or delete those rows first, or pass force => true to leave them where they are.';
	END IF;
END
$$;

CREATE FUNCTION runops.drop_store(store text, force boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	leaves regclass[];
	leaf regclass;
	old_timeout text;
	what CONSTANT text := format('drop store "%s"', store);
BEGIN
	old_timeout := runops._limit_lock_wait();
	PERFORM runops._topology_lock();
	IF store IS NULL OR NOT EXISTS (SELECT FROM runops.store_config c WHERE c.store = drop_store.store) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('store %s does not exist', coalesce('"' || store || '"', 'NULL')),
			DETAIL = 'No store of this name was added.',
			HINT = 'The view "runops.stores" lists the stores.';
	END IF;

	IF store = 'legacy' AND runops._is_elsewhere(store) AND EXISTS (SELECT FROM runops.table_config) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'RO006',
			MESSAGE = 'cannot drop store "legacy" while tables are routed',
			DETAIL = 'The store is another database, and rows with legacy ids could not be stored elsewhere.',
			HINT = 'First detach each table that the view "runops.routed_tables" lists.';
	END IF;

	SELECT coalesce(array_agg(i.inhrelid::regclass ORDER BY i.inhparent), '{}') INTO leaves
	FROM runops.table_config t
	JOIN pg_inherits i ON i.inhparent = t.relation
	JOIN pg_foreign_table f ON f.ftrelid = i.inhrelid
	WHERE runops._store_of_leaf(i.inhrelid) = drop_store.store;

	-- Ask the store before taking locks, and again when the locks keep writers out.
	IF NOT coalesce(force, false) THEN
		PERFORM runops._require_finished(store, what);
		PERFORM runops._require_no_rows(leaves, what);
	END IF;
	PERFORM runops._lock_table(i.inhparent) FROM pg_inherits i WHERE i.inhrelid = ANY (leaves);
	IF NOT coalesce(force, false) THEN
		PERFORM runops._require_finished(store, what);
		PERFORM runops._require_no_rows(leaves, what);
	END IF;

	PERFORM runops._own_step('forget_unique', jsonb_build_object('store', store));

	-- The leaves cannot be dropped while the store is recorded.
	PERFORM runops._delete_config('store_config', jsonb_build_object('store', store));
	FOREACH leaf IN ARRAY leaves LOOP
		EXECUTE format('DROP FOREIGN TABLE %s', leaf);
	END LOOP;
	PERFORM runops._own_step('clear', '{}');

	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.drop_store(text, boolean) IS 'removes a store and its leaves; refuses while the store holds rows, unless force is true';

REVOKE EXECUTE ON FUNCTION
	runops._limit_lock_wait(interval),
	runops._limit_lock_wait(),
	runops._lock_table(regclass, text),
	runops._topology_lock(),
	runops._new_leaf_name(text, regclass),
	runops._forget_compression(regclass),
	runops._check_new_store(text, name, name, name),
	runops._check_new_reader(name, name),
	runops.add_store(text, name, name, name),
	runops._leaves_with_rows(regclass[]),
	runops._require_no_rows(regclass[], text),
	runops.drop_store(text, boolean)
FROM PUBLIC;
