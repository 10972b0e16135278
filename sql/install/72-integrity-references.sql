/*
 * References: they replace foreign keys between tables whose rows may be in
 * different databases.
 */

-- Triggers on tables of users identify a reference by name, which a dump keeps.
CREATE TABLE runops.reference_config (
	child regclass NOT NULL,
	child_column name NOT NULL,
	parent regclass NOT NULL,
	parent_column name NOT NULL,
	name name NOT NULL,
	on_delete "char" NOT NULL CHECK (on_delete IN ('a', 'c', 'n')),
	dropped jsonb,
	validated boolean NOT NULL DEFAULT true,
	PRIMARY KEY (child, child_column),
	UNIQUE (child, name)
);
SELECT pg_catalog.pg_extension_config_dump('runops.reference_config', '');
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON runops.reference_config
	FOR EACH STATEMENT EXECUTE FUNCTION runops._config_changed();
ALTER TABLE runops.reference_config ENABLE ALWAYS TRIGGER config_changed;
COMMENT ON TABLE runops.reference_config IS 'references, as add_reference recorded them, with the foreign keys that it dropped';

CREATE VIEW runops.reference_keys AS
SELECT r.child, r.child_column, r.parent, r.parent_column, r.name,
	CASE r.on_delete WHEN 'c' THEN 'delete' WHEN 'n' THEN 'set null' ELSE 'refuse' END AS on_delete,
	r.dropped IS NOT NULL AS replaces_foreign_key, r.validated
FROM runops.reference_config r
WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = r.child)
	AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = r.parent);
COMMENT ON VIEW runops.reference_keys IS 'references between tables whose rows may be in different databases';
GRANT SELECT ON runops.reference_config, runops.reference_keys TO PUBLIC;

CREATE FUNCTION runops._reference_child() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'runops_reference_child';
CREATE FUNCTION runops._reference_parent() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'runops_reference_parent';
CREATE FUNCTION runops._reference_truncate() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'runops_reference_truncate';

/* For a routed table its leaf in this database, for any other table the table itself. */
CREATE FUNCTION runops._local_table(relation regclass) RETURNS regclass
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce((SELECT t.leaf FROM runops.table_config t WHERE t.relation = _local_table.relation), relation) $$;

/* The type of a column, without its domain; text for varchar, because both compare alike. */
CREATE FUNCTION runops._compared_type(relation regclass, column_name name) RETURNS oid
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE base (oid, typtype, typbasetype) AS (
		SELECT t.oid, t.typtype, t.typbasetype FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = relation AND a.attname = column_name
		UNION ALL
		SELECT t.oid, t.typtype, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.typbasetype
		WHERE b.typtype = 'd')
	SELECT CASE b.oid WHEN 'varchar'::regtype THEN 'text'::regtype::oid ELSE b.oid END FROM base b WHERE b.typtype <> 'd'
$$;

/* The equality operator of the type's default hash operator class, as OPERATOR(...). */
CREATE FUNCTION runops._equality(type oid) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
	FROM pg_opclass c
	JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'hash'
	JOIN pg_amop x ON x.amopfamily = c.opcfamily AND x.amoplefttype = c.opcintype
		AND x.amoprighttype = c.opcintype AND x.amopstrategy = 1
	JOIN pg_operator o ON o.oid = x.amopopr
	JOIN pg_namespace n ON n.oid = o.oprnamespace
	WHERE c.opcdefault AND c.opcintype = type
$$;

/* Raise unless the relation can be an end of a reference and the caller owns it. */
CREATE FUNCTION runops._check_reference_end(relation regclass, column_name name) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	class pg_class;
	routed regclass;
BEGIN
	SELECT * INTO class FROM pg_class c WHERE c.oid = relation;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_table',
			MESSAGE = format('relation %s does not exist', coalesce(relation::text, 'NULL')),
			HINT = 'Pass the referencing table and the referenced table.';
	END IF;
	SELECT t.relation INTO routed FROM runops.table_config t
	JOIN pg_inherits i ON i.inhparent = t.relation WHERE i.inhrelid = class.oid;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('%s is a leaf of a routed table', relation),
			DETAIL = 'A reference applies to the rows of all stores.',
			HINT = format('Use the routed table %s.', routed);
	END IF;
	IF class.relkind <> 'r' AND NOT EXISTS (SELECT FROM runops.table_config t WHERE t.relation = _check_reference_end.relation) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('%s is neither a plain nor a routed table', relation),
			DETAIL = 'Only plain and routed tables can be the ends of a reference.',
			HINT = 'The view "runops.routed_tables" lists the routed tables.';
	END IF;
	IF NOT pg_has_role(class.relowner, 'USAGE') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('must be owner of table %s', relation),
			DETAIL = 'A reference puts triggers on both tables.',
			HINT = 'Run this as the owner of both tables or as a superuser.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = column_name
				   AND a.attnum > 0 AND NOT a.attisdropped) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_column',
			MESSAGE = format('column %s of table %s does not exist', coalesce(quote_ident(column_name), 'NULL'), relation),
			HINT = 'Pass the exact name of the column, without quotes.';
	END IF;
END
$$;

/* The column of the primary key; raises unless there is exactly one. */
CREATE FUNCTION runops._key_column(relation regclass) RETURNS name
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	key name;
BEGIN
	SELECT a.attname INTO key FROM pg_index x
	JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
	WHERE x.indrelid = runops._local_table(relation) AND x.indisprimary AND x.indnkeyatts = 1;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('table %s has no primary key of one column', coalesce(relation::text, 'NULL')),
			DETAIL = 'A reference names a row by its primary key.',
			HINT = 'Pass the referenced column as "parent_column".';
	END IF;
	RETURN key;
END
$$;

/*
 * The foreign keys of a column, on the table or its legacy leaf, that refer to a
 * routed table.  They see only its legacy rows.  That is correct if the column
 * names the store of its own row, too; such foreign keys are left out.
 */
CREATE FUNCTION runops._seam_keys(child regclass, child_column name, parent regclass) RETURNS SETOF pg_constraint
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT c.* FROM pg_constraint c
	JOIN runops.table_config t ON t.leaf = c.confrelid AND t.relation = _seam_keys.parent
	JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum] AND a.attname = child_column
	WHERE c.contype = 'f' AND c.conparentid = 0 AND c.conrelid = runops._local_table(child)
		AND NOT EXISTS (SELECT FROM runops._placements('legacy') p
						WHERE p.leaf = c.conrelid AND child_column = ANY (p.key_columns || p.aliases))
$$;

/*
 * Drop the foreign keys that a reference replaces.  Returns the first one in the
 * form that _restore_foreign_key accepts; NULL if there was none.
 */
CREATE FUNCTION runops._drop_seam_keys(child regclass, child_column name, parent regclass) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	key pg_constraint;
	dropped jsonb;
BEGIN
	FOR key IN SELECT * FROM runops._seam_keys(child, child_column, parent) k ORDER BY k.conname LOOP
		dropped := coalesce(dropped, jsonb_build_object(
			'name', key.conname, 'update', key.confupdtype, 'delete', key.confdeltype, 'match', key.confmatchtype,
			'deferrable', key.condeferrable, 'deferred', key.condeferred, 'validated', key.convalidated,
			'column', (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = key.confrelid AND a.attnum = key.confkey[1]),
			'comment', obj_description(key.oid, 'pg_constraint')));
		EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', key.conrelid::regclass, key.conname);
	END LOOP;
	RETURN dropped;
END
$$;

/*
 * Create again a foreign key that a reference has replaced.  If old rows violate
 * it, it is created as NOT VALID, and a WARNING reports this.
 */
CREATE FUNCTION runops._restore_foreign_key(child regclass, child_column name, parent regclass, dropped jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	actions CONSTANT jsonb := '{"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}';
	why text;
BEGIN
	EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I FOREIGN KEY (%I) REFERENCES %s (%I)%s ON UPDATE %s ON DELETE %s%s%s NOT VALID',
		child, dropped ->> 'name', child_column, parent, dropped ->> 'column',
		CASE dropped ->> 'match' WHEN 'f' THEN ' MATCH FULL' ELSE '' END,
		actions ->> (dropped ->> 'update'), actions ->> (dropped ->> 'delete'),
		CASE WHEN (dropped -> 'deferrable')::boolean THEN ' DEFERRABLE' ELSE '' END,
		CASE WHEN (dropped -> 'deferred')::boolean THEN ' INITIALLY DEFERRED' ELSE '' END);
	IF dropped ->> 'comment' IS NOT NULL THEN
		EXECUTE format('COMMENT ON CONSTRAINT %I ON %s IS %L', dropped ->> 'name', child, dropped ->> 'comment');
	END IF;
	IF (dropped -> 'validated')::boolean THEN
		EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', child, dropped ->> 'name');
	END IF;
EXCEPTION WHEN foreign_key_violation THEN
	GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
	PERFORM runops._restore_foreign_key(child, child_column, parent, dropped || '{"validated": false}');
	RAISE WARNING USING
		MESSAGE = format('foreign key "%s" of %s is not validated', dropped ->> 'name', child),
		DETAIL = why,
		HINT = format('It holds for new rows. Correct the old rows, then use ALTER TABLE %s VALIDATE CONSTRAINT %I.', child, dropped ->> 'name');
END
$$;

/* The triggers of a reference, by relation. */
CREATE FUNCTION runops._reference_triggers(r runops.reference_config)
	RETURNS TABLE (relation regclass, name name, of_parent boolean, event text, changed name, function text)
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH ends AS (
		SELECT runops._local_table(r.child) AS child, runops._local_table(r.parent) AS parent,
			format('EXECUTE FUNCTION runops._reference_child(%L)', r.name) AS check_child,
			format('EXECUTE FUNCTION runops._reference_parent(%L)', r.parent_column) AS check_parent)
	SELECT r.child, ('runops_reference_' || r.child_column)::name, false, 'AFTER INSERT', NULL::name, e.check_child FROM ends e
	UNION ALL
	-- the foreign-data wrapper checks updates of this column in a foreign leaf, so that other updates stay one statement in the store
	SELECT e.child, ('runops_reference_update_' || r.child_column)::name, false,
		'AFTER UPDATE', r.child_column, e.check_child
	FROM ends e JOIN pg_class c ON c.oid = e.child AND c.relkind = 'r'
	UNION ALL
	SELECT r.parent, ('runops_referenced_' || r.parent_column)::name, true, 'AFTER DELETE', NULL, e.check_parent FROM ends e
	UNION ALL
	SELECT e.parent, ('runops_referenced_update_' || r.parent_column)::name, true,
		'AFTER UPDATE', r.parent_column, e.check_parent
	FROM ends e JOIN pg_class c ON c.oid = e.parent AND c.relkind = 'r'
	UNION ALL
	SELECT r.parent, 'runops_referenced_truncate', true, 'BEFORE TRUNCATE', NULL, 'EXECUTE FUNCTION runops._reference_truncate()'
$$;

/*
 * The WHEN condition of an UPDATE trigger.  It is true if a column has changed, or
 * may have changed.  NULL if no column is given.
 *
 * UPDATE OF is not used, because an earlier trigger may change the column.  The
 * condition compares values only by operators in pg_catalog, because other
 * operators would not be found when a dump is restored.
 */
CREATE FUNCTION runops._value_changed(relation regclass, changed name) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format(CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace AND coalesce(l.collisdeterministic, true)
		THEN 'OLD.%1$I IS DISTINCT FROM NEW.%1$I'
		ELSE '(OLD.%1$I IS NULL) IS NOT NULL' END, changed)
	FROM pg_type t
	JOIN pg_attribute a ON a.attrelid = relation AND a.attname = changed
	LEFT JOIN pg_collation l ON l.oid = a.attcollation
	WHERE t.oid = runops._compared_type(relation, changed)
$$;

/* Create the triggers of a reference on both tables; this blocks writers until the end of the transaction. */
CREATE FUNCTION runops._create_reference_triggers(r runops.reference_config) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
BEGIN
	FOR t IN
		SELECT * FROM runops._reference_triggers(r) x
		-- references share the triggers of the referenced table; the others are replaced if a dropped table has left them
		WHERE NOT x.of_parent OR NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = x.relation AND g.tgname = x.name)
	LOOP
		EXECUTE format('CREATE OR REPLACE TRIGGER %I %s ON %s FOR EACH %s%s %s', t.name, t.event, t.relation,
					   CASE t.event WHEN 'BEFORE TRUNCATE' THEN 'STATEMENT' ELSE 'ROW' END,
					   ' WHEN (' || runops._value_changed(t.relation, t.changed) || ')', t.function);
	END LOOP;
END
$$;

/*
 * Values of rows that refer to a missing row, as text: at most max_values of each
 * leaf, and only these values if some are given.  Leaves with a validated foreign
 * key are not checked.
 */
CREATE FUNCTION runops._missing_references(r runops.reference_config, max_values int, only_values text[] DEFAULT NULL) RETURNS text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	type CONSTANT text := format_type(runops._compared_type(r.parent, r.parent_column), NULL);
	equality CONSTANT text := runops._equality(runops._compared_type(r.parent, r.parent_column));
	one_owner CONSTANT boolean := (SELECT count(DISTINCT c.relowner) = 1 FROM pg_class c WHERE c.oid IN (r.child, r.parent));
	-- an array of arrays cannot be searched
	part CONSTANT text := CASE WHEN only_values IS NULL OR (SELECT t.typcategory FROM pg_type t
																WHERE t.oid = runops._compared_type(r.parent, r.parent_column)) = 'A' THEN ''
		ELSE format(' AND %I %s ANY (%L::%s[])', r.child_column, equality, only_values, type) END;
	leaf regclass;
	found text[];
	missing text[] := '{}';
BEGIN
	FOR leaf IN
		SELECT coalesce(i.inhrelid, r.child)
		FROM (SELECT r.child) AS x LEFT JOIN pg_inherits i ON i.inhparent = x.child
		WHERE NOT EXISTS (SELECT FROM pg_constraint c
						  JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
						  WHERE c.conrelid = coalesce(i.inhrelid, r.child) AND c.contype = 'f' AND c.convalidated
							AND a.attname = r.child_column AND c.confrelid IN (r.parent, runops._local_table(r.parent)))
		ORDER BY 1
	LOOP
		IF one_owner THEN
			SELECT array_agg(q.value) INTO found
			FROM runops._owner_query(r.child, format(
				'SELECT format(''%%s'', c.%1$I) FROM (SELECT %1$I FROM %2$s WHERE %1$I IS NOT NULL%6$s) c '
				'WHERE NOT EXISTS (SELECT FROM %3$s p WHERE p.%4$I %5$s c.%1$I) LIMIT %7$L',
				r.child_column, leaf, r.parent, r.parent_column, equality, part, max_values)) AS q (value text);
		ELSE
			-- the code of each table runs with the privileges of its own owner
			EXECUTE format(
				'SELECT array_agg(format(''%%s'', x.v)) FROM (SELECT c.v FROM runops._owner_query(%L, %L) AS c (v %s) '
				'WHERE NOT EXISTS (SELECT FROM runops._owner_query(%L, %L) AS p (v %3$s) WHERE p.v %6$s c.v) LIMIT %7$L) x',
				r.child, format('SELECT DISTINCT %1$I::%2$s FROM %3$s WHERE %1$I IS NOT NULL%4$s', r.child_column, type, leaf, part), type,
				r.parent, format('SELECT %I::%s FROM %s', r.parent_column, type, r.parent), equality, max_values)
			INTO found;
		END IF;
		missing := missing || found;
	END LOOP;
	RETURN missing;
END
$$;

/* Raise if a row refers to a missing row; only rows with these values are read if some are given. */
CREATE FUNCTION runops._check_referring_rows(r runops.reference_config, only_values text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	value CONSTANT text := (runops._missing_references(r, 1, only_values))[1];
BEGIN
	IF value IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'foreign_key_violation',
			MESSAGE = format('rows of %s refer to rows of %s that do not exist', r.child, r.parent),
			DETAIL = format('Key (%s)=(%s) is not present in table %s.', r.child_column, value, r.parent),
			HINT = 'Delete or correct such rows. Nothing was changed.';
	END IF;
END
$$;

CREATE FUNCTION runops.add_reference(child regclass, child_column name, parent regclass, parent_column name DEFAULT NULL,
									 not_valid boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r runops.reference_config;
	other runops.reference_config;
	old_timeout text;
BEGIN
	PERFORM runops._require_read_committed('runops.add_reference()');
	PERFORM runops._check_reference_end(child, child_column);
	PERFORM runops._check_reference_end(parent, coalesce(parent_column, runops._key_column(parent)));
	r.child := child;
	r.child_column := child_column;
	r.parent := parent;
	r.parent_column := coalesce(parent_column, runops._key_column(parent));

	IF NOT EXISTS (SELECT FROM runops.table_config t WHERE t.relation IN (child, parent)) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('neither %s nor %s is routed', child, parent),
			DETAIL = 'The rows of both tables are in this database.',
			HINT = format('Use ALTER TABLE %s ADD FOREIGN KEY.', child);
	END IF;
	IF runops._compared_type(child, child_column) <> runops._compared_type(parent, r.parent_column)
	   OR runops._equality(runops._compared_type(parent, r.parent_column)) IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'datatype_mismatch',
			MESSAGE = format('column %I of %s cannot refer to column %I of %s', child_column, child, r.parent_column, parent),
			DETAIL = format('Their types are %s and %s. A reference needs equal types that can be hashed.',
				format_type(runops._compared_type(child, child_column), NULL),
				format_type(runops._compared_type(parent, r.parent_column), NULL)),
			HINT = 'Change the type of one of them.';
	END IF;

	old_timeout := runops._limit_lock_wait();
	PERFORM runops._topology_lock();
	PERFORM runops._delete_config('reference_config', jsonb_build_object('child', c.child::oid, 'child_column', c.child_column))
	FROM runops.reference_config c
	WHERE (NOT EXISTS (SELECT FROM pg_class x WHERE x.oid = c.child) OR NOT EXISTS (SELECT FROM pg_class x WHERE x.oid = c.parent))
		AND c.child = r.child;
	SELECT * INTO other FROM runops.reference_config c WHERE c.child = r.child AND c.child_column = r.child_column;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('column %I of %s already refers to %s', child_column, child, other.parent),
			DETAIL = 'A column can have one reference.',
			HINT = 'Use runops.drop_reference() first.';
	END IF;
	PERFORM runops._lock_table(child, 'SHARE ROW EXCLUSIVE');
	PERFORM runops._lock_table(parent, 'SHARE ROW EXCLUSIVE');

	IF NOT EXISTS (SELECT FROM pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
				   WHERE x.indrelid = runops._local_table(child) AND x.indisvalid AND x.indpred IS NULL AND a.attname = child_column) THEN
		RAISE NOTICE USING
			MESSAGE = format('no index of %s has column %I as its first column', child, child_column),
			DETAIL = format('Each DELETE of a row of %s will read the whole table.', parent),
			HINT = format('Run CREATE INDEX ON %s (%I)%s', runops._local_table(child), child_column,
				CASE WHEN child = runops._local_table(child) THEN '.' ELSE ', then use runops.provision().' END);
	END IF;

	r.dropped := runops._drop_seam_keys(child, child_column, parent);
	r.name := coalesce(r.dropped ->> 'name',
		(SELECT format('%s_%s_fkey', c.relname, child_column) FROM pg_class c WHERE c.oid = child))::name;
	r.on_delete := CASE r.dropped ->> 'delete' WHEN 'c' THEN 'c' WHEN 'n' THEN 'n' ELSE 'a' END;
	r.validated := not_valid IS NOT TRUE;
	PERFORM runops._create_reference_triggers(r);
	IF r.validated THEN
		PERFORM runops._progress_phase('add_reference', 'reading rows under the lock', child);
		PERFORM runops._check_referring_rows(r);
		PERFORM runops._progress_end();
	END IF;
	PERFORM runops._insert_config('reference_config', to_jsonb(r) || jsonb_build_object('child', r.child::oid, 'parent', r.parent::oid));

	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.add_reference(regclass, name, regclass, name, boolean) IS
	'makes rows of a table, in any store, refer to existing rows of another table; replaces a foreign key, which detach and drop_reference create again';

/* The reference of a column that the caller may validate; raises if there is none. */
CREATE FUNCTION runops._own_reference(child regclass, child_column name, parent regclass) RETURNS runops.reference_config
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r runops.reference_config;
BEGIN
	SELECT * INTO r FROM runops.reference_config c
	WHERE c.child = _own_reference.child AND c.child_column = _own_reference.child_column AND c.parent = _own_reference.parent;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('column %s of %s does not refer to %s by a reference',
				coalesce(quote_ident(child_column), 'NULL'), coalesce(child::text, 'NULL'), coalesce(parent::text, 'NULL')),
			HINT = 'The view "runops.reference_keys" lists the references.';
	END IF;
	PERFORM runops._check_reference_end(child, child_column);
	PERFORM runops._check_reference_end(parent, r.parent_column);
	RETURN r;
END
$$;

/* Record that no row violates a reference. */
CREATE FUNCTION runops._set_validated(r runops.reference_config) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT runops._own_step('update', jsonb_build_object('config', 'reference_config',
		'row', jsonb_build_object('child', r.child::oid, 'child_column', r.child_column)))
$$;

/*
 * First step of validate_reference: read the rows without a lock.  Returns the
 * values that seem to refer to missing rows; NULL if there is none, and the
 * reference is recorded as valid.
 *
 * The reference holds for whatever is written.  But the stores are not read at one
 * time, so a row can seem to refer to one that was not there yet.
 */
CREATE FUNCTION runops._suspect_references(child regclass, child_column name, parent regclass) RETURNS text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	max_values CONSTANT int := 1000;
	r CONSTANT runops.reference_config := runops._own_reference(child, child_column, parent);
	suspects text[];
BEGIN
	PERFORM runops._require_read_committed('runops.validate_reference()');
	IF r.validated THEN
		RETURN NULL;
	END IF;
	PERFORM runops._progress_phase('validate_reference', 'reading rows', child);
	suspects := runops._missing_references(r, max_values);
	IF suspects = '{}' THEN
		PERFORM runops._set_validated(r);
		RETURN NULL;
	END IF;
	RETURN suspects;
END
$$;

/*
 * Second step: read the rows with these values again, while nobody writes.  A
 * transaction keeps its snapshot of a store, so this is a transaction of its own.
 */
CREATE FUNCTION runops._recheck_references(child regclass, child_column name, parent regclass, suspects text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r CONSTANT runops.reference_config := runops._own_reference(child, child_column, parent);
	old_timeout CONSTANT text := runops._limit_lock_wait();
BEGIN
	PERFORM runops._progress_phase('validate_reference', 'waiting for the lock', child);
	PERFORM runops._lock_table(child, 'SHARE ROW EXCLUSIVE');
	PERFORM runops._lock_table(parent, 'SHARE ROW EXCLUSIVE');
	PERFORM runops._progress_phase('validate_reference', 'looking again under the lock', child);
	PERFORM runops._check_referring_rows(r, suspects);
	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;

-- A procedure with a SET clause cannot commit.  The functions that it calls set search_path.
CREATE PROCEDURE runops.validate_reference(child regclass, child_column name, parent regclass)
LANGUAGE plpgsql
AS $$
DECLARE
	suspects text[];
BEGIN
	LOOP
		suspects := runops._suspect_references(child, child_column, parent);
		COMMIT;
		EXIT WHEN suspects IS NULL;
		PERFORM runops._recheck_references(child, child_column, parent, suspects);
		COMMIT;
	END LOOP;
END
$$;
COMMENT ON PROCEDURE runops.validate_reference(regclass, name, regclass) IS
	'checks the rows for a reference that add_reference has added with not_valid, while writers go on';

/*
 * Find the values of a child that refer to missing rows.
 *
 * The stores are not read at one time, and a store commits before this database.
 * So what seems to be missing is looked for again, under locks that wait for all
 * who write either table.
 */
CREATE FUNCTION runops.check_reference(child regclass DEFAULT NULL, max_values int DEFAULT 1000)
RETURNS TABLE (relation regclass, child_column name, parent regclass, value text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r runops.reference_config;
	suspects text[];
	old_timeout text;
BEGIN
	PERFORM runops._require_read_committed('runops.check_reference()');
	FOR r IN
		SELECT * FROM runops.reference_config c WHERE c.child = check_reference.child OR check_reference.child IS NULL
		ORDER BY c.child::oid, c.child_column
	LOOP
		r := runops._own_reference(r.child, r.child_column, r.parent);
		suspects := runops._missing_references(r, max_values);
		CONTINUE WHEN suspects = '{}';
		old_timeout := runops._limit_lock_wait();
		PERFORM runops._lock_table(r.child, 'SHARE ROW EXCLUSIVE');
		PERFORM runops._lock_table(r.parent, 'SHARE ROW EXCLUSIVE');
		PERFORM set_config('lock_timeout', old_timeout, true);
		RETURN QUERY
		SELECT r.child, r.child_column, r.parent, x.value
		FROM (SELECT DISTINCT v.value FROM unnest(runops._missing_references(r, max_values, suspects)) v (value)) AS x
		ORDER BY x.value LIMIT max_values;
	END LOOP;
END
$$;
COMMENT ON FUNCTION runops.check_reference(regclass, int) IS
	'finds values, in every store, that refer to a missing row of the parent of a reference';

/* Drop the triggers and the record of a reference. */
CREATE FUNCTION runops._drop_reference(r runops.reference_config) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
BEGIN
	PERFORM runops._delete_config('reference_config', jsonb_build_object('child', r.child::oid, 'child_column', r.child_column));
	FOR t IN
		SELECT x.* FROM runops._reference_triggers(r) x
		JOIN pg_trigger g ON g.tgrelid = x.relation AND g.tgname = x.name
		WHERE NOT x.of_parent
			OR NOT EXISTS (SELECT FROM runops.reference_config c WHERE c.parent = r.parent
						   AND (c.parent_column = r.parent_column OR x.event = 'BEFORE TRUNCATE'))
	LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.name, t.relation);
	END LOOP;
END
$$;

CREATE FUNCTION runops.drop_reference(child regclass, child_column name, parent regclass, if_exists boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r runops.reference_config;
	old_timeout text;
BEGIN
	old_timeout := runops._limit_lock_wait();
	PERFORM runops._topology_lock();
	SELECT * INTO r FROM runops.reference_config c
	WHERE c.child = drop_reference.child AND c.child_column = drop_reference.child_column AND c.parent = drop_reference.parent;
	IF NOT FOUND THEN
		IF if_exists THEN
			RAISE NOTICE 'reference of column % of % does not exist, skipping', quote_ident(child_column), child;
			PERFORM set_config('lock_timeout', old_timeout, true);
			RETURN;
		END IF;
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('column %s of %s does not refer to %s by a reference',
				coalesce(quote_ident(child_column), 'NULL'), coalesce(child::text, 'NULL'), coalesce(parent::text, 'NULL')),
			HINT = 'The view "runops.reference_keys" lists the references.';
	END IF;

	PERFORM runops._check_reference_end(child, child_column);
	PERFORM runops._drop_reference(r);
	IF r.dropped IS NOT NULL THEN
		PERFORM runops._restore_foreign_key(runops._local_table(child), child_column, runops._local_table(parent), r.dropped);
	END IF;
	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.drop_reference(regclass, name, regclass, boolean) IS
	'drops a reference, and creates again the foreign key that it replaced';

/* Drop the references from and to a table that will be attached or detached; returns them for _resume_references. */
CREATE FUNCTION runops._release_references(relation regclass) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r runops.reference_config;
	released jsonb := '[]';
BEGIN
	FOR r IN
		SELECT * FROM runops.reference_config c
		WHERE relation IN (c.child, c.parent)
			-- the other table may have been dropped
			AND EXISTS (SELECT FROM pg_class x WHERE x.oid = c.child) AND EXISTS (SELECT FROM pg_class x WHERE x.oid = c.parent)
	LOOP
		released := released || jsonb_build_array(to_jsonb(r)
			|| jsonb_build_object('child', r.child::oid, 'parent', r.parent::oid));
		PERFORM runops._drop_reference(r);
	END LOOP;
	FOR r IN SELECT * FROM runops.reference_config c WHERE relation IN (c.child, c.parent) LOOP
		PERFORM runops._drop_reference(r);
	END LOOP;
	RETURN released;
END
$$;

/*
 * Create again the references that _release_references has dropped, after another
 * relation has taken the place of the table.
 *
 * If the referenced table is a plain table now, the foreign key that the reference
 * replaced is created again.  If the referencing table is still routed, the
 * reference is created as well, for the rows of other stores.
 */
CREATE FUNCTION runops._resume_references(released jsonb, before regclass, after regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r runops.reference_config;
	parent_routed boolean;
BEGIN
	FOR r IN
		SELECT CASE x.child WHEN before::oid THEN after ELSE x.child::regclass END, x.child_column,
			CASE x.parent WHEN before::oid THEN after ELSE x.parent::regclass END, x.parent_column,
			x.name, x.on_delete, nullif(x.dropped, 'null'), x.validated
		FROM jsonb_to_recordset(released) AS x (child oid, child_column name, parent oid, parent_column name,
												name name, on_delete "char", dropped jsonb, validated boolean)
	LOOP
		parent_routed := EXISTS (SELECT FROM runops.table_config t WHERE t.relation = r.parent);
		IF r.dropped IS NULL AND parent_routed THEN
			r.dropped := runops._drop_seam_keys(r.child, r.child_column, r.parent);
			IF r.dropped ->> 'delete' IN ('c', 'n') THEN
				r.on_delete := (r.dropped ->> 'delete')::"char";
			END IF;
		ELSIF r.dropped IS NOT NULL AND NOT parent_routed THEN
			PERFORM runops._restore_foreign_key(runops._local_table(r.child), r.child_column, r.parent, r.dropped);
			r.dropped := NULL;
		END IF;
		CONTINUE WHEN NOT parent_routed AND NOT EXISTS (SELECT FROM runops.table_config t WHERE t.relation = r.child);

		PERFORM runops._create_reference_triggers(r);
		PERFORM runops._insert_config('reference_config', to_jsonb(r) || jsonb_build_object('child', r.child::oid, 'parent', r.parent::oid));
	END LOOP;
END
$$;

REVOKE EXECUTE ON ROUTINE
	runops._reference_child(),
	runops._reference_parent(),
	runops._reference_truncate(),
	runops._check_reference_end(regclass, name),
	runops._seam_keys(regclass, name, regclass),
	runops._drop_seam_keys(regclass, name, regclass),
	runops._restore_foreign_key(regclass, name, regclass, jsonb),
	runops._reference_triggers(runops.reference_config),
	runops._create_reference_triggers(runops.reference_config),
	runops._missing_references(runops.reference_config, int, text[]),
	runops._check_referring_rows(runops.reference_config, text[]),
	runops._own_reference(regclass, name, regclass),
	runops._set_validated(runops.reference_config),
	runops._suspect_references(regclass, name, regclass),
	runops._recheck_references(regclass, name, regclass, text[]),
	runops.validate_reference(regclass, name, regclass),
	runops.check_reference(regclass, int),
	runops._drop_reference(runops.reference_config),
	runops._release_references(regclass),
	runops._resume_references(jsonb, regclass, regclass),
	runops.add_reference(regclass, name, regclass, name, boolean),
	runops.drop_reference(regclass, name, regclass, boolean)
FROM PUBLIC;
