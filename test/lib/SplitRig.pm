# SplitRig: a throw-away instance with a control plane, two stores and a plain database, for the differential test and
# the statement-shape table.
package SplitRig;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Temp qw(tempdir);
use POSIX ();
use Scalar::Util qw(weaken);

use PgWire;

# Stop every instance of this process, however it ends.
my @rigs;

END { local $?; $_->stop for grep { defined } @rigs; }

$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

# Run a script again as the user "postgres" when it was started by root, whom the server refuses.
sub drop_root
{
	return if $> != 0;
	my ($script, @argv) = @_;
	my @keep = map { "$_=$ENV{$_}" } grep { defined $ENV{$_} } qw(PG_CONFIG PATH TMPDIR SPLIT_RIG_KEEP);
	my $path = abs_path($script);
	chdir '/';
	exec 'runuser', '-u', 'postgres', '--', 'env', @keep, $^X, $path, @argv or die "could not run runuser: $!\n";
}

# Create and start the instance.  conf: extra lines of postgresql.conf.
sub new
{
	my ($class, %arg) = @_;
	my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
	chomp(my $bin = `$pg_config --bindir`);
	die "no pg_config at \"$pg_config\"; set PG_CONFIG\n" if $? || !$bin;
	my $dir = tempdir('splitrig.XXXXXX', TMPDIR => 1, CLEANUP => 0);
	my $self = bless { dir => $dir, bin => $bin, port => 5432, owner => $$ }, $class;
	push @rigs, $self;
	weaken($rigs[-1]);
	$self->_run("$bin/initdb", '-D', "$dir/data", '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync');
	open my $fh, '>>', "$dir/data/postgresql.conf" or die $!;
	print $fh <<"CONF";
listen_addresses = ''
unix_socket_directories = '$dir'
port = $self->{port}
fsync = off
autovacuum = off
jit = off
max_connections = 40
shared_buffers = 16MB
shared_preload_libraries = 'runops'
runops.split_enabled = on
runops.native_realtime_enabled = on
runops.cross_store_snapshots = allow
log_line_prefix = '%m [%p] %d '
logging_collector = off
CONF
	print $fh $arg{conf} if $arg{conf};
	close $fh;
	$self->_run("$bin/pg_ctl", '-D', "$dir/data", '-l', "$dir/log", '-w', 'start');
	$self->{up} = 1;
	return $self;
}

sub _run
{
	my ($self, @cmd) = @_;
	my $pid = fork // die "could not fork: $!\n";
	if (!$pid)
	{
		open STDIN,  '<',  '/dev/null'        or POSIX::_exit(1);
		open STDOUT, '>>', "$self->{dir}/out" or POSIX::_exit(1);
		open STDERR, '>&', \*STDOUT           or POSIX::_exit(1);
		exec @cmd or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	return if $? == 0;
	my $why = $self->slurp("$self->{dir}/out") . (-e "$self->{dir}/log" ? $self->slurp("$self->{dir}/log") : '');
	die "\"@cmd\" failed:\n$why\n";
}

sub slurp
{
	my ($self, $file) = @_;
	open my $fh, '<', $file or die "could not open $file: $!\n";
	local $/ = undef;
	my $text = <$fh>;
	return $text // '';
}

# A connection to a database of the instance.
sub connect
{
	my ($self, $dbname, %arg) = @_;
	return PgWire->new(host => $self->{dir}, port => $self->{port}, user => 'postgres', dbname => $dbname, %arg);
}

# Make the databases: control, store_new, store_e and plain, the plain tables in the first and the last, the rows of the
# legacy store in both, then the split; then everything else.  $part holds the SQL texts: schema, legacy, split, new, after.
# With $part{elsewhere} legacy is a database of its own, store_legacy, and gets its rows through the split.
sub build
{
	my ($self, %part) = @_;
	my $sys = $self->connect('postgres');
	my @stores = ($part{elsewhere} ? 'legacy' : (), qw(new e));
	$sys->do("CREATE DATABASE $_") for qw(control plain), map { "store_$_" } @stores;
	$sys->close;
	for my $db (qw(control plain))
	{
		my $c = $self->connect($db);
		$c->do('CREATE EXTENSION runops CASCADE');
		$c->do($part{schema});
		$c->do($part{legacy}) if !$part{elsewhere} || $db eq 'plain';
		$c->do('ANALYZE');
		$c->close;
	}
	my $c = $self->connect('control');
	my $n = 0;
	for my $store (@stores)
	{
		$c->do("CREATE SERVER srv_$store FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '$self->{dir}', port '$self->{port}', dbname 'store_$store')");
		$c->do("CREATE USER MAPPING FOR CURRENT_USER SERVER srv_$store OPTIONS (user 'postgres')");
		$c->do("SELECT runops.add_store('$store', 'srv_$store')");
	}
	# one transaction for each statement, as a user would
	$c->do($_) for grep { /\S/ } split /;\n/, $part{split};
	if ($part{elsewhere})
	{
		$c->do(q{SELECT * FROM runops.provision('legacy')});
		$c->do($part{legacy});
	}
	$c->do($part{new});
	$c->close;
	my $p = $self->connect('plain');
	$p->do($part{plain}) if $part{plain};
	$p->do($part{new});
	$p->close;
	return;
}

# Give every store a reader: a standby of the whole instance that each commit waits for, so that it is never behind.
sub add_readers
{
	my ($self) = @_;
	my ($dir, $port) = ($self->{dir}, $self->{port} + 1);
	$self->_run("$self->{bin}/pg_basebackup", '-h', $dir, '-p', $self->{port}, '-U', 'postgres', '-D', "$dir/standby", '-R', '-X', 'stream', '-c', 'fast', '--no-sync');
	open my $fh, '>>', "$dir/standby/postgresql.conf" or die "could not open postgresql.conf: $!\n";
	print $fh "port = $port\nshared_preload_libraries = ''\n";
	close $fh;
	$self->_run("$self->{bin}/pg_ctl", '-D', "$dir/standby", '-l', "$dir/standby.log", '-w', 'start');
	$self->{standby} = 1;
	my $c = $self->connect('control');
	$c->do("ALTER SYSTEM SET $_") for q{synchronous_standby_names = '*'}, 'synchronous_commit = remote_apply';
	$c->do('SELECT pg_reload_conf()');
	for my $store (map { $_->[0] } @{ $c->do(q{SELECT store FROM runops.stores WHERE server IS NOT NULL}) })
	{
		$c->do("CREATE SERVER reader_$store FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '$dir', port '$port', dbname 'store_$store')");
		$c->do("CREATE USER MAPPING FOR PUBLIC SERVER reader_$store OPTIONS (user 'postgres', password_required 'false')");
		$c->do("BEGIN; SELECT runops.drop_store('$store', force => true); SELECT runops.add_store('$store', 'srv_$store', reader => 'reader_$store'); COMMIT");
	}
	$c->close;
	return;
}

# Start the instance again with more lines in postgresql.conf; connections are lost.
sub restart
{
	my ($self, $conf) = @_;
	open my $fh, '>>', "$self->{dir}/data/postgresql.conf" or die "could not open postgresql.conf: $!\n";
	print $fh "$conf\n";
	close $fh;
	$self->_run("$self->{bin}/pg_ctl", '-D', "$self->{dir}/data", '-l', "$self->{dir}/log", '-w', '-m', 'fast', 'restart');
	return;
}

sub stop
{
	my ($self) = @_;
	return if !$self->{up} || $self->{owner} != $$;
	$self->{up} = 0;
	eval { $self->_run("$self->{bin}/pg_ctl", '-D', "$self->{dir}/$_", '-m', 'immediate', '-w', 'stop'); } for $self->{standby} ? 'standby' : (), 'data';
	if ($ENV{SPLIT_RIG_KEEP}) { print "kept $self->{dir}\n"; return; }
	system 'rm', '-rf', $self->{dir};
	return;
}

sub DESTROY { my ($self) = @_; local ($?, $@); $self->stop; return; }

1;
