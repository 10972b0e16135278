# 022_setup_application.pl
#	  The later migrations of test/schema, run on the routed tables and in one database.
#
# Both must say the same, and after detach both databases must have the same
# definitions.  The schema that they lead to can be attached, with ids of 26
# characters in the store.

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

# Run files of test/schema in a database of the control plane; returns what they say.
sub psql_files
{
	my ($database, $variables, @files) = @_;
	my ($stdout, $stderr) = ('', '');

	IPC::Run::run(
		[
			'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $control->connstr($database),
			(map { ('-v', "$_=$variables->{$_}") } sort keys %$variables),
			(map { ('-f', "$schema/$_") } @files)
		],
		'>', \$stdout, '2>', \$stderr) or die "@files: $stderr";
	return $stderr;
}

# The definitions of the application in a database.
sub definitions
{
	my $database = shift;
	my ($stdout, $stderr);

	IPC::Run::run([ 'pg_dump', '-s', '-n', 'public', '-n', '"Run Ops"', '-d', $control->connstr($database) ],
		'>', \$stdout, '2>', \$stderr)
	  or die "pg_dump: $stderr";
	$stdout =~ s/^\\(?:un)?restrict .*\n//mg;
	return $stdout;
}

# What a statement did not do.
sub skipped
{
	return join("\n", map { s/.*?(?=NOTICE|WARNING)//r } grep { /skipping|WARNING/ } split(/\n/, shift));
}

my @attach = grep { /^SELECT runops\.attach/ } split(/\n/, slurp_file("$schema/attach.sql"));
my @tables = map { /attach\('((?:[^']|'')+)'/ ? $1 : die } @attach;

sub attach_all
{
	return $split->sql(join("\n", 'SET client_min_messages = error;', @attach));
}

sub detach_all
{
	return $split->sql(join("\n", 'SET client_min_messages = error;', map { "SELECT runops.detach('$_');" } reverse @tables));
}

$split->sql('CREATE DATABASE plain');
foreach my $database ('plain', 'postgres')
{
	psql_files($database, { seed => 1 }, qw(control_plane.sql run_ops.sql rows.sql));
	psql_files($database, { seed => 1, kind => 'legacy', families => 12 }, 'families.sql');
}
$split->sql(q{CREATE USER MAPPING FOR run_ops_owner SERVER run_ops OPTIONS (password_required 'false')});
is(definitions('postgres'), definitions('plain'), 'two databases with one schema');
my $before = definitions('plain');

attach_all();
my $expected = skipped(psql_files('plain', {}, 'migrations.sql'));
my $said = psql_files('postgres', {}, 'migrations.sql');

is(skipped($said), $expected, 'the migrations skip the same');
unlike($expected, qr/"TaskRun"/, 'and nothing of a run');
is($split->sql(<<'EOT'), '0', 'no foreign key leads from the run tables to other tables');
SELECT count(*) FROM pg_constraint c JOIN runops.table_config t ON t.leaf = c.conrelid
WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid NOT IN (SELECT leaf FROM runops.table_config)
EOT
isnt(definitions('plain'), $before, 'the migrations do something');
detach_all();
is(definitions('postgres'), definitions('plain'), 'the same definitions after detach');

# the newest schema
attach_all();
$split->sql(q{SELECT runops.provision('new')});
psql_files('postgres', { seed => 1, kind => 'new', families => 6 }, 'families.sql');
is($split->sql(q{SELECT DISTINCT length(id), runops.residency(id) FROM "TaskRun" ORDER BY 1}), "25|LEGACY\n26|NEW", 'new ids have 26 characters');
is($split->store_sql('SELECT count(*), min(length(id)), max(length(id)) FROM "TaskRun"'), '30|26|26', 'and are in the store');
is($split->sql(q{SELECT * FROM runops.provision('new') WHERE action <> 'exists'}), '', 'provision has nothing left to do');
is($split->sql('SELECT * FROM runops.verify()'), '', 'verify finds nothing');

done_testing();
