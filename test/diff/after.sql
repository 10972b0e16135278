-- What stands on the routed names, in the control plane after the split and in the plain database alike.
CREATE VIEW run_view AS SELECT id, "friendlyId", env, status::text AS status, n FROM "TaskRun" WHERE n IS DISTINCT FROM 7;
CREATE VIEW run_barrier WITH (security_barrier) AS SELECT id, "parentTaskRunId", env, n FROM "TaskRun" WHERE env <> 'e3';
CREATE VIEW run_checked AS SELECT id, "friendlyId", env, n FROM "TaskRun" WHERE n < 100 WITH CHECK OPTION;
CREATE VIEW run_union AS SELECT id, env, n FROM "TaskRun" UNION ALL SELECT id, env, n FROM "Batch";

-- qualified, because postgres_fdw evaluates parameters of a remote query, and sub-selects in them, under its own search_path
CREATE FUNCTION runs_of(p text) RETURNS TABLE (id text, n int) STABLE LANGUAGE sql
AS 'SELECT r.id, r.n FROM public."TaskRun" r WHERE r."parentTaskRunId" = p';
CREATE FUNCTION run_n(p text) RETURNS int STABLE LANGUAGE sql AS 'SELECT n FROM public."TaskRun" WHERE id = p';
CREATE FUNCTION run_n_plpgsql(p text) RETURNS int STABLE LANGUAGE plpgsql
AS 'DECLARE r int; BEGIN SELECT n INTO r FROM public."TaskRun" WHERE id = p; RETURN r; END';

GRANT SELECT, INSERT, UPDATE, DELETE ON env, note, "TaskRun", "Attempt" TO diff_app;
GRANT SELECT (id, "completedByTaskRunId", n, mark), INSERT, UPDATE (n, mark, "completedByTaskRunId"), DELETE ON "Waitpoint" TO diff_app;
GRANT SELECT, INSERT (id, n), UPDATE (mark) ON "Batch" TO diff_app;
GRANT SELECT ON statement_log TO diff_app;
GRANT SELECT ON run_view, run_barrier, run_union TO diff_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON run_checked TO diff_app;
ALTER TABLE "TaskRun" ENABLE ROW LEVEL SECURITY;
CREATE POLICY app ON "TaskRun" TO diff_app USING (env <> 'e2') WITH CHECK (env <> 'e1');
ALTER TABLE "Attempt" ENABLE ROW LEVEL SECURITY;
CREATE POLICY app ON "Attempt" TO diff_app USING (EXISTS (SELECT 1 FROM public."TaskRun" r WHERE r.id = "runId"));
