--
-- setup_detach: detach and drop_store query the stores, and refuse while the stores
-- hold rows
--
\set SHOW_CONTEXT never
\connect runops_store
CREATE SCHEMA det;
CREATE TABLE det.run (id text PRIMARY KEY, n int);
CREATE SCHEMA det_shard;
CREATE TABLE det_shard.run (id text PRIMARY KEY, n int);
\connect contrib_regression
CREATE SCHEMA det;
CREATE TABLE det.run (id text PRIMARY KEY, n int);
CREATE TABLE det.child (id int PRIMARY KEY, run text NOT NULL REFERENCES det.run) PARTITION BY RANGE (id);
CREATE TABLE det.child_1 PARTITION OF det.child FOR VALUES FROM (0) TO (100);
INSERT INTO det.run VALUES ('c000000000000000000000001', 1);
INSERT INTO det.child VALUES (1, 'c000000000000000000000001');
SELECT runops.attach('det.run', 'id');
SELECT runops.add_store('d', 'run_ops', remote_schema => 'det_shard');

-- one row in one store
INSERT INTO det.run VALUES (repeat('0', 24) || 'd2', 2);
SELECT runops.detach('det.run');
SELECT runops.drop_store('d');
SELECT runops.detach('det.run', NULL);
-- the answer is the store's: a connection that fails is not an empty store
INSERT INTO det.run VALUES (repeat('N', 27), 3);
ALTER SERVER run_ops OPTIONS (SET dbname 'no_such_database');
\set VERBOSITY terse
SELECT runops.detach('det.run');
SELECT runops.drop_store('d');
\set VERBOSITY default
ALTER SERVER run_ops OPTIONS (SET dbname 'runops_store');
SELECT runops.detach('det.run');
-- forced, the rows stay where they are
SELECT runops.drop_store('d', force => true);
SELECT id, n FROM det.run ORDER BY n;
\connect runops_store
SELECT * FROM det_shard.run;
DELETE FROM det.run;
\connect contrib_regression
\set SHOW_CONTEXT never

-- a view of the routed table is bound to it
CREATE VIEW det.v AS SELECT id FROM det.run;
SELECT runops.detach('det.run');
DROP VIEW det.v;
-- a partition of somebody's making would be dropped with its rows
CREATE TABLE det.other PARTITION OF det.run FOR VALUES IN ('q');
SELECT runops.detach('det.run', force => true);
ALTER TABLE det.run DETACH PARTITION runops_legacy.run;
ALTER TABLE det.run DETACH PARTITION det.other;
DROP TABLE det.other;
-- an alias keeps its name, a key need not
CREATE TABLE det.named (id text PRIMARY KEY, alias text);
SELECT runops.attach('det.named', 'id', '{alias}');
ALTER TABLE det.named RENAME alias TO x;
ALTER TABLE det.named RENAME id TO x;
SELECT runops.detach('det.named', force => true);
DROP TABLE det.named;
-- a partitioned table that refers to the leaf is no obstacle
SELECT runops.detach('det.run');
SELECT tableoid::regclass, * FROM det.run;
INSERT INTO det.child VALUES (2, 'c000000000000000000000002');
INSERT INTO det.child VALUES (3, 'c000000000000000000000001');
DELETE FROM det.run;
ALTER TABLE det.child DETACH PARTITION det.child_1;
DELETE FROM det.run;
DROP TABLE det.child_1;

-- what is not routed
SELECT runops.detach('det.run');
SELECT runops.detach(NULL);

-- a table that was renamed and changed while it was routed
SELECT runops.attach('det.run', 'id');
CREATE SCHEMA det_2;
ALTER TABLE det.run SET SCHEMA det_2;
ALTER TABLE det_2.run RENAME TO runs;
ALTER TABLE det_2.runs ADD COLUMN added int DEFAULT 5, ALTER n TYPE bigint;
CREATE INDEX runs_n ON det_2.runs (n);
ALTER TABLE ONLY det_2.runs ALTER n SET DEFAULT 4;
CREATE STATISTICS det_2.runs_stats ON id, n FROM det_2.runs;
CREATE FUNCTION det_2.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER nothing AFTER DELETE ON det_2.runs FOR EACH ROW EXECUTE FUNCTION det_2.nothing();
SELECT runops.detach('det_2.runs');
\d det_2.runs
SELECT * FROM det_2.runs;
SELECT count(*) FROM runops.table_config WHERE relation::text ~ 'det';
SET client_min_messages = warning;
DROP SCHEMA det, det_2 CASCADE;
\connect runops_store
SET client_min_messages = warning;
DROP SCHEMA det, det_shard CASCADE;
