-- reads: read_through and read_many report where a row is, or why it is not found

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema reads
\i :helpers
\set SHOW_CONTEXT never
ALTER TABLE run ADD COLUMN "parentTaskRunId" text;
SELECT count(*) > 0 AS altered FROM runops.provision('new') \gset
SELECT count(*) > 0 AS altered FROM runops.provision('a') \gset

-- which stores were asked since the last reset: statements of each
CREATE VIEW asked AS
SELECT relation, string_agg(store || ' ' || statements_single + statements_multi, ', ' ORDER BY store) AS statements
FROM runops.stats
WHERE statements_single + statements_multi > 0 GROUP BY relation ORDER BY relation::text;
CREATE FUNCTION asked() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	SELECT string_agg(format('%s: %s', relation, statements), '; ') INTO result FROM asked;
	PERFORM runops.reset_stats();
	RETURN coalesce(result, 'none');
END
$$;
SELECT runops.reset_stats();

-- an id that decides: one store is asked, found or not
SELECT source, "row" ->> 'n' AS n FROM runops.read_through('run', :'L');
SELECT asked();
SELECT source, "row" ->> 'n' AS n FROM runops.read_through('run', :'N');
SELECT asked();
SELECT source, "row" ->> 'n' AS n FROM runops.read_through('run', :'K');
SELECT asked();
SELECT source, "row" ->> 'n' AS n FROM runops.read_through('run', :'A');
SELECT asked();
SELECT * FROM runops.read_through('run', 'clegacy000000000000000009');
SELECT asked();
SELECT * FROM runops.read_through('run', '0123456789abcdefghijklmn91');
SELECT asked();

-- a friendly id is as good
SELECT source, "row" ->> 'n' AS n FROM runops.read_through('run', 'run_' || :'L');
SELECT asked();
SELECT source, "row" ->> 'n' AS n FROM runops.read_through('run', 'run_' || :'N');
SELECT asked();

-- an alias that is not unique names a store, not a row: another run's parent
DROP VIEW asked;
SELECT runops.detach('run', force => true);
TRUNCATE run;
SELECT runops.attach('run', 'id', '{friendlyId,parentTaskRunId}');
INSERT INTO run (id, "friendlyId", env, n, "parentTaskRunId") VALUES ('clegacy000000000000000005', 'run_clegacy000000000000000005', 'e1', 5, 'clegacy000000000000000006');
SELECT source FROM runops.read_through('run', 'clegacy000000000000000006');
DELETE FROM run WHERE id = 'clegacy000000000000000005';
INSERT INTO run (id, "friendlyId", env, n) VALUES (:'L', 'run_' || :'L', 'e1', 1), (:'L2', 'run_' || :'L2', 'e2', 2), ('odd', 'run_odd', 'e1', 3);
CREATE VIEW asked AS
SELECT relation, string_agg(store || ' ' || statements_single + statements_multi, ', ' ORDER BY store) AS statements
FROM runops.stats
WHERE statements_single + statements_multi > 0 GROUP BY relation ORDER BY relation::text;
SELECT runops.reset_stats();

-- an id of no known shape: NEW first, then legacy, until it is found
SELECT source, "row" ->> 'n' AS n FROM runops.read_through('run', 'odd');
SELECT unclassifiable FROM runops.stats WHERE relation = 'run'::regclass AND store = 'legacy';
SELECT asked();
SELECT source FROM runops.read_through('run', 'odder');
SELECT asked();
SELECT source FROM runops.read_through('run', '');
SELECT source FROM runops.read_through('run', E'o\\dd');
SELECT source FROM runops.read_through('run', NULL);
SELECT asked();

-- a table that is routed by another column: the same, and it stops where it is found
SELECT id, source, "row" FROM attempt, runops.read_through('attempt', id) ORDER BY id;
SELECT runops.reset_stats();
SELECT source FROM runops.read_through('attempt', 'a41');
SELECT asked();
SELECT source FROM runops.read_through('attempt', 'a61');
SELECT asked();
SELECT source FROM runops.read_through('attempt', 'a11');
SELECT asked();
-- even if the id looks like one of a store: it is not what the table is routed by
SELECT w.id, source, "row" ->> 'n' AS n FROM waitpoint w, runops.read_through('waitpoint', w.id) ORDER BY n;
SELECT source FROM runops.read_through('waitpoint', 'w9');

-- the owner in the scope says where to look first
SELECT runops.reset_stats();
SELECT source FROM runops.read_through('attempt', 'a11', jsonb_build_object('runId', :'L'));
SELECT asked();
SELECT source FROM runops.read_through('attempt', 'a61', jsonb_build_object('runId', :'A'));
SELECT asked();
SELECT source FROM runops.read_through('attempt', 'a31', '{"runId": "odd"}');
SELECT asked();
-- and not that it is nowhere else
SELECT source FROM runops.read_through('attempt', 'a11', jsonb_build_object('runId', :'N'));
SELECT asked();
SELECT source FROM runops.read_through('waitpoint', 'w1', jsonb_build_object('runId', :'L'));
SELECT source FROM runops.read_through('waitpoint', 'w2', jsonb_build_object('runId', :'L'));
SELECT runops.reset_stats();

-- unless the table's own id is an alias
CREATE TABLE checkpoint (id text PRIMARY KEY, "runId" text NOT NULL, k int);
SELECT runops.attach('checkpoint', 'runId', '{id}');
SELECT count(*) > 0 AS made FROM runops.provision('new') WHERE action = 'create';
SELECT count(*) > 0 AS made FROM runops.provision('a') WHERE action = 'create';
INSERT INTO checkpoint VALUES ('0123456789abcdefghijklmnc1', :'N', 1), ('codd', :'L', 2), ('codd2', :'N', 3);
SELECT runops.reset_stats();
SELECT source, "row" ->> 'k' AS k FROM runops.read_through('checkpoint', '0123456789abcdefghijklmnc1');
SELECT asked();
SELECT source, "row" ->> 'k' AS k FROM runops.read_through('checkpoint', 'codd');
SELECT asked();
SELECT source, "row" ->> 'k' AS k FROM runops.read_through('checkpoint', 'codd2');
SELECT asked();

-- the scope: each column as its type compares
SELECT source FROM runops.read_through('run', :'N', '{"env": "e1"}');
SELECT source FROM runops.read_through('run', :'N', '{"env": "e2"}');
SELECT source FROM runops.read_through('run', :'L', '{"env": "e2"}');
SELECT source FROM runops.read_through('run', :'L', '{"env": "e1", "n": 1}');
SELECT source FROM runops.read_through('run', :'L', '{"env": "e1", "n": "1"}');
SELECT source FROM runops.read_through('run', :'L', '{"n": 2}');
SELECT source FROM runops.read_through('run', :'L', '{"parentTaskRunId": null}');
SELECT source FROM runops.read_through('run', :'L', '{"env": null}');
SELECT source FROM runops.read_through('run', :'N', '{"meta": {"a": 1}}');
SELECT source FROM runops.read_through('run', :'N', '{"meta": "a"}');
SELECT source FROM runops.read_through('run', :'L', '{}');
SELECT source FROM runops.read_through('run', :'L', NULL);
SELECT source FROM runops.read_through('run', :'L', '{"nix": 1}');
SELECT source FROM runops.read_through('run', :'L', '{"ENV": "e1"}');
SELECT source FROM runops.read_through('run', :'L', '{"gone": 1}');
SELECT source FROM runops.read_through('run', :'L', '{"ctid": "(0,1)"}');
SELECT source FROM runops.read_through('run', :'L', '{"n": "x"}');
SELECT source FROM runops.read_through('run', :'L', '{"n": [1]}');
SELECT source FROM runops.read_through('run', :'L', '["env"]');
SELECT source FROM runops.read_through('run', :'L', '"env"');

-- retention: of legacy ids alone, and only where nothing is found
CREATE FUNCTION cuid_of(minted timestamptz) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ms bigint := extract(epoch FROM minted) * 1000;
	digits text := '';
BEGIN
	FOR i IN 1 .. 8 LOOP
		digits := substr('0123456789abcdefghijklmnopqrstuvwxyz', (ms % 36)::int + 1, 1) || digits;
		ms := ms / 36;
	END LOOP;
	RETURN 'c' || digits || '0000000000000000';
END
$$;
SELECT source FROM runops.read_through('run', cuid_of(now() - interval '31 days'));
SELECT runops.set_retention('run', '30 days');
SELECT source FROM runops.read_through('run', cuid_of(now() - interval '31 days'));
SELECT source FROM runops.read_through('run', 'run_' || cuid_of(now() - interval '31 days'));
SELECT source FROM runops.read_through('run', cuid_of(now() - interval '29 days'));
SELECT source FROM runops.read_through('run', runops.gen_cuid());
-- a row outside of the scope is there
SELECT source FROM runops.read_through('run', :'L', '{"env": "another"}');
SELECT source FROM runops.read_through('run', :'L') WHERE (runops.parse_id(:'L')).minted_at < now() - interval '30 days';
-- minted in 2020, and not of legacy
SELECT source FROM runops.read_through('run', '1WOnv6hQJnuUczHQYxcVuXYs1ST');
SELECT source FROM runops.read_through('run', 'oddest');
SELECT ord, source FROM runops.read_many('run', ARRAY[cuid_of(now() - interval '31 days'), cuid_of(now()), 'oddest']);
SELECT source FROM runops.read_through('attempt', cuid_of(now() - interval '31 days'));
SELECT * FROM runops.retentions;
SELECT runops.set_retention('run', '32 days');
SELECT source FROM runops.read_through('run', cuid_of(now() - interval '31 days'));
SELECT runops.set_retention('run', NULL);
SELECT runops.set_retention('run', NULL);
SELECT * FROM runops.retentions;
SELECT source FROM runops.read_through('run', cuid_of(now() - interval '31 days'));
SELECT runops.set_retention('run', '-1 day');
SELECT runops.set_retention('local', '1 day');
SELECT runops.set_retention(NULL, '1 day');

-- read_many: in order, duplicates kept
SELECT ord, replace(id, :'N', 'N') AS id, source, "row" ->> 'n' AS n
FROM runops.read_many('run', ARRAY['odd', NULL, 'run_' || :'L', 'odder', :'L', :'N', 'odd', :'A', 'clegacy000000000000000009']);
SELECT runops.reset_stats();
SELECT count(*) FROM runops.read_many('run', ARRAY[:'L', :'L2', 'clegacy000000000000000009']);
SELECT asked();
SELECT count(*) FROM runops.read_many('run', ARRAY[:'N', :'K', :'N']);
SELECT asked();
SELECT count(*) FROM runops.read_many('run', ARRAY[:'N', 'odd']);
SELECT asked();
SELECT count(*) FROM runops.read_many('run', array_fill(:'N'::text, ARRAY[1000]) || array_fill(:'L'::text, ARRAY[1000]));
SELECT asked();
SELECT * FROM runops.read_many('run', '{}');
SELECT * FROM runops.read_many('run', '{NULL}');
SELECT * FROM runops.read_many('run', NULL);
SELECT asked();
SELECT ord, id, source FROM runops.read_many('attempt', '{a11,a41,a61,a99}');
SELECT asked();
SELECT ord, source FROM runops.read_many('run', ARRAY[[:'L', :'N'], ['odd', 'x']]);
-- a key goes before an alias of the same value, whichever comes first
INSERT INTO run (id, "friendlyId", n) VALUES ('x1', 'x2', 101), ('x2', 'x3', 102);
SELECT "row" ->> 'n' AS n FROM runops.read_through('run', 'x2');
SELECT id, "row" ->> 'n' AS n FROM runops.read_many('run', '{x3,x2,x1}');

-- a transaction sees what it has written
BEGIN;
INSERT INTO run (id, "friendlyId", n) VALUES ('0123456789abcdefghijklmnw1', 'w', 7);
UPDATE run SET n = 8 WHERE id = :'L';
SELECT source, "row" ->> 'n' AS n FROM runops.read_through('run', '0123456789abcdefghijklmnw1');
SELECT source, "row" ->> 'n' AS n FROM runops.read_through('run', :'L');
ROLLBACK;
SELECT source FROM runops.read_through('run', '0123456789abcdefghijklmnw1');

-- names that need quotes, and a search_path that hides everything
CREATE SCHEMA "reads Of";
CREATE TABLE "reads Of"."T t" (id text PRIMARY KEY, t text, "t.*" int);
SELECT runops.attach('"reads Of"."T t"', 'id', '{}');
SELECT count(*) > 0 AS made FROM runops.provision('new') WHERE action = 'create';
INSERT INTO "reads Of"."T t" VALUES (:'N', 'a', 1);
CREATE FUNCTION to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"hijacked": true}'::jsonb $$;
SET search_path = reads, pg_catalog;
SELECT * FROM runops.read_through('"reads Of"."T t"', :'N', '{"t": "a", "t.*": 1}');
ALTER TABLE "reads Of"."T t" RENAME TO plain;
SELECT * FROM runops.read_through('"reads Of".plain', :'N', '{"t": "a", "t.*": 1}');
SET search_path = reads;
SELECT runops.detach('"reads Of".plain', force => true);
SET client_min_messages = error;
DROP SCHEMA "reads Of" CASCADE;
RESET client_min_messages;

-- what cannot be read so
SELECT * FROM runops.read_through('local', 'x');
SELECT * FROM runops.read_through(NULL, 'x');
SELECT * FROM runops.read_through(0, 'x');
SELECT * FROM runops.read_through('run', :'Z');
SELECT * FROM runops.read_many('run', ARRAY[:'L', :'Z']);
CREATE TABLE pair (id text, n int NOT NULL, PRIMARY KEY (id, n));
SELECT runops.attach('pair', 'id', '{}');
SELECT * FROM runops.read_through('pair', 'x');
CREATE TABLE numbered (n int PRIMARY KEY, id text NOT NULL);
SELECT runops.attach('numbered', 'id', '{}');
SELECT * FROM runops.read_through('numbered', '1');
ALTER TABLE pair DROP CONSTRAINT pair_pkey;
SELECT * FROM runops.read_many('pair', '{x}');

-- the caller's rights and policies hold
CREATE ROLE reads_other;
GRANT USAGE ON SCHEMA reads TO reads_other;
SET ROLE reads_other;
SELECT * FROM runops.read_through('run', :'L');
SELECT * FROM runops.read_many('run', ARRAY[:'L']);
SELECT runops.set_retention('run', '1 day');
SELECT * FROM runops.retentions;
RESET ROLE;
GRANT SELECT ON run TO reads_other;
ALTER TABLE run ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON run TO reads_other USING (env = 'e1');
DO $$
BEGIN
	EXECUTE pg_catalog.format('CREATE USER MAPPING FOR reads_other SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user);
END
$$;
SET ROLE reads_other;
SELECT source FROM runops.read_through('run', :'L');
SELECT source FROM runops.read_through('run', :'L2');
SELECT source FROM runops.read_through('run', :'N');
SELECT source FROM runops.read_through('run', :'K');
SELECT source FROM runops.read_many('run', ARRAY[:'L', :'L2', :'N', :'K']);
RESET ROLE;
SELECT source FROM runops.read_through('run', :'K');
REVOKE SELECT ON run FROM reads_other;
SET ROLE reads_other;
SELECT source FROM runops.read_through('run', :'N');
RESET ROLE;
DROP USER MAPPING FOR reads_other SERVER run_ops;
REVOKE USAGE ON SCHEMA reads FROM reads_other;
DROP POLICY mine ON run;
DROP ROLE reads_other;

-- detach forgets the retention
SELECT runops.set_retention('attempt', '1 day');
SELECT runops.detach('attempt', force => true);
SELECT * FROM runops.retentions;

DROP VIEW asked;
\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
