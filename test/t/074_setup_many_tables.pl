# How often a store is asked does not depend on the number of routed tables: the
# test counts the statements that doctor(), verify() and provision() send for a few
# tables and for many.  What is found of many tables is one finding of doctor(), and
# a store that is lost is one finding of verify().

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use Test::More;

use constant { FEW => 4, MANY => 40 };

my $split = TwoClusters->new(relay => 1, conf => "max_connections = 20\n");
my ($store, $relay) = ($split->store, $split->relay);

# Two roles own the tables, because each owner's tables are asked for with his rights.
$split->sql('CREATE ROLE other LOGIN; CREATE USER MAPPING FOR other SERVER run_ops OPTIONS (user \'other\', password_required \'false\')');
$split->store_sql('CREATE ROLE other LOGIN');

# Route the tables of these numbers.
sub route
{
	my ($first, $last) = @_;

	$split->sql(<<"EOT");
SET client_min_messages = error;
DO \$\$
BEGIN
	FOR i IN $first .. $last LOOP
		EXECUTE format('CREATE TABLE "Table %1\$s" (id text COLLATE "C" PRIMARY KEY, "friendlyId" text, n int CHECK (n > 0), kind text)', i);
		EXECUTE format('CREATE INDEX ON "Table %1\$s" (n)', i);
		IF i % 4 = 3 THEN
			EXECUTE format('ALTER TABLE "Table %1\$s" OWNER TO other', i);
		END IF;
		PERFORM runops.attach(format('%I', 'Table ' || i)::regclass, 'id', '{friendlyId}');
	END LOOP;
END
\$\$;
EOT
	return;
}

# The same statement for each table in the store.
sub everywhere
{
	my ($last, $statement) = @_;

	$split->store_sql("DO \$\$ BEGIN FOR i IN 1 .. $last LOOP EXECUTE format('$statement', 'Table ' || i); END LOOP; END \$\$");
	return;
}

# How many statements the store gets.
sub count_statements
{
	my ($sql) = @_;
	my @sent;

	$relay->reset;
	$split->sql($sql);
	@sent = $relay->statements;
	return scalar @sent;
}

# The counts for this number of tables.
sub counts
{
	my ($tables) = @_;
	my %sent;

	# The first connection of a session asks more.
	$split->sql(q{SELECT * FROM runops.recheck()});
	$sent{'provision, dry run'} = count_statements(q{SELECT * FROM runops.provision('new', true)});
	$split->sql(q{SELECT * FROM runops.provision('new')});
	$split->store_sql('GRANT ALL ON ALL TABLES IN SCHEMA public TO other');
	$sent{'provision with nothing to do'} = count_statements(q{SELECT * FROM runops.provision('new')});
	everywhere($tables, 'TRUNCATE %1$I');
	$sent{'doctor, no rows'} = count_statements('SELECT * FROM runops.doctor()');
	everywhere($tables, q{INSERT INTO %1$I VALUES (''0123456789abcdefghijklmna1'')});
	$sent{'doctor'} = count_statements('SELECT * FROM runops.doctor()');
	everywhere($tables, 'ALTER TABLE %1$I DROP CONSTRAINT runops_store');
	$sent{'doctor, rows to check'} = count_statements('SELECT * FROM runops.doctor()');
	everywhere($tables, 'DELETE FROM %1$I');
	$sent{'doctor, no rows in tables that have pages'} = count_statements('SELECT * FROM runops.doctor()');

	# The rows of each table are read by a query of its own.
	my $session = count_statements(q{SELECT runops.remote_query('new', 'SELECT 1')});

	$sent{'verify'} = count_statements('SELECT * FROM runops.verify()') - $tables * $session;
	return \%sent;
}

route(1, FEW);
my $few = counts(FEW);
$split->sql(q{SELECT * FROM runops.provision('new')});
my $kinds = $split->sql(q{SELECT severity, finding FROM runops.doctor() ORDER BY 1, 2});

route(FEW + 1, MANY);
my $many = counts(MANY);

foreach my $what (sort keys %$few)
{
	cmp_ok($few->{$what}, '>', 0, "$what: the store is asked");
	is($many->{$what}, $few->{$what}, sprintf('%s: as often for %d tables as for %d', $what, MANY, FEW));
}

# one finding for each kind

is($split->sql(q{SELECT severity, count, object, finding, hint FROM runops.doctor() WHERE object LIKE 'store new: constraint %'}),
	join('|', 'warning', MANY, 'store new: constraint runops_store on public."Table 1", store new: constraint runops_store on public."Table 10", '
		. 'store new: constraint runops_store on public."Table 11" and ' . (MANY - 3) . ' more',
		'missing in the store', q{Use runops.provision('new'). See all by runops.doctor(detail => true).}),
	'one finding for the same defect of many tables');
is($split->sql(q{SELECT count(*), count(DISTINCT object), min(count), max(count), min(finding), max(hint)
	FROM runops.doctor(detail => true) WHERE object LIKE 'store new: constraint %'}),
	join('|', MANY, MANY, 1, 1, 'missing in the store', q{Use runops.provision('new').}), 'and one for each on request');
is($split->sql('SELECT (SELECT sum(count) FROM runops.doctor()) = (SELECT count(*) FROM runops.doctor(true))'), 't', 'none is left out');
$split->sql(q{SELECT * FROM runops.provision('new')});
is($split->sql(q{SELECT severity, finding FROM runops.doctor() ORDER BY 1, 2}), $kinds, 'no more findings for more tables');

# rows that belong elsewhere are counted for each table, of whichever owner

everywhere(MANY, 'ALTER TABLE %1$I DROP CONSTRAINT runops_store');
$split->store_sql(<<'EOT');
INSERT INTO "Table 2" VALUES ('c000000000000000000000002'), ('c000000000000000000000003');
INSERT INTO "Table 3" VALUES ('c000000000000000000000002');
EOT
is($split->sql(q{SELECT object, finding FROM runops.doctor(true) WHERE finding LIKE 'rows belong%' ORDER BY 1}),
	qq{store new: table public."Table 2"|rows belong to another store, so queries by id do not find them: 2\n}
	. q{store new: table public."Table 3"|rows belong to another store, so queries by id do not find them: 1}, 'misplaced rows are counted');
$split->store_sql('DELETE FROM "Table 2"; DELETE FROM "Table 3"');
$split->sql(q{SELECT * FROM runops.provision('new')});

# a store that refuses connections

$relay->refuse;
$relay->drop;
is($split->sql(q{SELECT count(*), sum(count) FROM runops.doctor() WHERE object LIKE 'store new%'}), '1|1', 'doctor: one finding for a store that is lost');
is($split->sql('SELECT count(*), min(finding) FROM runops.verify()'), '1|unreachable', 'verify: one finding');
$relay->accept;
$split->sql('SELECT * FROM runops.recheck()');

# a store that is lost while its rows are read

$split->sql(q{ALTER SERVER run_ops OPTIONS (ADD connect_timeout '2')});
$relay->freeze_on('AS id, .*FROM public\."Table 20"');
is($split->sql(q{SET runops.remote_timeout = '2s'; SELECT count(*), min(finding), min(store) FROM runops.verify()}), '1|unreachable|new',
	'verify: one finding for a store that is lost meanwhile');
$relay->thaw;

# one that refuses to show a table is asked about the others

$split->sql('SELECT * FROM runops.recheck()');
everywhere(MANY, 'ALTER TABLE %1$I DROP CONSTRAINT runops_store');
$split->store_sql(q{REVOKE ALL ON "Table 7" FROM other; INSERT INTO "Table 8" VALUES ('c000000000000000000000002')});
is($split->sql(q{SELECT relation, finding, id FROM runops.verify() WHERE finding IN ('unreachable', 'misplaced') ORDER BY 1}),
	qq{"Table 7"|unreachable|\n"Table 8"|misplaced|c000000000000000000000002}, 'verify: a table that cannot be read is a finding, and the others are read');

done_testing();
