-- planner_routing_dml: INSERT, UPDATE and DELETE on routed tables

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema routing_dml
\i :helpers

-- The target's plan: the leaf that takes its place, or the table with several.
CREATE FUNCTION targets(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
	found text;
BEGIN
	EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF, FORMAT json) ' || ids(query) INTO plan;
	SELECT string_agg(DISTINCT substring(s FROM 'runops_(?:shard_)?([a-z]+)'), ' ')
	INTO found
	FROM jsonb_path_query(plan, 'strict $.** ? (exists(@."Schema")).Schema') j, CAST(j #>> '{}' AS text) s;
	RETURN found;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

CREATE TABLE shapes (no serial, query text);
INSERT INTO shapes (query) SELECT q FROM unnest(ARRAY[
	$$INSERT INTO run VALUES ({L}, 'f')$$,
	$$INSERT INTO run VALUES ({N}, 'f')$$,
	$$INSERT INTO run VALUES ({N}, 'f'), ({K}, 'g')$$,
	$$INSERT INTO run VALUES ({N}, 'f'), ({L}, 'g')$$,
	$$INSERT INTO run VALUES ({Z}, 'f')$$,
	$$INSERT INTO run VALUES ({N}, 'f'), ({Z}, 'g')$$,
	$$INSERT INTO run VALUES ('odd2', 'f')$$,
	$$INSERT INTO run ("friendlyId") VALUES ('f')$$,
	$$INSERT INTO run SELECT {A}, 'f'$$,
	$$INSERT INTO run SELECT {A}, 'f' FROM local$$,
	$$INSERT INTO run VALUES (lower({N}), 'f')$$,
	$$INSERT INTO waitpoint VALUES ('w9', NULL, {A})$$,
	$$INSERT INTO waitpoint VALUES ('w9', {L}, {A})$$,
	$$INSERT INTO run VALUES ({L}, 'f') ON CONFLICT (id) DO NOTHING$$,
	$$INSERT INTO run VALUES ({L}, 'f') ON CONFLICT (id) DO UPDATE SET n = excluded.n$$,
	$$INSERT INTO run VALUES ({L}, 'f') ON CONFLICT (id) DO UPDATE SET id = excluded.id, n = 0$$,
	$$INSERT INTO run VALUES ({L}, 'f') ON CONFLICT (id) DO UPDATE SET id = {N}$$,
	$$INSERT INTO run VALUES ({N}, 'f') ON CONFLICT DO NOTHING$$,
	$$INSERT INTO run VALUES ({N}, 'f') ON CONFLICT (id) DO NOTHING$$,
	$$INSERT INTO run VALUES ({N}, 'f'), ({L}, 'g') ON CONFLICT (id) DO NOTHING$$,
	$$UPDATE run SET n = 1 WHERE id = {L}$$,
	$$UPDATE run SET n = 1 WHERE id = {N}$$,
	$$UPDATE run SET n = 1 WHERE id IN ({N}, {A})$$,
	$$UPDATE run SET n = 1 WHERE id = {Z}$$,
	$$UPDATE run SET n = 1 WHERE "friendlyId" = 'run_' || {A}$$,
	$$UPDATE run SET n = 1 WHERE id = NULL$$,
	$$UPDATE run SET n = 1 WHERE env = 'e1'$$,
	$$UPDATE run SET id = {K} WHERE id = {N}$$,
	$$UPDATE run SET id = {L} WHERE id = {N}$$,
	$$UPDATE run SET id = id || '' WHERE id = {N}$$,
	$$UPDATE waitpoint SET n = 1 WHERE "runId" = {N}$$,
	$$UPDATE waitpoint SET "batchId" = NULL WHERE "runId" = {N}$$,
	$$UPDATE run r SET n = a.k FROM attempt a WHERE a."runId" = r.id AND r.id = {N}$$,
	$$UPDATE run r SET n = a.k FROM attempt a WHERE a."runId" = r.id AND a."runId" = {L}$$,
	$$UPDATE run r SET n = l.k FROM local l WHERE l.ref = r.id AND l.ref = {L}$$,
	$$DELETE FROM run WHERE id = {L}$$,
	$$DELETE FROM run WHERE id = {N}$$,
	$$DELETE FROM run WHERE id = {N} OR id = {A}$$,
	$$DELETE FROM attempt a USING run r WHERE a."runId" = r.id AND r.id = {N}$$,
	$$DELETE FROM run r USING local l WHERE l.ref = r.id AND r.id = {L}$$,
	$$WITH d AS (DELETE FROM run WHERE id = {N} RETURNING *) SELECT * FROM d$$
]) q;
SELECT no, targets(query), query FROM shapes ORDER BY no;

-- what the statements do
INSERT INTO run VALUES ('0123456789abcdefghijklmrt1', 'rt1', 'e', 7, '{"a": [1]}'), ('clegret000000000000000001', 'rt2', 'e', 8, '{}')
	RETURNING id, n, meta -> 'a', tableoid::regclass;
INSERT INTO run AS t VALUES (:'L', 'other', 'e9', 10)
	ON CONFLICT (id) DO UPDATE SET n = excluded.n + t.n, env = excluded.env, meta = to_jsonb(excluded) WHERE t.n < 100
	RETURNING *;
INSERT INTO run VALUES ('cnew000000000000000000001', 'run_' || :'L', 'e9', 10) ON CONFLICT ("friendlyId") DO UPDATE SET (env, n) = (SELECT 'sub', 11) RETURNING id, env, n;
INSERT INTO run VALUES (:'L', 'x', 'e9', 10) ON CONFLICT (id) DO NOTHING;
INSERT INTO run VALUES (:'N', 'x', 'e9', 10) ON CONFLICT DO NOTHING RETURNING id;
INSERT INTO run VALUES (:'N', 'x'), ('0123456789abcdefghijklmdn1', 'x1'), (:'L', 'x2'), ('clegdn0000000000000000001', 'x3'), (:'A', 'x4') ON CONFLICT DO NOTHING;
INSERT INTO run VALUES (:'N', 'x', 'e9', 10) ON CONFLICT (id) DO NOTHING;
INSERT INTO run VALUES (:'Z', 'x');
INSERT INTO run SELECT ref, 'x' FROM local WHERE k = 11;
COPY run (id, "friendlyId") FROM stdin;
0123456789abcdefghijklmnz2	x
\.
INSERT INTO run ("friendlyId") VALUES ('x');
INSERT INTO run VALUES ('0123456789abcdefghijklmvx1', 'vx') RETURNING xmax = 0;
INSERT INTO run VALUES ('clegvx0000000000000000001', 'vy') RETURNING xmax = 0;

UPDATE run SET n = n + 1, meta = to_jsonb(run) WHERE id = :'N' RETURNING n, meta ->> 'id', tableoid::regclass;
UPDATE run SET n = n + 1 WHERE id = :'L' RETURNING run;
UPDATE run SET n = n + 1 WHERE id IN (:'N', :'L', :'A') RETURNING id, n;
UPDATE run r SET n = 100 + l.k FROM local l WHERE l.ref = r.id AND r.id = :'N' RETURNING l.k, r.n;
UPDATE run r SET n = 200 + a.k FROM attempt a WHERE a."runId" = r.id AND r.id = :'L' AND a.k = 2 RETURNING r.n;
UPDATE run SET n = -1 WHERE id = :'N' AND NOT EXISTS (SELECT FROM run WHERE id = :'L');
UPDATE run SET (n, env) = (SELECT 9, 'm') WHERE id = :'L' RETURNING n, env;
DELETE FROM run WHERE EXISTS (SELECT 1 WHERE false);
DELETE FROM run WHERE (SELECT count(*) FROM run WHERE id = 'nope') > 0;
DELETE FROM attempt WHERE "runId" = :'A' RETURNING *;

-- RETURNING sees the new row, and what WHERE said of the old one is no guide
UPDATE local SET ref = :'N' WHERE ref = :'L' RETURNING (SELECT r.env FROM run r WHERE r.id = local.ref);
UPDATE local SET ref = :'L' WHERE k = 1;

-- a row stays in its store
UPDATE run SET id = 'clegacymoved0000000000001' WHERE id = :'N';
UPDATE run SET id = '0123456789abcdefghijklmmv1' WHERE id = :'L';
UPDATE run SET id = '0123456789abcdefghijklmmv1' WHERE id = :'L' AND runops.store_of(id) = 'legacy';
UPDATE run SET id = :'Z' WHERE id = :'L';
UPDATE run SET id = 'clegacymoved0000000000001', "friendlyId" = 'moved' WHERE id = :'L2' RETURNING id, tableoid::regclass;
UPDATE run SET id = '0123456789abcdefghijklmmv1', "friendlyId" = 'moved' WHERE id = :'K' RETURNING id, tableoid::regclass;
UPDATE waitpoint SET "runId" = NULL WHERE "runId" = :'N';
UPDATE waitpoint SET "runId" = :'A' WHERE "runId" = :'L';
UPDATE waitpoint SET "runId" = NULL WHERE "runId" = :'L' RETURNING tableoid::regclass, id;
UPDATE run SET "friendlyId" = 'run_' || :'N' WHERE id = :'L';
SELECT tableoid::regclass, id FROM run WHERE n IS NOT NULL ORDER BY id COLLATE "C";

-- writable CTEs
WITH u AS (UPDATE run SET n = 50 WHERE id = 'clegcte000000000000000001' RETURNING id)
INSERT INTO run SELECT 'clegcte000000000000000001', 'cte', 'c', 1 WHERE NOT EXISTS (SELECT FROM u);
WITH d AS (DELETE FROM run WHERE id = :'A' RETURNING *), i AS (INSERT INTO run SELECT '0123456789abcdefghijklmct1', 'cte2', 'c', n FROM d RETURNING id)
SELECT (SELECT count(*) FROM d), (SELECT id FROM i);
WITH i AS (INSERT INTO run SELECT ref, 'z' FROM local WHERE k = 11) SELECT 1;

-- triggers: those that fire once a statement belong to the table
CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% % % %', TG_NAME, TG_LEVEL, TG_OP, TG_TABLE_SCHEMA;
	RETURN coalesce(NEW, OLD);
END
$$;
SET client_min_messages = notice;
CREATE TRIGGER r BEFORE UPDATE OF env ON runops_legacy.run FOR EACH ROW EXECUTE FUNCTION say();
UPDATE run SET env = 't1' WHERE id = :'L';
UPDATE run SET n = 1 WHERE id = :'L';
CREATE TRIGGER s AFTER UPDATE ON run FOR EACH STATEMENT EXECUTE FUNCTION say();
UPDATE run SET env = 't2' WHERE id = :'L';
UPDATE run SET env = 't2' WHERE id = :'N';
DELETE FROM run WHERE id = 'clegcte000000000000000001';
INSERT INTO run VALUES (:'L', 'x', 'e9', 10) ON CONFLICT (id) DO UPDATE SET n = 0;
SET client_min_messages = warning;
SELECT targets($$UPDATE run SET env = 't2' WHERE id = {L}$$), targets($$DELETE FROM run WHERE id = {L}$$);
DROP TRIGGER s ON run;
DROP TRIGGER r ON runops_legacy.run;

-- a trigger that changes the key
CREATE FUNCTION rekey() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := '0123456789abcdefghijklmtk1'; RETURN NEW; END $$;
CREATE TRIGGER k BEFORE INSERT OR UPDATE ON runops_legacy.run FOR EACH ROW EXECUTE FUNCTION rekey();
INSERT INTO run VALUES ('clegtk0000000000000000001', 'tk');
UPDATE run SET n = 3 WHERE id = :'L';
DROP TRIGGER k ON runops_legacy.run;

-- stored generated columns follow
ALTER TABLE run ADD COLUMN twice int GENERATED ALWAYS AS (n * 2) STORED;
SELECT count(*) > 0 AS provisioned FROM runops.provision('new');
SELECT count(*) > 0 AS provisioned FROM runops.provision('a');
UPDATE run SET n = 21 WHERE id IN (:'L', :'N') RETURNING id, twice;
UPDATE run SET n = 22 WHERE id = :'L' RETURNING id, twice;
UPDATE run SET n = 23 WHERE id = :'N' RETURNING id, twice;
INSERT INTO run VALUES (:'L', 'x', 'e', 30) ON CONFLICT (id) DO UPDATE SET n = excluded.n RETURNING id, twice;
SELECT id, n, twice FROM run WHERE id IN (:'L', :'N') ORDER BY n;

-- MERGE into a routed table is refused by core, from one it works
MERGE INTO run r USING local l ON r.id = l.ref WHEN MATCHED THEN UPDATE SET n = 0;
MERGE INTO local l USING (SELECT id, n FROM run WHERE id = :'N') r ON l.ref = r.id WHEN MATCHED THEN UPDATE SET ref = 'merged ' || r.n;
MERGE INTO local l USING run r ON l.ref = r.id AND r.id = :'L' WHEN NOT MATCHED THEN INSERT VALUES (100 + abs(hashtext(r.id)), r.id);
SELECT count(*) FILTER (WHERE ref LIKE 'merged%'), count(*) FILTER (WHERE k > 100) FROM local;

-- a target in a store that matches several rows is updated once, even if it is
-- read again for each of them, in more than one fetch
ALTER SERVER run_ops OPTIONS (ADD fetch_size '2');
INSERT INTO attempt SELECT 'rewind' || i, :'N', 0 FROM generate_series(1, 5) i;
UPDATE run SET id = :'K' WHERE id = '0123456789abcdefghijklmmv1';
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
UPDATE run SET env = 'rewind' WHERE id = ANY (ARRAY[:'N', :'K']);
CREATE VIEW other WITH (security_barrier) AS SELECT id, n FROM run WHERE env = 'rewind';
EXPLAIN (COSTS OFF) UPDATE attempt a SET k = a.k + 1 FROM other r WHERE a."runId" = :'N' AND r.id = ANY (ARRAY[:'N', :'K']) AND r.n > a.k;
UPDATE attempt a SET k = a.k + 1 FROM other r WHERE a."runId" = :'N' AND r.id = ANY (ARRAY[:'N', :'K']) AND r.n > a.k;
DROP VIEW other;
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;
SELECT id, k FROM attempt WHERE "runId" = :'N' AND id LIKE 'rewind%' ORDER BY id;
SELECT count(*) FROM run WHERE env = 'rewind' AND n > 2;
ALTER SERVER run_ops OPTIONS (DROP fetch_size);

-- a legacy leaf with partitions of its own
CREATE TABLE log (id text NOT NULL, env text NOT NULL, n int, PRIMARY KEY (id, env)) PARTITION BY LIST (env);
CREATE TABLE log_e1 PARTITION OF log FOR VALUES IN ('e1');
CREATE TABLE log_e2 (n int, env text NOT NULL, id text NOT NULL);
ALTER TABLE log ATTACH PARTITION log_e2 FOR VALUES IN ('e2');
SELECT runops.attach('log', 'id');
SELECT count(*) > 0 AS provisioned FROM runops.provision('new', relation => 'log');
SELECT count(*) > 0 AS provisioned FROM runops.provision('a', relation => 'log');
INSERT INTO log VALUES (:'L', 'e1', 1), (:'L', 'e2', 2), (:'N', 'e1', 3), (:'N', 'e9', 4) RETURNING tableoid::regclass, n;
INSERT INTO log VALUES (:'L', 'e2', 5) ON CONFLICT (id, env) DO UPDATE SET n = excluded.n RETURNING log;
INSERT INTO log VALUES (:'L', 'e9', 1);
INSERT INTO log VALUES (:'Z', 'e1', 1);
UPDATE log SET n = n + 10 WHERE id = :'L' RETURNING tableoid::regclass, log;
UPDATE log SET env = 'e1' WHERE id = :'L' AND env = 'e2';
DELETE FROM log WHERE id = :'L' AND env = 'e1' RETURNING log;
UPDATE log SET env = 'e1' WHERE id = :'L' RETURNING tableoid::regclass, log;
SELECT targets($$UPDATE log SET n = 1 WHERE id = {L}$$), targets($$SELECT * FROM log WHERE id = {N}$$);

\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
