#
# 031_gate_boot.pl
#	  No statement reaches a store between the start of the server and the first
#	  verdict.  Then the worker or the first use opens the gate.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

# while a probe is held back no machine is too slow for what happens meanwhile
my $split = TwoClusters->new(
	relay => 1,
	conf => "restart_after_crash = on\n",
	server_options => "connect_timeout '3600'");
my ($control, $store, $relay) = ($split->control, $split->store, $split->relay);
my $new_id = '0123456789abcdefghijklmna1';
my ($stdout, $stderr);

# Wait for a line in the control plane's log after the given place.
sub wait_for_log
{
	my ($regex, $offset) = @_;

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if slurp_file($control->logfile, $offset) =~ $regex;
		sleep 0.1;
	}
	return 0;
}

# How many probes has the store been asked, in the relay's statements?
sub probes
{
	return scalar grep { /pg_try_advisory_xact_lock/ } $relay->statements;
}

# the worker proves what it finds, and records who has proved it

ok(wait_for_log(qr/LOG:  store "new" is proved distinct by server "run_ops"/, 0), 'the worker proves a store that is added');
ok($control->poll_query_until('postgres', 'SELECT count(*) = 1 FROM runops.store_identity'), 'and records the control plane');

$split->store_sql("CREATE TABLE run (id text PRIMARY KEY, n int); INSERT INTO run VALUES ('$new_id', 2)");
$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, n int);
INSERT INTO run VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('run', 'id');
EOT

# the probe is held back: nobody gets through

$relay->freeze;
$control->restart;
$relay->drop;
$relay->reset;

my @sessions = map { $control->background_psql('postgres', on_error_stop => 0) } (1 .. 8);

foreach my $session (@sessions)
{
	$session->{stdin} .= "SELECT n FROM run WHERE id = '$new_id';\n\\echo done\n";
	$session->{run}->pump_nb;
}
sleep 1;
foreach my $session (@sessions)
{
	$session->{run}->pump_nb;
}
is(join('', map { $_->{stdout} } @sessions), '', 'no session has got past the probe');
($stdout, $stderr) = $split->try("SET statement_timeout = '500ms'; INSERT INTO run VALUES ('0123456789abcdefghijklmnc1', 3);");
like($stderr, qr/ERROR:  57014/, 'an INSERT waits as well, and can be ended');
is($split->sql(q{SELECT n FROM run WHERE id = 'c000000000000000000000001'}), '1', 'legacy statements do not wait');
$relay->thaw;
foreach my $session (@sessions)
{
	$session->{run}->pump until $session->{stdout} =~ /done\n/;
}
is(join(' ', map { $_->{stdout} =~ s/\n?done\n//r } @sessions), join(' ', (2) x 8), 'then all of them get their row');
# one probe, and for each connection of postgres_fdw two questions: before it, and on it
cmp_ok(probes(), '<=', 1 + 2 * 8 + 1, 'by one probe');
$_->quit foreach @sessions;
is($split->store_sql('SELECT count(*) FROM run'), '1', 'the cancelled INSERT has not arrived');

# a store that is down at the start, and comes up

$relay->refuse;
my $offset = -s $control->logfile;

$control->restart;
ok(wait_for_log(qr/WARNING:  the gate to store "new" is closed by server "run_ops"\n.*DETAIL:  Could not connect/, $offset),
	'the worker tells why the gate is closed');
($stdout, $stderr) = $split->try("SELECT n FROM run WHERE id = '$new_id';");
like($stderr, qr/ERROR:  RO002.*\nDETAIL:  Could not connect to server "run_ops"/, 'a statement tells as well');
$relay->accept;
ok(wait_for_log(qr/LOG:  store "new" is proved distinct/, $offset), 'the worker opens the gate by itself');
is(() = slurp_file($control->logfile, $offset) =~ /the gate to store "new" is closed/g, 1, 'and has not repeated itself');
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the row is there');

# without a mapping that the worker could use

$split->sql(q{CREATE ROLE app LOGIN; ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (ADD user 'nobody_there')});
$offset = -s $control->logfile;
$control->restart;
ok(wait_for_log(qr/WARNING:  the gate to store "new".*\n.*DETAIL:  .*role "nobody_there" does not exist/, $offset), 'a mapping that does not work');
$split->sql('DROP USER MAPPING FOR CURRENT_USER SERVER run_ops');
ok(wait_for_log(qr/DETAIL:  There is no user mapping for server "run_ops".*\n.*HINT:  Use CREATE USER MAPPING/, $offset), 'no mapping');
$split->sql('CREATE USER MAPPING FOR PUBLIC SERVER run_ops');
ok(wait_for_log(qr/LOG:  store "new" is proved distinct/, $offset), q{PUBLIC's mapping});

# the launcher survives a reload, and the server its death

$control->reload;
my $launcher = $split->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'runops launcher'});

like($launcher, qr/^\d+$/, 'the launcher runs');
is($split->sql(q{SELECT datname IS NULL FROM pg_stat_activity WHERE backend_type = 'runops launcher'}), 't', 'in no database');
$offset = -s $control->logfile;
kill 'KILL', $launcher;
ok(wait_for_log(qr/all server processes terminated; reinitializing/, $offset), 'killed: the server starts over');
ok(wait_for_log(qr/LOG:  store "new" is proved distinct/, $offset), 'and proves the store again');

# pg_upgrade starts servers that must not talk to others

$control->stop;
system_or_bail('pg_ctl', '-w', '-D', $control->data_dir, '-l', $control->logfile, '-o', '-b', 'start');
is($control->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'runops%'}), '0', 'no worker under pg_upgrade');
system_or_bail('pg_ctl', '-w', '-D', $control->data_dir, 'stop');

# nothing configured, no extension, no database, flag off

my $plain = PostgreSQL::Test::Cluster->new('plain');

$plain->init;
$plain->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'runops'
runops.split_enabled = on
runops.native_realtime_enabled = on
runops.database = 'planes'
EOT
$plain->start;
sleep 2;
unlike(slurp_file($plain->logfile), qr/WARNING|ERROR|FATAL/, 'no database: nothing is said');
$plain->safe_psql('postgres', 'CREATE DATABASE planes');
sleep 3;
unlike(slurp_file($plain->logfile), qr/WARNING|ERROR|FATAL/, 'no extension: nothing is said');
$plain->safe_psql('planes', 'CREATE EXTENSION runops CASCADE');
$plain->restart;
$control = $plain;
ok(wait_for_log(qr/WARNING:  "runops.split_enabled" is on, but no store is configured/, 0), 'no store: a WARNING at boot');
$plain->safe_psql('postgres', 'DROP DATABASE planes');
$plain->append_conf('postgresql.conf', 'runops.split_enabled = off');
$plain->restart;
ok($plain->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'runops prover'}), 'no prover while the flag is off');
sleep 2;
is($plain->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'runops prover'}), '0', 'nor later');

done_testing();
