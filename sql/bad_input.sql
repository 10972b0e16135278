-- bad_input: missing or wrong objects of a store, and the errors for them
-- (a wrong password needs another authentication method, see test/t/012_remote_password.pl)
\connect runops_store
CREATE TABLE bi_run (id text PRIMARY KEY, n int, note text);
INSERT INTO bi_run VALUES ('0123456789abcdefghijklmna1', 2, 'x');
\connect contrib_regression
CREATE TABLE bi_run (id text PRIMARY KEY, n int, note text);
INSERT INTO bi_run VALUES ('c000000000000000000000001', 1, 'x');
SELECT runops.attach('bi_run', 'id');
-- say what a statement raises, without what changes from run to run or from
-- one major version to the next
CREATE PROCEDURE bi_try(VARIADIC statements text[]) LANGUAGE plpgsql AS
$$
DECLARE
	statement text;
	message text;
	detail text;
	hint text;
	context text;
BEGIN
	FOREACH statement IN ARRAY statements LOOP
		BEGIN
			EXECUTE statement;
			RAISE NOTICE 'no error: %', statement;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
				hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
			message := regexp_replace(message, '(user mapping not found|password) .*', '\1 ...');
			detail := regexp_replace(detail, '(Non-superusers must) .*', '\1 ...');
			RAISE NOTICE E'%\n  % %\n  detail: %\n  hint: %\n  context: %', statement, SQLSTATE, message,
				regexp_replace(split_part(detail, E'\n', 1), '"/[^"]*"', '"..."'), regexp_replace(hint, 'Valid options in this context are.*', ''), substring(context FROM 'table "[^"]*" in store "[^"]*"');
		END;
	END LOOP;
END
$$;
\set VERBOSITY terse

-- the host cannot be reached
ALTER SERVER run_ops OPTIONS (SET host '/nonexistent');
CALL bi_try('SELECT count(*) FROM bi_run',
	'UPDATE bi_run SET n = n + 1',
	$$UPDATE runops_new.bi_run SET id = '0123456789abcdefghijklmnb1'$$,
	$$DELETE FROM bi_run WHERE id = '0123456789abcdefghijklmna1'$$,
	$$INSERT INTO bi_run VALUES ('0123456789abcdefghijklmnb1', 1)$$,
	$$INSERT INTO bi_run VALUES ('c000000000000000000000002', 1), ('0123456789abcdefghijklmnb1', 1)$$,
	-- what needs no store works
	$$INSERT INTO bi_run VALUES ('c000000000000000000000003', 3, NULL)$$,
	'EXPLAIN SELECT * FROM bi_run',
	'ANALYZE bi_run');
-- nothing of a failed statement stays
SELECT * FROM runops_legacy.bi_run ORDER BY id;
DO $$ BEGIN EXECUTE format('ALTER SERVER run_ops OPTIONS (SET host %L)', current_setting('unix_socket_directories')); END $$;

-- no such database
ALTER SERVER run_ops OPTIONS (SET dbname 'runops_no_such_database');
CALL bi_try('SELECT count(*) FROM bi_run');
ALTER SERVER run_ops OPTIONS (SET dbname 'runops_store');
SELECT count(*) FROM bi_run;

-- with remote estimates it is the plan that fails
ALTER SERVER run_ops OPTIONS (ADD use_remote_estimate 'true', SET host '/nonexistent');
CALL bi_try('SELECT count(*) FROM bi_run');
DO $$ BEGIN EXECUTE format('ALTER SERVER run_ops OPTIONS (DROP use_remote_estimate, SET host %L)', current_setting('unix_socket_directories')); END $$;

-- the table is missing in the store, or its schema
ALTER EVENT TRIGGER runops_protect_start DISABLE;
ALTER FOREIGN TABLE runops_new.bi_run OPTIONS (SET table_name 'bi_missing');
CALL bi_try('SELECT count(*) FROM bi_run',
	'UPDATE bi_run SET n = n + 1',
	$$INSERT INTO bi_run VALUES ('0123456789abcdefghijklmnb1', 1)$$);
ALTER FOREIGN TABLE runops_new.bi_run OPTIONS (SET table_name 'bi_run', SET schema_name 'bi_missing');
CALL bi_try('SELECT * FROM bi_run');
ALTER FOREIGN TABLE runops_new.bi_run OPTIONS (SET schema_name 'public');
ALTER EVENT TRIGGER runops_protect_start ENABLE;

-- a column is missing there
ALTER TABLE bi_run ADD COLUMN late int;
CALL bi_try('SELECT * FROM bi_run',
	$$UPDATE bi_run SET late = 1 WHERE id = '0123456789abcdefghijklmna1'$$,
	$$INSERT INTO bi_run (id) VALUES ('0123456789abcdefghijklmnb1')$$,
	'SELECT id, n FROM bi_run');
ALTER TABLE bi_run DROP COLUMN late;

-- a column has another type there
\connect runops_store
ALTER TABLE bi_run ALTER COLUMN n TYPE text USING 'two';
\connect contrib_regression
\set VERBOSITY terse
CALL bi_try('SELECT * FROM bi_run',
	'SELECT id FROM bi_run WHERE n = 2',
	'SELECT sum(n) FROM bi_run',
	$$UPDATE bi_run SET n = n + 1 WHERE id = '0123456789abcdefghijklmna1'$$,
	'SELECT id FROM bi_run');
\connect runops_store
ALTER TABLE bi_run ALTER COLUMN n TYPE int USING 2;
\connect contrib_regression
\set VERBOSITY terse

-- a role with no user mapping, and one that must give a password
CREATE ROLE regress_runops_bi;
GRANT ALL ON bi_run TO regress_runops_bi;
SET ROLE regress_runops_bi;
CALL bi_try('SELECT count(*) FROM bi_run',
	'UPDATE bi_run SET n = n + 1',
	$$INSERT INTO bi_run VALUES ('0123456789abcdefghijklmnb1', 1)$$,
	$$INSERT INTO bi_run VALUES ('c000000000000000000000004', 4)$$);
RESET ROLE;
CREATE USER MAPPING FOR regress_runops_bi SERVER run_ops;
SET ROLE regress_runops_bi;
CALL bi_try('SELECT count(*) FROM bi_run');
RESET ROLE;

-- a role without rights on the table or the server
DO $$ BEGIN EXECUTE format('ALTER USER MAPPING FOR regress_runops_bi SERVER run_ops OPTIONS (ADD user %L, ADD password_required ''false'')', current_user); END $$;
REVOKE ALL ON bi_run FROM regress_runops_bi;
GRANT SELECT (id) ON bi_run TO regress_runops_bi;
SET ROLE regress_runops_bi;
CALL bi_try('SELECT n FROM bi_run', 'SELECT count(id) FROM bi_run', 'SELECT * FROM runops_new.bi_run',
	$$UPDATE bi_run SET n = 1 WHERE id = '0123456789abcdefghijklmna1'$$,
	$$INSERT INTO bi_run VALUES ('0123456789abcdefghijklmnb1', 1)$$,
	'ALTER SERVER run_ops OPTIONS (SET dbname ''x'')',
	'CREATE FOREIGN TABLE bi_table (id text) SERVER run_ops',
	'IMPORT FOREIGN SCHEMA public FROM SERVER run_ops INTO public',
	'CREATE USER MAPPING FOR PUBLIC SERVER run_ops');
RESET ROLE;

-- a role that lacks rights in the store
CREATE ROLE regress_runops_bi_remote LOGIN;
ALTER USER MAPPING FOR regress_runops_bi SERVER run_ops OPTIONS (SET user 'regress_runops_bi_remote');
GRANT ALL ON bi_run TO regress_runops_bi;
SET ROLE regress_runops_bi;
CALL bi_try('SELECT count(*) FROM bi_run', $$INSERT INTO bi_run VALUES ('0123456789abcdefghijklmnb1', 1)$$);
RESET ROLE;

-- a server of another wrapper cannot be a store
CREATE SERVER bi_other FOREIGN DATA WRAPPER postgres_fdw;
CALL bi_try($$SELECT runops.add_store('x', 'bi_other')$$, $$SELECT runops.add_store('x', 'bi_none')$$);
DROP SERVER bi_other;
SELECT store FROM runops.stores ORDER BY 1;

-- options are checked when they are given
CALL bi_try('ALTER SERVER run_ops OPTIONS (ADD nonsense ''1'')',
	'ALTER SERVER run_ops OPTIONS (ADD fetch_size ''many'')',
	'CREATE USER MAPPING FOR PUBLIC SERVER run_ops OPTIONS (host ''x'')');

-- after all of it the session works and the rows are what they were
SELECT tableoid::regclass, * FROM bi_run ORDER BY n;

DROP USER MAPPING FOR regress_runops_bi SERVER run_ops;
DROP PROCEDURE bi_try(text[]);
SELECT runops.detach('bi_run', true);
DROP TABLE bi_run;
DROP ROLE regress_runops_bi, regress_runops_bi_remote;
\connect runops_store
SELECT * FROM bi_run;
DROP TABLE bi_run;
