--
-- setup_attach_expression_key: attach with a key over several columns, like the key
-- of a waitpoint
--
\set SHOW_CONTEXT never
\connect runops_store
CREATE SCHEMA keys;
CREATE TABLE keys."Waitpoint" (id text PRIMARY KEY, "completedByTaskRunId" varchar(30), "completedByBatchId" text, note text);
\connect contrib_regression
CREATE SCHEMA keys;
CREATE TABLE keys."Waitpoint" (
	a int, b int,
	id text PRIMARY KEY,
	"completedByTaskRunId" varchar(30) UNIQUE,
	"completedByBatchId" text,
	note text
);
ALTER TABLE keys."Waitpoint" DROP COLUMN a, DROP COLUMN b;
INSERT INTO keys."Waitpoint" VALUES
	('c000000000000000000000001', 'c000000000000000000000001', NULL, 'run'),
	('c000000000000000000000002', NULL, 'c000000000000000000000002', 'batch'),
	('c000000000000000000000003', NULL, NULL, 'token');

CALL runops.prepare_attach('keys."Waitpoint"', 'COALESCE("completedByTaskRunId", "completedByBatchId", id)');
BEGIN;
SELECT pg_stat_get_xact_numscans('keys."Waitpoint"'::regclass) AS before \gset
SELECT runops.attach('keys."Waitpoint"', 'COALESCE("completedByTaskRunId", "completedByBatchId", id)');
SELECT pg_stat_get_xact_numscans('runops_legacy."Waitpoint"'::regclass) - :before AS scans;
COMMIT;
\d keys."Waitpoint"
\d runops_legacy."Waitpoint"
SELECT key, aliases FROM runops.routed_tables WHERE relation = 'keys."Waitpoint"'::regclass;

-- the first owner that is set decides, whatever the shape of the id
INSERT INTO keys."Waitpoint" VALUES
	('c000000000000000000000011', repeat('R', 27), NULL, 'run of store new'),
	('c000000000000000000000012', NULL, repeat('B', 27), 'batch of store new'),
	('c000000000000000000000013', 'c000000000000000000000004', repeat('B', 27), 'run before batch'),
	(repeat('W', 27), 'c000000000000000000000003', NULL, 'run before id');
SELECT tableoid::regclass, note FROM keys."Waitpoint" ORDER BY id COLLATE "C";
\connect runops_store
SELECT id, note FROM keys."Waitpoint" ORDER BY id COLLATE "C";
\connect contrib_regression
\set SHOW_CONTEXT never
-- any column of the key may change, as long as the store does not
UPDATE keys."Waitpoint" SET "completedByBatchId" = 'c000000000000000000000005' WHERE id = 'c000000000000000000000002' RETURNING note;
\set VERBOSITY sqlstate
UPDATE keys."Waitpoint" SET "completedByTaskRunId" = repeat('R', 27) WHERE id = 'c000000000000000000000003';
UPDATE keys."Waitpoint" SET "completedByTaskRunId" = NULL WHERE "completedByTaskRunId" = repeat('R', 27);
\set VERBOSITY default

SELECT runops.detach('keys."Waitpoint"');
SELECT runops.detach('keys."Waitpoint"', force => true);
\d keys."Waitpoint"

-- what can be proven never to be NULL
CREATE FUNCTION keys.upper_id(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';
CREATE TABLE keys.t (id text NOT NULL, run text);
CALL runops.prepare_attach('keys.t', 'CASE WHEN run = '''' THEN id ELSE COALESCE(run, id) END', '{run}');
SELECT runops.attach('keys.t', 'CASE WHEN run = '''' THEN id ELSE COALESCE(run, id) END', '{run}');
SELECT pg_get_partkeydef('keys.t'::regclass);
SELECT runops.detach('keys.t');
SELECT runops.attach('keys.t', 'COALESCE(run, keys.upper_id(id), id)');
SELECT pg_get_partkeydef('keys.t'::regclass);
SELECT runops.detach('keys.t');
SELECT runops.attach('keys.t', 'CASE WHEN run = '''' THEN id END');
SELECT runops.attach('keys.t', 'keys.upper_id(id)');
-- an expression that is but a column
SELECT runops.attach('keys.t', ' (ID) ');
SELECT pg_get_partkeydef('keys.t'::regclass);
SELECT runops.detach('keys.t');
CREATE TABLE keys.quoted ("runId" text NOT NULL);
SELECT runops.attach('keys.quoted', '"runId"');
SELECT pg_get_partkeydef('keys.quoted'::regclass);
SELECT runops.detach('keys.quoted');

SET client_min_messages = warning;
DROP SCHEMA keys CASCADE;
\connect runops_store
SET client_min_messages = warning;
DROP SCHEMA keys CASCADE;
