-- what the tests of the life cycle share: a database of its own (variable
-- "db") with the schema of test/schema, routed over a store in a second one, and
-- the life of a run as procedures over the routed names
--
-- Each step of an application's is one transaction.  An UPDATE by id that does
-- not report one row is an error: the application takes it for a lost run.

\set ECHO none
\set store :db '_store'
SET client_min_messages = error;
CREATE DATABASE :db;
CREATE DATABASE :store;
\connect :db
SET client_min_messages = error;
CREATE EXTENSION runops CASCADE;
SELECT format('CREATE SERVER run_ops FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
	current_setting('unix_socket_directories'), current_setting('port'), :'store') AS ddl \gset
:ddl;
CREATE USER MAPPING FOR CURRENT_USER SERVER run_ops;
SELECT runops.add_store('new', 'run_ops') \gset
\set seed 1
\set dir :srcdir '/test/schema/'
\set file :dir control_plane.sql
\i :file
-- the owner of the tables is who reaches the store for what is set up
CREATE USER MAPPING FOR run_ops_owner SERVER run_ops OPTIONS (password_required 'false');
\set file :dir run_ops.sql
\i :file
\set file :dir rows.sql
\i :file
\set file :dir attach.sql
\set ON_ERROR_STOP off
SET client_min_messages = error;
\o /dev/null
\i :file
SELECT runops.add_idempotency('"TaskRun"', '{runtimeEnvironmentId,taskIdentifier,idempotencyKey}', 'idempotencyKeyExpiresAt',
	$$status IN ('SYSTEM_FAILURE', 'EXPIRED')$$);
SELECT count(*) FROM runops.provision('new');
SELECT runops.add_anchor('"TaskRun"', 'id', 'parentTaskRunAttemptId'), runops.add_anchor('"BatchTaskRun"', 'id', 'dependentTaskAttemptId'),
	runops.add_anchor('"TaskRunAttempt"', 'taskRunId', 'id'), runops.add_anchor('"Checkpoint"', 'runId', 'attemptId'),
	runops.add_anchor('"CheckpointRestoreEvent"', 'runId', 'attemptId'), runops.add_anchor('"TaskRunDependency"', 'taskRunId', 'dependentAttemptId'),
	runops.add_anchor('"TaskRunExecutionSnapshot"', 'runId', 'checkpointId'), runops.add_anchor('"CompletedWaitpoint"', 'runId', 'snapshotId');
SELECT runops.add_reference('"TaskRunWaitpoint"', 'waitpointId', '"Waitpoint"');
\o
SET client_min_messages = warning;
CREATE SCHEMA life;

-- where the runs of an organization belong
CREATE TABLE life.context AS
SELECT o.n, pg_temp.cuid(1, 'org', o.n) AS org, pg_temp.cuid(1, 'env', e) AS env, pg_temp.cuid(1, 'project', (e - 1) / 2 + 1) AS project,
	pg_temp.cuid(1, 'worker', e) AS worker, pg_temp.cuid(1, 'task', e) AS task, pg_temp.cuid(1, 'queue', e) AS queue
FROM generate_series(1, 2) o(n), LATERAL (SELECT o.n * 4 - 3) x(e);

-- one row, or the run is lost
CREATE TABLE life.updates (step text, count bigint);
CREATE PROCEDURE life.one(step text, n bigint) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO life.updates VALUES (step, n);
	IF n <> 1 THEN
		RAISE EXCEPTION '% updated % rows', step, n;
	END IF;
END
$$;

CREATE FUNCTION life.snapshot(run text, execution text, description text, checkpoint text DEFAULT NULL, waitpoints text[] DEFAULT '{}') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	snapshot text := runops.mint_id('snapshot', parent => run);
BEGIN
	INSERT INTO "TaskRunExecutionSnapshot" (id, "executionStatus", description, "runId", "runStatus", "batchId", "environmentId", "projectId",
											"organizationId", "checkpointId", "completedWaitpointOrder", "previousSnapshotId", "createdAt")
	SELECT snapshot, execution::"TaskRunExecutionStatus", description, r.id, r.status, r."batchId", r."runtimeEnvironmentId", r."projectId",
		r."organizationId", checkpoint, waitpoints,
		(SELECT s.id FROM "TaskRunExecutionSnapshot" s WHERE s."runId" = r.id AND s."isValid" ORDER BY s."createdAt" DESC, s.id DESC LIMIT 1),
		clock_timestamp()
	FROM "TaskRun" r WHERE r.id = run;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no run %', run;
	END IF;
	RETURN snapshot;
END
$$;

/*
 * Trigger a run.  The id of a child is its parent's shape, of a batch's child the
 * batch's; who has the idempotency key gets the run that it stands for.
 */
CREATE PROCEDURE life.trigger_run(org text, INOUT run text, parent text DEFAULT NULL, batch text DEFAULT NULL, batch_index int DEFAULT NULL,
								  status text DEFAULT 'PENDING', key text DEFAULT NULL, delay interval DEFAULT NULL, ttl text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	c life.context;
	whole_key jsonb;
	claimed boolean;
BEGIN
	SELECT * INTO STRICT c FROM life.context x WHERE x.org = trigger_run.org;
	IF key IS NOT NULL THEN
		whole_key := jsonb_build_object('runtimeEnvironmentId', c.env, 'taskIdentifier', 'task', 'idempotencyKey', key);
		SELECT f.id INTO run FROM runops.find_idempotent('"TaskRun"', whole_key, org, parent) f WHERE f.outcome = 'hit';
		IF FOUND THEN
			RETURN;
		END IF;
	END IF;
	run := runops.mint_id('run', org => org, parent => coalesce(batch, parent));
	IF key IS NOT NULL THEN
		SELECT l.claimed, l.id INTO claimed, run FROM runops.claim('idempotency:public."TaskRun"', whole_key::text, run) l;
		IF NOT claimed THEN
			RETURN;
		END IF;
	END IF;
	INSERT INTO "TaskRun" (id, "friendlyId", status, "taskIdentifier", payload, "runtimeEnvironmentId", "projectId", "organizationId", queue,
						   "parentTaskRunId", "rootTaskRunId", depth, "batchId", "idempotencyKey", "delayUntil", ttl, "spanId", "traceId",
						   "resumeParentOnCompletion", "queuedAt")
	VALUES (run, runops.to_friendly_id('run', run), status::"TaskRunStatus", 'task', '{}', c.env, c.project, c.org, 'task/task',
			parent, coalesce((SELECT p."rootTaskRunId" FROM "TaskRun" p WHERE p.id = parent), parent, run),
			coalesce((SELECT p.depth + 1 FROM "TaskRun" p WHERE p.id = parent), 0), batch, key, clock_timestamp() + delay, ttl,
			left(md5(run), 16), md5(run), parent IS NOT NULL, CASE status WHEN 'PENDING' THEN clock_timestamp() END);
	PERFORM life.snapshot(run, CASE status WHEN 'PENDING' THEN 'QUEUED' ELSE 'RUN_CREATED' END, 'triggered');
	IF parent IS NOT NULL THEN
		INSERT INTO "Waitpoint" (id, "friendlyId", type, "idempotencyKey", "userProvidedIdempotencyKey", "completedByTaskRunId", "projectId", "environmentId")
		SELECT w, runops.to_friendly_id('waitpoint', w), 'RUN', run, false, run, c.project, c.env
		FROM runops.mint_id('waitpoint', parent => run) w;
	END IF;
	IF batch IS NOT NULL THEN
		INSERT INTO "BatchTaskRunItem" (id, "batchTaskRunId", "taskRunId") VALUES (runops.mint_id('item', parent => batch), batch, run);
	END IF;
END
$$;

-- a run that could not be triggered is one that has failed
CREATE PROCEDURE life.trigger_failed(org text, parent text, INOUT run text) LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	CALL life.trigger_run(org, run, parent => parent, status => 'SYSTEM_FAILURE');
	UPDATE "TaskRun" SET error = '{"type": "INTERNAL_ERROR"}', "completedAt" = clock_timestamp() WHERE id = run;
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('failed-task trigger', n);
	PERFORM life.snapshot(run, 'FINISHED', 'failed before it began');
	CALL life.complete_run_waitpoint(run, true);
END
$$;

CREATE PROCEDURE life.start_attempt(run text, INOUT attempt text) LANGUAGE plpgsql AS $$
DECLARE
	c life.context;
	n bigint;
BEGIN
	SELECT x.* INTO STRICT c FROM life.context x JOIN "TaskRun" r ON r."organizationId" = x.org WHERE r.id = run;
	UPDATE "TaskRun" SET status = 'EXECUTING', "attemptNumber" = coalesce("attemptNumber", 0) + 1, "lockedAt" = clock_timestamp(),
		"lockedById" = c.task, "lockedToVersionId" = c.worker, "lockedQueueId" = c.queue, "startedAt" = coalesce("startedAt", clock_timestamp())
	WHERE id = run AND status IN ('PENDING', 'DEQUEUED');
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('start attempt', n);
	attempt := runops.mint_id('attempt', parent => run);
	INSERT INTO "TaskRunAttempt" (id, "friendlyId", number, "taskRunId", "backgroundWorkerId", "backgroundWorkerTaskId", "runtimeEnvironmentId", "queueId", status)
	SELECT attempt, runops.to_friendly_id('attempt', attempt), r."attemptNumber", r.id, c.worker, c.task, c.env, c.queue, 'EXECUTING'
	FROM "TaskRun" r WHERE r.id = run;
	PERFORM life.snapshot(run, 'EXECUTING', 'attempt started');
END
$$;

-- suspend a run, by both generations of checkpoints
CREATE PROCEDURE life.checkpoint(run text, attempt text) LANGUAGE plpgsql AS $$
DECLARE
	id2 text := runops.mint_id('checkpoint', parent => run);
	id1 text := runops.mint_id('checkpoint', parent => run);
	n bigint;
BEGIN
	INSERT INTO "Run Ops"."TaskRunCheckpoint" (id, "friendlyId", type, location, "taskRunId", "projectId", "runtimeEnvironmentId")
	SELECT id2, runops.to_friendly_id('checkpoint', id2), 'KUBERNETES', 's3://' || id2, r.id, r."projectId", r."runtimeEnvironmentId"
	FROM "TaskRun" r WHERE r.id = run;
	INSERT INTO "Checkpoint" (id, "friendlyId", type, location, "imageRef", "runId", "attemptId", "projectId")
	SELECT id1, runops.to_friendly_id('checkpoint', id1), 'DOCKER', '/' || id1, 'image', r.id, attempt, r."projectId"
	FROM "TaskRun" r WHERE r.id = run;
	INSERT INTO "CheckpointRestoreEvent" (id, type, "checkpointId", "runId", "attemptId")
	VALUES (runops.mint_id('restore', parent => run), 'CHECKPOINT', id1, run, attempt);
	UPDATE "TaskRunAttempt" SET status = 'PAUSED' WHERE id = attempt AND "taskRunId" = run;
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('pause attempt', n);
	UPDATE "TaskRun" SET status = 'WAITING_TO_RESUME' WHERE id = run AND status = 'EXECUTING';
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('suspend', n);
	PERFORM life.snapshot(run, 'SUSPENDED', 'checkpoint', id2);
END
$$;

CREATE PROCEDURE life.restore(run text) LANGUAGE plpgsql AS $$
DECLARE
	attempt text;
	n bigint;
BEGIN
	INSERT INTO "CheckpointRestoreEvent" (id, type, "checkpointId", "runId", "attemptId")
	SELECT runops.mint_id('restore', parent => run), 'RESTORE', c.id, run, c."attemptId"
	FROM "Checkpoint" c WHERE c."runId" = run ORDER BY c."createdAt" DESC LIMIT 1
	RETURNING "attemptId" INTO STRICT attempt;
	UPDATE "TaskRunAttempt" SET status = 'EXECUTING' WHERE id = attempt AND "taskRunId" = run;
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('restore attempt', n);
END
$$;

/*
 * Block a run by waitpoints, wherever they are.  The edges lie with the run; they
 * are made of the ids alone, so what is pending is counted by a statement of its
 * own, which sees what was completed meanwhile.
 */
CREATE PROCEDURE life.block(run text, waitpoints text[], batch text DEFAULT NULL, INOUT pending bigint DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	WITH edge AS (
		INSERT INTO "TaskRunWaitpoint" (id, "taskRunId", "waitpointId", "projectId", "batchId")
		SELECT runops.mint_id('edge', parent => run), run, w, (SELECT r."projectId" FROM "TaskRun" r WHERE r.id = run), batch FROM unnest(waitpoints) w
		ON CONFLICT DO NOTHING RETURNING "waitpointId")
	INSERT INTO "WaitpointRunConnection" ("taskRunId", "waitpointId")
	SELECT run, w FROM unnest(waitpoints) w ON CONFLICT DO NOTHING;
	SELECT count(*) FILTER (WHERE status = 'PENDING'), count(*) INTO pending, n FROM "Waitpoint" WHERE id = ANY (waitpoints);
	IF n <> (SELECT count(DISTINCT w) FROM unnest(waitpoints) w) THEN
		RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = 'no store holds a waitpoint that blocks run ' || run;
	END IF;
	IF pending > 0 THEN
		UPDATE "TaskRun" SET status = 'WAITING_TO_RESUME' WHERE id = run AND status IN ('EXECUTING', 'WAITING_TO_RESUME');
		GET DIAGNOSTICS n = ROW_COUNT;
		CALL life.one('block', n);
		PERFORM life.snapshot(run, 'EXECUTING_WITH_WAITPOINTS', 'blocked');
	END IF;
END
$$;

-- complete a waitpoint that is known by its id, in the store where that has to
-- happen, and say whom it may have blocked
CREATE PROCEDURE life.complete_waitpoint(waitpoint text, route text, output text, INOUT blocked text[]) LANGUAGE plpgsql AS $$
DECLARE
	decided text := (runops.completion_store(waitpoint, route)).store;
	leaf regclass;
	n bigint;
BEGIN
	UPDATE "Waitpoint" SET status = 'COMPLETED', "completedAt" = clock_timestamp(), output = complete_waitpoint.output
	WHERE id = waitpoint AND status = 'PENDING' RETURNING tableoid INTO leaf;
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('complete waitpoint in ' || decided, n);
	IF leaf::text NOT LIKE format('runops\_%s.%%', decided) THEN
		RAISE EXCEPTION 'waitpoint % lies in %, and not in store %', waitpoint, leaf, decided;
	END IF;
	blocked := ARRAY(SELECT e."taskRunId" FROM "TaskRunWaitpoint" e WHERE e."waitpointId" = waitpoint ORDER BY 1);
END
$$;

-- the same for the waitpoint of a run
CREATE PROCEDURE life.complete_run_waitpoint(run text, failed boolean) LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	IF EXISTS (SELECT FROM "TaskRun" WHERE id = run AND "parentTaskRunId" IS NOT NULL) THEN
		UPDATE "Waitpoint" SET status = 'COMPLETED', "completedAt" = clock_timestamp(), "outputIsError" = failed
		WHERE "completedByTaskRunId" = run AND status = 'PENDING';
		GET DIAGNOSTICS n = ROW_COUNT;
		CALL life.one('complete the waitpoint of a run', n);
	END IF;
END
$$;

-- resume a run once nothing blocks it
CREATE PROCEDURE life.continue_if_unblocked(run text, INOUT resumed boolean) LANGUAGE plpgsql AS $$
DECLARE
	done text[];
	snapshot text;
	n bigint;
BEGIN
	SELECT array_agg(w.id ORDER BY w."completedAt", w.id), count(*) FILTER (WHERE w.status IS DISTINCT FROM 'COMPLETED') INTO done, n
	FROM "TaskRunWaitpoint" e LEFT JOIN "Waitpoint" w ON w.id = e."waitpointId" WHERE e."taskRunId" = run;
	resumed := n = 0 AND done IS NOT NULL;
	IF NOT resumed THEN
		RETURN;
	END IF;
	DELETE FROM "TaskRunWaitpoint" WHERE "taskRunId" = run;
	UPDATE "TaskRun" SET status = 'EXECUTING' WHERE id = run AND status = 'WAITING_TO_RESUME';
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('resume', n);
	snapshot := life.snapshot(run, 'EXECUTING', 'resumed', NULL, done);
	INSERT INTO "CompletedWaitpoint" ("runId", "snapshotId", "waitpointId") SELECT run, snapshot, w FROM unnest(done) w;
END
$$;

-- the end of a run: its attempt, its waitpoint, its item in a batch
CREATE PROCEDURE life.finalize(run text, outcome text, output text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	failed CONSTANT boolean := outcome <> 'COMPLETED_SUCCESSFULLY';
	batch text;
	n bigint;
BEGIN
	UPDATE "TaskRun" r SET status = outcome::"TaskRunStatus", output = finalize.output, "completedAt" = clock_timestamp(),
		"expiredAt" = CASE outcome WHEN 'EXPIRED' THEN clock_timestamp() END, error = CASE WHEN failed THEN jsonb_build_object('type', outcome) END
	WHERE id = run AND r.status IN ('PENDING', 'EXECUTING', 'WAITING_TO_RESUME', 'DELAYED', 'PENDING_VERSION')
	RETURNING "batchId" INTO batch;
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('finalize', n);
	UPDATE "TaskRunAttempt" SET status = (CASE WHEN outcome = 'CANCELED' THEN 'CANCELED' WHEN failed THEN 'FAILED' ELSE 'COMPLETED' END)::"TaskRunAttemptStatus",
		"completedAt" = clock_timestamp()
	WHERE "taskRunId" = run AND status IN ('EXECUTING', 'PAUSED');
	PERFORM life.snapshot(run, 'FINISHED', 'finalized');
	CALL life.complete_run_waitpoint(run, failed);
	IF batch IS NOT NULL THEN
		UPDATE "BatchTaskRunItem" SET status = (CASE WHEN outcome = 'CANCELED' THEN 'CANCELED' WHEN failed THEN 'FAILED' ELSE 'COMPLETED' END)::"BatchTaskRunItemStatus",
			"completedAt" = clock_timestamp()
		WHERE "batchTaskRunId" = batch AND "taskRunId" = run AND status = 'PENDING';
		GET DIAGNOSTICS n = ROW_COUNT;
		CALL life.one('complete item', n);
		UPDATE "BatchTaskRun" SET "completedCount" = "completedCount" + 1 WHERE id = batch;
		GET DIAGNOSTICS n = ROW_COUNT;
		CALL life.one('count item', n);
	END IF;
END
$$;

-- cancel a run and what it has triggered
CREATE PROCEDURE life.cancel(run text, INOUT canceled text[]) LANGUAGE plpgsql AS $$
DECLARE
	id text;
BEGIN
	WITH RECURSIVE tree AS (
		SELECT r.id, r.status FROM "TaskRun" r WHERE r.id = cancel.run
		UNION ALL
		SELECT c.id, c.status FROM tree t JOIN "TaskRun" c ON c."parentTaskRunId" = t.id)
	SELECT array_agg(t.id) INTO canceled FROM tree t WHERE t.status IN ('PENDING', 'EXECUTING', 'WAITING_TO_RESUME', 'DELAYED', 'PENDING_VERSION');
	FOREACH id IN ARRAY canceled LOOP
		CALL life.finalize(id, 'CANCELED');
	END LOOP;
END
$$;

-- what was to wait is due
CREATE PROCEDURE life.enqueue_delayed(run text) LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	UPDATE "TaskRun" SET status = 'PENDING', "queuedAt" = clock_timestamp() WHERE id = run AND status = 'DELAYED' AND "delayUntil" <= clock_timestamp();
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('delayed enqueue', n);
	PERFORM life.snapshot(run, 'QUEUED', 'delay is over');
END
$$;

-- a deployment has what runs of an environment have waited for
CREATE PROCEDURE life.deployed(env text, INOUT runs text[]) LANGUAGE plpgsql AS $$
DECLARE
	run text;
	n bigint;
BEGIN
	runs := ARRAY(SELECT r.id FROM "TaskRun" r WHERE r."runtimeEnvironmentId" = env AND r.status = 'PENDING_VERSION' ORDER BY r."createdAt", r.id);
	FOREACH run IN ARRAY runs LOOP
		UPDATE "TaskRun" r SET status = 'PENDING', "queuedAt" = clock_timestamp() WHERE r.id = run AND r.status = 'PENDING_VERSION';
		GET DIAGNOSTICS n = ROW_COUNT;
		CALL life.one('deployed', n);
		PERFORM life.snapshot(run, 'QUEUED', 'deployed');
	END LOOP;
END
$$;

-- a batch, its waitpoint, and the run that waits for it
CREATE PROCEDURE life.create_batch(org text, parent text, size int, INOUT batch text, INOUT waitpoint text) LANGUAGE plpgsql AS $$
DECLARE
	c life.context;
BEGIN
	SELECT * INTO STRICT c FROM life.context x WHERE x.org = create_batch.org;
	batch := runops.mint_batch_id(org, parent);
	waitpoint := runops.mint_id('waitpoint', parent => batch);
	INSERT INTO "BatchTaskRun" (id, "friendlyId", "runtimeEnvironmentId", "runCount", "expectedCount")
	VALUES (batch, runops.to_friendly_id('batch', batch), c.env, size, size);
	INSERT INTO "Waitpoint" (id, "friendlyId", type, "idempotencyKey", "userProvidedIdempotencyKey", "completedByBatchId", "projectId", "environmentId")
	VALUES (waitpoint, runops.to_friendly_id('waitpoint', waitpoint), 'BATCH', batch, false, batch, c.project, c.env);
END
$$;

CREATE PROCEDURE life.seal_batch(batch text) LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	UPDATE "BatchTaskRun" SET sealed = true, "sealedAt" = clock_timestamp(), status = 'PROCESSING',
		"runIds" = ARRAY(SELECT r."friendlyId" FROM "TaskRun" r WHERE r."batchId" = batch)
	WHERE id = batch AND sealed = false AND status = 'PENDING';
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('seal batch', n);
END
$$;

-- complete a batch all of whose items are; its waitpoint says whom that resumes
CREATE PROCEDURE life.try_complete_batch(batch text, INOUT completed boolean, INOUT blocked text[]) LANGUAGE plpgsql AS $$
DECLARE
	waitpoint text;
	n bigint;
BEGIN
	completed := NOT EXISTS (SELECT FROM "BatchTaskRunItem" WHERE "batchTaskRunId" = batch AND status = 'PENDING');
	IF NOT completed THEN
		RETURN;
	END IF;
	UPDATE "BatchTaskRun" SET status = 'COMPLETED', "completedAt" = clock_timestamp(),
		"successfulRunCount" = (SELECT count(*) FROM "BatchTaskRunItem" WHERE "batchTaskRunId" = batch AND status = 'COMPLETED'),
		"failedRunCount" = (SELECT count(*) FROM "BatchTaskRunItem" WHERE "batchTaskRunId" = batch AND status <> 'COMPLETED')
	WHERE id = batch AND status NOT IN ('ABORTED', 'COMPLETED');
	GET DIAGNOSTICS n = ROW_COUNT;
	CALL life.one('complete batch', n);
	SELECT id INTO STRICT waitpoint FROM "Waitpoint" WHERE "completedByBatchId" = batch;
	CALL life.complete_waitpoint(waitpoint, 'RUN', NULL, blocked);
END
$$;
SELECT runops.add_unblock_route('life.complete_waitpoint(text, text, text, text[])', 'MANUAL') \gset
SET client_min_messages = notice;
\set ECHO all
