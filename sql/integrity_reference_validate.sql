--
-- integrity_reference_validate: a reference that is added for new rows, and validated
-- later.  What writers do meanwhile is tested in the spec integrity-reference-online.
--
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE SCHEMA refv;
SET search_path = refv, public;
CREATE TABLE "Env" ("the Id" varchar(20) PRIMARY KEY);
CREATE TABLE "Run" (id text PRIMARY KEY, "envId" varchar(20));
CREATE INDEX ON "Run" ("envId");
SELECT runops.attach('"Run"', 'id');
SELECT count(*) > 0 AS created FROM runops.provision('new', relation => '"Run"') WHERE action = 'create';
INSERT INTO "Env" VALUES ('e1'), (E'e"''%s{\\');
INSERT INTO "Run" VALUES ('c00000000000000000000rfv1', 'e1'), ('0123456789abcdefghijklr101', E'e"''%s{\\'), ('c00000000000000000000rfv2', NULL),
	('0123456789abcdefghijklr201', E'no"''%s{\\'), ('c00000000000000000000rfv3', 'no, {');

-- in one step it is checked, and nothing is left; in two it holds for new rows first
SELECT runops.add_reference('"Run"', 'envId', '"Env"');
SELECT runops.add_reference('"Run"', 'envId', '"Env"', not_valid => true);
SELECT child, child_column, parent, parent_column, validated FROM runops.reference_keys;
INSERT INTO "Run" VALUES ('0123456789abcdefghijklr301', 'no, {');
INSERT INTO "Run" VALUES ('c00000000000000000000rfv4', 'no, {');
DELETE FROM "Env" WHERE "the Id" = 'e1';
SELECT severity, object, finding FROM runops.doctor() WHERE object LIKE 'reference%';
CALL runops.validate_reference('"Run"', 'envId', '"Env"');
DELETE FROM "Run" WHERE "envId" = 'no, {';
CALL runops.validate_reference('"Run"', 'envId', '"Env"');
SELECT validated FROM runops.reference_keys;
-- only the rows of values that are in doubt are read again
SELECT runops._recheck_references('"Run"', 'envId', '"Env"', ARRAY['e1', 'no, {']);
SELECT runops._recheck_references('"Run"', 'envId', '"Env"', ARRAY['e1', E'no"''%s{\\']);

-- not by everybody, nor in a transaction, nor what is not there
BEGIN;
CALL runops.validate_reference('"Run"', 'envId', '"Env"');
ROLLBACK;
-- nor where rows that were committed before the lock may not be visible
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT runops.add_reference('"Run"', 'envId', '"Env"', not_valid => true);
ROLLBACK;
SET default_transaction_isolation = serializable;
CALL runops.validate_reference('"Run"', 'envId', '"Env"');
RESET default_transaction_isolation;
CALL runops.validate_reference('"Run"', 'id', '"Env"');
CALL runops.validate_reference(NULL, NULL, NULL);
CREATE ROLE refv_other;
GRANT USAGE ON SCHEMA refv TO refv_other;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA runops TO refv_other;
SET ROLE refv_other;
CALL runops.validate_reference('"Run"', 'envId', '"Env"');
RESET ROLE;

-- detach and attach keep whether it is valid
SELECT runops.attach('"Env"', '"the Id"');
SELECT child, validated FROM runops.reference_keys;
SELECT runops.detach('"Env"');
SELECT child, validated FROM runops.reference_keys;
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklr201';
CALL runops.validate_reference('"Run"', 'envId', '"Env"');
CALL runops.validate_reference('"Run"', 'envId', '"Env"');
SELECT validated FROM runops.reference_keys;
SELECT count(*) FROM runops.doctor() WHERE object LIKE 'reference%';
SELECT runops.drop_reference('"Run"', 'envId', '"Env"');

-- tables of two owners
ALTER TABLE "Env" OWNER TO refv_other;
SELECT runops.add_reference('"Run"', 'envId', '"Env"', not_valid => true);
SELECT runops.remote_exec('new', $$UPDATE refv."Run" SET "envId" = 'gone' WHERE id = '0123456789abcdefghijklr101'$$);
CALL runops.validate_reference('"Run"', 'envId', '"Env"');
UPDATE "Run" SET "envId" = 'e1' WHERE id = '0123456789abcdefghijklr101';
CALL runops.validate_reference('"Run"', 'envId', '"Env"');
SELECT validated FROM runops.reference_keys;

SELECT runops.detach('"Run"', force => true);
SELECT runops.remote_exec('new', 'DROP SCHEMA refv CASCADE');
DROP OWNED BY refv_other;
DROP ROLE refv_other;
RESET search_path;
DROP SCHEMA refv CASCADE;
RESET client_min_messages;
