-- planner_generic_plan: a generic plan is that of the plain table for ids of legacy, and
-- has other plans for other ids

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema assume
\i :helpers
ANALYZE run, attempt, local;
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;

-- the generic plan is the plain table's, and the same statement for another
-- store gets that store's
PREPARE point(text) AS SELECT n FROM run WHERE id = $1;
PREPARE joined(text) AS SELECT r.n, a.k FROM run r JOIN attempt a ON a."runId" = r.id WHERE r.id = $1;
EXPLAIN (COSTS OFF) EXECUTE point(:'L');
EXPLAIN (COSTS OFF) EXECUTE point(:'N');
EXPLAIN (COSTS OFF) EXECUTE joined(:'L');
EXPLAIN (COSTS OFF) EXECUTE joined(:'N');
EXPLAIN (COSTS OFF) EXECUTE joined('odd');
SELECT stores(ids('EXECUTE joined({L})')) AS l, stores(ids('EXECUTE joined({N})')) AS n,
	stores(ids('EXECUTE joined({A})')) AS a, stores('EXECUTE joined(''odd'')') AS odd;
EXECUTE joined(:'A');
EXECUTE joined(:'L');
EXECUTE joined(NULL);
-- the plan for legacy is there again
EXPLAIN (COSTS OFF) EXECUTE point(:'L');
SELECT name, generic_plans, custom_plans FROM pg_prepared_statements ORDER BY name;

-- only parameters that name a store are assumed of
PREPARE others(text, int, varchar, text) AS SELECT n FROM run WHERE id = $1 AND n >= $2 AND env = $3 AND meta::text IS DISTINCT FROM $4;
EXPLAIN (COSTS OFF) EXECUTE others(:'L', 0, :'N', 'odd');
EXECUTE others(:'L', 0, 'e1', 'odd');
EXECUTE others(:'A', 0, 'e1', NULL);

-- of other types, several, and in expressions
CREATE DOMAIN id AS varchar(40);
PREPARE typed(varchar) AS SELECT n FROM run WHERE id = $1;
PREPARE domained(id) AS SELECT n FROM run WHERE id = $1;
PREPARE anyof(varchar[]) AS SELECT n FROM run WHERE id = ANY ($1) ORDER BY n;
PREPARE coalesced(text, text) AS SELECT n FROM run WHERE id = COALESCE($1, $2);
PREPARE two(text, text) AS SELECT (SELECT n FROM run WHERE id = $1), (SELECT n FROM run WHERE id = $2);
PREPARE aliased(text) AS SELECT n FROM run WHERE "friendlyId" = $1;
PREPARE derived(text) AS SELECT s.n FROM (SELECT id, n FROM run OFFSET 0) s JOIN run r ON r.id = s.id WHERE r.id = $1;
EXPLAIN (COSTS OFF) EXECUTE coalesced(NULL, :'L');
SELECT stores(ids('EXECUTE typed({L})')) AS l, stores(ids('EXECUTE typed({N})')) AS n;
SELECT stores(ids('EXECUTE domained({L})')) AS l, stores(ids('EXECUTE domained({N})')) AS n;
SELECT stores(ids('EXECUTE anyof(ARRAY[{L}, NULL, {L2}])')) AS l, stores(ids('EXECUTE anyof(ARRAY[{L}, {N}])')) AS l_n,
	stores('EXECUTE anyof(ARRAY[''odd''])') AS odd;
SELECT stores(ids('EXECUTE coalesced({L}, {N})')) AS l, stores(ids('EXECUTE coalesced(NULL, {N})')) AS n;
SELECT stores(ids('EXECUTE two({L}, {L2})')) AS l, stores(ids('EXECUTE two({L}, {A})')) AS l_a;
SELECT stores(ids('EXECUTE aliased(''run_'' || {L})')) AS l, stores(ids('EXECUTE aliased(''run_'' || {K})')) AS k;
EXECUTE anyof(ARRAY[:'L', :'N', :'A', 'odd']);
EXECUTE two(:'K', :'L');
EXECUTE derived(:'L');
EXECUTE derived(:'N');

-- writes
PREPARE ins(text, text) AS INSERT INTO run VALUES ($1, $2, 'w', 0) RETURNING tableoid::regclass;
PREPARE ins2(text, text) AS INSERT INTO waitpoint VALUES ('w8', $1, $2, 8), ('w9', $2, $1, 9) RETURNING id, tableoid::regclass;
PREPARE upsert(text) AS INSERT INTO run VALUES ($1, 'run_' || $1, 'w', 0) ON CONFLICT (id) DO UPDATE SET n = run.n + 1 RETURNING n;
PREPARE upd(text) AS UPDATE run SET n = n + 10 WHERE id = $1 RETURNING n;
PREPARE move(text, text) AS UPDATE run SET id = $2, "friendlyId" = 'run_' || $2 WHERE id = $1 RETURNING id;
PREPARE del(text) AS DELETE FROM run WHERE id = $1 RETURNING n;
EXPLAIN (COSTS OFF) EXECUTE upsert(:'L');
EXPLAIN (COSTS OFF) EXECUTE upd(:'L');
EXECUTE ins('cins000000000000000000001', NULL);
EXECUTE ins('cins000000000000000000001', 'run_cins000000000000000000001');
EXECUTE ins('0123456789abcdefghijklins1', 'run_0123456789abcdefghijklins1');
EXECUTE ins('0123456789abcdefghijklins2', 'run_0123456789abcdefghijklins2');
EXECUTE ins('cins000000000000000000002', 'run_' || :'N');
EXECUTE ins(:'Z', 'run_' || :'Z');
EXECUTE ins(NULL, 'x');
EXECUTE ins2(:'L', :'L2');
EXECUTE ins2(:'N', NULL);
EXECUTE upsert(:'L');
EXECUTE upsert(:'N');
EXECUTE upsert(:'L');
EXECUTE upd(:'L');
EXECUTE upd(:'N');
EXECUTE upd(:'A');
EXECUTE upd('odd');
EXECUTE move('cins000000000000000000001', 'cins000000000000000000003');
EXECUTE move('cins000000000000000000003', '0123456789abcdefghijklint1');
EXECUTE move('cins000000000000000000003', 'not an id');
EXECUTE move('0123456789abcdefghijklins1', 'cins000000000000000000004');
EXECUTE move('0123456789abcdefghijklins1', '0123456789abcdefghijklint1');
EXECUTE del('cins000000000000000000003');
EXECUTE del('not an id');
EXECUTE del('0123456789abcdefghijklint1');
EXECUTE del('0123456789abcdefghijklins2');
SELECT id FROM run WHERE env = 'w';

-- checks that a plan can do without, and those that it cannot
SET plan_cache_mode = auto;
PREPARE rename(text, text) AS UPDATE run SET "friendlyId" = $2 WHERE id = $1 RETURNING "friendlyId";
EXECUTE rename(:'L', 'run_' || :'N');
EXECUTE rename(:'L', 'run_' || :'L2' || 'x');
EXECUTE rename(:'L', 'run_' || :'L');
INSERT INTO run VALUES (:'L', 'run_' || :'A', 'w', 0) ON CONFLICT (id) DO UPDATE SET n = run.n + 1;
INSERT INTO run VALUES (:'L', 'run_' || :'L', 'w', 0) ON CONFLICT (id) DO UPDATE SET "friendlyId" = 'run_' || 'cins000000000000000000009' || substr(run.env, 9) RETURNING "friendlyId";
INSERT INTO run VALUES (:'L', 'run_x', 'w', 0) ON CONFLICT (id) DO UPDATE SET "friendlyId" = 'run_0123456789abcdefghijklin' || substr(run.env, 2) || '1';
UPDATE run SET "friendlyId" = 'run_' || :'L' WHERE id = :'L';
INSERT INTO runops_legacy.run (id, "friendlyId") VALUES (:'K', 'x');
UPDATE runops_legacy.run SET "friendlyId" = 'run_' || :'K' WHERE id = :'L';
ALTER TABLE run ADD CONSTRAINT small CHECK (n < 1000);
UPDATE run SET n = n + 1000 WHERE id = :'L';
UPDATE run SET n = n + 1, "friendlyId" = 'run_' || :'K' WHERE id = :'L';
EXECUTE upd(:'L');
ALTER TABLE run DROP CONSTRAINT small;
EXECUTE upd(:'L');
CREATE FUNCTION to_new() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW."friendlyId" := 'run_0ujtsYcgvSTl8PAuAdqWYSMnLOv'; RETURN NEW; END $$;
CREATE TRIGGER to_new BEFORE UPDATE ON runops_legacy.run FOR EACH ROW EXECUTE FUNCTION to_new();
EXECUTE upd(:'L');
UPDATE run SET n = n + 1 WHERE id = :'L';
DROP TRIGGER to_new ON runops_legacy.run;
DROP FUNCTION to_new;
UPDATE run SET n = 13 WHERE id = :'L';
SET plan_cache_mode = force_generic_plan;

-- an error while the other plan is made leaves the session as it was
EXECUTE point(:'Z');
EXECUTE point(:'L');
BEGIN;
SAVEPOINT s;
EXECUTE point(:'Z');
ROLLBACK TO s;
EXECUTE point(:'N');
EXECUTE point(:'L');
COMMIT;

-- into a table, and by functions in SQL and PL/pgSQL
CREATE TABLE copied AS EXECUTE joined(:'N');
SELECT * FROM copied ORDER BY k;
DROP TABLE copied;
CREATE FUNCTION sql_get(text) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT n FROM run WHERE id = $1 LIMIT 1';
CREATE FUNCTION sql_set(text) RETURNS SETOF text LANGUAGE sql AS
	'UPDATE run SET n = n + 1 WHERE id = $1; SELECT r.n || '' '' || a.k FROM run r JOIN attempt a ON a."runId" = r.id WHERE r.id = $1 ORDER BY 1';
SELECT ref, sql_get(ref) FROM local ORDER BY k LIMIT 6;
SELECT ref, sql_set(ref) FROM local WHERE k < 7 ORDER BY k;
CREATE FUNCTION loop(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	i text;
	row record;
BEGIN
	FOREACH i IN ARRAY $1 LOOP
		FOR row IN SELECT a.id, a.k, r.n FROM run r JOIN attempt a ON a."runId" = r.id WHERE r.id = i ORDER BY a.k LOOP
			i := 'odd';		-- is not looked at again
			RETURN NEXT row.id || ' ' || row.k || ' ' || row.n;
		END LOOP;
		DELETE FROM attempt WHERE "runId" = i AND k > 100;
	END LOOP;
END
$$;
SELECT loop(ARRAY[:'L', :'N', :'A', 'odd', :'L']);

-- a cursor that is read backwards
CREATE FUNCTION backwards(text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	c SCROLL CURSOR (i text) FOR SELECT a.k FROM attempt a WHERE a."runId" = i ORDER BY a.k;
	d refcursor;
	a int;
	b int;
BEGIN
	OPEN c($1);
	FETCH LAST FROM c INTO a;
	FETCH PRIOR FROM c INTO b;
	CLOSE c;
	OPEN d FOR SELECT at.k FROM attempt at WHERE at."runId" = $1;
	FETCH d INTO a;
	FETCH d INTO a;
	FETCH PRIOR FROM d INTO b;
	RETURN a || ' ' || b;
END
$$;
SELECT backwards(:'L'), backwards(:'N'), backwards(:'A');

-- within one another
CREATE FUNCTION nested(text, text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT sql_get($2) + n FROM run WHERE id = $1); END $$;
SELECT nested(:'L', :'N'), nested(:'N', :'L'), nested(:'A', :'N'), nested(:'L', :'L2');

-- a value that changes its type is core's error
CREATE FUNCTION changing(bool) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	IF $1 THEN
		SELECT 'clegacy000000000000000001'::text AS v INTO r;
	ELSE
		SELECT 1 AS v INTO r;
	END IF;
	RETURN (SELECT n FROM run WHERE id = r.v);
END
$$;
\set SHOW_CONTEXT never
SELECT changing(true);
SELECT changing(false);
SELECT changing(true);

-- in parallel workers
PREPARE counted(text) AS SELECT count(*) FROM attempt WHERE "runId" = $1;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SET enable_seqscan = on;
SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
EXPLAIN (COSTS OFF) EXECUTE counted(:'L');
EXECUTE counted(:'L');
EXECUTE counted(:'N');
EXECUTE counted('odd');
RESET enable_indexscan;
RESET enable_bitmapscan;
SET enable_seqscan = off;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;

-- row security and privileges are those of who executes
CREATE ROLE regress_assume;
GRANT USAGE ON SCHEMA assume TO regress_assume;
GRANT SELECT ON run TO regress_assume;
DO $$ BEGIN EXECUTE format('CREATE USER MAPPING FOR regress_assume SERVER assume_a OPTIONS (user %L, password_required ''false'')', current_user); END $$;
DO $$ BEGIN EXECUTE format('CREATE USER MAPPING FOR regress_assume SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user); END $$;
CREATE POLICY env ON run FOR SELECT TO regress_assume USING (env = 'e1');
ALTER TABLE run ENABLE ROW LEVEL SECURITY;
PREPARE hidden(text) AS SELECT n FROM run WHERE id = $1;
EXECUTE hidden(:'L2');
EXECUTE hidden(:'K');
SET ROLE regress_assume;
EXECUTE hidden(:'L2');
EXECUTE hidden(:'K');
EXECUTE hidden(:'N');
EXECUTE upd(:'L');
EXECUTE upd(:'N');
RESET ROLE;
EXECUTE hidden(:'L2');
EXECUTE hidden(:'K');
REVOKE SELECT ON run FROM regress_assume;
SET ROLE regress_assume;
EXECUTE hidden(:'L');
EXECUTE hidden(:'N');
RESET ROLE;
ALTER TABLE run DISABLE ROW LEVEL SECURITY;
DROP POLICY env ON run;
DROP OWNED BY regress_assume;
DROP ROLE regress_assume;

-- the check is there for plans from before routing was turned off
SET runops.enable_routing = off;
EXECUTE point(:'N');
EXECUTE joined(:'A');
EXECUTE point(:'L');
RESET runops.enable_routing;

-- with statements sent as a whole: the plan for a store is the statement there, the
-- same for all ids of the store, and the settings decide which one is used
DISCARD PLANS;
SET runops.enable_shipping = on;
EXPLAIN (COSTS OFF) EXECUTE joined(:'N');
EXPLAIN (COSTS OFF) EXECUTE joined(:'A');
EXPLAIN (COSTS OFF, VERBOSE) EXECUTE upd(:'N');
EXPLAIN (COSTS OFF) EXECUTE joined(:'L');
SET runops.enable_shipping = off;
EXPLAIN (COSTS OFF) EXECUTE joined(:'N');
SET runops.enable_shipping = on;
EXECUTE joined(:'N');
EXECUTE joined(:'A');
EXECUTE joined('odd');
EXECUTE joined(NULL);

-- besides the leaf of legacy, only that of the store is locked
BEGIN;
EXECUTE point(:'N');
SELECT c.relkind, c.oid::regclass = 'run'::regclass AS routed, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
	WHERE c.relname = 'run' AND l.pid = pg_backend_pid() ORDER BY 1, 2, 3;
EXECUTE upd(:'A');
SELECT c.relkind, count(*), min(l.mode) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
	WHERE c.relname = 'run' AND l.pid = pg_backend_pid() AND l.mode = 'RowExclusiveLock' GROUP BY 1 ORDER BY 1;
ROLLBACK;

-- in cursors: forwards, scrolling, held, and with a lock
CREATE FUNCTION cursors(text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	c SCROLL CURSOR (i text) FOR SELECT a.k FROM attempt a WHERE a."runId" = i ORDER BY a.k;
	d NO SCROLL CURSOR (i text) FOR SELECT r.n FROM run r WHERE r.id = i FOR UPDATE;
	e refcursor := 'held';
	a int;
	b int;
	n int;
BEGIN
	OPEN c($1);
	FETCH LAST FROM c INTO a;
	FETCH PRIOR FROM c INTO b;
	CLOSE c;
	OPEN d($1);
	FETCH d INTO n;
	CLOSE d;
	OPEN e FOR SELECT at.k FROM attempt at WHERE at."runId" = $1 ORDER BY at.k;
	FETCH e INTO n;
	FETCH e INTO n;
	FETCH PRIOR FROM e INTO n;
	CLOSE e;
	RETURN concat_ws(' ', a, b, n);
END
$$;
SELECT cursors(:'L'), cursors(:'N'), cursors(:'A'), cursors('odd');
SELECT cursors(:'A'), cursors(:'N'), cursors(:'L');

-- an upsert whose rows are read by a parameter, and those of several stores
PREPARE copied(text) AS INSERT INTO run SELECT id, "friendlyId", 'copied', n + 1 FROM run WHERE id = $1
	ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n RETURNING n;
BEGIN;
EXECUTE copied(:'L');
EXECUTE copied(:'N');
EXECUTE copied('odd');
ROLLBACK;
EXECUTE copied(:'A');
PREPARE spread(text, text) AS INSERT INTO run VALUES ($1, 'run_' || $1, 'w', 100), ($2, 'run_' || $2, 'w', 200)
	ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n RETURNING n;
BEGIN;
EXECUTE spread(:'L', :'L2');
EXECUTE spread(:'N', :'L');
EXECUTE spread(:'L', :'N');
EXECUTE spread(:'N', '0123456789abcdefghijklins7');
ROLLBACK;
EXECUTE spread(:'A', :'L');

-- more sets of stores than plans are kept for
CREATE FUNCTION all_fours(ids text[]) RETURNS TABLE (calls bigint, total bigint) LANGUAGE plpgsql AS $$
DECLARE
	a text;
	b text;
	c text;
	d text;
	s bigint;
BEGIN
	calls := 0;
	total := 0;
	FOREACH a IN ARRAY ids LOOP FOREACH b IN ARRAY ids LOOP FOREACH c IN ARRAY ids LOOP FOREACH d IN ARRAY ids LOOP
		s := (SELECT sum(n) FROM run WHERE id IN (a, b, c, d));
		calls := calls + 1;
		total := total + coalesce(s, 0);
	END LOOP; END LOOP; END LOOP; END LOOP;
	RETURN NEXT;
END $$;
SELECT * FROM all_fours(ARRAY[:'L', :'N', :'A', NULL]);
SET runops.enable_routing = off;
SELECT * FROM all_fours(ARRAY[:'L', :'N', :'A', NULL]);
RESET runops.enable_routing;

-- a change of a leaf alone is seen by the plan that was kept
BEGIN;
EXECUTE upd(:'N');
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := -1; RETURN NEW; END $$;
SELECT inhrelid::regclass AS leaf FROM pg_inherits i JOIN pg_foreign_table f ON f.ftrelid = i.inhrelid JOIN pg_foreign_server s ON s.oid = f.ftserver
	WHERE i.inhparent = 'run'::regclass AND s.srvname = 'run_ops' \gset
CREATE TRIGGER tell BEFORE UPDATE ON :leaf FOR EACH ROW EXECUTE FUNCTION tell();
EXECUTE upd(:'N');
DROP TRIGGER tell ON :leaf;
EXECUTE upd(:'N');
ROLLBACK;
EXECUTE upd(:'N');
RESET runops.enable_shipping;

-- what a plan was made of changes with the topology and the table
EXECUTE point(:'A');
SELECT runops.drop_store('a', force => true);
EXECUTE point(:'A');
EXECUTE point(:'L');
SELECT runops.add_store('a', :'server', remote_schema => :'server');
EXECUTE point(:'A');
PREPARE more(text) AS SELECT n, extra FROM (SELECT *, 1 AS extra FROM run) s WHERE id = $1;
EXECUTE more(:'L');
ALTER TABLE run ADD added int DEFAULT 5;
SELECT object FROM runops.provision('new', relation => 'run') WHERE action = 'create';
EXECUTE more(:'N');
EXECUTE more(:'L');
ALTER TABLE run DROP added;
EXECUTE more(:'N');
EXECUTE more(:'L');
-- over a view with UNION ALL, by plans that are kept
CREATE VIEW united AS SELECT id, n FROM run UNION ALL SELECT ref, k FROM local;
PREPARE over_view(text) AS SELECT n FROM united WHERE id = $1 ORDER BY n;
SHOW plan_cache_mode;
EXECUTE over_view(:'N');
EXECUTE over_view(:'N');
EXECUTE over_view(:'L');
EXECUTE over_view(:'N');
DEALLOCATE over_view;
DROP VIEW united;
-- without the alias it says nothing
ALTER TABLE run DROP CONSTRAINT "runops_alias_friendlyId";
EXPLAIN (COSTS OFF) EXECUTE aliased('run_' || :'L');
SELECT runops.detach('run', force => true);
EXECUTE point(:'L');
EXECUTE point(:'N');
EXECUTE upsert(:'L');
SELECT runops.attach('run', 'id', '{friendlyId}');
EXECUTE point(:'L');
EXECUTE point(:'N');

\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
