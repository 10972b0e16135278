
-- invalidation of the cache: by function calls, and by writes to watched tables

CREATE FUNCTION runops.invalidate_environment(id text) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_invalidate_environment';
CREATE FUNCTION runops.invalidate_organization(id text) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_invalidate_organization';

COMMENT ON FUNCTION runops.invalidate_environment(text) IS 'removes the cached values of an environment when this transaction commits';
COMMENT ON FUNCTION runops.invalidate_organization(text) IS 'removes the cached values of an organization when this transaction commits';
REVOKE EXECUTE ON FUNCTION runops.invalidate_environment(text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION runops.invalidate_organization(text) FROM PUBLIC;

CREATE FUNCTION runops._watch() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_watch_trigger';
REVOKE EXECUTE ON FUNCTION runops._watch() FROM PUBLIC;
CREATE FUNCTION runops._watch_arguments(tgargs bytea) RETURNS text[]
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_watch_arguments';

-- A watch consists of its triggers, so it is dropped, dumped and restored with the table.
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
COMMENT ON VIEW runops.watches IS 'tables to which writes invalidate the cache of resolvers';
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
			DETAIL = 'Only permanent tables, partitioned tables and foreign tables can be watched.',
			HINT = 'Watch the underlying tables.';
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
			MESSAGE = 'the list of slots must not be empty or contain NULL',
			HINT = 'Omit the argument to watch for all slots.';
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
 * The watch is a row trigger for writes and a statement trigger for TRUNCATE.
 * Both are ENABLE ALWAYS, so that they also fire for rows that logical replication
 * applies.
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
	-- A foreign table does not support LOCK TABLE, and some server versions have no
	-- trigger for its TRUNCATE.  The library handles its TRUNCATE.
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
			MESSAGE = format('relation %s is already watched by these columns for these slots', relation);
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

/* Stop watching a table: drop all its watches. */
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

COMMENT ON FUNCTION runops.watch(regclass, name, name, text[]) IS 'makes writes to a table invalidate the cached values of resolvers';
COMMENT ON FUNCTION runops.unwatch(regclass, boolean) IS 'drops all watches of a table';
REVOKE EXECUTE ON FUNCTION runops.watch(regclass, name, name, text[]) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION runops.unwatch(regclass, boolean) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION runops._check_watch(regclass, name[], text[]) FROM PUBLIC;
