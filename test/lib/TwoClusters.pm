
=pod

=head1 NAME

TwoClusters - a control plane with runops, and a second cluster as its store

=head1 SYNOPSIS

  use FindBin;
  use lib "$FindBin::RealBin/../lib";
  use TwoClusters;

  my $split = TwoClusters->new(relay => 1);

  $split->sql('CREATE TABLE run (id text PRIMARY KEY, note text)');
  $split->sql(q{SELECT runops.attach('run', 'id')});
  $split->sql(q{SELECT runops.provision('new')});

  my ($stdout, $stderr) = $split->try('SELECT 1/0');
  my @sql = $split->reached(sub { $split->sql('SELECT * FROM run') });

  $split->store->stop('immediate');

=head1 DESCRIPTION

Two clusters of PostgreSQL::Test::Cluster on unix sockets.  The control plane has
the library preloaded and the split on; its database C<postgres> has the
extension, the server C<run_ops>, a user mapping of the superuser, and the
store C<new>.  The store is a plain PostgreSQL with a database C<run_ops>.  The
nodes are stopped at the end of the program.

=head1 METHODS

=over

=item TwoClusters->new(%options)

  name           prefix of the node names (''; needed for a second pair)
  split          value of runops.split_enabled (1)
  preload        preload the library (1)
  conf           more lines for the control plane's postgresql.conf
  store_conf     more lines for the store's
  extension      create extension, server, mapping and store (1)
  relay          put a Relay between the two (0)
  relay_options  a hash of options for Relay->start
  server_options more options of the server run_ops, as SQL ("fetch_size '10'")

=item control, store, relay

The two nodes, and the relay if there is one.

=item create_server($name, $database, $wrapper)

Create a database of this name in the store cluster, a server for it (of
runops_fdw), and a user mapping.

=item wait_for_proofs()

Wait until all stores are recorded and no prover runs: from then on only
sessions connect to the stores.

=item turns($session, $sql), counted_turns()

Run SQL in a session of background_psql; the turns on each connection through the
relay meanwhile, sorted, as a string.  And the sum of turns in runops.stats.

=item sql($sql), store_sql($sql)

safe_psql in the control plane, and in the store's database C<run_ops>: returns
what is printed, and dies of an error.

=item try($sql, %params)

Run SQL in the control plane going on after errors; returns standard output and
standard error, with the SQLSTATE of each error.  C<%params> go to
PostgreSQL::Test::Cluster::psql.

=item reached($code)

Call C<$code> and return the statements that the store has executed meanwhile, in
order, from its log.  What is set and asked at the start of a session is left
out.

=back

=cut

package TwoClusters;

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Relay;

# the session settings of postgres_fdw's connections, what a new one is asked, and the record of the owner
my $session_setup = qr/^(?:SELECT .*pg_try_advisory_xact_lock\(|SELECT pg_catalog\.pg_current_xact_id_if_assigned\(|DO '.*COMMENT ON SCHEMA runops_store|SELECT \(SELECT d\.description |SET (?:search_path|timezone|datestyle|intervalstyle|extra_float_digits)\b|RESET\b)/i;

# Start the clusters and connect the one to the other.
sub new
{
	my ($class, %options) = @_;
	my $self = bless {}, $class;

	$self->{prefix} = $options{name} // '';
	%options = (split => 1, preload => 1, extension => 1, %options);

	my $store = $self->{store} = PostgreSQL::Test::Cluster->new("$self->{prefix}store");

	$store->init;
	$store->append_conf('postgresql.conf', "log_statement = 'all'");
	$store->append_conf('postgresql.conf', $options{store_conf}) if $options{store_conf};
	$store->start;
	$store->safe_psql('postgres', 'CREATE DATABASE run_ops');

	my $control = $self->{control} = PostgreSQL::Test::Cluster->new("$self->{prefix}control");

	$control->init;
	if ($options{preload})
	{
		my $flag = $options{split} ? 'on' : 'off';

		$control->append_conf('postgresql.conf', <<"EOT");
shared_preload_libraries = 'runops'
runops.split_enabled = $flag
runops.native_realtime_enabled = on
runops.cross_store_snapshots = allow
runops.cross_store_writes = allow
EOT
	}
	$control->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	$control->start;

	$self->{relay} = Relay->start(
		to_host => $store->host,
		to_port => $store->port,
		%{ $options{relay_options} // {} }) if $options{relay};
	if ($options{extension})
	{
		$self->sql('CREATE EXTENSION runops CASCADE');
		$self->_server('run_ops', 'run_ops', 'runops_fdw', $options{server_options});
		$self->sql(q{SELECT runops.add_store('new', 'run_ops')});
	}
	return $self;
}

sub control { return $_[0]->{control}; }
sub store { return $_[0]->{store}; }
sub relay { return $_[0]->{relay}; }

sub create_server
{
	my ($self, $name, $database, $wrapper) = @_;

	$self->store->safe_psql('postgres', qq{CREATE DATABASE "$database"});
	$self->_server($name, $database, $wrapper // 'runops_fdw');
	return;
}

# Create a server and a mapping of the current user.
sub _server
{
	my ($self, $name, $database, $wrapper, $more) = @_;
	my $to = $self->relay // $self->store;

	$more = $more ? ", $more" : '';
	$self->sql(sprintf(
		q{CREATE SERVER "%s" FOREIGN DATA WRAPPER %s OPTIONS (host '%s', port '%s', dbname '%s'%s);
		CREATE USER MAPPING FOR CURRENT_USER SERVER "%s"},
		$name, $wrapper, $to->host, $to->port, $database, $more, $name));
	return;
}

sub wait_for_proofs
{
	my $self = shift;

	$self->control->poll_query_until('postgres', q{
		SELECT NOT EXISTS (SELECT FROM runops.store_config c WHERE c.server IS NOT NULL
				AND NOT EXISTS (SELECT FROM runops.store_identity i WHERE i.store = c.store))
			AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'runops prover')})
	  or die 'the stores are not proved';
	return;
}

sub turns
{
	my ($self, $session, $sql) = @_;

	$self->relay->reset;
	$session->query_safe($sql);
	return join(' ', sort grep { $_ > 0 } map { $_->{turns} } $self->relay->connections);
}

sub counted_turns
{
	return $_[0]->sql(q{SELECT coalesce(sum(turns), 0) FROM runops.stats});
}

sub sql
{
	my ($self, $sql) = @_;

	return $self->control->safe_psql('postgres', $sql);
}

sub store_sql
{
	my ($self, $sql) = @_;

	return $self->store->safe_psql('run_ops', $sql);
}

sub try
{
	my ($self, $sql, %params) = @_;
	my ($stdout, $stderr);

	$self->control->psql(
		'postgres', "\\set VERBOSITY verbose\n$sql",
		stdout => \$stdout,
		stderr => \$stderr,
		on_error_stop => 0,
		%params);
	return ($stdout, $stderr);
}

sub reached
{
	my ($self, $code) = @_;
	my $log = $self->store->logfile;
	my $offset = -s $log;

	$code->();

	my (@statements, $in_statement);

	foreach my $line (split /\n/, slurp_file($log, $offset))
	{
		if ($line =~ /LOG:  (?:statement|execute [^:]*): (.*)/)
		{
			push @statements, $1;
			$in_statement = 1;
		}
		elsif ($line =~ /^\t/ && $in_statement)
		{
			$statements[-1] .= "\n" . substr($line, 1);
		}
		else
		{
			$in_statement = 0;
		}
	}
	return grep { $_ !~ $session_setup } @statements;
}

1;
