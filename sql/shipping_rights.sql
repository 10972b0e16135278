-- shipping_rights: privileges, policies, views, search paths and settings over
-- statements that are sent as a whole
\set ECHO none
SET client_min_messages = warning;
\connect runops_store
CREATE SCHEMA rights;
\connect contrib_regression
SET client_min_messages = warning;
CREATE ROLE regress_shipping_reader;
CREATE ROLE regress_shipping_owner;
CREATE SCHEMA rights;
GRANT USAGE ON SCHEMA rights TO regress_shipping_reader, regress_shipping_owner;
CREATE USER MAPPING FOR regress_shipping_reader SERVER run_ops OPTIONS (password_required 'false', user :'USER');
CREATE USER MAPPING FOR regress_shipping_owner SERVER run_ops OPTIONS (password_required 'false', user :'USER');
SET search_path = rights, public;
CREATE TABLE run (id text PRIMARY KEY, n int, secret text, owner text, at timestamptz, f float8, d date);
CREATE TABLE child (run_id text NOT NULL, no int NOT NULL, v text, PRIMARY KEY (run_id, no));
CREATE TABLE local (k int, v text);
SELECT count(*) > 0 AS attached FROM runops.attach('run', 'id') \gset
SELECT count(*) > 0 AS attached FROM runops.attach('child', 'run_id') \gset
SELECT count(*) > 0 AS provisioned FROM runops.provision('new') \gset
\set SHOW_CONTEXT never
\set VERBOSITY default
\set N '\'0123456789abcdefghijklmn01\''
INSERT INTO run VALUES (:N, 1, 's''ecret \ x', 'regress_shipping_reader', '2026-03-04 05:06:07.5+00', 0.1::float8 + 0.2::float8, '2026-02-03');
INSERT INTO child VALUES (:N, 1, 'one'), (:N, 2, 'two');

CREATE FUNCTION sent(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (VERBOSE, FORMAT JSON) ' || statement INTO plan;
	RETURN coalesce('sent to ' || (jsonb_path_query_first(plan, '$.**."Sent to Store"') #>> '{}'),
		jsonb_path_query_first(plan, '$.**."Not Sent as a Whole"') #>> '{}', 'over the leaves');
END $$;
GRANT EXECUTE ON FUNCTION sent TO PUBLIC;
CREATE FUNCTION state_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
\set ECHO queries
SET runops.enable_shipping = on;

-- privileges are those on the routed table, at every level of the statement
GRANT SELECT (id, n), UPDATE (n) ON run TO regress_shipping_reader;
GRANT SELECT, INSERT ON child TO regress_shipping_reader;
SET ROLE regress_shipping_reader;
-- a query in WITH that is not used is not executed, as in core
WITH x AS (SELECT secret FROM run WHERE id = :N) SELECT n FROM run WHERE id = :N;
WITH x AS (SELECT secret FROM run WHERE id = :N) SELECT n FROM run, x WHERE id = :N;
SELECT sent(format('SELECT n FROM run WHERE id = %L', :N)), n FROM run WHERE id = :N;
SELECT state_of(format(s, :N)), s FROM unnest(ARRAY[
	'SELECT n FROM run WHERE id = %L', 'SELECT secret FROM run WHERE id = %L', 'SELECT n FROM run WHERE id = %L AND secret = ''x''',
	'SELECT (SELECT count(secret) FROM run WHERE id = %1$L) FROM child WHERE run_id = %1$L',
	'UPDATE run SET n = 2 WHERE id = %L', 'UPDATE run SET secret = ''x'' WHERE id = %L', 'UPDATE run SET n = 2 WHERE id = %L RETURNING secret',
	'DELETE FROM run WHERE id = %L', 'WITH d AS (DELETE FROM child WHERE run_id = %1$L RETURNING no) SELECT n FROM run WHERE id = %1$L',
	'SELECT n FROM run WHERE id = %L FOR UPDATE', 'SELECT no FROM child WHERE run_id = %L FOR UPDATE',
	'INSERT INTO child VALUES (%L, 3, ''three'') ON CONFLICT (run_id, no) DO NOTHING',
	'INSERT INTO child VALUES (%L, 3, ''three'') ON CONFLICT (run_id, no) DO UPDATE SET v = ''x''',
	'INSERT INTO child VALUES (%L, 1, ''three'')']) s;
RESET ROLE;

-- a read-only transaction writes nothing
BEGIN READ ONLY;
SELECT n FROM run WHERE id = :N;
SAVEPOINT a;
UPDATE run SET n = 3 WHERE id = :N;
ROLLBACK TO a;
WITH d AS (DELETE FROM child WHERE run_id = :N RETURNING no) SELECT count(*) FROM d;
ROLLBACK TO a;
SELECT n FROM run WHERE id = :N FOR UPDATE;
ROLLBACK;

-- a policy is never sent, and a role that no policy binds sends its statements
ALTER TABLE run ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON run USING (owner = CURRENT_USER);
GRANT SELECT ON run TO regress_shipping_reader, regress_shipping_owner;
SELECT sent(format('SELECT n FROM run WHERE id = %L', :N));
PREPARE p AS SELECT n FROM run WHERE id = '0123456789abcdefghijklmn01';
EXECUTE p;
SET ROLE regress_shipping_reader;
SELECT sent(format('SELECT n FROM run WHERE id = %L', :N)), n FROM run WHERE id = :N;
EXECUTE p;
SET ROLE regress_shipping_owner;
SELECT sent(format('SELECT n FROM run WHERE id = %L', :N)), count(n) FROM run WHERE id = :N;
EXECUTE p;
RESET ROLE;
EXECUTE p;
DEALLOCATE p;
ALTER TABLE run DISABLE ROW LEVEL SECURITY;

-- a view is read with the rights of its owner
CREATE VIEW v AS SELECT id, secret FROM run;
REVOKE ALL ON run FROM regress_shipping_owner;
GRANT SELECT ON v TO regress_shipping_owner;
SET ROLE regress_shipping_owner;
SELECT sent(format('SELECT secret FROM v WHERE id = %L', :N)), secret FROM v WHERE id = :N;
SELECT state_of(format('SELECT secret FROM run WHERE id = %L', :N));
RESET ROLE;
CREATE FUNCTION definer(text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = rights AS $$ BEGIN RETURN (SELECT secret FROM run WHERE id = $1); END $$;
SET ROLE regress_shipping_owner;
SELECT definer(:N);
RESET ROLE;

-- names are those that the statement means here
CREATE TEMP TABLE run (id text, n int);
INSERT INTO run VALUES (:N, -1);
SELECT n FROM run WHERE id = :N;
SELECT n FROM rights.run WHERE id = :N;
DROP TABLE pg_temp.run;
CREATE FUNCTION rights.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'mine' $$;
SET search_path = rights, pg_catalog, public;
SELECT sent(format('SELECT lower(secret) FROM run WHERE id = %L', :N)), lower(secret) FROM run WHERE id = :N;
SET search_path = rights, public;
DROP FUNCTION rights.lower;

-- settings of this session change how values look, and not what they are
SELECT at, f, d, secret FROM run WHERE id = :N;
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = sql_standard;
SET extra_float_digits = -5;
SET TimeZone = 'Asia/Kolkata';
SET bytea_output = escape;
SELECT sent(format('SELECT 1 FROM run WHERE id = %L AND d = ''03/02/2026''', :N));
SELECT at, f, d, at = '04/03/2026 10:36:07.5', f = 0.1::float8 + 0.2::float8, d = '03/02/2026', secret = 's''ecret \ x' FROM run WHERE id = :N;
UPDATE run SET at = at, f = f, d = d, secret = 'back\slash '' OR true --' WHERE id = :N RETURNING at, f, d, secret;
SELECT count(*) FROM run WHERE id = :N AND secret = 'x\'' OR true --';
INSERT INTO run (id, at, f, d, secret) VALUES ('0123456789abcdefghijklmp01', '05/04/2026 01:02', 0.1::float8 + 0.2::float8, '05/04/2026', '\') ON CONFLICT (id) DO UPDATE SET n = 1 RETURNING at, f, d, secret;
RESET ALL;
SET runops.enable_shipping = on;
SET search_path = rights, public;
SELECT at, f, d, secret FROM run WHERE id IN (:N, '0123456789abcdefghijklmp01') ORDER BY id;

-- values that are made here, once for each row
CREATE SEQUENCE s;
CREATE FUNCTION noisy(int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO local VALUES ($1, 'called'); RETURN 'v' || $1; END $$;
INSERT INTO child VALUES (:N, nextval('s') + 10, noisy(1)), (:N, nextval('s') + 10, noisy(2)) ON CONFLICT (run_id, no) DO UPDATE SET v = EXCLUDED.v || '!' RETURNING no, v;
SELECT * FROM local ORDER BY k;
SELECT last_value FROM s;

-- what it depends on is planned again
PREPARE q AS SELECT * FROM child WHERE run_id = '0123456789abcdefghijklmn01' AND no = 1;
EXECUTE q;
ALTER TABLE child ADD w text DEFAULT 'new';
SELECT count(*) > 0 AS provisioned FROM runops.provision('new');
EXECUTE q;
SELECT sent('SELECT * FROM child WHERE run_id = ''0123456789abcdefghijklmn01''');
SET runops.enable_shipping = off;
SELECT sent('SELECT * FROM child WHERE run_id = ''0123456789abcdefghijklmn01''');
SET runops.enable_shipping = on;

-- cursors, loops and savepoints
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT no FROM child WHERE run_id = :N ORDER BY no;
FETCH 2 FROM c;
SAVEPOINT a;
DELETE FROM child WHERE run_id = :N;
FETCH BACKWARD 1 FROM c;
FETCH ALL FROM c;
ROLLBACK TO a;
MOVE ABSOLUTE 0 FROM c;
FETCH 1 FROM c;
COMMIT;
DO $$
DECLARE
	r record;
	n int := 0;
BEGIN
	FOR r IN SELECT no FROM child WHERE run_id = '0123456789abcdefghijklmn01' ORDER BY no LOOP
		UPDATE child SET v = 'loop' WHERE run_id = '0123456789abcdefghijklmn01' AND no = r.no;
		BEGIN
			INSERT INTO child VALUES ('0123456789abcdefghijklmn01', r.no, 'again');
		EXCEPTION WHEN unique_violation THEN n := n + 1;
		END;
	END LOOP;
	RAISE NOTICE '%', n;
END $$;
SELECT no, v FROM child WHERE run_id = :N ORDER BY no;
\set ECHO none
\set VERBOSITY terse
SET client_min_messages = error;
DROP VIEW v;
DELETE FROM run;
DELETE FROM child;
SELECT runops.detach('run'), runops.detach('child') \gset
DROP SCHEMA rights CASCADE;
DROP USER MAPPING FOR regress_shipping_reader SERVER run_ops;
DROP USER MAPPING FOR regress_shipping_owner SERVER run_ops;
DROP ROLE regress_shipping_reader, regress_shipping_owner;
