# Data: the rows of the differential test and the pools that literals are drawn from; no randomness here.
package Data;

use strict;
use warnings;

# An id of a kind: l(egacy cuid), k(suid), n(ew run-ops), e (shard e), z (a shard that is not configured), o(dd).
sub id
{
	my ($kind, $i) = @_;
	my $s = sprintf '%02d', $i;
	return {
		l => "cl0abcdefghijklmnopqr${s}xy",
		k => "2SmasRGkif9qETAHwssB4GGY${s}w",
		n => "0123456789abcdefghijkl${s}e1",
		e => "0123456789abcdefghijkl${s}e2",
		z => "0123456789abcdefghijkl${s}z2",
		o => "odd-$i" }->{$kind};
}

# Every run: [id, friendlyId, parentTaskRunId, batchId, env, status, n, tags, meta], legacy ones first.
sub runs
{
	my @r;
	my @kinds = (('l') x 6, ('o') x 2, ('k') x 3, ('n') x 4, ('e') x 4);
	my %n;
	my @batch = (id('l', 51), id('n', 51), id('e', 51), id('z', 51), 'odd-b', undef);
	my @stat  = qw(PENDING EXECUTING DONE FAILED);
	for my $i (0 .. $#kinds)
	{
		my $k  = $kinds[$i];
		my $no = ++$n{$k};
		my $id = $k eq 'l' && $no == 6 ? 'run_' . id($k, $no) : id($k, $no);
		# an unclassifiable friendly id and parent in every store
		my $fid =
		    $no == 2 && $k ne 'o' ? "weird-$k"
		  : $no == 3 && $k ne 'n' ? undef
		  :                         'run_' . ($id =~ s/^run_//r);
		my $par =
		    $no == 1 ? undef
		  : $no == 4 ? 'odd-1'
		  : $k eq 'k' ? id('n', 1)
		  : $k eq 'o' ? id('l', 1)
		  :             id($k, 1);
		$par = 'odd-1' if $k eq 'o';
		push @r,
		  [
			$id, $fid, $par, $batch[ $i % @batch ], 'e' . (1 + $i % 3), $stat[ $i % 4 ],
			$i % 5 == 4 ? undef : $i % 9,
			$i % 4 == 0 ? undef : "{a,t$i}", $i % 3 == 0 ? undef : qq({"k": $i, "s": "v$k"}) ];
	}
	return @r;
}

sub _lit { my ($v) = @_; return defined $v ? "'" . ($v =~ s/'/''/gr) . "'" : 'NULL'; }

sub _insert
{
	my ($table, $cols, @rows) = @_;
	return '' if !@rows;
	return "INSERT INTO $table ($cols) VALUES\n" . join(",\n", map { '(' . join(', ', map { _lit($_) } @$_) . ')' } @rows) . ";\n";
}

# True if the owner's id belongs to the legacy store.
sub _legacy { my ($id) = @_; return $id !~ /^(?:\w+?_)?(?:[0-9a-v]{24}[a-z0-9][12]|[0-9A-Za-z]{27})$/; }

# SQL that inserts the rows of the legacy store ($new false), or those of the others.
sub rows_sql
{
	my ($new) = @_;
	my @runs = runs();
	my (@att, @wp, @batch, @note);
	my $a = 0;
	for my $i (0 .. $#runs)
	{
		my $rid = $runs[$i][0];
		for my $no (1 .. $i % 4)
		{
			$a++;
			push @att, [ id('l', 200 + $a) =~ s/^cl0ab/cl0t/r, $rid, $no, (qw(PENDING DONE FAILED))[ $a % 3 ], $a % 7 ? $a % 5 : undef ];
		}
		my $wid = id('l', 10 + $i) =~ s/^cl0a/cl0w/r;
		push @wp, [ $wid, $i % 3 == 0 ? undef : $rid, $i % 2 == 0 ? undef : id((qw(l n e))[ $i % 3 ], 51), 'e' . (1 + $i % 3), $i % 6 ];
		push @note, [ $i + 1, $i % 6 == 5 ? undef : $rid, 'e' . (1 + $i % 3), "note $i", $i % 8 ];
	}
	push @wp, [ id($_, 61), undef, undef, 'e1', 3 ] for qw(l k e);
	push @batch, [ id($_, 51), 'e2', ord($_) % 5 ], [ id($_, 52), undef, undef ] for qw(l k n e);
	push @note, [ 50, id('z', 1), 'e1', 'gone', 1 ], [ 51, id('n', 99), 'e2', 'gone too', 2 ], [ 52, 'odd-9', 'e3', 'odd', 3 ];
	my $owner = sub { $_[0][1] // $_[0][2] // $_[0][0] };
	my $mine = sub { my ($key) = @_; return $new ? !_legacy($key) : _legacy($key); };
	my $sql = '';
	if (!$new)
	{
		$sql .= _insert('env', 'id, org, name', map { [ "e$_", 'o' . ($_ % 2), "env $_" ] } 1 .. 4);
		$sql .= _insert('note', 'id, run_id, env, body, n', @note);
	}
	$sql .= _insert('"TaskRun"', 'id, "friendlyId", "parentTaskRunId", "batchId", env, status, n, tags, meta', grep { $mine->($_->[0]) } @runs);
	$sql .= _insert('"Attempt"', 'id, "runId", number, status, n', grep { $mine->($_->[1]) } @att);
	$sql .= _insert('"Waitpoint"', 'id, "completedByTaskRunId", "completedByBatchId", env, n', grep { $mine->($owner->($_)) } @wp);
	$sql .= _insert('"Batch"', 'id, env, n', grep { $mine->($_->[0]) } @batch);
	return $sql;
}

# Pools: the values that a literal of a kind is drawn from.  Existing ids are the likeliest.
my @run_ids = map { $_->[0] } runs();
our %POOL = (
	run => [
		@run_ids, @run_ids,
		id('l', 90), id('n', 90), id('e', 90), id('k', 90), id('z', 1), 'odd-1', 'odd-9', '', 'x_y', undef ],
	fid => [ (map { $_->[1] } runs()), (map { 'run_' . $_->[0] } runs()), 'weird-none', 'run_' . id('z', 1), undef ],
	batch => [ (map { id($_, 51), id($_, 52) } qw(l k n e)), id('z', 51), 'odd-b', undef ],
	att   => [ map { id('l', 200 + $_) =~ s/^cl0ab/cl0t/r } 1 .. 12 ],
	wp    => [ (map { id('l', 10 + $_) =~ s/^cl0a/cl0w/r } 0 .. 12), id('l', 61), id('k', 61), id('e', 61), id('n', 62) ],
	env   => [qw(e1 e2 e3 e4 nope)],
	stat  => [qw(PENDING EXECUTING DONE FAILED)],
	int   => [ 0 .. 8, 8, 3, 2, -1, undef ],
	txt   => [ 'note 1', 'note 4', 'gone', 'a', 'zz' ]);

1;
