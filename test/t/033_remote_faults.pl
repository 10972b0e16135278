#
# 033_remote_faults.pl
#	  A store that is killed, is frozen, refuses connections, asks for another
#	  password or is slow: legacy statements never wait and never fail, statements
#	  that need the store fail by connect_timeout, and running statements can be
#	  canceled.
#
#	  A busy machine may be slow.  So the test does not measure time.  It recognizes
#	  the end of a wait by its error, where nothing else would end the wait.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(relay => 1, conf => "runops.database = ''\n");
my ($control, $store, $relay) = ($split->control, $split->store, $split->relay);
my $new_id = '0123456789abcdefghijklmna1';

$split->store_sql(<<"EOT");
CREATE TABLE run (id text PRIMARY KEY, n int);
INSERT INTO run VALUES ('$new_id', 2);
CREATE ROLE app LOGIN PASSWORD 'right';
GRANT ALL ON run TO app;
EOT
$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, n int);
INSERT INTO run VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('run', 'id');
EOT
is($split->sql(q{SELECT verdict FROM runops.recheck()}), 'distinct', 'a proof stands');

my $legacy = <<'EOT';
SELECT 'legacy', n FROM run WHERE id = 'c000000000000000000000001';
UPDATE run SET n = 1 WHERE id = 'c000000000000000000000001';
INSERT INTO run VALUES ('c000000000000000000000002', 2);
DELETE FROM run WHERE id = 'c000000000000000000000002';
EOT

# Run SQL; what it prints, its errors, and how long it took.
sub timed
{
	my ($sql) = @_;
	my $start = time;
	my ($stdout, $stderr) = $split->try($sql);

	return ($stdout, $stderr, time - $start);
}

# While there is a fault, a new session: legacy statements, which would end by an
# error if they asked the store, and one for the store.
sub fault
{
	my ($what, $error) = @_;
	my ($stdout, $stderr) = $split->try($legacy);

	is($stdout, 'legacy|1', "$what: legacy statements work");
	is($stderr, '', "$what: without an error");
	foreach my $sql ("SELECT n FROM run WHERE id = '$new_id'", "UPDATE run SET n = 2 WHERE id = '$new_id'",
		"INSERT INTO run VALUES ('0123456789abcdefghijklmnb1', 1)")
	{
		($stdout, $stderr) = $split->try("$sql;\n$legacy");
		like($stderr, $error, "$what: $sql");
		is(() = $stderr =~ /ERROR: /g, 1, "$what: nothing else fails");
		unlike($stderr, qr/RO002/, "$what: the gate is not closed by it");
		is($stdout, 'legacy|1', "$what: the session goes on");
	}
	return;
}

$relay->refuse;
fault('refused', qr/ERROR:  08001: could not connect to server "run_ops"/);
$relay->accept;
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'accepted: the proof stands');

# frozen, with the default of 5 seconds and with an option of the server
$relay->freeze;
my ($stdout, $stderr, $took) = timed("SELECT n FROM run WHERE id = '$new_id';");

like($stderr, qr/ERROR:  08001: could not connect to server "run_ops"\nDETAIL:  timeout expired/, 'frozen: connect_timeout is 5 seconds');
cmp_ok($took, '>', 4, 'not less');
$relay->thaw;
$relay->drop;
$split->sql(q{ALTER SERVER run_ops OPTIONS (ADD connect_timeout '3600'); SELECT runops.recheck()});
$relay->freeze;
($stdout, $stderr) = $split->try("SET statement_timeout = '300ms'; SELECT n FROM run WHERE id = '$new_id';");
like($stderr, qr/ERROR:  57014/, 'frozen: statement_timeout while connecting');
$relay->thaw;
$relay->drop;
$split->sql(q{ALTER SERVER run_ops OPTIONS (SET connect_timeout '2'); SELECT runops.recheck()});
$relay->freeze;
fault('frozen', qr/ERROR:  08001: could not connect to server "run_ops"\nDETAIL:  timeout expired/);
$relay->thaw;
$relay->drop;
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'thawed: the proof stands');

# frozen, for a session that has a connection and is in no transaction there
my $holder = $control->background_psql('postgres', on_error_stop => 0);

# Run SQL in that session; what it prints, its errors, and how long it took.
sub held
{
	my ($sql) = @_;
	my $start = time;

	$holder->{stderr} = '';
	my $out = $holder->query($sql);
	my $err = $holder->{stderr} =~ s/background_psql: QUERY_SEPARATOR \d+:?\n?//gr;

	return ($out, $err, time - $start);
}

foreach my $sql ("SELECT n FROM run WHERE id = '$new_id'", "UPDATE run SET n = 2 WHERE id = '$new_id'",
	"UPDATE run SET n = 2 WHERE id = '$new_id' AND random() >= 0", "INSERT INTO run VALUES ('0123456789abcdefghijklmnb1', 1)",
	"INSERT INTO run SELECT i, 1 FROM unnest(ARRAY['0123456789abcdefghijklmnb1']) i")
{
	$holder->query("SELECT n FROM run WHERE id = '$new_id'");
	$relay->freeze;
	($stdout, $stderr) = held($legacy);
	is($stdout, 'legacy|1', 'frozen with a connection: legacy statements work');
	is($stderr, '', 'and do not wait for the store');
	($stdout, $stderr, $took) = held($sql);
	like($stderr, qr/ERROR:  server "run_ops" did not answer in time\nDETAIL:  The connection is open, but the time of connect_timeout is over\.\nHINT:  .*\nCONTEXT:  table "run" in store "new"/,
		"frozen with a connection: $sql");
	cmp_ok($took, '>', 1.5, 'not at once');
	($stdout, $stderr) = held($legacy);
	is($stdout, 'legacy|1', 'the session goes on');
	is($stderr, '', 'and does not wait for the store');
	$relay->thaw;
	is((held("SELECT n FROM run WHERE id = '$new_id'"))[0], '2', 'and finds the store again');
}

# in a block that catches the error, and by a cancel meanwhile
$relay->freeze;
($stdout, $stderr, $took) = held(<<"EOT");
BEGIN;
DO \$\$ BEGIN PERFORM n FROM run WHERE id = '$new_id'; EXCEPTION WHEN connection_failure THEN RAISE NOTICE 'caught %', SQLERRM; END \$\$;
$legacy
COMMIT;
EOT
like($stderr, qr/NOTICE:  caught server "run_ops" did not answer in time/, 'the error can be caught');
is($stdout, 'legacy|1', 'the transaction goes on');
$relay->thaw;
is((held("SELECT n FROM run WHERE id = '$new_id'"))[0], '2', 'and so does the session');
$relay->freeze;
($stdout, $stderr, $took) = held("SET statement_timeout = '300ms'; SELECT n FROM run WHERE id = '$new_id'");
like($stderr, qr/ERROR:  canceling statement due to statement timeout/, 'statement_timeout comes first if it is shorter');
$relay->thaw;
held('RESET statement_timeout');

# no limit is left behind: what takes the store long is not cut off
$split->store_sql('CREATE VIEW sleepy AS SELECT id, n FROM run, pg_sleep(3)');
$split->sql(q{CREATE FOREIGN TABLE sleepy (id text, n int) SERVER run_ops OPTIONS (schema_name 'public')});
held("SELECT n FROM run WHERE id = '$new_id'");
($stdout, $stderr, $took) = held("SELECT n FROM sleepy WHERE id = '$new_id'");
is($stdout, '2', 'a statement that takes the store longer than connect_timeout');
cmp_ok($took, '>', 2.5, 'takes that long');
$holder->quit;

# frozen once the connection stands
$relay->freeze_on('pg_try_advisory_xact_lock');
($stdout, $stderr, $took) = timed("SELECT n FROM run WHERE id = '$new_id';\n$legacy");
like($stderr, qr/ERROR:  08006: server "run_ops" did not answer in time/, 'frozen after the handshake');
is($stdout, 'legacy|1', 'the session goes on');
$relay->thaw;
$relay->drop;

# slow
$relay->round_trip(9000);
fault('a slow handshake', qr/ERROR:  08001: could not connect to server "run_ops"\nDETAIL:  timeout expired/);
$relay->round_trip(0);
$relay->drop;

# killed, with a session that has a connection and is in a transaction
my $session = $control->background_psql('postgres', on_error_stop => 0);

is($session->query("BEGIN; UPDATE run SET n = 5 WHERE id IN ('$new_id', 'c000000000000000000000001') RETURNING n"), "5\n5", 'a transaction in both');
$store->stop('immediate');
$session->query("SELECT n FROM run WHERE id = '$new_id'");
like($session->{stderr}, qr/ERROR:  /, 'killed: the transaction fails');
$session->{stderr} = '';
$session->query('ROLLBACK');
is($session->query(q{SELECT n FROM run WHERE id = 'c000000000000000000000001'}), '1', 'and nothing of it stays');
fault('killed', qr/ERROR:  08(?:001|006): /);
$store->start;
is($session->query("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the session finds the store again');
$session->quit;

# What is under way ends when it is told to.  postgres_fdw alone would wait for a
# frozen store for half a minute and longer: the limits here are below that.
foreach my $case (
	[ 'a read', "SELECT id, n FROM run WHERE id = '$new_id'" ],
	[ 'an UPDATE', "UPDATE run SET n = 3 WHERE id = '$new_id'" ],
	[ 'a scan of all', 'SELECT count(*) FROM run' ])
{
	my ($what, $sql) = @$case;

	# the store freezes between two statements of a transaction
	$relay->freeze_on('^(UPDATE|SELECT ("run"\."id"|id, n|NULL)|DECLARE)');
	($stdout, $stderr, $took) = timed("BEGIN; SELECT n FROM run WHERE id = '$new_id'; SET LOCAL statement_timeout = '500ms'; $sql; ROLLBACK;\n$legacy");
	like($stderr, qr/ERROR:  57014: canceling statement due to statement timeout/, "$what under way: statement_timeout");
	cmp_ok($took, '<', 25, "$what under way: and not by postgres_fdw");
	like($stdout, qr/^legacy\|1$/m, "$what under way: the session goes on");
	$relay->thaw;
	$relay->drop;
}

# cancelled by another session, with a store that is well: it stops working too
$split->store_sql('CREATE VIEW slow AS SELECT id, n FROM run, pg_sleep(3600)');
$split->sql(q{CREATE FOREIGN TABLE slow (id text, n int) SERVER run_ops OPTIONS (schema_name 'public')});
$session = $control->background_psql('postgres', on_error_stop => 0);
$session->query("SELECT n FROM run WHERE id = '$new_id'");
my $pid = $session->query('SELECT pg_backend_pid()');

foreach my $frozen (0, 1)
{
	$session->{stdin} .= "SELECT count(*) FROM slow;\n\\echo done\n";
	$session->{run}->pump_nb;
	$store->poll_query_until('run_ops', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%slow%' AND pid <> pg_backend_pid() AND state = 'active'}) or die;
	$relay->freeze if $frozen;
	my $start = time;

	$split->sql("SELECT pg_cancel_backend($pid)");
	$session->{run}->pump until $session->{stdout} =~ /done\n/;
	cmp_ok(time - $start, '<', 25, $frozen ? 'cancelled while frozen' : 'cancelled');
	$session->{stdout} = '';
	like($session->{stderr}, qr/canceling statement due to user request/, 'as its user asked');
	$session->{stderr} = '';
	is($store->poll_query_until('run_ops', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE '%slow%' AND pid <> pg_backend_pid() AND state = 'active'}), 1,
		'the store does not go on') unless $frozen;
	$relay->thaw;
	is($session->query("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the session goes on');
}
$session->quit;

# a password that is wrong
my $hba = $store->data_dir . '/pg_hba.conf';
my $trusting = slurp_file($hba);

unlink $hba;
append_to_file($hba, "local all app scram-sha-256\n$trusting");
$store->reload;
$split->sql(q{ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (ADD user 'app', ADD password 'wrong')});
fault('wrong password', qr/ERROR:  08001: could not connect to server "run_ops"\nDETAIL:  .*password authentication failed/);
$split->sql(q{ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (SET password 'right')});
is($split->sql("SELECT n FROM run WHERE id = '$new_id'"), '2', 'the right password');

done_testing();
