# Known: reads known.sql, the failures that others had, as cases.
package Known;

use strict;
use warnings;

use Data;
use Tree;

my %ID = (L => Data::id('l', 2), L2 => Data::id('l', 1), N => Data::id('n', 2), K => Data::id('k', 3), E => Data::id('e', 3), Z => Data::id('z', 1), O => 'odd-1', NULL => undef);

# The cases of a file: a comment line starts one, "-- title [key=value ...]"; {L} and the like stand for ids.  With
# params=A,B,.. the statement has $1 and runs once for each of them, under each plan cache mode; off=.. turns settings off.
sub cases
{
	my ($file) = @_;
	open my $fh, '<', $file or die "could not open $file: $!\n";
	local $/ = '';
	my @cases;
	while (my $part = <$fh>)
	{
		next if $part !~ /^-- (.*)\n([\s\S]+?);\s*$/;
		my ($head, $sql) = ($1, $2);
		my %key = $head =~ /\b(params|feat|role|id|off)=(\S+)/g;
		$head =~ s/ *\b\w+=\S+//g;
		$sql =~ s/\{(\w+)\}/defined $ID{$1} ? "'$ID{$1}'" : die "no id $1\n"/ge;
		my %case = (
			title => $head, write => scalar($sql =~ /\b(?:INSERT|UPDATE|DELETE|MERGE)\b(?! *$)/ && $sql !~ /FOR UPDATE/), knobs => [ map { "$_ = off" } split /,/, $key{off} // '' ], role => $key{role} // 0,
			id => $ID{ $key{id} // 'N' }, feat => { map { $_ => 1 } split /,/, $key{feat} // '' });
		if (!$key{params}) { push @cases, { %case, mode => 'simple', tree => Tree::seq($sql) }; next; }
		my @vals = map { exists $ID{$_} ? $ID{$_} : /\+/ ? [ map { $ID{$_} } split /\+/ ] : /^\[\]$/ ? [] : $_ } split /,/, $key{params};
		@vals = map { ref $_ || !defined $_ ? $_ : [$_] } @vals if grep { ref } @vals;
		push @vals, $vals[ @vals % 3 ] while @vals < 7;
		my @text = split /\$1/, $sql, -1;
		my @parts = ($text[0]);
		for (@text[ 1 .. $#text ])
		{
			push @parts, { has => 1, val => $vals[0], vals => [@vals], type => ref $vals[0] ? 'text[]' : 'text', name => 'p' }, $_;
		}
		push @cases, map { { %case, mode => $_, title => "$head", tree => Tree::copy(Tree::seq(@parts)), times => scalar @vals } } qw(custom generic auto plpgsql);
	}
	return @cases;
}

1;
