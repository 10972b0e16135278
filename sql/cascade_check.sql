--
-- cascade: what a half of a transaction has left is found: children of a deleted
-- parent that is not queued, and rows that refer to a missing row.
--
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET runops.cross_store_writes = allow;
CREATE SCHEMA half;
SET search_path = half, public;
CREATE TABLE "Env" (id text PRIMARY KEY);
CREATE TABLE run (id text PRIMARY KEY, "env Id" text, n int);
CREATE TABLE note (id int PRIMARY KEY, run text);
CREATE INDEX ON run ("env Id");
CREATE INDEX ON note (run);
SELECT runops.attach('run', 'id');
SELECT count(*) > 0 AS provisioned FROM runops.provision('new');
SELECT runops.add_cascade('"Env"', 'run', 'env Id');
SELECT runops.add_cascade('run', 'note', 'run', 'set null');
SELECT runops.add_reference('note', 'run', 'run');
RESET client_min_messages;
INSERT INTO "Env" VALUES ('e1'), ('e2'), ('it''s, "{e3}"');
INSERT INTO run VALUES ('cmcjssmao6dfcc016e6d94f01', 'e1', 1), ('0123456789abcdefghijklmn01', 'e1', 1),
	('0123456789abcdefghijklmn11', 'e2', 1), ('0123456789abcdefghijklmn21', 'it''s, "{e3}"', 1), ('0123456789abcdefghijklmn31', NULL, 1);
INSERT INTO note VALUES (1, '0123456789abcdefghijklmn01'), (2, NULL), (3, '0123456789abcdefghijklmn11');

-- nothing is wrong
SELECT * FROM runops.check_cascade();
SELECT * FROM runops.check_reference();

-- the queue has lost parents, as a half leaves it; one has children in both stores
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM "Env" WHERE id <> 'e2';
COMMIT;
SELECT * FROM runops.check_cascade();
SELECT value, queued FROM runops.check_cascade('"Env"', max_values => 1);
SELECT * FROM runops.check_cascade('run');
SELECT count(*) FROM run;
SELECT * FROM runops.check_cascade('"Env"', repair => true);
SELECT parent, value FROM runops.cascade_queue ORDER BY value;
-- what is queued is no finding any more
SELECT * FROM runops.check_cascade();
SELECT runops.cleanup() > 0 AS cleaned;
SELECT runops.cleanup() AS rest, runops.cleanup() AS nothing;
SELECT id, "env Id" FROM run ORDER BY id;
SELECT * FROM note ORDER BY id;
SELECT * FROM runops.check_cascade();
SELECT count(*) FROM runops.cascade_queue;

-- a referenced row is gone from its store
SELECT runops.remote_exec('new', 'DELETE FROM half.run WHERE id = ''0123456789abcdefghijklmn11''');
SELECT * FROM runops.check_reference();
SELECT * FROM runops.check_reference('note');
SELECT * FROM runops.check_cascade('run');
SELECT value, queued FROM runops.check_cascade('run', repair => true);
SELECT runops.cleanup() AS cleaned;
SELECT * FROM note ORDER BY id;
SELECT * FROM runops.check_reference();

-- what is refused
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM runops.check_cascade();
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM runops.check_reference();
ROLLBACK;

-- failed commits: nothing here
SELECT * FROM runops.commit_failures;
SELECT runops.resolve_commits();
SELECT runops.forget_commit(NULL);

SET client_min_messages = warning;
SELECT runops.drop_reference('note', 'run', 'run');
SELECT runops.drop_cascade('run', 'note', 'run');
SELECT runops.drop_cascade('"Env"', 'run', 'env Id');
SELECT runops.detach('run', force => true);
DROP SCHEMA half CASCADE;
SELECT runops.remote_exec('new', 'DROP SCHEMA half CASCADE');
