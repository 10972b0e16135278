#
# 078_session_two_phase_failover.pl
#	  A standby of this database that is promoted finishes what the primary has left
#	  prepared in a store, and the old primary does not.

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
	conf => "wal_level = replica\nmax_wal_senders = 5\n",
	store_conf => "max_prepared_transactions = 10\n",
	server_options => "two_phase 'true', connect_timeout '2'");
my ($control, $store, $relay) = ($split->control, $split->store, $split->relay);
my ($decided, $undecided) = map { sprintf('0123456789abcdefghij%04d01', $_) } (1, 2);

$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, n int);
CREATE TABLE note (id text);
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
EOT
$split->store_sql(<<'EOT');
CREATE FUNCTION at_prepare() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.n = -1 THEN
		PERFORM pg_advisory_xact_lock_shared(1);
	END IF;
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER at_prepare AFTER INSERT ON run DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_prepare();
EOT

$control->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$standby->init_from_backup($control, 'b', has_streaming => 1);
$standby->start;

# one transaction is at PREPARE TRANSACTION, and another one at COMMIT PREPARED

my $holder = $store->background_psql('run_ops');
my @sessions = map { $control->background_psql('postgres', on_error_stop => 0) } (1, 2);

$holder->query_safe('SELECT pg_advisory_lock(1)');
$sessions[0]->query_safe("BEGIN; INSERT INTO run VALUES ('$undecided', -1); INSERT INTO note VALUES ('$undecided')");
$sessions[0]->{stdin} .= "COMMIT;\n";
$sessions[0]->{run}->pump_nb;
$store->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'PREPARE TRANSACTION%' AND wait_event_type = 'Lock'}) or die 'no PREPARE waits';
$sessions[1]->query_safe("BEGIN; INSERT INTO run VALUES ('$decided', 1); INSERT INTO note VALUES ('$decided')");
$relay->freeze_on('^COMMIT PREPARED');
$sessions[1]->{stdin} .= "COMMIT;\n";
$sessions[1]->{run}->pump_nb;
$control->poll_query_until('postgres', "SELECT count(*) = 1 FROM note WHERE id = '$decided'") or die 'no local commit';
$control->wait_for_catchup($standby, 'replay', $control->lsn('flush'));
$control->stop('immediate');
eval { $_->quit } foreach @sessions;
$holder->query_safe('SELECT pg_advisory_unlock(1)');
$store->poll_query_until('postgres', 'SELECT count(*) = 2 FROM pg_prepared_xacts') or die 'not prepared';
$relay->drop;
$relay->thaw;

# the standby takes over

is($store->safe_psql('run_ops', 'SELECT count(*) FROM run'), '0', 'nothing is committed in the store');
$standby->promote;
ok($store->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_prepared_xacts'), 'nothing stays prepared');
is($store->safe_psql('run_ops', 'SELECT id FROM run'), $decided, 'what was decided is committed in the store, and nothing else');
is($standby->safe_psql('postgres', 'SELECT id FROM note'), $decided, 'as in the new primary');

# the old primary does not finish what the new one has prepared

my $new = $standby->background_psql('postgres', on_error_stop => 0);

$holder->query_safe('SELECT pg_advisory_lock(1)');
$new->query_safe("DELETE FROM run; BEGIN; INSERT INTO run VALUES ('$undecided', -1); INSERT INTO note VALUES ('$undecided')");
$new->{stdin} .= "COMMIT;\n\\echo done\n";
$new->{run}->pump_nb;
$store->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'PREPARE TRANSACTION%' AND wait_event_type = 'Lock'}) or die 'no PREPARE waits';
$control->start;
my ($stdout, $stderr) = $split->try('SELECT runops.finish_prepared()');

like($stderr, qr/WARNING:  RO007: could not finish the prepared transactions in store "new"/, 'the old primary does not use the store');
$holder->query_safe('SELECT pg_advisory_unlock(1)');
$new->{run}->pump until $new->{stdout} =~ /done\n/;
is($store->safe_psql('run_ops', 'SELECT id FROM run'), $undecided, 'the new primary commits');
$new->quit;
$holder->quit;
done_testing();
