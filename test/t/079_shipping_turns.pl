#
# 079_shipping_turns.pl
#	  The turns of statements that are sent as a whole, and of upserts that go
#	  store by store, with two stores in another cluster.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(relay => 1);
my $relay = $split->relay;

# an id of legacy, two of the first store, and one of the second
my ($l, $n, $n2, $b) = ('c00000000000000000000run1', '0123456789abcdefghijklmn01', '0123456789abcdefghijklmn11', '0123456789abcdefghijklmnb2');

$split->create_server('second', 'second');
$split->sql(<<"EOT");
SELECT runops.add_store('b', 'second');
CREATE TYPE status AS ENUM ('PENDING', 'EXECUTING', 'DONE');
CREATE TABLE run (id text PRIMARY KEY, key text UNIQUE, status status NOT NULL DEFAULT 'PENDING', n int);
CREATE TABLE attempt (id text PRIMARY KEY, run_id text NOT NULL, no int, status status NOT NULL DEFAULT 'PENDING');
CREATE TABLE snapshot (id text PRIMARY KEY, run_id text NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE waitpoint (id text PRIMARY KEY, run_id text NOT NULL, status status NOT NULL DEFAULT 'PENDING', UNIQUE (run_id, id));
CREATE TABLE keyed (id text PRIMARY KEY, env text, key text, n int);
SELECT runops.attach('run', 'id');
SELECT runops.attach('attempt', 'run_id');
SELECT runops.attach('snapshot', 'run_id');
SELECT runops.attach('waitpoint', 'run_id');
SELECT runops.attach('keyed', 'id');
EOT
$split->sql(qq{SELECT runops.provision('new'); SELECT runops.provision('b')});
$split->sql(qq{SELECT runops.add_unique('keyed', '{env,key}');
	INSERT INTO run VALUES ('$l', 'kl', 'PENDING', 1), ('$n', 'kn', 'PENDING', 2), ('$b', 'kb', 'PENDING', 4);
	INSERT INTO attempt SELECT 'a' || g, '$n', g FROM generate_series(1, 3) g;
	INSERT INTO snapshot SELECT 's' || g, '$n' FROM generate_series(1, 3) g});

$split->wait_for_proofs;
my $session = $split->control->background_psql('postgres');

# the connections
$session->query_safe("SET runops.enable_shipping = on; SELECT * FROM run WHERE id = '$n'; SELECT * FROM run WHERE id = '$b'");

# [ statement, turns on each connection, what it returns ]
my @cases = (
	[ "INSERT INTO run (id, key, n) VALUES ('$n2', 'new', 1) ON CONFLICT (id) DO UPDATE SET n = run.n + 1 RETURNING n, xmax = 0", '2', '1|t' ],
	[ "INSERT INTO run (id, key, n) VALUES ('$n2', 'new', 1) ON CONFLICT (id) DO UPDATE SET n = run.n + 1 RETURNING n, xmax = 0", '2', '2|f' ],
	[ "INSERT INTO run (id, key, n) VALUES ('0123456789abcdefghijklmo01', 'new', 1) ON CONFLICT (key) DO UPDATE SET status = 'EXECUTING', n = EXCLUDED.n RETURNING id, status", '2', "$n2|EXECUTING" ],
	[ "INSERT INTO run (id, key) VALUES ('$n', 'x'), ('$n2', 'y') ON CONFLICT (id) DO NOTHING RETURNING id", '2', '' ],
	[ "INSERT INTO run (id, n) VALUES ('$n', 9), ('$b', 9), ('$l', 9) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n RETURNING n", '3 3', "9\n9\n9" ],
	[ "INSERT INTO run (id, n) VALUES (lower('$n'::text) || substr(random()::text, 1, 0), 10) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n RETURNING n", '2', '10' ],
	[ "INSERT INTO run (id, n) SELECT id, 11 FROM (VALUES ('$n'), ('$l')) v(id) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n RETURNING n", '2', "11\n11" ],
	[ "INSERT INTO run (id, n) VALUES ('$l', 12) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n RETURNING n", '', '12' ],
	[ "INSERT INTO keyed VALUES ('$n', 'e', 'k', 1) ON CONFLICT (id) DO UPDATE SET n = keyed.n + 1 RETURNING n", '2', '1' ],
	[ "INSERT INTO keyed VALUES ('$n', 'e', 'k', 1) ON CONFLICT (id) DO UPDATE SET n = keyed.n + 1 RETURNING n", '2', '2' ],
	[ "INSERT INTO keyed VALUES ('$n', 'e', 'k', 1), ('$n2', 'e', 'l', 5) ON CONFLICT (id) DO UPDATE SET n = keyed.n + 1 RETURNING n", '2', "3\n5" ],
	[ "WITH i AS (INSERT INTO waitpoint (id, run_id) VALUES ('w1', '$n'), ('w2', '$n') ON CONFLICT DO NOTHING RETURNING id) SELECT (SELECT count(*) FROM i), (SELECT count(*) FROM attempt WHERE run_id = '$n' AND status = 'PENDING')", '2', '2|3' ],
	[ "WITH i AS (INSERT INTO waitpoint (id, run_id) VALUES ('w1', '$n'), ('w2', '$n') ON CONFLICT (run_id, id) DO NOTHING RETURNING id) SELECT (SELECT count(*) FROM i), (SELECT count(*) FROM attempt WHERE run_id = '$n' AND status = 'PENDING')", '2', '0|3' ],
	[ "UPDATE run SET status = 'EXECUTING' WHERE id = '$n' AND status = 'PENDING' RETURNING *", '2', "$n|kn|EXECUTING|11" ],
	[ "UPDATE run SET status = 'PENDING' WHERE id = '$n'", '2', '' ],
	[ "SELECT r.n, l.no, (SELECT count(*) FROM waitpoint w WHERE w.run_id = r.id), s.number FROM run r, LATERAL (SELECT no FROM attempt a WHERE a.run_id = r.id ORDER BY no DESC LIMIT 1) l, (SELECT id, row_number() OVER (ORDER BY at, id) AS number FROM snapshot WHERE run_id = '$n') s WHERE r.id = '$n' AND s.id = 's3'", '1', '11|3|2|3' ]);

foreach my $case (@cases)
{
	my ($sql, $turns, $rows) = @$case;
	my $got;

	$relay->reset;
	$got = $session->query_safe($sql);
	is($got, $rows, sprintf 'rows: %.120s', $sql);
	is(join(' ', sort grep { $_ > 0 } map { $_->{turns} } $relay->connections), $turns, sprintf '%s turns', $turns eq '' ? 'no' : $turns);
}

$session->quit;
done_testing();
