
-- the gate: what it remembers, and asking again

/*
 * Which control plane has proved a store distinct for the first time.  Not in a
 * dump: whoever restores one says by that where the control plane is.  A copy of
 * the files carries it, and does not fit it.
 */
CREATE TABLE runops.store_identity (
	store text NOT NULL PRIMARY KEY REFERENCES runops.store_config ON DELETE CASCADE,
	system_identifier bigint NOT NULL,
	database name NOT NULL,
	place text NOT NULL,
	recorded_at timestamptz NOT NULL
);

COMMENT ON TABLE runops.store_identity IS 'the control plane, as it was when each store was first proved distinct';

/*
 * Which stores are known to hold rows of which tables: what a server with the
 * flag off has to go by.  Written by gate/hidden_rows.c, which may leave several rows that
 * say the same.  It is in a dump, like the stores themselves.
 */
CREATE TABLE runops.held_rows (
	store text NOT NULL REFERENCES runops.store_config ON DELETE CASCADE,
	relation regclass NOT NULL REFERENCES runops.table_config ON DELETE CASCADE,
	noted_at timestamptz NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('runops.held_rows', '');

-- there is no key, and a publication of all tables must not keep rows from going
ALTER TABLE runops.held_rows REPLICA IDENTITY FULL;

GRANT SELECT ON runops.held_rows TO PUBLIC;
COMMENT ON TABLE runops.held_rows IS 'stores that rows were written to, until the store is dropped or the table detached';

-- the doctor looks whether there is a record, and not what it says
GRANT SELECT (store) ON runops.store_identity TO PUBLIC;

CREATE FUNCTION runops._gate_require(store text) RETURNS void
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_gate_require_sql';

REVOKE EXECUTE ON FUNCTION runops._gate_require(text) FROM PUBLIC;

CREATE FUNCTION runops.recheck(store text DEFAULT NULL, accept_new_identity boolean DEFAULT false)
	RETURNS TABLE (store text, verdict text, reason text, checked_at timestamptz)
	LANGUAGE C VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_recheck';

COMMENT ON FUNCTION runops.recheck(text, boolean) IS 'ask the servers of a store, or of all, whether they are distinct';
REVOKE EXECUTE ON FUNCTION runops.recheck(text, boolean) FROM PUBLIC;
