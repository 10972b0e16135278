-- xact_stats: the counters of each store
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA stats;
SET search_path = stats, public;
CREATE TABLE run (id text PRIMARY KEY, n int);
CREATE TABLE item (id text PRIMARY KEY, run text NOT NULL, n int);
SELECT runops.attach('run', 'id');
SELECT runops.attach('item', 'run');
SELECT count(*) > 0 AS made FROM runops.provision('new') WHERE action = 'create';
ANALYZE run, item;

CREATE VIEW shown AS
SELECT relation, store, statements_single AS single, statements_multi AS multi, rows, gate_refusals AS refused, unclassifiable AS odd
FROM runops.stats
WHERE relation IN ('run'::regclass, 'item'::regclass)
	AND (statements_single, statements_multi, coalesce(rows, 0), gate_refusals, unclassifiable) <> (0, 0, 0, 0, 0)
ORDER BY relation, store;
SELECT runops.reset_stats();
SELECT * FROM shown;

-- INSERT: the keys of one store, of several, and not known
INSERT INTO run VALUES ('ck00000000000000000000001', 1);
INSERT INTO run VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', 2);
INSERT INTO item VALUES ('i1', 'ck00000000000000000000001', 1), ('i2', '0ujtsYcgvSTl8PAuAdqWYSMnLOv', 2),
	('i3', '0ujtsYcgvSTl8PAuAdqWYSMnLOv', 3);
SELECT * FROM shown;
SELECT runops.reset_stats();

-- SELECT: one store, all, none at execution, and as many as start-up pruning leaves
SELECT n FROM run WHERE id = 'ck00000000000000000000001';
SELECT n FROM run WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
SELECT * FROM shown;
SELECT sum(n) FROM run;
SELECT * FROM shown;
SELECT runops.reset_stats();
SET plan_cache_mode = force_generic_plan;
PREPARE point AS SELECT n FROM run WHERE id = $1;
EXECUTE point('0ujtsYcgvSTl8PAuAdqWYSMnLOv');
EXECUTE point('ck00000000000000000000001');
EXECUTE point('ck00000000000000000000001');
SELECT * FROM shown;
RESET plan_cache_mode;
SELECT runops.reset_stats();

-- EXPLAIN runs nothing
EXPLAIN (COSTS OFF) SELECT n FROM run WHERE id = 'ck00000000000000000000001';
SELECT * FROM shown;

-- a join that is sent as a whole counts for both tables
SELECT r.n, i.n FROM run r JOIN item i ON i.run = r.id WHERE r.id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv' ORDER BY 2;
SELECT relation, store, single, multi FROM shown;
SELECT runops.reset_stats();

-- UPDATE and DELETE, sent as a whole and row by row
UPDATE item SET n = n + 1 WHERE run = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
SELECT * FROM shown;
UPDATE item SET n = n + 1 WHERE run = '0ujtsYcgvSTl8PAuAdqWYSMnLOv' RETURNING n;
SELECT * FROM shown;
SELECT runops.reset_stats();
DELETE FROM item;
SELECT * FROM shown;
SELECT runops.reset_stats();

-- ids of no shape
INSERT INTO run VALUES ('odd', 1);
SELECT n FROM run WHERE id = 'odd';
SELECT * FROM shown;

-- what a store is waited for: the beginning and the end of a transaction, and
-- what it has to do in between
SELECT runops.reset_stats();
SELECT count(*) FROM item WHERE run = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
SELECT store, relation, turns FROM runops.stats WHERE turns > 0;

-- what nobody counts, and the time of the reset
\pset null -
SELECT DISTINCT store, rows FROM runops.stats WHERE store = 'legacy';
SELECT DISTINCT reader_reads, stats_reset IS NOT NULL AS reset FROM runops.stats;

-- everybody may read them, and only who was granted it may reset them
CREATE ROLE regress_stats;
SET ROLE regress_stats;
SELECT count(*) > 0 AS seen FROM runops.stats;
SELECT runops.reset_stats();
RESET ROLE;
DROP ROLE regress_stats;

-- a table that is gone is not shown
DROP VIEW shown;
SELECT runops.detach('run', force => true);
SELECT runops.detach('item', force => true);
SELECT count(*) FROM runops.stats s JOIN pg_class c ON c.oid = s.relation WHERE c.relnamespace = 'stats'::regnamespace;
DROP SCHEMA stats CASCADE;
\connect runops_store
DROP SCHEMA stats CASCADE;
