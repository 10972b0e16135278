#
# 034_gate_first_use.pl
#	  The first use of a store by many sessions at the same time, without a store,
#	  with store legacy in another database, in recovery, and while the workers are
#	  being terminated.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use Relay;
use TwoClusters;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $backends = 100;
my $split = TwoClusters->new(
	relay => 1,
	conf => "runops.database = ''\nmax_connections = 130\nwal_level = replica\nmax_wal_senders = 5\n",
	store_conf => "max_connections = 250\n");
my ($control, $store, $relay) = ($split->control, $split->store, $split->relay);
my $new_id = '0123456789abcdefghijklmna1';
my ($stdout, $stderr);

# Let the server of a store point at a node's database.
sub point_at
{
	my ($node, $database, $server) = @_;

	$split->sql(sprintf(q{ALTER SERVER %s OPTIONS (SET host '%s', SET port '%s', SET dbname '%s')},
			$server // 'run_ops', $node->host, $node->port, $database));
	return;
}

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

# on, and nothing is configured

$split->sql(<<'EOT');
SELECT runops.drop_store('new');
CREATE TABLE run (id text PRIMARY KEY, n int);
INSERT INTO run VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('run', 'id');
EOT
$relay->reset;
($stdout, $stderr) = $split->try(<<"EOT");
INSERT INTO run VALUES ('$new_id', 9);
INSERT INTO run VALUES ('c000000000000000000000002', 2), ('$new_id', 9);
COPY run FROM STDIN;
$new_id\t9
\\.
PREPARE i(text) AS INSERT INTO run VALUES (\$1, 9);
EXECUTE i('$new_id');
SET runops.enable_routing = off;
INSERT INTO run VALUES ('$new_id', 9);
RESET runops.enable_routing;
INSERT INTO run VALUES ('c000000000000000000000003', 3);
SELECT 'legacy', count(*) FROM run;
EOT
is(() = $stderr =~ /ERROR:  RO004: store "new" of "run" is not configured/g, 5, 'no store: a NEW id is an error');
is($stdout, 'legacy|2', 'no store: legacy statements are not affected');
is($split->sql("SELECT count(*) FROM runops_legacy.run WHERE id = '$new_id'"), '0', 'no store: it is never stored in legacy');
is($split->sql(q{SELECT item, state FROM runops.status() WHERE item IN ('flag', 'gate', 'read_gate') ORDER BY 1}),
	"flag|on\ngate|closed\nread_gate|closed", 'no store: closed');
like($split->sql(q{SELECT severity, finding FROM runops.doctor()}), qr/^error\|is on but has no effect, because no store is configured$/m, 'no store: the doctor says so');
SKIP:
{
	skip 'there is no mint_kind()', 1 if $split->sql(q{SELECT to_regprocedure('runops.mint_kind(text)') IS NULL}) eq 't';
	is($split->sql('SELECT runops.mint_kind()'), 'cuid', 'no store: cuids are made');
}
is(scalar($relay->connections), 0, 'no store: nobody is asked');
$split->sql(q{SELECT runops.add_store('new', 'run_ops')});
$split->store_sql("CREATE TABLE run (id text PRIMARY KEY, n int); INSERT INTO run VALUES ('$new_id', 2)");

# many at once, of a store that is distinct, and of one that is not

my $script = $control->basedir . '/read.sql';
append_to_file($script, "SELECT n FROM run WHERE id = '$new_id';\n");

# All at once ask for a row while the probe is held back; how it went.
sub many
{
	my ($what) = @_;
	my ($out, $err) = ('', '');

	$relay->drop;
	$relay->freeze;
	$control->restart;
	$relay->reset;
	my $bench = IPC::Run::start(
		[ 'pgbench', '-n', '-c', $backends, '-j', 1, '-t', 1, '-f', $script, '-h', $control->host, '-p', $control->port, 'postgres' ],
		'<', '/dev/null', '>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

	ok($control->poll_query_until('postgres', <<"EOT"), "$what: all wait");
SELECT count(*) = $backends FROM pg_stat_activity WHERE query LIKE 'SELECT n FROM run%' AND state = 'active' AND wait_event_type = 'Extension'
EOT
	is(scalar($relay->connections), 1, "$what: one has connected to the store");
	$relay->thaw;
	$bench->finish;
	return "$out$err";
}

# give them the time that they take
$split->sql(q{ALTER SERVER run_ops OPTIONS (ADD connect_timeout '3600')});
like(many('distinct'), qr/number of transactions actually processed: $backends\/$backends/, 'distinct: all get their row');
is(scalar(grep { /pg_try_advisory_xact_lock/ } $relay->statements), 1 + $backends,
	'distinct: by one probe, and one question for each new connection');

$relay->target($control->host, $control->port);
$split->sql(q{ALTER SERVER run_ops OPTIONS (SET dbname 'postgres')});
my $said = many('same');
is(() = $said =~ /the gate is closed/g, $backends, 'same: none gets past');
is(scalar(grep { /pg_try_advisory_xact_lock/ } $relay->statements), 1, 'same: by one probe');
is(scalar($relay->connections), 1, 'same: and one connection');
$relay->target($store->host, $store->port);
$split->sql(q{ALTER SERVER run_ops OPTIONS (SET dbname 'run_ops', DROP connect_timeout)});

# the control plane expects legacy elsewhere: only a proven "same" closes

$control->append_conf('postgresql.conf', "runops.expect_control_plane_split = on\n");
$control->restart;
$split->sql(sprintf(<<'EOT', $store->host, $store->port));
CREATE SERVER old FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%s', port '%s', dbname 'old');
CREATE USER MAPPING FOR CURRENT_USER SERVER old;
EOT
$store->safe_psql('postgres', 'CREATE DATABASE old');

# What the gate and co_residency are after asking again.
sub gate
{
	$split->sql('SELECT runops.recheck()');
	return $split->sql(q{SELECT string_agg(item || ' ' || state, ', ' ORDER BY item) FROM runops.status() WHERE item IN ('gate', 'co_residency')});
}

is(gate(), 'co_residency true, gate closed', 'expected elsewhere: legacy has no server');
like($split->sql(q{SELECT reason FROM runops.status() WHERE item = 'gate'}), qr/"legacy" is in the control plane's database/, 'with the reason');
$split->sql(q{INSERT INTO runops.store_config (store, server) VALUES ('legacy', 'old')});
is(gate(), 'co_residency false, gate open', 'expected elsewhere: legacy is there');
point_at($store, 'nowhere', 'old');
is(gate(), 'co_residency unknown, gate partly open', 'expected elsewhere: not known does not close the others');
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the row is there');
point_at($control, 'postgres', 'old');
is(gate(), 'co_residency true, gate closed', 'expected elsewhere: proved to be here');
$control->append_conf('postgresql.conf', "runops.expect_control_plane_split = off\n");
$control->restart;
is(gate(), 'co_residency true, gate partly open', 'not expected: only reported');
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the row is there');
$split->sql(q{DELETE FROM runops.store_config WHERE store = 'legacy'});

# this side in recovery: equal is the same, denied is unknown

$control->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$standby->init_from_backup($control, 'base', has_streaming => 1);
$standby->start;

sub standby_is
{
	my ($expected, $what) = @_;

	$control->wait_for_catchup($standby, 'replay');
	like($standby->safe_psql('postgres', q{SELECT verdict || '|' || reason FROM runops.recheck('new')}), $expected, "in recovery: $what");
	my $err = '';
	$standby->psql('postgres', "SELECT n FROM run WHERE id = '$new_id'", stderr => \$err);
	if ($expected =~ /distinct/)
	{
		is($err, '', "in recovery: $what: open");
	}
	else
	{
		like($err, qr/the gate is closed/, "in recovery: $what: closed");
	}
	return;
}

standby_is(qr/^distinct\|The server is another database: its system identifier or database name differs/, 'another cluster');
point_at($control, 'postgres');
standby_is(qr/^same\|This server is in recovery, and the store has the same system identifier and database name/, 'its own primary');
point_at($standby, 'postgres');
standby_is(qr/^same\|The server is a standby of the control plane/, 'itself');
point_at($relay, 'run_ops');
$store->safe_psql('run_ops', 'CREATE ROLE app LOGIN; GRANT ALL ON run TO app; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC');
$split->sql(q{ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (ADD user 'app')});
standby_is(qr/^unknown\|This server is in recovery, and the store's user may not execute pg_control_system\(\)/, 'the fingerprint is denied');
$split->sql(q{ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (DROP user)});
standby_is(qr/^distinct\|/, 'it is not');

# the read gate: neither writer nor reader may be the control plane or its standby

is($split->sql(q{SELECT runops.recheck(); SELECT state FROM runops.status() WHERE item = 'read_gate'}) =~ s/.*\n//sr, 'open', 'read gate: without a reader');
$split->sql(q{CREATE SERVER reader FOREIGN DATA WRAPPER runops_fdw OPTIONS (host 'nowhere', port '1', dbname 'postgres');
	CREATE USER MAPPING FOR CURRENT_USER SERVER reader;
	UPDATE runops.store_config SET reader = 'reader' WHERE store = 'new'});
foreach my $case ([ 'reader', $control, 'the control plane as reader' ], [ 'reader', $standby, 'its standby as reader' ],
	[ 'run_ops', $control, 'the control plane as writer' ], [ 'run_ops', $standby, 'its standby as writer' ])
{
	my ($server, $node, $what) = @$case;

	point_at($relay, 'run_ops');
	point_at($node, 'postgres', $server);
	$split->sql('SELECT runops.recheck()');
	is($split->sql(q{SELECT state FROM runops.status() WHERE item = 'read_gate'}), 'closed', "read gate: $what");
	like($split->sql(q{SELECT severity || ' ' || object FROM runops.doctor() WHERE severity = 'error'}), qr/^error store new$/m, "read gate: $what: the doctor says so");
}
point_at($relay, 'run_ops');
$split->sql(q{UPDATE runops.store_config SET reader = NULL WHERE store = 'new'; DROP SERVER reader CASCADE; SELECT runops.recheck()});
is($split->sql(q{SELECT state FROM runops.status() WHERE item = 'read_gate'}), 'open', 'read gate: open again');
$standby->stop;

# workers that are ended come back, and nothing gets through meanwhile

$control->append_conf('postgresql.conf', "runops.database = postgres\n");
$relay->drop;
$relay->freeze;
my $offset = -s $control->logfile;
$control->restart;
foreach my $round (1 .. 2)
{
	ok($control->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'runops prover'}), 'the prover is at work');
	$split->sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'runops prover'});
	($stdout, $stderr) = $split->try("SET statement_timeout = '200ms'; SELECT n FROM run WHERE id = '$new_id';");
	like($stderr, qr/ERROR:  57014/, 'the prover is ended: nothing gets through');
}
my $launcher = $split->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'runops launcher'});
$split->sql("SELECT pg_terminate_backend($launcher)");
ok($control->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'runops launcher' AND pid <> $launcher"),
	'the launcher is ended: another is started');
$relay->thaw;
ok(wait_for_log(qr/LOG:  store "new" is proved distinct by server "run_ops"/, $offset), 'and it opens the gate');
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the row is there');
unlike(slurp_file($control->logfile, $offset), qr/all server processes terminated/, 'without a restart of the server');

done_testing();
