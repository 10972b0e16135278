-- insert batches: many rows that go to a store together are those that one plain
-- database would have, and so are counts, errors, and what RETURNING shows
--
-- compare() executes statements over a routed table, with and without routing,
-- and over a plain one, and rolls them back.  It says "same" if results, errors
-- and the rows that are left are the same, and shows them if asked to.
\connect runops_store
-- provision makes no domain over an array
CREATE DOMAIN ib_list AS int[] CHECK (cardinality(VALUE) < 5);
CREATE FUNCTION ib_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.word = 'suppressed' THEN
		RETURN NULL;
	END IF;
	IF NEW.word = 'lower' THEN
		NEW.word := 'LOWER';
	END IF;
	RETURN NEW;
END
$$;
\connect contrib_regression
SET client_min_messages = warning;
SET datestyle = ISO;
CREATE TYPE ib_mood AS ENUM ('fine', 'not "so" fine', 'b\d');
CREATE TYPE ib_pair AS (a int, b text);
CREATE DOMAIN ib_small AS int CHECK (VALUE < 100000);
CREATE DOMAIN ib_list AS int[] CHECK (cardinality(VALUE) < 5);
CREATE SEQUENCE ib_seq;
CREATE TABLE ib_plain (id text PRIMARY KEY, n int NOT NULL UNIQUE, word varchar(20) DEFAULT 'w', fixed char(3), bits bit(4),
	mood ib_mood DEFAULT 'fine', moods ib_mood[], pair ib_pair, small ib_small, list ib_list, words text[], box box, boxes box[],
	money numeric(6, 2), at timestamptz, span interval, doc jsonb, raw bytea, f float8, no bigint DEFAULT nextval('ib_seq'),
	twice int GENERATED ALWAYS AS (n * 2) STORED, "Odd, ""name" text, CONSTRAINT ib_n CHECK (n <> 13));
CREATE TABLE ib_item (LIKE ib_plain INCLUDING ALL);
SELECT runops.attach('ib_item', 'id');
SELECT count(*) > 0 AS provisioned FROM runops.provision('new');
-- a table whose columns can all travel as arrays
CREATE TABLE ib_few_plain (id text PRIMARY KEY, n int UNIQUE, word varchar(20));
CREATE TABLE ib_few (LIKE ib_few_plain INCLUDING ALL);
SELECT runops.attach('ib_few', 'id');
SELECT count(*) > 0 AS provisioned FROM runops.provision('new');
CREATE FUNCTION ib_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.word = 'suppressed' THEN
		RETURN NULL;
	END IF;
	IF NEW.word = 'lower' THEN
		NEW.word := 'LOWER';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER change BEFORE INSERT ON ib_plain FOR EACH ROW EXECUTE FUNCTION ib_change();
CREATE TRIGGER change BEFORE INSERT ON ib_few_plain FOR EACH ROW EXECUTE FUNCTION ib_change();
\connect runops_store
CREATE TRIGGER change BEFORE INSERT ON ib_item FOR EACH ROW EXECUTE FUNCTION ib_change();
CREATE TRIGGER change BEFORE INSERT ON ib_few FOR EACH ROW EXECUTE FUNCTION ib_change();
\connect contrib_regression
SET client_min_messages = warning;

-- the id of row g, in the store or in legacy
CREATE FUNCTION ib_id(g int, kind text DEFAULT 'N') RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE kind WHEN 'N' THEN '0123456789abcdefghi' || lpad(g::text, 6, '0') || '1' ELSE 'c' || lpad(g::text, 24, '0') END
$$;
-- queries the tables in a subtransaction, for each row
CREATE FUNCTION ib_count(relation text, fails bool) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	found bigint;
BEGIN
	BEGIN
		EXECUTE format('SELECT count(*) FROM %I', relation) INTO found;
		IF fails THEN
			RAISE EXCEPTION 'x';
		END IF;
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	RETURN found;
END
$$;
CREATE FUNCTION ib_outcome(statements text[], routed bool, routing text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	statement text;
	line record;
	result text := '';
	n bigint;
	state text; cons text; col text; tab text; sch text; msg text; det text;
BEGIN
	PERFORM set_config('runops.enable_routing', routing, true), setval('ib_seq', 1, false);
	BEGIN
		FOREACH statement IN ARRAY statements LOOP
			statement := replace(replace(statement, '@few', CASE WHEN routed THEN 'ib_few' ELSE 'ib_few_plain' END),
				'@t', CASE WHEN routed THEN 'ib_item' ELSE 'ib_plain' END);
			IF statement ~ 'RETURNING|^SELECT' THEN
				FOR line IN EXECUTE statement LOOP
					result := result || line::text || E'\n';
				END LOOP;
			ELSE
				EXECUTE statement;
				GET DIAGNOSTICS n = ROW_COUNT;
				result := result || n || E' rows\n';
			END IF;
		END LOOP;
		FOREACH statement IN ARRAY CASE WHEN routed THEN '{ib_item,ib_few}' ELSE '{ib_plain,ib_few_plain}'::text[] END LOOP
			FOR line IN EXECUTE format('SELECT x.* FROM %I x ORDER BY id COLLATE "C"', statement) LOOP
				result := result || line::text || E'\n';
			END LOOP;
		END LOOP;
		RAISE EXCEPTION USING ERRCODE = 'RB000';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, cons = CONSTRAINT_NAME, col = COLUMN_NAME, tab = TABLE_NAME,
			sch = SCHEMA_NAME, msg = MESSAGE_TEXT, det = PG_EXCEPTION_DETAIL;
		IF state <> 'RB000' THEN
			result := result || concat_ws('|', state, cons, col, tab, sch, left(msg, 20), det);
		END IF;
	END;
	-- the tables have different names
	RETURN replace(replace(result, 'ib_item', 'ib'), '_plain', '');
END
$$;
CREATE FUNCTION compare(show bool, VARIADIC statements text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plain text := ib_outcome(statements, false, 'on');
	routing text;
	routed text;
BEGIN
	FOREACH routing IN ARRAY '{on,off}'::text[] LOOP
		routed := ib_outcome(statements, true, routing);
		IF routed <> plain THEN
			RETURN (SELECT format(E'with routing %s, line %s: %s instead of %s', routing, min(n), min(r), min(p))
				FROM (SELECT n, r, p FROM (SELECT * FROM ROWS FROM (regexp_split_to_table(routed, E'\n'), regexp_split_to_table(plain, E'\n')) WITH ORDINALITY) x(r, p, n)
					WHERE r IS DISTINCT FROM p ORDER BY n LIMIT 1) y);
		END IF;
	END LOOP;
	RETURN CASE WHEN show THEN plain ELSE 'same' END;
END
$$;

-- values that look like the syntax of arrays and rows, of every type
SELECT compare(false, $$INSERT INTO @t (id, n, word, fixed, bits, mood, moods, pair, small, list, words, box, boxes, money, at, span, doc, raw, f, "Odd, ""name") VALUES
	(ib_id(1), 1, 'a', 'a', B'1010', 'fine', '{fine}', (1, 'x'), 1, '{1,2}', '{a,b}', '((1,1),(0,0))', '{((1,1),(0,0));((2,2),(0,0))}', 1.005, '2026-01-01 10:00+02', '1 day', '{"a": [1, "b\"c"]}', '\x00ff', 1.1, ''),
	(ib_id(2), 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(ib_id(3), 3, 'NULL', 'x  ', B'0000', 'not "so" fine', '{"not \"so\" fine","b\\d",NULL}', (NULL, '"{},('), -1, '{}', '{"a\"b","c\\d",NULL,"NULL","",x}', NULL, '{}', 'NaN', 'infinity', '-1 mon', '"{}"', '', 'Infinity', '{"\'),
	(ib_id(4), 4, '', '', B'1111', 'b\d', '{}', ROW(NULL, NULL), 0, '{{1,2},{3,4}}', '{{a,b},{c,d}}', '((0.1,0),(0,0))', NULL, 0, 'epoch', '1 us', 'null', '\x5c5c', 'NaN', E'a\nb\t"c\\'),
	(ib_id(5), 5, '{}', 'äöü', B'0001', 'fine', '{fine,"b\\d"}', (5, ''), 5, '[2:3]={1,2}', '[0:1]={a,b}', NULL, NULL, 5, now(), '0', '[]', 'x', -0.0, ' é ')$$);
SELECT compare(false, $$INSERT INTO @few SELECT ib_id(g), g, CASE g % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN '"\,{}NULL' WHEN 3 THEN 'null' ELSE repeat(' ', g % 7) END FROM generate_series(1, 3500) g$$);
-- one value is too long, of another length, or out of range
SELECT compare(true, $$INSERT INTO @few SELECT ib_id(g), g, repeat('x', CASE WHEN g = 1500 THEN 21 ELSE g % 20 END) FROM generate_series(1, 2000) g$$);
SELECT compare(false, $$INSERT INTO @few SELECT ib_id(g), g, 'x' || repeat(' ', 30) FROM generate_series(1, 3) g$$);
-- a key that is taken: in the middle of a batch, in the last one, by an earlier row
SELECT compare(true, $$INSERT INTO @few SELECT ib_id(g), nullif(g, 1700) FROM generate_series(1, 100) g$$, $$INSERT INTO @few SELECT ib_id(g), 10000 - g FROM generate_series(2000, 90, -1) g$$);
SELECT compare(true, $$INSERT INTO @few SELECT ib_id(g), g % 2100 FROM generate_series(1, 2150) g$$);
SELECT compare(true, $$INSERT INTO @t (id, n) SELECT ib_id(g), g FROM generate_series(1, 20) g$$);
-- the exact count, if the store inserts fewer rows
SELECT left(compare(true, $$INSERT INTO @few SELECT ib_id(g), g, CASE WHEN g % 3 = 0 THEN 'suppressed' ELSE 'lower' END FROM generate_series(1, 2500) g$$), 10);
SELECT left(compare(true, $$INSERT INTO @few SELECT ib_id(g), g FROM generate_series(1, 1100) g$$, $$INSERT INTO @few SELECT ib_id(g % 1300), g % 1300 FROM generate_series(1000, 2600) g ON CONFLICT DO NOTHING$$), 20);
SELECT compare(true, $$INSERT INTO @few VALUES (ib_id(1), 1, 'suppressed')$$, $$INSERT INTO @few VALUES (ib_id(1), 1, 'suppressed') RETURNING id$$);
-- RETURNING, in order, of what the store has stored
SELECT compare(true, $$INSERT INTO @few VALUES (ib_id(3), 1, 'lower'), (ib_id(1), 2, 'suppressed'), (ib_id(2), 3, 'x'), (ib_id(4, 'L'), 4, 'x') RETURNING n, word, id, tableoid IS NOT NULL AS t$$);
SELECT compare(false, $$INSERT INTO @t (id, n, word) SELECT ib_id(g), g, CASE WHEN g % 7 = 0 THEN 'suppressed' ELSE 'lower' END FROM generate_series(100, 1, -1) g WHERE g <> 13 RETURNING *, twice + 1$$);
SELECT compare(false, $$INSERT INTO @few SELECT ib_id(g, CASE WHEN g % 3 = 0 THEN 'L' ELSE 'N' END), g FROM generate_series(1, 2500) g RETURNING id, n$$);
SELECT compare(false, $$INSERT INTO @few SELECT ib_id(g), g FROM generate_series(1, 10) g$$, $$INSERT INTO @few SELECT ib_id(g % 15), g % 15 FROM generate_series(1, 40) g ON CONFLICT DO NOTHING RETURNING n$$);
SELECT compare(true, $$INSERT INTO @few SELECT ib_id(g), g % 40 FROM generate_series(1, 50) g RETURNING n$$);
SELECT compare(true, $$INSERT INTO @t (id, n) SELECT ib_id(g), g FROM generate_series(10, 20) g RETURNING n$$);
SELECT compare(true, $$INSERT INTO @few VALUES (ib_id(1), 1), (ib_id(2), 2) RETURNING 1$$);
SELECT compare(false, $$INSERT INTO @few SELECT ib_id(g), g, repeat('x', g % 20) FROM generate_series(1, 30) g RETURNING @few$$);
-- in WITH
SELECT compare(false, $$WITH i AS (INSERT INTO @few SELECT ib_id(g), g FROM generate_series(1, 2000) g RETURNING n) SELECT count(*) /* RETURNING */ FROM i$$);
SELECT left(compare(true, $$WITH i AS (INSERT INTO @few SELECT ib_id(g), g FROM generate_series(1, 50) g RETURNING n) SELECT n FROM i LIMIT 2$$, $$SELECT count(*) FROM @few$$), 11);
SELECT left(compare(true, $$WITH i AS (INSERT INTO @few SELECT ib_id(g), g FROM generate_series(1, 1500) g) SELECT count(*) /* RETURNING */ FROM @few$$, $$SELECT count(*) FROM @few$$), 11);
SELECT compare(false, $$WITH i AS (INSERT INTO @few SELECT ib_id(g), g, 'lower' FROM generate_series(1, 300) g RETURNING *) INSERT INTO @t (id, n, word) SELECT id, n + 1000, word FROM i RETURNING twice, word$$);
-- a statement does not see its own rows, and a function that it calls does
SELECT compare(false, $$INSERT INTO @few SELECT ib_id(g), g FROM generate_series(1, 1200) g$$, $$INSERT INTO @few SELECT ib_id(n + 2000), n + 2000, (SELECT count(*) FROM @few)::text FROM @few$$, $$INSERT INTO @few SELECT ib_id(n + 5000), n + 5000 FROM @few RETURNING n$$);
SELECT compare(true, $$INSERT INTO @few SELECT ib_id(g), g, ib_count('@few', g % 2 = 0)::text FROM generate_series(1, 6) g$$);
SELECT compare(true, $$INSERT INTO @few SELECT ib_id(g), g, ib_count('@few', g % 2 = 1)::text FROM generate_series(1, 6) g$$, $$UPDATE @few SET n = n + 1000$$, $$DELETE FROM @few WHERE n > 1003$$);
-- ... elsewhere in the statement, which gets the inserted rows one by one
SELECT compare(true, $$WITH i AS (INSERT INTO @few SELECT ib_id(g), g FROM generate_series(1, 3) g RETURNING n) SELECT n, ib_count('@few', false) /* RETURNING */ FROM i$$);
SELECT compare(true, $$WITH i AS (INSERT INTO @few SELECT ib_id(g), g FROM generate_series(1, 3) g RETURNING n) SELECT n /* RETURNING */ FROM i WHERE ib_count('@few', false) < 3$$);
SELECT compare(true, $$WITH i AS (INSERT INTO @few SELECT ib_id(g), g FROM generate_series(1, 3) g RETURNING *) INSERT INTO @t (id, n, word) SELECT id, n, ib_count('@few', true)::text FROM i RETURNING n, word$$);
SELECT compare(true, $$WITH c AS MATERIALIZED (SELECT g, ib_count('@few', true)::text AS found FROM generate_series(1, 3) g) INSERT INTO @few SELECT ib_id(g), g, found FROM c RETURNING n, word$$);
SELECT compare(true, $$INSERT INTO @few SELECT ib_id(g), nextval('ib_seq') FROM generate_series(1, 3) g RETURNING n, currval('ib_seq'), lastval()$$);
SELECT compare(true, $$WITH i AS (INSERT INTO @few SELECT ib_id(g), nextval('ib_seq') FROM generate_series(1, 3) g RETURNING n) SELECT n, currval('ib_seq') /* RETURNING */ FROM i$$);
CREATE TABLE ib_seen (n int, found bigint);
CREATE FUNCTION ib_see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.found := ib_count(TG_ARGV[0], false); RETURN NEW; END$$;
CREATE TRIGGER see BEFORE INSERT ON ib_seen FOR EACH ROW EXECUTE FUNCTION ib_see('ib_few');
WITH i AS (INSERT INTO ib_few SELECT ib_id(g), g FROM generate_series(1, 3) g RETURNING n) INSERT INTO ib_seen SELECT n FROM i RETURNING *;
DELETE FROM ib_few;
DROP TABLE ib_seen;
DROP FUNCTION ib_see();
-- a function whose statement fails does not take the rows of the outer one away
CREATE FUNCTION ib_try(relation text, g int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	EXECUTE format('INSERT INTO %I VALUES (ib_id(500), 500)', relation);
	RETURN 'inserted';
EXCEPTION WHEN unique_violation THEN
	RETURN 'taken';
END
$$;
SELECT compare(true, $$INSERT INTO @few SELECT ib_id(g), g, ib_try('@few', g) FROM generate_series(1, 4) g$$);
-- a view with a check option, policies, and statements that are prepared
CREATE VIEW ib_view_plain AS SELECT * FROM ib_few_plain WHERE n < 30 WITH CHECK OPTION;
CREATE VIEW ib_view AS SELECT * FROM ib_few WHERE n < 30 WITH CHECK OPTION;
INSERT INTO ib_view SELECT ib_id(g), g FROM generate_series(1, 20) g RETURNING n * 2 AS double;
INSERT INTO ib_view SELECT ib_id(g), g FROM generate_series(21, 40) g;
PREPARE i(int, int) AS INSERT INTO ib_few SELECT ib_id(g), g FROM generate_series($1, $2) g;
PREPARE r(int, int) AS INSERT INTO ib_few SELECT ib_id(g), g FROM generate_series($1, $2) g RETURNING n;
SET plan_cache_mode = force_generic_plan;
EXECUTE i(100, 1600);
EXECUTE i(2000, 3999);
EXECUTE r(4000, 4003);
SELECT count(*), sum(n) FROM ib_few;
DEALLOCATE i;
DEALLOCATE r;
RESET plan_cache_mode;
-- the plan is core's
EXPLAIN (COSTS OFF) INSERT INTO ib_few SELECT ib_id(g), g FROM generate_series(1, 2) g RETURNING n;
CREATE FUNCTION ib_explain(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) ' || query LOOP
		-- versions write numbers differently
		RETURN NEXT regexp_replace(line, 'rows=(\d+)(\.00)?', 'rows=\1');
	END LOOP;
END
$$;
SELECT ib_explain('INSERT INTO ib_few SELECT ib_id(g), g FROM generate_series(6001, 6100) g RETURNING n');
SELECT ib_explain('INSERT INTO ib_few SELECT ib_id(g), g FROM generate_series(6101, 6200) g');
DROP FUNCTION ib_explain(text);
-- INTO takes one row
DO $$
DECLARE
	x int;
BEGIN
	INSERT INTO ib_few SELECT ib_id(g), g FROM generate_series(7001, 7100) g RETURNING n INTO x;
EXCEPTION WHEN too_many_rows THEN
	RAISE WARNING '% rows', (SELECT count(*) FROM ib_few WHERE n > 7000);
END
$$;
-- triggers of the leaf: before each row, which sees those before, and after each
CREATE FUNCTION ib_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE WARNING '% %: %, % rows', TG_WHEN, NEW.n, NEW.word, (SELECT count(*) FROM ib_few WHERE n > 8000);
	RETURN NEW;
END
$$;
CREATE TRIGGER note BEFORE INSERT ON runops_new.ib_few FOR EACH ROW EXECUTE FUNCTION ib_note();
INSERT INTO ib_few SELECT ib_id(g), g, 'lower' FROM generate_series(8001, 8003) g;
INSERT INTO ib_few SELECT ib_id(g), g, 'lower' FROM generate_series(8004, 8005) g RETURNING word;
DROP TRIGGER note ON runops_new.ib_few;
CREATE TRIGGER note AFTER INSERT ON runops_new.ib_few FOR EACH ROW EXECUTE FUNCTION ib_note();
INSERT INTO ib_few VALUES (ib_id(8006), 8006, 'lower'), (ib_id(8007), 8007, 'suppressed'), (ib_id(8008), 8008, 'x');
DROP TRIGGER note ON runops_new.ib_few;
-- savepoints
BEGIN;
INSERT INTO ib_few SELECT ib_id(g), g FROM generate_series(9001, 11500) g;
SAVEPOINT a;
INSERT INTO ib_few SELECT ib_id(g), g % 11000 FROM generate_series(12001, 14500) g;
ROLLBACK TO a;
INSERT INTO ib_few SELECT ib_id(g), g FROM generate_series(12001, 12003) g RETURNING n;
COMMIT;
SELECT count(*) FROM ib_few WHERE n > 9000;
-- COPY, with an error in a later batch and one in its own input
DELETE FROM ib_few;
COPY (SELECT ib_id(g), g, 'copied' FROM generate_series(1, 2300) g) TO PROGRAM 'cat > ib_copy.data';
COPY ib_few FROM PROGRAM 'cat ib_copy.data';
SELECT count(*), sum(n), min(word) FROM ib_few;
DELETE FROM ib_few WHERE n <> 1900;
\set SHOW_CONTEXT always
COPY ib_few FROM PROGRAM 'cat ib_copy.data';
COPY ib_few FROM PROGRAM 'head -n 1500 ib_copy.data; echo x';
COPY ib_few (id, n) FROM stdin;
0123456789abcdefghi0000011	1
0123456789abcdefghi0000021	2
0123456789abcdefghi0000031	1900
0123456789abcdefghi0000041	4
\.
\set SHOW_CONTEXT errors
SELECT count(*) FROM ib_few;
COPY ib_few FROM PROGRAM 'head -n 1500 ib_copy.data';
SELECT count(*), sum(n) FROM ib_few;
DROP VIEW ib_view, ib_view_plain;
SELECT runops.detach('ib_few', force => true);
SELECT runops.detach('ib_item', force => true);
DROP TABLE ib_few, ib_item, ib_few_plain, ib_plain;
DROP FUNCTION compare(bool, text[]), ib_outcome(text[], bool, text), ib_count(text, bool), ib_try(text, int), ib_note(), ib_change(), ib_id(int, text);
DROP SEQUENCE ib_seq;
DROP TYPE ib_mood, ib_pair;
DROP DOMAIN ib_small, ib_list;
\! rm -f ib_copy.data
\connect runops_store
DROP TABLE ib_item, ib_few;
DROP FUNCTION ib_change();
DROP TYPE ib_mood, ib_pair;
DROP DOMAIN ib_small, ib_list;
