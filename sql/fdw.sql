-- fdw: the wrapper works like postgres_fdw, under any search_path
\set VERBOSITY terse
\connect runops_store
CREATE TABLE fdw_run (id text PRIMARY KEY, env text, parent_id text, n int);
CREATE INDEX ON fdw_run (parent_id);
INSERT INTO fdw_run VALUES ('0123456789abcdefghijklmna1', 'e', 'c000000000000000000000001', 2);
\connect contrib_regression
CREATE TABLE fdw_run (id text PRIMARY KEY, env text, parent_id text, n int);
CREATE INDEX ON fdw_run (parent_id);
CREATE INDEX ON fdw_run (env) WHERE n > 0;
INSERT INTO fdw_run SELECT 'c' || lpad(g::text, 24, '0'), 'e' || g, NULL, 1 FROM generate_series(1, 1000) g;
SELECT runops.attach('fdw_run', 'id');
ANALYZE runops_legacy.fdw_run;
\set N '0123456789abcdefghijklmna1'
\set L 'c000000000000000000000001'

-- the handler and the validator do not depend on the search_path
\connect
SET search_path = '';
SELECT pg_catalog.count(*) FROM public.fdw_run;
CREATE SERVER fdw_other FOREIGN DATA WRAPPER runops_fdw OPTIONS (host 'x', batch_size '10');
CREATE SERVER fdw_bad FOREIGN DATA WRAPPER runops_fdw OPTIONS (nonsense 'x');
ALTER SERVER fdw_other OPTIONS (SET batch_size '0');
DROP SERVER fdw_other;
RESET search_path;

-- pushed down as by postgres_fdw
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*), max(n) FROM runops_new.fdw_run WHERE id = :'N';
SELECT count(*), max(n) FROM runops_new.fdw_run WHERE id = :'N';
EXPLAIN (VERBOSE, COSTS OFF) SELECT a.n FROM runops_new.fdw_run a JOIN runops_new.fdw_run b ON b.id = a.id WHERE a.id = :'N';
EXPLAIN (VERBOSE, COSTS OFF) UPDATE runops_new.fdw_run SET n = n + 1 WHERE id = :'N' RETURNING n;
UPDATE runops_new.fdw_run SET n = n + 1 WHERE id = :'N' RETURNING n;
EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM runops_new.fdw_run WHERE id = :'N';
EXPLAIN (VERBOSE, COSTS OFF) INSERT INTO runops_new.fdw_run VALUES ('x');

-- NOWAIT and SKIP LOCKED are sent, and keep a join from being sent whole
EXPLAIN (VERBOSE, COSTS OFF) SELECT n FROM runops_new.fdw_run FOR UPDATE SKIP LOCKED;
EXPLAIN (VERBOSE, COSTS OFF) SELECT n FROM runops_new.fdw_run FOR KEY SHARE NOWAIT;
EXPLAIN (VERBOSE, COSTS OFF) SELECT a.n FROM runops_new.fdw_run a JOIN runops_new.fdw_run b USING (id) WHERE a.id = :'N' FOR UPDATE OF a SKIP LOCKED;
EXPLAIN (VERBOSE, COSTS OFF) SELECT a.n FROM runops_new.fdw_run a JOIN runops_new.fdw_run b USING (id) WHERE a.id = :'N' FOR UPDATE OF a;
SELECT id, n FROM fdw_run WHERE id IN (:'N', :'L') ORDER BY n FOR UPDATE SKIP LOCKED;

-- rows by every way, with RETURNING
INSERT INTO fdw_run VALUES ('0123456789abcdefghijklmnb1', 'e', NULL, 3), ('c_one', 'e', NULL, 4) RETURNING tableoid::regclass, *;
INSERT INTO fdw_run VALUES (:'N'), (:'L'), ('0123456789abcdefghijklmnc1'), (:'N') ON CONFLICT DO NOTHING RETURNING id;
UPDATE fdw_run SET n = n + random()::int * 0 + 1 WHERE id IN (:'N', :'L', '0123456789abcdefghijklmnb1') RETURNING id, n;
COPY fdw_run FROM STDIN;
0123456789abcdefghijklmnd1	copied	\N	5
c_two	copied	\N	6
\.
SELECT tableoid::regclass, * FROM fdw_run WHERE env = 'copied' ORDER BY n;
DELETE FROM fdw_run WHERE n = 3 + 1 AND id <> 'c_one' RETURNING id, n;
WITH d AS (DELETE FROM fdw_run WHERE id = '0123456789abcdefghijklmnc1' RETURNING *)
INSERT INTO fdw_run SELECT '0123456789abcdefghijklmne1', env, parent_id, 8 FROM d RETURNING id, n;

-- in batches, within the number of parameters that a statement can have
ALTER SERVER run_ops OPTIONS (ADD batch_size '60000');
INSERT INTO fdw_run SELECT '0123456789abcdefghij' || lpad(g::text, 4, '0') || '01', 'batch', NULL, g FROM generate_series(1, 9999) g;
INSERT INTO runops_new.fdw_run SELECT '0123456789abcdefgh' || lpad(g::text, 7, '0') || '1', 'batch', NULL, g FROM generate_series(1, 20000) g;
EXPLAIN (VERBOSE, COSTS OFF) INSERT INTO runops_new.fdw_run VALUES ('x'), ('y');
COPY fdw_run FROM STDIN;
0123456789abcdefghij0000a1	batch	\N	0
0123456789abcdefghij0000b1	batch	\N	0
\.
SELECT count(*), sum(n) FROM fdw_run WHERE env = 'batch';
DELETE FROM fdw_run WHERE env = 'batch' AND n > 0;

-- a trigger on the leaf ends batches and sees the rows before it
CREATE FUNCTION fdw_count() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.n := (SELECT count(*) FROM fdw_run WHERE env = 'batch'); RETURN NEW; END $$;
CREATE TRIGGER fdw_count BEFORE INSERT ON runops_new.fdw_run FOR EACH ROW EXECUTE FUNCTION fdw_count();
INSERT INTO fdw_run VALUES ('0123456789abcdefghijklb001', 'batch'), ('0123456789abcdefghijklb011', 'batch'), ('0123456789abcdefghijklb021', 'batch');
SELECT id, n FROM fdw_run WHERE env = 'batch' ORDER BY id;
DROP TRIGGER fdw_count ON runops_new.fdw_run;
DROP FUNCTION fdw_count();
DELETE FROM fdw_run WHERE env = 'batch';
ALTER SERVER run_ops OPTIONS (DROP batch_size);

-- savepoints and errors leave the connection usable
BEGIN;
SAVEPOINT s;
INSERT INTO fdw_run VALUES ('0123456789abcdefghijklmsp1');
ROLLBACK TO s;
INSERT INTO fdw_run VALUES ('0123456789abcdefghijklmsp1');
INSERT INTO fdw_run VALUES ('0123456789abcdefghijklmsp1');
ROLLBACK;
SELECT count(*) FROM fdw_run WHERE id = '0123456789abcdefghijklmsp1';

-- a statement that no row takes to the store does not connect: the last
-- connection goes when the server is altered, and none is made
ALTER SERVER run_ops OPTIONS (SET host '/nonexistent');
PREPARE fdw_update(text) AS UPDATE fdw_run SET n = n + 1 WHERE id = $1 AND n > random() - 1 AND runops.store_of(id) = runops.store_of($1) RETURNING id, n;
SET plan_cache_mode = force_generic_plan;
EXECUTE fdw_update(:'L');
EXECUTE fdw_update(:'N');
RESET plan_cache_mode;
INSERT INTO runops_new.fdw_run SELECT * FROM runops_legacy.fdw_run WHERE false;

-- ANALYZE warns of a store that does not answer, and goes on
UPDATE pg_class SET reltuples = 77 WHERE oid = 'runops_new.fdw_run'::regclass;
ANALYZE runops_new.fdw_run;
BEGIN;
ANALYZE fdw_run;
SELECT relname, reltuples FROM pg_class WHERE oid = ANY ('{fdw_run, runops_new.fdw_run}'::regclass[]) ORDER BY 2;
COMMIT;
DO $$
BEGIN
	EXECUTE format('ALTER SERVER run_ops OPTIONS (SET host %L)', current_setting('unix_socket_directories'));
END
$$;
ALTER EVENT TRIGGER runops_protect_start DISABLE;
ALTER FOREIGN TABLE runops_new.fdw_run OPTIONS (SET table_name 'missing');
ANALYZE fdw_run;
ALTER FOREIGN TABLE runops_new.fdw_run OPTIONS (SET table_name 'fdw_run');
ALTER EVENT TRIGGER runops_protect_start ENABLE;
ANALYZE fdw_run;
SELECT relname, reltuples FROM pg_class WHERE oid = ANY ('{fdw_run, runops_new.fdw_run}'::regclass[]) ORDER BY 2;

-- a join into the routed table searches the store by what is indexed
CREATE TABLE fdw_archive (k int, run_id text, env text, vc varchar(40), runs text[]);
INSERT INTO fdw_archive
	SELECT g, CASE g % 2 WHEN 0 THEN 'c' || lpad(g::text, 24, '0') ELSE :'N' END, 'e' || g,
		'c' || lpad(g::text, 24, '0'), ARRAY[:'N', 'c' || lpad(g::text, 24, '0')]
	FROM generate_series(1, 20) g;
INSERT INTO runops_legacy.fdw_run SELECT 'c' || lpad(g::text, 24, '0'), 'e' || g, NULL, 1 FROM generate_series(1001, 40000) g;
ANALYZE fdw_archive, runops_legacy.fdw_run;
-- make the remote table look large
UPDATE pg_class SET reltuples = 40000, relpages = 400 WHERE oid = 'runops_new.fdw_run'::regclass;
CREATE FUNCTION fdw_remote_sql(query text) RETURNS SETOF text LANGUAGE plpgsql AS
$$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
		-- which side a parameter stands on, and the numbers of tables, change with versions
		RETURN QUERY SELECT regexp_replace(regexp_replace(trim(line), '\((\$1::[^=]*) = (\w+)\)', '(\2 = \1)'), '\mr[0-9]+\M', 'r#', 'g') WHERE line ~ 'Aggregate|Join|Nested|Remote SQL|Scan|Filter|Cond';
	END LOOP;
END
$$;
-- by the key, an inner, outer, semi and anti join, varchar, an array
SELECT fdw_remote_sql('SELECT r.n FROM fdw_archive a JOIN fdw_run r ON r.id = a.run_id WHERE a.k < 3');
SELECT fdw_remote_sql('SELECT r.n FROM fdw_archive a LEFT JOIN fdw_run r ON r.id = a.run_id WHERE a.k < 3');
SELECT fdw_remote_sql('SELECT a.k FROM fdw_archive a WHERE a.k < 3 AND EXISTS (SELECT 1 FROM fdw_run r WHERE r.id = a.run_id)');
SELECT fdw_remote_sql('SELECT a.k FROM fdw_archive a WHERE a.k < 3 AND NOT EXISTS (SELECT 1 FROM fdw_run r WHERE r.id = a.run_id)');
SELECT fdw_remote_sql('SELECT r.n FROM fdw_archive a JOIN fdw_run r ON r.id = a.vc WHERE a.k < 3');
SELECT fdw_remote_sql('SELECT r.n FROM fdw_archive a JOIN fdw_run r ON r.id = ANY (a.runs) WHERE a.k < 2');
-- by another indexed column
SELECT fdw_remote_sql('SELECT r.n FROM fdw_archive a JOIN fdw_run r ON r.parent_id = a.run_id WHERE a.k < 2');
-- not by a column of which only a partial index is known, nor with a collation that the store may not have
SELECT fdw_remote_sql('SELECT r.n FROM fdw_archive a JOIN fdw_run r ON r.env = a.env WHERE a.k < 2');
SELECT fdw_remote_sql('SELECT r.n FROM fdw_archive a JOIN fdw_run r ON r.id = a.run_id COLLATE "C" WHERE a.k < 2');
-- what is found
INSERT INTO fdw_run VALUES (:'N', 'e', 'c' || lpad('1', 24, '0'), 1);
SELECT a.k, r.id FROM fdw_archive a JOIN fdw_run r ON r.id = a.run_id WHERE a.k < 4 ORDER BY 1;
SELECT a.k, r.id FROM fdw_archive a LEFT JOIN fdw_run r ON r.id = a.run_id AND r.n = 1 WHERE a.k < 4 ORDER BY 1;
SELECT a.k, r.id FROM fdw_archive a JOIN fdw_run r ON r.id = ANY (a.runs) WHERE a.k < 3 ORDER BY 1, 2;
SELECT a.k, (SELECT count(*) FROM fdw_run r WHERE r.parent_id = a.vc) FROM fdw_archive a WHERE a.k < 3 ORDER BY 1;
-- a statement that changes the table does not see its own changes
INSERT INTO fdw_run VALUES ('0123456789abcdefghijklmpa1', 'own', :'N', 0);
BEGIN;
WITH i AS (INSERT INTO fdw_run SELECT '0123456789abcdefghijklmp' || a.k % 10 || '1', 'own', r.parent_id, a.k
	FROM fdw_archive a JOIN fdw_run r ON r.parent_id = a.run_id WHERE a.k IN (1, 3, 5, 7) RETURNING id)
SELECT id FROM i ORDER BY id;
ROLLBACK;
UPDATE fdw_run r SET n = n + 1 FROM fdw_archive a WHERE r.id = a.run_id AND a.k IN (1, 3) RETURNING r.id, r.n;
UPDATE fdw_run t SET parent_id = NULL FROM fdw_archive a JOIN fdw_run r ON r.parent_id = a.run_id WHERE t.id = r.id AND a.k IN (1, 3) RETURNING t.id;
DELETE FROM fdw_run r USING fdw_archive a WHERE r.id = a.run_id AND a.k IN (1, 3, 4) RETURNING r.id;
INSERT INTO fdw_run VALUES (:'N', 'e', 'c' || lpad('1', 24, '0'), 1), ('c' || lpad('4', 24, '0'), 'e4', NULL, 1);
DELETE FROM fdw_run WHERE env = 'own';

-- with partition-wise joins the leaves are joined with one another
SET enable_partitionwise_join = on;
SELECT fdw_remote_sql('SELECT a.n FROM fdw_run a JOIN fdw_run b ON b.id = a.id AND runops.store_of(b.id) = runops.store_of(a.id) WHERE a.n = 77');
SELECT fdw_remote_sql('SELECT a.n FROM fdw_run a LEFT JOIN fdw_run b ON b.id = a.id AND runops.store_of(b.id) = runops.store_of(a.id) AND b.n = 1 WHERE a.n = 77');
SELECT a.id, b.n FROM fdw_run a LEFT JOIN fdw_run b ON b.id = a.id AND runops.store_of(b.id) = runops.store_of(a.id) AND b.n = 1 WHERE a.id IN (:'N', '0123456789abcdefghijklmnd1') ORDER BY 1;
-- the comparison of stores stays where an outer join may have made it NULL
SELECT count(*), count(b.id), count(c.id) FROM (fdw_run a LEFT JOIN fdw_run b ON b.id = a.id AND runops.store_of(b.id) = runops.store_of(a.id) AND b.n = 1)
	LEFT JOIN fdw_run c ON c.id = a.id AND runops.store_of(c.id) = runops.store_of(a.id) AND runops.store_of(c.id) = runops.store_of(b.id);
RESET enable_partitionwise_join;
-- a join of two tables of one store is done there
SELECT fdw_remote_sql($$SELECT a.n FROM runops_new.fdw_run a JOIN runops_new.fdw_run b ON b.parent_id = a.id WHERE a.env = 'e'$$);
SELECT fdw_remote_sql($$SELECT count(*) FROM runops_new.fdw_run a JOIN runops_new.fdw_run b ON b.parent_id = a.id WHERE a.env = 'e' AND b.n > 5$$);

DROP FUNCTION fdw_remote_sql(text);
DROP TABLE fdw_archive;
SELECT runops.detach('fdw_run', true);

DROP TABLE fdw_run;
\connect runops_store
DROP TABLE fdw_run;
