-- integrity_references: references replace foreign keys across the seam

CREATE SCHEMA refs;
SET search_path = refs, public;

CREATE TABLE env (id text PRIMARY KEY, name text);
CREATE TABLE "Run" (
	id text PRIMARY KEY,
	"envId" varchar REFERENCES env (id),
	n int DEFAULT 0,
	org text);
CREATE INDEX ON "Run" ("envId");
CREATE TABLE org (id varchar(30) PRIMARY KEY);
-- the columns that refer differ in kind: a foreign key that cascades, one that sets null, and none
CREATE TABLE alert (id int PRIMARY KEY, "runId" text CONSTRAINT alert_run REFERENCES "Run" (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE item (id int PRIMARY KEY, run text CONSTRAINT item_run REFERENCES "Run" (id) ON DELETE SET NULL);
CREATE TABLE note (id int PRIMARY KEY, run text);
COMMENT ON CONSTRAINT alert_run ON alert IS 'whose run';

INSERT INTO env VALUES ('e1'), ('e2'), ('e3');
INSERT INTO "Run" VALUES ('c00000000000000000000ref1', 'e1');
INSERT INTO alert VALUES (1, 'c00000000000000000000ref1');

SET client_min_messages = warning;
SELECT runops.attach('"Run"', 'id');
RESET client_min_messages;
SELECT object, ddl IS NOT NULL AS created FROM runops.provision('new', relation => '"Run"') WHERE action = 'create' AND object LIKE 'table%';

-- before: a row of another store is refused by the old foreign keys, and checked by none
INSERT INTO alert VALUES (2, '0123456789abcdefghijklmnr01');
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr00', 'gone');
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklmnr00';

-- a column of a routed table refers to a plain one
SELECT runops.add_reference('"Run"', 'envId', 'env');
SELECT runops.add_reference('alert', 'runId', '"Run"');
SELECT runops.add_reference('item', 'run', '"Run"');
SELECT runops.add_reference('note', 'run', '"Run"');
SELECT * FROM runops.reference_keys ORDER BY child::text COLLATE "C";
SELECT conrelid::regclass, conname FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'refs'::regnamespace OR conrelid = 'runops_legacy."Run"'::regclass AND contype = 'f' ORDER BY 1, 2;

-- rows of both stores, by INSERT, COPY and UPDATE
INSERT INTO "Run" VALUES ('c00000000000000000000ref2', 'e1'), ('0123456789abcdefghijklmnr01', 'e1');
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr02', 'gone');
INSERT INTO "Run" VALUES ('c00000000000000000000ref3', 'gone');
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr03', NULL);
COPY "Run" (id, "envId") FROM stdin;
0123456789abcdefghijklmnr04	e2
c00000000000000000000ref4	e2
\.
COPY "Run" (id, "envId") FROM stdin;
0123456789abcdefghijklmnr05	gone
\.
UPDATE "Run" SET "envId" = 'e2' WHERE id = '0123456789abcdefghijklmnr01';
UPDATE "Run" SET "envId" = 'gone' WHERE id = '0123456789abcdefghijklmnr01';
UPDATE "Run" SET "envId" = 'gone' WHERE id = 'c00000000000000000000ref2';
UPDATE "Run" SET "envId" = NULL WHERE id = '0123456789abcdefghijklmnr04';
UPDATE "Run" SET "envId" = 'e' || '2';
UPDATE "Run" SET "envId" = 'e' || 'x';
SELECT id, "envId" FROM "Run" ORDER BY id COLLATE "C";
-- an update of another column is one statement in the store, as ever
EXPLAIN (COSTS OFF) UPDATE "Run" SET n = 1 WHERE id = '0123456789abcdefghijklmnr01';
EXPLAIN (COSTS OFF) UPDATE "Run" SET "envId" = 'e2' WHERE id = '0123456789abcdefghijklmnr01';

-- what is referred to stays
DELETE FROM env WHERE id = 'e2';
UPDATE env SET id = 'e4' WHERE id = 'e2';
UPDATE env SET name = 'b' WHERE id = 'e2';
DELETE FROM env WHERE id = 'e3';
TRUNCATE env;
TRUNCATE "Run";
-- that it exists is remembered, and forgotten when it goes
INSERT INTO env VALUES ('e5');
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr06', 'e5');
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklmnr06';
DELETE FROM env WHERE id = 'e5';
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr06', 'e5');
-- nor is what was never committed
BEGIN;
INSERT INTO env VALUES ('e6');
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr07', 'e6');
ROLLBACK;
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr07', 'e6');
BEGIN;
SAVEPOINT s;
INSERT INTO env VALUES ('e6');
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr07', 'e6');
ROLLBACK TO s;
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr07', 'e6');
ROLLBACK;
-- a deletion that is taken back
BEGIN;
INSERT INTO env VALUES ('e7');
COMMIT;
BEGIN;
DELETE FROM env WHERE id = 'e7';
INSERT INTO env VALUES ('e7');
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr08', 'e7');
COMMIT;
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklmnr08';
-- the row goes and comes back under rows that refer to it
BEGIN;
WITH gone AS (DELETE FROM env WHERE id = 'e2' RETURNING *) INSERT INTO env SELECT * FROM gone WHERE false;
ROLLBACK;

-- nor is it remembered over another declaration
INSERT INTO env VALUES ('e8');
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr08', 'e8');
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklmnr08';
SELECT runops.drop_reference('"Run"', 'envId', 'env');
DELETE FROM env WHERE id = 'e8';
SELECT runops.add_reference('"Run"', 'envId', 'env');
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr08', 'e8');

-- no foreign key checks the legacy rows of this one
SELECT runops.add_reference('"Run"', 'org', 'org');
INSERT INTO org VALUES ('o1'), ('o2'), ('o3');
INSERT INTO "Run" VALUES ('c00000000000000000000ref5', NULL, 0, 'gone');
INSERT INTO "Run" VALUES ('c00000000000000000000ref5', NULL, 0, 'o1'), ('0123456789abcdefghijklmnr09', NULL, 0, 'o2');
UPDATE "Run" SET org = 'gone' WHERE id = 'c00000000000000000000ref5';
UPDATE "Run" SET org = 'o1', n = n WHERE id = 'c00000000000000000000ref5';
-- a trigger may change the column, whatever the statement sets
CREATE FUNCTION stray() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.org := 'gone'; RETURN NEW; END $$;
CREATE TRIGGER stray BEFORE UPDATE ON "Run" FOR EACH ROW EXECUTE FUNCTION stray();
UPDATE "Run" SET n = 1 WHERE id = 'c00000000000000000000ref5';
UPDATE "Run" SET n = 1 WHERE id = '0123456789abcdefghijklmnr09';
DROP TRIGGER stray ON "Run";
CREATE FUNCTION stray_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := 'other'; RETURN NEW; END $$;
ALTER TABLE org ADD n int;
CREATE TRIGGER stray BEFORE UPDATE ON org FOR EACH ROW EXECUTE FUNCTION stray_key();
UPDATE org SET n = 1 WHERE id = 'o1';
DROP TRIGGER stray ON org;
ALTER TABLE org DROP COLUMN n;
DELETE FROM org WHERE id = 'o1';
DELETE FROM org WHERE id = 'o2';
DELETE FROM org WHERE id = 'o3';
UPDATE org SET id = 'o4' WHERE id = 'o2';
TRUNCATE org;
ALTER TABLE "Run" RENAME org TO organization;
ALTER TABLE org RENAME id TO key;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO org VALUES ('o5');
DELETE FROM org WHERE id = 'o5';
ROLLBACK;
-- a cascade sees to the rows that refer
CREATE INDEX ON runops_legacy."Run" (org);
SELECT count(*) FROM runops.provision('new', relation => '"Run"') WHERE action = 'create';
SELECT runops.add_cascade('org', '"Run"', 'org');
DELETE FROM org WHERE id = 'o2';
UPDATE org SET id = 'o4' WHERE id = 'o1';
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr10', NULL, 0, 'o2');
SELECT runops.cleanup();
SELECT id, org FROM "Run" WHERE org IS NOT NULL;
SELECT runops.drop_cascade('org', '"Run"', 'org');
DELETE FROM "Run" WHERE org IS NOT NULL;
DELETE FROM org;
SELECT runops.drop_reference('"Run"', 'org', 'org');

-- a plain table refers to runs of both stores
INSERT INTO alert VALUES (2, '0123456789abcdefghijklmnr01'), (3, 'c00000000000000000000ref2'), (4, NULL);
INSERT INTO alert VALUES (5, '0123456789abcdefghijklmnr99');
INSERT INTO alert VALUES (5, 'c00000000000000000000re99');
INSERT INTO alert VALUES (5, 'odd');
UPDATE alert SET "runId" = '0123456789abcdefghijklmnr99' WHERE id = 2;
INSERT INTO item VALUES (1, '0123456789abcdefghijklmnr01');
INSERT INTO note VALUES (1, '0123456789abcdefghijklmnr03');
-- the actions of the foreign keys that stood there
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklmnr01';
DELETE FROM "Run" WHERE id = 'c00000000000000000000ref2';
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklmnr03';
SELECT * FROM alert ORDER BY id;
SELECT * FROM item ORDER BY id;
SELECT * FROM note ORDER BY id;
-- keys of rows of other stores that are referred to do not change
UPDATE "Run" SET id = '0123456789abcdefghijklmnr13' WHERE id = '0123456789abcdefghijklmnr03';
UPDATE "Run" SET id = '0123456789abcdefghijklmnr13', n = 1 WHERE id = '0123456789abcdefghijklmnr13';
UPDATE "Run" SET id = 'c00000000000000000000ref9' WHERE id = 'c00000000000000000000ref1';

-- hooks off: the same
SET runops.enable_routing = off;
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr20', 'gone');
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr20', 'e1');
UPDATE "Run" SET "envId" = 'gone' WHERE id = '0123456789abcdefghijklmnr20';
INSERT INTO note VALUES (2, '0123456789abcdefghijklmnr20');
INSERT INTO note VALUES (3, '0123456789abcdefghijklmnr99');
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklmnr20';
RESET runops.enable_routing;

-- refused
SELECT runops.add_reference('alert', 'runId', '"Run"');
SELECT runops.add_reference('alert', 'runId', 'env');
SELECT runops.add_reference('alert', 'id', '"Run"');
SELECT runops.add_reference('alert', 'nope', '"Run"');
SELECT runops.add_reference('alert', 'runId', '"Run"', 'nope');
SELECT runops.add_reference('alert', NULL, '"Run"');
SELECT runops.add_reference(NULL, 'runId', '"Run"');
SELECT runops.add_reference('runops_legacy."Run"', 'envId', 'env');
SELECT runops.add_reference('note', 'run', 'env');
SELECT runops.drop_reference('note', 'run', 'env');
SELECT runops.drop_reference('note', 'run', 'env', if_exists => true);
CREATE TABLE orphan (id int PRIMARY KEY, run text);
INSERT INTO orphan VALUES (1, '0123456789abcdefghijklmnr99');
SELECT runops.add_reference('orphan', 'run', '"Run"');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'orphan'::regclass;
DROP TABLE orphan;
DROP TRIGGER "runops_reference_envId" ON "Run";
DROP TRIGGER "runops_reference_update_envId" ON runops_legacy."Run";
DROP TRIGGER runops_referenced_id ON env;
DROP TRIGGER runops_referenced_truncate ON "Run";
DROP TRIGGER runops_reference_nothing ON "Run";
CREATE ROLE refs_user;
GRANT USAGE ON SCHEMA refs TO refs_user;
SET ROLE refs_user;
SELECT runops.add_reference('note', 'run', '"Run"');
RESET ROLE;
DROP OWNED BY refs_user;
DROP ROLE refs_user;

-- a column that a trigger sets, and one that is generated
SET client_min_messages = warning;
CREATE TABLE job (id text PRIMARY KEY, n int, tag text, env text, made text GENERATED ALWAYS AS ('e' || n) STORED);
CREATE INDEX ON job (env);
CREATE INDEX ON job (made);
CREATE INDEX ON job (tag);
SELECT runops.attach('job', 'id');
SELECT count(*) > 0 AS provisioned FROM runops.provision('new', relation => 'job');
RESET client_min_messages;
SELECT runops.add_reference('job', 'made', 'env');
INSERT INTO job VALUES ('c00000000000000000000job1', 1), ('0123456789abcdefghijklmnj01', 1);
UPDATE job SET n = 99 WHERE id = 'c00000000000000000000job1';
UPDATE job SET n = 99 WHERE id = '0123456789abcdefghijklmnj01';
UPDATE job SET n = 2;
SELECT runops.drop_reference('job', 'made', 'env');
SELECT runops.add_reference('job', 'env', 'env');
CREATE FUNCTION set_env() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.env := NEW.tag; RETURN NEW; END $$;
CREATE TRIGGER set_env BEFORE UPDATE ON job FOR EACH ROW EXECUTE FUNCTION set_env();
UPDATE job SET tag = 'gone' WHERE id = 'c00000000000000000000job1';
UPDATE job SET tag = 'gone' WHERE id = '0123456789abcdefghijklmnj01';
UPDATE job SET tag = 'e1';
SELECT id, env FROM job ORDER BY id COLLATE "C";
DROP TRIGGER set_env ON job;
-- a table that is dropped takes its references with it
CREATE TABLE tag (id text PRIMARY KEY);
INSERT INTO tag VALUES ('e1');
SELECT runops.add_reference('job', 'tag', 'tag');
UPDATE job SET tag = 'e3';
DROP TABLE tag;
UPDATE job SET tag = 'e3';
INSERT INTO job (id, tag) VALUES ('c00000000000000000000job2', 'e4'), ('0123456789abcdefghijklmnj02', 'e4');
SELECT child, child_column FROM runops.reference_keys WHERE child = 'job'::regclass;
SELECT runops.add_reference('job', 'tag', 'env');
DELETE FROM job WHERE tag = 'e4';
UPDATE job SET tag = 'e1';
SELECT runops.add_reference('job', 'tag', 'env');
UPDATE job SET tag = 'gone';

-- a table keeps its references when it is routed, and when it is not any more
SET client_min_messages = warning;
CREATE TABLE page (id int, run text NOT NULL CONSTRAINT page_run REFERENCES runops_legacy."Run" (id), env text REFERENCES env, PRIMARY KEY (run, id));
CREATE INDEX ON page (env);
SELECT runops.add_reference('page', 'run', '"Run"');
RESET client_min_messages;
SELECT runops.attach('page', 'run');
SELECT runops.attach('env', 'id');
SELECT count(*) > 0 AS provisioned FROM runops.provision('new');
SELECT child, child_column, parent, replaces_foreign_key FROM runops.reference_keys
WHERE child IN ('page'::regclass, 'job'::regclass, '"Run"'::regclass) ORDER BY child::text COLLATE "C", child_column;
INSERT INTO page VALUES (1, 'c00000000000000000000re99');
INSERT INTO page VALUES (1, '0123456789abcdefghijklmnr99');
INSERT INTO env VALUES ('0123456789abcdefghijklmne01');
INSERT INTO page VALUES (1, 'c00000000000000000000ref1', 'e1'), (2, '0123456789abcdefghijklmnr00', NULL);
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmnr00', '0123456789abcdefghijklmne01');
INSERT INTO "Run" VALUES ('c00000000000000000000ref8', '0123456789abcdefghijklmne01');
INSERT INTO page VALUES (1, 'c00000000000000000000ref1', 'e1'), (2, '0123456789abcdefghijklmnr00', NULL);
DELETE FROM env WHERE id = '0123456789abcdefghijklmne01';
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklmnr00';
SELECT runops.detach('page', force => true);
INSERT INTO page VALUES (2, '0123456789abcdefghijklmnr99');
INSERT INTO page VALUES (2, '0123456789abcdefghijklmnr00');
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklmnr00';
DROP TABLE page;
DELETE FROM "Run" WHERE "envId" = '0123456789abcdefghijklmne01';
DELETE FROM env WHERE id = '0123456789abcdefghijklmne01';
SELECT runops.detach('env');
SELECT child, child_column, parent, replaces_foreign_key FROM runops.reference_keys
WHERE child IN ('job'::regclass, '"Run"'::regclass) ORDER BY child::text COLLATE "C", child_column;
UPDATE "Run" SET "envId" = 'gone' WHERE id = 'c00000000000000000000ref1';
UPDATE job SET env = 'gone';
SELECT runops.detach('job', force => true);
DROP TABLE job;

-- drop and detach make the foreign keys again
SELECT runops.drop_reference('item', 'run', '"Run"');
SELECT conrelid::regclass, pg_get_constraintdef(oid), convalidated FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'refs'::regnamespace ORDER BY conrelid::regclass::text COLLATE "C";
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN ('item'::regclass, 'note'::regclass, 'env'::regclass) ORDER BY 1, 2;
SELECT runops.detach('"Run"', force => true);
SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated, obj_description(oid, 'pg_constraint') FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'refs'::regnamespace ORDER BY conrelid::regclass::text COLLATE "C";
SELECT * FROM runops.reference_keys;
SELECT tgrelid::regclass, tgname FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
WHERE NOT tgisinternal AND relnamespace = 'refs'::regnamespace ORDER BY 1, 2;

SELECT runops.remote_exec('new', 'DROP SCHEMA refs CASCADE');
DROP SCHEMA refs CASCADE;
