-- setup_doctor: checks of the catalogs and settings of this database.  The test
-- creates each defect; doctor() reports it, and does not after its correction
\set SHOW_CONTEXT never
SET client_min_messages = error;
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA doctor;
SET search_path = doctor, public;
CREATE TABLE run (id text COLLATE "C" PRIMARY KEY, "friendlyId" text, n int);
CREATE TABLE item (id text PRIMARY KEY, run text COLLATE "C" NOT NULL REFERENCES run ON DELETE CASCADE);

-- no table is routed yet
ALTER DATABASE contrib_regression CONNECTION LIMIT 50;
CREATE FUNCTION pg_temp.look() RETURNS TABLE (line text) LANGUAGE sql AS $$
	SELECT unnest(ARRAY[concat_ws(' | ', severity, object, finding), '  ' || hint])
	FROM runops.doctor() WHERE severity <> 'info'
$$;
-- nobody has recorded which control plane uses the store
DELETE FROM runops.store_identity;
SELECT pg_temp.look();
SELECT store, verdict FROM runops.recheck();
SELECT pg_temp.look();
SELECT runops.attach('run', 'id', '{friendlyId}');
SELECT runops.attach('item', 'run');

-- nothing has been analyzed, and the store has nothing: a row for each kind, or for
-- each object
SELECT pg_temp.look();
SELECT severity, count, object, finding, hint FROM runops.doctor(detail => true) WHERE severity <> 'info';
SELECT severity, sum(count), count(*) FROM runops.doctor() WHERE severity <> 'info' GROUP BY 1 ORDER BY 1;
SELECT count(*) > 0 FROM runops.provision('new') WHERE action = 'create';
ANALYZE run, item;
SELECT pg_temp.look();
-- that ids of items are unique within each store is no defect
SELECT concat_ws(' | ', severity, object, finding) FROM runops.doctor();

-- Make a defect, look, mend it, and look again.
CREATE FUNCTION pg_temp.try(defect text, mend text) RETURNS TABLE (line text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE defect;
	RETURN QUERY SELECT * FROM pg_temp.look();
	EXECUTE mend;
	RETURN QUERY SELECT 'left: ' || l FROM pg_temp.look() l;
END
$$;

-- bound to the old table
SELECT pg_temp.try('CREATE VIEW old_runs AS SELECT * FROM runops_legacy.run', 'DROP VIEW old_runs');
SELECT pg_temp.try('CREATE FUNCTION old_count() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM runops_legacy.run; END', 'DROP FUNCTION old_count');
SELECT pg_temp.try('CREATE RULE quiet AS ON DELETE TO runops_legacy.run DO ALSO NOTIFY gone', 'DROP RULE quiet ON runops_legacy.run');
SELECT pg_temp.try('CREATE TABLE old_row (r runops_legacy.run)', 'DROP TABLE old_row');

-- foreign keys: that of item names the store of its row
SELECT pg_temp.try('CREATE TABLE note (run text REFERENCES runops_legacy.run)', 'DROP TABLE note');

-- row triggers, until the store has one of the name or it stands on the routed table
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
SELECT pg_temp.try('CREATE TRIGGER audit BEFORE INSERT ON runops_legacy.run FOR EACH ROW EXECUTE FUNCTION nothing()',
	$$SELECT runops.remote_transaction('new', ARRAY[
		'CREATE FUNCTION doctor.nothing() RETURNS trigger LANGUAGE plpgsql SET search_path = doctor AS ''BEGIN RETURN NEW; END''',
		'CREATE TRIGGER audit BEFORE INSERT ON doctor.run FOR EACH ROW EXECUTE FUNCTION doctor.nothing()'])$$);
SELECT pg_temp.try($$SELECT runops.remote_exec('new', 'DROP FUNCTION doctor.nothing() CASCADE')$$,
	'DROP TRIGGER audit ON runops_legacy.run; CREATE TRIGGER audit BEFORE INSERT ON run FOR EACH ROW EXECUTE FUNCTION nothing()');
DROP TRIGGER audit ON run;
SELECT pg_temp.try('CREATE TRIGGER each AFTER INSERT ON runops_legacy.run FOR EACH STATEMENT EXECUTE FUNCTION nothing()',
	'DROP TRIGGER each ON runops_legacy.run');

-- publications
SELECT pg_temp.try('CREATE PUBLICATION by_root FOR TABLE run WITH (publish_via_partition_root = true)', 'DROP PUBLICATION by_root');
SELECT pg_temp.try('CREATE PUBLICATION by_leaf FOR TABLE run', 'DROP PUBLICATION by_leaf');

-- an alias that is not checked
SELECT pg_get_constraintdef(oid) AS alias FROM pg_constraint
WHERE conrelid = 'run'::regclass AND conname = 'runops_alias_friendlyId' \gset
SELECT pg_temp.try('ALTER TABLE run DROP CONSTRAINT "runops_alias_friendlyId"',
	format('ALTER TABLE run ADD CONSTRAINT "runops_alias_friendlyId" %s', :'alias'));

-- statistics
CREATE TABLE fresh (id text COLLATE "C" PRIMARY KEY);
SELECT runops.attach('fresh', 'id');
SELECT count(*) > 0 FROM runops.provision('new') WHERE action = 'create';
SELECT pg_temp.look();
ANALYZE fresh;
SELECT pg_temp.look();
SELECT runops.detach('fresh', force => true);
SELECT runops.remote_exec('new', 'DROP TABLE doctor.fresh');

-- order of ids
CREATE FUNCTION pg_temp.about(what text) RETURNS TABLE (line text) LANGUAGE sql AS $$
	SELECT unnest(ARRAY[concat_ws(' | ', severity, object, finding), '  ' || hint])
	FROM runops.doctor(detail => true) WHERE object LIKE what || '%'
$$;
CREATE COLLATION german (provider = icu, locale = 'de');
CREATE TABLE ordered (id text COLLATE german PRIMARY KEY);
SELECT runops.attach('ordered', 'id');
SELECT pg_temp.about('column');
SELECT runops.detach('ordered', force => true);
SELECT pg_temp.about('column');

-- what holds within each store alone
SELECT pg_temp.about('index');
CREATE UNIQUE INDEX run_n ON runops_legacy.run (n);
CREATE UNIQUE INDEX run_id_n ON runops_legacy.run (id, n);
SELECT pg_temp.about('index');
DROP INDEX runops_legacy.run_n, runops_legacy.run_id_n;
SELECT pg_temp.about('index');

-- SKIP LOCKED
SELECT pg_temp.try('CREATE FUNCTION take() RETURNS SETOF text LANGUAGE sql AS ''SELECT id FROM doctor.run LIMIT 1 FOR UPDATE SKIP LOCKED''',
	'ALTER FOREIGN TABLE runops_new.run OPTIONS (ADD fetch_size ''1'')');
SELECT pg_temp.try('CREATE OR REPLACE FUNCTION take() RETURNS SETOF text LANGUAGE sql AS
	''UPDATE doctor.run SET n = 1 WHERE id IN (SELECT id FROM doctor.run FOR UPDATE SKIP LOCKED) RETURNING id''', 'DROP FUNCTION take');
ALTER FOREIGN TABLE runops_new.run OPTIONS (DROP fetch_size);

-- options
SELECT pg_temp.try('ALTER SERVER run_ops OPTIONS (ADD async_capable ''true'')', 'ALTER SERVER run_ops OPTIONS (DROP async_capable)');
SELECT pg_temp.try('ALTER FOREIGN TABLE runops_new.run OPTIONS (ADD async_capable ''true'')', 'ALTER FOREIGN TABLE runops_new.run OPTIONS (DROP async_capable)');
SELECT pg_temp.try('ALTER FOREIGN TABLE runops_new.run OPTIONS (SET truncatable ''true'')', 'ALTER FOREIGN TABLE runops_new.run OPTIONS (SET truncatable ''false'')');

SELECT pg_temp.try('ALTER SERVER run_ops OPTIONS (ADD connect_timeout ''0'')', 'ALTER SERVER run_ops OPTIONS (SET connect_timeout ''5'')');
ALTER SERVER run_ops OPTIONS (DROP connect_timeout);

-- mappings
CREATE ROLE regress_doctor LOGIN;
GRANT SELECT ON run TO regress_doctor;
SELECT pg_temp.look();
CREATE USER MAPPING FOR regress_doctor SERVER run_ops OPTIONS (user 'regress_doctor');
SELECT runops.remote_transaction('new', '{GRANT USAGE ON SCHEMA doctor TO regress_doctor,GRANT SELECT ON doctor.run TO regress_doctor}');
SELECT pg_temp.look();
ALTER USER MAPPING FOR regress_doctor SERVER run_ops OPTIONS (ADD password 'secret');
SELECT pg_temp.look();
ALTER USER MAPPING FOR regress_doctor SERVER run_ops OPTIONS (DROP password, ADD password_required 'false');
SELECT pg_temp.look();
DROP USER MAPPING FOR regress_doctor SERVER run_ops;
SELECT runops.remote_transaction('new', '{REVOKE ALL ON SCHEMA doctor FROM regress_doctor,REVOKE ALL ON doctor.run FROM regress_doctor}');
REVOKE ALL ON run FROM regress_doctor;
SELECT pg_temp.look();
DROP USER MAPPING FOR CURRENT_USER SERVER run_ops;
SELECT pg_temp.look();
CREATE USER MAPPING FOR CURRENT_USER SERVER run_ops;
SELECT pg_temp.look();
SELECT pg_temp.try('CREATE USER MAPPING FOR PUBLIC SERVER run_ops', 'DROP USER MAPPING FOR PUBLIC SERVER run_ops');

-- who was granted the function alone is told, and no error is raised
GRANT EXECUTE ON FUNCTION runops.doctor(boolean) TO regress_doctor;
GRANT USAGE ON SCHEMA doctor TO regress_doctor;
SET ROLE regress_doctor;
SELECT pg_temp.look();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION runops.doctor(boolean) FROM regress_doctor;
DROP OWNED BY regress_doctor;
DROP ROLE regress_doctor;

-- settings
SELECT pg_temp.try('SET runops.enable_routing = off', 'RESET runops.enable_routing');
SELECT pg_temp.try('SET enable_partition_pruning = off', 'RESET enable_partition_pruning');
SELECT pg_temp.try('ALTER DATABASE contrib_regression SET runops.enable_routing = off', 'ALTER DATABASE contrib_regression RESET runops.enable_routing');
CREATE ROLE regress_hidden;
SELECT pg_temp.try('ALTER ROLE regress_hidden SET runops.enable_routing = off', 'ALTER ROLE regress_hidden RESET runops.enable_routing');
SELECT pg_temp.try('ALTER ROLE regress_hidden IN DATABASE contrib_regression SET enable_partition_pruning = false',
	'ALTER ROLE regress_hidden IN DATABASE contrib_regression RESET enable_partition_pruning');
SELECT pg_temp.try('ALTER ROLE ALL SET enable_partition_pruning = 0', 'ALTER ROLE ALL RESET enable_partition_pruning');
DROP ROLE regress_hidden;

-- configuration that does not fit the catalogs; no function makes it so
SELECT pg_temp.try($$INSERT INTO runops.store_config VALUES ('z', 'nowhere')$$, $$DELETE FROM runops.store_config WHERE store = 'z'$$);
SELECT pg_temp.try($$UPDATE runops.store_config SET reader = 'nowhere'$$, $$UPDATE runops.store_config SET reader = NULL$$);

-- no store is configured
SELECT runops.detach('item', force => true);
SELECT runops.detach('run', force => true);
SELECT runops.drop_store('new');
SELECT pg_temp.look();
SELECT runops.add_store('new', 'run_ops');

ALTER DATABASE contrib_regression CONNECTION LIMIT -1;
DROP SCHEMA doctor CASCADE;
\connect runops_store
DROP SCHEMA doctor CASCADE;
