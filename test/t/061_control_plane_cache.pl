# Properties of the cache of resolvers: it is shared by backends, separate for each
# database, bounded, and empty after a restart, after a crash, or without the flag.
# Also resolvers if the control plane is another database.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use PgWire;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('control');

$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'runops'
runops.split_enabled = on
runops.native_realtime_enabled = on
runops.control_plane_cache_ttl = '1h'
runops.control_plane_cache_max_entries = 2
restart_after_crash = on
autovacuum = off
EOT
$node->start;

my $setup = <<'EOT';
CREATE EXTENSION runops CASCADE;
CREATE SEQUENCE counter MINVALUE 0 START 0;
CREATE TABLE env (id text PRIMARY KEY, org text, v text);
INSERT INTO env SELECT 'e' || i, 'o' || i % 2, current_database() FROM generate_series(1, 9) i;
SELECT runops.add_resolver('env', 'SELECT id, org, v, nextval(''counter'') IS NULL AS c FROM env WHERE id = $1', 'id', 'org');
EOT
$node->safe_psql('postgres', $setup);
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', $setup);

# How often the query of "env" has run in a database.
sub reads
{
	my $dbname = shift // 'postgres';

	return $node->safe_psql($dbname, 'SELECT CASE WHEN is_called THEN last_value + 1 ELSE 0 END FROM counter');
}

# Resolve environments one after the other, each in a backend of its own; how
# often the query has run for them.
sub read_for
{
	my ($dbname, @ids) = @_;
	my $before = reads($dbname);

	$node->safe_psql($dbname, "SELECT runops.resolve('env', '$_')") foreach @ids;
	return reads($dbname) - $before;
}

# A column of the counters.
sub counter
{
	my ($column, $slot, $dbname) = @_;

	return $node->safe_psql($dbname // 'postgres',
		"SELECT $column FROM runops.resolvers WHERE slot = '@{[ $slot // 'env' ]}'");
}

# one cache for all backends, and the databases apart
is(read_for('postgres', 'e1'), 1, 'the first backend reads');
is(read_for('postgres', 'e1', 'e1'), 0, 'others do not');
is(read_for('second', 'e1'), 1, 'another database reads for itself');
is($node->safe_psql('postgres', q{SELECT runops.resolve('env', 'e1') ->> 'v'}), 'postgres', 'its own value');
is($node->safe_psql('second', q{SELECT runops.resolve('env', 'e1') ->> 'v'}), 'second', 'and the other its own');
$node->safe_psql('second', q{SELECT runops.invalidate_environment('e1')});
is(read_for('second', 'e1'), 1, 'invalidated in one database');
is(read_for('postgres', 'e1'), 0, 'and not in the other');

# two entries: the oldest inserted goes first, however often it was asked for
is(read_for('postgres', 'e1', 'e2', 'e1', 'e1'), 1, 'two entries fit');
is(read_for('postgres', 'e3'), 1, 'a third is read');
is(counter('evictions'), 1, 'one gave way');
is(read_for('postgres', 'e2', 'e3'), 0, 'not the second');
is(read_for('postgres', 'e1'), 1, 'but the first');
is(counter('entries'), 2, 'there are two');
# one that was invalidated and read again has a new turn
is(read_for('postgres', 'e3', 'e1'), 0, 'e3 was before e1');
$node->safe_psql('postgres', q{SELECT runops.invalidate_environment('e3')});
is(read_for('postgres', 'e3'), 1, 'e3 is read again');
is(read_for('postgres', 'e4'), 1, 'another');
is(read_for('postgres', 'e3'), 0, 'e3 is the newer one');
# what is expired goes before what is old
$node->safe_psql('postgres', q{SELECT runops.add_resolver('brief', 'SELECT $1 AS id', ttl => '3 s');
	SELECT runops.resolve('brief', 'a'), runops.resolve('brief', 'b')});
is(counter('entries', 'brief'), 2, 'two entries');
$node->safe_psql('postgres', q{SELECT pg_sleep(3.1); SELECT runops.resolve('brief', 'c')});
is(counter('entries || \' \' || evictions', 'brief'), '1 0', 'expired ones are no evictions');

# many keys in many slots: what is kept is bounded
$node->safe_psql('postgres', <<'EOT');
SELECT runops.add_resolver('slot' || i, 'SELECT repeat($1, 100) AS v') FROM generate_series(1, 20) i;
EOT
my $bytes;
foreach my $round (1 .. 3)
{
	$node->safe_psql('postgres', <<'EOT');
SELECT count(runops.resolve('slot' || i, k::text)) FROM generate_series(1, 20) i, generate_series(1000, 1500) k;
SELECT count(runops.invalidate_environment(k::text)) FROM generate_series(1, 100000) k;
EOT
	my $now = $node->safe_psql('postgres', q{SELECT sum(entries) || ' ' || sum(bytes) FROM runops.resolvers WHERE slot LIKE 'slot%'});

	$bytes //= $now;
	is($now, $bytes, "round $round: no more than before");
}
like($bytes, qr/^40 /, 'two of each slot');
$node->safe_psql('postgres', q{SELECT runops.drop_resolver('slot' || i) FROM generate_series(1, 20) i});
is($node->safe_psql('postgres', q{SELECT count(*) FROM runops._resolver_stats() WHERE slot LIKE 'slot%'}), 0, 'and nothing once they are dropped');
# more slots than fit, one after the other
$node->safe_psql('postgres', <<'EOT');
DO $$ BEGIN FOR i IN 1 .. 1500 LOOP
	PERFORM runops.add_resolver('t' || i, 'SELECT $1 AS v');
	PERFORM runops.resolve('t' || i, 'x');
	PERFORM runops.drop_resolver('t' || i);
END LOOP; END $$
EOT
$node->safe_psql('postgres', q{SELECT runops.add_resolver('late', 'SELECT $1 AS v')});
$node->safe_psql('postgres', q{SELECT runops.resolve('late', 'x')}) for 1 .. 2;
is(counter('hits', 'late'), 1, 'dropped slots are used again');
# more at once: the rest is read
$node->safe_psql('postgres', q{SELECT runops.add_resolver('u' || i, 'SELECT $1 AS v') FROM generate_series(1, 1100) i});
is($node->safe_psql('postgres', q{SELECT count(runops.resolve('u' || i, 'x')) + count(runops.resolve('u' || i, 'x')) FROM generate_series(1, 1100) i}), 2200, 'more slots than are cached');
is($node->safe_psql('postgres', q{SELECT sum(entries) > 900 AND count(*) FILTER (WHERE entries IS NULL) > 70 FROM runops.resolvers WHERE slot LIKE 'u%'}), 't', 'some are not cached');
$node->safe_psql('postgres', q{SELECT runops.drop_resolver('u' || i) FROM generate_series(1, 1100) i});

# a database that goes, and one that comes with the same tables
$node->safe_psql('postgres', 'CREATE DATABASE third');
$node->safe_psql('third', $setup);
is(read_for('third', 'e1'), 1, 'a third database');
$node->safe_psql('postgres', 'DROP DATABASE third; CREATE DATABASE third');
$node->safe_psql('third', $setup);
is(read_for('third', 'e1'), 1, 'another of its name');
$node->safe_psql('postgres', 'DROP DATABASE third');
$node->safe_psql('second', 'DROP EXTENSION runops; CREATE EXTENSION runops');
is($node->safe_psql('second', 'SELECT count(*) FROM runops._resolver_stats()'), 0, 'an extension that is dropped takes its slots along');

# a drop that is rolled back costs the cache, and no more
$node->safe_psql('postgres', q{BEGIN; SELECT runops.drop_resolver('env'); ROLLBACK});
is(read_for('postgres', 'e5', 'e5', 'e5'), 1, 'cached again after a drop was rolled back');
my $backend = PgWire->new(host => $node->host, port => $node->port, user => getpwuid($>) . '', dbname => 'postgres');
$backend->query(q{SELECT runops.resolve('env', 'e5')});
$node->safe_psql('postgres', q{BEGIN; SELECT runops.drop_resolver('env'); ROLLBACK});
$backend->query(q{SELECT runops.resolve('env', 'e6')}) for 1 .. 3;
my $hits = counter('hits');
$backend->query(q{SELECT runops.resolve('env', 'e6')});
is(counter('hits'), $hits + 1, 'by a backend that knew the slot, too');
$backend->close;

# the TTL follows the setting
$node->safe_psql('postgres', q{ALTER SYSTEM SET runops.control_plane_cache_ttl = 0; SELECT pg_reload_conf()});
$node->poll_query_until('postgres', q{SELECT current_setting('runops.control_plane_cache_ttl') = '0'});
is(read_for('postgres', 'e8', 'e8'), 2, 'a time of zero caches nothing');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET runops.control_plane_cache_ttl; SELECT pg_reload_conf()});
$node->poll_query_until('postgres', q{SELECT current_setting('runops.control_plane_cache_ttl') = '1h'});

# restart and crash
is(read_for('postgres', 'e1', 'e1'), 1, 'cached');
$node->restart;
is(read_for('postgres', 'e1', 'e1'), 1, 'read again after a restart');
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'});
kill 'KILL', $pid;
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'checkpointer' AND pid <> $pid");
is(read_for('postgres', 'e1', 'e1'), 1, 'and after a crash');
is(read_for('postgres', 'e1'), 0, 'and cached');

# a standby caches too, and forgets it when it is promoted: the writes that it
# replays invalidate nothing
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->safe_psql('postgres', q{SELECT runops.add_resolver('plain', 'SELECT id, v FROM env WHERE id = $1', 'id'); SELECT runops.watch('env', 'id')});
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT runops.resolve('plain', 'e1') ->> 'v'}), 'postgres', 'a standby reads') for 1 .. 2;
is($standby->safe_psql('postgres', q{SELECT hits FROM runops.resolvers WHERE slot = 'plain'}), 1, 'and caches');
$node->safe_psql('postgres', q{UPDATE env SET v = 'new' WHERE id = 'e1'});
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT runops.resolve('plain', 'e1') ->> 'v'}), 'postgres', 'until its time is up');
$standby->promote;
is($standby->safe_psql('postgres', q{SELECT runops.resolve('plain', 'e1') ->> 'v'}), 'new', 'or it is promoted');
$standby->stop;

# a run-ops database whose control plane is another one: resolvers alone, over
# foreign tables
$node->safe_psql('postgres', 'CREATE DATABASE moved TEMPLATE template0; CREATE DATABASE run_ops');
$node->safe_psql('moved', $setup =~ s/^.*runops.*$//mgr);
$node->safe_psql('run_ops', sprintf(<<'EOT', $node->host, $node->port));
CREATE EXTENSION runops CASCADE;
CREATE SERVER control_plane FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%s', port '%s', dbname 'postgres');
CREATE USER MAPPING FOR CURRENT_USER SERVER control_plane;
CREATE FOREIGN TABLE env (id text, org text, v text) SERVER control_plane;
SELECT runops.add_resolver('env', 'SELECT * FROM env WHERE id = $1', 'id', 'org');
EOT
my ($one, $two) = map {
	PgWire->new(host => $node->host, port => $node->port, user => getpwuid($>) . '', dbname => 'run_ops')
} 1 .. 2;

# The environment's row in that database, as a session sees it.
sub value
{
	my ($session, $id) = @_;
	my $result = ($session->query("SELECT runops.resolve('env', '$id') ->> 'v'"))[-1];

	die $result->{error}{M} if $result->{error};
	return $result->{rows}[0][0];
}

is(value($_, 'e2'), 'postgres', 'read over a foreign table') foreach $one, $two, $one;
is(counter('hits || \' \' || misses', 'env', 'run_ops'), '2 1', 'and cached');
$node->safe_psql('postgres', q{UPDATE env SET v = 'newer' WHERE id = 'e2'});
is(value($_, 'e2'), 'postgres', 'the control plane does not reach this cache') foreach $one, $two;
$node->safe_psql('run_ops', q{SELECT runops.invalidate_environment('e2')});
is(value($_, 'e2'), 'newer', 'an invalidation does') foreach $one, $two;
# a transaction that looks at the control plane as it was before
$one->query(q{BEGIN; SELECT count(*) FROM env});
$node->safe_psql('postgres', q{UPDATE env SET v = 'newest' WHERE id = 'e2'});
$node->safe_psql('run_ops', q{SELECT runops.invalidate_environment('e2')});
value($one, 'e2');
is(value($two, 'e2'), 'newest', 'what an older transaction has read is not kept');
$one->query('COMMIT');
is(value($one, 'e2'), 'newest', 'nor seen by it afterwards');
# the control plane moves, while a transaction is connected to the old one
is(value($_, 'e3'), 'postgres', 'before it moves') foreach $one, $two;
$one->query(q{BEGIN; SELECT count(*) FROM env});
$node->safe_psql('run_ops', q{ALTER SERVER control_plane OPTIONS (SET dbname 'moved')});
value($one, 'e3');
is(value($two, 'e3'), 'moved', 'ALTER SERVER invalidates what was read through it');
$one->query('COMMIT');
is(value($_, 'e3'), 'moved', 'and keeps nothing of a transaction that was connected') foreach $one, $two;
# rolled back
$node->safe_psql('run_ops', q{BEGIN; ALTER SERVER control_plane OPTIONS (SET dbname 'postgres'); ROLLBACK});
my $misses = counter('misses', 'env', 'run_ops');
is(value($two, 'e3'), 'moved', 'an ALTER SERVER that is rolled back');
is(counter('misses', 'env', 'run_ops'), $misses, 'changes nothing');
# writes through the foreign table itself
$node->safe_psql('run_ops', q{SELECT runops.watch('env', 'id')});
is(value($_, 'e4'), 'moved', 'before a write') foreach $one, $two;
$one->query(q{BEGIN; UPDATE env SET v = 'written' WHERE id = 'e4'});
is(value($one, 'e4'), 'written', 'the writer sees it');
is(value($two, 'e4'), 'moved', 'another does not');
$one->query('ROLLBACK');
is(value($_, 'e4'), 'moved', 'after a rollback') foreach $one, $two;
$one->query(q{UPDATE env SET v = 'written' WHERE id = 'e4'});
is(value($_, 'e4'), 'written', 'after a commit') foreach $one, $two;
$node->safe_psql('run_ops', q{SELECT runops.unwatch('env')});
is(value($_, 'e5'), 'moved', 'not watched any more') foreach $one, $two;
$one->query(q{BEGIN; DELETE FROM env WHERE id = 'e5'});
$node->safe_psql('run_ops', q{SELECT runops.invalidate_environment('e5')});
is(value($one, 'e5'), undef, 'a row that this transaction has deleted');
is(value($two, 'e5'), 'moved', 'is not cached as absent');
$one->query('ROLLBACK');
# and those that no trigger tells of on every server
is(value($_, 'e6'), 'moved', 'before TRUNCATE') foreach $one, $two;
$one->query(q{BEGIN; TRUNCATE env; ROLLBACK});
is(value($two, 'e6'), 'moved', 'TRUNCATE rolled back');
$one->query('TRUNCATE env');
is(value($_, 'e6'), undef, 'TRUNCATE of the foreign table') foreach $one, $two;
$node->safe_psql('moved', q{INSERT INTO env VALUES ('e3', 'o1', 'moved')});
$node->safe_psql('run_ops', q{SELECT runops.invalidate_environment('e3')});

# the same for a routed table, written by a statement that is sent to its store as a whole
my $moved = '0123456789abcdefghijklmna1';

$node->safe_psql('postgres', 'CREATE DATABASE store');
$node->safe_psql('second', sprintf(<<'EOT', $node->host, $node->port, $moved));
CREATE SERVER store FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%s', port '%s', dbname 'store');
CREATE USER MAPPING FOR CURRENT_USER SERVER store;
SELECT runops.add_store('new', 'store');
CREATE TABLE moved (id text PRIMARY KEY, v text);
SELECT runops.attach('moved', 'id');
SELECT runops.provision('new');
INSERT INTO moved VALUES ('%s', 'far');
SELECT runops.add_resolver('moved', 'SELECT id, v FROM moved WHERE id = $1');
EOT
my ($writer, $reader) = map {
	PgWire->new(host => $node->host, port => $node->port, user => getpwuid($>) . '', dbname => 'second')
} 1 .. 2;
my $look = "SELECT runops.resolve('moved', '$moved') ->> 'v'";

like(join("\n", map { $_->[0] } @{ ($writer->query("EXPLAIN DELETE FROM moved WHERE id = '$moved'"))[-1]{rows} }), qr/Sent to Store/, 'a statement that is sent');
$writer->query("BEGIN; DELETE FROM moved WHERE id = '$moved'");
is(($writer->query($look))[-1]{rows}[0][0], undef, 'what this transaction has deleted in a store');
is(($reader->query($look))[-1]{rows}[0][0], 'far', 'is not cached as absent either');
$writer->query('ROLLBACK');

# a user mapping
$node->safe_psql('run_ops', q{ALTER USER MAPPING FOR CURRENT_USER SERVER control_plane OPTIONS (ADD user 'nobody_knows')});
my $result = ($one->query(q{SELECT runops.resolve('env', 'e3')}))[-1];
like($result->{error}{M} // 'no error', qr/could not connect to server "control_plane"/, 'ALTER USER MAPPING does, too');
$node->safe_psql('run_ops', q{ALTER USER MAPPING FOR CURRENT_USER SERVER control_plane OPTIONS (DROP user)});
is(value($two, 'e3'), 'moved', 'and back');
$_->close foreach $one, $two;

# the flag off, and not preloaded: always read
foreach my $how ('runops.split_enabled = off', "shared_preload_libraries = ''")
{
	$node->append_conf('postgresql.conf', $how);
	$node->restart;
	is(read_for('postgres', 'e1', 'e1', 'e1'), 3, "$how: each call reads");
	my $before = reads();
	$node->safe_psql('postgres', q{SELECT runops.resolve('env', 'e1'), runops.resolve('env', 'e1')});
	is(reads() - $before, 2, "$how: in one backend, too");
	is(counter('hits'), '', "$how: nothing is counted");
	$node->safe_psql('postgres', <<'EOT');
UPDATE env SET v = v;
TRUNCATE env;
SELECT runops.invalidate_environment('e1'), runops.invalidate_organization('o1');
EOT
	pass("$how: watches and invalidations do no harm");
	$node->safe_psql('postgres', q{INSERT INTO env SELECT 'e' || i, 'o', 'v' FROM generate_series(1, 9) i});
}

$node->stop;
done_testing();
