/*
 * Reads by id that report where a row was found, or why it was not found.
 */

-- How long legacy rows are kept before another program deletes them.
CREATE TABLE runops.retention_config (
	relation regclass NOT NULL PRIMARY KEY,
	keep interval NOT NULL CHECK (keep >= '0')
);
SELECT pg_catalog.pg_extension_config_dump('runops.retention_config', '');
CREATE TRIGGER retention_config_deleted AFTER DELETE ON runops.table_config
	FOR EACH ROW EXECUTE FUNCTION runops._config_deleted('retention_config', 'relation', 'relation');
COMMENT ON TABLE runops.retention_config IS 'retention of legacy rows, as set_retention recorded it';

CREATE VIEW runops.retentions AS
SELECT relation, keep FROM runops.retention_config;
COMMENT ON VIEW runops.retentions IS 'how long the legacy rows of routed tables are kept';
GRANT SELECT ON runops.retentions TO PUBLIC;

/* Raise unless the table is routed. */
CREATE FUNCTION runops._require_routed(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF relation IS NULL OR NOT EXISTS (SELECT FROM runops.table_config c WHERE c.relation = _require_routed.relation) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('table %s is not routed', coalesce(relation::text, 'NULL')),
			DETAIL = 'The view "runops.routed_tables" lists the routed tables.',
			HINT = 'Use runops.attach() to route it.';
	END IF;
END
$$;

CREATE FUNCTION runops.set_retention(relation regclass, keep interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM runops._require_routed(relation);
	IF keep < '0' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'keep must not be negative',
			DETAIL = 'It is how long a row is kept after its id was minted.',
			HINT = 'Use NULL for rows that are kept forever.';
	END IF;

	PERFORM runops._delete_config('retention_config', jsonb_build_object('relation', relation::oid));
	IF keep IS NOT NULL THEN
		PERFORM runops._insert_config('retention_config', jsonb_build_object('relation', relation::oid, 'keep', keep));
	END IF;
END
$$;
COMMENT ON FUNCTION runops.set_retention(regclass, interval) IS
	'sets how long legacy rows are kept, so that a read can distinguish an expired row from a row that never existed; NULL means forever';

CREATE FUNCTION runops.read_through(relation regclass, id text, scope jsonb DEFAULT NULL)
	RETURNS TABLE (source text, "row" jsonb)
	LANGUAGE c STABLE PARALLEL UNSAFE ROWS 1
	AS 'MODULE_PATHNAME', 'runops_read_through';
COMMENT ON FUNCTION runops.read_through(regclass, text, jsonb) IS
	'reads a row by its primary key or a unique alias, and reports where it was found or why it was not found; returns exactly one row';

CREATE FUNCTION runops.read_many(relation regclass, ids text[])
	RETURNS TABLE (ord bigint, id text, source text, "row" jsonb)
	LANGUAGE c STABLE STRICT PARALLEL UNSAFE ROWS 100
	AS 'MODULE_PATHNAME', 'runops_read_many';
COMMENT ON FUNCTION runops.read_many(regclass, text[]) IS
	'reads rows by id; returns one row for each element, in order; sends at most one statement to each store';

CREATE FUNCTION runops.read_page(relation regclass, scope jsonb, sort name, page_size int,
								 after jsonb DEFAULT NULL, descending boolean DEFAULT true)
	RETURNS TABLE ("cursor" jsonb, "row" jsonb)
	LANGUAGE c STABLE PARALLEL UNSAFE ROWS 100
	AS 'MODULE_PATHNAME', 'runops_read_page';
COMMENT ON FUNCTION runops.read_page(regclass, jsonb, name, int, jsonb, boolean) IS
	'reads a page of rows in one order over all stores; each row has the cursor for the page after it';

CREATE FUNCTION runops.read_run_for_event(relation regclass, id text,
										  environment_column name DEFAULT 'runtimeEnvironmentId', slot text DEFAULT 'environment')
	RETURNS TABLE (outcome text, run jsonb, environment jsonb)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1
	AS 'MODULE_PATHNAME', 'runops_read_run_for_event';
COMMENT ON FUNCTION runops.read_run_for_event(regclass, text, name, text) IS
	'reads a run and resolves its environment, and reports which of them is missing; returns exactly one row';

REVOKE EXECUTE ON FUNCTION
	runops._require_routed(regclass),
	runops.set_retention(regclass, interval)
FROM PUBLIC;
