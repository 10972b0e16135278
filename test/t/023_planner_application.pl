# 023_planner_application.pl
#	  The statements of the application of test/schema, with the planner hooks and without.
#
# Each statement runs on a database with families of both kinds: as text, prepared
# with a custom plan and with a generic plan, and with routing off.  All four runs
# have to return the same rows and leave the same rows in the tables.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TwoClusters;

my $schema = "$FindBin::RealBin/../schema";
my $split = TwoClusters->new;
my $control = $split->control;

# Run files of test/schema in the control plane.
sub psql_files
{
	my ($variables, @files) = @_;
	my ($stdout, $stderr) = ('', '');

	IPC::Run::run(
		[
			'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $control->connstr('postgres'),
			(map { ('-v', "$_=$variables->{$_}") } sort keys %$variables),
			(map { ('-f', "$schema/$_") } @files)
		],
		'>', \$stdout, '2>', \$stderr) or die "@files: $stderr";
	return;
}

psql_files({ seed => 1 }, qw(control_plane.sql run_ops.sql rows.sql));
$split->sql(q{CREATE USER MAPPING FOR run_ops_owner SERVER run_ops OPTIONS (password_required 'false')});
psql_files({ seed => 1, kind => 'legacy', families => 12 }, 'families.sql');
$split->sql('SET client_min_messages = error; ' . join(' ', grep { /^SELECT/ } split(/\n/, slurp_file("$schema/attach.sql"))));
$split->sql(q{SELECT runops.provision('new')});
psql_files({ seed => 1, kind => 'new', families => 12 }, 'families.sql');
$split->sql('ANALYZE');

# A statement, the types of its parameters, and SQL for its arguments, of which
# each row is a case.  :root and :batch stand for a run that has children, one
# of each kind in turn, and their batch.
my @statements = (
	# 1. a run by id and by friendly id
	[ 'SELECT * FROM "TaskRun" WHERE id = $1', 'text', ':root' ],
	[ 'SELECT id, status FROM "TaskRun" WHERE "friendlyId" = $1 AND "runtimeEnvironmentId" = $2', 'text, text',
		q{'run_' || :root, (SELECT "runtimeEnvironmentId" FROM "TaskRun" WHERE id = :root)} ],
	# 2. sets of ids
	[ 'SELECT id, "createdAt" FROM "TaskRun" WHERE id = ANY ($1) ORDER BY "createdAt" DESC, id DESC', 'text[]',
		'ARRAY(SELECT id FROM "TaskRun" WHERE "rootTaskRunId" = :root)' ],
	[ 'SELECT id, "createdAt" FROM "TaskRun" WHERE id = ANY ($1) ORDER BY "createdAt" DESC, id DESC LIMIT 7', 'text[]',
		q{ARRAY(SELECT id FROM "TaskRun" WHERE "rootTaskRunId" = :root) || ARRAY(SELECT max(id) FROM "TaskRun") || ARRAY[NULL, 'odd']} ],
	# 4. lists by keyset, merged
	[ 'SELECT id, "createdAt" FROM "TaskRun" WHERE "runtimeEnvironmentId" = $1 AND ("createdAt" < $2 OR ("createdAt" = $2 AND id < $3)) ORDER BY "createdAt" DESC, id DESC LIMIT 11',
		'text, timestamp, text', '(SELECT "runtimeEnvironmentId" FROM "TaskRun" WHERE id = :root), timestamp \'2025-07-03\', :root' ],
	[ 'SELECT id, status FROM "BatchTaskRun" WHERE "runtimeEnvironmentId" = $1 AND "createdAt" > $2 ORDER BY "createdAt" DESC, id DESC LIMIT 5',
		'text, timestamp', '(SELECT "runtimeEnvironmentId" FROM "TaskRun" WHERE id = :root), timestamp \'2025-01-01\'' ],
	# 5. idempotency
	[ 'SELECT r.id, w.id FROM "TaskRun" r LEFT JOIN "Waitpoint" w ON w."completedByTaskRunId" = r.id WHERE r."runtimeEnvironmentId" = $1 AND r."taskIdentifier" = $2 AND r."idempotencyKey" = $3',
		'text, text, text', '(SELECT "runtimeEnvironmentId" FROM "TaskRun" WHERE id = :child), (SELECT "taskIdentifier" FROM "TaskRun" WHERE id = :child), (SELECT "idempotencyKey" FROM "TaskRun" WHERE id = :child)' ],
	[ 'UPDATE "TaskRun" SET "idempotencyKey" = NULL, "idempotencyKeyExpiresAt" = NULL WHERE id = $1 AND "idempotencyKey" = $2 RETURNING id', 'text, text',
		':child, (SELECT "idempotencyKey" FROM "TaskRun" WHERE id = :child)' ],
	[ 'UPDATE "TaskRun" SET "idempotencyKey" = NULL WHERE "runtimeEnvironmentId" = $1 AND "idempotencyKey" IS NOT NULL RETURNING id', 'text',
		'(SELECT "runtimeEnvironmentId" FROM "TaskRun" WHERE id = :root)' ],
	# 6. batches
	[ 'SELECT count(*) FROM "BatchTaskRunItem" WHERE "batchTaskRunId" = $1', 'text', ':batch' ],
	[ 'SELECT status, count(*) FROM "BatchTaskRunItem" WHERE "batchTaskRunId" = $1 GROUP BY status ORDER BY status', 'text', ':batch' ],
	[ 'UPDATE "BatchTaskRunItem" SET status = \'COMPLETED\' WHERE "batchTaskRunId" = $1 AND status <> \'COMPLETED\' RETURNING id', 'text', ':batch' ],
	[ 'SELECT id FROM "TaskRun" WHERE "batchId" = $1 AND "runtimeEnvironmentId" = $2 ORDER BY id COLLATE "C"', 'text, text',
		':batch, (SELECT "runtimeEnvironmentId" FROM "TaskRun" WHERE id = :root)' ],
	[ 'UPDATE "BatchTaskRun" SET sealed = true, "sealedAt" = \'2026-01-01\', status = \'PROCESSING\', "processingJobsCount" = "processingJobsCount" + 1 WHERE id = $1 AND sealed = false RETURNING *',
		'text', ':batch' ],
	[ 'SELECT b.id, i.id, r.status FROM "BatchTaskRun" b JOIN "BatchTaskRunItem" i ON i."batchTaskRunId" = b.id JOIN "TaskRun" r ON r.id = i."taskRunId" WHERE b."friendlyId" = $1 ORDER BY i.id',
		'text', q{'batch_' || :batch} ],
	# 7. block
	[ 'WITH e AS (INSERT INTO "TaskRunWaitpoint" (id, "taskRunId", "waitpointId", "projectId") SELECT \'edge \' || w, $1, w, $2 FROM unnest($3) w ON CONFLICT DO NOTHING RETURNING "waitpointId"), c AS (INSERT INTO "WaitpointRunConnection" (id, "taskRunId", "waitpointId") SELECT \'connection \' || w, $1, w FROM unnest($3) w ON CONFLICT DO NOTHING) SELECT count(*) FROM e',
		'text, text, text[]', q{:root, (SELECT "projectId" FROM "TaskRun" WHERE id = :root), ARRAY['w1', 'w2']} ],
	[ 'SELECT count(*) FROM "Waitpoint" WHERE id = ANY ($1) AND status = \'PENDING\'', 'text[]',
		'ARRAY(SELECT w.id FROM "Waitpoint" w JOIN "TaskRun" r ON r.id = w."completedByTaskRunId" WHERE r."rootTaskRunId" = :root)' ],
	# 8. complete
	[ 'UPDATE "Waitpoint" SET status = \'COMPLETED\', output = $2, tags = array_append(tags, \'done\') WHERE id = $1 AND status = \'PENDING\' RETURNING *', 'text, text',
		q{(SELECT min(w.id) FROM "Waitpoint" w JOIN "TaskRun" r ON r.id = w."completedByTaskRunId" WHERE r."rootTaskRunId" = :root AND w.status = 'PENDING'), '{}'} ],
	[ 'SELECT e."taskRunId", w.status FROM "TaskRunWaitpoint" e LEFT JOIN "Waitpoint" w ON w.id = e."waitpointId" WHERE e."taskRunId" = $1 ORDER BY 1, 2, w.id', 'text', ':root' ],
	[ 'DELETE FROM "TaskRunWaitpoint" WHERE "taskRunId" = $1 RETURNING "waitpointId"', 'text', ':root' ],
	# 9. snapshots
	[ 'SELECT s.*, c.location FROM "TaskRunExecutionSnapshot" s LEFT JOIN "Run Ops"."TaskRunCheckpoint" c ON c.id = s."checkpointId" WHERE s."runId" = $1 AND s."isValid" ORDER BY s."createdAt" DESC LIMIT 1',
		'text', ':root' ],
	[ 'SELECT s.id, w."waitpointId" FROM "TaskRunExecutionSnapshot" s LEFT JOIN "CompletedWaitpoint" w ON w."snapshotId" = s.id WHERE s."runId" = $1 ORDER BY 1, 2', 'text', ':child' ],
	[ 'INSERT INTO "TaskRunExecutionSnapshot" (id, "executionStatus", description, "runId", "runStatus", "environmentId", "projectId", "organizationId", "createdAt", "updatedAt") SELECT \'next\', \'FINISHED\', \'end\', id, status, "runtimeEnvironmentId", "projectId", \'o\', \'2026-02-01\', \'2026-02-01\' FROM "TaskRun" WHERE id = $1 RETURNING *',
		'text', ':root' ],
	# 10. trees, and what stays in the control plane
	[ 'SELECT r.id, p."friendlyId", o.id, (SELECT count(*) FROM "TaskRun" c WHERE c."parentTaskRunId" = r.id) FROM "TaskRun" r LEFT JOIN "TaskRun" p ON p.id = r."parentTaskRunId" LEFT JOIN "TaskRun" o ON o.id = r."rootTaskRunId" WHERE r.id = $1',
		'text', ':child' ],
	[ 'SELECT r.id, e.slug, p.name, o.title, v.version FROM "TaskRun" r JOIN "RuntimeEnvironment" e ON e.id = r."runtimeEnvironmentId" JOIN "Project" p ON p.id = e."projectId" JOIN "Organization" o ON o.id = p."organizationId" LEFT JOIN "BackgroundWorker" v ON v.id = r."lockedToVersionId" WHERE r.id = $1',
		'text', ':child' ],
	[ 'SELECT id FROM "TaskRun" WHERE "spanId" = $1 AND "runtimeEnvironmentId" = $2 ORDER BY id COLLATE "C"', 'text, text',
		'(SELECT "spanId" FROM "TaskRun" WHERE id = :root), (SELECT "runtimeEnvironmentId" FROM "TaskRun" WHERE id = :root)' ],
	[ 'SELECT b."sourceRunId", r.status FROM "BulkActionItem" b JOIN "TaskRun" r ON r.id = b."sourceRunId" WHERE b.type = $1 ORDER BY 1', 'text', q{'REPLAY'} ],
	[ 'SELECT id FROM "TaskRun" WHERE "runTags" @> $1 AND annotations @> $2 ORDER BY id COLLATE "C"', 'text[], jsonb',
		q{ARRAY['tag-1'], (SELECT jsonb_build_object('family', annotations -> 'family') FROM "TaskRun" WHERE id = :root)} ],
	# 11. writes
	[ 'UPDATE "TaskRun" SET metadata = $2, "metadataVersion" = "metadataVersion" + 1 WHERE id = $1 AND "metadataVersion" = $3 RETURNING id, "metadataVersion"', 'text, text, integer',
		q{:root, '{"a": 1}', 1} ],
	[ 'UPDATE "TaskRun" SET status = \'EXPIRED\', "expiredAt" = \'2026-03-01\', "updatedAt" = \'2026-03-01\' WHERE id = ANY ($1) RETURNING id, "friendlyId", "isRoot"', 'text[]',
		'ARRAY(SELECT id FROM "TaskRun" WHERE "rootTaskRunId" = :root) || ARRAY(SELECT min(id) FROM "TaskRun")' ],
	[ 'UPDATE "TaskRun" SET "runTags" = "runTags" || $2, "Customer\'s ""Note""" = $3 WHERE "friendlyId" = $1 RETURNING "runTags", "Customer\'s ""Note"""', 'text, text[], text',
		q{'run_' || :root, ARRAY['x'], 'it''s'} ],
	[ 'UPDATE "TaskRunAttempt" a SET status = \'FAILED\', error = $2 FROM "TaskRun" r WHERE r.id = a."taskRunId" AND r.id = $1 RETURNING a.id, r.status', 'text, jsonb', q{:child, '{"e": 1}'} ],
	[ 'DELETE FROM "TaskRunDependency" d USING "TaskRun" r WHERE r.id = d."taskRunId" AND r."rootTaskRunId" = $1 RETURNING d.id', 'text', ':root' ]);

# The runs that the cases are about: the root of a batch, a child, the batch, of
# each kind.
my @families = map {
	my ($root, $child, $batch) = split(/\|/, $split->sql(<<"EOT"));
SELECT "rootTaskRunId", id, "batchId" FROM "TaskRun"
WHERE "batchId" IS NOT NULL AND "idempotencyKey" IS NOT NULL AND runops.residency(id) = '$_' ORDER BY id COLLATE "C" LIMIT 1
EOT
	{ root => $root, child => $child, batch => $batch }
} qw(LEGACY NEW);

# What each of some ways to run a statement returns, with its SQLSTATE, and what
# the tables say after it; it is undone.  The times that defaults and triggers
# give to rows differ between any two runs.
sub outcomes
{
	my ($sql, @ways) = @_;
	my @tables = ($sql =~ /(?:UPDATE|INTO|DELETE FROM) ("\w+")/g);
	my $after = join("\n", map {
		"SELECT count(*), sum(hashtextextended((to_jsonb(t) - 'createdAt' - 'updatedAt')::text, 0)) FROM $_ t;"
	} @tables);
	my ($stdout, $stderr) = $split->try(join("\\echo next\n", map {
		"BEGIN;\n$_;\n\\echo :SQLSTATE\n$after\nROLLBACK;\nDEALLOCATE ALL;\n"
	} @ways));
	my @outcomes = map { [ split(/\n/, $_) ] } split(/^next\n/m, $stdout);

	foreach my $outcome (@outcomes)
	{
		@$outcome = sort @$outcome unless $sql =~ /ORDER BY/;
		s/2026-\d\d-\d\d \d\d:\d\d:\d\d\.\d+/now/g foreach @$outcome;
	}
	diag("$sql\n$stderr") if $stderr ne '';
	return map { join("\n", @$_) } @outcomes;
}

my $n = 0;

# The arguments of a statement for a family, as SQL.
sub arguments
{
	my ($types, $arguments, $family) = @_;
	my @types = split(/, /, $types);
	my $case = $arguments =~ s/:(\w+)/'$family->{$1}'/gr;

	return split(/\n/, $split->sql("SELECT unnest(ARRAY["
		. join(', ', map { "quote_nullable(x.v$_) || '::$types[$_ - 1]'" } 1 .. @types)
		. "]) FROM (SELECT $case) AS x (" . join(', ', map { "v$_" } 1 .. @types) . ')'));
}

foreach my $statement (@statements)
{
	my ($sql, $types, $arguments) = @$statement;
	my @arguments = map { [ arguments($types, $arguments, $_) ] } @families;
	my $writes = () = $sql =~ /(?:UPDATE|INTO|DELETE FROM) "\w+"/g;

	$n++;
	foreach my $f (0, 1)
	{
		my $values = join(', ', @{ $arguments[$f] });
		my $others = join(', ', @{ $arguments[ 1 - $f ] });
		my $text = $sql =~ s/\$(\d)/$arguments[$f][$1 - 1]/gr;
		my $what = "statement $n, " . ('legacy', 'new')[$f];
		my $prepare = "PREPARE p ($types) AS $sql;\n";
		my @ways = (
			"SET LOCAL runops.enable_routing = off;\n$text", $text,
			"SET LOCAL plan_cache_mode = force_custom_plan;\n${prepare}EXECUTE p($values)",
			"SET LOCAL plan_cache_mode = force_generic_plan;\n${prepare}EXECUTE p($values)");

		# as a connection pool does it: one statement for all, until its plan is generic
		push @ways, "$prepare\\o /dev/null\n" . "EXECUTE p($others);\n" x 7 . "EXECUTE p($values);\n\\o\nEXECUTE p($values)"
		  unless $writes;

		my ($expected, @got) = outcomes($sql, @ways);

		like($expected, qr/^00000$/m, "$what: runs without the hooks");
		cmp_ok(scalar(split(/\n/, $expected)), '>', 1 + $writes, "$what: returns rows");
		is($got[0], $expected, "$what: as text") || diag($text);
		is($got[1], $expected, "$what: custom plan");
		is($got[2], $expected, "$what: generic plan");
		is($got[3], $expected, "$what: after seven executions for the other store") unless $writes;
	}
}

done_testing();
