
-- invalidation of the cache: by hand, and by the writes of watched tables

CREATE FUNCTION runops.invalidate_environment(id text) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_invalidate_environment';
CREATE FUNCTION runops.invalidate_organization(id text) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_invalidate_organization';

COMMENT ON FUNCTION runops.invalidate_environment(text) IS 'when this transaction commits, forget what resolvers have read of an environment';
COMMENT ON FUNCTION runops.invalidate_organization(text) IS 'when this transaction commits, forget what resolvers have read of an organization';
REVOKE EXECUTE ON FUNCTION runops.invalidate_environment(text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION runops.invalidate_organization(text) FROM PUBLIC;

CREATE FUNCTION runops._watch() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_watch_trigger';
REVOKE EXECUTE ON FUNCTION runops._watch() FROM PUBLIC;
CREATE FUNCTION runops._watch_arguments(tgargs bytea) RETURNS text[]
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_watch_arguments';

-- A watch is its triggers: they go with the table, and come back with its dump.
CREATE VIEW runops.watches AS
SELECT t.tgrelid::pg_catalog.regclass AS relation,
	nullif(a.args[1], '')::name AS environment_column,
	nullif(a.args[2], '')::name AS organization_column,
	CASE WHEN pg_catalog.cardinality(a.args) OPERATOR(pg_catalog.>) 2 THEN a.args[3:] END AS slots,
	t.tgenabled OPERATOR(pg_catalog.<>) 'D' AS enabled
FROM pg_catalog.pg_trigger t, LATERAL (SELECT runops._watch_arguments(t.tgargs)) a(args)
WHERE t.tgfoid OPERATOR(pg_catalog.=) 'runops._watch()'::pg_catalog.regprocedure
	AND t.tgparentid OPERATOR(pg_catalog.=) 0
	AND t.tgtype::integer OPERATOR(pg_catalog.&) 1 OPERATOR(pg_catalog.=) 1;
COMMENT ON VIEW runops.watches IS 'tables whose writes invalidate the cache of resolvers';
GRANT SELECT ON runops.watches TO PUBLIC;

/* Raise unless the relation can be watched by these columns. */
CREATE FUNCTION runops._check_watch(relation regclass, columns name[], slots text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing text;
BEGIN
	IF relation IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'the relation to watch must not be null';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('cannot watch relation %s', relation),
			DETAIL = 'Only tables, partitioned tables and foreign tables can be watched, and no temporary ones.',
			HINT = 'Watch the tables that it is made of.';
	END IF;
	SELECT u.c INTO missing FROM unnest(columns) u(c)
	WHERE u.c IS NOT NULL AND NOT EXISTS (
		SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = u.c AND a.attnum > 0 AND NOT a.attisdropped)
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_column',
			MESSAGE = format('column "%s" of relation %s does not exist', missing, relation);
	END IF;
	IF cardinality(slots) = 0 OR array_position(slots, NULL) IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'the slots of a watch must be named',
			HINT = 'Leave them out for all slots.';
	END IF;
	SELECT u.s INTO missing FROM unnest(slots) u(s)
	WHERE NOT EXISTS (SELECT FROM runops.resolvers r WHERE r.slot = u.s)
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('resolver "%s" does not exist', missing),
			HINT = 'Register it first with runops.add_resolver().';
	END IF;
END
$$;

/*
 * Watch a table.
 *
 * A row trigger for its writes and a statement trigger for TRUNCATE, both
 * ENABLE ALWAYS, so that rows that logical replication applies are seen too.
 */
CREATE FUNCTION runops.watch(relation regclass, environment_column name DEFAULT NULL,
	organization_column name DEFAULT NULL, slots text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	arguments text;
	digest text;
	before text;
	-- there is no LOCK TABLE for a foreign table, and not on every server a trigger
	-- for its TRUNCATE: the library sees to that
	is_foreign CONSTANT boolean := EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relkind = 'f');
BEGIN
	PERFORM runops._check_watch(relation, ARRAY[environment_column, organization_column], slots);
	SELECT string_agg(quote_literal(u.a), ', ' ORDER BY u.n) INTO arguments
	FROM unnest(ARRAY[coalesce(environment_column, ''), coalesce(organization_column, '')]::text[] || slots)
		WITH ORDINALITY u(a, n);
	digest := substr(md5(arguments), 1, 16);
	before := runops._limit_lock_wait();
	IF NOT is_foreign THEN
		PERFORM runops._lock_table(relation, 'SHARE ROW EXCLUSIVE');
	END IF;
	IF EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = relation AND t.tgname = 'runops_watch_' || digest) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('relation %s is watched by these columns for these slots already', relation);
	END IF;

	EXECUTE format('CREATE TRIGGER runops_watch_%s AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION runops._watch(%s)',
		digest, relation, arguments);
	EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER runops_watch_%s', relation, digest);
	IF NOT is_foreign THEN
		EXECUTE format('CREATE TRIGGER runops_watch_all_%s AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION runops._watch(%s)',
			digest, relation, arguments);
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER runops_watch_all_%s', relation, digest);
	END IF;
	PERFORM set_config('lock_timeout', before, true);
END
$$;

/* Watch a table no more, by whatever columns it was. */
CREATE FUNCTION runops.unwatch(relation regclass, if_exists boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	before text;
	name name;
	found_one boolean := false;
BEGIN
	before := runops._limit_lock_wait();
	FOR name IN
		SELECT t.tgname FROM pg_trigger t
		WHERE t.tgrelid = relation AND t.tgfoid = 'runops._watch()'::regprocedure AND t.tgparentid = 0
	LOOP
		IF NOT found_one AND EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relkind <> 'f') THEN
			PERFORM runops._lock_table(relation);
		END IF;
		found_one := true;
		EXECUTE format('DROP TRIGGER %I ON %s', name, relation);
	END LOOP;
	PERFORM set_config('lock_timeout', before, true);
	IF NOT found_one THEN
		IF NOT if_exists THEN
			RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('relation %s is not watched', relation);
		END IF;
		RAISE NOTICE USING MESSAGE = format('relation %s is not watched, skipping', relation);
	END IF;
END
$$;

COMMENT ON FUNCTION runops.watch(regclass, name, name, text[]) IS 'let the writes of a table invalidate what resolvers have read';
COMMENT ON FUNCTION runops.unwatch(regclass, boolean) IS 'watch a table no more';
REVOKE EXECUTE ON FUNCTION runops.watch(regclass, name, name, text[]) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION runops.unwatch(regclass, boolean) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION runops._check_watch(regclass, name[], text[]) FROM PUBLIC;
