
=pod

=head1 NAME

FakeStore - a store that lies, or breaks in the middle of an answer

=head1 SYNOPSIS

  use FakeStore;

  my $fake = FakeStore->start;

  # make a server with the options host, port and dbname of the fake

  $fake->misbehave('nocolumns', on => '^SELECT .*pg_is_in_recovery');
  ...
  $fake->behave;
  my @sql = $fake->statements;
  $fake->stop;

=head1 DESCRIPTION

A fake store speaks the PostgreSQL protocol, version 3, on a TCP port of
127.0.0.1, and knows just enough to be taken for a store: it answers the
question for its identity, begins and ends transactions, and has tables without
rows, or with as many as C<fill> says.  One statement, chosen by a regular
expression, is then answered in another way.

It answers simple queries and the extended protocol, also many commands up to
one Sync.  After an error it skips the commands up to that Sync.

Each connection is a process.  All of them end with the parent, or with C<stop>.

=head1 METHODS

=over

=item FakeStore->start(%options)

C<sysid>: the system identifier that it tells, undef to deny it.  C<recovery>:
is it a standby?

=item host, port, dbname

Where it listens, as options of a server.

=item behave

Answer everything well.

=item misbehave($mode, %options)

Answer the statements that match the regular expression C<on> in this mode, or
misbehave while a connection starts if C<$mode> is one of C<startup_modes>.
C<client>: only for a client whose C<application_name> begins so.  C<nth>: only for
the nth of these statements of a connection.  C<at>: the type of the message of
the extended protocol that is answered so: C<P>, C<B>, C<D>, C<E> or C<S>.  It is
C<E>, and the answer to it also has what the others describe.

=item fill($n)

Each table has this number of rows from now on.

=item FakeStore->modes, FakeStore->startup_modes

The names of the modes.  C<FakeStore-E<gt>hangs($mode)>: does the answer never end?

=item answer_with($regex, $json)

Answer C<SELECT to_jsonb(q) ...> that match with one row, this text.

=item statements

What the clients have sent since the last C<behave> or C<misbehave>.

=item stop

End all of its processes.

=back

=cut

package FakeStore;

use strict;
use warnings FATAL => 'all';

use File::Temp qw(tempdir);
use IO::Socket::INET;
use POSIX ();
use Socket qw(SOMAXCONN SHUT_WR);
use Time::HiRes qw(sleep);

# the codes of the packets that have no type
use constant {
	SSL_REQUEST => 80877103,
	GSSENC_REQUEST => 80877104,
	CANCEL_REQUEST => 80877102
};

# Messages, from the server's side.
sub _message { my ($type, $body) = @_; return $type . pack('N', 4 + length $body) . $body; }
sub _ready { return _message('Z', $_[0] // 'I'); }

# The end of an answer.  Those of the extended protocol end with that to Sync.
my $extended = 0;
sub _end { return $extended ? '' : _ready(@_); }
sub _done { return _message('C', "$_[0]\0"); }
sub _error { my %f = @_; return _message('E', join('', map { "$_$f{$_}\0" } grep { defined $f{$_} } qw(S V C M D H W)) . "\0"); }
sub _notice { return _message('N', "SNOTICE\0VNOTICE\0C00000\0M$_[0]\0\0"); }
sub _parameter { return _message('S', "$_[0]\0$_[1]\0"); }

# The description of so many columns, of type text.
sub _columns
{
	my ($n) = @_;

	return _message('T', pack('n', $n) . join('', map { "c$_\0" . pack('NnNnNn', 0, 0, 25, 0xffff, 0xffffffff, 0) } 1 .. $n));
}

sub _row
{
	return _message('D', pack('n', scalar @_) . join('', map { defined $_ ? pack('N', length $_) . $_ : pack('N', 0xffffffff) } @_));
}

# The tag of the statement that is answered, without the number of rows.
my $tag = 'SELECT';

sub _rows
{
	my ($n, @rows) = @_;

	return _columns($n) . join('', map { _row(@$_) } @rows) . _done("$tag " . scalar @rows);
}

# An answer with another number of rows, if it has one.
sub _count
{
	my ($answer, $n) = @_;

	return $answer =~ s/C.{4}([A-Z]+(?: 0)?) \d+\0\z/_done(length $n ? "$1 $n" : $1)/ser;
}

# What is sent forever: a function of a number that grows.
my %forever = (
	endless_rows => sub { return _row(map { $_[0] } 1 .. $_[1]); },
	endless_results => sub { return _done("SET"); },
	endless_result_sets => sub { return _columns($_[1]) . _done("SELECT 0"); },
	endless_notices => sub { return _notice('x' x 500); },
	endless_parameters => sub { return _parameter("p$_[0]", 'x'); },
	endless_notifications => sub { return _message('A', pack('N', 1) . "channel\0payload\0"); });

# One answer in another way.  A function gets the good answer, the good rows and the number of columns, and returns what
# is sent in its place, with the end of the query; undef for nothing more.
my $bad = "\xc3\x28\xff\xfe";
my %mode = (
	# errors without the usual fields
	nomessage => sub { return _error(S => 'ERROR', C => '22012') . _end('E'); },
	nostate => sub { return _error(S => 'ERROR', M => 'no state') . _end('E'); },
	nofields => sub { return _error() . _end('E'); },
	shortstate => sub { return _error(S => 'ERROR', C => 'X', M => 'short state') . _end('E'); },
	oddstate => sub { return _error(S => 'ERROR', C => "\x01!\xff~ ", M => 'odd state') . _end('E'); },
	goodstate => sub { return _error(S => 'ERROR', C => '00000', M => 'a state that is no error') . _end('E'); },
	badmessage => sub { return _error(S => 'ERROR', C => '22012', M => "bad $bad %s%n", D => $bad, H => $bad, W => $bad) . _end('E'); },
	longmessage => sub { return _error(S => 'ERROR', C => '22012', M => 'x' x 2_000_000) . _end('E'); },
	fatal => sub { return [ _error(S => 'FATAL', C => '57P01', M => 'terminating connection'), 'close' ]; },

	# rows of another shape
	nocolumns => sub { return _rows(0, []) . _end(); },
	fewcolumns => sub { my (undef, $rows, $n) = @_; return _rows($n > 1 ? $n - 1 : 0, map { [ @{$_}[ 1 .. $#$_ ] ] } @$rows) . _end(); },
	manycolumns => sub { my (undef, $rows, $n) = @_; return _rows($n + 3, map { [ @$_, 1, 2, 3 ] } @$rows) . _end(); },
	norows => sub { return _rows($_[2]) . _end(); },
	manyrows => sub { my (undef, $rows, $n) = @_; return _rows($n, (@$rows) x 3) . _end(); },
	nulls => sub { return _rows($_[2], [ (undef) x $_[2] ]) . _end(); },
	empty_values => sub { return _rows($_[2], [ ('') x $_[2] ]) . _end(); },
	garbage => sub { return _rows($_[2], [ ('zzz') x $_[2] ]) . _end(); },
	hugenumber => sub { return _rows($_[2], [ ('9' x 60) x $_[2] ]) . _end(); },
	hugevalue => sub { return _rows($_[2], [ ('x' x 3_000_000) x $_[2] ]) . _end(); },
	badencoding => sub { return _rows($_[2], [ ($bad) x $_[2] ]) . _end(); },

	# results of another kind, and too many of them
	norowset => sub { return _done('SET') . _end(); },
	emptytag => sub { return _done('') . _end(); },
	emptyquery => sub { return _message('I', '') . _end(); },
	noresult => sub { return _end(); },
	twice => sub { return ($_[0] x 2) . _end(); },
	rows_and_error => sub { return _columns($_[2]) . _row((1) x $_[2]) . _error(S => 'ERROR', C => '22012', M => 'late') . _end('E'); },
	copyin => sub { return _message('G', "\0\0\0") . _end(); },
	copyout => sub { return _message('H', "\0\0\0"); },
	copyout_ends => sub { return _message('H', "\0\0\0") . _message('d', 'x') . _message('c', '') . _done('COPY 1') . _end(); },
	copyboth => sub { return _message('W', "\0\0\0"); },
	othertag => sub { return $_[0] =~ s/C.{4}[^\0]*\0\z/_done('LISTEN')/ser . _end(); },
	rollbacktag => sub { return $_[0] =~ s/C.{4}[^\0]*\0\z/_done('ROLLBACK')/ser . _end(); },
	manycount => sub { return _count($_[0], 1_000_000) . _end(); },
	hugecount => sub { return _count($_[0], '9' x 30) . _end(); },
	negativecount => sub { return _count($_[0], -1) . _end(); },
	nocount => sub { return _count($_[0], '') . _end(); },
	idle => sub { return [ $_[0], 'ready', _ready('I') ]; },
	intransaction => sub { return [ $_[0], 'ready', _ready('T') ]; },
	aborted => sub { return [ $_[0], 'ready', _ready('E') ]; },
	earlyready => sub { return $_[0] . _ready(); },
	copy_in_the_middle => sub { return _done('SET') . _message('G', "\0\0\0"); },

	# broken messages
	wronglength => sub { return "T" . pack('N', 3); },
	longlength => sub { return "D" . pack('N', 0x3fffffff) . ('x' x 100_000); },
	negativelength => sub { return "T" . pack('N', 0xfffffff0) . 'xxxx'; },
	longcommand => sub { return "C" . pack('N', 100_000) . ('x' x 1000); },
	unknowntype => sub { return _message('!', 'what is this') . $_[0] . _end(); },
	row_without_columns => sub { return _row(1, 2, 3) . _done("$tag 1") . _end(); },
	row_of_other_length => sub { return _columns(2) . _row(1, 2, 3, 4, 5) . _done("$tag 1") . _end(); },
	column_past_the_end => sub { return _columns(1) . _message('D', pack('nN', 1, 1000) . 'x') . _done("$tag 1") . _end(); },
	columns_past_the_end => sub { return _message('T', pack('n', 1000) . "x\0") . _end(); },
	unterminated => sub { return _message('E', 'Mno end') . _message('C', 'no end') . _end(); },
	badready => sub { return [ $_[0], 'ready', _message('Z', '?') ]; },
	manyready => sub { return [ $_[0], 'ready', _ready() x 50 ]; },

	# what comes late, in pieces or not at all
	noready => sub { return [ $_[0], 'ready', '' ]; },
	silent => sub { return ''; },
	cancel_hangs => sub { return ''; },
	deaf => sub { return [ $_[0] . _end(), 'deaf' ]; },
	half => sub { return substr($_[0], 0, int(length($_[0]) / 2)); },
	truncated => sub { return [ substr($_[0], 0, int(length($_[0]) / 2)), 'close' ]; },
	close => sub { return [ '', 'close' ]; },
	halfclose => sub { return [ '', 'halfclose' ]; },
	bytewise => sub { return [ $_[0] . _end(), 'bytewise' ]; },
	map { $_ => undef } keys %forever);

# These never end by themselves.
my %hangs = map { $_ => 1 } (keys %forever, qw(copyout copyboth copy_in_the_middle noready silent cancel_hangs half longlength longcommand bytewise));

# Ways to misbehave before there is a statement: what is sent after the startup packet.
my $welcome = _message('R', pack('N', 0));
my %startup = (
	start_silent => sub { return ''; },
	start_close => sub { return [ '', 'close' ]; },
	start_nostate => sub { return [ _error(S => 'FATAL', M => 'go away'), 'close' ]; },
	start_nomessage => sub { return [ _error(S => 'FATAL', C => '57P03'), 'close' ]; },
	start_nofields => sub { return [ _error(), 'close' ]; },
	start_oldstyle => sub { return [ "EFATAL: go away\0", 'close' ]; },
	start_badmessage => sub { return [ _error(S => 'FATAL', C => '57P03', M => "bad $bad %s%n"), 'close' ]; },
	start_badauth => sub { return _message('R', pack('N', 99)); },
	start_gss => sub { return _message('R', pack('N', 7)); },
	start_badsasl => sub { return _message('R', pack('N', 10) . "NOTHING\0\0"); },
	start_longauth => sub { return 'R' . pack('N', 3_000) . ('x' x 3_000); },
	start_wronglength => sub { return 'R' . pack('N', 2); },
	start_unknowntype => sub { return _message('!', 'x'); },
	start_truncated => sub { return [ substr($welcome, 0, 6), 'close' ]; },
	start_parameters_only => sub { return $welcome . _parameter('server_version', '15.0'); },
	start_endless_parameters => undef,
	start_longkey => sub { return $welcome . _message('K', pack('N', 1) . ('k' x 256)) . _ready(); },
	start_rows => sub { return $welcome . _rows(1, [1]) . _ready(); },
	start_ssl_garbage => undef,
	start_ssl_error => undef,
	start_ssl_yes => undef);

# Ways to greet that are odd, and after which a store works.
my %greeting = (
	start_nokey => { key => '' },
	start_twokeys => { key => _message('K', pack('NN', 1, 2)) x 2 },
	start_version_text => { server_version => 'zzz' },
	start_version_old => { server_version => '7.4' },
	start_version_empty => { server_version => '' },
	start_encoding => { client_encoding => 'NONSENSE' },
	start_notices => { more => _notice('welcome') x 1000 });

# Two are about what comes after the answer: a cancel request that is taken and never closed, and a client that is not
# listened to any more.
sub modes { return grep { !/^(?:cancel_hangs|deaf)$/ } sort keys %mode; }
sub startup_modes { return sort keys %startup; }
sub greetings { return sort keys %greeting; }
sub hangs { return $hangs{ $_[1] } || 0; }

# Begin to listen.
sub start
{
	my ($class, %options) = @_;
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => SOMAXCONN, ReuseAddr => 1)
	  or die "could not listen: $!\n";
	my $self = bless {
		sysid => '4242424242',
		dbname => 'run_ops',
		recovery => 0,
		%options,
		dir => tempdir('fakestore.XXXXXX', TMPDIR => 1, CLEANUP => 1),
		port => $socket->sockport,
		owner => $$ }, $class;

	$self->behave;
	$self->{pid} = fork() // die "could not fork: $!\n";
	if ($self->{pid} == 0)
	{
		_quietly();
		$SIG{CHLD} = 'IGNORE';
		POSIX::setpgid(0, 0);
		$self->_listen($socket);
		POSIX::_exit(0);
	}
	POSIX::setpgid($self->{pid}, $self->{pid});
	close $socket;
	return $self;
}

sub host { return '127.0.0.1'; }
sub port { return $_[0]{port}; }
sub dbname { return $_[0]{dbname}; }

sub behave { my $self = shift; return $self->misbehave('', on => ''); }

sub misbehave
{
	my ($self, $mode, %options) = @_;

	die "there is no mode \"$mode\"\n"
	  unless $mode eq '' || exists $mode{$mode} || exists $startup{$mode} || exists $greeting{$mode};
	$self->_write('sent', '');
	$self->_write('mode', join("\0", $mode, $options{on} // '.', $options{client} // '', $options{at} // 'E', $options{nth} // 0, ++$self->{number}));
	return;
}

sub answer_with
{
	my ($self, $regex, $json) = @_;

	open my $f, '>>', "$self->{dir}/answers" or die "could not open answers: $!\n";
	print $f "$regex\0$json\0";
	close $f;
	return;
}

sub fill { return $_[0]->_write('rows', $_[1]); }

sub statements { return split /\0/, $_[0]->_read('sent'); }

sub stop
{
	my ($self) = @_;

	return unless $self->{pid} && $self->{owner} == $$;
	kill 'KILL', -$self->{pid};
	waitpid($self->{pid}, 0);
	$self->{pid} = undef;
	return;
}

sub DESTROY { local ($?, $@, $!); $_[0]->stop; return; }

# A file of the fake's directory, written at once.
sub _write
{
	my ($self, $name, $text) = @_;

	open my $f, '>', "$self->{dir}/$name.new" or die "could not open $name: $!\n";
	print $f $text;
	close $f;
	rename "$self->{dir}/$name.new", "$self->{dir}/$name" or die "could not rename $name: $!\n";
	return;
}

sub _read
{
	my ($self, $name) = @_;

	open my $f, '<', "$self->{dir}/$name" or return '';
	local $/ = undef;
	return scalar(<$f>) // '';
}

# Say nothing, and hold nothing open that is the parent's.
sub _quietly
{
	open STDIN, '<', '/dev/null';
	open STDOUT, '>', '/dev/null';
	open STDERR, '>', '/dev/null';
	$SIG{$_} = 'DEFAULT' foreach qw(INT TERM HUP ALRM);
	$SIG{PIPE} = 'IGNORE';
	return;
}

# Serve each connection in a process, as long as the parent lives.
sub _listen
{
	my ($self, $socket) = @_;

	$socket->timeout(1);
	while (getppid() == $self->{owner})
	{
		my $client = $socket->accept or next;
		my $pid = fork();

		if (defined $pid && $pid == 0)
		{
			close $socket;
			$self->{parent} = getppid();
			$self->{client} = $client;
			eval { $self->_serve; };
			POSIX::_exit(0);
		}
		close $client;
	}
	kill 'KILL', -$$;
	return;
}

# Send, or end this process.
sub _send
{
	my ($self, $data) = @_;

	for (my $at = 0; $at < length $data;)
	{
		my $n = syswrite($self->{client}, $data, 65536, $at);

		POSIX::_exit(0) unless defined $n && getppid() == $self->{parent};
		$at += $n;
	}
	return;
}

# Receive so many bytes, or end this process.
sub _receive
{
	my ($self, $n) = @_;
	my $data = '';

	while (length $data < $n)
	{
		my $got = sysread($self->{client}, $data, $n - length $data, length $data);

		POSIX::_exit(0) unless $got;
	}
	return $data;
}

# Do nothing more on this connection, until the client goes away or the parent ends.
sub _wait
{
	my ($self) = @_;

	while (getppid() == $self->{parent})
	{
		my $bits = '';

		vec($bits, fileno($self->{client}), 1) = 1;
		next if select($bits, undef, undef, 1) <= 0;
		POSIX::_exit(0) unless sysread($self->{client}, my $ignored, 65536);
	}
	POSIX::_exit(0);
}

# Send what a mode has made, and end as it says; returns if the connection goes on.
sub _send_answer
{
	my ($self, $answer) = @_;
	my ($data, $end, $ready) = ref $answer ? @$answer : ($answer, '');

	if ($end eq 'bytewise')
	{
		foreach my $byte (split //, $data)
		{
			$self->_send($byte);
			sleep 0.05;
		}
		return;
	}
	$self->_send($data);
	POSIX::_exit(0) if $end eq 'close';
	$self->_wait_forever if $end eq 'deaf';
	if ($end eq 'ready')
	{
		$extended ? ($self->{ready} = $ready) : $self->_send($ready);
	}
	if ($end eq 'halfclose')
	{
		shutdown($self->{client}, SHUT_WR);
		$self->_wait;
	}
	return;
}

# Send something of a kind until the client or the parent goes away.
sub _send_forever
{
	my ($self, $make, $columns) = @_;

	for (my $i = 0;;)
	{
		$self->_send(join '', map { $make->($i++, $columns) } 1 .. 100);
	}
}

# Go through the packets that come before the session; the parameters of the client.
sub _start_session
{
	my ($self) = @_;
	my ($mode) = split /\0/, $self->_read('mode');

	for (;;)
	{
		my $packet = $self->_receive(unpack('N', $self->_receive(4)) - 4);
		my $code = unpack('N', $packet);

		if ($code == SSL_REQUEST || $code == GSSENC_REQUEST)
		{
			my $odd = { start_ssl_garbage => '?', start_ssl_error => _error(S => 'FATAL', C => '57P03', M => 'no'), start_ssl_yes => 'S' }->{ $mode // '' };

			$self->_send($odd // 'N');
			$self->_wait if defined $odd;
			next;
		}
		if ($code == CANCEL_REQUEST)
		{
			$self->_wait_forever if ($mode // '') eq 'cancel_hangs';
			POSIX::_exit(0);
		}
		my %parameter = split /\0/, substr($packet, 4);

		return ($mode // '', \%parameter);
	}
}

# Hold the connection, even when the client goes away.
sub _wait_forever
{
	my ($self) = @_;

	sleep 1 while getppid() == $self->{parent};
	POSIX::_exit(0);
}

# Greet a client; its name.
sub _greet
{
	my ($self) = @_;
	my ($mode, $parameter) = $self->_start_session;
	my $odd = $greeting{$mode} // {};

	if ($startup{$mode})
	{
		$self->_send_answer($startup{$mode}->());
		$self->_wait;
	}
	$self->_send($welcome);
	$self->_send_forever($forever{endless_parameters}) if $mode eq 'start_endless_parameters';
	my %say = (server_version => '15.0', client_encoding => 'UTF8', server_encoding => 'UTF8', standard_conforming_strings => 'on', integer_datetimes => 'on');

	$self->_send(join('', map { _parameter($_, $odd->{$_} // $say{$_}) } sort keys %say)
		. ($odd->{key} // _message('K', pack('NN', $$, 4242))) . ($odd->{more} // '') . _ready());
	return $parameter->{application_name} // '';
}

# Serve one connection.
sub _serve
{
	my ($self) = @_;

	# statements, portals and cursors by their names, and the state of the transaction
	@{$self}{qw(statement portal cursor in failed)} = ({}, {}, {}, 0, 0);
	$self->{name} = $self->_greet;
	for (;;)
	{
		my ($type, $length) = unpack('aN', $self->_receive(5));
		my $body = $self->_receive($length - 4);

		return if $type eq 'X';
		$extended = $type ne 'Q';
		if ($type eq 'Q')
		{
			my $sql = (split /\0/, $body)[0] // '';
			my $answers = '';
			my ($last, $rows, $columns);

			foreach my $statement (_statements($sql))
			{
				($last, $rows, $columns) = $self->_answer($statement);
				$answers .= $last;
				$self->_note_transaction($statement);
			}
			$self->_note($sql);
			$self->_answer_or_misbehave('E', $sql, $answers, $rows, $columns, _ready($self->_state));
		}
		elsif ($type eq 'S')
		{
			my $ready = delete $self->{ready};

			$self->{skips} = 0;
			$self->_answer_or_misbehave('S', $self->{last} // '', $ready // _ready($self->_state), undef, 0, '');
		}
		elsif (!$self->{skips}) { $self->_serve_extended($type, $body); }
	}
}

# Answer a message of the extended protocol, except Sync.
sub _serve_extended
{
	my ($self, $type, $body) = @_;

	if ($type eq 'P')
	{
		my ($name, $sql) = split /\0/, $body;

		$self->{statement}{$name} = $sql // '';
		$self->_answer_or_misbehave('P', $sql, _message('1', ''), undef, 0, '');
		return;
	}
	if ($type eq 'B')
	{
		my ($portal, $statement) = split /\0/, $body;

		$self->{portal}{$portal} = $self->{statement}{ $statement // '' } // '';
		$self->_answer_or_misbehave('B', $self->{portal}{$portal}, _message('2', ''), undef, 0, '');
		return;
	}
	if ($type eq 'C') { $self->_send(_message('3', '')); }
	return unless $type =~ /[DE]/;

	my ($name) = split /\0/, substr($body, $type eq 'D' ? 1 : 0);
	my $of = $type eq 'D' && substr($body, 0, 1) eq 'S' ? 'statement' : 'portal';
	my $sql = $self->{$of}{ $name // '' } // '';

	# the rows of a cursor, once
	my ($answer, $rows, $columns) = $type eq 'D' ? @{ $self->{described} = [ $self->_answer($sql) ] } :
	  @{ delete $self->{described} // [ $self->_answer($sql) ] };
	my $described = $answer =~ /^T(.{4})/s ? substr($answer, 0, 1 + unpack('N', $1)) : '';

	if ($type eq 'D')
	{
		# an answer in another way describes its own columns
		$self->_answer_or_misbehave('D', $sql, $described || _message('n', ''), undef, 0, '')
		  unless $self->_misbehaves('E', $sql, 1);
		return;
	}
	$self->_note($sql);
	$self->_note_transaction($sql);
	# this question travels behind the statement that matters
	$self->{last} = $sql unless $sql =~ /pg_current_xact_id_if_assigned/;
	substr($answer, 0, length $described, '') unless $self->_misbehaves('E', $sql);
	$self->_answer_or_misbehave('E', $sql, $answer, $rows, $columns, '');
	return;
}

# Follow the transaction of a connection.
sub _note_transaction
{
	my ($self, $sql) = @_;

	$self->{in} = 1 if $sql =~ /^(?:BEGIN|START TRANSACTION)/;
	$self->{failed} = 0 if $sql =~ /^(?:COMMIT|ROLLBACK|ABORT)\b/;
	@{$self}{qw(in cursor)} = (0, {}) if $sql =~ /^(?:COMMIT|ROLLBACK|ABORT)\b(?! TO)/;
	return;
}

sub _state { return $_[0]{in} ? ($_[0]{failed} ? 'E' : 'T') : 'I'; }

# Note what a client has sent, and count those that match.
sub _note
{
	my ($self, $sql) = @_;
	my (undef, $on, undef, undef, undef, $number) = split /\0/, $self->_read('mode'), -1;

	open my $f, '>>', "$self->{dir}/sent" or POSIX::_exit(1);
	syswrite($f, "$sql\0");
	close $f;
	$self->{seen}{$number}++ if $sql =~ /$on/s;
	return;
}

# Is a message about a statement the one to answer in another way?  Returns the mode if it is.  ahead: the statement will be
# executed later.
sub _misbehaves
{
	my ($self, $at_type, $sql, $ahead) = @_;
	my ($mode, $on, $client, $at, $nth, $number) = split /\0/, $self->_read('mode'), -1;
	my $seen = ($self->{seen}{ $number // 0 } // 0) + ($ahead ? 1 : 0);

	return '' if $mode eq '' || !exists $mode{$mode} || $at ne $at_type || $sql !~ /$on/s || ($client ne '' && $self->{name} !~ /^$client/);
	return $nth && $seen != $nth ? '' : $mode;
}

# Is there an error among these messages?
sub _has_error
{
	my ($data) = @_;

	for (my $at = 0; $at + 5 <= length $data;)
	{
		my ($type, $length) = unpack('aN', substr($data, $at, 5));

		return 1 if $type eq 'E';
		$at += 1 + ($length < 4 ? 4 : $length);
	}
	return 0;
}

# Answer a message about a statement, or answer it otherwise if it is the one.
sub _answer_or_misbehave
{
	my ($self, $type, $sql, $answer, $rows, $columns, $ready) = @_;
	my $mode = $self->_misbehaves($type, $sql, $type =~ /[PBD]/);

	($tag) = $sql =~ /^(FETCH|INSERT|UPDATE|DELETE)/ ? $1 : 'SELECT';
	$tag .= ' 0' if $tag eq 'INSERT';
	$rows = [ [1] ] unless $rows && @$rows;
	$columns ||= 1;
	if ($mode eq '')
	{
		$self->_send($answer . $ready);
		return;
	}
	$self->_note($sql) if $type =~ /[PBDS]/;
	if ($forever{$mode})
	{
		$self->_send(_columns($columns)) if $mode eq 'endless_rows';
		$self->_send_forever($forever{$mode}, $columns);
	}
	my $other = $mode{$mode}->($answer, $rows, $columns);

	# after an error the rest is skipped
	if ($extended && _has_error(ref $other ? $other->[0] : $other))
	{
		$self->{skips} = $type ne 'S';
		$self->{failed} = $self->{in};
	}
	$self->_send_answer($other);
	$self->_wait if $hangs{$mode} && $mode !~ /^(?:bytewise|noready)$/;
	return;
}

# The statements of a string, which are separated by semicolons outside of quotes.
sub _statements
{
	my ($sql) = @_;
	my @statements;

	while ($sql =~ /\G\s*((?:[^;'"]|'[^']*'|"[^"]*")+);?/g)
	{
		push @statements, $1;
	}
	return @statements;
}

# The values of a row, by the names of their columns.
my %value = (id => '0123456789abcdefghijklmna1', n => '7', ctid => '(0,1)', 'count(*)' => '3', '1' => '1');

sub _columns_of { return split /, /, $_[0]; }

# So many rows of a list of columns, and the number of these columns.
sub _values
{
	my ($n, $list) = @_;

	return map { [ map { $value{ s/^\w+\.//r } } _columns_of($list) ] } 1 .. $n;
}

sub _width { my @columns = _columns_of($_[0]); return scalar @columns; }

# The good answer to a statement, its rows and the number of its columns.
sub _answer
{
	my ($self, $sql) = @_;
	my $filled = $self->_read('rows') || 0;
	my @rows;

	($tag) = $sql =~ /^(FETCH|INSERT|UPDATE|DELETE)/ ? $1 : 'SELECT';
	$tag .= ' 0' if $tag eq 'INSERT';
	if ($sql =~ /pg_is_in_recovery\(\),.*pg_try_advisory_xact_lock/s)
	{
		@rows = [ $self->{sysid}, $self->{dbname}, $self->{recovery} ? 't' : 'f', 't', undef, undef, '1 2', 'run 1', $$ ];
	}
	elsif ($sql =~ /^SELECT pg_catalog\.pg_current_xact_id_if_assigned/) { @rows = [ '750', '4711' ]; }
	elsif ($sql =~ /^SELECT pg_catalog\.pg_try_advisory_xact_lock/) { @rows = ['t']; }
	elsif ($sql =~ /pg_catalog\.count\(\*\)/) { @rows = [3]; }
	elsif ($sql =~ /^SELECT pg_catalog\.to_jsonb\(q\)/)
	{
		my @answers = split /\0/, $self->_read('answers');

		while (my ($regex, $json) = splice @answers, 0, 2)
		{
			@rows = [$json] if $sql =~ /$regex/s;
		}
		return (_rows(1, @rows), \@rows, 1);
	}
	elsif ($sql =~ /^DECLARE (\w+) .*?CURSOR FOR\s+SELECT (.*?) FROM/s)
	{
		$self->{cursor}{$1} = { rows => [ _values($filled, $2) ], columns => _width($2), next => 0 };
		return (_done('DECLARE CURSOR'), [], 0);
	}
	elsif ($sql =~ /^MOVE ABSOLUTE 0 FROM (\w+)/)
	{
		$self->{cursor}{$1}{next} = 0;
		return (_done('MOVE 0'), [], 0);
	}
	elsif ($sql =~ /^FETCH (?:FORWARD )?(\d+) FROM (\w+)/)
	{
		my $cursor = $self->{cursor}{$2} // { rows => [], columns => 2, next => 0 };
		my ($n, @left) = ($1, @{ $cursor->{rows} }[ $cursor->{next} .. $#{ $cursor->{rows} } ]);
		my @fetched = splice @left, 0, $n;

		$cursor->{next} += @fetched;
		return (_rows($cursor->{columns}, @fetched), @fetched ? \@fetched : [ [ ('7') x $cursor->{columns} ] ], $cursor->{columns});
	}
	elsif ($sql =~ /^(?:INSERT|UPDATE|DELETE).* RETURNING (.*)$/s)
	{
		@rows = _values(1, $1);
		return (_rows(_width($1), @rows), \@rows, _width($1));
	}
	elsif ($sql =~ /^(?:INSERT|UPDATE|DELETE)/) { return (_done("$tag 1"), [], 0); }
	elsif ($sql =~ /^SELECT (.*?) FROM/s)
	{
		@rows = _values($filled, $1);
		return (_rows(_width($1), @rows), @rows ? \@rows : [ _values(1, $1) ], _width($1));
	}
	elsif ($sql =~ /^SELECT/) { return (_rows(1), [], 1); }
	else
	{
		my ($word) = $sql =~ /^(\w+)/;

		$word = uc($word // '');
		return (_done({ START => 'START TRANSACTION', DECLARE => 'DECLARE CURSOR', CLOSE => 'CLOSE CURSOR', TRUNCATE => 'TRUNCATE TABLE',
			SET => $sql =~ /^SET CONSTRAINTS/ ? 'SET CONSTRAINTS' : 'SET' }->{$word} // $word), [], 0);
	}
	return (_rows(scalar @{ $rows[0] }, @rows), \@rows, scalar @{ $rows[0] });
}

1;
