/*
 * Doctor, first part: checks of the catalogs and settings of this database.
 *
 * A finding is in the present tense and has no full stop.  It is a sentence, or a
 * predicate whose subject is the object.  The hint says how to remove the defect.
 * "kind" says the same without names and numbers: it stands for the findings of
 * several objects.  If it is NULL, only equal findings are of one kind.
 *
 * Each function asks its questions for all tables at once, because there may be
 * hundreds of them.
 */
CREATE TYPE runops._finding AS (severity text, object text, finding text, hint text, kind text);

/* The first names of a list, and how many more there are. */
CREATE FUNCTION runops._some_names(names text[]) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT array_to_string(names[1:3], ', ')
		|| CASE WHEN cardinality(names) > 3 THEN format(' and %s more', cardinality(names) - 3) ELSE '' END
$$;

/* Defects of settings, which concern all stores. */
CREATE FUNCTION runops._doctor_settings() RETURNS SETOF runops._finding
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	flag CONSTANT boolean := runops._flag();
	stores CONSTANT text := (SELECT string_agg(quote_ident(s.store), ', ' ORDER BY s.store) FROM runops.stores s WHERE s.server IS NOT NULL);
BEGIN
	RETURN QUERY
	SELECT 'error', 'function ' || f.function, f.finding, 'Create it again as the install script of the extension does, and then use runops.verify().', NULL::text
	FROM runops._changed_functions() f;

	IF flag IS NULL AND (stores IS NOT NULL OR EXISTS (SELECT FROM runops.routed_tables)) THEN
		RETURN QUERY SELECT 'error', 'setting shared_preload_libraries', 'the library is not preloaded, so the gate is closed and tables are not routed',
			'Add "runops" to "shared_preload_libraries" and restart the server.', NULL::text;
	END IF;
	IF flag AND stores IS NULL THEN
		RETURN QUERY SELECT 'error', 'setting runops.split_enabled', 'is on but has no effect, because no store is configured',
			'Use runops.add_store(), or set it to off.', NULL::text;
	ELSIF flag AND NOT EXISTS (SELECT FROM runops.routed_tables) THEN
		RETURN QUERY SELECT 'warning', 'setting runops.split_enabled', 'is on but has no effect, because no table is routed',
			'Use runops.attach(), or set it to off.', NULL::text;
	ELSIF NOT flag AND stores IS NOT NULL THEN
		RETURN QUERY SELECT 'info', 'setting runops.split_enabled', format('is off, so these stores count as empty: %s', stores),
			'Leave it off to work with one database; set it to on and restart the server to use the stores.', NULL::text;
	END IF;

	RETURN QUERY
	SELECT 'warning', 'setting ' || s.name, 'has a new value in the configuration, which takes effect only after a restart', 'Restart the server.', NULL::text
	FROM pg_settings s
	WHERE s.pending_restart AND (s.name LIKE 'runops.%' OR s.name = 'shared_preload_libraries')
	ORDER BY s.name;

	RETURN QUERY
	SELECT 'warning', 'setting ' || s.name || CASE WHEN s.place = '' THEN '' ELSE ' of ' || s.place END,
		'is off, so every statement queries every store', 'Set it to on.', NULL::text
	FROM (SELECT x.name, '' FROM pg_settings x
		  WHERE x.name IN ('runops.enable_routing', 'enable_partition_pruning') AND x.setting = 'off'
		  UNION ALL
		  SELECT split_part(c, '=', 1),
			concat_ws(' in ', CASE WHEN d.setrole <> 0 THEN format('role %I', pg_get_userbyid(d.setrole)) END,
					  CASE WHEN d.setdatabase <> 0 THEN format('database %I', current_database()) END)
		  FROM pg_db_role_setting d CROSS JOIN LATERAL unnest(d.setconfig) c
		  WHERE c ~ '^(runops.enable_routing|enable_partition_pruning)=(off|false|no|0)$'
			AND (d.setdatabase = 0 OR d.setdatabase = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database()))) AS s (name, place)
	WHERE EXISTS (SELECT FROM runops.routed_tables)
	ORDER BY s.name, s.place;
END
$$;

/* Stores, and their servers and leaves. */
CREATE FUNCTION runops._doctor_servers() RETURNS SETOF runops._finding
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH leaves AS MATERIALIZED (
		SELECT t.relation, runops._store_of_leaf(i.inhrelid) AS store
		FROM runops.table_config t JOIN pg_inherits i ON i.inhparent = t.relation)
	-- without a query of the store: rows that were recorded at a write, or counted by ANALYZE
	SELECT DISTINCT 'error', format('store %s', h.store),
		format('the split is off, so statements do not find the rows of %s that the store holds', h.relation),
		'Set "runops.split_enabled" to on and restart the server, or see docs/turning-off.md.',
		'the split is off, so statements do not find the rows of routed tables that the store holds'
	FROM runops.held_rows h
	WHERE NOT runops._flag() AND h.store <> 'legacy'
	UNION ALL
	SELECT 'error', format('store %s', runops._store_of_leaf(i.inhrelid)),
		format('the split is off, but the store held rows of %s at the last ANALYZE', i.inhparent::regclass),
		'Set "runops.split_enabled" to on and restart the server, or see docs/turning-off.md.',
		'the split is off, but the store held rows of routed tables at the last ANALYZE'
	FROM runops.table_config t
	JOIN pg_inherits i ON i.inhparent = t.relation
	JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind = 'f' AND c.reltuples > 0
	WHERE NOT runops._flag() AND runops._store_of_leaf(i.inhrelid) <> 'legacy'
		AND NOT EXISTS (SELECT FROM runops.held_rows h
						WHERE h.relation = t.relation AND h.store = runops._store_of_leaf(i.inhrelid))
	UNION ALL
	SELECT 'error', 'store legacy', 'the split is off and the store is another database, so statements on routed tables fail',
		'Set "runops.split_enabled" to on and restart the server.', NULL
	WHERE NOT runops._flag() AND runops._is_elsewhere('legacy')
	UNION ALL
	SELECT 'error', format('store %s', s.store), format('the foreign table that represents reader %I is missing, so queries read the writer', s.reader),
		'Use runops.drop_store() and runops.add_store() for the store, in one transaction.',
		'the foreign table that represents the reader is missing, so queries read the writer'
	FROM runops.stores s
	WHERE s.reader IS NOT NULL AND NOT EXISTS (
		SELECT FROM pg_foreign_table f JOIN pg_class c ON c.oid = f.ftrelid
		JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_foreign_server v ON v.oid = f.ftserver
		WHERE c.relname = 'runops_reader' AND n.nspname = runops._leaf_schema(s.store) AND v.srvname = s.reader)
	UNION ALL
	SELECT 'error', format('store %s', s.store), format('server %I does not exist', x.server),
		format('Create the server, or use runops.drop_store(%L, force => true).', s.store), 'the server does not exist'
	FROM runops.stores s
	CROSS JOIN LATERAL unnest(ARRAY[s.server, s.reader]) AS x (server)
	WHERE x.server IS NOT NULL AND NOT EXISTS (SELECT FROM pg_foreign_server f WHERE f.srvname = x.server)
	UNION ALL
	-- the doctor itself queries the writers
	SELECT 'error', format('store %s', v.store), format('reader %I cannot be used: %s', v.server, rtrim(v.reason, '.')),
		coalesce(v.hint, 'Use runops.recheck().'), NULL
	FROM runops._store_verdicts() v
	WHERE v.is_reader AND v.verdict <> 'distinct' AND runops._flag()
		AND EXISTS (SELECT FROM pg_foreign_server f WHERE f.srvname = v.server)
	UNION ALL
	SELECT 'error', format('table %s', t.relation), format('there is no leaf for store %s', s.store),
		format('Use runops.drop_store(%L) and runops.add_store().', s.store), 'there is no leaf for a store'
	FROM runops.table_config t CROSS JOIN runops.stores s
	WHERE NOT EXISTS (SELECT FROM leaves l WHERE l.relation = t.relation AND l.store = s.store)
	UNION ALL
	-- the first use of a store makes no record; the worker makes one if it can
	SELECT 'warning', format('store %s', s.store), 'has no record of this control plane, so a copy of this database would use the store as well',
		'Use runops.recheck(), and set "runops.database" to this database, so that the record is made when the server starts.', NULL
	FROM runops.stores s
	JOIN pg_foreign_server f ON f.srvname = s.server
	WHERE runops._flag() AND (runops._verdict(f.oid)).verdict = 'distinct'
		AND NOT EXISTS (SELECT FROM runops.store_identity i WHERE i.store = s.store)
		AND NOT (current_setting('runops.database') = current_database()
				 AND EXISTS (SELECT FROM pg_user_mappings m WHERE m.srvid = f.oid AND m.umuser IN (0, 10)))
	UNION ALL
	SELECT 'warning', format('server %I', f.srvname), 'the option "connect_timeout" is 0, so a statement waits forever for a server that does not answer',
		'Drop the option to use the default of 5 seconds, or set it to another limit.', NULL
	FROM pg_foreign_server f
	WHERE f.srvname IN (SELECT s.server FROM runops.stores s UNION SELECT s.reader FROM runops.stores s)
		AND EXISTS (SELECT FROM pg_options_to_table(f.srvoptions) o WHERE o.option_name = 'connect_timeout' AND o.option_value ~ '^[[:space:]]*0+[[:space:]]*$')
	UNION ALL
	SELECT 'warning', x.what, 'the option "async_capable" makes some statements fail with 08006', 'Drop the option.', NULL
	FROM (SELECT format('server %I', f.srvname), f.srvoptions FROM pg_foreign_server f
		  WHERE f.srvname IN (SELECT s.server FROM runops.stores s)
		  UNION ALL
		  SELECT format('foreign table %s', i.inhrelid::regclass), f.ftoptions
		  FROM runops.table_config t
		  JOIN pg_inherits i ON i.inhparent = t.relation
		  JOIN pg_foreign_table f ON f.ftrelid = i.inhrelid) AS x (what, options)
	WHERE EXISTS (SELECT FROM pg_options_to_table(x.options) o
				  WHERE o.option_name = 'async_capable' AND o.option_value IN ('true', 'on', 'yes', '1'))
	UNION ALL
	SELECT 'warning', format('foreign table %s', i.inhrelid::regclass),
		'TRUNCATE of this foreign table empties the table in the store', 'Use ALTER FOREIGN TABLE ... OPTIONS (SET truncatable ''false'').', NULL
	FROM runops.table_config t
	JOIN pg_inherits i ON i.inhparent = t.relation
	JOIN pg_foreign_table f ON f.ftrelid = i.inhrelid
	WHERE NOT EXISTS (SELECT FROM pg_options_to_table(f.ftoptions) o
					  WHERE o.option_name = 'truncatable' AND o.option_value = 'false')
	ORDER BY 1, 2, 3
$$;

/* User mappings that are missing, or that cannot be used. */
CREATE FUNCTION runops._doctor_mappings() RETURNS SETOF runops._finding
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'error', format('store %s', s.store), format('no role has a user mapping for server %I', s.server),
		format('Run CREATE USER MAPPING FOR role SERVER %I OPTIONS (user ''...'', password ''...'').', s.server),
		'no role has a user mapping for its server'
	FROM runops.stores s
	WHERE s.server IS NOT NULL AND NOT EXISTS (SELECT FROM pg_user_mappings m WHERE m.srvname = s.server)
	UNION ALL
	-- superusers see all options, and each role sees its own
	SELECT 'warning', format('user mapping for %s on server %I', m.usename, m.srvname),
		CASE WHEN m.umuser = 0 THEN 'has no password, so only superusers can use it'
			 ELSE 'has no password, and the role cannot use it because it is not a superuser' END,
		'Add the option "password", or let a superuser set "password_required" to false.', NULL
	FROM pg_user_mappings m
	LEFT JOIN pg_roles r ON r.oid = m.umuser
	WHERE m.srvname IN (SELECT s.server FROM runops.stores s UNION SELECT s.reader FROM runops.stores s)
		AND r.rolsuper IS NOT TRUE
		AND (m.umoptions IS NOT NULL
			 OR EXISTS (SELECT FROM pg_roles u WHERE u.rolname = current_user AND (u.rolsuper OR u.oid = m.umuser)))
		AND NOT EXISTS (SELECT FROM pg_options_to_table(m.umoptions) o
						WHERE o.option_name = 'password' AND o.option_value <> ''
							OR o.option_name = 'password_required' AND o.option_value IN ('false', 'off', 'no', '0'))
	UNION ALL
	SELECT 'warning', format('role %I', r.rolname),
		format('may use %s, but has no user mapping for server %I',
			   runops._some_names(array_agg(t.relation::text ORDER BY t.relation::text)), s.server),
		format('Run CREATE USER MAPPING FOR %I SERVER %I OPTIONS (user ''...'', password ''...'').', r.rolname, s.server),
		'may use routed tables, but has no user mapping for a server'
	FROM (SELECT x.server FROM runops.stores x UNION SELECT x.reader FROM runops.stores x) AS s
	CROSS JOIN runops.table_config t
	JOIN pg_roles r ON r.rolcanlogin AND NOT r.rolsuper
		AND has_table_privilege(r.oid, t.relation, 'SELECT, INSERT, UPDATE, DELETE')
	WHERE s.server IS NOT NULL
		AND NOT EXISTS (SELECT FROM pg_user_mappings m WHERE m.srvname = s.server AND m.umuser IN (0, r.oid))
	GROUP BY r.rolname, s.server
	ORDER BY 1, 2, 3
$$;

/*
 * Objects that are bound to the old table or follow its rows, and so miss the
 * rows of other stores.  "remote" holds the triggers of the tables in each store
 * that could be queried.
 */
CREATE FUNCTION runops._doctor_bound(remote jsonb) RETURNS SETOF runops._finding
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH places AS MATERIALIZED (SELECT * FROM runops._placements('legacy')),
	there AS MATERIALIZED (
		SELECT r.key AS store, g.key AS tag, g.value AS names
		FROM jsonb_each(remote) r CROSS JOIN LATERAL jsonb_each(r.value -> 'triggers') g)
	SELECT 'error', b.what, format(CASE WHEN e.elsewhere THEN 'is bound to the old table of %s, so it shows and changes no row'
								   ELSE 'is bound to the legacy leaf of %s, so it shows and changes only legacy rows' END, t.relation),
		'Create it again, so that it refers to the routed table.',
		CASE WHEN e.elsewhere THEN 'is bound to an old table, so it shows and changes no row'
			 ELSE 'is bound to a legacy leaf, so it shows and changes only legacy rows' END
	FROM runops.table_config t CROSS JOIN LATERAL runops._bound_objects(t.leaf) AS b (what)
	CROSS JOIN runops._is_elsewhere('legacy') AS e (elsewhere)
	UNION ALL
	-- a foreign key works if its column names the store of its row
	SELECT 'warning', format('foreign key %I of %s', c.conname, c.conrelid::regclass),
		format(CASE WHEN runops._is_elsewhere('legacy') THEN 'finds no row of %s, so it refuses every row that refers to one'
			   ELSE 'finds only legacy rows of %s, so it refuses a row that refers to a row of another store' END, t.relation),
		'Use runops.add_reference(), which replaces it.',
		CASE WHEN runops._is_elsewhere('legacy') THEN 'finds no row of a routed table, so it refuses every row that refers to one'
			 ELSE 'finds only legacy rows of a routed table, so it refuses a row that refers to a row of another store' END
	FROM runops.table_config t
	JOIN pg_constraint c ON c.confrelid = t.leaf AND c.contype = 'f' AND c.conparentid = 0
	WHERE NOT EXISTS (SELECT FROM places p
					  JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
					  WHERE p.leaf = c.conrelid AND cardinality(c.conkey) = 1
						AND a.attname = ANY (p.key_columns || p.aliases))
	UNION ALL
	SELECT 'warning', format('trigger %I of %s', g.tgname, t.relation),
		format('does not fire for rows of store %s', string_agg(s.store, ', ' ORDER BY s.store)),
		'Create it on the routed table for rows that are written here, or in the store.',
		'does not fire for rows of other stores'
	FROM runops.table_config t
	JOIN pg_trigger g ON g.tgrelid = t.leaf AND NOT g.tgisinternal AND g.tgtype & 1 = 1 AND g.tgparentid = 0 AND g.tgenabled <> 'D'
		-- the foreign-data wrapper does the work of triggers of runops for rows of other stores
		AND NOT EXISTS (SELECT FROM pg_proc f WHERE f.oid = g.tgfoid AND f.pronamespace = 'runops'::regnamespace)
	CROSS JOIN runops.stores s
	WHERE s.server IS NOT NULL
		AND NOT EXISTS (SELECT FROM there x WHERE x.store = s.store AND x.tag = t.relation::oid::text AND x.names ? g.tgname::text)
	GROUP BY g.tgname, t.relation
	UNION ALL
	SELECT 'error', format('unique key %I of %s', u.name, u.relation),
		format('has no entries for the rows of store %s', string_agg(runops._store_of_leaf(i.inhrelid), ', ' ORDER BY runops._store_of_leaf(i.inhrelid))),
		'Run runops.provision for the store.', 'has no entries for the rows of a store'
	FROM runops.unique_keys u JOIN pg_inherits i ON i.inhparent = u.relation
	WHERE u.enforced AND NOT u.stores @> ARRAY[runops._store_of_leaf(i.inhrelid)] AND runops._store_of_leaf(i.inhrelid) IS NOT NULL
	GROUP BY u.name, u.relation
	UNION ALL
	SELECT 'warning', format('reference of column %I of %s', r.child_column, r.child),
		'holds for rows that were written since it was added, and may be violated by others',
		format('Run CALL runops.validate_reference(%L, %L, %L).', r.child, r.child_column, r.parent), NULL
	FROM runops.reference_keys r WHERE NOT r.validated
	UNION ALL
	SELECT 'warning', format('unique key %I of %s', u.name, u.relation),
		'is prepared and not enforced, and a note is kept of each row that is written',
		'Use runops.add_unique with the arguments of runops.prepare_unique, or runops.drop_unique.', NULL
	FROM runops.unique_keys u WHERE NOT u.enforced
	UNION ALL
	SELECT 'error', format('unique key %I of %s', u.name, u.relation),
		'misses writes to the legacy leaf, because a trigger of the leaf is missing or not ENABLE ALWAYS',
		format('Run SELECT runops.rebuild_unique(%L, %L).', u.relation, u.name), NULL
	FROM runops.unique_keys u JOIN runops.table_config t USING (relation) JOIN pg_class l ON l.oid = t.leaf AND l.relkind = 'r'
	WHERE 3 <> (SELECT count(*) FROM pg_trigger g
				WHERE g.tgrelid = t.leaf AND g.tgenabled = 'A'
					AND g.tgfoid IN ('runops._unique_row()'::regprocedure, 'runops._unique_truncate()'::regprocedure))
	UNION ALL
	SELECT 'warning', format('publication %I', p.pubname),
		format('does not send the rows of %s in other stores', runops._some_names(array_agg(DISTINCT t.relation::text))),
		'Publish the tables in the other databases, and subscribe to those too.',
		'does not send the rows of routed tables in other stores'
	FROM runops.table_config t
	JOIN pg_class c ON c.oid IN (t.relation, t.leaf)
	JOIN pg_publication_tables p ON p.schemaname = c.relnamespace::regnamespace::name AND p.tablename = c.relname
	GROUP BY p.pubname
	UNION ALL
	SELECT 'warning', format('publication %I', b.pubname),
		format('sends rows of %s under the name of the legacy leaf', runops._some_names(array_agg(t.relation::text ORDER BY t.relation::text))),
		format('Run ALTER PUBLICATION %I SET (publish_via_partition_root = true).', b.pubname),
		'sends rows of routed tables under the names of their legacy leaves'
	FROM runops.table_config t
	JOIN pg_class c ON c.oid = t.leaf
	JOIN pg_publication_tables p ON p.schemaname = c.relnamespace::regnamespace::name AND p.tablename = c.relname
	JOIN pg_publication b ON b.pubname = p.pubname
	GROUP BY b.pubname
	UNION ALL
	SELECT 'warning', format('replication slot %I', s.slot_name), 'does not see rows of other stores',
		'Create slots in the other databases too.', NULL
	FROM pg_replication_slots s
	WHERE s.slot_type = 'logical' AND s.database = current_database() AND NOT s.temporary
		AND EXISTS (SELECT FROM runops.routed_tables)
	ORDER BY 1, 2, 3
$$;

/* Statistics, sort order, uniqueness and locks: correct behaviour that differs from a plain table. */
CREATE FUNCTION runops._doctor_tables() RETURNS SETOF runops._finding
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH places AS MATERIALIZED (SELECT * FROM runops._placements('legacy'))
	SELECT 'error', format('table %s', f.relation), f.detail,
		'Add the constraint as runops.attach() creates it, and validate it.',
		'lacks the CHECK of an alias, or has not validated it'
	FROM runops._leaf_findings(ARRAY(SELECT t.relation FROM runops.table_config t)) f
	UNION ALL
	-- ALTER of these options is refused, but not while the event trigger is disabled
	SELECT 'error', format('foreign table %s', l.ftrelid::regclass),
		format('leads to another table than the one that was attached: %s', array_to_string(l.ftoptions, ', ')),
		format('runops.detach(%L, force => true) and runops.attach make the leaves anew.', t.relation),
		'leads to another table than the one that was attached'
	FROM runops.table_config t
	JOIN pg_inherits i ON i.inhparent = t.relation
	JOIN pg_foreign_table l ON l.ftrelid = i.inhrelid
	JOIN runops.store_config s ON s.store = runops._store_of_leaf(l.ftrelid)
	WHERE NOT EXISTS (SELECT FROM pg_options_to_table(l.ftoptions) o WHERE o.option_name = 'table_name')
		OR NOT EXISTS (SELECT FROM pg_options_to_table(l.ftoptions) o
					   WHERE o.option_name = 'schema_name' AND o.option_value = coalesce(s.remote_schema, o.option_value))
		OR EXISTS (SELECT FROM pg_attribute a
				   WHERE a.attrelid = l.ftrelid AND array_to_string(a.attfdwoptions, ',') LIKE '%column_name=%')
	UNION ALL
	SELECT 'warning', format('table %s', t.relation),
		format('its owner "%s" has no user mapping for store "%s"', pg_get_userbyid(c.relowner), s.store),
		format('Without it nothing can be checked or cleaned up there: CREATE USER MAPPING FOR %I SERVER %I.', pg_get_userbyid(c.relowner), s.server),
		'its owner has no user mapping for a store'
	FROM runops.table_config t
	JOIN pg_class c ON c.oid = t.relation
	JOIN runops.store_config s ON s.server IS NOT NULL
	JOIN pg_roles r ON r.oid = c.relowner AND NOT r.rolsuper
	WHERE NOT EXISTS (SELECT FROM pg_user_mappings m WHERE m.srvname = s.server AND m.umuser IN (0, c.relowner))
	UNION ALL
	SELECT 'info', format('table %s', p.relation),
		'has no primary key, although the primary key of its leaf holds over all stores',
		format('Run ALTER TABLE %s ADD CONSTRAINT %I %s.', p.relation, c.conname, pg_get_constraintdef(c.oid)), NULL
	FROM runops.table_config p
	JOIN pg_constraint c ON c.conrelid = p.leaf AND c.contype = 'p'
	WHERE runops._lacks_key(p.relation)
	UNION ALL
	SELECT 'warning', format('%s %s', CASE c.relkind WHEN 'f' THEN 'foreign table' ELSE 'table' END, c.oid::regclass),
		'was never analyzed; autovacuum analyzes neither routed tables nor their foreign leaves',
		format('Run ANALYZE %s regularly.', t.relation), NULL
	FROM (SELECT r.relation, r.relation FROM runops.table_config r
		  UNION ALL SELECT r.relation, i.inhrelid FROM runops.table_config r JOIN pg_inherits i ON i.inhparent = r.relation) AS t (relation, part)
	JOIN pg_class c ON c.oid = t.part
	WHERE c.relkind IN ('p', 'f') AND c.reltuples < 0 AND (c.relkind = 'p' OR runops._flag())
	UNION ALL
	SELECT 'info', format('column %s.%I', p.relation, a.attname),
		format('ids do not sort by time under collation %s, because ids of mixed case need byte order', x.name),
		'Sort by a column of a time type, or declare the column COLLATE "C", here and in the stores.',
		'ids do not sort by time under the collation of the column, because ids of mixed case need byte order'
	FROM places p
	JOIN pg_attribute a ON a.attrelid = p.relation AND a.attname = ANY (p.key_columns)
	JOIN pg_collation co ON co.oid = a.attcollation
	JOIN pg_database d ON d.datname = current_database()
	CROSS JOIN LATERAL (SELECT CASE WHEN co.collprovider = 'd' THEN d.datcollate ELSE co.collcollate END,
		CASE WHEN co.collprovider = 'd' THEN d.datlocprovider ELSE co.collprovider END,
		CASE WHEN co.collprovider = 'd' THEN format('"%s" of the database', d.datcollate) ELSE co.oid::regcollation::text END) AS x (locale, provider, name)
	WHERE x.provider = 'i' OR x.provider = 'c' AND x.locale !~ '^(C|POSIX|C\.(UTF-?8|utf-?8))$'
	UNION ALL
	-- equal rows are in the same store if the key or an alias is one of the columns
	SELECT 'info', format('index %s', x.indexrelid::regclass),
		'is unique only within each store, so rows of different stores can be equal in its columns',
		'Use runops.add_unique if such rows must not exist.', NULL
	FROM places p
	JOIN pg_index x ON x.indrelid = p.leaf AND (x.indisunique OR x.indisexclusion)
	WHERE NOT EXISTS (SELECT FROM pg_attribute a
					  WHERE a.attrelid = p.leaf AND a.attnum = ANY (x.indkey[0:x.indnkeyatts - 1])
						AND a.attname = ANY (p.key_columns[1:1] || p.aliases))
		AND NOT EXISTS (SELECT FROM runops.unique_keys u
						WHERE u.relation = p.relation AND u.predicate IS NULL AND u.enforced
							AND u.columns <@ ARRAY(SELECT a.attname FROM pg_attribute a
												   WHERE a.attrelid = p.leaf AND a.attnum = ANY (x.indkey[0:x.indnkeyatts - 1])))
	UNION ALL
	SELECT 'warning', format('function %s', f.oid::regprocedure),
		CASE WHEN b.changes
			THEN format('changes rows of %s that it selects with SKIP LOCKED, but the change waits for rows of a store that other sessions have locked', t.relation)
			ELSE format('selects from %s with SKIP LOCKED, and may lock more rows of a store than its LIMIT, up to "fetch_size"', t.relation) END,
		CASE WHEN b.changes
			THEN 'Select the ids first, then change the rows by id = ANY (ids).'
			ELSE 'Set the option "fetch_size" of the foreign leaves to 1.' END,
		CASE WHEN b.changes
			THEN 'changes rows of a routed table that it selects with SKIP LOCKED, but the change waits for rows of a store that other sessions have locked'
			ELSE 'selects from a routed table with SKIP LOCKED, and may lock more rows of a store than its LIMIT, up to "fetch_size"' END
	FROM pg_proc f
	JOIN runops.table_config t ON true
	JOIN pg_class c ON c.oid = t.relation
	-- FOR UPDATE is a locking clause, which changes nothing
	CROSS JOIN LATERAL (SELECT regexp_replace(f.prosrc, '\mfor\s+(no\s+key\s+)?update\M', '', 'gi') ~* '\m(update|delete)\M.*\mskip\s+locked\M') AS b (changes)
	WHERE f.prosrc ~* '\mskip\s+locked\M' AND strpos(f.prosrc, c.relname) > 0
		AND f.pronamespace NOT IN ('pg_catalog'::regnamespace, 'runops'::regnamespace)
		AND (b.changes
			 OR EXISTS (SELECT FROM pg_inherits i JOIN pg_foreign_table l ON l.ftrelid = i.inhrelid
						WHERE i.inhparent = t.relation
							AND NOT EXISTS (SELECT FROM pg_options_to_table(l.ftoptions) o
											WHERE o.option_name = 'fetch_size' AND o.option_value = '1')))
	ORDER BY 1, 2, 3
$$;

REVOKE EXECUTE ON FUNCTION
	runops._some_names(text[]),
	runops._doctor_settings(),
	runops._doctor_servers(),
	runops._doctor_mappings(),
	runops._doctor_bound(jsonb),
	runops._doctor_tables()
FROM PUBLIC;
