--
-- integrity_claims: which id has a key.  Races of two sessions are tested in the
-- specs integrity-claim-*.
--
CREATE FUNCTION claim(key text, id text, ttl interval DEFAULT '30 days', wait interval DEFAULT '5 s') RETURNS text
LANGUAGE sql AS $$ SELECT format('%s, %s', c.claimed, c.id) FROM runops.claim('env/task', key, id, ttl, wait) c $$;

-- the first has it, and has it still when it asks again; the second learns whose it is
SELECT claim('k1', 'a');
SELECT claim('k1', 'a');
SELECT claim('k1', 'b');
SELECT a.claimed_at = b.claimed_at AS same_moment, clock_timestamp() - a.claimed_at < '1 min' AS just_now
FROM runops.claim('env/task', 'k1', 'a') a, runops.claim('env/task', 'k1', 'c') b;
-- another scope is another key, and so is what differs in its bytes alone
SELECT claimed, id FROM runops.claim('other', 'k1', 'b');
SELECT claim('K1', 'd');
SELECT claim('', 'e');
SELECT scope, key, id, expires_at - claimed_at AS ttl FROM runops.claims ORDER BY scope, key;

-- compare and delete
SELECT runops.release_claim('env/task', 'k1', 'b');
SELECT claim('k1', 'b');
SELECT runops.release_claim('env/task', 'k1', 'a');
SELECT runops.release_claim('env/task', 'k1', 'a');
SELECT claim('k1', 'b');
SELECT runops.release_claim('env/task', 'none', 'a');

-- a dead winner: one transaction gives its claim up and takes the key
BEGIN;
SELECT runops.release_claim('env/task', 'k1', 'b');
SELECT claim('k1', 'c');
ROLLBACK;
SELECT claim('k1', 'x');
BEGIN;
SELECT runops.release_claim('env/task', 'k1', 'b');
SELECT claim('k1', 'c');
COMMIT;
SELECT claim('k1', 'x');

-- an expired claim can be taken over, also by its own id; then it counts from anew
SELECT claim('k2', 'a', '1 microsecond');
SELECT claim('k2', 'b');
SELECT claim('k2', 'a');
SELECT claim('k3', 'a', '1 microsecond');
SELECT claim('k3', 'a', NULL);
SELECT claim('k3', 'b');
SELECT key, id, expires_at IS NULL AS for_ever FROM runops.claims WHERE key IN ('k2', 'k3') ORDER BY key;
-- asking again does not extend it
SELECT claim('k4', 'a', '1 h');
SELECT claim('k4', 'a', '2 h');
SELECT expires_at - claimed_at AS ttl FROM runops.claims WHERE key = 'k4';

-- within one transaction, and within one statement
BEGIN;
SELECT claim('k5', 'a', '1 microsecond'), claim('k5', 'b', '1 microsecond'), runops.release_claim('env/task', 'k5', 'b');
SELECT claim('k5', 'c');
SELECT runops.release_claim('env/task', 'k5', 'c');
SELECT claim('k5', 'd');
COMMIT;
SELECT claim('k5', 'x');

-- nothing stays of what was rolled back
BEGIN;
SELECT claim('k6', 'a');
SAVEPOINT s;
SELECT claim('k7', 'a');
SELECT runops.release_claim('env/task', 'k5', 'd');
ROLLBACK TO s;
SELECT claim('k7', 'b');
ROLLBACK TO s;
SELECT claim('k5', 'x');
COMMIT;
SELECT key, id FROM runops.claims WHERE key IN ('k5', 'k6', 'k7') ORDER BY key;
DO $$
BEGIN
	FOR i IN 1..3 LOOP
		BEGIN
			PERFORM claim('k8', i::text);
			RAISE EXCEPTION 'no';
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP;
END
$$;
SELECT claim('k8', '4');

-- many at once
SELECT count(*) FILTER (WHERE c.claimed) AS claimed, count(*) FILTER (WHERE NOT c.claimed) AS lost
FROM generate_series(1, 2000) i, runops.claim('many', (i % 1000)::text, i::text, '1 microsecond') c;
SELECT count(*) FILTER (WHERE c.claimed) AS claimed, count(*) FILTER (WHERE NOT c.claimed) AS lost
FROM generate_series(1, 2000) i, runops.claim('many', (i % 1000)::text, i::text) c;
SELECT count(*) FROM runops.claims WHERE scope = 'many';

-- expired ones are deleted in portions
SELECT count(*) FROM generate_series(1, 25) i, runops.claim('old', i::text, 'x', '1 microsecond');
SELECT runops.prune_claims(10), runops.prune_claims(10), runops.prune_claims(10), runops.prune_claims();
SELECT count(*) FROM runops.claims WHERE scope = 'many';
SELECT runops.prune_claims(0);
SELECT runops.prune_claims(NULL);

-- what cannot be claimed
SELECT * FROM runops.claim(NULL, 'k', 'a');
SELECT * FROM runops.claim('s', NULL, 'a');
SELECT * FROM runops.claim('s', 'k', NULL);
SELECT runops.release_claim('s', 'k', NULL);
SELECT * FROM runops.claim('s', 'k', 'a', '0');
SELECT * FROM runops.claim('s', 'k', 'a', '-1 s');
SELECT * FROM runops.claim('s', 'k', 'a', wait => '-1 s');
SELECT * FROM runops.claim(repeat('s', 1000), repeat('k', 1001), 'a');
SELECT claimed FROM runops.claim(repeat('s', 1000), repeat('k', 1000), 'a');
SELECT runops.release_claim(repeat('s', 1000), repeat('k', 1000), 'a');
BEGIN READ ONLY;
SELECT * FROM runops.claim('s', 'k', 'a');
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM runops.release_claim('s', 'k', 'a');
ROLLBACK;

-- at the other isolation levels
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT claim('k9', 'a');
SELECT claim('k9', 'b');
SELECT claim('k1', 'x');
SELECT claim('k9', 'a');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT claim('k9', 'x');
SELECT runops.release_claim('env/task', 'k9', 'a');
SELECT claim('k9', 'c');
COMMIT;

-- NULL waits as long as lock_timeout allows; the setting is not touched
SELECT claim('k9', 'x', wait => NULL);
SELECT claim('k9', 'x', wait => '0');
SHOW lock_timeout;

-- in a prepared statement, and with a search_path that hides operators
PREPARE p AS SELECT claimed, id FROM runops.claim('prepared', $1, $2);
EXECUTE p ('k', 'a');
EXECUTE p ('k', 'b');
DEALLOCATE p;
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.never);
SET search_path = hostile, pg_catalog;
SELECT claimed, id FROM runops.claim('prepared', 'k', 'b');
SELECT runops.release_claim('prepared', 'k', 'a');
RESET search_path;
DROP SCHEMA hostile CASCADE;

-- everyone may claim; keys are seen by those who may read the view
CREATE ROLE runops_claimant;
GRANT CREATE, USAGE ON SCHEMA public TO runops_claimant;
SET ROLE runops_claimant;
SELECT claimed, id FROM runops.claim('role', 'k', 'a');
SELECT claimed, id FROM runops.claim('role', 'k', 'b');
SELECT runops.release_claim('role', 'k', 'a');
SELECT count(*) FROM runops.claims;
SELECT count(*) FROM runops.claim_entry;
SELECT runops.prune_claims();
RESET ROLE;
GRANT EXECUTE ON FUNCTION runops.prune_claims(int) TO runops_claimant;
SET ROLE runops_claimant;
SELECT runops.prune_claims();
RESET ROLE;

DROP OWNED BY runops_claimant;
DROP ROLE runops_claimant;
DROP FUNCTION claim;
DELETE FROM runops.claim_entry;
