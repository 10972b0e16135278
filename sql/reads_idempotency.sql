-- reads_idempotency: one row for each idempotency key, in any store

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema idempotency
\i :helpers
\set SHOW_CONTEXT never
CREATE TABLE task (id text PRIMARY KEY, "friendlyId" text UNIQUE, "environmentId" text NOT NULL, "taskIdentifier" text NOT NULL,
	"idempotencyKey" text, "idempotencyKeyExpiresAt" timestamp(3), status text NOT NULL DEFAULT 'PENDING', n int);
CREATE INDEX ON task ("environmentId", "taskIdentifier", "idempotencyKey");
SELECT runops.attach('task', 'id', '{friendlyId}');
SELECT count(*) > 0 AS made FROM runops.provision('new') WHERE action = 'create';
SELECT count(*) > 0 AS made FROM runops.provision('a') WHERE action = 'create';

-- which key, what expires it, which rows are dead
SELECT runops.add_idempotency('task', '{environmentId,taskIdentifier,idempotencyKey}', 'idempotencyKeyExpiresAt', $$status IN ('FAILED', 'EXPIRED')$$);
SELECT * FROM runops.idempotency_keys;
SELECT runops.add_idempotency('task', '{idempotencyKey}');
SELECT runops.drop_idempotency('task');
SELECT runops.drop_idempotency('task');
SELECT runops.drop_idempotency('task', if_exists => true);
SELECT * FROM runops.find_idempotent('task', '{}');
SELECT runops.add_idempotency('local', '{ref}');
SELECT runops.add_idempotency(NULL, '{ref}');
SELECT runops.add_idempotency('task', NULL);
SELECT runops.add_idempotency('task', '{}');
SELECT runops.add_idempotency('task', '{NULL}');
SELECT runops.add_idempotency('task', '{idempotencyKey,idempotencyKey}');
SELECT runops.add_idempotency('task', '{idempotencykey}');
SELECT runops.add_idempotency('task', '{idempotencyKey,taskIdentifier}');
SELECT runops.add_idempotency('task', '{idempotencyKey,id}');
SELECT runops.add_idempotency('task', '{idempotencyKey}', 'expires');
SELECT runops.add_idempotency('task', '{idempotencyKey}', 'idempotencyKey');
SELECT runops.add_idempotency('task', '{idempotencyKey}', 'n');
SELECT runops.add_idempotency('task', '{idempotencyKey}', NULL, 'status');
SELECT runops.add_idempotency('task', '{idempotencyKey}', NULL, 'stat = 1');
SELECT runops.add_idempotency('task', '{idempotencyKey}', NULL, 'true) OR (true');
SELECT runops.add_idempotency('task', '{idempotencyKey}', NULL, 'true FROM task; --');
SELECT runops.add_idempotency('task', '{idempotencyKey}', NULL, 'true UNION SELECT true');
SELECT runops.add_idempotency('task', '{idempotencyKey}', NULL, 'EXISTS (SELECT FROM pg_class)');
SELECT runops.add_idempotency('task', '{idempotencyKey}', NULL, 'n > random()');
SELECT runops.add_idempotency('task', '{idempotencyKey}', NULL, 'count(*) > 1');
SELECT * FROM runops.idempotency_keys;
SELECT runops.add_idempotency('task', '{environmentId,taskIdentifier,idempotencyKey}', 'idempotencyKeyExpiresAt', $$status IN ('FAILED', 'EXPIRED')$$);

-- find: none, and a hit in whichever store, whoever asks
CREATE FUNCTION key_of(key text, env text DEFAULT 'e1') RETURNS jsonb LANGUAGE sql IMMUTABLE AS
	$$ SELECT jsonb_build_object('environmentId', env, 'taskIdentifier', 't', 'idempotencyKey', key) $$;
INSERT INTO task (id, "friendlyId", "environmentId", "taskIdentifier", "idempotencyKey", "idempotencyKeyExpiresAt") VALUES
	(:'L', 'run_' || :'L', 'e1', 't', 'legacy', now() AT TIME ZONE 'UTC' + interval '1 hour'),
	(:'N', 'run_' || :'N', 'e1', 't', 'new', now() AT TIME ZONE 'UTC' + interval '1 hour'),
	(:'A', 'run_' || :'A', 'e1', 't', 'shard', NULL);
SELECT * FROM runops.find_idempotent('task', key_of('nobody'));
SELECT outcome, store, id, "row" ->> 'idempotencyKey' AS key FROM runops.find_idempotent('task', key_of('legacy'));
SELECT outcome, store, id, "row" ->> 'idempotencyKey' AS key FROM runops.find_idempotent('task', key_of('new'));
SELECT outcome, store, id, "row" ->> 'idempotencyKey' AS key FROM runops.find_idempotent('task', key_of('shard'));
SELECT outcome, store FROM runops.find_idempotent('task', key_of('legacy', 'e2'));
-- a parent of another store does not hide it
SELECT outcome, store FROM runops.find_idempotent('task', key_of('legacy'), parent => :'N');
SELECT outcome, store FROM runops.find_idempotent('task', key_of('new'), parent => :'L');
SELECT outcome, store FROM runops.find_idempotent('task', key_of('new'), 'org_1', 'odd');
-- the family's store comes first, and if it has a hit no other is asked
CREATE FUNCTION asked() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	SELECT string_agg(store || ' ' || statements_single + statements_multi, ', ' ORDER BY store) INTO result
	FROM runops.stats WHERE relation = 'task'::regclass AND statements_single + statements_multi > 0;
	PERFORM runops.reset_stats();
	RETURN result;
END
$$;
SELECT runops.reset_stats();
SELECT outcome FROM runops.find_idempotent('task', key_of('legacy'), parent => :'L2');
SELECT asked();
SELECT outcome FROM runops.find_idempotent('task', key_of('new'), parent => :'K');
SELECT asked();
SELECT outcome FROM runops.find_idempotent('task', key_of('new'), parent => :'L');
SELECT asked();
SELECT outcome FROM runops.find_idempotent('task', key_of('none'), parent => :'L');
SELECT asked();

-- an expired key, a failed run: cleared on its row, and the claim is free
UPDATE task SET "idempotencyKeyExpiresAt" = now() AT TIME ZONE 'UTC' - interval '1 second' WHERE "idempotencyKey" IN ('legacy', 'new');
UPDATE task SET status = 'FAILED' WHERE "idempotencyKey" = 'shard';
SELECT claimed FROM runops.claim('idempotency:idempotency.task', key_of('new')::text, :'N');
SELECT scope, key FROM runops.claims;
SELECT outcome, store, id, "row" -> 'idempotencyKey' AS key, "row" -> 'idempotencyKeyExpiresAt' AS expires FROM runops.find_idempotent('task', key_of('legacy'));
SELECT outcome, store, id, "row" -> 'idempotencyKey' AS key, "row" -> 'idempotencyKeyExpiresAt' AS expires FROM runops.find_idempotent('task', key_of('new'));
SELECT outcome, store, id, "row" -> 'idempotencyKey' AS key FROM runops.find_idempotent('task', key_of('shard'));
SELECT scope, key FROM runops.claims;
SELECT id, "idempotencyKey", "idempotencyKeyExpiresAt", status FROM task ORDER BY id COLLATE "C";
SELECT outcome FROM runops.find_idempotent('task', key_of('new'));
-- whatever the time zone of the session: times without one are UTC
UPDATE task SET status = 'PENDING', "idempotencyKey" = 'zone', "idempotencyKeyExpiresAt" = now() AT TIME ZONE 'UTC' + interval '10 minutes' WHERE id = :'N';
SET timezone = 'Pacific/Kiritimati';
SELECT outcome FROM runops.find_idempotent('task', key_of('zone'));
SET timezone = 'Pacific/Pago_Pago';
SELECT outcome FROM runops.find_idempotent('task', key_of('zone'));
RESET timezone;
-- a dead row of one store does not hide a live one of another
UPDATE task SET "idempotencyKey" = 'two', status = 'FAILED' WHERE id = :'N';
UPDATE task SET "idempotencyKey" = 'two', status = 'PENDING' WHERE id = :'L';
SELECT outcome, store FROM runops.find_idempotent('task', key_of('two'), parent => :'N');
SELECT outcome, store FROM runops.find_idempotent('task', key_of('two'), parent => :'N');
-- nor one of the same store
UPDATE task SET "idempotencyKey" = 'three', status = 'FAILED' WHERE id = :'L';
INSERT INTO task (id, "environmentId", "taskIdentifier", "idempotencyKey") VALUES (:'L2', 'e1', 't', 'three');
SELECT outcome, id FROM runops.find_idempotent('task', key_of('three'));
-- rolled back, the key is there again
BEGIN;
UPDATE task SET status = 'FAILED' WHERE id = :'L2';
SELECT outcome, id FROM runops.find_idempotent('task', key_of('three'));
ROLLBACK;
SELECT outcome, id FROM runops.find_idempotent('task', key_of('three'));

-- the key must be one
SELECT * FROM runops.find_idempotent('task', '{"idempotencyKey": "x"}');
SELECT * FROM runops.find_idempotent('task', key_of('x') || '{"n": 1}');
SELECT * FROM runops.find_idempotent('task', key_of('x') - 'taskIdentifier' || '{"n": 1}');
SELECT * FROM runops.find_idempotent('task', key_of(NULL));
SELECT * FROM runops.find_idempotent('task', '[1, 2, 3]');
SELECT * FROM runops.find_idempotent('task', NULL);
SELECT * FROM runops.find_idempotent(NULL, '{}');
SELECT * FROM runops.find_idempotent('local', '{}');

-- the store of the family: the next root's, by its organization's flag ...
SELECT runops.idempotency_store(), runops.idempotency_store('org_new'), runops.idempotency_store('org_shard');
SELECT runops.set_mint_kind('org_new', 'ksuid'), runops.set_mint_kind('org_shard', 'shard:a');
UPDATE runops.mint_config SET flipped_at = flipped_at - interval '1 day', effective_at = effective_at - interval '1 day';
SELECT runops.idempotency_store(), runops.idempotency_store('org_new'), runops.idempotency_store('org_shard'), runops.idempotency_store('org_other');
-- ... or a parent's, whatever the flag says
SELECT runops.idempotency_store('org_new', :'L') AS legacy, runops.idempotency_store('org_shard', :'N') AS new,
	runops.idempotency_store('org_other', :'K') AS new, runops.idempotency_store('org_new', :'A') AS a, runops.idempotency_store(NULL, 'run_' || :'N') AS new;
SELECT runops.idempotency_store('org_new', 'odd'), runops.idempotency_store('org_new', '');
-- so a key is looked for there first
UPDATE task SET "idempotencyKey" = 'family', status = 'PENDING', "idempotencyKeyExpiresAt" = NULL WHERE id = :'N';
SELECT runops.reset_stats();
SELECT outcome FROM runops.find_idempotent('task', key_of('family'), 'org_new');
SELECT asked();
SELECT outcome FROM runops.find_idempotent('task', key_of('family'), 'org_other');
SELECT asked();
SELECT outcome FROM runops.find_idempotent('task', key_of('family'), 'org_new', :'L');
SELECT asked();
DELETE FROM runops.mint_config WHERE org IN ('org_new', 'org_shard');

-- reset: by key in every store, by ids where these can be, and the claim with it
UPDATE task SET status = 'PENDING', "idempotencyKey" = 'again', "idempotencyKeyExpiresAt" = 'infinity';
SELECT claimed FROM runops.claim('idempotency:idempotency.task', key_of('again')::text, :'N');
BEGIN;
SELECT * FROM runops.reset_idempotency('task', key_of('again'));
SELECT count(*) FROM runops.claims;
ROLLBACK;
SELECT count(*) FROM task WHERE "idempotencyKey" = 'again';
SELECT count(*) FROM runops.claims;
SELECT * FROM runops.reset_idempotency('task', ids => ARRAY[:'N', 'run_' || :'A', :'K']);
SELECT count(*) FROM runops.claims;
SELECT * FROM runops.reset_idempotency('task', key_of('again'), ARRAY[:'L']);
SELECT id, "idempotencyKey", "idempotencyKeyExpiresAt" FROM task ORDER BY id COLLATE "C";
SELECT * FROM runops.reset_idempotency('task', key_of('again'));
SELECT * FROM runops.reset_idempotency('task', key_of('again'));
SELECT * FROM runops.reset_idempotency('task', ids => ARRAY['odd', NULL]);
SELECT * FROM runops.reset_idempotency('task', ids => '{}');
SELECT * FROM runops.reset_idempotency('task', ids => ARRAY[:'Z']);
SELECT * FROM runops.reset_idempotency('task');
SELECT * FROM runops.reset_idempotency(NULL, '{}');
-- a claim that is another's stays, unless it is on the key that is reset: no row has that any more
UPDATE task SET "idempotencyKey" = 'stale' WHERE id = :'N';
SELECT claimed FROM runops.claim('idempotency:idempotency.task', key_of('stale')::text, 'deleted long ago');
SELECT * FROM runops.reset_idempotency('task', ids => ARRAY[:'N']);
SELECT id FROM runops.claims;
SELECT * FROM runops.reset_idempotency('task', key_of('stale'));
SELECT id FROM runops.claims;

-- with claims it is the one authority
CREATE FUNCTION trigger_task(new_id text, key jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	f record;
	c record;
BEGIN
	SELECT * INTO f FROM runops.find_idempotent('task', key);
	IF f.outcome = 'hit' THEN
		RETURN f.id;
	END IF;
	SELECT * INTO c FROM runops.claim('idempotency:idempotency.task', key::text, new_id);
	IF c.claimed THEN
		INSERT INTO task (id, "environmentId", "taskIdentifier", "idempotencyKey")
		VALUES (new_id, key ->> 'environmentId', key ->> 'taskIdentifier', key ->> 'idempotencyKey');
	END IF;
	RETURN c.id;
END
$$;
SELECT trigger_task('cnew00000000000000000001x', key_of('once'));
SELECT trigger_task('0123456789abcdefghijklmo11', key_of('once'));
UPDATE task SET status = 'FAILED' WHERE "idempotencyKey" = 'once';
SELECT trigger_task('0123456789abcdefghijklmo11', key_of('once'));
SELECT id, status, "idempotencyKey" FROM task WHERE status = 'FAILED' OR "idempotencyKey" = 'once' ORDER BY id;

-- a key of other types: a number, a time with a zone, an enum
CREATE TYPE kind AS ENUM ('x', 'y');
CREATE TABLE batch (id text PRIMARY KEY, k int, kind kind, at timestamptz, key int);
SELECT runops.attach('batch', 'id', '{}');
SELECT count(*) > 0 AS made FROM runops.provision('new') WHERE action = 'create';
SELECT count(*) > 0 AS made FROM runops.provision('a') WHERE action = 'create';
SELECT runops.add_idempotency('batch', '{kind,key}', 'at', 'kind = ''y''::idempotency.kind');
INSERT INTO batch VALUES (:'N', 1, 'x', now() + interval '1 hour', 1), (:'L', 1, 'x', now() - interval '1 hour', 2), (:'K', 1, 'y', NULL, 3);
SELECT key, outcome, store FROM generate_series(1, 3) key, runops.find_idempotent('batch', jsonb_build_object('kind', CASE key WHEN 3 THEN 'y' ELSE 'x' END, 'key', key)) f;
SELECT id, key, at IS NULL AS no_expiry FROM batch ORDER BY 1;

-- rights
CREATE ROLE idempotency_other;
GRANT USAGE ON SCHEMA idempotency TO idempotency_other;
GRANT SELECT ON task TO idempotency_other;
DO $$
DECLARE
	server text;
BEGIN
	FOREACH server IN ARRAY '{run_ops,idempotency_a}'::text[] LOOP
		EXECUTE format('CREATE USER MAPPING FOR idempotency_other SERVER %I OPTIONS (user %L, password_required ''false'')', server, current_user);
	END LOOP;
END
$$;
UPDATE task SET "idempotencyKey" = 'mine', status = 'PENDING' WHERE id = :'N';
\set SHOW_CONTEXT never
SET ROLE idempotency_other;
SELECT outcome FROM runops.find_idempotent('task', key_of('mine'));
SELECT * FROM runops.reset_idempotency('task', key_of('mine'));
SELECT runops.add_idempotency('task', '{idempotencyKey}');
SELECT runops.drop_idempotency('task');
SELECT count(*) FROM runops.idempotency_keys;
RESET ROLE;
UPDATE task SET status = 'FAILED' WHERE id = :'N';
SET ROLE idempotency_other;
SELECT outcome FROM runops.find_idempotent('task', key_of('mine'));
RESET ROLE;
DROP USER MAPPING FOR idempotency_other SERVER run_ops;
DROP USER MAPPING FOR idempotency_other SERVER idempotency_a;
DROP OWNED BY idempotency_other;
DROP ROLE idempotency_other;

SELECT runops.release_claim('idempotency:idempotency.task', key_of('once')::text, '0123456789abcdefghijklmo11');
-- detach forgets it
SELECT runops.detach('batch', force => true);
SELECT relation FROM runops.idempotency_keys;

\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
