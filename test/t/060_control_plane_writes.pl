# A session that resolves a value after a COMMIT has returned gets the value that
# the transaction wrote.  The test covers each write site of the control plane,
# with values that live for an hour and that two backends have cached.  After a
# ROLLBACK the cached value stays valid.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use PgWire;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $schema = "$FindBin::RealBin/../schema";
my $node = PostgreSQL::Test::Cluster->new('control');

$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'runops'
runops.split_enabled = on
runops.native_realtime_enabled = on
runops.control_plane_cache_ttl = '1h'
max_prepared_transactions = 2
EOT
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION runops CASCADE');
$node->command_ok(
	[
		'psql', '-Xq', '-d', $node->connstr('postgres'), '-v', 'ON_ERROR_STOP=1', '-v', 'seed=1',
		map { ('-f', "$schema/$_") } qw(control_plane.sql run_ops.sql rows.sql)
	],
	'the example schema');
# what the original has in columns that the example lacks
$node->safe_psql('postgres', <<'EOT');
ALTER TABLE "Organization" ADD "apiRateLimiterConfig" jsonb, ADD "batchRateLimitConfig" jsonb, ADD "streamBasinName" text;
EOT
$node->command_ok(
	[ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-v', 'ON_ERROR_STOP=1', '-f', "$schema/resolvers.sql" ],
	'and its resolvers');
# each once more, for the truth: it is read each time
$node->safe_psql('postgres', <<'EOT');
SELECT runops.add_resolver('true_' || slot, query, ttl => '0') FROM runops.resolvers;
UPDATE "RuntimeEnvironment" SET "parentEnvironmentId" = (SELECT id FROM "RuntimeEnvironment" WHERE "apiKey" = 'tr_1') WHERE "apiKey" = 'tr_2';
EOT

my ($one, $two) = map { connect_to('postgres') } 1 .. 2;

# a session, as PgWire has them
sub connect_to
{
	my $dbname = shift;

	return PgWire->new(host => $node->host, port => $node->port, user => getpwuid($>) . '', dbname => $dbname);
}

# The rows of the last statement as text, NULL as "null"; dies of an error.
sub ask
{
	my ($session, $sql) = @_;
	my $result = ($session->query($sql))[-1];

	die "$sql: $result->{error}{M}" if $result->{error};
	return join("\n", map { join('|', map { $_ // 'null' } @$_) } @{ $result->{rows} // [] });
}

my $env = ask($one, q{SELECT id FROM "RuntimeEnvironment" WHERE "apiKey" = 'tr_1'});
my $child = ask($one, q{SELECT id FROM "RuntimeEnvironment" WHERE "apiKey" = 'tr_2'});
my $other = ask($one, q{SELECT id FROM "RuntimeEnvironment" WHERE "apiKey" = 'tr_12'});
my $org = ask($one, qq{SELECT "organizationId" FROM "RuntimeEnvironment" WHERE id = '$env'});
my $project = ask($one, qq{SELECT "projectId" FROM "RuntimeEnvironment" WHERE id = '$env'});
my $worker = ask($one, qq{SELECT id FROM "BackgroundWorker" WHERE "runtimeEnvironmentId" = '$env'});
my $task = ask($one, qq{SELECT id FROM "BackgroundWorkerTask" WHERE "workerId" = '$worker'});
my $deployment = ask($one, qq{SELECT id FROM "WorkerDeployment" WHERE "environmentId" = '$env'});
ask($one, qq{INSERT INTO "BackgroundWorker" (id, "friendlyId", version, "projectId", "runtimeEnvironmentId", "createdAt")
	VALUES ('w2', 'worker_w2', '2', '$project', '$env', '2026-02-01');
	INSERT INTO "WorkerDeployment" (id, version, type, "environmentId", "workerId", "createdAt")
	VALUES ('d2', '2', 'UNMANAGED', '$env', 'w2', '2026-02-01')});

# The calls that may be affected: a name, and the arguments.
my %calls = (
	environment => "'environment', '$env'",
	child => "'environment', '$child'",
	exists => "'environment_exists', '$env'",
	authenticated => "'authenticated_environment', '$env'",
	authenticated_child => "'authenticated_environment', '$child'",
	current => "'worker_version', '$env', NULL, NULL",
	managed => "'worker_version', '$env', NULL, 'MANAGED'",
	development => "'worker_version', '$env', NULL, 'DEVELOPMENT'",
	given => "'worker_version', '$env', '$worker', NULL",
	locked => "'locked_worker', '$task', '$worker'",
	locked_absent => "'locked_worker', 'task2', 'w3'",
	absent => "'environment', 'env_new'");

# Write sites: a name, the write, and the calls whose value it changes.
my @sites = (
	[ 'pause', qq{UPDATE "RuntimeEnvironment" SET paused = true WHERE id = '$env'}, qw(environment authenticated) ],
	[ 'resume', qq{UPDATE "RuntimeEnvironment" SET paused = false WHERE id = '$env'}, qw(environment authenticated) ],
	[ 'billing limit', qq{UPDATE "RuntimeEnvironment" SET paused = true WHERE "organizationId" = '$org'}, qw(environment child authenticated) ],
	[ 'archive', qq{UPDATE "RuntimeEnvironment" SET "archivedAt" = '2026-03-01' WHERE id = '$child'}, qw(child authenticated_child) ],
	[ 'environment concurrency', qq{UPDATE "RuntimeEnvironment" SET "maximumConcurrencyLimit" = 77 WHERE id = '$env'}, qw(environment authenticated) ],
	[ 'organization concurrency', qq{UPDATE "Organization" SET "maximumConcurrencyLimit" = 88 WHERE id = '$org'}, qw(authenticated) ],
	[ 'burst factor', qq{UPDATE "RuntimeEnvironment" SET "concurrencyLimitBurstFactor" = 3 WHERE id = '$env'}, qw(environment authenticated) ],
	[ 'allocation of concurrency', qq{UPDATE "RuntimeEnvironment" SET "maximumConcurrencyLimit" = CASE id WHEN '$env' THEN 5 ELSE 6 END WHERE id IN ('$env', '$child')},
		qw(environment child authenticated) ],
	[ 'API key', qq{UPDATE "RuntimeEnvironment" SET "apiKey" = 'tr_regenerated' WHERE id = '$env'}, qw(authenticated authenticated_child) ],
	[ 'feature flags, v1', qq{UPDATE "Organization" SET "featureFlags" = '{"v1": true}' WHERE id = '$org'}, qw(authenticated) ],
	[ 'feature flags, v2', qq{UPDATE "Organization" SET "featureFlags" = "featureFlags" || '{"v2": true}' WHERE id = '$org'}, qw(authenticated) ],
	[ 'API rate limit', qq{UPDATE "Organization" SET "apiRateLimiterConfig" = '{"max": 1}' WHERE id = '$org'}, qw(authenticated) ],
	[ 'batch rate limit', qq{UPDATE "Organization" SET "batchRateLimitConfig" = '{"max": 1}' WHERE id = '$org'}, qw(authenticated) ],
	[ 'runs disabled', qq{UPDATE "Organization" SET "runsEnabled" = false WHERE id = '$org'}, qw(authenticated) ],
	[ 'runs enabled', qq{UPDATE "Organization" SET "runsEnabled" = true WHERE id = '$org'}, qw(authenticated) ],
	[ 'stream basin provisioned', qq{UPDATE "Organization" SET "streamBasinName" = 'basin' WHERE id = '$org'}, qw(authenticated) ],
	[ 'stream basin deprovisioned', qq{UPDATE "Organization" SET "streamBasinName" = NULL WHERE id = '$org'}, qw(authenticated) ],
	[ 'deployment promotion', qq{UPDATE "WorkerDeploymentPromotion" SET "deploymentId" = 'd2' WHERE "environmentId" = '$env' AND label = 'current'}, qw(current) ],
	[ 'end of a promotion', qq{DELETE FROM "WorkerDeploymentPromotion" WHERE "environmentId" = '$env'}, qw(current) ],
	[ 'first promotion', qq{INSERT INTO "WorkerDeploymentPromotion" VALUES ('p2', 'current', '$env', '$deployment')}, qw(current) ],
	[ 'a new deployment', qq{INSERT INTO "BackgroundWorker" (id, "friendlyId", version, "projectId", "runtimeEnvironmentId", "createdAt")
		VALUES ('w3', 'worker_w3', '3', '$project', '$env', now() + interval '1 day');
		INSERT INTO "WorkerDeployment" (id, version, "environmentId", "workerId", "createdAt") VALUES ('d3', '3', '$env', 'w3', now() + interval '1 day');
		DELETE FROM "WorkerDeploymentPromotion" WHERE "environmentId" = '$env'},
		qw(managed development locked_absent) ],
	[ 'a task', qq{INSERT INTO "BackgroundWorkerTask" VALUES ('task2', 'b', 'b.ts', '$worker')}, qw(given locked_absent) ],
	[ 'a worker', qq{UPDATE "BackgroundWorker" SET runtime = 'bun' WHERE id = '$worker'}, qw(given locked) ],
	[ 'a queue', qq{INSERT INTO "TaskQueue" VALUES ('q2', 'queue-2', '$env')}, qw(given) ],
	[ 'a new environment', qq{INSERT INTO "RuntimeEnvironment" (id, slug, shortcode, "apiKey", "projectId", "organizationId")
		VALUES ('env_new', 'new', 'new', 'tr_new', '$project', '$org')}, qw(absent) ],
	[ 'by a rename of the key', qq{UPDATE "RuntimeEnvironment" SET id = 'env_renamed' WHERE id = 'env_new'}, qw(absent) ],
	[ 'project deleted', qq{UPDATE "Project" SET "deletedAt" = '2026-04-01' WHERE id = '$project'}, qw(authenticated authenticated_child) ],
	[ 'project restored', qq{UPDATE "Project" SET "deletedAt" = NULL WHERE id = '$project'}, qw(authenticated authenticated_child) ],
	[ 'organization deleted', qq{UPDATE "Organization" SET "deletedAt" = '2026-04-01' WHERE id = '$org'}, qw(authenticated) ],
	[ 'project removed', qq{DELETE FROM "Project" WHERE id = '$project'}, qw(environment exists authenticated child given locked) ]);

my $untouched = "'authenticated_environment', '$other'";

# The value of a call, and the truth.
sub resolve { my ($session, $call) = @_; return ask($session, "SELECT runops.resolve($call)"); }
sub truth { my ($session, $call) = @_; return ask($session, 'SELECT runops.resolve(' . ($call =~ s/^'/'true_/r) . ')'); }

# How many calls were read since the counters began.
sub misses { return ask($one, q{SELECT sum(misses) FROM runops.resolvers WHERE slot NOT LIKE 'true%'}); }

foreach my $site (@sites)
{
	my ($name, $write, @names) = @$site;
	my (%old, $misses);

	foreach my $session ($one, $two, $one, $two)
	{
		$misses = misses();
		resolve($session, $untouched);
		$old{$_} = resolve($session, $calls{$_}) foreach keys %calls;
	}
	is(misses(), $misses, "$name: both backends have the values cached");

	ask($two, "BEGIN; $write");
	is_deeply([ map { resolve($one, $calls{$_}) } @names ], [ map { $old{$_} } @names ],
		"$name: the other backend still has the old value");
	isnt(resolve($two, $calls{$_}), $old{$_}, "$name: its own has the new one at once ($_)") foreach @names;
	is_deeply([ map { resolve($two, $calls{$_}) } @names ], [ map { truth($two, $calls{$_}) } @names ],
		"$name: which is true");
	ask($two, 'ROLLBACK');
	$misses = misses();
	foreach my $session ($one, $two)
	{
		is_deeply([ map { resolve($session, $calls{$_}) } @names ], [ map { $old{$_} } @names ],
			"$name: after a rollback the old value stands");
	}
	is(misses(), $misses, "$name: and is not read for it");

	ask($two, "BEGIN; $write; COMMIT");
	foreach my $session ($one, $two)
	{
		isnt(resolve($session, $calls{$_}), $old{$_}, "$name: after the commit it is gone ($_)") foreach @names;
		is_deeply([ map { resolve($session, $calls{$_}) } sort keys %calls ], [ map { truth($session, $calls{$_}) } sort keys %calls ],
			"$name: and all of them are true");
	}
	$misses = misses();
	resolve($one, $untouched);
	is(misses(), $misses, "$name: another organization's is untouched");
}

# a whole table, and the rest of what ends a transaction
foreach my $how ('TRUNCATE "RuntimeEnvironment" CASCADE', 'DELETE FROM "Organization"')
{
	my $old = resolve($one, "'environment', '$other'");

	isnt($old, 'null', "there is an environment before $how");
	ask($two, "BEGIN; $how; ROLLBACK");
	my $misses = misses();
	is(resolve($one, "'environment', '$other'"), $old, "$how: rolled back");
	is(misses(), $misses, 'and not read again');
	ask($two, "BEGIN; SAVEPOINT a; $how; ROLLBACK TO a; COMMIT");
	is(resolve($one, "'environment', '$other'"), $old, "$how: rolled back to a savepoint");
	is(misses(), $misses, 'and not read again');
	ask($two, "BEGIN; $how; PREPARE TRANSACTION 'p'");
	ask($two, "ROLLBACK PREPARED 'p'");
	is(resolve($one, "'environment', '$other'"), $old, "$how: prepared and rolled back");
	ask($two, "BEGIN; SAVEPOINT a; $how; RELEASE a; PREPARE TRANSACTION 'p'");
	is(resolve($one, "'environment', '$other'"), $old, "$how: prepared");
	ask($one, ($how =~ /DELETE/ ? q{COMMIT} : q{ROLLBACK}) . q{ PREPARED 'p'});
}
is(resolve($_, "'environment', '$other'"), 'null', 'committed as a prepared transaction') foreach $one, $two;

# a procedure that commits on its way
ask($two, q{CREATE TABLE counter (id text, n int); INSERT INTO counter VALUES ('c', 0);
	CREATE PROCEDURE count_up() LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..3 LOOP
		UPDATE counter SET n = n + 1; COMMIT; UPDATE counter SET n = n + 10; ROLLBACK; END LOOP; END $$;
	SELECT runops.add_resolver('counter', 'SELECT n FROM counter WHERE id = $1');
	SELECT runops.watch('counter', 'id')});
is(resolve($one, "'counter', 'c'"), '{"n": 0}', 'before a procedure');
ask($two, 'CALL count_up()');
is(resolve($one, "'counter', 'c'"), '{"n": 3}', 'after it');

$_->close foreach $one, $two;
$node->stop;
done_testing();
