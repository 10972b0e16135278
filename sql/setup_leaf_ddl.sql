--
-- setup_leaf_ddl: DDL that names a routed table, and means what stands on its leaf
--
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE ROLE regress_ldl;
CREATE SCHEMA ldl;
GRANT USAGE, CREATE ON SCHEMA ldl TO regress_ldl;
CREATE SCHEMA "Ldl 2";
SET search_path = ldl;
CREATE TYPE state AS ENUM ('A', 'B');
CREATE TABLE parent (id text PRIMARY KEY, run text);
CREATE TABLE run (id text PRIMARY KEY, n int, b text, s state NOT NULL DEFAULT 'A', span int4range, p text);
CREATE INDEX run_n_idx ON run (n);
CREATE INDEX "Run B" ON run (b);
CREATE UNIQUE INDEX run_nb_key ON run (n, b);
ALTER TABLE run ADD CONSTRAINT run_b_key UNIQUE (b), ADD CONSTRAINT run_n_check CHECK (n > 0),
	ADD CONSTRAINT run_n_local CHECK (n > -1) NO INHERIT,
	ADD CONSTRAINT run_p_fkey FOREIGN KEY (p) REFERENCES parent DEFERRABLE;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER each_row BEFORE UPDATE ON run FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER whole BEFORE UPDATE ON run FOR EACH STATEMENT EXECUTE FUNCTION touch();
-- a table of another schema with the same names: they are not free among the leaves
CREATE TABLE "Ldl 2".run (id text PRIMARY KEY, n int CONSTRAINT run_n_key UNIQUE);
CREATE INDEX run_n_idx ON "Ldl 2".run (n);
-- tables that are not routed
CREATE TABLE plain (id text PRIMARY KEY, run text);
CREATE INDEX plain_idx ON plain (run);
INSERT INTO run SELECT 'c00000000000000000000000' || g, g, 'b' || g FROM generate_series(1, 9) g;
SELECT runops.attach('run', 'id');
SELECT runops.attach('"Ldl 2".run', 'id');

-- what stands on the leaves, without the triggers of foreign keys
CREATE VIEW objects AS
	SELECT c.conrelid::regclass AS relation, c.conname AS name, pg_get_constraintdef(c.oid) AS def,
		obj_description(c.oid, 'pg_constraint') AS comment
	FROM pg_constraint c WHERE c.contype <> 'n' AND c.conrelid IN ('runops_legacy.run'::regclass, 'ldl.run'::regclass)
	UNION ALL
	SELECT i.indrelid::regclass, i.indexrelid::regclass::name, pg_get_indexdef(i.indexrelid), obj_description(i.indexrelid, 'pg_class')
	FROM pg_index i WHERE i.indrelid IN ('runops_legacy.run'::regclass, 'ldl.run'::regclass)
	UNION ALL
	SELECT t.tgrelid::regclass, t.tgname, t.tgenabled::text, obj_description(t.oid, 'pg_trigger')
	FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid IN ('runops_legacy.run'::regclass, 'ldl.run'::regclass);
-- what a statement adds and takes away; it is undone
CREATE PROCEDURE try(VARIADIC statements text[]) LANGUAGE plpgsql AS $$
DECLARE
	s text;
	d record;
BEGIN
	CREATE TEMP TABLE before ON COMMIT DROP AS SELECT * FROM objects;
	BEGIN
		FOREACH s IN ARRAY statements LOOP
			EXECUTE s;
		END LOOP;
		FOR d IN
			SELECT '-' AS sign, * FROM (TABLE before EXCEPT TABLE objects) x
			UNION ALL SELECT '+', * FROM (TABLE objects EXCEPT TABLE before) y
			ORDER BY 1 DESC, 2, 3, 4
		LOOP
			RAISE INFO '% % on %: %', d.sign, d.name, d.relation, concat_ws(' -- ', d.def, d.comment);
		END LOOP;
		RAISE SQLSTATE 'TRY00';
	EXCEPTION WHEN SQLSTATE 'TRY00' THEN
		NULL;
	WHEN OTHERS THEN
		RAISE INFO '% %', SQLSTATE, SQLERRM;
	END;
	DROP TABLE before;
END
$$;

-- indexes, by each kind of name
CALL try('DROP INDEX run_n_idx');
CALL try('DROP INDEX IF EXISTS ldl.run_n_idx, "Run B", missing');
CALL try('DROP INDEX "Ldl 2".run_n_idx');
CALL try('DROP INDEX run_pkey');
CALL try('DROP INDEX missing');
CALL try('DROP INDEX plain_idx');
CALL try('ALTER INDEX run_n_idx RENAME TO other');
CALL try('ALTER INDEX IF EXISTS ldl.run_n_idx RENAME TO other');
CALL try('ALTER TABLE run_n_idx RENAME TO other');
CALL try('ALTER INDEX run_n_idx RENAME TO "Run B"');
CALL try('ALTER INDEX run_n_idx RENAME TO plain_idx');
CALL try('ALTER INDEX run_pkey RENAME TO "Primary"', 'ALTER TABLE run DROP CONSTRAINT "Primary"');
CALL try('ALTER INDEX IF EXISTS run_n_idx SET (fillfactor = 70)');
CALL try('ALTER INDEX run_n_idx RESET (fillfactor), SET TABLESPACE pg_default');
CALL try('ALTER TABLE run_n_idx SET (fillfactor = 70)');
CALL try('CREATE INDEX e ON run (lower(b))', 'ALTER INDEX e ALTER COLUMN 1 SET STATISTICS 7');
CALL try('COMMENT ON INDEX run_n_idx IS ''x''', 'COMMENT ON INDEX ldl."Run B" IS ''y''');
CALL try('REINDEX INDEX run_n_idx', 'REINDEX TABLE run');
CALL try('ALTER INDEX run_n_idx DEPENDS ON EXTENSION runops');

-- new indexes
CALL try('CREATE INDEX new_idx ON run (b DESC) INCLUDE (n) WHERE n > 5');
CALL try('CREATE INDEX ON run ((n + 1))');
CALL try('CREATE UNIQUE INDEX new_key ON ldl.run (p) NULLS NOT DISTINCT');
CALL try('CREATE UNIQUE INDEX new_key ON ldl.run (p, id)');
CALL try('CREATE INDEX run_n_idx ON run (n)');
CALL try('CREATE INDEX plain_idx ON run (n)');
CALL try('CREATE INDEX IF NOT EXISTS run_n_idx ON run (n)');
CALL try('CREATE INDEX IF NOT EXISTS plain_idx ON run (n)');
CALL try('CREATE INDEX run_n_idx ON plain (id)');
-- the name is taken among the leaves, and free here
CALL try('CREATE INDEX run_n_key ON run (n)', 'ALTER INDEX run_n_key SET (fillfactor = 80)', 'COMMENT ON INDEX run_n_key IS ''mine''');
CALL try('ALTER INDEX run_n_idx RENAME TO run_n_key', 'DROP INDEX run_n_key');
CALL try('ALTER TABLE run ADD CONSTRAINT run_n_key UNIQUE (n)', 'ALTER TABLE run DROP CONSTRAINT IF EXISTS run_n_key');
-- an index of the routed table itself
CALL try('CREATE INDEX i ON ONLY run (n)', 'DROP INDEX i');

-- a name means what PostgreSQL finds first on the search path
CREATE INDEX "Run B" ON "Ldl 2".run (id);
SET search_path = "Ldl 2", ldl;
CALL try('COMMENT ON INDEX "Run B" IS ''second''', 'COMMENT ON INDEX run_nb_key IS ''first''');
CREATE TABLE "Ldl 2".plain2 (id int);
CREATE INDEX run_nb_key ON "Ldl 2".plain2 (id);
CALL try('DROP INDEX run_nb_key');
SET search_path = ldl, "Ldl 2";
CALL try('DROP INDEX run_nb_key');
SET search_path = pg_catalog;
DROP INDEX run_n_idx;
DROP INDEX IF EXISTS run_n_idx;
BEGIN;
DROP INDEX ldl.run_n_idx;
ROLLBACK;
SET search_path = ldl;
DROP INDEX "Ldl 2"."Run B";

-- constraints
CALL try('ALTER TABLE run DROP CONSTRAINT run_b_key');
CALL try('ALTER TABLE IF EXISTS ldl.run DROP CONSTRAINT IF EXISTS run_b_key, DROP CONSTRAINT IF EXISTS run_p_fkey, DROP CONSTRAINT IF EXISTS missing');
CALL try('ALTER TABLE run DROP CONSTRAINT missing');
CALL try('ALTER TABLE run DROP CONSTRAINT run_pkey');
CALL try('ALTER TABLE run DROP CONSTRAINT run_n_local, DROP CONSTRAINT run_n_check');
CALL try('ALTER TABLE run RENAME CONSTRAINT run_b_key TO other', 'ALTER TABLE run RENAME CONSTRAINT run_n_check TO more', 'ALTER TABLE run RENAME CONSTRAINT run_p_fkey TO fk');
CALL try('ALTER TABLE run ALTER CONSTRAINT run_p_fkey NOT DEFERRABLE');
CALL try('SET CONSTRAINTS run_p_fkey DEFERRED', 'SET CONSTRAINTS ldl.run_p_fkey IMMEDIATE', 'SET CONSTRAINTS ALL IMMEDIATE');
CALL try('SET CONSTRAINTS missing DEFERRED');
CALL try('ALTER TABLE run ADD CONSTRAINT k UNIQUE (n) INCLUDE (b) DEFERRABLE INITIALLY DEFERRED');
CALL try('ALTER TABLE run ADD UNIQUE (p, s)');
CALL try('ALTER TABLE run ADD CONSTRAINT k UNIQUE USING INDEX run_nb_key');
CALL try('ALTER TABLE run ADD PRIMARY KEY (n)');
CALL try('ALTER TABLE run DROP CONSTRAINT run_pkey, ADD CONSTRAINT run_pkey PRIMARY KEY (id, n)',
	'DO $$BEGIN ASSERT (SELECT bool_and(attnotnull) AND count(*) = 3 FROM pg_attribute WHERE attname = ''n'' AND attrelid IN (''ldl.run''::regclass, ''runops_legacy.run''::regclass, ''runops_new.run''::regclass)); END$$');
CALL try('ALTER TABLE run ADD EXCLUDE USING gist (span WITH &&) WHERE (n > 3)');
CALL try('ALTER TABLE run ADD CONSTRAINT f FOREIGN KEY (b) REFERENCES plain (id) NOT VALID');
CALL try('ALTER TABLE run ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES plain NOT VALID', 'ALTER TABLE run VALIDATE CONSTRAINT f');
CALL try('ALTER TABLE run ADD FOREIGN KEY (p) REFERENCES run');
CALL try('ALTER TABLE run ADD FOREIGN KEY (id) REFERENCES plain ON DELETE SET NULL');
CALL try('ALTER TABLE run ADD FOREIGN KEY (id) REFERENCES plain ON UPDATE CASCADE ON DELETE CASCADE NOT VALID');
CALL try('ALTER TABLE run ADD CONSTRAINT c CHECK (n < 100) NOT VALID', 'ALTER TABLE run VALIDATE CONSTRAINT c');
CALL try('ALTER TABLE run ADD CONSTRAINT c CHECK (n < 100) NO INHERIT');
CALL try('COMMENT ON CONSTRAINT run_b_key ON run IS ''x''', 'COMMENT ON CONSTRAINT run_n_check ON ldl.run IS ''y''');
CALL try('COMMENT ON CONSTRAINT missing ON run IS ''x''');

-- several commands in one statement, in core's order
CALL try('ALTER TABLE run ADD COLUMN z text CONSTRAINT zk UNIQUE DEFERRABLE CHECK (z <> '''') REFERENCES plain ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED');
CALL try('ALTER TABLE run ADD COLUMN z int, ADD UNIQUE (z), DROP CONSTRAINT run_b_key, DROP COLUMN b, ALTER COLUMN n TYPE bigint');
CALL try('ALTER TABLE run ADD CONSTRAINT run_b_key UNIQUE (b, n), DROP CONSTRAINT run_b_key, SET (fillfactor = 50)');
CALL try('ALTER TABLE run DROP CONSTRAINT run_b_key, ADD CONSTRAINT nothing FOREIGN KEY (missing) REFERENCES plain');
CALL try('ALTER TABLE run DROP CONSTRAINT run_pkey, ADD COLUMN k bigserial PRIMARY KEY');
CALL try('ALTER TABLE run DROP CONSTRAINT run_pkey, ADD PRIMARY KEY (k), ADD COLUMN k bigserial',
	'DO $$BEGIN ASSERT (SELECT bool_and(attnotnull) AND count(*) = 3 FROM pg_attribute WHERE attname = ''k'' AND attrelid IN (''ldl.run''::regclass, ''runops_legacy.run''::regclass, ''runops_new.run''::regclass)); END$$');
CALL try('ALTER TABLE run ADD COLUMN IF NOT EXISTS n int UNIQUE');
-- PostgreSQL 15 and 16 refuse it for any partitioned table
CALL try('ALTER TABLE run ADD COLUMN i int GENERATED ALWAYS AS IDENTITY');

-- one report for each statement
SET client_min_messages = notice;
ALTER TABLE run DROP CONSTRAINT run_b_key, ADD COLUMN z int UNIQUE, ADD CONSTRAINT run_b_key UNIQUE (b);
ALTER TABLE run DROP COLUMN z;
DROP INDEX run_n_idx;
CREATE INDEX run_n_idx ON run (n);
SET client_min_messages = warning;

-- types, by an expression
CREATE VIEW types AS
	SELECT a.attrelid::regclass AS relation, array_agg(format('%s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid)) ORDER BY a.attnum) AS columns,
		pg_get_expr(c.relpartbound, c.oid) AS bound
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE c.oid IN ('run'::regclass, 'runops_legacy.run'::regclass, 'runops_new.run'::regclass)
	GROUP BY c.oid, a.attrelid ORDER BY 1;
CREATE TYPE state2 AS ENUM ('A', 'B', 'C');
CREATE TRIGGER every_row BEFORE UPDATE ON run FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE run ALTER s DROP DEFAULT, ALTER s TYPE state2 USING s::text::state2, ALTER s SET DEFAULT 'C',
	ALTER n TYPE text USING n || 'x', DROP CONSTRAINT run_n_check, DROP CONSTRAINT run_n_local, DROP COLUMN span, ADD COLUMN z int, ADD CONSTRAINT zn UNIQUE (z, n);
TABLE types;
SELECT DISTINCT s, n FROM runops_legacy.run ORDER BY n LIMIT 2;
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgname = 'every_row' ORDER BY 1;
SELECT attrelid::regclass, attname, attislocal, attinhcount FROM pg_attribute WHERE attrelid = 'runops_new.run'::regclass AND attnum > 0 AND NOT attisdropped AND (attislocal OR attinhcount <> 1);
ALTER TABLE run ALTER n TYPE int USING n::int;
TABLE types;
BEGIN;
ALTER TABLE run ALTER n TYPE int USING left(n, -1)::int, DROP CONSTRAINT zn;
SAVEPOINT a;
ALTER TABLE run ALTER n TYPE bigint USING n * 2;
ROLLBACK TO a;
COMMIT;
ALTER TABLE run ADD CONSTRAINT run_n_check CHECK (n > 0), DROP COLUMN z, ALTER s TYPE state USING s::text::state, ADD COLUMN span int4range,
	ALTER s DROP DEFAULT, ADD CONSTRAINT run_n_local CHECK (n > -1) NO INHERIT;
TABLE types;
DROP TRIGGER every_row ON run;
DROP VIEW types;
ALTER TABLE run ALTER s SET DEFAULT 'A';

-- properties of the leaf, and of both
CREATE VIEW properties AS
	SELECT c.oid::regclass AS relation, c.reloptions, c.relreplident, c.relpersistence AS p,
		(SELECT i.indexrelid::regclass FROM pg_index i WHERE i.indrelid = c.oid AND i.indisclustered) AS clustered,
		(SELECT i.indexrelid::regclass FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident) AS identity,
		(SELECT format('%s %s', a.attcompression, 'n_distinct=5' = ANY (coalesce(a.attoptions, '{}'))) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'b') AS b
	FROM pg_class c WHERE c.oid IN ('run'::regclass, 'runops_legacy.run'::regclass) ORDER BY 1;
ALTER TABLE run SET (fillfactor = 70, autovacuum_enabled = off), CLUSTER ON run_n_idx, REPLICA IDENTITY USING INDEX run_pkey;
TABLE properties;
ALTER TABLE run RESET (fillfactor), SET WITHOUT CLUSTER, REPLICA IDENTITY FULL, ALTER COLUMN b SET COMPRESSION pglz, ALTER COLUMN b SET (n_distinct = 5);
TABLE properties;
CLUSTER run USING run_n_idx;
CLUSTER run;
ALTER TABLE run REPLICA IDENTITY DEFAULT;
ALTER TABLE ONLY run ALTER COLUMN b SET COMPRESSION default;
ALTER TABLE run ALTER COLUMN b RESET (n_distinct), SET TABLESPACE pg_default, RESET (autovacuum_enabled), SET WITHOUT CLUSTER, SET LOGGED;
TABLE properties;
ALTER TABLE run ALTER COLUMN b SET COMPRESSION default;
COMMENT ON COLUMN run.b IS 'both';
SELECT col_description('run'::regclass, 3), col_description('runops_legacy.run'::regclass, 3);

-- triggers
CALL try('DROP TRIGGER each_row ON run');
CALL try('DROP TRIGGER IF EXISTS each_row ON ldl.run', 'DROP TRIGGER IF EXISTS missing ON run', 'DROP TRIGGER whole ON run');
CALL try('ALTER TRIGGER each_row ON run RENAME TO other');
CALL try('COMMENT ON TRIGGER each_row ON run IS ''x''', 'COMMENT ON TRIGGER whole ON run IS ''y''');
CALL try('ALTER TABLE run DISABLE TRIGGER each_row', 'ALTER TABLE run ENABLE REPLICA TRIGGER whole');
CALL try('ALTER TABLE run DISABLE TRIGGER USER');
CALL try('ALTER TABLE ONLY run DISABLE TRIGGER ALL');
CALL try('CREATE TRIGGER each_row BEFORE UPDATE ON run FOR EACH ROW EXECUTE FUNCTION touch()');
\set VERBOSITY default
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON run FOR EACH ROW EXECUTE FUNCTION touch();

-- foreign keys to a routed table
ALTER TABLE plain ADD FOREIGN KEY (run) REFERENCES run;
CREATE TABLE plain3 (id int, run text REFERENCES ldl.run (id));
CREATE TABLE plain3 (id int, run text, FOREIGN KEY (run, id) REFERENCES run (id, n));
ALTER TABLE plain ADD COLUMN run2 text REFERENCES run;
CREATE SCHEMA ldl3 CREATE TABLE t (run text REFERENCES ldl.run);
\set VERBOSITY terse
-- from the leaf to a leaf, by the names of the routed tables
CALL try('ALTER TABLE runops_legacy.run ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES run');

-- LIKE
SELECT runops.add_unique('"Ldl 2".run', '{n}', name => 'run_n_all') IS NOT NULL AS added;
CREATE TABLE copy (LIKE run INCLUDING ALL);
SELECT i.indexrelid::regclass, pg_get_indexdef(i.indexrelid) FROM pg_index i WHERE i.indrelid = 'copy'::regclass ORDER BY i.indexrelid::regclass::text;
SELECT c.conname FROM pg_constraint c WHERE c.contype <> 'n' AND c.conrelid = 'copy'::regclass ORDER BY 1;
SELECT col_description('copy'::regclass, 3);
CREATE TABLE copy2 (LIKE run INCLUDING DEFAULTS);
DROP TABLE copy, copy2;

-- outside of a transaction block
DROP INDEX CONCURRENTLY run_n_idx, "Run B";
DROP INDEX CONCURRENTLY run_n_idx;
DROP INDEX CONCURRENTLY IF EXISTS run_n_idx;
DROP INDEX CONCURRENTLY IF EXISTS "Run B";
CREATE INDEX CONCURRENTLY run_n_idx ON run (n);
CREATE INDEX CONCURRENTLY IF NOT EXISTS run_n_idx ON run (n);
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "Run B" ON ldl.run (b);
CREATE INDEX CONCURRENTLY ON run (s);
REINDEX INDEX CONCURRENTLY ldl."Run B";
REINDEX TABLE CONCURRENTLY run;
SELECT i.indexrelid::regclass, i.indisvalid FROM pg_index i WHERE i.indrelid = 'runops_legacy.run'::regclass ORDER BY i.indexrelid::regclass::text;
-- of a partitioned index, each command means the part of the leaf
CREATE INDEX parts ON ONLY run (p, n);
CREATE INDEX part ON run (p, n);
ALTER INDEX parts ATTACH PARTITION runops_legacy.part;
ALTER INDEX parts SET (fillfactor = 60);
REINDEX INDEX CONCURRENTLY parts;
CLUSTER run USING parts;
ALTER TABLE run SET WITHOUT CLUSTER;
SELECT c.oid::regclass, c.reloptions FROM pg_class c WHERE c.relname IN ('part', 'parts') ORDER BY c.relname;
\set VERBOSITY default
DROP INDEX CONCURRENTLY parts;
\set VERBOSITY terse
DROP INDEX parts;

-- in functions, as prepared statements of PL/pgSQL, in subtransactions
CREATE FUNCTION migrate() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DROP INDEX IF EXISTS run_n_idx;
	BEGIN
		DROP INDEX run_n_idx;
	EXCEPTION WHEN undefined_object THEN
		RAISE INFO '%', SQLERRM;
	END;
	CREATE INDEX run_n_idx ON run (n);
	ALTER TABLE run DROP CONSTRAINT IF EXISTS run_b_key, ADD CONSTRAINT run_b_key UNIQUE (b);
END
$$;
SELECT migrate();
SELECT migrate();
DO $$BEGIN EXECUTE 'ALTER INDEX ldl.run_n_idx RENAME TO run_n2_idx'; END$$;
BEGIN;
DROP INDEX run_n2_idx;
SAVEPOINT a;
CREATE INDEX run_n2_idx ON run (n);
ROLLBACK TO a;
DROP INDEX IF EXISTS run_n2_idx;
ROLLBACK;
ALTER INDEX run_n2_idx RENAME TO run_n_idx;

-- rights
ALTER TABLE plain OWNER TO regress_ldl;
CREATE ROLE regress_ldl_other;
GRANT USAGE ON SCHEMA ldl TO regress_ldl_other;
SET ROLE regress_ldl_other;
DROP INDEX ldl.run_n_idx;
DROP INDEX IF EXISTS ldl.run_n_idx;
ALTER INDEX ldl.run_n_idx RENAME TO x;
ALTER INDEX ldl.run_n_idx SET (fillfactor = 70);
COMMENT ON INDEX ldl.run_n_idx IS 'x';
COMMENT ON CONSTRAINT run_b_key ON ldl.run IS 'x';
ALTER TABLE ldl.run DROP CONSTRAINT run_b_key;
ALTER TABLE ldl.run ADD UNIQUE (n);
ALTER TABLE ldl.run SET (fillfactor = 70);
CREATE INDEX ON ldl.run (n);
REINDEX INDEX ldl.run_n_idx;
CLUSTER ldl.run USING run_n_idx;
DROP TRIGGER each_row ON ldl.run;
RESET ROLE;
ALTER TABLE run OWNER TO regress_ldl;
SET ROLE regress_ldl;
ALTER TABLE run DROP CONSTRAINT IF EXISTS run_b_key, SET (fillfactor = 70);
ALTER TABLE run RENAME CONSTRAINT run_p_fkey TO run_p_fk;
ALTER TABLE run ALTER n TYPE bigint USING n::bigint;
CLUSTER run USING run_n_idx;
COMMENT ON INDEX run_n_idx IS 'x';
REINDEX INDEX run_n_idx;
DROP TRIGGER each_row ON run;
DROP INDEX run_n_idx;
CREATE INDEX run_n_idx ON run (n);
DROP INDEX run_n_idx;
CREATE UNIQUE INDEX CONCURRENTLY run_pn_key ON run (p, n);
ALTER INDEX run_pn_key RENAME TO run_pn2_key;
ALTER TABLE run ADD CONSTRAINT run_pn_key UNIQUE USING INDEX run_pn2_key, ADD UNIQUE (b);
-- in the schema of the leaves there is nothing but indexes
CREATE TABLE runops_legacy.mine (id int);
CREATE VIEW runops_legacy.mine AS SELECT 1;
CREATE FOREIGN TABLE runops_legacy.runops_reader (id int) SERVER run_ops;
CREATE SEQUENCE runops_legacy.mine;
CREATE TYPE runops_legacy.mine AS (id int);
CREATE TABLE runops_legacy.mine AS SELECT 1;
CREATE TABLE ldl.mine (id int);
ALTER TABLE ldl.mine SET SCHEMA runops_legacy;
DO $$BEGIN EXECUTE 'ALTER TABLE ldl.mine SET SCHEMA runops_legacy'; END$$;
DROP TABLE ldl.mine;
CREATE DOMAIN runops_legacy.mine AS int;
CREATE TYPE runops_legacy.mine AS ENUM ('a');
CREATE TYPE runops_legacy.mine AS RANGE (subtype = int4);
CREATE FUNCTION runops_legacy.mine() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE runops_legacy.mine() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE runops_legacy.mine(int) (SFUNC = int4pl, STYPE = int);
CREATE OPERATOR runops_legacy.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE COLLATION runops_legacy.mine FROM "C";
CREATE CONVERSION runops_legacy.mine FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE STATISTICS runops_legacy.mine ON n, b FROM runops_legacy.run;
CREATE TEXT SEARCH CONFIGURATION runops_legacy.mine (COPY = english);
CREATE TEXT SEARCH DICTIONARY runops_legacy.mine (TEMPLATE = simple);
CREATE FUNCTION ldl.mine() RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION ldl.mine() SET SCHEMA runops_legacy;
CREATE TYPE ldl.mine AS ENUM ('a');
ALTER TYPE ldl.mine SET SCHEMA runops_legacy;
DROP TYPE ldl.mine;
DROP FUNCTION ldl.mine();
-- a rewrite makes a relation and a type for a moment, and an index has no name of a reader
CLUSTER run USING run_pkey;
CREATE INDEX runops_reader ON run (n);
CREATE INDEX run_reader_idx ON run (n);
ALTER INDEX run_reader_idx RENAME TO runops_reader;
ALTER INDEX runops_legacy.run_reader_idx RENAME TO runops_reader;
DROP INDEX run_reader_idx;
-- indexes with the names of a table that is attached later, and of its leaf
CREATE INDEX third ON run (n);
CREATE INDEX "ldl.third" ON run (n);
-- in other schemas such objects are free, whoever creates them
CREATE DOMAIN ldl.mine AS int;
DROP DOMAIN ldl.mine;
RESET ROLE;
CREATE DOMAIN runops_legacy.mine AS int;
DROP DOMAIN runops_legacy.mine;
ALTER INDEX runops_legacy.third RENAME TO fourth;
CREATE TABLE ldl.fourth (id text PRIMARY KEY);
ALTER INDEX runops_legacy."ldl.third" RENAME TO "ldl.fourth";
SELECT runops.attach('ldl.fourth', 'id');
SELECT leaf::text LIKE 'runops_legacy.runops_leaf_%' AS other_name FROM runops.routed_tables WHERE relation = 'ldl.fourth'::regclass;
SELECT runops.detach('ldl.fourth', force => true);
SELECT relname FROM pg_class WHERE oid = 'ldl.fourth'::regclass;
DROP TABLE ldl.fourth;
DROP INDEX runops_legacy.fourth, runops_legacy."ldl.fourth";
CREATE TABLE ldl.second (id text PRIMARY KEY);
SELECT runops.attach('ldl.second', 'id');
REVOKE CREATE ON SCHEMA ldl FROM regress_ldl;
SET ROLE regress_ldl;
CREATE INDEX run_n_idx ON run (n);
ALTER INDEX run_pn_key RENAME TO x;
RESET ROLE;
REVOKE CREATE ON SCHEMA runops_legacy FROM regress_ldl;
GRANT CREATE ON SCHEMA ldl TO regress_ldl;
SET ROLE regress_ldl;
CREATE INDEX run_n_idx ON run (n);
RESET ROLE;

-- names that the statement does not give are those of a table that is not routed
CREATE TABLE ldl.twin (id text, n int, b text, p text, UNIQUE (n));
CREATE TABLE "Ldl 2".twin (id text PRIMARY KEY, n int, b text, p text);
CREATE TABLE "Ldl 2".twin_b_idx ();
CREATE VIEW names AS
	SELECT t.relname AS "table", array_agg(x.name ORDER BY x.name) AS names
	FROM pg_class t, LATERAL (
		SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = t.oid
		UNION ALL SELECT k.conname FROM pg_constraint k WHERE k.conrelid = t.oid AND k.contype = 'f') AS x (name)
	WHERE t.relname ~ 'twin' AND t.relkind = 'r' GROUP BY t.oid ORDER BY 1, 2;
ALTER TABLE ldl.twin ADD PRIMARY KEY (id);
SELECT runops.attach('ldl.twin', 'id');
SELECT runops.attach('"Ldl 2".twin', 'id');
CREATE PROCEDURE twins(t text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER TABLE %s ADD UNIQUE (n, b) INCLUDE (p), ADD UNIQUE (p), ADD UNIQUE (p), ADD FOREIGN KEY (p) REFERENCES ldl.plain', t);
	EXECUTE format('CREATE INDEX ON %s (b)', t);
	EXECUTE format('CREATE INDEX ON %s (b, lower(b), lower(p)) INCLUDE (n)', t);
	EXECUTE format('ALTER TABLE %s ADD EXCLUDE USING btree (n WITH =, (n + 1) WITH =), ADD COLUMN z int UNIQUE', t);
	EXECUTE format('ALTER TABLE %s DROP CONSTRAINT twin_pkey, DROP CONSTRAINT twin_p_key, ADD UNIQUE (p), ADD PRIMARY KEY (id)', t);
	EXECUTE format('ALTER TABLE %s DROP CONSTRAINT twin_pkey, ADD CONSTRAINT twin_pkey PRIMARY KEY (id, n)', t);
END
$$;
CREATE SCHEMA ldl_plain;
CREATE TABLE ldl_plain.twin (id text PRIMARY KEY, n int, b text, p text);
CREATE TABLE ldl_plain.twin_b_idx ();
CALL twins('ldl_plain.twin');
CALL twins('ldl.twin');
CALL twins('"Ldl 2".twin');
TABLE names;
ALTER TABLE "Ldl 2".twin DROP CONSTRAINT twin_p_key, DROP CONSTRAINT twin_p_fkey, DROP CONSTRAINT twin_n_b_p_key;
-- they follow a change of the schema
CREATE SCHEMA ldl_a;
ALTER TABLE "Ldl 2".twin SET SCHEMA ldl_a;
ALTER TABLE ldl_a.twin ADD UNIQUE (p), DROP CONSTRAINT twin_pkey;
DROP INDEX ldl_a.twin_b_idx1;
ALTER SCHEMA ldl_a RENAME TO "Ldl b";
ALTER TABLE "Ldl b".twin DROP CONSTRAINT twin_z_key, ADD CONSTRAINT twin_pkey PRIMARY KEY (id);
TABLE names;
-- after detach no name has a schema in front
SELECT runops.detach('"Ldl b".twin', force => true);
SELECT runops.detach('ldl.twin', force => true);
TABLE names;
DROP VIEW names;
DROP TABLE ldl.twin;
DROP SCHEMA ldl_plain, "Ldl b" CASCADE;
DROP TABLE "Ldl 2".twin_b_idx;

-- with the planner off, and after a change of schema and name
SET runops.enable_routing = off;
CREATE INDEX run_n_idx ON run (n);
DROP INDEX run_n_idx;
RESET runops.enable_routing;
CREATE INDEX run_n_idx ON run (n);
ALTER TABLE run RENAME TO job;
CREATE SCHEMA ldl_moved;
ALTER TABLE job SET SCHEMA ldl_moved;
DROP INDEX ldl.run_n_idx;
DROP INDEX ldl_moved.run_nb_key;
ALTER TABLE ldl_moved.job RENAME CONSTRAINT run_pkey TO job_pkey;
SELECT conname FROM pg_constraint WHERE conrelid = 'runops_legacy.run'::regclass AND contype = 'p';

SET client_min_messages = error;
DROP VIEW objects, properties;
SELECT runops.detach('ldl.second', force => true);
SELECT runops.detach('ldl_moved.job', force => true);
SELECT runops.drop_unique('"Ldl 2".run', 'run_n_all');
SELECT runops.detach('"Ldl 2".run', force => true);
DROP SCHEMA ldl, ldl_moved, "Ldl 2" CASCADE;
DROP OWNED BY regress_ldl, regress_ldl_other;
DROP ROLE regress_ldl_other;
DROP ROLE regress_ldl;
