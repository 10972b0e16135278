/*
 * Claims: one authority for the uniqueness of a key, whichever store its row
 * goes to.
 */

-- Written by the functions alone; see src/integrity/claims.c.  A dump carries it: a key
-- that was claimed is claimed in the copy.
CREATE TABLE runops.claim_entry (
	scope text COLLATE "C" NOT NULL,
	key text COLLATE "C" NOT NULL,
	id text COLLATE "C" NOT NULL,
	claimed_at timestamptz NOT NULL,
	expires_at timestamptz,
	PRIMARY KEY (scope, key)
);
-- Finds what has expired; a new row costs next to nothing.
CREATE INDEX claim_entry_expires_at ON runops.claim_entry USING brin (expires_at);
SELECT pg_catalog.pg_extension_config_dump('runops.claim_entry', '');
COMMENT ON TABLE runops.claim_entry IS 'claims, as claim has made them';

CREATE VIEW runops.claims AS
SELECT scope, key, id, claimed_at, expires_at FROM runops.claim_entry;
COMMENT ON VIEW runops.claims IS 'claims on keys, with the id that each key belongs to; keys are users'' data';

CREATE FUNCTION runops.claim(scope text, key text, id text,
							 ttl interval DEFAULT '30 days', wait interval DEFAULT '5 s',
							 OUT claimed boolean, OUT id text, OUT claimed_at timestamptz)
	RETURNS record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_claim';
COMMENT ON FUNCTION runops.claim(text, text, text, interval, interval) IS
	'makes a key an id''s unless it is another''s, and says whose it is; waits for transactions that have claimed it';

CREATE FUNCTION runops.release_claim(scope text, key text, id text) RETURNS boolean
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_release_claim';
COMMENT ON FUNCTION runops.release_claim(text, text, text) IS 'gives a key up if it is this id''s; was it?';

/*
 * Delete claims that have expired.
 *
 * Rows that somebody holds are left for the next time, so that nobody waits;
 * but who claims a key of one that was deleted here waits for the end of this
 * transaction.
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
			DETAIL = 'It bounds the rows that one call deletes.',
			HINT = 'Call the function again until it returns less.';
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
COMMENT ON FUNCTION runops.prune_claims(int) IS 'deletes claims that have expired, at most so many; returns how many';

REVOKE EXECUTE ON FUNCTION runops.prune_claims(int) FROM PUBLIC;
