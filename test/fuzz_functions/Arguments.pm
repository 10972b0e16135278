# Arguments: calls of the functions of the extension, with odd arguments of every type.
package Arguments;

use strict;
use warnings;

my $new_id = '0123456789abcdefghijklmna1';
my $legacy_id = 'clegacy000000000000000001';

# Values by the name of a type; SQL without the cast.
my %odd = (
	text => [
		"''", "' '", "'legacy'", "'new'", "'e'", "'z'", "'none'", "'LEGACY'", "'id'", "'n'", "'env'", "'parent_id'", "'ctid'", "'tableoid'", "'\"'", "''''",
		"'%s'", "'%1\$s%2\$s%n'", "'\$1'", "repeat('x', 64)", "repeat('x', 3000)", "repeat('\x{e9}', 40)", "E'\\n\\t\\\\'", "U&'\\d83d\\de00'",
		"'$new_id'", "'$legacy_id'", "'run_$legacy_id'", "'0123456789abcdefghijklmnz2'", "lpad('1', 27, '0')", "'c' || lpad('1', 24, '0')",
		"'COALESCE(id, id)'", "'id || id'", "'lower(id)'", "'(SELECT 1)'", "'id) OR (true'", "'n = 1'", "'true'", "'now() > now()'", "'n = any(array[1])'",
		"'SELECT 1'", "'SELECT \$1, \$2'", "'SELECT 1; SELECT 2'", "'SELECT id FROM run'", "'SELECT'", "'COPY run TO STDOUT'", "'BEGIN'", "'COMMIT'",
		"'delete'", "'set null'", "'cuid'", "'ksuid'", "'runops'", "'shard:a'", "'MANUAL'", "'run'", "'waitpoint'", "'srv_new'", "'srv_e'", "'nowhere'",
		"'pg_catalog'", "'runops'", "'........pg.dropped.1........'", "'scratch'", "'s1'", "'r1'", "'public.run'", "'{}'" ],
	regclass => [
		"'run'", "'attempt'", "'env'", "'s1'", "'s2'", "'runops_legacy.run'", "'runops_new.run'", "'pg_class'", "'pg_authid'", "'runops.stores'",
		"'runops.table_config'", "'run_v'", "'run_mv'", "'run_seq'", "'part'", "'part_1'", "'runops_legacy.run_pkey'", "'pg_toast.pg_toast_1255'",
		"'information_schema.tables'", "0::oid", "1::oid", "4294967295::oid", "'composite'", "'other_schema.\"odd \"\"name\"'" ],
	oid => [ "0", "1", "4294967295", "'run'::regclass::oid", "'runops_new.run'::regclass::oid", "(SELECT oid FROM pg_foreign_server LIMIT 1)", "'pg_class'::regclass::oid", "25" ],
	regtype => [ "0::oid", "'text'", "'run'", "1::oid", "'anyelement'", "'composite'" ],
	regprocedure => [ "0::oid", "'now()'", "'runops.store_of(text)'", "'scratch_trigger()'", "4294967295::oid", "'scratch_function(int)'" ],
	regnamespace => [ "0::oid", "'public'", "'runops'", "1::oid" ],
	int8 => [ '0', '1', '-1', '5', '1000', '9223372036854775807', '-9223372036854775808' ],
	int4 => [ '0', '1', '-1', '5', '1000', '2147483647', '-2147483648' ],
	int2 => [ '0', '1', '-1', '32767', '-32768' ],
	float8 => [ '0', '-1', "'NaN'", "'Infinity'", "'-Infinity'", '0.5', '1e308' ],
	numeric => [ '0', '-1', "'NaN'", '1e1000' ],
	bool => [ 'true', 'false' ],
	interval => [ "'0'", "'-1 s'", "'1 s'", "'100 ms'", "'178000000 years'", "'-178000000 years'", "'1 mon -30 days'" ],
	timestamptz => [ "'infinity'", "'-infinity'", 'now()', "'4714-11-24 BC'", "'294276-12-31'", "'2020-01-01'" ],
	bytea => [ "''", "'\\x00'", "'\\xdeadbeef00ff00'", "decode(repeat('61', 500), 'hex')", "'a\\000b'", "decode(repeat('ff', 100000), 'hex')" ],
	uuid => ["'00000000-0000-0000-0000-000000000000'"],
	jsonb => [
		"'{}'", "'[]'", "'1'", "'null'", "'\"x\"'", "'{\"n\": 1}'", "'{\"n\": null}'", "'{\"env\": \"e1\"}'", "'{\"env\": [1, 2]}'", "'{\"ctid\": \"(0,1)\"}'",
		"'{\"nope\": 1}'", "'{\"n\": \"x\"}'", "'{\"n\": 1e400}'", "'{\"\": \"\"}'", "'[1, 2, 3]'", "'{\"id\": \"$new_id\"}'",
		"'{\"columns\": 1, \"checks\": [], \"tables\": [1], \"kind\": \"e\", \"labels\": 3}'", "'{\"columns\": [{}], \"kind\": \"r\"}'", "'[{\"name\": null}]'",
		"('{\"n\": ' || repeat('[', 2000) || repeat(']', 2000) || '}')::jsonb", "(SELECT jsonb_object_agg('k' || g, g) FROM generate_series(1, 300) g)",
		"'{\"v\": 1, \"s\": \"n\", \"d\": true, \"k\": \"x\"}'", "(SELECT to_jsonb(t) FROM runops.table_config t LIMIT 1)" ],
	record => [ 'ROW(1, 2)', 'ROW(NULL)', "(SELECT p FROM runops._placements('new') p LIMIT 1)", '(SELECT r FROM run r LIMIT 1)' ],
	anyelement => [ '1', "'x'::text", 'now()', 'ROW(1)' ],
	void => ["''"]);
$odd{name} = $odd{varchar} = $odd{cstring} = $odd{text};
$odd{json} = [ map { "($_)" } @{ $odd{jsonb} } ];
$odd{$_} = $odd{anyelement} foreach qw(any anynonarray anycompatible);

# Read the functions and their types; a session of its own.
sub new
{
	my ($class, $session) = @_;
	my $self = bless { session => $session }, $class;

	# no value of internal can be made in SQL
	$self->{functions} = $session->do(<<'SQL');
SELECT p.proname, p.prokind, array_to_string(p.proargtypes, ','), p.pronargdefaults, p.provariadic
FROM pg_proc p WHERE p.pronamespace = 'runops'::regnamespace AND p.prokind IN ('f', 'p')
	AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[])
ORDER BY p.oid::regprocedure::text
SQL
	$self->refresh;
	return $self;
}

# Read what changes: the types, with their columns.
sub refresh
{
	my ($self) = @_;

	$self->{type} = {
		map {
			my ($oid, $sql, $name, $kind, $elem, $columns, $labels) = @$_;
			($oid => { sql => $sql, name => $name, kind => $kind, elem => $elem, columns => $columns, labels => $labels })
		} @{ $self->{session}->do(<<'SQL') } };
SELECT t.oid, format('%I.%I', n.nspname, t.typname), t.typname, t.typtype, CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END,
	(SELECT string_agg(a.atttypid::text, ',' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0),
	(SELECT string_agg(e.enumlabel, ',') FROM pg_enum e WHERE e.enumtypid = t.oid)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid IN (SELECT unnest(p.proargtypes) FROM pg_proc p WHERE p.pronamespace = 'runops'::regnamespace)
	OR n.nspname IN ('runops', 'pg_catalog')
SQL
	return;
}

sub one_of { return $_[ rand @_ ]; }

# A value of a type, as SQL.
sub value
{
	my ($self, $oid, $depth) = @_;
	my $type = $self->{type}{$oid} or return 'NULL';

	$depth //= 0;
	return $type->{name} =~ /^(?:any|record|cstring|void)/ ? 'NULL' : "NULL::$type->{sql}" if rand() < 0.12;
	if ($type->{elem} && $type->{elem} ne '0' && $depth < 3)
	{
		return "'{}'::$type->{sql}" if rand() < 0.15;
		my @elements = map { $self->value($type->{elem}, $depth + 1) } 1 .. 1 + int rand 4;
		my $array = 'ARRAY[' . join(', ', @elements) . "]::$type->{sql}";

		return rand() < 0.1 ? "ARRAY[$array, $array]" : $array;
	}
	if ($type->{kind} eq 'e')
	{
		return "'" . one_of(split /,/, $type->{labels}) . "'::$type->{sql}";
	}
	if ($type->{kind} eq 'c' && $depth < 3)
	{
		return "(SELECT t FROM $type->{sql} t LIMIT 1)" if rand() < 0.4 && $type->{name} =~ /_config$/;
		return 'ROW(' . join(', ', map { $self->value($_, $depth + 1) } split /,/, $type->{columns} // '') . ")::$type->{sql}";
	}
	my $values = $odd{ $type->{name} } or return $type->{kind} eq 'p' ? 'NULL' : "NULL::$type->{sql}";
	my $value = one_of(@$values);

	return $type->{kind} eq 'p' ? $value : "($value)::$type->{sql}";
}

# A statement that calls one of the functions.
sub call
{
	my ($self) = @_;
	my ($name, $kind, $types, $defaults, $variadic) = @{ one_of(@{ $self->{functions} }) };
	my @types = split /,/, $types // '';

	# leave away some that have defaults
	splice @types, @types - int rand($defaults + 1) if $defaults && rand() < 0.5;
	my @arguments = map { $self->value($_) } @types;

	$arguments[-1] = "VARIADIC $arguments[-1]" if $variadic && $variadic ne '0' && @arguments && @types == split /,/, $types;
	my $call = "runops.$name(" . join(', ', @arguments) . ')';

	return "CALL $call" if $kind eq 'p';
	return one_of("SELECT $call", "SELECT * FROM $call", "SELECT ($call) IS NULL FROM generate_series(1, 2)");
}

1;
