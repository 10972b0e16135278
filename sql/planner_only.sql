-- ONLY means all of a routed table: its partitions are its stores, and no user has
-- made them
\connect runops_store
CREATE TABLE on_run (id text PRIMARY KEY, env text, n int);
INSERT INTO on_run VALUES ('0123456789abcdefghijklmna1', 'e', 2);
\connect contrib_regression
CREATE TABLE on_run (id text PRIMARY KEY, env text, n int);
INSERT INTO on_run VALUES ('c000000000000000000000001', 'e', 1);
SELECT runops.attach('on_run', 'id');
CREATE TABLE on_plain AS SELECT * FROM on_run;
CREATE VIEW on_run_view AS SELECT * FROM ONLY on_run;
CREATE VIEW on_plain_view AS SELECT * FROM ONLY on_plain;

-- what a statement returns for the plain table and for the routed one, with routing
-- and without
CREATE FUNCTION on_try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	got text;
	state text;
	rows bigint;
BEGIN
	IF statement ~ '^(SELECT|WITH)|RETURNING' THEN
		EXECUTE statement INTO got;
	ELSE
		EXECUTE statement;
	END IF;
	GET DIAGNOSTICS rows = ROW_COUNT;
	RAISE EXCEPTION USING ERRCODE = 'RB000', MESSAGE = concat_ws(' ', rows, got);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
	RETURN CASE state WHEN 'RB000' THEN SQLERRM ELSE state || ' ' || SQLERRM END;
END
$$;
CREATE TABLE on_statement (no int GENERATED ALWAYS AS IDENTITY, statement text);
INSERT INTO on_statement (statement) VALUES
	('SELECT string_agg(id, '','' ORDER BY id) FROM ONLY @t'),
	('SELECT n FROM ONLY @t WHERE id = @n'),
	('SELECT n FROM ONLY (@t) WHERE id = @l'),
	('SELECT n FROM ONLY @t WHERE id = @n FOR UPDATE'),
	('SELECT string_agg(id, '','' ORDER BY id) FROM @t_view'),
	('SELECT n FROM @t_view WHERE id = @n'),
	('UPDATE @t_view SET n = 7'),
	('DELETE FROM @t_view'),
	('SELECT count(*) FROM ONLY @t a JOIN ONLY @t b USING (id)'),
	('SELECT count(*) FROM @t a LEFT JOIN ONLY @t b USING (id) WHERE b.n IS NULL'),
	('SELECT count(*) FROM @t a WHERE EXISTS (SELECT FROM ONLY @t b WHERE b.id = a.id)'),
	('SELECT sum(n) FROM (SELECT n FROM ONLY @t UNION ALL SELECT n FROM ONLY @t) u'),
	('WITH w AS MATERIALIZED (SELECT * FROM ONLY @t) SELECT count(*) FROM w'),
	('WITH u AS (UPDATE ONLY @t SET n = 0 WHERE id = @l RETURNING 1) SELECT count(*) FROM u'),
	('UPDATE ONLY @t SET n = 0 WHERE id = @n'),
	('UPDATE ONLY @t SET n = 0 WHERE id = @l'),
	('UPDATE ONLY @t SET n = 0'),
	('UPDATE ONLY @t t SET n = s.n FROM ONLY @t s WHERE s.id = t.id'),
	('DELETE FROM ONLY @t WHERE id = @n'),
	('DELETE FROM ONLY @t WHERE n > 0'),
	('DELETE FROM ONLY @t USING on_plain p WHERE p.id = @t.id'),
	('INSERT INTO @t SELECT ''c'' || right(id, 24), env, n FROM ONLY @t WHERE id = @n RETURNING n'),
	('CREATE TABLE on_copy AS SELECT * FROM ONLY @t');
CREATE VIEW on_routings AS SELECT unnest('{on,off}'::text[]) AS routing;
CREATE TABLE on_got (no int, routing text, mode text, plain text, routed text);
CREATE PROCEDURE on_compare(mode text) LANGUAGE plpgsql AS $$
DECLARE
	s record;
	text_of text;
BEGIN
	FOR s IN SELECT * FROM on_statement, on_routings ORDER BY no LOOP
		PERFORM set_config('runops.enable_routing', s.routing, true);
		text_of := replace(replace(s.statement, '@n', quote_literal('0123456789abcdefghijklmna1')), '@l', quote_literal('c000000000000000000000001'));
		INSERT INTO on_got SELECT s.no, s.routing, mode, on_try(replace(text_of, '@t', 'on_plain')), on_try(replace(text_of, '@t', 'on_run'));
	END LOOP;
END
$$;
CALL on_compare('simple');
SELECT s.statement, g.plain, g.routed FROM on_statement s JOIN on_got g USING (no) WHERE g.routing = 'on' ORDER BY no;
SELECT s.statement, g.* FROM on_statement s JOIN on_got g USING (no) WHERE g.plain IS DISTINCT FROM g.routed ORDER BY no, g.routing;

-- prepared, generic plan; a function; a cursor
SET plan_cache_mode = force_generic_plan;
PREPARE on_read(text) AS SELECT n FROM ONLY on_run WHERE id = $1;
EXECUTE on_read('0123456789abcdefghijklmna1');
EXECUTE on_read('c000000000000000000000001');
RESET plan_cache_mode;
CREATE FUNCTION on_plpgsql() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM ONLY on_run); END $$;
SELECT on_plpgsql();
BEGIN;
DECLARE c CURSOR FOR SELECT n FROM ONLY on_run ORDER BY n;
FETCH ALL FROM c;
COMMIT;

-- an SQL function that becomes a part of the statement is refused, and any other is not
CREATE FUNCTION on_inlined() RETURNS SETOF on_run STABLE LANGUAGE sql AS $$ SELECT * FROM ONLY on_run $$;
SELECT count(*) FROM on_inlined();
SET runops.enable_routing = off;
SELECT count(*) FROM on_inlined();
RESET runops.enable_routing;
ALTER FUNCTION on_inlined() VOLATILE;
SELECT count(*) FROM on_inlined();

-- utility commands
COPY (SELECT n FROM ONLY on_run ORDER BY n) TO STDOUT;
TRUNCATE ONLY on_run;
BEGIN;
LOCK TABLE ONLY on_run IN ACCESS SHARE MODE;
COMMIT;
CREATE MATERIALIZED VIEW on_mat AS SELECT n FROM ONLY on_run;
SELECT count(*) FROM on_mat;

-- a partitioned table that is not routed is core's matter
CREATE TABLE on_parted (a int) PARTITION BY LIST (a);
CREATE TABLE on_part PARTITION OF on_parted FOR VALUES IN (1);
INSERT INTO on_parted VALUES (1);
SELECT count(*) FROM ONLY on_parted;

DROP TABLE on_parted;
DROP MATERIALIZED VIEW on_mat;
DROP FUNCTION on_inlined, on_plpgsql, on_try;
DROP PROCEDURE on_compare;
DROP VIEW on_run_view, on_plain_view, on_routings;
DEALLOCATE on_read;
DELETE FROM on_run WHERE n = 2;
SELECT runops.detach('on_run');
DROP TABLE on_run, on_plain, on_statement, on_got;
\connect runops_store
DROP TABLE on_run;
