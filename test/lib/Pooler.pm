
=pod

=head1 NAME

Pooler - PgBouncer in front of a server

=head1 SYNOPSIS

  use Pooler;

  plan skip_all => Pooler::missing() if Pooler::missing();

  my $pooler = Pooler->start(
	  databases => { run_ops => [ $store->host, $store->port, 'run_ops' ] },
	  default_pool_size => 5);

  # connect to $pooler->host, $pooler->port
  $pooler->lead(run_ops => [ $other->host, $other->port, 'postgres' ]);
  $pooler->set(pool_mode => 'session');

=head1 DESCRIPTION

A process of PgBouncer on a unix socket, in transaction mode unless C<pool_mode>
says otherwise.  Options that are not C<databases> go to its configuration.  It
ends with the object.

=cut

package Pooler;

use strict;
use warnings FATAL => 'all';

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep);

# Why there is no PgBouncer; empty if there is one.
sub missing
{
	return defined _program() ? '' : 'PgBouncer is not installed: install the package "pgbouncer"';
}

sub _program
{
	my ($program) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';

	return $program;
}

sub start
{
	my ($class, %options) = @_;
	my $self = bless { parent => $$ }, $class;

	$self->{dir} = PostgreSQL::Test::Utils::tempdir_short();
	$self->{port} = PostgreSQL::Test::Cluster::get_free_port();
	$self->{databases} = delete $options{databases};
	$self->{options} = { pool_mode => 'transaction', default_pool_size => 5, server_reset_query_always => 0, %options };
	$self->_write;
	append_to_file("$self->{dir}/users", sprintf qq{"%s" ""\n}, scalar getpwuid($>));

	my $pid = $self->{pid} = fork() // die "fork: $!";

	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', '/dev/null');
		open(STDERR, '>', '/dev/null');
		exec(_program(), '-q', "$self->{dir}/pgbouncer.ini") or POSIX::_exit(1);
	}
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if -S "$self->{dir}/.s.PGSQL.$self->{port}";
		sleep 0.1;
	}
	die 'PgBouncer has not started: ' . slurp_file("$self->{dir}/log") unless -S "$self->{dir}/.s.PGSQL.$self->{port}";
	return $self;
}

sub host { return $_[0]->{dir}; }
sub port { return $_[0]->{port}; }

# Write the configuration.
sub _write
{
	my ($self) = @_;
	my %options = %{ $self->{options} };
	my $ini = "[databases]\n";

	foreach my $name (sort keys %{ $self->{databases} })
	{
		$ini .= sprintf "%s = host=%s port=%s dbname=%s\n", $name, @{ $self->{databases}{$name} };
	}
	$ini .= <<"EOT";
[pgbouncer]
listen_addr =
listen_port = $self->{port}
unix_socket_dir = $self->{dir}
auth_type = trust
auth_file = $self->{dir}/users
admin_users = @{[ scalar getpwuid($>) ]}
logfile = $self->{dir}/log
EOT
	$ini .= "$_ = $options{$_}\n" foreach sort keys %options;
	unlink "$self->{dir}/pgbouncer.ini";
	append_to_file("$self->{dir}/pgbouncer.ini", $ini);
	return;
}

# Run a command of its console, and return what it prints.
sub console
{
	my ($self, $command) = @_;
	my ($stdout, $stderr);

	run_command_quietly([ 'psql', '-XAtq', '-h', $self->{dir}, '-p', $self->{port}, '-d', 'pgbouncer', '-c', $command ], \$stdout, \$stderr);
	return $stdout;
}

sub run_command_quietly
{
	my ($command, $stdout, $stderr) = @_;

	IPC::Run::run($command, '<', \undef, '>', $stdout, '2>', $stderr) or die "@$command: $$stderr";
	return;
}

# Read the configuration again, and let no new transaction use the sessions that stand.
sub _reload
{
	my ($self) = @_;

	$self->_write;
	$self->console('RELOAD');
	$self->console('RECONNECT');
	return;
}

# Lead a database elsewhere: to [ host, port, database ].
sub lead
{
	my ($self, $name, $to) = @_;

	$self->{databases}{$name} = $to;
	$self->_reload;
	return;
}

# Change options.
sub set
{
	my ($self, %options) = @_;

	$self->{options} = { %{ $self->{options} }, %options };
	$self->_reload;
	return;
}

sub DESTROY
{
	my ($self) = @_;

	return if $$ != $self->{parent} || !$self->{pid};

	my $status = $?;

	kill 'INT', $self->{pid};
	waitpid($self->{pid}, 0);
	$? = $status;
	return;
}

1;
