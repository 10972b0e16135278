# Tree: a statement as a tree that can be rendered, given parameters, and cut down.
#
# A node is a string or a hash.  Kinds of hash:
#   {c => [...]}                          parts in a row
#   {opt => 1, c => [...]}                parts that may be left out together
#   {list => ', ', min => 1, c => [...]}  a list; items may be left out down to min; pre and post only when not empty
#   {kind => 'bool', c => [...]}          replaceable by any node of the same kind below it, and by 'short' if given
#   {val => v, pool => 'run', type => t}  a literal that may become a parameter
package Tree;

use strict;
use warnings;

# Constructors
sub seq  { return { c => [@_] }; }
sub opt  { return { opt => 1, c => [@_] }; }
sub list { my ($sep, $min, @items) = @_; return { list => $sep, min => $min, c => \@items }; }
sub kind { my ($kind, $short, @c) = @_; return { kind => $kind, short => $short, c => \@c }; }
sub val  { my ($type, $pool, $v) = @_; return { val => $v, has => 1, type => $type, pool => $pool }; }

sub copy
{
	my ($n) = @_;
	return $n if !ref $n;
	my %m = %$n;
	$m{c} = [ map { copy($_) } @{ $n->{c} } ] if $n->{c};
	return \%m;
}

sub literal
{
	my ($v, $type) = @_;
	return "NULL::$type" if !defined $v;
	if (ref $v) { return "'" . (array($v) =~ s/'/''/gr) . "'::$type"; }
	return $v if $type eq 'int' && $v =~ /^\d+$/;
	return "'" . ($v =~ s/'/''/gr) . "'" . ($type eq 'text' ? '' : "::$type");
}

# The text form of an array value.
sub array
{
	my ($v) = @_;
	return '{' . join(',', map { defined $_ ? '"' . ($_ =~ s/(["\\])/\\$1/gr) . '"' : 'NULL' } @$v) . '}';
}

# The statement as SQL.  $param->($node) may give the text that stands for a literal.
sub render
{
	my ($n, $param) = @_;
	return $n if !ref $n;
	if ($n->{has})
	{
		my $p = $param ? $param->($n) : undef;
		return $p // literal($n->{val}, $n->{type});
	}
	my @parts = map { render($_, $param) } @{ $n->{c} };
	if (defined $n->{list})
	{
		@parts = grep { $_ ne '' } @parts;
		return '' if !@parts;
		return ($n->{pre} // '') . join($n->{list}, @parts) . ($n->{post} // '');
	}
	return join '', @parts;
}

# Every literal of the statement, in order.
sub literals
{
	my ($n) = @_;
	return () if !ref $n;
	return ($n) if $n->{has};
	return map { literals($_) } @{ $n->{c} };
}

sub _below
{
	my ($n, $kind) = @_;
	my @found;
	for my $c (@{ $n->{c} // [] })
	{
		next if !ref $c;
		if (($c->{kind} // '') eq $kind) { push @found, $c; }
		push @found, _below($c, $kind);
	}
	return @found;
}

# Every smaller tree that one cut makes, biggest cuts first, as a list of code that makes it.
sub cuts
{
	my ($root) = @_;
	my @out;
	my $visit;
	$visit = sub {
		my ($n, $path) = @_;
		return if !ref $n;
		my $at = sub {
			my ($make) = @_;
			return sub {
				my $t = copy($root);
				return $make->($t) if !@$path;
				my $p = $t;
				$p = $p->{c}[$_] for @$path[ 0 .. $#$path - 1 ];
				$p->{c}[ $path->[-1] ] = $make->($p->{c}[ $path->[-1] ]);
				return $t;
			};
		};
		my $depth = @$path;
		push @out, [ $depth, $at->(sub { return ''; }) ] if $n->{opt};
		if ($n->{kind})
		{
			push @out, [ $depth, $at->(sub { return $n->{short}; }) ] if defined $n->{short};
			for my $b (_below($n, $n->{kind}))
			{
				push @out, [ $depth, $at->(sub { return copy($b); }) ];
			}
		}
		if (defined $n->{list})
		{
			my @c = @{ $n->{c} };
			for my $i (0 .. $#c)
			{
				next if @c <= $n->{min};
				push @out, [ $depth, $at->(sub { my ($m) = @_; splice @{ $m->{c} }, $i, 1; return $m; }) ];
			}
			# half of it at once
			if (@c > 3 && $n->{min} <= @c / 2)
			{
				my $h = int(@c / 2);
				push @out, [ $depth - .5, $at->(sub { my ($m) = @_; splice @{ $m->{c} }, 0, $h; return $m; }) ];
				push @out, [ $depth - .5, $at->(sub { my ($m) = @_; splice @{ $m->{c} }, $h; return $m; }) ];
			}
		}
		my $i = 0;
		$visit->($_, [ @$path, $i++ ]) for @{ $n->{c} // [] };
	};
	$visit->($root, []);
	undef $visit;
	return map { $_->[1] } sort { $a->[0] <=> $b->[0] } @out;
}

1;
