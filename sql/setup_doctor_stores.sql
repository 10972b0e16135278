-- setup_doctor_stores: checks of the stores.  The test creates each defect; doctor()
-- reports it, and does not after its correction
\set SHOW_CONTEXT never
SET client_min_messages = error;
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA doctor;
SET search_path = doctor, public;
CREATE TYPE state AS ENUM ('A', 'B');
CREATE TABLE run (id text COLLATE "C" PRIMARY KEY, n int CHECK (n > 0), s state, c text COLLATE "C");
CREATE INDEX run_n ON run (n);
SELECT runops.attach('run', 'id');
SELECT count(*) > 0 FROM runops.provision('new') WHERE action = 'create';
INSERT INTO run VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', 1);
ANALYZE run;
SELECT runops.remote_exec('new', 'ANALYZE doctor.run');

SELECT store, verdict FROM runops.recheck();
CREATE FUNCTION pg_temp.look() RETURNS TABLE (line text) LANGUAGE sql AS $$
	SELECT unnest(ARRAY[concat_ws(' | ', severity, object, finding), '  ' || hint]) FROM runops.doctor(detail => true)
$$;

-- connections: here as many as there, of which the store keeps some
SELECT regexp_replace(line, '\d+', 'N', 'g') FROM pg_temp.look() AS l (line);
ALTER DATABASE contrib_regression CONNECTION LIMIT 50;
SELECT pg_temp.look();
ALTER ROLE CURRENT_USER CONNECTION LIMIT 40;
SELECT pg_temp.look();
ALTER ROLE CURRENT_USER CONNECTION LIMIT -1;
ALTER DATABASE runops_store CONNECTION LIMIT 30;
SELECT pg_temp.look();
ALTER DATABASE runops_store CONNECTION LIMIT -1;
SELECT pg_temp.look();

-- timeouts of the store that are shorter than those here
ALTER DATABASE runops_store SET statement_timeout = '20s';
SELECT pg_temp.look();
SET statement_timeout = '30s';
SELECT pg_temp.look();
SET statement_timeout = '10s';
SELECT pg_temp.look();
RESET statement_timeout;
ALTER DATABASE runops_store SET statement_timeout = 0;
SELECT pg_temp.look();
ALTER DATABASE runops_store SET idle_in_transaction_session_timeout = '1min';
SELECT pg_temp.look();
SET idle_in_transaction_session_timeout = '30s';
SELECT pg_temp.look();
RESET idle_in_transaction_session_timeout;
ALTER DATABASE runops_store RESET idle_in_transaction_session_timeout;

-- a store that refuses writes
ALTER DATABASE runops_store SET default_transaction_read_only = on;
SELECT pg_temp.look();
ALTER DATABASE runops_store RESET default_transaction_read_only;
SELECT pg_temp.look();

-- a store that does not let itself be asked; setup_store_cancels has one that cancels
ALTER SERVER run_ops OPTIONS (SET dbname 'nowhere');
SELECT severity, object FROM runops.doctor();
ALTER SERVER run_ops OPTIONS (SET dbname 'runops_store');
SELECT store, verdict FROM runops.recheck('new');
SELECT pg_temp.look();

-- one that does not answer is not waited for
SET runops.remote_timeout = '100ms';
SELECT runops.remote_query('new', 'SELECT pg_sleep(60)');
RESET runops.remote_timeout;

-- Make a defect there, look, mend it by the DDL of the hints, and look again.
CREATE FUNCTION pg_temp.try(defect text) RETURNS TABLE (line text) LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	PERFORM runops.remote_exec('new', defect);
	FOR r IN SELECT * FROM runops.doctor(detail => true) LOOP
		line := concat_ws(' | ', r.severity, r.object, r.finding); RETURN NEXT;
		line := '  ' || r.hint; RETURN NEXT;
		IF r.hint LIKE 'Run there: %' THEN
			PERFORM runops.remote_exec('new', substr(r.hint, 12));
		ELSIF r.hint LIKE 'Use runops.provision%' THEN
			PERFORM runops.provision('new');
		END IF;
	END LOOP;
	RETURN QUERY SELECT 'left: ' || l FROM pg_temp.look() l;
END
$$;
SELECT pg_temp.try('DROP INDEX doctor.run_n');
SELECT pg_temp.try('ALTER TABLE doctor.run DROP n');
SELECT pg_temp.try('ALTER TABLE doctor.run ADD m int');
SELECT pg_temp.try('ALTER TABLE doctor.run ALTER n TYPE bigint');
SELECT pg_temp.try('ALTER TABLE doctor.run ALTER c TYPE text COLLATE "POSIX"');
SELECT pg_temp.try('UPDATE doctor.run SET n = 1; ALTER TABLE doctor.run ALTER n SET NOT NULL');
SELECT pg_temp.try('ALTER TABLE doctor.run ALTER n SET DEFAULT 5');
SELECT pg_temp.try('UPDATE pg_catalog.pg_index SET indisvalid = false WHERE indexrelid = ''doctor.run_n''::pg_catalog.regclass');
SELECT pg_temp.try('DROP INDEX doctor.run_n; CREATE INDEX run_n ON doctor.run (n DESC)');
SELECT pg_temp.try('CREATE UNIQUE INDEX run_c ON doctor.run (c)');
SELECT pg_temp.try('ALTER TABLE doctor.run SET UNLOGGED');
SELECT pg_temp.try('ALTER TABLE doctor.run DROP CONSTRAINT run_n_check');
SELECT pg_temp.try('ALTER TABLE doctor.run ADD CONSTRAINT few CHECK (n < 10)');
SELECT pg_temp.try('DROP TABLE doctor.run');
INSERT INTO run VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', 1);
SELECT runops.remote_exec('new', 'ANALYZE doctor.run');
SELECT pg_temp.look();

-- an enum label that one side knows
ALTER TYPE state ADD VALUE 'C';
SELECT pg_temp.look();
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';
SELECT pg_temp.look();
SELECT runops.remote_exec('new', $$ALTER TYPE doctor.state ADD VALUE 'D'$$);
SELECT pg_temp.look();
ALTER TYPE state ADD VALUE 'D';
SELECT pg_temp.look();

-- a trigger that finds its tables only for those who connect there
SELECT runops.remote_transaction('new', ARRAY[
	$$CREATE FUNCTION doctor.trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO audit VALUES (1); RETURN NEW; END'$$,
	'CREATE TRIGGER audit AFTER INSERT ON doctor.run FOR EACH ROW EXECUTE FUNCTION doctor.trg()']);
SELECT pg_temp.look();
SELECT runops.remote_exec('new', 'ALTER FUNCTION doctor.trg() SET search_path = doctor');
SELECT pg_temp.look();
SELECT runops.remote_exec('new', 'DROP FUNCTION doctor.trg() CASCADE');

-- a rule, and what is no table
SELECT runops.remote_exec('new', 'CREATE RULE quiet AS ON DELETE TO doctor.run DO INSTEAD NOTHING');
SELECT pg_temp.look();
SELECT runops.remote_exec('new', 'DROP RULE quiet ON doctor.run');
SELECT pg_temp.look();
SELECT runops.remote_exec('new', 'ALTER TABLE doctor.run RENAME TO other; CREATE VIEW doctor.run AS SELECT * FROM doctor.other');
SELECT pg_temp.look();
SELECT runops.remote_exec('new', 'DROP VIEW doctor.run; ALTER TABLE doctor.other RENAME TO run');
SELECT pg_temp.look();

-- another default collation, another encoding
CREATE DATABASE regress_doctor_latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C';
ALTER SERVER run_ops OPTIONS (SET dbname 'regress_doctor_latin');
SELECT l FROM pg_temp.look() l WHERE regexp_like(l, '^(error|warning).*default collation') \gset found_
SELECT regexp_replace(:'found_l', 'differs: here .*"encoding": "(\w+)".*in the store .*"encoding": "(\w+)".*', 'differs: here \1, in the store \2');
ALTER SERVER run_ops OPTIONS (SET dbname 'runops_store');
SELECT pg_temp.look();
DROP DATABASE regress_doctor_latin;

-- when the time is up nobody is asked any more
SELECT severity, object, finding, hint FROM runops._doctor('-1 s') WHERE severity <> 'info';
SELECT severity, object, finding, hint FROM runops._doctor('1 min') WHERE severity <> 'info';
SELECT * FROM runops._doctor_rows('new', '{doctor.run}', '{doctor.run}', '-1 s');
SELECT * FROM runops._doctor_rows('new', '{doctor.run}', '{doctor.run}', '1 min');

-- a remote user without rights
CREATE ROLE regress_doctor LOGIN;
GRANT SELECT ON run TO regress_doctor;
CREATE USER MAPPING FOR regress_doctor SERVER run_ops OPTIONS (user 'regress_doctor', password 'x');
SELECT pg_temp.look();
SELECT runops.remote_transaction('new', '{GRANT USAGE ON SCHEMA doctor TO regress_doctor,GRANT SELECT ON doctor.run TO regress_doctor}');
SELECT pg_temp.look();
SELECT runops.remote_exec('new', 'DROP OWNED BY regress_doctor');
DROP USER MAPPING FOR regress_doctor SERVER run_ops;
DROP OWNED BY regress_doctor;
DROP ROLE regress_doctor;

-- misplaced rows, where nothing would have refused them
SELECT runops.remote_transaction('new', ARRAY['ALTER TABLE doctor.run DROP CONSTRAINT runops_store',
	$$INSERT INTO doctor.run VALUES ('ck00000000000000000000001', 2)$$]);
SELECT pg_temp.look();
SELECT runops.remote_exec('new', $$INSERT INTO doctor.run VALUES ('ck00000000000000000000002', 2)$$);
SELECT pg_temp.look() AS line LIMIT 1;
SELECT runops.remote_exec('new', 'DELETE FROM doctor.run WHERE n = 2');
SELECT pg_temp.look();
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';
SELECT pg_temp.look();

-- rows there that were never counted there
SELECT runops.remote_exec('new', 'UPDATE pg_catalog.pg_class SET reltuples = -1 WHERE oid = ''doctor.run''::pg_catalog.regclass');
SELECT pg_temp.look();
SELECT runops.remote_exec('new', 'ANALYZE doctor.run');
SELECT pg_temp.look();

SELECT runops.detach('run', force => true);
ALTER DATABASE contrib_regression CONNECTION LIMIT -1;
DROP SCHEMA doctor CASCADE;
\connect runops_store
DROP SCHEMA doctor CASCADE;
