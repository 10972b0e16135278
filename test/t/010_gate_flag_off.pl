# With runops.split_enabled off, a fully provisioned split acts as one database:
# statements have the same results as in a plain database, and the store gets no
# connection.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $tables = <<'EOT';
CREATE TABLE run (id text PRIMARY KEY, env text, parent_id text, n int DEFAULT 7,
	n2 int GENERATED ALWAYS AS (n * 2) STORED);
CREATE TABLE item (id int PRIMARY KEY, run_id text NOT NULL, v int);
CREATE INDEX ON item (run_id);
CREATE TABLE env (id text PRIMARY KEY, name text);
EOT

my $rows = <<'EOT';
INSERT INTO env VALUES ('e1', 'one'), ('e2', 'two');
INSERT INTO run (id, env, parent_id, n)
	SELECT 'c' || lpad(g::text, 24, '0'), 'e' || g % 3, 'c' || lpad((g / 2)::text, 24, '0'), g
	FROM generate_series(1, 40) g;
INSERT INTO item SELECT g, 'c' || lpad((g % 50)::text, 24, '0'), g FROM generate_series(1, 100) g;
EOT

# An id of legacy, one of the store that has a row there, and another.
my $ids = <<'EOT';
\set VERBOSITY sqlstate
\set L c000000000000000000000004
\set N 0123456789abcdefghijklmna1
\set M 0123456789abcdefghijklmnb1
EOT

# What a plain database has to give as well.
my $same = <<'EOT';
SELECT count(*) FROM run;
SELECT count(*), sum(n), min(id) FROM run WHERE id = :'N';
SELECT (SELECT count(*) FROM run WHERE id = :'N') = 0;
SELECT * FROM run WHERE id = :'L';
SELECT * FROM run WHERE id = :'N';
SELECT id FROM run WHERE id IN (:'L', :'N') OR n = 3 ORDER BY id;
SELECT env, count(*), max(n) FROM run GROUP BY env HAVING count(*) > 1 ORDER BY env;
SELECT DISTINCT env FROM run ORDER BY env LIMIT 2;
SELECT r.id, r.env, count(*) FROM run r JOIN item i ON i.run_id = r.id GROUP BY r.id ORDER BY r.id LIMIT 3;
SELECT id, row_number() OVER (PARTITION BY env ORDER BY id) FROM run ORDER BY id LIMIT 5;
SELECT r.id, i.v FROM run r JOIN item i ON i.run_id = r.id WHERE r.id = :'L' ORDER BY 2;
SELECT count(*), sum(i.v) FROM run r JOIN item i ON i.run_id = r.id;
SELECT count(*), count(i.id) FROM run r LEFT JOIN item i ON i.run_id = r.id;
SELECT count(*), count(r.id) FROM item i LEFT JOIN run r ON i.run_id = r.id;
SELECT count(*) FROM run r FULL JOIN item i ON i.run_id = r.id;
SELECT count(*) FROM item i WHERE NOT EXISTS (SELECT 1 FROM run r WHERE r.id = i.run_id);
SELECT count(*) FROM item WHERE run_id NOT IN (SELECT id FROM run);
SELECT e.name, count(r.id) FROM env e LEFT JOIN run r ON r.env = e.id GROUP BY 1 ORDER BY 1;
SELECT e.id, x.id FROM env e, LATERAL (SELECT id FROM run r WHERE r.env = e.id ORDER BY id DESC LIMIT 2) x ORDER BY 1, 2;
SELECT id FROM run WHERE n < 3 UNION ALL SELECT run_id FROM item WHERE v < 3 ORDER BY 1;
SELECT id FROM run EXCEPT SELECT run_id FROM item ORDER BY 1;
WITH RECURSIVE t AS (SELECT id, parent_id FROM run WHERE n = 40 UNION ALL SELECT r.id, r.parent_id FROM run r JOIN t ON r.id = t.parent_id) SELECT count(*) FROM t;
SELECT r FROM run r WHERE id = :'L';
SELECT a.id FROM run a JOIN run b ON b.parent_id = a.id WHERE b.n = 9;
SELECT id FROM run WHERE n = 5 FOR UPDATE;
SELECT id FROM run WHERE id IN (:'L', :'N') FOR SHARE SKIP LOCKED;
BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id FROM run ORDER BY id; FETCH 2 FROM c; FETCH LAST FROM c; FETCH PRIOR FROM c; COMMIT;
PREPARE p(text) AS SELECT id, n FROM run WHERE id = $1;
EXECUTE p(:'L'); EXECUTE p(:'N'); EXECUTE p(NULL);
SET plan_cache_mode = force_generic_plan; EXECUTE p(:'L'); EXECUTE p(:'N'); RESET plan_cache_mode;
PREPARE pa(text[]) AS SELECT count(*) FROM run WHERE id = ANY ($1);
EXECUTE pa(ARRAY[:'L', :'N']); EXECUTE pa('{}');
COPY (SELECT id, n FROM run WHERE n < 4 ORDER BY id) TO STDOUT;
INSERT INTO run (id, env) VALUES ('c_new0000000000000000000001', 'e1') RETURNING *;
INSERT INTO run (id, env) SELECT 'c_new000000000000000000001' || g, 'e2' FROM generate_series(2, 4) g RETURNING id;
INSERT INTO run (id) VALUES (:'L') ON CONFLICT DO NOTHING RETURNING id;
INSERT INTO run (id) VALUES (:'L');
INSERT INTO run (id) VALUES (NULL);
INSERT INTO run SELECT * FROM run WHERE false;
COPY run (id, n) FROM STDIN;
c00000000000000000000copy	1
\.
UPDATE run SET n = n + 1 WHERE id IN (:'L', :'N') RETURNING id, n, n2;
UPDATE run SET n = n + 1;
UPDATE run r SET env = e.name FROM env e WHERE e.id = r.env AND r.n < 10 RETURNING r.id, r.env;
UPDATE run SET n = 0 WHERE id = :'N';
UPDATE run SET id = 'c00000000000000000000copz' WHERE id = 'c00000000000000000000copy' RETURNING id;
UPDATE run SET n = 1 WHERE false;
WITH d AS (DELETE FROM item WHERE v > 95 RETURNING *) SELECT count(*) FROM d;
WITH u AS (UPDATE run SET n = 50 WHERE id = :'L' RETURNING id) INSERT INTO item SELECT 1000, id, 1 FROM u RETURNING *;
DELETE FROM run r USING item i WHERE i.run_id = r.id AND i.v = 8 RETURNING r.id;
DELETE FROM run WHERE id = :'N';
DELETE FROM run WHERE NOT EXISTS (SELECT 1 FROM item WHERE run_id = run.id);
BEGIN; SAVEPOINT s; UPDATE run SET n = 1 / 0 WHERE id = :'L'; ROLLBACK TO s; UPDATE run SET n = 3 WHERE id = :'L'; COMMIT;
BEGIN; UPDATE run SET n = 4 WHERE id = :'L'; DELETE FROM item WHERE run_id = :'N'; PREPARE TRANSACTION 'flag_off'; COMMIT PREPARED 'flag_off';
CREATE FUNCTION f(text) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE c bigint; BEGIN FOR i IN 1..8 LOOP UPDATE run SET n = n + i WHERE id = $1; SELECT count(*) INTO c FROM run WHERE id = $1; END LOOP; RETURN c; END $$;
SELECT f(:'L'), f(:'N');
CREATE VIEW v AS SELECT * FROM run WHERE n < 100 WITH CHECK OPTION;
SELECT count(*) FROM v; UPDATE v SET n = 1000 WHERE id = :'L'; UPDATE v SET n = 99 WHERE id = :'L' RETURNING n;
CREATE TABLE copied AS SELECT * FROM run; SELECT count(*) FROM copied;
CREATE MATERIALIZED VIEW m AS SELECT env, count(*) FROM run GROUP BY env; REFRESH MATERIALIZED VIEW m; SELECT * FROM m ORDER BY 1;
BEGIN; LOCK TABLE run; SELECT count(*) FROM run; COMMIT;
ANALYZE;
VACUUM ANALYZE;
VACUUM;
SELECT count(*), sum(n), sum(n2) FROM run;
SELECT count(*), sum(v) FROM item;
BEGIN; TRUNCATE run; SELECT count(*) FROM run; ROLLBACK;
TRUNCATE run, item;
SELECT count(*) FROM run;
SELECT avg(n), (SELECT count(*) FROM item) FROM run;
EOT

my $split = TwoClusters->new(
	split => 0,
	conf => "max_prepared_transactions = 2\n",
	store_conf => "log_connections = on\n");
my $control = $split->control;

sub set_up_split
{
	my $database = shift;

	$control->safe_psql($database, $tables . $rows);
	$control->safe_psql($database,
		q{SELECT runops.attach('run', 'id'); SELECT runops.attach('item', 'run_id')});
	return;
}

# Run a script; what it prints, and the SQLSTATE of each error.
sub run_script
{
	my ($database, $sql) = @_;
	my ($stdout, $stderr);

	$control->psql(
		$database, $ids . $sql,
		stdout => \$stdout,
		stderr => \$stderr,
		on_error_stop => 0);
	$stderr =~ s/^psql:<stdin>:\d+: //mg;
	return "$stdout\n$stderr";
}

# Who connected to the store since the given place in its log, and what for?
sub heard_since
{
	my $offset = shift;

	return join("\n",
		grep { /connection received|statement:|execute / }
		  split /\n/, slurp_file($split->store->logfile, $offset));
}

# The store has rows, and the tables to take more.
$split->store_sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, env text, parent_id text, n int DEFAULT 7,
	n2 int GENERATED ALWAYS AS (n * 2) STORED);
CREATE TABLE item (id int PRIMARY KEY, run_id text NOT NULL, v int);
INSERT INTO run VALUES ('0123456789abcdefghijklmna1', 'e1', NULL, 1);
INSERT INTO item VALUES (5000, '0123456789abcdefghijklmna1', 1);
EOT

my $offset = -s $split->store->logfile;

$control->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(plain eager);
$control->safe_psql('plain', $tables . $rows);
set_up_split('postgres');

# the same split once more, told to ask the store at every opportunity
$control->safe_psql('eager', 'CREATE EXTENSION runops CASCADE');
$control->safe_psql('eager', sprintf(<<'EOT', $split->store->host, $split->store->port));
CREATE SERVER run_ops FOREIGN DATA WRAPPER runops_fdw
	OPTIONS (host '%s', port '%s', dbname 'run_ops', use_remote_estimate 'true', async_capable 'true');
CREATE USER MAPPING FOR CURRENT_USER SERVER run_ops;
SELECT runops.add_store('new', 'run_ops');
EOT
set_up_split('eager');

my $expected = run_script('plain', $same);

is(run_script('postgres', $same), $expected, 'statements give what a plain database gives');
is(run_script('eager', "SET enable_partitionwise_join = on; SET enable_partitionwise_aggregate = on;\n$same"),
	$expected, 'and so with remote estimates and asynchronous scans');
is(heard_since($offset), '', 'the store hears nothing of them');

# Without the planner hooks the rows are the same.
run_script('postgres', "DROP VIEW v; DROP MATERIALIZED VIEW m; DROP TABLE copied; DROP FUNCTION f; TRUNCATE env;\n$rows");
is(run_script('postgres', "SET runops.enable_routing = off;\n$same"),
	$expected, 'and so with the hooks off');

# A row of another store is refused, whichever way it comes.
my ($stdout, $stderr) = $split->try(<<'EOT');
INSERT INTO run (id) VALUES ('0123456789abcdefghijklmnb1');
EOT
like($stderr, qr/ERROR:  RO002: cannot access store "new" of "run": the gate is closed/,
	'INSERT of an id of the store is refused');
like($stderr, qr/DETAIL:  The setting "runops.split_enabled" is off\./, 'the reason is told');
like($stderr, qr/HINT:  Set "runops.split_enabled" to on and restart the server\./, 'with a hint');

my %refused = (
	'several rows' => q{INSERT INTO run (id) VALUES ('cmany00000000000000000001'), (:'M')},
	'ON CONFLICT DO NOTHING' => q{INSERT INTO run (id) VALUES (:'M') ON CONFLICT DO NOTHING},
	'INSERT ... SELECT' => q{INSERT INTO run (id) SELECT i FROM (VALUES (:'M')) AS t(i)},
	'COPY' => qq{COPY run (id) FROM STDIN;\n0123456789abcdefghijklmnb1\n\\.\n},
	'INSERT into the leaf' => q{INSERT INTO runops_new.run (id) VALUES (:'M')},
	'COPY to the leaf' => qq{COPY runops_new.run (id) FROM STDIN;\n0123456789abcdefghijklmnb1\n\\.\n},
	'a prepared INSERT' => q{PREPARE i(text) AS INSERT INTO run (id) VALUES ($1); EXECUTE i(:'M')},
	'IMPORT FOREIGN SCHEMA' => q{IMPORT FOREIGN SCHEMA public FROM SERVER run_ops INTO public});

foreach my $how (sort keys %refused)
{
	like(run_script('postgres', "$refused{$how};"), qr/ERROR:  RO002/, "$how is refused");
}
is(run_script('postgres', q{SELECT count(*) FROM run WHERE id LIKE 'cmany%';}), "0\n",
	'no half of a refused INSERT stays');
like(run_script('postgres', q{INSERT INTO run (id) VALUES (:'L'); UPDATE run SET id = :'M' WHERE id = :'L';}),
	qr/ERROR:  RO003/, 'a row cannot move to the store');

# The leaf by its own name is empty, and its plans open no connection.
foreach my $database (qw(postgres eager))
{
	is(run_script($database, <<'EOT'), <<'EOT', "the leaf is empty in $database");
SELECT count(*) FROM runops_new.run;
SELECT * FROM runops_new.run;
SELECT count(*), max(l.n) FROM runops_new.run n LEFT JOIN runops_legacy.run l USING (id);
SELECT count(*) FROM runops_new.run r JOIN runops_new.item i ON i.run_id = r.id;
UPDATE runops_new.run SET n = 1;
UPDATE runops_new.run SET n = 1 WHERE false;
DELETE FROM runops_new.run;
INSERT INTO runops_new.run (id) SELECT 'x' WHERE false;
TRUNCATE runops_new.run;
EOT
0
0|
0
EOT
}
like(run_script('postgres', 'ANALYZE runops_new.run;'), qr/^\n[^\n]*WARNING:  01000$/,
	'ANALYZE of the leaf is skipped with a warning');
unlike(run_script('postgres', 'ANALYZE run;'), qr/ERROR/, 'ANALYZE of the routed table succeeds');
unlike(run_script('eager', 'ANALYZE run, item;'), qr/ERROR/, 'also with remote estimates');

foreach my $database (qw(postgres eager))
{
	unlike(run_script($database, <<'EOT'), qr/ERROR/, "EXPLAIN in $database");
EXPLAIN (VERBOSE) SELECT count(*) FROM run;
EXPLAIN (VERBOSE) SELECT * FROM run r JOIN item i ON i.run_id = r.id WHERE r.id = :'N';
EXPLAIN (VERBOSE) SELECT * FROM runops_new.run;
EXPLAIN (VERBOSE) UPDATE run SET n = 1;
EXPLAIN (VERBOSE) UPDATE runops_new.run SET n = 1;
EXPLAIN (VERBOSE) DELETE FROM run WHERE id = :'N';
EXPLAIN (VERBOSE) INSERT INTO run (id) VALUES (:'N');
EXPLAIN (VERBOSE) INSERT INTO runops_new.run (id) VALUES (:'N');
EXPLAIN (ANALYZE, VERBOSE) SELECT count(*) FROM run;
EXPLAIN (ANALYZE, VERBOSE) UPDATE run SET n = 1;
EXPLAIN (ANALYZE, VERBOSE) DELETE FROM runops_new.run;
EOT
}
unlike(run_script('postgres', q{EXPLAIN SELECT * FROM run r LEFT JOIN item i ON i.run_id = r.id;}),
	qr/Foreign Scan|Append/, 'plans are those of a plain table');

# A statement that was prepared before its table was routed.
is(run_script('postgres', <<'EOT'), <<'EOT', 'a statement prepared before');
CREATE TABLE late (id text PRIMARY KEY, n int);
INSERT INTO late VALUES (:'L', 1);
PREPARE c AS SELECT count(*) FROM late;
PREPARE u(text) AS UPDATE late SET n = n + 1 WHERE id = $1 RETURNING n;
SET plan_cache_mode = force_generic_plan;
EXECUTE c; EXECUTE u(:'L'); EXECUTE u(:'N');
SELECT runops.attach('late', 'id');
EXECUTE c; EXECUTE u(:'L'); EXECUTE u(:'N');
EOT
1
2

1
3
EOT

is(heard_since($offset), '', 'the store has heard nothing to the end');

# The same split with the flag on: what was closed is the flag's doing.
$control->append_conf('postgresql.conf', 'runops.split_enabled = on');
$control->restart;
is(run_script('postgres', q{SELECT id FROM run WHERE id = :'N';}), "0123456789abcdefghijklmna1\n",
	'with the flag on the row of the store is there');
isnt(heard_since($offset), '', 'and the store has been asked');

done_testing();
