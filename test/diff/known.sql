-- NOT around the key
SELECT id FROM "TaskRun" WHERE NOT (id = {N});

-- OR beside the key
SELECT id FROM "TaskRun" WHERE id = {N} OR env = 'e1';

-- NOT of an inequality
SELECT id FROM "TaskRun" WHERE NOT (id <> {N});

-- not any of a list
SELECT id FROM "TaskRun" WHERE id <> ALL (ARRAY[{N}]);

-- equality that is not true
SELECT id FROM "TaskRun" WHERE (id = {N}) IS NOT TRUE;

-- NULL bound to the key params=NULL,L,N,E,O,Z,NULL
SELECT id FROM "TaskRun" WHERE id = $1;

-- NULL as the key
SELECT id FROM "TaskRun" WHERE id = NULL;

-- list of a NULL
SELECT id FROM "TaskRun" WHERE id IN (NULL);

-- any of a NULL array
SELECT id FROM "TaskRun" WHERE id = ANY (NULL::text[]);

-- any of an array with a NULL
SELECT id FROM "TaskRun" WHERE id = ANY (ARRAY[NULL, {N}]);

-- any of a bound array params=N+E,L+L2,NULL,L+N+E,O+N,NULL+N,Z+L
SELECT id FROM "TaskRun" WHERE id = ANY ($1);

-- none of a bound array params=N+E,L+L2,NULL,L+N+E,O+N,NULL+N,Z+L
SELECT count(*) FROM "TaskRun" WHERE id <> ALL ($1);

-- volatile filter beside the key
SELECT count(*) FROM "TaskRun" WHERE id = {N} AND random() < 0;

-- key computed by row in LATERAL
SELECT count(DISTINCT r.id) FROM generate_series(1, 50) p(i) JOIN LATERAL (SELECT id FROM "TaskRun" WHERE id = (ARRAY[{L}, {N}])[1 + (p.i % 2)]) r ON true;

-- key from a setting id=N
SELECT id FROM "TaskRun" WHERE id = current_setting('diff.id');

-- key from a setting, again id=L
SELECT id FROM "TaskRun" WHERE id = current_setting('diff.id');

-- list over two stores
SELECT id FROM "TaskRun" WHERE id IN ({L}, {N});

-- IS NOT NULL
SELECT count(*) FROM "TaskRun" WHERE id IS NOT NULL;

-- IS NOT DISTINCT FROM
SELECT id FROM "TaskRun" WHERE id IS NOT DISTINCT FROM {N};

-- IS DISTINCT FROM
SELECT count(*) FROM "TaskRun" WHERE id IS DISTINCT FROM {N};

-- equality that is unknown
SELECT count(*) FROM "TaskRun" WHERE (id = {N}) IS UNKNOWN;

-- equality under a nondeterministic collation
SELECT id FROM "TaskRun" WHERE id = upper({N}) COLLATE ci;

-- equality of ids of different stores
SELECT id FROM "TaskRun" WHERE id = 'cl0abcdefghijklmnopqr0002xy' COLLATE nn;

-- list under a nondeterministic collation
SELECT id FROM "TaskRun" WHERE id COLLATE ci IN (upper({N}), upper({L}));

-- bound key under a nondeterministic collation params=L,N,E,O
SELECT id FROM "TaskRun" WHERE id = upper($1) COLLATE ci;

-- key in ON of LEFT JOIN, preserved side
SELECT r.id, t1.x FROM "TaskRun" r LEFT JOIN (VALUES (1)) t1(x) ON r.id = {N};

-- key in ON of RIGHT JOIN, preserved side
SELECT r.id, t1.x FROM (VALUES (1)) t1(x) RIGHT JOIN "TaskRun" r ON r.id = {L};

-- key in ON of LEFT JOIN, nullable side
SELECT t1.x, r.id FROM (VALUES (1)) t1(x) LEFT JOIN "TaskRun" r ON r.id = {N} AND r.env = 'nope';

-- key in ON of FULL JOIN
SELECT count(*) FROM "TaskRun" a FULL JOIN "TaskRun" b ON a.id = b."parentTaskRunId" AND b.id = {N};

-- key in WHERE over the nullable side
SELECT a.id, b.id FROM "TaskRun" a LEFT JOIN "TaskRun" b ON b."parentTaskRunId" = a.id WHERE b.id = {N} OR b.id IS NULL;

-- anti join
SELECT a.id FROM "TaskRun" a LEFT JOIN "Attempt" t ON t."runId" = a.id WHERE t.id IS NULL;

-- anti join at a key
SELECT n.id FROM note n WHERE NOT EXISTS (SELECT 1 FROM "TaskRun" r WHERE r.id = n.run_id AND r.id = {N});

-- NOT IN with NULLs
SELECT id FROM "TaskRun" WHERE id NOT IN (SELECT "parentTaskRunId" FROM "TaskRun");

-- outer join in UNION
SELECT b.id FROM "TaskRun" a LEFT JOIN "TaskRun" b ON b."parentTaskRunId" = a.id UNION SELECT id FROM "TaskRun";

-- UNION ALL of two stores
SELECT id FROM "TaskRun" WHERE id = {N} UNION ALL SELECT id FROM "TaskRun" WHERE id = {L};

-- EXCEPT one
SELECT id FROM "TaskRun" EXCEPT SELECT id FROM "TaskRun" WHERE id = {N};

-- key over a view of UNION ALL params=L,N,E,O,NULL
SELECT id, n FROM run_union WHERE id = $1;

-- LATERAL with a placeholder
SELECT v.k, r.id FROM (VALUES ({N}), ({L})) v(k) LEFT JOIN LATERAL (SELECT id, coalesce(n, 0) m FROM "TaskRun" WHERE id = v.k) r ON r.m >= 0;

-- key from a sub-select
SELECT id FROM "TaskRun" WHERE id = (SELECT max(id) FROM "TaskRun" WHERE env = 'e1');

-- correlated count
SELECT p.id, (SELECT count(*) FROM "TaskRun" c WHERE c."parentTaskRunId" = p.id) FROM "TaskRun" p;

-- key from a nullable side
SELECT x.id FROM (SELECT coalesce(a.id, 'none') k FROM (SELECT 1) o LEFT JOIN "TaskRun" a ON a.id = {N}) s JOIN "TaskRun" x ON x.id = s.k;

-- whole row of a nullable side
SELECT a.id, b FROM "TaskRun" a LEFT JOIN "TaskRun" b ON b.id = a."parentTaskRunId" AND b.id = {L2};

-- DELETE with a false sub-select
DELETE FROM "TaskRun" WHERE EXISTS (SELECT 1 WHERE false);

-- DELETE with a false count
DELETE FROM "Batch" WHERE (SELECT count(*) FROM "TaskRun" WHERE id = 'nope') > 0;

-- UPDATE with an anti join
UPDATE "TaskRun" SET n = -1 WHERE id = {N} AND NOT EXISTS (SELECT 1 FROM "Attempt" WHERE "runId" = {L});

-- two keys
SELECT count(*) FROM "TaskRun" WHERE id = {N} AND id = {L};

-- key and another qual
SELECT count(*) FROM "TaskRun" WHERE id = {N} AND env = 'other';

-- key and two other quals params=L,L2,N,E,O
SELECT count(*) FROM "TaskRun" WHERE id = $1 AND env = 'e1' AND n = 99;

-- two lists
SELECT count(*) FROM "TaskRun" WHERE id IN ({N}, {L}) AND id IN ({L}, {E});

-- key and LIKE
SELECT count(*) FROM "TaskRun" WHERE id = {N} AND id LIKE 'c%';

-- two keys of a join
SELECT count(*) FROM "TaskRun" r JOIN "TaskRun" p ON p.id = r."parentTaskRunId" WHERE r.id = {N} AND p.id = {E};

-- LIMIT above a semi-join
SELECT a.id FROM "TaskRun" a WHERE EXISTS (SELECT 1 FROM "TaskRun" b WHERE b."parentTaskRunId" = a.id) ORDER BY a.id COLLATE "C" LIMIT 2;

-- time zone of a comparison
SELECT id FROM "TaskRun" WHERE "createdAt" < timestamptz '2026-01-01 05:00+05' AND "createdAt"::date = DATE '2026-01-01';

-- ON CONFLICT on a local table
INSERT INTO env (id, org) VALUES ('e1', 'x') ON CONFLICT ON CONSTRAINT env_pkey DO UPDATE SET org = excluded.org RETURNING org;

-- alias in every store, not classifiable params=O,NULL,L
SELECT id FROM "TaskRun" WHERE "friendlyId" IN ('weird-l', 'weird-k', 'weird-n', 'weird-e', $1);

-- alias, unclassifiable
SELECT id FROM "TaskRun" WHERE "friendlyId" = 'weird-n';

-- alias, classifiable
SELECT id FROM "TaskRun" WHERE "friendlyId" = 'run_' || {N};

-- children by alias params=L2,N,E,O,NULL,Z
SELECT id FROM "TaskRun" WHERE "parentTaskRunId" = $1;

-- what is no alias params=L,N,E,O
SELECT id FROM "TaskRun" WHERE "batchId" = $1 OR id = $1;

-- a later argument of the key
SELECT id FROM "Waitpoint" WHERE id = 'cl0wbcdefghijklmnopqr20xy';

-- a later argument of the key, bound params=L,N,E,O,NULL
SELECT id FROM "Waitpoint" WHERE "completedByBatchId" = $1 OR "completedByTaskRunId" = $1;

-- NEW id becomes LEGACY feat=keyupd
UPDATE "TaskRun" SET id = 'cl0movedefghijklmnopqr01x', "friendlyId" = NULL, "parentTaskRunId" = NULL WHERE id = {N};

-- LEGACY id becomes NEW feat=keyupd
UPDATE "TaskRun" SET id = '0123456789abcdefghijklmmv1', "friendlyId" = NULL, "parentTaskRunId" = NULL WHERE id = {L};

-- LEGACY id becomes NEW in another spelling feat=keyupd
UPDATE "TaskRun" SET id = '0123456789abcdefghijklmmv1', "friendlyId" = NULL, "parentTaskRunId" = NULL WHERE id = {L} AND runops.store_of(id) = 'legacy';

-- owner unset feat=keyupd
UPDATE "Waitpoint" SET "completedByTaskRunId" = NULL WHERE "completedByTaskRunId" = {E};

-- upsert DO NOTHING without a target, NEW
INSERT INTO "TaskRun" (id, env, n) VALUES ({N}, 'e1', 9) ON CONFLICT DO NOTHING RETURNING id;

-- upsert DO NOTHING, NEW feat=onconflict
INSERT INTO "TaskRun" (id, env, n) VALUES ({N}, 'e1', 9) ON CONFLICT (id) DO NOTHING;

-- upsert DO UPDATE, LEGACY feat=onconflict
INSERT INTO "TaskRun" (id, env, n) VALUES ({L}, 'e1', 9) ON CONFLICT (id) DO UPDATE SET n = excluded.n RETURNING n;

-- upsert DO UPDATE, LEGACY, bound feat=onconflict params=L,L2,L,L2,L,L2,L
INSERT INTO "TaskRun" AS t (id, env, n) VALUES ($1, 'e1', 9) ON CONFLICT (id) DO UPDATE SET n = excluded.n + t.mark, env = excluded.env RETURNING t.*;

-- upsert with whole rows feat=onconflict
INSERT INTO "TaskRun" AS t (id, env, n) VALUES ({L}, 'e1', 9) ON CONFLICT (id) DO UPDATE SET n = excluded.n2 + 1, tags = ARRAY[excluded::text, t::text] RETURNING t.n, t.n2;

-- upsert by a constraint's name feat=parse
INSERT INTO "TaskRun" (id, env) VALUES ({L}, 'e1') ON CONFLICT ON CONSTRAINT "TaskRun_pkey" DO NOTHING;

-- RETURNING through routing
INSERT INTO "TaskRun" (id, env, n, meta) VALUES ('0123456789abcdefghijklmrt1', 'e1', 7, '{"a": [1]}'), ('cl0retabcdefghijklmnopq01', 'e2', 8, '{}') RETURNING id, n, n2, status, "createdAt" IS NOT NULL, meta -> 'a', mark;

-- multi-row DO NOTHING
INSERT INTO "TaskRun" (id, env) VALUES ({N}, 'e1'), ('0123456789abcdefghijklmdn1', 'e1'), ({L}, 'e1'), ('cl0dnabcdefghijklmnopqr01', 'e1'), ({E}, 'e1'), ('0123456789abcdefghijklmke2', 'e1') ON CONFLICT DO NOTHING;

-- update in a CTE, then insert
WITH u AS (UPDATE "TaskRun" SET n = 50 WHERE id = 'cl0cteabcdefghijklmnopq01' RETURNING id) INSERT INTO "TaskRun" (id, env, n) SELECT 'cl0cteabcdefghijklmnopq01', 'e1', 1 WHERE NOT EXISTS (SELECT 1 FROM u);

-- delete in a CTE, then insert elsewhere
WITH d AS (DELETE FROM "Batch" WHERE n IS NOT NULL RETURNING *), i AS (INSERT INTO "TaskRun" (id, env, n) SELECT id, 'e1', n FROM d RETURNING id) SELECT (SELECT count(*) FROM d), (SELECT count(*) FROM i);

-- volatile SET once for each row
UPDATE "TaskRun" SET n = 5 WHERE (SELECT count(DISTINCT x) FROM (SELECT random() AS x FROM "TaskRun") s) > 10;

-- now() in every store
UPDATE "TaskRun" SET "createdAt" = '2026-02-03 04:05:06.789' RETURNING "createdAt";

-- a NUL inside jsonb, LEGACY
INSERT INTO "TaskRun" (id, env, meta) VALUES ('cl0nulabcdefghijklmnopq01', 'e1', '{"k": "a\u0000b"}');

-- a NUL inside jsonb, NEW
INSERT INTO "TaskRun" (id, env, meta) VALUES ('0123456789abcdefghijklmnu1', 'e1', '{"k": "a\u0000b"}');

-- an emoji as the key
SELECT id FROM "TaskRun" WHERE id = E'\U0001F600';

-- generated column
UPDATE "TaskRun" SET n = 10 WHERE id IN ({N}, {L}, {E}) RETURNING id, n2;

-- generated column of a direct update
UPDATE "TaskRun" SET n = 11 WHERE id = {N} RETURNING n2;

-- generated column at a key params=L,L2,N,E,O,L,NULL
UPDATE "TaskRun" SET n = n + 13 WHERE id = $1 RETURNING id, n, n2;

-- every column of a row at a key params=L,N,E
UPDATE "TaskRun" SET n = 3, "batchId" = 'b', env = 'e4', status = 'DONE', "createdAt" = '2026-05-06', tags = ARRAY['q'], meta = '{"q": 1}', mark = 6 WHERE id = $1 RETURNING *;

-- a missing key
INSERT INTO "TaskRun" (env) VALUES ('e1');

-- a missing NOT NULL column, NEW
INSERT INTO "TaskRun" (id) VALUES ('0123456789abcdefghijklmnn1');

-- a missing NOT NULL column, LEGACY
INSERT INTO "TaskRun" (id) VALUES ('cl0nnabcdefghijklmnopqr01');

-- an enum label that nobody knows
SELECT id FROM "TaskRun" WHERE status = 'NOPE';

-- an enum filter
SELECT id FROM "TaskRun" WHERE status = 'DONE' AND n > 1;

-- char(n) as the key
SELECT id FROM "TaskRun" WHERE id = {N}::char(30);

-- trailing blanks
SELECT id FROM "TaskRun" WHERE id = {N} || '  ';

-- constants in ORDER BY
SELECT 1 AS k, id FROM "TaskRun" WHERE id = {N} UNION ALL SELECT 2, id FROM "TaskRun" WHERE id = {L} ORDER BY k, id;

-- constant ordering
SELECT 'x' AS k, env FROM "TaskRun" WHERE id = {N} ORDER BY k;

-- base62 in byte order
SELECT id FROM "TaskRun" WHERE id LIKE '2S%' AND id > '2SmasRGkif9qETAHwssB4GGY01w' ORDER BY id DESC LIMIT 1;

-- digest of all rows
SELECT md5(string_agg(r::text, '|' ORDER BY id COLLATE "C")) FROM "TaskRun" r;

-- locks
SELECT id FROM "TaskRun" WHERE env = 'e1' ORDER BY id COLLATE "C" FOR UPDATE SKIP LOCKED;

-- lock at a key params=L,N,E,O
SELECT id FROM "TaskRun" WHERE id = $1 FOR UPDATE NOWAIT;

-- division by zero in mid-scan
SELECT id, 1 / (n - 2) FROM "TaskRun";

-- GROUP BY the primary key feat=parse
SELECT id, env FROM "TaskRun" GROUP BY id;

-- merge feat=parse
MERGE INTO "TaskRun" t USING (VALUES ({L})) v(id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET n = 1;

-- system columns through routing feat=parse
INSERT INTO "TaskRun" (id, env) VALUES ('0123456789abcdefghijklmvx1', 'e1') RETURNING xmax = 0;

-- an unset key freed
UPDATE "TaskRun" SET "batchId" = NULL WHERE env = 'e1' AND "batchId" = 'odd-b' RETURNING id;

-- key outside of a LIMIT params=L,L2,N,E,O,K
SELECT s.id FROM (SELECT id, n FROM "TaskRun" ORDER BY n DESC NULLS LAST, id LIMIT 3) s WHERE s.id = $1;

-- key outside of a window params=L,L2,N,E,O,K
SELECT s.id, s.r FROM (SELECT id, rank() OVER (ORDER BY n, id) AS r FROM "TaskRun") s WHERE s.id = $1;

-- target named twice off=enable_hashjoin,enable_mergejoin,enable_material
UPDATE "TaskRun" t SET n = t.n + 100 FROM (VALUES ({N}), ({N})) v(id) WHERE t.id = v.id RETURNING t.id, t.n;

-- target named twice by a local table off=enable_hashjoin,enable_mergejoin,enable_material
UPDATE "TaskRun" t SET n = t.n + 100 FROM note a, note b WHERE a.run_id = t.id AND b.env = a.env AND a.id IN (13, 14, 16) RETURNING t.id, t.n;

-- row deleted twice off=enable_hashjoin,enable_mergejoin,enable_material
DELETE FROM "Attempt" t USING (VALUES ({N}), ({N}), ({L}), ({E}), ({E})) v(id) WHERE t."runId" = v.id RETURNING t.id;

-- list page over all stores
SELECT id, n FROM "TaskRun" WHERE env = 'e1' ORDER BY n DESC NULLS LAST, id DESC LIMIT 4;

-- row security at a key role=1 params=L,N,E,O
SELECT id, env FROM "TaskRun" WHERE id = $1;

-- row security, a policy that reads a routed table role=1
SELECT id FROM "Attempt" WHERE "runId" IN ({L}, {N}, {E});

-- row security, a write that violates the policy, NEW role=1
INSERT INTO "TaskRun" (id, env) VALUES ('0123456789abcdefghijklmrl1', 'e1');

-- row security, an update that violates the policy, NEW role=1
UPDATE "TaskRun" SET env = 'e1' WHERE id = {E};

-- WITH CHECK OPTION, NEW
UPDATE run_checked SET n = 100 WHERE id = {N};

-- a barrier view at a key params=L,N,E,O
SELECT id FROM run_barrier WHERE id = $1;

-- a policy and a leaky function role=1
SELECT id FROM "TaskRun" WHERE id = {N} AND run_n_plpgsql(id) IS NULL;

-- keys through an equality class params=L,N,E,O
SELECT r.id, a.id, w.id FROM "TaskRun" r JOIN "Attempt" a ON a."runId" = r.id LEFT JOIN "Waitpoint" w ON w."completedByTaskRunId" = r.id WHERE r.id = $1;

-- a local table gives the keys
SELECT n.id, r.id FROM note n JOIN "TaskRun" r ON r.id = n.run_id WHERE n.n = 2;

-- a key that is a constant on one side of USING
SELECT id FROM "TaskRun" JOIN (VALUES ({N}), ({L})) v(id) USING (id);

-- GROUPING SETS
SELECT env, status, count(*) FROM "TaskRun" WHERE id IN ({N}, {L}, {E}) GROUP BY GROUPING SETS ((env), (status), ());

-- aggregates of nothing
SELECT count(*), max(n) FROM "TaskRun" WHERE id = '0123456789abcdefghijkl98e1';

-- aggregates of nothing, unclassifiable
SELECT count(*), max(n) FROM "TaskRun" WHERE id = 'odd-98';
