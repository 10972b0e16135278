-- What hangs on the run tables beside columns and keys: triggers, policies, grants, comments, statistics.
--
-- Included by run_ops.sql, as the owner of the tables.

-- Triggers, on rows and on statements.
CREATE TABLE "ChangeLog" (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	"table" text NOT NULL,
	operation text NOT NULL,
	at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE FUNCTION touch_updated_at() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	NEW."updatedAt" := CURRENT_TIMESTAMP;
	RETURN NEW;
END
$$;

CREATE FUNCTION log_statement() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO public."ChangeLog" ("table", operation) VALUES (TG_TABLE_NAME, TG_OP || ' ' || TG_ARGV[0]);
	RETURN NULL;
END
$$;

CREATE FUNCTION notify_status() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM pg_notify('run_status', NEW.id);
	RETURN NULL;
END
$$;

CREATE TRIGGER touch BEFORE UPDATE ON "TaskRun"
	FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER "status changed" AFTER UPDATE OF status ON "TaskRun"
	FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION notify_status();
CREATE TRIGGER log_delete AFTER DELETE ON "TaskRun"
	FOR EACH STATEMENT EXECUTE FUNCTION log_statement('statement');
CREATE TRIGGER log_truncate BEFORE TRUNCATE ON "TaskRun"
	FOR EACH STATEMENT EXECUTE FUNCTION log_statement('all');
CREATE TRIGGER touch BEFORE UPDATE ON "TaskRunAttempt"
	FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER "status changed" AFTER INSERT ON "TaskRunAttempt"
	FOR EACH ROW EXECUTE FUNCTION notify_status();
ALTER TABLE "TaskRunAttempt" DISABLE TRIGGER "status changed";
CREATE TRIGGER touch BEFORE UPDATE ON "TaskRunExecutionSnapshot"
	FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON "Waitpoint"
	FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
ALTER TABLE "Waitpoint" ENABLE ALWAYS TRIGGER touch;
CREATE TRIGGER log_batch BEFORE DELETE ON "BatchTaskRun"
	FOR EACH STATEMENT EXECUTE FUNCTION log_statement('before');
CREATE TRIGGER log_batch_off AFTER UPDATE ON "BatchTaskRun"
	FOR EACH STATEMENT EXECUTE FUNCTION log_statement('never');
ALTER TABLE "BatchTaskRun" DISABLE TRIGGER log_batch_off;
COMMENT ON TRIGGER log_delete ON "TaskRun" IS 'who deleted runs';

-- Row security.
ALTER TABLE "TaskRun" ENABLE ROW LEVEL SECURITY;
CREATE POLICY app ON "TaskRun" TO run_ops_app USING (true) WITH CHECK (true);
CREATE POLICY "one project" ON "TaskRun" FOR SELECT TO "Run Reader"
	USING ("projectId" = current_setting('app.project', true));
CREATE POLICY not_deleted ON "TaskRun" AS RESTRICTIVE FOR SELECT TO "Run Reader"
	USING ("logsDeletedAt" IS NULL);
COMMENT ON POLICY "one project" ON "TaskRun" IS 'a reader sees one project';
ALTER TABLE "Waitpoint" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY everyone ON "Waitpoint" USING (true) WITH CHECK ("outputType" <> 'forbidden');

-- Statistics.
CREATE STATISTICS "TaskRun env and task" (dependencies, ndistinct) ON "runtimeEnvironmentId", "taskIdentifier"
	FROM "TaskRun";
ALTER STATISTICS "TaskRun env and task" SET STATISTICS 300;
COMMENT ON STATISTICS "TaskRun env and task" IS 'a task belongs to few environments';
CREATE STATISTICS batch_day ON date_trunc('day', "createdAt"), status FROM "BatchTaskRun";
ALTER TABLE "TaskRun" ALTER COLUMN "taskIdentifier" SET STATISTICS 500;
ALTER TABLE "TaskRun" ALTER COLUMN "runtimeEnvironmentId" SET (n_distinct = 40);

-- Storage.
ALTER TABLE "TaskRun" ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE "TaskRun" ALTER COLUMN output SET COMPRESSION pglz;
ALTER TABLE "TaskRun" CLUSTER ON "TaskRun_createdAt_idx";
ALTER TABLE "BatchTaskRunItem" REPLICA IDENTITY USING INDEX "BatchTaskRunItem_batch_run_key";
ALTER TABLE "TaskRunDependency" REPLICA IDENTITY FULL;

-- Comments.
COMMENT ON TABLE "TaskRun" IS 'one execution of a task';
COMMENT ON COLUMN "TaskRun"."Customer's ""Note""" IS 'it''s free text';
COMMENT ON COLUMN "TaskRun"."runTags" IS 'at most 10';
COMMENT ON CONSTRAINT "TaskRun_depth_check" ON "TaskRun" IS 'no deeper';
COMMENT ON CONSTRAINT "TaskRun_pkey" ON "TaskRun" IS 'a cuid';
COMMENT ON TABLE "Run Ops"."TaskRunCheckpoint" IS 'where a suspended run sleeps';
COMMENT ON TABLE "TaskRunExecutionSnapshot" IS 'append only';

-- What is bound to the tables by OID.
CREATE VIEW "RunSummary" AS
	SELECT r.id, r.status, e.slug AS environment
	FROM "TaskRun" r JOIN "RuntimeEnvironment" e ON e.id = r."runtimeEnvironmentId";
CREATE FUNCTION count_waitpoints(run text) RETURNS bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT count(*) FROM "TaskRunWaitpoint" w WHERE w."taskRunId" = run;
END;

-- Privileges, also on columns.
GRANT SELECT, INSERT, UPDATE, DELETE ON
	"TaskRun", "BatchTaskRun", "BatchTaskRunItem", "BatchTaskRunError", "TaskRunAttempt", "TaskRunExecutionSnapshot",
	"Run Ops"."TaskRunCheckpoint", "Checkpoint", "CheckpointRestoreEvent", "Waitpoint", "TaskRunWaitpoint",
	"WaitpointRunConnection", "CompletedWaitpoint", "TaskRunDependency" TO run_ops_app;
GRANT TRUNCATE, REFERENCES ON "TaskRun" TO run_ops_app WITH GRANT OPTION;
GRANT SELECT (id, status, "projectId", "logsDeletedAt"), UPDATE ("Customer's ""Note""") ON "TaskRun" TO "Run Reader";
GRANT SELECT ON "BatchTaskRun" TO "Run Reader" WITH GRANT OPTION;
GRANT SELECT ON "RunSummary" TO PUBLIC;
REVOKE TRUNCATE ON "BatchTaskRunError" FROM run_ops_owner;

-- Replication.  wal_level may be too low to publish anything; the membership counts here.
RESET ROLE;
SET client_min_messages = error;
CREATE PUBLICATION run_ops_changes FOR TABLE
	"TaskRun", "BatchTaskRun", "TaskRunAttempt" (id, "taskRunId", status) WHERE (id <> '');
RESET client_min_messages;
SET ROLE run_ops_owner;
