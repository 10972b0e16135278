-- xact_cross_store_snapshots: one transaction with one snapshot that reads two
-- stores

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema css
\i :helpers
SELECT boot_val, context, enumvals FROM pg_settings WHERE name = 'runops.cross_store_snapshots';
SET runops.cross_store_snapshots = 'sometimes';
SET runops.cross_store_snapshots = error;
\set VERBOSITY default

-- READ COMMITTED may read all
BEGIN;
SELECT count(*) FROM run;
COMMIT;
SET default_transaction_isolation = 'repeatable read';
-- one store, with tables that are not routed
BEGIN;
SELECT n FROM run WHERE id = :'L';
SELECT n, k FROM run JOIN attempt ON "runId" = run.id WHERE run.id = :'L2';
SELECT count(*) FROM local;
UPDATE run SET n = n WHERE id = :'L';
COMMIT;
BEGIN;
SELECT count(*) FROM local;
SELECT n FROM run WHERE id = :'N';
SELECT run.n, k FROM run JOIN attempt ON "runId" = run.id WHERE run.id = :'K' ORDER BY k;
UPDATE run SET n = n WHERE id = :'N';
COMMIT;

-- two
BEGIN;
SELECT n FROM run WHERE id = :'L';
SELECT n FROM run WHERE id = :'N';
ROLLBACK;
BEGIN;
SELECT n FROM run WHERE id = :'N';
SELECT k FROM attempt WHERE "runId" = :'L';
ROLLBACK;
BEGIN;
SELECT n FROM run WHERE id = :'N';
SELECT n FROM run WHERE id = :'A';
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT n FROM run WHERE id = :'L';
SELECT n FROM run WHERE id = :'N';
ROLLBACK;
\set VERBOSITY terse
-- a statement of its own
SELECT count(*) FROM run;
SELECT n FROM run WHERE id IN (:'L', :'N');
SELECT n FROM run WHERE id IN (:'N', :'A');
SELECT n FROM run WHERE id = 'odd';
SELECT (SELECT n FROM run WHERE id = :'L'), (SELECT n FROM run WHERE id = :'N');
SELECT n FROM run WHERE "friendlyId" = 'run_' || :'Z';
-- a row that is not found was read
BEGIN;
SELECT n FROM run WHERE id = 'clegacy000000000000000009';
SELECT n FROM run WHERE id = :'N';
ROLLBACK;
BEGIN;
SELECT n FROM run WHERE id = '0123456789abcdefghijklmnz1';
SELECT n FROM run WHERE id = 'clegacy000000000000000009';
ROLLBACK;
-- the rows that are changed or locked are read too, but INSERT reads nothing
BEGIN;
UPDATE run SET n = n WHERE id = :'L';
UPDATE run SET n = n WHERE id = :'N';
ROLLBACK;
BEGIN;
DELETE FROM attempt WHERE "runId" = :'N';
SELECT n FROM run WHERE id = :'L' FOR UPDATE;
ROLLBACK;
BEGIN;
INSERT INTO attempt VALUES ('x1', :'N', 1), ('x2', :'L', 1) RETURNING k;
INSERT INTO run (id, "friendlyId") VALUES (:'L', 'run_' || :'L') ON CONFLICT DO NOTHING;
SELECT n FROM run WHERE id = :'L';
INSERT INTO attempt VALUES ('x3', :'N', 1) RETURNING k;
INSERT INTO attempt SELECT id, id, 1 FROM run WHERE id = :'L' RETURNING k;
INSERT INTO attempt SELECT 'x4', id, 1 FROM run WHERE id = :'N';
ROLLBACK;
-- the same without the planner hooks, which ask all stores, and whole statements
SET runops.enable_routing = off;
SELECT n FROM run WHERE id = :'L';
INSERT INTO attempt VALUES ('x1', :'N', 1), ('x2', :'L', 1);
DELETE FROM attempt WHERE id LIKE 'x%' AND "runId" = :'N';
RESET runops.enable_routing;
SET runops.enable_shipping = on;
DELETE FROM attempt WHERE id LIKE 'x%' AND "runId" = :'N';
DELETE FROM attempt WHERE id LIKE 'x%' AND "runId" = :'L';
BEGIN;
INSERT INTO run (id, "friendlyId", n) VALUES (:'N', 'run_' || :'N', 4) ON CONFLICT (id) DO UPDATE SET n = run.n RETURNING n;
SELECT n FROM run WHERE id = :'L';
INSERT INTO attempt VALUES ('x3', :'N', 1) RETURNING k;
SAVEPOINT s;
SELECT n, row_number() OVER () FROM run WHERE id = :'N';
ROLLBACK TO s;
WITH u AS (UPDATE run SET n = n WHERE id = :'N' RETURNING id) INSERT INTO attempt SELECT id, id, 1 FROM u;
ROLLBACK;
SET runops.enable_shipping = off;

-- what is not executed is not read
BEGIN;
SELECT n FROM run WHERE id = :'L';
EXPLAIN (COSTS OFF) SELECT n FROM run WHERE id = :'N';
SELECT n FROM run WHERE id = :'N' AND false;
SELECT CASE WHEN 1 > length(:'N') THEN (SELECT n FROM run WHERE id = :'N') END;
SELECT n FROM local l LEFT JOIN run r ON r.id = l.ref AND l.k > 1 WHERE l.k = 1;
PREPARE by_id(text) AS SELECT n FROM run WHERE id = $1;
EXECUTE by_id(:'L');
EXECUTE by_id(:'L2');
SAVEPOINT s;
EXECUTE by_id(:'N');
ROLLBACK TO s;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT n FROM run WHERE id = :'N';
ROLLBACK;
BEGIN;
EXECUTE by_id(:'N');
SELECT n FROM run WHERE id = :'L' AND false;
SELECT l.k, (SELECT r.n FROM run r WHERE r.id = l.ref AND l.k = 4) FROM local l WHERE k IN (1, 4) ORDER BY k;
EXPLAIN (COSTS OFF) EXECUTE by_id(:'L');
SET LOCAL plan_cache_mode = force_generic_plan;
EXECUTE by_id(:'K');
EXECUTE by_id(:'L');
ROLLBACK;

-- how the legacy leaf may be read
CREATE FUNCTION read_legacy(how text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan text := '';
	line text;
BEGIN
	EXECUTE how;
	PERFORM n FROM run WHERE id = '0123456789abcdefghijklmna1';
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		plan := plan || ' ' || trim(line);
	END LOOP;
	BEGIN
		EXECUTE query;
		RETURN 'no error: ' || plan;
	EXCEPTION WHEN SQLSTATE 'RO009' THEN
		RETURN split_part(split_part(plan, ' on ', 1), ' using ', 1);
	END;
END
$$;
SELECT read_legacy('SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off', $$SELECT n FROM run WHERE id = 'clegacy000000000000000001'$$);
SELECT read_legacy('SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off', $$SELECT id FROM runops_legacy.run WHERE id = 'clegacy000000000000000001'$$);
SELECT read_legacy('SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off', $$SELECT n FROM run WHERE id = 'clegacy000000000000000001'$$);
SELECT read_legacy('SELECT', $$SELECT n FROM runops_legacy.run$$);
SELECT read_legacy('SELECT', $$SELECT n FROM runops_legacy.run TABLESAMPLE system (100)$$);
SELECT read_legacy('SELECT', $$SELECT n FROM runops_legacy.run WHERE ctid = '(0,1)'$$);
SELECT read_legacy('SET LOCAL enable_seqscan = off', $$SELECT n FROM runops_legacy.run WHERE ctid < '(0,1)'$$);
SELECT read_legacy('SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL parallel_leader_participation = off',
	$$SELECT count(*) FROM runops_legacy.run$$);
SELECT read_legacy('SELECT', $$UPDATE run SET n = n WHERE id = 'clegacy000000000000000001'$$);
SELECT read_legacy('SELECT', $$WITH d AS (DELETE FROM run WHERE id = 'clegacy000000000000000001') SELECT 1$$);
SELECT read_legacy('SELECT', $$CREATE TEMP TABLE copied AS SELECT n FROM run WHERE id = 'clegacy000000000000000001'$$);
DROP FUNCTION read_legacy;
BEGIN;
SELECT n FROM run WHERE id = :'N';
COPY runops_legacy.run TO stdout;
ROLLBACK;
BEGIN;
COPY runops_legacy.run (n) TO stdout;
COPY (SELECT n FROM run WHERE id = :'N') TO stdout;
ROLLBACK;

-- cursors, functions and loops
BEGIN;
DECLARE c CURSOR FOR SELECT n FROM run WHERE id = :'N';
DECLARE d CURSOR FOR SELECT n FROM run WHERE id = :'L';
FETCH c;
SAVEPOINT s;
FETCH d;
ROLLBACK TO s;
FETCH c;
ROLLBACK;
BEGIN;
DECLARE d CURSOR FOR SELECT n FROM runops_legacy.run ORDER BY id;
FETCH d;
DECLARE c CURSOR FOR SELECT n FROM run WHERE id = :'N';
FETCH c;
ROLLBACK;
CREATE FUNCTION n_of(x text) RETURNS int LANGUAGE sql STABLE AS 'SELECT n FROM run WHERE id = x LIMIT 1';
SELECT n_of(:'L'), n_of(:'L2');
SELECT n_of(:'L'), n_of(:'N');
SELECT n_of(:'N'), n_of(:'L');
SELECT n_of(:'N') FROM run WHERE id = :'L';
SELECT n_of(:'L') FROM run WHERE id = :'N';
SELECT n_of(ref) FROM local WHERE k IN (4, 5) ORDER BY k;
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT id FROM run WHERE id = 'clegacy000000000000000001' LOOP
		BEGIN
			PERFORM n_of('0123456789abcdefghijklmna1');
		EXCEPTION WHEN SQLSTATE 'RO009' THEN
			RAISE WARNING 'caught: %', SQLERRM;
		END;
	END LOOP;
END
$$;
ALTER FUNCTION n_of SET runops.cross_store_snapshots = allow;
SELECT n_of(:'L'), n_of(:'N');

-- a rollback to a savepoint does not take back what was read
BEGIN;
SAVEPOINT s;
SELECT n FROM run WHERE id = :'L';
ROLLBACK TO s;
SELECT n FROM run WHERE id = :'N';
ROLLBACK;
-- the next transaction begins anew
SELECT n FROM run WHERE id = :'N';
SELECT n FROM run WHERE id = :'L';

-- what checks something does not count: references and foreign keys
CREATE TABLE note (id text PRIMARY KEY, run text, parent text);
ALTER TABLE note ADD FOREIGN KEY (run) REFERENCES runops_legacy.run (id) ON DELETE CASCADE;
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT runops.add_reference('note', 'parent', 'run', 'id');
COMMIT;
BEGIN;
SELECT n FROM run WHERE id = :'N';
INSERT INTO note VALUES ('n1', :'L', :'L2');
INSERT INTO note VALUES ('n2', NULL, :'N');
SELECT n FROM run WHERE id = :'N';
COMMIT;
BEGIN;
SELECT n FROM run WHERE id = :'L';
INSERT INTO note VALUES ('n3', :'L', :'N');
SELECT n FROM run WHERE id = :'L2';
COMMIT;
DROP TABLE note;

-- one store by the user mappings of two roles
CREATE ROLE css_other;
GRANT USAGE ON SCHEMA css, runops_new TO css_other;
GRANT SELECT ON run TO css_other;
GRANT USAGE ON FOREIGN SERVER run_ops TO css_other;
SELECT format('CREATE USER MAPPING FOR css_other SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user) AS ddl \gset
:ddl;
\set VERBOSITY default
BEGIN;
SELECT n FROM run WHERE id = :'N';
SET LOCAL ROLE css_other;
SELECT n FROM run WHERE id = :'K';
ROLLBACK;
DROP USER MAPPING FOR css_other SERVER run_ops;
DROP OWNED BY css_other;
DROP ROLE css_other;

-- a warning, once in a transaction
SET runops.cross_store_snapshots = warn;
BEGIN;
SELECT n FROM run WHERE id = :'L';
SELECT n FROM run WHERE id = :'N';
SELECT count(*) FROM run;
COMMIT;
BEGIN;
SELECT n FROM run WHERE id = :'N';
SELECT n FROM run WHERE id = :'L';
SELECT count(*) FROM run;
COMMIT;
SET runops.cross_store_snapshots = allow;
BEGIN;
SELECT n FROM run WHERE id = :'L';
SELECT n FROM run WHERE id = :'N';
SELECT count(*) FROM run;
COMMIT;
RESET runops.cross_store_snapshots;
RESET default_transaction_isolation;

\set helpers :srcdir '/sql/include/planner_end.sql'
\i :helpers
