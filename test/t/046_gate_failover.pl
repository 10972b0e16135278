#
# 046_gate_failover.pl
#	  A promoted standby of the control plane uses the stores as soon as no session
#	  of the old primary can use them, and the old primary never again.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(conf => "wal_level = replica\nmax_wal_senders = 5\nhot_standby = on\n");
my ($control, $store) = ($split->control, $split->store);
my $id = '0123456789abcdefghijklmna1';
my ($stdout, $stderr);

# A new standby of a node.
sub standby_of
{
	my ($primary, $name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$primary->backup($name);
	$node->init_from_backup($primary, $name, has_streaming => 1);
	$node->start;

	# it has to receive something to know that it follows a primary; the end of
	# a transaction flushes it, so that waiting for what is flushed is enough
	$primary->safe_psql('postgres', 'SELECT pg_logical_emit_message(true, $$test$$, $$x$$)');
	$primary->wait_for_catchup($node, 'replay', $primary->lsn('flush'));
	return $node;
}

$split->create_server('shard', 'shard');
$split->sql(<<"EOT");
SELECT runops.add_store('e', 'shard');
CREATE TABLE run (id text PRIMARY KEY, n int);
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
SELECT runops.provision('e');
SELECT runops.recheck();
INSERT INTO run VALUES ('$id', 1), ('0123456789abcdefghijklmne2', 1);
EOT

# promoted while the old primary has a session in the store

my $standby = standby_of($control, 'standby');
my $old = $control->background_psql('postgres', on_error_stop => 0);
my $reader = $standby->background_psql('postgres', on_error_stop => 0);

is($old->query("UPDATE run SET n = 2 WHERE id = '$id' RETURNING n"), '2', 'the primary writes');
is($reader->query("SELECT n FROM run WHERE id = '$id'"), '2', 'a hot standby reads');
$standby->promote;
ok($standby->poll_query_until('postgres', q{SELECT reason ~ 'connected to the store' FROM runops.status() WHERE item = 'store:new'}),
	'promoted, it waits for the sessions of the old primary');
$reader->query("UPDATE run SET n = 3 WHERE id = '$id'");
like($reader->{stderr}, qr/ERROR:  cannot access store "new" of "run": .*\nDETAIL:  .*connected to the store/s, 'a session from before the promotion does not write');
$reader->{stderr} = '';
$standby->psql('postgres', "\\set VERBOSITY verbose\nUPDATE run SET n = 3 WHERE id = '$id';", on_error_stop => 0, stderr => \$stderr);
like($stderr, qr/ERROR:  RO007: .*\nDETAIL:  The former primary may still be connected to the store; number of sessions there .*: 1\.\nHINT:  Stop the former primary/, 'nor does a new one');
is($old->query("UPDATE run SET n = 4 WHERE id = '$id' RETURNING n"), '4', 'the old primary does');
ok($standby->poll_query_until('postgres', q{SELECT state = 'distinct' FROM runops.status() WHERE item = 'store:e'}),
	'a store that the old primary is not connected to is open');

# once the old primary is gone, and nothing in the store is so old that it may be a session of its own
my $snapshot = $store->background_psql('run_ops');

$snapshot->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$old->quit;
$control->stop('immediate');
$store->poll_query_until('run_ops', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name IN ('postgres_fdw', 'runops')});
$standby->psql('postgres', "UPDATE run SET n = 3 WHERE id = '$id'", stderr => \$stderr);
like($stderr, qr/may still be connected to the store; number of sessions there .*: 1\./, 'a snapshot in the store is older than the new record');
like($store->safe_psql('run_ops', q{SELECT obj_description('runops_store'::regnamespace, 'pg_namespace')}), qr/ after=-?[1-9]\d* .*timeline=2 /, 'which is there already');
$snapshot->quit;
ok($standby->poll_query_until('postgres', q{SELECT state = 'open' FROM runops.status() WHERE item = 'gate'}), 'it is open by itself when the old primary is gone');
is($standby->safe_psql('postgres', "UPDATE run SET n = 5 WHERE id = '$id' RETURNING n"), '5', 'and writes');
is($reader->query("UPDATE run SET n = 6 WHERE id = '$id' RETURNING n"), '6', 'also in a session from before the promotion');
$reader->quit;

# the old primary comes back, without having been told
$control->start;
foreach my $sql ("UPDATE run SET n = 7 WHERE id = '$id'", "SELECT n FROM run WHERE id = '$id'", "SET runops.enable_routing = off; DELETE FROM run WHERE id = '$id'",
	'INSERT INTO run VALUES (\'0123456789abcdefghijkkmne2\', 1)')
{
	($stdout, $stderr) = $split->try("$sql;");
	like($stderr, qr/ERROR:  RO007: .*\nDETAIL:  The store belongs to a copy of this control plane, on timeline 2 of its cluster; this server is on timeline 1\.\nHINT: /, "the old primary: $sql");
}
is($split->store_sql('SELECT n FROM run'), '6', 'has written nothing');
is($store->safe_psql('shard', 'SELECT count(*) FROM run'), '1', 'not to the other store either');

# the new primary restarts, also after a crash
$standby->stop('immediate');
$standby->start;
is($standby->safe_psql('postgres', "UPDATE run SET n = 8 WHERE id = '$id' RETURNING n"), '8', 'the new primary restarts');

# a lock on the old claim means a session of the old primary: a restart does not forget that, and somebody may say that it does not matter
my ($claim) = $store->safe_psql('run_ops', q{SELECT obj_description('runops_store'::regnamespace, 'pg_namespace')}) =~ / after=(-?\d+) /;
my ($kept) = $store->safe_psql('run_ops', q{SELECT obj_description('runops_store'::regnamespace, 'pg_namespace')}) =~ /^(claim=\S+)/;
my $left = $store->background_psql('run_ops', on_error_stop => 0);

my $left_pid = $left->query("SELECT pg_backend_pid() FROM pg_advisory_lock_shared($claim)");
$standby->restart;
$standby->psql('postgres', "UPDATE run SET n = 9 WHERE id = '$id'", stderr => \$stderr);
like($stderr, qr/may still be connected to the store; number of sessions there .*: 1\./, 'a session of the old primary is left');
is($standby->safe_psql('postgres', q{SELECT verdict FROM runops.recheck('new', accept_new_identity => true)}), 'distinct', 'somebody says that it does not matter');
is($standby->safe_psql('postgres', "UPDATE run SET n = 8 WHERE id = '$id' RETURNING n"), '8', 'open');
ok($store->poll_query_until('run_ops', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $left_pid"), 'the session was ended');
is($store->safe_psql('run_ops', q{SELECT substring(obj_description('runops_store'::regnamespace, 'pg_namespace') FROM '^claim=\S+ after=\S+')}),
	"$kept after=0", 'the claim is the same, and does not wait any more');
eval { $left->quit; };

# a backup that is started is not a standby that took over: somebody has to say so
my $copy = PostgreSQL::Test::Cluster->new('copy');

$standby->backup('copy');
$standby->stop;
$copy->init_from_backup($standby, 'copy');
$copy->start;
$copy->psql('postgres', "UPDATE run SET n = 9 WHERE id = '$id'", stderr => \$stderr);
like($stderr, qr/DETAIL:  The store was proved from data directory/, 'a backup that is started waits, though nobody else is there');
ok($copy->poll_query_until('postgres', q{SELECT reason ~ 'data directory' FROM runops.status() WHERE item = 'store:new'}), 'and its worker too');
is($split->store_sql('SELECT n FROM run'), '8', 'and has written nothing');
$copy->stop;
$standby->start;

# a point-in-time recovery in place: the same server on another timeline
$standby->append_conf('postgresql.conf', "restore_command = 'false'\n");
$standby->append_conf('recovery.signal', '');
$standby->restart;
ok($standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), 'recovered');
$standby->psql('postgres', "UPDATE run SET n = 9 WHERE id = '$id'", stderr => \$stderr);
like($stderr, qr/DETAIL:  The store was proved on timeline \d+ of this cluster; this server is on timeline \d+/, 'a recovery of the control plane is noticed');
$standby->safe_psql('postgres', 'SELECT runops.recheck(accept_new_identity => true)');
is($standby->safe_psql('postgres', "UPDATE run SET n = 9 WHERE id = '$id' RETURNING n"), '9', 'and accepted');

done_testing();
