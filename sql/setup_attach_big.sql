--
-- setup_attach_big: a big table is read once however many aliases it has, and never
-- under the lock without the operator knowing.  Concurrent writers are tested in the
-- spec setup-attach-prepare.
--
SET client_min_messages = warning;
-- each worker counts a scan of its own
SET max_parallel_workers_per_gather = 0;
\set SHOW_CONTEXT never
CREATE SCHEMA big;

-- how often a table was read, and how many of its rows, in transactions that have ended
CREATE FUNCTION big.scans(relation regclass, OUT scans bigint, OUT reads bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_stat_clear_snapshot();
	SELECT pg_stat_get_numscans(relation), pg_stat_get_tuples_returned(relation) INTO scans, reads;
	PERFORM pg_stat_reset_single_table_counters(relation);
END
$$;
-- it has more blocks than prepare_attach looks at before it adds the checks
CREATE TABLE big.run (id text NOT NULL, a text, b text, c text) WITH (fillfactor = 10, autovacuum_enabled = off);
INSERT INTO big.run SELECT x, x, x, NULL FROM (SELECT 'c' || lpad(i::text, 24, '0') FROM generate_series(1, 12000) i) r (x);
SELECT pg_relation_size('big.run') > 8 * 1024 * 1024 AS is_big;
SELECT pg_stat_force_next_flush();
SELECT 'ok' FROM big.scans('big.run');

-- attach says that it would read the table under its lock, and reads nothing
SET runops.attach_scan_limit = '4MB';
DO $$
DECLARE
	detail text;
	hint text;
BEGIN
	PERFORM runops.attach('big.run', 'id', '{a,b,c}');
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RAISE WARNING '%', regexp_replace(concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, detail, hint), '\d+ kB|\d+ MB', 'SIZE');
END
$$;
SELECT pg_stat_force_next_flush();
SELECT * FROM big.scans('big.run');

-- prepare_attach reads it once
CALL runops.prepare_attach('big.run', 'id', '{a,b,c}');
SELECT pg_stat_force_next_flush();
SELECT scans, reads < 2 * (SELECT count(*) FROM big.run) AS once FROM big.scans('big.run');
SELECT conname, convalidated FROM pg_constraint WHERE conrelid = 'big.run'::regclass AND contype = 'c' ORDER BY 1;
-- nothing is left to do
CALL runops.prepare_attach('big.run', 'id', '{a,b,c}');
SELECT pg_stat_force_next_flush();
SELECT * FROM big.scans('big.run');

-- it is undone, all of it, and once is enough
ALTER TABLE big.run ADD CONSTRAINT mine CHECK (c IS NULL) NOT VALID;
SELECT runops.undo_prepare_attach('big.run');
SELECT conname FROM pg_constraint WHERE conrelid = 'big.run'::regclass AND contype = 'c' ORDER BY 1;
SET client_min_messages = notice;
SELECT runops.undo_prepare_attach('big.run');
SET client_min_messages = warning;
SELECT runops.undo_prepare_attach(NULL);

-- part of it is done: the rest takes one scan
CALL runops.prepare_attach('big.run', 'id', '{a}');
SELECT pg_stat_force_next_flush();
SELECT scans FROM big.scans('big.run');
CALL runops.prepare_attach('big.run', 'id', '{a,b,c}');
SELECT pg_stat_force_next_flush();
SELECT scans FROM big.scans('big.run');
-- attach reads nothing then, and needs no force
SELECT runops.attach('big.run', 'id', '{a,b,c}');
SELECT pg_stat_force_next_flush();
SELECT * FROM big.scans('runops_legacy.run');
SELECT runops.detach('big.run');

-- a wrong alias is found before the checks stop anybody, if it is in the newest rows
CREATE FUNCTION big.noted() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING '%', tg_tag; END $$;
INSERT INTO big.run VALUES ('c' || lpad('0', 24, '0'), repeat('a', 27));
CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION big.noted();
CALL runops.prepare_attach('big.run', 'id', '{a,b}');
-- if it is in the oldest, the checks are dropped again
DELETE FROM big.run WHERE a = repeat('a', 27);
UPDATE big.run SET b = repeat('b', 27) WHERE ctid = '(0,1)';
SELECT ctid FROM big.run WHERE b = repeat('b', 27);
CALL runops.prepare_attach('big.run', 'id', '{a,b}');
DROP EVENT TRIGGER noted;
SELECT conname FROM pg_constraint WHERE conrelid = 'big.run'::regclass AND contype = 'c' ORDER BY 1;
-- what was proved before is not
CALL runops.prepare_attach('big.run', 'id', '{a}');
CALL runops.prepare_attach('big.run', 'id', '{a,b}');
SELECT conname, convalidated FROM pg_constraint WHERE conrelid = 'big.run'::regclass AND contype = 'c' ORDER BY 1;
UPDATE big.run SET b = id WHERE b = repeat('b', 27);
SELECT runops.undo_prepare_attach('big.run');

-- it cannot run in a transaction, and leaves nothing then
BEGIN;
CALL runops.prepare_attach('big.run', 'id', '{a,b}');
ROLLBACK;
SELECT conname FROM pg_constraint WHERE conrelid = 'big.run'::regclass AND contype = 'c' ORDER BY 1;

-- force: once before the lock, and once under it
SELECT pg_stat_force_next_flush();
SELECT 'ok' FROM big.scans('big.run');
SELECT runops.attach('big.run', 'id', '{a,b,c}', force => true);
SELECT pg_stat_force_next_flush();
SELECT * FROM big.scans('runops_legacy.run');

-- an anchor is an alias that comes later
SELECT runops.detach('big.run');
SELECT runops.attach('big.run', 'id', force => true);
SELECT pg_stat_force_next_flush();
SELECT 'ok' FROM big.scans('runops_legacy.run');
SELECT runops.add_anchor('big.run', 'id', 'a');
CALL runops.prepare_anchor('big.run', 'id', 'a');
SELECT pg_stat_force_next_flush();
SELECT scans FROM big.scans('runops_legacy.run');
SELECT runops.add_anchor('big.run', 'id', 'a');
SELECT pg_stat_force_next_flush();
SELECT scans FROM big.scans('runops_legacy.run');
SELECT runops.add_anchor('big.run', 'id', 'b', force => true);
SELECT runops.drop_anchor('big.run', 'id', 'b');
-- prepared, and then not wanted
CALL runops.prepare_anchor('big.run', 'id', 'b');
SELECT runops.undo_prepare_anchor('big.run', 'id', 'b');
SELECT runops.undo_prepare_anchor('big.run', 'id', 'a');
SELECT conname FROM pg_constraint WHERE conrelid = 'runops_legacy.run'::regclass AND contype = 'c' ORDER BY 1;

-- partitions count together, -1 is no limit, and 0 allows empty tables alone
CREATE TABLE big.parted (id text NOT NULL, a text) PARTITION BY LIST (id);
CREATE TABLE big.part1 PARTITION OF big.parted DEFAULT;
SET runops.attach_scan_limit = 0;
SELECT runops.attach('big.parted', 'id');
SELECT runops.detach('big.parted');
INSERT INTO big.parted VALUES ('c' || lpad('0', 24, '0'));
SELECT runops.attach('big.parted', 'id');
CALL runops.prepare_attach('big.parted', 'id', '{a}');
SELECT conrelid::regclass, conname, convalidated FROM pg_constraint
WHERE conrelid IN ('big.parted'::regclass, 'big.part1'::regclass) AND contype = 'c' ORDER BY 1, 2;
SELECT runops.undo_prepare_attach('big.parted');
SELECT conrelid::regclass, conname FROM pg_constraint WHERE conrelid IN ('big.parted'::regclass, 'big.part1'::regclass) AND contype = 'c';
SET runops.attach_scan_limit = -1;
SELECT runops.attach('big.parted', 'id');
SELECT runops.detach('big.parted');

-- only the owner prepares, and undoes
CREATE ROLE big_other;
GRANT USAGE ON SCHEMA runops, big TO big_other;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA runops TO big_other;
SET ROLE big_other;
CALL runops.prepare_attach('big.parted', 'id');
SELECT runops.undo_prepare_attach('big.parted');
SELECT * FROM runops.progress;
RESET ROLE;
GRANT pg_monitor TO big_other;
SET ROLE big_other;
SELECT * FROM runops.progress;
RESET ROLE;
-- no phase is left behind by what has failed
SELECT * FROM runops.progress;
CREATE TABLE big.wrong (id text PRIMARY KEY);
INSERT INTO big.wrong VALUES ('0123456789abcdefghijklmn11');
BEGIN;
SAVEPOINT a;
SELECT runops.attach('big.wrong', 'id');
ROLLBACK TO a;
SELECT * FROM runops.progress;
SAVEPOINT b;
SAVEPOINT c;
SELECT runops._progress_phase('attach', 'kept', 'big.wrong');
RELEASE c;
SELECT phase FROM runops.progress;
ROLLBACK TO b;
SELECT phase FROM runops.progress;
COMMIT;

DROP OWNED BY big_other;
DROP ROLE big_other;
SELECT runops.detach('big.run', force => true);
DROP SCHEMA big CASCADE;
RESET runops.attach_scan_limit;
RESET max_parallel_workers_per_gather;
RESET client_min_messages;
