-- what the tests of the planner share: a split of three stores in a schema of
-- the test's own (variable "schema"), and functions that look at it
--
-- stores(query) executes a query and names the stores whose leaves were
-- executed; shape(query) runs it with and without routing, and allowed to be sent
-- as a whole, and compares the rows; ids(query) puts the ids of the tests into it.

\set ECHO none
\set server :schema '_a'
SET client_min_messages = warning;
\connect runops_store
CREATE SCHEMA :server;
\connect contrib_regression
SET client_min_messages = warning;
-- the plans of leaves; sql/shipping.sql has the statements that are sent as a whole
SET runops.enable_shipping = off;
CREATE SCHEMA :schema;
SET search_path = :schema;

CREATE TABLE run (gone int, id text PRIMARY KEY, "friendlyId" text NOT NULL UNIQUE, env varchar(20), n int, meta jsonb);
ALTER TABLE run DROP COLUMN gone;
CREATE TABLE attempt (id text PRIMARY KEY, "runId" varchar(40) NOT NULL, k int);
CREATE INDEX ON attempt ("runId");
CREATE TABLE waitpoint (id text PRIMARY KEY, "runId" text, "batchId" text, n int);
CREATE TABLE local (k int PRIMARY KEY, ref text);

SELECT format('CREATE SERVER %I FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
	:'server', current_setting('unix_socket_directories'), current_setting('port'), 'runops_store') AS ddl \gset
:ddl;
CREATE USER MAPPING FOR CURRENT_USER SERVER :server;
SELECT runops.add_store('a', :'server', remote_schema => :'server') \gset
SELECT runops.attach('run', 'id', '{friendlyId}') \gset
SELECT runops.attach('attempt', 'runId') \gset
SELECT runops.attach('waitpoint', 'COALESCE("runId", "batchId", id)') \gset
SELECT count(*) > 0 AS provisioned FROM runops.provision('new') \gset
SELECT count(*) > 0 AS provisioned FROM runops.provision('a') \gset

\set L clegacy000000000000000001
\set L2 clegacy000000000000000002
\set N 0123456789abcdefghijklmna1
\set K 0ujtsYcgvSTl8PAuAdqWYSMnLOv
\set A 0123456789abcdefghijklmna2
\set Z 0123456789abcdefghijklmnz2

INSERT INTO run VALUES
	(:'L', 'run_' || :'L', 'e1', 1, '{}'), (:'L2', 'run_' || :'L2', 'e2', 2, NULL), ('odd', 'run_odd', 'e1', 3, NULL),
	(:'N', 'run_' || :'N', 'e1', 4, '{"a": 1}'), (:'K', 'run_' || :'K', 'e2', 5, NULL), (:'A', 'run_' || :'A', 'e1', 6, NULL);
INSERT INTO attempt SELECT 'a' || n || i, id, i FROM run, generate_series(1, 2) i WHERE n <> 2;
INSERT INTO waitpoint VALUES ('w1', :'L', NULL, 1), ('w2', NULL, :'N', 2), (:'A', NULL, NULL, 3), ('w4', :'N', :'L', 4);
INSERT INTO local SELECT n, id FROM run;
INSERT INTO local VALUES (10, NULL), (11, :'Z');

CREATE FUNCTION stores(query text) RETURNS text LANGUAGE plpgsql SET runops.enable_shipping = off AS $$
DECLARE
	plan jsonb;
	line text;
	found text[] := '{}';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT json) ' || query LOOP
		plan := line;
	END LOOP;
	FOR line IN
		SELECT coalesce(node ->> 'Relations', node ->> 'Schema')
		FROM jsonb_path_query(plan, 'strict $.** ? (@."Actual Loops" > 0)') node
	LOOP
		SELECT array_agg(DISTINCT s) INTO found
		FROM (SELECT unnest(found) UNION SELECT m[2] FROM regexp_matches(line, 'runops_(shard_)?([a-z]+)', 'g') m) u(s);
	END LOOP;
	RETURN coalesce(array_to_string(found, ' '), '');
END
$$;
CREATE FUNCTION rows_of(query text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	line record;
	lines jsonb[] := '{}';
BEGIN
	FOR line IN EXECUTE query LOOP
		lines := lines || to_jsonb(line);
	END LOOP;
	RETURN coalesce((SELECT jsonb_agg(l ORDER BY l::text COLLATE "C") FROM unnest(lines) l), '[]');
END
$$;
CREATE FUNCTION shape(query text) RETURNS TABLE (stores text, n int, same boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
	routed jsonb;
BEGIN
	stores := (SELECT f FROM stores(query) f);
	routed := rows_of(query);
	n := jsonb_array_length(routed);
	PERFORM set_config('runops.enable_routing', 'off', true);
	same := routed = rows_of(query);
	PERFORM set_config('runops.enable_routing', 'on', true);
	PERFORM set_config('runops.enable_shipping', 'on', true);
	same := same AND routed = rows_of(query);
	PERFORM set_config('runops.enable_shipping', 'off', true);
	RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
	stores := SQLSTATE || ' ' || SQLERRM;
	RETURN NEXT;
END
$$;
CREATE FUNCTION ids(query text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT replace(replace(replace(replace(replace(replace(query,
		'{L}', '''clegacy000000000000000001'''), '{L2}', '''clegacy000000000000000002'''),
		'{N}', '''0123456789abcdefghijklmna1'''), '{K}', '''0ujtsYcgvSTl8PAuAdqWYSMnLOv'''),
		'{A}', '''0123456789abcdefghijklmna2'''), '{Z}', '''0123456789abcdefghijklmnz2''')
$$;
\set ECHO all
