--
-- setup_attach: a plain table becomes the legacy leaf of a routed table, which takes
-- its name
--
\set SHOW_CONTEXT never
\connect runops_store
CREATE SCHEMA attach_test;
CREATE TABLE attach_test."Task Run" (id text PRIMARY KEY, "friendlyId" varchar(40), n int NOT NULL, note text);
\connect contrib_regression
CREATE SCHEMA attach_test;
CREATE TABLE attach_test."Task Run" (
	dropped int,
	id text PRIMARY KEY,
	"friendlyId" varchar(40) UNIQUE,
	n int NOT NULL DEFAULT 7 CHECK (n > 0),
	note text
);
ALTER TABLE attach_test."Task Run" DROP COLUMN dropped;
CREATE INDEX ON attach_test."Task Run" (n);
INSERT INTO attach_test."Task Run" (id, "friendlyId", n)
SELECT 'c' || lpad(i::text, 24, '0'), 'run_c' || lpad(i::text, 24, '0'), i FROM generate_series(1, 20) i;
INSERT INTO attach_test."Task Run" (id) VALUES ('odd'), ('');
CREATE TEMP TABLE before AS
SELECT c.oid, c.relname, c.relfilenode FROM pg_class c
WHERE c.oid = 'attach_test."Task Run"'::regclass
	OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'attach_test."Task Run"'::regclass);
PREPARE by_id(text) AS SELECT tableoid::regclass, n FROM attach_test."Task Run" WHERE id = $1;
EXECUTE by_id('c000000000000000000000003');

SELECT runops.attach('attach_test."Task Run"', 'id', '{friendlyId}');

-- every row, OID and file is still there, and the name stands for all stores
SELECT count(*) FROM attach_test."Task Run" WHERE tableoid = 'runops_legacy."Task Run"'::regclass;
SELECT b.relname, b.oid = c.oid AND b.relfilenode = c.relfilenode AS same, c.relnamespace::regnamespace
FROM before b JOIN pg_class c USING (oid) ORDER BY 1;
EXECUTE by_id('c000000000000000000000003');
\d attach_test."Task Run"
\d runops_legacy."Task Run"
SELECT pg_get_partition_constraintdef('runops_legacy."Task Run"'::regclass);
SELECT ftoptions FROM pg_foreign_table WHERE ftrelid = 'runops_new."Task Run"'::regclass;
SELECT * FROM runops.routed_tables WHERE relation = 'attach_test."Task Run"'::regclass;

-- a missing id and an odd one are what they were
INSERT INTO attach_test."Task Run" (id) VALUES (NULL);
INSERT INTO attach_test."Task Run" (id) VALUES ('odd too') RETURNING tableoid::regclass;
-- the alias is kept in step
INSERT INTO attach_test."Task Run" (id, "friendlyId")
VALUES ('c000000000000000000000099', 'run_' || repeat('A', 27));
UPDATE attach_test."Task Run" SET "friendlyId" = 'run_odd' WHERE id = 'odd';

-- a second table of the same name gets another leaf, and its indexes other names
CREATE SCHEMA "attach.2";
CREATE TABLE "attach.2"."Task Run" (id varchar(30) COLLATE "C" PRIMARY KEY, n int);
CREATE INDEX "Task Run_n_idx" ON "attach.2"."Task Run" (n);
INSERT INTO "attach.2"."Task Run" VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('"attach.2"."Task Run"', 'id');
SELECT relation, leaf, leaves FROM runops.routed_tables WHERE relation::text ~ 'Task Run' ORDER BY 1;
\d runops_legacy."attach.2.Task Run"

-- stores come and go in either order with tables
SELECT runops.add_store('e', 'run_ops', remote_schema => 'shard e');
SELECT relation, leaves FROM runops.routed_tables WHERE relation::text ~ 'Task Run' ORDER BY 1;
CREATE TABLE attach_test.later (id text NOT NULL);
SELECT runops.attach('attach_test.later', 'id');
SELECT c.relname, n.nspname, pg_get_expr(c.relpartbound, c.oid), f.ftoptions
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_foreign_table f ON f.ftrelid = c.oid
WHERE i.inhparent = 'attach_test.later'::regclass ORDER BY 2;
SELECT store, residency, server, reader, remote_schema FROM runops.stores ORDER BY 1;
SELECT runops.drop_store('e');
SELECT relation, leaves FROM runops.routed_tables WHERE relation::text ~ 'Task Run|later' ORDER BY 1;
-- the key under another name
ALTER TABLE attach_test.later RENAME id TO "The Id";
SELECT relation, key FROM runops.routed_tables WHERE relation::text ~ 'later';
SET search_path = runops, public;
SELECT relation, key FROM runops.routed_tables WHERE relation::text ~ 'later';
RESET search_path;
ALTER TABLE attach_test.later RENAME "The Id" TO id;
SELECT to_regnamespace('runops_shard_e');
\set VERBOSITY sqlstate
INSERT INTO attach_test.later VALUES (repeat('0', 24) || 'e2');
\set VERBOSITY default

-- a domain, and a partitioned table with an attribute number of its own
CREATE DOMAIN attach_test.run_id AS text CHECK (VALUE <> 'never');
CREATE TABLE attach_test.parted (gone int, id attach_test.run_id NOT NULL, at date NOT NULL,
	n int GENERATED ALWAYS AS IDENTITY) PARTITION BY RANGE (at);
ALTER TABLE attach_test.parted DROP COLUMN gone;
CREATE TABLE attach_test.parted_old PARTITION OF attach_test.parted FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE attach_test.parted_now PARTITION OF attach_test.parted FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
INSERT INTO attach_test.parted VALUES ('c000000000000000000000001', '2025-05-05'), ('c000000000000000000000002', '2026-05-05');
SELECT runops.attach('attach_test.parted', 'id');
INSERT INTO attach_test.parted VALUES ('c000000000000000000000003', '2026-06-06');
SELECT tableoid::regclass, id, n FROM attach_test.parted WHERE id IN ('c000000000000000000000001', 'c000000000000000000000002', 'c000000000000000000000003') ORDER BY id;
SELECT runops.attach('attach_test.parted_now', 'id');

-- prepared in advance, the table is not scanned under the lock
CREATE TABLE attach_test.big (id text NOT NULL, "batchId" text);
INSERT INTO attach_test.big SELECT 'c' || lpad(i::text, 24, '0') FROM generate_series(1, 10) i;
CALL runops.prepare_attach('attach_test.big', 'id', '{batchId}');
\d attach_test.big
-- what a first call left undone is completed by the next
ALTER TABLE attach_test.big DROP CONSTRAINT runops_store;
ALTER TABLE attach_test.big ADD CONSTRAINT runops_store
	CHECK (runops.store_of(id) IS NULL OR runops.store_of(id) = 'legacy') NOT VALID;
CALL runops.prepare_attach('attach_test.big', 'id', '{batchId}');
SELECT conname, convalidated FROM pg_constraint WHERE conrelid = 'attach_test.big'::regclass AND contype = 'c' ORDER BY 1;
BEGIN;
SELECT pg_stat_get_xact_numscans('attach_test.big'::regclass) AS before \gset
SELECT runops.attach('attach_test.big', 'id', '{batchId}');
SELECT pg_stat_get_xact_numscans('runops_legacy.big'::regclass) - :before AS scans;
COMMIT;
CREATE TABLE attach_test.unprepared (id text NOT NULL);
BEGIN;
SELECT runops.attach('attach_test.unprepared', 'id');
SELECT pg_stat_get_xact_numscans('runops_legacy.unprepared'::regclass) > 0 AS scanned;
COMMIT;
-- rows of other stores are found before anything is added
CREATE TABLE attach_test.misplaced (id text NOT NULL);
INSERT INTO attach_test.misplaced VALUES (repeat('a', 27));
CALL runops.prepare_attach('attach_test.misplaced', 'id');
\d attach_test.misplaced

-- a foreign key that each store holds for itself is nothing to report
CREATE TABLE attach_test.owner (id text PRIMARY KEY);
CREATE TABLE attach_test.owned (id text PRIMARY KEY, "ownerId" text NOT NULL REFERENCES attach_test.owner);
CREATE TABLE attach_test.stray (id text PRIMARY KEY, "ownerId" text REFERENCES attach_test.owner);
SET client_min_messages = warning;
SELECT runops.attach('attach_test.owned', 'ownerId');
SELECT runops.attach('attach_test.stray', 'id');
RESET client_min_messages;
SELECT runops.attach('attach_test.owner', 'id');

-- the wait for the lock is the function's own
SHOW lock_timeout;

SELECT runops.detach(relation) FROM runops.table_config WHERE relation::text ~ 'attach' ORDER BY relation;
\d attach_test."Task Run"
\d "attach.2"."Task Run"
INSERT INTO attach_test.parted VALUES ('c000000000000000000000004', '2025-06-06') RETURNING n;
ALTER TABLE attach_test.parted ALTER n DROP IDENTITY;
SET client_min_messages = warning;
DROP SCHEMA attach_test, "attach.2" CASCADE;
\connect runops_store
SET client_min_messages = warning;
DROP SCHEMA attach_test CASCADE;
