-- lifecycle_batches: completion of a batch in its own store, and reads and writes of
-- an application by ids, keys and predicates over two stores

\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/lifecycle.sql'
\set db lifecycle_batches
\i :include

SELECT verdict FROM runops.recheck('new');
INSERT INTO runops.mint_config SELECT org, CASE n WHEN 1 THEN 'cuid' ELSE 'ksuid' END FROM life.context;

/*
 * What comes of triggering the items of a batch: its status, the errors of items
 * that could not be triggered, and whether it may be complete already, in one
 * transaction in the batch's own store.  If all failed because the queue is full, one row
 * stands for all of them.
 */
CREATE PROCEDURE life.handle_batch_completion(batch text, successful int, failures jsonb, INOUT outcome text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	total CONSTANT int := jsonb_array_length(failures);
	full_queue CONSTANT boolean := total > 0 AND NOT EXISTS (
		SELECT FROM jsonb_array_elements(failures) f WHERE f ->> 'errorCode' IS DISTINCT FROM 'QUEUE_SIZE_LIMIT_EXCEEDED');
	new_status CONSTANT text := CASE WHEN total > 0 AND successful = 0 THEN 'ABORTED' WHEN total > 0 THEN 'PARTIAL_FAILED' ELSE 'PENDING' END;
	completed boolean;
	blocked text[];
	n bigint;
BEGIN
	UPDATE "BatchTaskRun" SET status = new_status::"BatchTaskRunStatus", "successfulRunCount" = successful, "failedRunCount" = total WHERE id = batch;
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('batch completion', n);
	INSERT INTO "BatchTaskRunError" ("batchTaskRunId", index, "taskIdentifier", error, "errorCode")
	SELECT batch, (f ->> 'index')::int, f ->> 'taskIdentifier',
		f ->> 'error' || CASE WHEN full_queue AND total > 1 THEN format(' (%s items in this batch failed with the same error)', total) ELSE '' END,
		f ->> 'errorCode'
	FROM jsonb_array_elements(failures) WITH ORDINALITY e(f, o) WHERE NOT full_queue OR o = 1 ORDER BY o
	ON CONFLICT DO NOTHING;
	outcome := new_status;
	IF new_status <> 'ABORTED' THEN
		CALL life.try_complete_batch(batch, completed, blocked);
		outcome := outcome || ', tried to complete: ' || completed;
	END IF;
END
$$;

-- failures(5, 6) are errors of the items 5 and 6
CREATE FUNCTION life.failures(code text, VARIADIC index int[]) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT jsonb_agg(jsonb_build_object('index', i, 'taskIdentifier', 'task', 'error', 'no room', 'errorCode', code) ORDER BY o) FROM unnest(index) WITH ORDINALITY u(i, o) $$;

-- one batch for each case and store, with a run that has not ended
CREATE TABLE life.batches (n int, what text, id text);
DO $$
DECLARE
	c life.context;
	batch text; waitpoint text; run text;
BEGIN
	FOR c IN SELECT * FROM life.context ORDER BY n LOOP
		FOR i IN 1 .. 7 LOOP
			CALL life.create_batch(c.org, NULL, 10, batch, waitpoint);
			CALL life.trigger_run(c.org, run, batch => batch);
			INSERT INTO life.batches VALUES (c.n, (ARRAY['partial', 'rollback', 'retry', 'aggregate', 'aborted', 'ok', 'complete'])[i], batch);
			IF i = 7 THEN
				CALL life.finalize(run, 'COMPLETED_SUCCESSFULLY');
			END IF;
		END LOOP;
	END LOOP;
END
$$;
CREATE TABLE life.results (n int, what text, result text);
CREATE PROCEDURE life.complete(which text, successful int, failures jsonb) LANGUAGE plpgsql AS $$
DECLARE
	b life.batches;
	outcome text;
BEGIN
	FOR b IN SELECT * FROM life.batches x WHERE x.what = which ORDER BY x.n LOOP
		BEGIN
			CALL life.handle_batch_completion(b.id, successful, failures, outcome);
		EXCEPTION WHEN OTHERS THEN
			outcome := SQLSTATE;
		END;
		INSERT INTO life.results SELECT b.n, which, format('%s; is %s, errors %s', outcome, r.status,
			(SELECT string_agg(e.index || ' ' || e.error, ', ' ORDER BY e.index) FROM "BatchTaskRunError" e WHERE e."batchTaskRunId" = r.id))
		FROM "BatchTaskRun" r WHERE r.id = b.id;
	END LOOP;
END
$$;
CALL life.complete('partial', 9, life.failures('OTHER', 3));
-- an error row that cannot be inserted takes the status with it
CALL life.complete('rollback', 8, life.failures('OTHER', 1, 2) || jsonb '[{"index": 4, "taskIdentifier": "task"}]');
CALL life.complete('rollback', 9, jsonb_set(life.failures('OTHER', 1), '{0,taskIdentifier}', 'null'));
-- a retry adds nothing
CALL life.complete('retry', 8, life.failures('OTHER', 1, 2));
CALL life.complete('retry', 8, life.failures('OTHER', 1, 2));
-- a full queue is one row, also again
CALL life.complete('aggregate', 7, life.failures('QUEUE_SIZE_LIMIT_EXCEEDED', 5, 6, 7));
CALL life.complete('aggregate', 7, life.failures('QUEUE_SIZE_LIMIT_EXCEEDED', 5, 6, 7));
CALL life.complete('aborted', 0, life.failures('OTHER', 0, 1));
CALL life.complete('ok', 10, '[]');
CALL life.complete('complete', 10, '[]');
SELECT r1.what, r1.result, r1.result = r2.result AS same
FROM (SELECT *, row_number() OVER (ORDER BY ctid) k FROM life.results WHERE n = 1) r1
	FULL JOIN (SELECT *, row_number() OVER (ORDER BY ctid) k FROM life.results WHERE n = 2) r2 ON r1.k = r2.k AND r1.what = r2.what ORDER BY r1.k;

-- each batch is where its id says, with its errors, and nowhere else
SELECT what, b.n,
	(SELECT count(*) FROM runops_legacy."BatchTaskRun" l WHERE l.id = b.id AND l.status::text <> 'PROCESSING') AS legacy,
	(SELECT count(*) FROM runops_legacy."BatchTaskRunError" l WHERE l."batchTaskRunId" = b.id) AS errors,
	(SELECT r ->> 'count' FROM runops.remote_query('new', format('SELECT count(*) FROM public."BatchTaskRun" WHERE id = %L', b.id)) r) AS new,
	(SELECT r ->> 'count' FROM runops.remote_query('new', format('SELECT count(*) FROM public."BatchTaskRunError" WHERE "batchTaskRunId" = %L', b.id)) r) AS errors
FROM life.batches b ORDER BY what, n;

-- what asks which store: {LR} and {NR} are runs, {LB} and {NB} batches
SELECT max(id) FILTER (WHERE n = 1) AS "LB", max(id) FILTER (WHERE n = 2) AS "NB" FROM life.batches WHERE what = 'ok' \gset
SELECT max(id) FILTER (WHERE "batchId" = :'LB') AS "LR", max(id) FILTER (WHERE "batchId" = :'NB') AS "NR" FROM "TaskRun" \gset
SELECT max(env) FILTER (WHERE n = 1) AS "E1", max(env) FILTER (WHERE n = 2) AS "E2" FROM life.context \gset
CREATE TABLE life.ids AS SELECT * FROM (VALUES ('{LR}', :'LR'), ('{NR}', :'NR'), ('{LB}', :'LB'), ('{NB}', :'NB'), ('{E1}', :'E1'), ('{E2}', :'E2')) v(name, id);

-- run a statement; how many rows, and which stores are in its plan
CREATE FUNCTION life.did(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	i life.ids;
	line text;
	stores text[];
	n bigint;
BEGIN
	FOR i IN SELECT * FROM life.ids LOOP
		query := replace(query, i.name, i.id);
	END LOOP;
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
		stores := stores || ARRAY(SELECT m[1] FROM regexp_matches(line, '(?: on runops_|Sent to Store: )(legacy|new)\M', 'g') m);
	END LOOP;
	EXECUTE query;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN format('%s %s', n, (SELECT string_agg(DISTINCT u, ' and ') FROM unnest(stores) u));
END
$$;
UPDATE "TaskRun" SET "idempotencyKey" = 'key', "idempotencyKeyExpiresAt" = now() + interval '30 days' WHERE id IN (:'LR', :'NR');
UPDATE "BatchTaskRun" SET "idempotencyKey" = 'key' WHERE id IN (:'LB', :'NB');
SELECT life.did(q) AS rows, q AS query FROM unnest(ARRAY[
	-- a run by its id, its friendly id, and by something else
	$$SELECT FROM "TaskRun" WHERE id = '{LR}'$$,
	$$SELECT FROM "TaskRun" WHERE id = '{NR}'$$,
	$$SELECT FROM "TaskRun" WHERE "friendlyId" = 'run_{LR}' AND "runtimeEnvironmentId" = '{E1}'$$,
	$$SELECT FROM "TaskRun" WHERE "friendlyId" = 'run_{NR}' AND "runtimeEnvironmentId" = '{E2}'$$,
	$$SELECT FROM "TaskRun" WHERE "friendlyId" = 'run_{NR}' AND "runtimeEnvironmentId" = '{E1}'$$,
	$$SELECT FROM "TaskRun" WHERE "spanId" = left(md5('{NR}'), 16)$$,
	$$SELECT FROM "TaskRun" WHERE "idempotencyKey" = 'key'$$,
	-- sets of ids
	$$SELECT FROM "TaskRun" WHERE id IN ('{NR}', '{NB}')$$,
	$$SELECT FROM "TaskRun" WHERE id = ANY ('{{LR},{LB}}')$$,
	$$SELECT FROM "TaskRun" WHERE id IN ('{LR}', '{NR}', '{NR}')$$,
	$$SELECT FROM "TaskRun" WHERE id = ANY ('{}')$$,
	-- what belongs to a batch, by the batch
	$$SELECT FROM "BatchTaskRun" WHERE id = '{NB}'$$,
	$$SELECT FROM "BatchTaskRun" WHERE "friendlyId" = 'batch_{LB}'$$,
	$$SELECT FROM "BatchTaskRun" WHERE "runtimeEnvironmentId" = '{E2}' AND "idempotencyKey" = 'key'$$,
	$$SELECT FROM "BatchTaskRunItem" WHERE "batchTaskRunId" = '{NB}' AND status = 'PENDING'$$,
	$$SELECT FROM "TaskRun" WHERE "batchId" = '{LB}'$$,
	$$SELECT FROM "TaskRun" WHERE "batchId" = '{NB}' AND "runtimeEnvironmentId" = '{E2}'$$,
	-- what belongs to a run, by the run; waitpoints and edges by themselves
	$$SELECT FROM "TaskRunExecutionSnapshot" WHERE "runId" = '{NR}' AND "isValid" ORDER BY "createdAt" DESC LIMIT 1$$,
	$$SELECT FROM "TaskRunAttempt" WHERE "taskRunId" = '{LR}'$$,
	$$SELECT FROM "Waitpoint" WHERE "completedByTaskRunId" = '{NR}'$$,
	$$SELECT FROM "Waitpoint" WHERE "completedByBatchId" = '{NB}'$$,
	$$SELECT FROM "TaskRunWaitpoint" WHERE "taskRunId" = '{NR}'$$,
	$$SELECT FROM "TaskRunWaitpoint" WHERE "waitpointId" = '{NR}'$$,
	-- lifecycle writes by the run's id
	$$UPDATE "TaskRun" SET metadata = '{"a": 1}', "metadataVersion" = 2 WHERE id = '{LR}' AND "metadataVersion" = 1$$,
	$$UPDATE "TaskRun" SET metadata = '{"a": 1}', "metadataVersion" = 2 WHERE id = '{NR}' AND "metadataVersion" = 1$$,
	$$UPDATE "TaskRun" SET metadata = '{"b": 1}', "metadataVersion" = 2 WHERE id = '{NR}' AND "metadataVersion" = 1$$,
	$$UPDATE "TaskRun" SET "runTags" = "runTags" || '{x,y}' WHERE "friendlyId" = 'run_{NR}'$$,
	$$UPDATE "BatchTaskRunItem" SET status = 'COMPLETED' WHERE "batchTaskRunId" = '{NB}' AND "taskRunId" = '{NR}'$$,
	$$UPDATE "BatchTaskRunItem" SET status = 'PENDING' WHERE "batchTaskRunId" = '{NB}'$$,
	-- an idempotency key cleared by id, by friendly ids, and by predicate
	$$UPDATE "TaskRun" SET "idempotencyKey" = NULL, "idempotencyKeyExpiresAt" = NULL WHERE id = '{LR}' AND "idempotencyKey" = 'key'$$,
	$$UPDATE "TaskRun" SET "idempotencyKey" = 'key' WHERE id = '{LR}'$$,
	$$UPDATE "TaskRun" SET "idempotencyKey" = NULL WHERE "friendlyId" IN ('run_{LR}', 'run_{NR}')$$,
	$$UPDATE "TaskRun" SET "idempotencyKey" = 'key' WHERE id IN ('{LR}', '{NR}')$$,
	$$UPDATE "TaskRun" SET "idempotencyKey" = NULL, "idempotencyKeyExpiresAt" = NULL WHERE "taskIdentifier" = 'task' AND "idempotencyKey" = 'key'$$,
	$$UPDATE "TaskRun" SET "idempotencyKey" = 'key' WHERE id IN ('{LR}', '{NR}')$$,
	$$UPDATE "TaskRun" SET "idempotencyKey" = NULL WHERE "runtimeEnvironmentId" = '{E2}' AND "taskIdentifier" = 'task' AND "idempotencyKey" = 'key'$$,
	$$UPDATE "TaskRun" SET "expiredAt" = now() WHERE id = ANY ('{{LR},{NR},{NB}}')$$
]) WITH ORDINALITY u(q, o) ORDER BY o;

-- order and limit hold over both stores
UPDATE "TaskRun" SET "queuedAt" = NULL WHERE id = :'NR';
SELECT count(*), bool_and(sorted) AS sorted FROM (
	SELECT ("createdAt", id COLLATE "C") <= lag(("createdAt", id COLLATE "C")) OVER () IS NOT FALSE AS sorted
	FROM (SELECT * FROM "TaskRun" ORDER BY "createdAt" DESC, id COLLATE "C" DESC OFFSET 3 LIMIT 9) r) s;
SELECT id = :'NR' AS null_last FROM "TaskRun" ORDER BY "queuedAt" OFFSET 13;
SELECT count(*) FROM "Waitpoint" WHERE status = 'PENDING' AND id = ANY (ARRAY(SELECT id FROM "Waitpoint"));

-- a transaction reads what it has written, by whatever
BEGIN;
SELECT runops.mint_id('run', parent => :'NR') AS mine \gset
INSERT INTO "TaskRun" (id, "friendlyId", "taskIdentifier", payload, "runtimeEnvironmentId", "projectId", queue, "spanId", "traceId", "parentTaskRunId", "idempotencyKey")
SELECT :'mine', 'run_' || :'mine', 'task', '{}', env, project, 'q', 'mine', 'mine', :'NR', 'mine' FROM life.context WHERE n = 2;
SELECT (SELECT count(*) FROM "TaskRun" WHERE id = :'mine') AS id, (SELECT count(*) FROM "TaskRun" WHERE "friendlyId" = 'run_' || :'mine') AS friendly,
	(SELECT count(*) FROM "TaskRun" WHERE "spanId" = 'mine') AS span, (SELECT count(*) FROM "TaskRun" WHERE "parentTaskRunId" = :'NR') AS parent,
	(SELECT count(*) FROM "TaskRun" WHERE "idempotencyKey" = 'mine') AS key;
ROLLBACK;
SELECT count(*) FROM "TaskRun" WHERE id = :'mine';

-- the owner of a waitpoint: its run, else its batch, else what its id says
CREATE PROCEDURE life.waitpoint(id text, run text, batch text) LANGUAGE sql AS $$
	INSERT INTO "Waitpoint" (id, "friendlyId", type, "idempotencyKey", "userProvidedIdempotencyKey", "completedByTaskRunId", "completedByBatchId", "projectId", "environmentId")
	SELECT id, 'waitpoint_' || id, 'MANUAL', id, false, run, batch, project, env FROM life.context WHERE n = 1;
$$;
DELETE FROM "Waitpoint";
CALL life.waitpoint('cmcjssmao6dfcc016e6d94f41', :'NR', NULL);
CALL life.waitpoint('cmcjssmao6dfcc016e6d94f42', NULL, :'NB');
CALL life.waitpoint('cmcjssmao6dfcc016e6d94f43', NULL, NULL);
CALL life.waitpoint('cmcjssmao6dfcc016e6d94f44', :'LR', :'NB');
CALL life.waitpoint(runops.mint_id('waitpoint', parent => :'NR'), NULL, NULL);
SELECT length(id), "completedByTaskRunId" IS NOT NULL AS run, "completedByBatchId" IS NOT NULL AS batch, tableoid::regclass FROM "Waitpoint" ORDER BY 1, id COLLATE "C";

-- Two minted for one key, one for each store, would both be stored: the
-- unique index of a store knows that store.  A claim is what decides.
INSERT INTO "TaskRun" (id, "friendlyId", "taskIdentifier", payload, "runtimeEnvironmentId", "projectId", queue, "spanId", "traceId", "idempotencyKey")
SELECT id, 'run_' || id, 'task', '{}', env, project, 'q', 's', 't', 'twice'
FROM life.context, unnest(ARRAY[:'LR', :'NR']) p, LATERAL (SELECT runops.mint_id('run', parent => p) AS id OFFSET 0) m WHERE n = 1;
SELECT tableoid::regclass FROM "TaskRun" WHERE "idempotencyKey" = 'twice' ORDER BY 1;
SELECT claimed FROM unnest(ARRAY[:'LR', :'NR']) WITH ORDINALITY p(id, o), LATERAL runops.claim('env', 'once', id) ORDER BY o;

-- what pages show of a run: the control plane beside the run's store, which knows nothing of it
UPDATE "TaskRun" SET "lockedById" = task, "lockedToVersionId" = worker, "runTags" = '{x,y}' FROM life.context WHERE n = 2 AND id = :'NR';
UPDATE "TaskRun" SET "lockedById" = task, "lockedToVersionId" = worker, "runTags" = '{x,y}' FROM life.context WHERE n = 1 AND id = :'LR';
SELECT e.slug, o.title, p."externalRef", r."runTags", v.version, d.version AS deployment, w."filePath", r.tableoid::regclass
FROM "TaskRun" r JOIN "RuntimeEnvironment" e ON e.id = r."runtimeEnvironmentId" JOIN "Project" p ON p.id = e."projectId"
	JOIN "Organization" o ON o.id = p."organizationId" LEFT JOIN "BackgroundWorker" v ON v.id = r."lockedToVersionId"
	LEFT JOIN "BackgroundWorkerTask" w ON w.id = r."lockedById" LEFT JOIN "WorkerDeployment" d ON d."workerId" = w."workerId"
WHERE r."friendlyId" IN ('run_' || :'LR', 'run_' || :'NR') ORDER BY r.tableoid::regclass::text;
SELECT r."organizationId" = e."organizationId" AS organization FROM "TaskRun" r JOIN "RuntimeEnvironment" e ON e.id = r."runtimeEnvironmentId" WHERE r.id = :'NR';
SELECT r.* FROM runops.remote_query('new', $$SELECT to_regclass('public."RuntimeEnvironment"') IS NULL AND to_regclass('public."Organization"') IS NULL AS nothing$$) r;
SELECT count(*) FROM runops_legacy."TaskRun" WHERE id = :'NR';
SELECT * FROM runops.verify();

\connect contrib_regression
DROP DATABASE lifecycle_batches;
DROP DATABASE lifecycle_batches_store;
DROP ROLE run_ops_owner, run_ops_app, "Run Reader";
