# CaseTable: one instance with a control plane and the stores "new" and "a", and statements whose output must be the
# same with the planner hooks on and off.
package CaseTable;

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Two ids of legacy, two of new (the second a KSUID), one of the shard "a", and one of a shard that nobody added.
our %id = (
	L => 'clegacy000000000000000001',
	M => 'clegacy000000000000000002',
	N => '0123456789abcdefghijklmna1',
	K => '2SmasRGkif9qETAHwssB4GGYwdi',
	A => '0123456789abcdefghijklmna2',
	Z => '0123456789abcdefghijklmnz2');

my $columns = q{id text PRIMARY KEY, env text, parent_id text, idem text, status text DEFAULT 'PENDING', n int,
	created_at timestamptz DEFAULT now(), meta jsonb, UNIQUE (env, idem)};
my %database = (legacy => 'postgres', new => 'st_new', a => 'st_a');
my %seed = (
	legacy => "('$id{L}', 'e', 1, 'k1', NULL)",
	new => "('$id{N}', 'e', 2, 'k2', '$id{L}')",
	a => "('$id{A}', 'e', 3, 'k3', '$id{N}')");

# Start the instance and split the table "run" over it.
sub new
{
	my ($class, %options) = @_;
	my $self = bless { node => PostgreSQL::Test::Cluster->new($options{name} // 'control') }, $class;
	my $node = $self->{node};

	$node->init;
	$node->append_conf('postgresql.conf', <<"EOT");
shared_preload_libraries = 'runops'
runops.split_enabled = on
runops.native_realtime_enabled = on
log_line_prefix = '%d '
log_connections = on
max_prepared_transactions = 5
EOT
	$node->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	$node->start;
	$self->sql("CREATE TABLE run ($columns); CREATE EXTENSION runops CASCADE");
	foreach my $store ('new', 'a')
	{
		$self->sql("CREATE DATABASE $database{$store}");
		$self->sql("ALTER DATABASE $database{$store} SET log_statement = 'all'");
		$self->sql(sprintf(
			q{CREATE SERVER sv_%1$s FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%2$s', port '%3$s', dbname '%4$s');
			CREATE USER MAPPING FOR CURRENT_USER SERVER sv_%1$s;
			SELECT runops.add_store('%1$s', 'sv_%1$s')},
			$store, $node->host, $node->port, $database{$store}));
	}
	$self->sql(q{SELECT runops.attach('run', 'id')});
	$self->sql(qq{SELECT runops.provision('$_')}) foreach ('new', 'a');
	$self->seed;
	return $self;
}

sub node { return $_[0]->{node}; }

# Run SQL in the control plane, dying of an error.
sub sql
{
	my ($self, $sql) = @_;

	return $self->node->safe_psql('postgres', with_ids($sql));
}

# The same in a store.
sub store_sql
{
	my ($self, $store, $sql) = @_;

	return $self->node->safe_psql($database{$store}, with_ids($sql));
}

# Put the table back: three rows, each in its store.
sub seed
{
	my $self = shift;
	my $script = '';

	foreach my $store (sort keys %database)
	{
		my $table = $store eq 'legacy' ? 'runops_legacy.run' : 'run';

		$script .= "\\connect $database{$store}\nDELETE FROM $table; INSERT INTO $table (id, env, n, idem, parent_id) VALUES $seed{$store};\n";
	}
	$self->node->safe_psql('postgres', $script);
	return;
}

# Write the ids in the place of {L}, {N}, ...
sub with_ids
{
	my $text = shift;

	$text =~ s/\{([LMNKAZ])\}/$id{$1}/g;
	return $text;
}

# Run a script as a session of its own, going on after errors; what it prints, errors as their SQLSTATE in their place.
sub output
{
	my ($self, $script, $routing) = @_;
	my ($out, $psql) = ('', [ 'psql', '-XAtq', '-d', $self->node->connstr('postgres') ]);
	my $set = "\\set VERBOSITY sqlstate\nSET client_min_messages = warning;\n";

	$set .= "SET runops.enable_routing = off;\n" if !$routing;
	IPC::Run::run($psql, '<', \($set . with_ids($script)), '>', \$out, '2>&1');
	$out =~ s/^ERROR:  (\S+).*$/$1/mg;
	$out =~ s/^WARNING:  .*\n//mg;
	chomp $out;
	return $out;
}

# The stores that were connected to while code ran, in alphabetical order.
sub reached
{
	my ($self, $code) = @_;
	my $log = $self->node->logfile;
	my $offset = -s $log;
	my %store;

	$code->();
	foreach my $line (split /\n/, slurp_file($log, $offset))
	{
		# the end of an earlier transaction that has only read is not waited for
		next if $line =~ /: (?:COMMIT|ROLLBACK)/;
		$store{$1} = 1 if $line =~ /^st_(new|a) LOG:  (?:statement|execute|connection authorized)/;
	}
	return join ' ', sort keys %store;
}

# Run the cases of a table.  Each is a hash:
#   why     what goes wrong in other systems, in one line
#   sql     the statements
#   want    their output, with the hooks on and off
#   off     the output with them off, if it is another one
#   stores  the stores that the statements may reach with the hooks on
#   keep    leave the table as it is afterwards
sub check
{
	my ($self, @cases) = @_;
	my $writes = qr/\b(?:INSERT|DELETE|MERGE|COPY)\b|(?<!FOR )\bUPDATE\b/;

	foreach my $case (@cases)
	{
		foreach my $routing (1, 0)
		{
			my $mode = $routing ? 'on' : 'off';
			my $want = $routing ? $case->{want} : $case->{off} // $case->{want};
			my $got;
			my $stores = $self->reached(sub { $got = $self->output($case->{sql}, $routing) });

			is($got, with_ids($want), "$case->{why} ($mode)");
			is($stores, $case->{stores}, "$case->{why}: stores") if $routing && defined $case->{stores};
			$self->seed if $case->{sql} =~ $writes && !$case->{keep};
		}
	}
	return;
}

1;
