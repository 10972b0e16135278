#
# 050_reads.pl
#	  Reads by id and by page, and idempotency keys: the statements that each store
#	  gets, the statements that readers serve, and the results when a store is down,
#	  the gate is closed or the flag is off.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $wal = "wal_level = replica\nmax_wal_senders = 5\n";
my $split = TwoClusters->new(conf => "runops.database = ''\nrunops.mint_enabled = on\n$wal", store_conf => $wal);
my ($control, $store) = ($split->control, $split->store);
my ($L, $N, $old) = ('clegacy000000000000000001', '0123456789abcdefghijklmna1', 'ck8rc4pl00000000000000000');

# The rows that a script prints, in one line.
sub rows
{
	my $sql = shift;

	return join ' ', grep { $_ ne '' } split /\n/, $split->sql($sql);
}

# What the store is asked for rows while a script runs, one to a line.
sub asked
{
	my $sql = shift;

	return grep { /^(?:DECLARE|SELECT|UPDATE)/ } $split->reached(sub { $split->sql($sql) });
}

# The SQLSTATEs that a script raises.
sub states
{
	my (undef, $stderr) = $split->try(shift);

	return join ' ', $stderr =~ /^(?:psql:[^\n]*?)?ERROR:  (\w{5}):/mg;
}

$split->sql(<<"EOT");
SET client_min_messages = warning;
CREATE TABLE run (id text PRIMARY KEY, "friendlyId" text UNIQUE, env text, "createdAt" timestamp(3), at timestamptz, key text, status text);
CREATE INDEX ON run (env, "createdAt");
SELECT runops.attach('run', 'id', '{friendlyId}');
SELECT runops.provision('new');
SELECT runops.set_retention('run', '30 days');
SELECT runops.add_idempotency('run', '{env,key}', dead_when => \$\$status = 'FAILED'\$\$);
INSERT INTO run SELECT 'cpage' || lpad(i::text, 20, '0'), NULL, 'e', '2026-01-01'::timestamp + i * interval '1 s' FROM generate_series(1, 20) i;
INSERT INTO run SELECT '0123456789abcdefghijk' || lpad(i::text, 3, '0') || 'a1', NULL, 'e', '2026-01-01'::timestamp + i * interval '1 s' FROM generate_series(1, 300) i;
INSERT INTO run VALUES ('$L', 'run_$L', 'x', '2026-01-01', '2026-01-01 12:00+02', 'k1'), ('$N', 'run_$N', 'x', '2026-01-01', '2026-01-01 12:00+02', 'k2'),
	('odd', 'run_odd', 'x', NULL, NULL, NULL);
EOT

# one statement for one store, and none for the others
my @asked = asked("SELECT runops.read_through('run', '$N')");
is(scalar @asked, 1, 'read_through asks the store of the id once');
like($asked[0], qr/FROM public\.run WHERE .*'\Q$N\E'/s, 'by the id');
is(scalar asked("SELECT runops.read_through('run', '$L')"), 0, 'a legacy id asks no other store');
is(scalar asked("SELECT runops.read_through('run', 'run_$L')"), 0, 'nor does its friendly id');
is(scalar asked("SELECT runops.read_through('run', 'odd')"), 1, 'an odd id asks it once');
is(scalar asked(q{SELECT count(*) FROM runops.read_many('run', (SELECT array_agg(id) FROM run WHERE runops.store_of(id) = 'legacy' AND id <> 'odd'))}), 0,
	'read_many of legacy ids asks no other store');
@asked = asked(q{SELECT count(*) FROM runops.read_many('run', (SELECT array_agg('0123456789abcdefghijk' || lpad(i::text, 3, '0') || 'a1') FROM generate_series(1, 300) i) || 'cpage00000000000000000001'::text)});
is(scalar @asked, 1, 'read_many asks once for 300 ids');
unlike($asked[0], qr/cpage/, 'and only for those that the store can have');

# a page of each store, in order, whether rows were counted or not
foreach my $when ('never analyzed', 'analyzed')
{
	@asked = asked(q{SELECT * FROM runops.read_page('run', '{"env": "e"}', 'createdAt', 5, '{"sort": "createdAt", "order": "desc", "value": "2026-01-01 00:01:00", "key": "x"}')});
	is(scalar @asked, 1, "read_page asks once, $when");
	like($asked[0], qr/ORDER BY "createdAt" DESC.*LIMIT 5\b/s, 'and the store orders and limits');
	$split->sql('ANALYZE run');
}
@asked = asked(q{SELECT * FROM runops.read_page('run', NULL, 'env', 7, '{"sort": "env", "order": "asc", "value": "e", "key": "x"}', false)});
like($asked[0], qr/ORDER BY .*LIMIT 7\b/s, 'texts as well');

# an idempotency key: the family's store first
is(rows(q{SELECT outcome, store FROM runops.find_idempotent('run', '{"env": "x", "key": "k1"}')}), 'hit|legacy', 'a key of legacy');
is(scalar asked(qq{SELECT runops.find_idempotent('run', '{"env": "x", "key": "k1"}', parent => '$L')}), 0, 'found in the family without asking another store');
is(scalar asked(qq{SELECT runops.find_idempotent('run', '{"env": "x", "key": "k1"}', parent => '$N')}), 1, 'and by another family with asking its own');

# readers: a standby of the control plane, and one of the store
foreach my $pair ([ $control, 'control_standby', 'postgres' ], [ $store, 'store_standby', 'run_ops' ])
{
	my ($node, $name, $database) = @$pair;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$node->backup($name);
	$standby->init_from_backup($node, $name, has_streaming => 1);
	$standby->append_conf('postgresql.conf', "shared_preload_libraries = ''\nlog_statement = 'all'\n");
	$standby->start;
	$node->wait_for_catchup($standby, 'replay');
	$split->sql(sprintf(q{CREATE SERVER %s FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%s', port '%s', dbname '%s');
		CREATE USER MAPPING FOR CURRENT_USER SERVER %1$s}, $name, $standby->host, $standby->port, $database));
	$pair->[3] = $standby;
	$split->{standby}{$name} = $standby;
}
$split->sql(q{SELECT runops.add_store('legacy', NULL, reader => 'control_standby')});
my ($control_standby, $store_standby) = @{ $split->{standby} }{qw(control_standby store_standby)};

is(rows("SELECT source FROM runops.read_through('run', '$L')"), 'legacy-replica', 'the reader of legacy serves read_through');
is(rows("SELECT source FROM runops.read_through('run', 'run_$L', '{\"env\": \"x\", \"at\": \"2026-01-01 10:00Z\"}')"), 'legacy-replica', 'by a friendly id and a scope too');
is(rows("SELECT source FROM runops.read_through('run', '$L', '{\"env\": \"y\"}')"), 'not-found', 'which excludes a row');
is(rows(qq{SET timezone = 'Asia/Tokyo'; SELECT a."row" = to_jsonb(r) FROM runops.read_through('run', '$L') a, run r WHERE r.id = '$L'}), 't', 'the row is what it is here');
is(rows("SELECT ord, source FROM runops.read_many('run', '{run_$L,$N,x,odd,$L}')"), '1|legacy-replica 2|new 3|not-found 4|legacy-replica 5|legacy-replica', 'and read_many');
is(rows("BEGIN; UPDATE run SET env = 'mine' WHERE id = '$L'; SELECT source, r.\"row\" ->> 'env' FROM runops.read_through('run', '$L') r; ROLLBACK"), 'legacy|mine',
	'not a transaction that has written to legacy');
$control_standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$split->sql("INSERT INTO run (id, env) VALUES ('cnew000000000000000000001', 'late')");
is(rows("SELECT source FROM runops.read_through('run', 'cnew000000000000000000001')"), 'legacy', 'what the reader does not know is read here');
is(rows("SELECT ord, source FROM runops.read_many('run', '{cnew000000000000000000001,$L}')"), '1|legacy 2|legacy-replica', 'by read_many as well');
is(rows("SELECT source FROM runops.read_through('run', '$old')"), 'past-retention', 'and nothing is missing before it was looked for here');
$control_standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');

# a policy hides rows from the caller, not from the mapping
$split->sql(q{CREATE ROLE reader_role; GRANT SELECT ON run TO reader_role; ALTER TABLE run ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON run TO reader_role USING (env = 'e')});
is(rows("SET ROLE reader_role; SELECT source FROM runops.read_through('run', 'cnew000000000000000000001')"), 'not-found', 'a policy holds, with a reader');
is(rows("SET ROLE reader_role; SELECT source FROM runops.read_through('run', 'cpage00000000000000000001')"), 'legacy', 'because the row is read here');
$split->sql('ALTER TABLE run DISABLE ROW LEVEL SECURITY');

# the reader is down: an error, and not "not-found"
$control_standby->stop('immediate');
like(states("SELECT runops.read_through('run', '$L')"), qr/^(?:08\w{3}|RO002)$/, 'a reader that is down is an error');
$split->sql(q{SELECT runops.drop_store('legacy')});
is(rows("SELECT source FROM runops.read_through('run', '$L')"), 'legacy', 'without a reader it is read here');

# a reader of the store that lags
$split->sql(q{SELECT runops.drop_store('new', force => true); SELECT runops.add_store('new', 'run_ops', reader => 'store_standby')});
is(rows("SELECT source FROM runops.read_through('run', '$N')"), 'new', 'the reader of a store serves it');
$store_standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$split->sql("INSERT INTO run (id, env, key, status) VALUES ('0123456789abcdefghijklmnb1', 'late', 'k3', 'FAILED')");
is(rows("SELECT source FROM runops.read_through('run', '0123456789abcdefghijklmnb1')"), 'new', 'what it does not know is asked of the writer');
is(rows("SELECT ord, source FROM runops.read_many('run', '{0123456789abcdefghijklmnb1,$N}')"), '1|new 2|new', 'by read_many as well');
is(rows(q{SELECT outcome, store FROM runops.find_idempotent('run', '{"env": "late", "key": "k3"}')}), 'cleared|new', 'a key is never looked for in a reader');
is(rows(q{SELECT outcome FROM runops.find_idempotent('run', '{"env": "late", "key": "k3"}')}), 'none', 'nor cleared twice');
$store_standby->stop('immediate');
$split->sql(q{SELECT runops.drop_store('new', force => true); SELECT runops.add_store('new', 'run_ops')});

# what was declared comes with a dump
my ($dump, $restored) = (PostgreSQL::Test::Utils::tempdir() . '/dump.sql', 'restored');

$control->safe_psql('postgres', "CREATE DATABASE $restored");
$control->command_ok([ 'pg_dump', '-f', $dump, '-d', $control->connstr('postgres') ], 'pg_dump');
$control->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $dump, '-d', $control->connstr($restored) ], 'is restored');
is($control->safe_psql($restored, 'SELECT r.relation, r.keep, i.columns, i.dead_when FROM runops.retentions r JOIN runops.idempotency_keys i USING (relation)'),
	q{run|30 days|{env,key}|(status = 'FAILED'::text)}, 'with retention and idempotency keys');

# the store is down: an error, whatever is not found elsewhere
is(rows("SELECT source FROM runops.read_through('run', '$N')"), 'new', 'proved');
$store->stop('immediate');
like(states("SELECT runops.read_through('run', '$N')"), qr/^08\w{3}$/, 'a store that is down is an error');
like(states("SELECT runops.read_through('run', 'odd')"), qr/^08\w{3}$/, 'also for an id that would be found in legacy');
like(states("SELECT runops.read_many('run', '{$L,$N}')"), qr/^08\w{3}$/, 'for read_many');
like(states("SELECT runops.read_page('run', NULL, 'createdAt', 5)"), qr/^08\w{3}$/, 'for read_page');
like(states(q{SELECT runops.find_idempotent('run', '{"env": "x", "key": "nobody"}')}), qr/^08\w{3}$/, 'for a key that nobody may have');
like(states(q{SELECT runops.reset_idempotency('run', '{"env": "x", "key": "k1"}')}), qr/^08\w{3}$/, 'for a reset by key');
is(rows("SELECT source FROM runops.read_through('run', '$L')"), 'legacy', 'a legacy id is read');
is(rows("SELECT source FROM runops.read_through('run', '$old')"), 'past-retention', 'and missed');
is(rows("SELECT runops.reset_idempotency('run', ids => '{$L}')"), '(legacy,1)', 'a reset by a legacy id');
is(rows(q{SELECT runops.idempotency_store()}), 'legacy', 'the gate stands open');

# the gate is closed: the reason, for every id
$control->restart;
foreach my $id ($N, $L, 'odd', $old)
{
	my (undef, $stderr) = $split->try("SELECT runops.read_through('run', '$id')");

	like($stderr, qr/ERROR:  RO002: cannot access store "new" of "run": the gate is closed\n.*DETAIL:  .*run_ops/s, "a closed gate: $id");
}
is(states("SELECT runops.read_many('run', '{$L}'); SELECT runops.read_page('run', NULL, 'createdAt', 5)"), 'RO002 RO002', 'read_many and read_page');
is(states(q{SELECT runops.find_idempotent('run', '{"env": "x", "key": "k1"}'); SELECT runops.reset_idempotency('run', '{"env": "x", "key": "k1"}')}), 'RO002 RO002', 'keys');
is(states("SELECT runops.idempotency_store(); SELECT runops.idempotency_store(parent => '$L')"), 'RO002 RO002', 'the store of a family');
is(rows("SELECT id FROM run WHERE id = '$L'"), $L, 'while SQL reads legacy');

# the flag is off: one database
$store->start;
$control->append_conf('postgresql.conf', 'runops.split_enabled = off');
$control->restart;
my $off = sub {
	is(rows("SELECT source FROM runops.read_through('run', '$L')"), 'legacy', 'flag off: found');
	is(rows("SELECT source FROM runops.read_through('run', 'odd')"), 'legacy', 'flag off: an odd id');
	is(rows("SELECT source FROM runops.read_through('run', '$N')"), 'not-found', 'flag off: an id of another store');
	is(rows("SELECT source FROM runops.read_through('run', '0123456789abcdefghijklmnz2')"), 'not-found', 'flag off: an id of a store that nobody added');
	is(rows("SELECT source FROM runops.read_through('run', '$old')"), 'not-found', 'flag off: retention is no matter');
	is(rows("SELECT ord, source FROM runops.read_many('run', '{$N,$L}')"), '1|not-found 2|legacy', 'flag off: read_many');
	is(rows(q{SELECT count(*) FROM runops.read_page('run', '{"env": "e"}', 'createdAt', 1000)}), '20', 'flag off: read_page');
	is(rows("SELECT runops.idempotency_store(), runops.idempotency_store('org', '$N')"), 'legacy|legacy', 'flag off: the family is legacy');
	is(rows("UPDATE run SET key = 'k9' WHERE id = '$L'; SELECT outcome FROM runops.find_idempotent('run', '{\"env\": \"x\", \"key\": \"k9\"}', parent => '$N')"), 'hit', 'flag off: a key');
	is(rows("SELECT runops.reset_idempotency('run', '{\"env\": \"x\", \"key\": \"k9\"}')"), '(legacy,1)', 'flag off: a reset');
};
is(scalar $split->reached($off), 0, 'flag off: the store hears nothing');

# not preloaded: nothing can be said
$control->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$control->restart;
is(states("SELECT runops.read_through('run', '$L'); SELECT runops.read_many('run', '{$L}'); SELECT runops.read_page('run', NULL, 'env', 1); SELECT runops.idempotency_store()"),
	'RO002 RO002 RO002 RO002', 'not preloaded');

done_testing();
