#
# 005_xact_crash.pl
#	  A crash of either side leaves no half of a transaction and no half of a change
#	  of the topology.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $restart = "restart_after_crash = on\n";
my $split = TwoClusters->new(relay => 1, conf => $restart, store_conf => $restart);
my ($l1, $n1) = ('c00000000000000000000run1', '0123456789abcdefghijklmn01');

$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, n int);
CREATE TABLE other (id text PRIMARY KEY, n int);
INSERT INTO other SELECT 'c' || lpad(g::text, 24, '0'), g FROM generate_series(1, 100) g;
SELECT runops.attach('run', 'id');
EOT
$split->sql(q{SELECT runops.provision('new')});

my $write = "INSERT INTO run VALUES ('$l1', 1); INSERT INTO run VALUES ('$n1', 1);";

# Neither database has a row of the transaction.
sub nothing_written
{
	my $what = shift;

	is($split->sql('SELECT count(*) FROM ONLY runops_legacy.run'), '0', "$what: no row here");
	is($split->store_sql('SELECT count(*) FROM run'), '0', "$what: no row in the store");
	is($split->sql('SELECT count(*) FROM run'), '0', "$what: the split goes on");
	return;
}

# A session inside a transaction that has written to both databases.
sub writing_session
{
	my $session = $split->control->background_psql('postgres', on_error_stop => 0);

	$session->query("BEGIN; $write");
	is($session->{stderr}, '', 'a transaction has written to both databases');
	return $session;
}

# The process that serves a session.
sub backend
{
	my $session = shift;
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	die "no process: \"$pid\"" unless $pid =~ /^\d+$/;
	return $pid;
}

# The processes that serve the server run_ops in the store.
sub store_backends
{
	return split /\n/, $split->store->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE datname = 'run_ops' AND application_name LIKE 'runops/%'});
}

# Kill processes of a node, which makes it start anew once it notices.
my %checkpointer;

sub kill_processes
{
	my ($node, @pids) = @_;

	$checkpointer{ $node->name } =
	  $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'});
	kill 'KILL', @pids;
	return;
}

# Wait until a node has noticed a crash and takes connections again.
sub wait_for
{
	my ($node, $database) = @_;

	$node->poll_query_until($database,
		qq{SELECT pid <> $checkpointer{ $node->name } FROM pg_stat_activity WHERE backend_type = 'checkpointer'})
	  or die 'the server did not come back';
	return;
}

# Start a node whose postmaster was killed: its processes hold the shared memory
# until they notice.
sub start_again
{
	my $node = shift;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if $node->start(fail_ok => 1);
		# the node must not be taken for a running one
		$node->stop('fast', fail_ok => 1);
		select(undef, undef, undef, 0.1);
	}
	die 'the server does not start';
}

# A process of the store is killed before the commit.
{
	my $session = writing_session();
	my @pids = store_backends();

	is(scalar(@pids), 1, 'one connection serves it');
	kill_processes($split->store, @pids);
	wait_for($split->store, 'run_ops');
	$session->query('COMMIT');
	like($session->{stderr}, qr/ERROR:  /, 'a killed process of the store makes COMMIT fail');
	$session->{stderr} = '';
	is($session->query('SELECT 1'), '1', 'the session is usable');
	$session->quit;
	nothing_written('a process of the store killed');
}

# The whole store goes down.
{
	my $session = writing_session();
	my @pids = store_backends();

	# a process may outlive the postmaster for as long as it takes to notice
	$split->store->kill9;
	kill 'KILL', @pids;
	$session->query('COMMIT');
	like($session->{stderr}, qr/ERROR:  /, 'a dead store makes COMMIT fail');
	$session->{stderr} = '';
	is($session->query("INSERT INTO run VALUES ('$l1', 1) RETURNING n"), '1', 'the session goes on with legacy ids');
	$session->query_safe("DELETE FROM run WHERE id = '$l1'");
	$session->quit;
	start_again($split->store);
	nothing_written('the store killed');
}

# The connection is cut as the commit is on its way.
{
	my $session = writing_session();

	$split->relay->drop_on('^COMMIT', 'before');
	$session->query('COMMIT');
	like($session->{stderr}, qr/ERROR:  /, 'a COMMIT that did not arrive is an error');
	$session->quit;
	nothing_written('the connection cut before COMMIT');
}

# A process of the control plane is killed: the store rolls back.
{
	my $session = writing_session();
	my $pid = backend($session);

	kill_processes($split->control, $pid);
	eval { $session->quit };
	wait_for($split->control, 'postgres');
	$split->store->poll_query_until('run_ops',
		q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'runops/%' AND xact_start IS NOT NULL})
	  or die 'the store still has the transaction';
	nothing_written('a process of the control plane killed');
}

# The control plane goes down as a whole.
{
	my $session = writing_session();

	$split->control->kill9;
	eval { $session->quit };
	start_again($split->control);
	$split->store->poll_query_until('run_ops',
		q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'runops/%' AND xact_start IS NOT NULL})
	  or die 'the store still has the transaction';
	nothing_written('the control plane killed');
}

# attach, and detach, are one transaction.
{
	my $facts = q{SELECT c.relkind, c.relnamespace::regnamespace, (SELECT count(*) FROM other),
		(SELECT count(*) FROM runops.routed_tables WHERE relation = 'other'::regclass)
		FROM pg_class c WHERE c.oid = 'other'::regclass};
	my $before = $split->sql($facts);
	my $session = $split->control->background_psql('postgres', on_error_stop => 0);

	$session->query("BEGIN; SELECT runops.attach('other', 'id')");
	is($session->{stderr}, '', 'attach in a transaction');
	kill_processes($split->control, backend($session));
	eval { $session->quit };
	wait_for($split->control, 'postgres');
	is($split->sql($facts), $before, 'a crash before its commit leaves the table as it was');

	$split->sql(q{SELECT runops.attach('other', 'id')});
	$split->sql(q{SELECT runops.provision('new')});
	my $attached = $split->sql($facts);

	isnt($attached, $before, 'it can be attached afterwards');
	$session = $split->control->background_psql('postgres', on_error_stop => 0);
	$session->query("BEGIN; SELECT runops.detach('other')");
	is($session->{stderr}, '', 'detach in a transaction');
	kill_processes($split->control, backend($session));
	eval { $session->quit };
	wait_for($split->control, 'postgres');
	is($split->sql($facts), $attached, 'a crash before its commit leaves it routed');
	is($split->sql('SELECT * FROM runops.verify()'), '', 'with nothing out of place');
	$split->sql(q{SELECT runops.detach('other')});
	is($split->sql($facts), $before, 'and detach puts it back');
}

# What was committed survives a crash of both.
$split->sql($write);
$split->control->kill9;
$split->store->kill9;
start_again($split->store);
start_again($split->control);
is($split->sql('SELECT id FROM run ORDER BY id'), "$n1\n$l1", 'committed rows survive a crash of both');

done_testing();
