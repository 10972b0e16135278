-- The tables of the differential test, as they stand before the split; loaded into the control plane and into the plain
-- database.  Column numbers differ from the stores' wherever a column was dropped; types, defaults, generated columns
-- and expression keys are those of a run-ops schema in small.
CREATE TYPE run_status AS ENUM ('PENDING', 'EXECUTING', 'DONE', 'FAILED');
CREATE DOMAIN short_id AS varchar(64);
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
-- under this one ids of different length, and so of different stores, can be equal: numbers are compared as such
CREATE COLLATION nn (provider = icu, locale = 'und-u-kn-true', deterministic = false);

CREATE TABLE env (
	id text PRIMARY KEY,
	org text NOT NULL,
	name text
);

CREATE TABLE note (				-- local rows that name runs of every store
	id int PRIMARY KEY,
	run_id text,
	env text REFERENCES env,
	body text,
	n int
);
CREATE INDEX ON note (run_id);

CREATE TABLE "TaskRun" (
	gone1 int,
	id text NOT NULL,
	"friendlyId" text,
	gone2 text,
	"parentTaskRunId" text,
	"batchId" text,					-- names a batch of any store: no alias
	env text NOT NULL,
	status run_status NOT NULL DEFAULT 'PENDING',
	n int,
	n2 int GENERATED ALWAYS AS (n * 2) STORED,
	gone3 int,
	"createdAt" timestamp(3) NOT NULL DEFAULT '2026-01-01 00:00:00',
	tags text[],
	meta jsonb,
	mark int DEFAULT 0,
	CONSTRAINT "TaskRun_pkey" PRIMARY KEY (id)
);
ALTER TABLE "TaskRun" DROP COLUMN gone1, DROP COLUMN gone2, DROP COLUMN gone3;
CREATE INDEX ON "TaskRun" ("friendlyId");
CREATE INDEX ON "TaskRun" ("parentTaskRunId");
CREATE INDEX ON "TaskRun" (env, "createdAt" DESC, id DESC);

CREATE TABLE "Attempt" (
	gone int,
	id text NOT NULL,				-- cuid-shaped wherever the row lives
	"runId" text NOT NULL,
	number int NOT NULL CHECK (number > 0),
	status run_status NOT NULL DEFAULT 'PENDING',
	n int,
	output jsonb,
	mark int DEFAULT 0,
	CONSTRAINT "Attempt_pkey" PRIMARY KEY (id),
	CONSTRAINT "Attempt_number" UNIQUE ("runId", number),
	CONSTRAINT "Attempt_runId_fkey" FOREIGN KEY ("runId") REFERENCES "TaskRun" (id) ON UPDATE CASCADE ON DELETE CASCADE
);
ALTER TABLE "Attempt" DROP COLUMN gone;

CREATE TABLE "Waitpoint" (
	id text NOT NULL,
	"completedByTaskRunId" text,
	"completedByBatchId" text,
	gone int,
	env text,
	status text NOT NULL DEFAULT 'PENDING',
	n int,
	mark int DEFAULT 0,
	CONSTRAINT "Waitpoint_pkey" PRIMARY KEY (id)
);
ALTER TABLE "Waitpoint" DROP COLUMN gone;
CREATE INDEX ON "Waitpoint" ("completedByTaskRunId");

CREATE TABLE "Batch" (
	id short_id NOT NULL,
	env varchar(20),
	n int,
	mark int DEFAULT 0,
	CONSTRAINT "Batch_pkey" PRIMARY KEY (id)
);

-- fires once for a statement, whichever stores it reaches
CREATE TABLE statement_log (tg_op text);
CREATE FUNCTION log_statement() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql
AS 'BEGIN INSERT INTO public.statement_log VALUES (TG_OP); RETURN NULL; END';
CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON "Waitpoint" FOR EACH STATEMENT EXECUTE FUNCTION log_statement();
