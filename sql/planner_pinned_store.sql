-- planner_pinned_store: a query that names the store of a table by the partition key

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema store_named
\i :helpers

SELECT * FROM shape($$SELECT id FROM run WHERE runops.store_of(id) = 'new'$$);
SELECT * FROM shape($$SELECT id FROM run WHERE runops.store_of(id) = 'legacy'$$);
SELECT * FROM shape($$SELECT id FROM run WHERE runops.store_of(id) = 'a' AND n > 0$$);
SELECT * FROM shape($$SELECT id FROM run WHERE n > 0 AND (env = 'e1' AND runops.store_of(id) = 'new')$$);
SELECT * FROM shape($$SELECT id, k FROM attempt WHERE runops.store_of("runId") = 'new'$$);
SELECT * FROM shape($$SELECT id FROM waitpoint WHERE runops.store_of(COALESCE("runId", "batchId", id)) = 'new'$$);
-- with what says something else: nothing is there
SELECT * FROM shape(ids($$SELECT id FROM run WHERE runops.store_of(id) = 'new' AND id = {L}$$));
SELECT * FROM shape(ids($$SELECT id FROM run WHERE runops.store_of(id) = 'new' AND runops.store_of(id) = 'a'$$));
SELECT * FROM shape(ids($$SELECT id FROM run WHERE runops.store_of(id) = 'new' AND id = 'odd'$$));
SELECT * FROM shape($$SELECT id FROM run WHERE runops.store_of(id) = 'z'$$);
SELECT * FROM shape($$SELECT id FROM run WHERE runops.store_of(id) = NULL$$);
-- where the clause does not hold for every row
SELECT * FROM shape($$SELECT id FROM run WHERE runops.store_of(id) = 'new' OR n = 1$$);
SELECT * FROM shape($$SELECT id FROM run WHERE NOT runops.store_of(id) = 'new'$$);
SELECT * FROM shape($$SELECT l.k, r.id FROM local l LEFT JOIN run r ON r.id = l.ref WHERE runops.store_of(r.id) = 'new'$$);
SELECT * FROM shape($$SELECT l.k, r.id FROM local l LEFT JOIN run r ON r.id = l.ref AND runops.store_of(r.id) = 'new'$$);
SELECT * FROM shape($$SELECT l.k, r.id FROM local l, run r WHERE r.id = l.ref AND runops.store_of(r.id) = 'new'$$);
-- another table's, another column's
SELECT * FROM shape($$SELECT r.id FROM run r, attempt a WHERE a."runId" = r.id AND runops.store_of(r.id) = 'new'$$);
SELECT * FROM shape($$SELECT id FROM run WHERE runops.store_of("friendlyId") = 'new'$$);
SELECT * FROM shape($$SELECT id FROM (SELECT id FROM run WHERE runops.store_of(id) = 'a' UNION ALL SELECT id FROM run WHERE runops.store_of(id) = 'legacy') u$$);

-- what is above it is sent to the store
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM run WHERE runops.store_of(id) = 'new';
EXPLAIN (VERBOSE, COSTS OFF) SELECT id, n FROM run WHERE runops.store_of(id) = 'new' ORDER BY n DESC LIMIT 2;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM run WHERE runops.store_of(id) = 'legacy' AND n > 2;
EXPLAIN (VERBOSE, COSTS OFF) UPDATE run SET n = n + 1 WHERE runops.store_of(id) = 'new' AND n = 4;
UPDATE run SET n = n + 100 WHERE runops.store_of(id) = 'new' RETURNING n;
DELETE FROM attempt WHERE runops.store_of("runId") = 'a' RETURNING id;
UPDATE run SET id = 'cmoved0000000000000000001' WHERE runops.store_of(id) = 'new' AND n = 104;

-- a generic plan has it too, and a statement that may assume its parameters
PREPARE named(text) AS SELECT n FROM run WHERE runops.store_of(id) = 'new' AND id = $1;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE named('x');
EXECUTE named(:'N');
EXECUTE named(:'L');
EXECUTE named('odd');
RESET plan_cache_mode;
EXECUTE named(:'N');
EXECUTE named(:'N');
EXECUTE named(:'N');
EXECUTE named(:'N');
EXECUTE named(:'N');
EXECUTE named(:'N');
EXECUTE named(:'L');

\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
