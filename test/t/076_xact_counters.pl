#
# 076_xact_counters.pl
#	  What runops.stats and runops.status() say of bytes, waits and failures,
#	  with a store behind a relay that counts, delays and closes connections.
#	  What EXPLAIN says reaches auto_explain.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(relay => 1, server_options => "connect_timeout '2'", conf => <<'EOT');
session_preload_libraries = 'auto_explain'
compute_query_id = on
# the plans and the texts are those of leaves
runops.enable_shipping = off
EOT
my $relay = $split->relay;
my ($l, $n, $n2) = ('c00000000000000000000run1', '0123456789abcdefghijklmn01', '0123456789abcdefghijklmn11');

$split->sql(<<"EOT");
CREATE TABLE run (id text PRIMARY KEY, env text, n int);
CREATE TABLE attempt (id text PRIMARY KEY, run_id text NOT NULL, note text);
SELECT runops.attach('run', 'id');
SELECT runops.attach('attempt', 'run_id');
SELECT runops.provision('new');
INSERT INTO run VALUES ('$l', 'e', 1), ('$n', NULL, 2), ('$n2', 'e', 3);
INSERT INTO attempt VALUES ('a1', '$n', 'x');
EOT

# Columns of runops.stats, summed over the tables of the store.
sub counted
{
	my @columns = @_;

	return $split->sql('SELECT ' . join(', ', map { "coalesce(sum($_), 0)" } @columns) .
		q{ FROM runops.stats WHERE store = 'new'});
}

sub errors
{
	return counted(qw(errors_connection errors_canceled errors_other unknown_outcomes));
}

sub connection
{
	return $split->sql(q{SELECT state, reason, since IS NOT NULL FROM runops.status() WHERE item = 'connection:new'});
}

$split->wait_for_proofs;
my $session = $split->control->background_psql('postgres', on_error_stop => 0);

# bytes: what the relay has seen, for every kind of statement.  The read behind
# each also reads the answer to the end of a transaction that nobody has waited
# for.

my @statements = (
	"SELECT * FROM run WHERE id = '$n'",
	"SELECT env, n FROM run WHERE id IN ('$n', '$n2', 'nobody') ORDER BY n",
	"SELECT r.n, a.note FROM run r JOIN attempt a ON a.run_id = r.id WHERE r.id = '$n'",
	"SELECT count(*) FROM run WHERE n > 0",
	"SELECT * FROM run WHERE id = '$n' AND n > 1000",
	"BEGIN; DECLARE c CURSOR FOR SELECT * FROM run; FETCH 1 FROM c; FETCH ALL FROM c; COMMIT",
	"INSERT INTO run SELECT '0123456789abcdefghij' || g || 'uu1', NULLIF('e' || g, 'e150'), g FROM generate_series(100, 350) g",
	"INSERT INTO run VALUES ('0123456789abcdefghijklmv01', 'e', 1) RETURNING *",
	"BEGIN; SAVEPOINT a; UPDATE run SET n = 8 WHERE id = '$n'; ROLLBACK TO a; UPDATE run SET env = 'f' WHERE id = '$n' RETURNING n; COMMIT",
	"UPDATE run SET n = n + 1 WHERE id LIKE '%uu1' AND env IS NOT NULL",
	"DELETE FROM run WHERE id LIKE '%uu1'",
	"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM run; SELECT * FROM attempt; COMMIT",
	"PREPARE p(text) AS SELECT n FROM run WHERE id = \$1; EXECUTE p('$n'); EXECUTE p('$n2'); DEALLOCATE p");
my $read = "SELECT n FROM run WHERE id = '$n'";

$session->query_safe($read);

# the connection of the session, and not of a worker
my %ours = map { $_->{id} => 1 } grep { $_->{open} } $relay->connections;

foreach my $statement (@statements)
{
	my %seen;

	$relay->reset;
	$split->sql('SELECT runops.reset_stats()');
	$session->query_safe("$statement; $read");
	foreach my $connection (grep { $ours{ $_->{id} } } $relay->connections)
	{
		$seen{$_} += $connection->{$_} foreach qw(sent received);
	}
	is(counted(qw(bytes_sent bytes_received)), "$seen{sent}|$seen{received}", "bytes: $statement");
}
is(errors(), '0|0|0|0', 'no error yet');
is(connection(), 'ok|No use of the store by a statement has failed, or a later one has succeeded.|f', 'the connection works');

# the time that a session waits

$split->sql('SELECT runops.reset_stats()');
$relay->round_trip(40);
$session->query_safe("UPDATE run SET n = 2 WHERE id = '$n'");
is(counted('turns'), 2, 'two turns');
cmp_ok(counted('wait_time'), '>=', 80, 'and the time of both was waited, that of COMMIT too');
$relay->round_trip(0);
cmp_ok(counted('wait_time'), '<', 3_600_000, 'in milliseconds');

# a connection is lost in a statement

$split->sql('SELECT runops.reset_stats()');
$relay->drop_on(qr/n = 77/);
$session->query("UPDATE run SET n = 77 WHERE id = '$n'");
is(errors(), '1|0|0|0', 'a lost connection');
like(connection(), qr/^failing\|The last use of server "run_ops" has failed with SQLSTATE 08\w{3}\.\|t$/, 'status() says so');
is($session->query("SELECT n FROM run WHERE id = '$n'"), 2, 'the next statement connects again');
is(errors(), '1|0|0|0', 'without an error');
like(connection(), qr/^ok\|/, 'and the state is ok again');

# a connection that was lost before a COMMIT

$session->query("BEGIN; UPDATE run SET n = 2 WHERE id = '$n'");
$relay->drop;
$session->query('COMMIT');
is(errors(), '2|0|0|0', 'lost before COMMIT');
like(connection(), qr/^failing\|.* 08006\./, 'status() says so');

# the store is down

$relay->refuse;
$session->query("SELECT n FROM run WHERE id = '$n'") foreach 1 .. 2;
is(errors(), '4|0|0|0', 'a store that is down, twice');
like(connection(), qr/^failing\|.* 08001\./, 'status() says so');
my $since = $split->sql(q{SELECT since FROM runops.status() WHERE item = 'connection:new'});

$session->query("SELECT n FROM run WHERE id = '$n'");
is($split->sql(q{SELECT since FROM runops.status() WHERE item = 'connection:new'}), $since, 'since the first failure');
is($split->sql(q{SELECT state FROM runops.status() WHERE item = 'store:new'}), 'distinct', 'its identity is another matter');
$relay->accept;
is($session->query("SELECT n FROM run WHERE id = '$n'"), 2, 'it is up again');
like(connection(), qr/^ok\|/, 'status() says so');

# a COMMIT whose answer is lost: the store is asked again, or cannot be asked

$split->sql('SELECT runops.reset_stats()');
$relay->drop_on(qr/^COMMIT/, 'after');
$session->query("UPDATE run SET n = 3 WHERE id = '$n'");
is(errors(), '1|0|0|0', 'a lost connection, whose outcome is found out');
$session->query("SET runops.commit_timeout = 1000; SELECT n FROM run WHERE id = '$n'");
$split->sql('SELECT runops.reset_stats()');
$relay->refuse;
$relay->drop_on(qr/^COMMIT/, 'after');
$session->query("UPDATE run SET n = 3 WHERE id = '$n'");
is(errors(), '0|0|0|1', 'an unknown outcome');
like(connection(), qr/^failing\|.* 08007\./, 'status() says so');
$relay->accept;
$session->query("RESET runops.commit_timeout; SELECT n FROM run WHERE id = '$n'");
like(connection(), qr/^ok\|/, 'and the state is ok again');

# the store does not answer in time

$split->sql('SELECT runops.reset_stats()');
$relay->freeze_on(qr/n = 78/);
$session->query("BEGIN; SET LOCAL statement_timeout = 500; UPDATE run SET n = 78 WHERE id = '$n'");
$relay->thaw;
$session->query('ROLLBACK');
like(errors(), qr/^[01]\|1\|0\|0$/, 'a statement that was canceled while it waited for the store');

# a lock of the store

$session->query("SELECT n FROM run WHERE id = '$n'");
$split->sql('SELECT runops.reset_stats()');
my $locker = $split->store->background_psql('run_ops');
$locker->query_safe("BEGIN; UPDATE run SET n = 4 WHERE id = '$n'");
$session->query("BEGIN; SET LOCAL lock_timeout = 100; UPDATE run SET n = 5 WHERE id = '$n'");
$session->query('ROLLBACK');
$locker->query_safe('ROLLBACK');
$locker->quit;
is(errors(), '0|1|0|0', 'a lock that the store could not get in time');
like(connection(), qr/^ok\|/, 'is no failure of the connection');

# a COMMIT that the store refuses

$split->store_sql('ALTER TABLE attempt ADD CONSTRAINT late UNIQUE (note) DEFERRABLE INITIALLY DEFERRED');
$split->sql('SELECT runops.reset_stats()');
$session->query("INSERT INTO attempt VALUES ('a2', '$n', 'x')");
is(errors(), '0|0|1|0', 'a refused COMMIT');
$session->quit;

# auto_explain prints what EXPLAIN ANALYZE does, and pg_stat_statements counts
# beside it

$split->control->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'pg_stat_statements, runops'
EOT
$split->control->restart;
$split->sql('CREATE EXTENSION pg_stat_statements');

my $offset = -s $split->control->logfile;
my $out = $split->sql(<<"EOT");
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_analyze = on;
SET auto_explain.log_verbose = on;
SET auto_explain.log_timing = off;
SELECT pg_stat_statements_reset() IS NOT NULL;
SELECT n FROM run WHERE id = '$n';
SELECT n FROM run WHERE id = '$n2';
UPDATE run SET n = 6 WHERE id = '$n';
INSERT INTO run VALUES ('0123456789abcdefghijklmv21', 'e', 1);
EOT
my $log = substr(slurp_file($split->control->logfile), $offset);

like($log, qr/Foreign Scan on [^\n]*\n[^\n]*Output:[^\n]*\n[^\n]*Remote SQL: SELECT n FROM public\.run[^\n]*\n\s*Store: turns=1 sent=\d+ received=\d+/,
	'auto_explain shows a scan');
like($log, qr/Foreign Update on [^\n]*\n[^\n]*Remote SQL: UPDATE public\.run[^\n]*\n\s*Store: turns=1 /, 'an update');
like($log, qr/Insert on [^\n]*\n[^\n]*Remote SQL: INSERT INTO public\.run.*?\n\s*Store: turns=1 /s, 'and an insert');
unlike($log, qr/Store Timings/, 'without times, if they are not wanted');
is($split->sql(q{SELECT calls, rows, query FROM pg_stat_statements WHERE query LIKE '%FROM run WHERE%'}),
	'2|2|SELECT n FROM run WHERE id = $1', 'pg_stat_statements counts the statement as it was written');
is($split->sql(q{SELECT sum(calls) FROM pg_stat_statements WHERE query ~ '^(UPDATE|INSERT INTO) run'}), 2, 'and the writes');

done_testing();
