/*
 * Attach, first part: checks whether a table can be routed, and reports what
 * will change for its users.
 */

-- For a key or an alias: the call of store_of, the columns that it reads, and its leading column.
CREATE FUNCTION runops._key_expression(relation regclass, key text, nullable boolean, OUT store text, OUT columns name[], OUT lead name)
	LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_key_expression';

/*
 * The CHECK constraints of the legacy leaf: their names, and their definitions
 * as pg_get_constraintdef prints them.  runops_store proves the partition bound,
 * so that ATTACH PARTITION need not scan the table.  It is not needed afterwards.
 *
 * NULL is allowed because a BEFORE trigger may set the id, and because core then
 * raises its own error for a missing id.  The planner recognizes an alias by its
 * CHECK.
 */
CREATE FUNCTION runops._leaf_checks(relation regclass, key text, aliases name[])
	RETURNS TABLE (name name, def text, alias name)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	store CONSTANT text := (runops._key_expression(relation, key, false)).store;
	prefix CONSTANT int := length('runops.store_of(');
	a name;
	alias_store text;
BEGIN
	RETURN QUERY SELECT 'runops_store'::name,
		format('CHECK (((%1$s IS NULL) OR (%1$s = ''legacy''::text)))', store), NULL::name;
	FOREACH a IN ARRAY aliases LOOP
		alias_store := (runops._key_expression(relation, a, true)).store;
		RETURN QUERY SELECT ('runops_alias_' || a)::name,
			format('CHECK (runops.same_store(%s, %s', left(substr(alias_store, prefix + 1), -1),
				   substr(store, prefix + 1) || ')'), a;
	END LOOP;
END
$$;

/* Raise unless the relation is a table that can be routed and that the caller owns. */
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
			HINT = 'To route it by another key, use runops.detach first.';
	END IF;

	reason := CASE
		WHEN c.relkind = 'v' THEN 'It is a view.'
		WHEN c.relkind = 'm' THEN 'It is a materialized view.'
		WHEN c.relkind = 'f' THEN 'It is a foreign table.'
		WHEN c.relkind NOT IN ('r', 'p') THEN 'It is not a table.'
		WHEN c.relpersistence = 't' THEN 'It is a temporary table.'
		WHEN c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) THEN 'It is a system table.'
		WHEN c.relispartition THEN 'It is a partition of another table.'
		WHEN c.reloftype <> 0 THEN 'It is a typed table.'
		WHEN EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid) THEN 'It inherits from another table.'
		WHEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) THEN 'Other tables inherit from it.'
		WHEN EXISTS (SELECT FROM pg_depend d
					 WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') THEN 'It belongs to an extension.'
		WHEN EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = c.oid) THEN 'A subscription replicates into it.'
		END;
	IF reason IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('cannot route %s', relation),
			DETAIL = reason,
			HINT = 'Only permanent plain and partitioned tables that are independent of other tables can be routed.';
	END IF;

	IF NOT pg_has_role(c.relowner, 'USAGE') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('must be owner of table %s', relation),
			DETAIL = format('It belongs to role "%s".', pg_get_userbyid(c.relowner)),
			HINT = 'Run this as the owner of the table or as a superuser.';
	END IF;
END
$$;

/* The store whose schema takes the old table: legacy, or "none" if legacy is another database. */
CREATE FUNCTION runops._old_table_store() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN runops._is_elsewhere('legacy') THEN 'none' ELSE 'legacy' END $$;

/*
 * Raise if the table holds rows and legacy is another database, because queries
 * would not read these rows.
 */
CREATE FUNCTION runops._check_empty(relation regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	held boolean;
BEGIN
	IF NOT runops._is_elsewhere('legacy') THEN
		RETURN;
	END IF;
	PERFORM runops._require_read_committed('runops.attach()');
	SELECT q.held INTO held FROM runops._owner_query(relation, format('SELECT EXISTS (SELECT FROM %s)', relation)) AS q (held boolean);
	IF held THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('table %s holds rows, but store "legacy" is another database', relation),
			DETAIL = 'The table only defines the columns, indexes and constraints of the routed table. Queries do not read its rows.',
			HINT = 'Move the rows to the database of the store first.';
	END IF;
END
$$;

/* Raise unless the caller may create the parent, and leaves for the server of every store. */
CREATE FUNCTION runops._check_rights(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing text;
BEGIN
	PERFORM runops._check_server(c.server) FROM runops.store_config c WHERE c.server IS NOT NULL;

	SELECT n.nspname INTO missing FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = relation AND NOT has_schema_privilege(n.oid, 'CREATE');
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('permission denied to route table %s', relation),
			DETAIL = format('Role "%s" lacks CREATE on schema %I.', current_user, missing),
			HINT = format('Run GRANT CREATE ON SCHEMA %I TO %I.', missing, current_user);
	END IF;
END
$$;

/* Raise unless the key and the aliases are valid for the table. */
CREATE FUNCTION runops._check_key(relation regclass, key text, aliases name[]) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	key_columns name[];
	alias name;
	bad record;
BEGIN
	PERFORM runops._check_functions();
	IF key IS NULL OR aliases IS NULL OR array_position(aliases, NULL) IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'key and aliases must not be NULL',
			DETAIL = 'The key decides the store of a row.',
			HINT = 'Pass the name of the column whose id decides the store of a row.';
	END IF;

	key_columns := (runops._key_expression(relation, key, false)).columns;

	FOREACH alias IN ARRAY aliases LOOP
		IF NOT EXISTS (SELECT FROM pg_attribute a
					   WHERE a.attrelid = relation AND a.attname = alias AND a.attnum > 0 AND NOT a.attisdropped) THEN
			RAISE EXCEPTION USING
				ERRCODE = 'undefined_column',
				MESSAGE = format('column "%s" of table %s does not exist', alias, relation),
				DETAIL = 'An alias is a column whose ids always name the store of the row.',
				HINT = 'Check the spelling of the column name, including upper and lower case.';
		END IF;
		PERFORM runops._key_expression(relation, alias, true);
		IF key_columns = ARRAY[alias] OR cardinality(array_positions(aliases, alias)) > 1 THEN
			RAISE EXCEPTION USING
				ERRCODE = 'duplicate_column',
				MESSAGE = format('alias "%s" is given twice', alias),
				DETAIL = 'The key is not an alias, and each alias is passed once.',
				HINT = 'Remove the repeated column from the aliases.';
		END IF;
	END LOOP;

	SELECT c.conname INTO bad
	FROM runops._leaf_checks(relation, key, aliases) l
	JOIN pg_constraint c ON c.conrelid = relation AND c.conname = l.name
	WHERE NOT runops._has_check(relation, l.name, l.def) AND NOT runops._has_check(relation, l.name, l.def || ' NOT VALID')
	ORDER BY c.conname LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('table %s has another constraint named "%s"', relation, bad.conname),
			DETAIL = 'A check of the ids needs this name. The constraint may be left from an attempt with another key.',
			HINT = format('Run ALTER TABLE %s DROP CONSTRAINT %I.', relation, bad.conname);
	END IF;

	PERFORM runops._check_objects(relation, key_columns);
END
$$;

/* Raise if an object of the table could change the key of rows, or prevents the table from being a leaf. */
CREATE FUNCTION runops._check_objects(relation regclass, key_columns name[]) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad record;
BEGIN
	SELECT c.conname, a.attname INTO bad
	FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid
	WHERE c.conrelid = relation AND c.contype = 'f' AND a.attname = ANY (key_columns)
		AND (c.confupdtype IN ('n', 'd') AND a.attnum = ANY (c.conkey)
			 OR c.confdeltype IN ('n', 'd') AND a.attnum = ANY (coalesce(nullif(c.confdelsetcols, '{}'), c.conkey)))
	ORDER BY c.conname LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'feature_not_supported',
			MESSAGE = format('foreign key "%s" may change the key of a row of %s', bad.conname, relation),
			DETAIL = format('It changes column "%s" when the referenced row changes or is deleted, and the row would then belong to another store.', bad.attname),
			HINT = 'Give the foreign key another action, for example ON DELETE CASCADE.';
	END IF;

	-- PostgreSQL 18 introduced such constraints.
	SELECT c.conname INTO bad FROM pg_constraint c
	WHERE c.conrelid = relation AND c.contype = 'n' AND NOT c.convalidated
	ORDER BY c.conname LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('constraint "%s" of table %s is not valid', bad.conname, relation),
			DETAIL = 'A partition must not contain NULL where its parent does not allow it.',
			HINT = format('Run ALTER TABLE %s VALIDATE CONSTRAINT %I.', relation, bad.conname);
	END IF;

	SELECT t.tgname INTO bad FROM pg_trigger t
	WHERE t.tgrelid = relation AND NOT t.tgisinternal AND t.tgtype & 1 = 1
		AND (t.tgoldtable IS NOT NULL OR t.tgnewtable IS NOT NULL)
	ORDER BY t.tgname LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'feature_not_supported',
			MESSAGE = format('trigger "%s" prevents table %s from being routed', bad.tgname, relation),
			DETAIL = 'A partition cannot have row triggers with transition tables.',
			HINT = 'Create it as a statement trigger, or without the transition table.';
	END IF;
END
$$;

/*
 * Does the table have the CHECK, and is the CHECK validated?
 *
 * The comparison ignores white space, because pg_get_constraintdef breaks lines
 * in a CASE.  If white space makes a real difference, ATTACH PARTITION still does
 * not accept one constraint for the other.
 */
CREATE FUNCTION runops._has_check(relation regclass, name name, def text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM pg_constraint c
				   WHERE c.conrelid = relation AND c.conname = _has_check.name AND c.contype = 'c'
				   AND regexp_replace(pg_get_constraintdef(c.oid), '\s', '', 'g') = regexp_replace(def, '\s', '', 'g'))
$$;

/*
 * Raise if there are rows that do not belong to the legacy leaf, and name the
 * first ten.  Rules that a validated CHECK proves are not checked again.
 *
 * All rules are checked in one scan; only a rule that is broken needs another.
 * With a number of blocks, only this many at the end of a plain table are read.
 */
CREATE FUNCTION runops._check_rows(relation regclass, key text, aliases name[], newest_blocks int DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	key_call CONSTANT text := (runops._key_expression(relation, key, false)).store;
	blocks CONSTANT bigint := runops._table_blocks(relation);
	part text := '';
	broken text;
	number int;
	c record;
	bad text[];
BEGIN
	PERFORM runops._check_empty(relation);
	SELECT string_agg(format('WHEN bool_or(NOT (%s)) THEN %s', substr(l.def, length('CHECK ') + 1), l.ord), ' ' ORDER BY l.ord) INTO broken
	FROM runops._leaf_checks(relation, key, aliases) WITH ORDINALITY AS l (name, def, alias, ord)
	WHERE NOT runops._has_check(relation, l.name, l.def);
	IF broken IS NULL THEN
		RETURN;
	END IF;
	IF blocks > newest_blocks AND (SELECT k.relkind FROM pg_class k WHERE k.oid = relation) = 'r' THEN
		part := format(' WHERE ctid >= %L', format('(%s,0)', blocks - newest_blocks));
	END IF;
	EXECUTE format('SELECT CASE %s END FROM %s%s', broken, relation, part) INTO number;

	FOR c IN
		SELECT * FROM runops._leaf_checks(relation, key, aliases) WITH ORDINALITY AS l (name, def, alias, ord)
		WHERE l.ord = number
	LOOP
		EXECUTE format('SELECT array_agg(x.what) FROM (SELECT %s AS what FROM %s%s NOT (%s) LIMIT 11) x',
					   CASE WHEN c.alias IS NULL THEN 'format(''%L'', ' || substr(key_call, length('runops.store_of') + 2)
							ELSE format('format(''%%L (%%s)'', %I, ', c.alias) || key_call || ')' END,
					   relation, CASE part WHEN '' THEN ' WHERE' ELSE part || ' AND' END, substr(c.def, length('CHECK ') + 1))
		INTO bad;
		CONTINUE WHEN bad IS NULL;
		RAISE EXCEPTION USING
			ERRCODE = 'RO003',
			MESSAGE = CASE WHEN c.alias IS NULL
				THEN format('table %s holds rows of other stores', relation)
				ELSE format('column "%s" of table %s does not always name the store of the row', c.alias, relation) END,
			DETAIL = CASE WHEN c.alias IS NULL
				THEN format('Ids of other stores: %s', array_to_string(bad[1:10], ', '))
				ELSE format('Values that name another store than the key, each with the store of the key: %s', array_to_string(bad[1:10], ', ')) END
				|| CASE WHEN cardinality(bad) > 10 THEN ', ...' ELSE '' END,
			HINT = CASE WHEN c.alias IS NULL
				THEN 'Move or delete these rows first.'
				ELSE 'Remove the column from the aliases.' END;
	END LOOP;
END
$$;

/*
 * Raise if a command would read a table that is too large to be read while its
 * lock stops all other sessions.  "prepare" is the command that avoids this.
 */
CREATE FUNCTION runops._check_scan(relation regclass, force boolean, prepare text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	size CONSTANT bigint := runops._table_blocks(relation) * current_setting('block_size')::bigint;
	size_limit CONSTANT text := current_setting('runops.attach_scan_limit');
BEGIN
	IF force IS NOT TRUE AND size_limit <> '-1' AND size > pg_size_bytes(size_limit) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('table %s is not prepared, and too large to be checked under the lock', relation),
			DETAIL = format('It has %s, and "runops.attach_scan_limit" is %s. All other sessions would wait while every row is read. '
							'With force => true it is checked nevertheless.', pg_size_pretty(size), size_limit),
			HINT = format('First run CALL %s.', prepare);
	END IF;
END
$$;

/* Report the triggers, constraints, publications and slots that will not cover other stores. */
CREATE FUNCTION runops._report_changes(relation regclass, key text, aliases name[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lead CONSTANT name := (runops._key_expression(relation, key, false)).lead;
	r record;
	names text;
BEGIN
	FOR r IN
		SELECT t.tgname, t.tgtype & 1 = 1 AS is_row FROM pg_trigger t
		WHERE t.tgrelid = relation AND NOT t.tgisinternal
			AND (t.tgtype & 1 = 1 OR t.tgoldtable IS NOT NULL OR t.tgnewtable IS NOT NULL)
			-- attach creates the triggers of references and cascades again
			AND NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = t.tgfoid AND p.pronamespace = 'runops'::regnamespace
							AND p.proname ~ '^_(reference|cascade)_')
		ORDER BY t.tgname
	LOOP
		RAISE NOTICE USING
			MESSAGE = format(CASE WHEN r.is_row THEN 'trigger "%s" of %s will not fire for rows of other stores'
							 ELSE 'trigger "%s" of %s prevents changes of rows of other stores' END, r.tgname, relation),
			HINT = CASE WHEN r.is_row THEN 'Create it in the other databases where it is needed.'
				   ELSE 'Drop it, or create it without the transition table, which cannot hold rows of other stores.' END;
	END LOOP;

	FOR r IN
		SELECT c.conname, c.conrelid::regclass AS other FROM pg_constraint c
		WHERE c.confrelid = relation AND c.conrelid <> relation AND c.contype = 'f' AND c.conparentid = 0
			-- a table that is routed by its foreign key has each row in the store of the referenced row
			AND NOT EXISTS (SELECT FROM runops.table_config o
							JOIN pg_attribute a ON a.attrelid = o.leaf AND a.attnum = ANY (c.conkey)
							WHERE o.leaf = c.conrelid AND a.attname = (runops._key_expression(o.relation, o.key, false)).lead)
		ORDER BY c.conrelid::regclass::text, c.conname
	LOOP
		RAISE NOTICE USING
			MESSAGE = format('foreign key "%s" of %s will find %s in %s', r.conname, r.other,
							 CASE WHEN runops._is_elsewhere('legacy') THEN 'no row' ELSE 'only rows of store "legacy"' END, relation),
			HINT = 'Route the referencing table by this foreign key too, or use runops.add_reference() before rows refer to rows of other stores.';
	END LOOP;

	SELECT string_agg(quote_ident(c.conname), ', ' ORDER BY c.conname) INTO names
	FROM pg_constraint c
	WHERE c.conrelid = relation AND c.contype = 'f' AND c.conparentid = 0;
	IF names IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('foreign keys of %s will not be checked for rows of other stores', relation),
			DETAIL = format('Foreign keys: %s.', names),
			HINT = 'Use runops.provision to create the foreign keys between routed tables in the other databases.';
	END IF;

	-- If an index contains the leading column of the key or an alias, equal rows belong to one store.
	SELECT string_agg(quote_ident(c.relname), ', ' ORDER BY c.relname) INTO names
	FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
	WHERE x.indrelid = relation AND (x.indisunique OR x.indisexclusion)
		AND NOT EXISTS (SELECT FROM pg_attribute a
						WHERE a.attrelid = relation AND a.attnum = ANY (x.indkey[0:x.indnkeyatts - 1])
						AND (a.attname = lead OR a.attname = ANY (aliases)));
	IF names IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('unique and exclusion constraints of %s will hold only within each store', relation),
			DETAIL = format('Indexes: %s.', names),
			HINT = 'Use runops.add_unique if rows of different stores must not be equal in these columns.';
	END IF;

	FOR r IN
		SELECT p.pubname, NOT b.pubviaroot AND c.relkind = 'r'
			AND NOT EXISTS (SELECT FROM pg_publication_rel x WHERE x.prpubid = b.oid AND x.prrelid = c.oid) AS by_leaf
		FROM pg_publication_tables p JOIN pg_publication b USING (pubname) JOIN pg_class c ON c.oid = relation
		WHERE p.schemaname = c.relnamespace::regnamespace::name AND p.tablename = c.relname
		ORDER BY p.pubname
	LOOP
		RAISE NOTICE USING
			MESSAGE = format('publication "%s" will not send the rows of %s in other stores', r.pubname, relation),
			HINT = 'Publish the table in the other databases too.';
		-- attach itself changes the publications that name the table.
		IF r.by_leaf THEN
			RAISE WARNING USING
				MESSAGE = format('publication "%s" will send the rows of %s under the name of its leaf', r.pubname, relation),
				DETAIL = 'It publishes the changes of a partitioned table under the names of its partitions.',
				HINT = format('Run ALTER PUBLICATION %I SET (publish_via_partition_root = true).', r.pubname);
		END IF;
	END LOOP;

	SELECT string_agg(quote_ident(s.slot_name), ', ' ORDER BY s.slot_name) INTO names
	FROM pg_replication_slots s
	WHERE s.slot_type = 'logical' AND s.database = current_database() AND NOT s.temporary;
	IF names IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('replication slots will not see the rows of %s in other stores', relation),
			DETAIL = format('Slots: %s.', names),
			HINT = 'Create slots in the other databases too.';
	END IF;
END
$$;

/* The objects that are bound to a table or its row type, without the parts of the table itself. */
CREATE FUNCTION runops._bound_objects(relation regclass) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN r.rulename = '_RETURN' THEN pg_describe_object('pg_class'::regclass, r.ev_class, 0)
		   ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END
	FROM pg_class c
	JOIN pg_type t ON t.oid = c.reltype
	JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
		OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray)
	LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
	WHERE c.oid = relation AND d.deptype = 'n'
		AND d.classid NOT IN ('pg_constraint'::regclass, 'pg_publication_rel'::regclass, 'pg_trigger'::regclass)
		AND NOT EXISTS (SELECT FROM pg_policy p
						WHERE d.classid = 'pg_policy'::regclass AND p.oid = d.objid AND p.polrelid = c.oid)
		AND NOT EXISTS (SELECT FROM pg_attrdef a
						WHERE d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid AND a.adrelid = c.oid)
		AND r.ev_class IS DISTINCT FROM c.oid
	UNION
	SELECT pg_describe_object('pg_rewrite'::regclass, r.oid, 0) FROM pg_rewrite r WHERE r.ev_class = relation
$$;

/*
 * Warn of objects that are bound to the table and not to its name.  They stay
 * bound to the old table, and will see only the rows of store "legacy", or no
 * row if that store is another database.
 */
CREATE FUNCTION runops._report_bound(relation regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names text;
BEGIN
	SELECT string_agg(what, ', ' ORDER BY what) INTO names FROM runops._bound_objects(relation) what;
	IF names IS NOT NULL THEN
		RAISE WARNING USING
			MESSAGE = format('objects bound to %s will see %s', relation,
							 CASE WHEN runops._is_elsewhere('legacy') THEN 'no row' ELSE 'only rows of store "legacy"' END),
			DETAIL = format('These objects refer to the table and not to its name: %s.', names),
			HINT = 'Create these objects again, so that they refer to the routed table.';
	END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION
	runops._leaf_checks(regclass, text, name[]),
	runops._check_target(regclass),
	runops._check_rights(regclass),
	runops._check_empty(regclass),
	runops._check_key(regclass, text, name[]),
	runops._check_objects(regclass, name[]),
	runops._has_check(regclass, name, text),
	runops._check_rows(regclass, text, name[], int),
	runops._check_scan(regclass, boolean, text),
	runops._report_changes(regclass, text, name[]),
	runops._bound_objects(regclass),
	runops._report_bound(regclass),
	runops._key_expression(regclass, text, boolean)
FROM PUBLIC;
