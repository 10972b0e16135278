/*
 * Anchors: an anchor is a column of a routed table that names the store of the
 * row, as the key does.  It keeps children in the store of their parents.
 *
 * An anchor is an alias like the aliases that attach declares.  But it is declared
 * when several stores may hold rows, so the rows of each store are checked first.
 */

CREATE TABLE runops.anchor_config (
	child regclass NOT NULL,
	parent_key name NOT NULL,
	PRIMARY KEY (child, parent_key)
);
SELECT pg_catalog.pg_extension_config_dump('runops.anchor_config', '');
CREATE TRIGGER anchor_config_deleted AFTER DELETE ON runops.table_config
	FOR EACH ROW EXECUTE FUNCTION runops._config_deleted('anchor_config', 'child', 'relation');

CREATE VIEW runops.anchors AS
SELECT a.child, t.key AS child_key, a.parent_key
FROM runops.anchor_config a JOIN runops.table_config t ON t.relation = a.child;

COMMENT ON TABLE runops.anchor_config IS 'anchors, as add_anchor recorded them';
COMMENT ON VIEW runops.anchors IS 'columns of routed tables that were declared to name the store of the row';
GRANT SELECT ON runops.anchors TO PUBLIC;

/* The name of the CHECK that declares an alias. */
CREATE FUNCTION runops._alias_constraint(alias name) RETURNS name
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ('runops_alias_' || alias)::name $$;

/* The CHECK that declares an alias, on this side. */
CREATE FUNCTION runops._alias_check(config runops.table_config, alias name) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT l.def FROM runops._leaf_checks(config.relation, config.key, ARRAY[alias]) l WHERE l.alias IS NOT NULL $$;

/* Raise unless the table is routed by the key and the caller owns it. */
CREATE FUNCTION runops._check_anchor(child regclass, child_key name, parent_key name) RETURNS runops.table_config
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	config runops.table_config;
BEGIN
	IF child IS NULL OR child_key IS NULL OR parent_key IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'child, child_key and parent_key must not be NULL',
			DETAIL = 'An anchor is a column of a routed table that names the store of the row, as its key does.',
			HINT = 'Pass the table as text, quoted as in a statement, and the exact names of the columns.';
	END IF;
	SELECT * INTO config FROM runops.table_config t WHERE t.relation = child;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('table %s is not routed', child),
			DETAIL = 'All its rows are in this database, even if their parents are in other stores.',
			HINT = 'The view "runops.routed_tables" lists the routed tables; runops.attach() routes one.';
	END IF;
	IF NOT pg_has_role((SELECT c.relowner FROM pg_class c WHERE c.oid = child), 'USAGE') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('must be owner of table %s', child),
			DETAIL = 'Only the owner of a table may restrict its rows.',
			HINT = 'Run this as the owner of the table or as a superuser.';
	END IF;
	IF child_key::text <> config.key AND child_key IS DISTINCT FROM (runops._key_expression(child, config.key, false)).lead THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('table %s is not routed by "%s"', child, child_key),
			DETAIL = format('It is routed by %s.', config.key),
			HINT = 'Pass the column that decides the store of a row.';
	END IF;
	RETURN config;
END
$$;

/* Raise unless the column can become an anchor: it can hold ids, and it is not yet an anchor, alias or key. */
CREATE FUNCTION runops._check_new_anchor(config runops.table_config, parent_key name) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name CONSTANT name := runops._alias_constraint(parent_key);
	def text;
	other regclass;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_attribute a
				   WHERE a.attrelid = config.relation AND a.attname = parent_key AND a.attnum > 0 AND NOT a.attisdropped) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_column',
			MESSAGE = format('column "%s" of table %s does not exist', parent_key, config.relation),
			DETAIL = 'An anchor is a column whose ids always name the store of the row.',
			HINT = 'Check the spelling of the column name, including upper and lower case.';
	END IF;
	PERFORM runops._key_expression(config.relation, parent_key, true);
	IF parent_key = ANY (config.aliases) OR ARRAY[parent_key] = (runops._key_expression(config.relation, config.key, false)).columns THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('column "%s" of table %s already names the store of the row', parent_key, config.relation),
			DETAIL = CASE WHEN parent_key = ANY (config.aliases) THEN 'It is an alias or an anchor.' ELSE 'It is the key.' END,
			HINT = 'The view "runops.routed_tables" lists keys and aliases, and the view "runops.anchors" lists anchors.';
	END IF;

	-- core checks the rows of a constraint with the privileges of the role that adds it
	IF (SELECT c.relowner <> current_user::regrole FROM pg_class c WHERE c.oid = config.relation)
	   AND EXISTS (SELECT FROM pg_depend d
				   WHERE d.classid = 'pg_class'::regclass AND d.objid = config.relation AND d.refclassid = 'pg_proc'::regclass
					 AND d.refobjid <> 'runops.store_of(text)'::regprocedure) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('only the owner of table %s can add an anchor to it', config.relation),
			DETAIL = format('Its key calls functions of other roles: %s.', config.key),
			HINT = 'Use SET ROLE to become the owner.';
	END IF;

	def := runops._alias_check(config, parent_key);
	SELECT c.conrelid::regclass INTO other FROM pg_constraint c
	WHERE c.conname = name AND (c.conrelid = config.relation OR c.conrelid IN (SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = config.relation))
		AND (c.conrelid <> config.leaf OR NOT runops._has_check(c.conrelid, name, def) AND NOT runops._has_check(c.conrelid, name, def || ' NOT VALID'))
	ORDER BY c.conrelid LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('table %s has another constraint named "%s"', other, name),
			DETAIL = 'A check of the column needs this name.',
			HINT = format('Run ALTER TABLE %s DROP CONSTRAINT %I.', other, name);
	END IF;
END
$$;

/*
 * Raise if a store holds rows whose column names another store than their key,
 * and show the first ten.  The legacy leaf is not searched if a CHECK proves that
 * it has no such rows.  With a number of blocks, only this many at its end are read.
 */
CREATE FUNCTION runops._check_anchored_rows(store text, config runops.table_config, parent_key name, newest_blocks int DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	def CONSTANT text := runops._alias_check(config, parent_key);
	blocks CONSTANT bigint := runops._table_blocks(config.leaf);
	place record;
	bad text[];
BEGIN
	SELECT * INTO STRICT place FROM runops._placements(store) p WHERE p.relation = config.relation;
	IF store <> 'legacy' OR runops._is_elsewhere(store) THEN
		SELECT array_agg(format('%L of %L', q.r ->> 'parent', q.r ->> 'key')) INTO bad
		FROM runops._owner_query(config.relation, 'SELECT r FROM store_rows', store, format(
			'SELECT (%I)::text AS parent, (%s)::text AS key FROM %I.%I WHERE NOT %s LIMIT 11',
			parent_key, place.key, place.remote_schema, place.remote_table,
			substr(runops._remote_alias_check(format('(%I)::text', parent_key), store), length('CHECK ') + 1))) AS q (r jsonb);
	ELSIF NOT runops._has_check(config.leaf, runops._alias_constraint(parent_key), def) THEN
		-- the owner of the table may not be allowed to use the schema of same_store()
		SELECT array_agg(q.what) INTO bad
		FROM runops._owner_query(config.relation, format(
			'SELECT format(''%%L of %%L'', %I, %s) FROM %s WHERE %sNOT %s LIMIT 11', parent_key, place.key, config.leaf,
			CASE WHEN blocks > newest_blocks AND (SELECT c.relkind FROM pg_class c WHERE c.oid = config.leaf) = 'r'
				THEN format('ctid >= %L AND ', format('(%s,0)', blocks - newest_blocks)) ELSE '' END,
			substr(runops._remote_alias_check(format('(%I)::text', parent_key), store), length('CHECK ') + 1))) AS q (what text);
	END IF;
	IF bad IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'RO003',
			MESSAGE = format('column "%s" of table %s does not always name the store of the row', parent_key, config.relation),
			DETAIL = format('Values in store "%s", each with the key of its row: %s%s', store, array_to_string(bad[1:10], ', '),
							CASE WHEN cardinality(bad) > 10 THEN ', ...' ELSE '' END),
			HINT = 'Correct or delete these rows first.';
	END IF;
END
$$;

/*
 * The same for a store that may be unavailable.  Returns the reason if the store
 * cannot be queried, and NULL if its rows are correct.  A table that does not
 * exist there holds no rows.
 */
CREATE FUNCTION runops._try_anchored_rows(store text, config runops.table_config, parent_key name) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM runops._check_anchored_rows(store, config, parent_key);
	RETURN NULL;
EXCEPTION
	WHEN undefined_table OR invalid_schema_name THEN
		RETURN NULL;
	WHEN SQLSTATE 'RO002' OR SQLSTATE 'RO007' OR connection_exception OR sqlclient_unable_to_establish_sqlconnection OR connection_failure THEN
		RETURN format('The rows of the store could not be checked: %s.', SQLERRM);
END
$$;

/*
 * Add the CHECK of an anchor to the table in a store.  Sessions there do not wait
 * while the table is read.  The anchor is already recorded here.
 *
 * Returns why the CHECK could not be added, NULL if nothing is left to do.  If the
 * table does not exist yet, provision will create it with the CHECK.  A table that
 * provision has not created is not changed.
 */
CREATE FUNCTION runops._anchor_store(store text, config runops.table_config, parent_key name) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	patience CONSTANT text := format('SET LOCAL lock_timeout = %L', current_setting('lock_timeout'));
	check_name CONSTANT name := runops._alias_constraint(parent_key);
	place record;
	rows runops._parity[];
	found runops._parity;
BEGIN
	SELECT * INTO STRICT place FROM runops._placements(store) p WHERE p.relation = config.relation;
	rows := ARRAY(SELECT r FROM runops._parity_rows(store, ARRAY[config.relation]) r);
	SELECT r.* INTO STRICT found FROM unnest(rows) r
	WHERE r.kind = 'constraint' AND r.object = format('constraint %I on %I.%I', check_name, place.remote_schema, place.remote_table);

	IF found.action = 'exists' OR EXISTS (SELECT FROM unnest(rows) r WHERE r.kind = 'table' AND r.action = 'create') THEN
		RETURN NULL;
	ELSIF found.action = 'drift' THEN
		RETURN format('The table in the store was not created by runops.provision, or has another constraint of that name: %s.', found.detail);
	END IF;

	PERFORM runops.remote_transaction(store, ARRAY[patience, found.ddl || ' NOT VALID']);
	BEGIN
		PERFORM runops.remote_exec(store, format('ALTER TABLE %I.%I VALIDATE CONSTRAINT %I', place.remote_schema, place.remote_table, check_name));
	EXCEPTION WHEN check_violation THEN
		-- A row was written after the check of the rows.
		PERFORM runops.remote_transaction(store, ARRAY[patience,
			format('ALTER TABLE %I.%I DROP CONSTRAINT %I', place.remote_schema, place.remote_table, check_name)]);
		PERFORM runops._check_anchored_rows(store, config, parent_key);
		RAISE;
	END;
	RETURN NULL;
END
$$;

/*
 * Check the rows of every other store.  Then add the CHECK in each store that
 * could be queried, and warn if something is left to do.
 */
CREATE FUNCTION runops._anchor_stores(config runops.table_config, parent_key name) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	stores CONSTANT text[] := ARRAY(SELECT c.store FROM runops.store_config c WHERE c.server IS NOT NULL ORDER BY c.store);
	reasons CONSTANT text[] := ARRAY(SELECT runops._try_anchored_rows(s, config, parent_key) FROM unnest(stores) WITH ORDINALITY AS x (s, o) ORDER BY o);
	reason text;
BEGIN
	-- The rows of all stores are checked before anything is changed in any store.
	FOR i IN 1 .. cardinality(stores) LOOP
		reason := reasons[i];
		IF reason IS NULL THEN
			reason := runops._anchor_store(stores[i], config, parent_key);
		END IF;
		CONTINUE WHEN reason IS NULL;
		RAISE WARNING USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('column "%s" of table %s is not checked in store "%s"', parent_key, config.relation, stores[i]),
			DETAIL = reason,
			HINT = format('Queries by this column may miss rows in that store that violate the check. Run SELECT * FROM runops.provision(%L, relation => %L) to create it, or to see what blocks it.',
						  stores[i], config.relation);
	END LOOP;
END
$$;

/* Record the aliases of a routed table. */
CREATE FUNCTION runops._set_aliases(relation regclass, aliases name[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT runops._own_step('update', jsonb_build_object('config', 'table_config', 'row', jsonb_build_object('relation', relation::oid),
														 'aliases', aliases))
$$;

CREATE FUNCTION runops.add_anchor(child regclass, child_key name, parent_key name, lock_timeout interval DEFAULT '5 s',
								  force boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	config runops.table_config := runops._check_anchor(child, child_key, parent_key);
	check_name CONSTANT name := runops._alias_constraint(parent_key);
	def text;
	old_timeout text;
BEGIN
	-- Check and report as much as possible before taking locks.
	PERFORM runops._check_new_anchor(config, parent_key);
	def := runops._alias_check(config, parent_key);
	IF NOT runops._has_check(config.leaf, check_name, def) THEN
		PERFORM runops._check_scan(config.leaf, force, format('runops.prepare_anchor(%L, %L, %L)', child, child_key, parent_key));
	END IF;
	IF NOT runops._is_elsewhere('legacy') THEN
		PERFORM runops._progress_phase('add_anchor', 'looking for rows of other stores', child, runops._table_blocks(config.leaf));
		PERFORM runops._check_anchored_rows('legacy', config, parent_key);
		PERFORM runops._progress_end();
	END IF;

	old_timeout := runops._limit_lock_wait(lock_timeout);
	PERFORM runops._topology_lock();
	config := runops._check_anchor(child, child_key, parent_key);
	PERFORM runops._check_new_anchor(config, parent_key);
	PERFORM runops._insert_config('anchor_config', jsonb_build_object('child', child::oid, 'parent_key', parent_key));
	PERFORM runops._set_aliases(child, config.aliases || parent_key);

	-- The stores come first, so that the table here is not locked while they work.
	PERFORM runops._anchor_stores(config, parent_key);

	PERFORM runops._lock_table(child);
	IF NOT runops._has_check(config.leaf, check_name, def) THEN
		PERFORM runops._check_scan(config.leaf, force, format('runops.prepare_anchor(%L, %L, %L)', child, child_key, parent_key));
		PERFORM runops._progress_phase('add_anchor', 'checking rows under the lock', child, runops._table_blocks(config.leaf));
	END IF;
	IF runops._has_check(config.leaf, check_name, def || ' NOT VALID') THEN
		EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', config.leaf, check_name);
	END IF;
	BEGIN
		EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', child, check_name, def);
	EXCEPTION WHEN check_violation THEN
		-- A row was written after the check of the rows.
		PERFORM runops._check_anchored_rows('legacy', config, parent_key);
		RAISE;
	END;
	PERFORM runops._progress_end();

	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.add_anchor(regclass, name, name, interval, boolean) IS
	'keeps the rows of a routed table in the store of their parent, whose id is in a column';

CREATE FUNCTION runops.drop_anchor(child regclass, child_key name, parent_key name, if_exists boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	config CONSTANT runops.table_config := runops._check_anchor(child, child_key, parent_key);
	check_name CONSTANT name := runops._alias_constraint(parent_key);
	old_timeout CONSTANT text := runops._limit_lock_wait();
	place record;
	place_here regclass;
	context text;
BEGIN
	PERFORM runops._topology_lock();
	IF runops._delete_config('anchor_config', jsonb_build_object('child', child::oid, 'parent_key', parent_key)) = 0 THEN
		IF coalesce(if_exists, false) THEN
			PERFORM set_config('lock_timeout', old_timeout, true);
			RETURN;
		END IF;
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('column "%s" of table %s is not an anchor', parent_key, child),
			DETAIL = 'Aliases that were passed to runops.attach stay until runops.detach.',
			HINT = 'The view "runops.anchors" lists the anchors.';
	END IF;
	PERFORM runops._set_aliases(child, array_remove(config.aliases, parent_key));

	PERFORM runops._lock_table(child);
	-- a CHECK that prepare_anchor has added belongs to the leaf, and is not dropped with the one of the table
	FOREACH place_here IN ARRAY ARRAY[child, config.leaf] LOOP
		IF EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = place_here AND c.conname = check_name) THEN
			EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', place_here, check_name);
		END IF;
	END LOOP;

	FOR place IN
		SELECT c.store, p.remote_schema, p.remote_table FROM runops.store_config c, runops._placements(c.store) p
		WHERE c.server IS NOT NULL AND p.relation = child ORDER BY c.store
	LOOP
		BEGIN
			PERFORM runops.remote_transaction(place.store, ARRAY[format('SET LOCAL lock_timeout = %L', current_setting('lock_timeout')),
				format('ALTER TABLE IF EXISTS %I.%I DROP CONSTRAINT IF EXISTS %I', place.remote_schema, place.remote_table, check_name)]);
		EXCEPTION WHEN query_canceled OR OTHERS THEN
			GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
			IF runops._cancelled_here(SQLSTATE, context) THEN
				RAISE;
			END IF;
			RAISE WARNING USING
				ERRCODE = 'object_not_in_prerequisite_state',
				MESSAGE = format('column "%s" of table %s is still checked in store "%s"', parent_key, child, place.store),
				DETAIL = SQLERRM,
				HINT = format('Run there: ALTER TABLE %I.%I DROP CONSTRAINT %I;', place.remote_schema, place.remote_table, check_name);
		END;
	END LOOP;
	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.drop_anchor(regclass, name, name, boolean) IS
	'undoes add_anchor; rows stay where they are';

/* Drop the CHECK that prepare_anchor has added to the legacy leaf. */
CREATE FUNCTION runops._drop_anchor_check(config runops.table_config, parent_key name) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	old_timeout CONSTANT text := runops._limit_lock_wait();
BEGIN
	PERFORM runops._lock_table(config.leaf);
	EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', config.leaf, runops._alias_constraint(parent_key));
	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;

/*
 * Take the next step towards an add_anchor that need not scan the legacy leaf.
 * The step adds the CHECK, which holds only for new rows, or validates it for old
 * rows, which does not block readers and writers.
 *
 * Returns false when nothing is left to do.  Returns NULL if rows violate the
 * CHECK; then it is dropped, as in _prepare_step().
 */
CREATE FUNCTION runops._prepare_anchor_step(child regclass, child_key name, parent_key name) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	config CONSTANT runops.table_config := runops._check_anchor(child, child_key, parent_key);
	check_name CONSTANT name := runops._alias_constraint(parent_key);
	newest_blocks CONSTANT int := 1000;
	def text;
	old_timeout text;
BEGIN
	PERFORM runops._check_new_anchor(config, parent_key);
	def := runops._alias_check(config, parent_key);
	IF runops._has_check(config.leaf, check_name, def) THEN
		RETURN false;
	END IF;

	IF runops._has_check(config.leaf, check_name, def || ' NOT VALID') THEN
		PERFORM runops._progress_phase('prepare_anchor', 'checking rows', child, runops._table_blocks(config.leaf));
		BEGIN
			EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', config.leaf, check_name);
		EXCEPTION WHEN check_violation THEN
			PERFORM runops._drop_anchor_check(config, parent_key);
			RETURN NULL;
		END;
	ELSE
		PERFORM runops._progress_phase('prepare_anchor', 'looking at the newest rows', child,
									   least(runops._table_blocks(config.leaf), newest_blocks));
		PERFORM runops._check_anchored_rows('legacy', config, parent_key, newest_blocks);
		PERFORM runops._progress_phase('prepare_anchor', 'waiting for the lock', child);
		old_timeout := runops._limit_lock_wait();
		PERFORM runops._lock_table(config.leaf);
		EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', config.leaf, check_name, def);
		PERFORM set_config('lock_timeout', old_timeout, true);
	END IF;
	RETURN true;
END
$$;

-- A procedure with a SET clause cannot commit.  The function that it calls sets search_path.
CREATE PROCEDURE runops.prepare_anchor(child regclass, child_key name, parent_key name)
LANGUAGE plpgsql
AS $$
DECLARE
	more boolean;
BEGIN
	LOOP
		more := runops._prepare_anchor_step(child, child_key, parent_key);
		EXIT WHEN NOT more;
		COMMIT;
		IF more IS NULL THEN
			PERFORM runops._check_anchored_rows('legacy', runops._check_anchor(child, child_key, parent_key), parent_key);
		END IF;
	END LOOP;
END
$$;
COMMENT ON PROCEDURE runops.prepare_anchor(regclass, name, name) IS
	'proves in short transactions that the rows of a big table satisfy the check of add_anchor; can be called again';

CREATE FUNCTION runops.undo_prepare_anchor(child regclass, child_key name, parent_key name) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	config CONSTANT runops.table_config := runops._check_anchor(child, child_key, parent_key);
	def text;
BEGIN
	PERFORM runops._check_new_anchor(config, parent_key);
	def := runops._alias_check(config, parent_key);
	IF runops._has_check(config.leaf, runops._alias_constraint(parent_key), def)
	   OR runops._has_check(config.leaf, runops._alias_constraint(parent_key), def || ' NOT VALID') THEN
		PERFORM runops._drop_anchor_check(config, parent_key);
	ELSE
		RAISE NOTICE 'anchor "%" of table % is not prepared, skipping', parent_key, child;
	END IF;
END
$$;
COMMENT ON FUNCTION runops.undo_prepare_anchor(regclass, name, name) IS
	'drops what prepare_anchor has added for an anchor that add_anchor has not declared';

REVOKE EXECUTE ON ROUTINE
	runops._drop_anchor_check(runops.table_config, name),
	runops.undo_prepare_anchor(regclass, name, name),
	runops._alias_check(runops.table_config, name),
	runops._check_anchor(regclass, name, name),
	runops._check_new_anchor(runops.table_config, name),
	runops._check_anchored_rows(text, runops.table_config, name, int),
	runops._try_anchored_rows(text, runops.table_config, name),
	runops._anchor_store(text, runops.table_config, name),
	runops._anchor_stores(runops.table_config, name),
	runops._set_aliases(regclass, name[]),
	runops.add_anchor(regclass, name, name, interval, boolean),
	runops.drop_anchor(regclass, name, name, boolean),
	runops._prepare_anchor_step(regclass, name, name),
	runops.prepare_anchor(regclass, name, name)
FROM PUBLIC;
