-- session_remote: queries that run in a store, and their errors
SELECT * FROM runops.remote_query('new', $$SELECT g AS n, 'x' || g AS t, ARRAY[g] AS a, NULL AS nothing FROM pg_catalog.generate_series(1, 2) g -- a comment$$);
SELECT * FROM runops.remote_query('new', 'SELECT pg_catalog.current_database() AS db, pg_catalog.current_setting(''search_path'') AS path');
SELECT count(*), max(length(q ->> 't')) FROM runops.remote_query('new', 'SELECT pg_catalog.repeat(''y'', 10000) AS t FROM pg_catalog.generate_series(1, 300)') q;

-- one command as it is, several as one transaction
SELECT runops.remote_exec('new', 'CREATE TABLE public.remote_t (a int PRIMARY KEY)');
SELECT runops.remote_transaction('new', ARRAY['INSERT INTO public.remote_t VALUES (1)', 'INSERT INTO public.remote_t VALUES (2)']);
SELECT runops.remote_transaction('new', ARRAY['INSERT INTO public.remote_t VALUES (3)', 'INSERT INTO public.remote_t VALUES (1)']);
SELECT runops.remote_transaction('new', ARRAY['INSERT INTO public.remote_t VALUES (3)', 'SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())']);
SELECT runops.remote_transaction('new', ARRAY[NULL, 'INSERT INTO public.remote_t VALUES (4)', NULL]);
SELECT runops.remote_transaction('new', '{}');
SELECT * FROM runops.remote_query('new', 'SELECT a FROM public.remote_t ORDER BY a');
SELECT runops.remote_exec('new', 'CREATE INDEX CONCURRENTLY ON public.remote_t (a)');

-- nothing of ours is left connected, after success or error
SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runops' AND state = 'idle';

-- errors of the store arrive whole, and name the store
\set SHOW_CONTEXT never
DO $$
DECLARE
	state text; message text; detail text; hint text; context text;
BEGIN
	PERFORM runops.remote_exec('new', 'DO $x$ BEGIN RAISE EXCEPTION ''odd'' USING ERRCODE = ''ZX123'', DETAIL = ''why'', HINT = ''do that''; END $x$');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	RAISE WARNING '% / % / % / % / names the store: %', state, message, detail, hint,
		context ~ 'remote SQL command: DO .*\nstore "new", server "run_ops"';
END
$$;
\set SHOW_CONTEXT errors
SELECT * FROM runops.remote_query('new', 'SELECT nothing FROM public.remote_t');
SELECT * FROM runops.remote_query('new', 'DELETE FROM public.remote_t');
SELECT runops.remote_exec('new', 'COPY public.remote_t TO STDOUT');
SELECT runops.remote_exec('new', 'SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())');

-- policies that would hide rows raise
SELECT runops.remote_exec('new', $$
CREATE ROLE regress_remote_reader LOGIN;
GRANT SELECT ON public.remote_t TO regress_remote_reader;
ALTER TABLE public.remote_t ENABLE ROW LEVEL SECURITY$$);
ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (ADD user 'regress_remote_reader');
SELECT * FROM runops.remote_query('new', 'SELECT a FROM public.remote_t');
ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (DROP user);

-- a cancel ends the wait
BEGIN;
SET LOCAL statement_timeout = '200ms';
SELECT * FROM runops.remote_query('new', 'SELECT pg_catalog.pg_sleep(60)');
ROLLBACK;

-- no such store, or none to connect to
SELECT * FROM runops.remote_query('q', 'SELECT 1');
SELECT * FROM runops.remote_query(NULL, 'SELECT 1');
CREATE SERVER remote_reader FOREIGN DATA WRAPPER runops_fdw;
SELECT runops.add_store('legacy', NULL, reader => 'remote_reader');
SELECT * FROM runops.remote_query('legacy', 'SELECT 1');
SELECT runops.drop_store('legacy');
DROP SERVER remote_reader;

-- unreachable
CREATE SERVER remote_gone FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '/nonexistent', port '1');
SELECT runops.add_store('g', 'remote_gone');
CREATE USER MAPPING FOR CURRENT_USER SERVER remote_gone;
SELECT * FROM runops.remote_query('g', 'SELECT 1');
ALTER SERVER remote_gone OPTIONS (ADD connect_timeout 'soon');
SELECT * FROM runops.remote_query('g', 'SELECT 1');
SELECT runops.drop_store('g', force => true);
DROP USER MAPPING FOR CURRENT_USER SERVER remote_gone;
DROP SERVER remote_gone;

-- other roles: rights on the functions, on the server, a mapping, a password
CREATE ROLE regress_remote_user LOGIN;
GRANT USAGE ON SCHEMA runops TO regress_remote_user;
SET ROLE regress_remote_user;
SELECT * FROM runops.remote_query('new', 'SELECT 1');
SELECT runops.remote_exec('new', 'SELECT 1');
SELECT runops.remote_transaction('new', '{}');
RESET ROLE;
GRANT EXECUTE ON FUNCTION runops.remote_query(text, text) TO regress_remote_user;
SET ROLE regress_remote_user;
SELECT * FROM runops.remote_query('new', 'SELECT 1');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER run_ops TO regress_remote_user;
SET ROLE regress_remote_user;
SELECT * FROM runops.remote_query('new', 'SELECT 1');
RESET ROLE;
CREATE USER MAPPING FOR regress_remote_user SERVER run_ops OPTIONS (user 'regress_remote_reader');
SET ROLE regress_remote_user;
SELECT * FROM runops.remote_query('new', 'SELECT 1');
RESET ROLE;
-- the store has to ask for the password
ALTER USER MAPPING FOR regress_remote_user SERVER run_ops OPTIONS (ADD password 'secret');
SET ROLE regress_remote_user;
SELECT * FROM runops.remote_query('new', 'SELECT 1');
RESET ROLE;
ALTER USER MAPPING FOR regress_remote_user SERVER run_ops OPTIONS (ADD password_required 'false');
SET ROLE regress_remote_user;
SELECT * FROM runops.remote_query('new', 'SELECT current_user AS who');
RESET ROLE;

DROP USER MAPPING FOR regress_remote_user SERVER run_ops;
DROP OWNED BY regress_remote_user;
DROP ROLE regress_remote_user;
SELECT runops.remote_exec('new', 'DROP TABLE public.remote_t; DROP ROLE regress_remote_reader');
