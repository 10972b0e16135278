-- planner_plan_cache: prepared statements and PL/pgSQL over routed tables

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema plan_cache
\i :helpers
ANALYZE run, attempt, local;

-- Executes a prepared statement with each of some arguments, and says which
-- stores its plan executed and whether rows came back.
CREATE FUNCTION executions(statement text, VARIADIC arguments text[]) RETURNS TABLE (argument text, stores text) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH argument IN ARRAY arguments LOOP
		BEGIN
			stores := (SELECT f FROM stores('EXECUTE ' || statement || '(' || argument || ')') f);
		EXCEPTION WHEN OTHERS THEN
			stores := SQLSTATE || ' ' || SQLERRM;
		END;
		RETURN NEXT;
	END LOOP;
END
$$;
CREATE VIEW used AS SELECT name, generic_plans, custom_plans FROM pg_prepared_statements ORDER BY name COLLATE "C";

PREPARE point(text) AS SELECT id, n FROM run WHERE id = $1;
PREPARE alias(text) AS SELECT id FROM run WHERE "friendlyId" = $1;
PREPARE anyof(text[]) AS SELECT id FROM run WHERE id = ANY ($1);
PREPARE listof(text, text) AS SELECT id FROM run WHERE id IN ($1, $2);
PREPARE either(text) AS SELECT id FROM run WHERE id = $1 OR "friendlyId" = $1;
PREPARE mixed(text) AS SELECT id FROM run WHERE id = '0123456789abcdefghijklmna1' OR id = $1;
PREPARE open(text) AS SELECT id FROM run WHERE id = $1 OR n = 1;
PREPARE negated(text) AS SELECT id FROM run WHERE NOT (id = $1);
PREPARE folded(text) AS SELECT id FROM run WHERE id = lower($1);
PREPARE waitp(text) AS SELECT id FROM waitpoint WHERE "runId" = $1;
PREPARE members(text) AS SELECT * FROM (SELECT id FROM run UNION ALL SELECT "runId"::text FROM attempt) s WHERE id = $1;
PREPARE arms(text, text) AS SELECT id FROM run WHERE id = $1 UNION ALL SELECT id FROM run WHERE id = $2;
PREPARE sublink(text) AS SELECT n, (SELECT count(*) FROM attempt a WHERE a."runId" = r.id) FROM run r WHERE id = $1;
PREPARE joined(text) AS SELECT r.n, a.k FROM run r JOIN attempt a ON a."runId" = r.id WHERE r.id = $1;
PREPARE localj(text) AS SELECT r.n, l.k FROM run r JOIN local l ON l.ref = r.id WHERE r.id = $1;
PREPARE agg(text) AS SELECT count(*) FROM run WHERE id = $1;
PREPARE lim(text) AS SELECT id FROM run WHERE id = $1 LIMIT 1;
PREPARE setting AS SELECT id FROM run WHERE id = current_setting('plan_cache.id');

-- every generic plan alone
SET plan_cache_mode = force_generic_plan;
SELECT * FROM executions('point', ids('{L}'), ids('{N}'), ids('{K}'), ids('{A}'), '''odd''', 'NULL', ids('{Z}'));
SELECT * FROM executions('alias', ids('''run_'' || {L}'), ids('''run_'' || {N}'), '''run_odd''', 'NULL');
SELECT * FROM executions('anyof', ids('ARRAY[{L}]'), ids('ARRAY[{L}, {N}]'), ids('ARRAY[{A}, NULL]'), '''{}''', 'NULL', '''{NULL}''', ids('ARRAY[{N}, ''odd'']'), ids('ARRAY[{N}, {Z}]'));
SELECT * FROM executions('listof', ids('{L}, {L2}'), ids('{L}, {A}'), ids('{N}, NULL'), 'NULL, NULL', ids('{N}, {Z}'));
SELECT * FROM executions('either', ids('{L}'), ids('{N}'), '''odd''', 'NULL');
SELECT * FROM executions('mixed', ids('{L}'), ids('{N}'), '''odd''', 'NULL', ids('{Z}'));
SELECT * FROM executions('open', ids('{N}'), ids('{Z}'));
SELECT * FROM executions('negated', ids('{N}'));
SELECT * FROM executions('folded', ids('{N}'), ids('upper({L})'));
SELECT * FROM executions('waitp', ids('{N}'), ids('{L}'));
SELECT * FROM executions('members', ids('{N}'), ids('{L}'), 'NULL');
SELECT * FROM executions('arms', ids('{N}, {N}'), ids('{L}, {A}'), ids('{L}, NULL'));
SELECT * FROM executions('sublink', ids('{N}'), ids('{L}'));
SELECT * FROM executions('joined', ids('{N}'), ids('{L}'), ids('{A}'));
SELECT * FROM executions('localj', ids('{N}'), ids('{L}'));
SELECT * FROM executions('agg', ids('{N}'), 'NULL');
SET plan_cache.id = '0123456789abcdefghijklmna1';
SELECT stores('EXECUTE setting');
SET plan_cache.id = 'clegacy000000000000000001';
SELECT stores('EXECUTE setting');

-- custom plans alone
SET plan_cache_mode = force_custom_plan;
SELECT * FROM executions('point', ids('{L}'), ids('{N}'), '''odd''', 'NULL', ids('{Z}'));
SELECT * FROM executions('anyof', ids('ARRAY[{L}]'), ids('ARRAY[{L}, {N}]'), '''{}''', 'NULL', ids('ARRAY[{N}, {Z}]'));
SELECT * FROM executions('joined', ids('{N}'), ids('{L}'));
RESET plan_cache_mode;

-- what the cache chooses by itself
DEALLOCATE ALL;
PREPARE point(text) AS SELECT id, n FROM run WHERE id = $1;
PREPARE newpoint(text) AS SELECT id, n FROM run WHERE id = $1;
PREPARE joined(text) AS SELECT r.n, a.k FROM run r JOIN attempt a ON a."runId" = r.id WHERE r.id = $1;
PREPARE localj(text) AS SELECT r.n, l.k FROM run r JOIN local l ON l.ref = r.id WHERE r.id = $1;
PREPARE agg(text) AS SELECT count(*) FROM run WHERE id = $1;
PREPARE upd(text) AS UPDATE run SET n = n WHERE id = $1;
PREPARE upsert(text) AS INSERT INTO run VALUES ($1, 'run_' || $1, 'p', 1) ON CONFLICT (id) DO UPDATE SET env = excluded.env RETURNING env;
PREPARE ins(text) AS INSERT INTO run VALUES ($1, 'run_' || $1, 'p', 1);
DO $$
BEGIN
	FOR i IN 1 .. 8 LOOP
		EXECUTE ids('EXECUTE point({L})');
		EXECUTE ids('EXECUTE newpoint({N})');
		EXECUTE ids('EXECUTE joined({N})');
		EXECUTE ids('EXECUTE localj({L})');
		EXECUTE ids('EXECUTE agg({N})');
		EXECUTE ids('EXECUTE upd({L})');
		EXECUTE ids('EXECUTE upsert({L})');
		EXECUTE format('EXECUTE ins(%L)', 'cins00000000000000000000' || i);
	END LOOP;
END
$$;
SELECT * FROM used;
EXECUTE point(:'N');
EXECUTE point(:'A');
SELECT count(*) FROM run WHERE env = 'p' AND id LIKE 'cins%';

-- an upsert's generic plan is for legacy; another key is refused, not lost
SET plan_cache_mode = force_generic_plan;
EXECUTE upsert(:'L2');
EXECUTE upsert('0123456789abcdefghijklmus1');
RESET plan_cache_mode;
EXECUTE upsert('0123456789abcdefghijklmus1');

-- PL/pgSQL, past the fifth execution
CREATE FUNCTION put(text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r text;
BEGIN
	INSERT INTO run VALUES ($1, 'run_' || $1, 'plpgsql', 0) ON CONFLICT (id) DO UPDATE SET n = run.n + 1 RETURNING n INTO r;
	SELECT id || ' ' || n INTO STRICT r FROM run WHERE id = $1;
	UPDATE run SET n = n + 1 WHERE id = $1;
	RETURN r;
END
$$;
SELECT put('cplpgsql0000000000000000' || i % 2) FROM generate_series(1, 14) i;
CREATE FUNCTION get(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT n FROM run WHERE id = $1); END $$;
SELECT k, get(ref) FROM (SELECT * FROM local, generate_series(1, 3) WHERE k < 10 ORDER BY ref COLLATE "C") s;

-- cached plans follow the topology
\set SHOW_CONTEXT never
SELECT count(*) FROM run WHERE id = :'A';
SELECT runops.drop_store('a', force => true);
EXECUTE point(:'A');
EXECUTE point(:'N');
SELECT get(:'A');
SELECT get(:'L');
SELECT runops.add_store('a', :'server', remote_schema => :'server');
EXECUTE point(:'A');
SELECT get(:'A');
DEALLOCATE ALL;
PREPARE p(text) AS SELECT n FROM run WHERE id = $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE p(:'N');
DROP FUNCTION get, put;
DROP VIEW used;
SELECT runops.detach('run', force => true);
EXECUTE p(:'N');
EXECUTE p(:'L');
SELECT runops.attach('run', 'id', '{friendlyId}');
EXECUTE p(:'N');
EXECUTE p(:'L');
RESET plan_cache_mode;

-- the cost by which the cache chooses is one store's
CREATE FUNCTION total_cost(query text) RETURNS float LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Total Cost';
END
$$;
SET plan_cache_mode = force_generic_plan;
SELECT total_cost(ids('EXECUTE p({L})')) < 30 AS cheap;
RESET plan_cache_mode;

\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
