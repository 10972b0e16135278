# Ids of several processes: a child process never generates an id again that its
# parent generated before the fork, and ids of concurrent backends and parallel
# workers do not collide.

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/../..');
my $node = PostgreSQL::Test::Cluster->new('main');

# Run a shell command of the build, or give up.
sub build
{
	my $output = `$_[0] 2>&1`;

	BAIL_OUT("$_[0]: $output") if $? != 0;
	return;
}

# The random parts of ids, by which duplicates are seen even where the times
# differ.
my $tails = <<'EOT';
SELECT right(runops.gen_cuid(), 12),
	encode((runops.parse_id(runops.gen_ksuid())).payload, 'hex'),
	substr(runops.gen_run_ops_id(), 11, 14),
	substr(runops.gen_shard_id('e'), 11, 14),
	encode((runops.parse_id(runops.gen_ksuid('x'))).payload, 'hex'),
	substr(runops.gen_cuid(), 10, 4)
EOT

my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
my ($cc) = split ' ', `$pg_config --cc`;
my $includes = '-I' . $node->config_data('--includedir-server');
my $module = "$PostgreSQL::Test::Utils::tmp_check/prefork.so";

build("$cc -shared -fPIC -Wall -Werror $includes -o '$module' '$top/test/ids/prefork.c'");

$node->init;
$node->append_conf('postgresql.conf', <<"EOT");
shared_preload_libraries = 'runops, $module'
runops.native_realtime_enabled = on
runops.split_enabled = on
max_parallel_workers_per_gather = 2
EOT
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION runops CASCADE');

# before fork
my @before = slurp_file($node->logfile) =~ /generated before fork: (\w+)/g;

is(scalar @before, 3, 'the postmaster has generated ids');

my %before_tails = map { substr($_, -12) => 1 } @before;
my (%seen, $duplicates, $counters);

foreach my $backend (1 .. 8)
{
	my @values = split /\|/, $node->safe_psql('postgres', $tails);

	is(scalar @values, 6, "backend $backend generates ids");

	# the counter is a small number: two may start alike, not all
	$counters->{ pop @values }++;
	$duplicates += $seen{$_}++ foreach @values;
	$duplicates += $before_tails{ substr($_, -12) } // 0 foreach @values;
}
is($duplicates, 0, 'no two backends have the same random part');
cmp_ok(scalar keys %$counters, '>', 1, 'counters start anywhere');

# at once
my $rows = 5000;

$node->safe_psql('postgres', <<'EOT');
CREATE TABLE ids (pid int, n int, id text COLLATE "C");
CREATE TABLE numbers AS SELECT n FROM generate_series(1, 20000) n;
ALTER TABLE numbers SET (parallel_workers = 2);
ANALYZE numbers;
EOT

my @psql = map {
	my ($in, $out, $err) = (<<"EOT", '', '');
INSERT INTO ids SELECT pg_backend_pid(), n, CASE n % 4
	WHEN 0 THEN runops.gen_cuid()
	WHEN 1 THEN runops.gen_ksuid()
	WHEN 2 THEN runops.gen_run_ops_id('e')
	ELSE runops.gen_shard_id('e') END
FROM generate_series(1, $rows) n;
EOT
	{
		harness => IPC::Run::start(
			[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
			'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default)),
		err => \$err
	};
} 1 .. 4;

foreach my $psql (@psql)
{
	ok($psql->{harness}->finish, 'a backend generates many ids') or diag(${ $psql->{err} });
}
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id), count(DISTINCT pid) FROM ids'),
	(4 * $rows) . '|' . (4 * $rows) . '|4',
	'ids of backends that run at once differ');
is( $node->safe_psql('postgres', <<'EOT'),
SELECT count(*) FROM (
	SELECT id, lag(id) OVER (PARTITION BY pid, n % 4 ORDER BY n) AS before FROM ids) o
WHERE id <= before
EOT
	'0',
	'those of each ascend');

# workers, whose processes are as many as the plan has
is( $node->safe_psql('postgres', <<'EOT'),
CREATE FUNCTION pid() RETURNS int LANGUAGE internal PARALLEL SAFE AS 'pg_backend_pid';
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET parallel_leader_participation = off;
SELECT count(*), count(DISTINCT id), count(DISTINCT right(id, 12)), bool_or(pid = pg_backend_pid())
FROM (SELECT runops.gen_cuid() AS id, pid() FROM numbers OFFSET 0) g;
EOT
	'20000|20000|20000|f',
	'ids of parallel workers differ');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal/, 'nothing crashed');

done_testing();
