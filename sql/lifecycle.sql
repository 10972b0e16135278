-- lifecycle: a cuid run and a KSUID run go through every state of a run

\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/lifecycle.sql'
\set db lifecycle
\i :include

-- No step of one family writes to two stores.
SET runops.cross_store_writes = error;
SELECT verdict FROM runops.recheck('new');

-- the first organization mints cuids, the second KSUIDs
SELECT runops.set_mint_kind(org, CASE n WHEN 1 THEN 'cuid' ELSE 'ksuid' END) FROM life.context;
UPDATE runops.mint_config SET flipped_at = flipped_at - interval '90 s', effective_at = effective_at - interval '90 s';

CREATE FUNCTION life.explain(query text) RETURNS SETOF text LANGUAGE plpgsql
	AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query; END $$;
CREATE TABLE life.steps (no serial, org int, step text, result text);
CREATE TABLE life.runs (org int, what text, id text);

CREATE PROCEDURE life.walk(o int) LANGUAGE plpgsql AS $$
DECLARE
	c life.context;
	root text; again text; child text; grandchild text; batch text; batch_waitpoint text; waitpoint text; token text;
	attempt text; attempt2 text; runs text[]; blocked text[]; done boolean; pending bigint;
BEGIN
	SELECT * INTO STRICT c FROM life.context x WHERE x.n = o;

	CALL life.trigger_run(c.org, root, key => 'order 17');
	COMMIT;
	INSERT INTO life.runs VALUES (o, 'root', root);
	CALL life.trigger_run(c.org, again, key => 'order 17');
	COMMIT;
	INSERT INTO life.steps (org, step, result) VALUES (o, 'trigger', 'one run for one key: ' || (root = again));
	UPDATE "TaskRun" SET "idempotencyKeyExpiresAt" = now() AT TIME ZONE 'UTC' - interval '1 s' WHERE id = root;
	COMMIT;
	CALL life.trigger_run(c.org, again, key => 'order 17');
	COMMIT;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'trigger', format('another one once the key has expired: %s; the first has %s', root <> again, coalesce(r."idempotencyKey", 'none'))
	FROM "TaskRun" r WHERE r.id = root;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'reset', format('%s row in %s', z.rows, CASE z.store WHEN runops.store_of(again) THEN 'the store of the run' ELSE 'another store' END)
	FROM runops.reset_idempotency('"TaskRun"', ids => ARRAY[again]) z;
	CALL life.finalize(again, 'CANCELED');
	COMMIT;
	CALL life.trigger_run(c.org, again, key => 'order 17');
	CALL life.finalize(again, 'EXPIRED');
	COMMIT;
	CALL life.start_attempt(root, attempt);
	COMMIT;

	-- a batch of 100, in the middle of which the flag flips
	CALL life.create_batch(c.org, root, 100, batch, batch_waitpoint);
	COMMIT;
	FOR i IN 1 .. 100 LOOP
		CALL life.trigger_run(c.org, child, parent => root, batch => batch, batch_index => i, ttl => CASE i WHEN 100 THEN '10m' END);
		runs := runs || child;
		COMMIT;
		IF i = 50 THEN
			UPDATE runops.mint_config SET kind = CASE kind WHEN 'cuid' THEN 'ksuid' ELSE 'cuid' END, previous = NULL;
			COMMIT;
		END IF;
	END LOOP;
	UPDATE runops.mint_config SET kind = CASE kind WHEN 'cuid' THEN 'ksuid' ELSE 'cuid' END;
	CALL life.seal_batch(batch);
	COMMIT;
	CALL life.block(root, ARRAY[batch_waitpoint], batch, pending);
	COMMIT;
	INSERT INTO life.steps (org, step, result) VALUES (o, 'batch',
		format('%s items, pending %s', (SELECT count(*) FROM "BatchTaskRunItem" WHERE "batchTaskRunId" = batch), pending));
	UPDATE "TaskRun" SET status = 'EXECUTING' WHERE id = root;
	CALL life.checkpoint(root, attempt);
	COMMIT;

	-- its runs: most succeed, one fails, one is canceled, one expires
	FOR i IN 1 .. 98 LOOP
		CALL life.start_attempt(runs[i], attempt2);
		COMMIT;
		CALL life.finalize(runs[i], CASE i WHEN 98 THEN 'COMPLETED_WITH_ERRORS' ELSE 'COMPLETED_SUCCESSFULLY' END, i::text);
		COMMIT;
		IF i % 49 = 0 THEN
			CALL life.try_complete_batch(batch, done, blocked);
			COMMIT;
			INSERT INTO life.steps (org, step, result) VALUES (o, 'batch', format('after %s: complete %s', i, done));
		END IF;
	END LOOP;
	CALL life.cancel(runs[99], blocked);
	COMMIT;
	CALL life.finalize(runs[100], 'EXPIRED');
	COMMIT;
	CALL life.continue_if_unblocked(root, done);
	INSERT INTO life.steps (org, step, result) VALUES (o, 'batch', 'resumed too early: ' || done);
	CALL life.try_complete_batch(batch, done, blocked);
	COMMIT;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'batch', format('complete %s: %s, %s of %s, %s and %s; blocks the root: %s', done, b.status, b."completedCount", b."expectedCount",
							  b."successfulRunCount", b."failedRunCount", blocked = ARRAY[root])
	FROM "BatchTaskRun" b WHERE b."friendlyId" = runops.to_friendly_id('batch', batch);

	-- the root wakes up
	CALL life.restore(root);
	CALL life.continue_if_unblocked(root, done);
	COMMIT;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'batch resume', format('%s: %s, attempt %s, %s, completed %s, %s edges left', done, r.status, a.status, s."executionStatus",
		s."completedWaitpointOrder" = ARRAY[batch_waitpoint] AND EXISTS (SELECT FROM "CompletedWaitpoint" w WHERE w."runId" = root AND w."snapshotId" = s.id),
		(SELECT count(*) FROM "TaskRunWaitpoint" e WHERE e."taskRunId" = root))
	FROM "TaskRun" r JOIN "TaskRunAttempt" a ON a."taskRunId" = r.id
		JOIN "TaskRunExecutionSnapshot" s ON s."runId" = r.id
	WHERE r.id = root AND s."isValid" ORDER BY s."createdAt" DESC LIMIT 1;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'checkpoint', format('%s; suspended in %s', string_agg(e.type::text, ', ' ORDER BY e.type),
		(SELECT k.location = 's3://' || k.id FROM "TaskRunExecutionSnapshot" s JOIN "Run Ops"."TaskRunCheckpoint" k ON k.id = s."checkpointId" AND k."taskRunId" = s."runId"
		 WHERE s."runId" = root AND s."executionStatus" = 'SUSPENDED'))
	FROM "CheckpointRestoreEvent" e JOIN "Checkpoint" k ON k.id = e."checkpointId" AND k."runId" = e."runId" WHERE e."runId" = root;

	-- a child that is delayed, and on whose end the attempt of its parent depends
	CALL life.trigger_run(c.org, child, parent => root, status => 'DELAYED', delay => '10 ms');
	INSERT INTO "TaskRunDependency" (id, "taskRunId", "dependentAttemptId", "dependentBatchRunId")
	VALUES (runops.mint_id('dependency', parent => child), child, attempt, batch);
	COMMIT;
	PERFORM pg_sleep(0.02);
	CALL life.enqueue_delayed(child);
	COMMIT;
	CALL life.start_attempt(child, attempt2);
	CALL life.finalize(child, 'COMPLETED_SUCCESSFULLY', 'late');
	UPDATE "TaskRunDependency" SET "resumedAt" = clock_timestamp() WHERE "taskRunId" = child;
	GET DIAGNOSTICS pending = ROW_COUNT;
	CALL life.one('dependency', pending);
	COMMIT;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'delayed enqueue', format('%s, %s', r.status, string_agg(s."executionStatus"::text, ' ' ORDER BY s."createdAt", s."executionStatus"))
	FROM "TaskRun" r JOIN "TaskRunExecutionSnapshot" s ON s."runId" = r.id WHERE r.id = child GROUP BY r.status;

	-- one that could not be triggered, and one that waits for a deployment
	CALL life.trigger_failed(c.org, root, child);
	COMMIT;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'failed-task trigger', format('%s, its waitpoint %s with error %s', r.status, w.status, w."outputIsError")
	FROM "TaskRun" r JOIN "Waitpoint" w ON w."completedByTaskRunId" = r.id WHERE r.id = child;
	CALL life.trigger_run(c.org, child, parent => root, status => 'PENDING_VERSION');
	COMMIT;
	CALL life.deployed(c.env, runs);
	COMMIT;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'waiting for a deploy', format('released %s: %s', runs = ARRAY[child], r.status) FROM "TaskRun" r WHERE r.id = child;

	-- and is canceled with a child of its own
	CALL life.start_attempt(child, attempt2);
	CALL life.trigger_run(c.org, grandchild, parent => child);
	COMMIT;
	CALL life.cancel(child, runs);
	COMMIT;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'cancel', format('%s runs: %s, attempts %s, waitpoints %s', count(*), string_agg(DISTINCT r.status::text, ' '),
		(SELECT string_agg(DISTINCT a.status::text, ' ') FROM "TaskRunAttempt" a WHERE a."taskRunId" = ANY (runs)),
		(SELECT string_agg(DISTINCT w.status::text, ' ') FROM "Waitpoint" w WHERE w."completedByTaskRunId" = ANY (runs)))
	FROM "TaskRun" r WHERE r."rootTaskRunId" = root AND r.depth > 0 AND r.id = ANY (runs);

	-- waitpoints: a token that belongs to nobody, and one minted for the run
	token := runops.mint_id('waitpoint');
	waitpoint := runops.mint_id('waitpoint', parent => root);
	INSERT INTO "Waitpoint" (id, "friendlyId", type, "idempotencyKey", "userProvidedIdempotencyKey", "projectId", "environmentId")
	SELECT w, runops.to_friendly_id('waitpoint', w), t::"WaitpointType", 'key of ' || w, true, c.project, c.env
	FROM (VALUES (token, 'MANUAL')) v(w, t);
	COMMIT;
	INSERT INTO "Waitpoint" (id, "friendlyId", type, "idempotencyKey", "userProvidedIdempotencyKey", "completedAfter", "projectId", "environmentId")
	VALUES (waitpoint, runops.to_friendly_id('waitpoint', waitpoint), 'DATETIME', 'key of ' || waitpoint, false, clock_timestamp(), c.project, c.env);
	COMMIT;
	INSERT INTO life.runs VALUES (o, 'token', token), (o, 'datetime', waitpoint);
	CALL life.block(root, ARRAY[token, waitpoint], NULL, pending);
	COMMIT;
	INSERT INTO life.steps (org, step, result) VALUES (o, 'waitpoint block', 'pending ' || pending);
	CALL life.block(root, ARRAY[token, waitpoint], NULL, pending);
	COMMIT;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'waitpoint block', format('again: pending %s, %s edges', pending, count(*)) FROM "TaskRunWaitpoint" WHERE "taskRunId" = root;
	CALL life.complete_waitpoint(waitpoint, 'DATETIME', NULL, blocked);
	COMMIT;
	CALL life.continue_if_unblocked(root, done);
	COMMIT;
	INSERT INTO life.steps (org, step, result) VALUES (o, 'waitpoint complete', format('blocks the root %s, resumed %s', blocked = ARRAY[root], done));
	CALL life.complete_waitpoint(token, 'MANUAL', '"yes"', blocked);
	COMMIT;
	CALL life.continue_if_unblocked(root, done);
	COMMIT;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'waitpoint complete', format('blocks the root %s, resumed %s: %s', blocked = ARRAY[root], done, r.status) FROM "TaskRun" r WHERE r.id = root;

	CALL life.finalize(root, 'COMPLETED_SUCCESSFULLY', '{}');
	COMMIT;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'finalize', format('%s; attempts %s', r.status, (SELECT string_agg(a.status::text, ' ') FROM "TaskRunAttempt" a WHERE a."taskRunId" = r.id))
	FROM "TaskRun" r WHERE r."friendlyId" = runops.to_friendly_id('run', root) AND r."runtimeEnvironmentId" = c.env;
END
$$;
CALL life.walk(1);
CALL life.walk(2);
SELECT what, org, length(id), runops.store_of(id) FROM life.runs ORDER BY what DESC, org;

-- the same happens to both
SELECT s1.step, s1.result, s1.result IS NOT DISTINCT FROM s2.result AS same
FROM (SELECT *, row_number() OVER (ORDER BY no) AS k FROM life.steps WHERE org = 1) s1
	FULL JOIN (SELECT *, row_number() OVER (ORDER BY no) AS k FROM life.steps WHERE org = 2) s2 ON s2.k = s1.k AND s2.step = s1.step
ORDER BY s1.k;

-- a run of one store waits for a run of the other one, in both directions
CREATE PROCEDURE life.wait_across(o int) LANGUAGE plpgsql AS $$
DECLARE
	here life.context;
	there life.context;
	waiter text; other text; waitpoint text; attempt text; blocked text[]; pending bigint; done boolean;
BEGIN
	SELECT * INTO STRICT here FROM life.context WHERE n = o;
	SELECT * INTO STRICT there FROM life.context WHERE n = 3 - o;
	CALL life.trigger_run(here.org, waiter);
	CALL life.start_attempt(waiter, attempt);
	COMMIT;
	SELECT r.id INTO other FROM life.runs r WHERE r.org = 3 - o AND r.what = 'root';
	CALL life.trigger_run(there.org, other, parent => other);
	COMMIT;
	SELECT w.id INTO STRICT waitpoint FROM "Waitpoint" w WHERE w."completedByTaskRunId" = other;
	CALL life.block(waiter, ARRAY[waitpoint], NULL, pending);
	COMMIT;
	CALL life.finalize(other, 'EXPIRED');
	COMMIT;
	blocked := ARRAY(SELECT e."taskRunId" FROM "TaskRunWaitpoint" e WHERE e."waitpointId" = waitpoint);
	CALL life.continue_if_unblocked(waiter, done);
	COMMIT;
	INSERT INTO life.steps (org, step, result)
	SELECT o, 'wait across', format('pending %s, blocks %s, resumed %s: %s; edge in %s, waitpoint in %s', pending, blocked = ARRAY[waiter], done, r.status,
		runops.store_of(waiter), runops.store_of(other))
	FROM "TaskRun" r WHERE r.id = waiter;
	CALL life.finalize(waiter, 'COMPLETED_SUCCESSFULLY');
	COMMIT;
END
$$;
CALL life.wait_across(1);
CALL life.wait_across(2);
SELECT org, result FROM life.steps WHERE step = 'wait across' ORDER BY org;

-- runs of both stores expire in one statement, each in its own
SET runops.cross_store_writes = allow;
CREATE TABLE life.expiring (id text);
DO $$
DECLARE
	run text;
	c life.context;
BEGIN
	FOR c IN SELECT * FROM life.context ORDER BY n LOOP
		FOR i IN 1 .. 3 LOOP
			CALL life.trigger_run(c.org, run, ttl => '1ms');
			INSERT INTO life.expiring VALUES (run);
		END LOOP;
	END LOOP;
END
$$;
WITH expired AS (
	UPDATE "TaskRun" SET status = 'EXPIRED', "expiredAt" = now(), "completedAt" = now(), error = '{"type": "STRING_ERROR"}'
	WHERE id = ANY (ARRAY(SELECT id FROM life.expiring UNION ALL SELECT id FROM life.runs WHERE what = 'root')) AND status = 'PENDING'
	RETURNING id)
SELECT runops.store_of(id), count(*) FROM expired GROUP BY 1 ORDER BY 1;
SET runops.cross_store_writes = error;

-- an edge whose waitpoint no store holds is refused, and nothing stays of it
SELECT max(id) FILTER (WHERE what = 'root' AND org = 1) AS root1, max(id) FILTER (WHERE what = 'root' AND org = 2) AS root2,
	max(id) FILTER (WHERE what = 'token' AND org = 1) AS token FROM life.runs \gset
\set VERBOSITY sqlstate
CALL life.block(:'root1', '{cmcjssmao6dfcc016e6d94f48}');
CALL life.block(:'root1', ARRAY[:'token', '37dGalnvVFpJFsmiFDGIwmudA4O']);
CALL life.block(:'root2', '{cmcjssmao6dfcc016e6d94f48}');
CALL life.block(:'root2', ARRAY[:'token', '37dGalnvVFpJFsmiFDGIwmudA4O']);
\set VERBOSITY default
INSERT INTO "TaskRunWaitpoint" (id, "taskRunId", "waitpointId", "projectId") SELECT 'edge', id, 'cmcjssmao6dfcc016e6d94f48', "projectId" FROM "TaskRun" WHERE id = :'root1';
INSERT INTO "TaskRunWaitpoint" (id, "taskRunId", "waitpointId", "projectId") SELECT 'edge', id, '37dGalnvVFpJFsmiFDGIwmudA4O', "projectId" FROM "TaskRun" WHERE id = :'root2';
SELECT count(*) FROM "TaskRunWaitpoint";

-- a family cannot be torn apart, here or there
\set VERBOSITY sqlstate
SELECT max(id) FILTER (WHERE "taskRunId" = :'root1') AS attempt1, max(id) FILTER (WHERE "taskRunId" = :'root2') AS attempt2 FROM "TaskRunAttempt" \gset
SELECT max(id) FILTER (WHERE length(id) = 25) AS batch1, max(id) FILTER (WHERE length(id) = 27) AS batch2 FROM "BatchTaskRun" \gset
INSERT INTO "BatchTaskRunItem" (id, "batchTaskRunId", "taskRunId") VALUES ('i', :'batch2', :'root1');
INSERT INTO "BatchTaskRunItem" (id, "batchTaskRunId", "taskRunId") VALUES ('i', :'batch1', :'root2');
INSERT INTO "TaskRunDependency" (id, "taskRunId", "dependentAttemptId") VALUES ('d', :'root2', :'attempt1');
UPDATE "TaskRun" SET "parentTaskRunId" = :'root2' WHERE id = :'root1';
UPDATE "TaskRun" SET "batchId" = :'batch1' WHERE id = :'root2';
UPDATE "TaskRun" SET "parentTaskRunAttemptId" = :'attempt1' WHERE id = :'root2';
SELECT format($$INSERT INTO public."TaskRunDependency" (id, "taskRunId", "dependentAttemptId") VALUES ('d', %L, %L)$$, :'root2', :'attempt1') AS direct \gset
SELECT runops.remote_exec('new', :'direct');
\set VERBOSITY default
SELECT regexp_replace(line, $$'[^']*'$$, '...', 'g') AS "QUERY PLAN" FROM life.explain(format('SELECT id FROM "TaskRunDependency" WHERE "dependentAttemptId" = %L', :'attempt2')) line;

-- whoever completes a waitpoint asks where
SELECT * FROM runops.check_unblock_routes();

-- each UPDATE by id has met one row
SELECT step, count(*), min(count), max(count) FROM life.updates GROUP BY step ORDER BY step COLLATE "C";

-- each row lies in the store that owns its run; counted in both databases
CREATE TABLE life.owners (relation text, owner text);
INSERT INTO life.owners VALUES
	('"TaskRun"', 'id'), ('"BatchTaskRun"', 'id'), ('"BatchTaskRunItem"', '"batchTaskRunId"'), ('"BatchTaskRunError"', '"batchTaskRunId"'),
	('"TaskRunAttempt"', '"taskRunId"'), ('"TaskRunExecutionSnapshot"', '"runId"'), ('"Run Ops"."TaskRunCheckpoint"', '"taskRunId"'),
	('"Checkpoint"', '"runId"'), ('"CheckpointRestoreEvent"', '"runId"'), ('"Waitpoint"', 'COALESCE("completedByTaskRunId", "completedByBatchId", id)'),
	('"TaskRunWaitpoint"', '"taskRunId"'), ('"WaitpointRunConnection"', '"taskRunId"'), ('"CompletedWaitpoint"', '"runId"'), ('"TaskRunDependency"', '"taskRunId"');
CREATE FUNCTION life.count(relation text, condition text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM %s WHERE %s', relation, condition) INTO n;
	RETURN n;
END
$$;
SELECT o.relation,
	life.count(t.leaf::text, format('length(%s) <> 27', o.owner)) AS legacy,
	life.count(t.leaf::text, format('length(%s) = 27', o.owner)) AS misplaced,
	s.here AS new, s.elsewhere AS misplaced,
	life.count(o.relation, 'true') = life.count(t.leaf::text, 'true') + s.here + s.elsewhere AS all
FROM life.owners o JOIN runops.routed_tables t ON t.relation = o.relation::regclass,
	LATERAL (SELECT r FROM runops.remote_query('new', format(
		'SELECT count(*) FILTER (WHERE length(%1$s) = 27) AS here, count(*) FILTER (WHERE length(%1$s) <> 27) AS elsewhere FROM %2$s', o.owner,
		CASE WHEN o.relation LIKE '%.%' THEN o.relation ELSE 'public.' || o.relation END)) r) x(j),
	LATERAL (SELECT (x.j ->> 'here')::bigint AS here, (x.j ->> 'elsewhere')::bigint AS elsewhere) s
ORDER BY o.relation COLLATE "C";
SELECT * FROM runops.verify();

\connect contrib_regression
DROP DATABASE lifecycle;
DROP DATABASE lifecycle_store;
DROP ROLE run_ops_owner, run_ops_app, "Run Reader";
