-- session_queries: rows of a store in memory and on disk, cursors that go back,
-- prepared statements of the session, and rows of odd sizes
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema queries
\i :helpers
CREATE FUNCTION k(int) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT '0123456789abcdefghijk' || lpad($1::text, 3, '0') || 'e1'$$;
INSERT INTO run SELECT k(g), 'run_' || k(g), 'big', 100 + g, jsonb_build_object('x', repeat('x', 2000)) FROM generate_series(1, 900) g;
-- many rows of a store are expected, so that it gets a cursor
ANALYZE run;
ANALYZE runops_new.run;
ANALYZE runops_shard_a.run;

-- the first rows do not fit into work_mem, and there are more
SET work_mem = '64kB';
SELECT count(*), count(DISTINCT id), sum(length(meta::text)) FROM (SELECT id, meta FROM run WHERE env = 'big' OFFSET 0) r;
SELECT count(*), count(DISTINCT id), sum(length(meta::text)) FROM (SELECT id, meta FROM run OFFSET 0) r;
-- fewer are expected, so that they come without a cursor
SELECT count(*), count(DISTINCT id), sum(length(meta::text)) FROM (SELECT id, meta FROM run WHERE id > k(0) AND id < k(999) AND n % 2 = 0 AND env = 'big' AND "friendlyId" > 'run' OFFSET 0) r;

-- forwards and backwards, over rows that are in memory, on disk, and gone
CREATE FUNCTION fetched(c refcursor, VARIADIC steps int[]) RETURNS SETOF int LANGUAGE plpgsql AS $$
DECLARE
	step int;
	r record;
BEGIN
	FOREACH step IN ARRAY steps LOOP
		FETCH ABSOLUTE step FROM c INTO r;
		RETURN NEXT r.n;
	END LOOP;
END
$$;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT n, meta FROM run WHERE env = 'big' ORDER BY n;
SELECT string_agg(f::text, ' ') FROM fetched('c', 1, 100, 101, 450, 449, 3, 900, 901, 899, 1, -1) f;
UPDATE run SET n = -n WHERE env = 'big';
SELECT string_agg(f::text, ' ') FROM fetched('c', 1, 100, 101, 450, 449, 3, 900, 901, 899, 1, -1) f;
ROLLBACK;
-- a write when the first rows are gone already
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT n, meta FROM runops_new.run WHERE env = 'big' ORDER BY n;
SELECT string_agg(f::text, ' ') FROM fetched('c', 300, 700) f;
UPDATE run SET n = -n WHERE env = 'big';
SELECT string_agg(f::text, ' ') FROM fetched('c', 701, 702, 1, 900) f;
SAVEPOINT a;
SELECT string_agg(f::text, ' ') FROM fetched('c', 2, 901) f;
ROLLBACK TO a;
SELECT string_agg(f::text, ' ') FROM fetched('c', 3, 899) f;
ROLLBACK;
-- closed out of order, and one that outlives the transaction
BEGIN;
DECLARE a CURSOR FOR SELECT n FROM run WHERE env = 'big' ORDER BY n;
DECLARE b SCROLL CURSOR FOR SELECT n FROM run WHERE env = 'big' ORDER BY n DESC;
DECLARE h SCROLL CURSOR WITH HOLD FOR SELECT n, meta FROM run WHERE env = 'big' ORDER BY n;
FETCH 1 FROM a;
FETCH 1 FROM b;
SELECT string_agg(f::text, ' ') FROM fetched('h', 500, 2) f;
CLOSE a;
UPDATE run SET n = -n WHERE id = k(1);
FETCH 2 FROM b;
CLOSE b;
UPDATE run SET n = -n WHERE id = k(1);
COMMIT;
SELECT string_agg(f::text, ' ') FROM fetched('h', 500, 2, 900) f;
CLOSE h;

-- the same rows again: by a rescan that core announces, and one that it does not
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SET enable_memoize = off;
SELECT count(*), sum(r.n) FROM local l, (SELECT n FROM run WHERE env = 'big' OFFSET 0) r WHERE l.k < 3;
SELECT sum((SELECT sum(r.n) FROM (SELECT n, meta FROM run WHERE env = 'big' OFFSET 0) r WHERE r.n % 10 = l.k)) FROM local l WHERE l.k < 3;
SELECT l.k, a.n FROM local l, LATERAL (SELECT count(*) AS n FROM attempt WHERE "runId" = l.ref OFFSET 0) a ORDER BY l.k;
-- a search for each of many rows leaves nothing in the statement's memory
CREATE TABLE wanted AS SELECT k(g % 900 + 1) AS id FROM generate_series(1, 2000) g;
CREATE FUNCTION small_memory(bigint) RETURNS boolean LANGUAGE sql VOLATILE AS $$SELECT bool_and($1 = 2000 AND used_bytes < 1000000) FROM pg_backend_memory_contexts WHERE name = 'ExecutorState'$$;
SELECT small_memory(count(*)) FROM wanted w, LATERAL (SELECT n FROM runops_new.run WHERE id = w.id OFFSET 0) r;
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;
RESET enable_memoize;
SELECT count(*) FROM (SELECT * FROM run a JOIN run b USING (id) LIMIT 5) s;
WITH RECURSIVE t(i, id) AS (SELECT 1, k(1) UNION ALL SELECT i + 1, r.id FROM t JOIN run r ON r.n = t.i + 101 WHERE i < 5) SELECT i, id FROM t;

-- no more on disk than allowed; the session goes on
SET temp_file_limit = '100kB';
\set VERBOSITY sqlstate
SELECT count(meta) FROM (SELECT id, meta FROM run OFFSET 0) r;
BEGIN;
SELECT count(*) FROM local;
SAVEPOINT a;
SELECT count(meta) FROM (SELECT id, meta FROM run OFFSET 0) r;
ROLLBACK TO a;
SELECT count(*) FROM (SELECT id FROM run OFFSET 0) r;
COMMIT;
\set VERBOSITY default
RESET temp_file_limit;

-- the same over asynchronous scans; an error inside a savepoint leaves what was
-- sent outside of it alone
ALTER SERVER run_ops OPTIONS (ADD async_capable 'true');
ALTER SERVER queries_a OPTIONS (ADD async_capable 'true');
SELECT count(*), count(DISTINCT id), sum(length(meta::text)) FROM (SELECT id, meta FROM run OFFSET 0) r;
SELECT count(id) FROM (SELECT id, meta FROM run LIMIT 3) r;
DO $$
#variable_conflict use_column
DECLARE
	r record;
	total int := 0;
BEGIN
	UPDATE run SET n = n WHERE id = k(1);
	FOR r IN SELECT id, n, meta FROM run LOOP
		BEGIN
			total := total + 1;
			PERFORM 1 / (r.n % 7);
			UPDATE run SET n = -n WHERE id = r.id;
			PERFORM 1 / (r.n % 3);
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END LOOP;
	ASSERT total = 906, total;
	ASSERT (SELECT count(*) FILTER (WHERE n < 0) FROM run) = (SELECT count(*) FROM run WHERE abs(n) % 7 <> 0 AND abs(n) % 3 <> 0);
	UPDATE run SET n = abs(n);
END
$$;
BEGIN;
DECLARE c CURSOR FOR SELECT n, meta FROM run;
SAVEPOINT a;
MOVE 1 FROM c;
ROLLBACK TO a;
DO $$
DECLARE
	r record;
	c CONSTANT refcursor := 'c';
	n int := 1;
BEGIN
	LOOP
		FETCH c INTO r;
		EXIT WHEN NOT FOUND;
		n := n + 1;
	END LOOP;
	ASSERT n = 906, n;
END
$$;
COMMIT;
ALTER SERVER run_ops OPTIONS (DROP async_capable);
ALTER SERVER queries_a OPTIONS (DROP async_capable);
RESET work_mem;

-- code of users uses the same connection while a row is converted
CREATE TABLE noted (n int);
CREATE FUNCTION writes(int) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	IF current_setting('queries.writes', true) = 'yes' AND $1 % 50 = 0 THEN
		UPDATE queries.run SET env = 'big' WHERE id = queries.k(1);
		INSERT INTO queries.noted SELECT count(*) FROM queries.run WHERE n < 110;
	END IF;
	RETURN true;
END
$$;
CREATE DOMAIN checked_int AS int CHECK (writes(VALUE));
CREATE FOREIGN TABLE checked (id text, n checked_int, meta jsonb) SERVER run_ops OPTIONS (schema_name 'queries', table_name 'run');
ANALYZE checked;
SET queries.writes = 'yes';
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT n FROM checked WHERE n > 100 ORDER BY n;
SELECT string_agg(f::text, ' ') FROM fetched('c', 49, 149, 150, 151, 400, 2, 901) f;
COMMIT;
SELECT count(*), sum(n), count(DISTINCT meta) FROM checked WHERE n > 100;
SELECT count(*) > 5, count(DISTINCT n) FROM noted;
RESET queries.writes;
DROP FOREIGN TABLE checked;

-- a column of the store gets another type between two executions
PREPARE by_id(text) AS SELECT n, env FROM run WHERE id = $1;
PREPARE set_n(text) AS UPDATE run SET env = env WHERE id = $1 RETURNING n;
EXECUTE by_id(k(5));
EXECUTE set_n(k(5));
INSERT INTO run VALUES (k(901), 'run_' || k(901), 'new', 5) RETURNING n;
SELECT runops.remote_exec('new', 'ALTER TABLE queries.run ALTER n TYPE bigint');
EXECUTE by_id(k(5));
EXECUTE set_n(k(5));
INSERT INTO run VALUES (k(902), 'run_' || k(902), 'new', 5) RETURNING n;
-- two scans of one snapshot
SELECT count(*) FROM run a, run b WHERE a.id = k(5) AND b.id = k(6) AND a.n < b.n + random();
SELECT runops.remote_exec('new', 'ALTER TABLE queries.run ALTER n TYPE int');
SELECT count(*) FROM run a, run b WHERE a.id = k(5) AND b.id = k(6) AND a.n < b.n + random();
-- in a transaction that has used the store it is an error, and only once for
-- all statements
BEGIN;
UPDATE run SET env = env WHERE id = k(7);
EXECUTE by_id(k(5));
ROLLBACK;
EXECUTE by_id(k(5));
BEGIN;
UPDATE run SET env = env WHERE id = k(7);
SAVEPOINT a;
EXECUTE set_n(k(5));
ROLLBACK TO a;
EXECUTE set_n(k(5));
COMMIT;
SELECT runops.remote_exec('new', 'ALTER TABLE queries.run ALTER n TYPE bigint');
BEGIN;
UPDATE run SET env = env WHERE id = k(7);
SAVEPOINT a;
EXECUTE set_n(k(5));
ROLLBACK TO a;
EXECUTE set_n(k(5));
COMMIT;
SELECT runops.remote_exec('new', 'ALTER TABLE queries.run ALTER n TYPE int');
-- the store has forgotten the statements
SELECT runops.remote_exec('new', $$CREATE FUNCTION queries.forget() RETURNS int LANGUAGE plpgsql AS 'BEGIN EXECUTE ''DEALLOCATE ALL''; RETURN 1; END'$$);
CREATE FOREIGN TABLE forget (n int) SERVER run_ops OPTIONS (schema_name 'queries', table_name 'forget');
SELECT runops.remote_exec('new', 'CREATE VIEW queries.forget AS SELECT queries.forget() AS n');
SELECT * FROM forget;
EXECUTE by_id(k(5));
EXECUTE set_n(k(5));

-- more statements than a connection keeps
DO $$
DECLARE
	total bigint := 0;
	n bigint;
BEGIN
	FOR round IN 1 .. 2 LOOP
		FOR i IN 1 .. 250 LOOP
			EXECUTE format('SELECT count(*) FROM run WHERE id = k(5) AND n <> -%s', i) INTO n;
			total := total + n;
		END LOOP;
	END LOOP;
	ASSERT total = 500, total;
END
$$;
EXECUTE by_id(k(5));

-- large values, many columns, no column, NULLs, whole rows and system columns
UPDATE run SET meta = jsonb_build_object('x', repeat('y', 20000000)) WHERE id = k(5) RETURNING length(meta ->> 'x');
SELECT length(meta ->> 'x') FROM run WHERE id = k(5);
SELECT sum(length(meta ->> 'x')), count(*) FROM (SELECT meta FROM run WHERE env = 'big' OFFSET 0) r;
UPDATE run SET meta = NULL WHERE id = k(5);
SELECT count(*) FROM run WHERE id = k(5);
SELECT count(*) FROM (SELECT FROM run OFFSET 0) r;
SELECT r, r IS NULL, (r).n FROM run r WHERE id = k(5);
SELECT a, b.id FROM run a LEFT JOIN attempt b ON b."runId" = a.id WHERE a.id = k(5);
SELECT tableoid::regclass, ctid IS NOT NULL, xmin FROM run WHERE id = k(5);
SELECT format('CREATE TABLE wide (%s)', string_agg(format('c%s text', g), ', ')) AS ddl FROM generate_series(1, 1500) g \gset
SELECT runops.remote_exec('new', replace(:'ddl', 'TABLE wide', 'TABLE queries.wide')), runops.remote_exec('new', 'CREATE TABLE queries.none ()'),
	runops.remote_exec('new', 'INSERT INTO queries.none DEFAULT VALUES');
SELECT replace(:'ddl', 'TABLE wide', 'FOREIGN TABLE wide') || $$ SERVER run_ops OPTIONS (schema_name 'queries')$$ AS ddl \gset
:ddl;
INSERT INTO wide (c1, c700, c1500) VALUES ('a', NULL, 'c'), (NULL, 'b', ''), (NULL, NULL, NULL);
SELECT c1, c700, c1500 FROM wide;
SELECT w IS NULL, length(w::text) FROM wide w;
UPDATE wide SET c2 = c1 || c1500 WHERE random() >= 0 RETURNING c2;
DELETE FROM wide WHERE c2 = 'ac' RETURNING c1500;
CREATE FOREIGN TABLE nothing () SERVER run_ops OPTIONS (schema_name 'queries', table_name 'none');
SELECT * FROM nothing;
INSERT INTO nothing DEFAULT VALUES;
SELECT count(*) FROM nothing;
DROP FOREIGN TABLE wide, nothing, forget;

\set helpers :srcdir '/sql/include/planner_end.sql'
\i :helpers
