#
# 077_session_pooler.pl
#	  A store behind PgBouncer in transaction mode: with the option "pooled" many
#	  sessions share few connections and get exact results, and without it the
#	  pooler is noticed before a statement of another client is executed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use Pooler;
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => Pooler::missing() if Pooler::missing();

my $sessions = 200;
my $split = TwoClusters->new(conf => "runops.database = ''\nmax_connections = 260\n");
my ($control, $store) = ($split->control, $split->store);
my $pooler = Pooler->start(
	databases => { run_ops => [ $store->host, $store->port, 'run_ops' ] },
	default_pool_size => 1,
	max_client_conn => 500,
	query_wait_timeout => 0);

# ids of the store and of legacy
sub new_id { return sprintf '0123456789abcdefghijk%03d01', $_[0]; }
sub legacy_id { return sprintf 'c000000000000000000000%03d', $_[0]; }

my ($n, $n2) = (new_id(1), new_id(2));

$split->sql(<<"EOT");
CREATE TABLE run (id text PRIMARY KEY, ref text, note text, n int NOT NULL DEFAULT 0);
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
SELECT runops.add_unique('run', '{ref}');
INSERT INTO run (id, note, n) SELECT format('0123456789abcdefghijk%s01', lpad(g::text, 3, '0')), format('note %s', g), 1000 FROM generate_series(0, 99) g;
INSERT INTO run (id, note, n) SELECT format('c000000000000000000000%s', lpad(g::text, 3, '0')), format('note %s', g), 1000 FROM generate_series(0, 99) g;
ALTER SERVER run_ops OPTIONS (SET host '@{[ $pooler->host ]}', SET port '@{[ $pooler->port ]}');
EOT

sub session
{
	my $session = $control->background_psql('postgres', on_error_stop => 0);

	$session->query('\set VERBOSITY verbose');
	return $session;
}

# Run SQL in a session; returns rows and errors, with SQLSTATE.
sub run
{
	my ($session, $sql) = @_;

	$session->{stderr} = '';
	my $out = $session->query($sql);

	return join("\n", grep { $_ ne '' } $out, $session->{stderr} =~ /(?:ERROR|WARNING):  [^\n]*/g);
}

# What the only session of the pool has kept.
sub leftovers
{
	return $store->safe_psql('run_ops', <<'EOT', connstr => sprintf('host=%s port=%s dbname=run_ops', $pooler->host, $pooler->port));
SELECT current_setting('search_path'), current_setting('extra_float_digits'), current_setting('cursor_tuple_fraction'),
	current_setting('intervalstyle'), coalesce(current_setting('runops_session.token', true), ''),
	(SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
EOT
}

# without the option: two sessions use one session of the store by turns

my ($s1, $s2) = (session(), session());
my $read = "SELECT note FROM run WHERE id = '%s'";
my $answer = '';

is(run($s1, sprintf $read, $n), 'note 1', 'the first session reads its row');
is(run($s2, sprintf $read, $n2), 'note 2', 'and so does the second one');
for (my $i = 0; $i < 5 && $answer !~ /ERROR/; $i++)
{
	$answer = run($s1, sprintf $read, $n);
	$answer .= run($s2, sprintf $read, $n2) if $answer !~ /ERROR/;
	like($answer, qr/^(?:note 1)?(?:note 2)?(?:ERROR.*)?$/, 'no row of another client');
}
like($answer, qr/55000: server "run_ops" is reached through a connection pooler that does not keep the session/, 'a pooler in transaction mode is noticed');
like(run($s1, "UPDATE run SET n = 0 WHERE id = '$n'") . run($s2, "UPDATE run SET n = 0 WHERE id = '$n2'"), qr/55000/, 'for writes too');
$split->store_sql('UPDATE run SET n = 1000');
$_->quit foreach $s1, $s2;

# in session mode it works without the option

$pooler->set(pool_mode => 'session', default_pool_size => 2);
($s1, $s2) = (session(), session());
foreach my $round (1 .. 4)
{
	is(run($s1, sprintf $read, $n) . run($s2, sprintf $read, $n2), 'note 1note 2', "session mode, round $round");
}
is(run($s1, "BEGIN;\nUPDATE run SET n = n WHERE id = '$n';\nSAVEPOINT a;\n" . sprintf($read, $n) . ";\nROLLBACK TO a;\nCOMMIT;"), 'note 1', 'a transaction');
$_->quit foreach $s1, $s2;
$pooler->set(pool_mode => 'transaction', default_pool_size => 1);

# with it

$split->sql("ALTER SERVER run_ops OPTIONS (ADD pooled 'true')");
my $clean = leftovers();

like($clean, qr/\|0\|0$/, 'nothing is kept at first');
($s1, $s2) = (session(), session());
foreach my $round (1 .. 4)
{
	is(run($s1, sprintf $read, $n) . run($s2, sprintf $read, $n2), 'note 1note 2', "pooled, round $round");
}
is(leftovers(), $clean, 'reads leave nothing in the session of the pool');
is(run($s1, "BEGIN;\nUPDATE run SET note = 'x' WHERE id = '$n';\n" . sprintf($read, $n) . ";\nROLLBACK;"), 'x', 'a transaction sees its own write');
is(run($s2, sprintf $read, $n), 'note 1', 'and it is rolled back');
is(leftovers(), $clean, 'writes leave nothing either');
is(run($s1, "SET datestyle = 'German'; SET timezone = 'Asia/Tokyo'; SET extra_float_digits = 0") . run($s1, sprintf $read, $n), 'note 1', 'settings of this session stay here');

# the settings hold for the statement, whatever the role has in the store
$split->sql(q{CREATE TABLE odd (id text PRIMARY KEY, at timestamptz, i interval, f float8); SELECT runops.attach('odd', 'id'); SELECT runops.provision('new')});
$split->sql("INSERT INTO odd VALUES ('$n', '2026-03-04 05:06:07.89+00', '1 year -2 mons 3 days -04:05:06', 0.1::float8 + 0.2::float8)");
my $odd = "SELECT at = '2026-03-04 05:06:07.89+00', i = '1 year -2 mons 3 days -04:05:06', f = 0.1::float8 + 0.2::float8 FROM odd WHERE id = '$n'";
$store->safe_psql('run_ops', sprintf q{ALTER ROLE "%s" SET datestyle = 'SQL, DMY'; ALTER ROLE "%1$s" SET timezone = 'America/New_York'; ALTER ROLE "%1$s" SET intervalstyle = 'sql_standard';
	ALTER ROLE "%1$s" SET extra_float_digits = 0; ALTER ROLE "%1$s" SET search_path = 'nowhere'}, scalar getpwuid($>));
$pooler->console('RECONNECT');
is($split->sql($odd), 't|t|t', 'odd settings of the role, without a transaction in the store');
is(run($s2, "BEGIN ISOLATION LEVEL REPEATABLE READ;\n$odd;\nCOMMIT;"), 't|t|t', 'and in one');
is(run($s2, "UPDATE odd SET at = at + '1 day', i = i WHERE id = '$n' AND at = '2026-03-04 05:06:07.89+00' RETURNING at = '2026-03-05 05:06:07.89+00'"), 't', 'and for parameters');
$store->safe_psql('run_ops', sprintf q{ALTER ROLE "%s" RESET ALL}, scalar getpwuid($>));
$pooler->console('RECONNECT');

# the lock on the claim is the transaction's

sub locks
{
	return $split->store_sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'});
}
run($s1, "BEGIN;\nUPDATE run SET n = n WHERE id = '$n'");
is(locks(), 1, 'a transaction holds the lock on the claim');
run($s1, 'COMMIT');
is(run($s1, sprintf $read, $n), 'note 1', 'and then');
is(locks(), 0, 'nobody does');

# a second connection beside a transaction could wait for ever

run($s1, "BEGIN;\nUPDATE run SET n = n WHERE id = '$n'");
like(run($s1, q{SELECT * FROM runops.remote_query('new', 'SELECT 1 AS x')}), qr/55006: cannot connect to server "run_ops" a second time in this transaction/, 'a second connection is refused');
run($s1, 'ROLLBACK');
is(run($s1, q{SELECT * FROM runops.remote_query('new', 'SELECT 1 AS x')}), '{"x": 1}', 'outside of a transaction there is none');
is(leftovers(), $clean, 'SQL of the extension leaves nothing in the session');
run($s1, "SELECT runops.provision('new')");
is(run($s1, q{SELECT finding, detail FROM runops.verify()}), '', 'verify works');
is(run($s1, q{SELECT count(*) FROM runops.doctor() WHERE finding ~ 'pooler'}), '0', 'doctor has nothing to say');
is(leftovers(), $clean, 'and nothing is left');
like(run($s1, "ANALYZE run"), qr{^WARNING:  0A000: skipping "run" --- cannot analyze it in store "new"$}m, "ANALYZE says what it leaves out");
like(run($s1, 'IMPORT FOREIGN SCHEMA public FROM SERVER run_ops INTO public'), qr/0A000: cannot do this through the connection pooler/, 'IMPORT FOREIGN SCHEMA is refused');
run($s1, "ALTER FOREIGN TABLE runops_new.run OPTIONS (ADD use_remote_estimate 'true')");
run($s1, 'SET runops.enable_shipping = off');
like(run($s1, sprintf $read, $n), qr/0A000: cannot do this through the connection pooler/, 'and so is use_remote_estimate of a table');
run($s1, 'RESET runops.enable_shipping');
run($s1, 'ALTER FOREIGN TABLE runops_new.run OPTIONS (DROP use_remote_estimate)');
is(leftovers(), $clean, 'and nothing is left by that');

# a cancel while the statement waits for a session of the pool

run($s2, "BEGIN;\nUPDATE run SET n = n WHERE id = '$n2'");
like(run($s1, "SET statement_timeout = '500ms';\n" . sprintf $read, $n), qr/57014/, 'statement_timeout while the pool is empty');
like(run($s1, "BEGIN;\nUPDATE run SET n = n WHERE id = '$n'"), qr/57014/, 'and for a write');
run($s1, 'ROLLBACK');
run($s2, 'ROLLBACK');
is(run($s1, "RESET statement_timeout;\n" . sprintf $read, $n), 'note 1', 'the session goes on');

# the store is restarted, which the pooler hides from its clients

run($s1, sprintf $read, $n);
$store->restart;
$pooler->console('RECONNECT');
is(run($s1, sprintf $read, $n), 'note 1', 'after a restart of the store it is asked again');
is(run($s2, "BEGIN;\nUPDATE run SET n = n WHERE id = '$n' RETURNING note;\nCOMMIT"), 'note 1', 'also for a write');
is(run($s2, "BEGIN;\nDECLARE c CURSOR FOR SELECT note FROM run WHERE id >= '$n' ORDER BY id LIMIT 2;\nFETCH 1 FROM c;\nCOMMIT"), 'note 1', 'or a cursor');

# another control plane takes the store over: no statement of this one passes

is($split->sql(q{SELECT verdict FROM runops.recheck('new')}), 'distinct', 'the store is claimed');
my $record = $split->store_sql(q{SELECT obj_description('runops_store'::regnamespace, 'pg_namespace')});
is(run($s1, sprintf $read, $n), 'note 1', 'this session uses it');
$split->store_sql(sprintf q{COMMENT ON SCHEMA runops_store IS '%s'}, $record =~ s/cluster=\d+/cluster=42/r);
like(run($s1, "UPDATE run SET note = 'stolen' WHERE id = '$n'"), qr/RO007/, 'a write of a session that was connected before');
is($split->store_sql("SELECT note FROM run WHERE id = '$n'"), 'note 1', 'is not executed');

# the lock that a new owner needs is free only when no transaction of this one is left
my ($claim) = $record =~ /^claim=(-?\d+) /;

$split->store_sql("COMMENT ON SCHEMA runops_store IS '$record'");
is($split->sql(q{SELECT verdict FROM runops.recheck('new')}), 'distinct', 'the store is this control plane\'s again');
run($s1, "BEGIN;\nUPDATE run SET n = n WHERE id = '$n'");
is($split->store_sql("SELECT pg_try_advisory_xact_lock($claim)"), 'f', 'a transaction keeps another owner out');
run($s1, 'COMMIT');
is(run($s1, sprintf $read, $n), 'note 1', 'after it');
is($split->store_sql("SELECT pg_try_advisory_xact_lock($claim)"), 't', 'the store can be taken over');
$split->store_sql("COMMENT ON SCHEMA runops_store IS '$record'");
$split->sql(q{SELECT verdict FROM runops.recheck('new')});

# the pool is led to another database: the same

$split->store->safe_psql('postgres', 'CREATE DATABASE other');
$split->store->safe_psql('other', "CREATE TABLE run (id text PRIMARY KEY, ref text, note text, n int NOT NULL DEFAULT 0); INSERT INTO run VALUES ('$n', NULL, 'other', 1)");
is(run($s1, sprintf $read, $n), 'note 1', 'this session is connected');
$pooler->lead(run_ops => [ $store->host, $store->port, 'other' ]);
like(run($s1, "UPDATE run SET note = 'wrong' WHERE id = '$n'"), qr/RO002/, 'a write through a pool that leads elsewhere');
is($store->safe_psql('other', 'SELECT note FROM run'), 'other', 'is not executed');
like(run($s1, sprintf $read, $n), qr/RO002/, 'and nothing is read');
$pooler->lead(run_ops => [ $store->host, $store->port, 'run_ops' ]);
is($split->sql(q{SELECT verdict FROM runops.recheck('new')}), 'distinct', 'it is led back');
is(run($s1, sprintf $read, $n), 'note 1', 'and used');
$_->quit foreach $s1, $s2;

# many sessions over few connections

$pooler->set(default_pool_size => 20);
$split->sql(<<'EOT');
-- fails if another row comes than was asked for
CREATE FUNCTION look(k text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE r run;
BEGIN
	SELECT * INTO r FROM run WHERE id = k;
	IF r.id IS DISTINCT FROM k OR r.note IS DISTINCT FROM ('note ' || CASE WHEN k LIKE 'c%' THEN right(k, 3) ELSE substr(k, 22, 3) END::int) THEN
		RAISE 'asked for %, got %', k, r;
	END IF;
	RETURN r.n;
END $$;
CREATE FUNCTION add(k text, d int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE run SET n = n + d WHERE id = k;
	IF NOT FOUND THEN
		RAISE 'no row %', k;
	END IF;
END $$;
EOT

my %scripts = (
	read => q{SELECT look(format('0123456789abcdefghijk%s01', lpad(:a::text, 3, '0')));
SELECT look(format('c000000000000000000000%s', lpad(:a::text, 3, '0')));},
	# one unit goes from one row to another; the order of the locks is that of the ids
	move => q{BEGIN;
SELECT add(format('0123456789abcdefghijk%s01', lpad(least(:a, :b)::text, 3, '0')), CASE WHEN :a < :b THEN -1 ELSE 1 END);
SELECT add(format('0123456789abcdefghijk%s01', lpad(greatest(:a, :b)::text, 3, '0')), CASE WHEN :a < :b THEN 1 ELSE -1 END);
COMMIT;},
	savepoint => q{BEGIN;
SAVEPOINT s;
SELECT add(format('0123456789abcdefghijk%s01', lpad(:a::text, 3, '0')), 5);
ROLLBACK TO s;
SAVEPOINT t;
SELECT add(format('0123456789abcdefghijk%s01', lpad(:a::text, 3, '0')), 0);
RELEASE t;
SELECT look(format('0123456789abcdefghijk%s01', lpad(:a::text, 3, '0')));
COMMIT;},
	cursor => q{BEGIN;
DECLARE c CURSOR FOR SELECT id, n FROM run WHERE id >= format('0123456789abcdefghijk%s01', lpad(:a::text, 3, '0')) ORDER BY id;
FETCH 3 FROM c;
SELECT look(format('0123456789abcdefghijk%s01', lpad(:b::text, 3, '0')));
FETCH 3 FROM c;
CLOSE c;
COMMIT;},
	keys => q{INSERT INTO run (id, ref, note) VALUES (format('0123456789abcdefg%s01', lpad((:client_id * 100000 + :k)::text, 7, 'u')), format('ref %s', :client_id * 100000 + :k), NULL) ON CONFLICT DO NOTHING;
SELECT count(*) FROM run WHERE ref = format('ref %s', :client_id * 100000 + :k) AND note IS NULL;},
	snapshot => q{BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT 1 / CASE WHEN sum(n) = 100000 THEN 1 ELSE 0 END FROM run WHERE id >= '0123456789abcdefghijk' AND id < '0123456789abcdefghijl' AND id LIKE '0%';
COMMIT;});
my $dir = PostgreSQL::Test::Utils::tempdir();
my @files;

foreach my $name (sort keys %scripts)
{
	append_to_file("$dir/$name.sql", "\\set a random(0, 99)\n\\set b random(0, 99)\n\\set k random(0, 20)\n$scripts{$name}\n");
	push @files, "--file=$dir/$name.sql";
}
foreach my $protocol ('simple', 'prepared')
{
	my $offset = -s $store->logfile;

	$control->command_ok(
		[ 'pgbench', '--no-vacuum', "--client=$sessions", '--jobs=2', '--transactions=10', "--protocol=$protocol", @files,
			'--host', $control->host, '--port', $control->port, 'postgres' ],
		"$sessions sessions, protocol $protocol");
	cmp_ok($split->store_sql(q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'run_ops' AND application_name LIKE 'runops%'}), '<=', 20,
		'over at most 20 connections');
	is($split->sql(q{SELECT sum(n) FROM run}), '200000', 'the sum is what it was');
	is($split->sql(q{SELECT count(*) - count(DISTINCT ref) FROM run WHERE ref IS NOT NULL}), '0', 'no key is there twice');
	is(() = slurp_file($store->logfile, $offset) =~ /execute runops_\d+/g, 0, 'no statement was prepared by name');
}
is($split->store_sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no lock is left');
is($split->store_sql(q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'run_ops' AND state LIKE 'idle in transaction%'}), '0', 'and no transaction');

done_testing();
