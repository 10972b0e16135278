-- The split, in the control plane.
SELECT runops.attach('"TaskRun"', 'id', '{friendlyId,parentTaskRunId}');
SELECT runops.attach('"Attempt"', 'runId');
SELECT runops.attach('"Waitpoint"', 'COALESCE("completedByTaskRunId", "completedByBatchId", id)');
SELECT runops.attach('"Batch"', 'id');
SELECT * FROM runops.provision('new');
SELECT * FROM runops.provision('e');
