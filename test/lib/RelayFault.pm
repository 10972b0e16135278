
=pod

=head1 NAME

RelayFault - the faults that a Relay can do at a message of the protocol

=head1 DESCRIPTION

A Relay that was started with C<messages> passes on whole messages, counts them
in each direction, and does harm at one of them (see C<fault_at> in L<Relay>).
Its clients must not ask for encryption, so it listens on a unix socket.

The faults, with the message at which they happen:

  cut_before     close the connection; the message is lost
  cut_after      pass it on, and close the connection
  truncate       pass on a half of it, and close the connection
  end_client     pass it on, and send the client nothing more but the end
  end_server     pass it on, and send the server nothing more but the end
  garbage_type   pass it on with a type that the protocol does not have
  garbage_body   pass it on with bytes of no meaning
  duplicate      pass it on twice
  pause          keep it, and pass on nothing more on this connection

=cut

package RelayFault;

use strict;
use warnings FATAL => 'all';

# Take the complete messages out of what one side (0 the client, 1 the server)
# of a connection has sent; a part of one is kept for the next call.
sub messages
{
	my ($c, $from, $data) = @_;
	my @messages;

	$c->{partial}[$from] .= $data;
	for (;;)
	{
		my $rest = \$c->{partial}[$from];

		# only what a client sends first has no type
		my $head = $from == 0 && !$c->{typed} ? 0 : 1;

		last if length $$rest < $head + 4;
		my $length = unpack('N', substr($$rest, $head, 4)) + $head;

		last if length $$rest < $length;
		push @messages, substr($$rest, 0, $length, '');
		if ($head == 0)
		{
			$c->{typed} = 1;
			($c->{database}) = $messages[-1] =~ /\0database\0([^\0]*)\0/;
		}
	}
	return @messages;
}

# Do the fault at a message: $pass passes data on to the other side at once,
# $end sends a side the end of the connection.  Returns what is to be passed on
# as usual; undef if the connection is to be closed.
sub apply
{
	my ($c, $from, $message, $fault, $pass, $end) = @_;

	if ($fault eq 'pause')
	{
		$c->{paused} = 1;
	}
	elsif ($fault eq 'garbage_type')
	{
		substr($message, 0, 1) = '~';
	}
	elsif ($fault eq 'garbage_body')
	{
		my $length = length($message) - 5;

		# no bytes to replace
		return apply($c, $from, $message, 'garbage_type') if $length <= 0;
		substr($message, 5) = "\xfe" x $length;
	}
	elsif ($fault eq 'duplicate')
	{
		$message .= $message;
	}
	elsif ($fault eq 'end_client' || $fault eq 'end_server')
	{
		$pass->($message);
		$end->($fault eq 'end_client' ? 0 : 1);
		return '';
	}
	else
	{
		$pass->($message) if $fault eq 'cut_after';
		$pass->(substr($message, 0, length($message) / 2)) if $fault eq 'truncate';
		return undef;
	}
	return $message;
}

1;
