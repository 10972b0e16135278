-- The control plane of a run-ops schema: what runs belong to, and what points at runs.
--
-- Run before run_ops.sql, as a superuser, in an empty database.  The foreign
-- keys from here into the run tables are added at the end of run_ops.sql.

DO $$
BEGIN
	IF to_regrole('run_ops_owner') IS NULL THEN
		CREATE ROLE run_ops_owner;
	END IF;
	IF to_regrole('run_ops_app') IS NULL THEN
		CREATE ROLE run_ops_app LOGIN;
	END IF;
	IF to_regrole('"Run Reader"') IS NULL THEN
		CREATE ROLE "Run Reader" LOGIN;
	END IF;
END
$$;

GRANT USAGE, CREATE ON SCHEMA public TO run_ops_owner;
GRANT USAGE ON SCHEMA public TO run_ops_app, "Run Reader";
CREATE SCHEMA "Run Ops" AUTHORIZATION run_ops_owner;
GRANT USAGE ON SCHEMA "Run Ops" TO run_ops_app, "Run Reader";

SET ROLE run_ops_owner;

CREATE TYPE "RuntimeEnvironmentType" AS ENUM ('PRODUCTION', 'STAGING', 'DEVELOPMENT', 'PREVIEW');

CREATE TABLE "Organization" (
	id text PRIMARY KEY,
	slug text NOT NULL UNIQUE,
	title text NOT NULL,
	"maximumConcurrencyLimit" integer NOT NULL DEFAULT 10,
	"runsEnabled" boolean NOT NULL DEFAULT true,
	"featureFlags" jsonb,
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
	"deletedAt" timestamp(3)
);

CREATE TABLE "Project" (
	id text PRIMARY KEY,
	slug text NOT NULL UNIQUE,
	name text NOT NULL,
	"externalRef" text NOT NULL UNIQUE,
	"organizationId" text NOT NULL REFERENCES "Organization" ON UPDATE CASCADE ON DELETE CASCADE,
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
	"deletedAt" timestamp(3)
);

CREATE TABLE "RuntimeEnvironment" (
	id text PRIMARY KEY,
	slug text NOT NULL,
	shortcode text NOT NULL,
	type "RuntimeEnvironmentType" NOT NULL DEFAULT 'DEVELOPMENT',
	"apiKey" text NOT NULL UNIQUE,
	"projectId" text NOT NULL REFERENCES "Project" ON UPDATE CASCADE ON DELETE CASCADE,
	"organizationId" text NOT NULL REFERENCES "Organization" ON UPDATE CASCADE ON DELETE CASCADE,
	"parentEnvironmentId" text REFERENCES "RuntimeEnvironment" ON UPDATE CASCADE ON DELETE CASCADE,
	"maximumConcurrencyLimit" integer NOT NULL DEFAULT 5,
	"concurrencyLimitBurstFactor" numeric(4,2) NOT NULL DEFAULT 2.00,
	paused boolean NOT NULL DEFAULT false,
	"archivedAt" timestamp(3),
	git jsonb,
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
	UNIQUE ("projectId", shortcode)
);

CREATE TABLE "BackgroundWorker" (
	id text PRIMARY KEY,
	"friendlyId" text NOT NULL UNIQUE,
	version text NOT NULL,
	"sdkVersion" text NOT NULL DEFAULT 'unknown',
	"cliVersion" text NOT NULL DEFAULT 'unknown',
	runtime text,
	"projectId" text NOT NULL REFERENCES "Project" ON UPDATE CASCADE ON DELETE CASCADE,
	"runtimeEnvironmentId" text NOT NULL REFERENCES "RuntimeEnvironment" ON UPDATE CASCADE ON DELETE CASCADE,
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
	UNIQUE ("projectId", "runtimeEnvironmentId", version)
);

CREATE TABLE "BackgroundWorkerTask" (
	id text PRIMARY KEY,
	slug text NOT NULL,
	"filePath" text NOT NULL,
	"workerId" text NOT NULL REFERENCES "BackgroundWorker" ON UPDATE CASCADE ON DELETE CASCADE,
	UNIQUE ("workerId", slug)
);

CREATE TABLE "TaskQueue" (
	id text PRIMARY KEY,
	name text NOT NULL,
	"runtimeEnvironmentId" text NOT NULL REFERENCES "RuntimeEnvironment" ON UPDATE CASCADE ON DELETE CASCADE,
	UNIQUE ("runtimeEnvironmentId", name)
);

CREATE TABLE "TaskSchedule" (
	id text PRIMARY KEY,
	"friendlyId" text NOT NULL UNIQUE,
	"generatorExpression" text NOT NULL,
	"projectId" text NOT NULL REFERENCES "Project" ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE "WorkerDeployment" (
	id text PRIMARY KEY,
	version text NOT NULL,
	type text NOT NULL DEFAULT 'MANAGED',
	"environmentId" text NOT NULL REFERENCES "RuntimeEnvironment" ON UPDATE CASCADE ON DELETE CASCADE,
	"workerId" text UNIQUE REFERENCES "BackgroundWorker" ON UPDATE CASCADE ON DELETE SET NULL,
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "WorkerDeploymentPromotion" (
	id text PRIMARY KEY,
	label text NOT NULL,
	"environmentId" text NOT NULL REFERENCES "RuntimeEnvironment" ON UPDATE CASCADE ON DELETE CASCADE,
	"deploymentId" text NOT NULL REFERENCES "WorkerDeployment" ON UPDATE CASCADE ON DELETE CASCADE,
	UNIQUE ("environmentId", label)
);

CREATE TABLE "FeatureFlag" (
	id text PRIMARY KEY,
	key text NOT NULL UNIQUE,
	value jsonb
);

-- Tables of the control plane that point at runs.

CREATE TABLE "TaskRunTag" (
	id text PRIMARY KEY,
	"friendlyId" text NOT NULL UNIQUE,
	name text NOT NULL,
	"projectId" text NOT NULL REFERENCES "Project" ON UPDATE CASCADE ON DELETE CASCADE,
	UNIQUE ("projectId", name)
);

CREATE TABLE "ProjectAlert" (
	id text PRIMARY KEY,
	"friendlyId" text NOT NULL UNIQUE,
	"projectId" text NOT NULL REFERENCES "Project" ON UPDATE CASCADE ON DELETE CASCADE,
	"environmentId" text NOT NULL REFERENCES "RuntimeEnvironment" ON UPDATE CASCADE ON DELETE CASCADE,
	"taskRunId" text,
	"taskRunAttemptId" text
);

CREATE TABLE "BulkActionItem" (
	id text PRIMARY KEY,
	"groupId" text NOT NULL,
	type text NOT NULL,
	status text NOT NULL DEFAULT 'PENDING',
	"sourceRunId" text NOT NULL,
	"destinationRunId" text
);

CREATE TABLE "PlaygroundConversation" (
	id text PRIMARY KEY,
	title text NOT NULL DEFAULT '',
	"runId" text
);

CREATE TABLE "Session" (
	id text PRIMARY KEY,
	"friendlyId" text NOT NULL UNIQUE,
	"externalId" text,
	"runtimeEnvironmentId" text NOT NULL REFERENCES "RuntimeEnvironment" ON UPDATE CASCADE ON DELETE CASCADE,
	"currentRunId" text,
	UNIQUE ("runtimeEnvironmentId", "externalId")
);

CREATE TABLE "SessionRun" (
	id text PRIMARY KEY,
	"sessionId" text NOT NULL REFERENCES "Session" ON UPDATE CASCADE ON DELETE CASCADE,
	"runId" text NOT NULL
);

CREATE TABLE "_TaskRunToTaskRunTag" (
	"A" text NOT NULL,
	"B" text NOT NULL REFERENCES "TaskRunTag" ON UPDATE CASCADE ON DELETE CASCADE,
	UNIQUE ("A", "B")
);

CREATE TABLE "_WaitpointRunConnections" (
	"A" text NOT NULL,
	"B" text NOT NULL,
	UNIQUE ("A", "B")
);

CREATE TABLE "_completedWaitpoints" (
	"A" text NOT NULL,
	"B" text NOT NULL,
	UNIQUE ("A", "B")
);

GRANT SELECT ON ALL TABLES IN SCHEMA public TO run_ops_app, "Run Reader";
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO run_ops_app;

RESET ROLE;
