# runops.doctor() and runops.status() with more than one server: the test creates
# each defect, the functions report it, and do not report it after its correction.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(
	relay => 1,
	conf => "wal_level = logical\nmax_connections = 20\n",
	store_conf => "wal_level = replica\nmax_wal_senders = 4\nlog_connections = on\n");
my ($control, $store, $relay) = ($split->control, $split->store, $split->relay);

$split->sql(<<'EOT');
CREATE TABLE run (id text COLLATE "C" PRIMARY KEY, n int);
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
INSERT INTO run VALUES ('0123456789abcdefghijklmna1', 1), ('c000000000000000000000001', 2);
ANALYZE run;
EOT
$split->store_sql('ANALYZE');

# What the doctor finds, one line for each finding.
sub findings
{
	return $split->sql(
		q{SELECT concat_ws(' | ', severity, object, finding, hint) FROM runops.doctor()});
}

sub status_of
{
	return $split->sql("SELECT state FROM runops.status() WHERE item = '$_[0]'");
}

# a port that is not the server's
like(findings(), qr/^info \| store new \| the server option is port \d+ but the store listens on port \d+, so a proxy is between them/m,
	'an address that is not the server itself is found');
my ($relay_port, $store_port) = ($relay->port, $store->port);
my ($relay_host, $store_host) = ($relay->host, $store->host);
my $direct = "ALTER SERVER run_ops OPTIONS (SET host '$store_host', SET port '$store_port')";
my $relayed = "ALTER SERVER run_ops OPTIONS (SET host '$relay_host', SET port '$relay_port')";
$split->sql($direct);
is(findings(), '', 'it is gone when the server is named');

# a logical slot
$split->sql(q{SELECT pg_create_logical_replication_slot('audit', 'pgoutput')});
like(findings(), qr/^warning \| replication slot audit \| does not see rows of other stores/m,
	'a replication slot is found');
$split->sql(q{SELECT pg_drop_replication_slot('audit')});
is(findings(), '', 'it is gone with the slot');

# a setting that waits for a restart
$control->append_conf('postgresql.conf', 'runops.split_enabled = off');
$control->reload;
ok($control->poll_query_until('postgres',
		q{SELECT pending_restart FROM pg_settings WHERE name = 'runops.split_enabled'}),
	'the configuration is read again');
like(findings(), qr/^warning \| setting runops.split_enabled \| has a new value in the configuration, which takes effect only after a restart/m,
	'a setting that waits for a restart is found');

# the flag is off while the store holds rows
my $offset = -s $store->logfile;
$control->restart;
my $found = findings();
like($found, qr/^error \| store new \| the split is off, so statements do not find the rows of (?:public\.)?run that the store holds/m,
	'rows that are hidden by the flag are found');
like($found, qr/^info \| setting runops.split_enabled \| is off, so these stores count as empty: new/m,
	'and that the flag hides stores');
is(status_of('flag'), 'off', 'status: the flag is off');
is(status_of('gate'), 'closed', 'status: the gate is closed');
unlike(slurp_file($store->logfile, $offset), qr/connection received/, 'nobody has connected to the store');
$control->append_conf('postgresql.conf', 'runops.split_enabled = on');
$control->restart;
is(findings(), '', 'both are gone when the flag is on');

# not preloaded
$control->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$control->restart;
like(findings(), qr/^error \| setting shared_preload_libraries \| the library is not preloaded/m,
	'a library that is not preloaded is found');
is(status_of('preload'), 'off', 'status: not preloaded');
is(status_of('gate'), 'closed', 'status: the gate is closed');
is($split->sql('SELECT count(*) FROM runops.stats'), '0', 'the counters are an empty view');
is($split->sql('SELECT runops.reset_stats()'), '', 'and can be reset');
$control->append_conf('postgresql.conf', q{shared_preload_libraries = 'runops'});
$control->restart;
is(findings(), '', 'it is gone when it is preloaded');

# a standby in the place of the store
$store->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($store, 'base', has_streaming => 1);
$standby->start;
$store->wait_for_catchup($standby, 'replay');
$split->sql(sprintf(q{ALTER SERVER run_ops OPTIONS (SET host '%s', SET port '%s')}, $standby->host, $standby->port));
like(findings(), qr/^error \| store new \| .*(?:standby|recovery)/m, 'a standby in the place of a store is found');
$split->sql($direct);
is(findings(), '', 'it is gone when the primary is named');
$standby->stop('immediate');

# a store that does not answer
$split->sql($relayed);
findings();
$relay->freeze;
$found = findings();
like($found, qr/^error \| store new \| (?:could not be checked|the gate is closed)/m, 'a store that does not answer is found, and not waited for');
is($split->sql('SELECT count(*) FROM runops.status()'), '10', 'status is not delayed');
$relay->thaw;
$split->sql($direct);
is(findings(), '', 'it is gone when the store answers');

# connections and refusals are counted
$split->sql('SELECT runops.reset_stats()');
$split->sql('SELECT n FROM run; SELECT n FROM run');
is($split->sql(q{SELECT store, statements_multi, rows, connections_opened, gate_refusals FROM runops.stats ORDER BY store}),
	"legacy|2||0|0\nnew|2|2|1|0", 'what is done is counted');
$split->sql(q{ALTER SERVER run_ops OPTIONS (SET dbname 'nowhere')});
$split->try('SELECT n FROM run');
$split->sql(q{ALTER SERVER run_ops OPTIONS (SET dbname 'run_ops')});
is($split->sql(q{SELECT gate_refusals FROM runops.stats WHERE store = 'new'}), '1', 'a refusal of the gate is counted');
$control->restart;
is($split->sql('SELECT count(*) FROM runops.stats'), '0', 'counters begin anew with the server');

done_testing();
