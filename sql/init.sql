-- init: create the extension, and a second database of the instance as the store
CREATE EXTENSION runops CASCADE;
CREATE DATABASE runops_store;

DO $$
BEGIN
	EXECUTE format('CREATE SERVER run_ops FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
		current_setting('unix_socket_directories'), current_setting('port'), 'runops_store');
END
$$;
CREATE USER MAPPING FOR CURRENT_USER SERVER run_ops;
SELECT runops.add_store('new', 'run_ops');
