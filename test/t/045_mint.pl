# The kind of id that a root gets, depending on the setting, the gate and the mint
# kind.  All sessions follow a reload and a flip at the same instant, and reading
# the kind needs no query.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use IPC::Run;
use PgWire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(
	conf => "runops.database = ''\nrunops.mint_flip_grace = 0\n",
	store_conf => "log_connections = on\n");
my ($control, $store) = ($split->control, $split->store);

# A session of its own.
sub session
{
	return PgWire->new(
		host => $control->host,
		port => $control->port,
		user => scalar getpwuid($<),
		dbname => 'postgres');
}

# The first value of a query in a session.
sub value
{
	my ($session, $sql) = @_;

	return $session->do($sql)->[0][0];
}

# Set a setting for all, and wait until new sessions have it.  Those that stand have
# been signalled by then, and read it before their next statement.
sub set_all
{
	my ($name, $value) = @_;

	$control->safe_psql('postgres', "ALTER SYSTEM SET $name = '$value'");
	$control->reload;
	$control->poll_query_until('postgres', "SELECT setting = '$value' FROM pg_settings WHERE name = '$name'")
	  or die "$name is not $value";
	return;
}

# How often has the server said, since the given place of its log, that it could
# not read a flag?
sub unread
{
	return scalar(() = slurp_file($control->logfile, $_[0]) =~ /LOG:  \w+: could not read the mint kind:|LOG:  could not read the mint kind:/g);
}

$split->sql(<<'EOT');
CREATE TABLE run (id text COLLATE "C" PRIMARY KEY, org text, parent text);
SELECT runops.attach('run', 'id', '{parent}');
EOT

# the first use

$split->sql(q{SELECT runops.set_mint_kind('org', 'ksuid')});
set_all('runops.mint_enabled', 'on');
my $offset = -s $store->logfile;
is($split->sql(q{SELECT runops.mint_kind('org')}), 'cuid', 'a root is a cuid before anybody has proved the store');
is($split->sql(q{SELECT length(runops.mint_id('run', parent => 'run_37dGalnvVFpJFsmiFDGIwmudA4O'))}), 27, 'a child is not');
unlike(slurp_file($store->logfile, $offset), qr/connection received/, 'nobody is asked in order to mint');
$split->sql(q{SELECT runops.provision('new')});
is($split->sql(q{SELECT runops.mint_kind('org')}), 'ksuid', 'once it is proved the flag decides');

# the table of switch, split and flag

foreach my $flag_on ('on', 'off')
{
	$control->append_conf('postgresql.conf', "runops.split_enabled = $flag_on");
	$control->restart;
	$split->sql('SELECT count(*) FROM run') if $flag_on eq 'on';
	foreach my $switch ('on', 'off')
	{
		my $asked = $flag_on eq 'on' && $switch eq 'on';

		set_all('runops.mint_enabled', $switch);
		$offset = -s $store->logfile;
		foreach my $flag ('ksuid', 'cuid')
		{
			$split->sql("SELECT runops.set_mint_kind('org', '$flag')");
			is($split->sql(q{SELECT runops.mint_kind('org')}), $asked ? $flag : 'cuid',
				"switch $switch, split $flag_on, flag $flag");
		}
		my $log = -s $control->logfile;

		$split->sql('ALTER INDEX runops.mint_config_org_key RENAME TO elsewhere');
		is($split->sql(q{SELECT runops.mint_kind('org')}), 'cuid', "switch $switch, split $flag_on, flag that cannot be read");
		$split->sql('ALTER INDEX runops.elsewhere RENAME TO mint_config_org_key');
		is(unread($log), $asked ? 1 : 0, 'which is ' . ($asked ? 'logged' : 'not tried'));
		unlike(slurp_file($store->logfile, $offset), qr/connection received/, 'no store is contacted');
		is($split->sql(q{SELECT length(runops.mint_id('run', 'org', '37dGalnvVFpJFsmiFDGIwmudA4O')) || ' ' || length(runops.mint_batch_id('org', 'cmcjssmao6dfcc016e6d94f48'))}),
			'27 25', 'children follow their parents');
		is($split->sql(<<'EOT'), 'runops_legacy.run', 'a legacy batch is written where it is');
INSERT INTO run VALUES (runops.mint_batch_id('org', 'cmcjssmao6dfcc016e6d94f48'), 'batch');
UPDATE run SET org = 'done' WHERE id = (SELECT id FROM run WHERE org = 'batch') RETURNING tableoid::regclass;
EOT
	}
}
my (undef, $stderr) = $split->try(q{INSERT INTO run VALUES (runops.mint_id('run', parent => '37dGalnvVFpJFsmiFDGIwmudA4O'));});
like($stderr, qr/ERROR:  RO002:/, 'a child whose store is closed is refused, and not torn from its family');

# not preloaded

$control->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$control->restart;
$split->sql(q{SELECT runops.set_mint_kind('org', 'ksuid')});
is($split->sql(q{SELECT runops.mint_kind('org')}), 'cuid', 'a root is a cuid if the library is not preloaded');
is($split->sql(q{SELECT length(runops.mint_id('run', parent => '37dGalnvVFpJFsmiFDGIwmudA4O'))}), 27, 'a child is what its parent is');

# with pg_stat_statements, where there is one

chomp(my $sharedir = `pg_config --sharedir`);
my $statements = -e "$sharedir/extension/pg_stat_statements.control";

$control->append_conf('postgresql.conf', 'shared_preload_libraries = \'runops'
	  . ($statements ? ", pg_stat_statements'\npg_stat_statements.track = all" : "'")
	  . "\nrunops.split_enabled = on");
$control->restart;
set_all('runops.mint_enabled', 'on');
$split->sql('SELECT count(*) FROM run');
SKIP:
{
	skip 'no pg_stat_statements', 2 unless $statements;

	$split->sql('CREATE EXTENSION pg_stat_statements');
	is($split->sql(<<'EOT'), "f\nksuid\n1000", 'a thousand kinds and ids');
SELECT pg_stat_statements_reset() IS NULL;
SELECT DISTINCT runops.mint_kind('org') FROM generate_series(1, 1000);
SELECT count(DISTINCT runops.mint_id('run', 'org')) FROM generate_series(1, 1000);
EOT
	is($split->sql(q{SELECT string_agg(query, '; ' ORDER BY query) FROM pg_stat_statements WHERE query ~ 'mint|store_config' AND query !~ '^SELECT (DISTINCT runops|count)'}),
		'', 'cost no statement of their own');
}

# a session that is there already

my $session = session();
is(value($session, q{SELECT runops.mint_kind('org')}), 'ksuid', 'a session mints by the flag');
set_all('runops.mint_enabled', 'off');
is(value($session, q{SELECT runops.mint_kind('org')}), 'cuid', 'it follows the switch');
like($split->sql('SELECT object, finding FROM runops.doctor()'), qr/^setting runops\.mint_enabled\|is off, so roots get cuids/m, 'which doctor() tells');
set_all('runops.mint_enabled', 'on');
is(value($session, q{SELECT runops.mint_kind('org')}), 'ksuid', 'and back');
$split->sql(q{SELECT runops.set_mint_kind('org', 'runops')});
is(value($session, q{SELECT runops.mint_kind('org')}), 'runops', 'without a grace it follows a flip at once');
$session->do('BEGIN');
$session->do(q{SELECT runops.set_mint_kind('org', 'cuid')});
is(value($session, q{SELECT runops.mint_kind('org')}), 'cuid', 'without a grace its own before its commit');
is($split->sql(q{SELECT runops.mint_kind('org')}), 'runops', 'and nobody else does');
$session->do('COMMIT');
is($split->sql(q{SELECT runops.mint_kind('org')}), 'cuid', 'until then');
$split->sql(q{SELECT runops.set_mint_kind('org', NULL)});
is($split->sql('SELECT count(*) FROM runops.mint_config'), 0, 'an entry that is removed without a grace is gone');

# failures, and what is none

$split->sql(q{SELECT runops.set_mint_kind('org', 'ksuid')});
my $locker = session();
$locker->do('BEGIN; LOCK TABLE runops.mint_config IN ACCESS EXCLUSIVE MODE');
$offset = -s $control->logfile;
is($split->sql(q{SET lock_timeout = '50ms'; SELECT runops.mint_kind('org')}), 'cuid', 'a flag that is locked is no flag');
is(unread($offset), 1, 'which is logged');
(undef, $stderr) = $split->try(q{SET statement_timeout = '50ms'; SELECT runops.mint_kind('org');});
like($stderr, qr/ERROR:  57014:/, 'a cancel is a cancel');
is($split->sql(q{BEGIN; SET LOCAL lock_timeout = '50ms'; SELECT runops.mint_kind('org'), runops.mint_kind(); SELECT count(*) FROM run; COMMIT}),
	"cuid|cuid\n4", 'the transaction goes on');
$locker->do('ROLLBACK');
is($split->sql(q{SELECT runops.mint_kind('org')}), 'ksuid', 'and when it can be read again it counts');

# with assertions every lookup then forgets all that the backend remembers
my ($discarding) = $split->try(q{SET debug_discard_caches = 1; SELECT runops.mint_kind('org') FROM generate_series(1, 3);});
is($discarding, "ksuid\nksuid\nksuid", 'what is forgotten at once is read again');

# a store that does not answer stays the one to mint for

$session = session();
is(value($session, q{SELECT runops.mint_kind('org')}), 'ksuid', 'the store is proved');
$store->stop('immediate');
is(value($session, q{SELECT runops.mint_kind('org')}), 'ksuid', 'and stays so when it is down');
like(($session->query(q{INSERT INTO run VALUES (runops.mint_id('run', 'org'))}))[-1]{error}{C}, qr/^08/, 'its INSERT fails');
is(value($session, q{SELECT runops.mint_kind('org')}), 'ksuid', 'which changes nothing');
$control->restart;
is($split->sql(q{SELECT runops.mint_kind('org')}), 'cuid', 'after a restart there is no proof');
$store->start;
$split->sql('SELECT count(*) FROM run');
is($split->sql(q{SELECT runops.mint_kind('org')}), 'ksuid', 'until the store is used again');

# a setting that grows brings nothing back, one that shrinks hurries

set_all('runops.mint_flip_grace', 86400000);
is($split->sql(q{SELECT runops.mint_kind('org')}), 'ksuid', 'a longer grace does not undo a flip');
$split->sql(q{SELECT runops.set_mint_kind('org', 'cuid')});
is($split->sql(q{SELECT runops.mint_kind('org')}), 'ksuid', 'it holds for the next one');
set_all('runops.mint_flip_grace', 0);
is($split->sql(q{SELECT runops.mint_kind('org')}), 'cuid', 'a shorter one ends it');

# one kind for one instant, while flips and mints race

# the grace is one in which a busy machine commits a flip, too
set_all('runops.mint_flip_grace', 2000);
$split->sql('SELECT pg_sleep(2.1)');
$split->sql(<<'EOT');
CREATE TABLE looks (before timestamptz, kind text, after timestamptz);
CREATE TABLE flips (due timestamptz, kind text);
INSERT INTO flips VALUES ('-infinity', runops.mint_kind('org'));
CREATE FUNCTION look() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	before timestamptz := clock_timestamp();
	found text := runops.mint_kind('org');
BEGIN
	INSERT INTO looks VALUES (before, found, clock_timestamp());
END
$$;
EOT
my $script = "$PostgreSQL::Test::Utils::tmp_check/look.sql";

append_to_file($script, 'SELECT look() FROM generate_series(1, 5);');
my ($out, $err) = ('', '');
my $pgbench = IPC::Run::start(
	[ 'pgbench', '-n', '-T', '13', '-c', '4', '-R', '300', '-f', $script, '-h', $control->host, '-p', $control->port, 'postgres' ],
	'>', \$out, '2>', \$err);
foreach my $kind ('ksuid', 'runops', 'cuid', 'ksuid', 'cuid')
{
	$split->sql(<<"EOT");
SELECT pg_sleep(0.3);
BEGIN;
SELECT runops.set_mint_kind('org', '$kind');
INSERT INTO flips SELECT effective_at, kind FROM runops.mint_config WHERE org = 'org';
COMMIT;
SELECT pg_sleep(2.1);
EOT
}
ok(IPC::Run::finish($pgbench), 'pgbench') or diag("$out\n$err");
is($split->sql(<<'EOT'), 'cuid,ksuid,runops|0', 'every look has found the kind of its instant');
WITH periods AS (SELECT kind, due, lead(due, 1, 'infinity') OVER (ORDER BY due) AS until FROM flips)
SELECT string_agg(DISTINCT l.kind, ','),
	count(*) FILTER (WHERE NOT EXISTS (SELECT FROM periods p WHERE p.kind = l.kind AND p.due <= l.after AND l.before < p.until))
FROM looks l
EOT

# the flags are configuration

my ($dump) = run_command([ 'pg_dump', '-d', $control->connstr('postgres'), '--data-only', '-t', 'runops.mint_config' ]);
like($dump, qr/^org\tcuid\tksuid\t/m, 'a dump carries the flags');

done_testing();
