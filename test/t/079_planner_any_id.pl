#
# 079_planner_any_id.pl
#	  A prepared statement is planned once for the ids of all stores.
#
# pg_stat_statements counts how often a statement is planned, and auto_explain
# logs the plan that was executed.  It is loaded after runops, so that it sees every
# plan that is made.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(
	relay => 1,
	conf => <<'CONF');
shared_preload_libraries = 'runops, pg_stat_statements, auto_explain'
pg_stat_statements.track = all
pg_stat_statements.track_planning = on
runops.enable_shipping = on
CONF

# ids of legacy, of two stores, and of no known shape
my ($l, $n, $b, $odd) = ('c00000000000000000000run1', '0123456789abcdefghijklmn01', '0123456789abcdefghijklmnb2', 'odd');
my @ids = ($l, $n, $b, $odd);

$split->create_server('second', 'second');
$split->sql(<<"SQL");
CREATE EXTENSION pg_stat_statements;
SELECT runops.add_store('b', 'second');
CREATE TABLE run (id text PRIMARY KEY, "friendlyId" text UNIQUE, env text NOT NULL, n int);
CREATE TABLE attempt (id text PRIMARY KEY, run_id text NOT NULL, no int, UNIQUE (run_id, no));
SELECT runops.attach('run', 'id', '{friendlyId}');
SELECT runops.attach('attempt', 'run_id');
SELECT runops.provision('new');
SELECT runops.provision('b');
INSERT INTO run VALUES ('$l', 'run_$l', 'e', 1), ('$n', 'run_$n', 'e', 2), ('$b', 'run_$b', 'e', 3);
INSERT INTO attempt SELECT id || 'a' || g, id, g FROM run, generate_series(1, 3) g;
ANALYZE run, attempt;
SQL
$split->wait_for_proofs;
my $session = $split->control->background_psql('postgres', on_error_stop => 0);

# How often statements whose text has a mark were planned so far.
sub plans
{
	my ($mark) = @_;

	return $split->sql("SELECT coalesce(sum(plans), 0) FROM pg_stat_statements WHERE query LIKE '%$mark%' AND query NOT LIKE '%pg_stat_statements%' AND query !~ '^(EXPLAIN|EXECUTE|CREATE)'");
}

sub run
{
	my ($sql) = @_;

	$session->{stderr} = '';
	my $out = $session->query($sql);

	return join("\n", grep { $_ ne '' } $out, $session->{stderr} =~ /ERROR:  [^\n]*/g);
}

# A new id of the same store.
my $made = 0;

sub new_id
{
	my ($like) = @_;

	$made++;
	return $like eq $odd ? "odd$made" : substr($like, 0, 12) . sprintf('%06d', $made) . substr($like, 18);
}

# [ name, types, statement with the mark, arguments for an id, result for each id ]
my @cases = (
	[ 'equal', 'text', 'SELECT /* any1 */ n FROM run WHERE id = $1', sub { "'$_[0]'" }, '1', '2', '3', '' ],
	[ 'alias', 'text', 'SELECT /* any2 */ n FROM run WHERE "friendlyId" = $1', sub { "'run_$_[0]'" }, '1', '2', '3', '' ],
	[ 'list', 'text[]', 'SELECT /* any3 */ n FROM run WHERE id = ANY ($1)', sub { "'{$_[0],$_[0]}'" }, '1', '2', '3', '' ],
	[ 'elements', 'text, varchar', 'SELECT /* any4 */ n FROM run WHERE id IN ($1, $2)', sub { "'$_[0]', '$_[0]'" }, '1', '2', '3', '' ],
	[ 'coalesced', 'text, text', 'SELECT /* any5 */ n FROM run WHERE id = COALESCE($1, $2)', sub { "NULL, '$_[0]'" }, '1', '2', '3', '' ],
	[ 'joined', 'text', 'SELECT /* any6 */ r.n, a.no FROM run r JOIN attempt a ON a.run_id = r.id WHERE r.id = $1 AND a.no = 2', sub { "'$_[0]'" }, '1|2', '2|2', '3|2', '' ],
	[ 'nested', 'text', 'SELECT /* any7 */ n, (SELECT max(no) FROM attempt a WHERE a.run_id = $1) FROM run r WHERE id = $1', sub { "'$_[0]'" }, '1|3', '2|3', '3|3', '' ],
	[ 'locked', 'text', 'SELECT /* any8 */ n FROM run WHERE id = $1 FOR UPDATE', sub { "'$_[0]'" }, '1', '2', '3', '' ],
	[ 'updated', 'text, int', 'UPDATE /* any9 */ run SET env = env || $2 WHERE id = $1 RETURNING n', sub { "'$_[0]', 1" }, '1', '2', '3', '' ],
	[ 'limited', 'text', 'SELECT /* anyA */ no FROM attempt WHERE run_id = $1 ORDER BY no DESC LIMIT 1', sub { "'$_[0]'" }, '3', '3', '3', '' ],
	[ 'inserted', 'text, int', 'INSERT INTO /* anyB */ run VALUES ($1, NULL, \'i\', $2) RETURNING n', sub { sprintf "'%s', 5", new_id($_[0]) }, '5', '5', '5', '5' ],
	[ 'rows', 'text, text', 'INSERT INTO /* anyC */ run VALUES ($1, NULL, \'i\', 6), ($2, NULL, \'i\', 7) RETURNING n', sub { sprintf "'%s', '%s'", new_id($_[0]), new_id($_[0]) }, "6\n7", "6\n7", "6\n7", "6\n7" ],
	[ 'upserted', 'text', 'INSERT INTO /* anyD */ run VALUES ($1, NULL, \'i\', 8) ON CONFLICT (id) DO UPDATE SET env = \'u\' RETURNING n', sub { "'$_[0]'" }, '1', '2', '3', '8' ],
	[ 'deleted', 'text', 'DELETE /* anyE */ FROM attempt WHERE run_id = $1 AND no > 100 RETURNING no', sub { "'$_[0]'" }, '', '', '', '' ]);

foreach my $mode ('auto', 'force_generic_plan')
{
	run("SET plan_cache_mode = $mode");
	foreach my $case (@cases)
	{
		my ($name, $types, $sql, $arguments, @results) = @$case;
		my ($mark) = $sql =~ m{(/\* any\w)};
		my ($before, $warm, $made_anew);

		run("PREPARE $name($types) AS $sql");

		# each id in turn, until each has been met, and the plan cache has decided
		foreach my $round (1 .. 3)
		{
			foreach my $i (0 .. 3)
			{
				is(run("EXECUTE $name(" . $arguments->($ids[$i]) . ')'), $results[$i], "$name, $mode: $ids[$i]");
			}
		}
		$before = plans($mark);
		run(join('; ', map { "EXECUTE $name(" . $arguments->($ids[ $_ % 4 ]) . ')' } 1 .. 1000));
		is(plans($mark) - $before, 0, "$name, $mode: 1000 executions, none of them planned");
		foreach my $i (0 .. 3)
		{
			is(run("EXECUTE $name(" . $arguments->($ids[$i]) . ')'), $results[$i], "$name, $mode: $ids[$i] then");
		}
		run("DEALLOCATE $name");
	}
	run("DELETE FROM run WHERE id = '$odd'");
}

# if the plan for legacy is expensive, and only ids of stores come
run(<<"SQL");
RESET plan_cache_mode;
CREATE TABLE log (id text PRIMARY KEY, run_id text NOT NULL, note text);
INSERT INTO log SELECT g, '$l', 'x' FROM generate_series(1, 20000) g;
ANALYZE log;
SELECT runops.attach('log', 'run_id');
SELECT runops.provision('new', relation => 'log');
SELECT runops.provision('b', relation => 'log');
PREPARE logged(text) AS SELECT /* anyH */ count(*) FROM log WHERE run_id = \$1;
SQL
unlike(run("EXPLAIN EXECUTE logged('$n')"), qr/\d{6}/, 'the cost that EXPLAIN shows');
foreach my $round (1 .. 5)
{
	is(run("EXECUTE logged('$_')"), 0, "expensive for legacy: $_") foreach $n, $b;
}
my $expensive = plans('/* anyH');
run("EXECUTE logged('$n'); EXECUTE logged('$b')") foreach 1 .. 5;
is(plans('/* anyH') - $expensive, 0, 'expensive for legacy: planned no more');
is(run("EXECUTE logged('$l')"), 20000, 'expensive for legacy: its rows');

# statements of PL/pgSQL, in every way in which it executes them
run(<<"SQL");
RESET plan_cache_mode;
CREATE FUNCTION got(text) RETURNS int LANGUAGE plpgsql AS \$\$
DECLARE
	total int := 0;
	row record;
	c CURSOR (i text) FOR SELECT /* plF */ n FROM run WHERE id = i;
BEGIN
	total := coalesce((SELECT /* plF */ n FROM run WHERE id = \$1), 0);
	FOR row IN SELECT /* plF */ no FROM attempt WHERE run_id = \$1 LOOP
		total := total + 100 * row.no;
	END LOOP;
	OPEN c(\$1);
	FETCH c INTO row;
	CLOSE c;
	UPDATE /* plF */ run SET n = run.n WHERE id = \$1;
	PERFORM /* plF */ FROM run r WHERE r.id = \$1 FOR UPDATE;
	RETURN total + coalesce(row.n, 0) * 10000 + CASE WHEN FOUND THEN 1000000 ELSE 0 END;
END \$\$;
SQL
my @got = ('1010601', '1020602', '1030603', '0');
is(run("SELECT got('$ids[$_]')"), $got[$_], "PL/pgSQL: $ids[$_]") foreach (0 .. 3) x 8;
my $before = plans('/* plF');
run(join('; ', map { "SELECT got('" . $ids[ $_ % 4 ] . "')" } 1 .. 100));
is(plans('/* plF') - $before, 0, 'PL/pgSQL: planned no more');
is(run("SELECT got('$ids[$_]')"), $got[$_], "PL/pgSQL: $ids[$_]") foreach 0 .. 3;

# an SQL function is planned once for a query
run(q{CREATE FUNCTION read_it(text) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT /* sqlG */ n FROM run WHERE id = $1 LIMIT 1'});
my $calls = "SELECT sum(read_it(id)) FROM unnest('{$l,$n,$b,$l,$n,$b,$odd,$l,$n,$b}'::text[]) id";
$before = plans('/* sqlG');
is(run($calls), '18', 'SQL function');
is(plans('/* sqlG') - $before, 4, 'SQL function: a plan for each store, and one for any');

# what auto_explain logs is the plan that was executed
run(q{SET plan_cache_mode = force_generic_plan; PREPARE shown AS SELECT n FROM run WHERE id = $1});
run("EXECUTE shown('$_')") foreach @ids;
run('SET auto_explain.log_min_duration = 0; SET auto_explain.log_verbose = on');
foreach my $case ([ $l, qr/Index Scan using|Seq Scan on (?:runops_legacy\.)?run/ ], [ $n, qr/Sent to Store: new\b/ ],
	[ $b, qr/Sent to Store: b\b/ ], [ $odd, qr/Append/ ])
{
	my $offset = -s $split->control->logfile;

	run("EXECUTE shown('$case->[0]')");
	like(slurp_file($split->control->logfile, $offset), $case->[1], "auto_explain: $case->[0]");
}
run('RESET auto_explain.log_min_duration; RESET auto_explain.log_verbose');

# pg_stat_statements has the executions of all plans in one entry, which is that of
# the first statement above
$before = $split->sql(q{SELECT calls FROM pg_stat_statements WHERE query LIKE '%/* any1%' AND query NOT LIKE '%pg_stat%'});
run("EXECUTE shown('$_')") foreach @ids;
is($split->sql(q{SELECT calls FROM pg_stat_statements WHERE query LIKE '%/* any1%' AND query NOT LIKE '%pg_stat%'}) - $before,
	4, 'pg_stat_statements: all executions in one entry');

# a statement that is sent needs one turn
is($split->turns($session, "EXECUTE shown('$n'); EXECUTE shown('$l'); EXECUTE shown('$b')"), '1 1', 'one turn for each store');

$session->quit;

done_testing;
