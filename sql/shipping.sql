-- shipping: a statement of one store is sent there as a whole, and has the result
-- that it has over plain tables and over the leaves
--
-- try() executes a statement over plain tables, over routed ones, over routed
-- ones without shipping, and without routing, and rolls it back.  It says
-- whether the statement was sent as a whole, or why not, and "same", or what is
-- different: rows that it returns, rows in the tables, SQLSTATE.
\set ECHO none
SET client_min_messages = warning;
\connect runops_store
CREATE SCHEMA ship;
\connect contrib_regression
SET client_min_messages = warning;
CREATE SCHEMA ship;
CREATE SCHEMA ship_plain;
CREATE TYPE ship.state AS ENUM ('PENDING', 'EXECUTING', 'DONE');
CREATE DOMAIN ship.amount AS int CHECK (VALUE < 1000000);
CREATE FUNCTION ship.make() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE TABLE "Run" (gone int, id text PRIMARY KEY, "friendly Id" text NOT NULL UNIQUE, state ship.state NOT NULL DEFAULT 'PENDING',
		n int, tags text[], meta jsonb, num numeric(10,2) DEFAULT 1.5, at timestamptz NOT NULL DEFAULT '2026-01-02 03:04:05+00',
		vc varchar(10), cost ship.amount, twice int GENERATED ALWAYS AS (n * 2) STORED, CONSTRAINT n_small CHECK (n < 1000));
	ALTER TABLE "Run" DROP COLUMN gone;
	CREATE TABLE "Attempt" (id text PRIMARY KEY, "runId" text NOT NULL, no int NOT NULL, state ship.state NOT NULL DEFAULT 'PENDING',
		out text, UNIQUE ("runId", no));
	CREATE TABLE local (k int PRIMARY KEY, ref text);
END $$;
CREATE FUNCTION ship.views() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE VIEW runs AS SELECT id, n, state FROM "Run" WHERE n IS NOT NULL;
	CREATE VIEW guarded WITH (security_barrier) AS SELECT id, n FROM "Run";
END $$;
SET search_path = ship_plain, public;
SELECT ship.make(), ship.views() \gset
SET search_path = ship, public;
SELECT ship.make() \gset
SELECT count(*) > 0 AS attached FROM runops.attach('"Run"', 'id', '{"friendly Id"}') \gset
SELECT count(*) > 0 AS attached FROM runops.attach('"Attempt"', '"runId"') \gset
SELECT ship.views() \gset
SELECT count(*) > 0 AS provisioned FROM runops.provision('new') \gset
-- CHECKs of the routed table need not be there
\connect runops_store
ALTER TABLE ship."Run" DROP CONSTRAINT n_small, ALTER "friendly Id" DROP NOT NULL, ALTER n SET DEFAULT 77;
\connect contrib_regression
SET client_min_messages = warning;
\set SHOW_CONTEXT never

CREATE TABLE ship.cases (no int GENERATED ALWAYS AS IDENTITY, statement text);
CREATE FUNCTION ship.ids(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$
	SELECT replace(replace(replace(replace($1, '{N}', '''0123456789abcdefghijklmn01'''), '{P}', '''0123456789abcdefghijklmp01'''),
		'{Q}', '''0123456789abcdefghijklmq01'''), '{L}', '''clegacy000000000000000001''') $$;
CREATE FUNCTION ship.fill() RETURNS void LANGUAGE plpgsql AS $$
DECLARE id text;
BEGIN
	FOREACH id IN ARRAY ARRAY['0123456789abcdefghijklmn01', '0123456789abcdefghijklmp01', 'clegacy000000000000000001'] LOOP
		EXECUTE format('INSERT INTO "Run" (id, "friendly Id", n, tags, meta, vc, cost) VALUES (%L, %L, %s, ''{a,"b c",NULL}'', ''{"k": [1, "x"]}'', ''v'', 5)',
			id, 'run_' || id, length(id));
		EXECUTE format('INSERT INTO "Attempt" SELECT %L || g, %1$L, g, CASE g WHEN 1 THEN ''DONE'' ELSE ''PENDING'' END::ship.state, ''out '' || g FROM generate_series(1, 3) g', id);
	END LOOP;
	INSERT INTO local VALUES (1, '0123456789abcdefghijklmn01');
END $$;
SET search_path = ship_plain, public;
SELECT ship.fill() \gset
SET search_path = ship, public;
SELECT ship.fill() \gset

CREATE FUNCTION ship.outcome(tables text, shipping text, routing text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line record;
	lines jsonb := '[]';
	n bigint := 0;
	result text;
BEGIN
	PERFORM set_config('search_path', tables || ', public', true), set_config('runops.enable_shipping', shipping, true),
		set_config('runops.enable_routing', routing, true);
	BEGIN
		IF statement ~* '^(SELECT|WITH|VALUES|TABLE)|RETURNING' THEN
			FOR line IN EXECUTE statement LOOP lines := lines || to_jsonb(line); END LOOP;
		ELSE
			EXECUTE statement;
			GET DIAGNOSTICS n = ROW_COUNT;
		END IF;
		result := (SELECT coalesce(jsonb_agg(l ORDER BY l::text COLLATE "C"), '[]') FROM jsonb_array_elements(lines) l)::text || n ||
			(SELECT string_agg(r::text, E'\n' ORDER BY id COLLATE "C") FROM "Run" r) ||
			(SELECT string_agg(a::text, E'\n' ORDER BY id COLLATE "C") FROM "Attempt" a);
		RAISE SQLSTATE 'ZZ000' USING MESSAGE = result;
	EXCEPTION WHEN OTHERS THEN
		RETURN CASE SQLSTATE WHEN 'ZZ000' THEN SQLERRM ELSE SQLSTATE END;
	END;
END $$;
CREATE FUNCTION ship.how(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	PERFORM set_config('search_path', 'ship, public', true), set_config('runops.enable_shipping', 'on', true), set_config('runops.enable_routing', 'on', true);
	EXECUTE 'EXPLAIN (VERBOSE, FORMAT JSON) ' || statement INTO plan;
	RETURN coalesce('sent to ' || (jsonb_path_query_first(plan, '$.**."Sent to Store"') #>> '{}'),
		jsonb_path_query_first(plan, '$.**."Not Sent as a Whole"') #>> '{}', 'over the leaves');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION ship.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plain text := ship.outcome('ship_plain', 'on', 'on', ship.ids(statement));
	whole text := ship.outcome('ship', 'on', 'on', ship.ids(statement));
	leaves text := ship.outcome('ship', 'off', 'on', ship.ids(statement));
	unrouted text := ship.outcome('ship', 'off', 'off', ship.ids(statement));
BEGIN
	RETURN ship.how(ship.ids(statement)) || CASE WHEN plain = whole THEN '; same' ELSE '; plain ' || left(plain, 5) || ', here ' || left(whole, 5) END
		|| CASE WHEN plain = leaves THEN '' ELSE '; leaves ' || left(leaves, 5) END
		|| CASE WHEN plain = unrouted THEN '' ELSE '; unrouted ' || left(unrouted, 5) END;
END $$;

INSERT INTO ship.cases (statement) SELECT trim(E'\n' FROM s) FROM regexp_split_to_table($cases$
SELECT * FROM "Run" WHERE id = {N}
SELECT FROM "Run" WHERE id = {N}
SELECT id, state, state::text, n + 1, num * 2, tags[1], tags || 'z'::text, meta -> 'k', meta #>> '{k,1}' FROM "Run" WHERE id = {N}
SELECT 1 FROM "Run" WHERE id = {N} AND state = 'PENDING'
SELECT 1 FROM "Run" WHERE id = {N} AND state = CAST('PENDING'::text AS ship.state)
SELECT 1 FROM "Run" WHERE id = {N} AND state <> 'DONE' AND 'DONE' <> state
SELECT no FROM "Attempt" WHERE "runId" = {N} AND state IN ('DONE', 'EXECUTING')
SELECT no FROM "Attempt" WHERE "runId" = {N} AND state = ANY (ARRAY['DONE', 'PENDING']::ship.state[])
SELECT no FROM "Attempt" WHERE "runId" = {N} AND state NOT IN ('DONE')
SELECT no FROM "Attempt" WHERE "runId" = {N} AND state > 'PENDING'
SELECT max(state) FROM "Attempt" WHERE "runId" = {N}
SELECT state, count(*) FROM "Attempt" WHERE "runId" = {N} GROUP BY state
SELECT no FROM "Attempt" WHERE "runId" = {N} ORDER BY state, no
SELECT DISTINCT state FROM "Attempt" WHERE "runId" = {N}
SELECT count(*), sum(no), avg(no), string_agg(out, ',' ORDER BY no), array_agg(no ORDER BY no DESC), bool_or(no > 2) FROM "Attempt" WHERE "runId" = {N}
SELECT count(*) FILTER (WHERE state = 'DONE') FROM "Attempt" WHERE "runId" = {N} HAVING count(*) > 1
SELECT r.id, a.no FROM "Run" r JOIN "Attempt" a ON a."runId" = r.id WHERE r.id = {N}
SELECT r.id, a.no FROM "Run" r LEFT JOIN "Attempt" a ON a."runId" = r.id AND a.no > 2 WHERE r.id = {N}
SELECT r.id, l.no FROM "Run" r, LATERAL (SELECT no FROM "Attempt" a WHERE a."runId" = r.id ORDER BY no DESC LIMIT 1) l WHERE r.id = {N}
SELECT r.n, (SELECT count(*) FROM "Attempt" a WHERE a."runId" = r.id AND a.no < 3) FROM "Run" r WHERE r.id = {N}
SELECT id FROM "Run" r WHERE id = {N} AND EXISTS (SELECT FROM "Attempt" a WHERE a."runId" = r.id)
SELECT no, row_number() OVER (ORDER BY no DESC), lag(no) OVER w, sum(no) OVER (PARTITION BY "runId" ORDER BY no ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM "Attempt" WHERE "runId" = {N} WINDOW w AS (ORDER BY no)
SELECT DISTINCT ON ("runId") "runId", no FROM "Attempt" WHERE "runId" = {N} ORDER BY "runId", no DESC
SELECT no FROM "Attempt" WHERE "runId" = {N} ORDER BY no OFFSET 1 LIMIT 1
SELECT -no AS no FROM "Attempt" WHERE "runId" = {N} ORDER BY "Attempt".no LIMIT 2
SELECT no FROM "Attempt" WHERE "runId" = {N} UNION SELECT n FROM "Run" WHERE id = {N} EXCEPT SELECT 1
WITH a AS (SELECT * FROM "Attempt" WHERE "runId" = {N}) SELECT count(*) FROM a JOIN a b USING ("runId")
WITH RECURSIVE t AS (SELECT no FROM "Attempt" WHERE "runId" = {N} AND no = 1 UNION ALL SELECT a.no FROM t JOIN "Attempt" a ON a."runId" = {N} AND a.no = t.no + 1) SELECT sum(no) FROM t
WITH RECURSIVE t AS (SELECT no FROM "Attempt" WHERE "runId" = {N} AND no = 1 UNION ALL SELECT a.no FROM t JOIN "Attempt" a ON a."runId" = {N} AND a.no = t.no + 1) SEARCH DEPTH FIRST BY no SET o SELECT no, o::text FROM t
SELECT * FROM runs WHERE id = {N}
SELECT id FROM guarded WHERE id = {N}
SELECT g, no FROM generate_series(1, 3) g JOIN "Attempt" ON no = g WHERE "runId" = {N}
SELECT v.x, no FROM (VALUES (1, 'a'), (2, 'b''\c')) v(x, y) JOIN "Attempt" ON no = v.x WHERE "runId" = {N}
SELECT no FROM "Attempt" WHERE "runId" IN ({N}, {P}) AND no = 1
SELECT id FROM "Run" WHERE id = {N} FOR UPDATE
SELECT id FROM "Run" WHERE id = {N} FOR KEY SHARE SKIP LOCKED
SELECT r.id FROM "Run" r JOIN "Attempt" a ON a."runId" = r.id WHERE r.id = {N} AND a.no = 1 FOR NO KEY UPDATE OF a NOWAIT
SELECT id, at > now() - interval '1 day', CURRENT_USER = 'nobody' FROM "Run" WHERE id = {N} AND at < now() AND at < CURRENT_TIMESTAMP
SELECT id FROM "Run" WHERE id = {N} AND at::date = '2026-01-02'
SELECT date_trunc('day', at) FROM "Run" WHERE id = {N}
SELECT at AT TIME ZONE 'UTC' FROM "Run" WHERE id = {N}
SELECT at + interval '90 minutes', interval '-1 second' + at, at - interval '26 hours' FROM "Run" WHERE id = {N} AND at + interval '5 seconds' < now()
SELECT at + interval '1 day' FROM "Run" WHERE id = {N}
SELECT at + n * interval '1 hour' FROM "Run" WHERE id = {N}
SELECT extract(epoch FROM at), date_part('EPOCH', at), extract(epoch FROM at - '2026-01-01 00:00:00+00') FROM "Run" WHERE id = {N}
SELECT extract(hour FROM at) FROM "Run" WHERE id = {N}
SELECT date_trunc('day', at, 'Europe/Berlin'), to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS') FROM "Run" WHERE id = {N}
SELECT to_char(at AT TIME ZONE 'UTC', 'TMMonth') FROM "Run" WHERE id = {N}
SELECT to_char(at, 'YYYY') FROM "Run" WHERE id = {N}
SELECT format('%s-%I', n, id), quote_literal(n), quote_nullable(vc) FROM "Run" WHERE id = {N}
SELECT format('%s', at) FROM "Run" WHERE id = {N}
SELECT id FROM "Run" WHERE id = {N} AND (vc = '' OR at > vc::timestamptz)
SELECT 'x' || n, concat(n, id), jsonb_build_object('a', n, 'b', id) FROM "Run" WHERE id = {N}
SELECT 'x' || at FROM "Run" WHERE id = {N}
SELECT to_jsonb(at) FROM "Run" WHERE id = {N}
SELECT random() < 2 FROM "Run" WHERE id = {N}
SELECT id FROM "Run" WHERE id = {N} AND vc ~ '^v$' AND vc LIKE 'v%' AND upper(vc) = 'V'
SELECT r FROM "Run" r WHERE id = {N}
SELECT r.id, ROW(r.n, r.id) = ROW(26, r.id) FROM "Run" r WHERE id = {N}
SELECT ROW(n, id) FROM "Run" r WHERE id = {N}
SELECT tableoid = 0 FROM "Run" WHERE id = {N}
SELECT cost FROM "Run" WHERE id = {N}
SELECT cost + 1, n::ship.amount FROM "Run" WHERE id = {N}
SELECT cost + 1 FROM "Run" WHERE id = {N} AND cost = 5 AND cost IN (4, 5)
SELECT n FROM "Run" TABLESAMPLE SYSTEM (100) WHERE id = {N}
SELECT n FROM "Run", local WHERE id = {N} AND ref = id
SELECT n FROM "Run" WHERE id IN ({N}, {L})
SELECT n FROM "Run" WHERE id = {N} AND id = (SELECT relname FROM pg_class LIMIT 0)
SELECT n FROM "Run" WHERE id = {N} AND false
UPDATE "Run" SET n = n + 1 WHERE id = {N}
UPDATE "Run" SET state = 'DONE', vc = 'w' WHERE id = {N} AND state = 'PENDING' RETURNING *
UPDATE "Run" SET state = CAST('EXECUTING'::text AS ship.state) WHERE id = {N} RETURNING state
UPDATE "Run" SET state = CAST('nonsense'::text AS ship.state) WHERE id = {N} RETURNING state
UPDATE "Run" SET state = 'DONE' WHERE id = {N} AND state = 'DONE'
UPDATE "Run" SET n = 5000 WHERE id = {N}
UPDATE "Run" SET n = n * 100 WHERE id = {N} RETURNING n
UPDATE "Run" SET at = NULL WHERE id = {N}
UPDATE "Run" SET at = now() WHERE id = {N} RETURNING at = now()
UPDATE "Run" SET at = at + interval '1 month' WHERE id = {N}
UPDATE "Run" SET (vc, n) = (SELECT 'x' || count(*)::text, count(*) FROM "Attempt" WHERE "runId" = {N}) WHERE id = {N} RETURNING vc, n
UPDATE "Run" SET (n, vc) = (SELECT count(*), 'y' FROM "Attempt" WHERE "runId" = {N}) WHERE id = {N} RETURNING vc, n
UPDATE "Run" SET tags[1] = 'first', tags[3] = 'third', meta['k'] = '"new"', meta['m'] = '2' WHERE id = {N} RETURNING tags, meta
UPDATE "Run" r SET n = a.no FROM "Attempt" a WHERE a."runId" = r.id AND r.id = {N} AND a.no = 2 RETURNING r.n, a.out
UPDATE "Run" SET cost = 7 WHERE id = {N}
UPDATE "Run" SET cost = 7000000 WHERE id = {N}
UPDATE "Run" SET "friendly Id" = 'run_' || {N} WHERE id = {N}
UPDATE "Run" SET "friendly Id" = NULL WHERE id = {N}
INSERT INTO "Run" (id, "friendly Id", n) VALUES ({N}, 'run_' || {P}, 1) ON CONFLICT (id) DO UPDATE SET "friendly Id" = EXCLUDED."friendly Id", n = 3 RETURNING "friendly Id"
INSERT INTO "Run" (id, "friendly Id", n) VALUES ({N}, 'run_' || {N}, 1) ON CONFLICT (id) DO UPDATE SET "friendly Id" = lower(EXCLUDED."friendly Id")
INSERT INTO "Run" (id, "friendly Id", n) VALUES ({N}, 'run_' || {N}, 1) ON CONFLICT (id) DO UPDATE SET "friendly Id" = EXCLUDED.vc
UPDATE "Run" SET id = {N} WHERE id = {N}
UPDATE "Run" SET id = {P} WHERE id = {N}
UPDATE runs SET n = 3 WHERE id = {N}
DELETE FROM "Attempt" WHERE "runId" = {N} AND no > 1
DELETE FROM "Attempt" WHERE "runId" = {N} RETURNING no, state
DELETE FROM "Attempt" a USING "Run" r WHERE a."runId" = r.id AND r.id = {N} AND r.n > 20
INSERT INTO "Run" (id, "friendly Id") VALUES ({Q}, 'run_' || {Q})
INSERT INTO "Run" (vc, id, "friendly Id", n, tags, at) VALUES ('it''s \', {Q}, 'run_' || {Q}, NULL, '{x,"y\\z"}', '2026-05-05') RETURNING *
INSERT INTO "Run" (id, "friendly Id", n) VALUES ({Q}, 'run_' || {Q}, 2000)
INSERT INTO "Run" (id, "friendly Id", cost) VALUES ({Q}, 'run_' || {Q}, 2000000)
INSERT INTO "Run" (id, "friendly Id", vc) VALUES ({Q}, 'run_' || {Q}, 'much too long for it')
INSERT INTO "Run" (id, "friendly Id") VALUES ({Q}, NULL)
INSERT INTO "Run" (id, "friendly Id") VALUES ({Q}, 'run_' || {L})
INSERT INTO "Run" (id, "friendly Id") VALUES ({N}, 'run_' || {N})
INSERT INTO "Attempt" (no, "runId", id) VALUES (7, {N}, 'a7'), (8, {N}, 'a8'), (9, {P}, 'a9') RETURNING id, no, state
INSERT INTO "Run" (id, "friendly Id", n) VALUES ({N}, 'run_' || {N}, 1) ON CONFLICT DO NOTHING
INSERT INTO "Run" (id, "friendly Id", n) VALUES ({N}, 'run_' || {N}, 1) ON CONFLICT (id) DO NOTHING RETURNING id
INSERT INTO "Run" (id, "friendly Id", n) VALUES ({N}, 'run_' || {N}, 1) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n + "Run".n, state = EXCLUDED.state RETURNING n, state, (xmax = 0) AS inserted
INSERT INTO "Run" (id, "friendly Id", n) VALUES ({Q}, 'run_' || {Q}, 1) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n + "Run".n RETURNING n, (xmax = 0) AS inserted
INSERT INTO "Run" AS excluded_ (id, "friendly Id", n) VALUES ({N}, 'run_' || {N}, 1), ({Q}, 'run_' || {Q}, 4) ON CONFLICT ("friendly Id") DO UPDATE SET vc = 'c' WHERE excluded_.n > 3 RETURNING id, vc
INSERT INTO "Run" (id, "friendly Id", n) VALUES ({N}, 'run_' || {N}, 1) ON CONFLICT (id) DO UPDATE SET n = 1000 + EXCLUDED.n
INSERT INTO "Run" (id, "friendly Id", n) VALUES ({N}, 'run_' || {N}, 1) ON CONFLICT (id) DO UPDATE SET (n, vc) = (SELECT no, out FROM "Attempt" WHERE "runId" = {N} AND no = 3) RETURNING n, vc
INSERT INTO "Attempt" ("runId", no, id) VALUES ({N}, 1, 'a1x') ON CONFLICT ("runId", no) DO UPDATE SET state = 'EXECUTING', out = EXCLUDED.id RETURNING id, state, out
INSERT INTO "Attempt" ("runId", no, id) VALUES ({N}, 1, 'a1x'), ({L}, 1, 'a1y') ON CONFLICT ("runId", no) DO UPDATE SET out = EXCLUDED.id
INSERT INTO "Run" (id, "friendly Id") VALUES ({N}, 'run_' || {N}) ON CONFLICT ON CONSTRAINT "Run_pkey" DO NOTHING
INSERT INTO "Attempt" ("runId", no, id) SELECT "runId", no + 10, id || 'x' FROM "Attempt" WHERE "runId" = {N}
INSERT INTO "Attempt" (no, "runId", id) SELECT no + 10, {N}, id || 'x' FROM "Attempt" WHERE "runId" = {N} RETURNING id, no, state, out
INSERT INTO "Attempt" SELECT id || 'y', {N}, no + 20, 'DONE', out FROM "Attempt" WHERE "runId" = {N} ORDER BY no DESC LIMIT 2
INSERT INTO "Attempt" (id, no, "runId", state) SELECT g || 'g', g, {N}, 'EXECUTING' FROM generate_series(101, 103) g RETURNING state, id
INSERT INTO "Attempt" ("runId", id, no) SELECT {N}, 'z' || max(no), max(no) + 1 FROM "Attempt" WHERE "runId" = {N} HAVING max(no) > 1
INSERT INTO "Attempt" ("runId", id, no) SELECT {N}, a.id || b.id, a.no * 10 + b.no FROM "Attempt" a, "Attempt" b WHERE a."runId" = {N} AND b."runId" = {N} AND a.no < b.no
INSERT INTO "Attempt" ("runId", id, no) SELECT {N}, id || 'n', NULL FROM "Attempt" WHERE "runId" = {N}
INSERT INTO "Attempt" ("runId", id, no) SELECT {N}, id || 'l', k FROM "Attempt", local WHERE "runId" = {N}
INSERT INTO "Attempt" ("runId", id, no) SELECT {N}, id || random(), no + 50 FROM "Attempt" WHERE "runId" = {N} AND no > 5
INSERT INTO "Attempt" ("runId", id, no, out) SELECT {N}, id || 'u', no, 'again' FROM "Attempt" WHERE "runId" = {N} AND no < 3 UNION ALL SELECT {N}, 'uu', 77, 'new' ON CONFLICT ("runId", no) DO UPDATE SET out = EXCLUDED.out || "Attempt".no RETURNING no, out, xmax = 0
INSERT INTO "Attempt" ("runId", id, no) SELECT {N}, id || 'u', no FROM "Attempt" WHERE "runId" = {N} ON CONFLICT DO NOTHING
WITH c AS (SELECT no FROM "Attempt" WHERE "runId" = {N} AND no > 1) INSERT INTO "Attempt" ("runId", id, no) SELECT {N}, 'c' || c.no, c.no + 30 FROM c WHERE EXISTS (SELECT FROM c d WHERE d.no < c.no) RETURNING no
WITH i AS (INSERT INTO "Attempt" ("runId", id, no) SELECT {N}, id || 'u', no + 40 FROM "Attempt" WHERE "runId" = {N} RETURNING no) SELECT no FROM i
INSERT INTO "Run" (id, n, "friendly Id") SELECT {Q}, 2 * no, NULL FROM "Attempt" WHERE "runId" = {N} AND no = 1
INSERT INTO "Run" (id, n, "friendly Id") SELECT {Q}, 2 * no, 'run_' || {Q} FROM "Attempt" WHERE "runId" = {N} AND no = 1
WITH i AS (INSERT INTO "Attempt" ("runId", no, id) VALUES ({N}, 5, 'a5') ON CONFLICT DO NOTHING RETURNING id) SELECT (SELECT count(*) FROM i), (SELECT count(*) FROM "Attempt" WHERE "runId" = {N} AND state = 'PENDING')
WITH u AS (UPDATE "Run" SET vc = 'z' WHERE id = {N} RETURNING n) UPDATE "Attempt" SET out = u.n::text FROM u WHERE "runId" = {N} AND no = 1 RETURNING out
WITH u AS (UPDATE "Run" SET n = n + 1 WHERE id = {N} RETURNING n) SELECT n FROM u
WITH d AS (DELETE FROM "Attempt" WHERE "runId" = {N} AND no = 1 RETURNING *) INSERT INTO "Attempt" (id, "runId", no) VALUES ('new', {N}, 1)
WITH c AS (SELECT id FROM "Run" WHERE id = {N} AND state = 'PENDING' FOR UPDATE SKIP LOCKED) UPDATE "Run" SET state = 'EXECUTING' FROM c WHERE "Run".id = {N} AND c.id = "Run".id RETURNING "Run".state
MERGE INTO "Run" r USING (VALUES ({N}, 3)) v(i, x) ON r.id = v.i WHEN MATCHED THEN UPDATE SET n = x
$cases$, '\n') s WHERE s <> '';
\set ECHO queries
SELECT statement, ship.try(statement) FROM ship.cases ORDER BY no \g (format=unaligned tuples_only)
\set ECHO none
\set VERBOSITY terse
SET client_min_messages = error;
SET search_path = ship, public;
DROP VIEW runs, guarded;
DELETE FROM "Attempt";
DELETE FROM "Run";
SELECT runops.detach('"Run"'), runops.detach('"Attempt"') \gset
DROP SCHEMA ship_plain CASCADE;
DROP SCHEMA ship CASCADE;
