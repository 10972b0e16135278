#
# 047_gate_patroni.pl
#	  Run the callback script of docs/high-availability.md on a promoted standby of
#	  the control plane while the old primary is still connected to the store.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = slurp_file("$FindBin::RealBin/../../docs/high-availability.md");
my ($script) = $page =~ /^```sh\n(#!\/bin\/sh\n.*?)^```/ms;
my $split = TwoClusters->new(conf => "wal_level = replica\nmax_wal_senders = 5\n");
my ($control, $store) = ($split->control, $split->store);
my $id = '0123456789abcdefghijklmna1';
my $file = PostgreSQL::Test::Utils::tempdir . '/runops-on-role-change';

ok($script, 'the page has the script');
append_to_file($file, $script);
chmod 0755, $file or die $!;

$split->sql(<<"EOT");
CREATE TABLE run (id text PRIMARY KEY, n int);
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
SELECT runops.recheck();
INSERT INTO run VALUES ('$id', 1);
EOT

# no worker: what opens the gate is the script
$control->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$standby->init_from_backup($control, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "runops.database = ''");
$standby->start;

# Run the script as Patroni does; the exit status, and what it prints.
sub callback
{
	my @arguments = @_;
	my ($out, $err) = ('', '');
	local @ENV{qw(PGHOST PGPORT RUNOPS_DATABASE)} = ($standby->host, $standby->port, 'postgres');
	my $ok = IPC::Run::run([ $file, @arguments ], '<', \undef, '>', \$out, '2>', \$err);

	note($out, $err);
	return ($ok ? 0 : 1, $out . $err);
}

my $old = $control->background_psql('postgres', on_error_stop => 0);
my ($status, $output, $stderr);

is($old->query("UPDATE run SET n = 2 WHERE id = '$id' RETURNING n"), '2', 'the primary writes');
foreach my $arguments ([ 'on_start', 'primary', 'batman' ], [ 'on_role_change', 'replica', 'batman' ], [ 'on_stop', 'master', 'batman' ])
{
	($status, $output) = callback(@$arguments);
	is("$status$output", '0', "nothing to do: @$arguments");
}
$standby->promote;
$standby->psql('postgres', "UPDATE run SET n = 3 WHERE id = '$id'", stderr => \$stderr);
like($stderr, qr/the gate is closed/, 'a promoted standby is closed');
is($old->query("UPDATE run SET n = 4 WHERE id = '$id' RETURNING n"), '4', 'and the old primary is not');

($status, $output) = callback('on_role_change', 'primary', 'batman');
is($status, 0, 'the callback succeeds');
like($output, qr/^new\|distinct/m, 'and says what it found');
$old->query("UPDATE run SET n = 5 WHERE id = '$id'");
like($old->{stderr}, qr/ERROR:/, 'the connected session of the old primary was ended');
$old->{stderr} = '';
$old->query("UPDATE run SET n = 5 WHERE id = '$id'");
like($old->{stderr}, qr/DETAIL:  The store belongs to a copy of this control plane, on timeline 2/, 'and does not come back');
is($standby->safe_psql('postgres', "UPDATE run SET n = n + 1 WHERE id = '$id' RETURNING n"), '5', 'the new primary writes');

# again, as when Patroni restarts, and with a store that does not answer
($status) = callback('on_role_change', 'master', 'batman');
is($status, 0, 'the callback may run twice');
$old->quit;
$store->stop;
($status, $output) = callback('on_role_change', 'primary', 'batman');
is($status, 1, 'it fails if a store is not open');
like($output, qr/new\|unknown\|.*connect/, 'and says why');

done_testing();
