-- session_own_inserts: an UPDATE or DELETE in WITH, sent as a whole, does not see
-- the rows that its statement inserts, however many they are
--
-- compare() executes a statement over the split, with and without routing, and
-- over a plain copy of the table, counts the rows, and rolls back.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema own_inserts
\i :helpers
\set ECHO none
CREATE SCHEMA own_inserts_plain;
CREATE TABLE own_inserts_plain.attempt (LIKE attempt, PRIMARY KEY (id));
CREATE TABLE own_inserts_plain.local (LIKE local);
INSERT INTO own_inserts_plain.local SELECT * FROM local;
INSERT INTO attempt SELECT 'b' || g || id, id, 5 FROM run, generate_series(1, 20) g WHERE id <> 'odd';
INSERT INTO attempt SELECT 'c' || g, :'L', 5 FROM generate_series(1, 1500) g;
INSERT INTO own_inserts_plain.attempt SELECT * FROM attempt;

CREATE FUNCTION outcome(tables text, routing text, statements text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	statement text;
	result text;
BEGIN
	PERFORM set_config('search_path', tables || ', own_inserts', true), set_config('runops.enable_routing', routing, true);
	BEGIN
		FOREACH statement IN ARRAY statements LOOP
			EXECUTE ids(statement);
		END LOOP;
		SELECT string_agg(concat_ws(' ', c, "runId", k, n), E'\n' ORDER BY c, "runId" COLLATE "C", k) INTO result
		FROM (SELECT left(id, 1) AS c, "runId", k, count(*) AS n FROM attempt GROUP BY 1, 2, 3) q;
		RAISE SQLSTATE 'ZZ000' USING MESSAGE = result;
	EXCEPTION WHEN OTHERS THEN
		RETURN CASE SQLSTATE WHEN 'ZZ000' THEN SQLERRM ELSE SQLSTATE || ' ' || SQLERRM END;
	END;
END
$$;
CREATE FUNCTION compare(VARIADIC statements text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plain text := outcome('own_inserts_plain', 'on', statements);
	routed text := outcome('own_inserts', 'on', statements);
	unrouted text := outcome('own_inserts', 'off', statements);
BEGIN
	PERFORM set_config('search_path', 'own_inserts', false), set_config('runops.enable_routing', 'on', false);
	RETURN concat_ws(E'\n', CASE WHEN plain = routed THEN 'same' ELSE 'routed: ' || routed || E'\nplain: ' || plain END,
		CASE WHEN routed <> unrouted THEN 'without routing: ' || unrouted END);
END
$$;
CREATE FUNCTION insert_many(n int, caught boolean) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	IF NOT caught THEN
		INSERT INTO attempt SELECT 'f' || g, '0123456789abcdefghijklmna1', 5 FROM generate_series(1, n) g;
		RETURN n;
	END IF;
	BEGIN
		INSERT INTO attempt SELECT 'f' || g, '0123456789abcdefghijklmna1', 5 FROM generate_series(1, n) g;
	EXCEPTION WHEN unique_violation THEN
		RETURN 0;
	END;
	RETURN n;
END
$$;
\set ECHO all

-- the plans are those that this is about
EXPLAIN (COSTS OFF) WITH d AS (DELETE FROM attempt WHERE k = 5 RETURNING *) INSERT INTO attempt SELECT 'y' || id, :'N', k FROM d;

-- rows that come from the changed ones: those of the legacy leaf come first
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 RETURNING *) INSERT INTO attempt SELECT 'y' || id, {N}, k FROM d$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 RETURNING *) INSERT INTO attempt SELECT 'y' || id, CASE WHEN length(id) % 2 = 0 THEN {N} ELSE {A} END, k FROM d$$);
SELECT compare($$WITH u AS (UPDATE attempt SET k = k + 1 WHERE k >= 5 RETURNING *) INSERT INTO attempt SELECT 'y' || id, {N}, k FROM u$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 RETURNING *) INSERT INTO attempt SELECT repeat('y', 1000) || id, {N}, k FROM d WHERE length(id) <= 4$$);

-- an item of WITH that nobody reads is executed last
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 AND "runId" = {N}) INSERT INTO attempt SELECT 'z' || g, {N}, 5 FROM generate_series(1, 2500) g$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5) INSERT INTO attempt SELECT 'z' || g, CASE WHEN g % 3 = 0 THEN {N} WHEN g % 3 = 1 THEN {L} ELSE {A} END, 5 FROM generate_series(1, 4000) g$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 AND "runId" = {N}), u AS (UPDATE attempt SET k = k + 1 WHERE k = 5 AND "runId" = {K}) INSERT INTO attempt SELECT 'z' || g, CASE WHEN g % 2 = 0 THEN {N} ELSE {K} END, 5 FROM generate_series(1, 2500) g$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 AND "runId" = {N}), i AS (INSERT INTO attempt SELECT 'z' || g, {N}, 5 FROM generate_series(1, 2500) g RETURNING k) SELECT count(*) FROM i$$);
SELECT compare($$WITH i AS (INSERT INTO attempt SELECT 'z' || g, {N}, 5 FROM generate_series(1, 2500) g) DELETE FROM attempt WHERE k = 5 AND "runId" = {N}$$);
SELECT compare($$PREPARE own_inserts(text, int) AS WITH d AS (DELETE FROM attempt WHERE k = $2 AND "runId" = $1) INSERT INTO attempt SELECT 'z' || g, $1, $2 FROM generate_series(1, 2500) g$$,
	'SET LOCAL plan_cache_mode = force_generic_plan', 'EXECUTE own_inserts({N}, 5)', 'DEALLOCATE own_inserts');
SELECT compare($$INSERT INTO attempt VALUES ('a0', {N}, 5)$$, $$WITH d AS (DELETE FROM attempt WHERE k = 5 AND "runId" = {N}) INSERT INTO attempt SELECT 'z' || g, {N}, 5 FROM generate_series(1, 2500) g$$,
	$$WITH d AS (DELETE FROM attempt WHERE k = 5 AND "runId" = {N}) INSERT INTO attempt SELECT 'y' || g, {N}, 5 FROM generate_series(1, 2500) g$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 AND "runId" = {N}) INSERT INTO attempt SELECT 'z' || g, {N}, 5 FROM generate_series(1, 900) g$$);

-- what is not executed is not executed earlier
SET own_inserts.go = 'no';
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 AND "runId" = {N} AND current_setting('own_inserts.go') = 'yes') INSERT INTO attempt SELECT 'z' || g, {N}, 5 FROM generate_series(1, 2500) g$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 AND current_setting('own_inserts.go') = 'yes') INSERT INTO attempt SELECT 'z' || g, {N}, 5 FROM generate_series(1, 2500) g$$);

-- a function that the statement calls inserts; in a block with EXCEPTION it must
-- not send what its rollback would undo
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 AND "runId" = {N}) INSERT INTO local SELECT insert_many(n, false) FROM generate_series(1200, 1200) n$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 AND "runId" = {N}) INSERT INTO local SELECT 1000 + insert_many(n, false) FROM generate_series(2, 2) n$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 5 AND "runId" = {N}) INSERT INTO local SELECT 1000 + insert_many(n, true) FROM generate_series(2, 2) n$$);

-- what cannot be executed earlier
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = (SELECT max(k) + 4 FROM local WHERE k = 1) AND "runId" = {N}) INSERT INTO attempt SELECT 'z' || g, {N}, 5 FROM generate_series(1, 2500) g$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = (SELECT max(k) + 4 FROM local WHERE k = 1) AND "runId" = {N}) INSERT INTO attempt SELECT 'z' || g, {N}, 5 FROM generate_series(1, 500) g$$);
CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING '% %', TG_WHEN, TG_OP; RETURN NULL; END $$;
CREATE TRIGGER say BEFORE DELETE ON attempt FOR EACH STATEMENT EXECUTE FUNCTION say();
BEGIN;
WITH d AS (DELETE FROM attempt WHERE k = 5 AND "runId" = :'N') INSERT INTO attempt SELECT 'z' || g, :'N', 5 FROM generate_series(1, 2500) g;
ROLLBACK;
DROP TRIGGER say ON attempt;

DROP SCHEMA own_inserts_plain CASCADE;
\set helpers :srcdir '/sql/include/planner_end.sql'
\i :helpers
