#
# 076_fdw_insert_batches.pl
#	  Rows that are inserted together: the turns that they cost, the memory that
#	  they need, a cancel in their middle, and a connection that breaks.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(relay => 1);
my $relay = $split->relay;

$split->create_server('second', 'second');
$split->sql(q{
SELECT runops.add_store('b', 'second');
CREATE TABLE env (id text PRIMARY KEY);
INSERT INTO env SELECT 'env' || e FROM generate_series(1, 200) e;
CREATE TABLE run (id text PRIMARY KEY, env text, n int, word text);
CREATE INDEX ON run (env);
CREATE TABLE item (id text PRIMARY KEY, run_id text, n int);
CREATE INDEX ON item (run_id);
SELECT runops.attach('run', 'id');
SELECT runops.attach('item', 'id');
SELECT runops.provision('new');
SELECT runops.provision('b');
SELECT runops.add_unique('run', '{n,word}');
SELECT runops.add_reference('run', 'env', 'env');
SELECT runops.add_reference('item', 'run_id', 'run');
CREATE TABLE bare (id text PRIMARY KEY, n int, word text);
SELECT runops.attach('bare', 'id');
SELECT runops.provision('new');
SELECT runops.provision('b');
CREATE FUNCTION row_id(g int, store text DEFAULT 'new') RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE store WHEN 'new' THEN '0123456789abcdefghi' || lpad(g::text, 6, '0') || '1'
		WHEN 'b' THEN '0123456789abcdefghi' || lpad(g::text, 5, '0') || 'b2'
		ELSE 'c' || lpad(g::text, 24, '0') END
$$;
});
is($split->sql(q{SELECT DISTINCT runops.store_of(row_id(7, s)) = s FROM unnest('{new,b,legacy}'::text[]) s}), 't', 'ids of three stores');

$split->wait_for_proofs;
my $session = $split->control->background_psql('postgres');

sub turns { return $split->turns($session, $_[0]); }

# a session that has used both stores
turns(sprintf(q{SELECT count(*) FROM %s WHERE id IN (row_id(1), row_id(1, 'b'))}, $_)) foreach qw(run item bare);

my $values = join(', ', map { "(row_id($_), 'env" . ($_ % 7 + 1) . "', $_, 'w')" } 1 .. 100);

# [ what, statement, turns on each connection, COMMIT included ]
my @cases = (
	[ '100 rows with a reference and a unique key, RETURNING', "INSERT INTO run VALUES $values RETURNING id, n", '2' ],
	[ 'a column that refers to nothing', q{INSERT INTO run SELECT row_id(g), NULL, g, 'x' FROM generate_series(101, 200) g}, '2' ],
	[ 'INSERT ... SELECT ... RETURNING', q{INSERT INTO run SELECT row_id(g), 'env' || (g % 200 + 1), g, 'y' FROM generate_series(201, 300) g RETURNING *}, '2' ],
	[ 'two stores and legacy, RETURNING', q{INSERT INTO run SELECT row_id(g, (ARRAY['new', 'b', 'legacy'])[g % 3 + 1]), 'env1', g, 'z' FROM generate_series(301, 400) g RETURNING id}, '3 3' ],
	[ 'two stores and legacy', q{INSERT INTO run SELECT row_id(g, (ARRAY['new', 'b', 'legacy'])[g % 3 + 1]), 'env1', g, 'z' FROM generate_series(401, 500) g}, '3 3' ],
	[ '3000 rows', q{INSERT INTO bare SELECT row_id(g), g FROM generate_series(1, 3000) g}, '4' ],
	[ 'ON CONFLICT DO NOTHING', q{INSERT INTO bare SELECT row_id(g), g FROM generate_series(2900, 3100) g ON CONFLICT DO NOTHING}, '2' ],
	[ 'the same with a unique key', q{INSERT INTO run SELECT row_id(g), 'env1', g, 'u' FROM generate_series(501, 600) g ON CONFLICT DO NOTHING}, '2' ],
	[ '100 rows that refer to rows of the store', q{INSERT INTO item SELECT row_id(g), row_id(g % 90 + 1), g FROM generate_series(1, 100) g}, '3' ],
	[ 'a statement that writes between', q{WITH i AS (INSERT INTO bare SELECT row_id(g), g FROM generate_series(4001, 4100) g RETURNING id) INSERT INTO item SELECT id, NULL, 1 FROM i}, '3' ]);

foreach my $case (@cases)
{
	my ($name, $sql, $turns) = @$case;
	my $before = $split->counted_turns;
	my $sum = 0;
	my $got = turns($sql);

	$sum += $_ foreach split ' ', $turns;
	is($split->counted_turns - $before, $sum, "$turns turns: $name");
	# a store may begin to answer many statements before it has them all, which
	# the relay takes for another turn
	if ($sql =~ /RETURNING|CONFLICT/)
	{
		my ($most) = sort { $b <=> $a } split ' ', $got;

		cmp_ok($most, '<=', 4, 'and few on each connection');
	}
	else
	{
		is($got, $turns, 'on each connection');
	}
}
is($split->sql(q{SELECT count(*), count(DISTINCT id) FROM run}), '600|600', 'all rows are there');

# COPY
my $file = $split->control->basedir . '/rows';
$split->sql("COPY (SELECT row_id(g), g, 'copied' FROM generate_series(10001, 15000) g) TO '$file'");
is(turns("COPY bare FROM '$file'"), '6', 'COPY of 5000 rows');
is($split->sql(q{SELECT count(*) FROM bare WHERE word = 'copied'}), 5000, 'COPY has lost no row');

# an option sets the number of rows, and 1 sends each alone
$split->sql(q{ALTER SERVER run_ops OPTIONS (ADD batch_size '10')});
turns(q{SELECT count(*) FROM bare WHERE id = row_id(1)});
is(turns(q{INSERT INTO bare SELECT row_id(g), g FROM generate_series(20001, 20030) g}), '4', 'batch_size 10');
$split->sql(q{ALTER SERVER run_ops OPTIONS (SET batch_size '1')});
turns(q{SELECT count(*) FROM bare WHERE id = row_id(1)});
is(turns(q{INSERT INTO bare SELECT row_id(g), g FROM generate_series(20031, 20040) g}), '11', 'batch_size 1');
$split->sql(q{ALTER SERVER run_ops OPTIONS (DROP batch_size)});
turns(q{SELECT count(*) FROM bare WHERE id = row_id(1)});

# wide rows are limited by their bytes
my $bytes = 300000;
$relay->reset;
$session->query_safe("INSERT INTO bare SELECT row_id(g), g, repeat('x', $bytes) FROM generate_series(30001, 30020) g");
is($relay->turns, 21, 'wide rows are sent one by one');
is($split->sql(q{SELECT count(*), min(length(word)) FROM bare WHERE id BETWEEN row_id(30001) AND row_id(30020)}), "20|$bytes", 'and arrive');
my $context = $session->query_safe(qq{
CREATE FUNCTION used() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';
INSERT INTO bare SELECT row_id(g), CASE WHEN g = 31000 THEN (used() / 1000)::int END, repeat('x', 100000) FROM generate_series(30100, 31000) g;
SELECT n < 40000 FROM bare WHERE id = row_id(31000)});
is($context, 't', '900 rows of 100 kB are not kept in memory');

# a cancel in the middle leaves nothing, and the session usable
my $slow = $split->control->background_psql('postgres', on_error_stop => 0);
my $pid = $slow->query_safe('SELECT pg_backend_pid()');
$split->store_sql(q{BEGIN; CREATE FUNCTION wait_row() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN IF NEW.n = 41500 THEN PERFORM pg_sleep(600); END IF; RETURN NEW; END $$;
	CREATE TRIGGER wait_row BEFORE INSERT ON bare FOR EACH ROW EXECUTE FUNCTION wait_row(); COMMIT});
$slow->query_until(qr/started/, q{
\echo started
INSERT INTO bare SELECT row_id(g), g FROM generate_series(40001, 45000) g;
});
ok($split->store->poll_query_until('run_ops', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'}), 'the store waits');
$split->sql("SELECT pg_cancel_backend($pid)");
is($slow->query(q{SELECT count(*) FROM bare WHERE n > 40000}), 0, 'a canceled INSERT leaves no row');
ok($split->store->poll_query_until('run_ops', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'}), 'the store does not go on');
$slow->quit;
$split->store_sql('DROP TRIGGER wait_row ON bare');

# errors have the fields of the right row
my ($stdout, $stderr) = $split->try(q{INSERT INTO run SELECT row_id(g), 'env' || g, g, 'e' FROM generate_series(150, 400) g WHERE g > 170});
like($stderr, qr/ERROR:  23505: .*run_pkey.*DETAIL:  Key \(id\)=\(0123456789abcdefghi0001711\) already exists/s, 'a key that is taken');
($stdout, $stderr) = $split->try(q{INSERT INTO run SELECT row_id(g), 'env' || g, g, 'e' FROM generate_series(1150, 1400) g});
like($stderr, qr/ERROR:  23503: .*DETAIL:  Key \(env\)=\(env1150\) is not present in table "env"/s, 'the first row that refers to nothing');
($stdout, $stderr) = $split->try(q{INSERT INTO item SELECT row_id(g), row_id(g * 90), g FROM generate_series(2001, 2010) g});
like($stderr, qr/ERROR:  23503: .*Key \(run_id\)=\(0123456789abcdefghi1800901\) is not present/s, 'the same for rows of a store');
($stdout, $stderr) = $split->try(q{INSERT INTO run VALUES (row_id(1501), 'env1', 1501, 'q'), (row_id(1502), 'env1', 1, 'w'), (row_id(1503), 'env1', 1503, 'q') RETURNING n});
like($stderr, qr/ERROR:  23505: .*DETAIL:  Key \(n, word\)=\(1, w\) already exists/s, 'a key over all stores that is taken');
is($split->sql(q{SELECT count(*) FROM run}), 600, 'and no row stays');

$session->quit;
done_testing();
