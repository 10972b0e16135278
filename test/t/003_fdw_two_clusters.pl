#
# 003_fdw_two_clusters.pl
#	  A split over two real clusters: rows of the other cluster, the statements that
#	  are sent for them, and the effect on a session of a store that is down, refuses
#	  connections, or was restarted.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $split = TwoClusters->new(relay => 1);
my $relay = $split->relay;

# two legacy ids and one of each kind of the store
my ($l1, $l2) = ('c00000000000000000000run1', 'c00000000000000000000run2');
my ($n1, $n2) = ('0123456789abcdefghijklmn01', '0ujtsYcgvSTl8PAuAdqWYSMnLOv');
my $ids = "\\set l1 '$l1'\n\\set l2 '$l2'\n\\set n1 '$n1'\n\\set n2 '$n2'\n";

$split->sql(<<"EOT");
CREATE TABLE env (id text PRIMARY KEY, name text);
INSERT INTO env VALUES ('e1', 'production'), ('e2', 'staging');
CREATE TABLE run (id text PRIMARY KEY, "friendlyId" text UNIQUE, env text NOT NULL, n int);
INSERT INTO run VALUES ('$l1', 'run_$l1', 'e1', 1);
CREATE TABLE attempt (id text PRIMARY KEY, run_id text NOT NULL, note text);
CREATE INDEX ON attempt (run_id);
INSERT INTO attempt VALUES ('a1', '$l1', 'old');
SELECT runops.attach('run', 'id', '{friendlyId}');
SELECT runops.attach('attempt', 'run_id');
EOT
$split->sql(q{SELECT runops.provision('new')});

# rows

my ($stdout, $stderr) = $split->try($ids . <<'EOT');
INSERT INTO run VALUES (:'n1', 'run_' || :'n1', 'e1', 2) RETURNING n;
INSERT INTO run VALUES (:'l2', NULL, 'e2', 3), (:'n2', NULL, 'e2', 4);
COPY attempt FROM STDIN;
a2	0123456789abcdefghijklmn01	new
a3	c00000000000000000000run2	legacy
a4	0ujtsYcgvSTl8PAuAdqWYSMnLOv	new
\.
EOT
is($stderr, '', 'INSERT and COPY of rows of both');
is($stdout, '2', 'RETURNING from the store');
is($split->store_sql('SELECT string_agg(id, $$,$$ ORDER BY n) FROM run'), "$n1,$n2", 'the store has its rows');
is($split->store_sql('SELECT string_agg(id, $$,$$ ORDER BY id) FROM attempt'), 'a2,a4', 'of the second table too');
is($split->sql('SELECT string_agg(id, $$,$$ ORDER BY n) FROM ONLY runops_legacy.run'), "$l1,$l2", 'and the legacy leaf its own');
is($split->sql('SELECT count(*), sum(n) FROM run'), '4|10', 'one table has them all');
is($split->sql(q{SELECT r.id, e.name, a.note FROM run r JOIN env e ON e.id = r.env JOIN attempt a ON a.run_id = r.id ORDER BY r.n}),
	"$l1|production|old\n$n1|production|new\n$l2|staging|legacy\n$n2|staging|new", 'joins over both');
is($split->sql(qq{UPDATE run SET n = n + 10 WHERE id IN ('$l1', '$n1') RETURNING n}), "11\n12", 'an UPDATE of both');
is($split->sql(qq{SELECT n FROM run WHERE "friendlyId" = 'run_$n1'}), '12', 'found by its friendly id');
is($split->sql('SELECT * FROM runops.verify()'), '', 'verify finds nothing');

# what is sent, as turns: a write needs one for itself and one for its commit

my %turns = (
	"SELECT * FROM run WHERE id = '$n1'" => 1,
	"SELECT r.n, a.note FROM run r JOIN attempt a ON a.run_id = r.id WHERE r.id = '$n1'" => 1,
	"UPDATE run SET n = 7 WHERE id = '$n1'" => 2,
	"DELETE FROM run WHERE id = '$n1' AND n < 0" => 2,
	"SELECT * FROM run WHERE id = '$l1'" => 0,
	"SELECT r.n, a.note FROM run r JOIN attempt a ON a.run_id = r.id WHERE r.id = '$l1'" => 0,
	"UPDATE run SET n = 7 WHERE id = '$l1'" => 0,
	"DELETE FROM run WHERE id = '$l1' AND n < 0" => 0,
	"INSERT INTO run VALUES ('$l1', NULL, 'e1', 0) ON CONFLICT (id) DO UPDATE SET n = run.n" => 0,
);

$split->wait_for_proofs;
my $session = $split->control->background_psql('postgres');

$session->query_safe("SELECT * FROM run WHERE id = '$n1'");

foreach my $sql (sort keys %turns)
{
	my $before = $split->counted_turns;

	$relay->reset;
	$session->query_safe($sql);
	is($relay->turns, $turns{$sql}, "$turns{$sql} turns: $sql");
	is($split->counted_turns - $before, $turns{$sql}, 'as counted');
}

# also where many are taken, and some are not answered as hoped; the end of a
# transaction that has only read is not waited for, so it is not counted, and may
# reach the relay later
foreach my $sql ("DECLARE c CURSOR FOR SELECT * FROM run; FETCH 1 FROM c; FETCH ALL FROM c; CLOSE c; COMMIT",
	"INSERT INTO run SELECT '0123456789abcdefghijklm' || chr(97 + g / 10) || g % 10 || '1', NULL, 'e1', g FROM generate_series(0, 29) g; SAVEPOINT s; DELETE FROM run WHERE id LIKE '0123456789abcdefghijklm__1' AND n % 2 = 0 AND random() >= 0; ROLLBACK TO s; ROLLBACK",
	"DO \$\$ BEGIN INSERT INTO run VALUES ('$n1', NULL, 'e1', 1); EXCEPTION WHEN OTHERS THEN NULL; END \$\$; COMMIT")
{
	my $before = $split->counted_turns;

	$relay->reset;
	$session->query_safe("BEGIN; $sql");
	my $unwaited = $sql =~ /INSERT/ ? 0 : 1;
	my $counted = $split->counted_turns - $before;

	cmp_ok($counted + $unwaited, '>=', 2, "turns are taken: $sql");
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if $relay->turns >= $counted + $unwaited;
		usleep(100_000);
	}
	is($relay->turns, $counted + $unwaited, 'as many as are taken');
}

# Prepared and executed often enough for a generic plan.
my %prepared = (
	'SELECT n FROM run WHERE id = $1' => 'read',
	'UPDATE run SET n = n WHERE id = $1' => 'update',
	'DELETE FROM run WHERE id = $1 AND n < 0' => 'delete',
	"INSERT INTO run VALUES (\$1, NULL, 'e1', 0) ON CONFLICT (id) DO UPDATE SET n = run.n" => 'upsert',
);
foreach my $sql (sort keys %prepared)
{
	my $name = $prepared{$sql};

	$session->query_safe("PREPARE $name(text) AS $sql");
	$relay->reset;
	$session->query_safe("EXECUTE $name('$l1')") for (1 .. 8);
	is($relay->turns, 0, "8 executions for a legacy id, 0 turns: $sql");
}
$session->query_safe('SET plan_cache_mode = force_generic_plan');
foreach my $sql (sort keys %prepared)
{
	$relay->reset;
	$session->query_safe("EXECUTE $prepared{$sql}('$l1')");
	is($relay->turns, 0, "generic plan, 0 turns: $sql");
}
$session->quit;

$relay->reset;
$split->sql("SELECT * FROM run WHERE id = '$l1'; UPDATE run SET n = n WHERE id = '$l1'");
is($relay->connects, 0, 'a session with legacy ids only does not connect');

# the store is dead

# Statements of a legacy id, and those that need the store, as one session.
my $legacy = <<'EOT';
SELECT 'read', count(*) FROM run WHERE id = :'l1';
UPDATE run SET n = n WHERE id = :'l1' RETURNING 'updated';
INSERT INTO attempt VALUES ('a5', :'l1', 'again') RETURNING 'inserted';
DELETE FROM attempt WHERE run_id = :'l1' AND id = 'a5' RETURNING 'deleted';
EOT
my $legacy_result = "read|1\nupdated\ninserted\ndeleted";
my @needs_store = (
	"SELECT * FROM run WHERE id = :'n1'",
	'SELECT count(*) FROM run',
	"INSERT INTO run VALUES (:'n1', NULL, 'e1', 1)",
	"UPDATE run SET n = 1 WHERE id = :'n1'",
	"DELETE FROM run WHERE id = :'n1'");

# Check a session while the store cannot be reached; $expected is the error.
sub dead_store
{
	my ($what, $expected) = @_;

	foreach my $sql (@needs_store)
	{
		($stdout, $stderr) = $split->try("$ids$legacy$sql;\nSELECT 'usable';\n$legacy");
		like($stderr, $expected, "$what: $sql");
		is($stdout, "$legacy_result\nusable\n$legacy_result", "$what: legacy statements before and after");
	}
	return;
}

$relay->refuse;
dead_store('nobody listens', qr/^psql:[^\n]*ERROR:  08001: could not connect to server "run_ops"\n/);
$relay->accept;

$split->store->stop('immediate');
dead_store('the store is down', qr/^psql:[^\n]*ERROR:  08(?:001|006): /);

# A session that has had a connection finds the store down and then up again.
$split->store->start;
$session = $split->control->background_psql('postgres', on_error_stop => 0);
is($session->query("SELECT n FROM run WHERE id = '$n2'"), '4', 'a session with a connection');
$split->store->stop('immediate');
is($session->query("SELECT n FROM run WHERE id = '$n2'"), '', 'the store went away under it');
like($session->{stderr}, qr/ERROR:  /, 'and it says so');
$session->{stderr} = '';
is($session->query("SELECT count(*) FROM run WHERE id = '$l1'"), '1', 'legacy statements go on');
$split->store->start;
is($session->query("SELECT n FROM run WHERE id = '$n2'"), '4', 'once the store is back, so do the others');

# Inside a transaction it takes the transaction down, and nothing more.
$session->query_safe("BEGIN; UPDATE run SET n = 99 WHERE id = '$l2'; UPDATE run SET n = 99 WHERE id = '$n2'");
$relay->drop;
$session->query("UPDATE run SET n = 98 WHERE id = '$n2'");
like($session->{stderr}, qr/ERROR:  /, 'a connection lost inside a transaction is an error');
$session->{stderr} = '';
$session->query('COMMIT');
is($session->query("SELECT string_agg(n::text, ' ' ORDER BY n) FROM run WHERE id IN ('$l2', '$n2')"),
	'3 4', 'neither row has changed');
$session->quit;

# roles and passwords

$split->store->safe_psql('run_ops', <<'EOT');
SET password_encryption = 'scram-sha-256';
CREATE ROLE app LOGIN PASSWORD 'right';
GRANT SELECT, INSERT, UPDATE, DELETE ON run, attempt TO app;
EOT
open(my $hba, '>', $split->store->data_dir . '/pg_hba.conf') or die $!;
print $hba "local run_ops app scram-sha-256\nlocal all all trust\n";
close $hba;
$split->store->reload;
$split->sql(<<'EOT');
CREATE ROLE app LOGIN;
CREATE ROLE stranger LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON run, attempt TO app, stranger;
CREATE USER MAPPING FOR app SERVER run_ops OPTIONS (user 'app', password 'wrong');
EOT

($stdout, $stderr) = $split->try("${ids}SET ROLE app;\n$legacy SELECT n FROM run WHERE id = :'n2';\n$legacy");
like($stderr, qr/ERROR:  08001: could not connect to server "run_ops"\nDETAIL:  .*password authentication failed for user "app"/s,
	'a wrong password');
is($stdout, "SET\n$legacy_result\n$legacy_result" =~ s/^SET\n//r, 'a wrong password does not touch legacy statements');

($stdout, $stderr) = $split->try(<<"EOT");
${ids}SET ROLE app;
SELECT n FROM run WHERE id = :'n2';
RESET ROLE;
ALTER USER MAPPING FOR app SERVER run_ops OPTIONS (SET password 'right');
SET ROLE app;
SELECT n FROM run WHERE id = :'n2';
SELECT count(*) FROM run;
EOT
is($stdout, "4\n4", 'the session works once the password is right');

($stdout, $stderr) = $split->try("${ids}SET ROLE stranger;\n$legacy SELECT n FROM run WHERE id = :'n2';\n$legacy");
like($stderr, qr/ERROR:  42704: user mapping not found for/, 'no user mapping');
is($stdout, "$legacy_result\n$legacy_result", 'legacy statements need none');

$split->store->safe_psql('run_ops', 'REVOKE UPDATE ON run FROM app');
($stdout, $stderr) = $split->try("${ids}SET ROLE app;\nUPDATE run SET n = 5 WHERE id = :'n2';\nSELECT n FROM run WHERE id = :'n2';");
like($stderr, qr/ERROR:  42501: permission denied for table run/, 'the rights that the store gives count');
is($stdout, '4', 'and the session goes on');

done_testing();
