-- mint_anchors: children are in the store of their parents, in every database

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema anchors
\i :helpers
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE "Child" (gone int, id text PRIMARY KEY, "parentId" varchar(40), "rootId" text, n int);
ALTER TABLE "Child" DROP COLUMN gone;
CREATE INDEX ON "Child" ("parentId");
SELECT runops.attach('"Child"', 'id');
SELECT count(*) FROM unnest('{new,a}'::text[]) s, runops.provision(s, relation => '"Child"') WHERE action = 'create';
RESET client_min_messages;
INSERT INTO "Child" VALUES (:'L', :'L2', NULL, 1), (:'L2', NULL, :'L', 2), (:'N', :'K', 'odd', 3), (:'K', NULL, :'N', 4), (:'A', 'odd', NULL, 5);

-- what is refused
SELECT runops.add_anchor(NULL, 'id', 'parentId');
SELECT runops.add_anchor('local', 'k', 'ref');
SELECT runops.add_anchor('"Child"', 'rootId', 'parentId');
SELECT runops.add_anchor('"Child"', 'id', 'nothing');
SELECT runops.add_anchor('"Child"', 'id', 'n');
SELECT runops.add_anchor('"Child"', 'id', 'id');
SELECT runops.add_anchor('run', 'id', 'friendlyId');
SELECT runops.drop_anchor('"Child"', 'id', 'parentId');
SELECT runops.drop_anchor('run', 'id', 'friendlyId');
SELECT runops.drop_anchor('"Child"', 'id', 'parentId', if_exists => true);
CREATE ROLE anchors_other;
GRANT USAGE ON SCHEMA anchors TO anchors_other;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA runops TO anchors_other;
GRANT SELECT ON runops.table_config TO anchors_other;
SET ROLE anchors_other;
SELECT runops.add_anchor('"Child"', 'id', 'parentId');
SELECT * FROM runops.anchors;
RESET ROLE;

-- rows that contradict it, in either database
INSERT INTO "Child" VALUES ('clegacy000000000000000003', :'N', NULL, 6), ('clegacy000000000000000004', :'K', NULL, 7);
SELECT runops.add_anchor('"Child"', 'id', 'parentId');
DELETE FROM "Child" WHERE n IN (6, 7);
INSERT INTO "Child" VALUES ('0123456789abcdefghijklmnb1', :'L', NULL, 6);
SELECT runops.add_anchor('"Child"', 'id', 'parentId');
UPDATE "Child" SET "parentId" = :'A' WHERE n = 6;
SELECT runops.add_anchor('"Child"', 'id', 'parentId');
DELETE FROM "Child" WHERE n = 6;
SELECT conrelid::regclass, conname FROM pg_constraint WHERE conname LIKE 'runops_alias_parent%';
SELECT runops.remote_query('new', $$SELECT conname FROM pg_constraint WHERE conname LIKE 'runops_alias_parent%'$$);

SELECT runops.add_anchor('"Child"', 'id', 'parentId');
SELECT runops.add_anchor('"Child"', 'id', 'parentId');
SELECT * FROM runops.anchors;
SELECT key, aliases FROM runops.routed_tables WHERE relation = '"Child"'::regclass;
SELECT conrelid::regclass AS on, conname, convalidated FROM pg_constraint WHERE conname LIKE 'runops_alias_parent%' ORDER BY 1;
SELECT runops.remote_query('new', $$SELECT conrelid::regclass::text AS "on", conname, convalidated FROM pg_constraint WHERE conname LIKE 'runops_alias_parent%' ORDER BY 1$$);
SELECT object, action, detail FROM unnest('{new,a}'::text[]) s, runops.provision(s, true, '"Child"') WHERE action <> 'exists';
SELECT store, finding, detail FROM runops.verify('"Child"');

-- INSERT, COPY and UPDATE of a row whose parent is elsewhere
\set VERBOSITY terse
INSERT INTO "Child" VALUES ('clegacy000000000000000003', :'N');
INSERT INTO "Child" VALUES ('0123456789abcdefghijklmnb1', :'L');
INSERT INTO "Child" VALUES ('0123456789abcdefghijklmnb1', :'A');
INSERT INTO "Child" VALUES ('0123456789abcdefghijklmoa2', :'L');
INSERT INTO "Child" VALUES ('0123456789abcdefghijklmoa2', :'N');
INSERT INTO "Child" SELECT '0123456789abcdefghijklmoa' || i, :'L2' FROM generate_series(1, 2) i;
COPY "Child" (id, "parentId") FROM stdin;
0123456789abcdefghijklmnb1	clegacy000000000000000001
\.
COPY "Child" (id, "parentId") FROM stdin;
clegacy000000000000000003	0123456789abcdefghijklmna1
\.
UPDATE "Child" SET "parentId" = :'N' WHERE id = :'L';
UPDATE "Child" SET "parentId" = :'L' WHERE id = :'N';
UPDATE "Child" SET "parentId" = :'L' WHERE n = 3;
UPDATE "Child" SET n = 3, "parentId" = substr(:'L', 1, 25) WHERE "parentId" = :'K' RETURNING *;
UPDATE "Child" SET "parentId" = "rootId" || '' WHERE id = :'L2';
SET runops.enable_routing = off;
UPDATE "Child" SET "parentId" = :'L' WHERE id = :'N';
INSERT INTO "Child" VALUES ('0123456789abcdefghijklmnb1', :'L');
RESET runops.enable_routing;
INSERT INTO runops_new."Child" (id, "parentId") VALUES ('0123456789abcdefghijklmnb1', :'L');
-- a key that belongs elsewhere is told first
UPDATE "Child" SET id = :'L', "parentId" = :'L' WHERE n = 3;
\set VERBOSITY default
INSERT INTO "Child" VALUES ('0123456789abcdefghijklmnb1', :'L');
-- and by somebody in the other database
\connect runops_store
\set VERBOSITY terse
INSERT INTO anchors."Child" (id, "parentId") VALUES ('0123456789abcdefghijklmnb1', 'clegacy000000000000000001');
INSERT INTO anchors_a."Child" (id, "parentId") VALUES ('0123456789abcdefghijklmnb2', '0123456789abcdefghijklmna1');
UPDATE anchors."Child" SET "parentId" = 'clegacy000000000000000001';
INSERT INTO anchors."Child" (id, "parentId") VALUES ('0123456789abcdefghijklmnb1', '0123456789abcdefghijklmna1');
\connect contrib_regression
SET search_path = anchors;
SET runops.enable_shipping = off;
\set VERBOSITY terse
-- what is fine: no parent, an unclassifiable one, one of the same store
INSERT INTO "Child" VALUES ('0123456789abcdefghijklmnc1', NULL), ('0123456789abcdefghijklmnd1', 'odd'), ('clegacy000000000000000005', ''),
	('0123456789abcdefghijklmne1', :'K'), ('0123456789abcdefghijklmoa2', :'A'), ('odd', :'L');
UPDATE "Child" SET "parentId" = :'N' WHERE id = '0123456789abcdefghijklmnc1' RETURNING id, "parentId";
UPDATE "Child" SET "parentId" = :'L2' WHERE id = 'clegacy000000000000000005' RETURNING id, "parentId";

-- the planner reads it like the key
EXPLAIN (COSTS OFF) SELECT * FROM "Child" WHERE "parentId" = :'N';
EXPLAIN (COSTS OFF) SELECT * FROM "Child" WHERE "parentId" = :'L2';
SELECT * FROM shape(ids($$SELECT id FROM "Child" WHERE "parentId" = {N}$$));
SELECT * FROM shape(ids($$SELECT id FROM "Child" WHERE "parentId" = {L2}$$));
SELECT * FROM shape(ids($$SELECT id FROM "Child" WHERE "parentId" = {A}$$));
SELECT * FROM shape(ids($$SELECT id FROM "Child" WHERE "parentId" IN ({A}, {K})$$));
SELECT * FROM shape(ids($$SELECT id FROM "Child" WHERE "parentId" = 'odd'$$));
SELECT * FROM shape(ids($$SELECT c.id FROM run r JOIN "Child" c ON c."parentId" = r.id WHERE r.id = {N}$$));
PREPARE by_parent(text) AS SELECT id FROM "Child" WHERE "parentId" = $1;
EXPLAIN (COSTS OFF) EXECUTE by_parent(:'N');
-- the other column is none
SELECT * FROM shape(ids($$SELECT id FROM "Child" WHERE "rootId" = {N}$$));

-- an UPDATE of other columns is still sent as a whole
EXPLAIN (COSTS OFF) UPDATE "Child" SET n = 1 WHERE id = :'N';

-- prepared for a big table: nothing is left to scan
CALL runops.prepare_anchor('"Child"', 'id', 'rootId');
CALL runops.prepare_anchor('"Child"', 'id', 'rootId');
SELECT conrelid::regclass, convalidated FROM pg_constraint WHERE conname = 'runops_alias_rootId';
\set VERBOSITY terse
SELECT runops.add_anchor('"Child"', 'id', 'rootId');
SELECT * FROM runops.anchors ORDER BY parent_key;
EXECUTE by_parent(:'L2');
SELECT * FROM shape(ids($$SELECT id FROM "Child" WHERE "rootId" = {N}$$));
SELECT runops.drop_anchor('"Child"', 'id', 'rootId');
SELECT count(*) FROM pg_constraint WHERE conname = 'runops_alias_rootId';
SELECT runops.remote_query('new', $$SELECT conname FROM pg_constraint WHERE conname LIKE 'runops_alias_root%'$$);
SELECT * FROM shape(ids($$SELECT id FROM "Child" WHERE "rootId" = {N}$$));
SELECT aliases FROM runops.routed_tables WHERE relation = '"Child"'::regclass;

-- an anchor whose column is dropped
SELECT runops.add_anchor('"Child"', 'id', 'rootId');
SET client_min_messages = warning;
ALTER TABLE "Child" DROP COLUMN "rootId";
RESET client_min_messages;
SELECT relation, store, finding, detail FROM runops.verify('"Child"') WHERE detail LIKE '%alias%';
SELECT runops.drop_anchor('"Child"', 'id', 'rootId');
SELECT relation, store, finding, detail FROM runops.verify('"Child"') WHERE detail LIKE '%alias%';

-- a key that is an expression goes by the column that leads it
SELECT runops.add_anchor('waitpoint', 'id', 'batchId');
SELECT runops.add_anchor('waitpoint', 'runId', 'batchId');
UPDATE waitpoint SET "batchId" = NULL WHERE id = 'w4';
SELECT runops.add_anchor('waitpoint', 'runId', 'batchId');
SELECT * FROM runops.anchors WHERE parent_key = 'batchId';

-- a table that somebody else made in the store, and one that is not there
CREATE TABLE other (id text PRIMARY KEY, parent text);
CREATE TABLE nowhere (id text PRIMARY KEY, parent text);
SET client_min_messages = warning;
SELECT runops.attach('other', 'id');
SELECT runops.attach('nowhere', 'id');
SELECT runops.remote_exec('new', 'CREATE TABLE anchors.other (id text PRIMARY KEY, parent text)');
\set VERBOSITY default
SELECT runops.add_anchor('nowhere', 'id', 'parent');
SELECT runops.add_anchor('other', 'id', 'parent');
\set VERBOSITY terse
SELECT finding, detail FROM runops.verify('other') WHERE store = 'new' AND detail LIKE '%alias%';
-- until it is there the wrapper checks
INSERT INTO other VALUES (:'N', :'L');
INSERT INTO other VALUES (:'N', :'K');
UPDATE other SET parent = :'L' WHERE id = :'N';
UPDATE other SET parent = :'L' WHERE id = :'N' RETURNING *;
SELECT count(*) FROM runops.provision('new', relation => 'nowhere') WHERE action = 'create' AND object LIKE '%alias%';
SELECT runops.remote_query('new', $$SELECT conrelid::regclass::text AS "on" FROM pg_constraint WHERE conname = 'runops_alias_parent'$$);

-- detach drops it, and it is forgotten
SELECT runops.detach('other', force => true);
SELECT child FROM runops.anchors WHERE parent_key = 'parent';
SELECT conname FROM pg_constraint WHERE conrelid = 'other'::regclass AND contype <> 'n';
-- a name that is taken
ALTER TABLE runops_legacy.nowhere ADD CONSTRAINT "runops_alias_id2" CHECK (true);
ALTER TABLE nowhere ADD COLUMN id2 text;
SELECT runops.add_anchor('nowhere', 'id', 'id2');
SELECT runops.detach('nowhere', force => true);

\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
DROP OWNED BY anchors_other;
DROP ROLE anchors_other;
