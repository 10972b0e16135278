-- row locks in a store where conditions are evaluated here: which statements lock,
-- and that each condition is evaluated as on a plain table
\set SHOW_CONTEXT never
SET runops.enable_shipping = off;
CREATE TYPE lr_state AS ENUM ('PENDING', 'DONE');
CREATE TABLE lr_job (id text PRIMARY KEY, state lr_state, n int, other int UNIQUE);
CREATE TABLE lr_part (job_id text, line int, n int, PRIMARY KEY (job_id, line));
CREATE TABLE lr_late (id text PRIMARY KEY DEFERRABLE, state lr_state);
SELECT runops.attach('lr_job', 'id'), runops.attach('lr_part', 'job_id'), runops.attach('lr_late', 'id');
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';
INSERT INTO lr_job SELECT '0123456789abcdefghijklmn' || c || '1', CASE WHEN n % 2 = 0 THEN 'DONE' ELSE 'PENDING' END::lr_state, n, n
	FROM unnest('{a,b,c,d,e,f}'::text[]) WITH ORDINALITY AS x (c, n);
INSERT INTO lr_job VALUES ('c00000000000000000000run1', 'PENDING', 0, 0);
INSERT INTO lr_part SELECT id, g, g FROM lr_job, generate_series(1, 2) g WHERE n > 0;

-- the statements: locked by key, or at once if the key is given or no condition is
-- evaluated here
EXPLAIN (VERBOSE, COSTS OFF) SELECT n FROM lr_job WHERE id LIKE '0123456789abcdefghijklmn%' AND state = 'DONE' FOR KEY SHARE NOWAIT;
EXPLAIN (VERBOSE, COSTS OFF) UPDATE lr_job SET n = 1 WHERE id IN ('0123456789abcdefghijklmna1', '0123456789abcdefghijklmnb1') AND state = 'DONE';
EXPLAIN (VERBOSE, COSTS OFF) UPDATE lr_job SET other = 1 WHERE id = '0123456789abcdefghijklmna1' AND state = 'DONE';
EXPLAIN (VERBOSE, COSTS OFF) SELECT n FROM lr_part WHERE job_id = '0123456789abcdefghijklmna1' AND random() >= 0 FOR UPDATE;
EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM lr_part WHERE job_id = '0123456789abcdefghijklmna1' AND random() >= 0;
EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM lr_part WHERE job_id = '0123456789abcdefghijklmna1' AND line = 1 AND random() >= 0;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM lr_late WHERE id LIKE '0123456789abcdefghijklmn%' AND state = 'DONE' FOR UPDATE;
-- a join that is sent as a whole says which locks are wanted
EXPLAIN (VERBOSE, COSTS OFF) SELECT j.n FROM lr_job j JOIN lr_part p ON p.job_id = j.id WHERE j.id = '0123456789abcdefghijklmna1' FOR KEY SHARE OF j;
EXPLAIN (VERBOSE, COSTS OFF) SELECT j.n FROM lr_job j JOIN lr_part p ON p.job_id = j.id WHERE j.id = '0123456789abcdefghijklmna1' FOR NO KEY UPDATE OF j FOR SHARE OF p;
SELECT j.n FROM lr_job j JOIN lr_part p ON p.job_id = j.id WHERE j.id = '0123456789abcdefghijklmna1' FOR NO KEY UPDATE OF j FOR KEY SHARE OF p;

-- a condition is evaluated once for each row that nobody changes
CREATE SEQUENCE lr_calls;
CREATE FUNCTION lr_call(int) RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT nextval(''lr_calls'') > 0';
SELECT n FROM lr_job WHERE id LIKE '0123456789abcdefghijklmn%' AND lr_call(n) ORDER BY n FOR UPDATE;
SELECT last_value FROM lr_calls;
UPDATE lr_job SET n = n + 10 WHERE id LIKE '0123456789abcdefghijklmn%' AND lr_call(n);
SELECT last_value FROM lr_calls;

-- searched again and again; with and without routing; a policy; NULL parameters
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;
SELECT g, j.n FROM generate_series(1, 2) g CROSS JOIN LATERAL (SELECT n FROM lr_job WHERE state = 'DONE' AND n % 2 = g - 1 ORDER BY n FOR UPDATE) j ORDER BY g, n;
SELECT g, j.n FROM generate_series(1, 2) g JOIN (SELECT n FROM lr_job WHERE state = 'DONE' FOR UPDATE) j ON true ORDER BY g, n;
RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_material;
SET runops.enable_routing = off;
SELECT n FROM lr_job WHERE state = 'PENDING' ORDER BY n LIMIT 2 FOR UPDATE SKIP LOCKED;
UPDATE lr_job SET n = n + 100 WHERE state = 'PENDING' AND n < 15 RETURNING n;
RESET runops.enable_routing;
SET plan_cache_mode = force_generic_plan;
PREPARE l(lr_state, int) AS SELECT n FROM lr_job WHERE state = $1 AND n < $2 ORDER BY n FOR UPDATE;
EXECUTE l('DONE', 15);
EXECUTE l('DONE', NULL);
EXECUTE l(NULL, 15);
EXECUTE l('PENDING', 1000);
DEALLOCATE l;
RESET plan_cache_mode;
CREATE ROLE lr_user;
GRANT SELECT, UPDATE ON lr_job TO lr_user;
CREATE POLICY p ON lr_job USING (n % 4 = 0);
ALTER TABLE lr_job ENABLE ROW LEVEL SECURITY;
CREATE USER MAPPING FOR lr_user SERVER run_ops OPTIONS (user 'postgres', password_required 'false');
SET ROLE lr_user;
SELECT n FROM lr_job WHERE state = 'DONE' ORDER BY n FOR UPDATE;
UPDATE lr_job SET n = n + 4 WHERE state = 'DONE' RETURNING n;
RESET ROLE;
DROP USER MAPPING FOR lr_user SERVER run_ops;
DROP POLICY p ON lr_job;
ALTER TABLE lr_job DISABLE ROW LEVEL SECURITY;

-- a statement does not see its own changes
BEGIN;
WITH u AS (UPDATE lr_job SET n = -1 WHERE state = 'DONE' RETURNING n) SELECT (SELECT count(*) FROM u), n FROM lr_job WHERE state = 'DONE' ORDER BY n;
DECLARE c CURSOR FOR SELECT n FROM lr_job WHERE state = 'DONE' FOR UPDATE;
FETCH 1 FROM c;
DELETE FROM lr_job WHERE state = 'DONE';
FETCH ALL FROM c;
ROLLBACK;
-- nor a loop
DO $$
DECLARE
	r record;
	seen text := '';
BEGIN
	FOR r IN SELECT id, n FROM lr_job WHERE state = 'DONE' ORDER BY n FOR UPDATE LOOP
		seen := seen || ' ' || r.n;
		UPDATE lr_job SET n = 0 WHERE state = 'DONE';
	END LOOP;
	RAISE NOTICE '%', seen;
END
$$;

SELECT runops.detach(t, force => true) FROM unnest('{lr_job,lr_part,lr_late}'::regclass[]) t;
DROP TABLE lr_job, lr_part, lr_late;
DROP TYPE lr_state;
DROP SEQUENCE lr_calls CASCADE;
DROP FUNCTION lr_call;
DROP ROLE lr_user;
\connect runops_store
DROP TABLE lr_job, lr_part, lr_late;
DROP TYPE lr_state;
