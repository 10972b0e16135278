#
# 035_docs.pl
#	  Run the instructions of docs/monitoring.md and docs/turning-off.md: the queries
#	  of the exporters, and the way back to one database.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new;
my $docs = "$FindBin::RealBin/../../docs";
my ($new, $legacy) = ('0123456789abcdefghijklmna1', 'c000000000000000000000001');

$split->sql(<<"EOT");
CREATE TABLE "TaskRun" (id text PRIMARY KEY, n int);
SELECT runops.attach('public."TaskRun"', 'id');
SELECT runops.provision('new');
INSERT INTO "TaskRun" VALUES ('$new', 1), ('$legacy', 2);
CREATE ROLE exporter IN ROLE pg_monitor;
EOT

# the queries, as the role that an exporter has

my $monitoring = slurp_file("$docs/monitoring.md");
my %metrics;

# The names of the columns that a query gives.
sub columns
{
	my $query = shift;

	return split /\|/, (split /\n/, $split->control->safe_psql('postgres', "SET ROLE exporter; $query", extra_params => ['--pset=tuples_only=off', '--pset=footer=off']))[0];
}

while ($monitoring =~ /^(\w+):\n  query: \|\n((?:    .*\n)+)  metrics:\n((?:    - .*\n)+)/mg)
{
	my ($name, $query, $list) = ($1, $2, $3);
	my @named = ($list =~ /^    - (\w+): \{usage: "(?:LABEL|GAUGE|COUNTER)"/mg);

	is_deeply([ columns($query) ], \@named, "$name gives the columns that its metrics name");
	$metrics{"${name}_$_"} = 1 foreach @named;
}
is(scalar(keys %metrics) > 0, 1, 'there are queries for postgres_exporter');

my $collectors = 0;

while ($monitoring =~ /^  - metric_name: (\w+)\n((?:    .*\n)*?)    query: \|\n((?:      .*\n)+)/mg)
{
	my ($name, $head, $query) = ($1, $2, $3);
	my @named = map { split /, / } ($head =~ /^    (?:key_labels|values): \[(.*)\]$/mg);

	is_deeply([ sort(columns($query)) ], [ sort(@named) ], "$name gives the columns that it names");
	$collectors++;
}
is($collectors, 2, 'there are queries for sql_exporter');

my %counters = map { $_ => 1 } split /\n/, $split->sql(q{SELECT attname FROM pg_attribute WHERE attrelid = 'runops.stats'::regclass AND attnum > 2 AND attname <> 'stats_reset'});
# Prometheus wants seconds
my @missing = grep { !$metrics{"runops_stats_$_"} } map { s/^wait_time$/wait_seconds/r } sort keys %counters;

is("@missing", '', 'every counter is a metric');

# alerts rest on metrics that there are
my ($alerts) = $monitoring =~ /^groups:\n(.*?)^```/ms;
my @used = ($alerts =~ /\b(runops_(?:status|stats)_\w+)/g);

cmp_ok(scalar(@used), '>=', 6, 'there are alerts');
is(join(' ', grep { !$metrics{$_} } @used), '', 'they use metrics that there are');

# back to one database: the store still holds a row

my ($stdout, $stderr) = $split->try(q{SELECT runops.drop_store('new');});

like($stderr, qr/ERROR:  RO006: cannot drop store "new" while there are rows/, 'a store that holds rows is not dropped');
unlike($split->sql('SELECT finding FROM runops.doctor()'), qr/holds no row/, 'nor is it said to be empty');
$split->sql(qq{DELETE FROM "TaskRun" WHERE id = '$new'});
like($split->sql(q{SELECT severity, object, finding FROM runops.doctor()}), qr/^info\|store new\|holds no row of a routed table$/m, 'an empty one is said to be');

# and step by step, as it is written

my @steps = (slurp_file("$docs/turning-off.md") =~ /^   ```sql\n((?:   .*\n)+?)   ```/mg);

is(scalar(@steps), 3, 'there are steps');
foreach my $step (@steps)
{
	($stdout, $stderr) = $split->try($step);
	unlike($stderr, qr/ERROR/, 'step: ' . ($step =~ /(\S.*)/)[0]);
}
like($split->sql(q{SELECT finding FROM runops.doctor()}), qr/^is on but has no effect, because no store is configured$/m, 'the flag is said to have no effect');
$split->control->append_conf('postgresql.conf', 'runops.split_enabled = off');
$split->control->restart;
is($split->sql('SELECT count(*) FROM runops.doctor()'), '0', 'off, it is no more');
$split->sql('DROP EXTENSION runops');
$split->control->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$split->control->restart;
is($split->sql('SELECT id FROM "TaskRun"'), $legacy, 'the table is the plain table that it was');

done_testing();
