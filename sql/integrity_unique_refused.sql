--
-- integrity_unique_refused: invalid keys over all stores, operations that such a key
-- refuses, and stores that are added and dropped
--
\set SHOW_CONTEXT never
CREATE SCHEMA unir;
SET search_path = unir, public;
SET client_min_messages = warning;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE FUNCTION cut(text) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN lower($1); END $$;
CREATE TABLE run (id text PRIMARY KEY, env text, key text, meta json, n numeric(8, 2), at timestamptz, m mood, tags text[], raw bytea);
CREATE TABLE plain (id text PRIMARY KEY);
SELECT runops.attach('run', 'id');
SELECT count(*) FROM runops.provision('new', relation => 'run') WHERE action = 'create';

SELECT runops.add_unique('plain', '{id}');
SELECT runops.add_unique(NULL, '{id}');
SELECT runops.add_unique('run', '{}');
SELECT runops.add_unique('run', NULL);
SELECT runops.add_unique('run', '{env,NULL}');
SELECT runops.add_unique('run', '{env,Key}');
SELECT runops.add_unique('run', '{env,key,env}');
SELECT runops.add_unique('run', '{meta}');
SELECT runops.add_unique('run', '{ctid}');
SELECT runops.add_unique('run', '{env}', 'key');
SELECT runops.add_unique('run', '{env}', 'no > 1');
SELECT runops.add_unique('run', '{env}', 'unir.cut(key) = ''a''');
SELECT runops.add_unique('run', '{env}', 'at < now()');
SELECT runops.add_unique('run', '{env}', 'EXISTS (SELECT 1)');
SELECT runops.add_unique('run', '{env}', 'count(*) > 1');
SELECT runops.add_unique('run', '{env}', 'key IS NOT NULL); DROP TABLE plain; --');
SELECT runops.add_unique('run', '{env}', 'key IS NOT NULL FROM plain');
SELECT runops.add_unique('run', '{env}', '');
SELECT runops.add_unique('run', '{env}', name => 'plain');
SELECT count(*) FROM plain;
SELECT count(*) FROM runops.unique_keys;
SELECT to_regnamespace('runops_unique');

-- types of all kinds are compared as they are in an index, and read from a store as they are
INSERT INTO run VALUES
	('c00000000000000000000uni1', 'e', 'k', '{}', 1.5, '2026-11-25 10:00:00.123456+01', 'sad', '{a,"b,c",NULL}', '\x00ff'),
	('0123456789abcdefghijklmu11', 'e', 'k', '{}', 1.25, '2026-11-25 10:00:00.123457+01', 'happy', '{a,"b,c"}', '\x00fe');
SET timezone = 'Asia/Tokyo';
SET datestyle = 'German, DMY';
SELECT runops.add_unique('run', '{n,at,m,tags,raw,env}', name => 'all kinds');
SELECT runops.add_unique('run', '{n}', 'm = ''happy'' AND meta IS NOT NULL', 'number');
RESET timezone;
RESET datestyle;
SELECT * FROM runops.check_unique('run');
INSERT INTO run SELECT '0123456789abcdefghijklmu21', env, key, meta, n, at, m, tags, raw FROM run WHERE n = 1.5;
INSERT INTO run SELECT 'c00000000000000000000uni2', env, key, meta, n, at, m, tags, raw FROM run WHERE n = 1.25;
INSERT INTO run SELECT 'c00000000000000000000uni2', env, key, meta, n, at, m, '{}', raw FROM run WHERE n = 1.25;
SELECT columns, predicate, entries FROM runops.unique_keys ORDER BY name;
SELECT runops.add_unique('run', '{env}', name => 'number');
SELECT runops.drop_unique('run', 'number');
SELECT runops.drop_unique('run', 'number');
SELECT runops.drop_unique('run', 'number', true);
SELECT runops.drop_unique('run', NULL);
SELECT runops.drop_unique('plain', 'number', true);
SELECT runops.rebuild_unique('run', 'number');
SELECT runops.drop_unique('run', 'all kinds');
DELETE FROM run;

-- what a key stands on
SELECT runops.add_unique('run', '{env,key}', 'n > 0', 'uq');
DROP INDEX uq;
DROP INDEX uq CASCADE;
ALTER INDEX uq RENAME TO uq2;
ALTER TABLE uq RENAME TO uq2;
DROP TABLE runops_unique.uq;
DROP SCHEMA runops_unique CASCADE;
DROP TRIGGER runops_unique ON runops_legacy.run;
DROP TRIGGER runops_unique_truncate ON runops_legacy.run;
ALTER TABLE run DROP COLUMN key;
ALTER TABLE run DROP COLUMN key CASCADE;
ALTER TABLE run DROP COLUMN n CASCADE;
ALTER TABLE run ALTER key TYPE varchar(30);
ALTER TABLE run ALTER n TYPE float8;
ALTER TABLE run ALTER at TYPE timestamp;
DROP TABLE run;
SELECT runops.add_unique('run', '{m}', name => 'uq');
SELECT name, columns FROM runops.unique_keys;
-- doctor sees that a trigger is off
ALTER TABLE runops_legacy.run DISABLE TRIGGER runops_unique;
SELECT severity, object, finding, hint FROM runops.doctor() WHERE object LIKE 'unique key %';
ALTER TABLE runops_legacy.run ENABLE ALWAYS TRIGGER runops_unique;
SELECT severity, object, finding, hint FROM runops.doctor() WHERE object LIKE 'unique key %' OR object LIKE 'trigger runops_unique%';
-- it follows the table
CREATE SCHEMA unir2;
ALTER TABLE run SET SCHEMA unir2;
SELECT relation, name, columns FROM runops.unique_keys;
ALTER TABLE unir2.run SET SCHEMA unir;
DROP SCHEMA unir2;

-- a store that is added later: its rows are entered by provision
SELECT format('CREATE SERVER unir_q FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
	current_setting('unix_socket_directories'), current_setting('port'), 'runops_store') AS ddl \gset
:ddl;
CREATE USER MAPPING FOR CURRENT_USER SERVER unir_q;
SELECT runops.add_store('q', 'unir_q', remote_schema => 'unir_q');
SELECT stores FROM runops.unique_keys;
INSERT INTO run (id, env, key, n) VALUES ('0123456789abcdefghijklmuq2', 'e', 'k1', 1);
SELECT severity, object, finding, hint FROM runops.doctor() WHERE object LIKE 'unique key %';
SELECT count(*) > 0 FROM runops.provision('q', relation => 'run') WHERE action = 'create';
SELECT stores FROM runops.unique_keys;
INSERT INTO run (id, env, key, n) VALUES ('0123456789abcdefghijklmuq2', 'e', 'k1', 1);
INSERT INTO run (id, env, key, n) VALUES ('0123456789abcdefghijklmu11', 'e', 'k1', 1);
INSERT INTO run (id, env, key, n) VALUES ('c00000000000000000000uni1', 'e', 'k1', 1);
-- one that goes takes its entries with it; when it comes back, its rows are compared
SELECT runops.drop_store('q', force => true);
SELECT stores FROM runops.unique_keys;
SELECT count(*) FROM runops_unique.uq;
INSERT INTO run (id, env, key, n) VALUES ('c00000000000000000000uni1', 'e', 'k1', 1);
SELECT runops.add_store('q', 'unir_q', remote_schema => 'unir_q');
SELECT action FROM runops.provision('q', relation => 'run') WHERE action = 'create';
UPDATE run SET key = 'k2' WHERE id = 'c00000000000000000000uni1';
UPDATE run SET key = 'k2' WHERE id = '0123456789abcdefghijklmuq2';
DELETE FROM run WHERE id = '0123456789abcdefghijklmuq2';
SELECT action FROM runops.provision('q', relation => 'run') WHERE action = 'create';
SELECT stores FROM runops.unique_keys;
SELECT runops.drop_store('q');
SELECT runops.remote_exec('new', 'DROP SCHEMA unir_q CASCADE');
DROP SERVER unir_q CASCADE;

-- rows that this transaction itself has not committed
BEGIN;
INSERT INTO run (id, env, key, n) VALUES ('0123456789abcdefghijklmu11', 'e', 'k7', 1);
SELECT runops.add_unique('run', '{key}', name => 'late');
ROLLBACK;
BEGIN;
INSERT INTO run (id, env, key, n) VALUES ('c00000000000000000000uni7', 'e', 'k7', 1);
SELECT runops.add_unique('run', '{key}', name => 'late');
ROLLBACK;

-- only the owner, and only who may execute the functions
CREATE ROLE runops_other;
GRANT USAGE ON SCHEMA unir TO runops_other;
SET ROLE runops_other;
SELECT runops.add_unique('run', '{key}');
SELECT runops.check_unique();
SELECT name FROM runops.unique_keys;
RESET ROLE;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA runops TO runops_other;
GRANT SELECT ON runops.table_config TO runops_other;
SET ROLE runops_other;
SELECT runops.add_unique('run', '{key}');
SELECT runops.drop_unique('run', 'uq');
RESET ROLE;
DROP OWNED BY runops_other;
DROP ROLE runops_other;

-- a legacy leaf with partitions
CREATE TABLE parted (id text, key text) PARTITION BY LIST (key);
CREATE TABLE parted_1 PARTITION OF parted DEFAULT;
ALTER TABLE parted ALTER id SET NOT NULL;
SELECT runops.attach('parted', 'id');
SELECT runops.add_unique('parted', '{key}');
SELECT runops.detach('parted');

SELECT runops.detach('run');
SELECT runops.remote_exec('new', 'DROP SCHEMA unir CASCADE');
DROP SCHEMA unir CASCADE;
