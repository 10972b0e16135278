#
# 050_integrity_unique_race.pl
#	  Keys that are unique over all stores, and claims, with backends that are
#	  terminated meanwhile: each key has one winner, and no stranded entry is left.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $split = TwoClusters->new(
	relay => 1,
	conf => "runops.cross_store_writes = allow\nmax_connections = 40\nfsync = off\n" .
	  "wal_level = replica\nmax_wal_senders = 2\nsynchronous_commit = local\n",
	store_conf => "log_statement = none\nfsync = off\n");
my $control = $split->control;
my $relay = $split->relay;

$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, key text);
CREATE TABLE claimed (id text PRIMARY KEY, key text);
SELECT runops.attach('run', 'id');
SELECT runops.attach('claimed', 'id');
EOT
$split->sql(q{SELECT runops.provision('new')});
$split->sql(q{SELECT runops.add_unique('run', '{key}')});

# What is wrong with the keys and the claims: nothing.
sub consistent
{
	my $what = shift;

	is($split->sql('SELECT * FROM runops.check_unique()'), '', "$what: each row has its entry, and each entry its row");
	is($split->sql('SELECT key, count(*) FROM run GROUP BY key HAVING count(*) > 1'), '', "$what: each key has one row");
	is($split->sql('SELECT key, count(*) FROM claimed GROUP BY key HAVING count(*) > 1'), '', "$what: each key has one winner");
	is( $split->sql('SELECT c.key, c.id, r.id FROM runops.claims c FULL JOIN claimed r USING (id, key) WHERE c.id IS NULL OR r.id IS NULL'),
		'', "$what: each claim has its row, and each row its claim");
	return;
}

# A session whose COMMIT hangs on its way to the store.
sub hang_in_commit
{
	my $sql = shift;
	my $session = $control->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	$session->query_safe("BEGIN; $sql");
	$relay->freeze_on('^COMMIT');
	$session->query_until(qr/commits/, "\\echo commits\nCOMMIT;\n");
	# it waits for the store's answer
	$control->poll_query_until('postgres',
		"SELECT query = 'COMMIT;' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'the session does not commit';
	return ($session, $pid);
}

# Wait until a backend has gone.
sub gone
{
	my $pid = shift;

	return $control->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
}

# The store has the COMMIT, or is about to, when the backend is told to end.
{
	my ($n1, $n2) = ('0123456789abcdefghijklmn11', '0123456789abcdefghijklmn21');
	my ($session, $pid) = hang_in_commit("INSERT INTO run VALUES ('$n1', 'a')");

	$split->sql("SELECT pg_terminate_backend($pid)");
	$split->sql('SELECT pg_sleep(0.2)');
	is($split->sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"), '1', 'it does not end in between');
	$relay->thaw;
	ok(gone($pid), 'it ends when both have committed');
	eval { $session->quit };
	is($split->store_sql("SELECT id FROM run WHERE key = 'a'"), $n1, 'the row is there');
	is($split->sql('SELECT * FROM runops_unique.run_key_key'), 'a|new', 'and so is its entry');
	consistent('terminated in COMMIT');

	($session, $pid) = hang_in_commit("DELETE FROM run WHERE id = '$n1'");
	$split->sql("SELECT pg_cancel_backend($pid)");
	$split->sql('SELECT pg_sleep(0.2)');
	$relay->thaw;
	is($session->query('SELECT 1'), '1', 'a cancel comes too late');
	$session->quit;
	is($split->store_sql('SELECT count(*) FROM run'), '0', 'the row is deleted');
	consistent('canceled in COMMIT');

	($session, $pid) = hang_in_commit("SELECT runops.claim('s', 'b', '$n2'); INSERT INTO claimed VALUES ('$n2', 'b')");
	$split->sql("SELECT pg_terminate_backend($pid)");
	$split->sql('SELECT pg_sleep(0.2)');
	$relay->thaw;
	ok(gone($pid), 'the one with a claim ends too');
	eval { $session->quit };
	is($split->store_sql("SELECT id FROM claimed WHERE key = 'b'"), $n2, 'its row is there');
	consistent('terminated in COMMIT of a claim');

	# with nothing to keep together, nobody has to wait for the store
	($session, $pid) = hang_in_commit("INSERT INTO claimed VALUES ('0123456789abcdefghijklmn31', NULL)");
	$split->sql("SELECT pg_terminate_backend($pid)");
	ok(gone($pid), 'one without a claim ends at once');
	$relay->thaw;
	eval { $session->quit };
	$split->store->poll_query_until('run_ops',
		q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'runops/%' AND xact_start IS NOT NULL})
	  or die 'the store still has the transaction';
	$split->sql('DELETE FROM claimed WHERE key IS NULL');

	# the connection breaks when the store has committed: the store is asked what it
	# has done, and the entry is kept
	$session = $control->background_psql('postgres', on_error_stop => 0);
	$session->query_safe("BEGIN; INSERT INTO run VALUES ('$n1', 'c')");
	$relay->drop_on('^COMMIT', 'after');
	$session->query_safe('COMMIT');
	is($split->sql('SELECT * FROM runops.check_unique()'), '', 'a row whose COMMIT had no answer has its entry');
	$split->sql('DELETE FROM run');

	# ... and the store cannot be asked
	$session->query_safe("SET runops.commit_timeout = 1000; BEGIN; INSERT INTO run VALUES ('$n1', 'c')");
	$relay->refuse;
	$relay->drop_on('^COMMIT', 'after');
	$session->query('COMMIT');
	$relay->accept;
	like($session->{stderr}, qr/ERROR:  (?:08007: )?it is not known whether/, 'a store that cannot be asked is an error');
	$session->{stderr} = '';
	$session->quit;
	is($split->sql('SELECT * FROM runops.check_unique()'), 'run|run_key_key|new|missing|c', 'check_unique finds the row');
	is($split->sql(q{SELECT runops.rebuild_unique('run', 'run_key_key')}), '1', 'rebuild_unique enters it');
	my ($stdout, $stderr) = $split->try("INSERT INTO run VALUES ('c00000000000000000000run1', 'c')");
	like($stderr, qr/23505: duplicate key value violates unique constraint "run_key_key"/, 'and its key is taken');
	$split->sql('DELETE FROM run');
	consistent('rebuilt');
}

# The store has committed a row and this database has not committed its entry:
# it waits for a standby that never comes.  Who meets the row waits.
foreach my $sql ("DELETE FROM run WHERE id = '0123456789abcdefghijklmn41'",
	"UPDATE run SET key = 'e' WHERE id = '0123456789abcdefghijklmn41'")
{
	$split->sql(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
	$control->reload;
	$control->poll_query_until('postgres', q{SELECT current_setting('synchronous_standby_names') = 'nobody'});

	my ($first, $second) = map { $control->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
	my ($first_pid, $second_pid) = map { $_->query_safe('SELECT pg_backend_pid()') } $first, $second;

	$first->query_safe('SET synchronous_commit = on');
	$first->query_safe("BEGIN; INSERT INTO run VALUES ('0123456789abcdefghijklmn41', 'd')");
	$first->query_until(qr/commits/, "\\echo commits\nCOMMIT;\n");
	ok($control->poll_query_until('postgres', "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $first_pid"),
		'the store has committed, and this database not yet');
	is($split->store_sql(q{SELECT key FROM run}), 'd', 'the row is there');

	$second->query_until(qr/writes/, "\\echo writes\n$sql;\n");
	ok($control->poll_query_until('postgres',
			"SELECT wait_event = 'transactionid' FROM pg_stat_activity WHERE pid = $second_pid"),
		'who changes the row waits for its entry');

	$split->sql(q{ALTER SYSTEM RESET synchronous_standby_names});
	$control->reload;
	$_->quit foreach $first, $second;
	consistent($sql);
	$split->sql('DELETE FROM run');
}

# Sixteen clients write colliding keys into both stores while backends are
# terminated.
$split->sql(<<'EOT');
CREATE FUNCTION one(k text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	new_id text := CASE WHEN random() < 0.5 THEN runops.gen_cuid() ELSE runops.gen_ksuid() END;
	won boolean;
BEGIN
	IF random() < 0.1 THEN
		DELETE FROM run WHERE key = k;
	END IF;
	BEGIN
		INSERT INTO run VALUES (new_id, k);
	EXCEPTION WHEN unique_violation THEN
		NULL;
	END;
	SELECT claimed INTO won FROM runops.claim('s', k, new_id, wait => '1 min');
	IF won THEN
		INSERT INTO claimed VALUES (new_id, k);
	END IF;
END
$$;
EOT
my $script = "$PostgreSQL::Test::Utils::tmp_check/one.sql";
append_to_file($script, "\\set k random(1, 4000)\nSELECT one('k' || :k);\n");
# straight to the store: it shall be quick
$split->sql(sprintf(q{ALTER SERVER run_ops OPTIONS (SET host '%s', SET port '%s')}, $split->store->host, $split->store->port));

my $killer = $control->background_psql('postgres', on_error_stop => 0);
my $transactions = 0;

foreach my $round (1 .. 2)
{
	my $out = '';
	my $run = IPC::Run::start(
		[ 'pgbench', '-n', '-c', '16', '-j', '2', '-T', '3', '-f', $script, '-h', $control->host, '-p', $control->port, 'postgres' ],
		'<', \undef, '>&', \$out);
	my $end = time + 2.5;

	for (my $killed = 0; $killed < 12 && time < $end;)
	{
		$killed += $killer->query_safe(
			q{SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
				WHERE query LIKE 'SELECT one(%' AND state = 'active' ORDER BY random() LIMIT 1) x});
		select(undef, undef, undef, 0.2);
	}
	$run->finish;
	$transactions += $1 if $out =~ /number of transactions actually processed: (\d+)/;
}
$killer->quit;
$control->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'SELECT one(%'})
  or die 'pgbench does not end';
$split->store->poll_query_until('run_ops',
	q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'runops/%' AND xact_start IS NOT NULL})
  or die 'the store still has transactions';

my $killed = () = slurp_file($control->logfile) =~ /terminating connection due to administrator command/g;

note "$transactions transactions, $killed backends terminated";
cmp_ok($killed, '>', 5, 'backends were terminated');
cmp_ok($transactions, '>', 500, 'there were many transactions');
is($split->sql('SELECT count(DISTINCT runops.store_of(id)) FROM run'), '2', 'both stores have rows');
consistent('16 clients');

done_testing();
