-- setup_provision_drift: every difference is reported, and the printed DDL removes it
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA drift;
SET search_path = drift, public;
CREATE TYPE state AS ENUM ('A', 'B', 'C');
CREATE DOMAIN small AS int CHECK (VALUE < 100);
CREATE TYPE pair AS (a int, b int);
CREATE TABLE run (
	id text PRIMARY KEY,
	name varchar(20) NOT NULL,
	n int DEFAULT 1 CHECK (n > 0),
	at timestamp(3),
	s state,
	d small,
	p pair,
	c text COLLATE "C",
	twice int GENERATED ALWAYS AS (length(id) * 2) STORED
);
CREATE INDEX run_name ON run (name);
CREATE UNIQUE INDEX run_at ON run (at, n);
CREATE TABLE item (id text PRIMARY KEY, run text NOT NULL REFERENCES run ON DELETE CASCADE);
SELECT runops.attach('run', 'id', '{name}');
SELECT runops.attach('item', 'run');
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';
SELECT count(*) FROM runops.provision('new') WHERE action <> 'exists';

\pset format unaligned
\pset tuples_only on
\pset null '-'

-- What is made differ by the DDL in the store is shown, mended by the DDL that
-- is printed, and gone.
CREATE FUNCTION pg_temp.try(ddl text) RETURNS TABLE (line text)
LANGUAGE plpgsql AS $$
DECLARE
	r record;
	n int;
BEGIN
	PERFORM runops.remote_exec('new', ddl);
	FOR r IN SELECT * FROM runops.provision('new') x WHERE x.action <> 'exists' LOOP
		line := concat_ws(' | ', r.action, r.object, r.detail); RETURN NEXT;
		line := '  ' || coalesce(r.ddl, '-'); RETURN NEXT;
		IF r.action = 'drift' AND r.ddl IS NOT NULL THEN
			PERFORM runops.remote_exec('new', r.ddl);
		END IF;
	END LOOP;
	SELECT count(*) INTO n FROM runops.provision('new', dry_run => true) x WHERE x.action <> 'exists';
	IF n > 0 THEN
		line := n || ' differences are left'; RETURN NEXT;
	END IF;
END
$$;

-- columns
SELECT pg_temp.try('ALTER TABLE drift.run ADD extra int NOT NULL DEFAULT 3');
SELECT pg_temp.try('ALTER TABLE drift.run DROP d');
SELECT pg_temp.try('ALTER TABLE drift.run ALTER n TYPE bigint');
SELECT pg_temp.try('ALTER TABLE drift.run ALTER name TYPE varchar(30)');
SELECT pg_temp.try('ALTER TABLE drift.run ALTER at TYPE timestamp(6)');
SELECT pg_temp.try('ALTER TABLE drift.run ALTER c TYPE text COLLATE "POSIX"');
SELECT pg_temp.try('ALTER TABLE drift.run ALTER name DROP NOT NULL');
SELECT pg_temp.try('ALTER TABLE drift.run ALTER at SET NOT NULL');
SELECT pg_temp.try('ALTER TABLE drift.run ALTER at SET DEFAULT now()');
SELECT pg_temp.try('ALTER TABLE drift.run ALTER n SET DEFAULT 2');
SELECT pg_temp.try('ALTER TABLE drift.run ALTER n SET NOT NULL; ALTER TABLE drift.run ALTER n DROP DEFAULT; ALTER TABLE drift.run ALTER n ADD GENERATED ALWAYS AS IDENTITY');
SELECT pg_temp.try('ALTER TABLE drift.run DROP at; ALTER TABLE drift.run ADD at timestamp(3) GENERATED ALWAYS AS (NULL) STORED');
SELECT pg_temp.try('ALTER TABLE drift.run ALTER twice DROP EXPRESSION');
SELECT runops.remote_exec('new', 'ALTER TABLE drift.run DROP twice');
SELECT action, object FROM runops.provision('new') WHERE action <> 'exists';

-- checks and keys
SELECT pg_temp.try('ALTER TABLE drift.run DROP CONSTRAINT runops_store');
SELECT pg_temp.try('ALTER TABLE drift.run DROP CONSTRAINT runops_store, ADD CONSTRAINT runops_store CHECK (id <> '''')');
SELECT pg_temp.try('ALTER TABLE drift.run DROP CONSTRAINT runops_alias_name');
SELECT pg_temp.try('ALTER TABLE drift.run DROP CONSTRAINT run_n_check, ADD CONSTRAINT run_n_check CHECK (n > 0) NOT VALID');
SELECT pg_temp.try('ALTER TABLE drift.run DROP CONSTRAINT run_n_check, ADD CONSTRAINT other_name CHECK (n > 0)');
SELECT pg_temp.try('ALTER TABLE drift.run RENAME CONSTRAINT other_name TO run_n_check');
SELECT pg_temp.try('ALTER TABLE drift.run ADD CONSTRAINT surprise CHECK (n < 10)');
SELECT pg_temp.try('ALTER TABLE drift.item DROP CONSTRAINT item_pkey');
SELECT pg_temp.try('ALTER TABLE drift.item DROP CONSTRAINT item_pkey, ADD PRIMARY KEY (id, run)');
SELECT pg_temp.try('ALTER TABLE drift.item DROP CONSTRAINT item_pkey; CREATE UNIQUE INDEX item_pkey ON drift.item (id)');
SELECT pg_temp.try('ALTER TABLE drift.item ADD CONSTRAINT once UNIQUE (run)');
SELECT pg_temp.try('ALTER TABLE drift.item DROP CONSTRAINT item_run_fkey, ADD CONSTRAINT item_run_fkey FOREIGN KEY (run) REFERENCES drift.run');

-- indexes: one that is not unique may stand there alone
SELECT pg_temp.try('DROP INDEX drift.run_name');
SELECT pg_temp.try('DROP INDEX drift.run_name; CREATE INDEX run_name ON drift.run (lower(name))');
SELECT pg_temp.try('ALTER INDEX drift.run_name RENAME TO called_otherwise');
SELECT pg_temp.try('CREATE INDEX only_there ON drift.run (c)');
SELECT pg_temp.try('CREATE UNIQUE INDEX refuses ON drift.run (c)');
SELECT pg_temp.try('DROP INDEX drift.run_at; CREATE INDEX run_at ON drift.run (at, n)');
SELECT pg_temp.try('UPDATE pg_catalog.pg_index SET indisvalid = false WHERE indexrelid = ''drift.run_at''::pg_catalog.regclass');

-- types
SELECT pg_temp.try('ALTER TYPE drift.state RENAME VALUE ''C'' TO ''Z''');
SELECT runops.remote_exec('new', 'ALTER TYPE drift.state RENAME VALUE ''Z'' TO ''D''');
ALTER TYPE state ADD VALUE 'D';
SELECT action, object, detail FROM runops.provision('new') WHERE action <> 'exists';
SELECT runops.remote_exec('new', 'UPDATE pg_catalog.pg_enum SET enumsortorder = -enumsortorder WHERE enumtypid = ''drift.state''::pg_catalog.regtype');
SELECT action, object, detail FROM runops.provision('new') WHERE action <> 'exists';
SELECT runops.remote_exec('new', 'UPDATE pg_catalog.pg_enum SET enumsortorder = -enumsortorder WHERE enumtypid = ''drift.state''::pg_catalog.regtype');
SELECT runops.remote_exec('new', 'ALTER DOMAIN drift.small ADD CONSTRAINT odd CHECK (VALUE <> 7); ALTER TYPE drift.pair ADD ATTRIBUTE c int');
SELECT action, object, detail FROM runops.provision('new') WHERE action <> 'exists';
SELECT runops.remote_exec('new', 'ALTER DOMAIN drift.small DROP CONSTRAINT odd; ALTER TYPE drift.pair DROP ATTRIBUTE c');

-- triggers that see only pg_catalog; one with a search_path of its own is fine
SELECT runops.remote_transaction('new', ARRAY[
	$$CREATE FUNCTION drift.trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO audit VALUES (1); RETURN NEW; END'$$,
	'CREATE TRIGGER audit AFTER INSERT ON drift.run FOR EACH ROW EXECUTE FUNCTION drift.trg()']);
SELECT action, object, detail FROM runops.provision('new') WHERE action <> 'exists';
SELECT runops.remote_exec('new', 'ALTER FUNCTION drift.trg() SET search_path = drift');
SELECT action, object, detail FROM runops.provision('new') WHERE action <> 'exists';
SELECT runops.remote_exec('new', 'DROP FUNCTION drift.trg() CASCADE');

-- what stands there already is not touched, only told
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE theirs (id text PRIMARY KEY, m mood, v int);
CREATE INDEX theirs_v ON theirs (v);
SELECT runops.remote_exec('new', 'CREATE TYPE drift.mood AS ENUM (''good''); CREATE TABLE drift.theirs (id text PRIMARY KEY, m drift.mood)');
SELECT runops.attach('theirs', 'id');
SELECT * FROM runops.provision('new') WHERE action <> 'exists';
SELECT * FROM runops.provision('new', relation => 'theirs') WHERE action = 'create';
SELECT pg_temp.try('SELECT 1');

-- another kind of relation under the name
SELECT runops.remote_exec('new', 'DROP TABLE drift.theirs; CREATE VIEW drift.theirs AS SELECT 1 AS id');
SELECT * FROM runops.provision('new', relation => 'theirs') WHERE action <> 'exists';
SELECT runops.remote_exec('new', 'DROP VIEW drift.theirs');

-- functions that the store lacks
CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.upper($1)';
CREATE INDEX theirs_shout ON theirs (shout(id));
ALTER TABLE theirs ADD CONSTRAINT loud CHECK (shout(id) <> '');
SELECT * FROM runops.provision('new', relation => 'theirs') WHERE action <> 'exists' AND object ~ 'shout|loud';
SELECT runops.remote_exec('new', 'CREATE FUNCTION drift.shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS ''SELECT pg_catalog.upper($1)''');
SELECT * FROM runops.provision('new', relation => 'theirs') WHERE action <> 'exists' AND object ~ 'shout|loud';

-- a type that cannot be made from here
CREATE TYPE span AS RANGE (subtype = int);
ALTER TABLE theirs ADD r span;
SELECT object, action, detail FROM runops.provision('new', dry_run => true) WHERE action <> 'exists';
SELECT runops.provision('new');
ALTER TABLE theirs DROP r;

-- a foreign key that would change the key of a row
CREATE TABLE parent (id text PRIMARY KEY);
SELECT runops.attach('parent', 'id');
CREATE TABLE child (id text PRIMARY KEY, a text, b text);
SELECT runops.attach('child', 'COALESCE(a, id)');
ALTER TABLE runops_legacy.child ADD FOREIGN KEY (a) REFERENCES runops_legacy.parent ON DELETE SET NULL;
SELECT object, action, detail FROM runops.provision('new', relation => 'child') WHERE action <> 'create' OR object ~ 'runops_store';
\set VERBOSITY terse
SELECT runops.remote_exec('new', $$INSERT INTO drift.child VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', 'ck00000000000000000000001')$$);
SELECT runops.remote_exec('new', $$INSERT INTO drift.child VALUES ('ck00000000000000000000001', '0ujtsYcgvSTl8PAuAdqWYSMnLOv')$$);
SELECT runops.detach('child', force => true);
\set VERBOSITY default

-- privileges of the users that mappings name
CREATE ROLE regress_drift_app;
CREATE ROLE regress_drift_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON run, item TO regress_drift_app;
GRANT SELECT (id, name) ON run TO regress_drift_reader;
CREATE USER MAPPING FOR regress_drift_app SERVER run_ops OPTIONS (user 'regress_drift_app', password 'x');
CREATE USER MAPPING FOR regress_drift_reader SERVER run_ops OPTIONS (user 'regress_drift_reader', password 'x');
SELECT * FROM runops.provision('new') WHERE action <> 'exists';
SELECT runops.remote_exec('new', 'GRANT USAGE ON SCHEMA drift TO regress_drift_app, regress_drift_reader;
	GRANT SELECT, INSERT, DELETE ON drift.run, drift.item TO regress_drift_app; GRANT SELECT (id) ON drift.run TO regress_drift_reader');
SELECT * FROM runops.provision('new') WHERE action <> 'exists';
SELECT runops.remote_exec('new', ddl) FROM runops.provision('new') WHERE action = 'drift';
SELECT * FROM runops.provision('new') WHERE action <> 'exists';
SELECT runops.remote_exec('new', 'ALTER TABLE drift.item ENABLE ROW LEVEL SECURITY');
SELECT * FROM runops.provision('new') WHERE action <> 'exists';
SELECT runops.remote_exec('new', 'ALTER TABLE drift.item DISABLE ROW LEVEL SECURITY');
ALTER USER MAPPING FOR regress_drift_app SERVER run_ops OPTIONS (SET user 'regress_no_such_role');
SELECT * FROM runops.provision('new') WHERE action <> 'exists';
DROP USER MAPPING FOR regress_drift_app SERVER run_ops;
DROP USER MAPPING FOR regress_drift_reader SERVER run_ops;

\pset tuples_only off
\pset format aligned
SELECT runops.detach(t::regclass, force => true) FROM unnest('{parent,theirs,item,run}'::text[]) WITH ORDINALITY AS u (t, o) ORDER BY o;
SELECT runops.remote_exec('new', 'DROP SCHEMA drift CASCADE');
DROP SCHEMA drift CASCADE;
DROP ROLE regress_drift_app, regress_drift_reader;
