#
# 040_cases_security.pl
#	  Privileges and connections of statements, and the behaviour of extensions,
#	  publications, dumps and DDL with a routed table.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use CaseTable;

use PostgreSQL::Test::Utils;
use Test::More;

my $rig = CaseTable->new(conf => "shared_preload_libraries = 'pg_stat_statements, runops, auto_explain'");
my $node = $rig->node;
my $user = $rig->sql('SELECT current_user');

# Run SQL, going on after errors; its errors, warnings and notices.
sub messages
{
	my ($stdout, $stderr);

	$node->psql('postgres', CaseTable::with_ids(shift), stdout => \$stdout, stderr => \$stderr, on_error_stop => 0);
	return $stderr;
}

# roles that may use the stores, and one that may not
$rig->sql('CREATE ROLE app; CREATE ROLE a; CREATE ROLE b; CREATE ROLE stranger');
foreach my $role ('app', 'a', 'b')
{
	$rig->sql("CREATE USER MAPPING FOR $role SERVER sv_$_ OPTIONS (user '$user', password_required 'false')") foreach ('new', 'a');
}

# views and privileges

$rig->sql(
	q{CREATE VIEW plain_view AS SELECT id, env FROM run; GRANT SELECT ON plain_view TO stranger;
	CREATE VIEW invoker_view WITH (security_invoker) AS SELECT id FROM run; GRANT SELECT ON invoker_view TO stranger});
$rig->check(
	{
		why => 'a view reads a store through the mapping of its owner, an invoker view does not',
		sql => q{SET ROLE stranger; SELECT count(*) FROM plain_view; SELECT id FROM plain_view WHERE id = '{L}'; SELECT id FROM plain_view WHERE id = '{N}';
			SELECT id FROM invoker_view WHERE id = '{N}'; SELECT id FROM invoker_view WHERE id = '{L}';
			PREPARE q(text) AS SELECT env FROM plain_view WHERE id = $1; SET plan_cache_mode = force_generic_plan; EXECUTE q('{A}');},
		want => "3\n{L}\n{N}\n42501\n42501\ne"
	});
$rig->sql('DROP VIEW plain_view, invoker_view; GRANT SELECT (id, env), UPDATE (n), INSERT (id, n) ON run TO app');
foreach my $which ('L', 'N', 'A')
{
	$rig->check(
		{
			why => "privileges are those of the routed name, for id $which",
			sql => qq{SET ROLE app;
				SELECT id FROM run WHERE id = '{$which}';
				SELECT count(env) FROM run WHERE id = '{$which}';
				UPDATE run SET n = 5 WHERE id = '{$which}' RETURNING id;
				SELECT meta FROM run WHERE id = '{$which}';
				SELECT count(*) FROM run WHERE id = '{$which}' AND idem = 'k2';
				SELECT run FROM run WHERE id = '{$which}';
				UPDATE run SET env = 'x' WHERE id = '{$which}';
				UPDATE run SET n = n + 1 WHERE id = '{$which}';
				UPDATE run SET n = 1 WHERE id = '{$which}' RETURNING n;
				DELETE FROM run WHERE id = '{$which}';
				INSERT INTO run (id, env) VALUES ('{$which}', 'x');
				INSERT INTO run (id, n) VALUES ('{$which}', 1) ON CONFLICT DO NOTHING;},
			want => "{$which}\n1\n{$which}" . "\n42501" x 8
		});
}
$rig->check(
	{
		why => 'the leaves are not granted with it',
		sql => q{SET ROLE app; SELECT id FROM runops_new.run; SELECT id FROM runops_legacy.run; INSERT INTO runops_new.run (id, n) VALUES ('{N}', 1);},
		want => "42501\n42501\n42501"
	});
$rig->sql('REVOKE ALL (id, env, n) ON run FROM app');

# row security

$rig->sql(q{GRANT ALL ON run TO app; ALTER TABLE run ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON run USING (env = 'e')});
$rig->check(
	{
		why => 'a policy holds for what is written to a store too',
		sql => q{SET ROLE app;
			INSERT INTO run (id, env) VALUES ('clegrls000000000000000001', 'theirs');
			INSERT INTO run (id, env) VALUES ('0123456789abcdefghijklmrl1', 'theirs');
			INSERT INTO run (id, env) VALUES ('0123456789abcdefghijklmrl1', 'e'), ('0123456789abcdefghijklmra2', 'theirs');
			INSERT INTO run (id, env) SELECT '0123456789abcdefghijklmrl1', 'theirs' ON CONFLICT DO NOTHING;
			UPDATE run SET env = 'theirs' WHERE id = '{N}';
			UPDATE run SET env = 'theirs' WHERE id = '{L}';
			UPDATE run SET env = 'theirs';
			UPDATE run SET env = 'theirs' FROM (VALUES ('{A}')) v(k) WHERE id = v.k;
			RESET ROLE; SELECT count(*), count(*) FILTER (WHERE env = 'theirs') FROM run;},
		want => "42501\n42501\n42501\n42501\n42501\n42501\n42501\n42501\n3|0"
	},
	{
		why => 'and for what is read, by whatever spelling',
		sql => q{UPDATE run SET env = 'theirs' WHERE id IN ('{N}', '{L}'); SET ROLE app;
			SELECT count(*) FROM run; SELECT id FROM run WHERE id = '{N}'; SELECT id FROM run WHERE id = '{L}'; SELECT id FROM run WHERE id = '{A}';
			SELECT id FROM run WHERE id IN ('{N}', '{L}', '{A}'); UPDATE run SET n = 0 WHERE id = '{N}' RETURNING id; DELETE FROM run WHERE id = '{L}' RETURNING id;
			SELECT r.id FROM (VALUES ('{N}'), ('{A}')) v(k) JOIN run r ON r.id = v.k;},
		want => "1\n{A}\n{A}\n{A}"
	});
$rig->sql(q{DROP POLICY p ON run; CREATE POLICY p ON run USING (env = current_user); GRANT SELECT ON run TO a, b});
foreach my $mode ('auto', 'force_generic_plan', 'force_custom_plan')
{
	$rig->check(
		{
			why => "a plan made for one role is not used for another ($mode)",
			sql => qq{UPDATE run SET env = 'a'; SET plan_cache_mode = $mode;
				PREPARE q(text) AS SELECT count(*) FROM run WHERE id = \$1;
				SET ROLE a; EXECUTE q('{L}'); EXECUTE q('{N}'); SET ROLE b; EXECUTE q('{L}'); EXECUTE q('{N}'); SET ROLE a; EXECUTE q('{N}');
				RESET ROLE; EXECUTE q('{N}');},
			want => "1\n1\n0\n0\n1\n1"
		});
}
$rig->sql('DROP POLICY p ON run; ALTER TABLE run DISABLE ROW LEVEL SECURITY; REVOKE ALL ON run FROM app, a, b');

# functions that would tell what a barrier hides

$rig->sql(
	q{CREATE FUNCTION leak(text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'leak %', $1; RETURN true; END $$;
	CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM run WHERE env = 'mine'});
foreach my $sql (
	q{SELECT id FROM barrier WHERE leak(id)},
	q{SELECT id FROM barrier WHERE id = '{N}' AND leak(id)},
	q{SELECT id FROM barrier WHERE id = '{L}' AND leak(id)},
	q{SELECT b.id FROM (VALUES ('{N}'), ('{L}')) v(k) JOIN barrier b ON b.id = v.k AND leak(b.id)})
{
	foreach my $routing ('on', 'off')
	{
		is(messages("SET runops.enable_routing = $routing; $sql"), '', "nothing leaks ($routing): $sql");
	}
}
$rig->sql(q{UPDATE run SET env = 'mine' WHERE id = '{N}'});
like(messages(q{SELECT id FROM barrier WHERE leak(id)}), qr/^(?:psql\S* )?WARNING:  leak $CaseTable::id{N}$/m, 'what the barrier lets through does');
$rig->sql('DROP VIEW barrier; DROP FUNCTION leak');
$rig->seed;

# other extensions

$rig->sql('CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()');
$rig->sql(q{SELECT id FROM run WHERE id = '{N}'; SELECT id FROM run WHERE id = '{L}'; SELECT id FROM run WHERE id = '{A}'});
is($rig->sql(q{SELECT count(*), max(calls) FROM pg_stat_statements WHERE query LIKE 'SELECT id FROM run WHERE id = $1%' AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())}),
	'1|3', 'ids do not split the entry of a statement');
$rig->check(
	{
		why => 'auto_explain shows any plan',
		sql => q{SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on; SET auto_explain.log_verbose = on; SET auto_explain.log_nested_statements = on;
			SELECT count(*) FROM run; UPDATE run SET n = n WHERE id = '{N}'; UPDATE run SET n = n WHERE env = 'e'; INSERT INTO run (id) VALUES ('0123456789abcdefghijklmae1') ON CONFLICT DO NOTHING;
			DELETE FROM run WHERE id = '0123456789abcdefghijklmae1'; SELECT n FROM run WHERE id = ANY (ARRAY['{N}', '{L}']) ORDER BY n;
			PREPARE q(text) AS SELECT n FROM run WHERE id = $1; SET plan_cache_mode = force_generic_plan; EXECUTE q('{A}');},
		want => "3\n1\n2\n3"
	});
$rig->check(
	{
		why => 'EXPLAIN ANALYZE executes once, EXPLAIN not at all',
		sql => q{BEGIN; CREATE TEMP TABLE dummy (t text); \o /dev/null
			EXPLAIN (ANALYZE, VERBOSE, BUFFERS, WAL, SETTINGS, FORMAT json) UPDATE run SET n = n + 1 WHERE id IN ('{N}', '{L}');
			EXPLAIN (ANALYZE, VERBOSE) UPDATE run SET n = n + 10 WHERE id = '{A}' RETURNING *;
			EXPLAIN (ANALYZE, VERBOSE) INSERT INTO run (id, n) VALUES ('0123456789abcdefghijklmex1', 100), ('clegexplain00000000000001', 100);
			EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM run r LEFT JOIN run c ON c.parent_id = r.id WHERE r.id = ANY (ARRAY['{N}', '{L}']) FOR UPDATE OF r;
			EXPLAIN (ANALYZE, VERBOSE) DELETE FROM run WHERE id = '0123456789abcdefghijklmex1';
			EXPLAIN UPDATE run SET n = 0; EXPLAIN VERBOSE DELETE FROM run; EXPLAIN INSERT INTO run (id) VALUES ('{K}');
			\o
			SELECT string_agg(n::text, ' ' ORDER BY n) FROM run; ROLLBACK;
			SELECT sum(n) FROM run;},
		want => "2 3 13 100\n6"
	});

# replication and dumps

$rig->check(
	{
		why => 'a publication of a foreign leaf is refused',
		sql => q{CREATE PUBLICATION leaf FOR TABLE runops_new.run;},
		want => '22023'
	});
is(
	$rig->sql(
		q{SELECT c.relname, a.attname, a.atttypid::regtype FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid
		WHERE e.extname = 'runops' AND c.relkind IN ('r', 'm', 'i', 'p') AND a.attnum > 0 AND a.atttypid IN ('regproc'::regtype, 'regprocedure'::regtype, 'regoper'::regtype,
			'regoperator'::regtype, 'regconfig'::regtype, 'regdictionary'::regtype, 'regnamespace'::regtype, 'regcollation'::regtype)}),
	'', 'no column has a type that pg_upgrade refuses');
$rig->check(
	{
		why => 'an empty search_path, as in a restore',
		sql => q{SET search_path = ''; SELECT runops.store_of('{N}');
			CREATE TABLE public.w2 (LIKE public.run) PARTITION BY LIST (runops.store_of(id)); DROP TABLE public.w2;
			INSERT INTO public.run (id) VALUES ('clegsp0000000000000000001'), ('0123456789abcdefghijklmsp1'); SELECT count(*) FROM public.run; SELECT n FROM public.run WHERE id = '{N}';
			SELECT count(*) FROM runops.verify('public.run'); SELECT count(*) FROM runops.routed_tables; SELECT count(*) > 0 FROM runops.provision('new');},
		want => "new\n5\n2\n0\n1\nt"
	});

# DROP, and a store that goes away

$rig->check(
	{
		why => 'nothing takes the rows along with what it drops',
		sql => q{DROP FUNCTION runops.store_of(text); DROP FUNCTION runops.store_of(text) CASCADE; DROP EXTENSION runops; DROP EXTENSION runops CASCADE; DROP SCHEMA runops CASCADE;
			DROP SCHEMA runops_legacy CASCADE; DROP EXTENSION postgres_fdw CASCADE; DROP SERVER sv_new CASCADE; DROP TABLE run; DROP TABLE run CASCADE; DROP TABLE runops_legacy.run;
			DROP FOREIGN TABLE runops_new.run; ALTER TABLE run DETACH PARTITION runops_new.run; DROP OWNED BY CURRENT_USER CASCADE; TRUNCATE run; SELECT count(*) FROM run;},
		want => join("\n", ('RO006') x 13) . "\n2BP01\n0A000\n3",
		keep => 1
	});
$rig->sql('DELETE FROM run WHERE id = $${A}$$');
my $prepared = $node->background_psql('postgres', on_error_stop => 0);

$prepared->query_safe('PREPARE q(text) AS SELECT n FROM run WHERE id = $1');
is($prepared->query_safe("EXECUTE q('$CaseTable::id{N}')"), '2', 'a prepared statement');
$rig->sql(q{SELECT runops.drop_store('a')});
$prepared->query("EXECUTE q('$CaseTable::id{A}')");
like($prepared->{stderr}, qr/store "a" of "run" is not configured/, 'says that a dropped store is gone, instead of no rows');
$prepared->quit;
$rig->check(
	{
		why => 'nor does a row for it go elsewhere',
		sql => q{INSERT INTO run (id) VALUES ('{A}'); COPY run (id) FROM STDIN;
{A}
\.
			SELECT count(*) FROM run;},
		want => "RO004\nRO004\n2",
		keep => 1
	});

$node->stop;
done_testing();
