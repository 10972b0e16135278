-- Run families: psql -v seed=1 -v kind=legacy -v families=20 -f families.sql, after rows.sql.
--
-- A family is five runs: a root, children under it, for every third family in
-- a batch, and all that hangs on them in the other 12 tables.  kind=legacy
-- gives every run and batch a cuid, kind=new an id of 26 characters (and needs the
-- extension); a family is in one store.  With kind=legacy everything is
-- computed from the seed.  A kind and seed can be used once in a database.

\set ON_ERROR_STOP on
\ir cuid.sql
SELECT :'kind' = 'new' AS is_new, hashtext(:'kind' || :seed) AS salt \gset

CREATE TEMP TABLE batch AS
	SELECT g, g::bigint AS n, pg_temp.cuid(:salt, 'batch', g) AS id
	FROM generate_series(1, :families) g
	WHERE g % 3 = 0;
CREATE TEMP TABLE run AS
	SELECT n, (n - 1) / 5 + 1 AS g, (n - 1) % 5 AS k, pg_temp.cuid(:salt, 'run', n) AS id
	FROM generate_series(1, :families * 5::bigint) n;
\if :is_new
UPDATE batch SET id = runops.gen_run_ops_id();
UPDATE run SET id = runops.gen_run_ops_id();
\endif

CREATE TEMP TABLE family AS
	SELECT r.n, r.g, r.k, r.id, root.id AS root, parent.id AS parent, b.id AS batch, (r.g - 1) % 12 + 1 AS e,
		pg_temp.cuid(:seed, 'env', (r.g - 1) % 12 + 1) AS env,
		pg_temp.cuid(:seed, 'project', (r.g - 1) % 12 / 2 + 1) AS project,
		pg_temp.cuid(:seed, 'org', (r.g - 1) % 12 / 4 + 1) AS org,
		pg_temp.cuid_time(r.n) AS created,
		'attempt_' || pg_temp.cuid(:salt, 'attempt', r.n) AS attempt
	FROM run r
		JOIN run root ON root.g = r.g AND root.k = 0
		LEFT JOIN run parent ON parent.g = r.g AND parent.k = CASE WHEN r.k = 4 THEN 3 WHEN r.k > 0 THEN 0 END
		LEFT JOIN batch b ON b.g = r.g AND r.k > 0;
CREATE INDEX ON family (n);
ANALYZE family;

BEGIN;
INSERT INTO "BatchTaskRun" (id, "friendlyId", "idempotencyKey", "runtimeEnvironmentId", status, "runCount",
							"expectedCount", "runIds", options, "createdAt")
	SELECT b.id, 'batch_' || b.id, CASE WHEN b.g % 2 = 0 THEN 'batch key ' || :salt || b.g END, f.env,
		(ARRAY['PENDING', 'COMPLETED', 'PARTIAL_FAILED'])[b.g % 3 + 1]::"BatchTaskRunStatus", 4, 4,
		(SELECT array_agg('run_' || m.id ORDER BY m.n) FROM family m WHERE m.batch = b.id), '{"order": "any"}', f.created
	FROM batch b JOIN family f ON f.g = b.g AND f.k = 0;

-- The friendly id of a V1 run does not carry its id; one such id in twenty, legacy only.
INSERT INTO "TaskRun" (id, "friendlyId", engine, status, "idempotencyKey", "taskIdentifier", payload, "traceContext",
					   "runtimeEnvironmentId", "environmentType", "projectId", "organizationId", queue, "lockedQueueId",
					   "createdAt", "runTags", "lockedById", "lockedToVersionId", "usageDurationMs", "delayUntil",
					   "oneTimeUseToken", "scheduleId", "rootTaskRunId", "parentTaskRunId", "batchId", depth,
					   "parentSpanId", "spanId", "traceId", metadata, annotations, output, error, "planType",
					   "Customer's ""Note""")
	SELECT f.id, 'run_' || CASE WHEN f.n % 20 = 7 AND NOT :'is_new' THEN left(md5(f.id), 21) ELSE f.id END,
		CASE WHEN f.n % 20 = 7 AND NOT :'is_new' THEN 'V1' ELSE 'V2' END::"RunEngineVersion",
		(enum_range(NULL::"TaskRunStatus"))[f.n % 17 + 1], CASE WHEN f.n % 2 = 0 THEN 'key ' || :salt || ' ' || f.n END,
		'task-' || f.e, repeat('{"n": ' || f.n || '}', (f.n % 7 + 1)::integer),
		jsonb_build_object('traceparent', md5('trace' || f.g)), f.env,
		(ARRAY['PRODUCTION', 'DEVELOPMENT'])[(f.e - 1) % 2 + 1]::"RuntimeEnvironmentType", f.project, f.org,
		'task/task-' || f.e, pg_temp.cuid(:seed, 'queue', f.e), f.created, ARRAY['tag-' || f.n % 11, 'tag-' || f.n % 3],
		CASE WHEN f.n % 4 = 0 THEN pg_temp.cuid(:seed, 'task', f.e) END,
		CASE WHEN f.n % 4 = 0 THEN pg_temp.cuid(:seed, 'worker', f.e) END,
		(f.n * 7919 % 60000)::integer, CASE WHEN f.n % 17 = 0 THEN f.created + interval '1 hour' END,
		CASE WHEN f.n % 9 = 0 THEN md5(:salt || 'token' || f.n) END,
		CASE WHEN f.k = 0 AND f.g % 4 = 0 THEN pg_temp.cuid(:seed, 'schedule', (f.e - 1) / 2 + 1) END,
		f.root, f.parent, f.batch, CASE f.k WHEN 0 THEN 0 WHEN 4 THEN 2 ELSE 1 END,
		CASE WHEN f.k > 0 THEN left(md5('span' || f.n - 1), 16) END, left(md5('span' || f.n), 16), md5('trace' || f.g),
		CASE WHEN f.n % 5 = 0 THEN '{}' END, jsonb_build_object('n', f.n, 'family', f.g),
		CASE WHEN f.n % 3 = 0 THEN '"done"' END, CASE WHEN f.n % 13 = 0 THEN '{"type": "STRING_ERROR"}'::jsonb END,
		(ARRAY['free', 'pro', NULL])[f.n % 3 + 1], CASE WHEN f.n % 6 = 0 THEN 'note ''' || f.n || '"' END
	FROM family f
	ORDER BY f.n;

INSERT INTO "TaskRunAttempt" (id, number, "friendlyId", "taskRunId", "backgroundWorkerId", "backgroundWorkerTaskId",
							  "runtimeEnvironmentId", "queueId", status, error, "createdAt")
	SELECT substr(f.attempt, 9), 1, f.attempt, f.id, pg_temp.cuid(:seed, 'worker', f.e),
		pg_temp.cuid(:seed, 'task', f.e), f.env, pg_temp.cuid(:seed, 'queue', f.e),
		(enum_range(NULL::"TaskRunAttemptStatus"))[f.n % 6 + 1], CASE WHEN f.n % 13 = 0 THEN '{}'::jsonb END, f.created
	FROM family f;

-- What closes the circles: the first attempt of a parent, and of the run that waits for a batch.
UPDATE "TaskRun" t SET "parentTaskRunAttemptId" = substr(p.attempt, 9)
	FROM family f JOIN family p ON p.id = f.parent
	WHERE t.id = f.id AND f.n % 2 = 0;
UPDATE "BatchTaskRun" t SET "dependentTaskAttemptId" = substr(f.attempt, 9)
	FROM batch b JOIN family f ON f.g = b.g AND f.k = 0
	WHERE t.id = b.id;

INSERT INTO "BatchTaskRunItem" (id, status, "batchTaskRunId", "taskRunId", "taskRunAttemptId", "createdAt")
	SELECT pg_temp.cuid(:salt, 'item', f.n), (enum_range(NULL::"BatchTaskRunItemStatus"))[f.n % 4 + 1], f.batch, f.id,
		CASE WHEN f.n % 2 = 0 THEN substr(f.attempt, 9) END, f.created
	FROM family f
	WHERE f.batch IS NOT NULL;
INSERT INTO "BatchTaskRunError" ("batchTaskRunId", index, "taskIdentifier", error, "errorCode", "createdAt")
	SELECT f.batch, f.k, 'task-' || f.e, 'queue is full', 'QUEUE_SIZE_LIMIT_EXCEEDED', f.created
	FROM family f
	WHERE f.batch IS NOT NULL AND f.g % 6 = 0;

INSERT INTO "Run Ops"."TaskRunCheckpoint" (id, "friendlyId", type, location, "taskRunId", "projectId",
											"runtimeEnvironmentId", "createdAt")
	SELECT pg_temp.cuid(:salt, 'run checkpoint', f.n), 'checkpoint_' || pg_temp.cuid(:salt, 'run checkpoint', f.n),
		'KUBERNETES', 's3://checkpoints/' || f.n, f.id, f.project, f.env, f.created
	FROM family f
	WHERE f.n % 10 = 1;
INSERT INTO "TaskRunExecutionSnapshot" (id, "executionStatus", description, "runId", "runStatus", "batchId",
										"environmentId", "projectId", "organizationId", "checkpointId",
										"completedWaitpointOrder", "createdAt")
	SELECT pg_temp.cuid(:salt, 'snapshot', f.n * 2 + s), (ARRAY['RUN_CREATED', 'EXECUTING'])[s + 1]::"TaskRunExecutionStatus",
		'step ' || s, f.id, 'EXECUTING', f.batch, f.env, f.project, f.org,
		CASE WHEN f.n % 10 = 1 AND s = 1 THEN pg_temp.cuid(:salt, 'run checkpoint', f.n) END,
		CASE WHEN s = 1 THEN ARRAY[pg_temp.cuid(:salt, 'waitpoint', f.n)] ELSE '{}' END, f.created + s * interval '1 s'
	FROM family f, generate_series(0, 1) s;

INSERT INTO "Checkpoint" (id, "friendlyId", type, location, "imageRef", "runId", "attemptId", "projectId", "createdAt")
	SELECT pg_temp.cuid(:salt, 'checkpoint', f.n), 'checkpoint_' || pg_temp.cuid(:salt, 'checkpoint', f.n), 'DOCKER',
		'/checkpoints/' || f.n, 'image:' || f.n, f.id, substr(f.attempt, 9), f.project, f.created
	FROM family f
	WHERE f.n % 8 = 0;
INSERT INTO "CheckpointRestoreEvent" (id, type, "checkpointId", "runId", "attemptId", "createdAt")
	SELECT pg_temp.cuid(:salt, 'restore', f.n), 'RESTORE', pg_temp.cuid(:salt, 'checkpoint', f.n), f.id,
		substr(f.attempt, 9), f.created
	FROM family f
	WHERE f.n % 8 = 0;

-- A waitpoint belongs to a run, or to a batch, or (legacy only: its id is a cuid) to nobody.
INSERT INTO "Waitpoint" (id, "friendlyId", type, status, "idempotencyKey", "userProvidedIdempotencyKey",
						 "completedByTaskRunId", "projectId", "environmentId", tags, "createdAt")
	SELECT pg_temp.cuid(:salt, 'waitpoint', f.n), 'waitpoint_' || pg_temp.cuid(:salt, 'waitpoint', f.n), 'RUN',
		(ARRAY['PENDING', 'COMPLETED'])[f.n % 2 + 1]::"WaitpointStatus", md5(:salt || 'run' || f.n), false, f.id, f.project, f.env,
		ARRAY['run'], f.created
	FROM family f
	WHERE f.k > 0;
INSERT INTO "Waitpoint" (id, "friendlyId", type, "idempotencyKey", "userProvidedIdempotencyKey",
						 "completedByBatchId", "projectId", "environmentId", "createdAt")
	SELECT pg_temp.cuid(:salt, 'batch waitpoint', b.g), 'waitpoint_' || pg_temp.cuid(:salt, 'batch waitpoint', b.g), 'BATCH',
		md5(:salt || 'batch' || b.g), false, b.id, f.project, f.env, f.created
	FROM batch b JOIN family f ON f.g = b.g AND f.k = 0;
\if :is_new
\else
INSERT INTO "Waitpoint" (id, "friendlyId", type, "idempotencyKey", "userProvidedIdempotencyKey", "projectId",
						 "environmentId", "createdAt")
	SELECT pg_temp.cuid(:salt, 'token', f.n), 'waitpoint_' || pg_temp.cuid(:salt, 'token', f.n), 'MANUAL',
		'user key ' || :salt || ' ' || f.n, true, f.project, f.env, f.created
	FROM family f
	WHERE f.k = 0;
\endif
INSERT INTO "TaskRunWaitpoint" ("taskRunId", "waitpointId", "projectId", "batchId", "batchIndex", "createdAt")
	SELECT f.root, pg_temp.cuid(:salt, 'waitpoint', f.n), f.project, f.batch,
		CASE WHEN f.batch IS NOT NULL THEN f.k END, f.created
	FROM family f
	WHERE f.k > 0 AND f.n % 2 = 0;
INSERT INTO "WaitpointRunConnection" ("taskRunId", "waitpointId")
	SELECT f.root, pg_temp.cuid(:salt, 'waitpoint', f.n)
	FROM family f
	WHERE f.k > 0;
INSERT INTO "CompletedWaitpoint" ("runId", "snapshotId", "waitpointId")
	SELECT f.id, pg_temp.cuid(:salt, 'snapshot', f.n * 2 + 1), pg_temp.cuid(:salt, 'waitpoint', f.n)
	FROM family f
	WHERE f.k > 0 AND f.n % 2 = 1;
INSERT INTO "TaskRunDependency" (id, "taskRunId", "checkpointEventId", "dependentAttemptId", "dependentBatchRunId")
	SELECT pg_temp.cuid(:salt, 'dependency', f.n), f.id, CASE WHEN f.n % 8 = 0 THEN pg_temp.cuid(:salt, 'restore', f.n) END,
		substr(p.attempt, 9), f.batch
	FROM family f JOIN family p ON p.id = f.parent
	WHERE f.n % 4 = 0;
COMMIT;

-- What the control plane keeps of runs has real foreign keys, so it can point at legacy runs only.
\if :is_new
\else
INSERT INTO "ProjectAlert" (id, "friendlyId", "projectId", "environmentId", "taskRunId", "taskRunAttemptId")
	SELECT pg_temp.cuid(:salt, 'alert', f.n), 'alert_' || pg_temp.cuid(:salt, 'alert', f.n), f.project, f.env, f.id,
		substr(f.attempt, 9)
	FROM family f
	WHERE f.n % 15 = 0;
INSERT INTO "BulkActionItem" (id, "groupId", type, "sourceRunId", "destinationRunId")
	SELECT pg_temp.cuid(:salt, 'bulk', f.n), 'bulk-' || f.g, 'REPLAY', f.id, f.root
	FROM family f
	WHERE f.n % 12 = 0;
INSERT INTO "PlaygroundConversation" (id, "runId")
	SELECT pg_temp.cuid(:salt, 'playground', f.n), f.id FROM family f WHERE f.n % 25 = 0;
INSERT INTO "Session" (id, "friendlyId", "externalId", "runtimeEnvironmentId", "currentRunId")
	SELECT pg_temp.cuid(:salt, 'session', f.n), 'session_' || pg_temp.cuid(:salt, 'session', f.n), 'ext-' || :salt || f.n, f.env, f.id
	FROM family f
	WHERE f.n % 10 = 0;
INSERT INTO "SessionRun" (id, "sessionId", "runId")
	SELECT pg_temp.cuid(:salt, 'session run', f.n), pg_temp.cuid(:salt, 'session', f.n), f.id FROM family f WHERE f.n % 10 = 0;
INSERT INTO "_TaskRunToTaskRunTag" ("A", "B")
	SELECT f.id, pg_temp.cuid(:seed, 'tag', (f.e - 1) / 2 + 1) FROM family f WHERE f.n % 3 = 0;
INSERT INTO "_WaitpointRunConnections" ("A", "B")
	SELECT f.root, pg_temp.cuid(:salt, 'waitpoint', f.n) FROM family f WHERE f.k > 0;
INSERT INTO "_completedWaitpoints" ("A", "B")
	SELECT pg_temp.cuid(:salt, 'snapshot', f.n * 2), pg_temp.cuid(:salt, 'waitpoint', f.n) FROM family f WHERE f.k = 4;
\endif

DROP TABLE family, run, batch;
