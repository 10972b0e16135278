#
# 001_base_boot.pl
#	  Settings that contradict each other stop the server from starting.
#
# A check hook that rejects a value does not stop the server.  The server then
# starts with the default, which is dangerous for these settings.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('boot');

$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'runops'");

# settings that refuse to boot, the message, and the setting that mends it
my @refused = (
	{
		name => 'split without the realtime interlock',
		conf => 'runops.split_enabled = on',
		message => qr/FATAL:  "runops\.split_enabled" requires "runops\.native_realtime_enabled"/,
		hint => qr/HINT:  Set "runops\.native_realtime_enabled" to on/,
		fix => 'runops.native_realtime_enabled = on',
		after => { 'runops.split_enabled' => 'on', 'runops.native_realtime_enabled' => 'on' },
	},
	{
		name => 'split with the interlock turned off',
		conf => "runops.split_enabled = on\nrunops.native_realtime_enabled = off",
		message => qr/FATAL:  "runops\.split_enabled" requires "runops\.native_realtime_enabled"/,
		hint => qr/HINT:  .*"runops\.split_enabled" to off/,
		fix => 'runops.split_enabled = off',
		after => { 'runops.split_enabled' => 'off', 'runops.native_realtime_enabled' => 'off' },
	},
	{
		name => 'split with an interlock that is no boolean',
		conf => "runops.split_enabled = on\nrunops.native_realtime_enabled = perhaps",
		message => qr/FATAL:  invalid value for parameter "runops\.native_realtime_enabled": "perhaps"/,
		hint => qr/HINT:  Set it to on or off\./,
		fix => 'runops.native_realtime_enabled = yes',
		after => { 'runops.split_enabled' => 'on', 'runops.native_realtime_enabled' => 'on' },
	},
	{
		name => 'a flag that is no boolean',
		conf => "runops.split_enabled = enabled\nrunops.native_realtime_enabled = on",
		message => qr/FATAL:  invalid value for parameter "runops\.split_enabled": "enabled"/,
		hint => qr/HINT:  Set it to on or off\./,
		fix => 'runops.split_enabled = true',
		after => { 'runops.split_enabled' => 'on', 'runops.native_realtime_enabled' => 'on' },
	},
	{
		name => 'an expectation that is no boolean',
		conf => "runops.expect_control_plane_split = 2",
		message => qr/FATAL:  invalid value for parameter "runops\.expect_control_plane_split": "2"/,
		hint => qr/HINT:  Set it to on or off\./,
		fix => 'runops.expect_control_plane_split = 1',
		after => { 'runops.split_enabled' => 'off', 'runops.expect_control_plane_split' => 'on' },
	},
);

my $conf = $node->data_dir . '/postgresql.conf';
my $base = slurp_file($conf);

foreach my $case (@refused)
{
	rewrite($base . $case->{conf} . "\n");

	my $offset = log_size();

	ok(!$node->start(fail_ok => 1), "$case->{name}: the server refuses to start");
	ok(!-e $node->data_dir . '/postmaster.pid', "$case->{name}: no server is left");

	my $log = slurp_file($node->logfile, $offset);

	like($log, $case->{message}, "$case->{name}: the log says why");
	like($log, $case->{hint}, "$case->{name}: the log says what to do");
	unlike($log, qr/ready to accept connections/, "$case->{name}: nobody could connect");

	$node->append_conf('postgresql.conf', $case->{fix});
	ok($node->start(fail_ok => 1), "$case->{name}: it starts with the value put right");
	foreach my $setting (sort keys %{ $case->{after} })
	{
		is($node->safe_psql('postgres', "SHOW $setting"),
			$case->{after}{$setting}, "$case->{name}: $setting");
	}
	$node->stop;
}

# the defaults are those of a plain server
rewrite($base);
$node->start;
is( $node->safe_psql('postgres', <<'EOT'),
SELECT name, setting, context FROM pg_settings WHERE name LIKE 'runops.%' ORDER BY name COLLATE "C"
EOT
	"runops.attach_scan_limit|1048576|user
runops.commit_timeout|60000|user
runops.control_plane_cache_max_entries|10000|postmaster\n"
	  . "runops.control_plane_cache_ttl|30000|sighup\n"
	  . "runops.cross_store_snapshots|error|user\n"
	  . "runops.cross_store_writes|warn|user\n"
	  . "runops.database|postgres|postmaster\n"
	  . "runops.enable_routing|on|superuser\n"
	  . "runops.enable_shipping|on|user\n"
	  . "runops.expect_control_plane_split|off|postmaster\n"
	  . "runops.mint_enabled|off|sighup\n"
	  . "runops.mint_flip_grace|90000|sighup\n"
	  . "runops.native_realtime_enabled|off|postmaster\n"
	  . "runops.remote_timeout|0|user\n"
	  . "runops.split_enabled|off|postmaster
runops.store_lock_timeout|30000|user
runops.track_wait_timing|on|superuser",
	'settings, their defaults and contexts');

my ($ret, $stdout, $stderr) =
  $node->psql('postgres', 'SET runops.split_enabled = on');
like($stderr, qr/cannot be changed without restarting the server/,
	'a session cannot turn the split on');

$node->append_conf('postgresql.conf', 'runops.split_enabled = on');
my $reload_offset = log_size();
$node->reload;
$node->poll_query_until('postgres',
	q{SELECT pending_restart FROM pg_settings WHERE name = 'runops.split_enabled'})
  or die 'the reload was not seen';
is($node->safe_psql('postgres', 'SHOW runops.split_enabled'),
	'off', 'neither can a reload');
$node->stop;

# a misspelt name is reported
rewrite($base . "runops.split_enabeld = on\n");
my $typo_offset = log_size();
$node->start;
like(slurp_file($node->logfile, $typo_offset),
	qr/WARNING:  invalid configuration parameter name "runops\.split_enabeld"/,
	'an unknown setting is reported');
$node->stop;

# Replace the configuration.
sub rewrite
{
	my $text = shift;

	open(my $f, '>', $conf) or die "$conf: $!";
	print $f $text;
	close $f;
	return;
}

# The size of the server log, 0 before the first start.
sub log_size
{
	return -s $node->logfile || 0;
}

done_testing();
