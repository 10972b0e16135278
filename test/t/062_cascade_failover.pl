#
# 062_cascade_failover.pl
#	  A standby that is promoted cleans up the queue, and a crash between the commit
#	  in a store and the commit in this database does no harm.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(conf => "autovacuum = off\nwal_level = replica\nmax_wal_senders = 5\n", store_conf => "autovacuum = off\n");
my ($control, $store) = ($split->control, $split->store);

$split->sql(<<'EOT');
SET runops.cross_store_writes = allow;
CREATE TABLE env (id text PRIMARY KEY);
CREATE TABLE run (id text PRIMARY KEY, env text NOT NULL);
CREATE INDEX ON run (env);
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
SELECT runops.add_cascade('env', 'run', 'env');
INSERT INTO env VALUES ('e1'), ('e2'), ('e3');
INSERT INTO run SELECT 'c' || lpad(i::text, 24, '0'), 'e' || i % 3 + 1 FROM generate_series(1, 300) i;
INSERT INTO run SELECT lpad(i::text, 24, '0') || '01', 'e' || i % 3 + 1 FROM generate_series(1, 300) i;
EOT

# the store has committed, and this database has not: as if it had crashed between

$split->store_sql("DELETE FROM run WHERE env = 'e1' AND id > '0000000000000000000001'");
$split->sql("DELETE FROM env WHERE id = 'e1'");
ok($control->poll_query_until('postgres', 'SELECT count(*) = 0 FROM runops.progress'), 'what is gone already is no obstacle');
is($split->sql("SELECT count(*) FROM run WHERE env = 'e1'"), '0', 'and the rest goes too');

# a standby shows the queue, and leaves it alone

$control->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$standby->init_from_backup($control, 'b', has_streaming => 1);
$standby->start;
$store->stop;
$split->sql("DELETE FROM env WHERE id = 'e2'");
ok($control->poll_query_until('postgres', "SELECT phase = 'waiting' FROM runops.progress"), 'a deleted row waits for the store');
$control->wait_for_catchup($standby, 'replay', $control->lsn('flush'));
is($standby->safe_psql('postgres', 'SELECT object FROM runops.progress'), 'env e2', 'the standby has the queue');
my ($ret, $stdout, $stderr) = $standby->psql('postgres', 'SELECT runops.cleanup()');
like($stderr, qr/cannot execute cleanup\(\) (?:in a read-only transaction|during recovery)/, 'and does not work on it');

# it takes over

$control->stop('immediate');
$store->start;
$standby->promote;
is($standby->safe_psql('postgres', "SELECT string_agg(object, ' ') FROM runops.progress"), 'env e2', 'nothing is forgotten');
$standby->safe_psql('postgres', "DELETE FROM env WHERE id = 'e3'");
ok($standby->poll_query_until('postgres', "SELECT count(*) = 0 FROM runops_legacy.run WHERE env = 'e3'"), 'its own worker cleans up');
$standby->safe_psql('postgres', 'SELECT runops.recheck(accept_new_identity => true)');
$standby->safe_psql('postgres', 'SELECT runops.cleanup()');
ok($standby->poll_query_until('postgres', 'SELECT count(*) = 0 FROM runops.progress'), 'what was queued before and after');
is($store->safe_psql('run_ops', 'SELECT count(*) FROM run'), '0', 'in the store too');

done_testing();
