-- The attach call of each run table: key and aliases, in an order that works.
SELECT runops.attach('public."TaskRun"', 'id', '{friendlyId,parentTaskRunId,rootTaskRunId,batchId}');
SELECT runops.attach('public."BatchTaskRun"', 'id', '{friendlyId}');
SELECT runops.attach('public."BatchTaskRunItem"', 'batchTaskRunId', '{taskRunId}');
SELECT runops.attach('public."BatchTaskRunError"', 'batchTaskRunId');
SELECT runops.attach('public."TaskRunAttempt"', 'taskRunId');
SELECT runops.attach('public."TaskRunExecutionSnapshot"', 'runId', '{batchId}');
SELECT runops.attach('"Run Ops"."TaskRunCheckpoint"', 'taskRunId');
SELECT runops.attach('public."Checkpoint"', 'runId');
SELECT runops.attach('public."CheckpointRestoreEvent"', 'runId');
SELECT runops.attach('public."Waitpoint"', 'COALESCE("completedByTaskRunId", "completedByBatchId", id)');
SELECT runops.attach('public."TaskRunWaitpoint"', 'taskRunId', '{batchId}');
SELECT runops.attach('public."WaitpointRunConnection"', 'taskRunId');
SELECT runops.attach('public."CompletedWaitpoint"', 'runId');
SELECT runops.attach('public."TaskRunDependency"', 'taskRunId', '{dependentBatchRunId}');
