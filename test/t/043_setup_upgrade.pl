#
# 043_setup_upgrade.pl
#	  ALTER EXTENSION UPDATE leaves the same objects as a new installation, from
#	  every released version, and routed tables work on.
#
# Before there is a second version, pairs are made up: the old version lacks the
# last files of sql/install, and the step is these files.  Steps that forget
# something show that the comparison finds it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use ExtensionCatalog;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my $node = PostgreSQL::Test::Cluster->new('upgrade');

$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'runops'");
$node->start;

my $new = $node->safe_psql('postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'runops'});

$node->safe_psql('postgres', 'CREATE EXTENSION runops CASCADE');
my @fresh = ExtensionCatalog::lines($node, 'postgres', 'runops');
cmp_ok(scalar(@fresh), '>', 1000, 'a new installation has objects');

# Install a version, with a routed table if wanted, and update it; the lines that
# differ from a new installation.
my $databases = 0;

sub update
{
	my ($old, $routed) = @_;
	my $database = 'upgrade_' . ++$databases;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, "CREATE EXTENSION runops VERSION '$old' CASCADE");
	$node->safe_psql($database, <<'EOT') if $routed;
CREATE TABLE run (id text PRIMARY KEY, n int);
INSERT INTO run VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('run', 'id');
EOT
	$node->safe_psql($database, 'ALTER EXTENSION runops UPDATE');
	is($node->safe_psql($database, q{SELECT extversion FROM pg_extension WHERE extname = 'runops'}),
		$new, "$old is $new after the update");
	if ($routed)
	{
		is($node->safe_psql($database, <<'EOT'), "2\nt", "a table attached with $old works with $new");
INSERT INTO run VALUES ('c000000000000000000000002', 2);
SELECT count(*) FROM run;
SELECT relation::regclass = 'run'::regclass FROM runops.routed_tables;
EOT
		$node->safe_psql($database, q{SELECT runops.detach('run'); DROP TABLE run});
	}
	my @lines = ExtensionCatalog::lines($node, $database, 'runops');
	return ExtensionCatalog::compare(\@fresh, \@lines);
}

# what was released

my @released = (slurp_file("$root/sql/upgrade/RELEASED") =~ /^[0-9a-f]{64} [ *]runops--([^-\s]+)\.sql$/mg);

foreach my $old (grep { $_ ne $new } @released)
{
	is_deeply([ update($old, 1) ], [], "$old updated is the same as $new installed");
}

# a pair that is made up

my $directory = $node->config_data('--sharedir') . '/extension';
my @made;

# Write a script where the server looks for it.
sub make_script
{
	my ($name, $text) = @_;

	push @made, "$directory/$name";
	append_to_file($made[-1], $text);
}

END
{
	unlink @made;
}

SKIP:
{
	skip "no right to write to $directory", 1 unless -w $directory;

	my @scripts = map { slurp_file($_) } sort glob("$root/sql/install/*.sql");

	# attach needs nothing of the last file
	make_script('runops--0.3.sql', join('', @scripts[ 0 .. $#scripts - 1 ]));
	make_script("runops--0.3--$new.sql", $scripts[-1]);
	is_deeply([ update('0.3', 1) ], [], 'a version and a small step together are the same as a new installation');

	# with tables, views, triggers, and what is revoked in the end
	my $step = join '', splice(@scripts, -4);
	my $old = join '', @scripts;
	my ($function) = ($step =~ /^CREATE FUNCTION runops\.(\w+)/m);

	make_script('runops--0.2.sql', $old);
	make_script("runops--0.2--$new.sql", $step);
	is_deeply([ update('0.2', 0) ], [], 'so are a version and a big step');

	# each of these forgets one thing
	my %forgotten = (
		'a comment' => [ qr/^COMMENT ON .*?;\n/ms, qr/^-.* comment 0: / ],
		'a privilege' => [ qr/^(?:REVOKE|GRANT) .*?;\n/ms, qr/^[-+].* privileges/ ],
		'a constraint' => [ qr{,\s*PRIMARY KEY \([^)]*\)}, qr{^-.* constraint } ],
		'a configuration table' => [ qr/^SELECT pg_catalog\.pg_extension_config_dump\(.*?;\n/ms, qr/^-.* configuration / ],
		'a trigger that always fires' => [ qr{^ALTER TABLE .*? ENABLE ALWAYS TRIGGER .*?;\n}m, qr{^-.* trigger: .* A$} ],
		'a volatility' => [ qr/\bSTABLE\b/, qr/^-.* definition: / ]);
	my $n = 0;

	foreach my $what (sort keys %forgotten)
	{
		my ($remove, $expected) = @{ $forgotten{$what} };
		my $version = '0.1.' . ++$n;

		ok((my $lacking = $step) =~ s/$remove//, "the step has $what");
		make_script("runops--$version.sql", $old);
		make_script("runops--$version--$new.sql", $lacking);
		my @differences = update($version, 0);
		ok((grep { /$expected/ } @differences), "a step that forgets $what is found")
		  or diag(@differences ? join("\n", @differences) : 'no difference');
	}
	make_script('runops--0.1.sql', $old);
	make_script("runops--0.1--$new.sql", "-- nothing\n");
	ok((grep { /^-function runops\.\Q$function\E\(/ } update('0.1', 0)), 'a step that does nothing is found');
}

done_testing();
