-- shipping: upserts of several stores, and of keys that are not known when they are
-- planned, go store by store
--
-- try() executes a statement over plain tables and over routed ones, and rolls it
-- back.  It says how it was planned, and "same", or what is different: rows that it
-- returns, the number of rows, rows in the table, the error.
\set ECHO none
SET client_min_messages = warning;
\connect runops_store
CREATE SCHEMA ups;
\connect contrib_regression
SET client_min_messages = warning;
CREATE SCHEMA ups;
CREATE SCHEMA ups_plain;
CREATE TYPE ups.state AS ENUM ('PENDING', 'DONE');
CREATE DOMAIN ups.amount AS int CHECK (VALUE < 1000);
CREATE FUNCTION ups.make() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE SEQUENCE s;
	CREATE TABLE "Run" (gone int, id text PRIMARY KEY DEFAULT '0123456789abcdefghijklmd01', "friendly Id" text UNIQUE, env text, state ups.state NOT NULL DEFAULT 'PENDING',
		n int DEFAULT nextval('s'), cost ups.amount, tags text[], twice int GENERATED ALWAYS AS (n * 2) STORED, at timestamptz, UNIQUE (id, env));
	ALTER TABLE "Run" DROP COLUMN gone;
	CREATE TABLE source (k int, id text, env text);
	CREATE VIEW runs AS SELECT id, "friendly Id", n FROM "Run";
END $$;
SET search_path = ups_plain, public;
SELECT ups.make() \gset
SET search_path = ups, public;
SELECT ups.make() \gset
DROP VIEW runs;
SELECT count(*) > 0 AS attached FROM runops.attach('"Run"', 'id', '{"friendly Id"}') \gset
SELECT count(*) > 0 AS provisioned FROM runops.provision('new') \gset
CREATE VIEW runs AS SELECT id, "friendly Id", n FROM "Run";
SET runops.enable_shipping = on;
-- an id that no plan knows
CREATE FUNCTION ups.pick(text) RETURNS text VOLATILE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
\set SHOW_CONTEXT never

CREATE TABLE ups.cases (no int GENERATED ALWAYS AS IDENTITY, statement text);
CREATE FUNCTION ups.ids(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$
	SELECT replace(replace(replace(replace($1, '{N}', '''0123456789abcdefghijklmn01'''), '{P}', '''0123456789abcdefghijklmp01'''),
		'{L}', '''clegacy000000000000000001'''), '{M}', '''clegacy000000000000000002''') $$;
CREATE FUNCTION ups.fill() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO "Run" (id, "friendly Id", env, n) VALUES ('0123456789abcdefghijklmn01', 'run_0123456789abcdefghijklmn01', 'e', 1),
		('clegacy000000000000000001', 'run_clegacy000000000000000001', 'e', 2);
	INSERT INTO source VALUES (1, '0123456789abcdefghijklmn01', 'from'), (2, '0123456789abcdefghijklmp01', 'from'),
		(3, 'clegacy000000000000000001', 'from'), (4, 'clegacy000000000000000002', 'from'), (5, NULL, 'from');
END $$;
SET search_path = ups_plain, public;
SELECT ups.fill() \gset
SET search_path = ups, public;
SELECT ups.fill() \gset

CREATE FUNCTION ups.outcome(tables text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line record;
	lines jsonb := '[]';
	n bigint := 0;
BEGIN
	PERFORM set_config('search_path', tables || ', public', true);
	PERFORM setval('s', 100);
	IF statement ~ '^SELECT|RETURNING (?!id\) )|\) SELECT id FROM i$' THEN
		FOR line IN EXECUTE statement LOOP lines := lines || to_jsonb(line); END LOOP;
	ELSE
		EXECUTE statement;
		GET DIAGNOSTICS n = ROW_COUNT;
	END IF;
	RAISE SQLSTATE 'ZZ000' USING MESSAGE = (SELECT coalesce(jsonb_agg(l ORDER BY l::text COLLATE "C"), '[]') FROM jsonb_array_elements(lines) l)::text || n ||
		(SELECT string_agg(r::text, E'\n' ORDER BY id COLLATE "C") FROM "Run" r);
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN 'ZZ000' THEN SQLERRM ELSE SQLSTATE || ' ' || replace(SQLERRM, 'ups.', '') END;
END $$;
CREATE FUNCTION ups.how(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	PERFORM set_config('search_path', 'ups, public', true);
	EXECUTE 'EXPLAIN (VERBOSE, FORMAT JSON) ' || statement INTO plan;
	RETURN coalesce('sent to ' || (jsonb_path_query_first(plan, '$.**."Sent to Store"') #>> '{}'),
		'rows sent to ' || (jsonb_path_query_first(plan, '$.**."Rows Sent to"') #>> '{}'),
		jsonb_path_query_first(plan, '$.**."Not Sent as a Whole"') #>> '{}', 'over the leaves');
EXCEPTION WHEN OTHERS THEN
	RETURN 'error';
END $$;
CREATE FUNCTION ups.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plain text := ups.outcome('ups_plain', ups.ids(statement));
	routed text := ups.outcome('ups', ups.ids(statement));
BEGIN
	RETURN ups.how(ups.ids(statement)) || CASE WHEN plain = routed THEN CASE WHEN plain ~ '^[0-9A-Z]{5} ' THEN '; same: ' || plain ELSE '; same' END
		ELSE '; plain ' || left(plain, 60) || ', here ' || left(routed, 120) END;
END $$;

INSERT INTO ups.cases (statement) SELECT trim(E'\n' FROM s) FROM regexp_split_to_table($cases$
INSERT INTO "Run" (id, n) VALUES ({N}, 5), ({L}, 6) ON CONFLICT (id) DO NOTHING
INSERT INTO "Run" (id, n) VALUES ({N}, 5), ({L}, 6), ({P}, 7), ({M}, 8) ON CONFLICT (id) DO NOTHING RETURNING id, n, xmax = 0 AS inserted
INSERT INTO "Run" (id, n) VALUES ({N}, 5), ({L}, 6), ({P}, 7), ({M}, 8) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n + "Run".n, state = 'DONE' WHERE "Run".n < 2 RETURNING id, n, twice, state, (xmax = 0) AS inserted
INSERT INTO "Run" AS r (n, id, env, tags) VALUES (5, {N}, 'f', '{a,"b c"}'), (6, {L}, 'g', NULL) ON CONFLICT (id) DO UPDATE SET (env, n) = (SELECT EXCLUDED.env || 'x', r.n + 10), tags = EXCLUDED.tags RETURNING *
INSERT INTO "Run" ("friendly Id", id) VALUES ('run_' || {N}, ups.pick({P})), ('run_' || {L}, ups.pick({M})) ON CONFLICT ("friendly Id") DO UPDATE SET env = 'other' RETURNING id, env
INSERT INTO "Run" (id) VALUES (ups.pick({N})) ON CONFLICT (id) DO UPDATE SET state = 'DONE' RETURNING id, state
INSERT INTO "Run" (id) VALUES (ups.pick({L})) ON CONFLICT (id) DO UPDATE SET state = 'DONE' RETURNING id, state
INSERT INTO "Run" (id, cost) VALUES (ups.pick({P}), 7) ON CONFLICT (id) DO NOTHING RETURNING id, state, cost, n
INSERT INTO "Run" (id, cost) VALUES (ups.pick({P}), 7000) ON CONFLICT (id) DO NOTHING RETURNING id, state, cost
INSERT INTO "Run" (id, cost) VALUES ({P}, 7), ({M}, 70) ON CONFLICT (id) DO NOTHING RETURNING id, cost
INSERT INTO "Run" (id, state) VALUES ({P}, 'DONE'), ({M}, CAST('DONE'::text AS ups.state)) ON CONFLICT (id) DO NOTHING RETURNING id, state
INSERT INTO "Run" (env) VALUES ('default') ON CONFLICT (id) DO UPDATE SET env = EXCLUDED.env RETURNING id, env
INSERT INTO "Run" DEFAULT VALUES ON CONFLICT (id) DO NOTHING RETURNING id, n
INSERT INTO "Run" (id, env) VALUES (DEFAULT, 'default'), ({L}, 'l') ON CONFLICT (id) DO UPDATE SET env = EXCLUDED.env RETURNING id, env
INSERT INTO "Run" (id) SELECT id FROM source WHERE id IS NOT NULL ON CONFLICT (id) DO UPDATE SET env = 'found' RETURNING id, env
INSERT INTO "Run" (id, env) SELECT id, env FROM source WHERE k < 5 ORDER BY k DESC LIMIT 3 ON CONFLICT (id) DO UPDATE SET env = EXCLUDED.env
INSERT INTO "Run" (id, env) SELECT id, env FROM source ON CONFLICT (id) DO NOTHING
INSERT INTO "Run" (id, env) SELECT id, env FROM source WHERE false ON CONFLICT (id) DO NOTHING
INSERT INTO "Run" (id, n) SELECT id, n + 100 FROM "Run" ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n RETURNING id, n
WITH s AS (SELECT * FROM source WHERE k IN (1, 4)) INSERT INTO "Run" (id, env) SELECT id, env FROM s ON CONFLICT (id) DO UPDATE SET env = 'with' RETURNING id, env
INSERT INTO "Run" (id, n) VALUES ({N}, (SELECT max(k) FROM source)), ({L}, 4) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n RETURNING id, n
INSERT INTO "Run" (id, n) VALUES ({N}, 1), ({L}, 4) ON CONFLICT (id, env) DO NOTHING
INSERT INTO "Run" (id, env) VALUES ({N}, 'e'), ({L}, 'e'), ({M}, 'e') ON CONFLICT (id, env) DO UPDATE SET n = 50 RETURNING id, n
INSERT INTO "Run" (id) VALUES ({P}), ({L}), ({P}) ON CONFLICT (id) DO UPDATE SET n = 0
INSERT INTO "Run" (id) VALUES ({P}), ({L}), ({L}) ON CONFLICT (id) DO UPDATE SET n = 0
INSERT INTO "Run" (id, state) VALUES ({N}, NULL), ({L}, 'DONE') ON CONFLICT (id) DO UPDATE SET n = 0
INSERT INTO "Run" (id, n) VALUES ({N}, 1), ({L}, 4) ON CONFLICT (n) DO NOTHING
INSERT INTO "Run" (id, n) VALUES ({N}, 1), ({L}, 4) ON CONFLICT (id) DO UPDATE SET n = (SELECT k FROM source WHERE k = 3) RETURNING n
INSERT INTO "Run" (id, n) VALUES ({M}, 1), ({L}, 4) ON CONFLICT (id) DO UPDATE SET n = (SELECT k FROM source WHERE k = 3) RETURNING n
INSERT INTO runs (id, n) VALUES ({N}, 5), ({L}, 6), ({M}, 7) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n + runs.n RETURNING id, n
INSERT INTO runs (id, n) VALUES ({N}, 5) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n + runs.n WHERE EXCLUDED.n > 1 RETURNING id, n
INSERT INTO "Run" (id, env) SELECT {N}, env FROM source WHERE k = 2 ON CONFLICT (id) DO UPDATE SET env = EXCLUDED.env RETURNING id, env
INSERT INTO "Run" (id, env) VALUES ({P}, (SELECT env FROM source WHERE k = 2)) ON CONFLICT (id) DO UPDATE SET env = EXCLUDED.env RETURNING id, env
INSERT INTO "Run" (id, env) VALUES ({P}, (SELECT env FROM source WHERE k = 2)), ({N}, 'x') ON CONFLICT (id) DO UPDATE SET env = EXCLUDED.env RETURNING id, env
INSERT INTO "Run" (id, env) SELECT {L}, env FROM source WHERE k = 2 ON CONFLICT (id) DO UPDATE SET env = EXCLUDED.env RETURNING id, env
WITH i AS (INSERT INTO source VALUES (9, {L}, 'w') RETURNING id) INSERT INTO "Run" (id) SELECT id FROM i ON CONFLICT (id) DO NOTHING
WITH i AS (INSERT INTO "Run" (id) VALUES ({P}), ({M}) ON CONFLICT (id) DO NOTHING RETURNING id) SELECT id FROM i
WITH i AS (SELECT 4 AS n) INSERT INTO "Run" (id) VALUES ({N}), ({L}) ON CONFLICT (id) DO UPDATE SET n = (SELECT n FROM i)
INSERT INTO "Run" (id) VALUES ({N}), ({L}) ON CONFLICT (id) DO UPDATE SET id = 'x'
INSERT INTO "Run" (id) VALUES ({N}), ({L}) ON CONFLICT (id) DO UPDATE SET at = date_trunc('day', "Run".at)
$cases$, '\n') s WHERE s <> '';
\set ECHO queries
SELECT statement, ups.try(statement) FROM ups.cases ORDER BY no \g (format=unaligned tuples_only)
-- prepared, and in PL/pgSQL: one plan for rows of any store
SET plan_cache_mode = force_generic_plan;
PREPARE up(text, int) AS INSERT INTO "Run" (id, n) VALUES (ups.pick($1), $2) ON CONFLICT (id) DO UPDATE SET n = "Run".n + EXCLUDED.n + $2 RETURNING id, n;
EXECUTE up('0123456789abcdefghijklmn01', 10);
EXECUTE up('clegacy000000000000000001', 20);
EXECUTE up('0123456789abcdefghijklmr01', 30);
PREPARE joined(text, text) AS INSERT INTO "Run" (id, n) VALUES ($1 || $2, 1) ON CONFLICT (id) DO UPDATE SET n = 44 RETURNING id, n;
EXECUTE joined('0123456789abcdefghijklm', 'n01');
EXECUTE joined('clegacy0000000000000000', '01');
EXECUTE joined('clegacy0000000000000000', '05');
PREPARE two(text, text) AS INSERT INTO "Run" (id, n) VALUES ($1, 1), ($2, 1) ON CONFLICT (id) DO UPDATE SET n = 45 RETURNING id, n;
EXECUTE two('0123456789abcdefghijklmn01', 'clegacy000000000000000001');
EXECUTE two('0123456789abcdefghijklmn01', '0123456789abcdefghijklmr01');
EXECUTE two('clegacy000000000000000001', 'clegacy000000000000000005');
RESET plan_cache_mode;
CREATE FUNCTION ups.many() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	got text;
	result text := '';
	written bigint;
BEGIN
	FOREACH got IN ARRAY ARRAY['0123456789abcdefghijklmn01', 'clegacy000000000000000001', '0123456789abcdefghijklmt01', 'clegacy000000000000000009'] LOOP
		FOR i IN 1 .. 3 LOOP
			INSERT INTO "Run" AS r (id, n) VALUES (ups.pick(got), i) ON CONFLICT (id) DO UPDATE SET n = r.n + 1000 RETURNING n::text INTO STRICT result;
		END LOOP;
		RAISE NOTICE '% %', got, result;
	END LOOP;
	BEGIN
		INSERT INTO "Run" (id, n) VALUES ('0123456789abcdefghijklmt01', 0), ('clegacy000000000000000009', 0) ON CONFLICT (id) DO UPDATE SET n = 1 / EXCLUDED.n;
	EXCEPTION WHEN division_by_zero THEN
		RAISE NOTICE 'division by zero';
	END;
	INSERT INTO "Run" (id, n) VALUES ('0123456789abcdefghijklmt01', 7), ('clegacy000000000000000009', 7) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n;
	GET DIAGNOSTICS written = ROW_COUNT;
	RETURN written;
END $$;
SET client_min_messages = notice;
SELECT ups.many();
SET client_min_messages = warning;
SELECT id, n FROM "Run" ORDER BY id COLLATE "C";
-- ids that are made for the statement
INSERT INTO "Run" (id, env) VALUES (runops.mint_id('run'), 'mint'), (runops.mint_id('run'), 'mint') ON CONFLICT (id) DO NOTHING RETURNING env, xmax = 0 AS inserted;
-- many rows
INSERT INTO "Run" (id, n) SELECT '0123456789abcdefghij' || g || 'v01', g FROM generate_series(100, 999) g UNION ALL
	SELECT 'clegacy00000000000' || g || 'v001', g FROM generate_series(100, 999) g ON CONFLICT (id) DO NOTHING;
SELECT runops.store_of(id), count(*), sum(n) FROM "Run" WHERE id LIKE '%v01' OR id LIKE '%v001' GROUP BY 1 ORDER BY 1;
-- a transaction sees them, and a rollback undoes them
BEGIN;
INSERT INTO "Run" (id, n) VALUES ('0123456789abcdefghijklmn01', 0), ('clegacy000000000000000001', 0) ON CONFLICT (id) DO UPDATE SET n = -1;
SELECT id FROM "Run" WHERE n = -1 ORDER BY id COLLATE "C";
SAVEPOINT a;
INSERT INTO "Run" (id, n) VALUES ('0123456789abcdefghijklmn01', 0), ('clegacy000000000000000001', 0) ON CONFLICT (id) DO UPDATE SET n = -2;
ROLLBACK TO a;
SELECT id FROM "Run" WHERE n = -1 ORDER BY id COLLATE "C";
ROLLBACK;
SELECT count(*) FROM "Run" WHERE n < 0;
-- it is a write
BEGIN READ ONLY;
INSERT INTO "Run" (id) VALUES ('0123456789abcdefghijklmn01'), ('clegacy000000000000000001') ON CONFLICT (id) DO NOTHING;
ROLLBACK;
-- privileges
SELECT current_user AS owner \gset
CREATE ROLE regress_ups_user;
GRANT USAGE ON SCHEMA ups TO regress_ups_user;
GRANT SELECT (id), INSERT ON "Run" TO regress_ups_user;
GRANT USAGE ON SEQUENCE s TO regress_ups_user;
CREATE USER MAPPING FOR regress_ups_user SERVER run_ops OPTIONS (user :'owner', password_required 'false');
SET ROLE regress_ups_user;
INSERT INTO "Run" (id) VALUES ('0123456789abcdefghijklmn01'), ('clegacy000000000000000001') ON CONFLICT (id) DO UPDATE SET n = 1;
INSERT INTO "Run" (id) VALUES ('0123456789abcdefghijklmn01'), ('clegacy000000000000000001') ON CONFLICT (id) DO NOTHING RETURNING n;
INSERT INTO "Run" (id) VALUES ('0123456789abcdefghijklmn01'), ('clegacy000000000000000001') ON CONFLICT (id) DO NOTHING RETURNING id;
RESET ROLE;
-- without shipping, and without routing
SET runops.enable_shipping = off;
INSERT INTO "Run" (id) VALUES ('0123456789abcdefghijklmn01'), ('clegacy000000000000000001') ON CONFLICT (id) DO NOTHING;
INSERT INTO "Run" (id) VALUES ('clegacy000000000000000001') ON CONFLICT (id) DO UPDATE SET n = 46 RETURNING n;
SET runops.enable_shipping = on;
SET runops.enable_routing = off;
INSERT INTO "Run" (id) VALUES ('clegacy000000000000000001') ON CONFLICT (id) DO UPDATE SET n = 46 RETURNING n;
WITH i AS (INSERT INTO "Run" (id) VALUES ('clegacy000000000000000001') ON CONFLICT (id) DO NOTHING RETURNING n) SELECT FROM i;
INSERT INTO "Run" (id) VALUES ('clegacy000000000000000001') ON CONFLICT DO NOTHING;
RESET runops.enable_routing;
EXPLAIN (VERBOSE, COSTS OFF) INSERT INTO "Run" (id, n) VALUES ('0123456789abcdefghijklmn01', 0), ('clegacy000000000000000001', 0) ON CONFLICT (id) DO UPDATE SET n = -1 RETURNING n;
\set ECHO none
\set VERBOSITY terse
SET client_min_messages = error;
DROP VIEW runs;
DELETE FROM "Run";
SELECT runops.detach('"Run"') \gset
DROP SCHEMA ups_plain CASCADE;
DROP SCHEMA ups CASCADE;
DROP USER MAPPING FOR regress_ups_user SERVER run_ops;
DROP ROLE regress_ups_user;
\connect runops_store
SET client_min_messages = error;
DROP SCHEMA ups CASCADE;
