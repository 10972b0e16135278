--
-- setup_routed_key: the primary key of a routed table
--
\set SHOW_CONTEXT never
\set VERBOSITY default
SET client_min_messages = warning;
SET runops.enable_shipping = off;
CREATE ROLE regress_rk;
CREATE SCHEMA rk;
CREATE SCHEMA "Rk 2";
GRANT USAGE, CREATE ON SCHEMA rk TO regress_rk;
SET search_path = rk;
\set L 'c000000000000000000000001'
\set N '0123456789abcdefghijklmna1'
CREATE TABLE run (id text COLLATE "C", gone int, env text, n int DEFAULT 1, note json, CONSTRAINT "run key" PRIMARY KEY (id) INCLUDE (env));
ALTER TABLE run DROP gone;
COMMENT ON CONSTRAINT "run key" ON run IS 'what names a run';
CREATE TABLE item (run_id text NOT NULL, no int, v text DEFAULT 'v', PRIMARY KEY (no, run_id));
CREATE TABLE "Rk 2".item (run_id text NOT NULL, no int, v text, PRIMARY KEY (run_id, no));
-- the key of the table is not in its primary key, or the primary key cannot be that of the routed table
CREATE TABLE waits (id text PRIMARY KEY, run_id text);
CREATE TABLE later (id text PRIMARY KEY DEFERRABLE);
CREATE TABLE nokey (id text NOT NULL, n int);
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE folded (id text COLLATE loose PRIMARY KEY);
INSERT INTO run (id, env) VALUES (:'L', 'e1');
INSERT INTO item VALUES (:'L', 1);
SELECT runops.attach('run', 'id'), runops.attach('item', 'run_id'), runops.attach('"Rk 2".item', 'run_id'), runops.attach('waits', 'coalesce(run_id, id)');
SELECT runops.attach('later', 'id'), runops.attach('nokey', 'id'), runops.attach('folded', 'id COLLATE "C"');
SELECT action FROM runops.provision('new', relation => 'rk.run') WHERE object LIKE 'table %';
SELECT action FROM runops.provision('new', relation => 'rk.item') WHERE object LIKE 'table %';
SELECT action FROM runops.provision('new', relation => '"Rk 2".item') WHERE object LIKE 'table %';
INSERT INTO run (id, env, n) VALUES (:'N', 'e2', 2);
INSERT INTO item VALUES (:'N', 1, 'x'), (:'N', 2, 'y');

-- the keys; those of a leaf and of the routed table have one name if it was free
CREATE VIEW keys AS
	SELECT c.conrelid::regclass::text AS relation, c.conname, c.conindid::regclass::text AS index, pg_get_constraintdef(c.oid) AS def,
		obj_description(c.oid, 'pg_constraint') AS comment, x.indisvalid AS valid, x.indislive AS live
	FROM pg_constraint c JOIN pg_index x ON x.indexrelid = c.conindid
	WHERE c.contype = 'p' AND c.connamespace IN ('rk'::regnamespace, '"Rk 2"'::regnamespace, 'runops_legacy'::regnamespace)
	ORDER BY c.conrelid::regclass::text COLLATE "C";
TABLE keys;
\d run
-- what drivers and tools ask: JDBC, SQLAlchemy, Django
SELECT result.column_name, result.key_seq, result.pk_name FROM (
	SELECT a.attname AS column_name, (information_schema._pg_expandarray(i.indkey)).n AS key_seq, ci.relname AS pk_name,
		information_schema._pg_expandarray(i.indkey) AS keys, a.attnum AS a_attnum, i.indnkeyatts AS key_count
	FROM pg_class ct JOIN pg_attribute a ON ct.oid = a.attrelid JOIN pg_namespace n ON ct.relnamespace = n.oid
	JOIN pg_index i ON a.attrelid = i.indrelid JOIN pg_class ci ON ci.oid = i.indexrelid
	WHERE n.nspname = 'rk' AND ct.relname = 'item' AND i.indisprimary) result
WHERE result.a_attnum = (result.keys).x AND (result.keys).n <= result.key_count ORDER BY 2;
SELECT c.conname, array_agg(a.attname ORDER BY k.ord) FROM pg_constraint c, unnest(c.conkey) WITH ORDINALITY k (attnum, ord), pg_attribute a
WHERE c.contype = 'p' AND c.conrelid = 'run'::regclass AND a.attrelid = c.conrelid AND a.attnum = k.attnum GROUP BY 1;
SELECT c.conname, array(SELECT attname FROM unnest(c.conkey) WITH ORDINALITY cols (colid, arridx) JOIN pg_attribute ca ON cols.colid = ca.attnum
	WHERE ca.attrelid = c.conrelid ORDER BY cols.arridx), c.contype
FROM pg_constraint c JOIN pg_class cl ON c.conrelid = cl.oid WHERE cl.relname = 'run' AND pg_table_is_visible(cl.oid) AND c.contype = 'p';
SELECT constraint_name, column_name FROM information_schema.key_column_usage WHERE table_schema = 'rk' AND table_name = 'item' ORDER BY ordinal_position;

-- GROUP BY the key: all stores, one store, legacy; json has no equality
CREATE FUNCTION shout(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN upper($1); END$$;
SELECT r.id, r.env, r.note, count(i.*) FROM run r LEFT JOIN item i ON i.run_id = r.id GROUP BY r.id ORDER BY r.id;
SELECT r.id, r.env, r.note, count(*) FROM run r JOIN item i ON i.run_id = r.id WHERE r.id = :'N' GROUP BY r.id;
SELECT r.id, r.env, r.note, count(*) FROM run r JOIN item i ON i.run_id = r.id WHERE r.id = :'L' GROUP BY r.id;
-- what a store cannot compute of columns that depend on the key
SELECT id, shout(env), n + 1 AS m, count(*) FROM run WHERE id = :'N' GROUP BY id;
SELECT id, env, count(*) FROM run WHERE id = :'N' GROUP BY id HAVING shout(env) = 'E2';
SELECT id, count(*) FROM run WHERE id = :'N' GROUP BY id HAVING n > 1;
-- the lines of a plan that match a pattern; the rest differs between versions
CREATE FUNCTION plan_lines(query text, pattern text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
		IF line ~ pattern THEN
			RETURN NEXT ltrim(line, ' ->');
		END IF;
	END LOOP;
END
$$;
SET enable_hashagg = off;
SET enable_sort = off;
SELECT * FROM plan_lines('SELECT no, run_id, shout(v), count(*) FROM item WHERE run_id = ''0123456789abcdefghijklmna1'' GROUP BY no, run_id', 'Remote SQL');
SELECT no, run_id, shout(v), count(*) FROM item WHERE run_id = :'N' GROUP BY no, run_id ORDER BY no;
SELECT no, run_id, count(*) FROM item WHERE run_id = :'N' GROUP BY no, run_id HAVING shout(v) = 'Y';
RESET enable_hashagg;
RESET enable_sort;
SELECT id, shout(env), count(*) FROM run GROUP BY id ORDER BY id;
SELECT id, env, n, count(*) FROM run GROUP BY id, env, n ORDER BY id;
SET runops.enable_routing = off;
SELECT id, shout(env), count(*) FROM run GROUP BY id ORDER BY id;
SELECT id, env, n, count(*) FROM run GROUP BY id, env, n ORDER BY id;
RESET runops.enable_routing;
SET enable_partitionwise_aggregate = on;
SELECT id, shout(env), count(*) FROM run GROUP BY id ORDER BY id;
RESET enable_partitionwise_aggregate;
PREPARE grouped (text) AS SELECT id, shout(env) || n AS e, count(*) FROM run WHERE id = $1 GROUP BY id;
EXECUTE grouped (:'N');
EXECUTE grouped (:'L');
SET plan_cache_mode = force_generic_plan;
EXECUTE grouped (:'N');
EXECUTE grouped (:'L');
RESET plan_cache_mode;
CREATE VIEW summary AS SELECT r.id, r.env, count(i.no) AS items FROM run r LEFT JOIN item i ON i.run_id = r.id GROUP BY r.id;
SELECT * FROM summary ORDER BY id;
-- no key, no dependency
SELECT id, run_id FROM waits GROUP BY id;
SELECT id, n FROM nokey GROUP BY id;

-- ON CONFLICT ON CONSTRAINT
INSERT INTO run (id, env) VALUES (:'L', 'again') ON CONFLICT ON CONSTRAINT "run key" DO UPDATE SET env = excluded.env RETURNING id, env;
INSERT INTO run (id, env) VALUES (:'L', 'no') ON CONFLICT ON CONSTRAINT "run key" DO NOTHING RETURNING id, env;
SET runops.enable_shipping = on;
INSERT INTO run (id, env) VALUES (:'N', 'again') ON CONFLICT ON CONSTRAINT "run key" DO UPDATE SET env = excluded.env RETURNING id, env;
INSERT INTO item VALUES (:'N', 2, 'z') ON CONFLICT ON CONSTRAINT item_pkey DO UPDATE SET v = excluded.v WHERE item.v <> excluded.v RETURNING *;
WITH i AS (INSERT INTO item VALUES (:'N', 3, 'w') ON CONFLICT ON CONSTRAINT item_pkey DO NOTHING RETURNING *) SELECT * FROM i;
INSERT INTO item VALUES (:'N', 2, 'both'), (:'L', 1, 'both') ON CONFLICT ON CONSTRAINT item_pkey DO UPDATE SET v = excluded.v RETURNING no, v;
PREPARE upsert_item (text, int) AS INSERT INTO item VALUES ($1, $2, 'p') ON CONFLICT ON CONSTRAINT item_pkey DO UPDATE SET v = excluded.v || item.v RETURNING v;
EXECUTE upsert_item (:'N', 2);
EXECUTE upsert_item (:'L', 1);
EXECUTE upsert_item (:'N', 2);
SELECT r.id, r.env, shout(r.env), count(*) FROM run r JOIN item i ON i.run_id = r.id WHERE r.id = :'N' GROUP BY r.id;
SET runops.enable_shipping = off;
PREPARE upsert (text, text) AS INSERT INTO run (id, env) VALUES ($1, $2) ON CONFLICT ON CONSTRAINT "run key" DO UPDATE SET env = excluded.env RETURNING id, env;
EXECUTE upsert (:'L', 'prepared');
CREATE FUNCTION put(text, text) RETURNS text BEGIN ATOMIC INSERT INTO run (id, env) VALUES ($1, $2) ON CONFLICT ON CONSTRAINT "run key" DO UPDATE SET env = excluded.env RETURNING run.env; END;
SELECT put(:'L', 'function');
INSERT INTO run (id) VALUES (:'L') ON CONFLICT ON CONSTRAINT nothing DO NOTHING;

-- a new key in a leaf is still the key: nothing else is promised to the planner
SELECT * FROM plan_lines('SELECT i.no FROM item i LEFT JOIN run r ON r.id = i.run_id', 'Foreign Scan');

-- LIKE
CREATE TABLE copied (LIKE run INCLUDING ALL);
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'copied'::regclass AND contype = 'p';
DROP TABLE copied;

-- foreign keys to the routed name stay refused
CREATE TABLE child (id int, run text REFERENCES run);
CREATE TABLE child (id int, run text REFERENCES run (id));
CREATE TABLE child (id int, run text);
ALTER TABLE child ADD FOREIGN KEY (run) REFERENCES run;
DROP TABLE child;

-- a new store: the key stays as it is, with the view and the function that depend on it
SELECT oid AS before FROM pg_constraint WHERE conrelid = 'run'::regclass AND contype = 'p' \gset
CREATE SERVER rk_a FOREIGN DATA WRAPPER runops_fdw OPTIONS (dbname 'runops_store');
CREATE USER MAPPING FOR PUBLIC SERVER rk_a OPTIONS (password_required 'false');
SELECT runops.add_store('a', 'rk_a', remote_schema => 'rk_a') \g /dev/null
SELECT oid = :before AS same FROM pg_constraint WHERE conrelid = 'run'::regclass AND contype = 'p';
SELECT * FROM keys WHERE relation = 'run';
SELECT relnamespace::regnamespace AS leaf FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'run'::regclass ORDER BY 1;
SELECT runops.drop_store('a') \g /dev/null
SELECT oid = :before AS same FROM pg_constraint WHERE conrelid = 'run'::regclass AND contype = 'p';

-- DDL
\set VERBOSITY terse
SET client_min_messages = notice;
CREATE PROCEDURE try(VARIADIC statements text[]) LANGUAGE plpgsql AS $$
DECLARE
	s text;
	d record;
BEGIN
	CREATE TEMP TABLE before ON COMMIT DROP AS SELECT * FROM keys;
	BEGIN
		FOREACH s IN ARRAY statements LOOP
			RAISE NOTICE '%', s;
			EXECUTE s;
		END LOOP;
		FOR d IN
			SELECT '-' AS sign, * FROM (TABLE before EXCEPT TABLE keys) x
			UNION ALL SELECT '+', * FROM (TABLE keys EXCEPT TABLE before) y
			ORDER BY 1 DESC, 2, 3
		LOOP
			RAISE NOTICE '%', d;
		END LOOP;
		RAISE EXCEPTION 'undo' USING ERRCODE = 'RK000';
	EXCEPTION
		WHEN SQLSTATE 'RK000' THEN NULL;
		WHEN OTHERS THEN RAISE NOTICE '% %', SQLSTATE, SQLERRM;
	END;
	DROP TABLE before;
END
$$;

-- the constraints of both
CALL try('ALTER TABLE run DROP CONSTRAINT "run key"');
CALL try('DROP VIEW summary', 'DROP FUNCTION put', 'ALTER TABLE run DROP CONSTRAINT "run key"', 'ALTER TABLE run ADD PRIMARY KEY (id)');
CALL try('DROP VIEW summary', 'DROP FUNCTION put', 'ALTER TABLE run DROP CONSTRAINT "run key", ADD CONSTRAINT "run key" PRIMARY KEY (id)');
CALL try('DROP VIEW summary', 'DROP FUNCTION put', 'ALTER TABLE run DROP CONSTRAINT "run key", ADD CONSTRAINT k PRIMARY KEY (id, n)');
CALL try('ALTER TABLE run DROP CONSTRAINT "run key" CASCADE', 'ALTER TABLE run ADD PRIMARY KEY (id)');
-- of the routed table alone, as a dump names it, and again
CALL try('ALTER TABLE ONLY item DROP CONSTRAINT item_pkey', 'ALTER TABLE ONLY item ADD CONSTRAINT item_pkey PRIMARY KEY (no, run_id)');
CALL try('ALTER TABLE ONLY item DROP CONSTRAINT item_pkey', 'ALTER TABLE item ADD PRIMARY KEY (no, run_id)');
CALL try('ALTER TABLE ONLY item DROP CONSTRAINT item_pkey', 'ALTER TABLE item ADD CONSTRAINT other PRIMARY KEY (no, run_id)');
CALL try('ALTER TABLE ONLY item DROP CONSTRAINT item_pkey', 'ALTER TABLE ONLY item ADD PRIMARY KEY (run_id, no)');
CALL try('ALTER TABLE ONLY "Rk 2".item DROP CONSTRAINT item_pkey', 'ALTER TABLE ONLY "Rk 2".item ADD PRIMARY KEY (run_id, no)');
CALL try('ALTER TABLE item ADD PRIMARY KEY (no, run_id)');
CALL try('ALTER TABLE ONLY later ADD PRIMARY KEY (id)');
CALL try('ALTER TABLE ONLY waits ADD PRIMARY KEY (id)');
CALL try('ALTER TABLE ONLY folded ADD PRIMARY KEY (id)');
-- a table that gets its first primary key; by an index
CALL try('ALTER TABLE nokey ADD PRIMARY KEY (id)', 'INSERT INTO nokey VALUES (''c000000000000000000000001'', 1) ON CONFLICT ON CONSTRAINT nokey_pkey DO NOTHING');
CALL try('ALTER TABLE ONLY nokey ADD CONSTRAINT nk PRIMARY KEY (id)');
CALL try('ALTER TABLE nokey ADD PRIMARY KEY (n)');
CALL try('CREATE UNIQUE INDEX nokey_i ON nokey (n, id)', 'ALTER TABLE nokey ADD CONSTRAINT nk PRIMARY KEY USING INDEX nokey_i');
CALL try('ALTER TABLE nokey ADD COLUMN c int PRIMARY KEY');
-- the leaf's alone
CALL try('ALTER TABLE runops_legacy.item DROP CONSTRAINT item_pkey');
CALL try('ALTER TABLE runops_legacy.item DROP CONSTRAINT item_pkey CASCADE');
CALL try('DROP INDEX item_pkey');
CALL try('DROP INDEX CONCURRENTLY item_pkey');
-- names
CALL try('ALTER TABLE item RENAME CONSTRAINT item_pkey TO "item key"');
CALL try('ALTER TABLE ONLY "Rk 2".item RENAME CONSTRAINT item_pkey TO nokey');
CALL try('ALTER INDEX item_pkey RENAME TO "item key"');
CALL try('ALTER INDEX item_pkey RENAME TO run');
CALL try('ALTER TABLE item RENAME run_id TO run', 'INSERT INTO item (run, no) VALUES (''c000000000000000000000001'', 1) ON CONFLICT ON CONSTRAINT item_pkey DO NOTHING');
CALL try('ALTER TABLE item RENAME TO items');
CALL try('ALTER TABLE run SET SCHEMA "Rk 2"');
CALL try('ALTER SCHEMA "Rk 2" RENAME TO rk3');
CALL try('COMMENT ON CONSTRAINT item_pkey ON item IS ''c''', 'COMMENT ON INDEX item_pkey IS ''i''');
-- columns
CALL try('ALTER TABLE "Rk 2".item ALTER no TYPE bigint');
CALL try('ALTER TABLE "Rk 2".item ALTER no TYPE bigint USING no + 1, ADD w int');
CALL try('ALTER TABLE item ALTER v TYPE varchar USING v || ''x''');
CALL try('ALTER TABLE run ALTER n TYPE text USING n::text, ALTER env TYPE varchar');
CALL try('DROP VIEW summary', 'DROP FUNCTION put', 'ALTER TABLE run ALTER n TYPE text USING n::text, ALTER env TYPE varchar');
CALL try('ALTER TABLE "Rk 2".item DROP no');
CALL try('ALTER TABLE item DROP run_id');
CALL try('ALTER TABLE item ALTER no DROP NOT NULL');
-- what names an index
CALL try('ALTER INDEX item_pkey SET (fillfactor = 50)', 'REINDEX INDEX item_pkey', 'CLUSTER item USING item_pkey', 'ALTER TABLE item CLUSTER ON item_pkey',
	'ALTER TABLE item REPLICA IDENTITY USING INDEX item_pkey', 'REINDEX TABLE item', 'ALTER INDEX item_pkey SET TABLESPACE pg_default');
CALL try('ALTER INDEX item_pkey ATTACH PARTITION runops_legacy.item_pkey');
REINDEX TABLE CONCURRENTLY item;
ANALYZE item;
CREATE INDEX ON item (v);
CREATE INDEX item_only ON ONLY item (v);
DROP INDEX item_v_idx, item_only;
SET client_min_messages = warning;
TABLE keys;

-- what is undone, is undone for the key too
BEGIN;
SAVEPOINT s;
SELECT runops.add_store('a', 'rk_a', remote_schema => 'rk_a') \g /dev/null
ROLLBACK TO s;
SELECT relation, valid, live FROM keys WHERE relation = 'item';
ROLLBACK;
-- the leaf's was dropped and made again by its own name
BEGIN;
SET LOCAL client_min_messages = error;
ALTER TABLE runops_legacy.item DROP CONSTRAINT item_pkey CASCADE;
ALTER TABLE runops_legacy.item ADD PRIMARY KEY (no, run_id);
SELECT finding, hint FROM runops.doctor() WHERE object LIKE 'table %' AND finding LIKE '%primary key%';
ALTER TABLE item ADD CONSTRAINT item_pkey PRIMARY KEY (no, run_id);
SELECT finding, hint FROM runops.doctor() WHERE object LIKE 'table %' AND finding LIKE '%primary key%';
ROLLBACK;
-- a partition beside the leaves gets a primary key from core
BEGIN;
CREATE TABLE beside PARTITION OF item FOR VALUES IN ('z');
SELECT indisprimary, indisvalid, inhparent::regclass FROM pg_index JOIN pg_inherits ON inhrelid = indexrelid WHERE indrelid = 'beside'::regclass;
ROLLBACK;
-- a partitioned table
CREATE TABLE parts (id text PRIMARY KEY, n int) PARTITION BY HASH (id);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 1, REMAINDER 0);
SELECT runops.attach('parts', 'id') \g /dev/null
INSERT INTO parts VALUES (:'L', 1) ON CONFLICT ON CONSTRAINT parts_pkey DO UPDATE SET n = 2;
INSERT INTO parts VALUES (:'L', 1) ON CONFLICT ON CONSTRAINT parts_pkey DO UPDATE SET n = 2 RETURNING n;
SELECT id, n FROM parts WHERE id = :'L' GROUP BY id;
SELECT * FROM keys WHERE relation LIKE '%parts%';
SELECT runops.detach('parts', force => true) \g /dev/null
SELECT * FROM keys WHERE relation LIKE '%parts%';
DROP TABLE parts;

-- rights: the owner, with CREATE on the schema
ALTER TABLE item OWNER TO regress_rk;
ALTER TABLE ONLY item DROP CONSTRAINT item_pkey;
SET ROLE regress_rk;
ALTER TABLE ONLY run DROP CONSTRAINT "run key";
ALTER TABLE ONLY item ADD PRIMARY KEY (no, run_id);
ALTER TABLE ONLY item DROP CONSTRAINT item_pkey;
SELECT runops._make_key('item', 'k');
SELECT runops._create_leaf('item', 'SELECT 1');
RESET ROLE;
REVOKE CREATE ON SCHEMA rk FROM regress_rk;
SET ROLE regress_rk;
ALTER TABLE ONLY item ADD PRIMARY KEY (no, run_id);
RESET ROLE;
ALTER TABLE ONLY item ADD PRIMARY KEY (no, run_id);
SELECT relowner::regrole FROM pg_class WHERE oid = 'item_pkey'::regclass;
ALTER TABLE item OWNER TO CURRENT_USER;

-- detach
SELECT runops.detach('run', force => true);
DROP VIEW summary;
DROP FUNCTION put;
ALTER TABLE item RENAME CONSTRAINT item_pkey TO "item key";
SELECT runops.detach(x::regclass, force => true) FROM unnest('{run,item,"\"Rk 2\".item",waits,later,nokey,folded}'::text[]) x;
TABLE keys;
SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE NOT i.indisvalid AND c.relnamespace IN ('rk'::regnamespace, '"Rk 2"'::regnamespace);

SET client_min_messages = error;
DROP SERVER rk_a CASCADE;
DROP SCHEMA rk, "Rk 2" CASCADE;
DROP OWNED BY regress_rk;
DROP ROLE regress_rk;
\connect runops_store
SET client_min_messages = error;
DROP SCHEMA rk, "Rk 2" CASCADE;
