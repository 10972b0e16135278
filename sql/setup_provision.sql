-- setup_provision: creates in a store the objects that routed tables need there
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA "Prov App";
SET search_path = "Prov App", public;

CREATE TYPE "Run Status" AS ENUM ('PENDING', 'EXECUTING', 'it''s done');
CREATE DOMAIN "Positive" AS int CONSTRAINT is_positive CHECK (VALUE > 0);
CREATE DOMAIN "More" AS "Positive" CHECK (VALUE < 1000);
CREATE TYPE "Pair" AS (a "Run Status"[], b text);
CREATE DOMAIN "Name" AS varchar(20) NOT NULL;
CREATE DOMAIN "List" AS "More"[] CHECK (cardinality(VALUE) < 5);
CREATE DOMAIN "Lists" AS "List"[];
CREATE TYPE "Empty" AS ENUM ();
CREATE TYPE "Unit" AS ();
CREATE COLLATION "Bytes" FROM "C";
CREATE SEQUENCE prov_seq;
CREATE TABLE "Project" (id text PRIMARY KEY);
CREATE TABLE "Batch" (id text PRIMARY KEY, "projectId" text REFERENCES "Project");
CREATE TABLE "Run" (
	id text COLLATE "C",
	"friendlyId" varchar(60) NOT NULL,
	dropped int,
	status "Run Status" NOT NULL DEFAULT 'PENDING',
	n "More",
	pair "Pair",
	label text COLLATE "Bytes",
	code varchar(40) DEFAULT 'none',
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
	tags text[] DEFAULT '{}',
	data jsonb,
	name "Name" DEFAULT 'x',
	empty "Empty",
	lists "Lists",
	unit "Unit",
	number bigint DEFAULT nextval('prov_seq'),
	token uuid DEFAULT gen_random_uuid(),
	size numeric(10,2) GENERATED ALWAYS AS (length(id) * 1.5) STORED,
	"batchId" text REFERENCES "Batch" ON DELETE SET NULL ON UPDATE CASCADE,
	depth int NOT NULL DEFAULT 0 CHECK (depth >= 0),
	CONSTRAINT "Run_pkey" PRIMARY KEY (id) INCLUDE (depth),
	CONSTRAINT "Run tags" CHECK (cardinality(tags) < 10)
);
ALTER TABLE "Run" DROP COLUMN dropped;
CREATE UNIQUE INDEX "Run_friendlyId_key" ON "Run" ("friendlyId");
CREATE UNIQUE INDEX "Run key" ON "Run" (code, label) NULLS NOT DISTINCT WHERE depth > 0;
CREATE INDEX "Run_tags_idx" ON "Run" USING gin (tags);
CREATE INDEX "Run_createdAt_idx" ON "Run" USING brin ("createdAt") WITH (pages_per_range = 64);
CREATE INDEX "Run_expr_idx" ON "Run" (lower(label) COLLATE "C" text_pattern_ops, (data ->> 'x') DESC NULLS LAST) INCLUDE (status);
ALTER TABLE "Run" ADD CONSTRAINT "Run_token_key" UNIQUE (token) DEFERRABLE;
ALTER TABLE "Run" ADD CONSTRAINT "Run_no_overlap" EXCLUDE USING btree (number WITH =);
CREATE TABLE "Attempt" (
	id text PRIMARY KEY,
	"runId" varchar NOT NULL REFERENCES "Run" ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
SELECT runops.attach('"Batch"', 'id');
SELECT runops.attach('"Run"', 'id', '{friendlyId,batchId}');
SELECT runops.attach('"Attempt"', 'runId');

-- a dry run tells everything and does nothing
\pset format unaligned
\pset null '-'
SELECT object, action, ddl FROM runops.provision('new', dry_run => true) WHERE object LIKE '%Prov App%';
SELECT * FROM runops.remote_query('new', $$SELECT nspname FROM pg_namespace WHERE nspname = 'Prov App'$$);

-- one table alone: the foreign key waits for the other
SELECT * FROM runops.provision('new', relation => '"Run"') WHERE action <> 'create';
SELECT object, action FROM runops.provision('new') WHERE action <> 'exists';
SELECT object, action, ddl, detail FROM runops.provision('new');

-- the same there as here
\pset format aligned
\pset null ''
\connect runops_store
SET search_path = "Prov App";
\d "Run"
\d "Attempt"
\dD "Positive"

-- only this store's ids enter
\set VERBOSITY terse
INSERT INTO "Run" (id, "friendlyId") VALUES ('ck00000000000000000000001', 'f1');
INSERT INTO "Run" (id, "friendlyId") VALUES ('0123456789abcdefghijklmne2', 'f1');
INSERT INTO "Run" (id, "friendlyId") VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv' || E'\n', 'f1');
INSERT INTO "Run" (id, "friendlyId") VALUES ('a_b_0ujtsYcgvSTl8PAuAdqWYSMnLOv', 'f1');
INSERT INTO "Run" (id, "friendlyId") VALUES ('odd', 'f1');
INSERT INTO "Run" (id, "friendlyId") VALUES ('', 'f1');
INSERT INTO "Attempt" VALUES ('1', 'ck00000000000000000000001');
INSERT INTO "Run" (id, "friendlyId") VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', 'run_ck00000000000000000000001');
INSERT INTO "Run" (id, "friendlyId") VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', '0123456789abcdefghijklmne2');
INSERT INTO "Run" (id, "friendlyId") VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', 'odd');
INSERT INTO "Run" (id, "friendlyId") VALUES ('run_0123456789abcdefghijklmne1', 'run_0123456789abcdefghijklmne1');
INSERT INTO "Attempt" VALUES ('1', 'run_0123456789abcdefghijklmne1');
DELETE FROM "Run";

\connect contrib_regression
\set VERBOSITY default
\pset null '-'
SET client_min_messages = warning;
SET search_path = "Prov App", public;

-- rows through the routed name; defaults are this side's
INSERT INTO "Run" (id, "friendlyId", n, pair, tags, data, label)
VALUES ('0ujtsYcgvSTl8PAuAdqWYSMnLOv', 'run_0ujtsYcgvSTl8PAuAdqWYSMnLOv', 7, ROW('{PENDING}', 'b'), '{x,"y z"}', '{"x": 1}', 'L'),
	('ck00000000000000000000001', 'run_ck00000000000000000000001', 7, ROW('{PENDING}', 'b'), '{x,"y z"}', '{"x": 1}', 'L');
SELECT id, status, n, pair, label, code, tags, data, number, size FROM "Run" ORDER BY number;

-- a later ALTER TABLE and CREATE INDEX on the routed name
ALTER TABLE "Run" ADD COLUMN priority int NOT NULL DEFAULT 5;
ALTER TABLE "Run" ADD COLUMN "endedAt" timestamp(3) CHECK ("endedAt" > '2020-01-01');
CREATE INDEX "Run by priority" ON "Run" (priority DESC, id) WHERE "endedAt" IS NULL;
ALTER TYPE "Run Status" ADD VALUE 'QUEUED' BEFORE 'PENDING';
ALTER TYPE "Run Status" ADD VALUE 'PAUSED' AFTER 'EXECUTING';
ALTER TYPE "Run Status" ADD VALUE 'ZOMBIE';
\pset format unaligned
SELECT object, action, ddl, detail FROM runops.provision('new') WHERE action <> 'exists';
SELECT object, action, ddl, detail FROM runops.provision('new') WHERE action <> 'exists';
SELECT * FROM runops.remote_query('new', $$SELECT enum_range(NULL::"Prov App"."Run Status") AS labels$$);
SELECT id, priority, status FROM "Run" ORDER BY number;

-- the store first: known only there, then on both sides
SELECT runops.remote_exec('new', 'ALTER TABLE "Prov App"."Run" ADD COLUMN region text; CREATE INDEX "Run_region" ON "Prov App"."Run" (region)');
SELECT object, action, ddl, detail FROM runops.provision('new') WHERE action <> 'exists';
ALTER TABLE "Run" ADD COLUMN region text;
CREATE INDEX "Run_region" ON "Run" (region);
SELECT object, action, ddl, detail FROM runops.provision('new') WHERE action <> 'exists' OR object LIKE '%region%';

-- both in one transaction
BEGIN;
ALTER TABLE "Run" ADD COLUMN note text;
SELECT object, action FROM runops.provision('new') WHERE action <> 'exists';
SELECT id, note FROM "Run" ORDER BY number;
COMMIT;

-- a column renamed here is not added beside the old one
ALTER TABLE "Run" RENAME COLUMN region TO area;
SELECT object, action, ddl, detail FROM runops.provision('new') WHERE action <> 'exists' AND object LIKE 'column%';
SELECT runops.remote_exec('new', 'ALTER TABLE "Prov App"."Run" RENAME COLUMN region TO area');
SELECT object, action, ddl, detail FROM runops.provision('new') WHERE action <> 'exists';

-- nothing half done: a name that is taken undoes all of it
SELECT runops.remote_exec('new', 'CREATE TABLE "Prov App".taken (i int)');
ALTER TABLE "Run" ADD COLUMN undone int;
CREATE INDEX taken ON "Run" (undone);
SELECT object, action FROM runops.provision('new');
SELECT count(*) FROM runops.remote_query('new', $$SELECT 1 FROM pg_attribute WHERE attname = 'undone'$$);
SELECT runops.remote_exec('new', 'DROP TABLE "Prov App".taken');
SELECT object, action FROM runops.provision('new') WHERE action <> 'exists';

-- a column without a value for rows that are there
ALTER TABLE "Run" ADD COLUMN must bigint DEFAULT nextval('prov_seq') NOT NULL;
SELECT object, action FROM runops.provision('new') WHERE action <> 'exists';
ALTER TABLE "Run" DROP COLUMN must;

-- a shard, in another schema of the same database
DO $$
BEGIN
	EXECUTE format('CREATE SERVER prov_shard FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
		current_setting('unix_socket_directories'), current_setting('port'), 'runops_store');
END
$$;
CREATE USER MAPPING FOR CURRENT_USER SERVER prov_shard;
SELECT runops.add_store('p', 'prov_shard', remote_schema => 'Shard P');
SELECT action, count(*) FROM runops.provision('p') GROUP BY action ORDER BY action;
SELECT object, action, ddl, detail FROM runops.provision('p') WHERE action <> 'exists';
INSERT INTO "Run" (id, "friendlyId") VALUES ('0123456789abcdefghijklmnp2', 'run_0123456789abcdefghijklmnp2');
SELECT * FROM runops.remote_query('p', 'SELECT id FROM "Shard P"."Run"');
\set VERBOSITY terse
SELECT runops.remote_exec('p', $$INSERT INTO "Shard P"."Run" (id, "friendlyId") VALUES ('0123456789abcdefghijklmnq2', 'x')$$);
SELECT runops.remote_exec('p', $$INSERT INTO "Shard P"."Run" (id, "friendlyId") VALUES ('0123456789abcdefghijklmnp2x', 'x')$$);
SELECT runops.remote_exec('p', $$INSERT INTO "Shard P"."Run" (id, "friendlyId") VALUES ('0123456789abcdefghijkxxxp2', '0123456789abcdefghijklmnp1')$$);
\set VERBOSITY default
SELECT runops.drop_store('p', force => true);
SELECT runops.remote_exec('new', 'DROP SCHEMA "Shard P" CASCADE');
DROP USER MAPPING FOR CURRENT_USER SERVER prov_shard;
DROP SERVER prov_shard;

-- bad arguments
SELECT * FROM runops.provision('q');
SELECT * FROM runops.provision(NULL);
SELECT * FROM runops.provision('legacy');
SELECT * FROM runops.provision('new', relation => '"Project"');
CREATE ROLE regress_prov;
GRANT USAGE ON SCHEMA runops TO regress_prov;
SET ROLE regress_prov;
SELECT * FROM runops.provision('new');
RESET ROLE;
DROP OWNED BY regress_prov;
DROP ROLE regress_prov;

-- a dead store: one clear error, and the session lives on
DO $$ BEGIN EXECUTE format('ALTER SERVER run_ops OPTIONS (SET host %L)', '/nonexistent'); END $$;
DO $$ BEGIN PERFORM runops.provision('new'); EXCEPTION WHEN OTHERS THEN RAISE WARNING '% (%)', SQLERRM, SQLSTATE; END $$;
DO $$ BEGIN EXECUTE format('ALTER SERVER run_ops OPTIONS (SET host %L)', current_setting('unix_socket_directories')); END $$;

SELECT runops.detach('"Attempt"', force => true);
SELECT runops.detach('"Run"', force => true);
SELECT runops.detach('"Batch"', force => true);
DROP SCHEMA "Prov App" CASCADE;
SELECT runops.remote_exec('new', 'DROP SCHEMA "Prov App" CASCADE');
