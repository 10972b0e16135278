-- a store's table that is partitioned there, or has children: its rows have the same
-- ctid in several tables, and no statement changes a row that it does not name
\connect runops_store
CREATE TABLE sp_run (id text, part int, n int) PARTITION BY LIST (part);
CREATE TABLE sp_run_1 PARTITION OF sp_run FOR VALUES IN (1);
CREATE TABLE sp_run_2 PARTITION OF sp_run FOR VALUES IN (2);
CREATE TABLE "sp Child" (id text, part int, n int);
CREATE TABLE sp_child_1 () INHERITS ("sp Child");
\connect contrib_regression
CREATE TABLE sp_run (id text NOT NULL, part int, n int);
CREATE TABLE "sp Child" (id text NOT NULL, part int, n int);
SELECT runops.attach('sp_run', 'id'), runops.attach('"sp Child"', 'id');
INSERT INTO sp_run VALUES ('0123456789abcdefghijklmna1', 1, 10), ('0123456789abcdefghijklmnb1', 2, 20);
INSERT INTO "sp Child" VALUES ('0123456789abcdefghijklmna1', 1, 10);
\connect runops_store
INSERT INTO sp_child_1 VALUES ('0123456789abcdefghijklmnb1', 2, 20);
SELECT count(DISTINCT ctid), count(*) FROM sp_run;
SELECT count(DISTINCT ctid), count(*) FROM "sp Child";
\connect contrib_regression
-- what is looked for in a store tells of it
SELECT relation, store, finding, detail FROM runops.verify('sp_run') WHERE detail LIKE '%itself%' OR detail LIKE '%children%';
SELECT relation, store, finding, detail FROM runops.verify('"sp Child"') WHERE detail LIKE '%itself%' OR detail LIKE '%children%';
SELECT object, action, ddl, detail FROM runops.provision('new', dry_run => true) WHERE detail LIKE '%itself%' OR detail LIKE '%children%';
SELECT severity, object, finding, hint FROM runops.doctor(detail => true) WHERE finding LIKE '%itself%' OR finding LIKE '%children%' ORDER BY finding;
CREATE TABLE sp_list (id text, n int);
INSERT INTO sp_list VALUES ('0123456789abcdefghijklmna1', 1), ('0123456789abcdefghijklmna1', 2);

-- without a key a row is named by its ctid: refused
\set SHOW_CONTEXT never
UPDATE sp_run SET n = -1 WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
UPDATE sp_run SET n = -1 WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0 RETURNING *;
UPDATE sp_run r SET n = l.n FROM sp_list l WHERE r.id = l.id;
DELETE FROM sp_run WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
DELETE FROM sp_run WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0 RETURNING n;
DELETE FROM sp_run USING sp_list l WHERE sp_run.id = l.id;
DELETE FROM "sp Child" WHERE id = '0123456789abcdefghijklmnb1' AND random() >= 0;
SET runops.enable_routing = off;
UPDATE sp_run SET n = -1 WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
RESET runops.enable_routing;
-- as is one that finds the ctid of the row in a child as well
UPDATE "sp Child" SET n = -1 WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
SELECT * FROM sp_run ORDER BY id;
SELECT * FROM "sp Child" ORDER BY id;

-- no row, or the statement is sent as a whole
UPDATE sp_run SET n = -1 WHERE id = '0123456789abcdefghijklmnz1' AND random() >= 0;
UPDATE sp_run SET n = -1 WHERE id = '0123456789abcdefghijklmna1';
DELETE FROM sp_run WHERE id = '0123456789abcdefghijklmnb1' RETURNING n;
SELECT * FROM sp_run ORDER BY id;

-- with a primary key a row is addressed by it, in whatever part of the table it is
\connect runops_store
CREATE TABLE sp_key (id text, part int, n int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE sp_key_1 PARTITION OF sp_key FOR VALUES IN (1);
CREATE TABLE sp_key_2 PARTITION OF sp_key FOR VALUES IN (2);
\connect contrib_regression
\set SHOW_CONTEXT never
CREATE TABLE sp_key (id text PRIMARY KEY, part int, n int);
SELECT runops.attach('sp_key', 'id');
SELECT relation, store, finding, detail FROM runops.verify('sp_key') WHERE detail LIKE '%itself%';
INSERT INTO sp_key VALUES ('0123456789abcdefghijklmna1', 1, 10), ('0123456789abcdefghijklmnb1', 2, 20);
UPDATE sp_key SET n = n + 1 WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0 RETURNING n;
UPDATE sp_key SET n = l.n FROM sp_list l WHERE sp_key.id = l.id AND l.n = 2;
UPDATE sp_key SET part = 2, n = n + 1 WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0 RETURNING *;
SELECT n FROM sp_key WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0 FOR UPDATE;
SELECT * FROM sp_key ORDER BY id;
DELETE FROM sp_key WHERE id = '0123456789abcdefghijklmnb1' AND random() >= 0 RETURNING n;
SELECT * FROM sp_key ORDER BY id;
-- unless the store has two rows with this key
SELECT runops.remote_exec('new', $$INSERT INTO public.sp_key VALUES ('0123456789abcdefghijklmna1', 1, 0)$$);
UPDATE sp_key SET n = -1 WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
DELETE FROM sp_key WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
SELECT * FROM sp_key ORDER BY id, n;

-- another error of the store of the same kind is the store's
\connect runops_store
CREATE TABLE sp_plain (id text NOT NULL, n int);
CREATE FUNCTION sp_fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN ('x' || new.n)::bool; END $$;
CREATE TRIGGER fail BEFORE UPDATE ON sp_plain FOR EACH ROW EXECUTE FUNCTION sp_fail();
\connect contrib_regression
\set SHOW_CONTEXT never
CREATE TABLE sp_plain (id text NOT NULL, n int);
SELECT runops.attach('sp_plain', 'id');
INSERT INTO sp_plain VALUES ('0123456789abcdefghijklmna1', 1);
UPDATE sp_plain SET n = 2 WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
DELETE FROM sp_plain WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0 RETURNING n;

SELECT runops.detach(t, force => true) FROM unnest(ARRAY['sp_run', 'sp_key', '"sp Child"', 'sp_plain']::regclass[]) t;
DROP TABLE sp_run, sp_key, "sp Child", sp_list, sp_plain;
\connect runops_store
DROP TABLE sp_run, sp_key, "sp Child", sp_child_1, sp_plain;
DROP FUNCTION sp_fail;
