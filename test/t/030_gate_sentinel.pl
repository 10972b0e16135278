#
# 030_gate_sentinel.pl
#	  Every verdict of the sentinel, on a real server in the state for it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use Relay;
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# no worker: what is proved here is proved by what the test does
my $split = TwoClusters->new(relay => 1, conf => "runops.database = ''\nwal_level = replica\nmax_wal_senders = 5\n",
	store_conf => "wal_level = replica\nmax_wal_senders = 5\n");
my ($control, $store, $relay) = ($split->control, $split->store, $split->relay);
my $new_id = '0123456789abcdefghijklmna1';

$split->store_sql("CREATE TABLE run (id text PRIMARY KEY, n int); INSERT INTO run VALUES ('$new_id', 2)");
$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, n int);
INSERT INTO run VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('run', 'id');
EOT

# Let the server of the store point at a node's database.
sub point_at
{
	my ($node, $database, $server) = @_;

	$split->sql(sprintf(q{ALTER SERVER %s OPTIONS (SET host '%s', SET port '%s', SET dbname '%s')},
			$server // 'run_ops', $node->host, $node->port, $database));
	return;
}

# What recheck() says of a store, and what a NEW and a legacy read give.
sub verdict_is
{
	my ($expected, $reason, $what) = @_;
	my ($verdict, $why) = split /\|/, $split->sql(q{SELECT verdict, reason FROM runops.recheck('new')}), 2;
	my ($stdout, $stderr) = $split->try(<<"EOT");
SELECT n FROM run WHERE id = '$new_id';
SELECT 'legacy', n FROM run WHERE id = 'c000000000000000000000001';
INSERT INTO run VALUES ('0123456789abcdefghijklmnz1', 9);
EOT

	is($verdict, $expected, "$what: verdict");
	like($why, $reason, "$what: reason");
	if ($expected eq 'distinct')
	{
		unlike($stderr, qr/RO002[^\n]*\nDETAIL:  (?!The library)/, "$what: the gate is open");
	}
	else
	{
		my @closed = ($stderr =~ /ERROR:  (RO002): cannot access store "new" of "run": the gate is closed\nDETAIL:  \Q$why\E\nHINT: /g);

		is(scalar(@closed), 2, "$what: NEW statements fail with that reason and a hint");
	}
	like($stdout, qr/^legacy\|1$/m, "$what: legacy statements work");
	return;
}

# two clusters

my ($stdout, $stderr);

verdict_is('distinct', qr/another database/, 'two clusters');
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the row is there');
is($split->sql('SELECT store, system_identifier = (SELECT c.system_identifier FROM pg_control_system() c), database FROM runops.store_identity'),
	'new|t|postgres', 'the first proof records the control plane');

# two names for one database

$split->sql('CREATE SCHEMA elsewhere');
point_at($control, 'postgres');
verdict_is('same', qr/the control plane itself/, 'the control plane by its own name');

my $alias = Relay->start(to_host => $control->host, to_port => $control->port, tcp => 1);

point_at($alias, 'postgres');
verdict_is('same', qr/the control plane itself/, 'the control plane by another host and port');

# two databases of one cluster

$control->safe_psql('postgres', 'CREATE DATABASE neighbour');
$control->safe_psql('neighbour', 'CREATE TABLE run (id text PRIMARY KEY, n int)');
point_at($control, 'neighbour');
verdict_is('distinct', qr/another database/, 'another database of the cluster');

# the fingerprint is denied, the lock proves it

$store->safe_psql('run_ops', 'CREATE ROLE app LOGIN; GRANT ALL ON run TO app; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC');
$split->sql(q{ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (ADD user 'app')});
point_at($relay, 'run_ops');
my $offset = -s $store->logfile;
verdict_is('distinct', qr/another database/, 'no right to ask for the system identifier');
unlike(slurp_file($store->logfile, $offset), qr/ERROR:  permission denied for function/, 'nothing fails there for that');

$control->safe_psql('postgres', 'CREATE ROLE app LOGIN; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC');
point_at($control, 'postgres');
verdict_is('same', qr/the control plane itself/, 'nor in the control plane itself');
$split->sql(q{ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (DROP user)});

# no mapping, no server, no answer

$split->sql('DROP USER MAPPING FOR CURRENT_USER SERVER run_ops');
point_at($store, 'run_ops');
verdict_is('unknown', qr/no user mapping for server "run_ops"/, 'no user mapping');
$split->sql('CREATE USER MAPPING FOR CURRENT_USER SERVER run_ops');
point_at($store, 'no_such_database');
verdict_is('unknown', qr/database "no_such_database" does not exist/, 'no such database');

my $relay2 = Relay->start(to_host => $store->host, to_port => $store->port);

$relay2->refuse;
point_at($relay2, 'run_ops');
verdict_is('unknown', qr/^Could not connect to server "run_ops": /, 'nobody listens');
$relay2->accept;
verdict_is('distinct', qr/another database/, 'and now somebody does');

# a server that freezes after the handshake

$split->sql(q{ALTER SERVER run_ops OPTIONS (ADD connect_timeout '2')});
$relay2->freeze_on('pg_try_advisory_xact_lock');

is($split->sql(q{SELECT verdict, reason FROM runops.recheck('new')}),
	'unknown|Server "run_ops" did not answer in time: The connection is open, but the time of connect_timeout is over.',
	'frozen after the handshake');
# nothing else would end this one
$split->sql(q{ALTER SERVER run_ops OPTIONS (SET connect_timeout '3600')});
($stdout, $stderr) = $split->try("SET statement_timeout = '300ms'; SELECT n FROM run WHERE id = '$new_id';");
like($stderr, qr/ERROR:  57014/, 'a probe ends by statement_timeout');
$relay2->thaw;
$split->sql(q{ALTER SERVER run_ops OPTIONS (DROP connect_timeout)});
verdict_is('distinct', qr/another database/, 'thawed');

# standbys

$control->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$standby->init_from_backup($control, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "shared_preload_libraries = ''\nhot_standby = on\n");
$standby->start;
point_at($standby, 'postgres');
verdict_is('same', qr/standby of the control plane/, 'a standby of the control plane');

# the same base backup, promoted: the system identifier proves nothing
$standby->promote;
verdict_is('distinct', qr/a lock that is held here is free there/, 'a restored base backup');
$standby->stop;

$store->backup('base');
my $store_standby = PostgreSQL::Test::Cluster->new('store_standby');

$store_standby->init_from_backup($store, 'base', has_streaming => 1);
$store_standby->start;
point_at($store_standby, 'run_ops');
verdict_is('unknown', qr/it is in recovery, but a store must accept writes/, 'a standby as writer');
point_at($store, 'run_ops');
verdict_is('distinct', qr/another database/, 'its primary');

# readers

$split->sql(sprintf(<<'EOT', $store_standby->host, $store_standby->port));
CREATE SERVER run_ops_reader FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%s', port '%s', dbname 'run_ops');
CREATE USER MAPPING FOR CURRENT_USER SERVER run_ops_reader;
UPDATE runops.store_config SET reader = 'run_ops_reader' WHERE store = 'new';
EOT
is($split->sql(q{SELECT verdict, reason FROM runops.recheck('new')}),
	"distinct|The server is another database: a lock that is held here is free there.\ndistinct|The reader is a standby of the store's writer.",
	'a reader that is a standby of its writer');
point_at($store, 'run_ops', 'run_ops_reader');
like($split->sql(q{SELECT verdict, reason FROM runops.recheck('new')}),
	qr/^distinct.*\nunknown\|The reader is not a standby/, 'a reader that is no standby');
point_at($store_standby, 'postgres', 'run_ops_reader');
like($split->sql(q{SELECT verdict, reason FROM runops.recheck('new')}),
	qr/^distinct.*\nunknown\|The reader is not a standby of the store's own writer/, 'a reader of another writer');
$split->sql(q{UPDATE runops.store_config SET reader = NULL WHERE store = 'new'; DROP SERVER run_ops_reader CASCADE});
$store_standby->stop;

# two stores in one database

$split->sql(sprintf(<<'EOT', $store->host, $store->port));
CREATE SERVER shard_e FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%s', port '%s', dbname 'run_ops');
CREATE USER MAPPING FOR CURRENT_USER SERVER shard_e;
SELECT runops.add_store('e', 'shard_e');
EOT
is($split->sql(q{SELECT store, verdict, reason FROM runops.recheck('e')}),
	'e|same|The server is the database of store "new", server "run_ops".', 'another store has the same database');
($stdout, $stderr) = $split->try("SELECT n FROM run WHERE id = '$new_id';");
like($stderr, qr/RO002.*\nDETAIL:  The server is the database of store "e"/, 'both are closed');
$split->sql(q{ALTER ROLE postgres SET x.y = ''; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC});
$store->safe_psql('postgres', 'CREATE DATABASE run_ops_e');
point_at($store, 'run_ops_e', 'shard_e');
is($split->sql(q{SELECT store, verdict FROM runops.recheck() ORDER BY 1}), "e|distinct\nnew|distinct", 'a database of its own');
$split->sql(q{ALTER SERVER shard_e OPTIONS (SET dbname 'run_ops'); SELECT runops.drop_store('e', force => true)});
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the first is open without the other');

# a server that was asked before it was a store: the proof is not one for that
$split->sql(sprintf(<<'EOT', $store->host, $store->port));
CREATE SERVER twin FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%s', port '%s', dbname 'run_ops');
CREATE USER MAPPING FOR CURRENT_USER SERVER twin;
CREATE FOREIGN TABLE twin (id text, n int) SERVER twin OPTIONS (table_name 'run');
EOT
is($split->sql('SELECT n FROM twin WHERE n = 2'), '2', 'a server of no store is proved for itself');
$split->sql(q{SELECT runops.add_store('e', 'twin')});
($stdout, $stderr) = $split->try("SELECT n FROM run WHERE id = '0123456789abcdefghijklmne2'; SELECT n FROM run WHERE id = '$new_id';");
is(scalar(() = $stderr =~ /RO002/g), 2, 'as a store it is compared with the others');
$split->sql(q{SELECT runops.drop_store('e', force => true); SELECT runops.add_store('e', 'twin', remote_schema => 'aside')});
is($split->sql(q{SELECT store, verdict FROM runops.recheck() ORDER BY 1}), "e|distinct\nnew|distinct", 'in a schema of its own it is distinct');
$split->sql(q{SELECT runops.drop_store('e', force => true); SELECT runops.add_store('e', 'twin')});
($stdout, $stderr) = $split->try("SELECT n FROM run WHERE id = '0123456789abcdefghijklmne2';");
like($stderr, qr/RO002/, 'without one it is not, though it was proved with it');
$split->sql(q{SELECT runops.drop_store('e', force => true); SELECT runops.add_store('e', 'twin', remote_schema => 'aside')});
is($split->sql(q{SELECT store, verdict FROM runops.recheck() ORDER BY 1}), "e|distinct\nnew|distinct", 'again');
$split->sql('CREATE SCHEMA aside; CREATE TABLE aside.t (id text PRIMARY KEY)');
is($split->sql(q{BEGIN; SELECT FROM runops.attach('aside.t', 'id'); SELECT state FROM runops.status() WHERE item = 'gate'; ROLLBACK}) =~ s/\n//gr, 'closed',
	'a table that both would have closes the gate');
$split->sql(q{SELECT runops.drop_store('e', force => true); DROP FOREIGN TABLE twin; DROP SERVER twin CASCADE; DROP SCHEMA aside CASCADE});
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'open');

# functions that ask the store go over the gate too

point_at($control, 'postgres');
foreach my $sql (q{SELECT runops.provision('new')}, q{SELECT runops.drop_store('new')}, q{SELECT runops.detach('run')})
{
	($stdout, $stderr) = $split->try("$sql;");
	like($stderr, qr/ERROR:  RO002: cannot access store "new".*\nDETAIL:  The server is the control plane itself/, "closed: $sql");
}
like($split->sql('SELECT finding, detail FROM runops.verify()'), qr/^unreachable\|.*the gate is closed \(SQLSTATE RO002\): The server is the control plane itself/m,
	'verify tells it as a finding');
($stdout, $stderr) = $split->try('ANALYZE run; IMPORT FOREIGN SCHEMA public FROM SERVER run_ops INTO elsewhere;');
like($stderr, qr/WARNING:  RO002: skipping "run" --- the gate to store "new" is closed/, 'ANALYZE skips the leaf');
like($stderr, qr/ERROR:  RO002: cannot access store "run_ops": the gate is closed/, 'IMPORT FOREIGN SCHEMA is refused');
point_at($store, 'run_ops');

# co-residency, expected to be no more

$control->append_conf('postgresql.conf', 'runops.expect_control_plane_split = on');
$control->restart;
verdict_is('unknown', qr/"legacy" is in the control plane's database/, 'expect_control_plane_split');

done_testing();
