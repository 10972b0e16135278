-- The options of our own: where they may stand, which values they take, and that
-- postgres_fdw's are validated as before.
\set SHOW_CONTEXT never
CREATE SERVER opt FOREIGN DATA WRAPPER runops_fdw
	OPTIONS (dbname 'runops_store', pooled 'true', idle_timeout '10min', prepared_statements 'off');
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'opt';
ALTER SERVER opt OPTIONS (SET pooled 'no', SET idle_timeout '1500', DROP prepared_statements, ADD fetch_size '10');
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'opt';
CREATE USER MAPPING FOR CURRENT_USER SERVER opt OPTIONS (idle_timeout '90s', prepared_statements '1', user 'x');
SELECT umoptions FROM pg_user_mappings WHERE srvname = 'opt';
ALTER USER MAPPING FOR CURRENT_USER SERVER opt OPTIONS (DROP idle_timeout, SET prepared_statements '0');
SELECT umoptions FROM pg_user_mappings WHERE srvname = 'opt';

-- wrong values
ALTER SERVER opt OPTIONS (SET pooled 'perhaps');
\echo :LAST_ERROR_SQLSTATE
ALTER SERVER opt OPTIONS (SET pooled '');
ALTER SERVER opt OPTIONS (SET idle_timeout '10 parsecs');
ALTER SERVER opt OPTIONS (SET idle_timeout '-1');
ALTER SERVER opt OPTIONS (SET idle_timeout 'soon');
ALTER SERVER opt OPTIONS (SET idle_timeout '99999999999');
ALTER SERVER opt OPTIONS (ADD prepared_statements 'x');
ALTER SERVER opt OPTIONS (ADD pooled 'true');
ALTER USER MAPPING FOR CURRENT_USER SERVER opt OPTIONS (ADD idle_timeout 'never');

-- options that do not fit each other
ALTER SERVER opt OPTIONS (SET pooled 'true', ADD use_remote_estimate 'true');
ALTER SERVER opt OPTIONS (SET pooled 'true', ADD use_remote_estimate 'false');

-- in a wrong place, unknown ones, and those of postgres_fdw; the hints differ
-- between versions
\set VERBOSITY terse
ALTER USER MAPPING FOR CURRENT_USER SERVER opt OPTIONS (ADD pooled 'true');
CREATE FOREIGN TABLE opt_t (a int) SERVER opt OPTIONS (pooled 'true');
ALTER FOREIGN DATA WRAPPER runops_fdw OPTIONS (ADD pooled 'true');
ALTER SERVER opt OPTIONS (ADD no_such_option '1');
ALTER SERVER opt OPTIONS (SET fetch_size 'x');
CREATE FOREIGN TABLE opt_t (a int) SERVER opt OPTIONS (table_name 'a=b', fetch_size '7');
SELECT ftoptions FROM pg_foreign_table WHERE ftrelid = 'opt_t'::regclass;
DROP FOREIGN TABLE opt_t;

-- other wrappers do not have them
CREATE SERVER opt2 FOREIGN DATA WRAPPER postgres_fdw OPTIONS (pooled 'true');

-- what psql's \des+ shows
SELECT option_name, option_value FROM pg_foreign_server, pg_options_to_table(srvoptions)
	WHERE srvname = 'opt' ORDER BY option_name;
SET client_min_messages = warning;
DROP SERVER opt CASCADE;
