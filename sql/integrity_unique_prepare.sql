--
-- integrity_unique_prepare: prepare_unique reads the rows for a key before add_unique
-- locks the table, and checks and repairs compare single keys.  What writers do
-- meanwhile is tested in the spec integrity-unique-online.
--
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE SCHEMA prep;
SET search_path = prep, public;
CREATE TYPE color AS ENUM ('red', 'green', 'it''s %s');
CREATE DOMAIN word AS varchar(20) CHECK (VALUE <> 'never');
CREATE TABLE "Run" (id text PRIMARY KEY, "the Key" text, day timestamptz, color color, word word, numbers int[], status varchar(10) NOT NULL DEFAULT 'RUN', n numeric);
SELECT runops.attach('"Run"', 'id');
SELECT count(*) > 0 AS created FROM runops.provision('new', relation => '"Run"') WHERE action = 'create';
INSERT INTO "Run" VALUES
	('c00000000000000000000pre1', 'k%1$s', '2026-02-03 04:05:06.789+00', 'red', 'a', '{1,2}', 'RUN', 1.50),
	('c00000000000000000000pre2', E'k''2\\', '2026-02-03 04:05:06.789+00', 'it''s %s', 'b"', '{3,NULL}', 'RUN', 1e20),
	('c00000000000000000000pre3', NULL, NULL, NULL, NULL, NULL, 'RUN', NULL),
	('0123456789abcdefghijklp101', 'k{3}', '2026-02-03 04:05:06.78+00', 'green', 'c', '{{1},{2}}', 'FAILED', -0.1),
	('0123456789abcdefghijklp201', 'k,4', 'infinity', 'red', 'NULL', '{}', 'RUN', 'NaN');

-- prepared: nothing is enforced, and what is touched is noted
CALL runops.prepare_unique('"Run"', '{"the Key",day,color,word,numbers,n}', name => 'all');
SELECT relation, name, columns, stores, enforced FROM runops.unique_keys;
SELECT count(*) FROM runops_unique."all";
UPDATE "Run" SET n = n + 1 WHERE id = 'c00000000000000000000pre1';
UPDATE "Run" SET status = 'RUN' WHERE id = '0123456789abcdefghijklp101';
UPDATE "Run" SET day = day + interval '1 day' WHERE id = '0123456789abcdefghijklp101';
INSERT INTO "Run" SELECT '0123456789abcdefghijklp301', "the Key", day, color, word, numbers, status, n FROM "Run" WHERE id = 'c00000000000000000000pre2';
DELETE FROM "Run" WHERE id = 'c00000000000000000000pre2';
SELECT severity, object, finding FROM runops.doctor() WHERE object LIKE '%unique key%';
SELECT * FROM runops.check_unique('"Run"');
SELECT runops.rebuild_unique('"Run"', 'all');
-- the notes and the entries cannot be dropped
DO $$
BEGIN
	EXECUTE format('DROP TABLE %s', (SELECT touched FROM runops.unique_config));
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING '%', regexp_replace(SQLERRM, '\d+', 'N');
END
$$;
-- the values are compared as in every session
SET datestyle = 'German, DMY';
SET timezone = 'Asia/Kathmandu';
SET extra_float_digits = -5;
SELECT runops.add_unique('"Run"', '{"the Key",day,color,word,numbers,n}', name => 'all');
SELECT enforced FROM runops.unique_keys;
SELECT * FROM runops.check_unique('"Run"');
SELECT count(*) FROM runops_unique."all";
\set VERBOSITY sqlstate
INSERT INTO "Run" SELECT '0123456789abcdefghijklp401', "the Key", day, color, word, numbers, status, n FROM "Run" WHERE id = 'c00000000000000000000pre1';
\set VERBOSITY default
-- one row of each store loses its entry, and each is repaired alone
SELECT runops.remote_exec('new', $$UPDATE prep."Run" SET n = n + 1 WHERE id IN ('0123456789abcdefghijklp101', '0123456789abcdefghijklp301')$$);
ALTER TABLE runops_legacy."Run" DISABLE TRIGGER ALL;
UPDATE "Run" SET n = n + 1, color = 'it''s %s' WHERE id = 'c00000000000000000000pre1';
ALTER TABLE runops_legacy."Run" ENABLE TRIGGER ALL;
ALTER TABLE runops_legacy."Run" ENABLE ALWAYS TRIGGER runops_unique, ENABLE ALWAYS TRIGGER runops_unique_update, ENABLE ALWAYS TRIGGER runops_unique_truncate;
SELECT store, finding, count(*) FROM runops.check_unique('"Run"') GROUP BY 1, 2 ORDER BY 1, 2;
SELECT runops.rebuild_unique('"Run"', 'all');
SELECT * FROM runops.check_unique('"Run"');
-- a trigger that is missing makes every row suspect
ALTER TABLE runops_legacy."Run" DISABLE TRIGGER runops_unique_update;
UPDATE "Run" SET n = n + 1 WHERE id = 'c00000000000000000000pre1';
SELECT runops.rebuild_unique('"Run"', 'all');
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'runops_legacy."Run"'::regclass AND NOT tgisinternal ORDER BY 1;
SELECT * FROM runops.check_unique('"Run"');
RESET datestyle;
RESET timezone;
RESET extra_float_digits;
SELECT runops.drop_unique('"Run"', 'all');

-- a predicate that core prints in another way than it was written
CALL runops.prepare_unique('"Run"', '{"the Key"}', $$status <> 'FAILED' AND NOT status IN ('X', 'Y') AND 1 = 1 AND lower("the Key") IS NOT NULL$$);
CALL runops.prepare_unique('"Run"', '{"the Key"}', $$status <> 'FAILED' AND NOT status IN ('X', 'Y') AND 1 = 1 AND lower("the Key") IS NOT NULL$$);
SELECT name, enforced FROM runops.unique_keys;
-- rows that leave the key and enter it
UPDATE "Run" SET status = 'FAILED' WHERE "the Key" = 'k,4';
UPDATE "Run" SET status = 'X' WHERE "the Key" = 'k%1$s';
INSERT INTO "Run" (id, "the Key", status) VALUES ('c00000000000000000000pre4', 'k,4', 'RUN'), ('0123456789abcdefghijklp501', 'k%1$s', 'RUN');
SELECT runops.add_unique('"Run"', '{"the Key"}', $$status <> 'FAILED' AND NOT status IN ('X', 'Y') AND 1 = 1 AND lower("the Key") IS NOT NULL$$);
SELECT * FROM runops_unique."Run_the Key_key" ORDER BY k1;
SELECT * FROM runops.check_unique('"Run"');
SELECT runops.drop_unique('"Run"', 'Run_the Key_key');

-- equal rows
INSERT INTO "Run" (id, "the Key") VALUES ('c00000000000000000000pre5', 'k,4');
CALL runops.prepare_unique('"Run"', '{"the Key"}', name => 'dup');
SELECT runops.add_unique('"Run"', '{"the Key"}', name => 'dup');
SELECT name, enforced, stores FROM runops.unique_keys;
DELETE FROM "Run" WHERE "the Key" IN ('k,4', 'k%1$s');
SELECT runops.add_unique('"Run"', '{"the Key"}', name => 'dup');
SELECT runops.drop_unique('"Run"', 'dup');

-- not in a transaction, nor at another isolation level; not after a store was added
BEGIN;
CALL runops.prepare_unique('"Run"', '{"the Key"}');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT runops.add_unique('"Run"', '{"the Key"}');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT runops.rebuild_unique('"Run"', 'dup');
ROLLBACK;
CALL runops.prepare_unique('"Run"', '{"the Key"}', name => 'late');
SELECT runops.add_store('e', 'run_ops', remote_schema => 'prep e');
SELECT runops.add_unique('"Run"', '{"the Key"}', name => 'late');
CALL runops.prepare_unique('"Run"', '{"the Key"}', name => 'late');
SELECT runops.add_unique('"Run"', '{"the Key"}', name => 'late');
SELECT name, stores, enforced FROM runops.unique_keys;
SELECT runops.drop_store('e');
SELECT runops.drop_unique('"Run"', 'late');

-- only the owner
CREATE ROLE prep_other;
GRANT USAGE ON SCHEMA prep TO prep_other;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA runops TO prep_other;
SET ROLE prep_other;
CALL runops.prepare_unique('"Run"', '{"the Key"}');
RESET ROLE;
DROP OWNED BY prep_other;
DROP ROLE prep_other;

-- detach drops what is prepared
CALL runops.prepare_unique('"Run"', '{"the Key"}');
SELECT runops.detach('"Run"', force => true);
SELECT count(*) FROM runops.unique_config;
SELECT to_regnamespace('runops_unique');
SELECT runops.remote_exec('new', 'DROP SCHEMA prep CASCADE');
RESET search_path;
DROP SCHEMA prep CASCADE;
RESET client_min_messages;
