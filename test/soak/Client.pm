# Client: one of the clients of test/soak/run.  It works at random and keeps a ledger of what it was told.
package Client;

use strict;
use warnings FATAL => 'all';

use PgWire;
use Time::HiRes qw(time sleep);

# seconds after which a statement is stuck
use constant STUCK => 120;

my %suffix = (new => 1, a => 2);

# n: number of the client.  where: host, port and database of the control plane, and of the stores.  until: when to stop.
sub new
{
	my ($class, %arg) = @_;
	my $self = bless { %arg, seq => 0, ids => {}, wrong => [], count => {}, done => 0 }, $class;

	srand($arg{seed} * 1000 + $arg{n});
	$self->{money} = { map { $_ => 1000 } qw(new a) };
	$self->{counter} = { map { $_ => [ 0, 0 ] } qw(legacy new a) };
	return $self;
}

# The id of a row of this client.
sub id
{
	my ($self, $store, $n) = @_;

	return $store eq 'legacy' ? sprintf('csoak%04d%016d', $self->{n}, $n) : sprintf('0123456789ab%04d%08da%d', $self->{n}, $n, $suffix{$store});
}

sub wrong
{
	my ($self, $what) = @_;

	push @{ $self->{wrong} }, "client $self->{n}: $what";
	return;
}

sub connection
{
	my $self = shift;

	return $self->{c} if $self->{c} && !$self->{c}->dead;
	$self->{c} = PgWire->new(%{ $self->{where}{control} }, user => $self->{user}, name => 'soak');
	$self->{c}->do(q{SET runops.commit_timeout = '3s'; SET statement_timeout = '20s'});
	return $self->{c};
}

# Run statements until one fails.  Returns what became of them: ok, failed, unknown, lost; the rows of the last; the error.
sub run
{
	my ($self, @sql) = @_;
	my $c = $self->connection;
	my ($rows, $error);

	foreach my $sql (@sql)
	{
		$c->send($sql);
		if (!$c->has_answer(STUCK))
		{
			$self->wrong("stuck in: $sql");
			delete $self->{c};
			return ('lost', undef, 'stuck');
		}
		my ($r) = grep { $_->{error} } (my @r = $c->receive);

		$rows = $r[-1]{rows} if @r;
		next unless $r;
		$error = "$r->{error}{C} $r->{error}{M}";
		last;
	}
	$self->{count}{ defined $error ? substr($error, 0, 5) : 'ok' }++;
	$self->wrong("$error in: @sql") if defined $error && $error =~ /^(?:XX|25P02|0A000|42)/;
	return ('ok', $rows) unless defined $error;
	return ('lost', undef, $error) if $c->dead;
	$c->query('ROLLBACK') if $c->{status} ne 'I';
	return ($error =~ /^(?:08007|RO008)/ ? 'unknown' : 'failed', undef, $error);
}

# Note what became of rows that were to be inserted.
sub note
{
	my ($self, $outcome, @ids) = @_;

	$self->{ids}{$_} = { ok => 'there', failed => 'not', unknown => 'unknown', lost => 'unknown' }->{$outcome} foreach @ids;
	return;
}

# Some row of this client that is there.
sub some_row
{
	my $self = shift;
	my @there = grep { $self->{ids}{$_} eq 'there' } keys %{ $self->{ids} };

	return $there[ rand @there ];
}

sub some_store { return (qw(legacy new a))[ rand 3 ]; }

sub insert_sql
{
	my ($self, @ids) = @_;

	return 'INSERT INTO acct VALUES ' . join(', ', map { "('$_', 'k $_', $self->{n}, repeat('x', 100))" } @ids);
}

sub new_ids
{
	my ($self, $n) = @_;

	return map { $self->id(some_store(), ++$self->{seq}) } (1 .. $n);
}

my @work = (
	[ 4, \&one_row ], [ 2, \&many_rows ], [ 3, \&with_savepoint ], [ 3, \&count_up ], [ 2, \&delete_row ],
	[ 2, \&duplicate ], [ 2, \&refer ], [ 3, \&read_own ], [ 1, \&read_all ], [ 6, \&move_money ]);

# Work until the time is over.
sub work
{
	my $self = shift;
	my @all = map { my $w = $_; ($w->[1]) x $w->[0] } @work;

	$self->{began} = time;
	while (time < $self->{until})
	{
		$all[ rand @all ]->($self);
		$self->{done}++;
	}
	my $pid = $self->connection->{pid};

	if (open my $fh, '<', "/proc/$pid/status")
	{
		local $/ = undef;
		($self->{memory}) = (scalar <$fh>) =~ /^RssAnon:\s+(\d+)/m;
		close $fh;
	}
	delete $self->{c};
	return;
}

sub one_row
{
	my $self = shift;
	my ($id) = $self->new_ids(1);

	$self->note(($self->run($self->insert_sql($id)))[0], $id);
	return;
}

sub many_rows
{
	my $self = shift;
	my @ids = $self->new_ids(20);

	$self->note(($self->run($self->insert_sql(@ids)))[0], @ids);
	return;
}

sub with_savepoint
{
	my $self = shift;
	my ($first, $undone, $last) = $self->new_ids(3);
	my $outcome = ($self->run('BEGIN', $self->insert_sql($first), 'SAVEPOINT s', $self->insert_sql($undone), 'ROLLBACK TO s', $self->insert_sql($last), 'COMMIT'))[0];

	$self->note($outcome, $first, $last);
	$self->{ids}{$undone} = 'not';
	return;
}

# Count up a row of one's own: the new value is known but for what is unknown.
sub count_up
{
	my $self = shift;
	my $store = some_store();
	my $counter = $self->{counter}{$store};
	my ($outcome, $rows) = $self->run("UPDATE acct SET bal = bal + 1 WHERE id = '" . $self->id($store, 0) . "' RETURNING bal");

	$counter->[1]++ if $outcome eq 'unknown' || $outcome eq 'lost';
	return unless $outcome eq 'ok';
	$counter->[0]++;
	$self->wrong("counter of $store: $rows->[0][0], and $counter->[0] to @{[ $counter->[0] + $counter->[1] ]} are right")
	  if $rows->[0][0] < $counter->[0] || $rows->[0][0] > $counter->[0] + $counter->[1];
	return;
}

sub delete_row
{
	my $self = shift;
	my $id = $self->some_row // return;
	my ($outcome, $rows, $error) = $self->run("DELETE FROM acct WHERE id = '$id' RETURNING id");

	if ($outcome eq 'ok')
	{
		$self->wrong("row $id is lost") unless @$rows == 1;
		$self->{ids}{$id} = 'not';
	}
	elsif ($outcome ne 'failed')
	{
		$self->{ids}{$id} = 'unknown';
	}
	return;
}

# The key of a row must be refused in every store.
sub duplicate
{
	my $self = shift;
	my $id = $self->some_row // return;
	my ($new) = $self->new_ids(1);
	my ($outcome, undef, $error) = $self->run("INSERT INTO acct VALUES ('$new', 'k $id', 1)");

	$self->wrong("the key of $id was taken twice") if $outcome eq 'ok';
	$self->note($outcome, $new);
	return;
}

sub refer
{
	my $self = shift;
	my $id = $self->some_row // return;
	my ($item) = $self->new_ids(1);
	my ($outcome, undef, $error) = $self->run("INSERT INTO item VALUES ('$item', '$id', 1)");

	$self->wrong("a reference to $id was refused: $error") if ($error // '') =~ /^23503/;
	($item) = $self->new_ids(1);
	($outcome) = $self->run("INSERT INTO item VALUES ('$item', 'nobody', 1)");
	$self->wrong('a reference to nothing was accepted') if $outcome eq 'ok';
	# an item keeps its row
	$self->{ids}{$id} = 'referred' if $self->{ids}{$id} eq 'there';
	return;
}

sub read_own
{
	my $self = shift;
	my ($outcome, $rows) = $self->run("SELECT id FROM acct WHERE bal = $self->{n} AND k LIKE 'k %'");

	return unless $outcome eq 'ok';
	my %got = map { $_->[0] => 1 } @$rows;

	foreach my $id (keys %{ $self->{ids} })
	{
		my $state = $self->{ids}{$id};

		$self->wrong("row $id is not read") if $state =~ /^(?:there|referred)$/ && !$got{$id};
		$self->wrong("row $id is read, though it is not there") if $state eq 'not' && $got{$id};
	}
	return;
}

sub read_all
{
	my $self = shift;
	my ($outcome, $rows) = $self->run('BEGIN', 'DECLARE c CURSOR FOR SELECT id FROM big', 'MOVE 500 FROM c', 'FETCH ALL FROM c', 'COMMIT', 'SELECT count(*), count(DISTINCT id), sum(n) FROM big WHERE random() >= 0');

	$self->wrong("read @{ $rows->[0] } of the large table") if $outcome eq 'ok' && "@{ $rows->[0] }" ne $self->{big};
	return;
}

# Move money between two stores.  The balance of each is known before.  Only if the outcome was announced as unknown may one
# of the two have changed alone.
sub move_money
{
	my $self = shift;
	my %id = map { $_ => $self->id($_, 99999999) } qw(new a);
	my ($from, $to) = rand() < 0.5 ? qw(new a) : qw(a new);
	my ($outcome, undef, $error) = $self->run('BEGIN', "UPDATE acct SET bal = bal - 7 WHERE id = '$id{$from}'", "UPDATE acct SET bal = bal + 7 WHERE id = '$id{$to}'", 'COMMIT');
	my %now = map { $_ => $self->balance($_, $id{$_}) } qw(new a);
	my $moved = $now{$from} == $self->{money}{$from} - 7 && $now{$to} == $self->{money}{$to} + 7;
	my $same = $now{$from} == $self->{money}{$from} && $now{$to} == $self->{money}{$to};

	$self->{count}{"money $outcome"}++;
	if ($outcome eq 'unknown')
	{
		$self->{count}{'money half, announced'}++ unless $moved || $same;
	}
	elsif (!($outcome eq 'ok' ? $moved : $outcome eq 'failed' ? $same : $moved || $same))
	{
		$self->{count}{'money half, unannounced'}++ unless $moved || $same;
		$self->wrong("money, $outcome, " . ($error // '') . ": $from $self->{money}{$from} -> $now{$from}, $to $self->{money}{$to} -> $now{$to}");
	}
	$self->{money} = \%now;
	return;
}

# A balance in the store itself, once no transaction holds the row any more.
sub balance
{
	my ($self, $store, $id) = @_;

	for (1 .. 200)
	{
		my $s = $self->{store}{$store};
		my $rows = eval {
			$s = $self->{store}{$store} = PgWire->new(%{ $self->{where}{$store} }, user => $self->{user}, name => 'soak-direct') if !$s || $s->dead;
			$s->do("BEGIN; SELECT bal FROM acct WHERE id = '$id' FOR UPDATE; SELECT bal FROM acct WHERE id = '$id'; COMMIT");
			$s->do("SELECT bal FROM acct WHERE id = '$id'");
		};

		return $rows->[0][0] if $rows && !$s->dead;
		delete $self->{store}{$store};
		sleep 0.3;
	}
	die "the store $store does not come back\n";
}

1;
