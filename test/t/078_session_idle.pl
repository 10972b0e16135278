#
# 078_session_idle.pl
#	  Connections that are not used for the time of idle_timeout are closed while
#	  the session waits for its client, and only these.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(conf => "runops.database = ''\n");
my $store = $split->store;
my $n = '0123456789abcdefghijklmn01';
my $b = '0123456789abcdefghijklmnb2';

$split->create_server('second', 'second');
$split->sql(<<"EOT");
SELECT runops.add_store('b', 'second');
CREATE TABLE run (id text PRIMARY KEY, n int);
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
SELECT runops.provision('b');
INSERT INTO run VALUES ('$n', 1), ('$b', 2);
EOT

# Wait until so many connections of sessions stand in a database of the store cluster.
sub connections
{
	my ($database, $number, $what) = @_;

	ok($store->poll_query_until('postgres',
			"SELECT count(*) = $number FROM pg_stat_activity WHERE datname = '$database' AND application_name LIKE 'runops/%'"),
		$what);
	return;
}

my $session = $split->control->background_psql('postgres', on_error_stop => 0);
my ($read, $read_b) = ("SELECT n FROM run WHERE id = '$n'", "SELECT n FROM run WHERE id = '$b'");

is($session->query($read), '1', 'a read');
is($session->query($read_b), '2', 'and one of another store');
connections('run_ops', 1, 'without the option the connection stays');

# two stores with two times; the transaction of this session must not end before the option is there
$split->sql("ALTER SERVER run_ops OPTIONS (ADD idle_timeout '100ms')");
is($session->query($read), '1', 'a read with the option');
connections('run_ops', 0, 'its connection is closed while the session waits for its client');
is($session->query($read), '1', 'the next read makes another one');
connections('run_ops', 0, 'which is closed too');
connections('second', 1, 'the other store has no option');
$split->sql("ALTER SERVER second OPTIONS (ADD idle_timeout '300ms')");
is($session->query("$read; $read_b"), "1\n2", 'reads of both');
connections('run_ops', 0, 'the first is closed');
connections('second', 0, 'and the second');

# after an error, and after a write
$session->query("SELECT n / 0 FROM run WHERE id = '$n'");
connections('run_ops', 0, 'closed after an error');
$session->query("BEGIN; UPDATE run SET n = n + 1 WHERE id = '$n'; COMMIT");
connections('run_ops', 0, 'closed after a write');
$session->query("BEGIN; UPDATE run SET n = n + 1 WHERE id = '$n'; ROLLBACK");
connections('run_ops', 0, 'closed after a rollback');

# not in a transaction that uses the store, however long it waits
$session->query("BEGIN; UPDATE run SET n = 10 WHERE id = '$n'");
$session->query('SELECT pg_sleep(0.5)');
connections('run_ops', 1, 'not in a transaction');
is($session->query($read), '10', 'which goes on');
$session->query('COMMIT');
connections('run_ops', 0, 'but after it');
is($session->query($read), '10', 'it is committed');

# while the session works on something else
$session->query_until(qr/started/, "\\echo started\nSELECT pg_sleep(100000);\n");
connections('run_ops', 0, 'while a statement runs that uses no store');
$split->sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(100000%'});
is($session->query($read), '10', 'the session goes on');

# the mapping overrides the server
$split->sql("ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (ADD idle_timeout '0')");
is($session->query($read), '10', 'a read');
$session->query('SELECT pg_sleep(0.5)');
connections('run_ops', 1, 'with 0 in the user mapping it stays');

$session->quit;
done_testing();
