/*
 * Unique keys over all stores of a routed table.
 *
 * An index on ONLY the routed table defines a key.  Core checks its columns and
 * its predicate, follows a renamed column, and dumps it.  The index has no
 * entries.  A separate table has one entry for each row that has the key, and its
 * primary key enforces uniqueness; see src/integrity/unique.c.
 */

CREATE TABLE runops.unique_config (
	relation regclass NOT NULL,
	name name NOT NULL,
	entries regclass NOT NULL UNIQUE,
	stores text[] NOT NULL,
	touched regclass UNIQUE,
	PRIMARY KEY (relation, name)
);
SELECT pg_catalog.pg_extension_config_dump('runops.unique_config', '');
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON runops.unique_config
	FOR EACH STATEMENT EXECUTE FUNCTION runops._config_changed();
ALTER TABLE runops.unique_config ENABLE ALWAYS TRIGGER config_changed;
COMMENT ON TABLE runops.unique_config IS 'unique keys over all stores, with their tables of entries and the stores whose rows have entries';
COMMENT ON COLUMN runops.unique_config.touched IS 'of a key that is prepared and not added: the table of the keys that writers have touched';

CREATE VIEW runops.unique_keys AS
SELECT u.relation, u.name,
	(SELECT pg_catalog.array_agg(a.attname ORDER BY k.ord)
	 FROM pg_catalog.unnest(x.indkey::int2[]) WITH ORDINALITY AS k (attnum, ord)
	 JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) x.indrelid
		AND a.attnum OPERATOR(pg_catalog.=) k.attnum) AS columns,
	pg_catalog.pg_get_expr(x.indpred, x.indrelid) AS predicate,
	u.stores, u.entries, u.touched IS NULL AS enforced
FROM runops.unique_config u
LEFT JOIN (pg_catalog.pg_index x
		   JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) x.indexrelid)
	ON x.indrelid OPERATOR(pg_catalog.=) u.relation AND c.relname OPERATOR(pg_catalog.=) u.name;
COMMENT ON VIEW runops.unique_keys IS 'keys that are unique over all stores of a routed table';
GRANT SELECT ON runops.unique_keys TO PUBLIC;

-- The predicate as core prints it, which is safe to use in statements; raises unless it is one condition.
CREATE FUNCTION runops._unique_predicate(relation regclass, predicate text) RETURNS text
	LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_unique_predicate';

-- Invalidate the cached plans for a routed table and its leaves.
CREATE FUNCTION runops._replan(relation regclass) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_replan';

-- Has this transaction written to a store?
CREATE FUNCTION runops._has_written(store text) RETURNS boolean
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_has_written';

-- Triggers of the legacy leaf.
CREATE FUNCTION runops._unique_row() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_unique_row';
CREATE FUNCTION runops._unique_truncate() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_unique_truncate';

/*
 * Queries that return the entries that the rows of some stores should have, one
 * query for each store that has the table.  Expressions of the owner of the table
 * are evaluated as the owner.
 *
 * Each query of a store uses a separate connection.  It sees all rows that are
 * committed now, even if the snapshot of this transaction does not.  It does not
 * see rows that this transaction has written.
 *
 * With a filter, see _unique_filter(), they return only some of the entries.
 */
CREATE FUNCTION runops._unique_queries(relation regclass, name name, stores text[], filter text DEFAULT NULL) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	columns text;
	remote_columns text;
	casts text;
	condition text;
	result text;
	leaf record;
BEGIN
	SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.ord),
		string_agg(format('%s AS k%s', runops._text_sql(quote_ident(a.attname), a.atttypid), k.ord), ', ' ORDER BY k.ord),
		string_agg(format('(r ->> ''k%s'')::%s', k.ord, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY k.ord),
		string_agg(format('%I IS NOT NULL', a.attname), ' AND ' ORDER BY k.ord)
			|| coalesce(' AND (' || pg_get_expr(x.indpred, x.indrelid) || ')', '') || coalesce(' AND ' || filter, ''),
		string_agg(format('k%s %s', k.ord, format_type(a.atttypid, a.atttypmod))
				   || coalesce((SELECT format(' COLLATE %I.%I', l.collnamespace::regnamespace, l.collname)
								FROM pg_collation l WHERE l.oid = a.attcollation), ''), ', ' ORDER BY k.ord) || ', store text COLLATE "C"'
	INTO columns, remote_columns, casts, condition, result
	FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
	CROSS JOIN unnest(x.indkey::int2[]) WITH ORDINALITY AS k (attnum, ord)
	JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
	WHERE x.indrelid = relation AND c.relname = name
	GROUP BY x.indpred, x.indrelid;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('unique key "%s" of table %s has lost its definition', name, relation),
			DETAIL = 'The index that defines it was dropped or renamed.',
			HINT = 'Use runops.drop_unique, then runops.add_unique.';
	END IF;

	FOR leaf IN
		SELECT i.inhrelid::regclass AS relid, runops._store_of_leaf(i.inhrelid) AS store, f.ftrelid IS NOT NULL AS remote,
			(SELECT option_value FROM pg_options_to_table(f.ftoptions) WHERE option_name = 'schema_name') AS remote_schema,
			(SELECT option_value FROM pg_options_to_table(f.ftoptions) WHERE option_name = 'table_name') AS remote_table
		FROM pg_inherits i LEFT JOIN pg_foreign_table f ON f.ftrelid = i.inhrelid
		WHERE i.inhparent = relation AND runops._store_of_leaf(i.inhrelid) = ANY (stores)
		ORDER BY 2
	LOOP
		IF leaf.remote AND runops._has_written(leaf.store) THEN
			RAISE EXCEPTION USING
				ERRCODE = 'object_not_in_prerequisite_state',
				MESSAGE = format('cannot compare the rows of store "%s" in this transaction', leaf.store),
				DETAIL = 'This transaction has written to the store, and another connection cannot read rows that are not committed.',
				HINT = 'Commit the transaction first.';
		END IF;
		IF NOT leaf.remote THEN
			RETURN NEXT format('SELECT q.* FROM runops._owner_query(%L, %L) AS q (%s)', relation,
							   format('SELECT %s, %L::text FROM ONLY %s WHERE %s', columns, leaf.store, leaf.relid, condition), result);
		ELSIF EXISTS (SELECT FROM runops._owner_query(relation, 'SELECT r FROM store_rows', leaf.store,
													  format('SELECT 1 AS one WHERE to_regclass(%L) IS NOT NULL',
															 format('%I.%I', leaf.remote_schema, leaf.remote_table))) AS q (r jsonb)) THEN
			RETURN NEXT format('SELECT q.* FROM runops._owner_query(%L, %L, %L, %L) AS q (%s)', relation,
							   format('SELECT %s, %L::text FROM store_rows', casts, leaf.store), leaf.store,
							   format('SELECT %s FROM %I.%I WHERE %s', remote_columns, leaf.remote_schema, leaf.remote_table, condition), result);
		END IF;
	END LOOP;
END
$$;

/* The key columns of a table of entries, as a comma-separated list. */
CREATE FUNCTION runops._unique_columns(entries regclass) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
	WHERE a.attrelid = entries AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'store'
$$;

/* Raise if there is a key that several rows have; "places" are their stores. */
CREATE FUNCTION runops._unique_raise(relation regclass, name name, duplicate text, places text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	labels text;
BEGIN
	IF duplicate IS NULL THEN
		RETURN;
	END IF;
	SELECT string_agg(quote_ident(c), ', ') INTO labels
	FROM runops.unique_keys u, unnest(u.columns) c WHERE u.relation = _unique_raise.relation AND u.name = _unique_raise.name;
	RAISE EXCEPTION USING
		ERRCODE = 'unique_violation',
		MESSAGE = format('could not create unique key "%s" of table %s', name, relation),
		DETAIL = format('Key (%s)=(%s) is duplicated, in store %s.', labels, duplicate, places),
		HINT = 'Change or delete all but one of these rows.',
		CONSTRAINT = name,
		TABLE = (SELECT c.relname FROM pg_class c WHERE c.oid = relation),
		SCHEMA = (SELECT c.relnamespace::regnamespace::name FROM pg_class c WHERE c.oid = relation);
END
$$;

/*
 * Create the entries for the rows of some stores.  The caller holds a lock that
 * prevents writes to the routed table.  Returns the number of entries.
 */
CREATE FUNCTION runops._unique_fill(relation regclass, name name, entries regclass, stores text[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	columns CONSTANT text := runops._unique_columns(entries);
	old_key name;
	n bigint;
	filled bigint := 0;
	query text;
	duplicate text;
	places text;
BEGIN
	SELECT c.conname INTO old_key FROM pg_constraint c WHERE c.conrelid = entries AND c.contype = 'p';
	IF FOUND THEN
		EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', entries, old_key);
	END IF;
	FOR query IN SELECT * FROM runops._unique_queries(relation, name, stores) LOOP
		EXECUTE format('INSERT INTO %s (%s, store) %s', entries, columns, query);
		GET DIAGNOSTICS n = ROW_COUNT;
		filled := filled + n;
	END LOOP;

	EXECUTE format('SELECT concat_ws('', '', %1$s), string_agg(DISTINCT store, '', '' ORDER BY store) FROM %2$s '
				   'GROUP BY %1$s HAVING count(*) > 1 LIMIT 1', columns, entries)
	INTO duplicate, places;
	PERFORM runops._unique_raise(relation, name, duplicate, places);
	EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (%s)', entries, columns);
	RETURN filled;
END
$$;

/* Create, replace or drop the triggers of the legacy leaf, according to the keys that the table has now. */
CREATE FUNCTION runops._unique_triggers(relation regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	leaf regclass;
	changed text;
	ddl text;
BEGIN
	SELECT t.leaf INTO leaf FROM runops.routed_tables t JOIN pg_class c ON c.oid = t.leaf
	WHERE t.relation = _unique_triggers.relation AND c.relkind = 'r';
	IF NOT FOUND THEN
		RETURN;
	END IF;

	-- the columns that the keys and their predicates read
	SELECT string_agg(format('%s IS DISTINCT FROM %s', runops._text_sql(format('old.%I', a.attname), a.atttypid),
			runops._text_sql(format('new.%I', a.attname), a.atttypid)), ' OR ' ORDER BY a.attnum) INTO changed
	FROM pg_attribute a
	WHERE a.attrelid = relation AND EXISTS (
		SELECT FROM runops.unique_keys u
		JOIN pg_index x ON x.indrelid = u.relation
		JOIN pg_class c ON c.oid = x.indexrelid AND c.relname = u.name
		JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
			AND d.refclassid = 'pg_class'::regclass AND d.refobjid = x.indrelid
		WHERE u.relation = _unique_triggers.relation AND d.refobjsubid = a.attnum);
	IF changed IS NULL THEN
		FOR ddl IN
			SELECT format('DROP TRIGGER %I ON %s', t.tgname, leaf)
			FROM pg_trigger t
			WHERE t.tgrelid = leaf AND t.tgfoid IN ('runops._unique_row()'::regprocedure, 'runops._unique_truncate()'::regprocedure)
		LOOP
			EXECUTE ddl;
		END LOOP;
		RETURN;
	END IF;

	EXECUTE format('CREATE OR REPLACE TRIGGER runops_unique AFTER INSERT OR DELETE ON %s '
				   'FOR EACH ROW EXECUTE FUNCTION runops._unique_row()', leaf);
	EXECUTE format('CREATE OR REPLACE TRIGGER runops_unique_update AFTER UPDATE ON %s '
				   'FOR EACH ROW WHEN (%s) EXECUTE FUNCTION runops._unique_row()', leaf, changed);
	EXECUTE format('CREATE OR REPLACE TRIGGER runops_unique_truncate AFTER TRUNCATE ON %s '
				   'FOR EACH STATEMENT EXECUTE FUNCTION runops._unique_truncate()', leaf);
	-- they also fire for rows that logical replication applies, as an index would cover them
	EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER runops_unique, ENABLE ALWAYS TRIGGER runops_unique_update, '
				   'ENABLE ALWAYS TRIGGER runops_unique_truncate', leaf);
END
$$;

/* Raise unless the key can be added; returns its name. */
CREATE FUNCTION runops._check_unique_key(relation regclass, columns name[], name name) RETURNS name
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c pg_class;
	bad name;
	base text;
	chosen name := name;
	n int := 0;
BEGIN
	PERFORM runops._check_routed_owner(relation);
	SELECT * INTO STRICT c FROM pg_class WHERE oid = relation;
	IF coalesce(cardinality(columns), 0) = 0 OR array_position(columns, NULL) IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'a unique key needs columns',
			DETAIL = 'No two rows can be equal in all columns of the key.',
			HINT = 'Pass for example columns => ''{environmentId,idempotencyKey}''.';
	END IF;
	SELECT k INTO bad FROM unnest(columns) k
	WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = k AND a.attnum > 0 AND NOT a.attisdropped);
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_column',
			MESSAGE = format('column "%s" of table %s does not exist', bad, relation),
			DETAIL = 'A unique key consists of columns.',
			HINT = 'Check the spelling of the column name, including upper and lower case.';
	END IF;
	SELECT k INTO bad FROM unnest(columns) k GROUP BY k HAVING count(*) > 1 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_column',
			MESSAGE = format('column "%s" appears twice in the unique key', bad),
			DETAIL = 'A unique key contains each column once.',
			HINT = 'Remove the repeated column.';
	END IF;
	IF EXISTS (SELECT FROM runops.routed_tables t JOIN pg_class l ON l.oid = t.leaf
			   WHERE t.relation = _check_unique_key.relation AND l.relkind = 'p') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'feature_not_supported',
			MESSAGE = format('cannot add a unique key to table %s', relation),
			DETAIL = 'Its legacy leaf has partitions, and no trigger fires for the rows of a partition that is detached, attached or truncated.',
			HINT = 'Use runops.claim for the key.';
	END IF;

	IF chosen IS NULL THEN
		base := c.relname || '_' || array_to_string(columns, '_');
		WHILE octet_length(base) > 59 LOOP
			base := left(base, -1);
		END LOOP;
		chosen := base || '_key';
		WHILE EXISTS (SELECT FROM pg_class x WHERE x.relnamespace = c.relnamespace AND x.relname = chosen) LOOP
			n := n + 1;
			WHILE octet_length(base) > 59 - length(n::text) LOOP
				base := left(base, -1);
			END LOOP;
			chosen := base || '_key' || n;
		END LOOP;
	ELSIF EXISTS (SELECT FROM runops.unique_keys u WHERE u.relation = _check_unique_key.relation AND u.name = chosen) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('unique key "%s" of table %s already exists', chosen, relation),
			DETAIL = 'The view "runops.unique_keys" lists the keys.',
			HINT = 'Use another name, or runops.drop_unique first.';
	ELSIF EXISTS (SELECT FROM pg_class x WHERE x.relnamespace = c.relnamespace AND x.relname = chosen) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_table',
			MESSAGE = format('relation "%s" already exists', chosen),
			DETAIL = 'The key needs an index of the same name in the schema of the table.',
			HINT = 'Use another name.';
	END IF;
	RETURN chosen;
END
$$;

/* Raise unless the relation is a routed table that the caller owns. */
CREATE FUNCTION runops._check_routed_owner(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF relation IS NULL OR NOT EXISTS (SELECT FROM runops.routed_tables t WHERE t.relation = _check_routed_owner.relation) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('table %s is not routed', coalesce(relation::text, 'NULL')),
			DETAIL = 'A table that is not routed needs only a unique index.',
			HINT = 'The view "runops.routed_tables" lists the routed tables; runops.attach() routes one.';
	END IF;
	IF NOT pg_has_role((SELECT c.relowner FROM pg_class c WHERE c.oid = relation), 'USAGE') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('must be owner of table %s', relation),
			DETAIL = 'Only the owner of a table may change its unique keys.',
			HINT = 'Run this as the owner of the table or as a superuser.';
	END IF;
END
$$;

/*
 * Step: make the table of entries for a key whose index stands, and record the
 * key.  It belongs to the owner of the extension: who can put a trigger on it
 * would have code run by whoever rebuilds it.
 */
CREATE FUNCTION runops._step_add_unique(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	relation CONSTANT regclass := (arguments ->> 'relation')::oid::regclass;
	name CONSTANT name := arguments ->> 'name';
	entries name := name;
	columns text;
	n int := 0;
BEGIN
	PERFORM runops._check_owner(caller, relation);
	IF to_regnamespace('runops_unique') IS NULL THEN
		CREATE SCHEMA runops_unique;
		COMMENT ON SCHEMA runops_unique IS 'entries of unique keys over all stores; see runops.unique_keys';
	END IF;
	PERFORM runops._check_own_schema('runops_unique');
	WHILE EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'runops_unique'::regnamespace AND c.relname = entries)
		OR EXISTS (SELECT FROM pg_type t WHERE t.typnamespace = 'runops_unique'::regnamespace AND t.typname = entries) LOOP
		n := n + 1;
		entries := 'entries_' || relation::oid || '_' || n;
	END LOOP;

	SELECT (SELECT string_agg(format('k%s %s', k.ord, format_type(a.atttypid, a.atttypmod))
						   || CASE WHEN a.attcollation <> 0
							  THEN (SELECT format(' COLLATE %I.%I', l.collnamespace::regnamespace, l.collname) FROM pg_collation l WHERE l.oid = a.attcollation)
							  ELSE '' END, ', ' ORDER BY k.ord)
		 FROM pg_index x JOIN pg_class ic ON ic.oid = x.indexrelid
		 CROSS JOIN unnest(x.indkey::int2[]) WITH ORDINALITY AS k (attnum, ord)
		 JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
		 WHERE x.indrelid = c.oid AND ic.relname = name)
	INTO STRICT columns FROM pg_class c WHERE c.oid = relation;

	EXECUTE format('CREATE TABLE runops_unique.%I (%s, store text COLLATE "C" NOT NULL)', entries, columns);
	IF arguments ? 'prepare' THEN
		EXECUTE format('ALTER TABLE runops_unique.%I ADD PRIMARY KEY (%s)', entries,
					   runops._unique_columns(format('runops_unique.%I', entries)::regclass));
		EXECUTE format('CREATE TABLE runops_unique.%I (%s, store text COLLATE "C" NOT NULL)',
					   'touched_' || format('runops_unique.%I', entries)::regclass::oid, columns);
		EXECUTE format('COMMENT ON TABLE runops_unique.%I IS %L', 'touched_' || format('runops_unique.%I', entries)::regclass::oid,
					   format('keys that were touched since unique key "%s" of %s was prepared', name, relation));
	END IF;
	EXECUTE format('COMMENT ON TABLE runops_unique.%I IS %L', entries, format('entries of unique key "%s" of %s', name, relation));
	EXECUTE format('GRANT USAGE ON SCHEMA runops_unique TO %1$I; GRANT SELECT ON runops_unique.%2$I TO %1$I',
				   (SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = relation), entries);
	PERFORM runops._step_insert(caller, jsonb_build_object('config', 'unique_config', 'row', jsonb_build_object(
		'relation', relation::oid, 'name', name, 'entries', format('runops_unique.%I', entries)::regclass::oid)
		|| CASE WHEN arguments ? 'prepare'
		   THEN jsonb_build_object('stores', '{}'::text[], 'touched', to_regclass(format('runops_unique.touched_%s', format('runops_unique.%I', entries)::regclass::oid))::oid)
		   ELSE jsonb_build_object('stores', runops._leaf_stores(relation)) END));
	RETURN NULL;
END
$$;

/*
 * Step: enter the rows of some stores for a key, or of all of them anew; returns
 * the number of entries.
 */
CREATE FUNCTION runops._step_fill_unique(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u runops.unique_config;
	anew CONSTANT boolean := arguments -> 'store' IS NULL;
	filled bigint;
BEGIN
	PERFORM runops._check_owner(caller, (arguments ->> 'relation')::oid::regclass);
	SELECT * INTO STRICT u FROM runops.unique_config c
	WHERE c.relation = (arguments ->> 'relation')::oid AND c.name = arguments ->> 'name';
	IF anew THEN
		EXECUTE format('DELETE FROM %s', u.entries);
		u.stores := runops._leaf_stores(u.relation);
	ELSE
		u.stores := ARRAY(SELECT s FROM unnest(u.stores || (arguments ->> 'store')) s ORDER BY s);
	END IF;
	filled := runops._unique_fill(u.relation, u.name, u.entries, CASE WHEN anew THEN u.stores ELSE ARRAY[arguments ->> 'store'] END);
	UPDATE runops.unique_config c SET stores = u.stores WHERE c.entries = u.entries;
	RETURN to_jsonb(filled);
END
$$;

/* Step: forget a key and its entries; false if there is no such key. */
CREATE FUNCTION runops._step_drop_unique(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	old runops.unique_config;
BEGIN
	PERFORM runops._check_owner(caller, (arguments ->> 'relation')::oid::regclass);
	DELETE FROM runops.unique_config u
	WHERE u.relation = (arguments ->> 'relation')::oid AND u.name = arguments ->> 'name'
	RETURNING u.* INTO old;
	IF NOT FOUND THEN
		RETURN 'false';
	END IF;
	EXECUTE format('DROP TABLE %s', old.entries);
	IF old.touched IS NOT NULL THEN
		EXECUTE format('DROP TABLE %s', old.touched);
	END IF;
	RETURN 'true';
END
$$;

/* Step: forget the rows of a store that is dropped. */
CREATE FUNCTION runops._step_forget_unique(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u runops.unique_config;
BEGIN
	PERFORM runops._check_may(caller, 'runops.drop_store(text,boolean)');
	FOR u IN SELECT c.* FROM runops.unique_config c ORDER BY c.relation::oid, c.name LOOP
		EXECUTE format('DELETE FROM %s WHERE store = %L', u.entries, arguments ->> 'store');
		UPDATE runops.unique_config c SET stores = array_remove(c.stores, arguments ->> 'store')
		WHERE c.relation = u.relation AND c.name = u.name;
	END LOOP;
	RETURN NULL;
END
$$;

CREATE FUNCTION runops.drop_unique(relation regclass, name name, if_exists boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	defining regclass;
	old_timeout text;
BEGIN
	PERFORM runops._check_routed_owner(relation);
	old_timeout := runops._limit_lock_wait();
	PERFORM runops._topology_lock();
	PERFORM runops._lock_table(relation, 'ACCESS EXCLUSIVE');

	IF NOT (runops._own_step('drop_unique', jsonb_build_object('relation', relation::oid, 'name', name)))::boolean THEN
		IF coalesce(if_exists, false) THEN
			RAISE NOTICE 'unique key "%" of table % does not exist, skipping', name, relation;
			PERFORM set_config('lock_timeout', old_timeout, true);
			RETURN;
		END IF;
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('unique key "%s" of table %s does not exist', name, relation),
			DETAIL = 'No key of this name was added.',
			HINT = 'The view "runops.unique_keys" lists the keys.';
	END IF;

	-- the index and the entries of a key cannot be dropped while the key is recorded
	PERFORM runops._unique_triggers(relation);
	SELECT x.indexrelid INTO defining FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
	WHERE x.indrelid = relation AND c.relname = name;
	IF FOUND THEN
		EXECUTE format('DROP INDEX %s', defining);
	END IF;
	PERFORM runops._own_step('clear', '{}');
	PERFORM runops._replan(relation);
	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.drop_unique(regclass, name, boolean) IS 'drops a key that is unique over all stores';

/*
 * Create the missing entries for the rows of a store that was added after the
 * key, for all keys of the given tables.
 */
CREATE FUNCTION runops._unique_cover(store text, relations regclass[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u runops.unique_keys;
	old_timeout text;
BEGIN
	FOR u IN
		SELECT c.* FROM runops.unique_keys c
		WHERE c.relation = ANY (relations) AND NOT c.stores @> ARRAY[store] AND c.enforced ORDER BY c.relation::oid, c.name
	LOOP
		old_timeout := runops._limit_lock_wait();
		PERFORM runops._lock_table(u.relation, 'SHARE ROW EXCLUSIVE');
		PERFORM runops._own_step('fill_unique', jsonb_build_object('relation', u.relation::oid, 'name', u.name, 'store', store));
		PERFORM set_config('lock_timeout', old_timeout, true);
	END LOOP;
END
$$;

REVOKE EXECUTE ON FUNCTION
	runops._unique_predicate(regclass, text),
	runops._replan(regclass),
	runops._unique_queries(regclass, name, text[], text),
	runops._unique_raise(regclass, name, text, text),
	runops._has_written(text),
	runops._unique_columns(regclass),
	runops._unique_fill(regclass, name, regclass, text[]),
	runops._unique_triggers(regclass),
	runops._check_unique_key(regclass, name[], name),
	runops._check_routed_owner(regclass),
	runops._step_add_unique(oid, jsonb),
	runops._step_fill_unique(oid, jsonb),
	runops._step_drop_unique(oid, jsonb),
	runops._step_forget_unique(oid, jsonb),
	runops._unique_row(),
	runops._unique_truncate(),
	runops.drop_unique(regclass, name, boolean),
	runops._unique_cover(text, regclass[])
FROM PUBLIC;
