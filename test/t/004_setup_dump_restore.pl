#
# 004_setup_dump_restore.pl
#	  A dump of the control plane contains the split: restored tables are routed,
#	  queries find the rows of both databases, and the tables can be detached.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new;
my $control = $split->control;
my $dir = PostgreSQL::Test::Utils::tempdir;
my ($l1, $n1) = ('c00000000000000000000run1', '0123456789abcdefghijklmn01');

# what a dump has to order well: quoted names, an own schema, an expression as the
# key, foreign keys, a trigger, a policy, an identity
$split->sql(<<"EOT");
CREATE ROLE reader;
CREATE SCHEMA "Ops";
CREATE TABLE env (id text PRIMARY KEY, name text);
INSERT INTO env VALUES ('e1', 'production');
CREATE TABLE "Ops"."TaskRun" (id text PRIMARY KEY, "friendlyId" text UNIQUE, env text NOT NULL REFERENCES env,
	n int GENERATED ALWAYS AS IDENTITY, status text NOT NULL DEFAULT 'PENDING' CHECK (status <> ''));
CREATE INDEX "TaskRun status" ON "Ops"."TaskRun" (status) WHERE status = 'PENDING';
ALTER TABLE "Ops"."TaskRun" ADD CONSTRAINT later CHECK (n < 1000000) NOT VALID;
COMMENT ON TABLE "Ops"."TaskRun" IS 'runs';
GRANT SELECT ON "Ops"."TaskRun" TO reader;
ALTER TABLE "Ops"."TaskRun" ENABLE ROW LEVEL SECURITY;
CREATE POLICY pending ON "Ops"."TaskRun" FOR SELECT TO reader USING (status = 'PENDING');
INSERT INTO "Ops"."TaskRun" VALUES ('$l1', 'run_$l1', 'e1');
CREATE TABLE waitpoint (id text PRIMARY KEY, run_id text, note text);
INSERT INTO waitpoint VALUES ('w1', '$l1', 'legacy');
CREATE TABLE alert (id int PRIMARY KEY, run_id text CONSTRAINT alert_run REFERENCES "Ops"."TaskRun" ON DELETE CASCADE);
CREATE INDEX ON alert (run_id);
SELECT runops.attach('"Ops"."TaskRun"', 'id', '{friendlyId}');
SELECT runops.attach('waitpoint', 'coalesce(run_id, id)');
-- what depends on the key of the routed table, and not on that of its leaf
COMMENT ON CONSTRAINT "TaskRun_pkey" ON "Ops"."TaskRun" IS 'names a run';
CREATE VIEW per_run AS SELECT r.id, r.env, r.status, count(w.id) AS waits FROM "Ops"."TaskRun" r LEFT JOIN waitpoint w ON w.run_id = r.id GROUP BY r.id;
CREATE FUNCTION put_run(id text, env text) RETURNS text BEGIN ATOMIC
	INSERT INTO "Ops"."TaskRun" (id, env) VALUES (\$1, \$2) ON CONFLICT ON CONSTRAINT "TaskRun_pkey" DO UPDATE SET env = excluded.env RETURNING "TaskRun".env;
END;
EOT
$split->sql(q{SELECT runops.recheck(); SELECT runops.provision('new')});
$split->sql(q{SELECT runops.add_reference('"Ops"."TaskRun"', 'env', 'env'); SELECT runops.add_reference('alert', 'run_id', '"Ops"."TaskRun"')});
$split->sql(q{SELECT runops.add_unique('"Ops"."TaskRun"', '{env,n}', 'status <> $$FAILED$$', 'env and n')});
$split->sql(<<"EOT");
SELECT runops.set_retention('"Ops"."TaskRun"', '30 days');
SELECT runops.add_idempotency('waitpoint', '{note}');
INSERT INTO "Ops"."TaskRun" (id, "friendlyId", env) OVERRIDING SYSTEM VALUE VALUES ('$n1', 'run_$n1', 'e1');
INSERT INTO waitpoint VALUES ('w2', '$n1', 'new');
INSERT INTO alert VALUES (1, '$l1'), (2, '$n1');
EOT

my $keys = q{SELECT c.conrelid::regclass, c.conname, c.conindid::regclass, pg_get_constraintdef(c.oid), obj_description(c.oid, 'pg_constraint'), x.indisvalid, x.indislive,
	(SELECT pg_describe_object(d.refclassid, d.refobjid, 0) FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'n')
	FROM pg_constraint c JOIN pg_index x ON x.indexrelid = c.conindid WHERE c.contype = 'p' AND c.conrelid::regclass::text ~ 'TaskRun|waitpoint'
	ORDER BY c.conrelid::regclass::text COLLATE "C"};
my @queries = (
	$keys,
	'SELECT * FROM per_run ORDER BY id',
	q{SELECT pg_get_function_sqlbody('put_run'::regproc)},
	'SELECT store, residency, server FROM runops.stores ORDER BY 1',
	'SELECT relation, key, aliases, leaf, leaves FROM runops.routed_tables ORDER BY 1',
	'SELECT * FROM runops.retentions',
	'SELECT conrelid::regclass, convalidated FROM pg_constraint WHERE conname = $$later$$ ORDER BY conrelid::regclass::text',
	'SELECT * FROM runops.idempotency_keys',
	'SELECT DISTINCT store, relation FROM runops.held_rows ORDER BY 1, 2',
	'SELECT * FROM runops.reference_keys ORDER BY name',
	'SELECT tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname LIKE $$runops_ref%$$ ORDER BY 2',
	'SELECT * FROM runops.unique_keys ORDER BY name',
	'SELECT * FROM runops_unique."env and n" ORDER BY 1',
	'SELECT * FROM runops.check_unique()',
	'SELECT tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname LIKE $$runops_unique%$$ ORDER BY 2',
	'SELECT id, "friendlyId", env, status FROM "Ops"."TaskRun" ORDER BY 1',
	qq{SELECT id, status FROM "Ops"."TaskRun" WHERE id = '$n1'},
	qq{SELECT id, status FROM "Ops"."TaskRun" WHERE "friendlyId" = 'run_$l1'},
	'SELECT id, note FROM waitpoint ORDER BY 1',
	'SELECT w.note, r.env FROM waitpoint w JOIN "Ops"."TaskRun" r ON r.id = w.run_id ORDER BY 1',
	'SELECT * FROM runops.verify()');
my %before = map { $_ => $split->sql($_) } @queries;

like($before{$keys}, qr/^"Ops"."TaskRun"\|TaskRun_pkey\|"Ops"."TaskRun_pkey"\|PRIMARY KEY \(id\)\|names a run\|f\|t\|constraint "?TaskRun_pkey"? on table/m, 'the routed table has its key');
is($before{'SELECT id, note FROM waitpoint ORDER BY 1'}, "w1|legacy\nw2|new", 'the split works before the dump');

# one dump for pg_restore, one for psql
command_ok([ 'pg_dump', '-Fc', '-f', "$dir/split.dump", $control->connstr('postgres') ], 'pg_dump, custom format');
command_ok([ 'pg_dump', '-Fp', '-f', "$dir/split.sql", $control->connstr('postgres') ], 'pg_dump, plain format');
unlike(slurp_file("$dir/split.sql"), qr/run_\Q$n1\E/, 'a dump has no rows of the store');

$control->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE template0") foreach qw(restored restored_sql restored_jobs restored_turned);
command_ok([ 'pg_restore', '--exit-on-error', '-d', $control->connstr('restored'), "$dir/split.dump" ], 'pg_restore');
command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $control->connstr('restored_sql'), '-f', "$dir/split.sql" ],
	'the plain dump restored by psql');

# Several jobs load the tables of the extension in any order.  So no table that is
# dumped has a foreign key, and the reverse order does as well.
is($control->safe_psql('postgres', q{SELECT string_agg(c.conrelid::regclass::text, ',') FROM pg_constraint c, pg_extension e
	WHERE e.extname = 'runops' AND c.contype = 'f' AND c.conrelid = ANY (e.extconfig)}), '', 'no table that is dumped has a foreign key');
command_ok([ 'pg_restore', '--exit-on-error', '-j', '4', '-d', $control->connstr('restored_jobs'), "$dir/split.dump" ], 'pg_restore -j');
command_ok([ 'pg_restore', '-f', "$dir/list", '-l', "$dir/split.dump" ], 'the list of what is in the dump');
my @list = split /^/, slurp_file("$dir/list");
my @data = grep { / TABLE DATA runops / } @list;
cmp_ok(scalar(@data), '>', 5, 'the configuration is in the dump');
my @turned = map { / TABLE DATA runops / ? pop @data : $_ } @list;
append_to_file("$dir/turned", join('', @turned));
command_ok([ 'pg_restore', '--exit-on-error', '-L', "$dir/turned", '-d', $control->connstr('restored_turned'), "$dir/split.dump" ],
	'pg_restore, the configuration from its end');

# without the configuration, the tables are not protected, and the key is there as well
$control->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE template0") foreach qw(definitions sections);
command_ok([ 'pg_restore', '--exit-on-error', '--schema-only', '-d', $control->connstr('definitions'), "$dir/split.dump" ], 'pg_restore --schema-only');
is($control->safe_psql('definitions', $keys), $before{$keys}, 'definitions: the keys');
command_ok([ 'pg_restore', '--exit-on-error', '--clean', '--if-exists', '-d', $control->connstr('definitions'), "$dir/split.dump" ], 'pg_restore --clean over them');
is($control->safe_psql('definitions', $keys), $before{$keys}, 'definitions: the keys again');
command_ok([ 'pg_restore', '--exit-on-error', "--section=$_", '-d', $control->connstr('sections'), "$dir/split.dump" ], "pg_restore --section=$_")
  foreach qw(pre-data data post-data);
is($control->safe_psql('sections', $keys), $before{$keys}, 'sections: the keys');

foreach my $database (qw(restored restored_sql restored_jobs restored_turned))
{
	my ($ret, $stdout, $stderr) = $control->psql($database, 'SELECT count(*) FROM waitpoint');
	like($stderr, qr/DETAIL:  The store was proved from database "postgres"; this one is "$database"/, "$database: the store is the original's");
	is($control->safe_psql($database, 'SELECT verdict FROM runops.recheck(accept_new_identity => true)'), 'distinct', "$database: until it is taken over");
	foreach my $query (@queries)
	{
		is($control->safe_psql($database, $query), $before{$query}, "$database: $query");
	}
	is($control->safe_psql($database, qq{EXPLAIN (COSTS OFF) SELECT * FROM "Ops"."TaskRun" WHERE id = '$n1'}) =~ /Sent to Store: new/ ? 1 : 0,
		1, "$database: routed to the store");
	($ret, $stdout, $stderr) = $control->psql($database, qq{DROP TABLE "Ops"."TaskRun"});
	like($stderr, qr/ERROR/, "$database: the routed table is protected");
	foreach my $bad (q{INSERT INTO alert VALUES (3, '0123456789abcdefghijklmn99')},
		q{UPDATE alert SET run_id = 'c00000000000000000000run9' WHERE id = 2},
		qq{UPDATE "Ops"."TaskRun" SET env = 'gone' WHERE id = '$n1'})
	{
		($ret, $stdout, $stderr) = $control->psql($database, $bad);
		like($stderr, qr/violates foreign key constraint/, "$database: $bad");
	}
}

# a dump of what was restored is the same dump, but for the record of the control plane
command_ok([ 'pg_dump', '-Fp', '-f', "$dir/again.sql", $control->connstr('restored') ], 'a dump of the restored database');
is(comparable("$dir/again.sql"), comparable("$dir/split.sql"), 'it is the same dump');

is($control->safe_psql('restored', qq{SELECT put_run('$l1', 'e1')}), 'e1', 'a function that names the key works');

# back to plain tables
$control->safe_psql('restored', 'DROP VIEW per_run; DROP FUNCTION put_run');
$control->safe_psql('restored', 'SELECT runops.recheck(accept_new_identity => true)');
$control->safe_psql('restored', q{SELECT runops.detach('"Ops"."TaskRun"', force => true); SELECT runops.detach('waitpoint', force => true)});
is($control->safe_psql('restored', 'SELECT id, note FROM waitpoint'), 'w1|legacy', 'detach works after a restore');
is($control->safe_psql('restored', 'SELECT count(*) FROM runops.routed_tables'), '0', 'nothing is routed then');
is($control->safe_psql('restored', q{SELECT relkind, obj_description(oid, 'pg_class') FROM pg_class WHERE oid = '"Ops"."TaskRun"'::regclass}),
	'r|runs', 'and the table is a plain one with its comment');
is($control->safe_psql('restored', $keys), qq{"Ops"."TaskRun"|TaskRun_pkey|"Ops"."TaskRun_pkey"|PRIMARY KEY (id)|names a run|t|t|\nwaitpoint|waitpoint_pkey|waitpoint_pkey|PRIMARY KEY (id)||t|t|},
	'with its primary key');
is($control->safe_psql('restored', q{SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'alert_run'}),
	'FOREIGN KEY (run_id) REFERENCES "Ops"."TaskRun"(id) ON DELETE CASCADE NOT VALID', 'with the foreign key that the reference replaced');

# The text of a dump without what differs from run to run.
sub comparable
{
	return join('', grep { !/^(?:--|\\(?:un)?restrict |new\t\d+\t(?:postgres|restored)\t)/ } split /^/, slurp_file($_[0]));
}

done_testing();
