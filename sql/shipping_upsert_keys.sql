-- shipping: upserts of tables with unique keys over all stores and with references
\set ECHO none
SET client_min_messages = warning;
\set n1 '0123456789abcdefghijklmn01'
\set n2 '0123456789abcdefghijklmn11'
\set n3 '0123456789abcdefghijklmn21'
\set l1 'c00000000000000000000upk1'
\set l2 'c00000000000000000000upk2'
\connect runops_store
CREATE SCHEMA upk;
\connect contrib_regression
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET runops.enable_shipping = on;
CREATE SCHEMA upk;
SET search_path = upk, public;
CREATE TABLE run (gone int, id text PRIMARY KEY, env text NOT NULL, key text, state text NOT NULL DEFAULT 'PENDING', n int NOT NULL DEFAULT 0);
ALTER TABLE run DROP COLUMN gone;
CREATE TABLE queue (id int PRIMARY KEY);
INSERT INTO queue VALUES (1), (2);
CREATE TABLE item (id text PRIMARY KEY, run_id text NOT NULL, queue int, note text, UNIQUE (run_id, id));
SELECT count(*) > 0 AS attached FROM runops.attach('run', 'id') \gset
SELECT count(*) > 0 AS attached FROM runops.attach('item', 'run_id') \gset
SELECT count(*) > 0 AS provisioned FROM runops.provision('new') \gset
INSERT INTO run VALUES (:'l1', 'e', 'kl'), (:'n1', 'e', 'kn');
PREPARE before(text, text) AS INSERT INTO run VALUES ($1, 'e', $2) ON CONFLICT (id) DO NOTHING;
EXECUTE before(:'n1', 'kx');
-- the store has an index on the columns of the first key, and none on those of the other
\connect runops_store
CREATE UNIQUE INDEX ON upk.run (env, key);
\connect contrib_regression
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET runops.enable_shipping = on;
SET search_path = upk, public;
PREPARE before(text, text) AS INSERT INTO run VALUES ($1, 'e', $2) ON CONFLICT (id) DO NOTHING;
EXECUTE before(:'n1', 'kx');
SELECT runops.add_unique('run', '{env,key}') \gset
SELECT runops.add_unique('run', '{n}', $$n > 100$$) \gset
CREATE VIEW entries AS SELECT k1 || ' ' || k2 AS key, store FROM runops_unique.run_env_key_key UNION ALL SELECT k1::text, store FROM runops_unique.run_n_key ORDER BY 1, 2;
\set ECHO queries
-- a prepared statement notices the keys
EXECUTE before(:'n2', 'kl');
EXECUTE before(:'n1', 'kn');
-- a new row, and the same again
INSERT INTO run VALUES (:'n2', 'e', 'k2') ON CONFLICT (id) DO UPDATE SET state = 'DONE' RETURNING id, state, xmax = 0 AS inserted;
INSERT INTO run VALUES (:'n2', 'e', 'k2') ON CONFLICT (id) DO UPDATE SET state = 'DONE' RETURNING id, state, xmax = 0 AS inserted;
-- by the key's columns, with another id
INSERT INTO run VALUES (:'n3', 'e', 'k2') ON CONFLICT (env, key) DO UPDATE SET state = EXCLUDED.state, key = EXCLUDED.key, env = EXCLUDED.env RETURNING id, state, xmax = 0 AS inserted;
INSERT INTO run VALUES (:'n3', 'e', 'k2') ON CONFLICT (env, key) DO NOTHING RETURNING id;
-- another store has the key
INSERT INTO run VALUES (:'n3', 'e', 'kl') ON CONFLICT (env, key) DO UPDATE SET state = 'DONE';
INSERT INTO run VALUES (:'n3', 'e', 'kl') ON CONFLICT (id) DO NOTHING;
INSERT INTO run VALUES (:'l2', 'e', 'k2') ON CONFLICT (id) DO NOTHING;
-- another row of the store has it
INSERT INTO run VALUES (:'n3', 'e', 'k2') ON CONFLICT (id) DO NOTHING;
INSERT INTO run VALUES (:'n3', 'e', 'k3', 'x', 200) ON CONFLICT (id) DO NOTHING;
INSERT INTO run VALUES (:'n2', 'e', 'k2', 'x', 200) ON CONFLICT (id) DO UPDATE SET state = 'kept' RETURNING id, state, n;
INSERT INTO run VALUES ('0123456789abcdefghijklmn31', 'e', 'k4', 'x', 200) ON CONFLICT (id) DO NOTHING;
INSERT INTO run VALUES ('0123456789abcdefghijklmn31', 'e', 'k4', 'x', 200) ON CONFLICT (id) DO UPDATE SET state = 'y';
-- the row that was not inserted leaves no entry
INSERT INTO run VALUES (:'n1', 'f', 'free', 'x', 300) ON CONFLICT (id) DO UPDATE SET state = 'DONE' WHERE run.state = 'no' RETURNING id;
INSERT INTO run VALUES (:'n1', 'f', 'free', 'x', 300) ON CONFLICT (id) DO UPDATE SET state = 'DONE' RETURNING id, env, key, n;
INSERT INTO run VALUES (:'n1', 'f', 'free', 'x', 300) ON CONFLICT (id) DO NOTHING RETURNING id;
TABLE entries;
-- several rows
INSERT INTO run VALUES (:'n1', 'g', 'a'), ('0123456789abcdefghijklmn41', 'g', 'b'), (:'n2', 'g', 'c'), ('0123456789abcdefghijklmn51', 'g', NULL)
	ON CONFLICT (id) DO UPDATE SET state = run.state || '+', n = run.n RETURNING id, state, xmax = 0 AS inserted;
INSERT INTO run VALUES (:'n1', 'g', 'a'), ('0123456789abcdefghijklmn41', 'g', 'b'), (:'n2', 'g', 'c'), ('0123456789abcdefghijklmn51', 'g', NULL)
	ON CONFLICT (id) DO UPDATE SET state = run.state || '+' RETURNING id, state, xmax = 0 AS inserted;
INSERT INTO run VALUES ('0123456789abcdefghijklmn61', 'g', 'd'), (:'l2', 'g', 'e'), (:'l1', 'g', 'f') ON CONFLICT (id) DO NOTHING RETURNING id;
INSERT INTO run VALUES ('0123456789abcdefghijklmn71', 'g', 'x'), ('0123456789abcdefghijklmn71', 'g', 'y') ON CONFLICT (id) DO UPDATE SET state = 'twice';
INSERT INTO run VALUES ('0123456789abcdefghijklmn71', 'g', 'x'), ('0123456789abcdefghijklmn81', 'g', 'x') ON CONFLICT (env, key) DO UPDATE SET state = 'twice';
INSERT INTO run VALUES ('0123456789abcdefghijklmn71', 'g', 'x'), ('0123456789abcdefghijklmn81', 'g', 'x') ON CONFLICT (env, key) DO NOTHING RETURNING id;
TABLE entries;
-- without RETURNING the rows are counted, and a constraint of the routed table is checked
DO $$
DECLARE written bigint;
BEGIN
	INSERT INTO run VALUES ('0123456789abcdefghijklmn41', 'g', 'b'), ('0123456789abcdefghijklmn91', 'g', 'h') ON CONFLICT (id) DO UPDATE SET state = 'counted';
	GET DIAGNOSTICS written = ROW_COUNT;
	RAISE INFO '% rows', written;
	INSERT INTO run VALUES ('0123456789abcdefghijklmn41', 'g', 'b'), ('0123456789abcdefghijklmn91', 'g', 'h') ON CONFLICT (id) DO UPDATE SET state = NULL;
EXCEPTION WHEN not_null_violation THEN
	RAISE INFO '%', SQLERRM;
END $$;
SELECT id, key FROM run WHERE key = 'h';
-- a rollback undoes entries and rows
BEGIN;
SAVEPOINT a;
INSERT INTO run VALUES ('0123456789abcdefghijklmna1', 'g', 'i') ON CONFLICT (id) DO NOTHING;
ROLLBACK TO a;
INSERT INTO run VALUES ('0123456789abcdefghijklmnb1', 'g', 'i') ON CONFLICT (id) DO NOTHING RETURNING id;
ROLLBACK;
SELECT count(*) FROM entries WHERE key = 'g i';
-- generic plans, and PL/pgSQL
SET plan_cache_mode = force_generic_plan;
PREPARE up(text, text) AS INSERT INTO run VALUES ($1, 'p', $2) ON CONFLICT (id) DO UPDATE SET state = 'again' RETURNING id, state, xmax = 0 AS inserted;
EXECUTE up('0123456789abcdefghijklmnc1', 'p1');
EXECUTE up('0123456789abcdefghijklmnc1', 'p1');
EXECUTE up(:'l2', 'p2');
EXECUTE up('0123456789abcdefghijklmnd1', 'p1');
RESET plan_cache_mode;
-- what is not sent: DO UPDATE of the columns of a key, and rows that see each other
INSERT INTO run VALUES (:'n1', 'e', 'kn') ON CONFLICT (id) DO UPDATE SET key = EXCLUDED.key;
INSERT INTO run VALUES (:'n1', 'e', 'kn') ON CONFLICT (id) DO UPDATE SET n = run.n + 1;
INSERT INTO run VALUES (:'n1', 'e', 'kn'), (:'n2', 'e', 'kn') ON CONFLICT (id) DO UPDATE SET state = (SELECT count(*) FROM run WHERE id = :'n1');
WITH i AS (INSERT INTO run VALUES (:'n1', 'e', 'kn') ON CONFLICT (id) DO NOTHING RETURNING id) SELECT id FROM i;
SELECT * FROM runops.check_unique('run');

-- references: to a plain table, and to a routed one
SELECT runops.add_reference('item', 'queue', 'queue') \gset
SELECT runops.add_reference('item', 'run_id', 'run') \gset
INSERT INTO item VALUES ('i1', :'n1', 1, 'new') ON CONFLICT (run_id, id) DO UPDATE SET note = 'again' RETURNING note;
INSERT INTO item VALUES ('i1', :'n1', 1, 'new') ON CONFLICT (run_id, id) DO UPDATE SET note = 'again', queue = EXCLUDED.queue RETURNING note;
INSERT INTO item VALUES ('i1', :'n1', 99, 'new') ON CONFLICT (run_id, id) DO UPDATE SET note = 'not inserted' RETURNING note, queue;
INSERT INTO item VALUES ('i1', :'n1', 99, 'new') ON CONFLICT (run_id, id) DO UPDATE SET queue = EXCLUDED.queue;
INSERT INTO item VALUES ('i2', :'n1', 99, 'new') ON CONFLICT (run_id, id) DO NOTHING;
INSERT INTO item VALUES ('i2', '0123456789abcdefghijklmzz1', 1, 'new') ON CONFLICT (run_id, id) DO NOTHING;
INSERT INTO item VALUES ('i2', :'n1', 1), ('i3', :'n1', NULL), ('i4', :'n2', 2) ON CONFLICT (run_id, id) DO NOTHING RETURNING id;
INSERT INTO item VALUES ('i5', :'n1', 1), ('i6', :'n1', 77), ('i7', :'n2', 2) ON CONFLICT (run_id, id) DO NOTHING RETURNING id;
INSERT INTO item VALUES ('i1', :'n1', 1) ON CONFLICT (run_id, id) DO UPDATE SET queue = 2;
INSERT INTO run VALUES (:'n1', 'e', 'kn') ON CONFLICT (id) DO UPDATE SET state = 'referenced', id = EXCLUDED.id RETURNING state;
SELECT id, run_id, queue, note FROM item ORDER BY id;
EXPLAIN (VERBOSE, COSTS OFF) INSERT INTO item VALUES ('i2', :'n1', 1), ('i3', :'n1', NULL) ON CONFLICT (run_id, id) DO UPDATE SET note = 'x' RETURNING id;
\set ECHO none
\set VERBOSITY terse
SET client_min_messages = error;
DROP VIEW entries;
DELETE FROM item;
DELETE FROM run;
SELECT runops.detach('item'), runops.detach('run') \gset
DROP SCHEMA upk CASCADE;
\connect runops_store
SET client_min_messages = error;
DROP SCHEMA upk CASCADE;
