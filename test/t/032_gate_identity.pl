#
# 032_gate_identity.pl
#	  A server that points to another database than the one that was proved
#	  distinct, and a control plane that is a copy of the one that proved it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# while a connection is held back no machine is too slow for what happens meanwhile
my $split = TwoClusters->new(
	relay => 1,
	server_options => "connect_timeout '3600'",
	conf => "runops.database = ''\nwal_level = replica\nmax_wal_senders = 5\n",
	store_conf => "wal_level = replica\nmax_wal_senders = 5\n");
my ($control, $store, $relay) = ($split->control, $split->store, $split->relay);
my $new_id = '0123456789abcdefghijklmna1';
my ($stdout, $stderr);

$split->store_sql("CREATE TABLE run (id text PRIMARY KEY, n int); INSERT INTO run VALUES ('$new_id', 2)");
$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, n int);
INSERT INTO run VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('run', 'id');
EOT

# another cluster that has a database of that name, and would take the rows
my $other = PostgreSQL::Test::Cluster->new('other');

$other->init;
$other->append_conf('postgresql.conf', "log_statement = 'all'");
$other->start;
$other->safe_psql('postgres', 'CREATE DATABASE run_ops');
$other->safe_psql('run_ops', 'CREATE TABLE run (id text PRIMARY KEY, n int)');
$control->safe_psql('postgres', 'CREATE DATABASE run_ops');

is($split->sql(q{SELECT verdict FROM runops.recheck('new')}), 'distinct', 'the store is proved');

my $session = $control->background_psql('postgres', on_error_stop => 0);

is($session->query("SELECT n FROM run WHERE id = '$new_id'"), '2', 'a session has a connection');

# a failover to something else
my $offset = -s $other->logfile;

$relay->target($other->host, $other->port);
is($session->query("SELECT n FROM run WHERE id = '$new_id'"), '2', 'its connection stands');
foreach my $sql ("INSERT INTO run VALUES ('0123456789abcdefghijklmnb1', 1)", "SELECT n FROM run WHERE id = '$new_id'",
	"UPDATE run SET n = 3 WHERE id = '$new_id'")
{
	($stdout, $stderr) = $split->try("$sql;");
	like($stderr, qr/ERROR:  RO002: cannot access store "new" of "run": the gate is closed\nDETAIL:  The server was proved with system identifier \d+, but a new connection reached \d+\.\nHINT:  If the store's database was replaced on purpose, run runops\.recheck/,
		"another cluster: $sql");
}
$relay->drop;
$session->query("SELECT n FROM run WHERE id = '$new_id'");
like($session->{stderr}, qr/the gate is closed/, 'and for the session that connects anew');
$session->{stderr} = '';
unlike(slurp_file($other->logfile, $offset), qr/\brun\b/, 'no statement has reached it');
$relay->target($store->host, $store->port);
is($session->query("SELECT n FROM run WHERE id = '$new_id'"), '2', 'open again as soon as it is the store again');

$relay->target($other->host, $other->port);
$relay->drop;
($stdout, $stderr) = $split->try("SELECT count(*) FROM run;");
like($stderr, qr/RO002/, 'closed once more');
is($split->sql(q{SELECT verdict FROM runops.recheck('new')}), 'distinct', 'somebody says that it is meant to be so');
is($split->sql('SELECT count(*) FROM run'), '1', 'and it is open');

# the same for a session that is still connected to what was the store: its rows are not those of the store any more
$relay->target($store->host, $store->port);
$relay->drop;
$split->sql(q{SELECT runops.recheck()});
is($session->query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT n FROM run WHERE id = '$new_id'"), '2', 'a transaction reads the store');
$relay->target($other->host, $other->port);
($stdout, $stderr) = $split->try('SELECT count(*) FROM run;');
like($stderr, qr/RO002/, 'closed by another session');
$split->sql(q{SELECT runops.recheck()});
is($session->query("SELECT n FROM run WHERE id = '$new_id'"), '', 'the transaction does not go on');
like($session->{stderr}, qr/cannot access store "new" in this transaction any more\n.*DETAIL:  The server of the store now leads to another database than when .*\n.*HINT:  Repeat the transaction/, 'and says so');
$session->{stderr} = '';
is($session->query("ROLLBACK; SELECT count(*) FROM run"), '1', 'the next one reads the database that was proved');
$relay->target($store->host, $store->port);
($stdout, $stderr) = $split->try('SELECT count(*) FROM run;');
$split->sql(q{SELECT runops.recheck()});
is($session->query("UPDATE run SET n = 2 WHERE id = '$new_id' RETURNING n"), '2', 'and so in the other direction, for a write');
is($split->store_sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the store has the row');
is($session->{stderr} =~ /ERROR/ ? $session->{stderr} : '', '', 'without an error');

# the proof is withdrawn while a session connects: what it reaches is not taken for the store
$session->query(q{BEGIN; ALTER SERVER run_ops OPTIONS (ADD application_name 'aside')});
$relay->target($other->host, $other->port);
$relay->freeze;
my ($in, $out, $err) = ("SELECT 'read', count(*) FROM run WHERE id = '$new_id';\n\\q\n", '', '');
my $late = IPC::Run::start([ 'psql', '-XAtq', '-d', $control->connstr('postgres'), '-f', '-' ], '<', \$in, '>', \$out, '2>', \$err,
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

$late->pump_nb;
$control->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT ''read''%' AND state = 'active' AND wait_event_type = 'Extension'});
$session->query(sprintf(q{ALTER SERVER run_ops OPTIONS (SET host '%s', SET port '%s'); SELECT count(*) FROM run; ROLLBACK}, $store->host, $store->port));
$relay->thaw;
$late->finish;
is($out, '', 'a connection that was made meanwhile is not used');
like($err, qr/the gate is closed\nDETAIL:  The server was altered while this session connected to it/, 'but refused');

# set-up functions make connections of their own
$relay->target($store->host, $store->port);
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the store is proved again');
$relay->target($other->host, $other->port);
foreach my $sql (q{SELECT runops.drop_store('new')}, q{SELECT * FROM runops.provision('new')})
{
	$relay->target($store->host, $store->port);
	$split->sql("SELECT n FROM run WHERE id = '$new_id'");
	$relay->target($other->host, $other->port);
	($stdout, $stderr) = $split->try("$sql;");
	like($stderr, qr/ERROR:  RO002: .*\nDETAIL:  The server was proved with system identifier/, "another cluster: $sql");
}
$session->{stderr} = '';

# back, and to the control plane's cluster and database
$relay->target($store->host, $store->port);
$relay->drop;
$split->sql(q{SELECT runops.recheck()});
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'back at the store');
$relay->target($control->host, $control->port);
$relay->drop;
($stdout, $stderr) = $split->try("SELECT n FROM run WHERE id = '$new_id';");
like($stderr, qr/RO002.*\nDETAIL:  The server was proved with system identifier/, q{another database of the control plane's cluster});

# a standby of the store
$relay->target($store->host, $store->port);
$relay->drop;
$split->sql(q{SELECT runops.recheck()});
$store->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$standby->init_from_backup($store, 'base', has_streaming => 1);
$standby->start;
$relay->target($standby->host, $standby->port);
$relay->drop;
($stdout, $stderr) = $split->try("SELECT n FROM run WHERE id = '$new_id';");
like($stderr, qr/RO002.*\nDETAIL:  The server was proved as a primary, but a new connection reached a standby/, 'a standby of the store');
$store->stop('immediate');
$standby->promote;
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'once it is promoted it is the store');

$session->quit;

# a hot standby of the control plane reads, and records nothing

$split->sql(q{DELETE FROM runops.store_identity});
$control->backup('base');
my $reading = PostgreSQL::Test::Cluster->new('reading');

$reading->init_from_backup($control, 'base', has_streaming => 1);
$reading->start;
is($reading->safe_psql('postgres', "SELECT n FROM run WHERE id = '$new_id'"), '2', 'a hot standby of the control plane reads');
is($reading->safe_psql('postgres', q{SELECT verdict, reason ~ 'system identifier' FROM runops.recheck('new')}), 'distinct|t', 'by the fingerprint');
($stdout, $stderr) = ('', '');
$reading->psql('postgres', "UPDATE run SET n = 3 WHERE id = '$new_id'", stderr => \$stderr);
like($stderr, qr/cannot execute UPDATE in a read-only transaction/, 'it cannot write');
is($split->sql('SELECT count(*) FROM runops.store_identity'), '0', 'and records nothing');
is($split->sql(q{SELECT verdict FROM runops.recheck('new')}), 'distinct', 'the primary does');
is($split->sql('SELECT count(*) FROM runops.store_identity'), '1', 'and records it');
$control->wait_for_catchup($reading);
is($reading->safe_psql('postgres', q{SELECT verdict FROM runops.recheck('new')}), 'distinct', 'the standby still reads');

# promoted, it is another place: not before somebody says so
$reading->promote;
$reading->psql('postgres', "SELECT n FROM run WHERE id = '$new_id'", stderr => \$stderr);
like($stderr, qr/the gate is closed\nDETAIL:  The store was proved from data directory .*; this server is a copy in .*\.\nHINT:  .*accept_new_identity => true/,
	'a promoted copy of the control plane');
is($reading->safe_psql('postgres', q{SELECT verdict FROM runops.recheck('new')}), 'unknown', 'recheck alone is not enough');
is($reading->safe_psql('postgres', q{SELECT verdict FROM runops.recheck('new', accept_new_identity => true)}), 'distinct', 'accepted');
is($reading->safe_psql('postgres', "SELECT n FROM run WHERE id = '$new_id'"), '2', 'open');
$reading->stop;

# a base backup that is just started
my $copy = PostgreSQL::Test::Cluster->new('copy');

$copy->init_from_backup($control, 'base');
$copy->start;
$copy->safe_psql('postgres', q{INSERT INTO runops.store_identity SELECT 'new', system_identifier, 'postgres', '/elsewhere, control file 1', 1, NULL, false, now() FROM pg_control_system()});
$copy->psql('postgres', "INSERT INTO run VALUES ('0123456789abcdefghijklmnc1', 3)", stderr => \$stderr);
like($stderr, qr/the gate is closed\nDETAIL:  The store was proved from data directory \/elsewhere/, 'a base backup that is just started');
$copy->psql('postgres', q{BEGIN; SELECT runops.recheck(accept_new_identity => true); ROLLBACK});
$copy->psql('postgres', "SELECT n FROM run WHERE id = '$new_id'", stderr => \$stderr);
like($stderr, qr/the gate is closed/, 'an acceptance that is rolled back is none');
$copy->stop;

# a copy of the database, made by CREATE DATABASE
$control->safe_psql('template1', 'CREATE DATABASE staging TEMPLATE postgres');
$control->psql('staging', "SELECT n FROM run WHERE id = '$new_id'", stderr => \$stderr);
like($stderr, qr/the gate is closed\nDETAIL:  The store was proved from database "postgres"; this one is "staging"/, 'a copy of the database');
($stdout, $stderr) = $split->try("SELECT n FROM run WHERE id = '$new_id';");
like($stderr, qr/ERROR:  RO007: .*\nDETAIL:  The store belongs to a copy of this control plane, on timeline 2 of its cluster; this server is on timeline 1\./, 'the original is closed since the promoted copy was accepted');
$split->sql('SELECT runops.recheck(accept_new_identity => true)');
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'until it is accepted again');

done_testing();
