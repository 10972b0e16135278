-- The application before the split: three control plane tables, seven run tables, foreign keys between them all.
CREATE TYPE "RuntimeEnvironmentType" AS ENUM ('PRODUCTION', 'STAGING', 'DEVELOPMENT', 'PREVIEW');
CREATE TYPE "TaskRunStatus" AS ENUM ('PENDING', 'EXECUTING', 'COMPLETED_SUCCESSFULLY', 'COMPLETED_WITH_ERRORS');
CREATE TYPE "TaskRunAttemptStatus" AS ENUM ('EXECUTING', 'FAILED', 'COMPLETED');
CREATE TYPE "BatchTaskRunStatus" AS ENUM ('PENDING', 'PROCESSING', 'COMPLETED', 'PARTIAL_FAILED', 'ABORTED');
CREATE TYPE "WaitpointStatus" AS ENUM ('PENDING', 'COMPLETED');

CREATE TABLE "Organization" (
	id text PRIMARY KEY,
	slug text NOT NULL UNIQUE,
	title text NOT NULL
);
CREATE TABLE "Project" (
	id text PRIMARY KEY,
	name text NOT NULL,
	"organizationId" text NOT NULL REFERENCES "Organization" ON DELETE CASCADE
);
CREATE TABLE "RuntimeEnvironment" (
	id text PRIMARY KEY,
	slug text NOT NULL,
	type "RuntimeEnvironmentType" NOT NULL,
	"projectId" text NOT NULL REFERENCES "Project" ON DELETE CASCADE
);

CREATE TABLE "BatchTaskRun" (
	id text PRIMARY KEY,
	"friendlyId" text NOT NULL UNIQUE,
	"runtimeEnvironmentId" text NOT NULL REFERENCES "RuntimeEnvironment" ON DELETE CASCADE,
	status "BatchTaskRunStatus" NOT NULL DEFAULT 'PENDING',
	"runCount" integer NOT NULL DEFAULT 0,
	"idempotencyKey" text,
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
	UNIQUE ("runtimeEnvironmentId", "idempotencyKey")
);
CREATE TABLE "TaskRun" (
	id text PRIMARY KEY,
	"friendlyId" text NOT NULL UNIQUE,
	status "TaskRunStatus" NOT NULL DEFAULT 'PENDING',
	"taskIdentifier" text NOT NULL,
	"idempotencyKey" text,
	payload jsonb,
	output jsonb,
	"runTags" text[] NOT NULL DEFAULT '{}',
	"runtimeEnvironmentId" text NOT NULL REFERENCES "RuntimeEnvironment" ON DELETE CASCADE,
	"projectId" text NOT NULL REFERENCES "Project" ON DELETE CASCADE,
	"parentTaskRunId" text REFERENCES "TaskRun" ON DELETE SET NULL,
	"batchId" text REFERENCES "BatchTaskRun" ON DELETE SET NULL,
	"spanId" text,
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
	"completedAt" timestamp(3)
);
CREATE UNIQUE INDEX "TaskRun_idempotency_key" ON "TaskRun" ("runtimeEnvironmentId", "taskIdentifier", "idempotencyKey");
CREATE INDEX "TaskRun_list_idx" ON "TaskRun" ("runtimeEnvironmentId", "createdAt" DESC, id DESC);
CREATE INDEX "TaskRun_parent_idx" ON "TaskRun" ("parentTaskRunId");
CREATE INDEX "TaskRun_batch_idx" ON "TaskRun" ("batchId");
CREATE INDEX "TaskRun_runTags_idx" ON "TaskRun" USING gin ("runTags");
CREATE INDEX "TaskRun_createdAt_brin" ON "TaskRun" USING brin ("createdAt");

CREATE TABLE "TaskRunAttempt" (
	id text PRIMARY KEY,
	number integer NOT NULL DEFAULT 1,
	"taskRunId" text NOT NULL REFERENCES "TaskRun" ON DELETE CASCADE,
	status "TaskRunAttemptStatus" NOT NULL DEFAULT 'EXECUTING',
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
	UNIQUE ("taskRunId", number)
);
CREATE TABLE "TaskRunExecutionSnapshot" (
	id text PRIMARY KEY,
	"runId" text NOT NULL REFERENCES "TaskRun" ON DELETE CASCADE,
	description text NOT NULL,
	"isValid" boolean NOT NULL DEFAULT true,
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX "TaskRunExecutionSnapshot_run_idx" ON "TaskRunExecutionSnapshot" ("runId", "isValid", "createdAt" DESC);
CREATE TABLE "BatchTaskRunItem" (
	id text PRIMARY KEY,
	"batchTaskRunId" text NOT NULL REFERENCES "BatchTaskRun" ON DELETE CASCADE,
	"taskRunId" text NOT NULL REFERENCES "TaskRun" ON DELETE CASCADE,
	UNIQUE ("batchTaskRunId", "taskRunId")
);
CREATE TABLE "Waitpoint" (
	id text PRIMARY KEY,
	"friendlyId" text NOT NULL UNIQUE,
	status "WaitpointStatus" NOT NULL DEFAULT 'PENDING',
	"completedByTaskRunId" text UNIQUE,
	"completedByBatchId" text,
	"environmentId" text NOT NULL REFERENCES "RuntimeEnvironment" ON DELETE CASCADE
);
CREATE TABLE "TaskRunWaitpoint" (
	id text PRIMARY KEY DEFAULT gen_random_uuid(),
	"taskRunId" text NOT NULL REFERENCES "TaskRun" ON DELETE CASCADE,
	"waitpointId" text NOT NULL,
	"batchIndex" integer
);
CREATE UNIQUE INDEX "TaskRunWaitpoint_key" ON "TaskRunWaitpoint" ("taskRunId", "waitpointId") WHERE "batchIndex" IS NULL;
CREATE INDEX "TaskRunWaitpoint_waitpointId_idx" ON "TaskRunWaitpoint" ("waitpointId");

-- Its rows: one run a minute until now, in eight environments, with ids of the shape of a cuid.
CREATE FUNCTION pg_temp.cuid(kind text, n bigint) RETURNS text LANGUAGE sql IMMUTABLE
RETURN 'cm' || substr(md5(kind || n), 1, 23);

INSERT INTO "Organization" SELECT pg_temp.cuid('org', o), 'org-' || o, 'Organization ' || o FROM generate_series(1, 2) o;
INSERT INTO "Project" SELECT pg_temp.cuid('project', p), 'Project ' || p, pg_temp.cuid('org', (p + 1) / 2)
	FROM generate_series(1, 4) p;
INSERT INTO "RuntimeEnvironment"
	SELECT pg_temp.cuid('env', e), CASE e % 2 WHEN 1 THEN 'prod' ELSE 'dev' END,
		CASE e % 2 WHEN 1 THEN 'PRODUCTION' ELSE 'DEVELOPMENT' END::"RuntimeEnvironmentType",
		pg_temp.cuid('project', (e + 1) / 2)
	FROM generate_series(1, 8) e;
INSERT INTO "BatchTaskRun" (id, "friendlyId", "runtimeEnvironmentId", status, "runCount", "createdAt")
	SELECT pg_temp.cuid('batch', b), 'batch_' || pg_temp.cuid('batch', b), pg_temp.cuid('env', (b - 1) * 5 % 8 + 1), 'COMPLETED', 10,
		CURRENT_TIMESTAMP - (801 - b) * interval '50 min'
	FROM generate_series(1, 800) b;
INSERT INTO "TaskRun" (id, "friendlyId", status, "taskIdentifier", "idempotencyKey", payload, "runTags",
					   "runtimeEnvironmentId", "projectId", "batchId", "spanId", "createdAt")
	SELECT id, 'run_' || id, 'COMPLETED_SUCCESSFULLY', 'task-' || n % 5, CASE n % 3 WHEN 0 THEN 'order-' || n END,
		jsonb_build_object('n', n), ARRAY['tag-' || n % 10], pg_temp.cuid('env', e), pg_temp.cuid('project', (e + 1) / 2),
		CASE WHEN n / 10 % 5 = 0 THEN pg_temp.cuid('batch', n / 50 + 1) END, left(md5('span' || n), 16),
		CURRENT_TIMESTAMP - (40000 - n) * interval '1 min'
	FROM (SELECT n, pg_temp.cuid('run', n) AS id, n / 10 % 8 + 1 AS e FROM generate_series(1, 39999) n) r;
INSERT INTO "TaskRunAttempt" (id, "taskRunId", status)
	SELECT pg_temp.cuid('attempt', n), pg_temp.cuid('run', n), 'COMPLETED' FROM generate_series(1, 39999) n;
INSERT INTO "TaskRunExecutionSnapshot" (id, "runId", description)
	SELECT pg_temp.cuid('snapshot', n), pg_temp.cuid('run', n), 'finished' FROM generate_series(1, 39999) n;
INSERT INTO "BatchTaskRunItem" (id, "batchTaskRunId", "taskRunId")
	SELECT 'cm' || substr(md5('item' || id), 1, 23), "batchId", id FROM "TaskRun" WHERE "batchId" IS NOT NULL;
INSERT INTO "Waitpoint" (id, "friendlyId", status, "completedByTaskRunId", "environmentId")
	SELECT 'cm' || substr(md5('wait' || id), 1, 23), 'waitpoint_cm' || substr(md5('wait' || id), 1, 23), 'COMPLETED', id,
		"runtimeEnvironmentId"
	FROM "TaskRun" WHERE "batchId" IS NOT NULL;
ANALYZE;
