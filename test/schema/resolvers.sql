-- Resolvers and watches of the control plane: run in its database, as the role
-- whose rights the queries are to have, which owns the tables; "runops" is there.
--
-- Slot and key:
--   environment ($1 environment)
--   environment_exists ($1 environment)
--   authenticated_environment ($1 environment): with project, organization and
--     parent; none once the project is deleted
--   worker_version ($1 environment, $2 worker or NULL, $3 type or NULL)
--   locked_worker ($1 task or NULL, $2 worker or NULL): always a row
--
-- The columns "environments" and "workers" are tags: what a value depends on.

SELECT runops.add_resolver('environment', $$
	SELECT e.id, e.type, e."projectId", p."organizationId", e."archivedAt", parent.type AS "parentEnvironmentType",
		e."maximumConcurrencyLimit", e."concurrencyLimitBurstFactor", e.paused,
		ARRAY[e.id, parent.id] AS environments
	FROM "RuntimeEnvironment" e
	JOIN "Project" p ON p.id = e."projectId"
	LEFT JOIN "RuntimeEnvironment" parent ON parent.id = e."parentEnvironmentId"
	WHERE e.id = $1
$$, environment_column => 'environments', organization_column => 'organizationId');

SELECT runops.add_resolver('environment_exists', $$
	SELECT id FROM "RuntimeEnvironment" WHERE id = $1
$$, environment_column => 'id');

SELECT runops.add_resolver('authenticated_environment', $$
	SELECT e.*, to_jsonb(p.*) AS project, to_jsonb(o.*) AS organization,
		CASE WHEN parent.id IS NOT NULL THEN jsonb_build_object('id', parent.id, 'apiKey', parent."apiKey") END AS "parentEnvironment",
		ARRAY[e.id, parent.id] AS environments
	FROM "RuntimeEnvironment" e
	JOIN "Project" p ON p.id = e."projectId"
	JOIN "Organization" o ON o.id = p."organizationId"
	LEFT JOIN "RuntimeEnvironment" parent ON parent.id = e."parentEnvironmentId"
	WHERE e.id = $1 AND p."deletedAt" IS NULL
$$, environment_column => 'environments', organization_column => 'organizationId');

-- In a development environment the worker asked for, or else the newest; with a
-- worker, that one; or else what is promoted, if no type is asked for or it is
-- managed; or else the newest managed deployment.
SELECT runops.add_resolver('worker_version', $$
	SELECT w."runtimeEnvironmentId" AS "environmentId", to_jsonb(w.*) AS worker,
		(SELECT coalesce(jsonb_agg(to_jsonb(t.*) ORDER BY t.slug), '[]') FROM "BackgroundWorkerTask" t WHERE t."workerId" = w.id) AS tasks,
		(SELECT coalesce(jsonb_agg(to_jsonb(q.*) ORDER BY q.name), '[]') FROM "TaskQueue" q WHERE q."runtimeEnvironmentId" = w."runtimeEnvironmentId") AS queues,
		(SELECT to_jsonb(d.*) FROM "WorkerDeployment" d WHERE d.id = c.deployment) AS deployment,
		ARRAY[w."runtimeEnvironmentId", w.id] AS workers
	FROM (
		(SELECT dev.id AS worker, NULL::text AS deployment
		FROM "BackgroundWorker" dev
		WHERE $3 = 'DEVELOPMENT' AND dev."runtimeEnvironmentId" = $1 AND ($2 IS NULL OR dev.id = $2)
		ORDER BY dev."createdAt" DESC, dev.id DESC LIMIT 1)
		UNION ALL
		SELECT given.id, d.id
		FROM "BackgroundWorker" given LEFT JOIN "WorkerDeployment" d ON d."workerId" = given.id
		WHERE $3 IS DISTINCT FROM 'DEVELOPMENT' AND $2 IS NOT NULL AND given.id = $2 AND given."runtimeEnvironmentId" = $1
		UNION ALL
		(SELECT d."workerId", d.id
		FROM "WorkerDeployment" d
		LEFT JOIN "WorkerDeploymentPromotion" p
			ON p."deploymentId" = d.id AND p."environmentId" = $1 AND p.label = 'current'
		WHERE $3 IS DISTINCT FROM 'DEVELOPMENT' AND $2 IS NULL AND d."environmentId" = $1
			AND (d.type = 'MANAGED' AND $3 IS NOT NULL OR p.id IS NOT NULL AND $3 IS NULL)
		ORDER BY p.id IS NULL, d."createdAt" DESC, d.id DESC LIMIT 1)
	) c JOIN "BackgroundWorker" w ON w.id = c.worker
$$, environment_column => 'workers');

SELECT runops.add_resolver('locked_worker', $$
	SELECT task.value AS "lockedBy", to_jsonb(version.*) AS "lockedToVersion",
		ARRAY[task.environment, task.worker, version."runtimeEnvironmentId"] AS workers
	FROM (SELECT) one
	LEFT JOIN LATERAL (
		SELECT w.id AS worker, w."runtimeEnvironmentId" AS environment,
			to_jsonb(t.*) || jsonb_build_object('worker', to_jsonb(w.*) || jsonb_build_object('deployment', to_jsonb(d.*))) AS value
		FROM "BackgroundWorkerTask" t
		JOIN "BackgroundWorker" w ON w.id = t."workerId"
		LEFT JOIN "WorkerDeployment" d ON d."workerId" = w.id
		WHERE t.id = $1
	) task ON true
	LEFT JOIN "BackgroundWorker" version ON version.id = $2
$$, environment_column => 'workers');

SELECT runops.watch('"RuntimeEnvironment"', environment_column => 'id');
SELECT runops.watch('"Project"', organization_column => 'organizationId');
SELECT runops.watch('"Organization"', organization_column => 'id');
SELECT runops.watch('"BackgroundWorker"', environment_column => 'runtimeEnvironmentId', slots => '{worker_version,locked_worker}');
SELECT runops.watch('"BackgroundWorker"', environment_column => 'id', slots => '{locked_worker}');
SELECT runops.watch('"BackgroundWorkerTask"', environment_column => 'workerId', slots => '{worker_version,locked_worker}');
SELECT runops.watch('"BackgroundWorkerTask"', environment_column => 'id', slots => '{locked_worker}');
SELECT runops.watch('"TaskQueue"', environment_column => 'runtimeEnvironmentId', slots => '{worker_version}');
SELECT runops.watch('"WorkerDeployment"', environment_column => 'environmentId', slots => '{worker_version,locked_worker}');
SELECT runops.watch('"WorkerDeploymentPromotion"', environment_column => 'environmentId', slots => '{worker_version}');

-- The absence of an environment whose project is deleted does not carry the
-- organization, so the project's writes do not reach it.
CREATE FUNCTION project_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM runops.invalidate_environment(e.id) FROM public."RuntimeEnvironment" e WHERE e."projectId" = NEW.id;
	RETURN NULL;
END
$$;
CREATE TRIGGER project_deleted AFTER UPDATE OF "deletedAt" ON "Project"
	FOR EACH ROW EXECUTE FUNCTION project_deleted();

GRANT EXECUTE ON FUNCTION runops.resolve TO run_ops_app;
