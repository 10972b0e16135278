#
# 060_cascade_worker.pl
#	  The worker cleans up rows that refer to deleted rows: when it begins and ends,
#	  which statements reach a store, and how it handles a store that is down, a row
#	  that cannot be deleted, and the flag off.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(store_conf => "log_connections = on\nautovacuum = off\n", conf => "autovacuum = off\n");
my ($control, $store) = ($split->control, $split->store);

$split->sql(<<'EOT');
SET runops.cross_store_writes = allow;
CREATE TABLE org (id text PRIMARY KEY);
CREATE TABLE env (id text PRIMARY KEY, org text NOT NULL REFERENCES org ON DELETE CASCADE);
CREATE TABLE run (id text PRIMARY KEY, env text NOT NULL, n int);
CREATE TABLE attempt (id text PRIMARY KEY, run text NOT NULL REFERENCES run ON DELETE RESTRICT, env text);
CREATE TABLE tag (id int PRIMARY KEY, env text);
CREATE INDEX ON run (env);
CREATE INDEX ON attempt (env);
CREATE INDEX ON attempt (run);
CREATE INDEX ON tag (env);
SELECT runops.attach('run', 'id');
SELECT runops.attach('attempt', 'run');
SELECT runops.provision('new');
SELECT runops.add_cascade('env', 'run', 'env');
SELECT runops.add_cascade('env', 'attempt', 'env');
SELECT runops.add_cascade('env', 'tag', 'env', 'set null');
INSERT INTO org SELECT 'o' || i FROM generate_series(1, 20) i;
EOT

# Give an environment runs in both stores, each with an attempt.
sub make_env
{
	my ($env, $runs) = @_;

	$split->sql(<<"EOT");
SET runops.cross_store_writes = allow;
INSERT INTO env VALUES ('$env', 'o1');
INSERT INTO run SELECT 'c' || substr(md5('$env' || i), 1, 24), '$env', i FROM generate_series(1, $runs) i;
INSERT INTO run SELECT substr(md5('$env' || i), 1, 24) || '01', '$env', i FROM generate_series(1, $runs) i;
INSERT INTO attempt SELECT 'a' || id, id, env FROM run WHERE env = '$env';
INSERT INTO tag SELECT hashtext('$env') + i, '$env' FROM generate_series(1, 10) i;
EOT
	return;
}

# What is left of an environment: runs and attempts of each store, and tags.
sub left
{
	my $env = shift;

	return join ' ', map { $split->sql("SELECT count(*) FROM $_ WHERE env = '$env'") } 'runops_legacy.run', 'runops_legacy.attempt', 'tag'
	  if !$store->{_pid};
	return join(' ', map { $split->sql("SELECT count(*) FROM $_ WHERE env = '$env'") } 'runops_legacy.run', 'runops_legacy.attempt', 'tag')
	  . ' | ' . join(' ', map { $split->store_sql("SELECT count(*) FROM $_ WHERE env = '$env'") } 'run', 'attempt');
}

# Wait until nothing is queued.
sub drained
{
	return $control->poll_query_until('postgres', 'SELECT count(*) = 0 FROM runops.progress');
}

# Wait until a query gives what is wanted.
sub until_is
{
	my ($query, $wanted, $name) = @_;

	ok($control->poll_query_until('postgres', $query, $wanted), $name);
	return;
}

# commit wakes it; what is rolled back is nothing to it

make_env('e1', 30);
make_env('sibling', 3);
my @sql = $split->reached(sub { $split->sql("BEGIN; DELETE FROM env WHERE id = 'e1'; ROLLBACK"); });
is(scalar @sql, 0, 'a DELETE of a parent reaches no store');
is($split->sql('SELECT count(*) FROM runops.cascade_task'), '0', 'and leaves nothing when it is rolled back');

@sql = $split->reached(sub { $split->sql("DELETE FROM env WHERE id = 'e1'"); drained(); });
is(left('e1'), '0 0 0 | 0 0', 'the worker cleans up in both stores');
is(left('sibling'), '3 3 10 | 3 3', 'and does not touch the sibling');
my @changes = grep { /\b(?:DELETE|UPDATE) / } @sql;
my @reads = grep { /\bFROM public\./ && !/\bDELETE / } @sql;
is(scalar @changes, 2, 'two statements delete in the store, one for each child');
like($_, qr/ctid = ANY \('\{"\(0,1\)",/, 'by places') foreach @changes;
ok(scalar(@reads) > 0, 'rows are read there');
like($_, qr/ LIMIT \d+/, 'with a limit') foreach @reads;
until_is("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'runops cleaner'", '0', 'the worker ends');
unlike(slurp_file($control->logfile), qr/writes to stores/, 'it is not warned of writing to two stores');

# the index is used even where statistics say that a table is as good as one value
make_env('most', 2000);
$split->sql('ANALYZE runops_legacy.run, runops_legacy.attempt');
$split->store_sql('ANALYZE run, attempt');
foreach my $node ([ $control, 'postgres' ], [ $store, 'run_ops' ])
{
	$node->[0]->safe_psql($node->[1], 'SELECT pg_stat_reset()');
}
$split->sql("DELETE FROM env WHERE id = 'most'");
drained();
until_is("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'runops cleaner'", '0', 'the worker ends');
is($split->sql("SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE schemaname = 'runops_legacy'"), '0', 'legacy is not scanned');
ok($store->poll_query_until('run_ops', "SELECT sum(idx_scan) > 0 FROM pg_stat_user_tables WHERE relname IN ('run', 'attempt')"), 'the index of the store is used');
is($split->store_sql("SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname IN ('run', 'attempt')"), '0', 'the store is not scanned');

# an organization takes its environments along
$split->sql("UPDATE env SET org = 'o2' WHERE id = 'sibling'");
$split->sql("DELETE FROM org WHERE id = 'o2'");
drained();
is(left('sibling'), '0 0 0 | 0 0', 'environments that a foreign key deletes are cleaned up');

# a store that is down keeps its own part waiting, and nobody else's

make_env('e2', 20);
make_env('e3', 20);
$store->stop;
$split->sql("DELETE FROM env WHERE id = 'e2'");
until_is("SELECT phase FROM runops.progress WHERE object = 'env e2'", 'waiting', 'a deleted row waits for the store');
is(left('e2'), '0 0 0', 'legacy is cleaned up meanwhile');
$split->sql("DELETE FROM env WHERE id = 'e3'");
until_is("SELECT phase FROM runops.progress WHERE object = 'env e3'", 'waiting', 'the next one waits too');
is(left('e3'), '0 0 0', 'and is cleaned up in legacy');
like($split->sql(q{SELECT severity || ' ' || finding FROM runops.doctor() WHERE object LIKE 'cascade to %attempt%'}),
	qr/^warning cannot be cleaned up in store "new", for 2 deleted rows: could not connect/, 'doctor() says why');
$control->stop('immediate');
$control->start;
is($split->sql('SELECT count(*) FROM runops.progress'), '2', 'a crash loses nothing');
$store->start;
ok(drained(), 'it goes on when the store is back');
is(left('e2'), '0 0 0 | 0 0', 'nothing is forgotten');
is(left('e3'), '0 0 0 | 0 0', 'of any');

# a row that has to stay

make_env('e4', 20);
make_env('e5', 5);
$split->store_sql(q{CREATE TABLE holder AS SELECT id FROM run WHERE env = 'e4' AND n = 7; ALTER TABLE holder ADD FOREIGN KEY (id) REFERENCES run});
my $offset = -s $control->logfile;
$split->sql("DELETE FROM env WHERE id IN ('e4', 'e5')");
until_is("SELECT string_agg(object || ' ' || phase, ', ') FROM runops.progress", 'env e4 set aside', 'one row is set aside, and the rest goes on');
is(left('e4'), '0 0 0 | 1 0', 'it is the one that others hold');
is(left('e5'), '0 0 0 | 0 0', 'another environment is not held up');
is($split->sql("SELECT total - done FROM runops.progress"), '1', 'one row is left');
$split->sql("SELECT runops.cleanup()");
is(() = slurp_file($control->logfile, $offset) =~ /WARNING:  row \{"id": "[0-9a-f]{24}01"\} of "run" in store "new" could not be cleaned up/g, 1, 'it is logged once');
$split->store_sql('DROP TABLE holder');
is($split->sql("SELECT runops.cleanup()"), '1', 'cleanup() tries it again at once');
is($split->sql('SELECT count(*) FROM runops.progress'), '0', 'and that was all');

# rows that somebody has locked here are passed over

make_env('e6', 20);
my $locker = $control->background_psql('postgres');
$locker->query_safe("BEGIN; SELECT id FROM runops_legacy.attempt WHERE env = 'e6' ORDER BY id LIMIT 1 FOR UPDATE");
$split->sql("DELETE FROM env WHERE id = 'e6'");
until_is("SELECT phase FROM runops.progress", 'waiting', 'a deleted row waits for a lock');
is(left('e6'), '20 1 10 | 0 0', 'what is not locked is gone, and what it hangs on is not');
$locker->query_safe('COMMIT');
$locker->quit;
ok(drained(), 'it goes on when the lock is gone');

# with the flag off legacy is cleaned up, and the store keeps its part for later

make_env('e7', 20);
make_env('e8', 20);
$control->append_conf('postgresql.conf', "runops.split_enabled = off\n");
$control->restart;
my $connections = () = slurp_file($store->logfile) =~ /connection authorized: .*database=run_ops application_name=(?:postgres_fdw|runops)/g;
$split->sql("DELETE FROM env WHERE id = 'e7'");
until_is("SELECT phase FROM runops.progress", 'waiting', 'flag off: a deleted row waits');
is(left('e7'), '0 0 0 | 20 20', 'legacy is cleaned up, the store is not');
is($split->sql('SELECT runops.cleanup()'), '0', 'cleanup() does not reach the store either');
is($split->sql('SELECT count(*) FROM runops.progress'), '1', 'nor does it forget');
like($split->sql(q{SELECT severity || ' ' || finding FROM runops.doctor() WHERE object LIKE 'cascade to %attempt%'}),
	qr/^info cannot be cleaned up in store "new", for a deleted row: The setting "runops.split_enabled" is off/, 'doctor() says why');
is(() = slurp_file($store->logfile) =~ /connection authorized: .*database=run_ops application_name=(?:postgres_fdw|runops)/g, $connections, 'nobody has connected to the store');
$control->append_conf('postgresql.conf', "runops.split_enabled = on\n");
$control->restart;
ok($control->poll_query_until('postgres', 'SELECT runops.cleanup() = 0 AND NOT EXISTS (SELECT FROM runops.progress)'), 'flag on: it is cleaned up');
is(left('e7'), '0 0 0 | 0 0', 'in the store too');
is(left('e8'), '20 20 10 | 20 20', 'and what was not deleted is there');

# where there is no room for a worker, doctor() finds what waits for one

$control->append_conf('postgresql.conf', "max_worker_processes = 2\n");
$control->restart;
$split->sql("INSERT INTO env VALUES ('e10', 'o1'); DELETE FROM env WHERE id = 'e10'");
is($split->sql(q{SELECT count(*) FROM runops.doctor() WHERE object = 'cascades of public.env'}), '0', 'doctor() is patient');
$split->sql("UPDATE runops.cascade_queue SET queued_at = queued_at - interval '1 hour'");
is($split->sql(q{SELECT finding FROM runops.doctor() WHERE object = 'cascades of public.env'}),
	'a deleted row has been queued for ten minutes or more, but no worker has begun', 'but not for ever');
$split->sql('SELECT runops.cleanup()');
$control->append_conf('postgresql.conf', "max_worker_processes = 8\n");

# a dump carries the queue

$control->append_conf('postgresql.conf', "runops.database = ''\n");
$control->restart;
$split->sql("DELETE FROM env WHERE id = 'e8'");
is($split->sql(q{SELECT finding FROM runops.doctor() WHERE object = 'cascades of public.env'}),
	'a deleted row is queued, but no worker cleans up in this database', 'doctor() says that there is no worker');
$split->sql('CREATE DATABASE copy');
my ($out, $err) = run_command([ 'sh', '-c', join(' ', 'pg_dump', '-d', "'" . $control->connstr('postgres') . "'",
			'|', 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', "'" . $control->connstr('copy') . "'") ]);
is($control->safe_psql('copy', 'SELECT object FROM runops.progress'), 'env e8', 'a copy has it in its queue');
is($control->safe_psql('copy', 'SELECT count(*) FROM runops.cascades'), '3', 'and the cascades');
is($control->safe_psql('copy', "DELETE FROM org; SELECT count(*) FROM runops.progress WHERE object <> 'env e8'"), '0', 'with an environment that is gone already');
$split->sql('DROP DATABASE copy');

done_testing();
