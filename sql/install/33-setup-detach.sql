/*
 * Detach: the legacy leaf becomes a plain table again.  It takes the name and the
 * properties of the routed table.
 */

-- ALTER TABLE parent DETACH PARTITION leaf, without a check that would fail; see src/setup/catalog_transfer.c.
CREATE FUNCTION runops._detach_partition(parent regclass, leaf regclass) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_detach_partition';

/* Raise unless the relation is a routed table that the caller owns and that can be detached. */
CREATE FUNCTION runops._check_routed(relation regclass) RETURNS runops.table_config
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	config runops.table_config;
	dependents text;
BEGIN
	SELECT * INTO config FROM runops.table_config t WHERE t.relation = _check_routed.relation;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('table %s is not routed', coalesce(relation::text, 'NULL')),
			DETAIL = 'The function runops.attach was not called for this table.',
			HINT = 'The view "runops.routed_tables" lists the routed tables.';
	END IF;
	IF NOT pg_has_role((SELECT c.relowner FROM pg_class c WHERE c.oid = config.relation), 'USAGE') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('must be owner of table %s', relation),
			DETAIL = 'Only the owner of a table may change how it is stored.',
			HINT = 'Run this as the owner of the table or as a superuser.';
	END IF;

	SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid::regclass::text) INTO dependents
	FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent = config.relation AND i.inhrelid <> config.leaf AND c.relkind <> 'f';
	IF dependents IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'dependent_objects_still_exist',
			MESSAGE = format('cannot detach %s because it has partitions that are not leaves of a store', relation),
			DETAIL = format('These partitions would be dropped with their rows: %s.', dependents),
			HINT = 'Use ALTER TABLE ... DETACH PARTITION for each of these partitions.';
	END IF;

	SELECT string_agg(what, ', ' ORDER BY what) INTO dependents FROM runops._bound_objects(relation) what;
	IF dependents IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'dependent_objects_still_exist',
			MESSAGE = format('cannot detach %s because other objects depend on it', relation),
			DETAIL = format('These objects refer to the routed table and not to its name: %s.', dependents),
			HINT = 'Drop these objects, and create them again after the table is detached.';
	END IF;
	RETURN config;
END
$$;

/* The foreign leaves of a routed table. */
CREATE FUNCTION runops._foreign_leaves(relation regclass) RETURNS regclass[]
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(array_agg(i.inhrelid::regclass ORDER BY i.inhrelid), '{}')
	FROM pg_inherits i JOIN pg_foreign_table f ON f.ftrelid = i.inhrelid
	WHERE i.inhparent = relation
$$;

/*
 * Remove from the leaf the constraints that it has as a leaf, and replace the
 * properties that are newer on the parent.
 */
CREATE FUNCTION runops._strip_leaf(config runops.table_config) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ddl text;
BEGIN
	FOR ddl IN
		SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', config.leaf, c.conname)
		FROM pg_constraint c
		WHERE c.conrelid = config.leaf AND c.contype = 'c'
			AND c.conname IN (SELECT ('runops_alias_' || a)::name FROM unnest(config.aliases) a)
		UNION ALL
		SELECT format('DROP POLICY %I ON %s', p.polname, config.leaf)
		FROM pg_policy p WHERE p.polrelid = config.leaf
		UNION ALL
		SELECT format('COMMENT ON COLUMN %s.%I IS %L', config.leaf, l.attname, col_description(p.attrelid, p.attnum))
		FROM pg_attribute p JOIN pg_attribute l ON l.attname = p.attname
		WHERE p.attrelid = config.relation AND l.attrelid = config.leaf AND p.attnum > 0 AND NOT p.attisdropped
			AND col_description(p.attrelid, p.attnum) IS DISTINCT FROM col_description(l.attrelid, l.attnum)
		UNION ALL
		SELECT format('COMMENT ON CONSTRAINT %I ON %s IS %L', l.conname, config.leaf, obj_description(p.oid, 'pg_constraint'))
		FROM pg_constraint p JOIN pg_constraint l USING (conname, contype)
		WHERE p.conrelid = config.relation AND l.conrelid = config.leaf AND p.contype = 'c'
			AND p.conname NOT IN (SELECT ('runops_alias_' || a)::name FROM unnest(config.aliases) a)
			AND obj_description(p.oid, 'pg_constraint') IS DISTINCT FROM obj_description(l.oid, 'pg_constraint')
		UNION ALL
		SELECT format('ALTER TABLE %s ALTER %I %s', config.leaf, l.attname,
					  coalesce('SET DEFAULT ' || pg_get_expr(pd.adbin, pd.adrelid), 'DROP DEFAULT'))
		FROM pg_attribute p JOIN pg_attribute l ON l.attname = p.attname
		LEFT JOIN pg_attrdef pd ON pd.adrelid = p.attrelid AND pd.adnum = p.attnum
		LEFT JOIN pg_attrdef ld ON ld.adrelid = l.attrelid AND ld.adnum = l.attnum
		WHERE p.attrelid = config.relation AND l.attrelid = config.leaf AND p.attnum > 0
			AND NOT p.attisdropped AND p.attgenerated = ''
			AND pg_get_expr(pd.adbin, pd.adrelid) IS DISTINCT FROM pg_get_expr(ld.adbin, ld.adrelid)
	LOOP
		EXECUTE ddl;
	END LOOP;
END
$$;

/*
 * Give the leaf the name and the schema of the parent, which gets a temporary
 * name.  Give the indexes of the leaf the names of the parent's indexes, or the
 * names that they had before attach changed them.
 */
CREATE FUNCTION runops._move_from_leaf_schema(config runops.table_config, index_names jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	nsp name;
	rel name;
	ddl text;
BEGIN
	SELECT n.nspname, c.relname INTO STRICT nsp, rel
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = config.relation;

	EXECUTE format('ALTER TABLE %s RENAME TO %I', config.relation, 'runops_detach_' || config.relation::oid);
	EXECUTE format('ALTER TABLE %s SET SCHEMA %I', config.leaf, nsp);
	IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = config.leaf AND c.relname = rel) THEN
		EXECUTE format('ALTER TABLE %s RENAME TO %I', config.leaf, rel);
	END IF;
	FOR ddl IN
		SELECT format('ALTER INDEX %s RENAME TO %I', x.indexrelid::regclass, n.name)
		FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid,
			-- an index that was created later may have got the name of the schema in front
			coalesce(index_names ->> x.indexrelid::oid::text, config.saved -> 'indexes' ->> c.relname,
					 CASE WHEN starts_with(c.relname, nsp || '.') AND octet_length(c.relname::text) < 63
						  THEN substr(c.relname, length(nsp) + 2) END) AS n (name)
		WHERE x.indrelid = config.leaf AND n.name <> c.relname
			AND to_regclass(format('%I.%I', nsp, n.name)) IS NULL
	LOOP
		EXECUTE ddl;
	END LOOP;
END
$$;

/*
 * Detach the leaf from the parent, and drop the indexes of the parent.  Returns
 * the names of those indexes, by the OID of the index of the leaf under each.
 */
CREATE FUNCTION runops._part_from_parent(config runops.table_config) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names jsonb;
	ddl text;
BEGIN
	SELECT coalesce(jsonb_object_agg(l.indexrelid::oid, c.relname), '{}') INTO names
	FROM pg_index p JOIN pg_class c ON c.oid = p.indexrelid
	JOIN pg_index l ON l.indrelid = config.leaf
		AND (p.indisprimary AND l.indisprimary
			 OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = l.indexrelid AND i.inhparent = p.indexrelid))
	WHERE p.indrelid = config.relation;

	PERFORM runops._detach_partition(config.relation, config.leaf);
	FOR ddl IN
		SELECT CASE WHEN p.indisprimary
			THEN (SELECT format('ALTER TABLE ONLY %s DROP CONSTRAINT %I', config.relation, c.conname) FROM pg_constraint c WHERE c.conindid = p.indexrelid AND c.contype = 'p')
			ELSE format('DROP INDEX %s', p.indexrelid::regclass) END
		FROM pg_index p WHERE p.indrelid = config.relation
	LOOP
		EXECUTE ddl;
	END LOOP;
	RETURN names;
END
$$;

/* Put the leaf in the place of the parent.  The caller holds the lock and has made the checks. */
CREATE FUNCTION runops._detach(config runops.table_config) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	definitions text[];
	publications text[];
	released jsonb;
	foreign_leaf regclass;
	index_names jsonb;
	owner name;
	ddl text;
BEGIN
	released := runops._release_references(config.relation);
	PERFORM runops.drop_unique(u.relation, u.name) FROM runops.unique_keys u WHERE u.relation = config.relation;
	SELECT array_agg(d) INTO definitions FROM runops._definitions(config.relation, true) d;
	publications := runops._leave_publications(config.relation);

	-- The relations cannot be dropped while they are recorded as routed.
	PERFORM runops._delete_config('table_config', jsonb_build_object('relation', config.relation::oid));
	FOREACH foreign_leaf IN ARRAY runops._foreign_leaves(config.relation) LOOP
		EXECUTE format('DROP FOREIGN TABLE %s', foreign_leaf);
	END LOOP;
	index_names := runops._part_from_parent(config);

	SELECT pg_get_userbyid(p.relowner) INTO owner
	FROM pg_class p JOIN pg_class l ON l.relowner <> p.relowner
	WHERE p.oid = config.relation AND l.oid = config.leaf;
	IF FOUND THEN
		EXECUTE format('ALTER TABLE %s OWNER TO %I', config.leaf, owner);
	END IF;
	PERFORM runops._strip_leaf(config);
	PERFORM runops._move_from_leaf_schema(config, index_names);
	PERFORM runops._carry_sequences(config.relation, config.leaf);
	PERFORM runops._carry_privileges(config.relation, config.leaf);
	EXECUTE format('DROP TABLE %s', config.relation);

	-- Reset publish_via_partition_root with the last routed table that a publication
	-- names, unless the publication names other partitioned tables by now.
	FOR ddl IN
		SELECT format('ALTER PUBLICATION %I SET (publish_via_partition_root = false)', b.pubname)
		FROM pg_publication b
		WHERE config.saved -> 'publications' ? b.pubname AND b.pubviaroot
			AND NOT EXISTS (SELECT FROM runops.table_config t WHERE t.saved -> 'publications' ? b.pubname)
			AND NOT EXISTS (SELECT FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid
							WHERE r.prpubid = b.oid AND c.relkind = 'p')
	LOOP
		EXECUTE ddl;
	END LOOP;
	FOREACH ddl IN ARRAY definitions || publications LOOP
		EXECUTE ddl;
	END LOOP;
	PERFORM runops._resume_references(released, config.relation, config.leaf);
	PERFORM runops._cascade_triggers(config.leaf)
	FROM pg_trigger t WHERE t.tgrelid = config.leaf AND t.tgfoid = 'runops._cascade_queue_row()'::regprocedure;

	PERFORM runops._own_step('clear', '{}');
END
$$;

CREATE FUNCTION runops.detach(relation regclass, force boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	config runops.table_config := runops._check_routed(relation);
	old_timeout text;
	what CONSTANT text := format('detach %s', relation);
BEGIN
	-- Ask the stores before taking locks, and again when the locks keep writers out.
	IF NOT coalesce(force, false) THEN
		PERFORM runops._require_finished(s, what) FROM unnest(runops._leaf_stores(relation)) s;
		PERFORM runops._require_no_rows(runops._foreign_leaves(relation), what);
	END IF;

	old_timeout := runops._limit_lock_wait();
	PERFORM runops._topology_lock();
	PERFORM runops._lock_table(relation);
	config := runops._check_routed(relation);
	IF NOT coalesce(force, false) THEN
		PERFORM runops._require_finished(s, what) FROM unnest(runops._leaf_stores(relation)) s;
		PERFORM runops._require_no_rows(runops._foreign_leaves(relation), what);
	END IF;

	PERFORM runops._detach(config);

	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.detach(regclass, boolean) IS
	'makes a routed table a plain table again; refuses while other stores hold rows, unless force is true';

REVOKE EXECUTE ON FUNCTION
	runops._detach_partition(regclass, regclass),
	runops._check_routed(regclass),
	runops._foreign_leaves(regclass),
	runops._strip_leaf(runops.table_config),
	runops._part_from_parent(runops.table_config),
	runops._move_from_leaf_schema(runops.table_config, jsonb),
	runops._detach(runops.table_config),
	runops.detach(regclass, boolean)
FROM PUBLIC;
