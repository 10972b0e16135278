#
# 074_fdw_collations.pl
#	  Collations that differ between hosts.  A reader with others than its writer's
#	  serves no statement, because a plan is made for those of the writer.  If those
#	  of the writer change, no session uses a plan that was made before.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use FakeStore;
use PgWire;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $new_id = '0123456789abcdefghijklmna1';
my $node = PostgreSQL::Test::Cluster->new('control');
my $reader;

END { local $?; $reader->stop if $reader; }

$node->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'runops'
runops.split_enabled = on
runops.native_realtime_enabled = on
runops.database = ''
EOT
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE store');
$node->safe_psql('postgres', q{CREATE DATABASE moved TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'und'});
foreach my $database ('store', 'moved')
{
	$node->safe_psql($database, 'CREATE TABLE run (id text PRIMARY KEY, n int, name text)');
	$node->safe_psql($database, "INSERT INTO run VALUES ('$new_id', 1, 'a'), ('0123456789abcdefghijklmnb1', 2, 'B')");
}

# it tells that it is a standby of the store, but other hashes of its collations
$reader = FakeStore->start(recovery => 1, dbname => 'store', sysid => $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'));
$node->safe_psql('postgres', $_) foreach (
	'CREATE EXTENSION runops CASCADE',
	sprintf(q{CREATE SERVER writer FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%s', port '%s', dbname 'store')}, $node->host, $node->port),
	sprintf(q{CREATE SERVER reader FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%s', port '%s', dbname 'store')}, $reader->host, $reader->port),
	'CREATE USER MAPPING FOR CURRENT_USER SERVER writer',
	q{CREATE USER MAPPING FOR CURRENT_USER SERVER reader OPTIONS (user 'nobody')},
	q{SELECT runops.add_store('new', 'writer', reader => 'reader')},
	'CREATE TABLE run (id text PRIMARY KEY, n int, name text)',
	q{SELECT runops.attach('run', 'id')});
is($node->safe_psql('postgres', q{SELECT verdict FROM runops.recheck('new')}), "distinct\ndistinct", 'the reader is proved');

foreach my $sql ("SELECT n FROM run WHERE id = '$new_id'", "SELECT min(n) FROM run WHERE id > '0'")
{
	$reader->behave;
	is($node->safe_psql('postgres', $sql), '1', "the writer serves: $sql");
	is(scalar(grep { /^(?:DECLARE|FETCH)/ } $reader->statements), 0, 'the reader is not asked for rows');
}
is($node->safe_psql('postgres', 'SELECT sum(reader_reads) FROM runops.stats'), '0', 'none is counted');

# a session that has planned for the collations of the writer, and one that finds others
sub session { return PgWire->new(host => $node->host, port => $node->port, user => scalar getpwuid($>), dbname => 'postgres'); }
my ($first, $second) = (session(), session());

sub names { return join(',', map { $_->[0] } @{ $_[0]->do($_[1]) }); }

$_->do('SET plan_cache_mode = force_generic_plan') foreach $first, $second;
$first->do('PREPARE sorted (text) AS SELECT name FROM runops_new.run WHERE name < $1 ORDER BY name');
is(names($first, q{EXECUTE sorted ('z')}), 'B,a', 'the store sorts');
like($node->safe_psql('postgres', 'EXPLAIN VERBOSE SELECT name FROM runops_new.run ORDER BY name'), qr/Remote SQL: .* ORDER BY/, 'it is asked to');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname IN ('store', 'moved')});
$node->safe_psql('postgres', 'ALTER DATABASE store RENAME TO before');
$node->safe_psql('postgres', 'ALTER DATABASE moved RENAME TO store');

$first->do('BEGIN');
$first->do('SELECT 1');
ok(!eval { $second->do('SELECT name FROM runops_new.run ORDER BY name'); 1 }, 'the session that finds other collations gets an error');
is(names($second, 'SELECT name FROM runops_new.run ORDER BY name'), 'B,a', 'and none when it repeats the statement');
ok(!eval { $first->do(q{EXECUTE sorted ('z')}); 1 }, 'a transaction that is older gets an error');
$first->do('ROLLBACK');
is(names($first, q{EXECUTE sorted ('z')}), 'B,a', 'the plan of another session is made again');
unlike($node->safe_psql('postgres', 'EXPLAIN VERBOSE SELECT name FROM runops_new.run ORDER BY name'), qr/Remote SQL: .* ORDER BY/, 'it sorts here');

$node->stop;
done_testing();
