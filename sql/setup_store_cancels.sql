-- setup_store_cancels: if a store cancels a statement, this is a finding, or an error
-- that names the store; if the statement is canceled here, the whole call ends
--
-- A prepared transaction holds a lock in the store, so statements that need this
-- lock wait there until the statement_timeout of the store.
\set SHOW_CONTEXT never
SET client_min_messages = error;
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA cancels;
CREATE TABLE cancels.env (id text PRIMARY KEY);
CREATE TABLE cancels.run (id text COLLATE "C" PRIMARY KEY, env text COLLATE "C");
CREATE INDEX run_env ON cancels.run (env);
SELECT runops.attach('cancels.run', 'id');
SELECT count(*) > 0 FROM runops.provision('new') WHERE action = 'create';
SELECT runops.add_anchor('cancels.run', 'id', 'env');
SELECT runops.add_cascade('cancels.env', 'cancels.run', 'env');
INSERT INTO cancels.env VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv');
INSERT INTO cancels.run VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', '0ujtsYcgvSTl8PAuAdqWYSMnLOv');
DELETE FROM cancels.env;
ANALYZE cancels.run;
SELECT runops.remote_exec('new', 'ANALYZE cancels.run');
SELECT store, verdict FROM runops.recheck();

-- Have the store asked by all that ask it, and tell how that went.
CREATE FUNCTION cancels.ask(questions text[]) RETURNS TABLE (line text) LANGUAGE plpgsql SET client_min_messages = error AS $$
DECLARE
	question text;
BEGIN
	RETURN QUERY SELECT concat_ws(' | ', 'doctor', d.severity, d.finding, d.hint) FROM runops.doctor() d
		WHERE d.object = 'store new' AND d.severity = 'error';
	RETURN QUERY SELECT concat_ws(' | ', 'verify', v.store, v.finding, substring(v.detail FROM 'canceling.*')) FROM runops.verify('cancels.run') v;
	RETURN QUERY SELECT concat_ws(' | ', 'status', s.state, s.reason) FROM runops.status() s WHERE s.item = 'gate';
	FOREACH question IN ARRAY questions LOOP
		BEGIN
			EXECUTE question;
			line := question || ' | done';
		EXCEPTION WHEN query_canceled OR OTHERS THEN
			line := concat_ws(' | ', question, SQLSTATE, SQLERRM);
		END;
		RETURN NEXT;
	END LOOP;
	RETURN QUERY SELECT concat_ws(' | ', 'a part of a cascade', p.store, p.message) FROM runops.cascade_part p WHERE p.failures > 0;
END
$$;
CREATE FUNCTION cancels.ask_all() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT cancels.ask(ARRAY[
		'SELECT runops.provision(''new'')',
		'SELECT runops.remote_query(''new'', ''SELECT * FROM cancels.run'')',
		'SELECT * FROM cancels.run',
		'SELECT runops.cleanup()',
		'ANALYZE cancels.run',
		'SELECT runops.drop_cascade(''cancels.env'', ''cancels.run'', ''env''), runops.add_cascade(''cancels.env'', ''cancels.run'', ''env'')',
		'SELECT runops.drop_anchor(''cancels.run'', ''id'', ''env'')'])
$$;

-- the question which database it is, with which each connection begins
--
-- It needs pg_proc, and a session that starts does not; but for that it must find
-- the file in which the last one has left its caches.  Autovacuum removes it when it
-- gets to a system catalog.
ALTER SYSTEM SET autovacuum = off;
SELECT pg_reload_conf();
DO $$
BEGIN
	WHILE EXISTS (SELECT FROM pg_stat_activity WHERE backend_type LIKE 'autovacuum%') LOOP
		PERFORM pg_sleep(0.01);
		PERFORM pg_stat_clear_snapshot();
	END LOOP;
END
$$;
ALTER DATABASE runops_store SET statement_timeout = '100ms';
\connect runops_store
BEGIN;
LOCK TABLE pg_catalog.pg_proc IN ACCESS EXCLUSIVE MODE;
PREPARE TRANSACTION 'store_cancels';
\connect contrib_regression
BEGIN;
SELECT cancels.ask_all();
ROLLBACK;
SET client_min_messages = warning;
ANALYZE cancels.run;
BEGIN;
SELECT runops.drop_anchor('cancels.run', 'id', 'env');
ROLLBACK;
\connect runops_store
ROLLBACK PREPARED 'store_cancels';
ALTER SYSTEM RESET autovacuum;
SELECT pg_reload_conf();

-- what looks at the table there; which of the doctor's questions it is does not
-- matter
BEGIN;
LOCK TABLE cancels.run IN ACCESS EXCLUSIVE MODE;
PREPARE TRANSACTION 'store_cancels';
\connect contrib_regression
BEGIN;
SELECT cancels.ask(ARRAY[
	'SELECT runops.provision(''new'')',
	'SELECT runops.remote_query(''new'', ''SELECT * FROM cancels.run'')',
	'SELECT * FROM cancels.run',
	'SELECT runops.cleanup()',
	'ANALYZE cancels.run',
	'SELECT runops.drop_anchor(''cancels.run'', ''id'', ''env'')']);
ROLLBACK;

-- a cancel here, while the store waits
ALTER DATABASE runops_store SET statement_timeout = 0;
SET client_min_messages = error;
BEGIN; SET LOCAL statement_timeout = '100ms'; SELECT runops.doctor(); ROLLBACK;
BEGIN; SET LOCAL statement_timeout = '100ms'; SELECT runops.verify(); ROLLBACK;
BEGIN; SET LOCAL statement_timeout = '100ms'; SELECT runops.provision('new'); ROLLBACK;
BEGIN; SET LOCAL statement_timeout = '100ms'; SELECT runops.drop_anchor('cancels.run', 'id', 'env'); ROLLBACK;
BEGIN; SET LOCAL statement_timeout = '100ms'; SELECT runops.cleanup(); ROLLBACK;
BEGIN; SET LOCAL statement_timeout = '100ms'; ANALYZE cancels.run; ROLLBACK;

-- and all goes on when nobody cancels
\connect runops_store
ROLLBACK PREPARED 'store_cancels';
\connect contrib_regression
ALTER DATABASE runops_store RESET statement_timeout;
BEGIN;
SELECT cancels.ask_all();
ROLLBACK;

SET client_min_messages = error;
SELECT runops.drop_cascade('cancels.env', 'cancels.run', 'env');
SELECT runops.detach('cancels.run', force => true);
DELETE FROM runops.cascade_queue;
DELETE FROM runops.cascade_task;
SELECT runops.remote_exec('new', 'DROP SCHEMA cancels CASCADE');
DROP SCHEMA cancels CASCADE;
