-- gate_status: one row for each item that an operator needs
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA status;
SET search_path = status, public;
CREATE TABLE "Run" (id text PRIMARY KEY, n int);
CREATE TABLE item (id text PRIMARY KEY, run text NOT NULL);
SELECT runops.attach('"Run"', 'id');
SELECT runops.attach('item', 'run');
SELECT count(*) > 0 AS made FROM runops.provision('new') WHERE action = 'create';
SELECT item, state, reason, since IS NOT NULL AS since FROM runops.status();
SELECT since = pg_postmaster_start_time() AS since_start FROM runops.status() WHERE item = 'flag';

-- the store cannot be proved, then is proved again
ALTER SERVER run_ops OPTIONS (SET dbname 'contrib_regression');
SELECT n FROM "Run" WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
SELECT item, state, reason FROM runops.status() WHERE item IN ('gate', 'read_gate', 'store:new');
SELECT severity, object, finding, hint FROM runops.doctor() WHERE finding LIKE '%gate%';
ALTER SERVER run_ops OPTIONS (SET dbname 'runops_store');
SELECT n FROM "Run" WHERE id = '0ujtsYcgvSTl8PAuAdqWYSMnLOv';
SELECT item, state, reason FROM runops.status() WHERE item IN ('gate', 'read_gate', 'store:new');
SELECT count(*) FROM runops.doctor() WHERE finding LIKE '%gate%';

-- a store that nobody has asked; status does not ask it
DO $$
BEGIN
	EXECUTE format('CREATE SERVER status_shard FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
		current_setting('unix_socket_directories'), current_setting('port'), 'runops_store');
END
$$;
SELECT runops.add_store('e', 'status_shard', remote_schema => 'e');
SELECT item, state, reason FROM runops.status() WHERE item IN ('gate', 'read_gate', 'store:e', 'table:status.Run');
SELECT runops.drop_store('e', force => true);
DROP SERVER status_shard;

-- a reader that is no standby
DO $$
BEGIN
	EXECUTE format('CREATE SERVER status_reader FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
		current_setting('unix_socket_directories'), current_setting('port'), 'runops_store');
END
$$;
CREATE USER MAPPING FOR CURRENT_USER SERVER status_reader;
SELECT runops.add_store('legacy', NULL, reader => 'status_reader');
SELECT verdict, reason FROM runops.recheck('legacy');
SELECT item, state, reason FROM runops.status() WHERE item IN ('co_residency', 'store:legacy');
SELECT severity, object, finding, hint FROM runops.doctor() WHERE finding LIKE 'reader%';
SELECT runops.drop_store('legacy');
SELECT item, state, reason FROM runops.status() WHERE item = 'store:legacy';
SELECT count(*) FROM runops.doctor() WHERE finding LIKE 'reader%';
DROP SERVER status_reader CASCADE;

-- who may ask
CREATE ROLE regress_status;
SET ROLE regress_status;
SELECT count(*) > 0 AS told FROM runops.status();
RESET ROLE;
GRANT pg_monitor TO regress_status;
SET ROLE regress_status;
SELECT count(*) > 0 AS told FROM runops.status();
RESET ROLE;
DROP ROLE regress_status;

SELECT runops.detach('"Run"', force => true);
SELECT runops.detach('item', force => true);
DROP SCHEMA status CASCADE;
\connect runops_store
DROP SCHEMA status CASCADE;
