-- fdw_wrong_store: a row can only be in the store that its key names
\connect runops_store
CREATE TABLE ws_run (id text PRIMARY KEY, env text, n int);
INSERT INTO ws_run VALUES ('0123456789abcdefghijklmna1', 'e', 2);
-- a waitpoint: the first of its owners that is set names the store
CREATE TABLE ws_wait (id text PRIMARY KEY, run_id text, batch_id text, n int);
INSERT INTO ws_wait VALUES ('w_new', '0123456789abcdefghijklmna1', NULL, 1);
\connect contrib_regression
CREATE TABLE ws_run (id text PRIMARY KEY, env text, n int);
INSERT INTO ws_run VALUES ('c000000000000000000000001', 'e', 1);
CREATE TABLE ws_wait (id text PRIMARY KEY, run_id text, batch_id text, n int);
INSERT INTO ws_wait VALUES ('w_legacy', 'c000000000000000000000001', NULL, 1);
SELECT runops.attach('ws_run', 'id');
SELECT runops.attach('ws_wait', 'COALESCE(run_id, batch_id, id)');
\set L 'c000000000000000000000001'
\set L2 'c000000000000000000000002'
\set N '0123456789abcdefghijklmna1'
\set N2 '0123456789abcdefghijklmnb1'

-- an UPDATE of the key moves no row, in either direction: what the error says
UPDATE ws_run SET id = :'L2' WHERE id = :'N';
UPDATE ws_run SET id = :'N2' WHERE id = :'L';
\set VERBOSITY sqlstate

-- the same with and without the planner hooks, however it is spelled
CREATE PROCEDURE ws_refused(VARIADIC statements text[]) LANGUAGE plpgsql AS
$$
DECLARE
	statement text;
	routing text;
	n bigint;
BEGIN
	FOREACH statement IN ARRAY statements LOOP
		FOREACH routing IN ARRAY '{on,off}'::text[] LOOP
			PERFORM set_config('runops.enable_routing', routing, true);
			BEGIN
				EXECUTE statement;
				GET DIAGNOSTICS n = ROW_COUNT;
				RAISE EXCEPTION 'not refused (% rows, routing %): %', n, routing, statement USING ERRCODE = 'XX000';
			EXCEPTION
				WHEN SQLSTATE 'XX000' THEN RAISE NOTICE '%', SQLERRM;
				WHEN OTHERS THEN
					RAISE NOTICE '% (routing %): %', SQLSTATE, routing, statement;
			END;
		END LOOP;
	END LOOP;
END
$$;
\set VERBOSITY terse
CALL ws_refused(
	-- NEW to legacy
	$$UPDATE ws_run SET id = 'c000000000000000000000002' WHERE id = '0123456789abcdefghijklmna1'$$,
	$$UPDATE ws_run SET id = 'c' || substr(id, 1, 24) WHERE n = 2$$,
	$$UPDATE ws_run SET id = 'c000000000000000000000002' WHERE runops.store_of(id) = 'new'$$,
	$$UPDATE ws_run r SET id = v.x FROM (VALUES ('0123456789abcdefghijklmna1', 'c000000000000000000000002')) v(k, x) WHERE r.id = v.k$$,
	$$UPDATE ws_run SET (id, n) = (SELECT 'c000000000000000000000002', 5) WHERE id = '0123456789abcdefghijklmna1'$$,
	$$WITH u AS (UPDATE ws_run SET id = 'c000000000000000000000002' WHERE id = '0123456789abcdefghijklmna1' RETURNING 1) SELECT * FROM u$$,
	$$UPDATE runops_new.ws_run SET id = 'c000000000000000000000002'$$,
	-- to an id that no generator makes, which is legacy's
	$$UPDATE ws_run SET id = 'odd' WHERE id = '0123456789abcdefghijklmna1'$$,
	$$UPDATE ws_run SET id = NULL WHERE id = '0123456789abcdefghijklmna1'$$,
	-- legacy to NEW
	$$UPDATE ws_run SET id = '0123456789abcdefghijklmnb1' WHERE id = 'c000000000000000000000001'$$,
	$$UPDATE ws_run SET id = '0123456789abcdefghijklmnb1' WHERE n = 1$$,
	$$UPDATE ws_run SET id = '0123456789abcdefghijklmnb1' WHERE id = 'c000000000000000000000001' AND runops.store_of(id) = 'legacy'$$,
	$$UPDATE ws_run r SET id = v.x FROM (VALUES ('c000000000000000000000001', '0123456789abcdefghijklmnb1')) v(k, x) WHERE r.id = v.k$$,
	-- every row of both
	$$UPDATE ws_run SET id = CASE WHEN n = 1 THEN '0123456789abcdefghijklmnb1' ELSE 'c000000000000000000000002' END$$,
	-- an expression: any column of the key, also to NULL
	$$UPDATE ws_wait SET run_id = 'c000000000000000000000001' WHERE id = 'w_new'$$,
	$$UPDATE ws_wait SET run_id = NULL WHERE id = 'w_new'$$,
	$$UPDATE ws_wait SET run_id = NULL, batch_id = 'c000000000000000000000001' WHERE id = 'w_new'$$,
	$$UPDATE ws_wait SET run_id = '0123456789abcdefghijklmna1' WHERE id = 'w_legacy'$$,
	-- inserts that name the leaf
	$$INSERT INTO runops_new.ws_run VALUES ('c000000000000000000000002', 'e', 1)$$,
	$$INSERT INTO runops_new.ws_run VALUES ('0123456789abcdefghijklmnb1', 'e', 1), ('c000000000000000000000002', 'e', 1)$$,
	$$INSERT INTO runops_new.ws_run VALUES ('c000000000000000000000002', 'e', 1) ON CONFLICT DO NOTHING$$,
	$$INSERT INTO runops_new.ws_run SELECT * FROM runops_legacy.ws_run$$);

-- prepared, generic plan
PREPARE ws_update(text, text) AS UPDATE ws_run SET id = $2 WHERE id = $1;
SET plan_cache_mode = force_generic_plan;
\set VERBOSITY sqlstate
EXECUTE ws_update(:'N', :'L2');
EXECUTE ws_update(:'L', :'N2');
RESET plan_cache_mode;

-- what stays in its store is an ordinary UPDATE
\set VERBOSITY terse
BEGIN;
UPDATE ws_run SET id = :'N2' WHERE id = :'N' RETURNING tableoid::regclass, id;
UPDATE ws_run SET id = :'L2' WHERE id = :'L' RETURNING tableoid::regclass, id;
EXECUTE ws_update(:'N2', :'N');
UPDATE ws_wait SET batch_id = :'N2', run_id = NULL WHERE id = 'w_new' RETURNING tableoid::regclass, *;
ROLLBACK;
SELECT tableoid::regclass, * FROM ws_run ORDER BY n;
SELECT tableoid::regclass, * FROM ws_wait ORDER BY id DESC;

-- an UPDATE that cannot change the store is still sent as a whole
EXPLAIN (VERBOSE, COSTS OFF) UPDATE runops_new.ws_run SET n = 5 WHERE id = :'N';
EXPLAIN (VERBOSE, COSTS OFF) UPDATE runops_new.ws_wait SET n = 5 WHERE id = 'w_new';
EXPLAIN (VERBOSE, COSTS OFF) UPDATE runops_new.ws_wait SET batch_id = 'x' WHERE id = 'w_new';

-- COPY and batches: nothing of a refused statement stays
\set VERBOSITY sqlstate
COPY runops_new.ws_run FROM STDIN;
0123456789abcdefghijklmnc1	e	1
c000000000000000000000002	e	1
\.
ALTER SERVER run_ops OPTIONS (ADD batch_size '100');
INSERT INTO runops_new.ws_run SELECT CASE WHEN g = 150 THEN 'c000000000000000000000002' ELSE '0123456789abcdefghij' || lpad(g::text, 4, '0') || '01' END, 'batch', g
	FROM generate_series(1, 250) g;
COPY runops_new.ws_run FROM STDIN;
0123456789abcdefghijklmnc1	batch	1
0123456789abcdefghijklmnd1	batch	1
c000000000000000000000002	batch	1
\.
SELECT count(*) FROM ws_run;
-- rows for both through the routed table
INSERT INTO ws_run SELECT CASE WHEN g % 3 = 0 THEN 'c' || lpad(g::text, 24, '1') ELSE '0123456789abcdefghij' || lpad(g::text, 4, '0') || '01' END, 'batch', g
	FROM generate_series(1, 250) g;
SELECT tableoid::regclass, count(*) FROM ws_run WHERE env = 'batch' GROUP BY 1 ORDER BY 2;
DELETE FROM ws_run WHERE env = 'batch';
ALTER SERVER run_ops OPTIONS (DROP batch_size);

-- a trigger of the leaf that gives the row another store's id
\set VERBOSITY terse
CREATE FUNCTION ws_trigger() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.id := 'c000000000000000000000002'; RETURN NEW; END $$;
CREATE TRIGGER ws_trigger BEFORE INSERT OR UPDATE ON runops_new.ws_run FOR EACH ROW EXECUTE FUNCTION ws_trigger();
CALL ws_refused(
	$$INSERT INTO ws_run VALUES ('0123456789abcdefghijklmnb1')$$,
	$$INSERT INTO ws_run VALUES ('0123456789abcdefghijklmnb1'), ('0123456789abcdefghijklmnc1') ON CONFLICT DO NOTHING$$,
	$$UPDATE ws_run SET n = 5 WHERE id = '0123456789abcdefghijklmna1'$$);
\set VERBOSITY sqlstate
COPY ws_run (id) FROM STDIN;
0123456789abcdefghijklmnb1
\.
\set VERBOSITY terse
DROP TRIGGER ws_trigger ON runops_new.ws_run;
DROP FUNCTION ws_trigger();

-- a row that was put into the wrong store behind our back can be deleted, but
-- not updated as if it were right
\connect runops_store
INSERT INTO ws_run VALUES ('c000000000000000000000009', 'stray', 9);
\connect contrib_regression
SET runops.enable_routing = off;
\set VERBOSITY sqlstate
UPDATE ws_run SET n = n + random()::int WHERE env = 'stray';
DELETE FROM ws_run WHERE env = 'stray';
RESET runops.enable_routing;

-- row security: WITH CHECK holds before a row is sent
\set VERBOSITY terse
ALTER TABLE ws_run ENABLE ROW LEVEL SECURITY;
CREATE POLICY ws_policy ON ws_run USING (env = 'e') WITH CHECK (env = 'e' AND n < 100);
CREATE ROLE regress_runops_ws;
GRANT ALL ON ws_run TO regress_runops_ws;
DO $$ BEGIN EXECUTE format('CREATE USER MAPPING FOR regress_runops_ws SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user); END $$;
SET ROLE regress_runops_ws;
INSERT INTO ws_run VALUES ('0123456789abcdefghijklmrl1', 'theirs', 1);
INSERT INTO ws_run VALUES ('0123456789abcdefghijklmrl1', 'e', 1), ('0123456789abcdefghijklmrm1', 'theirs', 1);
INSERT INTO ws_run VALUES ('c00000000000000000000000a', 'theirs', 1);
UPDATE ws_run SET env = 'theirs' WHERE id = '0123456789abcdefghijklmna1';
UPDATE ws_run SET n = 100 WHERE id = '0123456789abcdefghijklmna1';
UPDATE ws_run SET env = 'theirs' WHERE id = 'c000000000000000000000001';
UPDATE ws_run SET n = 100;
-- what the policy allows
INSERT INTO ws_run VALUES ('0123456789abcdefghijklmrl1', 'e', 1) RETURNING id, n;
UPDATE ws_run SET n = n + 1 RETURNING id, n;
-- the error shows nothing that the policy may hide
\set VERBOSITY default
UPDATE ws_run SET id = 'c000000000000000000000002' WHERE id = '0123456789abcdefghijklmna1';
\set VERBOSITY terse
DELETE FROM ws_run WHERE id = '0123456789abcdefghijklmrl1';
RESET ROLE;
\connect
-- with the hooks off
SET runops.enable_routing = off;
SET ROLE regress_runops_ws;
INSERT INTO ws_run VALUES ('0123456789abcdefghijklmrl1', 'theirs', 1);
UPDATE ws_run SET env = 'theirs' WHERE id = '0123456789abcdefghijklmna1';
RESET ROLE;
RESET runops.enable_routing;
SELECT tableoid::regclass, env, count(*) FROM ws_run GROUP BY 1, 2 ORDER BY 1;
DROP POLICY ws_policy ON ws_run;
ALTER TABLE ws_run DISABLE ROW LEVEL SECURITY;

-- the detail of an error shows only what the role may see
REVOKE ALL ON ws_run FROM regress_runops_ws;
GRANT UPDATE (env), SELECT (n), INSERT ON ws_run TO regress_runops_ws;
GRANT INSERT, UPDATE (id), SELECT (n) ON runops_new.ws_run TO regress_runops_ws;
GRANT USAGE ON SCHEMA runops_new TO regress_runops_ws;
SET ROLE regress_runops_ws;
\set VERBOSITY default
INSERT INTO runops_new.ws_run VALUES ('c000000000000000000000002', 'e', 1);
\set VERBOSITY terse
RESET ROLE;
REVOKE USAGE ON SCHEMA runops_new FROM regress_runops_ws;

-- a view with a check option
CREATE VIEW ws_view AS SELECT * FROM ws_run WHERE n < 100 WITH CHECK OPTION;
INSERT INTO ws_view VALUES ('0123456789abcdefghijklmrl1', 'e', 100);
UPDATE ws_view SET n = 100 WHERE id = '0123456789abcdefghijklmna1';
UPDATE ws_view SET n = 99 WHERE id = '0123456789abcdefghijklmna1' RETURNING n;
CALL ws_refused($$UPDATE ws_view SET id = 'c000000000000000000000002' WHERE id = '0123456789abcdefghijklmna1'$$);
SELECT tableoid::regclass, * FROM ws_run ORDER BY n;

DROP VIEW ws_view;
DROP PROCEDURE ws_refused(text[]);
SELECT runops.detach('ws_run', true), runops.detach('ws_wait', true);
DROP TABLE ws_run, ws_wait;
DROP USER MAPPING FOR regress_runops_ws SERVER run_ops;
DROP ROLE regress_runops_ws;
\connect runops_store
SELECT * FROM ws_run;
DROP TABLE ws_run, ws_wait;
