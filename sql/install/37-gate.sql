
-- the gate: its records, and the function that asks the stores again

/*
 * The control plane that first proved each store distinct.  Every copy has this
 * record but another identity, so its gate stays closed: a dump contains the
 * table, and so does a copy of the data directory.
 *
 * "replaces" is the claim of the record in the store that is to be replaced, and
 * "accepted" tells whether somebody has said so; see src/gate/owner.c.
 */
CREATE TABLE runops.store_identity (
	store text NOT NULL PRIMARY KEY,
	system_identifier bigint NOT NULL,
	database name NOT NULL,
	place text NOT NULL,
	timeline bigint NOT NULL,
	replaces bigint,
	accepted boolean NOT NULL,
	recorded_at timestamptz NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('runops.store_identity', '');
CREATE TRIGGER store_identity_deleted AFTER DELETE ON runops.store_config
	FOR EACH ROW EXECUTE FUNCTION runops._config_deleted('store_identity', 'store', 'store');

COMMENT ON TABLE runops.store_identity IS 'identity of the control plane when each store was first proved distinct';

/*
 * The stores that are known to hold rows of a table.  A server with the flag off
 * has no other source for this, because it does not ask the stores.  The table is
 * written by gate/hidden_rows.c, which may leave duplicate rows.  A dump contains
 * it, as it contains the list of stores.
 */
CREATE TABLE runops.held_rows (
	store text NOT NULL,
	relation regclass NOT NULL,
	noted_at timestamptz NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('runops.held_rows', '');
CREATE TRIGGER held_rows_deleted AFTER DELETE ON runops.store_config
	FOR EACH ROW EXECUTE FUNCTION runops._config_deleted('held_rows', 'store', 'store');
CREATE TRIGGER held_rows_deleted AFTER DELETE ON runops.table_config
	FOR EACH ROW EXECUTE FUNCTION runops._config_deleted('held_rows', 'relation', 'relation');

-- the table has no key, and deletes must not fail if a publication contains all tables
ALTER TABLE runops.held_rows REPLICA IDENTITY FULL;

GRANT SELECT ON runops.held_rows TO PUBLIC;
COMMENT ON TABLE runops.held_rows IS 'stores to which rows of a table were written; kept until the store is dropped or the table is detached';

-- the doctor checks whether a record exists, and does not read its other columns
GRANT SELECT (store) ON runops.store_identity TO PUBLIC;

CREATE FUNCTION runops._gate_require(store text) RETURNS void
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_gate_require_sql';

REVOKE EXECUTE ON FUNCTION runops._gate_require(text) FROM PUBLIC;

CREATE FUNCTION runops.recheck(store text DEFAULT NULL, accept_new_identity boolean DEFAULT false)
	RETURNS TABLE (store text, verdict text, reason text, checked_at timestamptz)
	LANGUAGE C VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_recheck';

COMMENT ON FUNCTION runops.recheck(text, boolean) IS 'asks the servers of one store, or of all stores, whether they are distinct';
REVOKE EXECUTE ON FUNCTION runops.recheck(text, boolean) FROM PUBLIC;
