-- What goes with an environment, and with a run: the cascades that stand for the
-- foreign keys that a split leaves behind, in an order that works.
SELECT runops.add_cascade('public."TaskRun"', 'public."BulkActionItem"', 'sourceRunId');
SELECT runops.add_cascade('public."TaskRun"', 'public."BulkActionItem"', 'destinationRunId', 'set null');
SELECT runops.add_cascade('public."TaskRun"', 'public."CheckpointRestoreEvent"', 'runId');
SELECT runops.add_cascade('public."TaskRun"', 'public."Checkpoint"', 'runId');
SELECT runops.add_cascade('public."TaskRun"', 'public."TaskRunWaitpoint"', 'taskRunId');
SELECT runops.add_cascade('public."TaskRun"', 'public."WaitpointRunConnection"', 'taskRunId');
SELECT runops.add_cascade('public."TaskRun"', 'public."CompletedWaitpoint"', 'runId');
SELECT runops.add_cascade('public."TaskRun"', 'public."TaskRunExecutionSnapshot"', 'runId');
SELECT runops.add_cascade('public."TaskRun"', '"Run Ops"."TaskRunCheckpoint"', 'taskRunId');
SELECT runops.add_cascade('public."TaskRun"', 'public."TaskRunDependency"', 'taskRunId');
SELECT runops.add_cascade('public."TaskRun"', 'public."TaskRunAttempt"', 'taskRunId');
SELECT runops.add_cascade('public."TaskRun"', 'public."BatchTaskRunItem"', 'taskRunId');
SELECT runops.add_cascade('public."RuntimeEnvironment"', 'public."TaskRun"', 'runtimeEnvironmentId');
SELECT runops.add_cascade('public."RuntimeEnvironment"', 'public."Waitpoint"', 'environmentId');
SELECT runops.add_cascade('public."RuntimeEnvironment"', 'public."BatchTaskRun"', 'runtimeEnvironmentId');
