--
-- cascade: rows that refer to a deleted row are cleaned up, in every store.  The
-- worker, stores that are down and concurrent sessions are tested in
-- test/t/060_cascade_worker.pl and the specs cascade-*.
--
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET runops.cross_store_writes = allow;
CREATE SCHEMA casc;
SET search_path = casc, public;

-- The tables of the original's cleanup; runs are in both stores.
CREATE TABLE org (id text PRIMARY KEY, "deletedAt" timestamp);
CREATE TABLE project (id text PRIMARY KEY, org text NOT NULL REFERENCES org ON DELETE CASCADE);
CREATE TABLE env (id text PRIMARY KEY, project text NOT NULL REFERENCES project ON DELETE CASCADE);
CREATE TABLE run (id text PRIMARY KEY, env text NOT NULL, project text NOT NULL, n int);
CREATE TABLE attempt (id text PRIMARY KEY, run text NOT NULL REFERENCES run ON DELETE CASCADE, env text);
CREATE TABLE "Check Point" (id text PRIMARY KEY, run text NOT NULL, "project Id" text, attempt text REFERENCES attempt ON DELETE CASCADE);
CREATE TABLE restore_event (id text PRIMARY KEY, run text NOT NULL, project text, checkpoint text REFERENCES "Check Point" ON DELETE CASCADE);
CREATE TABLE waitpoint (id text PRIMARY KEY, run text, project text, env text);
CREATE TABLE batch (id text PRIMARY KEY, env text);
CREATE TABLE bulk_item (id int PRIMARY KEY, source_run text, destination_run text);
CREATE TABLE note (n int, env text);
CREATE INDEX ON project (org); CREATE INDEX ON env (project);
CREATE INDEX ON run (env); CREATE INDEX ON run (project, n);
CREATE INDEX ON attempt (run); CREATE INDEX ON attempt (env) WHERE env IS NOT NULL;
CREATE INDEX ON "Check Point" ("project Id"); CREATE INDEX ON "Check Point" (attempt);
CREATE INDEX ON restore_event (project); CREATE INDEX ON restore_event (checkpoint);
CREATE INDEX ON waitpoint (project); CREATE INDEX ON waitpoint USING hash (env);
CREATE INDEX ON batch (env);
CREATE INDEX ON bulk_item (source_run); CREATE INDEX ON bulk_item (destination_run);
CREATE INDEX ON note (env);
SELECT runops.attach('run', 'id');
SELECT runops.attach('attempt', 'run');
SELECT runops.attach('"Check Point"', 'run');
SELECT runops.attach('restore_event', 'run');
SELECT runops.attach('waitpoint', 'COALESCE(run, id)');
SELECT runops.attach('batch', 'id');
SELECT count(*) > 0 AS provisioned FROM runops.provision('new');
RESET client_min_messages;

-- what is refused
\set VERBOSITY default
SELECT runops.add_cascade(NULL, 'run', 'env');
SELECT runops.add_cascade('env', NULL, 'env');
SELECT runops.add_cascade('env', 'run', NULL);
SELECT runops.add_cascade('env', 'run', 'nowhere');
SELECT runops.add_cascade('env', 'run', 'env', 'vanish');
SELECT runops.add_cascade('env', 'run', 'env', NULL);
SELECT runops.add_cascade('env', 'run', 'n');
SELECT runops.add_cascade('runops_legacy.run', 'note', 'env');
SELECT runops.add_cascade('env', 'runops_new.run', 'env');
SELECT runops.add_cascade('runops.stores', 'note', 'env');
SELECT runops.add_cascade('note', 'run', 'env');
SELECT runops.add_cascade('env', 'run', 'env', 'set null');
SELECT runops.add_cascade('env', 'waitpoint', 'run', 'set null');
-- no index here, or not one that leads by the column, or is complete
ALTER TABLE note ADD other text;
SELECT runops.add_cascade('env', 'note', 'other');
CREATE INDEX ON note (n, other); CREATE INDEX ON note (other) WHERE n > 0; CREATE INDEX ON note (lower(other));
CREATE INDEX ON note USING brin (other); CREATE INDEX ON note (other COLLATE "POSIX");
SELECT runops.add_cascade('env', 'note', 'other');
-- or not there
SELECT runops.remote_exec('new', 'DROP INDEX casc.run_env_idx');
SELECT runops.add_cascade('env', 'run', 'env');
SELECT runops.remote_exec('new', 'ALTER TABLE casc.run RENAME TO gone');
SELECT runops.add_cascade('env', 'run', 'env');
SELECT runops.remote_exec('new', 'ALTER TABLE casc.gone RENAME TO run');
ALTER SERVER run_ops OPTIONS (SET dbname 'runops_nowhere');
\set VERBOSITY terse
SELECT runops.add_cascade('env', 'run', 'env');
\set VERBOSITY default
ALTER SERVER run_ops OPTIONS (SET dbname 'runops_store');
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';
SELECT * FROM runops.cascades;

-- registration: the order follows from the foreign keys, and else from the calls
SELECT runops.add_cascade('project', 'run', 'project');
SELECT runops.add_cascade('project', 'waitpoint', 'project');
SELECT runops.add_cascade('project', '"Check Point"', 'project Id');
SELECT runops.add_cascade('project', 'restore_event', 'project');
SELECT runops.add_cascade('env', 'run', 'env');
SELECT runops.add_cascade('env', 'batch', 'env');
SELECT runops.add_cascade('env', 'waitpoint', 'env');
SELECT runops.add_cascade('env', 'attempt', 'env');
SELECT runops.add_cascade('env', 'note', 'env', 'set null');
SELECT runops.add_cascade('run', 'bulk_item', 'source_run');
SELECT runops.add_cascade('run', 'bulk_item', 'destination_run', 'set null');
SELECT runops.add_cascade('env', 'run', 'env');
SELECT * FROM runops.cascades ORDER BY parent::text COLLATE "C", ord, child_column;

-- two organizations, two projects each, two environments each
CREATE FUNCTION fill() RETURNS void LANGUAGE sql SET search_path = casc, public AS $$
	TRUNCATE bulk_item, note;
	INSERT INTO org SELECT 'o' || o FROM generate_series(1, 2) o;
	INSERT INTO project SELECT 'p' || p, 'o' || (p + 1) / 2 FROM generate_series(1, 4) p;
	INSERT INTO env SELECT 'e' || e, 'p' || (e + 1) / 2 FROM generate_series(1, 8) e;
	INSERT INTO run SELECT CASE WHEN n % 2 = 0 THEN 'c' || lpad(n::text, 24, '0') ELSE lpad(n::text, 24, '0') || '01' END,
		'e' || (n % 8 + 1), 'p' || (n % 8 / 2 + 1), n FROM generate_series(1, 160) n;
	INSERT INTO attempt SELECT 'a' || n, id, env FROM run;
	INSERT INTO "Check Point" SELECT 'k' || n, id, project, 'a' || n FROM run;
	INSERT INTO restore_event SELECT 'v' || n, id, project, 'k' || n FROM run;
	INSERT INTO waitpoint SELECT 'w' || n, id, project, env FROM run;
	INSERT INTO batch SELECT id, env FROM run;
	INSERT INTO bulk_item SELECT n, id, id FROM run;
	INSERT INTO note SELECT n, env FROM run WHERE n <= 40;
$$;
CREATE VIEW counts AS
SELECT t, count(*) FILTER (WHERE residency = 'LEGACY') AS legacy, count(*) FILTER (WHERE residency = 'NEW') AS new
FROM (SELECT 'run' AS t, id FROM run UNION ALL SELECT 'attempt', run FROM attempt
	  UNION ALL SELECT 'checkpoint', run FROM "Check Point" UNION ALL SELECT 'restore event', run FROM restore_event
	  UNION ALL SELECT 'waitpoint', run FROM waitpoint UNION ALL SELECT 'batch', id FROM batch
	  UNION ALL SELECT 'bulk item', source_run FROM bulk_item
	  UNION ALL SELECT 'note', 'c000000000000000000000000' FROM note WHERE env IS NOT NULL) x,
	runops.residency(x.id) AS residency
GROUP BY t;
CREATE FUNCTION drain() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
	batches int := 0;
	total bigint := 0;
BEGIN
	LOOP
		n := runops.cleanup(50);
		IF batches > 100 THEN RAISE 'it does not end'; END IF;
		IF n > 50 THEN RAISE 'a batch of %', n; END IF;
		EXIT WHEN n = 0;
		batches := batches + 1;
		total := total + n;
	END LOOP;
	RETURN format('%s rows', total);
END
$$;
SELECT fill();
SELECT * FROM counts ORDER BY t;

-- by the environment: the target is cleared in both stores, the sibling is not touched
DELETE FROM env WHERE id = 'e3';
SELECT task, object, phase, done, total, rate, started FROM runops.progress;
SELECT count(*) AS still_there FROM run WHERE env = 'e3';
SELECT drain();
SELECT * FROM counts ORDER BY t;
SELECT count(*) AS left_of_e3 FROM run WHERE env = 'e3';
SELECT count(*) AS left_of_e4 FROM run WHERE env = 'e4';
-- a second run has nothing to do, and so has the same deletion again
SELECT runops.cleanup();
SELECT count(*) FROM runops.progress;
INSERT INTO env VALUES ('e3', 'p2');
DELETE FROM env WHERE id = 'e3';
SELECT drain();
SELECT count(*) FROM runops.progress;

-- by the project, and by the organization: their own foreign keys delete the
-- environments, and these are queued as what they are
DELETE FROM project WHERE id = 'p1';
SELECT object FROM runops.progress ORDER BY 1;
SELECT drain();
SELECT project, count(*) FROM run GROUP BY 1 ORDER BY 1;
DELETE FROM org WHERE id = 'o2';
SELECT object FROM runops.progress ORDER BY 1;
SELECT drain();
SELECT * FROM counts ORDER BY t;
SELECT project, env, count(*) FROM run GROUP BY 1, 2 ORDER BY 1, 2;

-- nothing is queued by what is no DELETE, or comes to nothing
UPDATE org SET "deletedAt" = 'now';
DELETE FROM env WHERE id = 'nobody';
BEGIN; DELETE FROM env; SELECT count(*) FROM runops.progress; ROLLBACK;
BEGIN; SAVEPOINT s; DELETE FROM env; ROLLBACK TO s; DELETE FROM project WHERE false; COMMIT;
TRUNCATE env CASCADE;
SELECT count(*) FROM runops.progress;

DELETE FROM org; SELECT drain();
SELECT * FROM counts ORDER BY t;

-- with a foreign key that was kept, which clears legacy in the same statement,
-- the end is the same
SELECT fill();
DELETE FROM env WHERE id = 'e3'; DELETE FROM project WHERE id = 'p3'; SELECT drain();
CREATE TEMP TABLE without_key AS SELECT * FROM counts;
DELETE FROM org; SELECT drain();
SELECT fill();
ALTER TABLE runops_legacy.run ADD CONSTRAINT kept FOREIGN KEY (env) REFERENCES env ON DELETE CASCADE;
DELETE FROM env WHERE id = 'e3'; DELETE FROM project WHERE id = 'p3';
SELECT env, count(*) FROM run WHERE env IN ('e3', 'e5', 'e6') GROUP BY 1 ORDER BY 1;
SELECT drain();
SELECT * FROM counts EXCEPT TABLE without_key;
TABLE without_key EXCEPT SELECT * FROM counts;
ALTER TABLE runops_legacy.run DROP CONSTRAINT kept;
DELETE FROM org; SELECT drain();
SELECT * FROM counts ORDER BY t;

-- who has much to clean up does not keep others waiting: one turn each
SELECT fill();
INSERT INTO run SELECT lpad(n::text, 24, '0') || '01', 'e1', 'p1', n FROM generate_series(1001, 1200) n;
DELETE FROM env WHERE id = 'e1';
DELETE FROM env WHERE id = 'e2';
SELECT runops.cleanup(50), (SELECT count(*) FROM run WHERE env = 'e2') AS left_of_e2;
SELECT runops.cleanup(50), (SELECT count(*) FROM attempt WHERE env = 'e2') AS left_of_e2;
SELECT object, phase, done FROM runops.progress ORDER BY 1;
SELECT runops.cleanup(50), runops.cleanup(50);
SELECT count(*) AS left_of_e2 FROM run WHERE env = 'e2';
SELECT object, phase, done > 0 AS done, total >= done AS total, rate >= 0 AS rate, started < clock_timestamp() AS started FROM runops.progress ORDER BY 1;
SELECT drain();
SELECT env, count(*) FROM run GROUP BY 1 ORDER BY 1;
-- also within one transaction
INSERT INTO env VALUES ('e1', 'p1'), ('e2', 'p1');
INSERT INTO run SELECT lpad(n::text, 24, '0') || '01', CASE WHEN n <= 1200 THEN 'e1' ELSE 'e2' END, 'p1', n FROM generate_series(1001, 1210) n;
DELETE FROM env WHERE id IN ('e1', 'e2');
SELECT runops.cleanup(50), runops.cleanup(50);
SELECT count(*) AS left_of_e2 FROM run WHERE env = 'e2';
SELECT drain();

-- a row that cannot be deleted is set aside and reported, and the rest goes on
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'run % must stay', OLD.n USING DETAIL = 'Somebody wants it.';
END
$$;
CREATE TRIGGER refuse BEFORE DELETE ON runops_legacy.run FOR EACH ROW WHEN (OLD.n = 34) EXECUTE FUNCTION refuse();
SELECT runops.remote_transaction('new', ARRAY[
	'CREATE TABLE casc.holder (run text REFERENCES casc.run)',
	'INSERT INTO casc.holder SELECT id FROM casc.run WHERE n IN (43, 51)']);
DELETE FROM env WHERE id IN ('e3', 'e4');
SELECT drain();
SELECT env, n, runops.store_of(id) FROM run WHERE env IN ('e3', 'e4') ORDER BY n;
SELECT object, phase, done, total FROM runops.progress ORDER BY 1;
-- what hangs on a row that has to stay stays with it
SELECT r.n, count(b.id) AS bulk_items FROM run r LEFT JOIN bulk_item b ON b.source_run = r.id WHERE r.env IN ('e3', 'e4') GROUP BY 1 ORDER BY 1;
SELECT f.store, f.row, f.sqlstate, f.message FROM runops.cascade_failure f ORDER BY 1, 2;
SELECT severity, object, finding, hint FROM runops.doctor(detail => true) WHERE object LIKE 'cascade%' ORDER BY 1, 2, 3;
SELECT severity, count, object, finding FROM runops.doctor() WHERE object LIKE 'cascade to%';
-- once the cause is gone it goes like the others
SELECT runops.remote_exec('new', 'DROP TABLE casc.holder');
SELECT drain();
DROP TRIGGER refuse ON runops_legacy.run;
SELECT drain();
SELECT count(*) FROM run WHERE env IN ('e3', 'e4');
SELECT count(*) FROM runops.progress;

-- a row of a routed table that is deleted by hand
DELETE FROM run WHERE n IN (4, 5);
SELECT count(*) FROM bulk_item WHERE id IN (4, 5);
SELECT drain();
SELECT count(*) FROM bulk_item WHERE id IN (4, 5);
SELECT source_run IS NULL AS source, destination_run IS NULL AS destination, count(*) FROM bulk_item GROUP BY 1, 2 ORDER BY 1, 2;

-- rights: EXECUTE is all that is needed, and triggers run as the owner of the child
CREATE ROLE casc_owner; CREATE ROLE casc_app;
GRANT USAGE ON SCHEMA casc TO casc_owner, casc_app;
GRANT DELETE, SELECT ON env TO casc_app;
CREATE FUNCTION whoami() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'as %', current_user; RETURN NEW; END $$;
ALTER TABLE note OWNER TO casc_owner;
CREATE TRIGGER whoami BEFORE UPDATE ON note FOR EACH ROW EXECUTE FUNCTION whoami();
INSERT INTO env VALUES ('e9', 'p1');
INSERT INTO note VALUES (1, 'e9');
SET ROLE casc_app;
DELETE FROM env WHERE id = 'e9';
SELECT runops.cleanup();
SELECT runops.add_cascade('env', 'note', 'env');
RESET ROLE;
GRANT EXECUTE ON FUNCTION runops.cleanup TO casc_app;
SET ROLE casc_app;
SELECT runops.cleanup();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION runops.cleanup FROM casc_app;
DROP TRIGGER whoami ON note;
-- a trigger that does not let go
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.env := OLD.env; RETURN NEW; END $$;
CREATE TRIGGER keep BEFORE UPDATE ON note FOR EACH ROW EXECUTE FUNCTION keep();
INSERT INTO env VALUES ('e9', 'p1');
INSERT INTO note VALUES (1, 'e9');
DELETE FROM env WHERE id = 'e9';
SET client_min_messages = error;
SELECT drain();
RESET client_min_messages;
-- without a primary key it is told by its place
SELECT f.row ? 'ctid' AS place, f.message FROM runops.cascade_failure f;
ALTER TABLE note DISABLE TRIGGER keep;
SELECT drain();
ALTER TABLE note OWNER TO CURRENT_USER;

-- code of a child's owner, and of the owner of a key's type, gets nobody else's rights
CREATE ROLE casc_author;
GRANT USAGE, CREATE ON SCHEMA casc TO casc_author;
SET ROLE casc_author;
CREATE TYPE shade AS ENUM ('dark', 'light');
CREATE TABLE seen (who text);
CREATE TABLE lamp (id shade PRIMARY KEY);
CREATE TABLE bulb (id int PRIMARY KEY, lamp shade);
CREATE INDEX ON bulb (lamp);
INSERT INTO lamp VALUES ('dark'), ('light');
INSERT INTO bulb VALUES (1, 'dark'), (2, 'light');
RESET ROLE;
SELECT runops.add_cascade('lamp', 'bulb', 'lamp');
SET ROLE casc_author;
CREATE FUNCTION spell(shade) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO casc.seen VALUES ('cast ' || current_user); RETURN 'dark'; END $$;
CREATE CAST (shade AS text) WITH FUNCTION spell(shade);
CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO casc.seen VALUES (TG_ARGV[0] || current_user); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER spy AFTER DELETE ON bulb DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION spy('deferred ');
DELETE FROM lamp WHERE id = 'dark';
RESET ROLE;
SELECT drain();
SET ROLE casc_author;
CREATE FUNCTION defer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SET CONSTRAINTS ALL DEFERRED; DELETE FROM casc.bulb WHERE id = 3; RETURN NULL; END $$;
CREATE TRIGGER defer AFTER DELETE ON bulb FOR EACH ROW WHEN (OLD.id = 2) EXECUTE FUNCTION defer();
INSERT INTO bulb VALUES (3, NULL);
DELETE FROM lamp WHERE id = 'light';
RESET ROLE;
SET client_min_messages = error;
SELECT drain();
RESET client_min_messages;
SELECT f.row, f.sqlstate, f.message FROM runops.cascade_failure f;
SELECT * FROM seen;
DROP TRIGGER defer ON bulb;
SELECT drain();
-- the caller's own deferred triggers are run before, as at the commit
BEGIN;
INSERT INTO bulb VALUES (4, 'dark');
DELETE FROM bulb;
DELETE FROM lamp;
INSERT INTO lamp VALUES ('dark');
DELETE FROM lamp;
SELECT runops.cleanup();
SELECT count(*) FROM seen WHERE who = 'deferred ' || current_user;
ROLLBACK;
SET client_min_messages = warning;
DROP OWNED BY casc_author CASCADE;
RESET client_min_messages;
DROP ROLE casc_author;

-- a partitioned parent, whose partitions are written to by themselves too
CREATE TABLE zone (id text PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE zone_a PARTITION OF zone FOR VALUES IN ('a');
CREATE TABLE zone_b PARTITION OF zone FOR VALUES IN ('b', 'c') PARTITION BY LIST (id);
CREATE TABLE zone_bb PARTITION OF zone_b FOR VALUES IN ('b', 'c');
CREATE TABLE lot (id int PRIMARY KEY, zone text);
CREATE INDEX ON lot (zone);
INSERT INTO zone VALUES ('a'), ('b'), ('c');
INSERT INTO lot VALUES (1, 'a'), (2, 'b'), (3, 'c');
SELECT runops.add_cascade('zone_a', 'lot', 'zone');
SELECT runops.add_cascade('zone', 'lot', 'zone');
DELETE FROM zone_a;
DELETE FROM zone_bb WHERE id = 'b';
SELECT parent, value FROM runops.cascade_queue ORDER BY value;
DELETE FROM zone;
TRUNCATE zone;
SELECT drain();
SELECT count(*) FROM lot;
DROP TABLE zone, lot;

-- max_rows
SELECT runops.cleanup(0);
SELECT runops.cleanup(NULL);
BEGIN READ ONLY; SELECT runops.cleanup(); ROLLBACK;

-- changes of what there is
SELECT runops.drop_cascade('env', 'note', 'nothing');
SELECT runops.drop_cascade('env', 'note', 'nothing', true);
DELETE FROM env WHERE id = 'e5';
SELECT runops.drop_cascade('env', 'note', 'env');
DROP TABLE env CASCADE;
-- a table keeps its cascades when it is routed, and when it is not any more
SET client_min_messages = warning;
CREATE TABLE ticket (id text PRIMARY KEY, env text); CREATE INDEX ON ticket (env);
SELECT runops.add_cascade('env', 'ticket', 'env');
SELECT runops.attach('ticket', 'id');
SELECT count(*) > 0 AS provisioned FROM runops.provision('new');
RESET client_min_messages;
SELECT parent, child, child_column FROM runops.cascades WHERE child = 'ticket'::regclass;
INSERT INTO ticket VALUES ('c00000000000000000000001', 'e5'), ('000000000000000000000001g1', 'e5'), ('000000000000000000000001h1', 'e6');
SELECT drain();
SELECT env FROM ticket;
SELECT runops.detach('ticket', force => true);
SELECT parent, child, child_column FROM runops.cascades WHERE child = 'ticket'::regclass;
INSERT INTO ticket VALUES ('c00000000000000000000002', 'e6');
DELETE FROM env WHERE id = 'e6';
SELECT drain();
SELECT env FROM ticket;
-- likewise the parent of cascades, which can be routed again
CREATE TABLE stub (id int PRIMARY KEY, ticket text);
CREATE INDEX ON stub (ticket);
SELECT runops.add_cascade('ticket', 'stub', 'ticket');
SELECT runops.attach('ticket', 'id');
SELECT runops.detach('ticket', force => true);
SELECT tgname, tgtype & 1 AS is_row FROM pg_trigger WHERE tgrelid = 'ticket'::regclass ORDER BY 1;
SELECT runops.attach('ticket', 'id');
SELECT count(*) > 0 AS provisioned FROM runops.provision('new', relation => 'ticket');
INSERT INTO ticket VALUES ('c00000000000000000000003'), ('000000000000000000000003h1');
INSERT INTO stub VALUES (1, 'c00000000000000000000003'), (2, '000000000000000000000003h1'), (3, NULL);
DELETE FROM ticket WHERE id IN ('c00000000000000000000003', '000000000000000000000003h1');
SELECT drain();
SELECT * FROM stub;
SELECT runops.drop_cascade('ticket', 'stub', 'ticket');
SELECT runops.detach('ticket', force => true);
DROP TABLE stub;
DROP TABLE ticket;
SELECT child FROM runops.cascades WHERE parent = 'env'::regclass ORDER BY ord;

-- the parent's triggers go with its last cascade
SELECT tgname FROM pg_trigger WHERE tgrelid IN ('env'::regclass, 'run'::regclass) AND tgname LIKE 'runops%' ORDER BY 1;
SELECT runops.drop_cascade(parent, child, child_column) FROM runops.cascades;
SELECT tgname FROM pg_trigger WHERE tgrelid IN ('env'::regclass, 'run'::regclass) AND tgname LIKE 'runops%' ORDER BY 1;
SELECT count(*) FROM runops.cascades;

SET client_min_messages = error;
DROP VIEW counts;
DROP FUNCTION fill();
SELECT runops.detach(relation, true) FROM runops.routed_tables JOIN pg_class c ON c.oid = relation WHERE c.relnamespace = 'casc'::regnamespace;
DROP SCHEMA casc CASCADE;
SELECT runops.remote_exec('new', 'DROP SCHEMA casc CASCADE');
DROP ROLE IF EXISTS casc_owner, casc_app;
SELECT count(*) FROM runops.cascade_task, runops.cascade_queue;
