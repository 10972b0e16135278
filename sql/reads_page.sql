-- reads_page: pages in one order over all stores

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema read_page
\i :helpers
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE task (id text PRIMARY KEY, env text NOT NULL, "createdAt" timestamp(3) NOT NULL, at timestamptz(6), n int, f float8, name text,
	code char(3), c text COLLATE "C", doc json, docb jsonb, m mood);
CREATE INDEX ON task (env, "createdAt");
SELECT runops.attach('task', 'id', '{}');
SELECT count(*) > 0 AS made FROM runops.provision('new') WHERE action = 'create';
SELECT count(*) > 0 AS made FROM runops.provision('a') WHERE action = 'create';

-- ids of every shape, interleaved in time; ties over stores; NULLs; texts that collations disagree about
INSERT INTO task
SELECT CASE i % 5 WHEN 0 THEN 'cpage' || lpad(i::text, 20, '0') WHEN 1 THEN '0ujtsYcgvSTl8PAuAdqWYSMn' || lpad(i::text, 3, '0')
		WHEN 2 THEN '0123456789abcdefghijk' || lpad(i::text, 3, '0') || 'a1' WHEN 3 THEN '0123456789abcdefghijk' || lpad(i::text, 3, '0') || 'a2'
		ELSE 'odd' || i END,
	'e' || i % 3, '2026-01-01'::timestamp + i / 7 * interval '1 ms', nullif('2026-01-01 00:00:00+00'::timestamptz + i / 4 * interval '1 us', '2026-01-01 00:00:00+00'),
	nullif(i % 9, 0), nullif(i / 3.0, 0), nullif((ARRAY['b', 'a', 'B', 'A', '_', 'Z', 'ä', '', '\x', 'a b'])[i % 10 + 1], 'Z'),
	'x', (ARRAY['b', 'a', 'B', 'A', 'ä'])[i % 5 + 1], NULL, NULL, CASE WHEN i % 2 = 0 THEN 'sad'::mood ELSE 'glad' END
FROM generate_series(1, 80) i;
INSERT INTO task (id, env, "createdAt") VALUES ('', 'e1', '2026-01-01'), ('\', 'e1', '2026-01-01'), ('\\x41', 'e1', '2026-01-01'),
	('ödd', 'e1', '2026-01-01'), ('Odd', 'e1', '2026-01-01'), ('%s "quoted"', 'e1', 'infinity'), ('x' || chr(1), 'e1', '-infinity');

CREATE FUNCTION walk(sort name, page_size int, descending boolean DEFAULT true, scope jsonb DEFAULT NULL)
	RETURNS TABLE (pages int, n int, same_as_order_by boolean) LANGUAGE plpgsql AS $$
DECLARE
	r record;
	after jsonb;
	seen text[] := '{}';
	expected text[];
	byte_order text := CASE WHEN sort IN ('name', 'env', 'id', 'c') THEN 'COLLATE "C"' END;
	got int;
BEGIN
	pages := 0;
	LOOP
		got := 0;
		FOR r IN SELECT * FROM runops.read_page('task', scope, sort, page_size, after, descending) LOOP
			got := got + 1;
			seen := seen || (r."row" ->> 'id');
			after := r."cursor";
		END LOOP;
		EXIT WHEN got = 0;
		pages := pages + 1;
	END LOOP;
	EXECUTE format('SELECT array_agg(id ORDER BY %I %s %s, id COLLATE "C" %3$s) FROM task WHERE $1 IS NULL OR env = $1',
				   sort, byte_order, CASE WHEN descending THEN 'DESC' ELSE 'ASC' END)
	INTO expected USING scope ->> 'env';
	n := cardinality(seen);
	same_as_order_by := seen = expected;
	RETURN NEXT;
END
$$;
SELECT sort, d, w.* FROM unnest('{createdAt,at,n,f,name,c,id,env,m}'::name[]) sort, unnest('{t,f}'::boolean[]) d, walk(sort, 7, d) w;
SELECT sort, d, w.* FROM unnest('{createdAt,n,name}'::name[]) sort, unnest('{t,f}'::boolean[]) d, walk(sort, 1, d, '{"env": "e1"}') w;
SELECT * FROM walk('createdAt', 500);
SELECT * FROM walk('n', 500, false, '{"env": "nobody"}');

-- however the session shows values
SET timezone = 'Asia/Kathmandu';
SET datestyle = 'German';
SET extra_float_digits = -10;
SET intervalstyle = 'sql_standard';
SELECT sort, d, w.* FROM unnest('{createdAt,at,f}'::name[]) sort, unnest('{t,f}'::boolean[]) d, walk(sort, 7, d) w;
SELECT "cursor" FROM runops.read_page('task', '{"env": "e1"}', 'at', 2);
SELECT p."cursor" AS place FROM runops.read_page('task', '{"env": "e1"}', 'f', 2, NULL, false) p OFFSET 1 \gset
RESET timezone;
RESET datestyle;
RESET extra_float_digits;
RESET intervalstyle;
SELECT :'place';
SELECT "row" ->> 'f' AS f FROM runops.read_page('task', '{"env": "e1"}', 'f', 1, :'place', false);
SELECT * FROM runops.read_page('task', '{"env": "e2", "n": 2}', 'createdAt', 1);

-- each store is asked once
SELECT runops.reset_stats();
SELECT count(*) FROM runops.read_page('task', '{"env": "e1"}', 'createdAt', 5);
SELECT store, statements_single + statements_multi AS statements FROM runops.stats WHERE relation = 'task'::regclass ORDER BY store;
-- and orders and limits itself, whether few rows or many are expected
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM task WHERE runops.store_of(id) = 'new' AND env = 'e1' ORDER BY "createdAt" DESC LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM task WHERE runops.store_of(id) = 'new' AND env = 'e1' AND n = 5 AND f = 7 ORDER BY "createdAt" DESC LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM task WHERE runops.store_of(id) = 'new' AND env = 'e1' AND n = 5 AND f = 7 LIMIT 3;
ANALYZE task;
SELECT * FROM walk('createdAt', 13, true, '{"env": "e1"}');

-- from one page to the next rows come and go
SELECT "cursor" AS place, "row" ->> 'id' AS id FROM runops.read_page('task', '{"n": 5}', 'createdAt', 3) OFFSET 2 \gset
SELECT "row" ->> 'id' AS next FROM runops.read_page('task', '{"n": 5}', 'createdAt', 2, :'place');
DELETE FROM task WHERE id = :'id';
INSERT INTO task (id, env, "createdAt", n) VALUES ('cinserted0000000000000001', 'e1', '2030-01-01', 5), ('cinserted0000000000000002', 'e1', '2020-01-01', 5);
SELECT "row" ->> 'id' AS next FROM runops.read_page('task', '{"n": 5}', 'createdAt', 2, :'place');
SELECT "row" ->> 'id' AS last FROM runops.read_page('task', '{"n": 5}', 'createdAt', 1, NULL, false);
-- own rows are seen before they are committed
BEGIN;
INSERT INTO task (id, env, "createdAt", n) VALUES ('0123456789abcdefghijklmow1', 'e1', '2031-01-01', 5);
SELECT "row" ->> 'id' AS first FROM runops.read_page('task', '{"n": 5}', 'createdAt', 1);
ROLLBACK;

-- what is refused
SELECT * FROM runops.read_page('task', NULL, 'createdAt', 0);
SELECT * FROM runops.read_page('task', NULL, 'createdAt', -1);
SELECT * FROM runops.read_page('task', NULL, 'createdAt', NULL);
SELECT * FROM runops.read_page('task', NULL, 'created', 1);
SELECT * FROM runops.read_page('task', NULL, 'ctid', 1);
SELECT * FROM runops.read_page('task', NULL, NULL, 1);
SELECT * FROM runops.read_page('task', NULL, 'doc', 1);
SELECT * FROM runops.read_page('task', NULL, 'docb', 1);
SELECT * FROM runops.read_page('task', NULL, 'code', 1);
SELECT * FROM runops.read_page('task', '{"x": 1}', 'n', 1);
SELECT * FROM runops.read_page(NULL, NULL, 'n', 1);
SELECT * FROM runops.read_page('local', NULL, 'k', 1);
-- a cursor of another order
SELECT * FROM runops.read_page('task', NULL, 'createdAt', 1, :'place', false);
SELECT * FROM runops.read_page('task', NULL, 'at', 1, :'place');
-- no cursor at all
SELECT * FROM runops.read_page('task', NULL, 'n', 1, '{}');
SELECT * FROM runops.read_page('task', NULL, 'n', 1, '[]');
SELECT * FROM runops.read_page('task', NULL, 'n', 1, '1');
SELECT * FROM runops.read_page('task', NULL, 'n', 1, 'null');
SELECT * FROM runops.read_page('task', NULL, 'n', 1, '{"sort": "n", "order": "desc", "value": 1, "key": "x"}');
SELECT * FROM runops.read_page('task', NULL, 'n', 1, '{"sort": "n", "order": "desc", "value": "1", "key": null}');
SELECT * FROM runops.read_page('task', NULL, 'n', 1, '{"sort": "n", "order": "desc", "value": "1", "kez": "x"}');
SELECT * FROM runops.read_page('task', NULL, 'n', 1, '{"sort": "n", "order": "desc", "value": "1", "key": "x", "more": "y"}');
SELECT * FROM runops.read_page('task', NULL, 'n', 1, '{"sort": "n", "order": "desc", "value": "one", "key": "x"}');
SELECT * FROM runops.read_page('task', NULL, 'n', 1, '{"sort": "n", "order": "desc", "value": "99999999999", "key": "x"}');
SELECT * FROM runops.read_page('task', NULL, 'createdAt', 1, '{"sort": "createdAt", "order": "desc", "value": "the 5th", "key": "x"}');
SELECT * FROM runops.read_page('task', NULL, 'm', 1, '{"sort": "m", "order": "desc", "value": "bad", "key": "x"}');
-- one that nobody has changed but in what it says is one
SELECT "row" ->> 'id' AS id FROM runops.read_page('task', NULL, 'name', 1, '{"sort": "name", "order": "desc", "value": "''; DROP TABLE task; --", "key": "\\\"$1"}');

-- rights and policies
CREATE ROLE read_page_other;
GRANT USAGE ON SCHEMA read_page TO read_page_other;
SET ROLE read_page_other;
\set SHOW_CONTEXT never
SELECT * FROM runops.read_page('task', NULL, 'n', 1);
RESET ROLE;
GRANT SELECT ON task TO read_page_other;
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON task TO read_page_other USING (env = 'e2');
DO $$
DECLARE
	server text;
BEGIN
	FOREACH server IN ARRAY '{run_ops,read_page_a}'::text[] LOOP
		EXECUTE format('CREATE USER MAPPING FOR read_page_other SERVER %I OPTIONS (user %L, password_required ''false'')', server, current_user);
	END LOOP;
END
$$;
SET ROLE read_page_other;
SELECT DISTINCT "row" ->> 'env' AS env FROM runops.read_page('task', NULL, 'n', 1000);
RESET ROLE;
DROP USER MAPPING FOR read_page_other SERVER run_ops;
DROP USER MAPPING FOR read_page_other SERVER read_page_a;
DROP OWNED BY read_page_other;
DROP ROLE read_page_other;

\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
