#
# 039_gate_pooler.pl
#	  PgBouncer in transaction mode: if it points to the control plane, the gate
#	  detects this; if it points to a store, the store is proved distinct and the
#	  doctor reports the pooler.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';

plan skip_all => 'PgBouncer is not installed: install the package "pgbouncer"' unless defined $pgbouncer;

my $split = TwoClusters->new(conf => "runops.database = ''\n");
my ($control, $store) = ($split->control, $split->store);
my $new_id = '0123456789abcdefghijklmna1';
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $user = getpwuid($>);

append_to_file("$dir/pgbouncer.ini", <<"EOT");
[databases]
alias = host=@{[ $control->host ]} port=@{[ $control->port ]} dbname=postgres
run_ops = host=@{[ $store->host ]} port=@{[ $store->port ]} dbname=run_ops
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
default_pool_size = 5
server_reset_query_always = 0
logfile = $dir/log
EOT
append_to_file("$dir/users", qq{"$user" ""\n});

my $pid = fork() // die "fork: $!";
if ($pid == 0)
{
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>', '/dev/null');
	open(STDERR, '>', '/dev/null');
	exec($pgbouncer, '-q', "$dir/pgbouncer.ini") or POSIX::_exit(1);
}
foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if -S "$dir/.s.PGSQL.$port";
	sleep 0.1;
}
-S "$dir/.s.PGSQL.$port" or BAIL_OUT("PgBouncer has not started: " . slurp_file("$dir/log"));

END
{
	if ($pid)
	{
		my $status = $?;

		kill 'INT', $pid;
		waitpid($pid, 0);
		$? = $status;
	}
}

$split->store_sql("CREATE TABLE run (id text PRIMARY KEY, n int); INSERT INTO run VALUES ('$new_id', 2)");
$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, n int);
INSERT INTO run VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('run', 'id');
EOT

sub point_at
{
	my ($host, $to_port, $database) = @_;

	$split->sql("ALTER SERVER run_ops OPTIONS (SET host '$host', SET port '$to_port', SET dbname '$database')");
	return;
}

sub verdict
{
	return $split->sql(q{SELECT verdict || '|' || reason FROM runops.recheck('new')});
}

# What the doctor says of a pooler or a proxy.
sub between
{
	return $split->sql(q{SELECT severity || '|' || object || '|' || finding FROM runops.doctor() WHERE finding ~ 'pooler|proxy'});
}

# the control plane under another name

point_at($dir, $port, 'alias');
foreach my $round (1 .. 10)
{
	# whichever session of the pool answers
	like(verdict(), qr/^same\|The server is the control plane itself: a lock that is held here is held there/,
		"the control plane behind PgBouncer, round $round");
}
my ($stdout, $stderr) = $split->try(<<"EOT");
SELECT n FROM run WHERE id = '$new_id';
INSERT INTO run VALUES ('0123456789abcdefghijklmnb1', 1);
SELECT 'legacy', n FROM run WHERE id = 'c000000000000000000000001';
EOT
is(() = $stderr =~ /ERROR:  RO002: cannot access store "new" of "run": the gate is closed/g, 2, 'NEW statements fail');
is($stdout, 'legacy|1', 'legacy statements work');
is($split->sql('SELECT count(*) FROM runops_legacy.run'), '1', 'nothing has been stored here');
is($split->sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no lock is left in a session of the pool');

# the store behind it

point_at($dir, $port, 'run_ops');
like(verdict(), qr/^distinct\|The server is another database/, 'the store behind PgBouncer');
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the row is there');
is(between(), 'info|store new|server run_ops is a connection pooler, because the process that answers is not the process that accepted the connection',
	'doctor finds the pooler');
is($split->store_sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no lock is left there either');

# the pool leads elsewhere, to the control plane: noticed by the next connection
my $ini = slurp_file("$dir/pgbouncer.ini");
unlink "$dir/pgbouncer.ini";
append_to_file("$dir/pgbouncer.ini", $ini =~ s/^run_ops = .*$/"run_ops = host=" . $control->host . " port=" . $control->port . " dbname=postgres"/emr);
kill 'HUP', $pid;
$store->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'run_ops'});
my $closed;
foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	($stdout, $stderr) = $split->try("SELECT n FROM run WHERE id = '$new_id';");
	last if ($closed = $stderr =~ /RO002/);
	sleep 0.1;
}
like($stderr, qr/RO002: .*\nDETAIL:  The server (?:has become|is) the control plane itself/, 'a pool that is led to the control plane is noticed');

# without it

point_at($store->host, $store->port, 'run_ops');
is(between(), '', 'the finding is gone when the store itself is named');
like(verdict(), qr/^distinct/, 'and the store is proved');

done_testing();
