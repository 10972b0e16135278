-- bad_arguments: what internal functions say of arguments that attach and detach would never give them
-- (test/fuzz_functions calls every function with odd ones)
CREATE TABLE ba_run (id text PRIMARY KEY, n int);
CREATE TABLE ba_other (id text PRIMARY KEY, m int);
\set SHOW_CONTEXT never

-- relations that do not exist: errors, and no crash
SELECT runops._detach_partition(0, 1::oid);
SELECT runops._detach_partition('ba_run', 4294967295::oid);
SELECT runops._part_from_parent(ROW(0, 1, 'id', NULL, NULL)::runops.table_config);
SELECT runops._carry_privileges(0, 'ba_run');
SELECT runops._key_expression(0, 'id', false);
SELECT runops._leaf_checks(0, 'id', NULL);
SELECT runops._replan(0);
SELECT runops._unique_predicate(1::oid, 'true');
SELECT runops._dead_condition(4294967295::oid, 'true');
SELECT verdict, reason FROM runops._verdict(0);
SELECT runops._detach_partition('ba_run', 'ba_other');

-- twice in one command
SELECT runops._carry_privileges('ba_run', 'ba_other') FROM generate_series(1, 2);

-- functions of event triggers
SELECT runops._protect_start();
SELECT runops._protect_end();

-- claims have a longest id, too
SELECT claimed FROM runops.claim('ba', 'k', repeat('x', 2000));
SELECT claimed FROM runops.claim('ba', 'l', repeat('x', 2001));
SELECT runops.release_claim('ba', 'k', repeat('x', 2000));

-- a cleanup does not begin another one
CREATE TABLE ba_parent (id text PRIMARY KEY);
CREATE TABLE ba_child (id text PRIMARY KEY, parent text);
CREATE INDEX ON ba_child (parent);
INSERT INTO ba_parent VALUES ('p');
INSERT INTO ba_child VALUES ('c', 'p');
SELECT runops.add_cascade('ba_parent', 'ba_child', 'parent');
CREATE FUNCTION ba_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM runops.cleanup();
	RETURN OLD;
EXCEPTION WHEN OTHERS THEN
	RAISE NOTICE '% %', SQLSTATE, SQLERRM;
	RETURN OLD;
END
$$;
CREATE TRIGGER again BEFORE DELETE ON ba_child FOR EACH ROW EXECUTE FUNCTION ba_again();
DELETE FROM ba_parent;
SELECT runops.cleanup();
SELECT count(*) FROM ba_child;
SELECT runops.cleanup();

-- a long text is counted until a cancel comes
BEGIN;
SET LOCAL statement_timeout = '50ms';
SELECT runops._count_calls(repeat('f() ', 20000000));
ROLLBACK;

SELECT runops.drop_cascade('ba_parent', 'ba_child', 'parent');
DROP TABLE ba_run, ba_other, ba_parent, ba_child;
DROP FUNCTION ba_again();
