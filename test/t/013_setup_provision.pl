#
# 013_setup_provision.pl
#	  Provision and verify over real connections: passwords, stores that hang or
#	  close the connection, another default collation, two sessions at the same time,
#	  and the flag off.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(relay => 1);
my $relay = $split->relay;
my ($stdout, $stderr);

# Run SQL that fails; its standard error.
sub failure
{
	my ($sql) = @_;
	my (undef, $error) = $split->try($sql);

	return $error;
}

# Is the table in the store?
sub stands
{
	my ($table) = @_;

	return $split->store_sql("SELECT to_regclass('$table') IS NOT NULL") eq 't';
}

$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, note text);
CREATE INDEX run_note ON run (note);
INSERT INTO run VALUES ('c00000000000000000000run1', 'old');
SELECT runops.attach('run', 'id');
EOT

# a store that does not answer: what is to end a wait is named by the error, and
# nothing else would end it

$relay->freeze;
$split->sql(q{ALTER SERVER run_ops OPTIONS (ADD connect_timeout '2')});
$stderr = failure(q{SELECT runops.provision('new')});
like($stderr, qr/RO002: cannot access store "new": the gate is closed\nDETAIL:  Could not connect to server "run_ops": timeout expired\./, 'a store that hangs: connect_timeout');
is($split->sql(q{SELECT finding, detail ~ 'timeout expired' FROM runops.verify()}), 'unreachable|t', 'verify goes on');
$split->sql(q{ALTER SERVER run_ops OPTIONS (SET connect_timeout '3600')});
$stderr = failure(q{SET statement_timeout = '300ms'; SELECT runops.provision('new')});
like($stderr, qr/57014: canceling statement/, 'while connecting: statement_timeout');
$relay->thaw;

# a connection that breaks off leaves nothing half done

foreach my $statement ('ADD CONSTRAINT run_pkey', 'CREATE INDEX', 'COMMIT')
{
	$relay->drop_on($statement);
	$stderr = failure(q{SELECT runops.provision('new')});
	like($stderr, qr/ERROR:  08006: .*server "run_ops"/s, "the connection breaks at $statement");
	ok(!stands('public.run'), 'and nothing was made');
}
is($split->sql(q{SELECT count(*) FROM runops.provision('new') WHERE action = 'create'}), 4, 'then all of it is');
ok(stands('public.run'), 'the table stands');

# two sessions at once: the second finds what the first has made

$split->sql('ALTER TABLE run ADD COLUMN n int');
my $first = $split->control->background_psql('postgres');
my $second = $split->control->background_psql('postgres');
my $added = q{SELECT string_agg(object || ' ' || action, ',') FROM runops.provision('new') WHERE action <> 'exists'};

is($first->query_safe("BEGIN; $added"), 'column public.run.n create', 'one session adds the column');
$second->query_until(qr/started/, "\\echo started\n$added;\n");
ok($split->control->poll_query_until('postgres', q{SELECT count(*) FROM pg_locks WHERE NOT granted}, '1'), 'the other waits');
$first->query_safe('COMMIT');
is($second->query_safe('SELECT 1'), "\n1", 'and has nothing to add');
$first->quit;
$second->quit;

# a store that sorts text otherwise

$split->store->safe_psql('postgres', q{CREATE DATABASE posix TEMPLATE template0 LC_COLLATE 'POSIX' LC_CTYPE 'POSIX' ENCODING 'UTF8'});
$split->sql(sprintf(<<'EOT', $split->store->host, $split->store->port));
CREATE SERVER posix FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%s', port '%s', dbname 'posix');
CREATE USER MAPPING FOR CURRENT_USER SERVER posix;
SELECT runops.add_store('e', 'posix');
SELECT runops.provision('e');
EOT
is($split->sql(q{SELECT store, finding, detail ~ 'default collation differs: here .*, in the store .*' FROM runops.verify()}),
	'e|collation|t', 'another default collation is a finding');

# a query there is ended soon after a cancel here

my $sleeping = q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)%' AND pid <> pg_backend_pid()};

$stderr = failure(q{SET statement_timeout = '500ms'; SELECT * FROM runops.remote_query('e', 'SELECT pg_sleep(3600)')});
like($stderr, qr/57014: canceling statement/, 'while waiting for rows: statement_timeout');
ok($split->store->poll_query_until('postgres', $sleeping, '0'), 'the store does not sleep on');

$split->sql(q{SELECT runops.drop_store('e')});

# a role that is no superuser, with a password

$split->store_sql(<<'EOT');
CREATE ROLE deployer LOGIN PASSWORD 'right';
GRANT CREATE ON SCHEMA public TO deployer;
EOT
my $hba = $split->store->data_dir . '/pg_hba.conf';
my $trusting = slurp_file($hba);

unlink $hba;
append_to_file($hba, "local all deployer scram-sha-256\n$trusting");
$split->store->reload;
$split->sql(<<'EOT');
CREATE TABLE job (id text PRIMARY KEY, run text NOT NULL REFERENCES runops_legacy.run);
SELECT runops.attach('job', 'run');
CREATE ROLE deployer;
GRANT USAGE ON SCHEMA runops, runops_legacy TO deployer;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA runops TO deployer;
GRANT SELECT ON job, run, runops_legacy.job, runops_legacy.run TO deployer;
GRANT USAGE ON FOREIGN SERVER run_ops TO deployer;
CREATE USER MAPPING FOR deployer SERVER run_ops OPTIONS (user 'deployer', password 'wrong');
EOT
($stderr) = failure(q{SET ROLE deployer; SELECT runops.provision('new', relation => 'job')});
like($stderr, qr/08001: .*password authentication failed for user "deployer"/s, 'a wrong password');
$split->sql(q{ALTER USER MAPPING FOR deployer SERVER run_ops OPTIONS (SET password 'right')});
($stderr) = failure(q{SET ROLE deployer; SELECT runops.provision('new', relation => 'job')});
like($stderr, qr/42501: permission denied for table run.*store "new", server "run_ops"/s, 'a privilege that the store wants');
ok(!stands('public.job'), 'and nothing was made');
$split->store_sql('GRANT ALL ON run TO deployer');
is($split->sql(q{SET ROLE deployer; SELECT count(*) FROM runops.provision('new', relation => 'job') WHERE action = 'create'}), 4,
	'the right password and rights');
like($split->sql(q{SET ROLE deployer; SELECT * FROM runops.verify('job')}), qr/must be owner of table job/, 'verify reads the tables of the role alone');
$split->sql('ALTER TABLE job OWNER TO deployer; ALTER TABLE run OWNER TO deployer');
is($split->sql(q{SET ROLE deployer; SELECT * FROM runops.verify()}), '', 'verify as that role');

# the flag off: the store is not asked, and that is said

$split->control->append_conf('postgresql.conf', 'runops.split_enabled = off');
$split->control->restart;
is_deeply(
	[
		$split->reached(sub {
				foreach my $call (q{provision('new')}, q{provision('new', true)}, 'verify()')
				{
					($stderr) = failure("SELECT runops.$call");
					like($stderr, qr/RO002: cannot access store "new": the gate is closed/, "the flag off: $call");
				}
			})
	],
	[], 'nothing reaches the store');

done_testing();
