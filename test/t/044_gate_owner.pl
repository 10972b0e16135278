#
# 044_gate_owner.pl
#	  A copy of the control plane that pg_dump made does not use the stores of the
#	  original, and when it takes a store over, the original does not use it any more.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new;
my ($control, $store) = ($split->control, $split->store);
my $dir = PostgreSQL::Test::Utils::tempdir;
my ($new, $shard, $legacy) = ('0123456789abcdefghijklmna1', '0123456789abcdefghijklmne2', 'c000000000000000000000001');
my ($stdout, $stderr);

# The comment that says whose the database of a store is.
sub owner
{
	my ($database) = @_;

	return $store->safe_psql($database, q{SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'runops_store'});
}

# The rows of all stores.
sub rows
{
	return join(' ', map { $store->safe_psql($_, "SELECT string_agg(id || '=' || n, ' ' ORDER BY id) FROM run") } qw(run_ops shard));
}

# Each statement fails in a database, with and without routing, and writes nothing.
sub closed
{
	my ($node, $database, $detail, $what) = @_;
	my $before = rows();

	foreach my $routing (qw(on off))
	{
		foreach my $sql ("SELECT n FROM run WHERE id = '$new'", "INSERT INTO run VALUES ('0123456789abcdefghijklmnb1', 5)",
			"UPDATE run SET n = 9 WHERE id = '$shard'", "DELETE FROM run WHERE id = '$new'", 'SELECT count(*) FROM run',
			"PREPARE p AS UPDATE run SET n = 9 WHERE id = \$1; EXECUTE p ('$new')",
			"DO 'BEGIN UPDATE run SET n = 9 WHERE id = ''$new''; END'", q{SELECT runops.remote_exec('new', 'DELETE FROM run')},
			q{SELECT * FROM runops.provision('new')})
		{
			$node->psql($database, "\\set VERBOSITY verbose\nSET runops.enable_routing = $routing;\n$sql;", on_error_stop => 0,
				stdout => \$stdout, stderr => \$stderr);
			like($stderr, qr/ERROR:  RO007: cannot access store "(?:new|e|run_ops|shard)"(?: of "run")?: .*\nDETAIL:  $detail.*\nHINT:  .*accept_new_identity => true/,
				"$what, routing $routing: $sql");
		}
	}
	$node->psql($database, "\\set VERBOSITY verbose\nANALYZE run", stdout => \$stdout, stderr => \$stderr);
	like($stderr, qr/WARNING:  RO007: skipping "run" --- the gate to store "(?:new|e)" is closed/, "$what: ANALYZE warns");
	is($node->safe_psql($database, "SELECT n FROM run WHERE id = '$legacy'"), '1', "$what: legacy rows are served");
	is(rows(), $before, "$what: nothing was written");
	return;
}

$split->create_server('shard', 'shard');
$split->sql(<<"EOT");
SELECT runops.add_store('e', 'shard');
CREATE TABLE run (id text PRIMARY KEY, n int);
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
SELECT runops.provision('e');
SELECT runops.recheck();
INSERT INTO run VALUES ('$new', 1), ('$shard', 1), ('$legacy', 1);
EOT
like(owner($_), qr/^claim=-?\d+ after=0 cluster=\d+ timeline=1 place=\w+ database=postgres$/, "$_ says whose it is") foreach qw(run_ops shard);
is($split->sql(q{SELECT string_agg(store, ' ' ORDER BY store) FROM runops.store_identity}), 'e new', 'so does this database');

my $claim = owner('run_ops');

$split->sql('SELECT runops.recheck()');
is(owner('run_ops'), $claim, 'another proof changes nothing');

# a dump, in another database of the cluster and in another cluster
my $other = PostgreSQL::Test::Cluster->new('other');

$other->init;
$other->append_conf('postgresql.conf', "shared_preload_libraries = 'runops'\nrunops.split_enabled = on\nrunops.native_realtime_enabled = on\nrunops.cross_store_writes = allow\n");
$other->start;
command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", $control->connstr('postgres') ], 'pg_dump');
$control->safe_psql('postgres', 'CREATE DATABASE staging TEMPLATE template0');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $control->connstr('staging'), "$dir/dump" ], 'restored in another database');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $other->connstr('postgres'), "$dir/dump" ], 'restored in another cluster');
closed($control, 'staging', 'The store was proved from database "postgres"; this one is "staging"', 'another database');
closed($other, 'postgres', 'The store was proved from a cluster with system identifier', 'another cluster');

# its worker and a second look change nothing
is($other->safe_psql('postgres', 'SELECT store, verdict FROM runops.recheck() ORDER BY 1'), "e|unknown\nnew|unknown", 'recheck alone is not enough');
is(owner('run_ops'), $claim, 'the store is the original\'s');
is($split->sql("UPDATE run SET n = 2 WHERE id = '$new' RETURNING n"), '2', 'which uses it');

# a dump without the records, as if they had been lost: the store still knows
$other->safe_psql('postgres', 'DELETE FROM runops.store_identity');
closed($other, 'postgres', 'The store belongs to the control plane in database "postgres" of the cluster with system identifier \d+', 'without a record of its own');
is($other->safe_psql('postgres', 'SELECT store, verdict FROM runops.recheck() ORDER BY 1'), "e|unknown\nnew|unknown", 'recheck does not make one');

# the copy takes one store over; what the original has open there ends
my $session = $control->background_psql('postgres', on_error_stop => 0);

is($session->query("SELECT n FROM run WHERE id = '$new'"), '2', 'the original has a connection');
$other->safe_psql('postgres', q{BEGIN; SELECT runops.recheck('new', accept_new_identity => true); ROLLBACK});
is($split->sql("UPDATE run SET n = 3 WHERE id = '$new' RETURNING n"), '3', 'an acceptance that is rolled back takes nothing');
is(owner('run_ops'), $claim, 'and the store says so');
is($other->safe_psql('postgres', q{SELECT store, verdict FROM runops.recheck('new', accept_new_identity => true)}), 'new|distinct', 'the copy takes a store over');
is($other->safe_psql('postgres', "UPDATE run SET n = 10 WHERE id = '$new' RETURNING n"), '10', 'and uses it');
isnt(owner('run_ops'), $claim, 'the store says so');
$session->query("UPDATE run SET n = 4 WHERE id = '$new'");
like($session->{stderr}, qr/ERROR:/, 'a session of the original that was connected is not any more');
$session->{stderr} = '';
is($session->query("SELECT n FROM run WHERE id = '$new'"), '', 'and does not connect again');
like($session->{stderr}, qr/DETAIL:  The store belongs to the control plane in database "postgres" of the cluster/, 'but says why');
$session->{stderr} = '';
is($store->safe_psql('run_ops', 'SELECT n FROM run'), '10', 'nothing was written');
is($split->sql("UPDATE run SET n = 2 WHERE id = '$shard' RETURNING n"), '2', 'the other store is still the original\'s');
$other->psql('postgres', "UPDATE run SET n = 9 WHERE id = '$shard'", stderr => \$stderr);
like($stderr, qr/DETAIL:  The store belongs to/, 'and not the copy\'s');
$split->sql(q{SELECT runops.recheck(accept_new_identity => true)});
is($split->sql("UPDATE run SET n = 5 WHERE id = '$new' RETURNING n"), '5', 'taken back');
closed($other, 'postgres', 'The store belongs to the control plane', 'the copy');
$session->quit;

# the original takes it back before it has noticed: no statement fails
$other->safe_psql('postgres', q{SELECT runops.recheck('new', accept_new_identity => true)});
is($other->safe_psql('postgres', "UPDATE run SET n = 6 WHERE id = '$new' RETURNING n"), '6', 'the copy takes it over');
$split->sql(q{SELECT runops.recheck('new', accept_new_identity => true)});
is($split->sql("UPDATE run SET n = n + 1 WHERE id = '$new' RETURNING n"), '7', 'the original takes it back at once');

# a store whose role may create nothing there: this database has the only record, and the dump has it too
$store->safe_psql('postgres', 'CREATE ROLE plain LOGIN');
$split->create_server('poor', 'poor');
$store->safe_psql('poor', 'CREATE TABLE run (id text PRIMARY KEY, n int); GRANT ALL ON run TO plain');
$split->sql(q{ALTER USER MAPPING FOR CURRENT_USER SERVER poor OPTIONS (ADD user 'plain'); SELECT runops.add_store('f', 'poor')});
is($split->sql(q{SELECT verdict FROM runops.recheck('f')}), 'distinct', 'a role without rights in the store');
is(owner('poor'), '', 'leaves no record there');
is($split->sql(q{INSERT INTO run VALUES ('0123456789abcdefghijklmnf2', 1) RETURNING n}), '1', 'and uses it');
command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump2", $control->connstr('postgres') ], 'pg_dump');
$control->safe_psql('postgres', 'CREATE DATABASE staging2 TEMPLATE template0');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $control->connstr('staging2'), "$dir/dump2" ], 'restored');
$control->psql('staging2', q{INSERT INTO run VALUES ('0123456789abcdefghijklmnf2', 2)}, stderr => \$stderr);
like($stderr, qr/DETAIL:  The store was proved from database "postgres"; this one is "staging2"/, 'a copy does not');
is($store->safe_psql('poor', 'SELECT n FROM run'), '1', 'and has written nothing');

# two control planes use two schemas of one database
$other->safe_psql('postgres', 'CREATE DATABASE third');
$other->safe_psql('third', sprintf(q{
	CREATE EXTENSION runops CASCADE;
	CREATE SERVER aside FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%s', port '%s', dbname 'run_ops');
	CREATE USER MAPPING FOR CURRENT_USER SERVER aside;
	SELECT runops.add_store('new', 'aside', remote_schema => 'Aside');
	CREATE TABLE run (id text PRIMARY KEY, n int);
	SELECT runops.attach('run', 'id')}, $store->host, $store->port));
is($other->safe_psql('third', 'SELECT verdict FROM runops.recheck()'), 'distinct', 'a control plane with a schema of its own');
$other->safe_psql('third', "SELECT runops.provision('new'); INSERT INTO run VALUES ('$new', 77)");
is($store->safe_psql('run_ops', q{SELECT nspname ~ '^runops_store_[0-9a-f]{16}$', obj_description(oid, 'pg_namespace') ~ 'database=third$' FROM pg_namespace WHERE nspname ~ '^runops_store_'}), 't|t',
	'has a record of its own');
is($split->sql("SELECT n FROM run WHERE id = '$new'"), '7', 'the other one is not disturbed');
is($other->safe_psql('third', "SELECT n FROM run WHERE id = '$new'"), '77', 'nor is it by the other one');

# a record that nobody understands is not ours, also if it ends as ours does
(my $form = owner('run_ops')) =~ s/^claim=\S+ after=\S+//;
for my $claim ('x', '', '1x', '+1', '01', '9223372036854775808', '-9223372036854775809', '99999999999999999999999', "\n5")
{
	$store->safe_psql('run_ops', "COMMENT ON SCHEMA runops_store IS \$\$claim=$claim after=0$form\$\$");
	$control->psql('postgres', "SELECT n FROM run WHERE id = '$new'", stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($stderr, qr/ERROR:  RO007: .*\nDETAIL:  The comment on schema "runops_store" of the store is not a record of a control plane\./, "claim \"$claim\"");
}
$store->safe_psql('run_ops', 'COMMENT ON SCHEMA runops_store IS $$mine$$');
is($split->sql(q{SELECT verdict, reason FROM runops.recheck('new')}), 'unknown|The comment on schema "runops_store" of the store is not a record of a control plane.', 'another comment');
# a snapshot that is older than its lock would let two control planes replace the same record
$store->safe_psql('run_ops', <<'EOT');
CREATE TABLE level (name text);
CREATE FUNCTION note_level() RETURNS event_trigger LANGUAGE plpgsql AS
$$BEGIN INSERT INTO public.level VALUES (pg_catalog.current_setting('transaction_isolation')); END$$;
CREATE EVENT TRIGGER note_level ON ddl_command_end WHEN TAG IN ('COMMENT') EXECUTE FUNCTION note_level();
ALTER DATABASE run_ops SET default_transaction_isolation = 'repeatable read';
EOT
$split->sql(q{SELECT runops.recheck('new', accept_new_identity => true)});
is($split->sql("SELECT n FROM run WHERE id = '$new'"), '7', 'accepted');
is($store->safe_psql('run_ops', 'SELECT DISTINCT name FROM level'), 'read committed', 'by a transaction that sees the newest record');
like(owner('run_ops'), qr/^claim=-?[1-9]\d* after=0 cluster=/, 'the record is made again');

done_testing();
