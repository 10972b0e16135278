-- fdw_error_details: an error of a store has the fields by which programs decide,
-- and shows no more of rows than the role may see

\set VERBOSITY terse
\connect runops_store
CREATE SCHEMA ed;
CREATE SCHEMA ed_a;
\connect contrib_regression
SET client_min_messages = warning;
CREATE SCHEMA ed;
-- a store in which the tables are in another schema
DO $$
BEGIN
	EXECUTE format('CREATE SERVER ed_a FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
		current_setting('unix_socket_directories'), current_setting('port'), 'runops_store');
END
$$;
CREATE USER MAPPING FOR CURRENT_USER SERVER ed_a;
SELECT runops.add_store('a', 'ed_a', remote_schema => 'ed_a');
SET search_path = ed;
CREATE TABLE run (
	id text PRIMARY KEY, env text NOT NULL, n int CONSTRAINT run_n_small CHECK (n < 1000), secret text,
	CONSTRAINT run_env_n_key UNIQUE (env, n), CONSTRAINT run_secret_key UNIQUE (secret));
CREATE TABLE item (id text PRIMARY KEY, run_id text NOT NULL CONSTRAINT item_run_id_fkey REFERENCES run, n int);
SELECT runops.attach('run', 'id');
SELECT runops.attach('item', 'run_id');
SELECT count(*) > 0 AS provisioned FROM runops.provision('new');
SELECT count(*) > 0 AS provisioned FROM runops.provision('a');
\connect runops_store
CREATE TABLE ed.audit (id text PRIMARY KEY);
CREATE FUNCTION ed.audited() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ed.audit VALUES (NEW.secret); RETURN NEW; END $$;
CREATE TRIGGER audited AFTER INSERT ON ed.run FOR EACH ROW WHEN (NEW.env = 'audited') EXECUTE FUNCTION ed.audited();
INSERT INTO ed.audit VALUES ('known');
\connect contrib_regression
SET client_min_messages = warning;
SET search_path = ed;
\set A '00000000000000000000000000A'
\set B '00000000000000000000000000B'
\set C '00000000000000000000000000C'
INSERT INTO run VALUES (:'A', 'e1', 1, 'S1'), (:'B', 'e2', 2, 'S2');
INSERT INTO item VALUES ('i1', :'A', 1);
INSERT INTO run VALUES ('0123456789abcdefghijklmna2', 'e1', 1, 'S1');
INSERT INTO item VALUES ('i3', '0123456789abcdefghijklmna2', 1);

CREATE ROLE regress_ed_owner;
CREATE ROLE regress_ed_user;
GRANT USAGE ON SCHEMA ed TO regress_ed_owner, regress_ed_user;
GRANT CREATE ON SCHEMA ed TO regress_ed_owner;
DO $$
BEGIN
	EXECUTE format('CREATE USER MAPPING FOR PUBLIC SERVER ed_a OPTIONS (user %L, password_required ''false'')', current_user);
	EXECUTE format('CREATE USER MAPPING FOR regress_ed_owner SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user);
	EXECUTE format('CREATE USER MAPPING FOR regress_ed_user SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user);
END
$$;
ALTER TABLE run OWNER TO regress_ed_owner;
ALTER TABLE item OWNER TO regress_ed_owner;

-- what a role is told if a statement fails; nothing stays of it
CREATE FUNCTION told(who name, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	a_schema text;
	a_table text;
	a_column text;
	a_constraint text;
	detail text;
	answer text := 'no error';
BEGIN
	PERFORM set_config('role', who, true);
	BEGIN
		EXECUTE statement;
		RAISE EXCEPTION USING errcode = 'ED000';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, a_schema = SCHEMA_NAME, a_table = TABLE_NAME,
			a_column = COLUMN_NAME, a_constraint = CONSTRAINT_NAME, detail = PG_EXCEPTION_DETAIL;
		IF state <> 'ED000' THEN
			answer := format('%s %s.%s %s| %s', state, a_schema, a_table, a_column || a_constraint, detail);
		END IF;
	END;
	PERFORM set_config('role', 'none', true);
	RETURN answer;
END
$$;

-- and of each kind of error, by every way to send a row, with routing and without
CREATE FUNCTION told(who name) RETURNS TABLE (statement text, answer text) LANGUAGE plpgsql AS $$
DECLARE
	routing text;
	before text;
BEGIN
	FOREACH statement IN ARRAY ARRAY[
		-- row by row, as a whole, in a batch
		$a$INSERT INTO run VALUES ('00000000000000000000000000A', 'e1', 9, 'S9')$a$,
		$a$INSERT INTO run VALUES ('00000000000000000000000000C', 'e2', 2, 'S9')$a$,
		$a$INSERT INTO run VALUES ('00000000000000000000000000C', 'e9', 9, 'S2')$a$,
		$a$INSERT INTO run VALUES ('00000000000000000000000000C', 'e9', 1000, 'S9')$a$,
		$a$INSERT INTO run VALUES ('00000000000000000000000000C', NULL, 9, 'S9')$a$,
		$a$INSERT INTO run VALUES ('00000000000000000000000000C', 'e9', 9, 'S9'), ('00000000000000000000000000D', NULL, 9, 'S8')$a$,
		$a$INSERT INTO run (id, n) VALUES ('00000000000000000000000000C', 9)$a$,
		$a$UPDATE run SET env = NULL WHERE id = '00000000000000000000000000A'$a$,
		$a$UPDATE run SET env = NULL WHERE id = '00000000000000000000000000A' AND random() >= 0$a$,
		$a$UPDATE run SET n = 1000 WHERE id = '00000000000000000000000000A'$a$,
		$a$UPDATE run SET n = 1000 + (random() * 0)::int WHERE id = '00000000000000000000000000A'$a$,
		$a$UPDATE run SET env = 'e2', n = 2 WHERE id = '00000000000000000000000000A'$a$,
		$a$UPDATE run SET secret = 'S2' WHERE id = '00000000000000000000000000A'$a$,
		$a$UPDATE run SET secret = 'S2' WHERE id = '00000000000000000000000000A' AND random() >= 0$a$,
		-- foreign keys, from both sides
		$a$INSERT INTO item VALUES ('i2', '00000000000000000000000000C', 2)$a$,
		$a$DELETE FROM run WHERE id = '00000000000000000000000000A'$a$,
		$a$DELETE FROM run WHERE id = '00000000000000000000000000A' AND random() >= 0$a$,
		-- a table that only the store has
		$a$INSERT INTO run VALUES ('00000000000000000000000000C', 'audited', 9, 'known')$a$,
		-- a store in which the tables are in another schema
		$a$UPDATE run SET n = 1000 WHERE id = '0123456789abcdefghijklmna2'$a$,
		$a$DELETE FROM run WHERE id = '0123456789abcdefghijklmna2'$a$,
		-- what is no row
		$a$UPDATE run SET n = 1 / (n - 1) WHERE id = '00000000000000000000000000A'$a$]
	LOOP
		before := NULL;
		FOREACH routing IN ARRAY '{on,off}'::text[] LOOP
			PERFORM set_config('runops.enable_routing', routing, true);
			answer := told(who, statement);
			IF answer IS DISTINCT FROM before THEN
				RETURN NEXT;
			END IF;
			before := answer;
		END LOOP;
	END LOOP;
END
$$;

-- a role that may see all
SELECT * FROM told('none');
SELECT * FROM told('regress_ed_owner') EXCEPT SELECT * FROM told('none') ORDER BY 1, 2;
GRANT SELECT, INSERT, UPDATE, DELETE ON run, item TO regress_ed_user;
SELECT * FROM told('regress_ed_user') EXCEPT SELECT * FROM told('none') ORDER BY 1, 2;

-- the legacy leaf, whose errors are core's, is named as the routed table too
INSERT INTO run VALUES ('c000000000000000000000001', 'e1', 1, 'L1');
SELECT told('none', s) FROM unnest(ARRAY[
	$$INSERT INTO run VALUES ('c000000000000000000000001', 'e1', 9, 'S9')$$,
	$$INSERT INTO run VALUES ('c000000000000000000000002', NULL, 9, 'S9')$$,
	$$INSERT INTO run VALUES ('c000000000000000000000002', 'e9', 1000, 'S9'), ('00000000000000000000000000C', 'e9', 9, 'S9')$$,
	$$UPDATE run SET n = 1000 WHERE id = 'c000000000000000000000001'$$,
	$$WITH u AS (UPDATE run SET n = 1000 WHERE id = 'c000000000000000000000001' RETURNING 1) SELECT * FROM u$$]) s;
SELECT told('regress_ed_user', $$INSERT INTO run VALUES ('c000000000000000000000001', 'e1', 9, 'S9')$$);
DELETE FROM run WHERE id = 'c000000000000000000000001';

-- some columns: only these, and what was assigned
REVOKE SELECT ON run FROM regress_ed_user;
GRANT SELECT (id, env, n) ON run TO regress_ed_user;
SELECT * FROM told('regress_ed_user') EXCEPT SELECT * FROM told('none') ORDER BY 1, 2;

-- the columns of a key alone
REVOKE SELECT (env) ON run FROM regress_ed_user;
SELECT * FROM told('regress_ed_user') WHERE statement ~ 'e2.*2' OR answer ~ '23503' ORDER BY 1, 2;

-- a policy, for a role and for the owner under FORCE
GRANT SELECT ON run TO regress_ed_user;
ALTER TABLE run ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON run USING (true);
SELECT * FROM told('regress_ed_user') EXCEPT SELECT * FROM told('none') ORDER BY 1, 2;
SELECT * FROM told('regress_ed_owner') EXCEPT SELECT * FROM told('none') ORDER BY 1, 2;
ALTER TABLE run FORCE ROW LEVEL SECURITY;
SELECT * FROM told('regress_ed_owner') EXCEPT SELECT * FROM told('none') ORDER BY 1, 2;
ALTER TABLE run NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;

-- a view: its owner's rights do not matter for what is shown
CREATE VIEW v AS SELECT id, env FROM run;
REVOKE ALL ON run FROM regress_ed_user;
GRANT SELECT, INSERT, UPDATE ON v TO regress_ed_user;
\set VERBOSITY default
\set SHOW_CONTEXT never
SET ROLE regress_ed_user;
UPDATE v SET env = NULL WHERE id = :'A';
UPDATE v SET env = NULL WHERE id = :'A' AND random() >= 0;
INSERT INTO v VALUES (:'A', 'e1');
RESET ROLE;
GRANT INSERT ON run TO regress_ed_user;
SET ROLE regress_ed_user;
COPY run FROM STDIN;
00000000000000000000000000C	\N	9	S9
\.
COPY run FROM STDIN;
00000000000000000000000000C	e9	9	S2
\.
RESET ROLE;
\set VERBOSITY terse

-- references and keys over all stores, which are enforced here
CREATE TABLE dep (id int PRIMARY KEY, run_id text);
CREATE INDEX ON dep (run_id);
SELECT runops.add_reference('dep', 'run_id', 'run');
INSERT INTO dep VALUES (1, :'B');
GRANT INSERT ON dep TO regress_ed_user;
GRANT DELETE, SELECT (id) ON run TO regress_ed_user;
SELECT told('regress_ed_user', format('INSERT INTO dep VALUES (2, %L)', :'C'));
SELECT told('regress_ed_user', format('DELETE FROM run WHERE id = %L', :'B'));
GRANT SELECT (run_id) ON dep TO regress_ed_user;
SELECT told('regress_ed_user', format('INSERT INTO dep VALUES (2, %L)', :'C'));
ALTER TABLE dep ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON dep USING (true);
SELECT told('regress_ed_user', format('INSERT INTO dep VALUES (2, %L)', :'C'));
SELECT told('none', format('INSERT INTO dep VALUES (2, %L)', :'C'));
SELECT runops.drop_reference('dep', 'run_id', 'run');

-- deferred constraints, which fail when the store commits
\connect runops_store
ALTER TABLE ed.run DROP CONSTRAINT run_secret_key, ADD CONSTRAINT run_secret_key UNIQUE (secret) DEFERRABLE INITIALLY DEFERRED;
\connect contrib_regression
SET client_min_messages = warning;
SET search_path = ed;
\set VERBOSITY default
\set S2 'UPDATE run SET secret = ''S2'' WHERE id = ''00000000000000000000000000A'''
GRANT SELECT (id), UPDATE (secret) ON run TO regress_ed_user;
BEGIN;
:S2;
COMMIT;
BEGIN;
SET LOCAL ROLE regress_ed_user;
:S2;
COMMIT;
-- nothing of it stays behind
SET ROLE regress_ed_user;
:S2;
SELECT 1/0;
RESET ROLE;
GRANT SELECT ON run TO regress_ed_user;
SET ROLE regress_ed_user;
:S2;
UPDATE run SET secret = 'S2 too' WHERE id = :'A';
SELECT 1/0;
RESET ROLE;
\set VERBOSITY terse

-- names that were changed after an error of the same session
CREATE FUNCTION named(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	schema_name text;
	table_name text;
	context text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN unique_violation THEN
	GET STACKED DIAGNOSTICS schema_name := SCHEMA_NAME, table_name := TABLE_NAME, context := PG_EXCEPTION_CONTEXT;
	RETURN format('%s.%s: %s', schema_name, table_name, substring(context FROM 'table "\w+" in store "\w+"'));
END
$$;
SELECT named(format('INSERT INTO run (id, env, n) VALUES (%L, ''e'', 1)', :'B'));
ALTER TABLE run RENAME TO job;
SELECT named(format('INSERT INTO job (id, env, n) VALUES (%L, ''e'', 1)', :'B'));
ALTER TABLE job RENAME TO run;
ALTER SCHEMA ed RENAME TO moved;
SELECT moved.named(format('INSERT INTO moved.run (id, env, n) VALUES (%L, ''e'', 1)', :'B'));
ALTER SCHEMA moved RENAME TO ed;
SELECT named(format('INSERT INTO run (id, env, n) VALUES (%L, ''e'', 1)', :'B'));
DROP FUNCTION named(text);

-- a view in the place of the store's table, with a check option
\connect runops_store
ALTER TABLE ed.run RENAME TO base;
CREATE VIEW ed.run AS SELECT * FROM ed.base WHERE n <> 500 WITH CHECK OPTION;
\connect contrib_regression
SET client_min_messages = warning;
SET search_path = ed;
GRANT SELECT (id, n), UPDATE (n) ON run TO regress_ed_user;
\set VERBOSITY default
SET ROLE regress_ed_user;
UPDATE run SET n = 500 WHERE id = :'B';
INSERT INTO run (id, env, n) VALUES (:'C', 'e9', 500);
RESET ROLE;
UPDATE run SET n = 500 WHERE id = :'B';
\set VERBOSITY terse

DROP VIEW v;
SET client_min_messages = error;
SELECT runops.detach('ed.item', true), runops.detach('ed.run', true);
DROP SCHEMA ed CASCADE;
DROP OWNED BY regress_ed_owner, regress_ed_user;
DROP ROLE regress_ed_owner, regress_ed_user;
SELECT runops.drop_store('a');
DROP SERVER ed_a CASCADE;
\connect runops_store
SET client_min_messages = error;
DROP SCHEMA ed CASCADE;
DROP SCHEMA ed_a CASCADE;
