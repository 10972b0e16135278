-- planner_routing_joins: the stores that a query over several tables or levels reads

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema routing_joins
\i :helpers
ANALYZE run, attempt, waitpoint, local;

CREATE VIEW v_run AS SELECT id, n, env FROM run WHERE n > 0;
CREATE VIEW v_all AS SELECT id, n FROM run UNION ALL SELECT "runId", k FROM attempt;
CREATE FUNCTION f_run(text) RETURNS SETOF run LANGUAGE sql STABLE AS $$ SELECT * FROM run WHERE id = $1 $$;

CREATE TABLE shapes (no serial, query text);
INSERT INTO shapes (query) SELECT ids(q) FROM unnest(ARRAY[
	-- the key of one table is the key of another
	$$SELECT r.n, a.k FROM run r JOIN attempt a ON a."runId" = r.id WHERE r.id = {N}$$,
	$$SELECT r.n, a.k FROM run r JOIN attempt a ON a."runId" = r.id WHERE a."runId" = {L}$$,
	$$SELECT r.n, a.k FROM run r, attempt a WHERE a."runId" = r.id AND r."friendlyId" = 'run_' || {N}$$,
	$$SELECT r.n, a.k FROM run r JOIN attempt a ON a."runId" = r.id AND r.id = {N}$$,
	$$SELECT r.n, a.k FROM run r, attempt a WHERE a."runId" = {N} AND r.id = {L}$$,
	$$SELECT r.n, a.k FROM run r, attempt a WHERE a."runId" = r.id AND r.id IN ({N}, {K})$$,
	$$SELECT r.n, a.k FROM run r, attempt a WHERE a."runId" = r.id AND r.id IN ({N}, {A})$$,
	$$SELECT r.n, w.n AS wn FROM run r JOIN waitpoint w ON w."runId" = r.id WHERE r.id = {N}$$,
	$$SELECT r.n, w.n AS wn FROM run r JOIN waitpoint w ON w."batchId" = r.id WHERE r.id = {L}$$,
	$$SELECT x.n, y.n AS yn FROM run x JOIN run y ON y.id = x.id JOIN attempt a ON a."runId" = y.id WHERE x.id = {A}$$,
	$$SELECT id, n, k FROM run JOIN (SELECT "runId" AS id, k FROM attempt) a USING (id) WHERE id = {N}$$,
	$$SELECT * FROM run NATURAL JOIN (SELECT {N}::text AS id) s$$,
	-- outer joins
	$$SELECT r.n, a.k FROM run r LEFT JOIN attempt a ON a."runId" = r.id WHERE r.id = {N}$$,
	$$SELECT r.n, a.k FROM run r LEFT JOIN attempt a ON a."runId" = {N} WHERE r.id = {L}$$,
	$$SELECT r.n, a.k FROM run r LEFT JOIN attempt a ON a."runId" = r.id AND r.id = {N}$$,
	$$SELECT r.n, a.k FROM run r LEFT JOIN attempt a ON a."runId" = r.id AND a."runId" = {N}$$,
	$$SELECT r.n, a.k FROM run r LEFT JOIN attempt a ON a."runId" = r.id WHERE a."runId" = {N}$$,
	$$SELECT r.n, a.k FROM attempt a RIGHT JOIN run r ON a."runId" = r.id WHERE r.id = {L}$$,
	$$SELECT r.n, a.k FROM run r FULL JOIN attempt a ON a."runId" = r.id WHERE r.id = {N}$$,
	$$SELECT r.n, a.k FROM run r FULL JOIN attempt a ON a."runId" = r.id AND r.id = {N}$$,
	$$SELECT r.n, a.k FROM run r FULL JOIN (SELECT * FROM attempt WHERE "runId" = {N}) a ON a."runId" = r.id$$,
	$$SELECT r.n, l.k FROM run r LEFT JOIN local l ON r.id = {N}$$,
	$$SELECT l.k, r.n FROM local l LEFT JOIN run r ON r.id = {N} AND r.env = 'none'$$,
	$$SELECT l.k, r.n FROM local l LEFT JOIN (run r JOIN attempt a ON a."runId" = r.id) ON r.id = {N} AND l.k = 4$$,
	$$SELECT l.k, r.n FROM local l LEFT JOIN run r ON r.id = l.ref WHERE l.ref = {L}$$,
	$$SELECT l.k, r.n, a.k AS ak FROM local l LEFT JOIN run r ON r.id = l.ref LEFT JOIN attempt a ON a."runId" = r.id WHERE l.ref = {N}$$,
	$$SELECT r.n FROM run r LEFT JOIN attempt a ON a."runId" = r.id AND r.id = {N} WHERE a.k IS NULL$$,
	-- local tables
	$$SELECT l.k, r.n FROM local l JOIN run r ON r.id = l.ref WHERE l.ref = {N}$$,
	$$SELECT l.k, r.n FROM local l JOIN run r ON r.id = l.ref WHERE r.id = {A}$$,
	-- sublinks at several levels
	$$SELECT n FROM run r WHERE id = {N} AND EXISTS (SELECT FROM attempt a WHERE a."runId" = r.id)$$,
	$$SELECT n FROM run r WHERE id = {N} AND NOT EXISTS (SELECT FROM attempt a WHERE a."runId" = r.id AND a.k > 1)$$,
	$$SELECT n, (SELECT count(*) FROM attempt a WHERE a."runId" = r.id) FROM run r WHERE id = {L}$$,
	$$SELECT n, (SELECT max(a.k) FROM attempt a WHERE a."runId" = {N}) FROM run r WHERE id = {L}$$,
	$$SELECT n FROM run WHERE id IN (SELECT "runId" FROM attempt WHERE "runId" = {N})$$,
	$$SELECT n FROM run WHERE id = {N} AND id IN (SELECT "runId" FROM attempt)$$,
	$$SELECT n FROM run WHERE id NOT IN (SELECT "runId" FROM attempt WHERE "runId" = {N})$$,
	$$SELECT n FROM run WHERE id = (SELECT max("runId"::text) FROM attempt WHERE "runId" = {N})$$,
	$$SELECT n FROM run r WHERE id = {N} AND n = (SELECT max(n) FROM run x WHERE x.id = r.id AND EXISTS (SELECT FROM attempt a WHERE a."runId" = x.id AND a."runId" = r.id))$$,
	$$SELECT l.k, (SELECT n FROM run r WHERE r.id = l.ref) FROM local l WHERE l.ref = {N}$$,
	$$SELECT l.k, (SELECT n FROM run r WHERE r.id = l.ref) FROM local l WHERE l.k IN (1, 10)$$,
	$$SELECT count(*) FROM run r GROUP BY env HAVING count(*) > (SELECT count(*) FROM attempt WHERE "runId" = {N})$$,
	-- subqueries, views, set operations, CTEs, LATERAL, functions
	$$SELECT n FROM (SELECT * FROM run) s WHERE id = {N}$$,
	$$SELECT n FROM (SELECT id, n FROM run WHERE id = {L}) s WHERE n < 5$$,
	$$SELECT n FROM v_run WHERE id = {N}$$,
	$$SELECT s.n, a.k FROM v_run s JOIN attempt a ON a."runId" = s.id WHERE s.id = {N}$$,
	$$SELECT * FROM (SELECT DISTINCT id FROM run) s WHERE id = {N}$$,
	$$SELECT * FROM (SELECT id, n FROM run ORDER BY n LIMIT 5) s WHERE id = {N}$$,
	$$SELECT * FROM (SELECT id, count(*) OVER () FROM run) s WHERE id = {N}$$,
	$$SELECT * FROM (SELECT env AS id, n FROM run) s WHERE id = {N}$$,
	$$SELECT * FROM v_all WHERE id = {N}$$,
	$$SELECT * FROM (SELECT id FROM run EXCEPT SELECT "runId" FROM attempt) s WHERE id = {K}$$,
	$$SELECT * FROM (SELECT id FROM run INTERSECT SELECT "runId" FROM attempt) s WHERE id = {K}$$,
	$$SELECT id FROM run WHERE id = {N} UNION ALL SELECT id FROM run WHERE id = {L}$$,
	$$SELECT id FROM run EXCEPT SELECT id FROM run WHERE id = {N}$$,
	$$SELECT y.id FROM run x LEFT JOIN run y ON y.id = x."friendlyId" UNION SELECT id FROM run$$,
	$$WITH r AS (SELECT * FROM run WHERE id = {N}) SELECT r.n, a.k FROM r JOIN attempt a ON a."runId" = {N}$$,
	$$WITH r AS MATERIALIZED (SELECT * FROM run) SELECT n FROM r WHERE id = {N}$$,
	$$WITH RECURSIVE t AS (SELECT id, 1 AS d FROM run WHERE id = {N} UNION ALL SELECT r.id, d + 1 FROM t JOIN run r ON r.id = {N} AND d < 3) SELECT d FROM t$$,
	$$SELECT l.k, s.n FROM local l, LATERAL (SELECT n FROM run r WHERE r.id = l.ref) s WHERE l.ref = {A}$$,
	$$SELECT v.k, s.n FROM (VALUES ({N}), ({L})) v(k) LEFT JOIN LATERAL (SELECT n, coalesce(n, 0) AS m FROM run WHERE id = v.k) s ON s.m >= 0$$,
	$$SELECT n FROM f_run({N})$$,
	$$SELECT s.n, l.k FROM local l, f_run(l.ref) s WHERE l.ref = {L}$$,
	$$SELECT r.n, a.k FROM (SELECT id, n FROM run WHERE id = {N}) r JOIN attempt a ON a."runId" = r.id$$,
	$$WITH r AS MATERIALIZED (SELECT id, n FROM run WHERE id = {N}) SELECT r.n, a.k FROM r JOIN attempt a ON a."runId" = r.id$$,
	$$SELECT r.n, a.k FROM attempt a LEFT JOIN (SELECT id, n FROM run WHERE id = {N}) r ON a."runId" = r.id$$,
	$$SELECT a.k FROM attempt a, (SELECT id FROM run WHERE id = {N} GROUP BY GROUPING SETS ((id), ())) r WHERE a."runId" = r.id$$,
	$$SELECT a.k FROM attempt a, (SELECT id, n FROM run WHERE id = {N} UNION ALL SELECT id, n FROM run) r WHERE a."runId" = r.id$$,
	-- grouping, ordering, windows
	$$SELECT count(*) FROM run WHERE id = {N}$$,
	$$SELECT count(*) FROM run WHERE id = NULL$$,
	$$SELECT id, count(*) FROM run GROUP BY id HAVING id = {N}$$,
	$$SELECT id, count(*) FROM run WHERE id = {N} GROUP BY GROUPING SETS ((id), ())$$,
	$$SELECT n FROM run WHERE id IN ({N}, {L}) ORDER BY n DESC LIMIT 1$$,
	$$SELECT max(n) FROM run WHERE id = {L}$$,
	$$SELECT n, row_number() OVER (ORDER BY n) FROM run WHERE id IN ({L}, {L2})$$
]) q;
SELECT no, s.*, query FROM shapes, shape(query) s ORDER BY no;

-- an outer join's nullable side is what its placeholder values come from
SELECT x.id FROM (SELECT coalesce(r.id, 'none') k FROM (SELECT 1) o LEFT JOIN run r ON r.id = :'N') s JOIN run x ON x.id = s.k;

-- a join inside one store is one remote query, with local rows beside it
EXPLAIN (VERBOSE, COSTS OFF) SELECT r.n, a.k FROM run r JOIN attempt a ON a."runId" = r.id WHERE r.id = :'N';
EXPLAIN (COSTS OFF) SELECT r.n, a.k FROM run r JOIN attempt a ON a."runId" = r.id WHERE r.id = :'L';

-- nested loops prune by each outer row
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_seqscan = off;
SELECT no, s.* FROM (VALUES
	(1, ids($$SELECT l.k, r.n FROM local l JOIN run r ON r.id = l.ref WHERE l.k IN (1, 2)$$)),
	(2, ids($$SELECT l.k, r.n FROM local l JOIN run r ON r.id = l.ref WHERE l.k IN (1, 4)$$)),
	(3, ids($$SELECT l.k, r.n FROM local l JOIN run r ON r.id = l.ref WHERE l.k IN (6, 11)$$)),
	(4, ids($$SELECT l.k, r.n FROM local l LEFT JOIN run r ON r.id = l.ref WHERE l.k IN (10, 11)$$)),
	(5, ids($$SELECT l.k, r.n FROM local l JOIN run r ON r."friendlyId" = 'run_' || l.ref WHERE l.k = 4$$)),
	(6, ids($$SELECT l.k, s.id FROM local l JOIN (SELECT id FROM run UNION ALL SELECT "runId"::text FROM attempt) s ON s.id = l.ref WHERE l.k = 4$$)),
	(7, ids($$SELECT l.k, s.id FROM local l LEFT JOIN (SELECT id FROM run UNION ALL SELECT "runId"::text FROM attempt) s ON s.id = l.ref WHERE l.k IN (1, 10)$$))
) v(no, query), shape(query) s ORDER BY no;
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_seqscan;

-- joined store by store
CREATE FUNCTION remote_joins(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (VERBOSE, FORMAT json) ' || query INTO plan;
	RETURN QUERY SELECT node ->> 'Relations' FROM jsonb_path_query(plan, 'strict $.** ? (exists(@.Relations))') node;
END
$$;
SET enable_partitionwise_join = on;
SELECT remote_joins($$SELECT r.n, a.k FROM run r JOIN attempt a ON a."runId" = r.id WHERE r.env = 'e1'$$);
SELECT remote_joins($$SELECT r.n, l.k FROM run r JOIN local l ON l.ref = r.id WHERE r.env = 'e1'$$);
SELECT remote_joins($$SELECT r.n, x.n FROM run r JOIN run x ON x."friendlyId" = r.id WHERE r.env = 'e1'$$);
SELECT r.n, a.k FROM run r JOIN attempt a ON a."runId" = r.id WHERE r.env = 'e1' ORDER BY 1, 2;
SELECT r.n, a.k FROM run r LEFT JOIN attempt a ON a."runId" = r.id ORDER BY 1, 2;
SELECT r.n, a.k FROM run r FULL JOIN attempt a ON a."runId" = r.id ORDER BY 1, 2;
SELECT remote_joins($$SELECT w.n FROM run r JOIN waitpoint w ON w."runId" = r.id$$);
SELECT remote_joins($$SELECT w.n FROM run r JOIN waitpoint w ON w."batchId" = r.id$$);
SELECT remote_joins($$SELECT r.n FROM run r JOIN attempt a ON a."runId" = r.id AND r.id = (SELECT max(id) FROM run)$$);
SELECT r.n, w.n FROM run r LEFT JOIN waitpoint w ON w."runId" = r.id ORDER BY 1, 2;

-- which does not change how many rows are expected
CREATE FUNCTION estimate(query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END
$$;
CREATE TABLE estimates AS SELECT query, estimate(query) AS apart FROM (VALUES
	($$SELECT FROM run r JOIN attempt a ON a."runId" = r.id$$),
	($$SELECT FROM run r LEFT JOIN attempt a ON a."runId" = r.id$$),
	($$SELECT FROM run r JOIN waitpoint w ON w."runId" = r.id$$),
	($$SELECT FROM run r JOIN attempt a ON a."runId" = r.id JOIN run x ON x.id = r.id$$)) v(query);
UPDATE estimates SET apart = NULL WHERE apart < 2;
SET enable_partitionwise_join = off;
SELECT query, apart / estimate(query) BETWEEN .5 AND 2 AS as_many FROM estimates;
SET enable_partitionwise_join = on;

-- a group of NULLs may lie in several stores
SET enable_partitionwise_aggregate = on;
SELECT "batchId", count(*) FROM waitpoint GROUP BY 1 ORDER BY 1;
SELECT "runId", count(*) FROM waitpoint GROUP BY 1 ORDER BY 1;
SELECT a."runId", count(*) FROM run r JOIN attempt a ON a."runId" = r.id GROUP BY 1 ORDER BY 1;
RESET enable_partitionwise_aggregate;
RESET enable_partitionwise_join;
DROP TABLE estimates;
DROP FUNCTION estimate, remote_joins;

DROP VIEW v_run, v_all;
DROP FUNCTION f_run;
\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
