#
# 076_fdw_locks.pl
#	  Rows of a store that are locked by key: workers that share a queue, the
#	  turns that a statement costs, and what is locked.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

# what a statement does that is not sent as a whole
my $split = TwoClusters->new(relay => 1, conf => "runops.enable_shipping = off\n");
my $relay = $split->relay;
my $id = '0123456789abcdefghij%04dv1';

$split->sql(<<"EOT");
CREATE TYPE state AS ENUM ('PENDING', 'DONE');
CREATE TABLE job (id text PRIMARY KEY, state state NOT NULL, n int);
CREATE TABLE local (n int);
INSERT INTO local VALUES (3), (5);
SELECT runops.attach('job', 'id');
SELECT runops.provision('new');
INSERT INTO job SELECT '0123456789abcdefghij' || lpad(g::text, 4, '0') || 'v1', CASE WHEN g % 10 = 0 THEN 'DONE' ELSE 'PENDING' END::state, g FROM generate_series(1, 1500) g;
INSERT INTO job SELECT 'c0000000000000000000000' || g, 'DONE', -g FROM generate_series(10, 20) g;
ANALYZE job;
EOT
my $first = sprintf $id, 1;
$split->wait_for_proofs;
my $session = $split->control->background_psql('postgres');

sub turns { return $split->turns($session, $_[0]); }

# How many rows of the store nobody has locked.
sub unlocked
{
	return $split->store_sql('SELECT count(*) FROM (SELECT FROM job FOR UPDATE SKIP LOCKED) s');
}

# six workers share a queue

my @workers = map { $split->control->background_psql('postgres') } 1 .. 6;
my $take = "SELECT n FROM job WHERE state = 'PENDING' ORDER BY n LIMIT 10 FOR UPDATE SKIP LOCKED";
my %taken;

foreach my $worker (@workers)
{
	my @rows = split /\n/, $worker->query_safe("BEGIN; $take");

	is(scalar @rows, 10, 'a worker gets ten rows');
	$taken{$_}++ foreach @rows;
}
is(scalar keys %taken, 60, 'no two the same');
is(join(' ', (sort { $a <=> $b } keys %taken)[0, 59]), '1 66', 'and the first ones');
is(unlocked(), 1440, 'no other row is locked');
$_->query_safe('ROLLBACK') foreach @workers;
$_->quit foreach @workers;

# what is locked: [ statements in a transaction, locked rows ]

my @locks = (
	[ "SELECT n FROM job WHERE n > 0 ORDER BY n LIMIT 1 FOR UPDATE", 1 ],
	[ "SELECT n FROM job WHERE n > 0 ORDER BY n LIMIT 3 OFFSET 2 FOR UPDATE", 5 ],
	[ "SELECT n FROM job WHERE n > 0 ORDER BY n LIMIT (SELECT 4) FOR UPDATE", 4 ],
	[ "SELECT n FROM job WHERE n > 0 LIMIT 7 FOR UPDATE", 7 ],
	[ "SELECT n FROM job WHERE state = 'PENDING' LIMIT 7 FOR UPDATE", 7 ],
	[ "SELECT n FROM job WHERE id = '$first' AND state = 'DONE' FOR UPDATE", 1 ],
	[ "SELECT count(*) FROM (SELECT n FROM job WHERE state = 'DONE' AND n > 0 FOR UPDATE) s", 150 ],
	[ "UPDATE job SET n = n WHERE state = 'DONE' AND n > 0", 150 ],
	[ "DELETE FROM job WHERE state = 'DONE' AND n BETWEEN 1 AND 100", 10 ],
	[ "UPDATE job SET n = n WHERE n BETWEEN 1 AND 100 AND n::text LIKE '%7'", 10 ],
	[ "DECLARE c CURSOR FOR SELECT n FROM job WHERE state = 'PENDING' FOR UPDATE; FETCH 2 FROM c; FETCH 3 FROM c", 5 ],
	[ "DECLARE c CURSOR FOR SELECT n FROM job WHERE n > 0 FOR UPDATE; FETCH 2 FROM c; FETCH 3 FROM c", 5 ],
	[ "SELECT n FROM job WHERE state = 'PENDING' LIMIT 2 FOR UPDATE; UPDATE job SET n = n WHERE id = '$first'", 2 ],
	[ 'DO $$DECLARE r record; BEGIN FOR r IN SELECT id FROM job WHERE state = \'PENDING\' ORDER BY n LIMIT 4 FOR UPDATE LOOP UPDATE job SET n = n WHERE id = r.id; END LOOP; END$$', 4 ],
	[ 'DO $$DECLARE r record; BEGIN FOR r IN SELECT id FROM job WHERE n > 0 ORDER BY n LIMIT 4 FOR UPDATE LOOP UPDATE job SET n = n WHERE id = r.id; END LOOP; END$$', 4 ],
	[ 'DO $$DECLARE r record; BEGIN SELECT id INTO r FROM job WHERE state = \'PENDING\' ORDER BY n FOR UPDATE; END$$', 1 ]);

foreach my $mode ('force_custom_plan', 'force_generic_plan')
{
	foreach my $lock (@locks)
	{
		my ($sql, $locked) = @$lock;

		$session->query_safe("SET plan_cache_mode = $mode; BEGIN; $sql");
		is(1500 - unlocked(), $locked, "$mode: rows that are locked: $sql");
		$session->query_safe('ROLLBACK');
	}
}
$session->query_safe('RESET plan_cache_mode');

# turns

foreach my $case (
	[ "UPDATE job SET state = 'DONE' WHERE id = '$first'", '3' ],
	[ "UPDATE job SET n = 1 WHERE id = '$first' AND state = 'DONE'", '3' ],
	[ "UPDATE job SET n = 1 WHERE id = '$first' AND state = 'PENDING'", '2' ],
	[ "SELECT n FROM job WHERE id = '$first' AND state = 'DONE' FOR UPDATE", '2' ],
	[ "SELECT n FROM job WHERE n BETWEEN 1 AND 10 AND state = 'DONE' FOR UPDATE", '3' ],
	[ "UPDATE job SET n = n WHERE n = 20 AND state = 'DONE'", '4' ])
{
	my ($sql, $turns) = @$case;

	turns($sql);
	is(turns($sql), $turns, "$turns turns: $sql");
}

$session->quit;
done_testing();
