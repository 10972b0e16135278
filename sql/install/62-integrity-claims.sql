/*
 * Claims make a key unique over all stores, whichever store its row belongs to.
 */

-- Only the functions write this table; see src/integrity/claims.c.  A dump contains
-- it, so that the claims hold in the restored database, too.
CREATE TABLE runops.claim_entry (
	scope text COLLATE "C" NOT NULL,
	key text COLLATE "C" NOT NULL,
	id text COLLATE "C" NOT NULL,
	claimed_at timestamptz NOT NULL,
	expires_at timestamptz,
	PRIMARY KEY (scope, key)
);
-- Finds expired claims; an insert into a BRIN index is cheap.
CREATE INDEX claim_entry_expires_at ON runops.claim_entry USING brin (expires_at);
SELECT pg_catalog.pg_extension_config_dump('runops.claim_entry', '');
COMMENT ON TABLE runops.claim_entry IS 'claims, as claim recorded them';

CREATE VIEW runops.claims AS
SELECT scope, key, id, claimed_at, expires_at FROM runops.claim_entry;
COMMENT ON VIEW runops.claims IS 'claims on keys, with the id that each key belongs to; keys are data of users';

CREATE FUNCTION runops.claim(scope text, key text, id text,
							 ttl interval DEFAULT '30 days', wait interval DEFAULT '5 s',
							 OUT claimed boolean, OUT id text, OUT claimed_at timestamptz)
	RETURNS record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_claim';
COMMENT ON FUNCTION runops.claim(text, text, text, interval, interval) IS
	'claims a key for an id unless another id has it, and returns the id that has it; waits for transactions that have claimed the key';

CREATE FUNCTION runops.release_claim(scope text, key text, id text) RETURNS boolean
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_release_claim';
COMMENT ON FUNCTION runops.release_claim(text, text, text) IS 'releases a key if it belongs to this id; returns whether it did';

/*
 * Delete claims that have expired.
 *
 * Rows that another session has locked are left for the next call, so this
 * function does not wait.  But a session that claims a key whose row was deleted
 * here waits for the end of this transaction.
 */
CREATE FUNCTION runops.prune_claims(max_rows int DEFAULT 1000) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	pruned bigint;
BEGIN
	IF max_rows IS NULL OR max_rows < 1 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'max_rows must be at least 1',
			DETAIL = 'It limits the rows that one call deletes.',
			HINT = 'To delete more rows, call the function until it returns less than max_rows.';
	END IF;

	DELETE FROM runops.claim_entry e
	WHERE e.ctid = ANY (ARRAY(
		SELECT x.ctid FROM runops.claim_entry x
		WHERE x.expires_at <= statement_timestamp()
		LIMIT max_rows
		FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS pruned = ROW_COUNT;
	RETURN pruned;
END
$$;
COMMENT ON FUNCTION runops.prune_claims(int) IS 'deletes at most max_rows claims that have expired; returns the number of deleted claims';

REVOKE EXECUTE ON FUNCTION runops.prune_claims(int) FROM PUBLIC;
