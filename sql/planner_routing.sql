-- planner_routing: the stores that a SELECT reads; routing does not change its rows

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema routing
\i :helpers
SELECT tableoid::regclass, id FROM run ORDER BY n;
SELECT tableoid::regclass, id FROM waitpoint ORDER BY n;

CREATE TABLE shapes (no serial, query text);

-- values of the key and of an alias
INSERT INTO shapes (query) SELECT ids(q) FROM unnest(ARRAY[
	$$SELECT * FROM run WHERE id = {L}$$,
	$$SELECT * FROM run WHERE id = {N}$$,
	$$SELECT * FROM run WHERE {K} = id$$,
	$$SELECT * FROM run WHERE id = {A}$$,
	$$SELECT * FROM run WHERE id = {Z}$$,
	$$SELECT * FROM run WHERE id = 'odd'$$,
	$$SELECT * FROM run WHERE id = NULL$$,
	$$SELECT * FROM run WHERE id = {N} AND id = {L}$$,
	$$SELECT * FROM run WHERE id = {N} AND env = 'other'$$,
	$$SELECT * FROM run WHERE id = {N} AND random() < 0$$,
	$$SELECT * FROM run WHERE id = lower({N})$$,
	$$SELECT * FROM run WHERE id = {L}::varchar(40)$$,
	$$SELECT * FROM run WHERE id = left({N} || 'x', 26) AND 1 = 1$$,
	$$SELECT * FROM run WHERE false AND id = (1 / 0)::text$$,
	$$SELECT * FROM run WHERE "friendlyId" = 'run_' || {N}$$,
	$$SELECT * FROM run WHERE "friendlyId" = {L}$$,
	$$SELECT * FROM run WHERE "friendlyId" = 'run_odd'$$,
	$$SELECT * FROM run WHERE "friendlyId" = 'run_' || {N} AND id = {L}$$,
	$$SELECT * FROM attempt WHERE "runId" = {N}$$,
	$$SELECT * FROM attempt WHERE "runId" = 'x' || {N}$$,
	$$SELECT * FROM attempt WHERE id = {N}$$,
	$$SELECT id FROM run WHERE env = 'e1'$$,
	-- sets
	$$SELECT * FROM run WHERE id IN ({L}, {L2})$$,
	$$SELECT * FROM run WHERE id IN ({L}, {N})$$,
	$$SELECT * FROM run WHERE id IN ({N}, {K}, NULL)$$,
	$$SELECT * FROM run WHERE id IN ({N}, 'odd')$$,
	$$SELECT * FROM run WHERE id IN ({N}, {Z})$$,
	$$SELECT * FROM run WHERE id IN (NULL)$$,
	$$SELECT * FROM run WHERE id = ANY (ARRAY[{A}, {N}])$$,
	$$SELECT * FROM run WHERE id = ANY (NULL::text[])$$,
	$$SELECT * FROM run WHERE id = ANY ('{}')$$,
	$$SELECT * FROM run WHERE id IN ({N}, {L}) AND id IN ({L}, {A})$$,
	$$SELECT * FROM run WHERE id = ALL (ARRAY[{N}])$$,
	$$SELECT * FROM run WHERE id <> ALL (ARRAY[{N}])$$,
	-- boolean structure
	$$SELECT * FROM run WHERE id = {L} OR id = {A}$$,
	$$SELECT * FROM run WHERE id = {L} OR n = 4$$,
	$$SELECT * FROM run WHERE id = {L} OR (id = {N} AND n = 4)$$,
	$$SELECT * FROM run WHERE (id = {L} OR id = {N}) AND (id = {N} OR id = {A})$$,
	$$SELECT * FROM run WHERE (id = {L} AND n = 1) OR (id = {L2} AND n = 2) OR false$$,
	$$SELECT * FROM run WHERE id = {N} OR "friendlyId" = 'run_' || {L}$$,
	$$SELECT * FROM run WHERE NOT (id = {N})$$,
	$$SELECT * FROM run WHERE NOT (id <> {N})$$,
	$$SELECT * FROM run WHERE NOT (id = {N} OR id = {L})$$,
	$$SELECT * FROM run WHERE NOT (id <> {N} OR n <> 4)$$,
	$$SELECT * FROM run WHERE id <> {N}$$,
	$$SELECT * FROM run WHERE (id = {N}) IS NOT TRUE$$,
	$$SELECT * FROM run WHERE (id = {N}) IS TRUE$$,
	$$SELECT * FROM run WHERE (id = {N}) IS UNKNOWN$$,
	$$SELECT * FROM run WHERE id IS NOT DISTINCT FROM {N}$$,
	$$SELECT * FROM run WHERE id IS DISTINCT FROM {N}$$,
	$$SELECT * FROM run WHERE id IS NOT NULL$$,
	$$SELECT * FROM run WHERE CASE WHEN n > 3 THEN id = {N} ELSE true END$$,
	$$SELECT * FROM run WHERE (id, n) = ({N}, 4)$$,
	$$SELECT * FROM run WHERE (id, n) IN (({N}, 4), ({K}, 5))$$,
	$$SELECT * FROM run WHERE id LIKE {N}$$,
	$$SELECT * FROM run WHERE id = {N} AND id LIKE 'c%'$$,
	$$SELECT * FROM run WHERE id >= {N} AND id <= {N}$$,
	-- other types and collations than the key's equality knows
	$$SELECT * FROM run WHERE id::char(40) = {N}$$,
	$$SELECT * FROM run WHERE id::name = {N}$$,
	$$SELECT * FROM run WHERE id COLLATE "C" = {N}$$,
	-- an expression as the key
	$$SELECT * FROM waitpoint WHERE "runId" = {N}$$,
	$$SELECT * FROM waitpoint WHERE "batchId" = {N}$$,
	$$SELECT * FROM waitpoint WHERE id = {A}$$,
	$$SELECT * FROM waitpoint WHERE COALESCE("runId", "batchId", id) = {A}$$
]) q;
SELECT no, s.*, query FROM shapes, shape(query) s ORDER BY no;

-- a nondeterministic collation makes ids of different shape equal
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SELECT * FROM shape($$SELECT id FROM run WHERE id = upper('0123456789abcdefghijklmna1') COLLATE ci$$);
SELECT * FROM shape($$SELECT id FROM run WHERE id COLLATE ci IN (upper('clegacy000000000000000001'), '0123456789abcdefghijklmna1')$$);

-- whole rows and system columns
SELECT run FROM run WHERE id = :'L';
SELECT run FROM run WHERE id = :'N';
SELECT r.*::text, tableoid::regclass FROM run r WHERE id = :'L';
SELECT row_to_json(r) FROM run r WHERE id IN (:'L', :'N') ORDER BY n;
SELECT x, (y).n FROM (SELECT a AS x, r AS y FROM run r, attempt a WHERE a."runId" = r.id AND r.id = :'N') s ORDER BY (x).k;

-- column aliases
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM run r(c1, c2) WHERE c1 = :'L';

-- ONLY means all of the table, and a leaf that is named stays as it is
SELECT stores(format('SELECT * FROM ONLY run WHERE id = %L', :'L'));
SELECT count(*) FROM ONLY run WHERE id = :'L';
SELECT count(*) FROM runops_legacy.run WHERE id = :'N';
SELECT id FROM runops_new.run WHERE id = :'N';
CREATE TEMP TABLE plain (id text CONSTRAINT plain_pk PRIMARY KEY, v int);
INSERT INTO plain VALUES (:'N', 1) ON CONFLICT ON CONSTRAINT plain_pk DO UPDATE SET v = 2;
EXPLAIN (COSTS OFF) SELECT * FROM plain WHERE id = :'N';

-- row locks
SELECT id FROM run WHERE id = :'L' FOR UPDATE;
SELECT id FROM run WHERE id = :'N' FOR SHARE;
EXPLAIN (COSTS OFF) SELECT id FROM run WHERE id = :'L' FOR UPDATE;

-- a table whose store is detached is asked no more, and says so
SELECT runops.drop_store('a', force => true);
SELECT * FROM run WHERE id = :'A';
SELECT * FROM run WHERE id IN (:'N', :'A');
SELECT count(*) FROM run WHERE id = :'A' OR n > 0;

\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
