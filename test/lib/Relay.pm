
=pod

=head1 NAME

Relay - stands between a PostgreSQL client and a server, counts, and does harm

=head1 SYNOPSIS

  use Relay;

  my $relay = Relay->start(to_host => $node->host, to_port => $node->port);

  # connect to $relay->host, $relay->port instead of the node

  $relay->reset;
  ...
  my $turns = $relay->turns;                # of all connections since reset
  my @connections = $relay->connections;    # each { id, open, turns, ... }
  my @sql = $relay->statements;             # what the clients sent

  $relay->round_trip(10);                   # ms: half of it in each direction
  $relay->drop;                             # cut all connections
  $relay->drop_on('^COMMIT', 'after');      # cut one that sends this
  $relay->freeze; $relay->thaw;             # forward nothing; again
  $relay->refuse; $relay->accept;           # no new connection; again
  $relay->stop;

=head1 DESCRIPTION

A relay is a child process with one select() loop.  It ends with its parent,
whatever happens to that.  It needs no Test::More and no server: benchmarks use
it too.

A I<turn> is one switch from sending to receiving on a connection: the client
has sent something and then something comes back.  It is what costs a network
round trip, however many messages travel in one direction.  The start of a
connection has turns too; call C<reset> once it stands.

=head1 METHODS

=over

=item Relay->start(%options)

C<to_host>, C<to_port>: the server; a host that starts with a slash is the
directory of a unix socket.  C<tcp>: listen on 127.0.0.1 and not on a unix
socket of a temporary directory.  C<messages>: pass on whole messages only, for
C<fault_at>.

=item host, port

Where the relay listens, as libpq wants to be told.

=item reset

Set all counts to zero, and forget the statements and the closed connections.

=item turns

The number of turns since C<reset>, over all connections.

=item connections

One hash for each connection that stood since C<reset>: C<id> (1, 2, ...),
C<open>, C<turns>, C<sent> and C<received> (bytes from and to the client).

=item connects

How many connections were opened since C<reset>.

=item statements

The SQL of every Query and Parse message since C<reset>, in order.

=item round_trip($ms)

Delay what is forwarded by half of this in each direction.

=item target($host, $port)

Lead new connections to another server, as a failover does.

=item freeze, thaw

Forward nothing in either direction, and go on.  New connections are accepted
while frozen, but hear nothing.

=item freeze_on($regex)

Freeze once a connection sends SQL that matches; the server does not get it.  It
acts once; an undefined regex takes it back.

=item drop

Close every connection that stands now.

=item drop_on($regex, $when)

Close a connection once it sends SQL that matches.  With C<before> (the default)
the server does not get the statement; with C<after> it gets and runs it, but the
answer is lost.  It acts once; an undefined regex takes it back.

=item fault_at($direction, $n, $fault)

Do a fault (see L<RelayFault>) at the C<$n>-th message, from now on, that travels
in this direction: C<client> for what a client sends, or C<server>.  It acts
once.  The relay must have been started with C<messages>.

=item counts

How many messages have travelled since C<fault_at> or C<reset>: what clients
have sent, and what servers have sent.

=item hit

The database of the connection at which the fault of C<fault_at> has happened;
undef if it has not happened yet.

=item event

A file handle that becomes readable when the fault of C<fault_at> happens.

=item go_on

Pass on again what was kept by the fault C<pause>, and do no fault any more.

=item replace($from, $to)

Put C<$to> in the place of C<$from>, which has the same length, in what a client
sends.  It acts once.

=item rewrite($from, $to)

The same, each time.

=item refuse, accept

Stop listening, so that connecting fails, and listen again.

=item stop

End the process.  It also ends when the object goes away.

=back

=cut

package Relay;

use strict;
use warnings FATAL => 'all';

use Errno qw(EAGAIN EINTR EINPROGRESS);
use File::Temp ();
use IO::Handle;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use RelayFault;
use Socket;
use Time::HiRes qw(time);

# a side is read no further while so much waits for the other
use constant MAX_QUEUE => 4 * 1024 * 1024;

# codes that stand in place of a protocol version in a start-up packet
use constant SSL_REQUEST => 80877103;
use constant GSSENC_REQUEST => 80877104;

# Start a relay in front of the given server.
sub start
{
	my ($class, %options) = @_;
	my $self = bless { parent => $$ }, $class;

	if ($options{tcp})
	{
		$self->{host} = '127.0.0.1';
	}
	else
	{
		# the path of a unix socket must be short
		$self->{dir} = File::Temp->newdir('relay.XXXXXX', TMPDIR => 1);
		$self->{host} = $self->{dir}->dirname;
		$self->{port} = 5432;
	}
	my $listener = _listen($self);

	$self->{port} = $listener->sockport if $options{tcp};
	socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC)
	  or die "socketpair: $!";
	$self->{control} = $ours;
	$self->{control}->autoflush(1);
	pipe(my $event, my $tell) or die "pipe: $!";
	$self->{pid} = fork();
	die "fork: $!" unless defined $self->{pid};
	if ($self->{pid} == 0)
	{
		# no END block of the parent's modules may run here
		eval {
			# a descriptor of another relay would keep that one alive
			foreach my $fd (3 .. 255)
			{
				POSIX::close($fd)
				  unless grep { $fd == fileno($_) } ($theirs, $listener, $tell);
			}
			_serve($self, $listener, $theirs, $tell, \%options);
		};
		print STDERR "relay: $@" if $@;
		POSIX::_exit($@ ? 1 : 0);
	}
	close $theirs;
	close $listener;
	close $tell;
	$self->{event} = $event;
	return $self;
}

sub host { return $_[0]->{host}; }
sub port { return $_[0]->{port}; }

sub reset { $_[0]->_ask('reset'); return; }
sub drop { $_[0]->_ask('drop'); return; }
sub freeze { $_[0]->_ask('freeze'); return; }
sub thaw { $_[0]->_ask('thaw'); return; }
sub refuse { $_[0]->_ask('refuse'); return; }
sub accept { $_[0]->_ask('accept'); return; }

sub round_trip
{
	my ($self, $ms) = @_;

	$self->_ask("round_trip $ms");
	return;
}

sub drop_on
{
	my ($self, $regex, $when) = @_;

	$self->_ask('drop_on ' . ($when // 'before') . ' ' . unpack('H*', $regex // ''));
	return;
}

sub replace
{
	my ($self, $from, $to) = @_;

	die 'the texts have different lengths' if length $from != length $to;
	$self->_ask('replace ' . unpack('H*', $from) . ' ' . unpack('H*', $to));
	return;
}

sub rewrite
{
	my ($self, $from, $to) = @_;

	die 'the texts have different lengths' if length $from != length $to;
	$self->_ask('rewrite ' . unpack('H*', $from) . ' ' . unpack('H*', $to));
	return;
}

sub fault_at
{
	my ($self, $direction, $n, $fault) = @_;

	# what earlier faults have told
	$self->_ask('fault_at none');
	while (_is_readable($self->{event}))
	{
		sysread($self->{event}, my $old, 100) or last;
	}
	$self->_ask("fault_at $direction $n $fault");
	return;
}

sub event { return $_[0]->{event}; }
sub go_on { $_[0]->_ask('go_on'); return; }

sub counts
{
	return split / /, $_[0]->_ask('counts');
}

sub hit
{
	my $answer = $_[0]->_ask('hit');

	return $answer eq '' ? undef : $answer;
}

# Can this be read without waiting?
sub _is_readable
{
	my $bits = '';

	vec($bits, fileno($_[0]), 1) = 1;
	return select($bits, undef, undef, 0) > 0;
}

sub freeze_on { $_[0]->_ask('freeze_on ' . unpack('H*', $_[1] // '')); return; }
sub target { $_[0]->_ask("target $_[1] $_[2]"); return; }

sub connections
{
	my $self = shift;
	my @connections;

	foreach my $line (split /;/, $self->_ask('connections'))
	{
		my %c;

		@c{qw(id open turns sent received)} = split / /, $line;
		push @connections, \%c;
	}
	return @connections;
}

sub turns
{
	my $self = shift;
	my $turns = 0;

	$turns += $_->{turns} foreach $self->connections;
	return $turns;
}

sub connects
{
	return $_[0]->_ask('connects');
}

sub statements
{
	return map { pack('H*', $_) } split / /, $_[0]->_ask('statements');
}

sub stop
{
	my $self = shift;

	return unless $self->{pid} && $self->{parent} == $$;
	close $self->{control};
	local $?;
	waitpid($self->{pid}, 0);
	$self->{pid} = undef;
	return;
}

sub DESTROY
{
	my $self = shift;

	$self->stop;
	return;
}

# Send a command to the process and return its answer.
sub _ask
{
	my ($self, $command) = @_;

	die 'the relay is stopped' unless $self->{pid};
	print { $self->{control} } "$command\n" or die "relay: $!";
	my $answer = readline($self->{control});

	die 'the relay has died' unless defined $answer;
	chomp $answer;
	die "relay: $1" if $answer =~ /^error (.*)/;
	return $answer =~ s/^ok ?//r;
}

# Open the listening socket.
sub _listen
{
	my $self = shift;
	my $listener;

	if ($self->{host} =~ m{^/})
	{
		my $path = "$self->{host}/.s.PGSQL.$self->{port}";

		unlink $path;
		$listener = IO::Socket::UNIX->new(Local => $path, Listen => 128);
	}
	else
	{
		$listener = IO::Socket::INET->new(
			LocalAddr => $self->{host},
			LocalPort => $self->{port} // 0,
			ReuseAddr => 1,
			Listen => 128);
	}
	die "relay cannot listen on $self->{host}: $!" unless $listener;
	$listener->blocking(0);
	return $listener;
}

# The process: forward, count and obey until the parent goes away.
sub _serve
{
	my ($self, $listener, $control, $tell, $options) = @_;
	my $r = {
		tell => $tell,
		counts => [ 0, 0 ],
		hit => '',
		address => $self,
		options => $options,
		listener => $listener,
		control => $control,
		commands => '',
		connections => [],
		statements => [],
		connects => 0,
		delay => 0,
		frozen => 0,
		next_id => 1,
	};

	$SIG{$_} = 'DEFAULT' foreach qw(INT TERM HUP);
	$SIG{PIPE} = 'IGNORE';
	$control->blocking(0);
	for (;;)
	{
		my ($readable, $writable) = ('', '');
		my @open = grep { $_->{open} } @{ $r->{connections} };

		vec($readable, fileno($control), 1) = 1;
		vec($readable, fileno($r->{listener}), 1) = 1 if $r->{listener};
		if (!$r->{frozen})
		{
			my $now = time;

			foreach my $c (@open)
			{
				foreach my $from (0, 1)
				{
					my $side = $c->{sides}[$from];
					my $other = $c->{sides}[ 1 - $from ];

					vec($readable, fileno($side->{socket}), 1) = 1
					  if !$side->{eof} && $other->{waiting} < MAX_QUEUE;
					vec($writable, fileno($side->{socket}), 1) = 1
					  if @{ $side->{queue} } && $side->{queue}[0][0] <= $now && !$c->{paused};
				}
			}
		}
		my $n = select($readable, $writable, undef, _wait($r, \@open));

		if ($n < 0)
		{
			next if $! == EINTR;
			die "select: $!";
		}
		if (vec($readable, fileno($control), 1))
		{
			# the parent has gone, or wants us to
			return unless _obey($r);
		}
		# not after a command that stopped listening
		_accept($r)
		  if $r->{listener} && vec($readable, fileno($r->{listener}), 1);
		next if $r->{frozen};
		foreach my $c (@open)
		{
			foreach my $from (0, 1)
			{
				_receive($r, $c, $from)
				  if $c->{open} && vec($readable, fileno($c->{sides}[$from]{socket}), 1);
				_send($c, $from) if $c->{open} && !$r->{frozen};
			}
		}
	}
}

# How long select() may sleep: until the next delayed piece is due.  One that is
# due already waits for its socket to be writable.
sub _wait
{
	my ($r, $open) = @_;
	my $now = time;
	my $wait;

	return undef if $r->{frozen};
	foreach my $c (@$open)
	{
		foreach my $side (@{ $c->{sides} })
		{
			my $piece = $side->{queue}[0] or next;

			next if $piece->[0] <= $now || $c->{paused};
			$wait = $piece->[0] - $now
			  if !defined $wait || $piece->[0] - $now < $wait;
		}
	}
	return $wait;
}

# Run the commands that have come from the parent; false at its end.
sub _obey
{
	my $r = shift;

	for (;;)
	{
		my $n = sysread($r->{control}, $r->{commands}, 65536, length $r->{commands});

		next if !defined $n && $! == EINTR;
		last if !defined $n && $! == EAGAIN;
		return 0 unless $n;
	}
	while ($r->{commands} =~ s/^(.*)\n//)
	{
		my ($command, @args) = split / /, $1;
		my $answer = eval { _run($r, $command, @args) };

		$answer = $@ ? 'error ' . ($@ =~ s/\n.*//sr) : "ok $answer";
		$r->{control}->blocking(1);
		syswrite($r->{control}, "$answer\n");
		$r->{control}->blocking(0);
	}
	return 1;
}

# Run one command; its answer.
sub _run
{
	my ($r, $command, @args) = @_;

	if ($command eq 'reset')
	{
		@{ $r->{connections} } = grep { $_->{open} } @{ $r->{connections} };
		foreach my $c (@{ $r->{connections} })
		{
			$c->{turns} = $c->{bytes}[0] = $c->{bytes}[1] = 0;
		}
		$r->{statements} = [];
		$r->{connects} = 0;
		$r->{counts} = [ 0, 0 ];
	}
	elsif ($command eq 'fault_at')
	{
		my ($direction, $n, $fault) = @args;

		@$r{qw(counts hit fault)} = ([ 0, 0 ], '', undef);
		$r->{fault} = { from => $direction eq 'client' ? 0 : 1, n => $n, what => $fault }
		  if $direction ne 'none';
	}
	elsif ($command eq 'counts')
	{
		return join(' ', @{ $r->{counts} });
	}
	elsif ($command eq 'hit')
	{
		return $r->{hit};
	}
	elsif ($command eq 'go_on')
	{
		$r->{fault} = undef;
		$_->{paused} = 0 foreach @{ $r->{connections} };
	}
	elsif ($command eq 'connections')
	{
		return join(';',
			map { join(' ', @$_{qw(id open turns)}, @{ $_->{bytes} }) }
			  @{ $r->{connections} });
	}
	elsif ($command eq 'connects')
	{
		return $r->{connects};
	}
	elsif ($command eq 'statements')
	{
		return join(' ', map { unpack('H*', $_) } @{ $r->{statements} });
	}
	elsif ($command eq 'round_trip')
	{
		$r->{delay} = $args[0] / 2000;
	}
	elsif ($command eq 'freeze' || $command eq 'thaw')
	{
		$r->{frozen} = $command eq 'freeze' ? 1 : 0;
	}
	elsif ($command eq 'target')
	{
		@{ $r->{options} }{qw(to_host to_port)} = @args;
	}
	elsif ($command eq 'freeze_on')
	{
		my $regex = pack('H*', $args[0] // '');

		$r->{freeze_on} = $regex eq '' ? undef : qr/$regex/;
	}
	elsif ($command eq 'drop')
	{
		_close($_) foreach grep { $_->{open} } @{ $r->{connections} };
	}
	elsif ($command eq 'drop_on')
	{
		my $regex = pack('H*', $args[1] // '');

		$r->{drop_on} = $regex eq '' ? undef : qr/$regex/;
		$r->{drop_when} = $args[0];
	}
	elsif ($command eq 'replace')
	{
		$r->{replace} = [ map { pack('H*', $_) } @args ];
	}
	elsif ($command eq 'rewrite')
	{
		$r->{rewrite} = [ map { pack('H*', $_) } @args ];
	}
	elsif ($command eq 'refuse')
	{
		close $r->{listener} if $r->{listener};
		unlink "$r->{address}{host}/.s.PGSQL.$r->{address}{port}"
		  if $r->{address}{host} =~ m{^/};
		$r->{listener} = undef;
	}
	elsif ($command eq 'accept')
	{
		$r->{listener} //= _listen($r->{address});
	}
	else
	{
		die "no command \"$command\"";
	}
	return '';
}

# Take a new connection and make one to the server for it.
sub _accept
{
	my $r = shift;
	my $client = $r->{listener}->accept or return;
	my ($host, $port) = @{ $r->{options} }{qw(to_host to_port)};
	my $server =
	  $host =~ m{^/}
	  ? IO::Socket::UNIX->new(Peer => "$host/.s.PGSQL.$port")
	  : IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port);

	$r->{connects}++;
	if (!$server)
	{
		# as if nobody listened: the client sees its connection end
		_end($client);
		return;
	}
	foreach my $socket ($client, $server)
	{
		$socket->blocking(0);
		setsockopt($socket, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
		  if $socket->isa('IO::Socket::INET');
	}
	push @{ $r->{connections} },
	  {
		id => $r->{next_id}++,
		open => 1,
		turns => 0,
		bytes => [ 0, 0 ],
		sending => 0,
		unparsed => '',
		started => 0,
		partial => [ '', '' ],
		typed => 0,
		database => undef,
		paused => 0,
		sides => [
			map { { socket => $_, queue => [], waiting => 0, eof => 0 } }
			  ($client, $server)
		],
	  };
	return;
}

# Read what one side (0 the client, 1 the server) has sent and queue it for the
# other.
sub _receive
{
	my ($r, $c, $from) = @_;
	my $to = $c->{sides}[ 1 - $from ];
	my $n = sysread($c->{sides}[$from]{socket}, my $data, 65536);

	return if !defined $n && ($! == EAGAIN || $! == EINTR);
	if (!$n)
	{
		# the other side is told once it has got what was sent before
		$c->{sides}[$from]{eof} = 1;
		push @{ $to->{queue} }, [ time + $r->{delay}, undef ];
		return;
	}
	$c->{bytes}[$from] += $n;
	if ($from == 0)
	{
		if ($r->{replace} && $data =~ s/\Q$r->{replace}[0]\E/$r->{replace}[1]/)
		{
			$r->{replace} = undef;
		}
		$data =~ s/\Q$r->{rewrite}[0]\E/$r->{rewrite}[1]/g if $r->{rewrite};
		my $drop = _parse($r, $c, $data);

		$c->{sending} = 1;
		if ($drop)
		{
			if ($r->{drop_when} eq 'after')
			{
				# the server runs it, though nobody is left to hear
				$to->{socket}->blocking(1);
				syswrite($to->{socket}, $_->[1] // '') foreach @{ $to->{queue} }, [ 0, $data ];
				shutdown($c->{sides}[0]{socket}, 2);
				$c->{sides}[0]{eof} = 1;
				sysread($to->{socket}, my $answer, 65536);
			}
			$r->{drop_on} = undef;
			_close($c);
			return;
		}
	}
	elsif ($c->{sending})
	{
		$c->{sending} = 0;
		$c->{turns}++;
	}
	foreach my $piece ($r->{options}{messages} ? RelayFault::messages($c, $from, $data) : $data)
	{
		$piece = _fault($r, $c, $from, $piece) if $r->{options}{messages};
		return unless $c->{open};
		push @{ $to->{queue} }, [ time + $r->{delay}, $piece ];
		$to->{waiting} += length $piece;
	}
	return;
}

# Count a message, and do the fault that is to happen at it.  Returns what is to
# be passed on.
sub _fault
{
	my ($r, $c, $from, $message) = @_;
	my $fault = $r->{fault};

	$r->{counts}[$from]++;
	return $message
	  unless $fault && $fault->{from} == $from && $fault->{n} == $r->{counts}[$from];

	$r->{fault} = undef;
	$r->{hit} = $c->{database} // 'cancel';
	syswrite($r->{tell}, '.');

	# what has come before is passed on whatever happens to this message
	my $pass = sub {
		my $side = $c->{sides}[ 1 - $from ];

		$side->{socket}->blocking(1);
		foreach my $data ((map { $_->[1] // '' } splice @{ $side->{queue} }), @_)
		{
			syswrite($side->{socket}, $data);
		}
		$side->{socket}->blocking(0);
		$side->{waiting} = 0;
	};
	my $end = sub {
		my $side = $c->{sides}[ $_[0] ];

		shutdown($side->{socket}, 1);
	};

	$pass->();
	my $rest = RelayFault::apply($c, $from, $message, $fault->{what}, $pass, $end);

	_close($c) unless defined $rest;
	return $rest;
}

# Write what is due to one side.
sub _send
{
	my ($c, $to) = @_;
	my $side = $c->{sides}[$to];
	my $now = time;

	return if $c->{paused};
	while (@{ $side->{queue} } && $side->{queue}[0][0] <= $now)
	{
		my $piece = $side->{queue}[0];

		if (!defined $piece->[1])
		{
			_close($c);
			return;
		}
		my $n = syswrite($side->{socket}, $piece->[1]);

		if (!defined $n)
		{
			_close($c) unless $! == EAGAIN || $! == EINTR;
			return;
		}
		$side->{waiting} -= $n;
		if ($n < length $piece->[1])
		{
			substr($piece->[1], 0, $n, '');
			return;
		}
		shift @{ $side->{queue} };
	}
	return;
}

# Note the SQL in what the client has sent; true if the connection is to be cut
# for it.
sub _parse
{
	my ($r, $c, $data) = @_;
	my $drop = 0;

	$c->{unparsed} .= $data;
	while (length $c->{unparsed} >= 5)
	{
		# only the packets before the session starts have no type
		my $head = $c->{started} ? 1 : 0;
		my $length = unpack('N', substr($c->{unparsed}, $head, 4)) + $head;

		last if length $c->{unparsed} < $length;
		my $message = substr($c->{unparsed}, 0, $length, '');

		if (!$c->{started})
		{
			my $code = unpack('N', substr($message, 4, 4));

			$c->{started} = 1 unless $code == SSL_REQUEST || $code == GSSENC_REQUEST;
			next;
		}
		my $type = substr($message, 0, 1);
		my $sql;

		$sql = (split /\0/, substr($message, 5), 2)[0] if $type eq 'Q';
		$sql = (split /\0/, substr($message, 5), 3)[1] if $type eq 'P';
		next unless defined $sql;
		push @{ $r->{statements} }, $sql;
		$drop = 1 if $r->{drop_on} && $sql =~ $r->{drop_on};
		if ($r->{freeze_on} && $sql =~ $r->{freeze_on})
		{
			$r->{frozen} = 1;
			$r->{freeze_on} = undef;
		}
	}
	return $drop;
}

# Close both sides of a connection.
sub _close
{
	my $c = shift;

	return unless $c->{open};
	$c->{open} = 0;
	_end($_->{socket}) foreach @{ $c->{sides} };
	return;
}

# Close a socket, so that the other end sees it at once.  close() alone may keep
# the descriptor: perl counts the handles of each, and start() has closed those
# of the parent behind its back.
sub _end
{
	my $socket = shift;

	shutdown($socket, 2);
	close $socket;
	return;
}

1;
