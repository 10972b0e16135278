--
-- owner_code: what the owner of a table has written runs with the owner's
-- rights, whoever calls a function that reads the table.  The cleanup of cascades
-- is in test/t/070_security_cascade.pl.
--
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE SCHEMA owner_code;
SET search_path = owner_code, public;
SET client_min_messages = warning;
CREATE ROLE regress_code_owner;
CREATE ROLE regress_code_other;
GRANT USAGE, CREATE ON SCHEMA owner_code TO regress_code_owner, regress_code_other;
DO $$
BEGIN
	EXECUTE format('CREATE USER MAPPING FOR regress_code_owner SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user);
	EXECUTE format('CREATE USER MAPPING FOR regress_code_other SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user);
END $$;

-- what has run, in which of our calls, and as whom
CREATE TABLE seen (call text, kind text, who name);
GRANT INSERT ON seen TO PUBLIC;
CREATE FUNCTION show_seen() RETURNS TABLE (call text, kinds text, who name) LANGUAGE sql AS $$
	WITH gone AS (DELETE FROM owner_code.seen RETURNING *)
	SELECT call, string_agg(DISTINCT kind, ', ' ORDER BY kind), CASE WHEN who ~ '^regress' THEN who ELSE 'superuser' END
	FROM gone GROUP BY 1, 3 ORDER BY 1, 3
$$;
CREATE FUNCTION note(kind text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO owner_code.seen VALUES (current_setting('test.call', true), kind, current_user);
EXCEPTION WHEN read_only_sql_transaction OR feature_not_supported THEN
	NULL;
END $$;

-- an owner, with a type, a cast of it, a domain, and functions
SET ROLE regress_code_owner;
CREATE FUNCTION f(kind text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM owner_code.note(split_part(kind, ':', 1)); RETURN true; END $$;
CREATE TYPE shade AS ENUM ('dark', 'light');
CREATE FUNCTION spell(shade) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM owner_code.note('cast'); RETURN enum_out($1)::text; END $$;
CREATE FUNCTION spelled(text) RETURNS shade LANGUAGE plpgsql AS $$ BEGIN PERFORM owner_code.note('cast from text'); RETURN enum_in($1::cstring, 'owner_code.shade'::regtype); END $$;
CREATE CAST (shade AS text) WITH FUNCTION spell(shade);
CREATE CAST (text AS shade) WITH FUNCTION spelled(text);
CREATE DOMAIN word AS text CHECK (f('domain:' || VALUE));
CREATE FUNCTION own(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM owner_code.note('key'); RETURN $1; END $$;
CREATE TABLE run (id word PRIMARY KEY, env word, kind shade, friendly text, parent word);
CREATE TABLE item (id shade, run text NOT NULL, kind shade, word word);
CREATE TABLE tag (id shade PRIMARY KEY, run text NOT NULL);
CREATE TABLE parent (id word PRIMARY KEY);
RESET ROLE;
SELECT runops.remote_exec('new', $$
	CREATE SCHEMA owner_code;
	CREATE FUNCTION owner_code.f(text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION owner_code.own(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
	CREATE TYPE owner_code.shade AS ENUM ('dark', 'light');
	CREATE TABLE owner_code.run (id text PRIMARY KEY, env text, kind owner_code.shade, friendly text, parent text);
	CREATE TABLE owner_code.item (id owner_code.shade, run text NOT NULL, kind owner_code.shade, word text);
	CREATE TABLE owner_code.tag (id owner_code.shade PRIMARY KEY, run text NOT NULL)$$);
SELECT runops.attach('run', 'id');
SELECT runops.attach('item', 'coalesce(owner_code.own(run), ''none'')');
SELECT runops.attach('tag', 'run');
INSERT INTO run VALUES ('c0000000000000000000code1', 'e', 'dark', 'c0000000000000000000code1', 'p'), ('0123456789abcdefghijklcod1', 'e', 'light', '0123456789abcdefghijklcod1', 'p');
INSERT INTO item VALUES ('dark', 'c0000000000000000000code1', 'dark', 'w'), ('light', '0123456789abcdefghijklcod1', 'light', 'w');
INSERT INTO tag VALUES ('dark', 'c0000000000000000000code1'), ('light', '0123456789abcdefghijklcod1');
INSERT INTO parent VALUES ('p');
TRUNCATE seen;

SET test.call = 'add_unique';
SELECT runops.add_unique('run', '{env,kind}', 'owner_code.f(''predicate:'' || id)');
SELECT runops.add_unique('item', '{word,kind}', 'owner_code.f(''predicate:'' || run)');
SET test.call = 'check_unique';
SELECT * FROM runops.check_unique('run');
SELECT * FROM runops.check_unique('item');
SET test.call = 'rebuild_unique';
SELECT runops.rebuild_unique('run', 'run_env_kind_key');
SELECT runops.rebuild_unique('item', 'item_word_kind_key');
SET test.call = 'prepare_unique';
CALL runops.prepare_unique('run', '{env,kind}', 'owner_code.f(''predicate:'' || id)', 'prepared');
-- a predicate of a key runs as the role that writes the row, like the one of an index
SET test.call = 'write';
UPDATE run SET env = env;
UPDATE run SET env = env || 'x' WHERE id LIKE 'c%';
UPDATE run SET env = 'e' WHERE id LIKE 'c%';
SET test.call = 'prepare_unique';
CALL runops.prepare_unique('run', '{env,kind}', 'owner_code.f(''predicate:'' || id)', 'prepared');
SELECT runops.add_unique('run', '{env,kind}', 'owner_code.f(''predicate:'' || id)', 'prepared');
SELECT runops.drop_unique('run', 'prepared');
SET test.call = 'verify';
SELECT * FROM runops.verify('run') WHERE finding NOT IN ('constraint', 'type', 'column', 'index');
SELECT * FROM runops.verify('item') WHERE finding NOT IN ('constraint', 'type', 'column', 'index');
SELECT * FROM runops.verify('tag') WHERE finding NOT IN ('constraint', 'type', 'column', 'index');
SET test.call = 'doctor';
SELECT count(*) >= 0 AS ok FROM runops.doctor();
SET test.call = 'add_anchor';
SELECT runops.add_anchor('run', 'id', 'friendly');
SELECT runops.add_anchor('item', 'coalesce(owner_code.own(run), ''none'')', 'word');
SET test.call = 'add_reference';
SELECT runops.add_reference('run', 'parent', 'parent', 'id');
SELECT runops.drop_reference('run', 'parent', 'parent');
-- of two owners, each gets his own rights
ALTER TABLE parent OWNER TO regress_code_other;
SELECT runops.add_reference('run', 'parent', 'parent', 'id');
SELECT runops.drop_reference('run', 'parent', 'parent');
DELETE FROM parent;
SELECT runops.add_reference('run', 'parent', 'parent', 'id');
SET test.call = 'find_idempotent';
SELECT runops.add_idempotency('run', '{env,kind}');
SELECT outcome, store, id FROM runops.find_idempotent('run', '{"env": "e", "kind": "dark"}');
SELECT outcome, store, id FROM runops.find_idempotent('run', '{"env": "e", "kind": "light"}');
-- the rows of a store are read by this role, as by any SELECT
SET test.call = 'drop_store';
SELECT runops.drop_store('new');
RESET test.call;
SELECT * FROM show_seen() WHERE call <> '';

-- a role that is not the owner may not have it run
GRANT USAGE ON SCHEMA runops TO regress_code_other;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA runops TO regress_code_other;
SET ROLE regress_code_other;
SELECT * FROM runops._owner_query('run', 'SELECT 1') AS q (n int);
SELECT * FROM runops._owner_query('parent', 'SELECT current_user::text') AS q (who text);
-- nor may the code become somebody else, nor leave settings
SELECT * FROM runops._owner_query('parent', 'SELECT set_config(''role'', ''none'', false)') AS q (role text);
SELECT * FROM runops._owner_query('parent', 'SELECT set_config(''application_name'', ''changed'', false)') AS q (name text);
SELECT current_setting('application_name') <> 'changed' AS undone;
SELECT * FROM runops._owner_query('parent', 'SELECT 1') AS q (n text);
SELECT * FROM runops._owner_query('parent', 'SELECT 1, 2') AS q (n int);
SELECT * FROM runops._owner_query(NULL, 'SELECT 1') AS q (n int);
SELECT * FROM runops._owner_query(0, 'SELECT 1') AS q (n int);
RESET ROLE;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA runops FROM regress_code_other;

SELECT runops.detach(t, force => true) FROM unnest('{run,item,tag}'::regclass[]) t;
SELECT runops.remote_exec('new', 'DROP SCHEMA owner_code CASCADE');
RESET search_path;
DROP SCHEMA owner_code CASCADE;
REVOKE USAGE ON SCHEMA runops FROM regress_code_other;
DROP OWNED BY regress_code_owner, regress_code_other CASCADE;
DROP ROLE regress_code_owner, regress_code_other;
