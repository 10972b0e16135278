-- row constraints: NOT NULL and CHECK hold for the rows of every store, whether
-- or not the store's table has them, as they do for those of a plain table
\connect runops_store
CREATE TABLE rc_item (id text, "No" int, val int, word text, mood text, twice int GENERATED ALWAYS AS ("No" * 2) STORED, part int);
\connect contrib_regression
SET client_min_messages = warning;
CREATE TYPE rc_mood AS ENUM ('fine', 'bad');
CREATE DOMAIN rc_part AS int CHECK (VALUE < 10);
CREATE TABLE rc_plain (id text NOT NULL, "No" int NOT NULL, val int CHECK (val > -100), word text NOT NULL DEFAULT 'w',
	mood rc_mood NOT NULL DEFAULT 'fine', twice int GENERATED ALWAYS AS ("No" * 2) STORED, part rc_part,
	CONSTRAINT "rc Both" CHECK ("No" < 1000 OR val IS NOT NULL),
	CONSTRAINT rc_mood CHECK (mood <> 'bad' OR val > 0),
	CONSTRAINT rc_twice CHECK (twice <> 666));
CREATE TABLE rc_item (LIKE rc_plain INCLUDING ALL);
-- of rows that were there before: it holds for every new row
ALTER TABLE rc_plain ADD CONSTRAINT rc_new CHECK (word <> 'old') NOT VALID;
ALTER TABLE rc_item ADD CONSTRAINT rc_new CHECK (word <> 'old') NOT VALID;
SELECT runops.attach('rc_item', 'id');
-- added to the routed name
ALTER TABLE rc_plain ADD CONSTRAINT rc_later CHECK (word <> 'later');
ALTER TABLE rc_item ADD CONSTRAINT rc_later CHECK (word <> 'later');
ALTER TABLE rc_plain ADD CONSTRAINT rc_later2 CHECK (word <> 'later2') NOT VALID;
ALTER TABLE rc_item ADD CONSTRAINT rc_later2 CHECK (word <> 'later2') NOT VALID;
CREATE VIEW rc_plain_view AS SELECT * FROM rc_plain;
CREATE VIEW rc_item_view AS SELECT * FROM rc_item;
CREATE TABLE rc_list (n int, val int, word text);
INSERT INTO rc_list VALUES (1, -200, NULL);
RESET client_min_messages;

-- One statement, on one table with one key: what it returns or its error, and the
-- rows that it has left.
CREATE FUNCTION rc_try(statement text, relation text, key text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
	state text; cons text; col text; tab text; sch text; msg text;
	got text;
BEGIN
	BEGIN
		EXECUTE format('INSERT INTO %I (id, "No", val, word) VALUES (%L, 1, 1, ''a''), (%2$L, 2, NULL, ''b'')', relation, key);
		EXECUTE replace(replace(statement, '@t', relation), '@k', quote_literal(key));
		GET DIAGNOSTICS n = ROW_COUNT;
		EXECUTE format('SELECT string_agg((r."No", r.val, r.word, r.mood, r.twice, r.part)::text, '' '' ORDER BY r::text) FROM %I r', relation) INTO got;
		RAISE EXCEPTION USING ERRCODE = 'RB000', MESSAGE = format('%s rows, then %s', n, got);
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, cons = CONSTRAINT_NAME, col = COLUMN_NAME, tab = TABLE_NAME, sch = SCHEMA_NAME, msg = MESSAGE_TEXT;
		IF state = 'RB000' THEN
			RETURN msg;
		END IF;
		-- core names the leaf of legacy
		RETURN concat_ws(' ', state, replace(cons, 'rc_item', 'rc_plain'), col, replace(tab, 'rc_item', 'rc_plain'), replace(replace(msg, 'rc_item', 'rc_plain'), key, 'KEY'));
	END;
END
$$;
CREATE TABLE rc_statement (no int GENERATED ALWAYS AS IDENTITY, statement text);
INSERT INTO rc_statement (statement) VALUES
	($$INSERT INTO @t (id, "No", val) VALUES (@k, 3, -100)$$),
	($$INSERT INTO @t (id, "No", val) VALUES (@k, 3, -99)$$),
	($$INSERT INTO @t (id, "No", val) VALUES (@k, 3, 1), (@k, 4, 2), (@k, 5, -500), (@k, 6, 4)$$),
	($$INSERT INTO @t (id, "No") VALUES (@k, NULL)$$),
	($$INSERT INTO @t (id) VALUES (@k)$$),
	($$INSERT INTO @t (id, "No", word) VALUES (@k, 3, NULL)$$),
	($$INSERT INTO @t (id, "No", word) VALUES (@k, 3, 'old')$$),
	($$INSERT INTO @t (id, "No", word) VALUES (@k, 3, 'later')$$),
	($$INSERT INTO @t (id, "No", word) VALUES (@k, 3, 'later2')$$),
	($$INSERT INTO @t (id, "No") VALUES (@k, 1000)$$),
	($$INSERT INTO @t (id, "No", mood) VALUES (@k, 3, 'bad')$$),
	($$INSERT INTO @t (id, "No", mood) VALUES (@k, 3, NULL)$$),
	($$INSERT INTO @t (id, "No") VALUES (@k, 333)$$),
	($$INSERT INTO @t (id, "No", part) VALUES (@k, 3, 10)$$),
	($$INSERT INTO @t (id, "No", val) SELECT @k, n, val FROM rc_list$$),
	($$INSERT INTO @t (id, "No", val) VALUES (@k, 3, -100) ON CONFLICT DO NOTHING$$),
	($$INSERT INTO @t (id, "No", val) VALUES (@k, 3, -100) RETURNING val$$),
	($$WITH i AS (INSERT INTO @t (id, "No", val) VALUES (@k, 3, -100) RETURNING val) SELECT * FROM i$$),
	($$INSERT INTO @t_view (id, "No", val) VALUES (@k, 3, -100)$$),
	($$UPDATE @t SET val = -100 WHERE id = @k$$),
	($$UPDATE @t SET val = -100 WHERE id = @k AND "No" = 77$$),
	($$UPDATE @t SET val = -99 WHERE id = @k$$),
	($$UPDATE @t SET val = val - 101 WHERE id = @k$$),
	($$UPDATE @t SET val = NULL WHERE id = @k$$),
	($$UPDATE @t SET val = -100 WHERE id >= ''$$),
	($$UPDATE @t_view SET val = -100 WHERE id = @k$$),
	($$UPDATE @t SET "No" = NULL WHERE id = @k$$),
	($$UPDATE @t SET "No" = val WHERE id = @k$$),
	($$UPDATE @t SET "No" = "No" + val WHERE id = @k$$),
	($$UPDATE @t SET "No" = "No" + 1 WHERE id = @k$$),
	($$UPDATE @t SET "No" = "No" + 999 WHERE id = @k$$),
	($$UPDATE @t SET "No" = "No" + 332 WHERE id = @k$$),
	($$UPDATE @t SET "No" = 333 WHERE id = @k$$),
	($$UPDATE @t SET word = NULLIF(word, 'a') WHERE id = @k$$),
	($$UPDATE @t SET word = 'old' WHERE id = @k$$),
	($$UPDATE @t SET word = 'c' || val WHERE id = @k$$),
	($$UPDATE @t SET word = (SELECT l.word FROM rc_list l) WHERE id = @k$$),
	($$UPDATE @t SET (val, word) = (SELECT l.val, l.word FROM rc_list l) WHERE id = @k$$),
	($$UPDATE @t t SET val = l.val FROM rc_list l WHERE t.id = @k AND t."No" = l.n$$),
	($$UPDATE @t SET mood = 'bad' WHERE id = @k AND "No" = 1$$),
	($$UPDATE @t SET mood = 'bad', val = -1 WHERE id = @k$$),
	($$UPDATE @t SET mood = NULL WHERE id = @k$$),
	($$UPDATE @t SET part = "No" + 8 WHERE id = @k$$),
	($$UPDATE @t SET part = 10 WHERE id = @k$$),
	($$WITH u AS (UPDATE @t SET val = -100 WHERE id = @k RETURNING val) SELECT * FROM u$$),
	($$DO $d$BEGIN UPDATE @t SET val = -100 WHERE id = @k; END$d$ $$),
	($$DO $d$DECLARE v int; BEGIN FOREACH v IN ARRAY ARRAY[1,2,3,4,5,6,7,-100] LOOP UPDATE @t SET val = v WHERE id = @k; END LOOP; END$d$ $$),
	($$DO $d$DECLARE w text; BEGIN FOREACH w IN ARRAY ARRAY['1','2','3','4','5','6','7',NULL] LOOP INSERT INTO @t (id, "No", word) VALUES (@k, 9, w); END LOOP; END$d$ $$);

-- each as on a plain table, in a store, with one row and with several sent at a
-- time, with a generic plan, and without the hooks; the rows are what differs
ALTER FOREIGN TABLE runops_new.rc_item OPTIONS (ADD batch_size '1');
CREATE TABLE rc_different (setting text, statement text, plain text, routed text);
CREATE PROCEDURE rc_compare(setting text) LANGUAGE sql AS $$
	INSERT INTO rc_different
	SELECT setting, s.statement, x.plain, x.routed
	FROM rc_statement s, unnest(ARRAY['c000000000000000000000001', '0123456789abcdefghijklmna1']) k,
		LATERAL (SELECT rc_try(s.statement, 'rc_plain', k) AS plain, rc_try(s.statement, 'rc_item', k) AS routed) x
	WHERE x.plain IS DISTINCT FROM x.routed ORDER BY s.no, k
$$;
CALL rc_compare('default');
ALTER FOREIGN TABLE runops_new.rc_item OPTIONS (SET batch_size '10');
CALL rc_compare('batch');
SET plan_cache_mode = force_generic_plan;
CALL rc_compare('generic');
RESET plan_cache_mode;
SET runops.enable_routing = off;
CALL rc_compare('off');
RESET runops.enable_routing;
SELECT * FROM rc_different;
SELECT statement, rc_try(statement, 'rc_item', '0123456789abcdefghijklmna1') AS result FROM rc_statement ORDER BY no;

-- the error has every field, and the failing row
CREATE FUNCTION rc_fields(statement text,
	OUT state text, OUT message text, OUT detail text, OUT "schema" text,
	OUT "table" text, OUT "column" text, OUT "constraint" text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, "schema" = SCHEMA_NAME, "table" = TABLE_NAME,
		"column" = COLUMN_NAME, "constraint" = CONSTRAINT_NAME;
END $$;
\set SHOW_CONTEXT never
\x on
SELECT * FROM rc_fields($$INSERT INTO rc_item (id, "No", val) VALUES ('0123456789abcdefghijklmna1', 3, -100)$$);
SELECT * FROM rc_fields($$INSERT INTO rc_item (id, "No") VALUES ('0123456789abcdefghijklmna1', NULL)$$);
\x off
COPY rc_item (id, "No", val) FROM stdin;
0123456789abcdefghijklmna1	1	1
0123456789abcdefghijklmna1	2	-100
\.
COPY rc_item (id, "No", word) FROM stdin;
0123456789abcdefghijklmna1	1	\N
\.
PREPARE rc_insert(int) AS INSERT INTO rc_item (id, "No", val) VALUES ('0123456789abcdefghijklmna1', 3, $1);
EXECUTE rc_insert(-100);
PREPARE rc_update(text, int) AS UPDATE rc_item SET val = $2 WHERE id = $1;
EXECUTE rc_update('0123456789abcdefghijklmna1', -100);
SELECT count(*) FROM rc_item;

-- a role that may insert sees of the row what it has set
CREATE ROLE rc_clerk;
GRANT INSERT ON rc_item TO rc_clerk;
CREATE USER MAPPING FOR rc_clerk SERVER run_ops OPTIONS (password_required 'false');
SET ROLE rc_clerk;
INSERT INTO rc_item (id, "No", val) VALUES ('0123456789abcdefghijklmna1', 3, -100);
RESET ROLE;

-- an UPDATE that proves the constraints is still one statement of the leaf
SET runops.enable_shipping = off;
EXPLAIN (COSTS OFF, VERBOSE) UPDATE rc_item SET val = 5 WHERE id = '0123456789abcdefghijklmna1';
CREATE TABLE rc_flat (id text NOT NULL, n int NOT NULL, val int CHECK (val > -100), note text);
SELECT runops.attach('rc_flat', 'id');
EXPLAIN (COSTS OFF) UPDATE rc_flat SET n = n + 1 WHERE id = '0123456789abcdefghijklmna1';
EXPLAIN (COSTS OFF) UPDATE rc_flat SET n = 4, val = 5, note = NULL WHERE id = '0123456789abcdefghijklmna1';
EXPLAIN (COSTS OFF) UPDATE rc_flat SET val = -100 WHERE id = '0123456789abcdefghijklmna1';
EXPLAIN (COSTS OFF) UPDATE rc_flat SET n = NULL WHERE id = '0123456789abcdefghijklmna1';
EXPLAIN (COSTS OFF) UPDATE rc_flat SET val = val + 1 WHERE id = '0123456789abcdefghijklmna1';

RESET runops.enable_shipping;

-- the constraint that was not valid stays so, on the table and after detach
SELECT conrelid::regclass, convalidated FROM pg_constraint WHERE conname = 'rc_new' AND conrelid IN ('rc_item'::regclass, 'runops_legacy.rc_item'::regclass) ORDER BY 1;
SET client_min_messages = warning;
DROP VIEW rc_item_view;
SELECT runops.detach('rc_item'), runops.detach('rc_flat');
SELECT conname, convalidated, conislocal, coninhcount FROM pg_constraint WHERE conrelid = 'rc_item'::regclass AND contype = 'c' ORDER BY 1;
DROP VIEW rc_plain_view;
DROP TABLE rc_item, rc_plain, rc_list, rc_flat, rc_statement, rc_different;
DROP FUNCTION rc_try, rc_fields;
DROP PROCEDURE rc_compare;
DROP USER MAPPING FOR rc_clerk SERVER run_ops;
DROP OWNED BY rc_clerk;
DROP ROLE rc_clerk;
DROP DOMAIN rc_part;
DROP TYPE rc_mood;
\connect runops_store
DROP TABLE rc_item;
