#
# 036_xact_readers.pl
#	  A store with a reader: which statements a streaming standby serves, which is
#	  visible because its replay is paused, and the effect of a standby that is lost
#	  or promoted.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $wal = "wal_level = replica\nmax_wal_senders = 5\nlog_connections = on\n";
my $split = TwoClusters->new(conf => "runops.database = ''\n$wal", store_conf => $wal);
my ($control, $store) = ($split->control, $split->store);

my ($new, $new2, $e, $legacy) =
  ('0123456789abcdefghijklmna1', '0123456789abcdefghijklmnb1', '0123456789abcdefghijklmne2', 'c000000000000000000000001');

# Make a standby of a node.
sub standby_of
{
	my ($node, $name) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$node->backup($name);
	$standby->init_from_backup($node, $name, has_streaming => 1);
	$standby->append_conf('postgresql.conf', "shared_preload_libraries = ''\nlog_statement = 'all'\n");
	$standby->start;
	return $standby;
}

# Make a server that leads to a node, with a mapping.
sub server
{
	my ($name, $node, $database, $mapping) = @_;

	$split->sql(sprintf(q{CREATE SERVER %s FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%s', port '%s', dbname '%s')},
			$name, $node->host, $node->port, $database));
	$split->sql("CREATE USER MAPPING FOR CURRENT_USER SERVER $name") if $mapping // 1;
	return;
}

# The rows that a script prints, in one line.
sub rows
{
	my $sql = shift;

	return join ' ', grep { $_ ne '' } split /\n/, $split->sql($sql);
}

# Reads served by readers so far.
sub reader_reads
{
	my $store = shift // 'new';

	return $split->sql("SELECT coalesce(sum(reader_reads), 0) FROM runops.stats WHERE store = '$store'");
}

# the tables, in the control plane and in two databases of the store

my $tables = 'CREATE TABLE run (id text PRIMARY KEY, n int, env text); CREATE TABLE edge (run_id text NOT NULL, name text); CREATE INDEX ON edge (run_id)';

$split->create_server('shard_e', 'run_ops_e');
$split->sql(<<"EOT");
$tables;
CREATE TABLE local (n int);
INSERT INTO run VALUES ('$legacy', 1, 'x');
SELECT runops.drop_store('new', force => true);
EOT
$split->store_sql("$tables; INSERT INTO run VALUES ('$new', 2, 'x'); INSERT INTO edge VALUES ('$new', 'a')");
$store->safe_psql('run_ops_e', "$tables; INSERT INTO run VALUES ('$e', 3, 'x'); INSERT INTO edge VALUES ('$e', 'b')");

my $reader = standby_of($store, 'reader');

server('new_reader', $reader, 'run_ops', 0);
server('e_reader', $reader, 'run_ops_e');
$split->sql(<<'EOT');
SELECT runops.add_store('new', 'run_ops', reader => 'new_reader');
SELECT runops.attach('run', 'id');
SELECT runops.add_store('e', 'shard_e', reader => 'e_reader');
SELECT runops.attach('edge', 'run_id');
EOT

# no mapping for the reader's server

my ($stdout, $stderr) = $split->try("SELECT n FROM run WHERE id = '$new';");
like($stderr, qr/ERROR:  RO002: .*\nDETAIL:  There is no user mapping for server "new_reader" to ask it with\.\nHINT: /,
	'without a mapping for the reader the gate stays closed, and says so');
$split->sql('CREATE USER MAPPING FOR CURRENT_USER SERVER new_reader');

is(rows('SELECT store, verdict, reason FROM runops.recheck() ORDER BY 1, 3'), join(' ',
		map { ("$_|distinct|The reader is a standby of the store's writer.", "$_|distinct|The server is another database: a lock that is held here is free there.") } qw(e new)),
	'both servers of both stores are proved');

$split->sql('CREATE ROLE guest; GRANT SELECT ON run TO guest');
($stdout, $stderr) = $split->try(<<"EOT");
CREATE USER MAPPING FOR guest SERVER run_ops OPTIONS (user 'postgres', password_required 'false');
SET ROLE guest;
SELECT n FROM run WHERE id = '$new';
EOT
like($stderr, qr/ERROR:  42704: user mapping not found for (?:user )?"guest".*\nDETAIL:  Neither the role nor PUBLIC has a user mapping for server "new_reader" of store "new"\.\nHINT:  Use CREATE USER MAPPING/,
	'a role with a mapping for the writer alone is told of the reader');

# who is asked: the reader is held back, and each row differs there

is(rows("SELECT n FROM run WHERE id = '$new'"), '2', 'a read');
$reader->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$reader->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'});
$split->store_sql("UPDATE run SET n = 20; UPDATE edge SET name = 'A'");
$store->safe_psql('run_ops_e', "UPDATE run SET n = 30; UPDATE edge SET name = 'B'");

$split->sql(<<"EOT");
CREATE FUNCTION peek() RETURNS int LANGUAGE sql AS \$\$ SELECT n FROM run WHERE id = '$new' \$\$;
CREATE FUNCTION peek_parallel() RETURNS int STABLE PARALLEL SAFE LANGUAGE plpgsql AS \$\$ BEGIN RETURN (SELECT n FROM run WHERE id = '$new'); END \$\$;
CREATE TABLE many AS SELECT g AS n FROM generate_series(1, 1000) g;
CREATE TABLE computed (x int, n int DEFAULT peek());
CREATE TABLE ruled (n int);
CREATE RULE r AS ON INSERT TO ruled DO ALSO INSERT INTO local SELECT run.n FROM run WHERE id = '$new';
CREATE FUNCTION read_write_read() RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE a int; b int; c int;
BEGIN
	SELECT n INTO a FROM run WHERE id = '$new';
	UPDATE run SET env = 'y' WHERE id = '$new';
	SELECT n INTO b FROM run WHERE id = '$new';
	SELECT n INTO c FROM run WHERE id = '$e';
	RETURN concat_ws(',', a, b, c);
END \$\$;
CREATE FUNCTION local_trigger() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN NEW.n := (SELECT n FROM run WHERE id = '$new'); RETURN NEW; END \$\$;
CREATE TABLE triggered (n int);
CREATE TRIGGER t BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION local_trigger();
CREATE FUNCTION deferred_trigger() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN RAISE NOTICE 'deferred %', (SELECT n FROM run WHERE id = '$new'); RETURN NULL; END \$\$;
CREATE ROLE reader_of_views;
CREATE FUNCTION owned() RETURNS int LANGUAGE sql SECURITY DEFINER AS \$\$ SELECT n FROM run WHERE id = '$new' \$\$;
CREATE VIEW owned_view AS SELECT * FROM run;
GRANT SELECT ON owned_view TO reader_of_views;
CREATE TABLE deferred (n int);
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION deferred_trigger();
EOT

my $one = "SELECT n FROM run WHERE id = '$new'";
my $write = "UPDATE run SET env = 'y' WHERE id = '$new'";

foreach my $case (
	# what, SQL, rows
	[ 'a read by id', $one, '2' ],
	[ 'a read by id of a shard', "SELECT n FROM run WHERE id = '$e'", '3' ],
	[ 'a read of all stores', 'SELECT n FROM run ORDER BY n', '1 2 3' ],
	[ 'without the planner hooks', 'SET runops.enable_routing = off; SELECT n FROM run ORDER BY n', '1 2 3' ],
	[ 'an aggregate', 'SELECT sum(n), count(*) FROM run', '6|3' ],
	[ 'an aggregate that the store computes', "SELECT sum(n) FROM run WHERE id IN ('$new', '$new2')", '2' ],
	[ 'a join that the store computes', "SELECT n, name FROM run JOIN edge ON run_id = id WHERE id = '$new'", '2|a' ],
	[ 'with whole rows of both tables', "SELECT run, edge FROM run JOIN edge ON run_id = id WHERE id = '$new'", qq{("$new",2,x)|($new,a)} =~ s/"//gr ],
	[ 'a join by stores', 'SET enable_partitionwise_join = on; SELECT n, name FROM run JOIN edge ON run_id = id ORDER BY n', '2|a 3|b' ],
	[ 'a sub-select', "SELECT (SELECT n FROM run r WHERE r.id = e.run_id) FROM edge e ORDER BY 1", '2 3' ],
	[ 'a CTE', "WITH x AS MATERIALIZED ($one) SELECT * FROM x, x y", '2|2' ],
	[ 'a set operation', "$one UNION SELECT n FROM run WHERE id = '$e' ORDER BY 1", '2 3' ],
	[ 'a prepared statement', "PREPARE p (text) AS SELECT n FROM run WHERE id = \$1; EXECUTE p ('$new'); EXECUTE p ('$e')", '2 3' ],
	[ 'a generic plan', "SET plan_cache_mode = force_generic_plan; PREPARE p (text) AS SELECT n FROM run WHERE id = \$1; EXECUTE p ('$new'); EXECUTE p ('$e')", '2 3' ],
	[ 'a cursor', "BEGIN; DECLARE c CURSOR FOR SELECT n FROM run ORDER BY n; FETCH ALL FROM c; COMMIT", '1 2 3' ],
	[ 'COPY TO', "COPY ($one) TO STDOUT", '2' ],
	[ 'a function that reads', 'SELECT peek()', '2' ],
	[ 'a view', "CREATE TEMP VIEW v AS SELECT * FROM run; SELECT n FROM v WHERE id = '$new'", '2' ],
	[ 'a read in a transaction that has written to legacy alone', "BEGIN; UPDATE run SET n = 1 WHERE id = '$legacy'; $one; COMMIT", '2' ],
	[ 'a read-only transaction', "BEGIN READ ONLY; $one; COMMIT", '2' ],
	[ 'one with a snapshot of its own', "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; $one; $one; COMMIT", '2 2' ],

	[ 'more than fits into one fetch', "SELECT count(*), sum(x) FROM (SELECT length(r.env) x FROM run r, generate_series(1, 300)) q", '900|900' ],
	[ 'a nested loop into the store', "SET enable_hashjoin = off; SET enable_mergejoin = off; SELECT n FROM unnest('{$new,$e,$legacy}'::text[]) x JOIN run ON id = x ORDER BY n", '1 2 3' ],
	[ 'a security-definer function of another role', "SET ROLE reader_of_views; SELECT owned(); SELECT n FROM owned_view WHERE id = '$new'", '2 2' ],
	[ 'two servers at once', "ALTER SERVER run_ops OPTIONS (ADD async_capable 'true'); ALTER SERVER shard_e OPTIONS (ADD async_capable 'true'); SELECT n FROM run ORDER BY n;
		ALTER SERVER run_ops OPTIONS (DROP async_capable); ALTER SERVER shard_e OPTIONS (DROP async_capable)", '1 2 3' ],
	[ 'a read in a subtransaction', "DO \$\$ BEGIN BEGIN PERFORM 1 / (SELECT n - 2 FROM run WHERE id = '$new'); EXCEPTION WHEN division_by_zero THEN INSERT INTO local ($one); END; END \$\$; SELECT * FROM local; DELETE FROM local", '20' ],
	[ 'a lock that keeps nobody from writing', "BEGIN; LOCK TABLE run IN ACCESS SHARE MODE; $one; COMMIT", '2' ],
	[ 'a remote estimate', "ALTER SERVER run_ops OPTIONS (ADD use_remote_estimate 'true'); $one; ALTER SERVER run_ops OPTIONS (DROP use_remote_estimate)", '2' ],

	# the writer
	[ 'FOR UPDATE', "$one FOR UPDATE", '20' ],
	[ 'FOR SHARE of another table of the statement', "SELECT n FROM run, (SELECT 1 FROM local FOR SHARE) x RIGHT JOIN (SELECT) y ON true WHERE id = '$new'", '20' ],
	[ 'INSERT ... SELECT', "INSERT INTO local $one; SELECT * FROM local; DELETE FROM local", '20' ],
	[ 'UPDATE of a local table by a sub-select', "INSERT INTO local VALUES (0); UPDATE local SET n = ($one); SELECT * FROM local; DELETE FROM local", '20' ],
	[ 'a CTE that writes', "WITH w AS (INSERT INTO local VALUES (7) RETURNING n) SELECT r.n, w.n FROM run r, w WHERE id = '$new'; DELETE FROM local", '20|7' ],
	[ 'CREATE TABLE AS', "CREATE TEMP TABLE t AS $one; SELECT * FROM t", '20' ],
	[ 'SELECT INTO', "SELECT n INTO TEMP t FROM run WHERE id = '$new'; SELECT * FROM t", '20' ],
	[ 'a materialized view', "CREATE MATERIALIZED VIEW m AS $one; SELECT * FROM m; REFRESH MATERIALIZED VIEW m; SELECT * FROM m; DROP MATERIALIZED VIEW m", '20 20' ],
	[ 'a function in a statement that writes', 'INSERT INTO local VALUES (peek()); SELECT * FROM local; DELETE FROM local', '20' ],
	[ 'a trigger', 'INSERT INTO triggered VALUES (0) RETURNING n', '20' ],
	[ 'a trigger of COPY FROM', "COPY triggered FROM STDIN;\n0\n\\.\nSELECT DISTINCT n FROM triggered", '20' ],
	[ 'a default that COPY FROM computes', "COPY computed (x) FROM STDIN;\n0\n\\.\nDELETE FROM computed RETURNING n", '20' ],
	[ 'a column that ALTER TABLE computes', "INSERT INTO computed VALUES (0, 0); ALTER TABLE computed ALTER n TYPE bigint USING peek(); DELETE FROM computed RETURNING n", '20' ],
	[ 'a constraint that is validated', "INSERT INTO local VALUES (20); ALTER TABLE local ADD CONSTRAINT peeked CHECK (n = peek()); ALTER TABLE local DROP CONSTRAINT peeked; DELETE FROM local", '' ],
	[ 'an argument of EXECUTE', 'PREPARE p (int) AS INSERT INTO local VALUES ($1); EXECUTE p (peek()); DELETE FROM local RETURNING n', '20' ],
	[ 'but not of one that reads', 'PREPARE p (int) AS SELECT $1; EXECUTE p (peek())', '2' ],
	[ 'a rule that writes', 'INSERT INTO ruled VALUES (1); DELETE FROM local RETURNING n', '20' ],
	[ 'a worker, which does not know what the leader has done', "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
		SET parallel_leader_participation = off; BEGIN; $write; SELECT DISTINCT peek_parallel() + 0 * n FROM many; COMMIT", '20' ],
	[ 'a transaction that has locked the parent alone', "BEGIN; LOCK TABLE ONLY run IN EXCLUSIVE MODE; $one; COMMIT", '20' ],
	[ 'a transaction that has written', "BEGIN; $one; $write; $one; COMMIT; $one", '2 20 2' ],
	[ 'but not in the other store', "BEGIN; $write; $one; SELECT n FROM run WHERE id = '$e'; COMMIT", '20 3' ],
	[ 'one that has inserted', "BEGIN; INSERT INTO run VALUES ('$new2', 9, 'x'); SELECT n FROM run WHERE id = '$new2'; $one; ROLLBACK", '9 20' ],
	[ 'one that has deleted', "BEGIN; DELETE FROM run WHERE id = '$new'; SELECT count(*) FROM run WHERE id = '$new'; ROLLBACK", '0' ],
	[ 'one that has locked', "BEGIN; SELECT n FROM run WHERE id = '$new' FOR SHARE; $one; COMMIT", '20 20' ],
	[ 'a prepared statement before and after a write', "PREPARE p AS $one; EXECUTE p; BEGIN; $write; EXECUTE p; COMMIT; EXECUTE p", '2 20 2' ],
	[ 'a transaction that has locked the table', "BEGIN; LOCK TABLE run IN SHARE ROW EXCLUSIVE MODE; $one; COMMIT", '20' ],
	[ 'one that has locked another table of the statement', "BEGIN; LOCK TABLE run IN SHARE MODE; SELECT ($one), name FROM edge WHERE run_id = '$new'; COMMIT", '20|A' ],
	[ 'an upsert of one\'s own', "BEGIN; LOCK TABLE run; INSERT INTO local SELECT 1 WHERE NOT EXISTS (SELECT FROM run WHERE n = 20); SELECT count(*) FROM local; ROLLBACK", '0' ],
	[ 'a write in a savepoint', "BEGIN; SAVEPOINT s; $write; $one; RELEASE s; $one; COMMIT", '20 20' ],
	[ 'a write that is undone: what was seen does not go back', "BEGIN; $one; SAVEPOINT s; $write; $one; ROLLBACK TO s; $one; COMMIT; $one", '2 20 20 2' ],
	[ 'a function that reads, writes and reads', 'SELECT read_write_read()', '2,20,3' ],
	[ 'a cursor from before a write goes on where it was', "BEGIN; DECLARE c CURSOR FOR SELECT n FROM run WHERE id IN ('$new', '$new2'); FETCH 1 FROM c; $write; FETCH 1 FROM c; $one; COMMIT", '2 20' ],
	[ 'a read-write transaction with one snapshot', "BEGIN ISOLATION LEVEL REPEATABLE READ; $one; COMMIT", '20' ],
	[ 'a serializable one', "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY; $one; COMMIT", '20' ],
	[ 'EXPLAIN ANALYZE of a write', "BEGIN; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) INSERT INTO local $one; SELECT * FROM local; ROLLBACK",
		qr/ 20$/ ])
{
	my ($what, $sql, $want) = @$case;
	my $got = rows($sql);

	ref $want ? like($got, $want, $what) : is($got, $want, $what);
}

($stdout, $stderr) = $split->try('INSERT INTO deferred VALUES (1);');
like($stderr, qr/deferred 20$/m, 'a trigger that fires at the commit');
($stdout, $stderr) = $split->try("BEGIN; $one; SELECT 1/0; ROLLBACK; $one; INSERT INTO local SELECT 1/0; $one;");
is($stdout =~ s/\n/ /gr, '2 2 2', 'after an error nothing is left over');

# an error inside of a statement that writes, caught outside of it
is(rows("DO \$\$ BEGIN INSERT INTO local SELECT n / 0 FROM run WHERE id = '$legacy'; EXCEPTION WHEN division_by_zero THEN NULL; END \$\$; $one"), '2',
	'nor after one that a function has caught');

# counted

$split->sql('SELECT runops.reset_stats()');
$split->sql("$one; $one; $one FOR UPDATE; SELECT sum(n) FROM run");
is(reader_reads('new') . ' ' . reader_reads('e'), '3 1', 'the reads by each reader are counted');

# nothing reaches the writer

is_deeply([ $split->reached(sub { $split->sql("$one; SELECT count(*) FROM run JOIN edge ON run_id = id WHERE id = '$new'") }) ],
	[], 'a read does not reach the writer at all');

# other sessions do not see what is read here: EXPLAIN connects to neither

my $log = -s $reader->logfile;

$split->sql("EXPLAIN $one");
unlike(slurp_file($reader->logfile, $log), qr/connection received|statement:/, 'EXPLAIN does not reach the reader');

# the writer is down: reads go on

$store->stop('immediate');
is(rows($one), '2', 'the reader serves without the writer');
($stdout, $stderr) = $split->try("$write;");
like($stderr, qr/ERROR:  08001: could not connect to server "run_ops"/, 'a write does not');
$store->start;
is(rows("BEGIN; $write; $one; COMMIT"), '20', 'the writer is back');

# a session that lives through the loss of the reader

my $session = $control->background_psql('postgres', on_error_stop => 0);

is($session->query($one), '2', 'a session has read');
$reader->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$reader->stop('immediate');
$session->query($one);
like($session->{stderr}, qr/could not connect to server "new_reader"|server closed the connection/, 'a lost reader is an error');
$session->{stderr} = '';
($stdout, $stderr) = $split->try("$one; BEGIN; $write; $one; COMMIT; SELECT n FROM run WHERE id = '$legacy';");
like($stderr, qr/ERROR:  08001: could not connect to server "new_reader"/, 'which names the reader');
like($stderr, qr/HINT:  Check .* server "new_reader"/, 'and so does the hint') if $stderr =~ /table "run" in store/;
is($stdout =~ s/\n/ /gr, '20 1', 'writing transactions and legacy reads work');
$reader->start;
$reader->poll_query_until('run_ops', 'SELECT n = 20 FROM run');
is(rows($one), '20', 'the reader is back, and has caught up');
is($session->query($one), '20', 'also for the session that has lost it');

# a reader that was promoted while sessions had it: they keep their connections

is($session->query("$one; SELECT n FROM run WHERE id = '$e'"), "20\n30", 'a session has read again');
$reader->promote;
$reader->safe_psql('run_ops', 'UPDATE run SET n = 666');
$session->query($one);
like($session->{stderr}, qr/the gate is closed.*\n.*The server was proved as a standby, but was promoted later/, 'a promoted reader is not believed');
$session->{stderr} = '';
$session->query("SELECT n FROM run WHERE id = '$e'");
like($session->{stderr}, qr/the gate is closed/, 'nor for the shard');
$session->quit;
($stdout, $stderr) = $split->try("$one; BEGIN; $write; $one; COMMIT;");
like($stderr, qr/ERROR:  RO002: .*\nDETAIL:  The reader is not a standby: it is not in recovery\./, 'which closes the gate');
is($stdout =~ s/\n//gr, '20', 'but not to transactions that write');
like($split->sql(q{SELECT state, reason FROM runops.status() WHERE item = 'read_gate'}), qr/^closed\|.*The reader is not a standby/, 'status() says so');
like($split->sql(q{SELECT severity, finding FROM runops.doctor() WHERE object = 'store new'}), qr/^error\|reader new_reader cannot be used: The reader is not a standby/m,
	'and doctor()');
$reader->stop;

# a standby of another writer

my $stranger = standby_of($control, 'stranger');

$control->safe_psql('postgres', 'CREATE DATABASE run_ops');
$control->wait_for_catchup($stranger);
$split->sql(sprintf(q{ALTER SERVER new_reader OPTIONS (SET host '%s', SET port '%s')}, $stranger->host, $stranger->port));
($stdout, $stderr) = $split->try("$one;");
like($stderr, qr/ERROR:  RO002: .*\nDETAIL:  The reader is not a standby of the store's own writer/, 'a reader of another writer is refused');
$stranger->stop;

# another standby takes its place

my $second = standby_of($store, 'second');

$split->sql(sprintf(q{ALTER SERVER new_reader OPTIONS (SET host '%s', SET port '%s')}, $second->host, $second->port));
is(rows($one), '20', 'another standby of the store may take its place');

# a store gets along without a reader: leaves go and come, rows stay

$split->sql(q{BEGIN; SELECT runops.drop_store('new', force => true); SELECT runops.add_store('new', 'run_ops'); COMMIT});
is(rows($one), '20', 'without a reader the writer is read');
is($split->sql(q{SELECT to_regclass('runops_new.runops_reader') IS NULL}), 't', 'its table is gone');

# the legacy store of this database

my $replica = standby_of($control, 'replica');

server('legacy_reader', $replica, 'postgres');
$split->sql(q{SELECT runops.add_store('legacy', NULL, reader => 'legacy_reader')});
is($split->sql(q{SELECT store, verdict, reason FROM runops.recheck('legacy')}), "legacy|distinct|The reader is a standby of the store's writer.",
	'the reader of legacy is a standby of this database');
$replica->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$replica->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'});
$split->sql("UPDATE run SET n = 10 WHERE id = '$legacy'");
is(rows("SELECT n FROM run WHERE id = '$legacy'"), '10', 'statements read legacy here');
is($split->sql(q{SELECT state FROM runops.status() WHERE item = 'co_residency'}), 'true', 'legacy is still here');
$split->sql(sprintf(q{ALTER SERVER legacy_reader OPTIONS (SET host '%s', SET port '%s')}, $store->host, $store->port));
like($split->sql(q{SELECT verdict, reason FROM runops.recheck('legacy')}), qr/^unknown\|The reader is not a standby/, 'a primary cannot be its reader');
$split->sql(q{SELECT runops.drop_store('legacy')});
is($split->sql(q{SELECT count(*) FROM runops.stores WHERE reader IS NOT NULL AND store = 'legacy'}), '0', 'the reader is taken away');

# the flag is off: no connection is opened, to writers and readers

$split->sql(sprintf(<<'EOT', $second->host, $second->port, $replica->host, $replica->port));
BEGIN;
SELECT runops.drop_store('new', force => true);
SELECT runops.add_store('new', 'run_ops', reader => 'new_reader');
COMMIT;
ALTER SERVER e_reader OPTIONS (SET host '%s', SET port '%s');
ALTER SERVER legacy_reader OPTIONS (SET host '%s', SET port '%s');
SELECT runops.add_store('legacy', NULL, reader => 'legacy_reader');
EOT
my @others = ($store, $second, $replica);

# How many connections each of the others has taken while code runs.
sub connections
{
	my $code = shift;
	my @offsets = map { -s $_->logfile } @others;

	$code->();
	return join ' ', map { scalar(() = slurp_file($others[$_]->logfile, $offsets[$_]) =~ /connection received: /g) } 0 .. $#others;
}

# what the application and an administrator do
my @statements = (
	$one, "SELECT n FROM run WHERE id = '$legacy'", 'SELECT count(*) FROM run JOIN edge ON run_id = id', "$one FOR UPDATE",
	"BEGIN READ ONLY; SELECT * FROM run; COMMIT", "INSERT INTO run VALUES ('$new2', 1, 'x')", "INSERT INTO run VALUES ('c000000000000000000000003', 1, 'x')",
	$write, "DELETE FROM run WHERE id = '$e'", "EXPLAIN SELECT * FROM run", "EXPLAIN ANALYZE SELECT * FROM run", 'ANALYZE', 'ANALYZE run',
	'TRUNCATE edge', 'COPY (SELECT * FROM run) TO STDOUT', 'SELECT * FROM runops.verify()', 'SELECT * FROM runops.doctor()', 'SELECT * FROM runops.status()',
	'SELECT * FROM runops.recheck()', 'SELECT * FROM runops.stats', q{SELECT * FROM runops.provision('new')}, q{SELECT runops.drop_store('e')},
	q{SELECT runops.detach('edge')}, q{SELECT * FROM runops_new.run}, q{IMPORT FOREIGN SCHEMA public FROM SERVER new_reader INTO public},
	q{SELECT runops.drop_store('legacy')});

cmp_ok(connections(sub { $split->sql('SELECT * FROM run') }), 'ne', '0 0 0', 'the flag is on: connections are opened, and counted');
$control->append_conf('postgresql.conf', "runops.split_enabled = off\nrunops.database = 'postgres'");
is(connections(sub {
	$control->restart;
	$split->try(join ";\n", @statements, '');
}), '0 0 0', 'the flag is off: none is, by no statement and by no worker');
($stdout, $stderr) = $split->try("SET client_min_messages = error; $one; SELECT n FROM run WHERE id = '$legacy'; SELECT count(*) FROM run;");
is("$stdout|$stderr" =~ s/\n/ /gr, '10 2|', 'there is one database and no more');

done_testing();
