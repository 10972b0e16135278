# 020_setup_round_trip.pl
#	  Attach and detach the whole run-ops schema under load.  Nothing is changed in
#	  the end.

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
my $load_seconds = $ENV{RUNOPS_LOAD_SECONDS} || 8;

my $split = TwoClusters->new;
my $control = $split->control;

# Run files of test/schema in the control plane.
sub psql_files
{
	my ($variables, @files) = @_;
	my ($stdout, $stderr) = ('', '');
	my @command = (
		'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $control->connstr('postgres'),
		(map { ('-v', "$_=$variables->{$_}") } sort keys %$variables),
		(map { ('-f', "$schema/$_") } @files));

	return ok(IPC::Run::run(\@command, '>', \$stdout, '2>', \$stderr), "run @files")
	  || diag("$stdout\n$stderr");
}

# The definition of everything in a database of the control plane, for comparison.
sub dump_schema
{
	my $database = shift // 'postgres';
	my ($stdout, $stderr);

	IPC::Run::run([ 'pg_dump', '-s', '-d', $control->connstr($database) ],
		'>', \$stdout, '2>', \$stderr)
	  or die "pg_dump: $stderr";
	$stdout =~ s/^\\(?:un)?restrict .*\n//mg;
	return $stdout;
}

# Two long texts are equal; show what differs.
sub same
{
	my ($after, $before, $name) = @_;

	return 1 if ok($before eq $after, $name);
	my $dir = PostgreSQL::Test::Utils::tempdir();

	append_to_file("$dir/before", "$before\n");
	append_to_file("$dir/after", "$after\n");
	my ($diff) = run_command([ 'diff', '-U3', "$dir/before", "$dir/after" ]);

	return diag($diff);
}

# The attach calls of the schema, in order, and the tables that they name.
my @attach = grep { /^SELECT runops\.attach/ } split(/\n/, slurp_file("$schema/attach.sql"));
my @tables = map { /attach\('((?:[^']|'')+)'/ ? $1 : die } @attach;

sub attach_all
{
	return $split->try(join("\n", 'SET client_min_messages = error;', @attach));
}

sub detach_all
{
	return $split->try(join("\n", map { "SELECT runops.detach('$_');" } reverse @tables));
}

# Every object of the 14 tables and its OID, one a line.  A routed table's
# objects are those of its legacy leaf.
sub oids
{
	my $list = join(', ', map { "'$_'" } @tables);

	return $split->sql(<<"EOT");
WITH t AS (
	SELECT name, coalesce((SELECT leaf FROM runops.table_config c WHERE c.relation = name::regclass), name::regclass) AS oid
	FROM unnest(ARRAY[$list]) name)
SELECT name, 'table', oid::oid FROM t
UNION ALL SELECT name, attname, attnum FROM t JOIN pg_attribute a ON attrelid = oid AND attnum > 0
UNION ALL SELECT name, conname, c.oid FROM t JOIN pg_constraint c ON conrelid = t.oid WHERE conname !~ '^runops_'
UNION ALL SELECT name, relname, indexrelid FROM t JOIN pg_index ON indrelid = t.oid JOIN pg_class c ON c.oid = indexrelid
UNION ALL SELECT name, tgname, g.oid FROM t JOIN pg_trigger g ON tgrelid = t.oid WHERE tgtype & 1 = 1
UNION ALL SELECT name, stxname, s.oid FROM t JOIN pg_statistic_ext s ON stxrelid = t.oid
ORDER BY 1, 2, 3
EOT
}

# How many rows each table holds and what they say, through the names that SQL uses.
sub rows
{
	return join("\n", map {
		my $n = $split->sql("SELECT count(*), sum(hashtextextended(t::text, 0)) FROM $_ t");
		"$_ $n"
	} @tables);
}

psql_files({ seed => 1 }, qw(control_plane.sql run_ops.sql rows.sql));
$split->sql(q{CREATE USER MAPPING FOR run_ops_owner SERVER run_ops OPTIONS (password_required 'false')});
psql_files({ seed => 1, kind => 'legacy', families => 60 }, 'families.sql');
$split->sql('ANALYZE');

# The schema is what it claims to be.
is(scalar(@tables), 14, '14 tables');
is($split->sql(<<'EOT'), '83|13', 'the widest table');
SELECT count(*) FILTER (WHERE NOT attisdropped), count(*) FILTER (WHERE attisdropped)
FROM pg_attribute WHERE attrelid = '"TaskRun"'::regclass AND attnum > 0
EOT
my $list = join(', ', map { "'$_'::regclass::oid" } @tables);
is($split->sql(<<"EOT"), '23|17|11', 'foreign keys among, from and to the tables');
SELECT count(*) FILTER (WHERE a AND b), count(*) FILTER (WHERE a AND NOT b), count(*) FILTER (WHERE b AND NOT a)
FROM (SELECT conrelid IN ($list) AS a, confrelid IN ($list) AS b
	  FROM pg_constraint WHERE contype = 'f' AND conparentid = 0) c
EOT
is($split->sql(<<"EOT"), '12', 'enum types');
SELECT count(DISTINCT t.oid) FROM pg_attribute JOIN pg_type t ON t.oid = atttypid WHERE attrelid IN ($list) AND typtype = 'e'
EOT
is($split->sql(<<"EOT"), 'brin|btree|gin|hash', 'kinds of index');
SELECT string_agg(DISTINCT amname, '|' ORDER BY amname) FROM pg_index
	JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
WHERE indrelid IN ($list)
EOT

# Alone: nothing is lost on the way in, and nothing is left on the way out.
my $dump = dump_schema();
my $oids = oids();
my $rows = rows();
my ($stdout, $stderr) = attach_all();

is($stderr, '', 'attach all tables');
is($split->sql('SELECT count(*) FROM runops.routed_tables'), '14', 'all are routed');
same(oids(), $oids, 'the legacy leaves are the old tables');
isnt($split->sql(q{SELECT '"TaskRun"'::regclass::oid}),
	$split->sql(q{SELECT leaf::oid FROM runops.routed_tables WHERE relation = '"TaskRun"'::regclass}),
	'the name is another table now');
$split->sql(q{SELECT runops.provision('new')});
is($split->sql(q{SELECT * FROM runops.provision('new') WHERE action <> 'exists'}), '', 'provision is done at once');
same(rows(), $rows, 'the same rows by the routed names');
is($split->sql('SELECT * FROM runops.verify()'), '', 'verify finds nothing');

($stdout, $stderr) = detach_all();
is($stderr, '', 'detach all tables');
same(dump_schema(), $dump, 'the same pg_dump -s after attach and detach');
same(oids(), $oids, 'the same OIDs after attach and detach');
same(rows(), $rows, 'the same rows after attach and detach');

# A role without superuser's rights, in both databases.
$split->store_sql(<<'EOT');
CREATE ROLE run_ops_app LOGIN;
GRANT USAGE ON SCHEMA public, "Run Ops" TO run_ops_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, "Run Ops" TO run_ops_app;
EOT
$split->sql(q{CREATE USER MAPPING FOR run_ops_app SERVER run_ops OPTIONS (user 'run_ops_app', password_required 'false')});
$dump = dump_schema();

# Under load: readers and writers by both protocols, as the owner of everything
# and as a role with row security, see no error and no row too many or too few,
# whichever state they meet.
my $tmp = PostgreSQL::Test::Utils::tempdir();
my %scripts;

$scripts{write} = <<'EOT';
SELECT quote('cm' || left(md5(random()::text), 23)) AS run, quote(id) AS env, quote("projectId") AS project
FROM "RuntimeEnvironment" ORDER BY id LIMIT 1
\gset
BEGIN;
INSERT INTO "TaskRun" (id, "friendlyId", "taskIdentifier", payload, "runtimeEnvironmentId", "projectId", queue, "spanId", "traceId")
	VALUES (:run::text, 'run_' || :run::text, 'load', '{}', :env::text, :project::text, 'q', 's', 't');
INSERT INTO "TaskRunWaitpoint" ("taskRunId", "waitpointId", "projectId") VALUES (:run::text, 'w', :project::text);
INSERT INTO "TaskRunExecutionSnapshot" (id, "executionStatus", description, "runId", "runStatus", "environmentId", "projectId", "organizationId")
	VALUES (gen_random_uuid(), 'RUN_CREATED', 'load', :run::text, 'PENDING', :env::text, :project::text, 'o');
UPDATE "TaskRun" SET status = 'EXECUTING', "metadataVersion" = "metadataVersion" + 1 WHERE id = :run::text;
END;
EOT
$scripts{read} = <<'EOT';
SELECT quote("sourceRunId") AS run FROM "BulkActionItem" ORDER BY random() LIMIT 1
\gset
SELECT r.status, a.number, s.description
FROM "TaskRun" r
	LEFT JOIN "TaskRunAttempt" a ON a."taskRunId" = r.id
	LEFT JOIN "TaskRunExecutionSnapshot" s ON s."runId" = r.id
WHERE r.id = :run::text;
SELECT count(*) FROM "Waitpoint" WHERE "completedByTaskRunId" = :run::text;
SELECT id FROM "TaskRun" WHERE "friendlyId" = 'run_' || :run::text;
UPDATE "Waitpoint" SET output = 'x' WHERE "completedByTaskRunId" = :run::text;
SELECT 1 / (count(*) = 300)::integer
	FROM "TaskRun" r JOIN "RuntimeEnvironment" e ON e.id = r."runtimeEnvironmentId"
	WHERE r."taskIdentifier" <> 'load';
EOT

my @load = map {
	my ($script, $protocol, $role) = @$_;
	my %l = (name => "$script, $protocol protocol, $role", script => $script, out => '', err => '');
	my $file = "$tmp/$script.$protocol.sql";

	# pgbench puts a value into the text as it is where it cannot be a parameter
	append_to_file($file, $scripts{$script} =~ s/quote\(/$protocol eq 'simple' ? 'quote_literal(' : '('/ger);
	my $connstr = $control->connstr('postgres');

	$l{run} = IPC::Run::start(
		[ 'pgbench', '-n', '-c', '2', '-T', $load_seconds, '-M', $protocol, '-f', $file,
			$role eq 'run_ops_app' ? "$connstr user=run_ops_app" : $connstr ],
		'<', \undef, '>', \$l{out}, '2>', \$l{err});
	\%l
} ([ 'write', 'simple', 'superuser' ], [ 'write', 'prepared', 'run_ops_app' ],
	[ 'read', 'prepared', 'superuser' ], [ 'read', 'simple', 'run_ops_app' ]);
my $end = time + $load_seconds;
my ($cycles, $timeouts, @errors) = (0, 0);

# A statement of ours may time out in a queue of locks; then it has changed
# nothing and is tried again.
sub retry
{
	my @todo = @_;

	while (my $sql = shift @todo)
	{
		my ($out, $err) = $split->try("SET client_min_messages = error;\n$sql");

		next if $err eq '';
		if ($err =~ /ERROR:  55P03/ && $timeouts++ < 50)
		{
			unshift @todo, $sql;
			next;
		}
		push @errors, "$sql\n$err";
	}
	return;
}

while (time < $end - 1 && !@errors)
{
	retry(@attach);
	retry(map { "SELECT runops.detach('$_');" } reverse @tables);
	$cycles++;
}
is(join("\n", @errors), '', 'attach and detach under load');
cmp_ok($cycles, '>', 0, "went to and fro ($cycles times, $timeouts lock timeouts)");

my $written = 0;

foreach my $l (@load)
{
	IPC::Run::finish($l->{run});
	my ($n) = $l->{out} =~ /actually processed: (\d+)/;
	my ($failed) = $l->{out} =~ /failed transactions: (\d+)/;

	is($l->{err} =~ s/^pgbench \(.*\n//r, '', "no error in load: $l->{name}");
	is($failed, '0', "no failed transaction in load: $l->{name}");
	cmp_ok($n, '>', 0, "transactions in load: $l->{name}");
	$written += $n if $l->{script} eq 'write';
}
foreach my $table ('"TaskRun" WHERE "taskIdentifier" = \'load\' AND status = \'EXECUTING\' AND "metadataVersion" = 2',
	'"TaskRunWaitpoint" WHERE "waitpointId" = \'w\'',
	'"TaskRunExecutionSnapshot" WHERE description = \'load\'')
{
	# pgbench cuts off the transactions that run at its end, which may have committed
	cmp_ok(abs($split->sql("SELECT count(*) FROM $table") - $written), '<=', 4, "the rows of $written transactions in $table");
}
same(dump_schema(), $dump, 'the same pg_dump -s after the load');
same(oids(), $oids, 'the same OIDs after the load');

# In use: families with new ids next to the old ones.
($stdout, $stderr) = attach_all();
is($stderr, '', 'attach all tables again');
$split->sql(q{SELECT runops.provision('new')});
psql_files({ seed => 1, kind => 'new', families => 12 }, 'families.sql');

my %expected = (
	'public."TaskRun"' => 60, 'public."BatchTaskRun"' => 4, 'public."BatchTaskRunItem"' => 16,
	'public."BatchTaskRunError"' => 8, 'public."TaskRunAttempt"' => 60, 'public."TaskRunExecutionSnapshot"' => 120,
	'"Run Ops"."TaskRunCheckpoint"' => 6, 'public."Checkpoint"' => 7, 'public."CheckpointRestoreEvent"' => 7,
	'public."Waitpoint"' => 52, 'public."TaskRunWaitpoint"' => 24, 'public."WaitpointRunConnection"' => 48,
	'public."CompletedWaitpoint"' => 24, 'public."TaskRunDependency"' => 12);

foreach my $table (@tables)
{
	is($split->store_sql("SELECT count(*) FROM $table"), $expected{$table}, "rows of $table in the store");
	is($split->sql(<<"EOT"), $expected{$table}, "the same rows by the routed name $table");
SELECT count(*) FROM $table t
WHERE tableoid = (SELECT inhrelid FROM pg_inherits JOIN pg_foreign_table ON ftrelid = inhrelid WHERE inhparent = '$table'::regclass)
EOT
}
is($split->sql(<<'EOT'), 'run|attempt|2|1|12', 'a new family read back by its root');
SELECT CASE WHEN r."friendlyId" = 'run_' || r.id THEN 'run' END, CASE WHEN a.id IS NOT NULL THEN 'attempt' END,
	(SELECT count(*) FROM "TaskRunExecutionSnapshot" s WHERE s."runId" = r.id),
	(SELECT count(*) FROM "TaskRun" c WHERE c."parentTaskRunId" = r.id AND c."batchId" IS NOT NULL) / 3,
	(SELECT count(*) FROM "TaskRun" x WHERE x."rootTaskRunId" = x.id AND runops.residency(x.id) = 'NEW')
FROM "TaskRun" r JOIN "TaskRunAttempt" a ON a."taskRunId" = r.id
WHERE r.id = (SELECT min("rootTaskRunId") FROM "TaskRun" WHERE "batchId" IS NOT NULL AND runops.residency(id) = 'NEW')
EOT
# What stood on the tables holds for the rows of both kinds.
is($split->sql('SELECT count(*) - count(DISTINCT number), count(*) FILTER (WHERE number IS NULL) FROM "TaskRun"'),
	'0|0', 'identity');
is($split->sql('SELECT count(*) FROM "TaskRun" WHERE "isRoot" <> ("parentTaskRunId" IS NULL)'), '0', 'a generated column');
$split->sql(q{CREATE USER MAPPING FOR "Run Reader" SERVER run_ops OPTIONS (user 'run_ops_app', password_required 'false')});

my $project = $split->sql('SELECT "projectId" FROM "TaskRun" WHERE runops.residency(id) = \'NEW\' ORDER BY id LIMIT 1');

my $visible = qq{"logsDeletedAt" IS NULL AND "projectId" = '$project'};
my $as_reader = qq{SET ROLE "Run Reader"; SET app.project = '$project';};
my $seen = $split->sql(qq{SELECT max(id) FROM "TaskRun" WHERE runops.residency(id) = 'NEW' AND $visible});
my $unseen = $split->sql(qq{SELECT max(id) FROM "TaskRun" WHERE runops.residency(id) = 'NEW' AND NOT ($visible)});

is($split->sql(qq{$as_reader SELECT id, status FROM "TaskRun" ORDER BY id COLLATE "C"}),
	$split->sql(qq{SELECT id, status FROM "TaskRun" WHERE $visible ORDER BY id COLLATE "C"}),
	'row security and column grants, all rows');
is($split->sql(qq{$as_reader SELECT id FROM "TaskRun" WHERE id = '$seen'}), $seen, 'one that may be seen');
is($split->sql(qq{$as_reader SELECT id FROM "TaskRun" WHERE id = '$unseen'}), '', 'one that may not');
($stdout, $stderr) = $split->try(q{SET ROLE "Run Reader"; SELECT payload FROM "TaskRun" WHERE id = '3Ma1w188A7G064ka8gcVFGZRvRB'});
like($stderr, qr/ERROR:  42501: permission denied for table TaskRun/, 'a column that was not granted');
($stdout, $stderr) = $split->try(<<'EOT');
SET ROLE run_ops_app;
UPDATE "Waitpoint" SET "outputType" = 'forbidden'
	WHERE "completedByTaskRunId" = (SELECT "completedByTaskRunId" FROM "Waitpoint" WHERE runops.residency("completedByTaskRunId") = 'NEW' LIMIT 1);
EOT
like($stderr, qr/ERROR:  42501: new row violates row-level security policy/, 'a policy checks what is written to the store');
$split->sql('DELETE FROM "ChangeLog"');
$split->sql(q{DELETE FROM "TaskRun" WHERE id = '3Ma1w188A7G064ka8gcVFGZRvRB' OR id = 'c123456789012345678901234'});
$split->sql(q{DELETE FROM "TaskRun" WHERE id = '3Ma1w188A7G064ka8gcVFGZRvRB'});
is($split->sql('SELECT string_agg("table" || \' \' || operation, \', \') FROM "ChangeLog"'),
	'TaskRun DELETE statement, TaskRun DELETE statement', 'a statement trigger fires once for a statement');
my $batch = $split->sql(q{SELECT id FROM "BatchTaskRun" WHERE runops.residency(id) = 'NEW' ORDER BY id LIMIT 1});
($stdout, $stderr) = $split->try(qq{DELETE FROM "BatchTaskRun" WHERE id = '$batch'});
like($stderr, qr/ERROR:  23503:.*"TaskRunDependency_dependentBatchRunId_fkey"/, 'a foreign key of the store holds');
$split->sql(qq{DELETE FROM "TaskRunDependency" WHERE "dependentBatchRunId" = '$batch'});
$split->sql(qq{DELETE FROM "BatchTaskRun" WHERE id = '$batch'});
is($split->sql(qq{SELECT (SELECT count(*) FROM "BatchTaskRunItem" WHERE "batchTaskRunId" = '$batch'),
		(SELECT count(*) FROM "TaskRun" WHERE "batchId" = '$batch')}), '0|0', 'foreign keys of the store cascade');
is($split->sql('SELECT * FROM runops.verify()'), '', 'verify finds nothing among both kinds');
($stdout, $stderr) = $split->try(q{SELECT runops.detach('"TaskRun"')});
like($stderr, qr/ERROR:  RO006/, 'a table with rows in the store is not detached');

# A dump carries the topology, also to where it is undone.
my $dump_file = "$tmp/dump.sql";

$split->sql('DROP USER MAPPING FOR "Run Reader" SERVER run_ops');
$control->command_ok([ 'pg_dump', '-f', $dump_file, '-d', $control->connstr('postgres') ], 'pg_dump of the split');
$control->safe_psql('postgres', 'CREATE DATABASE restored');
$control->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump_file, '-d', $control->connstr('restored') ], 'restore it');
same(dump_schema('restored'), dump_schema(), 'the same definitions after dump and restore');
my $count = $split->sql('SELECT count(*) FROM "TaskRun"');

$control->safe_psql('restored', 'SELECT runops.recheck(accept_new_identity => true)');
is($control->safe_psql('restored', 'SELECT count(*) FROM "TaskRun"'), $count, 'the same rows, once the copy is accepted');
$control->safe_psql('restored', "SELECT runops.detach('$_', force => true)") foreach @tables;
$split->sql('SELECT runops.recheck(accept_new_identity => true)');
same(dump_schema('restored'), $dump, 'the same pg_dump -s after restore and detach');

# Detached by force, they stay where they are, and are seen again after attach.
$rows = rows();
($stdout, $stderr) = $split->try(join("\n", map { "SELECT runops.detach('$_', force => true);" } @tables));
is($stderr, '', 'detach all tables by force, in the other order');
same(dump_schema(), $dump, 'the same pg_dump -s after use');
same(oids(), $oids, 'the same OIDs after use');
($stdout, $stderr) = attach_all();
is($stderr, '', 'attach all tables over a store that has rows');
same(rows(), $rows, 'rows of both kinds again');
is($split->sql(q{SELECT * FROM runops.provision('new') WHERE action <> 'exists'}), '', 'provision finds nothing to do');
is($split->sql('SELECT * FROM runops.verify()'), '', 'verify finds nothing after all this');

done_testing();
