-- session_savepoints: savepoints, exception blocks and cursors over several stores
-- do the same as on a table of one database

\getenv srcdir PG_ABS_SRCDIR
\getenv builddir PG_ABS_BUILDDIR
\set include :srcdir '/sql/include'
SET client_min_messages = warning;
\connect runops_store
CREATE SCHEMA sps_a;
\connect contrib_regression
SET client_min_messages = warning;
SELECT format('CREATE SERVER sps_a FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
	current_setting('unix_socket_directories'), current_setting('port'), 'runops_store') AS ddl \gset
:ddl;
CREATE USER MAPPING FOR CURRENT_USER SERVER sps_a;
SELECT runops.add_store('a', 'sps_a', remote_schema => 'sps_a');
CREATE SCHEMA sps_split;
CREATE TABLE sps_split.run (id text PRIMARY KEY, n int);
CREATE SCHEMA sps_plain;
CREATE TABLE sps_plain.run (id text PRIMARY KEY, n int);
SET runops.cross_store_writes = allow;
SELECT runops.attach('sps_split.run', 'id');
SELECT count(*) > 0 FROM runops.provision('new');
SELECT count(*) > 0 FROM runops.provision('a');

-- each run writes what it prints to a file; errors are printed here too
\set plain_rc :builddir '/results/session_savepoints.plain_rc'
\set plain_rr :builddir '/results/session_savepoints.plain_rr'
\set split_rc :builddir '/results/session_savepoints.split_rc'
\set split_rr :builddir '/results/session_savepoints.split_rr'
\set off_rc :builddir '/results/session_savepoints.off_rc'
\set off_rr :builddir '/results/session_savepoints.off_rr'
\set async_rc :builddir '/results/session_savepoints.async_rc'
\set VERBOSITY sqlstate
-- so that errors name no path
\cd :include
\set ECHO none

\echo plain table, READ COMMITTED
SET search_path = sps_plain;
\o :plain_rc
\i savepoints.sql
\o
\echo plain table, REPEATABLE READ
SET default_transaction_isolation = 'repeatable read';
\o :plain_rr
DISCARD TEMP;
\i savepoints.sql
\o
\echo routed table, REPEATABLE READ
SET search_path = sps_split;
\o :split_rr
DISCARD TEMP;
\i savepoints.sql
\o
\echo routed table, REPEATABLE READ, routing off
SET runops.enable_routing = off;
\o :off_rr
DISCARD TEMP;
\i savepoints.sql
\o
\echo routed table, READ COMMITTED, routing off
RESET default_transaction_isolation;
\o :off_rc
DISCARD TEMP;
\i savepoints.sql
\o
\echo routed table, READ COMMITTED
RESET runops.enable_routing;
\o :split_rc
DISCARD TEMP;
\i savepoints.sql
\o
\echo routed table, READ COMMITTED, asynchronous scans
ALTER SERVER sps_a OPTIONS (ADD async_capable 'true');
ALTER SERVER run_ops OPTIONS (ADD async_capable 'true');
\o :async_rc
DISCARD TEMP;
\i savepoints.sql
\o
ALTER SERVER run_ops OPTIONS (DROP async_capable);
\set ECHO all

SELECT length(pg_read_file(:'plain_rc')) > 2000 AS printed,
	pg_read_file(:'split_rc') = pg_read_file(:'plain_rc') AS split,
	pg_read_file(:'off_rc') = pg_read_file(:'plain_rc') AS routing_off,
	pg_read_file(:'async_rc') = pg_read_file(:'plain_rc') AS async;
SELECT length(pg_read_file(:'plain_rr')) > 2000 AS printed,
	pg_read_file(:'split_rr') = pg_read_file(:'plain_rr') AS split,
	pg_read_file(:'off_rr') = pg_read_file(:'plain_rr') AS routing_off;
SELECT count(*) AS open_transactions FROM pg_stat_activity WHERE application_name LIKE 'runops/%' AND state LIKE 'idle in transaction%';

RESET search_path;
DELETE FROM sps_split.run;
SELECT runops.detach('sps_split.run', force => true);
SELECT runops.remote_exec('new', 'DROP SCHEMA sps_split CASCADE');
SELECT runops.remote_exec('a', 'DROP SCHEMA sps_a CASCADE');
SELECT runops.drop_store('a');
DROP SERVER sps_a CASCADE;
DROP SCHEMA sps_split, sps_plain CASCADE;
