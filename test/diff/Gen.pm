# Gen: the seeded generator of queries; GenDml adds the statements that write.
#
# Everything it makes has one right answer on a plain database: LIMIT only under a total order, aggregates that do not
# depend on the order of rows.  A statement may read what it writes, but not by a STABLE function: docs/errors tells that
# the function may come too late to read a store as it was.
package Gen;

use strict;
use warnings;

use Data;
use Tree;

# name => [pool, type] of every column that predicates may name; "mark" is written, and read only by RETURNING.
my @RUN = (
	[ 'id', 'run', 'text' ],
	[ '"friendlyId"', 'fid', 'text' ],
	[ '"parentTaskRunId"', 'run', 'text' ],
	[ '"batchId"', 'batch', 'text' ],
	[ 'env', 'env', 'text' ],
	[ 'status', 'stat', 'run_status' ],
	[ 'n', 'int', 'int' ],
	[ 'n2', 'int', 'int' ]);
my @ATT = ([ 'id', 'att', 'text' ], [ '"runId"', 'run', 'text' ], [ 'number', 'int', 'int' ], [ 'status', 'stat', 'run_status' ], [ 'n', 'int', 'int' ]);
my @WP = (
	[ 'id', 'wp', 'text' ],
	[ '"completedByTaskRunId"', 'run', 'text' ],
	[ '"completedByBatchId"', 'batch', 'text' ],
	[ 'env', 'env', 'text' ],
	[ 'n', 'int', 'int' ]);
my @BATCH = ([ 'id', 'batch', 'text' ], [ 'env', 'env', 'text' ], [ 'n', 'int', 'int' ]);
my @NOTE = ([ 'run_id', 'run', 'text' ], [ 'env', 'env', 'text' ], [ 'body', 'txt', 'text' ], [ 'n', 'int', 'int' ]);
my @ENV = ([ 'id', 'env', 'text' ], [ 'org', 'txt', 'text' ], [ 'name', 'txt', 'text' ]);

# w: how often it is drawn
our %REL = (
	'"TaskRun"'   => { w => 30, cols => \@RUN,   pk => 'id', routed => 1 },
	'"Attempt"'   => { w => 14, cols => \@ATT,   pk => 'id', routed => 1 },
	'"Waitpoint"' => { w => 10, cols => \@WP,    pk => 'id', routed => 1 },
	'"Batch"'     => { w => 6,  cols => \@BATCH, pk => 'id', routed => 1 },
	note          => { w => 12, cols => \@NOTE,  pk => 'id' },
	env           => { w => 4,  cols => \@ENV,   pk => 'id' },
	run_view      => { w => 4,  cols => [ @RUN[ 0, 1, 4, 6 ] ], view => 1 },
	run_barrier   => { w => 4,  cols => [ @RUN[ 0, 2, 4, 6 ] ], view => 1 },
	run_union     => { w => 3,  cols => [ @RUN[ 0, 4, 6 ] ], view => 1 });

sub new
{
	my ($class, $seed) = @_;
	srand($seed);
	return bless { alias => 0, feat => {}, cte => [], vals => 0 }, $class;
}

sub pick   { my ($g, @a) = @_; return $a[ int rand @a ]; }
sub chance { my ($g, $p) = @_; return rand() < $p; }

# One of (weight, what) pairs.
sub weigh
{
	my ($g, @a) = @_;
	my $sum = 0;
	for (my $i = 0; $i < @a; $i += 2) { $sum += $a[$i]; }
	my $r = rand $sum;
	for (my $i = 0; $i < @a; $i += 2)
	{
		return $a[ $i + 1 ] if ($r -= $a[$i]) < 0;
	}
	return $a[-1];
}

# A value of a pool; "@pool" is an array of them.
sub draw
{
	my ($g, $pool) = @_;
	if ($pool =~ /^\@(.*)/)
	{
		my $of = $1;
		return undef if $g->chance(.04);
		return [ map { $g->draw($of) } 1 .. $g->pick(0, 1, 1, 2, 2, 3, 5) ];
	}
	return $g->pick(@{ $Data::POOL{$pool} // die "no pool $pool" });
}

sub literal
{
	my ($g, $pool, $type) = @_;
	return Tree::val($type // 'text', $pool, $g->draw($pool));
}

# Columns of a scope, as [reference, pool, type], filtered by pools.
sub cols
{
	my ($g, $scope, @pools) = @_;
	my %want = map { $_ => 1 } @pools;
	my @c;
	for my $s (@$scope)
	{
		push @c, map { [ "$s->{alias}.$_->[0]", $_->[1], $_->[2] ] } grep { !@pools || $want{ $_->[1] } } @{ $s->{cols} };
	}
	return @c;
}

my @IDS = qw(run fid batch att wp);

# A predicate on one id column: what the planner reads, and what only looks like it.
sub id_pred
{
	my ($g, $scope) = @_;
	my @c = $g->cols($scope, @IDS);
	return $g->other_pred($scope) if !@c;
	my @key = grep { $_->[0] =~ /\.(?:id|"runId"|"friendlyId"|"completedByTaskRunId")$/ } @c;
	my $col = @key && $g->chance(.7) ? $g->pick(@key) : $g->pick(@c);
	my ($c, $pool) = @$col;
	my $v = sub { return $g->literal($pool, 'text'); };
	my $eq = Tree::kind('bool', 'true', "$c = ", $v->());
	return $g->weigh(
		30 => $eq,
		5  => Tree::kind('bool', 'true', $v->(), " = $c"),
		12 => Tree::kind('bool', 'true', "$c IN (", Tree::list(', ', 1, map { $v->() } 1 .. $g->pick(1, 2, 2, 3, 5)), ')'),
		10 => Tree::kind('bool', 'true', "$c = ANY (", $g->literal("\@$pool", 'text[]'), ')'),
		3  => Tree::kind('bool', 'true', "$c = ANY (ARRAY[", Tree::list(', ', 1, map { $v->() } 1 .. 2), ']::text[])'),
		3  => Tree::kind('bool', 'true', "$c <> ALL (", $g->literal("\@$pool", 'text[]'), ')'),
		2  => Tree::kind('bool', 'true', "$c NOT IN (", Tree::list(', ', 1, map { $v->() } 1 .. 2), ')'),
		3  => Tree::kind('bool', 'true', "$c <> ", $v->()),
		3  => Tree::kind('bool', 'true', "NOT ($c <> ", $v->(), ')'),
		4  => Tree::kind('bool', 'true', "NOT ($c = ", $v->(), ')'),
		2  => Tree::kind('bool', 'true', "$c IS NULL"),
		2  => Tree::kind('bool', 'true', "$c IS NOT NULL"),
		3  => Tree::kind('bool', 'true', "$c IS NOT DISTINCT FROM ", $v->()),
		2  => Tree::kind('bool', 'true', "$c IS DISTINCT FROM ", $v->()),
		3  => Tree::kind('bool', 'true', "($c = ", $v->(), ') IS ' . $g->pick('TRUE', 'NOT TRUE', 'FALSE', 'NOT FALSE', 'UNKNOWN', 'NOT UNKNOWN')),
		3  => Tree::kind('bool', 'true', "$c " . $g->pick(qw(> >= < <=)) . ' ', $v->()),
		2  => Tree::kind('bool', 'true', "$c BETWEEN ", $v->(), ' AND ', $v->()),
		2  => Tree::kind('bool', 'true', "$c LIKE " . $g->pick(q('c%'), q('0%'), q('%e1'), q('run\_%'), q('odd%'))),
		2  => Tree::kind('bool', 'true', "coalesce($c, 'none') = ", $v->()),
		2  => Tree::kind('bool', 'true', "$c || '' = ", $v->()),
		2  => Tree::kind('bool', 'true', "$c = upper(", $v->(), ') COLLATE ci'),
		2  => Tree::kind('bool', 'true', "$c = replace(", $v->(), ", 'r', 'r00') COLLATE nn"),
		2  => Tree::kind('bool', 'true', "$c COLLATE ci IN (upper(", $v->(), '), upper(', $v->(), '))'),
		2  => Tree::kind('bool', 'true', "$c = ", $v->(), ' COLLATE ' . $g->pick('"C"', '"POSIX"')),
		3  => Tree::kind('bool', 'true', "$c = ", $v->(), '::' . $g->pick('varchar', 'varchar(30)', 'char(30)', 'name', 'short_id', 'char(20)')),
		2  => Tree::kind('bool', 'true', "${c}::char(40) = ", $v->()),
		2  => Tree::kind('bool', 'true', "${c}::varchar(10) = ", $v->()),
		3  => Tree::kind('bool', 'true', "$c = lower(", $v->(), ')'),
		2  => Tree::kind('bool', 'true', "$c = (SELECT ", $v->(), ')'),
		2  => Tree::kind('bool', 'true', "$c = current_setting('diff.id')"),
		2  => Tree::kind('bool', 'true', "$c = CASE WHEN random() < 2 THEN ", $v->(), ' ELSE ', $v->(), ' END'),
		2  => Tree::kind('bool', 'true', "CASE WHEN $c = ", $v->(), ' THEN true ELSE ', $g->other_pred($scope), ' END'),
		2  => Tree::kind('bool', 'true', "runops.store_of($c) = " . $g->pick("'new'", "'legacy'", "'e'", "'z'")),
		1  => Tree::kind('bool', 'true', "starts_with($c, 'c')"),
		4  => Tree::kind('bool', 'true', '(', $eq, ' OR ', Tree::kind('bool', 'true', "$c = ", $v->()), ')'),
		2  => Tree::kind('bool', 'true', '(', $eq, ' OR ', Tree::kind('bool', 'true', "$c IS NULL"), ')'),
		2  => Tree::kind('bool', 'true', "($c, 1) = (", $v->(), ', 1)'));
}

# A predicate on something else.
sub other_pred
{
	my ($g, $scope) = @_;
	my @i = $g->cols($scope, 'int');
	my @e = $g->cols($scope, 'env', 'txt');
	my @s = grep { $_->[2] eq 'run_status' } $g->cols($scope, 'stat');
	my @w;
	if (@i)
	{
		my ($c) = @{ $g->pick(@i) };
		push @w, 6 => Tree::kind('bool', 'true', "$c " . $g->pick(qw(= < > <= >= <>)) . ' ', $g->literal('int', 'int'));
		push @w, 2 => Tree::kind('bool', 'true', "$c IS " . $g->pick('NULL', 'NOT NULL'));
		push @w, 2 => Tree::kind('bool', 'true', "$c % 2 = " . $g->pick(0, 1));
		push @w, 1 => Tree::kind('bool', 'true', "$c = ANY (", $g->literal('@int', 'int[]'), ')');
	}
	if (@e)
	{
		my ($c) = @{ $g->pick(@e) };
		push @w, 3 => Tree::kind('bool', 'true', "$c = ", $g->literal('env'));
		push @w, 1 => Tree::kind('bool', 'true', "$c <> ", $g->literal('env'));
	}
	if (@s)
	{
		my ($c) = @{ $g->pick(@s) };
		push @w, 3 => Tree::kind('bool', 'true', "$c = ", $g->literal('stat', 'run_status'));
		push @w, 1 => Tree::kind('bool', 'true', "${c}::text > ", $g->literal('stat', 'text'));
	}
	push @w, 1 => Tree::kind('bool', 'true', $g->pick('true', 'false', 'NULL::boolean', '(SELECT false)', 'random() < 0', 'random() >= 0', "now() > '2000-01-01'"));
	return $g->weigh(@w);
}

# An equality between columns of two relations of the scope, or within one.
sub col_eq
{
	my ($g, $scope, $left, $right) = @_;
	my @l = $g->cols($left // $scope, @IDS);
	my @r = $g->cols($right // $scope, @IDS);
	return $g->other_pred($scope) if !@l || !@r;
	my %by;
	push @{ $by{ $_->[1] } }, $_ for @r;
	for (1 .. 4)
	{
		my $a = $g->pick(@l);
		my $b = $g->pick(@{ $by{ $a->[1] } // next });
		next if $a->[0] eq $b->[0];
		($a, $b) = ($b, $a) if $g->chance(.5);
		return Tree::kind('bool', 'true', "$a->[0] = $b->[0]");
	}
	my ($a, $b) = ($g->pick(@l), $g->pick(@r));
	return Tree::kind('bool', 'true', "$a->[0] = $b->[0]");
}

# A boolean expression over a scope; the outer scopes are part of it in sub-selects.
sub bool
{
	my ($g, $scope, $depth) = @_;
	my $d = $depth - 1;
	return $g->weigh(
		40 => sub { return $g->id_pred($scope); },
		16 => sub { return $g->other_pred($scope); },
		5  => sub { return $g->col_eq($scope); },
		($depth > 0)
		? (
			18 => sub { return Tree::kind('bool', 'true', '(', $g->bool($scope, $d), ' AND ', $g->bool($scope, $d), ')'); },
			12 => sub { return Tree::kind('bool', 'true', '(', $g->bool($scope, $d), ' OR ', $g->bool($scope, $d), ')'); },
			6  => sub { return Tree::kind('bool', 'true', 'NOT (', $g->bool($scope, $d), ')'); },
			2  => sub { return Tree::kind('bool', 'true', '(', $g->bool($scope, $d), ') IS ' . $g->pick('TRUE', 'NOT TRUE', 'NOT FALSE', 'UNKNOWN')); },
			12 => sub { return $g->sublink($scope, $d); })
		: ())->();
}

# EXISTS, IN, ANY, ALL, scalar sub-selects, correlated or not.
sub sublink
{
	my ($g, $scope, $depth) = @_;
	my @c = $g->cols($scope, @IDS);
	return $g->other_pred($scope) if !@c;
	my ($c, $pool) = @{ $g->pick(@c) };
	my $corr = $g->chance(.65);
	my ($from, $inner, @where) = $g->from($depth > 0 && $g->chance(.3) ? 1 : 0);
	push @where, $g->col_eq([ @$inner, @$scope ], $inner, $scope) if $corr;
	push @where, $g->bool($corr ? [ @$inner, @$scope ] : $inner, $depth > 0 ? 1 : 0) if !@where || $g->chance(.6);
	my $w = Tree::list(' AND ', 0, @where);
	$w->{pre} = ' WHERE ';
	my @out = $g->cols($inner, $pool);
	@out = $g->cols($inner, @IDS) if !@out;
	@out = ([ "'none'", 'txt', 'text' ]) if !@out;
	my $o = $g->pick(@out)->[0];
	my $tail = Tree::seq(' FROM ', $from, $w);
	my $not = $g->pick('', '', 'NOT ');
	my @n = $g->cols($inner, 'int');
	my $n = @n ? $g->pick(@n)->[0] : '1';
	return $g->weigh(
		30 => Tree::kind('bool', 'true', "${not}EXISTS (SELECT 1", $tail, ')'),
		20 => Tree::kind('bool', 'true', "$c ${not}IN (SELECT $o", $tail, ')'),
		6  => Tree::kind('bool', 'true', "$c = ANY (SELECT $o", $tail, ')'),
		3  => Tree::kind('bool', 'true', "$c " . $g->pick('> ALL', '<> ALL', '>= ANY') . " (SELECT $o", $tail, ')'),
		10 => Tree::kind('bool', 'true', "$c = (SELECT max($o)", $tail, ')'),
		6  => Tree::kind('bool', 'true', "$c = ANY (ARRAY(SELECT $o", $tail, '))'),
		10 => Tree::kind('bool', 'true', '(SELECT count(*)', $tail, ') ' . $g->pick('> 0', '= 0', '> 2')),
		4  => Tree::kind('bool', 'true', "(SELECT coalesce(sum($n), 0)", $tail, ') > 3'),
		4  => Tree::kind('bool', 'true', "($c, 1) IN (SELECT $o, 1", $tail, ')'));
}

sub alias { my ($g) = @_; return 't' . ++$g->{alias}; }

# One relation of a FROM clause, as (node, scope); $lateral is the scope to its left.
sub item
{
	my ($g, $lateral) = @_;
	my @rel;
	for my $r (sort keys %REL)
	{
		push @rel, $REL{$r}{w} => $r;
	}
	my $a = $g->alias;
	my $kind = $g->weigh(76 => 'rel', 7 => 'sub', ($lateral ? 8 : 0) => 'lateral', 4 => 'values', 3 => 'unnest',
		(@{ $g->{cte} } ? 14 : 0) => 'cte', ($lateral && !$g->{no_functions} ? 2 : 0) => 'func');
	if ($kind eq 'sub' || $kind eq 'lateral')
	{
		my @lat = $kind eq 'lateral' ? @$lateral : ();
		my ($from, $inner, @w) = $g->from($g->chance(.25) ? 1 : 0);
		push @w, $g->col_eq([ @$inner, @lat ], $inner, \@lat) if @lat;
		push @w, $g->bool([ @$inner, @lat ], 1) if $g->chance(.5);
		my $where = Tree::list(' AND ', 0, @w);
		$where->{pre} = ' WHERE ';
		my @c = grep { defined } ($g->pick($g->cols($inner, @IDS)), $g->pick($g->cols($inner, 'int')));
		push @c, [ q('x'), 'txt', 'text' ] if !@c;
		my $i = 0;
		my $list = join ', ', map { $i++; "$_->[0] AS c$i" } @c;
		$i = 0;
		my $limit = $g->chance(.2) ? Tree::opt(' ORDER BY ' . join(', ', 1 .. @c), Tree::opt(' LIMIT ' . $g->pick(1, 2, 5))) : $g->chance(.1) ? ' OFFSET 0' : '';
		my @cols = map { $i++; [ "c$i", $_->[1], $_->[2] ] } @c;
		if ($g->chance(.15))
		{
			$list = "$c[0][0] AS c1, count(*)::int AS c2";
			@cols = ([ 'c1', $c[0][1], $c[0][2] ], [ 'c2', 'int', 'int' ]);
			$limit = " GROUP BY $c[0][0]";
		}
		return (Tree::seq(@lat ? 'LATERAL ' : '', "(SELECT $list FROM ", $from, $where, $limit, ") AS $a"), [ { alias => $a, cols => \@cols } ]);
	}
	if ($kind eq 'values')
	{
		my $pool = $g->pick('run', 'run', 'batch', 'fid');
		my @rows = map { Tree::seq('(', $g->literal($pool, 'text'), ", $_)") } 1 .. $g->pick(1, 2, 3, 4);
		return (Tree::seq('(VALUES ', Tree::list(', ', 1, @rows), ") AS $a(v, n)"), [ { alias => $a, cols => [ [ 'v', $pool, 'text' ], [ 'n', 'int', 'int' ] ] } ]);
	}
	if ($kind eq 'unnest')
	{
		return (Tree::seq('unnest(', $g->literal('@run', 'text[]'), ") AS $a(v)"), [ { alias => $a, cols => [ [ 'v', 'run', 'text' ] ] } ]);
	}
	if ($kind eq 'func')
	{
		my ($c) = map { $_->[0] } $g->pick($g->cols($lateral, 'run'));
		return (Tree::seq('runs_of(', defined $c ? $c : $g->literal('run', 'text'), ") AS $a"), [ { alias => $a, cols => [ [ 'id', 'run', 'text' ], [ 'n', 'int', 'int' ] ] } ]);
	}
	if ($kind eq 'cte')
	{
		my $cte = $g->pick(@{ $g->{cte} });
		return ("$cte->{name} AS $a", [ { alias => $a, cols => $cte->{cols} } ]);
	}
	@rel = (1 => 'note') if !@rel;
	my $r = $g->weigh(@rel);
	return ("$r AS $a", [ { alias => $a, cols => $REL{$r}{cols}, rel => $r } ]);
}

# A FROM clause of $joins joins: the node, its scope, and conditions that belong into WHERE.
sub from
{
	my ($g, $joins) = @_;
	my ($node, $scope) = $g->item;
	my @where;
	for (1 .. $joins)
	{
		my ($right, $rs) = $g->item($scope);
		my $all = [ @$scope, @$rs ];
		my $type = $g->weigh(45 => 'JOIN', 25 => 'LEFT JOIN', 7 => 'RIGHT JOIN', 6 => 'FULL JOIN', 4 => 'CROSS JOIN', 8 => ',');
		# LATERAL to the left does not go with these
		$type = 'LEFT JOIN' if $type =~ /RIGHT|FULL/ && Tree::render($right) =~ /^(?:LATERAL|runs_of)/;
		if ($type eq 'CROSS JOIN')
		{
			$node = Tree::kind('from', undef, Tree::kind('from', undef, $node), " $type ", $right);
		}
		elsif ($type eq ',')
		{
			# the condition goes into WHERE
			$node = Tree::kind('from', undef, Tree::kind('from', undef, $node), ' CROSS JOIN ', $right);
			push @where, $g->col_eq($all, $scope, $rs);
		}
		else
		{
			my @on = ($g->chance(.92) || $type =~ /FULL/ ? $g->col_eq($all, $scope, $rs) : $g->bool($all, 1));
			push @on, $g->bool($g->pick($all, $scope, $rs), 0) if $g->chance($type eq 'FULL JOIN' ? .15 : .35);
			$node = Tree::kind('from', undef, Tree::kind('from', undef, $node), " $type ", $right, ' ON ', Tree::list(' AND ', 1, @on));
		}
		$scope = $all;
	}
	return ($node, $scope, @where);
}

# An expression of a type over a scope.
sub expr
{
	my ($g, $scope, $type, $depth) = @_;
	my @t = $g->cols($scope, @IDS, 'env', 'txt');
	my @i = $g->cols($scope, 'int');
	if ($type eq 'int')
	{
		my $c = @i ? $g->pick(@i)->[0] : '1';
		return $g->weigh(
			60 => $c,
			8  => "$c + 1",
			6  => "coalesce($c, -1)",
			6  => Tree::seq('CASE WHEN ', $g->bool($scope, 0), " THEN $c ELSE 0 END"),
			(@t && !$g->{no_functions} ? 3 : 0) => sprintf('run_n(%s)', @t ? $g->pick(@t)->[0] : 'NULL'),
			(@t && !$g->{no_functions} ? 2 : 0) => sprintf('run_n_plpgsql(%s)', @t ? $g->pick(@t)->[0] : 'NULL'),
			($depth > 0 ? 8 : 0) => $g->scalar($scope, 'int', $depth));
	}
	return Tree::seq("coalesce(", $g->bool($scope, 0), ', false)') if $type eq 'bool';
	my $c = @t ? $g->pick(@t)->[0] : "'k'";
	my @rel = grep { $_->{rel} && !$REL{ $_->{rel} }{view} } @$scope;
	return $g->weigh(
		70 => "$c",
		6  => "coalesce($c, 'none')",
		5  => "$c || '+'",
		4  => "runops.store_of($c)",
		(@rel ? 4 : 0) => @rel ? $g->pick(@rel)->{alias} . '::text' : "''",
		(@rel ? 3 : 0) => @rel ? 'to_jsonb(' . $g->pick(@rel)->{alias} . ')::text' : "''",
		3 => Tree::seq($g->literal('run', 'text')),
		($depth > 0 ? 6 : 0) => $g->scalar($scope, 'text', $depth));
}

# A correlated scalar sub-select.
sub scalar
{
	my ($g, $scope, $type, $depth) = @_;
	return $type eq 'int' ? '0' : "'s'" if $depth <= 0;
	my ($from, $inner, @where) = $g->from(0);
	push @where, $g->col_eq([ @$inner, @$scope ], $inner, $scope);
	my $w = Tree::list(' AND ', 0, @where);
	$w->{pre} = ' WHERE ';
	my @o = $type eq 'int' ? $g->cols($inner, 'int') : $g->cols($inner, @IDS);
	my $o = @o ? $g->pick(@o)->[0] : $type eq 'int' ? '1' : "'one'";
	my $agg = $type eq 'int' ? $g->pick("count(*)::int", "sum($o)::int", "max($o)") : $g->pick("max($o)", "min($o)", "string_agg($o, ',' ORDER BY $o)");
	return Tree::seq("(SELECT $agg FROM ", $from, $w, ')');
}

my @AGG_INT = ('count(*)::int', 'count(X)::int', 'count(DISTINCT X)::int', 'sum(I)::int', 'max(I)', 'min(I)', 'sum(DISTINCT I)::int');
my @AGG_TXT = ('max(X)', 'min(X)', q{string_agg(X, ',' ORDER BY X)}, q{array_agg(I ORDER BY I)::text}, q{avg(I)::numeric(12,4)::text},
	q{array_agg(DISTINCT X ORDER BY X)::text}, q{bool_or(I > 2)::text});

sub aggregate
{
	my ($g, $scope, $type) = @_;
	my $a = $type eq 'int' ? $g->pick(@AGG_INT) : $type eq 'bool' ? 'coalesce(bool_and(I > 0), false)' : $g->pick(@AGG_TXT);
	my @x = $g->cols($scope, @IDS, 'env');
	my @i = $g->cols($scope, 'int');
	my $x = @x ? $g->pick(@x)->[0] : "'k'";
	my $i = @i ? $g->pick(@i)->[0] : '1';
	$a =~ s/\bX\b/$x/g;
	$a =~ s/\bI\b/$i/g;
	return $a if $a =~ /::|DISTINCT|coalesce/ || !$g->chance(.2);
	return Tree::seq("$a FILTER (WHERE ", $g->bool($scope, 0), ')');
}

sub window
{
	my ($g, $scope, $type) = @_;
	my @x = $g->cols($scope, @IDS, 'env');
	my @i = $g->cols($scope, 'int');
	my $x = @x ? $g->pick(@x)->[0] : "'k'";
	my $i = @i ? $g->pick(@i)->[0] : '1';
	return $g->pick(
		"rank() OVER (PARTITION BY $x ORDER BY $i)::int", "dense_rank() OVER (ORDER BY $x)::int",
		"sum($i) OVER (PARTITION BY $x)::int", "count(*) OVER (ORDER BY $x, $i)::int",
		"(sum($i) OVER (ORDER BY $x DESC))::int")
	  if $type eq 'int';
	return $type eq 'bool' ? "(count(*) OVER () > 3)" : "max($x) OVER (PARTITION BY $i)";
}

# A SELECT whose columns have the types of @$sig; returns its node.
sub select
{
	my ($g, $sig, $depth) = @_;
	if ($depth > 0 && $g->chance(.14))
	{
		my $op = $g->pick('UNION', 'UNION ALL', 'UNION ALL', 'INTERSECT', 'EXCEPT', 'EXCEPT ALL', 'INTERSECT ALL');
		return Tree::kind('query', undef, '(', $g->select($sig, $depth - 1), ") $op (", $g->select($sig, $depth - 1), ')');
	}
	my ($from, $scope, @where) = $g->from($g->weigh(48 => 0, 34 => 1, 14 => 2, 4 => 3));
	push @where, $g->bool($scope, $depth + 1) if $g->chance(.9);
	push @where, $g->bool($scope, 0) if $g->chance(.25);
	my $w = Tree::list(' AND ', 0, @where);
	$w->{pre} = ' WHERE ';
	my $mode = $g->weigh(60 => 'plain', 7 => 'distinct', 12 => 'group', 10 => 'agg', 8 => 'window');
	my (@out, $tail);
	$tail = '';
	if ($mode eq 'group')
	{
		my @by = map { $g->expr($scope, $_, 0) } @$sig;
		my @is_agg = map { $g->chance(.45) } @$sig;
		$is_agg[0] = 0;
		# an aggregate or a literal in GROUP BY is another thing
		@by = map { Tree::render($by[$_]) =~ /^\(SELECT|^'|^NULL/ ? $g->plain_col($scope, $sig->[$_]) : $by[$_] } 0 .. $#by;
		@out = map { $is_agg[$_] ? $g->aggregate($scope, $sig->[$_]) : $by[$_] } 0 .. $#$sig;
		my @k = map { $_ + 1 } grep { !$is_agg[$_] } 0 .. $#$sig;
		my $by = join ', ', @k;
		$tail = Tree::seq(" GROUP BY $by", $g->chance(.35) ? Tree::opt(' HAVING count(*) ' . $g->pick('> 1', '= 1', '< 4')) : '');
	}
	elsif ($mode eq 'agg') { @out = map { $g->aggregate($scope, $_) } @$sig; }
	elsif ($mode eq 'window') { @out = map { $g->chance(.5) ? $g->window($scope, $_) : $g->expr($scope, $_, 0) } @$sig; }
	else { @out = map { $g->expr($scope, $_, $depth) } @$sig; }
	my $lock = $mode eq 'plain' && $g->{lock} && $g->chance(.1) && !grep { !$_->{rel} || $REL{ $_->{rel} }{view} } @$scope;
	undef $lock if $lock && Tree::render($from) =~ /(?:LEFT|RIGHT|FULL) JOIN/;
	return Tree::kind('query', undef, 'SELECT ', $mode eq 'distinct' ? 'DISTINCT ' : '', Tree::list(', ', 1, @out), ' FROM ', $from, $w, $tail,
		$lock ? Tree::opt($g->pick(' FOR UPDATE', ' FOR SHARE', ' FOR NO KEY UPDATE')) : '');
}

sub plain_col
{
	my ($g, $scope, $type) = @_;
	my @c = $type eq 'int' ? $g->cols($scope, 'int') : $type eq 'text' ? $g->cols($scope, @IDS, 'env') : ();
	return @c ? $g->pick(@c)->[0] : $type eq 'int' ? 'length(' . ($g->pick(map { $_->[0] } $g->cols($scope, @IDS)) // "'a'") . ')'
	  : $type eq 'bool' ? '(' . ($g->pick(map { $_->[0] } $g->cols($scope)) // "'a'") . ' IS NULL)' : "coalesce('k', '')";
}

# WITH items for the statement; they become relations that item() may draw.
sub with
{
	my ($g) = @_;
	my @with;
	$g->{cte} = [];
	for (1 .. $g->weigh(76 => 0, 17 => 1, 7 => 2))
	{
		my $name = 'c' . (1 + @{ $g->{cte} });
		my @sig  = ('text', 'int');
		my $q    = $g->select(\@sig, 1);
		push @with, Tree::seq("$name(v, n) AS " . $g->pick('', '', 'MATERIALIZED ', 'NOT MATERIALIZED ') . '(', $q, ')');
		push @{ $g->{cte} }, { name => $name, cols => [ [ 'v', 'run', 'text' ], [ 'n', 'int', 'int' ] ] };
	}
	return @with;
}

# A whole query of the top level.
sub query
{
	my ($g) = @_;
	return $g->recursive if $g->chance(.02);
	return $g->page if $g->chance(.07);
	my @with = $g->with;
	my @sig = map { $g->weigh(55 => 'text', 35 => 'int', 8 => 'bool') } 1 .. $g->pick(1, 2, 2, 3, 4);
	local $g->{lock} = 1;
	my $q = $g->select(\@sig, 2);
	my $order = '';
	if ($g->chance(.3))
	{
		my $by = join ', ', map { $_ . $g->pick('', '', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST') } 1 .. @sig;
		my $limit = $g->chance(.6) ? Tree::opt(' LIMIT ' . $g->pick(1, 2, 3, 5, 10), $g->chance(.3) ? Tree::opt(' OFFSET ' . $g->pick(1, 2, 4)) : '') : '';
		# a lock clause may not follow where ORDER BY does not, and DISTINCT has its own rules: keep the select whole
		$order = { opt => 1, ordered => 1, c => [ " ORDER BY $by", $limit ] };
		if (Tree::render($q) !~ /^\(/) { $q = Tree::kind('query', undef, '(', $q, ')'); }
	}
	my $w = Tree::list(', ', 0, @with);
	$w->{pre}  = 'WITH ';
	$w->{post} = ' ';
	return Tree::seq($w, $q, $order);
}

# The page of a list: one routed table, a filter, an order that ends in the primary key.
sub page
{
	my ($g) = @_;
	my $rel = $g->pick('"TaskRun"', '"TaskRun"', '"Attempt"', 'run_view');
	my $a = $g->alias;
	my $scope = [ { alias => $a, cols => $REL{$rel}{cols}, rel => $rel } ];
	my $w = Tree::list(' AND ', 0, $g->other_pred($scope), $g->chance(.5) ? $g->bool($scope, 1) : ());
	$w->{pre} = ' WHERE ';
	my $first = $g->pick('n', 'n', 'status', 'id');
	return Tree::seq("SELECT $a.id, $a.n, $a.status FROM $rel AS $a", $w,
		{ opt => 1, ordered => 1, c => [ " ORDER BY $a.$first" . $g->pick('', ' DESC', ' DESC NULLS LAST') . ", $a.id" . $g->pick('', ' DESC', ' COLLATE "C"'), Tree::opt(' LIMIT ' . $g->pick(1, 3, 5)) ] });
}

# The tree below a run.
sub recursive
{
	my ($g) = @_;
	my $a = $g->alias;
	my $scope = [ { alias => $a, cols => \@RUN, rel => '"TaskRun"' } ];
	return Tree::seq("WITH RECURSIVE tree(id, n, d) AS (SELECT $a.id, $a.n, 0 FROM \"TaskRun\" $a WHERE ", $g->bool($scope, 1),
		' UNION ', $g->pick('', 'ALL '), 'SELECT r.id, r.n, d + 1 FROM "TaskRun" r JOIN tree t ON r."parentTaskRunId" = t.id WHERE d < 3) SELECT * FROM tree');
}

1;
