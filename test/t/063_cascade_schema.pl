#
# 063_cascade_schema.pl
#	  The cascades of the example schema: deleting an environment, a project or an
#	  organization deletes all rows that refer to it in both stores.  Other rows are
#	  not changed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $schema = "$FindBin::RealBin/../schema";
# the worker is in no database: each batch is called for
my $split = TwoClusters->new(conf => "runops.database = ''\n");
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

# The statements of a file of test/schema.
sub statements
{
	return grep { /^SELECT/ } split(/\n/, slurp_file("$schema/$_[0]"));
}

psql_files({ seed => 1 }, qw(control_plane.sql run_ops.sql rows.sql));
$split->sql(q{CREATE USER MAPPING FOR run_ops_owner SERVER run_ops OPTIONS (password_required 'false')});
psql_files({ seed => 1, kind => 'legacy', families => 24 }, 'families.sql');
$split->sql('SET client_min_messages = error; ' . join(' ', statements('attach.sql')));
$split->sql(q{SELECT runops.provision('new')});
psql_files({ seed => 1, kind => 'new', families => 24 }, 'families.sql');

# the application's migration: no foreign key from the run tables to the control plane
$split->sql(<<'EOT');
SET client_min_messages = error;
DO $$
DECLARE
	k record;
BEGIN
	FOR k IN
		SELECT c.conrelid::regclass AS tab, c.conname FROM pg_constraint c JOIN runops.routed_tables t ON t.leaf = c.conrelid
		WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid NOT IN (SELECT leaf FROM runops.routed_tables)
	LOOP
		EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', k.tab, k.conname);
	END LOOP;
END
$$;
EOT

# indexes that the schema lacks: a cascade without them is refused
my ($refused, $done) = (0, 0);
foreach my $statement (statements('cascades.sql'))
{
	my ($stdout, $stderr) = $split->try($statement);

	if ($stderr =~ /column "(\w+)" of (\S+) in store "legacy" has no index/)
	{
		my ($table, $column) = $statement =~ /, '([^']*"\w+")', '(\w+)'/;

		$refused++;
		$split->sql(qq{SET client_min_messages = error; CREATE INDEX ON $table ("$column")});
		$split->sql(q{SELECT runops.provision('new')});
		($stdout, $stderr) = $split->try($statement);
	}
	is($stderr, '', "registered: $statement");
	$done++;
}
cmp_ok($refused, '>', 0, 'an index that is missing is told');
is($split->sql('SELECT count(*) FROM runops.cascades'), $done, 'and each cascade is there');

# Tables of what hangs on a run or an environment, with the environment of each row.
my %rows = (
	'"TaskRun"' => '"runtimeEnvironmentId" FROM "TaskRun"',
	'"BatchTaskRun"' => '"runtimeEnvironmentId" FROM "BatchTaskRun"',
	'"Waitpoint"' => '"environmentId" FROM "Waitpoint"',
	(map { ("$_->[0]" => qq{r."runtimeEnvironmentId" FROM $_->[0] x LEFT JOIN "TaskRun" r ON r.id = x."$_->[1]"}) }
		  [ '"TaskRunAttempt"', 'taskRunId' ], [ '"TaskRunExecutionSnapshot"', 'runId' ], [ '"Checkpoint"', 'runId' ],
		[ '"CheckpointRestoreEvent"', 'runId' ], [ '"Run Ops"."TaskRunCheckpoint"', 'taskRunId' ], [ '"TaskRunWaitpoint"', 'taskRunId' ],
		[ '"WaitpointRunConnection"', 'taskRunId' ], [ '"CompletedWaitpoint"', 'runId' ], [ '"TaskRunDependency"', 'taskRunId' ],
		[ '"BatchTaskRunItem"', 'taskRunId' ], [ '"BulkActionItem"', 'sourceRunId' ]));

# How many rows of each table each environment has; '-' is none that exists.
sub census
{
	my %census;

	foreach my $table (sort keys %rows)
	{
		$census{$table} = { map { split /\|/ } split /\n/, $split->sql("SELECT coalesce(e, '-'), count(*) FROM (SELECT $rows{$table}) s (e) GROUP BY 1") };
	}
	return \%census;
}

# Delete, clean up, and compare with what has to be left.
sub check
{
	my ($what, $delete, $environments) = @_;
	my $before = census();
	my @gone = split /\n/, $split->sql($environments);

	$split->sql($delete);
	my $batches = 0;
	while ($split->sql('SELECT runops.cleanup(100)') > 0)
	{
		last if ++$batches > 500;
	}
	is($split->sql('SELECT count(*) FROM runops.progress'), '0', "$what: cleaned up") or diag $split->sql(q{SELECT finding FROM runops.doctor() WHERE object LIKE 'cascade%'});

	foreach my $table (sort keys %$before)
	{
		delete @{ $before->{$table} }{@gone};
	}
	is_deeply(census(), $before, "$what: all that hung on it is gone, and nothing else");
	is($split->sql('SELECT runops.cleanup()'), '0', "$what: a second run has nothing to do");
	return;
}

ok($split->sql('SELECT count(DISTINCT runops.residency(id)) FROM "TaskRun"') == 2, 'there are runs of both kinds');
check('environment', q{DELETE FROM "RuntimeEnvironment" WHERE "apiKey" = 'tr_1'}, q{SELECT id FROM "RuntimeEnvironment" WHERE "apiKey" = 'tr_1'});
check('project', q{DELETE FROM "Project" WHERE slug = 'project-2'},
	q{SELECT e.id FROM "RuntimeEnvironment" e JOIN "Project" p ON p.id = e."projectId" WHERE p.slug = 'project-2'});
check('organization', q{DELETE FROM "Organization" WHERE slug = 'org-3'},
	q{SELECT e.id FROM "RuntimeEnvironment" e JOIN "Organization" o ON o.id = e."organizationId" WHERE o.slug = 'org-3'});
is($split->sql(q{SELECT count(*) FROM runops.verify() WHERE finding <> 'index'}), '0', 'and every row is where it belongs');

done_testing();
