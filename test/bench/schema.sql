-- The tables of the benchmark, in the schema that search_path names first: runs
-- and their attempts, all with cuids, and the environments that they belong to.

CREATE TABLE environment (
	id text PRIMARY KEY,
	slug text NOT NULL,
	"organizationId" text NOT NULL
);
CREATE TABLE run (
	id text PRIMARY KEY,
	"friendlyId" text NOT NULL UNIQUE,
	engine text NOT NULL DEFAULT 'V2',
	gone text,
	status text NOT NULL DEFAULT 'PENDING',
	"environmentId" text NOT NULL,
	"organizationId" text NOT NULL,
	"taskIdentifier" text NOT NULL,
	"idempotencyKey" text,
	payload jsonb,
	"payloadType" text NOT NULL DEFAULT 'application/json',
	"traceId" text NOT NULL,
	"spanId" text NOT NULL,
	tags text[] NOT NULL DEFAULT '{}',
	"costInCents" double precision NOT NULL DEFAULT 0,
	"attemptNumber" integer NOT NULL DEFAULT 0,
	"maxAttempts" integer,
	"isTest" boolean NOT NULL DEFAULT false,
	queue text NOT NULL DEFAULT 'default',
	"createdAt" timestamp(3) NOT NULL DEFAULT now(),
	"updatedAt" timestamp(3) NOT NULL DEFAULT now(),
	"startedAt" timestamp(3),
	"completedAt" timestamp(3)
);
-- as every table that was altered, ever
ALTER TABLE run DROP COLUMN gone;
CREATE INDEX ON run ("environmentId", "createdAt" DESC);
CREATE INDEX ON run ("environmentId", "taskIdentifier", "idempotencyKey");
CREATE TABLE attempt (
	id text PRIMARY KEY,
	number integer NOT NULL,
	"runId" text NOT NULL,
	status text NOT NULL DEFAULT 'EXECUTING',
	output text,
	"createdAt" timestamp(3) NOT NULL DEFAULT now(),
	UNIQUE ("runId", number)
);

INSERT INTO environment SELECT 'env' || e, 'slug-' || e, 'org' || e % 5 FROM generate_series(1, 20) e;
INSERT INTO run (id, "friendlyId", status, "environmentId", "organizationId", "taskIdentifier", payload,
		"traceId", "spanId", "maxAttempts", "createdAt")
	SELECT 'c' || lpad(n::text, 24, '0'), 'run_c' || lpad(n::text, 24, '0'), 'COMPLETED', 'env' || n % 20 + 1,
		'org' || n % 5, 'task-' || n % 7, jsonb_build_object('n', n, 'text', repeat('x', 100)),
		md5('trace' || n), left(md5('span' || n), 16), 3, timestamp '2026-01-01' + n * interval '1 minute'
	FROM generate_series(1, 20000) n;
INSERT INTO attempt (id, number, "runId", output)
	SELECT 'c' || lpad((n * 10 + a)::text, 24, '0'), a, 'c' || lpad(n::text, 24, '0'), repeat('y', 50)
	FROM generate_series(1, 20000) n, generate_series(1, 2) a;
