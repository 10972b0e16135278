/*
 * Unique keys over all stores, second part: keys are added, checked and rebuilt
 * while writers go on.
 *
 * The rows of all stores are read without a lock.  What writers may have changed
 * meanwhile is read again under a lock, which is short because it concerns few
 * keys.
 */

/*
 * Conditions that are true for the given keys, and perhaps for others: one on the
 * columns of the rows, one on those of the entries.  Both are NULL if no column
 * can be used.  A key is an array of the texts of its values, with ISO dates.
 *
 * A column is used if an array of its type can be written as text without running
 * code that other roles have written, as the check of a domain.  It is compared as
 * its index would compare it.
 */
CREATE FUNCTION runops._unique_filter(relation regclass, name name, keys jsonb, OUT of_rows text, OUT of_entries text)
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT string_agg(quote_ident(x.attname) || x.condition, ' AND ' ORDER BY x.ord),
		string_agg('k' || x.ord || x.condition, ' AND ' ORDER BY x.ord)
	FROM (SELECT a.attname, k.ord,
			format(' %s ANY (%L::%s[])', coalesce(runops._btree_equality(t.oid), 'OPERATOR(pg_catalog.=)'),
				   (SELECT array_agg(DISTINCT v ->> (k.ord - 1)::int) FROM jsonb_array_elements(keys) v)::text,
				   format_type(t.oid, NULL)) AS condition
		  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		  CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, ord)
		  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
		  JOIN pg_type t ON t.oid = runops._compared_type(relation, a.attname)
		  WHERE i.indrelid = relation AND c.relname = name
			AND t.typtype IN ('b', 'e') AND t.typcategory <> 'A' AND t.typarray <> 0) AS x
$$;

/* The equality operator of the type's default btree operator class, as OPERATOR(...). */
CREATE FUNCTION runops._btree_equality(type oid) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
	FROM pg_opclass c
	JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
	JOIN pg_amop x ON x.amopfamily = c.opcfamily AND x.amoplefttype = c.opcintype
		AND x.amoprighttype = c.opcintype AND x.amopstrategy = 3
	JOIN pg_operator o ON o.oid = x.amopopr
	JOIN pg_namespace n ON n.oid = o.oprnamespace
	WHERE c.opcdefault AND c.opcintype = type
$$;

/* The values of a key as a jsonb array of texts, from the columns of a table of entries. */
CREATE FUNCTION runops._unique_key_sql(entries regclass) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('jsonb_build_array(%s)', string_agg(runops._text_sql(quote_ident(a.attname), a.atttypid), ', ' ORDER BY a.attnum))
	FROM pg_attribute a
	WHERE a.attrelid = entries AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'store'
$$;

/*
 * Raise unless each statement sees what was committed before it.  Under a lock,
 * an older snapshot would miss what writers have committed before the lock.
 */
CREATE FUNCTION runops._require_read_committed(what text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'active_sql_transaction',
			MESSAGE = format('cannot use %s in a transaction of isolation level %s', what, current_setting('transaction_isolation')),
			DETAIL = 'The transaction may not see rows that others have committed before the table was locked.',
			HINT = 'Use it in a READ COMMITTED transaction.';
	END IF;
END
$$;

/*
 * Differences between the rows of all stores and the entries of a key, with the
 * key also as an array.  A filter limits both sides; see _unique_filter().
 */
CREATE FUNCTION runops._unique_compare(u runops.unique_keys, of_rows text, of_entries text, max_rows bigint)
RETURNS TABLE (store text, finding text, key text, key_values jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET extra_float_digits = '1'
AS $$
DECLARE
	columns CONSTANT text := runops._unique_columns(u.entries);
	rows text;
BEGIN
	SELECT string_agg(q, ' UNION ALL ') INTO rows
	FROM runops._unique_queries(u.relation, u.name, runops._leaf_stores(u.relation), of_rows) q;
	IF rows IS NULL THEN
		RETURN;
	END IF;
	RETURN QUERY EXECUTE format(
		'WITH r (%1$s, store) AS MATERIALIZED (%3$s), e AS (SELECT %1$s, store FROM %2$s WHERE %4$s), found AS ('
		'SELECT ''missing'' AS finding, x.* FROM (TABLE r EXCEPT TABLE e) x '
		'UNION ALL SELECT ''stranded'', x.* FROM (TABLE e EXCEPT TABLE r) x '
		'UNION ALL SELECT ''duplicate'', %1$s, string_agg(DISTINCT store, '', '' ORDER BY store) FROM r GROUP BY %1$s HAVING count(*) > 1) '
		'SELECT f.store, f.finding, concat_ws('', '', %1$s), %5$s FROM found f ORDER BY f.finding, 3 LIMIT %6$L',
		columns, u.entries, rows, coalesce(of_entries, 'true'), runops._unique_key_sql(u.entries), max_rows);
END
$$;

/* A query of the rows of all stores that are entered, as entries. */
CREATE FUNCTION runops._unique_rows(u runops.unique_config, of_rows text) RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(string_agg(q, ' UNION ALL '),
					format('SELECT %s, store FROM %s WHERE false', runops._unique_columns(u.entries), u.entries))
	FROM runops._unique_queries(u.relation, u.name, u.stores, of_rows) q
$$;

/* Does the key find each write, so that only writers that are at work can make a difference? */
CREATE FUNCTION runops._unique_is_kept(u runops.unique_keys) RETURNS boolean
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT u.enforced AND u.stores @> runops._leaf_stores(u.relation) AND u.stores <@ runops._leaf_stores(u.relation)
		AND EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = u.entries AND c.contype = 'p')
		AND NOT EXISTS (SELECT FROM runops.routed_tables t JOIN pg_class l ON l.oid = t.leaf AND l.relkind = 'r'
						WHERE t.relation = u.relation
							AND 3 <> (SELECT count(*) FROM pg_trigger g
									  WHERE g.tgrelid = t.leaf AND g.tgenabled = 'A'
										AND g.tgfoid IN ('runops._unique_row()'::regprocedure, 'runops._unique_truncate()'::regprocedure)))
$$;

/*
 * Step: read the rows of some keys again, and make the entries of these keys as
 * the rows are.  The caller holds a lock that prevents writes to the routed table.
 * Returns by how many entries their number has grown.
 */
CREATE FUNCTION runops._step_repair_unique(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u runops.unique_config;
	columns text;
	filter record;
	rows text;
	deleted bigint;
	inserted bigint;
	duplicate text;
	places text;
BEGIN
	PERFORM runops._check_owner(caller, (arguments ->> 'relation')::oid::regclass);
	SELECT * INTO STRICT u FROM runops.unique_config c
	WHERE c.relation = (arguments ->> 'relation')::oid AND c.name = arguments ->> 'name';
	columns := runops._unique_columns(u.entries);
	SELECT * INTO filter FROM runops._unique_filter(u.relation, u.name, arguments -> 'keys');
	rows := runops._unique_rows(u, filter.of_rows);

	EXECUTE format('DELETE FROM %s WHERE %s', u.entries, coalesce(filter.of_entries, 'true'));
	GET DIAGNOSTICS deleted = ROW_COUNT;
	EXECUTE format(
		'WITH r (%1$s, store) AS MATERIALIZED (%2$s), many AS ('
		'SELECT %1$s, string_agg(DISTINCT store, '', '' ORDER BY store) AS places FROM r GROUP BY %1$s HAVING count(*) > 1), made AS ('
		'INSERT INTO %3$s (%1$s, store) SELECT %1$s, min(store) FROM r GROUP BY %1$s HAVING count(*) = 1 RETURNING 1) '
		'SELECT (SELECT count(*) FROM made), m.* FROM (SELECT) x LEFT JOIN (SELECT concat_ws('', '', %1$s), places FROM many ORDER BY 1 LIMIT 1) m ON true',
		columns, rows, u.entries)
	INTO inserted, duplicate, places;
	PERFORM runops._unique_raise(u.relation, u.name, duplicate, places);
	RETURN to_jsonb(inserted - deleted);
END
$$;

CREATE FUNCTION runops.rebuild_unique(relation regclass, name name) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- more keys than these are not read again one by one
	max_keys CONSTANT int := 10000;
	u runops.unique_keys;
	keys jsonb;
	n int;
	old_timeout text;
	filled bigint;
BEGIN
	PERFORM runops._check_routed_owner(relation);
	PERFORM runops._require_read_committed('runops.rebuild_unique()');
	PERFORM runops._check_unique_exists(relation, name);
	SELECT * INTO u FROM runops.unique_keys k WHERE k.relation = rebuild_unique.relation AND k.name = rebuild_unique.name;
	IF runops._unique_is_kept(u) THEN
		PERFORM runops._progress_phase('rebuild_unique', 'comparing rows', relation);
		SELECT jsonb_agg(DISTINCT f.key_values), count(*) INTO keys, n FROM runops._unique_compare(u, NULL, NULL, max_keys + 1) f;
		EXECUTE format('SELECT count(*) FROM %s', u.entries) INTO filled;
		IF n = 0 THEN
			PERFORM runops._progress_end();
			RETURN filled;
		END IF;
	END IF;

	PERFORM runops._progress_phase('rebuild_unique', 'waiting for the lock', relation);
	old_timeout := runops._limit_lock_wait();
	PERFORM runops._topology_lock();
	PERFORM runops._lock_table(relation, 'SHARE ROW EXCLUSIVE');
	PERFORM runops._check_unique_exists(relation, name);
	SELECT * INTO u FROM runops.unique_keys k WHERE k.relation = rebuild_unique.relation AND k.name = rebuild_unique.name;
	PERFORM runops._progress_phase('rebuild_unique', 'reading rows under the lock', relation);
	IF n <= max_keys AND runops._unique_is_kept(u) THEN
		filled := filled + (runops._own_step('repair_unique', jsonb_build_object('relation', relation::oid, 'name', name, 'keys', keys)))::bigint;
	ELSE
		filled := runops._own_step('fill_unique', jsonb_build_object('relation', relation::oid, 'name', name));
		PERFORM runops._unique_triggers(relation);
	END IF;
	PERFORM runops._progress_end();
	PERFORM set_config('lock_timeout', old_timeout, true);
	RETURN filled;
END
$$;
COMMENT ON FUNCTION runops.rebuild_unique(regclass, name) IS
	'makes the entries of a unique key as the rows of every store are, and checks them; returns the number of entries';

/* Raise unless the table has an enforced key of this name. */
CREATE FUNCTION runops._check_unique_exists(relation regclass, name name) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM runops.unique_keys u WHERE u.relation = _check_unique_exists.relation AND u.name = _check_unique_exists.name AND u.enforced) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('unique key "%s" of table %s does not exist', name, relation),
			DETAIL = 'No key of this name was added.',
			HINT = 'The view "runops.unique_keys" lists the keys.';
	END IF;
END
$$;

/* The findings in the unique keys of a table, or of all tables. */
CREATE FUNCTION runops._check_unique(only_relation regclass, max_rows int)
RETURNS TABLE (relation regclass, name name, store text, finding text, key text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	u runops.unique_keys;
	keys jsonb;
	suspects jsonb := '[]';
	s jsonb;
	filter record;
	old_timeout text;
BEGIN
	PERFORM runops._routed_relations(only_relation);
	FOR u IN
		SELECT c.* FROM runops.unique_keys c
		WHERE (c.relation = only_relation OR only_relation IS NULL) AND c.enforced ORDER BY c.relation::oid, c.name
	LOOP
		PERFORM runops._progress_phase('check_unique', 'comparing rows', u.relation);
		-- the lock waits for writers, and is kept until the transaction ends: so compare all keys before any lock is taken
		SELECT jsonb_agg(DISTINCT f.key_values) INTO keys FROM runops._unique_compare(u, NULL, NULL, max_rows) f;
		IF keys IS NOT NULL THEN
			suspects := suspects || jsonb_build_object('relation', u.relation::oid, 'name', u.name, 'keys', keys);
		END IF;
	END LOOP;

	old_timeout := runops._limit_lock_wait();
	FOR s IN SELECT * FROM jsonb_array_elements(suspects) LOOP
		PERFORM runops._progress_phase('check_unique', 'looking again under the lock', (s ->> 'relation')::oid::regclass);
		-- writers change a row and its entry in one transaction
		PERFORM runops._lock_table((s ->> 'relation')::oid::regclass, 'SHARE');
		SELECT c.* INTO u FROM runops.unique_keys c WHERE c.relation = (s ->> 'relation')::oid AND c.name = s ->> 'name' AND c.enforced;
		CONTINUE WHEN NOT FOUND;
		SELECT * INTO filter FROM runops._unique_filter(u.relation, u.name, s -> 'keys');
		RETURN QUERY SELECT u.relation, u.name, f.store, f.finding, f.key
		FROM runops._unique_compare(u, filter.of_rows, filter.of_entries, max_rows) f;
	END LOOP;
	PERFORM runops._progress_end();
	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;

-- PL/pgSQL does not let an argument and a result column share a name.
CREATE FUNCTION runops.check_unique(relation regclass DEFAULT NULL, max_rows int DEFAULT 1000)
RETURNS TABLE (relation regclass, name name, store text, finding text, key text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM runops._check_unique($1, $2) $$;
COMMENT ON FUNCTION runops.check_unique(regclass, int) IS
	'compares unique keys with the rows of every store; no row means that they agree';

/*
 * The key that prepare_unique has begun with these arguments; NULL if there is
 * none.
 */
CREATE FUNCTION runops._prepared_key(relation regclass, columns name[], predicate text, name name) RETURNS runops.unique_keys
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT u FROM runops.unique_keys u
	WHERE u.relation = _prepared_key.relation AND NOT u.enforced AND u.columns = _prepared_key.columns
		-- the index was created from the printed predicate
		AND u.predicate IS NOT DISTINCT FROM runops._unique_predicate(_prepared_key.relation, runops._unique_predicate(_prepared_key.relation, _prepared_key.predicate))
		AND (_prepared_key.name IS NULL OR u.name = _prepared_key.name)
	ORDER BY u.name LIMIT 1
$$;

/* Create the index that defines a key. */
CREATE FUNCTION runops._define_unique(relation regclass, columns name[], predicate text, name name) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('CREATE INDEX %I ON ONLY %s (%s)', name, relation,
				   (SELECT string_agg(quote_ident(k), ', ' ORDER BY ord) FROM unnest(columns) WITH ORDINALITY AS u (k, ord)))
		|| coalesce(' WHERE ' || predicate, '');
	EXECUTE format('COMMENT ON INDEX %s.%I IS ''defines a key that is unique over all stores; see runops.unique_keys''',
				   (SELECT c.relnamespace::regnamespace FROM pg_class c WHERE c.oid = relation), name);
END
$$;

/*
 * Step: enter the rows of every store for a key that is being prepared.
 *
 * Writers go on.  They note the keys that they touch, and _step_follow_unique()
 * reads the rows of these keys again.  It does the same for a key that several
 * rows seem to have: a row may have moved between the stores while they were read.
 */
CREATE FUNCTION runops._step_start_unique(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	max_keys CONSTANT int := 100;
	u runops.unique_config;
	columns text;
	query text;
	doubtful bigint;
	duplicate text;
	places text;
BEGIN
	PERFORM runops._check_owner(caller, (arguments ->> 'relation')::oid::regclass);
	SELECT * INTO STRICT u FROM runops.unique_config c
	WHERE c.relation = (arguments ->> 'relation')::oid AND c.name = arguments ->> 'name' AND c.touched IS NOT NULL;
	columns := runops._unique_columns(u.entries);
	-- TRUNCATE of the legacy leaf, which locks the entries after the leaf, waits until all is entered
	EXECUTE format('LOCK TABLE %s IN ACCESS SHARE MODE', u.relation);
	EXECUTE format('TRUNCATE %s', u.entries);
	EXECUTE (SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', u.entries, c.conname) FROM pg_constraint c WHERE c.conrelid = u.entries AND c.contype = 'p');
	FOR query IN SELECT * FROM runops._unique_queries(u.relation, u.name, runops._leaf_stores(u.relation)) LOOP
		EXECUTE format('INSERT INTO %s (%s, store) %s', u.entries, columns, query);
	END LOOP;

	EXECUTE format('SELECT count(*), min(key), min(places) FROM (SELECT concat_ws('', '', %1$s), string_agg(DISTINCT store, '', '' ORDER BY store) '
				   'FROM %2$s GROUP BY %1$s HAVING count(*) > 1 LIMIT %3$s) AS x (key, places)', columns, u.entries, max_keys + 1)
	INTO doubtful, duplicate, places;
	IF doubtful > max_keys THEN
		PERFORM runops._unique_raise(u.relation, u.name, duplicate, places);
	ELSIF doubtful > 0 THEN
		EXECUTE format('WITH d AS (DELETE FROM %2$s WHERE ctid IN (SELECT x.tid FROM (SELECT ctid, count(*) OVER (PARTITION BY %1$s) FROM %2$s) AS x (tid, n) '
					   'WHERE x.n > 1) RETURNING %1$s, store) INSERT INTO %3$s (%1$s, store) SELECT %1$s, store FROM d', columns, u.entries, u.touched);
	END IF;
	EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (%s)', u.entries, columns);
	UPDATE runops.unique_config c SET stores = runops._leaf_stores(u.relation) WHERE c.entries = u.entries;
	RETURN NULL;
END
$$;

/*
 * Step: read the rows of the keys that were touched again, and make the entries
 * of these keys as the rows are.  Returns how many keys these were, and one that
 * several rows have.
 *
 * A transaction commits its notes after the store has committed its rows.  So when
 * a note is visible, its rows are too.  A key that is touched later is noted again.
 *
 * With "last", the caller holds a lock that prevents writes to the routed table.
 * Then the key is enforced from now on, and a key of several rows is an error.
 * Otherwise such a key stays among the notes.
 */
CREATE FUNCTION runops._step_follow_unique(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET extra_float_digits = '1'
AS $$
DECLARE
	-- how many keys are read by one query
	max_keys CONSTANT int := 1000;
	last CONSTANT boolean := arguments ? 'last';
	u runops.unique_config;
	columns text;
	filter record;
	keys jsonb;
	rows text;
	notes bigint := 0;
	duplicate text;
	places text;
	result jsonb := '{}';
BEGIN
	PERFORM runops._check_owner(caller, (arguments ->> 'relation')::oid::regclass);
	SELECT * INTO STRICT u FROM runops.unique_config c
	WHERE c.relation = (arguments ->> 'relation')::oid AND c.name = arguments ->> 'name' AND c.touched IS NOT NULL;
	columns := runops._unique_columns(u.entries);
	FOR keys IN EXECUTE format(
		'WITH t AS (DELETE FROM %s RETURNING *), k AS (SELECT x, row_number() OVER () / %s AS part FROM (SELECT DISTINCT %s FROM t) AS d (x)) '
		'SELECT jsonb_agg(x) FROM k GROUP BY part', u.touched, max_keys, runops._unique_key_sql(u.entries))
	LOOP
		notes := notes + jsonb_array_length(keys);
		SELECT * INTO filter FROM runops._unique_filter(u.relation, u.name, keys);
		rows := runops._unique_rows(u, filter.of_rows);
		EXECUTE format('DELETE FROM %s WHERE %s', u.entries, coalesce(filter.of_entries, 'true'));
		EXECUTE format(
			'WITH r (%1$s, store) AS MATERIALIZED (%2$s), many AS ('
			'SELECT %1$s, min(store) AS store, string_agg(DISTINCT store, '', '' ORDER BY store) AS places FROM r GROUP BY %1$s HAVING count(*) > 1), made AS ('
			'INSERT INTO %3$s (%1$s, store) SELECT %1$s, min(store) FROM r GROUP BY %1$s HAVING count(*) = 1), again AS ('
			'INSERT INTO %4$s (%1$s, store) SELECT %1$s, store FROM many) '
			'SELECT concat_ws('', '', %1$s), places FROM many ORDER BY 1 LIMIT 1', columns, rows, u.entries, u.touched)
		INTO duplicate, places;
		IF duplicate IS NOT NULL THEN
			IF last THEN
				PERFORM runops._unique_raise(u.relation, u.name, duplicate, places);
			END IF;
			result := result || jsonb_build_object('duplicate', duplicate, 'places', places);
		END IF;
	END LOOP;
	result := result || jsonb_build_object('notes', notes);
	IF last THEN
		UPDATE runops.unique_config c SET touched = NULL WHERE c.entries = u.entries;
		EXECUTE format('DROP TABLE %s', u.touched);
	END IF;
	RETURN result;
END
$$;

/*
 * Take the next step of prepare_unique; returns false when nothing is left to do.
 *
 * The first step defines the key, so that writers note from then on what they
 * touch.  It waits for writers, but only to change the catalogs.  The second step
 * reads all rows.  The others read again what was touched meanwhile, until only
 * few notes are left.
 */
CREATE FUNCTION runops._prepare_unique_step(relation regclass, columns name[], predicate text, name name) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	few CONSTANT int := 100;
	u runops.unique_keys;
	chosen name;
	old_timeout text;
	followed jsonb;
BEGIN
	PERFORM runops._check_routed_owner(relation);
	PERFORM runops._require_read_committed('runops.prepare_unique()');
	old_timeout := runops._limit_lock_wait();
	-- another session may prepare, add or drop the same key
	PERFORM runops._topology_lock();
	u := runops._prepared_key(relation, columns, predicate, name);

	IF u.relation IS NULL THEN
		PERFORM runops._progress_phase('prepare_unique', 'waiting for the lock', relation);
		chosen := runops._check_unique_key(relation, columns, name);
		PERFORM runops._lock_table(relation, 'SHARE ROW EXCLUSIVE');
		PERFORM runops._define_unique(relation, columns, runops._unique_predicate(relation, predicate), chosen);
		PERFORM runops._own_step('add_unique', jsonb_build_object('relation', relation::oid, 'name', chosen, 'prepare', true));
		PERFORM runops._unique_triggers(relation);
		PERFORM runops._replan(relation);
		u := runops._prepared_key(relation, columns, predicate, name);
		IF u.name IS DISTINCT FROM chosen THEN
			RAISE EXCEPTION USING
				ERRCODE = 'internal_error',
				MESSAGE = format('prepared unique key "%s" is not found again', chosen),
				DETAIL = format('Its predicate is printed as %s.', (SELECT k.predicate FROM runops.unique_keys k WHERE k.relation = _prepare_unique_step.relation AND k.name = chosen)),
				HINT = 'Use runops.add_unique without runops.prepare_unique.';
		END IF;
	ELSIF u.stores IS DISTINCT FROM runops._leaf_stores(relation) THEN
		PERFORM runops._progress_phase('prepare_unique', 'reading rows', relation);
		PERFORM runops._own_step('start_unique', jsonb_build_object('relation', relation::oid, 'name', u.name));
	ELSE
		PERFORM runops._progress_phase('prepare_unique', 'reading rows that were changed', relation);
		followed := runops._own_step('follow_unique', jsonb_build_object('relation', relation::oid, 'name', u.name));
		PERFORM runops._unique_raise(relation, u.name, followed ->> 'duplicate', followed ->> 'places');
		PERFORM set_config('lock_timeout', old_timeout, true);
		RETURN (followed -> 'notes')::int > few;
	END IF;
	PERFORM set_config('lock_timeout', old_timeout, true);
	RETURN true;
END
$$;

-- A procedure with a SET clause cannot commit.  The function that it calls sets search_path.
CREATE PROCEDURE runops.prepare_unique(relation regclass, columns name[], predicate text DEFAULT NULL, name name DEFAULT NULL)
LANGUAGE plpgsql
AS $$
BEGIN
	-- add_unique reads what writers touch in the end
	FOR i IN 1 .. 10 LOOP
		EXIT WHEN NOT runops._prepare_unique_step(relation, columns, predicate, name);
		COMMIT;
	END LOOP;
END
$$;
COMMENT ON PROCEDURE runops.prepare_unique(regclass, name[], text, name) IS
	'reads the rows for a unique key while writers go on, so that add_unique locks the table only shortly; can be called again';

CREATE FUNCTION runops.add_unique(relation regclass, columns name[], predicate text DEFAULT NULL, name name DEFAULT NULL) RETURNS name
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u runops.unique_keys;
	chosen name;
	old_timeout text;
BEGIN
	PERFORM runops._check_routed_owner(relation);
	PERFORM runops._require_read_committed('runops.add_unique()');
	-- report what is wrong before any lock is taken
	IF (runops._prepared_key(relation, columns, predicate, name)).relation IS NULL THEN
		PERFORM runops._check_unique_key(relation, columns, name);
	END IF;
	old_timeout := runops._limit_lock_wait();
	PERFORM runops._topology_lock();
	-- another session may have prepared, added or dropped the same key
	u := runops._prepared_key(relation, columns, predicate, name);
	predicate := runops._unique_predicate(relation, predicate);

	IF u.relation IS NOT NULL THEN
		IF u.stores IS DISTINCT FROM runops._leaf_stores(relation) THEN
			RAISE EXCEPTION USING
				ERRCODE = 'object_not_in_prerequisite_state',
				MESSAGE = format('unique key "%s" of table %s is not completely prepared', u.name, relation),
				DETAIL = 'The rows of the stores were not all read.',
				HINT = 'Call runops.prepare_unique again.';
		END IF;
		-- most of what writers have touched is read before the lock
		PERFORM runops._progress_phase('add_unique', 'reading rows that were changed', relation);
		PERFORM runops._own_step('follow_unique', jsonb_build_object('relation', relation::oid, 'name', u.name));
		PERFORM runops._progress_phase('add_unique', 'waiting for the lock', relation);
		PERFORM runops._lock_table(relation, 'SHARE ROW EXCLUSIVE');
		PERFORM runops._own_step('follow_unique', jsonb_build_object('relation', relation::oid, 'name', u.name, 'last', true));
		chosen := u.name;
	ELSE
		PERFORM runops._lock_table(relation, 'SHARE ROW EXCLUSIVE');
		chosen := runops._check_unique_key(relation, columns, name);
		PERFORM runops._define_unique(relation, columns, predicate, chosen);
		PERFORM runops._progress_phase('add_unique', 'reading rows under the lock', relation);
		PERFORM runops._own_step('add_unique', jsonb_build_object('relation', relation::oid, 'name', chosen));
		PERFORM runops._own_step('fill_unique', jsonb_build_object('relation', relation::oid, 'name', chosen));
		PERFORM runops._unique_triggers(relation);
	END IF;
	PERFORM runops._replan(relation);
	PERFORM runops._progress_end();

	PERFORM set_config('lock_timeout', old_timeout, true);
	RETURN chosen;
END
$$;
COMMENT ON FUNCTION runops.add_unique(regclass, name[], text, name) IS
	'makes columns unique over all stores of a routed table; checks the rows of every store; returns the name of the key';

REVOKE EXECUTE ON ROUTINE
	runops._unique_filter(regclass, name, jsonb),
	runops._btree_equality(oid),
	runops._unique_key_sql(regclass),
	runops._require_read_committed(text),
	runops._unique_compare(runops.unique_keys, text, text, bigint),
	runops._unique_rows(runops.unique_config, text),
	runops._unique_is_kept(runops.unique_keys),
	runops._step_repair_unique(oid, jsonb),
	runops.rebuild_unique(regclass, name),
	runops._check_unique_exists(regclass, name),
	runops._check_unique(regclass, int),
	runops.check_unique(regclass, int),
	runops._prepared_key(regclass, name[], text, name),
	runops._define_unique(regclass, name[], text, name),
	runops._step_start_unique(oid, jsonb),
	runops._step_follow_unique(oid, jsonb),
	runops._prepare_unique_step(regclass, name[], text, name),
	runops.prepare_unique(regclass, name[], text, name),
	runops.add_unique(regclass, name[], text, name)
FROM PUBLIC;
