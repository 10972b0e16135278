#
# 039_session_odd_fdw.pl
#	  With a postgres_fdw whose structs have another layout, the extension does not
#	  read its connections from these structs, and does not read memory of unknown
#	  layout.  It queries a store over a connection of its own each time.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use File::Basename qw(basename dirname);
use File::Path qw(make_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %dir;
my $pg_config = $ENV{PG_CONFIG} // 'pg_config';

foreach my $what (qw(bindir pkglibdir sharedir includedir-server includedir))
{
	chomp($dir{$what} = `'$pg_config' --$what`);
}
my ($cc) = grep { -x } map { ("$_/cc", "$_/gcc", "$_/clang") } split /:/, $ENV{PATH};

plan skip_all => 'there is no C compiler' unless defined $cc;
plan skip_all => 'there are no headers of the server' unless -e "$dir{'includedir-server'}/postgres.h";

# A server that finds everything where the given one does, but for postgres_fdw:
# programs look for files relative to themselves.
my $tree = PostgreSQL::Test::Utils::tempdir();

make_path("$tree$dir{bindir}", "$tree$dir{pkglibdir}", dirname("$tree$dir{sharedir}"));
foreach my $program (qw(postgres initdb pg_ctl psql))
{
	system_or_bail('cp', '-pL', "$dir{bindir}/$program", "$tree$dir{bindir}/");
}
symlink($dir{sharedir}, "$tree$dir{sharedir}") or die "$tree$dir{sharedir}: $!";
foreach my $file (glob("$dir{pkglibdir}/*"))
{
	next if basename($file) =~ /^postgres_fdw\./;
	symlink($file, "$tree$dir{pkglibdir}/" . basename($file)) or die "$file: $!";
}
system_or_bail($cc, '-O1', '-fPIC', '-shared', "-DREAL_POSTGRES_FDW=\"$dir{pkglibdir}/postgres_fdw\"",
	"-I$dir{'includedir-server'}", "-I$dir{includedir}", '-D_GNU_SOURCE',
	'-o', "$tree$dir{pkglibdir}/postgres_fdw.so", "$FindBin::RealBin/../odd_fdw/postgres_fdw.c");
$ENV{PATH} = "$tree$dir{bindir}:$ENV{PATH}";

my $split = TwoClusters->new(relay => 1, conf => "runops.database = ''\n");
my ($control, $store, $relay) = ($split->control, $split->store, $split->relay);
my ($a, $b) = map { "0123456789abcdefghijklmn${_}1" } qw(a b);

$split->sql(<<'EOT');
CREATE TABLE run (id text COLLATE "C" PRIMARY KEY, n int);
CREATE TABLE part (run text COLLATE "C" NOT NULL, v int);
SELECT runops.attach('run', 'id');
SELECT runops.attach('part', 'run');
SELECT runops.provision('new');
INSERT INTO run VALUES ('c000000000000000000000001', 1);
EOT

# everything works

$split->sql("INSERT INTO run VALUES ('$a', 1)");
$split->sql("INSERT INTO run SELECT i, 2 FROM unnest(ARRAY['$b', 'c000000000000000000000002']) i");
$split->sql("ALTER FOREIGN TABLE runops_new.part OPTIONS (ADD batch_size '10'); INSERT INTO runops_new.part SELECT '$a', g FROM generate_series(1, 25) g");
is($split->sql('SELECT count(*), sum(n) FROM run'), '4|6', 'rows of all stores');
is($split->sql("SELECT count(*) FROM run JOIN part ON run = id WHERE id = '$a'"), '25', 'a join');
is($split->sql("UPDATE run SET n = 5 WHERE id = '$a' RETURNING n"), '5', 'a direct UPDATE');
is($split->sql("UPDATE run SET n = n + 1 WHERE id = '$a' AND random() >= 0 RETURNING n"), '6', 'an UPDATE by the row');
is($split->sql("SELECT string_agg(i || ' ' || n, ', ' ORDER BY i) FROM unnest(ARRAY['$a', '$b', '$a']) WITH ORDINALITY u (id, i) JOIN LATERAL (SELECT n FROM run WHERE run.id = u.id) x ON true"),
	'1 6, 2 2, 3 6', 'rescans');
is($split->sql("DELETE FROM run WHERE id = '$b' AND random() >= 0 RETURNING n"), '2', 'a DELETE by the row');
is($split->sql("DELETE FROM part RETURNING 1") =~ tr/1//, 25, 'a direct DELETE');

# each statement is preceded by a question on a connection of our own

my $session = $control->background_psql('postgres', on_error_stop => 0);

$session->query("SELECT n FROM run WHERE id = '$a'");
SKIP:
{
	skip 'there is no /proc', 1 unless -d '/proc/self';
	like(slurp_file('/proc/' . $session->query('SELECT pg_backend_pid()') . '/maps'), qr/\Q$tree$dir{pkglibdir}\E\/postgres_fdw\.so/, 'the odd library is what is used');
}
foreach my $sql ("SELECT n FROM run WHERE id = '$a'", "UPDATE run SET n = 6 WHERE id = '$a'", "UPDATE run SET n = 6 WHERE id = '$a' AND random() >= 0",
	"INSERT INTO run VALUES ('$b', 1)")
{
	$relay->reset;
	$session->query($sql);
	cmp_ok(scalar(grep { /pg_try_advisory_xact_lock/ } $relay->statements), '>=', 1, "asked before: $sql");
	cmp_ok(scalar(grep { !$_->{open} } $relay->connections), '>=', 1, 'on a connection of our own');
}
is($session->{stderr} =~ /ERROR|WARNING/ ? $session->{stderr} : '', '', 'without an error');

# and that notices another database

$relay->target($control->host, $control->port);
$split->sql(q{CREATE DATABASE run_ops});
$control->safe_psql('run_ops', 'CREATE TABLE run (id text PRIMARY KEY, n int)');
foreach my $sql ("SELECT n FROM run WHERE id = '$a'", "INSERT INTO run VALUES ('0123456789abcdefghijklmnc1', 1)", "UPDATE run SET n = 7 WHERE id = '$a'")
{
	$session->{stderr} = '';
	$session->query($sql);
	like($session->{stderr}, qr/cannot access store "new" of "run": the gate is closed\n.*DETAIL:  The server was proved with system identifier/, "another cluster: $sql");
}
is($control->safe_psql('run_ops', 'SELECT count(*) FROM run'), '0', 'nothing has got there');
$relay->target($store->host, $store->port);
$session->{stderr} = '';
is($session->query("SELECT n FROM run WHERE id = '$a'"), '6', 'the store again');
is($session->query(q{SELECT n FROM run WHERE id = 'c000000000000000000000001'}), '1', 'and legacy');
$session->quit;
unlike(slurp_file($control->logfile), qr/terminated by signal|TRAP/, 'no crash');

done_testing();
