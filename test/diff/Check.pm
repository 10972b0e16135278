# Check: runs a case over the plain database and over the split, and tells what differs.
#
# A case is {tree, write, returns, mode, knobs, role, id, feat}.  A literal of the tree with "vals" is a parameter and has
# one value for each execution.
package Check;

use strict;
use warnings;

use Tree;

my %OID = (text => 25, int => 23, 'text[]' => 1009, 'int[]' => 1007, varchar => 1043);

# The routed tables: columns compared, key, schema-qualified leaf names by store.
my @TABLES = (
	[ 'TaskRun',   'id, "friendlyId", "parentTaskRunId", "batchId", env, status, n, n2, "createdAt", tags, meta, mark', 'id' ],
	[ 'Attempt',   'id, "runId", number, status, n, output, mark', '"runId"' ],
	[ 'Waitpoint', 'id, "completedByTaskRunId", "completedByBatchId", env, status, n, mark', 'COALESCE("completedByTaskRunId", "completedByBatchId", id)' ],
	[ 'Batch',     'id, env, n, mark', 'id' ]);
my %LEAF = (legacy => 'runops_legacy', new => 'runops_new', e => 'runops_shard_e');

# Leave the rows of the legacy store alone in the plain database.
sub keep_legacy
{
	my ($rig) = @_;
	my $c = $rig->connect('plain');
	$c->do(qq(DELETE FROM "$_->[0]" WHERE runops.store_of($_->[2]) <> 'legacy')) for reverse @TABLES;
	$c->do('ANALYZE');
	$c->close;
	$rig->connect($_)->do('TRUNCATE statement_log') for qw(control plain);
	return;
}

sub leaf_schemas { return sort values %LEAF; }

# What may differ, by feature of the statement and SQLSTATE; see docs/limitations.  "when" gets the text with its values,
# the plain outcome and whether the plain statement changed the number of rows of some store.
our $elsewhere = 0;	# is legacy a database of its own?
my $NEW_SHAPE = qr/(?:[0-9a-v]{24}[a-z0-9][12]|[0-9A-Za-z]{27})\b/;
my @ALLOW = (
	# core has no unique index to infer on a parent; with routing, keys of the legacy store alone must work
	{ feat => 'onconflict', env => qr/^off$/, state => qr/^(?:42P10|0A000)$/ },
	{ feat => 'onconflict', env => qr/^(?:on|split)$/, state => qr/^(?:42P10|0A000)$/, when => sub { return $elsewhere || $_[0] =~ $NEW_SHAPE; } },
	# a generic plan of an upsert is made for the legacy leaf, which refuses other keys
	{ feat => 'onconflict', env => qr/^(?:on|split)$/, state => qr/^RO003$/, when => sub { return $_[0] =~ $NEW_SHAPE; } },
	# which of several violated constraints is named: a store checks its foreign keys after each row
	{ state => qr/^23/, when => sub { return ($_[1]{err} // '') =~ /^23/; } },
	# a view's check comes before the store is asked
	{ state => qr/^44000/, when => sub { return ($_[1]{err} // '') =~ /^23/; } },
	# a row does not move between stores
	{ feat => 'keyupd', state => qr/^RO003$/, when => sub { my ($text, $plain, $moved) = @_; return $moved || ($plain->{err} // '') =~ /^(?:23|42501|44000)/; } },
	# a store that is not configured: written to, or asked for by a known id, also in a function that gets one from a row
	{ state => qr/^RO004$/, when => sub { return $_[0] =~ /\brun_n/; } },
	{ state => qr/^RO004$/, when => sub { return $_[0] =~ /[0-9a-v]{24}z2\b/; } },
	# flag off: no row of another store is written
	{ flag => 'off', state => qr/^RO00[23]$/, when => sub { my ($text, $plain) = @_; return ($plain->{stores} // '') =~ / (?:new|e|z)\b/ || ($plain->{err} // '') =~ /^(?:23|21000|42501|44000)/; } },
	# errors of parse analysis on a partitioned table
	{ feat => 'parse', state => qr/^(?:42803|0A000|42P10|42704)$/ });

sub new
{
	my ($class, $rig, %arg) = @_;
	my $self = bless { rig => $rig, n => 0, flag => $arg{flag} // 'on' }, $class;
	$self->open($_) for qw(plain on split off);
	my $res = $self->_state('plain');
	$self->{base} = _stores($res);
	return $self;
}

# (Re)connect one of the sides: the plain database; routing and shipping on; routing alone; neither.
sub open
{
	my ($self, $env) = @_;
	my $conn;
	for (1 .. 100)
	{
		$conn = eval { $self->{rig}->connect($env eq 'plain' ? 'plain' : 'control') } and last;
		select undef, undef, undef, .1;
	}
	die "could not connect again: $@" if !$conn;
	$conn->do("SET statement_timeout = '20s'");
	$conn->do('SET runops.enable_routing = ' . ($env eq 'off' ? 'off' : 'on')) if $env ne 'plain';
	$conn->do('SET runops.enable_shipping = ' . ($env eq 'on' ? 'on' : 'off')) if $env ne 'plain';
	$self->{conn}{$env} = $conn;
	return;
}

# Rows of every routed table with the store that holds them; in the plain database, the store that should.
sub _state
{
	my ($self, $env) = @_;
	my @q;
	for my $t (@TABLES)
	{
		my ($name, $cols, $key) = @$t;
		if ($env eq 'plain')
		{
			push @q, qq(SELECT '$name', runops.store_of($key), ROW($cols)::text FROM "$name");
			next;
		}
		push @q, qq(SELECT '$name', '$_', ROW($cols)::text FROM $LEAF{$_}."$name") for sort keys %LEAF;
	}
	push @q, "SELECT 'log', 'legacy', tg_op FROM statement_log";
	my ($r) = $self->{conn}{$env}->query(join ' UNION ALL ', @q);
	return $r;
}

# Where rows are: the number in each store, or, of a table whose key is not its primary key, which.
sub _stores
{
	my ($state) = @_;
	my %n;
	for (@{ $state->{rows} })
	{
		my ($table, $store, $row) = @$_;
		$n{ $table =~ /^(?:Attempt|Waitpoint)$/ ? "$table $store " . ($row =~ s/,.*//sr) : "$table $store" }++;
	}
	return join ' ', map { "$_=$n{$_}" } sort keys %n;
}

sub _rows
{
	my ($rows, $ordered) = @_;
	my @r = map { join "\t", map { $_ // '\N' } @$_ } @{ $rows // [] };
	@r = sort @r if !$ordered;
	return \@r;
}

# True if the tree still has the ORDER BY that makes its rows a list.
sub _ordered
{
	my ($n) = @_;
	return 0 if !ref $n;
	return 1 if $n->{ordered};
	for (@{ $n->{c} // [] }) { return 1 if _ordered($_); }
	return 0;
}

# The statement's text with $1.. (or p1..) for parameters, and the parameters' nodes.
sub text
{
	my ($tree, $sign) = @_;
	my (@params, %by_name);
	my $sql = Tree::render(
		$tree,
		sub {
			my ($n) = @_;
			return undef if !$n->{vals};
			my $i = defined $n->{name} ? $by_name{ $n->{name} } : undef;
			if (!defined $i)
			{
				push @params, $n;
				$i = @params;
				$by_name{ $n->{name} } = $i if defined $n->{name};
			}
			return $sign . $i . ($OID{ $n->{type} } ? '' : "::$n->{type}");
		});
	return ($sql, \@params);
}

sub _value { my ($v) = @_; return ref $v ? Tree::array($v) : $v; }

# The statement with the values of one execution in it, to be read by people and by the rules above.
sub shown
{
	my ($case, $i) = @_;
	return Tree::render($case->{tree}, sub { my ($n) = @_; return $n->{vals} ? Tree::literal($n->{vals}[$i], $n->{type}) : undef; });
}

# How often a case runs.
sub executions
{
	my ($case) = @_;
	return 1 if $case->{mode} =~ /^(?:simple|cursor)$/;
	return $case->{times} // 7;
}

# One outcome: {err, msg} or {tag, rows}.
sub _outcome
{
	my ($case, @res) = @_;
	for my $r (@res)
	{
		return { err => $r->{error}{C}, msg => $r->{error}{M} } if $r->{error};
	}
	my $last = $res[-1];
	return { tag => $last->{tag}, rows => _rows($last->{rows}, _ordered($case->{tree})) };
}

# What a write has left behind, in the same transaction; added to the outcome.
sub _afterwards
{
	my ($self, $case, $env, $o) = @_;
	my $c = $self->{conn}{$env};
	my $stores;
	if ($case->{undo})
	{
		$c->query('RESET ROLE') if $case->{role} && $env eq 'plain';
		$stores = _stores($self->_state($env)) if $env eq 'plain' && !$o->{err};
		$c->query('ROLLBACK TO SAVEPOINT undo__');
	}
	elsif ($o->{err}) { return; }
	if ($case->{then})
	{
		my ($r) = $c->query(Tree::render($case->{then}));
		if ($r->{error}) { @$o{qw(err msg)} = ($r->{error}{C}, "afterwards: $r->{error}{M}"); return; }
		$o->{then} = _rows($r->{rows}, _ordered($case->{then}));
	}
	$c->query('RESET ROLE') if $case->{role} && $env eq 'plain';
	my $state = $self->_state($env);
	if ($state->{error}) { @$o{qw(err msg)} = ($state->{error}{C}, "reading the leaves: $state->{error}{M}"); return; }
	$o->{state} = _rows($state->{rows}, 0);
	$o->{stores} = $stores // _stores($state);
	return;
}

# Run a case on one side; a list of outcomes.
sub run
{
	my ($self, $case, $env) = @_;
	$self->open($env) if $self->{conn}{$env}->dead;
	my $c = $self->{conn}{$env};
	my $mode = $case->{mode};
	my @out;
	my $name = 's' . ++$self->{n};
	my $begin = "BEGIN; SET LOCAL diff.id = '$case->{id}'" . join '', map { "; SET LOCAL $_" } @{ $case->{knobs} };
	$begin .= '; SET LOCAL ROLE diff_app' if $case->{role};
	$begin .= '; SAVEPOINT undo__' if $case->{undo};
	my ($sql, $params) = text($case->{tree}, $mode eq 'plpgsql' ? 'p' : '$');
	my $prepared;
	if ($mode =~ /^(?:auto|custom|generic|plpgsql)$/)
	{
		my $how = $mode eq 'custom' ? 'force_custom_plan' : $mode eq 'generic' || $case->{generic} ? 'force_generic_plan' : 'auto';
		$c->do("SET plan_cache_mode = $how");
	}
	if ($mode eq 'plpgsql')
	{
		my $args = join ', ', map { "p$_ $params->[ $_ - 1 ]{type}" } 1 .. @$params;
		my $body = $case->{write} && $sql !~ / RETURNING | FROM w\b/
		  ? "DECLARE n__ int; BEGIN $sql; GET DIAGNOSTICS n__ = ROW_COUNT; RETURN NEXT n__::text; END"
		  : "DECLARE r__ record; BEGIN FOR r__ IN $sql LOOP RETURN NEXT r__::text; END LOOP; END";
		my ($r) = $c->query("CREATE FUNCTION pg_temp.$name($args) RETURNS SETOF text LANGUAGE plpgsql AS \$f\$ $body \$f\$; GRANT EXECUTE ON FUNCTION pg_temp.$name TO diff_app");
		if ($r->{error}) { return [ { err => $r->{error}{C}, msg => $r->{error}{M} } ]; }
	}
	for my $i (0 .. executions($case) - 1)
	{
		my $o;
		$c->query($begin);
		if ($mode eq 'simple') { $o = _outcome($case, $c->query($sql)); }
		elsif ($mode eq 'cursor')
		{
			my @r = $c->query("DECLARE cur__ CURSOR FOR $sql");
			push @r, $c->query('FETCH 2 FROM cur__') if !$r[-1]{error};
			my $first = $r[-1]{rows};
			push @r, $c->query('FETCH ALL FROM cur__') if !$r[-1]{error};
			$r[-1] = { tag => '', rows => [ @$first, @{ $r[-1]{rows} } ] } if !$r[-1]{error};
			$o = _outcome($case, @r);
		}
		elsif ($mode eq 'plpgsql')
		{
			my $vals = join ', ', map { Tree::literal($_->{vals}[$i], $_->{type}) } @$params;
			$o = _outcome($case, $c->query("SELECT * FROM pg_temp.$name($vals)"));
		}
		else
		{
			my $err;
			if (!$prepared)
			{
				$err = $c->prepare($name, $sql, map { $_->{oid} // $OID{ $_->{type} } // 0 } @$params);
				$prepared = !$err;
			}
			$o = $err ? { err => $err->{C}, msg => $err->{M} } : _outcome($case, $c->execute($name, map { _value($_->{vals}[$i]) } @$params));
		}
		$self->_afterwards($case, $env, $o) if $case->{write};
		$c->query('ROLLBACK');
		push @out, $o;
		last if $c->dead;
	}
	$c->query('ROLLBACK');
	if (!$c->dead)
	{
		$c->forget($name) if $prepared;
		$c->query("DROP FUNCTION pg_temp.$name") if $mode eq 'plpgsql';
	}
	return \@out;
}

sub _diff
{
	my ($want, $got) = @_;
	my (%n, @d);
	$n{$_}++ for @$want;
	$n{$_}-- for @$got;
	for (sort keys %n) { push @d, ($n{$_} > 0 ? '- ' : '+ ') . $_ if $n{$_}; }
	return @d ? join("\n", @d[ 0 .. ($#d > 7 ? 7 : $#d) ]) : 'another order';
}

# What is wrong with one outcome, as [signature, text]; nothing if all is well.
sub _judge
{
	my ($self, $case, $i, $env, $want, $got) = @_;
	if ($got->{err})
	{
		if (($want->{err} // '') eq $got->{err}) { return $case->{undo} ? _compare_afterwards($want, $got) : (); }
		my $text = join ' ', shown($case, $i), $case->{id}, $case->{then} ? Tree::render($case->{then}) : ();
		my $moved = $want->{stores} && $want->{stores} ne $self->{base};
		for my $rule (@ALLOW)
		{
			next if $rule->{feat} && !$case->{feat}{ $rule->{feat} };
			next if $rule->{env} && $env !~ $rule->{env};
			next if $rule->{flag} && $rule->{flag} ne $self->{flag};
			next if $rule->{generic} && $case->{mode} ne 'generic' && !$case->{generic};
			next if $got->{err} !~ $rule->{state};
			next if $rule->{when} && !$rule->{when}->($text, $want, $moved);
			$self->{allowed}{ $got->{err} }++;
			return;
		}
		return [ "error $got->{err}", "error $got->{err}: $got->{msg}\nwanted " . ($want->{err} ? "error $want->{err}: $want->{msg}" : "$want->{tag}") ];
	}
	# core asks for no right on a sub-query that it never plans, and over a partitioned table it sees more often that none is
	# needed
	if (($want->{err} // '') eq '42501' && $got->{tag} =~ / 0$/) { $self->{allowed}{'no 42501'}++; return; }
	return [ "no error $want->{err}", "no error, $got->{tag}\nwanted error $want->{err}: $want->{msg}" ] if $want->{err};
	return [ 'rows', _diff($want->{rows}, $got->{rows}) ] if join("\n", @{ $want->{rows} }) ne join("\n", @{ $got->{rows} });
	return [ 'tag', "$got->{tag}, wanted $want->{tag}" ] if $want->{tag} ne $got->{tag};
	return $case->{write} ? _compare_afterwards($want, $got) : ();
}

sub _compare_afterwards
{
	my ($want, $got) = @_;
	for my $what ([ 'then', 'the next query' ], [ 'state', 'the tables afterwards' ])
	{
		my ($w, $g) = map { $_->{ $what->[0] } // [] } $want, $got;
		return [ $what->[0], "$what->[1]:\n" . _diff($w, $g) ] if join("\n", @$w) ne join("\n", @$g);
	}
	return;
}

# All differences of a case: {env, exec, sig, text}.
sub check
{
	my ($self, $case, @envs) = @_;
	my $want = $self->run($case, 'plain');
	my @bad;
	for my $env (@envs ? @envs : qw(on split off))
	{
		my $got = $self->run($case, $env);
		for my $i (0 .. $#$want)
		{
			my $o = $got->[$i] // { err => '57P02', msg => 'not run: the connection was lost' };
			my $d = $self->_judge($case, $i, $env, $want->[$i], $o) or next;
			push @bad, { env => $env, exec => $i, sig => $d->[0], text => $d->[1] };
			last;
		}
	}
	$self->{last} = $want;
	return @bad;
}

# Cut a case down while the same difference stays; the smallest case, and its difference.
sub shrink
{
	my ($self, $case, $bad, $tries) = @_;
	$tries //= 400;
	my $small = { %$case, tree => Tree::copy($case->{tree}) };
	my $same = sub {
		my ($try) = @_;
		return undef if $tries-- <= 0;
		my ($b) = grep { $_->{sig} eq $bad->{sig} } eval { $self->check($try, $bad->{env}) };
		return $b;
	};
	my $best = $bad;
	# the surroundings first: what follows, knobs, role, mode, number of executions
	for my $try (
		{ then => undef, undo => 0 },
		{ then => undef },
		{ undo => 0 },
		{ knobs => [] },
		{ role => 0 },
		{ mode => 'simple', tree => _fixed($small->{tree}, $bad->{exec}) },
		(map { { knobs => [ $_ ] } } @{ $small->{knobs} }))
	{
		my $now = { %$small, %$try };
		my $b = $same->($now) or next;
		($small, $best) = ($now, $b);
	}
	my $progress = 1;
	while ($progress && $tries > 0)
	{
		$progress = 0;
		my @cuts = map { [ 'tree', $_ ] } Tree::cuts($small->{tree});
		push @cuts, map { [ 'then', $_ ] } Tree::cuts($small->{then}) if $small->{then};
		for my $cut (@cuts)
		{
			my ($part, $make) = @$cut;
			my $tree = $make->();
			next if !ref $tree || Tree::render($tree) eq Tree::render($small->{$part});
			my $try = { %$small, $part => $tree };
			my $b = $same->($try) or next;
			($small, $best) = ($try, $b);
			$progress = 1;
			last;
		}
	}
	return ($small, $best);
}

# The tree with the values of one execution as literals.
sub _fixed
{
	my ($tree, $i) = @_;
	my $t = Tree::copy($tree);
	for my $n (Tree::literals($t))
	{
		next if !$n->{vals};
		$n->{val} = $n->{vals}[$i];
		delete $n->{vals};
	}
	return $t;
}

1;
