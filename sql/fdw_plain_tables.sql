-- fdw_plain_tables: foreign tables of runops_fdw that are no leaves of a routed table
-- (The test of postgres_fdw is run against runops_fdw by test/fdw_suite.)
\set main :DBNAME
\c runops_store
CREATE TABLE plain_there (id int PRIMARY KEY, n int, pad text);
INSERT INTO plain_there SELECT i, i % 10, 'x' FROM generate_series(1, 1000) i;
ANALYZE plain_there;
CREATE TABLE plain_there2 AS TABLE plain_there;
CREATE TABLE plain_there3 AS TABLE plain_there;
\c :main
SET client_min_messages = warning;
CREATE FOREIGN TABLE plain_ft (id int NOT NULL, n int, pad text) SERVER run_ops OPTIONS (table_name 'plain_there', schema_name 'public');

-- each of these searches the foreign table once for each row of another one, and some change it
SELECT id FROM plain_ft WHERE n = (SELECT max(id) FROM plain_ft WHERE id < 4) ORDER BY id LIMIT 3;
SELECT id FROM plain_ft WHERE id = ANY (ARRAY(SELECT id FROM plain_ft WHERE id < 5)) ORDER BY id;
SELECT i, q.c FROM generate_series(1, 3) i, LATERAL (SELECT DISTINCT a.n + b.n AS c FROM plain_ft a, plain_ft b WHERE a.id = b.id AND a.id = i) q ORDER BY i;
UPDATE plain_ft t SET n = (SELECT s.n * 10 FROM plain_ft s WHERE s.id = t.id) WHERE id < 4 RETURNING id, n;
DELETE FROM plain_ft t WHERE id IN (SELECT id + 1 FROM plain_ft s WHERE s.id = t.id - 1) AND id BETWEEN 998 AND 1000 RETURNING id;
SELECT id, n FROM plain_ft WHERE id < 5 OR id > 995 ORDER BY id;

-- the same of a routed table, with more rows than one fetch
CREATE TABLE plain_routed (id text PRIMARY KEY, k text, n int);
SELECT runops.attach('plain_routed', 'id');
SELECT count(*) FROM runops.provision('new', relation => 'plain_routed');
INSERT INTO plain_routed SELECT '0123456789abcdefghij' || lpad(i::text, 4, '0') || 'a1', 'k' || i, i FROM generate_series(1, 300) i;
UPDATE plain_routed t SET n = (SELECT s.n * 10 FROM plain_routed s WHERE s.id = t.id) WHERE n IN (1, 150, 300) RETURNING k, n;
UPDATE plain_routed t SET n = (SELECT max(s.n) FROM plain_routed s WHERE s.k < t.k) + 1 WHERE n % 70 = 0 RETURNING k, n;
DELETE FROM plain_routed;
SELECT runops.detach('plain_routed');
DROP TABLE plain_routed;

-- several asynchronous scans on one connection, whose rows are all rejected here
CREATE FUNCTION is_rare(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 = 505; END';
CREATE TABLE plain_parent (id int, n int, pad text) PARTITION BY LIST (pad);
CREATE FOREIGN TABLE plain_p1 PARTITION OF plain_parent FOR VALUES IN ('x') SERVER run_ops OPTIONS (table_name 'plain_there', schema_name 'public', async_capable 'true', fetch_size '50');
CREATE FOREIGN TABLE plain_p2 PARTITION OF plain_parent FOR VALUES IN ('y') SERVER run_ops OPTIONS (table_name 'plain_there2', schema_name 'public', async_capable 'true', fetch_size '70');
CREATE FOREIGN TABLE plain_p3 PARTITION OF plain_parent FOR VALUES IN ('z') SERVER run_ops OPTIONS (table_name 'plain_there3', schema_name 'public', async_capable 'true', fetch_size '90');
EXPLAIN (COSTS OFF) SELECT count(*), min(id), max(id) FROM plain_parent WHERE is_rare(id);
SELECT count(*), min(id), max(id) FROM plain_parent WHERE is_rare(id);
SELECT tableoid::regclass, id FROM plain_parent WHERE is_rare(id) ORDER BY 1;
SELECT count(*) FROM (SELECT id FROM plain_parent WHERE id % 7 = 0 AND is_rare(id + 1) LIMIT 2) q;
SELECT count(*), sum(id) FROM plain_parent;
SELECT count(*) FROM plain_parent a JOIN plain_parent b USING (id) WHERE is_rare(a.id) AND NOT is_rare(b.id + 1);
-- the rows of each scan are counted
CREATE FUNCTION scan_rows(sql text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) ' || sql LOOP
		IF line ~ 'Foreign Scan' THEN
			RETURN NEXT regexp_replace(trim(line), '\.00', '', 'g');
		END IF;
	END LOOP;
END
$$;
SELECT * FROM scan_rows('SELECT * FROM plain_parent') t;

-- a foreign table that must not be truncated
ALTER FOREIGN TABLE plain_ft OPTIONS (truncatable 'false');
TRUNCATE plain_ft;
ALTER SERVER run_ops OPTIONS (truncatable 'false');
ALTER FOREIGN TABLE plain_ft OPTIONS (DROP truncatable);
TRUNCATE plain_ft;
ALTER FOREIGN TABLE plain_ft OPTIONS (truncatable 'true');
TRUNCATE plain_ft;
SELECT count(*) FROM plain_ft;
ALTER SERVER run_ops OPTIONS (DROP truncatable);

DROP FOREIGN TABLE plain_ft;
DROP TABLE plain_parent;
DROP FUNCTION is_rare(int), scan_rows(text);
\c runops_store
DROP TABLE plain_routed, plain_there, plain_there2, plain_there3;
