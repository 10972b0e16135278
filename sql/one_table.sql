-- one_table: one table with all kinds of triggers and constraints at the same time

CREATE SCHEMA one;
SET search_path = one, public;

CREATE TABLE env (id text PRIMARY KEY);
CREATE TABLE "Task Run" (
	gone int,
	id text PRIMARY KEY,
	"envId" text NOT NULL,
	"parentId" text,
	also_gone int,
	key text,
	"keyExpiresAt" timestamptz,
	status text NOT NULL DEFAULT 'PENDING');
ALTER TABLE "Task Run" DROP gone, DROP also_gone;
CREATE INDEX ON "Task Run" ("envId");
CREATE INDEX ON "Task Run" ("parentId");
CREATE TABLE alert (id int PRIMARY KEY, "runId" text REFERENCES "Task Run");
CREATE INDEX ON alert ("runId");
INSERT INTO env VALUES ('e1'), ('e2');
INSERT INTO "Task Run" VALUES ('c00000000000000000000one1', 'e1', NULL, 'k1');

SET client_min_messages = warning;
SELECT runops.attach('"Task Run"', 'id');
SELECT count(*) > 0 AS created FROM runops.provision('new', relation => '"Task Run"') WHERE action = 'create';
SELECT runops.add_anchor('"Task Run"', 'id', 'parentId');
SELECT runops.add_unique('"Task Run"', '{envId,key}', 'key IS NOT NULL', 'run_key');
SELECT runops.add_idempotency('"Task Run"', '{envId,key}', 'keyExpiresAt', $$status = 'FAILED'$$);
SELECT runops.add_reference('"Task Run"', 'envId', 'env');
SELECT runops.add_reference('alert', 'runId', '"Task Run"');
SELECT runops.add_cascade('"Task Run"', 'alert', 'runId');
SELECT runops.add_cascade('env', '"Task Run"', 'envId');
SELECT runops.set_retention('"Task Run"', '30 days');
SELECT finding, detail FROM runops.verify('"Task Run"');
RESET client_min_messages;

-- a family of each store
INSERT INTO "Task Run" VALUES ('c00000000000000000000one2', 'e1', 'c00000000000000000000one1', 'k2'),
	('0123456789abcdefghijklmno1', 'e1', NULL, NULL), ('0123456789abcdefghijklmnno1', 'e1', NULL, 'k3'),
	('0123456789abcdefghijklmnno2', 'e1', '0123456789abcdefghijklmnno1', 'k4');
COPY "Task Run" (id, "envId", "parentId", key) FROM stdin;
0123456789abcdefghijklmnno3	e2	0123456789abcdefghijklmnno1	k3
c00000000000000000000one3	e2	c00000000000000000000one1	k1
\.
INSERT INTO alert VALUES (1, '0123456789abcdefghijklmnno1'), (2, 'c00000000000000000000one1');

-- each of them refuses what it is there for, by each way in
INSERT INTO "Task Run" VALUES ('0123456789abcdefghijklmnno4', 'e1', 'c00000000000000000000one1', 'k5');
INSERT INTO "Task Run" VALUES ('0123456789abcdefghijklmnno4', 'e1', NULL, 'k1');
INSERT INTO "Task Run" VALUES ('0123456789abcdefghijklmnno4', 'e9', NULL, 'k5');
UPDATE "Task Run" SET "parentId" = 'c00000000000000000000one1' WHERE id = '0123456789abcdefghijklmnno2';
UPDATE "Task Run" SET key = 'k1' WHERE id = '0123456789abcdefghijklmnno2';
UPDATE "Task Run" SET "envId" = 'e9' WHERE id = '0123456789abcdefghijklmnno2';
UPDATE "Task Run" SET "envId" = 'e2' WHERE id = 'c00000000000000000000one1';
INSERT INTO alert VALUES (3, '0123456789abcdefghijklmnno9');
SELECT id, "envId", "parentId", key FROM "Task Run" ORDER BY id COLLATE "C";

-- what none of them watches is one statement in one store, in each kind of plan
EXPLAIN (COSTS OFF) UPDATE "Task Run" SET status = 'DONE' WHERE id = '0123456789abcdefghijklmnno2';
EXPLAIN (COSTS OFF) SELECT * FROM "Task Run" WHERE "parentId" = '0123456789abcdefghijklmnno1';
PREPARE done(text) AS UPDATE "Task Run" SET status = 'DONE' WHERE id = $1 RETURNING key, status;
PREPARE rekey(text, text) AS UPDATE "Task Run" SET key = $2 WHERE id = $1 RETURNING "envId", key, status;
SET plan_cache_mode = force_generic_plan;
EXECUTE done('0123456789abcdefghijklmnno2');
EXECUTE done('c00000000000000000000one2');
EXECUTE rekey('0123456789abcdefghijklmnno2', 'k6');
EXECUTE rekey('c00000000000000000000one2', 'k6');
EXECUTE rekey('c00000000000000000000one2', 'k4');
RESET plan_cache_mode;

-- a savepoint takes back what all of them remember
BEGIN;
SAVEPOINT s;
UPDATE "Task Run" SET key = 'k7' WHERE id = '0123456789abcdefghijklmnno2';
INSERT INTO "Task Run" VALUES ('c00000000000000000000one7', 'e1', NULL, 'k8');
ROLLBACK TO s;
INSERT INTO "Task Run" VALUES ('c00000000000000000000one7', 'e1', NULL, 'k7'), ('0123456789abcdefghijklmnno8', 'e1', NULL, 'k8');
COMMIT;
SELECT outcome, store, id FROM runops.find_idempotent('"Task Run"', '{"envId": "e1", "key": "k8"}');
UPDATE "Task Run" SET status = 'FAILED' WHERE id = '0123456789abcdefghijklmnno8';
SELECT outcome, store, id FROM runops.find_idempotent('"Task Run"', '{"envId": "e1", "key": "k8"}');
INSERT INTO "Task Run" VALUES ('c00000000000000000000one8', 'e1', NULL, 'k8');
SELECT source, "row" ->> 'key' AS key FROM runops.read_through('"Task Run"', '0123456789abcdefghijklmnno2', '{"envId": "e1"}');

-- without the planner hooks
SET runops.enable_routing = off;
UPDATE "Task Run" SET key = 'k1' WHERE id = '0123456789abcdefghijklmnno2';
UPDATE "Task Run" SET "envId" = 'e9' WHERE id = '0123456789abcdefghijklmnno2';
INSERT INTO "Task Run" VALUES ('0123456789abcdefghijklmnno4', 'e1', 'c00000000000000000000one1', 'k5');
RESET runops.enable_routing;

-- an environment goes, with all that hangs on it
DELETE FROM env WHERE id = 'e1';
INSERT INTO "Task Run" VALUES ('0123456789abcdefghijklmnno9', 'e1', NULL, 'k9');
SELECT runops.cleanup() > 0 AS cleaned;
SELECT runops.cleanup();
SELECT id, "envId", key FROM "Task Run" ORDER BY id COLLATE "C";
SELECT * FROM alert;
SELECT runops.remote_query('new', 'SELECT id, key FROM one."Task Run" ORDER BY id COLLATE "C"');
SELECT * FROM runops.check_unique('"Task Run"');

-- and nothing is left of them on the plain table
SET client_min_messages = warning;
SELECT runops.detach('"Task Run"', force => true);
RESET client_min_messages;
SELECT tgname FROM pg_trigger WHERE tgrelid = '"Task Run"'::regclass AND NOT tgisinternal ORDER BY 1;
SELECT conname, contype FROM pg_constraint WHERE conrelid IN ('"Task Run"'::regclass, 'alert'::regclass) AND contype <> 'n' ORDER BY 1;
SELECT (SELECT count(*) FROM runops.anchors) AS anchors, (SELECT count(*) FROM runops.unique_keys) AS unique_keys,
	(SELECT count(*) FROM runops.reference_keys) AS reference_keys, (SELECT count(*) FROM runops.retentions) AS retentions,
	(SELECT count(*) FROM runops.idempotency_keys) AS idempotency_keys;

SELECT parent, child, child_column FROM runops.cascades ORDER BY 1, 2;
SELECT runops.drop_cascade(parent, child, child_column) FROM runops.cascades;
SELECT runops.remote_exec('new', 'DROP SCHEMA one CASCADE');
SET client_min_messages = warning;
DROP SCHEMA one CASCADE;
