-- shipping: stores whose statements are not sent as a whole, and why
\set ECHO none
SET client_min_messages = warning;
BEGIN;
CREATE SCHEMA refused;
SET search_path = refused, public;
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY '{sr_schema,sr_plain,sr_reader}'::text[] LOOP
		EXECUTE format('CREATE SERVER %I FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)', name,
			current_setting('unix_socket_directories'), current_setting('port'), name);
		EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER %I', name);
	END LOOP;
END $$;
SELECT runops.add_store('s', 'sr_schema', remote_schema => 'elsewhere'), runops.add_store('r', 'sr_plain', reader => 'sr_reader') \gset
CREATE TABLE run (id text PRIMARY KEY, n int);
SELECT count(*) > 0 AS attached FROM runops.attach('run', 'id') \gset
CREATE FUNCTION refused.why(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
	why text;
BEGIN
	EXECUTE 'EXPLAIN (VERBOSE, FORMAT JSON) ' || statement INTO plan;
	RETURN coalesce(jsonb_path_query_first(plan, '$.**."Not Sent as a Whole"') #>> '{}', plan::text);
EXCEPTION WHEN feature_not_supported THEN
	GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
	RETURN SQLERRM || E'\n' || why;
END $$;
\set ECHO queries
SELECT refused.why($$SELECT * FROM run WHERE id = '0123456789abcdefghijklmns2'$$);
SELECT refused.why($$UPDATE run SET n = 1 WHERE id = '0123456789abcdefghijklmns2'$$);
SELECT refused.why($$INSERT INTO run VALUES ('0123456789abcdefghijklmns2', 1) ON CONFLICT (id) DO NOTHING$$);
SELECT refused.why($$SELECT * FROM run WHERE id = '0123456789abcdefghijklmnr2'$$);
SELECT refused.why($$UPDATE run SET n = 1 WHERE id = '0123456789abcdefghijklmnr2'$$);
SELECT refused.why($$INSERT INTO run VALUES ('0123456789abcdefghijklmnr2', 1) ON CONFLICT (id) DO NOTHING$$);
\set ECHO none
ROLLBACK;
