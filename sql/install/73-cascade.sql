/*
 * Cascades: after a row is deleted, the rows that refer to it are deleted or
 * changed in every store.  A foreign key cannot do this between databases.
 */

-- Numbers the entries of the queue and their turns.  A dump contains it, because the
-- restored queue continues with these numbers.
CREATE SEQUENCE runops.cascade_seq;
SELECT pg_catalog.pg_extension_config_dump('runops.cascade_seq', '');
COMMENT ON SEQUENCE runops.cascade_seq IS 'numbers the entries that are queued for cleanup, and their turns';

CREATE TABLE runops.cascade_config (
	parent regclass NOT NULL,
	child regclass NOT NULL,
	child_column name NOT NULL,
	action text NOT NULL CHECK (action IN ('delete', 'set null')),
	ord int NOT NULL,
	registered bigint NOT NULL DEFAULT pg_catalog.nextval('runops.cascade_seq'),
	PRIMARY KEY (parent, child, child_column)
);
SELECT pg_catalog.pg_extension_config_dump('runops.cascade_config', '');

-- All rows that one transaction has deleted share one turn, so that a transaction
-- does not get more turns by deleting more.  The id is the id of the transaction.
CREATE TABLE runops.cascade_task (
	id bigint NOT NULL PRIMARY KEY,
	turn bigint NOT NULL,
	retry_at timestamptz
);
CREATE INDEX cascade_task_turn ON runops.cascade_task (turn);
SELECT pg_catalog.pg_extension_config_dump('runops.cascade_task', '');

-- The deleted parent rows.  An entry is removed when no row in any store refers to
-- its parent row any more.
CREATE TABLE runops.cascade_queue (
	id bigint NOT NULL PRIMARY KEY,
	task bigint NOT NULL,
	parent regclass NOT NULL,
	value text NOT NULL,
	queued_at timestamptz NOT NULL,
	turn bigint NOT NULL,
	started timestamptz,
	retry_at timestamptz
);
CREATE INDEX cascade_queue_turn ON runops.cascade_queue (task, turn, id);
SELECT pg_catalog.pg_extension_config_dump('runops.cascade_queue', '');

-- The progress of one child in one store.  A dump does not contain it, so the
-- cleanup starts again after a restore.
CREATE TABLE runops.cascade_part (
	entry bigint NOT NULL REFERENCES runops.cascade_queue ON DELETE CASCADE,
	child oid NOT NULL,
	child_column name NOT NULL,
	store text NOT NULL,
	done bigint NOT NULL,
	total bigint,
	finished boolean NOT NULL,
	failures int NOT NULL,
	retry_at timestamptz,
	message text,
	PRIMARY KEY (entry, child, child_column, store)
) WITH (fillfactor = 50);

-- Rows that the cleanup could not change, with the error.  It skips rows that are "aside".
CREATE TABLE runops.cascade_failure (
	entry bigint NOT NULL REFERENCES runops.cascade_queue ON DELETE CASCADE,
	child oid NOT NULL,
	child_column name NOT NULL,
	store text NOT NULL,
	"row" jsonb NOT NULL,
	tid tid NOT NULL,
	aside boolean NOT NULL,
	sqlstate text NOT NULL,
	message text NOT NULL,
	failed_at timestamptz NOT NULL,
	PRIMARY KEY (entry, child, child_column, store, "row")
);

COMMENT ON TABLE runops.cascade_config IS 'cascades, as add_cascade recorded them';
COMMENT ON TABLE runops.cascade_task IS 'transactions that have deleted parents of cascades; kept until the cleanup is complete';
COMMENT ON TABLE runops.cascade_queue IS 'deleted parents of cascades; kept until no row refers to them';
COMMENT ON TABLE runops.cascade_part IS 'progress of the cleanup of a deleted parent in each child and store';
COMMENT ON TABLE runops.cascade_failure IS 'rows that the cleanup could not change';

CREATE VIEW runops.cascades AS
SELECT c.parent, c.child, c.child_column, c.action, c.ord
FROM runops.cascade_config c;
COMMENT ON VIEW runops.cascades IS 'cascades, with the order in which the children of a parent are cleaned up';
GRANT SELECT ON runops.cascades TO PUBLIC;

CREATE VIEW runops.progress AS
SELECT 'cascade'::text AS task,
	pg_catalog.format('%s %s', q.parent, q.value) AS object,
	CASE WHEN q.started IS NULL THEN 'queued'
		 WHEN q.retry_at IS NULL THEN 'running'
		 WHEN p.failed THEN 'set aside'
		 ELSE 'waiting' END AS phase,
	coalesce(p.done, 0)::bigint AS done,
	p.total::bigint AS total,
	pg_catalog.round(p.done OPERATOR(pg_catalog./) nullif(pg_catalog.date_part('epoch',
		pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) q.started), 0)::numeric, 1) AS rate,
	q.started,
	'rows'::text AS unit,
	NULL::int AS pid
FROM runops.cascade_queue q
LEFT JOIN LATERAL (
	SELECT pg_catalog.sum(x.done) AS done,
		-- a part that has not begun has no total
		CASE WHEN pg_catalog.bool_and(x.total IS NOT NULL) THEN pg_catalog.sum(x.total) END AS total,
		pg_catalog.bool_or(EXISTS (SELECT FROM runops.cascade_failure f WHERE f.entry OPERATOR(pg_catalog.=) x.entry)) AS failed
	FROM runops.cascade_part x WHERE x.entry OPERATOR(pg_catalog.=) q.id) AS p ON true
UNION ALL
SELECT s.command, s.relation::pg_catalog.regclass::text, s.phase, u.done, s.blocks_total,
	pg_catalog.round(u.done OPERATOR(pg_catalog./) nullif(pg_catalog.date_part('epoch',
		pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) s.started), 0)::numeric, 1),
	s.started, u.unit, s.pid
FROM runops._progress() s
CROSS JOIN LATERAL (SELECT coalesce(s.blocks_done, s.rows_done) AS done,
	CASE WHEN s.blocks_done IS NULL THEN 'rows' ELSE 'blocks' END AS unit) AS u;
COMMENT ON VIEW runops.progress IS 'work that takes long: cleanups that continue after their statement, and set-up functions';
GRANT SELECT ON runops.progress TO pg_monitor;

-- the triggers of a parent; see src/cascade/queue.c.  Another session reads the values that they write.
CREATE FUNCTION runops._cascade_queue() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET extra_float_digits = '1'
	AS 'MODULE_PATHNAME', 'runops_cascade_queue';
CREATE FUNCTION runops._cascade_queue_row() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET extra_float_digits = '1'
	AS 'MODULE_PATHNAME', 'runops_cascade_queue_row';
CREATE FUNCTION runops._cascade_truncate() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_cascade_truncate';

-- It runs with the privileges of its owner, so a role needs only EXECUTE.
CREATE FUNCTION runops.cleanup(max_rows int DEFAULT 1000) RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_cleanup';
COMMENT ON FUNCTION runops.cleanup(int) IS
	'cleans up rows that refer to deleted parents, in one batch of at most max_rows rows; returns the number of rows, 0 if nothing can be done';

/* The column of the primary key of a parent; NULL unless there is exactly one. */
CREATE FUNCTION runops._cascade_key(parent regclass) RETURNS name
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT a.attname
	FROM pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
	WHERE x.indrelid = coalesce((SELECT t.leaf FROM runops.table_config t WHERE t.relation = parent), parent)
		AND x.indisprimary AND x.indnkeyatts = 1
$$;

/* Raise unless the table can be an end of a cascade and the caller owns it. */
CREATE FUNCTION runops._cascade_check_table(relation regclass, what text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c pg_class;
	routed regclass;
BEGIN
	IF relation IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = format('%s of a cascade must not be NULL', what),
			DETAIL = 'A table has to be named.',
			HINT = 'Pass the table as text, quoted as in a statement: ''public."Project"''.';
	END IF;
	SELECT * INTO c FROM pg_class WHERE oid = relation;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_table',
			MESSAGE = format('relation with OID %s does not exist', relation::oid),
			DETAIL = 'It may have been dropped.',
			HINT = 'Pass the table as text, quoted as in a statement: ''public."Project"''.';
	END IF;
	IF c.relkind NOT IN ('r', 'p') OR c.relpersistence = 't'
	   OR c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'runops'::regnamespace) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('%s cannot be the %s of a cascade', relation, what),
			DETAIL = 'A cascade goes from a table of this database to a table of this database or to a routed table.',
			HINT = 'Pass a permanent table that is not a view, a foreign table or a system table.';
	END IF;
	SELECT t.relation INTO routed
	FROM runops.table_config t JOIN pg_inherits i ON i.inhparent = t.relation
	WHERE i.inhrelid = _cascade_check_table.relation;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('%s is the leaf of one store', relation),
			DETAIL = 'A cascade applies to the rows of all stores.',
			HINT = format('Use the routed table %s.', routed);
	END IF;
	IF c.relispartition AND what = 'parent' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('%s cannot be the %s of a cascade', relation, what),
			DETAIL = 'It is a partition, and its rows can be deleted through its parent.',
			HINT = format('Use the partitioned table %s.', pg_partition_root(relation));
	END IF;
	IF NOT pg_has_role(c.relowner, 'USAGE') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('must be owner of table %s', relation),
			DETAIL = 'Only the owner of a table may change its cascades.',
			HINT = 'Run this as the owner of the table or as a superuser.';
	END IF;
END
$$;

/*
 * A query for the properties of the child column in one database: whether it
 * exists, whether it is NOT NULL, and whether an index finds the rows of a value.
 */
CREATE FUNCTION runops._cascade_column_sql(nsp text, tab text, col text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $f$
	SELECT format($q$
		SELECT a.attnotnull AS not_null,
			EXISTS (SELECT FROM pg_index x
					JOIN pg_class xc ON xc.oid = x.indexrelid JOIN pg_am m ON m.oid = xc.relam
					WHERE x.indrelid = c.oid AND x.indisvalid AND x.indisready AND m.amname IN ('btree', 'hash')
						AND x.indkey[0] = a.attnum AND x.indcollation[0] IN (0, a.attcollation)
						AND (x.indpred IS NULL
							 OR pg_get_expr(x.indpred, x.indrelid) = format('(%%I IS NOT NULL)', a.attname))) AS indexed
		FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE n.nspname = %L AND c.relname = %L AND a.attname = %L AND a.attnum > 0 AND NOT a.attisdropped$q$,
		nsp, tab, col)
$f$;

/*
 * Raise unless an index in one store finds the rows of a value, and the column can
 * be set to NULL there if that is the action.
 *
 * "leaf" is the leaf of the store, or the child itself if it is not routed.
 */
CREATE FUNCTION runops._cascade_check_store(child regclass, child_column name, action text, store text, leaf regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	query text;
	facts jsonb;
	place text;
	reason text;
	state text;
	context text;
	why text;
	remedy text;
	nsp text;
	tab text;
BEGIN
	SELECT coalesce((SELECT option_value FROM pg_options_to_table(f.ftoptions) WHERE option_name = 'schema_name'), n.nspname),
		coalesce((SELECT option_value FROM pg_options_to_table(f.ftoptions) WHERE option_name = 'table_name'), c.relname)
	INTO STRICT nsp, tab
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN pg_foreign_table f ON f.ftrelid = c.oid
	WHERE c.oid = leaf;
	query := runops._cascade_column_sql(nsp, tab, child_column);
	place := format('%I.%I in store "%s"', nsp, tab, store);

	IF EXISTS (SELECT FROM pg_foreign_table f WHERE f.ftrelid = leaf) THEN
		BEGIN
			SELECT q INTO facts FROM runops.remote_query(store, query) q;
		EXCEPTION
			WHEN query_canceled OR OTHERS THEN
				GET STACKED DIAGNOSTICS reason = MESSAGE_TEXT, why = PG_EXCEPTION_DETAIL, remedy = PG_EXCEPTION_HINT,
					state = RETURNED_SQLSTATE, context = PG_EXCEPTION_CONTEXT;
				IF runops._cancelled_here(state, context) THEN
					RAISE;
				END IF;
				RAISE EXCEPTION USING
					ERRCODE = state,
					MESSAGE = format('could not determine whether column "%s" of %s has an index', child_column, place),
					DETAIL = concat_ws(' ', initcap(left(reason, 1)) || substr(reason, 2) || '.', nullif(why, '')),
					HINT = coalesce(nullif(remedy, ''), 'Add the cascade when the store can be queried.');
		END;
	ELSE
		EXECUTE format('SELECT to_jsonb(q) FROM (%s) AS q', query) INTO facts;
	END IF;

	IF facts IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_column',
			MESSAGE = format('column "%s" of %s does not exist', child_column, place),
			DETAIL = 'The store lacks the table or the column.',
			HINT = format('Use runops.provision(%L).', store);
	END IF;
	IF facts -> 'indexed' IS DISTINCT FROM 'true' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('column "%s" of %s has no index', child_column, place),
			DETAIL = 'Without an index, each batch of a cleanup would read the whole table.',
			HINT = format('Create an index whose first column is "%s", there and in the other databases.', child_column);
	END IF;
	IF action = 'set null' AND facts -> 'not_null' = 'true' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'not_null_violation',
			MESSAGE = format('column "%s" of %s cannot be set to NULL', child_column, place),
			DETAIL = 'It is declared NOT NULL.',
			HINT = 'Use the action "delete".';
	END IF;
END
$$;

/* Raise unless the column can be the child column of a cascade with the action. */
CREATE FUNCTION runops._cascade_check_column(parent regclass, key name, child regclass, child_column name, action text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	a pg_attribute;
	key_type oid;
	leaf record;
BEGIN
	SELECT * INTO a FROM pg_attribute x
	WHERE x.attrelid = child AND x.attname = child_column AND x.attnum > 0 AND NOT x.attisdropped;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_column',
			MESSAGE = format('column %s of %s does not exist', coalesce('"' || child_column || '"', 'NULL'), child),
			DETAIL = 'The column must contain the id of the parent row.',
			HINT = 'Pass the exact name of the column, without quotes.';
	END IF;
	SELECT x.atttypid INTO STRICT key_type FROM pg_attribute x WHERE x.attrelid = parent AND x.attname = key;
	BEGIN
		EXECUTE format('SELECT NULL::%s = NULL::%s', format_type(key_type, NULL), format_type(a.atttypid, NULL));
	EXCEPTION WHEN undefined_function OR ambiguous_function THEN
		RAISE EXCEPTION USING
			ERRCODE = 'datatype_mismatch',
			MESSAGE = format('column "%s" of %s cannot refer to "%s" of %s', child_column, child, key, parent),
			DETAIL = format('Type %s cannot be compared with type %s.', format_type(a.atttypid, a.atttypmod), format_type(key_type, NULL)),
			HINT = 'Pass the column that contains the ids of the parent.';
	END;
	IF action = 'set null' THEN
		IF a.attgenerated <> '' THEN
			RAISE EXCEPTION USING
				ERRCODE = 'generated_always',
				MESSAGE = format('column "%s" of %s cannot be set to NULL', child_column, child),
				DETAIL = 'It is a generated column.',
				HINT = 'Use the action "delete".';
		END IF;
		IF EXISTS (SELECT FROM runops._placements('legacy') p WHERE p.relation = child AND child_column = ANY (p.key_columns)) THEN
			RAISE EXCEPTION USING
				ERRCODE = 'feature_not_supported',
				MESSAGE = format('column "%s" of %s cannot be set to NULL', child_column, child),
				DETAIL = 'It decides which store the row belongs to.',
				HINT = 'Use the action "delete".';
		END IF;
	END IF;

	FOR leaf IN
		SELECT x.store, x.relation
		FROM (SELECT coalesce(runops._store_of_leaf(i.inhrelid), 'legacy'), coalesce(i.inhrelid, child)::regclass
			  FROM (SELECT) AS one
			  LEFT JOIN (runops.table_config t JOIN pg_inherits i ON i.inhparent = t.relation) ON t.relation = child) AS x (store, relation)
		ORDER BY x.store <> 'legacy', x.store
	LOOP
		PERFORM runops._cascade_check_store(child, child_column, action, leaf.store, leaf.relation);
	END LOOP;
END
$$;

/*
 * Number the cascades of a parent.  If a child has a foreign key to another child,
 * it comes before that child.  Otherwise the order of registration decides.
 *
 * Foreign keys with SET NULL or SET DEFAULT do not count.  If other foreign keys
 * form a cycle, the order of registration breaks it.
 */
CREATE FUNCTION runops._cascade_order(parent regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	left_over oid[] := ARRAY(SELECT c.child::oid FROM runops.cascade_config c WHERE c.parent = _cascade_order.parent
							 GROUP BY c.child ORDER BY min(c.registered));
	next oid;
	n int := 0;
BEGIN
	WHILE cardinality(left_over) > 0 LOOP
		SELECT x.child INTO next
		FROM unnest(left_over) WITH ORDINALITY AS x (child, o)
		ORDER BY EXISTS (
			SELECT FROM pg_constraint k
			LEFT JOIN runops.table_config rt ON rt.leaf = k.conrelid
			LEFT JOIN runops.table_config ft ON ft.leaf = k.confrelid
			WHERE k.contype = 'f' AND k.confdeltype NOT IN ('n', 'd') AND k.conparentid = 0
				AND coalesce(ft.relation, k.confrelid) = x.child
				AND coalesce(rt.relation, k.conrelid) <> x.child
				AND coalesce(rt.relation, k.conrelid) = ANY (left_over)), x.o
		LIMIT 1;
		left_over := array_remove(left_over, next);
		n := n + 1;
		UPDATE runops.cascade_config c SET ord = n
		WHERE c.parent = _cascade_order.parent AND c.child = next AND c.ord <> n;
	END LOOP;
END
$$;

/*
 * Create the triggers on a parent that has cascades, and drop them from a parent
 * that has none.
 *
 * A routed table gets a row trigger, because rows in other databases are not in a
 * transition table.
 */
CREATE FUNCTION runops._cascade_triggers(parent regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	g name;
BEGIN
	FOR g IN
		SELECT t.tgname FROM pg_trigger t
		WHERE t.tgrelid = parent AND t.tgparentid = 0 AND t.tgfoid IN (
			'runops._cascade_queue()'::regprocedure, 'runops._cascade_queue_row()'::regprocedure,
			'runops._cascade_truncate()'::regprocedure)
	LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', g, parent);
	END LOOP;
	IF NOT EXISTS (SELECT FROM runops.cascade_config c WHERE c.parent = _cascade_triggers.parent) THEN
		RETURN;
	END IF;

	-- a DELETE on a partition does not fire the statement triggers of its parent
	IF EXISTS (SELECT FROM pg_class c WHERE c.oid = parent AND c.relkind = 'p') THEN
		EXECUTE format('CREATE TRIGGER runops_cascade AFTER DELETE ON %s '
					   'FOR EACH ROW EXECUTE FUNCTION runops._cascade_queue_row()', parent);
	ELSE
		EXECUTE format('CREATE TRIGGER runops_cascade AFTER DELETE ON %s REFERENCING OLD TABLE AS runops_deleted '
					   'FOR EACH STATEMENT EXECUTE FUNCTION runops._cascade_queue()', parent);
	END IF;
	IF NOT EXISTS (SELECT FROM runops.table_config t WHERE t.relation = parent) THEN
		EXECUTE format('CREATE TRIGGER runops_cascade_truncate BEFORE TRUNCATE ON %s '
					   'FOR EACH STATEMENT EXECUTE FUNCTION runops._cascade_truncate()', parent);
	END IF;
END
$$;

/*
 * Step: order the cascades of a parent and put the triggers on it.  With a child
 * whose cascade was dropped, forget how far its cleanup is: what was finished
 * says nothing if the cascade comes back.  Returns how many deleted rows of the
 * parent wait.
 */
CREATE FUNCTION runops._step_cascade(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parent CONSTANT regclass := (arguments ->> 'parent')::oid::regclass;
BEGIN
	PERFORM runops._check_owner(caller, parent);
	PERFORM runops._cascade_order(parent);
	PERFORM runops._cascade_triggers(parent);
	DELETE FROM runops.cascade_part p USING runops.cascade_queue q
	WHERE q.id = p.entry AND q.parent = (arguments ->> 'parent')::oid
		AND p.child = (arguments ->> 'child')::oid AND p.child_column = arguments ->> 'child_column';
	DELETE FROM runops.cascade_failure f USING runops.cascade_queue q
	WHERE q.id = f.entry AND q.parent = (arguments ->> 'parent')::oid
		AND f.child = (arguments ->> 'child')::oid AND f.child_column = arguments ->> 'child_column';
	RETURN to_jsonb((SELECT count(*) FROM runops.cascade_queue q WHERE q.parent = (arguments ->> 'parent')::oid));
END
$$;

CREATE FUNCTION runops.add_cascade(parent regclass, child regclass, child_column name, action text DEFAULT 'delete') RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	old_timeout CONSTANT text := runops._limit_lock_wait();
	key name;
BEGIN
	PERFORM runops._cascade_check_table(parent, 'parent');
	PERFORM runops._cascade_check_table(child, 'child');
	IF action IS NULL OR action NOT IN ('delete', 'set null') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid action of a cascade: %s', coalesce('"' || action || '"', 'NULL')),
			DETAIL = 'A cascade deletes the child row or sets its column to NULL.',
			HINT = 'Use "delete" or "set null".';
	END IF;
	key := runops._cascade_key(parent);
	IF key IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('%s has no primary key of one column', parent),
			DETAIL = 'A child refers to its parent row by one column.',
			HINT = 'Add such a primary key first.';
	END IF;

	PERFORM runops._topology_lock();
	IF EXISTS (SELECT FROM runops.cascades c
			   WHERE c.parent = add_cascade.parent AND c.child = add_cascade.child AND c.child_column = add_cascade.child_column) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('there is already a cascade from %s to "%s" of %s', parent, child_column, child),
			DETAIL = 'The view "runops.cascades" lists the cascades.',
			HINT = 'Use runops.drop_cascade first to give it another action.';
	END IF;
	PERFORM runops._cascade_check_column(parent, key, child, child_column, action);

	PERFORM runops._lock_table(parent, 'SHARE ROW EXCLUSIVE');
	PERFORM runops._insert_config('cascade_config', jsonb_build_object('parent', parent::oid, 'child', child::oid,
		'child_column', child_column, 'action', action, 'ord', 0));
	PERFORM runops._own_step('cascade', jsonb_build_object('parent', parent::oid));
	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.add_cascade(regclass, regclass, name, text) IS
	'deletes or changes the rows that refer to a deleted row, in every store; refuses a column without an index';

CREATE FUNCTION runops.drop_cascade(parent regclass, child regclass, child_column name, if_exists boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	old_timeout CONSTANT text := runops._limit_lock_wait();
	waiting bigint;
BEGIN
	PERFORM runops._topology_lock();
	IF NOT EXISTS (SELECT FROM runops.cascades c
				   WHERE c.parent = drop_cascade.parent AND c.child = drop_cascade.child AND c.child_column = drop_cascade.child_column) THEN
		IF coalesce(if_exists, false) THEN
			RAISE NOTICE 'there is no cascade from % to "%" of %, skipping', parent, child_column, child;
			PERFORM set_config('lock_timeout', old_timeout, true);
			RETURN;
		END IF;
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('there is no cascade from %s to %s of %s', coalesce(parent::text, 'NULL'), coalesce('"' || child_column || '"', 'NULL'), coalesce(child::text, 'NULL')),
			DETAIL = 'No such cascade was added.',
			HINT = 'The view "runops.cascades" lists the cascades.';
	END IF;
	PERFORM runops._cascade_check_table(parent, 'parent');
	PERFORM runops._lock_table(parent, 'SHARE ROW EXCLUSIVE');

	PERFORM runops._delete_config('cascade_config', jsonb_build_object('parent', parent::oid, 'child', child::oid, 'child_column', child_column));
	waiting := runops._own_step('cascade', jsonb_build_object('parent', parent::oid, 'child', child::oid, 'child_column', child_column));
	IF waiting > 0 THEN
		RAISE NOTICE USING
			MESSAGE = format('rows of %s may refer to deleted rows of %s', child, parent),
			DETAIL = format('This child will not be cleaned up for %s that %s queued.',
							CASE waiting WHEN 1 THEN 'a deleted row' ELSE waiting || ' deleted rows' END,
							CASE waiting WHEN 1 THEN 'is' ELSE 'are' END);
	END IF;
	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.drop_cascade(regclass, regclass, name, boolean) IS 'undoes add_cascade; queued deletions do not apply to this child any more';

/*
 * Trigger of table_config: a table that is attached or detached keeps its
 * cascades, under the new OID of its name.  It is SECURITY DEFINER, because the
 * caller of attach or detach may lack the privilege to write to the queue.
 */
CREATE FUNCTION runops._cascade_follow() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before CONSTANT regclass := CASE TG_OP WHEN 'INSERT' THEN NEW.leaf ELSE OLD.relation END;
	after CONSTANT regclass := CASE TG_OP WHEN 'INSERT' THEN NEW.relation ELSE OLD.leaf END;
BEGIN
	-- a role that may execute this could put it on a table of its own
	IF TG_TABLE_SCHEMA <> 'runops' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'trigger_protocol_violated',
			MESSAGE = format('function "%s" cannot be a trigger of table "%s"', '_cascade_follow', TG_TABLE_NAME),
			DETAIL = 'It is a trigger of tables of the extension.',
			HINT = 'Drop the trigger.';
	END IF;
	UPDATE runops.cascade_config SET child = after WHERE child = before;
	DELETE FROM runops.cascade_part WHERE child = before;
	DELETE FROM runops.cascade_failure WHERE child = before;
	UPDATE runops.cascade_queue SET parent = after WHERE parent = before;
	UPDATE runops.cascade_config SET parent = after WHERE parent = before;
	-- detach creates the triggers itself, after the leaf has become the table
	IF FOUND AND TG_OP = 'INSERT' THEN
		PERFORM runops._cascade_triggers(after);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER cascade_follow AFTER INSERT OR DELETE ON runops.table_config
	FOR EACH ROW EXECUTE FUNCTION runops._cascade_follow();

/* Event trigger: a table that is dropped takes its cascades with it. */
CREATE FUNCTION runops._cascade_drop() RETURNS event_trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	dropped CONSTANT oid[] := ARRAY(SELECT d.objid FROM pg_event_trigger_dropped_objects() d
									WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.object_type = 'table');
	queued text;
BEGIN
	IF NOT EXISTS (SELECT FROM runops.cascade_config c WHERE c.parent = ANY (dropped) OR c.child = ANY (dropped)) THEN
		RETURN;
	END IF;
	SELECT d.object_identity INTO queued
	FROM pg_event_trigger_dropped_objects() d JOIN runops.cascade_queue q ON q.parent = d.objid
	WHERE d.classid = 'pg_class'::regclass LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'RO006',
			MESSAGE = format('cannot drop %s while deleted rows of it are queued for cleanup', queued),
			DETAIL = 'Rows of other tables that refer to them would stay forever.',
			HINT = 'Wait until the view "runops.progress" does not show them any more, or use runops.drop_cascade for each child and then runops.cleanup.';
	END IF;
	DELETE FROM runops.cascade_part p WHERE p.child = ANY (dropped);
	DELETE FROM runops.cascade_failure f WHERE f.child = ANY (dropped);
	DELETE FROM runops.cascade_config c WHERE c.parent = ANY (dropped) OR c.child = ANY (dropped);
END
$$;
CREATE EVENT TRIGGER runops_cascade_drop ON sql_drop
	WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED')
	EXECUTE FUNCTION runops._cascade_drop();
COMMENT ON EVENT TRIGGER runops_cascade_drop IS 'removes the cascades of tables that are dropped';

-- Wakes the worker when the transaction has committed.
CREATE FUNCTION runops._cascade_wake() RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_cascade_wake';

/*
 * Values of a child that refer to a missing row of the parent and are not queued,
 * as text; only these values if some are given.
 */
CREATE FUNCTION runops._cascade_strays(c runops.cascade_config, max_values int, only_values text[] DEFAULT NULL) RETURNS text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r runops.reference_config;
BEGIN
	r.child := c.child;
	r.child_column := c.child_column;
	r.parent := c.parent;
	r.parent_column := runops._cascade_key(c.parent);
	RETURN ARRAY(
		SELECT DISTINCT m.value FROM unnest(runops._missing_references(r, max_values, only_values)) AS m (value)
		WHERE NOT EXISTS (SELECT FROM jsonb_array_elements_text(runops._own_step('queued', jsonb_build_object('parent', c.parent::oid))) q (value)
						  WHERE q.value = m.value)
		ORDER BY m.value LIMIT max_values);
END
$$;

/* Step: the deleted rows of a parent that are queued. */
CREATE FUNCTION runops._step_queued(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM runops._check_owner(caller, (arguments ->> 'parent')::oid::regclass);
	RETURN (SELECT coalesce(jsonb_agg(q.value), '[]') FROM runops.cascade_queue q WHERE q.parent = (arguments ->> 'parent')::oid);
END
$$;

/* Step: queue rows of a parent as deleted. */
CREATE FUNCTION runops._step_requeue(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	task CONSTANT bigint := pg_current_xact_id()::text::bigint;
BEGIN
	PERFORM runops._check_owner(caller, (arguments ->> 'parent')::oid::regclass);
	INSERT INTO runops.cascade_task (id, turn) VALUES (task, nextval('runops.cascade_seq')) ON CONFLICT DO NOTHING;
	INSERT INTO runops.cascade_queue (id, task, parent, value, queued_at, turn)
	SELECT s.n, task, (arguments ->> 'parent')::oid, s.value, clock_timestamp(), s.n
	FROM (SELECT nextval('runops.cascade_seq') AS n, v.value FROM jsonb_array_elements_text(arguments -> 'values') v (value) OFFSET 0) AS s;
	PERFORM runops._cascade_wake();
	RETURN NULL;
END
$$;

/*
 * A row may refer to a parent that is committed a moment later: the store commits
 * first.  So before values are queued they are looked at again, under a lock that
 * waits for all who write the parent.
 */
CREATE FUNCTION runops.check_cascade(parent regclass DEFAULT NULL, repair boolean DEFAULT false, max_values int DEFAULT 1000)
RETURNS TABLE (cascade_parent regclass, child regclass, child_column name, value text, queued boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET extra_float_digits = '1'
AS $$
DECLARE
	c runops.cascade_config;
	strays text[];
	old_timeout text;
BEGIN
	PERFORM runops._require_read_committed('runops.check_cascade()');
	FOR c IN
		SELECT x.parent, x.child, x.child_column, x.action, x.ord FROM runops.cascades x
		WHERE x.parent = check_cascade.parent OR check_cascade.parent IS NULL ORDER BY x.parent::oid, x.ord, x.child_column
	LOOP
		PERFORM runops._cascade_check_table(c.parent, 'parent');
		strays := runops._cascade_strays(c, max_values);
		CONTINUE WHEN strays = '{}';
		IF repair THEN
			old_timeout := runops._limit_lock_wait();
			PERFORM runops._lock_table(c.parent, 'SHARE ROW EXCLUSIVE');
			PERFORM set_config('lock_timeout', old_timeout, true);
			strays := runops._cascade_strays(c, max_values, strays);
			CONTINUE WHEN strays = '{}';
			PERFORM runops._own_step('requeue', jsonb_build_object('parent', c.parent::oid, 'values', strays));
		END IF;
		RETURN QUERY SELECT c.parent, c.child, c.child_column, v.value, coalesce(repair, false) FROM unnest(strays) v (value);
	END LOOP;
END
$$;
COMMENT ON FUNCTION runops.check_cascade(regclass, boolean, int) IS
	'finds rows, in every store, that refer to a deleted parent of a cascade and are not queued for cleanup; with repair it queues them';

REVOKE EXECUTE ON FUNCTION
	runops._cascade_wake(),
	runops._cascade_strays(runops.cascade_config, int, text[]),
	runops._step_queued(oid, jsonb),
	runops._step_requeue(oid, jsonb),
	runops.check_cascade(regclass, boolean, int),
	runops._cascade_queue(),
	runops._cascade_queue_row(),
	runops._cascade_truncate(),
	runops.cleanup(int),
	runops._cascade_check_table(regclass, text),
	runops._cascade_check_store(regclass, name, text, text, regclass),
	runops._cascade_check_column(regclass, name, regclass, name, text),
	runops._cascade_order(regclass),
	runops._cascade_triggers(regclass),
	runops._step_cascade(oid, jsonb),
	runops.add_cascade(regclass, regclass, name, text),
	runops.drop_cascade(regclass, regclass, name, boolean),
	runops._cascade_follow(),
	runops._cascade_drop()
FROM PUBLIC;
