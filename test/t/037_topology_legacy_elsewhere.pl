#
# 037_topology_legacy_elsewhere.pl
#	  Three databases: the control plane, the run-ops store, and store legacy.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(conf => "runops.database = ''\n");
my ($control, $store) = ($split->control, $split->store);
my ($new, $legacy, $legacy2, $odd) =
  ('0123456789abcdefghijklmna1', 'c000000000000000000000001', 'c000000000000000000000002', 'odd');

# SQL in the database of legacy.
sub legacy_sql
{
	return $store->safe_psql('monolith', $_[0]);
}

# The rows that a script prints, in one line.
sub rows
{
	return join ' ', grep { $_ ne '' } split /\n/, $split->sql($_[0]);
}

# The monolith has the rows; the control plane has the tables, without any.
my $tables = <<'EOT';
CREATE TABLE run (id text PRIMARY KEY, "friendlyId" text, n int DEFAULT 7);
CREATE INDEX run_n ON run (n);
CREATE TABLE edge (name text, run_id text REFERENCES run ON DELETE CASCADE);
EOT

$split->create_server('legacy_db', 'monolith');
legacy_sql("$tables INSERT INTO run VALUES ('$legacy', 'run_$legacy', 1); INSERT INTO edge VALUES ('a', '$legacy')");
$split->sql("$tables CREATE TABLE project (id int PRIMARY KEY, run text REFERENCES run)");

# before the first attach, and not after

my ($stdout, $stderr) = $split->try(<<'EOT');
SELECT runops.attach('run', 'id');
SELECT runops.add_store('legacy', 'legacy_db');
SELECT runops.detach('run');
EOT
like($stderr, qr/ERROR:  RO006: cannot put store "legacy" into another database while tables are routed\nDETAIL:.*\nHINT:/,
	'legacy cannot move once tables are routed');
$split->sql(q{SELECT runops.add_store('legacy', 'legacy_db')});

# a table with rows

($stdout, $stderr) = $split->try(<<"EOT");
INSERT INTO run VALUES ('$legacy2');
SELECT runops.attach('run', 'id');
CALL runops.prepare_attach('run', 'id');
TRUNCATE run CASCADE;
EOT
is(scalar(() = $stderr =~ /ERROR:  55000: table public.run holds rows, but store "legacy" is another database\nDETAIL:.*\nHINT:/g), 2,
	'a table with rows is not attached');

($stdout, $stderr) = $split->try(<<'EOT');
SELECT runops.attach('run', 'id', '{friendlyId}');
ALTER TABLE edge ALTER run_id SET NOT NULL;
SELECT runops.attach('edge', 'run_id');
EOT
unlike($stderr, qr/ERROR/, 'empty ones are');
like($stderr, qr/foreign key "project_run_fkey" of public.project will find no row in public.run/, 'a foreign key into one is told of');
is(rows(q{SELECT inhrelid::regclass, pg_get_expr(relpartbound, inhrelid), relkind FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
		WHERE inhparent = 'run'::regclass ORDER BY inhrelid::regclass::text}),
	q{runops_legacy.run|FOR VALUES IN ('legacy', NULL)|f runops_new.run|FOR VALUES IN ('new')|f runops_none.run|FOR VALUES IN ('none')|r},
	'the leaves, and the old table beside them');

# the proof, and what is said of it

is(rows('SELECT store, verdict FROM runops.recheck() ORDER BY 1'), 'legacy|distinct new|distinct', 'both are proved distinct, from here and from each other');
is(rows(q{SELECT item, state FROM runops.status() WHERE item IN ('gate', 'read_gate', 'co_residency', 'store:legacy', 'table:public.run')}),
	'gate|open read_gate|open co_residency|false store:legacy|distinct table:public.run|complete', 'status()');

# provision: what is there is there, what is missing is made

is(rows(q{SELECT DISTINCT action FROM runops.provision('new') WHERE action = 'drift'}), '', 'the run-ops database is provisioned');
my $drift = $split->sql(q{SELECT ddl FROM runops.provision('legacy') WHERE action = 'drift' AND ddl IS NOT NULL});

legacy_sql($_) foreach split /\n(?=ALTER|CREATE)/, $drift;
is(rows(q{SELECT object FROM runops.provision('legacy') WHERE action <> 'exists'}), '', 'and so is legacy, where the tables were before');
is(rows('SELECT * FROM runops.verify()'), '', 'verify finds nothing');
$store->psql('monolith', "INSERT INTO run VALUES ('$new')", stderr => \$stderr);
like($stderr, qr/violates check constraint "runops_store"/, 'legacy refuses an id of another store');

# statements

is(rows("SELECT n FROM run WHERE id = '$legacy'"), '1', 'a legacy row is read where it is');
is(rows("SELECT n FROM run WHERE \"friendlyId\" = 'run_$legacy'"), '1', 'also by an alias');
$split->sql(<<"EOT");
INSERT INTO run VALUES ('$new', NULL, 2), ('$legacy2', NULL, 3), ('$odd', NULL, 4);
INSERT INTO edge VALUES ('b', '$new'), ('c', '$legacy2');
EOT
is(legacy_sql('SELECT id FROM run ORDER BY n'), "$legacy\n$legacy2\n$odd", 'legacy ids, and those of no shape, are inserted there');
is($split->sql('SELECT count(*) FROM runops_none.run'), '0', 'and none here');

foreach my $case (
	[ 'all stores', 'SELECT n FROM run ORDER BY n', '1 2 3 4' ],
	[ 'without the planner hooks', 'SET runops.enable_routing = off; SELECT n FROM run ORDER BY n', '1 2 3 4' ],
	[ 'by a set of ids', "SELECT n FROM run WHERE id IN ('$legacy', '$new') ORDER BY n", '1 2' ],
	[ 'an id without a shape', "SELECT n FROM run WHERE id = '$odd'", '4' ],
	[ 'a parameter, often', "PREPARE p (text) AS SELECT n FROM run WHERE id = \$1;" . join('', map { "EXECUTE p ('$_');" } ($legacy, $new, $odd) x 4), '1 2 4' . ' 1 2 4' x 3 ],
	[ 'a generic plan', "SET plan_cache_mode = force_generic_plan; PREPARE p (text) AS SELECT n FROM run WHERE id = \$1; EXECUTE p ('$legacy'); EXECUTE p ('$new'); EXECUTE p ('$odd')", '1 2 4' ],
	[ 'a generic INSERT', "SET plan_cache_mode = force_generic_plan; BEGIN; PREPARE p (text) AS INSERT INTO run VALUES (\$1) RETURNING n; EXECUTE p ('c000000000000000000000003'); EXECUTE p ('0123456789abcdefghijklmnz1'); ROLLBACK", '7 7' ],
	[ 'a join', "SELECT r.n, e.name FROM run r JOIN edge e ON e.run_id = r.id ORDER BY 1", '1|a 2|b 3|c' ],
	[ 'a join by stores', "SET enable_partitionwise_join = on; SELECT r.n, e.name FROM run r JOIN edge e ON e.run_id = r.id ORDER BY 1", '1|a 2|b 3|c' ],
	[ 'an UPDATE', "UPDATE run SET n = n + 10 WHERE id = '$legacy' RETURNING n", '11' ],
	[ 'an UPDATE of all', "UPDATE run SET n = n + 100; SELECT n FROM run ORDER BY n", '102 103 104 111' ],
	[ 'a DELETE', "DELETE FROM run WHERE id = '$odd' RETURNING n", '104' ],
	[ 'FOR UPDATE', "SELECT n FROM run WHERE id = '$legacy' FOR UPDATE", '111' ],
	[ 'an aggregate', 'SELECT count(*), sum(n) FROM run', '3|316' ],
	[ 'EXPLAIN shows the stores, and not the old table', "EXPLAIN (COSTS OFF) SELECT n FROM run", 'Append   ->  Foreign Scan on run run_1   ->  Foreign Scan on run run_2' ],
	[ 'EXPLAIN shows one store', "EXPLAIN (COSTS OFF) SELECT n FROM run WHERE id = '$legacy'", 'Foreign Scan on run' ])
{
	my ($what, $sql, $want) = @$case;

	is(rows($sql), $want, $what);
}

($stdout, $stderr) = $split->try(<<"EOT");
UPDATE run SET id = '$new' WHERE id = '$legacy';
INSERT INTO run VALUES ('$legacy') ON CONFLICT (id) DO NOTHING;
INSERT INTO runops_none.run VALUES ('$legacy');
INSERT INTO runops_legacy.run VALUES ('$new');
TRUNCATE run;
DROP TABLE runops_none.run;
ALTER TABLE run DETACH PARTITION runops_none.run;
SELECT runops.drop_store('legacy', force => true);
SELECT runops.detach('run');
INSERT INTO project VALUES (1, '$legacy');
EOT
is(join(' ', $stderr =~ /ERROR:  (\w{5}):/g), 'RO003 0A000 23514 RO003 0A000 RO006 RO006 RO006 RO006 23503', 'what is refused');

# DDL reaches the old table, and from there the stores

($stdout, $stderr) = $split->try(<<'EOT');
ALTER TABLE run ADD note text;
CREATE INDEX run_note ON run (note);
SELECT object, action FROM runops.provision('legacy', true, 'run') WHERE action <> 'exists';
SELECT runops.provision('legacy', false, 'run');
SELECT runops.provision('new', false, 'run');
EOT
unlike($stderr, qr/ERROR/, 'a column and an index');
like(legacy_sql(q{SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'run'::regclass}) . $split->sql(q{SELECT ddl FROM runops.provision('legacy', true)}),
	qr/note/, 'reach legacy by provision');
legacy_sql('ALTER TABLE run ADD IF NOT EXISTS note text; CREATE INDEX IF NOT EXISTS run_note ON run (note)');
is(rows("UPDATE run SET note = 'x' WHERE id = '$legacy' RETURNING note"), 'x', 'and can be used');

# functions that look ids up

is(rows("SELECT source, r.row -> 'n' FROM runops.read_through('run', '$legacy') r"), 'legacy|111', 'read_through');
is(rows("SELECT ord, source FROM runops.read_many('run', '{$new,$legacy,$odd,$legacy2}')"), '1|new 2|legacy 3|not-found 4|legacy', 'read_many');
is(rows("SELECT r.row -> 'n' FROM runops.read_page('run', '{}', 'n', 10) r"), '111 103 102', 'read_page');

# what is unique, and what refers, over the databases

$split->sql(<<"EOT");
CREATE TABLE tag (id int, run text);
SELECT runops.add_unique('run', '{n}', name => 'run_n_key');
SELECT runops.add_reference('tag', 'run', 'run', 'id');
INSERT INTO tag VALUES (1, '$legacy'), (2, '$new');
EOT
is($split->sql(q{SELECT stores FROM runops.unique_keys}), '{legacy,new}', 'a unique key knows the rows of both stores');
($stdout, $stderr) = $split->try(<<"EOT");
INSERT INTO run (id, n) VALUES ('c000000000000000000000009', 102);
INSERT INTO run (id, n) VALUES ('0123456789abcdefghijklmnz1', 111);
INSERT INTO tag VALUES (3, 'c000000000000000000000009');
DELETE FROM run WHERE id = '$legacy';
EOT
is(join(' ', $stderr =~ /ERROR:  (\w{5}):/g), '23505 23505 23503 23503', 'and refuses their doubles; a reference finds the rows of both');
is(rows(q{SELECT object, finding FROM runops.doctor() WHERE severity = 'error'}), '', 'doctor() finds nothing to mend');
$split->sql(q{SELECT runops.drop_unique('run', 'run_n_key'); SELECT runops.drop_reference('tag', 'run', 'run'); DROP TABLE tag});

# a dump carries all of it but the rows

my ($dump, $restored) = (PostgreSQL::Test::Utils::tempdir() . '/dump.sql', 'restored');

$control->safe_psql('postgres', "CREATE DATABASE $restored");
$control->command_ok([ 'pg_dump', '-f', $dump, '-d', $control->connstr('postgres') ], 'pg_dump');
$control->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $dump, '-d', $control->connstr($restored) ], 'is restored');
is($control->safe_psql($restored, "SELECT leaf, (SELECT count(*) FROM runops.stores) FROM runops.routed_tables WHERE key = 'id'"),
	'runops_none.run|2', 'with what is routed, and where');
$control->safe_psql($restored, 'SELECT runops.recheck(accept_new_identity => true)');
is($control->safe_psql($restored, 'SELECT n FROM run ORDER BY n'), "102\n103\n111", 'and finds the rows, once it is accepted');
$split->sql('SELECT runops.recheck(accept_new_identity => true)');

# counters, doctor, verify

is(rows(q{SELECT store FROM runops.stats WHERE relation = 'run'::regclass AND rows > 0 ORDER BY 1}), 'legacy new', 'rows of legacy are counted');
legacy_sql("ALTER TABLE run DROP CONSTRAINT runops_store; INSERT INTO run VALUES ('0123456789abcdefghijklmnb1', NULL, 66), ('0123456789abcdefghijklmna1', NULL, 67)");
is(rows(q{SELECT store, finding, id, belongs_to FROM runops.verify('run') WHERE finding IN ('misplaced', 'duplicate') ORDER BY 2, 3}),
	'legacy|duplicate|0123456789abcdefghijklmna1|new legacy|misplaced|0123456789abcdefghijklmna1|new legacy|misplaced|0123456789abcdefghijklmnb1|new',
	'verify finds rows of other stores in legacy, and copies');
like($split->sql(q{SELECT finding FROM runops.doctor() WHERE object = 'store legacy: table public.run'}), qr/rows belong to another store/, 'and so does doctor');
legacy_sql("DELETE FROM run WHERE n IN (66, 67)");
$split->sql('CREATE VIEW runops_none.bound AS SELECT * FROM runops_none.run');
like($split->sql(q{SELECT finding FROM runops.doctor() WHERE object LIKE '%bound%'}), qr/is bound to the old table of public.run, so it shows and changes no row/,
	'doctor tells of what is bound to the old table');
$split->sql('DROP VIEW runops_none.bound; ANALYZE run');
is($split->sql(q{SELECT reltuples FROM pg_class WHERE oid = 'runops_legacy.run'::regclass}), '2', 'ANALYZE reads legacy');

# the split from the control plane, expected

$control->append_conf('postgresql.conf', 'runops.expect_control_plane_split = on');
$control->restart;
is(rows("SELECT n FROM run WHERE id IN ('$legacy', '$new') ORDER BY n"), '102 111', 'expect_control_plane_split is content');

# legacy turns out to be the control plane

$split->sql(sprintf(q{ALTER SERVER legacy_db OPTIONS (SET host '%s', SET port '%s', SET dbname 'postgres')}, $control->host, $control->port));
($stdout, $stderr) = $split->try("SELECT n FROM run WHERE id = '$legacy'; SELECT n FROM run WHERE id = '$new';");
like($stderr, qr/cannot access store "legacy" of "run": the gate is closed\nDETAIL:  The server is the control plane itself/, 'it is closed when it is the control plane');
is($split->sql(q{SELECT state FROM runops.status() WHERE item = 'co_residency'}), 'true', 'and co-resident');
like($split->sql(q{SELECT verdict, reason FROM runops.recheck('new')}), qr/^unknown\|The store "legacy" is in the control plane's database/,
	'which expect_control_plane_split does not let pass');
$split->sql(sprintf(q{ALTER SERVER legacy_db OPTIONS (SET host '%s', SET port '%s', SET dbname 'monolith')}, $store->host, $store->port));
is(rows("SELECT n FROM run WHERE id IN ('$legacy', '$new') ORDER BY n"), '102 111', 'open again');

# legacy down: its statements fail, those of the other store do not

$split->sql(q{ALTER SERVER legacy_db OPTIONS (SET dbname 'gone')});
($stdout, $stderr) = $split->try("SELECT n FROM run WHERE id = '$legacy'; SELECT n FROM run WHERE id = '$new';");
like($stderr, qr/ERROR:  RO002: cannot access store "legacy" of "run".*\nDETAIL:  .*database "gone" does not exist/, 'legacy cannot be reached');
is($stdout, '102', 'the other store can');
$split->sql(q{ALTER SERVER legacy_db OPTIONS (SET dbname 'monolith')});

# a key that is unique over all stores, of which none is this database

my ($key1, $key2) = ('c00000000000000000000uniq', '0123456789abcdefghijklmu01');

$split->sql(q{SELECT runops.add_unique('run', '{n}', 'n > 1000', 'big')});
$split->sql("INSERT INTO run (id, n) VALUES ('$key1', 1001)");
($stdout, $stderr) = $split->try("INSERT INTO run (id, n) VALUES ('$key2', 1001);");
like($stderr, qr/ERROR:  23505: duplicate key value violates unique constraint "big"\nDETAIL:  Key \(n\)=\(1001\) already exists/, 'a unique key over all stores');
$split->sql("UPDATE run SET n = 1002 WHERE id = '$key1'; INSERT INTO run (id, n) VALUES ('$key2', 1001)");
is($split->sql('SELECT * FROM runops_unique.big ORDER BY 1'), "1001|new\n1002|legacy", 'its entries');
is($split->sql('SELECT * FROM runops.check_unique()'), '', 'they are those of the rows');
$split->sql(qq{DELETE FROM run WHERE n > 1000; SELECT runops.drop_unique('run', 'big')});

# the flag is off: nobody is asked, and so nothing is said of legacy

$control->append_conf('postgresql.conf', "runops.expect_control_plane_split = off\nrunops.split_enabled = off");
$control->restart;
my $log = -s $store->logfile;

foreach my $sql (
	"SELECT n FROM run WHERE id = '$legacy'", "SELECT n FROM run WHERE id = '$odd'", 'SELECT count(*) FROM run',
	"SELECT 1 FROM edge JOIN run ON run.id = run_id", "SET runops.enable_routing = off; SELECT n FROM run WHERE id = '$legacy'",
	"INSERT INTO run VALUES ('$legacy2')", "INSERT INTO run VALUES ('$odd')", "INSERT INTO run VALUES ('$new')",
	'UPDATE run SET n = 0', "UPDATE run SET n = 0 WHERE id = '$legacy'", 'DELETE FROM run', 'SELECT * FROM runops_legacy.run',
	"PREPARE p (text) AS SELECT n FROM run WHERE id = \$1; EXECUTE p ('$legacy')",
	"COPY run (id) FROM STDIN;\n$legacy\n\\.\n", "SELECT runops.verify()", "SELECT runops.detach('run')", "SELECT runops.provision('legacy')")
{
	($stdout, $stderr) = $split->try("$sql;");
	like($stderr, qr/ERROR:  RO002: .*the gate is closed\nDETAIL:  The setting "runops.split_enabled" is off\.\nHINT:  Set "runops.split_enabled" to on and restart the server\./,
		"the flag is off: $sql" =~ s/\n.*//sr);
	is($stdout, '', '... and no rows');
}
is(rows("SELECT n FROM run WHERE id = '$new'"), '', 'an id of another store finds no row, as ever with the flag off');
($stdout, $stderr) = $split->try('TRUNCATE run; ANALYZE run;');
like($stderr, qr/ERROR:  0A000: cannot truncate.*WARNING:  RO002: skipping "run" --- the gate to store "legacy" is closed/s, 'TRUNCATE and ANALYZE do not take it for empty');
like($split->sql(q{SELECT finding FROM runops.doctor() WHERE object = 'store legacy'}), qr/the split is off and the store is another database, so statements on routed tables fail/, 'doctor()');
is($split->sql(q{SELECT count(*) FROM runops.status()}), $split->sql('SELECT 6 + (SELECT count(*) + count(server) FROM runops.stores) + (SELECT count(*) FROM runops.routed_tables)'), 'status()');
unlike(slurp_file($store->logfile, $log), qr/statement:|connection/, 'nobody was asked');

# the way back

$control->append_conf('postgresql.conf', 'runops.split_enabled = on');
$control->restart;
legacy_sql('TRUNCATE run CASCADE');
$split->store_sql('TRUNCATE run CASCADE');
$split->sql(q{SELECT runops.detach('edge'); SELECT runops.detach('run'); SELECT runops.drop_store('legacy')});
is(rows(q{SELECT c.relnamespace::regnamespace, c.relkind, (SELECT count(*) FROM pg_index WHERE indrelid = c.oid) FROM pg_class c WHERE oid = 'run'::regclass}),
	'public|r|3', 'the table is a plain one again, with its indexes');
is(rows(q{SELECT nspname FROM pg_namespace WHERE nspname ~ '^runops_'}), '', 'nothing is left of the leaves');
$split->sql("INSERT INTO run (id) VALUES ('$legacy2'); SELECT runops.attach('run', 'id')");
is(rows("SELECT n FROM run WHERE id = '$legacy2'"), '7', 'and legacy is this database');

done_testing();
