--
-- a schema that somebody has made beforehand is not used for the extension
--
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE ROLE regress_guard;
CREATE DATABASE runops_guard;
\connect runops_guard
SET client_min_messages = warning;
CREATE EXTENSION postgres_fdw;
CREATE SCHEMA runops AUTHORIZATION regress_guard;
CREATE EXTENSION runops;
ALTER SCHEMA runops OWNER TO CURRENT_USER;
GRANT CREATE ON SCHEMA runops TO regress_guard;
CREATE EXTENSION runops;
REVOKE CREATE ON SCHEMA runops FROM regress_guard;
CREATE FUNCTION runops._store_of_leaf(oid) RETURNS text LANGUAGE sql AS $$ SELECT 'new'::text $$;
CREATE EXTENSION runops;
DROP FUNCTION runops._store_of_leaf(oid);
CREATE EXTENSION runops;
SELECT extname FROM pg_extension WHERE extname = 'runops';
\connect contrib_regression
DROP DATABASE runops_guard;
DROP ROLE regress_guard;
