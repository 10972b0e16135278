-- mint_seam: the store in which a waitpoint is completed, and the routines that ask
-- for it

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema seam
\i :helpers
\set SHOW_CONTEXT never

-- a waitpoint of NEW, whatever ends the wait
SELECT c.* FROM unnest('{MANUAL,DATETIME,RUN,IDEMPOTENCY_REUSE,RESUME_TOKEN}'::text[]) WITH ORDINALITY k (kind, o),
	runops.completion_store('waitpoint_' || :'N', kind) c ORDER BY o;
SELECT * FROM runops.completion_store(:'K', 'MANUAL');
-- of a shard: the store is the shard, the family is NEW
SELECT * FROM runops.completion_store(:'A', 'RUN');
-- of legacy
SELECT c.* FROM unnest('{MANUAL,DATETIME,RUN,IDEMPOTENCY_REUSE,RESUME_TOKEN}'::text[]) WITH ORDINALITY k (kind, o),
	runops.completion_store('waitpoint_' || :'L', kind) c ORDER BY o;

-- what pins it to legacy: the first reason that holds; the waitpoint's own residency stays
SELECT p.o, c.* FROM (VALUES
	(1, 'LEGACY'::runops.residency_type, false, false), (2, 'NEW', true, false), (3, 'NEW', false, true),
	(4, 'LEGACY', true, true), (5, NULL, true, true), (6, 'NEW', false, false),
	(7, NULL, NULL, NULL), (8, 'LEGACY', NULL, NULL), (9, NULL, NULL, true)) p (o, owner, cross_tree, legacy_parent),
	runops.completion_store(:'N', 'MANUAL', owner, cross_tree, legacy_parent) c ORDER BY o;
SELECT * FROM runops.completion_store(:'A', 'MANUAL', tree_owner_residency => 'LEGACY');
SELECT * FROM runops.completion_store(:'L', 'MANUAL', has_legacy_parent => true);
SELECT store, residency, route_kind, pinned_reason FROM runops.completion_store(waitpoint_id => :'K', route_kind => 'RUN', is_cross_tree_idempotency => true);

-- every route ends in the database that was decided on
CREATE FUNCTION complete(waitpoint text, kind text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	decided text := (runops.completion_store(waitpoint, kind)).store;
	reached text;
BEGIN
	UPDATE waitpoint w SET n = w.n + 100 WHERE w.id = waitpoint
	RETURNING CASE WHEN tableoid::regclass::text LIKE 'runops_shard%' THEN 'a' ELSE split_part(split_part(tableoid::regclass::text, '.', 1), '_', 2) END
	INTO STRICT reached;
	RETURN format('%s %s', kind, CASE reached WHEN decided THEN 'in ' || reached ELSE format('in %s, not in %s', reached, decided) END);
END
$$;
DELETE FROM waitpoint;
INSERT INTO waitpoint VALUES (:'L', NULL, NULL, 0), (:'N', NULL, NULL, 0), (:'A', NULL, NULL, 0);
SELECT complete(id, kind) FROM unnest('{MANUAL,DATETIME,RESUME_TOKEN,IDEMPOTENCY_REUSE,RUN}'::text[]) WITH ORDINALITY k (kind, o),
	unnest(ARRAY[:'L', :'N', :'A']) WITH ORDINALITY i (id, p) ORDER BY o, p;
SELECT n FROM ONLY runops_legacy.waitpoint;
SELECT s, runops.remote_query('new', format('SELECT n FROM %I.waitpoint', s)) FROM unnest('{seam,seam_a}'::text[]) s;

-- errors, in their order
SELECT runops.completion_store('waitpoint_0123456789', 'MANUAL');
SELECT runops.completion_store('waitpoint_0123456789', 'MANUAL', 'LEGACY', true, true);
SELECT runops.completion_store(:'N', 'WAT');
SELECT runops.completion_store('0123456789', 'WAT');
SELECT runops.completion_store(:'N', 'manual');
SELECT runops.completion_store(:'N', NULL);
SELECT runops.completion_store(NULL, 'RUN');
SELECT runops.completion_store(NULL, NULL);
SELECT runops.completion_store('', 'RUN');
SELECT runops.completion_store(:'N', 'RUN', 'OLD');
-- a store that nobody has added, unless it is not asked for
SELECT runops.completion_store(:'Z', 'RUN');
SELECT runops.completion_store(:'Z', 'RUN', 'LEGACY');

-- routes: routines that ask
CREATE FUNCTION complete_manual(id text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	target text;
BEGIN
	-- runops.completion_store(id, 'RUN') is not called here
	/* nor runops.completion_store(here) */
	RAISE DEBUG 'runops.completion_store(';
	EXECUTE 'SELECT ' || $q$completion_store($q$;
	SELECT c.store INTO target FROM runops . completion_store /* but here */ (id, 'MANUAL') c;
	RETURN target;
END
$$;
SET check_function_bodies = off;
CREATE FUNCTION complete_twice(id text) RETURNS text LANGUAGE sql AS $$
	SELECT store FROM "runops".Completion_Store(id, 'RUN')
	UNION ALL SELECT (completion_store(id, 'DATETIME')).store;
$$;
CREATE FUNCTION complete_parsed(id text) RETURNS text LANGUAGE sql
	RETURN (SELECT store FROM runops.completion_store(id, 'RESUME_TOKEN'));
RESET check_function_bodies;
CREATE FUNCTION other_schema(id text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM mine.completion_store(id), x.runops.completion_store(id), completion_stores(id), completion_store;
	RETURN runops.store_of(id);
END
$$;
DROP FUNCTION complete(text, text);
CREATE FUNCTION elsewhere() RETURNS int LANGUAGE internal AS 'pg_backend_pid';
SELECT * FROM runops.check_unblock_routes();
SELECT runops.add_unblock_route('complete_manual(text)', 'MANUAL');
SELECT runops.add_unblock_route('complete_twice(text)', 'RUN');
SELECT runops.add_unblock_route('complete_twice(text)', 'DATETIME');
SELECT runops.add_unblock_route('complete_parsed(text)', 'RESUME_TOKEN');
SELECT * FROM runops.check_unblock_routes();
SELECT * FROM runops.unblock_routes ORDER BY routine::text, route_kind;
-- one more call, and one less
CREATE OR REPLACE FUNCTION complete_manual(id text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF (runops.completion_store(id, 'MANUAL')).store = 'legacy' THEN
		RETURN (runops.completion_store(id, 'MANUAL')).store;
	END IF;
END
$$;
CREATE OR REPLACE FUNCTION complete_twice(id text) RETURNS text LANGUAGE sql AS $$ SELECT (runops.completion_store(id, 'RUN')).store $$;
SELECT * FROM runops.check_unblock_routes();
SELECT runops.drop_unblock_route('complete_manual(text)', 'MANUAL');
SELECT runops.add_unblock_route('complete_manual(text)', 'MANUAL', 2);
SELECT runops.drop_unblock_route('complete_twice(text)', 'DATETIME');
SELECT * FROM runops.check_unblock_routes();
-- under another name, gone, and made again
ALTER FUNCTION complete_parsed(text) RENAME TO complete_renamed;
SELECT routine FROM runops.unblock_routes WHERE route_kind = 'RESUME_TOKEN';
SELECT * FROM runops.check_unblock_routes();
DROP FUNCTION complete_renamed(text);
SELECT routine::text ~ '^\d+$' AS gone, declared, found FROM runops.check_unblock_routes();
CREATE FUNCTION complete_parsed(id text) RETURNS text LANGUAGE sql
	BEGIN ATOMIC SELECT store FROM runops.completion_store(id, 'RESUME_TOKEN'); END;
SELECT * FROM runops.check_unblock_routes();
DROP FUNCTION complete_parsed(text);
SELECT runops.drop_unblock_route(routine, 'RESUME_TOKEN') FROM runops.check_unblock_routes() WHERE found IS NULL;
CREATE FUNCTION complete_parsed(id text) RETURNS text LANGUAGE sql
	BEGIN ATOMIC SELECT store FROM runops.completion_store(id, 'RESUME_TOKEN'); END;
SELECT * FROM runops.check_unblock_routes();
SELECT runops.add_unblock_route('complete_parsed(text)', 'RESUME_TOKEN');
SELECT * FROM runops.check_unblock_routes();

-- what is refused
SELECT runops.add_unblock_route(NULL, 'RUN');
SELECT runops.add_unblock_route('complete_twice(text)', NULL);
SELECT runops.add_unblock_route('complete_twice(text)', 'WAT');
SELECT runops.add_unblock_route('complete_twice(text)', 'RUN');
SELECT runops.add_unblock_route('complete_twice(text)', 'MANUAL', 0);
SELECT runops.add_unblock_route('complete_twice(text)', 'MANUAL', NULL);
SELECT runops.add_unblock_route('nothing(text)', 'MANUAL');
SELECT runops.add_unblock_route('4000000000', 'MANUAL');
SELECT runops.add_unblock_route('elsewhere()', 'MANUAL');
SELECT runops.drop_unblock_route('complete_twice(text)', 'MANUAL');
SELECT runops.drop_unblock_route(NULL, NULL);
SELECT runops.drop_unblock_route('complete_twice(text)', 'MANUAL', if_exists => true);
CREATE ROLE seam_other;
SET ROLE seam_other;
SELECT count(*) FROM runops.unblock_routes;
SELECT * FROM runops.completion_store('c000000000000000000000001', 'RUN');
SELECT runops.add_unblock_route('now()', 'RUN');
SELECT * FROM runops.check_unblock_routes();
RESET ROLE;
DROP ROLE seam_other;
SELECT count(runops.drop_unblock_route(routine, route_kind)) FROM runops.unblock_routes;

\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
