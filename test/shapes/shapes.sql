-- Statement shapes and the stores that each may touch, no more and no fewer.
--
-- A shape is "-- what it is | stores", then the statement.  {L} stands for an id of the legacy store, {N} and {K} for one
-- of new (run-ops, KSUID), {E} for one of shard e, {O} for an unclassifiable one; {fN} for a friendly id, {iN} for one that
-- no row has yet, {[L,N]} for an array.  Each shape runs with these as literals, and prepared with all of them as
-- parameters.  Stores: legacy, new, e, all, none.  "generic=..." names those of a forced generic plan where the value of a
-- parameter cannot help it, "generic<17=..." only before that version.  "peeks>=17": from that version on, core looks at the
-- ends of the legacy leaf's index while it makes the generic plan; no execution does.

-- point read, legacy | legacy
SELECT id, env FROM "TaskRun" WHERE id = {L};

-- point read, new | new
SELECT id, env FROM "TaskRun" WHERE id = {N};

-- point read, KSUID | new
SELECT id, env FROM "TaskRun" WHERE id = {K};

-- point read, shard | e
SELECT id, env FROM "TaskRun" WHERE id = {E};

-- point read, unclassifiable | all
SELECT id FROM "TaskRun" WHERE id = {O};

-- point read, operands swapped | e
SELECT * FROM "TaskRun" WHERE {E} = id;

-- point read, whole row | new
SELECT r FROM "TaskRun" r WHERE r.id = {N};

-- point read, another condition beside | legacy
SELECT id FROM "TaskRun" WHERE id = {L} AND env = 'e2' AND n > 0;

-- point read of nothing | new
SELECT id FROM "TaskRun" WHERE id = {iN};

-- key is NULL | none | generic<17=legacy
SELECT id FROM "TaskRun" WHERE id = {NULL};

-- key through varchar | legacy
SELECT id FROM "TaskRun" WHERE id = {L}::varchar;

-- key of a domain over varchar | new
SELECT id FROM "Batch" WHERE id = {bN};

-- key through an immutable function | new
SELECT id FROM "TaskRun" WHERE id = lower({N});

-- key through a setting | new
SELECT id FROM "TaskRun" WHERE id = current_setting('diff.id');

-- key through a scalar sub-select | new
SELECT id FROM "TaskRun" WHERE id = (SELECT {N}::text);

-- key under the C collation | new
SELECT id FROM "TaskRun" WHERE id = {N} COLLATE "C";

-- key under a nondeterministic collation | all
SELECT id FROM "TaskRun" WHERE id = {N} COLLATE ci;

-- list of one store | legacy
SELECT id FROM "TaskRun" WHERE id IN ({L}, {L2});

-- list of two kinds of one store | new
SELECT id FROM "TaskRun" WHERE id IN ({N}, {K});

-- list over two stores | legacy, new
SELECT id FROM "TaskRun" WHERE id IN ({L}, {N});

-- list over two stores, without legacy | new, e
SELECT id FROM "TaskRun" WHERE id IN ({E}, {N});

-- list with an unclassifiable id | all
SELECT id FROM "TaskRun" WHERE id IN ({L}, {O});

-- list with a NULL | e
SELECT id FROM "TaskRun" WHERE id IN ({E}, {NULL});

-- array of one store | e
SELECT id FROM "TaskRun" WHERE id = ANY ({[E,E2]});

-- array over two stores | legacy, e
SELECT id FROM "TaskRun" WHERE id = ANY ({[L,E]});

-- array over all stores | all
SELECT id FROM "TaskRun" WHERE id = ANY ({[L,E,N]});

-- empty array | none
SELECT id FROM "TaskRun" WHERE id = ANY ({[]});

-- array of a NULL | none
SELECT id FROM "TaskRun" WHERE id = ANY ({[NULL]});

-- array with a NULL | new
SELECT id FROM "TaskRun" WHERE id = ANY ({[N,NULL]});

-- array constructor | legacy, new
SELECT id FROM "TaskRun" WHERE id = ANY (ARRAY[{L}, {N}]);

-- none of an array | all
SELECT count(*) FROM "TaskRun" WHERE id <> ALL ({[L,N]});

-- OR of two keys | new, e
SELECT id FROM "TaskRun" WHERE id = {N} OR id = {E};

-- OR of keys of one store | legacy
SELECT id FROM "TaskRun" WHERE (id = {L} AND n = 1) OR (id = {L2} AND env = 'e1');

-- OR beside the key | all
SELECT count(*) FROM "TaskRun" WHERE id = {N} OR env = 'e1';

-- OR of a key and an alias | legacy, new
SELECT id FROM "TaskRun" WHERE id = {N} OR "friendlyId" = {fL};

-- AND of two keys of different stores | none
SELECT id FROM "TaskRun" WHERE id = {N} AND id = {L};

-- AND of two lists | legacy
SELECT id FROM "TaskRun" WHERE id IN ({N}, {L}) AND id IN ({L}, {E});

-- NOT of a key | all
SELECT count(*) FROM "TaskRun" WHERE NOT (id = {N});

-- NOT of an inequality | new
SELECT id FROM "TaskRun" WHERE NOT (id <> {N});

-- inequality | all
SELECT count(*) FROM "TaskRun" WHERE id <> {L};

-- range | all
SELECT count(*) FROM "TaskRun" WHERE id > {L};

-- equality that may be not true | all
SELECT count(*) FROM "TaskRun" WHERE (id = {N}) IS NOT TRUE;

-- alias, legacy | legacy
SELECT id FROM "TaskRun" WHERE "friendlyId" = {fL};

-- alias, new | new
SELECT id FROM "TaskRun" WHERE "friendlyId" = {fN};

-- alias, list | new, e
SELECT id FROM "TaskRun" WHERE "friendlyId" IN ({fN}, {fE});

-- alias, unclassifiable | all
SELECT id FROM "TaskRun" WHERE "friendlyId" = {O};

-- alias of the parent | e
SELECT id FROM "TaskRun" WHERE "parentTaskRunId" = {E};

-- alias against the key | none
SELECT id FROM "TaskRun" WHERE "parentTaskRunId" = {E} AND id = {L};

-- a column that is no alias | all
SELECT id FROM "TaskRun" WHERE "batchId" = {bL};

-- owner column | new
SELECT id FROM "Attempt" WHERE "runId" = {N};

-- a child's own id | all
SELECT id FROM "Attempt" WHERE id = 'cl0tcdefghijklmnopqr203xy';

-- first argument of an expression key | e
SELECT id FROM "Waitpoint" WHERE "completedByTaskRunId" = {E};

-- later argument of an expression key | all
SELECT id FROM "Waitpoint" WHERE "completedByBatchId" = {bL};

-- id beneath an expression key | all
SELECT id FROM "Waitpoint" WHERE id = {wL};

-- open scan | all
SELECT count(*) FROM "TaskRun" WHERE env = 'e1';

-- page of a list | all
SELECT id FROM "TaskRun" WHERE env = 'e1' ORDER BY "createdAt" DESC, id DESC LIMIT 5;

-- aggregate at a key | e
SELECT count(*), max(n) FROM "Attempt" WHERE "runId" = {E};

-- grouping at a key | new
SELECT status, count(*) FROM "Attempt" WHERE "runId" = {N} GROUP BY status HAVING count(*) > 0;

-- window at a key | new
SELECT id, rank() OVER (ORDER BY number) FROM "Attempt" WHERE "runId" = {N};

-- ORDER BY and LIMIT at a key | legacy
SELECT id FROM "Attempt" WHERE "runId" = {L} ORDER BY number DESC LIMIT 1;

-- DISTINCT at a key | new
SELECT DISTINCT status FROM "Attempt" WHERE "runId" = {N};

-- lock at a key | legacy
SELECT id FROM "TaskRun" WHERE id = {L} FOR UPDATE;

-- lock at a key, new | new
SELECT id FROM "TaskRun" WHERE id = {N} FOR NO KEY UPDATE;

-- two routed tables, key of the first | new
SELECT r.id, a.id FROM "TaskRun" r JOIN "Attempt" a ON a."runId" = r.id WHERE r.id = {N};

-- two routed tables, key of the second | e
SELECT r.id, a.id FROM "TaskRun" r JOIN "Attempt" a ON a."runId" = r.id WHERE a."runId" = {E};

-- two routed tables, an alias | legacy
SELECT r.id, a.id FROM "TaskRun" r, "Attempt" a WHERE a."runId" = r.id AND r."friendlyId" = {fL} AND a."runId" = {L};

-- two routed tables, an array; core does not carry ANY over the equality | legacy, new
SELECT r.id, a.id FROM "TaskRun" r JOIN "Attempt" a ON a."runId" = r.id WHERE r.id = ANY ({[L,N]});

-- three routed tables through equalities | new
SELECT r.id, a.id, w.id FROM "TaskRun" r JOIN "Attempt" a ON r.id = a."runId" JOIN "Waitpoint" w ON w."completedByTaskRunId" = a."runId" WHERE w."completedByTaskRunId" = {N};

-- USING | e
SELECT id FROM "TaskRun" JOIN (SELECT "runId" AS id, number FROM "Attempt") a USING (id) WHERE id = {E};

-- two routed tables, two stores | legacy, new
SELECT a.id, b.id FROM "TaskRun" a, "TaskRun" b WHERE a.id = {L} AND b.id = {N};

-- self join by the alias | new
SELECT c.id FROM "TaskRun" p JOIN "TaskRun" c ON c."parentTaskRunId" = p.id WHERE p.id = {N};

-- LEFT JOIN, key of the preserved side | legacy
SELECT r.id, a.id FROM "TaskRun" r LEFT JOIN "Attempt" a ON a."runId" = r.id WHERE r.id = {L};

-- LEFT JOIN, key in ON of the nullable side | new
SELECT n.id, r.id FROM note n LEFT JOIN "TaskRun" r ON r.id = {N} WHERE n.id = 1;

-- LEFT JOIN, key in ON of the preserved side | all
SELECT count(*) FROM "TaskRun" r LEFT JOIN note n ON r.id = {N} AND n.run_id = r.id;

-- RIGHT JOIN, key of the preserved side | e
SELECT r.id, a.id FROM "Attempt" a RIGHT JOIN "TaskRun" r ON a."runId" = r.id WHERE r.id = {E};

-- FULL JOIN with the key in ON | all
SELECT count(*) FROM "TaskRun" a FULL JOIN "Attempt" b ON a.id = b."runId" AND b."runId" = {N};

-- join by what is no key | all
SELECT r.id FROM "TaskRun" r JOIN "Batch" b ON r."batchId" = b.id WHERE b.id = {bL};

-- a local table gives the key, legacy | legacy
SELECT n.id, r.id FROM note n JOIN "TaskRun" r ON r.id = n.run_id WHERE n.id = 1;

-- a local table gives the key, new | new
SELECT n.id, r.id FROM note n JOIN "TaskRun" r ON n.run_id = r.id WHERE n.id = 13;

-- a local table gives keys of two stores | new, e
SELECT n.id, r.id FROM note n JOIN "TaskRun" r ON n.run_id = r.id WHERE n.id IN (13, 16);

-- a local table gives no key | none
SELECT n.id, r.id FROM note n JOIN "TaskRun" r ON n.run_id = r.id WHERE n.id = 12;

-- a local table gives the key of an owner column | new
SELECT n.id, a.id FROM note n JOIN "Attempt" a ON a."runId" = n.run_id WHERE n.id = 14;

-- LEFT JOIN from a local table | e
SELECT n.id, r.id FROM note n LEFT JOIN "TaskRun" r ON r.id = n.run_id WHERE n.id = 16;

-- constant on the local side | new
SELECT n.id, r.id FROM note n JOIN "TaskRun" r ON r.id = n.run_id WHERE n.run_id = {N};

-- from a routed to a local table | e
SELECT r.id, n.body FROM "TaskRun" r JOIN note n ON n.run_id = r.id WHERE r.id = {E};

-- from a routed table to its environment | new
SELECT r.id, e.name FROM "TaskRun" r JOIN env e ON e.id = r.env WHERE r.id = {N};

-- LATERAL from a local table | new
SELECT n.id, x.id FROM note n CROSS JOIN LATERAL (SELECT r.id FROM "TaskRun" r WHERE r.id = n.run_id) x WHERE n.id = 13;

-- LATERAL with LIMIT from a local table | e
SELECT n.id, x.id FROM note n LEFT JOIN LATERAL (SELECT a.id FROM "Attempt" a WHERE a."runId" = n.run_id ORDER BY number DESC LIMIT 1) x ON true WHERE n.id = 16;

-- LATERAL at a known key | new
SELECT r.id, x.id FROM "TaskRun" r CROSS JOIN LATERAL (SELECT a.id FROM "Attempt" a WHERE a."runId" = r.id LIMIT 1) x WHERE r.id = {N};

-- VALUES give the keys | legacy, new
SELECT v.id, r.n FROM (VALUES ({L}), ({N})) v(id) JOIN "TaskRun" r ON r.id = v.id;

-- unnest gives the keys | new, e
SELECT v.id, r.n FROM unnest({[N,E]}) v(id) JOIN "TaskRun" r ON r.id = v.id;

-- IN of a sub-select over a local table | new
SELECT r.id FROM "TaskRun" r WHERE r.id IN (SELECT run_id FROM note WHERE id = 13);

-- EXISTS in a local query | e
SELECT n.id FROM note n WHERE n.id = 16 AND EXISTS (SELECT 1 FROM "TaskRun" r WHERE r.id = n.run_id);

-- NOT EXISTS in a local query | new
SELECT n.id FROM note n WHERE n.id = 13 AND NOT EXISTS (SELECT 1 FROM "Attempt" a WHERE a."runId" = n.run_id AND a.number > 7);

-- NOT EXISTS at a known key | legacy
SELECT r.id FROM "TaskRun" r WHERE r.id = {L} AND NOT EXISTS (SELECT 1 FROM "Attempt" a WHERE a."runId" = r.id);

-- scalar sub-select in the target list | new
SELECT r.id, (SELECT count(*) FROM "Attempt" a WHERE a."runId" = r.id) FROM "TaskRun" r WHERE r.id = {N};

-- scalar sub-selects of two stores | legacy, e
SELECT (SELECT n FROM "TaskRun" WHERE id = {L}), (SELECT n FROM "TaskRun" WHERE id = {E});

-- three levels | e
SELECT r.id FROM "TaskRun" r WHERE r.id = {E} AND r.n >= (SELECT count(*) FROM "Attempt" a WHERE a."runId" = r.id AND EXISTS (SELECT 1 FROM "Waitpoint" w WHERE w."completedByTaskRunId" = a."runId"));

-- sub-query in FROM, key outside | new
SELECT s.id FROM (SELECT id, n + 1 AS m FROM "TaskRun") s WHERE s.id = {N};

-- sub-query in FROM, grouped by the key | new
SELECT s.id, s.c FROM (SELECT "runId" AS id, count(*) AS c FROM "Attempt" GROUP BY "runId") s WHERE s.id = {N};

-- sub-query in FROM with OFFSET 0, key outside | all
SELECT s.id FROM (SELECT id FROM "TaskRun" OFFSET 0) s WHERE s.id = {N};

-- UNION ALL of two keys | legacy, new
SELECT id FROM "TaskRun" WHERE id = {L} UNION ALL SELECT id FROM "TaskRun" WHERE id = {N};

-- UNION of one store | new
SELECT id FROM "TaskRun" WHERE id = {N} UNION SELECT id FROM "TaskRun" WHERE id = {K};

-- key outside of UNION ALL | e
SELECT u.id FROM (SELECT id, n FROM "TaskRun" UNION ALL SELECT "runId", n FROM "Attempt") u WHERE u.id = {E};

-- key outside of UNION ALL of two types; core keeps a condition on that above it | new
SELECT id, n FROM run_union WHERE id = {N};

-- EXCEPT | legacy, e
SELECT id FROM "TaskRun" WHERE id = {L} EXCEPT SELECT id FROM "TaskRun" WHERE id = {E};

-- view | legacy
SELECT * FROM run_view WHERE id = {L};

-- security-barrier view | new
SELECT * FROM run_barrier WHERE id = {N};

-- CTE with the key inside | e
WITH c AS (SELECT id, n FROM "TaskRun" WHERE id = {E}) SELECT * FROM c;

-- CTE with the key inside, materialized | new
WITH c AS MATERIALIZED (SELECT id, n FROM "TaskRun" WHERE id = {N}) SELECT * FROM c a, c b;

-- CTE with the key outside | legacy
WITH c AS (SELECT id, n FROM "TaskRun") SELECT * FROM c WHERE id = {L};

-- CTE materialized, key outside | all
WITH c AS MATERIALIZED (SELECT id, n FROM "TaskRun") SELECT * FROM c WHERE id = {L};

-- CTE joined by its key | new | peeks>=17
WITH c AS MATERIALIZED (SELECT id FROM "TaskRun" WHERE id = {N}) SELECT a.id FROM c JOIN "Attempt" a ON a."runId" = c.id;

-- recursive tree | new
WITH RECURSIVE t(id, d) AS (SELECT id, 0 FROM "TaskRun" WHERE id = {N1} UNION ALL SELECT r.id, d + 1 FROM t JOIN "TaskRun" r ON r."parentTaskRunId" = t.id WHERE d < 2) SELECT count(*) FROM t;

-- inlined SQL function | e
SELECT * FROM runs_of({E1});

-- SQL function | legacy
SELECT run_n({L});

-- PL/pgSQL function | new
SELECT run_n_plpgsql({N});

-- PL/pgSQL functions of two stores | legacy, e
SELECT run_n_plpgsql({L}), run_n_plpgsql({E});

-- false condition | none
SELECT id FROM "TaskRun" WHERE id = {N} AND false;

-- no routed table | none
SELECT count(*) FROM note WHERE run_id = {N};

-- EXPLAIN of an open scan | none
EXPLAIN SELECT * FROM "TaskRun" r JOIN "Attempt" a ON a."runId" = r.id;

-- INSERT, legacy | legacy
INSERT INTO "TaskRun" (id, env) VALUES ({iL}, 'e1') RETURNING id;

-- INSERT, new | new
INSERT INTO "TaskRun" (id, env) VALUES ({iN}, 'e1') RETURNING id, status;

-- INSERT, shard | e
INSERT INTO "TaskRun" (id, env) VALUES ({iE}, 'e1');

-- INSERT, unclassifiable | legacy
INSERT INTO "TaskRun" (id, env) VALUES ({iO}, 'e1');

-- INSERT of two stores | legacy, new
INSERT INTO "TaskRun" (id, env) VALUES ({iL}, 'e1'), ({iN}, 'e1');

-- INSERT of a child | new
INSERT INTO "Attempt" (id, "runId", number) VALUES ('cl0tnewfghijklmnopqr301xy', {N}, 77);

-- INSERT with an expression key | e
INSERT INTO "Waitpoint" (id, "completedByTaskRunId", env) VALUES ('cl0wnewfghijklmnopqr301xy', {E}, 'e1');

-- INSERT of a SELECT with a known key | new
INSERT INTO "TaskRun" (id, env) SELECT {iN}, id FROM env WHERE id = 'e1';

-- INSERT of a SELECT from a routed table | new
INSERT INTO note (id, run_id) SELECT 900, id FROM "TaskRun" WHERE id = {N};

-- upsert, legacy | legacy
INSERT INTO "TaskRun" AS t (id, env) VALUES ({L}, 'e1') ON CONFLICT (id) DO UPDATE SET n = t.n + 1;

-- upsert of a child, legacy | legacy
INSERT INTO "Attempt" AS t (id, "runId", number) VALUES ('cl0tnewfghijklmnopqr302xy', {L}, 1) ON CONFLICT ("runId", number) DO NOTHING;

-- DO NOTHING without a target, new | new
INSERT INTO "TaskRun" (id, env) VALUES ({N}, 'e1') ON CONFLICT DO NOTHING;

-- UPDATE by key, legacy | legacy
UPDATE "TaskRun" SET n = 5 WHERE id = {L};

-- UPDATE by key, new | new
UPDATE "TaskRun" SET n = 5 WHERE id = {N} RETURNING id, n2;

-- UPDATE by key, shard, with what the store cannot compute | e
UPDATE "TaskRun" SET n = length(current_setting('diff.id')) + (random() * 0)::int WHERE id = {E};

-- UPDATE by a list | legacy, new
UPDATE "TaskRun" SET n = 5 WHERE id IN ({L}, {N});

-- UPDATE by an array | e
UPDATE "TaskRun" SET n = 5 WHERE id = ANY ({[E,E2]});

-- UPDATE by an alias | new
UPDATE "TaskRun" SET n = 5 WHERE "friendlyId" = {fN};

-- UPDATE by an owner column | new
UPDATE "Attempt" SET n = 5 WHERE "runId" = {N} AND number = 1;

-- UPDATE FROM a local table at a known key | legacy
UPDATE "TaskRun" r SET n = 5 FROM note n WHERE n.run_id = r.id AND r.id = {L};

-- UPDATE FROM a local table at its known key | new
UPDATE "TaskRun" r SET n = 5 FROM note n WHERE n.run_id = r.id AND n.run_id = {N};

-- UPDATE FROM a local table that gives the key | new
UPDATE "TaskRun" r SET n = 5 FROM note n WHERE n.run_id = r.id AND n.id = 13;

-- UPDATE FROM a routed table | e
UPDATE "Attempt" a SET n = r.n FROM "TaskRun" r WHERE a."runId" = r.id AND r.id = {E};

-- UPDATE with a sub-select | new
UPDATE "TaskRun" r SET n = (SELECT count(*) FROM "Attempt" a WHERE a."runId" = r.id) WHERE r.id = {N};

-- UPDATE of a local table by a routed one | new
UPDATE note n SET body = r.env FROM "TaskRun" r WHERE r.id = n.run_id AND n.id = 13;

-- UPDATE of the key within its store | legacy
UPDATE "TaskRun" SET id = {iL}, "friendlyId" = NULL WHERE id = {L};

-- UPDATE of nothing | none
UPDATE "TaskRun" SET n = 5 WHERE id = {N} AND false;

-- UPDATE everywhere | all
UPDATE "Batch" SET n = 5 WHERE env = 'e2';

-- DELETE by key, legacy | legacy
DELETE FROM "Batch" WHERE id = {bL};

-- DELETE by key, new | new
DELETE FROM "TaskRun" WHERE id = {N} RETURNING id;

-- DELETE by an array | legacy, e
DELETE FROM "TaskRun" WHERE id = ANY ({[L,E]});

-- DELETE by an owner column | e
DELETE FROM "Attempt" WHERE "runId" = {E};

-- DELETE USING a local table | new
DELETE FROM "Attempt" a USING note n WHERE n.run_id = a."runId" AND a."runId" = {N};

-- DELETE USING a local table that gives the key | new
DELETE FROM "Attempt" a USING note n WHERE n.run_id = a."runId" AND n.id = 13;

-- DELETE USING a routed table | e
DELETE FROM "Attempt" a USING "TaskRun" r WHERE a."runId" = r.id AND r.id = {E};

-- UPDATE in a CTE | new
WITH u AS (UPDATE "TaskRun" SET n = 5 WHERE id = {N} RETURNING id) SELECT * FROM u;

-- DELETE in a CTE, INSERT into a local table | e
WITH d AS (DELETE FROM "Attempt" WHERE "runId" = {E} RETURNING *) INSERT INTO note (id, run_id) SELECT 900 + number, "runId" FROM d;

-- writes to two stores in CTEs | legacy, new
WITH a AS (UPDATE "TaskRun" SET n = 5 WHERE id = {L} RETURNING id), b AS (DELETE FROM "Attempt" WHERE "runId" = {N} RETURNING id) SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b);
