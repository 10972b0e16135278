# Without shared_preload_libraries the flag is not known: no store counts as
# empty, and every access to a store raises an error that says what to do.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(preload => 0, store_conf => "log_connections = on\n");
my $offset = -s $split->store->logfile;

$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, n int);
INSERT INTO run VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('run', 'id');
EOT

is($split->sql(q{SELECT runops.store_of('0123456789abcdefghijklmna1')}), 'new',
	'the id functions work');

my %access = (
	'a scan' => 'SELECT count(*) FROM run',
	'a scan of the leaf' => 'SELECT count(*) FROM runops_new.run',
	'a direct UPDATE' => 'UPDATE runops_new.run SET n = 1',
	'a row by row UPDATE' => q{UPDATE runops_new.run SET id = id || '', n = random()},
	'DELETE' => 'DELETE FROM run',
	'INSERT' => q{INSERT INTO run VALUES ('0123456789abcdefghijklmna1', 1)},
	'INSERT into the leaf' => q{INSERT INTO runops_new.run VALUES ('0123456789abcdefghijklmna1', 1)},
	'COPY' => qq{COPY run FROM STDIN;\n0123456789abcdefghijklmna1\t1\n\\.\n},
	'TRUNCATE' => 'TRUNCATE runops_new.run',
	'IMPORT FOREIGN SCHEMA' => 'IMPORT FOREIGN SCHEMA public FROM SERVER run_ops INTO public');

foreach my $how (sort keys %access)
{
	my (undef, $stderr) = $split->try("$access{$how};");

	like($stderr, qr/ERROR:  RO002: cannot access store "(?:new|run_ops)"(?: of "run")?: the gate is closed/,
		"$how is refused");
	like($stderr, qr/DETAIL:  The library "runops" is not in "shared_preload_libraries"\./,
		"$how: the reason");
	like($stderr, qr/HINT:  Add "runops" to "shared_preload_libraries" and restart the server\./,
		"$how: the hint");
}

my ($stdout, $stderr) = $split->try(<<'EOT');
INSERT INTO run VALUES ('c000000000000000000000002', 2) RETURNING n;
SELECT count(*) FROM runops_legacy.run;
EXPLAIN (COSTS OFF) SELECT count(*) FROM runops_new.run;
INSERT INTO runops_new.run SELECT 'x', 1 WHERE false;
EOT
is($stderr, '', 'what touches no store works');
like($stdout, qr/^2\n2\n.*Foreign Scan/s, 'and gives what it should');

($stdout, $stderr) = $split->try('ANALYZE; ANALYZE run;');
unlike($stderr, qr/ERROR/, 'ANALYZE does not fail');
like($stderr, qr/WARNING:  RO002: skipping "run" --- the gate to store "new" is closed/,
	'ANALYZE warns');

# planning must not connect either
$split->sql(q{ALTER SERVER run_ops OPTIONS (ADD use_remote_estimate 'true')});
($stdout, $stderr) = $split->try('EXPLAIN SELECT * FROM run;');
like($stderr, qr/ERROR:  RO002/, 'EXPLAIN with remote estimates is refused');

is(join("\n", grep { /connection received/ } split /\n/, slurp_file($split->store->logfile, $offset)),
	'', 'nobody connected to the store');

done_testing();
