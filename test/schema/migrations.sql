-- The later migrations of the application: they lead from run_ops.sql to its newest schema.
--
-- Run as a superuser, before or after attach.  Each statement is as the
-- application's migration tool sends it: it names tables, indexes and
-- constraints as if no table were routed.  CONCURRENTLY needs each of them in a
-- transaction of its own.

SET ROLE run_ops_owner;
SET lock_timeout = '5s';

-- runs name their environment, project, worker and relatives, and do not refer to them
ALTER TABLE "TaskRun" DROP CONSTRAINT IF EXISTS "TaskRun_runtimeEnvironmentId_fkey";
ALTER TABLE "TaskRun" DROP CONSTRAINT IF EXISTS "TaskRun_projectId_fkey";
ALTER TABLE "TaskRun" DROP CONSTRAINT IF EXISTS "TaskRun_lockedById_fkey", DROP CONSTRAINT IF EXISTS "TaskRun_lockedToVersionId_fkey";
ALTER TABLE "TaskRun" DROP CONSTRAINT IF EXISTS "TaskRun_lockedQueueId_fkey", DROP CONSTRAINT IF EXISTS "TaskRun_scheduleId_fkey";
ALTER TABLE "public"."TaskRun"
	DROP CONSTRAINT IF EXISTS "TaskRun_rootTaskRunId_fkey",
	DROP CONSTRAINT IF EXISTS "TaskRun_parentTaskRunId_fkey",
	DROP CONSTRAINT IF EXISTS "TaskRun_parentTaskRunAttemptId_fkey",
	DROP CONSTRAINT IF EXISTS "TaskRun_batchId_fkey";

-- nor do the other run tables refer to the control plane
ALTER TABLE "BatchTaskRun" DROP CONSTRAINT IF EXISTS "BatchTaskRun_runtimeEnvironmentId_fkey";
ALTER TABLE "Waitpoint" DROP CONSTRAINT IF EXISTS "Waitpoint_projectId_fkey";
ALTER TABLE "Waitpoint" DROP CONSTRAINT IF EXISTS "Waitpoint_environmentId_fkey";
ALTER TABLE "TaskRunWaitpoint" DROP CONSTRAINT IF EXISTS "TaskRunWaitpoint_projectId_fkey";
ALTER TABLE "Run Ops"."TaskRunCheckpoint" DROP CONSTRAINT IF EXISTS "TaskRunCheckpoint_projectId_fkey";
ALTER TABLE "Run Ops"."TaskRunCheckpoint" DROP CONSTRAINT IF EXISTS "TaskRunCheckpoint_runtimeEnvironmentId_fkey";
ALTER TABLE "TaskRunAttempt" DROP CONSTRAINT IF EXISTS "TaskRunAttempt_backgroundWorkerId_fkey";
ALTER TABLE "TaskRunAttempt" DROP CONSTRAINT IF EXISTS "TaskRunAttempt_backgroundWorkerTaskId_fkey";
ALTER TABLE "TaskRunAttempt" DROP CONSTRAINT IF EXISTS "TaskRunAttempt_runtimeEnvironmentId_fkey";
ALTER TABLE "TaskRunTag" DROP CONSTRAINT IF EXISTS "TaskRunTag_projectId_fkey";

-- the control plane names runs
ALTER TABLE "ProjectAlert" DROP CONSTRAINT IF EXISTS "ProjectAlert_taskRunId_fkey";
ALTER TABLE "ProjectAlert" DROP CONSTRAINT IF EXISTS "ProjectAlert_taskRunAttemptId_fkey";
DROP TABLE IF EXISTS "_TaskRunToTaskRunTag";
ALTER TABLE "_WaitpointRunConnections" DROP CONSTRAINT IF EXISTS "_WaitpointRunConnections_B_fkey";
ALTER TABLE "TaskRunWaitpoint" DROP CONSTRAINT IF EXISTS "TaskRunWaitpoint_waitpointId_fkey";
ALTER TABLE "_completedWaitpoints" DROP CONSTRAINT IF EXISTS "_completedWaitpoints_B_fkey";
ALTER TABLE "BulkActionItem" DROP CONSTRAINT IF EXISTS "BulkActionItem_sourceRunId_fkey";
ALTER TABLE "BulkActionItem" DROP CONSTRAINT IF EXISTS "BulkActionItem_destinationRunId_fkey";
ALTER TABLE "PlaygroundConversation" DROP CONSTRAINT IF EXISTS "PlaygroundConversation_runId_fkey";
ALTER TABLE "Session" DROP CONSTRAINT IF EXISTS "Session_currentRunId_fkey";
ALTER TABLE "SessionRun" DROP CONSTRAINT IF EXISTS "SessionRun_runId_fkey";
ALTER TABLE "Checkpoint" DROP CONSTRAINT IF EXISTS "Checkpoint_projectId_fkey";
ALTER TABLE "CheckpointRestoreEvent" DROP CONSTRAINT IF EXISTS "CheckpointRestoreEvent_projectId_fkey";
ALTER TABLE "TaskRunAttempt" DROP CONSTRAINT IF EXISTS "TaskRunAttempt_queueId_fkey";

-- lists by time and not by id, because ids are of two kinds
CREATE INDEX CONCURRENTLY IF NOT EXISTS "BatchTaskRun_runtimeEnvironmentId_createdAt_id_idx"
	ON "BatchTaskRun" ("runtimeEnvironmentId", "createdAt" DESC, id DESC);
DROP INDEX CONCURRENTLY IF EXISTS "BatchTaskRun_createdAt_idx";
CREATE INDEX CONCURRENTLY IF NOT EXISTS "Waitpoint_environmentId_type_id_idx" ON "Waitpoint" ("environmentId", type, id DESC);
CREATE INDEX CONCURRENTLY IF NOT EXISTS "TaskRun_runtimeEnvironmentId_createdAt_idx"
	ON "TaskRun" ("runtimeEnvironmentId", "createdAt" DESC);
DROP INDEX IF EXISTS "TaskRun_annotations_idx", "TaskRun_lower_task_idx";
ALTER INDEX "TaskRun_batchId_idx" RENAME TO "TaskRun_runtimeEnvironmentId_batchId_idx";

-- the key of a run's idempotency has the name that the tool gives it
ALTER INDEX "TaskRun_env_task_idempotencyKey_key"
	RENAME TO "TaskRun_runtimeEnvironmentId_taskIdentifier_idempotencyKey_key";

-- tags of waitpoints
CREATE TABLE "WaitpointTag" (
	id text NOT NULL,
	name text NOT NULL,
	"environmentId" text NOT NULL,
	"projectId" text NOT NULL,
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
	CONSTRAINT "WaitpointTag_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "WaitpointTag_environmentId_name_key" ON "WaitpointTag" ("environmentId", name);

RESET lock_timeout;
RESET ROLE;
