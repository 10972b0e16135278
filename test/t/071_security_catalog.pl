#
# 071_security_catalog.pl
#	  Each object of the extension has the owner and the rights that
#	  docs/security.md says, and stands there.

use strict;
use warnings FATAL => 'all';

use FindBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
my %documented;

$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'runops'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION runops CASCADE');

# the rows of the table "Objects", by the name of each object
foreach my $line (split /\n/, slurp_file("$FindBin::RealBin/../../docs/security.md") =~ s/.*^## Objects$//smr)
{
	my ($objects, $right, $runs_as, $reason) = $line =~ /^\| (`.+?) \| (.*?) \| ?(.*?) \| (.+) \|$/ or next;

	foreach my $name ($objects =~ /`([^`]+)`/g)
	{
		ok(!exists $documented{$name}, "$name stands in one row") if exists $documented{$name};
		$documented{$name} = { right => $right, runs_as => $runs_as, seen => 0 };
	}
}
cmp_ok(scalar(keys %documented), '>', 200, 'the table was read');

# Everything that belongs to the extension, with its owner, what other roles may
# do, and whether it runs as its owner.
my $objects = $node->safe_psql('postgres', <<'EOS');
WITH o (name, kind, owner, acl, definer) AS (
	SELECT p.proname, 'f', p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)), p.prosecdef
	FROM pg_proc p WHERE p.pronamespace = 'runops'::regnamespace
	UNION ALL
	SELECT c.relname, 'r', c.relowner, coalesce(c.relacl, acldefault('r', c.relowner)), false
	FROM pg_class c WHERE c.relnamespace = 'runops'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'S', 'f', 'p')
	UNION ALL
	SELECT t.typname, 'T', t.typowner, coalesce(t.typacl, acldefault('T', t.typowner)), false
	FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
	WHERE t.typnamespace = 'runops'::regnamespace AND t.typcategory <> 'A' AND (t.typrelid = 0 OR c.relkind = 'c')
	UNION ALL
	SELECT e.evtname, 'e', e.evtowner, NULL, false FROM pg_event_trigger e
	UNION ALL
	SELECT w.fdwname, 'F', w.fdwowner, coalesce(w.fdwacl, acldefault('F', w.fdwowner)), false
	FROM pg_foreign_data_wrapper w WHERE w.fdwname = 'runops_fdw'
	UNION ALL
	SELECT n.nspname, 'n', n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner)), false
	FROM pg_namespace n WHERE n.nspname LIKE 'runops%'
)
SELECT DISTINCT o.name, o.kind, o.owner = x.extowner, o.definer,
	coalesce((SELECT string_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END || ': ' || a.privilege_type, ', ')
			  FROM aclexplode(o.acl) a WHERE a.grantee <> o.owner), CASE o.kind WHEN 'e' THEN '' ELSE 'none' END)
FROM o, pg_extension x WHERE x.extname = 'runops' ORDER BY 1, 2
EOS

my %found;

foreach my $line (split /\n/, $objects)
{
	my ($name, $kind, $own, $definer, $right) = split /\|/, $line, -1;
	my $row = $documented{$name};

	$found{$name} = 1;
	if (!defined $row)
	{
		fail("$name is missing in docs/security.md");
		next;
	}
	is($own, 't', "$name belongs to the owner of the extension");
	is($right, $row->{right}, "the rights of others on $name");
	is($definer, $row->{runs_as} eq 'owner of the extension' && $name ne '_own_step' ? 't' : 'f', "whose rights $name runs with")
	  if $kind eq 'f';
}
is(join(' ', grep { !$found{$_} } sort keys %documented), '', 'there is nothing in docs/security.md that does not exist');

# A function that runs as another role than its caller sets its search_path.
is( $node->safe_psql('postgres',
		q{SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc p
		WHERE p.pronamespace = 'runops'::regnamespace AND p.prosecdef
			AND NOT EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s = 'search_path=pg_catalog, pg_temp')}),
	'', 'functions that run as the owner of the extension set search_path');

done_testing();
