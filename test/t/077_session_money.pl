#
# 077_session_money.pl
#	  Money moves between two stores and this database, while connections are cut,
#	  sessions are ended, and servers crash: with two-phase commit no transfer is
#	  half done in the end.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use Relay;
use TwoClusters;

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# TWO_PHASE=false shows that this test finds halves
my $option = $ENV{TWO_PHASE} // 'true';
my $workers = 4;
my $accounts = 10;

my $split = TwoClusters->new(
	relay => 1,
	conf => "restart_after_crash = on\n",
	store_conf => "max_prepared_transactions = 20\n",
	server_options => "two_phase '$option', connect_timeout '2'");
my ($control, $store) = ($split->control, $split->store);
my $second = PostgreSQL::Test::Cluster->new('second');

$second->init;
$second->append_conf('postgresql.conf', "max_prepared_transactions = 20\n");
$second->start;
my @stores = ($store, $second);
my @relays = ($split->relay, Relay->start(to_host => $second->host, to_port => $second->port));

$second->safe_psql('postgres', 'CREATE DATABASE run_ops');
$split->sql(sprintf(q{CREATE SERVER second FOREIGN DATA WRAPPER runops_fdw
		OPTIONS (host '%s', port '%s', dbname 'run_ops', two_phase '%s', connect_timeout '2');
	CREATE USER MAPPING FOR CURRENT_USER SERVER second;
	SELECT runops.add_store('a', 'second')}, $relays[1]->host, $relays[1]->port, $option));
$split->sql(<<'EOT');
CREATE TABLE account (id text PRIMARY KEY, n int NOT NULL);
CREATE TABLE transfer (debit text, credit text);
SELECT runops.attach('account', 'id');
EOT
$split->sql(qq{SELECT runops.provision('$_')}) foreach ('new', 'a');

my @ids = map { (sprintf('clegacy%018d', $_), sprintf('0123456789abcdefghij%04d01', $_), sprintf('0123456789abcdefghij%04da2', $_ )) } 1 .. $accounts;

$split->sql('INSERT INTO account VALUES ' . join(', ', map { "('$_', 0)" } @ids));
is($split->sql(q{SELECT string_agg(x, ' ' ORDER BY x) FROM (SELECT runops.store_of(id) || ' ' || count(*) FROM account GROUP BY runops.store_of(id)) AS s (x)}), "a $accounts legacy $accounts new $accounts", 'accounts of three databases');

# Move money until the file "stop" exists; an error ends one transfer, and a lost
# connection some of them.
my $stop = "$PostgreSQL::Test::Utils::tmp_check/stop";
my @pids;

foreach my $worker (1 .. $workers)
{
	my $pid = fork;

	die "fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		srand($worker);
		until (-e $stop)
		{
			my $script = "SET lock_timeout = '2s';\n";

			foreach (1 .. 20)
			{
				my ($from, $to) = @ids[ rand @ids, rand @ids ];

				$script .= "BEGIN; UPDATE account SET n = n - 1 WHERE id = '$from'; UPDATE account SET n = n + 1 WHERE id = '$to';"
				  . " INSERT INTO transfer VALUES ('$from', '$to'); COMMIT;\n";
			}
			open(my $psql, '|-', 'psql -X -q -d "' . $control->connstr('postgres') . '" >/dev/null 2>&1') or POSIX::_exit(1);
			local $SIG{PIPE} = 'IGNORE';
			print $psql $script;
			close $psql;
			select(undef, undef, undef, 0.1) if $?;
		}
		POSIX::_exit(0);
	}
	push @pids, $pid;
}

# Wait until some more transfers are committed.
sub transfers_go_on
{
	my $before;

	# the server may be starting
	$control->poll_query_until('postgres', 'SELECT true');
	$before = $split->sql('SELECT count(*) FROM transfer');
	$control->poll_query_until('postgres', "SELECT count(*) >= $before + 20 FROM transfer") or die 'no transfer is committed';
	return;
}

my $backend = q{FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL ORDER BY random() LIMIT 1};
my @faults = (
	map({ my $r = $_; (
			[ "connections to a store are cut", sub { $relays[$r]->drop } ],
			[ 'PREPARE TRANSACTION is cut', sub { $relays[$r]->drop_on('^PREPARE', 'after') } ],
			[ 'COMMIT is cut', sub { $relays[$r]->drop_on('^COMMIT', 'after') } ],
			[ 'COMMIT is cut before it arrives', sub { $relays[$r]->drop_on('^COMMIT', 'before') } ],
			[ 'sessions of a store are ended', sub { $stores[$r]->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'runops/%'}) } ],
			[ 'a store crashes', sub { $stores[$r]->stop('immediate'); $stores[$r]->start } ],
		) } 0, 1),
	[ 'a session is ended', sub { $split->sql("SELECT pg_terminate_backend(pid) $backend") } ],
	[ 'a session is cancelled', sub { $split->sql("SELECT pg_cancel_backend(pid) $backend") } ],
	[ 'a backend is killed', sub { my $pid = $split->sql("SELECT pid $backend"); kill 'KILL', $pid if $pid } ],
	[ 'the control plane crashes', sub { $control->stop('immediate'); $control->start } ]);

foreach my $round (1 .. 2)
{
	foreach my $fault (@faults)
	{
		transfers_go_on();
		$fault->[1]->();
		pass("round $round: $fault->[0]");
	}
}
transfers_go_on();
append_to_file($stop, '');
waitpid($_, 0) foreach @pids;
$_->drop_on('') foreach @relays;

foreach my $i (0, 1)
{
	ok($stores[$i]->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_prepared_xacts'), "nothing stays prepared in store $i");
	is($stores[$i]->safe_psql('run_ops', q{SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'runops%' AND xact_start IS NOT NULL AND state LIKE 'idle in%'}), '0', 'no transaction stays open');
}
is($split->sql('SELECT sum(n) FROM account'), '0', 'the sum is the same');
is( $split->sql(q{
	SELECT string_agg(format('%s has %s and not %s', a.id, a.n, x.n), E'\n')
	FROM account a CROSS JOIN LATERAL (
		SELECT (SELECT count(*) FROM transfer t WHERE t.credit = a.id) - (SELECT count(*) FROM transfer t WHERE t.debit = a.id)) AS x (n)
	WHERE a.n <> x.n}),
	'',
	'each account has what its transfers say');
note($split->sql(q{SELECT format('%s transfers; ', (SELECT count(*) FROM transfer)) || s::text FROM runops.two_phase_stats s}));
done_testing();
