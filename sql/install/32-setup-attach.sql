/*
 * Attach, second part: the table becomes the legacy leaf of a routed table, which
 * takes its name.
 */

-- Write to the catalogs, because SQL commands would lose information; see src/setup/catalog_transfer.c.
CREATE FUNCTION runops._carry_privileges("from" regclass, "to" regclass) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_carry_privileges';
CREATE FUNCTION runops._carry_sequences("from" regclass, "to" regclass) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_carry_sequences';
CREATE FUNCTION runops._spread_identity(leaf regclass) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_spread_identity';
CREATE FUNCTION runops._carry_statistics(leaf regclass, parent regclass) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_carry_statistics';

/*
 * The statements that create again the properties of a table that do not belong
 * to its columns.
 *
 * They use the present name of the table, and so apply to the relation that has
 * this name when they run: the parent in attach, the leaf in detach.  In detach,
 * row triggers and statistics objects of the parent move to the leaf.  The leaf
 * has always kept its own.
 */
CREATE FUNCTION runops._definitions(relation regclass, of_parent boolean) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c pg_class;
	t pg_trigger;
BEGIN
	SELECT * INTO STRICT c FROM pg_class WHERE oid = relation;

	RETURN NEXT format('COMMENT ON TABLE %s IS %L', relation, obj_description(relation, 'pg_class'));
	RETURN NEXT format('ALTER TABLE ONLY %s %s ROW LEVEL SECURITY, %s ROW LEVEL SECURITY', relation,
					   CASE WHEN c.relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END,
					   CASE WHEN c.relforcerowsecurity THEN 'FORCE' ELSE 'NO FORCE' END);

	RETURN QUERY
	SELECT format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', p.polname, relation,
				  CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
				  CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
				  (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END, ', ')
				   FROM unnest(p.polroles) role))
		   || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
		   || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
	FROM pg_policy p WHERE p.polrelid = relation ORDER BY p.polname;
	RETURN QUERY
	SELECT format('COMMENT ON POLICY %I ON %s IS %L', p.polname, relation, obj_description(p.oid, 'pg_policy'))
	FROM pg_policy p WHERE p.polrelid = relation;

	FOR t IN
		SELECT * FROM pg_trigger g
		WHERE g.tgrelid = relation AND NOT g.tgisinternal AND g.tgparentid = 0 AND (g.tgtype & 1 = 0 OR of_parent)
		ORDER BY g.tgname
	LOOP
		RETURN NEXT pg_get_triggerdef(t.oid);
		IF t.tgenabled <> 'O' THEN
			RETURN NEXT format('ALTER TABLE ONLY %s %s TRIGGER %I', relation,
							   CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END, t.tgname);
		END IF;
		RETURN NEXT format('COMMENT ON TRIGGER %I ON %s IS %L', t.tgname, relation, obj_description(t.oid, 'pg_trigger'));
	END LOOP;

	IF of_parent THEN
		RETURN QUERY
		SELECT pg_get_statisticsobjdef(x.oid) || format('; COMMENT ON STATISTICS %s.%I IS %L', x.stxnamespace::regnamespace,
														x.stxname, obj_description(x.oid, 'pg_statistic_ext'))
		FROM pg_statistic_ext x WHERE x.stxrelid = relation;
	END IF;

	RETURN QUERY
	SELECT format('SECURITY LABEL FOR %I ON %s %s%s IS %L', s.provider,
				  CASE s.objsubid WHEN 0 THEN 'TABLE' ELSE 'COLUMN' END, relation,
				  coalesce('.' || quote_ident(a.attname), ''), s.label)
	FROM pg_seclabel s LEFT JOIN pg_attribute a ON a.attrelid = s.objoid AND a.attnum = s.objsubid AND s.objsubid <> 0
	WHERE s.classoid = 'pg_class'::regclass AND s.objoid = relation;
END
$$;

/*
 * Remove the table from the publications that name it.  Returns for each a
 * statement that adds the relation that has this name when the statement runs.
 */
CREATE FUNCTION runops._leave_publications(relation regclass, only_from name[] DEFAULT NULL) RETURNS text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p record;
	again text[] := '{}';
BEGIN
	FOR p IN
		SELECT b.pubname,
			(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
			 WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)) AS columns,
			pg_get_expr(r.prqual, r.prrelid) AS filter
		FROM pg_publication_rel r JOIN pg_publication b ON b.oid = r.prpubid
		WHERE r.prrelid = relation AND (only_from IS NULL OR b.pubname = ANY (only_from))
		ORDER BY b.pubname
	LOOP
		EXECUTE format('ALTER PUBLICATION %I DROP TABLE %s', p.pubname, relation);
		again := again || (format('ALTER PUBLICATION %I ADD TABLE %s', p.pubname, relation)
						   || coalesce(' (' || p.columns || ')', '') || coalesce(' WHERE (' || p.filter || ')', ''));
	END LOOP;
	RETURN again;
END
$$;

/*
 * Set publish_via_partition_root for the publications that name the table, so
 * that subscribers still get its rows under the name that they know.
 *
 * "changed" returns the publications that did not have the option before their
 * first routed table; detach resets it after their last one.  "movable" returns
 * the publications that will name the parent.
 *
 * A publication of other partitioned tables is not changed, and keeps the leaf.
 * The same holds for one that sends the partitions of this table under their own
 * names.
 */
CREATE FUNCTION runops._publish_via_root(relation regclass, OUT changed name[], OUT movable name[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p record;
BEGIN
	changed := '{}';
	movable := '{}';
	FOR p IN
		SELECT b.pubname, b.pubviaroot, b.pubowner,
			EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relkind = 'p') AS is_partitioned,
			EXISTS (SELECT FROM pg_publication_rel o JOIN pg_class c ON c.oid = o.prrelid
					WHERE o.prpubid = b.oid AND c.relkind = 'p'
					AND NOT EXISTS (SELECT FROM runops.table_config t WHERE t.relation = o.prrelid)) AS has_others,
			EXISTS (SELECT FROM runops.table_config t WHERE t.saved -> 'publications' ? b.pubname) AS was_changed
		FROM pg_publication_rel r JOIN pg_publication b ON b.oid = r.prpubid
		WHERE r.prrelid = relation ORDER BY b.pubname
	LOOP
		IF NOT pg_has_role(p.pubowner, 'USAGE') THEN
			RAISE EXCEPTION USING
				ERRCODE = 'insufficient_privilege',
				MESSAGE = format('must be owner of publication %s', p.pubname),
				DETAIL = format('It names table %s, which becomes a partition.', relation),
				HINT = 'Run this as the owner of the publication or as a superuser.';
		END IF;
		CONTINUE WHEN NOT p.pubviaroot AND p.is_partitioned;
		IF NOT p.pubviaroot AND p.has_others THEN
			RAISE WARNING USING
				MESSAGE = format('publication "%s" will send the rows of %s under the name of its leaf', p.pubname, relation),
				DETAIL = 'It publishes the changes of other partitioned tables under the names of their partitions, so it was not changed.',
				HINT = 'Publish the table through a publication with publish_via_partition_root.';
			CONTINUE;
		END IF;
		movable := movable || p.pubname;
		IF NOT p.pubviaroot OR p.was_changed THEN
			changed := changed || p.pubname;
		END IF;
		IF NOT p.pubviaroot THEN
			EXECUTE format('ALTER PUBLICATION %I SET (publish_via_partition_root = true)', p.pubname);
		END IF;
	END LOOP;
END
$$;

/*
 * Create the parent under a temporary name, in the schema of the table that
 * becomes its leaf, with all properties of the columns.
 */
CREATE FUNCTION runops._create_parent(relation regclass, key text, aliases name[]) RETURNS regclass
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parent text;
	ddl text;
BEGIN
	SELECT format('%I.%I', n.nspname, 'runops_attach_' || c.oid) INTO STRICT parent
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = relation;

	EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING GENERATED '
				   'INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS) '
				   'PARTITION BY LIST (%s)', parent, relation,
				   (runops._key_expression(relation, key, false)).store);

	FOR ddl IN
		SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', parent, c.conname, pg_get_constraintdef(c.oid))
			|| format('; COMMENT ON CONSTRAINT %I ON %s IS %L', c.conname, parent, obj_description(c.oid, 'pg_constraint'))
		FROM pg_constraint c
		WHERE c.conrelid = relation AND c.contype = 'c' AND NOT c.connoinherit
			AND NOT EXISTS (SELECT FROM runops._leaf_checks(relation, key, aliases) l WHERE l.name = c.conname)
		UNION ALL
		SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', parent, l.name, l.def)
		FROM runops._leaf_checks(relation, key, aliases) l WHERE l.alias IS NOT NULL
		UNION ALL
		SELECT format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', parent, a.attname, a.attstattarget)
		FROM pg_attribute a
		WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0
		UNION ALL
		SELECT format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', parent, a.attname, string_agg(o, ', '))
		FROM pg_attribute a, unnest(a.attoptions) o
		WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND o NOT LIKE 'pg\_%'
		GROUP BY a.attname
		UNION ALL
		SELECT format('ALTER TABLE %s REPLICA IDENTITY %s', parent, CASE c.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END)
		FROM pg_class c WHERE c.oid = relation AND c.relreplident IN ('f', 'n')
	LOOP
		EXECUTE ddl;
	END LOOP;

	RETURN parent::regclass;
END
$$;

/*
 * Add the CHECK constraints of the legacy leaf that the table does not have yet.
 * One command checks the rows for all of them in one scan.
 */
CREATE FUNCTION runops._add_checks(relation regclass, key text, aliases name[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	actions text;
BEGIN
	-- prepare_attach may have added some without validating them.
	SELECT string_agg(CASE WHEN runops._has_check(relation, l.name, l.def || ' NOT VALID')
						   THEN format('VALIDATE CONSTRAINT %I', l.name)
						   ELSE format('ADD CONSTRAINT %I %s', l.name, l.def) END, ', ') INTO actions
	FROM runops._leaf_checks(relation, key, aliases) l
	WHERE NOT runops._has_check(relation, l.name, l.def);
	IF actions IS NOT NULL THEN
		PERFORM runops._progress_phase('attach', 'checking rows under the lock', relation, runops._table_blocks(relation));
		EXECUTE format('ALTER TABLE %s %s', relation, actions);
		PERFORM runops._progress_end();
	END IF;
EXCEPTION WHEN check_violation THEN
	PERFORM runops._check_rows(relation, key, aliases);
	RAISE;
END
$$;

/*
 * Move the table and its indexes into the schema of the leaves, or of the old
 * tables, under names that are unused there.  Returns what detach needs to undo
 * this.
 */
CREATE FUNCTION runops._move_to_leaf_schema(relation regclass) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	store CONSTANT text := runops._old_table_store();
	leaf_schema CONSTANT name := runops._leaf_schema(store);
	leaf_name CONSTANT name := runops._new_leaf_name(store, relation);
	i record;
	new_name name;
	renamed jsonb := '{}';
BEGIN
	FOR i IN
		SELECT x.indexrelid::regclass AS index, c.relname, (n.nspname || '.' || c.relname)::name AS new_name
		FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE x.indrelid = relation
			AND to_regclass(format('%I.%I', leaf_schema, c.relname)) IS NOT NULL
	LOOP
		EXECUTE format('ALTER INDEX %s RENAME TO %I', i.index, i.new_name);
		renamed := renamed || jsonb_build_object(i.new_name, i.relname);
	END LOOP;
	IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relname = leaf_name) THEN
		EXECUTE format('ALTER TABLE %s RENAME TO %I', relation, leaf_name);
	END IF;
	PERFORM runops._own_step('move_leaf', jsonb_build_object('relation', relation::oid, 'store', store));

	RETURN jsonb_build_object('indexes', renamed);
END
$$;

-- Give a routed table the primary key of its old table, if it holds for all stores; see src/setup/routed_key.c.
CREATE FUNCTION runops._make_key(relation regclass, name name) RETURNS boolean
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_make_key';

-- Has a routed table no primary key, though that of its old table holds for all stores?
CREATE FUNCTION runops._lacks_key(relation regclass) RETURNS boolean
	LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_lacks_key';

/*
 * Put the parent in the place of the table.  The caller holds the lock and has
 * made the checks.
 */
CREATE FUNCTION runops._attach(relation regclass, key text, aliases name[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	old pg_class;
	parent regclass;
	definitions text[];
	publications record;
	released jsonb;
	saved jsonb;
	primary_key name;
	ddl text;
BEGIN
	SELECT * INTO STRICT old FROM pg_class WHERE oid = relation;
	SELECT c.conname INTO primary_key FROM pg_constraint c WHERE c.conrelid = relation AND c.contype = 'p';

	released := runops._release_references(relation);
	SELECT array_agg(d) INTO definitions FROM runops._definitions(relation, false) d;
	SELECT * INTO publications FROM runops._publish_via_root(relation);
	definitions := definitions || runops._leave_publications(relation, publications.movable);
	FOR ddl IN
		SELECT format('DROP TRIGGER %I ON %s', t.tgname, relation)
		FROM pg_trigger t WHERE t.tgrelid = relation AND NOT t.tgisinternal AND t.tgtype & 1 = 0
	LOOP
		EXECUTE ddl;
	END LOOP;

	PERFORM runops._add_checks(relation, key, aliases);
	parent := runops._create_parent(relation, key, aliases);
	IF old.relowner <> current_user::regrole THEN
		EXECUTE format('ALTER TABLE %s OWNER TO %I', parent, pg_get_userbyid(old.relowner));
	END IF;
	PERFORM runops._carry_sequences(relation, parent);

	saved := runops._move_to_leaf_schema(relation)
		|| jsonb_build_object('publications', to_jsonb(publications.changed));
	EXECUTE format('ALTER TABLE %s RENAME TO %I', parent, old.relname);
	-- An old table that is not the legacy leaf stays empty, because no id matches its
	-- bound.  As a partition it follows ALTER TABLE and CREATE INDEX of the parent.
	EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES IN (%s)', parent, relation,
				   CASE runops._old_table_store() WHEN 'legacy' THEN '''legacy'', NULL' ELSE '''none''' END);
	EXECUTE format('ALTER TABLE %s DROP CONSTRAINT runops_store', relation);
	PERFORM runops._spread_identity(relation);
	PERFORM runops._make_key(parent, primary_key);

	FOREACH ddl IN ARRAY definitions LOOP
		EXECUTE ddl;
	END LOOP;
	PERFORM runops._carry_privileges(relation, parent);
	PERFORM runops._carry_statistics(relation, parent);

	PERFORM runops._insert_config('table_config', jsonb_build_object(
		'relation', parent::oid, 'leaf', relation::oid, 'key', key, 'aliases', aliases, 'saved', saved));
	PERFORM runops._own_step('create_leaf', jsonb_build_object('relation', parent::oid, 'store', c.store))
	FROM runops.store_config c WHERE c.server IS NOT NULL ORDER BY c.store;
	PERFORM runops._resume_references(released, relation, parent);
END
$$;

/* Raise if attach would read a large table under its lock. */
CREATE FUNCTION runops._check_prepared(relation regclass, key text, aliases name[], force boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF EXISTS (SELECT FROM runops._leaf_checks(relation, key, aliases) l WHERE NOT runops._has_check(relation, l.name, l.def)) THEN
		PERFORM runops._check_scan(relation, force, format('runops.prepare_attach(%L, %L, %L)', relation, key, aliases));
	END IF;
END
$$;

CREATE FUNCTION runops.attach(relation regclass, key text, aliases name[] DEFAULT '{}', lock_timeout interval DEFAULT '5 s',
							  force boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	old_timeout text;
BEGIN
	-- Check and report as much as possible before taking locks.
	PERFORM runops._check_target(relation);
	PERFORM runops._check_key(relation, key, aliases);
	PERFORM runops._check_rights(relation);
	PERFORM runops._check_prepared(relation, key, aliases, force);
	PERFORM runops._progress_phase('attach', 'looking for rows of other stores', relation, runops._table_blocks(relation));
	PERFORM runops._check_rows(relation, key, aliases);
	PERFORM runops._progress_end();
	PERFORM runops._report_changes(relation, key, aliases);
	PERFORM runops._report_bound(relation);

	old_timeout := runops._limit_lock_wait(lock_timeout);
	PERFORM runops._topology_lock();
	PERFORM runops._lock_table(relation);

	-- The table may have changed before it was locked.  The constraints that
	-- _add_checks adds check its rows again.
	PERFORM runops._check_target(relation);
	PERFORM runops._check_key(relation, key, aliases);
	PERFORM runops._check_empty(relation);
	PERFORM runops._check_prepared(relation, key, aliases, force);
	PERFORM runops._attach(relation, key, aliases);

	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.attach(regclass, text, name[], interval, boolean) IS
	'routes a table by its key, in place; the table keeps its rows and becomes the leaf of store legacy';

REVOKE EXECUTE ON FUNCTION
	runops._carry_privileges(regclass, regclass),
	runops._carry_sequences(regclass, regclass),
	runops._spread_identity(regclass),
	runops._carry_statistics(regclass, regclass),
	runops._definitions(regclass, boolean),
	runops._leave_publications(regclass, name[]),
	runops._publish_via_root(regclass),
	runops._create_parent(regclass, text, name[]),
	runops._add_checks(regclass, text, name[]),
	runops._move_to_leaf_schema(regclass),
	runops._make_key(regclass, name),
	runops._lacks_key(regclass),
	runops._attach(regclass, text, name[]),
	runops._check_prepared(regclass, text, name[], boolean),
	runops.attach(regclass, text, name[], interval, boolean)
FROM PUBLIC;
