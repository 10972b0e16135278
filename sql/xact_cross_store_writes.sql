-- xact_cross_store_writes: one transaction that writes to two stores

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema csw
\i :helpers
SELECT boot_val, context, enumvals FROM pg_settings WHERE name = 'runops.cross_store_writes';
SET runops.cross_store_writes = 'sometimes';
SET runops.cross_store_writes = warn;
\set VERBOSITY default

-- one store in a transaction: nothing to say
BEGIN;
UPDATE run SET n = n WHERE id = :'L';
INSERT INTO attempt VALUES ('x1', :'L2', 1);
DELETE FROM attempt WHERE id = 'x1' AND "runId" = :'L2';
COMMIT;
BEGIN;
UPDATE run SET n = n WHERE id = :'N';
INSERT INTO attempt VALUES ('x1', :'K', 1);
DELETE FROM attempt WHERE id = 'x1' AND "runId" = :'K';
SELECT id FROM run WHERE id = :'L' FOR UPDATE;
COMMIT;

-- two: a warning with both stores and both tables, and only one
BEGIN;
UPDATE run SET n = n WHERE id = :'L';
INSERT INTO attempt VALUES ('x2', :'N', 1);
UPDATE run SET n = n WHERE id = :'A';
UPDATE run SET n = n WHERE id = :'N';
ROLLBACK;
BEGIN;
UPDATE run SET n = n WHERE id = :'N';
UPDATE run SET n = n WHERE id = :'L';
UPDATE run SET n = n WHERE id = :'L';
ROLLBACK;
BEGIN;
DELETE FROM attempt WHERE "runId" = :'A';
DELETE FROM attempt WHERE "runId" = :'N';
ROLLBACK;

\set VERBOSITY terse
-- a statement that writes to both
UPDATE run SET n = n;
UPDATE run SET n = n WHERE id IN (:'L', :'N');
BEGIN;
DELETE FROM attempt;
ROLLBACK;
BEGIN;
INSERT INTO attempt VALUES ('x3', :'L', 1), ('x4', :'N', 1);
ROLLBACK;
BEGIN;
COPY attempt FROM stdin;
x3	clegacy000000000000000001	1
x4	0123456789abcdefghijklmna1	1
\.
ROLLBACK;
BEGIN;
COPY attempt FROM stdin;
x4	0123456789abcdefghijklmna1	1
x3	clegacy000000000000000001	1
\.
ROLLBACK;
WITH l AS (UPDATE run SET n = n WHERE id = :'L' RETURNING id), n AS (UPDATE run SET n = n WHERE id = :'N')
SELECT count(*) FROM l;
WITH l AS (UPDATE run SET n = n WHERE id = :'L'), n AS (UPDATE run SET n = n WHERE id = :'N' RETURNING id)
SELECT count(*) FROM n;
-- the same without the planner hooks
SET runops.enable_routing = off;
UPDATE run SET n = n WHERE id IN (:'L', :'N');
UPDATE run SET n = n WHERE id = :'N';
UPDATE run SET n = n WHERE id = :'L';
RESET runops.enable_routing;

-- no row, no write
BEGIN;
UPDATE run SET n = n WHERE id = :'L';
UPDATE run SET n = 1 WHERE id = :'N' AND n = -1;
UPDATE run SET n = 1 WHERE id = :'N' AND n = -1 RETURNING n;
DELETE FROM run WHERE id = '0123456789abcdefghijklmnz1';
UPDATE run SET n = n WHERE n = 1;
INSERT INTO attempt SELECT id, id, 1 FROM run WHERE n = -1;
COMMIT;
BEGIN;
UPDATE run SET n = n WHERE id = :'N';
UPDATE run SET n = 1 WHERE id = :'L' AND n = -1;
DELETE FROM run WHERE id = 'clegacy000000000000000009';
INSERT INTO run (id, "friendlyId") VALUES (:'L', 'run_' || :'L') ON CONFLICT DO NOTHING;
UPDATE run SET n = n WHERE n = 4;
COMMIT;
BEGIN;
UPDATE run SET n = n WHERE id = :'L';
INSERT INTO run (id, "friendlyId") VALUES (:'N', 'run_' || :'N') ON CONFLICT DO NOTHING;
-- unlike this one
INSERT INTO run (id, "friendlyId") VALUES ('0123456789abcdefghijklmnz1', 'run_0123456789abcdefghijklmnz1') ON CONFLICT DO NOTHING;
ROLLBACK;
-- locks are no writes, and neither are rows of tables that are not routed
BEGIN;
INSERT INTO local VALUES (100, 'x');
SELECT n FROM run WHERE id = :'N' FOR UPDATE;
UPDATE run SET n = n WHERE id = :'L';
ROLLBACK;
BEGIN;
UPDATE local SET ref = ref WHERE k = 1;
UPDATE run SET n = n WHERE id = :'N';
ROLLBACK;

-- savepoints that rolled back do not count
BEGIN;
SAVEPOINT s;
UPDATE run SET n = n WHERE id = :'L';
ROLLBACK TO s;
UPDATE run SET n = n WHERE id = :'N';
SAVEPOINT s2;
SAVEPOINT s3;
UPDATE run SET n = n WHERE id = :'A';
ROLLBACK TO s2;
COMMIT;
-- those that were released do
BEGIN;
SAVEPOINT s;
SAVEPOINT s2;
UPDATE run SET n = n WHERE id = :'L';
RELEASE s2;
RELEASE s;
UPDATE run SET n = n WHERE id = :'N';
ROLLBACK;
BEGIN;
SAVEPOINT s;
SAVEPOINT s2;
UPDATE run SET n = n WHERE id = :'L';
RELEASE s2;
ROLLBACK TO s;
UPDATE run SET n = n WHERE id = :'N';
COMMIT;
-- a block of PL/pgSQL
DO $$
BEGIN
	BEGIN
		UPDATE run SET n = n WHERE id = '0123456789abcdefghijklmna1';
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN NULL;
	END;
	UPDATE run SET n = n WHERE id = 'clegacy000000000000000001';
END
$$;

-- error: the second store gets nothing
SET runops.cross_store_writes = error;
\set VERBOSITY default
BEGIN;
UPDATE run SET n = n + 100 WHERE id = :'L';
SAVEPOINT s;
INSERT INTO attempt VALUES ('x5', :'N', 1);
ROLLBACK TO s;
\set VERBOSITY terse
UPDATE run SET n = n + 100 WHERE id = :'N';
ROLLBACK TO s;
UPDATE run SET n = n + 100 WHERE id IN (:'L', :'N');
ROLLBACK TO s;
UPDATE run SET n = n + 1 WHERE id = :'L2';
COMMIT;
UPDATE run SET n = n + 100 WHERE id IN (:'L', :'N');
INSERT INTO attempt VALUES ('x6', :'N', 1), ('x7', :'L', 1);
COPY attempt FROM stdin;
x6	0123456789abcdefghijklmna1	1
x7	clegacy000000000000000001	1
\.
SELECT id, n FROM run ORDER BY n;
SELECT count(*) FROM attempt WHERE id LIKE 'x%';
UPDATE run SET n = 1 WHERE id = :'L';
UPDATE run SET n = 2 WHERE id = :'L2';

-- what triggers and functions write counts, and nothing is sent before the error
CREATE FUNCTION log_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO attempt VALUES ('t' || NEW.n, '0123456789abcdefghijklmna1', 0);
	RETURN NULL;
END
$$;
CREATE TRIGGER log_run AFTER UPDATE ON runops_legacy.run FOR EACH ROW EXECUTE FUNCTION log_run();
UPDATE run SET n = n WHERE id = :'L';
DROP TRIGGER log_run ON runops_legacy.run;
CREATE TRIGGER log_run BEFORE UPDATE ON runops_legacy.run FOR EACH ROW EXECUTE FUNCTION log_run();
-- the trigger suppresses the row, so that there is one store
UPDATE run SET n = n WHERE id = :'L';
DROP TRIGGER log_run ON runops_legacy.run;
SELECT * FROM attempt WHERE id LIKE 't%';
DELETE FROM attempt WHERE "runId" = :'N' AND id LIKE 't%';
CREATE FUNCTION two_stores() RETURNS void LANGUAGE sql AS $$
	UPDATE run SET n = n WHERE id = 'clegacy000000000000000001';
	UPDATE run SET n = n WHERE id = '0123456789abcdefghijklmna1';
$$;
SELECT two_stores();
ALTER FUNCTION two_stores() SET runops.cross_store_writes = allow;
SELECT two_stores();
-- a foreign key's action is a write of the table that it reaches
CREATE TABLE parent (k int PRIMARY KEY);
INSERT INTO parent VALUES (1);
ALTER TABLE runops_legacy.attempt ADD CONSTRAINT attempt_k FOREIGN KEY (k) REFERENCES parent ON DELETE SET NULL NOT VALID;
BEGIN;
UPDATE run SET n = n WHERE id = :'N';
DELETE FROM parent;
ROLLBACK;
ALTER TABLE runops_legacy.attempt DROP CONSTRAINT attempt_k;

-- by the names of the leaves, and a prepared statement
BEGIN;
UPDATE runops_new.run SET n = n WHERE id = :'N';
UPDATE runops_legacy.run SET n = n WHERE id = :'L';
ROLLBACK;
PREPARE upd(text) AS UPDATE run SET n = n WHERE id = $1;
EXECUTE upd(:'L');
EXECUTE upd(:'N');
BEGIN;
EXECUTE upd(:'L');
EXECUTE upd(:'N');
ROLLBACK;
DEALLOCATE upd;

-- the next transaction begins anew, however the last one ended
BEGIN;
UPDATE run SET n = n WHERE id = :'L';
PREPARE TRANSACTION 'csw';
UPDATE run SET n = n WHERE id = :'N';
COMMIT PREPARED 'csw';
UPDATE run SET n = n WHERE id = :'N';
-- where core counts no rows, those that the statement has processed count
\connect -
SET search_path = csw;
SET runops.cross_store_writes = warn;
\set VERBOSITY terse
SET track_counts = off;
BEGIN;
UPDATE run SET n = n WHERE id = :'N';
INSERT INTO attempt SELECT 'x8', id, n FROM run WHERE n = 4;
UPDATE run SET n = n WHERE id = 'clegacy000000000000000009';
UPDATE run SET n = n WHERE id = :'L';
ROLLBACK;
BEGIN;
INSERT INTO attempt SELECT 'x8', id, n FROM run WHERE n IN (1, 4);
ROLLBACK;

-- a legacy leaf that is partitioned itself
RESET track_counts;
CREATE TABLE parts (id text NOT NULL, n int) PARTITION BY HASH (id);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SET client_min_messages = warning;
SELECT runops.attach('parts', 'id');
SELECT count(*) FROM unnest('{new,a}'::text[]) s, runops.provision(s, relation => 'parts') WHERE action = 'create';
INSERT INTO parts VALUES (:'L', 1), (:'N', 2);
UPDATE parts SET n = n;
UPDATE parts SET n = n WHERE n = 2;
UPDATE parts SET n = n WHERE n = 1;
BEGIN;
UPDATE parts SET n = n WHERE id = :'N';
DELETE FROM parts WHERE id = :'L';
ROLLBACK;
\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
