
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

CREATE FUNCTION runops.recheck(store text DEFAULT NULL, accept_new_identity boolean DEFAULT false)
	RETURNS TABLE (store text, verdict text, reason text, checked_at timestamptz)
	LANGUAGE C VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_recheck';

COMMENT ON FUNCTION runops.recheck(text, boolean) IS 'ask the servers of a store, or of all, whether they are distinct';
REVOKE EXECUTE ON FUNCTION runops.recheck(text, boolean) FROM PUBLIC;
