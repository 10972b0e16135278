-- session_counters: the waits, the bytes and the errors of each store
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA counted;
SET search_path = counted, public;
CREATE TABLE run (id text PRIMARY KEY, n int CHECK (n < 1000), note text);
SELECT runops.attach('run', 'id');
SELECT count(*) > 0 AS made FROM runops.provision('new') WHERE action = 'create';
INSERT INTO run VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', 1, 'a'), ('ck00000000000000000000001', 2, 'b');

CREATE VIEW shown AS
SELECT store, turns, bytes_sent, bytes_received, errors_connection AS connection, errors_canceled AS canceled, errors_other AS other, unknown_outcomes AS unknown
FROM runops.stats
WHERE relation = 'run'::regclass
ORDER BY store;
-- a statement is prepared at its second use
SELECT n FROM run WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
SELECT n FROM run WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
SELECT runops.reset_stats();
SELECT * FROM shown;

-- the bytes of a statement that is prepared already; one row and no row
SELECT n FROM run WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
SELECT store, turns, bytes_sent, bytes_received FROM shown;
SELECT runops.reset_stats();
SELECT n FROM run WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv' AND note IS NULL;
SELECT n FROM run WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv' AND note IS NULL;
SELECT runops.reset_stats();
SELECT n FROM run WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv' AND note IS NULL;
SELECT store, turns, bytes_sent, bytes_received FROM shown;

-- nothing is sent to legacy
SELECT runops.reset_stats();
SELECT n FROM run WHERE id = 'ck00000000000000000000001';
UPDATE run SET n = 3 WHERE id = 'ck00000000000000000000001';
SELECT * FROM shown;

-- the time is measured, unless the setting says otherwise
SELECT n FROM run WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
SELECT store, wait_time > 0 AS waited FROM runops.stats WHERE relation = 'run'::regclass ORDER BY store;
SELECT runops.reset_stats();
SET runops.track_wait_timing = off;
SELECT n FROM run WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
SELECT store, turns, wait_time FROM runops.stats WHERE relation = 'run'::regclass ORDER BY store;
RESET runops.track_wait_timing;
CREATE ROLE regress_counted;
SET ROLE regress_counted;
SET runops.track_wait_timing = off;
RESET ROLE;
DROP ROLE regress_counted;

-- errors that the store reports
SELECT runops.reset_stats();
INSERT INTO run VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', 1, 'a');
SELECT 1 / (n - 1) FROM ONLY runops_new.run WHERE 1 / (n - 1) > 0;
SELECT connection, canceled, other, unknown FROM shown WHERE store = 'new';
-- ... also if the session goes on after them
DO $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN
			INSERT INTO run VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', 1, 'a');
		EXCEPTION WHEN unique_violation THEN
			NULL;
		END;
	END LOOP;
END
$$;
SELECT connection, canceled, other, unknown FROM shown WHERE store = 'new';
-- an error of this database is none of the store
INSERT INTO run VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOw', 5000, 'a');
SELECT 1 / n FROM (SELECT 0 AS n) x;
SELECT connection, canceled, other, unknown FROM shown WHERE store = 'new';

-- a cancel that comes while the store works
SELECT runops.reset_stats();
\connect runops_store
CREATE FUNCTION counted.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$;
CREATE TRIGGER wait BEFORE UPDATE ON counted.run FOR EACH ROW EXECUTE FUNCTION counted.wait();
\connect contrib_regression
SET search_path = counted, public;
SET statement_timeout = '200ms';
UPDATE run SET n = 2 WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
RESET statement_timeout;
SELECT connection, canceled, other, unknown FROM shown WHERE store = 'new';

-- a table that does not exist; test/t/076_xact_counters.pl loses connections
SELECT runops.reset_stats();
\connect runops_store
ALTER TABLE counted.run RENAME TO moved;
\connect contrib_regression
SET search_path = counted, public;
SELECT n FROM run WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
SELECT connection, canceled, other, unknown FROM shown WHERE store = 'new';
SELECT state, reason, since IS NULL AS never FROM runops.status() WHERE item = 'connection:new';

-- everybody may read the counters, and only monitoring the state of a connection
CREATE ROLE regress_counted;
SET ROLE regress_counted;
SELECT count(*) > 0 AS seen FROM runops.stats WHERE errors_other > 0;
SELECT * FROM runops._server_state(0);
RESET ROLE;
GRANT pg_monitor TO regress_counted;
SET ROLE regress_counted;
SELECT item, state FROM runops.status() WHERE item LIKE 'connection:%';
SELECT * FROM runops._server_state(0);
RESET ROLE;
DROP ROLE regress_counted;

DROP VIEW shown;
SELECT runops.detach('run', force => true);
DROP SCHEMA counted CASCADE;
\connect runops_store
DROP SCHEMA counted CASCADE;
