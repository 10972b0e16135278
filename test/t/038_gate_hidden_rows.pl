#
# 038_gate_hidden_rows.pl
#	  While the flag is off, the rows of a store are hidden.  If a store is known to
#	  hold rows, the server warns at its start, and each session warns once, without
#	  a query of the store.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $split = TwoClusters->new(store_conf => "log_connections = on\n");
my ($control, $store) = ($split->control, $split->store);
my $ids = 0;

$split->sql(<<'EOT');
CREATE SCHEMA app;
CREATE TABLE app.run (id text COLLATE "C" PRIMARY KEY, n int);
CREATE TABLE app.item (id text PRIMARY KEY, run text COLLATE "C" NOT NULL);
SELECT runops.attach('app.run', 'id');
SELECT runops.attach('app.item', 'run');
SELECT runops.provision('new');
INSERT INTO app.run VALUES ('c000000000000000000000001', 1);
EOT

# An id of the store that was not used before.
sub new_id
{
	return sprintf('0123456789abcdefghijkl%02da1', $ids++);
}

# What is noted, "store table" for each note.
sub notes
{
	return $split->sql(q{SELECT store || ' ' || relation FROM runops.held_rows ORDER BY store, relation::text});
}

# Wait for a line in the control plane's log after the given place.
sub wait_for_log
{
	my ($regex, $offset) = @_;

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if slurp_file($control->logfile, $offset) =~ $regex;
		sleep 0.1;
	}
	return 0;
}

# what writes rows, and stays, leaves a note

is(notes(), '', 'nothing is known at first');
$split->sql("SELECT count(*) FROM app.run; UPDATE app.run SET n = 2; DELETE FROM app.run WHERE id = '" . new_id() . "'");
is(notes(), '', 'statements that write no row to the store leave no note');
$split->sql("BEGIN; INSERT INTO app.run VALUES ('" . new_id() . "', 1); ROLLBACK");
is(notes(), '', 'nor does a transaction that is rolled back');
is($split->store_sql('SELECT count(*) FROM app.run'), '0', 'whose row is not there');
$split->sql(sprintf(<<'EOT', new_id(), new_id()));
BEGIN;
SAVEPOINT s;
INSERT INTO app.run VALUES ('%s', 1);
ROLLBACK TO s;
INSERT INTO app.run VALUES ('%s', 1);
COMMIT;
EOT
is(notes(), 'new app.run', 'a note that is rolled back is made again');
$split->sql("INSERT INTO app.run VALUES ('" . new_id() . "', 1)") foreach 1 .. 2;
$split->sql(sprintf("DO \$\$ BEGIN FOR i IN 1 .. 3 LOOP UPDATE app.run SET n = i; INSERT INTO app.run VALUES (CASE i WHEN 1 THEN '%s' WHEN 2 THEN '%s' ELSE '%s' END); END LOOP; END \$\$",
		new_id(), new_id(), new_id()));
is(notes(), 'new app.run', 'one note is enough');

my $rows = $split->store_sql('SELECT count(*) FROM app.run');

foreach my $case (
	[ 'INSERT' => "INSERT INTO app.run VALUES ('%s', 1)" ],
	[ 'INSERT of several rows' => "INSERT INTO app.run VALUES ('%s', 1), ('c%%024d', 1)" ],
	[ 'COPY' => "COPY app.run FROM STDIN;\n%s\t1\n\\.\n" ],
	[ 'UPDATE' => "UPDATE app.run SET n = n + 1 WHERE n >= 0 AND id <> '%s'" ],
	[ 'UPDATE by the row' => "UPDATE app.run SET n = 1 WHERE random() >= 0 AND id <> '%s'" ],
	[ 'UPDATE with RETURNING in a WITH item' => "WITH u AS (UPDATE runops_new.run SET n = 1 WHERE id <> '%s' RETURNING 1) SELECT count(*) FROM u" ],
	[ 'ANALYZE' => 'ANALYZE app.run -- %s' ])
{
	my ($what, $sql) = @$case;
	my $id = new_id();

	$split->sql('DELETE FROM runops.held_rows');
	$split->sql(sprintf($sql, $id) =~ s/%024d/sprintf('%024d', 100 + $ids)/er);
	is(notes(), 'new app.run', "$what leaves a note");
}

# two who write at the same time do not wait for each other

$split->sql('DELETE FROM runops.held_rows');
my $other = $control->background_psql('postgres');
$other->query("BEGIN; INSERT INTO app.run VALUES ('" . new_id() . "', 1)");
$split->sql("SET statement_timeout = '100s'; SET lock_timeout = '100s'; INSERT INTO app.run VALUES ('" . new_id() . "', 1)");
$other->query('ROLLBACK');
is(notes(), 'new app.run', 'a note does not depend on that of another transaction');
$other->quit;

# the application needs no rights on it, and a hostile search_path does not matter
$split->sql(<<'EOT');
DELETE FROM runops.held_rows;
CREATE ROLE app LOGIN;
GRANT USAGE ON SCHEMA app TO app;
GRANT ALL ON app.run TO app;
CREATE USER MAPPING FOR app SERVER run_ops OPTIONS (user 'postgres', password_required 'false');
EOT
my ($stdout, $stderr) = $split->try("SET search_path = app; INSERT INTO run VALUES ('" . new_id() . "', 1);",
	extra_params => [ '-U', 'app' ]);
is($stderr, '', 'a role without rights on the notes writes');
is(notes(), 'new app.run', 'and leaves one');
is($split->sql(q{SELECT count(*) FROM pg_extension WHERE extname = 'runops' AND 'runops.held_rows'::regclass = ANY (extconfig)}),
	'1', 'notes are in a dump');

# the flag is off

my $warning = qr/WARNING:  (?:01000: )?"runops\.split_enabled" is off, and stores hold rows that no statement finds\n.*DETAIL:  Rows were written to "app\.run" in store "new"\.\n.*HINT:  Set "runops\.split_enabled" to on and restart the server\./;
my $log_offset = -s $control->logfile;
my $store_offset = -s $store->logfile;

$control->append_conf('postgresql.conf', 'runops.split_enabled = off');
$control->restart;
ok(wait_for_log($warning, $log_offset), 'the server warns when it starts');

my $read = 'SELECT count(*) FROM app.run;';
my @cases = (
	[ 'a read', $read ],
	[ 'a read of the other table', 'SELECT count(*) FROM app.item;' ],
	[ 'a write', "UPDATE app.run SET n = 5 WHERE id = 'c000000000000000000000001';" ],
	[ 'a function', "DO 'BEGIN PERFORM * FROM app.run; END';" ],
	[ 'a read without the planner\'s part', "SET runops.enable_routing = off; $read" ],
	[ 'a read of the leaf', 'SELECT count(*) FROM runops_new.run;' ]);

foreach my $case (@cases)
{
	my ($what, $sql) = @$case;

	($stdout, $stderr) = $split->try("SELECT 1;\n\\warn first\n$sql\n\\warn second\n$sql $read");
	like($stderr, qr/^first\n(?:psql:\S* )?$warning[^\n]*(?:\nLOCATION[^\n]*)?\nsecond\n?$/, "$what: the session is warned, once");
}
($stdout, $stderr) = $split->try('SELECT count(*) FROM app.run;', extra_params => [ '-U', 'app' ]);
like($stderr, $warning, 'a role without rights is warned as well');
($stdout, $stderr) = $split->try('SELECT count(*) FROM pg_class; SELECT * FROM runops.status();');
is($stderr, '', 'nobody else is');
is($split->sql(q{SELECT reason FROM runops.status() WHERE item = 'flag'}),
	'The setting "runops.split_enabled" is off, and stores hold rows that no statement finds.', 'status tells it');
like($split->sql('SELECT severity, object, finding FROM runops.doctor()'),
	qr/^error\|store new\|the split is off, so statements do not find the rows of app.run that the store holds$/m, 'doctor names it');
unlike(slurp_file($store->logfile, $store_offset), qr/connection received/, 'nobody has connected to the store');

# back on, and nothing is hidden

$log_offset = -s $control->logfile;
$control->append_conf('postgresql.conf', 'runops.split_enabled = on');
$control->restart;
($stdout, $stderr) = $split->try($read);
is($stderr, '', 'no warning while the flag is on');
cmp_ok($stdout, '>', $rows, 'the rows are there');
unlike($split->sql('SELECT finding FROM runops.doctor()'), qr/the split is off/, 'doctor does not name it any more');

# a note goes with what it is about

$split->sql("INSERT INTO app.item VALUES ('1', '" . new_id() . "')");
is(notes(), "new app.item\nnew app.run", 'a note for each table');
$split->sql(q{SELECT runops.detach('app.item', force => true)});
is(notes(), 'new app.run', 'detach takes that of its table');
unlike(slurp_file($control->logfile, $log_offset), qr/stores hold rows/, 'the server has not warned');
$control->append_conf('postgresql.conf', 'runops.split_enabled = off');
$control->restart;
$split->sql(q{SELECT runops.drop_store('new', force => true)});
is(notes(), '', 'drop_store takes those of its store');
($stdout, $stderr) = $split->try($read);
is($stderr, '', 'and there is nothing to warn of');
$log_offset = -s $control->logfile;
$control->restart;
sleep 2;
unlike(slurp_file($control->logfile, $log_offset), qr/WARNING/, 'nor for the server');

# a store made anew begins without

$control->append_conf('postgresql.conf', 'runops.split_enabled = on');
$control->restart;
$split->sql(q{SELECT runops.add_store('new', 'run_ops')});
is(notes(), '', 'a store that is added begins without');
$split->sql("INSERT INTO app.run VALUES ('" . new_id() . "', 1)");
is(notes(), 'new app.run', 'until a row is written');

done_testing();
