#
# 038_setup_pg_upgrade.pl
#	  A control plane with routed tables goes through pg_upgrade: no store is
#	  contacted during the upgrade, nothing is lost, and the gate stays closed until
#	  the new cluster is accepted as the control plane.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(conf => "autovacuum = off\n", store_conf => "log_connections = on\n");
my ($old, $store) = ($split->control, $split->store);
my $bindir = $old->config_data('--bindir');

plan skip_all => 'there is no pg_upgrade' unless -x "$bindir/pg_upgrade";

my $new_id = '0123456789abcdefghijklmna1';

$split->sql(<<"EOT");
CREATE TYPE state AS ENUM ('A', 'B');
CREATE SCHEMA app;
CREATE TABLE app."Run" (gone int, id text COLLATE "C" PRIMARY KEY, "friendlyId" text, s state DEFAULT 'A', n serial);
ALTER TABLE app."Run" DROP gone;
CREATE TABLE app.item (run text COLLATE "C" NOT NULL REFERENCES app."Run" ON DELETE CASCADE, v int);
CREATE INDEX ON app.item (run);
CREATE INDEX ON app."Run" ("friendlyId");
SELECT runops.attach('app."Run"', 'id', '{friendlyId}');
SELECT runops.attach('app.item', 'run');
SELECT runops.provision('new');
INSERT INTO app."Run" (id) VALUES ('c000000000000000000000001'), ('$new_id');
INSERT INTO app.item VALUES ('c000000000000000000000001', 1), ('$new_id', 2);
ANALYZE app."Run", app.item;
SELECT runops.recheck();
CREATE TABLE app.env (id text PRIMARY KEY);
CREATE TABLE app.alert (id int PRIMARY KEY, run text);
CREATE FUNCTION app.complete(id text) RETURNS text LANGUAGE sql AS 'SELECT store FROM runops.completion_store(id, ''RUN'')';
SELECT runops.add_unique('app."Run"', '{n}');
SELECT runops.add_reference('app.alert', 'run', 'app."Run"');
SELECT runops.add_cascade('app.env', 'app."Run"', 'friendlyId');
SELECT runops.add_resolver('env', 'SELECT id FROM app.env WHERE id = \$1');
SELECT runops.add_unblock_route('app.complete(text)', 'RUN');
SELECT runops.claim('scope', 'key', 'c000000000000000000000001');
CREATE VIEW app.per_run AS SELECT r.id, r.n, count(i.v) AS items FROM app."Run" r LEFT JOIN app.item i ON i.run = r.id GROUP BY r.id;
EOT
my $keys = q{SELECT c.conrelid::regclass, c.conname, c.conindid::regclass, x.indisvalid, x.indislive FROM pg_constraint c JOIN pg_index x ON x.indexrelid = c.conindid
	WHERE c.contype = 'p' AND c.conrelid::regclass::text LIKE '%"Run"' ORDER BY c.conrelid::regclass::text COLLATE "C"};
my $keys_before = $split->sql($keys);
my $rows = q{SELECT string_agg(format('%s %s %s %s', r.id, s, n, v), ', ' ORDER BY r.id) FROM app."Run" r LEFT JOIN app.item ON run = r.id};
my $before = $split->sql($rows);
my $legacy = q{SELECT s, n FROM app."Run" WHERE id = 'c000000000000000000000001'};

is($before, "$new_id A 2 2, c000000000000000000000001 A 1 1", 'rows of both stores');

my $new = PostgreSQL::Test::Cluster->new('upgraded');

$new->init;
$new->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'runops'
runops.split_enabled = on
runops.native_realtime_enabled = on
runops.database = ''
EOT
$old->stop;

my $offset = -s $store->logfile;
my $workdir = PostgreSQL::Test::Utils::tempdir_short();
my ($out, $err) = ('', '');

chdir $workdir or die "$workdir: $!";
ok( IPC::Run::run(
		[   "$bindir/pg_upgrade", '--no-sync',
			'-d', $old->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir,
			'-s', $workdir, '-p', $old->port, '-P', $new->port ],
		'<', '/dev/null', '>', \$out, '2>', \$err),
	'pg_upgrade succeeds')
  or diag($out, $err, map { slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/*.log'));
unlike(slurp_file($store->logfile, $offset), qr/connection received/, 'the store has heard nothing of it');

$new->start;
$split->{control} = $new;
is($split->sql($legacy), 'A|1', 'legacy statements work');
my ($stdout, $stderr) = $split->try(qq{SELECT s FROM app."Run" WHERE id = '$new_id';});
like($stderr, qr/RO007: .*\nDETAIL:  The store was proved from (?:a cluster with system identifier|data directory)/, 'the gate waits for somebody to say which cluster it is');
like($split->sql(q{SELECT verdict FROM runops.recheck(accept_new_identity => true)}), qr/^distinct$/, 'that is said');
is($split->sql($rows), $before, 'all rows are there');
is($split->sql($keys), $keys_before, 'the primary keys of the routed table and of its leaf');
is($split->sql('SELECT id, n, items FROM app.per_run ORDER BY id'), "$new_id|2|1\nc000000000000000000000001|1|1", 'and a view that needs it');
is($split->sql(q{SELECT string_agg(relation::text || ' ' || key || ' ' || leaves, ', ' ORDER BY relation::text) FROM runops.routed_tables}),
	'app."Run" id 2, app.item run 2', 'the tables are routed');
is($split->sql(q{SELECT string_agg(store || ' ' || relation, ', ' ORDER BY relation::text) FROM runops.held_rows}), 'new app."Run", new app.item', 'that the store holds rows is known');
$split->sql(qq{INSERT INTO app."Run" (id) VALUES ('0123456789abcdefghijklmnb1'); UPDATE app."Run" SET s = 'B' WHERE id = '$new_id'; DELETE FROM app.item WHERE run = '$new_id'});
is($split->store_sql(q{SELECT string_agg(s::text || n, ' ' ORDER BY id) FROM app."Run"}), 'B2 A3', 'writes arrive');
$split->sql('ANALYZE app."Run", app.item');
is($split->sql(q{SELECT string_agg(severity || ' ' || finding, E'\n') FROM runops.doctor() WHERE severity = 'error'}), '', 'the doctor finds no error');
is($split->sql(q{SELECT (SELECT count(*) FROM runops.unique_keys), (SELECT count(*) FROM runops.reference_keys), (SELECT count(*) FROM runops.cascades),
	(SELECT count(*) FROM runops.resolvers), (SELECT count(*) FROM runops.claims), (SELECT string_agg(routine::text, ',') FROM runops.unblock_routes)}),
	'1|1|1|1|1|app.complete(text)', 'the rest of the configuration is there');
($stdout, $stderr) = $split->try(qq{INSERT INTO app."Run" (id, n) VALUES ('0123456789abcdefghijklmnc1', 1); INSERT INTO app.alert VALUES (1, '0123456789abcdefghijklmnz1'); INSERT INTO app.alert VALUES (2, '$new_id');});
like($stderr, qr/ERROR:  23505.*ERROR:  23503/s, 'and at work');
is($split->sql('SELECT string_agg(id::text, $$,$$) FROM app.alert'), '2', 'and lets in what fits');
$split->sql('DROP VIEW app.per_run');
$split->sql(q{SELECT runops.detach('app.item', force => true); SELECT runops.detach('app."Run"', force => true)});
is($split->sql(q{SELECT relkind FROM pg_class WHERE oid = 'app."Run"'::regclass}), 'r', 'the tables can be detached');

done_testing();
