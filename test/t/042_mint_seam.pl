# Functions that keep families together, in states that a regression test cannot
# have: with the flag off, with the gate closed, and with a store that is down.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $L = 'c000000000000000000000001';
my $L2 = 'c000000000000000000000002';
my $N = '0123456789abcdefghijklmna1';
my $N2 = '0123456789abcdefghijklmnb1';

my $tables = <<'EOT';
CREATE TABLE run (id text PRIMARY KEY, parent text);
SELECT runops.attach('run', 'id');
EOT

# the flag is off: one database
my $off = TwoClusters->new(name => 'off_', split => 0, store_conf => "log_connections = on\n");
my $offset = -s $off->store->logfile;

$off->sql($tables);
is($off->sql("SELECT * FROM runops.completion_store('$N', 'RUN')"), 'legacy|LEGACY|RUN|',
	'flag off: a waitpoint of NEW is completed in legacy');
is($off->sql("SELECT * FROM runops.completion_store('waitpoint_0123456789', 'WAT', 'LEGACY', true, true)"),
	'legacy|LEGACY|WAT|', 'flag off: neither the id nor the kind is looked at');
is($off->sql("SELECT * FROM runops.completion_store(NULL, NULL)"), 'legacy|LEGACY||',
	'flag off: nor is NULL');

my ($stdout, $stderr) = $off->try(<<"EOT");
SET runops.cross_store_writes = error;
BEGIN;
INSERT INTO run VALUES ('$L', '$L2'), ('$L2', NULL);
UPDATE run SET parent = parent;
COMMIT;
EOT
is($stderr, '', 'flag off: one store, and nothing to be told');

($stdout, $stderr) = $off->try(q{SELECT runops.add_anchor('run', 'id', 'parent')});
like($stderr, qr/WARNING:  55000: column "parent" of table (?:public\.)?run is not checked in store "new"\nDETAIL:  .*the gate is closed\.\nHINT:  /,
	'flag off: an anchor says what is left to do');
($stdout, $stderr) = $off->try("INSERT INTO run VALUES ('c000000000000000000000003', '$N')");
like($stderr, qr/ERROR:  23514: .*"runops_alias_parent"/, 'flag off: it holds in legacy');
is($off->sql("SELECT count(*) FROM run WHERE parent = '$N'"), '0', 'flag off: a parent of NEW has no children');
$off->sql(q{SELECT runops.drop_anchor('run', 'id', 'parent')});
is($off->sql('SELECT count(*) FROM runops.anchors'), '0', 'flag off: it is dropped');
unlike(slurp_file($off->store->logfile, $offset), qr/connection received/, 'flag off: the store was never asked');
$off->control->stop;
$off->store->stop;

# the gate is closed: the store is down before it is proved
my $split = TwoClusters->new(conf => "runops.database = ''\n");

$split->sql($tables);
$split->store->stop;
foreach my $id ($N, $L, 'odd')
{
	($stdout, $stderr) = $split->try("SELECT runops.completion_store('$id', 'RUN', 'LEGACY')");
	like($stderr, qr/ERROR:  RO002: cannot access store "new": the gate is closed\nDETAIL:  .*connect/,
		"gate closed: the reason, for $id");
}
($stdout, $stderr) = $split->try(q{SELECT runops.add_anchor('run', 'id', 'parent')});
like($stderr, qr/WARNING:  55000: column "parent" .* not checked in store "new"/, 'gate closed: an anchor says so');
like($stderr, qr/HINT:  .*runops\.provision\('new', relation => '(?:public\.)?run'\)/, 'gate closed: and what to run');

# the store is there, with a table that was made before the anchor
$split->store->start;
$split->sql('SELECT * FROM runops.recheck()');
$split->sql(q{SELECT runops.drop_anchor('run', 'id', 'parent')});
$split->sql(q{SELECT count(*) FROM runops.provision('new')});
$split->store_sql("INSERT INTO run VALUES ('$N', '$L')");
$split->store->stop;
($stdout, $stderr) = $split->try(q{SELECT runops.add_anchor('run', 'id', 'parent')});
like($stderr, qr/WARNING:  55000: column "parent" .* not checked in store "new"/, 'store down: an anchor says so');
$split->store->start;
is($split->sql(q{SELECT store, finding, detail FROM runops.verify('run') WHERE finding = 'constraint'}),
	'new|constraint|constraint runops_alias_parent on public.run: missing in the store', 'verify misses the check');
($stdout, $stderr) = $split->try("INSERT INTO run VALUES ('$N2', '$L')");
like($stderr, qr/ERROR:  23514: .*"runops_alias_parent"/, 'rows are checked on their way meanwhile');
($stdout, $stderr) = $split->try("UPDATE run SET parent = '$L' WHERE id = '$N'");
like($stderr, qr/ERROR:  23514: .*"runops_alias_parent"/, 'in an UPDATE, too');
($stdout, $stderr) = $split->try(q{SELECT count(*) FROM runops.provision('new', relation => 'run')});
like($stderr, qr/ERROR:  23514: /, 'provision finds the row that does not fit');
$split->sql("UPDATE run SET parent = '$N2' WHERE id = '$N'");
$split->sql(q{SELECT count(*) FROM runops.provision('new', relation => 'run')});
is($split->sql(q{SELECT count(*) FROM runops.verify('run')}), '0', 'once it is put right the check can be made');
my ($ret, undef, $err) = $split->store->psql('run_ops', "INSERT INTO run VALUES ('$N2', '$L')");
like($err, qr/violates check constraint "runops_alias_parent"/, 'and holds for who writes there');

# what a dump says of anchors and routes comes back
$split->sql(<<'EOT');
CREATE FUNCTION complete(id text) RETURNS text LANGUAGE sql AS $$ SELECT store FROM runops.completion_store(id, 'RUN') $$;
SELECT runops.add_unblock_route('complete(text)', 'RUN');
EOT
my $dump = "$PostgreSQL::Test::Utils::tmp_check/seam.sql";

$split->control->command_ok([ 'pg_dump', '-f', $dump, $split->control->connstr('postgres') ], 'a dump');
$split->control->safe_psql('postgres', 'CREATE DATABASE restored');
$split->control->safe_psql('restored', "\\i $dump");
is($split->control->safe_psql('restored', 'SELECT * FROM runops.anchors'), 'run|id|parent', 'the anchor is in it');
is($split->control->safe_psql('restored', 'SELECT * FROM runops.unblock_routes'), 'complete(text)|RUN|1', 'the route is in it');
is($split->control->safe_psql('restored', 'SELECT * FROM runops.check_unblock_routes()'), '', 'and names the restored routine');

# a store that refuses to commit keeps this database from it
$split->store_sql('ALTER TABLE run ADD CONSTRAINT once UNIQUE (parent) DEFERRABLE INITIALLY DEFERRED');
($stdout, $stderr) = $split->try(<<"EOT");
BEGIN;
INSERT INTO run VALUES ('$L', NULL);
INSERT INTO run VALUES ('$N2', '$N2');
COMMIT;
EOT
like($stderr, qr/ERROR:  23505: /, 'the store refuses at its commit');
is($split->sql("SELECT count(*) FROM run WHERE id IN ('$L', '$N2')"), '0', 'and this database, which is the last, has not committed');

# legacy in a database of its own is a store like any other
$split->control->stop;
$split->store->stop;
my $three = TwoClusters->new(name => 'three_', conf => "runops.database = ''\n");

$three->create_server('legacy_db', 'monolith');
$three->sql(q{SELECT runops.add_store('legacy', 'legacy_db')});
$three->sql($tables);
$three->sql(q{SELECT count(*) FROM runops.provision('new') n, runops.provision('legacy') l});
$three->sql("INSERT INTO run VALUES ('$L', '$N'); INSERT INTO run VALUES ('$N2', NULL)");
($stdout, $stderr) = $three->try(<<"EOT");
SET runops.cross_store_writes = error;
BEGIN;
UPDATE run SET parent = parent WHERE id = '$L';
UPDATE run SET parent = parent WHERE id = '$N2';
ROLLBACK;
UPDATE run SET parent = parent;
EOT
is(scalar(() = $stderr =~ /ERROR:  RO005: transaction writes to stores "(?:legacy" and "new|new" and "legacy)"/g), 2,
	'legacy elsewhere: two stores are two stores');
($stdout, $stderr) = $three->try(q{SELECT runops.add_anchor('run', 'id', 'parent')});
like($stderr, qr/ERROR:  RO003: column "parent" .*\nDETAIL:  Values in store "legacy", each with the key of its row: '$N' of '$L'/,
	'legacy elsewhere: its rows are looked at there');
$three->sql("UPDATE run SET parent = '$L2' WHERE id = '$L'");
($stdout, $stderr) = $three->try(<<"EOT");
SELECT runops.add_anchor('run', 'id', 'parent');
INSERT INTO run VALUES ('$L2', '$N');
SELECT id FROM run WHERE parent = '$L2';
EOT
like($stdout, qr/^$L\s*\z/m, 'legacy elsewhere: a row is found by the column');
is(scalar(() = $stderr =~ /ERROR:  23514: .*"runops_alias_parent"/g), 1, 'legacy elsewhere: one that does not fit is refused');
($ret, undef, $err) = $three->store->psql('monolith', "INSERT INTO run VALUES ('$L2', '$N')");
like($err, qr/violates check constraint "runops_alias_parent"/, 'legacy elsewhere: there, too');
is($three->sql(q{SELECT count(*) FROM runops.verify('run')}), '0', 'legacy elsewhere: nothing differs');

done_testing();
