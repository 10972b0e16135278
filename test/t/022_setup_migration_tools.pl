# 022_setup_migration_tools.pl
#	  Run the statements of the usual migration tools on routed tables, and on the same tables in one database.
#
# Each statement must end alike in both, and leave the same indexes, constraints,
# columns, triggers and comments.  The names of the tables in messages and
# definitions are compared without the schema of the leaves.  The store runs the
# same migrations.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TwoClusters;

my $split = TwoClusters->new;
my $new = '3Ma1w188A7G064ka8gcVFGZRvRB';

my $schema = <<'EOT';
CREATE TYPE "Status" AS ENUM ('PENDING', 'DONE');
CREATE TABLE "Project" (id text PRIMARY KEY, name text);
CREATE TABLE "TaskRun" (
	id text NOT NULL,
	"friendlyId" text NOT NULL,
	status "Status" NOT NULL DEFAULT 'PENDING',
	"projectId" text,
	key text,
	n integer,
	during int4range,
	"createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
	CONSTRAINT "TaskRun_pkey" PRIMARY KEY (id)
);
CREATE UNIQUE INDEX "TaskRun_friendlyId_key" ON "TaskRun" ("friendlyId");
CREATE INDEX "TaskRun_projectId_idx" ON "TaskRun" ("projectId");
CREATE INDEX "TaskRun_n_idx" ON "TaskRun" (n);
ALTER TABLE "TaskRun" ADD CONSTRAINT "TaskRun_projectId_fkey" FOREIGN KEY ("projectId")
	REFERENCES "Project" (id) ON DELETE CASCADE ON UPDATE CASCADE,
	ADD CONSTRAINT "TaskRun_n_check" CHECK (n > 0);
CREATE TABLE "TaskRunAttempt" (id text PRIMARY KEY, "taskRunId" text NOT NULL, number integer,
	CONSTRAINT "TaskRunAttempt_taskRunId_fkey" FOREIGN KEY ("taskRunId") REFERENCES "TaskRun" (id) ON DELETE CASCADE);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER touch BEFORE UPDATE ON "TaskRun" FOR EACH ROW EXECUTE FUNCTION touch();
CREATE STATISTICS "TaskRun_stat" ON status, "projectId" FROM "TaskRun";
INSERT INTO "Project" VALUES ('p', 'project');
INSERT INTO "TaskRun" (id, "friendlyId", "projectId", key, n)
	SELECT 'cmcjssmao6dfcc016e6d94f4' || g, 'run_cmcjssmao6dfcc016e6d94f4' || g, 'p', 'k' || g, g + 1 FROM generate_series(0, 9) g;
EOT

$split->sql('CREATE DATABASE plain');
$split->control->safe_psql('plain', $schema);
$split->sql($schema);
$split->sql(q{SELECT runops.attach('"TaskRun"', 'id', '{friendlyId}'); SELECT runops.attach('"TaskRunAttempt"', 'taskRunId')});
$split->sql(q{SELECT runops.provision('new')});

# What the catalogs say of a table; $leaf is the relation that has its rows here.
sub facts
{
	my ($database, $table, $leaf) = @_;
	my $facts = $split->control->safe_psql($database, <<"EOT");
SELECT 'table', c.reloptions, c.relreplident, obj_description('$table'::regclass, 'pg_class')
FROM pg_class c WHERE c.oid = '$leaf'::regclass;
SELECT 'column', r.i, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
	a.attstorage, a.attcompression, nullif(a.attstattarget, -1), array(SELECT o FROM unnest(a.attoptions) o WHERE o NOT LIKE 'pg\\_%'),
	col_description(a.attrelid, a.attnum)
FROM (VALUES ('$table'::regclass, 1), ('$leaf'::regclass, 2)) AS r (relation, i)
JOIN pg_attribute a ON a.attrelid = r.relation AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
ORDER BY r.i, a.attname;
SELECT 'index', c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisclustered, i.indisreplident, c.reloptions,
	obj_description(c.oid, 'pg_class')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = '$leaf'::regclass ORDER BY c.relname;
SELECT 'constraint', c.conname, pg_get_constraintdef(c.oid), obj_description(c.oid, 'pg_constraint')
FROM pg_constraint c WHERE c.conrelid = '$leaf'::regclass AND c.conname NOT LIKE 'runops%' AND c.contype <> 'n' ORDER BY c.conname;
SELECT 'referring', c.conname, c.conrelid::regclass, pg_get_constraintdef(c.oid)
FROM pg_constraint c WHERE c.confrelid = '$leaf'::regclass ORDER BY c.conname;
SELECT 'trigger', t.tgname, pg_get_triggerdef(t.oid), t.tgenabled, obj_description(t.oid, 'pg_trigger')
FROM pg_trigger t WHERE t.tgrelid IN ('$table'::regclass, '$leaf'::regclass) AND NOT t.tgisinternal AND t.tgparentid = 0 ORDER BY 2;
SELECT 'statistics', s.stxname, s.stxkeys IS NOT NULL FROM pg_statistic_ext s
WHERE s.stxrelid IN ('$table'::regclass, '$leaf'::regclass) ORDER BY 2;
SELECT 'enum', e.enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid WHERE t.typname = 'Status' ORDER BY e.enumsortorder;
EOT

	$facts =~ s/\b(?:runops_legacy|public)\.//g;
	return $facts;
}

# Both tables, in the two databases; after detach no relation is in runops_legacy.
sub same_facts
{
	my ($name, $leaves) = @_;

	$leaves //= 'runops_legacy';
	foreach my $table ('TaskRun', 'TaskRunAttempt')
	{
		is( facts('postgres', qq{public."$table"}, qq{$leaves."$table"}),
			facts('plain', qq{public."$table"}, qq{public."$table"}),
			"$name: the catalogs agree about $table");
	}
	return;
}

# How a statement ends: its errors, and what it skips.
sub outcome
{
	my ($database, $sql) = @_;
	my $stderr;

	$split->control->psql($database, "\\set VERBOSITY verbose\n$sql", stderr => \$stderr, on_error_stop => 0);
	my $outcome = join("\n", grep { /^psql:.*(?:ERROR: |WARNING: |, skipping)/ } split(/\n/, $stderr));

	$outcome =~ s/^psql:.*?: (?=[A-Z]+: )//gm;
	$outcome =~ s/\b(?:runops_legacy|public)\.//g;
	return $outcome;
}

# Run the statements of a tool in both databases, and compare.
sub migrate
{
	my ($tool, @statements) = @_;

	foreach my $sql (@statements)
	{
		my $expected = outcome('plain', $sql);

		$split->store->psql('run_ops', $sql, on_error_stop => 0);
		is(outcome('postgres', $sql), $expected, "$tool: " . $sql =~ s/\s+/ /gr . ($expected ? " ($expected)" : ''));
	}
	return same_facts($tool);
}

same_facts('before');

migrate(
	'Prisma',
	'CREATE INDEX CONCURRENTLY IF NOT EXISTS "TaskRun_status_idx" ON "TaskRun" (status, "createdAt" DESC)',
	'CREATE INDEX CONCURRENTLY IF NOT EXISTS "TaskRun_status_idx" ON "TaskRun" (status, "createdAt" DESC)',
	'DROP INDEX CONCURRENTLY IF EXISTS "TaskRun_status_idx"',
	'DROP INDEX IF EXISTS "TaskRun_status_idx"',
	'DROP INDEX "TaskRun_projectId_idx"',
	'CREATE UNIQUE INDEX "TaskRun_projectId_key_key" ON "TaskRun"("projectId", "key")',
	'ALTER TABLE "TaskRun" ADD COLUMN     "region" TEXT,
ADD COLUMN     "attempts" INTEGER NOT NULL DEFAULT 0',
	'ALTER TABLE "TaskRun" DROP CONSTRAINT IF EXISTS "TaskRun_projectId_fkey"',
	'ALTER TABLE "TaskRun" DROP CONSTRAINT IF EXISTS "TaskRun_projectId_fkey"',
	'ALTER TABLE "public"."TaskRun" ADD CONSTRAINT "TaskRun_projectId_fkey" FOREIGN KEY ("projectId") REFERENCES "public"."Project"("id") ON DELETE RESTRICT ON UPDATE CASCADE',
	'ALTER TABLE "TaskRunAttempt" DROP CONSTRAINT "TaskRunAttempt_taskRunId_fkey"',
	'ALTER TABLE "TaskRunAttempt" ADD CONSTRAINT "TaskRunAttempt_taskRunId_fkey" FOREIGN KEY ("taskRunId") REFERENCES "TaskRun"("id") ON DELETE CASCADE ON UPDATE CASCADE',
	'ALTER TABLE "TaskRun" ALTER COLUMN "attempts" DROP DEFAULT, ALTER COLUMN "attempts" SET DATA TYPE BIGINT, ALTER COLUMN "key" SET NOT NULL',
	q{ALTER TABLE "TaskRun" ALTER COLUMN "key" DROP NOT NULL, ALTER COLUMN "region" SET DEFAULT 'eu'},
	'ALTER INDEX "TaskRun_friendlyId_key" RENAME TO "TaskRun_friendly_key"',
	'ALTER TABLE "TaskRun" RENAME CONSTRAINT "TaskRun_pkey" TO "run_pkey"',
	'ALTER TABLE "TaskRun" DROP CONSTRAINT "run_pkey", ADD CONSTRAINT "TaskRun_pkey" PRIMARY KEY ("id")',
	'ALTER TABLE "TaskRunAttempt" DROP CONSTRAINT "TaskRunAttempt_pkey", ADD COLUMN "seq" SERIAL NOT NULL, ADD CONSTRAINT "TaskRunAttempt_pkey" PRIMARY KEY ("id", "taskRunId")',
	q{ALTER TYPE "Status" ADD VALUE 'FAILED'},
	q{BEGIN;
CREATE TYPE "Status_new" AS ENUM ('PENDING', 'DONE', 'EXPIRED');
ALTER TABLE "TaskRun" ALTER COLUMN "status" DROP DEFAULT;
ALTER TABLE "TaskRun" ALTER COLUMN "status" TYPE "Status_new" USING ("status"::text::"Status_new");
ALTER TYPE "Status" RENAME TO "Status_old";
ALTER TYPE "Status_new" RENAME TO "Status";
DROP STATISTICS IF EXISTS "TaskRun_stat";
DROP TYPE "Status_old";
ALTER TABLE "TaskRun" ALTER COLUMN "status" SET DEFAULT 'PENDING';
COMMIT;});

migrate(
	'Rails',
	'CREATE INDEX CONCURRENTLY "index_runs_on_key" ON "TaskRun" ("key") WHERE ("key" IS NOT NULL)',
	'ALTER INDEX "index_runs_on_key" RENAME TO "index_runs_on_the_key"',
	'DROP INDEX CONCURRENTLY "index_runs_on_the_key"',
	'CREATE INDEX "index_runs_on_lower_key" ON "TaskRun" USING btree (lower("key"))',
	'DROP INDEX CONCURRENTLY IF EXISTS "index_runs_on_lower_key"',
	'ALTER TABLE "TaskRun" ADD CONSTRAINT "chk_rails_1" CHECK (n < 100) NOT VALID',
	'ALTER TABLE "TaskRun" VALIDATE CONSTRAINT "chk_rails_1"',
	'ALTER TABLE "TaskRun" DROP CONSTRAINT "chk_rails_1"',
	'ALTER TABLE "TaskRun" DROP CONSTRAINT "chk_rails_1"',
	'ALTER TABLE "TaskRun" ADD CONSTRAINT "fk_rails_1" FOREIGN KEY ("region") REFERENCES "Project" ("id") NOT VALID',
	'ALTER TABLE "TaskRun" VALIDATE CONSTRAINT "fk_rails_1"',
	'ALTER TABLE "TaskRun" ALTER CONSTRAINT "fk_rails_1" DEFERRABLE INITIALLY DEFERRED',
	'ALTER TABLE "TaskRun" DROP CONSTRAINT "fk_rails_1"',
	'CREATE UNIQUE INDEX "unique_n" ON "TaskRun" ("n")',
	'ALTER TABLE "TaskRun" ADD CONSTRAINT "unique_runs_n" UNIQUE USING INDEX "unique_n" DEFERRABLE INITIALLY DEFERRED',
	'ALTER TABLE "TaskRun" ADD CONSTRAINT "during_excl" EXCLUDE USING gist (during WITH &&) WHERE (n > 5)',
	'ALTER TABLE "TaskRun" DROP CONSTRAINT "during_excl"',
	q{COMMENT ON COLUMN "TaskRun"."key" IS 'of the user'},
	q{COMMENT ON TABLE "TaskRun" IS 'runs'},
	'ALTER TABLE "TaskRun" DISABLE TRIGGER ALL',
	'ALTER TABLE "TaskRun" ENABLE TRIGGER ALL');

migrate(
	'Django',
	'BEGIN;
ALTER TABLE "TaskRun" ADD COLUMN "owner_id" text NULL CONSTRAINT "TaskRun_owner_id_fk" REFERENCES "Project"("id") DEFERRABLE INITIALLY DEFERRED;
SET CONSTRAINTS "TaskRun_owner_id_fk" IMMEDIATE;
CREATE INDEX "TaskRun_owner_id_8f" ON "TaskRun" ("owner_id");
CREATE INDEX "TaskRun_owner_id_8f_like" ON "TaskRun" ("owner_id" text_pattern_ops);
COMMIT',
	'BEGIN;
SET CONSTRAINTS "TaskRun_owner_id_fk" IMMEDIATE;
ALTER TABLE "TaskRun" DROP CONSTRAINT "TaskRun_owner_id_fk";
DROP INDEX IF EXISTS "TaskRun_owner_id_8f_like";
ALTER TABLE "TaskRun" ADD CONSTRAINT "TaskRun_projectId_n_uniq" UNIQUE ("projectId", "n");
ALTER TABLE "TaskRun" ADD CONSTRAINT "positive" CHECK ("n" >= 0);
COMMIT',
	'BEGIN;
ALTER TABLE "TaskRun" DROP CONSTRAINT "TaskRun_projectId_n_uniq", DROP CONSTRAINT "positive";
ALTER TABLE "TaskRun" ALTER COLUMN "owner_id" TYPE varchar(30) USING "owner_id"::varchar(30);
ALTER TABLE "TaskRun" DROP COLUMN "owner_id" CASCADE;
COMMIT');

migrate(
	'Knex',
	'alter table "TaskRun" add constraint "taskrun_region_unique" unique ("region", "id")',
	'alter table "TaskRun" drop constraint "taskrun_region_unique"',
	'create index "taskrun_region_index" on "TaskRun" ("region")',
	'drop index "taskrun_region_index"',
	'drop index if exists "taskrun_region_index"',
	'alter table "TaskRun" drop constraint "TaskRun_n_check"',
	'alter table "TaskRun" alter column "n" drop default, alter column "n" drop not null, alter column "n" type bigint using ("n"::bigint)',
	'alter table "TaskRunAttempt" add column "parentId" varchar(255), add constraint "attempt_parent_foreign" foreign key ("parentId") references "TaskRun" ("id") on delete set null',
	'alter table "TaskRunAttempt" drop constraint "attempt_parent_foreign", drop column "parentId"');

migrate(
	'TypeORM',
	'CREATE INDEX "IDX_1" ON "public"."TaskRun" ("region", "n") ',
	'DROP INDEX "public"."IDX_1"',
	'ALTER TABLE "TaskRun" ADD CONSTRAINT "UQ_1" UNIQUE ("region", "n", "key")',
	'ALTER TABLE "TaskRun" RENAME COLUMN "region" TO "place"',
	'ALTER TABLE "TaskRun" DROP CONSTRAINT "UQ_1"',
	'ALTER TABLE "TaskRun" RENAME COLUMN "place" TO "region"',
	q{COMMENT ON COLUMN "TaskRun"."region" IS 'where'});

migrate(
	'Flyway',
	'ALTER TABLE IF EXISTS "TaskRun" DROP CONSTRAINT IF EXISTS missing, DROP CONSTRAINT IF EXISTS "unique_runs_n"',
	'ALTER TABLE "TaskRun" SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02), ALTER COLUMN key SET STATISTICS 500, ALTER COLUMN key SET STORAGE EXTERNAL, ALTER COLUMN key SET COMPRESSION pglz, ALTER COLUMN key SET (n_distinct = 40)',
	'ALTER TABLE "TaskRun" RESET (autovacuum_vacuum_scale_factor)',
	'ALTER INDEX "TaskRun_n_idx" SET (fillfactor = 60)',
	'CLUSTER "TaskRun" USING "TaskRun_n_idx"',
	'CLUSTER "TaskRun"',
	'ALTER TABLE "TaskRun" REPLICA IDENTITY USING INDEX "TaskRun_friendly_key"',
	'REINDEX INDEX CONCURRENTLY "TaskRun_n_idx"',
	'REINDEX TABLE "TaskRun"',
	'BEGIN; REINDEX TABLE "TaskRun"; COMMIT',
	q{COMMENT ON INDEX "TaskRun_n_idx" IS 'numbers'},
	q{COMMENT ON CONSTRAINT "TaskRun_pkey" ON "TaskRun" IS 'ids'},
	'DROP TRIGGER IF EXISTS touch ON "TaskRun"',
	'CREATE TRIGGER touch BEFORE UPDATE ON "TaskRun" FOR EACH ROW EXECUTE FUNCTION touch()',
	'CREATE STATISTICS IF NOT EXISTS more ON key, n FROM "TaskRun"',
	'CREATE TABLE "Archive" (LIKE "TaskRun" INCLUDING INDEXES INCLUDING STORAGE)',
	'DROP TABLE "Archive"',
	'DO $$
BEGIN
	DROP INDEX IF EXISTS "TaskRun_projectId_key_key";
	EXECUTE format(\'CREATE UNIQUE INDEX %I ON %I (key, n)\', \'TaskRun_key_n_key\', \'TaskRun\');
	ALTER TABLE "TaskRun" DROP CONSTRAINT IF EXISTS "TaskRun_projectId_fkey";
EXCEPTION WHEN undefined_object THEN
	RAISE WARNING \'%\', SQLERRM;
END
$$');

# The statements were run in the store as well, where there is no project; so nothing is left to do there.
is( $split->sql(q{SELECT object || ': ' || action || coalesce(', ' || detail, '') FROM runops.provision('new') WHERE action <> 'exists'}),
	'', 'the store has followed its own migrations');
is($split->sql('SELECT * FROM runops.verify()'), '', 'and verify finds nothing');
is( $split->sql(qq{
	INSERT INTO "TaskRun" (id, "friendlyId", attempts, status, n, key) VALUES ('$new', 'run_$new', 0, 'EXPIRED', 99, 'k');
	UPDATE "TaskRun" SET n = n + 1 WHERE status = 'EXPIRED';
	SELECT n, region FROM "TaskRun" WHERE id = '$new';
	SELECT count(*) FROM (SELECT * FROM "TaskRun" OFFSET 0) r;
	DELETE FROM "TaskRun" WHERE id = '$new' RETURNING key}),
	"100|eu\n11\nk", 'rows of both are read and written');

# detach gives the plain table back, with what the migrations have made of it
$split->sql(q{SET client_min_messages = error; SELECT runops.detach('"TaskRunAttempt"'); SELECT runops.detach('"TaskRun"')});
same_facts('after detach', 'public');

done_testing();
