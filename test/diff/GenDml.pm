# GenDml: the generator of statements that write: INSERT, UPDATE, DELETE, and CTEs made of them.
package GenDml;

use strict;
use warnings;

use Data;
use Gen;
use Tree;

# Pools that only writes use: fresh ids, and a mixture with ids that exist.
my %fresh = map { my $k = $_; $k => [ map { Data::id($k, $_) } 70 .. 79 ] } qw(l k n e);
$Data::POOL{new} = [ map { @{ $fresh{$_} } } qw(l k n e) ];
$Data::POOL{ins} = [
	@{ $Data::POOL{new} }, (map { Data::id('o', $_) } 70 .. 74),
	(map { $_->[0] } Data::runs()), Data::id('z', 2), undef ];
$Data::POOL{upsert} = [ @{ $fresh{l} }, (map { $_->[0] } (Data::runs())[ 0 .. 7 ]), Data::id('n', 1), Data::id('e', 2), Data::id('k', 70) ];
$Data::POOL{upsert_l} = [ @{ $fresh{l} }[ 0 .. 3 ], map { $_->[0] } (Data::runs())[ 0 .. 7 ] ];
# ids that do not tell the store are unique in each store, not over all: every row of a statement draws from its own
for my $row (1 .. 5)
{
	$Data::POOL{"newatt$row"} = [ map { Data::id('l', 300 + 10 * $row + $_) =~ s/^cl0ab/cl0t/r } 0 .. 3 ];
	$Data::POOL{"newwp$row"}  = [ map { Data::id('l', 60 + 4 * $row + $_) =~ s/^cl0a/cl0w/r } 0 .. 3 ];
}
$Data::POOL{newbatch} = [ (map { Data::id($_, 71), Data::id($_, 51), Data::id($_, 72) } qw(l k n e)), Data::id('z', 3) ];
$Data::POOL{runs} = [ map { $_->[0] } Data::runs() ];

my %KEY = ('"TaskRun"' => 'id', '"Attempt"' => '"runId"', '"Waitpoint"' => '"completedByTaskRunId"', '"Batch"' => 'id');

sub _target
{
	my ($g) = @_;
	return $g->weigh(45 => '"TaskRun"', 25 => '"Attempt"', 15 => '"Waitpoint"', 15 => '"Batch"');
}

# The condition of an UPDATE or DELETE: often the row's key or an alias, as applications do.
sub _where
{
	my ($g, $table, $scope) = @_;
	return $g->bool($scope, 2) if $g->chance(.6);
	my ($key, $pool) = $table eq '"Batch"' ? ('id', 'batch') : $table eq '"TaskRun"' && $g->chance(.3) ? ('"friendlyId"', 'fid') : ($KEY{$table}, 'run');
	my $eq = $g->chance(.75) ? Tree::kind('bool', 'true', "t.$key = ", $g->literal($pool)) : Tree::kind('bool', 'true', "t.$key = ANY (", $g->literal("\@$pool", 'text[]'), ')');
	return $g->chance(.7) ? $eq : Tree::kind('bool', 'true', '(', $eq, ' AND ', $g->bool($scope, 0), ')');
}

# The same literal at two places of a statement.
my $names = 0;

sub _twice
{
	my ($g, $pool) = @_;
	my $v = $g->literal($pool, 'text');
	$v->{name} = 'v' . ++$names;
	return ($v, Tree::copy($v));
}

sub _returning
{
	my ($g, $a, $table) = @_;
	return '' if $g->chance(.35);
	my @c = map { "$a.$_->[0]" } @{ $Gen::REL{$table}{cols} };
	my @out = $g->chance(.2) ? ("$a.*") : map { $g->pick(@c, "$a.mark", "$a.n + 1", "coalesce($a.n, 0)") } 1 .. $g->pick(1, 2, 3);
	push @out, "$a" . '::text' if $g->chance(.1);
	my $l = Tree::list(', ', 1, @out);
	$l->{pre} = ' RETURNING ';
	return Tree::opt($l);
}

# One row of VALUES for a table: the columns are fixed by _columns.
my %COLUMNS = (
	'"TaskRun"'   => 'id, "friendlyId", "parentTaskRunId", env, n, tags',
	'"Attempt"'   => 'id, "runId", number, status, n',
	'"Waitpoint"' => 'id, "completedByTaskRunId", "completedByBatchId", env, n',
	'"Batch"'     => 'id, env, n');

sub _row
{
	my ($g, $table, $pool, $no) = @_;
	if ($table eq '"TaskRun"')
	{
		my ($id, $again) = _twice($g, $pool // $g->pick(qw(new new new ins ins)));
		my $fid = $g->weigh(60 => Tree::seq("'run_' || ", $again), 15 => "'weird-new'", 15 => 'NULL', 6 => $g->literal('fid'));
		my $par = $g->weigh(60 => 'NULL', 20 => "'odd-1'", 15 => $g->literal('run'));
		return Tree::seq('(', $id, ', ', $fid, ', ', $par, ', ', $g->literal('env'), ', ', $g->weigh(70 => $g->literal('int', 'int'), 20 => 'DEFAULT'), q(, '{x}'));
	}
	if ($table eq '"Attempt"')
	{
		return Tree::seq('(', $g->literal("newatt$no"), ', ', $g->literal($pool // $g->pick(qw(runs runs runs runs ins))), ', ', $g->pick(1, 5, 6, 7, 8, 9, 0), ', ', $g->literal('stat', 'run_status'), ', ', $g->literal('int', 'int'));
	}
	if ($table eq '"Waitpoint"')
	{
		return Tree::seq('(', $g->literal("newwp$no"), ', ', $g->literal('run'), ', ', $g->literal('batch'), ', ', $g->literal('env'), ', ', $g->literal('int', 'int'));
	}
	return Tree::seq('(', $g->literal($pool // 'newbatch', 'varchar'), ', ', $g->literal('env', 'varchar'), ', ', $g->literal('int', 'int'));
}

sub _on_conflict
{
	my ($g, $table) = @_;
	my $target = $table eq '"Attempt"' ? '("runId", number)' : '(id)';
	return Tree::seq(" ON CONFLICT $target ", $g->pick(
			'DO NOTHING',
			'DO UPDATE SET n = excluded.n, mark = 7',
			'DO UPDATE SET mark = t.mark + 1',
			'DO UPDATE SET (n, mark) = (SELECT excluded.n + 1, 5)',
			'DO UPDATE SET mark = 3 WHERE t.n > 2',
			"DO UPDATE SET mark = length(excluded.id) + coalesce(t.n, 0), n = DEFAULT"));
}

sub insert
{
	my ($g) = @_;
	my $table = _target($g);
	$g->{target} = $table;
	my ($src, $conflict) = ('', '');
	my $how = $g->weigh(46 => 'values', 16 => 'upsert', 8 => 'nothing', 22 => 'select', 5 => 'view');
	$how = 'values' if $how eq 'view' && $table ne '"TaskRun"' || $how eq 'upsert' && $table eq '"Waitpoint"';
	if ($how eq 'view')
	{
		my ($id, $again) = _twice($g, 'ins');
		return Tree::seq('INSERT INTO run_checked AS t (id, "friendlyId", env, n) VALUES (', $id, q(, 'run_' || ), $again, ', ', $g->literal('env'), ', ', $g->pick(5, 99, 100, 200), ')',
			Tree::opt(' RETURNING t.id, t.n'));
	}
	if ($how eq 'select')
	{
		$g->{no_functions} = 1;
		my $cols = $COLUMNS{$table};
		if ($g->chance(.5))
		{
			# the same table: one scan, and every new row in the store of the old one
			my $a = $g->alias;
			my $scope = [ { alias => $a, cols => $Gen::REL{$table}{cols}, rel => $table } ];
			my $new = $table eq '"Waitpoint"' ? "overlay($a.id placing 'vv' from 7)" : $table eq '"Attempt"' ? "overlay($a.id placing 'vv' from 7)" : "overlay($a.id placing 'vv' from 8)";
			my $list =
			    $table eq '"TaskRun"'   ? "$new, 'run_' || $new, $a.\"parentTaskRunId\", $a.env, $a.n, $a.tags"
			  : $table eq '"Attempt"'   ? "$new, $a.\"runId\", $a.number + 10, $a.status, $a.n"
			  : $table eq '"Waitpoint"' ? "$new, $a.\"completedByTaskRunId\", $a.\"completedByBatchId\", $a.env, $a.n"
			  :                           "$new, $a.env, $a.n";
			my $w = Tree::list(' AND ', 0, $g->bool($scope, 1), $a . '.id NOT LIKE \'odd%\'');
			$w->{pre} = ' WHERE ';
			$src = Tree::seq("SELECT $list FROM $table AS $a", $w);
		}
		else
		{
			my ($from, $scope, @where) = $g->from($g->pick(0, 0, 1));
			push @where, $g->bool($scope, 1) if $g->chance(.7);
			my $w = Tree::list(' AND ', 0, @where);
			$w->{pre} = ' WHERE ';
			# one new row for every (distinct) number of the source
			my ($i) = map { $_->[0] } $g->pick($g->cols($scope, 'int'));
			$i //= '1';
			my $k = $g->pick(qw(l n e k));
			my $base = "DISTINCT $i AS i";
			my $idx = { l => "'cl0newdefghijklmnopqr8' || i || 'xy'", n => "'0123newdefghijklmnopqr' || '8' || i || 'e1'", e => "'0123newdefghijklmnopqr' || '8' || i || 'e2'", k => "'2SmasRGnewKqETAHwssB4GGY8' || i || 'w'" }->{$k};
			my $list =
			    $table eq '"TaskRun"'   ? "$idx, 'run_' || $idx, NULL, 'e3', i, NULL"
			  : $table eq '"Attempt"'   ? "'cl0tnewfghijklmnopqr8' || i, " . Tree::literal($g->pick(@{ $Data::POOL{runs} }), 'text') . ", 20 + i, 'DONE'::run_status, i"
			  : $table eq '"Waitpoint"' ? "'cl0wnewfghijklmnopqr8' || i, $idx, NULL, 'e1', i"
			  :                           "$idx, 'e1', i";
			$src = Tree::seq("SELECT $list FROM (SELECT $base FROM ", $from, $w, ') AS s WHERE i BETWEEN 0 AND 9');
		}
		$conflict = ' ON CONFLICT DO NOTHING' if $g->chance(.15);
		return Tree::seq("INSERT INTO $table AS t ($cols) ", $src, $conflict, _returning($g, 't', $table));
	}
	my $pool = $how eq 'upsert' ? $g->pick(qw(upsert_l upsert_l upsert_l upsert)) : undef;
	$pool = 'runs' if $table eq '"Attempt"' && $pool;
	$pool = 'newbatch' if $table eq '"Batch"';
	my @rows = map { Tree::seq(_row($g, $table, $pool, $_), ')') } 1 .. ($how eq 'upsert' ? $g->pick(1, 1, 1, 2, 3) : $g->pick(1, 1, 1, 2, 3, 5));
	if ($how eq 'upsert')
	{
		$g->{feat}{onconflict} = 1;
		$conflict = _on_conflict($g, $table);
	}
	$conflict = ' ON CONFLICT DO NOTHING' if $how eq 'nothing';
	my @with;
	if (@rows == 1 && $g->chance(.1)) { @with = $g->with; }
	my $w = Tree::list(', ', 0, @with);
	$w->{pre}  = 'WITH ';
	$w->{post} = ' ';
	return Tree::seq($w, "INSERT INTO $table AS t ($COLUMNS{$table}) VALUES ", Tree::list(', ', 1, @rows), $conflict, _returning($g, 't', $table));
}

# What SET may assign; true as second value if it assigns a column of the key.
sub _assignments
{
	my ($g, $table, $plain) = @_;
	my @a;
	my $key = 0;
	push @a, $g->pick('mark = t.mark + 1', 'mark = 9', 'mark = length(t.id)', Tree::seq('mark = ', $g->literal('int', 'int')), 'mark = DEFAULT', 'mark = (SELECT count(*) FROM env)');
	return ($key, @a) if $plain;
	my $n = $g->pick('n = t.n + 1', Tree::seq('n = ', $g->literal('int', 'int')), 'n = t.mark', 'n = -t.n', '(n) = ROW(5)');
	push @a, $n if $g->chance(.5);
	if ($table eq '"TaskRun"')
	{
		push @a, $g->pick(
			q{tags = array_append(t.tags, 'u')}, q{meta = coalesce(t.meta, '{}') || '{"z": 1}'}, Tree::seq('status = ', $g->literal('stat', 'run_status')),
			Tree::seq('env = ', $g->literal('env')), q{"friendlyId" = 'run_' || t.id}, q{"friendlyId" = 'weird-u'}, Tree::seq('"parentTaskRunId" = ', $g->literal('run')))
		  if $g->chance(.5);
		if ($g->chance(.22))
		{
			$key = 1;
			push @a, $g->pick(Tree::seq('id = ', $g->literal('new')), q{id = overlay(t.id placing 'vv' from 7)}, Tree::seq('id = ', $g->literal('run')), 'id = t.id');
			push @a, q{"friendlyId" = NULL} if $g->chance(.6) && !grep { Tree::render($_) =~ /friendlyId/ } @a;
		}
	}
	elsif ($table eq '"Attempt"')
	{
		push @a, Tree::seq('status = ', $g->literal('stat', 'run_status')) if $g->chance(.3);
		if ($g->chance(.2)) { $key = 1; push @a, $g->pick(Tree::seq('"runId" = ', $g->literal('runs')), '"runId" = t."runId"'); }
	}
	elsif ($table eq '"Waitpoint"')
	{
		if ($g->chance(.4))
		{
			$key = 1;
			push @a, $g->pick('"completedByTaskRunId" = NULL', Tree::seq('"completedByTaskRunId" = ', $g->literal('run')), Tree::seq('"completedByBatchId" = ', $g->literal('batch')), '"completedByBatchId" = NULL');
		}
	}
	elsif ($g->chance(.2))
	{
		$key = 1;
		push @a, $g->pick(Tree::seq('id = ', $g->literal('newbatch', 'varchar')), q{id = overlay(t.id placing 'vv' from 7)});
	}
	return ($key, @a);
}

sub update
{
	my ($g) = @_;
	my $table = _target($g);
	$g->{target} = $table;
	my $self = $g->chance(.35);
	my ($key, @set) = _assignments($g, $table, $self);
	$g->{feat}{keyupd} = 1 if $key;
	$g->{no_functions} = 1;
	my $scope = [ { alias => 't', cols => $Gen::REL{$table}{cols}, rel => $table } ];
	my @where;
	my $from = '';
	my $via = $table eq '"TaskRun"' && !$key && $g->chance(.06);
	if ($via)
	{
		return Tree::seq('UPDATE run_checked AS t SET n = ', $g->pick('t.n + 50', '5', '100'), ' WHERE ', $g->bool([ { alias => 't', cols => [ @{ $Gen::REL{'"TaskRun"'}{cols} }[ 0, 1, 4, 6 ] ] } ], 1),
			Tree::opt(' RETURNING t.id, t.n'));
	}
	my @with = $g->chance(.1) ? $g->with : ();
	if ($g->chance(.3))
	{
		my ($f, $fs, @w) = $g->from($g->pick(0, 0, 0, 1));
		$from = Tree::seq(' FROM ', $f);
		push @where, @w, $g->col_eq([ @$scope, @$fs ], $scope, $fs);
		push @where, $g->bool([ @$scope, @$fs ], 1) if $g->chance(.7);
	}
	push @where, _where($g, $table, $scope) if $g->chance(.92);
	my $w = Tree::list(' AND ', 0, @where);
	$w->{pre} = ' WHERE ';
	my $c = Tree::list(', ', 0, @with);
	$c->{pre}  = 'WITH ';
	$c->{post} = ' ';
	return Tree::seq($c, "UPDATE $table AS t SET ", Tree::list(', ', 1, @set), $from, $w, _returning($g, 't', $table));
}

sub delete
{
	my ($g) = @_;
	my $table = _target($g);
	$g->{target} = $table;
	$g->{no_functions} = 1;
	my $scope = [ { alias => 't', cols => $Gen::REL{$table}{cols}, rel => $table } ];
	my @where;
	my $using = '';
	my @with = $g->chance(.1) ? $g->with : ();
	if ($g->chance(.3))
	{
		my ($f, $fs, @w) = $g->from($g->pick(0, 0, 1));
		$using = Tree::seq(' USING ', $f);
		push @where, @w, $g->col_eq([ @$scope, @$fs ], $scope, $fs);
		push @where, $g->bool([ @$scope, @$fs ], 1) if $g->chance(.6);
	}
	push @where, _where($g, $table, $scope) if $g->chance(.95);
	my $w = Tree::list(' AND ', 0, @where);
	$w->{pre} = ' WHERE ';
	my $c = Tree::list(', ', 0, @with);
	$c->{pre}  = 'WITH ';
	$c->{post} = ' ';
	return Tree::seq($c, "DELETE FROM $table AS t", $using, $w, _returning($g, 't', $table));
}

# A data-modifying CTE that a query over other tables reads.
sub writing_cte
{
	my ($g) = @_;
	my $node = $g->pick(sub { return update($g); }, sub { return insert($g); }, sub { return GenDml::delete($g); })->();
	my $text = Tree::render($node);
	return $node if $text =~ /^WITH/ || $text =~ /run_checked/;
	# no RETURNING of its own: the outer query reads id, n
	$node->{c} = [ grep { Tree::render($_) !~ /^ RETURNING/ } @{ $node->{c} } ];
	$g->{no_functions} = 1;
	$g->{cte} = [ { name => 'w', cols => [ [ 'v', $g->{target} eq '"Batch"' ? 'batch' : $g->{target} eq '"Attempt"' ? 'att' : 'run', 'text' ], [ 'n', 'int', 'int' ] ] } ];
	my $q = $g->select([ 'text', 'int' ], 0);
	return Tree::seq('WITH w(v, n) AS (', $node, ' RETURNING t.id::text, t.n) ', $g->chance(.5) ? $q : 'SELECT count(*), sum(n), min(v) FROM w');
}

# Any statement that writes.
sub dml
{
	my ($g) = @_;
	$g->{dml} = 1;
	return $g->weigh(36 => \&insert, 36 => \&update, 20 => \&GenDml::delete, 8 => \&writing_cte)->($g);
}

1;
