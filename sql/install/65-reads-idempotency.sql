/*
 * Idempotency: one row for each idempotency key, in any store.
 */

CREATE TABLE runops.idempotency_config (
	relation regclass NOT NULL PRIMARY KEY,
	columns name[] NOT NULL,
	expires name,
	dead_when text
);
SELECT pg_catalog.pg_extension_config_dump('runops.idempotency_config', '');
CREATE TRIGGER idempotency_config_deleted AFTER DELETE ON runops.table_config
	FOR EACH ROW EXECUTE FUNCTION runops._config_deleted('idempotency_config', 'relation', 'relation');
COMMENT ON TABLE runops.idempotency_config IS 'idempotency keys, as add_idempotency recorded them';

CREATE VIEW runops.idempotency_keys AS
SELECT relation, columns, expires, dead_when FROM runops.idempotency_config;
COMMENT ON VIEW runops.idempotency_keys IS 'idempotency keys of routed tables, with their expiry columns and the conditions of dead rows';
GRANT SELECT ON runops.idempotency_keys TO PUBLIC;

-- The text of a condition as core prints it; see src/reads/dead_when.c.
CREATE FUNCTION runops._dead_condition(relation regclass, condition text) RETURNS text
	LANGUAGE c STABLE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_dead_condition';

/* Raise unless "columns" can be the key of the table, and "expires" its expiry column. */
CREATE FUNCTION runops._check_idempotency(relation regclass, columns name[], expires name) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	last CONSTANT name := columns[cardinality(columns)];
	r record;
BEGIN
	IF columns IS NULL OR cardinality(columns) = 0 OR array_ndims(columns) <> 1
	   OR array_position(columns, NULL) IS NOT NULL
	   OR cardinality(columns) <> (SELECT count(DISTINCT c) FROM unnest(columns) c)
	   OR expires = ANY (columns) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'an idempotency key needs one or more different columns',
			DETAIL = 'When the key is cleared, its last column and the expiry column are set to NULL.',
			HINT = 'Pass for example ARRAY[''environmentId'', ''taskIdentifier'', ''idempotencyKey''].';
	END IF;

	FOR r IN
		SELECT c.name, a.attnum, a.attnotnull, a.attgenerated, a.atttypid
		FROM (SELECT unnest(columns) UNION ALL SELECT expires WHERE expires IS NOT NULL) AS c (name)
		LEFT JOIN pg_attribute a ON a.attrelid = relation AND a.attname = c.name
			AND a.attnum > 0 AND NOT a.attisdropped
	LOOP
		IF r.attnum IS NULL THEN
			RAISE EXCEPTION USING
				ERRCODE = 'undefined_column',
				MESSAGE = format('column "%s" of relation %s does not exist', r.name, relation),
				HINT = 'Pass the exact name of the column, without quotes.';
		END IF;
		IF r.name IN (last, expires) AND (r.attnotnull OR r.attgenerated <> '') THEN
			RAISE EXCEPTION USING
				ERRCODE = 'invalid_parameter_value',
				MESSAGE = format('column "%s" of relation %s cannot be set to NULL', r.name, relation),
				DETAIL = 'When the key is cleared, its last column and the expiry column are set to NULL.',
				HINT = 'Pass the column that holds the key as the last one, and drop its NOT NULL constraint.';
		END IF;
		IF r.name = expires AND (SELECT CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END FROM pg_type t WHERE t.oid = r.atttypid)
			NOT IN ('timestamp'::regtype, 'timestamptz'::regtype) THEN
			RAISE EXCEPTION USING
				ERRCODE = 'datatype_mismatch',
				MESSAGE = format('column "%s" of relation %s is not a timestamp', r.name, relation),
				DETAIL = 'The expiry column must have type timestamp or timestamp with time zone.',
				HINT = 'Use dead_when for another rule.';
		END IF;
	END LOOP;
END
$$;

CREATE FUNCTION runops.add_idempotency(relation regclass, columns name[], expires name DEFAULT NULL, dead_when text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM runops._require_routed(relation);
	PERFORM runops._check_idempotency(relation, columns, expires);

	IF NOT runops._insert_config('idempotency_config', jsonb_build_object('relation', relation::oid, 'columns', columns,
			'expires', expires, 'dead_when', runops._dead_condition(relation, dead_when))) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('table %s already has an idempotency key', relation),
			DETAIL = 'The view "runops.idempotency_keys" shows it.',
			HINT = format('Use runops.drop_idempotency(%L) first.', relation);
	END IF;
END
$$;
COMMENT ON FUNCTION runops.add_idempotency(regclass, name[], name, text) IS
	'declares the columns of the idempotency key of a table, its expiry column, and the condition of dead rows';

CREATE FUNCTION runops.drop_idempotency(relation regclass, if_exists boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF coalesce(runops._delete_config('idempotency_config', jsonb_build_object('relation', relation::oid)), 0) = 0 AND if_exists IS NOT TRUE THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('table %s has no idempotency key', coalesce(relation::text, 'NULL')),
			DETAIL = 'The view "runops.idempotency_keys" lists the tables that have one.',
			HINT = 'Pass if_exists => true to ignore a missing key.';
	END IF;
END
$$;
COMMENT ON FUNCTION runops.drop_idempotency(regclass, boolean) IS 'forgets the idempotency key of a table; its rows stay as they are';

CREATE FUNCTION runops.idempotency_store(org text DEFAULT NULL, parent text DEFAULT NULL) RETURNS text
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_idempotency_store';
COMMENT ON FUNCTION runops.idempotency_store(text, text) IS
	'the store that a new row belongs to: the store of its parent, or the store of the next root of an organization';

CREATE FUNCTION runops.find_idempotent(relation regclass, key jsonb, org text DEFAULT NULL, parent text DEFAULT NULL)
	RETURNS TABLE (outcome text, store text, id text, "row" jsonb)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1
	AS 'MODULE_PATHNAME', 'runops_find_idempotent';
COMMENT ON FUNCTION runops.find_idempotent(regclass, jsonb, text, text) IS
	'finds the row of an idempotency key, in any store; clears a key that has expired or whose row is dead';

CREATE FUNCTION runops.reset_idempotency(relation regclass, key jsonb DEFAULT NULL, ids text[] DEFAULT NULL)
	RETURNS TABLE (store text, rows bigint)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 3
	AS 'MODULE_PATHNAME', 'runops_reset_idempotency';
COMMENT ON FUNCTION runops.reset_idempotency(regclass, jsonb, text[]) IS
	'clears an idempotency key in its row, or in the rows with these ids, and releases the claim on it';

REVOKE EXECUTE ON FUNCTION
	runops._dead_condition(regclass, text),
	runops._check_idempotency(regclass, name[], name),
	runops.add_idempotency(regclass, name[], name, text),
	runops.drop_idempotency(regclass, boolean)
FROM PUBLIC;
