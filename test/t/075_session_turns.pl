#
# 075_session_turns.pl
#	  The turns that statements cost, and the connections that they open, with
#	  two stores in another cluster.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $split = TwoClusters->new(relay => 1);
my $relay = $split->relay;

# an id of legacy, two of the first store, and one of the second
my ($l, $n, $n2, $b) = ('c00000000000000000000run1', '0123456789abcdefghijklmn01', '0123456789abcdefghijklmn11', '0123456789abcdefghijklmnb2');

$split->create_server('second', 'second');
$split->sql(<<"EOT");
SELECT runops.add_store('b', 'second');
CREATE TABLE run (id text PRIMARY KEY, env text NOT NULL, n int);
CREATE TABLE attempt (id text PRIMARY KEY, run_id text NOT NULL, note text);
SELECT runops.attach('run', 'id');
SELECT runops.attach('attempt', 'run_id');
EOT
is($split->sql("SELECT runops.store_of('$n'), runops.store_of('$b')"), 'new|b', 'ids of two stores');
$split->sql(qq{SELECT runops.provision('new'); SELECT runops.provision('b');
	INSERT INTO run VALUES ('$l', 'e', 1), ('$n', 'e', 2), ('$n2', 'e', 3), ('$b', 'e', 4);
	INSERT INTO attempt VALUES ('a1', '$n', 'x'), ('a2', '$b', 'y')});

$split->wait_for_proofs;
my $session = $split->control->background_psql('postgres');

sub turns { return $split->turns($session, $_[0]); }

# the first use of a store: one connection, its start, and what it is asked

is(turns("SELECT * FROM run WHERE id = '$n'"), 3, 'the first read of a session');
is($relay->connects, 1, 'over one connection');
is(turns("SELECT * FROM run WHERE id = '$b'"), 3, 'and of another store');
is($relay->connects, 1, 'over one more');

# [ statements, turns on each connection ]; none ends a transaction that has only
# read, because the answer to that is not waited for
my @cases = (
	[ "SELECT * FROM run WHERE id = '$n'", '1' ],
	[ "SELECT * FROM run WHERE id = '$n' AND env = 'e' ORDER BY n LIMIT 1", '1' ],
	[ "SELECT r.n, a.note FROM run r JOIN attempt a ON a.run_id = r.id WHERE r.id = '$n'", '1' ],
	[ "BEGIN; SELECT n FROM run WHERE id = '$n'; COMMIT", '1' ],
	[ "INSERT INTO run VALUES ('0123456789abcdefghijklmv01', 'e', 1)", '2' ],
	[ "INSERT INTO run VALUES ('0123456789abcdefghijklmv11', 'e', 1) RETURNING n", '2' ],
	[ "UPDATE run SET n = 7 WHERE id = '$n'", '2' ],
	[ "UPDATE run SET n = n + 1 WHERE id = '$n' RETURNING n", '2' ],
	[ "DELETE FROM run WHERE id = '0123456789abcdefghijklmv01'", '2' ],
	[ "BEGIN; UPDATE run SET n = 8 WHERE id = '$n'; SELECT n FROM run WHERE id = '$n'; COMMIT", '3' ],
	[ "BEGIN; SAVEPOINT a; UPDATE run SET n = 8 WHERE id = '$n'; RELEASE a; COMMIT", '2' ],
	[ "BEGIN; UPDATE run SET n = 8 WHERE id = '$n'; SAVEPOINT a; UPDATE run SET n = 9 WHERE id = '$n'; ROLLBACK TO a; COMMIT", '4' ],
	[ "INSERT INTO run VALUES " . join(', ', map { sprintf "('0123456789abcdefghij%03dvv1', 'e', %d)", $_, $_ } 0 .. 99), '2' ],
	[ "INSERT INTO run SELECT '0123456789abcdefghij' || g || 'uu1', 'e', g FROM generate_series(100, 199) g", '2' ],
	[ "UPDATE run SET n = 0 WHERE id LIKE '%uu1' AND id = ANY (ARRAY['$n', '0123456789abcdefghij100uu1'])", '2' ],
	[ "SELECT n FROM run WHERE id = ANY (ARRAY['$n', '$n2'])", '1' ],
	[ "SELECT n FROM run WHERE id = ANY (ARRAY['$n', '$b', '$l', '$n2'])", '1 1' ],
	[ "SELECT n FROM run WHERE env = 'f' ORDER BY n DESC, id DESC LIMIT 50", '1 1' ],
	[ "BEGIN; UPDATE run SET n = 8 WHERE id = '$n'; UPDATE run SET n = 8 WHERE id = '$b'; COMMIT", '3 3' ],
	[ "SELECT n FROM run WHERE id = '$l'", '' ]);

foreach my $case (@cases)
{
	my ($sql, $turns) = @$case;
	my $before = $split->counted_turns;
	my $sum = 0;

	$sum += $_ foreach split ' ', $turns;
	is(turns($sql), $turns, sprintf '%s turns: %.100s', $turns eq '' ? 'no' : $turns, $sql);
	is($relay->connects, 0, 'no connection');
	is($split->counted_turns - $before, $sum, 'as counted');
}

# prepared, with plans of both kinds; the store prepares each statement once
foreach my $mode ('force_custom_plan', 'force_generic_plan')
{
	$session->query_safe("SET plan_cache_mode = $mode; PREPARE r(text) AS SELECT n FROM run WHERE id = \$1; PREPARE u(text) AS UPDATE run SET n = 1 WHERE id = \$1");
	$session->query_safe("EXECUTE r('$n'); EXECUTE u('$n')");
	is(turns("EXECUTE r('$n')"), '1', "$mode: a read");
	is(turns("EXECUTE u('$n')"), '2', "$mode: an update");
	is(turns("EXECUTE r('$b')"), '1', "$mode: another store");
	$session->query_safe('DEALLOCATE ALL');
}
turns("SELECT n FROM run WHERE id = '$n'; SELECT n FROM run WHERE id = '$n'");
turns("SELECT n FROM run WHERE id = '$n'");
is_deeply([ grep { /FROM "?public"?\."?run/ } $relay->statements ], [], 'what was prepared is not sent as text');

# a column of the store got another type: asked again, without an error
$split->store_sql('ALTER TABLE run ALTER n TYPE bigint');
is(turns("SELECT n FROM run WHERE id = '$n'"), '2', 'a statement that was prepared before is prepared anew');
is(turns("SELECT n FROM run WHERE id = '$n'"), '1', 'and then costs what it did');

# the end of a transaction that has only read is not waited for: the store does not even hear of it
$session->query_safe('SET runops.enable_shipping = off');

my $two = "SELECT a.n, (SELECT max(b.n) FROM run b WHERE b.id = '$n2') FROM run a WHERE a.id = '$n'";

foreach my $case (
	[ 'two reads of one statement', "$two;" ],
	[ 'the same in a transaction', "BEGIN; $two; COMMIT;" ],
	[ 'inside of a savepoint', "BEGIN; SAVEPOINT a; $two; RELEASE a; COMMIT;" ],
	[ 'REPEATABLE READ', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT n FROM run WHERE id = '$n'; COMMIT;" ])
{
	my ($what, $sql) = @$case;

	# the last statement ends no transaction
	$session->query_safe($sql);
	$session->query_safe("SELECT n FROM run WHERE id = '$n'");
	$relay->reset;
	$relay->freeze_on('^COMMIT');
	$session->query_safe($sql);
	is($session->query_safe("SELECT 'here'"), 'here', "$what: the end is not waited for");
	# it is on the way; the relay must not freeze after the thaw
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if grep { /^COMMIT/ } $relay->statements;
		usleep(100_000);
	}
	is(scalar(grep { /^COMMIT/ } $relay->statements), 1, "$what: but was sent");
	$relay->thaw;
	$session->query_safe($two);
	is($relay->connects, 0, "$what: and the connection is used again");
}

$session->quit;

# a single-user backend, which has no postmaster
my ($stdout, $stderr);

$split->control->stop;
IPC::Run::run([ 'postgres', '--single', '-D', $split->control->data_dir, 'postgres' ],
	'<', \"SELECT n FROM run WHERE id = '$n'\n", '>', \$stdout, '2>', \$stderr);
like($stdout, qr/n = "\d+"/, 'a backend without a postmaster waits for a store');
unlike($stderr, qr/ERROR|FATAL/, 'without an error');
done_testing();
