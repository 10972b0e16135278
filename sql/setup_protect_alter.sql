--
-- what routed tables stand on cannot be altered: where a leaf leads, and entries
-- of unique keys; who owns leaves, entries, and the configuration
--
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA palter;
SET search_path = palter, public;
CREATE ROLE regress_palter;
CREATE ROLE regress_palter_heir;
CREATE ROLE regress_palter_admin;
GRANT USAGE, CREATE ON SCHEMA palter TO regress_palter, regress_palter_heir, regress_palter_admin;
CREATE TABLE run (id text PRIMARY KEY, k text, n int);
ALTER TABLE run OWNER TO regress_palter;
DO $$
BEGIN
	EXECUTE format('CREATE USER MAPPING FOR regress_palter SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user);
	EXECUTE format('CREATE USER MAPPING FOR regress_palter_heir SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user);
END $$;
SELECT runops.attach('run', 'id');
SELECT DISTINCT action FROM runops.provision('new', relation => 'run') WHERE object ~ '^table';
SELECT runops.add_unique('run', '{k}', name => 'palter_k');

-- the owner of the table owns the leaves, and cannot lead them elsewhere
SELECT c.oid::regclass, pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid IN ('run'::regclass, 'runops_legacy.run'::regclass, 'runops_new.run'::regclass) ORDER BY 1;
SET ROLE regress_palter;
ALTER FOREIGN TABLE runops_new.run OPTIONS (SET table_name 'vault');
ALTER FOREIGN TABLE runops_new.run OPTIONS (SET schema_name 'other');
ALTER FOREIGN TABLE runops_new.run OPTIONS (DROP table_name);
ALTER TABLE runops_new.run OPTIONS (SET table_name 'vault');
ALTER FOREIGN TABLE runops_new.run ALTER COLUMN k OPTIONS (ADD column_name 'n');
ALTER FOREIGN TABLE runops_new.run RENAME TO other;
ALTER TABLE runops_new.run SET SCHEMA palter;
ALTER FOREIGN TABLE runops_new.run OWNER TO regress_palter;
ALTER FOREIGN TABLE runops_new.run OPTIONS (ADD fetch_size '50');
ALTER FOREIGN TABLE runops_new.run OPTIONS (DROP fetch_size);
DROP FOREIGN TABLE runops_new.run;
ALTER TABLE run RENAME COLUMN n TO m;
RESET ROLE;
ALTER FOREIGN TABLE runops_new.run OPTIONS (SET table_name 'vault');

-- schemas and entries belong to the extension
SELECT n.nspname, n.nspowner = x.extowner AS own FROM pg_namespace n, pg_extension x
WHERE x.extname = 'runops' AND n.nspname IN ('runops_legacy', 'runops_new', 'runops_unique') ORDER BY 1;
SELECT c.relowner = x.extowner AS own FROM pg_class c, pg_extension x WHERE x.extname = 'runops' AND c.oid = 'runops_unique.palter_k'::regclass;
SET ROLE regress_palter;
SELECT count(*) FROM runops_unique.palter_k;
ALTER TABLE runops_unique.palter_k ADD COLUMN s bigint;
CREATE TRIGGER t BEFORE INSERT ON runops_unique.palter_k FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
INSERT INTO runops_unique.palter_k VALUES ('x', 'new');
RESET ROLE;
ALTER TABLE runops_unique.palter_k ADD COLUMN s bigint;
ALTER TABLE runops_unique.palter_k ALTER COLUMN k1 TYPE name;
ALTER TABLE runops_unique.palter_k DROP CONSTRAINT palter_k_pkey;
ALTER TABLE runops_unique.palter_k ENABLE ROW LEVEL SECURITY;
ALTER TABLE runops_unique.palter_k RENAME COLUMN k1 TO k2;
ALTER TABLE runops_unique.palter_k RENAME TO other;
ALTER TABLE runops_unique.palter_k SET SCHEMA palter;
ALTER TABLE runops_unique.palter_k OWNER TO regress_palter;
CREATE TRIGGER t BEFORE INSERT ON runops_unique.palter_k FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE INDEX ON runops_unique.palter_k (store);
CREATE RULE r AS ON INSERT TO runops_unique.palter_k DO ALSO NOTIFY x;
CREATE POLICY p ON runops_unique.palter_k;
ALTER TABLE runops_unique.palter_k SET (fillfactor = 80);

-- entries that were changed in spite of that are not written
ALTER EVENT TRIGGER runops_protect_start DISABLE;
ALTER TABLE runops_unique.palter_k ADD COLUMN s bigint;
INSERT INTO run VALUES ('c0000000000000000000palt1', 'k1');
ALTER TABLE runops_unique.palter_k DROP COLUMN s;
INSERT INTO run VALUES ('c0000000000000000000palt1', 'k1');
ALTER EVENT TRIGGER runops_protect_start ENABLE;
SELECT runops.drop_unique('run', 'palter_k');
SELECT runops.add_unique('run', '{k}', name => 'palter_k');
INSERT INTO run VALUES ('c0000000000000000000palt1', 'k1');

-- nor is a table that never was one: the configuration is nobody's to write
UPDATE runops.unique_config SET entries = 'pg_auth_members' WHERE name = 'palter_k';
INSERT INTO run VALUES ('c0000000000000000000palt2', 'k2');
UPDATE runops.unique_config SET entries = 'runops_unique.palter_k' WHERE name = 'palter_k';
GRANT USAGE ON SCHEMA runops TO regress_palter_admin, regress_palter;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA runops TO regress_palter_admin, regress_palter;
SET ROLE regress_palter_admin;
SELECT runops._own_step('insert', jsonb_build_object('config', 'unique_config', 'row', jsonb_build_object('relation', 'run'::regclass::oid, 'name', 'x', 'entries', 1260, 'stores', '{}'::text[])));
SELECT runops._own_step('delete', jsonb_build_object('config', 'table_config', 'row', jsonb_build_object('relation', 'run'::regclass::oid)));
SELECT runops._own_step('delete', jsonb_build_object('config', 'table_config', 'row', '{}'::jsonb));
SELECT runops._own_step('delete', jsonb_build_object('config', 'mint_config', 'row', '{}'::jsonb));
SELECT runops._own_step('move_leaf', jsonb_build_object('relation', 'run'::regclass::oid, 'store', 'new'));
SELECT runops._own_step('fill_unique', jsonb_build_object('relation', 'run'::regclass::oid, 'name', 'palter_k'));
SELECT runops._own_step('create_leaf', jsonb_build_object('relation', 'run'::regclass::oid, 'store', 'new'));
SELECT runops._own_step('cascade', jsonb_build_object('parent', 'run'::regclass::oid));
SELECT runops._own_step('nothing', '{}');
SELECT runops._own_step('x(1,2);', '{}');
SELECT runops._step_delete(10, jsonb_build_object('config', 'table_config', 'row', jsonb_build_object('relation', 'run'::regclass::oid)));
UPDATE runops.table_config SET leaf = 'pg_authid';
RESET ROLE;
SET ROLE regress_palter;
SELECT runops._own_step('insert', jsonb_build_object('config', 'unique_config', 'row', jsonb_build_object('relation', 'run'::regclass::oid, 'name', 'x', 'entries', 1261, 'stores', '{}'::text[])));
SELECT runops._own_step('insert', jsonb_build_object('config', 'table_config', 'row', jsonb_build_object('relation', 'run'::regclass::oid, 'leaf', 1260, 'key', 'id', 'aliases', '{}'::name[], 'saved', '{}'::jsonb)));
-- triggers of the extension on a table of somebody else
CREATE TABLE trap (relation regclass, leaf regclass, scope text);
CREATE TRIGGER t AFTER INSERT ON trap FOR EACH ROW EXECUTE FUNCTION runops._cascade_follow();
CREATE TRIGGER u AFTER DELETE ON trap FOR EACH ROW EXECUTE FUNCTION runops._config_deleted('unblock_config', 'signature', 'scope');
INSERT INTO trap VALUES ('run', 'run');
ALTER TABLE trap DISABLE TRIGGER t;
INSERT INTO trap VALUES ('run', 'run');
DELETE FROM trap;
DROP TABLE trap;
-- the owner needs no more than EXECUTE
SELECT runops.drop_unique('run', 'palter_k');
SELECT runops.add_unique('run', '{k}', name => 'palter_k');
SELECT * FROM runops.check_unique('run');
SELECT runops.rebuild_unique('run', 'palter_k');
SELECT runops.set_retention('run', '1 year');
SELECT runops.set_retention('run', NULL);
SELECT runops.add_idempotency('run', '{k}');
SELECT runops.drop_idempotency('run');
RESET ROLE;

-- leaves follow the owner
ALTER TABLE run OWNER TO regress_palter_heir;
SELECT c.oid::regclass, pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid IN ('run'::regclass, 'runops_legacy.run'::regclass, 'runops_new.run'::regclass) ORDER BY 1;
SET ROLE regress_palter_heir;
SELECT count(*) FROM run;
SELECT count(*) FROM runops_unique.palter_k;
RESET ROLE;
ALTER TABLE runops_legacy.run OWNER TO regress_palter;
SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = 'runops_legacy.run'::regclass;

SELECT runops.detach('run', force => true);
SELECT runops.remote_exec('new', 'DROP SCHEMA palter CASCADE');

-- schemas that somebody has made before
SELECT to_regnamespace('runops_unique') IS NULL AS gone;
CREATE SCHEMA runops_unique AUTHORIZATION regress_palter;
SELECT runops.attach('run', 'id');
SELECT runops.add_unique('run', '{k}');
ALTER SCHEMA runops_unique OWNER TO CURRENT_USER;
GRANT CREATE ON SCHEMA runops_unique TO regress_palter;
SELECT runops.add_unique('run', '{k}');
DROP SCHEMA runops_unique;
SELECT runops.detach('run', force => true);
DO $$
BEGIN
	EXECUTE format('CREATE SERVER squat FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
		current_setting('unix_socket_directories'), current_setting('port'), 'runops_store');
END $$;
CREATE SCHEMA runops_shard_q AUTHORIZATION regress_palter;
SELECT runops.add_store('q', 'squat', remote_schema => 'squat');
SELECT runops.attach('run', 'id');
SELECT runops.drop_store('q');
DROP SCHEMA runops_shard_q;
DROP SERVER squat;
RESET search_path;
DROP SCHEMA palter CASCADE;
DROP OWNED BY regress_palter, regress_palter_heir, regress_palter_admin;
DROP ROLE regress_palter, regress_palter_heir, regress_palter_admin;
