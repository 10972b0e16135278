#
# 034_gate_doors.pl
#	  Every way to reach a store, three times: with the gate open it reaches the
#	  store, with the gate closed it fails with an error that says so, and with the
#	  flag off it finds no rows and opens no connection.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(conf => "runops.database = ''\n", store_conf => "log_connections = on\n");
my ($control, $store) = ($split->control, $split->store);

my $table = 'CREATE TABLE run (id text COLLATE "C" PRIMARY KEY, n int);';

$split->sql(<<"EOT");
$table
CREATE TABLE part (run text COLLATE "C" NOT NULL, v int);
SELECT runops.attach('run', 'id');
SELECT runops.attach('part', 'run');
SELECT runops.provision('new');
CREATE SCHEMA imported;
ALTER FOREIGN TABLE runops_new.run OPTIONS (SET truncatable 'true');
CREATE FOREIGN TABLE estimated (id text COLLATE "C", n int) SERVER run_ops
	OPTIONS (schema_name 'public', table_name 'run', use_remote_estimate 'true');
CREATE FOREIGN TABLE async (id text COLLATE "C", n int) SERVER run_ops
	OPTIONS (schema_name 'public', table_name 'run', async_capable 'true');
CREATE TABLE both_sides (id text COLLATE "C", n int) PARTITION BY LIST (n);
CREATE FOREIGN TABLE both_1 PARTITION OF both_sides FOR VALUES IN (1) SERVER run_ops
	OPTIONS (schema_name 'public', table_name 'run', async_capable 'true');
CREATE FOREIGN TABLE both_2 PARTITION OF both_sides FOR VALUES IN (2) SERVER run_ops
	OPTIONS (schema_name 'public', table_name 'run', async_capable 'true');
EOT

# The same rows before each of the doors.
sub fill
{
	$store->safe_psql('run_ops', <<'EOT');
TRUNCATE run, part;
INSERT INTO run VALUES ('0123456789abcdefghijklmna1', 1), ('0123456789abcdefghijklmnb1', 2);
INSERT INTO part VALUES ('0123456789abcdefghijklmna1', 10);
EOT
	return;
}

# What stands in the store, as text.
sub rows
{
	return $store->safe_psql('run_ops', q{SELECT string_agg(right(id, 2) || '=' || n, ' ' ORDER BY id) FROM run});
}

my $N = q{'0123456789abcdefghijklmna1'};
my $M = q{'0123456789abcdefghijklmnc1'};

# name, SQL, what it prints when the gate is open, the rows then there, and what
# it prints with the flag off: a regular expression for an error
my @doors = (
	[ 'SELECT', "SELECT n FROM run WHERE id = $N", '1', 'a1=1 b1=2', '' ],
	[ 'SELECT of all', 'SELECT sum(n) FROM run', '3', 'a1=1 b1=2', '' ],
	[ 'SELECT FOR UPDATE', "SELECT n FROM run WHERE id = $N FOR UPDATE", '1', 'a1=1 b1=2', '' ],
	[ 'SELECT from the leaf', 'SELECT count(*) FROM runops_new.run', '2', 'a1=1 b1=2', '0' ],
	[ 'a join', "SELECT v FROM run JOIN part ON run = id WHERE id = $N", '10', 'a1=1 b1=2', '' ],
	[ 'a cursor', "BEGIN; DECLARE c CURSOR FOR SELECT n FROM run ORDER BY n; FETCH 1 FROM c; COMMIT", '1', 'a1=1 b1=2', '' ],
	[ 'a generic plan', "SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT n FROM run WHERE id = \$1; EXECUTE p($N)", '1', 'a1=1 b1=2', '' ],
	[ 'INSERT', "INSERT INTO run VALUES ($M, 3)", '', 'a1=1 b1=2 c1=3', qr/ERROR:  RO002/ ],
	[ 'INSERT of several', "INSERT INTO run SELECT i, 3 FROM unnest(ARRAY[$M]) i", '', 'a1=1 b1=2 c1=3', qr/ERROR:  RO002/ ],
	[ 'INSERT into the leaf', "INSERT INTO runops_new.run VALUES ($M, 3)", '', 'a1=1 b1=2 c1=3', qr/ERROR:  RO002/ ],
	[ 'COPY', "COPY run FROM STDIN;\n0123456789abcdefghijklmnc1\t3\n\\.\n", '', 'a1=1 b1=2 c1=3', qr/ERROR:  RO002/ ],
	[ 'UPDATE', "UPDATE run SET n = 7 WHERE id = $N", '', 'a1=7 b1=2', '' ],
	[ 'UPDATE by the row', "UPDATE run SET n = 7 WHERE id = $N AND random() >= 0", '', 'a1=7 b1=2', '' ],
	[ 'UPDATE of all', 'UPDATE run SET n = n + 1', '', 'a1=2 b1=3', '' ],
	[ 'DELETE', "DELETE FROM run WHERE id = $N", '', 'b1=2', '' ],
	[ 'DELETE by the row', "DELETE FROM run WHERE id = $N AND random() >= 0", '', 'b1=2', '' ],
	[ 'TRUNCATE', 'TRUNCATE runops_new.run', '', '', '' ],
	[ 'IMPORT FOREIGN SCHEMA', q{IMPORT FOREIGN SCHEMA public LIMIT TO (part) FROM SERVER run_ops INTO imported; SELECT count(*) FROM pg_class WHERE relnamespace = 'imported'::regnamespace; DROP FOREIGN TABLE imported.part},
		'1', 'a1=1 b1=2', qr/ERROR:  RO002/ ],
	[ 'remote estimates', 'SELECT count(*) FROM estimated WHERE n > 0', '2', 'a1=1 b1=2', '0' ],
	[ 'remote estimates without execution', q{DO 'DECLARE l text; BEGIN FOR l IN EXPLAIN SELECT * FROM estimated ORDER BY id LOOP END LOOP; END'}, '', 'a1=1 b1=2', '' ],
	[ 'an asynchronous scan', 'SELECT count(*) FROM (SELECT id FROM both_sides UNION ALL SELECT id FROM async) x', '6', 'a1=1 b1=2', '0' ],
	[ 'provision', q{SELECT count(*) > 0 FROM runops.provision('new')}, 't', 'a1=1 b1=2', qr/ERROR:  RO002/ ],
	[ 'drop_store', q{SELECT runops.drop_store('new')}, undef, 'a1=1 b1=2', qr/ERROR:  RO002/ ],
	[ 'detach', q{SELECT runops.detach('run')}, undef, 'a1=1 b1=2', qr/ERROR:  RO002/ ],
	[ 'remote_query', q{SELECT runops.remote_query('new', 'SELECT 1 AS one')}, '{"one": 1}', 'a1=1 b1=2', qr/ERROR:  RO002/ ]);

# Run what is behind a door in a session of its own.
sub knock
{
	my ($sql) = @_;
	my ($stdout, $stderr) = $split->try("$sql;");

	# of the warning that hides rows another test speaks
	$stderr =~ s/^(?:psql:\S* )?WARNING:  01000: "runops.split_enabled" is off.*?^LOCATION[^\n]*\n?//msg;
	return ($stdout, $stderr);
}

# open

is($split->sql(q{SELECT verdict FROM runops.recheck('new')}), 'distinct', 'the gate is open');
foreach my $door (@doors)
{
	my ($what, $sql, $prints, $rows) = @$door;

	fill();
	my ($stdout, $stderr) = knock($sql);
	if (defined $prints)
	{
		is($stdout, $prints, "open: $what");
		is($stderr, '', "open: $what: no error");
	}
	else
	{
		# there are rows in the store: it was asked, and refuses
		like($stderr, qr/ERROR:  (?!RO002)[0-9A-Z]{5}: /, "open: $what is refused for another reason");
	}
	is(rows(), $rows, "open: $what: what the store has then");
}
fill();
$split->sql('ANALYZE run');
is($split->sql(q{SELECT reltuples FROM pg_class WHERE oid = 'runops_new.run'::regclass}), '2', 'open: ANALYZE counts the rows');

# closed: the server leads to the control plane itself

$split->sql(sprintf(q{ALTER SERVER run_ops OPTIONS (SET host '%s', SET port '%s', SET dbname 'postgres')}, $control->host, $control->port));
foreach my $door (@doors)
{
	my ($what, $sql) = @$door;

	my ($stdout, $stderr) = knock($sql);
	like($stderr, qr/^(?:psql:\S* )?ERROR:  RO002: cannot access store "[^"]*"(?: of "[^"]*")?: the gate is closed\nDETAIL:  The server is the control plane itself: .*\nHINT:  Use ALTER SERVER/m,
		"closed: $what");
	is($stdout =~ s/^0\n?$//r, '', "closed: $what: prints nothing");
}
my ($stdout, $stderr) = knock('ANALYZE run');
like($stderr, qr/WARNING:  RO002: skipping "run" --- the gate to store "new" is closed/, 'closed: ANALYZE warns');
unlike($stderr, qr/ERROR/, 'closed: ANALYZE succeeds');
is($split->sql(q{SELECT reltuples FROM pg_class WHERE oid = 'runops_new.run'::regclass}), '2', 'closed: statistics stay');
($stdout, $stderr) = knock('EXPLAIN SELECT * FROM run; EXPLAIN UPDATE run SET n = 1; EXPLAIN DELETE FROM run');
is($stderr, '', 'closed: EXPLAIN executes nothing, and raises nothing');
is($split->sql('SELECT count(*) FROM runops_legacy.run'), '0', 'closed: no row has gone elsewhere');
($stdout, $stderr) = knock('SELECT count(*) FROM runops.stores; SELECT item FROM runops.status() LIMIT 1; SELECT severity FROM runops.doctor() LIMIT 1');
is($stderr, '', 'closed: what says so works');
is(rows(), 'a1=1 b1=2', 'closed: the store is as it was');

# a plan from before the gate was closed

$split->sql(sprintf(q{ALTER SERVER run_ops OPTIONS (SET host '%s', SET port '%s', SET dbname 'run_ops'); SELECT runops.recheck()}, $store->host, $store->port));
my $session = $control->background_psql('postgres', on_error_stop => 0);
$session->query(q{SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT n FROM run WHERE id = $1; PREPARE u(text) AS UPDATE run SET n = n WHERE id = $1});
is($session->query("EXECUTE p($N)"), '1', 'a prepared statement');
$session->query("EXECUTE u($N)");
$split->sql(q{ALTER SERVER run_ops OPTIONS (SET dbname 'postgres')});
$split->sql(sprintf(q{ALTER SERVER run_ops OPTIONS (SET host '%s', SET port '%s')}, $control->host, $control->port));
foreach my $name (qw(p u))
{
	$session->{stderr} = '';
	$session->query("EXECUTE $name($N)");
	like($session->{stderr}, qr/the gate is closed/, "closed: a statement prepared before ($name)");
}
$session->quit;

# off

$split->sql(sprintf(q{ALTER SERVER run_ops OPTIONS (SET host '%s', SET port '%s', SET dbname 'run_ops')}, $store->host, $store->port));
$control->append_conf('postgresql.conf', 'runops.split_enabled = off');
$control->restart;
my $offset = -s $store->logfile;
foreach my $door (@doors)
{
	my ($what, $sql, undef, undef, $prints) = @$door;

	($stdout, $stderr) = knock($sql);
	if (ref $prints)
	{
		like($stderr, $prints, "off: $what");
	}
	else
	{
		is($stdout =~ s/^0$//r, $prints =~ s/^0$//r, "off: $what");
		is($stderr, '', "off: $what: no error");
	}
}
($stdout, $stderr) = knock('ANALYZE run');
unlike($stderr, qr/ERROR|RO002/, 'off: ANALYZE');
unlike(slurp_file($store->logfile, $offset), qr/connection received/, 'off: nobody has connected to the store');
is(rows(), 'a1=1 b1=2', 'off: the store is as it was');

done_testing();
