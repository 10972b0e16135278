#
# 061_cascade_size.pl
#	  An environment with 100,000 runs over two stores is deleted in batches, while
#	  another session writes to the same rows and the worker is killed ten times.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $split = TwoClusters->new(conf => "autovacuum = off\nfsync = off\n", store_conf => "autovacuum = off\nfsync = off\nlog_line_prefix = '%p '\n");
my ($control, $store) = ($split->control, $split->store);
my $half = 50_000;

# every batch writes down how many rows it has deleted in legacy, and whether it
# has kept the small environment waiting
$split->sql(<<"EOT");
CREATE TABLE env (id text PRIMARY KEY);
CREATE TABLE run (id text PRIMARY KEY, env text NOT NULL, n int);
CREATE INDEX ON run (env);
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
SELECT runops.add_cascade('env', 'run', 'env');
INSERT INTO env VALUES ('big'), ('small'), ('other');
INSERT INTO runops_legacy.run SELECT 'c' || lpad(i::text, 24, '0'), CASE WHEN i <= $half THEN 'big' WHEN i <= $half + 50 THEN 'small' ELSE 'other' END, 0
	FROM generate_series(1, $half + 100) i;
CREATE TABLE batch (n int GENERATED ALWAYS AS IDENTITY, xid xid8, rows bigint, small_waits boolean);
CREATE FUNCTION note_batch() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS
	'BEGIN
		INSERT INTO batch (xid, rows, small_waits)
			SELECT pg_current_xact_id(), count(*), EXISTS (SELECT FROM runops.cascade_queue WHERE value = ''small'') FROM gone;
		RETURN NULL;
	END';
CREATE TRIGGER note_batch AFTER DELETE ON runops_legacy.run REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_batch();
VACUUM ANALYZE runops_legacy.run;
EOT
$split->store_sql(<<"EOT");
INSERT INTO run SELECT lpad(i::text, 24, '0') || '01', CASE WHEN i <= $half THEN 'big' WHEN i <= $half + 50 THEN 'small' ELSE 'other' END, 0
	FROM generate_series(1, $half + 100) i;
VACUUM ANALYZE run;
EOT

# A writer that goes through the rows of both stores, waiting for whoever has them.
my $writer = $control->background_psql('postgres', on_error_stop => 0);
my $offset = -s $store->logfile;

$writer->query_until(qr/started/, <<"EOT");
\\echo started
DO \$\$
BEGIN
	FOR i IN 1 .. $half LOOP
		CONTINUE WHEN i % 251 <> 0;
		UPDATE runops_legacy.run SET n = n + 1 WHERE id = 'c' || lpad(i::text, 24, '0');
		COMMIT;
		UPDATE runops_new.run SET n = n + 1 WHERE id = lpad(i::text, 24, '0') || '01';
		COMMIT;
	END LOOP;
END
\$\$;
\\echo written
EOT

$split->sql("DELETE FROM env WHERE id = 'big'; DELETE FROM env WHERE id = 'small'");

# kill the worker whenever it has got on
my $watch = $control->background_psql('postgres');
my ($killed, $done, $most) = (0, 0, 0);

foreach (1 .. 3000)
{
	my ($now, $queued) = split /\|/, $watch->query_safe("SELECT coalesce(max(done) FILTER (WHERE object = 'env big'), 0), count(*) FROM runops.progress");

	last if $queued == 0;
	if ($killed < 10 && $now > $done)
	{
		$done = $now;
		$killed += $watch->query_safe("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'runops cleaner'");
	}
	sleep 0.02;
}
cmp_ok($killed, '>=', 10, 'the worker was killed ten times');
is($watch->query_safe('SELECT count(*) FROM runops.progress'), '0', 'and yet it has come to the end');
is($watch->query_safe("SELECT count(*) FILTER (WHERE env IN ('big', 'small')) || ' ' || count(*) FILTER (WHERE env = 'other') FROM run"),
	'0 100', 'nothing is lost, and nobody else has lost anything');

# a batch is a transaction of at most 1000 rows, here and there
is($watch->query_safe('SELECT max(rows) FROM (SELECT sum(rows) AS rows FROM batch GROUP BY xid) x'), '1000', 'no batch has held more than 1000 rows of legacy');
is($watch->query_safe('SELECT sum(rows) FROM batch'), $half + 50, 'each was deleted once');
is($watch->query_safe("SELECT count(*) <= 2 FROM (SELECT n, xid FROM batch WHERE rows <= 50 ORDER BY n LIMIT 1) s JOIN batch b ON b.n < s.n AND b.small_waits"),
	't', 'the small environment has waited for no more than two batches');

my (%rows, @batches);

foreach my $line (split /\n/, slurp_file($store->logfile, $offset))
{
	my ($pid, $statement) = $line =~ /^(\d+) LOG:  (?:statement|execute [^:]*): (.*)/ or next;

	$rows{$pid} += () = $statement =~ /"\(\d+,\d+\)"/g if $statement =~ /^DELETE /;
	if ($statement =~ /^(?:COMMIT|ABORT|ROLLBACK) TRANSACTION/ || $statement =~ /^START TRANSACTION/)
	{
		push @batches, $rows{$pid} if $rows{$pid};
		$rows{$pid} = 0;
	}
}
cmp_ok(scalar(@batches), '>=', $half / 1000, 'the store was cleaned up in batches');
is((sort { $b <=> $a } @batches)[0], 1000, 'of at most 1000 rows');

# the writer gets through, whoever it has met
$writer->query_until(qr/written/, "\n");
is($writer->{stderr}, '', 'a writer has not failed');
$writer->quit;
$watch->quit;

done_testing();
