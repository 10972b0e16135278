=pod

=head1 NAME

ExtensionCatalog - what an extension has in the catalogs, as lines of text

=head1 SYNOPSIS

  use ExtensionCatalog;

  my @lines = ExtensionCatalog::lines($node, 'postgres', 'runops');
  my @differences = ExtensionCatalog::compare(\@lines, \@others);

=head1 DESCRIPTION

Each object of the extension gives lines that begin with its kind and identity:
its definition, owner, privileges, initial privileges and comments; a relation
also its columns, constraints, indexes, triggers, rules, policies and rows.  Text
has no OIDs in it, so that two databases can be compared.

C<compare> returns the lines that only one of two lists has, with a - or + before
them.

=cut

package ExtensionCatalog;

use strict;
use warnings FATAL => 'all';

# $1 is the extension's name.
my $query = <<'EOT';
WITH member AS (
	SELECT d.classid, d.objid, i.type, i.identity, i.type || ' ' || i.identity AS line
	FROM pg_extension e
		JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e',
		pg_identify_object(d.classid, d.objid, 0) i
	WHERE e.extname = :'extension'
),
-- what hangs on a member without being one
relation AS (
	SELECT m.line, c.* FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
),
routine AS (
	SELECT m.line, p.* FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
),
type AS (
	SELECT m.line, t.* FROM member m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
)
SELECT line FROM member
UNION ALL
SELECT line || ' comment ' || d.objsubid || ': ' || d.description
FROM member JOIN pg_description d ON d.classoid = classid AND d.objoid = objid
UNION ALL
SELECT line || ' initial privileges ' || i.objsubid || ': ' || a.a
FROM member JOIN pg_init_privs i ON i.classoid = classid AND i.objoid = objid,
	LATERAL (SELECT string_agg(x::text, ',' ORDER BY x::text) AS a FROM unnest(i.initprivs) x) a
UNION ALL
SELECT line || ' definition: ' || pg_get_functiondef(oid) FROM routine WHERE prokind <> 'a'
UNION ALL
SELECT line || ' owner and privileges: ' || proowner::regrole || ' ' || acl.a
FROM routine, LATERAL (SELECT string_agg(x::text, ',' ORDER BY x::text) AS a
	FROM unnest(coalesce(proacl, acldefault('f', proowner))) x) acl
UNION ALL
SELECT format('%s relation: %s %s %s owner %s, privileges %s', line, relkind, relpersistence, reloptions, relowner::regrole,
	(SELECT string_agg(x::text, ',' ORDER BY x::text)
	 FROM unnest(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) x))
	|| format(', row security %s %s', relrowsecurity, relforcerowsecurity)
FROM relation
UNION ALL
SELECT format('%s column %s: %s %s%s collate %s default %s identity %s generated %s storage %s privileges %s', line, a.attnum, a.attname,
	format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' not null' END, a.attcollation::regcollation,
	pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attstorage, a.attacl)
FROM relation c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT line || ' view: ' || pg_get_viewdef(oid) FROM relation WHERE relkind IN ('v', 'm')
UNION ALL
SELECT line || ' sequence: ' || (to_jsonb(s) - 'seqrelid' - 'seqtypid') FROM relation JOIN pg_sequence s ON s.seqrelid = oid
UNION ALL
SELECT line || ' constraint ' || conname || ': ' || pg_get_constraintdef(o.oid) || ' ' || convalidated
FROM relation c JOIN pg_constraint o ON o.conrelid = c.oid
UNION ALL
SELECT line || ' index: ' || pg_get_indexdef(indexrelid) FROM relation c JOIN pg_index i ON i.indrelid = c.oid
UNION ALL
SELECT line || ' trigger: ' || pg_get_triggerdef(t.oid) || ' ' || tgenabled::text
FROM relation c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
UNION ALL
SELECT line || ' rule: ' || pg_get_ruledef(r.oid) FROM relation c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE relkind <> 'v'
UNION ALL
SELECT line || ' policy: ' || (to_jsonb(p) - 'oid' - 'polrelid') FROM relation c JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT line || ' rows: ' || coalesce(query_to_xml('SELECT * FROM ' || oid::regclass || ' ORDER BY 1', false, false, '')::text, '')
FROM relation WHERE relkind = 'r'
UNION ALL
SELECT format('%s configuration %s', line, x.condition)
FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS x(oid, condition) JOIN relation r ON r.oid = x.oid
WHERE e.extname = :'extension'
UNION ALL
SELECT format('%s type: %s base %s default %s not null %s collate %s owner %s privileges %s', line, typtype, typbasetype::regtype,
	typdefault, typnotnull, typcollation::regcollation, typowner::regrole,
	(SELECT string_agg(x::text, ',' ORDER BY x::text) FROM unnest(coalesce(typacl, acldefault('T', typowner))) x))
FROM type
UNION ALL
SELECT line || ' labels: ' || (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = oid)
FROM type WHERE typtype = 'e'
UNION ALL
SELECT format('%s attribute %s: %s %s', line, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod))
FROM type t JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 WHERE typtype = 'c'
UNION ALL
SELECT line || ' constraint ' || conname || ': ' || pg_get_constraintdef(o.oid)
FROM type t JOIN pg_constraint o ON o.contypid = t.oid
UNION ALL
SELECT format('%s event trigger: %s %s %s %s owner %s', line, evtevent, evtfoid::regprocedure, evtenabled, evttags, evtowner::regrole)
FROM member JOIN pg_event_trigger e ON classid = 'pg_event_trigger'::regclass AND e.oid = objid
UNION ALL
SELECT format('%s wrapper: %s %s %s owner %s privileges %s', line, fdwhandler::regproc, fdwvalidator::regproc, fdwoptions,
	fdwowner::regrole, fdwacl)
FROM member JOIN pg_foreign_data_wrapper f ON classid = 'pg_foreign_data_wrapper'::regclass AND f.oid = objid
ORDER BY 1
EOT

# The kinds of objects that the query knows; others would be compared by their
# names alone.
my %known = map { $_ => 1 } ('function', 'procedure', 'table', 'view', 'sequence', 'index', 'type', 'composite type',
	'event trigger', 'foreign-data wrapper', 'schema');

# The lines of an extension in a database; dies where it does not know a kind.
sub lines
{
	my ($node, $database, $extension) = @_;
	my @args = (extra_params => [ '-v', "extension=$extension", '-R', "\x1e" ]);
	my @lines = split /\x1e/, $node->safe_psql($database, $query, @args);
	my $kinds = $node->safe_psql($database, <<'EOT', @args);
SELECT DISTINCT i.type FROM pg_extension e
	JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e',
	pg_identify_object(d.classid, d.objid, 0) i
WHERE e.extname = :'extension'
EOT

	foreach my $kind (split /\x1e/, $kinds)
	{
		die "ExtensionCatalog does not know how to compare a $kind\n" unless $known{$kind};
	}
	return @lines;
}

# The lines that only one of two lists has.
sub compare
{
	my ($left, $right) = @_;
	my %left = map { $_ => 1 } @$left;
	my %right = map { $_ => 1 } @$right;

	return ((map { "-$_" } grep { !$right{$_} } @$left), (map { "+$_" } grep { !$left{$_} } @$right));
}

1;
