# SplitFixture: the instance of SplitRig with the tables and rows of this directory in it.
package SplitFixture;

use strict;
use warnings;

use Check;
use Data;
use SplitRig;

# Rows enough for an index to be worth its while; not in the plain database.
my %MANY = (
	control => q{
		INSERT INTO runops_legacy."TaskRun" (id, "friendlyId", env, n)
		SELECT i, 'run_' || i, 'e' || g % 4 + 1, g % 9 FROM (SELECT g, 'cl1' || lpad(g::text, 22, '0') AS i FROM generate_series(1, 20000) g) s;
		INSERT INTO runops_legacy."Attempt" (id, "runId", number)
		SELECT 'cl2' || lpad(g::text, 22, '0'), 'cl1' || lpad(g::text, 22, '0'), 1 FROM generate_series(1, 20000) g;
		INSERT INTO note (id, run_id, env)
		SELECT 1000 + g, CASE WHEN g % 2 = 0 THEN 'cl1' || lpad(g::text, 22, '0') ELSE lpad(g::text, 24, '0') || 'e1' END, 'e1' FROM generate_series(1, 4000) g},
	store_new => q{
		INSERT INTO "TaskRun" (id, "friendlyId", env, n, status)
		SELECT i, 'run_' || i, 'e' || g % 4 + 1, g % 9, 'DONE' FROM (SELECT g, lpad(g::text, 24, '0') || 'e1' AS i FROM generate_series(1, 20000) g) s;
		INSERT INTO "Attempt" (id, "runId", number, status)
		SELECT 'cl3' || lpad(g::text, 22, '0'), lpad(g::text, 24, '0') || 'e1', 1, 'DONE' FROM generate_series(1, 20000) g},
	store_e => q{
		INSERT INTO "TaskRun" (id, "friendlyId", env, n, status)
		SELECT i, 'run_' || i, 'e' || g % 4 + 1, g % 9, 'DONE' FROM (SELECT g, lpad(g::text, 24, '0') || 'e2' AS i FROM generate_series(1, 10000) g) s});

# Build it; dir is this directory.  Options: conf, async, estimate, many, elsewhere, readers.
sub build
{
	my ($dir, %arg) = @_;
	my $r = SplitRig->new(conf => $arg{conf});
	return $r if eval { _fill($r, $dir, %arg); 1 };
	my $why = $@;
	$r->stop;
	print "could not build the split: $why\n0 passed, 1 failed\n";
	exit 1;
}

sub _fill
{
	my ($r, $dir, %arg) = @_;
	my %part = map { $_ => $r->slurp("$dir/$_.sql") } qw(schema split plain after);
	my @stores = ($arg{elsewhere} ? 'legacy' : (), qw(new e));
	$r->build(%part, elsewhere => $arg{elsewhere}, legacy => Data::rows_sql(0), new => Data::rows_sql(1));
	my $c = $r->connect('control');
	$c->do('CREATE ROLE diff_app LOGIN');
	for my $db (qw(control plain))
	{
		my $d = $r->connect($db);
		$d->do($part{after});
		$d->close;
	}
	# small fetches and batches; postgres_fdw fails by itself on a sub-select inside an asynchronous scan of the same server
	my $async = $arg{async} ? ", ADD async_capable 'true'" : '';
	$c->do("ALTER SERVER srv_new OPTIONS (ADD fetch_size '3'$async)") if !$arg{many};
	$c->do("ALTER SERVER srv_e OPTIONS (ADD batch_size '10'$async)");
	$c->do("ALTER SERVER srv_$_ OPTIONS (ADD use_remote_estimate 'true')") for $arg{estimate} ? @stores : ();
	for my $store (@stores)
	{
		# one mapping, so that both roles share a transaction in the store
		$c->do("DROP USER MAPPING FOR CURRENT_USER SERVER srv_$store");
		$c->do("CREATE USER MAPPING FOR PUBLIC SERVER srv_$store OPTIONS (user 'postgres', password_required 'false')");
		my $s = $r->connect("store_$store");
		$s->do($MANY{"store_$store"}) if $arg{many} && $MANY{"store_$store"};
		$s->do('ANALYZE');
		$s->close;
	}
	$c->do($MANY{control}) if $arg{many};
	$r->add_readers if $arg{readers};
	# the state of the leaves is read by the role whose connection has written
	$c->do("GRANT USAGE ON SCHEMA $_ TO diff_app; GRANT SELECT ON ALL TABLES IN SCHEMA $_ TO diff_app") for Check::leaf_schemas();
	$c->do('ANALYZE');
	# which leaves out foreign tables
	$c->do("ANALYZE $_->[0]") for @{ $c->do('SELECT ftrelid::regclass FROM pg_foreign_table') };
	$c->close;
	$r->connect('plain')->do('ANALYZE');
	return;
}

1;
