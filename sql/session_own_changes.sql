-- session_own_changes: a statement sees a store as it was when it began, and a
-- later one sees all changes, as in one plain database
--
-- compare() executes statements over the split, with and without routing, and
-- over plain copies of the tables, and rolls them back.  It says "same" if all
-- of them return the same rows and leave the same rows in the tables.  A
-- statement that returns no rows may have a "!" in front of it.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema own_changes
\i :helpers
\set ECHO none
-- versions name the place of an error differently
\set SHOW_CONTEXT never
CREATE SCHEMA own_plain;
CREATE TABLE own_plain.run (LIKE run INCLUDING DEFAULTS, PRIMARY KEY (id), UNIQUE ("friendlyId"));
CREATE TABLE own_plain.attempt (LIKE attempt, PRIMARY KEY (id));
CREATE TABLE own_plain.waitpoint (LIKE waitpoint, PRIMARY KEY (id));
CREATE TABLE own_plain.local (LIKE local, PRIMARY KEY (k));
INSERT INTO own_plain.run SELECT * FROM run;
INSERT INTO own_plain.attempt SELECT * FROM attempt;
INSERT INTO own_plain.waitpoint SELECT * FROM waitpoint;
INSERT INTO own_plain.local SELECT * FROM local;

CREATE FUNCTION outcome(tables text, routing text, statements text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	statement text;
	line record;
	lines jsonb;
	result jsonb := '[]';
	message text;
BEGIN
	PERFORM set_config('search_path', tables || ', own_changes', true), set_config('runops.enable_routing', routing, true);
	BEGIN
		FOREACH statement IN ARRAY statements || ARRAY['SELECT * FROM run', 'SELECT * FROM attempt', 'SELECT * FROM waitpoint', 'SELECT * FROM local'] LOOP
			lines := '[]';
			IF statement ~* '^(SELECT|WITH|FETCH|EXECUTE)|^[^!].*RETURNING' THEN
				FOR line IN EXECUTE ids(statement) LOOP
					lines := lines || to_jsonb(line);
				END LOOP;
			ELSE
				EXECUTE ids(ltrim(statement, '!'));
			END IF;
			-- the order of rows is not promised
			result := result || jsonb_build_array((SELECT coalesce(jsonb_agg(l ORDER BY l::text COLLATE "C"), '[]') FROM jsonb_array_elements(lines) l));
		END LOOP;
		RAISE SQLSTATE 'ZZ000' USING MESSAGE = result;
	EXCEPTION WHEN OTHERS THEN
		message := CASE SQLSTATE WHEN 'ZZ000' THEN SQLERRM ELSE SQLSTATE || ' ' || SQLERRM END;
	END;
	RETURN message;
END
$$;
CREATE FUNCTION compare(VARIADIC statements text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plain text := outcome('own_plain', 'on', statements);
	routed text := outcome('own_changes', 'on', statements);
	unrouted text := outcome('own_changes', 'off', statements);
BEGIN
	PERFORM set_config('search_path', 'own_changes', false), set_config('runops.enable_routing', 'on', false);
	IF plain !~ '^\[' THEN
		RETURN 'the statement fails: ' || plain;
	END IF;
	RETURN concat_ws(E'\n', CASE WHEN plain = routed THEN 'same' ELSE 'routed: ' || left(routed, 200) END,
		CASE WHEN plain <> unrouted THEN 'without routing: ' || left(unrouted, 200) END,
		CASE WHEN plain <> routed AND routed ~ '^\[' THEN 'plain: ' || left(plain, 200) END);
END
$$;
\set ECHO all

-- INSERT ... SELECT from the table itself: every row once
SELECT compare($$INSERT INTO attempt SELECT 'x' || id, "runId", k + 10 FROM attempt$$);
SELECT compare($$INSERT INTO attempt SELECT 'x' || a.id, a."runId", b.k + 10 FROM attempt a JOIN attempt b USING ("runId", id)$$);
SELECT compare($$INSERT INTO attempt SELECT 'x' || id, {N}, k FROM attempt WHERE "runId" = {N} RETURNING id, (SELECT count(*) FROM attempt)$$);
SELECT compare($$INSERT INTO attempt SELECT 'x' || count(*), {A}, 1 FROM attempt$$, $$INSERT INTO attempt SELECT 'x' || count(*), {A}, 1 FROM attempt$$);
SELECT compare($$INSERT INTO attempt SELECT 'x' || g || id, "runId", k + 10 FROM attempt, generate_series(1, 300) g$$);
SELECT compare($$INSERT INTO attempt SELECT 'x' || id, "runId", k FROM attempt WHERE NOT EXISTS (SELECT 1 FROM attempt b WHERE b.id LIKE 'x%')$$);

-- sub-selects on the table that is changed
SELECT compare($$UPDATE run SET n = (SELECT max(n) FROM run) + 1$$);
SELECT compare($$UPDATE run SET n = (SELECT count(*) FROM run q WHERE q.n > run.n)$$);
SELECT compare($$UPDATE run SET n = (SELECT count(*) FROM run q WHERE q.n > run.n) WHERE id = ANY (ARRAY[{N}, {K}, {L}, {A}])$$);
SELECT compare($$UPDATE run SET n = (SELECT q.n FROM run q WHERE q.id <> run.id AND q.id = ANY (ARRAY[{N}, {K}])) WHERE id = ANY (ARRAY[{N}, {K}])$$);
SELECT compare($$UPDATE run SET n = n + 1 WHERE n >= (SELECT avg(n) FROM run)$$);
SELECT compare($$UPDATE run SET n = q.n + 100 FROM run q WHERE q.n = run.n + 1$$);
SELECT compare($$UPDATE run SET n = q.s FROM (SELECT env, sum(n) AS s FROM run GROUP BY env) q WHERE q.env = run.env$$);
SELECT compare($$UPDATE run SET n = 0 WHERE id = {N} AND EXISTS (SELECT 1 FROM run q WHERE q.id = {N} AND q.n > 0) RETURNING n, (SELECT n FROM run WHERE id = {N}) AS old$$);
SELECT compare($$UPDATE run SET n = a.k FROM (SELECT "runId", count(*) AS k FROM attempt GROUP BY 1) a WHERE a."runId" = run.id RETURNING id, run.n$$);
SELECT compare($$DELETE FROM run WHERE id = (SELECT min(id) FROM run)$$);
SELECT compare($$DELETE FROM run WHERE n = (SELECT min(n) FROM run) OR n = (SELECT max(n) FROM run) RETURNING id$$);
SELECT compare($$DELETE FROM attempt a WHERE k < (SELECT max(k) FROM attempt b WHERE b."runId" = a."runId")$$);
SELECT compare($$DELETE FROM attempt a USING attempt b WHERE b."runId" = a."runId" AND b.k = a.k + 1 RETURNING a.id, (SELECT count(*) FROM attempt)$$);
SELECT compare($$DELETE FROM run WHERE EXISTS (SELECT 1 FROM run q WHERE q.env = run.env AND q.n > run.n)$$);
SELECT compare($$DELETE FROM run WHERE ctid IS NOT NULL AND id IN (SELECT id FROM run ORDER BY n LIMIT 2) RETURNING n$$);
SELECT compare($$DELETE FROM attempt WHERE id NOT IN (SELECT min(id) FROM attempt GROUP BY "runId")$$);

-- what a WITH item writes
SELECT compare($$WITH u AS (UPDATE run SET n = -1 WHERE id = {N} RETURNING id, n) SELECT o.n AS old, u.n AS new FROM u JOIN run o USING (id)$$);
SELECT compare($$WITH u AS (UPDATE run SET n = n + 100 RETURNING id, n) SELECT o.n AS old, u.n AS new FROM u JOIN run o USING (id)$$);
SELECT compare($$WITH i AS (INSERT INTO attempt VALUES ('x', {N}, 0) RETURNING id) SELECT (SELECT count(*) FROM i), (SELECT count(*) FROM attempt WHERE k = 0)$$);
SELECT compare($$WITH i AS (INSERT INTO attempt SELECT 'x' || id, "runId", 0 FROM attempt RETURNING id) SELECT (SELECT count(*) FROM attempt), (SELECT count(*) FROM i)$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE "runId" = {N} RETURNING "runId") SELECT count(*) FROM attempt, (SELECT DISTINCT "runId" FROM d) d WHERE attempt."runId" = d."runId"$$);
SELECT compare($$!WITH d AS (DELETE FROM attempt WHERE k = 1 RETURNING *) INSERT INTO attempt SELECT 'y' || id, "runId", k FROM d$$);
SELECT compare($$!WITH d AS (DELETE FROM attempt WHERE k = 1 RETURNING *) INSERT INTO attempt SELECT 'y' || id, {N}, k FROM d$$);
SELECT compare($$!WITH u AS (UPDATE attempt SET k = k + 1 RETURNING *) INSERT INTO attempt SELECT 'y' || id, {N}, k FROM u$$);
SELECT compare($$WITH d AS (DELETE FROM attempt WHERE k = 1 RETURNING *), i AS (INSERT INTO attempt SELECT 'y' || id, "runId", k FROM d RETURNING id) SELECT (SELECT count(*) FROM d), (SELECT count(*) FROM i), (SELECT count(*) FROM attempt)$$);
SELECT compare($$!WITH u AS (UPDATE attempt SET k = k + 1 RETURNING "runId", k) UPDATE run SET n = (SELECT sum(a.k) FROM attempt a WHERE a."runId" = run.id)$$);
SELECT compare($$WITH a AS (UPDATE run SET n = 1 WHERE id = {N} RETURNING n), b AS (UPDATE run SET n = 2 WHERE id = {K} RETURNING n), c AS (UPDATE run SET n = 3 WHERE id = {A} RETURNING n) SELECT sum(n), (SELECT sum(n) FROM a), (SELECT sum(n) FROM b), (SELECT sum(n) FROM c) FROM run$$);
SELECT compare($$WITH u AS (UPDATE run SET n = -1 WHERE id = {N}) SELECT n FROM run WHERE id = {N}$$);

-- get or create
SELECT compare($$WITH i AS (INSERT INTO run VALUES ('0123456789abcdefghijklmnx1', 'run_x', 'gc', 1) ON CONFLICT DO NOTHING RETURNING id) SELECT id FROM i UNION ALL SELECT id FROM run WHERE env = 'gc'$$);
SELECT compare($$WITH i AS (INSERT INTO run VALUES ({N}, 'run_x', 'gc', 1) ON CONFLICT DO NOTHING RETURNING id) SELECT id FROM i UNION ALL SELECT id FROM run WHERE id = {N}$$);
SELECT compare($$WITH s AS (SELECT id FROM run WHERE env = 'gc'), i AS (INSERT INTO run SELECT '0123456789abcdefghijklmnx1', 'run_x', 'gc', 1 WHERE NOT EXISTS (SELECT 1 FROM s) RETURNING id) SELECT id FROM i UNION ALL SELECT id FROM s$$,
	$$WITH s AS (SELECT id FROM run WHERE env = 'gc'), i AS (INSERT INTO run SELECT '0123456789abcdefghijklmny1', 'run_y', 'gc', 1 WHERE NOT EXISTS (SELECT 1 FROM s) RETURNING id) SELECT id FROM i UNION ALL SELECT id FROM s$$);

-- loops that write what they read
SELECT compare($_$DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM attempt LOOP INSERT INTO attempt VALUES ('x' || r.id, r."runId", r.k + 10); END LOOP; END $$$_$);
SELECT compare($_$DO $$ DECLARE r record; BEGIN FOR r IN SELECT id, n FROM run ORDER BY n LOOP UPDATE run SET n = n + 100 WHERE n >= r.n; END LOOP; END $$$_$);
SELECT compare($_$DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM run LOOP DELETE FROM run; END LOOP; END $$$_$);
SELECT compare($$INSERT INTO attempt SELECT 'g' || g, {N}, g FROM generate_series(1, 450) g$$,
	$_$DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM attempt WHERE "runId" = {N} LOOP UPDATE attempt SET k = k + 1000 WHERE id = r.id; INSERT INTO attempt VALUES ('h' || r.id, {N}, r.k); END LOOP; END $$$_$);
SELECT compare($$INSERT INTO attempt SELECT 'g' || g, {N}, g FROM generate_series(1, 450) g$$,
	$_$DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM attempt LOOP BEGIN UPDATE attempt SET k = -k WHERE id = r.id; PERFORM 1 / (r.k % 3); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$$_$);

-- cursors are insensitive
SELECT compare($$DECLARE c CURSOR FOR SELECT id, n FROM run$$, $$UPDATE run SET n = -5$$, $$FETCH ALL FROM c$$);
SELECT compare($$DECLARE c CURSOR FOR SELECT id, n FROM run WHERE id = {N}$$, $$UPDATE run SET n = -5$$, $$FETCH ALL FROM c$$);
SELECT compare($$DECLARE c CURSOR FOR SELECT id, n FROM run ORDER BY n$$, $$FETCH 1 FROM c$$, $$DELETE FROM run$$, $$FETCH ALL FROM c$$);
SELECT compare($$DECLARE c SCROLL CURSOR FOR SELECT id, n FROM run ORDER BY n$$, $$FETCH 4 FROM c$$, $$DELETE FROM run$$, $$FETCH BACKWARD ALL FROM c$$, $$FETCH ALL FROM c$$);
SELECT compare($$DECLARE c CURSOR FOR SELECT r.n, a.k FROM run r JOIN attempt a ON a."runId" = r.id$$, $$UPDATE attempt SET k = k + 100$$, $$INSERT INTO attempt VALUES ('x', {N}, 7)$$, $$FETCH ALL FROM c$$);
SELECT compare($$DECLARE c CURSOR FOR SELECT count(*) FROM attempt$$, $$DECLARE d CURSOR FOR SELECT id FROM attempt$$, $$DELETE FROM attempt WHERE k = 1$$, $$DECLARE e CURSOR FOR SELECT count(*) FROM attempt$$,
	$$DELETE FROM attempt WHERE k = 2$$, $$FETCH e$$, $$FETCH c$$, $$FETCH ALL d$$);
SELECT compare($$INSERT INTO attempt SELECT 'g' || g, {N}, g FROM generate_series(1, 450) g$$, $$DECLARE c CURSOR FOR SELECT * FROM attempt$$, $$FETCH 120 FROM c$$, $$UPDATE attempt SET k = 0$$, $$FETCH ALL FROM c$$);

-- the second time a search that depends on another row would be sent: refused
-- in place of rows that the later statement has written
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT compare($$DECLARE c CURSOR FOR SELECT l.k, a.k FROM local l, LATERAL (SELECT sum(k) AS k FROM attempt WHERE "runId" = l.ref OFFSET 0) a$$, $$FETCH 1 FROM c$$, $$UPDATE attempt SET k = 9$$, $$FETCH ALL FROM c$$);
RESET enable_hashjoin;
RESET enable_mergejoin;

-- functions: a VOLATILE one sees the changes of its calling statement, a STABLE
-- one must not
CREATE FUNCTION attempts_v(text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$BEGIN RETURN (SELECT count(*) FROM attempt WHERE "runId" = $1); END$$;
CREATE FUNCTION attempts_s(text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$BEGIN RETURN (SELECT count(*) FROM attempt WHERE "runId" = $1); END$$;
CREATE FUNCTION runs_s() RETURNS bigint LANGUAGE plpgsql STABLE AS $$BEGIN RETURN (SELECT count(*) FROM run); END$$;
CREATE FUNCTION add_and_count(text, text) RETURNS bigint LANGUAGE sql VOLATILE AS $$INSERT INTO attempt VALUES ($1, $2, 0); SELECT count(*) FROM attempt WHERE "runId" = $2; INSERT INTO attempt VALUES ($1 || 'b', $2, 0); SELECT count(*) FROM attempt WHERE "runId" = $2$$;
SELECT compare($$INSERT INTO attempt VALUES ('x', {N}, 4), ('y', {N}, 4), ('z', {L}, 4) RETURNING attempts_v("runId")$$);
SELECT compare($$SELECT add_and_count('x', {N})$$, $$SELECT add_and_count('y', {L})$$);
SELECT compare($$SELECT id, add_and_count('x' || n, id), attempts_v(id) FROM run$$);
SELECT compare($$UPDATE run SET n = attempts_s(id)$$);
SELECT compare($$UPDATE run SET n = runs_s()$$);
SELECT compare($$INSERT INTO attempt SELECT 'x' || id, id, attempts_s(id) FROM run WHERE id = {N}$$);
SELECT compare($$INSERT INTO attempt VALUES ('x', {L}, 4) RETURNING attempts_s("runId")$$);
SELECT compare($$INSERT INTO run VALUES ('0123456789abcdefghijklmnx1', 'run_x', 'e', 1) RETURNING attempts_s(id)$$);
INSERT INTO attempt VALUES ('x', :'N', 4) RETURNING attempts_s("runId");
\echo :LAST_ERROR_SQLSTATE
UPDATE run SET n = 0 WHERE id = :'N' RETURNING runs_s();
-- the next statement is not affected
SELECT runs_s(), attempts_s(:'N');

-- triggers that read what is changed
CREATE FUNCTION count_attempts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.k := (SELECT count(*) FROM attempt WHERE "runId" = NEW."runId");
	RETURN NEW;
END
$$;
CREATE FUNCTION note_attempts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO local SELECT 100 + count(*) + (SELECT count(*) FROM local), TG_OP FROM attempt;
	RETURN NULL;
END
$$;
CREATE TRIGGER t BEFORE INSERT ON own_plain.attempt FOR EACH ROW EXECUTE FUNCTION count_attempts();
CREATE TRIGGER t BEFORE INSERT ON attempt FOR EACH ROW EXECUTE FUNCTION count_attempts();
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON own_plain.attempt FOR EACH ROW EXECUTE FUNCTION note_attempts();
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON attempt FOR EACH ROW EXECUTE FUNCTION note_attempts();
CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON own_plain.attempt FOR EACH STATEMENT EXECUTE FUNCTION note_attempts();
CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON attempt FOR EACH STATEMENT EXECUTE FUNCTION note_attempts();
SELECT compare($$INSERT INTO attempt VALUES ('x', {N}, 0), ('y', {N}, 0), ('z', {A}, 0) RETURNING id, k$$);
SELECT compare($$INSERT INTO attempt SELECT 'x' || id, "runId", 0 FROM attempt WHERE "runId" = {N}$$);
SELECT compare($$UPDATE attempt SET k = k + 1 WHERE "runId" = {N}$$);
SELECT compare($$DELETE FROM attempt WHERE "runId" = {A} RETURNING id, (SELECT count(*) FROM attempt)$$);
DROP TRIGGER t ON attempt;
DROP TRIGGER a ON attempt;
DROP TRIGGER s ON attempt;
DROP TRIGGER t ON own_plain.attempt;
DROP TRIGGER a ON own_plain.attempt;
DROP TRIGGER s ON own_plain.attempt;

-- prepared statements, custom and generic
SET plan_cache_mode = force_generic_plan;
PREPARE own_u(text, int) AS UPDATE run SET n = (SELECT max(n) FROM run) + $2 WHERE id = $1 RETURNING n, (SELECT max(n) FROM run);
PREPARE own_w(text) AS WITH u AS (UPDATE run SET n = -1 WHERE id = $1 RETURNING id, n) SELECT o.n AS old, u.n AS new FROM u JOIN run o USING (id);
PREPARE own_i(text) AS INSERT INTO attempt SELECT 'x' || id, "runId", k FROM attempt WHERE "runId" = $1;
SELECT compare($$EXECUTE own_u({N}, 1)$$, $$EXECUTE own_u({L}, 1)$$, $$EXECUTE own_u({A}, 1)$$);
SELECT compare($$EXECUTE own_w({N})$$, $$EXECUTE own_w({L})$$, $$EXECUTE own_w({A})$$, $$EXECUTE own_w({N})$$);
SELECT compare($$!EXECUTE own_i({N})$$, $$!EXECUTE own_i({L})$$, $$!EXECUTE own_i({K})$$);
SET plan_cache_mode = force_custom_plan;
SELECT compare($$EXECUTE own_u({N}, 1)$$, $$EXECUTE own_u({L}, 1)$$, $$EXECUTE own_u({A}, 1)$$);
SELECT compare($$EXECUTE own_w({N})$$, $$EXECUTE own_w({L})$$, $$EXECUTE own_w({A})$$, $$EXECUTE own_w({N})$$);
RESET plan_cache_mode;

-- the plans that search the store for each row
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SELECT compare($$UPDATE run SET n = (SELECT count(*) FROM run q WHERE q.n > run.n)$$);
SELECT compare($$UPDATE run SET n = q.n + 100 FROM run q WHERE q.n = run.n + 1$$);
SELECT compare($$DELETE FROM attempt a USING attempt b WHERE b."runId" = a."runId" AND b.k = a.k + 1$$);
SELECT compare($$WITH u AS (UPDATE run SET n = n + 100 RETURNING id, n) SELECT o.n AS old, u.n AS new FROM u JOIN run o USING (id)$$);
SELECT compare($$WITH d AS (DELETE FROM attempt RETURNING *) SELECT count(*) FROM d JOIN attempt a ON a.id = d.id JOIN run r ON r.id = a."runId"$$);
SELECT compare($$INSERT INTO attempt SELECT 'x' || a.id, a."runId", b.k + 10 FROM attempt a JOIN attempt b ON b.id = a.id$$);
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;

-- asynchronous scans
ALTER SERVER run_ops OPTIONS (ADD async_capable 'true');
ALTER SERVER own_changes_a OPTIONS (ADD async_capable 'true');
SELECT compare($$INSERT INTO attempt SELECT 'x' || g || id, "runId", k + 10 FROM attempt, generate_series(1, 300) g$$, $$INSERT INTO attempt SELECT 'y' || id, "runId", k + 10 FROM attempt$$);
SELECT compare($$INSERT INTO attempt SELECT 'x' || g || id, "runId", k + 10 FROM attempt, generate_series(1, 300) g$$, $$DECLARE c CURSOR FOR SELECT id FROM attempt$$, $$MOVE 1 FROM c$$, $$DELETE FROM attempt$$,
	$_$DO $$ DECLARE c CONSTANT refcursor := 'c'; r record; n int := 0; BEGIN LOOP FETCH c INTO r; EXIT WHEN NOT FOUND; n := n + 1; END LOOP; INSERT INTO local VALUES (1000 + n); END $$$_$);
SELECT compare($$INSERT INTO attempt SELECT 'x' || g || id, "runId", k + 10 FROM attempt, generate_series(1, 300) g$$,
	$_$DO $$ DECLARE r record; BEGIN FOR r IN SELECT id, k FROM attempt LOOP BEGIN UPDATE attempt SET k = -k WHERE id = r.id; PERFORM 1 / (r.k % 3); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$$_$);
SELECT compare($_$DO $$ DECLARE r record; BEGIN FOR r IN SELECT id, k FROM attempt LOOP BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN INSERT INTO local VALUES (2000 + hashtext(r.id)); END; END LOOP; END $$$_$);
SELECT compare($$UPDATE run SET n = (SELECT count(*) FROM run q WHERE q.n > run.n)$$);
SELECT compare($$!WITH d AS (DELETE FROM attempt WHERE k = 1 RETURNING *) INSERT INTO attempt SELECT 'y' || id, "runId", k FROM d$$);
ALTER SERVER run_ops OPTIONS (DROP async_capable);
ALTER SERVER own_changes_a OPTIONS (DROP async_capable);

-- a cursor that was first read inside a savepoint goes on after its rollback
BEGIN;
DECLARE c CURSOR FOR SELECT n FROM run;
SAVEPOINT a;
MOVE 2 FROM c;
ROLLBACK TO a;
MOVE 3 FROM c;
SELECT count(*) FROM run;
DO $$ DECLARE c CONSTANT refcursor := 'c'; r record; BEGIN FETCH c INTO r; ASSERT FOUND; FETCH c INTO r; ASSERT NOT FOUND; END $$;
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT n FROM run WHERE n > 0 ORDER BY n;
UPDATE run SET n = -n WHERE id = :'N';
SAVEPOINT a;
UPDATE run SET n = -100;
FETCH 2 FROM c;
ROLLBACK TO a;
FETCH ALL FROM c;
SELECT n FROM run ORDER BY n;
ROLLBACK;

-- a higher isolation level
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT compare($$UPDATE run SET n = (SELECT count(*) FROM run q WHERE q.n > run.n)$$);
SELECT compare($$DECLARE c CURSOR FOR SELECT id, n FROM run$$, $$UPDATE run SET n = -5$$, $$FETCH ALL FROM c$$, $$SELECT sum(n) FROM run$$);
SELECT compare($$INSERT INTO attempt SELECT 'x' || id, "runId", k + 10 FROM attempt$$);
INSERT INTO attempt VALUES ('x', :'N', 4) RETURNING attempts_s("runId");
ROLLBACK;

-- the tables are as they were
SELECT compare($$SELECT 1$$);
DROP SCHEMA own_plain CASCADE;
\set helpers :srcdir '/sql/include/planner_end.sql'
\i :helpers
