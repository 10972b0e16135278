-- an UPDATE or DELETE that is not sent as a whole addresses each row by its key
\set SHOW_CONTEXT never
\set VERBOSITY default
SET runops.enable_shipping = off;
CREATE TYPE kr_state AS ENUM ('PENDING', 'DONE', 'odd '' state');
CREATE DOMAIN kr_id AS text CHECK (value <> '');
CREATE TABLE kr_one (id text PRIMARY KEY, n int, state kr_state, gen int GENERATED ALWAYS AS (n * 2) STORED);
CREATE TABLE "Kr Two" ("A ""id" kr_id NOT NULL, "K ey" kr_state, at timestamptz, fixed char(4), f float8, n int,
	PRIMARY KEY ("K ey", "A ""id", at, fixed, f));
CREATE TABLE kr_unique (n int, id text NOT NULL UNIQUE, maybe int UNIQUE);
CREATE TABLE kr_late (id text PRIMARY KEY DEFERRABLE, n int);
CREATE TABLE kr_none (id text NOT NULL, n int);
CREATE TABLE kr_coll (id text COLLATE "POSIX" PRIMARY KEY, n int);
SELECT runops.attach(t, k) FROM (VALUES ('kr_one'::regclass, 'id'), ('"Kr Two"', 'A "id'), ('kr_unique', 'id'), ('kr_late', 'id'), ('kr_none', 'id'), ('kr_coll', 'id')) v (t, k);
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';

-- the statements
EXPLAIN (VERBOSE, COSTS OFF) UPDATE kr_one SET state = 'DONE', n = n + 1 WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM "Kr Two" WHERE "A ""id" = '0123456789abcdefghijklmna1' AND random() >= 0 RETURNING n, ctid;
EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM kr_unique WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM kr_late WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM kr_none WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;

-- a key of several columns and types
INSERT INTO "Kr Two" VALUES
	('0123456789abcdefghijklmna1', 'odd '' state', '2026-01-01 12:00:00.000001+03', 'a', 0.1, 1),
	('0123456789abcdefghijklmna1', 'odd '' state', '2026-01-01 12:00:00.000002+03', 'a', 0.1, 2),
	('0123456789abcdefghijklmna1', 'odd '' state', '2026-01-01 12:00:00.000001+03', 'a', 0.1::float8 + 0.2, 3),
	('0123456789abcdefghijklmna1', 'PENDING', '2026-01-01 12:00:00.000001+03', 'a', 'NaN', 4),
	('c00000000000000000000run1', 'PENDING', 'infinity', '', '-0', 5);
SET datestyle = 'SQL, DMY';
SET extra_float_digits = 0;
UPDATE "Kr Two" SET n = n * 10 WHERE random() >= 0 RETURNING n;
UPDATE "Kr Two" SET n = n + 1 WHERE "A ""id" = '0123456789abcdefghijklmna1' AND random() >= 0 AND n < 40 RETURNING n, "Kr Two";
DELETE FROM "Kr Two" WHERE n = 31 AND random() >= 0 RETURNING f;
-- its columns are assigned: the old ones name the row
UPDATE "Kr Two" SET "K ey" = 'DONE', f = f + 1, at = 'infinity', fixed = 'x' || n WHERE random() >= 0 RETURNING n, "K ey", f, at, fixed;
RESET datestyle;
RESET extra_float_digits;
SELECT * FROM "Kr Two" ORDER BY n;

-- a generated column; NULL; another collation
INSERT INTO kr_one SELECT '0123456789abcdefghijklmn' || c || '1', g FROM unnest('{a,b,c,d}'::text[]) WITH ORDINALITY AS x (c, g);
UPDATE kr_one SET n = NULL, state = 'DONE' WHERE id LIKE '%a1' AND random() >= 0 RETURNING n, gen, state;
INSERT INTO kr_coll VALUES ('0123456789abcdefghijklmna1', 1), ('0123456789abcdefghijklmnA1', 2);
UPDATE kr_coll SET n = 0 WHERE n = 1 AND random() >= 0;
SELECT * FROM kr_coll ORDER BY n;

-- a row that a join finds several times changes once, also if its key moves to
-- another row's old one
CREATE TABLE kr_list (id text, new text, n int);
INSERT INTO kr_list SELECT '0123456789abcdefghijklmnb1', NULL, g FROM generate_series(1, 3) g;
UPDATE kr_one SET n = kr_one.n + 100 FROM kr_list l WHERE l.id = kr_one.id;
SELECT id, n FROM kr_one ORDER BY id;
INSERT INTO kr_list VALUES ('0123456789abcdefghijklmnc1', '0123456789abcdefghijklmne1', 0), ('0123456789abcdefghijklmnb1', '0123456789abcdefghijklmnc1', 1), ('0123456789abcdefghijklmnc1', '0123456789abcdefghijklmnf1', 2);
DELETE FROM kr_list WHERE new IS NULL;
SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT id, new FROM kr_list ORDER BY n;
UPDATE kr_one SET id = l.new FROM (SELECT * FROM kr_list ORDER BY n OFFSET 0) l WHERE l.id = kr_one.id;
RESET enable_hashjoin; RESET enable_mergejoin;
SELECT id, n FROM kr_one ORDER BY id;
DELETE FROM kr_one USING kr_list l WHERE l.id IS NOT NULL AND kr_one.n = 4;
SELECT count(*) FROM kr_one;

-- prepared, generic, PL/pgSQL, savepoints, several stores' leaves in one plan
SET plan_cache_mode = force_generic_plan;
PREPARE u(text, int) AS UPDATE kr_one SET n = $2, state = 'PENDING' WHERE id = $1 AND random() >= 0 RETURNING n;
EXECUTE u('0123456789abcdefghijklmna1', 7);
EXECUTE u('0123456789abcdefghijklmna1', 8);
-- without its key the table's rows are named by their ctid
ALTER TABLE kr_one DROP CONSTRAINT kr_one_pkey;
EXECUTE u('0123456789abcdefghijklmna1', 9);
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE u('0123456789abcdefghijklmna1', 9);
ALTER TABLE kr_one ADD PRIMARY KEY (id);
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE u('0123456789abcdefghijklmna1', 9);
DEALLOCATE u;
RESET plan_cache_mode;
DO $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN
			UPDATE kr_one SET n = n + 1, state = 'DONE' WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
			IF i = 2 THEN RAISE division_by_zero; END IF;
		EXCEPTION WHEN division_by_zero THEN
		END;
	END LOOP;
END
$$;
SET runops.enable_routing = off;
UPDATE kr_one SET n = n + 1 WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0;
RESET runops.enable_routing;
SELECT n, state FROM kr_one WHERE id = '0123456789abcdefghijklmna1';

-- the other kinds of keys work as well
INSERT INTO kr_unique VALUES (1, '0123456789abcdefghijklmna1', NULL);
INSERT INTO kr_late VALUES ('0123456789abcdefghijklmna1', 1);
INSERT INTO kr_none VALUES ('0123456789abcdefghijklmna1', 1), ('0123456789abcdefghijklmna1', 2);
UPDATE kr_unique SET n = n + 1 WHERE random() >= 0 RETURNING n;
UPDATE kr_late SET n = n + 1 WHERE random() >= 0 RETURNING n;
UPDATE kr_none SET n = n + 1 WHERE random() >= 0 AND n = 2 RETURNING n;
SELECT n FROM kr_none ORDER BY n;

-- keys that are not used, because the store cannot infer the type of a parameter
-- that is compared with a composite type, or with a domain over an enum
CREATE TYPE kr_pair AS (a int, b text);
CREATE DOMAIN kr_named AS kr_pair;
CREATE DOMAIN kr_known AS kr_state;
CREATE TABLE kr_rows (id text, pair kr_pair, n int, PRIMARY KEY (id, pair));
CREATE TABLE kr_named_rows (id text, pair kr_named, n int, PRIMARY KEY (id, pair));
CREATE TABLE kr_pairs (id text, pairs kr_pair[], state kr_state, n int, PRIMARY KEY (id, pairs, state));
CREATE TABLE kr_known_rows (id text, known kr_known, n int, PRIMARY KEY (id, known));
SELECT runops.attach(t, 'id') FROM unnest('{kr_rows,kr_named_rows,kr_pairs,kr_known_rows}'::regclass[]) t;
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';
INSERT INTO kr_rows SELECT '0123456789abcdefghijklmna1', ROW(g, '"')::kr_pair, g FROM generate_series(1, 3) g;
INSERT INTO kr_named_rows SELECT * FROM kr_rows;
INSERT INTO kr_pairs SELECT id, ARRAY[pair, NULL], 'DONE', n FROM kr_rows;
INSERT INTO kr_known_rows SELECT '0123456789abcdefghijklmna1', (enum_range(NULL::kr_state))[g], g FROM generate_series(1, 3) g;
UPDATE kr_rows SET n = n + 10 WHERE random() >= 0 AND n > 1 RETURNING *;
UPDATE kr_named_rows SET n = n + 10 WHERE random() >= 0 AND n > 1 RETURNING *;
UPDATE kr_pairs SET n = n + 10 WHERE random() >= 0 AND n > 1 RETURNING *;
UPDATE kr_known_rows SET n = n + 10 WHERE random() >= 0 AND n > 1 RETURNING n, known;
SELECT n FROM kr_rows WHERE random() >= 0 ORDER BY n FOR UPDATE;
DELETE FROM kr_rows WHERE random() >= 0 AND n > 11 RETURNING n;

-- names that differ in the store, and a key that does not hold there
\connect runops_store
CREATE SCHEMA "o ther";
CREATE TABLE "o ther"."far t" (note text, "the id" text);
\connect contrib_regression
\set SHOW_CONTEXT never
CREATE TABLE kr_far (id text PRIMARY KEY, note text);
SELECT runops.attach('kr_far', 'id');
-- no command changes these options of a leaf
UPDATE pg_foreign_table SET ftoptions = ARRAY['schema_name=o ther', 'table_name=far t'] WHERE ftrelid = 'runops_new.kr_far'::regclass;
UPDATE pg_attribute SET attfdwoptions = ARRAY['column_name=the id'] WHERE attrelid = 'runops_new.kr_far'::regclass AND attname = 'id';
\connect
\set SHOW_CONTEXT never
INSERT INTO kr_far VALUES ('0123456789abcdefghijklmna1', 'a'), ('0123456789abcdefghijklmnb1', 'b'), ('0123456789abcdefghijklmnb1', 'b');
UPDATE kr_far SET note = 'x' WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0 RETURNING *;
UPDATE kr_far SET id = '0123456789abcdefghijklmnz1' WHERE id = '0123456789abcdefghijklmna1' AND random() >= 0 RETURNING *;
UPDATE kr_far SET note = 'x' WHERE id = '0123456789abcdefghijklmnb1' AND random() >= 0;
DELETE FROM kr_far WHERE id = '0123456789abcdefghijklmnb1' AND random() >= 0;
SELECT * FROM kr_far ORDER BY id;

SELECT runops.detach(t, force => true) FROM unnest('{kr_one,"\"Kr Two\"",kr_unique,kr_late,kr_none,kr_coll,kr_far,kr_rows,kr_named_rows,kr_pairs,kr_known_rows}'::regclass[]) t;
DROP TABLE kr_one, "Kr Two", kr_unique, kr_late, kr_none, kr_coll, kr_far, kr_list, kr_rows, kr_named_rows, kr_pairs, kr_known_rows;
DROP DOMAIN kr_id, kr_named, kr_known;
DROP TYPE kr_state, kr_pair;
\connect runops_store
DROP TABLE kr_one, "Kr Two", kr_unique, kr_late, kr_none, kr_coll, "o ther"."far t", kr_rows, kr_named_rows, kr_pairs, kr_known_rows;
DROP SCHEMA "o ther";
DROP DOMAIN IF EXISTS kr_id, kr_named, kr_known;
DROP TYPE kr_state, kr_pair;
