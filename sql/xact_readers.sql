-- xact_readers: readers that add_store accepts, and the foreign tables that represent
-- them; test/t/036_xact_readers.pl tests the statements that a reader serves
\set SHOW_CONTEXT never
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY '{rd_shard,rd_reader,rd_other}'::text[] LOOP
		EXECUTE format('CREATE SERVER %s FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
			name, current_setting('unix_socket_directories'), current_setting('port'), 'runops_store');
	END LOOP;
END
$$;
CREATE SERVER rd_foreign FOREIGN DATA WRAPPER postgres_fdw;
CREATE USER MAPPING FOR CURRENT_USER SERVER rd_shard;
CREATE USER MAPPING FOR CURRENT_USER SERVER rd_reader;

-- what cannot be one
SELECT runops.add_store('r', 'rd_shard', reader => 'nowhere');
SELECT runops.add_store('r', 'rd_shard', reader => 'rd_foreign');
SELECT runops.add_store('r', 'rd_shard', reader => 'rd_shard');
SELECT runops.add_store('r', 'rd_shard', reader => 'run_ops');
SELECT runops.add_store('r', 'rd_shard', 'rd_reader', 'rd_schema');
SELECT runops.add_store('s', 'rd_other', 'rd_reader', 'rd_schema');
SELECT runops.add_store('s', 'rd_reader', NULL, 'rd_schema');
-- stores of one server have one reader: a join of the two is read from one
SELECT runops.add_store('s', 'rd_shard', NULL, 'rd_schema2');
SELECT runops.add_store('s', 'rd_shard', 'rd_other', 'rd_schema2');
SELECT runops.add_store('s', 'rd_shard', 'rd_reader', 'rd_schema2');
SELECT runops.drop_store('s');
-- legacy is this database
SELECT runops.add_store('legacy', NULL);
SELECT runops.add_store('legacy', NULL, 'rd_reader');
SELECT runops.add_store('legacy', NULL, 'rd_other');
SELECT runops.add_store('legacy', NULL, 'rd_foreign');

-- a foreign table stands for a reader, and cannot be taken away
SELECT store, server, reader FROM runops.stores ORDER BY store COLLATE "C";
\d runops_shard_r.*
\d runops_legacy.runops_reader
DROP FOREIGN TABLE runops_shard_r.runops_reader;
DROP SERVER rd_reader;
ALTER SERVER rd_reader RENAME TO rd_reader2;
CREATE TABLE rd_run (id text PRIMARY KEY, n int);
INSERT INTO rd_run VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('rd_run', 'id');
DROP SCHEMA runops_shard_r CASCADE;
DROP SERVER rd_reader CASCADE;
DROP FOREIGN TABLE runops_shard_r.runops_reader CASCADE;

-- a reader that is no standby of its writer closes the gate to reads, and no other
\connect runops_store
CREATE SCHEMA rd_schema;
CREATE TABLE rd_schema.rd_run (id text PRIMARY KEY, n int);
INSERT INTO rd_schema.rd_run VALUES ('0123456789abcdefghijklmnr2', 2);
\connect contrib_regression
\set SHOW_CONTEXT never
\set R '0123456789abcdefghijklmnr2'
SELECT store, verdict, reason FROM runops.recheck('r');
SELECT n FROM rd_run WHERE id = :'R';
SELECT n FROM rd_run WHERE id = :'R' FOR UPDATE;
BEGIN;
UPDATE rd_run SET n = 3 WHERE id = :'R';
SELECT n FROM rd_run WHERE id = :'R';
ROLLBACK;
EXPLAIN (COSTS OFF) SELECT n FROM rd_run WHERE id = :'R';
SELECT n FROM rd_run WHERE id = 'c000000000000000000000001';
SELECT severity, finding, hint FROM runops.doctor() WHERE finding LIKE 'reader%';
SELECT reader_reads FROM runops.stats WHERE store = 'r' AND relation = 'rd_run'::regclass;
SELECT state, reason FROM runops.status() WHERE item IN ('store:legacy', 'co_residency') ORDER BY item;

-- without the reader: leaves go and come, rows stay
BEGIN;
SELECT runops.drop_store('r', force => true);
SELECT runops.add_store('r', 'rd_shard', remote_schema => 'rd_schema');
COMMIT;
SELECT n FROM rd_run WHERE id = :'R';
\d runops_shard_r.*
SELECT runops.drop_store('legacy');
SELECT runops.drop_store('legacy');
SELECT to_regclass('runops_legacy.runops_reader');
SELECT runops.drop_store('r', force => true);
-- a schema that others have would let them put a reader of their own there
CREATE ROLE rd_planter;
CREATE SCHEMA runops_shard_r AUTHORIZATION rd_planter;
CREATE FOREIGN TABLE runops_shard_r.runops_reader () SERVER rd_other;
SELECT runops.add_store('r', 'rd_shard', remote_schema => 'rd_schema');
SELECT runops.add_store('r', 'rd_shard', reader => 'rd_reader', remote_schema => 'rd_schema');
DROP SCHEMA runops_shard_r CASCADE;
DROP ROLE rd_planter;
SELECT runops.detach('rd_run');
DROP TABLE rd_run;
DROP SERVER rd_shard CASCADE;
DROP SERVER rd_reader CASCADE;
DROP SERVER rd_other, rd_foreign;
\connect runops_store
DROP SCHEMA rd_schema CASCADE;
