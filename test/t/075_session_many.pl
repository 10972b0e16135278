#
# 075_session_many.pl
#	  Many sessions change the same rows of a store at once, one statement in a
#	  transaction: none of them fails, and no change is lost, as on a plain table.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use Test::More;

my $split = TwoClusters->new(conf => "runops.database = ''\n");
my $control = $split->control;
my $id = '0123456789abcdefghijklmna1';

$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, status text, n int);
CREATE TABLE taken (n int);
SELECT runops.attach('run', 'id');
EOT
$split->sql(q{SELECT runops.provision('new')});
$split->sql("INSERT INTO run VALUES ('$id', 'ONE', 0), ('clegacy000000000000000001', 'ONE', 0)");

# Run a script in many sessions; none of them may fail.
sub many
{
	my ($sessions, $times, $what, $script) = @_;

	$control->pgbench("--no-vacuum --client=$sessions --transactions=$times --protocol=" . ($what =~ /prepared/ ? 'prepared' : 'simple'),
		0, [qr/processed: @{[ $sessions * $times ]}\/@{[ $sessions * $times ]}/], [qr/^$/],
		$what, { '075_' . ($what =~ s/\W+/_/gr) => $script });
	return;
}

foreach my $case (
	[ 'increments of one row', "UPDATE run SET n = n + 1 WHERE id = '$id';" ],
	[ 'prepared increments of one row', "UPDATE run SET n = n + 1 WHERE id = '$id';" ],
	[ 'increments of one row that is fetched first', "UPDATE run SET n = n + 1 WHERE id = '$id' AND random() >= 0;" ],
	[ 'increments of one row in a transaction with others', "BEGIN;\nUPDATE run SET n = n + 1 WHERE id = '$id';\nSELECT count(*) FROM run;\nCOMMIT;" ],
	[ 'increments of one row that is locked first', "BEGIN;\nSELECT n + 1 AS next FROM run WHERE id = '$id' FOR UPDATE \\gset\nUPDATE run SET n = :next WHERE id = '$id';\nCOMMIT;" ])
{
	$split->sql('UPDATE run SET n = 0');
	many(20, 10, @$case);
	is($split->sql("SELECT n FROM run WHERE id = '$id'"), '200', "$case->[0]: none is lost");
}

# several sessions take rows that wait, and no row is taken twice
foreach my $case (
	[ 'UPDATE by status', "UPDATE run SET status = 'DONE' WHERE status = 'PENDING' AND n % 7 = :k RETURNING n" ],
	[ 'prepared UPDATE by status', "UPDATE run SET status = 'DONE' WHERE status = 'PENDING' AND n % 7 = :k RETURNING n" ],
	[ 'DELETE by status', "DELETE FROM run WHERE status = 'PENDING' AND n % 7 = :k RETURNING n" ])
{
	$split->sql("DELETE FROM run WHERE status <> 'ONE'; TRUNCATE taken;
		INSERT INTO run SELECT '0123456789abcdefghijkl' || lpad(g::text, 2, '0') || 'a1', 'PENDING', g FROM generate_series(1, 99) g");
	many(10, 20, $case->[0], "\\set k random(0, 6)\nWITH t AS ($case->[1]) INSERT INTO taken SELECT n FROM t;");
	is($split->sql('SELECT count(*) = count(DISTINCT n) FROM taken'), 't', "$case->[0]: no row is taken twice");
	is($split->sql("SELECT (SELECT count(*) FROM taken) + count(*) FROM run WHERE status = 'PENDING'"), '99', "$case->[0]: and none is lost");
	is($split->sql("SELECT (SELECT count(*) FROM taken) > 90"), 't', "$case->[0]: they were taken");
}

done_testing();
