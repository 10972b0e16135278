# PgWire: a small client of the PostgreSQL protocol, version 3, over a unix socket, for the differential tests.
#
# It speaks just enough: trust authentication, simple queries, named prepared statements with text parameters.  Unlike
# psql it hands back SQLSTATEs, command tags and rows as data, and it can prepare a statement with chosen types.
package PgWire;

use strict;
use warnings;

use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM);

# Connect: PgWire->new(host => socket directory, port =>, user =>, dbname =>).
sub new
{
	my ($class, %arg) = @_;
	my $path = "$arg{host}/.s.PGSQL.$arg{port}";
	my $sock = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path)
	  or die "could not connect to $path: $!\n";
	my $self = bless { sock => $sock, buf => '', arg => {%arg}, notices => [] }, $class;
	my %opt = (
		user             => $arg{user},
		database         => $arg{dbname},
		client_encoding  => 'UTF8',
		application_name => $arg{name} // 'diff');
	my $body = pack('N', 196608) . join('', map { "$_\0$opt{$_}\0" } sort keys %opt) . "\0";
	$self->_write(pack('N', 4 + length $body) . $body);
	my $res = $self->_collect;
	die "could not connect to $arg{dbname}: $res->[-1]{error}{M}\n" if @$res && $res->[-1]{error};
	return $self;
}

# True if the server closed the connection under us.
sub dead { return $_[0]{dead} }

sub _write
{
	my ($self, $data) = @_;
	my $off = 0;
	local $SIG{PIPE} = 'IGNORE';
	while ($off < length $data)
	{
		my $n = syswrite($self->{sock}, $data, length($data) - $off, $off);
		if (!defined $n) { $self->{dead} = 1; return; }
		$off += $n;
	}
	return;
}

sub _msg
{
	my ($type, $body) = @_;
	return $type . pack('N', 4 + length $body) . $body;
}

# The next message as (type, body), or nothing when the connection is gone.
sub _read
{
	my ($self) = @_;
	for (;;)
	{
		if (length $self->{buf} >= 5)
		{
			my ($type, $len) = unpack('a1N', $self->{buf});
			if (length $self->{buf} >= $len + 1)
			{
				my $body = substr($self->{buf}, 5, $len - 4);
				substr($self->{buf}, 0, $len + 1) = '';
				return ($type, $body);
			}
		}
		my $n = sysread($self->{sock}, $self->{buf}, 65536, length $self->{buf});
		if (!$n) { $self->{dead} = 1; return; }
	}
}

# Everything up to ReadyForQuery: one hash for each command, {tag, cols, rows} or {error => {C, M, D, H, ...}}.
sub _collect
{
	my ($self) = @_;
	my (@res, $cur);
	for (;;)
	{
		my ($type, $body) = $self->_read;
		if (!defined $type)
		{
			push @res, { error => { C => '57P02', V => 'FATAL', M => 'connection lost' } };
			return \@res;
		}
		if ($type eq 'T')
		{
			my $n = unpack('n', $body);
			my @cols;
			my $rest = substr($body, 2);
			for (1 .. $n)
			{
				my ($name) = unpack('Z*', $rest);
				push @cols, $name;
				substr($rest, 0, length($name) + 19) = '';
			}
			$cur = { cols => \@cols, rows => [] };
		}
		elsif ($type eq 'D')
		{
			$cur //= { rows => [] };
			my $off = 2;
			my @row;
			for (1 .. unpack('n', $body))
			{
				my $len = unpack('N', substr($body, $off, 4));
				$off += 4;
				if ($len == 0xFFFFFFFF) { push @row, undef; next; }
				push @row, substr($body, $off, $len);
				$off += $len;
			}
			push @{ $cur->{rows} }, \@row;
		}
		elsif ($type eq 'C')
		{
			$cur //= {};
			($cur->{tag}) = unpack('Z*', $body);
			push @res, $cur;
			undef $cur;
		}
		elsif ($type eq 'E')
		{
			push @res, { error => _fields($body) };
			undef $cur;
		}
		elsif ($type eq 'N') { push @{ $self->{notices} }, _fields($body); }
		elsif ($type eq 'G')
		{
			# COPY FROM STDIN is never used here: end it at once
			$self->_write(_msg('f', "not supported\0"));
		}
		elsif ($type eq 'R')
		{
			die "only trust authentication is supported\n" if unpack('N', $body) != 0;
		}
		elsif ($type eq 'K') { $self->{pid} = unpack('N', $body); }
		elsif ($type eq 'Z')
		{
			$self->{status} = $body;
			return \@res;
		}
	}
}

sub _fields
{
	my ($body) = @_;
	my %f;
	for my $part (split /\0/, $body)
	{
		$f{ substr($part, 0, 1) } = substr($part, 1) if length $part;
	}
	return \%f;
}

# Send a string of commands by the simple protocol; the results as a list.
sub query
{
	my ($self, $sql) = @_;
	@{ $self->{notices} } = ();
	$self->_write(_msg('Q', "$sql\0"));
	return @{ $self->_collect };
}

# The two halves of query: send it, and wait for what comes of it.  Between them has_answer() tells whether something has
# come within so many seconds.
sub send
{
	my ($self, $sql) = @_;
	@{ $self->{notices} } = ();
	$self->_write(_msg('Q', "$sql\0"));
	return;
}

sub receive { return @{ $_[0]->_collect }; }

sub has_answer
{
	my ($self, $seconds) = @_;
	my $bits = '';
	vec($bits, fileno($self->{sock}), 1) = 1;
	return select($bits, undef, undef, $seconds) > 0;
}

# Like query, but an error is fatal; returns the rows of the last command.
sub do
{
	my ($self, $sql) = @_;
	my @res = $self->query($sql);
	for my $r (@res)
	{
		next if !$r->{error};
		my $e = $r->{error};
		die "$e->{C}: $e->{M}" . ($e->{D} ? " ($e->{D})" : '') . "\nin: $sql\n";
	}
	return @res ? $res[-1]{rows} // [] : [];
}

# Prepare a statement under a name, with parameter types; undef, or the error.
sub prepare
{
	my ($self, $name, $sql, @oids) = @_;
	@{ $self->{notices} } = ();
	$self->_write(_msg('P', "$name\0$sql\0" . pack('n', scalar @oids) . pack('N*', @oids)) . _msg('S', ''));
	my $res = $self->_collect;
	return @$res && $res->[-1]{error} ? $res->[-1]{error} : undef;
}

# Bind and execute a prepared statement; one result.
sub execute
{
	my ($self, $name, @values) = @_;
	@{ $self->{notices} } = ();
	my $bind = "\0$name\0" . pack('n', 0) . pack('n', scalar @values);
	$bind .= defined $_ ? pack('N', length $_) . $_ : pack('N', 0xFFFFFFFF) for @values;
	$bind .= pack('n', 0);
	$self->_write(_msg('B', $bind) . _msg('E', "\0" . pack('N', 0)) . _msg('S', ''));
	my $res = $self->_collect;
	my ($err) = grep { $_->{error} } @$res;
	return $err // $res->[-1] // { tag => '' };
}

# Forget a prepared statement.
sub forget
{
	my ($self, $name) = @_;
	$self->_write(_msg('C', "S$name\0") . _msg('S', ''));
	$self->_collect;
	return;
}

sub close
{
	my ($self) = @_;
	$self->_write(_msg('X', '')) if !$self->{dead};
	CORE::close($self->{sock});
	return;
}

1;
