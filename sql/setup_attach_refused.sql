--
-- setup_attach_refused: attach refuses tables that cannot be routed, and changes
-- nothing
--
\set SHOW_CONTEXT never
CREATE SCHEMA refused;
SET search_path = refused, public;
CREATE TABLE t (id text PRIMARY KEY, owner text, n int, fixed char(25) NOT NULL,
	made text GENERATED ALWAYS AS (id || 'x') STORED);

-- no such column, no table, NULLs
SELECT runops.attach('t', 'ID2');
SELECT runops.attach('t', '"ID2"');
SELECT runops.attach('t', 'id', '{nope}');
SELECT runops.attach('nope', 'id');
SELECT runops.attach(NULL, 'id');
SELECT runops.attach('t', NULL);
SELECT runops.attach('t', 'id', NULL);
SELECT runops.attach('t', 'id', '{owner,NULL}');
SELECT runops.attach(1::oid::regclass, 'id');

-- a key that can be NULL, and keys of other types
SELECT runops.attach('t', 'owner');
SELECT runops.attach('t', 'n');
SELECT runops.attach('t', 'fixed');
SELECT runops.attach('t', 'id', '{n}');
SELECT runops.attach('t', 'id', '{id}');
SELECT runops.attach('t', 'id', '{owner,owner}');
CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE blind_ids (id text COLLATE blind NOT NULL);
SELECT runops.attach('blind_ids', 'id');

-- what is no expression over the columns of the table
SELECT runops.attach('t', 'id) ; DROP TABLE t; --');
SELECT runops.attach('t', 'id, owner');
SELECT runops.attach('t', 'id FROM t');
SELECT runops.attach('t', 'id AS key');
SELECT runops.attach('t', '');
SELECT runops.attach('t', '(SELECT max(id) FROM t)');
SELECT runops.attach('t', 'max(id)');
SELECT runops.attach('t', 'refused.t.id || other.id');
SELECT runops.attach('t', 'id || current_setting(''my.thing'')');
SELECT runops.attach('t', '''c'' || ''1''');
SELECT runops.attach('t', 'made');
SELECT runops.attach('t', 'COALESCE(owner, tableoid::text)');
SELECT runops.attach('t', 'COALESCE(owner, NULL)');
-- PostgreSQL 19 words the hint differently
\set VERBOSITY terse
SELECT runops.attach('t', 'no_such_function(id)');
\set VERBOSITY default

-- rows of other stores: the first ten
INSERT INTO t (id, fixed) SELECT 'run_' || repeat(chr(64 + i), 27), '' FROM generate_series(1, 12) i;
SELECT runops.attach('t', 'id');
DELETE FROM t WHERE id > 'run_C';
SELECT runops.attach('t', 'id');
DELETE FROM t;
INSERT INTO t (id, fixed, owner) VALUES ('c000000000000000000000001', '', 'run_' || repeat('0', 24) || 'e2'),
	('c000000000000000000000002', '', 'c000000000000000000000002'), ('c000000000000000000000003', '', 'nanoid');
SELECT runops.attach('t', 'id', '{owner}');
SELECT runops.attach('t', 'COALESCE(owner, id)');

-- other kinds of relations
CREATE VIEW v AS SELECT * FROM t;
SELECT runops.attach('v', 'id');
CREATE MATERIALIZED VIEW mv AS SELECT * FROM t;
SELECT runops.attach('mv', 'id');
CREATE FOREIGN TABLE ft (id text NOT NULL) SERVER run_ops;
SELECT runops.attach('ft', 'id');
CREATE TEMP TABLE tmp (id text NOT NULL);
SELECT runops.attach('tmp', 'id');
CREATE TABLE parent (id text NOT NULL);
CREATE TABLE child () INHERITS (parent);
SELECT runops.attach('parent', 'id');
SELECT runops.attach('child', 'id');
CREATE TYPE shape AS (id text);
CREATE TABLE typed OF shape (id NOT NULL);
SELECT runops.attach('typed', 'id');
CREATE INDEX t_n ON t (n);
SELECT runops.attach('t_n', 'id');
SELECT runops.attach('pg_catalog.pg_class', 'relname');
SELECT runops.attach('runops.store_config', 'store');

-- what stands on the table
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TABLE watched (id text NOT NULL);
CREATE TRIGGER rows AFTER INSERT ON watched REFERENCING NEW TABLE AS new_rows FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT runops.attach('watched', 'id');
CREATE TABLE waiting (id text PRIMARY KEY, run text REFERENCES t ON DELETE SET NULL, batch text);
SELECT runops.attach('waiting', 'COALESCE(run, batch, id)');
ALTER TABLE waiting DROP CONSTRAINT waiting_run_fkey;
ALTER TABLE waiting ADD CONSTRAINT waiting_run_fkey FOREIGN KEY (run) REFERENCES t ON UPDATE SET DEFAULT;
SELECT runops.attach('waiting', 'COALESCE(run, batch, id)');
ALTER TABLE waiting ADD CONSTRAINT runops_store CHECK (id <> '');
SELECT runops.attach('waiting', 'id');
DROP TABLE waiting;

-- twice
CREATE TABLE twice (id text NOT NULL);
SELECT runops.attach('twice', 'id');
SELECT runops.attach('twice', 'id');
SELECT runops.attach('runops_legacy.twice', 'id');
SELECT runops.attach('runops_new.twice', 'id');
SELECT runops.detach('twice');

-- without rights
CREATE ROLE regress_other;
GRANT USAGE ON SCHEMA refused, runops TO regress_other;
SET ROLE regress_other;
SELECT runops.attach('t', 'id');
RESET ROLE;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA runops TO regress_other;
SET ROLE regress_other;
SELECT runops.attach('refused.t', 'id');
SELECT runops.detach('refused.t');
SELECT runops.add_store('x', 'run_ops');
RESET ROLE;
CREATE TABLE mine (id text NOT NULL);
ALTER TABLE mine OWNER TO regress_other;
SET ROLE regress_other;
SELECT runops.attach('refused.mine', 'id');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER run_ops TO regress_other;
SET ROLE regress_other;
SELECT runops.attach('refused.mine', 'id');
RESET ROLE;
-- with them it works, and no right on a table or a schema of the extension is needed
GRANT CREATE ON SCHEMA refused TO regress_other;
SET ROLE regress_other;
SELECT runops.attach('refused.mine', 'id');
INSERT INTO refused.mine VALUES ('c000000000000000000000001');
SELECT runops.detach('refused.mine', force => true);
SELECT * FROM refused.mine;
RESET ROLE;
DROP TABLE mine;
DROP OWNED BY regress_other;
DROP ROLE regress_other;

-- stores
SELECT runops.add_store('new', 'run_ops');
SELECT runops.add_store('news', 'run_ops');
SELECT runops.add_store('X', 'run_ops');
SELECT runops.add_store(NULL, 'run_ops');
SELECT runops.add_store('s', NULL);
SELECT runops.add_store('s', 'no_such_server');
SELECT runops.add_store('s', 'run_ops');
SELECT runops.add_store('legacy', 'run_ops');
SELECT runops.add_store('legacy', NULL);
CREATE SERVER plain FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname 'runops_store');
SELECT runops.add_store('s', 'plain');
SELECT runops.add_store('s', 'run_ops', 'plain', 'elsewhere');
SELECT runops.drop_store('s');
SELECT runops.drop_store(NULL);
SELECT runops.drop_store('legacy');
CREATE SERVER refused_reader FOREIGN DATA WRAPPER runops_fdw;
SELECT runops.add_store('legacy', NULL, reader => 'refused_reader');
SELECT * FROM runops.stores ORDER BY store;
SELECT runops.drop_store('legacy');
DROP SERVER refused_reader;
SELECT * FROM runops.stores ORDER BY store;
DROP SERVER plain;

-- nothing was left behind
SELECT relation FROM runops.table_config WHERE relation::text ~ 'refused';
SELECT conrelid::regclass, conname FROM pg_constraint WHERE conname ~ '^runops_' AND connamespace = 'refused'::regnamespace;
SELECT relname FROM pg_class WHERE relname ~ '^runops_attach';
SET client_min_messages = warning;
DROP SCHEMA refused CASCADE;
