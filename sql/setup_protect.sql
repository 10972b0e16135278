--
-- setup_protect: objects that routed tables need cannot be dropped
--
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA app;
CREATE TABLE app."Run" (id text PRIMARY KEY, n int);
INSERT INTO app."Run" VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('app."Run"', 'id');
RESET client_min_messages;

\set VERBOSITY sqlstate
DROP EXTENSION runops;
DROP EXTENSION runops CASCADE;
DROP EXTENSION postgres_fdw;
DROP EXTENSION postgres_fdw CASCADE;
DROP SCHEMA runops;
DROP SCHEMA runops CASCADE;
DROP SCHEMA runops_legacy;
DROP SCHEMA runops_legacy CASCADE;
DROP SCHEMA runops_new CASCADE;
DROP TABLE app."Run";
DROP TABLE IF EXISTS app."Run" CASCADE;
DROP TABLE runops_legacy."Run";
DROP TABLE runops_legacy."Run" CASCADE;
DROP FOREIGN TABLE runops_new."Run";
DROP SERVER run_ops;
DROP SERVER run_ops CASCADE;
DROP FOREIGN DATA WRAPPER runops_fdw CASCADE;
DROP FUNCTION runops.store_of(text);
DROP FUNCTION runops.store_of CASCADE;
DROP ROUTINE runops.store_of(text) CASCADE;
DROP TABLE runops.table_config CASCADE;
ALTER TABLE app."Run" DETACH PARTITION runops_new."Run";
ALTER SERVER run_ops RENAME TO other;
\set VERBOSITY default

-- in other words, and on the way
DROP EXTENSION runops CASCADE;
DROP TABLE app."Run";
DROP SERVER run_ops CASCADE;
SET client_min_messages = warning;
DROP SCHEMA app CASCADE;
RESET client_min_messages;
CREATE ROLE regress_protect;
ALTER TABLE app."Run" OWNER TO regress_protect;
DROP OWNED BY regress_protect CASCADE;
ALTER TABLE app."Run" OWNER TO CURRENT_USER;
DROP OWNED BY regress_protect;
DROP ROLE regress_protect;
DO $$ BEGIN EXECUTE 'DROP TABLE app."Run"'; END $$;
ALTER TABLE app."Run" DETACH PARTITION runops_legacy."Run";
ALTER SERVER run_ops RENAME TO other;
SELECT id FROM runops_legacy."Run";

-- TRUNCATE
TRUNCATE app."Run";
CREATE TABLE app.referring (run text REFERENCES runops_legacy."Run");
TRUNCATE app."Run" CASCADE;
DROP TABLE app.referring;
TRUNCATE runops_legacy."Run";
SELECT count(*) FROM runops_legacy."Run";
-- by a foreign key from the leaf, directly and through another table, CASCADE would
-- empty the leaf alone; of a table that nothing refers to it does what it says
CREATE TABLE app."Env" (id text PRIMARY KEY, org text);
CREATE TABLE app.org (id text PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE app.org_1 PARTITION OF app.org DEFAULT;
ALTER TABLE app."Env" ADD FOREIGN KEY (org) REFERENCES app.org;
ALTER TABLE app."Run" ADD COLUMN env text;
ALTER TABLE runops_legacy."Run" ADD FOREIGN KEY (env) REFERENCES app."Env";
CREATE TABLE app.note (env text REFERENCES app."Env");
INSERT INTO app."Env" VALUES ('e');
INSERT INTO runops_legacy."Run" (id, env) VALUES ('c000000000000000000000009', 'e');
TRUNCATE app."Env" CASCADE;
TRUNCATE app.org, app.note CASCADE;
TRUNCATE ONLY app."Env", app.note CASCADE;
DO $$ BEGIN TRUNCATE app."Env" CASCADE; END $$;
TRUNCATE app."Env";
SELECT count(*) FROM runops_legacy."Run";
SET client_min_messages = warning;
TRUNCATE app.note CASCADE;
BEGIN;
TRUNCATE app."Env", runops_legacy."Run" CASCADE;
SELECT count(*) FROM runops_legacy."Run";
ROLLBACK;
TRUNCATE runops_legacy."Run" CASCADE;
ALTER TABLE app."Run" DROP COLUMN env;
DROP TABLE app."Env", app.org, app.note;
RESET client_min_messages;

-- other objects are nobody's business
CREATE TABLE app.other (id text) PARTITION BY LIST (id);
CREATE TABLE app.other_1 PARTITION OF app.other DEFAULT;
ALTER TABLE app.other ADD COLUMN n int;
CREATE INDEX ON app.other (n);
TRUNCATE app.other;
ALTER TABLE app.other DETACH PARTITION app.other_1;
DROP TABLE app.other, app.other_1;
CREATE SERVER other FOREIGN DATA WRAPPER runops_fdw;
ALTER SERVER other RENAME TO another;
DROP SERVER another;
DROP TABLE IF EXISTS app.nothing;
DROP FUNCTION IF EXISTS app.nothing(int);

-- what does not reach the other databases says what to run
ALTER TABLE app."Run" ADD COLUMN x int;
ALTER TABLE app."Run" RENAME x TO y;
CREATE INDEX ON app."Run" (y);
CREATE UNIQUE INDEX "Run_y" ON runops_legacy."Run" (y);
ALTER TABLE app."Run" ADD CONSTRAINT positive CHECK (n > 0);
ALTER TABLE app."Run" ALTER n SET DEFAULT 3;
ALTER TABLE app."Run" ENABLE ROW LEVEL SECURITY;
CREATE TYPE app.status AS ENUM ('a');
ALTER TYPE app.status ADD VALUE 'b';
ALTER TABLE app."Run" ADD COLUMN s app.status[];
ALTER TYPE app.status ADD VALUE 'c';
ALTER TYPE app.status RENAME VALUE 'c' TO 'd';
CREATE TYPE app.pair AS (a int);
ALTER TYPE app.pair ADD ATTRIBUTE b int;
-- not while a dump is restored
SET search_path = '';
CREATE INDEX again ON ONLY app."Run" (y);
CREATE INDEX again ON runops_legacy."Run" (y);
RESET search_path;
ALTER TABLE app."Run" DROP COLUMN s;
DROP TYPE app.status, app.pair;

-- nor is what routed tables are known by renamed
ALTER SCHEMA runops RENAME TO ops;
ALTER FUNCTION runops.store_of(text) RENAME TO shop;
ALTER ROUTINE runops.store_of RENAME TO shop;
-- nor are the functions changed that tell the store of an id, but their owner and
-- cost may, and so may functions with the same name
CREATE OR REPLACE FUNCTION runops.store_of(id text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT 'legacy' $$;
CREATE OR REPLACE FUNCTION runops.same_store(alias text, key text) RETURNS bool LANGUAGE c IMMUTABLE AS '$libdir/runops', 'runops_is_classifiable';
ALTER FUNCTION runops.store_of(text) VOLATILE;
ALTER FUNCTION runops.store_of(text) CALLED ON NULL INPUT;
ALTER FUNCTION runops.store_of(text) SECURITY DEFINER;
ALTER FUNCTION runops.store_of(text) SET search_path = '';
ALTER ROUTINE runops.store_arm(text[], text, oid, bool) VOLATILE;
ALTER FUNCTION runops.same_store SET SCHEMA app;
DO $d$ BEGIN EXECUTE 'CREATE OR REPLACE FUNCTION runops.store_of(id text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$ BEGIN RETURN id; END $$'; END $d$;
BEGIN;
ALTER FUNCTION runops.store_of(text) COST 5 PARALLEL UNSAFE;
ALTER FUNCTION runops.store_of(text) OWNER TO pg_monitor;
CREATE OR REPLACE FUNCTION runops.store_of(id text) RETURNS text LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS '$libdir/runops', 'runops_store_of';
CREATE FUNCTION runops.store_of(id int) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;
CREATE FUNCTION app.store_of(id text) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;
ALTER FUNCTION app.store_of IMMUTABLE;
SELECT * FROM runops._changed_functions();
ROLLBACK;
-- one that was changed all the same is found, and nothing is asked of it
BEGIN;
UPDATE pg_proc SET provolatile = 'v' WHERE oid = 'runops.store_of(text)'::regprocedure;
UPDATE pg_proc SET prosrc = 'runops_try_residency' WHERE oid = 'runops.same_store(text,text)'::regprocedure;
SELECT severity, object, finding, hint FROM runops.doctor() WHERE object ~ '^function';
SAVEPOINT s;
SELECT * FROM runops.verify();
ROLLBACK TO s;
CREATE TABLE app.late (id text PRIMARY KEY);
SELECT runops.attach('app.late', 'id');
ROLLBACK;
BEGIN;
UPDATE pg_proc SET prosrc = 'SELECT ''new''', prolang = 14, probin = NULL WHERE oid = 'runops.store_of(text)'::regprocedure;
SELECT * FROM runops._changed_functions();
ROLLBACK;
-- the server of a store stays, as long as it is one
SELECT runops.detach('app."Run"', force => true);
DROP TABLE app."Run";
DROP SERVER run_ops;
BEGIN;
SELECT runops.drop_store('new');
DROP SERVER run_ops CASCADE;
ROLLBACK;
-- with nothing routed, all of it may go
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION runops CASCADE;
SELECT to_regclass('runops.table_config');
ROLLBACK;
DROP SCHEMA app;
