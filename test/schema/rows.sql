-- Rows for the control plane: psql -v seed=1 -f rows.sql, once; the runs come from families.sql.
--
-- Everything is computed from the seed, so that two databases get equal rows.

\set ON_ERROR_STOP on
\ir cuid.sql

INSERT INTO "Organization" (id, slug, title, "featureFlags")
	SELECT pg_temp.cuid(:seed, 'org', o), 'org-' || o, 'Organization ' || o, jsonb_build_object('runOpsMintKind', 'cuid')
	FROM generate_series(1, 3) o;
INSERT INTO "Project" (id, slug, name, "externalRef", "organizationId")
	SELECT pg_temp.cuid(:seed, 'project', p), 'project-' || p, 'Project ' || p, 'proj_' || p,
		pg_temp.cuid(:seed, 'org', (p - 1) / 2 + 1)
	FROM generate_series(1, 6) p;
INSERT INTO "RuntimeEnvironment" (id, slug, shortcode, type, "apiKey", "projectId", "organizationId")
	SELECT pg_temp.cuid(:seed, 'env', e), (ARRAY['prod', 'dev'])[(e - 1) % 2 + 1], 'short-' || e,
		(ARRAY['PRODUCTION', 'DEVELOPMENT'])[(e - 1) % 2 + 1]::"RuntimeEnvironmentType", 'tr_' || e,
		pg_temp.cuid(:seed, 'project', (e - 1) / 2 + 1), pg_temp.cuid(:seed, 'org', (e - 1) / 4 + 1)
	FROM generate_series(1, 12) e;
INSERT INTO "BackgroundWorker" (id, "friendlyId", version, "projectId", "runtimeEnvironmentId")
	SELECT pg_temp.cuid(:seed, 'worker', e), 'worker_' || pg_temp.cuid(:seed, 'worker', e), '20260101.' || e,
		pg_temp.cuid(:seed, 'project', (e - 1) / 2 + 1), pg_temp.cuid(:seed, 'env', e)
	FROM generate_series(1, 12) e;
INSERT INTO "BackgroundWorkerTask" (id, slug, "filePath", "workerId")
	SELECT pg_temp.cuid(:seed, 'task', e), 'task-' || e, 'src/trigger/task' || e || '.ts', pg_temp.cuid(:seed, 'worker', e)
	FROM generate_series(1, 12) e;
INSERT INTO "TaskQueue" (id, name, "runtimeEnvironmentId")
	SELECT pg_temp.cuid(:seed, 'queue', e), 'task/task-' || e, pg_temp.cuid(:seed, 'env', e)
	FROM generate_series(1, 12) e;
INSERT INTO "TaskSchedule" (id, "friendlyId", "generatorExpression", "projectId")
	SELECT pg_temp.cuid(:seed, 'schedule', p), 'sched_' || p, '0 * * * *', pg_temp.cuid(:seed, 'project', p)
	FROM generate_series(1, 6) p;
INSERT INTO "WorkerDeployment" (id, version, "environmentId", "workerId")
	SELECT pg_temp.cuid(:seed, 'deployment', e), '20260101.' || e, pg_temp.cuid(:seed, 'env', e),
		pg_temp.cuid(:seed, 'worker', e)
	FROM generate_series(1, 12) e;
INSERT INTO "WorkerDeploymentPromotion" (id, label, "environmentId", "deploymentId")
	SELECT pg_temp.cuid(:seed, 'promotion', e), 'current', pg_temp.cuid(:seed, 'env', e),
		pg_temp.cuid(:seed, 'deployment', e)
	FROM generate_series(1, 12) e;
INSERT INTO "TaskRunTag" (id, "friendlyId", name, "projectId")
	SELECT pg_temp.cuid(:seed, 'tag', p), 'runtag_' || p, 'tag-' || p, pg_temp.cuid(:seed, 'project', p)
	FROM generate_series(1, 6) p;
