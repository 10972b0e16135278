/*
 * Attach: a plain table becomes the legacy leaf of a routed table of its name.
 */

/*
 * The bound and the CHECK of the legacy leaf.  NULL is among them for an id
 * that a BEFORE trigger makes, and so that a missing id gives core's own error.
 */
CREATE FUNCTION runops._store_check(expr text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format('CHECK (runops.store_of(%1$s) IS NULL OR runops.store_of(%1$s) = ''legacy''::text)', expr) $$;

/* The CHECK that declares an alias; the planner finds it by its shape. */
CREATE FUNCTION runops._alias_check(expr text, alias name) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format('CHECK (%2$I IS NULL OR NOT runops.is_classifiable(%2$I) OR runops.store_of(%2$I) = runops.store_of(%1$s))', expr, alias) $$;

/* Raise unless the relation is a table that can be routed, and the caller's. */
CREATE FUNCTION runops._check_target(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c pg_class;
	reason text;
BEGIN
	IF relation IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'relation must not be NULL',
			DETAIL = 'A table has to be named.',
			HINT = 'Pass the table as text, quoted as in a statement: ''public."TaskRun"''.';
	END IF;
	SELECT * INTO c FROM pg_class WHERE oid = relation;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_table',
			MESSAGE = format('relation with OID %s does not exist', relation::oid),
			DETAIL = 'It may have been dropped.',
			HINT = 'Pass the table as text, quoted as in a statement: ''public."TaskRun"''.';
	END IF;

	IF EXISTS (SELECT FROM runops.table_config t WHERE _check_target.relation IN (t.relation, t.leaf)) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('table %s is already routed', relation),
			DETAIL = 'The view "runops.routed_tables" lists the routed tables.',
			HINT = 'Use runops.detach first to route it by another key.';
	END IF;
	IF NOT pg_has_role(c.relowner, 'USAGE') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('must be owner of table %s', relation),
			DETAIL = format('It belongs to role "%s".', pg_get_userbyid(c.relowner)),
			HINT = 'Run this as the owner of the table or as a superuser.';
	END IF;

	reason := CASE
		WHEN c.relkind = 'v' THEN 'It is a view.'
		WHEN c.relkind = 'm' THEN 'It is a materialized view.'
		WHEN c.relkind = 'f' THEN 'It is a foreign table.'
		WHEN c.relkind NOT IN ('r', 'p') THEN 'It is not a table.'
		WHEN c.relpersistence = 't' THEN 'It is a temporary table.'
		WHEN c.relnamespace IN ('pg_catalog'::regnamespace, 'runops'::regnamespace) THEN 'It belongs to a system schema.'
		WHEN c.relispartition THEN 'It is a partition of another table.'
		WHEN c.reloftype <> 0 THEN 'It is a typed table.'
		WHEN EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = relation) THEN 'It inherits from another table.'
		WHEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = relation) THEN 'Other tables inherit from it.'
		WHEN EXISTS (SELECT FROM pg_depend d
					 WHERE d.classid = 'pg_class'::regclass AND d.objid = relation AND d.deptype = 'e') THEN 'It belongs to an extension.'
		END;
	IF reason IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('cannot route %s', relation),
			DETAIL = reason,
			HINT = 'Only plain and partitioned tables that stand alone can be routed.';
	END IF;
END
$$;

/*
 * Lock the table against everything, but wait no longer than lock_timeout.
 *
 * Waiters queue behind this lock, so a long wait here would stop the service.
 */
CREATE FUNCTION runops._lock_table(relation regclass, lock_timeout interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', relation);
EXCEPTION WHEN lock_not_available THEN
	RAISE EXCEPTION USING
		ERRCODE = 'lock_not_available',
		MESSAGE = format('could not lock table %s within %s', relation, lock_timeout),
		DETAIL = 'Other transactions hold locks on it; nothing was changed.',
		HINT = 'Try again when they have ended, or pass a longer lock_timeout.';
END
$$;

/*
 * Make the parent under a name of its own, beside the table that is to become
 * its leaf, with everything that belongs to its columns.
 */
CREATE FUNCTION runops._create_parent(relation regclass, expr text, aliases name[]) RETURNS regclass
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parent text;
	parent_oid regclass;
	r record;
BEGIN
	SELECT format('%I.%I', n.nspname, 'runops_attach_' || c.oid) INTO STRICT parent
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = relation;

	EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING GENERATED '
				   'INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS) '
				   'PARTITION BY LIST (runops.store_of(%s))', parent, relation, expr);
	parent_oid := parent::regclass;

	FOR r IN
		SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', parent, conname, pg_get_constraintdef(oid)) AS ddl
		FROM pg_constraint
		WHERE conrelid = relation AND contype = 'c' AND convalidated AND NOT connoinherit
			AND conname <> 'runops_store' AND conname NOT LIKE 'runops\_alias\_%'
		UNION ALL
		SELECT format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', parent, attname, attstattarget)
		FROM pg_attribute
		WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND attstattarget >= 0
		UNION ALL
		SELECT format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', parent, attname, array_to_string(attoptions, ', '))
		FROM pg_attribute
		WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND attoptions IS NOT NULL
		UNION ALL
		SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', parent,
					  ('runops_alias_' || alias)::name, runops._alias_check(expr, alias))
		FROM unnest(aliases) alias
	LOOP
		EXECUTE r.ddl;
	END LOOP;

	RETURN parent_oid;
END
$$;

/* Put on the table the CHECKs that its place as a leaf asks for. */
CREATE FUNCTION runops._add_checks(relation regclass, expr text, aliases name[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r record;
BEGIN
	FOR r IN
		SELECT x.name, x.def FROM (
			SELECT 'runops_store'::name, runops._store_check(expr)
			UNION ALL
			SELECT ('runops_alias_' || alias)::name, runops._alias_check(expr, alias)
			FROM unnest(aliases) alias) AS x (name, def)
		WHERE NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = relation AND c.conname = x.name AND c.convalidated)
	LOOP
		IF EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = relation AND c.conname = r.name) THEN
			EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', relation, r.name);
		END IF;
		EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', relation, r.name, r.def);
	END LOOP;
END
$$;

CREATE FUNCTION runops.attach(relation regclass, key text, aliases name[] DEFAULT '{}', lock_timeout interval DEFAULT '5 s') RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	old_timeout CONSTANT text := current_setting('lock_timeout');
	expr text;
	parent regclass;
	nsp name;
	rel name;
	owner name;
	leaf_schema CONSTANT name := runops._leaf_schema('legacy');
	leaf_name name;
BEGIN
	PERFORM runops._check_target(relation);
	expr := quote_ident(key);

	PERFORM set_config('lock_timeout', extract(epoch FROM lock_timeout) * 1000 || 'ms', true);
	PERFORM runops._topology_lock();
	PERFORM runops._lock_table(relation, lock_timeout);

	SELECT n.nspname, c.relname, pg_get_userbyid(c.relowner) INTO nsp, rel, owner
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = relation;

	parent := runops._create_parent(relation, expr, aliases);
	PERFORM runops._add_checks(relation, expr, aliases);

	leaf_name := runops._new_leaf_name('legacy', relation);
	IF leaf_name <> rel THEN
		EXECUTE format('ALTER TABLE %s RENAME TO %I', relation, leaf_name);
	END IF;
	EXECUTE format('ALTER TABLE %s SET SCHEMA %I', relation, leaf_schema);
	EXECUTE format('ALTER TABLE %s RENAME TO %I', parent, rel);
	EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES IN (''legacy'', NULL)', parent, relation);
	IF owner <> current_user THEN
		EXECUTE format('ALTER TABLE %s OWNER TO %I', parent, owner);
	END IF;

	INSERT INTO runops.table_config VALUES (parent, relation, key, aliases, '{}');
	PERFORM runops._create_leaf(parent, c.store)
	FROM runops.store_config c WHERE c.store <> 'legacy' ORDER BY c.store;

	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.attach(regclass, text, name[], interval) IS 'routes a table by its key, keeping every row and OID';

REVOKE EXECUTE ON FUNCTION
	runops._check_target(regclass),
	runops._lock_table(regclass, interval),
	runops._create_parent(regclass, text, name[]),
	runops._add_checks(regclass, text, name[]),
	runops.attach(regclass, text, name[], interval)
FROM PUBLIC;
